//! The tree: immutable once frozen, structurally shared between versions.
//!
//! A [`Tree`] is edited in place by the synchroniser; cloning it freezes what it is in O(1), and later edits copy
//! only what they touch. Paths are relative to the tree's root: "" is the root, "a/b" a node below it. The tree
//! knows nothing of ZooKeeper beyond the [`Stat`](crate::stat::Stat) that its nodes carry.

mod block;
mod children;
mod diff;
mod entry;
mod filter;
mod footprint;
mod keys;
mod node;
mod piece;
mod record;
mod stored;
mod version;
mod walk;
mod way;

use std::sync::Arc;

use self::block::Block;
use self::footprint::make_mut;
use crate::planted::{self, Defect};
pub use children::{Children, ListBuilder, Position};
pub use diff::{Change, Differences};
pub use entry::{Entry, Share};
pub use filter::{Filter, Kinds};
pub use node::{Node, NodeRef};
pub use piece::Keeper;
pub use stored::{Appender, Damaged, Loader, OBJECTS_AT, Stored, Written, checksum};
pub use version::Version;
pub use walk::{Held, Preorder, Walk};

/// The tree of one subtree of the server: the empty one, or a root and what is below it.
#[derive(Clone, Default)]
pub struct Tree {
    /// A block of one record, whose name is empty.
    root: Option<Block>,
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
    pub fn get(&self, path: impl AsRef<[u8]>) -> Option<Entry<'_>> {
        let mut entry = self.root()?;
        for name in names(path.as_ref()) {
            entry = entry.children()?.get(name)?;
        }
        Some(entry)
    }

    /// As [`get`](Self::get), for readers: what is deep is found faster from the third time on. (A writer has nothing of
    /// that, since its edits make readers forget what they know of the way there.)
    #[inline]
    pub fn look_up(&self, path: impl AsRef<[u8]>) -> Option<Entry<'_>> {
        let path = path.as_ref();
        match path.len() < way::SHORTEST {
            true => self.get(path),
            false => way::find(self.root()?, path),
        }
    }

    fn root(&self) -> Option<Entry<'_>> {
        self.root.as_ref().map(|root| root.entry(0))
    }

    /// The deepest node on the way to `path`, with its path; `None` where not even the root is there.
    pub fn deepest<'p>(&self, path: &'p str) -> Option<(&'p str, Entry<'_>)> {
        let mut entry = self.root()?;
        let mut depth = 0;
        for name in names(path.as_bytes()) {
            match entry.children().and_then(|children| children.get(name)) {
                Some(child) => entry = child,
                None => break,
            }
            depth += name.len() + usize::from(depth > 0);
        }
        Some((&path[..depth], entry))
    }

    /// Whether both have the same root and share all that is below: nothing was changed between the two.
    pub fn is(&self, other: &Tree) -> bool {
        match (self.root(), other.root()) {
            (Some(a), Some(b)) => a.is(&b),
            (None, None) => true,
            _ => false,
        }
    }

    /// Puts a node at `path`, over what is there, and keeps the children. `None` makes it opaque, with nothing
    /// below it. Returns false, and changes nothing, when the parent is not there or is opaque. Nothing changes either if
    /// the same is there already.
    #[must_use]
    pub fn put(&mut self, path: &str, node: Option<Node>) -> bool {
        let node = node.as_ref().map(Node::lend);
        if node.is_none() {
            self.remove_below(path);
        }
        let known = match split(path) {
            Some((parent, name)) => match self.get(parent).filter(|parent| !parent.is_opaque()) {
                Some(parent) => parent.children().and_then(|children| children.get(name)),
                None => return false,
            },
            None => self.root(),
        };
        if let Some(known) = known {
            let known = known.node();
            if known == node && !planted::is(Defect::EqualNodePutAnew) {
                return true;
            }
            let lost = Lost::replaced(known, node);
            self.forget(&lost);
        }
        if let Some(node) = &node {
            self.len += 1;
            self.bytes += node.data().len();
        }
        let let_go = &mut self.let_go;
        match (split(path), &mut self.root) {
            (Some((parent, name)), _) => {
                if let Some(list) = room_below(&mut self.root, parent, let_go) {
                    make_mut(list.get_or_insert_default(), let_go).put(name, node, let_go);
                }
            }
            (None, Some(root)) => root.replace(0, node, let_go),
            (None, root) => *root = Some(Block::of_one("", node)),
        }
        true
    }

    /// Puts nodes below `parent` that are not there yet, in the order of their names, as they come from a list. Returns
    /// false, and changes nothing, when the parent is not there or is opaque.
    #[must_use]
    pub fn put_children<'n>(
        &mut self,
        parent: &str,
        nodes: impl IntoIterator<Item = (&'n str, NodeRef<'n>)>,
    ) -> bool {
        if !self.is_readable(parent) {
            return false;
        }
        let mut nodes = nodes.into_iter().peekable();
        if nodes.peek().is_none() {
            return true;
        }
        let let_go = &mut self.let_go;
        let Some(list) = room_below(&mut self.root, parent, let_go) else { return false };
        let counted = nodes.inspect(|(_, node)| {
            self.len += 1;
            self.bytes += node.data().len();
        });
        make_mut(list.get_or_insert_default(), let_go).put_all(counted, let_go);
        true
    }

    /// Hangs a list of children below a node that is there, in place of what was below it. Returns false, and changes
    /// nothing, when it is not there or is opaque.
    #[must_use]
    pub fn attach(&mut self, path: &str, children: Children) -> bool {
        if !self.is_readable(path) {
            return false;
        }
        self.remove_below(path);
        for entry in children.iter().map(|(_, entry)| entry) {
            let Lost { nodes, bytes, .. } = Lost::all(entry);
            self.len += nodes;
            self.bytes += bytes;
        }
        if !children.is_empty()
            && let Some(list) = room_below(&mut self.root, path, &mut self.let_go)
        {
            *list = Some(Arc::new(children));
        }
        true
    }

    fn is_readable(&self, path: &str) -> bool {
        self.get(path).is_some_and(|entry| !entry.is_opaque())
    }

    /// Removes the node at `path` and all below it. Returns whether it was there.
    pub fn remove(&mut self, path: &str) -> bool {
        let Some(entry) = self.get(path) else { return false };
        let lost = Lost::all(entry);
        self.forget(&lost);
        let let_go = &mut self.let_go;
        match split(path) {
            Some((parent, name)) => {
                if let Some(list) = list_below(&mut self.root, parent, let_go)
                    && let Some(children) = list
                {
                    let children = make_mut(children, let_go);
                    children.remove(name, let_go);
                    if children.is_empty() {
                        // An empty list is none.
                        *list = None;
                    }
                }
            }
            None => {
                if let Some(root) = self.root.take() {
                    root.count_if_shared(let_go);
                }
            }
        }
        true
    }

    /// Removes all below `path`, and leaves the node itself.
    pub fn remove_below(&mut self, path: &str) {
        let Some(entry) = self.get(path).filter(|entry| entry.children().is_some()) else { return };
        let lost = Lost::below(entry);
        self.forget(&lost);
        if let Some(list) = list_below(&mut self.root, path, &mut self.let_go) {
            *list = None;
        }
    }

    fn forget(&mut self, lost: &Lost) {
        self.len -= lost.nodes;
        self.bytes -= lost.bytes;
        self.let_go += lost.footprint as u64;
    }

    /// The nodes in preorder, siblings in byte order.
    pub fn preorder(&self) -> Preorder<Entry<'_>> {
        Preorder::new(self.root(), "")
    }

    /// The nodes from `path` down.
    pub fn preorder_from(&self, path: &str) -> Preorder<Entry<'_>> {
        Preorder::new(self.get(path), path)
    }

    /// As [`preorder_from`](Self::preorder_from), by a walk that outlives the tree.
    pub fn preorder_of_share(&self, path: &str) -> Preorder<Share> {
        Preorder::new(self.get(path).map(|entry| entry.share()), path)
    }

    /// The nodes behind `path` in preorder, also when `path` is not there any more.
    pub fn preorder_after(&self, path: &str) -> Preorder<Entry<'_>> {
        Preorder::after(self.root(), path)
    }
}

