//! A block: some siblings in order of their names, in one allocation of about 4 KiB.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | how many there are |
//! | 2 | the length of the prefix: how many bytes their names begin with in common, at least |
//! | 2 each | where each record begins |
//! | 4 each | keys: what follows the prefix in each name; as many as fill up sixteen bytes, the last ones of no name |
//! | | the records (`record`) |
//!
//! A search counts the keys below its own, which takes no branches, and compares one name. What is large stands beside
//! the block, and so do child lists: a block of leaves has nothing beside it.

use std::ops::Range;
use std::sync::Arc;

use super::children::Children;
use super::entry::Entry;
use super::footprint::{COUNTED, Footprint, count_if_shared, make_mut};
use super::keys::is_same;
use super::node::NodeRef;
use super::piece::Piece;
use super::record::{self, Draft, Name, Places, Record};

/// How many bytes a block has before it is split: with its counts, and what malloc adds, 4 KiB.
const MOST_BYTES: usize = 4096 - COUNTED - size_of::<usize>();
/// The most records of a block: all their keys are looked at in a search.
pub(super) const MOST_RECORDS: usize = 64;

const HEADER: usize = 4;
const KEY: usize = 4;
const OFFSET: usize = 2;

/// How many keys are compared at once.
const LANE: usize = 4;
type Lane = [[u8; KEY]; LANE];

/// Siblings that follow each other. A clone shares them.
#[derive(Clone)]
pub(super) struct Block {
    bytes: Piece,
    beside: Option<Arc<Beside>>,
}

/// What stands beside a block, each in the order of the records that it belongs to.
#[derive(Clone)]
pub(super) struct Beside {
    /// The child lists. `None`: only room for one.
    lists: Box<[Option<Arc<Children>>]>,
    /// Data, and names with a NUL.
    large: Box<[Piece]>,
}

impl Beside {
    pub(super) fn new(lists: Box<[Option<Arc<Children>>]>, large: Box<[Piece]>) -> Beside {
        Beside { lists, large }
    }

    pub(super) fn lists(&self) -> &[Option<Arc<Children>>] {
        &self.lists
    }

    pub(super) fn large(&self) -> &[Piece] {
        &self.large
    }
}

/// What is in a block that somebody else has written.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) records: u64,
    /// Those that may be read.
    pub(super) nodes: u64,
    /// Bytes of data in these.
    pub(super) bytes: u64,
    /// The longest path of what is here and below, relative to the node whose children these are.
    pub(super) longest: u64,
}

impl Footprint for Beside {
    fn footprint(&self) -> usize {
        COUNTED + size_of::<Beside>() + size_of_val(&*self.lists) + size_of_val(&*self.large)
    }
}

impl Block {
    /// One record.
    pub(super) fn of_one(name: &str, node: Option<NodeRef<'_>>) -> Block {
        let mut builder = Builder::default();
        builder.push(&Draft::new(Name::Inline(name.as_bytes()), node, false), None);
        builder.seal()
    }

    /// Of what somebody else has written. It has to be [checked](Self::check).
    pub(super) fn of_parts(bytes: Piece, beside: Option<Arc<Beside>>) -> Block {
        Block { bytes, beside }
    }

    pub(super) fn parts(&self) -> (&Piece, Option<&Arc<Beside>>) {
        (&self.bytes, self.beside.as_ref())
    }

