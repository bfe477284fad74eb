//! Trees as bytes: how blocks, and what leads to them, are written one behind the other and never changed, and how they are read
//! by somebody who believes none of it.
//!
//! What is written are *objects* (`docs/share-format.md`): the bytes of a block, what stands beside one, a group, a list. Each
//! names others by where they begin, and these stand before it. So what is written for a new version is what is new in it and
//! what leads there; the rest is named. And whoever reads cannot go round in circles.
//!
//! A [`Loader`] makes a [`Tree`] of them, the blocks of which are parts of what was written. It looks at all that a tree has
//! before it shows any of it: checksums, lengths, order of names, keys. What it has looked at for one version, it takes for the
//! next one as it is. So versions share what they shared where they were written, and
//! [`Differences`](super::Differences) goes past that.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::Tree;
use super::block::{Beside, Block};
use super::children::{Children, Group, MOST_BLOCKS, Shape};
use super::piece::{Keeper, Part, PartId, Piece};
use crate::planted::{self, Defect};

/// Where objects begin: what is before them is not the tree's.
pub const OBJECTS_AT: u64 = 4096;
/// What stands before the payload of an object: checksum, kind, number, length.
pub(crate) const OBJECT_HEAD: usize = 24;
/// Objects begin at multiples of this.
const ALIGNED: usize = 8;

/// The longest path below a tree's root. A longer one is not ZooKeeper's.
const LONGEST_PATH: u64 = 64 << 10;

/// No record takes less, with its key.
const SHORTEST_RECORD: usize = 12;

/// How many bytes are collected before they are handed on.
const PAGE: usize = 1 << 20;

/// The bytes of a block, large data or a long name.
const BYTES: u32 = 1;
/// What stands beside a block.
const BESIDE: u32 = 2;
const GROUP: u32 = 3;
const LIST: u32 = 4;

/// Something that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {at}: {what}")]
pub struct Damaged {
    /// Where in the file.
    pub at: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// A tree, by where its root was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// The bytes of the block of the root; 0: the tree is empty.
    pub bytes: u64,
    /// What stands beside it; 0: nothing.
    pub beside: u64,
    /// Nodes that can be read.
    pub nodes: u64,
    /// Bytes of data in them.
    pub data: u64,
    /// As [`Tree::let_go`].
    pub let_go: u64,
}

// --- Writing ------------------------------------------------------------------------------------------------------

/// Writes versions of a tree, each with what is new in it.
pub struct Appender {
    lineage: u64,
    /// What was written, by its address in memory. The weak reference keeps that address from being used again.
    known: HashMap<usize, Known>,
    /// Of those in `known`: what was written since [`keep`](Self::keep).
    fresh: Vec<usize>,
    /// Where the next object begins, and where it began at the last `keep`.
    end: u64,
    kept_end: u64,
    /// The number of the bytes that were written last.
    number: u64,
    /// [`Tree::let_go`] of the tree for which `known` was rid of what is gone.
    purged_at: u64,
}

#[derive(Clone)]
struct Known {
    held: Held,
    /// Where it begins; 0: it is in an earlier file.
    at: u64,
    /// Of bytes: their number.
    number: u64,
}

#[derive(Clone)]
enum Held {
    Own(Weak<[u8]>),
    Part(Weak<Part>),
    Beside(Weak<Beside>),
    Group(Weak<Group>),
    List(Weak<Children>),
}

impl Held {
    fn is_gone(&self) -> bool {
        let count = match self {
            Held::Own(held) => held.strong_count(),
            Held::Part(held) => held.strong_count(),
            Held::Beside(held) => held.strong_count(),
            Held::Group(held) => held.strong_count(),
            Held::List(held) => held.strong_count(),
        };
        count == 0
    }
}

fn address<T: ?Sized>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).cast::<u8>().addr()
}

/// Collects bytes, and hands them on.
struct Page<'o, E> {
    bytes: Vec<u8>,
    out: &'o mut dyn FnMut(&[u8]) -> Result<(), E>,
}

