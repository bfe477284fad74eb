//! A published version of the tree: what readers see.

use super::Tree;
use crate::stat::Zxid;

/// A tree as it was published, never changed again.
#[derive(Clone, Default)]
pub struct Version {
    /// What readers see.
    pub tree: Tree,
    /// Where `is_cut`: the tree equals the server's at this zxid. Otherwise a lower bound.
    pub zxid: Zxid,
    /// Whether `tree` is what the server had at one moment, for all that the session may read.
    pub is_cut: bool,
    /// The first load is complete: what is not in the tree does not exist.
    pub is_complete: bool,
    /// All that is in `tree` was read by a session of the same user as this one: else one has read some of it that may have
    /// been allowed to read more.
    pub is_own: bool,
}
