//! Every cut equals the server's tree at the zxid it carries, and at rest the cache is the server's tree.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treecache::EventKind::{ConnectionReconnected, ConnectionSuspended};
use treecache::{Snapshot, Stat, Walk, Zxid};
use treecache_test_support::{
    Op, Proxy, Verdict, Witness, Writer, expire_session, password_of, shared, unique_root,
};

use crate::common::*;
use crate::subject::Subject;

/// What a node is according to the transactions that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Modelled {
    data: Vec<u8>,
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
    version: i32,
    cversion: i32,
    num_children: i32,
}

impl Modelled {
    fn of(data: &[u8], stat: &Stat) -> Modelled {
        Modelled {
            data: data.to_vec(),
            czxid: stat.czxid.0,
            mzxid: stat.mzxid.0,
            pzxid: stat.pzxid.0,
            version: stat.version,
            cversion: stat.cversion,
            num_children: stat.num_children,
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, Vec<u8>),
    Set(String, Vec<u8>),
    Delete(String),
}

/// The tree as the transactions make it, one after the other.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<String, Modelled>,
}

impl Model {
    fn apply(&mut self, zxid: i64, change: &Change) {
        let (path, children) = match change {
            Change::Create(path, data) => {
                let node = Modelled {
                    data: data.clone(),
                    czxid: zxid,
                    mzxid: zxid,
                    pzxid: zxid,
                    version: 0,
                    cversion: 0,
                    num_children: 0,
                };
                assert!(self.nodes.insert(path.clone(), node).is_none());
                (path, 1)
            }
            Change::Set(path, data) => {
                let node = self.nodes.get_mut(path).expect("what is set exists");
                node.data.clone_from(data);
                node.mzxid = zxid;
                node.version += 1;
                return;
            }
            Change::Delete(path) => {
                assert!(self.nodes.remove(path).is_some());
                (path, -1)
            }
        };
        let (parent, _) = path.rsplit_once('/').expect("paths are absolute");
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.pzxid = zxid;
            parent.cversion += 1;
            parent.num_children += children;
        }
    }
}

/// Writes at random below a root, and keeps what it wrote with the zxids.
struct Scribbler {
    root: String,
    random: fastrand::Rng,
    /// What exists, parents before their children.
    paths: Vec<String>,
    log: Vec<(i64, Vec<Change>)>,
}

impl Scribbler {
    fn new(root: &str, seed: u64) -> Scribbler {
        Scribbler {
            root: root.to_owned(),
            random: fastrand::Rng::with_seed(seed),
            paths: Vec::new(),
            log: Vec::new(),
        }
    }

    fn data(&mut self) -> Vec<u8> {
        let len = match self.random.u32(..20) {
            0 => 0,
            1 => self.random.usize(..20_000),
            _ => self.random.usize(..200),
        };
        (0..len).map(|_| self.random.u8(..)).collect()
    }

    fn any_path(&mut self) -> String {
        self.paths[self.random.usize(..self.paths.len())].clone()
    }

    fn has_children(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        self.paths.iter().any(|other| other.starts_with(&prefix))
    }

    /// One change that is valid now.
    fn change(&mut self) -> Change {
        if self.paths.is_empty() {
            let root = self.root.clone();
            self.paths.push(root.clone());
            return Change::Create(root, self.data());
        }
        match self.random.u32(..10) {
            0..=3 => {
                let parent = self.any_path();
                // Few names, so that nodes are created again and again.
                let path = format!("{parent}/{}", self.random.u32(..12));
                if self.paths.contains(&path) || path.matches('/').count() > 6 {
                    return Change::Set(parent, self.data());
                }
                self.paths.push(path.clone());
                Change::Create(path, self.data())
            }
            4..=6 => Change::Set(self.any_path(), self.data()),
            _ => {
                let path = self.any_path();
                if self.has_children(&path) {
                    return Change::Set(path, self.data());
                }
                self.paths.retain(|other| *other != path);
                Change::Delete(path)
            }
        }
    }

    /// One transaction of one to four changes.
    fn transact(&mut self, writer: &mut Writer) {
        let count = self.random.usize(1..=4);
        let changes: Vec<Change> = (0..count).map(|_| self.change()).collect();
        let ops: Vec<Op<'_>> = changes
            .iter()
            .map(|change| match change {
                Change::Create(path, data) => Op::Create { path, data: Some(data), flags: 0 },
                Change::Set(path, data) => Op::Set { path, data: Some(data) },
                Change::Delete(path) => Op::Delete { path },
            })
            .collect();
        let zxid = writer.multi(&ops).expect("every transaction is valid");
        self.log.push((zxid, changes));
    }
}