    /// Looks whether it is a block as it is made here; then no other function reads beyond it, or does not find what is in it.
    /// `is_root`: that of a tree's root, whose name is empty. `longest`: for each list, the longest path below.
    pub(super) fn check(&self, is_root: bool, longest: &[u32]) -> Option<Checked> {
        let bytes = self.bytes.bytes();
        bytes.first_chunk::<HEADER>()?;
        let (len, prefix) = header(bytes);
        if !(1..=MOST_RECORDS).contains(&len) || is_root && len != 1 {
            return None;
        }
        let start = HEADER + OFFSET * len + lanes_len(len);
        if bytes.len() < start || offset(bytes, 0) != start {
            return None;
        }
        let all_keys = keys(bytes, len).as_flattened();
        if all_keys[len..].iter().any(|key| *key != i32::MAX.to_le_bytes()) {
            return None;
        }
        let (mut lists, mut large) = (0, 0);
        let mut checked = Checked { records: len as u64, ..Checked::default() };
        let mut last: Option<&[u8]> = None;
        for (index, written) in all_keys[..len].iter().enumerate() {
            let (begin, end) = (offset(bytes, index), extent(bytes, &(index..index + 1)).1);
            let record = record::check(bytes.get(begin..end)?)?;
            // They stand beside it in the order of the records.
            let mut take_large = |place: Option<u16>| match place {
                None => Some(None),
                Some(place) if usize::from(place) == large => {
                    large += 1;
                    Some(Some(self.beside.as_ref()?.large.get(usize::from(place))?))
                }
                Some(_) => None,
            };
            let (data, name) = (take_large(record.places.data)?, take_large(record.places.name)?);
            if name.is_some_and(|name| name.bytes().last() != Some(&0)) {
                return None;
            }
            let below = match record.places.list {
                None => 0,
                Some(place) if usize::from(place) == lists => {
                    lists += 1;
                    // Nothing is known of what is below a node that may not be read.
                    let is_none = self.beside.as_ref()?.lists.get(usize::from(place))?.is_none();
                    if record.is_opaque && !is_none {
                        return None;
                    }
                    u64::from(*longest.get(usize::from(place))?)
                }
                Some(_) => return None,
            };
            let name = self.entry_in(bytes, index).name_bytes();
            let is_name = std::str::from_utf8(name)
                .is_ok_and(|name| name.is_empty() == is_root && !name.contains(['/', '\0']));
            let has_key = name.get(prefix..).is_some_and(|rest| key(rest).to_le_bytes() == *written);
            let follows = last.is_none_or(|last| last < name && last.get(..prefix) == name.get(..prefix));
            if !is_name || !has_key || !follows {
                return None;
            }
            last = Some(name);
            checked.nodes += u64::from(!record.is_opaque);
            checked.bytes += data.map_or(record.data_len, |data| data.bytes().len()) as u64;
            checked.longest = checked.longest.max(name.len() as u64 + u64::from(below > 0) + below);
        }
        let beside = self.beside.as_ref().map_or((0, 0), |beside| (beside.lists.len(), beside.large.len()));
        let is_needed = self.beside.is_none() || beside != (0, 0);
        (is_needed && beside == (lists, large) && longest.len() == lists).then_some(checked)
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        header(self.bytes.bytes()).0
    }

    /// Where the last record ends.
    pub(super) fn end_of_records(&self) -> usize {
        self.bytes.bytes().len()
    }

