//! One cache's (or client's) listeners, and what is to be told to them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::backlog::{Backlog, Item};
use super::dispatcher::{Command, Mailbox, on_dispatcher_thread};
use super::{Event, ListenerId};
use crate::error::{Error, Fault, Status};
use crate::panics::catch;
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::{Change, Node, Version, changes};

type EventListener = dyn FnMut(&Event<'_>) + Send;
type FaultListener = dyn FnMut(&Fault) + Send;

/// Most faults that wait for a listener.
const MOST_FAULTS: usize = 128;

/// Listeners and their backlog, behind one lock that is never held while a callback runs. Whether a callback may
/// start is decided under it, so none starts once `close` or `unlisten` has returned.
pub(crate) struct Feed {
    root: NodePath,
    state: Mutex<FeedState>,
    /// A callback has returned.
    idle: Condvar,
    dispatcher: Arc<Mailbox>,
}

struct FeedState {
    closed: bool,
    /// The dispatcher knows that there is something to tell.
    scheduled: bool,
    /// A callback runs, or is being dropped behind its last call.
    running: bool,
    /// Threads that wait for `running` to become false.
    waiters: usize,
    last_id: u64,
    events: Vec<Slot<EventListener>>,
    faults: Vec<Slot<FaultListener>>,
    backlog: Backlog,
    pending_faults: VecDeque<Fault>,
    /// What listeners that have joined were told, or are being told.
    told: Arc<Version>,
}

/// A listener. Slots are in the order of their ids.
struct Slot<F: ?Sized> {
    id: u64,
    stage: Stage,
    /// `None` while it runs. Then the dispatcher has it, and drops it when it finds the slot gone.
    callback: Option<Box<F>>,
}

/// How far a listener is; only the dispatcher moves it on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// It is being told the tree so far.
    Joining,
    Joined,
}

/// What the dispatcher does next for a feed.
enum Work {
    Fault(Fault),
    Join { version: Arc<Version>, initialized: bool },
    Version { old: Arc<Version>, new: Arc<Version> },
    Event { kind: EventKind, zxid: Zxid },
}

/// Buffers that the dispatcher uses again and again.
#[derive(Default)]
pub(super) struct Scratch {
    path: String,
}

impl Feed {
    pub(super) fn new(root: NodePath, capacity: usize, dispatcher: Arc<Mailbox>) -> Feed {
        let state = FeedState {
            closed: false,
            scheduled: false,
            running: false,
            waiters: 0,
            last_id: 0,
            events: Vec::new(),
            faults: Vec::new(),
            backlog: Backlog::new(capacity),
            pending_faults: VecDeque::new(),
            told: Arc::default(),
        };
        Feed { root, state: Mutex::new(state), idle: Condvar::new(), dispatcher }
    }

    pub(super) fn root(&self) -> &NodePath {
        &self.root
    }

    pub(crate) fn publish(self: &Arc<Self>, version: Arc<Version>, changes: usize) {
        self.push(Item::Version { version, changes });
    }

    pub(crate) fn event(self: &Arc<Self>, kind: EventKind) {
        self.push(Item::Event(kind));
    }

    pub(crate) fn fault(self: &Arc<Self>, fault: Fault) {
        let mut state = self.lock();
        if state.closed || state.pending_faults.back() == Some(&fault) {
            return;
        }
        if state.pending_faults.len() == MOST_FAULTS {
            drop(state);
            return log_fault(&self.root, &fault);
        }
        state.pending_faults.push_back(fault);
        self.schedule(&mut state);
    }

    /// Adds a listener, which is told the tree so far first.
    pub(crate) fn listen(self: &Arc<Self>, callback: Box<EventListener>) -> Result<ListenerId, Error> {
        let mut state = self.lock();
        let id = state.next_id()?;
        state.events.push(Slot { id, stage: Stage::New, callback: Some(callback) });
        self.schedule(&mut state);
        Ok(ListenerId(id))
    }

    pub(crate) fn listen_fault(&self, callback: Box<FaultListener>) -> Result<ListenerId, Error> {
        let mut state = self.lock();
        let id = state.next_id()?;
        state.faults.push(Slot { id, stage: Stage::Joined, callback: Some(callback) });
        Ok(ListenerId(id))
    }

