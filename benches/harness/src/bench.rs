//! What all measurements share: the server, its trees, the truth about them, and where results go.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use contender::Digest;
use treecache_test_support::{Server, Writer};

use crate::contender::{Answer, Contender, Process, Result, processor_seconds};
use crate::results::Results;
use crate::tree::Tree;

/// How long a contender may take for what is expected to be over soon.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// No load may take longer.
pub const LONGEST: Duration = Duration::from_secs(600);

pub struct Bench {
    pub server: Server,
    /// For what contenders read and write, and their logs.
    pub folder: PathBuf,
    pub results: Results,
    trees: HashMap<Tree, Digest>,
}

impl Bench {
    pub fn new(folder: PathBuf, results: Results, heap: u32) -> Bench {
        Bench { server: Server::builder().heap(heap).start(), folder, results, trees: HashMap::new() }
    }

    /// A session that lives as long as nobody looks away for a minute.
    pub fn writer(&self) -> Writer {
        Writer::connect(self.server.addr(), Duration::from_secs(60)).expect("a session")
    }

    /// Sees to it that the server has the tree; returns what it was when it was created.
    pub fn create(&mut self, tree: Tree) -> Digest {
        let server = &self.server;
        *self.trees.entry(tree).or_insert_with(|| tree.create(server))
    }

    pub fn start(&self, contender: Contender) -> Result<Process> {
        self.start_with(contender, &[])
    }

    /// With settings for our caches.
    pub fn start_with(&self, contender: Contender, settings: &[&str]) -> Result<Process> {
        Process::start(contender, &self.folder, settings)
    }

    /// A file with these lines, for a contender; returns its path.
    pub fn write_lines(&self, name: &str, lines: &[String]) -> String {
        let file = self.folder.join(name);
        fs::write(&file, lines.join("\n") + "\n").expect("a file for a contender");
        file.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Checks a contender's tree against the truth, with a little patience for what is only just arriving.
    pub fn check(&self, process: &mut Process, truth: Digest) -> Result<()> {
        let mut seen = process.digest()?;
        for _ in 0..10 {
            if seen == truth {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
            seen = process.digest()?;
        }
        Err(match seen.nodes == truth.nodes {
            true => "wrong data".to_owned(),
            false => format!("{} nodes instead of {}", seen.nodes, truth.nodes),
        })
    }

    /// The truth about a tree that has been written to, from a bare loop of reads.
    pub fn truth(&self, root: &str) -> Digest {
        let mut bare = self.start(Contender::Bare).expect("the bare loop");
        let mut ask = |request: &str| bare.ask(request, PATIENCE).map(drop);
        ask(&format!("connect {}", self.server.hosts()))
            .and_then(|()| ask(&format!("load {root}")))
            .and_then(|()| bare.digest())
            .expect("the truth")
    }

    /// Runs `measure` for each contender; one that fails gets a note in place of figures and does not end the run.
    pub fn for_each(
        &mut self,
        cell: &str,
        contenders: &[Contender],
        mut measure: impl FnMut(&mut Bench, Contender) -> Result<()>,
    ) {
        for &contender in contenders {
            if let Err(error) = measure(self, contender) {
                self.fail(cell, contender, &error);
            }
        }
    }

    pub fn fail(&mut self, cell: &str, contender: Contender, error: &str) {
        println!("    {:22} {error}", contender.name());
        self.results.note(cell, contender.id(), error);
    }
}

/// An answer, and what it cost.
pub struct Cost {
    pub answer: Answer,
    pub client: f64,
    pub server: f64,
}

/// Asks, and counts the processor time of both sides.
pub fn ask_counting(
    process: &mut Process,
    server: &Server,
    request: &str,
    patience: Duration,
) -> Result<Cost> {
    let (client, server_pid) = (process.pid(), server.pid());
    let before = [processor_seconds(client), processor_seconds(server_pid)];
    let answer = process.ask(request, patience)?;
    let after = [processor_seconds(client), processor_seconds(server_pid)];
    Ok(Cost { answer, client: after[0] - before[0], server: after[1] - before[1] })
}

/// Calls `act` about every ten milliseconds, `times` times, and never two at once to catch up.
pub fn paced(times: usize, mut act: impl FnMut(usize)) {
    let period = Duration::from_millis(10);
    for i in 0..times {
        let next = Instant::now() + period;
        act(i);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Text of this length without a space, that begins with `mark`.
pub fn padded(mark: &str, length: usize) -> String {
    format!("{mark:x<length$}")
}