    #[inline]
    pub(super) fn record(&self, at: usize) -> Record<'_> {
        Record::new(&self.bytes.bytes()[at..])
    }

    #[inline]
    pub(super) fn entry(&self, index: usize) -> Entry<'_> {
        let bytes = self.bytes.bytes();
        self.entry_in(bytes, index)
    }

    /// As [`entry`](Self::entry), where it is not known whether there are so many.
    #[inline]
    pub(super) fn entry_if_any(&self, index: usize) -> Option<Entry<'_>> {
        let bytes = self.bytes.bytes();
        (index < header(bytes).0).then(|| self.entry_in(bytes, index))
    }

    /// As [`entry`](Self::entry), for one who has the bytes at hand.
    #[inline]
    fn entry_in<'b>(&'b self, bytes: &'b [u8], index: usize) -> Entry<'b> {
        Entry::of(self, Record::new(&bytes[offset(bytes, index)..]))
    }

    pub(super) fn last_entry(&self) -> Option<Entry<'_>> {
        self.len().checked_sub(1).map(|last| self.entry(last))
    }

    pub(super) fn last_name(&self) -> &[u8] {
        self.last_entry().map_or(&[], |last| last.name_bytes())
    }

    /// The child list at a place, if there is one there.
    #[inline]
    pub(super) fn list(&self, place: u16) -> Option<&Arc<Children>> {
        self.beside.as_ref()?.lists.get(usize::from(place))?.as_ref()
    }

    /// Data or a name that stands beside the block.
    pub(super) fn large(&self, place: u16) -> &Piece {
        let large = self.beside.as_ref().and_then(|beside| beside.large.get(usize::from(place)));
        large.expect("what is large is beside the block")
    }

    /// Whether both are one block with one thing beside it: nothing was changed between the two.
    pub(super) fn is(&self, other: &Block) -> bool {
        let is_same_beside = match (&self.beside, &other.beside) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        is_same_beside && self.has_bytes_of(other)
    }

    /// Whether both share their records, though not what is below these.
    pub(super) fn has_bytes_of(&self, other: &Block) -> bool {
        self.bytes.is(&other.bytes)
    }

    /// Finds a name: its index and its entry. (If this, `Children::find` and `Entry::name_bytes` are functions of their own,
    /// records go through memory in between, and a search takes almost twice as long.)
    #[inline(always)]
    pub(super) fn find(&self, name: &[u8]) -> Option<(usize, Entry<'_>)> {
        let bytes = self.bytes.bytes();
        let (len, prefix) = header(bytes);
        let key = key(name.get(prefix..)?);
        let first = count_below(keys(bytes, len), key);
        if first == len {
            return None;
        }
        let entry = self.entry_in(bytes, first);
        if is_same(entry.name_bytes(), name) {
            return Some((first, entry));
        }
        self.find_alike(name, key, first, len)
    }

    /// As [`find`](Self::find), among names that have the same key.
    #[cold]
    fn find_alike(&self, name: &[u8], key: i32, first: usize, len: usize) -> Option<(usize, Entry<'_>)> {
        let all = keys(self.bytes.bytes(), len);
        let behind = key.checked_add(1).map_or(len, |above| count_below(all, above));
        self.search_in(first..behind, name).ok().map(|index| (index, self.entry(index)))
    }

    /// Where a name is, or else where it belongs.
    pub(super) fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.search_in(0..self.len(), name)
    }

    /// Where a name belongs that is not here.
    pub(super) fn place(&self, name: &[u8]) -> usize {
        self.search(name).unwrap_or_else(|index| index)
    }

    fn search_in(&self, Range { mut start, mut end }: Range<usize>, name: &[u8]) -> Result<usize, usize> {
        while start < end {
            let middle = (start + end) / 2;
            match self.entry(middle).name_bytes().cmp(name) {
                std::cmp::Ordering::Less => start = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => end = middle,
            }
        }
        Err(start)
    }

    /// Whether it has to be split.
    pub(super) fn is_too_large(&self) -> bool {
        self.len() > MOST_RECORDS || self.end_of_records() > MOST_BYTES && self.len() > 1
    }

    /// Whether it should be joined with a neighbour.
    pub(super) fn is_small(&self) -> bool {
        self.end_of_records() < MOST_BYTES / 4
    }

    /// Whether there is room in one block for both, and for some more.
    pub(super) fn has_room_for(&self, other: &Block) -> bool {
        self.end_of_records() + other.end_of_records() <= MOST_BYTES / 2
            && self.len() + other.len() <= MOST_RECORDS / 2
    }

    // --- Edits: the size of what this block and others share, and does not go on to hold, is added to `let_go` -----

    /// Gives a record another node. What is below stays.
    pub(super) fn replace(&mut self, index: usize, node: Option<NodeRef<'_>>, let_go: &mut u64) {
        let old = self.entry(index);
        let record = old.record();
        let draft = Draft::new(old.stored_name(), node, record.list_place().is_some());
        if record.is_alike_beside(&draft) {
            let mut bytes = Vec::with_capacity(draft.len());
            draft.write(record.places(), &mut bytes);
            let key = i32::from_le_bytes(keys(self.bytes.bytes(), self.len()).as_flattened()[index]);
            self.splice(index..index + 1, Some((key, &bytes)), let_go);
        } else {
            let new = self.built(0..index, Some((&draft, old.children())), index + 1..self.len());
            self.become_block(new, let_go);
        }
    }

    /// Puts a record with its key, or none, in the place of those in `range`, of which there is one or none. Nothing of
    /// theirs may be beside the block, unless the new one has the same there.
    fn splice(&mut self, range: Range<usize>, new: Option<(i32, &[u8])>, let_go: &mut u64) {
        let (key, record) = new.unzip();
        let record = record.unwrap_or_default();
        let (start, end) = extent(self.bytes.bytes(), &range);
        if range.len() == usize::from(new.is_some())
            && record.len() == end - start
            && let Some(bytes) = self.bytes.get_mut()
        {
            return bytes[start..end].copy_from_slice(record);
        }
        let bytes = self.bytes.bytes();
        let ((len, prefix), first) = (header(bytes), offset(bytes, 0));
        let (mut keys, mut offsets) = (Vec::with_capacity(len + 1), Vec::with_capacity(len + 1));
        let old_keys = self::keys(bytes, len).as_flattened();
        keys.extend(old_keys[..range.start].iter().map(|key| i32::from_le_bytes(*key)));
        keys.extend(key);
        keys.extend(old_keys[range.end..len].iter().map(|key| i32::from_le_bytes(*key)));
        offsets.extend((0..range.start).map(|index| offset(bytes, index) - first));
        offsets.extend(key.map(|_| start - first));
        let moved = |index| offset(bytes, index) - first - (end - start) + record.len();
        offsets.extend((range.end..len).map(moved));
        let records = [&bytes[first..start], record, &bytes[end..]];
        let spliced = assemble(prefix, &offsets, &keys, &records);
        self.bytes.count_if_shared(let_go);
        self.bytes = spliced.into();
    }

    /// Whether the record of a draft may be put in as it is: the keys stay, and nothing goes beside the block.
    fn takes(&self, draft: &Draft<'_>) -> bool {
        let (len, prefix) = header(self.bytes.bytes());
        let begins = |name: &[u8]| self.entry(0).name_bytes().get(..prefix) == name.get(..prefix);
        // A single name has a prefix that is hardly another's.
        len > 1 && !draft.has_beside() && begins(draft.name())
    }

    /// The child list of a record, to be changed; `None` if there is no room for one.
    pub(super) fn list_mut(&mut self, index: usize, let_go: &mut u64) -> Option<&mut Option<Arc<Children>>> {
        let place = self.entry(index).record().list_place()?;
        make_mut(self.beside.as_mut()?, let_go).lists.get_mut(usize::from(place))
    }

    /// Makes room for a child list.
    pub(super) fn make_room(&mut self, index: usize, let_go: &mut u64) {
        let old = self.entry(index);
        if old.record().list_place().is_none() {
            let draft = Draft::new(old.stored_name(), old.node(), true);
            let new = self.built(0..index, Some((&draft, None)), index + 1..self.len());
            self.become_block(new, let_go);
        }
    }

    pub(super) fn insert(&mut self, index: usize, name: &str, node: Option<NodeRef<'_>>, let_go: &mut u64) {
        let draft = Draft::new(Name::Inline(name.as_bytes()), node, false);
        if self.takes(&draft) {
            let mut bytes = Vec::with_capacity(draft.len());
            draft.write(Places::default(), &mut bytes);
            let key = key(&name.as_bytes()[header(self.bytes.bytes()).1..]);
            self.splice(index..index, Some((key, &bytes)), let_go);
        } else {
            let new = self.built(0..index, Some((&draft, None)), index..self.len());
            self.become_block(new, let_go);
        }
    }

    pub(super) fn remove(&mut self, index: usize, let_go: &mut u64) {
        if self.len() > 2 && !self.entry(index).record().has_beside() {
            self.splice(index..index + 1, None, let_go);
        } else {
            let new = self.built(0..index, None, index + 1..self.len());
            self.become_block(new, let_go);
        }
    }

    /// Cuts a part off its end, and returns that: a half, or one record `at_end`.
    pub(super) fn split_off(&mut self, at_end: bool, let_go: &mut u64) -> Block {
        let (len, bytes) = (self.len(), self.bytes.bytes());
        let middle = (offset(bytes, 0) + bytes.len()) / 2;
        let half = (0..len).find(|index| offset(bytes, *index) >= middle).unwrap_or(len);
        let at = if at_end { len - 1 } else { half.clamp(1, len - 1) };
        let tail = self.built(at..len, None, len..len);
        let head = self.built(0..at, None, at..at);
        self.become_block(head, let_go);
        tail
    }

    /// Takes in what another block has; the names there are all above those here.
    pub(super) fn append(&mut self, other: &Block, let_go: &mut u64) {
        let mut builder = Builder::default();
        builder.copy(self, 0..self.len());
        builder.copy(other, 0..other.len());
        other.count_if_shared(let_go);
        self.become_block(builder.seal(), let_go);
    }

    /// A block of records that are here, with one more between them.
    fn built(
        &self,
        before: Range<usize>,
        new: Option<(&Draft<'_>, Option<&Arc<Children>>)>,
        after: Range<usize>,
    ) -> Block {
        let mut builder = Builder::default();
        builder.records.reserve(self.end_of_records() + new.map_or(0, |(draft, _)| draft.len()));
        builder.copy(self, before);
        if let Some((draft, list)) = new {
            builder.push(draft, list.cloned());
        }
        builder.copy(self, after);
        builder.seal()
    }

    fn become_block(&mut self, new: Block, let_go: &mut u64) {
        self.count_if_shared(let_go);
        *self = new;
    }

    /// Adds what others hold too; to be called before it is dropped.
    pub(super) fn count_if_shared(&self, let_go: &mut u64) {
        self.bytes.count_if_shared(let_go);
        if let Some(beside) = &self.beside {
            count_if_shared(beside, let_go);
        }
    }

    /// About what goes with the last reference to it, without what is large and what is below.
    pub(super) fn footprint(&self) -> usize {
        self.bytes.footprint() + self.beside.as_ref().map_or(0, |beside| beside.footprint())
    }

    /// Takes out the child lists, if nobody else holds them: they go with this block.
    pub(super) fn into_lists(self) -> impl Iterator<Item = Children> {
        let beside = self.beside.and_then(Arc::into_inner);
        beside.into_iter().flat_map(|beside| beside.lists).flatten().filter_map(Arc::into_inner)
    }

    /// Whether child lists may go with it.
    pub(super) fn has_beside(&self) -> bool {
        self.beside.is_some()
    }
}

