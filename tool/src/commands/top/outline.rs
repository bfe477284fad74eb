//! The rows of a tree in their order, one found from another: nothing of the tree is copied, however large it is.
//!
//! A row is a node that no fold hides, or a node that went a moment ago.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::nodes::{Nodes, Step, Which};
use super::notes::{Ghost, TreePath, in_tree_order};

#[derive(Clone, Copy)]
pub struct Outline<'t> {
    pub tree: &'t dyn Nodes,
    /// Where the rows begin.
    pub root: &'t str,
    pub ghosts: &'t BTreeMap<TreePath, Ghost>,
    /// Paths of nodes below which there are no rows.
    pub folds: &'t HashSet<String>,
}

impl Outline<'_> {
    /// The first row.
    pub fn first(&self) -> Option<String> {
        // Nothing is before the root but what is outside of it.
        if self.tree.has(self.root) {
            return Some(self.root.to_owned());
        }
        self.ghosts.keys().map(|ghost| &ghost.0).find(|ghost| self.is_seen(ghost)).cloned()
    }

    /// The last row.
    pub fn last(&self) -> Option<String> {
        let node = self.tree.has(self.root).then(|| self.last_within(self.root.to_owned()));
        let ghost = self.ghosts.keys().rev().map(|ghost| &ghost.0).find(|ghost| self.is_seen(ghost));
        later(node, ghost.cloned())
    }

    /// The row behind a path, be that a row or not.
    pub fn next(&self, path: &str) -> Option<String> {
        let node = match self.folds.contains(path) {
            true => None,
            false => self.tree.child(path, Which::First).map(|name| child(path, &name)),
        };
        let node = node.or_else(|| self.beyond(path));
        let behind = (Bound::Excluded(TreePath(path.to_owned())), Bound::Unbounded);
        let ghost = self.ghosts.range(behind).map(|(ghost, _)| &ghost.0).find(|ghost| self.is_seen(ghost));
        earlier(node, ghost.cloned())
    }

    /// The row before a path, be that a row or not.
    pub fn previous(&self, path: &str) -> Option<String> {
        let node = self.node_before(path);
        let before = self.ghosts.range(..TreePath(path.to_owned())).rev();
        let ghost = before.map(|(ghost, _)| &ghost.0).find(|ghost| self.is_seen(ghost));
        later(node, ghost.cloned())
    }

    /// The row at a path; or the fold that hides it; or, if there is no such row any more, the one behind it, or the last one.
    pub fn nearest(&self, path: &str) -> Option<String> {
        if let Some(fold) = self.fold_over(path) {
            return Some(fold.to_owned());
        }
        if self.is_there(path) {
            return Some(path.to_owned());
        }
        self.next(path).or_else(|| self.last())
    }

    /// Whether there is a row of that path.
    pub fn is_row(&self, path: &str) -> bool {
        self.is_there(path) && self.is_seen(path)
    }

    /// The row that a path is below of.
    pub fn parent(&self, path: &str) -> Option<String> {
        let (parent, _) = self.split(path)?;
        self.is_there(parent).then(|| parent.to_owned())
    }

    /// Visits all rows in their order, until the visitor returns false.
    pub fn visit(&self, mut visit: impl FnMut(&str) -> bool) {
        let mut ghosts = self.ghosts.keys().filter(|ghost| self.is_seen(&ghost.0)).peekable();
        let mut goes_on = true;
        self.tree.walk(self.root, &mut |path| {
            while let Some(ghost) = ghosts.next_if(|ghost| in_tree_order(&ghost.0, path).is_lt()) {
                goes_on = goes_on && visit(&ghost.0);
            }
            // It is here: the tree is newer than the last event.
            ghosts.next_if(|ghost| ghost.0 == path);
            goes_on = goes_on && visit(path);
            match goes_on {
                false => Step::Stop,
                true if self.folds.contains(path) => Step::Over,
                true => Step::On,
            }
        });
        for ghost in ghosts {
            goes_on = goes_on && visit(&ghost.0);
        }
    }

    fn is_there(&self, path: &str) -> bool {
        self.tree.has(path) || self.ghosts.contains_key(&TreePath(path.to_owned()))
    }

    /// The last row of the tree that is at a node or below.
    fn last_within(&self, mut path: String) -> String {
        while !self.folds.contains(&path) {
            match self.tree.child(&path, Which::Last) {
                Some(name) => path = child(&path, &name),
                None => break,
            }
        }
        path
    }

    /// The node behind a path and all that is below it.
    fn beyond(&self, path: &str) -> Option<String> {
        let mut path = path;
        while let Some((parent, name)) = self.split(path) {
            if let Some(next) = self.tree.child(parent, Which::After(name)) {
                return Some(child(parent, &next));
            }
            path = parent;
        }
        None
    }

    fn node_before(&self, path: &str) -> Option<String> {
        let mut path = path;
        while let Some((parent, name)) = self.split(path) {
            if let Some(before) = self.tree.child(parent, Which::Before(name)) {
                return Some(self.last_within(child(parent, &before)));
            }
            if self.tree.has(parent) {
                return Some(parent.to_owned());
            }
            path = parent;
        }
        None
    }

    /// A path below the root, as its parent's and its name.
    fn split<'p>(&self, path: &'p str) -> Option<(&'p str, &'p str)> {
        if path.len() <= self.root.len() {
            return None;
        }
        match path.rsplit_once('/')? {
            ("", name) => Some(("/", name)),
            (parent, name) => Some((parent, name)),
        }
    }

    /// The highest fold above a path.
    fn fold_over<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.folds.is_empty() {
            return None;
        }
        let mut fold = None;
        let mut path = path;
        while let Some((parent, _)) = self.split(path) {
            if self.folds.contains(parent) {
                fold = Some(parent);
            }
            path = parent;
        }
        fold
    }

    /// Whether no fold hides it.
    fn is_seen(&self, ghost: &str) -> bool {
        self.fold_over(ghost).is_none()
    }
}

