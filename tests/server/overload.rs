//! More than is good for anybody: a server that is too busy to answer, data at the size that ZooKeeper just takes, a
//! listener that sleeps while the world goes on, ten thousand nodes gone at once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use treecache::{Client, EventKind, Snapshot, State, TreeCache};
use treecache_test_support::{Op, Proxy, Server, Verdict, Witness, Writer, shared, unique_root};

const MIB: usize = 1 << 20;
/// Data of a node: with its path and headers, a little less than the server's `jute.maxbuffer`.
const MEGABYTE: usize = 1_000_000;
/// No reply may be larger.
const MOST_REPLY: usize = 4 * MIB;
/// Nor this, where a few nodes of a list, taken at random, are all that tells that there are large ones.
const MOST_SURPRISE: usize = 32 * MIB;
/// So long that a busy machine is in time.
const PATIENT: &[(&str, &str)] = &[("connect.timeout.ms", "20000"), ("session.timeout.ms", "60000")];
const THROTTLED: i32 = -127;

fn writer(server: SocketAddr) -> Writer {
    Writer::connect(server, Duration::from_secs(60)).expect("a session")
}

fn witness(server: &Server) -> Witness {
    Witness::connect(&server.hosts())
}

/// A server with room for this many nodes of a megabyte, their way in and their way out.
fn roomy(megabytes: usize) -> Server {
    Server::builder().heap(1024 + 2 * megabytes as u32).start()
}

/// Memory that the machine has left, in bytes.
fn available_memory() -> usize {
    let meminfo = std::fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let line = meminfo.lines().find(|line| line.starts_with("MemAvailable:")).expect("MemAvailable");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") * 1024
}

/// The size of the largest frame from the server, and how many nodes were asked for by their Stat alone.
struct Meter {
    largest: AtomicUsize,
    stats: AtomicUsize,
}

impl Meter {
    fn of(proxy: &Proxy) -> Arc<Meter> {
        let meter = Arc::new(Meter { largest: AtomicUsize::new(0), stats: AtomicUsize::new(0) });
        let (replies, requests) = (meter.clone(), meter.clone());
        proxy.on_reply(Box::new(move |frame| {
            replies.largest.fetch_max(frame.body.len(), Ordering::Relaxed);
            Verdict::Pass
        }));
        proxy.on_request(Box::new(move |frame| {
            const EXISTS: i32 = 3;
            requests.stats.fetch_add(usize::from(frame.opcode == EXISTS), Ordering::Relaxed);
            Verdict::Pass
        }));
        meter
    }

    /// The size of the largest frame since the last time.
    fn largest(&self) -> usize {
        self.largest.swap(0, Ordering::Relaxed)
    }
}

/// What node `n` holds, in round `round`.
fn blob(n: usize, round: usize) -> Vec<u8> {
    let mut data = vec![(n % 251) as u8; MEGABYTE];
    data[..16].copy_from_slice(format!("{n:08}{round:08}").as_bytes());
    data
}

/// Writes to the children `prefix0`, `prefix1`, ..., a few at a time: the server holds in its memory what it has not
/// acknowledged.
fn write_blobs(writer: &mut Writer, prefix: &str, count: usize, round: usize, create: bool) {
    for n in 0..count {
        let (path, data) = (format!("{prefix}{n}"), blob(n, round));
        let data = Some(data.as_slice());
        writer
            .send(&if create {
                Op::Create { path: &path, data, flags: 0 }
            } else {
                Op::Set { path: &path, data }
            })
            .expect("sent");
        if n % 8 == 7 {
            writer.drain().expect("written");
        }
    }
    writer.drain().expect("written");
}

/// A cache that has loaded its tree, which may be of hundreds of megabytes.
#[track_caller]
fn loaded(client: &Client, root: &str) -> TreeCache {
    let cache = client.cache(root, &config(&[])).expect("a cache");
    cache.start().expect("started");
    cache.wait_initialized(Some(4 * BOUND)).expect("the first load complete");
    cache
}

