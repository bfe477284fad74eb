//! When the server last said something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time of the last word from a server, readable from any thread.
pub struct Contact {
    base: Instant,
    /// Milliseconds after `base`, plus one; 0: never.
    last: AtomicU64,
}

impl Contact {
    pub(super) fn new(now: Instant) -> Contact {
        Contact { base: now, last: AtomicU64::new(0) }
    }

    /// To be called when what the server said has been taken in.
    pub(super) fn touch(&self, now: Instant) {
        let millis = (now - self.base).as_millis() as u64;
        self.last.store(millis + 1, Ordering::Release);
    }

    /// Time since the last word from a server; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.base.elapsed().saturating_sub(Duration::from_millis(last)))
    }
}
