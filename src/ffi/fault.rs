//! Faults, as lent to a callback.

use std::ffi::{c_char, c_void};

use super::boundary::{User, c_string, null};
use crate::error::{Error, Fault};

/// Something went wrong in the background. Lent for the length of the callback, with all it points to. Later
/// versions may add fields at its end.
#[repr(C)]
pub struct tc_fault {
    /// A TC_ERR_ code.
    pub status: i32,
    /// ZooKeeper's own error code, or 0.
    pub server_error: i32,
    /// The node it concerns, or NULL.
    pub path: *const c_char,
    /// What happened, for people.
    pub message: *const c_char,
}

/// Is told a fault, on the client's callback thread.
pub type tc_fault_fn = Option<unsafe extern "C" fn(fault: *const tc_fault, user: *mut c_void)>;

/// The Rust listener that a C function and its `user` make.
pub(super) fn listener(
    function: tc_fault_fn,
    user: User,
) -> Result<impl FnMut(&Fault) + Send + 'static, Error> {
    let function = function.ok_or_else(|| null("fn"))?;
    Ok(move |fault: &Fault| {
        let path = fault.path.as_ref().map(|path| c_string(path.as_str()));
        let message = c_string(&fault.message);
        let lent = tc_fault {
            status: fault.status.code(),
            server_error: fault.server_error,
            path: path.as_ref().map_or(std::ptr::null(), |path| path.as_ptr()),
            message: message.as_ptr(),
        };
        // SAFETY: the program gave function and `user` for each other; what is lent lives for the call.
        unsafe { function(&lent, user.get()) }
    })
}
