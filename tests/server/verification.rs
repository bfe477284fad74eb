//! What is read behind a lost connection, and what is not: whatever happened meanwhile is found, also by a first load or a
//! verification that is cut off itself.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use treecache::EventKind::{ConnectionLost, InStep, Initialized, NodeAdded, NodeRemoved, NodeUpdated};
use treecache::{EventKind, State};
use treecache_test_support::{Op, Proxy, Server, Verdict, Witness, Writer, shared, unique_root};

use crate::common::*;
use crate::subject::*;

const MULTI_READ: i32 = 22;
const GET_CHILDREN: i32 = 8;
/// The operations that read.
const READS: [i32; 5] = [3, 4, GET_CHILDREN, 12, MULTI_READ];
/// Data of which the Stat alone is read again.
const LARGE: [u8; 10_000] = [b'x'; 10_000];

/// A tree that takes several rounds to read: 1 + 30 + 300 nodes, three of them large.
fn plant_forest(root: &str) {
    let mut writer = writer();
    writer.create(root, None, 0).expect("the root");
    for i in 0..30 {
        let parent = format!("{root}/p{i:02}");
        let data = if i % 10 == 0 { &LARGE[..] } else { parent.as_bytes() };
        writer.send(&Op::Create { path: &parent, data: Some(data), flags: 0 }).expect("a create");
        for j in 0..10 {
            let path = format!("{parent}/c{j}");
            writer
                .send(&Op::Create { path: &path, data: Some(path.as_bytes()), flags: 0 })
                .expect("a create");
        }
    }
    writer.drain().expect("a forest");
}

