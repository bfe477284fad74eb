//! What `top` asks of a tree, and a snapshot answers.

use treecache::{Error, Node, Snapshot, Zxid};

pub trait Nodes {
    /// As [`Snapshot::zxid`].
    fn zxid(&self) -> Zxid;

    /// As [`Snapshot::is_cut`].
    fn is_cut(&self) -> bool;

    /// Whether there is such a node, to be read or not.
    fn has(&self, path: &str) -> bool;

    /// As [`Snapshot::get_data`].
    fn node(&self, path: &str) -> Result<Node, Error>;

    /// The name of one child, in the order of their bytes.
    fn child(&self, parent: &str, which: Which<'_>) -> Option<String>;

    /// Visits a node and all below it in the order of a walk, those included that may not be read.
    fn walk(&self, path: &str, visit: &mut dyn FnMut(&str) -> Step);
}

/// Which of the children.
#[derive(Clone, Copy)]
pub enum Which<'n> {
    First,
    Last,
    /// The one behind a name, be that one of theirs or not.
    After(&'n str),
    Before(&'n str),
}

/// What a visitor wants next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    On,
    /// On, but not below this node.
    Over,
    Stop,
}

impl Nodes for Snapshot {
    fn zxid(&self) -> Zxid {
        Snapshot::zxid(self)
    }

    fn is_cut(&self) -> bool {
        Snapshot::is_cut(self)
    }

    fn has(&self, path: &str) -> bool {
        self.cursor(path).is_ok()
    }

    fn node(&self, path: &str) -> Result<Node, Error> {
        self.get_data(path)
    }

    fn child(&self, parent: &str, which: Which<'_>) -> Option<String> {
        let children = self.get_children(parent).ok()?;
        let name = match which {
            Which::First => children.names().next(),
            Which::Last => children.last_name(),
            Which::After(name) => children.name_after(name),
            Which::Before(name) => children.name_before(name),
        };
        name.map(str::to_owned)
    }

    fn walk(&self, path: &str, visit: &mut dyn FnMut(&str) -> Step) {
        let Ok(mut cursor) = self.cursor(path) else { return };
        while let Some((path, _)) = cursor.next() {
            match visit(path) {
                Step::On => {}
                Step::Over => cursor.skip_children(),
                Step::Stop => return,
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use treecache::Stat;

    use super::super::notes::TreePath;
    use super::*;

    /// A tree that a test has made up.
    #[derive(Clone, Default)]
    pub struct Tree {
        /// `None`: one that may not be read.
        pub nodes: BTreeMap<TreePath, Option<Node>>,
    }

    impl Tree {
        pub fn of(paths: &[&str]) -> Tree {
            let mut tree = Tree::default();
            paths.iter().for_each(|path| tree.put(path, b"", Stat::default()));
            tree
        }

        pub fn put(&mut self, path: &str, data: &[u8], stat: Stat) {
            let stat = Stat { data_length: data.len() as i32, ..stat };
            self.nodes.insert(TreePath(path.to_owned()), Some(Node::new(Arc::from(data), stat)));
        }

        pub fn remove(&mut self, path: &str) {
            self.nodes.remove(&TreePath(path.to_owned()));
        }
    }

    impl Nodes for Tree {
        fn zxid(&self) -> Zxid {
            Zxid(0x1234)
        }

        fn is_cut(&self) -> bool {
            true
        }

        fn has(&self, path: &str) -> bool {
            self.nodes.contains_key(&TreePath(path.to_owned()))
        }

        fn node(&self, path: &str) -> Result<Node, Error> {
            match self.nodes.get(&TreePath(path.to_owned())) {
                Some(Some(node)) => Ok(node.clone()),
                Some(None) => Err(Error::NoPermission(path.to_owned())),
                None => Err(Error::NoNode(path.to_owned())),
            }
        }

        fn child(&self, parent: &str, which: Which<'_>) -> Option<String> {
            let below = if parent == "/" { "/".to_owned() } else { format!("{parent}/") };
            let names = || {
                let name = |path: &'_ TreePath| path.0.strip_prefix(&below).map(str::to_owned);
                self.nodes.keys().filter_map(name).filter(|name| !name.is_empty() && !name.contains('/'))
            };
            match which {
                Which::First => names().min(),
                Which::Last => names().max(),
                Which::After(name) => names().filter(|other| &**other > name).min(),
                Which::Before(name) => names().filter(|other| &**other < name).max(),
            }
        }

        fn walk(&self, path: &str, visit: &mut dyn FnMut(&str) -> Step) {
            let is_below = |path: &str, over: &str| {
                over == "/"
                    || path == over
                    || path.strip_prefix(over).is_some_and(|rest| rest.starts_with('/'))
            };
            let mut over: Option<&str> = None;
            for TreePath(at) in self.nodes.keys() {
                if !is_below(at, path) || over.is_some_and(|over| is_below(at, over)) {
                    continue;
                }
                match visit(at) {
                    Step::On => {}
                    Step::Over => over = Some(at),
                    Step::Stop => return,
                }
            }
        }
    }
}
