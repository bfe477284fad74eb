//! Why a call failed, where its status does not say enough.

use std::ffi::{CString, c_char};
use std::ptr;

use super::boundary::{Boxed, Out, c_string, code};
use crate::error::Error;
use crate::panics::catch;

/// Why a call failed. Freed with `tc_error_free`, together with all it points to. Later versions may add fields at its
/// end.
#[repr(C)]
pub struct tc_error {
    /// A TC_ERR_ code.
    pub status: i32,
    /// The configuration key that it is about, or NULL.
    pub key: *const c_char,
    /// The path that it is about, or NULL; as it is, whatever characters it has.
    pub path: *const c_char,
    /// What is wrong, for people. Names the value, unless that may be a secret. It can be shown: control characters, and
    /// those that turn the direction of writing, are escaped.
    pub message: *const c_char,
}

/// What `tc_error` points to, behind it.
#[repr(C)]
pub(super) struct Owner {
    view: tc_error,
    key: Option<CString>,
    path: Option<CString>,
    message: CString,
}

// SAFETY: `Owner` has C's layout and begins with the view.
unsafe impl Boxed for tc_error {
    type Owner = Owner;
}

pub(super) fn into_raw(error: &Error) -> *const tc_error {
    let (key, path) = (error.key().map(c_string), error.path().map(c_string));
    let message = c_string(&error.to_string());
    let view = tc_error {
        status: error.status().code(),
        key: key.as_ref().map_or(ptr::null(), |key| key.as_ptr()),
        path: path.as_ref().map_or(ptr::null(), |path| path.as_ptr()),
        message: message.as_ptr(),
    };
    tc_error::into_raw(Owner { view, key, path, message })
}

/// What a function answers that tells by `error`, which may be NULL, why it failed: NULL when it did not.
///
/// # Safety
/// `error` is NULL, or valid for writing.
pub(super) unsafe fn answer(result: Result<(), Error>, error: *mut *const tc_error) -> i32 {
    // SAFETY: the caller's promise.
    if let Ok(error) = unsafe { Out::new("error", error) } {
        let why = result.as_ref().err().and_then(|why| catch(|| into_raw(why)).ok());
        error.write(why.unwrap_or(ptr::null()));
    }
    code(result)
}

/// Frees an error; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_error_free(error: *const tc_error) {
    // SAFETY: the caller passes NULL or an error that it owns and does not use any more.
    unsafe { tc_error::free("tc_error_free", error) }
}
