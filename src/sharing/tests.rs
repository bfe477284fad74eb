//! Caches that share their trees in files, where the test says by hand what an I/O thread would. `crashes`: what is left wherever
//! a writer is stopped; `confined`: processes as in containers.

mod confined;
mod crashes;

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::file;
use crate::client::tests::{HEARD_AGO, Hand, client};
use crate::clock;
use crate::fork::NotInherited;
use crate::net::CacheSink;
use crate::share::{OBJECTS_AT, Page, Root};
use crate::snapshot::tests::node;
use crate::stat::{Stat, Zxid};
use crate::sync::Output;
use crate::tree::{Node, Tree, Version};
use crate::{Client, Config, Error, EventKind, Fault, State, Status, TreeCache};

/// Where files are that go with the machine's power, as people have them.
pub(crate) fn folder() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    match shm.is_dir() {
        true => tempfile::tempdir_in(shm).expect("a folder"),
        false => tempfile::tempdir().expect("a folder"),
    }
}

/// A cache of /foo that shares its tree, and what plays its I/O thread.
pub(crate) struct Sharing {
    pub(crate) cache: TreeCache,
    pub(crate) sink: Arc<dyn CacheSink>,
    faults: mpsc::Receiver<Fault>,
    _client: Client,
    _hand: Arc<Hand>,
}

fn config(keys: &[(&str, &str)]) -> Config {
    let mut config = Config::new();
    keys.iter().for_each(|(key, value)| config.set(key, value).unwrap());
    config
}

fn sharing_with(file: &Path, keys: &[(&str, &str)]) -> Result<Sharing, Error> {
    let (client, hand) = client();
    let mut config = config(keys);
    config.set("share.file", file.to_str().unwrap()).unwrap();
    let cache = client.cache("/foo", &config).unwrap();
    let (told, faults) = mpsc::channel();
    cache.listen_fault(move |fault| _ = told.send(fault.clone())).unwrap();
    cache.start()?;
    Ok(Sharing { cache, sink: hand.sink(), faults, _client: client, _hand: hand })
}

pub(crate) fn sharing(file: &Path) -> Sharing {
    sharing_with(file, &[]).unwrap()
}

impl Sharing {
    pub(crate) fn publish(&self, tree: &Tree, zxid: i64) {
        publish(&*self.sink, tree, zxid);
    }

    /// As a cache is told when it has loaded its tree.
    pub(crate) fn in_step(&self, tree: &Tree, zxid: i64) {
        self.publish(tree, zxid);
        self.sink.tell(Output::State(State::InStep));
        self.sink.tell(Output::Event(EventKind::Initialized));
        self.sink.tell(Output::Event(EventKind::InStep));
    }

    pub(super) fn fault(&self) -> Fault {
        self.faults.recv_timeout(Duration::from_secs(20)).expect("a fault")
    }
}

fn publish(sink: &dyn CacheSink, tree: &Tree, zxid: i64) {
    let version =
        Version { tree: tree.clone(), zxid: Zxid(zxid), is_cut: true, is_complete: true, is_own: true };
    sink.tell(Output::Publish(Arc::new(version), 1));
}

pub(super) fn tree(paths: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for path in paths {
        assert!(tree.put(path, node(1, 1)));
    }
    tree
}

pub(super) fn attach(file: &Path) -> Result<TreeCache, Error> {
    TreeCache::attach(file, &Config::new())
}

pub(super) fn attached(file: &Path) -> TreeCache {
    attach(file).unwrap()
}

/// Waits until something is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn until_at(cache: &TreeCache, zxid: i64) {
    until("the version", || cache.snapshot().unwrap().zxid() == Zxid(zxid));
}

/// What a cache tells from now on, in words.
pub(super) fn told(cache: &TreeCache) -> mpsc::Receiver<String> {
    let (told, events) = mpsc::channel();
    cache
        .listen(move |event| {
            let path = event.path.unwrap_or_default();
            _ = told.send(format!("{:?} {path}", event.kind).trim_end().to_owned());
        })
        .unwrap();
    events
}

pub(super) fn next(events: &mpsc::Receiver<String>, count: usize) -> Vec<String> {
    (0..count).map(|_| events.recv_timeout(Duration::from_secs(20)).expect("an event")).collect()
}

