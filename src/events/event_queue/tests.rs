//! What a program takes out of a queue, and how it waits for it.

use super::*;
use crate::error::Status;
use crate::events::Dispatcher;
use crate::events::consumer::tests::told_last;
use crate::events::tests::{Author, described, room};
use crate::events::{EventKinds, Interest};
use crate::path::NodePath;
use crate::stat::Stat;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::thread;

const BOUND: Duration = Duration::from_secs(10);

fn open(author: &Author, faults: bool, events: usize) -> EventQueue {
    let wants = Wants::EVENTS.with_faults(faults);
    EventQueue::open(Health::new(), author.feed.clone(), wants, room(events)).unwrap()
}

/// A queue of what somebody is interested in.
fn open_with(author: &Author, interest: Interest, events: usize) -> EventQueue {
    let wants = Wants::events(interest.below(&author.feed.root()).unwrap());
    EventQueue::open(Health::new(), author.feed.clone(), wants, room(events)).unwrap()
}

fn under(paths: &[&str]) -> Interest {
    Interest { under: paths.iter().map(|path| NodePath::new(path).unwrap()).collect(), ..Interest::all() }
}

fn kinds(words: &str) -> Interest {
    Interest { kinds: EventKinds::named(words).unwrap(), ..Interest::all() }
}

fn author(events: usize) -> Author {
    Author::new(&Dispatcher::spawn(drop).unwrap(), events)
}

/// What is taken out next, in words.
fn taken(queue: &EventQueue) -> Result<String, Error> {
    queue.next_with(Some(Duration::ZERO), |told| match told {
        Told::Event(event) => described(event),
        Told::Fault(fault) => fault.message.clone(),
    })
}

/// All that is there, in words.
fn drained(queue: &EventQueue) -> Vec<String> {
    std::iter::from_fn(|| taken(queue).ok()).collect()
}

#[expect(unsafe_code, reason = "poll")]
fn is_readable(queue: &EventQueue) -> bool {
    let mut poll = libc::pollfd { fd: queue.fd().unwrap(), events: libc::POLLIN, revents: 0 };
    // SAFETY: there is one descriptor to look at.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 }
}

#[test]
fn a_queue_hands_out_what_a_listener_is_told() {
    let mut author = author(1000);
    let early = open(&author, false, 1000);
    assert_eq!(taken(&early).map_err(|error| error.status()), Err(Status::Timeout));
    author.put("a");
    author.publish();
    author.feed.event(EventKind::Initialized);
    author.put("b");
    author.publish();
    let late = open(&author, false, 1000);
    assert_eq!(drained(&early), ["+/r", "+/r/a.", "Initialized", "+/r/b."]);
    assert_eq!(drained(&late), ["+/r", "+/r/a", "+/r/b.", "Initialized"]);
    assert!(author.tree.remove("a"));
    author.publish();
    for queue in [&early, &late] {
        assert_eq!(drained(queue), ["-/r/a."]);
    }
}

#[test]
fn an_item_stays_what_it_is() {
    let mut author = author(1000);
    let queue = open(&author, false, 1000);
    author.put("a");
    author.publish();
    let items = queue.drain(1).unwrap();
    let more = queue.drain(100).unwrap();
    assert!(author.tree.remove("a"));
    author.publish();
    drop(queue);
    let told: Vec<_> = items.iter().chain(&more).map(|item| described(&item.as_event().unwrap())).collect();
    assert_eq!(told, ["+/r", "+/r/a."]);
}

#[test]
fn faults_are_in_it_where_they_are_wanted() {
    let mut author = author(1000);
    let (both, events) = (open(&author, true, 1000), open(&author, false, 1000));
    author.feed.fault(&Fault::new(Status::Connection, "refused"));
    author.publish();
    assert_eq!(drained(&both), ["refused", "+/r."]);
    assert_eq!(drained(&events), ["+/r."]);
}