/// Compares what the cache has of these children with what was written and with the server's Stats, without a second
/// copy of all the data.
#[track_caller]
fn assert_blobs(cache: &TreeCache, witness: &Witness, root: &str, prefix: &str, count: usize, round: usize) {
    // All of it may have to be read.
    let deadline = Instant::now() + 4 * BOUND;
    while cache.state().0 != State::InStep {
        assert!(Instant::now() < deadline, "it is {:?}", cache.state());
        thread::sleep(Duration::from_millis(10));
    }
    eventually("a cut as new as the server's last word", || {
        let snapshot = cache.snapshot().expect("a snapshot");
        let last = witness.stat(&format!("{prefix}{}", count - 1)).expect("the last node");
        snapshot.is_cut() && snapshot.zxid().0 >= last.mzxid
    });
    let snapshot = cache.snapshot().expect("a snapshot");
    assert!(snapshot.get_children(root).expect("the root").len() >= count);
    for n in 0..count {
        let path = format!("{prefix}{n}");
        let node = snapshot.get_data(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(node.data() == blob(n, round), "{path}: not the data that was written");
        let stat = witness.stat(&path).expect("the node");
        let ours = (node.stat().czxid.0, node.stat().mzxid.0, node.stat().version, node.stat().data_length);
        assert_eq!(ours, (stat.czxid, stat.mzxid, stat.version, stat.data_length), "{path}");
    }
}

// ---- a server that throttles ----

#[test]
fn a_server_too_busy_to_answer_is_asked_again_after_a_while_and_a_refusal_is_no_absence() {
    // A few requests at a time, and what has waited for 10 ms is refused.
    let server = Server::builder()
        .property("zookeeper.request_throttle_max_requests", "10")
        .property("zookeeper.request_throttle_stall_time", "5")
        .property("zookeeper.throttled_op_wait_time", "10")
        .start();
    let root = "/throttled";
    let names: Vec<String> = (0..20).map(|n| format!("{root}/{n}")).collect();
    let mut quiet = writer(server.addr());
    // On a busy machine a request may wait for 10 ms by itself.
    eventually("root", || quiet.create(root, None, 0).is_ok());
    for name in &names {
        eventually("a node", || quiet.create(name, Some(b"0"), 0).is_ok());
    }
    let proxy = Proxy::start(server.addr());
    let (refused, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count_refused, count_asked) = (refused.clone(), asked.clone());
    proxy.on_reply(Box::new(move |frame| {
        count_refused.fetch_add(usize::from(frame.err == THROTTLED), Ordering::Relaxed);
        Verdict::Pass
    }));
    proxy.on_request(Box::new(move |frame| {
        const PING: i32 = 11;
        count_asked.fetch_add(usize::from(frame.opcode != PING), Ordering::Relaxed);
        Verdict::Pass
    }));

    // Load that never lets the server's queue get empty, with a breath now and then, or nothing could ever succeed.
    let ends = Arc::new(AtomicBool::new(false));
    let noise = thread::spawn({
        let (ends, mut writer, names) = (ends.clone(), writer(server.addr()), names.clone());
        move || {
            let mut applied = 0;
            for round in 0.. {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                for n in 0..4_000 {
                    let data = format!("{round}-{n}");
                    writer.send_set(&names[n % names.len()], Some(data.as_bytes())).expect("sent");
                }
                // The first of a burst are done, the rest are refused to the writer too.
                match writer.drain() {
                    Ok(_) | Err(THROTTLED) => applied += 1,
                    Err(error) => panic!("a write failed: {error}"),
                }
                thread::sleep(Duration::from_millis(if round % 5 == 4 { 300 } else { 0 }));
            }
            applied
        }
    });
    thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    let client = client_with(&proxy.hosts(), PATIENT);
    let cache = started(&client, root, &[]);
    let loaded_after = began.elapsed();
    let recorder = Recorder::listen(&cache);
    let faults = Faults::of(&cache);
    eventually("the server to refuse a few", || refused.load(Ordering::Relaxed) >= 3);
    let (refused, asked) = (refused.load(Ordering::Relaxed), asked.load(Ordering::Relaxed));
    let passed = began.elapsed();
    ends.store(true, Ordering::Relaxed);
    let rounds = noise.join().expect("the noise");
    println!(
        "loaded after {loaded_after:?}; {rounds} bursts, {asked} requests, {refused} refused in {passed:?}"
    );
    // Eight at a time while it loads, one at a time when it follows, and at least 250 ms from a refusal to the next request.
    let times = 1 + passed.as_millis() as usize / 250;
    assert!(refused <= 8 * times, "{refused} refusals in {passed:?}");

    // The session of the one before may have ended meanwhile.
    let mut quiet = writer(server.addr());
    eventually("a quiet server", || quiet.set(&names[0], Some(b"end")).is_ok());
    eventually("the last change", || cache.get_data(&names[0]).is_ok_and(|node| node.data() == b"end"));
    assert_same_as_server(&cache, &witness(&server), root);
    assert_told_the_tree(&recorder, &cache);
    let removed: Vec<_> =
        recorder.events().into_iter().filter(|event| event.kind == EventKind::NodeRemoved).collect();
    assert_eq!(removed, [], "nobody deleted anything");
    assert_eq!(faults.told(), [], "being busy is no fault");
}

// ---- nodes of a megabyte ----

#[test]
fn nodes_of_a_megabyte_by_the_thousand_come_a_few_at_a_time_and_are_not_read_twice() {
    in_a_process_of_its_own(|| {
        // Once in the server, once here, and on their way.
        let count = if available_memory() > 8_000 * MIB { 1_000 } else { 200 };
        println!("{count} nodes of {MEGABYTE} bytes");
        let server = roomy(count);
        let (root, prefix) = ("/large", "/large/n");
        let (witness, mut writer) = (witness(&server), writer(server.addr()));
        writer.create(root, None, 0).expect("root");
        write_blobs(&mut writer, prefix, count, 0, true);

        let proxy = Proxy::start(server.addr());
        let meter = Meter::of(&proxy);
        let before = resident_bytes() as usize;
        let client = client_with(&proxy.hosts(), PATIENT);
        let cache = client.cache(root, &config(&[])).expect("a cache");
        cache.start().expect("started");
        let began = Instant::now();
        cache.wait_initialized(Some(4 * BOUND)).expect("the first load complete");
        let largest = meter.largest();
        println!("loaded after {:?}, the largest reply has {largest} bytes", began.elapsed());
        assert!((MEGABYTE..=MOST_REPLY).contains(&largest), "a reply of {largest} bytes");
        assert_blobs(&cache, &witness, root, prefix, count, 0);
        let (used, data) = (resident_bytes() as usize - before, count * MEGABYTE);
        println!("{used} bytes of memory for {data} bytes of data");
        assert!(used < data + data / 10 + 64 * MIB, "{used} bytes for {data} of data");

        // After a reconnect their Stats show that one of them was written, and that one is read.
        let bytes = proxy.bytes_to_client();
        proxy.refuse(true);
        proxy.drop_connections();
        wait_for_state(&cache, State::Suspended);
        // The session of the one before may have ended during the load.
        writer = self::writer(server.addr());
        writer.set(&format!("{prefix}0"), Some(&blob(0, 0))).expect("a set");
        proxy.refuse(false);
        assert_blobs(&cache, &witness, root, prefix, count, 0);
        let bytes = (proxy.bytes_to_client() - bytes) as usize;
        println!("{bytes} bytes after a reconnect");
        assert!(bytes < 2 * MEGABYTE, "{bytes} bytes to find one change");
        assert!(meter.largest() <= MOST_REPLY);
        assert!(meter.stats.load(Ordering::Relaxed) >= count, "Stats come by `exists`");
    });
}

#[test]
fn large_nodes_behind_small_ones_surprise_once_and_no_connection_is_lost_over_them() {
    let server = roomy(300);
    let (root, prefix) = ("/sudden", "/sudden/z");
    let (witness, mut writer) = (witness(&server), writer(server.addr()));
    writer.create(root, None, 0).expect("root");
    for n in 0..2_000 {
        writer.send(&Op::Create { path: &format!("{root}/a{n}"), data: Some(b"small"), flags: 0 }).unwrap();
    }
    writer.drain().expect("small nodes");
    write_blobs(&mut writer, prefix, 300, 0, true);
    let proxy = Proxy::start(server.addr());
    let meter = Meter::of(&proxy);
    let client = client_with(&proxy.hosts(), PATIENT);
    let cache = loaded(&client, root);
    let largest = meter.largest();
    println!("the largest reply of the load has {largest} bytes");
    assert!(largest <= MOST_SURPRISE, "a reply of {largest} bytes");
    assert_blobs(&cache, &witness, root, prefix, 300, 0);
    assert_eq!(proxy.connections_total(), 1);
}

/// Sizes as they are met: alike within a list, or for a stretch of it, or by chance. What is asked for at once of a list is
/// by the size of a few of its nodes. These may all be small by chance: where one of twenty is large, 16 of them show it in
/// five of nine cases only, and speak for 272 others, 14 of them large.
#[test]
fn however_sizes_cluster_by_name_a_few_nodes_of_each_list_tell() {
    const LARGEST: usize = 32 * MIB;
    let server = roomy(400);
    let witness = witness(&server);
    let proxy = Proxy::start(server.addr());
    let meter = Meter::of(&proxy);
    let large = blob(0, 0);
    // The lists of a shape: of each the names, and how much data they have.
    type Size = fn(usize, usize) -> usize;
    let shapes: [(&str, usize, usize, Size); 6] = [
        ("the second half of a list", 1, 400, |_, n| if n < 300 { 100 } else { MEGABYTE }),
        ("one of twenty", 1, 1000, |_, n| if n % 20 == 7 { MEGABYTE } else { 100 }),
        ("one of very many", 1, 10_000, |_, n| if n == 3_000 { MEGABYTE } else { 100 }),
        ("one in each of many lists", 40, 50, |_, n| if n == 31 { 256 << 10 } else { 100 }),
        ("all of the last lists", 43, 50, |list, _| if list >= 41 { MEGABYTE } else { 100 }),
        ("none", 20, 500, |_, _| 100),
    ];
    for (shape, (what, lists, nodes, size)) in shapes.into_iter().enumerate() {
        let root = format!("/shape{shape}");
        let mut writer = writer(server.addr());
        writer.create(&root, None, 0).expect("root");
        let mut sent = 0;
        for list in 0..lists {
            writer.create(&format!("{root}/{list:02}"), None, 0).expect("a list");
            for node in 0..nodes {
                let data = &large[..size(list, node)];
                let path = format!("{root}/{list:02}/{node:04}");
                writer.send(&Op::Create { path: &path, data: Some(data), flags: 0 }).expect("sent");
                sent += 1000 + data.len();
                if sent > 4 * MIB {
                    writer.drain().expect("written");
                    sent = 0;
                }
            }
        }
        writer.drain().expect("written");
        meter.largest();
        let client = client_with(&proxy.hosts(), PATIENT);
        let cache = loaded(&client, &root);
        let (largest, reads) = (meter.largest(), cache.stats().batches);
        println!("{what}: the largest reply has {largest} bytes, {reads} batches");
        assert!(largest <= LARGEST, "{what}: a reply of {largest} bytes");
        // A batch for a large node, or one for each 20 of the others.
        assert!(reads <= (400 + lists * nodes / 20) as u64, "{what}: {reads} batches");
        wait_for_state(&cache, State::InStep);
        let snapshot = cache.snapshot().expect("a snapshot");
        assert_eq!(snapshot.len(), 1 + lists * (1 + nodes), "{what}");
        for (list, node) in [(0, 0), (lists - 1, nodes - 1), (lists / 2, nodes / 2)] {
            let path = format!("{root}/{list:02}/{node:04}");
            let found = snapshot.get_data(&path).expect("a node");
            assert!(found.data() == &large[..size(list, node)], "{path}");
            assert_eq!(found.stat().czxid.0, witness.stat(&path).expect("a node").czxid, "{path}");
        }
        assert_eq!(proxy.connections_total(), shape + 1, "{what}: no connection was lost over it");
        drop(cache);
    }
}

#[test]
fn small_nodes_that_become_large_while_they_are_cached_are_read_a_few_at_a_time() {
    const COUNT: usize = 300;
    let server = roomy(COUNT);
    let (root, prefix) = ("/growing", "/growing/n");
    let (witness, mut writer) = (witness(&server), writer(server.addr()));
    let shrink = |writer: &mut Writer| {
        for n in 0..COUNT {
            writer.send_set(&format!("{prefix}{n}"), Some(b"0123456789")).expect("sent");
        }
        writer.drain().expect("small nodes");
    };
    writer.create(root, None, 0).expect("root");
    for n in 0..COUNT {
        writer.create(&format!("{prefix}{n}"), None, 0).expect("a node");
    }
    shrink(&mut writer);
    let proxy = Proxy::start(server.addr());
    let meter = Meter::of(&proxy);
    let client = client_with(&proxy.hosts(), PATIENT);
    let cache = started(&client, root, &[]);
    wait_for_state(&cache, State::InStep);

    // While it follows: what was written meanwhile is what comes with the next reply.
    for first in (0..COUNT).step_by(8) {
        for n in first..COUNT.min(first + 8) {
            writer.send_set(&format!("{prefix}{n}"), Some(&blob(n, 1))).expect("sent");
        }
        writer.drain().expect("large nodes");
        eventually("the last of them", || {
            let node = cache.get_data(format!("{prefix}{}", COUNT.min(first + 8) - 1)).expect("a node");
            node.data().len() == MEGABYTE
        });
    }
    assert_blobs(&cache, &witness, root, prefix, COUNT, 1);
    let largest = meter.largest();
    println!("the largest reply while they grew has {largest} bytes");
    assert!(largest <= 16 * MIB, "a reply of {largest} bytes");

    // While it is away: nothing is as it was when it comes back.
    shrink(&mut writer);
    eventually("small again", || {
        let node = cache.get_data(format!("{prefix}{}", COUNT - 1)).expect("a node");
        node.data().len() == 10 && cache.state().0 == State::InStep
    });
    meter.largest();
    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&cache, State::Suspended);
    write_blobs(&mut writer, prefix, COUNT, 2, false);
    let connections = proxy.connections_total();
    proxy.refuse(false);
    eventually("the connection", || !matches!(cache.state().0, State::Suspended | State::Lost));
    let attempts = proxy.connections_total() - connections;
    assert_blobs(&cache, &witness, root, prefix, COUNT, 2);
    let largest = meter.largest();
    println!("the largest reply of the verification has {largest} bytes");
    assert!(largest <= MOST_REPLY, "a reply of {largest} bytes");
    assert_eq!(proxy.connections_total() - connections, attempts, "the connection was lost over it");
}

