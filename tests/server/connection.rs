//! How a connection is got, how it is lost, and what is told of it. Reads are served throughout.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use treecache::EventKind::{
    ConnectionLost, ConnectionSuspended, InStep, NodeAdded, NodeRemoved, NodeUpdated,
};
use treecache::{State, Status};
use treecache_test_support::{Proxy, Server, Witness, Writer, shared, unique_root};

use crate::common::*;
use crate::subject::*;

/// A server in front of `upstream` that thinks for a while before it listens to a connection.
fn hesitant(upstream: SocketAddr, thinks: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                thread::sleep(thinks);
                let Ok(server) = TcpStream::connect(upstream) else { return };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || copy(from, to));
                copy(server, client);
            });
        }
    });
    addr
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_server_that_is_too_slow_for_the_setting_is_reached_in_the_end() {
    let slow = hesitant(shared().addr(), Duration::from_secs(4)).to_string();
    let client = client_with(&slow, &[("connect.timeout.ms", "400"), ("session.timeout.ms", "10000")]);
    let faults = Faults::of_client(&client);
    let cache = client.cache(&unique_root("hesitant"), &config(&[])).expect("a cache");
    cache.start().expect("started");
    // The attempts, and what lies between them, take ten seconds and more.
    cache.wait_initialized(Some(3 * BOUND)).expect("the first load complete");
    let told = faults.told();
    // The first attempt may have failed before somebody listened.
    let bounds: Vec<bool> = [800, 1600, 3200]
        .iter()
        .map(|bound| told.iter().any(|fault| fault.message.contains(&format!("within {bound} ms"))))
        .collect();
    assert_eq!(bounds, [true; 3], "{told:?}");
    for fault in told {
        assert_eq!(fault.status, Status::Connection);
        assert!(fault.message.contains("ZooKeeper's handshake"), "{}", fault.message);
        assert!(fault.message.contains("connect.timeout.ms"), "{}", fault.message);
    }
}

#[test]
fn a_server_that_has_too_many_connections_from_here_says_nothing_and_the_fault_does() {
    let server = Server::builder().config("maxClientCnxns=1").start();
    let _only = Writer::connect(server.addr(), Duration::from_secs(10)).expect("the one connection");
    let client = client_with(&server.hosts(), &[]);
    let fault = Faults::of_client(&client)
        .wait_for(|fault| fault.status == Status::Connection && fault.message.contains("maxClientCnxns"));
    for word in ["the server closed the connection", "quorum", "read-only", "TLS"] {
        assert!(fault.message.contains(word), "{word:?} is missing in {:?}", fault.message);
    }
}

#[test]
fn of_several_servers_one_that_lives_is_enough() {
    let (root, witness) = (unique_root("several"), witness());
    plant(&witness, &root, &["/a"]);
    // One refuses, one accepts and is silent, one has no address.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let silent = silent.local_addr().map(|addr| (silent, addr.to_string())).expect("its number");
    for dead in ["127.0.0.1:1", &silent.1, "no-such-host.invalid:2181"] {
        for _ in 0..4 {
            let proxy = Proxy::start(shared().addr());
            let hosts = format!("{dead},{}", proxy.hosts());
            let mut subject = Subject::in_step(&hosts, &root, &[("connect.timeout.ms", "300")]);
            let from = subject.recorder.events().len();
            proxy.drop_connections();
            assert_eq!(
                outline(&subject.back_in_step(from)),
                ["suspended", "reconnected", "in step"],
                "{dead}"
            );
            subject.assert_recovered(&witness, &root);
        }
    }
}

