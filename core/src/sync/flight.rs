//! One round of reads: bounded in count and bytes, so that no batch holds up the server or the other caches.

use super::runs::Room;
use crate::names::Siblings;
use crate::path::NodePath;
use crate::stat::Stat;
use crate::wire::ServerError;

/// The most reads in one multiRead: the server commits nothing while it works on one.
pub(super) const MOST_READS: usize = 256;
/// The most reads in a multiRead for a cut that has not come for long.
pub(super) const MOST_HOT_READS: usize = 4096;
/// The most nodes in a multiRead of what has siblings that were read, and look alike.
pub(super) const MOST_PROVEN_READS: usize = 1000;
/// The most reads of a flight that is sparse: what is in it takes less time than the round trip.
pub(super) const MOST_SPARSE: usize = 8;
/// How many bytes of reply a flight aims at.
const REPLY_BYTES: usize = 256 << 10;
/// How many bytes of request a flight aims at.
const REQUEST_BYTES: usize = 512 << 10;
/// How many bytes a request may have at most. A server closes the connection on a request of 1 MiB (`jute.maxbuffer`).
const MOST_REQUEST_BYTES: usize = 1000 << 10;
/// If data is larger than this, it is not read again where a Stat is enough.
pub(super) const LARGE_DATA: usize = 4 << 10;
/// Bytes of a result besides the data.
const RESULT_OVERHEAD: usize = 100;
/// Bytes of a read in a request besides the path.
const READ_OVERHEAD: usize = 14;
/// How many names of a child list take a server as long as a node.
const NAMES_PER_READ: usize = 8;
/// Bytes of a name in a child list.
const NAME_BYTES: usize = 32;

/// What is read of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub path: NodePath,
    pub children: bool,
}

/// Some nodes of one list, which are read for their data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The nodes.
    pub siblings: Siblings,
    /// Nothing was known of what their siblings are like.
    pub is_proof: bool,
}

/// Reads that go out together.
#[derive(Debug)]
pub(super) struct Flight {
    /// Data, and child lists where asked for: one multiRead, one zxid.
    pub nodes: Vec<Read>,
    /// Data of what is only known by its name in a list, in the same multiRead.
    pub parts: Vec<Part>,
    /// Stats, and child lists where asked for: a request each.
    pub stats: Vec<Read>,
    /// About how many bytes of reply will come.
    pub expected: usize,
    /// Counts the flights of a cache.
    pub number: u64,
    request_bytes: usize,
    reads: usize,
    most_reads: usize,
    /// Nodes whose data may be larger than expected.
    uncertain: usize,
    most_uncertain: usize,
    /// Nodes of which data is known are among them.
    doubts_known: bool,
    /// Bytes of a read in the request besides the path.
    read_overhead: usize,
}

impl Flight {
    /// An empty flight. On the wire, each path gets `chroot` more bytes in front.
    pub(super) fn new(chroot: usize) -> Flight {
        Flight {
            nodes: Vec::new(),
            parts: Vec::new(),
            stats: Vec::new(),
            expected: 0,
            number: 0,
            request_bytes: 0,
            reads: 0,
            most_reads: MOST_READS,
            uncertain: 0,
            most_uncertain: usize::MAX,
            doubts_known: true,
            read_overhead: READ_OVERHEAD + chroot,
        }
    }

    /// An empty flight of a load or verification, when least is known of sizes: at most so many nodes in it may be larger
    /// than expected. Those of which data is known count with `doubts_known` only: as a rule they are as they were, and what
    /// was read last tells by how much they have grown.
    pub(super) fn into_the_unknown(chroot: usize, most_uncertain: usize, doubts_known: bool) -> Flight {
        Flight { most_uncertain, doubts_known, ..Flight::new(chroot) }
    }

