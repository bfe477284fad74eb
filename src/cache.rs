//! A cache of one subtree: its life, its reads and its listeners.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use once_cell::race::OnceBox;

use crate::clock;
use crate::config::{Config, ShareKeys};
use crate::error::{Error, Fault, LastFault, Status};
use crate::events::{
    Capacity, Dispatcher, Event, EventQueue, Feed, FeedRoot, ListenerId, Listeners, Wants,
    on_dispatcher_thread,
};
use crate::health::Health;
use crate::net::{CacheSink, Connection};
use crate::path::NodePath;
use crate::share::{Identity, Loader, Moment};
use crate::shared::{ClientShared, Io};
use crate::sharing::{self, Attached, Contact, Opened, Reader, Source, Unusable, Writer};
use crate::snapshot::{self, ChildList, Making, Scope, Snapshot};
use crate::state::{EventKind, State};
use crate::stats::Stats;
use crate::sync::{CacheId, Input, Options, Output, Progress, Ticket};
use crate::tree::{Node, Version};

const NOT_STARTED: Error = Error::State("the cache was not started");

/// An in-memory copy of the subtree at one path. May be used from any thread; reads take no lock. Outlives its
/// client. Dropping it closes it, and waits for a running listener, except in a listener.
///
/// In the child of a fork you may only drop it. What the threads of the parent were using at the fork is not freed
/// then.
pub struct TreeCache {
    health: Health,
    id: CacheId,
    options: Options,
    share: ShareKeys,
    /// What another process has read, in place of a session.
    attached: Option<Arc<Attached>>,
    shared: Arc<CacheShared>,
    listeners: Arc<Listeners>,
    client: Arc<ClientShared>,
    /// Held while the I/O thread is told of an opening, a close or a call of `sync`: so it is told of them in the order
    /// in which they were decided. (The lock of `life` would not do: the answer may come at once, through the sink,
    /// which takes that lock.)
    telling: Mutex<()>,
}

/// What a cache shares with the I/O thread.
struct CacheShared {
    /// The version that reads look into. A close empties it, unless it `keeps` it, so a read checks `closed` only if it
    /// found nothing.
    current: ArcSwap<Version>,
    /// Which tree it is. Only a cache that is attached to a file that is not there does not know that. (It may come to know it in
    /// the child of a fork, so there is no lock.)
    scope: OnceBox<Scope>,
    /// The root of what is told.
    root: FeedRoot,
    /// Who writes the tree to a file for others.
    writer: OnceLock<Writer>,
    /// Reads go on after a close (`close.keep`).
    keeps: bool,
    feed: Arc<Feed>,
    /// Set under the lock of `life`.
    closed: AtomicBool,
    life: Mutex<Life>,
    /// Something in `life` has changed.
    changed: Condvar,
}

struct Life {
    state: State,
    /// The first load is complete, and the tree verified since the last loss of the session.
    initialized: bool,
    /// Why the first load cannot succeed.
    failure: Option<Status>,
    syncs: Syncs,
    progress: Progress,
    /// The tree is held, or was when the cache or its client came to an end.
    is_held: bool,
    /// When a server was heard last by whoever has written the file with which the cache began: how long before when.
    heard_before: Option<(Instant, Duration)>,
}

/// The calls of `sync` that wait.
#[derive(Default)]
struct Syncs {
    last: Ticket,
    /// Each call with its answer, once it has been answered.
    waiting: BTreeMap<Ticket, Option<Result<(), Status>>>,
}

impl TreeCache {
    pub(crate) fn new(client: Arc<ClientShared>, id: CacheId, root: NodePath, config: &Config) -> TreeCache {
        let options = config.options();
        let (chroot, user) = (client.chroot.clone(), client.user.clone());
        let making = Making { chroot, data: options.data, limit_path: options.limit_path, user };
        let selection = options.selection.clone();
        let scope = Scope { root: root.clone(), selection, making: Arc::new(making) };
        let cache = TreeCache::of(client, id, root.into(), config);
        _ = cache.shared.scope.set(Box::new(scope));
        cache
    }

