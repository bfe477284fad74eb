//! One ZooKeeper session, without I/O: connecting, negotiating, pinging, matching replies to requests, noticing
//! silence, and coming back.
//!
//! [`Session`] is a state machine. The caller owns sockets and time. It tells what happened through the `handle_*`
//! methods, and after each of them takes what is to be done from the `poll_*` methods and [`Session::transmit`]
//! until nothing is left. It knows wire formats and servers; it does not know what requests are for.

mod attempts;
mod digest_md5;
mod hosts;
mod pings;
mod sasl;
mod secret;
mod servers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use zeroize::{Zeroize, Zeroizing};

pub use digest_md5::DigestMd5;
pub use hosts::{DEFAULT_PORT, Host, Hosts, InvalidHosts};
pub use sasl::{Sasl, SaslError, Token};
pub use secret::Secret;
pub use servers::Backoff;

use self::attempts::Attempts;
use self::pings::{Answer, Pings};
use self::sasl::{Exchange, Next};
use self::servers::Servers;
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::wire::{
    self, ConnectRequest, ConnectResponse, FrameDecoder, FrameTooLong, Malformed, Notification, ReplyHeader,
    Request, ServerError,
};

/// After how many rounds of refusals the client stops insisting on the zxid it has seen, and asks whether the
/// ensemble has lost it.
const REFUSED_ROUNDS: usize = 5;

/// A server that negotiates less is not pinged any faster.
const MIN_TIMEOUT: Duration = Duration::from_millis(30);

/// A server may grant this many times the timeout that was asked for, as it has a `minSessionTimeout`; or the time
/// below, if that is more: five times the default `minSessionTimeout`, which is two ticks of 2 s. With a longer
/// timeout, a silent server would go unnoticed.
const MOST_GRANTED: u32 = 4;
const GRANTED_IN_ANY_CASE: Duration = Duration::from_secs(20);

/// If a connection lasted this long, it was of use, and the backoff begins anew. If it ended earlier, the backoff goes
/// on, or the client would connect at once and for ever.
const OF_USE_AFTER: Duration = Duration::from_secs(1);

/// If a server that is to catch up does not answer for this long, the session pings it, and again after twice as long
/// each time: some servers do not come to a commit before they get another request (ZOOKEEPER-4537).
const NUDGE_AFTER: Duration = Duration::from_millis(50);

/// For all that is sent at first: credentials, a watch and the first reads.
const ROOM: usize = 16 << 10;

/// A longer pause does not go unnoticed, whatever the session's timeout is.
const LONGEST_UNNOTICED_PAUSE: Duration = Duration::from_secs(2);

/// How long a clean close waits for the server's word.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Credentials that are replayed on every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// ZooKeeper's name of the scheme, such as `digest`.
    pub scheme: String,
    /// What the scheme takes, sent as it is; `user:password` for `digest`.
    pub credential: Secret,
}

/// What a session is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The servers to be tried, and the chroot that the paths of requests are relative to.
    pub hosts: Hosts,
    /// The timeout that is asked for. A server may grant another. If it grants more than four times as much and more
    /// than 20 s, the larger of these two counts.
    pub session_timeout: Duration,
    /// For one look-up of a server's name.
    pub resolve_timeout: Duration,
    /// For one connection attempt, from the first packet to the server's answer, SASL included. It grows while
    /// attempts fail by it.
    pub connect_timeout: Duration,
    /// Comes before all of `auth`.
    pub sasl: Option<Sasl>,
    /// Sent on every connection, in this order, before any request.
    pub auth: Vec<Auth>,
    /// The longest frame that is taken.
    pub limit_frame: usize,
    /// How far attempts to connect again are spread.
    pub backoff: Backoff,
}

/// What the caller is to do with its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Connect; answer with `handle_connected` or `handle_disconnected`, and say on the way what takes time, with
    /// `handle_leg`.
    Connect(Host),
    /// Close the socket, or stop connecting; no answer. No token is wanted any more either.
    Disconnect,
    /// Make a token for SASL, and answer with `handle_token`. Comes only with [`Sasl::Gssapi`].
    Token {
        /// The server of the connection.
        host: Host,
        /// What the server has answered to the token before; `None` asks for the first one of a new exchange.
        challenge: Option<Vec<u8>>,
    },
}

/// How far the caller is on the way to a connection. If it says nothing, it has an address and connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// The host's name is being looked up.
    Resolving,
    /// There is an address: from here on the bound of the attempt counts.
    Connecting,
    /// TCP is there, and TLS is being agreed on.
    Securing,
}

/// Names a request on the wire, until its reply.
pub type Xid = i32;

/// What the server answers to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<T> {
    /// What [`Session::request`] was given with the request.
    pub tag: T,
    /// What it named the request.
    pub xid: Xid,
    /// From the header: the newest transaction that the server had applied. Not positive if the server does not say.
    pub zxid: Zxid,
    /// From the header. If an operation of a `multi` failed, the header has no error.
    pub error: ServerError,
    /// The frame, header included.
    frame: Vec<u8>,
}

impl<T> Reply<T> {
    /// What follows the header. If the header has an error, this is empty as a rule.
    pub fn body(&self) -> &[u8] {
        &self.frame[ReplyHeader::LEN..]
    }
}

