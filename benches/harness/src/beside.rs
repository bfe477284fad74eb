//! What a load does to others: how long the writes of another client take meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::Writer;

use crate::bench::{Bench, LONGEST};
use crate::contender::{Contender, Result};
use crate::results::quantile;
use crate::tree::Tree;

/// Between two writes.
const PERIOD: Duration = Duration::from_millis(10);

/// Writes that have been acknowledged: how long that took, in seconds.
#[derive(Default)]
struct Latencies {
    alone: Vec<f64>,
    beside: Vec<f64>,
}

/// First the writer alone, for `time`, and then loads of the tree, until they took as long together.
pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], time: Duration) {
    let truth = bench.create(tree);
    let outside = format!("{}-outside", tree.root());
    let _ = bench.writer().create(&outside, None, 0); // another cell may have done so
    bench.for_each(cell, contenders, |bench, contender| {
        let mut process = bench.start(contender)?;
        let hosts = bench.server.hosts();
        let mut load = |is_loading: Option<&AtomicBool>| -> Result<Duration> {
            process.ask(&format!("connect {hosts}"), LONGEST)?;
            thread::sleep(2 * PERIOD); // for what that makes the server do
            let set = |value| is_loading.inspect(|it| it.store(value, Ordering::SeqCst));
            set(true);
            let answer = process.ask(&format!("load {}", tree.root()), LONGEST);
            set(false);
            bench.check(&mut process, truth)?;
            process.ask("close", LONGEST)?;
            Ok(answer?.took)
        };
        load(None)?; // the first one is another matter
        let (is_loading, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut writer = bench.writer();
        let (latencies, loads) = thread::scope(|scope| {
            let writing = scope.spawn(|| write(&mut writer, &outside, time, &is_loading, &ended));
            thread::sleep(time);
            let mut loads = Vec::new();
            let loaded = loop {
                match load(Some(&is_loading)) {
                    Ok(took) => loads.push(took.as_secs_f64()),
                    Err(error) => break Err(error),
                }
                if loads.iter().sum::<f64>() >= time.as_secs_f64() {
                    break Ok(());
                }
            };
            ended.store(true, Ordering::SeqCst);
            let latencies = writing.join().expect("the writer's word");
            loaded.map(|()| (latencies, loads))
        })?;
        for (what, latencies) in [("alone", &latencies.alone), ("beside", &latencies.beside)] {
            let [middle, p99] = [0.5, 0.99].map(|share| quantile(latencies, share).unwrap_or(f64::NAN) * 1e3);
            let count = latencies.len();
            println!(
                "    {:22} {what:7} {middle:7.2} ms, p99 {p99:7.2} ms, {count} writes",
                contender.name()
            );
            bench.results.add(cell, contender.id(), what, latencies);
        }
        bench.results.add(cell, contender.id(), "seconds", &loads);
        Ok(())
    });
}

/// One write after the other, for as long as nothing is loaded all of them, and from then on those that fall into a load.
fn write(
    writer: &mut Writer,
    path: &str,
    alone_for: Duration,
    is_loading: &AtomicBool,
    ended: &AtomicBool,
) -> Latencies {
    let mut latencies = Latencies::default();
    let began = Instant::now();
    let mut due = began;
    while !ended.load(Ordering::SeqCst) {
        // When the one before took too long, this one has been waiting since it was due.
        let late = Instant::now() > due;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let from = if late { due } else { Instant::now() };
        let is_beside = is_loading.load(Ordering::SeqCst);
        writer.set(path, Some(b"written beside a load")).expect("a write");
        let took = from.elapsed().as_secs_f64();
        if is_beside || is_loading.load(Ordering::SeqCst) {
            latencies.beside.push(took);
        } else if began.elapsed() < alone_for {
            latencies.alone.push(took);
        }
        due += PERIOD;
    }
    latencies
}
