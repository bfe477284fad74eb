//! The other session: for as long as it takes to ask a server what has changed, for all caches of a client.
//!
//! Watches are what a server keeps for such a question, and they go with a connection. So the session moves to another
//! connection again and again, and no server keeps many of them.

use std::time::{Duration, Instant};

use crate::planted::{self, Defect};
use crate::session::{Event, Session, Settings};
use crate::stat::Zxid;
use crate::sync::Chunk;
use crate::wire::{Notification, Request};

/// The session is to outlive this client as shortly as can be: servers grant their shortest timeout.
const TIMEOUT: Duration = Duration::from_millis(1);
/// How many chunks may be without an answer.
const MOST_ASKED: usize = 2;
/// After so many failures, this way is given up.
const MOST_FAILURES: usize = 2;

/// What a reporter has to tell, in this order.
pub(super) enum Said {
    /// A change, among others.
    Told(Notification),
    /// These nodes were compared, and all that has changed of them was told.
    Compared(Chunk),
    /// What was asked for and not answered will not be answered.
    Interrupted,
    /// No server can be asked.
    Failed,
}

/// One session that asks what has changed, from its first attempt at a connection to its end.
///
/// After each input, [`poll`](Reporter::poll) says what has come of it; while [`takes_more`](Reporter::takes_more), more may
/// be [asked](Reporter::ask). Its faults are no faults of the client: that can read all by itself.
pub(super) struct Reporter {
    pub(super) session: Session<Chunk>,
    asked: usize,
    /// Nodes that are watched on this connection, and how many of them there may be.
    watched: usize,
    most_watched: usize,
    failures: usize,
    /// Nothing is asked any more: it says goodbye, or has done so.
    is_ending: bool,
    is_over: bool,
}

impl Reporter {
    /// With the client's own settings, at servers that are at this zxid.
    pub(super) fn new(at_least: Zxid, settings: &Settings, rng: fastrand::Rng, now: Instant) -> Reporter {
        let settings = Settings { session_timeout: TIMEOUT, ..settings.clone() };
        let at_least = if planted::is(Defect::ReportOfLaggardTaken) { Zxid(0) } else { at_least };
        Reporter {
            session: Session::behind(at_least, settings, rng, now),
            asked: 0,
            watched: 0,
            most_watched: usize::MAX,
            failures: 0,
            is_ending: false,
            is_over: false,
        }
    }

