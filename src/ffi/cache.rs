//! Caches.

use std::ffi::{c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::boundary::{
    Boxed, Handle, Out, User, bytes, guard, null, tc_user_free_fn, text, timeout, with, with_handle,
};
use super::children::{self, tc_children, tc_children_data};
use super::client::tc_client;
use super::config::{self, tc_config};
use super::error::{self, tc_error};
use super::event::{self, tc_event_fn};
use super::fault::{self, tc_fault, tc_fault_fn};
use super::node::{self, Buffer, tc_node, tc_stat};
use super::snapshot::tc_snapshot;
use super::state::tc_state;
use super::stats::{self, tc_stats};
use crate::cache::TreeCache;
use crate::config::Config;
use crate::error::{Error, Fault};
use crate::events::ListenerId;

/// An in-memory copy of the subtree at one path.
pub struct tc_cache {
    pub(super) cache: TreeCache,
}

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_cache {
    type Owner = tc_cache;
}

impl Handle for tc_cache {
    const NAME: &'static str = "cache";

    fn check(&self) -> Result<(), Error> {
        // The rest is refused where it is done.
        self.cache.check_reads()
    }

    fn fail(&self, fault: Fault) {
        self.cache.fail(fault);
    }
}

/// Makes a cache of the subtree at `path`. Nothing is read before `tc_start`.
///
/// `path`: absolute, relative to the client's chroot; copied. `config`: NULL for the defaults; stays the caller's, and
/// is not used after the call. `out`: receives the cache; free it with `tc_free`. The client may be freed first.
///
/// Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, a malformed path or one longer than `limit.path.bytes`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_new(
    client: *mut tc_client,
    path: *const c_char,
    config: *const tc_config,
    out: *mut *mut tc_cache,
) -> i32 {
    // SAFETY: the caller passes a client that is not freed meanwhile, a C string, NULL or a configuration, and a place
    // for the result.
    unsafe {
        with("tc_new", client, |client| config::using(config, |config| make(client, path, config, out)))
    }
}

/// `tc_new` that tells why it failed.
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. It is told with
/// every failure, and `tc_config_get_error` does not tell it. All else, `out` included, as `tc_new`.
///
/// Errors: as `tc_new`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_new_or_error(
    client: *mut tc_client,
    path: *const c_char,
    config: *const tc_config,
    out: *mut *mut tc_cache,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a client that is not freed meanwhile, a C string, NULL or a configuration, a place for
    // the result, and NULL or one for the error.
    unsafe {
        let made =
            with_handle("tc_new_or_error", client, |client| make(client, path, &config::copy(config)?, out));
        error::answer(made, error)
    }
}

/// # Safety
/// `path` and `out` are as `text` and `Out` take them.
unsafe fn make(
    client: &tc_client,
    path: *const c_char,
    config: &Config,
    out: *mut *mut tc_cache,
) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let (path, out) = unsafe { (text("path", path)?, Out::new("out", out)?) };
    let cache = client.client.cache(path, config)?;
    out.write(tc_cache::into_raw(tc_cache { cache }));
    Ok(())
}

/// Makes a cache of the tree that another cache keeps in a file (`share.file`), in another process or in this one:
/// without a session, without a network, and without a thread until something listens or a queue is opened.
///
/// It needs nothing but leave to read the file and the one beside it, which has `.side` behind its name. Reads, snapshots and
/// walks are those of any cache, and a snapshot is a cut where the writer's was one. State and age say what the writer
/// last knew. A writer that was silent for longer than its session lasts, dead or not, is TC_STATE_SUSPENDED; one that comes back,
/// also with another file, is taken up by itself. If there is no file yet, the state is TC_STATE_LOADING until there is one.
/// `tc_wait_initialized` waits for the writer; `tc_sync` is TC_ERR_UNSUPPORTED. Listeners and queues are told as ever, woken by
/// the writer.
///
/// In the child of a fork the cache can still be read, and its state asked for; for events, attach there.
///
/// `file`: where the tree is; copied. `config`: NULL for the defaults; its keys `close.keep`, `events.capacity` and
/// `events.bytes` count; stays the caller's, and is not used after the call. `out`: receives the cache, which is started; free
/// it with `tc_free`.
///
/// Any thread; reads the file; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, and when something else has that name, or a file of another format or on the
/// file system of a network, or it cannot be read (`tc_config_get_error` tells which); TC_ERR_UNSUPPORTED on other systems
/// than Linux. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_attach(
    file: *const c_char,
    config: *const tc_config,
    out: *mut *mut tc_cache,
) -> i32 {
    // SAFETY: the caller passes a C string, NULL or a configuration, and a place for the result.
    unsafe {
        guard("tc_attach", || {
            config::using(config, |config| {
                let (file, out) = (bytes("file", file)?, Out::new("out", out)?);
                let file = Path::new(std::ffi::OsStr::from_bytes(file));
                let cache = TreeCache::attach(file, config)?;
                out.write(tc_cache::into_raw(tc_cache { cache }));
                Ok(())
            })
        })
    }
}

