//! All caches of one session: their watches, counted; their requests, within one budget; the routing of what comes
//! back.
//!
//! The caller tells of the session through `handle_*`, sends what [`Group::poll_request`] hands out, and keeps the
//! [`Purpose`] of each request until its reply.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flight::{self, Flight, Found, Part, Read};
use super::keeper::Kin;
use super::report::Chunk;
use super::synchroniser::Synchroniser;
use super::{Breach, Input, Modes, Options, Output, SyncMode, WatchMode, arming};
use crate::error::{Fault, Status};
use crate::escape::Escaped;
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::{Stat, Zxid};
use crate::tree::Version;
use crate::wire::{
    self, Malformed, MultiReadResults, Notification, NotificationKind, ReadResult, Request, ServerError,
};

/// What may be in flight for all caches together: bounded, so that pings and small caches are not held up.
const MOST_READS: usize = 2048;
const MOST_BYTES: usize = 4 << 20;
/// How long to wait before a watch is asked for again, when the server could not set it.
const WATCH_RETRY: Duration = Duration::from_secs(1);

/// Names a cache of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheId(pub u64);

/// What a request is for, until its reply.
#[derive(Debug)]
pub enum Purpose {
    /// Asks what kind of server it is.
    Kin,
    /// The watch of a root. If it was dropped and wanted again, `serial` tells the requests apart.
    Watch {
        /// The path that is watched, with all below it.
        root: NodePath,
        /// Counts the watches that were asked for. Only the answer to the newest request for this root counts.
        serial: u64,
    },
    /// The watch of a cache, which is set already, as far as is known.
    WatchAgain {
        /// The cache whose watch is renewed.
        cache: CacheId,
    },
    /// Removes a watch that no cache needs any more.
    Unwatch,
    /// Sets watches that tell of one change each, for what is read right behind that.
    Arming {
        /// The cache that reads.
        cache: CacheId,
        /// Which of its flights.
        flight: u64,
        /// It is the watch that tells of the creation of the root.
        of_root: bool,
    },
    /// One of the single reads that stand for a multiRead, and not the last of them.
    Single,
    /// One multiRead of a cache, or the last of the single reads that stand for one.
    Nodes {
        /// The cache that reads.
        cache: CacheId,
        /// What is read, in the order of the results.
        reads: Vec<Read>,
        /// What is read behind that.
        parts: Vec<Part>,
        /// About how many bytes of reply were expected. The reply gives them back to the budget.
        expected: usize,
    },
    /// One `exists` or `getChildren2` of a cache.
    Stat {
        /// The cache that reads.
        cache: CacheId,
        /// What is read: with the child list it is a `getChildren2`, else an `exists`.
        read: Read,
    },
    /// What has the server catch up, for a cache.
    Sync {
        /// The cache that waits for it.
        cache: CacheId,
        /// How the server is made to catch up. A cache may need a barrier, whatever the setting is.
        mode: SyncMode,
    },
    /// One of the requests that create a cache's root; `last` for the root itself.
    Create {
        /// The cache whose root is to be created.
        cache: CacheId,
        /// True for the root itself, false for a node above it, which may be there already.
        last: bool,
    },
}

/// A watch on this connection, shared by the caches with this root.
///
/// There is one for a path: before ZooKeeper 3.9, one that is set replaces the other kind without a word. Where one cache
/// needs to be told of what is below, those that do not live on its watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watch {
    /// Of the root alone, and not of what is below.
    is_alone: bool,
    /// Some watch was asked for at this path on this connection.
    is_tried: bool,
    progress: WatchProgress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchProgress {
    /// To be asked for, from this moment on (`None`: at once). With one-shot watches it never is.
    Wanted(Option<Instant>),
    Asked {
        serial: u64,
    },
    Set,
    /// The server has no such watches; the next one may have, and is to be asked.
    Refused,
}

impl Watch {
    fn wanted(is_alone: bool) -> Watch {
        Watch { is_alone, is_tried: false, progress: WatchProgress::Wanted(None) }
    }

    /// It is to be of another kind.
    fn change(&mut self, is_alone: bool) {
        (self.is_alone, self.progress) = (is_alone, WatchProgress::Wanted(None));
    }

    fn request(&self, root: &NodePath) -> Request {
        match self.is_alone {
            true => Request::AddWatchAlone(root.clone()),
            false => Request::AddWatch(root.clone()),
        }
    }
}

/// How the caches of a connection hear of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By a recursive watch for each root.
    Recursive,
    /// By watches of each node, each of which tells of one change. `batches`: the server has multiRead.
    OneShot { batches: bool },
}

/// What is known of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Up,
    /// The client is closed.
    Closed,
}

