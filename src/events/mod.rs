//! What a cache tells: listeners, the backlog of what they have not been told yet, and the thread that calls them.
//!
//! Node events arise in one way: as the difference of two consecutive published versions. So a listener that joins
//! late gets the difference from nothing, and one that fell behind the difference from what it saw last; neither
//! needs code of its own. Knows trees and versions, and nothing of ZooKeeper.
//!
//! - `Feed`: one cache's (or client's) listeners and backlog, behind one short lock.
//! - `Backlog`: what waits to be told, kept bounded.
//! - `Dispatcher`: the thread of a client on which every callback runs.

mod backlog;
mod dispatcher;
mod feed;

use std::sync::Arc;

use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::Node;

pub(crate) use dispatcher::{Dispatcher, on_dispatcher_thread};
pub(crate) use feed::Feed;

/// Something that happened to a cache, lent to a listener for one call.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
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