impl<E> Page<'_, E> {
    fn flush_if(&mut self, most: usize) -> Result<(), E> {
        if self.bytes.len() > most {
            (self.out)(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl Appender {
    /// Of a file with nothing in it. `lineage` is a number that no other one has.
    pub fn new(lineage: u64) -> Appender {
        let (known, fresh) = (HashMap::new(), Vec::new());
        Appender { lineage, known, fresh, end: OBJECTS_AT, kept_end: OBJECTS_AT, number: 0, purged_at: 0 }
    }

    /// Of another file with nothing in it, in which what is the same has the same number.
    #[must_use]
    pub fn for_new_file(&self) -> Appender {
        let elsewhere = |known: &Known| Known { at: 0, ..known.clone() };
        let kept = self.known.iter().filter(|(_, known)| !known.held.is_gone());
        Appender {
            known: kept.map(|(address, known)| (*address, elsewhere(known))).collect(),
            fresh: Vec::new(),
            end: OBJECTS_AT,
            kept_end: OBJECTS_AT,
            ..*self
        }
    }

    /// Whose numbers they are.
    pub fn lineage(&self) -> u64 {
        self.lineage
    }

    /// Where the next object begins.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// An object of another kind, which is not the tree's: `payload` behind what stands before it.
    pub(crate) fn write_other(&mut self, kind: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.end += write_object(kind, 0, &[payload], &mut bytes) as u64;
        bytes
    }

    /// Hands what is new in a tree to `out`, in order; it belongs where the object before it ends. What is written counts only
    /// from [`keep`](Self::keep) on.
    ///
    /// # Errors
    /// That of `out`. Call [`undo`](Self::undo) then.
    pub fn write<E>(
        &mut self,
        tree: &Tree,
        out: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Stored, E> {
        let mut page = Page { bytes: Vec::new(), out };
        let (mut bytes, mut beside) = (0, 0);
        if let Some(root) = &tree.root {
            let mut stack = Vec::new();
            self.push_unknown(root, &mut stack);
            // Lists below come before those above.
            while let Some(list) = stack.last().cloned() {
                let height = stack.len();
                if self.at(address(&list)).is_none() {
                    self.push_unknown_below(&list, &mut stack);
                }
                if stack.len() == height {
                    self.write_list(&list, &mut page)?;
                    stack.pop();
                }
            }
            (bytes, beside) = self.write_block(root, &mut page)?;
        }
        page.flush_if(0)?;
        let (nodes, data) = (tree.len as u64, tree.bytes as u64);
        Ok(Stored { bytes, beside, nodes, data, let_go: tree.let_go })
    }

    /// What was written is there to stay. `tree` is the one that was written last.
    pub fn keep(&mut self, tree: &Tree) {
        self.fresh.clear();
        self.kept_end = self.end;
        // A weak reference holds the memory of what it refers to.
        if tree.let_go.wrapping_sub(self.purged_at) > (1 << 20).max(tree.bytes as u64 / 8) {
            self.purged_at = tree.let_go;
            self.known.retain(|_, known| !known.held.is_gone());
        }
    }

    /// What was written since [`keep`](Self::keep) was lost. What is written next takes its place.
    pub fn undo(&mut self) {
        if planted::is(Defect::LostWritesKept) {
            self.end = self.kept_end;
            return;
        }
        for address in std::mem::take(&mut self.fresh) {
            if let Some(known) = self.known.get_mut(&address) {
                known.at = 0;
            }
        }
        self.end = self.kept_end;
    }

    fn at(&self, address: usize) -> Option<u64> {
        self.known.get(&address).map(|known| known.at).filter(|at| *at != 0)
    }

    fn push_unknown(&self, block: &Block, stack: &mut Vec<Arc<Children>>) {
        if let (_, Some(beside)) = block.parts()
            && self.at(address(beside)).is_none()
        {
            let lists = beside.lists().iter().flatten();
            stack.extend(lists.filter(|list| self.at(address(list)).is_none()).cloned());
        }
    }

    fn push_unknown_below(&self, list: &Children, stack: &mut Vec<Arc<Children>>) {
        match list.shape() {
            Shape::One(block) => self.push_unknown(block, stack),
            Shape::Many(groups) => {
                for group in groups.iter().filter(|group| self.at(address(group)).is_none()) {
                    group.blocks().iter().for_each(|block| self.push_unknown(block, stack));
                }
            }
        }
    }

    fn write_list<E>(&mut self, list: &Arc<Children>, page: &mut Page<'_, E>) -> Result<(), E> {
        if self.at(address(list)).is_some() {
            return Ok(());
        }
        let mut references = Vec::new();
        match list.shape() {
            Shape::One(block) => {
                let (bytes, beside) = self.write_block(block, page)?;
                references.extend([1, bytes, beside]);
            }
            Shape::Many(groups) => {
                references.push(0);
                for group in groups {
                    references.push(self.write_group(group, page)?);
                }
            }
        }
        self.write_references(LIST, &references, address(list), Held::List(Arc::downgrade(list)), page)?;
        Ok(())
    }

    fn write_group<E>(&mut self, group: &Arc<Group>, page: &mut Page<'_, E>) -> Result<u64, E> {
        if let Some(at) = self.at(address(group)) {
            return Ok(at);
        }
        let mut references = Vec::new();
        for block in group.blocks() {
            let (bytes, beside) = self.write_block(block, page)?;
            references.extend([bytes, beside]);
        }
        self.write_references(GROUP, &references, address(group), Held::Group(Arc::downgrade(group)), page)
    }

    /// The lists below have been written.
    fn write_block<E>(&mut self, block: &Block, page: &mut Page<'_, E>) -> Result<(u64, u64), E> {
        let (bytes, beside) = block.parts();
        let bytes = self.write_piece(bytes, page)?;
        let Some(beside) = beside else { return Ok((bytes, 0)) };
        if let Some(at) = self.at(address(beside)) {
            return Ok((bytes, at));
        }
        let mut references = vec![beside.lists().len() as u64];
        let lists = beside.lists().iter();
        let at = |list| self.at(address(list)).expect("what is below was written before");
        references.extend(lists.map(|list| list.as_ref().map_or(0, at)));
        for large in beside.large() {
            references.push(self.write_piece(large, page)?);
        }
        let held = Held::Beside(Arc::downgrade(beside));
        Ok((bytes, self.write_references(BESIDE, &references, address(beside), held, page)?))
    }

    fn write_piece<E>(&mut self, piece: &Piece, page: &mut Page<'_, E>) -> Result<u64, E> {
        let (address, held) = match piece {
            Piece::Own(bytes) => (address(bytes), Held::Own(Arc::downgrade(bytes))),
            Piece::Part(part) => (address(part), Held::Part(Arc::downgrade(part))),
        };
        self.write_known(BYTES, &[piece.bytes()], address, held, page)
    }

    fn write_references<E>(
        &mut self,
        kind: u32,
        references: &[u64],
        address: usize,
        held: Held,
        page: &mut Page<'_, E>,
    ) -> Result<u64, E> {
        let bytes: Vec<u8> = references.iter().flat_map(|at| at.to_le_bytes()).collect();
        self.write_known(kind, &[&bytes], address, held, page)
    }

    fn write_known<E>(
        &mut self,
        kind: u32,
        parts: &[&[u8]],
        address: usize,
        held: Held,
        page: &mut Page<'_, E>,
    ) -> Result<u64, E> {
        let before = self.known.get(&address).map(|known| (known.at, known.number));
        let number = match before {
            Some((at, _)) if at != 0 => return Ok(at),
            // The same as in an earlier file.
            Some((_, number)) => number,
            None if planted::is(Defect::NumbersUsedAgain) => 1,
            None => self.number + 1,
        };
        self.number = self.number.max(number);
        let at = self.end;
        self.end += write_object(kind, number, parts, &mut page.bytes) as u64;
        self.known.insert(address, Known { held, at, number });
        self.fresh.push(address);
        page.flush_if(PAGE)?;
        Ok(at)
    }
}

/// Returns how many bytes that were.
fn write_object(kind: u32, number: u64, parts: &[&[u8]], out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend([0; 4]);
    out.extend(kind.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend((len as u64).to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let sum = checksum(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
    out.resize(start + OBJECT_HEAD + len.next_multiple_of(ALIGNED), 0);
    out.len() - start
}

/// The CRC-32 of zlib and gzip.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

// --- Reading ------------------------------------------------------------------------------------------------------

/// What was written, as far as its writer says that it is there.
#[derive(Clone)]
pub struct Written<'b> {
    /// From [`OBJECTS_AT`] on.
    pub objects: &'b [u8],
    /// Whose numbers they are.
    pub lineage: u64,
    /// Who keeps these bytes for a tree that is made of them; `None`: the tree has copies.
    pub keeper: Option<&'b Arc<dyn Keeper>>,
}

/// An object as it was written.
pub(crate) struct Object<'b> {
    at: u64,
    kind: u32,
    number: u64,
    pub(crate) payload: &'b [u8],
}

impl<'b> Written<'b> {
    /// The object that begins at a byte of the file.
    pub(crate) fn object(&self, at: u64) -> Result<Object<'b>, Damaged> {
        let damaged = |what| Damaged { at, what };
        let beyond = || damaged("it is beyond the end");
        let start = at.checked_sub(OBJECTS_AT).and_then(|start| usize::try_from(start).ok());
        let start = start.filter(|start| start.is_multiple_of(ALIGNED));
        let start = start.ok_or_else(|| damaged("nothing begins there"))?;
        let bytes = self.objects.get(start..).ok_or_else(beyond)?;
        let (head, rest) = bytes.split_first_chunk::<OBJECT_HEAD>().ok_or_else(beyond)?;
        let number = |from: usize| {
            let bytes = head[from..].first_chunk().expect("the head has it");
            u64::from_le_bytes(*bytes)
        };
        let len = usize::try_from(number(16)).ok().filter(|len| *len <= rest.len()).ok_or_else(beyond)?;
        let [sum, kind] = [number(0) as u32, (number(0) >> 32) as u32];
        if sum != checksum(&bytes[4..OBJECT_HEAD + len]) && !planted::is(Defect::ChecksumsIgnored) {
            return Err(damaged("its checksum is another one"));
        }
        Ok(Object { at, kind, number: number(8), payload: &rest[..len] })
    }

    /// As [`object`](Self::object), of a kind that is not the tree's.
    pub(crate) fn other(&self, kind: u32, at: u64) -> Result<&'b [u8], Damaged> {
        let object = self.object(at)?;
        if object.kind == kind { Ok(object.payload) } else { Err(object.damaged("it is of another kind")) }
    }

    fn piece(&self, object: &Object<'b>) -> Piece {
        match self.keeper {
            None => Piece::Own(object.payload.into()),
            Some(keeper) => {
                let id = PartId { lineage: self.lineage, number: object.number };
                let at = object.at + OBJECT_HEAD as u64;
                Piece::Part(Arc::new(Part::new(keeper.clone(), at, object.payload.len(), id)))
            }
        }
    }
}

impl Object<'_> {
    fn damaged(&self, what: &'static str) -> Damaged {
        Damaged { at: self.at, what }
    }

    /// The numbers that its payload consists of.
    fn numbers(&self) -> Result<impl Iterator<Item = u64> + '_, Damaged> {
        let (numbers, rest) = self.payload.as_chunks();
        match rest {
            [] => Ok(numbers.iter().map(|number| u64::from_le_bytes(*number))),
            _ => Err(self.damaged("its length is none of its kind")),
        }
    }

    /// What it names: where each begins, 0 for nothing.
    fn references(&self) -> Result<Vec<u64>, Damaged> {
        let mut references = match self.kind {
            BYTES => Vec::new(),
            BESIDE | LIST => self.numbers()?.skip(1).collect(),
            GROUP => self.numbers()?.collect(),
            _ => return Err(self.damaged("it is of no known kind")),
        };
        references.retain(|at| *at != 0);
        match references.iter().all(|at| *at < self.at) {
            true => Ok(references),
            false => Err(self.damaged("it names what comes behind it")),
        }
    }
}

/// What is in a list, a group, or beside a block, with all below.
#[derive(Clone, Copy, Default)]
struct Totals {
    records: u64,
    nodes: u64,
    bytes: u64,
    longest: u64,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.records = self.records.saturating_add(other.records);
        self.nodes = self.nodes.saturating_add(other.nodes);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.longest = self.longest.max(other.longest);
    }
}

