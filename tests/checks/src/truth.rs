//! ZooKeeper's tree, made of transactions.
//!
//! The rules are those of ZooKeeper's `DataTree.processTxn`.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use treecache::{Stat, Zxid};

/// Who may read a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    #[default]
    Everyone,
    /// Whoever has authenticated on the connection.
    Authenticated,
    Nobody,
}

impl Access {
    pub fn allows(self, authenticated: bool) -> bool {
        match self {
            Access::Everyone => true,
            Access::Authenticated => authenticated,
            Access::Nobody => false,
        }
    }
}

/// One change, as the leader has decided it: it is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `owner`: the session of an ephemeral node, or 0.
    Create {
        path: Arc<str>,
        data: Arc<[u8]>,
        access: Access,
        owner: i64,
    },
    Delete {
        path: Arc<str>,
    },
    SetData {
        path: Arc<str>,
        data: Arc<[u8]>,
    },
    SetAcl {
        path: Arc<str>,
        access: Access,
    },
}

/// Changes with one zxid: a write, a `multi`, or the end of a session with its ephemeral nodes. Empty for what
/// changes no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub zxid: Zxid,
    /// In ms since the Unix epoch.
    pub time: i64,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruthNode {
    pub data: Arc<[u8]>,
    pub stat: Stat,
    pub access: Access,
}

/// What happened to a node. A persistent recursive watch is notified of it, unless nobody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    pub kind: Kind,
    pub path: Arc<str>,
    /// Of the node at that moment: whoever may not read it is not told.
    pub access: Access,
}

/// How a node changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Created,
    Deleted,
    DataChanged,
    /// Nobody is notified of this one.
    AclChanged,
}

/// The nodes at one moment, by path. `/` is there from the start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Truth {
    pub zxid: Zxid,
    nodes: OrdMap<Arc<str>, Arc<TruthNode>>,
    /// How many nodes are not for everyone.
    restricted: usize,
}

impl Default for Truth {
    fn default() -> Truth {
        let root = TruthNode { data: Arc::from([]), stat: Stat::default(), access: Access::Everyone };
        Truth { zxid: Zxid(0), nodes: OrdMap::unit(Arc::from("/"), Arc::new(root)), restricted: 0 }
    }
}

impl Truth {
    /// The tree of a server that nobody has written to: `/zookeeper` is there, and counts as a child of `/`.
    pub fn of_a_new_server() -> Truth {
        let mut truth = Truth::default();
        let node = truth.nodes["/"].clone();
        let stat = Stat { cversion: -1, num_children: 1, ..node.stat };
        truth.nodes.insert(Arc::from("/"), Arc::new(TruthNode { stat, ..(*node).clone() }));
        truth.nodes.insert(Arc::from("/zookeeper"), node);
        truth
    }

    pub fn get(&self, path: &str) -> Option<&Arc<TruthNode>> {
        self.nodes.get(path)
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether everyone may read everything.
    pub fn is_open(&self) -> bool {
        self.restricted == 0
    }

    /// All nodes at and below `root`, in the order of their paths' bytes.
    pub fn subtree<'t>(&'t self, root: &'t str) -> impl Iterator<Item = (&'t Arc<str>, &'t Arc<TruthNode>)> {
        let below = if root == "/" { "/".to_owned() } else { format!("{root}/") };
        let itself = self.nodes.get_key_value(root).filter(|_| root != "/");
        let behind = self.nodes.range::<_, str>((Bound::Included(below.as_str()), Bound::Unbounded));
        itself.into_iter().chain(behind.take_while(move |(path, _)| path.starts_with(below.as_str())))
    }

    /// The names of a node's children, in the order of their bytes.
    pub fn children<'t>(&'t self, path: &'t str) -> impl Iterator<Item = &'t str> {
        let prefix = if path == "/" { 1 } else { path.len() + 1 };
        self.subtree(path)
            .filter_map(move |(child, _)| child.get(prefix..))
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }

    pub fn has_children(&self, path: &str) -> bool {
        self.nodes.get(path).is_some_and(|node| node.stat.num_children > 0)
    }

    /// Whether a change is possible as things stand.
    pub fn admits(&self, change: &Change) -> bool {
        match change {
            Change::Create { path, .. } => {
                !self.nodes.contains_key(path)
                    && self.nodes.get(parent(path)).is_some_and(|node| node.stat.ephemeral_owner == 0)
            }
            Change::Delete { path } => {
                &**path != "/" && self.nodes.contains_key(path) && !self.has_children(path)
            }
            Change::SetData { path, .. } | Change::SetAcl { path, .. } => self.nodes.contains_key(path),
        }
    }

    /// Applies a transaction, and says what happened in it, in its order.
    pub fn apply(&mut self, transaction: &Transaction) -> Vec<Happened> {
        self.zxid = transaction.zxid;
        transaction.changes.iter().filter_map(|change| self.change(change, transaction)).collect()
    }

    fn change(&mut self, change: &Change, Transaction { zxid, time, .. }: &Transaction) -> Option<Happened> {
        let (zxid, time) = (*zxid, *time);
        let (kind, path, access) = match change {
            Change::Create { path, data, access, owner } => {
                let stat = Stat {
                    czxid: zxid,
                    mzxid: zxid,
                    pzxid: zxid,
                    ctime: time,
                    mtime: time,
                    ephemeral_owner: *owner,
                    data_length: data.len() as i32,
                    ..Stat::default()
                };
                let node = TruthNode { data: data.clone(), stat, access: *access };
                self.nodes.insert(path.clone(), Arc::new(node));
                self.restricted += usize::from(*access != Access::Everyone);
                self.count_child(path, zxid, 1);
                (Kind::Created, path, *access)
            }
            Change::Delete { path } => {
                let node = self.nodes.remove(path)?;
                self.restricted -= usize::from(node.access != Access::Everyone);
                self.count_child(path, zxid, -1);
                (Kind::Deleted, path, node.access)
            }
            Change::SetData { path, data } => {
                let node = Arc::make_mut(self.nodes.get_mut(path)?);
                node.data = data.clone();
                node.stat.data_length = data.len() as i32;
                (node.stat.mzxid, node.stat.mtime) = (zxid, time);
                node.stat.version += 1;
                (Kind::DataChanged, path, node.access)
            }
            Change::SetAcl { path, access } => {
                let node = Arc::make_mut(self.nodes.get_mut(path)?);
                self.restricted -= usize::from(node.access != Access::Everyone);
                self.restricted += usize::from(*access != Access::Everyone);
                node.access = *access;
                node.stat.aversion += 1;
                (Kind::AclChanged, path, *access)
            }
        };
        Some(Happened { kind, path: path.clone(), access })
    }

    fn count_child(&mut self, path: &str, zxid: Zxid, difference: i32) {
        if let Some(parent) = self.nodes.get_mut(parent(path)) {
            let stat = &mut Arc::make_mut(parent).stat;
            stat.cversion += 1;
            stat.num_children += difference;
            stat.pzxid = zxid;
        }
    }
}

/// The path of the parent; "" for `/`.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => "/",
        Some(at) => &path[..at],
        None => "",
    }
}
