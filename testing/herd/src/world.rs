//! One run: engines as they are, many of them, servers, and time.

mod server;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use treecache_core::engine::{Engine, Output, SideInput};
use treecache_core::selection::Selection;
use treecache_core::session::{Action, Backoff, Hosts, Settings, TransportError};
use treecache_core::sync::{self, CacheId, Data, Input, Modes, Options, Pace, VerifyMode};
use treecache_core::{NodePath, State};
use treecache_test_protocol as protocol;

use self::server::{Server, Session};
use crate::capacity::Capacity;
use crate::load::Load;
use crate::measured::Tree;
use crate::truth::{ROOT, Truth};

/// One way through the network, in ns.
const LATENCY: u64 = 250_000;

/// What happens to a herd.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening {
    /// All clients start, evenly over this time.
    Start(Duration),
    /// One node is written.
    Write,
    /// All connections are lost at once, and the servers are back after a while. `moved`: the servers' zxid is another
    /// one then. So large a share of the clients has just been told of a change, and not read it.
    Outage { down: Duration, moved: bool, unclean: f64 },
    /// Nothing, for so long.
    Nothing(Duration),
}

#[derive(Debug, Clone)]
pub struct Scenario {
    pub happening: Happening,
    pub clients: usize,
    pub servers: usize,
    /// How many clients each of the simulated ones stands for.
    pub weight: u64,
    pub tree: Tree,
    /// Of a server, not shared by `weight` yet.
    pub capacity: Capacity,
    pub backoff: Backoff,
    pub pace: Pace,
    pub verify: VerifyMode,
    pub audit: Duration,
    pub session_timeout: Duration,
    /// After which time it is over, whether or not all are in step.
    pub bound: Duration,
    /// The resolution of what is recorded.
    pub step: Duration,
    pub seed: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub load: Load,
    /// When each client was in step for good, in s since it happened; those that were not are missing.
    pub in_step: Vec<f64>,
    pub clients: usize,
    pub tally: Tally,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// Connections that clients gave up or lost, once they had been let in. Those of the sessions that compare end by themselves.
    pub dropped: u64,
    /// Sessions that had expired when their clients came back.
    pub expired: u64,
    /// Connections that were accepted: each is a handshake, if there is TLS.
    pub accepted: u64,
    /// Transactions that make a session or end it.
    pub transactions: u64,
    /// Of all frames to the servers.
    pub bytes_to_servers: u64,
}

impl Outcome {
    /// When so large a share of the clients was in step; `None` where that did not come.
    pub fn when(&self, share: f64) -> Option<f64> {
        let nth = ((self.clients as f64 * share).ceil() as usize).max(1);
        self.in_step.get(nth - 1).copied()
    }
}

enum Event {
    Begin(usize),
    Timer(usize),
    /// An attempt to connect reaches the server, after so many that were dropped.
    Syn(usize, u32),
    /// The client sees its connection.
    Established(usize),
    /// A frame reaches the server.
    Arrive(usize, Vec<u8>),
    /// A server has done what it was about, in this of its lives.
    Done(usize, u64),
    Deliver(usize, Vec<u8>),
    /// The client sees that the server has closed.
    Hangup(usize),
    /// The server sees that the client has closed.
    Leave(usize),
    Happen,
    Up,
}

struct Client {
    engine: Option<Engine>,
    connection: Option<usize>,
    /// That of the session that asks what has changed.
    side: Option<usize>,
    /// The earliest timer that is set.
    timer: u64,
    /// Since when it is in step, if it is.
    in_step: Option<u64>,
}

struct Connection {
    client: usize,
    server: usize,
    /// It is the client's second one.
    is_side: bool,
    /// The client wants it.
    is_wanted: bool,
    /// The server has it.
    is_open: bool,
    accepted: u64,
    session: Option<usize>,
    is_watching: bool,
    /// Frames that the server has not taken in, and when they came.
    inbox: VecDeque<(Vec<u8>, u64)>,
    outstanding: usize,
}

struct World {
    scenario: Scenario,
    capacity: Capacity,
    base: Instant,
    now: u64,
    /// When it happened, or will.
    origin: u64,
    happened: bool,
    /// By when they happen, those of one moment in the order in which they were told.
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    rng: Rng,
    truth: Truth,
    servers: Vec<Server>,
    /// Until when the leader makes sessions.
    leader: u64,
    /// When the servers came up last.
    revived: u64,
    sessions: Vec<Session>,
    connections: Vec<Connection>,
    clients: Vec<Client>,
    in_step: usize,
    load: Load,
    tally: Tally,
}