    /// A cache of which tree is not said yet.
    fn of(client: Arc<ClientShared>, id: CacheId, root: FeedRoot, config: &Config) -> TreeCache {
        let listeners = client.dispatcher.listeners(root.clone(), config.capacity());
        let shared = CacheShared {
            scope: OnceBox::new(),
            root,
            writer: OnceLock::new(),
            current: ArcSwap::default(),
            keeps: config.close_keep(),
            feed: listeners.feed().clone(),
            closed: AtomicBool::new(false),
            life: Mutex::new(Life {
                state: State::Latent,
                initialized: false,
                failure: None,
                syncs: Syncs::default(),
                progress: Progress::default(),
                is_held: false,
                heard_before: None,
            }),
            changed: Condvar::new(),
        };
        let (telling, health) = (Mutex::new(()), Health::on(&client.health));
        let (shared, options, share) = (Arc::new(shared), config.options(), config.share().clone());
        TreeCache { health, id, options, share, attached: None, shared, listeners, client, telling }
    }

    /// A cache of the tree that another cache keeps in `file` (`share.file`), in another process or in this one: without
    /// a session, without a network, and without a thread until somebody listens. It needs nothing but leave to read the
    /// file and the side file, which has `.side` behind its name.
    ///
    /// Reads, snapshots and walks are those of a cache of its own, and a snapshot is a cut where the writer's was one. State and
    /// age say what the *writer* last knew. A writer that was silent for longer than its session lasts, dead or not, is
    /// [`Suspended`](State::Suspended); one that comes back, also with another file, is taken up by itself. Until there is
    /// a file the state is [`Loading`](State::Loading). [`wait_initialized`](Self::wait_initialized) waits for the writer.
    ///
    /// The cache is started. Of `config` the keys `close.keep`, `events.capacity` and `events.bytes` count.
    ///
    /// In the child of a fork it can still be read; for events, attach there.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when there is something else under that name, or a file of another format, or on a file system
    /// of a network, or it cannot be read; the message says what. [`Error::Unsupported`] on systems other than Linux.
    pub fn attach(file: impl AsRef<Path>, config: &Config) -> Result<TreeCache, Error> {
        if let Some(why) = sharing::UNSUPPORTED {
            return Err(Error::Unsupported(why));
        }
        let health = Arc::new(Health::new());
        let ended = Arc::new(OnceLock::<std::sync::Weak<Feed>>::new());
        let (ruined, told) = (health.clone(), ended.clone());
        let dispatcher = Dispatcher::deferred(move |message| {
            let message = format!("a thread panicked, which is a defect of libtreecache: {message}");
            ruined.ruin();
            if let Some(feed) = told.get().and_then(std::sync::Weak::upgrade) {
                feed.fault(&Fault::new(Status::Panic, message));
                feed.end(Status::Panic);
            }
        });
        let faults = dispatcher.listeners(NodePath::root(), Capacity { events: 0, bytes: 0 });
        let client = ClientShared {
            health,
            io: Arc::new(NoSession),
            dispatcher,
            faults,
            closed: AtomicBool::new(false),
            last_cache: AtomicU64::new(1),
            chroot: NodePath::root(),
            user: None,
        };
        let mut cache = TreeCache::of(Arc::new(client), CacheId(1), FeedRoot::unknown(), config);
        _ = ended.set(Arc::downgrade(&cache.shared.feed));
        cache.shared.lock().state = State::Loading;
        cache.attached = Some(Attached::open(file.as_ref(), cache.shared.clone())?);
        Ok(cache)
    }

    /// Which tree it is; of one that is not known, nothing is left out, and nothing is there yet.
    #[inline]
    fn scope(&self) -> &Scope {
        self.shared.scope.get().unwrap_or_else(|| Scope::unknown())
    }

    /// Takes up what another process has written, if this cache is of that.
    #[inline]
    fn refresh(&self) {
        if let Some(attached) = &self.attached {
            attached.refresh();
        }
    }

    /// Whether reads are refused, be this the child of a fork: a tree in a file can be read there, too.
    #[cfg(feature = "ffi")]
    pub(crate) fn check_reads(&self) -> Result<(), Error> {
        match self.health.check() {
            Err(Error::State(_)) if self.attached.is_some() => Ok(()),
            checked => checked,
        }
    }

    /// Sees to it that there is somebody to tell consumers.
    fn wake_tellers(&self, config: Option<&Config>) -> Result<(), Error> {
        let Some(attached) = &self.attached else { return Ok(()) };
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        let started = self.client.dispatcher.start().and_then(|()| attached.watch());
        started.map_err(|error| {
            let message = format!("nobody can tell events: {error}");
            log::error!("{message}");
            Error::NoResources(message)
        })?;
        match self.shared.scope.get() {
            None if config.is_some_and(Config::names_subtrees) => Err(Error::State(
                "the file is not there yet, so that no \"listen.under\" is known to be in its tree",
            )),
            _ => Ok(()),
        }
    }

