//! Event queues.

use super::boundary::{Boxed, Handle, Out, null, timeout, with, with_handle};
use super::cache::tc_cache;
use super::config::{self, tc_config};
use super::error::{self, tc_error};
use super::item::{self, tc_item};
use crate::config::Config;
use crate::error::{Error, Fault};
use crate::events::EventQueue;

/// What a cache has to tell, to be taken out by the program's own threads when they like to.
pub struct tc_queue {
    queue: EventQueue,
}

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_queue {
    type Owner = tc_queue;
}

impl Handle for tc_queue {
    const NAME: &'static str = "queue";

    fn check(&self) -> Result<(), Error> {
        self.queue.health().check()
    }

    fn fail(&self, _: Fault) {
        self.queue.fail();
    }
}

/// Opens a queue of the cache's events: the tree so far first, as NODE_ADDED (and INITIALIZED when the cache is), then
/// what follows, without gap or duplicate, in the order that `tc_listen` tells of. A queue that lags by more than
/// `events.capacity` events or `events.bytes` bytes continues with the difference between what was taken out last and the
/// newest version.
///
/// `config`: its `events.capacity`, `events.bytes`, `queue.faults` and what of the events is wanted, by the keys `listen.`…
/// as for `tc_listen_with`; NULL for the defaults, not for what the cache was made with; stays the caller's, and is not used after the call. `out`: receives the queue; free it with `tc_queue_free`, before or after the cache.
///
/// Before or after `tc_start`. Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL, and for a `listen.under` outside of the cache's tree; TC_ERR_CLOSED. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_open(
    cache: *mut tc_cache,
    config: *const tc_config,
    out: *mut *mut tc_queue,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, NULL or a configuration, and a place for the result.
    unsafe { with("tc_queue_open", cache, |cache| config::using(config, |config| open(cache, config, out))) }
}

/// `tc_queue_open` that tells why it failed.
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. It is told with
/// every failure, and `tc_config_get_error` does not tell it. All else, `out` included, as `tc_queue_open`.
///
/// Errors: as `tc_queue_open`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_open_or_error(
    cache: *mut tc_cache,
    config: *const tc_config,
    out: *mut *mut tc_queue,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a cache that is not freed meanwhile, NULL or a configuration, a place for the result, and
    // NULL or one for the error.
    unsafe {
        let opened =
            with_handle("tc_queue_open_or_error", cache, |cache| open(cache, &config::copy(config)?, out));
        error::answer(opened, error)
    }
}

/// # Safety
/// `out` is as `Out` takes it.
unsafe fn open(cache: &tc_cache, config: &Config, out: *mut *mut tc_queue) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::new("out", out)? };
    let queue = cache.cache.queue(config)?;
    out.write(tc_queue::into_raw(tc_queue { queue }));
    Ok(())
}

/// Takes the next item out of a queue, and waits for one.
///
/// `timeout_ms`: how long at most, in ms; -1 for no limit, 0 to ask only. `out`: receives the item; free it with
/// `tc_item_free`. Any number of threads may take from a queue at once: each item goes to one of them, and two threads
/// may be done with theirs in another order.
///
/// Any thread; blocks as said. In a callback it delays the others, so ask only.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL or another negative timeout; TC_ERR_TIMEOUT; TC_ERR_INTERRUPTED after
/// `tc_queue_wake`; TC_ERR_CLOSED when the queue or its cache was closed, also while waiting, or when the client was freed
/// and all, CONNECTION_LOST included, was taken out; TC_ERR_LIMIT when the cache has stopped for it and all was taken
/// out. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_next(
    queue: *mut tc_queue,
    timeout_ms: i32,
    out: *mut *const tc_item,
) -> i32 {
    // SAFETY: the caller passes a queue that is not freed meanwhile, and a place for the result.
    unsafe { with("tc_queue_next", queue, |queue| next(queue, timeout_ms, out)) }
}

