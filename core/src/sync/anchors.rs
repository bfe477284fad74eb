//! Anchors: the few nodes that show whether a server still has the history that a tree was read in.
//!
//! If a server was put back to a backup and has gone on in another way since, it may come to the very zxid that it had
//! before. But it cannot have the newest changes of the tree: other transactions have their zxids, at other times. So
//! the newest nodes are asked for; and some older ones, spaced ever more widely, in case the newest are the same by
//! chance.

use std::cmp::Reverse;

use crate::planted::{self, Defect};
use crate::selection::{Kept, Selection};
use crate::stat::{Stat, Zxid};
use crate::tree::Tree;

/// Anchors of a tree at most: the newest ones, then ranks that double.
const MOST: usize = 32;
const NEWEST: usize = 16;
/// So many of those that the session may not read are asked for, too: in another history it may.
const MOST_OPAQUE: usize = 8;
/// The most children an anchor may have if its list is to be read too.
const MOST_LISTED: i32 = 256;

/// The anchors of a tree, by their paths in it, in the order of a walk. The root is always one, whether it is there or
/// not. `None` if no anchor shows the newest change: a child was deleted from a list that is too long to be read too, or
/// may have been one that is left out.
pub(super) fn of(tree: &Tree, selection: &Selection) -> Option<Vec<String>> {
    let (mut ranked, mut opaque) = (Vec::with_capacity(tree.len()), Vec::new());
    let (mut walk, mut place) = (tree.preorder(), 0u32);
    let (mut newest, mut shows) = (Zxid(0), true);
    while let Some((path, entry)) = walk.next() {
        if let Some(node) = entry.node() {
            let stat = node.stat();
            ranked.push((Reverse(stat.newest()), place));
            if stat.newest() > newest {
                (newest, shows) = (stat.newest(), false);
            }
            shows |= stat.newest() == newest
                && (stat.czxid == newest || stat.mzxid == newest || is_shown_by_list(path, stat, selection));
        } else if opaque.len() < MOST_OPAQUE && !planted::is(Defect::OpaqueNoAnchors) {
            opaque.push(place);
        }
        place += 1;
    }
    if !shows {
        return None;
    }
    ranked.sort_unstable();
    let mut chosen: Vec<u32> = ranks().map_while(|rank| ranked.get(rank)).map(|(_, place)| *place).collect();
    chosen.append(&mut opaque);
    chosen.push(0); // the root
    chosen.sort_unstable();
    chosen.dedup();
    let mut anchors = Vec::with_capacity(chosen.len());
    let (mut walk, mut place) = (tree.preorder(), 0u32);
    while let Some((path, _)) = walk.next() {
        if chosen.binary_search(&place).is_ok() {
            anchors.push(path.to_owned());
        }
        place += 1;
    }
    if anchors.is_empty() {
        anchors.push(String::new());
    }
    Some(anchors)
}

/// Whether the child list of an anchor is to be read too: its newest change is that a child came or went, and only the
/// names tell which.
pub(super) fn is_listed(stat: &Stat) -> bool {
    stat.newest() == stat.pzxid && (1..=MOST_LISTED).contains(&stat.num_children)
}

/// Whether the list shows which child came or went.
fn is_shown_by_list(path: &str, stat: &Stat, selection: &Selection) -> bool {
    let keeps_each = selection.of(path) == Kept::Open && !selection.may_leave_out(path);
    is_listed(stat) && (keeps_each || planted::is(Defect::LeftOutNewestTrusted))
}

/// Which places in the order from the newest to the oldest: 0 to 15, and then ever more widely spaced ones.
fn ranks() -> impl Iterator<Item = usize> {
    let spaced = std::iter::successors(Some(NEWEST), |rank| Some(2 * rank));
    (0..NEWEST).chain(spaced).take(MOST - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;
    use std::sync::Arc;

    fn tree(nodes: usize) -> Tree {
        let mut tree = Tree::default();
        for n in 0..nodes {
            let stat = Stat { czxid: Zxid(1), mzxid: Zxid(1 + n as i64), ..Stat::default() };
            let path = if n == 0 { String::new() } else { format!("{n:06}") };
            assert!(tree.put(&path, Some(Node::new(Arc::from([]), stat))));
        }
        tree
    }

    #[test]
    fn the_newest_nodes_are_asked_for_the_root_and_some_of_the_rest() {
        let paths = |nodes| of(&tree(nodes), &Selection::default()).expect("anchors");
        assert_eq!(paths(0), [""]);
        assert_eq!(paths(1), [""]);
        assert_eq!(paths(20).len(), 18, "16 of the newest, rank 16, and the root");
        let of_many = paths(50_000);
        assert!(of_many.len() <= MOST, "{}", of_many.len());
        assert_eq!(of_many[0], "");
        assert_eq!(
            of_many[of_many.len() - 16..],
            (49_984..50_000).map(|n| format!("{n:06}")).collect::<Vec<_>>()
        );
        let old = of_many.iter().filter(|path| ***path < *"025000").count();
        assert!(old >= 1, "{old} of the older half");
    }

    #[test]
    fn what_the_session_may_not_read_is_asked_for_too() {
        let mut tree = tree(100);
        for n in 1..=20 {
            assert!(tree.put(&format!("{n:06}"), None));
        }
        let opaque = |path: &&String| tree.get(path.as_str()).is_some_and(|entry| entry.is_opaque());
        let anchors = of(&tree, &Selection::default()).expect("anchors");
        assert_eq!(anchors.iter().filter(opaque).count(), MOST_OPAQUE, "{anchors:?}");
    }

    #[test]
    fn there_are_none_where_the_newest_change_is_a_deletion_from_a_long_list() {
        let with_root = |pzxid, num_children| {
            let mut tree = tree(3);
            let stat =
                Stat { czxid: Zxid(1), mzxid: Zxid(1), pzxid: Zxid(pzxid), num_children, ..Stat::default() };
            assert!(tree.put("", Some(Node::new(Arc::from([]), stat))));
            of(&tree, &Selection::default())
        };
        assert_eq!(with_root(9, MOST_LISTED + 1), None);
        assert!(with_root(9, MOST_LISTED).is_some(), "the list is read");
        assert!(with_root(3, MOST_LISTED + 1).is_some(), "a node has that zxid, too, with its time");
        assert!(with_root(2, MOST_LISTED + 1).is_some(), "another one is newer");
    }

    #[test]
    fn a_child_list_is_asked_for_where_it_is_what_changed_last() {
        let stat = |pzxid, num_children| Stat {
            czxid: Zxid(1),
            mzxid: Zxid(3),
            pzxid: Zxid(pzxid),
            num_children,
            ..Stat::default()
        };
        assert!(!is_listed(&stat(2, 5)) && is_listed(&stat(3, 5)) && is_listed(&stat(9, 5)));
        assert!(!is_listed(&stat(9, 0)) && !is_listed(&stat(9, MOST_LISTED + 1)));
    }
}
