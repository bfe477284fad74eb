//! What a seed means: an ensemble, a client, and a timetable of writes and faults.
//!
//! The timetable is made before the run and does not depend on it, so that parts of it can be left out to find out
//! which matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use treecache_checks::{Access, Change};

/// The subtree that the writes are about; with a chroot, `/app` stands in front of it.
pub const ROOT: &str = "/r";
pub const CHROOT: &str = "/app";

/// What kind of ZooKeeper a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Modern,
    /// With `WatchManagerOptimized`.
    Optimized,
    /// Before 3.6.
    Old,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Create {
        path: Arc<str>,
        len: usize,
        access: Access,
        ephemeral: bool,
    },
    Set {
        path: Arc<str>,
        len: usize,
    },
    Delete {
        path: Arc<str>,
    },
    /// With all that is below.
    DeleteTree {
        path: Arc<str>,
    },
    SetAcl {
        path: Arc<str>,
        access: Access,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many more bytes for the client.
    CutAfter(u64),
    /// Nothing passes, in either direction, for so long (in µs).
    Silence(u64),
    /// A server stands still and keeps its connections.
    Stall(usize, u64),
    /// A server is down, and comes back.
    Crash(usize, u64),
    /// A server applies nothing.
    Lag(usize, u64),
    /// Connections to a server are refused; or (`true`) attempts are not answered.
    Refuse(usize, u64, bool),
    /// Servers close every connection.
    NoQuorum(u64),
    /// The ensemble ends the client's session.
    Expire,
    /// A server answers so many requests with this error.
    Fail(usize, usize, i32),
    Elect,
    /// All data is lost.
    Wipe,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// One transaction.
    Write(Vec<Write>),
    /// The writers' session ends, with its ephemeral nodes.
    EndWriters,
    Fault(Fault),
    /// A cache, by its place in `caches`.
    Open(usize),
    Close(usize),
    /// Somebody calls `sync` on a cache, by its place in `caches`, if it is open.
    Sync(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In µs from the start.
    pub at: u64,
    pub what: Happening,
}

#[derive(Debug, Clone)]
pub struct CachePlan {
    /// Relative to the chroot.
    pub root: &'static str,
    pub create_root: bool,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub servers: Vec<Make>,
    /// Nobody is told about nodes that he may not read (as since CVE-2024-23944).
    pub hides: bool,
    /// Notifications carry the zxid (as since 3.9).
    pub dated_notifications: bool,
    /// `exists` needs READ (as since 3.9.3).
    pub guarded_exists: bool,
    /// ACLs are changed, and nodes made that not everyone may read.
    pub restricted: bool,
    /// The client authenticates.
    pub authenticates: bool,
    pub chroot: bool,
    pub caches: Vec<CachePlan>,
    pub session_timeout_ms: u64,
    /// What the servers grant at most.
    pub granted_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    /// Of one way, in µs.
    pub latency: (u64, u64),
    /// Behind the leader, in µs.
    pub lag: (u64, u64),
    /// In how many of 100 cases bytes arrive in pieces.
    pub chopped: u8,
    /// Writers never rest, and no fault disturbs them: cuts must come in time.
    pub saturated: bool,
    /// The client is closed at the end.
    pub shuts_down: bool,
    pub audit_ms: u64,
    pub steps: Vec<Step>,
}

/// How writers go about it.
#[derive(Clone, Copy)]
enum Style {
    Mixed,
    /// A few paths, all the time.
    Hot,
    /// Many paths, one after the other.
    Wide,
    /// Nodes come and go.
    Churn,
}

struct Planner {
    rng: Rng,
    prefix: &'static str,
    width: u8,
    restricted: bool,
    large: bool,
    steps: Vec<Step>,
    now: u64,
}

/// Numbers of `from..to` that are spread over their magnitudes.
fn magnitude(rng: &mut Rng, from: u64, to: u64) -> u64 {
    let (low, high) = ((from as f64).ln(), (to as f64).ln());
    (low + (high - low) * rng.f64()).exp() as u64
}

impl Plan {
    pub fn of_seed(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed ^ 0x74_72_65_65);
        let restricted = rng.u8(..5) == 0;
        let wide = !restricted && rng.u8(..100) == 0;
        let saturated = !restricted && !wide && rng.u8(..80) == 0;
        let servers = match rng.u8(..100) {
            0 => vec![Make::Optimized],
            1 => vec![Make::Old, Make::Old],
            2 => vec![Make::Old, Make::Modern, Make::Modern],
            3 => vec![Make::Optimized, Make::Modern],
            _ => vec![Make::Modern; rng.usize(1..=3)],
        };
        let chroot = rng.u8(..6) == 0;
        let caches = caches(&mut rng, restricted || wide || saturated);
        let slow = magnitude(&mut rng, 20, 20_000);
        let lag = if rng.bool() { (0, 1) } else { (0, magnitude(&mut rng, 10, 50_000)) };
        let session_timeout_ms = magnitude(&mut rng, 100, 6000);
        let mut plan = Plan {
            seed,
            servers,
            hides: rng.u8(..3) > 0,
            dated_notifications: rng.bool(),
            guarded_exists: rng.u8(..3) == 0,
            restricted,
            authenticates: restricted && rng.bool(),
            chroot,
            caches,
            session_timeout_ms,
            granted_timeout_ms: if rng.u8(..4) == 0 { session_timeout_ms / 2 } else { session_timeout_ms },
            connect_timeout_ms: magnitude(&mut rng, 50, 3000).max(slow / 200),
            latency: (slow / 4 + 1, slow + 2),
            lag,
            chopped: [0, 10, 60][rng.usize(..3)],
            saturated,
            shuts_down: rng.u8(..10) == 0,
            audit_ms: if restricted { 2000 } else { 0 },
            steps: Vec::new(),
        };
        let faults = if saturated { 0 } else { rng.usize(..=6) };
        let mut planner = Planner {
            prefix: if chroot { CHROOT } else { "" },
            width: rng.u8(1..=4),
            restricted,
            large: !saturated && rng.u8(..4) == 0,
            steps: Vec::new(),
            now: 0,
            rng,
        };
        planner.found(wide);
        let end = match saturated {
            true => planner.saturate(plan.latency.0 + plan.latency.1),
            false => planner.follow(wide, plan.caches.len()),
        };
        planner.disturb(faults, end, &plan);
        planner.sync(end, &plan);
        plan.steps = planner.steps;
        plan.steps.sort_by_key(|step| step.at);
        plan
    }

    pub fn prefix(&self) -> &'static str {
        if self.chroot { CHROOT } else { "" }
    }

    /// Whether some server can serve a cache at all.
    pub fn is_servable(&self) -> bool {
        self.servers.contains(&Make::Modern)
    }

    /// The most batches of reads between two cuts: those of the 200 ms after which thousands of hot paths are read
    /// together, or where there are so few paths that they always are, of 5 ms; and a few more. `None`: any number. What
    /// lives for less than a round trip can be read by chance only, so that no bound holds for all writers.
    pub fn most_batches(&self) -> Option<u64> {
        if !self.saturated {
            return None;
        }
        let paths: BTreeSet<&Arc<str>> = self
            .steps
            .iter()
            .filter_map(|step| match &step.what {
                Happening::Write(writes) => Some(writes),
                _ => None,
            })
            .flatten()
            .map(Write::path)
            .collect();
        let hot_after = if paths.len() < 200 { 5_000 } else { 205_000 };
        Some(24 + hot_after / (self.latency.0 + self.latency.1))
    }
}

