//! A client: one ZooKeeper session, the thread that keeps it, and the thread that runs callbacks; shared by any
//! number of caches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::cache::TreeCache;
use crate::config::Config;
use crate::error::{Error, Fault, Status};
use crate::events::{Capacity, Dispatcher, Feed, Feeds, ListenerId};
use crate::health::Health;
use crate::net::{ClientSink, IoThread};
use crate::path::NodePath;
use crate::session::Hosts;
use crate::shared::{ClientShared, Io};
use crate::sync::CacheId;

/// One session with a ZooKeeper ensemble. It connects by itself, in the background, and makes a new session when
/// one is lost. Dropping it ends the session; its caches stay readable.
///
/// In the child of a fork you may only drop it. The server is not told of that: the session is the parent's.
pub struct Client {
    health: Health,
    shared: Arc<ClientShared>,
}

impl Client {
    /// Starts a session with `hosts`, `host[:port],...[/chroot]`. Reads the files that `config` names for TLS, and loads the
    /// system's library for Kerberos if it asks for that, then returns at once.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when `hosts` is malformed; [`Error::Setting`] when keys of `config` lack others that they
    /// need, or one of its files cannot be used, or there is no library for Kerberos; [`Error::NoResources`] when the system has no thread or file descriptor left.
    pub fn new(hosts: &str, config: &Config) -> Result<Client, Error> {
        let hosts = Hosts::parse(hosts).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        let settings = config.settings(hosts)?;
        let (tls, kerberos, modes) = (config.tls()?, config.kerberos()?, config.modes());
        config.warn_of_what_is_exposed();
        let (chroot, user) = (settings.hosts.chroot.clone(), config.user());
        Client::with_io(chroot, user, |sink| {
            Ok(Arc::new(IoThread::spawn(settings, modes, tls, kerberos, sink)?))
        })
    }

    /// A client on the I/O thread that `spawn` makes, which tells it what concerns it.
    pub(crate) fn with_io(
        chroot: NodePath,
        user: Option<String>,
        spawn: impl FnOnce(Box<dyn ClientSink>) -> std::io::Result<Arc<dyn Io>>,
    ) -> Result<Client, Error> {
        let health = Arc::new(Health::new());
        let io = Arc::new(OnceLock::<Arc<dyn Io>>::new());
        // A panic on any thread ends on the I/O thread, which tells all who wait.
        let (ruined, told) = (health.clone(), io.clone());
        let dispatcher_panicked = move |message| {
            ruined.ruin();
            if let Some(io) = told.get() {
                io.fail(message);
            }
        };
        let started = Dispatcher::spawn(dispatcher_panicked).and_then(|dispatcher| {
            // This feed has only faults.
            let faults = dispatcher.listeners(NodePath::root(), Capacity { events: 0, bytes: 0 });
            let (feed, feeds) = (faults.feed().clone(), dispatcher.feeds().clone());
            let made = spawn(Box::new(Told { health: health.clone(), feed, feeds }))?;
            _ = io.set(made.clone());
            Ok(ClientShared {
                health,
                io: made,
                dispatcher,
                faults,
                closed: AtomicBool::new(false),
                last_cache: AtomicU64::new(0),
                chroot,
                user,
            })
        });
        match started {
            Ok(shared) => Ok(Client { health: Health::on(&shared.health), shared: Arc::new(shared) }),
            Err(error) => {
                let message = format!("no client could be started: {error}");
                log::error!("{message}");
                Err(Error::NoResources(message))
            }
        }
    }

    /// Calls `listener` with every fault of the session, on the dispatcher thread, until the client is closed.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Failed`] after a panic.
    pub fn listen_fault(&self, listener: impl FnMut(&Fault) + Send + 'static) -> Result<ListenerId, Error> {
        self.health.check()?;
        self.shared.faults.listen_fault(listener)
    }

    /// Removes a fault listener. None of its calls starts after this. Never waits; may be called in a listener.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when there is no such listener; [`Error::Closed`]; [`Error::Failed`] after a panic.
    pub fn unlisten(&self, listener: ListenerId) -> Result<(), Error> {
        self.health.check()?;
        self.shared.faults.unlisten(listener)
    }

    /// A cache of the subtree at `path`, not started yet.
    ///
    /// # Errors
    /// [`Error::InvalidPath`], [`Error::InvalidArgument`] when the path is longer than `limit.path.bytes`, or
    /// [`Error::Closed`]; [`Error::Failed`] after a panic.
    pub fn cache(&self, path: &str, config: &Config) -> Result<TreeCache, Error> {
        let root = NodePath::new(path)?;
        let limit = config.options().limit_path;
        if path.len() > limit {
            let message = format!("the root has a path of {} bytes; limit.path.bytes={limit}", path.len());
            return Err(Error::InvalidArgument(message));
        }
        self.health.check()?;
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        let id = CacheId(self.shared.last_cache.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(TreeCache::new(self.shared.clone(), id, root, config))
    }

    #[cfg(feature = "ffi")]
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// After a panic in a call: the client is of no use any more, and its fault listeners are told, once.
    #[cfg(feature = "ffi")]
    pub(crate) fn fail(&self, fault: Fault) {
        if self.health.ruin() {
            self.shared.faults.feed().fault_of_all(&fault);
        }
    }

    /// Ends the session. Its caches stay readable, see CONNECTION_LOST, and are not updated any more. Waits at most
    /// half a second for the server's word. May be called twice.
    pub fn close(&self) {
        if self.health.is_forked() {
            self.shared.faults.abandon();
            self.shared.io.abandon();
            // The rest is shared with threads that do not exist here; see `TreeCache::close`.
            return std::mem::forget(self.shared.clone());
        }
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.io.shut_down();
        self.shared.dispatcher.feeds().end(Status::Closed);
        self.shared.faults.close();
    }
}

/// What is told to a client by its I/O thread.
struct Told {
    health: Arc<Health>,
    /// The client's own.
    feed: Arc<Feed>,
    /// Of the client and of all its caches.
    feeds: Arc<Feeds>,
}

impl ClientSink for Told {
    fn fault(&self, fault: Fault) {
        if fault.status == Status::Panic {
            self.health.ruin();
        }
        self.feed.fault_of_all(&fault);
    }

    fn failed(&self) {
        self.feeds.end(Status::Panic);
    }
}

/// Closes, and waits for a running fault listener, except in a callback.
impl Drop for Client {
    fn drop(&mut self) {
        self.close();
        if !self.health.is_forked() {
            self.shared.faults.wait_idle();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