/// Begins to load and follow the tree.
///
/// Returns at once: `tc_wait_initialized` waits, the INITIALIZED event tells. Any thread; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_STATE when it was started before; TC_ERR_CLOSED when the cache is
/// closed or its client freed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_start(cache: *mut tc_cache) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile.
    unsafe { with("tc_start", cache, |cache| cache.cache.start()) }
}

/// `tc_start` that tells why it failed.
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. All else as `tc_start`.
///
/// Errors: as `tc_start`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_start_or_error(cache: *mut tc_cache, error: *mut *const tc_error) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and NULL or a place for the error.
    unsafe { error::answer(with_handle("tc_start_or_error", cache, |cache| cache.cache.start()), error) }
}

/// Begins to follow the tree from what a snapshot holds, in place of `tc_start`.
///
/// `snapshot`: of a cache of the same root, which may be closed and freed, and its client too; stays the caller's. When this
/// returns, its tree can be read, in state TC_STATE_WARM until there is a connection. Then the tree is verified, and only what
/// differs is told: a listener is told the snapshot's nodes as NODE_ADDED, then the differences, then INITIALIZED and
/// IN_STEP. The first version is the snapshot's own, with its zxid, a cut or not as it was. `tc_wait_initialized` waits for
/// the verification.
///
/// If the snapshot is of another ensemble, or of a history that the ensemble has lost, the cache tells a fault,
/// TC_ERR_RESET, and loads the tree anew; what was there stays readable meanwhile. A snapshot from before the first version
/// holds nothing, and this is `tc_start`.
///
/// Returns at once. Any thread; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL and for a snapshot of another root or chroot, of other rules (`depth.max`,
/// `select.…`) or other data (`data`, `data.compressed`, `limit.node.bytes` with it), and the log names both; TC_ERR_LIMIT when it is beyond
/// a limit of this cache; after both, the cache can still be started. TC_ERR_STATE when it was started before;
/// TC_ERR_CLOSED when the cache is closed or its client freed. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_start_from(cache: *mut tc_cache, snapshot: *const tc_snapshot) -> i32 {
    // SAFETY: the caller passes a cache and a snapshot that are not freed meanwhile.
    unsafe { with("tc_start_from", cache, |cache| start_from(cache, snapshot)) }
}

/// `tc_start_from` that tells why it failed.
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. All else as
/// `tc_start_from`.
///
/// Errors: as `tc_start_from`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_start_from_or_error(
    cache: *mut tc_cache,
    snapshot: *const tc_snapshot,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a cache and a snapshot that are not freed meanwhile, and NULL or a place for the error.
    unsafe {
        let started = with_handle("tc_start_from_or_error", cache, |cache| start_from(cache, snapshot));
        error::answer(started, error)
    }
}

/// # Safety
/// `snapshot` is NULL, or valid until this returns.
unsafe fn start_from(cache: &tc_cache, snapshot: *const tc_snapshot) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let snapshot = unsafe { snapshot.as_ref() }.ok_or_else(|| null("snapshot"))?;
    cache.cache.start_from(&snapshot.snapshot)
}

/// Waits until the first load is complete (and, after the session was lost, until the tree is verified).
///
/// `timeout_ms`: how long at most, in ms; -1 for no limit, 0 to ask only. Any thread; blocks as said; not from a
/// callback.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or another negative timeout; TC_ERR_TIMEOUT; TC_ERR_WOULD_DEADLOCK in a
/// callback; TC_ERR_STATE when not started; TC_ERR_CLOSED when the cache is closed or its client freed, also while
/// waiting; TC_ERR_AUTH, TC_ERR_UNSUPPORTED, TC_ERR_LIMIT or another status that a fault was told with, when the load
/// cannot succeed as things stand. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_wait_initialized(cache: *mut tc_cache, timeout_ms: i32) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile.
    unsafe { with("tc_wait_initialized", cache, |cache| cache.cache.wait_initialized(timeout(timeout_ms)?)) }
}

