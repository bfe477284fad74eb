//! The timetable: what the writers do, and what goes wrong meanwhile.

use std::sync::Arc;

use fastrand::Rng;
use treecache_checks::{Access, Narrowing};
use treecache_core::sync::Data;

use super::{CachePlan, Fault, Happening, Level, Plan, ROOT, Refill, Restore, Script, Step, Write};

/// Of a node, behind the root's path, that nobody may read and that has long paths below it.
pub const OUT_OF_SIGHT: &str = "/locked";

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

pub(super) struct Planner {
    pub(super) rng: Rng,
    pub(super) prefix: &'static str,
    pub(super) width: u8,
    pub(super) restricted: bool,
    pub(super) large: bool,
    /// How many nodes are there from the start, besides others.
    pub(super) still: usize,
    pub(super) steps: Vec<Step>,
    pub(super) now: u64,
}

/// Numbers of `from..to` that are spread over their magnitudes.
pub(super) fn magnitude(rng: &mut Rng, from: u64, to: u64) -> u64 {
    let (low, high) = ((from as f64).ln(), (to as f64).ln());
    (low + (high - low) * rng.f64()).exp() as u64
}

pub(super) fn caches(rng: &mut Rng, one: bool) -> Vec<CachePlan> {
    const ROOTS: [&str; 8] = [ROOT, ROOT, ROOT, ROOT, "/r/a", "/", "/r/a/b", "/new/x/y"];
    let count = if one { 1 } else { [1, 1, 1, 2, 3][rng.usize(..5)] };
    (0..count)
        .map(|place| {
            let root = if one || place == 0 && rng.bool() { ROOT } else { ROOTS[rng.usize(..ROOTS.len())] };
            CachePlan {
                root,
                create_root: !one && rng.u8(..3) == 0,
                narrowing: Narrowing::default(),
                follow: true,
                single: false,
                container_parents: false,
                data: Data::All,
            }
        })
        .collect()
}

impl Planner {
    fn step(&mut self, what: Happening) {
        self.steps.push(Step { at: self.now, what });
    }

    /// A path at or below the root, at most three levels deep.
    fn path(&mut self) -> Arc<str> {
        if self.still > 0 && self.rng.u8(..4) > 0 {
            let n = self.rng.usize(..self.still);
            return self.still_path(n);
        }
        let mut path = format!("{}{ROOT}", self.prefix);
        let depth = [0, 1, 1, 1, 2, 2, 3][self.rng.usize(..7)];
        for _ in 0..depth {
            path.push('/');
            path.push((b'a' + self.rng.u8(..self.width)).into());
        }
        path.into()
    }