/// What a tree loses with an edit, beside the blocks that are written anew.
#[derive(Default)]
struct Lost {
    /// Nodes that can be read.
    nodes: usize,
    /// Bytes of data in them.
    bytes: usize,
    footprint: usize,
}

impl Lost {
    /// A node that gives way to another one.
    fn replaced(old: Option<NodeRef<'_>>, new: Option<NodeRef<'_>>) -> Lost {
        let Some(old) = old else { return Lost::default() };
        let footprint = if new.is_some_and(|new| new.shares_data(&old)) { 0 } else { old.footprint_beside() };
        Lost { nodes: 1, bytes: old.data().len(), footprint }
    }

    /// A node and all below it.
    fn all(entry: Entry<'_>) -> Lost {
        let mut lost = Lost::default();
        let mut walk = Preorder::new(Some(entry), "");
        while let Some((_, entry)) = walk.next() {
            if let Some(data) = entry.data() {
                lost.nodes += 1;
                lost.bytes += data.len();
            }
            lost.footprint += entry.footprint_beside();
            lost.footprint += entry.children().map_or(0, |children| children.footprint_of_all());
        }
        lost
    }

    /// All below a node.
    fn below(entry: Entry<'_>) -> Lost {
        let Lost { nodes, bytes, footprint } = Lost::all(entry);
        let own = entry.data().map(<[u8]>::len);
        Lost {
            nodes: nodes - usize::from(own.is_some()),
            bytes: bytes - own.unwrap_or(0),
            footprint: footprint - entry.footprint_beside(),
        }
    }
}

