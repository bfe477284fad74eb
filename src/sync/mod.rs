//! The synchroniser.
use std::time::Duration;

/// What a cache is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Create the root and its parents when they are missing at the start.
    pub create_root: bool,
    /// Most nodes; 0 for no limit.
    pub limit_nodes: usize,
    /// Most bytes of data; 0 for no limit.
    pub limit_bytes: usize,
    /// One pass of the audit over the tree takes about this long; zero switches it off.
    pub audit_interval: Duration,
}
