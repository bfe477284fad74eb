//! The life of a cache, its waits and its reads, where the test says by hand what an I/O thread would.

use super::*;
use crate::client::Client;
use crate::client::tests::{HEARD_AGO, Hand, client};
use crate::snapshot::tests::node;
use crate::stat::Zxid;
use crate::stats::WatchMode;
use crate::tree::Tree;
use std::sync::mpsc;

fn version(paths: &[&str], is_complete: bool) -> Arc<Version> {
    let mut tree = Tree::default();
    for path in paths {
        assert!(tree.put(path, node(1, 1)));
    }
    Arc::new(Version { tree, zxid: Zxid(9), is_cut: is_complete, is_complete, is_own: true })
}

fn started() -> (Client, Arc<Hand>, TreeCache, Arc<dyn CacheSink>) {
    let (client, hand) = client();
    let cache = client.cache("/foo", &Config::new()).unwrap();
    cache.start().unwrap();
    let sink = hand.sink();
    (client, hand, cache, sink)
}

#[test]
fn a_cache_is_started_once_and_not_after_it_was_closed() {
    let (_client, hand, cache, _) = started();
    assert_eq!(hand.opened.lock().unwrap()[0].1.as_str(), "/foo");
    assert_eq!(cache.start(), Err(Error::State("the cache was started before")));
    cache.close();
    cache.close();
    assert_eq!(cache.start(), Err(Error::Closed));
    assert_eq!(hand.closed.lock().unwrap().len(), 1);
}

#[test]
fn a_start_that_the_end_of_the_client_overtakes_leaves_the_cache_lost() {
    let (client, hand) = client();
    let client = Arc::new(client);
    let cache = client.cache("/foo", &Config::new()).unwrap();
    let ending = client.clone();
    *hand.opening.lock().unwrap() = Some(Box::new(move || ending.close()));
    assert_eq!(cache.start(), Err(Error::Closed));
    assert_eq!(cache.state().0, State::Lost);
}

