//! The thread that writes what a cache publishes.
//!
//! It takes the newest version when it has written the one before: where writing is slow, versions in between are left out, and
//! the cache waits for nothing. Whatever fails is told as a fault, once, and tried again.
//!
//! Nothing that readers may look at is ever written over: see `docs/share-format.md` for the order of writes, and for what is
//! left at each point where the process or the machine may stop.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::file::{self, Lock, Medium};
use super::opened::{Opened, Unusable, on_other_medium};
use super::time;
use crate::error::{Fault, Status};
use crate::fork::NotInherited;
use crate::panics::catch;
use crate::random;
use crate::share::{Appender, Header, Identity, Moment, OBJECTS_AT, Page, Root};
use crate::state::State;
use crate::thread;
use crate::tree::Version;

/// How long after something failed it is tried again, and how often it is looked whether another writer has gone.
const AGAIN: Duration = Duration::from_secs(1);
/// A process that is being started holds a lock for a moment that its parent has let go of: so a refusal is none before
/// it has lasted.
const SOON: Duration = Duration::from_millis(100);
const TAKEN_AFTER: Duration = Duration::from_secs(1);
/// How often a word of the server's is put down, at least.
const BEATS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// A file is written anew when it is so many times as long as it was when it was new, and so many bytes longer.
const MOST_TIMES: u64 = 4;
const SPARE: u64 = 8 << 20;

/// What a writer is to write, and whom it asks and tells.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) contact: Box<dyn Fn() -> Contact + Send>,
    pub(crate) fault: Box<dyn Fn(Fault) + Send>,
    /// The cache begins with a tree that somebody has read before.
    pub(crate) is_warm: bool,
    /// When a server was heard last by whoever has read that tree.
    pub(crate) heard_before: Moment,
}

/// What a client has heard.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Contact {
    /// The server's last word.
    pub(crate) heard: Option<Instant>,
    /// How long a session lives without a word.
    pub(crate) session_timeout: Option<Duration>,
}

/// A thread that writes one share file.
pub(crate) struct Writer {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where what is to be written is put.
struct Desk {
    order: Mutex<Order>,
    changed: Condvar,
}

#[derive(Default)]
struct Order {
    /// The newest version that was not taken to be written.
    version: Option<Arc<Version>>,
    /// About how many nodes all versions have changed.
    changes: u64,
    standing: Option<(State, bool)>,
    /// When the newest cut was last known to be the server's tree, other than by being in step.
    current_at: Option<Instant>,
    is_changed: bool,
    is_over: bool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Order)) {
        let mut order = self.lock();
        change(&mut order);
        order.is_changed = true;
        drop(order);
        self.changed.notify_one();
    }
}

impl Writer {
    pub(crate) fn spawn(source: Source) -> io::Result<Writer> {
        let desk = Arc::new(Desk { order: Mutex::default(), changed: Condvar::new() });
        let own = desk.clone();
        let thread = thread::spawn("treecache-share", move || {
            let mut writing = Writing::new(source);
            if let Err(message) = catch(|| writing.run(&own)) {
                let message = format!("the thread that writes a share file has panicked: {message}");
                log::error!("{message}");
                (writing.source.fault)(Fault::new(Status::Panic, message));
            }
        })?;
        Ok(Writer { desk, thread: Mutex::new(Some(thread)) })
    }

    /// The newest version, which differs in about so many nodes from the one before, and when the newest cut was last known to be
    /// the server's tree, other than by being in step. Never waits for a file. Returns the version whose place it takes, if the
    /// writer has not taken that yet, for the caller to free.
    #[must_use]
    pub(crate) fn publish(
        &self,
        version: Arc<Version>,
        changes: usize,
        current_at: Option<Instant>,
    ) -> Option<Arc<Version>> {
        let mut replaced = None;
        self.desk.change(|order| {
            order.current_at = current_at;
            replaced = order.version.replace(version);
            order.changes = order.changes.wrapping_add(changes as u64);
        });
        replaced
    }

    /// How the cache stands, and whether it is initialized; `current_at` as in [`publish`](Self::publish).
    pub(crate) fn stands(&self, state: State, is_initialized: bool, current_at: Option<Instant>) {
        self.desk.change(|order| {
            (order.standing, order.current_at) = (Some((state, is_initialized)), current_at);
        });
    }

