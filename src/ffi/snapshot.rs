//! Snapshots.

use std::ffi::{CString, c_char, c_void};
use std::ops::ControlFlow;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::boundary::{Boxed, Handle, Out, Panicked, bytes, null, text, with, write_path};
use super::children::{self, tc_children, tc_children_data};
use super::event::{self, tc_event};
use super::node::{self, Buffer, lend, tc_node, tc_stat};
use crate::error::{Error, Fault};
use crate::snapshot::Snapshot;
use crate::tree::Walk;

/// The tree of a cache as it was at one moment; never changed, and independent of the cache.
pub struct tc_snapshot {
    pub(super) snapshot: Snapshot,
    /// What [`tc_snapshot_root`] has returned; NULL before the first call. (No lock: another thread may hold it at a fork.)
    root: AtomicPtr<c_char>,
    panicked: Panicked,
}

/// A visitor's answer: go on.
pub const TC_WALK_CONTINUE: i32 = 0;
/// A visitor's answer: go on, but not below this node.
pub const TC_WALK_SKIP_CHILDREN: i32 = 1;
/// A visitor's answer: no more.
pub const TC_WALK_STOP: i32 = 2;

/// Visits a node; `path` (NUL-terminated, `path_len` bytes) and `node` are lent for the call. Returns TC_WALK_CONTINUE,
/// TC_WALK_SKIP_CHILDREN or TC_WALK_STOP; whatever else it returns stops the walk too. Called on the thread that walks.
pub type tc_visit_fn = Option<
    unsafe extern "C" fn(
        path: *const c_char,
        path_len: usize,
        node: *const tc_node,
        user: *mut c_void,
    ) -> i32,
>;

/// Visits a difference between two snapshots, as the event it would be; lent for the call. Returns TC_WALK_CONTINUE
/// or TC_WALK_STOP; whatever else it returns stops too. Called on the thread that compares.
pub type tc_diff_fn = Option<unsafe extern "C" fn(change: *const tc_event, user: *mut c_void) -> i32>;

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_snapshot {
    type Owner = tc_snapshot;
}

impl tc_snapshot {
    pub(super) fn new(snapshot: Snapshot) -> tc_snapshot {
        tc_snapshot { snapshot, root: AtomicPtr::default(), panicked: Panicked::default() }
    }

    /// The root as a C string, which is made once.
    fn root(&self) -> *const c_char {
        let known = self.root.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        let Some(root) = self.snapshot.root().and_then(|root| CString::new(root).ok()) else {
            return ptr::null();
        };
        let root = root.into_raw();
        match self.root.compare_exchange(known, root, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => root,
            Err(first) => {
                // SAFETY: it came from a `CString` just now, and nobody else has it.
                drop(unsafe { CString::from_raw(root) });
                first
            }
        }
    }
}

impl Drop for tc_snapshot {
    fn drop(&mut self) {
        let root = *self.root.get_mut();
        if !root.is_null() {
            // SAFETY: it came from a `CString`, and what was lent of it ends with this.
            drop(unsafe { CString::from_raw(root) });
        }
    }
}

impl Handle for tc_snapshot {
    const NAME: &'static str = "snapshot";

    fn check(&self) -> Result<(), Error> {
        self.panicked.check()
    }

    fn fail(&self, _: Fault) {
        self.panicked.set();
    }
}

/// Returns the zxid that the snapshot is of: a lower bound when it is not a cut, 0 before the first version and for
/// NULL. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_zxid(snapshot: *const tc_snapshot) -> i64 {
    // SAFETY: the caller passes NULL or a snapshot that is not freed meanwhile.
    unsafe { snapshot.as_ref() }.map_or(0, |snapshot| snapshot.snapshot.zxid().0)
}

/// Returns whether the snapshot equals the server's tree at `tc_snapshot_zxid`, for all that the session may read;
/// false for NULL. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_is_cut(snapshot: *const tc_snapshot) -> bool {
    // SAFETY: the caller passes NULL or a snapshot that is not freed meanwhile.
    unsafe { snapshot.as_ref() }.is_some_and(|snapshot| snapshot.snapshot.is_cut())
}

