//! Work that may take the system a long time, done on a thread that nobody waits for.

use std::io;
use std::panic;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::waker::Waker;
use crate::panics::catch;
use crate::thread;

/// One kind of errand. At most one errand of the kind is under way at a time. Its thread may outlive this value.
pub(super) struct Errand<T> {
    name: &'static str,
    waker: Arc<Waker>,
    is_under_way: bool,
    done: (Sender<Outcome<T>>, Receiver<Outcome<T>>),
}

/// What came of an errand; the error says what the thread panicked with.
type Outcome<T> = Result<T, String>;

impl<T: Send + 'static> Errand<T> {
    /// Its threads have the name `name`. The waker is woken when there is something to poll.
    pub(super) fn new(name: &'static str, waker: Arc<Waker>) -> Errand<T> {
        Errand { name, waker, is_under_way: false, done: bounded(1) }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Starts a thread that calls `run`, unless an errand is under way.
    pub(super) fn start(&mut self, run: impl FnOnce() -> T + Send + 'static) -> io::Result<()> {
        if self.is_under_way {
            return Ok(());
        }
        let (sender, waker) = (self.done.0.clone(), self.waker.clone());
        thread::spawn(self.name, move || {
            let result = catch(run);
            if sender.send(result).is_ok() {
                // Fails only when the I/O thread is gone.
                let _ = waker.wake();
            }
        })?;
        self.is_under_way = true;
        Ok(())
    }

    /// What came of the errand, once. If its thread panicked, this call panics.
    pub(super) fn poll(&mut self) -> Option<T> {
        let done = self.done.1.try_recv().ok()?;
        self.is_under_way = false;
        match done {
            Ok(result) => Some(result),
            Err(message) => panic::resume_unwind(Box::new(format!("in {}: {message}", self.name))),
        }
    }
}
