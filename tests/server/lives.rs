//! The lives of caches and clients: begun once, ended at any time by anybody, and what is left of them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use treecache::EventKind::ConnectionLost;
use treecache::{Error, EventKind, State, Status};
use treecache_test_support::{Proxy, Server, Witness, sessions_of, shared, unique_root};

use crate::common::*;
use crate::sharing::eventually_watched;
use crate::subject::*;

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
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let recorder = Recorder::listen(&cache);
    cache.start().expect("started");
    // The last that comes by itself: no callback is under way at the close.
    recorder.wait_for_kind(EventKind::InStep, 1);
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
fn caches_outlive_their_client_with_what_they_know() {
    let root = unique_root("outlive");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    let cache = started(&client, &root, &[]);
    let latent = client.cache(&root, &config(&[])).unwrap();
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_kind(EventKind::Initialized, 1);
    drop(client);
    recorder.wait_for_kind(EventKind::ConnectionLost, 1);
    wait_for_state(&cache, State::Lost);
    assert_eq!(cache.get_children(&root).unwrap().names().collect::<Vec<_>>(), ["a"]);
    assert_eq!(cache.wait_initialized(Some(BOUND)), Err(Error::Closed));
    assert_eq!(latent.start(), Err(Error::Closed));
    let late = Recorder::listen(&cache);
    late.wait_for_event(EventKind::NodeAdded, &format!("{root}/a"));
    eventually_watched(&root, &[]);
}

#[test]
fn a_client_that_is_dropped_ends_its_session_at_the_server_at_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    // So long that it does not end by itself while it is waited for.
    let subject = Subject::in_step(&proxy.hosts(), "/end", &[("session.timeout.ms", "60000")]);
    let (session, id) = (proxy.last_session(), format!("{:x}", proxy.last_session()));
    assert!(sessions_of(&server).contains(&session));
    assert!(server.four_letter("dump").contains(&id));
    let cache = subject.cache.clone();
    let Subject { client, recorder, reader, .. } = subject;
    assert_quick(|| drop(client));
    eventually("the session's end", || {
        !sessions_of(&server).contains(&session) && !server.four_letter("dump").contains(&id)
    });
    // What is known stays.
    recorder.wait_for_kind(ConnectionLost, 1);
    assert_eq!(cache.state().0, State::Lost);
    assert!(cache.get_data("/end").is_ok());
    reader.expect("a reader").stop();
    assert_eq!(cache.start(), Err(Error::Closed));
}

#[test]
fn a_client_is_dropped_quickly_whatever_its_server_does() {
    let mut server = Server::start();
    let settings = [("session.timeout.ms", "30000")];
    let root = "/quickly";
    let in_step = |hosts: &str| {
        let mut subject = Subject::in_step(hosts, root, &settings);
        subject.reader.take().expect("a reader").stop();
        subject
    };

    // Cut off, silent, and trying in vain.
    let proxy = Proxy::start(server.addr());
    let subject = in_step(&proxy.hosts());
    proxy.blackhole(true);
    subject.close();
    proxy.blackhole(false);
    let subject = in_step(&proxy.hosts());
    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&subject.cache, State::Suspended);
    subject.close();

    // Never heard of.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    for hosts in [silent.local_addr().expect("its number").to_string(), "no-such-host.invalid".into()] {
        let subject = Subject::start(&hosts, root, &settings);
        thread::sleep(Duration::from_millis(50));
        subject.close();
    }

    // Stopped, and dead.
    let (first, second) = (in_step(&server.hosts()), in_step(&server.hosts()));
    server.pause();
    first.close();
    server.kill();
    wait_for_state(&second.cache, State::Suspended);
    second.close();
}

#[test]
fn a_hundred_short_lives_leave_no_thread_and_no_descriptor_behind() {
    in_a_process_of_its_own(|| {
        let hosts = shared().hosts();
        let witness = Witness::connect(&hosts);
        let root = unique_root("short");
        plant(&witness, &root, &["/a"]);
        let count = |folder: &str| std::fs::read_dir(folder).expect(folder).count();
        let live = |round: usize| {
            let hosts = match round % 10 {
                8 => "127.0.0.1:1",
                9 => "localhost:1",
                _ => &hosts,
            };
            let client = client_with(hosts, &[]);
            let cache = client.cache(&root, &config(&[])).expect("a cache");
            let _recorder = Recorder::listen(&cache);
            cache.start().expect("started");
            if round % 10 < 3 {
                initialized(&cache);
            }
            if round.is_multiple_of(2) { drop((client, cache)) } else { drop((cache, client)) }
        };
        live(0);
        live(9);
        let names = ["treecache-io", "treecache-events", "treecache-dns"];
        let none_runs = || names.iter().all(|name| threads_named(name) == 0);
        eventually("all threads of the library ended", none_runs);
        let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
        for round in 0..100 {
            live(round);
        }
        eventually("all threads ended", || count("/proc/self/task") <= threads);
        eventually("all descriptors closed", || count("/proc/self/fd") <= descriptors);
        eventually("all threads of the library ended", none_runs);
    });
}
