//! The first load, and the memory it takes.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, LONGEST, ask_counting};
use crate::contender::{Contender, Process, Result};
use crate::effort::Effort;
use crate::tree::Tree;

/// Loads are not timed before a program has loaded so many nodes, or for as long as `Effort::warm_up`: by then a JVM has
/// compiled what is hot. The very first is told apart.
const WARM_NODES: usize = 50_000;
/// What has been handed out shall have been touched, and what is idle be so, before memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

/// In each round every contender loads the tree once, in a session that is there; its program lives through all rounds.
pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], effort: &Effort) {
    let truth = bench.create(tree);
    let hosts = bench.server.hosts();
    let mut runners: Vec<Runner> = Vec::new();
    bench.for_each(cell, contenders, |bench, contender| {
        let mut runner =
            Runner { contender, process: bench.start(contender)?, spent: Duration::ZERO, rounds: 0 };
        let began = Instant::now();
        let process = &mut runner.process;
        process.ask(&format!("connect {hosts}"), LONGEST)?;
        thread::sleep(SETTLE);
        let (resident, live) = (process.resident_bytes(), process.live_bytes()?);
        let load = process.ask(&format!("load {}", tree.root()), LONGEST)?;
        thread::sleep(SETTLE);
        let results = &mut bench.results;
        results.add(cell, contender.id(), "resident", &[process.resident_bytes() - resident]);
        if let (Some(before), Some(after)) = (live, process.live_bytes()?) {
            results.add(cell, contender.id(), "live", &[after - before]);
        }
        results.add(cell, contender.id(), "cold", &[load.took.as_secs_f64()]);
        bench.check(&mut runner.process, truth)?;
        runner.process.ask("close", LONGEST)?;
        let mut loaded = tree.nodes;
        while loaded < WARM_NODES && began.elapsed() < effort.warm_up {
            runner.load(bench, tree)?;
            loaded += tree.nodes;
        }
        runners.push(runner);
        Ok(())
    });
    for _ in 0..effort.rounds {
        runners.retain_mut(|runner| {
            if effort.is_over(runner.rounds, runner.spent) {
                return true; // it has shown what it can
            }
            let loaded = runner.load(bench, tree).map(|cost| {
                for (what, value) in ["seconds", "client", "server"].into_iter().zip(cost) {
                    bench.results.add(cell, runner.contender.id(), what, &[value]);
                }
                runner.rounds += 1;
            });
            if let Err(error) = &loaded {
                bench.fail(cell, runner.contender, error);
            }
            loaded.is_ok()
        });
    }
    for runner in &runners {
        let seconds = bench.results.median(cell, runner.contender, "seconds").unwrap_or(f64::NAN);
        println!("    {:22} {:9.1} ms, {} rounds", runner.contender.name(), seconds * 1e3, runner.rounds);
    }
}

struct Runner {
    contender: Contender,
    process: Process,
    spent: Duration,
    rounds: usize,
}

impl Runner {
    /// Returns the time it took, and the processor time of the contender and of the server. Its tree is checked.
    fn load(&mut self, bench: &mut Bench, tree: Tree) -> Result<[f64; 3]> {
        let began = Instant::now();
        let truth = bench.create(tree);
        self.process.ask(&format!("connect {}", bench.server.hosts()), LONGEST)?;
        thread::sleep(Duration::from_millis(20));
        let cost = ask_counting(&mut self.process, &bench.server, &format!("load {}", tree.root()), LONGEST)?;
        bench.check(&mut self.process, truth)?;
        self.process.ask("close", LONGEST)?;
        self.spent += began.elapsed();
        Ok([cost.answer.took.as_secs_f64(), cost.client, cost.server])
    }
}
