//! A tree as a file that other processes read: what is in it beside the tree's objects, and when it is believed.
//!
//! `docs/share-format.md` is the format, byte by byte. There are two files. The *share file* begins with a [`Header`], which
//! stays; two places for a [`Root`], which are written in turns; and the [`Identity`] of the tree. Then there are the tree's
//! objects, which [`Appender`] writes and [`Loader`] reads. The *side file* is a [`Page`]: how the writer stands, and when a
//! server was last heard.
//!
//! Nothing here reads or writes a file: bytes come in, bytes go out. Whatever bytes come in, what comes out is as it was
//! written, or it is refused.

use std::time::Duration;

use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::selection::Selection;
use crate::stat::Zxid;
use crate::state::State;
use crate::sync::Data;
use crate::tree::{Stored, Version};

pub use crate::tree::{Appender, Damaged, Keeper, Loader, OBJECTS_AT, Written, checksum};

/// The version of the format. A file of another one is refused.
pub const FORMAT: u32 = 1;

/// Where the two places for roots begin: in sectors of their own.
pub const ROOTS_AT: [u64; 2] = [1024, 2048];

const MAGIC: &[u8; 8] = b"treeshar";
const PAGE_MAGIC: &[u8; 8] = b"treeside";

/// An object that is the tree's identity.
const IDENTITY: u32 = 16;

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is something else.
    #[error("it is no shared tree")]
    Foreign,
    /// It is of another version of the library.
    #[error("it has format {0}, and this version of the library reads format {FORMAT}")]
    OtherFormat(u32),
    /// It is not as it was written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

fn damaged(at: u64, what: &'static str) -> Refused {
    Refused::Damaged(Damaged { at, what })
}

/// Numbers of eight bytes, one behind the other.
struct Numbers<'b>(&'b [u8]);

impl Numbers<'_> {
    /// 0 where there is none left.
    fn next(&mut self) -> u64 {
        let Some((number, rest)) = self.0.split_first_chunk() else { return 0 };
        self.0 = rest;
        u64::from_le_bytes(*number)
    }
}

/// Fills an array with numbers of eight bytes.
fn filled<const N: usize>(numbers: &[u64]) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, number) in bytes.as_chunks_mut().0.iter_mut().zip(numbers) {
        *to = number.to_le_bytes();
    }
    bytes
}

// --- The header ---------------------------------------------------------------------------------------------------

/// The beginning of a share file. It is written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose numbers the objects have: bytes of the same lineage and number are the same, also in another file.
    pub lineage: u64,
    /// Which file it is: no other one has this number.
    pub file: u64,
}

impl Header {
    /// How many bytes it has.
    pub const LEN: usize = 40;

    /// As it is written.
    pub fn encode(&self) -> [u8; Header::LEN] {
        let numbers = [u64::from_le_bytes(*MAGIC), u64::from(FORMAT), self.lineage, self.file];
        let mut bytes: [u8; Header::LEN] = filled(&numbers);
        let sum = checksum(&bytes[..32]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Of the first bytes of a file.
    ///
    /// # Errors
    /// There is none.
    pub fn decode(bytes: &[u8]) -> Result<Header, Refused> {
        if bytes.get(..8) != Some(MAGIC) {
            return Err(Refused::Foreign);
        }
        let whole = bytes.get(..Header::LEN).ok_or(damaged(0, "it has no whole header"))?;
        let mut numbers = Numbers(&whole[8..]);
        let [format, lineage, file, sum] = [(); 4].map(|()| numbers.next());
        if sum != u64::from(checksum(&whole[..32])) {
            return Err(damaged(0, "the checksum of the header is another one"));
        }
        match u32::try_from(format) {
            Ok(FORMAT) => Ok(Header { lineage, file }),
            other => Err(Refused::OtherFormat(other.unwrap_or(u32::MAX))),
        }
    }
}

// --- Times --------------------------------------------------------------------------------------------------------

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch; 0: it never was.
    pub real: u64,
    /// Milliseconds since the machine was started.
    pub boot: u64,
    /// Which start of the machine that was; 0: nobody knows.
    pub boot_id: u64,
}

impl Moment {
    /// How long ago it was. `None`: longer than anybody can say, as it never was, or a clock was set back since.
    pub fn ago(&self, now: &Moment) -> Option<Duration> {
        let is_same_boot = self.boot_id == now.boot_id && self.boot_id != 0;
        let (then, now) = match is_same_boot && !planted::is(Defect::AgeByRealTime) {
            true => (self.boot, now.boot),
            false => (self.real, now.real),
        };
        let ago = now.checked_sub(then).filter(|_| self.real != 0)?;
        Some(Duration::from_millis(ago))
    }

