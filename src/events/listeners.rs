//! The listeners of one cache (or client): their callbacks, whose turn it is, the call itself, and where a panic in it
//! goes.
//!
//! The dispatcher looks only at those who may have something to be told, and no wake-up is lost:
//!
//! - Whoever puts something into a listener's consumer gives the listener a turn *behind* that (`arrived`). The
//!   dispatcher takes the turn away *before* it looks at the consumer, and gives it back when it leaves something there
//!   (`step`). So if something was put in before the dispatcher looked, the dispatcher takes it, or leaves it there and
//!   gives the turn back. If something is put in later, it brings a turn that nobody takes away before the next look.
//! - When a listener has joined, `add` looks whether something waits for it: what was put in before could give a turn
//!   to nobody.
//! - If somebody has a turn, the dispatcher knows it. `scheduled` is cleared only if nobody has a turn, under the lock
//!   under which turns are given; and whoever gives a turn while `scheduled` is not set sends the letter.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use super::backlog::Capacity;
use super::consumer::Consumer;
use super::feed::Feed;
use super::mailbox::Mailbox;
use super::told::{Event, ListenerId, Told};
use super::turns::Turns;
use super::wants::Wants;
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
    /// The dispatcher has these listeners in its mailbox, or is at work on them.
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
    /// In which process this thread became a dispatcher. If a callback forks, this thread is no dispatcher in the
    /// child.
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
    /// The listeners of `feed`. The thread that reads the letters to `dispatcher` calls them.
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

    /// Adds a listener of events, which is told what it wants of them.
    pub(crate) fn listen(
        self: &Arc<Self>,
        wants: Wants,
        mut callback: impl FnMut(&Event<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        let callback = move |told: Told<'_>| {
            if let Told::Event(event) = told {
                callback(event);
            }
        };
        self.add(wants, Box::new(callback))
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
            // They were closed meanwhile. The feed is closed too, or will be soon.
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

    /// To be called in the child of a fork, which has no dispatcher: lets go of all consumers of the feed that no
    /// thread of the parent was using at the fork.
    pub(crate) fn abandon(self: &Arc<Self>) {
        match self.state.try_lock() {
            // The lock is held for ever, and what it guards may be half changed.
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

    /// After a panic in `step`: lets go of the listeners of events. The listeners of faults stay, since there is a
    /// fault to tell.
    pub(super) fn recover(self: &Arc<Self>) {
        let mut state = self.lock();
        let all = state.take_all().into_iter();
        let (gone, left): (BTreeMap<_, _>, BTreeMap<_, _>) = all
            .partition(|(_, listener): &(ListenerId, Listener)| listener.consumer.wants().events.is_some());
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

    /// Call it without a lock: to drop a listener runs code of the user's.
    fn let_go(&self, listener: Listener) {
        self.feed.leave(&listener.consumer);
    }

    /// Waits until no callback runs. On a dispatcher thread it does not wait, since that would be for ever.
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

    /// Gives a turn to a listener, after something was put in for it.
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

    /// Reports that a listener panicked: in the log, and as a fault unless the listener was being told a fault.
    fn panicked(&self, told: Told<'_>, panic: &str) {
        let root = self.feed.root();
        match told {
            Told::Event(event) => {
                let message = format!("a listener of {root} panicked: {panic}");
                log::error!("{message}");
                let mut fault = Fault::new(Status::Panic, message);
                fault.path = event.path.and_then(NodePath::of_server);
                self.feed.fault(&fault);
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

    /// Gives a turn to a listener, if it is still there.
    fn give_turn(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get(&id) {
            self.turns.add(id, listener.consumer.wants().events.is_none());
        }
    }

    /// Takes away the next turn. A listener that has a turn is there.
    fn next_turn(&mut self) -> Option<(ListenerId, Arc<Consumer>)> {
        let id = self.turns.next()?;
        Some((id, self.listeners.get(&id)?.consumer.clone()))
    }

    /// Where the callback of a listener is kept; `None` if the listener is gone.
    fn callback(&mut self, id: ListenerId) -> Option<&mut Option<Box<Callback>>> {
        self.listeners.get_mut(&id).map(|listener| &mut listener.callback)
    }
}

#[cfg(test)]
mod tests;