    /// Removes a listener. None of its calls starts after this; one may be running.
    pub(crate) fn unlisten(&self, ListenerId(id): ListenerId) -> Result<(), Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let event_slot = state.events.iter().position(|slot| slot.id == id).map(|at| state.events.remove(at));
        let fault_slot = state.faults.iter().position(|slot| slot.id == id).map(|at| state.faults.remove(at));
        // The lock is let go before the callbacks are dropped, which is foreign code.
        drop(state);
        match (event_slot, fault_slot) {
            (None, None) => Err(Error::InvalidArgument(format!("no listener has the id {id}"))),
            _ => Ok(()),
        }
    }

    /// Lets all listeners go; no call starts after this. Never waits.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let events = std::mem::take(&mut state.events);
        let faults = std::mem::take(&mut state.faults);
        let backlog = std::mem::replace(&mut state.backlog, Backlog::new(0));
        let told = std::mem::take(&mut state.told);
        state.pending_faults.clear();
        drop(state);
        drop((events, faults, backlog, told));
    }

    /// In the child of a fork, which has no dispatcher: lets all listeners go that no thread of the parent had in its
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
        let listeners = (std::mem::take(&mut state.events), std::mem::take(&mut state.faults));
        drop(state);
        drop(listeners);
    }

    /// After a panic in `step`: lets the listeners of events go. Those of faults stay, since there is one to tell.
    pub(super) fn recover(self: &Arc<Self>) {
        let mut state = self.lock();
        let events = std::mem::take(&mut state.events);
        let backlog = std::mem::replace(&mut state.backlog, Backlog::new(0));
        state.running = false;
        state.scheduled = false;
        if state.has_work() {
            self.schedule(&mut state);
        }
        drop(state);
        self.idle.notify_all();
        drop((events, backlog));
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

    fn push(self: &Arc<Self>, item: Item) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.backlog.push(item);
        if state.events.is_empty() {
            // Nobody listens, so nobody has to be woken: who joins is told the tree as it is then.
            while let Some(item) = state.backlog.pop() {
                if let Item::Version { version, .. } = item {
                    state.told = version;
                }
            }
        } else {
            self.schedule(&mut state);
        }
    }

    fn schedule(self: &Arc<Self>, state: &mut FeedState) {
        if !state.scheduled {
            // Fails when the dispatcher has ended: then nobody is left to be told.
            state.scheduled = self.dispatcher.send(Command::Ready(self.clone()));
        }
    }

    /// Tells the next thing that waits. Returns whether there is more. Only for the dispatcher.
    pub(super) fn step(self: &Arc<Self>, scratch: &mut Scratch) -> bool {
        let work = self.lock().next();
        if !matches!(work, None | Some(Work::Fault(_))) {
            planted::panic_if(Defect::PanicOnDispatcherThread);
        }
        match work {
            Some(Work::Fault(fault)) => self.tell_fault(&fault),
            Some(Work::Join { version, initialized }) => {
                self.tell_difference(&Version::default(), &version, Stage::Joining, scratch);
                if initialized {
                    self.tell(&plain(EventKind::Initialized, version.zxid), Stage::Joining);
                }
                for slot in &mut self.lock().events {
                    if slot.stage == Stage::Joining {
                        slot.stage = Stage::Joined;
                    }
                }
            }
            Some(Work::Version { old, new }) => self.tell_difference(&old, &new, Stage::Joined, scratch),
            Some(Work::Event { kind, zxid }) => self.tell(&plain(kind, zxid), Stage::Joined),
            None => {}
        }
        let mut state = self.lock();
        state.scheduled = state.has_work();
        state.scheduled
    }

    /// Tells the difference of two versions, one event behind the walk, so that the last one is known as such.
    fn tell_difference(self: &Arc<Self>, old: &Version, new: &Version, stage: Stage, scratch: &mut Scratch) {
        struct Pending {
            kind: EventKind,
            node: Arc<Node>,
            old: Option<Arc<Node>>,
        }
        let tell = |pending: &Pending, path: &str, last_of_version| {
            let event = Event {
                kind: pending.kind,
                last_of_version,
                path: Some(path),
                node: Some(&pending.node),
                old: pending.old.as_ref(),
                zxid: new.zxid,
            };
            self.tell(&event, stage);
        };
        if !self.lock().events.iter().any(|slot| slot.stage == stage) {
            return;
        }
        let mut pending: Option<Pending> = None;
        changes(&old.tree, &new.tree, |relative, change| {
            if let Some(pending) = &pending {
                tell(pending, &scratch.path, false);
            }
            self.root.write_absolute(relative, &mut scratch.path);
            let (kind, node, old) = match change {
                Change::Removed { node } => (EventKind::NodeRemoved, node, None),
                Change::Added { node } => (EventKind::NodeAdded, node, None),
                Change::Updated { node, old } => (EventKind::NodeUpdated, node, Some(old)),
            };
            pending = Some(Pending { kind, node: node.clone(), old: old.cloned() });
        });
        if let Some(pending) = &pending {
            tell(pending, &scratch.path, true);
        }
    }

    /// Tells an event to all listeners that are at `stage`.
    fn tell(self: &Arc<Self>, event: &Event<'_>, stage: Stage) {
        self.call_each(
            |state| &mut state.events,
            stage,
            |callback| callback(event),
            |panic| {
                let message = format!("a listener of {} panicked: {panic}", self.root);
                log::error!("{message}");
                let mut fault = Fault::new(Status::Panic, message);
                fault.path = event.path.and_then(NodePath::of_server);
                self.fault(fault);
            },
        );
    }

    fn tell_fault(&self, fault: &Fault) {
        let mut told = false;
        self.call_each(
            |state| &mut state.faults,
            Stage::Joined,
            |callback| {
                told = true;
                callback(fault);
            },
            // Not a fault again: that would go round in circles.
            |panic| log::error!("a fault listener of {} panicked: {panic}", self.root),
        );
        if !told {
            log_fault(&self.root, fault);
        }
    }

    /// Calls the listeners at `stage`, one after the other, each without the lock.
    fn call_each<F: ?Sized>(
        &self,
        slots: impl Fn(&mut FeedState) -> &mut Vec<Slot<F>>,
        stage: Stage,
        mut call: impl FnMut(&mut F),
        panicked: impl Fn(&str),
    ) {
        let mut last = 0;
        loop {
            let mut state = self.lock();
            let next = slots(&mut state)
                .iter_mut()
                .find(|slot| slot.id > last && slot.stage == stage)
                .and_then(|slot| Some((slot.id, slot.callback.take()?)));
            let Some((id, mut callback)) = next else { return };
            state.running = true;
            drop(state);
            last = id;
            let outcome = catch(|| call(&mut callback));
            let mut state = self.lock();
            match slots(&mut state).iter_mut().find(|slot| slot.id == id) {
                Some(slot) => slot.callback = Some(callback),
                None => {
                    // Removed meanwhile: that was its last call.
                    drop(state);
                    if let Err(panic) = catch(|| drop(callback)) {
                        panicked(&panic);
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
                panicked(&panic);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeedState {
    fn next_id(&mut self) -> Result<u64, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.last_id += 1;
        Ok(self.last_id)
    }

    fn has_work(&self) -> bool {
        !self.closed
            && (!self.pending_faults.is_empty()
                || !self.backlog.is_empty()
                || self.events.iter().any(|slot| slot.stage == Stage::New))
    }

    /// Takes out what is to be told next. `told` moves on here, before the first call: who joins during one comes
    /// in at the new version.
    fn next(&mut self) -> Option<Work> {
        if let Some(fault) = self.pending_faults.pop_front() {
            return Some(Work::Fault(fault));
        }
        let mut joins = false;
        for slot in self.events.iter_mut().filter(|slot| slot.stage == Stage::New) {
            slot.stage = Stage::Joining;
            joins = true;
        }
        if joins {
            let initialized = self.backlog.belief().initialized;
            return Some(Work::Join { version: self.told.clone(), initialized });
        }
        Some(match self.backlog.pop()? {
            Item::Version { version, .. } => {
                let old = std::mem::replace(&mut self.told, version.clone());
                Work::Version { old, new: version }
            }
            Item::Event(kind) => {
                let zxid = match kind {
                    EventKind::Initialized | EventKind::InStep => self.told.zxid,
                    _ => Zxid::default(),
                };
                Work::Event { kind, zxid }
            }
        })
    }
}

fn plain(kind: EventKind, zxid: Zxid) -> Event<'static> {
    Event { kind, last_of_version: false, path: None, node: None, old: None, zxid }
}

fn log_fault(root: &NodePath, fault: &Fault) {
    let path = fault.path.as_ref().map_or(String::new(), |path| format!(" at {path}"));
    log::warn!("{root}: {:?}{path}: {}", fault.status, fault.message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Dispatcher;
    use crate::tree::Tree;
    use crate::tree::tests::node;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    /// A tree that a test edits and publishes.
    struct Author {
        feed: Arc<Feed>,
        tree: Tree,
        zxid: i64,
    }

    impl Author {
        fn new(dispatcher: &Dispatcher, capacity: usize) -> Author {
            let root = NodePath::new("/r").unwrap();
            let mut author = Author { feed: dispatcher.feed(root, capacity), tree: Tree::default(), zxid: 0 };
            author.put("");
            author
        }

        fn put(&mut self, path: &str) {
            self.zxid += 1;
            let czxid =
                self.tree.get(path).and_then(|entry| entry.node.as_ref()).map(|node| node.stat().czxid.0);
            assert!(self.tree.put(path, node(czxid.unwrap_or(self.zxid), self.zxid)));
        }

        fn publish(&mut self) {
            self.zxid += 1;
            let version =
                Version { tree: self.tree.clone(), zxid: Zxid(self.zxid), is_cut: true, is_complete: true };
            self.feed.publish(Arc::new(version), 1);
        }

        /// A listener whose events arrive here in words; the last of a version has a dot.
        fn listen(&self) -> (ListenerId, mpsc::Receiver<String>) {
            let (told, received) = mpsc::channel();
            let id = self.feed.listen(Box::new(move |event| _ = told.send(described(event)))).unwrap();
            (id, received)
        }
    }

    fn described(event: &Event<'_>) -> String {
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
                let replay = move |event: &Event<'_>| {
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
                author.feed.listen(Box::new(replay)).unwrap();
                listeners.push(map);
            }
        }
        let (_, last) = author.listen();
        author.feed.event(EventKind::InStep);
        while next(&last, 1) != ["InStep"] {}
        let mut expected = BTreeMap::new();
        let mut walk = author.tree.preorder();
        while let Some((path, entry)) = walk.next() {
            let path = author.feed.root().absolute(path).to_string();
            expected.insert(path, entry.node.as_ref().unwrap().stat().mzxid);
        }
        assert_eq!(*wrong.lock().unwrap(), [""; 0]);
        // IN_STEP went to the last listener last, so all have seen all.
        for map in listeners {
            assert_eq!(*map.lock().unwrap(), expected);
        }
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
        author.feed.listen(Box::new(slow)).unwrap();
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
                .listen(Box::new(move |_| {
                    late.fetch_add(seen.load(Ordering::SeqCst), Ordering::SeqCst);
                    counted.fetch_add(1, Ordering::SeqCst);
                }))
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
            .listen(Box::new(move |_| {
                entered.send(()).unwrap();
                _ = open.recv();
                assert_eq!(token.0.load(Ordering::SeqCst), 0);
            }))
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
        let refused = author.feed.listen(Box::new(move |_| _ = &token));
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
        *id.lock().unwrap() = Some(author.feed.listen(Box::new(listener)).unwrap());
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
        author.feed.listen_fault(Box::new(|_| panic!("fault listeners may panic too"))).unwrap();
        author
            .feed
            .listen_fault(Box::new(move |fault| {
                told.send(format!("{:?} {:?} {}", fault.status, fault.path, fault.message)).unwrap();
            }))
            .unwrap();
        author.feed.listen(Box::new(|_| panic!("on purpose"))).unwrap();
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
        let feed = dispatcher.feed(NodePath::root(), 1);
        let (entered, running) = mpsc::channel();
        let (gate, open) = mpsc::channel::<()>();
        feed.listen_fault(Box::new(move |_| {
            _ = entered.send(());
            _ = open.recv();
        }))
        .unwrap();
        feed.fault(Fault::new(Status::Connection, "first"));
        running.recv().unwrap();
        for n in 0..1000 {
            feed.fault(Fault::new(Status::Connection, n.to_string()));
            feed.fault(Fault::new(Status::Connection, n.to_string()));
        }
        assert_eq!(feed.lock().pending_faults.len(), MOST_FAULTS);
        drop(gate);
    }

    #[test]
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
        author.feed.listen(Box::new(listener)).unwrap();
        author.publish();
        assert_eq!(next(&received, 1), ["1 Some(\"treecache-events\") true"]);
    }
}
