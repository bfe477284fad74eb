//! A share file as a reader has it, and its side file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::file;
use super::map::Map;
use super::time;
use crate::share::{
    Damaged, Header, Identity, Keeper, Loader, Moment, OBJECTS_AT, Page, ROOTS_AT, Refused, Root, Written,
};
use crate::state::State;
use crate::tree::Version;

/// How much further than to its end a file is mapped, so that what is appended is seen without another map.
const AHEAD: usize = 64 << 20;

/// How often what is being written is looked at again.
const MOST_LOOKS: usize = 1000;

/// Why a share file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// There is none, or nothing is in it yet.
    #[error("there is no such file")]
    Missing,
    /// It is something else, of another version, on another machine.
    #[error("{0}")]
    Refused(String),
    /// It was written by this library, and is not any more what was written.
    #[error("{0}")]
    Damaged(Damaged),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Refused> for Unusable {
    fn from(refused: Refused) -> Unusable {
        match refused {
            Refused::Damaged(damaged) => Unusable::Damaged(damaged),
            other => Unusable::Refused(other.to_string()),
        }
    }
}

impl From<Damaged> for Unusable {
    fn from(damaged: Damaged) -> Unusable {
        Unusable::Damaged(damaged)
    }
}

/// A share file that is mapped. All of it may be used by several threads, and in the child of a fork, whatever another thread
/// was doing.
pub(crate) struct Opened {
    file: File,
    header: Header,
    pub(crate) identity: Identity,
    /// The newest map. Trees keep those that they are parts of.
    map: ArcSwap<Map>,
    side: Option<Side>,
    /// What [`newest_number`](Self::newest_number) was when somebody looked at the newest root.
    pub(super) looked_at: AtomicU64,
    /// The number of the root whose version was taken up last, and whether that is a cut.
    taken: AtomicU64,
    takes_cut: AtomicBool,
    /// The writer's cache was initialized, and what it had then was taken up.
    was_initialized: AtomicBool,
}

/// What a writer said, and the number of its newest root then: what it said is of that version, or of one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(super) page: Page,
    pub(super) number: u64,
}

impl Opened {
    pub(crate) fn open(path: &Path) -> Result<Opened, Unusable> {
        let file = open(path)?;
        let len = file.metadata()?.len();
        if len == 0 {
            return Err(Unusable::Missing);
        }
        let mut head = [0; Header::LEN];
        let read = file.read_at(&mut head, 0)?;
        let header = Header::decode(&head[..read])?;
        let damaged = |at, what| Unusable::Damaged(Damaged { at, what });
        if len < OBJECTS_AT {
            return Err(damaged(len, "it ends too soon"));
        }
        let mut map = mapped(&file, len)?;
        let root = newest_root(&map).ok_or_else(|| damaged(ROOTS_AT[0], "no root was written whole"))?;
        // Behind the root: its writer may have appended in between.
        let len = file.metadata()?.len();
        if !(OBJECTS_AT..=len).contains(&root.length) {
            return Err(damaged(len, "it ends too soon"));
        }
        if !map.lasts(root.length) {
            map = mapped(&file, root.length)?;
            map.lasts(root.length);
        }
        let written = Written {
            objects: map.bytes(OBJECTS_AT, (root.length - OBJECTS_AT) as usize),
            lineage: header.lineage,
            keeper: None,
        };
        let identity = Identity::read(&written)?;
        let side = Side::open(path).ok();
        Ok(Opened {
            file,
            header,
            identity,
            map: ArcSwap::from_pointee(map),
            side,
            looked_at: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            takes_cut: AtomicBool::new(false),
            was_initialized: AtomicBool::new(false),
        })
    }

