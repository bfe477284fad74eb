//! `sync`: what was committed before the call can be read after it, whoever wrote it and through whatever server; and
//! how a call ends when that cannot be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use treecache::{Error, State, Status, TreeCache};
use treecache_test_support::{Ensemble, Partition, Proxy, Verdict, Writer, shared, unique_root};

const LOST: Result<(), Status> = Err(Status::Connection);
/// ZooKeeper's opcode of a `multi`: what a call asks the server for is a transaction that changes nothing.
const MULTI: i32 = 14;

fn proxy() -> Proxy {
    Proxy::start(shared().addr())
}

#[track_caller]
fn assert_data(cache: &TreeCache, path: &str, data: &str) {
    let node = cache.get_data(path).expect("a node");
    assert_eq!(String::from_utf8_lossy(node.data()), data, "{path}");
    assert!(cache.snapshot().expect("a snapshot").is_cut());
}

/// Lets what a sync asks for wait for so long that nobody sees them answered. The counter says how many have come.
fn hold_syncs(proxy: &Proxy) -> Arc<AtomicUsize> {
    let held = Arc::new(AtomicUsize::new(0));
    let counted = held.clone();
    proxy.on_request(Box::new(move |request| {
        if request.opcode != MULTI {
            return Verdict::Pass;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Verdict::Hold(10 * BOUND)
    }));
    held
}

#[test]
fn what_others_have_written_is_read_after_a_sync_though_it_arrives_late() {
    let (root, proxy, witness) = (unique_root("late"), proxy(), witness());
    witness.create(&root, b"");
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    proxy.set_delay(Duration::from_millis(30));
    for n in 0..20 {
        let path = format!("{root}/{n}");
        witness.create(&path, b"new");
        witness.set(&root, path.as_bytes());
        assert_eq!(cache.sync(Some(BOUND)), Ok(()));
        assert_data(&cache, &path, "new");
        assert_data(&cache, &root, &path);
    }
    // Nothing has changed since: the same version, and no other.
    let versions = cache.stats().versions;
    assert_eq!(cache.sync(None), Ok(()));
    assert_eq!((cache.state().0, cache.stats().versions), (State::InStep, versions));
}

#[test]
fn a_sync_comes_to_its_end_while_others_write_without_a_pause() {
    let (root, witness) = (unique_root("busy"), witness());
    witness.create(&root, b"");
    let mut writer = Writer::connect(shared().addr(), BOUND).expect("a session");
    let busy: Vec<String> = (0..10).map(|n| format!("{root}/busy{n}")).collect();
    for path in &busy {
        writer.create(path, None, 0).expect("a node");
    }
    let client = client(&shared().hosts());
    let cache = started(&client, &root, &[]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for path in busy.iter().cycle().take_while(|_| !done.load(Ordering::SeqCst)) {
                writer.set(path, Some(b"x")).expect("a write");
            }
        });
        for n in 0..100 {
            let data = n.to_string();
            witness.set(&root, data.as_bytes());
            let synced = cache.sync(Some(BOUND));
            done.store(synced.is_err() || n == 99, Ordering::SeqCst);
            assert_eq!(synced, Ok(()));
            assert_data(&cache, &root, &data);
        }
    });
}

#[test]
fn a_thousand_calls_at_once_cost_few_requests() {
    const DELAY: Duration = Duration::from_millis(50);
    let (root, proxy) = (unique_root("thousand"), proxy());
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    proxy.on_request(Box::new(move |request| {
        counted.fetch_add(usize::from(request.opcode == MULTI), Ordering::SeqCst);
        Verdict::Pass
    }));
    proxy.set_delay(DELAY);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..1000 {
            scope.spawn(|| assert_eq!(cache.sync(Some(BOUND)), Ok(())));
        }
    });
    // One at a time, and each takes that long.
    let most = began.elapsed().as_millis() / DELAY.as_millis() + 1;
    let requests = requests.load(Ordering::SeqCst);
    assert!(requests > 0 && requests as u128 <= most, "{requests} requests in {:?}", began.elapsed());
}

#[test]
fn a_sync_during_the_first_load_waits_for_it() {
    let (above, witness) = (unique_root("load"), witness());
    let root = format!("{above}/root");
    witness.ensure_path(&format!("{root}/a/b"));
    let client = client(&shared().hosts());
    let other = started(&client, &above, &[]);
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    assert!(matches!(cache.sync(None), Err(Error::State(_))));
    cache.start().expect("started");
    assert_eq!(cache.sync(Some(BOUND)), Ok(()));
    assert!(cache.is_initialized());
    assert_same_as_server(&cache, &witness, &root);
    assert_eq!(other.sync(Some(BOUND)), Ok(()));
}

