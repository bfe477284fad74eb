//! Up to which zxid the history that a tree was read in is that of the servers: what a verification by report compares
//! with.
//!
//! The servers may have lost their history, or have been put back to a backup, since the tree was read. Then a zxid says
//! nothing by itself: two histories may share any of them. But they do not share the time of a transaction. So a few nodes
//! of the tree are read, and those that still show one of our transactions, with its time, prove that all up to it is
//! common.

use std::cmp::Reverse;

use crate::planted::{self, Defect};
use crate::stat::{Stat, Zxid};
use crate::tree::{Entry, Tree};

/// What is known of a tree that was left, until it is known as a cut again.
///
/// It outlives verifications that do not come to their end: these mix nodes of now into a tree of then. So the anchors
/// are chosen once, where the tree is left, and the zxid is never raised but by a cut.
#[derive(Default)]
pub(super) struct Baseline {
    /// The tree was the server's at this zxid, and what is newer was notified of, or read behind that.
    exact: Option<Zxid>,
    /// What the server has named last.
    named: Zxid,
    stage: Stage,
    anchors: Vec<Anchor>,
    /// The largest zxid that an anchor has proven on this connection.
    proven: Option<Zxid>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// The tree is followed, or is not known yet.
    #[default]
    Followed,
    /// It was left, and nothing has been found since but what was known.
    Left,
    /// Something else has been found before it was known how far the two histories are one. Nobody knows how much of the
    /// tree belongs to which of them.
    Mixed,
    /// It is known how far the two histories are one.
    Concluded,
}

/// What a node was when the tree was left.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Anchor {
    path: String,
    stat: Stat,
}

impl Baseline {
    /// The tree is the server's at this zxid.
    pub(super) fn note_cut(&mut self, zxid: Zxid) {
        *self = Baseline { exact: Some(zxid), ..Baseline::default() };
    }

    /// A reply has come, with this zxid. That says nothing of what was not read yet.
    pub(super) fn note_reply(&mut self, zxid: Zxid) {
        self.named = zxid;
    }

    /// A tree that is no cut was published: that says nothing either.
    pub(super) fn note_no_cut(&mut self) {
        if planted::is(Defect::ReportSinceNoCut) {
            self.note_cut(self.named);
        }
    }

    /// The tree was left as it is: its connection is gone, or it is held. It is to be known again by so many anchors.
    pub(super) fn leave(&mut self, tree: &Tree, anchors: usize) {
        if self.stage == Stage::Concluded && planted::is(Defect::ReportSinceHalfVerified) {
            self.note_cut(self.named);
        }
        match self.stage {
            Stage::Followed if self.exact.is_some() && anchors > 0 => {
                self.anchors = anchors_of(tree, anchors)
            }
            Stage::Followed | Stage::Mixed => self.forget(),
            Stage::Left | Stage::Concluded => {}
        }
        (self.stage, self.proven) = (Stage::Left, None);
    }

    /// What is known is of another history.
    pub(super) fn forget(&mut self) {
        *self = Baseline::default();
    }

    /// Whether there is something to begin with.
    pub(super) fn is_known(&self) -> bool {
        self.exact.is_some() && !self.anchors.is_empty()
    }

    /// The nodes to be read, by their paths in the tree.
    pub(super) fn anchors(&self) -> impl Iterator<Item = &str> {
        let read = if planted::is(Defect::ReportWithoutAnchors) { 1 } else { self.anchors.len() };
        self.anchors[..read.min(self.anchors.len())].iter().map(|anchor| anchor.path.as_str())
    }

    /// What a read has found of a node, if there is one; `is_news`: it is not what was known.
    pub(super) fn found(&mut self, path: &str, stat: Option<&Stat>, is_news: impl FnOnce() -> bool) {
        if !matches!(self.stage, Stage::Left | Stage::Mixed) {
            return;
        }
        if is_news() {
            self.stage = Stage::Mixed;
        }
        let Ok(at) = self.anchors.binary_search_by(|anchor| anchor.path.as_str().cmp(path)) else { return };
        let then = &self.anchors[at].stat;
        let Some(now) = stat else { return };
        if is_dated(then.czxid) && now.is_same_node(then) {
            self.proven = self.proven.max(Some(then.czxid));
        }
        if is_dated(then.mzxid) && (now.mzxid, now.mtime) == (then.mzxid, then.mtime) {
            self.proven = self.proven.max(Some(then.mzxid));
        }
    }

    /// All anchors were read: what is not newer than this is as it was, if it has not changed since. `None`: all is to be
    /// read. From now on nothing newer is believed, also where this verification does not come to its end.
    pub(super) fn conclude(&mut self) -> Option<Zxid> {
        self.stage = Stage::Concluded;
        self.exact = match (self.exact, self.proven) {
            (exact, _) if planted::is(Defect::ReportWithoutAnchors) => exact,
            (Some(exact), Some(proven)) => Some(exact.min(proven)),
            _ => None,
        };
        self.exact
    }
}

