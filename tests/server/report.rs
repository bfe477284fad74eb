//! Verification by report: behind a lost connection, another session is told what has changed, and that is read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use treecache_test_support::{Op, Proxy, Server, Verdict, Witness, Writer, shared, unique_root};

use crate::common::*;
use crate::subject::*;

const SET_WATCHES: i32 = 101;
const CLOSE_SESSION: i32 = -11;
const PARENTS: usize = 30;
/// Nodes that are read for whatever reason: anchors of both kinds, and parents of what came or went.
const FEW: u64 = 64 + 40 + 3 * PARENTS as u64;

/// A server that grants the session of a report as much time as servers usually do. The others here grant it so little that a
/// busy machine loses it, and then all is read.
pub(crate) fn patient_server() -> Server {
    Server::builder().config("minSessionTimeout=4000").start()
}

/// A root, parents, and so many children of each; each with a transaction of its own.
pub(crate) fn plant_many(writer: &mut Writer, root: &str, children: usize) {
    writer.create(root, None, 0).expect("the root");
    for i in 0..PARENTS {
        let parent = format!("{root}/p{i:02}");
        writer.send(&Op::Create { path: &parent, data: Some(b"parent"), flags: 0 }).expect("a create");
        for j in 0..children {
            let path = format!("{parent}/c{j:03}");
            writer
                .send(&Op::Create { path: &path, data: Some(path.as_bytes()), flags: 0 })
                .expect("a create");
        }
    }
    writer.drain().expect("a tree");
}

/// So many changes of all kinds, at random.
pub(crate) fn change(writer: &mut Writer, root: &str, count: usize, rng: &mut Rng) {
    for n in 0..count {
        let parent = format!("{root}/p{:02}", rng.usize(..PARENTS));
        let child = format!("{parent}/c{:03}", rng.usize(..60));
        let number = rng.u32(..);
        // Some of these are not possible, as things are.
        _ = match n % 6 {
            0 => writer.set(&child, Some(b"changed")),
            1 => writer.delete(&child),
            2 => writer.create(&child, Some(b"again"), 0),
            3 => writer.create(&format!("{parent}/n{number}"), None, 0),
            // Below what was a leaf.
            4 => writer.create(&format!("{child}/n{number}"), Some(b"below"), 0),
            _ => writer.delete(&child).and_then(|_| writer.create(&child, Some(b"another"), 0)),
        };
    }
}

/// How often the proxy has passed such a request on.
fn count(proxy: &Proxy, opcode: i32) -> Arc<AtomicUsize> {
    let counter = Arc::new(AtomicUsize::new(0));
    let counted = counter.clone();
    proxy.on_request(Box::new(move |request| {
        counted.fetch_add(usize::from(request.opcode == opcode), Ordering::SeqCst);
        Verdict::Pass
    }));
    counter
}

#[test]
fn a_large_tree_is_read_where_it_has_changed_and_nowhere_else() {
    let (server, root, mut rng) = (patient_server(), "/report", Rng::with_seed(7));
    let witness = Witness::connect(&server.hosts());
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    plant_many(&mut writer, root, 100);
    let proxy = Proxy::start(server.addr());
    let mut subject = Subject::in_step(&proxy.hosts(), root, &[("verify", "report")]);
    let compared = count(&proxy, SET_WATCHES);
    for changes in [0, 1, 10, 60, 60] {
        let (before, asked) = (subject.cache.stats(), compared.load(Ordering::SeqCst));
        while_disconnected(&proxy, &subject, || {
            // The zxid moves in any case.
            writer.create(&unique_root("elsewhere"), None, 0).expect("a node");
            change(&mut writer, root, changes, &mut rng);
        });
        assert_same_as_server(&subject.cache, &witness, root);
        let after = subject.cache.stats();
        let read = after.reads - before.reads;
        assert!(read <= FEW + 3 * changes as u64, "{read} of {} nodes, for {changes} changes", after.nodes);
        assert_eq!(after.resyncs - before.resyncs, 1);
        assert!(compared.load(Ordering::SeqCst) > asked + 5, "in requests of some 16 KiB");
    }
    subject.assert_recovered(&witness, root);
}