/// An object that was looked at.
#[derive(Clone)]
enum Loaded {
    /// And what is in it, if it was found to be a block that has nothing beside it.
    Bytes(Piece, Option<Totals>),
    /// And for each of its lists: the longest path below.
    Beside(Arc<Beside>, Totals, Arc<[u32]>),
    Group(Arc<Group>, Totals),
    List(Arc<Children>, Totals),
}

/// The same, for as long as a version has it.
enum Seen {
    Bytes(Weak<Part>, Option<Totals>),
    Beside(Weak<Beside>, Totals, Arc<[u32]>),
    Group(Weak<Group>, Totals),
    List(Weak<Children>, Totals),
}

impl Loaded {
    fn seen(&self) -> Option<Seen> {
        Some(match self {
            Loaded::Bytes(Piece::Own(_), _) => return None,
            Loaded::Bytes(Piece::Part(part), totals) => Seen::Bytes(Arc::downgrade(part), *totals),
            Loaded::Beside(beside, totals, longest) => {
                Seen::Beside(Arc::downgrade(beside), *totals, longest.clone())
            }
            Loaded::Group(group, totals) => Seen::Group(Arc::downgrade(group), *totals),
            Loaded::List(list, totals) => Seen::List(Arc::downgrade(list), *totals),
        })
    }
}