#[test]
fn who_waits_is_told_of_an_event_a_wake_and_the_end() {
    let mut author = author(1000);
    let queue = open(&author, false, 1000);
    thread::scope(|scope| {
        let (told, received) = mpsc::channel();
        let queue = &queue;
        scope.spawn(move || {
            loop {
                let next = queue.next(Some(BOUND)).map(|item| described(&item.as_event().unwrap()));
                let is_over = next == Err(Error::Closed);
                told.send(next).unwrap();
                if is_over {
                    return;
                }
            }
        });
        let next = || received.recv_timeout(BOUND).unwrap();
        author.publish();
        assert_eq!(next(), Ok("+/r.".to_owned()));
        queue.wake();
        assert_eq!(next(), Err(Error::Interrupted));
        author.feed.event(EventKind::ConnectionLost);
        author.feed.end(Status::Closed);
        assert_eq!(next(), Ok("ConnectionLost".to_owned()));
        assert_eq!(next(), Err(Error::Closed));
    });
}

#[test]
fn closing_sends_those_who_wait_away_and_lets_go_what_waits() {
    for close_cache in [false, true] {
        let mut author = author(1000);
        let (empty, full, amid) =
            (open(&author, false, 1000), open(&author, false, 1000), open(&author, false, 1000));
        author.put("a");
        author.publish();
        assert_eq!(drained(&empty), ["+/r", "+/r/a."]);
        assert_eq!(taken(&amid).as_deref(), Ok("+/r"));
        thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..3).map(|_| scope.spawn(|| empty.next(Some(BOUND)).map(|_| ()))).collect();
            thread::sleep(Duration::from_millis(20));
            match close_cache {
                true => author.listeners.close(),
                false => [&empty, &full, &amid].into_iter().for_each(EventQueue::close),
            }
            for waiting in waiting {
                assert_eq!(waiting.join().unwrap(), Err(Error::Closed));
            }
        });
        for queue in [full, amid] {
            queue.wake();
            assert_eq!(taken(&queue), Err(Error::Closed));
            assert_eq!(queue.drain(10).map(|items| items.len()), Err(Error::Closed));
            queue.close();
        }
    }
}

#[test]
fn a_closed_queue_lets_go_what_was_not_taken_out() {
    for close_cache in [false, true] {
        let mut author = author(1000);
        let queue = open(&author, false, 1000);
        author.put("a");
        // Large, so that it does not stand in a block with others.
        let data: Arc<[u8]> = vec![0; 10_000].into();
        let held = Arc::downgrade(&data);
        assert!(author.tree.put("b", Some(Node::new(data, Stat::default()))));
        author.publish();
        assert_eq!(taken(&queue).as_deref(), Ok("+/r"));
        match close_cache {
            true => author.listeners.close(),
            false => queue.close(),
        }
        assert!(author.tree.remove("b"));
        author.publish();
        assert!(held.upgrade().is_none(), "the cache has let it go too");
    }
}

#[test]
fn a_wake_before_a_wait_ends_it_and_is_used_up() {
    let mut author = author(1000);
    let queue = open(&author, false, 1000);
    author.publish();
    queue.wake();
    queue.wake();
    assert_eq!(taken(&queue), Err(Error::Interrupted));
    assert_eq!(drained(&queue), ["+/r."]);
    queue.wake();
    assert_eq!(queue.drain(10).unwrap().len(), 0);
    assert_eq!(taken(&queue).map_err(|error| error.status()), Err(Status::Timeout));
}

#[test]
fn what_ended_it_is_said_when_all_was_taken_out() {
    let mut author = author(1000);
    let queue = open(&author, false, 1000);
    author.publish();
    author.feed.end(Status::Limit);
    author.feed.end(Status::Closed);
    assert_eq!(drained(&queue), ["+/r."]);
    assert_eq!(taken(&queue).map_err(|error| error.status()), Err(Status::Limit));
    assert_eq!(queue.drain(1).err(), Some(Error::failed(Status::Limit)));
    assert_eq!(drained(&open(&author, false, 1000)), ["+/r."]);
    assert_eq!(taken(&queue).map_err(|error| error.status()), Err(Status::Limit));
}