fn caches(rng: &mut Rng, one: bool) -> Vec<CachePlan> {
    const ROOTS: [&str; 8] = [ROOT, ROOT, ROOT, ROOT, "/r/a", "/", "/r/a/b", "/new/x/y"];
    let count = if one { 1 } else { [1, 1, 1, 2, 3][rng.usize(..5)] };
    (0..count)
        .map(|place| {
            let root = if one || place == 0 && rng.bool() { ROOT } else { ROOTS[rng.usize(..ROOTS.len())] };
            CachePlan { root, create_root: !one && rng.u8(..3) == 0 }
        })
        .collect()
}

impl Planner {
    fn step(&mut self, what: Happening) {
        self.steps.push(Step { at: self.now, what });
    }

    /// A path at or below the root, at most three levels deep.
    fn path(&mut self) -> Arc<str> {
        let mut path = format!("{}{ROOT}", self.prefix);
        let depth = [0, 1, 1, 1, 2, 2, 3][self.rng.usize(..7)];
        for _ in 0..depth {
            path.push('/');
            path.push((b'a' + self.rng.u8(..self.width)).into());
        }
        path.into()
    }

    fn len(&mut self) -> usize {
        match self.rng.u8(..50) {
            0 if self.large => 300_000,
            1..=4 if self.large => 5000,
            _ => self.rng.usize(..20),
        }
    }