fn contents(snapshot: &Snapshot, root: &str) -> BTreeMap<String, Modelled> {
    let mut contents = BTreeMap::new();
    // An empty tree has nothing to walk over.
    let _ = snapshot.walk(root, |path, node| {
        contents.insert(path.to_owned(), Modelled::of(node.data(), node.stat()));
        Walk::Continue
    });
    contents
}

/// Compares each cut with the model at its zxid.
fn check_cuts(log: &[(i64, Vec<Change>)], cuts: &[Snapshot], root: &str) {
    let mut model = Model::default();
    let mut written = log.iter().peekable();
    for cut in cuts {
        while let Some((zxid, changes)) = written.next_if(|(zxid, _)| Zxid(*zxid) <= cut.zxid()) {
            for change in changes {
                model.apply(*zxid, change);
            }
        }
        let found = contents(cut, root);
        for (path, node) in &model.nodes {
            assert_eq!(found.get(path), Some(node), "{path} in the cut at {}", cut.zxid());
        }
        assert_eq!(found.len(), model.nodes.len(), "nodes that are not at the server at {}", cut.zxid());
        assert_eq!(cut.len(), found.len());
    }
}

/// Cuts that a test sees at least, so that it is about them.
const LEAST_CUTS: usize = 10;

/// So many transactions, and more where the cache has not been quick enough for some cuts between them.
fn scribble(name: &str, seed: u64, transactions: usize, delay: Duration) {
    let server = shared();
    let root = unique_root(name);
    let proxy = Proxy::start(server.addr());
    proxy.set_delay(delay);
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[("root.create", "false")]);
    let recorder = Recorder::listen(&cache);

    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("connected");
    let mut scribbler = Scribbler::new(&root, seed);
    let (done, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    let cuts = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let mut cuts: Vec<Snapshot> = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let snapshot = cache.snapshot().expect("the cache is open");
                if snapshot.is_cut() && cuts.last().is_none_or(|last| last.zxid() < snapshot.zxid()) {
                    cuts.push(snapshot);
                    seen.store(cuts.len(), Ordering::Relaxed);
                }
            }
            cuts
        });
        let patience = Instant::now() + BOUND;
        while scribbler.log.len() < transactions
            || seen.load(Ordering::Relaxed) < LEAST_CUTS && Instant::now() < patience
        {
            scribbler.transact(&mut writer);
        }
        done.store(true, Ordering::Relaxed);
        collecting.join().expect("the collector does not panic")
    });
    let transactions = scribbler.log.len();
    println!("{name}: {} cuts of {transactions} transactions, {} nodes", cuts.len(), scribbler.paths.len());
    assert!(cuts.len() >= LEAST_CUTS, "only {} cuts", cuts.len());
    check_cuts(&scribbler.log, &cuts, &root);

    let witness = Witness::connect(&server.hosts());
    assert_same_as_server(&cache, &witness, &root);
    let at_rest = cache.snapshot().expect("the cache is open");
    recorder.wait_for(|events| replay(events).len() == at_rest.len());
    for (path, (data, stat)) in replay(&recorder.events()) {
        let node = at_rest.get_data(&path).expect("what was told of is there");
        assert_eq!((node.data(), node.stat().mzxid), (&data[..], stat.mzxid), "{path}");
    }
}

#[test]
fn every_cut_equals_the_history_at_its_zxid() {
    for seed in 1..=3 {
        scribble("history", seed, 2000, Duration::ZERO);
    }
}

#[test]
fn every_cut_equals_the_history_at_its_zxid_from_afar() {
    scribble("history-afar", 4, 2000, Duration::from_millis(5));
}

#[test]
fn a_tree_that_is_written_while_it_is_loaded_is_exact() {
    let server = shared();
    for seed in 10..14 {
        let root = unique_root("busy-load");
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("connected");
        let mut scribbler = Scribbler::new(&root, seed);
        for _ in 0..1500 {
            scribbler.transact(&mut writer);
        }
        let proxy = Proxy::start(server.addr());
        proxy.set_delay(Duration::from_millis(3));
        let client = client(&proxy.hosts());
        let cache = client.cache(&root, &treecache::Config::new()).expect("a valid path");
        let recorder = Recorder::listen(&cache);
        cache.start().expect("started");
        for _ in 0..800 {
            scribbler.transact(&mut writer);
        }
        cache.wait_initialized(Some(Duration::from_secs(20))).expect("the first load is complete");
        assert_same_as_server(&cache, &Witness::connect(&server.hosts()), &root);
        let len = cache.snapshot().expect("the cache is open").len();
        recorder.wait_for(|events| replay(events).len() == len);
    }
}