#[test]
fn a_sync_fails_at_once_without_a_connection_and_when_that_is_lost() {
    let (root, proxy) = (unique_root("lost"), proxy());
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);
    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&cache, State::Suspended);
    assert_eq!(cache.sync(None).map_err(|error| error.status()), LOST);
    proxy.refuse(false);
    wait_for_state(&cache, State::InStep);
    assert_eq!(cache.sync(Some(BOUND)), Ok(()));

    let held = hold_syncs(&proxy);
    thread::scope(|scope| {
        let waiting = [(); 3].map(|()| scope.spawn(|| cache.sync(None)));
        eventually("a sync is under way", || held.load(Ordering::SeqCst) == 1);
        proxy.drop_connections();
        // Those that come behind the loss fail too, or share the first of the next connection, which is held.
        for waiting in waiting {
            eventually("they are told", || {
                proxy.drop_connections();
                waiting.is_finished()
            });
            assert_eq!(waiting.join().expect("no panic").map_err(|error| error.status()), LOST);
        }
    });
    proxy.on_request(Box::new(|_| Verdict::Pass));
    eventually("there is a connection again", || cache.sync(Some(BOUND)).is_ok());
}

#[test]
fn a_sync_that_waits_ends_with_its_time_its_cache_or_its_client() {
    let (root, proxy) = (unique_root("ends"), proxy());
    let client = client(&proxy.hosts());
    let [closed, orphan, late] = [(); 3].map(|()| started(&client, &root, &[]));
    let held = hold_syncs(&proxy);
    assert_eq!(late.sync(Some(Duration::ZERO)).map_err(|error| error.status()), Err(Status::Timeout));
    assert_eq!(
        late.sync(Some(Duration::from_millis(50))).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    thread::scope(|scope| {
        let waiting = scope.spawn(|| closed.sync(None));
        // What waits in the proxy holds up what comes behind it, so that no more of them are seen.
        eventually("a sync is under way", || held.load(Ordering::SeqCst) > 0);
        closed.close();
        assert_eq!(waiting.join().expect("no panic"), Err(Error::Closed));
        assert_eq!(closed.sync(None), Err(Error::Closed));
        let waiting = scope.spawn(|| orphan.sync(None));
        drop(client);
        assert_eq!(waiting.join().expect("no panic"), Err(Error::Closed));
        assert_eq!(orphan.sync(None), Err(Error::Closed));
    });
}

#[test]
fn a_callback_may_ask_whether_the_load_is_complete_but_not_wait_for_a_sync() {
    let root = unique_root("callback");
    let client = client(&shared().hosts());
    let cache = Arc::new(client.cache(&root, &config(&[])).expect("a cache"));
    let (told, received) = mpsc::channel();
    let own = Arc::downgrade(&cache);
    let listener = move |event: &treecache::Event<'_>| {
        let Some(cache) = own.upgrade() else { return };
        told.send((event.kind, cache.is_initialized(), cache.sync(None))).expect("the test waits");
    };
    cache.listen(listener).expect("a listener");
    assert!(!cache.is_initialized());
    cache.start().expect("started");
    let (_, is_initialized, synced) = received
        .iter()
        .find(|(kind, ..)| *kind == treecache::EventKind::Initialized)
        .expect("the load is complete");
    assert_eq!((is_initialized, synced), (true, Err(Error::WouldDeadlock)));
}

#[test]
fn a_sync_through_a_follower_has_what_was_written_through_the_others() {
    let ensemble = Ensemble::start();
    let (leader, _) = ensemble.roles();
    let [follower, other] = [(leader + 1) % 3, (leader + 2) % 3];
    let servers = ensemble.servers();
    let mut writers =
        [leader, other].map(|at| Writer::connect(servers[at].addr(), BOUND).expect("a session"));
    let root = unique_root("follower");
    writers[0].create(&root, None, 0).expect("a node");
    let client = client(&servers[follower].hosts());
    let cache = started(&client, &root, &[]);
    for n in 0..100 {
        let data = n.to_string();
        writers[n % 2].set(&root, Some(data.as_bytes())).expect("a write");
        assert_eq!(cache.sync(Some(BOUND)), Ok(()));
        assert_data(&cache, &root, &data);
    }

    // It hears nothing of the others, and cannot say that it has caught up. (After two seconds it knows, and closes the
    // connection.)
    ensemble.isolate(follower, Partition::Silence);
    writers[0].set(&root, Some(b"behind its back")).expect("a write of two servers of three");
    assert!(cache.sync(Some(Duration::from_millis(200))).is_err());
    assert_data(&cache, &root, "99");
    ensemble.heal();
    // The connection may have been closed by a follower that has given up.
    eventually("it has caught up", || cache.sync(Some(BOUND)).is_ok());
    assert_data(&cache, &root, "behind its back");

    servers[follower].pause();
    let mut synced = Ok(());
    eventually("it stands still, which takes a moment", || {
        synced = cache.sync(Some(Duration::from_millis(200)));
        synced.is_err()
    });
    assert_eq!(synced.map_err(|error| error.status()), Err(Status::Timeout));
    servers[follower].resume();
    writers[0].set(&root, Some(b"awake")).expect("a write");
    eventually("it goes on", || cache.sync(Some(BOUND)).is_ok());
    assert_data(&cache, &root, "awake");
}
