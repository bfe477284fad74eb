//! The events that lead from one version to the next.

use super::told::Event;
use crate::path::NodePath;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::{Change, Differences};

/// The node events that are made of the differences between two versions of one cache, in order. Each is worked out when
/// it is asked for.
pub(crate) struct Changes {
    root: NodePath,
    zxid: Zxid,
    differences: Differences,
    /// The change that is told next. It was fetched ahead, so that the last change is known to be the last. `None`:
    /// there are no more.
    ahead: Option<(String, Change)>,
    /// A path's memory, to be used again.
    spare: String,
}

impl Changes {
    /// Of versions with this root; the newer one is of `zxid`.
    pub(crate) fn new(root: NodePath, zxid: Zxid, differences: Differences) -> Changes {
        let mut changes = Changes { root, zxid, differences, ahead: None, spare: String::new() };
        changes.advance();
        changes
    }

    pub(super) fn is_over(&self) -> bool {
        self.ahead.is_none()
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Option<NodeEvent> {
        let (path, change) = self.ahead.take()?;
        self.advance();
        Some(NodeEvent { path, change, last_of_version: self.is_over(), zxid: self.zxid })
    }

    /// Takes back the memory of an event that was told.
    pub(crate) fn reuse(&mut self, event: NodeEvent) {
        self.spare = event.path;
    }

    fn advance(&mut self) {
        if let Some((relative, change)) = self.differences.next() {
            let mut path = std::mem::take(&mut self.spare);
            self.root.write_absolute(relative, &mut path);
            self.ahead = Some((path, change));
        }
    }
}

/// An event about a node, with what it speaks of.
pub(crate) struct NodeEvent {
    path: String,
    change: Change,
    last_of_version: bool,
    zxid: Zxid,
}

impl NodeEvent {
    pub(crate) fn lend(&self) -> Event<'_> {
        let (kind, node, old) = match &self.change {
            Change::Removed { node } => (EventKind::NodeRemoved, node, None),
            Change::Added { node } => (EventKind::NodeAdded, node, None),
            Change::Updated { node, old } => (EventKind::NodeUpdated, node, old.node()),
        };
        let NodeEvent { last_of_version, zxid, .. } = *self;
        Event { kind, last_of_version, path: Some(&self.path), node: node.node(), old, zxid }
    }
}
