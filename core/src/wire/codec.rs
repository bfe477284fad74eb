//! Jute, ZooKeeper's encoding: big-endian integers, and strings and buffers behind their length.

use super::Malformed;
use crate::stat::{Stat, Zxid};

/// Reads records from a frame, borrowing from it.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// What is being read, for the error.
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Begins at the start of `bytes`. `what` names the record, for the error where it is malformed.
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, what }
    }

    /// The error that says that the record being read is malformed.
    pub(super) fn malformed(&self) -> Malformed {
        Malformed { what: self.what }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte: everything but 0 is `true`.
    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.take::<1>()?[0] != 0)
    }

    /// Jute's `int`: four bytes.
    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    /// Jute's `long`: eight bytes.
    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    /// A buffer; ZooKeeper's NULL (length -1) reads as empty.
    pub(super) fn buffer(&mut self) -> Result<&'a [u8], Malformed> {
        let len = match self.i32()? {
            -1 => 0,
            len => usize::try_from(len).map_err(|_| self.malformed())?,
        };
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.malformed())?;
        self.rest = rest;
        Ok(head)
    }

    /// Jute's `ustring`: a buffer in UTF-8. ZooKeeper's NULL reads as empty.
    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        let bytes = self.buffer()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed())
    }

    /// A vector of strings behind their count. ZooKeeper's NULL (count -1) reads as empty.
    pub(super) fn strings(&mut self) -> Result<Vec<&'a str>, Malformed> {
        let count = match self.i32()? {
            -1 => 0,
            count => usize::try_from(count).map_err(|_| self.malformed())?,
        };
        // Each string takes at least the four bytes of its length. If the frame cannot hold so many, nothing is
        // reserved.
        if count > self.rest.len() / 4 {
            return Err(self.malformed());
        }
        (0..count).map(|_| self.string()).collect()
    }

    /// A transaction id: a `long`, taken as it is.
    pub(super) fn zxid(&mut self) -> Result<Zxid, Malformed> {
        self.i64().map(Zxid)
    }

    /// ZooKeeper's `Stat`, which takes 68 bytes.
    pub(super) fn stat(&mut self) -> Result<Stat, Malformed> {
        Ok(Stat {
            czxid: self.zxid()?,
            mzxid: self.zxid()?,
            ctime: self.i64()?,
            mtime: self.i64()?,
            version: self.i32()?,
            cversion: self.i32()?,
            aversion: self.i32()?,
            ephemeral_owner: self.i64()?,
            data_length: self.i32()?,
            num_children: self.i32()?,
            pzxid: self.zxid()?,
        })
    }
}

/// Appends records to a frame.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    /// Begins a frame at the end of `out`; [`finish`](Self::finish) writes its length.
    pub(super) fn frame(out: &'a mut Vec<u8>) -> Writer<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Writer { out, start }
    }

    pub(super) fn finish(self) {
        let len = (self.out.len() - self.start - 4) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&len.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.out.push(value.into());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn buffer(&mut self, bytes: &[u8]) {
        self.i32(bytes.len() as i32);
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn string(&mut self, text: &str) {
        self.buffer(text.as_bytes());
    }

    /// `path` below `chroot`, as one string.
    pub(super) fn path(&mut self, chroot: &str, path: &str) {
        match (chroot, path) {
            ("/", path) => self.string(path),
            (chroot, "/") => self.string(chroot),
            (chroot, path) => self.joined(&[chroot, path]),
        }
    }

    /// Parts that make one string together.
    pub(super) fn joined(&mut self, parts: &[&str]) {
        self.i32(parts.iter().map(|part| part.len()).sum::<usize>() as i32);
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }
}
