//! A small ZooKeeper in memory, and one cache that is connected to it by a stream that can be held up anywhere.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Status;
use crate::path::NodePath;
use crate::selection::{Kept, Selection};
use crate::stat::{Stat, Zxid};
use crate::state::{EventKind, State};
use crate::sync::flight::{Found, Part, Read};
use crate::sync::synchroniser::Synchroniser;
use crate::sync::{
    Breach, CacheId, Chunk, Data, Options, Output, Pace, Progress, SyncMode, Ticket, VerifyMode,
};
use crate::tree::{Tree, Version};
use crate::wire::{self, NotificationKind, Request, ServerError};

pub(super) const ROOT: &str = "/r";

#[derive(Clone)]
pub(super) struct ModelNode {
    data: Vec<u8>,
    stat: Stat,
    /// The session may read it.
    open: bool,
    /// Creations below it are not counted any more.
    saturated: bool,
}

type Nodes = BTreeMap<String, Arc<ModelNode>>;

#[derive(Clone, Debug)]
pub(super) enum Write {
    Create(String),
    CreatePrivate(String),
    Set(String, Vec<u8>),
    Delete(String),
    /// `setACL`, so that the session may read the node, or may not.
    Open(String, bool),
}

/// The nodes, and what they were after each transaction.
#[derive(Default, Clone)]
pub(super) struct Server {
    pub zxid: Zxid,
    /// In ms; it goes on where the history is another one.
    pub time: i64,
    pub nodes: Nodes,
    /// A name that is listed, of a node that is not there.
    phantom: Option<String>,
    history: Vec<(Zxid, Nodes)>,
}

impl Server {
    pub(super) fn has_children(&self, path: &str) -> bool {
        self.nodes.get(path).is_some_and(|node| node.stat.num_children > 0)
    }

    pub(super) fn aversion(&self, path: &str) -> i32 {
        self.nodes[path].stat.aversion
    }

    /// Its node is gone, and its name is not.
    pub(super) fn lists_only(&mut self, path: &str) {
        self.nodes.remove(path);
        self.phantom = Some(path.to_owned());
    }

    fn children(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let names = self.nodes.range(below.clone()..).map_while(|(path, _)| path.strip_prefix(&below));
        let phantom = self.phantom.as_ref().and_then(|path| path.strip_prefix(&below));
        names.filter(|name| !name.contains('/')).chain(phantom).map(str::to_owned).collect()
    }

    /// One transaction; writes that are not possible are left out. Returns what is notified of.
    pub(super) fn transact(&mut self, writes: &[Write]) -> Vec<(NotificationKind, String)> {
        self.zxid.0 += 1;
        self.time += 1;
        let mut notified = Vec::new();
        for write in writes {
            notified.extend(self.write(write));
        }
        self.history.push((self.zxid, self.nodes.clone()));
        notified
    }

    /// Another server, which has not heard of the last transaction yet.
    pub(super) fn fall_behind(&mut self) {
        self.history.pop();
        let (zxid, nodes) = self.history.last().cloned().unwrap_or_default();
        (self.zxid, self.nodes) = (zxid, nodes);
    }

    /// Whether this session may read the node, which another one may not, or may.
    pub(super) fn allow(&mut self, path: &str, open: bool) {
        Arc::make_mut(self.nodes.get_mut(path).expect("it is there")).open = open;
        self.transact(&[]);
    }

    /// It has lost what came behind that zxid, and goes on from there.
    pub(super) fn put_back(&mut self, zxid: Zxid) {
        self.history.retain(|(at, _)| *at <= zxid);
        self.nodes = self.history.last().map(|(_, nodes)| nodes.clone()).unwrap_or_default();
        self.zxid = zxid;
        self.phantom = None;
    }

    /// `DataTree.setWatches`
    pub(super) fn compare(&self, chunk: &Chunk) -> Vec<(NotificationKind, NodePath)> {
        let of = |paths: &[NodePath], kind, zxid: fn(&Stat) -> Zxid| {
            let told = |path: &NodePath| match self.nodes.get(path.as_str()) {
                None => Some((NotificationKind::Deleted, path.clone())),
                Some(node) => (zxid(&node.stat) > chunk.since).then(|| (kind, path.clone())),
            };
            paths.iter().filter_map(told).collect::<Vec<_>>()
        };
        let mut told = of(&chunk.nodes, NotificationKind::DataChanged, |stat| stat.mzxid);
        told.extend(of(&chunk.lists, NotificationKind::ChildrenChanged, |stat| stat.pzxid));
        told
    }