/// Nothing has a time before the first transaction.
fn is_dated(zxid: Zxid) -> bool {
    zxid > Zxid(0)
}

/// The anchors of a tree, sorted by path. The zxid of a child list has no time, so it does not count.
fn anchors_of(tree: &Tree, most: usize) -> Vec<Anchor> {
    let mut ranked = Vec::with_capacity(tree.len());
    let (mut walk, mut place) = (tree.preorder(), 0u32);
    while let Some((_, entry)) = walk.next() {
        if let Some(node) = entry.node() {
            ranked.push((Reverse(node.stat().czxid.max(node.stat().mzxid)), place));
        }
        place += 1;
    }
    ranked.sort_unstable();
    let mut chosen: Vec<u32> = ranks(ranked.len(), most).map(|rank| ranked[rank].1).collect();
    chosen.sort_unstable();
    let mut anchors = Vec::with_capacity(chosen.len());
    let (mut walk, mut place) = (tree.preorder(), 0u32);
    while let Some((path, entry)) = walk.next() {
        if chosen.binary_search(&place).is_ok()
            && let Some(node) = entry.node()
        {
            anchors.push(Anchor { path: path.to_owned(), stat: *node.stat() });
        }
        place += 1;
    }
    anchors.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    anchors
}

/// Which places of so many in the order from the newest to the oldest: the first ones, then ever more widely spaced ones,
/// up to the last.
fn ranks(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let newest = (most / 4).max(1);
    let steps = most.saturating_sub(newest).max(1);
    let growth = (count.max(newest + 1) as f64 / newest as f64).powf(1.0 / steps as f64);
    let spaced = (0..=steps).map(move |step| (newest as f64 * growth.powi(step as i32)) as usize);
    let mut last = None;
    let all = (0..newest).chain(spaced).map(move |rank| rank.min(count.saturating_sub(1)));
    all.filter(move |rank| *rank < count && last.replace(*rank).is_none_or(|last| *rank > last)).take(most)
}

/// The most of a tree that may be suspect: if there is more, all of it is read at less cost.
const MOST_SUSPECT: usize = 3;