#[test]
fn a_client_that_finds_nobody_waits_calmly_and_loads_when_somebody_comes() {
    let mut server = Server::start();
    let hosts = server.hosts();
    let root = "/late";
    plant(&Witness::connect(&hosts), root, &["/a"]);
    server.kill();
    let mut subject = Subject::start(&hosts, root, &[("session.timeout.ms", "4000")]);
    subject.faults.wait_for(|fault| fault.status == Status::Connection && fault.message.contains(&hosts));
    assert_eq!(
        subject.cache.wait_initialized(Some(Duration::from_secs(5))).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    assert_eq!(subject.cache.state(), (State::Loading, None));
    subject.io.assert_calm(Duration::from_secs(1));
    assert_eq!(subject.recorder.events(), []);
    server.restart();
    initialized(&subject.cache);
    assert_eq!(outline(&subject.recorder.wait_for_kind(InStep, 1)), ["nodes", "initialized", "in step"]);
    subject.assert_recovered(&Witness::connect(&hosts), root);
}

#[test]
fn refused_connections_are_tried_again_calmly_until_they_are_not() {
    let (root, witness) = (unique_root("refused"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("session.timeout.ms", "4000")]);
    let (from, before) = (subject.recorder.events().len(), proxy.connections_total());
    proxy.refuse(true);
    proxy.drop_connections();
    subject.recorder.wait_for_kind(ConnectionSuspended, 1);
    subject.io.assert_calm(Duration::from_secs(1));
    subject.recorder.wait_for_kind(ConnectionLost, 1);
    subject.io.assert_calm(Duration::from_secs(2));
    let attempts = proxy.connections_total() - before;
    assert!((2..100).contains(&attempts), "{attempts} attempts");
    witness.create(&format!("{root}/b"), b"");
    proxy.refuse(false);
    let told = subject.back_in_step(from);
    assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_dropped_connection_is_suspended_reconnected_and_in_step_again_and_nothing_is_lost() {
    let (root, witness) = (unique_root("dropped"), witness());
    plant(&witness, &root, &["/a", "/a/b"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let of_client = Faults::of_client(&subject.client);
    let session = proxy.last_session();
    for _ in 0..5 {
        let from = subject.recorder.events().len();
        proxy.drop_connections();
        let told = subject.back_in_step(from);
        assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
        assert_eq!(proxy.last_session(), session, "the session is the same");
    }
    let told = while_disconnected(&proxy, &subject, || {
        witness.set(&format!("{root}/a"), b"changed");
        witness.delete(&format!("{root}/a/b"));
        witness.create(&format!("{root}/c"), b"");
    });
    assert_eq!(outline(&told), ["suspended", "reconnected", "nodes", "in step"]);
    assert_eq!(changes(&told, &root), [(NodeRemoved, "/a/b"), (NodeUpdated, "/a"), (NodeAdded, "/c")]);
    for faults in [&subject.faults, &of_client] {
        let fault = faults.wait_for(|fault| fault.status == Status::Connection);
        assert!(fault.message.contains(&proxy.hosts()), "{}", fault.message);
    }
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_black_hole_is_noticed_within_the_session_timeout_and_in_the_end_the_session_is_lost() {
    let (root, witness) = (unique_root("black-hole"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let settings = [("session.timeout.ms", "6000"), ("connect.timeout.ms", "500")];
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &settings);
    let began = Instant::now();
    proxy.blackhole(true);
    let (_, stalls) = and_stalls(|| subject.recorder.wait_for_kind(ConnectionSuspended, 1));
    let noticed = began.elapsed();
    assert!(
        noticed < Duration::from_secs(6) + 2 * stalls,
        "noticed after {noticed:?}, with {stalls:?} of stalls"
    );
    wait_for_state(&subject.cache, State::Suspended);
    assert!(subject.cache.state().1.is_some_and(|age| age > Duration::from_millis(500)));
    subject.io.assert_calm(Duration::from_secs(1));
    subject.recorder.wait_for_kind(ConnectionLost, 1);
    wait_for_state(&subject.cache, State::Lost);
    witness.set(&format!("{root}/a"), b"changed");
    subject.io.assert_calm(Duration::from_secs(1));
    proxy.blackhole(false);
    let told = subject.recorder.wait_for_kind(InStep, 2);
    let told = outline(&told[told.iter().position(|event| event.kind == ConnectionSuspended).expect("it")..]);
    assert_eq!(told, ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]);
    subject.assert_recovered(&witness, &root);
}
