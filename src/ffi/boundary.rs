//! What crosses between C and Rust, and how: pointers in, pointers out, panics not at all.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::status::TC_OK;
use crate::error::{Error, Fault, Status};
use crate::logging::OF_CALLS;
use crate::panics::catch;
use crate::planted::{self, Defect};

/// A function that ends the life of a `user` pointer; NULL when nothing is to be done. It is called exactly once,
/// after the last call of the callback it came with, also when the registration fails. It may be called on any
/// thread that uses the library, and may call what a callback may call.
#[expect(unreachable_pub, reason = "it is in the header")]
pub type tc_user_free_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

// --- Ownership: what C owns has this trait; `node` has a way of its own ---------------------------------------------

/// Given to C in a box of its own, and freed by it.
///
/// # Safety
/// `Owner` is `Self`, or begins with it and has C's layout.
pub(super) unsafe trait Boxed: Sized {
    type Owner;

    fn into_raw(owner: Self::Owner) -> *mut Self {
        Box::into_raw(Box::new(owner)).cast()
    }

    /// # Safety
    /// `pointer` is NULL, or came from `into_raw` and was not freed.
    unsafe fn free(function: &str, pointer: *const Self) {
        if !pointer.is_null() {
            // SAFETY: it came from a box of an `Owner`, which nobody else has.
            let owner = unsafe { Box::from_raw(pointer.cast_mut().cast::<Self::Owner>()) };
            guard(function, || {
                drop(owner);
                Ok(())
            });
        }
    }
}

// --- Guards -------------------------------------------------------------------------------------------------------

/// Whether a call has panicked on a handle that depends on no thread, and so is good in the child of a fork.
#[derive(Default)]
pub(super) struct Panicked(AtomicBool);

impl Panicked {
    /// As [`Handle::check`].
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Error::failed(Status::Panic)),
            false => Ok(()),
        }
    }

    /// As [`Handle::fail`].
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a handle with a life of its own has to say when a call on it panicked.
pub(super) trait Handle {
    const NAME: &'static str;

    /// Whether the handle does any work, and if not, why.
    fn check(&self) -> Result<(), Error>;

    /// A call panicked: the handle refuses further work.
    fn fail(&self, fault: Fault);
}

/// Runs the body of a function that has no handle.
pub(super) fn guard(function: &str, body: impl FnOnce() -> Result<(), Error>) -> i32 {
    code(guarded(function, body))
}

/// As [`guard`], for a function that says more than a status.
pub(super) fn guarded(function: &str, body: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    match run(body) {
        Ok(result) => logged(function, result),
        Err(message) => {
            log::error!("{function} panicked: {message}");
            Err(Error::failed(Status::Panic))
        }
    }
}

/// Runs the body of a function of `handle`.
///
/// # Safety
/// `handle` is NULL or valid, and stays so until this returns.
pub(super) unsafe fn with<H: Handle>(
    function: &str,
    handle: *const H,
    body: impl FnOnce(&H) -> Result<(), Error>,
) -> i32 {
    // SAFETY: the caller's promise.
    code(unsafe { with_handle(function, handle, body) })
}

/// As [`with`], for a function that says more than a status.
///
/// # Safety
/// As for [`with`].
pub(super) unsafe fn with_handle<H: Handle>(
    function: &str,
    handle: *const H,
    body: impl FnOnce(&H) -> Result<(), Error>,
) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let Some(handle) = (unsafe { handle.as_ref() }) else {
        return logged(function, Err(null(H::NAME)));
    };
    if let Err(error) = handle.check() {
        return Err(refusal(function, error));
    }
    match run(|| body(handle)) {
        Ok(result) => logged(function, result),
        Err(message) => {
            let message = format!("{function} panicked: {message}");
            log::error!("{message}");
            handle.fail(Fault::new(Status::Panic, message));
            Err(Error::failed(Status::Panic))
        }
    }
}

