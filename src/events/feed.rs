//! The consumers of one cache (or client): what is put in for all of them, and who joins and leaves. A feed does not
//! know who takes things out, or when.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use super::backlog::{Belief, Capacity};
use super::consumer::{Consumer, Counters, OnArrival};
use super::faults::{self, Faults, Told};
use super::feed_root::FeedRoot;
use super::wants::Wants;
use crate::error::{Error, Fault, LastFault, Status};
use crate::path::NodePath;
use crate::state::EventKind;
use crate::tree::Version;

/// Consumers, behind one short lock, so that all of them are told the same in the same order.
pub(crate) struct Feed {
    root: FeedRoot,
    counters: Arc<Counters>,
    /// Those of this cache, and not of its client.
    faults: Faults,
    /// Those of the client.
    client_faults: Arc<Faults>,
    state: Mutex<FeedState>,
}

#[derive(Default)]
struct FeedState {
    closed: bool,
    /// Why nothing follows; `None` while something may follow.
    end: Option<Status>,
    consumers: Vec<Arc<Consumer>>,
    /// The version with which a new consumer begins.
    newest: Option<Arc<Version>>,
    belief: Belief,
}

impl Feed {
    /// Its paths are at or below `root`. `client_faults` are those of its client.
    pub(super) fn new(root: impl Into<FeedRoot>, client_faults: Arc<Faults>) -> Feed {
        Feed {
            root: root.into(),
            counters: Arc::default(),
            faults: Faults::default(),
            client_faults,
            state: Mutex::default(),
        }
    }

    pub(super) fn root(&self) -> NodePath {
        self.root.get()
    }

    /// How many events were told to all consumers together, and how often one of them was told the difference over
    /// several versions at once, as it had fallen behind.
    pub(crate) fn counters(&self) -> (u64, u64) {
        let Counters { events, lags } = &*self.counters;
        (events.load(Ordering::Relaxed), lags.load(Ordering::Relaxed))
    }

    // --- In ------------------------------------------------------------------------------------------------------

    pub(crate) fn publish(&self, version: Arc<Version>, changes: usize) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let before = state.newest.replace(version.clone()).unwrap_or_default();
        for consumer in &state.consumers {
            consumer.push_version(&before, &version, changes);
        }
        drop(state);
        // To free a tree takes time: so not under the lock.
        drop(before);
    }

    pub(crate) fn event(&self, kind: EventKind) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        for consumer in &state.consumers {
            consumer.push_event(kind, state.newest.as_ref());
        }
        state.belief = state.belief.after(kind);
    }

    /// Tells a fault of this cache. If nobody takes it, it is logged.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.faults.add(fault);
        log_unless_told(fault, self.tell_fault(fault));
    }

    /// Tells a fault of the client to those who listen to this cache. The client is told it behind all its caches.
    pub(crate) fn fault_of_client(&self, fault: &Fault) {
        self.client_faults.told_by_a_cache(self.tell_fault(fault));
    }

    /// As [`fault`](Self::fault), where this is the feed of the client itself, and its caches were told the fault before. If
    /// nobody took it there either, it is logged, once.
    pub(crate) fn fault_of_all(&self, fault: &Fault) {
        self.client_faults.add(fault);
        log_unless_told(fault, self.client_faults.told_by_all(self.tell_fault(fault)));
    }

    fn tell_fault(&self, fault: &Fault) -> Told {
        let state = self.lock();
        let mut told = Told::default();
        for consumer in state.consumers.iter().filter(|consumer| consumer.wants().faults) {
            match consumer.push_fault(fault) {
                true => told.told = true,
                false => told.missed = true,
            }
        }
        told
    }

    /// How many faults there were, of the cache and of its client.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.count() + self.client_faults.count()
    }

    /// The last one of these.
    pub(crate) fn last_fault(&self) -> Option<LastFault> {
        faults::later(self.faults.last(), self.client_faults.last())
    }

    /// Says that nothing follows what is there. Whoever waits for more is told why.
    pub(crate) fn end(&self, status: Status) {
        let mut state = self.lock();
        state.end.get_or_insert(status);
        for consumer in &state.consumers {
            consumer.end(status);
        }
    }

    // --- Consumers -----------------------------------------------------------------------------------------------

    /// Adds a consumer, which is told the tree so far first, if it wants that. For that, `on_arrival` is not called.
    pub(super) fn join(
        &self,
        wants: Wants,
        capacity: Capacity,
        on_arrival: Option<OnArrival>,
    ) -> Result<Arc<Consumer>, Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let (root, so_far, counters) = (self.root.clone(), state.newest.clone(), self.counters.clone());
        let consumer = Consumer::new(root, wants, capacity, state.belief, so_far, counters, on_arrival);
        let consumer = Arc::new(consumer);
        if let Some(status) = state.end {
            consumer.end(status);
        }
        state.consumers.push(consumer.clone());
        Ok(consumer)
    }

    /// Lets a consumer go, with what it was not told. Never waits; may be called twice.
    pub(super) fn leave(&self, consumer: &Arc<Consumer>) {
        self.lock().consumers.retain(|other| !Arc::ptr_eq(other, consumer));
        consumer.close();
    }

    /// Lets all consumers go. Never waits.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let consumers = std::mem::take(&mut state.consumers);
        let newest = state.newest.take();
        drop(state);
        consumers.iter().for_each(|consumer| consumer.close());
        drop(newest);
    }

    /// To be called in the child of a fork: lets go of all consumers that no thread of the parent was using at the
    /// fork.
    pub(super) fn abandon(self: &Arc<Self>) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The lock is held for ever, and what it guards may be half changed.
            Err(TryLockError::WouldBlock) => {
                log::warn!("{}: its consumers are not freed, they were in use at the fork", self.root());
                return std::mem::forget(self.clone());
            }
        };
        state.closed = true;
        let consumers = std::mem::take(&mut state.consumers);
        drop(state);
        consumers.into_iter().for_each(Consumer::abandon);
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a fault, with the path that it is about, if somebody was not told of it. What panicked was logged where that
/// happened.
fn log_unless_told(fault: &Fault, told: Told) {
    match &fault.path {
        _ if fault.status == Status::Panic || !told.is_to_be_logged() => {}
        Some(path) => log::warn!("{path}: {}", fault.message),
        None => log::warn!("{}", fault.message),
    }
}

