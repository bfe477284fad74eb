//! What is left of a share file wherever its writer is stopped: by a signal, or with the machine's power.
//!
//! All that a writer does to files is noted while it works on a disk. Then, for each point of that: what would be there is
//! made, and opened as readers and writers open it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::file::{self, Medium};
use super::super::journal::{self, Op};
use super::{Sharing, sharing, until};
use crate::share::{ROOTS_AT, Root};
use crate::stat::{Stat, Zxid};
use crate::tree::{Node, Tree};
use crate::{Config, State, TreeCache};

const NODES: i64 = 40;
const VERSIONS: i64 = 34;
/// So that the file is made anew now and then.
const LARGE: usize = 600_000;

/// Which data node `number` has at a zxid: that of the last change.
fn data_at(zxid: i64, number: i64) -> String {
    (zxid - (zxid - number).rem_euclid(NODES)).max(1).to_string()
}

fn large_at(zxid: i64) -> Vec<u8> {
    vec![zxid as u8; LARGE + zxid as usize % 7]
}

fn put(tree: &mut Tree, path: &str, zxid: i64, data: &[u8]) {
    let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), ..Stat::default() };
    assert!(tree.put(path, Some(Node::new(data.into(), stat))));
}

/// Checks that what is read is just the version of its zxid; which that is.
fn check(cache: &TreeCache) -> i64 {
    let snapshot = cache.snapshot().expect("a snapshot");
    let zxid = snapshot.zxid().0;
    if zxid == 0 {
        assert!(snapshot.is_empty());
        return 0;
    }
    assert_eq!(snapshot.len() as i64, NODES + 2, "at {zxid}");
    for number in 0..NODES {
        let node = snapshot.get_data(format!("/foo/{number}")).expect("a node");
        assert_eq!(node.data(), data_at(zxid, number).as_bytes(), "{number} at {zxid}");
    }
    let large = snapshot.get_data("/foo/large").expect("the large one");
    assert!(large.data() == large_at(zxid), "the large one at {zxid}");
    zxid
}

/// Lets a cache write some versions to a disk, and returns what that did to files in this folder.
fn journal_in(folder: &Path) -> Vec<Op> {
    let path = folder.join("tree");
    let medium = file::medium(&std::fs::File::open(folder).expect("it is open")).expect("it is known");
    assert_eq!(medium, Ok(Medium::Disk), "{} has to be on a disk: set TMPDIR", folder.display());
    journal::begin(folder);
    let sharing: Sharing = sharing(&path);
    let mut tree = Tree::default();
    put(&mut tree, "", 1, b"");
    (0..NODES).for_each(|number| put(&mut tree, &number.to_string(), 1, b"1"));
    let mut reader = None;
    for zxid in 1..=VERSIONS {
        put(&mut tree, &(zxid % NODES).to_string(), zxid, zxid.to_string().as_bytes());
        put(&mut tree, "large", zxid, &large_at(zxid));
        match zxid {
            1 => sharing.in_step(&tree, zxid),
            _ => sharing.publish(&tree, zxid),
        }
        let reader =
            reader.get_or_insert_with(|| TreeCache::attach(&path, &Config::new()).expect("attached"));
        until("the version", || check(reader) == zxid);
    }
    drop(sharing);
    journal::end(folder)
}

/// A folder, as its processes see it, and what would be left of it without power.
#[derive(Default)]
struct Disk {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    lasting_names: BTreeMap<PathBuf, u64>,
    /// What was done to names since they last.
    unsynced: Vec<Op>,
}

#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    lasting: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

