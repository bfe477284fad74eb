//! The differences of two trees: the one way in which events arise.

use std::sync::Arc;

use super::Tree;
use super::children::Counterparts;
use super::entry::Share;
use super::walk::push_name;
use crate::planted::{self, Defect};

/// One difference between an older and a newer tree. All these nodes may be read.
#[derive(Clone)]
pub enum Change {
    /// A node has gone, or has been replaced by another one, or may not be read any more.
    Removed {
        /// As it is in the older tree.
        node: Share,
    },
    /// A node has come, or has replaced another one, or may be read now.
    Added {
        /// As it is in the newer tree.
        node: Share,
    },
    /// The data of the same node was set, maybe to the same bytes. Other changes of its Stat are not told.
    Updated {
        /// As it is in the newer tree.
        node: Share,
        /// As it is in the older one.
        old: Share,
    },
}

/// All that differs between an older tree and a newer one, one change at a time: removals first, children before
/// their parents; then additions and updates, parents before their children; siblings in byte order. A node that was
/// deleted and created again is removed with all below it, and added. What both trees share is not looked into.
///
/// It holds both trees, so a caller may keep it and go on at any time. [`next`](Differences::next) lends the path, so
/// this is not an `Iterator`.
pub struct Differences {
    /// Compares the older tree with the newer one.
    removals: Comparison,
    /// Compares the newer tree with the older one.
    additions: Comparison,
}

impl Differences {
    /// Looks at nothing yet but the two roots.
    pub fn new(old: &Tree, new: &Tree) -> Differences {
        Differences { removals: Comparison::new(old, new), additions: Comparison::new(new, old) }
    }

    /// The next change and its path.
    #[allow(clippy::should_implement_trait, reason = "the path is lent until the next call")]
    pub fn next(&mut self) -> Option<(&str, Change)> {
        let (comparison, change) = match self.removals.next_removal() {
            Some(removal) => (&self.removals, removal),
            None => {
                let addition = self.additions.next_addition()?;
                (&self.additions, addition)
            }
        };
        Some((&comparison.path, change))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Enter,
    Leave,
    /// Both at once: there is nothing below to be looked into.
    Leaf,
}

/// A walk over `left` that shows each entry with its counterpart in `right`. If the counterpart is another node,
/// nothing below the entry has a counterpart.
struct Comparison {
    /// The root and its counterpart, until they were visited.
    first: Option<(Share, Option<Share>)>,
    stack: Vec<Frame>,
    /// Of the entry visited last.
    path: String,
}

/// An entry that was entered and not left.
struct Frame {
    entry: Share,
    counterpart: Option<Share>,
    children: Counterparts,
    path_len: usize,
}

impl Comparison {
    fn new(left: &Tree, right: &Tree) -> Comparison {
        let (root, counterpart) = (left.get(""), right.get(""));
        let is_same = counterpart.is_some_and(|other| root.is_some_and(|root| root.is(&other)));
        let first =
            root.filter(|_| !is_same).map(|root| (root.share(), counterpart.map(|other| other.share())));
        Comparison { first, stack: Vec::new(), path: String::new() }
    }

    fn next_removal(&mut self) -> Option<Change> {
        loop {
            let (step, old, new) = self.next()?;
            let leaves = step == Step::Leaf || (step == Step::Leave) != planted::is(Defect::EventsUnordered);
            let Some(node) = old.node().filter(|_| leaves) else { continue };
            let new = new.as_ref().and_then(Share::node);
            if !new.is_some_and(|new| node.is_same_node(&new)) {
                return Some(Change::Removed { node: old });
            }
        }
    }

    fn next_addition(&mut self) -> Option<Change> {
        loop {
            let (step, new, old) = self.next()?;
            let Some(node) = new.node().filter(|_| step != Step::Leave) else { continue };
            let old = old.filter(|old| old.node().is_some_and(|old| node.is_same_node(&old)));
            let Some(old) = old else { return Some(Change::Added { node: new }) };
            if !old.node().is_some_and(|old| node.has_same_data(&old)) {
                return Some(Change::Updated { node: new, old });
            }
        }
    }

    fn next(&mut self) -> Option<(Step, Share, Option<Share>)> {
        if let Some((root, counterpart)) = self.first.take() {
            return Some(self.enter(root, counterpart));
        }
        loop {
            let top = self.stack.last_mut()?;
            self.path.truncate(top.path_len);
            match top.children.next() {
                Some((entry, Some(counterpart))) if entry.is(&counterpart) => {}
                Some((entry, counterpart)) => {
                    push_name(&mut self.path, entry.name());
                    let (entry, counterpart) = (entry.share(), counterpart.map(|other| other.share()));
                    return Some(self.enter(entry, counterpart));
                }
                None => {
                    let left = self.stack.pop()?;
                    return Some((Step::Leave, left.entry, left.counterpart));
                }
            }
        }
    }

