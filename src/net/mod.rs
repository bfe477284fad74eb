//! The I/O thread.
use crate::error::{Fault, Status};
use crate::path::NodePath;
use crate::session::Settings;
use crate::state::{EventKind, State};
use crate::sync::Options;
use crate::tree::Version;
use std::sync::Arc;
use std::time::Duration;

/// What the I/O thread tells of one cache. All calls come from the I/O thread, and must not block.
pub trait CacheSink: Send + Sync {
    /// The version to be read from now on; its events are its differences from the version before.
    /// `changes` is about how many nodes differ.
    fn publish(&self, version: Arc<Version>, changes: usize);
    /// Stored behind the version it speaks of.
    fn set_state(&self, state: State);
    /// A connection event, `Initialized` or `InStep`; goes out behind the events of what was published before.
    fn event(&self, kind: EventKind);
    fn fault(&self, fault: Fault);
    /// `Some`: the first load cannot succeed as things stand, waiting for it is in vain. `None`: it may again.
    fn set_failure(&self, failure: Option<Status>);
}

/// Names a cache between the API and the I/O thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheId(pub u64);

/// When the last byte came from a server, readable from any thread.
#[derive(Default)]
pub struct Contact {}

impl Contact {
    /// Time since the last word from a server; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        None
    }
}

/// The I/O thread of a client. Dropping it does not end it: call `shut_down`.
pub struct IoThread {}

impl IoThread {
    /// Starts the thread; it connects at once, in the background. `fault` is called on the I/O thread with what
    /// concerns the whole client (such faults go to every cache's sink too).
    pub fn spawn(_settings: Settings, _fault: impl Fn(Fault) + Send + 'static) -> std::io::Result<IoThread> {
        unimplemented!()
    }
    pub fn contact(&self) -> &Arc<Contact> {
        unimplemented!()
    }
    /// Starts a cache. When the thread has ended, nothing happens.
    pub fn open(&self, _id: CacheId, _root: NodePath, _options: Options, _sink: Arc<dyn CacheSink>) {
        unimplemented!()
    }
    /// Ends a cache: its sink is dropped, and is not called again after the command was taken up.
    pub fn close(&self, _id: CacheId) {
        unimplemented!()
    }
    /// Closes the session (waits at most half a second for the server's word) and joins the thread; every sink has
    /// seen `set_state(Lost)` and `event(ConnectionLost)` then. Must not be called from the I/O thread. May be called twice.
    pub fn shut_down(&self) {
        unimplemented!()
    }
}
