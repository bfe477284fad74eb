//! Walking a tree in preorder, from anywhere, without recursion.

use std::ops::Deref;
use std::sync::Arc;

use super::children::{Children, Position};
use super::entry::{Entry, Share};

/// What a visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Go on, with the node's children.
    Continue,
    /// Go on, but not below this node.
    SkipChildren,
    /// No more.
    Stop,
}

/// An entry as a walk holds it: lent by the tree, or a share of it that outlives the tree.
pub trait Held: Sized {
    /// The entry's children, held in the same way.
    type Children: Deref<Target = Children>;

    /// The entry's children; `None` when there are none.
    fn children(&self) -> Option<Self::Children>;

    /// The child at a position, as [`Children::at`].
    fn child<'c>(children: &'c Self::Children, position: &mut Position) -> Option<(&'c str, Self)>;
}

impl<'t> Held for Entry<'t> {
    type Children = &'t Children;

    fn children(&self) -> Option<&'t Children> {
        Entry::children(self).map(|children| &**children)
    }

    fn child<'c>(children: &'c &'t Children, position: &mut Position) -> Option<(&'c str, Entry<'t>)> {
        children.at(position)
    }
}

impl Held for Share {
    type Children = Arc<Children>;

    fn children(&self) -> Option<Arc<Children>> {
        self.lend().children().cloned()
    }

    fn child<'c>(children: &'c Arc<Children>, position: &mut Position) -> Option<(&'c str, Share)> {
        children.at(position).map(|(name, entry)| (name, entry.share()))
    }
}

/// A walk in preorder: parents before children, siblings in byte order. [`next`](Preorder::next) lends the path, so
/// this is not an `Iterator`.
pub struct Preorder<E: Held> {
    /// The first node, until it was visited.
    first: Option<E>,
    /// The child lists that are under way, and the length of their parents' paths.
    stack: Vec<(E::Children, Position, usize)>,
    path: String,
}

impl<'t> Preorder<Entry<'t>> {
    /// Starts with what follows `path` in preorder below `root`.
    pub(super) fn after(root: Option<Entry<'t>>, path: &str) -> Preorder<Entry<'t>> {
        let mut walk = Preorder::new(None, "");
        let Some(mut entry) = root else { return walk };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Some(children) = Held::children(&entry) else { return walk };
            walk.stack.push((children, children.after(name), walk.path.len()));
            let Some(child) = children.get(name) else { return walk };
            push_name(&mut walk.path, name);
            entry = child;
        }
        walk.descend(&entry);
        walk
    }
}

impl<E: Held> Preorder<E> {
    pub(super) fn new(first: Option<E>, path: &str) -> Preorder<E> {
        Preorder { first, stack: Vec::new(), path: path.to_owned() }
    }

    fn descend(&mut self, entry: &E) {
        if let Some(children) = entry.children() {
            self.stack.push((children, Position::default(), self.path.len()));
        }
    }

    /// The next node and its path.
    #[allow(clippy::should_implement_trait, reason = "the path is lent until the next call")]
    pub fn next(&mut self) -> Option<(&str, E)> {
        if let Some(entry) = self.first.take() {
            self.descend(&entry);
            return Some((&self.path, entry));
        }
        loop {
            let (children, position, parent) = self.stack.last_mut()?;
            self.path.truncate(*parent);
            match E::child(children, position) {
                Some((name, entry)) => {
                    *position = position.next();
                    push_name(&mut self.path, name);
                    self.descend(&entry);
                    return Some((&self.path, entry));
                }
                None => _ = self.stack.pop(),
            }
        }
    }

    /// Leaves out what is below the node that `next` returned last.
    pub fn skip_children(&mut self) {
        if self.stack.last().is_some_and(|(_, position, parent)| {
            *position == Position::default() && *parent == self.path.len()
        }) {
            self.stack.pop();
        }
    }
}

pub(super) fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}
