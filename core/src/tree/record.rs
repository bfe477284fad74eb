//! One node as it lies in a block: its Stat without what most nodes have in common, its name and its data.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the head, four numbers of 16 bits: flags, length of the name, where the data begins, length of the data |
//! | 2 each | what is kept beside the block: the places of the child list, of the data, of the name |
//! | 16 to 68 | the Stat: czxid and ctime, and the fields that are not what they usually are |
//! | | the name, and a NUL, so that C can borrow it as it stands |
//! | | the data |
//!
//! All numbers are little-endian. Data and names of more than [`LONGEST`] bytes stand beside the block, so that numbers
//! of 16 bits reach everywhere in it. A node that may not be read has neither Stat nor data. Whatever is put in comes
//! out again: no value of any field is special.

use super::node::{Bytes, NodeRef};
use super::piece::Piece;
use crate::stat::{Stat, Zxid};

/// The most bytes of data, or of a name, that stand in the block itself.
pub(super) const LONGEST: usize = 1024;

/// The most bytes that the fields of a Stat take.
const LONGEST_STAT: usize = 68;
const HEAD: usize = 8;

// Which fields of the Stat are not what they usually are: first those of eight bytes, then those of four.
const MZXID: u16 = 1;
const PZXID: u16 = 1 << 1;
const MTIME: u16 = 1 << 2;
const OWNER: u16 = 1 << 3;
const VERSION: u16 = 1 << 4;
const CVERSION: u16 = 1 << 5;
const AVERSION: u16 = 1 << 6;
const NUM_CHILDREN: u16 = 1 << 7;
const DATA_LENGTH: u16 = 1 << 8;
/// There is room for a child list beside the block, which may be empty.
const ROOM: u16 = 1 << 9;
/// The data stands beside the block.
const LARGE: u16 = 1 << 10;
/// The name stands beside the block.
const LONG_NAME: u16 = 1 << 11;
/// The session may not read the node.
const OPAQUE: u16 = 1 << 12;
/// The data is not kept.
const NOT_KEPT: u16 = 1 << 13;

const BESIDE: u16 = ROOM | LARGE | LONG_NAME;

/// A name as a record takes it.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    /// Without a NUL.
    Inline(&'a [u8]),
    /// One that stands beside its block already, with a NUL behind it.
    Beside(&'a Piece),
}

impl<'a> Name<'a> {
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Name::Inline(name) => name,
            Name::Beside(name) => without_nul(name.bytes()),
        }
    }

    /// With a NUL behind it. A name that stands beside its block already is not copied.
    pub(super) fn to_shared(self) -> Piece {
        match self {
            Name::Inline(name) => Piece::Own([name, b"\0"].concat().into()),
            Name::Beside(name) => name.clone(),
        }
    }
}

/// What a name is that has a NUL behind it.
pub(super) fn without_nul(name: &[u8]) -> &[u8] {
    name.split_last().map_or(name, |(_, name)| name)
}

/// Where something of a record is, among what stands beside its block.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) list: Option<u16>,
    pub(super) data: Option<u16>,
    pub(super) name: Option<u16>,
}

/// A record that is to be written.
pub(super) struct Draft<'a> {
    flags: u16,
    fields: [u8; LONGEST_STAT],
    fields_len: usize,
    name: Name<'a>,
    data: Bytes<'a>,
}

