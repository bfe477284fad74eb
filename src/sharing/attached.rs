//! What a cache of another process's tree reads and tells.
//!
//! Whoever reads looks first whether the file has a newer root, which is two loads, and takes up its version then. So no thread
//! is needed for reads. A cache that has consumers has one thread, which waits on a number in the side file until the writer
//! wakes it, and takes up versions in the same way.
//!
//! About once a second somebody who reads also looks whether the file still has its name: so a writer that comes back with
//! another file is found, whatever has become of the old one.
//!
//! In the child of a fork all of this goes on but for the thread and its consumers: no lock of the parent's is taken there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::opened::{Opened, Side, Unusable, Word};
use super::time;
use crate::clock;
use crate::error::{Error, Fault, Status};
use crate::fork::Origin;
use crate::panics::catch;
use crate::share::{Identity, Loader, Root};
use crate::state::{EventKind, State};
use crate::thread;
use crate::tree::Version;

/// How often it is looked whether the file still has its name, and how long a wait lasts that may be woken by nobody.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A wait never lasts longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Of a moment that has not come.
const NEVER: i64 = i64::MIN;

/// What a reader has to tell its cache. It is told by one thread at a time.
pub(crate) trait Reader: Send + Sync {
    /// Which tree it is: once, before all else. `in_child`, here and below: this is the child of a fork, where nobody is told, and
    /// no lock may be taken.
    fn is_of(&self, identity: &Identity, in_child: bool);
    /// The version to be read from now on; about so many nodes differ from the one before.
    fn publish(&self, version: Arc<Version>, changes: usize, in_child: bool);
    fn event(&self, kind: EventKind);
    fn fault(&self, fault: Fault);
}

/// A share file of another process, or of another cache in this one.
pub(crate) struct Attached {
    path: PathBuf,
    reader: Arc<dyn Reader>,
    origin: Origin,
    /// `None`: there is no file yet.
    opened: ArcSwapOption<Opened>,
    /// What is guarded by a lock, of this process.
    work: ArcSwap<Work>,
    /// When somebody is to look whether the file still has its name, in milliseconds since the machine was started.
    look_at: AtomicU64,
    /// When a cut that was taken up was last known to be the server's tree, in the same milliseconds but with sleep, or [`NEVER`].
    cut_at: AtomicI64,
    is_closed: AtomicBool,
    versions: AtomicU64,
    cuts: AtomicU64,
    watcher: Mutex<Option<JoinHandle<()>>>,
    /// What the thread waits on.
    waits_on: ArcSwapOption<Opened>,
}

struct Work {
    origin: Origin,
    taking: Mutex<Taking>,
}

/// How far versions were taken up.
#[derive(Default)]
struct Taking {
    loader: Loader,
    /// Which tree it is.
    identity: Option<Identity>,
    /// The file and the sequence number of the version that was taken up last, or that cannot be.
    looked_at: Option<(Arc<Opened>, u64)>,
    changes: u64,
    told: Told,
    /// The fault that was told last.
    fault: Option<String>,
}

/// What consumers were told of the connection.
#[derive(Default)]
struct Told {
    standing: Standing,
    is_initialized: bool,
    is_in_step: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Connected,
    Suspended,
    Lost,
}

impl Standing {
    /// By what the writer said; `None`: nothing is said of a connection.
    fn of(word: &Word) -> Option<Standing> {
        match word.page.standing(&time::now()).0 {
            State::Suspended => Some(Standing::Suspended),
            State::Lost => Some(Standing::Lost),
            State::InStep | State::CatchingUp => Some(Standing::Connected),
            // A writer that begins anew, and has heard a server.
            State::Loading if word.page.heard.real != 0 => Some(Standing::Connected),
            _ => None,
        }
    }
}

