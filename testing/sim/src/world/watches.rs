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
    /// The nodes whose data, and whose child list, is told of again and again.
    alone: BTreeSet<Arc<str>>,
    alone_lists: BTreeSet<Arc<str>>,
    /// Those that tell of one change: `DataTree.dataWatches` and `childWatches`.
    data: BTreeSet<Arc<str>>,
    lists: BTreeSet<Arc<str>>,
}

impl Watches {
    pub fn is_empty(&self) -> bool {
        !self.are_persistent() && self.data.is_empty() && self.lists.is_empty()
    }

    /// Whether some are not used up by what they tell.
    pub fn are_persistent(&self) -> bool {
        !self.recursive.is_empty() || !self.alone_lists.is_empty()
    }

    /// `DataTree.addWatch`. Where not `both`, a session has one mode of persistent watch at a path: the newer one
    /// (`WatcherModeManager`, before 3.9). A recursive one is none of the child list, so that of a list stays.
    pub fn add(&mut self, path: Arc<str>, recursive: bool, both: bool) {
        if !both {
            self.recursive.retain(|watch| *watch != path);
            self.alone.remove(&path);
        }
        if !recursive {
            self.alone_lists.insert(path.clone());
            self.alone.insert(path);
        } else if !self.recursive.contains(&path) {
            // It may be there, where a throttled server did not remove it.
            self.recursive.push(path);
        }
    }

    /// `removeWatches` of any type; whether there were some.
    pub fn remove(&mut self, path: &str) -> bool {
        let before = self.recursive.len();
        self.recursive.retain(|watch| **watch != *path);
        let mut are_removed = self.recursive.len() < before;
        for watches in [&mut self.alone, &mut self.alone_lists, &mut self.data, &mut self.lists] {
            are_removed |= watches.remove(path);
        }
        are_removed
    }

    pub fn clear(&mut self) {
        *self = Watches { names_roots: self.names_roots, ..Watches::default() };
    }

    /// Whether a change of this node's data would be told.
    pub fn tells_of_data(&self, path: &str) -> bool {
        self.recursive.iter().any(|root| is_below(path, root))
            || self.alone.contains(path)
            || self.data.contains(path)
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
        let (kind, is_of_parent) = match kind {
            Kind::Created => (CREATED, true),
            Kind::Deleted => (DELETED, true),
            Kind::DataChanged => (DATA_CHANGED, false),
            Kind::AclChanged => return told,
        };
        let of_data = self.data.remove(path) | self.alone.contains(path);
        let of_list = kind == DELETED && (self.lists.remove(path) | self.alone_lists.contains(path));
        if is_recursive && self.names_roots {
            let above = self.recursive.iter().filter(|root| is_below(path, root));
            told.extend(above.map(|root| (kind, root.clone(), *access)));
        }
        if is_recursive && !self.names_roots || of_data || of_list {
            told.push((kind, path.clone(), *access));
        }
        let mut of_parent = || {
            let parent = parent(path);
            self.lists.take(parent).or_else(|| self.alone_lists.get(parent).cloned())
        };
        if is_of_parent && let Some(parent) = of_parent() {
            let access = truth.get(&parent).map_or(Access::Everyone, |parent| parent.access);
            told.push((CHILDREN_CHANGED, parent, access));
        }
        told
    }
}