#[test]
fn reads_say_why_there_is_nothing() {
    let (client, _hand, cache, sink) = started();
    let latent = client.cache("/foo", &Config::new()).unwrap();
    for cache in [&latent, &cache] {
        assert_eq!(cache.get_data("/foo").unwrap_err().status(), Status::NotReady);
        assert_eq!(cache.get_data("/bar").unwrap_err().status(), Status::OutOfTree);
        assert_eq!(cache.get_children("foo").err().unwrap().status(), Status::InvalidArgument);
        let snapshot = cache.snapshot().unwrap();
        assert_eq!((snapshot.zxid(), snapshot.is_cut(), snapshot.len()), (Zxid(0), false, 0));
    }
    sink.tell(Output::Publish(version(&["", "a"], false), 2));
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");
    assert_eq!(cache.get_data("/foo/b").unwrap_err().status(), Status::NotReady);
    sink.tell(Output::Publish(version(&["", "a", "b"], true), 1));
    let snapshot = cache.snapshot().unwrap();
    assert_eq!(cache.get_children("/foo").unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(cache.get_data("/foo/c").unwrap_err().status(), Status::NoNode);
    cache.close();
    sink.tell(Output::Publish(version(&["", "a"], true), 2));
    assert_eq!(cache.get_data("/foo/a").unwrap_err(), Error::Closed);
    assert_eq!(cache.get_children("/foo").err(), Some(Error::Closed));
    assert_eq!(cache.snapshot().err(), Some(Error::Closed));
    assert_eq!(cache.listen(|_| {}), Err(Error::Closed));
    assert_eq!(snapshot.get_data("/foo/b").unwrap().data(), b"1");
}

#[test]
fn with_close_keep_reads_go_on_from_the_last_version() {
    let (client, hand) = client();
    let mut config = Config::new();
    config.set("close.keep", "true").unwrap();
    let cache = client.cache("/foo", &config).unwrap();
    cache.start().unwrap();
    let sink = hand.sink();
    sink.tell(Output::Publish(version(&["", "a"], true), 2));
    sink.tell(Output::State(State::InStep));
    cache.close();
    sink.tell(Output::Publish(version(&["", "a", "b"], true), 1));
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");
    assert_eq!(cache.get_data("/foo/b").unwrap_err().status(), Status::NoNode);
    assert_eq!(cache.get_children("/foo").unwrap().names().collect::<Vec<_>>(), ["a"]);
    let snapshot = cache.snapshot().unwrap();
    assert_eq!((snapshot.zxid(), snapshot.is_cut(), snapshot.len()), (Zxid(9), true, 2));
    let stats = cache.stats();
    assert_eq!((stats.state, stats.zxid, stats.nodes), (State::Closed, Zxid(9), 2));
    // All else is as closed as ever.
    assert!(cache.state().0 == State::Closed && !cache.is_initialized());
    assert_eq!(cache.start(), Err(Error::Closed));
    assert_eq!(cache.sync(None), Err(Error::Closed));
    assert_eq!(cache.wait_initialized(None), Err(Error::Closed));
    assert_eq!(cache.listen(|_| {}), Err(Error::Closed));
    assert_eq!(cache.queue(&config).err(), Some(Error::Closed));
    drop(client);
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");

    // Nothing was known of that one, and never will be.
    let (client, _hand) = self::client();
    let early = client.cache("/foo", &config).unwrap();
    early.close();
    assert_eq!(early.get_data("/foo").unwrap_err().status(), Status::NotReady);
    assert_eq!(early.snapshot().unwrap().zxid(), Zxid(0));
}

#[test]
fn the_state_is_what_the_synchroniser_says_until_the_cache_is_closed() {
    let (client, _hand, cache, sink) = started();
    assert_eq!(client.cache("/x", &Config::new()).unwrap().state().0, State::Latent);
    let (state, age) = cache.state();
    assert!(state == State::Loading && age >= Some(HEARD_AGO), "{state:?}, {age:?}");
    sink.tell(Output::State(State::InStep));
    assert_eq!(cache.state().0, State::InStep);
    cache.close();
    sink.tell(Output::State(State::InStep));
    assert_eq!(cache.state().0, State::Closed);
}

#[test]
fn a_cache_that_begins_with_a_snapshot_can_be_read_at_once_and_tells_it_to_who_listens() {
    let (client, hand, old, sink) = started();
    sink.tell(Output::Publish(version(&["", "a"], true), 2));
    let snapshot = old.snapshot().unwrap();
    drop(old);
    let cache = client.cache("/foo", &Config::new()).unwrap();
    let (tell, told) = mpsc::channel();
    cache.listen(move |event| _ = tell.send(event.path.unwrap_or_default().to_owned())).unwrap();
    cache.start_from(&snapshot).unwrap();
    assert_eq!(cache.state().0, State::Warm);
    assert_eq!(cache.get_data("/foo/a").unwrap().data(), b"1");
    assert_eq!(cache.get_data("/foo/b").unwrap_err().status(), Status::NoNode);
    let first = cache.snapshot().unwrap();
    assert_eq!((first.zxid(), first.is_cut(), first.len()), (Zxid(9), true, 2));
    assert_eq!(cache.start_from(&snapshot), Err(Error::State("the cache was started before")));
    // As the I/O thread does.
    hand.sink().tell(Output::Publish(version(&["", "a"], true), 2));
    hand.sink().tell(Output::Publish(version(&["", "a", "b"], true), 1));
    let paths = [(); 3].map(|()| told.recv_timeout(Duration::from_secs(20)).unwrap());
    assert_eq!(paths, ["/foo", "/foo/a", "/foo/b"]);

    let limited = {
        let mut config = Config::new();
        config.set("limit.nodes", "1").unwrap();
        client.cache("/foo", &config).unwrap()
    };
    let error = limited.start_from(&snapshot).unwrap_err();
    assert_eq!(error.to_string(), "the snapshot of /foo has 2 nodes; limit.nodes=1");
    assert_eq!((error.status(), limited.state().0), (Status::Limit, State::Latent));
    let nothing = limited.snapshot().unwrap();
    limited.start_from(&nothing).unwrap();
    assert_eq!(limited.state().0, State::Loading, "as there was no version yet");
    limited.close();
    assert_eq!(limited.start_from(&nothing), Err(Error::Closed));
    drop(cache);
    assert_eq!(snapshot.get_data("/foo/a").unwrap().data(), b"1");
}

/// What a wait for the first load answers when `then` is done while it lasts.
fn waited(cache: &TreeCache, then: impl FnOnce()) -> Result<(), Error> {
    waited_in(|| cache.wait_initialized(Some(Duration::from_secs(20))), then)
}

/// What a call of `sync` answers when `then` is done while it lasts.
fn synced(cache: &TreeCache, then: impl FnOnce()) -> Result<(), Error> {
    waited_in(|| cache.sync(Some(Duration::from_secs(20))), then)
}

fn waited_in(wait: impl FnOnce() -> Result<(), Error> + Send, then: impl FnOnce()) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(wait);
        std::thread::sleep(Duration::from_millis(20));
        then();
        waiting.join().unwrap()
    })
}

