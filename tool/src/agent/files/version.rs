//! One version of a tree, from its cut to its folder, and the link that makes it the current one.
//!
//! A folder that the link does not lead to is nothing: it is still being written, or was when the process was killed, or is
//! old. So nothing has to be known of an earlier process but where the link leads.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use treecache::{Error, Snapshot};

use super::names::{DATA, file_name};

/// The link to the newest version.
const CURRENT: &str = "current";
/// What becomes the link.
const NEXT: &str = ".current.new";
/// What the folders of versions are called, before their zxid and number.
const VERSION: &str = "version-";

/// Folders are not nested deeper, so that no walk through them needs many descriptors.
const DEEPEST: usize = 100;
/// The system takes no longer paths (`PATH_MAX`).
const LONGEST_PATH: usize = 4095;

/// Where the versions of one tree are.
pub struct Folder {
    path: PathBuf,
    /// The number of the last version.
    number: u64,
}

/// What was written.
pub struct Written {
    pub folder: PathBuf,
    /// Paths of nodes that have no file, and why.
    pub left_out: Vec<(String, &'static str)>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Tree(#[from] Error),
    #[error("stopped")]
    Stopped,
}

/// This process writes the versions, and no other.
pub struct Lock(#[expect(dead_code, reason = "held for life")] Flock<File>);

impl Folder {
    /// Makes the folder, if it is not there. One that has other things in it is refused, as it was not meant.
    pub fn open(path: &Path) -> io::Result<Folder> {
        fs::create_dir_all(path)?;
        let folder = Folder { path: path.to_owned(), number: 0 };
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            if !is_ours(&name) {
                let message = format!("something else is in it: {:?}", name.to_string_lossy());
                return Err(io::Error::other(message));
            }
        }
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `None`: another process has it.
    pub fn lock(&self) -> io::Result<Option<Lock>> {
        match Flock::lock(File::open(&self.path)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Lock(lock))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Takes away what an earlier process has left behind: all but the current version.
    pub fn tidy(&mut self) -> io::Result<()> {
        let current = self.current();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            self.number = self.number.max(number_of(&name));
            if is_version(&name) && current.as_deref() != Some(&*entry.path()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// The folder of the version that is current. A link that somebody has made to something else is none.
    pub fn current(&self) -> Option<PathBuf> {
        let to = fs::read_link(self.path.join(CURRENT)).ok()?;
        (is_version(to.as_os_str()) && to.components().count() == 1).then(|| self.path.join(to))
    }

    /// Writes a cut, and makes it the current version once all of it is there. What is written is taken away again if that
    /// fails, or is stopped.
    pub fn write(&mut self, cut: &Snapshot, root: &str, is_over: &AtomicBool) -> Result<Written, Unwritten> {
        self.number += 1;
        let name = format!("{VERSION}{}-{}", cut.zxid(), self.number);
        let folder = self.path.join(&name);
        let written = self.write_version(cut, root, &folder, is_over).and_then(|left_out| {
            self.make_current(&name)?;
            Ok(Written { folder: folder.clone(), left_out })
        });
        // What failed may be what comes behind the rename.
        if written.is_err() && self.current().as_ref() != Some(&folder) {
            _ = fs::remove_dir_all(&folder);
        }
        written
    }

    fn write_version(
        &self,
        cut: &Snapshot,
        root: &str,
        folder: &Path,
        is_over: &AtomicBool,
    ) -> Result<Vec<(String, &'static str)>, Unwritten> {
        make_folder(folder)?;
        let mut left_out = Vec::new();
        let mut cursor = match cut.cursor(root) {
            // A tree without a root is a folder without a file.
            Err(Error::NoNode(_)) => return Ok(left_out),
            cursor => cursor?,
        };
        let mut skips = false;
        loop {
            if std::mem::take(&mut skips) {
                cursor.skip_children();
            }
            let Some((path, node)) = cursor.next() else { return Ok(left_out) };
            if is_over.load(Ordering::Relaxed) {
                return Err(Unwritten::Stopped);
            }
            let Some(node) = node else {
                left_out.push((path.to_owned(), "the session may not read it"));
                continue;
            };
            let mut at = match place(path, root, folder) {
                Ok(at) => at,
                Err(why) => {
                    left_out.push((path.to_owned(), why));
                    skips = true;
                    continue;
                }
            };
            if at == folder || node.stat().num_children > 0 && !cut.get_children(path)?.is_empty() {
                if at != folder {
                    make_folder(&at)?;
                }
                at.push(DATA);
            }
            let made = OpenOptions::new().write(true).create_new(true).open(&at);
            made.and_then(|mut file| file.write_all(node.data())).map_err(|error| io_at(&at, error))?;
        }
    }

    /// The link leads to the old version or to the new one, and at no moment to none. All of the new one is on the disk before.
    fn make_current(&self, name: &str) -> Result<(), Unwritten> {
        let (next, current) = (self.path.join(NEXT), self.path.join(CURRENT));
        let of_this = |error| io_at(&self.path, error);
        let folder = File::open(&self.path).map_err(of_this)?;
        #[cfg(target_os = "linux")]
        nix::unistd::syncfs(&folder).map_err(|errno| of_this(errno.into()))?;
        if let Err(error) = fs::remove_file(&next)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(io_at(&next, error));
        }
        symlink(name, &next).map_err(|error| io_at(&next, error))?;
        fs::rename(&next, &current).map_err(|error| io_at(&current, error))?;
        folder.sync_all().map_err(of_this)
    }
}

/// Where a node's data goes, or the reason why it cannot.
fn place(path: &str, root: &str, folder: &Path) -> Result<PathBuf, &'static str> {
    let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    let mut at = folder.to_owned();
    for (depth, name) in below.split('/').filter(|name| !name.is_empty()).enumerate() {
        if depth == DEEPEST {
            return Err("it is too deep for folders");
        }
        at.push(&*file_name(name).ok_or("its name is too long for a file")?);
    }
    match at.as_os_str().len() + "/".len() + DATA.len() <= LONGEST_PATH {
        true => Ok(at),
        false => Err("its path is too long for a file"),
    }
}

fn make_folder(at: &Path) -> Result<(), Unwritten> {
    fs::create_dir(at).map_err(|error| io_at(at, error))
}

fn io_at(path: &Path, error: io::Error) -> Unwritten {
    Unwritten::Io { path: path.to_owned(), error }
}

fn is_ours(name: &OsStr) -> bool {
    name == CURRENT || name == NEXT || is_version(name)
}

fn is_version(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(VERSION.as_bytes())
}

/// The number in the name of a version's folder; 0 where there is none.
fn number_of(name: &OsStr) -> u64 {
    let number = name.to_str().and_then(|name| name.strip_prefix(VERSION)?.rsplit_once('-')?.1.parse().ok());
    number.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_process_has_left_goes_and_nothing_else() {
        let outside = tempfile::tempdir().expect("a folder");
        let folder = tempfile::tempdir_in(outside.path()).expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for version in ["version-0x1-1", "version-0x2-2", "version-0x3-7"] {
            fs::create_dir_all(at(version).join("below")).expect("a folder");
        }
        symlink("version-0x2-2", at(CURRENT)).expect("a link");
        symlink("version-0x3-7", at(NEXT)).expect("a link");
        let mut opened = Folder::open(folder.path()).expect("a folder of ours");
        opened.tidy().expect("tidied");
        assert_eq!((opened.current(), opened.number), (Some(at("version-0x2-2")), 7));
        let left: Vec<_> =
            ["version-0x1-1", "version-0x2-2", "version-0x3-7"].map(|version| at(version).exists()).into();
        assert_eq!(left, [false, true, false]);
        // A link to elsewhere is not ours.
        for elsewhere in [outside.path().to_owned(), "..".into(), "version-x/../..".into()] {
            fs::remove_file(at(CURRENT)).expect("removed");
            symlink(elsewhere, at(CURRENT)).expect("a link");
            assert_eq!(opened.current(), None);
        }
        fs::write(at("notes"), "").expect("a file");
        assert!(Folder::open(folder.path()).is_err_and(|error| error.to_string().contains("notes")));
    }

    #[test]
    fn one_lock_at_a_time_is_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = [0, 1].map(|_| Folder::open(folder.path()).expect("a folder"));
        let lock = first.lock().expect("a lock");
        assert!(lock.is_some());
        assert!(second.lock().expect("an answer").is_none());
        drop(lock);
        assert!(second.lock().expect("an answer").is_some());
    }
}
