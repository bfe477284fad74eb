//! Faults, as lent to a callback, or handed out.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use super::boundary::{Boxed, User, c_string, null};
use crate::error::{Error, Fault};

/// Something went wrong in the background. Lent with all it points to, for the length of a callback, or by an item until
/// that is freed; or the caller's own, from `tc_get_fault`, to be freed with `tc_fault_free`. Later versions may add fields
/// at its end.
#[repr(C)]
pub struct tc_fault {
    /// A TC_ERR_ code.
    pub status: i32,
    /// ZooKeeper's own error code, or 0.
    pub server_error: i32,
    /// The node it concerns, or NULL; as the server has it, whatever characters it has.
    pub path: *const c_char,
    /// What happened, for people. It can be shown: control characters, and those that turn the direction of writing, are
    /// escaped.
    pub message: *const c_char,
}

/// Is told a fault, on the client's callback thread.
pub type tc_fault_fn = Option<unsafe extern "C" fn(fault: *const tc_fault, user: *mut c_void)>;

/// What a fault says, as C wants it.
pub(super) struct Strings {
    path: Option<CString>,
    message: CString,
}

impl Strings {
    pub(super) fn new(fault: &Fault) -> Strings {
        let path = fault.path.as_ref().map(|path| c_string(path.as_str()));
        Strings { path, message: c_string(&fault.message) }
    }

    /// The C view of `fault`, which lends these.
    pub(super) fn lend(&self, fault: &Fault) -> tc_fault {
        tc_fault {
            status: fault.status.code(),
            server_error: fault.server_error,
            path: self.path.as_ref().map_or(ptr::null(), |path| path.as_ptr()),
            message: self.message.as_ptr(),
        }
    }
}

/// What a fault that is handed out points to, behind it.
#[repr(C)]
pub(super) struct Owner {
    view: tc_fault,
    /// Lent by `view`.
    strings: Strings,
}

// SAFETY: `Owner` has C's layout and begins with the view.
unsafe impl Boxed for tc_fault {
    type Owner = Owner;
}

pub(super) fn into_raw(fault: &Fault) -> *const tc_fault {
    let strings = Strings::new(fault);
    let view = strings.lend(fault);
    tc_fault::into_raw(Owner { view, strings })
}

/// Frees a fault from `tc_get_fault`; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_fault_free(fault: *const tc_fault) {
    // SAFETY: the caller passes NULL or a fault that it owns and does not use any more.
    unsafe { tc_fault::free("tc_fault_free", fault) }
}

/// The Rust listener that a C function and its `user` make.
pub(super) fn listener(
    function: tc_fault_fn,
    user: User,
) -> Result<impl FnMut(&Fault) + Send + 'static, Error> {
    let function = function.ok_or_else(|| null("fn"))?;
    Ok(move |fault: &Fault| {
        let strings = Strings::new(fault);
        let lent = strings.lend(fault);
        // SAFETY: the program gave function and `user` for each other; what is lent lives for the call.
        unsafe { function(&lent, user.get()) }
    })
}
