//! An exact in-memory copy of a ZooKeeper subtree.
pub mod error;
pub mod net;
pub mod path;
pub mod session;
pub mod stat;
pub mod state;
pub mod sync;
pub mod tree;