    /// Whether this is the file that has its name, and its side file too; without a side file, whether there still is none.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let has_its_side = || match &self.side {
            Some(side) => file::is_at(&side.file, &file::side_of(path)),
            None => Side::open(path).is_err(),
        };
        file::is_at(&self.file, path) && has_its_side()
    }

    /// Whether there is another file with this name, as far as that can be known without asking the system.
    pub(super) fn has_moved(&self) -> bool {
        self.side().and_then(Side::page).is_some_and(|page| !self.is_of(&page))
    }

    /// Whether the writer speaks of this file.
    pub(super) fn is_of(&self, page: &Page) -> bool {
        page.file == self.header.file
    }

    pub(super) fn side(&self) -> Option<&Side> {
        self.side.as_ref()
    }

    /// The number of the newest root, as far as it was written. It is another one with each root.
    #[inline]
    pub(super) fn newest_number(&self) -> u64 {
        let map = self.map.load();
        let [a, b] = ROOTS_AT.map(|at| map.number(at + Root::NUMBER_AT));
        // Of the older place nothing is to be heard any more.
        a.max(b)
    }

    pub(super) fn looked(&self, number: u64) {
        self.looked_at.store(number, Ordering::Relaxed);
    }

    /// What the writer says now.
    pub(super) fn word(&self) -> Option<Word> {
        let page = self.side().and_then(Side::page)?;
        Some(Word { page, number: self.newest_number() })
    }

    /// The version of this root can be read from now on.
    pub(super) fn took(&self, root: &Root) {
        self.takes_cut.store(root.is_cut, Ordering::Relaxed);
        self.taken.store(root.sequence, Ordering::Release);
    }

    /// Whether a version of this file was taken up.
    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire) > 0
    }

    /// Whether what there was when the writer said so was taken up.
    pub(super) fn has_taken(&self, word: &Word) -> bool {
        self.is_taken() && self.taken.load(Ordering::Acquire) >= word.number
    }

    /// The same, and what can be read is a cut.
    fn has_taken_cut(&self, word: &Word) -> bool {
        self.has_taken(word) && self.takes_cut.load(Ordering::Relaxed)
    }

    /// Whether the writer's cache is initialized, and what it had then was taken up.
    pub(super) fn is_initialized(&self, word: &Word) -> bool {
        if !word.page.is_initialized {
            // The word may be an old one.
            if self.side().and_then(Side::page).is_some_and(|page| !page.is_initialized) {
                self.was_initialized.store(false, Ordering::Relaxed);
            }
            return false;
        }
        let is_taken = self.was_initialized.load(Ordering::Relaxed) || self.has_taken(word);
        if is_taken {
            self.was_initialized.store(true, Ordering::Relaxed);
        }
        is_taken
    }

    pub(crate) fn newest_root(&self) -> Option<Root> {
        newest_root(&self.map.load())
    }

    /// The version of a root. Its tree is made of parts of the file, or `copied`.
    pub(crate) fn load(&self, root: &Root, loader: &mut Loader, copied: bool) -> Result<Version, Unusable> {
        if self.file.metadata()?.len() < root.length {
            return Err(Unusable::Damaged(Damaged { at: root.length, what: "it ends before that" }));
        }
        let mut map = self.map.load_full();
        if !map.lasts(root.length) {
            map = Arc::new(mapped(&self.file, root.length)?);
            map.lasts(root.length);
            self.map.store(map.clone());
        }
        let keeper: Arc<dyn Keeper> = map.clone();
        let written = Written {
            objects: map.bytes(OBJECTS_AT, (root.length - OBJECTS_AT) as usize),
            lineage: self.header.lineage,
            keeper: (!copied).then_some(&keeper),
        };
        Ok(root.load(loader, &written)?)
    }

    /// How its writer stands, as an attached process is told; by what the writer said before the newest version was looked for.
    pub(crate) fn standing(&self, word: Option<Word>) -> (State, Option<Duration>) {
        // The clock comes last: what was put down meanwhile is no word of the future.
        let age_of_root = || self.newest_root().and_then(|root| root.heard.ago(&time::now()));
        let Some(word) = word else {
            // Without a side file nobody says that the writer is there.
            return (State::Suspended, age_of_root());
        };
        let is_of_this = self.is_of(&word.page);
        match word.page.standing(&time::now()) {
            // Of another file, or of a version that is not there yet.
            (State::InStep, _) if !is_of_this => (State::CatchingUp, age_of_root()),
            (State::InStep, age) if !self.has_taken_cut(&word) => (State::CatchingUp, age),
            (state, _) if !is_of_this => (state, age_of_root()),
            standing => standing,
        }
    }

    /// When the writer, or the one before it, has heard a server of which the tree is; by what is kept, whatever has become of
    /// the side file.
    pub(crate) fn heard(&self) -> Moment {
        let word = self.word().filter(|word| self.speaks_of_the_tree(&word.page));
        let root = self.newest_root().map(|root| root.heard);
        let heard = word.map(|word| word.page.heard).into_iter().chain(root);
        heard.max_by_key(|heard| heard.real).unwrap_or_default()
    }

    /// How long ago what can be read was the server's tree, if it is a cut, and the newest that there is.
    pub(super) fn age_of_cut(&self) -> Option<Duration> {
        let word = self.word();
        let root = self.newest_root().filter(|root| root.sequence == self.taken.load(Ordering::Acquire))?;
        let is_cut = root.is_cut && word.is_none_or(|word| self.has_taken_cut(&word));
        let word = word.filter(|word| self.speaks_of_the_tree(&word.page)).map(|word| word.page.heard);
        let now = time::now();
        let heard = word.into_iter().chain([root.heard]);
        heard.filter_map(|heard| heard.ago(&now)).min().filter(|_| is_cut)
    }

    /// Whether the server that the writer heard is said to have the tree. What it heard while it was catching up says nothing of
    /// the tree.
    fn speaks_of_the_tree(&self, page: &Page) -> bool {
        let follows = matches!(page.state, State::CatchingUp | State::Warm | State::Loading | State::Latent);
        self.is_of(page) && !follows
    }
}

