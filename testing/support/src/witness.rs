//! Test writes and truth reads through the `zookeeper` crate, a client that others wrote.
//!
//! Every call that cannot do what its name says panics with the path and the error: in a test, that is the end of
//! it. [`Witness::client`] gives the crate's own client where an error is what is tested.

use crate::acl::Acl;
use crate::server::{FOUR_LETTER_BOUND, four_letter};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::time::{Duration, Instant};
use std::{net::SocketAddr, thread};
use zookeeper::{CreateMode, Permission, Stat, ZkError, ZkState, ZooKeeper};

/// Short, because the crate retries without a pause while its server is down, for as long as this.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const CONNECT_BOUND: Duration = Duration::from_secs(30);
/// What the crate makes of THROTTLEDOP, by which a server refuses what has waited for too long.
const THROTTLED: ZkError = ZkError::Unimplemented;
/// The crate waits for the answer to each request, so truth reads overlap by threads.
const READERS: usize = 16;

/// A node's Stat, all eleven fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TruthStat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl From<Stat> for TruthStat {
    fn from(stat: Stat) -> TruthStat {
        TruthStat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            ephemeral_owner: stat.ephemeral_owner,
            data_length: stat.data_length,
            num_children: stat.num_children,
            pzxid: stat.pzxid,
        }
    }
}

/// A node as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthNode {
    /// Empty when the server has null.
    pub data: Vec<u8>,
    pub stat: TruthStat,
    /// Names, sorted by their bytes.
    pub children: Vec<String>,
    /// False when the witness may not read the node: then only its Stat is known, and not even that (all zero) where
    /// the server wants the permission for `exists` too, as 3.9.3 does.
    pub readable: bool,
}

/// A client of one server. When its connection was lost, the next call makes a new session, and waits for the
/// server to be there again if need be. A read that was under way at that time is done again, and so is one
/// that a busy server refuses; a write panics, and so it waits for the answer to a read first.
pub struct Witness {
    addr: SocketAddr,
    session: Mutex<Option<Session>>,
    auth: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Session {
    client: Arc<ZooKeeper>,
    lost: Arc<AtomicBool>,
}

impl Witness {
    /// Connects to `hosts`, one `address:port`.
    #[track_caller]
    pub fn connect(hosts: &str) -> Witness {
        Witness::try_connect(hosts).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`connect`](Self::connect), for a server that may go away. The error says which.
    pub fn try_connect(hosts: &str) -> Result<Witness, String> {
        let addr = hosts.parse().map_err(|error| format!("{hosts:?} is not one address:port: {error}"))?;
        let session = Mutex::new(Some(open(addr)?));
        Ok(Witness { addr, session, auth: Mutex::new(Vec::new()) })
    }

    /// The `zookeeper` crate's client, connected.
    pub fn client(&self) -> Arc<ZooKeeper> {
        let mut slot = lock(&self.session);
        if let Some(session) = &*slot
            && !session.lost.load(Ordering::Relaxed)
        {
            return session.client.clone();
        }
        if let Some(old) = slot.take() {
            close(old.client, Duration::ZERO);
        }
        let session = open(self.addr).unwrap_or_else(|error| panic!("{error}"));
        for identity in lock(&self.auth).iter() {
            session.client.add_auth("digest", identity.clone().into_bytes()).expect("authentication");
        }
        *slot = Some(session.clone());
        session.client
    }

    /// The client, whose session lives. On a busy machine one that was idle may have ended unnoticed.
    fn awake(&self) -> Arc<ZooKeeper> {
        // Any answer will do, and what is wrong for long the next call says.
        let _ = self.ask(|client| client.exists("/", false));
        self.client()
    }

    /// Authenticates this and all later sessions of the witness with the `digest` scheme.
    #[track_caller]
    pub fn add_auth(&self, user: &str, password: &str) {
        let identity = format!("{user}:{password}");
        expect("authenticate", user, self.awake().add_auth("digest", identity.clone().into_bytes()));
        lock(&self.auth).push(identity);
    }

    /// Creates an open node. Empty data is stored as empty, not as null: for that see [`crate::Writer`].
    #[track_caller]
    pub fn create(&self, path: &str, data: &[u8]) {
        self.create_with_acl(path, data, &Acl::open());
    }

    #[track_caller]
    pub fn create_with_acl(&self, path: &str, data: &[u8], acl: &[Acl]) {
        let created = self.awake().create(path, data.to_vec(), acl_of(acl), CreateMode::Persistent);
        expect("create", path, created);
    }