    /// Nothing follows. What was published is still written.
    pub(crate) fn end(&self) {
        self.desk.change(|order| order.is_over = true);
    }

    /// Waits until all is written, after [`end`](Self::end).
    pub(crate) fn wait(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|thread| !thread::is_current(thread)) {
            _ = thread.join();
        }
    }
}

/// Why something was not written.
enum Failure {
    /// Somebody else writes this file.
    Taken,
    Other(String),
}

impl Failure {
    fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let what = format!("{what} {}", path.display());
        move |error| Failure::Other(format!("cannot {what}: {error}"))
    }
}

/// The side file of a writer that has the lock.
struct SideFile {
    /// It must not be mapped.
    _lock: Lock,
    file: File,
    medium: Medium,
    wake_number: u32,
    /// What is in it.
    page: Option<Page>,
    /// The same file as readers have it, to wake them.
    waker: Option<super::map::Map>,
}

/// The share file.
struct ShareFile {
    file: File,
    header: Header,
    appender: Appender,
    /// The root that was written last.
    root: Root,
    /// How long it was when it was new.
    len_at_first: u64,
}

struct Writing {
    source: Source,
    side: Option<SideFile>,
    share: Option<ShareFile>,
    /// The version that is to be in the file, or is there.
    version: Option<Arc<Version>>,
    is_written: bool,
    changes: u64,
    standing: (State, bool),
    /// What the server has said: from before the cache stood so.
    contact: Contact,
    /// When a cut was last known to be the server's tree, other than by being in step.
    current_at: Option<Instant>,
    /// When a server was heard last while the cache was in step.
    in_step_at: Option<Instant>,
    /// Since when somebody else has the lock.
    taken_since: Option<Instant>,
    /// What was told last of what fails.
    told: Option<String>,
}

impl Writing {
    fn new(source: Source) -> Writing {
        let standing = (State::Loading, false);
        Writing {
            source,
            side: None,
            share: None,
            version: None,
            is_written: true,
            changes: 0,
            standing,
            contact: Contact::default(),
            current_at: None,
            in_step_at: None,
            taken_since: None,
            told: None,
        }
    }

    fn run(&mut self, desk: &Desk) {
        let mut pause = Duration::ZERO;
        loop {
            let is_over = self.take(desk, pause);
            pause = match self.write() {
                Ok(()) => {
                    self.taken_since = None;
                    if self.told.take().is_some() {
                        log::info!("{} is written again", self.source.path.display());
                    }
                    self.beat()
                }
                Err(Failure::Taken)
                    if self.taken_since.get_or_insert_with(Instant::now).elapsed() < TAKEN_AFTER =>
                {
                    SOON
                }
                Err(failure) => {
                    self.tell(failure);
                    AGAIN
                }
            };
            if is_over {
                return;
            }
        }
    }

    /// Takes what is new, and waits for it, at most so long. Returns whether it is the last.
    fn take(&mut self, desk: &Desk, pause: Duration) -> bool {
        let order = desk.lock();
        let is_quiet = |order: &mut Order| !order.is_changed && !order.is_over;
        drop(desk.changed.wait_timeout_while(order, pause, is_quiet));
        // First, so that no word of a server counts for a tree that it has made an old one.
        self.contact = (self.source.contact)();
        let mut order = desk.lock();
        order.is_changed = false;
        (self.changes, self.standing) = (order.changes, order.standing.unwrap_or(self.standing));
        self.current_at = order.current_at;
        let (version, is_over) = (order.version.take(), order.is_over);
        drop(order);
        if version.is_some() {
            (self.version, self.is_written) = (version, false);
        }
        if self.standing.0 == State::InStep {
            self.in_step_at = self.contact.heard;
        }
        if is_over {
            self.standing.0 = State::Closed;
        }
        is_over
    }

    /// How long nobody needs to look whether a server was heard.
    fn beat(&self) -> Duration {
        let timeout = self.contact.session_timeout.unwrap_or(BEATS[1] * 10);
        (timeout / 10).clamp(BEATS[0], BEATS[1])
    }

