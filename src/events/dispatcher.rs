//! The thread of a client on which every callback runs.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::feed::{Feed, Scratch};
use crate::path::NodePath;
use crate::thread;

pub(super) enum Command {
    /// The feed has something to tell. It is in the channel once at most.
    Ready(Arc<Feed>),
    Stop,
}

/// Runs the callbacks of one client and its caches, one after the other. Dropping it ends the thread and waits for
/// it, except on a dispatcher thread: then a thread ends by itself when the callback has returned.
pub(crate) struct Dispatcher {
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

thread_local! {
    static IS_DISPATCHER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is a dispatcher (of any client), that is, runs a callback.
pub(crate) fn on_dispatcher_thread() -> bool {
    IS_DISPATCHER.get()
}

impl Dispatcher {
    pub(crate) fn spawn() -> io::Result<Dispatcher> {
        let (commands, received) = unbounded();
        let back = commands.clone();
        let thread = thread::spawn("treecache-events", move || run(&received, &back))?;
        Ok(Dispatcher { commands, thread: Some(thread) })
    }

    /// A feed whose callbacks run on this thread. `root` is what its paths are below, `capacity` how many events
    /// may wait.
    pub(crate) fn feed(&self, root: NodePath, capacity: usize) -> Arc<Feed> {
        Arc::new(Feed::new(root, capacity, self.commands.clone()))
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        // The thread is there, so is the receiver.
        _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && !on_dispatcher_thread()
            && thread.join().is_err()
        {
            log::error!("the dispatcher thread has panicked");
        }
    }
}

fn run(received: &Receiver<Command>, back: &Sender<Command>) {
    IS_DISPATCHER.set(true);
    let mut scratch = Scratch::default();
    while let Ok(Command::Ready(feed)) = received.recv() {
        match catch_unwind(AssertUnwindSafe(|| feed.step(&mut scratch))) {
            // Behind the others: one feed does not starve them.
            Ok(true) => _ = back.send(Command::Ready(feed)),
            Ok(false) => {}
            Err(_) => {
                log::error!("{}: a defect in the delivery of events; its listeners are let go", feed.root());
                _ = catch_unwind(AssertUnwindSafe(|| feed.close()));
            }
        }
    }
}
