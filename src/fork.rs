//! Notices that the process was forked. The child has what the parent made, but not the threads that work on it. A lock
//! that one of them held at the fork stays locked in the child for ever.

#![expect(unsafe_code, reason = "the handler of forks")]

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use once_cell::sync::Lazy;

/// How many forks lie between the process that loaded the library and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// How many threads of this process are forking it at this moment, and how often that has been done.
static UNDER_WAY: AtomicU32 = AtomicU32::new(0);
static CHILDREN: AtomicU32 = AtomicU32::new(0);

static WATCHED: Lazy<()> = Lazy::new(|| {
    // SAFETY: the handlers touch nothing but atomics, so they may run in any program and its children.
    if unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) } != 0 {
        log::error!("no memory to notice forks");
    }
});

extern "C" fn before() {
    UNDER_WAY.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn in_parent() {
    CHILDREN.fetch_add(1, Ordering::SeqCst);
    UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    // The other threads are not here.
    UNDER_WAY.store(0, Ordering::SeqCst);
    for place in &NOT_INHERITED {
        let fd = place.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            // SAFETY: whoever has opened it is a thread that this process does not have.
            unsafe { libc::close(fd) };
        }
    }
    #[cfg(feature = "ffi")]
    crate::logging::after_fork();
}

/// Descriptors that a child closes at once: -1 for none. If there were more, the children would keep them open.
static NOT_INHERITED: [AtomicI32; 64] = [const { AtomicI32::new(-1) }; 64];

/// Has the children of forks close a descriptor, as long as this lives; it has to be open for so long. In the child nobody may
/// use it, nor close it. (A lock that belongs to a descriptor would outlive its owner in them.)
pub(crate) struct NotInherited(RawFd);

impl NotInherited {
    /// Opens something that no child has, be there a fork at the same time.
    pub(crate) fn open<F: AsRawFd>(open: impl Fn() -> io::Result<F>) -> io::Result<(F, NotInherited)> {
        Lazy::force(&WATCHED);
        let children = || CHILDREN.load(Ordering::SeqCst);
        let is_quiet = || UNDER_WAY.load(Ordering::SeqCst) == 0;
        loop {
            let (before, was_quiet) = (children(), is_quiet());
            let file = open()?;
            let not_inherited = NotInherited::new(&file);
            if was_quiet && is_quiet() && children() == before {
                return Ok((file, not_inherited));
            }
            // There may be a child that has it.
            drop(not_inherited);
            drop(file);
            std::thread::yield_now();
        }
    }

    fn new(file: &impl AsRawFd) -> NotInherited {
        let fd = file.as_raw_fd();
        let takes =
            |place: &AtomicI32| place.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !NOT_INHERITED.iter().any(takes) {
            log::warn!("children of forks will have a lock of this process's");
        }
        NotInherited(fd)
    }
}

impl Drop for NotInherited {
    fn drop(&mut self) {
        let is_it = |place: &AtomicI32| {
            place.compare_exchange(self.0, -1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        _ = NOT_INHERITED.iter().any(is_it);
    }
}

/// In which process something was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(u32);

impl Origin {
    pub(crate) fn here() -> Origin {
        Lazy::force(&WATCHED);
        Origin(FORKS.load(Ordering::Relaxed))
    }

    /// Whether it was made in this process. This is only one load, since every read asks.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}