    /// Whether it has said goodbye.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it has nothing to tell any more.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub(super) fn takes_more(&self) -> bool {
        !self.is_ending
            && self.session.is_ready()
            && self.asked < MOST_ASKED
            && self.watched < self.most_watched
    }

    /// There is more to be asked. Where a server has watches enough, that is for another connection.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.asked == 0 && self.watched >= self.most_watched {
            self.watched = 0;
            self.session.move_on(now);
        }
    }

    pub(super) fn ask(&mut self, chunk: Chunk, now: Instant) {
        self.asked += 1;
        self.watched += chunk.nodes.len();
        self.most_watched = chunk.most_watched;
        let (nodes, lists) = (chunk.nodes.clone(), chunk.lists.clone());
        self.session.request(&Request::Compare { since: chunk.since, nodes, lists }, chunk, now);
    }

    /// Nothing is left to be asked. What comes from now on is of no use.
    pub(super) fn end(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.is_ending, true) {
            self.session.handle_close(now);
        }
    }

    /// What has come of it, to be called until nothing is left.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Said> {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Closed => self.is_over = true,
                _ if self.is_ending => {}
                Event::Notification(notification) => return Some(Said::Told(notification)),
                Event::Reply(reply) => {
                    let chunk = reply.tag;
                    self.asked = self.asked.saturating_sub(1);
                    let knows_enough =
                        reply.zxid >= chunk.at_least || planted::is(Defect::ReportOfLaggardTaken);
                    if reply.error.is_ok() && knows_enough {
                        return Some(Said::Compared(chunk));
                    }
                    let reason = format!("it could not compare nodes: {}, at {}", reply.error, reply.zxid);
                    self.session.give_up(reason, now);
                }
                Event::Fault(error) => {
                    log::debug!("the session that asks what has changed: {error}");
                    self.failures += 1;
                    if self.failures >= MOST_FAILURES {
                        self.end(now);
                        return Some(Said::Failed);
                    }
                    (self.asked, self.watched) = (0, 0);
                    return Some(Said::Interrupted);
                }
                Event::Connected { .. }
                | Event::Suspended { .. }
                | Event::Lost
                | Event::Reset
                | Event::Paused
                | Event::Heard => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::NodePath;
    use crate::session::{Action, Backoff, Host, Hosts};
    use crate::sync::CacheId;

    /// A reporter, and servers that say what a test has them say.
    struct Line {
        reporter: Reporter,
        now: Instant,
    }

    impl Line {
        fn new() -> Line {
            let settings = Settings {
                hosts: Hosts::parse("a,b").unwrap(),
                session_timeout: Duration::from_secs(10),
                resolve_timeout: Duration::from_secs(15),
                connect_timeout: Duration::from_secs(3),
                sasl: None,
                auth: Vec::new(),
                limit_frame: 1 << 20,
                backoff: Backoff::default(),
            };
            let now = Instant::now();
            Line { reporter: Reporter::new(Zxid(50), &settings, fastrand::Rng::with_seed(1), now), now }
        }

        /// The host that a connection is wanted to; waits for it.
        fn connects_to(&mut self) -> Option<Host> {
            for _ in 0..10 {
                while let Some(action) = self.reporter.session.poll_action() {
                    if let Action::Connect(host) = action {
                        return Some(host);
                    }
                }
                self.now = self.reporter.session.poll_timeout()?;
                self.reporter.session.handle_timeout(self.now);
            }
            None
        }

        /// Is let in. Returns the connect request.
        fn welcome(&mut self, session: i64) -> Vec<u8> {
            self.reporter.session.handle_connected();
            let request = std::mem::take(self.reporter.session.transmit());
            let head = [&37u32.to_be_bytes()[..], &[0; 4], &4000i32.to_be_bytes(), &session.to_be_bytes()];
            let welcome = [&head.concat()[..], &16i32.to_be_bytes(), &[1; 16], &[0]].concat();
            self.reporter.session.handle_bytes(&welcome, self.now);
            assert!(self.reporter.poll(self.now).is_none());
            request
        }

        fn reply(&mut self, xid: i32, zxid: i64, error: i32) -> Vec<Said> {
            let reply =
                [&16i32.to_be_bytes()[..], &xid.to_be_bytes(), &zxid.to_be_bytes(), &error.to_be_bytes()];
            self.reporter.session.handle_bytes(&reply.concat(), self.now);
            self.said()
        }

        fn said(&mut self) -> Vec<Said> {
            std::iter::from_fn(|| self.reporter.poll(self.now)).collect()
        }
    }

    fn chunk(at_least: i64) -> Chunk {
        let nodes = vec![NodePath::new("/a").unwrap(), NodePath::new("/b").unwrap()];
        let at_least = Zxid(at_least);
        Chunk {
            cache: CacheId(1),
            since: Zxid(40),
            at_least,
            lists: nodes.clone(),
            nodes,
            most_watched: 4,
            behind: None,
        }
    }

    #[test]
    fn what_a_server_compares_that_is_far_enough_is_told() {
        let mut line = Line::new();
        assert!(line.connects_to().is_some() && !line.reporter.takes_more());
        let request = line.welcome(7);
        assert_eq!(request[8..16], 50i64.to_be_bytes(), "what a server has to have seen");
        assert_eq!(request[16..20], 1i32.to_be_bytes(), "the shortest timeout");
        assert!(line.reporter.takes_more());
        line.reporter.ask(chunk(50), line.now);
        line.reporter.ask(chunk(50), line.now);
        assert!(!line.reporter.takes_more(), "two at a time");
        assert!(matches!(line.reply(1, 50, 0)[..], [Said::Compared(_)]));
        assert!(matches!(line.reply(2, 51, 0)[..], [Said::Compared(_)]));
    }

    #[test]
    fn a_server_that_is_behind_or_refuses_is_left_for_the_next_one_and_two_of_them_are_enough() {
        for (zxid, error) in [(49, 0), (60, -127)] {
            let mut line = Line::new();
            let first = line.connects_to().unwrap();
            line.welcome(7);
            line.reporter.ask(chunk(55), line.now);
            assert!(matches!(line.reply(1, zxid.max(50), error)[..], [Said::Interrupted]), "{zxid}");
            assert_ne!(line.connects_to().unwrap().name, first.name);
            line.welcome(7);
            line.reporter.ask(chunk(55), line.now);
            assert!(matches!(line.reply(2, zxid, error)[..], [Said::Failed]));
            assert!(!line.reporter.takes_more());
        }
    }

    #[test]
    fn the_session_moves_to_another_connection_where_a_server_has_watches_enough() {
        let mut line = Line::new();
        let host = line.connects_to().unwrap();
        line.welcome(7);
        line.reporter.ask(chunk(50), line.now);
        line.reporter.ask(chunk(50), line.now);
        line.reporter.go_on(line.now);
        line.reply(1, 50, 0);
        line.reporter.go_on(line.now);
        assert!(line.reporter.session.poll_action().is_none(), "one has no answer");
        line.reply(2, 50, 0);
        assert!(!line.reporter.takes_more());
        line.reporter.go_on(line.now);
        assert_eq!(line.connects_to(), Some(host), "the same server: no other may know the session");
        let request = line.welcome(7);
        assert_eq!(request[20..28], 7i64.to_be_bytes());
        assert!(line.reporter.takes_more());
        line.reporter.end(line.now);
        let goodbye = std::mem::take(line.reporter.session.transmit());
        assert_eq!(goodbye[8..12], (-11i32).to_be_bytes());
        assert!(!line.reporter.is_over());
        line.reply(3, 52, 0);
        line.reporter.session.handle_disconnected(crate::session::TransportError::Closed, line.now);
        assert!(line.said().is_empty() && line.reporter.is_over());
    }

    #[test]
    fn a_session_that_has_expired_is_no_failure() {
        let mut line = Line::new();
        line.connects_to();
        line.welcome(7);
        line.reporter.ask(chunk(50), line.now);
        line.reply(1, 50, 0);
        line.reporter.session.move_on(line.now);
        line.connects_to();
        line.reporter.session.handle_connected();
        let ended = [&37u32.to_be_bytes()[..], &[0; 4], &[0; 12], &16i32.to_be_bytes(), &[0; 17]].concat();
        line.reporter.session.handle_bytes(&ended, line.now);
        assert!(line.said().is_empty());
        assert!(line.connects_to().is_some());
        line.welcome(8);
        assert!(line.reporter.takes_more());
    }
}
