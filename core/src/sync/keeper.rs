//! ClickHouse Keeper: how to tell it from ZooKeeper, and what its Stats do not say. Facts and proofs are in
//! `docs/decisions/0006-clickhouse-keeper.md`.
//!
//! Its recursive watches name the path that is watched, and not the node that has changed. So its caches have one-shot
//! watches. And a node's cversion moves when the data of a child is set, too, of which nothing tells.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::{Stat, Zxid};
use crate::wire::{self, Malformed, NotificationKind, ServerError};

/// How long to wait before a server is asked again that could not answer.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What kind of server the connection is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// It is to be asked, from this moment on (`None`: at once).
    Unknown(Option<Instant>),
    Asked,
    ZooKeeper,
    Keeper,
}

impl Kin {
    pub(super) fn is_known(self) -> bool {
        matches!(self, Kin::ZooKeeper | Kin::Keeper)
    }

    pub(super) fn poll_timeout(self) -> Option<Instant> {
        if let Kin::Unknown(at) = self { at } else { None }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            *self = Kin::Unknown(None);
        }
    }

    /// Whether the server is to be asked now.
    pub(super) fn takes_question(&mut self) -> bool {
        let is_due = *self == Kin::Unknown(None);
        if is_due {
            *self = Kin::Asked;
        }
        is_due
    }

    /// The answer: the Stat of the node in which a Keeper says what it can, or why there is none. That node was there before
    /// all transactions. On a ZooKeeper somebody may have created one with this path, but then a transaction did.
    ///
    /// # Errors
    /// It is no Stat.
    pub(super) fn answered(
        &mut self,
        error: ServerError,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Malformed> {
        let is_keeper = error.is_ok() && wire::stat_reply(body)?.czxid == Zxid(0);
        *self = match error {
            _ if is_keeper && !planted::is(Defect::KeeperTakenForZooKeeper) => Kin::Keeper,
            ServerError::OK | ServerError::NO_NODE | ServerError::NO_AUTH => Kin::ZooKeeper,
            _ => Kin::Unknown(Some(now + ASKED_AGAIN_AFTER)),
        };
        Ok(())
    }
}

/// What a recursive watch has told of its root since the root was read last.
///
/// ZooKeeper tells of each `setData` once, and each adds one to the version; and what was created or deleted is another
/// node afterwards. (An ACL may hide some of it: then less is told than has happened, and never more.)
#[derive(Debug, Clone, Copy)]
pub(super) struct RootTold {
    /// The root as it was known.
    known: Stat,
    sets: i32,
    is_replaced: bool,
}

impl RootTold {
    pub(super) fn of(known: Stat) -> RootTold {
        RootTold { known, sets: 0, is_replaced: false }
    }

    pub(super) fn note(&mut self, kind: NotificationKind) {
        match kind {
            NotificationKind::DataChanged => self.sets = self.sets.saturating_add(1),
            NotificationKind::Created | NotificationKind::Deleted => self.is_replaced = true,
            NotificationKind::ChildrenChanged | NotificationKind::Other(_) => {}
        }
    }

    /// Whether the root, as it was `found` behind all that, shows that something else has changed.
    pub(super) fn is_refuted_by(&self, found: &Stat) -> bool {
        let moved = found.version.wrapping_sub(self.known.version);
        self.known.is_same_node(found)
            && (self.is_replaced || moved < self.sets)
            && !planted::is(Defect::RootTakenForChanged)
    }
}

/// Where the data of children counts in a parent's cversion: what one reply has shown of that.
#[derive(Default)]
pub(super) struct Sets {
    /// What was read.
    read: BTreeSet<NodePath>,
    /// What has a child of which data was set, and not all of it was told.
    touched: BTreeSet<NodePath>,
    /// The zxid of the first read on this connection: all that counts was read no earlier.
    since: Option<Zxid>,
}

impl Sets {
    pub(super) fn note_read(&mut self, path: &NodePath) {
        self.read.insert(path.clone());
    }

    /// Whether the data of a node that is new to the cache may have been set after its parent was read.
    pub(super) fn may_be_news(&self, stat: &Stat) -> bool {
        stat.version != 0 && self.since.is_none_or(|since| stat.mzxid > since)
    }

    pub(super) fn touch(&mut self, parent: &NodePath) {
        if !self.touched.contains(parent) {
            self.touched.insert(parent.clone());
        }
    }

    /// The first of some single reads that stand for one was at this zxid.
    pub(super) fn note_first_read(&mut self, zxid: Zxid) {
        if !planted::is(Defect::LastSingleDates) {
            self.note_zxid(zxid);
        }
    }

    fn note_zxid(&mut self, zxid: Zxid) {
        if zxid > Zxid(0) {
            self.since.get_or_insert(zxid);
        }
    }

    /// A reply is through. Returns what is touched and was not read with it.
    pub(super) fn end_reply(&mut self, zxid: Zxid) -> Vec<NodePath> {
        self.note_zxid(zxid);
        let read = std::mem::take(&mut self.read);
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().filter(|path| !read.contains(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_single_reads_the_first_says_what_may_have_been_set_since() {
        let mut sets = Sets::default();
        let set_at = |zxid| Stat { version: 1, mzxid: Zxid(zxid), ..Stat::default() };
        sets.note_first_read(Zxid(10));
        assert!(sets.end_reply(Zxid(12)).is_empty());
        assert!(!sets.may_be_news(&set_at(10)) && sets.may_be_news(&set_at(11)));
    }
}