fn run(body: impl FnOnce() -> Result<(), Error>) -> Result<Result<(), Error>, String> {
    catch(|| {
        planted::panic_if(Defect::PanicInCall);
        #[cfg(feature = "planted")]
        super::misuse::misuse_memory();
        body()
    })
}

#[cold]
fn refusal(function: &str, error: Error) -> Error {
    // A panic was logged when it happened.
    if error.status() != Status::Panic {
        log::error!(target: OF_CALLS, "{function}: {error}");
    }
    error
}

fn logged(function: &str, result: Result<(), Error>) -> Result<(), Error> {
    if let Err(error) = &result
        && (matches!(error.status(), Status::InvalidArgument | Status::State)
            || matches!(error, Error::Limit(_) | Error::Unsupported(_)))
    {
        log::error!(target: OF_CALLS, "{function}: {error}");
    }
    result
}

/// What C is answered.
pub(super) fn code(result: Result<(), Error>) -> i32 {
    match result {
        Ok(()) => TC_OK,
        Err(error) => error.status().code(),
    }
}

// --- Arguments ----------------------------------------------------------------------------------------------------

pub(super) fn null(argument: &str) -> Error {
    Error::InvalidArgument(format!("{argument} is NULL"))
}

/// A string argument.
///
/// # Safety
/// `pointer` is NULL, or NUL-terminated and valid for `'a`.
pub(super) unsafe fn text<'a>(argument: &str, pointer: *const c_char) -> Result<&'a str, Error> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { bytes(argument, pointer)? };
    std::str::from_utf8(bytes).map_err(|_| Error::not_utf8(argument, bytes))
}

/// A string argument of which the body says itself what is wrong with it when it is not UTF-8.
///
/// # Safety
/// `pointer` is NULL, or NUL-terminated and valid for `'a`.
pub(super) unsafe fn bytes<'a>(argument: &str, pointer: *const c_char) -> Result<&'a [u8], Error> {
    if pointer.is_null() {
        return Err(null(argument));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

/// A time to wait: -1 is for ever.
pub(super) fn timeout(timeout_ms: i32) -> Result<Option<Duration>, Error> {
    match timeout_ms {
        -1 => Ok(None),
        0.. => Ok(Some(Duration::from_millis(timeout_ms.unsigned_abs().into()))),
        _ => Err(Error::InvalidArgument(format!("timeout_ms is {timeout_ms}"))),
    }
}

/// Where a result goes; written only on success.
pub(super) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL, or valid for writing as long as this lives.
    pub(super) unsafe fn new(argument: &str, pointer: *mut T) -> Result<Out<T>, Error> {
        // SAFETY: the caller's promise.
        unsafe { Out::optional(pointer) }.ok_or_else(|| null(argument))
    }

    /// Of a result that a caller who passes NULL does without.
    ///
    /// # Safety
    /// As for [`new`](Self::new).
    pub(super) unsafe fn optional(pointer: *mut T) -> Option<Out<T>> {
        NonNull::new(pointer).map(Out)
    }

    pub(super) fn write(self, value: T) {
        // SAFETY: promised to `new`. What was there before may be uninitialised and is not dropped.
        unsafe { self.0.as_ptr().write(value) }
    }
}

/// A callback's `user`. Never dereferenced; dropping it calls the free function.
pub(super) struct User {
    user: *mut c_void,
    free: tc_user_free_fn,
}

// SAFETY: the pointer is only handed back to the program, which was told that this happens on another thread.
unsafe impl Send for User {}

impl User {
    pub(super) fn new(user: *mut c_void, free: tc_user_free_fn) -> User {
        User { user, free }
    }

    pub(super) fn get(&self) -> *mut c_void {
        self.user
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: the program gave function and pointer for each other, and this is the only call.
            unsafe { free(self.user) }
        }
    }
}

/// Writes a path, which has no NUL, over what is in `buffer`, with one behind it.
pub(super) fn write_path(path: &str, buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(path.as_bytes());
    buffer.push(0);
}

/// `text` for C, up to its first NUL.
pub(super) fn c_string(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}