// ---- a listener that sleeps ----

#[test]
fn a_listener_that_sleeps_through_a_hundred_thousand_changes_costs_little_and_goes_on_by_difference() {
    in_a_process_of_its_own(|| {
        const NODES: usize = 1_000;
        const CHANGES: usize = 100_000;
        const CAPACITY: usize = 2_000;
        let root = unique_root("asleep");
        let (witness, mut writer) = (witness(shared()), writer(shared().addr()));
        let paths: Vec<String> = (0..NODES).map(|n| format!("{root}/{n}")).collect();
        let data = |change: usize| format!("{change:01000}").into_bytes();
        writer.create(&root, None, 0).expect("root");
        for path in &paths {
            writer.send(&Op::Create { path, data: Some(&data(0)), flags: 0 }).expect("sent");
        }
        writer.drain().expect("created");
        let client = client(&shared().hosts());
        let cache = started(&client, &root, &[("events.capacity", &CAPACITY.to_string())]);
        wait_for_state(&cache, State::InStep);
        let sleep = Arc::new(Mutex::new(()));
        let asleep = sleep.lock().expect("a lock");
        let (bed, calls) = (sleep.clone(), Arc::new(AtomicUsize::new(0)));
        let count = calls.clone();
        cache
            .listen(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                drop(bed.lock().unwrap_or_else(PoisonError::into_inner));
            })
            .expect("a listener");
        // The same thread tells this one.
        let recorder = Recorder::listen(&cache);
        eventually("the listener sleeps", || calls.load(Ordering::Relaxed) == 1);
        let before = resident_bytes();
        for change in 1..=CHANGES {
            let (n, data) = (change * 7 % NODES, data(change));
            // Every tenth node comes and goes.
            let (path, data) = (&paths[n], Some(data.as_slice()));
            writer
                .send(&match (n % 10, change / NODES % 2) {
                    (0, 0) => Op::Delete { path },
                    (0, _) => Op::Create { path, data, flags: 0 },
                    _ => Op::Set { path, data },
                })
                .expect("sent");
            if change % 500 == 0 {
                // The first round of deletions begins in the middle: some fail.
                let _ = writer.drain();
            }
            if change % (CHANGES / 4) == 0 {
                assert_same_as_server(&cache, &witness, &root);
            }
        }
        let grown = resident_bytes().saturating_sub(before);
        println!("{grown} bytes more while it slept");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "it did sleep");
        assert!(grown < 64 << 20, "{grown} bytes more for {} bytes of tree", NODES * 1000);
        drop(asleep);
        assert_told_the_tree(&recorder, &cache);
        let told = recorder.events().iter().filter(|event| event.is_of_a_node()).count();
        println!("{told} events of {CHANGES} changes");
        assert!(told <= 4 * NODES + CAPACITY, "{told} events: they piled up");
    });
}

