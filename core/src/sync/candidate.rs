//! Candidates for a cut: what the tree was at one zxid, but for a few paths that were not known at that moment.
//!
//! A later read of such a path confirms what it was if nothing about the node is newer than the candidate's zxid. Once
//! all are confirmed, the candidate is an exact cut, a round trip late, without an extra read.

use std::collections::HashMap;
use std::time::Instant;

use super::unread::{History, Unread};
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

struct Candidate {
    cut: Cut,
    tree: Tree,
    missing: HashMap<NodePath, History>,
}

impl Candidate {
    /// Whether `node`, read later, is what was at `path` at the candidate's zxid; it is then put there.
    fn confirm(&mut self, relative: &str, history: History, node: &Node) -> bool {
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
        history.explains(old.as_ref(), stat) && self.tree.put(relative, Some(node.clone()))
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
        // A child list that is not known cannot be confirmed by a Stat.
        if usable && !unread.suspected().any(|(_, want)| want.children) {
            let missing = unread.suspected().map(|(path, want)| (path.clone(), want.history)).collect();
            self.kept.push(Candidate { cut, tree: tree.clone(), missing });
        }
    }

    /// A read of `path` gave `node`, or (`None`) nothing that says what was there before.
    pub(super) fn read(&mut self, path: &NodePath, relative: &str, node: Option<&Node>) {
        self.kept.retain_mut(|candidate| match candidate.missing.remove(path) {
            None => true,
            Some(history) => node.is_some_and(|node| candidate.confirm(relative, history, node)),
        });
    }

    /// The newest candidate of which nothing is missing any more; the older ones go with it.
    pub(super) fn take_complete(&mut self) -> Option<(Cut, Tree)> {
        let at = self.kept.iter().rposition(|candidate| candidate.missing.is_empty())?;
        let complete = self.kept.drain(..=at).next_back()?;
        Some((complete.cut, complete.tree))
    }
}