impl<'a> Draft<'a> {
    /// Of a node, or of one that may not be read. One that has children, by its Stat, gets room for their list.
    pub(super) fn new(name: Name<'a>, node: Option<NodeRef<'a>>, with_room: bool) -> Draft<'a> {
        let data = node.map_or(Bytes::Lent(&[]), |node| node.bytes());
        let mut draft = Draft { flags: 0, fields: [0; LONGEST_STAT], fields_len: 0, name, data };
        match &node {
            Some(node) => draft.write_fields(node.stat()),
            None => draft.flags |= OPAQUE,
        }
        let has_children = node.is_some_and(|node| node.stat().num_children > 0);
        draft.set(ROOM, with_room || has_children);
        draft.set(LARGE, data.as_slice().len() > LONGEST);
        draft.set(NOT_KEPT, matches!(data, Bytes::NotKept));
        draft.set(LONG_NAME, name.bytes().len() > LONGEST);
        draft
    }

    fn set(&mut self, flag: u16, is_so: bool) {
        self.flags |= if is_so { flag } else { 0 };
    }

    fn write_fields(&mut self, stat: &Stat) {
        self.write_field(&stat.czxid.0.to_le_bytes());
        self.write_field(&stat.ctime.to_le_bytes());
        let usual = usual(stat.czxid, stat.ctime, self.data.as_slice().len());
        for (flag, value, usual) in [
            (MZXID, stat.mzxid.0, usual.mzxid.0),
            (PZXID, stat.pzxid.0, usual.pzxid.0),
            (MTIME, stat.mtime, usual.mtime),
            (OWNER, stat.ephemeral_owner, usual.ephemeral_owner),
        ] {
            if value != usual {
                self.flags |= flag;
                self.write_field(&value.to_le_bytes());
            }
        }
        for (flag, value, usual) in [
            (VERSION, stat.version, usual.version),
            (CVERSION, stat.cversion, usual.cversion),
            (AVERSION, stat.aversion, usual.aversion),
            (NUM_CHILDREN, stat.num_children, usual.num_children),
            (DATA_LENGTH, stat.data_length, usual.data_length),
        ] {
            if value != usual {
                self.flags |= flag;
                self.write_field(&value.to_le_bytes());
            }
        }
    }

    fn write_field(&mut self, bytes: &[u8]) {
        self.fields[self.fields_len..][..bytes.len()].copy_from_slice(bytes);
        self.fields_len += bytes.len();
    }

    pub(super) fn name(&self) -> &'a [u8] {
        self.name.bytes()
    }

    /// Whether it has something beside the block, or room for it.
    pub(super) fn has_beside(&self) -> bool {
        self.flags & BESIDE != 0
    }

    pub(super) fn has_room(&self) -> bool {
        self.flags & ROOM != 0
    }

    /// The data, if it is to stand beside the block.
    pub(super) fn large_data(&self) -> Option<Bytes<'a>> {
        (self.flags & LARGE != 0).then_some(self.data)
    }

    /// The name, if it is to stand beside the block.
    pub(super) fn long_name(&self) -> Option<Name<'a>> {
        (self.flags & LONG_NAME != 0).then_some(self.name)
    }

    /// How many bytes [`write`](Self::write) will write.
    pub(super) fn len(&self) -> usize {
        self.data_at() + self.inline_data().len()
    }

    fn data_at(&self) -> usize {
        let name = self.inline_name().map_or(0, |name| name.len() + 1);
        HEAD + beside_len(self.flags) + self.fields_len + name
    }

    fn inline_name(&self) -> Option<&'a [u8]> {
        (self.flags & LONG_NAME == 0).then(|| self.name.bytes())
    }

    fn inline_data(&self) -> &'a [u8] {
        if self.flags & LARGE == 0 { self.data.as_slice() } else { &[] }
    }

    pub(super) fn write(&self, places: Places, out: &mut Vec<u8>) {
        let (name, data) = (self.inline_name(), self.inline_data());
        let head = [self.flags, name.map_or(0, <[u8]>::len) as u16, self.data_at() as u16, data.len() as u16];
        out.extend(head.iter().flat_map(|number| number.to_le_bytes()));
        for place in [places.list, places.data, places.name].into_iter().flatten() {
            out.extend_from_slice(&place.to_le_bytes());
        }
        out.extend_from_slice(&self.fields[..self.fields_len]);
        if let Some(name) = name {
            out.extend_from_slice(name);
            out.push(0);
        }
        out.extend_from_slice(data);
    }
}