// ---- ten thousand at once ----

const EPHEMERALS: usize = 10_000;

/// How many ephemeral nodes a snapshot has.
fn ephemerals(snapshot: &Snapshot, root: &str) -> usize {
    let of = |folder: &str| snapshot.get_children(format!("{root}/{folder}")).map_or(0, |names| names.len());
    of("a") + of("b")
}

/// A cache of ten thousand ephemeral nodes, which end as `end` has it. A machine that is so busy that more than one version is
/// published of their end gets another chance.
#[track_caller]
fn vanish(name: &str, end: fn(Writer)) {
    assert!((0..5).any(|_| vanished_as_one(name, end)), "they never went in one version");
}

/// Whether they went in one version. All else is asserted.
#[track_caller]
fn vanished_as_one(name: &str, end: fn(Writer)) -> bool {
    let root = unique_root(name);
    let (witness, mut owner) = (witness(shared()), writer(shared().addr()));
    for folder in ["a", "b"] {
        witness.ensure_path(&format!("{root}/{folder}"));
    }
    for n in 0..EPHEMERALS {
        let path = format!("{root}/{}/{n}", if n % 3 == 0 { "a" } else { "b" });
        owner.send(&Op::Create { path: &path, data: Some(b"here"), flags: 1 }).expect("sent");
    }
    owner.drain().expect("created");
    let client = client(&shared().hosts());
    let cache = Arc::new(started(&client, &root, &[]));
    wait_for_state(&cache, State::InStep);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_kind(EventKind::Initialized, 1);
    let told = recorder.events().len();
    let versions = cache.stats().versions;

    let ends = Arc::new(AtomicBool::new(false));
    let reader = thread::spawn({
        let (cache, root, ends) = (cache.clone(), root.clone(), ends.clone());
        move || {
            let looks = AtomicU64::new(0);
            while !ends.load(Ordering::Relaxed) {
                let snapshot = cache.snapshot().expect("a snapshot");
                let count = ephemerals(&snapshot, &root);
                assert!(
                    !snapshot.is_cut() || count == 0 || count == EPHEMERALS,
                    "a cut with {count} of them"
                );
                looks.fetch_add(1, Ordering::Relaxed);
            }
            looks.into_inner()
        }
    });
    end(owner);
    let began = Instant::now();
    eventually("all gone", || ephemerals(&cache.snapshot().expect("a snapshot"), &root) == 0);
    println!("gone here {:?} after they were gone at the server", began.elapsed());
    assert_same_as_server(&cache, &witness, &root);
    ends.store(true, Ordering::Relaxed);
    assert!(reader.join().expect("no part of a transaction in a cut") > 0);

    let removed = |events: &[Recorded]| {
        events[told..].iter().filter(|event| event.is_of_a_node()).cloned().collect::<Vec<_>>()
    };
    let events = removed(&recorder.wait_for(|events| removed(events).len() >= EPHEMERALS));
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(removed(&recorder.events()).len(), EPHEMERALS, "each is told once");
    assert!(events.iter().all(|event| event.kind == EventKind::NodeRemoved));
    if cache.stats().versions - versions > 1 {
        return false;
    }
    assert!(events.iter().all(|event| event.zxid == events[0].zxid));
    assert!(events.is_sorted_by(|one, next| one.path < next.path), "siblings in the order of their bytes");
    let last: Vec<usize> = (0..EPHEMERALS).filter(|n| events[*n].last).collect();
    assert_eq!(last, [EPHEMERALS - 1], "one version");
    true
}

#[test]
fn ten_thousand_ephemeral_nodes_go_as_one_when_their_session_is_closed() {
    vanish("closed", drop);
}

#[test]
fn ten_thousand_ephemeral_nodes_go_as_one_when_their_session_expires() {
    vanish("expired", |owner| {
        // From now on it is a short one. It stays connected and says nothing more.
        let (id, passwd) = (owner.session_id(), owner.passwd());
        let short = Writer::resume(shared().addr(), Duration::from_secs(4), id, passwd).expect("the session");
        std::mem::forget((owner, short));
        let session = format!("0x{id:x}");
        eventually("the session's end", || !shared().four_letter("dump").contains(&session));
    });
}
