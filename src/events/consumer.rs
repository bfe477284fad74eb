//! What one consumer has not been told yet, and its place in the difference that it is being told.
//!
//! The I/O thread puts versions, events and faults in; whoever consumes takes events and faults out, one at a time: a
//! program that waits for them, or the dispatcher, which is called when something has come. A version's difference is
//! worked out as it is taken, on the thread that takes, so neither side waits for the other.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::backlog::{Backlog, Belief, Capacity, Pending};
use super::changes::Changes;
use super::descriptor::Descriptor;
use super::feed_root::FeedRoot;
use super::told::{Event, Told};
use super::wants::{Events, Wants};
use crate::clock;
use crate::error::{Error, Fault, Status};
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::{Differences, Version};

/// The most faults that may wait for a consumer.
pub(super) const MOST_FAULTS: usize = 128;

/// At how many nodes the thread that puts a version in looks, to see whether the version holds something for a consumer
/// that does not want everything. If that does not tell, the thread that takes it out finds out.
const MOST_LOOKED_AT: usize = 64;

/// Called each time after something was put in, if there is something to take, on the thread that put it in. The caller
/// may hold the lock of a feed, but holds no lock of the consumer.
pub(super) type OnArrival = Box<dyn Fn() + Send + Sync>;

/// What was told to all consumers of a cache together.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) events: AtomicU64,
    /// Versions that were told in place of several.
    pub(super) lags: AtomicU64,
}

pub(super) struct Consumer {
    root: FeedRoot,
    wants: Wants,
    counters: Arc<Counters>,
    /// Set under the lock of `inbox`.
    closed: AtomicBool,
    inbox: Mutex<Inbox>,
    /// There may be something to take, or there will never be anything again. If there is an `on_arrival`, nobody waits
    /// for this.
    arrived: Condvar,
    on_arrival: Option<OnArrival>,
    /// Held by the thread that takes something out. Always taken before `inbox`.
    cursor: Mutex<Cursor>,
}

struct Inbox {
    backlog: Backlog,
    /// The version from which the backlog goes on, where that is not the one that was told last: what differs between
    /// these two is not wanted.
    start: Option<Arc<Version>>,
    /// Nothing is put in before INITIALIZED.
    awaits_initialized: bool,
    faults: VecDeque<Fault>,
    /// The version taken out last has not been told to its end.
    amid_version: bool,
    /// The next wait is to end at once.
    woken: bool,
    /// Why nothing follows what is there; `None` while something may follow. A consumer that was closed has `Closed`
    /// here.
    end: Option<Status>,
    /// Readable while there is something to say.
    descriptor: Option<Descriptor>,
}

/// How far a consumer is.
#[derive(Default)]
struct Cursor {
    /// The version that it was told, or is being told.
    version: Arc<Version>,
    /// What is left to be told of that version.
    changes: Option<Changes>,
}

impl Consumer {
    /// A consumer that begins with the tree `so_far`, or behind it; `belief` is how the cache stands.
    pub(super) fn new(
        root: FeedRoot,
        wants: Wants,
        capacity: Capacity,
        belief: Belief,
        so_far: Option<Arc<Version>>,
        counters: Arc<Counters>,
        on_arrival: Option<OnArrival>,
    ) -> Consumer {
        let mut inbox = Inbox {
            backlog: Backlog::new(capacity, belief),
            start: None,
            awaits_initialized: false,
            faults: VecDeque::new(),
            amid_version: false,
            woken: false,
            end: None,
            descriptor: None,
        };
        if let Some(events) = &wants.events {
            inbox.begin(events, capacity, belief, so_far);
        }
        Consumer {
            root,
            wants,
            counters,
            closed: AtomicBool::new(false),
            inbox: Mutex::new(inbox),
            arrived: Condvar::new(),
            on_arrival,
            cursor: Mutex::default(),
        }
    }

    pub(super) fn wants(&self) -> &Wants {
        &self.wants
    }

    // --- In ------------------------------------------------------------------------------------------------------

    /// Puts in the version that follows `before`.
    pub(super) fn push_version(&self, before: &Version, version: &Arc<Version>, changes: usize) {
        let Some(events) = &self.wants.events else { return };
        // Nobody else puts something in meanwhile.
        if self.lock().awaits_initialized {
            return;
        }
        let has_something = events.nodes().is_none_or(|filter| {
            Differences::filtered(&before.tree, &version.tree, filter).may_have_any(MOST_LOOKED_AT)
        });
        let version = version.clone();
        match has_something {
            true => self.change(|inbox| {
                inbox.backlog.push(Pending::Version { version, changes, merged: false });
            }),
            false => self.pass_over(version),
        }
    }

