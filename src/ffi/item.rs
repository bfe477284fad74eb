//! What is taken out of a queue.

use std::ptr;

use super::boundary::Boxed;
use super::event::{self, tc_event};
use super::fault::{self, tc_fault};
use crate::events::Told;
use crate::tree::Node;

/// One event or fault that was taken out of a queue. Independent of queue and cache. Freed with `tc_item_free`.
pub struct tc_item {
    told: Owned,
}

/// An event or fault as C sees it, and what keeps alive what it points to.
enum Owned {
    Event { view: tc_event, _path: Vec<u8>, _nodes: Box<[Option<Node>; 2]> },
    Fault { view: tc_fault, _strings: fault::Strings },
}

// SAFETY: the owner is the type itself.
unsafe impl Boxed for tc_item {
    type Owner = tc_item;
}

pub(super) fn into_raw(told: Told<'_>) -> *const tc_item {
    let told = match told {
        Told::Event(event) => {
            let mut path = Vec::new();
            let nodes = Box::new([event.node, event.old].map(|node| node.map(|node| node.to_node())));
            let [node, old] =
                nodes.each_ref().map(|node| node.as_ref().map(|node| (node.data(), node.stat())));
            let view = event::lend_with(event, &mut path, node, old);
            Owned::Event { view, _path: path, _nodes: nodes }
        }
        Told::Fault(fault) => {
            let strings = fault::Strings::new(fault);
            Owned::Fault { view: strings.lend(fault), _strings: strings }
        }
    };
    tc_item::into_raw(tc_item { told })
}

/// Returns the event that was taken out; NULL when the item is a fault, and for NULL.
///
/// It is lent until `tc_item_free`, with all it points to. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_item_event(item: *const tc_item) -> *const tc_event {
    // SAFETY: the caller passes NULL or an item that is not freed meanwhile.
    match unsafe { item.as_ref() } {
        Some(tc_item { told: Owned::Event { view, .. } }) => view,
        _ => ptr::null(),
    }
}

/// Returns the fault that was taken out; NULL when the item is an event, and for NULL.
///
/// It is lent until `tc_item_free`, with all it points to. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_item_fault(item: *const tc_item) -> *const tc_fault {
    // SAFETY: the caller passes NULL or an item that is not freed meanwhile.
    match unsafe { item.as_ref() } {
        Some(tc_item { told: Owned::Fault { view, .. } }) => view,
        _ => ptr::null(),
    }
}

/// Frees an item; NULL does nothing. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_item_free(item: *const tc_item) {
    // SAFETY: the caller passes NULL or an item that it owns and does not use any more.
    unsafe { tc_item::free("tc_item_free", item) }
}
