//! What libtreecache guarantees, as checks with names over what was observed of a cache. The simulator runs them
//! after every step; a test with real servers records, and runs them over its record.
//!
//! - [`Truth`]: ZooKeeper's tree, made of transactions and nothing else;
//! - [`Narrowing`]: which nodes a cache was told to keep;
//! - [`Observer`]: one cache, seen from outside: *exact*, *monotonic*, *atomic*;
//! - [`Replay`]: events onto an empty map: *complete*, *ordered*;
//! - [`Violation`]: which check failed, and how. *live*, *honest* and *fed* are about time, so that whoever runs the
//!   clock checks them.
//!
//! What each means is in `docs/guarantees.md`.

mod narrowing;
mod observer;
mod replay;
mod truth;
mod violation;

pub use narrowing::Narrowing;
pub use observer::{Excused, Observer, Published, View, difference};
pub use replay::{NodeEvent, Replay};
pub use truth::{Access, Change, Counts, Happened, Kind, Transaction, Truth, TruthNode};
pub use violation::{Check, Violation};