    /// Creates an ephemeral node of the witness's session.
    #[track_caller]
    pub fn create_ephemeral(&self, path: &str, data: &[u8]) {
        let acl = acl_of(&Acl::open());
        expect("create", path, self.awake().create(path, data.to_vec(), acl, CreateMode::Ephemeral));
    }

    /// Creates the node and its parents, those that are not there.
    #[track_caller]
    pub fn ensure_path(&self, path: &str) {
        let client = self.awake();
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends.filter(|end| *end > 1) {
            let acl = acl_of(&Acl::open());
            match client.create(&path[..end], Vec::new(), acl, CreateMode::Persistent) {
                Err(ZkError::NodeExists) => {}
                created => {
                    expect("create", &path[..end], created);
                }
            }
        }
    }

    #[track_caller]
    pub fn set(&self, path: &str, data: &[u8]) -> TruthStat {
        expect("set", path, self.awake().set_data(path, data.to_vec(), None)).into()
    }

    #[track_caller]
    pub fn set_acl(&self, path: &str, acl: &[Acl]) -> TruthStat {
        expect("set the ACL of", path, self.awake().set_acl(path, acl_of(acl), None)).into()
    }

    /// Deletes a node, whatever its version.
    #[track_caller]
    pub fn delete(&self, path: &str) {
        expect("delete", path, self.awake().delete(path, None));
    }

    /// Deletes a node and all below it. Nothing happens when it is not there.
    #[track_caller]
    pub fn delete_recursive(&self, path: &str) {
        let mut found = vec![path.to_owned()];
        let mut next = 0;
        while let Some(parent) = found.get(next).cloned() {
            match self.ask(|client| client.get_children(&parent, false)) {
                Ok(names) => found.extend(names.iter().map(|name| join(&parent, name))),
                Err(ZkError::NoNode) => {}
                Err(error) => panic!("list {parent}: {error:?}"),
            }
            next += 1;
        }
        let client = self.awake();
        for path in found.iter().rev() {
            match client.delete(path, None) {
                Err(ZkError::NoNode) => {}
                deleted => expect("delete", path, deleted),
            }
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Option<(Vec<u8>, TruthStat)> {
        let (data, stat) = found("read", path, self.ask(|client| client.get_data(path, false)))?;
        Some((data, stat.into()))
    }

    /// The names of a node's children, sorted by their bytes.
    #[track_caller]
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        let mut names = found("list", path, self.ask(|client| client.get_children(path, false)))?;
        names.sort_unstable();
        Some(names)
    }

    #[track_caller]
    pub fn exists(&self, path: &str) -> bool {
        self.stat(path).is_some()
    }

    /// A node's Stat. Up to 3.8 this needs no permission to read the node.
    #[track_caller]
    pub fn stat(&self, path: &str) -> Option<TruthStat> {
        expect("stat", path, self.ask(|client| client.exists(path, false))).map(TruthStat::from)
    }

    /// The tree at and below `root`, by path; empty when `root` is not there. Without `/zookeeper` when `root` is
    /// `/`. Read node by node, so it is the truth only while nobody writes.
    #[track_caller]
    pub fn truth(&self, root: &str) -> BTreeMap<String, TruthNode> {
        let work =
            Mutex::new(Work { paths: vec![root.to_owned()], busy: 0, nodes: BTreeMap::new(), failed: None });
        let more = Condvar::new();
        thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| self.read_nodes(&work, &more));
            }
        });
        let work = work.into_inner().unwrap_or_else(|error| error.into_inner());
        if let Some((path, error)) = work.failed {
            panic!("read {path}: {error:?}");
        }
        work.nodes
    }

    fn read_nodes(&self, work: &Mutex<Work>, more: &Condvar) {
        let mut guard = lock(work);
        loop {
            if guard.failed.is_some() {
                return;
            }
            let Some(path) = guard.paths.pop() else {
                if guard.busy == 0 {
                    return;
                }
                guard = more.wait(guard).unwrap_or_else(|error| error.into_inner());
                continue;
            };
            guard.busy += 1;
            drop(guard);
            let read = self.ask(|client| read_node(client, &path));
            guard = lock(work);
            guard.busy -= 1;
            match read {
                Ok(Some(node)) => {
                    guard.paths.extend(node.children.iter().map(|name| join(&path, name)));
                    guard.nodes.insert(path, node);
                }
                Ok(None) => {}
                Err(error) => guard.failed = Some((path, error)),
            }
            more.notify_all();
        }
    }

    /// Asks for what changes nothing, until it is answered.
    fn ask<T>(&self, question: impl Fn(&ZooKeeper) -> Result<T, ZkError>) -> Result<T, ZkError> {
        let passing = [THROTTLED, ZkError::ConnectionLoss, ZkError::SessionExpired];
        until_answered(&passing, || question(&self.client()))
    }
}

