//! What the unit tests of this folder share.

use std::sync::Arc;

use super::{Capacity, Dispatcher, Event, Feed, Listeners};
use crate::path::NodePath;
use crate::snapshot::tests::node;
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::{Tree, Version};

/// Room for so many events.
pub(super) fn room(events: usize) -> Capacity {
    Capacity { events, bytes: usize::MAX }
}

/// A tree that a test edits and publishes.
pub(super) struct Author {
    pub(super) feed: Arc<Feed>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) tree: Tree,
    zxid: i64,
    published: i64,
}

impl Author {
    /// `events`: how many of them a listener may lag.
    pub(super) fn new(dispatcher: &Dispatcher, events: usize) -> Author {
        let root = NodePath::new("/r").unwrap();
        let listeners = dispatcher.listeners(root, room(events));
        let feed = listeners.feed().clone();
        let mut author = Author { feed, listeners, tree: Tree::default(), zxid: 0, published: 0 };
        author.put("");
        author
    }

    pub(super) fn put(&mut self, path: &str) {
        self.zxid += 1;
        let czxid = self.tree.get(path).and_then(|entry| entry.node()).map(|node| node.stat().czxid.0);
        assert!(self.tree.put(path, node(czxid.unwrap_or(self.zxid), self.zxid)));
    }

    /// That of the version that was published last.
    pub(super) fn published_at(&self) -> Zxid {
        Zxid(self.published)
    }

    pub(super) fn publish(&mut self) {
        self.zxid += 1;
        self.published = self.zxid;
        let version = Version {
            tree: self.tree.clone(),
            zxid: Zxid(self.zxid),
            is_cut: true,
            is_complete: true,
            is_own: true,
        };
        self.feed.publish(Arc::new(version), 1);
    }
}

/// An event in words; the last of a version has a dot.
pub(super) fn described(event: &Event<'_>) -> String {
    let sign = match event.kind {
        EventKind::NodeAdded => "+",
        EventKind::NodeUpdated => "~",
        EventKind::NodeRemoved => "-",
        kind => return format!("{kind:?}"),
    };
    assert_eq!(event.old.is_some(), event.kind == EventKind::NodeUpdated);
    assert!(event.node.is_some() && event.zxid > Zxid(0));
    format!("{sign}{}{}", event.path.unwrap(), if event.last_of_version { "." } else { "" })
}