#[test]
fn the_descriptor_is_readable_exactly_while_there_is_something_to_say() {
    let mut author = author(1000);
    let queue = open(&author, true, 1000);
    assert!(!is_readable(&queue));
    assert_eq!(queue.fd(), queue.fd());
    author.put("a");
    author.publish();
    for event in ["+/r", "+/r/a."] {
        assert!(is_readable(&queue), "before {event}");
        assert_eq!(taken(&queue).as_deref(), Ok(event));
    }
    assert!(!is_readable(&queue));
    author.feed.fault(&Fault::new(Status::Connection, "refused"));
    assert!(is_readable(&queue));
    assert_eq!(queue.drain(10).unwrap().len(), 1);
    assert!(!is_readable(&queue));
    queue.wake();
    assert!(is_readable(&queue));
    assert_eq!(taken(&queue), Err(Error::Interrupted));
    assert!(!is_readable(&queue));
    // A version without a difference to be told: readable, and then not.
    author.publish();
    assert_eq!(taken(&queue).map_err(|error| error.status()), Err(Status::Timeout));
    assert!(!is_readable(&queue));
    let late = open(&author, false, 1000);
    assert!(is_readable(&late), "made while something waits");
    author.feed.end(Status::Closed);
    assert!(is_readable(&queue));
    queue.close();
    assert!(is_readable(&queue) && is_readable(&late));
}

#[test]
fn each_item_goes_to_one_of_those_who_take() {
    let mut author = author(1_000_000);
    let queue = open(&author, false, 1_000_000);
    let told = Mutex::new(BTreeMap::<String, usize>::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(item) = queue.next(Some(BOUND)) {
                    let event = described(&item.as_event().unwrap());
                    *told.lock().unwrap().entry(event.trim_end_matches('.').to_owned()).or_default() += 1;
                }
            });
        }
        for n in 0..500 {
            author.put(&format!("{n}a"));
            author.put(&format!("{n}b"));
            author.publish();
        }
        author.feed.end(Status::Closed);
    });
    let told = told.into_inner().unwrap();
    assert_eq!((told.len(), told.values().sum::<usize>()), (1001, 1001));
}

#[test]
fn a_slow_consumer_keeps_the_order_and_is_counted() {
    let mut author = author(1000);
    let (fast, slow) = (open(&author, false, 1000), open(&author, false, 50));
    let mut map = BTreeMap::new();
    let mut apply = |event: &Event<'_>| {
        let Some(path) = event.path.map(str::to_owned) else { return };
        let is_known = match event.kind {
            EventKind::NodeRemoved => map.remove(&path).is_some(),
            EventKind::NodeUpdated => map.insert(path, event.node.unwrap().stat().mzxid).is_some(),
            _ => map.insert(path, event.node.unwrap().stat().mzxid).is_none(),
        };
        assert!(is_known, "{}", described(event));
    };
    for round in 0..2000 {
        author.put(&format!("n{}", round % 37));
        if round % 5 == 0 {
            author.tree.remove(&format!("n{}", round * 7 % 37));
        }
        author.publish();
        fast.drain(100).unwrap();
        if round % 100 == 0 {
            slow.drain(1).unwrap().iter().for_each(|item| apply(&item.as_event().unwrap()));
        }
    }
    slow.drain(1000).unwrap().iter().for_each(|item| apply(&item.as_event().unwrap()));
    let mut walk = author.tree.preorder();
    let mut expected = BTreeMap::new();
    while let Some((path, entry)) = walk.next() {
        let path = author.feed.root().absolute(path).to_string();
        expected.insert(path, entry.node().unwrap().stat().mzxid);
    }
    assert_eq!(map, expected);
    let lags = author.feed.counters().1;
    assert!((1..=20).contains(&lags), "{lags}: of one consumer, as often as it took a version out");
}