#[test]
fn data_of_every_kind_and_names_from_the_whole_bmp_are_kept_as_they_are() {
    let server = shared();
    let root = unique_root("kinds");
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("connected");
    let client = client(&server.hosts());
    writer.create(&root, None, 0).expect("created");
    let write_all = |writer: &mut Writer, prefix: &str| {
        let all_bytes: Vec<u8> = (0..=255).collect();
        let million = vec![0xa5; 1_000_000];
        let kinds: [(&str, Option<&[u8]>); 5] = [
            ("null", None),
            ("empty", Some(b"")),
            ("bytes", Some(&all_bytes)),
            ("nul", Some(b"a\0b")),
            ("million", Some(&million)),
        ];
        for (name, data) in kinds {
            writer.create(&format!("{root}/{prefix}-{name}"), data, 0).expect("created");
        }
        // A sample of every block of the BMP that ZooKeeper allows.
        for code in (0x20..0xffef).step_by(97) {
            if let Some(c) = char::from_u32(code)
                && !matches!(c, '/' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}')
            {
                writer.create(&format!("{root}/{prefix}-{c}"), Some(b"bmp"), 0).expect("created");
            }
        }
    };
    write_all(&mut writer, "before");
    let cache = started(&client, &root, &[]);
    write_all(&mut writer, "after");
    assert_same_as_server(&cache, &Witness::connect(&server.hosts()), &root);
    for prefix in ["before", "after"] {
        for name in ["null", "empty"] {
            assert_eq!(cache.get_data(format!("{root}/{prefix}-{name}")).unwrap().data(), b"");
        }
    }
    writer.set(&format!("{root}/after-million"), Some(&vec![1; 1_000_000])).expect("set");
    writer.create(&format!("{root}/after-million/child"), Some(b"x"), 0).expect("created");
    assert_same_as_server(&cache, &Witness::connect(&server.hosts()), &root);
}

#[test]
fn wide_and_deep_trees_are_exact() {
    let server = shared();
    let root = unique_root("shapes");
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("connected");
    writer.create(&root, None, 0).expect("created");
    writer.create(&format!("{root}/wide"), None, 0).expect("created");
    for n in 0..5000 {
        let path = format!("{root}/wide/{:05}", (n * 7919) % 5000);
        writer.send(&Op::Create { path: &path, data: Some(b"w"), flags: 0 }).expect("sent");
    }
    writer.drain().expect("created");
    let mut path = format!("{root}/deep");
    writer.create(&path, None, 0).expect("created");
    for n in 0..300 {
        path.push_str(&format!("/{n}"));
        writer.create(&path, Some(b"d"), 0).expect("created");
    }
    let client = client(&server.hosts());
    let cache = started(&client, &root, &[]);
    let witness = Witness::connect(&server.hosts());
    assert_same_as_server(&cache, &witness, &root);
    for n in (0..5000).step_by(3) {
        let path = format!("{root}/wide/{n:05}");
        writer.send(&Op::Delete { path: &path }).expect("sent");
    }
    writer.drain().expect("deleted");
    while path != format!("{root}/deep/0") {
        writer.delete(&path).expect("deleted");
        path.truncate(path.rfind('/').expect("absolute"));
    }
    assert_same_as_server(&cache, &witness, &root);
}

/// What every cut has to hold: all money, and the token in exactly one place, with the number of the transaction that
/// put it there as its data and as that of the last account paid.
#[track_caller]
fn assert_is_a_cut(snapshot: &Snapshot, root: &str) {
    let read = |path: &str| snapshot.get_data(format!("{root}{path}")).ok();
    let sum: i64 = (0..ACCOUNTS)
        .map(|i| read(&format!("/a{i:02}")).expect("an account"))
        .map(|node| String::from_utf8_lossy(node.data()).parse::<i64>().expect("a balance"))
        .sum();
    assert_eq!(sum, 100 * ACCOUNTS as i64, "money at {:?}", snapshot.zxid());
    let places: Vec<_> = (0..3).filter_map(|i| read(&format!("/p{i}/token"))).collect();
    assert_eq!(places.len(), 1, "tokens at {:?}", snapshot.zxid());
    let serial = read("/serial").expect("the serial number");
    assert_eq!(places[0].data(), serial.data(), "the token's number at {:?}", snapshot.zxid());
    assert_eq!(places[0].stat().czxid, serial.stat().mzxid, "the token's zxid at {:?}", snapshot.zxid());
}

