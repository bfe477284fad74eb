//! The tree that a command looks into: a cache of its own, of servers, or one that is attached to a file.

use std::sync::Arc;
use std::time::{Duration, Instant};

use treecache::{Client, Error, Snapshot, State, TreeCache};

use crate::arguments::{Place, Wait};
use crate::failure::Failure;
use crate::interrupt;
use crate::journal;
use crate::progress::{self, Progress};
use crate::settings::Settings;

/// How often it is looked whether there is a cut: only where changes come all the time.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How often people are shown how far a load is.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// A tree, and when the time to wait for it is over.
pub struct Source {
    pub cache: TreeCache,
    /// Where the tree begins, or what of it was asked for.
    pub path: String,
    deadline: Option<(Instant, Duration)>,
    is_attached: bool,
    client: Option<Arc<Client>>,
}

impl Source {
    /// Begins to load the tree at a place, of which `narrowing` leaves what the command needs. A missing root is not created.
    pub fn open(place: &Place, narrowing: &[(&str, &str)]) -> Result<Source, Failure> {
        interrupt::watch().map_err(|error| Failure::Other(format!("no thread for signals: {error}")))?;
        if place.given.verbose {
            journal::start(log::LevelFilter::Debug);
        }
        let mut settings = Settings::given(place.given.settings.as_deref(), &place.given.set)?;
        let deadline = deadline(place.given.timeout);
        if let Some(file) = &place.attach {
            if place.second.is_some() {
                return Err(Failure::Usage("with --attach there is a PATH, and no HOSTS".to_owned()));
            }
            let cache = TreeCache::attach(file, &settings.config()?)?;
            let path = place.first.clone().unwrap_or_default();
            return Ok(Source { cache, path, deadline, is_attached: true, client: None });
        }
        // Who looks at a tree does not make it.
        settings.set("root.create", "false");
        narrowing.iter().for_each(|(key, value)| settings.set(key, value));
        let config = settings.config()?;
        let hosts = place.first.as_deref().unwrap_or_default();
        let path = place.second.clone().unwrap_or_else(|| "/".to_owned());
        let client = Arc::new(Client::new(hosts, &config)?);
        interrupt::ends(&client);
        let cache = client.cache(&path, &config)?;
        cache.start()?;
        Ok(Source { cache, path, deadline, is_attached: false, client: Some(client) })
    }

    /// Whether the tree is one that is shared in a file.
    pub fn is_attached(&self) -> bool {
        self.is_attached
    }

    /// Waits until the tree is loaded.
    pub fn loaded(&mut self) -> Result<(), Failure> {
        self.wait_loaded().map_err(|error| match self.of_all_its_time(error) {
            // The time was over, but there was nothing to wait for.
            error @ Error::Timeout { .. } if !self.is_attached && self.cache.stats().connections == 0 => {
                Failure::Connection(format!("no server was reached: {error}"))
            }
            error @ Error::Timeout { .. } if self.is_attached && self.cache.state().0 == State::Loading => {
                Failure::Timeout(format!("nobody shares the tree: {error}"))
            }
            error => error.into(),
        })?;
        if self.is_attached {
            self.find_root()?;
            let (state, age) = self.cache.state();
            if matches!(state, State::Suspended | State::Lost) {
                let age = age.map_or("an unknown time".to_owned(), |age| format!("{} s", age.as_secs()));
                progress::say(&format!("the tree is old: whoever shares it has heard no server for {age}"));
            }
        }
        Ok(())
    }

    /// A wait that is over has used what was left of the time, and is said to have used all of it.
    fn of_all_its_time(&self, error: Error) -> Error {
        match (error, self.deadline) {
            (Error::Timeout { last, .. }, Some((_, after))) => Error::Timeout { after, last },
            (error, _) => error,
        }
    }

    fn wait_loaded(&self) -> Result<(), Error> {
        let progress = Progress::begin();
        if !progress.is_seen() {
            return self.cache.wait_initialized(self.left());
        }
        loop {
            let left = self.left();
            let step = left.map_or(SHOW_EVERY, |left| left.min(SHOW_EVERY));
            match self.cache.wait_initialized(Some(step)) {
                Err(Error::Timeout { .. }) if left.is_none_or(|left| left > step) => {
                    if let Ok(snapshot) = self.cache.snapshot() {
                        progress.show(&snapshot, &self.path);
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// If no path was given, it is the root of the shared tree.
    fn find_root(&mut self) -> Result<(), Failure> {
        if self.path.is_empty() {
            self.path = self.cache.snapshot()?.root().unwrap_or("/").to_owned();
        }
        Ok(())
    }

    /// The newest version, once it is a cut; the tree is loaded then.
    pub fn cut(&mut self) -> Result<Snapshot, Failure> {
        self.loaded()?;
        loop {
            let snapshot = self.cache.snapshot()?;
            if snapshot.is_cut() {
                return Ok(snapshot);
            }
            if self.left() == Some(Duration::ZERO) {
                let waited = self.deadline.map_or(0.0, |(_, waited)| waited.as_secs_f64());
                return Err(Failure::Timeout(format!("no version of the tree was a cut within {waited} s")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// What is left of the time.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()))
    }
}

/// The cache first: it stays readable, but is told of nothing that way.
impl Drop for Source {
    fn drop(&mut self) {
        self.cache.close();
        if let Some(client) = &self.client {
            client.close();
        }
    }
}

/// When a wait that begins now is over, and how long it is.
pub fn deadline(wait: Wait) -> Option<(Instant, Duration)> {
    wait.0.and_then(|wait| Some((Instant::now().checked_add(wait)?, wait)))
}
