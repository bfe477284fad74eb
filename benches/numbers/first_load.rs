//! The first load and the memory it takes, from C in a fresh process, in turns with a bare multiRead loop.

use treecache_test_support::{Server, Writer};

use crate::median::median;
use crate::program::{Figures, Program};
use crate::{bare, tree};

const ROUNDS: usize = 9;

/// Medians.
pub struct FirstLoad {
    pub seconds: f64,
    pub bare_seconds: f64,
    /// Of the speeds, round by round.
    pub ratio: f64,
    /// Bytes over an idle client.
    pub resident: f64,
    pub heap: f64,
    pub peak: f64,
}

pub fn measure(server: &Server, writer: &mut Writer, program: &Program) -> FirstLoad {
    let mut rounds: Vec<(f64, Figures)> = Vec::new();
    // The first round is the server's JVM getting warm.
    for round in 0..=ROUNDS {
        let bare = bare::load(server.addr(), tree::ROOT).expect("a bare load");
        assert_eq!((bare.nodes, bare.bytes), (tree::NODES, tree::NODES * tree::DATA_LEN));
        let ours = program.run(&["load"]);
        assert_eq!(ours.get("nodes") as usize, tree::NODES);
        let bare_seconds = bare.took.as_secs_f64();
        println!("    bare {:4.0} ms, cache {:4.0} ms", bare_seconds * 1e3, ours.get("seconds") * 1e3);
        if round > 0 {
            rounds.push((bare_seconds, ours));
        }
        writer.ping().expect("the session kept");
    }
    let ours = |name: &str| median(rounds.iter().map(|(_, figures)| figures.get(name)));
    FirstLoad {
        seconds: ours("seconds"),
        bare_seconds: median(rounds.iter().map(|(bare, _)| *bare)),
        ratio: median(rounds.iter().map(|(bare, figures)| bare / figures.get("seconds"))),
        resident: ours("resident_bytes"),
        heap: ours("heap_bytes"),
        peak: ours("peak_bytes"),
    }
}
