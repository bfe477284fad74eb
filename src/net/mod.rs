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

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use mio::{Poll, Waker};

pub use contact::{Connection, Contact};
pub use tls::{InvalidFile, Tls, TlsFiles};

use self::connector::Connector;
use self::driver::{Driver, SOCKET, WAKER};
use self::inherited::Inherited;
use self::renewal::Renewal;
use crate::clock;
use crate::engine::Engine;
use crate::error::{Fault, Status};
use crate::panics::catch;
use crate::path::NodePath;
use crate::session::Settings;
use crate::state::{EventKind, State};
use crate::sync::{CacheId, Options, Progress, SyncMode, Ticket};
use crate::thread;
use crate::tree::Version;

/// What the I/O thread tells of one cache. All calls come from the I/O thread, and must not block.
pub trait CacheSink: Send + Sync {
    /// The version to be read from now on; its events are its differences from the version before.
    /// `changes` is about how many nodes differ.
    fn publish(&self, version: Arc<Version>, changes: usize);
    /// Stored behind the version it speaks of.
    fn set_state(&self, state: State);
    /// A connection event, `Initialized` or `InStep`; goes out behind the events of what was published before.
    fn event(&self, kind: EventKind);
    /// A fault of this cache, or of the whole client: the caches are told of those one by one.
    fn fault(&self, fault: Fault);
    /// `Some`: the first load cannot succeed as things stand, waiting for it is in vain. `None`: it may again.
    fn set_failure(&self, failure: Option<Status>);
    /// The answer to this call of `sync` and to all before it that had none yet. Comes behind the version it is about.
    fn synced(&self, ticket: Ticket, answer: Result<(), Status>);
    /// All that was done so far, in place of what was told before.
    fn set_progress(&self, progress: Progress);
}

enum Command {
    Open { id: CacheId, root: NodePath, options: Options, sink: Arc<dyn CacheSink> },
    Close { id: CacheId },
    Sync { id: CacheId, ticket: Ticket },
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

    /// Starts a cache. Where the thread has ended, or ends meanwhile, its sink may be told nothing.
    pub fn open(&self, id: CacheId, root: NodePath, options: Options, sink: Arc<dyn CacheSink>) {
        self.send(Command::Open { id, root, options, sink });
    }

    /// Ends a cache: its sink is dropped, and is not called again after the command was taken up.
    pub fn close(&self, id: CacheId) {
        self.send(Command::Close { id });
    }

    /// A call of `sync` on a cache, which its sink is told the answer to, unless the client is closed meanwhile.
    pub fn sync(&self, id: CacheId, ticket: Ticket) {
        self.send(Command::Sync { id, ticket });
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

    fn send(&self, command: Command) -> bool {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        drop(commands);
        if sent && let Err(error) = self.waker.wake() {
            log::error!("the I/O thread could not be woken: {error}");
        }
        sent
    }

    /// Closes the session (waits at most half a second for the server's word) and joins the thread; every sink has
    /// seen `set_state(Lost)` and `event(ConnectionLost)` then. Must not be called from the I/O thread. May be
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