// --- What is where in a block's bytes. (Who has them at hand need not ask the block for them again.) -----------------

/// How many records there are, and the length of the prefix.
#[inline]
fn header(bytes: &[u8]) -> (usize, usize) {
    let [a, b, c, d] = bytes.first_chunk().expect("a block has a header");
    (u16::from_le_bytes([*a, *b]).into(), u16::from_le_bytes([*c, *d]).into())
}

#[inline]
fn keys(bytes: &[u8], len: usize) -> &[Lane] {
    let start = HEADER + OFFSET * len;
    bytes[start..start + lanes_len(len)].as_chunks().0.as_chunks().0
}

/// Where a record begins.
#[inline]
fn offset(bytes: &[u8], index: usize) -> usize {
    let at = HEADER + OFFSET * index;
    let offset: &[u8] = &bytes[at..at + OFFSET];
    u16::from_le_bytes([offset[0], offset[1]]).into()
}

/// Where records begin and end. Where there are none: where they would be.
fn extent(bytes: &[u8], range: &Range<usize>) -> (usize, usize) {
    let len = header(bytes).0;
    let begin = |index| if index < len { offset(bytes, index) } else { bytes.len() };
    (begin(range.start), begin(range.end))
}

/// Builds blocks of records that come in the order of their names.
#[derive(Default)]
pub(super) struct Builder {
    records: Vec<u8>,
    /// Where each begins in `records`.
    offsets: Vec<u16>,
    lists: Vec<Option<Arc<Children>>>,
    large: Vec<Piece>,
}

