//! Eight caches, and all that can be seen of them from outside: what their listeners are told, and what somebody
//! finds who asks all the time.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use treecache::{Client, Config, Event, EventKind, Node, Snapshot, State, Status, TreeCache, Zxid};
use treecache_checks::Told;
use treecache_test_support::{Ensemble, Proxy};

/// How often the caches are asked.
const POLL: Duration = Duration::from_millis(2);
/// What one cache of a client has shown must be known to the others at a later contact; ages are in whole
/// milliseconds.
const LATER: Duration = Duration::from_millis(20);

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
}

/// What a listener was told.
pub enum Note {
    Node {
        told: Told,
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
    /// How many times zxids went back before it.
    pub era: usize,
    pub snapshot: Snapshot,
    pub claim: Option<Claim>,
}

/// The cache said that it was in step, and this was its version.
pub struct Claim {
    pub times: u64,
    /// The newest contact of which it was said.
    pub contact: Millis,
    /// The newest cut that another cache of the client had shown some time before that contact.
    pub sibling: Zxid,
}

impl Glimpse {
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        is_same(&self.snapshot, snapshot)
    }
}

/// As far as it can be told from outside.
fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    (one.zxid(), one.is_cut(), one.len()) == (other.zxid(), other.is_cut(), other.len())
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
                EventKind::NodeAdded => Told::Added,
                EventKind::NodeUpdated => Told::Updated,
                EventKind::NodeRemoved => Told::Removed,
                kind => return lock(&to).push(Note::Connection(kind)),
            };
            let (path, node) = event.path.zip(event.node).expect("a node event has a node");
            let node = Note::Node { told, path: path.into(), node: node.clone(), old: event.old.cloned() };
            lock(&to).push(node);
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
        Watched { client: number, root, cache, tape, glimpses: Mutex::default() }
    }

    /// What was told since this was called last.
    pub fn take_notes(&self) -> Vec<Note> {
        mem::take(&mut *lock(&self.tape))
    }

    /// What was seen since this was called last.
    pub fn take_glimpses(&self) -> Vec<Glimpse> {
        mem::take(&mut *lock(&self.glimpses))
    }
}

/// What the one who asks remembers of a cache.
#[derive(Default, Clone)]
struct Memory {
    zxid: Zxid,
    era: usize,
}

/// A cut that a cache of a client has shown.
struct Shown {
    at: Instant,
    era: usize,
    zxid: Zxid,
}

/// Asks all caches again and again until `stop`.
pub fn poll(caches: &[Watched], stop: &AtomicBool) {
    let mut memories = vec![Memory::default(); caches.len()];
    let mut shown: Vec<Vec<Shown>> = PLANS.iter().map(|_| Vec::new()).collect();
    while !stop.load(Ordering::Relaxed) {
        for (watched, memory) in caches.iter().zip(&mut memories) {
            glimpse(watched, memory, &mut shown[watched.client]);
        }
        thread::sleep(POLL);
    }
}

fn glimpse(watched: &Watched, memory: &mut Memory, shown: &mut Vec<Shown>) {
    let cache = &watched.cache;
    let snapshot = || cache.snapshot().expect("the cache is open");
    // In this order: what was told of the contact had been told when the state was asked for. And what is said to
    // be in step is the version there was at that moment, so only one that was there before and after.
    let asked = Instant::now();
    let contact = cache.state().1.and_then(|age| asked.checked_sub(age));
    let before = snapshot();
    let state = cache.state().0;
    let after = snapshot();

    if after.zxid() < memory.zxid {
        memory.era += 1;
    }
    memory.zxid = after.zxid();
    let is_claim = state == State::InStep && is_same(&before, &after);
    let contact = contact.filter(|_| is_claim);
    let sibling = contact.and_then(|contact| {
        let known = |cut: &&Shown| cut.era == memory.era && cut.at + LATER < contact;
        shown.iter().filter(known).map(|cut| cut.zxid).max()
    });
    if after.is_cut() {
        let newest = shown.iter().filter(|cut| cut.era == memory.era).map(|cut| cut.zxid).max();
        if newest < Some(after.zxid()) {
            shown.push(Shown { at: Instant::now(), era: memory.era, zxid: after.zxid() });
            // Contacts are seldom older than these.
            if shown.len() > 64 {
                shown.remove(0);
            }
        }
    }

    let mut glimpses = lock(&watched.glimpses);
    let is_known = glimpses.last().is_some_and(|last| last.era == memory.era && last.is_of(&after));
    if !is_known {
        let first_seen = wall(asked);
        glimpses.push(Glimpse { first_seen, era: memory.era, snapshot: after, claim: None });
    }
    let (Some(contact), Some(glimpse)) = (contact, glimpses.last_mut()) else { return };
    let claim = glimpse.claim.get_or_insert(Claim { times: 0, contact: Millis::MIN, sibling: Zxid(0) });
    claim.times += 1;
    claim.contact = claim.contact.max(wall(contact));
    claim.sibling = claim.sibling.max(sibling.unwrap_or_default());
}
