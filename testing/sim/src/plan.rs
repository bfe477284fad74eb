//! What a seed means: an ensemble, a client, and a timetable of writes and faults.
//!
//! The timetable is made before the run and does not depend on it, so that parts of it can be left out to find out
//! which matter.
//!
//! | module | holds |
//! |---|---|
//! | `timetable` | the writers, and what goes wrong meanwhile |
//! | `without` | leaving out one kind of trouble, so that what is not about it can be checked |

mod timetable;
pub mod without;

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use treecache_checks::{Access, Change, Counts, Narrowing};
use treecache_core::selection::{Effect, Selection};
use treecache_core::sync::{Data, Modes, Pace, SyncMode, VerifyMode, WatchMode};

pub use self::timetable::OUT_OF_SIGHT;
use self::timetable::{Planner, caches, magnitude};
use crate::gzip;

/// The subtree that the writes are about; with a chroot, `/app` stands in front of it.
pub const ROOT: &str = "/r";
pub const CHROOT: &str = "/app";

/// What kind of server a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Modern,
    /// With `WatchManagerOptimized`.
    Optimized,
    /// Before 3.6.
    Old,
    /// A ClickHouse Keeper that has recursive watches. All servers of an ensemble are, or none.
    Keeper,
}

impl Make {
    /// What a server is after an upgrade, or a downgrade.
    pub fn next(self) -> Make {
        match self {
            Make::Modern => Make::Optimized,
            Make::Optimized => Make::Old,
            Make::Old => Make::Modern,
            Make::Keeper => Make::Keeper,
        }
    }
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
    /// This server becomes the leader, or the next one that is up.
    Elect(usize),
    /// All data is lost, and made again.
    Wipe(Refill),
    /// All servers are put back to a backup.
    Restore(Restore),
    /// A server reads a snapshot of this moment by the admin command `restore`: watches are gone, connections live.
    LoseWatches(usize),
    /// The client's process stands still: it is stopped, or its machine sleeps.
    Sleep(u64),
    /// The same, as soon as the next ping was answered, which then waits for it. Behind that nothing passes.
    SleepBehindPing(u64),
}

/// How an ensemble is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// By so many transactions.
    pub back: usize,
    /// By the admin command `restore`, under live connections; else with a restart.
    pub live: bool,
    /// The writes that were lost are made again.
    pub again: Option<Script>,
    pub level: Level,
}

/// How an ensemble is filled that has lost its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refill {
    pub script: Script,
    /// How many of 100 of the writes so far are made again.
    pub share: u8,
    /// With the very bytes that were written before.
    pub same_data: bool,
    pub level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Same,
    /// With other names, as many, for nodes so deep below the root.
    Renamed(usize),
}

/// Where the new zxids are then, as other clients come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    AsItComes,
    /// So far from the newest that the client has seen, if that is not too far.
    Off(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// One transaction.
    Write(Vec<Write>),
    /// The writers' session ends, with its ephemeral nodes.
    EndWriters,
    /// Before anybody looks, so many children of a node have come and gone that so many more can be counted.
    Saturate(Arc<str>, i32),
    /// Somebody sets the data of a node, with a path of so many bytes, far below one that nobody may read.
    WriteOutOfSight(usize),
    Fault(Fault),
    /// A cache, by its place in `caches`.
    Open(usize),
    /// The same, with a tree that is known so far.
    OpenFrom(usize, Source),
    Close(usize),
    /// Somebody calls `sync` on a cache, by its place in `caches`, if it is open.
    Sync(usize),
}

/// Who has read the tree that a cache begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The cache of this place, up to its last close; or up to that many closes before.
    Closed(usize),
    /// Another client, which was so many transactions behind the newest, in the history that is so many before this one.
    Elsewhere {
        eras: usize,
        back: usize,
        /// It had authenticated.
        authenticated: bool,
        /// It had not read some nodes yet: what is left of them is decided by this.
        torn: Option<u64>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In µs from the start.
    pub at: u64,
    pub what: Happening,
}

impl Step {
    fn is_write(&self) -> bool {
        matches!(self.what, Happening::Write(_))
    }
}

#[derive(Debug, Clone)]
pub struct CachePlan {
    /// Relative to the chroot.
    pub root: &'static str,
    pub create_root: bool,
    pub narrowing: Narrowing,
    /// False: it is loaded once, and again at each call of `sync`.
    pub follow: bool,
    /// The root alone is kept, and watched alone.
    pub single: bool,
    /// Its parents, if they are created with it, are containers.
    pub container_parents: bool,
    pub data: Data,
}

