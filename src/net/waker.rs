//! What ends the I/O thread's wait for its socket and its timers.

use std::io;
use std::sync::{PoisonError, RwLock};

use mio::{Registry, Token};

/// Shared by the threads that wake the I/O thread.
pub(super) struct Waker(
    /// `None` in the child of a fork, once it is closed.
    RwLock<Option<mio::Waker>>,
);

impl Waker {
    /// Wakes the thread that polls what `registry` belongs to. That thread then finds an event with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Waker> {
        Ok(Waker(RwLock::new(Some(mio::Waker::new(registry, token)?))))
    }

    /// Ends the wait under way, or the next one.
    pub(super) fn wake(&self) -> io::Result<()> {
        let waker = self.0.read().unwrap_or_else(PoisonError::into_inner);
        waker.as_ref().map_or(Ok(()), mio::Waker::wake)
    }

    /// Closes its descriptor, however many share it. To be called in the child of a fork only. If a thread of the
    /// parent was using the waker at the fork, the descriptor stays open: in the child nobody lets go of the lock.
    pub(super) fn close(&self) {
        if let Ok(mut waker) = self.0.try_write() {
            *waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn it_wakes_until_it_is_closed_whoever_else_has_a_share_of_it() {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(3)).unwrap());
        let share = waker.clone();
        let mut events = Events::with_capacity(1);
        waker.wake().unwrap();
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert!(events.iter().any(|event| event.token() == Token(3)));
        share.close();
        waker.wake().unwrap();
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    }
}
