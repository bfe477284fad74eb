//! What a cache reads while others write, and what becomes of an answer that is overtaken by a change.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use treecache::{EventKind, State, Status};
use treecache_test_support::{Op, Proxy, Verdict, Witness, shared, unique_root};

use crate::common::*;

const MULTI_READ: i32 = 22;
const NOTIFICATION: i32 = -1;

/// A frame waits at it until it is opened.
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