fn store(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    to.resize(to.len().max(at + bytes.len()), 0);
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

fn rename(names: &mut BTreeMap<PathBuf, u64>, op: &Op) {
    match op {
        Op::Opened { file, path } => _ = names.insert(path.clone(), *file),
        Op::Removed { path } => _ = names.remove(path),
        Op::Renamed { from, to } => {
            let file = names.remove(from).expect("there is one to be renamed");
            names.insert(to.clone(), file);
        }
        _ => {}
    }
}

impl Disk {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Written { file, at, bytes } => {
                let content = self.files.get_mut(file).expect("it was opened");
                store(&mut content.seen, *at as usize, bytes);
                content.unsynced.push((*at as usize, bytes.clone()));
            }
            Op::Synced { file } => {
                let content = self.files.get_mut(file).expect("it was opened");
                content.unsynced.clear();
                content.lasting.clone_from(&content.seen);
            }
            Op::FolderSynced => {
                self.lasting_names.clone_from(&self.names);
                self.unsynced.clear();
            }
            Op::Opened { file, path } if self.names.get(path) == Some(file) => {}
            Op::Opened { .. } | Op::Renamed { .. } | Op::Removed { .. } => {
                if let Op::Opened { file, .. } = op {
                    self.files.entry(*file).or_default();
                }
                rename(&mut self.names, op);
                self.unsynced.push(op.clone());
            }
        }
    }

    /// The zxid that must be there at least, whatever happens.
    fn lasting_zxid(&self, path: &Path) -> i64 {
        let Some(file) = self.lasting_names.get(path) else { return 0 };
        let bytes = &self.files[file].lasting;
        let place = |at: u64| bytes.get(at as usize..at as usize + Root::LEN);
        match ROOTS_AT.map(place) {
            [Some(a), Some(b)] => Root::newest([a, b]).map_or(0, |root| root.zxid.0),
            _ => 0,
        }
    }

    /// Makes what the system has, as the writer has left it, and of its next write only the beginning.
    fn make_as_seen(&self, folder: &Path, next: Option<&Op>, random: &mut fastrand::Rng) {
        for (path, file) in &self.names {
            let mut bytes = self.files[file].seen.clone();
            if let Some(Op::Written { file: of, at, bytes: more }) = next
                && of == file
            {
                store(&mut bytes, *at as usize, &more[..random.usize(..more.len())]);
            }
            std::fs::write(folder.join(path.file_name().expect("a name")), bytes).expect("written");
        }
    }

    /// Makes what could be left without power: what was synced, and of all else what chance will have.
    fn make_as_left(&self, folder: &Path, random: &mut fastrand::Rng) {
        let mut names = self.lasting_names.clone();
        // Names are kept in their order.
        let kept = random.usize(..=self.unsynced.len());
        self.unsynced[..kept].iter().for_each(|op| rename(&mut names, op));
        for (path, file) in &names {
            let content = &self.files[file];
            let mut bytes = content.lasting.clone();
            for (at, more) in &content.unsynced {
                // Disks write sectors, in any order.
                let mut from = 0;
                while from < more.len() {
                    let sector_ends = 512 - (at + from) % 512;
                    let to = (from + sector_ends).min(more.len());
                    if random.bool() {
                        store(&mut bytes, at + from, &more[from..to]);
                    }
                    from = to;
                }
            }
            std::fs::write(folder.join(path.file_name().expect("a name")), bytes).expect("written");
        }
    }
}

/// Opens what is there as a reader does, and sometimes as the next writer. Returns the zxid that is read.
fn look_at(path: &Path, as_writer: bool) -> i64 {
    let zxid = match TreeCache::attach(path, &Config::new()) {
        Ok(cache) => check(&cache),
        Err(error) => panic!("what is left cannot be attached to: {error}"),
    };
    if as_writer {
        let next = sharing(path);
        assert_eq!(check(&next.cache), zxid, "what a cache begins with");
        assert_eq!(next.cache.state().0 == State::Warm, zxid > 0);
        let mut tree = Tree::default();
        put(&mut tree, "", 99, b"");
        next.in_step(&tree, 99);
        let reader = TreeCache::attach(path, &Config::new()).expect("attached");
        until("what the next one writes", || reader.snapshot().is_ok_and(|seen| seen.zxid() == Zxid(99)));
    }
    zxid
}

fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("removed");
    }
}

#[test]
fn wherever_a_writer_is_stopped_the_last_version_is_there_whole() {
    let on_disk = tempfile::tempdir().expect("a folder");
    let ops = journal_in(on_disk.path());
    let (path, made) = (on_disk.path().join("tree"), super::folder());
    let here = made.path().join("tree");
    let renamed = ops.iter().filter(|op| matches!(op, Op::Renamed { .. })).count();
    let synced = ops.iter().filter(|op| matches!(op, Op::Synced { .. })).count();
    assert!(renamed >= 3 && synced as i64 >= 2 * VERSIONS, "{renamed} files, {synced} syncs");

    let mut random = fastrand::Rng::with_seed(7);
    let (mut disk, mut last, mut most_lost) = (Disk::default(), 0, 0);
    for (at, op) in ops.iter().enumerate() {
        let as_writer = at % 17 == 0;
        disk.make_as_seen(made.path(), Some(op), &mut random);
        let seen = look_at(&here, as_writer);
        assert!(seen >= last, "killed at {at}, {op:?}: back from {last} to {seen}");
        last = seen;
        empty(made.path());

        disk.make_as_left(made.path(), &mut random);
        let (left, lasting) = (look_at(&here, as_writer), disk.lasting_zxid(&path));
        assert!(left >= lasting, "without power at {at}: {left}, though {lasting} was synced");
        most_lost = most_lost.max(seen - left);
        empty(made.path());
        disk.apply(op);
    }
    println!("{} operations, {renamed} files; without power, at most {most_lost} versions less", ops.len());
    assert_eq!((last, disk.lasting_zxid(&path)), (VERSIONS, VERSIONS));
    assert_eq!(most_lost, 1);
}