#[test]
fn waiting_ends_with_the_first_load_or_with_the_reason_why_it_cannot() {
    let (client, _hand, cache, sink) = started();
    let latent = client.cache("/x", &Config::new()).unwrap();
    assert_eq!(latent.wait_initialized(None).unwrap_err().status(), Status::State);
    assert_eq!(
        cache.wait_initialized(Some(Duration::ZERO)).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    assert_eq!(
        cache.wait_initialized(Some(Duration::from_millis(5))).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    assert_eq!(
        waited(&cache, || sink.tell(Output::Failure(Some(Status::Auth)))).map_err(|error| error.status()),
        Err(Status::Auth)
    );
    sink.tell(Output::Failure(None));
    assert_eq!(waited(&cache, || sink.tell(Output::Event(EventKind::Initialized))), Ok(()));
    assert_eq!(cache.wait_initialized(None), Ok(()));
    sink.tell(Output::Event(EventKind::ConnectionLost));
    assert_eq!(
        cache.wait_initialized(Some(Duration::ZERO)).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    assert_eq!(waited(&cache, || sink.tell(Output::Event(EventKind::Initialized))), Ok(()));
    assert_eq!(cache.wait_initialized(Some(Duration::MAX)), Ok(()));
}

#[test]
fn a_wait_without_success_says_what_went_wrong_last_of_the_cache_or_of_its_client() {
    let (client, hand) = client();
    let refused = Fault::new(Status::Connection, "zk1:2181: refused");
    // Before there was a cache.
    hand.client.lock().unwrap().fault(refused.clone());
    let cache = client.cache("/foo", &Config::new()).unwrap();
    cache.start().unwrap();
    let sink = hand.sink();
    let waited = || cache.wait_initialized(Some(Duration::from_millis(1))).unwrap_err().to_string();
    assert_eq!(waited(), "timed out after 0.001 s; last: zk1:2181: refused");
    let root = NodePath::new("/foo").unwrap();
    sink.tell(Output::Fault(Fault::new(Status::NoPermission, "/foo may not be read").at(&root)));
    assert_eq!(waited(), "timed out after 0.001 s; last: /foo may not be read");
    assert_eq!(
        cache.sync(Some(Duration::ZERO)).unwrap_err().to_string(),
        "timed out after 0 s; last: /foo may not be read"
    );
    // As the engine does: first the caches, then the client.
    sink.tell(Output::Fault(refused.clone()));
    hand.client.lock().unwrap().fault(refused.clone());
    sink.tell(Output::Failure(Some(Status::Auth)));
    assert_eq!(waited(), "the server does not take who the session is; last: zk1:2181: refused");
    assert_eq!(cache.last_fault().unwrap().fault, refused);
    let stats = cache.stats();
    assert_eq!((stats.faults, stats.last_fault.unwrap().0), (3, Status::Connection));
    // A queue, of which it is no news that nothing has come.
    let queue = cache.queue(&Config::new()).unwrap();
    assert_eq!(queue.next(Some(Duration::ZERO)).unwrap_err().to_string(), "timed out after 0 s");
    let waited = queue.next(Some(Duration::from_millis(2))).unwrap_err().to_string();
    assert_eq!(waited, "timed out after 0.002 s; last: zk1:2181: refused");
    cache.close();
    assert_eq!(cache.last_fault().unwrap().fault, refused);
}

#[test]
fn what_never_went_wrong_is_no_fault() {
    let (_client, _hand, cache, _sink) = started();
    assert_eq!(cache.last_fault(), None);
    assert_eq!((cache.stats().faults, cache.stats().last_fault), (0, None));
    let waited = cache.wait_initialized(Some(Duration::from_millis(1))).unwrap_err();
    assert_eq!(waited.to_string(), "timed out after 0.001 s");
}

#[test]
fn waiting_ends_when_the_cache_or_its_client_or_the_io_thread_does() {
    let (_client, _hand, cache, _) = started();
    assert_eq!(waited(&cache, || cache.close()), Err(Error::Closed));
    let (client, _hand, cache, _) = started();
    assert_eq!(waited(&cache, || drop(client)), Err(Error::Closed));
    let (_client, _hand, cache, sink) = started();
    let panicked = || {
        sink.tell(Output::Failure(Some(Status::Panic)));
        sink.tell(Output::Fault(Fault::new(Status::Panic, "a defect")));
        sink.tell(Output::State(State::Closed));
    };
    assert_eq!(waited(&cache, panicked).map_err(|error| error.status()), Err(Status::Panic));
}

#[test]
fn a_sync_waits_for_its_own_answer_and_for_no_longer_than_it_may() {
    let (client, hand, cache, sink) = started();
    let latent = client.cache("/x", &Config::new()).unwrap();
    assert_eq!(latent.sync(None).unwrap_err().status(), Status::State);
    assert_eq!(cache.sync(Some(Duration::ZERO)).map_err(|error| error.status()), Err(Status::Timeout));
    assert_eq!(
        cache.sync(Some(Duration::from_millis(5))).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    assert_eq!(*hand.synced.lock().unwrap(), [Ticket(1), Ticket(2)], "the I/O thread is told of each");
    let answered = |ticket, answer| {
        synced(&cache, || {
            while !hand.synced.lock().unwrap().contains(&ticket) {
                std::thread::yield_now();
            }
            sink.tell(Output::Synced(ticket, answer));
        })
    };
    assert_eq!(answered(Ticket(3), Ok(())), Ok(()));
    let lost = Err(Error::failed(Status::Connection));
    assert_eq!(answered(Ticket(4), Err(Status::Connection)), lost);
    assert_eq!(answered(Ticket(5), Err(Status::Closed)), Err(Error::Closed), "by whichever way it is learnt");
    // Three at once: an answer is for all calls up to one, and the first that comes counts.
    let answers = std::thread::scope(|scope| {
        let waiting = [(); 3].map(|()| scope.spawn(|| cache.sync(None)));
        while hand.synced.lock().unwrap().len() < 8 {
            std::thread::yield_now();
        }
        sink.tell(Output::Synced(Ticket(7), Ok(())));
        sink.tell(Output::Synced(Ticket(8), Err(Status::Connection)));
        waiting.map(|waiting| waiting.join().unwrap())
    });
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "{answers:?}");
    assert!(cache.shared.lock().syncs.waiting.is_empty(), "who has gone is forgotten");
}

#[test]
fn a_cache_that_a_limit_stopped_is_initialized_no_more() {
    let (_client, _hand, cache, sink) = started();
    sink.tell(Output::Event(EventKind::Initialized));
    assert!(cache.is_initialized());
    sink.tell(Output::Failure(Some(Status::Limit)));
    sink.tell(Output::State(State::Closed));
    assert!(!cache.is_initialized());
    assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Limit));
}

#[test]
fn a_sync_ends_when_it_cannot_be_answered_any_more() {
    let (_client, _hand, cache, sink) = started();
    sink.tell(Output::Event(EventKind::Initialized));
    assert_eq!(
        synced(&cache, || sink.tell(Output::Failure(Some(Status::Limit)))).map_err(|error| error.status()),
        Err(Status::Limit)
    );
    sink.tell(Output::Failure(None));
    assert_eq!(synced(&cache, || cache.close()), Err(Error::Closed));
    assert_eq!(cache.sync(None), Err(Error::Closed));
    let (client, _hand, cache, _) = started();
    assert_eq!(synced(&cache, || drop(client)), Err(Error::Closed));
    assert_eq!(cache.sync(None), Err(Error::Closed));
    let (_client, _hand, cache, _) = started();
    let panicked = || cache.fail(Fault::new(Status::Panic, "a defect"));
    assert_eq!(synced(&cache, panicked).map_err(|error| error.status()), Err(Status::Panic));
}

#[test]
fn whether_the_load_is_complete_can_be_asked_anywhere() {
    let (_client, _hand, cache, sink) = started();
    assert!(!cache.is_initialized());
    sink.tell(Output::Event(EventKind::Initialized));
    assert!(cache.is_initialized());
    sink.tell(Output::Event(EventKind::ConnectionLost));
    assert!(!cache.is_initialized());
    sink.tell(Output::Event(EventKind::Initialized));
    cache.close();
    assert!(!cache.is_initialized());
}

#[test]
fn stats_are_of_the_version_that_is_read_and_in_step_as_of_the_last_contact() {
    let (_client, _hand, cache, sink) = started();
    assert_eq!((cache.stats().cut_age, cache.stats().state), (None, State::Loading));
    sink.tell(Output::Publish(version(&["", "a"], true), 2));
    let current_at = clock::now().checked_sub(Duration::from_secs(1000));
    let watch = Some(WatchMode::OneShot);
    let progress = Progress { versions: 3, cuts: 1, reads: 5, batches: 4, resyncs: 2, watch, current_at };
    sink.tell(Output::Progress(progress));
    let stats = cache.stats();
    assert_eq!((stats.zxid, stats.nodes, stats.bytes), (Zxid(9), 2, 2));
    assert_eq!((stats.versions, stats.cuts, stats.reads), (3, 1, 5));
    assert_eq!((stats.batches, stats.resyncs, stats.watch), (4, 2, watch));
    assert_eq!((stats.connections, stats.session_id), (2, 7));
    assert_eq!(stats.server.as_deref(), Some("zk1:2181"));
    assert!(stats.cut_age >= Some(Duration::from_secs(1000)));
    sink.tell(Output::State(State::InStep));
    let of_the_contact = HEARD_AGO..Duration::from_secs(1000);
    assert!(cache.stats().cut_age.is_some_and(|age| of_the_contact.contains(&age)));
    sink.tell(Output::State(State::Suspended));
    assert!(cache.stats().cut_age >= Some(Duration::from_secs(1000)));
    assert!(cache.state().1 < Some(Duration::from_secs(1000)));
    // What the client hears then is not about the tree.
    sink.tell(Output::State(State::Held));
    assert!(cache.state().1 >= Some(Duration::from_secs(1000)));
    assert!(cache.stats().contact_age < Some(Duration::from_secs(1000)));
    cache.close();
    assert!(cache.state().1 >= Some(Duration::from_secs(1000)));
    let (_client, _hand, cache, sink) = started();
    sink.tell(Output::Progress(progress));
    sink.tell(Output::State(State::Held));
    sink.tell(Output::State(State::InStep));
    assert!(cache.state().1 < Some(Duration::from_secs(1000)));
}

#[test]
fn calls_that_panic_at_once_are_one_fault() {
    let (_client, _hand, cache, sink) = started();
    let (told, received) = mpsc::channel();
    cache.listen_fault(move |fault| told.send(fault.message.clone()).unwrap()).unwrap();
    for message in ["first", "second"] {
        cache.fail(Fault::new(Status::Panic, message));
    }
    sink.tell(Output::Fault(Fault::new(Status::Connection, "of something else")));
    for message in ["first", "of something else"] {
        assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(message.to_owned()));
    }
}