#[test]
fn an_attached_cache_reads_what_another_one_publishes() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    let mut tree = tree(&["", "a", "a/b", "c"]);
    sharing.in_step(&tree, 9);
    let cache = attached(&file);
    assert_eq!(cache.wait_initialized(Some(Duration::from_secs(20))), Ok(()));
    until_at(&cache, 9);
    assert_eq!(cache.get_data("/foo/a/b").unwrap().data(), b"1");
    assert_eq!(cache.get_children("/foo").unwrap().names().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(cache.get_data("/foo/x").unwrap_err().status(), Status::NoNode);
    assert_eq!(cache.get_data("/bar").unwrap_err().status(), Status::OutOfTree);
    let first = cache.snapshot().unwrap();
    assert_eq!((first.is_cut(), first.len()), (true, 4));
    until("the state", || cache.state().0 == State::InStep);
    let began = Instant::now();
    let (age, ours) = (cache.state().1.unwrap(), sharing.cache.state().1.unwrap());
    let between = began.elapsed();
    assert!(
        age <= ours + Duration::from_secs(3) && ours <= age + Duration::from_secs(5) + between,
        "{age:?}, {ours:?}"
    );
    let stats = cache.stats();
    assert_eq!(
        (stats.state, stats.zxid, stats.nodes, stats.cuts),
        (State::InStep, Zxid(9), 4, stats.versions)
    );
    assert!(cache.is_initialized() && stats.session_id == 0 && stats.server.is_none());
    assert_eq!(cache.sync(None).unwrap_err().status(), Status::Unsupported);
    assert_eq!(cache.start(), Err(Error::State("the cache was started before")));

    assert!(tree.put("a/b", node(1, 2)) && tree.remove("c"));
    sharing.publish(&tree, 10);
    until_at(&cache, 10);
    let mut changes = Vec::new();
    let second = cache.snapshot().unwrap();
    let seen = second.changes_since(&first, |event| {
        changes.push(format!("{:?} {}", event.kind, event.path.unwrap()));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(
        (seen, &*changes),
        (Ok(()), &["NodeRemoved /foo/c".to_owned(), "NodeUpdated /foo/a/b".to_owned()][..])
    );
    assert_eq!((first.get_data("/foo/a/b").unwrap().data(), first.len()), (&b"1"[..], 4));
    // What is handed out outlives all of it.
    let (data, children) = (cache.get_data("/foo/a/b").unwrap(), cache.get_children("/foo").unwrap());
    drop((sharing, cache, folder));
    assert_eq!((data.data(), children.names().collect::<Vec<_>>()), (&b"2"[..], vec!["a"]));
    assert_eq!(second.get_data("/foo/a").unwrap().data(), b"1");
}

#[test]
fn who_listens_is_told_the_tree_so_far_and_then_what_differs() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    let mut tree = tree(&["", "a"]);
    sharing.in_step(&tree, 9);
    let cache = attached(&file);
    assert_eq!(cache.wait_initialized(Some(Duration::from_secs(20))), Ok(()));
    let events = told(&cache);
    let so_far = ["NodeAdded /foo", "NodeAdded /foo/a", "Initialized"];
    assert_eq!(next(&events, 3), so_far);
    let queue = cache.queue(&config(&[("listen.events", "added,removed")])).unwrap();
    for zxid in 10..30 {
        assert!(tree.put(&format!("n{zxid}"), node(zxid, zxid)));
        sharing.publish(&tree, zxid);
        let told = events.iter().find(|event| event.starts_with("Node")).unwrap();
        assert_eq!(told, format!("NodeAdded /foo/n{zxid}"));
    }
    until("all of it", || queue.drain(3).is_ok_and(|items| items.is_empty()));
    assert!(queue.fd().is_ok());
    // The writer loses its connection, and gets it back.
    sharing.sink.tell(Output::State(State::Suspended));
    assert_eq!(next(&events, 1), ["ConnectionSuspended"]);
    assert_eq!(cache.state().0, State::Suspended);
    sharing.sink.tell(Output::State(State::CatchingUp));
    assert_eq!(next(&events, 1), ["ConnectionReconnected"]);
    assert!(tree.remove("a"));
    sharing.publish(&tree, 40);
    sharing.sink.tell(Output::State(State::InStep));
    assert_eq!(next(&events, 2), ["NodeRemoved /foo/a", "InStep"]);
    cache.close();
    assert_eq!(cache.get_data("/foo").unwrap_err(), Error::Closed);
    assert_eq!(cache.state().0, State::Closed);
    assert_eq!(queue.next(None).err(), Some(Error::Closed));
    assert_eq!(cache.listen(|_| {}), Err(Error::Closed));
}

#[test]
fn without_a_file_it_is_loading_and_what_comes_is_taken_up() {
    let folder = folder();
    let file = folder.path().join("tree");
    let cache = attached(&file);
    assert_eq!((cache.state(), cache.is_initialized()), ((State::Loading, None), false));
    assert_eq!(cache.get_data("/foo").unwrap_err().status(), Status::NotReady);
    assert!(matches!(cache.wait_initialized(Some(Duration::from_millis(10))), Err(Error::Timeout { .. })));
    let under = config(&[("listen.under", "/foo/a")]);
    assert_eq!(cache.listen_with(&under, |_| {}).unwrap_err().status(), Status::State);
    let events = told(&cache);
    let sharing = sharing(&file);
    sharing.in_step(&tree(&["", "a"]), 9);
    assert_eq!(next(&events, 4), ["NodeAdded /foo", "NodeAdded /foo/a", "Initialized", "InStep"]);
    assert_eq!(cache.wait_initialized(Some(Duration::from_secs(20))), Ok(()));
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");
    assert!(cache.listen_with(&under, |_| {}).is_ok());
}

#[test]
fn a_writer_that_goes_is_suspended_and_one_that_comes_back_is_taken_up() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    let mut tree = tree(&["", "a"]);
    first.in_step(&tree, 9);
    let cache = attached(&file);
    assert_eq!(cache.wait_initialized(Some(Duration::from_secs(20))), Ok(()));
    let events = told(&cache);
    assert_eq!(next(&events, 3)[2], "Initialized");
    let snapshot = cache.snapshot().unwrap();
    drop(first);
    assert_eq!(events.iter().find(|event| event.starts_with("Conn")).unwrap(), "ConnectionSuspended");
    assert_eq!((cache.state().0, cache.get_data("/foo/a").unwrap().data()), (State::Suspended, &b"1"[..]));
    // All of it is removed, and made anew.
    for path in [file.clone(), file::side_of(&file)] {
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");
    let second = sharing(&file);
    assert!(tree.put("b", node(2, 2)));
    second.in_step(&tree, 20);
    let rest = next(&events, 3);
    assert!(
        rest.contains(&"NodeAdded /foo/b".to_owned()) && rest.contains(&"ConnectionReconnected".to_owned()),
        "{rest:?}"
    );
    until_at(&cache, 20);
    assert_eq!((snapshot.zxid(), snapshot.len()), (Zxid(9), 2));
}

#[test]
fn a_connection_is_told_to_be_back_before_what_has_come_of_it() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    let mut tree = tree(&["", "a"]);
    first.in_step(&tree, 9);
    let cache = attached(&file);
    assert_eq!(cache.wait_initialized(Some(Duration::from_secs(20))), Ok(()));
    let events = told(&cache);
    let until_told = |last: &str| {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|seen| seen != last) {
            seen.extend(next(&events, 1));
        }
        seen
    };
    until_told("Initialized");
    for number in 10..20 {
        first.sink.tell(Output::State(State::Suspended));
        assert_eq!(until_told("ConnectionSuspended"), ["ConnectionSuspended"]);
        // At once: so both are there when somebody looks.
        let name = format!("b{number}");
        assert!(tree.put(&name, node(2, 2)));
        first.sink.tell(Output::State(State::CatchingUp));
        first.publish(&tree, number);
        first.sink.tell(Output::State(State::InStep));
        assert_eq!(
            until_told("InStep"),
            ["ConnectionReconnected", &format!("NodeAdded /foo/{name}"), "InStep"]
        );
    }
}