    /// Begins to load and follow the tree. Returns at once.
    ///
    /// # Errors
    /// [`Error::State`] when it was started before; [`Error::Closed`] when the cache or its client is closed.
    /// [`Error::Failed`] after a panic, here and below.
    pub fn start(&self) -> Result<(), Error> {
        self.health.check()?;
        let (known, heard) = self.kept()?.unzip();
        self.begin(known, heard.unwrap_or_default())
    }

    /// As [`start`](Self::start), with a snapshot of another cache, which may be gone, and its client too. The tree can be
    /// read when this returns, in state [`Warm`](State::Warm) until there is a connection. It is verified then, and only
    /// what differs is told. The first version is the snapshot's own, with its zxid, a cut or not as it was.
    ///
    /// A snapshot that was taken before the first version holds nothing, and this is [`start`](Self::start).
    ///
    /// If the snapshot is of another ensemble, or of a history that the ensemble has lost, that is a fault of this cache,
    /// [`Status::Reset`], and the tree is loaded anew; until that is complete, what was there can be read.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the snapshot is of another root or chroot, or of a cache with other rules
    /// (`depth.max`, `select`) or that kept other data (`data`, `data.compressed`); the message names both.
    /// [`Error::Limit`] when it is beyond a limit of this cache. Then the cache can still be started. Otherwise as
    /// [`start`](Self::start).
    pub fn start_from(&self, snapshot: &Snapshot) -> Result<(), Error> {
        self.health.check()?;
        self.begin(snapshot.for_cache(self.scope(), &self.options)?, Moment::default())
    }

    /// What of the tree is in its file, and when a server was heard last by whoever has written it.
    fn kept(&self) -> Result<Option<(Arc<Version>, Moment)>, Error> {
        let Some(path) = &self.share.file else { return Ok(None) };
        let refused = |why: String| {
            Err(Error::setting(
                "share.file",
                format!("\"share.file\" {:?}: {why}", path.display().to_string()),
            ))
        };
        if let Some(why) = sharing::UNSUPPORTED {
            return refused(why.to_owned());
        }
        let useless = |why: String| {
            log::warn!("{}: nothing of it is used: {why}", path.display());
            Ok(None)
        };
        let opened = match Opened::open(path) {
            Ok(opened) => opened,
            Err(Unusable::Missing) => return Ok(None),
            Err(Unusable::Refused(why)) => return refused(why),
            Err(error) => return useless(error.to_string()),
        };
        if let Err(why) = sharing::check_same(&opened.identity, &self.identity()) {
            return refused(why);
        }
        let (heard, most) = (opened.heard(), self.share.max_age);
        let age = sharing::age(&heard);
        if !most.is_zero() && age.is_none_or(|age| age > most) {
            let age = age.map_or("an unknown age".to_owned(), |age| format!("{} ms", age.as_millis()));
            return useless(format!("it has {age}; share.max.age.ms={}", most.as_millis()));
        }
        let Some(root) = opened.newest_root().filter(|root| root.is_complete) else { return Ok(None) };
        let version = match opened.load(&root, &mut Loader::default(), true) {
            Ok(version) => version,
            Err(error) => return useless(error.to_string()),
        };
        let Scope { root, selection, making } = self.scope().clone();
        let making = Arc::new(Making { user: opened.identity.user.clone(), ..(*making).clone() });
        let snapshot = Snapshot::new(Arc::new(version), Scope { root, selection, making });
        match snapshot.for_cache(self.scope(), &self.options) {
            Ok(known) => Ok(known.map(|known| (known, heard))),
            Err(error) => useless(error.to_string()),
        }
    }

    fn identity(&self) -> Identity {
        let Scope { root, selection, making } = self.scope().clone();
        let Making { chroot, data, limit_path, user } = &*making;
        let (chroot, user) = (chroot.clone(), user.clone());
        Identity { root, chroot, selection, data: *data, limit_path: *limit_path, user }
    }

