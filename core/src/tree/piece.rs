//! Bytes that are shared by count: an allocation of their own, or a part of something larger that somebody else keeps, as a
//! map of a file.

use std::sync::Arc;

use super::footprint::{Footprint, count_if_shared};

/// What keeps the bytes of parts.
pub trait Keeper: Send + Sync {
    /// The bytes from `at` on, `len` of them. What was asked for once does not change, and stays for as long as the keeper
    /// does. Empty if there are not so many.
    fn bytes(&self, at: u64, len: usize) -> &[u8];
}

/// A clone shares them. (Most trees have no parts: the code goes straight on for what is its own.)
pub(super) enum Piece {
    Own(Arc<[u8]>),
    Part(Arc<Part>),
}

/// Bytes that a keeper has.
pub(super) struct Part {
    keeper: Arc<dyn Keeper>,
    at: u64,
    len: usize,
    /// Two parts of one id have the same bytes, whoever keeps them.
    id: PartId,
}

/// Whose writing it is, and which one of what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PartId {
    pub(super) lineage: u64,
    pub(super) number: u64,
}

impl Part {
    pub(super) fn new(keeper: Arc<dyn Keeper>, at: u64, len: usize, id: PartId) -> Part {
        Part { keeper, at, len, id }
    }

    /// A call that cannot be seen through, unlike a look at an allocation: so it is made once where it can be.
    #[cold]
    #[inline(never)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.keeper.bytes(self.at, self.len)
    }
}

#[cold]
fn share(part: &Arc<Part>) -> Piece {
    Piece::Part(part.clone())
}

impl Clone for Piece {
    #[inline]
    fn clone(&self) -> Piece {
        match self {
            Piece::Own(bytes) => Piece::Own(bytes.clone()),
            Piece::Part(part) => share(part),
        }
    }
}

impl Piece {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Piece::Own(bytes) => bytes,
            Piece::Part(part) => part.bytes(),
        }
    }

    /// Whether both are one: so they have the same bytes. If not, they may have the same bytes all the same.
    #[inline]
    pub(super) fn is(&self, other: &Piece) -> bool {
        match (self, other) {
            (Piece::Own(a), Piece::Own(b)) => Arc::ptr_eq(a, b),
            (Piece::Part(a), Piece::Part(b)) => a.id == b.id,
            _ => false,
        }
    }

    /// To be changed in place, if nobody else has it.
    pub(super) fn get_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Piece::Own(bytes) => Arc::get_mut(bytes),
            Piece::Part(_) => None,
        }
    }

    /// Adds its size, if others hold it too and it is about to be dropped.
    pub(super) fn count_if_shared(&self, let_go: &mut u64) {
        match self {
            Piece::Own(bytes) => count_if_shared(bytes, let_go),
            Piece::Part(part) => count_if_shared(part, let_go),
        }
    }
}

impl From<Arc<[u8]>> for Piece {
    fn from(bytes: Arc<[u8]>) -> Piece {
        Piece::Own(bytes)
    }
}

impl Footprint for Part {
    fn footprint(&self) -> usize {
        self.len
    }
}

impl Footprint for Piece {
    fn footprint(&self) -> usize {
        match self {
            Piece::Own(bytes) => bytes.footprint(),
            Piece::Part(part) => part.footprint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_no_larger_than_one_of_an_allocation() {
        assert_eq!(size_of::<Piece>(), size_of::<Arc<[u8]>>());
    }
}