    fn write(&mut self, write: &Write) -> Option<(NotificationKind, String)> {
        let (zxid, time) = (self.zxid, self.time);
        let (kind, path, open) = match write {
            Write::Create(path) | Write::CreatePrivate(path) => {
                let is_possible = !self.nodes.contains_key(path) && (path == ROOT || self.child(path, 1));
                let open = matches!(write, Write::Create(_));
                let stat = Stat {
                    czxid: zxid,
                    mzxid: zxid,
                    ctime: time,
                    mtime: time,
                    pzxid: zxid,
                    ..Stat::default()
                };
                let node = ModelNode { data: Vec::new(), stat, open, saturated: false };
                is_possible.then(|| self.nodes.insert(path.clone(), Arc::new(node)))?;
                (NotificationKind::Created, path, open)
            }
            Write::Set(path, data) => {
                let node = Arc::make_mut(self.nodes.get_mut(path)?);
                node.data.clone_from(data);
                (node.stat.mzxid, node.stat.mtime) = (zxid, time);
                node.stat.data_length = data.len() as i32;
                node.stat.version += 1;
                (NotificationKind::DataChanged, path, node.open)
            }
            Write::Delete(path) => {
                let node = (!self.has_children(path)).then(|| self.nodes.remove(path))??;
                self.child(path, -1);
                (NotificationKind::Deleted, path, node.open)
            }
            Write::Open(path, open) => {
                let node = Arc::make_mut(self.nodes.get_mut(path)?);
                node.open = *open;
                node.stat.aversion += 1;
                return None;
            }
        };
        open.then(|| (kind, path.clone()))
    }

    /// Counts a child that came or went with its parent, if that is there.
    fn child(&mut self, path: &str, difference: i32) -> bool {
        let parent = path.rsplit_once('/').and_then(|(parent, _)| self.nodes.get_mut(parent));
        let Some(parent) = parent.map(Arc::make_mut) else { return false };
        parent.stat.num_children += difference;
        if parent.saturated {
            parent.stat.cversion = -2 - parent.stat.num_children;
        } else {
            parent.stat.cversion += 1;
        }
        if !parent.saturated || difference < 0 {
            parent.stat.pzxid = self.zxid;
        }
        true
    }

    /// Makes it a node below which 2^31 others were created.
    pub(super) fn saturate(&mut self, path: &str) {
        let node = Arc::make_mut(self.nodes.get_mut(path).expect("it is there"));
        node.saturated = true;
        node.stat.cversion = -2 - node.stat.num_children;
        self.transact(&[]);
    }

    fn at(&self, zxid: Zxid) -> &Nodes {
        static NOTHING: Nodes = BTreeMap::new();
        let count = self.history.partition_point(|(at, _)| *at <= zxid);
        count.checked_sub(1).map_or(&NOTHING, |last| &self.history[last].1)
    }

    fn read(&self, read: &Read, data: bool) -> Answer {
        let Some(node) = self.nodes.get(read.path.as_str()) else {
            return Answer::Error(ServerError::NO_NODE);
        };
        // ZooKeeper checks no ACL for an `exists`.
        if !node.open && (data || read.children) {
            return Answer::Error(ServerError::NO_AUTH);
        }
        let children = read.children.then(|| self.children(read.path.as_str()));
        Answer::Node { node: node.clone(), data, children }
    }
}