#[test]
fn a_queue_of_some_subtrees_has_what_happens_there() {
    let mut author = author(1000);
    let early = open_with(&author, under(&["/r/a", "/r/c/x"]), 1000);
    for path in ["a", "a/1", "a/1/2", "b", "c", "c/x", "c/y"] {
        author.put(path);
    }
    author.publish();
    author.feed.event(EventKind::Initialized);
    let told = ["+/r/a", "+/r/a/1", "+/r/a/1/2", "+/r/c/x.", "Initialized"];
    assert_eq!(drained(&early), told);
    assert_eq!(drained(&open_with(&author, under(&["/r/a", "/r/c/x"]), 1000)), told);
    let flat = Interest { depth: Some(1), ..under(&["/r/a"]) };
    assert_eq!(drained(&open_with(&author, flat, 1000)), ["+/r/a", "+/r/a/1.", "Initialized"]);
    let children = Interest { depth: Some(1), ..Interest::all() };
    let told = ["+/r", "+/r/a", "+/r/b", "+/r/c.", "Initialized"];
    assert_eq!(drained(&open_with(&author, children, 1000)), told);
    assert!(author.tree.remove("a") && author.tree.remove("c"));
    author.publish();
    assert_eq!(drained(&early), ["-/r/a/1/2", "-/r/a/1", "-/r/a", "-/r/c/x."]);
}

#[test]
fn a_queue_of_some_kinds_has_these_and_marks_the_last_of_a_version() {
    let mut author = author(1000);
    let [added, removed, connection, rest] =
        ["added", "updated,removed", "connection", "initialized,in_step"]
            .map(|words| open_with(&author, kinds(words), 1000));
    author.put("a");
    author.put("b");
    author.publish();
    author.feed.event(EventKind::Initialized);
    author.feed.event(EventKind::InStep);
    let zxids: Vec<_> = rest.drain(9).unwrap().iter().map(|item| item.as_event().unwrap().zxid).collect();
    assert_eq!(zxids, [author.published_at(); 2], "of the version that they speak of, which was not told");
    author.feed.event(EventKind::ConnectionSuspended);
    author.put("a");
    assert!(author.tree.remove("b"));
    author.put("c");
    author.publish();
    assert_eq!(drained(&added), ["+/r", "+/r/a", "+/r/b.", "+/r/c."]);
    assert_eq!(drained(&removed), ["-/r/b", "~/r/a."]);
    assert_eq!(drained(&connection), ["ConnectionSuspended"]);
    assert_eq!(drained(&rest), [""; 0]);
    assert_eq!(drained(&open_with(&author, kinds("removed,updated"), 1000)), [""; 0]);
    assert_eq!(drained(&open_with(&author, kinds("added,initialized"), 1000)).len(), 4);
}

#[test]
fn what_changes_elsewhere_wakes_nobody_and_does_not_pile_up() {
    let mut author = author(1000);
    let queue = open_with(&author, under(&["/r/a"]), 5);
    author.put("a");
    author.put("b");
    author.publish();
    assert_eq!(drained(&queue), ["+/r/a."]);
    assert!(!is_readable(&queue));
    for n in 0..1000 {
        author.put(&format!("b{}", n % 7));
        author.publish();
        assert!(!is_readable(&queue), "version {n} holds nothing for it");
        assert_eq!(told_last(&queue.consumer), author.published_at(), "it holds no older version");
    }
    author.put("a");
    author.publish();
    for _ in 0..1000 {
        author.put("b");
        author.publish();
    }
    assert!(is_readable(&queue));
    assert_eq!(drained(&queue), ["~/r/a."]);
    assert!(!is_readable(&queue));
    assert_eq!(author.feed.counters().1, 0, "nothing of it was left out");
}