#[test]
fn what_cannot_be_read_makes_no_cache_initialized() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    let part = Version { tree: tree(&["", "a"]), is_cut: false, is_complete: false, ..Version::default() };
    first.sink.tell(Output::Publish(Arc::new(part), 1));
    let cache = attached(&file);
    until("a version", || cache.stats().versions == 1);
    let len = std::fs::metadata(&file).unwrap().len();
    // The rest comes, and nobody has looked at it when it is damaged.
    first.in_step(&tree(&["", "a", "b", "c"]), 9);
    until("the root", || std::fs::metadata(&file).unwrap().len() > len);
    let written = std::fs::metadata(&file).unwrap().len();
    let opened = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    opened.write_all_at(&vec![0xff; (written - len) as usize], len).unwrap();
    until("the writer's word", || {
        let side = std::fs::read(file::side_of(&file)).unwrap();
        let page = Page::decode(side[Page::AT as usize..][..Page::LEN].try_into().unwrap());
        page.is_some_and(|page| page.is_initialized)
    });
    assert!(!cache.is_initialized());
    assert!(matches!(cache.wait_initialized(Some(Duration::ZERO)), Err(Error::Timeout { .. })));
    assert_eq!((cache.state().0, cache.stats().versions), (State::CatchingUp, 1));
}

#[test]
fn a_tree_that_is_held_or_left_behind_is_as_old_as_its_last_cut() {
    let began = Instant::now();
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    first.in_step(&tree(&["", "a"]), 9);
    let cache = attached(&file);
    until("the state", || cache.state().0 == State::InStep);
    let at_most = HEARD_AGO + Duration::from_secs(2);
    assert!(cache.stats().cut_age.is_some_and(|age| age < at_most + began.elapsed()));
    let later = HEARD_AGO + Duration::from_millis(2500);
    // The client hears its server all the time; of the tree it hears nothing.
    first.sink.tell(Output::State(State::Held));
    until("the age of what is held", || matches!(cache.state(), (State::Held, Some(age)) if age > later));
    assert!(cache.stats().cut_age > Some(later));
    // A connection that is there again, and is lost before anything was read on it, makes nothing younger.
    first.sink.tell(Output::State(State::CatchingUp));
    until("the state", || cache.state().0 == State::CatchingUp);
    first.sink.tell(Output::State(State::Suspended));
    until("the state", || cache.state().0 == State::Suspended);
    assert!(cache.state().1 > Some(later) && cache.stats().cut_age > Some(later));
    drop(first);
    until("the last word", || cache.state().0 == State::Suspended);
    assert!(cache.stats().cut_age > Some(later));
    let next = sharing_with(&file, &[("share.max.age.ms", &later.as_millis().to_string())]).unwrap();
    assert!(matches!(next.cache.get_data("/foo/a"), Err(Error::NotReady(_))), "it is too old");
}

#[test]
fn what_was_read_before_a_close_is_in_the_file() {
    let (folder, tree) = (folder(), tree(&["", "a"]));
    for round in 0..50 {
        let file = folder.path().join(round.to_string());
        let sharing = sharing(&file);
        sharing.in_step(&tree, 1);
        // It takes a while to tell them.
        let _queues = [(); 2000].map(|()| sharing.cache.queue(&Config::new()).unwrap());
        let (cache, sink) = (&sharing.cache, &sharing.sink);
        std::thread::scope(|scope| {
            scope.spawn(|| publish(&**sink, &tree, 2));
            while cache.snapshot().unwrap().zxid() != Zxid(2) {
                std::hint::spin_loop();
            }
            cache.close();
        });
        drop(sharing);
        assert_eq!(attached(&file).snapshot().unwrap().zxid(), Zxid(2), "round {round}");
    }
}