/// All caches of one session, with what they share: the connection, watches, and the budget of what is in flight.
pub struct Group {
    chroot: NodePath,
    modes: Modes,
    way: Way,
    kin: Kin,
    /// Servers that did not know a request that was tried on the last connection, by how they were named.
    unable: BTreeSet<String>,
    /// Servers that were Keepers on the last connection: their recursive watches named what is watched, or they may have
    /// no such watches.
    keepers: BTreeSet<String>,
    /// What came of single reads whose last is still to come.
    singles: Vec<Single>,
    /// Why the watches could not be set for what is read right behind them.
    unarmed: Option<ServerError>,
    /// The session may not read the server's root, so barriers are about the roots of caches: a server may write each
    /// refusal to its log.
    spares_root: bool,
    rng: fastrand::Rng,
    link: Link,
    /// The server that is connected, or was, as it was named.
    server: String,
    /// The flight for which watches were set last.
    arming: (CacheId, u64),
    /// From a pause until the server is heard again: when it was heard before the pause.
    paused: Option<Instant>,
    caches: BTreeMap<CacheId, Synchroniser>,
    watches: BTreeMap<NodePath, Watch>,
    watch_serial: u64,
    requests: VecDeque<(Request, Purpose)>,
    /// Reads without a reply, and about how many bytes of replies are still to come.
    reads: usize,
    bytes: usize,
    /// The cache whose turn it was last.
    served: CacheId,
    /// How many servers had no recursive watches, one after the other.
    refusals: usize,
    outputs: VecDeque<(CacheId, Output)>,
}

impl Group {
    /// Without caches, and without a connection. `rng` spreads verifications, audits and retries.
    pub fn new(chroot: NodePath, modes: Modes, rng: fastrand::Rng) -> Group {
        Group {
            chroot,
            modes,
            way: Way::Recursive,
            kin: Kin::Unknown(None),
            unable: BTreeSet::new(),
            keepers: BTreeSet::new(),
            singles: Vec::new(),
            unarmed: None,
            spares_root: false,
            rng,
            link: Link::Down,
            server: String::new(),
            arming: (CacheId(0), 0),
            paused: None,
            caches: BTreeMap::new(),
            watches: BTreeMap::new(),
            watch_serial: 0,
            requests: VecDeque::new(),
            reads: 0,
            bytes: 0,
            served: CacheId(0),
            refusals: 0,
            outputs: VecDeque::new(),
        }
    }

    /// What is wanted of a cache. No two that are open may have the same `id`.
    pub fn handle_input(&mut self, id: CacheId, input: Input, now: Instant) {
        match input {
            Input::Open(root, options) => self.open(id, root, options, None, now),
            Input::OpenFrom(root, options, known) => self.open(id, root, options, Some(known), now),
            Input::Sync(ticket) => {
                self.with(id, |cache| cache.sync(ticket));
                self.watch_for(id, now);
            }
            Input::Close => self.close(id),
        }
    }

    fn open(
        &mut self,
        id: CacheId,
        root: NodePath,
        options: Options,
        known: Option<Arc<Version>>,
        now: Instant,
    ) {
        let mut cache = Synchroniser::new(root, &self.chroot, options, known, self.rng.fork(), now);
        match self.link {
            Link::Up => {
                cache.handle_connected(false);
                self.paused.into_iter().for_each(|heard| cache.handle_paused(heard));
            }
            Link::Down => {}
            Link::Closed => cache.handle_closed(now),
        }
        self.caches.insert(id, cache);
        self.watch_for(id, now);
        self.collect(id);
    }

    /// If a cache needs a watch and has none: that of another cache with its root serves, or one is set, or each node is
    /// watched by itself.
    fn watch_for(&mut self, id: CacheId, now: Instant) {
        let is_due = |cache: &&Synchroniser| cache.lacks_watch() && cache.is_answered();
        let Some(cache) = self.caches.get(&id).filter(is_due) else { return };
        let watch = want_watch(&mut self.watches, cache);
        // If the connection is gone, its watch says nothing.
        let is_set = watch.progress == WatchProgress::Set;
        if self.link == Link::Up && (is_set || self.is_one_shot() && self.kin.is_known()) {
            let (is_one_shot, reads_singly) = (self.is_one_shot(), self.reads_singly());
            let counts_sets = self.kin == Kin::Keeper;
            self.with(id, |cache| {
                cache.note_server(counts_sets, reads_singly);
                cache.handle_watching(None, is_one_shot, now);
            });
        }
    }

    /// The watch goes with the last cache that has its root.
    fn close(&mut self, id: CacheId) {
        if let Some(cache) = self.caches.remove(&id) {
            self.outputs.retain(|(of, _)| *of != id);
            self.drop_watch(cache.root().clone());
        }
    }

    /// A cache with this root needs no watch any more. What the others need may be another kind: then the old one is
    /// removed, and as they miss what happens before the new one is there, they read the root again.
    fn drop_watch(&mut self, root: NodePath) {
        let users = self.caches.values().filter(|cache| *cache.root() == root && cache.needs_watch());
        let is_alone: Option<bool> = users.map(Synchroniser::is_alone).reduce(|all, one| all && one);
        let is_kept = match (is_alone, self.watches.get_mut(&root)) {
            _ if planted::is(Defect::SharedWatchRemoved) => false,
            (Some(is_alone), Some(watch)) if is_alone == watch.is_alone => return,
            (Some(is_alone), Some(watch)) => {
                watch.change(is_alone);
                true
            }
            (_, _) => false,
        };
        let is_one_shot = self.is_one_shot();
        let is_set = |watch: &Watch| watch.is_tried && watch.progress != WatchProgress::Refused;
        let is_removed = self.link == Link::Up && !is_one_shot && self.watches.get(&root).is_some_and(is_set);
        if is_removed {
            self.requests.push_back((Request::RemoveWatches(root.clone()), Purpose::Unwatch));
        }
        if !is_kept {
            self.watches.remove(&root);
        } else if is_removed && !planted::is(Defect::GapUnnoticed) {
            self.each(|cache| {
                if *cache.root() == root {
                    cache.handle_unwatched();
                }
            });
        }
    }

