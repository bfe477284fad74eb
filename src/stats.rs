//! What a cache and its client have done so far, in numbers.

use std::time::Duration;

use crate::error::Status;
use crate::stat::Zxid;
use crate::state::State;

pub use crate::sync::WatchMode;

/// How a cache stands, and what it has done since it was made. Later versions may add fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How the cache stands to the server.
    pub state: State,
    /// The time since the last word from a server; `None` before the first word.
    pub contact_age: Option<Duration>,
    /// The time since a cut was last known to be the server's tree; `None` before the first cut. While the cache is in
    /// step, that was at the last contact.
    pub cut_age: Option<Duration>,
    /// The zxid of the version that is read now.
    pub zxid: Zxid,
    /// Nodes in the tree that is read now.
    pub nodes: usize,
    /// Bytes of data in them.
    pub bytes: usize,
    /// Versions published.
    pub versions: u64,
    /// How many of these versions were cuts.
    pub cuts: u64,
    /// Events handed to listeners and queues. An event counts once for each of them.
    pub events: u64,
    /// How often a listener or queue fell behind, and was told the difference over several versions at once.
    pub lags: u64,
    /// Nodes asked for.
    pub reads: u64,
    /// Requests in which these nodes were asked for.
    pub batches: u64,
    /// Verifications of the tree after a connection was gone.
    pub resyncs: u64,
    /// By which watches the cache hears of changes on the present connection; never [`WatchMode::Auto`]. `None` while it is not
    /// connected, or that is not known yet.
    pub watch: Option<WatchMode>,
    /// How often the client has connected.
    pub connections: u64,
    /// The id of the client's session; 0 before the first session.
    pub session_id: i64,
    /// `host:port`, as it was named, of the server that the client is connected to; `None` while it is not.
    pub server: Option<String>,
    /// Faults so far: those of the cache, and those of its client.
    pub faults: u64,
    /// The status of the last one, and how long ago it was told; [`TreeCache::last_fault`](crate::TreeCache::last_fault) has
    /// all of it. `None` where there was none.
    pub last_fault: Option<(Status, Duration)>,
}