#[test]
fn a_second_writer_tells_a_fault_and_takes_over_when_the_first_one_is_gone() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    first.in_step(&tree(&["", "a"]), 9);
    let cache = attached(&file);
    until("the file", || cache.get_data("/foo/a").is_ok());
    let second = sharing(&file);
    second.in_step(&tree(&["", "a", "b"]), 20);
    let fault = second.fault();
    assert_eq!((fault.status, fault.path.unwrap().as_str()), (Status::State, "/foo"));
    assert!(fault.message.contains("is written by another cache"), "{}", fault.message);
    assert_eq!(second.cache.get_data("/foo/b").unwrap().data(), b"1", "it goes on without the file");
    first.publish(&tree(&["", "a", "c"]), 21);
    until_at(&cache, 21);
    drop(first);
    until_at(&cache, 20);
    assert_eq!(cache.get_data("/foo/b").unwrap().data(), b"1");
    until("the state", || cache.state().0 == State::InStep);
    assert!(second.faults.try_recv().is_err(), "it is told once");
}

#[test]
fn what_is_something_else_is_refused_and_left_as_it_is() {
    let folder = folder();
    let file = folder.path().join("tree");
    let refusal = |file: &Path| {
        let error = sharing_with(file, &[]).err().unwrap();
        assert_eq!((error.status(), error.key()), (Status::InvalidArgument, Some("share.file")));
        error.to_string()
    };
    std::fs::write(&file, "root:x:0:0:root:/root:/bin/bash").unwrap();
    let message = attach(&file).err().unwrap().to_string();
    assert_eq!(message, format!("cannot attach to {}: it is no shared tree", file.display()));
    assert_eq!(refusal(&file), format!("\"share.file\" {:?}: it is no shared tree", file.to_str().unwrap()));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "root:x:0:0:root:/root:/bin/bash");
    assert!(refusal(folder.path()).ends_with("it is no file"));
    std::fs::remove_file(&file).unwrap();

    // Of another tree.
    let (client, _hand) = client();
    let other = client.cache("/bar", &config(&[("share.file", file.to_str().unwrap())])).unwrap();
    other.start().unwrap();
    let sink = _hand.sink();
    let version = Version { tree: tree(&[""]), zxid: Zxid(3), is_cut: true, is_complete: true, is_own: true };
    sink.tell(Output::Publish(Arc::new(version), 1));
    drop(other);
    assert!(refusal(&file).ends_with("it is of /bar, and the cache is of /foo"));
    std::fs::remove_file(&file).unwrap();
    drop(sharing_of(&file, 3));
    let error = sharing_with(&file, &[("depth.max", "1")]).err().unwrap().to_string();
    assert!(error.ends_with("it goes by no rules, and the cache goes by depth.max=1"), "{error}");
    let error = sharing_with(&file, &[("data", "none")]).err().unwrap().to_string();
    assert!(error.ends_with("it is made with data=all, and the cache is made with data=none"), "{error}");

    // Of another format.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[8] = 2;
    let sum = crate::share::checksum(&bytes[..32]);
    bytes[32..36].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&file, &bytes).unwrap();
    assert!(refusal(&file).ends_with("it has format 2, and this version of the library reads format 1"));
    let refused = attach(&file).err().unwrap();
    assert!(refused.to_string().contains("it has format 2"), "{refused}");
}

/// A cache that has shared a tree of some nodes.
fn sharing_of(file: &Path, zxid: i64) -> Sharing {
    let sharing = sharing(file);
    sharing.in_step(&tree(&["", "a", "a/b"]), zxid);
    let reader = attached(file);
    until_at(&reader, zxid);
    until("initialized", || reader.is_initialized());
    sharing
}

#[test]
fn a_cache_begins_with_what_an_earlier_one_has_left() {
    let folder = folder();
    let file = folder.path().join("tree");
    drop(sharing_of(&file, 9));
    std::thread::sleep(Duration::from_millis(30));
    let warm = sharing(&file);
    assert_eq!(warm.cache.get_data("/foo/a/b").unwrap().data(), b"1");
    let (state, age) = warm.cache.state();
    assert_eq!(state, State::Warm);
    // The hand of the test says that a server was heard five seconds ago.
    assert!(
        age.is_some_and(|age| (Duration::from_millis(5030)..Duration::from_secs(25)).contains(&age)),
        "{age:?}"
    );
    assert!(!warm.cache.is_initialized());
    let snapshot = warm.cache.snapshot().unwrap();
    assert_eq!((snapshot.zxid(), snapshot.is_cut(), snapshot.len()), (Zxid(9), true, 3));
    drop(warm);

    // Too old, by far.
    let cold = sharing_with(&file, &[("share.max.age.ms", "4000")]).unwrap();
    assert_eq!((cold.cache.state().0, cold.cache.snapshot().unwrap().len()), (State::Loading, 0));
    drop(cold);
    let warm = sharing_with(&file, &[("share.max.age.ms", "86400000")]).unwrap();
    assert_eq!(warm.cache.snapshot().unwrap().len(), 3);
    drop(warm);
    let beyond = sharing_with(&file, &[("limit.nodes", "2")]).unwrap();
    assert_eq!(beyond.cache.snapshot().unwrap().len(), 0);
}