/// `tc_queue_next` that tells why it failed, for people: "timed out after 5 s; last: zk1:2181: Connection refused".
///
/// `error`: NULL, or receives the error, to be freed with `tc_error_free`; NULL when there is none. Where the time was over
/// or the cache has stopped, its message ends with what went wrong last, as `tc_get_fault` tells it; not with a timeout of
/// 0. All else, `out` included, as `tc_queue_next`.
///
/// Errors: as `tc_queue_next`. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_next_or_error(
    queue: *mut tc_queue,
    timeout_ms: i32,
    out: *mut *const tc_item,
    error: *mut *const tc_error,
) -> i32 {
    // SAFETY: the caller passes a queue that is not freed meanwhile, a place for the result, and NULL or one for the error.
    unsafe {
        let taken = with_handle("tc_queue_next_or_error", queue, |queue| next(queue, timeout_ms, out));
        error::answer(taken, error)
    }
}

/// # Safety
/// `out` is as `Out` takes it.
unsafe fn next(queue: &tc_queue, timeout_ms: i32, out: *mut *const tc_item) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let (timeout, out) = unsafe { (timeout(timeout_ms)?, Out::new("out", out)?) };
    out.write(queue.queue.next_with(timeout, item::into_raw)?);
    Ok(())
}

/// Takes out of a queue what is there, without waiting.
///
/// `items`: an array that receives the items in order; free each with `tc_item_free`. `capacity`: how many fit in it.
/// `count`: receives how many were taken out, which may be 0. A wake that waits is used up.
///
/// Any thread; never blocks; callbacks may call it.
///
/// Errors, only where nothing was taken out: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CLOSED and TC_ERR_LIMIT as
/// `tc_queue_next`. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_drain(
    queue: *mut tc_queue,
    items: *mut *const tc_item,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    // SAFETY: the caller passes a queue that is not freed meanwhile, an array of `capacity` places, and a place for the
    // result.
    unsafe {
        with("tc_queue_drain", queue, |queue| {
            let count = Out::new("count", count)?;
            if items.is_null() {
                return Err(null("items"));
            }
            let mut place = items;
            let taken = queue.queue.drain_with(capacity, |told| {
                place.write(item::into_raw(told));
                place = place.add(1);
            });
            count.write(taken?);
            Ok(())
        })
    }
}

/// Returns a descriptor that can be waited for with `poll`, `epoll`, `kqueue` and the like: it is readable while
/// `tc_queue_next` would not wait.
///
/// `fd`: receives the descriptor. It is made when first asked for, and the same from then on; non-blocking, close-on-exec,
/// level-triggered. It is the queue's, until `tc_queue_free`: do not read, write or close it. It may be readable
/// though there is no item; so ask with a timeout of 0. Once that was answered with TC_ERR_TIMEOUT, it is not readable until
/// something new comes.
///
/// Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL; TC_ERR_CONNECTION when the system has no descriptor left. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_fd(queue: *mut tc_queue, fd: *mut i32) -> i32 {
    // SAFETY: the caller passes a queue that is not freed meanwhile, and a place for the result.
    unsafe {
        with("tc_queue_fd", queue, |queue| {
            let out = Out::new("fd", fd)?;
            out.write(queue.queue.fd()?);
            Ok(())
        })
    }
}

/// Ends a `tc_queue_next` that waits, or the next one to be called, with TC_ERR_INTERRUPTED. Several wakes before that
/// are one.
///
/// Any thread; never blocks; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_wake(queue: *mut tc_queue) -> i32 {
    // SAFETY: the caller passes a queue that is not freed meanwhile.
    unsafe {
        with("tc_queue_wake", queue, |queue| {
            queue.queue.wake();
            Ok(())
        })
    }
}

/// Detaches a queue from its cache: what was not taken out is let go, and a thread that waits in `tc_queue_next` is answered
/// with TC_ERR_CLOSED. Items that were taken out stay valid.
///
/// Never waits. Any thread; callbacks may call it. A second call does nothing.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for NULL. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_close(queue: *mut tc_queue) -> i32 {
    // SAFETY: the caller passes a queue that is not freed meanwhile.
    unsafe {
        with("tc_queue_close", queue, |queue| {
            queue.queue.close();
            Ok(())
        })
    }
}

/// Closes a queue and frees it, with its descriptor; NULL does nothing. Items that were taken out stay valid. Not while
/// another thread uses the queue: where one may wait, `tc_queue_close` sends it away. Never blocks; callbacks may call
/// it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_queue_free(queue: *mut tc_queue) {
    // SAFETY: the caller passes NULL or a queue that it does not use any more.
    unsafe { tc_queue::free("tc_queue_free", queue) }
}