    /// That of one of many nodes that are there from the start.
    fn still_path(&self, n: usize) -> Arc<str> {
        let parent = if n.is_multiple_of(3) { String::new() } else { format!("/still{}", n - n % 3) };
        format!("{}{ROOT}{parent}/still{n}", self.prefix).into()
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
        let is_large = (self.large || self.restricted) && self.rng.bool();
        if let (true, Write::Create { len, .. }) = (is_large, &mut new) {
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
    pub(super) fn found(&mut self, wide: bool) {
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
        for n in 0..self.still {
            let write = plain(&self.still_path(n));
            self.step(Happening::Write(vec![write]));
        }
        for _ in 0..self.rng.usize(..30) {
            let write = self.mixed();
            self.step(Happening::Write(vec![write]));
        }
        if self.rng.u8(..10) == 0 {
            for path in [root.clone(), format!("{root}/a")] {
                let left = self.rng.i32(0..6);
                self.step(Happening::Saturate(path.into(), left));
            }
        }
        if self.restricted && self.rng.u8(..20) == 0 {
            let path = format!("{root}{OUT_OF_SIGHT}").into();
            let write = Write::Create { path, len: 0, access: Access::Nobody, ephemeral: false };
            self.step(Happening::Write(vec![write]));
        }
        self.step(Happening::Open(0));
        // Some loads are rid of writes, some are not.
        self.now += if self.rng.bool() { 0 } else { magnitude(&mut self.rng, 100, 300_000) };
    }

    /// Phases of writes. Returns when they end.
    pub(super) fn follow(&mut self, wide: bool, caches: usize) -> u64 {
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
    pub(super) fn saturate(&mut self, round_trip: u64) -> u64 {
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
            Style::Mixed if self.rng.u8(..if self.restricted { 5 } else { 15 }) == 0 => self.replace(),
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

    /// Writes below what nobody may read, if there is such a node.
    pub(super) fn write_out_of_sight(&mut self, end: u64) {
        let is_there = |step: &Step| match &step.what {
            Happening::Write(writes) => writes.iter().any(|write| write.path().ends_with(OUT_OF_SIGHT)),
            _ => false,
        };
        if self.steps.iter().any(is_there) {
            for _ in 0..3 {
                self.now = self.rng.u64(..=end);
                let len = magnitude(&mut self.rng, 500, 60_000) as usize;
                self.step(Happening::WriteOutOfSight(len));
            }
        }
    }

    pub(super) fn disturb(&mut self, faults: usize, end: u64, plan: &Plan) {
        for _ in 0..faults {
            // Some when all is quiet.
            self.now = if self.rng.u8(..4) == 0 { end } else { self.rng.u64(..=end) };
            let server = self.rng.usize(..plan.servers.len());
            let time = magnitude(&mut self.rng, 1000, 3_000 * plan.session_timeout_ms);
            let fault = match self.rng.u8(..34) {
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
                22..=24 => Fault::Elect(server),
                25..=26 => Fault::Wipe(self.refill()),
                27..=29 => Fault::Restore(self.restore()),
                30 if self.rng.bool() => {
                    self.write_later(plan);
                    Fault::LoseWatches(server)
                }
                31..=32 => {
                    self.sleep(plan.granted_timeout_ms * 1000, end);
                    continue;
                }
                _ => Fault::CutAfter(0),
            };
            self.step(Happening::Fault(fault));
            if plan.report.is_some() {
                self.write_on();
            }
        }
    }

    /// Writes that go on while a client comes back, and asks what has changed.
    fn write_on(&mut self) {
        let began = self.now;
        let time = magnitude(&mut self.rng, 1000, 3_000_000);
        for _ in 0..self.rng.usize(..40) {
            self.now = began + self.rng.u64(..time);
            self.write(Style::Mixed, 0);
        }
        self.now = began;
    }

    /// The process of the client stands still.
    fn sleep(&mut self, timeout: u64, end: u64) {
        if self.rng.bool() {
            let time = self.rng.u64(1000..3 * timeout);
            return self.step(Happening::Fault(Fault::Sleep(time)));
        }
        // When all is quiet: so long that what waited is old, and not so long that the connection is given up for that.
        self.now = end;
        let time = self.rng.u64(timeout * 2 / 5..timeout * 13 / 20);
        self.step(Happening::Fault(Fault::SleepBehindPing(time)));
        // There is time for all of it.
        self.now += 4 * timeout;
        let write = self.mixed();
        self.step(Happening::Write(vec![write]));
    }

    /// Writes that go on for longer than a lost watch may go unnoticed.
    fn write_later(&mut self, plan: &Plan) {
        let now = self.now;
        for _ in 0..self.rng.usize(1..20) {
            self.now += self.rng.u64(..200_000) + plan.latency.1;
            self.write(Style::Mixed, 0);
        }
        self.now = now;
    }

    fn restore(&mut self) -> Restore {
        let again = match self.rng.u8(..4) {
            0 | 1 => Some(Script::Renamed(self.rng.usize(1..=3))),
            2 => Some(Script::Same),
            _ => None,
        };
        let level = if self.rng.bool() { Level::AsItComes } else { Level::Off(self.rng.i64(-3..=3)) };
        Restore {
            back: magnitude(&mut self.rng, 1, 60) as usize - 1,
            live: self.rng.u8(..4) == 0,
            again,
            level,
        }
    }

    fn refill(&mut self) -> Refill {
        Refill {
            script: match self.rng.u8(..4) {
                0 => Script::Renamed(self.rng.usize(1..=3)),
                _ => Script::Same,
            },
            share: [0, 50, 90, 100, 100, 100][self.rng.usize(..6)],
            same_data: self.rng.bool(),
            level: match self.rng.u8(..4) {
                0 => Level::AsItComes,
                1 => Level::Off(magnitude(&mut self.rng, 1, 300) as i64),
                _ => Level::Off(self.rng.i64(-3..=3)),
            },
        }
    }

    /// Calls of `sync`, at any time or just behind something else, some of them close together.
    pub(super) fn sync(&mut self, end: u64, plan: &Plan) {
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