#[test]
fn a_damaged_file_is_an_error_to_readers_and_made_anew_by_a_writer() {
    let folder = folder();
    let file = folder.path().join("tree");
    drop(sharing_of(&file, 9));
    let whole = std::fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    // The last object.
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let cache = attached(&file);
    assert_eq!(cache.get_data("/foo/a").unwrap_err().status(), Status::NotReady);
    let cold = sharing(&file);
    assert_eq!((cold.cache.state().0, cold.cache.snapshot().unwrap().len()), (State::Loading, 0));
    cold.in_step(&tree(&["", "a"]), 12);
    until_at(&cache, 12);
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");
    // A file that is cut off is never mapped beyond its end.
    for len in [0, 5, 39, 40, 1024, OBJECTS_AT as usize, whole.len() - 1] {
        let cut = folder.path().join(format!("cut{len}"));
        std::fs::write(&cut, &whole[..len]).unwrap();
        let attached = attach(&cut);
        assert!(attached.is_err() || len == 0, "{len}");
    }
}

#[test]
fn a_file_that_has_grown_is_made_anew_under_its_readers() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    let cache = attached(&file);
    let mut snapshots = Vec::new();
    let mut tree = tree(&["", "a"]);
    let (mut most, mut inodes) = (0, std::collections::BTreeSet::new());
    for zxid in 2..400 {
        let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), ..Stat::default() };
        assert!(tree.put("large", Some(Node::new(vec![zxid as u8; 100_000].into(), stat))));
        sharing.publish(&tree, zxid);
        until_at(&cache, zxid);
        let (data, snapshot) = (cache.get_data("/foo/large").unwrap(), cache.snapshot().unwrap());
        assert!(data.data().iter().all(|byte| *byte == zxid as u8));
        if zxid % 50 == 0 {
            snapshots.push((zxid, snapshot));
        }
        let named = std::fs::metadata(&file).unwrap();
        most = most.max(named.len());
        inodes.insert(named.ino());
    }
    assert!(most < 10 << 20 && inodes.len() >= 4, "{most} bytes, {} files", inodes.len());
    for (zxid, snapshot) in snapshots {
        let data = snapshot.get_data("/foo/large").unwrap();
        assert_eq!((snapshot.zxid(), data.data()), (Zxid(zxid), &[zxid as u8; 100_000][..]));
    }
    assert!(!file::new_of(&file).exists());
}

#[test]
fn a_file_that_was_removed_is_made_anew_and_is_for_its_owner_and_group() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing_of(&file, 9);
    let cache = attached(&file);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(file.clone()) & !0o640, 0);
    assert_eq!(mode(file::side_of(&file)) & !0o640, 0);
    std::fs::remove_file(&file).unwrap();
    sharing.publish(&tree(&["", "x"]), 10);
    until_at(&cache, 10);
    until("the file", || file.exists());
    // Both of them, and without a new version.
    std::fs::remove_file(file::side_of(&file)).unwrap();
    std::fs::remove_file(&file).unwrap();
    until("the files", || file.exists() && file::side_of(&file).exists());
    sharing.publish(&tree(&["", "y"]), 11);
    until_at(&cache, 11);
    assert!(sharing.faults.try_recv().is_err());
}

#[test]
fn a_folder_that_is_not_there_is_a_fault_and_the_cache_goes_on() {
    let folder = folder();
    let file = folder.path().join("no/such/folder/tree");
    let sharing = sharing(&file);
    sharing.in_step(&tree(&["", "a"]), 9);
    let fault = sharing.fault();
    assert_eq!(fault.status, Status::Connection);
    assert!(
        fault.message.contains("no/such/folder/tree.side") && fault.message.contains("No such file"),
        "{}",
        fault.message
    );
    assert_eq!(sharing.cache.get_data("/foo/a").unwrap().data(), b"1");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let cache = attached(&file);
    until_at(&cache, 9);
}

#[test]
fn on_a_disk_what_is_in_the_file_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    let cache = attached(&file);
    let mut tree = tree(&["", "a"]);
    for zxid in 2..20 {
        assert!(tree.put(&format!("n{zxid}"), node(zxid, zxid)));
        sharing.publish(&tree, zxid);
    }
    until_at(&cache, 19);
    assert_eq!(cache.snapshot().unwrap().len(), tree.len());
}