    /// Starts the thread that writes the tree to its file.
    fn start_writer(&self, path: &Path, is_warm: bool, heard_before: Moment) -> Result<(), Error> {
        let (io, feed) = (self.client.io.clone(), self.shared.feed.clone());
        let source = Source {
            path: path.to_owned(),
            identity: self.identity(),
            contact: Box::new(move || Contact {
                heard: io.heard(),
                session_timeout: io.connection().timeout,
            }),
            fault: Box::new(move |fault| feed.fault(&fault)),
            is_warm,
            heard_before,
        };
        match Writer::spawn(source) {
            Ok(writer) => {
                _ = self.shared.writer.set(writer);
                Ok(())
            }
            Err(error) => {
                let message = format!("no thread for \"share.file\": {error}");
                log::error!("{message}");
                Err(Error::NoResources(message))
            }
        }
    }

    fn begin(&self, known: Option<Arc<Version>>, heard_before: Moment) -> Result<(), Error> {
        self.health.check()?;
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut life = self.shared.lock();
        if self.shared.is_closed() || self.client.is_closed() {
            return Err(Error::Closed);
        }
        if life.state != State::Latent {
            return Err(Error::State("the cache was started before"));
        }
        if let Some(path) = &self.share.file {
            self.start_writer(path, known.is_some(), heard_before)?;
        }
        life.state = if known.is_some() { State::Warm } else { State::Loading };
        life.heard_before = sharing::age(&heard_before).map(|age| (clock::now(), age));
        if let Some(known) = &known {
            // Its events come with the I/O thread's word.
            self.shared.current.store(known.clone());
        }
        if let Some(writer) = self.shared.writer.get() {
            writer.stands(life.state, false, None);
        }
        drop(life);
        self.client.io.attach(self.id, self.shared.clone());
        let (root, options) = (self.scope().root.clone(), self.options.clone());
        let input = match known {
            Some(known) => Input::OpenFrom(root, options, known),
            None => Input::Open(root, options),
        };
        self.client.io.input(self.id, input);
        // If the client was closed meanwhile, or one of its threads panicked, the I/O thread may not have seen the
        // cache. Then it will never tell the cache's state.
        let (outcome, state) = match self.health.check() {
            Ok(()) if self.client.is_closed() => (Err(Error::Closed), State::Lost),
            Ok(()) => return Ok(()),
            refused => (refused, State::Closed),
        };
        self.shared.update(|life| life.state = state);
        outcome
    }

    /// Waits until the first load is complete, at most `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::WouldDeadlock`] in a callback; [`Error::State`] when not started;
    /// [`Error::Closed`] when the cache or its client is closed, also while waiting; [`Error::Failed`] when the load
    /// cannot succeed as things stand.
    pub fn wait_initialized(&self, timeout: Option<Duration>) -> Result<(), Error> {
        if let (Some(attached), false) = (&self.attached, on_dispatcher_thread()) {
            return attached.wait_initialized(timeout).map_err(|error| error.behind(|| self.last_fault()));
        }
        self.may_wait()?;
        self.wait(timeout, |life| match life.state {
            State::Latent => Some(Err(NOT_STARTED)),
            // It has stopped, and `failure` says why.
            State::Closed => None,
            _ => life.initialized.then_some(Ok(())),
        })
    }

    /// Whether the first load is complete (and, after the session was lost, the tree verified): whether
    /// [`wait_initialized`](Self::wait_initialized) has nothing to wait for. May be asked in a callback.
    pub fn is_initialized(&self) -> bool {
        if let Some(attached) = &self.attached {
            return !self.shared.is_closed() && attached.is_initialized();
        }
        let is_initialized = |life: MutexGuard<'_, Life>| life.initialized && life.state != State::Closed;
        self.health.check().is_ok() && is_initialized(self.shared.lock())
    }

    /// Waits, at most `timeout`, until you can read all that was committed before the call. For that it makes a
    /// transaction that changes nothing, behind all that is committed, then waits until the version that is read is a
    /// cut at that transaction or later.
    ///
    /// Calls that are made while a transaction is under way share the next one. With the client key `sync.mode=sync`,
    /// ZooKeeper's `sync` takes the place of the transaction; a leader may answer it too early.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::WouldDeadlock`] in a callback; [`Error::State`] when not started; [`Error::Closed`]
    /// when the cache or its client is closed, also while waiting; [`Error::Failed`] with [`Status::Connection`] when
    /// there is no connection or it is lost while waiting, or when the server answers with an error (a server that is
    /// too busy is asked again); [`Error::Failed`] with the status of a fault when no cut can come as things stand;
    /// [`Error::Unsupported`] when the cache is attached to a file.
    pub fn sync(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.may_wait()?;
        if self.attached.is_some() {
            return Err(match self.shared.is_closed() {
                true => Error::Closed,
                false => Error::Unsupported("the cache is attached to a file, and has no server to ask"),
            });
        }
        let telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut life = self.shared.lock();
        if self.shared.is_closed() || self.client.is_closed() {
            return Err(Error::Closed);
        }
        if life.state == State::Latent {
            return Err(NOT_STARTED);
        }
        let ticket = life.syncs.call();
        drop(life);
        self.client.io.input(self.id, Input::Sync(ticket));
        drop(telling);
        let answer = self.wait(timeout, |life| life.syncs.answer_to(ticket));
        self.shared.lock().syncs.forget(ticket);
        answer
    }