#[test]
fn waiting_in_a_callback_is_refused() {
    let (_client, _hand, cache, sink) = started();
    let cache = Arc::new(cache);
    let (told, received) = mpsc::channel();
    let own = Arc::downgrade(&cache);
    cache.listen(move |_| told.send(own.upgrade().unwrap().wait_initialized(None)).unwrap()).unwrap();
    sink.tell(Output::Event(EventKind::Initialized));
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(Err(Error::WouldDeadlock)));
}

#[test]
fn a_cache_outlives_its_client() {
    let (client, hand, cache, sink) = started();
    let (told, received) = mpsc::channel();
    cache.listen(move |event| told.send(event.kind).unwrap()).unwrap();
    sink.tell(Output::Publish(version(&[""], true), 1));
    sink.tell(Output::Event(EventKind::Initialized));
    drop(client);
    let told: Vec<_> =
        (0..3).map(|_| received.recv_timeout(Duration::from_secs(10)).expect("an event comes")).collect();
    assert_eq!(told, [EventKind::NodeAdded, EventKind::Initialized, EventKind::ConnectionLost]);
    assert_eq!(cache.state().0, State::Lost);
    assert_eq!(cache.get_data("/foo").unwrap().data(), b"1");
    assert_eq!(cache.start(), Err(Error::Closed));
    drop(cache);
    assert_eq!(hand.closed.lock().unwrap().len(), 1);
}