/// Changes the forest in every way there is; where, depends on the round.
fn disturb(witness: &Witness, root: &str, round: usize) {
    let parent = format!("{root}/p{:02}", round % 30);
    // The same names, numbers of children and versions, but other nodes.
    witness.delete_recursive(&parent);
    witness.create(&parent, b"again");
    for j in 0..10 {
        witness.create(&format!("{parent}/c{j}"), b"again");
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (next, other) = (NEXT.fetch_add(1, Ordering::Relaxed), format!("{root}/p{:02}", (round + 7) % 30));
    witness.set(&other, format!("round {round}").as_bytes());
    witness.create(&format!("{other}/new{next}"), b"new");
    witness.create(&format!("{other}/new{next}/below"), b"below");
    let third = format!("{root}/p{:02}", (round + 14) % 30);
    for name in witness.children(&third).expect("children").into_iter().take(1) {
        witness.delete_recursive(&format!("{third}/{name}"));
    }
}

/// Cuts connection number `connection` in place of its reply number `reply`, after `before` was done. Says whether it
/// came to that.
fn cut_at(
    proxy: &Proxy,
    connection: usize,
    reply: usize,
    before: impl FnOnce() + Send + 'static,
) -> Arc<AtomicBool> {
    let cut = Arc::new(AtomicBool::new(false));
    let (done, mut before, mut replies) = (cut.clone(), Some(before), 0);
    proxy.on_reply(Box::new(move |frame| {
        if frame.connection != connection || frame.xid < 0 {
            return Verdict::Pass;
        }
        replies += 1;
        match before.take_if(|_| replies == reply) {
            Some(before) => {
                before();
                done.store(true, Ordering::SeqCst);
                Verdict::Drop
            }
            None => Verdict::Pass,
        }
    }));
    cut
}

#[test]
fn a_tree_is_read_again_after_a_reconnect_only_when_something_happened_meanwhile() {
    // A server of its own: whatever happens there moves the zxid, also that a session begins or ends.
    let server = Server::start();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a session");
    let root = "/quiet";
    writer.create(root, Some(b"root"), 0).expect("the root");
    // More than there are anchors, of which 32 take eight requests.
    for name in (0..300).map(|n| format!("n{n}")).chain(["a".to_owned()]) {
        let path = format!("{root}/{name}");
        writer.send(&Op::Create { path: &path, data: Some(name.as_bytes()), flags: 0 }).expect("a create");
    }
    writer.drain().expect("a tree");
    let proxy = Proxy::start(server.addr());
    // The audit would be counted, too.
    let settings = [("session.timeout.ms", "60000"), ("audit.interval.ms", "0")];
    let mut subject = Subject::in_step(&proxy.hosts(), root, &settings);
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    proxy.on_request(Box::new(move |request| {
        counter.fetch_add(usize::from(READS.contains(&request.opcode)), Ordering::SeqCst);
        Verdict::Pass
    }));
    for _ in 0..5 {
        let told = while_disconnected(&proxy, &subject, || ());
        assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
    }
    let anchors = reads.swap(0, Ordering::SeqCst) / 5;
    assert!((1..=8).contains(&anchors), "{anchors} requests each time, though nothing happened");

    let told = while_disconnected(&proxy, &subject, || {
        writer.create("/elsewhere", None, 0).expect("a node");
    });
    assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
    let verified = reads.load(Ordering::SeqCst);
    assert!(verified > anchors, "something happened, it could have been in the tree: {verified} requests");
    // What happens before the connection is lost is known, and no reason to read either.
    let changed = writer.set("/quiet/a", Some(b"changed")).expect("a set");
    subject.recorder.wait_for_event(NodeUpdated, "/quiet/a");
    eventually("it is in step with the change", || {
        let (state, snapshot) = (subject.cache.state().0, subject.cache.snapshot().expect("a snapshot"));
        state == State::InStep && snapshot.is_cut() && snapshot.zxid().0 >= changed
    });
    // What is known is not always the last: the zxid of a change elsewhere is learnt with the next ping.
    let before = reads.load(Ordering::SeqCst);
    while_disconnected(&proxy, &subject, || ());
    assert_eq!(reads.load(Ordering::SeqCst), before + anchors, "nothing happened");
    subject.assert_recovered(&Witness::connect(&server.hosts()), root);
}

#[test]
fn a_node_recreated_while_disconnected_is_removed_and_added_although_its_version_is_the_same() {
    let (root, witness) = (unique_root("recreated"), witness());
    plant(&witness, &root, &["/same", "/other", "/stays"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let told = while_disconnected(&proxy, &subject, || {
        for (path, data) in [("/same", "/same"), ("/other", "another")] {
            witness.delete(&format!("{root}{path}"));
            witness.create(&format!("{root}{path}"), data.as_bytes());
        }
    });
    let expected =
        [(NodeRemoved, "/other"), (NodeRemoved, "/same"), (NodeAdded, "/other"), (NodeAdded, "/same")];
    assert_eq!(changes(&told, &root), expected);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn children_recreated_while_disconnected_are_found_although_their_number_and_the_cversion_are_the_same() {
    let (root, witness) = (unique_root("children"), witness());
    plant(&witness, &root, &["/p", "/p/a", "/p/b", "/q", "/q/a", "/q/a/x", "/r", "/r/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let before = witness.stat(&format!("{root}/p")).expect("the parent");
    while_disconnected(&proxy, &subject, || {
        // The parent too is another one, and like the old.
        witness.delete_recursive(&format!("{root}/p"));
        for path in ["/p", "/p/b", "/p/c"] {
            witness.create(&format!("{root}{path}"), path.as_bytes());
        }
        // The parent is the same, its children have the names of the old, and one is left without children.
        witness.delete_recursive(&format!("{root}/q/a"));
        witness.create(&format!("{root}/q/a"), b"/q/a");
        // One goes, and one comes.
        witness.delete(&format!("{root}/r/a"));
        witness.create(&format!("{root}/r/b"), b"/r/b");
    });
    let after = witness.stat(&format!("{root}/p")).expect("the parent");
    assert_eq!((before.cversion, before.num_children), (after.cversion, after.num_children));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_cache_of_everything_is_verified_after_a_reconnect_and_leaves_out_what_is_zookeepers() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    witness.ensure_path("/a/b");
    witness.ensure_path("/c");
    let proxy = Proxy::start(server.addr());
    let mut subject = Subject::in_step(&proxy.hosts(), "/", &[]);
    let told = while_disconnected(&proxy, &subject, || {
        witness.delete_recursive("/a");
        witness.ensure_path("/d/e");
    });
    let told: Vec<(EventKind, &str)> = changes(&told, "");
    assert_eq!(told, [(NodeRemoved, "/a/b"), (NodeRemoved, "/a"), (NodeAdded, "/d"), (NodeAdded, "/d/e")]);
    subject.assert_recovered(&witness, "/");
}

#[test]
fn a_verification_cut_off_at_any_reply_is_made_again() {
    let witness = Arc::new(witness());
    let root = unique_root("verify");
    plant_forest(&root);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let mut cuts = 0;
    for reply in 1..=10 {
        let from = subject.recorder.events().len();
        proxy.refuse(true);
        proxy.drop_connections();
        wait_for_state(&subject.cache, State::Suspended);
        disturb(&witness, &root, reply);
        // Refused attempts are counted too, so which connection it will be is found out by the first reply.
        let (changer, below, mut connection, mut replies) = (witness.clone(), root.clone(), 0, 0);
        let cut = Arc::new(AtomicBool::new(false));
        let done = cut.clone();
        proxy.on_reply(Box::new(move |frame| {
            if connection == 0 {
                connection = frame.connection;
            }
            replies += usize::from(frame.connection == connection && frame.xid > 0);
            if frame.connection != connection || frame.xid <= 0 || replies != reply {
                return Verdict::Pass;
            }
            disturb(&changer, &below, reply + 3);
            done.store(true, Ordering::SeqCst);
            Verdict::Drop
        }));
        proxy.refuse(false);
        let told = subject.back_in_step(from);
        // From here on, it has either run as a whole or never will.
        proxy.on_reply(Box::new(|_| Verdict::Pass));
        if cut.load(Ordering::SeqCst) {
            cuts += 1;
            let told: Vec<_> = outline(&told).into_iter().filter(|kind| *kind != "nodes").collect();
            assert!(told.starts_with(&["suspended", "reconnected"]), "reply {reply}: {told:?}");
            // The last replies may be those that complete it.
            assert!(told.get(2) == Some(&"suspended") || reply > 4, "reply {reply}: {told:?}");
        }
        assert_same_as_server(&subject.cache, &witness, &root);
    }
    assert!(cuts >= 3, "the verification was cut off at {cuts} replies only");
    assert_eq!((subject.count(ConnectionLost), subject.count(Initialized)), (0, 1));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_connection_lost_between_a_data_reply_and_its_children_reply_leaves_no_child_unread() {
    let witness = Arc::new(witness());
    for lists_before in 0..4 {
        let root = unique_root("between");
        plant_forest(&root);
        let proxy = Proxy::start(shared().addr());
        let lists = Arc::new(Mutex::new(Vec::new()));
        let asked = lists.clone();
        proxy.on_request(Box::new(move |request| {
            let is_list = request.opcode == MULTI_READ && has_list(request.body);
            if request.connection == 1 && is_list || request.opcode == 12 {
                asked.lock().expect("xids").push(request.xid);
            }
            Verdict::Pass
        }));
        let cut = Arc::new(AtomicBool::new(false));
        let (done, changer, below) = (cut.clone(), witness.clone(), root.clone());
        proxy.on_reply(Box::new(move |reply| {
            let is_the_one = lists.lock().expect("xids").get(lists_before) == Some(&reply.xid);
            if reply.connection != 1 || !is_the_one {
                return Verdict::Pass;
            }
            for round in 0..3 {
                disturb(&changer, &below, round * 5);
            }
            done.store(true, Ordering::SeqCst);
            Verdict::Drop
        }));
        let mut subject = Subject::start(&proxy.hosts(), &root, &[]);
        initialized(&subject.cache);
        assert!(cut.load(Ordering::SeqCst) || lists_before > 1, "there was no such reply");
        subject.assert_recovered(&witness, &root);
    }
}

/// Whether one of the reads of this multiRead is that of a child list.
fn has_list(mut body: &[u8]) -> bool {
    let int = |bytes: &[u8]| i32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    while body.len() > 9 {
        let (kind, path) = (int(body), int(&body[9..]) as usize);
        if kind == GET_CHILDREN {
            return true;
        }
        body = &body[9 + 4 + path + 1..];
    }
    false
}

#[test]
fn a_first_load_cut_off_at_any_reply_is_completed_on_the_next_connection() {
    let witness = Arc::new(witness());
    let root = unique_root("load");
    plant_forest(&root);
    let mut cuts = 0;
    for reply in 1..=10 {
        let proxy = Proxy::start(shared().addr());
        let (changer, below) = (witness.clone(), root.clone());
        let cut = cut_at(&proxy, 1, reply, move || disturb(&changer, &below, reply));
        let mut subject = Subject::start(&proxy.hosts(), &root, &[]);
        initialized(&subject.cache);
        let told = subject.recorder.wait_for_kind(InStep, 1);
        // From here on, it has either run as a whole or never will.
        proxy.on_reply(Box::new(|_| Verdict::Pass));
        if cut.load(Ordering::SeqCst) {
            cuts += 1;
            let told: Vec<_> = outline(&told).into_iter().filter(|kind| *kind != "nodes").collect();
            // The last replies may be those that complete it.
            let in_time = told == ["suspended", "reconnected", "initialized", "in step"];
            assert!(in_time || reply > 4, "reply {reply}: {told:?}");
        }
        subject.assert_recovered(&witness, &root);
    }
    assert!(cuts >= 4, "the load was cut off at {cuts} replies only");
}

#[test]
fn a_first_load_cut_off_again_and_again_is_completed_in_the_end() {
    let witness = Arc::new(witness());
    let root = unique_root("load-again");
    plant_forest(&root);
    let proxy = Proxy::start(shared().addr());
    let (changer, below, mut replies, mut last) = (witness.clone(), root.clone(), 0, 0);
    proxy.on_reply(Box::new(move |reply| {
        if reply.connection != last {
            (last, replies) = (reply.connection, 0);
        }
        replies += 1;
        // One reply more each time.
        if reply.connection > 8 || replies <= reply.connection {
            return Verdict::Pass;
        }
        disturb(&changer, &below, reply.connection);
        if reply.connection % 2 == 0 { Verdict::Drop } else { Verdict::DropAfter }
    }));
    let mut subject = Subject::start(&proxy.hosts(), &root, &[]);
    initialized(&subject.cache);
    subject.assert_recovered(&witness, &root);
    assert!(proxy.connections_total() > 3, "it was hardly cut off");
    assert_eq!(subject.count(ConnectionLost), 0);
}