/// How `tree` differs from what the session may read of `nodes`; aversion aside, of which nothing notifies.
pub(super) fn difference(tree: &Tree, nodes: &Nodes) -> Option<String> {
    let mut expected = 0;
    let mut opaque: Option<&str> = None;
    for (path, node) in nodes {
        let is_below = |above: &str| path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
        if opaque.is_some_and(is_below) {
            continue;
        }
        // In the order of bytes a sibling like "a-b" may come between "a" and "a/b"; no test has such names.
        opaque = (!node.open).then_some(path);
        expected += 1;
        let relative = path[ROOT.len()..].trim_start_matches('/');
        match (tree.get(relative).map(|entry| entry.node()), node.open) {
            (None, _) => return Some(format!("{path} is missing")),
            (Some(None), false) => {}
            (Some(None), true) => return Some(format!("{path} should be readable")),
            (Some(Some(_)), false) => return Some(format!("{path} should not be readable")),
            (Some(Some(found)), true) => {
                let stat = Stat { aversion: node.stat.aversion, ..*found.stat() };
                if stat != node.stat || found.data() != node.data {
                    return Some(format!("{path} is {stat:?} and should be {:?}", node.stat));
                }
            }
        }
    }
    let mut found = 0;
    let mut walk = tree.preorder();
    while walk.next().is_some() {
        found += 1;
    }
    (found != expected).then(|| format!("there are {found} nodes and should be {expected}"))
}

enum Sent {
    Watch,
    WatchAgain,
    Barrier,
    Nodes(Vec<Read>, Vec<Part>),
    Stat(Read),
    CreateRoot,
}

enum Answer {
    Node { node: Arc<ModelNode>, data: bool, children: Option<Vec<String>> },
    Error(ServerError),
}

impl Answer {
    fn found(&self) -> Found<'_> {
        match self {
            Answer::Error(error) => Found::error(*error),
            Answer::Node { node, data, children } => {
                let children =
                    children.as_ref().map(|children| children.iter().map(String::as_str).collect());
                match data {
                    true => Found::Node { data: &node.data, stat: node.stat, children },
                    false => Found::Stat { stat: node.stat, children },
                }
            }
        }
    }
}

enum Word {
    Watching,
    WatchingAgain,
    Synced(ServerError),
    Notification(NotificationKind, NodePath),
    Found(Vec<(NodePath, Answer)>, Vec<(Part, Vec<Answer>)>),
    Created(ServerError),
}

/// What was asked of the server.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub multi_reads: usize,
    pub nodes: usize,
    pub lists: usize,
    pub stats: usize,
    pub syncs: usize,
    /// Of another session.
    pub compared: usize,
}

/// A server, a cache, and what is on the way between them.
pub(super) struct World {
    selection: Selection,
    pub server: Server,
    pub cache: Synchroniser,
    pub now: Instant,
    pub connected: bool,
    /// The next connection goes on with the session of the one before.
    pub resumes: bool,
    pub asked: Asked,
    pub versions: Vec<Arc<Version>>,
    pub events: Vec<EventKind>,
    pub state: State,
    /// The answers to calls of `sync`.
    pub synced: Vec<(u64, Result<(), Status>)>,
    pub progress: Progress,
    /// Nothing is ever hidden from the session, so that every cut must be exact.
    pub strict: bool,
    /// There is another session that is told what has changed, by a server that is at one with this one.
    pub reports: bool,
    /// The next answers are refusals.
    pub throttled: usize,
    /// Barriers are not answered.
    pub drop_barriers: bool,
    /// The server has forgotten watches.
    forgetful: bool,
    faults: usize,
    /// How often the tree that it began with was found to be of another history.
    pub resets_of_its_own: usize,
    /// It was told, and nothing was published since.
    begins_anew: bool,
    /// Why connections were ended.
    pub breaches: Vec<Breach>,
    watching: bool,
    sent: VecDeque<Sent>,
    words: VecDeque<(Zxid, Word)>,
    /// The newest zxid in what was delivered: of replies and pings, and of all.
    last_zxid: Zxid,
    seen: Zxid,
    /// When the last word was delivered.
    pub heard: Instant,
    told: Announced,
}

/// What may be told next of the connection.
struct Announced {
    connection: EventKind,
    initialized: bool,
    in_step: bool,
}

/// What another user has read.
pub(super) fn by_anyone(version: Arc<Version>) -> Arc<Version> {
    Arc::new(Version { is_own: false, ..(*version).clone() })
}

pub(super) fn options() -> Options {
    Options {
        selection: Selection::default(),
        follow: true,
        single: false,
        create_root: false,
        container_parents: false,
        limit_nodes: 0,
        limit_bytes: 0,
        data: Data::All,
        limit_path: 4096,
        verify: VerifyMode::Read,
        audit_interval: Duration::ZERO,
        pace: Pace::default(),
    }
}

