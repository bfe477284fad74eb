//! Child names.

use std::ffi::c_char;

use super::boundary::Boxed;
use crate::snapshot::ChildNames;

/// The names of a node's children as they were when read, sorted by their bytes. Independent of the cache. Freed with
/// `tc_children_free`, together with all it points to. Later versions may add fields at its end.
#[repr(C)]
pub struct tc_children {
    /// How many there are.
    pub len: usize,
    /// Their names, each NUL-terminated.
    pub names: *const *const c_char,
    /// The length of each name in bytes, without its NUL.
    pub name_lens: *const usize,
}

/// What `tc_children` points to, behind it.
#[repr(C)]
pub(super) struct Owner {
    view: tc_children,
    /// Lent by `children`.
    names: Vec<*const c_char>,
    name_lens: Vec<usize>,
    children: ChildNames,
}

// SAFETY: `Owner` has C's layout and begins with the view.
unsafe impl Boxed for tc_children {
    type Owner = Owner;
}

pub(super) fn into_raw(children: ChildNames) -> *const tc_children {
    let (mut names, mut name_lens) = (Vec::new(), Vec::new());
    let len = children.len();
    names.reserve_exact(len);
    name_lens.reserve_exact(len);
    for name in children.names_with_nul() {
        names.push(name.as_ptr().cast());
        name_lens.push(name.len() - 1);
    }
    let view = tc_children { len, names: names.as_ptr(), name_lens: name_lens.as_ptr() };
    tc_children::into_raw(Owner { view, names, name_lens, children })
}

/// Frees child names; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_children_free(children: *const tc_children) {
    // SAFETY: the caller passes NULL or child names that it owns and does not use any more.
    unsafe { tc_children::free("tc_children_free", children) }
}