    /// As [`push_version`](Self::push_version), of a version that holds nothing for the consumer: nobody is woken for it.
    fn pass_over(&self, version: Arc<Version>) {
        let mut inbox = self.lock();
        if self.is_closed() {
            return;
        }
        let replaced = match inbox.backlog.is_empty() {
            true => inbox.start.replace(version),
            false => inbox.backlog.renew(version),
        };
        drop(inbox);
        drop(replaced);
        // A consumer that was told everything holds no version but the newest. If it is being told something now, that
        // is made good with the next version, or when it takes something out.
        if let Ok(mut cursor) = self.cursor.try_lock()
            && cursor.changes.as_ref().is_none_or(Changes::is_over)
        {
            let start = self.lock().start.take();
            cursor.go_to(start);
            if self.is_closed() {
                *cursor = Cursor::default();
            }
        }
    }

    /// Puts an event in; `newest` is the version that it follows.
    pub(super) fn push_event(&self, kind: EventKind, newest: Option<&Arc<Version>>) {
        if self.wants.events.is_some() {
            self.change(|inbox| inbox.push_event(kind, newest));
        }
    }

    /// Returns false when there is no room for the fault.
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

    /// Says that nothing follows what is there.
    pub(super) fn end(&self, status: Status) {
        self.change(|inbox| _ = inbox.end.get_or_insert(status));
    }

    /// The next wait, or one that is under way, ends with [`Error::Interrupted`].
    pub(super) fn wake(&self) {
        self.change(|inbox| inbox.woken = true);
    }

    /// Drops what waits to be taken, and sends away whoever waits for it. Never waits itself.
    pub(super) fn close(&self) {
        let mut inbox = self.lock();
        self.closed.store(true, Ordering::SeqCst);
        let nothing = Backlog::new(Capacity { events: 0, bytes: 0 }, Belief::default());
        let waiting = (std::mem::replace(&mut inbox.backlog, nothing), inbox.start.take());
        inbox.faults.clear();
        (inbox.amid_version, inbox.woken) = (false, false);
        inbox.end = Some(Status::Closed);
        inbox.signal();
        drop(inbox);
        self.arrived.notify_all();
        // Versions hold trees, and to free these takes time: so not under the lock.
        drop(waiting);
        // If another thread holds the cursor now, that thread empties it after what it takes out.
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
        let has_something = inbox.has_something();
        drop(inbox);
        match &self.on_arrival {
            None => self.arrived.notify_all(),
            Some(call) if has_something => call(),
            Some(_) => {}
        }
    }