#[test]
fn who_waits_for_a_subtree_is_not_told_that_nothing_happened_there() {
    let mut author = author(1000);
    let interest = Interest { kinds: kinds("added").kinds, ..under(&["/r/a"]) };
    let queue = open_with(&author, interest, 1000);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.next(Some(BOUND)));
        for n in 0..200 {
            author.put(&format!("b{n}"));
            author.publish();
            // It is woken for this one, and goes on waiting.
            author.feed.event(EventKind::InStep);
        }
        author.put("a");
        author.publish();
        let item = waiting.join().unwrap().unwrap();
        assert_eq!(described(&item.as_event().unwrap()), "+/r/a.");
    });
    assert_eq!(taken(&queue).map_err(|error| error.status()), Err(Status::Timeout));
}

#[test]
fn without_the_tree_so_far_the_newest_version_is_the_beginning() {
    let mut author = author(1000);
    let without = Interest { initial: false, ..Interest::all() };
    let earliest = open_with(&author, without.clone(), 1000);
    author.put("a");
    author.publish();
    let amid = open_with(&author, without.clone(), 1000);
    author.put("b");
    author.publish();
    author.feed.event(EventKind::Initialized);
    let late = open_with(&author, without.clone(), 1);
    assert!(!is_readable(&late) && drained(&late).is_empty());
    author.put("a");
    author.publish();
    assert!(author.tree.remove("b"));
    author.publish();
    author.feed.event(EventKind::InStep);
    assert_eq!(drained(&earliest), ["+/r", "+/r/a.", "+/r/b.", "Initialized", "~/r/a.", "-/r/b.", "InStep"]);
    assert_eq!(drained(&amid), ["+/r/b.", "Initialized", "~/r/a.", "-/r/b.", "InStep"]);
    assert_eq!(drained(&late), ["-/r/b", "~/r/a.", "InStep"], "it fell behind, and goes on by difference");
    author.feed.event(EventKind::ConnectionLost);
    author.feed.event(EventKind::Initialized);
    assert_eq!(drained(&late), ["ConnectionLost", "Initialized"]);
}

#[test]
fn after_initialized_nothing_is_told_before_it_nor_of_the_tree_of_then() {
    let mut author = author(1000);
    let after = Interest { after_initialized: true, ..Interest::all() };
    let early = open_with(&author, after.clone(), 1);
    let updates = Interest { initial: false, ..after.clone() };
    let (early_update, below) = (
        open_with(&author, updates.clone(), 1000),
        open_with(&author, Interest { under: under(&["/r/a"]).under, ..after.clone() }, 1000),
    );
    author.feed.event(EventKind::ConnectionSuspended);
    author.feed.event(EventKind::ConnectionReconnected);
    author.put("a");
    author.publish();
    author.put("b");
    author.publish();
    assert!(!is_readable(&early) && drained(&early).is_empty() && drained(&early_update).is_empty());
    author.feed.event(EventKind::Initialized);
    let initialized_at = author.published_at();
    let (late, late_update) = (open_with(&author, after, 1000), open_with(&author, updates, 1000));
    author.put("a");
    author.publish();
    author.feed.event(EventKind::ConnectionSuspended);
    let first = late.drain(1).unwrap().remove(0);
    let first = first.as_event().unwrap();
    assert_eq!((first.kind, first.zxid), (EventKind::Initialized, initialized_at));
    assert_eq!(drained(&late), ["~/r/a.", "ConnectionSuspended"]);
    assert_eq!(drained(&late_update), ["~/r/a.", "ConnectionSuspended"], "INITIALIZED was before it");
    // It fell behind: the difference begins at the version of INITIALIZED still.
    assert_eq!(drained(&early), ["~/r/a.", "Initialized", "ConnectionSuspended"]);
    for queue in [early_update, below] {
        assert_eq!(drained(&queue), ["Initialized", "~/r/a.", "ConnectionSuspended"]);
    }
}