    /// The roots of caches that are held from now on.
    fn held_roots(&mut self) -> Vec<NodePath> {
        let held =
            self.caches.values_mut().filter_map(|cache| cache.take_held().then(|| cache.root().clone()));
        held.collect()
    }

    /// Whether each watch of the connection tells of one change.
    fn is_one_shot(&self) -> bool {
        matches!(self.way, Way::OneShot { .. })
    }

    /// Whether the server has no multiRead: what a flight asks for is read one by one.
    fn reads_singly(&self) -> bool {
        self.way == (Way::OneShot { batches: false })
    }

    /// What the caches have to tell. The outputs of one cache come in their order.
    pub fn poll_output(&mut self) -> Option<(CacheId, Output)> {
        self.outputs.pop_front()
    }

    /// The newest transaction that replies have shown but no header has named: a new leader names none before its first
    /// transaction. A server that has not seen it lags.
    pub fn undated_newest(&self) -> Zxid {
        self.caches.values().map(Synchroniser::undated_newest).max().unwrap_or_default()
    }

    /// How many servers have refused since one had recursive watches.
    pub fn refusals(&self) -> usize {
        self.refusals
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` where nothing waits for the time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let watches = self.watches.values().filter_map(|watch| match watch.progress {
            WatchProgress::Wanted(at) if self.link == Link::Up => at,
            _ => None,
        });
        let kin = self.kin.poll_timeout().filter(|_| self.link == Link::Up);
        self.caches.values().filter_map(Synchroniser::poll_timeout).chain(watches).chain(kin).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for watch in self.watches.values_mut() {
            if matches!(watch.progress, WatchProgress::Wanted(Some(at)) if now >= at) {
                watch.progress = WatchProgress::Wanted(None);
            }
        }
        self.kin.handle_timeout(now);
        self.each(|cache| cache.handle_timeout(now));
    }

    /// The next request to be sent. Its purpose is to be given back with the reply.
    pub fn poll_request(&mut self, now: Instant) -> Option<(Request, Purpose)> {
        if self.link != Link::Up {
            return None;
        }
        for root in self.held_roots() {
            self.drop_watch(root);
        }
        if let Some(next) = self.requests.pop_front() {
            return Some(next);
        }
        // In front of the watches, so that it is known when they are there.
        if !self.watches.is_empty() && self.kin.takes_question() {
            return Some((Request::FeatureFlags, Purpose::Kin));
        }
        let watches = self.watches.len() as u64;
        let is_one_shot = self.is_one_shot();
        for (root, watch) in &mut self.watches {
            if watch.progress == WatchProgress::Wanted(None) && !is_one_shot {
                self.watch_serial += 1;
                let serial = self.watch_serial;
                (watch.is_tried, watch.progress) = (true, WatchProgress::Asked { serial });
                let request = match planted::is(Defect::WatchNotSetAgain) && serial > watches {
                    true => Request::Sync,
                    false => watch.request(root),
                };
                let with_it =
                    self.caches.values_mut().filter(|cache| cache.root() == root && cache.needs_watch());
                with_it.for_each(Synchroniser::handle_watch_asked);
                return Some((request, Purpose::Watch { root: root.clone(), serial }));
            }
        }
        for (id, cache) in &mut self.caches {
            if let Some(watch) = self.watches.get(cache.root()).filter(|_| !is_one_shot)
                && cache.takes_renewal()
            {
                let watch = match planted::is(Defect::RenewedAlone) {
                    true => Watch::wanted(cache.is_alone()),
                    false => *watch,
                };
                return Some((watch.request(cache.root()), Purpose::WatchAgain { cache: *id }));
            }
            if let Some(mode) = cache.take_sync(self.modes.sync) {
                let request = match mode {
                    SyncMode::Sync => Request::Sync,
                    SyncMode::Barrier => Request::Barrier(self.spares_root.then(|| cache.root().clone())),
                };
                return Some((request, Purpose::Sync { cache: *id, mode }));
            }
        }
        if self.reads >= MOST_READS || self.bytes >= MOST_BYTES {
            return None;
        }
        // The caches take turns: first those behind the cache that was served last, then those from the first on.
        let asks = |(id, cache): (&CacheId, &mut Synchroniser)| Some((*id, cache.poll_flight(now)?));
        let behind = (Bound::Excluded(self.served), Bound::Unbounded);
        let (id, flight) = match self.caches.range_mut(behind).find_map(asks) {
            None => self.caches.range_mut(..=self.served).find_map(asks)?,
            Some(found) => found,
        };
        self.served = id;
        self.take_off(id, flight);
        self.collect(id);
        self.requests.pop_front()
    }

    /// Makes requests of a flight. They go out one behind the other.
    fn take_off(&mut self, cache: CacheId, flight: Flight) {
        if self.is_one_shot()
            && let Some(root) = self.caches.get(&cache).map(Synchroniser::root)
        {
            self.requests.extend(arming::watches(cache, &flight, root));
        }
        let nodes = flight::multi_read_len(&flight.nodes, &flight.parts);
        if nodes > 0 && self.reads_singly() {
            let mut singles = arming::single_reads(&flight);
            let last = singles.pop();
            self.requests.extend(singles.into_iter().map(|request| (request, Purpose::Single)));
            self.reads += nodes;
            self.bytes += flight.expected;
            let (reads, parts, expected) = (flight.nodes, flight.parts, flight.expected);
            self.requests.extend(last.map(|last| (last, Purpose::Nodes { cache, reads, parts, expected })));
        } else if nodes > 0 {
            let mut reads = Vec::with_capacity(flight.nodes.len() + flight.parts.len());
            for read in &flight.nodes {
                reads.push(wire::Read::Data(read.path.clone()));
                if read.children {
                    reads.push(wire::Read::Children(read.path.clone()));
                }
            }
            reads.extend(flight.parts.iter().map(|part| wire::Read::Siblings(part.siblings.clone())));
            self.reads += nodes;
            self.bytes += flight.expected;
            let (parts, expected) = (flight.parts, flight.expected);
            let purpose = Purpose::Nodes { cache, reads: flight.nodes, parts, expected };
            self.requests.push_back((Request::MultiRead(reads), purpose));
        }
        self.reads += flight.stats.len();
        for read in flight.stats {
            let request = match read.children {
                true => Request::ChildrenWithStat(read.path.clone()),
                false => Request::Exists(read.path.clone()),
            };
            self.requests.push_back((request, Purpose::Stat { cache, read }));
        }
    }

    /// The connection to this server, as it was named, is there; `resumed`: with the session that there was before.
    pub fn handle_connected(&mut self, resumed: bool, server: &str, now: Instant) {
        self.link = Link::Up;
        self.watches.values_mut().for_each(|watch| *watch = Watch::wanted(watch.is_alone));
        // Only for this connection: on the next one it may be another server behind that name.
        let is_able = !self.unable.remove(server);
        let was_keeper = self.keepers.remove(server);
        self.kin = if was_keeper { Kin::Keeper } else { Kin::Unknown(None) };
        self.way = match self.modes.watch {
            WatchMode::Auto if is_able && !was_keeper => Way::Recursive,
            WatchMode::Recursive => Way::Recursive,
            WatchMode::Auto | WatchMode::OneShot => Way::OneShot { batches: is_able },
        };
        self.server = server.to_owned();
        self.each(|cache| cache.handle_connected(resumed));
        if self.is_one_shot() {
            self.watch_each_node(now);
        }
    }

    /// There is no recursive watch on this connection, and each node is watched by itself.
    fn fall_back(&mut self, now: Instant) {
        self.way = Way::OneShot { batches: true };
        self.watches.values_mut().for_each(|watch| *watch = Watch::wanted(watch.is_alone));
        self.watch_each_node(now);
    }

    fn watch_each_node(&mut self, now: Instant) {
        // What a Stat says has to be known before one is read.
        if !self.kin.is_known() {
            return;
        }
        let (counts_sets, reads_singly) = (self.kin == Kin::Keeper, self.reads_singly());
        self.each(|cache| {
            if cache.needs_watch() {
                cache.note_server(counts_sets, reads_singly);
                cache.handle_watching(None, true, now);
            }
        });
    }

    /// What kind of server it is, is known now.
    fn kin_answered(&mut self, now: Instant) -> Result<(), Breach> {
        let is_watched = self.watches.values().any(|watch| watch.progress == WatchProgress::Set);
        match self.kin {
            Kin::Keeper
                if !self.is_one_shot() && (is_watched || self.modes.watch == WatchMode::Recursive) =>
            {
                return Err(self.misnames());
            }
            Kin::Keeper if !self.is_one_shot() => {
                // They may be under way. What they tell until they are removed costs reads, and no more.
                let is_asked = |watch: &Watch| matches!(watch.progress, WatchProgress::Asked { .. });
                for (root, _) in self.watches.iter().filter(|(_, watch)| is_asked(watch)) {
                    self.requests.push_back((Request::RemoveWatches(root.clone()), Purpose::Unwatch));
                    // One that knows no such watches ends the connection, and is not asked for them on the next one.
                    if !planted::is(Defect::KeeperForgotten) {
                        self.keepers.insert(self.server.clone());
                    }
                }
                self.fall_back(now);
            }
            Kin::ZooKeeper | Kin::Keeper if self.is_one_shot() => self.watch_each_node(now),
            _ => {}
        }
        Ok(())
    }

    /// A recursive watch has named what is watched, and not what has changed: all that was believed on this connection is
    /// in doubt. On the next connection to this server each node is watched by itself.
    fn misnames(&mut self) -> Breach {
        if self.modes.watch == WatchMode::Recursive {
            self.watches.values_mut().for_each(|watch| watch.progress = WatchProgress::Refused);
            self.refusals += 1;
            return Breach::Misnaming;
        }
        self.keepers.insert(self.server.clone());
        Breach::UnknownRequest
    }

    /// The server does not know a request that was only tried.
    fn give_way(&mut self) -> Breach {
        self.unable.insert(self.server.clone());
        Breach::UnknownRequest
    }

    /// The connection is gone, and with it all requests. `last_zxid` is the transaction that the server had named last
    /// (`None` if nothing may be compared with it), `heard` the time of its last word.
    pub fn handle_suspended(&mut self, last_zxid: Option<Zxid>, heard: Instant) {
        (self.link, self.paused) = (Link::Down, None);
        self.requests.clear();
        self.singles.clear();
        (self.arming, self.unarmed) = ((CacheId(0), 0), None);
        (self.reads, self.bytes) = (0, 0);
        self.each(|cache| cache.handle_suspended(last_zxid, heard));
    }

    /// What comes from now on may have waited in a pause; `heard` is the time of the server's last word before it.
    pub fn handle_paused(&mut self, heard: Instant) {
        self.paused = Some(heard);
        self.each(|cache| cache.handle_paused(heard));
    }

    /// What comes from now on is news again.
    pub fn handle_heard(&mut self) {
        self.paused = None;
        self.each(Synchroniser::handle_heard);
    }

    /// The session is gone. The connection went before it.
    pub fn handle_lost(&mut self) {
        self.each(Synchroniser::handle_lost);
    }

    /// The ensemble has lost what was seen of it: caches forget what they know, and go on showing what is published until
    /// they are loaded again. There is no connection at this time.
    pub fn handle_reset(&mut self) {
        self.each(Synchroniser::handle_reset);
        // Those that were held are loaded again.
        for cache in self.caches.values().filter(|cache| cache.needs_watch()) {
            want_watch(&mut self.watches, cache);
        }
    }

    /// The client is closed; `heard` is the time of the server's last word.
    pub fn handle_closed(&mut self, heard: Instant) {
        self.link = Link::Closed;
        self.each(|cache| cache.handle_closed(heard));
    }

    /// What concerns the whole session; `failure` where no load can succeed as things stand.
    pub fn handle_fault(&mut self, fault: &Fault, failure: Option<Status>) {
        self.each(|cache| {
            cache.fault(fault.clone());
            if failure.is_some() {
                cache.set_failure(failure);
            }
        });
    }

    /// A notification, with the path from the server's root.
    pub fn handle_notification(&mut self, notification: &Notification, now: Instant) {
        if let NotificationKind::Other(kind) = notification.kind {
            log::debug!("notification of kind {kind} about {:?} ignored", Escaped(&notification.path));
            return;
        }
        match self.path_of(notification) {
            Some(path) => {
                let mut stopped = Vec::new();
                for (id, cache) in &mut self.caches {
                    if cache.root().relative(path.as_str()).is_some() && !cache.is_stopped() {
                        cache.handle_notification(notification.kind, &path, now);
                        drain(*id, cache, &mut self.outputs);
                        stopped.extend(cache.is_stopped().then(|| cache.root().clone()));
                    }
                }
                for root in stopped {
                    self.drop_watch(root);
                }
            }
            None => {
                log::warn!(
                    "notification about {:?} ignored: no such path can be",
                    Escaped(&notification.path)
                )
            }
        }
    }

    /// The path that a notification names, below the chroot.
    fn path_of(&self, notification: &Notification) -> Option<NodePath> {
        match self.chroot.relative(&notification.path) {
            _ if self.chroot.is_root() => NodePath::of_server(&notification.path),
            Some("") => Some(NodePath::root()),
            Some(_) => NodePath::of_server(&notification.path[self.chroot.as_str().len()..]),
            None => None,
        }
    }

    /// The zxid at which a server has to be, or further, that another session is to ask what has changed since trees were
    /// left; `None` if none is needed.
    pub fn wants_report(&self) -> Option<Zxid> {
        self.caches.values().filter_map(Synchroniser::wants_report).max()
    }

    /// The next nodes that another session has to have compared. The answer goes to
    /// [`handle_compared`](Self::handle_compared), behind what it tells.
    pub fn poll_chunk(&mut self) -> Option<Chunk> {
        self.caches.iter_mut().find_map(|(id, cache)| cache.poll_chunk(*id))
    }

    /// Another session was told of this.
    pub fn handle_reported(&mut self, notification: &Notification) {
        if let Some(path) = self.path_of(notification) {
            self.each(|cache| cache.handle_reported(notification.kind, &path));
        }
    }

    /// A server has compared these nodes, and all that it found has been handed over.
    pub fn handle_compared(&mut self, chunk: &Chunk, now: Instant) {
        self.with(chunk.cache, |cache| cache.handle_compared(chunk, now));
    }

    /// What was to be compared will not be answered by that server.
    pub fn report_again(&mut self) {
        self.each(Synchroniser::report_again);
    }

    /// No other session can be had: all is read.
    pub fn report_failed(&mut self) {
        self.each(Synchroniser::report_failed);
    }

    /// A reply to a request that was sent for `purpose`.
    ///
    /// # Errors
    /// The reply may show that the connection is of no use any more. The caller then ends the connection. If the reply
    /// shows another history, the caller also has all caches forget what they know
    /// ([`handle_reset`](Self::handle_reset)).
    pub fn handle_reply(
        &mut self,
        purpose: &Purpose,
        zxid: Zxid,
        error: ServerError,
        body: &[u8],
        now: Instant,
    ) -> Result<(), Breach> {
        match *purpose {
            Purpose::Kin => {
                if error == ServerError::SESSION_CLOSED_REQUIRE_SASL {
                    // So it would answer what comes behind that, too, if it did not close the connection.
                    let waiting = self.caches.iter().filter(|(_, cache)| cache.lacks_watch());
                    let ids: Vec<CacheId> = waiting.map(|(id, _)| *id).collect();
                    ids.into_iter().for_each(|id| self.tell_refused(id, error));
                }
                self.kin.answered(error, body, now)?;
                self.kin_answered(now)?;
            }
            Purpose::Watch { ref root, serial } => {
                let progress = self.watches.get(root).map(|watch| watch.progress);
                if progress == Some(WatchProgress::Asked { serial }) {
                    self.watch_answered(root, zxid, error, now)?;
                }
            }
            Purpose::WatchAgain { cache: id } => match error {
                ServerError::OK => {}
                ServerError::THROTTLED => self.with(id, |cache| cache.renew_later(now)),
                _ => return Err(Malformed { what: "reply, it refuses a watch that was set before" }.into()),
            },
            Purpose::Unwatch => {
                if !error.is_ok() && error != ServerError::NO_WATCHER {
                    log::debug!("a watch could not be removed: {error}");
                }
                if error != ServerError::UNIMPLEMENTED {
                    // It has let the watch pass.
                    self.keepers.remove(&self.server);
                }
            }
            Purpose::Arming { cache: id, flight, of_root } => {
                self.armed(id, flight, error)?;
                if of_root {
                    self.with(id, Synchroniser::handle_root_armed);
                }
            }
            Purpose::Single => self.singles.push(Single { zxid, error, body: body.to_vec() }),
            Purpose::Nodes { cache: id, ref reads, ref parts, expected } => {
                self.reads = self.reads.saturating_sub(flight::multi_read_len(reads, parts));
                self.bytes = self.bytes.saturating_sub(expected);
                if error == ServerError::UNIMPLEMENTED && self.way == (Way::OneShot { batches: true }) {
                    return Err(self.give_way());
                }
                let mut singles = std::mem::take(&mut self.singles);
                if self.reads_singly() {
                    singles.push(Single { zxid, error, body: body.to_vec() });
                }
                if let Some(cache) = self.caches.get_mut(&id) {
                    let answers = match self.unarmed {
                        Some(error) => Answers::None(error),
                        None if !singles.is_empty() => Answers::Singles(singles.iter()),
                        None if error.is_ok() => Answers::Batch(MultiReadResults::new(body)),
                        None => Answers::None(error),
                    };
                    let handled = nodes_answered(cache, reads, parts, zxid, answers, now);
                    if handled.is_ok() {
                        cache.handle_reply(zxid, now);
                    }
                    self.after_replies(id, now)?;
                    handled?;
                }
            }
            Purpose::Stat { cache: id, ref read } => {
                self.reads = self.reads.saturating_sub(1);
                let error = self.unarmed.unwrap_or(error);
                if let Some(cache) = self.caches.get_mut(&id) {
                    let found = match (error.is_ok(), read.children) {
                        (false, _) => Found::error(error),
                        (true, false) => Found::Stat { stat: wire::stat_reply(body)?, children: None },
                        (true, true) => {
                            let (children, stat) = wire::children_with_stat(body)?;
                            Found::Stat { stat, children: Some(children) }
                        }
                    };
                    cache.handle_found(&read.path, found, zxid, now);
                    cache.handle_reply(zxid, now);
                    self.after_replies(id, now)?;
                }
            }
            Purpose::Sync { cache: id, mode } => {
                let is_refused =
                    mode == SyncMode::Barrier && wire::barrier_check(error, body) == ServerError::NO_AUTH;
                self.spares_root |= is_refused;
                let error = if is_refused { ServerError::OK } else { error };
                self.with(id, |cache| cache.handle_synced(zxid, error, now));
                self.after_replies(id, now)?;
            }
            Purpose::Create { cache: id, last } => {
                self.with(id, |cache| cache.handle_created(error, last, now))
            }
        }
        Ok(())
    }

    /// What replies may have led to, besides outputs: a root to be created, a limit that was hit, a tree that is of no use,
    /// or the end of the connection.
    fn after_replies(&mut self, id: CacheId, now: Instant) -> Result<(), Breach> {
        let Some(cache) = self.caches.get_mut(&id) else { return Ok(()) };
        let mut breach = cache.take_breach();
        if let Some(Breach::OtherHistory(evidence)) = &breach
            && cache.is_inherited()
        {
            // That is no news of the ensemble, and the other caches are as good as before.
            cache.begin_anew(evidence);
            breach = cache.take_breach();
        }
        if cache.take_root_creation() {
            let root = cache.root().as_str().strip_prefix('/').unwrap_or_default();
            let path = self.chroot.absolute(root);
            let names = path.as_str().char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
            for end in names.chain([path.as_str().len()]) {
                let Some(ancestor) = NodePath::of_server(&path.as_str()[..end]) else { continue };
                let last = end == path.as_str().len();
                let request = match cache.makes_containers() && !last {
                    true => Request::CreateContainerFromServerRoot(ancestor),
                    false => Request::CreateFromServerRoot(ancestor),
                };
                self.requests.push_back((request, Purpose::Create { cache: id, last }));
            }
        }
        let stopped = cache.is_stopped().then(|| cache.root().clone());
        self.collect(id);
        if let Some(root) = stopped {
            self.drop_watch(root);
        }
        self.watch_for(id, now);
        match breach {
            Some(Breach::Misnaming) => Err(self.misnames()),
            Some(breach) => Err(breach),
            None => Ok(()),
        }
    }

    /// Watches were set for what is read right behind that, or could not be.
    fn armed(&mut self, id: CacheId, flight: u64, error: ServerError) -> Result<(), Breach> {
        if self.arming != (id, flight) {
            (self.arming, self.unarmed) = ((id, flight), None);
            self.with(id, |cache| cache.handle_armed(flight));
        }
        match error {
            // A missing root, or one that the session may not read. Then it is there, and has its watch.
            ServerError::OK | ServerError::NO_NODE | ServerError::NO_AUTH => {}
            ServerError::UNIMPLEMENTED | ServerError::MARSHALLING => {
                self.refusals += 1;
                return Err(Breach::NoWatches(error));
            }
            error => self.unarmed = Some(error),
        }
        self.refusals = 0;
        Ok(())
    }

    fn watch_answered(
        &mut self,
        root: &NodePath,
        zxid: Zxid,
        error: ServerError,
        now: Instant,
    ) -> Result<(), Breach> {
        // Those that live on another kind of watch at this path go on.
        let ids: Vec<CacheId> = self
            .caches
            .iter()
            .filter(|(_, cache)| cache.root() == root && cache.lacks_watch())
            .map(|(id, _)| *id)
            .collect();
        let is_unknown = !self.kin.is_known() && !planted::is(Defect::KeeperTakenForZooKeeper);
        let progress = match error {
            // The question was not answered. Before it is, nobody knows what Stats and notifications say here, nor whether
            // the watch is any good.
            ServerError::OK if is_unknown => WatchProgress::Wanted(Some(now + WATCH_RETRY)),
            ServerError::OK => {
                for id in ids {
                    self.with(id, |cache| cache.handle_watching(Some(zxid), false, now));
                }
                self.refusals = 0;
                WatchProgress::Set
            }
            // The server has a watch manager that has no recursive watches, and goes on.
            ServerError::MARSHALLING if self.modes.watch == WatchMode::Auto => {
                self.fall_back(now);
                return Ok(());
            }
            // It is older than 3.6, and closes the connection.
            ServerError::UNIMPLEMENTED if self.modes.watch == WatchMode::Auto => return Err(self.give_way()),
            ServerError::UNIMPLEMENTED | ServerError::MARSHALLING => {
                // No cache can have a watch on this connection, whether it was asked for or not.
                self.watches.values_mut().for_each(|watch| watch.progress = WatchProgress::Refused);
                self.refusals += 1;
                return Err(Breach::NoWatches(error));
            }
            error => {
                if error != ServerError::THROTTLED {
                    ids.into_iter().for_each(|id| self.tell_refused(id, error));
                }
                WatchProgress::Wanted(Some(now + WATCH_RETRY))
            }
        };
        if let Some(watch) = self.watches.get_mut(root) {
            watch.progress = progress;
        }
        Ok(())
    }

    /// The server could not set the watch of a cache.
    fn tell_refused(&mut self, id: CacheId, error: ServerError) {
        let status = match error {
            // The server wants to know who asks, and closes the connection.
            ServerError::SESSION_CLOSED_REQUIRE_SASL => Status::Auth,
            _ => Status::Protocol,
        };
        self.with(id, |cache| {
            let root = cache.root().clone();
            let message = format!("the server could not watch {root}: {error}");
            cache.fault(Fault::new(status, message).at(&root).server_error(error.0));
            if status == Status::Auth {
                cache.set_failure(Some(status));
            }
        });
    }

    fn with(&mut self, id: CacheId, change: impl FnOnce(&mut Synchroniser)) {
        if let Some(cache) = self.caches.get_mut(&id) {
            change(cache);
            drain(id, cache, &mut self.outputs);
        }
    }

    /// Changes all caches but those that a limit has ended: nothing concerns them any more.
    fn each(&mut self, mut change: impl FnMut(&mut Synchroniser)) {
        for (id, cache) in self.caches.iter_mut().filter(|(_, cache)| !cache.is_stopped()) {
            change(cache);
            drain(*id, cache, &mut self.outputs);
        }
    }

    fn collect(&mut self, id: CacheId) {
        self.with(id, |_| {});
    }
}

/// The watch that a cache is to live on: if it needs to be told of what is below its root, and others at the same root did
/// not, it is asked for anew, and they go on.
fn want_watch(watches: &mut BTreeMap<NodePath, Watch>, cache: &Synchroniser) -> Watch {
    let watch = watches.entry(cache.root().clone()).or_insert(Watch::wanted(cache.is_alone()));
    if watch.is_alone && !cache.is_alone() && !planted::is(Defect::AloneTakenForAll) {
        watch.change(false);
    }
    *watch
}

fn drain(id: CacheId, cache: &mut Synchroniser, outputs: &mut VecDeque<(CacheId, Output)>) {
    while let Some(output) = cache.poll_output() {
        outputs.push_back((id, output));
    }
}

/// The results of reads that went out together.
enum Answers<'r> {
    /// There are none, for this reason.
    None(ServerError),
    Batch(MultiReadResults<'r>),
    /// Of single reads.
    Singles(std::slice::Iter<'r, Single>),
}

/// The reply to a single read: what its header says, and what follows.
struct Single {
    zxid: Zxid,
    error: ServerError,
    body: Vec<u8>,
}

impl<'r> Answers<'r> {
    /// What the next read says of a node, or the next two if its child list was read too.
    fn next(&mut self, children: bool) -> Result<Found<'r>, Malformed> {
        match self {
            Answers::None(_) if planted::is(Defect::RefusalTakenForAbsence) => Ok(Found::Missing),
            Answers::None(error) => Ok(Found::Failed(*error)),
            Answers::Batch(results) => found_together(results, children),
            Answers::Singles(results) => found_singly(results, children),
        }
    }

    fn is_over(&mut self) -> Result<bool, Malformed> {
        match self {
            Answers::None(_) => Ok(true),
            Answers::Batch(results) => Ok(results.next()?.is_none()),
            Answers::Singles(results) => Ok(results.as_slice().is_empty()),
        }
    }
}

const OTHER_RESULTS: Malformed = Malformed { what: "multiRead reply, its results are not those asked for" };

fn found_together<'r>(results: &mut MultiReadResults<'r>, children: bool) -> Result<Found<'r>, Malformed> {
    let node = results.next()?.ok_or(OTHER_RESULTS)?;
    let children = if children { Some(results.next()?.ok_or(OTHER_RESULTS)?) } else { None };
    match (node, children) {
        (ReadResult::Data(data, stat), None) => Ok(Found::Node { data, stat, children: None }),
        (ReadResult::Data(data, stat), Some(ReadResult::Children(children))) => {
            Ok(Found::Node { data, stat, children: Some(children) })
        }
        (_, Some(ReadResult::Error(error))) | (ReadResult::Error(error), _) => Ok(Found::error(error)),
        _ => Err(OTHER_RESULTS),
    }
}

/// The two replies may be at different zxids, and what is found counts at that of the later one.
fn found_singly<'r>(
    replies: &mut std::slice::Iter<'r, Single>,
    children: bool,
) -> Result<Found<'r>, Malformed> {
    let Single { zxid, error, body } = replies.next().ok_or(OTHER_RESULTS)?;
    let node = if error.is_ok() { Some(wire::data_reply(body)?) } else { None };
    let found = |node: Option<(&'r [u8], Stat)>, children| match node {
        Some((data, stat)) => Found::Node { data, stat, children },
        None => Found::error(*error),
    };
    if !children {
        return Ok(found(node, None));
    }
    let list = replies.next().ok_or(OTHER_RESULTS)?;
    if !list.error.is_ok() {
        return Ok(Found::error(list.error));
    }
    let (names, stat) = wire::children_with_stat(&list.body)?;
    let is_one = match node {
        Some((_, before)) => before == stat,
        None => !matches!(*error, ServerError::NO_NODE | ServerError::NO_AUTH),
    };
    match is_one || *zxid == list.zxid || planted::is(Defect::TwoReadsTakenForOne) {
        true => Ok(found(node, Some(names))),
        false => Ok(Found::Torn),
    }
}

/// Hands results to the cache, one for each read.
fn nodes_answered(
    cache: &mut Synchroniser,
    reads: &[Read],
    parts: &[Part],
    zxid: Zxid,
    mut answers: Answers<'_>,
    now: Instant,
) -> Result<(), Malformed> {
    if let Answers::Singles(singles) = &answers
        && let Some(first) = singles.as_slice().first()
    {
        cache.note_first_read(first.zxid);
    }
    for read in reads {
        let found = answers.next(read.children)?;
        cache.handle_found(&read.path, found, zxid, now);
    }
    for part in parts {
        cache.handle_part(part, || answers.next(false), zxid, now)?;
    }
    if answers.is_over()? { Ok(()) } else { Err(OTHER_RESULTS) }
}