    fn enter(&mut self, entry: Share, counterpart: Option<Share>) -> (Step, Share, Option<Share>) {
        let children = differing_children(&entry, counterpart.as_ref());
        let Some(children) = children else { return (Step::Leaf, entry, counterpart) };
        let path_len = self.path.len();
        let frame = Frame { entry: entry.clone(), counterpart: counterpart.clone(), children, path_len };
        self.stack.push(frame);
        (Step::Enter, entry, counterpart)
    }
}

/// The children of an entry, unless its counterpart has the same. The children of another node are no counterparts.
fn differing_children(entry: &Share, counterpart: Option<&Share>) -> Option<Counterparts> {
    let children = entry.lend().children()?;
    let same = counterpart.filter(|other| match (entry.node(), other.node()) {
        (Some(node), Some(other)) => node.is_same_node(&other),
        _ => false,
    });
    let other = same.and_then(|same| same.lend().children());
    let is_shared = other.is_some_and(|other| Arc::ptr_eq(other, children));
    (!is_shared).then(|| Counterparts::new(children.clone(), other.cloned()))
}

#[cfg(test)]
mod tests {
    use super::super::Node;
    use super::super::tests::{edit, edits, node};
    use super::*;
    use crate::stat::Stat;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn stat(node: &Share) -> Stat {
        *node.node().expect("it may be read").stat()
    }

    fn described(old: &Tree, new: &Tree) -> Vec<String> {
        let mut described = Vec::new();
        let mut differences = Differences::new(old, new);
        while let Some((path, change)) = differences.next() {
            described.push(match change {
                Change::Removed { node } => format!("-{path}@{}", stat(&node).mzxid.0),
                Change::Added { node } => format!("+{path}@{}", stat(&node).mzxid.0),
                Change::Updated { node, old } => {
                    format!("~{path}@{}>{}", stat(&old).mzxid.0, stat(&node).mzxid.0)
                }
            });
        }
        described
    }

    #[test]
    fn removals_come_first_and_bottom_up_then_additions_top_down() {
        let mut old = Tree::default();
        for path in ["", "a", "a/x", "a/x/1", "b", "c"] {
            assert!(old.put(path, node(1, 1)));
        }
        let mut new = old.clone();
        assert!(new.remove("a"));
        assert!(new.put("b", node(1, 2)));
        assert!(new.put("d", node(2, 2)));
        assert!(new.put("d/y", node(2, 2)));
        assert_eq!(described(&old, &new), ["-a/x/1@1", "-a/x@1", "-a@1", "~b@1>2", "+d@2", "+d/y@2"]);
        assert!(described(&new, &new.clone()).is_empty());
    }

    #[test]
    fn a_recreated_node_is_removed_with_all_below_and_added() {
        let mut old = Tree::default();
        for path in ["", "a", "a/x"] {
            assert!(old.put(path, node(1, 1)));
        }
        let mut new = old.clone();
        assert!(new.put("a", node(5, 5)));
        assert_eq!(described(&old, &new), ["-a/x@1", "-a@1", "+a@5", "+a/x@1"]);
    }

    #[test]
    fn opaque_nodes_make_no_events_but_becoming_opaque_does() {
        let mut old = Tree::default();
        for path in ["", "a", "a/x"] {
            assert!(old.put(path, node(1, 1)));
        }
        let mut new = old.clone();
        assert!(new.put("a", None));
        assert_eq!(described(&old, &new), ["-a/x@1", "-a@1"]);
        assert_eq!(described(&new, &old), ["+a@1", "+a/x@1"]);
    }

    #[test]
    fn new_data_under_an_old_zxid_is_seen() {
        let stat = Stat::default();
        let with = |data: &[u8]| {
            let mut tree = Tree::default();
            assert!(tree.put("", Some(Node::new(Arc::from(data), stat))));
            tree
        };
        assert_eq!(described(&with(b"before"), &with(b"after")).len(), 1);
        assert_eq!(described(&with(b"same"), &with(b"same")).len(), 0);
    }

    proptest! {
        #[test]
        fn the_changes_replayed_onto_the_old_tree_give_the_new_one(before in edits(), after in edits()) {
            let mut old = Tree::default();
            for (zxid, (op, path)) in before.iter().enumerate() {
                edit(&mut old, zxid as i64, *op, path);
            }
            let mut new = old.clone();
            for (zxid, (op, path)) in after.iter().enumerate() {
                edit(&mut new, 1000 + zxid as i64, *op, path);
            }
            let readable = |tree: &Tree| {
                let mut map = BTreeMap::new();
                let mut walk = tree.preorder();
                while let Some((path, entry)) = walk.next() {
                    if let Some(node) = entry.node() {
                        map.insert(path.to_owned(), (node.stat().czxid, node.stat().mzxid));
                    }
                }
                map
            };
            let mut replayed = readable(&old);
            let mut adding = false;
            let mut error = None;
            let mut differences = Differences::new(&old, &new);
            while let Some((path, change)) = differences.next() {
                let parent = path.rsplit_once('/').map(|(parent, _)| parent).or((!path.is_empty()).then_some(""));
                let ok = match change {
                    Change::Removed { .. } => {
                        let childless = !replayed.keys().any(|other| {
                            if path.is_empty() { !other.is_empty() } else { other.starts_with(&format!("{path}/")) }
                        });
                        childless && !adding && replayed.remove(path).is_some()
                    }
                    Change::Added { node } => {
                        adding = true;
                        parent.is_none_or(|parent| replayed.contains_key(parent))
                            && replayed.insert(path.to_owned(), (stat(&node).czxid, stat(&node).mzxid)).is_none()
                    }
                    Change::Updated { node, .. } => {
                        adding = true;
                        replayed.insert(path.to_owned(), (stat(&node).czxid, stat(&node).mzxid)).is_some()
                    }
                };
                if !ok {
                    error.get_or_insert(path.to_owned());
                }
            }
            prop_assert_eq!(error, None);
            prop_assert_eq!(replayed, readable(&new));
        }
    }
}
