//! What is known of the connection: when the server last said something, and who it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The connection of a client, and those before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// How many connections there have been.
    pub count: u64,
    /// 0 before the first session.
    pub session_id: i64,
    /// `host:port`; `None` while there is no connection.
    pub server: Option<String>,
    /// How long a session lives without a word, as a server has granted it; `None` before the first session.
    pub timeout: Option<Duration>,
}

/// What the I/O thread knows of the connection, readable from any thread.
pub struct Contact {
    base: Instant,
    /// Milliseconds after `base`, plus one; 0: never.
    last: AtomicU64,
    connection: Mutex<Connection>,
}

impl Contact {
    pub(super) fn new(now: Instant) -> Contact {
        Contact { base: now, last: AtomicU64::new(0), connection: Mutex::default() }
    }

    /// Notes that the server was heard at the time `at`. To be called when what it said has been taken in.
    pub(super) fn touch(&self, at: Instant) {
        let millis = (at - self.base).as_millis() as u64;
        self.last.store(millis + 1, Ordering::Release);
    }

    pub(super) fn connected(&self, server: String, session_id: i64, timeout: Duration) {
        let mut connection = self.lock();
        connection.count += 1;
        (connection.server, connection.session_id) = (Some(server), session_id);
        connection.timeout = Some(timeout);
    }

    pub(super) fn disconnected(&self) {
        self.lock().server = None;
    }

    /// As it is now.
    pub fn connection(&self) -> Connection {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a server was last heard; `None` before the first word.
    pub fn heard(&self) -> Option<Instant> {
        let last = self.last.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.base + Duration::from_millis(last))
    }
}