#[test]
fn a_reader_that_is_asked_all_the_time_never_sees_half_a_version() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    let mut tree = tree(&["", "a", "b"]);
    let last = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (cache, mut seen) = (attached(&file), Zxid(0));
                while seen < Zxid(2000) {
                    let snapshot = cache.snapshot().unwrap();
                    assert!(snapshot.zxid() >= seen, "back in time");
                    seen = snapshot.zxid();
                    if seen > Zxid(0) {
                        let [a, b] = ["/foo/a", "/foo/b"].map(|path| snapshot.get_data(path).unwrap());
                        assert_eq!((a.data(), a.stat().mzxid), (b.data(), seen));
                    }
                    last.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for zxid in 2..=2000 {
            assert!(tree.put("a", node(1, zxid)) && tree.put("b", node(1, zxid)));
            sharing.publish(&tree, zxid);
            if zxid % 100 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

#[test]
fn a_root_that_is_written_is_the_newer_one_of_two_places() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing_of(&file, 9);
    sharing.publish(&tree(&["", "z"]), 10);
    let cache = attached(&file);
    until_at(&cache, 10);
    let opened = std::fs::File::open(&file).unwrap();
    let mut places = [[0; Root::LEN]; 2];
    for (place, at) in places.iter_mut().zip(crate::share::ROOTS_AT) {
        opened.read_exact_at(place, at).unwrap();
    }
    let mut roots =
        places.iter().filter_map(|place| Root::decode(place)).map(|root| (root.sequence, root.zxid));
    let both: std::collections::BTreeMap<_, _> = roots.by_ref().collect();
    assert_eq!(both.into_values().collect::<Vec<_>>(), [Zxid(9), Zxid(10)]);
}

#[test]
fn a_file_whose_side_file_is_gone_is_read_once() {
    let folder = folder();
    let file = folder.path().join("tree");
    drop(sharing_of(&file, 9));
    std::fs::remove_file(file::side_of(&file)).unwrap();
    let cache = attached(&file);
    until_at(&cache, 9);
    // It is looked for the file once a second.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(cache.get_data("/foo/a/b").unwrap().data(), b"1");
    assert_eq!((cache.state().0, cache.stats().versions), (State::Suspended, 1));
    // A writer is found all the same.
    let writer = sharing(&file);
    writer.in_step(&tree(&["", "a"]), 10);
    until_at(&cache, 10);
    until("the state", || cache.state().0 == State::InStep);
}

#[test]
#[expect(unsafe_code, reason = "a fork")]
fn the_child_of_a_fork_goes_on_reading_and_is_told_nothing() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing_of(&file, 9);
    let cache = attached(&file);
    until_at(&cache, 9);
    let events = told(&cache);
    assert_eq!(next(&events, 1), ["NodeAdded /foo"]);
    let snapshot = cache.snapshot().unwrap();
    // SAFETY: the child reads, and ends without what is done at the end of a process.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let began = Instant::now();
        let is_new = || cache.get_data("/foo/new").is_ok_and(|node| node.data() == b"2");
        while !is_new() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_refused = matches!(cache.listen(|_| {}), Err(Error::State(_)))
            && matches!(cache.queue(&Config::new()), Err(Error::State(_)))
            && matches!(cache.unlisten(crate::ListenerId(1)), Err(Error::State(_)));
        let reads = is_new()
            && snapshot.get_data("/foo/a/b").is_ok_and(|node| node.data() == b"1")
            && cache.snapshot().is_ok_and(|newer| newer.zxid() == Zxid(10))
            && cache.state().0 == State::InStep
            && cache.stats().nodes == 2;
        cache.close();
        let reads =
            reads && cache.state().0 == State::Closed && cache.get_data("/foo/new") == Err(Error::Closed);
        drop(cache);
        // SAFETY: nothing is left to be done.
        unsafe { libc::_exit(if reads && is_refused { 0 } else { 1 }) };
    }
    let mut tree = tree(&[""]);
    assert!(tree.put("new", node(2, 2)));
    sharing.publish(&tree, 10);
    until_at(&cache, 10);
    let mut status = 0;
    // SAFETY: the place for the status is valid.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    // The parent is told as ever.
    assert_eq!(events.iter().find(|event| event.ends_with("new")).unwrap(), "NodeAdded /foo/new");
}

#[test]
#[expect(unsafe_code, reason = "a fork")]
fn the_child_of_a_fork_takes_up_a_file_that_comes_later_and_no_other_tree() {
    let folder = folder();
    let [file, later] = ["tree", "later"].map(|name| folder.path().join(name));
    let known = sharing_of(&file, 9);
    let [early, late] = [&file, &later].map(|file| attached(file));
    until_at(&early, 9);
    let inode = std::fs::metadata(&file).unwrap().ino();
    // SAFETY: the child reads, and ends without what is done at the end of a process.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let began = Instant::now();
        let in_time = |is_so: &dyn Fn() -> bool| {
            while !is_so() && began.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            is_so()
        };
        let is_taken_up = in_time(&|| late.get_data("/bar/a").is_ok_and(|node| node.data() == b"1"))
            && late.snapshot().is_ok_and(|snapshot| snapshot.root() == Some("/bar"));
        // It is looked for once a second.
        let is_replaced = in_time(&|| std::fs::metadata(&file).is_ok_and(|now| now.ino() != inode));
        std::thread::sleep(Duration::from_millis(1500));
        let is_kept = early.get_data("/foo/a/b").is_ok_and(|node| node.data() == b"1");
        // SAFETY: nothing is left to be done.
        unsafe { libc::_exit(if is_taken_up && is_replaced && is_kept { 0 } else { 1 }) };
    }
    drop(known);
    let (client, hand) = client();
    let other = client.cache("/bar", &config(&[("share.file", later.to_str().unwrap())])).unwrap();
    other.start().unwrap();
    let version =
        Version { tree: tree(&["", "a"]), zxid: Zxid(3), is_cut: true, is_complete: true, is_own: true };
    hand.sink().tell(Output::Publish(Arc::new(version), 1));
    until_at(&late, 3);
    // Another tree gets the name of the one that is known.
    std::fs::copy(file::side_of(&later), file::side_of(&file)).unwrap();
    std::fs::copy(&later, folder.path().join("copy")).unwrap();
    std::fs::rename(folder.path().join("copy"), &file).unwrap();
    let mut status = 0;
    // SAFETY: the place for the status is valid.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
}

#[test]
#[expect(unsafe_code, reason = "a fork")]
fn the_child_of_a_writer_does_not_hold_its_lock() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing_of(&file, 9);
    // SAFETY: the child does nothing but wait until it is killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: as above.
            unsafe { libc::pause() };
        }
    }
    drop(first);
    let second = sharing(&file);
    second.in_step(&tree(&["", "b"]), 20);
    let cache = attached(&file);
    until_at(&cache, 20);
    let mut status = 0;
    // SAFETY: the place for the status is valid.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
    }
    assert!(second.faults.try_recv().is_err());
}

