//! A session and the caches that live on it, joined, still without I/O, threads or clocks.
//!
//! [`Engine`] is what the I/O thread drives, and what a simulation can drive in its stead: it takes what happened
//! on a connection and the time, and hands out bytes, socket actions and what the caches have to tell.

use std::collections::VecDeque;
use std::time::Instant;

use crate::error::{Fault, Status};
use crate::path::NodePath;
use crate::session::{Action, Event, Session, SessionError, Settings, Xid};
use crate::sync::{CacheId, Group, Options, Purpose};
use crate::wire::Notification;

/// What an engine has to tell.
pub enum Output {
    Cache(CacheId, crate::sync::Output),
    /// Of the whole client; its caches tell of it too.
    Fault(Fault),
    /// The session has ended, after [`Engine::shut_down`].
    Closed,
}

pub struct Engine {
    session: Session,
    group: Group,
    /// What the requests without a reply are for.
    purposes: VecDeque<(Xid, Purpose)>,
    outputs: VecDeque<Output>,
}

impl Engine {
    pub fn new(settings: Settings, mut rng: fastrand::Rng, now: Instant) -> Engine {
        let group = Group::new(settings.hosts.chroot.clone(), rng.fork());
        Engine {
            session: Session::new(settings, rng, now),
            group,
            purposes: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    pub fn open(&mut self, id: CacheId, root: NodePath, options: Options, now: Instant) {
        self.group.open(id, root, options, now);
        self.pump(now);
    }

    pub fn close(&mut self, id: CacheId, now: Instant) {
        self.group.close(id);
        self.pump(now);
    }

    /// Ends the session; [`Output::Closed`] follows.
    pub fn shut_down(&mut self, now: Instant) {
        self.session.handle_close(now);
        self.pump(now);
    }

    pub fn handle_connected(&mut self, now: Instant) {
        self.session.handle_connected();
        self.pump(now);
    }

    pub fn handle_disconnected(&mut self, reason: &str, now: Instant) {
        self.session.handle_disconnected(reason, now);
        self.pump(now);
    }

    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.session.handle_bytes(bytes, now);
        self.pump(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
        self.group.handle_timeout(now);
        self.pump(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.session.poll_timeout(), self.group.poll_timeout()].into_iter().flatten().min()
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.session.poll_action()
    }

    /// Bytes to be sent; the caller drains what it has sent.
    pub fn transmit(&mut self) -> &mut Vec<u8> {
        self.session.transmit()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Moves events up, requests down, and outputs out.
    fn pump(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            self.handle_event(event, now);
            self.collect();
        }
        while let Some((request, purpose)) = self.group.poll_request(now) {
            match self.session.request(&request, now) {
                Some(xid) => self.purposes.push_back((xid, purpose)),
                None => {
                    debug_assert!(false, "a request while there is no connection");
                    return;
                }
            }
        }
        self.collect();
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => self.group.handle_connected(),
            Event::Suspended { last_zxid } => {
                self.purposes.clear();
                self.group.handle_suspended(last_zxid);
            }
            Event::Lost => self.group.handle_lost(),
            Event::Reset => self.group.handle_reset(),
            Event::Notification(body) => match Notification::decode(&body) {
                Ok(notification) => self.group.handle_notification(&notification, now),
                Err(malformed) => self.session.handle_malformed(malformed, now),
            },
            Event::Reply(reply) => {
                let Some((xid, purpose)) = self.purposes.pop_front() else { return };
                debug_assert_eq!(xid, reply.xid);
                if let Err(malformed) =
                    self.group.handle_reply(purpose, reply.zxid, reply.error, reply.body(), now)
                {
                    self.session.handle_malformed(malformed, now);
                }
            }
            Event::Fault(error) => self.handle_fault(error),
            Event::Closed => {
                self.group.handle_closed();
                self.collect();
                self.outputs.push_back(Output::Closed);
            }
        }
    }

    fn handle_fault(&mut self, error: SessionError) {
        let fault = fault_of(&error);
        log::warn!("{}", fault.message);
        let failure = (fault.status == Status::Auth).then_some(Status::Auth);
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

/// The one place where a session's errors become status codes.
fn fault_of(error: &SessionError) -> Fault {
    let (status, code) = match error {
        SessionError::Connection { .. } => (Status::Connection, 0),
        SessionError::Protocol { .. } => (Status::Protocol, 0),
        SessionError::AuthFailed { error, .. } => (Status::Auth, error.0),
        SessionError::Reset { .. } => (Status::Reset, 0),
    };
    Fault::new(status, error.to_string()).server_error(code)
}