#[test]
fn a_cache_may_be_dropped_in_its_own_listener_and_elsewhere_waits_for_it() {
    let (_client, _hand, cache, sink) = started();
    let cache = Arc::new(Mutex::new(Some(cache)));
    let (told, received) = mpsc::channel();
    let own = cache.clone();
    let listener = move |_: &Event<'_>| {
        drop(own.lock().unwrap().take());
        told.send(()).unwrap();
    };
    cache.lock().unwrap().as_ref().unwrap().listen(listener).unwrap();
    sink.tell(Output::Publish(version(&["", "a"], true), 2));
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Ok(()));
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));

    let (_client, _hand, cache, sink) = started();
    let (entered, running) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let returned = over.clone();
    let listener = move |_: &Event<'_>| {
        entered.send(()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        returned.store(true, Ordering::SeqCst);
    };
    cache.listen(listener).unwrap();
    sink.tell(Output::Publish(version(&["", "a"], true), 2));
    running.recv().unwrap();
    drop(cache);
    assert!(over.load(Ordering::SeqCst));
}

#[test]
fn a_hundred_caches_share_one_client() {
    let (client, hand) = client();
    let (told, received) = mpsc::channel();
    let caches: Vec<_> = (0..100)
        .map(|n| {
            let cache = client.cache(&format!("/c{n}"), &Config::new()).unwrap();
            let told = told.clone();
            cache.listen(move |event| told.send(event.path.map(str::to_owned)).unwrap()).unwrap();
            cache.start().unwrap();
            hand.sink().tell(Output::Publish(version(&[""], true), 1));
            cache
        })
        .collect();
    let mut paths: Vec<_> =
        (0..100).map(|_| received.recv_timeout(Duration::from_secs(10)).unwrap().unwrap()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 100);
    drop(client);
    drop(caches);
}

#[test]
fn who_has_waited_for_the_first_load_and_wants_what_follows_is_not_told_of_its_end() {
    let mut follows = Config::new();
    follows.set("listen.initial", "false").unwrap();
    let (client, hand) = client();
    for _ in 0..2000 {
        let cache = client.cache("/foo", &Config::new()).unwrap();
        cache.start().unwrap();
        let sink = hand.sink();
        let queue = std::thread::scope(|scope| {
            scope.spawn(|| {
                sink.tell(Output::Publish(version(&["", "a"], true), 2));
                sink.tell(Output::Event(EventKind::Initialized));
            });
            cache.wait_initialized(None).unwrap();
            cache.queue(&follows).unwrap()
        });
        assert_eq!(queue.next(Some(Duration::ZERO)).err().map(|error| error.status()), Some(Status::Timeout));
    }
}