/// `tc_wait_initialized` that tells why it failed, for people: "timed out after 10 s; last: zk1:2181: Connection refused".
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. Where the time was over or
/// the load cannot succeed, its message ends with what went wrong last, as `tc_get_fault` tells it. All else as
/// `tc_wait_initialized`.
///
/// Errors: as `tc_wait_initialized`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_wait_initialized_or_error(
    cache: *mut tc_cache,
    timeout_ms: i32,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and NULL or a place for the error.
    unsafe {
        let waited = with_handle("tc_wait_initialized_or_error", cache, |cache| {
            cache.cache.wait_initialized(timeout(timeout_ms)?)
        });
        error::answer(waited, error)
    }
}

/// Returns whether the first load is complete (and, after the session was lost, the tree verified): what
/// `tc_wait_initialized` says with a timeout of 0, but in a callback too. False for NULL and for a cache that is closed
/// or of no use any more.
///
/// Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_is_initialized(cache: *const tc_cache) -> bool {
    // SAFETY: the caller passes NULL or a cache that is not freed meanwhile.
    unsafe { cache.as_ref() }.is_some_and(|cache| cache.cache.is_initialized())
}

/// Waits until all can be read that was committed before the call, by any client, through any server.
///
/// Makes a transaction that changes nothing, behind all that is committed, then waits until the version that is read is
/// a cut which has all that. Where nothing changed in the subtree, that may be the version from before. During the first
/// load it waits for that. Calls at the same time share few requests. With the client key `sync.mode=sync` it is
/// ZooKeeper's `sync` in place of the transaction, which on a leader may be answered too early. What it does not
/// promise: docs/semantics.md.
///
/// `timeout_ms`: how long at most, in ms; -1 for no limit; 0 is always too short. Any thread; blocks as said; not from
/// a callback.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or another negative timeout; TC_ERR_TIMEOUT; TC_ERR_CONNECTION when there
/// is no connection (at once), when it is lost while waiting, or when the server answers with an error (one that is too
/// busy is asked again); TC_ERR_WOULD_DEADLOCK in a callback; TC_ERR_STATE when not started; TC_ERR_CLOSED when the
/// cache is closed or its client freed, also while waiting; TC_ERR_AUTH, TC_ERR_UNSUPPORTED, TC_ERR_LIMIT or another
/// status that a fault was told with, when no cut can come as things stand. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_sync(cache: *mut tc_cache, timeout_ms: i32) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile.
    unsafe { with("tc_sync", cache, |cache| cache.cache.sync(timeout(timeout_ms)?)) }
}

/// `tc_sync` that tells why it failed, for people: "there is no connection; last: zk1:2181: Connection refused".
///
/// `error`: as for `tc_wait_initialized_or_error`. All else as `tc_sync`.
///
/// Errors: as `tc_sync`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_sync_or_error(
    cache: *mut tc_cache,
    timeout_ms: i32,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and NULL or a place for the error.
    unsafe {
        let synced = with_handle("tc_sync_or_error", cache, |cache| cache.cache.sync(timeout(timeout_ms)?));
        error::answer(synced, error)
    }
}

/// Tells how the cache stands to the server.
///
/// `state`: receives a TC_STATE_ number. `age_ms`: receives the time since the last word from a server, in ms; -1
/// before the first. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_state(cache: *const tc_cache, state: *mut tc_state, age_ms: *mut i64) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and places for the results.
    unsafe {
        with("tc_get_state", cache, |cache| {
            let (state_out, age_out) = (Out::new("state", state)?, Out::new("age_ms", age_ms)?);
            let (state, age) = cache.cache.state();
            state_out.write(state as tc_state);
            age_out.write(stats::millis(age));
            Ok(())
        })
    }
}

/// Tells how the cache stands, and what it and its client have done, in numbers.
///
/// `out`: receives the stats; free them with `tc_stats_free`. Each number is of about the same moment, not of exactly
/// the same. Of a closed cache nothing is read any more, unless `close.keep` is true. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_stats(cache: *const tc_cache, out: *mut *const tc_stats) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_get_stats", cache, |cache| {
            let out = Out::new("out", out)?;
            out.write(stats::into_raw(cache.cache.stats()));
            Ok(())
        })
    }
}

/// Tells what went wrong last, of this cache or of its client. It may be over since, and a listener may have been told of it, too.
///
/// `out`: receives the fault, which is independent of the cache; free it with `tc_fault_free`. It is NULL where nothing went
/// wrong so far. How long ago it was, and how many there were, `tc_get_stats` tells. Any thread; never blocks; callbacks may
/// call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_fault(cache: *const tc_cache, out: *mut *const tc_fault) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_get_fault", cache, |cache| {
            let out = Out::new("out", out)?;
            out.write(cache.cache.last_fault().map_or(ptr::null(), |last| fault::into_raw(&last.fault)));
            Ok(())
        })
    }
}