impl Attached {
    /// Attaches to a file, which need not be there yet.
    ///
    /// # Errors
    /// There is something that cannot be read; the message says what.
    pub(crate) fn open(path: &Path, reader: Arc<dyn Reader>) -> Result<Arc<Attached>, Error> {
        let path = std::path::absolute(path)
            .map_err(|error| Error::InvalidArgument(format!("file {:?}: {error}", path.display())))?;
        let attached = Attached {
            path,
            reader,
            origin: Origin::here(),
            opened: ArcSwapOption::empty(),
            work: ArcSwap::from_pointee(Work::new(None)),
            look_at: AtomicU64::new(0),
            cut_at: AtomicI64::new(NEVER),
            is_closed: AtomicBool::new(false),
            versions: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            watcher: Mutex::default(),
            waits_on: ArcSwapOption::empty(),
        };
        match Opened::open(&attached.path) {
            Ok(_) | Err(Unusable::Missing) => {}
            Err(error) => {
                let message = format!("cannot attach to {}: {error}", attached.path.display());
                return Err(Error::InvalidArgument(message));
            }
        }
        attached.look(true);
        Ok(Arc::new(attached))
    }

    /// To be called before each read: takes up what is new.
    #[inline]
    pub(crate) fn refresh(&self) {
        let is_due = millis() >= self.look_at.load(Ordering::Relaxed);
        let is_news = self
            .opened
            .load()
            .as_ref()
            .is_some_and(|opened| opened.newest_number() != opened.looked_at.load(Ordering::Relaxed));
        if is_due || is_news {
            self.look(is_due);
        }
    }

    /// How the tree stands, and when the writer has heard a server.
    pub(crate) fn standing(&self) -> (State, Option<Duration>) {
        let word = self.heed();
        match &*self.opened.load() {
            Some(opened) if opened.is_taken() => opened.standing(word),
            _ => (State::Loading, None),
        }
    }

    /// What the writer says. That is of what it has written before: so what is new is taken up behind it, and another file is
    /// looked for if the writer speaks of one.
    fn heed(&self) -> Option<Word> {
        let opened = self.opened.load_full();
        let word = opened.as_ref().and_then(|opened| opened.word());
        match (&opened, &word) {
            (Some(opened), Some(word)) if !opened.is_of(&word.page) => self.look(true),
            _ => self.refresh(),
        }
        match &*self.opened.load() {
            // Another file has other numbers.
            Some(other) if opened.is_none_or(|opened| !Arc::ptr_eq(&opened, other)) => other.word(),
            _ => word,
        }
    }

    /// Whether the writer's cache is initialized, and what it had then can be read.
    pub(crate) fn is_initialized(&self) -> bool {
        let word = self.heed();
        let (opened, Some(word)) = (self.opened.load(), word) else { return false };
        opened.as_ref().is_some_and(|opened| opened.is_of(&word.page) && opened.is_initialized(&word))
    }

    /// How long ago the newest cut that was taken up was the server's tree, as far as that is known: since when somebody asked
    /// last it may have been so for longer.
    pub(crate) fn age_of_cut(&self) -> Option<Duration> {
        let age = self.opened.load().as_ref().and_then(|opened| opened.age_of_cut());
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let now = millis(clock::since_boot());
        if let Some(age) = age {
            // The machine may have been started since.
            self.cut_at.fetch_max(now.saturating_sub(millis(age)), Ordering::Relaxed);
        }
        let cut_at = Some(self.cut_at.load(Ordering::Relaxed)).filter(|at| *at != NEVER)?;
        Some(Duration::from_millis(now.saturating_sub(cut_at).max(0).cast_unsigned()))
    }

