//! What a program takes out of a queue, and how it waits for it.

use super::*;
use crate::error::Status;
use crate::events::Dispatcher;
use crate::events::tests::{Author, described, room};
use crate::stat::Stat;
use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::thread;

const BOUND: Duration = Duration::from_secs(10);

fn open(author: &Author, faults: bool, events: usize) -> EventQueue {
    EventQueue::open(Health::new(), author.feed.clone(), faults, room(events)).unwrap()
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
    assert_eq!(taken(&early), Err(Error::Timeout));
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
    author.feed.fault(Fault::new(Status::Connection, "refused"));
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
    assert_eq!(taken(&queue), Err(Error::Timeout));
}

#[test]
fn what_ended_it_is_said_when_all_was_taken_out() {
    let mut author = author(1000);
    let queue = open(&author, false, 1000);
    author.publish();
    author.feed.end(Status::Limit);
    author.feed.end(Status::Closed);
    assert_eq!(drained(&queue), ["+/r."]);
    assert_eq!(taken(&queue), Err(Error::Failed(Status::Limit)));
    assert_eq!(queue.drain(1).err(), Some(Error::Failed(Status::Limit)));
    assert_eq!(drained(&open(&author, false, 1000)), ["+/r."]);
    assert_eq!(taken(&queue), Err(Error::Failed(Status::Limit)));
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
    author.feed.fault(Fault::new(Status::Connection, "refused"));
    assert!(is_readable(&queue));
    assert_eq!(queue.drain(10).unwrap().len(), 1);
    assert!(!is_readable(&queue));
    queue.wake();
    assert!(is_readable(&queue));
    assert_eq!(taken(&queue), Err(Error::Interrupted));
    assert!(!is_readable(&queue));
    // A version without a difference to be told: readable, and then not.
    author.publish();
    assert_eq!(taken(&queue), Err(Error::Timeout));
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
