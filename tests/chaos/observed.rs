//! Eight caches, and all that can be seen of them from outside: what their listeners are told, and what somebody
//! finds who asks all the time.

use std::mem;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use treecache::{
    Client, Config, Event, EventKind, Node, NodeRef, Snapshot, State, Status, TreeCache, Walk, Zxid,
};
use treecache_checks::{NodeEvent, Published};
use treecache_test_support::{Ensemble, Proxy};

use crate::writers::Acknowledged;

/// How often the caches are asked.
const POLL: Duration = Duration::from_millis(2);
/// What one cache of a client has shown must be known to the others at a later contact; ages are in whole
/// milliseconds.
const LATER: Duration = Duration::from_millis(20);

/// How long a call of `sync` may wait.
const SYNC_BOUND: Duration = Duration::from_secs(3);

/// Milliseconds since the Unix epoch, as servers write them to their logs.
pub type Millis = i64;

pub fn wall(at: Instant) -> Millis {
    let ago = at.elapsed().as_millis() as Millis;
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as Millis - ago
}

/// A client, and the proxies through which it reaches each server that it knows.
pub struct Consumer {
    pub name: &'static str,
    pub proxies: Vec<Proxy>,
    _client: Client,
}

pub struct Watched {
    /// Which of the clients it is of.
    pub client: usize,
    pub root: &'static str,
    pub cache: Arc<TreeCache>,
    tape: Arc<Mutex<Vec<Note>>>,
    glimpses: Mutex<Vec<Glimpse>>,
    synced: Mutex<Vec<Synced>>,
}

/// What a listener was told.
pub enum Note {
    Node {
        told: NodeEvent,
        path: String,
        node: Arc<Node>,
        old: Option<Arc<Node>>,
    },
    /// The version at `zxid` has been told, and this is what could be read then: it, or a newer one.
    EndOfVersion {
        zxid: Zxid,
        snapshot: Snapshot,
    },
    Connection(EventKind),
    /// A fault: the ensemble went back in time.
    Reset,
}

/// What somebody who asks finds, for as long as it is the same version.
pub struct Glimpse {
    pub first_seen: Millis,
    /// In which history the ensemble was. The version may still be of one before.
    pub era: usize,
    pub snapshot: Snapshot,
    pub claim: Option<Claim>,
}

/// What could be read when a `sync` had been answered with success.
pub struct Synced {
    /// In which history the ensemble was, all the time.
    pub era: usize,
    /// What writers had been told of before the call.
    pub acknowledged: Zxid,
    pub snapshot: Snapshot,
}

/// The cache said that it was in step, and this was its version.
pub struct Claim {
    pub times: u64,
    /// The newest contact of which it was said.
    pub contact: Millis,
    /// The newest cut that another cache of the client had shown some time before that contact.
    pub sibling: Zxid,
}

/// A snapshot, for the checks.
pub struct Taken<'a>(pub &'a Snapshot);

impl Published for Taken<'_> {
    fn zxid(&self) -> Zxid {
        self.0.zxid()
    }

    fn is_cut(&self) -> bool {
        self.0.is_cut()
    }

    fn visit(&self, root: &str, visit: &mut dyn FnMut(&str, Option<NodeRef<'_>>)) {
        // Fails only where there is no root, and nothing to visit.
        let _ = self.0.walk(root, |path, node| {
            visit(path, Some(node));
            Walk::Continue
        });
    }
}

/// As far as it can be told from outside. (Two histories may have come to the same zxid.)
fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    let mut differs = (one.zxid(), one.is_cut(), one.len()) != (other.zxid(), other.is_cut(), other.len());
    let compared = one.changes_since(other, |_| {
        differs = true;
        ControlFlow::Break(())
    });
    compared.expect("both are of one cache");
    !differs
}

/// How a client is made: which servers it knows, how far away they are, how long its session lives, and the roots
/// of its caches.
struct Plan {
    name: &'static str,
    servers: &'static [usize],
    delay: Duration,
    session_timeout: &'static str,
    roots: &'static [&'static str],
}