/// Returns how many nodes are in the snapshot, without those that the session may not read; 0 for NULL. Any thread;
/// never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_len(snapshot: *const tc_snapshot) -> usize {
    // SAFETY: the caller passes NULL or a snapshot that is not freed meanwhile.
    unsafe { snapshot.as_ref() }.map_or(0, |snapshot| snapshot.snapshot.len())
}

/// Returns the absolute path of the root of the cache that the snapshot is of, whether there is such a node or not; NULL for a
/// cache that is attached to a file which was not there yet, and for NULL.
///
/// The string is the snapshot's, and lasts until `tc_snapshot_free`. Any thread; never blocks; callbacks may call it.
/// Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_root(snapshot: *const tc_snapshot) -> *const c_char {
    // SAFETY: the caller passes NULL or a snapshot that is not freed meanwhile.
    unsafe { snapshot.as_ref() }.map_or(ptr::null(), tc_snapshot::root)
}

/// Reads a node from the snapshot.
///
/// `path`: absolute, as in events. `out`: receives the node; free it with `tc_node_free`. Any thread; never blocks;
/// callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or a malformed path; TC_ERR_OUT_OF_TREE; TC_ERR_NOT_READY when the first
/// load was not complete and the node had not been seen; TC_ERR_NO_NODE; TC_ERR_NO_PERMISSION. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_get_data(
    snapshot: *const tc_snapshot,
    path: *const c_char,
    out: *mut *const tc_node,
) -> i32 {
    // SAFETY: the caller passes a snapshot that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_snapshot_get_data", snapshot, |snapshot| {
            let (path, out) = (bytes("path", path)?, Out::new("out", out)?);
            out.write(snapshot.snapshot.with_data(path, node::into_raw)?);
            Ok(())
        })
    }
}

/// Reads a node from the snapshot into a buffer of the caller's: nothing has to be freed, and nothing is written that
/// another reader uses.
///
/// `path`, `buffer`, `capacity`, `data_len`, `stat`: as `tc_copy_data` has them. Any thread; never blocks; callbacks may
/// call it.
///
/// Errors: TC_ERR_TOO_SMALL when the data has more bytes than `capacity`: nothing but `data_len` is written. Otherwise
/// as `tc_snapshot_get_data`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_copy_data(
    snapshot: *const tc_snapshot,
    path: *const c_char,
    buffer: *mut u8,
    capacity: usize,
    data_len: *mut usize,
    stat: *mut tc_stat,
) -> i32 {
    // SAFETY: the caller passes a snapshot that is not freed meanwhile, a C string, and places for the results.
    unsafe {
        with("tc_snapshot_copy_data", snapshot, |snapshot| {
            let path = bytes("path", path)?;
            let buffer = Buffer::new(buffer, capacity, data_len, stat)?;
            snapshot.snapshot.with_data(path, |node| buffer.fill(node))?
        })
    }
}

/// Reads the names of a node's children from the snapshot. A child that the session may not read is among them.
///
/// `path`: absolute, as in events. `out`: receives the names; free them with `tc_children_free`. Any thread; never
/// blocks; callbacks may call it.
///
/// Errors: as `tc_snapshot_get_data`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_get_children(
    snapshot: *const tc_snapshot,
    path: *const c_char,
    out: *mut *const tc_children,
) -> i32 {
    // SAFETY: the caller passes a snapshot that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_snapshot_get_children", snapshot, |snapshot| {
            let (path, out) = (bytes("path", path)?, Out::new("out", out)?);
            out.write(children::into_raw(snapshot.snapshot.get_children(path)?));
            Ok(())
        })
    }
}

