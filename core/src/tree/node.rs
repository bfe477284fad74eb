//! A node: its data and its Stat.

use std::fmt;
use std::sync::Arc;

use super::footprint::Footprint;
use crate::stat::Stat;

/// Bytes that are lent, maybe by an allocation of their own, which can be shared then.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'t> {
    Lent(&'t [u8]),
    Shared(&'t Arc<[u8]>),
    /// None, whatever there may have been.
    NotKept,
}

impl<'t> Bytes<'t> {
    #[inline]
    pub(super) fn as_slice(self) -> &'t [u8] {
        match self {
            Bytes::Lent(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
            Bytes::NotKept => &[],
        }
    }

    /// Copies them, unless they can be shared.
    pub(super) fn to_shared(self) -> Arc<[u8]> {
        match self {
            Bytes::Lent(bytes) => Arc::from(bytes),
            Bytes::Shared(bytes) => bytes.clone(),
            Bytes::NotKept => Arc::default(),
        }
    }
}

impl PartialEq for Bytes<'_> {
    fn eq(&self, other: &Bytes<'_>) -> bool {
        matches!((self, other), (Bytes::Shared(a), Bytes::Shared(b)) if Arc::ptr_eq(a, b))
            || self.as_slice() == other.as_slice()
    }
}

/// A node's data and Stat, lent by a tree, an event or a [`Node`].
#[derive(Clone, Copy, PartialEq)]
pub struct NodeRef<'t> {
    stat: Stat,
    data: Bytes<'t>,
}

impl<'t> NodeRef<'t> {
    /// One with this data and this Stat.
    pub fn new(data: &'t [u8], stat: Stat) -> NodeRef<'t> {
        NodeRef { stat, data: Bytes::Lent(data) }
    }

    /// One whose data is not kept.
    pub fn without_data(stat: Stat) -> NodeRef<'t> {
        NodeRef { stat, data: Bytes::NotKept }
    }

    pub(super) fn of_bytes(data: Bytes<'t>, stat: Stat) -> NodeRef<'t> {
        NodeRef { stat, data }
    }

    pub(super) fn bytes(&self) -> Bytes<'t> {
        self.data
    }

    /// Whether both have one allocation for their data.
    pub(super) fn shares_data(&self, other: &NodeRef<'_>) -> bool {
        matches!((self.data, other.data), (Bytes::Shared(a), Bytes::Shared(b)) if Arc::ptr_eq(a, b))
    }

    /// How many bytes its data takes that do not stand in a block.
    pub(super) fn footprint_beside(&self) -> usize {
        match self.data {
            Bytes::Lent(_) | Bytes::NotKept => 0,
            Bytes::Shared(data) => data.footprint(),
        }
    }

    /// Empty also where ZooKeeper has no data (NULL), and where it is not kept.
    #[inline]
    pub fn data(&self) -> &'t [u8] {
        self.data.as_slice()
    }

    /// Whether the data is kept, be it empty.
    #[inline]
    pub fn is_data_kept(&self) -> bool {
        !matches!(self.data, Bytes::NotKept)
    }

    /// As the server gave it.
    #[inline]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The node as a value of its own. Small data is copied, large data is shared.
    pub fn to_node(&self) -> Node {
        self.with_stat(self.stat)
    }

    /// As [`to_node`](Self::to_node), with another Stat.
    pub fn with_stat(&self, stat: Stat) -> Node {
        match self.data {
            Bytes::NotKept => Node::without_data(stat),
            data => Node::new(data.to_shared(), stat),
        }
    }

    /// Whether `other` is the same node in ZooKeeper's sense: a node that was deleted and created again is not.
    pub fn is_same_node(&self, other: &NodeRef<'_>) -> bool {
        self.stat.is_same_node(&other.stat)
    }

    /// Whether `other` is the same node with the same data.
    pub fn has_same_data(&self, other: &NodeRef<'_>) -> bool {
        self.stat.has_same_data(&other.stat) && self.data == other.data
    }
}

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeRef").field("data", &self.data()).field("stat", &self.stat).finish()
    }
}

/// A node's data and Stat as a value of its own, independent of the tree. Immutable.
#[derive(Debug, Clone)]
pub struct Node {
    stat: Stat,
    /// Shared, so that large data is not copied; `None`: it is not kept.
    data: Option<Arc<[u8]>>,
}

impl Node {
    /// One with this data, which is not copied, and this Stat.
    pub fn new(data: Arc<[u8]>, stat: Stat) -> Node {
        Node { stat, data: Some(data) }
    }

    /// One whose data is not kept.
    pub fn without_data(stat: Stat) -> Node {
        Node { stat, data: None }
    }

    /// Lends it.
    pub fn lend(&self) -> NodeRef<'_> {
        NodeRef { stat: self.stat, data: self.data.as_ref().map_or(Bytes::NotKept, Bytes::Shared) }
    }

    /// Empty also where ZooKeeper has no data (NULL), and where it is not kept.
    pub fn data(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }

    /// As the server gave it.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.lend() == other.lend()
    }
}
