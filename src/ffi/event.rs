//! Events, as lent to a callback.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::boundary::{User, null, write_path};
use super::node::{lend_stat, tc_stat};
use crate::error::Error;
use crate::events::Event;
use crate::stat::Stat;
use crate::state::EventKind;
use crate::tree::NodeRef;

/// A node appeared. `data` and `stat` are the node's.
pub const TC_EVENT_NODE_ADDED: i32 = 0;
/// A node's data changed. `data` and `stat` are the new ones, `old_data` and `old_stat` those before.
pub const TC_EVENT_NODE_UPDATED: i32 = 1;
/// A node went. `data` and `stat` are the last known ones.
pub const TC_EVENT_NODE_REMOVED: i32 = 2;
/// Disconnected. Reads go on being served.
pub const TC_EVENT_CONNECTION_SUSPENDED: i32 = 3;
/// Connected again. What changed meanwhile follows, then IN_STEP (and INITIALIZED after LOST).
pub const TC_EVENT_CONNECTION_RECONNECTED: i32 = 4;
/// The session is lost, or the client was freed. A new session is made by itself.
pub const TC_EVENT_CONNECTION_LOST: i32 = 5;
/// The first load is complete; again after each LOST, once the tree is verified.
pub const TC_EVENT_INITIALIZED: i32 = 6;
/// The tree was loaded or verified on this connection, and the version told last is a cut.
pub const TC_EVENT_IN_STEP: i32 = 7;

/// In `flags`: the last event of a published version. What came since the last one with this flag may be applied as
/// one.
pub const TC_EVENT_LAST_OF_VERSION: u32 = 1;

/// Something that happened to a cache. Lent with all it points to: for the length of a callback, or by an item until
/// that is freed. What does not apply is NULL or 0. Later versions may add fields at its end.
#[repr(C)]
pub struct tc_event {
    /// A TC_EVENT_ number.
    pub r#type: i32,
    /// TC_EVENT_LAST_OF_VERSION or 0.
    pub flags: u32,
    /// The node's path, NUL-terminated, relative to the client's chroot.
    pub path: *const c_char,
    /// Length of the path in bytes, without its NUL.
    pub path_len: usize,
    /// The node's data; not NUL-terminated. NULL with `data=none`.
    pub data: *const u8,
    /// Length of the data in bytes.
    pub data_len: usize,
    /// The node's Stat.
    pub stat: *const tc_stat,
    /// The data before an update.
    pub old_data: *const u8,
    /// Its length in bytes.
    pub old_data_len: usize,
    /// The Stat before an update.
    pub old_stat: *const tc_stat,
    /// zxid of the version that the event belongs to; 0 for events of the connection.
    pub zxid: i64,
}

/// Is told an event, on the client's callback thread.
pub type tc_event_fn = Option<unsafe extern "C" fn(event: *const tc_event, user: *mut c_void)>;

const _: () = {
    assert!(TC_EVENT_NODE_ADDED == EventKind::NodeAdded as i32);
    assert!(TC_EVENT_NODE_UPDATED == EventKind::NodeUpdated as i32);
    assert!(TC_EVENT_NODE_REMOVED == EventKind::NodeRemoved as i32);
    assert!(TC_EVENT_CONNECTION_SUSPENDED == EventKind::ConnectionSuspended as i32);
    assert!(TC_EVENT_CONNECTION_RECONNECTED == EventKind::ConnectionReconnected as i32);
    assert!(TC_EVENT_CONNECTION_LOST == EventKind::ConnectionLost as i32);
    assert!(TC_EVENT_INITIALIZED == EventKind::Initialized as i32);
    assert!(TC_EVENT_IN_STEP == EventKind::InStep as i32);
};

/// The C view of an event, which lends what the event does, and its path with a NUL behind it from `path`.
pub(super) fn lend(event: &Event<'_>, path: &mut Vec<u8>) -> tc_event {
    let [node, old] =
        [&event.node, &event.old].map(|node| node.as_ref().map(|node| (node.data(), node.stat())));
    lend_with(event, path, node, old)
}

/// As [`lend`], with data and Stats that live elsewhere.
pub(super) fn lend_with(
    event: &Event<'_>,
    path: &mut Vec<u8>,
    node: Option<(&[u8], &Stat)>,
    old: Option<(&[u8], &Stat)>,
) -> tc_event {
    write_path(event.path.unwrap_or_default(), path);
    let is_kept = |node: &Option<NodeRef<'_>>| node.as_ref().is_some_and(NodeRef::is_data_kept);
    let lend_data = |is_kept, node: Option<(&[u8], &Stat)>| {
        node.filter(|_| is_kept).map_or(ptr::null(), |(data, _)| data.as_ptr())
    };
    tc_event {
        r#type: event.kind as i32,
        flags: if event.last_of_version { TC_EVENT_LAST_OF_VERSION } else { 0 },
        path: event.path.map_or(ptr::null(), |_| path.as_ptr().cast()),
        path_len: event.path.map_or(0, str::len),
        data: lend_data(is_kept(&event.node), node),
        data_len: node.map_or(0, |(data, _)| data.len()),
        stat: node.map_or(ptr::null(), |(_, stat)| lend_stat(stat)),
        old_data: lend_data(is_kept(&event.old), old),
        old_data_len: old.map_or(0, |(data, _)| data.len()),
        old_stat: old.map_or(ptr::null(), |(_, stat)| lend_stat(stat)),
        zxid: event.zxid.0,
    }
}

/// The Rust listener that a C function and its `user` make.
pub(super) fn listener(
    function: tc_event_fn,
    user: User,
) -> Result<impl FnMut(&Event<'_>) + Send + 'static, Error> {
    let function = function.ok_or_else(|| null("fn"))?;
    let mut path = Vec::new();
    Ok(move |event: &Event<'_>| {
        let lent = lend(event, &mut path);
        // SAFETY: the program gave function and `user` for each other; what is lent lives for the call.
        unsafe { function(&lent, user.get()) }
    })
}