/// How long a multiRead is.
fn request_len(reads: &[Read], parts: &[Part]) -> usize {
    let mut request = Vec::new();
    let operations = reads.iter().flat_map(|read| {
        let children = read.children.then(|| wire::Read::Children(read.path.clone()));
        std::iter::once(wire::Read::Data(read.path.clone())).chain(children)
    });
    let siblings = parts.iter().map(|part| wire::Read::Siblings(part.siblings.clone()));
    Request::MultiRead(operations.chain(siblings).collect()).encode(1, &NodePath::root(), &mut request);
    request.len()
}

pub(super) fn path(path: &str) -> NodePath {
    NodePath::new(path).expect("a valid path")
}

impl World {
    pub(super) fn new(options: Options, seed: u64) -> World {
        World::below("/", options, seed)
    }

    /// With that chroot, of which nothing shows here but what the cache makes of it.
    pub(super) fn below(chroot: &str, options: Options, seed: u64) -> World {
        World::beginning_with(chroot, options, None, seed)
    }

    /// A cache that begins with a known tree, and a server like that one.
    pub(super) fn from(known: Arc<Version>, server: &Server) -> World {
        World::from_with(options(), known, server)
    }

    pub(super) fn from_with(options: Options, known: Arc<Version>, server: &Server) -> World {
        World::begin(options, by_anyone(known), server)
    }

    /// A cache of the user by whom the tree was read.
    pub(super) fn of_the_same_user(options: Options, known: Arc<Version>, server: &Server) -> World {
        World::begin(options, known, server)
    }

    fn begin(options: Options, known: Arc<Version>, server: &Server) -> World {
        let mut world = World::beginning_with("/", options, Some(known), 1);
        world.server = server.clone();
        world.pump();
        world
    }

    fn beginning_with(chroot: &str, options: Options, known: Option<Arc<Version>>, seed: u64) -> World {
        let now = Instant::now();
        let rng = fastrand::Rng::with_seed(seed);
        World {
            selection: options.selection.clone(),
            server: Server::default(),
            cache: Synchroniser::new(path(ROOT), &path(chroot), options, known, rng, now),
            now,
            connected: false,
            resumes: false,
            asked: Asked::default(),
            versions: Vec::new(),
            events: Vec::new(),
            state: State::Latent,
            synced: Vec::new(),
            progress: Progress::default(),
            strict: true,
            reports: false,
            throttled: 0,
            drop_barriers: false,
            forgetful: false,
            faults: 0,
            resets_of_its_own: 0,
            begins_anew: false,
            breaches: Vec::new(),
            watching: false,
            sent: VecDeque::new(),
            words: VecDeque::new(),
            last_zxid: Zxid(0),
            seen: Zxid(0),
            heard: now,
            told: Announced {
                connection: EventKind::ConnectionReconnected,
                initialized: false,
                in_step: false,
            },
        }
    }

    /// A cache that is in step with a tree of these nodes.
    pub(super) fn in_step_with(writes: &[Write]) -> World {
        let mut world = World::new(options(), 1);
        world.write(writes);
        world.connect();
        world.rest();
        world.asked = Asked::default();
        world
    }

    pub(super) fn write(&mut self, writes: &[Write]) {
        for (kind, notified) in self.server.transact(writes) {
            if self.watching {
                let word = Word::Notification(kind, path(&notified));
                self.words.push_back((self.server.zxid, word));
            }
        }
    }

    pub(super) fn connect(&mut self) {
        self.connected = true;
        self.cache.handle_connected(self.resumes);
        self.sent.push_back(Sent::Watch);
        self.cache.handle_watch_asked();
        self.pump();
    }

    /// The client is closed.
    pub(super) fn close(&mut self) {
        self.cache.handle_closed(self.heard);
        self.pump();
    }

    pub(super) fn disconnect(&mut self) {
        self.disconnect_at(Some(self.last_zxid).filter(|zxid| zxid.is_transaction()));
    }

    fn disconnect_at(&mut self, last_zxid: Option<Zxid>) {
        (self.connected, self.watching) = (false, false);
        self.sent.clear();
        self.words.clear();
        self.cache.handle_suspended(last_zxid, self.heard);
        self.resumes = true;
        self.pump();
    }

