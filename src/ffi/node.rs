//! Nodes: data and Stat.

use std::alloc::{self, Layout};
use std::mem::{align_of, offset_of, size_of};
use std::ptr;

use super::boundary::{Out, guard, null};
use crate::error::Error;
use crate::stat::Stat;
use crate::tree::{Node, NodeRef};

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
    /// The data; not NUL-terminated. Valid until the node is freed. NULL with `data=none`.
    pub data: *const u8,
    /// Length of the data in bytes; 0 also where ZooKeeper has no data, and with `data=none`. How long it is at the server
    /// is the Stat's `data_length`.
    pub data_len: usize,
    /// The node's Stat.
    pub stat: tc_stat,
}

// A `tc_stat` that is lent is a `Stat`.
const _: () = {
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

/// The C view of a node that is lent; its data is the tree's.
pub(super) fn lend(node: NodeRef<'_>) -> tc_node {
    let (data, stat) = (node.data(), stat_of(node.stat()));
    let lent = if node.is_data_kept() { data.as_ptr() } else { ptr::null() };
    tc_node { data: lent, data_len: data.len(), stat }
}

/// The C view of a Stat that is lent.
pub(super) fn lend_stat(stat: &Stat) -> *const tc_stat {
    std::ptr::from_ref(stat).cast()
}

/// A copy for C.
pub(super) fn stat_of(stat: &Stat) -> tc_stat {
    tc_stat {
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
    }
}

// --- Nodes that a program owns ------------------------------------------------------------------------------------

/// Up to how many bytes of data are copied when a node is given to C. Threads that read one node would hand the line with
/// its count back and forth: that takes longer than to copy so much, and what is copied keeps nothing else alive.
const COPIED: usize = 1024;

/// What a `tc_node` that a program owns points to, behind it.
#[repr(C)]
struct Owner {
    view: tc_node,
    /// Whose data the view lends; `None` when the data is a copy, right behind this in the same allocation.
    kept: Option<Node>,
}

impl Owner {
    /// That of an owner with so many bytes behind it.
    fn layout(copied: usize) -> Layout {
        let size = size_of::<Owner>() + copied;
        Layout::from_size_align(size, align_of::<Owner>()).expect("a size that memory has")
    }
}

/// A node for C to own, until `tc_node_free`.
pub(super) fn into_raw(node: NodeRef<'_>) -> *const tc_node {
    let is_copied = node.data().len() <= COPIED;
    // Data that is so large has an allocation of its own in the tree, which is shared.
    let kept = (!is_copied).then(|| node.to_node());
    let mut view = lend(kept.as_ref().map_or(node, Node::lend));
    let layout = Owner::layout(if is_copied { view.data_len } else { 0 });
    // SAFETY: the size is not 0.
    let owner = unsafe { alloc::alloc(layout) }.cast::<Owner>();
    if owner.is_null() {
        alloc::handle_alloc_error(layout);
    }
    // SAFETY: the allocation is new, has room for an owner, and behind it for the data that is copied.
    unsafe {
        if is_copied && !view.data.is_null() {
            let behind = owner.add(1).cast::<u8>();
            ptr::copy_nonoverlapping(view.data, behind, view.data_len);
            view.data = behind;
        }
        owner.write(Owner { view, kept });
    }
    owner.cast()
}

/// Frees a node that was returned by `tc_get_data` or `tc_snapshot_get_data`; NULL does nothing. Not a node that was
/// lent to a visitor. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_node_free(node: *const tc_node) {
    if node.is_null() {
        return;
    }
    // SAFETY: the caller passes a node that came from `into_raw`, owns it, and does not use it any more.
    unsafe {
        let owner = node.cast_mut().cast::<Owner>();
        let Owner { view, kept } = owner.read();
        alloc::dealloc(owner.cast(), Owner::layout(if kept.is_none() { view.data_len } else { 0 }));
        guard("tc_node_free", || {
            drop(kept);
            Ok(())
        });
    }
}

// --- Buffers of a program -----------------------------------------------------------------------------------------

/// Where a node is copied to, in memory of the program's.
pub(super) struct Buffer {
    bytes: *mut u8,
    capacity: usize,
    data_len: Out<usize>,
    stat: Option<Out<tc_stat>>,
}

impl Buffer {
    /// # Safety
    /// Each pointer is NULL, or valid for writing as long as this lives, `buffer` for `capacity` bytes.
    pub(super) unsafe fn new(
        buffer: *mut u8,
        capacity: usize,
        data_len: *mut usize,
        stat: *mut tc_stat,
    ) -> Result<Buffer, Error> {
        if buffer.is_null() && capacity > 0 {
            return Err(null("buffer"));
        }
        // SAFETY: the caller's promise.
        let (data_len, stat) = unsafe { (Out::new("data_len", data_len)?, Out::optional(stat)) };
        Ok(Buffer { bytes: buffer, capacity, data_len, stat })
    }

    /// Copies data and Stat; when the data has no room, says only how much it needs.
    pub(super) fn fill(self, node: NodeRef<'_>) -> Result<(), Error> {
        let data = node.data();
        self.data_len.write(data.len());
        if data.len() > self.capacity {
            return Err(Error::TooSmall(data.len()));
        }
        if !data.is_empty() {
            // SAFETY: there is room for so many bytes, and the program has no part in the node's.
            unsafe { ptr::copy_nonoverlapping(data.as_ptr(), self.bytes, data.len()) }
        }
        if let Some(stat) = self.stat {
            stat.write(stat_of(node.stat()));
        }
        Ok(())
    }
}
