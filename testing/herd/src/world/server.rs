//! A server as a row of resources: one that accepts, one that lets sessions in, one that answers requests in turn (as
//! ZooKeeper's chain of processors does, for all connections), one that sends.

use std::collections::VecDeque;

use treecache_test_protocol as protocol;

use super::{Connection, Event, LATENCY, World};
use crate::capacity::SYN_AGAIN;

/// The shortest timeout that a server grants: two ticks.
const SHORTEST_TIMEOUT_MS: i32 = 4000;

#[derive(Default)]
pub(super) struct Server {
    /// Until when each resource is used.
    accepting: u64,
    resuming: u64,
    sending: u64,
    pipeline: VecDeque<Work>,
    /// What is worked on, with its answer.
    current: Option<(Work, Vec<u8>)>,
    in_process: usize,
    /// A server that went down has forgotten what it did.
    life: u64,
    pub(super) is_down: bool,
}

enum Work {
    Request { connection: usize, request: protocol::Request, came: u64 },
    Notification { connection: usize, frame: Vec<u8> },
}

/// Occupies a resource for `time` from `now` on, and says until when.
fn occupy(until: &mut u64, now: u64, time: u64) -> u64 {
    *until = now.max(*until) + time;
    *until
}

impl World {
    /// The `attempt`th SYN reaches the server.
    pub(super) fn syn(&mut self, id: usize, attempt: u32) {
        let connection = &self.connections[id];
        if !connection.is_wanted {
            return;
        }
        self.load.attempt(self.elapsed());
        let server = &mut self.servers[connection.server];
        let accept = self.capacity.accept;
        let waiting = server.accepting.saturating_sub(self.now) / accept.max(1);
        if waiting as usize > self.capacity.backlog {
            let again = SYN_AGAIN * (1 << attempt);
            return self.at(self.now + again.as_nanos() as u64, Event::Syn(id, attempt + 1));
        }
        let accepted = occupy(&mut server.accepting, self.now, accept);
        self.connections[id].accepted = accepted;
        self.at(self.now + LATENCY, Event::Established(id));
    }

    /// A frame reaches the server.
    pub(super) fn arrive(&mut self, id: usize, frame: &[u8]) {
        let connection = &mut self.connections[id];
        if !connection.is_open {
            return;
        }
        if connection.session.is_none() {
            return self.shake_hands(id, frame);
        }
        if let Some(session) = connection.session {
            self.sessions[session].heard = self.now;
        }
        connection.inbox.push_back((frame.to_vec(), self.now));
        self.take_in(id);
    }

    fn shake_hands(&mut self, id: usize, frame: &[u8]) {
        let asked = protocol::connect(frame).expect("a connect request");
        let connection = &mut self.connections[id];
        let server = &mut self.servers[connection.server];
        let begin = self.now.max(connection.accepted);
        if server.is_down || asked.last_zxid_seen > self.truth.zxid.0 {
            return self.at(begin + LATENCY, Event::Hangup(id));
        }
        let timeout_ms = asked.timeout_ms.max(SHORTEST_TIMEOUT_MS);
        let timeout = u64::from(timeout_ms.unsigned_abs()) * 1_000_000;
        let known = usize::try_from(asked.session).ok().and_then(|number| number.checked_sub(1));
        let resumed = occupy(&mut server.resuming, begin, self.capacity.resume);
        let mut welcome = Vec::new();
        let done = match known {
            None => {
                self.sessions.push(Session { heard: self.now });
                connection.session = Some(self.sessions.len() - 1);
                self.truth.move_on();
                self.tally.transactions += 1;
                protocol::welcome(&mut welcome, timeout_ms, self.sessions.len() as i64, &[0; 16]);
                occupy(&mut self.leader, begin, self.capacity.session).max(resumed)
            }
            Some(known) if self.now > self.sessions[known].heard.max(self.revived) + timeout => {
                self.tally.expired += 1;
                protocol::welcome(&mut welcome, 0, 0, &[0; 16]);
                resumed
            }
            Some(known) => {
                self.sessions[known].heard = self.now;
                connection.session = Some(known);
                protocol::welcome(&mut welcome, timeout_ms, asked.session, &[0; 16]);
                resumed
            }
        };
        self.at(done + LATENCY, Event::Deliver(id, welcome));
    }

