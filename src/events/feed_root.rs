//! The root of what a feed tells.

use std::sync::{Arc, OnceLock};

use crate::path::NodePath;

/// The root that a feed's paths are at or below. It may become known later than the feed is made, but before a version is
/// told. A clone is the same.
#[derive(Clone)]
pub(crate) struct FeedRoot(Arc<OnceLock<NodePath>>);

impl FeedRoot {
    pub(crate) fn unknown() -> FeedRoot {
        FeedRoot(Arc::default())
    }

    /// Does nothing if it is known.
    pub(crate) fn becomes(&self, root: NodePath) {
        _ = self.0.set(root);
    }

    pub(super) fn get(&self) -> NodePath {
        self.0.get().cloned().unwrap_or_else(NodePath::root)
    }
}

impl From<NodePath> for FeedRoot {
    fn from(root: NodePath) -> FeedRoot {
        FeedRoot(Arc::new(root.into()))
    }
}
