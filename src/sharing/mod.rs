//! Trees in files that other processes map: who writes them, and who reads them. What is in such a file is `share`'s; here is
//! how it gets there, and out again.
//!
//! Each module knows those above it here, and none below:
//!
//! - `time`: moments that another process can tell the age of.
//! - `file`: files: names, kinds of file systems, the lock, writes that are whole.
//! - `map`: files that are mapped: the one place where a file's bytes are memory.
//! - `opened`: a share file as a reader has it, and its side file.
//! - `writer`: the thread that writes what a cache publishes.
//! - `attached`: what a cache of another process's tree reads and tells.
//!
//! For tests only: `journal`, what was done to files.
//!
//! Only Linux has what this needs: locks that belong to a descriptor, and waits on a number in a file.

mod attached;
mod file;
#[cfg(all(test, target_os = "linux"))]
mod journal;
mod map;
mod opened;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests;
mod time;
mod writer;

pub(crate) use attached::{Attached, Reader};
pub(crate) use opened::{Opened, Unusable};
pub(crate) use time::age;
pub(crate) use writer::{Contact, Source, Writer, check_same};

/// What is wrong with a system that has no shared files; `None`: it has.
pub(crate) const UNSUPPORTED: Option<&str> = match cfg!(any(target_os = "linux", target_os = "android")) {
    true => None,
    false => Some("trees can be shared in files on Linux only"),
};
