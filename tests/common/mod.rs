//! What the integration tests share: a listener that remembers, events replayed onto an empty map, the comparison of a
//! cache with what the server says, and what a process of its own and each I/O thread of it have used.

// Each test binary is a crate of its own, and none uses all of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use treecache::{
    Client, Config, Event, EventKind, Fault, ListenerId, Snapshot, Stat, State, TreeCache, Walk, Zxid,
};
use treecache_test_support::{TruthNode, TruthStat, Witness, Writer, shared};

/// Against hanging only. What takes seconds on a loaded machine must not fail.
pub const BOUND: Duration = Duration::from_secs(20);

/// A configuration with these keys set.
#[track_caller]
pub fn config(settings: &[(&str, &str)]) -> Config {
    let mut config = Config::new();
    if let Ok(mode) = std::env::var("TREECACHE_TEST_WATCH") {
        config.set("watch", &mode).unwrap_or_else(|error| panic!("TREECACHE_TEST_WATCH={mode}: {error}"));
    }
    for (key, value) in settings {
        config.set(key, value).unwrap_or_else(|error| panic!("{key}={value}: {error}"));
    }
    config
}

/// Who reads the truth of the server that the tests of a binary share.
pub fn witness() -> Witness {
    Witness::connect(&shared().hosts())
}

/// Who writes to the server that the tests of a binary share.
#[track_caller]
pub fn writer() -> Writer {
    Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session")
}

/// Held while a client is made: clients are made one at a time, so that each thread is known to be whose it is.
static MAKING: Mutex<()> = Mutex::new(());

/// A client with every key at its default.
#[track_caller]
pub fn client(hosts: &str) -> Client {
    client_with(hosts, &[])
}

#[track_caller]
pub fn client_with(hosts: &str, settings: &[(&str, &str)]) -> Client {
    let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    new_client(hosts, settings)
}

#[track_caller]
fn new_client(hosts: &str, settings: &[(&str, &str)]) -> Client {
    Client::new(hosts, &config(settings)).unwrap_or_else(|error| panic!("a client of {hosts}: {error}"))
}

/// A cache of `root` that has loaded it.
#[track_caller]
pub fn started(client: &Client, root: &str, settings: &[(&str, &str)]) -> TreeCache {
    let cache = client.cache(root, &config(settings)).expect("a cache");
    cache.start().expect("started");
    initialized(&cache);
    cache
}

/// Waits until the first load is complete.
#[track_caller]
pub fn initialized(cache: &TreeCache) {
    cache.wait_initialized(Some(BOUND)).expect("the first load complete");
}

/// Waits until `holds`, and says `what` it waited for when it does not.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {BOUND:?} in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Does something, and says besides how long the machine kept this process from running meanwhile, all in all.
pub fn and_stalls<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    const STEP: Duration = Duration::from_millis(20);
    /// Also where what is done panics.
    struct Done<'d>(&'d AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut stalls = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(STEP);
                stalls += before.elapsed().saturating_sub(2 * STEP);
            }
            stalls
        });
        let what = {
            let _done = Done(&done);
            what()
        };
        (what, watching.join().expect("it does not panic"))
    })
}

/// The longest that ending a client may take, on a machine that lets it.
const CLOSE_BOUND: Duration = Duration::from_secs(5);

/// Ends a client, or what else is to take no longer than [`CLOSE_BOUND`].
#[track_caller]
pub fn assert_quick(close: impl FnOnce()) {
    let (took, stalls) = and_stalls(|| {
        let began = Instant::now();
        close();
        began.elapsed()
    });
    assert!(took < CLOSE_BOUND + stalls, "it took {took:?} to close, with {stalls:?} of stalls");
}

/// Waits until the cache says that it is in `state`.
#[track_caller]
pub fn wait_for_state(cache: &TreeCache, state: State) {
    let deadline = Instant::now() + BOUND;
    while cache.state().0 != state {
        assert!(Instant::now() < deadline, "waited {BOUND:?} for {state:?}, it is {:?}", cache.state());
        thread::sleep(Duration::from_millis(2));
    }
}

