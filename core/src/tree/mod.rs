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

    /// About how many bytes of memory the edits that led to this tree have let go. An earlier clone may
    /// hold bytes that this tree does not: at most as many as the count has grown by since. (What came and went in
    /// between counts too.)
    pub fn let_go(&self) -> u64 {
        self.let_go
    }

    /// What is at `path`. All paths are UTF-8, so a caller that has bytes may ask with them as they are.
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

    /// Whether both share all their nodes: nothing was changed between the two.
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
        let old = std::mem::replace(&mut entry.node, node);
        let new = entry.node.as_deref();
        self.let_go += old.as_ref().map_or(0, |old| old.footprint_beside(new) as u64);
        self.len += usize::from(new.is_some());
        self.bytes += new.map_or(0, |new| new.data().len());
        self.count_removed(old.as_deref());
        true
    }

    /// Puts nodes below `parent` that are not there yet, in the order of their names, as they come from a list. Returns
    /// false, and changes nothing, when the parent is not there or is opaque.
    #[must_use]
    pub fn put_children<'n>(
        &mut self,
        parent: &str,
        nodes: impl IntoIterator<Item = (&'n str, Arc<Node>)>,
    ) -> bool {
        let Some(Entry { node: Some(_), children }) = entry_mut(&mut self.root, parent, &mut self.let_go)
        else {
            return false;
        };
        let children = make_mut(children.get_or_insert_default(), &mut self.let_go);
        for (name, node) in nodes {
            self.len += 1;
            self.bytes += node.data().len();
            let old = children.entry(name, &mut self.let_go).node.replace(node);
            debug_assert!(old.is_none(), "{name:?} is there already");
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

/// The names in a path; the root's path has none. Names are short, so looking at one byte after the other is faster
/// than a search made for long texts. A path that ends with a slash ends with an empty name, which no node has.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(usize::from(path.is_empty()))
}

#[cfg(test)]
mod tests;
