//! The difference of two trees: the one way in which events arise.

use std::sync::Arc;

use super::children::{Counterparts, Entry};
use super::walk::push_name;
use super::{Node, Tree};
use crate::planted::{self, Defect};

/// One difference between an older and a newer tree.
#[derive(Clone, Copy)]
pub enum Change<'t> {
    Removed { node: &'t Arc<Node> },
    Added { node: &'t Arc<Node> },
    Updated { node: &'t Arc<Node>, old: &'t Arc<Node> },
}

/// Visits all that differs between `old` and `new`: removals first, children before their parents; then additions
/// and updates, parents before their children; siblings in byte order. A node that was deleted and created again is
/// removed with all below it, and added. What both trees share is not looked into.
pub fn changes(old: &Tree, new: &Tree, mut visit: impl FnMut(&str, Change<'_>)) {
    compare(old, new, |step, path, old, new| {
        let leaves = (step == Step::Leave) != planted::is(Defect::EventsUnordered);
        if let (true, Some(node)) = (leaves, &old.node)
            && !new.and_then(|new| new.node.as_ref()).is_some_and(|new| node.is_same_node(new))
        {
            visit(path, Change::Removed { node });
        }
    });
    compare(new, old, |step, path, new, old| {
        if let (Step::Enter, Some(node)) = (step, &new.node) {
            match old.and_then(|old| old.node.as_ref()) {
                Some(old) if node.is_same_node(old) => {
                    if !node.has_same_data(old) {
                        visit(path, Change::Updated { node, old });
                    }
                }
                _ => visit(path, Change::Added { node }),
            }
        }
    });
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Enter,
    Leave,
}

/// Walks `left` and shows each of its entries its counterpart in `right`. Below an entry whose counterpart is not
/// the same node nothing has a counterpart.
fn compare<'t>(
    left: &'t Tree,
    right: &'t Tree,
    mut visit: impl FnMut(Step, &str, &'t Entry, Option<&'t Entry>),
) {
    struct Frame<'t> {
        entry: &'t Entry,
        counterpart: Option<&'t Entry>,
        children: Option<Counterparts<'t>>,
        path_len: usize,
    }
    fn frame<'t>(entry: &'t Entry, counterpart: Option<&'t Entry>, path_len: usize) -> Frame<'t> {
        let same = counterpart.filter(|other| match (&entry.node, &other.node) {
            (Some(node), Some(other)) => node.is_same_node(other),
            _ => false,
        });
        let children = entry.children.as_deref().and_then(|children| {
            let other = same.and_then(|same| same.children.as_deref());
            (!other.is_some_and(|other| std::ptr::eq(other, children)))
                .then(|| Counterparts::new(children, other))
        });
        Frame { entry, counterpart, children, path_len }
    }

    let Some(root) = &left.root else { return };
    if right.root.as_ref().is_some_and(|other| other.is(root)) {
        return;
    }
    let mut path = String::new();
    let mut stack = vec![frame(root, right.root.as_ref(), 0)];
    visit(Step::Enter, &path, root, right.root.as_ref());
    while let Some(top) = stack.last_mut() {
        path.truncate(top.path_len);
        match top.children.as_mut().and_then(Iterator::next) {
            Some((_, entry, Some(counterpart))) if entry.is(counterpart) => {}
            Some((name, entry, counterpart)) => {
                push_name(&mut path, name);
                visit(Step::Enter, &path, entry, counterpart);
                stack.push(frame(entry, counterpart, path.len()));
            }
            None => {
                visit(Step::Leave, &path, top.entry, top.counterpart);
                stack.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edit, edits, node};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn described(old: &Tree, new: &Tree) -> Vec<String> {
        let mut described = Vec::new();
        changes(old, new, |path, change| {
            described.push(match change {
                Change::Removed { node } => format!("-{path}@{}", node.stat().mzxid.0),
                Change::Added { node } => format!("+{path}@{}", node.stat().mzxid.0),
                Change::Updated { node, old } => {
                    format!("~{path}@{}>{}", old.stat().mzxid.0, node.stat().mzxid.0)
                }
            });
        });
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
        let stat = crate::stat::Stat::default();
        let with = |data: &[u8]| {
            let mut tree = Tree::default();
            assert!(tree.put("", Some(Arc::new(Node::new(Arc::from(data), stat)))));
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
                    if let Some(node) = &entry.node {
                        map.insert(path.to_owned(), (node.stat().czxid, node.stat().mzxid));
                    }
                }
                map
            };
            let mut replayed = readable(&old);
            let mut adding = false;
            let mut error = None;
            changes(&old, &new, |path, change| {
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
                            && replayed.insert(path.to_owned(), (node.stat().czxid, node.stat().mzxid)).is_none()
                    }
                    Change::Updated { node, .. } => {
                        adding = true;
                        replayed.insert(path.to_owned(), (node.stat().czxid, node.stat().mzxid)).is_some()
                    }
                };
                if !ok {
                    error.get_or_insert(path.to_owned());
                }
            });
            prop_assert_eq!(error, None);
            prop_assert_eq!(replayed, readable(&new));
        }
    }
}
