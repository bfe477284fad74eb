//! Walking a tree in preorder, from anywhere, without recursion.

use super::children::{Children, Entry, Position};

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

/// A walk in preorder: parents before children, siblings in byte order. [`next`](Preorder::next) lends the path, so
/// this is not an `Iterator`.
pub struct Preorder<'t> {
    /// The first node, until it was visited.
    first: Option<&'t Entry>,
    /// The child lists that are under way, and the length of their parents' paths.
    stack: Vec<(&'t Children, Position, usize)>,
    path: String,
}

impl<'t> Preorder<'t> {
    pub(super) fn new(first: Option<&'t Entry>, path: &str) -> Preorder<'t> {
        Preorder { first, stack: Vec::new(), path: path.to_owned() }
    }

    /// Starts with what follows `path` in preorder below `root`.
    pub(super) fn after(root: Option<&'t Entry>, path: &str) -> Preorder<'t> {
        let mut walk = Preorder { first: None, stack: Vec::new(), path: String::new() };
        let Some(mut entry) = root else { return walk };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Some(children) = entry.children.as_deref() else { return walk };
            walk.stack.push((children, children.after(name), walk.path.len()));
            let Some(child) = children.get(name) else { return walk };
            push_name(&mut walk.path, name);
            entry = child;
        }
        walk.descend(entry);
        walk
    }

    fn descend(&mut self, entry: &'t Entry) {
        if let Some(children) = entry.children.as_deref() {
            self.stack.push((children, Position::default(), self.path.len()));
        }
    }

    /// The next node and its path.
    #[allow(clippy::should_implement_trait, reason = "the path is lent until the next call")]
    pub fn next(&mut self) -> Option<(&str, &'t Entry)> {
        if let Some(entry) = self.first.take() {
            self.descend(entry);
            return Some((&self.path, entry));
        }
        loop {
            let (children, position, parent) = self.stack.last_mut()?;
            self.path.truncate(*parent);
            match children.at(position) {
                Some((name, entry)) => {
                    *position = position.next();
                    push_name(&mut self.path, name);
                    self.descend(entry);
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
