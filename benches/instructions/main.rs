//! Fixed workloads of the core without I/O, to count the instructions that they take: `scripts/instructions` runs this
//! under callgrind, which counts in the functions named `counted_*` alone, and compares with what was recorded. `memory`
//! and `names` count themselves: the bytes that a loaded tree takes, with and without data.
//!
//! A server in memory is played to an engine twice: the first time its words are recorded, the second time an engine
//! of the same seed hears the recording, and only that engine's work counts.

mod server;

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use server::Server;
use treecache::engine::{Engine, Output};
use treecache::selection::Selection;
use treecache::session::{Backoff, Hosts, Settings};
use treecache::sync::{self, CacheId, Data, Input, Modes, Options, Pace, VerifyMode};
use treecache::tree::{Differences, Node, Version};
use treecache::{NodePath, Stat};

/// A tree of 1 + 20 + 20 * 20 + 20 * 20 * 50 nodes.
const WIDTHS: [usize; 3] = [20, 20, 50];
const DATA: [u8; 128] = [b'x'; 128];
/// Writes that are followed, in bursts.
const WRITES: usize = 2_000;
const BURST: usize = 20;
const READS: usize = 100_000;
const DEPTH: usize = 100;

fn main() {
    // `cargo bench` adds --bench.
    let workload = std::env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_default();
    let recording = record();
    let mut player = Player::new(if workload == "names" { Data::None } else { Data::All });
    match workload.as_str() {
        "load" => counted_hear(&mut player, &recording.load),
        "follow" => {
            player.hear(&recording.load);
            counted_hear(&mut player, &recording.writes);
        }
        "diff" => {
            player.hear(&recording.load);
            let loaded = player.version.clone();
            player.hear(&recording.writes);
            let changes = counted_diff(&loaded, &player.version) + counted_diff(&Version::default(), &loaded);
            assert!(changes > loaded.tree.len(), "{changes}");
        }
        "read" => {
            player.hear(&recording.load);
            assert_eq!(counted_read(&player.version, &paths()), READS * DATA.len());
        }
        "deep" => {
            player.hear(&recording.load);
            let (version, path) = chain();
            assert_eq!(counted_read(&version, &vec![path; READS]), READS * DATA.len());
        }
        "memory" | "names" => {
            let before = heap();
            player.hear(&recording.load);
            println!("{}", heap() - before);
        }
        other => panic!("usage: instructions load|follow|diff|read|deep|memory|names, and not {other:?}"),
    }
    assert!(player.version.is_cut && player.version.tree.len() > 20_000, "the tree is whole");
    eprintln!("{workload}: {} nodes", player.version.tree.len());
}

/// How many bytes are allocated.
fn heap() -> usize {
    // SAFETY: it reads counts of the allocator, and takes nothing.
    unsafe { libc::mallinfo2() }.uordblks
}

// --- What counts --------------------------------------------------------------------------------------------------

#[inline(never)]
fn counted_hear(player: &mut Player, recording: &[Vec<u8>]) {
    player.hear(recording);
}

#[inline(never)]
fn counted_diff(old: &Version, new: &Version) -> usize {
    let mut differences = Differences::new(&old.tree, &new.tree);
    let mut count = 0;
    while let Some(change) = differences.next() {
        black_box(change);
        count += 1;
    }
    count
}

/// As `tc_copy_data` does it.
#[inline(never)]
fn counted_read(version: &Version, paths: &[String]) -> usize {
    let root = NodePath::root();
    let (mut buffer, mut bytes) = ([0; DATA.len()], 0);
    for path in paths {
        let entry = root.relative(path).and_then(|relative| version.tree.look_up(relative));
        let node = entry.and_then(|entry| entry.node()).expect("a node");
        buffer.copy_from_slice(node.data());
        bytes += black_box((&buffer, *node.stat())).0.len();
    }
    bytes
}

// --- What does not ------------------------------------------------------------------------------------------------

/// An engine with one cache of the root, and what it published last.
struct Player {
    engine: Engine,
    now: Instant,
    version: Arc<Version>,
}

