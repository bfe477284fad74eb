//! What a cache tells, to whom, and the thread that calls those who want to be called.
//!
//! Node events arise in one way: as the difference of two consecutive published versions. So a listener that joins
//! late gets the difference from nothing, and one that fell behind the difference from what it saw last; neither
//! needs code of its own. Knows trees and versions, and nothing of ZooKeeper.
//!
//! Each module knows those above it here, and none below:
//!
//! - `told`: events as they are told, and how listeners are named.
//! - `feed_root`: the root of the paths in events, which may become known late.
//! - `descriptor`: what can be polled for.
//! - `changes`: the events that lead from one version to the next.
//! - `wants`: which events and faults a consumer is to be told.
//! - `backlog`: the versions and events that wait for one consumer, kept bounded.
//! - `consumer`: what one consumer has not been told yet, and its place in the difference that it is being told.
//! - `faults`: what has gone wrong so far.
//! - `feed`: the consumers of one cache (or client), behind one short lock. This is where the I/O thread puts things in;
//!   who takes them out is told below.
//! - `event_queue`: the *queue*, a consumer that the program takes things out of by itself.
//! - `turns`: who is next among the consumers that have something for their listeners.
//! - `mailbox`: what one thread is told by others.
//! - `listeners`: consumers with a callback: their turns, the calls, and the panics in them.
//! - `dispatcher`: the thread of a client on which every callback runs.

mod backlog;
mod changes;
mod consumer;
mod descriptor;
mod dispatcher;
mod event_queue;
mod faults;
mod feed;
mod feed_root;
mod listeners;
mod mailbox;
mod told;
mod turns;
mod wants;

#[cfg(test)]
mod tests;

pub(crate) use backlog::Capacity;
pub(crate) use changes::Changes;
pub(crate) use dispatcher::Dispatcher;
pub use event_queue::{EventQueue, Item};
pub(crate) use feed::{Feed, Feeds};
pub(crate) use feed_root::FeedRoot;
pub(crate) use listeners::{Listeners, on_dispatcher_thread};
pub use told::{Event, ListenerId, Told};
pub(crate) use wants::{EventKinds, Interest, Wants};
