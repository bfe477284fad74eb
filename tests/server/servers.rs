//! What a server does to its clients: it dies, stands still, or comes back with nothing of what it had.

use std::thread;
use std::time::{Duration, Instant};

use treecache::EventKind::{ConnectionSuspended, InStep, NodeUpdated};
use treecache::{State, Status};
use treecache_test_support::{Server, Witness, Writer};

use crate::common::*;
use crate::subject::*;

#[test]
fn a_server_that_is_killed_and_restarted_is_found_again_with_the_same_session() {
    let mut server = Server::start();
    let root = "/killed";
    {
        let witness = Witness::connect(&server.hosts());
        plant(&witness, root, &["/a", "/a/b", "/c"]);
    }
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "40000")]);
    for round in 1..=2 {
        let from = subject.recorder.events().len();
        server.kill();
        wait_for_state(&subject.cache, State::Suspended);
        subject.io.assert_calm(Duration::from_secs(1));
        assert_eq!(subject.cache.get_data("/killed/a/b").expect("the last version").data(), b"/a/b");
        server.restart();
        let told = subject.back_in_step(from);
        assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
        let witness = Witness::connect(&server.hosts());
        witness.set("/killed/c", format!("round {round}").as_bytes());
        subject.recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(NodeUpdated, "/killed/c")).count() == round
        });
        assert_same_as_server(&subject.cache, &witness, root);
    }
    subject.assert_recovered(&Witness::connect(&server.hosts()), root);
}

#[test]
fn a_server_that_stops_answering_is_noticed_within_the_session_timeout() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    let root = "/stopped";
    plant(&witness, root, &["/a"]);
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "6000")]);
    let from = subject.recorder.events().len();
    let began = Instant::now();
    server.pause();
    let (_, stalls) = and_stalls(|| subject.recorder.wait_for_kind(ConnectionSuspended, 1));
    let noticed = began.elapsed();
    subject.io.assert_calm(Duration::from_secs(1));
    server.resume();
    assert!(
        noticed < Duration::from_secs(6) + 2 * stalls,
        "noticed after {noticed:?}, with {stalls:?} of stalls"
    );
    let mut told = outline(&subject.back_in_step(from));
    // Who was stopped may find that the session has timed out.
    if told.contains(&"lost") {
        told.retain(|kind| !["lost", "initialized"].contains(kind));
    }
    assert_eq!(told, ["suspended", "reconnected", "in step"]);
    drop(witness);
    let witness = Witness::connect(&server.hosts());
    witness.set("/stopped/a", b"changed");
    subject.recorder.wait_for_event(NodeUpdated, "/stopped/a");
    subject.assert_recovered(&witness, root);
}

#[test]
fn a_server_that_was_reset_is_a_fault_and_its_new_tree_replaces_the_old() {
    let mut server = Server::start();
    let root = "/reset";
    {
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
        for path in ["/reset", "/reset/kept", "/reset/gone", "/reset/gone/below"] {
            writer.create(path, Some(b"old"), 0).expect("a node");
        }
        for i in 0..300 {
            writer.send_set(root, Some(format!("{i}").as_bytes())).expect("a set");
        }
        writer.drain().expect("300 transactions");
    }
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "10000")]);
    let from = subject.recorder.events().len();
    let before = subject.cache.snapshot().expect("a snapshot").zxid();
    server.kill();
    server.wipe();
    server.restart();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    for path in ["/reset", "/reset/kept", "/reset/kept/below", "/reset/new"] {
        writer.create(path, Some(b"new"), 0).expect("a node");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !subject.recorder.events()[from..].iter().any(|event| event.kind == InStep) {
        assert!(Instant::now() < deadline, "{:#?}", subject.faults.told());
        thread::sleep(Duration::from_millis(10));
    }
    let told = subject.recorder.events().split_off(from);
    let faults = subject.faults.told();
    assert_eq!(faults.iter().filter(|fault| fault.status == Status::Reset).count(), 1, "{faults:#?}");
    let kinds = outline(&told);
    assert_eq!(kinds[0], "suspended");
    assert_eq!(kinds[kinds.len() - 4..], ["reconnected", "nodes", "initialized", "in step"], "{kinds:?}");
    assert!(subject.cache.snapshot().expect("a snapshot").zxid() < before);
    // It may have seen that there was no root for a moment.
    subject.reader.take();
    let witness = Witness::connect(&server.hosts());
    subject.assert_recovered(&witness, root);
    witness.set("/reset/new", b"newer");
    subject.recorder.wait_for_event(NodeUpdated, "/reset/new");
    assert_same_as_server(&subject.cache, &witness, root);
}
