//! The recipe's behaviour, case by case: first what kazoo's `TreeCache` does and this one does too, then what it
//! gets wrong, then what is decided in `docs/semantics.md` besides.

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::*;
use treecache::{Error, EventKind, State, Status, Walk, Zxid};
use treecache_test_support::{Acl, Op, Proxy, Server, Verdict, Witness, Writer, shared, unique_root};

const MULTI_READ: i32 = 22;
const NOTIFICATION: i32 = -1;

fn witness() -> Witness {
    Witness::connect(&shared().hosts())
}

fn writer() -> Writer {
    Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session")
}

/// The node events, as kind and path below the root.
fn steps(events: &[Recorded], root: &str) -> Vec<String> {
    let sign = |kind| match kind {
        EventKind::NodeAdded => "+",
        EventKind::NodeUpdated => "~",
        _ => "-",
    };
    let nodes = events.iter().filter(|event| event.is_of_a_node());
    nodes.map(|event| format!("{}{}", sign(event.kind), event.path.replacen(root, "", 1))).collect()
}

fn node_events(events: &[Recorded]) -> usize {
    events.iter().filter(|event| event.is_of_a_node()).count()
}

fn kinds(events: &[Recorded]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

/// A listener waits at it until it is opened.
#[derive(Clone)]
struct Gate(Arc<Mutex<mpsc::Receiver<()>>>);

impl Gate {
    /// The gate opens when the sender is dropped.
    fn new() -> (mpsc::Sender<()>, Gate) {
        let (opener, gate) = mpsc::channel();
        (opener, Gate(Arc::new(Mutex::new(gate))))
    }

    fn pass(&self) {
        let _ = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(BOUND);
    }
}

// ---- as in the seed ----

#[test]
fn a_cache_can_be_started_once() {
    let root = unique_root("start-twice");
    let client = client(&shared().hosts());
    let cache = client.cache(&root, &config(&[])).unwrap();
    assert_eq!(cache.state(), (State::Latent, cache.state().1));
    assert!(matches!(cache.wait_initialized(Some(BOUND)), Err(Error::State(_))));
    cache.start().unwrap();
    assert_eq!(cache.start().unwrap_err().status(), Status::State);
    initialized(&cache);
    assert_eq!(cache.start().unwrap_err().status(), Status::State);
    assert_same_as_server(&cache, &witness(), &root);
}

#[test]
fn a_closed_cache_cannot_be_started_listened_to_or_read() {
    let root = unique_root("closed");
    let client = client(&shared().hosts());
    let latent = client.cache(&root, &config(&[])).unwrap();
    latent.close();
    assert_eq!(latent.start(), Err(Error::Closed));

    let cache = started(&client, &root, &[]);
    let (node, snapshot) = (cache.get_data(&root).unwrap(), cache.snapshot().unwrap());
    cache.close();
    cache.close();
    assert_eq!(cache.start(), Err(Error::Closed));
    assert_eq!(cache.wait_initialized(Some(BOUND)), Err(Error::Closed));
    assert_eq!(cache.get_data(&root).err(), Some(Error::Closed));
    assert_eq!(cache.get_children(&root).err(), Some(Error::Closed));
    assert_eq!(cache.snapshot().err(), Some(Error::Closed));
    assert_eq!(cache.listen(|_| {}), Err(Error::Closed));
    assert_eq!(cache.listen_fault(|_| {}), Err(Error::Closed));
    assert_eq!(cache.state().0, State::Closed);
    // What was handed out stays.
    assert_eq!(snapshot.get_data(&root).unwrap().stat(), node.stat());
}

#[test]
fn no_callback_starts_after_close_and_the_cache_follows_no_more() {
    let root = unique_root("close-silence");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_event(EventKind::NodeAdded, &root);
    let other = started(&client, &root, &[]);
    cache.close();
    let told = recorder.events().len();
    witness.create(&format!("{root}/late"), b"");
    // Another cache of the same client has seen it, and its events are told by the same thread.
    let others = Recorder::listen(&other);
    others.wait_for_event(EventKind::NodeAdded, &format!("{root}/late"));
    assert_eq!(recorder.events().len(), told);
}

#[test]
fn who_waits_for_the_first_load_is_woken_when_the_cache_or_its_client_is_closed() {
    let proxy = Proxy::start(shared().addr());
    proxy.refuse(true);
    for is_client in [false, true] {
        let client = client(&proxy.hosts());
        let cache = client.cache("/never", &config(&[])).unwrap();
        cache.start().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cache.wait_initialized(None));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            if is_client {
                client.close()
            } else {
                cache.close()
            }
            assert_eq!(waiting.join().unwrap(), Err(Error::Closed));
        });
    }
}