/// A record in its block.
#[derive(Clone, Copy)]
pub(super) struct Record<'b> {
    /// Begins with the record; what follows is not its.
    bytes: &'b [u8],
    head: u64,
}

impl<'b> Record<'b> {
    /// Of bytes that begin with one.
    #[inline]
    pub(super) fn new(bytes: &'b [u8]) -> Record<'b> {
        let head = bytes.first_chunk::<HEAD>().expect("a record has a head");
        Record { bytes, head: u64::from_le_bytes(*head) }
    }

    #[inline]
    fn flags(&self) -> u16 {
        self.head as u16
    }

    #[inline]
    fn name_len(&self) -> usize {
        (self.head >> 16) as u16 as usize
    }

    #[inline]
    fn data_at(&self) -> usize {
        (self.head >> 32) as u16 as usize
    }

    #[inline]
    fn data_len(&self) -> usize {
        (self.head >> 48) as u16 as usize
    }

    fn len(&self) -> usize {
        self.data_at() + self.data_len()
    }

    /// How many bytes the block has from here on.
    pub(super) fn rest(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.flags() & OPAQUE != 0
    }

    /// Whether it has something beside the block, or room for it.
    pub(super) fn has_beside(&self) -> bool {
        self.flags() & BESIDE != 0
    }

    /// Whether a draft has the same things beside the block, of which none would have to be replaced.
    pub(super) fn is_alike_beside(&self, draft: &Draft<'_>) -> bool {
        self.flags() & BESIDE == draft.flags & BESIDE && draft.flags & (LARGE | LONG_NAME) == 0
    }

    #[inline]
    fn place(&self, flag: u16) -> Option<u16> {
        if self.flags() & flag == 0 {
            return None;
        }
        let at = HEAD + beside_len(self.flags() & (flag - 1));
        Some(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    pub(super) fn places(&self) -> Places {
        Places { list: self.place(ROOM), data: self.place(LARGE), name: self.place(LONG_NAME) }
    }

    #[inline]
    pub(super) fn list_place(&self) -> Option<u16> {
        self.place(ROOM)
    }

    #[inline]
    pub(super) fn data_place(&self) -> Option<u16> {
        self.place(LARGE)
    }

    #[inline]
    pub(super) fn name_place(&self) -> Option<u16> {
        self.place(LONG_NAME)
    }

    /// Without the NUL; empty if the name stands beside the block.
    #[inline]
    pub(super) fn name(&self) -> &'b [u8] {
        let end = self.data_at() - usize::from(self.flags() & LONG_NAME == 0);
        &self.bytes[end - self.name_len()..end]
    }

    pub(super) fn name_with_nul(&self) -> &'b [u8] {
        let end = self.data_at();
        let len = self.name_len() + usize::from(self.flags() & LONG_NAME == 0);
        &self.bytes[end - len..end]
    }

    /// Whether there is no data because it is not kept.
    #[inline]
    pub(super) fn keeps_no_data(&self) -> bool {
        self.flags() & NOT_KEPT != 0
    }

    /// Empty if the data stands beside the block.
    #[inline]
    pub(super) fn data(&self) -> &'b [u8] {
        &self.bytes[self.data_at()..][..self.data_len()]
    }

    fn fields_at(&self) -> usize {
        HEAD + beside_len(self.flags())
    }

    /// The Stat, unless the node may not be read; `data_len` is how long its data is.
    pub(super) fn stat(&self, data_len: usize) -> Option<Stat> {
        if self.is_opaque() {
            return None;
        }
        let flags = self.flags();
        let mut fields = &self.bytes[self.fields_at()..];
        let (czxid, ctime) =
            (Zxid(i64::from_le_bytes(take(&mut fields))), i64::from_le_bytes(take(&mut fields)));
        let mut stat = usual(czxid, ctime, data_len);
        for (flag, field) in [
            (MZXID, &mut stat.mzxid.0),
            (PZXID, &mut stat.pzxid.0),
            (MTIME, &mut stat.mtime),
            (OWNER, &mut stat.ephemeral_owner),
        ] {
            if flags & flag != 0 {
                *field = i64::from_le_bytes(take(&mut fields));
            }
        }
        for (flag, field) in [
            (VERSION, &mut stat.version),
            (CVERSION, &mut stat.cversion),
            (AVERSION, &mut stat.aversion),
            (NUM_CHILDREN, &mut stat.num_children),
            (DATA_LENGTH, &mut stat.data_length),
        ] {
            if flags & flag != 0 {
                *field = i32::from_le_bytes(take(&mut fields));
            }
        }
        Some(stat)
    }