    /// How many versions were taken up, and how many of them were cuts.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.versions.load(Ordering::Relaxed), self.cuts.load(Ordering::Relaxed))
    }

    /// Waits, at most for so long, until the writer's cache is initialized.
    pub(crate) fn wait_initialized(&self, timeout: Option<Duration>) -> Result<(), Error> {
        // If the deadline is too far away for the clock, there is none.
        let deadline = timeout.and_then(|timeout| clock::now().checked_add(timeout));
        loop {
            let opened = self.opened.load_full();
            let seen = wake_number(opened.as_deref());
            if self.is_closed.load(Ordering::SeqCst) {
                return Err(Error::Closed);
            }
            // Behind whoever takes up a version now.
            self.look_in_turn();
            if self.is_initialized() {
                return Ok(());
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(clock::now()));
            match left {
                Some(Duration::ZERO) => {
                    return Err(Error::Timeout { after: timeout.unwrap_or_default(), last: None });
                }
                // Nobody wakes one who waits for a file, and a close may come right before the wait.
                left => wait(opened.as_deref(), seen, left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY)),
            }
        }
    }

    // --- Taking up versions ------------------------------------------------------------------------------------------

    /// Takes up what is new, unless another thread does so at this moment. `at_name`: the file is looked for by its name, too.
    fn look(&self, at_name: bool) {
        let mut work = self.work.load_full();
        if !work.origin.is_here() {
            // A lock may be held by a thread that this process does not have.
            let identity = self.opened.load().as_ref().map(|opened| opened.identity.clone());
            let own = Arc::new(Work::new(identity));
            // Of two threads that come here at once, one makes it.
            self.work.compare_and_swap(&work, own);
            work = self.work.load_full();
        }
        let in_child = self.in_child();
        let mut taking = match work.taking.try_lock() {
            Ok(taking) => taking,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.look_with(&mut taking, at_name, in_child);
    }

    /// As [`look`](Self::look), and waits for the thread that does so.
    fn look_in_turn(&self) {
        let work = self.work.load_full();
        if work.origin.is_here() {
            let mut taking = lock(&work.taking);
            self.look_with(&mut taking, true, self.in_child());
        }
    }

    /// Whether this process is a child of the one that attached.
    fn in_child(&self) -> bool {
        !self.origin.is_here()
    }

    fn look_with(&self, taking: &mut Taking, at_name: bool, in_child: bool) {
        if self.is_closed.load(Ordering::SeqCst) {
            return;
        }
        let mut opened = self.opened.load_full();
        if at_name || opened.as_ref().is_some_and(|opened| opened.has_moved()) {
            opened = self.look_for_file(taking, opened, in_child);
        }
        let Some(mut opened) = opened else { return };
        // In this order: a writer puts down that its connection is back, and then what has come of it.
        let (mut root, mut word) = (opened.newest_root(), opened.word());
        self.tell_back(taking, word, in_child);
        // The file that is left says so in its last root.
        for _ in 0..2 {
            match self.take_up(taking, &opened, root, in_child) {
                true => match self.look_for_file(taking, Some(opened.clone()), in_child) {
                    Some(other) if !Arc::ptr_eq(&other, &opened) => {
                        opened = other;
                        (root, word) = (opened.newest_root(), opened.word());
                        self.tell_back(taking, word, in_child);
                    }
                    _ => break,
                },
                false => break,
            }
        }
        if !in_child {
            self.tell_standing(taking, &opened, word);
        }
    }

    /// The file that has the name now, or else the one that was there.
    fn look_for_file(
        &self,
        taking: &mut Taking,
        opened: Option<Arc<Opened>>,
        in_child: bool,
    ) -> Option<Arc<Opened>> {
        self.look_at.store(millis() + LOOK_EVERY.as_millis() as u64, Ordering::Relaxed);
        if opened.as_ref().is_some_and(|opened| opened.is_at(&self.path)) {
            return opened;
        }
        let found = match Opened::open(&self.path) {
            Ok(found) => found,
            Err(Unusable::Missing) => return opened,
            Err(error) => {
                self.fault(taking, error.to_string(), in_child);
                return opened;
            }
        };
        match &taking.identity {
            None => {
                taking.identity = Some(found.identity.clone());
                self.reader.is_of(&found.identity, in_child);
            }
            Some(ours) if !found.identity.is_same_tree(ours) => {
                let message = format!(
                    "it is of another tree now: of {}, and this cache is of {}",
                    found.identity.root, ours.root
                );
                self.fault(taking, message, in_child);
                return opened;
            }
            Some(_) => {}
        }
        let found = Arc::new(found);
        self.opened.store(Some(found.clone()));
        Some(found)
    }

    /// Takes up the version of the root that was the newest of a file, unless that was done. Returns whether nothing follows in this
    /// file.
    fn take_up(&self, taking: &mut Taking, opened: &Arc<Opened>, root: Option<Root>, in_child: bool) -> bool {
        let number = opened.newest_number();
        let Some(root) = root else {
            self.fault(taking, "no root was written whole".to_owned(), in_child);
            return false;
        };
        if root.sequence >= number {
            opened.looked(root.sequence);
        }
        let (is_same_file, is_looked_at) = match &taking.looked_at {
            Some((file, sequence)) => {
                let is_same = Arc::ptr_eq(file, opened);
                (is_same, is_same && *sequence == root.sequence)
            }
            None => (false, false),
        };
        if is_looked_at || root.has_moved && is_same_file {
            return root.has_moved;
        }
        if !is_same_file {
            // Its objects are others.
            taking.loader = Loader::default();
        }
        taking.looked_at = Some((opened.clone(), root.sequence));
        match opened.load(&root, &mut taking.loader, false) {
            Ok(version) => {
                let changes = root.changes.saturating_sub(taking.changes);
                taking.changes = root.changes;
                taking.fault = None;
                self.versions.fetch_add(1, Ordering::Relaxed);
                self.cuts.fetch_add(u64::from(version.is_cut), Ordering::Relaxed);
                let changes = usize::try_from(changes).unwrap_or(usize::MAX);
                self.reader.publish(Arc::new(version), changes, in_child);
                opened.took(&root);
            }
            Err(error) => {
                if matches!(error, Unusable::Io(_)) {
                    // There may be memory for it later.
                    taking.looked_at = None;
                }
                self.fault(taking, error.to_string(), in_child);
            }
        }
        root.has_moved
    }

    fn fault(&self, taking: &mut Taking, what: String, in_child: bool) {
        let message = format!("cannot read {}: {what}; the version of before is kept", self.path.display());
        if taking.fault.as_ref() != Some(&message) && !in_child {
            self.reader.fault(Fault::new(Status::Protocol, message.clone()));
        }
        taking.fault = Some(message);
    }

    // --- Telling -------------------------------------------------------------------------------------------------

    /// Tells that the writer's connection is back, before what has come of it.
    fn tell_back(&self, taking: &mut Taking, word: Option<Word>, in_child: bool) {
        let is_back = word.is_some_and(|word| Standing::of(&word) == Some(Standing::Connected));
        if is_back && !in_child {
            self.tell_connection(&mut taking.told, Standing::Connected);
        }
    }

    /// Tells what has become of the writer's connection and of its tree, behind what was taken up, by what the writer said before.
    /// The order is that of a cache with a connection of its own.
    fn tell_standing(&self, taking: &mut Taking, opened: &Opened, word: Option<Word>) {
        let Some(word) = word else { return };
        let told = &mut taking.told;
        if let Some(standing) = Standing::of(&word) {
            self.tell_connection(told, standing);
        }
        if opened.is_of(&word.page) && opened.is_initialized(&word) && !told.is_initialized {
            told.is_initialized = true;
            self.reader.event(EventKind::Initialized);
        }
        let is_in_step = opened.standing(Some(word)).0 == State::InStep && told.is_initialized;
        if is_in_step && !told.is_in_step {
            self.reader.event(EventKind::InStep);
        }
        // What follows a change is no news: a cache tells it once for a connection.
        told.is_in_step |= is_in_step;
    }

    fn tell_connection(&self, told: &mut Told, standing: Standing) {
        if standing == told.standing {
            return;
        }
        if told.standing == Standing::Connected {
            self.reader.event(EventKind::ConnectionSuspended);
        }
        match standing {
            Standing::Connected => self.reader.event(EventKind::ConnectionReconnected),
            Standing::Lost => self.reader.event(EventKind::ConnectionLost),
            // The session was lost, and the one that followed is suspended: so it was told.
            Standing::Suspended => {}
        }
        told.standing = standing;
        told.is_in_step = false;
        told.is_initialized &= standing != Standing::Lost;
    }

    /// Sees to it that somebody tells consumers. To be called before one joins: then it is told the tree so far.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        self.look_in_turn();
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.is_none() && !self.is_closed.load(Ordering::SeqCst) {
            let own = self.clone();
            *watcher = Some(thread::spawn("treecache-share", move || {
                if let Err(message) = catch(|| own.run()) {
                    let message = format!("the thread that reads a share file has panicked: {message}");
                    log::error!("{message}");
                    own.reader.fault(Fault::new(Status::Panic, message));
                }
            })?);
        }
        Ok(())
    }

    fn run(&self) {
        while !self.is_closed.load(Ordering::SeqCst) {
            let opened = self.opened.load_full();
            let seen = wake_number(opened.as_deref());
            self.look_in_turn();
            let now = self.opened.load();
            if now.as_ref().map(Arc::as_ptr) != opened.as_ref().map(Arc::as_ptr) {
                continue;
            }
            self.waits_on.store(opened.clone());
            wait(opened.as_deref(), seen, self.patience(opened.as_deref()));
        }
    }

    /// How long nothing can come of which the writer does not tell.
    fn patience(&self, opened: Option<&Opened>) -> Duration {
        let page = opened.filter(|opened| opened.is_taken()).and_then(|opened| {
            let page = opened.side().and_then(Side::page)?;
            opened.is_of(&page).then_some(page)
        });
        let standing = page.map(|page| (page.standing(&time::now()), page.session_timeout));
        match standing {
            // Until it has been silent for too long.
            Some((
                (State::InStep | State::CatchingUp | State::Warm | State::Loading, Some(age)),
                session_timeout,
            )) => {
                let left = session_timeout.saturating_sub(age) + Duration::from_millis(1);
                left.min(LONGEST_WAIT)
            }
            // It may come back with other files, or never.
            _ => LOOK_EVERY,
        }
    }

    /// Lets go of the file's news: no version is taken up any more. Never waits.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        for opened in [&self.opened, &self.waits_on] {
            if let Some(side) = opened.load().as_ref().and_then(|opened| opened.side()) {
                side.wake();
            }
        }
    }

    /// Waits until the thread has ended, behind [`close`](Self::close).
    pub(crate) fn wait_closed(&self) {
        let watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(watcher) = watcher.filter(|watcher| !thread::is_current(watcher)) else { return };
        while !watcher.is_finished() {
            // It may have been on its way to the wait.
            self.wake();
            std::thread::sleep(Duration::from_millis(1));
        }
        _ = watcher.join();
    }
}

impl Work {
    /// To go on with a tree, if it is known which.
    fn new(identity: Option<Identity>) -> Work {
        Work { origin: Origin::here(), taking: Mutex::new(Taking { identity, ..Taking::default() }) }
    }
}

fn lock(taking: &Mutex<Taking>) -> MutexGuard<'_, Taking> {
    taking.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis() -> u64 {
    clock::coarse_millis()
}

fn wake_number(opened: Option<&Opened>) -> u32 {
    opened.and_then(Opened::side).map_or(0, Side::wake_number)
}

/// Waits until the writer has something new, or somebody wakes all who wait; where there is no side file, a little.
fn wait(opened: Option<&Opened>, seen: u32, timeout: Duration) {
    match opened.and_then(Opened::side) {
        Some(side) => side.wait(seen, timeout),
        None => std::thread::sleep(timeout.min(Duration::from_millis(100))),
    }
}