fn open(path: &Path) -> Result<File, Unusable> {
    // Whatever it is, it is not waited for.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(Unusable::Refused("it is no file".to_owned()));
    }
    match file::medium(&file)? {
        Ok(_) => Ok(file),
        Err(name) => Err(Unusable::Refused(on_other_medium(name))),
    }
}

/// What is said of a file on a file system of that name.
pub(super) fn on_other_medium(name: &str) -> String {
    format!("it is on {name}, where processes do not see at once what others write; use a local file system")
}

/// Maps a file that has so many bytes, and more to come.
fn mapped(file: &File, len: u64) -> io::Result<Map> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // It costs nothing but addresses, of which there may be few.
    Map::new(file, len.saturating_mul(2).max(len.saturating_add(AHEAD))).or_else(|_| Map::new(file, len))
}

fn newest_root(map: &Map) -> Option<Root> {
    for _ in 0..MOST_LOOKS {
        let places = ROOTS_AT.map(|at| map.load::<{ Root::LEN }>(at));
        let root = Root::newest([&places[0], &places[1]]);
        // If one is being written, the other one is whole; unless that was written in the middle of this look.
        if root.is_some() {
            return root;
        }
        std::hint::spin_loop();
    }
    None
}

/// The side file: how the writer stands, and where one waits for it.
pub(super) struct Side {
    file: File,
    map: Map,
}

impl Side {
    fn open(path: &Path) -> Result<Side, Unusable> {
        let file = open(&file::side_of(path))?;
        let mut head = [0; 16];
        if file.metadata()?.len() < Page::FILE_LEN || file.read_at(&mut head, 0)? < head.len() {
            return Err(Unusable::Missing);
        }
        Page::check_header(&head)?;
        let map = Map::new(&file, Page::FILE_LEN as usize)?;
        Ok(Side { file, map })
    }

    /// As it was written whole last; `None`: it is damaged.
    pub(super) fn page(&self) -> Option<Page> {
        (0..MOST_LOOKS).find_map(|_| Page::decode(&self.map.load(Page::AT)))
    }

    pub(super) fn wake_number(&self) -> u32 {
        self.map.wake_number(Page::WAKE_AT)
    }

    /// Waits until the writer has something new since the number was seen, or until somebody wakes all who wait; at most so
    /// long.
    pub(super) fn wait(&self, seen: u32, timeout: Duration) {
        self.map.wait(Page::WAKE_AT, seen, timeout);
    }

    /// Wakes all who wait.
    pub(super) fn wake(&self) {
        self.map.wake(Page::WAKE_AT);
    }
}