#[test]
#[expect(unsafe_code, reason = "a fork")]
fn a_child_that_is_forked_while_the_file_of_the_lock_is_opened_does_not_have_the_lock() {
    let folder = folder();
    let path = folder.path().join("locked");
    let children = std::cell::RefCell::new(Vec::new());
    let opened = NotInherited::open(|| {
        let file = file::open_or_make(&path);
        if children.borrow().is_empty() {
            // SAFETY: the child does nothing but wait until it is killed, or for the bell.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: as above.
                unsafe {
                    libc::alarm(60);
                    libc::pause();
                    libc::_exit(0);
                }
            }
            children.borrow_mut().push(child);
        }
        file
    });
    let _lock = file::Lock::take(opened.unwrap()).unwrap().expect("it is free");
    let child = children.into_inner()[0];
    let of_child = |what: &str| PathBuf::from(format!("/proc/{child}/{what}"));
    for entry in std::fs::read_dir(of_child("fd")).unwrap().map(|entry| entry.unwrap()) {
        if std::fs::read_link(entry.path()).is_ok_and(|file| file == path) {
            let info = of_child("fdinfo").join(entry.file_name());
            let info = std::fs::read_to_string(info).unwrap();
            assert!(!info.contains("OFDLCK"), "the child has the lock: {info}");
        }
    }
    let mut status = 0;
    // SAFETY: it is a child, and the place for the status is valid.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0);
    }
}

// --- Processes that are killed ----------------------------------------------------------------------------------------

/// Accounts, and what they hold together.
const ACCOUNTS: usize = 200;
const TOTAL: i64 = 100 * ACCOUNTS as i64;
/// How a process of these tests is told its file.
pub(super) const FILE: &str = "TREECACHE_TEST_SHARE_FILE";

fn account(number: usize) -> String {
    format!("{}/{number:03}", number % 7)
}

/// Publishes versions in which money has moved, until it is killed. It begins with what the one before has left.
#[test]
#[ignore = "a process of another test"]
fn a_writer_that_will_be_killed() {
    let Ok(file) = std::env::var(FILE) else { return };
    let sharing = sharing(Path::new(&file));
    let before = sharing.cache.snapshot().unwrap();
    let (mut tree, mut zxid) = (Tree::default(), before.zxid().0.max(1));
    let mut money = [100; ACCOUNTS];
    let node = |zxid, money: i64| {
        let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), ..Stat::default() };
        Some(Node::new(money.to_string().as_bytes().into(), stat))
    };
    assert!(tree.put("", node(1, 0)));
    for folder in 0..7 {
        assert!(tree.put(&folder.to_string(), node(1, 0)));
    }
    for (number, money) in money.iter_mut().enumerate() {
        if let Ok(node) = before.get_data(format!("/foo/{}", account(number))) {
            *money = std::str::from_utf8(node.data()).unwrap().parse().unwrap();
        }
        assert!(tree.put(&account(number), node(zxid, *money)));
    }
    assert_eq!(money.iter().sum::<i64>(), TOTAL, "what was left is whole");
    sharing.in_step(&tree, zxid);
    let mut random = fastrand::Rng::new();
    loop {
        zxid += 1;
        for _ in 0..random.usize(1..6) {
            let [from, to] = [(); 2].map(|()| random.usize(..ACCOUNTS));
            let sum = random.i64(0..50);
            money[from] -= sum;
            money[to] += sum;
            assert!(tree.put(&account(from), node(zxid, money[from])));
            assert!(tree.put(&account(to), node(zxid, money[to])));
        }
        sharing.publish(&tree, zxid);
        if random.u8(..8) == 0 {
            std::thread::sleep(Duration::from_micros(random.u64(..2000)));
        }
    }
}

/// Adds up what is in each version that it sees, until it is killed.
#[test]
#[ignore = "a process of another test"]
fn a_reader_that_will_be_killed() {
    let Ok(file) = std::env::var(FILE) else { return };
    let cache = attached(Path::new(&file));
    let (mut last, mut held) = (Zxid(0), Vec::new());
    loop {
        let snapshot = cache.snapshot().unwrap();
        check_sum(&snapshot);
        assert!(snapshot.zxid() >= last, "from {last} back to {}", snapshot.zxid());
        last = snapshot.zxid();
        // Some are held for long, through files that come and go.
        if held.len() < 20 || fastrand::u8(..) == 0 {
            held.push(snapshot);
            held.iter().for_each(check_sum);
            if held.len() > 30 {
                held.swap_remove(fastrand::usize(..30));
            }
        }
    }
}

pub(super) fn check_sum(snapshot: &crate::Snapshot) {
    if snapshot.is_empty() {
        return;
    }
    let mut sum = 0;
    for number in 0..ACCOUNTS {
        let node = snapshot.get_data(format!("/foo/{}", account(number))).unwrap();
        sum += std::str::from_utf8(node.data()).unwrap().parse::<i64>().unwrap();
    }
    assert_eq!(sum, TOTAL, "torn at {}", snapshot.zxid());
    let mut walked = 0;
    snapshot
        .walk("/foo", |_, _| {
            walked += 1;
            crate::Walk::Continue
        })
        .unwrap();
    assert_eq!(walked, snapshot.len());
}

