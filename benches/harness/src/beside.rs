//! What a load, or a reconnect, does to others: how long the writes of another client take meanwhile.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use treecache_test_support::Writer;

use crate::bench::{Bench, LONGEST};
use crate::contender::{Contender, Process, Result};
use crate::results::quantile;
use crate::tree::Tree;

/// Between two writes.
const PERIOD: Duration = Duration::from_millis(10);

/// What there is beside the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Nothing,
    /// A contender does what is measured.
    Busy(Contender),
    /// What is between: sessions that come and go.
    Pause,
    End,
}

/// The phase that there is now.
pub struct Now(Mutex<Phase>);

/// A write, and what there was beside it.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    pub phase: Phase,
    pub sent: Instant,
    /// In seconds.
    pub took: f64,
}

impl Now {
    pub fn new(phase: Phase) -> Now {
        Now(Mutex::new(phase))
    }

    fn get(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}

/// First the writer alone, for `time`; then every contender in its turn loads the tree, until that took it as long.
pub fn measure(bench: &mut Bench, cell: &str, tree: Tree, contenders: &[Contender], time: Duration) {
    let outside = format!("{}-outside", tree.root());
    let _ = bench.writer().create(&outside, None, 0); // another cell may have done so
    let now = Now::new(Phase::Pause);
    let mut runners: Vec<Runner> = Vec::new();
    bench.for_each(cell, contenders, |bench, contender| {
        let mut runner = Runner { contender, process: bench.start(contender)?, loads: Vec::new() };
        runner.load(bench, tree, &now)?;
        runner.loads.clear(); // the first one is another matter
        runners.push(runner);
        Ok(())
    });
    let mut writer = bench.writer();
    now.set(Phase::Nothing);
    let writes = thread::scope(|scope| {
        let writing = scope.spawn(|| write(&mut writer, &outside, &now));
        thread::sleep(time);
        now.set(Phase::Pause);
        while runners.iter().any(|runner| !runner.is_done(time)) {
            runners.retain_mut(|runner| {
                let loaded = if runner.is_done(time) { Ok(()) } else { runner.load(bench, tree, &now) };
                if let Err(error) = &loaded {
                    bench.fail(cell, runner.contender, error);
                }
                loaded.is_ok()
            });
        }
        now.set(Phase::End);
        writing.join().expect("the writer's word")
    });
    let of = |wanted| -> Vec<f64> {
        writes.iter().filter(|write| write.phase == wanted).map(|write| write.took).collect()
    };
    let alone = of(Phase::Nothing);
    print("nobody loads", &alone);
    for Runner { contender, loads, .. } in &runners {
        let beside = of(Phase::Busy(*contender));
        print(contender.name(), &beside);
        for (what, values) in [("alone", &alone), ("beside", &beside), ("seconds", loads)] {
            bench.results.add(cell, contender.id(), what, values);
        }
    }
}

fn print(what: &str, latencies: &[f64]) {
    let [middle, p99] = [0.5, 0.99].map(|share| quantile(latencies, share).unwrap_or(f64::NAN) * 1e3);
    println!("    {what:22} {middle:7.2} ms, p99 {p99:7.2} ms, {} writes", latencies.len());
}

struct Runner {
    contender: Contender,
    process: Process,
    /// What each took, in seconds.
    loads: Vec<f64>,
}

impl Runner {
    fn is_done(&self, time: Duration) -> bool {
        self.loads.iter().sum::<f64>() >= time.as_secs_f64()
    }

    fn load(&mut self, bench: &mut Bench, tree: Tree, now: &Now) -> Result<()> {
        let truth = bench.create(tree);
        self.process.ask(&format!("connect {}", bench.server.hosts()), LONGEST)?;
        thread::sleep(2 * PERIOD); // a session is a transaction
        now.set(Phase::Busy(self.contender));
        let answer = self.process.ask(&format!("load {}", tree.root()), LONGEST);
        now.set(Phase::Pause);
        self.loads.push(answer?.took.as_secs_f64());
        bench.check(&mut self.process, truth)?;
        self.process.ask("close", LONGEST)?;
        Ok(())
    }
}

/// One write after the other, until the end; tells what there was beside each, and how long it took. While one takes
/// longer than [`PERIOD`], others would have been due: they count, too, from then on.
pub fn write(writer: &mut Writer, path: &str, now: &Now) -> Vec<Write> {
    let mut writes = Vec::new();
    loop {
        let (sent, before) = (Instant::now(), now.get());
        if before == Phase::End {
            return writes;
        }
        writer.set(path, Some(b"written beside a load")).expect("a write");
        let mut took = sent.elapsed();
        let phase = match now.get() {
            after @ Phase::Busy(_) => after,
            _ => before,
        };
        let mut note = |took: Duration| writes.push(Write { phase, sent, took: took.as_secs_f64() });
        note(took);
        while let Some(of_the_next) = took.checked_sub(PERIOD) {
            took = of_the_next;
            note(took);
        }
        thread::sleep(PERIOD.saturating_sub(took));
    }
}