/// Eight caches: with the same root, with nested ones, of one server and of all, near and far.
const PLANS: [Plan; 6] = [
    Plan {
        name: "all servers",
        servers: &[0, 1, 2],
        delay: Duration::ZERO,
        session_timeout: "10000",
        roots: &["/chaos", "/chaos/bank", "/chaos"],
    },
    Plan {
        name: "short session",
        servers: &[0, 1, 2],
        delay: Duration::ZERO,
        session_timeout: "1500",
        roots: &["/chaos"],
    },
    Plan {
        name: "first server, 5 ms",
        servers: &[0],
        delay: Duration::from_millis(5),
        session_timeout: "6000",
        roots: &["/chaos/tree"],
    },
    Plan {
        name: "second server, 40 ms",
        servers: &[1],
        delay: Duration::from_millis(40),
        session_timeout: "6000",
        roots: &["/chaos"],
    },
    Plan {
        name: "third server",
        servers: &[2],
        delay: Duration::ZERO,
        session_timeout: "10000",
        roots: &["/"],
    },
    Plan {
        name: "all servers, 2 ms",
        servers: &[0, 1, 2],
        delay: Duration::from_millis(2),
        session_timeout: "4000",
        roots: &["/chaos/live"],
    },
];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the caches; they load when they can.
pub fn watch(ensemble: &Ensemble) -> (Vec<Consumer>, Vec<Watched>) {
    let (mut consumers, mut caches) = (Vec::new(), Vec::new());
    for (number, plan) in PLANS.iter().enumerate() {
        let proxies: Vec<Proxy> =
            plan.servers.iter().map(|server| Proxy::start(ensemble.servers()[*server].addr())).collect();
        proxies.iter().for_each(|proxy| proxy.set_delay(plan.delay));
        let hosts = proxies.iter().map(Proxy::hosts).collect::<Vec<_>>().join(",");
        let mut config = Config::new();
        config.set("session.timeout.ms", plan.session_timeout).expect("a timeout");
        let client = Client::new(&hosts, &config).expect("a client");
        caches.extend(plan.roots.iter().map(|root| Watched::start(number, &client, root)));
        consumers.push(Consumer { name: plan.name, proxies, _client: client });
    }
    (consumers, caches)
}

impl Watched {
    fn start(number: usize, client: &Client, root: &'static str) -> Watched {
        let cache = Arc::new(client.cache(root, &Config::new()).expect("a cache"));
        let tape = Arc::new(Mutex::new(Vec::new()));
        let (to, of) = (tape.clone(), Arc::downgrade(&cache));
        let listener = move |event: &Event<'_>| {
            let told = match event.kind {
                EventKind::NodeAdded => NodeEvent::Added,
                EventKind::NodeUpdated => NodeEvent::Updated,
                EventKind::NodeRemoved => NodeEvent::Removed,
                kind => return lock(&to).push(Note::Connection(kind)),
            };
            let (path, node) = event.path.zip(event.node).expect("a node event has a node");
            let own = |node: NodeRef<'_>| Arc::new(node.to_node());
            let (node, old) = (own(node), event.old.map(own));
            lock(&to).push(Note::Node { told, path: path.into(), node, old });
            if let (true, Some(cache)) = (event.last_of_version, of.upgrade()) {
                let snapshot = cache.snapshot().expect("the cache is open");
                lock(&to).push(Note::EndOfVersion { zxid: event.zxid, snapshot });
            }
        };
        cache.listen(listener).expect("a listener");
        let to = tape.clone();
        let fault_listener = move |fault: &treecache::Fault| {
            if fault.status == Status::Reset {
                lock(&to).push(Note::Reset);
            }
        };
        cache.listen_fault(fault_listener).expect("a fault listener");
        cache.start().expect("started");
        Watched { client: number, root, cache, tape, glimpses: Mutex::default(), synced: Mutex::default() }
    }

    /// What was told since this was called last.
    pub fn take_notes(&self) -> Vec<Note> {
        mem::take(&mut *lock(&self.tape))
    }

    /// What was seen since this was called last.
    pub fn take_glimpses(&self) -> Vec<Glimpse> {
        mem::take(&mut *lock(&self.glimpses))
    }

    /// The calls of `sync` that were answered since this was called last.
    pub fn take_synced(&self) -> Vec<Synced> {
        mem::take(&mut *lock(&self.synced))
    }
}

