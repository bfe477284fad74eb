//! ZooKeeper's tree, made of transactions.
//!
//! The rules are those of ZooKeeper's `DataTree.processTxn`, or where they differ, those of ClickHouse Keeper's
//! `KeeperStorageImpl.cpp` (its `preprocess` of create, remove and set).

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use treecache_core::{Stat, Zxid};

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
    /// How many children were ever created here: what a server keeps as the node's cversion (`StatPersisted`), and of
    /// which `DataNode.copyStat` makes the Stat's: twice that, less the children there are.
    created: i32,
}

impl TruthNode {
    fn count_children(&mut self, difference: i32) {
        self.stat.num_children += difference;
        self.stat.cversion = self.created.wrapping_mul(2).wrapping_sub(self.stat.num_children);
    }

    fn count_as_keeper(&mut self, difference: i32) {
        self.stat.num_children += difference;
        self.stat.cversion = self.stat.cversion.wrapping_add(1);
    }
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

/// What a parent's Stat says of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counts {
    /// pzxid and cversion move when a child comes or goes.
    #[default]
    ZooKeepers,
    /// cversion moves when a child comes, goes, or its data is set; pzxid only when one comes.
    Keepers,
}

/// The nodes at one moment, by path. `/` is there from the start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Truth {
    pub zxid: Zxid,
    counts: Counts,
    nodes: OrdMap<Arc<str>, Arc<TruthNode>>,
    /// How many nodes are not for everyone.
    restricted: usize,
}

impl Default for Truth {
    fn default() -> Truth {
        let root =
            TruthNode { data: Arc::from([]), stat: Stat::default(), access: Access::Everyone, created: 0 };
        let nodes = OrdMap::unit(Arc::from("/"), Arc::new(root));
        Truth { zxid: Zxid(0), counts: Counts::ZooKeepers, nodes, restricted: 0 }
    }
}

impl Truth {
    /// The same tree, where children count in this way from now on.
    pub fn counting(self, counts: Counts) -> Truth {
        Truth { counts, ..self }
    }

    /// What a parent's Stat says of its children.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The tree of a server that nobody has written to: `/zookeeper` is there, and counts as a child of `/`.
    pub fn of_a_new_server() -> Truth {
        let mut truth = Truth::default();
        let node = truth.nodes["/"].clone();
        let mut root = (*node).clone();
        // Nobody created it.
        root.count_children(1);
        truth.nodes.insert(Arc::from("/"), Arc::new(root));
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

    /// So many children can still be created below a node before its cversion moves no more, as if the others had
    /// been created and deleted before.
    pub fn saturate(&mut self, path: &str, left: i32) {
        if let Some(node) = self.nodes.get_mut(path) {
            let node = Arc::make_mut(node);
            node.created = i32::MAX - left;
            node.count_children(0);
        }
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
                let node = TruthNode { data: data.clone(), stat, access: *access, created: 0 };
                self.nodes.insert(path.clone(), Arc::new(node));
                self.restricted += usize::from(*access != Access::Everyone);
                self.child_created(path, zxid);
                (Kind::Created, path, *access)
            }
            Change::Delete { path } => {
                let node = self.nodes.remove(path)?;
                self.restricted -= usize::from(node.access != Access::Everyone);
                self.child_deleted(path, zxid);
                (Kind::Deleted, path, node.access)
            }
            Change::SetData { path, data } => {
                let node = Arc::make_mut(self.nodes.get_mut(path)?);
                node.data = data.clone();
                node.stat.data_length = data.len() as i32;
                (node.stat.mzxid, node.stat.mtime) = (zxid, time);
                node.stat.version += 1;
                let access = node.access;
                if self.counts == Counts::Keepers
                    && let Some(parent) = self.nodes.get_mut(parent(path)).map(Arc::make_mut)
                {
                    parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
                }
                (Kind::DataChanged, path, access)
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

    /// `DataTree.createNode`: cversion and pzxid move together, and only while the former can grow. (The leader adds
    /// one to it, `PrepRequestProcessor.pRequest2TxnCreate`; behind 2^31 - 1 that is a negative number.)
    fn child_created(&mut self, path: &str, zxid: Zxid) {
        let Some(parent) = self.nodes.get_mut(parent(path)).map(Arc::make_mut) else { return };
        if self.counts == Counts::Keepers {
            parent.stat.pzxid = zxid;
            return parent.count_as_keeper(1);
        }
        if let Some(created) = parent.created.checked_add(1) {
            parent.created = created;
            parent.stat.pzxid = zxid;
        }
        parent.count_children(1);
    }

    /// `DataTree.deleteNode`: pzxid moves alone.
    fn child_deleted(&mut self, path: &str, zxid: Zxid) {
        let Some(parent) = self.nodes.get_mut(parent(path)).map(Arc::make_mut) else { return };
        if self.counts == Counts::Keepers {
            return parent.count_as_keeper(-1);
        }
        parent.stat.pzxid = zxid;
        parent.count_children(-1);
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