    /// Whether this thread may wait, and the cache is of any use.
    fn may_wait(&self) -> Result<(), Error> {
        if on_dispatcher_thread() {
            return Err(Error::WouldDeadlock);
        }
        // Before any lock, which may be held for ever in the child of a fork.
        self.health.check()
    }

    /// Waits, at most `timeout`, until `outcome` returns something, or until it never will. If that is no success, the error
    /// says what went wrong last.
    fn wait(
        &self,
        timeout: Option<Duration>,
        outcome: impl Fn(&Life) -> Option<Result<(), Error>>,
    ) -> Result<(), Error> {
        self.wait_for(timeout, outcome).map_err(|error| error.behind(|| self.last_fault()))
    }

    fn wait_for(
        &self,
        timeout: Option<Duration>,
        outcome: impl Fn(&Life) -> Option<Result<(), Error>>,
    ) -> Result<(), Error> {
        // If the deadline is too far away for the clock, there is none.
        let deadline = timeout.and_then(|timeout| clock::now().checked_add(timeout));
        let mut life = self.shared.lock();
        loop {
            self.health.check()?;
            if self.shared.is_closed() {
                return Err(Error::Closed);
            }
            if let Some(outcome) = outcome(&life) {
                return outcome;
            }
            match (life.state, life.failure) {
                _ if self.client.is_closed() => return Err(Error::Closed),
                (_, Some(status)) => return Err(Error::failed(status)),
                (State::Closed, None) => return Err(Error::Closed),
                _ => {}
            }
            let changed = &self.shared.changed;
            life = match deadline.map(|deadline| deadline.saturating_duration_since(clock::now())) {
                None => changed.wait(life).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    return Err(Error::Timeout { after: timeout.unwrap_or_default(), last: None });
                }
                Some(left) => changed.wait_timeout(life, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// How the cache stands to the server, and how long ago a server was last heard (`None`: never); in [`State::Held`], how long ago
    /// the tree was the server's.
    pub fn state(&self) -> (State, Option<Duration>) {
        // First the last contact, then the state, and the age at the end: if this thread pauses in between, the age
        // only gets larger.
        if let Some(attached) = &self.attached {
            let (state, age) = attached.standing();
            return (if self.shared.is_closed() { State::Closed } else { state }, age);
        }
        let heard = self.client.io.heard();
        let life = self.shared.lock();
        (life.state, life.age(heard))
    }

    /// How the cache stands, and what it has done so far. A closed cache has no tree (unless `close.keep` is true): its
    /// zxid, nodes and bytes are 0.
    pub fn stats(&self) -> Stats {
        if let Some(attached) = &self.attached {
            return self.attached_stats(attached);
        }
        // Before the state, as in `state`.
        let heard = self.client.io.heard();
        let life = self.shared.lock();
        let (state, progress, version) = (life.state, life.progress, self.shared.current.load_full());
        let now = clock::now();
        let contact_age = life.contact_age(heard, now);
        drop(life);
        let connection = self.client.io.connection();
        let known_at = heard.filter(|_| state == State::InStep);
        let cut_age = progress.current_at.max(known_at).map(|at| now.saturating_duration_since(at));
        let (events, lags) = self.shared.feed.counters();
        let (faults, last_fault) = (self.shared.feed.faults(), self.shared.feed.last_fault());
        Stats {
            state,
            contact_age,
            cut_age,
            zxid: version.zxid,
            nodes: version.tree.len(),
            bytes: version.tree.bytes(),
            versions: progress.versions,
            cuts: progress.cuts,
            events,
            lags,
            reads: progress.reads,
            batches: progress.batches,
            resyncs: progress.resyncs,
            watch: progress.watch,
            connections: connection.count,
            session_id: connection.session_id,
            server: connection.server,
            faults,
            last_fault: last_fault.map(|last| (last.fault.status, last.age)),
        }
    }

    /// What went wrong last, of this cache or of its client, even if it is over; `None` where nothing did. Also where a
    /// listener was told it, and when the cache is closed.
    pub fn last_fault(&self) -> Option<LastFault> {
        // A thread of the parent's may have held the lock at the fork.
        if self.health.is_forked() { None } else { self.shared.feed.last_fault() }
    }

    /// No lock is taken, which a thread may have held at a fork.
    fn attached_stats(&self, attached: &Attached) -> Stats {
        let (state, contact_age) = self.state();
        let (version, (versions, cuts)) = (self.shared.current.load_full(), attached.counts());
        let (events, lags) = self.shared.feed.counters();
        Stats {
            state,
            contact_age,
            cut_age: attached.age_of_cut(),
            zxid: version.zxid,
            nodes: version.tree.len(),
            bytes: version.tree.bytes(),
            versions,
            cuts,
            events,
            lags,
            reads: 0,
            batches: 0,
            resyncs: 0,
            watch: None,
            connections: 0,
            session_id: 0,
            server: None,
            faults: if self.health.is_forked() { 0 } else { self.shared.feed.faults() },
            last_fault: self.last_fault().map(|last| (last.fault.status, last.age)),
        }
    }

    /// Detaches the cache and lets its listeners go; none of their calls starts after this. Snapshots and nodes that
    /// were handed out stay; with `close.keep=true` reads go on from the last version, too. Never waits; may be called
    /// twice, and in a listener.
    pub fn close(&self) {
        if let Some(attached) = &self.attached {
            attached.close();
        }
        if self.health.is_forked() {
            // The threads that share the rest do not exist here, and may have left it half changed.
            self.shared.closed.store(true, Ordering::SeqCst);
            if !self.shared.keeps {
                self.shared.current.store(Arc::default());
            }
            self.listeners.abandon();
            return std::mem::forget(self.client.clone());
        }
        let telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut life = self.shared.lock();
        if self.shared.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        life.state = State::Closed;
        let last = (!self.shared.keeps).then(|| self.shared.current.swap(Arc::default()));
        drop(life);
        self.client.io.input(self.id, Input::Close);
        drop(telling);
        if let Some(writer) = self.shared.writer.get() {
            writer.end();
        }
        self.shared.changed.notify_all();
        self.listeners.close();
        drop(last);
    }

    /// Calls `listener` with every event, on the client's dispatcher thread: first with the tree so far, as additions
    /// (and INITIALIZED if the cache is initialized), then with what follows, without gap or duplicate.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn listen(&self, listener: impl FnMut(&Event<'_>) + Send + 'static) -> Result<ListenerId, Error> {
        self.health.check()?;
        self.wake_tellers(None)?;
        self.listeners.listen(Wants::EVENTS, listener)
    }

    /// As [`listen`](Self::listen), of what the keys `listen.…` of `config` leave: subtrees, levels below them, kinds of
    /// events, without what was before it was added or before INITIALIZED. All other keys are ignored.
    ///
    /// # Errors
    /// [`Error::Setting`] when `listen.under` is outside of the cache's tree; [`Error::Closed`].
    pub fn listen_with(
        &self,
        config: &Config,
        listener: impl FnMut(&Event<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.health.check()?;
        self.wake_tellers(Some(config))?;
        self.listeners.listen(config.listener(&self.scope().root)?, listener)
    }

    /// Calls `listener` with every fault that concerns this cache, on the client's dispatcher thread.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn listen_fault(&self, listener: impl FnMut(&Fault) + Send + 'static) -> Result<ListenerId, Error> {
        self.health.check()?;
        self.wake_tellers(None)?;
        self.listeners.listen_fault(listener)
    }

    /// A queue of the cache's events, and of its faults if `queue.faults` is true. The program empties it by itself.
    /// What is in it, and what comes first, is what a listener would be told that is added
    /// [with](Self::listen_with) this configuration.
    ///
    /// # Errors
    /// [`Error::Setting`] when `listen.under` is outside of the cache's tree; [`Error::Closed`].
    pub fn queue(&self, config: &Config) -> Result<EventQueue, Error> {
        self.health.check()?;
        self.wake_tellers(Some(config))?;
        let health = Health::on(&self.client.health);
        let wants = config.queue(&self.scope().root)?;
        EventQueue::open(health, self.shared.feed.clone(), wants, config.capacity())
    }

    /// Removes a listener of either kind. None of its calls starts after this. Never waits; may be called in a
    /// listener.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when there is no such listener; [`Error::Closed`].
    pub fn unlisten(&self, listener: ListenerId) -> Result<(), Error> {
        self.health.check()?;
        self.listeners.unlisten(listener)
    }

    /// The node at `path`, from memory. (Bytes do as well as a `&str`: to look them up is cheaper than to check first
    /// that they are UTF-8.)
    ///
    /// # Errors
    /// [`Error::InvalidPath`]; [`Error::OutOfTree`]; [`Error::NotReady`] when the first load is not complete and the
    /// node has not been seen yet; [`Error::NoNode`]; [`Error::NoPermission`] when the session may not read the node,
    /// or one above it; [`Error::Closed`], unless `close.keep` is true.
    pub fn get_data(&self, path: impl AsRef<[u8]>) -> Result<Node, Error> {
        self.refresh();
        snapshot::get_data(&self.shared.current.load(), self.scope(), path.as_ref())
            .map(|node| node.to_node())
            .map_err(|error| self.unless_closed(error))
    }

    /// As [`get_data`](Self::get_data), for one who looks at the node, and keeps it only by cloning it: neither the
    /// node's count is touched nor the version's, which other readers change too.
    #[cfg(feature = "ffi")]
    pub(crate) fn with_data<T>(
        &self,
        path: &[u8],
        look: impl FnOnce(crate::tree::NodeRef<'_>) -> T,
    ) -> Result<T, Error> {
        self.refresh();
        snapshot::get_data(&self.shared.current.load(), self.scope(), path)
            .map(look)
            .map_err(|error| self.unless_closed(error))
    }

    /// The children of `path`, from memory.
    ///
    /// # Errors
    /// As [`get_data`](Self::get_data).
    pub fn get_children(&self, path: impl AsRef<[u8]>) -> Result<ChildList, Error> {
        self.refresh();
        snapshot::get_children(&self.shared.current.load(), self.scope(), path.as_ref())
            .map_err(|error| self.unless_closed(error))
    }

    /// The tree as it is now.
    ///
    /// # Errors
    /// [`Error::Closed`], unless `close.keep` is true.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.refresh();
        let version = self.shared.current.load_full();
        match self.shared.refuses_reads() {
            true => Err(Error::Closed),
            false => Ok(Snapshot::new(version, self.scope().clone())),
        }
    }

    /// After a panic in a call: the cache is of no use any more, and its fault listeners are told, once.
    #[cfg(any(feature = "ffi", test))]
    pub(crate) fn fail(&self, fault: Fault) {
        if self.health.ruin() {
            // Before those who wait are woken: they are told it with their error.
            self.shared.feed.fault(&fault);
            self.shared.update(|_| {});
        }
    }

    #[cold]
    fn unless_closed(&self, error: Error) -> Error {
        if self.shared.refuses_reads() { Error::Closed } else { error }
    }
}

/// In the place of an I/O thread, where another process has one.
struct NoSession;

impl Io for NoSession {
    fn attach(&self, _: CacheId, _: Arc<dyn CacheSink>) {}

    fn input(&self, _: CacheId, _: Input) {}

    fn heard(&self) -> Option<Instant> {
        None
    }

    fn connection(&self) -> Connection {
        Connection::default()
    }

    fn shut_down(&self) {}

    fn fail(&self, _: String) {}

    fn abandon(&self) {}
}

impl Drop for TreeCache {
    fn drop(&mut self) {
        self.close();
        if !self.health.is_forked() {
            self.listeners.wait_idle();
            if let Some(attached) = &self.attached {
                attached.wait_closed();
            }
            if let Some(writer) = self.shared.writer.get() {
                writer.wait();
            }
        }
    }
}

impl Life {
    /// How old the word is by which the cache stands as it does.
    fn age(&self, heard: Option<Instant>) -> Option<Duration> {
        let now = clock::now();
        match self.is_held {
            // Whatever this client has heard since the moment that the tree is of, it was not about this tree.
            true => self.progress.current_at.or(heard).map(|at| now.saturating_duration_since(at)),
            false => self.contact_age(heard, now),
        }
    }

    /// How long ago a server was heard: by this client, or else by whoever has written the file with which the cache began.
    fn contact_age(&self, heard: Option<Instant>, now: Instant) -> Option<Duration> {
        let ago = |at| now.saturating_duration_since(at);
        let before = self.heard_before.map(|(then, age)| ago(then) + age);
        match self.state {
            // Whatever this client has heard, it was not about this tree.
            State::Warm => before.or(heard.map(ago)),
            _ => heard.map(ago).or(before),
        }
    }
}

impl CacheShared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether nothing can be read any more.
    fn refuses_reads(&self) -> bool {
        self.is_closed() && !self.keeps
    }

    fn lock(&self) -> MutexGuard<'_, Life> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, version: Arc<Version>, changes: usize) {
        let life = self.lock();
        if self.is_closed() {
            return;
        }
        // Readable before its events go out, and never after a close.
        let before = self.current.swap(version.clone());
        // Before a close ends the writer: what was read is in the file.
        let current_at = life.progress.current_at;
        let replaced =
            self.writer.get().and_then(|writer| writer.publish(version.clone(), changes, current_at));
        drop(life);
        self.feed.publish(version, changes);
        // To free a tree takes time: so not under the lock.
        drop((before, replaced));
    }