impl Builder {
    /// One that need not grow for a block.
    pub(super) fn roomy() -> Builder {
        let (records, offsets) = (Vec::with_capacity(MOST_BYTES), Vec::with_capacity(MOST_RECORDS));
        Builder { records, offsets, ..Builder::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Whether a block of what was pushed has room for one more.
    pub(super) fn has_room_for(&self, draft: &Draft<'_>) -> bool {
        let records = self.offsets.len() + 1;
        let len = HEADER + lanes_len(records) + OFFSET * records + self.records.len() + draft.len();
        records == 1 || len <= MOST_BYTES && records <= MOST_RECORDS
    }

    pub(super) fn push(&mut self, draft: &Draft<'_>, list: Option<Arc<Children>>) {
        self.offsets.push(self.records.len() as u16);
        let places = Places {
            list: draft.has_room().then(|| push(&mut self.lists, list)),
            data: draft.large_data().map(|data| push(&mut self.large, data.to_shared().into())),
            name: draft.long_name().map(|name| push(&mut self.large, name.to_shared())),
        };
        draft.write(places, &mut self.records);
    }

    /// Pushes all records of a block.
    pub(super) fn copy_all(&mut self, block: &Block) {
        self.copy(block, 0..block.len());
    }

    /// Pushes records of a block.
    fn copy(&mut self, block: &Block, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let bytes = block.bytes.bytes();
        let (start, end) = extent(bytes, &range);
        let base = self.records.len();
        self.records.extend_from_slice(&bytes[start..end]);
        for index in range {
            let at = base + offset(bytes, index) - start;
            self.offsets.push(at as u16);
            if block.entry(index).record().has_beside() {
                self.copy_beside(block, index, at);
            }
        }
    }

    /// Copies what a record has beside its block, for the copy `at` this place.
    fn copy_beside(&mut self, block: &Block, index: usize, at: usize) {
        let entry = block.entry(index);
        let old = entry.record().places();
        let places = Places {
            list: old.list.map(|_| push(&mut self.lists, entry.children().cloned())),
            data: old.data.map(|place| push(&mut self.large, block.large(place).clone())),
            name: old.name.map(|place| push(&mut self.large, block.large(place).clone())),
        };
        record::relocate(&mut self.records[at..], places);
    }

    fn name(&self, index: usize) -> &[u8] {
        let record = Record::new(&self.records[usize::from(self.offsets[index])..]);
        match record.name_place() {
            None => record.name(),
            Some(place) => record::without_nul(self.large[usize::from(place)].bytes()),
        }
    }

    /// The name that was pushed last.
    pub(super) fn last_name(&self) -> Option<&[u8]> {
        self.offsets.len().checked_sub(1).map(|last| self.name(last))
    }

    /// How many bytes all names begin with in common. A single name keeps some for its key.
    fn prefix(&self) -> usize {
        let common = match self.offsets.len() {
            0 => 0,
            1 => self.name(0).len().saturating_sub(KEY),
            len => self.name(0).iter().zip(self.name(len - 1)).take_while(|(a, b)| a == b).count(),
        };
        common.min(u16::MAX.into())
    }

    /// The block of what was pushed, which is forgotten here.
    pub(super) fn seal(&mut self) -> Block {
        let prefix = self.prefix();
        let offsets: Vec<usize> = self.offsets.iter().map(|offset| usize::from(*offset)).collect();
        let keys: Vec<i32> = (0..offsets.len()).map(|index| key(&self.name(index)[prefix..])).collect();
        let bytes = assemble(prefix, &offsets, &keys, &[&self.records]);
        self.records.clear();
        self.offsets.clear();
        let beside = Beside {
            lists: std::mem::take(&mut self.lists).into(),
            large: std::mem::take(&mut self.large).into(),
        };
        let is_alone = beside.lists.is_empty() && beside.large.is_empty();
        Block { bytes: bytes.into(), beside: (!is_alone).then(|| Arc::new(beside)) }
    }
}

/// Pushes something, and says where it is now.
fn push<T>(all: &mut Vec<T>, one: T) -> u16 {
    all.push(one);
    all.len() as u16 - 1
}

/// The bytes of a block. Offsets are those in `records`, the parts of which follow each other.
fn assemble(prefix: usize, offsets: &[usize], keys: &[i32], records: &[&[u8]]) -> Arc<[u8]> {
    let start = HEADER + OFFSET * offsets.len() + lanes_len(keys.len());
    let mut bytes = Vec::with_capacity(start + records.iter().map(|part| part.len()).sum::<usize>());
    bytes.resize(start, 0);
    let (header, rest) = bytes.split_at_mut(HEADER);
    header[..2].copy_from_slice(&(offsets.len() as u16).to_le_bytes());
    header[2..].copy_from_slice(&(prefix as u16).to_le_bytes());
    let (offset_bytes, key_bytes) = rest.split_at_mut(OFFSET * offsets.len());
    for (to, offset) in offset_bytes.as_chunks_mut().0.iter_mut().zip(offsets) {
        *to = ((start + offset) as u16).to_le_bytes();
    }
    // Behind the keys there is what is below none.
    let (key_bytes, behind) = key_bytes.as_chunks_mut().0.split_at_mut(keys.len());
    for (to, key) in key_bytes.iter_mut().zip(keys) {
        *to = key.to_le_bytes();
    }
    behind.fill(i32::MAX.to_le_bytes());
    records.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.into()
}

/// How many bytes so many keys take, whole lanes of them.
#[inline]
fn lanes_len(keys: usize) -> usize {
    KEY * keys.next_multiple_of(LANE)
}

/// The first bytes as a number that orders as they do. One name may be the beginning of another: it orders before it, or
/// as it does. It is signed, which is what processors compare many of at once.
#[inline]
fn key(bytes: &[u8]) -> i32 {
    let unsigned = match bytes.first_chunk() {
        Some(first) => u32::from_be_bytes(*first),
        None => bytes.iter().rev().fold(0, |key, byte| key >> 8 | u32::from(*byte) << 24),
    };
    (unsigned ^ 1 << 31).cast_signed()
}

/// How many keys are below another one. There are few, so that looking at all of them is faster than a search.
#[inline]
fn count_below(keys: &[Lane], key: i32) -> usize {
    let mut counts = [0; LANE];
    for lane in keys {
        for (count, other) in counts.iter_mut().zip(lane) {
            *count += u32::from(i32::from_le_bytes(*other) < key);
        }
    }
    counts.iter().sum::<u32>() as usize
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Whether numbers of 16 bits reach everywhere by far. (A half of what was too large may be too large, too.)
    pub(in crate::tree) fn is_bounded(block: &Block) -> bool {
        (1..=MOST_RECORDS).contains(&block.len()) && block.end_of_records() <= 2 * MOST_BYTES
    }

    /// Each allocation that a block holds, and its size, without child lists.
    pub(in crate::tree) fn pieces(block: &Block) -> Vec<(usize, usize)> {
        let mut pieces = vec![(block.bytes.bytes().as_ptr().addr(), block.bytes.footprint())];
        if let Some(beside) = &block.beside {
            pieces.push((Arc::as_ptr(beside).addr(), beside.footprint()));
            pieces
                .extend(beside.large.iter().map(|large| (large.bytes().as_ptr().addr(), large.footprint())));
        }
        pieces
    }
}