/// Detaches the cache and lets its listeners go: none of their calls starts after this has returned, though one may be
/// running. It cannot be started again. Nodes, children and snapshots that were handed out stay valid. With
/// `close.keep=true` reads go on from the last version until `tc_free`.
///
/// Never waits. Any thread; callbacks may call it. A second call does nothing.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_close(cache: *mut tc_cache) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile.
    unsafe {
        with("tc_close", cache, |cache| {
            cache.cache.close();
            Ok(())
        })
    }
}

/// Closes the cache and frees it; NULL does nothing. Nodes, children and snapshots that were handed out stay valid.
///
/// Waits for a running callback of this cache, except when called from a callback: then the callback's `user` is freed
/// when it has returned. When the last of a client and its caches is freed, its threads have ended on return, also
/// unless called from a callback. Not while another thread uses the cache; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_free(cache: *mut tc_cache) {
    // SAFETY: the caller passes NULL or a cache that it does not use any more.
    unsafe { tc_cache::free("tc_free", cache) }
}

/// Adds a function that is told the cache's events.
///
/// It is told the tree so far first, as NODE_ADDED (and INITIALIZED when the cache is), then what follows, without gap
/// or duplicate. Within a version removals come before additions, children are removed before their parents and added
/// after them, siblings in byte order. A listener that lags by more than `events.capacity` events or
/// `events.bytes` bytes continues with the difference between what it saw last and the newest version.
///
/// `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for `tc_unlisten`; the
/// first call may come before this returns. Before or after `tc_start`. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED. Then, as always, `user_free` is called. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_listen(
    cache: *mut tc_cache,
    r#fn: tc_event_fn,
    user: *mut c_void,
    user_free: tc_user_free_fn,
    listener: *mut u64,
) -> i32 {
    let user = User::new(user, user_free);
    // SAFETY: the caller passes a cache that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_listen", cache, |cache| {
            let out = Out::new("listener", listener)?;
            out.write(cache.cache.listen(event::listener(r#fn, user)?)?.0);
            Ok(())
        })
    }
}

/// `tc_listen` of some of the cache's events.
///
/// `config`: which, by its keys `listen.under`, `listen.depth`, `listen.events`, `listen.initial` and
/// `listen.after.initialized`; all others are ignored. NULL for all events, as `tc_listen`. It stays the caller's, and is not
/// used after the call. The order and all else are those of `tc_listen`, with what is not wanted left out: the last event
/// that is told of a version has TC_EVENT_LAST_OF_VERSION. What changes elsewhere costs the listener nothing.
///
/// `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for `tc_unlisten`; the
/// first call may come before this returns. Before or after `tc_start`. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, and for a `listen.under` outside of the cache's tree (`tc_config_get_error`
/// tells which); TC_ERR_CLOSED. Then, as always, `user_free` is called. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_listen_with(
    cache: *mut tc_cache,
    config: *const tc_config,
    r#fn: tc_event_fn,
    user: *mut c_void,
    user_free: tc_user_free_fn,
    listener: *mut u64,
) -> i32 {
    let user = User::new(user, user_free);
    // SAFETY: the caller passes a cache that is not freed meanwhile, NULL or a configuration, and a place for the result.
    unsafe {
        with("tc_listen_with", cache, |cache| {
            config::using(config, |config| {
                let out = Out::new("listener", listener)?;
                out.write(cache.cache.listen_with(config, event::listener(r#fn, user)?)?.0);
                Ok(())
            })
        })
    }
}

/// Adds a function that is told what goes wrong in the background and concerns this cache.
///
/// `fn`, `user`, `user_free`: the callback; `user_free` may be NULL. `listener`: receives its id for `tc_unlisten`.
/// Faults that nobody listens to are logged. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED. Then, as always, `user_free` is called. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_listen_fault(
    cache: *mut tc_cache,
    r#fn: tc_fault_fn,
    user: *mut c_void,
    user_free: tc_user_free_fn,
    listener: *mut u64,
) -> i32 {
    let user = User::new(user, user_free);
    // SAFETY: the caller passes a cache that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_listen_fault", cache, |cache| {
            let out = Out::new("listener", listener)?;
            out.write(cache.cache.listen_fault(fault::listener(r#fn, user)?)?.0);
            Ok(())
        })
    }
}

/// Removes a listener of either kind. None of its calls starts after this has returned; one may be running, and its
/// `user` is freed when it has returned.
///
/// Never waits. Any thread; callbacks may call it, also on themselves.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or an id that is none; TC_ERR_CLOSED, when all are gone; where it is refused
/// (TC_ERR_PANIC, TC_ERR_STATE), the listener goes when the cache is freed. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_unlisten(cache: *mut tc_cache, listener: u64) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile.
    unsafe { with("tc_unlisten", cache, |cache| cache.cache.unlisten(ListenerId(listener))) }
}

/// Reads a node from memory.
///
/// `path`: absolute, as in events. `out`: receives the node; free it with `tc_node_free`. While disconnected, the last
/// known node is returned. If you copy the data anyway, `tc_copy_data` is faster.
///
/// Any thread, at the same time; takes no lock; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or a malformed path; TC_ERR_OUT_OF_TREE; TC_ERR_NOT_READY; TC_ERR_NO_NODE;
/// TC_ERR_NO_PERMISSION; TC_ERR_CLOSED, unless `close.keep` is true. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_data(
    cache: *const tc_cache,
    path: *const c_char,
    out: *mut *const tc_node,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_get_data", cache, |cache| {
            let (path, out) = (bytes("path", path)?, Out::new("out", out)?);
            out.write(cache.cache.with_data(path, node::into_raw)?);
            Ok(())
        })
    }
}

