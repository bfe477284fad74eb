//! From a host's name to a connected socket: addresses, tried one after the other.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token, Waker};

use super::inherited::Inherited;
use crate::panics::catch;
use crate::planted::{self, Defect};
use crate::session::Host;
use crate::thread;

/// Resolvers that may be stuck at a time.
const MOST_RESOLVERS: usize = 8;

/// Names attempts, so that what a slow resolver says of an old one is not taken for the new one.
type Attempt = u64;

/// How an attempt goes on.
pub(super) enum Progress {
    Connecting(TcpStream),
    /// No address is left.
    Failed(io::Error),
}

pub(super) struct Connector {
    token: Token,
    waker: Arc<Waker>,
    inherited: Arc<Inherited>,
    attempt: Attempt,
    addresses: Vec<SocketAddr>,
    resolved: (Sender<Resolved>, Receiver<Resolved>),
    resolvers: Arc<AtomicUsize>,
}

/// The error says what the resolver panicked with.
type Resolved = (Attempt, Result<io::Result<Vec<SocketAddr>>, String>);

impl Connector {
    pub(super) fn new(token: Token, waker: Arc<Waker>, inherited: Arc<Inherited>) -> Connector {
        Connector {
            token,
            waker,
            inherited,
            attempt: 0,
            addresses: Vec::new(),
            resolved: unbounded(),
            resolvers: Arc::default(),
        }
    }

    /// Begins an attempt. `None`: the host's name is being resolved; the waker will tell.
    pub(super) fn connect(&mut self, host: &Host, registry: &Registry) -> Option<Progress> {
        self.abandon();
        if let Ok(address) = host.name.parse::<IpAddr>() {
            self.addresses = vec![SocketAddr::new(address, host.port)];
            return Some(self.connect_next(registry, None));
        }
        self.resolve(host.clone()).err().map(Progress::Failed)
    }

    /// Gives the attempt up.
    pub(super) fn abandon(&mut self) {
        self.attempt += 1;
        self.addresses.clear();
    }

    /// A name is resolved by the system, which may take its time: on a thread that nobody waits for.
    fn resolve(&self, host: Host) -> io::Result<()> {
        if self.resolvers.fetch_add(1, Ordering::Relaxed) >= MOST_RESOLVERS {
            self.resolvers.fetch_sub(1, Ordering::Relaxed);
            return Err(io::Error::other("the resolver does not answer"));
        }
        let (attempt, sender, waker) = (self.attempt, self.resolved.0.clone(), self.waker.clone());
        let resolvers = self.resolvers.clone();
        let spawned = thread::spawn("treecache-dns", move || {
            let addresses = catch(|| {
                planted::panic_if(Defect::PanicOnResolverThread);
                (host.name.as_str(), host.port).to_socket_addrs().map(|found| found.collect())
            });
            resolvers.fetch_sub(1, Ordering::Relaxed);
            if sender.send((attempt, addresses)).is_ok() {
                // Fails only when the I/O thread is gone.
                let _ = waker.wake();
            }
        });
        if spawned.is_err() {
            self.resolvers.fetch_sub(1, Ordering::Relaxed);
        }
        spawned.map(drop)
    }

    /// What the resolver said, if it was asked for this attempt.
    pub(super) fn poll_resolved(&mut self, registry: &Registry) -> Option<Progress> {
        while let Ok((attempt, addresses)) = self.resolved.1.try_recv() {
            let addresses = match addresses {
                Ok(addresses) => addresses,
                Err(message) => panic::resume_unwind(Box::new(format!("in a resolver: {message}"))),
            };
            if attempt != self.attempt {
                continue;
            }
            return Some(match addresses {
                Ok(mut addresses) => {
                    // A name may stand for a whole ensemble.
                    fastrand::shuffle(&mut addresses);
                    self.addresses = addresses;
                    self.connect_next(registry, None)
                }
                Err(error) => Progress::Failed(error),
            });
        }
        None
    }

    /// Tries the next address, after the one before failed for `reason`.
    pub(super) fn connect_next(&mut self, registry: &Registry, reason: Option<io::Error>) -> Progress {
        let mut reason = reason.unwrap_or_else(|| io::Error::other("the name has no address"));
        while let Some(address) = self.addresses.pop() {
            match self.start(address, registry) {
                Ok(stream) => return Progress::Connecting(stream),
                Err(error) => reason = error,
            }
        }
        Progress::Failed(reason)
    }

    fn start(&self, address: SocketAddr, registry: &Registry) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        self.inherited.set_socket(&stream);
        Ok(stream)
    }
}