impl Seen {
    fn load(&self) -> Option<Loaded> {
        Some(match self {
            Seen::Bytes(part, totals) => Loaded::Bytes(Piece::Part(part.upgrade()?), *totals),
            Seen::Beside(beside, totals, longest) => {
                Loaded::Beside(beside.upgrade()?, *totals, longest.clone())
            }
            Seen::Group(group, totals) => Loaded::Group(group.upgrade()?, *totals),
            Seen::List(list, totals) => Loaded::List(list.upgrade()?, *totals),
        })
    }
}

/// Makes trees of what was written to one file.
#[derive(Default)]
pub struct Loader {
    /// What the versions have that were loaded before, by where it begins.
    seen: HashMap<u64, Seen>,
    /// So many there may be before those are left out that no version has any more.
    most_seen: usize,
}

impl Loader {
    /// Makes a tree. What an earlier one has, it shares with that.
    ///
    /// # Errors
    /// Something is not as it was written.
    pub fn load(&mut self, written: &Written<'_>, stored: &Stored) -> Result<Tree, Damaged> {
        let Stored { bytes, beside, nodes, data, let_go } = *stored;
        let mut loading = Loading { written, seen: &self.seen, fresh: HashMap::new() };
        let damaged = |what| Damaged { at: bytes, what };
        let mut tree = Tree { root: None, let_go, ..Tree::default() };
        let mut totals = Totals::default();
        if bytes != 0 {
            for at in [bytes, beside].into_iter().filter(|at| *at != 0) {
                loading.load(at)?;
            }
            let (block, of_block) = loading.block(bytes, beside, true)?;
            totals = of_block;
            tree.root = Some(block);
        } else if beside != 0 {
            return Err(damaged("there is something beside no root"));
        }
        // If something were in the tree in two places, there might be more of it than anybody can walk through.
        if totals.records > (written.objects.len() / SHORTEST_RECORD) as u64 || totals.longest > LONGEST_PATH
        {
            return Err(damaged("there is more below it than was written"));
        }
        if (totals.nodes, totals.bytes) != (nodes, data) {
            return Err(damaged("it has not as many nodes as is said, or not as much data"));
        }
        (tree.len, tree.bytes) = match (usize::try_from(nodes), usize::try_from(data)) {
            (Ok(nodes), Ok(data)) => (nodes, data),
            _ => return Err(damaged("it is too large for this system")),
        };
        let fresh = loading.fresh;
        if written.keeper.is_some() {
            self.seen.extend(fresh.iter().filter_map(|(at, loaded)| Some((*at, loaded.seen()?))));
            if self.seen.len() > self.most_seen {
                self.seen.retain(|_, seen| seen.load().is_some());
                self.most_seen = 2 * self.seen.len() + 1024;
            }
        }
        Ok(tree)
    }
}

