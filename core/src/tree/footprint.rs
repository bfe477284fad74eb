//! How much memory edits let go.

use std::sync::Arc;

use crate::planted::{self, Defect};

/// What an `Arc` takes beside what is in it: its two counts.
pub(super) const COUNTED: usize = 2 * size_of::<usize>();

/// About how many bytes of memory are freed with the last reference to something that is shared by count.
pub(super) trait Footprint {
    fn footprint(&self) -> usize;
}

impl Footprint for [u8] {
    fn footprint(&self) -> usize {
        COUNTED + self.len()
    }
}

/// Makes `shared` mutable. If others hold it too, it becomes a copy: they keep the old one, whose size is added to
/// `let_go`.
pub(super) fn make_mut<'a, T: Clone + Footprint>(shared: &'a mut Arc<T>, let_go: &mut u64) -> &'a mut T {
    count_if_shared(shared, let_go);
    Arc::make_mut(shared)
}

/// Adds the size of something that an edit is about to drop, if others hold it too.
pub(super) fn count_if_shared<T: Footprint + ?Sized>(shared: &Arc<T>, let_go: &mut u64) {
    if Arc::strong_count(shared) > 1 && !planted::is(Defect::CopiesNotWeighed) {
        *let_go += shared.footprint() as u64;
    }
}
