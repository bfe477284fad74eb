//! What no program may do, where a test has planted that: it shows that the sanitizers notice.

use std::cell::UnsafeCell;
use std::hint::black_box;

use crate::planted::{Defect, is};

struct Place(UnsafeCell<u64>);

// SAFETY: it is not safe, which is what it is for.
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new(0));

/// Reads what is freed, or writes what another thread writes.
pub(super) fn misuse_memory() {
    if is(Defect::UseAfterFree) {
        let freed = std::ptr::from_ref(&*black_box(Box::new(1u64)));
        // SAFETY: none.
        black_box(unsafe { freed.read_volatile() });
    }
    if is(Defect::DataRace) {
        // SAFETY: none.
        unsafe { *black_box(PLACE.0.get()) += 1 };
    }
}