    fn access(&mut self) -> Access {
        match self.rng.u8(..6) {
            0 | 1 if self.restricted => Access::Nobody,
            2 | 3 if self.restricted => Access::Authenticated,
            _ => Access::Everyone,
        }
    }

    fn create(&mut self, path: Arc<str>) -> Write {
        let (len, ephemeral) = (self.len(), self.rng.u8(..6) == 0);
        Write::Create { path, len, access: self.access(), ephemeral }
    }

    fn mixed(&mut self) -> Write {
        let path = self.path();
        match self.rng.u8(..14) {
            0..=4 => self.create(path),
            5..=8 => Write::Set { path, len: self.len() },
            9..=11 => Write::Delete { path },
            12 => Write::DeleteTree { path },
            _ if self.restricted => Write::SetAcl { path, access: self.access() },
            _ => self.create(path),
        }
    }

    /// A node is deleted with all below it, and made again, in one transaction; maybe it was hidden before.
    fn replace(&mut self) -> Vec<Write> {
        let path = self.path();
        let child: Arc<str> = format!("{path}/a").into();
        let mut new = self.create(path.clone());
        if let (true, Write::Create { len, .. }) = (self.large && self.rng.bool(), &mut new) {
            *len = 5000;
        }
        let mut writes = vec![Write::DeleteTree { path: path.clone() }, new];
        if self.rng.bool() {
            writes.push(self.create(child));
        }
        if self.restricted && self.rng.bool() {
            writes.insert(0, Write::SetAcl { path, access: Access::Nobody });
        }
        writes
    }

    /// The tree at the start.
    fn found(&mut self, wide: bool) {
        let plain = |path: &str| Write::Create {
            path: path.into(),
            len: 3,
            access: Access::Everyone,
            ephemeral: false,
        };
        if !self.prefix.is_empty() {
            self.step(Happening::Write(vec![plain(self.prefix)]));
        } else if self.rng.bool() {
            self.step(Happening::Write(vec![plain("/zookeeper"), plain("/zookeeper/quota")]));
        }
        let root = format!("{}{ROOT}", self.prefix);
        if self.rng.u8(..8) > 0 {
            self.step(Happening::Write(vec![plain(&root)]));
        }
        let count = if wide { self.rng.usize(200..2500) } else { 0 };
        for n in 0..count {
            let write = plain(&format!("{root}/{n}"));
            match self.steps.last_mut() {
                Some(Step { what: Happening::Write(writes), .. }) if n % 100 > 0 => writes.push(write),
                _ => self.step(Happening::Write(vec![write])),
            }
        }
        for _ in 0..self.rng.usize(..30) {
            let write = self.mixed();
            self.step(Happening::Write(vec![write]));
        }
        self.step(Happening::Open(0));
        // Some loads are rid of writes, some are not.
        self.now += if self.rng.bool() { 0 } else { magnitude(&mut self.rng, 100, 300_000) };
    }

