//! What a client and its caches hold in common, and what they need of the I/O thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::events::{Dispatcher, Listeners};
use crate::health::Health;
use crate::net::{CacheSink, Connection, IoThread};
use crate::path::NodePath;
use crate::sync::{CacheId, Input};

/// What a client and its caches hold in common. The I/O thread has no share of it, so that thread is never the last to
/// let go of it.
pub(crate) struct ClientShared {
    /// The health of the threads.
    pub(crate) health: Arc<Health>,
    pub(crate) io: Arc<dyn Io>,
    pub(crate) dispatcher: Dispatcher,
    /// The fault listeners of the client itself.
    pub(crate) faults: Arc<Listeners>,
    pub(crate) closed: AtomicBool,
    pub(crate) last_cache: AtomicU64,
    /// All paths of its caches are relative to this.
    pub(crate) chroot: NodePath,
    /// For whom servers take it, without a secret; `None`: nobody can say.
    pub(crate) user: Option<String>,
}

impl ClientShared {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// What a client needs of the I/O thread. A trait, so that the unit tests of this layer can drive caches by hand.
pub(crate) trait Io: Send + Sync {
    fn attach(&self, id: CacheId, sink: Arc<dyn CacheSink>);
    fn input(&self, id: CacheId, input: Input);
    /// When a server was last heard.
    fn heard(&self) -> Option<Instant>;
    fn connection(&self) -> Connection;
    fn shut_down(&self);
    /// Another thread of the client panicked, and said this.
    fn fail(&self, message: String);
    /// To be called in the child of a fork: lets go of the thread's descriptors.
    fn abandon(&self);
}

impl Io for IoThread {
    fn attach(&self, id: CacheId, sink: Arc<dyn CacheSink>) {
        IoThread::attach(self, id, sink);
    }

    fn input(&self, id: CacheId, input: Input) {
        IoThread::input(self, id, input);
    }

    fn heard(&self) -> Option<Instant> {
        self.contact().heard()
    }

    fn connection(&self) -> Connection {
        self.contact().connection()
    }

    fn shut_down(&self) {
        IoThread::shut_down(self);
    }

    fn fail(&self, message: String) {
        IoThread::fail(self, message);
    }

    fn abandon(&self) {
        IoThread::abandon(self);
    }
}
