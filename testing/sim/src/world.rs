//! One run: the engine, unchanged, against the ensemble, in simulated time; and the checks, after every step.

//!
//! | module | holds |
//! |---|---|
//! | `server` | what servers do: they apply transactions, and answer |
//! | `connection` | the streams of bytes, and how far the client has come |
//! | `faults`, `history` | what goes wrong; what becomes of the data |
//! | `cache` | what one cache publishes and tells |
//! | `known` | the trees that caches begin with |
//! | `watches` | what a connection is told |
//! | `checks` | what caches say of themselves, against the truth |

mod cache;
mod checks;
mod connection;
mod faults;
mod history;
mod known;
mod server;
mod watches;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use treecache_checks::{Check, Excused, Kind, Violation};
use treecache_core::engine::{Engine, Output, SideInput};
use treecache_core::session::{Action, Auth, Backoff, Host, Hosts, Secret, Settings, TransportError};
use treecache_core::sync::{CacheId, Input, Options, WatchMode};
use treecache_core::{NodePath, Status};

use self::cache::{Known, Watched};
use self::checks::{Unnoticed, excused, parent, processor_time};
use self::connection::{Connection, Mark};
use self::known::KnownTree;
use self::server::Server;
use crate::ensemble::{Ensemble, Moment};
use crate::plan::{Happening, OUT_OF_SIGHT, Plan, ROOT, Source};

/// After the last fault, how long until everything must be in step, in µs. A round through refusing servers takes up
/// to 2 s for each, and five rounds come before a reset is believed in; what was hidden waits for the audit.
const LIVE_WITHIN: u64 = 120_000_000;
/// Steps of a run; more, and it spins.
const MOST_EVENTS: usize = 2_000_000;
/// Behind so many bytes of a connection it is measured how long they take, where paths are long.
const LONG: u64 = 10_000;
/// Of the writers, whose ephemeral nodes go together.
const WRITER: i64 = 77;
pub const SECRET: &str = "user:secret";

enum Event {
    Step(usize),
    /// The attempt to connect has this outcome.
    Connected(usize, bool),
    /// Bytes reach a server.
    Up(usize, Vec<u8>),
    /// What was sent up to this place of the stream reaches the client.
    Down(usize, u64),
    /// The client sees that the server has closed.
    Hangup(usize),
    /// A server applies what is due.
    Apply(usize),
    /// A server goes on.
    Resume(usize),
    /// A server goes on with the requests of a connection.
    Serve(usize),
    /// A session may have expired.
    Expiry(i64),
    /// The client's process goes on, after so long.
    Wake(u64),
    /// Somebody looks at what the caches say of themselves.
    Look,
    /// Nothing passes on a connection for so long.
    FallSilent(usize, u64),
    Heal,
}

/// What a run amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub events: u64,
    pub transactions: u64,
    pub versions: u64,
    pub cuts: u64,
    /// Times that a cache that said it is in step was compared with the truth.
    pub claims: u64,
    /// Calls of `sync` that were answered, and not with an error.
    pub synced: u64,
    /// Connections that asked what has changed, and how many times one of them was told.
    pub side_connections: u64,
    pub chunks: u64,
    pub connections: u64,
    pub sessions: u64,
    pub resets: u64,
    /// The most batches of reads between two cuts, and the longest simulated time to be in step at the end, in µs.
    pub most_batches: u64,
    pub longest_recovery: u64,
    /// Over all that was published and told, so that two runs can be compared.
    pub digest: u64,
}

pub struct World {
    plan: Plan,
    most_batches: Option<u64>,
    base: Instant,
    now: u64,
    /// By when they happen, those of one moment in the order in which they were told.
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,

    ensemble: Ensemble,
    servers: Vec<Server>,
    leader: usize,
    no_quorum_until: u64,
    connections: Vec<Connection>,
    /// The one that the client has.
    current: Option<usize>,
    /// The one that asks what has changed.
    side: Option<usize>,

