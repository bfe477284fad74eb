//! Nodes: data and Stat.

use std::mem::{offset_of, size_of};

use super::boundary::Shared;
use crate::stat::Stat;
use crate::tree::{Node, NodeRef, layout};

/// ZooKeeper's Stat of a node. Its layout will never change.
#[repr(C)]
pub struct tc_stat {
    /// zxid of the creation: two nodes of one path are the same node only if this is equal.
    pub czxid: i64,
    /// zxid of the last change of the data.
    pub mzxid: i64,
    /// Time of the creation, in ms since the Unix epoch.
    pub ctime: i64,
    /// Time of the last change of the data, in ms since the Unix epoch.
    pub mtime: i64,
    /// Number of changes of the data since the creation.
    pub version: i32,
    /// Number of children created plus children deleted since the creation.
    pub cversion: i32,
    /// Number of changes of the ACL. ZooKeeper does not notify of these: as of the last read.
    pub aversion: i32,
    /// The session an ephemeral node belongs to, else 0.
    pub ephemeral_owner: i64,
    /// Length of the data in bytes.
    pub data_length: i32,
    /// Number of children.
    pub num_children: i32,
    /// zxid of the last creation or deletion of a child.
    pub pzxid: i64,
}

/// A node as it was when it was read; never changed, and independent of the cache. Freed with `tc_node_free`.
/// Later versions may add fields at its end.
#[repr(C)]
pub struct tc_node {
    /// The data; not NUL-terminated. Valid until the node is freed.
    pub data: *const u8,
    /// Length of the data in bytes; 0 also where ZooKeeper has no data.
    pub data_len: usize,
    /// The node's Stat.
    pub stat: tc_stat,
}

// A `tc_node` that a program owns is the front of a `Node`.
const _: () = {
    assert!(offset_of!(tc_node, data) == layout::DATA);
    assert!(offset_of!(tc_node, data_len) == layout::DATA_LEN);
    assert!(offset_of!(tc_node, stat) == layout::STAT);
    assert!(size_of::<tc_stat>() == size_of::<Stat>());
    assert!(offset_of!(tc_stat, czxid) == offset_of!(Stat, czxid));
    assert!(offset_of!(tc_stat, mzxid) == offset_of!(Stat, mzxid));
    assert!(offset_of!(tc_stat, ctime) == offset_of!(Stat, ctime));
    assert!(offset_of!(tc_stat, mtime) == offset_of!(Stat, mtime));
    assert!(offset_of!(tc_stat, version) == offset_of!(Stat, version));
    assert!(offset_of!(tc_stat, cversion) == offset_of!(Stat, cversion));
    assert!(offset_of!(tc_stat, aversion) == offset_of!(Stat, aversion));
    assert!(offset_of!(tc_stat, ephemeral_owner) == offset_of!(Stat, ephemeral_owner));
    assert!(offset_of!(tc_stat, data_length) == offset_of!(Stat, data_length));
    assert!(offset_of!(tc_stat, num_children) == offset_of!(Stat, num_children));
    assert!(offset_of!(tc_stat, pzxid) == offset_of!(Stat, pzxid));
};

// SAFETY: the layout is checked above.
unsafe impl Shared for tc_node {
    type Owner = Node;
}

/// The C view of a node that is lent; its data is the tree's.
pub(super) fn lend(node: NodeRef<'_>) -> tc_node {
    let (data, stat) = (node.data(), node.stat());
    let stat = tc_stat {
        czxid: stat.czxid.0,
        mzxid: stat.mzxid.0,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner,
        data_length: stat.data_length,
        num_children: stat.num_children,
        pzxid: stat.pzxid.0,
    };
    tc_node { data: data.as_ptr(), data_len: data.len(), stat }
}

/// The C view of a Stat that is lent.
pub(super) fn lend_stat(stat: &Stat) -> *const tc_stat {
    std::ptr::from_ref(stat).cast()
}

/// Frees a node that was returned by `tc_get_data` or `tc_snapshot_get_data`; NULL does nothing. Not a node that was
/// lent to a visitor. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_node_free(node: *const tc_node) {
    // SAFETY: the caller passes NULL or a node that it owns and does not use any more.
    unsafe { tc_node::free("tc_node_free", node) }
}