    // --- Out -----------------------------------------------------------------------------------------------------

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether [`take`](Self::take) may find something. It may still find nothing, since a version may have no
    /// differences to tell.
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
            let (start, item) = (inbox.start.take(), inbox.backlog.pop());
            // If a taker panicked in the middle of a version, nobody looks for the rest of that version.
            inbox.amid_version = matches!(item, Some(Pending::Version { .. }));
            inbox.signal();
            drop(inbox);
            cursor.go_to(start);
            match item? {
                Pending::Event(kind) if !self.tells(kind) => {}
                Pending::Event(kind) => {
                    let zxid = match kind {
                        EventKind::Initialized | EventKind::InStep => cursor.version.zxid,
                        _ => Zxid::default(),
                    };
                    let event =
                        Event { kind, last_of_version: false, path: None, node: None, old: None, zxid };
                    return Some(self.tell_event(&event, tell));
                }
                Pending::Version { version, merged, .. } => {
                    self.counters.lags.fetch_add(u64::from(merged), Ordering::Relaxed);
                    let old = std::mem::replace(&mut cursor.version, version);
                    cursor.changes = Some(self.changes(&old, &cursor.version));
                }
            }
        }
    }

    fn tells(&self, kind: EventKind) -> bool {
        self.wants.events.as_ref().is_some_and(|events| events.has(kind))
    }

    /// What it is to be told of two versions.
    fn changes(&self, old: &Version, new: &Version) -> Changes {
        let differences = match self.wants.events.as_ref().and_then(Events::nodes) {
            Some(filter) => Differences::filtered(&old.tree, &new.tree, filter),
            None => Differences::new(&old.tree, &new.tree),
        };
        Changes::new(self.root.get(), new.zxid, differences)
    }

    /// As [`take`](Self::take), and waits for something to take, at most `timeout`.
    pub(super) fn next<R>(
        &self,
        timeout: Option<Duration>,
        mut tell: impl FnMut(Told<'_>) -> R,
    ) -> Result<R, Error> {
        // If the deadline is too far away for the clock, there is none.
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
                    Some(Duration::ZERO) => {
                        return Err(Error::Timeout { after: timeout.unwrap_or_default(), last: None });
                    }
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

    /// The descriptor. It is made when it is first asked for.
    pub(super) fn fd(&self) -> Result<RawFd, Error> {
        let mut inbox = self.lock();
        if let Some(descriptor) = &inbox.descriptor {
            return Ok(descriptor.fd());
        }
        let descriptor = Descriptor::new().map_err(|error| {
            let message = format!("no descriptor for a queue: {error}");
            log::error!("{message}");
            Error::NoResources(message)
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

    /// To be called in the child of a fork: lets go of the consumer, unless a thread of the parent held one of its
    /// locks at the fork. Then the consumer may be half changed, and is never freed.
    pub(super) fn abandon(self: Arc<Self>) {
        if !self.is_untouched() {
            std::mem::forget(self);
        }
    }

    fn is_untouched(&self) -> bool {
        !matches!(self.inbox.try_lock(), Err(TryLockError::WouldBlock))
            && !matches!(self.cursor.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cursor {
    /// Goes on from another version, if there is one.
    fn go_to(&mut self, version: Option<Arc<Version>>) {
        if let Some(version) = version {
            self.version = version;
        }
    }
}

impl Inbox {
    /// Before anything was put in: puts in what was, if it is wanted, or begins behind it.
    fn begin(&mut self, events: &Events, capacity: Capacity, belief: Belief, so_far: Option<Arc<Version>>) {
        self.awaits_initialized = events.after_initialized && !belief.initialized;
        if events.initial {
            self.backlog = Backlog::new(capacity, belief.uninitialized());
        }
        match so_far {
            Some(version) if events.initial && !events.after_initialized => {
                self.backlog.push(Pending::Version { version, changes: 0, merged: false });
            }
            _ if self.awaits_initialized => {}
            begin_behind => self.start = begin_behind,
        }
        if events.initial && belief.initialized {
            self.backlog.push(Pending::Event(EventKind::Initialized));
        }
    }

    fn push_event(&mut self, kind: EventKind, newest: Option<&Arc<Version>>) {
        if self.awaits_initialized {
            if kind != EventKind::Initialized {
                return self.backlog.leave_out(kind);
            }
            self.awaits_initialized = false;
            self.start = newest.cloned();
        }
        self.backlog.push(Pending::Event(kind));
    }

    fn has_something(&self) -> bool {
        self.amid_version || self.woken || !self.backlog.is_empty() || !self.faults.is_empty()
    }

    fn end_version(&mut self) {
        self.amid_version = false;
        self.signal();
    }

    fn check_end(&self) -> Result<(), Error> {
        self.end.map_or(Ok(()), |status| Err(Error::failed(status)))
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
pub(super) mod tests {
    use super::*;
    use crate::events::tests::room;
    use crate::path::NodePath;

    /// Nobody can put anything in, nor ask whether there is something, while what is returned is held.
    pub(in crate::events) fn hold(consumer: &Consumer) -> impl Sized + '_ {
        consumer.lock()
    }

    /// The zxid of the version that was told last, or that nothing was to be told of.
    pub(in crate::events) fn told_last(consumer: &Consumer) -> Zxid {
        consumer.cursor.lock().unwrap().version.zxid
    }

    fn consumer(wants: Wants, on_arrival: Option<OnArrival>) -> Consumer {
        let (root, counters) = (NodePath::root().into(), Arc::default());
        Consumer::new(root, wants, room(1000), Belief::default(), None, counters, on_arrival)
    }

    fn push_version(consumer: &Consumer) {
        consumer.push_version(&Version::default(), &Arc::default(), 1);
    }

    #[test]
    fn who_takes_behind_a_panic_amid_a_version_does_not_look_for_its_rest() {
        let consumer = consumer(Wants::EVENTS, None);
        push_version(&consumer);
        // As if the taker had panicked between the inbox and the cursor.
        consumer.lock().backlog.pop();
        consumer.lock().amid_version = true;
        assert!(consumer.next(Some(Duration::ZERO), |_| ()).is_err());
    }

    #[test]
    fn a_call_is_made_behind_each_thing_that_can_be_taken() {
        let calls = Arc::new(AtomicU64::new(0));
        let counted = calls.clone();
        let count = move || _ = counted.fetch_add(1, Ordering::SeqCst);
        let faults = consumer(Wants::FAULTS, Some(Box::new(count)));
        push_version(&faults);
        faults.end(Status::Limit);
        assert_eq!(calls.load(Ordering::SeqCst), 0, "nothing is there for it");
        for number in 1..=3 {
            faults.push_fault(&Fault::new(Status::Connection, number.to_string()));
            assert_eq!(calls.load(Ordering::SeqCst), number);
        }
        faults.close();
        faults.push_fault(&Fault::new(Status::Connection, "late"));
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }
}
