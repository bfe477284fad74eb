//! The synchroniser, without I/O: one subtree, what to read next, what a reply or notification changes, and when
//! the tree is a consistent cut.
//!
//! `Synchroniser` keeps one cache's tree; [`Group`] is all caches of one session:
//! it routes notifications, counts watches and shares what may be in flight. Both are state machines that take
//! inputs and the time through `handle_*` and hand out requests and outputs through `poll_*`. They rest on one
//! fact: a connection is one totally ordered stream, in which a notification for a change at zxid `z` stands before
//! any reply whose header zxid is `z` or more. They do not know how a session is kept alive, nor threads.
//!
//! | module | holds |
//! |---|---|
//! | `synchroniser` | load, follow, verify, audit, publish: one subtree |
//! | `unread` | the paths whose value at the server is not known, and what is known of their history |
//! | `runs` | those of them that are only known as names in a list, by list |
//! | `anchors` | the few nodes that show whether a server still has the history that a tree was read in |
//! | `common_point` | up to which zxid the history that a tree was read in is that of the servers |
//! | `report` | what another session is asked after a lost connection: which nodes have changed |
//! | `candidate` | frozen trees that become cuts once a few later reads have confirmed them |
//! | `evidence` | what shows that an ensemble has another history than the one that a node was read in |
//! | `data` | what is kept of nodes' data: all, nothing, or what gzip has compressed, uncompressed |
//! | `flight` | one round of reads, bounded in count and bytes; learning how large replies are |
//! | `arming` | what a flight takes to send: watches where each tells of one change, reads one by one for old servers |
//! | `keeper` | how to tell a ClickHouse Keeper from ZooKeeper, and what its Stats do not say |
//! | `group` | all caches of a session: watches, requests, budget |
//!
//! A persistent recursive watch covers a tree (ZooKeeper 3.6). Where a server has none, each node has one-shot watches,
//! which are set again by whatever reads the node: why no change is missed is in
//! `docs/decisions/0005-one-shot-watches.md`.

mod anchors;
mod arming;
mod candidate;
mod common_point;
mod data;
mod evidence;
mod flight;
mod group;
mod keeper;
mod report;
mod runs;
mod synchroniser;
#[cfg(test)]
mod tests;
mod unread;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use data::Data;
pub use group::{CacheId, Group, Purpose};
pub use report::Chunk;
pub use synchroniser::Ticket;

use crate::error::{Fault, Status};
use crate::path::NodePath;
use crate::selection::Selection;
use crate::state::{EventKind, State};
use crate::tree::Version;
use crate::wire::{Malformed, ServerError};

/// What a cache is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Create the root and its parents when they are missing at the start.
    pub create_root: bool,
    /// Which nodes of the subtree are kept.
    pub selection: Selection,
    /// Go on following the tree once it is loaded. If not, it is held as it is until a call of `sync`.
    pub follow: bool,
    /// The root alone is kept, and watched alone.
    pub single: bool,
    /// The parents that are created with it are containers.
    pub container_parents: bool,
    /// Most nodes; 0 for no limit.
    pub limit_nodes: usize,
    /// Most bytes of data, as it is kept; 0 for no limit.
    pub limit_bytes: usize,
    /// What is kept of nodes' data.
    pub data: Data,
    /// Longest path of a node, in bytes.
    pub limit_path: usize,
    /// How the tree is verified after a lost connection.
    pub verify: VerifyMode,
    /// One pass of the audit over the tree takes about this long; zero switches it off.
    pub audit_interval: Duration,
    /// How fast the tree is read as a whole.
    pub pace: Pace,
}

/// How a server is made to catch up for a call of `sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// With a transaction that changes nothing: ordered behind all that was committed, on whatever server.
    #[default]
    Barrier,
    /// With ZooKeeper's `sync`: without a transaction, and on a leader without a promise.
    Sync,
}

/// How a tree is verified after a lost connection, if something may have changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VerifyMode {
    /// By report if the tree is large.
    #[default]
    Auto,
    /// By report: another session is asked which nodes have changed, and these are read. If it cannot be had, or that would
    /// cost more, all nodes are read.
    Report,
    /// All nodes are read.
    Read,
}

/// How a client hears of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WatchMode {
    /// By recursive watches, and where a server has none, by one-shot watches. It is found out on each connection.
    #[default]
    Auto,
    /// By a persistent recursive watch for each root. A server that has none is left for the next one.
    Recursive,
    /// By watches of each node, each of which tells of one change.
    OneShot,
}

