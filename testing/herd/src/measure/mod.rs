//! What a real server says: the costs of one client, in requests and bytes, and the rates of one server.
//!
//! Costs are counts, the same on every machine. Rates are not: they are medians, and parameters of the model.

mod costs;
mod rates;

use std::fmt::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::{Ensemble, Op, Server, Writer};

use crate::measured::{Cost, Measured, Tree};

/// Measures everything, and says what it finds on the way.
pub fn measure() -> Measured {
    let mut measured = Measured::default();
    let server = Server::builder().heap(2048).config("forceSync=yes").start();
    measured.circumstances = circumstances(&server);
    println!("rates of one server:");
    measured.rates = rates::measure(&server);
    println!("{:#?}", measured.rates);
    drop(server);

    for directories in [10, 20, 40] {
        let tree = Tree { directories, leaves: LEAVES, data: DATA };
        let server = Server::builder().heap(1024).start();
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a server");
        fill(&mut writer, &tree);
        for client in costs::Kind::ALL {
            let cost: Cost = costs::of(client, &server, &mut writer, &tree);
            println!("{cost:?}");
            measured.costs.push(cost);
        }
    }
    measured.epoch = epoch();
    println!("{}", measured.epoch);
    measured
}

fn circumstances(server: &Server) -> String {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    let (major, minor, patch) = server.version();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, ZooKeeper {major}.{minor}.{patch}, kazoo {}, Curator {}, clients and server on one machine with {cores} \
         cores and a load of {} at the start",
        output("date", &["+%F"]),
        output("/usr/bin/python3", &["-c", "import kazoo.version; print(kazoo.version.__version__)"]),
        output("dpkg-query", &["--show", "--showformat=${Version}", "libcurator-recipes-java"]),
        load.split(' ').next().unwrap_or_default(),
    )
}

const LEAVES: usize = 100;
pub(crate) const DATA: usize = 128;
pub(crate) const ROOT: &str = "/herd";
/// A node outside of the tree.
pub(crate) const ELSEWHERE: &str = "/elsewhere";

fn fill(writer: &mut Writer, tree: &Tree) {
    let data = vec![b'x'; tree.data];
    writer.create(ELSEWHERE, None, 0).expect("a node");
    for (count, path) in tree.paths(ROOT).enumerate() {
        writer.send(&Op::Create { path: &path, data: Some(&data), flags: 0 }).expect("a create");
        if count % 1000 == 0 {
            writer.drain().expect("answers");
        }
    }
    writer.drain().expect("answers");
}

/// At which zxid the servers are before and after the leader has changed, with nothing written in between.
fn epoch() -> String {
    let mut ensemble = Ensemble::start();
    let (leader, _) = ensemble.roles();
    let zxids = |ensemble: &Ensemble, without: Option<usize>| {
        let mut text = String::new();
        for (at, server) in ensemble.servers().iter().enumerate().filter(|(at, _)| Some(*at) != without) {
            let answer = server.four_letter("srvr");
            let of = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let (zxid, mode) = (of("Zxid:").unwrap_or("?"), of("Mode:").unwrap_or("?"));
            write!(text, " {mode} {} at {zxid}", at + 1).expect("a string takes it all");
        }
        text
    };
    // Something that both epochs know.
    let mut writer =
        Writer::connect(ensemble.servers()[leader].addr(), Duration::from_secs(30)).expect("a leader");
    writer.create("/known", None, 0).expect("a node");
    thread::sleep(Duration::from_secs(1));
    let before = zxids(&ensemble, None);
    ensemble.kill(leader);
    let deadline = Instant::now() + Duration::from_secs(60);
    while ensemble.leader().is_none() {
        assert!(Instant::now() < deadline, "no leader");
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(500));
    format!("before:{before}; after:{}", zxids(&ensemble, Some(leader)))
}
