//! Candidates for a cut: what the tree was at one zxid, but for a few paths that were not known at that moment.
//!
//! A later read of such a path confirms what it was if nothing about the node is newer than the candidate's zxid. Once
//! all are confirmed, the candidate is an exact cut, a round trip late, without an extra read.

use std::collections::HashMap;
use std::time::Instant;

use super::unread::{History, Unread, Want};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::tree::{Node, Tree};

/// How many candidates are kept.
const KEPT: usize = 4;
/// A candidate that lacks more than this has no chance, and would cost too much.
const MOST_MISSING: usize = 2048;

/// At which zxid, and when, a tree is the server's.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub zxid: Zxid,
    /// When the server named that zxid. If that may have waited in a pause: when the server was heard before the pause.
    pub at: Instant,
}

/// What is not known of a path.
#[derive(Default)]
struct Gap {
    history: History,
    /// The child list is not known either.
    list: bool,
}

struct Candidate {
    cut: Cut,
    tree: Tree,
    missing: HashMap<NodePath, Gap>,
    /// Lists are told to have changed, and not how: they have to be read, and may name what is missing too.
    takes_lists: bool,
}

impl Candidate {
    /// Whether `node`, read later, is what was at `path` at the candidate's zxid; it is then put there. `names` is its child
    /// list, if that was read with it.
    fn confirm(
        &mut self,
        path: &NodePath,
        relative: &str,
        gap: Gap,
        node: &Node,
        names: Option<&[&str]>,
    ) -> bool {
        let stat = node.stat();
        if stat.newest() > self.cut.zxid && !planted::is(Defect::CandidateUnchecked) {
            return false;
        }
        let old = match self.tree.get(relative) {
            None => None,
            Some(entry) => match entry.node() {
                Some(old) if old.stat().is_same_node(stat) => Some(*old.stat()),
                _ => return false,
            },
        };
        let is_list_known = !gap.list && gap.history.explains(old.as_ref(), stat);
        let is_put = self.tree.put(relative, Some(node.clone()));
        if is_list_known || planted::is(Defect::CandidateWithoutList) {
            return is_put;
        }
        // With a saturated cversion, a newer list does not show in the Stat.
        if !is_put || !self.takes_lists || stat.is_saturated() {
            return false;
        }
        match names {
            Some(names) => self.relist(path, relative, names),
            // It is read next.
            None => _ = self.missing.insert(path.clone(), Gap { list: true, ..Gap::default() }),
        }
        self.missing.len() <= MOST_MISSING
    }

    /// The child list at `path` is this one, sorted.
    fn relist(&mut self, path: &NodePath, relative: &str, names: &[&str]) {
        let known = self.tree.get(relative).and_then(|entry| entry.children().cloned());
        let below =
            |name: &str| if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
        for (name, _) in known.iter().flat_map(|known| known.iter()) {
            if names.binary_search(&name).is_err() {
                self.tree.remove(&below(name));
            }
        }
        // Another one may be in the place of one that could not be read.
        let is_known = |name: &str| {
            let child = known.as_ref().and_then(|known| known.get(name));
            child.is_some_and(|child| !child.is_opaque())
        };
        for name in names.iter().filter(|name| !is_known(name)) {
            self.missing.entry(path.absolute(name)).or_default();
        }
    }
}

/// The candidates, oldest first.
#[derive(Default)]
pub(super) struct Candidates {
    kept: Vec<Candidate>,
}

impl Candidates {
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Freezes the tree as it is after a reply, which makes it a cut but for what is not known.
    pub(super) fn add(&mut self, cut: Cut, tree: &Tree, unread: &Unread) {
        let usable = unread.suspects() <= MOST_MISSING && self.kept.len() < KEPT;
        let takes_lists = unread.is_one_shot();
        // Otherwise nothing was told of a child list that is not known, and it cannot be confirmed.
        if usable && (takes_lists || !unread.suspected().any(|(_, want)| want.children)) {
            let gap = |want: &Want| Gap { history: want.history, list: want.children };
            let missing = unread.suspected().map(|(path, want)| (path.clone(), gap(want))).collect();
            self.kept.push(Candidate { cut, tree: tree.clone(), missing, takes_lists });
        }
    }

    /// A read of `path` gave `node`, with this child list if that was read too, or (`None`) nothing that says what was there
    /// before.
    pub(super) fn read(
        &mut self,
        path: &NodePath,
        relative: &str,
        node: Option<&Node>,
        names: Option<&[&str]>,
    ) {
        self.kept.retain_mut(|candidate| match candidate.missing.remove(path) {
            None => true,
            Some(gap) => node.is_some_and(|node| candidate.confirm(path, relative, gap, node, names)),
        });
    }

    /// The newest candidate of which nothing is missing any more; the older ones go with it.
    pub(super) fn take_complete(&mut self) -> Option<(Cut, Tree)> {
        let at = self.kept.iter().rposition(|candidate| candidate.missing.is_empty())?;
        let complete = self.kept.drain(..=at).next_back()?;
        Some((complete.cut, complete.tree))
    }
}