/// The feeds of a client and its caches that are still there.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<FeedsState>);

#[derive(Default)]
struct FeedsState {
    feeds: Vec<Weak<Feed>>,
    /// Why nothing follows for any of them, or for a feed that is added later; `None` while something may follow.
    end: Option<Status>,
}

impl Feeds {
    pub(super) fn add(&self, feed: &Arc<Feed>) {
        let mut state = self.lock();
        // Only when the list is full: that is so rare that it costs nothing.
        if state.feeds.len() == state.feeds.capacity() {
            state.feeds.retain(|feed| feed.strong_count() > 0);
        }
        state.feeds.push(Arc::downgrade(feed));
        if let Some(status) = state.end {
            feed.end(status);
        }
    }

    /// Says that nothing follows for any of them.
    pub(crate) fn end(&self, status: Status) {
        let mut state = self.lock();
        state.end.get_or_insert(status);
        state.feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.end(status));
    }

    fn lock(&self) -> MutexGuard<'_, FeedsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::room;

    #[test]
    fn a_feed_that_comes_when_all_have_ended_has_ended_too() {
        let (feeds, feed) = (Feeds::default(), Arc::new(Feed::new(NodePath::root(), Arc::default())));
        feeds.end(Status::Limit);
        feeds.end(Status::Closed);
        feeds.add(&feed);
        let consumer = feed.join(Wants::EVENTS, room(1), None).unwrap();
        assert_eq!(consumer.next(None, |_| ()).map_err(|error| error.status()), Err(Status::Limit));
    }

    #[test]
    fn nobody_joins_a_closed_feed_and_who_has_left_is_told_nothing() {
        let feed = Feed::new(NodePath::root(), Arc::default());
        let [stays, leaves] = [(); 2].map(|()| feed.join(Wants::EVENTS, room(9), None).unwrap());
        feed.leave(&leaves);
        feed.event(EventKind::InStep);
        let taken = [&stays, &leaves].map(|consumer| consumer.drain(9, |_| ()));
        assert_eq!(taken, [Ok(1), Err(Error::Closed)]);
        feed.close();
        feed.leave(&stays);
        assert_eq!(stays.drain(9, |_| ()), Err(Error::Closed));
        assert!(feed.join(Wants::EVENTS, room(9), None).is_err());
    }
}