const ACCOUNTS: usize = 20;

#[test]
fn every_cut_is_exact_while_transactions_go_on_and_the_connection_is_lost_again_and_again() {
    let (root, witness) = (unique_root("chaos"), witness());
    let mut writer = writer();
    writer.create(&root, None, 0).expect("the root");
    for i in 0..ACCOUNTS {
        writer.create(&format!("{root}/a{i:02}"), Some(b"100"), 0).expect("an account");
    }
    for i in 0..3 {
        writer.create(&format!("{root}/p{i}"), None, 0).expect("a place");
    }
    let (serial, token) = (format!("{root}/serial"), format!("{root}/p0/token"));
    writer
        .multi(&[
            Op::Create { path: &serial, data: Some(b"0"), flags: 0 },
            Op::Create { path: &token, data: Some(b"0"), flags: 0 },
        ])
        .expect("the token");
    let proxy = Proxy::start(shared().addr());
    let settings = [("session.timeout.ms", "2000"), ("connect.timeout.ms", "500")];
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &settings);
    let (writing, reading, cuts) = (AtomicBool::new(true), AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut balances, mut place) = ([100i64; ACCOUNTS], 0);
            for n in 1usize.. {
                if !writing.load(Ordering::Relaxed) {
                    break;
                }
                let (from, to, amount) = (n % ACCOUNTS, n * 7 % ACCOUNTS, (n % 13) as i64);
                balances[from] -= amount;
                balances[to] += amount;
                let next = n % 3;
                let accounts = [from, to].map(|i| (format!("{root}/a{i:02}"), balances[i].to_string()));
                let (old, new) = (format!("{root}/p{place}/token"), format!("{root}/p{next}/token"));
                let number = n.to_string();
                writer
                    .multi(&[
                        Op::Set { path: &accounts[0].0, data: Some(accounts[0].1.as_bytes()) },
                        Op::Set { path: &accounts[1].0, data: Some(accounts[1].1.as_bytes()) },
                        Op::Delete { path: &old },
                        Op::Create { path: &new, data: Some(number.as_bytes()), flags: 0 },
                        Op::Set { path: &serial, data: Some(number.as_bytes()) },
                    ])
                    .expect("a transaction");
                place = next;
                if n % 8 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        scope.spawn(|| {
            let mut last = Zxid(0);
            while reading.load(Ordering::Relaxed) {
                let snapshot = subject.cache.snapshot().expect("a snapshot");
                assert!(snapshot.zxid() >= last, "from {last:?} back to {:?}", snapshot.zxid());
                if snapshot.is_cut() {
                    cuts.fetch_add(usize::from(snapshot.zxid() > last), Ordering::Relaxed);
                    assert_is_a_cut(&snapshot, &root);
                }
                last = snapshot.zxid();
            }
        });
        for round in 0..18u64 {
            // Some connections are soon lost, and some are good for a while.
            thread::sleep(Duration::from_millis(if round % 3 == 0 { 1100 } else { 20 + round * 37 % 150 }));
            proxy.set_delay(Duration::from_millis(if round % 4 == 3 { 3 } else { 0 }));
            let suspended = subject.count(ConnectionSuspended);
            match round % 6 {
                2 => {
                    let session = proxy.last_session();
                    expire_session(shared().addr(), session, password_of(session)).expect("its end");
                }
                // In place of one of the next replies or notifications.
                0 | 4 => {
                    let mut left = round + 1;
                    proxy.on_reply(Box::new(move |_| {
                        left = left.wrapping_sub(1);
                        if left == 0 { Verdict::Drop } else { Verdict::Pass }
                    }));
                }
                5 => {
                    proxy.blackhole(true);
                    thread::sleep(Duration::from_millis(300));
                    proxy.drop_connections();
                    proxy.blackhole(false);
                }
                _ => proxy.drop_connections(),
            }
            subject.recorder.wait_for_kind(ConnectionSuspended, suspended + 1);
            eventually("it is connected again", || {
                subject.count(ConnectionReconnected) == subject.count(ConnectionSuspended)
            });
        }
        writing.store(false, Ordering::Relaxed);
        proxy.on_reply(Box::new(|_| Verdict::Pass));
        assert_same_as_server(&subject.cache, &witness, &root);
        reading.store(false, Ordering::Relaxed);
    });
    let cuts = cuts.into_inner();
    assert!(cuts > 20, "{cuts} cuts");
    subject.assert_recovered(&witness, &root);
}