    /// Changes what is known of the cache, unless it is closed, and wakes those who wait.
    fn update(&self, change: impl FnOnce(&mut Life)) {
        let mut life = self.lock();
        if !self.is_closed() {
            change(&mut life);
            if let Some(writer) = self.writer.get() {
                writer.stands(life.state, life.initialized, life.progress.current_at);
            }
            drop(life);
            self.changed.notify_all();
        }
    }
}

impl Syncs {
    fn call(&mut self) -> Ticket {
        self.last.0 += 1;
        self.waiting.insert(self.last, None);
        self.last
    }

    /// A call and all before it have their answer.
    fn answer(&mut self, last: Ticket, answer: Result<(), Status>) {
        for (_, waiting) in self.waiting.range_mut(..=last) {
            waiting.get_or_insert(answer);
        }
    }

    fn answer_to(&self, ticket: Ticket) -> Option<Result<(), Error>> {
        let answer = *self.waiting.get(&ticket)?;
        answer.map(|answer| answer.map_err(Error::failed))
    }

    fn forget(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }
}

impl Reader for CacheShared {
    fn is_of(&self, identity: &Identity, in_child: bool) {
        let Identity { root, chroot, selection, data, limit_path, user } = identity.clone();
        if !in_child {
            self.root.becomes(root.clone());
        }
        let making = Making { chroot, data, limit_path, user };
        _ = self.scope.set(Box::new(Scope { root, selection, making: Arc::new(making) }));
    }

