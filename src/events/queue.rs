//! What one consumer has not been told yet, and its place in the difference that it is being told.
//!
//! The I/O thread puts versions, events and faults in; whoever consumes takes events and faults out, one at a time. A
//! version's difference is worked out as it is taken, on the consumer's thread, so neither side waits for the other.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::backlog::{Backlog, Belief, Capacity, Item};
use super::descriptor::Descriptor;
use super::{Changes, Event, Told};
use crate::clock;
use crate::error::{Error, Fault, Status};
use crate::path::NodePath;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::Version;

/// Most faults that wait for a consumer.
pub(super) const MOST_FAULTS: usize = 128;

/// What a consumer wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) events: bool,
    pub(super) faults: bool,
}

/// What was told to all consumers of a cache together.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) events: AtomicU64,
    /// Versions that were told in place of several.
    pub(super) lags: AtomicU64,
}

pub(super) struct Queue {
    root: NodePath,
    wants: Wants,
    counters: Arc<Counters>,
    /// Set under the lock of `inbox`.
    closed: AtomicBool,
    inbox: Mutex<Inbox>,
    /// There may be something to take, or nothing ever again.
    arrived: Condvar,
    /// Held by the one consumer that takes something out; always before `inbox`.
    cursor: Mutex<Cursor>,
}

struct Inbox {
    backlog: Backlog,
    faults: VecDeque<Fault>,
    /// The version taken out last has not been told to its end.
    amid_version: bool,
    /// The next wait is to end at once.
    woken: bool,
    /// Nothing follows what is there, and why: `Closed` where it is closed, too.
    end: Option<Status>,
    /// Readable while there is something to say.
    descriptor: Option<Descriptor>,
}

/// How far a consumer is.
#[derive(Default)]
struct Cursor {
    /// What it was told, or is being told.
    version: Arc<Version>,
    /// What is left to be told of it.
    changes: Option<Changes>,
}

impl Queue {
    /// A queue that begins with the tree `so_far`; `belief` is how the cache stands.
    pub(super) fn new(
        root: NodePath,
        wants: Wants,
        capacity: Capacity,
        belief: Belief,
        so_far: Option<Arc<Version>>,
        counters: Arc<Counters>,
    ) -> Queue {
        let mut backlog = Backlog::new(capacity, belief.uninitialized());
        if wants.events {
            if let Some(version) = so_far {
                backlog.push(Item::Version { version, changes: 0, merged: false });
            }
            if belief.initialized {
                backlog.push(Item::Event(EventKind::Initialized));
            }
        }
        let inbox = Inbox {
            backlog,
            faults: VecDeque::new(),
            amid_version: false,
            woken: false,
            end: None,
            descriptor: None,
        };
        Queue {
            root,
            wants,
            counters,
            closed: AtomicBool::new(false),
            inbox: Mutex::new(inbox),
            arrived: Condvar::new(),
            cursor: Mutex::default(),
        }
    }

    pub(super) fn wants(&self) -> Wants {
        self.wants
    }

    // --- In ------------------------------------------------------------------------------------------------------

    pub(super) fn push(&self, item: Item) {
        if self.wants.events {
            self.change(|inbox| inbox.backlog.push(item));
        }
    }

    /// Returns false when there is no room for it.
    pub(super) fn push_fault(&self, fault: &Fault) -> bool {
        let mut fits = true;
        self.change(|inbox| {
            if inbox.faults.back() != Some(fault) {
                fits = inbox.faults.len() < MOST_FAULTS;
                if fits {
                    inbox.faults.push_back(fault.clone());
                }
            }
        });
        fits
    }

    /// Nothing follows what is there.
    pub(super) fn end(&self, status: Status) {
        self.change(|inbox| _ = inbox.end.get_or_insert(status));
    }

    /// The next wait, or one that is under way, ends with [`Error::Interrupted`].
    pub(super) fn wake(&self) {
        self.change(|inbox| inbox.woken = true);
    }