    /// Phases of writes. Returns when they end.
    fn follow(&mut self, wide: bool, caches: usize) -> u64 {
        for _ in 0..self.rng.usize(1..=3) {
            let style = match self.rng.u8(..10) {
                _ if wide => Style::Wide,
                0 => Style::Hot,
                1 => Style::Wide,
                2 => Style::Churn,
                _ => Style::Mixed,
            };
            let gap = magnitude(&mut self.rng, 10, 100_000);
            let most = if gap < 2000 { 150 } else { 40 };
            let count = self.rng.usize(1..most) * if wide { 4 } else { 1 };
            for n in 0..count {
                self.now += self.rng.u64(..=gap * 2);
                self.write(style, n);
            }
            for cache in 1..caches {
                match self.rng.u8(..4) {
                    0 => self.step(Happening::Close(cache)),
                    _ => self.step(Happening::Open(cache)),
                }
            }
            // A rest, in which what is open may settle.
            self.now += magnitude(&mut self.rng, 100, 500_000);
        }
        self.now
    }

    /// Writers that never rest, for as long as some hundred round trips take.
    fn saturate(&mut self, round_trip: u64) -> u64 {
        let nodes = magnitude(&mut self.rng, 2, 2000) as usize;
        let root = format!("{}{ROOT}", self.prefix);
        let plain = |path: String| Write::Create {
            path: path.into(),
            len: 3,
            access: Access::Everyone,
            ephemeral: false,
        };
        self.step(Happening::Write(vec![plain(root.clone())]));
        self.step(Happening::Write((0..nodes).map(|n| plain(format!("{root}/{n}"))).collect()));
        let churns = self.rng.bool();
        let a_round_trip = magnitude(&mut self.rng, 3, 40);
        self.now += 20 * round_trip;
        for n in 0..100 * a_round_trip as usize {
            self.now += self.rng.u64(..=2 * round_trip / a_round_trip);
            let path = |n: usize| -> Arc<str> { format!("{root}/{n}").into() };
            let set = Write::Set { path: path(self.rng.usize(..nodes)), len: 3 };
            let writes = match churns {
                true if n.is_multiple_of(3) => vec![plain(format!("{root}/{}", nodes + n)), set],
                // Not what was made a moment ago.
                true => vec![Write::Delete { path: path(self.rng.usize(..nodes + n / 2)) }, set],
                false => vec![set, Write::Set { path: path(self.rng.usize(..nodes)), len: 4 }],
            };
            self.step(Happening::Write(writes));
        }
        self.now
    }

    fn write(&mut self, style: Style, n: usize) {
        let root = format!("{}{ROOT}", self.prefix);
        let numbered = |n: usize| -> Arc<str> { format!("{root}/{n}").into() };
        let multi = [1, 1, 1, 2, 3, 5][self.rng.usize(..6)];
        let writes = match style {
            Style::Mixed if self.rng.u8(..60) == 0 => return self.step(Happening::EndWriters),
            Style::Mixed if self.rng.u8(..15) == 0 => self.replace(),
            Style::Mixed => (0..multi).map(|_| self.mixed()).collect(),
            Style::Hot => (0..multi)
                .map(|_| {
                    let path =
                        [&root[..], &format!("{root}/a"), &format!("{root}/b")][self.rng.usize(..3)].into();
                    Write::Set { path, len: self.rng.usize(..9) }
                })
                .collect(),
            Style::Wide => (0..multi)
                .map(|_| Write::Set { path: numbered(self.rng.usize(..2000)), len: self.rng.usize(..9) })
                .collect(),
            Style::Churn => {
                let create =
                    |path| Write::Create { path, len: 3, access: Access::Everyone, ephemeral: false };
                match n.checked_sub(5) {
                    Some(old) if self.rng.bool() => {
                        vec![create(numbered(n)), Write::Delete { path: numbered(old) }]
                    }
                    _ => vec![create(numbered(n))],
                }
            }
        };
        self.step(Happening::Write(writes));
    }

