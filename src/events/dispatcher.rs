//! The thread of a client on which every callback runs.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use super::backlog::Capacity;
use super::feed::Feed;
use crate::error::Status;
use crate::fork::Origin;
use crate::panics::catch;
use crate::path::NodePath;
use crate::thread;

pub(super) enum Command {
    /// The feed has something to tell. It is in the mailbox once at most.
    Ready(Arc<Feed>),
    Stop,
}

/// What the thread is told, in order. (A channel would do, but to wake its reader it gives the calling thread, which
/// is the user's, a handle of Rust's that is never taken back from a program's first thread.)
pub(super) struct Mailbox {
    /// `None` once the thread has ended.
    commands: Mutex<Option<VecDeque<Command>>>,
    arrived: Condvar,
}

impl Mailbox {
    fn new() -> Mailbox {
        Mailbox { commands: Mutex::new(Some(VecDeque::new())), arrived: Condvar::new() }
    }

    /// Returns whether there is still a thread to take it.
    pub(super) fn send(&self, command: Command) -> bool {
        let mut commands = self.lock();
        let Some(open) = commands.as_mut() else { return false };
        open.push_back(command);
        drop(commands);
        self.arrived.notify_one();
        true
    }

    /// The next command; `None` when the mailbox is closed.
    fn receive(&self) -> Option<Command> {
        let mut commands = self.lock();
        loop {
            match commands.as_mut()?.pop_front() {
                Some(command) => return Some(command),
                None => commands = self.arrived.wait(commands).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn close(&self) {
        let left = self.lock().take();
        // Not under the lock: a feed that goes with it drops listeners, which are the user's.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Command>>> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the callbacks of one client and its caches, one after the other. Dropping it ends the thread and waits for
/// it, except on a dispatcher thread: then a thread ends by itself when the callback has returned.
pub(crate) struct Dispatcher {
    mailbox: Arc<Mailbox>,
    feeds: Arc<Feeds>,
    thread: Option<JoinHandle<()>>,
}

thread_local! {
    /// Where this thread became a dispatcher. In the child of a fork that a callback made, it is one no more.
    static DISPATCHES_IN: Cell<Option<Origin>> = const { Cell::new(None) };
}

/// Whether this thread is a dispatcher (of any client), that is, runs a callback.
pub(crate) fn on_dispatcher_thread() -> bool {
    DISPATCHES_IN.get().is_some_and(Origin::is_here)
}

impl Dispatcher {
    /// `panicked` is told, on the thread, of a panic that no listener is to blame for.
    pub(crate) fn spawn(panicked: impl Fn(String) + Send + 'static) -> io::Result<Dispatcher> {
        let mailbox = Arc::new(Mailbox::new());
        let own = mailbox.clone();
        let thread = thread::spawn("treecache-events", move || run(&own, panicked))?;
        Ok(Dispatcher { mailbox, feeds: Arc::default(), thread: Some(thread) })
    }

    /// A feed whose callbacks run on this thread. `root` is what its paths are below, `capacity` what may
    /// wait for one of its listeners.
    pub(crate) fn feed(&self, root: NodePath, capacity: Capacity) -> Arc<Feed> {
        let feed = Arc::new(Feed::new(root, capacity, self.mailbox.clone()));
        self.feeds.add(&feed);
        feed
    }

    pub(crate) fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }
}

/// The feeds of a dispatcher that are still there.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<FeedsState>);

#[derive(Default)]
struct FeedsState {
    feeds: Vec<Weak<Feed>>,
    /// Nothing follows for any of them, nor for one that comes late; and why.
    end: Option<Status>,
}

impl Feeds {
    fn add(&self, feed: &Arc<Feed>) {
        let mut state = self.lock();
        // Each time there is no room: so rarely that it costs nothing.
        if state.feeds.len() == state.feeds.capacity() {
            state.feeds.retain(|feed| feed.strong_count() > 0);
        }
        state.feeds.push(Arc::downgrade(feed));
        if let Some(status) = state.end {
            feed.end(status);
        }
    }

    /// Nothing follows for any of them.
    pub(crate) fn end(&self, status: Status) {
        let mut state = self.lock();
        state.end.get_or_insert(status);
        state.feeds.iter().filter_map(Weak::upgrade).for_each(|feed| feed.end(status));
    }

    fn lock(&self) -> MutexGuard<'_, FeedsState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.mailbox.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && !on_dispatcher_thread()
            && thread.join().is_err()
        {
            log::error!("the dispatcher thread has panicked");
        }
    }
}

fn run(mailbox: &Mailbox, panicked: impl Fn(String)) {
    DISPATCHES_IN.set(Some(Origin::here()));
    while let Some(Command::Ready(feed)) = mailbox.receive() {
        match catch(|| feed.step()) {
            // Behind the others: one feed does not starve them.
            Ok(true) => _ = mailbox.send(Command::Ready(feed)),
            Ok(false) => {}
            Err(message) => {
                // Drops listeners, which are the user's.
                _ = catch(|| feed.recover());
                panicked(format!("in the delivery of events of {}: {message}", feed.root()));
            }
        }
    }
    mailbox.close();
}
