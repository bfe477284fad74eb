//! The thread that writes what follows of a tree, and takes away what is old.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::{info, warn};
use treecache::{Config, Error, Event, EventKind, Snapshot, TreeCache, Zxid};

use super::version::{Folder, Lock, Unwritten};
use crate::text::shown;

/// How long after something failed it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether there is a cut, where the newest version was none.
const FOR_A_CUT: Duration = Duration::from_millis(50);
/// How long a version stays after another one has become the current one, for those who are in the middle of reading it.
const STAYS: Duration = Duration::from_secs(1);
/// Writing takes at most one part in so many of the time.
const SHARE: u32 = 4;
/// So many nodes that are left out are named, of a version.
const MOST_NAMED: usize = 10;

/// A tree as plain files.
pub struct Files {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// How the files stand.
#[derive(Clone, Default)]
pub struct Standing {
    /// The version that is the current one.
    pub zxid: Option<Zxid>,
    /// Since when there is a newer version, which is not written yet.
    pub behind_since: Option<Instant>,
    /// What went wrong last, if it has not gone well since.
    pub fault: Option<String>,
}

#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct State {
    has_news: bool,
    standing: Standing,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_news(&self) {
        let mut state = self.lock();
        state.has_news = true;
        state.standing.behind_since.get_or_insert_with(Instant::now);
        drop(state);
        self.changed.notify_one();
    }
}

impl Files {
    /// Begins to write the versions of a cache, at most one in an interval.
    pub fn start(
        folder: Folder,
        cache: Arc<TreeCache>,
        root: String,
        interval: Duration,
    ) -> Result<Files, Error> {
        let desk = Arc::new(Desk::default());
        desk.has_news();
        let mut wants = Config::new();
        wants.set("listen.events", "added,updated,removed,initialized,in_step")?;
        wants.set("listen.initial", "false")?;
        let told = desk.clone();
        cache.listen_with(&wants, move |event: &Event<'_>| {
            if event.last_of_version || matches!(event.kind, EventKind::Initialized | EventKind::InStep) {
                told.has_news();
            }
        })?;
        let work =
            Work { folder, cache, root, interval, desk: desk.clone(), told: Vec::new(), old: Vec::new() };
        let thread = std::thread::Builder::new().name("treecache-files".to_owned()).spawn(move || work.run());
        let thread =
            thread.map_err(|error| Error::NoResources(format!("no thread for \"files\": {error}")))?;
        Ok(Files { desk, thread: Some(thread) })
    }

    pub fn standing(&self) -> Standing {
        self.desk.lock().standing.clone()
    }
}

