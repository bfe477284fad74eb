//! What is done to files, in its order, for tests that stop a writer at each of these points.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files are told apart by their inodes: a name may come to mean another file.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Opened { file: u64, path: PathBuf },
    Written { file: u64, at: u64, bytes: Vec<u8> },
    Synced { file: u64 },
    Renamed { from: PathBuf, to: PathBuf },
    Removed { path: PathBuf },
    FolderSynced,
}

/// Of each folder that is looked at.
static JOURNALS: Mutex<Vec<(PathBuf, Vec<Op>)>> = Mutex::new(Vec::new());

fn journals() -> MutexGuard<'static, Vec<(PathBuf, Vec<Op>)>> {
    JOURNALS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what is done in a folder from now on.
pub(super) fn begin(folder: &Path) {
    journals().push((folder.to_owned(), Vec::new()));
}

/// What was done there.
pub(super) fn end(folder: &Path) -> Vec<Op> {
    let mut journals = journals();
    let at = journals.iter().position(|(of, _)| of == folder).expect("it was begun");
    journals.swap_remove(at).1
}

fn note(path: &Path, op: impl FnOnce() -> Op) {
    if let Some((_, ops)) = journals().iter_mut().find(|(folder, _)| path.starts_with(folder)) {
        ops.push(op());
    }
}

fn note_of(file: &File, op: impl FnOnce(u64) -> Op) {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("its name");
    note(&path, || op(file.metadata().expect("its inode").ino()));
}

pub(super) fn opened(file: &File, path: &Path) {
    note_of(file, |file| Op::Opened { file, path: path.to_owned() });
}

pub(super) fn written(file: &File, bytes: &[u8], at: u64) {
    note_of(file, |file| Op::Written { file, at, bytes: bytes.to_owned() });
}

pub(super) fn synced(file: &File) {
    note_of(file, |file| Op::Synced { file });
}

pub(super) fn renamed(from: &Path, to: &Path) {
    note(to, || Op::Renamed { from: from.to_owned(), to: to.to_owned() });
}

pub(super) fn removed(path: &Path) {
    note(path, || Op::Removed { path: path.to_owned() });
}

pub(super) fn folder_synced(folder: &Path) {
    note(folder, || Op::FolderSynced);
}