    fn publish(&self, version: Arc<Version>, changes: usize, in_child: bool) {
        if self.is_closed() {
            return;
        }
        self.current.store(version.clone());
        if self.refuses_reads() {
            // It was closed meanwhile.
            self.current.store(Arc::default());
        }
        if !in_child {
            self.feed.publish(version, changes);
        }
    }

    fn event(&self, kind: EventKind) {
        self.feed.event(kind);
    }

    fn fault(&self, fault: Fault) {
        self.feed.fault(&fault);
    }
}

impl CacheSink for CacheShared {
    fn tell(&self, output: Output) {
        match output {
            Output::Publish(version, changes) => CacheShared::publish(self, version, changes),
            Output::State(state) => self.update(|life| {
                life.state = state;
                life.is_held = match state {
                    State::Lost | State::Closed => life.is_held,
                    state => state == State::Held,
                };
                if state == State::Closed {
                    self.feed.end(life.failure.unwrap_or(Status::Closed));
                }
            }),
            Output::Event(kind) => {
                let initialized = match kind {
                    EventKind::Initialized => true,
                    EventKind::ConnectionLost => false,
                    _ => return self.feed.event(kind),
                };
                // Whoever finds that it is so, and joins the feed then, joins it behind this event.
                self.update(|life| {
                    life.initialized = initialized;
                    self.feed.event(kind);
                });
            }
            // What concerns the client is about no node, and the client is told it too.
            Output::Fault(fault) if fault.path.is_none() => self.feed.fault_of_client(&fault),
            Output::Fault(fault) => self.feed.fault(&fault),
            Output::Failure(failure) => self.update(|life| life.failure = failure),
            Output::Synced(ticket, answer) => self.update(|life| life.syncs.answer(ticket, answer)),
            Output::Progress(progress) => self.lock().progress = progress,
        }
    }
}

#[cfg(test)]
mod tests;