#[test]
fn a_cache_may_be_closed_and_read_in_its_own_callback() {
    let root = unique_root("close-inside");
    let (client, witness) = (client(&shared().hosts()), witness());
    for name in ["a", "b", "c"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    let cache = Arc::new(client.cache(&root, &config(&[])).unwrap());
    let (told, outcome) = mpsc::channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let (inside, counted) = (Arc::downgrade(&cache), calls.clone());
    cache
        .listen(move |event| {
            counted.fetch_add(1, Ordering::SeqCst);
            let cache = inside.upgrade().expect("the test holds it");
            // The version is readable before its events arrive.
            let read = cache.get_data(event.path.unwrap_or("/")).map(|node| *node.stat());
            let waited = cache.wait_initialized(Some(BOUND));
            cache.close();
            let _ = told.send((read, waited, *event.node.expect("a node event comes first").stat()));
        })
        .unwrap();
    cache.start().unwrap();
    let (read, waited, stat) = outcome.recv_timeout(BOUND).unwrap();
    assert_eq!(read, Ok(stat));
    assert_eq!(waited, Err(Error::WouldDeadlock));
    assert_eq!(cache.state().0, State::Closed);
    drop(cache);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[test]
fn data_and_children_are_served_without_remote_calls() {
    let root = unique_root("local");
    let witness = witness();
    for name in ["a", "b"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    witness.set(&format!("{root}/a"), b"data");
    let proxy = Proxy::start(shared().addr());
    // So long a timeout that no ping comes in between.
    let client = client_with(&proxy.hosts(), &[("session.timeout.ms", "60000")]);
    let cache = started(&client, &root, &[]);
    wait_for_state(&cache, State::InStep);
    let asked = proxy.bytes_to_server();
    for _ in 0..1_000 {
        assert_eq!(cache.get_data(format!("{root}/a")).unwrap().data(), b"data");
        assert_eq!(cache.get_children(&root).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(cache.get_data(format!("{root}/c")).unwrap_err().status(), Status::NoNode);
        assert_eq!(cache.snapshot().unwrap().len(), 3);
    }
    assert_eq!(proxy.bytes_to_server(), asked);
}

#[test]
fn a_path_outside_and_a_node_that_is_not_there_are_told_apart() {
    let root = unique_root("missing");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    let cache = started(&client, &root, &[]);
    let snapshot = cache.snapshot().unwrap();
    for (path, status) in [
        ("/", Status::OutOfTree),
        ("/elsewhere", Status::OutOfTree),
        (&root[..root.len() - 1], Status::OutOfTree),
        (&format!("{root}/b"), Status::NoNode),
        // The seed gives the data of the nearest node that is there.
        (&format!("{root}/a/b/c"), Status::NoNode),
        (&root[1..], Status::InvalidArgument),
        ("", Status::InvalidArgument),
        (&format!("{root}//a"), Status::InvalidArgument),
        (&format!("{root}/./a"), Status::InvalidArgument),
    ] {
        assert_eq!(cache.get_data(path).unwrap_err().status(), status, "{path:?}");
        assert_eq!(cache.get_children(path).err().unwrap().status(), status, "{path:?}");
        assert_eq!(snapshot.get_data(path).unwrap_err().status(), status, "{path:?}");
        assert_eq!(snapshot.walk(path, |_, _| Walk::Continue).unwrap_err().status(), status, "{path:?}");
    }
}

#[test]
fn a_subtree_is_added_parents_first_and_removed_children_first() {
    let root = unique_root("subtree");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    for path in ["/a", "/a/b", "/a/b/c", "/a/d"] {
        witness.create(&format!("{root}{path}"), path.as_bytes());
    }
    recorder.wait_for(|events| node_events(events) >= 5);
    witness.delete_recursive(&format!("{root}/a"));
    let events = recorder.wait_for(|events| node_events(events) >= 9);
    let steps = steps(&events, &root);
    assert_eq!(steps[..5], ["+", "+/a", "+/a/b", "+/a/b/c", "+/a/d"]);
    let at = |step: &str| steps.iter().position(|other| other == step).expect(step);
    assert!(at("-/a/b/c") < at("-/a/b") && at("-/a/b") < at("-/a") && at("-/a/d") < at("-/a"));
    assert_eq!(steps.len(), 9);
    replay(&events);
    for event in events.iter().filter(|event| event.kind == EventKind::NodeRemoved) {
        // The last known data and Stat.
        assert_eq!(event.data.as_deref(), event.path.strip_prefix(&root).map(str::as_bytes));
        assert_eq!(event.stat.unwrap().data_length as usize, event.path.len() - root.len());
    }
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn an_update_carries_the_new_data_and_the_old() {
    let root = unique_root("update");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.create(&root, b"first");
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_event(EventKind::NodeAdded, &root);
    let stat = witness.set(&root, b"second");
    let events = recorder.wait_for_event(EventKind::NodeUpdated, &root);
    let update = events.iter().find(|event| event.kind == EventKind::NodeUpdated).unwrap();
    assert_eq!(update.data.as_deref(), Some(&b"second"[..]));
    assert_eq!(update.old_data.as_deref(), Some(&b"first"[..]));
    assert_eq!(truth_of(&update.stat.unwrap()), stat);
    assert!(update.zxid >= Zxid(stat.mzxid));
    // The same data again is an update too: mzxid moves.
    let again = witness.set(&root, b"second");
    recorder
        .wait_for(|events| events.iter().any(|event| event.stat.is_some_and(|s| s.mzxid.0 == again.mzxid)));
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_root_that_is_deleted_and_recreated_goes_and_comes_with_all_below_it() {
    let root = unique_root("root-again");
    let (client, witness) = (client(&shared().hosts()), witness());
    for path in ["/a", "/a/b", "/c"] {
        witness.ensure_path(&format!("{root}{path}"));
    }
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for(|events| node_events(events) >= 4);
    witness.delete_recursive(&root);
    let events = recorder.wait_for_event(EventKind::NodeRemoved, &root);
    assert!(replay(&events).is_empty());
    wait_for_state(&cache, State::InStep);
    assert_eq!(cache.get_data(&root).unwrap_err().status(), Status::NoNode);
    assert_eq!(cache.snapshot().unwrap().len(), 0);
    // Started with root.create=true, it is not created over and over.
    assert!(!witness.exists(&root));

    witness.create(&root, b"again");
    witness.create(&format!("{root}/x"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/x"));
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_root_that_was_there_at_the_start_is_not_created_again_when_it_is_deleted() {
    let witness = witness();
    // Deleted before the eyes of the cache, or while it is away.
    for is_away in [false, true] {
        let root = unique_root("root-gone");
        witness.ensure_path(&format!("{root}/a"));
        let proxy = Proxy::start(shared().addr());
        let client = client(&proxy.hosts());
        let cache = started(&client, &root, &[("root.create", "true")]);
        let recorder = Recorder::listen(&cache);
        assert_same_as_server(&cache, &witness, &root);
        proxy.refuse(is_away);
        if is_away {
            proxy.drop_connections();
            recorder.wait_for_kind(EventKind::ConnectionSuspended, 1);
        }
        witness.delete_recursive(&root);
        proxy.refuse(false);
        recorder.wait_for_event(EventKind::NodeRemoved, &root);
        assert_same_as_server(&cache, &witness, &root);
        // Connected once more, with nothing there.
        proxy.drop_connections();
        let times = 1 + usize::from(is_away);
        recorder.wait_for_kind(EventKind::ConnectionReconnected, times);
        assert_same_as_server(&cache, &witness, &root);
        assert!(!witness.exists(&root), "created again");
    }
}

#[test]
fn a_root_with_children_that_is_replaced_by_one_transaction_is_followed() {
    let root = unique_root("root-multi");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    witness.create(&root, b"1");
    witness.create(&a, b"1");
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for(|events| node_events(events) >= 2);
    for round in 0..50 {
        let data = format!("{round}");
        let (gone, new) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        writer
            .multi(&[
                Op::Delete { path: gone },
                Op::Delete { path: &root },
                Op::Create { path: &root, data: Some(data.as_bytes()), flags: 0 },
                Op::Create { path: new, data: Some(data.as_bytes()), flags: 0 },
            ])
            .unwrap();
    }
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_panic_of_a_listener_is_a_fault_and_the_next_event_is_told() {
    let root = unique_root("panic");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let faults = Faults::of(&cache);
    cache
        .listen(|event| assert!(event.path.is_none_or(|path| !path.ends_with("/bad")), "that is bad"))
        .unwrap();
    let recorder = Recorder::listen(&cache);
    let bad = format!("{root}/bad");
    witness.create(&bad, b"");
    let fault = faults.wait_for(|fault| fault.status == Status::Panic);
    assert_eq!(fault.path.as_ref().map(|path| path.as_str()), Some(bad.as_str()));
    assert!(fault.message.contains("that is bad"), "{}", fault.message);
    witness.create(&format!("{root}/good"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/good"));
    assert_eq!(faults.told().len(), 1);
}

#[test]
fn a_lost_connection_is_a_fault_of_the_client_and_of_its_caches() {
    let root = unique_root("fault");
    let proxy = Proxy::start(shared().addr());
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    let (faults, of_client) = (Faults::of(&cache), Faults::of_client(&client));
    proxy.drop_connections();
    for faults in [&faults, &of_client] {
        let fault = faults.wait_for(|fault| fault.status == Status::Connection);
        assert!(fault.message.contains(&proxy.hosts()), "{}", fault.message);
    }
    assert_same_as_server(&cache, &witness(), &root);
}

// ---- what the seed gets wrong ----

#[test]
fn a_sibling_whose_name_begins_like_the_root_is_outside() {
    let root = unique_root("foo");
    let sibling = format!("{root}bar");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.create(&root, b"foo");
    witness.create(&sibling, b"foobar");
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    witness.set(&sibling, b"changed");
    witness.ensure_path(&format!("{sibling}/child"));
    witness.create(&format!("{root}/bar"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/bar"));
    assert_eq!(cache.get_data(&sibling).unwrap_err().status(), Status::OutOfTree);
    assert_eq!(cache.get_data(format!("{sibling}/child")).unwrap_err().status(), Status::OutOfTree);
    assert_eq!(replay(&recorder.events()).keys().collect::<Vec<_>>(), [&root, &format!("{root}/bar")]);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn the_root_of_all_is_followed_through_deletions_without_zookeepers_own_nodes() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    let client = client(&server.hosts());
    for path in ["/a/b/c", "/d", "/zookeeperlike/x"] {
        witness.ensure_path(path);
    }
    let cache = started(&client, "/", &[]);
    let recorder = Recorder::listen(&cache);
    assert_same_as_server(&cache, &witness, "/");
    assert_eq!(cache.get_children("/").unwrap().names().collect::<Vec<_>>(), ["a", "d", "zookeeperlike"]);
    for path in ["/zookeeper", "/zookeeper/quota"] {
        assert_eq!(cache.get_data(path).unwrap_err().status(), Status::NoNode, "{path}");
    }
    witness.delete_recursive("/a");
    witness.delete("/d");
    witness.create("/e", b"e");
    witness.create("/zookeeper/quota/e", b"");
    witness.set("/zookeeper/quota", b"changed");
    witness.set("/", b"root");
    witness.delete("/zookeeper/quota/e");
    witness.create("/f", b"f");
    recorder.wait_for_event(EventKind::NodeAdded, "/f");
    assert_same_as_server(&cache, &witness, "/");
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(cache.get_data("/a/b").unwrap_err().status(), Status::NoNode);
    assert!(recorder.events().iter().all(|event| !event.path.starts_with("/zookeeper/")));
    assert_eq!(cache.get_data("/").unwrap().data(), b"root");
}

#[test]
fn a_trailing_slash_is_refused_for_the_root_and_for_reads() {
    let root = unique_root("slash");
    let client = client(&shared().hosts());
    let slashed = format!("{root}/");
    assert_eq!(client.cache(&slashed, &config(&[])).err().unwrap().status(), Status::InvalidArgument);
    let cache = started(&client, &root, &[]);
    assert_eq!(cache.get_data(&slashed).unwrap_err().status(), Status::InvalidArgument);
    assert_eq!(cache.get_children(&slashed).err().unwrap().status(), Status::InvalidArgument);
}

#[test]
fn updates_and_deletes_in_quick_succession_leave_no_zombie() {
    let root = unique_root("quick");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    let paths: Vec<String> = (0..20).map(|n| format!("{root}/n{n}")).collect();
    for round in 0..100 {
        for (n, path) in paths.iter().enumerate() {
            writer.send(&Op::Create { path, data: Some(b"new"), flags: 0 }).unwrap();
            writer.send_set(path, Some(b"old")).unwrap();
            if n % 2 == 0 {
                writer.send(&Op::Create { path: &format!("{path}/below"), data: None, flags: 0 }).unwrap();
                writer.send_set(path, Some(b"older")).unwrap();
                writer.send(&Op::Delete { path: &format!("{path}/below") }).unwrap();
            }
            if round < 99 || n % 3 > 0 {
                writer.send(&Op::Delete { path }).unwrap();
            }
        }
        writer.drain().unwrap();
    }
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(cache.get_children(&root).unwrap().len(), 7);
}

#[test]
fn a_reply_that_comes_after_the_node_was_deleted_does_not_bring_it_back() {
    let root = unique_root("late-reply");
    let (witness, proxy) = (witness(), Proxy::start(shared().addr()));
    let client = client(&proxy.hosts());
    let (node, other) = (format!("{root}/node"), format!("{root}/other"));
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    wait_for_state(&cache, State::InStep);

    // The reply to the read of the node is kept back until the node is gone.
    let (held, is_held) = mpsc::channel();
    let (opener, gate) = Gate::new();
    let armed = AtomicBool::new(true);
    proxy.on_reply(Box::new(move |frame| {
        if frame.xid > 0 && armed.swap(false, Ordering::SeqCst) {
            let _ = held.send(());
            gate.pass();
        }
        Verdict::Pass
    }));
    witness.create(&node, b"data");
    is_held.recv_timeout(BOUND).expect("a reply to be held");
    witness.delete(&node);
    witness.create(&other, b"");
    drop(opener);

    recorder.wait_for_event(EventKind::NodeAdded, &other);
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(cache.get_data(&node).unwrap_err().status(), Status::NoNode);
}

/// Changes the tree in a way that makes the cache read, keeps that read back until `meanwhile` has been notified of
/// (it makes so many notifications), and expects the cache to come out right.
fn a_read_that_is_overtaken(
    name: &str,
    before: &[&str],
    first: fn(&Witness, &str),
    meanwhile: fn(&Witness, &str),
    count: usize,
) {
    let root = unique_root(name);
    let (witness, proxy) = (witness(), Proxy::start(shared().addr()));
    witness.create(&root, b"");
    for path in before {
        witness.create(&format!("{root}/{path}"), path.as_bytes());
    }
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    wait_for_state(&cache, State::InStep);

    let notified = Arc::new(AtomicUsize::new(0));
    let counter = notified.clone();
    proxy.on_reply(Box::new(move |frame| {
        counter.fetch_add(usize::from(frame.xid == NOTIFICATION), Ordering::SeqCst);
        Verdict::Pass
    }));
    let (held, is_held) = mpsc::channel();
    let (opener, gate) = Gate::new();
    let armed = AtomicBool::new(true);
    proxy.on_request(Box::new(move |frame| {
        if frame.opcode == MULTI_READ && armed.swap(false, Ordering::SeqCst) {
            let _ = held.send(());
            gate.pass();
        }
        Verdict::Pass
    }));
    first(&witness, &root);
    is_held.recv_timeout(BOUND).expect("a read to be held");
    let so_far = notified.load(Ordering::SeqCst);
    meanwhile(&witness, &root);
    eventually("the notifications to pass", || notified.load(Ordering::SeqCst) >= so_far + count);
    drop(opener);

    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
    witness.ensure_path(&format!("{root}/end"));
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_node_deleted_while_its_read_is_under_way_is_gone() {
    a_read_that_is_overtaken(
        "overtaken-delete",
        &["node"],
        |witness, root| _ = witness.set(&format!("{root}/node"), b"changed"),
        |witness, root| witness.delete(&format!("{root}/node")),
        1,
    );
}

#[test]
fn a_node_replaced_while_its_read_is_under_way_is_the_new_one() {
    a_read_that_is_overtaken(
        "overtaken-replace",
        &["node"],
        |witness, root| _ = witness.set(&format!("{root}/node"), b"changed"),
        |witness, root| {
            let node = format!("{root}/node");
            witness.delete(&node);
            witness.create(&node, b"new");
            witness.create(&format!("{node}/child"), b"of the new one");
            witness.set(&node, b"newer");
        },
        4,
    );
}

#[test]
fn a_subtree_replaced_while_its_reads_are_under_way_is_the_new_one() {
    a_read_that_is_overtaken(
        "overtaken-subtree",
        &["node", "node/a", "node/b"],
        |witness, root| _ = witness.set(&format!("{root}/node/a"), b"changed"),
        |witness, root| {
            let node = format!("{root}/node");
            witness.delete_recursive(&node);
            witness.ensure_path(&format!("{node}/b/c"));
            witness.create(&format!("{node}/a"), b"new");
            witness.delete(&format!("{node}/a"));
        },
        7,
    );
}

#[test]
fn a_node_created_and_deleted_within_one_read_was_never_there() {
    a_read_that_is_overtaken(
        "overtaken-never",
        &[],
        |witness, root| _ = witness.set(root, b"changed"),
        |witness, root| {
            witness.create(&format!("{root}/short"), b"");
            witness.create(&format!("{root}/short/lived"), b"");
            witness.delete_recursive(&format!("{root}/short"));
            witness.create(&format!("{root}/long"), b"");
        },
        5,
    );
}

#[test]
fn a_root_deleted_while_its_read_is_under_way_is_gone_and_comes_back() {
    a_read_that_is_overtaken(
        "overtaken-root",
        &["a"],
        |witness, root| _ = witness.set(root, b"changed"),
        |witness, root| {
            witness.delete_recursive(root);
            witness.create(root, b"back");
        },
        3,
    );
}

// ---- what is decided besides ----

#[test]
fn a_late_joiner_is_told_the_tree_so_far_and_what_follows() {
    let root = unique_root("late-joiner");
    let (client, witness) = (client(&shared().hosts()), witness());
    for name in ["a", "b", "b/c"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    let cache = started(&client, &root, &[]);
    wait_for_state(&cache, State::InStep);
    let recorder = Recorder::listen(&cache);
    let events = recorder.wait_for_kind(EventKind::Initialized, 1);
    assert_eq!(steps(&events, &root), ["+", "+/a", "+/b", "+/b/c"]);
    assert_eq!(events.iter().map(|event| event.last).collect::<Vec<_>>(), [false, false, false, true, false]);
    witness.set(&format!("{root}/a"), b"changed");
    let events = recorder.wait_for_event(EventKind::NodeUpdated, &format!("{root}/a"));
    assert_eq!(node_events(&events), 5);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn listeners_that_join_at_any_moment_see_no_gap_and_no_duplicate() {
    let root = unique_root("joiners");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    witness.create(&root, b"");
    let cache = client.cache(&root, &config(&[])).unwrap();
    let mut recorders = vec![Recorder::listen(&cache)];
    cache.start().unwrap();
    for round in 0..30 {
        for n in 0..50 {
            let path = format!("{root}/{}", (round * 7 + n) % 97);
            let op = match round % 3 {
                0 | 1 => Op::Create { path: &path, data: Some(b"x"), flags: 0 },
                _ => Op::Delete { path: &path },
            };
            writer.send(&op).unwrap();
            writer.send_set(&root, Some(path.as_bytes())).unwrap();
        }
        recorders.push(Recorder::listen(&cache));
        // Creations of what is there and deletions of what is not fail, as they should.
        let _ = writer.drain();
    }
    assert_same_as_server(&cache, &witness, &root);
    for recorder in &recorders {
        assert_told_the_tree(recorder, &cache);
    }
}

#[test]
fn who_has_stopped_listening_is_told_nothing_more() {
    let root = unique_root("unlisten");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let (leaving, staying) = (Recorder::listen(&cache), Recorder::listen(&cache));
    leaving.wait_for_kind(EventKind::Initialized, 1);
    cache.unlisten(leaving.id).unwrap();
    let told = leaving.events().len();
    assert_eq!(cache.unlisten(leaving.id).unwrap_err().status(), Status::InvalidArgument);
    let path = format!("{root}/a");
    witness.create(&path, b"");
    staying.wait_for_event(EventKind::NodeAdded, &path);
    assert_eq!(leaving.events().len(), told);
    cache.unlisten(staying.id).unwrap();
}

#[test]
fn a_missing_root_is_created_with_its_parents() {
    let base = unique_root("create");
    let root = format!("{base}/parent/root");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = client.cache(&root, &config(&[("root.create", "true")])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    initialized(&cache);
    assert_eq!(witness.get(&root).expect("the root").0, b"");
    assert_same_as_server(&cache, &witness, &root);
    let events = recorder.wait_for_kind(EventKind::InStep, 1);
    use EventKind::{InStep, Initialized, NodeAdded};
    assert_eq!(kinds(&events), [NodeAdded, Initialized, InStep]);
    assert_eq!(faults.told(), []);
    // Anyone may write there.
    witness.create(&format!("{root}/a"), b"");
    witness.delete_recursive(&base);
    recorder.wait_for_event(EventKind::NodeRemoved, &root);
}

#[test]
fn a_missing_root_is_created_with_the_chroot_and_paths_are_relative_to_it() {
    let chroot = format!("{}/deep", unique_root("chroot"));
    let client = client(&format!("{}{chroot}", shared().hosts()));
    let witness = witness();
    let cache = started(&client, "/a/b", &[]);
    let recorder = Recorder::listen(&cache);
    assert!(witness.exists(&format!("{chroot}/a/b")));
    witness.create(&format!("{chroot}/a/b/c"), b"data");
    let events = recorder.wait_for_event(EventKind::NodeAdded, "/a/b/c");
    assert_eq!(replay(&events).keys().collect::<Vec<_>>(), ["/a/b", "/a/b/c"]);
    assert_eq!(cache.get_data("/a/b/c").unwrap().data(), b"data");
    assert_eq!(cache.get_data(format!("{chroot}/a/b")).unwrap_err().status(), Status::OutOfTree);

    // The chroot itself as a tree: there, `zookeeper` is a name like any other.
    let whole = started(&client, "/", &[]);
    let everything = Recorder::listen(&whole);
    witness.create(&format!("{chroot}/zookeeper"), b"ours");
    everything.wait_for_event(EventKind::NodeAdded, "/zookeeper");
    assert_eq!(whole.get_data("/zookeeper").unwrap().data(), b"ours");
    assert_eq!(whole.get_children("/").unwrap().names().collect::<Vec<_>>(), ["a", "zookeeper"]);
    witness.delete(&format!("{chroot}/zookeeper"));
    everything.wait_for_event(EventKind::NodeRemoved, "/zookeeper");
    assert_told_the_tree(&everything, &whole);
}

#[test]
fn a_chroot_that_is_missing_is_created_for_the_root_of_all_too() {
    let chroot = unique_root("chroot-root");
    let client = client(&format!("{}{chroot}", shared().hosts()));
    let cache = started(&client, "/", &[]);
    assert!(witness().exists(&chroot));
    assert_eq!(cache.get_data("/").unwrap().data(), b"");
    let waiting = client.cache("/missing", &config(&[("root.create", "false")])).unwrap();
    waiting.start().unwrap();
    initialized(&waiting);
    assert!(!witness().exists(&format!("{chroot}/missing")));
}

#[test]
fn a_root_that_may_not_be_created_is_a_fault_and_is_waited_for() {
    let base = unique_root("create-forbidden");
    let root = format!("{base}/root");
    let witness = witness();
    witness.create_with_acl(&base, b"", &[Acl::world(Acl::READ | Acl::ADMIN)]);
    let client = client(&shared().hosts());
    let cache = client.cache(&root, &config(&[])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    initialized(&cache);
    let fault = faults.wait_for(|fault| fault.status == Status::NoPermission);
    assert!(fault.message.contains(&root), "{}", fault.message);
    assert_eq!(cache.get_data(&root).unwrap_err().status(), Status::NoNode);
    witness.set_acl(&base, &Acl::open());
    witness.create(&root, b"at last");
    recorder.wait_for_event(EventKind::NodeAdded, &root);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn without_root_create_a_missing_root_is_an_empty_tree_until_it_appears() {
    let base = unique_root("wait");
    let root = format!("{base}/parent/root");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = client.cache(&root, &config(&[("root.create", "false")])).unwrap();
    let recorder = Recorder::listen(&cache);
    cache.start().unwrap();
    initialized(&cache);
    let events = recorder.wait_for_kind(EventKind::InStep, 1);
    assert_eq!(kinds(&events), [EventKind::Initialized, EventKind::InStep]);
    for path in [root.clone(), format!("{root}/a")] {
        assert_eq!(cache.get_data(&path).unwrap_err().status(), Status::NoNode);
        assert_eq!(cache.get_children(&path).err().unwrap().status(), Status::NoNode);
    }
    assert!(cache.snapshot().unwrap().is_empty() && cache.snapshot().unwrap().is_cut());
    assert!(!witness.exists(&base));

    witness.ensure_path(&format!("{root}/a"));
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/a"));
    assert_same_as_server(&cache, &witness, &root);
    witness.delete_recursive(&base);
    recorder.wait_for_event(EventKind::NodeRemoved, &root);
    witness.ensure_path(&root);
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn null_and_empty_data_are_both_of_length_zero() {
    let root = unique_root("null");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    let (null, empty) = (format!("{root}/null"), format!("{root}/empty"));
    witness.create(&root, b"");
    writer.create(&null, None, 0).unwrap();
    writer.create(&empty, Some(b""), 0).unwrap();
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    for round in 0..2 {
        assert_same_as_server(&cache, &witness, &root);
        for path in [&null, &empty] {
            let node = cache.get_data(path).unwrap();
            assert_eq!((node.data(), node.stat().data_length, node.stat().version), (&b""[..], 0, 2 * round));
        }
        // From something to null, and to the other kind of nothing.
        for (path, nothing) in [(&null, Some(&b""[..])), (&empty, None)] {
            writer.set(path, Some(b"something")).unwrap();
            let zxid = writer.set(path, nothing).unwrap();
            recorder.wait_for(|events| {
                events.iter().any(|event| event.stat.is_some_and(|stat| stat.mzxid == Zxid(zxid)))
            });
        }
    }
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn the_first_load_ends_with_initialized_and_then_in_step() {
    let root = unique_root("order");
    let (client, mut writer) = (client(&shared().hosts()), writer());
    writer.create(&root, None, 0).unwrap();
    for n in 0..500 {
        writer.send(&Op::Create { path: &format!("{root}/{n}"), data: Some(b"x"), flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    let cache = client.cache(&root, &config(&[])).unwrap();
    let recorder = Recorder::listen(&cache);
    cache.start().unwrap();
    let events = recorder.wait_for_kind(EventKind::InStep, 1);
    assert_eq!(node_events(&events), 501);
    assert!(events[..501].iter().all(|event| event.kind == EventKind::NodeAdded));
    assert_eq!(kinds(&events[501..]), [EventKind::Initialized, EventKind::InStep]);
    assert!(events[500].last && events[501..].iter().all(|event| !event.last && event.path.is_empty()));
    assert!(events[501..].iter().all(|event| event.zxid >= events[500].zxid));
    // A change that is followed at once is no reason to tell it again.
    writer.set(&root, Some(b"changed")).unwrap();
    let events = recorder.wait_for_event(EventKind::NodeUpdated, &root);
    assert_eq!(events.len(), 504);
}

#[test]
fn what_a_transaction_did_is_one_version_and_its_last_event_says_so() {
    let root = unique_root("version");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    for name in ["a", "b", "b/x", "c"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    let before = recorder.wait_for_kind(EventKind::Initialized, 1).len();
    wait_for_state(&cache, State::InStep);
    let [a, b, bx, c, d, dy] = ["a", "b", "b/x", "c", "d", "d/y"].map(|name| format!("{root}/{name}"));
    let zxid = writer
        .multi(&[
            Op::Create { path: &d, data: None, flags: 0 },
            Op::Set { path: &c, data: Some(b"set") },
            Op::Delete { path: &bx },
            Op::Delete { path: &b },
            Op::Create { path: &dy, data: None, flags: 0 },
            Op::Delete { path: &a },
            Op::Create { path: &a, data: None, flags: 0 },
        ])
        .unwrap();
    let events = recorder.wait_for_event(EventKind::NodeAdded, &dy)[before..].to_vec();
    let events: Vec<Recorded> = events.into_iter().filter(Recorded::is_of_a_node).collect();
    assert_eq!(steps(&events, &root), ["-/a", "-/b/x", "-/b", "+/a", "~/c", "+/d", "+/d/y"]);
    assert!(events.iter().all(|event| event.zxid >= Zxid(zxid) && event.zxid == events[0].zxid));
    assert!(events[6].last && events[..6].iter().all(|event| !event.last));
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn the_stats_of_parents_follow_their_children_without_events() {
    let root = unique_root("parents");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    for n in 0..10 {
        witness.create(&format!("{root}/{n}"), b"");
    }
    for n in 0..3 {
        witness.delete(&format!("{root}/{n}"));
    }
    assert_same_as_server(&cache, &witness, &root);
    let stat = *cache.get_data(&root).unwrap().stat();
    assert_eq!((stat.num_children, stat.cversion, stat.version), (7, 13, 0));
    assert_eq!(stat.pzxid.0, witness.stat(&root).unwrap().pzxid);
    assert_told_the_tree(&recorder, &cache);
    let of_root = recorder.events().into_iter().filter(|event| event.path == root);
    assert_eq!(of_root.map(|event| event.kind).collect::<Vec<_>>(), [EventKind::NodeAdded]);
}

#[test]
fn the_stat_of_a_parent_with_large_data_follows_its_children_without_its_data_being_read_again() {
    let root = unique_root("large-parent");
    let witness = witness();
    witness.create(&root, &vec![7; 500_000]);
    let proxy = Proxy::start(shared().addr());
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    wait_for_state(&cache, State::InStep);
    let received = proxy.bytes_to_client();
    for n in 0..20 {
        witness.create(&format!("{root}/{n}"), b"");
    }
    assert_same_as_server(&cache, &witness, &root);
    assert!(proxy.bytes_to_client() - received < 500_000, "{} bytes", proxy.bytes_to_client() - received);
    witness.set(&root, &vec![8; 400_000]);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_tree_beyond_limit_nodes_stops_the_load_with_a_fault() {
    let root = unique_root("limit-load");
    let (client, witness) = (client(&shared().hosts()), witness());
    for n in 0..20 {
        witness.ensure_path(&format!("{root}/{n}"));
    }
    for limit in ["1", "10", "20"] {
        let cache = client.cache(&root, &config(&[("limit.nodes", limit)])).unwrap();
        let faults = Faults::of(&cache);
        cache.start().unwrap();
        assert_eq!(cache.wait_initialized(Some(BOUND)), Err(Error::Failed(Status::Limit)), "{limit}");
        let fault = faults.wait_for(|fault| fault.status == Status::Limit);
        assert!(fault.message.contains(&format!("limit.nodes={limit}")), "{}", fault.message);
        wait_for_state(&cache, State::Closed);
        assert!(matches!(cache.start(), Err(Error::State(_))));
        // What is not in what has been loaded so far may exist.
        assert_eq!(cache.get_data(format!("{root}/x")).unwrap_err().status(), Status::NotReady);
    }
    // Up to the limit is within it.
    let cache = started(&client, &root, &[("limit.nodes", "21")]);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_tree_that_grows_beyond_limit_nodes_is_served_as_it_was_last() {
    let root = unique_root("limit-growth");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    let cache = started(&client, &root, &[("limit.nodes", "3")]);
    let unlimited = started(&client, &root, &[]);
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    witness.create(&format!("{root}/b"), b"b");
    assert_same_as_server(&cache, &witness, &root);
    witness.create(&format!("{root}/c"), b"c");
    faults.wait_for(|fault| fault.status == Status::Limit);
    wait_for_state(&cache, State::Closed);
    assert_eq!(cache.get_data(format!("{root}/b")).unwrap().data(), b"b");
    assert_eq!(cache.get_children(&root).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(cache.snapshot().unwrap().is_cut());

    // It stays as it is, and the others go on.
    witness.delete(&format!("{root}/a"));
    assert_same_as_server(&unlimited, &witness, &root);
    assert_eq!(cache.snapshot().unwrap().len(), 3);
    assert_eq!(cache.state().0, State::Closed);
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(faults.told().len(), 1);
}

#[test]
fn data_beyond_limit_bytes_stops_the_cache_with_a_fault() {
    let root = unique_root("limit-bytes");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.create(&root, b"");
    for name in ["a", "b", "c"] {
        witness.create(&format!("{root}/{name}"), &[1; 1_000]);
    }
    let refused = client.cache(&root, &config(&[("limit.bytes", "2999")])).unwrap();
    let faults = Faults::of(&refused);
    refused.start().unwrap();
    assert_eq!(refused.wait_initialized(Some(BOUND)), Err(Error::Failed(Status::Limit)));
    let fault = faults.wait_for(|fault| fault.status == Status::Limit);
    assert!(fault.message.contains("limit.bytes=2999"), "{}", fault.message);
    wait_for_state(&refused, State::Closed);

    let cache = started(&client, &root, &[("limit.bytes", "3000")]);
    let faults = Faults::of(&cache);
    witness.set(&format!("{root}/a"), &[2; 500]);
    witness.set(&format!("{root}/b"), &[2; 1_500]);
    assert_same_as_server(&cache, &witness, &root);
    witness.set(&format!("{root}/b"), &[3; 1_501]);
    faults.wait_for(|fault| fault.status == Status::Limit);
    wait_for_state(&cache, State::Closed);
    assert_eq!(cache.get_data(format!("{root}/b")).unwrap().data(), [2; 1_500]);
}

#[test]
fn a_cache_that_a_limit_has_stopped_goes_on_saying_so_when_another_has_the_same_root() {
    let root = unique_root("limit-other");
    let (client, witness) = (client(&shared().hosts()), witness());
    for n in 0..5 {
        witness.ensure_path(&format!("{root}/{n}"));
    }
    let stopped = client.cache(&root, &config(&[("limit.nodes", "2")])).unwrap();
    stopped.start().unwrap();
    assert_eq!(stopped.wait_initialized(Some(BOUND)), Err(Error::Failed(Status::Limit)));
    let other = started(&client, &root, &[]);
    assert_same_as_server(&other, &witness, &root);
    assert_eq!(stopped.wait_initialized(Some(BOUND)), Err(Error::Failed(Status::Limit)));
    assert_eq!(stopped.state().0, State::Closed);
}

#[test]
fn a_cache_that_a_limit_has_stopped_tells_nothing_of_the_connection() {
    let root = unique_root("limit-connection");
    let proxy = Proxy::start(shared().addr());
    let client = client(&proxy.hosts());
    let witness = witness();
    for n in 0..5 {
        witness.ensure_path(&format!("{root}/{n}"));
    }
    let stopped = client.cache(&root, &config(&[("limit.nodes", "2")])).unwrap();
    let recorder = Recorder::listen(&stopped);
    stopped.start().unwrap();
    assert_eq!(stopped.wait_initialized(Some(BOUND)), Err(Error::Failed(Status::Limit)));
    let other = started(&client, &format!("{root}/0"), &[]);
    let others = Recorder::listen(&other);
    wait_for_state(&other, State::InStep);
    proxy.drop_connections();
    others.wait_for_kind(EventKind::ConnectionReconnected, 1);
    assert_same_as_server(&other, &witness, &format!("{root}/0"));
    assert_eq!(stopped.state().0, State::Closed);
    assert_eq!(stopped.wait_initialized(Some(BOUND)), Err(Error::Failed(Status::Limit)));
    // A consumer that was told CONNECTION_RECONNECTED waits for IN_STEP, which would never come.
    assert!(recorder.events().iter().all(Recorded::is_of_a_node), "{:?}", kinds(&recorder.events()));
}

#[test]
fn a_slow_listener_goes_on_by_difference_and_holds_up_no_read() {
    let root = unique_root("slow");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    writer.create(&root, None, 0).unwrap();
    for n in 0..10 {
        writer.create(&format!("{root}/{n}"), Some(b"0"), 0).unwrap();
    }
    let cache = started(&client, &root, &[("events.capacity", "20")]);
    wait_for_state(&cache, State::InStep);
    let (opener, gate) = Gate::new();
    cache.listen(move |_| gate.pass()).unwrap();
    // The same thread tells this one.
    let recorder = Recorder::listen(&cache);
    for round in 0..100 {
        for n in 0..10 {
            let path = format!("{root}/{n}");
            match (round + n) % 4 {
                0 => writer.send(&Op::Delete { path: &path }).unwrap(),
                1 => writer.send(&Op::Create { path: &path, data: Some(b"1"), flags: 0 }).unwrap(),
                _ => writer.send_set(&path, Some(format!("{round}").as_bytes())).unwrap(),
            }
        }
        let _ = writer.drain();
    }
    assert_same_as_server(&cache, &witness, &root);
    drop(opener);
    assert_told_the_tree(&recorder, &cache);
    let told = node_events(&recorder.events());
    assert!(told < 200, "{told} events: they piled up");
}