/// Reads a node from memory into a buffer of the caller's: nothing has to be freed, and nothing is written that another
/// reader uses, so that threads which read the same node do not slow each other down.
///
/// `path`: absolute, as in events. `buffer`: receives the data, and no NUL behind it; NULL when `capacity`, how many
/// bytes it has room for, is 0. `data_len`: receives the length of the data in bytes, 0 also where ZooKeeper has no
/// data; with TC_ERR_TOO_SMALL too, where it is the capacity that is needed. (The node may have grown by the next call.)
/// `stat`: NULL, or receives the node's Stat. While disconnected, the last known node is read.
///
/// Any thread, at the same time; takes no lock; callbacks may call it.
///
/// Errors: TC_ERR_TOO_SMALL when the data has more bytes than `capacity`: nothing but `data_len` is written. Otherwise
/// as `tc_get_data`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_copy_data(
    cache: *const tc_cache,
    path: *const c_char,
    buffer: *mut u8,
    capacity: usize,
    data_len: *mut usize,
    stat: *mut tc_stat,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, a C string, and places for the results.
    unsafe {
        with("tc_copy_data", cache, |cache| {
            let path = bytes("path", path)?;
            let buffer = Buffer::new(buffer, capacity, data_len, stat)?;
            cache.cache.with_data(path, |node| buffer.fill(node))?
        })
    }
}

/// Reads the names of a node's children from memory. A child that the session may not read is among them.
///
/// `path`: absolute, as in events. `out`: receives the names; free them with `tc_children_free`.
///
/// Any thread, at the same time; takes no lock; callbacks may call it.
///
/// Errors: as `tc_get_data`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_children(
    cache: *const tc_cache,
    path: *const c_char,
    out: *mut *const tc_children,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_get_children", cache, |cache| {
            let (path, out) = (bytes("path", path)?, Out::new("out", out)?);
            out.write(children::into_raw(cache.cache.get_children(path)?));
            Ok(())
        })
    }
}

/// Reads a node's children and their data from memory, all of one version of the tree. A child that the session may not
/// read is among them, without its data.
///
/// `path`: absolute, as in events. `out`: receives the children; free them with `tc_children_data_free`.
///
/// Any thread, at the same time; takes no lock; callbacks may call it.
///
/// Errors: as `tc_get_data`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_children_data(
    cache: *const tc_cache,
    path: *const c_char,
    out: *mut *const tc_children_data,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, a C string, and a place for the result.
    unsafe {
        with("tc_get_children_data", cache, |cache| {
            let (path, out) = (bytes("path", path)?, Out::new("out", out)?);
            out.write(children::into_raw_with_data(cache.cache.get_children(path)?));
            Ok(())
        })
    }
}

/// Takes a snapshot of the tree as it is now, in constant time.
///
/// `out`: receives the snapshot; free it with `tc_snapshot_free`. It never changes, and is independent of the cache.
/// Before the first version it is empty.
///
/// Any thread, at the same time; takes no lock; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED, unless `close.keep` is true. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_get_snapshot(cache: *const tc_cache, out: *mut *const tc_snapshot) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_get_snapshot", cache, |cache| {
            let out = Out::new("out", out)?;
            out.write(tc_snapshot::into_raw(tc_snapshot::new(cache.cache.snapshot()?)));
            Ok(())
        })
    }
}
