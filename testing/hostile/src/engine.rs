//! Lies in frames, and broken frames, for a session and its caches together.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use treecache_core::engine::{Engine, Output};
use treecache_core::selection::Selection;
use treecache_core::session::{Action, Token};
use treecache_core::sync::{self, CacheId, Data, Modes, Options, Pace, VerifyMode};
use treecache_test_protocol as protocol;

use crate::input::Input;
use crate::liar::{self, Asked, Liar};
use crate::rules::Caches;
use crate::session::{frame, gone, header, settings, welcome};

const MOST_CACHES: usize = 4;

struct Stage {
    engine: Engine,
    now: Instant,
    connection: Connection,
    liar: Liar,
    caches: Caches,
    last_id: u64,
    attempts: usize,
    is_closed: bool,
    fed: usize,
}

enum Connection {
    None,
    Connecting,
    /// What the client has said that was not looked at yet; what it waits for an answer to.
    Connected {
        said: Vec<u8>,
        is_welcome: bool,
        asked: VecDeque<(i32, Asked)>,
    },
}

/// A scene of lies; then no server can be reached, which must not keep the client busy, and it is closed.
pub fn engine(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let now = Instant::now();
    let mut stage = Stage {
        engine: Engine::new(settings(&mut input), Modes::default(), fastrand::Rng::with_seed(1), now),
        now,
        connection: Connection::None,
        liar: Liar::default(),
        caches: Caches::default(),
        last_id: 0,
        attempts: 0,
        is_closed: false,
        fed: 0,
    };
    stage.pump();
    stage.open(&mut input);
    stage.pump();
    while !input.is_empty() {
        stage.act(&mut input);
        stage.pump();
    }
    stage.hang_up();
    stage.advance(Duration::from_secs(20));
    stage.attempts = 0;
    for _ in 0..100 {
        stage.advance(Duration::from_millis(100));
        if let Connection::Connecting = stage.connection {
            stage.hang_up();
        }
    }
    // The longest pause is one of 2 s, half of that on average.
    assert!(stage.attempts <= 24, "{} attempts within ten seconds", stage.attempts);
    stage.engine.shut_down(stage.now);
    stage.pump();
    stage.advance(Duration::from_secs(1));
    assert!(stage.is_closed && stage.engine.poll_timeout().is_none(), "a close has no end");
    assert!(stage.caches.are_answered(), "a call of sync waits for ever");
    stage.fed
}

impl Stage {
    fn act(&mut self, input: &mut Input<'_>) {
        match (input.byte(), &self.connection) {
            (248..=250, _) => self.hang_up(),
            (240..=247, _) => self.advance(Duration::from_millis(input.below(256) as u64 * 10)),
            (236..=239, _) => self.open(input),
            (251..=252, _) => {
                self.now += Duration::from_millis(input.below(256) as u64 * 10);
                self.engine.handle_pause(self.now);
            }
            (230..=232, _) => {
                let ids = self.caches.ids();
                if !ids.is_empty() {
                    let id = input.choose(&ids);
                    self.engine.handle_input(id, sync::Input::Sync(self.caches.call(id)), self.now);
                }
            }
            (233..=235, _) => {
                let ids = self.caches.ids();
                if !ids.is_empty() {
                    let id = input.choose(&ids);
                    self.caches.close(id);
                    self.engine.handle_input(id, sync::Input::Close, self.now);
                }
            }
            (_, Connection::None) => {
                if let Some(at) = self.engine.poll_timeout() {
                    self.advance(at.saturating_duration_since(self.now));
                }
            }
            (_, Connection::Connecting) => {
                self.connection =
                    Connection::Connected { said: Vec::new(), is_welcome: false, asked: VecDeque::new() };
                self.engine.handle_connected(self.now);
            }
            (220..=229, _) => {
                let len = input.below(64);
                let bytes = input.bytes(len).to_vec();
                self.say(&bytes);
            }
            (action, Connection::Connected { .. }) => self.answer(action, input),
        }
    }

