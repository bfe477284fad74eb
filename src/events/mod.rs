//! What a cache tells, to whom, and the thread that calls those who want to be called.
//!
//! Node events arise in one way: as the difference of two consecutive published versions. So a listener that joins
//! late gets the difference from nothing, and one that fell behind the difference from what it saw last; neither
//! needs code of its own. Knows trees and versions, and nothing of ZooKeeper.
//!
//! Every consumer has a queue of its own. Listeners are called with what comes out of theirs by the dispatcher; a
//! program that takes things out by itself uses an [`EventQueue`].
//!
//! - `Feed`: the consumers of one cache (or client), behind one short lock.
//! - `Queue`: what one consumer has not been told yet, and its place in the difference that it is being told.
//! - `Backlog`: what waits in a queue, kept bounded.
//! - `Changes`: the events that lead from one version to the next.
//! - `Descriptor`: what can be polled for.
//! - `Dispatcher`: the thread of a client on which every callback runs.

mod backlog;
mod changes;
mod descriptor;
mod dispatcher;
mod event_queue;
mod feed;
mod queue;

use std::sync::Arc;

use crate::error::Fault;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::Node;

pub(crate) use backlog::Capacity;
pub(crate) use changes::Changes;
pub(crate) use dispatcher::{Dispatcher, on_dispatcher_thread};
pub use event_queue::{EventQueue, Item};
pub(crate) use feed::Feed;

/// What a consumer is told, lent to it.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Something happened to the cache.
    Event(&'a Event<'a>),
    /// Something went wrong in the background. Only for those who asked for faults.
    Fault(&'a Fault),
}

/// Something that happened to a cache, lent.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What happened.
    pub kind: EventKind,
    /// No more events of this version follow: what came since the last one with this flag may be applied as one.
    pub last_of_version: bool,
    /// The node's absolute path; `None` unless this is a node event.
    pub path: Option<&'a str>,
    /// The node as it is now; the last known one when it was removed.
    pub node: Option<&'a Arc<Node>>,
    /// The node as it was before an update.
    pub old: Option<&'a Arc<Node>>,
    /// That of the version which the event belongs to; 0 for events of the connection.
    pub zxid: Zxid,
}

/// Names a listener of one cache or client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);
