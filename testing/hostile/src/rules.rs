//! What holds of all that a cache tells, whatever a server says.

use std::collections::BTreeMap;
use std::sync::Arc;

use treecache_core::error::Status;
use treecache_core::path::NodePath;
use treecache_core::state::{EventKind, State};
use treecache_core::sync::{CacheId, Options, Output, Ticket};
use treecache_core::tree::{Change, Differences, Tree, Version};
use treecache_core::wire::{Read, Request};

/// What ZooKeeper takes of a request (`jute.maxbuffer`).
const LONGEST_REQUEST: usize = 1_048_575;

/// The caches of a scene, and what they have told.
#[derive(Default)]
pub struct Caches {
    told: BTreeMap<CacheId, Cache>,
}

struct Cache {
    options: Options,
    version: Arc<Version>,
    state: State,
    connection: EventKind,
    initialized: bool,
    in_step: bool,
    /// The newest call of `sync`, and the newest that was answered.
    called: Ticket,
    answered: Ticket,
}

impl Caches {
    pub fn open(&mut self, id: CacheId, options: Options) {
        let told = Cache {
            options,
            version: Arc::default(),
            state: State::Latent,
            connection: EventKind::ConnectionReconnected,
            initialized: false,
            in_step: false,
            called: Ticket(0),
            answered: Ticket(0),
        };
        self.told.insert(id, told);
    }

    pub fn close(&mut self, id: CacheId) {
        self.told.remove(&id);
    }

    /// The ensemble was reset: zxids begin anew.
    pub fn reset(&mut self) {
        for told in self.told.values_mut() {
            told.version = Arc::new(Version { zxid: Default::default(), ..(*told.version).clone() });
        }
    }

    pub fn ids(&self) -> Vec<CacheId> {
        self.told.keys().copied().collect()
    }

    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// The states of those that no limit has ended, and how many nodes they have.
    pub fn states(&self) -> impl Iterator<Item = (State, usize)> {
        let live = self.told.values().filter(|told| told.state != State::Closed);
        live.map(|told| (told.state, told.version.tree.len()))
    }

    /// Somebody calls `sync` on a cache.
    pub fn call(&mut self, id: CacheId) -> Ticket {
        let told = self.told.get_mut(&id).expect("an open cache");
        told.called.0 += 1;
        told.called
    }

    /// Whether every call of `sync` has its answer.
    pub fn are_answered(&self) -> bool {
        self.told.values().all(|told| told.answered == told.called)
    }

    pub fn check(&mut self, id: CacheId, output: Output) {
        let told = self.told.get_mut(&id).expect("a cache that is closed tells nothing");
        match output {
            Output::Publish(version, _) => told.publish(version),
            Output::State(state) => {
                assert!(told.state != state, "{state:?} is told twice");
                assert!(told.state != State::Closed, "{state:?} behind the end");
                told.state = state;
            }
            Output::Event(kind) => told.event(kind),
            Output::Fault(_) | Output::Failure(_) | Output::Progress(_) => {}
            Output::Synced(ticket, answer) => told.answer(ticket, answer),
        }
    }
}

impl Cache {
    fn publish(&mut self, version: Arc<Version>) {
        assert!(self.state != State::Closed, "a version behind the end");
        assert!(version.zxid.0 > 0, "a version at {:?}", version.zxid);
        assert!(version.zxid >= self.version.zxid, "{:?} behind {:?}", version.zxid, self.version.zxid);
        assert!(version.is_complete || !self.version.is_complete, "less complete than before");
        let (nodes, bytes) = (version.tree.len(), version.tree.bytes());
        assert!(self.options.limit_nodes == 0 || nodes <= self.options.limit_nodes, "{nodes} nodes");
        assert!(self.options.limit_bytes == 0 || bytes <= self.options.limit_bytes, "{bytes} bytes");
        well_formed(&version.tree);
        let mut count = 0;
        let mut differences = Differences::new(&self.version.tree, &version.tree);
        while let Some((path, change)) = differences.next() {
            count += 1;
            let (old, new) = match &change {
                Change::Removed { node } => (Some(node), None),
                Change::Added { node } => (None, Some(node)),
                Change::Updated { node, old } => (Some(old), Some(node)),
            };
            for (tree, node) in [(&self.version.tree, old), (&version.tree, new)] {
                let Some(node) = node else { continue };
                let found = tree.get(path);
                assert!(found.is_some_and(|found| found.is(&node.lend())), "{path} is not what changed");
            }
        }
        assert!(count <= self.version.tree.len() + nodes, "{count} changes");
        self.version = version;
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<(), Status>) {
        assert!(
            ticket > self.answered && ticket <= self.called,
            "{ticket:?} is answered twice, or is nobody's"
        );
        assert!(answer.is_err() || self.version.is_cut, "{ticket:?} is answered with what is no cut");
        self.answered = ticket;
    }

    fn event(&mut self, kind: EventKind) {
        use EventKind::{ConnectionLost, ConnectionReconnected, ConnectionSuspended, InStep, Initialized};
        match kind {
            ConnectionSuspended => {
                assert_eq!(self.connection, ConnectionReconnected);
                self.in_step = false;
            }
            ConnectionLost => {
                assert_ne!(self.connection, ConnectionLost);
                self.initialized = false;
            }
            ConnectionReconnected => assert_ne!(self.connection, ConnectionReconnected),
            Initialized => {
                assert!(!std::mem::replace(&mut self.initialized, true), "INITIALIZED twice");
                assert!(self.version.is_complete);
            }
            InStep => {
                assert!(!std::mem::replace(&mut self.in_step, true), "IN_STEP twice");
                assert!(self.initialized && self.version.is_cut);
            }
            other => panic!("{other:?} is for others to tell"),
        }
        if matches!(kind, ConnectionSuspended | ConnectionLost | ConnectionReconnected) {
            self.connection = kind;
        }
    }
}

/// Every node can be found, has a name that can be, stands behind its elder siblings and below a readable node;
/// and the sums are right.
fn well_formed(tree: &Tree) {
    let (mut len, mut bytes) = (0, 0);
    let mut last: Option<String> = None;
    let mut walk = tree.preorder();
    while let Some((path, entry)) = walk.next() {
        assert!(path.is_empty() || NodePath::of_server(&format!("/{path}")).is_some(), "{path:?}");
        assert!(tree.get(path).is_some_and(|found| found.is(&entry)), "{path:?} cannot be found");
        if let Some((parent, _)) = path.rsplit_once('/') {
            assert!(tree.get(parent).is_some_and(|parent| !parent.is_opaque()), "{path:?} is below nothing");
        }
        assert!(last.as_deref().is_none_or(|last| last.split('/').lt(path.split('/'))), "{last:?}, {path:?}");
        match entry.node() {
            Some(node) => (len, bytes) = (len + 1, bytes + node.data().len()),
            None => assert!(entry.children().is_none(), "{path:?} is opaque and has children"),
        }
        last = Some(path.to_owned());
    }
    assert_eq!((tree.len(), tree.bytes()), (len, bytes));
}

/// How many reads a request is; it must be one that a server takes.
pub fn reads(request: &Request, chroot: &NodePath) -> usize {
    let mut frame = Vec::new();
    request.encode(1, chroot, &mut frame);
    assert!(frame.len() <= LONGEST_REQUEST, "a request of {} bytes", frame.len());
    match request {
        Request::MultiRead(reads) => {
            reads.iter().filter(|read| !matches!(read, Read::Children(_))).map(Read::operations).sum()
        }
        Request::Exists(_) | Request::ChildrenWithStat(_) => 1,
        _ => 0,
    }
}
