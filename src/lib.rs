//! An exact in-memory copy of a ZooKeeper subtree, behind a C ABI.
//!
//! A [`Client`] keeps one session with an ensemble; a [`TreeCache`] of it loads the subtree at a path, follows its
//! changes, serves reads from memory, and tells listeners what has changed. It always says whether it is in step.
//! A [`Snapshot`] that calls itself a cut equals the server's tree at the zxid it carries, for all that the session
//! may read.
//!
//! ```no_run
//! use treecache::{Client, Config};
//!
//! fn main() -> Result<(), treecache::Error> {
//!     let config = Config::new();
//!     let client = Client::new("localhost:2181", &config)?;
//!     let cache = client.cache("/services", &config)?;
//!     cache.listen(|event| println!("{:?} {:?}", event.kind, event.path))?;
//!     cache.start()?;
//!     cache.wait_initialized(None)?;
//!     for name in cache.get_children("/services")?.names() {
//!         println!("{name}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Layers
//!
//! Bytes become replies and notifications, those become changes of a tree, those become events and snapshots. Each
//! layer knows the layer below it, and not the layer above.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | ZooKeeper's records and frames |
//! | [`session`] | one ZooKeeper session, as a state machine without I/O |
//! | [`sync`] | what to read next, and when the tree is a consistent cut, as a state machine without I/O |
//! | [`tree`] | the immutable, structurally shared tree |
//! | [`engine`] | a session and the synchronisers of its caches, joined |
//! | [`net`] | the thread that does the I/O |
//! | [`events`] | listeners, and the thread that calls them |
//! | [`client`], [`cache`], [`snapshot`], [`stats`] | the Rust API |
//! | `ffi` | the C API, declared in `include/treecache.h`; with the feature of this name |

// A module with unsafe code says so itself, and what it needs that for.
#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

// Without I/O: the crate in `core/`.
use treecache_core::escape;
#[cfg(feature = "planted")]
pub use treecache_core::planted;
#[cfg(not(feature = "planted"))]
use treecache_core::planted;
use treecache_core::share;
pub use treecache_core::{engine, error, path, selection, session, stat, state, sync, tree, wire};

pub mod net;

pub mod events;

// The API.
pub mod cache;
pub mod client;
mod clock;
pub mod config;
#[cfg(feature = "ffi")]
pub mod ffi;
mod fork;
mod health;
#[cfg(feature = "ffi")]
mod logging;
mod panics;
mod random;
mod shared;
mod sharing;
pub mod snapshot;
pub mod stats;
mod thread;

pub use cache::TreeCache;
pub use client::Client;
pub use config::Config;
pub use error::{Error, Fault, LastFault, Status};
pub use events::{Event, EventQueue, Item, ListenerId};
pub use path::NodePath;
pub use snapshot::{ChildList, Cursor, Snapshot};
pub use stat::{Stat, Zxid};
pub use state::{EventKind, State};
pub use stats::{Stats, WatchMode};
pub use tree::{Node, NodeRef, Walk};
