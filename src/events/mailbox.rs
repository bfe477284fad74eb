//! What one thread is told by others, letter by letter, in order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// (A channel would do. But when a thread of the user's wakes its reader, the channel gives that thread a handle of
/// Rust's, which is never taken back from a program's first thread.)
pub(super) struct Mailbox<T> {
    letters: Mutex<Letters<T>>,
    /// There is a letter, or there will never be one again.
    arrived: Condvar,
}

struct Letters<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> Mailbox<T> {
        let letters = Letters { waiting: VecDeque::new(), is_closed: false };
        Mailbox { letters: Mutex::new(letters), arrived: Condvar::new() }
    }

    /// Returns false when it is closed: nobody will read the letter, and it is dropped.
    pub(super) fn send(&self, letter: T) -> bool {
        let mut letters = self.lock();
        let is_open = !letters.is_closed;
        if is_open {
            letters.waiting.push_back(letter);
            drop(letters);
            self.arrived.notify_one();
        }
        is_open
    }

    /// Waits for the next letter; `None` when the mailbox is closed, and empty.
    pub(super) fn receive(&self) -> Option<T> {
        let is_quiet = |letters: &mut Letters<T>| letters.waiting.is_empty() && !letters.is_closed;
        let letters = self.arrived.wait_while(self.lock(), is_quiet);
        letters.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    /// No letter is taken any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Letters<T>> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_came_before_it_was_closed_are_read() {
        let mailbox = Mailbox::new();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| std::iter::from_fn(|| mailbox.receive()).collect::<Vec<_>>());
            assert!(mailbox.send(1) && mailbox.send(2));
            mailbox.close();
            assert!(!mailbox.send(3));
            assert_eq!(reading.join().unwrap(), [1, 2]);
        });
    }
}