    /// Takes requests off a connection: while the server has much to do, only one at a time.
    fn take_in(&mut self, id: usize) {
        let Connection { server: at, inbox, outstanding, .. } = &mut self.connections[id];
        let (at, server) = (*at, &mut self.servers[*at]);
        while (*outstanding == 0 || server.in_process < self.capacity.in_process)
            && let Some((frame, came)) = inbox.pop_front()
        {
            let request = protocol::request(&frame).expect("a request");
            server.pipeline.push_back(Work::Request { connection: id, request, came });
            *outstanding += 1;
            server.in_process += 1;
        }
        self.work(at);
    }

    /// Begins with the next work, if there is any. What is answered is what is true then.
    fn work(&mut self, at: usize) {
        let server = &mut self.servers[at];
        if server.current.is_some() {
            return;
        }
        let Some(work) = server.pipeline.pop_front() else { return };
        let (time, bytes) = match &work {
            Work::Request { connection, request, .. } => {
                let mut time = self.capacity.request + nodes(request) as u64 * self.capacity.node;
                match &request.operation {
                    protocol::Operation::AddWatch { .. } => self.connections[*connection].is_watching = true,
                    protocol::Operation::SetWatches { data, .. } => {
                        time += data.len() as u64 * self.capacity.compared;
                    }
                    protocol::Operation::Close => {
                        self.truth.move_on();
                        self.tally.transactions += 1;
                        let ended = occupy(&mut self.leader, self.now, self.capacity.session);
                        time = time.max(ended - self.now);
                    }
                    _ => {}
                }
                (time, self.truth.answer(request))
            }
            Work::Notification { frame, .. } => (self.capacity.notification, frame.clone()),
        };
        server.current = Some((work, bytes));
        let life = server.life;
        self.at(self.now + time, Event::Done(at, life));
    }

    pub(super) fn done(&mut self, at: usize, life: u64) {
        let server = &mut self.servers[at];
        if server.life != life {
            return;
        }
        let Some((work, bytes)) = server.current.take() else { return };
        let network = bytes.len() as u64 * self.capacity.kilobyte / 1000;
        let sent = occupy(&mut server.sending, self.now, network);
        match work {
            Work::Request { connection: id, request, came } => {
                server.in_process -= 1;
                let waited = sent - came;
                self.load.answered(self.elapsed(), nodes(&request), compared(&request), bytes.len(), waited);
                self.connections[id].outstanding -= 1;
                self.at(sent + LATENCY, Event::Deliver(id, bytes));
                self.take_in(id);
            }
            Work::Notification { connection: id, .. } => {
                self.load.answered(self.elapsed(), 0, 0, bytes.len(), 0);
                self.at(sent + LATENCY, Event::Deliver(id, bytes));
            }
        }
        self.work(at);
    }

    /// A node is written. Watches fire before anything else is answered.
    pub(super) fn write(&mut self) {
        let frame = self.truth.write();
        for (id, connection) in self.connections.iter().enumerate().rev() {
            if connection.is_open && connection.is_watching {
                let notification = Work::Notification { connection: id, frame: frame.clone() };
                self.servers[connection.server].pipeline.push_front(notification);
            }
        }
        (0..self.servers.len()).for_each(|at| self.work(at));
    }

    /// All servers stop serving, and forget their connections.
    pub(super) fn go_down(&mut self) {
        for server in &mut self.servers {
            *server = Server { life: server.life + 1, is_down: true, ..Server::default() };
        }
        for id in 0..self.connections.len() {
            if std::mem::take(&mut self.connections[id].is_open) {
                self.connections[id].inbox.clear();
                self.at(self.now + LATENCY, Event::Hangup(id));
            }
        }
    }

    pub(super) fn come_up(&mut self, moved: bool) {
        self.servers.iter_mut().for_each(|server| server.is_down = false);
        self.revived = self.now;
        if moved {
            self.truth.move_on();
        }
    }
}

pub(super) struct Session {
    /// When something of it was heard last.
    pub heard: u64,
}

fn nodes(request: &protocol::Request) -> usize {
    match &request.operation {
        protocol::Operation::MultiRead(reads) => reads.len(),
        _ => 0,
    }
}

fn compared(request: &protocol::Request) -> usize {
    match &request.operation {
        protocol::Operation::SetWatches { data, .. } => data.len(),
        _ => 0,
    }
}