    /// What waits is let go, and who waits is sent away. Never waits.
    pub(super) fn close(&self) {
        let mut inbox = self.lock();
        self.closed.store(true, Ordering::SeqCst);
        let nothing = Backlog::new(Capacity { events: 0, bytes: 0 }, Belief::default());
        let backlog = std::mem::replace(&mut inbox.backlog, nothing);
        inbox.faults.clear();
        (inbox.amid_version, inbox.woken) = (false, false);
        inbox.end = Some(Status::Closed);
        inbox.signal();
        drop(inbox);
        self.arrived.notify_all();
        // Versions hold trees, which take their time; so not under the lock.
        drop(backlog);
        // Whoever has the cursor now lets it go behind what it takes out.
        let cursor = self.cursor.try_lock().map(|mut cursor| std::mem::take(&mut *cursor));
        drop(cursor);
    }

    fn change(&self, change: impl FnOnce(&mut Inbox)) {
        let mut inbox = self.lock();
        if self.is_closed() {
            return;
        }
        change(&mut inbox);
        inbox.signal();
        drop(inbox);
        self.arrived.notify_all();
    }

    // --- Out -----------------------------------------------------------------------------------------------------

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether [`take`](Self::take) may find something: a version may turn out to have no differences to be told.
    pub(super) fn has_something(&self) -> bool {
        !self.is_closed() && self.lock().has_something()
    }