    fn answer(&mut self, action: u8, input: &mut Input<'_>) {
        let Connection::Connected { said, is_welcome, asked } = &mut self.connection else { return };
        listen(said, *is_welcome, asked);
        let body = match action {
            _ if !*is_welcome => {
                *is_welcome = true;
                said.clear();
                welcome(input)
            }
            ..=80 => [header(-1, -1, 0), liar::notification(input)].concat(),
            81..=90 => header(input.choose(&[-2, -4, -1]), input.number(), input.choose(&[0, 0, -115])),
            _ => {
                let (xid, asked) = asked.pop_front().unwrap_or((input.int(), Asked::Nothing));
                let answer = self.liar.answer(&asked, input);
                let zxid = if input.byte() > 250 { input.number() } else { answer.zxid };
                [header(xid, zxid, answer.error), answer.body].concat()
            }
        };
        let bytes = frame(&body, input);
        self.say(&bytes);
    }

    fn say(&mut self, bytes: &[u8]) {
        if let Connection::Connected { .. } = self.connection {
            self.fed += bytes.len();
            self.engine.handle_bytes(bytes, self.now);
        }
    }

    fn open(&mut self, input: &mut Input<'_>) {
        if self.caches.len() < MOST_CACHES {
            self.last_id += 1;
            let flags = input.byte();
            let options = Options {
                selection: Selection::default(),
                follow: true,
                single: false,
                create_root: flags & 1 > 0,
                container_parents: false,
                limit_nodes: if flags & 6 == 6 { 20 } else { 0 },
                limit_bytes: 0,
                data: Data::All,
                limit_path: 300,
                verify: if flags & 32 > 0 { VerifyMode::Report } else { VerifyMode::Read },
                audit_interval: if flags & 8 > 0 { Duration::from_secs(60) } else { Duration::ZERO },
                pace: Pace { unproven: if flags & 16 > 0 { 2 } else { 120 }, ..Pace::default() },
            };
            self.caches.open(CacheId(self.last_id), options.clone());
            let open = sync::Input::Open(liar::root(input), options);
            self.engine.handle_input(CacheId(self.last_id), open, self.now);
        }
    }

    fn hang_up(&mut self) {
        if !matches!(self.connection, Connection::None) {
            self.connection = Connection::None;
            self.engine.handle_disconnected(gone(), self.now);
            self.pump();
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.pump();
            assert!(self.engine.poll_timeout().is_none_or(|at| at > self.now), "it would be called for ever");
            steps += 1;
            assert!(steps <= 10 + 8 * self.caches.len() + time.as_millis() as usize / 5, "{steps} steps");
        }
        self.now = end;
    }

    fn pump(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            self.connection = match action {
                Action::Connect(_) => {
                    self.attempts += 1;
                    Connection::Connecting
                }
                Action::Disconnect => Connection::None,
                Action::Token { challenge, .. } => {
                    let token = Token { bytes: vec![1], is_last: challenge.is_some() };
                    self.engine.handle_token(Ok(token), self.now);
                    continue;
                }
            };
        }
        let unsent = std::mem::take(self.engine.transmit());
        if let Connection::Connected { said, .. } = &mut self.connection {
            said.extend(unsent);
        }
        let mut outputs = 0;
        while let Some(output) = self.engine.poll_output() {
            outputs += 1;
            assert!(!self.is_closed, "an output behind the end");
            match output {
                Output::Cache(id, output) => self.caches.check(id, output),
                Output::Fault(fault) => {
                    if fault.status == treecache_core::Status::Reset {
                        self.caches.reset();
                    }
                }
                Output::Connected { .. } | Output::Disconnected => {}
                Output::Closed => self.is_closed = true,
            }
        }
        assert!(outputs <= 16 + 64 * self.caches.len(), "{outputs} outputs at once");
    }
}

/// Takes the requests out of what the client has said behind its first words.
fn listen(said: &mut Vec<u8>, is_welcome: bool, asked: &mut VecDeque<(i32, Asked)>) {
    while let Some(frame) = protocol::next_frame(said).filter(|_| is_welcome) {
        let request = protocol::request(&frame).expect("a request that servers know");
        if request.xid > 0 {
            asked.push_back((request.xid, Asked::from(&request.operation)));
        }
    }
    said.clear();
}