    fn numbers(&self) -> [u64; 3] {
        [self.real, self.boot, self.boot_id]
    }

    fn of(numbers: &mut Numbers<'_>) -> Moment {
        let [real, boot, boot_id] = [(); 3].map(|()| numbers.next());
        Moment { real, boot, boot_id }
    }
}

// --- Roots --------------------------------------------------------------------------------------------------------

const CUT: u64 = 1;
const COMPLETE: u64 = 1 << 1;
const MOVED: u64 = 1 << 2;
const OWN: u64 = 1 << 3;

/// A version of the tree, and where it is in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Root {
    /// The root with the highest number is the newest.
    pub sequence: u64,
    /// How long the file is, as far as this root goes.
    pub length: u64,
    /// Where the tree is.
    pub tree: Stored,
    /// About how many nodes all versions have changed, one after the other.
    pub changes: u64,
    /// As [`Version::zxid`].
    pub zxid: Zxid,
    /// As [`Version::is_cut`].
    pub is_cut: bool,
    /// As [`Version::is_complete`].
    pub is_complete: bool,
    /// As [`Version::is_own`]: of the user whom the [`Identity`] names.
    pub is_own: bool,
    /// Nothing follows here: there is another file in its place.
    pub has_moved: bool,
    /// When a server was last heard, before this was written.
    pub heard: Moment,
}

impl Root {
    /// How many bytes it has.
    pub const LEN: usize = 128;
    /// Where in these the sequence number is.
    pub const NUMBER_AT: u64 = 8;

    /// As it is written.
    pub fn encode(&self) -> [u8; Root::LEN] {
        let flag = |is_so: bool, flag| if is_so { flag } else { 0 };
        let version = flag(self.is_cut, CUT) | flag(self.is_complete, COMPLETE) | flag(self.is_own, OWN);
        let flags = version | flag(self.has_moved, MOVED);
        let Stored { bytes, beside, nodes, data, let_go } = self.tree;
        let [real, boot, boot_id] = self.heard.numbers();
        let zxid = self.zxid.0.cast_unsigned();
        let mut out: [u8; Root::LEN] = filled(&[
            0,
            self.sequence,
            self.length,
            bytes,
            beside,
            nodes,
            data,
            let_go,
            self.changes,
            zxid,
            flags,
            real,
            boot,
            boot_id,
        ]);
        let sum = checksum(&out[8..]);
        out[..4].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// `None`: it was not written whole, or never.
    pub fn decode(bytes: &[u8]) -> Option<Root> {
        let bytes = bytes.get(..Root::LEN)?;
        let mut numbers = Numbers(bytes);
        let sum = numbers.next();
        if sum != u64::from(checksum(&bytes[8..])) && !planted::is(Defect::ChecksumsIgnored) {
            return None;
        }
        let [sequence, length, bytes, beside, nodes, data, let_go, changes, zxid, flags] =
            [(); 10].map(|()| numbers.next());
        (sequence > 0 && length >= OBJECTS_AT).then(|| Root {
            sequence,
            length,
            tree: Stored { bytes, beside, nodes, data, let_go },
            changes,
            zxid: Zxid(zxid.cast_signed()),
            is_cut: flags & CUT != 0,
            is_complete: flags & COMPLETE != 0,
            is_own: flags & OWN != 0,
            has_moved: flags & MOVED != 0,
            heard: Moment::of(&mut numbers),
        })
    }

    /// The newest of what is in the two places.
    pub fn newest(places: [&[u8]; 2]) -> Option<Root> {
        let roots = places.into_iter().filter_map(Root::decode);
        match planted::is(Defect::OlderRootTaken) {
            false => roots.max_by_key(|root| root.sequence),
            true => roots.min_by_key(|root| root.sequence),
        }
    }

    /// Where the root with a sequence number is written: the place of the last but one.
    pub fn place(sequence: u64) -> u64 {
        ROOTS_AT[(sequence % 2) as usize]
    }

    /// The version that it is the root of.
    ///
    /// # Errors
    /// Something in it is not as it was written.
    pub fn load(&self, loader: &mut Loader, written: &Written<'_>) -> Result<Version, Damaged> {
        let tree = loader.load(written, &self.tree)?;
        let Root { zxid, is_cut, is_complete, is_own, .. } = *self;
        Ok(Version { tree, zxid, is_cut, is_complete, is_own })
    }
}

// --- What tree it is ----------------------------------------------------------------------------------------------

/// Which part of which server's tree is in a file, and how that was made of the server's. No secret is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The root of the tree, relative to the chroot.
    pub root: NodePath,
    /// Of the client that has read it.
    pub chroot: NodePath,
    /// Which nodes are kept.
    pub selection: Selection,
    /// What is kept of nodes' data.
    pub data: Data,
    /// No path of a node is longer.
    pub limit_path: usize,
    /// As which user the client reads it, without a secret; `None`: nobody can say.
    pub user: Option<String>,
}

