//! One round of reads: bounded in count and bytes, so that no batch holds up the server or the other caches.

use crate::path::NodePath;
use crate::stat::Stat;
use crate::wire::ServerError;

/// The most reads in one multiRead: the server commits nothing while it works on one.
pub const MOST_READS: usize = 256;
/// The most reads in a multiRead of paths that are written so fast that no cut has come for long.
pub const MOST_HOT_READS: usize = 4096;
/// How many bytes of reply a flight aims at.
const REPLY_BYTES: usize = 256 << 10;
/// How many bytes of request a flight aims at.
const REQUEST_BYTES: usize = 512 << 10;
/// How many there may be at most; a server closes the connection on a request of 1 MiB (`jute.maxbuffer`).
const MOST_REQUEST_BYTES: usize = 1000 << 10;
/// Above this size data is not fetched again for a Stat alone.
pub const LARGE_DATA: usize = 4 << 10;
/// Bytes of a result besides the data.
const RESULT_OVERHEAD: usize = 100;
/// Bytes of a read in a request besides the path.
const READ_OVERHEAD: usize = 14;
/// Bytes of a name in a child list.
const NAME_BYTES: usize = 32;

/// What is read of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub path: NodePath,
    pub children: bool,
}

/// Reads that go out together.
#[derive(Debug)]
pub struct Flight {
    /// Data, and child lists where asked for: one multiRead, one zxid.
    pub nodes: Vec<Read>,
    /// Stats, and child lists where asked for: a request each.
    pub stats: Vec<Read>,
    /// About how many bytes of reply will come.
    pub expected: usize,
    request_bytes: usize,
    reads: usize,
    most_reads: usize,
    /// Bytes of a read in the request besides the path.
    read_overhead: usize,
}

impl Flight {
    /// For paths that get `chroot` bytes in front of them on their way.
    pub fn new(chroot: usize) -> Flight {
        Flight {
            nodes: Vec::new(),
            stats: Vec::new(),
            expected: 0,
            request_bytes: 0,
            reads: 0,
            most_reads: MOST_READS,
            read_overhead: READ_OVERHEAD + chroot,
        }
    }

    /// A larger one, of hot paths, for when a cut has been overdue for long.
    pub fn for_a_cut(chroot: usize) -> Flight {
        Flight { most_reads: MOST_HOT_READS, ..Flight::new(chroot) }
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.stats.is_empty()
    }

    /// Whether another read would be too much.
    pub fn is_full(&self) -> bool {
        let reply_bytes = REPLY_BYTES * self.most_reads.div_ceil(MOST_READS);
        self.reads >= self.most_reads || self.expected >= reply_bytes || self.request_bytes >= REQUEST_BYTES
    }

    /// Whether so many more small nodes can be read with the same zxid.
    pub fn has_room_for(&self, reads: usize) -> bool {
        self.reads + reads <= self.most_reads && !self.is_full()
    }

    /// Whether all of these can be read with the same zxid, beyond what a flight aims at.
    pub fn takes(&self, paths: &[NodePath]) -> bool {
        let bytes = paths.iter().map(|path| path.as_str().len() + self.read_overhead).sum::<usize>();
        self.request_bytes + bytes <= MOST_REQUEST_BYTES
    }

    /// `children`: the list is wanted too, and has about so many names. They count as reads, as each will be one in
    /// its turn: few paths should be known but unread at a time.
    pub fn add(&mut self, path: NodePath, children: Option<usize>, stat_only: bool, data: usize) {
        let operations = 1 + usize::from(children.is_some());
        let names = children.unwrap_or(0);
        self.reads += operations.max(names);
        self.expected += RESULT_OVERHEAD + names * NAME_BYTES + if stat_only { 0 } else { data };
        self.request_bytes += (path.as_str().len() + self.read_overhead) * operations;
        let reads = if stat_only { &mut self.stats } else { &mut self.nodes };
        reads.push(Read { path, children: children.is_some() });
    }
}

/// What a read found.
#[derive(Debug)]
pub enum Found<'a> {
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
    /// The server could not say.
    Failed(ServerError),
}

impl Found<'_> {
    pub fn error(error: ServerError) -> Self {
        match error {
            ServerError::NO_NODE => Found::Missing,
            ServerError::NO_AUTH => Found::Unreadable,
            error => Found::Failed(error),
        }
    }
}

/// Guesses how much data nodes have that were not read yet, from those that were read last.
pub struct SizeGuess {
    guess: usize,
    bytes: usize,
    nodes: usize,
}

impl SizeGuess {
    pub fn new() -> SizeGuess {
        // Sixteen unknown nodes in the first flight; more as soon as they turn out to be small.
        SizeGuess { guess: REPLY_BYTES / 16, bytes: 0, nodes: 0 }
    }

    pub fn get(&self) -> usize {
        self.guess
    }

    pub fn learn(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.nodes += 1;
    }

    /// At the end of a reply: large nodes count at once, small ones step by step.
    pub fn settle(&mut self) {
        if let Some(mean) = self.bytes.checked_div(self.nodes) {
            self.guess = mean.max(self.guess / 4);
            (self.bytes, self.nodes) = (0, 0);
        }
    }
}
