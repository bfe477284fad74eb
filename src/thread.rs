//! Threads of the library. They have names, and block all signals: signals belong to the program that uses the library.

#![expect(unsafe_code, reason = "the signal mask, and which thread this is")]

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that no signal is delivered to.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A thread begins with the mask of the thread that starts it.
    let mask = block_signals();
    let thread = Builder::new().name(name.to_owned()).spawn(run);
    restore_signals(&mask);
    thread
}

/// Whether this code runs on that thread. (`std::thread::current` makes a handle on threads of the program's, which is never freed.)
pub(crate) fn is_current(thread: &JoinHandle<()>) -> bool {
    // SAFETY: it cannot fail.
    let current = unsafe { libc::pthread_self() };
    thread.as_pthread_t() as usize == current as usize // with musl one of them is a pointer
}

fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: both point to storage for a `sigset_t`; `sigfillset` initialises the first, and `pthread_sigmask`,
    // which cannot fail with `SIG_SETMASK` and valid pointers, the second.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: `mask` is a valid set, and no old set is asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}
