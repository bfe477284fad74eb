//! Notices that the process was forked. The child has what the parent made, but not the threads that work on it. A lock
//! that one of them held at the fork stays locked in the child for ever.

#![expect(unsafe_code, reason = "the handler of forks")]

use std::sync::atomic::{AtomicU32, Ordering};

use once_cell::sync::Lazy;

/// How many forks lie between the process that loaded the library and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

static WATCHED: Lazy<()> = Lazy::new(|| {
    // SAFETY: the handler touches nothing but atomics, so it may run in a child of any program.
    if unsafe { libc::pthread_atfork(None, None, Some(in_child)) } != 0 {
        log::error!("no memory to notice forks");
    }
});

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    #[cfg(feature = "ffi")]
    crate::logging::after_fork();
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