    fn tell(&mut self, failure: Failure) {
        let path = self.source.path.display();
        let (status, message) = match failure {
            Failure::Taken => (
                Status::State,
                format!(
                    "share.file: {path} is written by another cache; this one goes on without it, until that is gone"
                ),
            ),
            Failure::Other(message) => {
                (Status::Connection, format!("share.file: {message}; the cache goes on without it"))
            }
        };
        if self.told.as_ref() != Some(&message) {
            (self.source.fault)(Fault::new(status, message.clone()).at(&self.source.identity.root));
            self.told = Some(message);
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.hold_lock()?;
        if let Some(share) = &self.share
            && !file::is_at(&share.file, &self.source.path)
        {
            // Somebody has removed it, or put another one in its place.
            self.is_written = false;
            self.leave_share();
        }
        if let Some(version) = self.version.clone().filter(|_| !self.is_written) {
            self.write_connection()?;
            self.write_version(&version)?;
            self.is_written = true;
        }
        self.write_page()
    }

    // --- The side file -------------------------------------------------------------------------------------------

    /// Sees to it that this is the one writer.
    fn hold_lock(&mut self) -> Result<(), Failure> {
        let path = file::side_of(&self.source.path);
        if self.side.as_ref().is_some_and(|side| file::is_at(&side.file, &path)) {
            return Ok(());
        }
        // It was removed: whoever makes it anew may be another one.
        self.leave_share();
        self.side = None;
        let failed = |what| Failure::io(what, &path);
        let side = file::open_or_make(&path).map_err(failed("open"))?;
        let medium = match file::medium(&side).map_err(failed("look at"))? {
            Ok(medium) => medium,
            Err(name) => {
                return Err(Failure::Other(format!("{}: {}", path.display(), on_other_medium(name))));
            }
        };
        let to_be_locked = NotInherited::open(|| file::open_or_make(&path)).map_err(failed("open"))?;
        let lock = Lock::take(to_be_locked).map_err(failed("lock"))?.ok_or(Failure::Taken)?;
        // It may have been removed between these two.
        if !file::is_at(&side, &path) || !lock.is_at(&path) {
            return Err(Failure::Taken);
        }
        self.check_is_ours()?;
        let (head, mut found) = (Page::header(), [0; 16]);
        let len = side.read_at(&mut found, 0).map_err(failed("read"))?;
        if found != head && found[..len].iter().any(|byte| *byte != 0) {
            return Err(Failure::Other(format!("{}: it is something else", path.display())));
        }
        file::write(&side, &[0], Page::FILE_LEN - 1).map_err(failed("write"))?;
        file::write(&side, &head, 0).map_err(failed("write"))?;
        let waker = super::map::Map::new(&side, Page::FILE_LEN as usize).map_err(failed("map"))?;
        let wake_number = waker.wake_number(Page::WAKE_AT);
        // What the one before has left.
        let mut page = [0; Page::LEN];
        side.read_exact_at(&mut page, Page::AT).map_err(failed("read"))?;
        let page = Page::decode(&page);
        self.side = Some(SideFile { _lock: lock, file: side, medium, wake_number, page, waker: Some(waker) });
        // What is in the share file now is another's, and what this one has read since may be newer.
        self.is_written = self.version.is_none();
        Ok(())
    }

    /// Nothing is put in the place of what is not a share file, or one of another tree.
    fn check_is_ours(&self) -> Result<(), Failure> {
        let path = &self.source.path;
        check(path, &self.source.identity).map_err(|why| Failure::Other(format!("{}: {why}", path.display())))
    }

    /// Puts down that the connection is back, before what has come of it.
    fn write_connection(&mut self) -> Result<(), Failure> {
        let is_there = |state| matches!(state, State::InStep | State::CatchingUp | State::Loading);
        let is_known = |page: &Page| is_there(page.standing(&time::now()).0) && page.heard.real != 0;
        let is_back = is_there(self.standing.0) && self.contact.heard.is_some();
        match self.side.as_ref().and_then(|side| side.page) {
            Some(page) if is_back && !is_known(&page) => {
                // Of the tree nothing is said before it is there.
                let state =
                    if self.standing.0 == State::Loading { State::Loading } else { State::CatchingUp };
                self.put_page(state, page.is_initialized && self.standing.1)
            }
            _ => Ok(()),
        }
    }

    /// Puts down how the cache stands, and when a server was heard. Wakes readers if something is new for them.
    fn write_page(&mut self) -> Result<(), Failure> {
        let (state, is_initialized) = self.standing;
        self.put_page(state, is_initialized)
    }

    fn put_page(&mut self, state: State, is_initialized: bool) -> Result<(), Failure> {
        let follows = matches!(state, State::InStep | State::CatchingUp | State::Loading | State::Latent);
        let heard = if follows { self.heard() } else { self.heard_of_tree() };
        let Some(side) = &mut self.side else { return Ok(()) };
        let page = Page {
            state,
            is_initialized,
            file: self.share.as_ref().map_or(0, |share| share.header.file),
            session_timeout: self.contact.session_timeout.unwrap_or(BEATS[1] * 10),
            heard,
        };
        let is_news = side.page.is_none_or(|old| Page { heard: page.heard, ..old } != page);
        // Clocks are read one after the other: the same moment is never quite the same.
        let is_heard = side.page.is_none_or(|old| old.heard.boot.abs_diff(page.heard.boot) > 1);
        if is_news || is_heard {
            let failed = |error| Failure::io("write", &file::side_of(&self.source.path))(error);
            file::write(&side.file, &page.encode(), Page::AT).map_err(failed)?;
            side.page = Some(page);
        }
        if is_news {
            self.wake()?;
        }
        Ok(())
    }

    fn wake(&mut self) -> Result<(), Failure> {
        let Some(side) = &mut self.side else { return Ok(()) };
        side.wake_number = side.wake_number.wrapping_add(1);
        let failed = |error| Failure::io("write", &file::side_of(&self.source.path))(error);
        file::write(&side.file, &side.wake_number.to_le_bytes(), Page::WAKE_AT).map_err(failed)?;
        if let Some(waker) = &side.waker {
            waker.wake(Page::WAKE_AT);
        }
        Ok(())
    }

    fn medium(&self) -> Medium {
        self.side.as_ref().map_or(Medium::Disk, |side| side.medium)
    }

    // --- The share file ------------------------------------------------------------------------------------------

    fn write_version(&mut self, version: &Version) -> Result<(), Failure> {
        let is_long = |share: &ShareFile| {
            let len = share.appender.end();
            len > share.len_at_first * MOST_TIMES && len > share.len_at_first + SPARE
        };
        match &self.share {
            Some(share) if !is_long(share) => self.append(version),
            _ => self.write_anew(version),
        }
    }

    /// When a server was heard last.
    fn heard(&self) -> Moment {
        self.contact.heard.map_or(self.source.heard_before, time::moment)
    }

    /// When what is written was last known to be the server's tree. Before the first cut, that is when it was heard by whoever
    /// has read what the cache began with, or else when what there is of it was read.
    fn heard_of_tree(&self) -> Moment {
        match self.current_at.max(self.in_step_at) {
            Some(at) => time::moment(at),
            None if self.source.is_warm => self.source.heard_before,
            None => self.heard(),
        }
    }

    fn root(&self, version: &Version) -> Root {
        let heard = self.heard_of_tree();
        Root {
            changes: self.changes,
            zxid: version.zxid,
            is_cut: version.is_cut,
            is_complete: version.is_complete,
            is_own: version.is_own,
            heard,
            ..Root::default()
        }
    }

    /// Writes what is new in a version, and then its root.
    fn append(&mut self, version: &Version) -> Result<(), Failure> {
        let (root, medium) = (self.root(version), self.medium());
        let Some(share) = &mut self.share else { return Ok(()) };
        let written = share.append(version, root, medium);
        if let Err(error) = written {
            share.appender.undo();
            if error.kind() != io::ErrorKind::StorageFull {
                // Of what was written before nobody knows what reaches the disk, whatever is said of the next sync.
                self.leave_share();
            }
            return Err(Failure::io("write", &self.source.path)(error));
        }
        self.wake()
    }

    /// Writes a version to a new file, puts that in the place of the one that is there, and says so in the old one.
    fn write_anew(&mut self, version: &Version) -> Result<(), Failure> {
        self.check_is_ours()?;
        let (path, new, medium) = (self.source.path.clone(), file::new_of(&self.source.path), self.medium());
        let written = self.write_new(version, &new, medium).and_then(|share| {
            file::rename(&new, &path)?;
            if medium == Medium::Disk {
                file::sync_folder(&path)?;
            }
            Ok(share)
        });
        match written {
            Ok(share) => {
                self.leave_share();
                self.share = Some(share);
                self.write_page()
            }
            Err(error) => {
                // It takes room.
                _ = file::remove(&new);
                Err(Failure::io("write", &new)(error))
            }
        }
    }

    fn write_new(&self, version: &Version, path: &Path, medium: Medium) -> io::Result<ShareFile> {
        // An earlier writer may have died at it.
        file::remove(path)?;
        let file = file::make(path)?;
        let number = || random::number().ok_or_else(|| io::Error::other("the system has no random numbers"));
        let (appender, sequence) = match &self.share {
            Some(share) => (share.appender.for_new_file(), share.root.sequence),
            None => (Appender::new(number()?), 0),
        };
        let header = Header { lineage: appender.lineage(), file: number()? };
        let root = Root { sequence, ..Root::default() };
        let mut share = ShareFile { file, header, appender, root, len_at_first: 0 };
        file::write(&share.file, &header.encode(), 0)?;
        let identity = self.source.identity.write(&mut share.appender);
        file::write(&share.file, &identity, OBJECTS_AT)?;
        share.append(version, self.root(version), medium)?;
        share.len_at_first = share.appender.end();
        Ok(share)
    }

    /// Says in the share file, if there is one, that nothing follows there.
    fn leave_share(&mut self) {
        if let Some(mut share) = self.share.take() {
            let moved = Root { has_moved: true, ..share.root };
            if let Err(error) = share.write_root(moved) {
                // Readers find the new file a little later.
                log::debug!("the old {}: {error}", self.source.path.display());
            }
            _ = self.wake();
        }
    }
}

impl ShareFile {
    fn append(&mut self, version: &Version, root: Root, medium: Medium) -> io::Result<()> {
        let ShareFile { file, appender, .. } = self;
        let mut at = appender.end();
        let stored = appender.write(&version.tree, &mut |bytes| {
            file::write(file, bytes, at)?;
            at += bytes.len() as u64;
            Ok::<(), io::Error>(())
        })?;
        // First what the root names, then the root.
        if medium == Medium::Disk {
            file::sync(file)?;
        }
        let length = appender.end();
        self.write_root(Root { tree: stored, length, ..root })?;
        // It is there from now on, also if it is not known whether it outlasts a loss of power.
        self.appender.keep(&version.tree);
        match medium {
            Medium::Disk => file::sync(&self.file),
            Medium::Memory => Ok(()),
        }
    }

