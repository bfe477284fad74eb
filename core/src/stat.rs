//! ZooKeeper's transaction ids and node metadata, the vocabulary that every layer shares.

use std::fmt;

use crate::planted::{self, Defect};

/// A ZooKeeper transaction id: the position of a change in the ensemble's history (epoch in the high 32 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Zxid(pub i64);

impl Zxid {
    /// Whether a server that names this zxid in a header names a transaction. A leader names `epoch << 32` until the
    /// first transaction of its epoch, while its followers still name the last one of the epoch before
    /// (`Leader.lead` in ZooKeeper sets it). A standalone server does count through such numbers; nothing is lost by
    /// waiting for its next one.
    pub fn is_transaction(self) -> bool {
        self.0 > 0 && (self.0 & 0xffff_ffff != 0 || planted::is(Defect::EpochTakenForTransaction))
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// ZooKeeper's `Stat` of a node. The layout is C's, and frozen: it is `tc_stat` in the C API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Stat {
    /// zxid of the creation: two nodes of one path are the same node only if this is equal.
    pub czxid: Zxid,
    /// zxid of the last change of the data.
    pub mzxid: Zxid,
    /// Time of the creation, in ms since the Unix epoch.
    pub ctime: i64,
    /// Time of the last change of the data, in ms since the Unix epoch.
    pub mtime: i64,
    /// Number of changes of the data since the creation.
    pub version: i32,
    /// Number of children created plus children deleted since the creation.
    pub cversion: i32,
    /// Number of changes of the ACL since the creation. Nothing notifies of these: as of the last read.
    pub aversion: i32,
    /// The session an ephemeral node belongs to, else 0.
    pub ephemeral_owner: i64,
    /// Length of the data in bytes.
    pub data_length: i32,
    /// Number of children.
    pub num_children: i32,
    /// zxid of the last creation or deletion of a child.
    pub pzxid: Zxid,
}

impl Stat {
    /// The newest zxid that made this Stat what it is (its aversion aside).
    pub fn newest(&self) -> Zxid {
        self.czxid.max(self.mzxid).max(self.pzxid)
    }

    /// Whether both are of one node, and not of a deleted node and the one that was created in its place. Two histories
    /// may share a zxid, so the time, which a server stamps in ms, must be the same too.
    pub fn is_same_node(&self, other: &Stat) -> bool {
        self.czxid == other.czxid && (self.ctime == other.ctime || planted::is(Defect::IdentityByZxid))
    }

    /// Whether both are of one node, with the same data.
    pub fn has_same_data(&self, other: &Stat) -> bool {
        let data = |stat: &Stat| (stat.mzxid, stat.mtime, stat.version, stat.data_length);
        self.is_same_node(other)
            && (data(self) == data(other) || self.mzxid == other.mzxid && planted::is(Defect::IdentityByZxid))
    }

    /// Whether both are of one node with the same child list, if they are of one history. Beyond 2^31 creations below
    /// one node, a creation changes neither pzxid nor cversion (`DataTree.createNode`), only `num_children`.
    pub fn has_same_children(&self, other: &Stat) -> bool {
        let list = |stat: &Stat| (stat.pzxid, stat.cversion, stat.num_children);
        self.is_same_node(other) && list(self) == list(other)
    }

    /// Whether creations below the node are not counted any more. On the wire cversion is twice the number of
    /// creations, less `num_children` (`DataNode.copyStat`), and that number ends at 2^31 - 1.
    pub fn is_saturated(&self) -> bool {
        self.cversion.wrapping_add(self.num_children) == i32::MAX.wrapping_mul(2)
    }
}
