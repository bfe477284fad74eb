//! A session that ends, and the one behind it.

use treecache::EventKind::{InStep, Initialized, NodeUpdated};
use treecache::State;
use treecache_test_support::{Proxy, Server, Witness, expire_session, password_of, shared, unique_root};

use crate::common::*;
use crate::subject::*;

#[test]
fn an_expired_session_is_lost_and_replaced_and_the_differences_come_before_it_is_in_step() {
    let (root, witness) = (unique_root("expired"), witness());
    plant(&witness, &root, &["/a", "/a/b", "/c", "/d"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    for round in 1..=2 {
        let session = proxy.last_session();
        let told = while_disconnected(&proxy, &subject, || {
            expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
            witness.set(&format!("{root}/a"), format!("round {round}").as_bytes());
            witness.delete(&format!("{root}/c"));
            witness.create(&format!("{root}/c"), b"again");
            witness.create(&format!("{root}/new{round}"), b"new");
        });
        assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]);
        assert_ne!(proxy.last_session(), session);
        assert_same_as_server(&subject.cache, &witness, &root);
    }
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_session_that_expires_under_a_live_connection_is_replaced() {
    let (root, witness) = (unique_root("taken"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let (from, session) = (subject.recorder.events().len(), proxy.last_session());
    expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
    subject.recorder.wait_for_kind(Initialized, 2);
    let told = subject.recorder.wait_for(|events| events.last().is_some_and(|event| event.kind == InStep));
    // The one who ends it may have to take it over more than once.
    let kinds = outline(&told[from..]);
    assert_eq!(
        kinds[kinds.len() - 5..],
        ["suspended", "lost", "reconnected", "initialized", "in step"],
        "{kinds:?}"
    );
    witness.set(&format!("{root}/a"), b"changed");
    subject.recorder.wait_for_event(NodeUpdated, &format!("{root}/a"));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_session_given_up_for_lost_that_the_server_still_knows_is_initialized_anew() {
    let mut server = Server::start();
    let root = "/believed";
    plant(&Witness::connect(&server.hosts()), root, &["/a"]);
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "4000")]);
    for _ in 0..2 {
        let from = subject.recorder.events().len();
        server.kill();
        wait_for_state(&subject.cache, State::Lost);
        // Its sessions begin anew with it.
        server.restart();
        let told = subject.back_in_step(from);
        assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "initialized", "in step"]);
        assert_eq!(subject.cache.wait_initialized(None), Ok(()));
    }
    subject.assert_recovered(&Witness::connect(&server.hosts()), root);
}
