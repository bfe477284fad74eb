//! What a client and its caches are to a process, and to the server.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, PATIENCE};
use crate::contender::{Contender, processor_seconds};
use crate::tree::{Shape, Tree};

const SETTLE: Duration = Duration::from_secs(1);

/// When threads and descriptors are counted.
pub const STAGES: [&str; 4] = ["started", "connected", "one cache", "two caches"];

pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], idle: Duration) {
    let second = Tree::new("second", Shape::Bushy, 1000, 128);
    bench.create(tree);
    bench.create(second);
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = bench.start(contender)?;
        bench.results.add(cell, contender.id(), "start-up", &[process.start_up.as_secs_f64()]);
        let requests = [
            None,
            Some(format!("connect {}", bench.server.hosts())),
            Some(format!("load {}", tree.root())),
            Some(format!("load {}", second.root())),
        ];
        for (stage, request) in STAGES.into_iter().zip(requests) {
            if let Some(request) = request {
                process.ask(&request, PATIENCE)?;
            }
            thread::sleep(SETTLE);
            let watches = watches(&bench.server.four_letter("wchs"));
            let results = &mut bench.results;
            results.add(cell, contender.id(), &format!("threads/{stage}"), &[process.threads()]);
            results.add(cell, contender.id(), &format!("descriptors/{stage}"), &[process.descriptors()]);
            results.add(cell, contender.id(), &format!("resident/{stage}"), &[process.resident_bytes()]);
            results.add(cell, contender.id(), &format!("watches/{stage}"), &[watches]);
        }
        let (began, used) = (Instant::now(), processor_seconds(process.pid()));
        thread::sleep(idle);
        let share = (processor_seconds(process.pid()) - used) / began.elapsed().as_secs_f64();
        bench.results.add(cell, contender.id(), "idle", &[share]);
        println!("    {:22} {:.4} % of a core", contender.name(), share * 100.0);
        Ok(())
    });
}

/// From the server's answer to `wchs`.
pub fn watches(answer: &str) -> f64 {
    answer
        .lines()
        .find_map(|line| line.strip_prefix("Total watches:")?.trim().parse().ok())
        .unwrap_or(f64::NAN)
}