/// One tree that is being made.
struct Loading<'l> {
    written: &'l Written<'l>,
    seen: &'l HashMap<u64, Seen>,
    fresh: HashMap<u64, Loaded>,
}

impl Loading<'_> {
    /// Loads an object, and before it all that it names. (It is no recursion: a tree may be as deep as a path is long.)
    fn load(&mut self, at: u64) -> Result<(), Damaged> {
        let mut stack = vec![at];
        while let Some(at) = stack.last().copied() {
            if self.is_loaded(at) {
                stack.pop();
                continue;
            }
            let object = self.written.object(at)?;
            let height = stack.len();
            for reference in object.references()? {
                if !self.is_loaded(reference) {
                    stack.push(reference);
                }
            }
            if stack.len() == height {
                let loaded = self.build(&object)?;
                self.fresh.insert(at, loaded);
                stack.pop();
            }
        }
        Ok(())
    }

    /// Whether it is there; then it stays, for as long as this tree is being made.
    fn is_loaded(&mut self, at: u64) -> bool {
        if self.fresh.contains_key(&at) {
            return true;
        }
        let Some(loaded) = self.seen.get(&at).and_then(Seen::load) else { return false };
        self.fresh.insert(at, loaded);
        true
    }

    fn build(&mut self, object: &Object<'_>) -> Result<Loaded, Damaged> {
        let damaged = |what| object.damaged(what);
        let mut numbers = match object.kind {
            BYTES => return Ok(Loaded::Bytes(self.written.piece(object), None)),
            _ => object.numbers()?,
        };
        match object.kind {
            BESIDE => self.build_beside(object),
            GROUP => {
                let (mut blocks, mut totals) = (Vec::new(), Totals::default());
                while let Some(bytes) = numbers.next() {
                    let beside = numbers.next().ok_or_else(|| damaged("half a block"))?;
                    let (block, of_block) = self.block(bytes, beside, false)?;
                    if blocks.last().is_some_and(|last| !is_before(Block::last_name(last), &block)) {
                        return Err(damaged("its blocks are out of order"));
                    }
                    blocks.push(block);
                    totals.add(of_block);
                }
                match (1..=MOST_BLOCKS).contains(&blocks.len()) {
                    true => Ok(Loaded::Group(Arc::new(Group::new(blocks)), totals)),
                    false => Err(damaged("its blocks are none, or too many")),
                }
            }
            _ => {
                let is_one = numbers.next().ok_or_else(|| damaged("an empty list"))? == 1;
                if is_one {
                    let [Some(bytes), Some(beside), None] = [numbers.next(), numbers.next(), numbers.next()]
                    else {
                        return Err(damaged("no block, or more than one"));
                    };
                    let (block, totals) = self.block(bytes, beside, false)?;
                    return Ok(Loaded::List(Arc::new(Children::of_one(block)), totals));
                }
                let (mut groups, mut totals, mut blocks) = (Vec::<Arc<Group>>::new(), Totals::default(), 0);
                for at in numbers {
                    let Some(Loaded::Group(group, of_group)) = self.fresh.get(&at) else {
                        return Err(damaged("it names what is no group"));
                    };
                    let is_behind = |last: &Arc<Group>| {
                        group.blocks().first().is_some_and(|first| is_before(last.last_name(), first))
                    };
                    if !groups.last().is_none_or(is_behind) {
                        return Err(damaged("its groups are out of order"));
                    }
                    totals.add(*of_group);
                    blocks += group.blocks().len();
                    groups.push(group.clone());
                }
                match blocks > 1 {
                    true => Ok(Loaded::List(Arc::new(Children::of_groups(groups)), totals)),
                    false => Err(damaged("its blocks are none, or a single one")),
                }
            }
        }
    }

    fn build_beside(&self, object: &Object<'_>) -> Result<Loaded, Damaged> {
        let damaged = |what| object.damaged(what);
        let mut numbers = object.numbers()?;
        let count = numbers.next().ok_or_else(|| damaged("nothing is in it"))?;
        let (mut lists, mut large, mut longest) = (Vec::new(), Vec::new(), Vec::new());
        let mut totals = Totals::default();
        for (index, at) in numbers.enumerate() {
            let below = if at == 0 { None } else { self.fresh.get(&at) };
            match (below, (index as u64) < count) {
                (None, true) if at == 0 => {
                    lists.push(None);
                    longest.push(0);
                }
                (Some(Loaded::List(list, of_list)), true) => {
                    totals.add(*of_list);
                    lists.push(Some(list.clone()));
                    longest.push(u32::try_from(of_list.longest).unwrap_or(u32::MAX));
                }
                (Some(Loaded::Bytes(piece, _)), false) => large.push(piece.clone()),
                _ => return Err(damaged("it names what cannot be beside a block")),
            }
        }
        if lists.len() as u64 != count {
            return Err(damaged("it has fewer lists than it says"));
        }
        let beside = Arc::new(Beside::new(lists.into(), large.into()));
        Ok(Loaded::Beside(beside, totals, longest.into()))
    }

    /// A block of what was loaded.
    fn block(&mut self, bytes: u64, beside: u64, is_root: bool) -> Result<(Block, Totals), Damaged> {
        let damaged = |what| Damaged { at: bytes, what };
        let Some(Loaded::Bytes(piece, known)) = self.fresh.get(&bytes) else {
            return Err(damaged("it is no block"));
        };
        if let (Some(known), 0, false) = (known, beside, is_root) {
            return Ok((Block::of_parts(piece.clone(), None), *known));
        }
        let nothing: (_, _, &[u32]) = (None, Totals::default(), &[]);
        let is_alone = beside == 0;
        let (beside, below, longest) = match (beside, self.fresh.get(&beside)) {
            (0, _) => nothing,
            (_, Some(Loaded::Beside(beside, below, longest))) => (Some(beside.clone()), *below, &**longest),
            _ => return Err(damaged("what is beside it is something else")),
        };
        let block = Block::of_parts(piece.clone(), beside);
        let checked = block.check(is_root, longest).ok_or_else(|| damaged("it is not well-formed"))?;
        let mut totals = below;
        totals.longest = 0;
        totals.add(Totals {
            records: checked.records,
            nodes: checked.nodes,
            bytes: checked.bytes,
            longest: checked.longest,
        });
        if let (Some(Loaded::Bytes(_, known)), true) = (self.fresh.get_mut(&bytes), is_alone && !is_root) {
            *known = Some(totals);
        }
        Ok((block, totals))
    }
}

fn is_before(last: &[u8], block: &Block) -> bool {
    last < block.entry(0).name_bytes()
}
