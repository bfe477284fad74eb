//! Files of a writer: where they are, on which file systems, whose they are, and writes that are whole.

#![expect(unsafe_code, reason = "locks and kinds of file systems")]

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[cfg(all(test, target_os = "linux"))]
use super::journal;
use crate::fork::NotInherited;

/// Who may read a share file, unless the process's umask says less: its owner, and the group.
const MODE: u32 = 0o640;

/// The side file of a share file.
pub(super) fn side_of(path: &Path) -> PathBuf {
    beside(path, ".side")
}

/// Where a share file is written before it is one.
pub(super) fn new_of(path: &Path) -> PathBuf {
    beside(path, ".new")
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Where bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// They go with the machine's power.
    Memory,
    Disk,
}

/// Of the file system of an open file; `Err`: the name of one that is none for this.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn medium(file: &File) -> io::Result<Result<Medium, &'static str>> {
    // Their maps do not see what another machine has written, or their locks do not keep it out. (Their numbers stand in
    // the manual page of statfs.)
    const OTHERS: [(u32, &str); 16] = [
        (0x6969, "NFS"),
        (0x6573_5546, "FUSE"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x517b, "SMB"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x6b41_4653, "AFS"),
        (0x7375_7245, "Coda"),
        (0x564c, "NCP"),
        (0x0116_1970, "GFS2"),
        (0x7461_636f, "OCFS2"),
        (0x0bd0_0bd0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x786f_4256, "VBOXSF"),
    ];
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the system fills what it is given, or returns an error.
    let kind = match unsafe { libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()) } {
        // SAFETY: filled, as above.
        0 => unsafe { found.assume_init() }.f_type as u32,
        _ => return Err(io::Error::last_os_error()),
    };
    Ok(match (kind, OTHERS.iter().find(|(other, _)| *other == kind)) {
        (_, Some((_, name))) => Err(*name),
        (0x0102_1994 | 0x8584_58f6, None) => Ok(Medium::Memory),
        _ => Ok(Medium::Disk),
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn medium(_: &File) -> io::Result<Result<Medium, &'static str>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A file that is locked for as long as this lives, or else until the end of all processes that have its descriptor.
pub(super) struct Lock {
    /// Who has the descriptor has the lock: so no child of a fork may. (Fields are dropped in turn: the descriptor is open for as
    /// long as children close it.)
    _not_inherited: NotInherited,
    file: File,
}

impl Lock {
    /// Locks a file. `None`: somebody else has it locked, be it in this process.
    pub(super) fn take((file, not_inherited): (File, NotInherited)) -> io::Result<Option<Lock>> {
        let lock = Lock { _not_inherited: not_inherited, file };
        Ok(set_lock(&lock.file, libc::F_WRLCK as _)?.then_some(lock))
    }

    /// As [`is_at`].
    pub(super) fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child of a fork at this moment may have the descriptor: to close it is not enough.
        _ = set_lock(&self.file, libc::F_UNLCK as _);
    }
}

/// Returns false when somebody else has the file locked.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_lock(file: &File, kind: libc::c_short) -> io::Result<bool> {
    // SAFETY: all bytes may be zero.
    let mut whole: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    whole.l_type = kind;
    whole.l_whence = libc::SEEK_SET as _;
    // SAFETY: the descriptor is open, and the lock is valid for reading and writing.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut whole) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            error => Err(error),
        },
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_lock(_: &File, _: libc::c_short) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a file to be read and written, and makes it if it is not there. It is never cut off.
pub(super) fn open_or_make(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    #[cfg(all(test, target_os = "linux"))]
    journal::opened(&file, path);
    Ok(file)
}

/// Makes a file that is not there.
pub(super) fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(path)?;
    #[cfg(all(test, target_os = "linux"))]
    journal::opened(&file, path);
    Ok(file)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => {
            #[cfg(all(test, target_os = "linux"))]
            journal::removed(path);
            done
        }
    }
}

/// Puts a file in the place of another one, or of none.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    #[cfg(all(test, target_os = "linux"))]
    journal::renamed(from, to);
    Ok(())
}

/// Whether an open file is the one that has this name now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let which = |data: Metadata| (data.dev(), data.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => which(open) == which(named),
        _ => false,
    }
}

/// Writes all of it, without the file's position. (A file system that is full says so; a store into a map would be a signal.)
pub(super) fn write(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)?;
    #[cfg(all(test, target_os = "linux"))]
    journal::written(file, bytes, at);
    Ok(())
}

/// What is in a file is kept through a loss of power.
pub(super) fn sync(file: &File) -> io::Result<()> {
    file.sync_data()?;
    #[cfg(all(test, target_os = "linux"))]
    journal::synced(file);
    Ok(())
}

/// What is in a file's folder under which name is kept through a loss of power.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    #[cfg(all(test, target_os = "linux"))]
    journal::folder_synced(folder);
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_belongs_to_a_descriptor_and_keeps_out_others_of_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locked");
        let lock = || Lock::take(NotInherited::open(|| open_or_make(&path)).unwrap()).unwrap();
        let first = lock().expect("it is free");
        assert!(lock().is_none());
        // As in the child of a fork.
        let _other = first.file.try_clone().unwrap();
        drop(first);
        assert!(lock().is_some());
    }

    #[test]
    fn memory_is_told_from_disk() {
        let probe = |folder: &Path| medium(&File::open(folder).unwrap()).unwrap();
        if Path::new("/dev/shm").exists() {
            assert_eq!(probe(Path::new("/dev/shm")), Ok(Medium::Memory));
        }
        assert_ne!(probe(Path::new("/proc")), Ok(Medium::Memory));
    }

    #[test]
    fn a_file_is_at_its_name_until_another_one_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        let file = make(&path).unwrap();
        assert!(is_at(&file, &path) && make(&path).is_err());
        make(&other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(!is_at(&file, &path));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!is_at(&file, &path));
        sync_folder(&path).unwrap();
    }
}