#[test]
fn after_initialized_of_a_session_that_was_lost_means_the_next_one() {
    let mut author = author(1000);
    author.publish();
    author.feed.event(EventKind::Initialized);
    author.feed.event(EventKind::ConnectionLost);
    let queue = open_with(&author, Interest { after_initialized: true, ..Interest::all() }, 1000);
    author.feed.event(EventKind::ConnectionReconnected);
    author.put("a");
    author.publish();
    assert!(drained(&queue).is_empty());
    author.feed.event(EventKind::Initialized);
    author.put("b");
    author.publish();
    assert_eq!(drained(&queue), ["Initialized", "+/r/b."]);
}

/// What a test does with a cache and its consumers.
#[derive(Debug, Clone)]
enum Act {
    Put(String),
    Remove(String),
    Publish,
    Event(EventKind),
    Take(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let path = || {
        prop::collection::vec(0u8..3, 1..4)
            .prop_map(|names| names.iter().map(u8::to_string).collect::<Vec<_>>().join("/"))
    };
    let event = prop::sample::select(vec![
        EventKind::ConnectionSuspended,
        EventKind::ConnectionReconnected,
        EventKind::InStep,
    ]);
    let act = prop_oneof![
        4 => path().prop_map(Act::Put),
        1 => path().prop_map(Act::Remove),
        4 => Just(Act::Publish),
        1 => event.prop_map(Act::Event),
        2 => (0usize..5).prop_map(Act::Take),
    ];
    prop::collection::vec(act, 0..120)
}

proptest! {
    #[test]
    fn whoever_is_told_of_some_subtrees_has_these_in_the_end_however_slow(
        acts in acts(),
        tops in prop::collection::vec(prop::sample::select(vec!["/r", "/r/0", "/r/1/1", "/r/1", "/r/2/0/1"]), 1..3),
        depth in prop::option::of(0usize..3),
        capacity in 1usize..12,
    ) {
        let mut author = author(1000);
        let queue = open_with(&author, Interest { depth, ..under(&tops) }, capacity);
        let mut map = BTreeMap::new();
        let apply = |queue: &EventQueue, most: usize, map: &mut BTreeMap<String, i64>| {
            for item in queue.drain(most).unwrap() {
                let event = item.as_event().unwrap();
                let Some(path) = event.path.map(str::to_owned) else { continue };
                let mzxid = event.node.unwrap().stat().mzxid.0;
                let is_known = match event.kind {
                    EventKind::NodeRemoved => map.remove(&path).is_some(),
                    EventKind::NodeUpdated => map.insert(path, mzxid).is_some(),
                    _ => map.insert(path, mzxid).is_none(),
                };
                assert!(is_known, "{}", described(&event));
            }
        };
        for act in acts {
            match act {
                Act::Put(path) if path.rsplit_once('/').is_none_or(|(parent, _)| author.tree.get(parent).is_some()) => {
                    author.put(&path);
                }
                Act::Put(_) => {}
                Act::Remove(path) => _ = author.tree.remove(&path),
                Act::Publish => author.publish(),
                Act::Event(kind) => author.feed.event(kind),
                Act::Take(most) => apply(&queue, most, &mut map),
            }
        }
        author.publish();
        apply(&queue, usize::MAX, &mut map);
        prop_assert!(!is_readable(&queue));
        let mut expected = BTreeMap::new();
        let mut walk = author.tree.preorder();
        while let Some((path, entry)) = walk.next() {
            let path = author.feed.root().absolute(path);
            let is_wanted = tops.iter().any(|top| {
                let below = NodePath::new(top).unwrap().relative(path.as_str()).map(str::to_owned);
                below.is_some_and(|below| depth.is_none_or(|depth| below.split('/').filter(|name| !name.is_empty()).count() <= depth))
            });
            if is_wanted {
                expected.insert(path.as_str().to_owned(), entry.node().unwrap().stat().mzxid.0);
            }
        }
        prop_assert_eq!(map, expected);
    }
}
