//! The consumers of one cache (or client), and what each of them is to be told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::backlog::{Belief, Capacity, Item};
use super::dispatcher::{Command, Mailbox, on_dispatcher_thread};
use super::queue::{Counters, Queue, Wants};
use super::{Event, ListenerId, Told};
use crate::error::{Error, Fault, Status};
use crate::panics::catch;
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::state::EventKind;
use crate::tree::Version;

type Listener = dyn FnMut(Told<'_>) + Send;

const EVENTS: Wants = Wants { events: true, faults: false };
const FAULTS: Wants = Wants { events: false, faults: true };

/// Consumers, behind one lock that is never held while a callback runs. Whether a callback may start is decided under
/// it, so none starts once `close` or `remove` has returned.
pub(crate) struct Feed {
    root: NodePath,
    /// What may wait for a listener.
    capacity: Capacity,
    counters: Arc<Counters>,
    state: Mutex<FeedState>,
    /// A callback has returned.
    idle: Condvar,
    dispatcher: Arc<Mailbox>,
}

struct FeedState {
    closed: bool,
    /// Nothing follows, and why.
    end: Option<Status>,
    /// The dispatcher knows that there is something to tell.
    scheduled: bool,
    /// A callback runs, or is being dropped behind its last call.
    running: bool,
    /// Threads that wait for `running` to become false.
    waiters: usize,
    last_id: u64,
    /// In the order of their ids.
    consumers: Vec<Consumer>,
    /// Whom the dispatcher served last.
    served: u64,
    /// Where who joins begins.
    newest: Option<Arc<Version>>,
    belief: Belief,
}

struct Consumer {
    id: u64,
    queue: Arc<Queue>,
    taker: Taker,
}

/// Who takes things out of a consumer's queue.
enum Taker {
    /// The dispatcher, and calls the listener with them. `None` while that runs: then the dispatcher has it, and drops
    /// it when it finds the consumer gone.
    Dispatcher(Option<Box<Listener>>),
    /// The program, by itself.
    Program,
}

impl Feed {
    pub(super) fn new(root: NodePath, capacity: Capacity, dispatcher: Arc<Mailbox>) -> Feed {
        let state = FeedState {
            closed: false,
            end: None,
            scheduled: false,
            running: false,
            waiters: 0,
            last_id: 0,
            consumers: Vec::new(),
            served: 0,
            newest: None,
            belief: Belief::default(),
        };
        Feed {
            root,
            capacity,
            counters: Arc::default(),
            state: Mutex::new(state),
            idle: Condvar::new(),
            dispatcher,
        }
    }

    pub(super) fn root(&self) -> &NodePath {
        &self.root
    }

    /// How many events were told to all consumers together, and how often one of them was told the difference over
    /// several versions at once, as it had fallen behind.
    pub(crate) fn counters(&self) -> (u64, u64) {
        let Counters { events, lags } = &*self.counters;
        (events.load(Ordering::Relaxed), lags.load(Ordering::Relaxed))
    }

    // --- In ------------------------------------------------------------------------------------------------------

    pub(crate) fn publish(self: &Arc<Self>, version: Arc<Version>, changes: usize) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        for consumer in &state.consumers {
            consumer.queue.push(Item::Version { version: version.clone(), changes, merged: false });
        }
        let before = state.newest.replace(version);
        self.schedule(&mut state);
        drop(state);
        // A tree takes its time to go.
        drop(before);
    }

    pub(crate) fn event(self: &Arc<Self>, kind: EventKind) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        for consumer in &state.consumers {
            consumer.queue.push(Item::Event(kind));
        }
        state.belief = state.belief.after(kind);
        self.schedule(&mut state);
    }

    pub(crate) fn fault(self: &Arc<Self>, fault: Fault) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let (mut told, mut missed) = (0, 0);
        for consumer in state.consumers.iter().filter(|consumer| consumer.queue.wants().faults) {
            told += 1;
            missed += usize::from(!consumer.queue.push_fault(&fault));
        }
        self.schedule(&mut state);
        drop(state);
        if told == 0 || missed > 0 {
            log_fault(&self.root, &fault);
        }
    }

    /// Nothing follows what is there; who waits in a queue is told why.
    pub(crate) fn end(&self, status: Status) {
        let mut state = self.lock();
        state.end.get_or_insert(status);
        for consumer in &state.consumers {
            consumer.queue.end(status);
        }
    }

    // --- Consumers -----------------------------------------------------------------------------------------------

    /// Adds a listener, which is told the tree so far first.
    pub(crate) fn listen(
        self: &Arc<Self>,
        mut callback: impl FnMut(&Event<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        let listener = move |told: Told<'_>| {
            if let Told::Event(event) = told {
                callback(event);
            }
        };
        self.add(EVENTS, self.capacity, Taker::Dispatcher(Some(Box::new(listener)))).map(|(id, _)| id)
    }

    pub(crate) fn listen_fault(
        self: &Arc<Self>,
        mut callback: impl FnMut(&Fault) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        let listener = move |told: Told<'_>| {
            if let Told::Fault(fault) = told {
                callback(fault);
            }
        };
        self.add(FAULTS, self.capacity, Taker::Dispatcher(Some(Box::new(listener)))).map(|(id, _)| id)
    }

    /// Adds a queue that the program takes things out of.
    pub(super) fn open_queue(
        self: &Arc<Self>,
        faults: bool,
        capacity: Capacity,
    ) -> Result<(ListenerId, Arc<Queue>), Error> {
        self.add(Wants { events: true, faults }, capacity, Taker::Program)
    }

    fn add(
        self: &Arc<Self>,
        wants: Wants,
        capacity: Capacity,
        taker: Taker,
    ) -> Result<(ListenerId, Arc<Queue>), Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        state.last_id += 1;
        let (id, so_far, counters) = (state.last_id, state.newest.clone(), self.counters.clone());
        let queue = Queue::new(self.root.clone(), wants, capacity, state.belief, so_far, counters);
        if let Some(status) = state.end {
            queue.end(status);
        }
        let queue = Arc::new(queue);
        state.consumers.push(Consumer { id, queue: queue.clone(), taker });
        self.schedule(&mut state);
        Ok((ListenerId(id), queue))
    }

    /// Removes a listener. None of its calls starts after this; one may be running.
    pub(crate) fn unlisten(&self, ListenerId(id): ListenerId) -> Result<(), Error> {
        match self.remove(|consumer| consumer.id == id && matches!(consumer.taker, Taker::Dispatcher(_)))? {
            0 => Err(Error::InvalidArgument(format!("no listener has the id {id}"))),
            _ => Ok(()),
        }
    }

    /// Removes a queue.
    pub(super) fn close_queue(&self, ListenerId(id): ListenerId) {
        // None is there when the feed was closed before, and its queues with it.
        _ = self.remove(|consumer| consumer.id == id);
    }

    fn remove(&self, which: impl Fn(&Consumer) -> bool) -> Result<usize, Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let removed: Vec<Consumer> = state.consumers.extract_if(.., |consumer| which(consumer)).collect();
        drop(state);
        Ok(let_go(removed))
    }

    /// Lets all consumers go; no call starts after this. Never waits.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let consumers = std::mem::take(&mut state.consumers);
        let newest = state.newest.take();
        drop(state);
        let_go(consumers);
        drop(newest);
    }

    /// In the child of a fork, which has no dispatcher: lets all consumers go that no thread of the parent had in its
    /// hands.
    pub(crate) fn abandon(&self) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // For ever, and what it guards may be half done.
            Err(TryLockError::WouldBlock) => {
                return log::warn!(
                    "{}: its listeners are not freed, they were in use at the fork",
                    self.root
                );
            }
        };
        state.closed = true;
        let consumers = std::mem::take(&mut state.consumers);
        drop(state);
        for consumer in consumers {
            if !consumer.queue.is_untouched() {
                std::mem::forget(consumer.queue);
            }
        }
    }

    /// After a panic in `step`: lets the listeners of events go. Those of faults stay, since there is one to tell.
    pub(super) fn recover(self: &Arc<Self>) {
        let mut state = self.lock();
        let is_listener = |consumer: &mut Consumer| {
            consumer.queue.wants().events && matches!(consumer.taker, Taker::Dispatcher(_))
        };
        let consumers: Vec<Consumer> = state.consumers.extract_if(.., is_listener).collect();
        state.running = false;
        state.scheduled = false;
        self.schedule(&mut state);
        drop(state);
        self.idle.notify_all();
        let_go(consumers);
    }

    /// Waits until no callback runs; on a dispatcher thread, where that would be for ever, not at all.
    pub(crate) fn wait_idle(&self) {
        if on_dispatcher_thread() {
            return;
        }
        let mut state = self.lock();
        state.waiters += 1;
        let mut state =
            self.idle.wait_while(state, |state| state.running).unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
    }

    // --- The dispatcher ------------------------------------------------------------------------------------------

    /// Lets the dispatcher know when there is something for it, unless it knows.
    fn schedule(self: &Arc<Self>, state: &mut FeedState) {
        if !state.scheduled && state.has_work() {
            // Fails when the dispatcher has ended: then nobody is left to be told.
            state.scheduled = self.dispatcher.send(Command::Ready(self.clone()));
        }
    }

    /// Tells one listener the next thing that waits for it: a version to its end, or something else. Returns whether
    /// there is more for one of them. Only for the dispatcher.
    pub(super) fn step(self: &Arc<Self>) -> bool {
        let next = self.lock().serve_next();
        if let Some((id, queue)) = next {
            let tell = |told: Told<'_>| {
                let is_amid_version = match told {
                    Told::Fault(_) => false,
                    Told::Event(event) => {
                        planted::panic_if(Defect::PanicOnDispatcherThread);
                        event.path.is_some() && !event.last_of_version
                    }
                };
                self.tell(id, told);
                is_amid_version
            };
            while queue.take(tell) == Some(true) {}
        }
        let mut state = self.lock();
        state.scheduled = state.has_work();
        state.scheduled
    }

    /// Calls a listener, without the lock, if it is still there.
    fn tell(self: &Arc<Self>, id: u64, told: Told<'_>) {
        let mut state = self.lock();
        let Some(mut listener) = state.listener(id).and_then(Option::take) else { return };
        state.running = true;
        drop(state);
        let outcome = catch(|| listener(told));
        let mut state = self.lock();
        match state.listener(id) {
            Some(place) => *place = Some(listener),
            None => {
                // Removed meanwhile: that was its last call.
                drop(state);
                if let Err(panic) = catch(|| drop(listener)) {
                    self.listener_panicked(told, &panic);
                }
                state = self.lock();
            }
        }
        state.running = false;
        let waiters = state.waiters;
        drop(state);
        if waiters > 0 {
            self.idle.notify_all();
        }
        if let Err(panic) = outcome {
            self.listener_panicked(told, &panic);
        }
    }

    fn listener_panicked(self: &Arc<Self>, told: Told<'_>, panic: &str) {
        match told {
            Told::Event(event) => {
                let message = format!("a listener of {} panicked: {panic}", self.root);
                log::error!("{message}");
                let mut fault = Fault::new(Status::Panic, message);
                fault.path = event.path.and_then(NodePath::of_server);
                self.fault(fault);
            }
            // Not a fault again: that would go round in circles.
            Told::Fault(_) => log::error!("a fault listener of {} panicked: {panic}", self.root),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeedState {
    fn has_work(&self) -> bool {
        !self.closed && self.consumers.iter().any(Consumer::is_due)
    }

    /// Whose turn it is: faults first, and otherwise everybody once before anybody twice. (What is asked of a queue takes
    /// its lock, so it is asked last.)
    fn serve_next(&mut self) -> Option<(u64, Arc<Queue>)> {
        let of_faults = |consumer: &&Consumer| consumer.queue.wants() == FAULTS;
        if let Some(next) = self.consumers.iter().filter(of_faults).find(|consumer| consumer.is_due()) {
            return Some((next.id, next.queue.clone()));
        }
        let behind = self.consumers.partition_point(|consumer| consumer.id <= self.served);
        let (before, behind) = self.consumers.split_at(behind);
        let next = behind.iter().chain(before).find(|consumer| consumer.is_due())?;
        self.served = next.id;
        Some((next.id, next.queue.clone()))
    }

    fn listener(&mut self, id: u64) -> Option<&mut Option<Box<Listener>>> {
        let at = self.consumers.binary_search_by_key(&id, |consumer| consumer.id).ok()?;
        match &mut self.consumers[at].taker {
            Taker::Dispatcher(listener) => Some(listener),
            Taker::Program => None,
        }
    }
}

impl Consumer {
    /// Whether the dispatcher has something to tell it.
    fn is_due(&self) -> bool {
        matches!(self.taker, Taker::Dispatcher(_)) && self.queue.has_something()
    }
}

/// Not under a lock: what goes with a listener is the user's. Returns how many there were.
fn let_go(consumers: Vec<Consumer>) -> usize {
    consumers.iter().for_each(|consumer| consumer.queue.close());
    consumers.len()
}

fn log_fault(root: &NodePath, fault: &Fault) {
    let path = fault.path.as_ref().map_or(String::new(), |path| format!(" at {path}"));
    log::warn!("{root}: {:?}{path}: {}", fault.status, fault.message);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::events::Dispatcher;
    use crate::events::backlog::tests::room;
    use crate::events::queue::MOST_FAULTS;
    use crate::snapshot::tests::node;
    use crate::stat::Zxid;
    use crate::tree::Tree;
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::time::Duration;

    /// A tree that a test edits and publishes.
    pub(in crate::events) struct Author {
        pub(in crate::events) feed: Arc<Feed>,
        pub(in crate::events) tree: Tree,
        zxid: i64,
    }

    impl Author {
        /// `events`: how many of them a listener may lag.
        pub(in crate::events) fn new(dispatcher: &Dispatcher, events: usize) -> Author {
            let root = NodePath::new("/r").unwrap();
            let mut author =
                Author { feed: dispatcher.feed(root, room(events)), tree: Tree::default(), zxid: 0 };
            author.put("");
            author
        }

        pub(in crate::events) fn put(&mut self, path: &str) {
            self.zxid += 1;
            let czxid =
                self.tree.get(path).and_then(|entry| entry.node.as_ref()).map(|node| node.stat().czxid.0);
            assert!(self.tree.put(path, node(czxid.unwrap_or(self.zxid), self.zxid)));
        }

        pub(in crate::events) fn publish(&mut self) {
            self.zxid += 1;
            let version =
                Version { tree: self.tree.clone(), zxid: Zxid(self.zxid), is_cut: true, is_complete: true };
            self.feed.publish(Arc::new(version), 1);
        }

        /// A listener whose events arrive here in words; the last of a version has a dot.
        fn listen(&self) -> (ListenerId, mpsc::Receiver<String>) {
            let (told, received) = mpsc::channel();
            let id = self.feed.listen(move |event| _ = told.send(described(event))).unwrap();
            (id, received)
        }
    }

    pub(in crate::events) fn described(event: &Event<'_>) -> String {
        let sign = match event.kind {
            EventKind::NodeAdded => "+",
            EventKind::NodeUpdated => "~",
            EventKind::NodeRemoved => "-",
            kind => return format!("{kind:?}"),
        };
        assert_eq!(event.old.is_some(), event.kind == EventKind::NodeUpdated);
        assert!(event.node.is_some() && event.zxid > Zxid(0));
        format!("{sign}{}{}", event.path.unwrap(), if event.last_of_version { "." } else { "" })
    }

    fn next(received: &mpsc::Receiver<String>, count: usize) -> Vec<String> {
        (0..count).map(|_| received.recv_timeout(Duration::from_secs(10)).expect("an event comes")).collect()
    }

    #[test]
    fn events_are_the_differences_of_versions_in_order() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let (_, received) = author.listen();
        author.put("a");
        author.put("a/x");
        author.publish();
        author.feed.event(EventKind::Initialized);
        author.put("a");
        assert!(author.tree.remove("a/x"));
        author.put("b");
        author.publish();
        author.feed.event(EventKind::InStep);
        assert_eq!(next(&received, 4), ["+/r", "+/r/a", "+/r/a/x.", "Initialized"]);
        assert_eq!(next(&received, 4), ["-/r/a/x", "~/r/a", "+/r/b.", "InStep"]);
    }

    #[test]
    fn a_late_joiner_gets_the_tree_so_far_and_what_follows() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        author.put("a");
        author.publish();
        let (_, early) = author.listen();
        assert_eq!(next(&early, 2), ["+/r", "+/r/a."]);
        author.feed.event(EventKind::Initialized);
        assert_eq!(next(&early, 1), ["Initialized"]);
        let (_, late) = author.listen();
        author.put("b");
        author.publish();
        assert_eq!(next(&late, 4), ["+/r", "+/r/a.", "Initialized", "+/r/b."]);
        assert_eq!(next(&early, 1), ["+/r/b."]);
        author.feed.event(EventKind::ConnectionLost);
        assert_eq!(next(&early, 1), ["ConnectionLost"]);
        let (_, later) = author.listen();
        assert_eq!(next(&later, 3), ["+/r", "+/r/a", "+/r/b."]);
        author.feed.event(EventKind::Initialized);
        assert_eq!(next(&later, 1), ["Initialized"]);
    }

    #[test]
    fn listeners_that_join_while_versions_are_published_see_no_gap_and_no_duplicate() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 20);
        let mut listeners = Vec::new();
        let wrong = Arc::new(Mutex::new(Vec::new()));
        for round in 0..300 {
            author.put(&format!("n{}", round % 17));
            if round % 3 == 0 {
                author.tree.remove(&format!("n{}", (round * 7) % 17));
            }
            author.publish();
            if round % 30 == 0 {
                let map = Arc::new(Mutex::new(BTreeMap::new()));
                let (replayed, wrong) = (map.clone(), wrong.clone());
                let (told, in_step) = mpsc::channel();
                let replay = move |event: &Event<'_>| {
                    if event.kind == EventKind::InStep {
                        told.send(()).unwrap();
                    }
                    let mut map = replayed.lock().unwrap();
                    let stat = event.node.map(|node| node.stat().mzxid);
                    let path = event.path.map(str::to_owned);
                    let before = match (event.kind, path, stat) {
                        (EventKind::NodeRemoved, Some(path), _) => map.remove(&path).is_some(),
                        (EventKind::NodeUpdated, Some(path), Some(stat)) => map.insert(path, stat).is_some(),
                        (EventKind::NodeAdded, Some(path), Some(stat)) => map.insert(path, stat).is_none(),
                        _ => true,
                    };
                    if !before {
                        wrong.lock().unwrap().push(described(event));
                    }
                };
                author.feed.listen(replay).unwrap();
                listeners.push((map, in_step));
            }
        }
        author.feed.event(EventKind::InStep);
        let mut expected = BTreeMap::new();
        let mut walk = author.tree.preorder();
        while let Some((path, entry)) = walk.next() {
            let path = author.feed.root().absolute(path).to_string();
            expected.insert(path, entry.node.as_ref().unwrap().stat().mzxid);
        }
        for (map, in_step) in listeners {
            in_step.recv_timeout(Duration::from_secs(10)).expect("the end is told");
            assert_eq!(*map.lock().unwrap(), expected);
        }
        assert_eq!(*wrong.lock().unwrap(), [""; 0]);
    }

    #[test]
    fn a_slow_listener_continues_by_difference() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 10);
        let (gate, open) = mpsc::channel::<()>();
        let (told, received) = mpsc::channel();
        let slow = move |event: &Event<'_>| {
            told.send(described(event)).unwrap();
            _ = open.recv();
        };
        author.feed.listen(slow).unwrap();
        author.publish();
        assert_eq!(next(&received, 1), ["+/r."]);
        author.put("a");
        for _ in 0..1000 {
            author.put("b");
            author.publish();
            author.feed.event(EventKind::ConnectionSuspended);
            author.feed.event(EventKind::ConnectionReconnected);
        }
        author.feed.event(EventKind::InStep);
        drop(gate);
        let told = next(&received, 5);
        assert_eq!(told, ["ConnectionSuspended", "ConnectionReconnected", "+/r/a", "+/r/b.", "InStep"]);
        assert_eq!(received.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
    }

    #[test]
    fn no_call_starts_after_unlisten_or_close_has_returned() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let late = Arc::new(AtomicUsize::new(0));
        for round in 0..100 {
            let mut author = Author::new(&dispatcher, 1000);
            let (over, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (seen, counted, late) = (over.clone(), calls.clone(), late.clone());
            let id = author
                .feed
                .listen(move |_| {
                    late.fetch_add(seen.load(Ordering::SeqCst), Ordering::SeqCst);
                    counted.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
            for n in 0..50 {
                author.put(&n.to_string());
            }
            author.publish();
            while calls.load(Ordering::SeqCst) < round % 10 {
                std::hint::spin_loop();
            }
            match round % 2 {
                0 => author.feed.unlisten(id).unwrap(),
                _ => author.feed.close(),
            }
            author.feed.wait_idle();
            over.store(1, Ordering::SeqCst);
            assert!(author.feed.unlisten(id).is_err());
        }
        drop(dispatcher);
        assert_eq!(late.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_listener_is_dropped_once_and_behind_its_last_call() {
        struct Token(Arc<AtomicUsize>);
        impl Drop for Token {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let drops = Arc::new(AtomicUsize::new(0));
        let (entered, running) = mpsc::channel();
        let (gate, open) = mpsc::channel::<()>();
        let token = Token(drops.clone());
        let id = author
            .feed
            .listen(move |_| {
                entered.send(()).unwrap();
                _ = open.recv();
                assert_eq!(token.0.load(Ordering::SeqCst), 0);
            })
            .unwrap();
        author.publish();
        running.recv().unwrap();
        author.feed.unlisten(id).unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 0, "it is running");
        drop(gate);
        author.feed.wait_idle();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        author.feed.close();
        let token = Token(drops.clone());
        let refused = author.feed.listen(move |_| _ = &token);
        assert_eq!((refused, drops.load(Ordering::SeqCst)), (Err(Error::Closed), 2));
    }

    #[test]
    fn a_listener_may_remove_itself_and_close_its_feed() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let id = Arc::new(Mutex::new(None));
        let (own, feed) = (id.clone(), author.feed.clone());
        let (told, received) = mpsc::channel();
        let listener = move |_: &Event<'_>| {
            told.send(String::new()).unwrap();
            let id = own.lock().unwrap().unwrap();
            feed.unlisten(id).unwrap();
            feed.close();
            feed.wait_idle();
        };
        *id.lock().unwrap() = Some(author.feed.listen(listener).unwrap());
        author.put("a");
        author.publish();
        next(&received, 1);
        // The listener, and with it the sender, is gone when the one call has returned.
        assert_eq!(received.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_panicking_listener_is_a_fault_and_the_others_go_on() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let (told, faults) = mpsc::channel();
        author.feed.listen_fault(|_| panic!("fault listeners may panic too")).unwrap();
        author
            .feed
            .listen_fault(move |fault| {
                told.send(format!("{:?} {:?} {}", fault.status, fault.path, fault.message)).unwrap();
            })
            .unwrap();
        author.feed.listen(|_| panic!("on purpose")).unwrap();
        let (_, received) = author.listen();
        author.publish();
        assert_eq!(next(&received, 1), ["+/r."]);
        let fault = next(&faults, 1).remove(0);
        assert!(fault.starts_with("Panic Some(\"/r\")") && fault.ends_with("on purpose"), "{fault}");
        author.feed.event(EventKind::InStep);
        assert_eq!(next(&received, 1), ["InStep"]);
        next(&faults, 1);
        assert_eq!(faults.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
    }

    #[test]
    fn faults_that_nobody_takes_are_bounded() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let feed = dispatcher.feed(NodePath::root(), room(1));
        let (entered, running) = mpsc::channel();
        let (gate, open) = mpsc::channel::<()>();
        feed.listen_fault(move |_| {
            _ = entered.send(());
            _ = open.recv();
        })
        .unwrap();
        feed.fault(Fault::new(Status::Connection, "first"));
        running.recv().unwrap();
        for n in 0..1000 {
            feed.fault(Fault::new(Status::Connection, n.to_string()));
            feed.fault(Fault::new(Status::Connection, n.to_string()));
        }
        drop(gate);
        let told = std::iter::from_fn(|| running.recv_timeout(Duration::from_millis(500)).ok()).count();
        assert_eq!(told, MOST_FAULTS);
    }

    #[test]
    #[expect(unsafe_code, reason = "the signal mask")]
    fn the_dispatcher_blocks_signals_and_ends_from_its_own_thread_too() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let (told, received) = mpsc::channel();
        let mut dispatcher = Some(dispatcher);
        let listener = move |_: &Event<'_>| {
            drop(dispatcher.take());
            let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: the set is valid for writing, and written before it is read.
            let blocked = unsafe {
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
                libc::sigismember(mask.as_ptr(), libc::SIGTERM)
            };
            let name = std::thread::current().name().map(str::to_owned);
            told.send(format!("{blocked} {name:?} {}", on_dispatcher_thread())).unwrap();
        };
        author.feed.listen(listener).unwrap();
        author.publish();
        assert_eq!(next(&received, 1), ["1 Some(\"treecache-events\") true"]);
    }
}