    /// An empty flight of at most so many reads, when a cut is overdue.
    pub(super) fn for_a_cut(chroot: usize, most_reads: usize) -> Flight {
        Flight { most_reads, ..Flight::new(chroot) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.parts.is_empty() && self.stats.is_empty()
    }

    /// How many requests it takes.
    pub(super) fn requests(&self) -> usize {
        usize::from(!self.nodes.is_empty() || !self.parts.is_empty()) + self.stats.len()
    }

    /// How many nodes it reads.
    pub(super) fn len(&self) -> usize {
        multi_read_len(&self.nodes, &self.parts) + self.stats.len()
    }

    /// How many nodes may be larger than expected.
    pub(super) fn uncertain(&self) -> usize {
        self.uncertain
    }

    /// What it may grow by.
    pub(super) fn room(&self) -> Room {
        self.room_for(self.most_reads)
    }

    /// What it may grow by if it may have so many reads, for nodes whose siblings were read. `None` if there is no room.
    pub(super) fn room_for_proven(&self, most_reads: usize) -> Option<Room> {
        let room = self.room_for(most_reads);
        (room.reads > 0 && room.bytes > 0 && room.request_bytes > 0).then_some(room)
    }

    fn room_for(&self, most_reads: usize) -> Room {
        Room {
            reads: most_reads.saturating_sub(self.reads),
            bytes: reply_bytes(most_reads).saturating_sub(self.expected),
            result_overhead: RESULT_OVERHEAD,
            request_bytes: REQUEST_BYTES.saturating_sub(self.request_bytes),
            read_overhead: self.read_overhead,
        }
    }

    /// Whether another read would be too much.
    pub(super) fn is_full(&self) -> bool {
        self.reads >= self.most_reads
            || self.uncertain >= self.most_uncertain
            || self.expected >= reply_bytes(self.most_reads)
            || self.request_bytes >= REQUEST_BYTES
    }

    /// Whether so many more small nodes can be read with the same zxid.
    pub(super) fn has_room_for(&self, reads: usize) -> bool {
        self.reads + reads <= self.most_reads && !self.is_full()
    }

    /// Whether all of these can be read with the same zxid, beyond what a flight aims at.
    pub(super) fn takes(&self, paths: &[NodePath]) -> bool {
        let bytes = paths.iter().map(|path| path.as_str().len() + self.read_overhead).sum::<usize>();
        self.request_bytes + bytes <= MOST_REQUEST_BYTES
    }

    /// How many nodes with unknown sizes there is room for.
    pub(super) fn room_for_uncertain(&self) -> usize {
        self.most_uncertain.saturating_sub(self.uncertain)
    }

    /// Whether it has a few reads only, for want of more to read.
    pub(super) fn is_sparse(&self) -> bool {
        !self.is_full() && self.nodes.len() <= MOST_SPARSE
    }

    /// Adds reads of nodes that are taken to have so much data each.
    pub(super) fn add_part(&mut self, siblings: Siblings, is_proof: bool, data: usize) {
        let count = siblings.places.len();
        let names = siblings.names().map(str::len).sum::<usize>();
        self.reads += count;
        self.expected += count * (RESULT_OVERHEAD + data);
        self.request_bytes += count * (siblings.parent.as_str().len() + 1 + self.read_overhead) + names;
        self.uncertain += if is_proof { count } else { 0 };
        self.parts.push(Part { siblings, is_proof });
    }

    /// Adds a read. `children`: the list is wanted too, and has about so many names, [`NAMES_PER_READ`] of which count
    /// as a read: only few paths should be known but unread at a time.
    pub(super) fn add(
        &mut self,
        path: NodePath,
        children: Option<usize>,
        stat_only: bool,
        is_known: bool,
        data: usize,
    ) {
        let operations = 1 + usize::from(children.is_some());
        let names = children.unwrap_or(0);
        self.reads += operations.max(names / NAMES_PER_READ);
        self.expected += RESULT_OVERHEAD + names * NAME_BYTES + if stat_only { 0 } else { data };
        self.request_bytes += (path.as_str().len() + self.read_overhead) * operations;
        // If a list is wanted, its node was read just before, and the size is known.
        let is_certain = stat_only || children.is_some() || is_known && !self.doubts_known;
        self.uncertain += usize::from(!is_certain);
        let reads = if stat_only { &mut self.stats } else { &mut self.nodes };
        reads.push(Read { path, children: children.is_some() });
    }
}

/// How many nodes a multiRead of these reads.
pub(super) fn multi_read_len(nodes: &[Read], parts: &[Part]) -> usize {
    nodes.len() + parts.iter().map(|part| part.siblings.places.len()).sum::<usize>()
}

/// How many bytes of reply a flight of so many reads aims at.
fn reply_bytes(most_reads: usize) -> usize {
    REPLY_BYTES * most_reads.div_ceil(MOST_READS)
}

/// What a read found.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Node {
        data: &'a [u8],
        stat: Stat,
        children: Option<Vec<&'a str>>,
    },
    Stat {
        stat: Stat,
        children: Option<Vec<&'a str>>,
    },
    /// Nothing there.
    Missing,
    /// A node that the session may not read.
    Unreadable,
    /// A node, by two replies of which each is of another moment, so that something may have been hidden in between.
    Torn,
    /// The server could not say.
    Failed(ServerError),
}

impl Found<'_> {
    pub(super) fn stat(&self) -> Option<&Stat> {
        match self {
            Found::Node { stat, .. } | Found::Stat { stat, .. } => Some(stat),
            Found::Missing | Found::Unreadable | Found::Torn | Found::Failed(_) => None,
        }
    }

    pub(super) fn error(error: ServerError) -> Self {
        match error {
            ServerError::NO_NODE => Found::Missing,
            ServerError::NO_AUTH => Found::Unreadable,
            error => Found::Failed(error),
        }
    }
}

/// Guesses by the last reads how much more data a node has than is known. For a node that was not read yet, nothing is
/// known.
pub(super) struct SizeGuess {
    guess: usize,
    largest: usize,
    nodes: usize,
}

impl SizeGuess {
    pub(super) fn new() -> SizeGuess {
        // Two unknown nodes in the first flight; more as soon as they turn out to be small.
        SizeGuess { guess: REPLY_BYTES / 2, largest: 0, nodes: 0 }
    }

    pub(super) fn get(&self) -> usize {
        self.guess
    }

    /// A node was read, and has so many bytes more than were known of.
    pub(super) fn learn(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes);
        self.nodes += 1;
    }

    /// At the end of a reply: a large node raises the guess at once, small nodes lower it step by step, the more of
    /// them the faster. The largest node counts, and not the mean: neighbours are often alike, so the first large node
    /// may be followed by large ones only.
    pub(super) fn settle(&mut self) {
        if self.nodes > 0 {
            self.guess = self.largest.max(self.guess / (self.nodes + 1).min(4));
            (self.largest, self.nodes) = (0, 0);
        }
    }
}