/// What happened, in the order of the connection's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<T> {
    /// Requests are taken from now on. Watches of an earlier connection are gone. `resumed`: the session is the one
    /// that there was before.
    Connected {
        /// Also false if the session asked the ensemble whether it has lost what was seen: the question is a
        /// transaction, which may hide the loss.
        resumed: bool,
    },
    /// The connection is gone, and with it the requests that had no reply yet. `last_zxid` is the transaction that the
    /// server named last: every notification up to it has been handed out. `None` if what the server named is no
    /// transaction, or if it broke the protocol: then nobody knows up to where it was heard.
    Suspended {
        /// The newest transaction that was seen on any connection, if this server has named it last.
        last_zxid: Option<Zxid>,
    },
    /// The session is gone: the server said so, or it was disconnected for longer than the timeout.
    Lost,
    /// The ensemble has lost what this client has seen of it. Comes before `Connected`.
    Reset,
    /// The reply to the oldest request that had none.
    Reply(Reply<T>),
    /// About a path from the server's root.
    Notification(Notification),
    /// The caller did not run for a while. What comes from now on may have waited, so it is no news.
    Paused,
    /// The server has answered something that was asked after the pause: what follows is news again.
    Heard,
    /// A fault. The session recovers from it by itself, if that is possible at all.
    Fault(SessionError),
    /// After [`Session::handle_close`]: the end.
    Closed,
}

/// Why the transport is gone, or could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// It could not be made, or it broke; says why. Also where the server did not answer in time.
    #[error("{0}")]
    Connection(String),
    /// The server ended it: the stream is over, or was reset.
    #[error("the server closed the connection")]
    Closed,
    /// There is no trust between the two ends, or no common language for it.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no connection, or none any more.
    #[error("{host}: {reason}")]
    Connection {
        /// `host:port`, as it was named.
        host: String,
        /// Why.
        reason: TransportError,
    },
    /// The server sent what ZooKeeper's protocol does not allow.
    #[error("{host} broke the protocol: {malformed}")]
    Protocol {
        /// `host:port`, as it was named.
        host: String,
        /// The record that is malformed, or what is wrong with it.
        malformed: Malformed,
    },
    /// A reply or notification is longer than what is taken, or its length is negative.
    #[error("{host} sent a frame of {len} bytes; limit.frame.bytes={limit}")]
    FrameTooLong {
        /// `host:port`, as it was named.
        host: String,
        /// In bytes, as its prefix claims.
        len: i32,
        /// [`Settings::limit_frame`].
        limit: usize,
    },
    /// The server did not take one of [`Settings::auth`].
    #[error("{host} rejected the credentials: {error}")]
    AuthFailed {
        /// `host:port`, as it was named.
        host: String,
        /// What it answered: as a rule `AUTHFAILED` (-115).
        error: ServerError,
    },
    /// The two ends did not come to trust each other by SASL.
    #[error("{host}: SASL {identity} failed: {reason}")]
    Sasl {
        /// `host:port`, as it was named.
        host: String,
        /// [`Settings::sasl`], in words.
        identity: String,
        /// On which side, and why.
        reason: SaslFailure,
    },
    /// The server cannot do what caches need. Another one of the ensemble may.
    #[error("{host} has no persistent recursive watches ({error}): ZooKeeper 3.6 or later is needed")]
    NoWatches {
        /// `host:port`, as it was named.
        host: String,
        /// What it answered to `addWatch`: `UNIMPLEMENTED` (-6) or `MARSHALLINGERROR` (-5).
        error: ServerError,
    },
    /// The recursive watches of the server cannot be believed. Another one of the ensemble may do better.
    #[error(
        "{host} has recursive watches that name what is watched, and not what has changed, as ClickHouse Keeper has: \
         watch=auto serves there"
    )]
    Misnaming {
        /// `host:port`, as it was named.
        host: String,
    },
    /// The ensemble was asked for its newest transaction, and named one that is older than what was seen.
    #[error("the ensemble has gone back from zxid {seen} to {now}")]
    Reset {
        /// The newest transaction that was seen.
        seen: Zxid,
        /// The ensemble's newest one.
        now: Zxid,
    },
    /// What was read cannot have followed from what was seen before.
    #[error("{host}: the ensemble has another history than the one that was seen: {evidence}")]
    OtherHistory {
        /// `host:port`, as it was named.
        host: String,
        /// What shows that, in words.
        evidence: String,
    },
}

/// Why SASL failed: what the server said, or what is wrong with that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaslFailure {
    /// A step was answered with this code: as a rule `AUTHFAILED` (-115).
    #[error("the server rejected it: {0}")]
    Rejected(ServerError),
    /// The same for a step with a token of the caller's. A server never says why.
    #[error(
        "the server rejected the ticket: {0} (it may have another key than the KDC, a clock that is minutes off, or \
         no Kerberos login; its log says more)"
    )]
    TicketRejected(ServerError),
    /// The caller could make no token; says why.
    #[error("{0}")]
    NoToken(String),
    /// The server went on, but what it sent cannot be answered, or does not prove that the server is one of ours.
    #[error(transparent)]
    NotUnderstood(#[from] SaslError),
}

enum Phase {
    /// Before the next attempt.
    Waiting {
        until: Instant,
    },
    /// On the way to a connection.
    Connecting {
        deadline: Instant,
        step: Step,
        /// There was a pause since the server was asked something: what it answers may have waited.
        paused: bool,
    },
    Connected {
        since: Instant,
        last_received: Instant,
        last_sent: Instant,
        readiness: Readiness,
    },
    Closing {
        deadline: Instant,
    },
    Closed,
}