impl CachePlan {
    /// What the library is told of what is to be kept.
    pub fn selection(&self) -> Selection {
        let Narrowing { depth, exclude, leaf, include } = &self.narrowing;
        let mut selection = Selection::default();
        if let Some(depth) = *depth {
            selection.limit_depth(depth);
        }
        for (effect, patterns) in
            [(Effect::Exclude, exclude), (Effect::Leaf, leaf), (Effect::Include, include)]
        {
            for pattern in patterns {
                selection.add(effect, pattern).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        selection
    }
}

/// Another session is told what has changed.
#[derive(Debug, Clone, Copy)]
pub struct ReportPlan {
    /// So many bytes of paths are compared at a time, and so many nodes on one connection.
    pub compared: usize,
    pub watched: usize,
    /// How many nodes show how far the history is the one that is known.
    pub anchors: usize,
    /// There are so many more nodes at the start.
    pub still: usize,
    /// That session is known to its own server only, and is no transaction (`localSessionsEnabled`).
    pub is_local: bool,
    /// Of 100 of its connections so many are refused, and so many are cut.
    pub refused: u8,
    pub cut: u8,
    /// On so many nothing passes for a while.
    pub silent: u8,
    /// Of 100 times that nodes were compared, so many times the first connection is closed.
    pub closes_first: u8,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub servers: Vec<Make>,
    /// Where the ensemble begins to count.
    pub zxid: i64,
    /// A leader answers with a zxid of its own until its first transaction, and answers `sync` like a read.
    pub leads: bool,
    /// What is committed may lie unprocessed on a server until any request comes there (ZOOKEEPER-4537).
    pub dozes: bool,
    /// A server that was down comes back as one of another kind.
    pub rolls: bool,
    /// The node that shows a Keeper cannot be seen there, and can be on a ZooKeeper.
    pub masks: bool,
    /// Keepers know neither recursive watches nor multiRead, as those before them (`KeeperFeatureFlag::MULTI_READ`).
    pub keeps_singly: bool,
    /// One name stands in front of all servers.
    pub one_name: bool,
    /// Nobody is told about nodes that he may not read (as since CVE-2024-23944), but by servers before 3.6.
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
    /// Most data is written as gzip compresses it.
    pub gzips: bool,
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
    pub sync_mode: SyncMode,
    pub watch_mode: WatchMode,
    /// How trees are verified by report; `None`: they are read.
    pub report: Option<ReportPlan>,
    pub audit_ms: u64,
    /// `limit.path.bytes`
    pub limit_path: usize,
    /// So many known nodes are read together at most in a verification.
    pub verified: usize,
    pub steps: Vec<Step>,
}

/// In every second schedule a tree of a few nodes is verified as a large one is: something happens in between.
fn verified(seed: u64, is_large: bool) -> usize {
    let most = Pace::default().verified;
    if is_large { most } else { [most, 2, most, 5][(seed / 4 % 4) as usize] }
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
        let first_zxid = match rng.u8(..4) {
            // A standalone server counts through the end of an epoch.
            0 if servers.len() == 1 => (6 << 32) - magnitude(&mut rng, 2, 100) as i64,
            0 | 1 => 5 << 32,
            _ => new_zxid(servers.len()),
        };
        let mut plan = Plan {
            seed,
            zxid: first_zxid,
            leads: servers.len() > 1,
            dozes: rng.u8(..4) == 0,
            one_name: servers.len() > 1 && rng.u8(..4) == 0,
            servers,
            hides: rng.u8(..3) > 0,
            dated_notifications: rng.bool(),
            guarded_exists: rng.u8(..3) == 0,
            restricted,
            authenticates: restricted && rng.bool(),
            chroot,
            caches,
            gzips: false,
            session_timeout_ms,
            granted_timeout_ms: if rng.u8(..4) == 0 { session_timeout_ms / 2 } else { session_timeout_ms },
            connect_timeout_ms: magnitude(&mut rng, 50, 3000).max(slow / 200),
            latency: (slow / 4 + 1, slow + 2),
            lag,
            chopped: [0, 10, 60][rng.usize(..3)],
            saturated,
            shuts_down: rng.u8(..10) == 0,
            audit_ms: if restricted { 2000 } else { 0 },
            limit_path: 4096,
            verified: verified(seed, wide || saturated),
            rolls: false,
            masks: false,
            keeps_singly: false,
            watch_mode: WatchMode::Recursive,
            report: None,
            sync_mode: if rng.u8(..4) == 0 { SyncMode::Sync } else { SyncMode::Barrier },
            steps: Vec::new(),
        };
        plan.narrow();
        plan.single_out();
        plan.report(wide);
        let faults = if saturated { 0 } else { rng.usize(..=6) };
        let mut planner = Planner {
            prefix: if chroot { CHROOT } else { "" },
            width: rng.u8(1..=4),
            restricted,
            still: plan.report.filter(|_| !wide && !saturated).map_or(0, |report| report.still),
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
        planner.write_out_of_sight(end);
        plan.choose_modes();
        plan.steps = planner.steps;
        plan.steps.sort_by_key(|step| step.at);
        plan.watch_otherwise();
        plan.keep();
        plan.begin_with_what_is_known();
        if plan.loses_watches() {
            // Nothing else notices that.
            plan.audit_ms = 300;
        }
        plan
    }

    /// In every fourth schedule, caches keep a part of their trees. What part is decided by other dice, so that all other
    /// schedules are what they would be without.
    fn narrow(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x6e_61_72_72_6f_77);
        if rng.u8(..4) > 0 {
            return;
        }
        for cache in &mut self.caches {
            if rng.u8(..4) == 0 {
                continue;
            }
            cache.narrowing = narrowing(&mut rng, if cache.root == "/" { "r/" } else { "" });
            cache.follow = rng.u8(..4) > 0;
        }
    }

    /// In every eighth schedule, some caches keep their root alone, and others with the same root come and go, which do not.
    fn single_out(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x73_69_6e_67_6c_65);
        if rng.u8(..8) > 0 {
            return;
        }
        let root = self.caches[0].root;
        while !self.restricted && self.caches.len() < 2 {
            self.caches.push(self.caches[0].clone());
        }
        for cache in &mut self.caches {
            if rng.u8(..4) > 0 {
                cache.root = root;
            }
            if rng.bool() {
                (cache.single, cache.narrowing) =
                    (true, Narrowing { depth: Some(0), ..Narrowing::default() });
            }
        }
    }

