//! What is kept of nodes' data.
//!
//! Whatever is kept, a node in the tree has the Stat that the server gave: `data_length` is how much the server sends.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use crate::error::Status;
use crate::stat::Stat;
use crate::tree::{Entry, NodeRef, Tree};

/// What is kept of nodes' data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Data {
    /// All of it, as it came.
    #[default]
    All,
    /// Nothing: names and Stats only.
    None,
    /// What gzip has compressed is kept uncompressed; what cannot be is kept as it came.
    Gzip {
        /// The most bytes that a node may have once uncompressed.
        most: usize,
    },
}

/// Why data could not be uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not begin as gzip does.
    NotGzip,
    /// It ends too soon, has other bytes behind its end, or does not fit its checksum.
    Damaged,
    TooLong {
        most: usize,
    },
}

impl Refusal {
    pub(super) fn status(self) -> Status {
        match self {
            Refusal::NotGzip | Refusal::Damaged => Status::Protocol,
            Refusal::TooLong { .. } => Status::Limit,
        }
    }

    /// What a fault says of the node.
    pub(super) fn reason(self) -> String {
        match self {
            Refusal::NotGzip => "is not compressed by gzip".to_owned(),
            Refusal::Damaged => "cannot be uncompressed: it is damaged".to_owned(),
            Refusal::TooLong { most } => format!("has more than limit.node.bytes={most} bytes uncompressed"),
        }
    }
}

/// As the settings that it comes from.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::All => f.write_str("data=all"),
            Data::None => f.write_str("data=none"),
            Data::Gzip { most } => write!(f, "data.compressed=gzip limit.node.bytes={most}"),
        }
    }
}

impl Data {
    pub(super) fn is_kept(self) -> bool {
        self != Data::None
    }

    /// How much data the server sends when this node is read.
    pub(super) fn sent(self, node: &NodeRef<'_>) -> usize {
        match self {
            Data::All => node.data().len(),
            Data::None | Data::Gzip { .. } => data_length(node.stat()),
        }
    }

    /// The same of a place in a tree; `None` if the session may not read the node there.
    pub(super) fn sent_of(self, entry: Entry<'_>) -> Option<usize> {
        match self {
            Data::All => entry.data().map(<[u8]>::len),
            Data::None | Data::Gzip { .. } => entry.node().map(|node| data_length(node.stat())),
        }
    }

    /// The same of all nodes of a tree.
    pub(super) fn sent_of_all(self, tree: &Tree) -> usize {
        if self == Data::All {
            return tree.bytes();
        }
        let (mut walk, mut bytes) = (tree.preorder(), 0usize);
        while let Some((_, entry)) = walk.next() {
            bytes = bytes.saturating_add(self.sent_of(entry).unwrap_or(0));
        }
        bytes
    }

    /// What is kept of data that was read.
    ///
    /// # Errors
    /// It was to be uncompressed and cannot be. Then it is to be kept as it came.
    pub(super) fn keep(self, data: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
        match self {
            Data::All => Ok(Cow::Borrowed(data)),
            Data::None => Ok(Cow::Borrowed(&[])),
            Data::Gzip { most } => uncompressed(data, most).map(Cow::Owned),
        }
    }
}

fn data_length(stat: &Stat) -> usize {
    stat.data_length.try_into().unwrap_or(0)
}

/// All members of a gzip file, one behind the other, as RFC 1952 has it. No data is none.
fn uncompressed(data: &[u8], most: usize) -> Result<Vec<u8>, Refusal> {
    let mut all = Vec::new();
    if data.is_empty() {
        return Ok(all);
    }
    if !data.starts_with(&[0x1f, 0x8b]) {
        return Err(Refusal::NotGzip);
    }
    // One more than may be, to see that there is more.
    let bound = (most as u64).saturating_add(1);
    let result = MultiGzDecoder::new(data).take(bound).read_to_end(&mut all);
    if all.len() > most {
        return Err(Refusal::TooLong { most });
    }
    result.map(|_| all).map_err(|_| Refusal::Damaged)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1000;

    fn compressed(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn kept(data: &[u8]) -> Result<Vec<u8>, Refusal> {
        Data::Gzip { most: MOST }.keep(data).map(Cow::into_owned)
    }

    #[test]
    fn what_gzip_has_compressed_is_uncompressed() {
        for data in [&b""[..], b"x", &[7; MOST]] {
            assert_eq!(kept(&compressed(data)).as_deref(), Ok(data));
        }
        assert_eq!(Data::All.keep(b"x").as_deref(), Ok(&b"x"[..]));
        assert_eq!(Data::None.keep(b"x").as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn what_curator_makes_of_no_data_is_none() {
        // `COMPRESSED_EMPTY_BYTES`, where the last byte of the header is 0 before JDK 16.
        for os in [0, 0xff] {
            let empty = [31, 139, 8, 0, 0, 0, 0, 0, 0, os, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(kept(&empty), Ok(Vec::new()));
        }
        assert_eq!(kept(b""), Ok(Vec::new()));
    }

    #[test]
    fn several_members_are_one_behind_the_other() {
        let both = [compressed(b"one, "), compressed(b""), compressed(b"two")].concat();
        assert_eq!(kept(&both).as_deref(), Ok(&b"one, two"[..]));
        let too_long = [compressed(&[0; MOST]), compressed(b"x")].concat();
        assert_eq!(kept(&too_long), Err(Refusal::TooLong { most: MOST }));
    }

    #[test]
    fn what_is_no_gzip_or_damaged_is_refused() {
        for none in [&b"x"[..], b"plain text", &[0x1f], b"\x78\x9c", &[0; 30]] {
            assert_eq!(kept(none), Err(Refusal::NotGzip), "{none:?}");
        }
        let whole = compressed(b"some data, and more of it");
        for end in 2..whole.len() {
            assert_eq!(kept(&whole[..end]), Err(Refusal::Damaged), "{end}");
        }
        let with = |behind: &[u8]| kept(&[&whole, behind].concat());
        for behind in [&b"x"[..], &[0; 8], &[0x1f, 0x8b], &whole[..10]] {
            assert_eq!(with(behind), Err(Refusal::Damaged), "{behind:?}");
        }
        let mut other_checksum = whole.clone();
        let at = whole.len() - 8;
        other_checksum[at] ^= 1;
        assert_eq!(kept(&other_checksum), Err(Refusal::Damaged));
    }

    #[test]
    fn a_bomb_is_uncompressed_up_to_the_limit_and_no_further() {
        let bomb = compressed(&vec![0; 50 << 20]);
        assert!(bomb.len() < 60 << 10);
        assert_eq!(kept(&bomb), Err(Refusal::TooLong { most: MOST }));
        // Its end need not be there.
        assert_eq!(kept(&bomb[..bomb.len() / 2]), Err(Refusal::TooLong { most: MOST }));
        let most = usize::MAX;
        assert_eq!(Data::Gzip { most }.keep(&bomb).map(|data| data.len()), Ok(50 << 20));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_kept_within_the_limit(
            data in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0..400usize,
            by in any::<u8>(),
        ) {
            let mut bytes = compressed(&data);
            prop_assert_eq!(kept(&bytes), Ok(data.clone()));
            let at = at % bytes.len();
            bytes[at] ^= by;
            prop_assert!(kept(&bytes).is_ok_and(|data| data.len() <= MOST) || kept(&bytes).is_err());
            prop_assert!(kept(&data).is_ok_and(|data| data.len() <= MOST) || kept(&data).is_err());
        }
    }
}