/// What an attempt waits for.
enum Step {
    /// The caller connects, and is that far.
    Transport(Leg),
    /// The server answers the connect request.
    Answer,
    /// SASL: the server answers what was sent with this xid; `None` while the caller makes a token.
    Sasl { xid: Option<Xid>, grant: Grant, exchange: Exchange },
}

/// What a server says about the session. It counts once the server is known to be one of ours: with SASL, once the
/// server has proven that it knows the password.
#[derive(Clone)]
struct Grant {
    session_id: i64,
    password: Zeroizing<Vec<u8>>,
    timeout: Duration,
}

/// Whether requests are taken on this connection.
#[derive(PartialEq, Eq)]
enum Readiness {
    Ready,
    /// Waits for a barrier, to learn whether an ensemble that refused our zxid has lost it.
    Probing,
}

/// A request that makes a server catch up, until its reply.
struct CatchingUp {
    xid: Xid,
    /// When the server is pinged next, and how long after that it is pinged again.
    ping_at: Instant,
    then_after: Duration,
}

/// What a session has that the server does not know yet.
fn no_password() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; 16])
}

/// One ZooKeeper session (once it is lost, the next one), and its connection or the search for one. Each request
/// carries a `T`. It comes back with the reply, or is dropped when the connection is gone.
pub struct Session<T> {
    settings: Settings,
    servers: Servers,
    attempts: Attempts,
    phase: Phase,
    /// Of the connection or attempt under way.
    host: Host,
    /// 0: none.
    session_id: i64,
    /// The server went on with the session that it was asked for.
    is_resumed: bool,
    password: Zeroizing<Vec<u8>>,
    /// As negotiated with a server that is known to be one of ours; as asked for, before.
    timeout: Duration,
    /// The newest transaction that a server has named.
    last_zxid: Zxid,
    /// What the server of this connection has named last, be it a transaction or not.
    named: Zxid,
    catching_up: Option<CatchingUp>,
    /// At how many attempts a server closed the connection without a word, since the session last took requests.
    refusals: usize,
    /// Since when there is no connection, if there was one; and whether the session was reported lost since.
    suspended: Option<(Instant, bool)>,
    next_xid: Xid,
    /// The requests without a reply, with the caller's tags. `None`: the session's own, while it is `Probing`.
    pending: VecDeque<(Xid, Option<T>)>,
    pings: Pings,
    frames: FrameDecoder,
    transmit: Zeroizing<Vec<u8>>,
    /// Credentials went through `transmit`, and are still in its memory.
    exposed: bool,
    actions: VecDeque<Action>,
    events: VecDeque<Event<T>>,
}

impl CatchingUp {
    /// The server is pinged now, however late that is.
    fn again(&mut self, now: Instant) {
        self.ping_at = now + self.then_after;
        self.then_after *= 2;
    }
}

impl<T> Session<T> {
    /// Begins with the first attempt at a connection. `rng` decides on the order of the servers, and on delays.
    pub fn new(settings: Settings, rng: fastrand::Rng, now: Instant) -> Session<T> {
        Session::behind(Zxid(0), settings, rng, now)
    }

    /// The same, where this transaction was seen already: a server that has not come to it is not accepted.
    pub fn behind(last_zxid: Zxid, settings: Settings, rng: fastrand::Rng, now: Instant) -> Session<T> {
        let mut session = Session {
            servers: Servers::new(settings.hosts.servers.clone(), settings.backoff, rng),
            attempts: Attempts::new(&settings),
            phase: Phase::Closed,
            host: settings.hosts.servers[0].clone(),
            session_id: 0,
            is_resumed: false,
            password: no_password(),
            timeout: settings.session_timeout,
            last_zxid,
            named: Zxid(0),
            catching_up: None,
            refusals: 0,
            suspended: None,
            next_xid: 1,
            pending: VecDeque::new(),
            pings: Pings::default(),
            frames: FrameDecoder::default(),
            transmit: Zeroizing::default(),
            exposed: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            settings,
        };
        session.connect(now);
        session
    }

    /// What is to be done with the socket.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Bytes to be sent; the caller drains what it has sent.
    pub fn transmit(&mut self) -> &mut Vec<u8> {
        if self.exposed && self.transmit.is_empty() {
            self.transmit.zeroize();
            self.exposed = false;
        }
        &mut self.transmit
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lost_at = match self.suspended {
            Some((since, false)) => Some(since + self.timeout),
            _ => None,
        };
        let own = match &self.phase {
            Phase::Waiting { until } => *until,
            Phase::Connecting { deadline, .. } | Phase::Closing { deadline } => *deadline,
            Phase::Connected { last_received, last_sent, .. } => {
                let own = (*last_received + self.silence()).min(*last_sent + self.ping_interval());
                self.catching_up.as_ref().map_or(own, |waits| waits.ping_at.min(own))
            }
            Phase::Closed => return None,
        };
        Some(lost_at.map_or(own, |lost_at| lost_at.min(own)))
    }

    /// How long a server may be silent: less than the timeout, so that another server can be found in time.
    fn silence(&self) -> Duration {
        if planted::is(Defect::SilenceUnnoticed) { self.timeout * 1000 } else { self.timeout * 2 / 3 }
    }