    fn write_root(&mut self, root: Root) -> io::Result<()> {
        let root = Root { sequence: self.root.sequence + 1, ..root };
        file::write(&self.file, &root.encode(), Root::place(root.sequence))?;
        self.root = root;
        Ok(())
    }
}

/// Whether a share file of this tree may be put there; if not, why.
fn check(path: &Path, ours: &Identity) -> Result<(), String> {
    match Opened::open(path) {
        // What is damaged is replaced.
        Ok(opened) => check_same(&opened.identity, ours),
        Err(Unusable::Missing | Unusable::Damaged(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a tree of this kind can be put in the place of another one; if not, why.
pub(crate) fn check_same(theirs: &Identity, ours: &Identity) -> Result<(), String> {
    if (&theirs.root, &theirs.chroot) != (&ours.root, &ours.chroot) {
        let place = |it: &Identity| match it.chroot.is_root() {
            true => it.root.to_string(),
            false => format!("{} below the chroot {}", it.root, it.chroot),
        };
        return Err(format!("it is of {}, and the cache is of {}", place(theirs), place(ours)));
    }
    if theirs.selection != ours.selection {
        return Err(format!("it goes by {}, and the cache goes by {}", theirs.selection, ours.selection));
    }
    if theirs.data != ours.data {
        return Err(format!("it is made with {}, and the cache is made with {}", theirs.data, ours.data));
    }
    Ok(())
}
