//! Frames and what is none, for a session.

use std::time::{Duration, Instant};

use treecache_core::path::NodePath;
use treecache_core::session::{
    Action, Auth, Backoff, DigestMd5, Event, Hosts, Leg, Sasl, Secret, Session, Settings, Token,
    TransportError, Xid,
};
use treecache_core::wire::Request;

use crate::input::Input;
use crate::liar;

/// The longest a frame may be, so that the limit is met.
const LIMIT_FRAME: usize = 4096;

struct Stage {
    session: Session<()>,
    now: Instant,
    /// What the session wants of the socket: nothing, an attempt, or a connection that is there.
    socket: Socket,
    /// A token was asked for, and not given yet.
    wants_token: bool,
    is_ready: bool,
    /// Between `Paused` and `Heard`, or the end of the connection.
    is_paused: bool,
    /// Between `Suspended` and `Connected`, and whether `Lost` was told.
    is_lost: Option<bool>,
    is_closed: bool,
    asked: std::collections::VecDeque<Xid>,
    requested: usize,
    fed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Socket {
    None,
    Connecting,
    Connected,
}

/// A scene for a session; then the client closes it, which must come to an end.
pub fn session(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let now = Instant::now();
    let settings = settings(&mut input);
    let mut stage = Stage {
        session: Session::new(settings, fastrand::Rng::with_seed(1), now),
        now,
        socket: Socket::None,
        wants_token: false,
        is_ready: false,
        is_paused: false,
        is_lost: None,
        is_closed: false,
        asked: Default::default(),
        requested: 0,
        fed: 0,
    };
    stage.pump(0);
    while !input.is_empty() {
        stage.act(&mut input);
    }
    stage.session.handle_close(stage.now);
    stage.pump(0);
    stage.advance(Duration::from_secs(1));
    assert!(stage.is_closed && stage.session.poll_timeout().is_none(), "a close has no end");
    stage.fed
}

/// One or three servers, with or without credentials, with a password or Kerberos.
pub fn settings(input: &mut Input<'_>) -> Settings {
    let flags = input.byte();
    let auth = Auth { scheme: "digest".to_owned(), credential: Secret::new("user:password") };
    let (username, password) = ("user".to_owned(), Secret::new("password"));
    let sasl = match flags & 8 > 0 {
        true => Sasl::Gssapi { principal: Some(username) },
        false => Sasl::DigestMd5(DigestMd5 { username, password, nonce: || Some([7; 16]) }),
    };
    Settings {
        hosts: Hosts::parse(if flags & 1 > 0 { "a,b,c/c" } else { "a" }).expect("valid hosts"),
        session_timeout: Duration::from_secs(10),
        resolve_timeout: Duration::from_secs(15),
        connect_timeout: Duration::from_secs(3),
        sasl: (flags & 4 > 0).then_some(sasl),
        auth: if flags & 2 > 0 { vec![auth] } else { Vec::new() },
        limit_frame: LIMIT_FRAME,
        backoff: Backoff::default(),
    }
}

/// Why a connection ended.
pub fn gone() -> TransportError {
    TransportError::Connection("gone".to_owned())
}

/// The answer to a connect request, mostly one that is good.
pub fn welcome(input: &mut Input<'_>) -> Vec<u8> {
    let timeout = match input.byte() {
        ..=220 => 6000,
        _ => input.int(),
    };
    let (session_id, password) = (input.number(), input.choose(&[16u8, 16, 16, 0, 200]));
    let head = [&[0; 4][..], &timeout.to_be_bytes(), &session_id.to_be_bytes()].concat();
    [&head[..], &i32::from(password).to_be_bytes(), &vec![1; password.into()], &[0]].concat()
}

/// The body, behind its length; which may be wrong.
pub fn frame(body: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let len = match input.byte() {
        ..=248 => body.len() as i32,
        249..=251 => body.len() as i32 + 1,
        _ => input.int(),
    };
    [&len.to_be_bytes()[..], body].concat()
}

pub fn header(xid: i32, zxid: i64, error: i32) -> Vec<u8> {
    [&xid.to_be_bytes()[..], &zxid.to_be_bytes(), &error.to_be_bytes()].concat()
}

impl Stage {
    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            ..=20 => {
                if self.socket == Socket::Connecting {
                    self.socket = Socket::Connected;
                    self.session.handle_connected();
                }
            }
            21..=80 => {
                let body = match input.byte() {
                    ..=90 => welcome(input),
                    91..=150 => {
                        let next = self.asked.front().copied().unwrap_or(0);
                        let xid = if input.byte() > 30 { next } else { input.int() };
                        header(xid, input.number(), input.choose(&[0, 0, 0, -101, -4]))
                    }
                    151..=200 => [header(-1, -1, 0), liar::notification(input)].concat(),
                    201..=230 => {
                        header(input.choose(&[-2, -4, -1]), input.number(), input.choose(&[0, -115]))
                    }
                    _ => input.bytes(64).to_vec(),
                };
                let bytes = frame(&body, input);
                self.say(&bytes);
            }
            81..=100 => {
                let len = input.below(256);
                let bytes = input.bytes(len).to_vec();
                self.say(&bytes);
            }
            101..=150 => {
                if let Some(xid) = self.session.request(&Request::Exists(NodePath::root()), (), self.now) {
                    assert!(self.is_ready, "a request is taken without a connection");
                    self.asked.push_back(xid);
                    self.requested += 1;
                }
            }
            151..=180 => self.advance(Duration::from_millis(input.below(256) as u64 * 10)),
            181..=200 => {
                if self.socket != Socket::None {
                    (self.socket, self.wants_token) = (Socket::None, false);
                    self.session.handle_disconnected(gone(), self.now);
                }
            }
            201..=203 => self.session.handle_close(self.now),
            204..=208 => {
                self.now += Duration::from_millis(input.below(256) as u64 * 10);
                self.session.handle_pause(self.now);
                // Its ping.
                self.requested += 1;
            }
            209..=212 => {
                let leg = input.choose(&[Leg::Resolving, Leg::Connecting, Leg::Securing]);
                self.session.handle_leg(leg, self.now);
            }
            213..=220 => {
                let bytes = input.bytes(8).to_vec();
                let token = match input.byte() {
                    ..=220 => Ok(Token { is_last: !bytes.len().is_multiple_of(2), bytes }),
                    _ => Err("no ticket".to_owned()),
                };
                if std::mem::take(&mut self.wants_token) {
                    self.session.handle_token(token, self.now);
                }
            }
            _ => {
                if let Some(at) = self.session.poll_timeout() {
                    self.advance(at.saturating_duration_since(self.now));
                }
            }
        }
        self.pump(0);
    }

    fn say(&mut self, bytes: &[u8]) {
        if self.socket == Socket::Connected {
            self.fed += bytes.len();
            self.session.handle_bytes(bytes, self.now);
            self.pump(bytes.len());
        }
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.pump(0);
            assert!(
                self.session.poll_timeout().is_none_or(|at| at > self.now),
                "it would be called for ever"
            );
            steps += 1;
            // A server may ask to be pinged each 10 ms; an attempt and the pause behind it may be short by chance.
            assert!(steps <= 4 + time.as_millis() / 5, "{steps} steps in {time:?}");
        }
        self.now = end;
    }

    fn pump(&mut self, fed: usize) {
        let mut actions = 0;
        while let Some(action) = self.session.poll_action() {
            assert!(!self.is_closed || action == Action::Disconnect, "{action:?} behind the end");
            (self.socket, self.wants_token) = match action {
                Action::Connect(_) => (Socket::Connecting, false),
                Action::Disconnect => (Socket::None, false),
                Action::Token { .. } => {
                    assert!(
                        self.socket == Socket::Connected && !self.wants_token,
                        "a token, when none is due"
                    );
                    (self.socket, true)
                }
            };
            actions += 1;
        }
        assert!(actions <= 2, "{actions} actions at once");
        let mut events = 0;
        while let Some(event) = self.session.poll_event() {
            events += 1;
            self.check(event);
        }
        // A reply has 20 bytes at least; an end of a connection has up to three words.
        assert!(events <= 4 + fed / 20, "{events} events of {fed} bytes");
        let unsent = self.session.transmit().len();
        assert!(unsent <= 1024 + 32 * self.requested + 12 * self.fed, "{unsent} bytes to be sent");
    }

    fn check(&mut self, event: Event<()>) {
        assert!(!self.is_closed, "{event:?} behind the end");
        match event {
            Event::Connected { .. } => {
                assert!(!self.is_ready, "connected twice");
                (self.is_ready, self.is_lost) = (true, None);
                self.asked.clear();
            }
            Event::Suspended { last_zxid } => {
                let is_transaction = last_zxid.is_none_or(|zxid| zxid.is_transaction());
                assert!(self.is_ready && is_transaction, "suspended at {last_zxid:?}");
                (self.is_ready, self.is_paused, self.is_lost) = (false, false, Some(false));
                self.asked.clear();
            }
            Event::Paused => {
                assert!(self.is_ready && !self.is_paused, "a pause out of turn");
                self.is_paused = true;
            }
            Event::Heard => {
                assert!(self.is_ready && self.is_paused, "heard out of turn");
                self.is_paused = false;
            }
            Event::Lost => assert_eq!(self.is_lost.replace(true), Some(false), "lost out of turn"),
            Event::Reset => assert!(!self.is_ready, "a reset amid a connection"),
            Event::Reply(reply) => {
                assert!(self.is_ready, "a reply without a connection");
                assert_eq!(self.asked.pop_front(), Some(reply.xid));
            }
            Event::Notification(_) => assert!(self.is_ready, "a notification without a connection"),
            Event::Fault(_) => {}
            Event::Closed => self.is_closed = true,
        }
    }
}