    /// What caches are told to do otherwise than by default. It is chosen apart from all else, so that a seed means the
    /// same schedule as before these were.
    fn choose_modes(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x6d_6f_64_65);
        for cache in &mut self.caches {
            cache.container_parents = rng.bool();
            cache.data = match rng.u8(..8) {
                0 | 1 => Data::None,
                // Less than some nodes have.
                2 => Data::Gzip { most: 4096 },
                _ => Data::All,
            };
        }
        self.gzips = self.caches.iter().any(|cache| matches!(cache.data, Data::Gzip { .. }));
    }

    /// In two of three schedules, trees are verified by report. Nothing else is another for that.
    fn report(&mut self, wide: bool) {
        let mut rng = Rng::with_seed(self.seed ^ 0x72_65_70_6f_72_74);
        if rng.u8(..3) == 0 {
            return;
        }
        let Pace { compared, watched, anchors, .. } = Pace::default();
        // A request and a connection for each of a thousand nodes are more than anybody waits for here.
        let (bytes, few) = if wide { (200, 20) } else { (1, 1) };
        self.report = Some(ReportPlan {
            compared: [compared, bytes, bytes.max(30)][rng.usize(..3)],
            watched: [watched, few, few.max(5)][rng.usize(..3)],
            is_local: rng.bool(),
            anchors: [anchors, 2, 6][rng.usize(..3)],
            still: [0, 40, 150][rng.usize(..3)],
            refused: [0, 0, 20][rng.usize(..3)],
            cut: [0, 0, 20][rng.usize(..3)],
            silent: [0, 0, 20][rng.usize(..3)],
            closes_first: [0, 0, 5, 30][rng.usize(..4)],
        });
    }

    /// In one of four schedules, other servers are there, and one-shot watches. Nothing else is another for that.
    fn watch_otherwise(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x6f_6e_63_65);
        if rng.u8(..4) > 0 {
            return;
        }
        self.watch_mode = [WatchMode::Auto, WatchMode::OneShot][rng.usize(..2)];
        let makes = [Make::Modern, Make::Optimized, Make::Old];
        let of_all = makes[rng.usize(..3)];
        let is_mixed = rng.u8(..3) == 0;
        self.rolls = rng.u8(..4) == 0;
        for make in &mut self.servers {
            *make = if is_mixed { makes[rng.usize(..3)] } else { of_all };
        }
    }

    /// In every fifth schedule in which it is not only recursive watches that may be used, the servers are Keepers.
    fn keep(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x6b_65_65_70);
        self.masks = rng.u8(..16) == 0;
        if self.watch_mode == WatchMode::Recursive || rng.u8(..5) > 0 {
            return;
        }
        self.servers = vec![Make::Keeper; self.servers.len()];
        self.masks = self.watch_mode == WatchMode::Auto && rng.bool();
        self.keeps_singly = !self.masks && rng.u8(..3) == 0;
        if self.masks {
            // One that is not known for a Keeper compares, and does not say that data of children was set.
            self.report = None;
        }
        // They have no epochs and no wait of that kind, name no zxid with what they tell, hide nothing but data, and no
        // command puts back their data below live connections. (`KeeperStorage.cpp`)
        (self.leads, self.dozes, self.hides) = (false, false, false);
        (self.dated_notifications, self.guarded_exists) = (false, false);
        let is_possible = |step: &Step| match &step.what {
            Happening::Saturate(..) => false,
            Happening::Fault(Fault::LoseWatches(_)) => false,
            Happening::Fault(Fault::Restore(restore)) => !restore.live,
            _ => true,
        };
        self.steps.retain(is_possible);
    }

    /// What children count for in their parents' Stats.
    pub fn counts(&self) -> Counts {
        match self.servers.contains(&Make::Keeper) {
            true => Counts::Keepers,
            false => Counts::ZooKeepers,
        }
    }

    /// In every fourth schedule, caches begin with trees that others have read, some of them at servers that lag. It is decided by
    /// other dice, so that all other schedules are what they would be without.
    fn begin_with_what_is_known(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x77_61_72_6d);
        if rng.u8(..4) > 0 || self.saturated {
            return;
        }
        let authenticates = self.authenticates;
        let source = |rng: &mut Rng| match rng.bool() {
            true => Source::Closed([0, 0, 0, 1, 2][rng.usize(..5)]),
            false => Source::Elsewhere {
                eras: [0, 0, 0, 1, 2][rng.usize(..5)],
                back: if rng.bool() { 0 } else { magnitude(rng, 1, 40) as usize },
                authenticated: authenticates ^ rng.bool(),
                torn: (rng.u8(..3) == 0).then(|| rng.u64(..)),
            },
        };
        for step in &mut self.steps {
            if let Happening::Open(cache) = step.what
                && rng.bool()
            {
                step.what = Happening::OpenFrom(cache, source(&mut rng));
            }
        }
        let writes: Vec<u64> = self.steps.iter().filter(|step| step.is_write()).map(|step| step.at).collect();
        for _ in 0..rng.usize(1..=5) {
            let cache = rng.usize(..self.caches.len());
            let (mut at, mut source) = (writes[rng.usize(..writes.len())], source(&mut rng));
            if rng.u8(..3) == 0 {
                // All servers are behind what somebody else has read.
                let time = magnitude(&mut rng, 10_000, 10_000_000);
                let from = at.saturating_sub(rng.u64(..200_000));
                for server in 0..self.servers.len() {
                    self.steps.push(Step { at: from, what: Happening::Fault(Fault::Lag(server, time)) });
                }
                source = Source::Elsewhere { eras: 0, back: 0, authenticated: authenticates, torn: None };
            }
            self.steps.push(Step { at, what: Happening::Close(cache) });
            at += if rng.bool() { 0 } else { magnitude(&mut rng, 100, 300_000) };
            self.steps.push(Step { at, what: Happening::OpenFrom(cache, source) });
        }
        self.steps.sort_by_key(|step| step.at);
    }

    pub fn modes(&self) -> Modes {
        Modes { sync: self.sync_mode, watch: self.watch_mode }
    }

    /// Whether a server loses its watches, or its data, below live connections.
    pub fn loses_watches(&self) -> bool {
        let is_so = |step: &Step| {
            let fault = match &step.what {
                Happening::Fault(fault) => fault,
                _ => return false,
            };
            matches!(fault, Fault::LoseWatches(_) | Fault::Restore(Restore { live: true, .. }))
        };
        self.steps.iter().any(is_so)
    }

    pub fn prefix(&self) -> &'static str {
        if self.chroot { CHROOT } else { "" }
    }

    /// Whether some server can serve a cache at all.
    pub fn is_servable(&self) -> bool {
        self.watch_mode != WatchMode::Recursive || self.servers.contains(&Make::Modern)
    }

    pub fn verify(&self) -> VerifyMode {
        if self.report.is_some() { VerifyMode::Report } else { VerifyMode::Read }
    }

    /// How much is read together of what nothing is known of. In every second schedule it is so little that lists of a
    /// few names are proven before they are read.
    pub fn pace(&self) -> Pace {
        let default = Pace::default();
        let unproven = [default.unproven, 1, default.unproven, 4][self.seed as usize % 4];
        let verified = self.verified;
        match self.report {
            Some(ReportPlan { compared, watched, anchors, .. }) => {
                Pace { unproven, verified, compared, watched, anchors, ..default }
            }
            None => Pace { unproven, verified, ..default },
        }
    }

    /// The most batches of reads between two cuts: those of the 80 ms after which thousands of paths are read
    /// together, or where there are so few paths that they always are, of 5 ms; and a few more. `None`: any number. What
    /// lives for less than a round trip can be read by chance only, so that no bound holds for all writers.
    pub fn most_batches(&self) -> Option<u64> {
        if !self.saturated || self.watch_mode != WatchMode::Recursive {
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
        let hot_after = if paths.len() < 200 { 5_000 } else { 85_000 };
        Some(24 + hot_after / (self.latency.0 + self.latency.1))
    }
}