    /// What was read shows that the connection is of no use.
    fn break_off(&mut self, breach: Breach) {
        self.disconnect_at(None);
        if matches!(breach, Breach::OtherHistory(_)) {
            self.seen = self.server.zxid;
            self.cache.handle_reset();
        }
        self.breaches.push(breach);
        self.connect();
    }

    /// The server forgets its watches, and tells nobody.
    pub(super) fn forget_watches(&mut self) {
        (self.watching, self.forgetful) = (false, true);
    }

    /// A watch of another cache is set, which tells of this tree, too.
    pub(super) fn watch_again(&mut self) {
        self.watching = true;
    }

    /// Somebody calls `sync`.
    pub(super) fn sync(&mut self, ticket: u64) {
        self.cache.sync(Ticket(ticket));
        self.pump();
    }

    pub(super) fn lose(&mut self) {
        self.resumes = false;
        self.cache.handle_lost();
        self.pump();
    }

    /// The ensemble is another one, younger than the one before.
    pub(super) fn reset(&mut self) {
        self.server = Server::default();
        (self.last_zxid, self.seen) = (Zxid(0), Zxid(0));
        self.cache.handle_reset();
        self.pump();
    }

    /// The watch that was asked for last is not set, as the server is too busy; it is asked for again.
    pub(super) fn serve_throttled_watch(&mut self) -> bool {
        let at = self.sent.iter().position(|sent| matches!(sent, Sent::Watch));
        at.and_then(|at| self.sent.remove(at)).is_some()
    }

    /// The server answers one request.
    pub(super) fn serve(&mut self) -> bool {
        let Some(sent) = self.sent.pop_front() else { return false };
        if self.drop_barriers && matches!(sent, Sent::Barrier) {
            return true;
        }
        let throttled = self.throttled > 0;
        self.throttled -= usize::from(throttled);
        let answer = |read: &Read, data| match throttled {
            true => Answer::Error(ServerError::THROTTLED),
            false => self.server.read(read, data),
        };
        let word = match &sent {
            Sent::Watch => {
                self.watching = true;
                Word::Watching
            }
            Sent::WatchAgain => {
                self.watching = true;
                Word::WatchingAgain
            }
            Sent::Barrier => {
                self.asked.syncs += 1;
                self.write(&[]);
                Word::Synced(if throttled { ServerError::THROTTLED } else { ServerError::OK })
            }
            Sent::Nodes(reads, parts) => {
                let answers = |part: &Part| {
                    let reads = part.siblings.paths().map(|path| Read { path, children: false });
                    reads.map(|read| answer(&read, true)).collect::<Vec<_>>()
                };
                let found = reads.iter().map(|read| (read.path.clone(), answer(read, true))).collect();
                let of_parts: Vec<_> = parts.iter().map(|part| (part.clone(), answers(part))).collect();
                self.asked.multi_reads += 1;
                self.asked.nodes +=
                    reads.len() + of_parts.iter().map(|(_, found)| found.len()).sum::<usize>();
                self.asked.lists += reads.iter().filter(|read| read.children).count();
                Word::Found(found, of_parts)
            }
            Sent::Stat(read) => {
                self.asked.stats += 1;
                self.asked.lists += usize::from(read.children);
                Word::Found(vec![(read.path.clone(), answer(read, false))], Vec::new())
            }
            Sent::CreateRoot if throttled => Word::Created(ServerError::THROTTLED),
            Sent::CreateRoot if self.server.nodes.contains_key(ROOT) => {
                Word::Created(ServerError::NODE_EXISTS)
            }
            Sent::CreateRoot => {
                self.write(&[Write::Create(ROOT.to_owned())]);
                Word::Created(ServerError::OK)
            }
        };
        self.words.push_back((self.server.zxid, word));
        true
    }

    /// Another session has one chunk compared.
    pub(super) fn report(&mut self) -> bool {
        let Some(chunk) = self.cache.poll_chunk(CacheId(1)) else { return false };
        assert!(chunk.at_least.is_transaction() && chunk.at_least <= self.server.zxid);
        self.asked.compared += chunk.nodes.len();
        for (kind, path) in self.server.compare(&chunk) {
            self.cache.handle_reported(kind, &path);
        }
        self.cache.handle_compared(&chunk, self.now);
        self.pump();
        true
    }

    /// The cache takes in the next word of the stream.
    pub(super) fn deliver(&mut self) -> bool {
        let is_word = self.take_in();
        self.pump();
        is_word
    }

