//! What consumers are told, and how listeners are named.

use crate::error::Fault;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::NodeRef;

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
    /// No more events of this version follow: the events since the last one with this flag may be applied together.
    pub last_of_version: bool,
    /// The node's absolute path; `None` unless this is a node event.
    pub path: Option<&'a str>,
    /// The node as it is now; if it was removed, as it was last known.
    pub node: Option<NodeRef<'a>>,
    /// The node as it was before an update.
    pub old: Option<NodeRef<'a>>,
    /// The zxid of the version that the event belongs to; 0 for events of the connection.
    pub zxid: Zxid,
}

/// Names a listener of one cache or client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);
