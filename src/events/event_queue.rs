//! A queue that the program takes events out of, on threads of its own.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::Capacity;
use super::consumer::Consumer;
use super::feed::Feed;
use super::told::{Event, Told};
use super::wants::Wants;
use crate::error::{Error, Fault};
use crate::health::Health;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::Node;

/// What a cache has to tell. The program takes it out when it likes to: first the tree so far, as additions (and
/// INITIALIZED if the cache is initialized), then what follows, without gap or duplicate; or what of that the keys
/// `listen.…` of its configuration leave. Any number of threads may take from it at once; each item goes to one of them.
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
        /// The node as it was behind this event; if it was removed, as it was last known.
        node: Option<Node>,
        /// The node as it was before an update; `None` for all other events.
        old: Option<Node>,
        /// The zxid of the version that the event belongs to; 0 for events of the connection.
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
                node: node.as_ref().map(Node::lend),
                old: old.as_ref().map(Node::lend),
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
                node: event.node.map(|node| node.to_node()),
                old: event.old.map(|old| old.to_node()),
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
        wants: Wants,
        capacity: Capacity,
    ) -> Result<EventQueue, Error> {
        let consumer = feed.join(wants, capacity, None)?;
        Ok(EventQueue { health, feed, consumer })
    }

    /// Takes the next item out. If there is none, waits for one, at most `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Interrupted`] after [`wake`](Self::wake); [`Error::Closed`] when the queue or its
    /// cache was closed, or when the client was closed and all was taken out; [`Error::Failed`] when the cache has
    /// stopped for good and all was taken out.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Item, Error> {
        self.next_with(timeout, |told| Item::from(told))
    }

    /// Takes out what is there, at most `most` items, without waiting.
    ///
    /// # Errors
    /// As [`next`](Self::next), but neither [`Error::Timeout`] nor [`Error::Interrupted`]: a wake is used up without an
    /// error.
    pub fn drain(&self, most: usize) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        self.drain_with(most, |told| items.push(Item::from(told)))?;
        Ok(items)
    }

    /// As [`next`](Self::next), but returns what `tell` makes of the item.
    pub(crate) fn next_with<R>(
        &self,
        timeout: Option<Duration>,
        tell: impl FnMut(Told<'_>) -> R,
    ) -> Result<R, Error> {
        self.consumer.next(timeout, tell).map_err(|error| match error {
            // Who only asks does so often, and is told in a moment.
            Error::Timeout { after: Duration::ZERO, .. } => error,
            error => error.behind(|| self.feed.last_fault()),
        })
    }

    /// As [`drain`](Self::drain), but gives the items to `tell`. Returns how many there were.
    pub(crate) fn drain_with(&self, most: usize, tell: impl FnMut(Told<'_>)) -> Result<usize, Error> {
        self.consumer.drain(most, tell)
    }

    /// A descriptor that is readable while there is something to take or to say: an item, a wake, the end. It belongs
    /// to the queue: wait for it, but never read, write or close it. It is made when it is first asked for, and stays
    /// the same from then on; it is non-blocking and close-on-exec. It may be readable even if there turns out to be no
    /// item.
    ///
    /// # Errors
    /// [`Error::NoResources`] when the system has no descriptor left.
    pub fn fd(&self) -> Result<RawFd, Error> {
        self.health.check()?;
        self.consumer.fd()
    }

    /// Ends a [`next`](Self::next) that waits, or the one that comes next, with [`Error::Interrupted`]. Several wakes
    /// before that count as one.
    pub fn wake(&self) {
        self.consumer.wake();
    }

    /// Detaches the queue: drops what waits to be taken, and sends away with [`Error::Closed`] whoever waits for it.
    /// Never waits itself. May be called twice.
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