    /// The cache takes in what has come at once, before it asks for more.
    pub(super) fn deliver_all(&mut self) {
        while self.take_in() {}
        self.pump();
    }

    fn take_in(&mut self) -> bool {
        let Some((zxid, word)) = self.words.pop_front() else { return false };
        self.seen = self.seen.max(zxid);
        self.heard = self.now;
        if !matches!(word, Word::Notification(..)) {
            self.last_zxid = zxid;
        }
        match word {
            Word::Synced(error) => {
                self.cache.handle_synced(zxid, error, self.now);
                self.after_replies();
            }
            Word::WatchingAgain => {}
            Word::Watching => self.cache.handle_watching(Some(zxid), false, self.now),
            Word::Notification(kind, path) => self.cache.handle_notification(kind, &path, self.now),
            Word::Found(found, of_parts) => {
                for (path, answer) in &found {
                    self.cache.handle_found(path, answer.found(), zxid, self.now);
                }
                for (part, answers) in &of_parts {
                    let mut answers = answers.iter();
                    let next = || Ok(answers.next().expect("one for each").found());
                    self.cache.handle_part(part, next, zxid, self.now).expect("well formed");
                }
                self.cache.handle_reply(zxid, self.now);
                self.after_replies();
            }
            Word::Created(error) => self.cache.handle_created(error, true, self.now),
        }
        true
    }

    fn after_replies(&mut self) {
        match self.cache.take_breach() {
            Some(Breach::OtherHistory(evidence)) if self.cache.is_inherited() => {
                self.cache.begin_anew(&evidence);
                self.begins_anew = true;
            }
            Some(breach) => self.break_off(breach),
            None => {}
        }
        if self.watching && self.cache.lacks_watch() && self.cache.is_answered() {
            self.cache.handle_watching(None, false, self.now);
        }
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
        if self.cache.poll_timeout().is_some_and(|at| at <= self.now) {
            self.cache.handle_timeout(self.now);
            assert!(self.cache.poll_timeout().is_none_or(|at| at > self.now), "it would be called for ever");
        }
        self.pump();
    }