#[test]
fn a_server_is_asked_on_several_connections_and_keeps_no_watch() {
    let server = patient_server();
    let proxy = Proxy::start(server.addr());
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    writer.create("/r", None, 0).expect("the root");
    for n in 0..12_000 {
        let path = format!("/r/{n:05}");
        writer.send(&Op::Create { path: &path, data: None, flags: 0 }).expect("a create");
    }
    writer.drain().expect("a tree");
    let subject = Subject::in_step(&proxy.hosts(), "/r", &[("verify", "report")]);
    let watches = || {
        let told = server.four_letter("mntr");
        let line = told.lines().find(|line| line.starts_with("zk_watch_count")).expect("a count");
        line.split_whitespace().last().and_then(|count| count.parse::<usize>().ok()).expect("a number")
    };
    // A recursive watch counts as two.
    let watched = watches();
    let (ended, before) = (count(&proxy, CLOSE_SESSION), proxy.connections_total());
    while_disconnected(&proxy, &subject, || {
        writer.set("/r/07777", Some(b"changed")).expect("a set");
    });
    let node = subject.cache.get_data("/r/07777").expect("a node");
    assert_eq!(node.data(), b"changed");
    eventually("it has said goodbye", || ended.load(Ordering::SeqCst) == 1);
    let connections = proxy.connections_total() - before;
    // That of the caches, and one for each 5,000 nodes. (Some attempts may have been refused.)
    assert!(connections >= 4, "{connections} connections");
    eventually("as many watches are left as there were", || watches() == watched);
}

#[test]
fn where_no_second_session_can_be_had_all_is_read_and_nobody_is_told_of_a_fault() {
    let (root, witness, mut rng) = (unique_root("refused"), witness(), Rng::with_seed(8));
    plant_many(&mut writer(), &root, 100);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("verify", "report")]);
    let (refused, tries) = (Arc::new(AtomicUsize::new(0)), 2);
    let counter = refused.clone();
    proxy.on_request(Box::new(move |request| match request.opcode {
        SET_WATCHES => {
            counter.fetch_add(1, Ordering::SeqCst);
            Verdict::Drop
        }
        _ => Verdict::Pass,
    }));
    let (mut writer, before) = (writer(), subject.cache.stats());
    let faults = subject.faults.told().len();
    while_disconnected(&proxy, &subject, || change(&mut writer, &root, 30, &mut rng));
    assert_same_as_server(&subject.cache, &witness, &root);
    assert!(refused.load(Ordering::SeqCst) >= tries);
    let after = subject.cache.stats();
    assert!(after.reads - before.reads > 3000);
    let told = subject.faults.told();
    assert!(
        told[faults..]
            .iter()
            .all(|fault| fault.message.contains("refused") || fault.message.contains("closed")),
        "{told:#?}"
    );
    subject.assert_recovered(&witness, &root);
}

#[test]
fn what_is_to_be_read_is_read() {
    let (root, witness, mut rng) = (unique_root("verify-read"), witness(), Rng::with_seed(9));
    plant_many(&mut writer(), &root, 100);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("verify", "read")]);
    let (compared, mut writer, before) = (count(&proxy, SET_WATCHES), writer(), subject.cache.stats());
    while_disconnected(&proxy, &subject, || change(&mut writer, &root, 10, &mut rng));
    assert_same_as_server(&subject.cache, &witness, &root);
    assert_eq!(compared.load(Ordering::SeqCst), 0);
    assert!(subject.cache.stats().reads - before.reads > 3000);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn changes_that_come_during_a_report_are_found_as_well() {
    let (root, witness, mut rng) = (unique_root("amid"), witness(), Rng::with_seed(10));
    plant_many(&mut writer(), &root, 100);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("verify", "report")]);
    let amid = Arc::new(Mutex::new((writer(), Rng::with_seed(11))));
    let (writer_amid, of) = (amid.clone(), root.clone());
    proxy.on_request(Box::new(move |request| {
        if request.opcode == SET_WATCHES {
            let (writer, rng) = &mut *writer_amid.lock().expect("a writer");
            change(writer, &of, 3, rng);
        }
        Verdict::Pass
    }));
    let mut writer = writer();
    for _ in 0..5 {
        while_disconnected(&proxy, &subject, || change(&mut writer, &root, 10, &mut rng));
        assert_eq!(subject.cache.sync(Some(BOUND)), Ok(()));
        assert_same_as_server(&subject.cache, &witness, &root);
    }
    subject.assert_recovered(&witness, &root);
}