    /// Takes the next event or fault out and shows it to `tell`, if there is one.
    pub(super) fn take<R>(&self, tell: impl FnOnce(Told<'_>) -> R) -> Option<R> {
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.take_at(&mut cursor, tell);
        if self.is_closed() {
            *cursor = Cursor::default();
        }
        taken
    }

    fn take_at<R>(&self, cursor: &mut Cursor, tell: impl FnOnce(Told<'_>) -> R) -> Option<R> {
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(changes) = &mut cursor.changes {
                let next = changes.next();
                if changes.is_over() {
                    self.lock().end_version();
                }
                if let Some(event) = next {
                    let told = self.tell_event(&event.lend(), tell);
                    changes.reuse(event);
                    return Some(told);
                }
                cursor.changes = None;
            }
            let mut inbox = self.lock();
            if let Some(fault) = inbox.faults.pop_front() {
                inbox.signal();
                drop(inbox);
                return Some(tell(Told::Fault(&fault)));
            }
            let Some(item) = inbox.backlog.pop() else {
                // Should a taker have panicked amid a version, nobody looks for the rest of it.
                inbox.end_version();
                return None;
            };
            inbox.amid_version = matches!(item, Item::Version { .. });
            inbox.signal();
            drop(inbox);
            match item {
                Item::Event(kind) => {
                    let zxid = match kind {
                        EventKind::Initialized | EventKind::InStep => cursor.version.zxid,
                        _ => Zxid::default(),
                    };
                    let event =
                        Event { kind, last_of_version: false, path: None, node: None, old: None, zxid };
                    return Some(self.tell_event(&event, tell));
                }
                Item::Version { version, merged, .. } => {
                    self.counters.lags.fetch_add(u64::from(merged), Ordering::Relaxed);
                    let old = std::mem::replace(&mut cursor.version, version);
                    cursor.changes = Some(Changes::new(self.root.clone(), &old, &cursor.version));
                }
            }
        }
    }

    /// As [`take`](Self::take), and waits for something to take, at most `timeout`.
    pub(super) fn next<R>(
        &self,
        timeout: Option<Duration>,
        mut tell: impl FnMut(Told<'_>) -> R,
    ) -> Result<R, Error> {
        // A time too far away to be told is none.
        let deadline = timeout.and_then(|timeout| clock::now().checked_add(timeout));
        loop {
            if self.take_wake() {
                return Err(Error::Interrupted);
            }
            if let Some(told) = self.take(&mut tell) {
                return Ok(told);
            }
            let mut inbox = self.lock();
            while !inbox.has_something() {
                inbox.check_end()?;
                inbox = match deadline.map(|deadline| deadline.saturating_duration_since(clock::now())) {
                    None => self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                    Some(Duration::ZERO) => return Err(Error::Timeout),
                    Some(left) => {
                        self.arrived.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
        }
    }

    /// Takes out what is there, at most `most`, without waiting. Returns how many that were.
    pub(super) fn drain(&self, most: usize, mut tell: impl FnMut(Told<'_>)) -> Result<usize, Error> {
        self.take_wake();
        let mut count = 0;
        while count < most && self.take(&mut tell).is_some() {
            count += 1;
        }
        let inbox = self.lock();
        if count == 0 && !inbox.has_something() {
            inbox.check_end()?;
        }
        Ok(count)
    }

    /// Made when it is first asked for.
    pub(super) fn fd(&self) -> Result<RawFd, Error> {
        let mut inbox = self.lock();
        if let Some(descriptor) = &inbox.descriptor {
            return Ok(descriptor.fd());
        }
        let descriptor = Descriptor::new().map_err(|error| {
            log::error!("no descriptor for a queue: {error}");
            Error::Failed(Status::Connection)
        })?;
        let fd = descriptor.fd();
        inbox.descriptor = Some(descriptor);
        inbox.signal();
        Ok(fd)
    }

    fn take_wake(&self) -> bool {
        let mut inbox = self.lock();
        let woken = std::mem::take(&mut inbox.woken);
        if woken {
            inbox.signal();
        }
        woken
    }

    fn tell_event<R>(&self, event: &Event<'_>, tell: impl FnOnce(Told<'_>) -> R) -> R {
        self.counters.events.fetch_add(1, Ordering::Relaxed);
        tell(Told::Event(event))
    }

    /// In the child of a fork: whether nobody in the parent had its hands in it.
    pub(super) fn is_untouched(&self) -> bool {
        !matches!(self.inbox.try_lock(), Err(TryLockError::WouldBlock))
            && !matches!(self.cursor.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn has_something(&self) -> bool {
        self.amid_version || self.woken || !self.backlog.is_empty() || !self.faults.is_empty()
    }

    fn end_version(&mut self) {
        self.amid_version = false;
        self.signal();
    }

    fn check_end(&self) -> Result<(), Error> {
        match self.end {
            Some(Status::Closed) => Err(Error::Closed),
            Some(status) => Err(Error::Failed(status)),
            None => Ok(()),
        }
    }

    /// Shows on the descriptor, where there is one, whether there is something to say.
    fn signal(&mut self) {
        let raised = self.has_something() || self.end.is_some();
        if let Some(descriptor) = &mut self.descriptor {
            descriptor.set(raised);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::backlog::tests::room;
    use crate::events::dispatcher::Dispatcher;
    use crate::events::feed::tests::{Author, described};
    use crate::events::{EventQueue, Feed};
    use crate::health::Health;
    use std::collections::BTreeMap;
    use std::sync::mpsc;
    use std::thread;

    const BOUND: Duration = Duration::from_secs(10);

    fn open(author: &Author, faults: bool, events: usize) -> EventQueue {
        let feed: Arc<Feed> = author.feed.clone();
        EventQueue::open(Health::new(), feed, faults, room(events)).unwrap()
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
                    true => author.feed.close(),
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
                true => author.feed.close(),
                false => queue.close(),
            }
            assert!(author.tree.remove("b"));
            author.publish();
            assert!(held.upgrade().is_none(), "the cache has let it go too");
        }
    }

    #[test]
    fn who_takes_behind_a_panic_amid_a_version_does_not_look_for_its_rest() {
        let mut author = author(1000);
        let (_, queue) = author.feed.open_queue(false, room(1000)).unwrap();
        author.publish();
        // As if the taker had panicked between the inbox and the cursor.
        queue.lock().backlog.pop();
        queue.lock().amid_version = true;
        assert!(queue.next(Some(Duration::ZERO), |_| ()).is_err());
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
