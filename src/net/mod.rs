//! The I/O thread of a client: sockets, TLS, names, timers. It pumps bytes between a socket and an
//! [`Engine`] and does not know what they mean.

mod connector;
mod contact;
mod driver;
mod errand;
mod inherited;
mod renewal;
mod socket;
mod tls;
mod trust;
mod waker;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use mio::Poll;

pub use contact::{Connection, Contact};
pub use tls::{InvalidFile, Tls, TlsFiles};

use self::connector::Connector;
use self::driver::{Driver, SOCKET, WAKER};
use self::inherited::Inherited;
use self::renewal::Renewal;
use self::waker::Waker;
use crate::clock;
use crate::engine::Engine;
use crate::error::Fault;
use crate::panics::catch;
use crate::session::Settings;
use crate::sync::{CacheId, Input, Output, SyncMode};
use crate::thread;

/// Where the I/O thread tells what one cache has to tell. It is called on the I/O thread, in the order in which things
/// happened, and must not block.
pub trait CacheSink: Send + Sync {
    /// Takes what is told.
    fn tell(&self, output: Output);
}

enum Command {
    Attach(CacheId, Arc<dyn CacheSink>),
    Input(CacheId, Input),
    ShutDown,
    Fail(String),
}

/// The I/O thread of a client. Dropping it does not end the thread: call [`shut_down`](IoThread::shut_down).
pub struct IoThread {
    waker: Arc<Waker>,
    contact: Arc<Contact>,
    inherited: Arc<Inherited>,
    /// `None` once it was told to shut down.
    commands: Mutex<Option<Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl IoThread {
    /// Starts the thread; it connects at once, in the background, with TLS where that is given. `fault` is called on the
    /// I/O thread with what concerns the whole client (such faults go to every cache's sink too).
    pub fn spawn(
        settings: Settings,
        sync_mode: SyncMode,
        tls: Option<Tls>,
        fault: impl Fn(Fault) + Send + 'static,
    ) -> std::io::Result<IoThread> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, received) = unbounded();
        let now = clock::now();
        let contact = Arc::new(Contact::new(now));
        // A resolver that is slower is worth less than what it said before.
        let patience = settings.connect_timeout.min(settings.resolve_timeout);
        let engine = Engine::new(settings, sync_mode, fastrand::Rng::with_seed(seed()), now);
        let inherited = Arc::new(Inherited::new(&poll));
        let mut driver = Driver::new(
            poll,
            received,
            contact.clone(),
            Connector::new(SOCKET, waker.clone(), inherited.clone(), patience),
            Box::new(fault),
            engine,
            tls.map(|tls| Renewal::new(tls, waker.clone())),
        );
        let ending = inherited.clone();
        let thread = thread::spawn("treecache-io", move || {
            if let Err(message) = catch(|| driver.run()) {
                log::error!("a thread panicked: {message}");
                driver.fail_all(&message);
            }
            ending.clear();
        })?;
        Ok(IoThread {
            waker,
            contact,
            inherited,
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What is known of the connection, for whoever wants to read it. Stays when the thread has ended.
    pub fn contact(&self) -> &Arc<Contact> {
        &self.contact
    }

    /// Where a cache's outputs go from now on, until it is closed. Comes before its first input. Where the thread has
    /// ended, or ends meanwhile, the sink may be told nothing.
    pub fn attach(&self, id: CacheId, sink: Arc<dyn CacheSink>) {
        self.send(Command::Attach(id, sink));
    }

    /// What is wanted of a cache. Once [`Input::Close`] is taken up, its sink is dropped, and is not called again.
    pub fn input(&self, id: CacheId, input: Input) {
        self.send(Command::Input(id, input));
    }

    /// Ends the thread as a panic of its own would, for another thread of the client has panicked.
    pub fn fail(&self, message: String) {
        self.send(Command::Fail(message));
    }

    /// In the child of a fork, which has no I/O thread but its descriptors: closes these, and tells nobody. The
    /// session goes on in the parent.
    pub fn abandon(&self) {
        self.inherited.close(&self.waker);
    }

    fn send(&self, command: Command) {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        drop(commands);
        if sent && let Err(error) = self.waker.wake() {
            log::error!("the I/O thread could not be woken: {error}");
        }
    }

    /// Closes the session (waits at most half a second for the server's word) and joins the thread; every sink has
    /// been told the state `Lost` and the event `ConnectionLost` then. Must not be called from the I/O thread. May be
    /// called again, and does nothing then.
    pub fn shut_down(&self) {
        self.send(Command::ShutDown);
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Held meanwhile: who comes second waits as long.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // Its panics are caught on the thread itself.
            let _ = thread.join();
        }
    }
}

/// From the system's randomness, by way of the hasher's keys, which the children of a fork share. (The random
/// generator's own way to a seed gives the calling thread, which is the user's, a handle of Rust's that outlives it.)
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