/// `TREECACHE_KILL_SECONDS` says for how long, `TREECACHE_KILL_READERS` how many read.
#[test]
fn no_kill_tears_a_version_or_hurts_a_reader_or_leaves_a_file_that_cannot_be_read() {
    let number =
        |name, default| std::env::var(name).map_or(default, |value| value.parse().expect("a number"));
    let (seconds, readers) = (number("TREECACHE_KILL_SECONDS", 5), number("TREECACHE_KILL_READERS", 2));
    let folder = folder();
    let file = folder.path().join("tree");
    let spawn = |test: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("sharing::tests::{test}"), "--ignored", "--nocapture"])
            .env(FILE, &file)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a process")
    };
    let kinds: Vec<&str> = (0..=readers)
        .map(|n| if n == 0 { "a_writer_that_will_be_killed" } else { "a_reader_that_will_be_killed" })
        .collect();
    let mut processes: Vec<_> = kinds.iter().map(|kind| spawn(kind)).collect();
    let (cache, began) = (attached(&file), Instant::now());
    let (mut kills, mut versions) = (0, std::collections::BTreeSet::new());
    // On a busy machine a process may be killed before it has done anything: then it takes longer.
    let is_enough =
        |kills, versions| kills > 10 && versions > 10 || began.elapsed() > Duration::from_secs(60);
    while began.elapsed() < Duration::from_secs(seconds) || !is_enough(kills, versions.len()) {
        let pause = Instant::now() + Duration::from_millis(fastrand::u64(1..120));
        while Instant::now() < pause {
            let snapshot = cache.snapshot().unwrap();
            check_sum(&snapshot);
            versions.insert(snapshot.zxid().0);
        }
        // The writer as often as all others.
        let at = if fastrand::bool() { 0 } else { fastrand::usize(..processes.len()) };
        let ended = processes[at].try_wait().unwrap();
        assert!(ended.is_none(), "{} has ended by itself: {ended:?}", kinds[at]);
        processes[at].kill().unwrap();
        processes[at].wait().unwrap();
        processes[at] = spawn(kinds[at]);
        kills += 1;
    }
    for (process, kind) in processes.iter_mut().zip(&kinds) {
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "{kind} has ended by itself: {ended:?}");
        process.kill().unwrap();
        process.wait().unwrap();
    }
    println!("{kills} kills, {} versions seen here", versions.len());
    assert!(kills > 10 && versions.len() > 10, "{kills} kills, {} versions", versions.len());
    let last = attached(&file);
    check_sum(&last.snapshot().unwrap());
    assert!(!last.snapshot().unwrap().is_empty());
    drop(sharing(&file));
}

/// Puts down what a writer would say that has heard a server right now.
fn says(file: &Path, state: State, of_file: impl FnOnce(u64) -> u64) {
    let side = std::fs::OpenOptions::new().read(true).write(true).open(file::side_of(file)).unwrap();
    let mut bytes = [0; Page::LEN];
    side.read_exact_at(&mut bytes, Page::AT).unwrap();
    let page = Page::decode(&bytes).expect("what the last writer said");
    let timeout = Duration::from_secs(60);
    let said = Page {
        state,
        is_initialized: true,
        file: of_file(page.file),
        session_timeout: timeout,
        heard: super::time::moment(clock::now()),
    };
    side.write_all_at(&said.encode(), Page::AT).unwrap();
}

#[test]
fn what_a_writer_says_of_another_file_brings_nobody_in_step_with_this_one() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    sharing.in_step(&tree(&["", "a"]), 9);
    let cache = attached(&file);
    until_at(&cache, 9);
    drop(sharing);
    until("it is known to be gone", || cache.state().0 == State::Suspended);
    // The next one is in step, and its file is not there yet, or cannot be taken up.
    says(&file, State::InStep, |file| file + 1);
    let (state, age) = cache.state();
    assert_eq!(state, State::CatchingUp);
    assert!(age.is_none_or(|age| age > Duration::ZERO) && !cache.is_initialized(), "{age:?}");
    says(&file, State::InStep, |file| file - 1);
    assert!(cache.is_initialized());
    assert_eq!(cache.state().0, State::InStep);
}

#[test]
fn a_writer_that_takes_longer_paths_is_followed_like_the_one_before() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    first.in_step(&tree(&["", "a"]), 9);
    let cache = attached(&file);
    until_at(&cache, 9);
    drop(first);
    let second = sharing_with(&file, &[("limit.path.bytes", "5000")]).unwrap();
    second.in_step(&tree(&["", "b"]), 20);
    until_at(&cache, 20);
}

#[test]
fn what_was_heard_by_a_writer_that_was_not_in_step_makes_no_old_tree_young() {
    let folder = folder();
    let file = folder.path().join("tree");
    let first = sharing(&file);
    first.in_step(&tree(&["", "a"]), 9);
    until_at(&attached(&file), 9);
    drop(first);
    let mut number = 0;
    says(&file, State::Closed, |file| {
        number = file;
        file
    });
    // The hand of the test says that a server was heard five seconds ago; the page says that one was right now.
    for (state, is_begun_with) in [(State::CatchingUp, false), (State::Loading, false), (State::Closed, true)]
    {
        says(&file, state, |_| number);
        let next = sharing_with(&file, &[("share.max.age.ms", "3000")]).unwrap();
        assert_eq!(next.cache.get_data("/foo/a").is_ok(), is_begun_with, "{state:?}");
    }
}
