//! What goes wrong on the way, at servers, with sessions. What becomes of the data is in `history`.

use super::{Connection, Event, World, trace};
use crate::plan::Fault;

impl World {
    /// `step`: its place in the timetable.
    pub(super) fn fault(&mut self, fault: Fault, step: usize) {
        trace!(self, "fault: {fault:?}");
        let now = self.now;
        self.is_calm &= !matches!(
            fault,
            Fault::Silence(_)
                | Fault::Stall(..)
                | Fault::Lag(..)
                | Fault::Crash(..)
                | Fault::Sleep(_)
                | Fault::SleepBehindPing(_)
        );
        match fault {
            Fault::CutAfter(bytes) => {
                if let Some(connection) = self.current.map(|at| &mut self.connections[at]) {
                    connection.cut_at = Some(connection.delivered + bytes);
                    if bytes == 0 && !self.is_asleep() {
                        self.disconnected("cut");
                    }
                }
            }
            Fault::Silence(time) => {
                if let Some(connection) = self.current.map(|at| &mut self.connections[at]) {
                    connection.silent_until = now + time;
                }
                self.stay_blind(time);
            }
            Fault::Stall(server, time) => {
                self.servers[server].stalled_until = now + time;
                self.stay_blind(time);
            }
            Fault::Lag(server, time) => {
                self.servers[server].lags_until = now + time;
                self.stay_blind(time);
            }
            Fault::Refuse(server, time, silently) => {
                self.servers[server].refuses_until = now + time;
                self.servers[server].refuses_silently = silently;
                self.stay_blind(time);
            }
            Fault::Fail(server, count, error) => self.servers[server].failing = (count, error),
            Fault::Crash(server, time) => {
                self.servers[server].down_until = now + time;
                if self.plan.rolls {
                    self.servers[server].make = self.servers[server].make.next();
                }
                self.hang_up(|connection| connection.server == server);
                self.stay_blind(time);
                if self.is_leader(server) {
                    self.elect(server + 1);
                }
            }
            Fault::NoQuorum(time) => {
                self.no_quorum_until = now + time;
                self.hang_up(|_| true);
                self.stay_blind(time);
            }
            Fault::Expire => {
                let session = self.current.map(|at| self.connections[at].session).filter(|id| *id != 0);
                if let Some(session) = session.filter(|id| self.ensemble.session(*id).is_some()) {
                    let at = self.ensemble.end_session(session, now);
                    self.committed(at);
                }
            }
            Fault::Elect(server) => self.elect(server),
            Fault::Wipe(refill) => self.wipe(refill, step),
            Fault::Restore(restore) => self.restore(restore, step),
            Fault::LoseWatches(server) => self.lose_watches(server),
            Fault::Sleep(time) => self.sleep(time),
            Fault::SleepBehindPing(time) => self.sleeps_behind_ping = Some(time),
        }
        for server in 0..self.servers.len() {
            let until = self.servers[server].busy_until().max(self.no_quorum_until);
            if until > self.now {
                self.at(until, Event::Resume(server));
            }
        }
    }

    /// The client's process stands still.
    fn sleep(&mut self, time: u64) {
        self.asleep_until = self.asleep_until.max(self.now + time);
        self.at(self.asleep_until, Event::Wake(time));
        for tenths in 1..=10 {
            self.at(self.asleep_until + self.plan.granted_timeout_ms * 100 * tenths, Event::Look);
        }
        self.stay_blind(time);
    }

    /// A ping was answered: the answer comes through, and then nothing does.
    pub(super) fn answered_ping(&mut self, id: usize) {
        let Some(time) = self.sleeps_behind_ping.take() else { return };
        trace!(self, "the client's process stands still, before it reads the answer to its ping");
        self.sleep(time);
        let at = self.connections[id].arrival(self.now, &self.plan) + 1;
        self.at(at, Event::FallSilent(id, 4 * self.plan.granted_timeout_ms * 1000));
    }

    /// Servers close connections.
    pub(super) fn hang_up(&mut self, which: impl Fn(&Connection) -> bool) {
        for id in self.current.into_iter().chain(self.side) {
            if which(&self.connections[id]) {
                self.connections[id].is_closed = true;
                let at = self.connections[id].arrival(self.now, &self.plan);
                self.at(at, Event::Hangup(id));
            }
        }
    }
}