    /// Whether both have the same bytes, but for what they have beside their blocks. If not, they may still say the
    /// same, as one has room for a child list and the other has not.
    pub(super) fn is_written_as(&self, other: &Record<'_>) -> bool {
        let own = |record: &Record<'b>| &record.bytes[record.fields_at()..record.len()];
        self.head == other.head && own(self) == &other.bytes[other.fields_at()..other.len()]
    }
}

/// What is in a record that somebody else has written, as far as it has to be known to hold it against its block.
pub(super) struct Checked {
    pub(super) is_opaque: bool,
    /// Bytes of data in the block itself.
    pub(super) data_len: usize,
    pub(super) places: Places,
}

/// Looks whether `bytes` are one record, whole and nothing else: then no function here reads beyond it. Its name is looked at
/// by the caller.
pub(super) fn check(bytes: &[u8]) -> Option<Checked> {
    const EIGHT: u16 = MZXID | PZXID | MTIME | OWNER;
    const FOUR: u16 = VERSION | CVERSION | AVERSION | NUM_CHILDREN | DATA_LENGTH;
    bytes.first_chunk::<HEAD>()?;
    let record = Record::new(bytes);
    let flags = record.flags();
    let stat = match record.is_opaque() {
        true if flags & !(OPAQUE | ROOM | LONG_NAME) != 0 => return None,
        true => 0,
        false => 16 + 8 * (flags & EIGHT).count_ones() as usize + 4 * (flags & FOUR).count_ones() as usize,
    };
    let is_inline = flags & LONG_NAME == 0;
    let name = if is_inline { record.name_len() + 1 } else { 0 };
    let beside = flags & (LARGE | NOT_KEPT) != 0;
    let is_whole = flags & !(EIGHT | FOUR | BESIDE | OPAQUE | NOT_KEPT) == 0
        && (is_inline || record.name_len() == 0)
        && !(beside && record.data_len() > 0)
        && flags & (LARGE | NOT_KEPT) != LARGE | NOT_KEPT
        && record.data_at() == record.fields_at() + stat + name
        && record.len() == bytes.len();
    // What is read below is within the record.
    (is_whole && (!is_inline || bytes[record.data_at() - 1] == 0)).then(|| Checked {
        is_opaque: record.is_opaque(),
        data_len: record.data_len(),
        places: record.places(),
    })
}

/// How many bytes tell where that is which stands beside the block.
#[inline]
fn beside_len(flags: u16) -> usize {
    // Not every processor that this is built for can count bits.
    let one_if = |flag| usize::from(flags & flag != 0);
    2 * (one_if(ROOM) + one_if(LARGE) + one_if(LONG_NAME))
}

/// Writes other places into a record of the same things beside the block.
pub(super) fn relocate(record: &mut [u8], places: Places) {
    let mut at = HEAD;
    for place in [places.list, places.data, places.name].into_iter().flatten() {
        record[at..at + 2].copy_from_slice(&place.to_le_bytes());
        at += 2;
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (first, rest) = bytes.split_first_chunk().expect("a record has the fields that its flags name");
    *bytes = rest;
    *first
}

/// The Stat of a node that was created so, with data of that length, and never changed.
fn usual(czxid: Zxid, ctime: i64, data_len: usize) -> Stat {
    let data_length = data_len as i32;
    Stat { czxid, mzxid: czxid, pzxid: czxid, ctime, mtime: ctime, data_length, ..Stat::default() }
}
