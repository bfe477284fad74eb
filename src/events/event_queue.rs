//! A queue that the program takes events out of, on threads of its own.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::Capacity;
use super::consumer::{Consumer, Wants};
use super::feed::Feed;
use super::told::{Event, Told};
use crate::error::{Error, Fault};
use crate::health::Health;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::Node;

/// What a cache has to tell, to be taken out by the program when it likes to: the tree so far first, as additions (and
/// INITIALIZED when the cache is), then what follows, without gap or duplicate. Any number of threads may take from
/// it at once; each item goes to one of them.
///
/// Dropping it closes it. In the child of a fork it may only be dropped.
pub struct EventQueue {
    health: Health,
    feed: Arc<Feed>,
    consumer: Arc<Consumer>,
}

/// An event or a fault that was taken out of a queue.
#[derive(Debug, Clone)]
pub enum Item {
    /// Something happened to the cache. Its fields are those of [`Event`].
    Event {
        /// What happened.
        kind: EventKind,
        /// No more events of this version follow.
        last_of_version: bool,
        /// The node's absolute path; `None` unless this is a node event.
        path: Option<String>,
        /// The node as it was behind this event; the last known one when it was removed.
        node: Option<Arc<Node>>,
        /// The node as it was before an update; `None` for all other events.
        old: Option<Arc<Node>>,
        /// That of the version which the event belongs to; 0 for events of the connection.
        zxid: Zxid,
    },
    /// Something went wrong in the background. Only in a queue that was made for faults, too.
    Fault(Fault),
}

impl Item {
    /// The event; `None` when it is a fault.
    pub fn as_event(&self) -> Option<Event<'_>> {
        match self {
            Item::Event { kind, last_of_version, path, node, old, zxid } => Some(Event {
                kind: *kind,
                last_of_version: *last_of_version,
                path: path.as_deref(),
                node: node.as_ref(),
                old: old.as_ref(),
                zxid: *zxid,
            }),
            Item::Fault(_) => None,
        }
    }
}

impl From<Told<'_>> for Item {
    fn from(told: Told<'_>) -> Item {
        match told {
            Told::Event(event) => Item::Event {
                kind: event.kind,
                last_of_version: event.last_of_version,
                path: event.path.map(str::to_owned),
                node: event.node.cloned(),
                old: event.old.cloned(),
                zxid: event.zxid,
            },
            Told::Fault(fault) => Item::Fault(fault.clone()),
        }
    }
}

impl EventQueue {
    pub(crate) fn open(
        health: Health,
        feed: Arc<Feed>,
        faults: bool,
        capacity: Capacity,
    ) -> Result<EventQueue, Error> {
        let consumer = feed.join(Wants { events: true, faults }, capacity, None)?;
        Ok(EventQueue { health, feed, consumer })
    }

    /// Takes the next item out, and waits for one, at most `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Interrupted`] after [`wake`](Self::wake); [`Error::Closed`] when the queue or its
    /// cache was closed, or the client was and all was taken out; [`Error::Failed`] when the cache has stopped for good
    /// and all was taken out.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Item, Error> {
        self.next_with(timeout, |told| Item::from(told))
    }

    /// Takes out what is there, at most `most` items, without waiting.
    ///
    /// # Errors
    /// As [`next`](Self::next), without a timeout; a wake is used up.
    pub fn drain(&self, most: usize) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        self.drain_with(most, |told| items.push(Item::from(told)))?;
        Ok(items)
    }

    /// As [`next`](Self::next), and makes of the item what it likes.
    pub(crate) fn next_with<R>(
        &self,
        timeout: Option<Duration>,
        tell: impl FnMut(Told<'_>) -> R,
    ) -> Result<R, Error> {
        self.consumer.next(timeout, tell)
    }

    /// As [`drain`](Self::drain). Returns how many there were.
    pub(crate) fn drain_with(&self, most: usize, tell: impl FnMut(Told<'_>)) -> Result<usize, Error> {
        self.consumer.drain(most, tell)
    }

    /// A descriptor that is readable while there is something to take or to say: an item, a wake, the end. It is the
    /// queue's: to be waited for, never to be read, written or closed. Made when it is first asked for, the same from
    /// then on, non-blocking, close-on-exec. It may be readable though there turns out to be no item.
    ///
    /// # Errors
    /// [`Error::NoResources`] when the system has no descriptor left.
    pub fn fd(&self) -> Result<RawFd, Error> {
        self.health.check()?;
        self.consumer.fd()
    }

    /// Ends a [`next`](Self::next) that waits, or the one that comes next, with [`Error::Interrupted`]. Several that come
    /// before that are one.
    pub fn wake(&self) {
        self.consumer.wake();
    }

    /// Detaches the queue: what waits is let go, and who waits is sent away with [`Error::Closed`]. Never waits. May
    /// be called twice.
    pub fn close(&self) {
        // In the child of a fork another thread may have its locks for ever.
        if !self.health.is_forked() {
            self.feed.leave(&self.consumer);
        }
    }

    #[cfg(feature = "ffi")]
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// After a panic in a call: the queue is of no use any more, also to those who wait.
    #[cfg(feature = "ffi")]
    pub(crate) fn fail(&self) {
        self.health.ruin();
        self.consumer.end(crate::error::Status::Panic);
    }
}

impl Drop for EventQueue {
    fn drop(&mut self) {
        self.close();
        if self.health.is_forked() {
            self.consumer.clone().abandon();
        }
    }
}

#[cfg(test)]
mod tests;
