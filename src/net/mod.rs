//! The I/O thread of a client: sockets, TLS, names, timers. It pumps bytes between a socket and an
//! [`Engine`] and does not know what they mean.

mod connector;
mod contact;
mod driver;
mod errand;
mod gssapi;
mod inherited;
mod kerberos;
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
pub use kerberos::{Kerberos, KerberosKeys};
pub use tls::{InvalidFile, Tls, TlsFiles};

use self::connector::Connector;
use self::driver::{Driver, Line, SIDE, SOCKET, WAKER};
use self::inherited::Inherited;
use self::kerberos::Tokens;
use self::renewal::Renewal;
use self::waker::Waker;
use crate::clock;
use crate::engine::Engine;
use crate::error::Fault;
use crate::panics::catch;
use crate::session::Settings;
use crate::sync::{CacheId, Input, Modes, Output};
use crate::thread;

/// Where the I/O thread tells what one cache has to tell. It is called on the I/O thread, in the order in which things
/// happened, and must not block.
pub trait CacheSink: Send + Sync {
    /// Takes what is told.
    fn tell(&self, output: Output);
}

/// Where the I/O thread tells what concerns the whole client. As [`CacheSink`].
pub trait ClientSink: Send {
    /// Takes a fault; the sink of every cache is told it too. With [`Status::Panic`](crate::error::Status::Panic), the client
    /// has failed: the thread does nothing more, and is about to tell so to every cache's sink.
    fn fault(&self, fault: Fault);

    /// Nothing follows, after a panic: the sink of every cache has been told.
    fn failed(&self);
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
    /// Starts the thread; it connects at once, in the background, with TLS and Kerberos where these are given.
    pub fn spawn(
        settings: Settings,
        modes: Modes,
        tls: Option<Tls>,
        kerberos: Option<Kerberos>,
        sink: Box<dyn ClientSink>,
    ) -> std::io::Result<IoThread> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, received) = unbounded();
        let now = clock::now();
        let contact = Arc::new(Contact::new(now));
        // If the resolver takes longer, the addresses that it found before are used.
        let patience = settings.connect_timeout.min(settings.resolve_timeout);
        let engine = Engine::new(settings, modes, fastrand::Rng::with_seed(seed()), now);
        let inherited = Arc::new(Inherited::new(&poll));
        let connector = |token| Connector::new(token, waker.clone(), inherited.clone(), patience);
        let kerberos = kerberos.map(Arc::new);
        let tokens = || Some(Tokens::new(kerberos.clone()?, waker.clone()));
        let mut driver = Driver::new(
            poll,
            received,
            contact.clone(),
            sink,
            engine,
            tls.map(|tls| Renewal::new(tls, waker.clone())),
            [SOCKET, SIDE].map(|token| Line::new(connector(token), tokens())),
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

    /// What is known of the connection. It can be read even after the thread has ended.
    pub fn contact(&self) -> &Arc<Contact> {
        &self.contact
    }

    /// Sends a cache's outputs to `sink` from now on, until the cache is closed. Call this before the cache's first
    /// input. If the thread has ended, or ends meanwhile, the sink may be told nothing.
    pub fn attach(&self, id: CacheId, sink: Arc<dyn CacheSink>) {
        self.send(Command::Attach(id, sink));
    }

    /// Tells the thread what is wanted of a cache. Once the thread takes up [`Input::Close`], it drops the cache's
    /// sink, and does not call it again.
    pub fn input(&self, id: CacheId, input: Input) {
        self.send(Command::Input(id, input));
    }

    /// Ends the thread as a panic of its own would. To be called when another thread of the client has panicked.
    pub fn fail(&self, message: String) {
        self.send(Command::Fail(message));
    }

    /// To be called in the child of a fork, which has the descriptors of the I/O thread but not the thread: closes
    /// them, and tells nobody. The session goes on in the parent.
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

    /// Closes the session (waits at most half a second for the server's word) and joins the thread. When this returns,
    /// every sink has been told the state `Lost` and the event `ConnectionLost`. Must not be called from the I/O
    /// thread. A second call does nothing.
    pub fn shut_down(&self) {
        self.send(Command::ShutDown);
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The lock is held during the join: if another thread calls this, it waits for the end too.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // Its panics are caught on the thread itself.
            let _ = thread.join();
        }
    }
}

/// A seed from the system's randomness, by way of the hasher's keys. The children of a fork have the same keys, so the
/// process's id goes in, too. (The random generator could make a seed itself. But then it gives the calling thread,
/// which is the user's, a handle of Rust's, which is never freed on a program's first thread.)
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
