//! Stats: how a cache stands, and what it has done, in numbers.

use std::ffi::{CString, c_char};
use std::time::Duration;

use super::boundary::{Boxed, c_string};
use super::state::tc_state;
use super::status::TC_OK;
use crate::stats::{Stats, WatchMode};

/// How a cache stands, and what it and its client have done since they were made. Independent of the cache. Freed with
/// `tc_stats_free`, together with all it points to. Later versions may add fields at its end.
#[repr(C)]
pub struct tc_stats {
    /// A TC_STATE_ number, as `tc_get_state` tells it.
    pub state: tc_state,
    /// Time since the last word from a server, in ms; -1 before the first.
    pub contact_age_ms: i64,
    /// Time since a cut was last known to be the server's tree, in ms; -1 before the first. While the cache is in step,
    /// that was at the last contact.
    pub cut_age_ms: i64,
    /// zxid of the version that is read now, as `tc_snapshot_zxid` tells it.
    pub zxid: i64,
    /// Nodes in the tree that is read now.
    pub nodes: u64,
    /// Bytes of data in them.
    pub bytes: u64,
    /// Versions published.
    pub versions: u64,
    /// Of them, those that are cuts.
    pub cuts: u64,
    /// Events handed to listeners and queues, each counted.
    pub events: u64,
    /// How often a listener or queue fell behind and went on by difference.
    pub lags: u64,
    /// Nodes asked for.
    pub reads: u64,
    /// Requests they were asked with.
    pub batches: u64,
    /// Verifications of the tree after a connection was gone.
    pub resyncs: u64,
    /// Of the client: how often it has connected.
    pub connections: u64,
    /// Of the client: the id of its session; 0 before the first.
    pub session_id: i64,
    /// Of the client: "host:port" of the server it is connected to, as it was named; NULL while it is not connected.
    pub server: *const c_char,
    /// By which watches the cache hears of changes: "recursive" (also where the root alone is watched: single) or "one-shot", as the
    /// key "watch" has them; NULL while it is not connected, or that is not known yet. Since 0.2.0.
    pub watch: *const c_char,
    /// Faults so far, of the cache and of its client, whether somebody listened to them or not. Since 0.2.0.
    pub faults: u64,
    /// Time since the last of them, in ms; -1 where there was none. `tc_get_fault` tells it. Since 0.2.0.
    pub last_fault_age_ms: i64,
    /// The TC_ERR_ code of the last of them; TC_OK where there was none. Since 0.2.0.
    pub last_fault_status: i32,
}

/// What `tc_stats` points to, behind it.
#[repr(C)]
pub(super) struct Owner {
    view: tc_stats,
    /// Lent by `view`.
    server: Option<CString>,
}

// SAFETY: `Owner` has C's layout and begins with the view.
unsafe impl Boxed for tc_stats {
    type Owner = Owner;
}

/// An age in milliseconds; -1 for none.
pub(super) fn millis(age: Option<Duration>) -> i64 {
    age.map_or(-1, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

pub(super) fn into_raw(stats: Stats) -> *const tc_stats {
    let server = stats.server.as_deref().map(c_string);
    let view = tc_stats {
        state: stats.state as tc_state,
        contact_age_ms: millis(stats.contact_age),
        cut_age_ms: millis(stats.cut_age),
        zxid: stats.zxid.0,
        nodes: stats.nodes as u64,
        bytes: stats.bytes as u64,
        versions: stats.versions,
        cuts: stats.cuts,
        events: stats.events,
        lags: stats.lags,
        reads: stats.reads,
        batches: stats.batches,
        resyncs: stats.resyncs,
        connections: stats.connections,
        session_id: stats.session_id,
        server: server.as_ref().map_or(std::ptr::null(), |server| server.as_ptr()),
        watch: match stats.watch {
            Some(WatchMode::Recursive) => c"recursive".as_ptr(),
            Some(WatchMode::OneShot) => c"one-shot".as_ptr(),
            Some(WatchMode::Auto) | None => std::ptr::null(),
        },
        faults: stats.faults,
        last_fault_age_ms: millis(stats.last_fault.map(|(_, age)| age)),
        last_fault_status: stats.last_fault.map_or(TC_OK, |(status, _)| status.code()),
    };
    tc_stats::into_raw(Owner { view, server })
}

/// Frees stats; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_stats_free(stats: *const tc_stats) {
    // SAFETY: the caller passes NULL or stats that it owns and does not use any more.
    unsafe { tc_stats::free("tc_stats_free", stats) }
}
