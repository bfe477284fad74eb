//! Walks that the program drives.

use std::ffi::c_char;
use std::ptr;
use std::sync::{Mutex, MutexGuard, TryLockError};

use super::boundary::{Boxed, Handle, Out, Panicked, text, with, write_path};
use super::node::{lend, tc_node};
use super::snapshot::tc_snapshot;
use crate::error::{Error, Fault, Status};
use crate::snapshot::Cursor;

/// A walk through a snapshot, one node at a time. Independent of the snapshot, which may be freed first: what is still to
/// be visited is kept until the walk has gone through it or is freed.
pub struct tc_walk {
    state: Mutex<State>,
    panicked: Panicked,
}

/// A node that a walk has come to; lent until the next `tc_walk_next` of this walk, or its end by `tc_walk_free`. Later
/// versions may add fields at its end.
#[repr(C)]
pub struct tc_visit {
    /// The absolute path of the node, NUL-terminated.
    pub path: *const c_char,
    /// The length of the path in bytes, without its NUL.
    pub path_len: usize,
    /// The last name of the path, where it stands in it, NUL-terminated; empty for "/".
    pub name: *const c_char,
    /// The length of the name in bytes, without its NUL.
    pub name_len: usize,
    /// How far the node is below the one where the walk began, which has 0.
    pub depth: usize,
    /// The node; lent, not to be freed. NULL for one that the session may not read.
    pub node: *const tc_node,
}

struct State {
    cursor: Cursor,
    /// How many names the path has where the walk began.
    depth: usize,
    /// The path that is lent.
    path: Vec<u8>,
    /// What is lent. In a place of its own, for a call that does not write to it leaves it as it is.
    visit: Box<tc_visit>,
    /// The node that the visit lends.
    node: Box<Option<tc_node>>,
}

// SAFETY: its pointers are to what the state owns.
unsafe impl Send for State {}

impl State {
    fn new(cursor: Cursor, start: &str) -> State {
        let visit = tc_visit {
            path: ptr::null(),
            path_len: 0,
            name: ptr::null(),
            name_len: 0,
            depth: 0,
            node: ptr::null(),
        };
        State { cursor, depth: depth(start), path: Vec::new(), visit: Box::new(visit), node: Box::default() }
    }

    /// Goes to the next node, and lends it; NULL behind the last.
    fn next(&mut self) -> *const tc_visit {
        let Some((path, node)) = self.cursor.next() else { return ptr::null() };
        write_path(path, &mut self.path);
        let name = path.rfind('/').map_or(0, |slash| slash + 1);
        *self.node = node.map(lend);
        *self.visit = tc_visit {
            path: self.path.as_ptr().cast(),
            path_len: path.len(),
            name: self.path[name..].as_ptr().cast(),
            name_len: path.len() - name,
            depth: depth(path) - self.depth,
            node: self.node.as_ref().as_ref().map_or(ptr::null(), ptr::from_ref),
        };
        &raw const *self.visit
    }
}

/// How many names an absolute path has.
fn depth(path: &str) -> usize {
    match path {
        "/" => 0,
        _ => path.bytes().filter(|byte| *byte == b'/').count(),
    }
}

impl tc_walk {
    /// It is one thread's at a time: another is refused rather than kept waiting, for what it would be given is lent to
    /// the first.
    fn lock(&self) -> Result<MutexGuard<'_, State>, Error> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::Poisoned(_)) => Err(Error::failed(Status::Panic)),
            Err(TryLockError::WouldBlock) => Err(Error::State("another thread is in a call on this walk")),
        }
    }
}

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_walk {
    type Owner = tc_walk;
}

impl Handle for tc_walk {
    const NAME: &'static str = "walk";

    fn check(&self) -> Result<(), Error> {
        self.panicked.check()
    }

    fn fail(&self, _: Fault) {
        self.panicked.set();
    }
}

/// Begins a walk through the nodes of a snapshot from `path` down, parents before children, siblings in byte order.
/// Nodes that the session may not read are among them, without what `tc_node` tells.
///
/// `path`: absolute, as in events; copied. `out`: receives the walk, which is before its first node; free it with
/// `tc_walk_free`, before or after the snapshot. Any thread; never blocks; callbacks may call it.
///
/// Errors: as `tc_snapshot_get_data`, save that `path` may be a node that the session may not read (not one below it:
/// TC_ERR_NO_PERMISSION). Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_walk_new(
    snapshot: *const tc_snapshot,
    path: *const c_char,
    out: *mut *mut tc_walk,
) -> i32 {
    // SAFETY: the caller passes a snapshot that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_walk_new", snapshot, |snapshot| {
            let (path, out) = (text("path", path)?, Out::new("out", out)?);
            let state = State::new(snapshot.snapshot.cursor(path)?, path);
            out.write(tc_walk::into_raw(tc_walk { state: Mutex::new(state), panicked: Panicked::default() }));
            Ok(())
        })
    }
}

/// Goes to the next node of a walk.
///
/// `out`: receives the node with its path, lent until the next call of this function for the walk, or until the walk is
/// freed; NULL when there is none left, then and from then on. Nothing is looked up by path: it takes the same time
/// wherever the walk is. Any thread, one at a time; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_STATE while another thread is in a call on the walk. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_walk_next(walk: *mut tc_walk, out: *mut *const tc_visit) -> i32 {
    // SAFETY: the caller passes a walk that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_walk_next", walk, |walk| {
            let out = Out::new("out", out)?;
            out.write(walk.lock()?.next());
            Ok(())
        })
    }
}

/// Leaves out what is below the node that `tc_walk_next` gave last, which stays lent: the next one is a sibling of it or
/// of one above it. Does nothing before the first node, where there is nothing below, and the second time.
///
/// Any thread, one at a time; never blocks; callbacks may call it.
///
/// Errors: as `tc_walk_next`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_walk_skip(walk: *mut tc_walk) -> i32 {
    // SAFETY: the caller passes a walk that is not freed meanwhile.
    unsafe {
        with("tc_walk_skip", walk, |walk| {
            walk.lock()?.cursor.skip_children();
            Ok(())
        })
    }
}

/// Frees a walk, wherever it is, with what it has lent; NULL does nothing. Not while another thread uses it. Never
/// blocks; callbacks may call it. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_walk_free(walk: *mut tc_walk) {
    // SAFETY: the caller passes NULL or a walk that it does not use any more.
    unsafe { tc_walk::free("tc_walk_free", walk) }
}
