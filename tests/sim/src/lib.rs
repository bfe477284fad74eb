//! A simulator: the wire, session, sync and tree layers as they are, against a ZooKeeper ensemble in memory that
//! speaks the real protocol, in simulated time. One seed is one schedule of writes and faults, and runs the same way
//! each time.
//!
//! | module | holds |
//! |---|---|
//! | `plan` | what a seed means: an ensemble, a client, a timetable of writes and faults |
//! | `ensemble` | the transactions, the tree after each of them, sessions |
//! | `protocol` | the server's side of ZooKeeper's protocol |
//! | `world` | time, the network, servers, the engine, and the checks after every step |
//! | `shrink` | the shortest timetable that still fails |
//!
//! The checks are those of `tests/checks`.

mod ensemble;
pub mod plan;
mod protocol;
mod shrink;
pub mod world;

pub use plan::Plan;
pub use shrink::shrink;
pub use world::{Tally, run};
