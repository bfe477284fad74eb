//! The first start of a program: from nothing to a cache that is complete.

use std::time::Instant;

use crate::bench::{Bench, LONGEST};
use crate::contender::{Contender, Result};
use crate::effort::Effort;
use crate::tree::Tree;

/// In each round every contender's program is started anew, connects, and loads the tree.
pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], effort: &Effort) {
    bench.create(tree);
    bench.for_each(cell, contenders, |bench, contender| {
        let began = Instant::now();
        for _ in (0..).take_while(|&round| !effort.is_over(round, began.elapsed())) {
            play(bench, cell, tree, contender)?;
        }
        let median = |what| bench.results.median(cell, contender, what).unwrap_or(f64::NAN) * 1e3;
        println!("    {:22} {:9.1} ms", contender.name(), median("seconds"));
        Ok(())
    });
}

fn play(bench: &mut Bench, cell: &str, tree: Tree, contender: Contender) -> Result<()> {
    let truth = bench.create(tree);
    let began = Instant::now();
    let mut process = bench.start(contender)?;
    let started = process.start_up;
    let connected = process.ask(&format!("connect {}", bench.server.hosts()), LONGEST)?.took;
    let loaded = process.ask(&format!("load {}", tree.root()), LONGEST)?.took;
    let all = began.elapsed();
    bench.check(&mut process, truth)?;
    for (what, took) in [("start-up", started), ("connect", connected), ("load", loaded), ("seconds", all)] {
        bench.results.add(cell, contender.id(), what, &[took.as_secs_f64()]);
    }
    Ok(())
}
