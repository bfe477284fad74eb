//! The watches of one connection, as a server keeps them (`DataTree`, `WatchManager`; of a Keeper,
//! `KeeperStorage::processWatchesImpl`).

use std::collections::BTreeSet;
use std::sync::Arc;

use treecache_checks::{Access, Happened, Kind, Truth};
use treecache_core::Zxid;

use super::checks::{is_below, parent};

/// What a notification says, by its number.
pub const CREATED: i32 = 1;
pub const DELETED: i32 = 2;
pub const DATA_CHANGED: i32 = 3;
pub const CHILDREN_CHANGED: i32 = 4;

#[derive(Default)]
pub struct Watches {
    /// Those that tell of all below name the root, and not what has changed (ClickHouse issue 115475).
    pub names_roots: bool,
    /// The roots of those that tell of all below, again and again.
    pub recursive: Vec<Arc<str>>,
    /// Those that tell of one change: `DataTree.dataWatches` and `childWatches`.
    data: BTreeSet<Arc<str>>,
    lists: BTreeSet<Arc<str>>,
}

impl Watches {
    pub fn is_empty(&self) -> bool {
        self.recursive.is_empty() && self.data.is_empty() && self.lists.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Watches { names_roots: self.names_roots, ..Watches::default() };
    }

    /// Whether a change of this node's data would be told.
    pub fn tells_of_data(&self, path: &str) -> bool {
        self.recursive.iter().any(|root| is_below(path, root)) || self.data.contains(path)
    }

    /// An `exists` with a watch sets it whether there is a node or not.
    pub fn set_data(&mut self, path: &str) {
        self.data.insert(path.into());
    }

    /// `DataTree.setWatches`: what has changed since then is told at once, and its watch is not set.
    pub fn set(
        &mut self,
        since: Zxid,
        data: Vec<String>,
        missing: Vec<String>,
        lists: Vec<String>,
        truth: &Truth,
    ) -> Vec<(i32, String)> {
        let mut told = Vec::new();
        for path in data {
            match truth.get(&path) {
                None => told.push((DELETED, path)),
                Some(node) if node.stat.mzxid > since => told.push((DATA_CHANGED, path)),
                Some(_) => _ = self.data.insert(path.into()),
            }
        }
        for path in missing {
            match truth.get(&path) {
                Some(_) => told.push((CREATED, path)),
                None => _ = self.data.insert(path.into()),
            }
        }
        for path in lists {
            match truth.get(&path) {
                None => told.push((DELETED, path)),
                Some(node) if node.stat.pzxid > since => told.push((CHILDREN_CHANGED, path)),
                Some(_) => _ = self.lists.insert(path.into()),
            }
        }
        told
    }

    /// What is told of something that happened, and the ACLs that decide whether it is; `truth` is the tree behind it. A
    /// watch that tells of one change is used up, whether that is told or not (`WatchManager.triggerWatch`).
    pub fn trigger(&mut self, happened: &Happened, truth: &Truth) -> Vec<(i32, Arc<str>, Access)> {
        let Happened { kind, path, access } = happened;
        let mut told = Vec::new();
        let is_recursive = self.recursive.iter().any(|root| is_below(path, root));
        let (kind, of_parent) = match kind {
            Kind::Created => (CREATED, true),
            Kind::Deleted => (DELETED, true),
            Kind::DataChanged => (DATA_CHANGED, false),
            Kind::AclChanged => return told,
        };
        let of_data = self.data.remove(path);
        let of_list = kind == DELETED && self.lists.remove(path);
        if is_recursive && self.names_roots {
            let above = self.recursive.iter().filter(|root| is_below(path, root));
            told.extend(above.map(|root| (kind, root.clone(), *access)));
        }
        if is_recursive && !self.names_roots || of_data || of_list {
            told.push((kind, path.clone(), *access));
        }
        if of_parent && let Some(parent) = self.lists.take(parent(path)) {
            let access = truth.get(&parent).map_or(Access::Everyone, |parent| parent.access);
            told.push((CHILDREN_CHANGED, parent, access));
        }
        told
    }
}
