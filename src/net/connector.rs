//! From a host's name to a connected socket: addresses, tried one after the other.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::driver::SIDE;
use super::errand::Errand;
use super::inherited::Inherited;
use super::waker::Waker;
use crate::planted::{self, Defect};
use crate::session::Host;

/// What came of the attempt's wait for its host's name.
#[derive(Debug)]
pub(super) enum Resolved {
    /// There are addresses.
    Found,
    /// The name could not be resolved in time, for this reason; the addresses are those that it had before.
    Before(io::Error),
    Failed(io::Error),
}

pub(super) struct Connector {
    token: Token,
    waker: Arc<Waker>,
    inherited: Arc<Inherited>,
    /// How long an attempt waits for a name to be resolved, if addresses of it are known from before.
    patience: Duration,
    names: HashMap<String, Name>,
    /// The host whose name the attempt waits for, and since when.
    resolving: Option<(Host, Instant)>,
    /// The addresses that the attempt has not tried yet.
    addresses: Vec<SocketAddr>,
}

impl Connector {
    pub(super) fn new(
        token: Token,
        waker: Arc<Waker>,
        inherited: Arc<Inherited>,
        patience: Duration,
    ) -> Connector {
        Connector {
            token,
            waker,
            inherited,
            patience,
            names: HashMap::new(),
            resolving: None,
            addresses: Vec::new(),
        }
    }

    /// Begins an attempt. [`connect_next`](Self::connect_next) goes on with it; if the name has to be resolved, only
    /// after [`poll_resolved`](Self::poll_resolved) has an answer. The waker tells when to ask for that.
    pub(super) fn connect(&mut self, host: &Host, now: Instant) {
        self.abandon();
        if let Ok(address) = host.name.parse::<IpAddr>() {
            self.addresses = vec![SocketAddr::new(address, host.port)];
            return;
        }
        let waker = &self.waker;
        self.names.entry(host.name.clone()).or_insert_with(|| Name::new(waker.clone())).look_up(&host.name);
        self.resolving = Some((host.clone(), now));
    }

    /// Gives the attempt up. A look-up goes on: its answer may serve the next one.
    pub(super) fn abandon(&mut self) {
        self.resolving = None;
        self.addresses.clear();
    }

    pub(super) fn is_resolving(&self) -> bool {
        self.resolving.is_some()
    }

    /// When to ask `poll_resolved`, even if the waker has not been woken.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let (host, since) = self.resolving.as_ref()?;
        let is_known = self.names.get(&host.name).is_some_and(|name| !name.addresses.is_empty());
        is_known.then(|| *since + self.patience)
    }

    /// Takes in what resolvers have said. Returns how the attempt's wait ended, if it did.
    pub(super) fn poll_resolved(&mut self, now: Instant) -> Option<Resolved> {
        self.names.values_mut().for_each(Name::take_answer);
        let (host, since) = self.resolving.as_ref()?;
        let name = self.names.get_mut(&host.name)?;
        let failure = match name.look_up.is_under_way() {
            true if now < *since + self.patience || name.addresses.is_empty() => return None,
            true => Some(io::Error::other("the resolver does not answer")),
            false => name.failure.take(),
        };
        self.addresses = name.addresses.clone();
        self.addresses.iter_mut().for_each(|address| address.set_port(host.port));
        // A name may stand for a whole ensemble.
        fastrand::shuffle(&mut self.addresses);
        self.resolving = None;
        Some(match failure {
            None => Resolved::Found,
            Some(error) if self.addresses.is_empty() => Resolved::Failed(error),
            Some(error) => Resolved::Before(error),
        })
    }

    /// Connects to the next address, after the one before failed for `reason`. If no address is left, the last failure
    /// is the error.
    pub(super) fn connect_next(
        &mut self,
        registry: &Registry,
        reason: Option<io::Error>,
    ) -> io::Result<TcpStream> {
        let mut reason = reason.unwrap_or_else(no_address);
        while let Some(address) = self.addresses.pop() {
            match self.start(address, registry) {
                Ok(stream) => return Ok(stream),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    fn start(&self, address: SocketAddr, registry: &Registry) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        self.inherited.set_socket(self.token == SIDE, &stream);
        Ok(stream)
    }
}

/// What is known of a host's name. One look-up of it is under way at a time: its answer serves whichever attempt waits
/// when it comes.
struct Name {
    /// The addresses that the last successful look-up found. Their ports mean nothing.
    addresses: Vec<SocketAddr>,
    look_up: Errand<io::Result<Vec<SocketAddr>>>,
    /// Why the last look-up found no address.
    failure: Option<io::Error>,
}

impl Name {
    fn new(waker: Arc<Waker>) -> Name {
        Name { addresses: Vec::new(), look_up: Errand::new("treecache-dns", waker), failure: None }
    }

    fn look_up(&mut self, name: &str) {
        let name = name.to_owned();
        self.failure = self.look_up.start(move || addresses_of(&name)).err();
    }

    fn take_answer(&mut self) {
        match self.look_up.poll() {
            None => {}
            Some(Ok(addresses)) if addresses.is_empty() => self.failure = Some(no_address()),
            Some(Ok(addresses)) => (self.addresses, self.failure) = (addresses, None),
            Some(Err(error)) => self.failure = Some(error),
        }
    }
}

/// Asks the system, which may take its time. It knows the zones of link-local addresses, too.
fn addresses_of(name: &str) -> io::Result<Vec<SocketAddr>> {
    planted::panic_if(Defect::PanicOnResolverThread);
    Ok((name, 0).to_socket_addrs()?.collect())
}

fn no_address() -> io::Error {
    io::Error::other("the name has no address")
}