pub fn run(scenario: &Scenario) -> Outcome {
    let mut world = World::new(scenario.clone());
    if !matches!(scenario.happening, Happening::Start(_)) {
        world.warm_up();
    }
    world.happen();
    world.run_until(nanos(scenario.bound) + world.origin);
    world.outcome()
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

impl World {
    fn new(scenario: Scenario) -> World {
        let clients = (0..scenario.clients)
            .map(|_| Client { engine: None, connection: None, side: None, timer: u64::MAX, in_step: None })
            .collect();
        World {
            capacity: scenario.capacity.shared_by(scenario.weight),
            base: Instant::now(),
            now: 0,
            origin: 0,
            happened: false,
            events: BTreeMap::new(),
            serial: 0,
            rng: Rng::with_seed(scenario.seed),
            truth: Truth::new(&scenario.tree),
            servers: (0..scenario.servers).map(|_| Server::default()).collect(),
            leader: 0,
            revived: 0,
            sessions: Vec::new(),
            connections: Vec::new(),
            clients,
            in_step: 0,
            load: Load::new(scenario.step, scenario.weight),
            tally: Tally::default(),
            scenario,
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.serial += 1;
        self.events.insert((at.max(self.now), self.serial), event);
    }

    /// Since it happened; 0 before.
    fn elapsed(&self) -> u64 {
        self.now.saturating_sub(self.origin)
    }

    fn instant(&self) -> Instant {
        self.base + Duration::from_nanos(self.now)
    }

    /// All clients come to be in step, on servers without bounds, and their pings do not come together.
    fn warm_up(&mut self) {
        let capacity = std::mem::replace(&mut self.capacity, Capacity::boundless());
        self.begin_over(self.scenario.session_timeout);
        self.run_until(u64::MAX);
        self.capacity = capacity;
        let ping = nanos(self.scenario.session_timeout / 3);
        self.origin = self.now + ping;
        self.at(self.origin, Event::Happen);
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if matches!(event, Event::Happen) {
                break;
            }
            self.handle(event);
        }
        self.load = Load::new(self.scenario.step, self.scenario.weight);
        self.tally = Tally::default();
    }

    fn begin_over(&mut self, time: Duration) {
        for client in 0..self.clients.len() {
            let at = nanos(time) * client as u64 / self.clients.len() as u64;
            self.at(self.now + at, Event::Begin(client));
        }
    }

    fn happen(&mut self) {
        self.happened = true;
        let is_new = !matches!(self.scenario.happening, Happening::Nothing(_));
        if is_new {
            self.clients.iter_mut().for_each(|client| client.in_step = None);
            self.in_step = 0;
        }
        match self.scenario.happening {
            Happening::Start(over) => self.begin_over(over),
            Happening::Write => self.write(),
            Happening::Outage { down, unclean, .. } => {
                let rumour = self.truth.rumour();
                for client in 0..(self.clients.len() as f64 * unclean).round() as usize {
                    self.with(client, |engine, now| engine.handle_bytes(&rumour, now));
                }
                self.go_down();
                self.at(self.now + nanos(down), Event::Up);
            }
            Happening::Nothing(_) => {}
        }
        self.load.in_step(0, self.in_step);
    }

    /// Until all are in step, or it is too late.
    fn run_until(&mut self, end: u64) {
        let waits = matches!(self.scenario.happening, Happening::Nothing(_)) && self.happened;
        while waits || self.in_step < self.clients.len() {
            let Some(((at, _), event)) = self.events.pop_first() else { return };
            if at > end {
                return;
            }
            self.now = at;
            self.handle(event);
        }
    }

    fn outcome(self) -> Outcome {
        let mut in_step: Vec<f64> = self
            .clients
            .iter()
            .filter_map(|client| client.in_step)
            .map(|at| at.saturating_sub(self.origin) as f64 / 1e9)
            .collect();
        in_step.sort_by(f64::total_cmp);
        Outcome { load: self.load, in_step, clients: self.clients.len(), tally: self.tally }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Begin(client) => self.begin(client),
            Event::Timer(client) => {
                if self.clients[client].timer == self.now {
                    self.clients[client].timer = u64::MAX;
                    self.with(client, |engine, now| engine.handle_timeout(now));
                }
            }
            Event::Syn(id, attempt) => self.syn(id, attempt),
            Event::Established(id) => {
                if self.connections[id].is_wanted {
                    self.connections[id].is_open = true;
                    self.tally.accepted += 1;
                    self.tell(id, SideInput::Connected);
                }
            }
            Event::Arrive(id, frame) => self.arrive(id, &frame),
            Event::Done(server, life) => self.done(server, life),
            Event::Deliver(id, bytes) => {
                if self.connections[id].is_wanted {
                    self.tell(id, SideInput::Bytes(&bytes));
                }
            }
            Event::Hangup(id) => {
                self.connections[id].is_open = false;
                if std::mem::take(&mut self.connections[id].is_wanted) {
                    *self.place_of(id) = None;
                    let reason = TransportError::Connection("closed by the server".to_owned());
                    self.tell(id, SideInput::Disconnected(reason));
                }
            }
            Event::Leave(id) => {
                let connection = &mut self.connections[id];
                let is_lost = connection.is_open && connection.session.is_some() && !connection.is_side;
                self.tally.dropped += u64::from(is_lost);
                connection.is_open = false;
                connection.inbox.clear();
            }
            Event::Happen => {}
            Event::Up => {
                let moved = matches!(self.scenario.happening, Happening::Outage { moved: true, .. });
                self.come_up(moved);
            }
        }
    }

    fn begin(&mut self, client: usize) {
        let hosts: Vec<String> = (1..=self.servers.len()).map(|port| format!("s:{port}")).collect();
        let settings = Settings {
            hosts: Hosts::parse(&hosts.join(",")).expect("hosts"),
            session_timeout: self.scenario.session_timeout,
            resolve_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(3),
            sasl: None,
            auth: Vec::new(),
            limit_frame: 128 << 20,
            backoff: self.scenario.backoff,
        };
        let options = Options {
            selection: Selection::default(),
            follow: true,
            single: false,
            create_root: false,
            container_parents: false,
            limit_nodes: 0,
            limit_bytes: 0,
            data: Data::All,
            limit_path: 4096,
            verify: self.scenario.verify,
            audit_interval: self.scenario.audit,
            pace: self.scenario.pace,
        };
        let mut engine = Engine::new(settings, Modes::default(), self.rng.fork(), self.instant());
        let root = NodePath::new(ROOT).expect("a path");
        engine.handle_input(CacheId(1), Input::Open(root, options), self.instant());
        self.clients[client].engine = Some(engine);
        self.with(client, |_, _| ());
    }

    /// Tells a client something, and does what it asks for then.
    fn with(&mut self, client: usize, tell: impl FnOnce(&mut Engine, Instant)) {
        let now = self.instant();
        // Taken out, as the world changes meanwhile.
        let Some(mut engine) = self.clients[client].engine.take() else { return };
        tell(&mut engine, now);
        while let Some(action) = engine.poll_action() {
            self.act(client, false, action);
        }
        while let Some(action) = engine.poll_side_action() {
            self.act(client, true, action);
        }
        self.say(self.clients[client].connection, engine.transmit());
        if let Some(said) = engine.side_transmit() {
            self.say(self.clients[client].side, said);
        }
        while let Some(output) = engine.poll_output() {
            if let Output::Cache(_, sync::Output::State(state)) = output {
                self.told(client, state);
            }
        }
        let timeout = engine.poll_timeout();
        self.clients[client].engine = Some(engine);
        if let Some(timeout) = timeout {
            let at = nanos(timeout.saturating_duration_since(self.base)).max(self.now);
            // A later one is set when this one comes.
            if at < self.clients[client].timer {
                self.clients[client].timer = at;
                self.at(at, Event::Timer(client));
            }
        }
    }

    /// What happens on a connection.
    fn tell(&mut self, id: usize, input: SideInput<'_>) {
        let Connection { client, is_side, .. } = self.connections[id];
        self.with(client, |engine, now| match input {
            input if is_side => engine.handle_side(input, now),
            SideInput::Connected => engine.handle_connected(now),
            SideInput::Disconnected(reason) => engine.handle_disconnected(reason, now),
            SideInput::Bytes(bytes) => engine.handle_bytes(bytes, now),
            SideInput::Leg(_) | SideInput::Token(_) => panic!("the herd has neither legs nor Kerberos"),
        });
    }

    fn act(&mut self, client: usize, is_side: bool, action: Action) {
        match action {
            Action::Connect(host) => self.dial(client, is_side, usize::from(host.port) - 1),
            Action::Disconnect => self.leave(client, is_side),
            Action::Token { .. } => panic!("the herd has no Kerberos"),
        }
    }

    fn say(&mut self, connection: Option<usize>, said: &mut Vec<u8>) {
        let mut said = std::mem::take(said);
        let Some(id) = connection else { return };
        self.tally.bytes_to_servers += said.len() as u64;
        while let Some(frame) = protocol::next_frame(&mut said) {
            self.at(self.now + LATENCY, Event::Arrive(id, frame));
        }
    }

    fn told(&mut self, client: usize, state: State) {
        let in_step = (state == State::InStep).then_some(self.now);
        let before = std::mem::replace(&mut self.clients[client].in_step, in_step);
        match (before, in_step) {
            (None, Some(_)) => self.in_step += 1,
            (Some(_), None) => self.in_step -= 1,
            _ => return,
        }
        self.load.in_step(self.elapsed(), self.in_step);
    }

    fn dial(&mut self, client: usize, is_side: bool, server: usize) {
        let id = self.connections.len();
        self.connections.push(Connection {
            client,
            server,
            is_side,
            is_wanted: true,
            is_open: false,
            accepted: 0,
            session: None,
            is_watching: false,
            inbox: VecDeque::new(),
            outstanding: 0,
        });
        *self.place_of(id) = Some(id);
        self.at(self.now + LATENCY, Event::Syn(id, 0));
    }

    fn leave(&mut self, client: usize, is_side: bool) {
        let Client { connection, side, .. } = &mut self.clients[client];
        if let Some(id) = if is_side { side } else { connection }.take() {
            self.connections[id].is_wanted = false;
            self.at(self.now + LATENCY, Event::Leave(id));
        }
    }

    /// Where a client keeps a connection of this kind.
    fn place_of(&mut self, id: usize) -> &mut Option<usize> {
        let Connection { client, is_side, .. } = self.connections[id];
        let Client { connection, side, .. } = &mut self.clients[client];
        if is_side { side } else { connection }
    }
}