    /// Lets everything happen that is on its way, and what time brings within so long.
    pub(super) fn rest_for(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            if self.serve() || self.deliver() || self.reports && self.report() {
                continue;
            }
            match self.cache.poll_timeout().filter(|at| *at <= end) {
                Some(at) => self.advance(at.saturating_duration_since(self.now)),
                None => return self.now = end,
            }
        }
        panic!("it does not come to rest");
    }

    pub(super) fn rest(&mut self) {
        self.rest_for(Duration::from_secs(5));
    }

    /// Does what the owner of a cache does after each input, and checks what comes out.
    fn pump(&mut self) {
        if self.cache.take_root_creation() {
            self.sent.push_back(Sent::CreateRoot);
        }
        if self.cache.takes_renewal() {
            self.sent.push_back(Sent::WatchAgain);
        }
        if let Some(mode) = self.cache.take_sync(SyncMode::Barrier) {
            assert_eq!(mode, SyncMode::Barrier);
            self.sent.push_back(Sent::Barrier);
        }
        while let Some(flight) = self.cache.poll_flight(self.now) {
            assert!(self.watching || self.words.is_empty() || self.forgetful, "reads without a watch");
            if flight.len() > flight.stats.len() {
                let bytes = request_len(&flight.nodes, &flight.parts);
                assert!(bytes < 1_048_575, "{bytes} bytes are more than a server takes");
                self.sent.push_back(Sent::Nodes(flight.nodes, flight.parts));
            }
            self.sent.extend(flight.stats.into_iter().map(Sent::Stat));
        }
        while let Some(output) = self.cache.poll_output() {
            match output {
                Output::Publish(version, _) => self.published(version),
                Output::Event(kind) => self.event(kind),
                Output::State(state) => self.state = state,
                Output::Fault(fault) => {
                    self.faults += 1;
                    self.resets_of_its_own += usize::from(fault.status == Status::Reset);
                }
                Output::Failure(_) => {}
                Output::Synced(ticket, answer) => {
                    assert!(answer.is_err() || self.version().is_cut, "synced with what is no cut");
                    self.synced.push((ticket.0, answer));
                }
                Output::Progress(progress) => self.progress = progress,
            }
        }
        // Amid a transaction there is nothing to compare with.
        let is_amid =
            self.words.front().is_some_and(|(zxid, _)| self.last_zxid < self.seen && *zxid == self.seen);
        if self.strict && self.state == State::InStep && !is_amid {
            let version = self.version();
            assert!(version.is_cut && version.is_complete, "in step with what is no cut");
            let difference = difference(&version.tree, &self.kept(self.server.at(self.seen)));
            assert_eq!(
                difference, None,
                "in step with {:?}, though it has seen {:?}",
                version.zxid, self.seen
            );
        }
    }

    fn published(&mut self, version: Arc<Version>) {
        if let Some(last) = self.versions.last() {
            let is_anew = std::mem::take(&mut self.begins_anew);
            assert!(last.zxid <= version.zxid || version.zxid < self.seen || is_anew, "back in time");
            assert!(!last.is_complete || version.is_complete, "less complete than before");
        }
        // With what it begins the cache cannot know better.
        let is_its_own = !self.versions.is_empty() || self.state != State::Latent;
        if self.strict && version.is_cut && is_its_own {
            let difference = difference(&version.tree, &self.kept(self.server.at(version.zxid)));
            assert_eq!(difference, None, "a cut at {:?} is not exact", version.zxid);
        }
        self.versions.push(version);
    }

    fn event(&mut self, kind: EventKind) {
        use EventKind::{ConnectionLost, ConnectionReconnected, ConnectionSuspended, InStep, Initialized};
        let before = self.told.connection;
        match kind {
            ConnectionSuspended => assert_eq!(before, ConnectionReconnected),
            // When the client is closed there is no suspension.
            ConnectionLost => assert_ne!(before, ConnectionLost),
            ConnectionReconnected => assert!(matches!(before, ConnectionSuspended | ConnectionLost)),
            Initialized => {
                assert!(!std::mem::replace(&mut self.told.initialized, true), "twice");
                assert!(self.version().is_complete);
            }
            InStep => {
                assert!(!std::mem::replace(&mut self.told.in_step, true), "twice");
                assert!(self.told.initialized && self.version().is_cut);
            }
            _ => panic!("{kind:?} is for others to tell"),
        }
        match kind {
            ConnectionSuspended => self.told.in_step = false,
            ConnectionLost => self.told.initialized = false,
            Initialized | InStep => assert_eq!(before, ConnectionReconnected),
            _ => {}
        }
        if !matches!(kind, Initialized | InStep) {
            self.told.connection = kind;
        }
        self.events.push(kind);
    }

    /// Whether a Stat was asked for by itself, and not answered.
    pub(super) fn awaits_stat(&self) -> bool {
        self.sent.iter().any(|sent| matches!(sent, Sent::Stat(_)))
    }

    pub(super) fn version(&self) -> Arc<Version> {
        self.versions.last().cloned().unwrap_or_default()
    }

    /// What the cache is to keep of these.
    fn kept<'n>(&self, nodes: &'n Nodes) -> Cow<'n, Nodes> {
        let is_kept =
            |path: &str| self.selection.of(path[ROOT.len()..].trim_start_matches('/')) != Kept::Nothing;
        match nodes.keys().all(|path| is_kept(path)) {
            true => Cow::Borrowed(nodes),
            false => {
                let kept = nodes.iter().filter(|(path, _)| is_kept(path));
                Cow::Owned(kept.map(|(path, node)| (path.clone(), node.clone())).collect())
            }
        }
    }

    /// Whether nothing was published yet that has a node in it.
    pub(super) fn told_nothing(&self) -> bool {
        self.versions.last().is_none_or(|version| !version.tree.has_root())
    }

    pub(super) fn faults(&self) -> usize {
        self.faults
    }

    /// How often the ensemble was found to have another history.
    pub(super) fn resets(&self) -> usize {
        self.breaches.iter().filter(|breach| matches!(breach, Breach::OtherHistory(_))).count()
    }

    pub(super) fn assert_in_step(&self) {
        assert_eq!(difference(&self.version().tree, &self.kept(&self.server.nodes)), None);
        assert_eq!(self.state, State::InStep);
        assert!(self.told.initialized && self.told.in_step);
    }
}