/// Asks again while the answer is one of these errors.
fn until_answered<T>(passing: &[ZkError], question: impl Fn() -> Result<T, ZkError>) -> Result<T, ZkError> {
    let deadline = Instant::now() + CONNECT_BOUND;
    loop {
        match question() {
            Err(error) if passing.contains(&error) && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(50));
            }
            answer => return answer,
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(session) = lock(&self.session).take() {
            // So that its ephemeral nodes are gone; but not for longer, a paused server never answers.
            let wait = if session.lost.load(Ordering::Relaxed) { 0 } else { 1_000 };
            close(session.client, Duration::from_millis(wait));
        }
    }
}

/// What the readers of a tree share.
struct Work {
    paths: Vec<String>,
    busy: usize,
    nodes: BTreeMap<String, TruthNode>,
    failed: Option<(String, ZkError)>,
}

fn read_node(client: &ZooKeeper, path: &str) -> Result<Option<TruthNode>, ZkError> {
    let opaque = || {
        let stat = match client.exists(path, false) {
            Ok(None) => return Ok(None),
            Ok(Some(stat)) => stat.into(),
            Err(ZkError::NoAuth) => TruthStat::default(),
            Err(error) => return Err(error),
        };
        Ok(Some(TruthNode { data: Vec::new(), stat, children: Vec::new(), readable: false }))
    };
    let (data, stat) = match client.get_data(path, false) {
        Ok(read) => read,
        Err(ZkError::NoNode) => return Ok(None),
        Err(ZkError::NoAuth) => return opaque(),
        Err(error) => return Err(error),
    };
    let mut children = match stat.num_children {
        0 => Vec::new(),
        _ => match client.get_children(path, false) {
            Ok(names) => names,
            Err(ZkError::NoNode) => return Ok(None),
            Err(ZkError::NoAuth) => return opaque(),
            Err(error) => return Err(error),
        },
    };
    if path == "/" {
        children.retain(|name| name != "zookeeper");
    }
    children.sort_unstable();
    Ok(Some(TruthNode { data, stat: stat.into(), children, readable: true }))
}