/// Which of several ways a client has with its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// How a server is made to catch up.
    pub sync: SyncMode,
    /// How changes are heard of.
    pub watch: WatchMode,
}

/// How fast a tree is read as a whole. Users cannot set this: what is right depends on all clients of an ensemble
/// together, and was found by simulation (`docs/scaling.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// A verification waits for a random part of this time per node, so that the clients of a server that comes back
    /// do not all read their trees at once.
    pub spread_per_node: Duration,
    /// Flights at a time during a load or verification.
    pub flights: usize,
    /// Nodes that are read together at most where nothing tells how large they are. If all of them turn out to have
    /// 1 MiB, which is the most that a server takes by default, the reply is still below the limit of a frame.
    pub unproven: usize,
    /// Known nodes that are read together at most in a verification.
    pub verified: usize,
    /// A tree of so many nodes is large: it is verified by report ([`VerifyMode::Auto`]). A smaller one is read sooner than
    /// another session is made.
    pub reported: usize,
    /// How many nodes are read to find out how far the history is the one that such a tree was read in: the newest ones, and
    /// then ever fewer of the older ones.
    pub anchors: usize,
    /// How many bytes of paths are in one request that has nodes compared: a server does nothing else meanwhile.
    pub compared: usize,
    /// How many nodes are compared on one connection: a server keeps watches of them for as long as that is there.
    pub watched: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            spread_per_node: Duration::from_micros(1),
            flights: 8,
            unproven: 120,
            verified: 256,
            reported: 2000,
            anchors: 64,
            compared: 16 << 10,
            watched: 5000,
        }
    }
}

/// What a cache has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Versions published.
    pub versions: u64,
    /// Of them, those that are cuts.
    pub cuts: u64,
    /// Nodes asked for.
    pub reads: u64,
    /// Requests they were asked with.
    pub batches: u64,
    /// Verifications of the tree after a connection was gone.
    pub resyncs: u64,
    /// How changes are heard of on this connection: never [`WatchMode::Auto`]. `None` where that is not known yet.
    pub watch: Option<WatchMode>,
    /// When the cut that was published last was last known to be the server's tree, by a reply or a notification.
    /// While the cache is in step, it is so at each word of the server's.
    pub current_at: Option<Instant>,
}

/// Why a connection is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// The server broke the protocol.
    Malformed(Malformed),
    /// The ensemble has lost what was seen of it; what shows that. All that is known is to be forgotten.
    OtherHistory(String),
    /// The server has no watches of the kind that is wanted, and answered with this. The next one may have.
    NoWatches(ServerError),
    /// The recursive watches of the server name what is watched, and not what has changed. The next one may do better.
    Misnaming,
    /// The server does not know a request that was only tried, and closes the connection. On the next one to the same server
    /// there is another way.
    UnknownRequest,
}

impl From<Malformed> for Breach {
    fn from(malformed: Malformed) -> Breach {
        Breach::Malformed(malformed)
    }
}

/// What is wanted of a cache.
pub enum Input {
    /// Load the subtree at this root, which is relative to the chroot, and follow it. The first input of a cache.
    Open(NodePath, Options),
    /// The same, and the tree is known so far: this is the first version, be it a cut or not. What it has of the subtree is
    /// what the options keep, in the same form; the caller sees to that.
    OpenFrom(NodePath, Options, Arc<Version>),
    /// A call of `sync`, which [`Output::Synced`] answers.
    Sync(Ticket),
    /// The end of the cache, which is its last input.
    Close,
}

/// What a cache has to tell, in this order.
pub enum Output {
    /// The version to be read from now on. About this many nodes differ from the one before.
    Publish(Arc<Version>, usize),
    /// What the state has become. Comes before the event that tells of the same.
    State(State),
    /// A connection event, `Initialized` or `InStep`.
    Event(EventKind),
    /// A fault of this cache, or of the whole client.
    Fault(Fault),
    /// `Some`: the first load cannot succeed as things stand. `None`: it may again.
    Failure(Option<Status>),
    /// The answer to this call of `sync` and to all before it that had none yet.
    Synced(Ticket, Result<(), Status>),
    /// All that was done so far. Comes before whatever else is new, so that whoever is told the rest finds it.
    Progress(Progress),
}