    engine: Engine,
    caches: BTreeMap<CacheId, Watched>,
    next_cache: u64,
    /// Which caches of the plan are open.
    open: Vec<Option<CacheId>>,
    /// What each of them had when it was closed.
    known: Vec<Vec<KnownTree>>,
    attempts: u64,
    unnoticed: Vec<Unnoticed>,
    /// Until when nobody can know that his watch is lost.
    blind_until: u64,
    /// A connection ended before it was known: the next report counts from a cut that was none, and what it leaves out is
    /// left to the audit.
    left_blind: bool,
    /// When a server lost them, and nothing else.
    lost_watch: Option<Moment>,
    /// What was read since then, and at which place of the history: what had changed before is known.
    read_since_lost: BTreeMap<String, usize>,
    /// Nothing has held up a server or the client so far.
    is_calm: bool,
    has_long_paths: bool,
    eighths_of_requests: u64,
    /// The last place of each era that the client has heard of since the last reset.
    heard: Vec<usize>,
    /// Until when the client's process stands still.
    asleep_until: u64,
    /// It will, for so long, as soon as a ping is answered.
    sleeps_behind_ping: Option<u64>,
    healed_at: Option<u64>,
    closed: bool,

    tally: Tally,
    trace: Option<Vec<String>>,
    writes: u64,
}

macro_rules! trace {
    ($world:expr, $($what:tt)*) => {
        if $world.trace.is_some() {
            let line = format!($($what)*);
            $world.note(line);
        }
    };
}
use trace;

/// Runs a plan. `trace`: what happens is written down.
pub fn run(plan: &Plan, trace: bool) -> (Result<Tally, Violation>, Vec<String>) {
    let mut world = World::new(plan.clone(), trace);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    let result = result.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("something that is no text");
        Err(Check::Sound.violated(format!("a panic: {message}")))
    });
    (result.map(|()| world.tally), world.trace.take().unwrap_or_default())
}

impl World {
    fn new(plan: Plan, trace: bool) -> World {
        let base = Instant::now();
        let names = if plan.one_name { 1 } else { plan.servers.len() };
        let hosts: Vec<String> = (0..names).map(|at| format!("s:{}", at + 1)).collect();
        let settings = Settings {
            hosts: Hosts::parse(&format!("{}{}", hosts.join(","), plan.prefix()))
                .unwrap_or_else(|error| panic!("{error}")),
            session_timeout: Duration::from_millis(plan.session_timeout_ms),
            resolve_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_millis(plan.connect_timeout_ms),
            sasl: None,
            auth: if plan.authenticates {
                vec![Auth { scheme: "digest".to_owned(), credential: Secret::new(SECRET) }]
            } else {
                Vec::new()
            },
            limit_frame: 1 << 20,
            backoff: Backoff::default(),
        };
        let engine = Engine::new(settings, plan.modes(), Rng::with_seed(!plan.seed), base);
        let servers = plan
            .servers
            .iter()
            .enumerate()
            .map(|(at, make)| Server::new(*make, plan.seed ^ (at as u64) << 40))
            .collect();
        let mut world = World {
            most_batches: plan.most_batches(),
            base,
            now: 0,
            events: BTreeMap::new(),
            serial: 0,
            ensemble: Ensemble::new(plan.zxid, plan.counts()),
            servers,
            leader: 0,
            no_quorum_until: 0,
            connections: Vec::new(),
            current: None,
            side: None,
            engine,
            caches: BTreeMap::new(),
            next_cache: 0,
            open: vec![None; plan.caches.len()],
            known: plan.caches.iter().map(|_| Vec::new()).collect(),
            attempts: 0,
            unnoticed: Vec::new(),
            blind_until: 0,
            left_blind: false,
            lost_watch: None,
            read_since_lost: BTreeMap::new(),
            is_calm: true,
            has_long_paths: plan.steps.iter().any(|step| matches!(step.what, Happening::WriteOutOfSight(_))),
            eighths_of_requests: 0,
            heard: Vec::new(),
            asleep_until: 0,
            sleeps_behind_ping: None,
            healed_at: None,
            closed: false,
            tally: Tally::default(),
            trace: trace.then(Vec::new),
            writes: 0,
            plan,
        };
        for at in 0..world.plan.steps.len() {
            world.at(world.plan.steps[at].at, Event::Step(at));
        }
        let end = world.plan.steps.last().map_or(0, |step| step.at);
        world.at(end + 1, Event::Heal);
        world
    }

    fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.insert((at.max(self.now), self.serial), event);
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    fn note(&mut self, line: String) {
        let line = format!("{:>12.3} ms  {line}", self.now as f64 / 1000.0);
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
    }

    /// Lets happen what comes next, and does what the owner of an engine does then. `false`: nothing comes.
    fn advance(&mut self) -> Result<bool, Violation> {
        // Rounded up: a timer is never early.
        let timeout = self
            .engine
            .poll_timeout()
            .map(|at| at.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as u64);
        let next = self.events.first_key_value().map(|((at, _), _)| *at);
        let (before, is_comparing) = (self.now, self.side.is_some());
        match timeout {
            Some(timeout) if next.is_none_or(|next| timeout <= next && self.asleep_until < next) => {
                self.now = self.now.max(timeout);
                let now = self.instant();
                self.engine.handle_timeout(now);
                let again = self.engine.poll_timeout().is_some_and(|at| at <= now);
                Check::Sound.that(!again, || "a timer that is due again at once, for ever".to_owned())?;
            }
            _ => {
                let Some(((at, _), event)) = self.events.pop_first() else { return Ok(false) };
                self.now = at;
                self.handle(event)?;
            }
        }
        if is_comparing {
            // There is no audit while a tree is verified.
            self.stay_blind(self.now - before);
        }
        self.pump()?;
        Ok(true)
    }

    fn run(&mut self) -> Result<(), Violation> {
        self.pump()?;
        for _ in 0..MOST_EVENTS {
            self.tally.events += 1;
            if !self.advance()? {
                return self.finish();
            }
            self.check_contact()?;
            if let Some(healed_at) = self.healed_at {
                if self.closed {
                    return Ok(());
                }
                if self.is_in_step() {
                    self.tally.longest_recovery = self.tally.longest_recovery.max(self.now - healed_at);
                    return self.finish();
                }
                Check::Live.that(self.now <= healed_at + LIVE_WITHIN, || {
                    let states: Vec<String> = self.caches.values().map(Watched::describe).collect();
                    format!("{} s after the last fault: {}", LIVE_WITHIN / 1_000_000, states.join("; "))
                })?;
            }
        }
        Err(Check::Sound.violated(format!("{MOST_EVENTS} events, and no end")))
    }

    /// Everything that can be in step is, and nothing is left to be said.
    fn is_in_step(&self) -> bool {
        if !self.plan.is_servable() {
            // Given up for good reason.
            return self.caches.values().all(Watched::is_refused);
        }
        let Some(connection) = self.current.map(|at| &self.connections[at]) else { return false };
        let era = self.ensemble.era();
        connection.contact == Some(self.ensemble.now())
            && self.caches.values().all(|cache| cache.is_settled() && !cache.is_called())
            && self
                .caches
                .values()
                .all(|cache| cache.is_held() || cache.difference(era.newest(), &Excused::new()).is_none())
    }

    fn finish(&mut self) -> Result<(), Violation> {
        for cache in self.caches.values_mut() {
            cache.assert_told()?;
        }
        if !self.plan.shuts_down || self.closed {
            return Ok(());
        }
        trace!(self, "the client is closed");
        let now = self.instant();
        self.engine.shut_down(now);
        self.pump()?;
        for _ in 0..10_000 {
            if self.closed {
                return Ok(());
            }
            if !self.advance()? {
                break;
            }
        }
        Err(Check::Live.violated("the client does not close"))
    }

    fn is_asleep(&self) -> bool {
        self.now < self.asleep_until
    }

    /// Whether an event has to do with the client's process, which stands still.
    fn waits_for_the_client(&self, event: &Event) -> bool {
        let is_its_own = match event {
            Event::Connected(..) | Event::Down(..) | Event::Hangup(_) => true,
            Event::Step(at) => {
                matches!(
                    self.plan.steps[*at].what,
                    Happening::Open(_) | Happening::OpenFrom(..) | Happening::Close(_) | Happening::Sync(_)
                )
            }
            _ => false,
        };
        is_its_own && self.is_asleep()
    }

