//! One tree for many processes: what they take together, and what it costs to keep it in a file for them.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::Op;

use crate::bench::{Bench, PATIENCE, paced, padded};
use crate::contender::{Contender, Process, Result, SHARED, processor_seconds};
use crate::footprint::watches;
use crate::tree::Tree;

/// Nodes that one transaction changes.
pub const CHANGES: [usize; 4] = [1, 10, 100, 1000];

const SETTLE: Duration = Duration::from_secs(1);

/// `processes` programs have the tree at the same time: each loads it, or all are attached to the file of one more.
pub fn measure_processes(bench: &mut Bench, cell: &str, tree: Tree, processes: usize) {
    bench.create(tree);
    bench.for_each(cell, &[Contender::Treecache, Contender::TreecacheAttached], |bench, contender| {
        let idle = [watches(&bench.server.four_letter("wchs")), connections(bench)];
        let mut held = Vec::new();
        let attach = format!("attach={SHARED}");
        let settings: &[&str] = match contender {
            Contender::TreecacheAttached => {
                held.push(keeper(bench, tree)?);
                &[&attach]
            }
            _ => &[],
        };
        for _ in 0..processes {
            let began = Instant::now();
            // Who is attached is our program as any other, and has no session.
            let mut process = bench.start_with(Contender::Treecache, settings)?;
            if settings.is_empty() {
                process.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
            }
            process.ask(&format!("load {}", tree.root()), PATIENCE)?;
            bench.results.add(cell, contender.id(), "seconds", &[began.elapsed().as_secs_f64()]);
            held.push(process);
        }
        thread::sleep(SETTLE);
        let all: f64 = held.iter().map(Process::proportional_bytes).sum();
        let each: Vec<f64> = held.iter().map(Process::resident_bytes).collect();
        let threads: f64 = held.iter().map(Process::threads).sum();
        let there = [watches(&bench.server.four_letter("wchs")), connections(bench)];
        let results = &mut bench.results;
        results.add(cell, contender.id(), "all", &[all]);
        results.add(cell, contender.id(), "each", &each);
        results.add(cell, contender.id(), "threads", &[threads]);
        results.add(cell, contender.id(), "watches", &[there[0] - idle[0]]);
        results.add(cell, contender.id(), "sessions", &[there[1] - idle[1]]);
        println!("    {:22} {:.0} MB", contender.name(), all / 1e6);
        let truth = bench.create(tree);
        held.iter_mut().try_for_each(|process| bench.check(process, truth))
    });
}

/// Transactions that change more and more nodes, a hundred a second, while the tree is kept in a file, and while it is not.
pub fn measure_publishing(bench: &mut Bench, cell: &str, tree: Tree, transactions: usize) {
    bench.create(tree);
    let leaves: Vec<String> = tree.leaves().collect();
    bench.for_each(cell, &[Contender::Treecache, Contender::TreecacheAttached], |bench, contender| {
        let mut process = match contender {
            Contender::TreecacheAttached => keeper(bench, tree)?,
            _ => bench.start(contender)?,
        };
        if contender == Contender::Treecache {
            process.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
            process.ask(&format!("load {}", tree.root()), PATIENCE)?;
        }
        let mut writer = bench.writer();
        for changes in CHANGES {
            let data = padded(&format!("#{changes}"), tree.data);
            let mut next = leaves.iter().cycle();
            thread::sleep(SETTLE);
            let before = (processor_seconds(process.pid()), file_bytes());
            paced(transactions, |_| {
                let paths = next.by_ref().take(changes);
                let ops: Vec<Op> = paths.map(|path| Op::Set { path, data: Some(data.as_bytes()) }).collect();
                writer.multi(&ops).expect("a transaction");
            });
            thread::sleep(SETTLE);
            let each = |all: f64| all / transactions as f64;
            let processor = each(processor_seconds(process.pid()) - before.0);
            bench.results.add(cell, contender.id(), &format!("processor/{changes}"), &[processor]);
            println!("    {:22} {changes:5} changes: {:.0} µs", contender.name(), processor * 1e6);
            // It is shorter where it was made anew meanwhile.
            if let (Some(was), Some(is)) = (before.1, file_bytes())
                && is >= was
            {
                bench.results.add(cell, contender.id(), &format!("bytes/{changes}"), &[each(is - was)]);
            }
        }
        drop(process);
        let truth = bench.truth(&tree.root());
        let mut reader = bench.start(Contender::Treecache)?;
        reader.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
        reader.ask(&format!("load {}", tree.root()), PATIENCE)?;
        bench.check(&mut reader, truth)
    });
}

/// A program that begins anew, with the tree that it has kept in a file, and without: until it can read the tree, and until it
/// is in step, after some nodes have changed meanwhile.
pub fn measure_restarts(bench: &mut Bench, cell: &str, tree: Tree, changes: usize, rounds: usize) {
    bench.create(tree);
    let leaves: Vec<String> = tree.leaves().collect();
    let step = leaves.len() / changes;
    let keeps = format!("share.file={SHARED}");
    bench.for_each(cell, &[Contender::Treecache, Contender::TreecacheAttached], |bench, contender| {
        let settings: &[&str] = if contender == Contender::TreecacheAttached { &[&keeps] } else { &[] };
        let mut writer = bench.writer();
        // In front of the first round nothing is kept yet.
        for round in 0..=rounds {
            let data = padded(&format!("#{round}"), tree.data);
            for path in leaves.iter().step_by(step).take(changes) {
                writer.set(path, Some(data.as_bytes())).expect("a write");
            }
            let changed: Vec<_> = leaves.iter().step_by(step).take(changes).cloned().collect();
            let file = bench.write_lines("changed", &changed);
            let mut process = bench.start_with(Contender::Treecache, settings)?;
            process.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
            process.ask(&format!("expect {file} {data}"), PATIENCE)?;
            let began = Instant::now();
            process.ask(&format!("begin {}", tree.root()), PATIENCE)?;
            let readable = began.elapsed();
            process.ask("until", PATIENCE)?;
            let in_step = began.elapsed();
            if round > 0 {
                let results = &mut bench.results;
                results.add(cell, contender.id(), "readable", &[readable.as_secs_f64()]);
                results.add(cell, contender.id(), "in step", &[in_step.as_secs_f64()]);
            }
            let truth = bench.truth(&tree.root());
            bench.check(&mut process, truth)?;
        }
        for file in [SHARED.to_owned(), format!("{SHARED}.side")] {
            _ = fs::remove_file(file);
        }
        let median = |what| bench.results.median(cell, contender, what).unwrap_or(f64::NAN) * 1e3;
        let (readable, in_step) = (median("readable"), median("in step"));
        println!("    {:22} {readable:.0} ms, {in_step:.0} ms", contender.name());
        Ok(())
    });
}

/// A program that keeps the tree in the file, and reads it there.
fn keeper(bench: &Bench, tree: Tree) -> Result<Process> {
    let mut keeper = bench.start(Contender::TreecacheAttached)?;
    keeper.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
    keeper.ask(&format!("load {}", tree.root()), PATIENCE)?;
    Ok(keeper)
}

fn file_bytes() -> Option<f64> {
    fs::metadata(SHARED).ok().map(|file| file.len() as f64)
}

fn connections(bench: &Bench) -> f64 {
    let answer = bench.server.four_letter("mntr");
    let line = answer.lines().find_map(|line| line.strip_prefix("zk_num_alive_connections"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(f64::NAN)
}