impl Player {
    /// `data`: what the cache keeps of it.
    fn new(data: Data) -> Player {
        let now = Instant::now();
        let settings = Settings {
            hosts: Hosts::parse("server").expect("hosts"),
            session_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(3),
            sasl: None,
            auth: Vec::new(),
            limit_frame: 128 << 20,
            backoff: Backoff::default(),
        };
        let options = Options {
            selection: Selection::default(),
            follow: true,
            single: false,
            create_root: false,
            container_parents: false,
            limit_nodes: 0,
            limit_bytes: 0,
            data,
            limit_path: 4096,
            verify: VerifyMode::Read,
            audit_interval: Duration::ZERO,
            pace: Pace::default(),
        };
        let mut engine = Engine::new(settings, Modes::default(), fastrand::Rng::with_seed(1), now);
        engine.handle_input(CacheId(1), Input::Open(NodePath::root(), options), now);
        engine.handle_connected(now);
        Player { engine, now, version: Arc::default() }
    }

    fn hear(&mut self, recording: &[Vec<u8>]) {
        for bytes in recording {
            self.hear_once(bytes);
            self.engine.transmit().clear();
        }
    }

    fn hear_once(&mut self, bytes: &[u8]) {
        self.now += Duration::from_micros(100);
        self.engine.handle_bytes(bytes, self.now);
        while let Some(output) = self.engine.poll_output() {
            if let Output::Cache(_, sync::Output::Publish(version, _)) = output {
                self.version = version;
            }
        }
    }
}

/// The words of a server, as they came one after the other.
struct Recording {
    load: Vec<Vec<u8>>,
    writes: Vec<Vec<u8>>,
}

fn record() -> Recording {
    let mut server = Server::new();
    fill(&mut server, "", &WIDTHS);
    let mut player = Player::new(Data::All);
    let load = exchange(&mut player, &mut server);
    let mut rng = fastrand::Rng::with_seed(2);
    let mut writes = Vec::new();
    let (mut path, mut created) = (String::new(), Vec::new());
    for _ in 0..WRITES / BURST {
        for write in 0..BURST {
            path.clear();
            let [a, b, c] = WIDTHS.map(|width| rng.usize(..width));
            _ = write!(path, "/{a:02}/{b:02}/{c:02}");
            match write % 4 {
                0 => {
                    path.push_str("-new");
                    path.push_str(&created.len().to_string());
                    server.create(&path, &DATA);
                    created.push(path.clone());
                }
                1 => server.delete(&created.swap_remove(rng.usize(..created.len()))),
                _ => server.set(&path, &DATA),
            }
        }
        writes.append(&mut exchange(&mut player, &mut server));
    }
    Recording { load, writes }
}

/// Lets both talk until neither has anything to say.
fn exchange(player: &mut Player, server: &mut Server) -> Vec<Vec<u8>> {
    let mut said = Vec::new();
    loop {
        server.hear(player.engine.transmit());
        if server.outbox.is_empty() {
            return said;
        }
        let bytes = std::mem::take(&mut server.outbox);
        player.hear_once(&bytes);
        said.push(bytes);
    }
}

fn fill(server: &mut Server, parent: &str, widths: &[usize]) {
    let Some((width, below)) = widths.split_first() else { return };
    for child in 0..*width {
        let path = format!("{parent}/{child:02}");
        server.create(&path, &DATA);
        fill(server, &path, below);
    }
}

/// One node below the other, and the path of the last one.
fn chain() -> (Version, String) {
    let (mut version, mut path) = (Version::default(), String::new());
    for depth in 0..=DEPTH {
        if depth > 0 {
            _ = write!(path, "/level-{depth:03}");
        }
        let node = Node::new(DATA.into(), Stat::default());
        assert!(version.tree.put(path.strip_prefix('/').unwrap_or_default(), Some(node)));
    }
    (version, path)
}

/// Paths of depth 3, in an order that follows no pattern.
fn paths() -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut path = || {
        let [a, b, c] = WIDTHS.map(|width| rng.usize(..width));
        format!("/{a:02}/{b:02}/{c:02}")
    };
    (0..READS).map(|_| path()).collect()
}
