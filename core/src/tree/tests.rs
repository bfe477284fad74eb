//! Trees as values: what an edit of one leaves of another, and what it lets go.

use super::*;
use crate::stat::{Stat, Zxid};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) fn node(czxid: i64, mzxid: i64) -> Option<Node> {
    let stat = Stat { czxid: Zxid(czxid), mzxid: Zxid(mzxid), ..Stat::default() };
    Some(Node::new(Arc::from(mzxid.to_string().as_bytes()), stat))
}

fn listed(tree: &Tree) -> BTreeMap<String, Option<i64>> {
    let mut listed = BTreeMap::new();
    let mut walk = tree.preorder();
    while let Some((path, entry)) = walk.next() {
        listed.insert(path.to_owned(), entry.node().map(|node| node.stat().mzxid.0));
    }
    listed
}

#[test]
fn a_frozen_tree_does_not_see_later_edits() {
    let mut tree = Tree::default();
    assert!(tree.put("", node(1, 1)));
    assert!(tree.put("a", node(2, 2)));
    assert!(tree.put("a/b", node(3, 3)));
    let frozen = tree.clone();
    assert!(tree.is(&frozen));
    assert!(tree.put("a/b", node(3, 4)));
    assert!(tree.remove("a"));
    assert!(!tree.is(&frozen));
    assert_eq!((frozen.len(), tree.len()), (3, 1));
    assert_eq!(frozen.get("a/b").unwrap().node().unwrap().stat().mzxid, Zxid(3));
}

#[test]
fn nothing_is_put_below_what_is_missing_or_opaque() {
    let mut tree = Tree::default();
    assert!(!tree.put("a", node(1, 1)));
    assert!(tree.put("", node(1, 1)));
    assert!(tree.put("a", node(1, 1)));
    assert!(tree.put("a/b", node(1, 1)));
    assert!(tree.put("a", None));
    assert_eq!((tree.len(), tree.get("a/b").is_none()), (1, true));
    assert!(!tree.put("a/b", node(1, 1)));
}

/// Each allocation that a tree holds, and its size.
fn pieces(tree: &Tree) -> BTreeMap<usize, usize> {
    let mut pieces: BTreeMap<_, _> = tree.root.iter().flat_map(block::tests::pieces).collect();
    let mut walk = tree.preorder();
    while let Some((_, entry)) = walk.next() {
        pieces.extend(entry.children().into_iter().flat_map(children::tests::pieces));
    }
    pieces
}

/// Edits of a tree that is four names wide and three levels deep.
pub(crate) fn edits() -> impl Strategy<Value = Vec<(u8, String)>> {
    let path = prop::collection::vec(0u8..4, 0..4)
        .prop_map(|names| names.iter().map(u8::to_string).collect::<Vec<_>>().join("/"));
    prop::collection::vec((0u8..8, path), 0..120)
}

pub(crate) fn edit(tree: &mut Tree, zxid: i64, op: u8, path: &str) {
    let current = tree.get(path).and_then(|entry| entry.node()).map(|node| node.stat().czxid.0);
    match op {
        0..=4 => _ = tree.put(path, node(current.unwrap_or(zxid), zxid)),
        5 | 6 => _ = tree.remove(path),
        _ => {
            if tree.get(path).is_some() {
                _ = tree.put(path, None);
            }
        }
    }
}

proptest! {
    #[test]
    fn a_tree_behaves_as_a_map_of_paths(edits in edits()) {
        let mut tree = Tree::default();
        let mut model: BTreeMap<String, Option<i64>> = BTreeMap::new();
        for (zxid, (op, path)) in edits.into_iter().enumerate() {
            let zxid = zxid as i64;
            let below = |other: &String| path.is_empty() || other.starts_with(&format!("{path}/"));
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            match op {
                0..=4 if path.is_empty() || model.get(parent).is_some_and(Option::is_some) => {
                    model.insert(path.clone(), Some(zxid));
                }
                5 | 6 => model.retain(|other, _| *other != path && !below(other)),
                7 if model.contains_key(&path) => {
                    model.retain(|other, _| *other == path || !below(other));
                    model.insert(path.clone(), None);
                }
                _ => {}
            }
            edit(&mut tree, zxid, op, &path);
            prop_assert_eq!(&listed(&tree), &model);
            prop_assert_eq!(tree.len(), model.values().flatten().count());
            prop_assert_eq!(tree.bytes(), model.values().flatten().map(|mzxid| mzxid.to_string().len()).sum::<usize>());
        }
        for start in model.keys().map(String::as_str).chain(["1/9", "0/0/0/0", "2/1x"]) {
            let mut walk = tree.preorder_after(start);
            let mut behind = Vec::new();
            while let Some((path, _)) = walk.next() {
                behind.push(path.to_owned());
            }
            let order = |path: &str| path.split('/').map(str::to_owned).filter(|name| !name.is_empty()).collect::<Vec<_>>();
            let mut expected: Vec<_> = model.keys().filter(|path| order(path) > order(start)).cloned().collect();
            expected.sort_by_key(|path| order(path));
            prop_assert_eq!(behind, expected);
        }
    }

    #[test]
    fn what_edits_let_go_is_what_clones_from_before_hold_alone(
        edits in edits(), frozen in prop::collection::vec(any::<bool>(), 120), wide in any::<bool>(),
    ) {
        let mut tree = Tree::default();
        if wide {
            for path in std::iter::once(String::new()).chain((0..200).map(|n| format!("{n:03}"))) {
                assert!(tree.put(&path, node(1, 1)));
            }
        }
        let mut clones = vec![tree.clone()];
        for (zxid, (op, path)) in edits.iter().enumerate() {
            let before = tree.clone();
            edit(&mut tree, 2 + zxid as i64, *op, path);
            let now = pieces(&tree);
            let alone = |clone: &Tree| -> usize {
                pieces(clone).iter().filter(|(piece, _)| !now.contains_key(piece)).map(|(_, size)| size).sum()
            };
            prop_assert_eq!(tree.let_go() - before.let_go(), alone(&before) as u64);
            let all: BTreeMap<_, _> = clones.iter().flat_map(pieces).collect();
            let held: usize = all.iter().filter(|(piece, _)| !now.contains_key(piece)).map(|(_, size)| size).sum();
            prop_assert!(held as u64 <= tree.let_go() - clones[0].let_go());
            if frozen[zxid] {
                clones.push(tree.clone());
            }
        }
    }
}