impl Identity {
    /// Whether a tree that is that may follow one that is this, whoever has read them, and however long its paths may be.
    pub fn is_same_tree(&self, other: &Identity) -> bool {
        let tree = |it: &Identity| Identity { user: None, limit_path: 0, ..it.clone() };
        tree(self) == tree(other)
    }

    /// Writes it, as the first object of a file.
    pub fn write(&self, appender: &mut Appender) -> Vec<u8> {
        let mut texts = vec![
            ("root", self.root.as_str().to_owned()),
            ("chroot", self.chroot.as_str().to_owned()),
            ("limit.path.bytes", self.limit_path.to_string()),
        ];
        match self.data {
            Data::All => {}
            Data::None => texts.push(("data", "none".to_owned())),
            Data::Gzip { most } => texts.push(("gzip", most.to_string())),
        }
        texts.extend(self.user.iter().map(|user| ("user", user.clone())));
        texts.extend(self.selection.settings());
        let mut payload = Vec::new();
        for text in texts.iter().flat_map(|(key, value)| [*key, value]) {
            payload.extend((text.len() as u32).to_le_bytes());
            payload.extend(text.as_bytes());
        }
        appender.write_other(IDENTITY, &payload)
    }

    /// Reads what was written so.
    ///
    /// # Errors
    /// It is not as it was written.
    pub fn read(written: &Written<'_>) -> Result<Identity, Damaged> {
        let payload = written.other(IDENTITY, OBJECTS_AT)?;
        Identity::decode(payload).ok_or(Damaged { at: OBJECTS_AT, what: "it names no tree" })
    }

    fn decode(mut payload: &[u8]) -> Option<Identity> {
        let (mut root, mut chroot, mut limit_path, mut user) = (None, None, None, None);
        let (mut selection, mut data) = (Selection::default(), Data::All);
        while !payload.is_empty() {
            let (key, value) = (take_text(&mut payload)?, take_text(&mut payload)?);
            match key {
                "root" => root = Some(NodePath::new(value).ok()?),
                "chroot" => chroot = Some(NodePath::new(value).ok()?),
                "limit.path.bytes" => limit_path = value.parse().ok(),
                "user" => user = Some(value.to_owned()),
                "data" if value == "none" => data = Data::None,
                "gzip" => data = Data::Gzip { most: value.parse().ok()? },
                _ => selection.set(key, value)?,
            }
        }
        Some(Identity { root: root?, chroot: chroot?, selection, data, limit_path: limit_path?, user })
    }
}