/// The path of the parent, and the name; `None` for the root.
fn split(path: &str) -> Option<(&str, &str)> {
    (!path.is_empty()).then(|| path.rsplit_once('/').unwrap_or(("", path)))
}

/// The block where the record of `path` is, and its index, to be changed. What is shared on the way there has to be
/// copied, and is added to `let_go`.
fn find_mut<'t>(root: &'t mut Option<Block>, path: &str, let_go: &mut u64) -> Option<(&'t mut Block, usize)> {
    let mut found = (root.as_mut()?, 0);
    for name in names(path.as_bytes()) {
        let (block, index) = found;
        let children = block.list_mut(index, let_go)?.as_mut()?;
        found = make_mut(children, let_go).find_mut(name, let_go)?;
    }
    Some(found)
}

/// The child list of what is at `path`, to be changed; `None` if there is no room for one.
fn list_below<'t>(
    root: &'t mut Option<Block>,
    path: &str,
    let_go: &mut u64,
) -> Option<&'t mut Option<Arc<Children>>> {
    let (block, index) = find_mut(root, path, let_go)?;
    block.list_mut(index, let_go)
}

/// As [`list_below`], and makes room for one.
fn room_below<'t>(
    root: &'t mut Option<Block>,
    path: &str,
    let_go: &mut u64,
) -> Option<&'t mut Option<Arc<Children>>> {
    let (block, index) = find_mut(root, path, let_go)?;
    block.make_room(index, let_go);
    block.list_mut(index, let_go)
}

/// The names in a path; the root's path has none. Names are short, so looking at one byte after the other is faster
/// than a search made for long texts. A path that ends with a slash ends with an empty name, which no node has.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').skip(usize::from(path.is_empty()))
}

#[cfg(test)]
mod tests;