fn child(parent: &str, name: &str) -> String {
    match parent {
        "/" => format!("/{name}"),
        _ => format!("{parent}/{name}"),
    }
}

fn earlier(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if in_tree_order(&a, &b).is_le() { a } else { b }),
        (a, b) => a.or(b),
    }
}

fn later(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if in_tree_order(&a, &b).is_ge() { a } else { b }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use treecache::{NodeRef, Stat};

    use super::super::nodes::tests::Tree;
    use super::super::notes::{Change, Notes};
    use super::*;

    fn rows(outline: &Outline<'_>) -> Vec<String> {
        let mut rows = Vec::new();
        outline.visit(|path| {
            rows.push(path.to_owned());
            true
        });
        rows
    }

    fn notes_of_gone(paths: &[&str]) -> Notes {
        let mut notes = Notes::default();
        for path in paths {
            notes.take(path, Change::Removed, Some(NodeRef::new(b"", Stat::default())), Duration::ZERO);
        }
        notes
    }

    #[test]
    fn rows_are_the_nodes_that_no_fold_hides_and_those_that_went() {
        let tree = Tree::of(&["/r", "/r/a", "/r/a/x", "/r/a/y", "/r/b", "/r/b.c"]);
        let notes = notes_of_gone(&["/r/a/w", "/r/b/gone/below", "/r/b/gone", "/r/c"]);
        let folds = HashSet::new();
        let outline = Outline { tree: &tree, root: "/r", ghosts: notes.ghosts(), folds: &folds };
        assert_eq!(
            rows(&outline),
            [
                "/r",
                "/r/a",
                "/r/a/w",
                "/r/a/x",
                "/r/a/y",
                "/r/b",
                "/r/b/gone",
                "/r/b/gone/below",
                "/r/b.c",
                "/r/c"
            ]
        );
        assert_eq!(outline.parent("/r/b/gone/below").as_deref(), Some("/r/b/gone"));
        assert_eq!(outline.nearest("/r/a/xx").as_deref(), Some("/r/a/y"));
        assert_eq!(outline.nearest("/r/z").as_deref(), Some("/r/c"));
        let folds = HashSet::from(["/r/a".to_owned(), "/r/b/gone".to_owned()]);
        let folded = Outline { folds: &folds, ..outline };
        assert_eq!(rows(&folded), ["/r", "/r/a", "/r/b", "/r/b/gone", "/r/b.c", "/r/c"]);
        assert_eq!(folded.nearest("/r/a/x").as_deref(), Some("/r/a"));
    }

    #[test]
    fn below_the_root_of_all_it_is_the_same_and_without_a_root_there_are_no_rows() {
        let (folds, notes) = (HashSet::new(), Notes::default());
        let tree = Tree::of(&["/", "/a", "/a/b"]);
        let outline = Outline { tree: &tree, root: "/", ghosts: notes.ghosts(), folds: &folds };
        assert_eq!(rows(&outline), ["/", "/a", "/a/b"]);
        assert_eq!(
            (outline.next("/").as_deref(), outline.previous("/a").as_deref()),
            (Some("/a"), Some("/"))
        );
        assert_eq!((outline.previous("/"), outline.next("/a/b")), (None, None));
        assert_eq!(outline.parent("/a").as_deref(), Some("/"));
        let nothing = Tree::default();
        let empty = Outline { tree: &nothing, root: "/r", ..outline };
        assert_eq!(
            (rows(&empty).len(), empty.first(), empty.last(), empty.nearest("/r")),
            (0, None, None, None)
        );
    }

    fn any_paths() -> impl Strategy<Value = Vec<String>> {
        let name = || prop::sample::select(&["a", "a.b", "b", "ä"][..]);
        prop::collection::vec(prop::collection::vec(name(), 0..4), 0..12).prop_map(|all| {
            all.into_iter()
                .map(|names| names.iter().fold("/r".to_owned(), |path, name| child(&path, name)))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn rows_are_found_from_one_another_as_a_visit_has_them(
            paths in any_paths(), gone in any_paths(), folds in any_paths(),
        ) {
            let mut tree = Tree::default();
            for path in &paths {
                // With all that is above.
                for (at, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
                    tree.put(&path[..at], b"", Stat::default());
                }
            }
            let notes = notes_of_gone(&gone.iter().map(String::as_str).collect::<Vec<_>>());
            let folds = folds.into_iter().collect();
            let outline = Outline { tree: &tree, root: "/r", ghosts: notes.ghosts(), folds: &folds };
            let all = rows(&outline);
            prop_assert!(all.windows(2).all(|pair| in_tree_order(&pair[0], &pair[1]).is_lt()), "{all:?}");
            prop_assert_eq!((outline.first(), outline.last()), (all.first().cloned(), all.last().cloned()));
            for (at, path) in all.iter().enumerate() {
                prop_assert_eq!(outline.next(path), all.get(at + 1).cloned());
                prop_assert_eq!(outline.previous(path), at.checked_sub(1).map(|at| all[at].clone()));
                prop_assert_eq!(outline.nearest(path), Some(path.clone()));
            }
        }
    }
}