/// Reads a node's children and their data from the snapshot. A child that the session may not read is among them,
/// without its data.
///
/// `path`: absolute, as in events. `out`: receives the children; free them with `tc_children_data_free`. Any thread;
/// never blocks; callbacks may call it.
///
/// Errors: as `tc_snapshot_get_data`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_get_children_data(
    snapshot: *const tc_snapshot,
    path: *const c_char,
    out: *mut *const tc_children_data,
) -> i32 {
    // SAFETY: the caller passes a snapshot that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_snapshot_get_children_data", snapshot, |snapshot| {
            let (path, out) = (bytes("path", path)?, Out::new("out", out)?);
            out.write(children::into_raw_with_data(snapshot.snapshot.get_children(path)?));
            Ok(())
        })
    }
}

/// Visits all that differs between two snapshots of one tree, in the form and order of events: NODE_REMOVED first,
/// children before their parents; then NODE_ADDED and NODE_UPDATED, parents before their children; siblings in byte
/// order. What both share is not looked into, so that it takes time for what changed and not for the whole tree.
///
/// `older`, `newer`: snapshots of one cache, or of caches with one root; which is which says what is added and what
/// is removed. `visit`: called for each difference before this returns, with the zxid of `newer`, and
/// TC_EVENT_LAST_OF_VERSION on the last; it may call any function that a callback may call, and must not free the
/// snapshots. `user`: passed to `visit` as it is; stays the caller's.
///
/// TC_OK also when the visitor stopped it. Any thread; blocks only on the visitor; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, and when the snapshots have different roots. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_diff(
    older: *const tc_snapshot,
    newer: *const tc_snapshot,
    visit: tc_diff_fn,
    user: *mut c_void,
) -> i32 {
    // SAFETY: the caller passes snapshots that are not freed meanwhile, and a function with its `user`.
    unsafe {
        with("tc_snapshot_diff", newer, |newer| {
            let (older, visit) =
                (older.as_ref().ok_or_else(|| null("older"))?, visit.ok_or_else(|| null("visit"))?);
            older.check()?;
            let mut path = Vec::new();
            newer.snapshot.changes_since(&older.snapshot, |change| {
                match visit(&event::lend(change, &mut path), user) {
                    TC_WALK_CONTINUE => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })
        })
    }
}

/// Visits the nodes from `path` down, parents before children, siblings in byte order. Nodes that the session may not
/// read are left out; `tc_walk_new` makes a walk that has them, and calls nobody.
///
/// `path`: absolute, as in events. `visit`: called for each node before this returns; it may call any function that a
/// callback may call, and must not free the snapshot. `user`: passed to `visit` as it is; stays the caller's.
///
/// TC_OK also when the visitor stopped the walk. Any thread; blocks only on the visitor; callbacks may call it.
///
/// Errors: as `tc_snapshot_get_data`, for `path`, and TC_ERR_INVALID_ARGUMENT when `visit` is NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_walk(
    snapshot: *const tc_snapshot,
    path: *const c_char,
    visit: tc_visit_fn,
    user: *mut c_void,
) -> i32 {
    // SAFETY: the caller passes a snapshot that is not freed meanwhile, a C string, and a function with its `user`.
    unsafe {
        with("tc_snapshot_walk", snapshot, |snapshot| {
            let (path, visit) = (text("path", path)?, visit.ok_or_else(|| null("visit"))?);
            // Holds the path with a NUL behind it.
            let mut with_nul = Vec::new();
            snapshot.snapshot.walk(path, |path, node| {
                write_path(path, &mut with_nul);
                match visit(with_nul.as_ptr().cast(), path.len(), &lend(node), user) {
                    TC_WALK_CONTINUE => Walk::Continue,
                    TC_WALK_SKIP_CHILDREN => Walk::SkipChildren,
                    _ => Walk::Stop,
                }
            })
        })
    }
}

/// Frees a snapshot; NULL does nothing. Nodes and children read from it stay valid. Not while another thread uses it;
/// any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_snapshot_free(snapshot: *const tc_snapshot) {
    // SAFETY: the caller passes NULL or a snapshot that it does not use any more.
    unsafe { tc_snapshot::free("tc_snapshot_free", snapshot) }
}