/// An event, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub kind: EventKind,
    /// Empty unless this is a node event.
    pub path: String,
    pub data: Option<Vec<u8>>,
    pub old_data: Option<Vec<u8>>,
    pub stat: Option<Stat>,
    pub zxid: Zxid,
    /// The event's `last_of_version`.
    pub last: bool,
}

impl Recorded {
    pub fn of(event: &Event<'_>) -> Recorded {
        Recorded {
            kind: event.kind,
            path: event.path.unwrap_or_default().to_owned(),
            data: event.node.map(|node| node.data().to_vec()),
            old_data: event.old.map(|node| node.data().to_vec()),
            stat: event.node.map(|node| *node.stat()),
            zxid: event.zxid,
            last: event.last_of_version,
        }
    }

    pub fn is(&self, kind: EventKind, path: &str) -> bool {
        self.kind == kind && self.path == path
    }

    pub fn is_of_a_node(&self) -> bool {
        matches!(self.kind, EventKind::NodeAdded | EventKind::NodeUpdated | EventKind::NodeRemoved)
    }
}

/// What was told so far, and who waits for more.
struct Tape<T> {
    told: Mutex<Vec<T>>,
    more: Condvar,
}

impl<T: Clone + std::fmt::Debug> Tape<T> {
    fn new() -> Arc<Tape<T>> {
        Arc::new(Tape { told: Mutex::default(), more: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, told: T) {
        self.lock().push(told);
        self.more.notify_all();
    }

    #[track_caller]
    fn wait_for(&self, mut holds: impl FnMut(&[T]) -> bool) -> Vec<T> {
        let (told, timeout) = self
            .more
            .wait_timeout_while(self.lock(), BOUND, |told| !holds(told))
            .unwrap_or_else(PoisonError::into_inner);
        let told = told.clone();
        if timeout.timed_out() {
            let last: Vec<&T> = told.iter().rev().take(20).rev().collect();
            panic!("waited {BOUND:?}, and was told {} things, the last of them {last:#?}", told.len());
        }
        told
    }
}

/// A listener that remembers.
pub struct Recorder {
    pub id: ListenerId,
    tape: Arc<Tape<Recorded>>,
}

impl Recorder {
    /// Listens to `cache` from now on.
    #[track_caller]
    pub fn listen(cache: &TreeCache) -> Recorder {
        Recorder::listen_with(cache, &[])
    }

    /// Listens to what these settings leave.
    #[track_caller]
    pub fn listen_with(cache: &TreeCache, settings: &[(&str, &str)]) -> Recorder {
        let tape = Tape::new();
        let to = tape.clone();
        let listener = move |event: &Event<'_>| to.push(Recorded::of(event));
        let id = match settings {
            [] => cache.listen(listener),
            _ => cache.listen_with(&config(settings), listener),
        };
        Recorder { id: id.expect("a listener"), tape }
    }

    /// What was told so far.
    pub fn events(&self) -> Vec<Recorded> {
        self.tape.lock().clone()
    }

    /// Waits until `holds` of all that was told so far, and returns that.
    #[track_caller]
    pub fn wait_for(&self, holds: impl FnMut(&[Recorded]) -> bool) -> Vec<Recorded> {
        self.tape.wait_for(holds)
    }

    /// Waits for an event of `kind` at `path`.
    #[track_caller]
    pub fn wait_for_event(&self, kind: EventKind, path: &str) -> Vec<Recorded> {
        self.wait_for(|events| events.iter().any(|event| event.is(kind, path)))
    }

    /// Waits until there were `count` events of `kind`.
    #[track_caller]
    pub fn wait_for_kind(&self, kind: EventKind, count: usize) -> Vec<Recorded> {
        self.wait_for(|events| events.iter().filter(|event| event.kind == kind).count() >= count)
    }
}

/// A fault listener that remembers.
pub struct Faults {
    tape: Arc<Tape<Fault>>,
}

impl Faults {
    #[track_caller]
    pub fn of(cache: &TreeCache) -> Faults {
        let tape = Tape::new();
        let to = tape.clone();
        cache.listen_fault(move |fault| to.push(fault.clone())).expect("a fault listener");
        Faults { tape }
    }

    #[track_caller]
    pub fn of_client(client: &Client) -> Faults {
        let tape = Tape::new();
        let to = tape.clone();
        client.listen_fault(move |fault| to.push(fault.clone())).expect("a fault listener");
        Faults { tape }
    }

    pub fn told(&self) -> Vec<Fault> {
        self.tape.lock().clone()
    }

    #[track_caller]
    pub fn wait_for(&self, mut holds: impl FnMut(&Fault) -> bool) -> Fault {
        let told = self.tape.wait_for(|faults| faults.iter().any(&mut holds));
        told.into_iter().find(|fault| holds(fault)).expect("it was told")
    }
}

/// A tree by path: data and Stat.
pub type Tree = BTreeMap<String, (Vec<u8>, Stat)>;

/// What a consumer knows who was told nothing but these events.
///
/// # Panics
/// When an event makes no sense after those before it: an addition of what is there, a removal or update of what is
/// not, a child before its parent, a parent removed before its children, other old data than were told; or when a
/// version's events are out of order or do not share a zxid.
#[track_caller]
pub fn replay(events: &[Recorded]) -> Tree {
    let mut tree = Tree::new();
    let mut root: Option<&str> = None;
    // The last event, unless it ended its version.
    let mut before: Option<&Recorded> = None;
    for event in events.iter().filter(|event| event.is_of_a_node()) {
        let Recorded { kind, path, zxid, .. } = event;
        if let Some(before) = before {
            assert_eq!(before.zxid, *zxid, "one version, two zxids: {before:?}, {event:?}");
            let goes_back = *kind == EventKind::NodeRemoved && before.kind != EventKind::NodeRemoved;
            assert!(!goes_back, "a removal after an addition or update: {before:?}, {event:?}");
        }
        before = (!event.last).then_some(event);

        let data = event.data.clone().expect("a node event has data");
        let stat = event.stat.expect("a node event has a Stat");
        assert_eq!(data.len(), stat.data_length as usize, "{path}: data and Stat of different moments");
        assert_eq!(event.old_data.is_some(), *kind == EventKind::NodeUpdated, "{event:?}");
        let known = tree.get(path).map(|(data, _)| data.as_slice());
        match kind {
            EventKind::NodeAdded => {
                assert_eq!(known, None, "added twice: {path}");
                let root = *root.get_or_insert(path);
                assert!(path == root || tree.contains_key(parent(path)), "added before its parent: {path}");
                tree.insert(path.clone(), (data, stat));
            }
            EventKind::NodeUpdated => {
                let known = known.unwrap_or_else(|| panic!("updated but never added: {path}"));
                assert_eq!(Some(known), event.old_data.as_deref(), "{path}: not the old data");
                tree.insert(path.clone(), (data, stat));
            }
            _ => {
                assert_eq!(known, Some(data.as_slice()), "{path}: not the last data, or not there at all");
                tree.remove(path);
                let below = format!("{}/", if path == "/" { "" } else { path });
                let child = tree.range(below.clone()..).next().filter(|(path, _)| path.starts_with(&below));
                assert_eq!(child.map(|(path, _)| path), None, "{path} was removed before what is below it");
            }
        }
    }
    tree
}

pub fn node_events(events: &[Recorded]) -> usize {
    events.iter().filter(|event| event.is_of_a_node()).count()
}

pub fn kinds(events: &[Recorded]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

/// The path of the parent; "" for `/`.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => "/",
        Some(at) => &path[..at],
        None => "",
    }
}

/// Waits until what was told, replayed, is the tree that can be read: the same nodes with the same data. (Stats that
/// moved without the data are not told.)
#[track_caller]
pub fn assert_told_the_tree(recorder: &Recorder, cache: &TreeCache) {
    let essence = |tree: Tree| -> BTreeMap<String, (Vec<u8>, Zxid, Zxid)> {
        tree.into_iter().map(|(path, (data, stat))| (path, (data, stat.czxid, stat.mzxid))).collect()
    };
    let deadline = Instant::now() + BOUND;
    loop {
        let readable = essence(tree_of(&cache.snapshot().expect("a snapshot")));
        let told = essence(replay(&recorder.events()));
        if told == readable {
            return;
        }
        if Instant::now() > deadline {
            let told_only: Vec<_> =
                told.iter().filter(|(path, node)| readable.get(*path) != Some(node)).collect();
            let read_only: Vec<_> =
                readable.iter().filter(|(path, node)| told.get(*path) != Some(node)).collect();
            panic!("told but not readable: {told_only:#?}\nreadable but not told: {read_only:#?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// All readable nodes of a snapshot; empty when there is no root.
#[track_caller]
pub fn tree_of(snapshot: &Snapshot) -> Tree {
    let mut tree = Tree::new();
    if let Some(root) = root_of(snapshot) {
        let walked = snapshot.walk(&root, |path, node| {
            let before = tree.insert(path.to_owned(), (node.data().to_vec(), *node.stat()));
            assert!(before.is_none(), "{path} was walked twice");
            Walk::Continue
        });
        walked.expect("a walk from the root");
    }
    assert_eq!(tree.len(), snapshot.len(), "the walk and the length of a snapshot");
    tree
}

/// Where the tree of a snapshot begins; `None` when it has no readable root.
fn root_of(snapshot: &Snapshot) -> Option<String> {
    // The message of an error names the root, but a tree of one's own is found without it: `/` is in the tree or not.
    match snapshot.get_data("/") {
        Ok(_) => Some("/".to_owned()),
        Err(treecache::Error::OutOfTree { root, .. }) => snapshot.get_data(&root).ok().map(|_| root),
        Err(_) => None,
    }
}

/// Waits until the cache says that it is in step and equals the server, then compares every byte, every Stat
/// (aversion aside) and every child list. Only while nobody writes.
#[track_caller]
pub fn assert_same_as_server(cache: &TreeCache, witness: &Witness, root: &str) {
    assert_becomes(cache, &witness.truth(root));
}

/// Waits until the cache says that it is in step and is this tree.
#[track_caller]
pub fn assert_becomes(cache: &TreeCache, truth: &BTreeMap<String, TruthNode>) {
    let deadline = Instant::now() + BOUND;
    loop {
        // The state first: in step is what the cache was before the snapshot that is looked at.
        let state = cache.state().0;
        let snapshot = cache.snapshot().expect("a snapshot");
        let mut differences = differences(&snapshot, truth);
        if state != State::InStep {
            differences.insert(0, format!("the state is {state:?}"));
        }
        if !snapshot.is_cut() {
            differences.insert(0, format!("the snapshot of {:?} is no cut", snapshot.zxid()));
        }
        if differences.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            let count = differences.len();
            differences.truncate(20);
            panic!("the tree is not as at the server, {count} differences:\n{}", differences.join("\n"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What tells a snapshot from the truth, in words.
pub fn differences(snapshot: &Snapshot, truth: &BTreeMap<String, TruthNode>) -> Vec<String> {
    let tree = tree_of(snapshot);
    let paths: BTreeSet<&String> = tree.keys().chain(truth.keys()).collect();
    let mut differences = Vec::new();
    for path in paths {
        match (tree.get(path), truth.get(path)) {
            (Some(_), None) => differences.push(format!("{path}: the server has no such node")),
            (Some(_), Some(node)) if !node.readable => {
                differences.push(format!("{path}: it may not be read, but is in the tree"));
            }
            (None, Some(node)) if node.readable => differences.push(format!("{path}: missing")),
            (Some((data, stat)), Some(node)) => {
                if *data != node.data {
                    let (ours, theirs) = (excerpt(data), excerpt(&node.data));
                    differences.push(format!("{path}: data {ours}, at the server {theirs}"));
                }
                let (ours, theirs) = (comparable(truth_of(stat)), comparable(node.stat));
                if ours != theirs {
                    differences.push(format!("{path}: Stat {ours:?}, at the server {theirs:?}"));
                }
                let names = snapshot.get_children(path).expect("the node is there");
                if !names.names().eq(node.children.iter()) {
                    let names: Vec<&str> = names.names().collect();
                    let theirs = &node.children;
                    differences.push(format!("{path}: children {names:?}, at the server {theirs:?}"));
                }
            }
            (None, Some(_)) => match snapshot.get_data(path) {
                Err(treecache::Error::NoPermission(_)) => {}
                other => differences.push(format!("{path}: it may not be read, but reads give {other:?}")),
            },
            (None, None) => {}
        }
    }
    differences
}

fn comparable(stat: TruthStat) -> TruthStat {
    TruthStat { aversion: 0, ..stat }
}

/// The library's Stat in the witness's words.
pub fn truth_of(stat: &Stat) -> TruthStat {
    TruthStat {
        czxid: stat.czxid.0,
        mzxid: stat.mzxid.0,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner,
        data_length: stat.data_length,
        num_children: stat.num_children,
        pzxid: stat.pzxid.0,
    }
}

fn excerpt(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(&data[..data.len().min(40)]);
    format!("{text:?} ({} bytes)", data.len())
}

/// CPU time that this process has used so far.
pub fn cpu_time() -> Duration {
    cpu_time_of("/proc/self/stat")
}

/// CPU time that a process or thread has used so far.
#[track_caller]
fn cpu_time_of(file: &str) -> Duration {
    let stat = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("clock ticks")).sum();
    // USER_HZ is 100 on every Linux there is.
    Duration::from_millis(ticks * 10)
}

/// The threads of this process, by their ids, with their names.
fn threads() -> BTreeMap<u32, String> {
    let threads = std::fs::read_dir("/proc/self/task").expect("/proc/self/task").flatten();
    threads
        .filter_map(|thread| {
            let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
            Some((thread.file_name().to_str()?.parse().ok()?, name.trim_end().to_owned()))
        })
        .collect()
}

/// How many threads of this process have this name.
pub fn threads_named(name: &str) -> usize {
    threads().values().filter(|other| *other == name).count()
}

/// The I/O thread of one client, by its id.
pub struct IoThread {
    id: u32,
}

impl IoThread {
    /// Makes a client, and finds its thread: the one that was not there before.
    #[track_caller]
    pub fn of_a_new_client(hosts: &str, settings: &[(&str, &str)]) -> (Client, IoThread) {
        let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = threads();
        let client = new_client(hosts, settings);
        let mut new = None;
        // It takes its name itself, when it has begun.
        eventually("the client's I/O thread", || {
            let is_it = |(id, name): &(u32, String)| name == "treecache-io" && !before.contains_key(id);
            new = threads().into_iter().find(is_it);
            new.is_some()
        });
        (client, IoThread { id: new.expect("a thread").0 })
    }

    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        cpu_time_of(&format!("/proc/self/task/{}/stat", self.id))
    }

    /// Watches the thread for a while in which it has next to nothing to do.
    #[track_caller]
    pub fn assert_calm(&self, watched: Duration) {
        let (began, before) = (Instant::now(), self.cpu_time());
        thread::sleep(watched);
        let (used, passed) = (self.cpu_time() - before, began.elapsed());
        // A tick of the clock may fall on either side.
        assert!(used < passed / 5 + Duration::from_millis(20), "{used:?} of CPU time in {passed:?}");
    }
}

/// The memory that this process holds, in bytes.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("KiB") * 1024
}

/// What the test is called, as it is given to its binary, that this is, or a closure in it.
pub fn name_of<T>(_: &T) -> &'static str {
    let name = std::any::type_name::<T>().trim_end_matches("::{{closure}}");
    name.split_once("::").expect("the crate comes first").1
}

/// Runs the body of a test where no other test disturbs what it counts.
#[track_caller]
pub fn in_a_process_of_its_own(test: impl FnOnce()) {
    const ALONE: &str = "TREECACHE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let executable = std::env::current_exe().expect("the name of this program");
    let args = ["--exact", name_of(&test), "--nocapture"];
    let output = Command::new(executable).args(args).env(ALONE, "1").output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// A server that is none: does as `serve` says with every connection, each on a thread of its own, as long as the process lives.
pub fn listener(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(move || serve(client.unwrap()));
        }
    });
    addr
}
