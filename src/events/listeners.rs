//! The listeners of one cache (or client): their callbacks, whose turn it is, the call itself, and where a panic in it
//! goes.
//!
//! The dispatcher looks only at those who may have something to be told, and no wake-up is lost:
//!
//! - Whoever puts something into a listener's consumer gives the listener a turn *behind* that (`arrived`). The
//!   dispatcher takes the turn away *before* it looks at the consumer, and gives it back when it leaves something there
//!   (`step`). So what was put in before the dispatcher looked is seen by it, or left and has a turn; and what is put in
//!   after that brings a turn which nobody takes away before the next look.
//! - A listener that joins is looked at once it is there: what was put in before brought a turn for nobody.
//! - Where there are turns, the dispatcher knows it: `scheduled` is only cleared where there are none, under the lock
//!   under which turns are given, and whoever gives one while it is not set sends the letter.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::backlog::Capacity;
use super::consumer::{Consumer, Wants};
use super::feed::Feed;
use super::mailbox::Mailbox;
use super::told::{Event, ListenerId, Told};
use super::turns::Turns;
use crate::error::{Error, Fault, Status};
use crate::fork::Origin;
use crate::panics::catch;
use crate::path::NodePath;
use crate::planted::{self, Defect};

type Callback = dyn FnMut(Told<'_>) + Send;

/// Listeners, behind one lock that is never held while a callback runs. Whether a callback may start is decided under
/// it, so none starts once `close` or `unlisten` has returned.
pub(crate) struct Listeners {
    feed: Arc<Feed>,
    /// What may wait for one of them.
    capacity: Capacity,
    state: Mutex<State>,
    /// A callback has returned.
    idle: Condvar,
    dispatcher: Arc<Mailbox<Arc<Listeners>>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The dispatcher has them in its mailbox or in its hands.
    scheduled: bool,
    /// A callback runs, or is being dropped behind its last call.
    running: bool,
    /// Threads that wait for `running` to become false.
    waiters: usize,
    last_id: u64,
    listeners: BTreeMap<ListenerId, Listener>,
    turns: Turns,
}

struct Listener {
    consumer: Arc<Consumer>,
    /// `None` while it runs: then the dispatcher has it, and drops it when it finds the listener gone.
    callback: Option<Box<Callback>>,
}

thread_local! {
    /// Where this thread became a dispatcher. In the child of a fork that a callback made, it is one no more.
    static DISPATCHES_IN: Cell<Option<Origin>> = const { Cell::new(None) };
}

/// From now on this thread is a dispatcher.
pub(super) fn become_dispatcher() {
    DISPATCHES_IN.set(Some(Origin::here()));
}

/// Whether this thread is a dispatcher (of any client), that is, runs a callback.
pub(crate) fn on_dispatcher_thread() -> bool {
    DISPATCHES_IN.get().is_some_and(Origin::is_here)
}

impl Listeners {
    /// Those of `feed`, to be called by the thread that reads the letters to `dispatcher`.
    pub(super) fn new(
        feed: Arc<Feed>,
        capacity: Capacity,
        dispatcher: Arc<Mailbox<Arc<Listeners>>>,
    ) -> Listeners {
        Listeners { feed, capacity, state: Mutex::default(), idle: Condvar::new(), dispatcher }
    }

    /// What they listen to.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    // --- Who comes and goes --------------------------------------------------------------------------------------

    /// Adds a listener, which is told the tree so far first.
    pub(crate) fn listen(
        self: &Arc<Self>,
        mut callback: impl FnMut(&Event<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        let callback = move |told: Told<'_>| {
            if let Told::Event(event) = told {
                callback(event);
            }
        };
        self.add(Wants::EVENTS, Box::new(callback))
    }

    pub(crate) fn listen_fault(
        self: &Arc<Self>,
        mut callback: impl FnMut(&Fault) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        let callback = move |told: Told<'_>| {
            if let Told::Fault(fault) = told {
                callback(fault);
            }
        };
        self.add(Wants::FAULTS, Box::new(callback))
    }

    fn add(self: &Arc<Self>, wants: Wants, callback: Box<Callback>) -> Result<ListenerId, Error> {
        let id = self.lock().new_id();
        // The feed must not keep its listeners.
        let listeners = Arc::downgrade(self);
        let on_arrival = move || {
            if let Some(listeners) = listeners.upgrade() {
                listeners.arrived(id);
            }
        };
        let consumer = self.feed.join(wants, self.capacity, Some(Box::new(on_arrival)))?;
        let mut state = self.lock();
        if state.closed {
            // Meanwhile; and with it the feed, or soon.
            return Err(Error::Closed);
        }
        state.listeners.insert(id, Listener { consumer: consumer.clone(), callback: Some(callback) });
        drop(state);
        if consumer.has_something() {
            self.arrived(id);
        }
        Ok(id)
    }

    /// Removes a listener. None of its calls starts after this; one may be running.
    pub(crate) fn unlisten(&self, id: ListenerId) -> Result<(), Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let Some(listener) = state.listeners.remove(&id) else {
            return Err(Error::InvalidArgument(format!("no listener has the id {}", id.0)));
        };
        state.turns.remove(id);
        drop(state);
        self.let_go(listener);
        Ok(())
    }

    /// Lets all consumers of the feed go; no call starts after this. Never waits.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let listeners = state.take_all();
        drop(state);
        self.feed.close();
        drop(listeners);
    }

    /// In the child of a fork, which has no dispatcher: lets all consumers of the feed go that no thread of the parent
    /// had in its hands.
    pub(crate) fn abandon(self: &Arc<Self>) {
        match self.state.try_lock() {
            // For ever, and what it guards may be half done.
            Err(TryLockError::WouldBlock) => {
                let root = self.feed.root();
                log::warn!("{root}: its listeners are not freed, they were in use at the fork");
                std::mem::forget(self.clone());
            }
            Err(TryLockError::Poisoned(poisoned)) => abandon_all(poisoned.into_inner()),
            Ok(state) => abandon_all(state),
        }
        self.feed.abandon();
    }

    /// After a panic in `step`: lets the listeners of events go. Those of faults stay, since there is one to tell.
    pub(super) fn recover(self: &Arc<Self>) {
        let mut state = self.lock();
        let all = state.take_all().into_iter();
        let (gone, left): (BTreeMap<_, _>, BTreeMap<_, _>) =
            all.partition(|(_, listener): &(ListenerId, Listener)| listener.consumer.wants().events);
        state.listeners = left;
        let left: Vec<ListenerId> = state.listeners.keys().copied().collect();
        left.into_iter().for_each(|id| state.give_turn(id));
        state.running = false;
        state.scheduled = false;
        self.schedule(&mut state);
        drop(state);
        self.idle.notify_all();
        gone.into_values().for_each(|listener| self.let_go(listener));
    }

    /// Not under a lock: what goes with a listener is the user's.
    fn let_go(&self, listener: Listener) {
        self.feed.leave(&listener.consumer);
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

    // --- Turns ---------------------------------------------------------------------------------------------------

    /// There may be something to tell a listener, which was put in before this.
    fn arrived(self: &Arc<Self>, id: ListenerId) {
        let mut state = self.lock();
        state.give_turn(id);
        self.schedule(&mut state);
    }

    /// Lets the dispatcher know when somebody has a turn, unless it knows.
    fn schedule(self: &Arc<Self>, state: &mut State) {
        if !state.scheduled && !state.turns.is_empty() {
            // Fails when the dispatcher has ended: then nobody is left to be told.
            state.scheduled = self.dispatcher.send(self.clone());
        }
    }

    /// Tells one listener the next thing that waits for it: a version to its end, or something else. Returns whether
    /// there is more for one of them. Only for the dispatcher.
    pub(super) fn step(&self) -> bool {
        let next = self.lock().next_turn();
        if let Some((id, consumer)) = next {
            self.tell_next(id, &consumer);
            if consumer.has_something() {
                self.lock().give_turn(id);
            }
        }
        let mut state = self.lock();
        state.scheduled = !state.turns.is_empty();
        state.scheduled
    }

    fn tell_next(&self, id: ListenerId, consumer: &Consumer) {
        let tell = |told: Told<'_>| {
            let is_amid_version = match told {
                Told::Fault(_) => false,
                Told::Event(event) => {
                    planted::panic_if(Defect::PanicOnDispatcherThread);
                    event.path.is_some() && !event.last_of_version
                }
            };
            self.call(id, told);
            is_amid_version
        };
        while consumer.take(tell) == Some(true) {}
    }

    // --- The call ------------------------------------------------------------------------------------------------

    /// Calls a listener, without the lock, if it is still there.
    fn call(&self, id: ListenerId, told: Told<'_>) {
        let mut state = self.lock();
        let Some(mut callback) = state.callback(id).and_then(Option::take) else { return };
        state.running = true;
        drop(state);
        let outcome = catch(|| callback(told));
        let mut state = self.lock();
        match state.callback(id) {
            Some(place) => *place = Some(callback),
            None => {
                // Removed meanwhile: that was its last call.
                drop(state);
                if let Err(panic) = catch(|| drop(callback)) {
                    self.panicked(told, &panic);
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
            self.panicked(told, &panic);
        }
    }

    /// A listener did.
    fn panicked(&self, told: Told<'_>, panic: &str) {
        let root = self.feed.root();
        match told {
            Told::Event(event) => {
                let message = format!("a listener of {root} panicked: {panic}");
                log::error!("{message}");
                let mut fault = Fault::new(Status::Panic, message);
                fault.path = event.path.and_then(NodePath::of_server);
                self.feed.fault(fault);
            }
            // Not a fault again: that would go round in circles.
            Told::Fault(_) => log::error!("a fault listener of {root} panicked: {panic}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn abandon_all(mut state: MutexGuard<'_, State>) {
    state.closed = true;
    let listeners = state.take_all();
    drop(state);
    listeners.into_values().for_each(|listener| listener.consumer.abandon());
}

impl State {
    fn new_id(&mut self) -> ListenerId {
        self.last_id += 1;
        ListenerId(self.last_id)
    }

    fn take_all(&mut self) -> BTreeMap<ListenerId, Listener> {
        self.turns = Turns::default();
        std::mem::take(&mut self.listeners)
    }

    /// If the listener is there.
    fn give_turn(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get(&id) {
            self.turns.add(id, listener.consumer.wants());
        }
    }

    /// Takes away a turn. Who has one is there.
    fn next_turn(&mut self) -> Option<(ListenerId, Arc<Consumer>)> {
        let id = self.turns.next()?;
        Some((id, self.listeners.get(&id)?.consumer.clone()))
    }

    /// Where the callback of a listener is kept, which is there.
    fn callback(&mut self, id: ListenerId) -> Option<&mut Option<Box<Callback>>> {
        self.listeners.get_mut(&id).map(|listener| &mut listener.callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Dispatcher;
    use crate::events::consumer::MOST_FAULTS;
    use crate::events::consumer::tests::hold;
    use crate::events::tests::{Author, described, room};
    use crate::state::EventKind;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    const BOUND: Duration = Duration::from_secs(10);

    /// A listener whose events arrive here in words; the last of a version has a dot.
    fn heard(author: &Author) -> (ListenerId, mpsc::Receiver<String>) {
        let (told, received) = mpsc::channel();
        let id = author.listeners.listen(move |event| _ = told.send(described(event))).unwrap();
        (id, received)
    }

    fn next(received: &mpsc::Receiver<String>, count: usize) -> Vec<String> {
        (0..count).map(|_| received.recv_timeout(BOUND).expect("an event comes")).collect()
    }

    #[test]
    fn events_are_the_differences_of_versions_in_order() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let (_, received) = heard(&author);
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
        let (_, early) = heard(&author);
        assert_eq!(next(&early, 2), ["+/r", "+/r/a."]);
        author.feed.event(EventKind::Initialized);
        assert_eq!(next(&early, 1), ["Initialized"]);
        let (_, late) = heard(&author);
        author.put("b");
        author.publish();
        assert_eq!(next(&late, 4), ["+/r", "+/r/a.", "Initialized", "+/r/b."]);
        assert_eq!(next(&early, 1), ["+/r/b."]);
        author.feed.event(EventKind::ConnectionLost);
        assert_eq!(next(&early, 1), ["ConnectionLost"]);
        let (_, later) = heard(&author);
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
                author.listeners.listen(replay).unwrap();
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
        author.listeners.listen(slow).unwrap();
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
                .listeners
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
                0 => author.listeners.unlisten(id).unwrap(),
                _ => author.listeners.close(),
            }
            author.listeners.wait_idle();
            over.store(1, Ordering::SeqCst);
            assert!(author.listeners.unlisten(id).is_err());
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
            .listeners
            .listen(move |_| {
                entered.send(()).unwrap();
                _ = open.recv();
                assert_eq!(token.0.load(Ordering::SeqCst), 0);
            })
            .unwrap();
        author.publish();
        running.recv().unwrap();
        author.listeners.unlisten(id).unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 0, "it is running");
        drop(gate);
        author.listeners.wait_idle();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        author.listeners.close();
        let token = Token(drops.clone());
        let refused = author.listeners.listen(move |_| _ = &token);
        assert_eq!((refused, drops.load(Ordering::SeqCst)), (Err(Error::Closed), 2));
    }

    #[test]
    fn a_listener_may_remove_itself_and_close_its_feed() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let id = Arc::new(Mutex::new(None));
        let (own, listeners) = (id.clone(), author.listeners.clone());
        let (told, received) = mpsc::channel();
        let listener = move |_: &Event<'_>| {
            told.send(String::new()).unwrap();
            let id = own.lock().unwrap().unwrap();
            listeners.unlisten(id).unwrap();
            listeners.close();
            listeners.wait_idle();
        };
        *id.lock().unwrap() = Some(author.listeners.listen(listener).unwrap());
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
        author.listeners.listen_fault(|_| panic!("fault listeners may panic too")).unwrap();
        author
            .listeners
            .listen_fault(move |fault| {
                told.send(format!("{:?} {:?} {}", fault.status, fault.path, fault.message)).unwrap();
            })
            .unwrap();
        author.listeners.listen(|_| panic!("on purpose")).unwrap();
        let (_, received) = heard(&author);
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
        let listeners = dispatcher.listeners(NodePath::root(), room(1));
        let (entered, running) = mpsc::channel();
        let (gate, open) = mpsc::channel::<()>();
        listeners
            .listen_fault(move |_| {
                _ = entered.send(());
                _ = open.recv();
            })
            .unwrap();
        listeners.feed().fault(Fault::new(Status::Connection, "first"));
        running.recv().unwrap();
        for n in 0..1000 {
            listeners.feed().fault(Fault::new(Status::Connection, n.to_string()));
            listeners.feed().fault(Fault::new(Status::Connection, n.to_string()));
        }
        drop(gate);
        let told = std::iter::from_fn(|| running.recv_timeout(Duration::from_millis(500)).ok()).count();
        assert_eq!(told, MOST_FAULTS);
    }

    #[test]
    fn who_has_nothing_to_be_told_is_not_looked_at() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let mut author = Author::new(&dispatcher, 1000);
        let (told, faults) = mpsc::channel();
        let id = author.listeners.listen_fault(move |fault| _ = told.send(fault.message.clone())).unwrap();
        let (_, received) = heard(&author);
        let idle = author.listeners.lock().listeners[&id].consumer.clone();
        let held = hold(&idle);
        author.put("a");
        author.publish();
        author.feed.event(EventKind::InStep);
        assert_eq!(next(&received, 3), ["+/r", "+/r/a.", "InStep"]);
        drop(held);
        author.feed.fault(Fault::new(Status::Connection, "refused"));
        assert_eq!(next(&faults, 1), ["refused"]);
    }

    #[test]
    fn what_is_put_in_while_the_dispatcher_looks_is_told() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        let author = Author::new(&dispatcher, 1000);
        let told = Arc::new(AtomicUsize::new(0));
        let counted = told.clone();
        author.listeners.listen(move |_| _ = counted.fetch_add(1, Ordering::SeqCst)).unwrap();
        for round in 0..10_000 {
            author.feed.event(EventKind::InStep);
            let asked = Instant::now();
            let mut spins = 0;
            while told.load(Ordering::SeqCst) <= round {
                spins += 1;
                if spins % 1000 == 0 {
                    assert!(asked.elapsed() < BOUND, "event {round} is not told");
                    std::thread::yield_now();
                }
                std::hint::spin_loop();
            }
            // The next one comes as the dispatcher finds nothing more: now a bit sooner, now a bit later.
            (0..round % 50).for_each(|_| std::hint::spin_loop());
        }
    }

    #[test]
    fn who_joins_while_something_is_put_in_is_told_it() {
        let dispatcher = Dispatcher::spawn(drop).unwrap();
        for _ in 0..300 {
            let author = Author::new(&dispatcher, 1000);
            author.feed.event(EventKind::Initialized);
            std::thread::scope(|scope| {
                scope.spawn(|| author.feed.event(EventKind::InStep));
                let (_, received) = heard(&author);
                assert_eq!(next(&received, 1), ["Initialized"]);
            });
            let (_, late) = heard(&author);
            assert_eq!(next(&late, 1), ["Initialized"]);
            author.listeners.close();
        }
    }

    #[test]
    fn after_a_panic_of_the_dispatcher_those_of_faults_are_told_what_waits() {
        let mailbox = Arc::new(Mailbox::new());
        let feed = Arc::new(Feed::new(NodePath::root()));
        let listeners = Arc::new(Listeners::new(feed.clone(), room(1000), mailbox.clone()));
        let (told, received) = mpsc::channel();
        let events = listeners.listen(|_| {}).unwrap();
        listeners.listen_fault(move |fault| told.send(fault.message.clone()).unwrap()).unwrap();
        feed.fault(Fault::new(Status::Connection, "refused"));
        // As if it had panicked with the turn in its hands.
        assert!(mailbox.receive().unwrap().lock().next_turn().is_some());
        listeners.recover();
        assert!(listeners.unlisten(events).is_err());
        assert!(!mailbox.receive().unwrap().step());
        assert_eq!(received.try_recv().as_deref(), Ok("refused"));
    }
}
