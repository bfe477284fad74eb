//! Memory after an hour's worth of updates.

use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::Writer;

use crate::bench::{Bench, PATIENCE, paced, padded};
use crate::contender::{Contender, Process, Result};
use crate::tree::Tree;

/// 100 writes a second.
pub const WRITES_AN_HOUR: usize = 360_000;
/// Between two of these the memory is looked at.
pub const PARTS: usize = 6;
/// Writes that are on their way at a time, every ten milliseconds.
pub const BURST: usize = 90;

/// Sets the data of `writes` leaves, 9,000 a second at most, all over the tree.
pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], writes: usize) {
    bench.create(tree);
    let leaves: Vec<String> = tree.leaves().collect();
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = bench.start(contender)?;
        process.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
        process.ask(&format!("load {}", tree.root()), PATIENCE)?;
        process.ask("listen", PATIENCE)?;
        thread::sleep(Duration::from_millis(500));
        look(bench, cell, contender, &mut process)?;
        let mut writer = bench.writer();
        let mut next = (0_usize..).map(|i| &leaves[i.wrapping_mul(7_919) % leaves.len()]);
        let began = Instant::now();
        for part in 0..PARTS {
            paced(writes / PARTS / BURST, |i| {
                let data = padded(&format!("{}-{part}-{i}-", contender.id()), tree.data);
                burst(&mut writer, next.by_ref().take(BURST), &data);
            });
            if part == PARTS - 1 {
                let seconds = began.elapsed().as_secs_f64();
                bench.results.add(cell, contender.id(), "writes_per_second", &[writes as f64 / seconds]);
                let mark = padded(&format!("{}-last-", contender.id()), tree.data);
                let last: Vec<String> = leaves.iter().take(BURST).cloned().collect();
                burst(&mut writer, last.iter(), &mark);
                let file = bench.write_lines("expected", &last);
                process.ask(&format!("expect {file} {mark}"), PATIENCE)?;
                process.ask("until", 4 * PATIENCE)?;
                bench.check(&mut process, bench.truth(&tree.root()))?;
            }
            look(bench, cell, contender, &mut process)?;
        }
        Ok(())
    });
}

fn burst<'a>(writer: &mut Writer, paths: impl Iterator<Item = &'a String>, data: &str) {
    for path in paths {
        writer.send_set(path, Some(data.as_bytes())).expect("a write");
    }
    writer.drain().expect("answers");
}

fn look(bench: &mut Bench, cell: &str, contender: Contender, process: &mut Process) -> Result<()> {
    if let Some(live) = process.live_bytes()? {
        bench.results.add(cell, contender.id(), "live", &[live]);
    }
    bench.results.add(cell, contender.id(), "resident", &[process.resident_bytes()]);
    println!("    {:22} {:7.1} MB", contender.name(), process.resident_bytes() / 1e6);
    Ok(())
}