fn open(addr: SocketAddr) -> Result<Session, String> {
    let deadline = Instant::now() + CONNECT_BOUND;
    loop {
        // The crate spins while nobody listens, and its first connect must not be refused at all.
        while !four_letter(addr, "srvr", FOUR_LETTER_BOUND).is_ok_and(|answer| answer.contains("Mode: ")) {
            if Instant::now() > deadline {
                return Err(format!("no ZooKeeper server serves on {addr}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let client = ZooKeeper::connect(&addr.to_string(), SESSION_TIMEOUT, |_| {})
            .map_err(|error| format!("no client of {addr}: {error:?}"))?;
        let client = Arc::new(client);
        let lost = Arc::new(AtomicBool::new(false));
        let connected = Arc::new(AtomicBool::new(false));
        let (seen, was_connected) = (lost.clone(), connected.clone());
        client.add_listener(move |state| match state {
            ZkState::Connected => was_connected.store(true, Ordering::Relaxed),
            // Before it was connected, this is only the first attempt being repeated.
            _ => seen.store(was_connected.load(Ordering::Relaxed), Ordering::Relaxed),
        });
        // A request is queued until there is a session, and tells that there is one.
        match until_answered(&[THROTTLED], || client.exists("/", false)) {
            Ok(_) => {
                connected.store(true, Ordering::Relaxed);
                return Ok(Session { client, lost });
            }
            // On a busy machine an attempt may take too long. The next one has a client of its own.
            Err(ZkError::ConnectionLoss | ZkError::SessionExpired) if Instant::now() < deadline => {
                close(client, Duration::ZERO);
                thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(format!("no session with {addr}: {error:?}")),
        }
    }
}

/// Closes a session without trusting it to answer: the crate's close waits for as long as the server is silent.
fn close(client: Arc<ZooKeeper>, wait: Duration) {
    let (done, closed) = mpsc::channel();
    thread::spawn(move || {
        drop(client);
        let _ = done.send(());
    });
    let _ = closed.recv_timeout(wait);
}

fn acl_of(acl: &[Acl]) -> Vec<zookeeper::Acl> {
    const BITS: [(i32, Permission); 5] = [
        (Acl::READ, Permission::READ),
        (Acl::WRITE, Permission::WRITE),
        (Acl::CREATE, Permission::CREATE),
        (Acl::DELETE, Permission::DELETE),
        (Acl::ADMIN, Permission::ADMIN),
    ];
    let permission = |perms| {
        let granted = BITS.iter().filter(|(bit, _)| perms & bit != 0);
        granted.fold(Permission::NONE, |sum, (_, permission)| sum | *permission)
    };
    acl.iter().map(|entry| zookeeper::Acl::new(permission(entry.perms), &entry.scheme, &entry.id)).collect()
}

fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[track_caller]
fn expect<T>(what: &str, path: &str, result: Result<T, ZkError>) -> T {
    result.unwrap_or_else(|error| panic!("{what} {path}: {error:?}"))
}

#[track_caller]
fn found<T>(what: &str, path: &str, result: Result<T, ZkError>) -> Option<T> {
    match result {
        Err(ZkError::NoNode) => None,
        result => Some(expect(what, path, result)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|error| error.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Op, Server, Writer, shared, unique_root};

    #[test]
    fn the_truth_of_ten_thousand_nodes_takes_seconds() {
        let root = unique_root("truth");
        let mut writer = Writer::connect(shared().addr(), Duration::from_secs(10)).expect("a session");
        writer.create(&root, Some(b"root"), 0).expect("root");
        for i in 0..100 {
            let parent = format!("{root}/{i}");
            writer.send(&Op::Create { path: &parent, data: None, flags: 0 }).expect("a create");
            for j in 0..99 {
                let path = format!("{parent}/{j}");
                writer
                    .send(&Op::Create { path: &path, data: Some(path.as_bytes()), flags: 0 })
                    .expect("a create");
            }
        }
        writer.drain().expect("10,000 nodes");
        let witness = Witness::connect(&shared().hosts());
        let started = Instant::now();
        let truth = witness.truth(&root);
        println!("10,001 nodes read in {:?}", started.elapsed());
        assert!(started.elapsed() < Duration::from_secs(60));
        assert_eq!(truth.len(), 10_001);
        let leaf = format!("{root}/42/7");
        assert_eq!(truth[&leaf].data, leaf.as_bytes());
        assert_eq!(truth[&format!("{root}/42")].children.len(), 99);
        assert_eq!(truth[&root].stat.num_children, 100);
        assert!(truth[&root].children.is_sorted());
        witness.delete_recursive(&root);
        assert_eq!(witness.truth(&root), BTreeMap::new());
    }

    #[test]
    fn the_truth_of_slash_leaves_zookeeper_out() {
        let server = Server::start();
        let witness = Witness::connect(&server.hosts());
        witness.ensure_path("/a/ä/b");
        let truth = witness.truth("/");
        assert_eq!(truth.keys().collect::<Vec<_>>(), ["/", "/a", "/a/ä", "/a/ä/b"]);
        assert_eq!(truth["/"].children, ["a"]);
    }

    #[test]
    fn a_witness_outlives_its_servers_death() {
        let mut server = Server::start();
        let witness = Witness::connect(&server.hosts());
        witness.create("/a", b"1");
        server.restart();
        witness.set("/a", b"2");
        assert_eq!(witness.get("/a").expect("/a").0, b"2");
    }

    #[test]
    fn writes_do_what_they_say() {
        let root = unique_root("writes");
        let witness = Witness::connect(&shared().hosts());
        witness.create(&root, b"");
        let child = format!("{root}/child");
        {
            let other = Witness::connect(&shared().hosts());
            other.create_ephemeral(&child, b"e");
            assert_ne!(witness.stat(&child).expect("the child").ephemeral_owner, 0);
        }
        // The other one may have gone before its session was closed.
        let deadline = Instant::now() + Duration::from_secs(20);
        while witness.exists(&child) {
            assert!(Instant::now() < deadline, "the child is still there");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(witness.children(&root).expect("children"), [""; 0]);
        witness.create_with_acl(&child, b"private", &Acl::read_only_by("bob", "pw"));
        assert_eq!(witness.client().get_data(&child, false).err(), Some(ZkError::NoAuth));
        assert_eq!(witness.set_acl(&child, &Acl::open()).aversion, 1);
        assert_eq!(witness.get(&child).expect("the child").0, b"private");
        assert_eq!(witness.get("/no-such-node"), None);
    }
}