/// Calls `sync` of one cache after the other until `stop`.
pub fn keep_syncing(caches: &[Watched], acknowledged: &Acknowledged, stop: &AtomicBool, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    while !stop.load(Ordering::Relaxed) {
        let watched = &caches[random.usize(..caches.len())];
        let (era, newest) = acknowledged.newest();
        if watched.cache.sync(Some(SYNC_BOUND)).is_ok() {
            let snapshot = watched.cache.snapshot().expect("the cache is open");
            if acknowledged.era() == era {
                lock(&watched.synced).push(Synced { era, acknowledged: newest, snapshot });
            }
        }
        thread::sleep(Duration::from_millis(random.u64(..60)));
    }
}

/// A cut that a cache of a client has shown.
struct Shown {
    at: Instant,
    era: usize,
    zxid: Zxid,
}

/// Asks all caches again and again until `stop`.
pub fn poll(caches: &[Watched], acknowledged: &Acknowledged, stop: &AtomicBool) {
    let mut lasts: Vec<Option<(u64, Snapshot)>> = caches.iter().map(|_| None).collect();
    let mut shown: Vec<Vec<Shown>> = PLANS.iter().map(|_| Vec::new()).collect();
    while !stop.load(Ordering::Relaxed) {
        for (watched, last) in caches.iter().zip(&mut lasts) {
            glimpse(watched, acknowledged.era(), last, &mut shown[watched.client]);
        }
        thread::sleep(POLL);
    }
}

/// `last`: what was found the last time, and how many versions there had been.
fn glimpse(watched: &Watched, era: usize, last: &mut Option<(u64, Snapshot)>, shown: &mut Vec<Shown>) {
    let cache = &watched.cache;
    let snapshot = || cache.snapshot().expect("the cache is open");
    // In this order: what was told of the contact had been told when the state was asked for. And what is said to
    // be in step is the version there was at that moment, so only one that was there before and after.
    let asked = Instant::now();
    let contact = cache.state().1.and_then(|age| asked.checked_sub(age));
    let versions = cache.stats().versions;
    let before = snapshot();
    let state = cache.state().0;
    let after = snapshot();

    let is_claim = state == State::InStep && is_same(&before, &after);
    let contact = contact.filter(|_| is_claim);
    let known = |cut: &&Shown| cut.era == era;
    let sibling = contact.and_then(|contact| {
        let earlier = |cut: &&Shown| cut.at + LATER < contact;
        shown.iter().filter(known).filter(earlier).map(|cut| cut.zxid).max()
    });

    let is_new = !last.as_ref().is_some_and(|(count, last)| *count == versions && is_same(last, &after));
    *last = Some((versions, after.clone()));
    let newest = shown.iter().filter(known).map(|cut| cut.zxid).max();
    if after.is_cut() && is_new && newest < Some(after.zxid()) {
        shown.push(Shown { at: Instant::now(), era, zxid: after.zxid() });
        // Contacts are seldom older than these.
        if shown.len() > 64 {
            shown.remove(0);
        }
    }
    let mut glimpses = lock(&watched.glimpses);
    if is_new || glimpses.last().is_none_or(|last| last.era != era) {
        let first_seen = wall(asked);
        glimpses.push(Glimpse { first_seen, era, snapshot: after, claim: None });
    }
    let (Some(contact), Some(glimpse)) = (contact, glimpses.last_mut()) else { return };
    let claim = glimpse.claim.get_or_insert(Claim { times: 0, contact: Millis::MIN, sibling: Zxid(0) });
    claim.times += 1;
    claim.contact = claim.contact.max(wall(contact));
    claim.sibling = claim.sibling.max(sibling.unwrap_or_default());
}
