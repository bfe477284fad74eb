//! The children of a node: their names, and their nodes.

use std::ffi::c_char;
use std::ptr;

use super::boundary::Boxed;
use super::node::{lend, tc_node};
use crate::snapshot::ChildList;

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

/// A node's children, with their data, as they were when read, sorted by the bytes of their names. Independent of the
/// cache. Freed with `tc_children_data_free`, together with all it points to. Later versions may add fields at its
/// end.
#[repr(C)]
pub struct tc_children_data {
    /// How many there are.
    pub len: usize,
    /// Their names, each NUL-terminated.
    pub names: *const *const c_char,
    /// The length of each name in bytes, without its NUL.
    pub name_lens: *const usize,
    /// Their nodes; lent, not to be freed one by one. NULL for one that the session may not read.
    pub nodes: *const *const tc_node,
}

/// The names of children, as C wants them.
struct Names {
    /// Lent by `children`.
    names: Vec<*const c_char>,
    lens: Vec<usize>,
    children: ChildList,
}

impl Names {
    fn new(children: ChildList) -> Names {
        let (mut names, mut lens) = (Vec::new(), Vec::new());
        names.reserve_exact(children.len());
        lens.reserve_exact(children.len());
        for name in children.names_with_nul() {
            names.push(name.as_ptr().cast());
            lens.push(name.len() - 1);
        }
        Names { names, lens, children }
    }
}

/// What `tc_children` points to, behind it.
#[repr(C)]
pub(super) struct Owner {
    view: tc_children,
    names: Names,
}

// SAFETY: `Owner` has C's layout and begins with the view.
unsafe impl Boxed for tc_children {
    type Owner = Owner;
}

pub(super) fn into_raw(children: ChildList) -> *const tc_children {
    let names = Names::new(children);
    let view =
        tc_children { len: names.names.len(), names: names.names.as_ptr(), name_lens: names.lens.as_ptr() };
    tc_children::into_raw(Owner { view, names })
}

/// What `tc_children_data` points to, behind it.
#[repr(C)]
pub(super) struct DataOwner {
    view: tc_children_data,
    names: Names,
    nodes: Vec<*const tc_node>,
    /// What `nodes` points to. The data is lent by the children.
    _lent: Vec<Option<tc_node>>,
}

// SAFETY: `DataOwner` has C's layout and begins with the view.
unsafe impl Boxed for tc_children_data {
    type Owner = DataOwner;
}

pub(super) fn into_raw_with_data(children: ChildList) -> *const tc_children_data {
    let names = Names::new(children);
    let lent: Vec<_> = names.children.nodes().map(|node| node.map(lend)).collect();
    let nodes: Vec<_> = lent.iter().map(|node| node.as_ref().map_or(ptr::null(), ptr::from_ref)).collect();
    let view = tc_children_data {
        len: nodes.len(),
        names: names.names.as_ptr(),
        name_lens: names.lens.as_ptr(),
        nodes: nodes.as_ptr(),
    };
    tc_children_data::into_raw(DataOwner { view, names, nodes, _lent: lent })
}

/// Frees child names; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_children_free(children: *const tc_children) {
    // SAFETY: the caller passes NULL or child names that it owns and does not use any more.
    unsafe { tc_children::free("tc_children_free", children) }
}

/// Frees children with their data; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_children_data_free(children: *const tc_children_data) {
    // SAFETY: the caller passes NULL or children that it owns and does not use any more.
    unsafe { tc_children_data::free("tc_children_data_free", children) }
}