    /// The client's process goes on: whoever runs the engine sees by the clock that it stood still, and says so before
    /// it hands on what came meanwhile.
    fn wake(&mut self, slept: u64) {
        if self.is_asleep() {
            return;
        }
        trace!(self, "the client's process goes on");
        if Duration::from_micros(slept) >= self.engine.shortest_pause() {
            let now = self.instant();
            self.engine.handle_pause(now);
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        if self.waits_for_the_client(&event) {
            if let Event::Down(id, end) = event {
                let waited = &mut self.connections[id].waited;
                *waited = (waited.0.max(end), self.now);
            }
            self.at(self.asleep_until, event);
            return Ok(());
        }
        match event {
            Event::Step(at) => self.step(at),
            Event::Connected(id, refused) => self.connected(id, refused),
            Event::Up(id, bytes) => {
                self.connections[id].came += bytes.len() as u64;
                self.connections[id].inbox.extend_from_slice(&bytes);
                self.connections[id].busy_since.get_or_insert(self.now);
                if self.is_there(id) {
                    self.apply(self.connections[id].server, true)?;
                }
                self.serve(id)?;
            }
            Event::Down(id, end) => self.deliver(id, end)?,
            Event::Hangup(id) if self.side == Some(id) => {
                self.deliver_side(id, u64::MAX)?;
                if self.side == Some(id) {
                    self.side_disconnected("closed by the server");
                }
            }
            Event::Hangup(id) => {
                // What was sent before is read before.
                let end = self.connections[id].end();
                while self.current == Some(id)
                    && self.connections[id].silent_until <= self.now
                    && self.connections[id].delivered < end
                {
                    self.deliver(id, end)?;
                }
                if self.current == Some(id) && self.connections[id].silent_until > self.now {
                    let until = self.connections[id].silent_until;
                    self.at(until, Event::Hangup(id));
                } else if self.current == Some(id) {
                    trace!(self, "the connection is closed by the server");
                    self.disconnected("closed by the server");
                }
            }
            Event::Apply(server) => self.apply(server, false)?,
            Event::Resume(server) => self.resume(server)?,
            Event::Serve(id) => self.serve(id)?,
            Event::Expiry(session) => self.expire_if_due(session),
            Event::Wake(slept) => self.wake(slept),
            Event::Look => {}
            Event::FallSilent(id, time) => self.connections[id].silent_until = self.now + time,
            Event::Heal => {
                trace!(self, "no more faults");
                self.healed_at = Some(self.now);
                self.no_quorum_until = 0;
                for server in 0..self.servers.len() {
                    self.servers[server].heal();
                    self.resume(server)?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, at: usize) {
        let what = self.plan.steps[at].what.clone();
        match what {
            Happening::Write(writes) => {
                self.writes += 1;
                let truth = self.ensemble.era().newest();
                let changes = writes
                    .iter()
                    .flat_map(|write| write.changes(truth, WRITER, self.writes, self.plan.gzips))
                    .collect();
                if let Some(at) = self.ensemble.commit_possible(changes, self.now) {
                    self.committed(at);
                }
            }
            Happening::EndWriters => {
                let at = self.ensemble.end_session(WRITER, self.now);
                self.committed(at);
            }
            Happening::Open(plan) => self.open_cache(plan, None),
            Happening::OpenFrom(plan, source) => self.open_cache(plan, Some(source)),
            Happening::Close(plan) => {
                if let Some(id) = self.open[plan].take() {
                    trace!(self, "{id:?} is closed");
                    let now = self.instant();
                    self.engine.handle_input(id, Input::Close, now);
                    let closed = self.caches.remove(&id);
                    if let Some(cache) = &closed {
                        let known = self.known_to(cache);
                        self.known[plan].push(known);
                    }
                    if let (Some(cache), Some(id)) = (closed, self.current) {
                        let connection = &mut self.connections[id];
                        connection.closed.push((cache.root().into(), connection.said));
                    }
                }
            }
            Happening::Saturate(path, left) => self.ensemble.saturate(&path, left),
            Happening::WriteOutOfSight(len) => {
                let mut path = format!("{}{ROOT}{OUT_OF_SIGHT}", self.plan.prefix());
                path.push_str(&"/a".repeat(len.saturating_sub(path.len()) / 2));
                let at = self.ensemble.commit_out_of_sight(path.into(), self.now);
                self.committed(at);
            }
            Happening::Fault(fault) => self.fault(fault, at),
            Happening::Sync(plan) => self.sync(plan),
        }
    }

    fn sync(&mut self, plan: usize) {
        let Some(id) = self.open[plan] else { return };
        let Some(cache) = self.caches.get_mut(&id) else { return };
        let moment = self.ensemble.now();
        let ticket = cache.call(moment);
        trace!(self, "{id:?} is called to sync with {moment:?}, {ticket:?}");
        let now = self.instant();
        self.engine.handle_input(id, Input::Sync(ticket), now);
    }

    fn open_cache(&mut self, at: usize, source: Option<Source>) {
        if self.open[at].is_some() {
            return;
        }
        let known = source.and_then(|source| self.known_tree(at, source));
        let known = known.map(|known| known.begun_under(&self.plan));
        let plan = &self.plan.caches[at];
        self.next_cache += 1;
        let id = CacheId(self.next_cache);
        let options = Options {
            create_root: plan.create_root,
            selection: plan.selection(),
            follow: plan.follow,
            single: plan.single,
            container_parents: plan.container_parents,
            limit_nodes: 0,
            limit_bytes: 0,
            data: plan.data,
            limit_path: self.plan.limit_path,
            verify: self.plan.verify(),
            audit_interval: Duration::from_millis(self.plan.audit_ms),
            pace: self.plan.pace(),
        };
        let root = NodePath::new(plan.root).unwrap_or_else(|error| panic!("{error}"));
        let watched = Watched::new(plan, known.clone(), self.most_batches, &self.plan);
        self.caches.insert(id, watched);
        self.open[at] = Some(id);
        trace!(self, "{id:?} is opened at {root}, with {known:?}");
        let now = self.instant();
        let input = match known {
            Some(known) => Input::OpenFrom(root, options, known.version),
            None => Input::Open(root, options),
        };
        self.engine.handle_input(id, input, now);
    }

    /// A transaction was decided: the servers apply it, each in its time.
    fn committed(&mut self, at: usize) {
        self.tally.transactions += 1;
        if self.trace.is_some() {
            let happened: Vec<String> = self
                .ensemble
                .era()
                .happened(at)
                .iter()
                .map(|happened| format!("{:?} {}", happened.kind, happened.path))
                .collect();
            let zxid = self.ensemble.era().truth(at).zxid;
            trace!(self, "transaction {at} at {zxid}: {}", happened.join(", "));
        }
        if self.plan.restricted {
            // There is only one cache then.
            let root = format!("{}{ROOT}", self.plan.prefix());
            for happened in self.ensemble.era().happened(at) {
                let is_told = happened.kind != Kind::AclChanged
                    && (!self.plan.hides || happened.access.allows(self.plan.authenticates));
                if !is_told {
                    let era = self.ensemble.eras.len() - 1;
                    self.unnoticed.push(Unnoticed::of(happened, &root, era, at));
                }
            }
        }
        for server in 0..self.servers.len() {
            let (low, high) = self.plan.lag;
            let due = self.now + self.servers[server].rng.u64(low..=high);
            let due = self.servers[server].schedule(due);
            self.at(due, Event::Apply(server));
        }
    }

    fn expire_if_due(&mut self, session: i64) {
        let Some(known) = self.ensemble.session(session) else { return };
        let due = known.heard + known.timeout;
        if due > self.now {
            return self.at(due, Event::Expiry(session));
        }
        trace!(self, "session {session:#x} expires");
        if self.ensemble.end_local(session) {
            return;
        }
        let at = self.ensemble.end_session(session, self.now);
        self.committed(at);
    }

    /// Whether this is a connection of the client's.
    fn is_there(&self, id: usize) -> bool {
        self.current == Some(id) || self.side == Some(id)
    }

    fn side_disconnected(&mut self, reason: &str) {
        trace!(self, "the second connection is gone: {reason}");
        self.side = None;
        let now = self.instant();
        let reason = TransportError::Connection(reason.to_owned());
        self.engine.handle_side(SideInput::Disconnected(reason), now);
    }

    fn disconnected(&mut self, reason: &str) {
        self.leave_connection();
        let now = self.instant();
        self.engine.handle_disconnected(TransportError::Connection(reason.to_owned()), now);
    }

    fn leave_connection(&mut self) {
        self.left_blind |= self.current.is_some() && self.is_blind();
        self.current = None;
    }

    /// Does what the owner of an engine does after each input.
    fn pump(&mut self) -> Result<(), Violation> {
        while let Some(action) = self.engine.poll_action() {
            self.leave_connection();
            if let Action::Connect(host) = action {
                let server = self.server_of(&host);
                self.connect(server)?;
            }
        }
        while let Some(action) = self.engine.poll_side_action() {
            self.side = None;
            if let Action::Connect(host) = action {
                let server = self.server_of(&host);
                self.connect_side(server)?;
            }
        }
        if let Some(id) = self.side
            && self.connections[id].is_established
            && let Some(bytes) = self.engine.side_transmit().map(std::mem::take)
            && !bytes.is_empty()
        {
            let at = self.connections[id].departure(self.now, &self.plan);
            self.at(at, Event::Up(id, bytes));
        }
        if let Some(id) = self.current
            && self.connections[id].is_established
        {
            let bytes = std::mem::take(self.engine.transmit());
            if !bytes.is_empty() {
                let at = self.connections[id].departure(self.now, &self.plan);
                self.connections[id].said += bytes.len() as u64;
                self.at(at, Event::Up(id, bytes));
            }
        }
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Cache(id, output) => self.told(id, output)?,
                Output::Fault(fault) => {
                    trace!(self, "fault told: {:?} {}", fault.status, fault.message);
                    self.check_believed(fault.status == Status::Unsupported)?;
                    if fault.status == Status::Reset {
                        self.check_reset()?;
                        self.was_reset();
                    }
                }
                Output::Connected { .. } | Output::Disconnected => {}
                Output::Closed => self.closed = true,
            }
        }
        Ok(())
    }

    fn told(&mut self, id: CacheId, output: treecache_core::sync::Output) -> Result<(), Violation> {
        use treecache_core::sync::Output;
        if self.trace.is_some() {
            let what = match &output {
                Output::Publish(version, _) => format!(
                    "publishes {} nodes at {}, {}",
                    version.tree.len(),
                    version.zxid,
                    if version.is_cut { "a cut" } else { "no cut" }
                ),
                Output::State(state) => format!("is {state:?}"),
                Output::Event(kind) => format!("tells {kind:?}"),
                Output::Fault(fault) => format!("has a fault: {:?} {}", fault.status, fault.message),
                Output::Failure(failure) => format!("fails with {failure:?}"),
                Output::Synced(ticket, answer) => format!("answers {ticket:?} with {answer:?}"),
                Output::Progress(progress) => {
                    format!("has asked for {} nodes in {} batches", progress.reads, progress.batches)
                }
            };
            trace!(self, "{id:?} {what}");
        }
        if let Output::Fault(fault) = &output
            && fault.status == Status::Reset
            && !self.began_elsewhere(id)
        {
            self.check_reset()?;
        }
        if let Output::Progress(progress) = &output {
            self.check_believed(progress.watch == Some(WatchMode::OneShot))?;
        }
        let era = self.contact().map_or(0, |contact| contact.era);
        let history = &self.ensemble.eras[era];
        let excused = match &output {
            Output::Publish(version, _) if self.plan.restricted && version.is_cut => {
                excused(&self.unnoticed, era, history.place(version.zxid))
            }
            _ => Excused::new(),
        };
        let (is_blind, is_behind) = (self.is_blind(), self.is_behind(id));
        let Some(cache) = self.caches.get_mut(&id) else {
            return Err(Check::Sound.violated(format!("{id:?} is closed and still tells something")));
        };
        if let Output::Synced(ticket, answer) = output {
            let calls = cache.take_calls(ticket)?;
            return if answer.is_ok() { self.check_synced(id, &calls) } else { Ok(()) };
        }
        let known = Known { era, history, excused: &excused, is_blind, is_behind };
        cache.told(output, self.now, &known, &mut self.tally)
    }

    /// The server that a connection to this host comes to.
    fn server_of(&mut self, host: &Host) -> usize {
        let count = self.servers.len();
        match self.plan.one_name {
            true => self.servers[0].rng.usize(..count),
            false => usize::from(host.port) - 1,
        }
    }

    /// A second connection, to ask what has changed.
    fn connect_side(&mut self, server: usize) -> Result<(), Violation> {
        self.tally.side_connections += 1;
        if std::mem::take(&mut self.left_blind) {
            self.lose_sight();
        }
        // The audit waits until it is known what has changed, or that nobody says.
        self.stay_blind((self.plan.connect_timeout_ms + self.plan.granted_timeout_ms) * 1000);
        let Some(report) = self.plan.report else {
            return Err(Check::Sound.violated("a second connection, which nobody has asked for".to_owned()));
        };
        Check::Sound.that(self.side.is_none(), || "a third connection".to_owned())?;
        // For each verification two that are refused, and those that the nodes take.
        let nodes = self.ensemble.era().newest().len() as u64;
        let most =
            40 + (200 + 2 * nodes) * (self.tally.connections + self.tally.synced + self.tally.versions);
        let count = self.tally.side_connections;
        Check::Bounded.that(count <= most, || format!("{count} connections to ask what has changed"))?;
        let id = self.connections.len();
        let seed = self.plan.seed ^ (id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut connection = Connection::new(server, self.ensemble.eras.len() - 1, Rng::with_seed(seed));
        connection.is_side = true;
        let is_troubled = self.healed_at.is_none();
        let is_refused = is_troubled && connection.rng.u8(..100) < report.refused;
        if is_troubled && connection.rng.u8(..100) < report.cut {
            connection.cut_at = Some(connection.rng.u64(1..400));
        }
        if is_troubled && connection.rng.u8(..100) < report.silent {
            connection.silent_until = self.now + connection.rng.u64(1..3_000_000);
        }
        let refuses = self.servers[server].is_refusing(self.now).or(is_refused.then_some(false));
        let at = connection.arrival(self.now, &self.plan);
        self.connections.push(connection);
        self.side = Some(id);
        trace!(self, "connects a second time, to server {server}");
        match refuses {
            Some(true) => {}
            refused => self.at(at, Event::Connected(id, refused.is_some())),
        }
        Ok(())
    }

    fn connect(&mut self, server: usize) -> Result<(), Violation> {
        self.tally.connections += 1;
        self.attempts += 1;
        // Full jitter of at most 2 s; the first attempts are quicker, once for each connection that was of use.
        let most = 200 + 40 * self.tally.sessions + self.now / 20_000;
        Check::Sound.that(self.attempts <= most, || {
            format!("{} attempts to connect in {} ms", self.attempts, self.now / 1000)
        })?;
        let id = self.connections.len();
        let seed = self.plan.seed ^ (id as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut connection = Connection::new(server, self.ensemble.eras.len() - 1, Rng::with_seed(seed));
        let refuses = self.servers[server].is_refusing(self.now);
        let at = connection.arrival(self.now, &self.plan);
        self.connections.push(connection);
        self.current = Some(id);
        trace!(self, "connects to server {server}");
        match refuses {
            Some(true) => {}
            Some(false) => self.at(at, Event::Connected(id, true)),
            None => self.at(at, Event::Connected(id, false)),
        }
        Ok(())
    }

    fn connected(&mut self, id: usize, refused: bool) {
        if self.side == Some(id) {
            if refused {
                return self.side_disconnected("refused");
            }
            self.connections[id].is_established = true;
            let now = self.instant();
            return self.engine.handle_side(SideInput::Connected, now);
        }
        if self.current != Some(id) {
            return;
        }
        if refused {
            trace!(self, "refused");
            return self.disconnected("refused");
        }
        self.connections[id].is_established = true;
        let now = self.instant();
        self.engine.handle_connected(now);
    }

    /// Bytes of the second connection reach the client.
    fn deliver_side(&mut self, id: usize, end: u64) -> Result<(), Violation> {
        let connection = &mut self.connections[id];
        let cut_at = connection.cut_at.filter(|cut_at| end >= *cut_at && *cut_at <= connection.end());
        let bytes = connection.take_until(cut_at.unwrap_or(end).min(connection.end()));
        _ = connection.take_marks();
        if !bytes.is_empty() {
            let now = self.instant();
            self.engine.handle_side(SideInput::Bytes(&bytes), now);
            self.pump()?;
        }
        if cut_at.is_some() && self.side == Some(id) {
            self.side_disconnected("cut");
        }
        Ok(())
    }

    /// Bytes reach the client.
    fn deliver(&mut self, id: usize, end: u64) -> Result<(), Violation> {
        if self.side == Some(id) {
            return self.deliver_side(id, end);
        }
        if self.current != Some(id) {
            return Ok(());
        }
        let connection = &mut self.connections[id];
        // What has waited for the client is through already.
        if connection.silent_until > self.now && end > connection.waited.0 {
            let until = connection.silent_until;
            self.at(until, Event::Down(id, end));
            return Ok(());
        }
        if end < connection.delivered {
            return Ok(());
        }
        let mut to = end;
        if self.plan.restricted {
            // Word by word: what a read has shown counts from its reply on, and not for what was told before.
            to = to.min(connection.next_mark());
        }
        if connection.rng.u8(..100) < self.plan.chopped && to - connection.delivered > 1 {
            to = connection.delivered + connection.rng.u64(1..to - connection.delivered);
        }
        let cut = connection.cut_at.is_some_and(|cut_at| to >= cut_at);
        if cut {
            to = connection.cut_at.unwrap_or(to).clamp(connection.delivered, to);
        }
        let bytes = connection.take_until(to);
        let marks = connection.take_marks();
        if to < end && !cut {
            let at = self.now + connection.rng.u64(..=self.plan.latency.0);
            self.at(at, Event::Down(id, end));
        }
        let (mut goes_back, mut shows_lost_watch) = (false, false);
        for mark in marks {
            shows_lost_watch |= self.has_shown_lost_watch(id, &mark);
            let looked_at = match self.unnoticed.is_empty() {
                true => Vec::new(),
                false => self.connections[id].looked_at(&mark),
            };
            let Mark { contact, header, batch, paths, .. } = mark;
            if self.lost_watch.is_some() {
                self.read_since_lost.extend(paths.iter().map(|path| (path.clone(), contact.place)));
            }
            if let Some(header) = header {
                goes_back |= header < std::mem::replace(&mut self.connections[id].named, header);
            }
            self.connections[id].contact = Some(contact);
            self.heard_of(contact);
            for change in &mut self.unnoticed {
                let shown_by = if change.of_parent { parent(&change.path) } else { &change.path };
                let shows = |(moment, path): &&(Moment, String)| {
                    path == shown_by && change.era == moment.era && change.since <= moment.place
                };
                if change.read.is_none() {
                    change.read = looked_at.iter().find(shows).map(|(moment, _)| moment.place);
                }
            }
            if batch {
                for cache in self.caches.values_mut() {
                    cache.batches += 1;
                }
            }
        }
        if !bytes.is_empty() {
            trace!(
                self,
                "{} bytes arrive, the client knows of {:?}",
                bytes.len(),
                self.connections[id].contact
            );
            let connection = &mut self.connections[id];
            let (waited, came) = connection.waited;
            connection.heard_at = if to <= waited { came } else { self.now };
            let now = self.instant();
            // The last piece of a frame may be a small one.
            let is_timed = self.has_long_paths && end > LONG;
            let began = if is_timed { processor_time() } else { Duration::ZERO };
            self.engine.handle_bytes(&bytes, now);
            if is_timed {
                self.check_time(processor_time() - began, end as usize)?;
            }
            self.pump()?;
        }
        if shows_lost_watch {
            (self.blind_until, self.left_blind) = (0, false);
        }
        Check::Honest.that(!goes_back || self.current != Some(id), || {
            "a server has gone back in time, and is followed all the same".to_owned()
        })?;
        if cut && self.current == Some(id) {
            trace!(self, "the connection is cut");
            self.disconnected("cut");
        }
        Ok(())
    }
}
