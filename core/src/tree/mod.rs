//! The tree: immutable once frozen, structurally shared between versions.
//!
//! A [`Tree`] is edited in place by the synchroniser; cloning it freezes what it is in O(1), and later edits copy
//! only what they touch. Paths are relative to the tree's root: "" is the root, "a/b" a node below it. The tree
//! knows nothing of ZooKeeper beyond the [`Stat`](crate::stat::Stat) that its nodes carry.

mod children;
mod diff;
mod keys;
mod node;
mod version;
mod walk;

use std::sync::Arc;

use self::children::make_mut;
pub use children::{Children, Entry, Position};
pub use diff::{Change, Differences};
pub use node::Node;
pub use node::layout;
pub use version::Version;
pub use walk::{Held, Preorder, Walk};

/// The tree of one subtree of the server: the empty one, or a root and what is below it.
#[derive(Clone, Default)]
pub struct Tree {
    root: Option<Entry>,
    /// Nodes that can be read.
    len: usize,
    /// Bytes of data in them.
    bytes: usize,
    /// See [`Tree::let_go`].
    let_go: u64,
}

impl Tree {
    /// How many readable nodes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no node can be read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is a root, be it one that may not be read.
    pub fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// Bytes of data in all nodes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// About how many bytes of memory all edits let go that led to this tree. What an earlier clone holds and this one
    /// does not is as much as the count grew in between, or less: what came and went in between counts too.
    pub fn let_go(&self) -> u64 {
        self.let_go
    }

    /// What is at `path`. No node has a path that is not UTF-8, so whoever has bytes may ask with them.
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        let mut entry = self.root.as_ref()?;
        for name in names(path.as_ref()) {
            entry = entry.children.as_deref()?.get(name)?;
        }
        Some(entry)
    }

    /// The deepest node on the way to `path`, with its path; `None` where not even the root is there.
    pub fn deepest<'p>(&self, path: &'p str) -> Option<(&'p str, &Entry)> {
        let mut entry = self.root.as_ref()?;
        let mut depth = 0;
        for name in names(path.as_bytes()) {
            match entry.children.as_deref().and_then(|children| children.get(name)) {
                Some(child) => entry = child,
                None => break,
            }
            depth += name.len() + usize::from(depth > 0);
        }
        Some((&path[..depth], entry))
    }

    /// Whether both are one and the same, unchanged.
    pub fn is(&self, other: &Tree) -> bool {
        match (&self.root, &other.root) {
            (Some(a), Some(b)) => a.is(b),
            (None, None) => true,
            _ => false,
        }
    }

    /// Puts a node at `path`, over what is there, and keeps the children. `None` makes it opaque, with nothing
    /// below it. Returns false, and changes nothing, when the parent is not there or is opaque.
    #[must_use]
    pub fn put(&mut self, path: &str, node: Option<Arc<Node>>) -> bool {
        if node.is_none() {
            self.remove_below(path);
        }
        let entry = match path.rsplit_once('/') {
            _ if path.is_empty() => self.root.get_or_insert_default(),
            split => {
                let (parent, name) = split.unwrap_or(("", path));
                match entry_mut(&mut self.root, parent, &mut self.let_go) {
                    Some(Entry { node: Some(_), children }) => {
                        make_mut(children.get_or_insert_default(), &mut self.let_go)
                            .entry(name, &mut self.let_go)
                    }
                    _ => return false,
                }
            }
        };
        let added = node.as_ref().map(|node| node.data().len());
        let old = std::mem::replace(&mut entry.node, node);
        self.let_go += old.as_ref().map_or(0, |old| old.footprint_beside(entry.node.as_deref()) as u64);
        self.count_removed(old.as_deref());
        if let Some(bytes) = added {
            self.len += 1;
            self.bytes += bytes;
        }
        true
    }

    /// Removes the node at `path` and all below it. Returns whether it was there.
    pub fn remove(&mut self, path: &str) -> bool {
        let removed = match path.rsplit_once('/') {
            _ if path.is_empty() => self.root.take(),
            _ if self.get(path).is_none() => None,
            split => {
                let (parent, name) = split.unwrap_or(("", path));
                entry_mut(&mut self.root, parent, &mut self.let_go).and_then(|parent| {
                    let children = make_mut(parent.children.as_mut()?, &mut self.let_go);
                    let removed = children.remove(name, &mut self.let_go);
                    if children.is_empty() {
                        parent.children = None;
                    }
                    removed
                })
            }
        };
        self.forget(removed.as_ref());
        removed.is_some()
    }

    /// Removes all below `path`, and leaves the node itself.
    pub fn remove_below(&mut self, path: &str) {
        if self.get(path).is_some_and(|entry| entry.children.is_some()) {
            let entry = entry_mut(&mut self.root, path, &mut self.let_go);
            let children = entry.and_then(|entry| entry.children.take());
            self.forget(Some(&Entry { node: None, children }));
        }
    }

    /// Takes what was removed off the counts.
    fn forget(&mut self, removed: Option<&Entry>) {
        let mut walk = Preorder::new(removed, "");
        while let Some((_, entry)) = walk.next() {
            self.count_removed(entry.node.as_deref());
            let node = entry.node.as_ref().map_or(0, |node| node.footprint_beside(None));
            let children = entry.children.as_ref().map_or(0, |children| children.footprint_of_all());
            self.let_go += (node + children) as u64;
        }
    }

    fn count_removed(&mut self, node: Option<&Node>) {
        if let Some(node) = node {
            self.len -= 1;
            self.bytes -= node.data().len();
        }
    }

    /// The nodes in preorder, siblings in byte order.
    pub fn preorder(&self) -> Preorder<&Entry> {
        Preorder::new(self.root.as_ref(), "")
    }

    /// The nodes from `path` down.
    pub fn preorder_from(&self, path: &str) -> Preorder<&Entry> {
        Preorder::new(self.get(path), path)
    }

    /// As [`preorder_from`](Self::preorder_from), by a walk that outlives the tree.
    pub fn preorder_of_share(&self, path: &str) -> Preorder<Entry> {
        Preorder::new(self.get(path).cloned(), path)
    }

    /// The nodes behind `path` in preorder, also when `path` is not there any more.
    pub fn preorder_after(&self, path: &str) -> Preorder<&Entry> {
        Preorder::after(self.root.as_ref(), path)
    }
}

