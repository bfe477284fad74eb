//! From the acknowledgement of a write to the callback, at 100 writes a second.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, PATIENCE, paced};
use crate::contender::{Contender, Process, Result};
use crate::tree::Tree;

/// Written before, and not counted: what a JVM needs to compile what is hot.
const WARM_UP: usize = 500;

pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], writes: usize) {
    bench.create(tree);
    let leaves: Vec<String> = tree.leaves().collect();
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = bench.start(contender)?;
        process.ask(&format!("connect {}", bench.server.hosts()), PATIENCE)?;
        process.ask(&format!("load {}", tree.root()), PATIENCE)?;
        process.ask("listen", PATIENCE)?;
        write(bench, &leaves, WARM_UP.min(writes));
        heard(bench, &mut process)?;
        let written = write(bench, &leaves, writes);
        let called = heard(bench, &mut process)?;
        let after: Vec<f64> = written
            .iter()
            .filter_map(|(data, acknowledged)| Some((*called.get(data)? as f64 - *acknowledged as f64) / 1e9))
            .collect();
        if after.is_empty() {
            return Err("no callbacks".to_owned());
        }
        let results = &mut bench.results;
        results.add(cell, contender.id(), "after", &after);
        results.add(cell, contender.id(), "missing", &[(writes - after.len()) as f64]);
        let median = results.median(cell, contender, "after").unwrap_or(f64::NAN);
        println!("    {:22} {:6.2} ms", contender.name(), median * 1e3);
        Ok(())
    });
}

/// One write after the other, each of another node, until that many are acknowledged; tells when each was.
fn write(bench: &Bench, leaves: &[String], writes: usize) -> Vec<(String, u64)> {
    let mut writer = bench.writer();
    let mut written = Vec::new();
    paced(writes, |i| {
        let data = format!("#{i}");
        writer.set(&leaves[i % leaves.len()], Some(data.as_bytes())).expect("a write");
        written.push((data, contender::monotonic_ns()));
    });
    written
}

/// When the callback came, by the data it came with.
fn heard(bench: &Bench, process: &mut Process) -> Result<HashMap<String, u64>> {
    thread::sleep(Duration::from_secs(1)); // for the last ones
    let file = bench.write_lines("heard", &[]);
    process.ask(&format!("heard {file}"), PATIENCE)?;
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let entries = text.lines().filter_map(|line| {
        let (data, at) = line.split_once(' ')?;
        Some((data.to_owned(), at.parse().ok()?))
    });
    Ok(entries.collect())
}