    fn ping_interval(&self) -> Duration {
        self.timeout / 3
    }

    /// Whether requests are taken: between `Connected` and `Suspended`, and not behind a close.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Connected { readiness: Readiness::Ready, .. })
    }

    /// Whether the server of the connection is known to be one of ours.
    pub fn is_proven(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. } | Phase::Closing { .. })
    }

    /// The server of the connection or attempt under way, or of the last one.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// 0 while there is none.
    pub fn session_id(&self) -> i64 {
        self.session_id
    }

    /// How long the session lives without a word, as a server has granted it; before, as it is asked for.
    pub fn session_timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request, and names it; `None` where none are taken. The tag comes back with the reply.
    pub fn request(&mut self, request: &Request, tag: T, now: Instant) -> Option<Xid> {
        match &mut self.phase {
            Phase::Connected { last_sent, readiness: Readiness::Ready, .. } => {
                *last_sent = now;
                Some(self.send(request, Some(tag), now))
            }
            _ => None,
        }
    }

    fn send(&mut self, request: &Request, tag: Option<T>, now: Instant) -> Xid {
        let xid = self.new_xid();
        if matches!(request, Request::Sync | Request::Barrier(_)) && !planted::is(Defect::NoNudge) {
            self.catching_up = Some(CatchingUp { xid, ping_at: now + NUDGE_AFTER, then_after: NUDGE_AFTER });
        }
        request.encode(xid, &self.settings.hosts.chroot, &mut self.transmit);
        self.pending.push_back((xid, tag));
        xid
    }

    fn new_xid(&mut self) -> Xid {
        let xid = self.next_xid;
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        xid
    }

    /// How far the caller is on its way to a connection.
    pub fn handle_leg(&mut self, leg: Leg, now: Instant) {
        let Phase::Connecting { deadline, step: Step::Transport(at), .. } = &mut self.phase else { return };
        *at = leg;
        match leg {
            Leg::Resolving => *deadline = now + self.settings.resolve_timeout,
            Leg::Connecting => *deadline = now + self.attempts.bound(),
            Leg::Securing => {}
        }
    }

    /// The transport is there.
    pub fn handle_connected(&mut self) {
        let Phase::Connecting { step, .. } = &mut self.phase else { return };
        *step = Step::Answer;
        wire::connect(
            &ConnectRequest {
                last_zxid_seen: match self.gave_up_zxid() || planted::is(Defect::LaggardAccepted) {
                    true => Zxid(0),
                    false => self.last_zxid,
                },
                timeout_ms: self.settings.session_timeout.as_millis().try_into().unwrap_or(i32::MAX),
                session_id: self.session_id,
                password: &self.password,
            },
            &mut self.transmit,
        );
    }

    /// The transport is gone, or could not be had.
    pub fn handle_disconnected(&mut self, reason: TransportError, now: Instant) {
        match &self.phase {
            Phase::Connecting { step, .. } => {
                if let (Step::Answer, TransportError::Connection(_) | TransportError::Closed) =
                    (step, &reason)
                {
                    // A server without quorum does this, and a server that has not seen our last zxid.
                    self.refusals += 1;
                }
                let reason = match (step, reason) {
                    (Step::Transport(_) | Step::Answer, TransportError::Closed) => {
                        attempts::refused(self.last_zxid)
                    }
                    (_, reason) => reason,
                };
                self.fail(SessionError::Connection { host: self.host.to_string(), reason }, now);
            }
            Phase::Connected { .. } => {
                self.fail(SessionError::Connection { host: self.host.to_string(), reason }, now);
            }
            Phase::Closing { .. } => self.finish(),
            Phase::Waiting { .. } | Phase::Closed => {}
        }
    }

    /// Bytes from the server.
    pub fn handle_bytes(&mut self, mut bytes: &[u8], now: Instant) {
        if let Phase::Connected { last_received, .. } = &mut self.phase {
            *last_received = now;
        }
        // What follows the end of a connection belongs to no other.
        while self.is_open() {
            let longest = match self.phase {
                Phase::Connecting { step: Step::Answer, .. } => wire::MAX_CONNECT_RESPONSE,
                Phase::Connecting { .. } => wire::MAX_SASL_REPLY,
                _ => self.settings.limit_frame,
            };
            let frame = match self.frames.next(&mut bytes, longest) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(too_long) => return self.frame_too_long(too_long, now),
            };
            let handled = match self.phase {
                Phase::Connecting { step: Step::Answer, .. } => {
                    self.handle_connect_response(&Zeroizing::new(frame), now)
                }
                Phase::Connecting { .. } => self.handle_sasl_reply(&frame, now),
                Phase::Connected { .. } => self.handle_frame(frame, now),
                // Replies may still come before the one to the close; the server then closes the connection.
                _ => Ok(()),
            };
            if let Err(malformed) = handled {
                return self.protocol_error(malformed, now);
            }
        }
    }

    /// Whether there is a connection that bytes can come from.
    fn is_open(&self) -> bool {
        match self.phase {
            Phase::Connecting { ref step, .. } => !matches!(step, Step::Transport(_)),
            Phase::Connected { .. } | Phase::Closing { .. } => true,
            Phase::Waiting { .. } | Phase::Closed => false,
        }
    }

    fn handle_connect_response(&mut self, frame: &[u8], now: Instant) -> Result<(), Malformed> {
        let response = ConnectResponse::decode(frame)?;
        if response.timeout_ms <= 0 {
            if self.session_id == 0 {
                return Err(Malformed { what: "connect response, it ends a session that was not there" });
            }
            // Expired. The server closes the connection; a new session needs a new one.
            self.session_id = 0;
            self.password = no_password();
            // A server that has not proven itself is believed only so far: it is of no use to ask for that session
            // again.
            if self.settings.sasl.is_none() || planted::is(Defect::UnprovenBelieved) {
                self.report_lost();
            }
            self.disconnect();
            // It would have served: the next one may not, and the one behind that may say the same again.
            self.connect_to(self.host.clone(), now);
            return Ok(());
        }
        let grant = Grant {
            session_id: response.session_id,
            password: response.password.to_vec().into(),
            timeout: self.granted(Duration::from_millis(response.timeout_ms.unsigned_abs().into())),
        };
        let Some(sasl) = &self.settings.sasl else {
            self.begin(grant, now);
            return Ok(());
        };
        if planted::is(Defect::UnprovenBelieved) {
            self.timeout = grant.timeout;
        }
        let (exchange, next) = Exchange::begin(sasl);
        self.next_step(Step::Sasl { xid: None, grant, exchange });
        self.go_on_with_sasl(next, now);
        Ok(())
    }

    /// The timeout that a server grants, as far as it counts.
    fn granted(&self, timeout: Duration) -> Duration {
        let most = (self.settings.session_timeout * MOST_GRANTED).max(GRANTED_IN_ANY_CASE);
        if timeout <= most || planted::is(Defect::AnyTimeoutTaken) {
            return timeout.max(MIN_TIMEOUT);
        }
        log::warn!(
            "{} grants a session timeout of {} ms, where {} ms were asked for; {} ms count",
            self.host,
            timeout.as_millis(),
            self.settings.session_timeout.as_millis(),
            most.as_millis()
        );
        most
    }

    fn next_step(&mut self, next: Step) {
        if let Phase::Connecting { step, .. } = &mut self.phase {
            *step = next;
        }
    }

    fn send_sasl(&mut self, token: &[u8]) {
        let sent = self.new_xid();
        wire::sasl(sent, token, &mut self.transmit);
        if let Phase::Connecting { step: Step::Sasl { xid, .. }, .. } = &mut self.phase {
            *xid = Some(sent);
        }
    }

    fn handle_sasl_reply(&mut self, frame: &[u8], now: Instant) -> Result<(), Malformed> {
        let (Phase::Connecting { step: Step::Sasl { xid, exchange, .. }, .. }, Some(sasl)) =
            (&mut self.phase, &self.settings.sasl)
        else {
            return Ok(());
        };
        let header = ReplyHeader::decode(frame)?;
        if xid.take_if(|due| *due == header.xid).is_none() {
            return Err(Malformed { what: "xid, it is not that of the step of SASL" });
        }
        let answered = match header.error.is_ok() {
            false => Err(exchange.rejected(header.error)),
            true => {
                let word = wire::sasl_reply(&frame[ReplyHeader::LEN..])?;
                exchange.handle_word(sasl, word).map_err(SaslFailure::from)
            }
        };
        match answered {
            Ok(next) => self.go_on_with_sasl(next, now),
            Err(reason) => self.sasl_failed(reason, now),
        }
        Ok(())
    }

    /// The token that [`Action::Token`] asked for; or why there is none, in words. Not to be called for a connection that
    /// [`Action::Disconnect`] ended.
    pub fn handle_token(&mut self, token: Result<Token, String>, now: Instant) {
        let Phase::Connecting { step: Step::Sasl { xid: None, exchange, .. }, .. } = &mut self.phase else {
            return;
        };
        match token {
            Ok(token) => {
                let bytes = exchange.handle_token(token);
                self.send_sasl(&bytes);
            }
            Err(reason) => self.sasl_failed(SaslFailure::NoToken(reason), now),
        }
    }

    fn go_on_with_sasl(&mut self, next: Next, now: Instant) {
        match next {
            Next::Send(token) => self.send_sasl(&token),
            Next::Ask(challenge) => {
                self.actions.push_back(Action::Token { host: self.host.clone(), challenge });
            }
            Next::Done => {
                if let Phase::Connecting { step: Step::Sasl { grant, .. }, .. } = &self.phase {
                    let grant = grant.clone();
                    self.begin(grant, now);
                }
            }
        }
    }

    fn sasl_failed(&mut self, reason: SaslFailure, now: Instant) {
        let (host, sasl) = (self.host.to_string(), self.settings.sasl.as_ref());
        let identity = sasl.map(Sasl::to_string).unwrap_or_default();
        self.fail(SessionError::Sasl { host, identity, reason }, now);
    }

    /// What begins once the server has let us in, and is known to be one of ours.
    fn begin(&mut self, grant: Grant, now: Instant) {
        self.is_resumed = self.session_id != 0 && self.session_id == grant.session_id;
        if !self.is_resumed {
            // The session before this one is forgotten, so it is gone, whoever said so.
            self.report_lost();
        }
        (self.session_id, self.password, self.timeout) = (grant.session_id, grant.password, grant.timeout);
        log::info!(
            "connected to {}, session {:#x}, timeout {} ms",
            self.host,
            self.session_id,
            self.timeout.as_millis()
        );
        let forgets = planted::is(Defect::CredentialsForgotten) && self.next_xid > 1;
        if !self.settings.auth.is_empty() {
            self.exposed = true;
            // If the buffer grew later, it would leave a copy of the credentials behind in memory.
            self.transmit.reserve(ROOM);
        }
        for auth in self.settings.auth.iter().filter(|_| !forgets) {
            wire::set_auth(&auth.scheme, auth.credential.expose().as_bytes(), &mut self.transmit);
        }
        let readiness = match self.gave_up_zxid() {
            true => {
                self.send(&Request::Barrier(None), None, now);
                Readiness::Probing
            }
            false => Readiness::Ready,
        };
        let ready = readiness == Readiness::Ready;
        let was_paused = matches!(self.phase, Phase::Connecting { paused: true, .. });
        self.phase = Phase::Connected { since: now, last_received: now, last_sent: now, readiness };
        if was_paused {
            self.ask_for_news(now);
        }
        if ready {
            self.ready();
        }
    }

    /// Whether the servers have refused so often that the last zxid is not insisted on any more.
    fn gave_up_zxid(&self) -> bool {
        self.refusals >= REFUSED_ROUNDS * self.servers.len()
    }

    fn ready(&mut self) {
        self.suspended = None;
        self.attempts.succeeded();
        self.events.push_back(Event::Connected { resumed: self.is_resumed });
        if self.pings.is_paused() {
            self.events.push_back(Event::Paused);
        }
    }

    fn handle_frame(&mut self, frame: Vec<u8>, now: Instant) -> Result<(), Malformed> {
        let header = ReplyHeader::decode(&frame)?;
        match header.xid {
            ReplyHeader::XID_NOTIFICATION => {
                let notification = Notification::decode(&frame[ReplyHeader::LEN..])?;
                if self.is_ready() {
                    self.events.push_back(Event::Notification(notification));
                }
            }
            ReplyHeader::XID_PING => {
                self.saw_zxid(header.zxid)?;
                if self.pings.answered() == Answer::FirstSincePause && self.is_ready() {
                    self.events.push_back(Event::Heard);
                }
            }
            ReplyHeader::XID_AUTH => {
                if !header.error.is_ok() {
                    let error = SessionError::AuthFailed { host: self.host.to_string(), error: header.error };
                    self.fail(error, now);
                }
            }
            xid => {
                let is_due = |due: Xid| due == xid || planted::is(Defect::TakeRepliesOutOfTurn);
                let Some((_, tag)) = self.pending.pop_front().filter(|(due, _)| is_due(*due)) else {
                    return Err(Malformed { what: "xid, it is not that of the next request" });
                };
                self.catching_up.take_if(|waits| waits.xid == xid);
                match tag {
                    None => self.handle_probe(header, now)?,
                    Some(tag) => {
                        if header.error.is_ok()
                            && header.zxid < self.last_zxid.max(Zxid(1))
                            && !planted::is(Defect::LaggardAccepted)
                        {
                            // It has not named what was seen on this connection either.
                            if self.named < self.last_zxid && header.zxid > Zxid(0) {
                                self.is_behind(header.zxid, now);
                                return Ok(());
                            }
                            return Err(Malformed { what: "zxid, it is older than one before" });
                        }
                        self.saw_zxid(header.zxid)?;
                        self.events.push_back(Event::Reply(Reply {
                            tag,
                            xid,
                            zxid: header.zxid,
                            error: header.error,
                            frame,
                        }));
                    }
                }
            }
        }
        Ok(())
    }

    /// The server has not seen what was seen before, and has let the client in all the same, as a ClickHouse Keeper does.
    /// That is as good as a refusal.
    fn is_behind(&mut self, zxid: Zxid, now: Instant) {
        let refusals = self.refusals + 1;
        self.lose(format!("it is at zxid {zxid}, behind {}, which was seen", self.last_zxid), now);
        if !planted::is(Defect::LaggardNotCounted) {
            self.refusals = refusals;
        }
    }

    /// The ensemble has named its newest transaction. If that is older than one that was seen, the ensemble has lost
    /// the one that was seen. (The word of a server without quorum would be no proof: it may lag, or have been
    /// deposed.)
    fn handle_probe(&mut self, header: ReplyHeader, now: Instant) -> Result<(), Malformed> {
        if !header.is_barrier() || header.zxid.0 <= 0 {
            self.lose(format!("no transaction was possible there: {}", header.error), now);
            return Ok(());
        }
        if header.zxid < self.last_zxid {
            self.events
                .push_back(Event::Fault(SessionError::Reset { seen: self.last_zxid, now: header.zxid }));
            self.events.push_back(Event::Reset);
            self.last_zxid = Zxid(0);
        }
        self.saw_zxid(header.zxid)?;
        // The probe was a transaction. If the server had lost some, the probe may have lifted it to just the zxid that
        // was seen.
        self.is_resumed = false;
        if let Phase::Connected { readiness, .. } = &mut self.phase {
            *readiness = Readiness::Ready;
        }
        self.ready();
        Ok(())
    }

    /// The body of a reply showed a transaction that no header has named.
    pub fn saw_transaction(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
    }

    /// Takes in what a header names. Authentication replies carry 0, and error replies of old servers -1. If this
    /// server has named a newer zxid before, it has another database now, and has forgotten the watches with the old
    /// one (`ZooKeeperServer.restoreFromSnapshot`).
    fn saw_zxid(&mut self, zxid: Zxid) -> Result<(), Malformed> {
        if zxid.0 <= 0 {
            return Ok(());
        }
        if zxid < self.named
            && !planted::is(Defect::LaggardAccepted)
            && !planted::is(Defect::RestoreUnnoticed)
        {
            return Err(Malformed { what: "zxid, it is older than one before" });
        }
        self.named = zxid;
        if zxid.is_transaction() {
            self.last_zxid = self.last_zxid.max(zxid);
        }
        Ok(())
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((since, false)) = self.suspended
            && now >= since + self.timeout
        {
            self.report_lost();
        }
        match &mut self.phase {
            Phase::Waiting { until } if now >= *until => self.connect(now),
            Phase::Connecting { deadline, step, .. } if now >= *deadline => {
                let is_token_late = matches!(step, Step::Sasl { xid: None, .. });
                let reason = self.attempts.timed_out(step);
                match is_token_late {
                    true => self.sasl_failed(SaslFailure::NoToken(reason), now),
                    false => self.lose(reason, now),
                }
            }
            Phase::Connected { last_received, last_sent, .. } => {
                let (silent, quiet) = (now - *last_received, now - *last_sent);
                let nudge = self.catching_up.as_mut().filter(|waits| now >= waits.ping_at);
                let is_nudged = nudge.map(|waits| waits.again(now)).is_some();
                if silent >= self.silence() {
                    self.lose(format!("silent for {} ms", silent.as_millis()), now);
                } else if is_nudged || quiet >= self.ping_interval() {
                    self.ping(now);
                }
            }
            Phase::Closing { deadline } if now >= *deadline => {
                self.disconnect();
                self.finish();
            }
            _ => {}
        }
    }

    fn ping(&mut self, now: Instant) {
        if let Phase::Connected { last_sent, .. } = &mut self.phase {
            *last_sent = now;
        }
        self.pings.sent();
        wire::ping(&mut self.transmit);
    }

    /// The shortest time without running that the caller must report as a pause. It is less than the timeout, so that a
    /// silent server is noticed in time.
    pub fn shortest_pause(&self) -> Duration {
        self.ping_interval().min(LONGEST_UNNOTICED_PAUSE)
    }

    /// The caller did not run for a while: its process was stopped, or the machine slept. To be called before the
    /// caller hands over what came meanwhile. A connection that may still live, or that comes of an answer that may have
    /// waited, is pinged: until the answer to that, nothing is news.
    pub fn handle_pause(&mut self, now: Instant) {
        if planted::is(Defect::PauseUnnoticed) {
            return;
        }
        match &mut self.phase {
            Phase::Connecting { step: Step::Answer | Step::Sasl { .. }, paused, .. } => *paused = true,
            Phase::Connected { last_received, readiness, .. } => {
                let silent = now - *last_received;
                if silent >= self.timeout {
                    let reason = format!("paused, and nothing was heard for {} ms", silent.as_millis());
                    return self.lose(reason, now);
                }
                if !self.pings.is_paused() {
                    // The server could not be heard, so it gets time to answer. Only once, or pauses would hide its silence.
                    *last_received = now;
                    let is_told = *readiness == Readiness::Ready || planted::is(Defect::PauseToldUnready);
                    if is_told {
                        self.events.push_back(Event::Paused);
                    }
                }
                self.ask_for_news(now);
            }
            _ => {}
        }
    }

    /// What comes until the answer to this ping is no news.
    fn ask_for_news(&mut self, now: Instant) {
        self.ping(now);
        self.pings.pause();
    }

    /// Goes on with the session on another connection to the same server, and so leaves the watches of this one behind.
    /// `Connected` follows; what was not answered is dropped.
    pub fn move_on(&mut self, now: Instant) {
        if self.is_ready() {
            self.disconnect();
            self.connect_to(self.host.clone(), now);
        }
    }

    /// The caller has no use for this server. The next one is tried after a while.
    pub fn give_up(&mut self, reason: String, now: Instant) {
        if self.is_ready() {
            self.lose(reason, now);
        }
    }

    /// Ends the session, telling the server if there is a connection. `Closed` is the last event.
    pub fn handle_close(&mut self, now: Instant) {
        match self.phase {
            Phase::Connected { .. } => {
                let xid = self.new_xid();
                wire::close_session(xid, &mut self.transmit);
                self.phase = Phase::Closing { deadline: now + CLOSE_TIMEOUT };
            }
            Phase::Connecting { .. } => {
                self.disconnect();
                self.finish();
            }
            Phase::Waiting { .. } => self.finish(),
            Phase::Closing { .. } | Phase::Closed => {}
        }
    }

    fn finish(&mut self) {
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed);
    }

    fn connect(&mut self, now: Instant) {
        let next = self.servers.next();
        self.connect_to(next, now);
    }

    fn connect_to(&mut self, host: Host, now: Instant) {
        self.host = host;
        self.phase = Phase::Connecting {
            deadline: now + self.attempts.bound(),
            step: Step::Transport(Leg::Connecting),
            paused: false,
        };
        self.actions.push_back(Action::Connect(self.host.clone()));
    }

    /// Forgets what belongs to the connection, and has the caller close it.
    fn disconnect(&mut self) {
        self.frames.clear();
        self.transmit.clear();
        self.pending.clear();
        (self.named, self.catching_up) = (Zxid(0), None);
        self.pings = Pings::default();
        self.actions.push_back(Action::Disconnect);
    }

    fn frame_too_long(&mut self, too_long: FrameTooLong, now: Instant) {
        match self.phase {
            Phase::Connected { .. } => {
                let (host, len) = (self.host.to_string(), too_long.len);
                let limit = self.settings.limit_frame;
                self.fail(SessionError::FrameTooLong { host, len, limit }, now);
            }
            _ => self.protocol_error(Malformed { what: "connect response, it is too long" }, now),
        }
    }

    /// The caller found that what was handed out breaks the protocol.
    pub fn handle_malformed(&mut self, malformed: Malformed, now: Instant) {
        self.drop_what_was_said();
        self.protocol_error(malformed, now);
    }

    /// The caller found that what was handed out is of another history than what was seen before: the ensemble has lost
    /// that history.
    pub fn handle_other_history(&mut self, evidence: String, now: Instant) {
        self.drop_what_was_said();
        let error = SessionError::OtherHistory { host: self.host.to_string(), evidence };
        match self.phase {
            Phase::Connected { .. } => self.fail(error, now),
            // What came behind it has ended the connection already.
            Phase::Waiting { .. } => self.events.push_back(Event::Fault(error)),
            Phase::Connecting { .. } | Phase::Closing { .. } | Phase::Closed => return,
        }
        self.events.push_back(Event::Reset);
    }

    /// The server has no watches of the kind that is wanted, and answered with `error`. The next one may have.
    pub fn handle_no_watches(&mut self, error: ServerError, now: Instant) {
        if self.is_ready() && !planted::is(Defect::RefusalTakenForLast) {
            self.fail(SessionError::NoWatches { host: self.host.to_string(), error }, now);
        }
    }

    /// The recursive watches of the server cannot be believed. The next one may do better.
    pub fn handle_misnaming(&mut self, now: Instant) {
        if self.is_ready() && !planted::is(Defect::RefusalTakenForLast) {
            self.fail(SessionError::Misnaming { host: self.host.to_string() }, now);
        }
    }

    /// The server does not know a request that was only tried, and closes the connection. That is no fault: the next attempt is
    /// made at the same server.
    pub fn handle_unknown_request(&mut self, now: Instant) {
        if self.is_ready() {
            log::info!("{} does not know all that was asked of it, and is asked in another way", self.host);
            self.servers.again();
            self.leave(false, false, now);
        }
    }

    /// Drops what came in one read behind the reply that was found bad: it is not believed any more. If the connection has ended
    /// in that read, nothing may be compared with the zxid that it had come to: what is dropped led there.
    fn drop_what_was_said(&mut self) {
        self.events.retain(|event| !matches!(event, Event::Reply(_) | Event::Notification(_)));
        for event in &mut self.events {
            if let Event::Suspended { last_zxid } = event
                && !planted::is(Defect::DroppedWordsCounted)
            {
                *last_zxid = None;
            }
        }
    }

    fn protocol_error(&mut self, malformed: Malformed, now: Instant) {
        match self.phase {
            Phase::Closing { .. } => {
                self.disconnect();
                self.finish();
            }
            Phase::Connecting { .. } | Phase::Connected { .. } => {
                self.fail(SessionError::Protocol { host: self.host.to_string(), malformed }, now);
            }
            Phase::Waiting { .. } | Phase::Closed => {}
        }
    }

    /// Gives the connection up that the transport still has.
    fn lose(&mut self, reason: String, now: Instant) {
        let reason = TransportError::Connection(reason);
        self.fail(SessionError::Connection { host: self.host.to_string(), reason }, now);
    }

    /// Gives the connection up, or the attempt, and goes on to the next server after a while.
    fn fail(&mut self, error: SessionError, now: Instant) {
        let is_broken = matches!(error, SessionError::Protocol { .. } | SessionError::OtherHistory { .. });
        // A server without the watches that are wanted says nothing of what the others refuse.
        let is_of_use = !matches!(error, SessionError::NoWatches { .. } | SessionError::Misnaming { .. });
        self.leave(is_broken, is_of_use, now);
        self.events.push_back(Event::Fault(error));
    }

    /// Ends the connection, or the attempt, and waits for a while. `is_broken`: what was said on it may not be compared with
    /// anything. `is_of_use`: it was, if it was there at all.
    fn leave(&mut self, is_broken: bool, is_of_use: bool, now: Instant) {
        let was_ready = self.is_ready();
        if let Phase::Connected { since, .. } = self.phase
            && now - since >= OF_USE_AFTER
        {
            self.servers.reset_backoff();
        }
        let is_dated = self.named.is_transaction() && self.named == self.last_zxid && !is_broken;
        self.disconnect();
        if was_ready {
            if is_of_use {
                self.refusals = 0;
            }
            self.suspended = Some((now, false));
            self.events.push_back(Event::Suspended { last_zxid: is_dated.then_some(self.last_zxid) });
        }
        self.phase = Phase::Waiting { until: now + self.servers.backoff() };
    }

    fn report_lost(&mut self) {
        if let Some((_, lost @ false)) = &mut self.suspended {
            *lost = true;
            if !planted::is(Defect::LossNotReported) {
                self.events.push_back(Event::Lost);
            }
        }
    }
}
