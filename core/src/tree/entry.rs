//! A place in the tree: the node there, and what is below it.

use std::sync::Arc;

use super::block::Block;
use super::children::Children;
use super::footprint::Footprint;
use super::node::{Bytes, NodeRef};
use super::piece::Piece;
use super::record::{Name, Record, without_nul};

/// A place in the tree, lent: the node there, and what is below it.
#[derive(Clone, Copy)]
pub struct Entry<'t> {
    block: &'t Block,
    record: Record<'t>,
}

impl<'t> Entry<'t> {
    /// Of the record that begins `at` this byte of a block.
    #[inline]
    fn new(block: &'t Block, at: usize) -> Entry<'t> {
        Entry::of(block, block.record(at))
    }

    /// Of a record of a block.
    #[inline]
    pub(super) fn of(block: &'t Block, record: Record<'t>) -> Entry<'t> {
        Entry { block, record }
    }

    #[inline]
    pub(super) fn record(&self) -> Record<'t> {
        self.record
    }

    #[inline(always)]
    pub(super) fn name_bytes(&self) -> &'t [u8] {
        let record = self.record;
        match record.name_place() {
            None => record.name(),
            Some(place) => without_nul(self.block.large(place).bytes()),
        }
    }

    pub(super) fn stored_name(&self) -> Name<'t> {
        let record = self.record;
        match record.name_place() {
            None => Name::Inline(record.name()),
            Some(place) => Name::Beside(self.block.large(place)),
        }
    }

    pub(super) fn name_with_nul(&self) -> &'t [u8] {
        let record = self.record;
        match record.name_place() {
            None => record.name_with_nul(),
            Some(place) => self.block.large(place).bytes(),
        }
    }

    /// Its name; the root's is empty.
    pub fn name(&self) -> &'t str {
        std::str::from_utf8(self.name_bytes()).expect("it was put in as text")
    }

    #[inline]
    fn bytes(&self) -> Bytes<'t> {
        let record = self.record;
        match record.data_place() {
            None if record.keeps_no_data() => Bytes::NotKept,
            None => Bytes::Lent(record.data()),
            Some(place) => match self.block.large(place) {
                Piece::Own(bytes) => Bytes::Shared(bytes),
                // Who keeps it gets a copy: a part holds all of what it is a part of.
                Piece::Part(part) => Bytes::Lent(part.bytes()),
            },
        }
    }

    /// Whether the session may not read the node.
    pub fn is_opaque(&self) -> bool {
        self.record.is_opaque()
    }

    /// The node; `None` if the session may not read it.
    pub fn node(&self) -> Option<NodeRef<'t>> {
        let data = self.bytes();
        let stat = self.record.stat(data.as_slice().len())?;
        Some(NodeRef::of_bytes(data, stat))
    }

    /// The node's data, without a look at its Stat; `None` if the session may not read it.
    #[inline]
    pub fn data(&self) -> Option<&'t [u8]> {
        (!self.is_opaque()).then(|| self.bytes().as_slice())
    }

    /// What is below; `None`: no children.
    #[inline]
    pub fn children(&self) -> Option<&'t Arc<Children>> {
        self.block.list(self.record.list_place()?)
    }

    /// Whether as many children are known as the node counts. Of a node that may not be read, nothing else is known.
    pub fn has_as_many_children_as_it_counts(&self) -> bool {
        let known = self.children().map_or(0, |children| children.len());
        self.node().is_none_or(|node| usize::try_from(node.stat().num_children) == Ok(known))
    }

    /// Whether both have the same node and share all that is below it.
    pub fn is(&self, other: &Entry<'_>) -> bool {
        let shares_children = match (self.children(), other.children()) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        shares_children && self.has_node_of(other)
    }

    fn at(&self) -> usize {
        self.block.end_of_records() - self.record.rest()
    }

    /// Whether both are one record of one block; what is below may differ.
    pub(super) fn is_one_with(&self, other: &Entry<'_>) -> bool {
        // Both blocks are as long, then.
        self.block.has_bytes_of(other.block) && self.record.rest() == other.record.rest()
    }

    fn has_node_of(&self, other: &Entry<'_>) -> bool {
        match self.record.data_place() {
            _ if self.is_one_with(other) => true,
            None if self.record.is_written_as(&other.record) => true,
            _ => self.node() == other.node(),
        }
    }

    /// About how many bytes of its own it has beside its block: large data, a long name.
    pub(super) fn footprint_beside(&self) -> usize {
        let record = self.record;
        [record.data_place(), record.name_place()]
            .into_iter()
            .flatten()
            .map(|place| self.block.large(place).footprint())
            .sum()
    }

    /// A share of it, which outlives the tree.
    pub fn share(&self) -> Share {
        Share { block: self.block.clone(), at: self.at() }
    }
}

/// A share of a place in the tree: the node there, and what is below it. It outlives the tree, and keeps a few siblings
/// in memory, too.
#[derive(Clone)]
pub struct Share {
    block: Block,
    at: usize,
}

impl Share {
    /// What it is a share of.
    pub fn lend(&self) -> Entry<'_> {
        Entry::new(&self.block, self.at)
    }

    /// The node; `None` if the session may not read it.
    pub fn node(&self) -> Option<NodeRef<'_>> {
        self.lend().node()
    }
}