fn take_text<'b>(bytes: &mut &'b [u8]) -> Option<&'b str> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}

// --- The side file ------------------------------------------------------------------------------------------------

/// How a writer stands. Readers look at it at any moment, while it is being written, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Of the writer's cache.
    pub state: State,
    /// Whether the writer's cache is initialized.
    pub is_initialized: bool,
    /// [`Header::file`] of the share file that belongs to it.
    pub file: u64,
    /// If nothing was heard for longer, the writer is taken for disconnected or dead.
    pub session_timeout: Duration,
    /// When a server was last heard.
    pub heard: Moment,
}

impl Page {
    /// How many bytes it has, from [`Page::AT`] on.
    pub const LEN: usize = 64;
    /// Where it begins in the side file: behind the number by which readers are woken, at [`Page::WAKE_AT`].
    pub const AT: u64 = 64;
    /// Four bytes that are another number after each change that readers want to know of at once.
    pub const WAKE_AT: u64 = 32;
    /// How long the side file is.
    pub const FILE_LEN: u64 = 4096;

    /// How a side file begins.
    pub fn header() -> [u8; 16] {
        filled(&[u64::from_le_bytes(*PAGE_MAGIC), u64::from(FORMAT)])
    }

    /// Whether a side file begins so.
    ///
    /// # Errors
    /// It does not.
    pub fn check_header(bytes: &[u8]) -> Result<(), Refused> {
        let mut numbers = Numbers(bytes);
        if numbers.next() != u64::from_le_bytes(*PAGE_MAGIC) {
            return Err(Refused::Foreign);
        }
        match numbers.next() {
            format if format == u64::from(FORMAT) => Ok(()),
            format => Err(Refused::OtherFormat(u32::try_from(format).unwrap_or(u32::MAX))),
        }
    }

    /// As it is written.
    pub fn encode(&self) -> [u8; Page::LEN] {
        let state = u64::from((self.state as i32).cast_unsigned());
        let timeout = self.session_timeout.as_millis() as u64;
        let [real, boot, boot_id] = self.heard.numbers();
        let flags = u64::from(self.is_initialized);
        let mut bytes: [u8; Page::LEN] = filled(&[0, state, flags, self.file, timeout, real, boot, boot_id]);
        let sum = checksum(&bytes[8..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None`: it is being written, or is damaged.
    pub fn decode(bytes: &[u8; Page::LEN]) -> Option<Page> {
        let mut numbers = Numbers(bytes);
        if numbers.next() != u64::from(checksum(&bytes[8..])) {
            return None;
        }
        let [state, flags, file, timeout] = [(); 4].map(|()| numbers.next());
        Some(Page {
            state: i32::try_from(state).ok().and_then(State::from_number)?,
            is_initialized: flags & 1 != 0,
            file,
            session_timeout: Duration::from_millis(timeout),
            heard: Moment::of(&mut numbers),
        })
    }

    /// How the tree stands that an attached process reads, and the age of the last word. Nobody knows of a writer that has
    /// been silent for longer than its session lasts whether it lives.
    pub fn standing(&self, now: &Moment) -> (State, Option<Duration>) {
        let age = self.heard.ago(now);
        let is_silent =
            age.is_none_or(|age| age > self.session_timeout) && !planted::is(Defect::SilenceIgnored);
        let state = match self.state {
            // It is being loaded for the first time, or nobody has been heard in this life of the writer's.
            State::Latent | State::Loading if self.heard.real == 0 => State::Loading,
            State::Lost => State::Lost,
            State::Closed => State::Suspended,
            // The age of a tree that is held is that of a cut: it says nothing of the writer.
            State::Held => State::Held,
            _ if is_silent => State::Suspended,
            state => state,
        };
        (state, age)
    }
}

#[cfg(test)]
mod tests;
