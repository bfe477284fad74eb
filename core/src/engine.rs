//! A session and the caches that live on it, joined, still without I/O, threads or clocks.
//!
//! [`Engine`] is what the I/O thread drives, and what a simulation can drive in its stead: it takes what happened
//! on a connection and the time, and hands out bytes, socket actions and what the caches have to tell.

mod reporter;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use self::reporter::{Reporter, Said};
use crate::error::{Fault, Status};
use crate::path::NodePath;
use crate::session::{
    Action, Event, Leg, SaslFailure, Session, SessionError, Settings, Token, TransportError,
};
use crate::sync::{Breach, CacheId, Group, Input, Modes, Purpose};
use crate::wire::Request;

/// If this many bytes wait to be sent, the engine asks for nothing more. With paths of the usual limit, all that may be
/// in flight is less; more piles up only if a server answers what it has not read.
const MOST_UNSENT: usize = 16 << 20;

/// What happens on the second connection, which asks what has changed; as on the first one.
pub enum SideInput<'b> {
    /// See [`Engine::handle_leg`].
    Leg(Leg),
    /// See [`Engine::handle_connected`].
    Connected,
    /// See [`Engine::handle_disconnected`].
    Disconnected(TransportError),
    /// See [`Engine::handle_token`].
    Token(Result<Token, String>),
    /// See [`Engine::handle_bytes`].
    Bytes(&'b [u8]),
}

/// What an engine has to tell.
pub enum Output {
    /// What one of the caches has to tell.
    Cache(CacheId, crate::sync::Output),
    /// Of the whole client; its caches tell of it too.
    Fault(Fault),
    /// There is a connection. Comes before the caches tell of it.
    Connected {
        /// `host:port`, as it was named.
        server: String,
        /// ZooKeeper's id of the session, be it a new one or the one that there was before.
        session_id: i64,
        /// How long it lives without a word, as the server has granted it.
        timeout: Duration,
    },
    /// There is no connection any more. Comes before the caches tell of it, and also before [`Closed`](Self::Closed).
    Disconnected,
    /// The session has ended, after [`Engine::shut_down`].
    Closed,
}

/// One client without I/O: a session, and all the caches that live on it.
pub struct Engine {
    session: Session<Purpose>,
    /// For the session of the reporter.
    settings: Settings,
    rng: fastrand::Rng,
    /// Another session, while it is needed.
    reporter: Option<Reporter>,
    /// What is to be done with its connection.
    side_actions: VecDeque<Action>,
    /// How many are named.
    servers: usize,
    group: Group,
    /// When the server's last word had been taken in.
    heard: Instant,
    /// The roots that are being created, from the server's root.
    creating: BTreeMap<CacheId, NodePath>,
    /// What comes counts as heard: there is a connection, and what it brings cannot have waited in a pause.
    is_news: bool,
    outputs: VecDeque<Output>,
}

impl Engine {
    /// Begins with the first attempt at a connection, and without caches. What is left to chance comes from `rng`.
    pub fn new(settings: Settings, modes: Modes, mut rng: fastrand::Rng, now: Instant) -> Engine {
        let group = Group::new(settings.hosts.chroot.clone(), modes, rng.fork());
        Engine {
            servers: settings.hosts.servers.len(),
            settings: settings.clone(),
            session: Session::new(settings, rng.fork(), now),
            rng,
            reporter: None,
            side_actions: VecDeque::new(),
            group,
            heard: now,
            creating: BTreeMap::new(),
            is_news: false,
            outputs: VecDeque::new(),
        }
    }

    /// What is wanted of a cache. If a cache is closed, what it told before still comes from
    /// [`poll_output`](Self::poll_output).
    pub fn handle_input(&mut self, id: CacheId, input: Input, now: Instant) {
        self.group.handle_input(id, input, now);
        self.pump(now);
    }

    /// Ends the session; [`Output::Closed`] follows.
    pub fn shut_down(&mut self, now: Instant) {
        self.end_report(now);
        self.session.handle_close(now);
        self.pump(now);
    }

    /// How far the caller is on its way to a connection.
    pub fn handle_leg(&mut self, leg: Leg, now: Instant) {
        self.session.handle_leg(leg, now);
    }

    /// The transport that [`Action::Connect`] asked for is there, with TLS where that is spoken.
    pub fn handle_connected(&mut self, now: Instant) {
        self.is_news = true;
        self.session.handle_connected();
        self.pump(now);
    }

    /// The transport is gone, or could not be made. Not to be called for a transport that [`Action::Disconnect`] ended.
    pub fn handle_disconnected(&mut self, reason: TransportError, now: Instant) {
        self.session.handle_disconnected(reason, now);
        self.pump(now);
    }

    /// The token for SASL that [`Action::Token`] asked for; or why there is none, in words. Not to be called for a transport
    /// that [`Action::Disconnect`] ended.
    pub fn handle_token(&mut self, token: Result<Token, String>, now: Instant) {
        self.session.handle_token(token, now);
        self.pump(now);
    }