/// Waits until the thread has ended: what it was writing it leaves.
impl Drop for Files {
    fn drop(&mut self) {
        self.desk.is_over.store(true, Ordering::SeqCst);
        // Under the lock, so that it is not missed by one who is about to wait.
        drop(self.desk.lock());
        self.desk.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

struct Work {
    folder: Folder,
    cache: Arc<TreeCache>,
    root: String,
    interval: Duration,
    desk: Arc<Desk>,
    /// What was left out of the last version: said once.
    told: Vec<(String, &'static str)>,
    /// Versions that are not current any more, each with the moment from which on it is not needed.
    old: Vec<(Instant, PathBuf)>,
}

impl Work {
    fn run(mut self) {
        let Some(_lock) = self.locked() else { return };
        if let Err(error) = self.folder.tidy() {
            self.fault(format!("{}: cannot take away what is old: {error}", self.folder.path().display()));
        }
        // Nobody knows of what tree the files are that an earlier process has left: so the first cut is written in any case.
        let mut written = None;
        while !self.is_over() {
            let pause = match self.cut(written) {
                Ok(Some(cut)) => self.write(&cut, &mut written),
                Ok(None) => None,
                Err(pause) => Some(pause),
            };
            self.take_away();
            self.wait(pause);
        }
        self.old.iter_mut().for_each(|(until, _)| *until = Instant::now());
        self.take_away();
    }

    fn is_over(&self) -> bool {
        self.desk.is_over.load(Ordering::SeqCst)
    }

    /// The lock on the folder, once no other process has it; `None`: it is over before that.
    fn locked(&mut self) -> Option<Lock> {
        loop {
            match self.folder.lock() {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) => {
                    self.fault(format!("{}: another process writes there", self.folder.path().display()))
                }
                Err(error) => self.fault(format!("{}: {error}", self.folder.path().display())),
            }
            if self.is_over() {
                return None;
            }
            self.wait(Some(AGAIN));
        }
    }

    /// What is to be written now; `Ok(None)`: nothing; an error: look again after that time.
    fn cut(&self, written: Option<Zxid>) -> Result<Option<Snapshot>, Duration> {
        self.desk.lock().has_news = false;
        let Ok(cut) = self.cache.snapshot() else { return Ok(None) };
        if Some(cut.zxid()) == written {
            self.desk.lock().standing.behind_since = None;
            return Ok(None);
        }
        match cut.is_cut() {
            true => Ok(Some(cut)),
            // Before the first version nothing is there, and its cut is told of.
            false if cut.zxid() == Zxid(0) => Ok(None),
            false => Err(FOR_A_CUT),
        }
    }

    /// Returns how long to wait before the next one.
    fn write(&mut self, cut: &Snapshot, written: &mut Option<Zxid>) -> Option<Duration> {
        let (began, before) = (Instant::now(), self.folder.current());
        match self.folder.write(cut, &self.root, &self.desk.is_over) {
            Ok(new) => {
                *written = Some(cut.zxid());
                self.say_left_out(new.left_out);
                if let Some(before) = before.filter(|before| *before != new.folder) {
                    self.old.push((Instant::now() + STAYS, before));
                }
                let mut state = self.desk.lock();
                let behind_since = Some(began).filter(|_| state.has_news);
                let was = std::mem::replace(
                    &mut state.standing,
                    Standing { zxid: Some(cut.zxid()), behind_since, fault: None },
                );
                drop(state);
                if was.zxid.is_none() || was.fault.is_some() {
                    info!(
                        "{}: {} nodes at {} are there",
                        self.folder.path().display(),
                        cut.len(),
                        cut.zxid()
                    );
                }
                Some(self.interval.max(began.elapsed() * SHARE))
            }
            Err(Unwritten::Stopped) => None,
            Err(error) => {
                self.fault(format!("the files of {} are not written: {error}", self.root));
                Some(AGAIN)
            }
        }
    }

    fn say_left_out(&mut self, left_out: Vec<(String, &'static str)>) {
        if left_out == self.told {
            return;
        }
        let new: Vec<_> = left_out.iter().filter(|one| !self.told.contains(one)).collect();
        for (path, why) in new.iter().take(MOST_NAMED) {
            warn!("{}: {} is left out: {why}", self.folder.path().display(), shown(path));
        }
        if new.len() > MOST_NAMED {
            warn!("{}: {} nodes more are left out", self.folder.path().display(), new.len() - MOST_NAMED);
        }
        self.told = left_out;
    }

    /// Says it once, until something else has happened.
    fn fault(&self, message: String) {
        let mut state = self.desk.lock();
        if state.standing.fault.as_ref() != Some(&message) {
            warn!("{message}");
            state.standing.fault = Some(message);
        }
    }

    fn take_away(&mut self) {
        let now = Instant::now();
        let (due, stay) = std::mem::take(&mut self.old).into_iter().partition(|(until, _)| *until <= now);
        self.old = stay;
        let due: Vec<(Instant, PathBuf)> = due;
        for (_, folder) in due {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.fault(format!("{}: {error}", folder.display()));
                }
                _ => {}
            }
        }
    }

    /// Waits for news, after a pause in which there may be as many as want to be; and no longer than until something is to be
    /// taken away.
    fn wait(&mut self, pause: Option<Duration>) {
        let pause_ends = pause.map(|pause| Instant::now() + pause);
        loop {
            let now = Instant::now();
            let is_resting = pause_ends.is_some_and(|end| end > now);
            let until =
                self.old.iter().map(|(until, _)| *until).chain(pause_ends.filter(|_| is_resting)).min();
            let state = self.desk.lock();
            if self.is_over() || pause.is_some() && !is_resting || !is_resting && state.has_news {
                return;
            }
            let changed = &self.desk.changed;
            let left = until.map(|until| until.saturating_duration_since(now));
            match left {
                None => drop(changed.wait(state).unwrap_or_else(PoisonError::into_inner)),
                Some(left) => drop(changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner)),
            }
            self.take_away();
        }
    }
}
