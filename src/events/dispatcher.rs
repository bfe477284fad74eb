//! The thread of a client on which every callback runs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::backlog::Capacity;
use super::faults::Faults;
use super::feed::{Feed, Feeds};
use super::feed_root::FeedRoot;
use super::listeners::{Listeners, become_dispatcher, on_dispatcher_thread};
use super::mailbox::Mailbox;
use crate::panics::catch;
use crate::thread;

/// Runs the callbacks of one client and its caches, one after the other. Dropping it ends the thread and waits for it,
/// except on a dispatcher thread: then the thread ends by itself when its callback has returned.
pub(crate) struct Dispatcher {
    /// The [`Listeners`] in which somebody may have a turn. Each of them is in it once at most.
    mailbox: Arc<Mailbox<Arc<Listeners>>>,
    feeds: Arc<Feeds>,
    /// Those of the client.
    faults: Arc<Faults>,
    thread: Mutex<Thread>,
}

/// The thread of a dispatcher.
enum Thread {
    /// Not before somebody has a listener. Calls this if it panics.
    Deferred(Box<dyn Fn(String) + Send>),
    Running(JoinHandle<()>),
    /// It could not be started.
    None,
}

impl Dispatcher {
    /// If the thread panics, and no listener is to blame for it, the thread calls `panicked`.
    pub(crate) fn spawn(panicked: impl Fn(String) + Send + 'static) -> io::Result<Dispatcher> {
        let dispatcher = Dispatcher::deferred(panicked);
        dispatcher.start()?;
        Ok(dispatcher)
    }

    /// As [`spawn`](Self::spawn), without a thread until [`start`](Self::start).
    pub(crate) fn deferred(panicked: impl Fn(String) + Send + 'static) -> Dispatcher {
        let thread = Mutex::new(Thread::Deferred(Box::new(panicked)));
        Dispatcher {
            mailbox: Arc::new(Mailbox::new()),
            feeds: Arc::default(),
            faults: Arc::default(),
            thread,
        }
    }

    /// Starts the thread, if it was not started.
    pub(crate) fn start(&self) -> io::Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        *thread = match std::mem::replace(&mut *thread, Thread::None) {
            Thread::Deferred(panicked) => {
                let own = self.mailbox.clone();
                Thread::Running(thread::spawn("treecache-events", move || run(&own, panicked))?)
            }
            Thread::None => return Err(io::Error::other("it could not be started before")),
            running @ Thread::Running(_) => running,
        };
        Ok(())
    }

    /// Makes a new feed, and its listeners (none yet), whose callbacks run on this thread. The feed's paths are at or
    /// below `root`; `capacity` is what may wait for one listener.
    pub(crate) fn listeners(&self, root: impl Into<FeedRoot>, capacity: Capacity) -> Arc<Listeners> {
        let feed = Arc::new(Feed::new(root, self.faults.clone()));
        self.feeds.add(&feed);
        Arc::new(Listeners::new(feed, capacity, self.mailbox.clone()))
    }

    /// The feeds of its listeners.
    pub(crate) fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        self.mailbox.close();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Thread::Running(thread) = std::mem::replace(thread, Thread::None)
            && !on_dispatcher_thread()
            && thread.join().is_err()
        {
            log::error!("the dispatcher thread has panicked");
        }
    }
}

fn run(mailbox: &Mailbox<Arc<Listeners>>, panicked: impl Fn(String)) {
    become_dispatcher();
    while let Some(listeners) = mailbox.receive() {
        match catch(|| listeners.step()) {
            // Back into the mailbox, behind the others: so one feed does not starve them.
            Ok(true) => _ = mailbox.send(listeners),
            Ok(false) => {}
            Err(message) => {
                // This drops listeners, which are the user's and may panic.
                _ = catch(|| listeners.recover());
                panicked(format!("in the delivery of events of {}: {message}", listeners.feed().root()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Event;
    use crate::events::tests::Author;
    use crate::events::wants::Wants;
    use std::sync::mpsc;
    use std::time::Duration;

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
        author.listeners.listen(Wants::EVENTS, listener).unwrap();
        author.publish();
        assert_eq!(
            received.recv_timeout(Duration::from_secs(10)).as_deref(),
            Ok("1 Some(\"treecache-events\") true")
        );
    }
}