/// What is to be read of a tree whatever another session is told: what has changed behind `since`, perhaps in another
/// history; what may not be read; what does not say whether its children have changed; and what lacks some of its list, or has
/// another one. `None`: that is so much that all is read.
pub(super) fn suspects(
    tree: &Tree,
    since: Zxid,
    has_its_list: impl Fn(&str, &Entry<'_>) -> bool,
) -> Option<Vec<String>> {
    let most = tree.len() / MOST_SUSPECT;
    let mut suspects = Vec::new();
    let mut walk = tree.preorder();
    while let Some((path, entry)) = walk.next() {
        let is_compared = entry.node().is_some_and(|node| is_compared(node.stat(), since));
        if !is_compared || !has_its_list(path, &entry) {
            suspects.push(path.to_owned());
            if suspects.len() > most {
                return None;
            }
        }
    }
    Some(suspects)
}

/// Whether a report tells of each change of this node, and of its list, since then.
pub(super) fn is_compared(stat: &Stat, since: Zxid) -> bool {
    stat.newest() <= since && !stat.is_saturated()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;
    use std::sync::Arc;

    const MOST: usize = 64;

    /// Nodes that were created at 1 and set at 1, 2, 3, ...
    fn tree(nodes: i64) -> Tree {
        let mut tree = Tree::default();
        for n in 0..nodes {
            let path = if n == 0 { String::new() } else { format!("{n:06}") };
            assert!(tree.put(&path, Some(Node::new(Arc::from([]), stat(1 + n)))));
        }
        tree
    }

    fn stat(mzxid: i64) -> Stat {
        let (mzxid, mtime) = (Zxid(mzxid), 1000 + mzxid);
        Stat { czxid: Zxid(1), ctime: 1001, pzxid: Zxid(1), mzxid, mtime, ..Stat::default() }
    }

    /// Left at this zxid, with as many nodes.
    fn left(exact: i64) -> Baseline {
        let mut baseline = Baseline::default();
        baseline.note_cut(Zxid(exact));
        baseline.leave(&tree(exact), MOST);
        baseline
    }

    /// All anchors are found as they were, but those set behind `branch`, which were set at other times.
    fn read(baseline: &mut Baseline, branch: i64) {
        for Anchor { path, stat } in baseline.anchors.clone() {
            let is_newer = stat.mzxid > Zxid(branch);
            let now = if is_newer { Stat { mtime: stat.mtime + 60_000, ..stat } } else { stat };
            baseline.found(&path, Some(&now), || is_newer);
        }
    }

    #[test]
    fn the_newest_anchor_that_stands_says_how_far_the_history_is_one() {
        let mut baseline = left(1000);
        read(&mut baseline, 1000);
        assert_eq!(baseline.conclude(), Some(Zxid(1000)));
        let mut baseline = left(1000);
        read(&mut baseline, 500);
        let since = baseline.conclude().expect("older anchors stand");
        assert!((400..=500).contains(&since.0), "{since}");
    }

    #[test]
    fn hot_nodes_that_run_beyond_the_common_point_do_not_hide_it() {
        let mut baseline = left(100_000);
        let anchors = baseline.anchors.len();
        assert!((60..=MOST).contains(&anchors), "{anchors}");
        // A quarter of them has been written since.
        read(&mut baseline, 75_000);
        assert!(baseline.conclude().is_some_and(|since| since >= Zxid(69_000)), "{:?}", baseline.exact);
    }

    #[test]
    fn nothing_is_believed_beyond_the_last_cut_whatever_is_proven() {
        let mut baseline = Baseline::default();
        baseline.note_cut(Zxid(50));
        baseline.leave(&tree(100), MOST);
        read(&mut baseline, 100);
        assert_eq!(baseline.conclude(), Some(Zxid(50)));
    }

    #[test]
    fn without_a_cut_or_without_an_anchor_that_stands_all_is_read() {
        let mut baseline = Baseline::default();
        baseline.note_reply(Zxid(50));
        baseline.note_no_cut();
        baseline.leave(&tree(100), MOST);
        assert!(!baseline.is_known());
        let mut baseline = left(100);
        for Anchor { path, stat } in baseline.anchors.clone() {
            baseline.found(&path, Some(&Stat { ctime: 7, mtime: 7, ..stat }), || true);
        }
        assert_eq!(baseline.conclude(), None);
    }

    #[test]
    fn an_interrupted_verification_lowers_what_is_believed_and_never_raises_it() {
        let mut baseline = left(1000);
        read(&mut baseline, 500);
        let since = baseline.conclude().expect("a common point");
        baseline.note_reply(Zxid(2000));
        // Half of it was read from the other history, which goes on.
        baseline.leave(&tree(2000), MOST);
        read(&mut baseline, 1000);
        assert_eq!(baseline.conclude(), Some(since));
    }

    #[test]
    fn what_was_read_before_the_common_point_was_known_spoils_it() {
        let mut baseline = left(1000);
        let Anchor { path, stat } = baseline.anchors[0].clone();
        baseline.found(&path, Some(&stat), || false);
        baseline.leave(&tree(1000), MOST);
        assert!(baseline.is_known(), "nothing else was found");
        baseline.found(&path, Some(&Stat { mtime: 7, ..stat }), || true);
        baseline.leave(&tree(1000), MOST);
        assert!(!baseline.is_known());
    }

    #[test]
    fn the_zxid_of_a_child_list_and_what_was_there_from_the_beginning_prove_nothing() {
        let mut root = Stat { pzxid: Zxid(9), ..Stat::default() };
        let mut tree = Tree::default();
        assert!(tree.put("", Some(Node::new(Arc::from([]), root))));
        let mut baseline = Baseline::default();
        baseline.note_cut(Zxid(9));
        baseline.leave(&tree, MOST);
        baseline.found("", Some(&root), || false);
        assert_eq!(baseline.conclude(), None);
        root.mzxid = Zxid(4);
        assert!(tree.put("", Some(Node::new(Arc::from([]), root))));
        baseline.note_cut(Zxid(9));
        baseline.leave(&tree, MOST);
        baseline.found("", Some(&root), || false);
        assert_eq!(baseline.conclude(), Some(Zxid(4)));
    }

    #[test]
    fn what_is_newer_opaque_saturated_or_without_its_list_is_suspect_and_a_third_is_too_much() {
        let mut tree = tree(100);
        let suspects = |tree: &Tree, since| suspects(tree, since, |path, _| path != "000009");
        let listed = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        assert_eq!(suspects(&tree, Zxid(98)), listed(&["000009", "000098", "000099"]));
        assert!(tree.put("000005", None));
        let saturated = Stat { cversion: -2, ..stat(7) };
        assert!(tree.put("000006", Some(Node::new(Arc::from([]), saturated))));
        let newer = Stat { pzxid: Zxid(200), ..stat(8) };
        assert!(tree.put("000007", Some(Node::new(Arc::from([]), newer))));
        assert_eq!(suspects(&tree, Zxid(100)), listed(&["000005", "000006", "000007", "000009"]));
        assert!(suspects(&tree, Zxid(72)).is_some());
        assert_eq!(suspects(&tree, Zxid(60)), None);
    }
}