    fn disturb(&mut self, faults: usize, end: u64, plan: &Plan) {
        for _ in 0..faults {
            self.now = self.rng.u64(..=end);
            let server = self.rng.usize(..plan.servers.len());
            let time = magnitude(&mut self.rng, 1000, 3_000 * plan.session_timeout_ms);
            let fault = match self.rng.u8(..24) {
                0..=5 => Fault::CutAfter(magnitude(&mut self.rng, 1, 3000) - 1),
                6..=7 => Fault::Silence(time),
                8..=9 => Fault::Stall(server, time),
                10..=12 => Fault::Crash(server, time),
                13..=14 => Fault::Lag(server, time),
                15 => Fault::Refuse(server, time, self.rng.bool()),
                16 => Fault::NoQuorum(time),
                17..=18 => Fault::Expire,
                19..=21 => {
                    // Throttled, for the most part; else a system error, a connection loss, a moved session.
                    let error = [-127, -127, -127, -1, -4, -118][self.rng.usize(..6)];
                    Fault::Fail(server, self.rng.usize(1..5), error)
                }
                22 => Fault::Elect,
                _ if self.rng.u8(..4) == 0 => Fault::Wipe,
                _ => Fault::CutAfter(0),
            };
            self.step(Happening::Fault(fault));
        }
    }

    /// Calls of `sync`, at any time or just behind something else, some of them close together.
    fn sync(&mut self, end: u64, plan: &Plan) {
        for _ in 0..[0, 0, 1, 3, 10][self.rng.usize(..5)] {
            self.now = match self.rng.bool() {
                true => self.rng.u64(..=end),
                false => self.steps[self.rng.usize(..self.steps.len())].at,
            };
            let cache = self.rng.usize(..plan.caches.len());
            for _ in 0..self.rng.usize(1..=3) {
                self.step(Happening::Sync(cache));
                self.now += self.rng.u64(..=2 * plan.latency.1);
            }
        }
    }
}

impl Write {
    fn path(&self) -> &Arc<str> {
        match self {
            Write::Create { path, .. }
            | Write::Set { path, .. }
            | Write::Delete { path }
            | Write::DeleteTree { path }
            | Write::SetAcl { path, .. } => path,
        }
    }

    /// The changes that this is, as things stand. `data` is to be different each time.
    pub fn changes(&self, truth: &treecache_checks::Truth, writer: i64, data: u64) -> Vec<Change> {
        let bytes = |len: usize| -> Arc<[u8]> {
            let mut bytes = vec![b'x'; len];
            let data = data.to_be_bytes();
            let copied = len.min(8);
            bytes[..copied].copy_from_slice(&data[8 - copied..]);
            bytes.into()
        };
        match self {
            Write::Create { path, len, access, ephemeral } => vec![Change::Create {
                path: path.clone(),
                data: bytes(*len),
                access: *access,
                owner: if *ephemeral { writer } else { 0 },
            }],
            Write::Set { path, len } => vec![Change::SetData { path: path.clone(), data: bytes(*len) }],
            Write::Delete { path } => vec![Change::Delete { path: path.clone() }],
            Write::SetAcl { path, access } => vec![Change::SetAcl { path: path.clone(), access: *access }],
            Write::DeleteTree { path } => {
                let mut paths: Vec<_> = truth.subtree(path).map(|(path, _)| path.clone()).collect();
                // What is below comes behind in the order of bytes.
                paths.reverse();
                paths.into_iter().map(|path| Change::Delete { path }).collect()
            }
        }
    }
}
