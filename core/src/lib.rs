//! The state machines of libtreecache: from ZooKeeper's bytes to an exact tree, without I/O.
//!
//! Everything here takes what happened (`handle_*`) and the current time, and hands out what is to be done (`poll_*`).
//! There are no sockets, threads, locks or clocks, and no `unsafe`: who drives it decides what the network does and
//! what time it is. The library `treecache` does so with a real network; its simulator, with one in memory.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | ZooKeeper's records and frames |
//! | [`session`] | one ZooKeeper session |
//! | [`tree`] | the immutable, structurally shared tree |
//! | [`sync`] | what to read next, and when the tree is a consistent cut |
//! | [`engine`] | a session and the synchronisers of its caches, joined |
//! | [`share`] | a tree as a file that other processes read |
//!
//! This is no API with promises of its own: programs use `treecache`.

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
// What clippy.toml forbids.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests begin at some time"))]

// What every layer speaks.
pub mod error;
pub mod escape;
pub mod names;
pub mod path;
pub mod planted;
pub mod selection;
pub mod stat;
pub mod state;

// The layers, from the bytes up.
pub mod wire;

pub mod session;

pub mod tree;

pub mod sync;

pub mod engine;

pub mod share;

pub use error::{Error, Fault, LastFault, Status};
pub use path::NodePath;
pub use stat::{Stat, Zxid};
pub use state::{EventKind, State};
pub use tree::{Node, NodeRef, Walk};