    /// The transport has a fault from which it recovers by itself.
    pub fn handle_transport_fault(&mut self, error: &TransportError) {
        self.tell_fault(Fault::new(error.status(), error.to_string()));
    }

    /// Bytes from the server, cut as the transport happens to cut them.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        let was_proven = self.session.is_proven();
        self.session.handle_bytes(bytes, now);
        self.pump(now);
        // A server that has not proven itself may be anybody: its words do not count.
        if self.is_news && (was_proven || self.session.is_proven()) {
            self.heard = now;
        }
    }

    /// The shortest time without running that the caller must report, with [`handle_pause`](Self::handle_pause).
    pub fn shortest_pause(&self) -> Duration {
        self.session.shortest_pause()
    }

    /// The caller did not run for a while: its process was stopped, or the machine slept. To be called before the
    /// caller hands over what came meanwhile, for that may have waited. No cache is in step until the server has
    /// answered a ping.
    pub fn handle_pause(&mut self, now: Instant) {
        self.session.handle_pause(now);
        // Before the connection is told of, no pause is: but words may have waited.
        self.is_news &= self.session.is_ready();
        self.pump(now);
    }

    /// When the server's last word was taken in. Words that may have waited in a pause do not count.
    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// Time has passed: to be called at the time of [`poll_timeout`](Self::poll_timeout), or later. Too early is no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
        if let Some(reporter) = &mut self.reporter {
            reporter.session.handle_timeout(now);
        }
        self.group.handle_timeout(now);
        self.pump(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` where nothing waits for the time. Any
    /// other call may change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let report = self.reporter.as_ref().and_then(|reporter| reporter.session.poll_timeout());
        [self.session.poll_timeout(), self.group.poll_timeout(), report].into_iter().flatten().min()
    }

    /// What happens on the second connection.
    pub fn handle_side(&mut self, input: SideInput<'_>, now: Instant) {
        if let Some(Reporter { session, .. }) = &mut self.reporter {
            match input {
                SideInput::Leg(leg) => session.handle_leg(leg, now),
                SideInput::Connected => session.handle_connected(),
                SideInput::Disconnected(reason) => session.handle_disconnected(reason, now),
                SideInput::Token(token) => session.handle_token(token, now),
                SideInput::Bytes(bytes) => session.handle_bytes(bytes, now),
            }
        }
        self.pump(now);
    }

    /// What is to be done with the socket of the second connection; to be called as [`poll_action`](Self::poll_action).
    pub fn poll_side_action(&mut self) -> Option<Action> {
        self.side_actions.pop_front()
    }

    /// Bytes to be sent on the second connection, if there is one; the caller drains what it has sent.
    pub fn side_transmit(&mut self) -> Option<&mut Vec<u8>> {
        self.reporter.as_mut().map(|reporter| reporter.session.transmit())
    }

    /// What is to be done with the socket; to be called until nothing is left, after every other call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.session.poll_action()
    }

    /// Bytes to be sent; the caller drains what it has sent.
    pub fn transmit(&mut self) -> &mut Vec<u8> {
        self.session.transmit()
    }

    /// What is to be told, in this order; to be called until nothing is left, after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Moves events up, requests down, and outputs out.
    fn pump(&mut self, now: Instant) {
        self.pump_main(now);
        // What was reported is to be read.
        while self.pump_report(now) {
            self.pump_main(now);
        }
    }

    /// Has another session ask what has changed, while caches want to know. Returns whether one of them has got to know
    /// something.
    fn pump_report(&mut self, now: Instant) -> bool {
        let wanted = self.group.wants_report();
        if let (Some(at_least), None) = (wanted, &self.reporter) {
            self.reporter = Some(Reporter::new(at_least, &self.settings, self.rng.fork(), now));
        }
        let mut is_news = false;
        if let Some(reporter) = &mut self.reporter {
            while let Some(said) = reporter.poll(now) {
                is_news = true;
                match said {
                    Said::Told(notification) => self.group.handle_reported(&notification),
                    Said::Compared(chunk) => self.group.handle_compared(&chunk, now),
                    Said::Interrupted => self.group.report_again(),
                    Said::Failed => self.group.report_failed(),
                }
            }
            while reporter.takes_more()
                && let Some(chunk) = self.group.poll_chunk()
            {
                reporter.ask(chunk, now);
            }
            match self.group.wants_report() {
                Some(_) => reporter.go_on(now),
                None => reporter.end(now),
            }
        }
        self.collect_report(now) || is_news
    }

    /// Another session is of no use any more: what it would be told is void.
    fn end_report(&mut self, now: Instant) {
        if let Some(reporter) = &mut self.reporter {
            reporter.end(now);
        }
        self.collect_report(now);
    }

    /// Takes off what is to be done for the other session, and lets go of it if it is over. Returns whether it is.
    fn collect_report(&mut self, now: Instant) -> bool {
        let Some(reporter) = &mut self.reporter else { return false };
        // Once it is ending, it says nothing.
        if reporter.is_ending() {
            _ = reporter.poll(now);
        }
        while let Some(action) = reporter.session.poll_action() {
            self.side_actions.push_back(action);
        }
        let is_over = reporter.is_over();
        if is_over {
            self.side_actions.push_back(Action::Disconnect);
            self.reporter = None;
        }
        is_over
    }

    fn pump_main(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            self.handle_event(event, now);
            self.collect();
        }
        while self.session.is_ready()
            && self.session.transmit().len() < MOST_UNSENT
            && let Some((request, purpose)) = self.group.poll_request(now)
        {
            if let (Request::CreateFromServerRoot(root), Purpose::Create { cache, last: true }) =
                (&request, &purpose)
            {
                self.creating.insert(*cache, root.clone());
            }
            self.session.request(&request, purpose, now);
        }
        self.collect();
    }

    fn handle_event(&mut self, event: Event<Purpose>, now: Instant) {
        match event {
            Event::Connected { resumed } => {
                self.is_news = true;
                let (server, session_id) = (self.session.host().to_string(), self.session.session_id());
                self.group.handle_connected(resumed, &server, now);
                let timeout = self.session.session_timeout();
                self.outputs.push_back(Output::Connected { server, session_id, timeout });
            }
            Event::Suspended { last_zxid } => {
                self.is_news = false;
                self.creating.clear();
                self.outputs.push_back(Output::Disconnected);
                self.end_report(now);
                self.group.handle_suspended(last_zxid, self.heard);
            }
            Event::Paused => {
                self.is_news = false;
                self.group.handle_paused(self.heard);
            }
            Event::Heard => {
                self.is_news = true;
                self.group.handle_heard();
            }
            Event::Lost => self.group.handle_lost(),
            Event::Reset => self.group.handle_reset(),
            Event::Notification(notification) => self.group.handle_notification(&notification, now),
            Event::Reply(reply) => {
                if let Purpose::Create { cache, last: true } = reply.tag
                    && let Some(root) = self.creating.remove(&cache)
                    && reply.error.is_ok()
                {
                    log::warn!("created the root {root}, which was missing, with the ACL world:anyone:cdrwa");
                }
                match self.group.handle_reply(&reply.tag, reply.zxid, reply.error, reply.body(), now) {
                    Ok(()) if reply.zxid.is_transaction() => {}
                    // The header does not say how far the server is, but what was read may.
                    Ok(()) => self.session.saw_transaction(self.group.undated_newest()),
                    Err(Breach::Malformed(malformed)) => self.session.handle_malformed(malformed, now),
                    Err(Breach::OtherHistory(evidence)) => self.session.handle_other_history(evidence, now),
                    Err(Breach::NoWatches(error)) => self.session.handle_no_watches(error, now),
                    Err(Breach::Misnaming) => self.session.handle_misnaming(now),
                    Err(Breach::UnknownRequest) => self.session.handle_unknown_request(now),
                }
            }
            Event::Fault(error) => self.tell_fault(fault_of(&error)),
            Event::Closed => {
                self.outputs.push_back(Output::Disconnected);
                self.group.handle_closed(self.heard);
                self.collect();
                self.outputs.push_back(Output::Closed);
            }
        }
    }

    /// Tells each cache, then the client, which so knows whether one of them was listened to.
    fn tell_fault(&mut self, fault: Fault) {
        let is_failure = match fault.status {
            Status::Auth => true,
            // If another server may still have what a cache needs, the cache waits for that server.
            Status::Unsupported => self.group.refusals() >= self.servers,
            _ => false,
        };
        let failure = is_failure.then_some(fault.status);
        self.group.handle_fault(&fault, failure);
        self.collect();
        self.outputs.push_back(Output::Fault(fault));
    }

    fn collect(&mut self) {
        while let Some((id, output)) = self.group.poll_output() {
            self.outputs.push_back(Output::Cache(id, output));
        }
    }
}

impl TransportError {
    fn status(&self) -> Status {
        match self {
            TransportError::Connection(_) | TransportError::Closed => Status::Connection,
            TransportError::Tls(_) => Status::Tls,
        }
    }
}

/// The one place where a session's errors become status codes.
fn fault_of(error: &SessionError) -> Fault {
    let (status, code) = match error {
        SessionError::Connection { reason, .. } => (reason.status(), 0),
        SessionError::Protocol { .. } | SessionError::FrameTooLong { .. } => (Status::Protocol, 0),
        SessionError::AuthFailed { error, .. } => (Status::Auth, error.0),
        SessionError::Sasl { reason, .. } => match reason {
            SaslFailure::Rejected(error) | SaslFailure::TicketRejected(error) => (Status::Auth, error.0),
            SaslFailure::NotUnderstood(_) | SaslFailure::NoToken(_) => (Status::Auth, 0),
        },
        SessionError::NoWatches { error, .. } => (Status::Unsupported, error.0),
        SessionError::Misnaming { .. } => (Status::Unsupported, 0),
        SessionError::Reset { .. } | SessionError::OtherHistory { .. } => (Status::Reset, 0),
    };
    Fault::new(status, error.to_string()).server_error(code)
}

#[cfg(test)]
mod tests;