/// What is at `path`, to be changed. What is shared on the way there has to be copied, and is added to `let_go`.
fn entry_mut<'t>(root: &'t mut Option<Entry>, path: &str, let_go: &mut u64) -> Option<&'t mut Entry> {
    let mut entry = root.as_mut()?;
    for name in names(path.as_bytes()) {
        entry = make_mut(entry.children.as_mut()?, let_go).get_mut(name, let_go)?;
    }
    Some(entry)
}

/// The names in a path, none in that of the root. They are short: looking at one byte after the other is faster than a
/// search made for long texts. What ends with a slash ends with an empty name, which nothing has.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(usize::from(path.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::{Stat, Zxid};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    pub(super) fn node(czxid: i64, mzxid: i64) -> Option<Arc<Node>> {
        let stat = Stat { czxid: Zxid(czxid), mzxid: Zxid(mzxid), ..Stat::default() };
        Some(Arc::new(Node::new(Arc::from(mzxid.to_string().as_bytes()), stat)))
    }

    fn listed(tree: &Tree) -> BTreeMap<String, Option<i64>> {
        let mut listed = BTreeMap::new();
        let mut walk = tree.preorder();
        while let Some((path, entry)) = walk.next() {
            listed.insert(path.to_owned(), entry.node.as_ref().map(|node| node.stat().mzxid.0));
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
        assert_eq!(frozen.get("a/b").unwrap().node.as_ref().unwrap().stat().mzxid, Zxid(3));
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
        let mut pieces = BTreeMap::new();
        let mut walk = tree.preorder();
        while let Some((_, entry)) = walk.next() {
            if let Some(node) = &entry.node {
                // Node and data together, unless another node has the same data.
                let of_node = node.footprint_beside(Some(node));
                pieces.insert(Arc::as_ptr(node).addr(), of_node);
                pieces.insert(node.data().as_ptr().addr(), node.footprint_beside(None) - of_node);
            }
            pieces.extend(entry.children.iter().flat_map(children::tests::pieces));
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
        let current = tree.get(path).and_then(|entry| entry.node.as_ref()).map(|node| node.stat().czxid.0);
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
}