/// Some rules; most patterns begin with `prefix`.
fn narrowing(rng: &mut Rng, prefix: &str) -> Narrowing {
    const PARTS: [&str; 8] = ["a", "b", "c", "*", "*", "**", "1*", "*7"];
    let mut narrowing = Narrowing::default();
    if rng.u8(..3) == 0 {
        narrowing.depth = Some(rng.usize(..4));
    }
    for _ in 0..rng.usize(..4) {
        let parts: Vec<&str> = (0..rng.usize(1..=3)).map(|_| PARTS[rng.usize(..PARTS.len())]).collect();
        let prefix = if rng.u8(..5) > 0 { prefix } else { "" };
        let pattern = format!("{prefix}{}", parts.join("/"));
        let patterns = match rng.u8(..5) {
            0..=2 => &mut narrowing.exclude,
            3 => &mut narrowing.leaf,
            _ => &mut narrowing.include,
        };
        patterns.push(pattern);
    }
    narrowing
}

/// Where an ensemble without data begins to count: standalone it has no epochs.
pub fn new_zxid(servers: usize) -> i64 {
    if servers == 1 { 0 } else { 1 << 32 }
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

    /// The same one, by a script that gives other names, as many, to what is so deep below `root`.
    pub fn renamed(&self, root: &str, depth: usize) -> Write {
        let mut write = self.clone();
        let path = match &mut write {
            Write::Create { path, .. }
            | Write::Set { path, .. }
            | Write::Delete { path }
            | Write::DeleteTree { path }
            | Write::SetAcl { path, .. } => path,
        };
        if let Some(relative) = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')) {
            let names: Vec<String> = relative
                .split('/')
                .enumerate()
                .map(|(at, name)| if at + 1 == depth { format!("{name}-") } else { name.to_owned() })
                .collect();
            *path = format!("{root}/{}", names.join("/")).into();
        }
        write
    }

    /// The changes that this is, as things stand. `data` is to be different each time; `gzips`: most of it is compressed.
    pub fn changes(
        &self,
        truth: &treecache_checks::Truth,
        writer: i64,
        data: u64,
        gzips: bool,
    ) -> Vec<Change> {
        let bytes = |len: usize| -> Arc<[u8]> {
            let mut bytes = vec![b'x'; len];
            let number = data.to_be_bytes();
            let copied = len.min(8);
            bytes[..copied].copy_from_slice(&number[8 - copied..]);
            let compressed = if gzips && !data.is_multiple_of(8) { gzip::stored(&bytes) } else { None };
            compressed.unwrap_or(bytes).into()
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
