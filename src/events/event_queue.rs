//! A queue that the program takes events out of, on threads of its own.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::Capacity;
use super::consumer::{Consumer, Wants};
use super::feed::Feed;
use super::told::{Event, Told};
use crate::error::{Error, Fault};
use crate::health::Health;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::Node;

/// What a cache has to tell, to be taken out by the program when it likes to: the tree so far first, as additions (and
/// INITIALIZED when the cache is), then what follows, without gap or duplicate. Any number of threads may take from
/// it at once; each item goes to one of them.
///
/// Dropping it closes it. In the child of a fork it may only be dropped.
pub struct EventQueue {
    health: Health,
    feed: Arc<Feed>,
    consumer: Arc<Consumer>,
}

/// An event or a fault that was taken out of a queue.
#[derive(Debug, Clone)]
pub enum Item {
    /// Something happened to the cache. Its fields are those of [`Event`].
    Event {
        /// What happened.
        kind: EventKind,
        /// No more events of this version follow.
        last_of_version: bool,
        /// The node's absolute path; `None` unless this is a node event.
        path: Option<String>,
        /// The node as it was behind this event; the last known one when it was removed.
        node: Option<Arc<Node>>,
        /// The node as it was before an update; `None` for all other events.
        old: Option<Arc<Node>>,
        /// That of the version which the event belongs to; 0 for events of the connection.
        zxid: Zxid,
    },
    /// Something went wrong in the background. Only in a queue that was made for faults, too.
    Fault(Fault),
}

impl Item {
    /// The event; `None` when it is a fault.
    pub fn as_event(&self) -> Option<Event<'_>> {
        match self {
            Item::Event { kind, last_of_version, path, node, old, zxid } => Some(Event {
                kind: *kind,
                last_of_version: *last_of_version,
                path: path.as_deref(),
                node: node.as_ref(),
                old: old.as_ref(),
                zxid: *zxid,
            }),
            Item::Fault(_) => None,
        }
    }
}

impl From<Told<'_>> for Item {
    fn from(told: Told<'_>) -> Item {
        match told {
            Told::Event(event) => Item::Event {
                kind: event.kind,
                last_of_version: event.last_of_version,
                path: event.path.map(str::to_owned),
                node: event.node.cloned(),
                old: event.old.cloned(),
                zxid: event.zxid,
            },
            Told::Fault(fault) => Item::Fault(fault.clone()),
        }
    }
}

impl EventQueue {
    pub(crate) fn open(
        health: Health,
        feed: Arc<Feed>,
        faults: bool,
        capacity: Capacity,
    ) -> Result<EventQueue, Error> {
        let consumer = feed.join(Wants { events: true, faults }, capacity, None)?;
        Ok(EventQueue { health, feed, consumer })
    }

    /// Takes the next item out, and waits for one, at most `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Interrupted`] after [`wake`](Self::wake); [`Error::Closed`] when the queue or its
    /// cache was closed, or the client was and all was taken out; [`Error::Failed`] when the cache has stopped for good
    /// and all was taken out.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Item, Error> {
        self.next_with(timeout, |told| Item::from(told))
    }

    /// Takes out what is there, at most `most` items, without waiting.
    ///
    /// # Errors
    /// As [`next`](Self::next), without a timeout; a wake is used up.
    pub fn drain(&self, most: usize) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        self.drain_with(most, |told| items.push(Item::from(told)))?;
        Ok(items)
    }

    /// As [`next`](Self::next), and makes of the item what it likes.
    pub(crate) fn next_with<R>(
        &self,
        timeout: Option<Duration>,
        tell: impl FnMut(Told<'_>) -> R,
    ) -> Result<R, Error> {
        self.consumer.next(timeout, tell)
    }

    /// As [`drain`](Self::drain). Returns how many there were.
    pub(crate) fn drain_with(&self, most: usize, tell: impl FnMut(Told<'_>)) -> Result<usize, Error> {
        self.consumer.drain(most, tell)
    }

    /// A descriptor that is readable while there is something to take or to say: an item, a wake, the end. It is the
    /// queue's: to be waited for, never to be read, written or closed. Made when it is first asked for, the same from
    /// then on, non-blocking, close-on-exec. It may be readable though there turns out to be no item.
    ///
    /// # Errors
    /// [`Error::NoResources`] when the system has no descriptor left.
    pub fn fd(&self) -> Result<RawFd, Error> {
        self.health.check()?;
        self.consumer.fd()
    }

    /// Ends a [`next`](Self::next) that waits, or the one that comes next, with [`Error::Interrupted`]. Several that come
    /// before that are one.
    pub fn wake(&self) {
        self.consumer.wake();
    }

    /// Detaches the queue: what waits is let go, and who waits is sent away with [`Error::Closed`]. Never waits. May
    /// be called twice.
    pub fn close(&self) {
        // In the child of a fork another thread may have its locks for ever.
        if !self.health.is_forked() {
            self.feed.leave(&self.consumer);
        }
    }

    #[cfg(feature = "ffi")]
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// After a panic in a call: the queue is of no use any more, also to those who wait.
    #[cfg(feature = "ffi")]
    pub(crate) fn fail(&self) {
        self.health.ruin();
        self.consumer.end(crate::error::Status::Panic);
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        self.close();
        if self.health.is_forked() {
            self.consumer.clone().abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;
    use crate::events::Dispatcher;
    use crate::events::tests::{Author, described, room};
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
        let told: Vec<_> =
            items.iter().chain(&more).map(|item| described(&item.as_event().unwrap())).collect();
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
            author.put("b");
            author.publish();
            let held =
                author.tree.get("b").and_then(|entry| entry.node.as_ref()).map(Arc::downgrade).unwrap();
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
            expected.insert(path, entry.node.as_ref().unwrap().stat().mzxid);
        }
        assert_eq!(map, expected);
        let lags = author.feed.counters().1;
        assert!((1..=20).contains(&lags), "{lags}: of one consumer, as often as it took a version out");
    }
}
