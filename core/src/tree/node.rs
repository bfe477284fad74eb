//! One node of the tree: its data and its Stat, never changed once made.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::stat::Stat;

/// What an `Arc` takes beside what is in it: its two counts.
pub(super) const COUNTED: usize = 2 * size_of::<usize>();

/// A node's data and Stat. Immutable, and shared by count between all versions of the tree that hold it.
///
/// The first three fields have C's layout: a `tc_node` lent to a C program *is* this node (`ffi` checks the layout
/// at compile time), so that handing one out costs a lookup and an increment.
#[derive(Debug)]
#[repr(C)]
pub struct Node {
    /// Where `bytes` begins. An `AtomicPtr` has a pointer's layout but may travel between threads; it is never
    /// stored to again.
    data: AtomicPtr<u8>,
    data_len: usize,
    stat: Stat,
    /// Owns what `data` points to. Shared, so that a new Stat for the same data copies nothing.
    bytes: Arc<[u8]>,
}

impl Node {
    /// One with this data, which is not copied, and this Stat.
    pub fn new(data: Arc<[u8]>, stat: Stat) -> Node {
        Node { data: AtomicPtr::new(data.as_ptr().cast_mut()), data_len: data.len(), stat, bytes: data }
    }

    /// The same data with another Stat.
    pub fn with_stat(&self, stat: Stat) -> Node {
        Node::new(self.bytes.clone(), stat)
    }

    /// Empty also where ZooKeeper has no data (NULL).
    pub fn data(&self) -> &[u8] {
        debug_assert_eq!(self.data.load(Ordering::Relaxed).cast_const(), self.bytes.as_ptr());
        debug_assert_eq!(self.data_len, self.bytes.len());
        &self.bytes
    }

    /// Bytes of memory that go with the node, about; without its data where `other` shares that.
    pub(super) fn footprint_beside(&self, other: Option<&Node>) -> usize {
        let shares = other.is_some_and(|other| Arc::ptr_eq(&self.bytes, &other.bytes));
        COUNTED + size_of::<Node>() + if shares { 0 } else { COUNTED + self.data_len }
    }

    /// As the server gave it.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Whether `other` is the same node in ZooKeeper's sense: a node that was deleted and created again is not.
    pub fn is_same_node(&self, other: &Node) -> bool {
        self.stat.is_same_node(&other.stat)
    }

    /// Whether `other` is the same node with the same data. If nothing has changed, both hold one allocation, and
    /// comparing the pointers is enough.
    pub fn has_same_data(&self, other: &Node) -> bool {
        self.stat.has_same_data(&other.stat)
            && (Arc::ptr_eq(&self.bytes, &other.bytes) || self.bytes == other.bytes)
    }
}

/// Offsets of the fields that C sees, for the layout check in `ffi`.
pub mod layout {
    use super::Node;
    use std::mem::offset_of;

    /// That of the pointer to the data.
    pub const DATA: usize = offset_of!(Node, data);
    /// That of the length of the data in bytes, a `size_t` to C.
    pub const DATA_LEN: usize = offset_of!(Node, data_len);
    /// That of the [`Stat`](crate::stat::Stat), which lies in the node itself.
    pub const STAT: usize = offset_of!(Node, stat);
}
