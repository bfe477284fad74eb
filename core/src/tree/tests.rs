//! Trees as values: what an edit of one leaves of another, and what it lets go.

use super::*;
use crate::stat::{Stat, Zxid};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a node has that was written at this zxid: some have more than stands in a block.
fn data(mzxid: i64) -> String {
    mzxid.to_string().repeat(if mzxid % 5 == 4 { 2000 } else { 1 })
}

fn stat(czxid: i64, mzxid: i64) -> Stat {
    Stat { czxid: Zxid(czxid), mzxid: Zxid(mzxid), ctime: -czxid, version: mzxid as i32, ..Stat::default() }
}

pub(super) fn node(czxid: i64, mzxid: i64) -> Option<Node> {
    Some(Node::new(data(mzxid).as_bytes().into(), stat(czxid, mzxid)))
}

/// What is in a tree, in full.
type Listed = BTreeMap<String, Option<(Stat, String)>>;

fn listed(tree: &Tree) -> Listed {
    let mut listed = BTreeMap::new();
    let mut walk = tree.preorder();
    while let Some((path, entry)) = walk.next() {
        let text = |node: NodeRef<'_>| String::from_utf8(node.data().to_vec()).unwrap();
        listed.insert(path.to_owned(), entry.node().map(|node| (*node.stat(), text(node))));
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

#[test]
fn a_tree_knows_data_that_is_not_kept_from_no_data() {
    let mut tree = Tree::default();
    let of = |n: i64| match n % 2 {
        0 => Node::without_data(stat(n, n)),
        _ => Node::new(Arc::default(), stat(n, n)),
    };
    assert!(tree.put("", Some(of(0))));
    for n in 1..500 {
        assert!(tree.put(&format!("{n:03}"), Some(of(n))));
    }
    for n in 1..500 {
        let node = tree.get(format!("{n:03}")).and_then(|entry| entry.node()).unwrap();
        assert_eq!((node.is_data_kept(), node.data()), (n % 2 == 1, &b""[..]));
        let moved = node.with_stat(Stat { data_length: 7, ..stat(n, n) });
        assert_eq!(moved.lend().is_data_kept(), node.is_data_kept());
        assert_eq!(*node.stat(), stat(n, n));
    }
    assert_eq!(tree.bytes(), 0);
}

#[test]
fn a_change_in_a_long_list_copies_little() {
    let mut list = ListBuilder::default();
    for n in 0..100_000 {
        assert!(list.push(&format!("{n:06}"), Some(NodeRef::new(&[0; 128], Stat::default()))));
    }
    let mut tree = Tree::default();
    assert!(tree.put("", node(1, 1)) && tree.attach("", list.finish()));
    assert_eq!((tree.len(), tree.bytes()), (100_001, 12_800_001));
    let before = tree.clone();
    assert!(tree.put("050000", node(2, 2)) && tree.remove("070000") && tree.put("070000x", node(3, 3)));
    let let_go = tree.let_go() - before.let_go();
    assert!(let_go < 20 << 10, "{let_go} bytes");
    let mut differences = Differences::new(&before, &tree);
    let changes = std::iter::from_fn(|| differences.next().map(|(path, _)| path.to_owned()));
    assert_eq!(changes.collect::<Vec<_>>(), ["050000", "070000", "050000", "070000x"]);
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
    prop::collection::vec((0u8..9, path), 0..120)
}

pub(crate) fn edit(tree: &mut Tree, zxid: i64, op: u8, path: &str) {
    let current = tree.get(path).and_then(|entry| entry.node()).map(|node| node.stat().czxid.0);
    match op {
        0..=4 => _ = tree.put(path, node(current.unwrap_or(zxid), zxid)),
        5 | 6 => _ = tree.remove(path),
        7 => {
            if tree.get(path).is_some() {
                _ = tree.put(path, None);
            }
        }
        _ => {
            let mut list = ListBuilder::default();
            for n in 0..zxid % 4 {
                let child = node(zxid + n, zxid + n);
                assert!(list.push(&n.to_string(), child.as_ref().map(Node::lend)));
            }
            _ = tree.attach(path, list.finish());
        }
    }
}

proptest! {
    #[test]
    fn a_tree_behaves_as_a_map_of_paths(edits in edits()) {
        let mut tree = Tree::default();
        let mut model = Listed::new();
        let node = |czxid, mzxid| Some((stat(czxid, mzxid), data(mzxid)));
        for (zxid, (op, path)) in edits.into_iter().enumerate() {
            let zxid = zxid as i64;
            let below = |other: &String| match path.is_empty() {
                true => !other.is_empty(),
                false => other.starts_with(&format!("{path}/")),
            };
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let known = model.get(&path).cloned();
            match op {
                0..=4 if path.is_empty() || model.get(parent).is_some_and(Option::is_some) => {
                    let czxid = known.flatten().map_or(zxid, |(stat, _)| stat.czxid.0);
                    model.insert(path.clone(), node(czxid, zxid));
                }
                5 | 6 => model.retain(|other, _| *other != path && !below(other)),
                7 if known.is_some() => {
                    model.retain(|other, _| !below(other));
                    model.insert(path.clone(), None);
                }
                8 if known.is_some_and(|known| known.is_some()) => {
                    model.retain(|other, _| !below(other));
                    let join = |n: i64| if path.is_empty() { n.to_string() } else { format!("{path}/{n}") };
                    model.extend((0..zxid % 4).map(|n| (join(n), node(zxid + n, zxid + n))));
                }
                _ => {}
            }
            edit(&mut tree, zxid, op, &path);
            prop_assert_eq!(&listed(&tree), &model);
            prop_assert_eq!(tree.len(), model.values().flatten().count());
            prop_assert_eq!(tree.bytes(), model.values().flatten().map(|(_, data)| data.len()).sum::<usize>());
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
    fn what_is_there_already_changes_nothing(edits in edits()) {
        let mut tree = Tree::default();
        for (zxid, (op, path)) in edits.iter().enumerate() {
            edit(&mut tree, zxid as i64, *op, path);
        }
        let before = tree.clone();
        for path in listed(&before).keys() {
            let node = before.get(path).and_then(|entry| entry.node());
            // As if it had been read again.
            let again = node.map(|node| Node::new(node.data().into(), *node.stat()));
            prop_assert!(tree.put(path, again));
        }
        prop_assert!(tree.is(&before));
        prop_assert_eq!(tree.let_go(), before.let_go());
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
