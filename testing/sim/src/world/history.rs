//! What becomes of the ensemble's data: leaders come and go, data are lost, made again, put back.

use treecache_core::Zxid;

use super::{Event, Unnoticed, WRITER, World, trace};
use crate::ensemble::Moment;
use crate::plan::{Happening, Level, ROOT, Refill, Restore, Script, new_zxid};

/// The most transactions that others add to get to a zxid, and the most elections.
const MOST_FILLERS: i64 = 500;
const MOST_ELECTIONS: i64 = 8;

impl World {
    pub(super) fn is_leader(&self, server: usize) -> bool {
        self.plan.leads && server == self.leader
    }

    /// What a server names as its newest zxid. A leader begins with the first one of its epoch, which is no
    /// transaction (`Leader.startZkServer`).
    pub(super) fn header(&self, server: usize) -> Zxid {
        let server = &self.servers[server];
        self.ensemble.era().truth(server.applied).zxid.max(server.own)
    }

    /// All servers look for a leader, and close their connections. It is `preferred`, or the next one that is up.
    pub(super) fn elect(&mut self, preferred: usize) {
        self.hang_up(|_| true);
        let count = self.servers.len();
        if count == 1 {
            return;
        }
        self.ensemble.elect();
        if !self.plan.leads {
            return;
        }
        let now = self.now;
        let up = |at: &usize| !self.servers[*at].is_down(now);
        let Some(leader) = (0..count).map(|at| (preferred + at) % count).find(up) else { return };
        self.leader = leader;
        let (last, own) = (self.ensemble.era().last(), self.ensemble.zxid());
        trace!(self, "server {leader} leads from {own} on");
        for at in 0..count {
            // A follower keeps what it has, unless it comes late: then the leader sends a snapshot with the zxid that
            // it names itself (`LearnerHandler.syncFollower`, `Learner.syncWithLeader`).
            let server = &mut self.servers[at];
            if at == leader || !server.is_down(now) && server.rng.u8(..4) == 0 {
                server.put_to(last, own);
            }
        }
    }

    /// All data are lost, and made again.
    pub(super) fn wipe(&mut self, refill: Refill, step: usize) {
        let seen = self.seen_zxid();
        self.hang_up(|_| true);
        self.ensemble.wipe(new_zxid(self.servers.len()));
        for server in &mut self.servers {
            server.put_to(0, Zxid(0));
        }
        if refill.same_data {
            self.writes = 0;
        }
        let is_write = |step: &Happening| matches!(step, Happening::Write(_) | Happening::EndWriters);
        let script: Vec<Happening> = self.plan.steps[..step]
            .iter()
            .map(|step| &step.what)
            .filter(|what| is_write(what))
            .cloned()
            .collect();
        for what in &script[..script.len() * usize::from(refill.share) / 100] {
            self.write_again(what, refill.script);
        }
        self.reach(refill.level, seen);
        trace!(self, "the data were lost; what was seen is {seen:?}, now it is {}", self.ensemble.zxid());
    }

    fn write_again(&mut self, what: &Happening, script: Script) {
        let place = match what {
            Happening::Write(writes) => {
                self.writes += 1;
                let root = format!("{}{ROOT}", self.plan.prefix());
                let truth = self.ensemble.era().newest();
                let changes = writes.iter().flat_map(|write| match script {
                    Script::Same => write.changes(truth, WRITER, self.writes, self.plan.gzips),
                    Script::Renamed(depth) => {
                        write.renamed(&root, depth).changes(truth, WRITER, self.writes, self.plan.gzips)
                    }
                });
                self.ensemble.commit_possible(changes.collect(), self.now)
            }
            _ => Some(self.ensemble.end_session(WRITER, self.now)),
        };
        if let Some(place) = place {
            self.committed(place);
        }
    }

    /// Leaders come and go, and other clients, until the zxid is so far from the one that was seen, unless that is too
    /// far away.
    fn reach(&mut self, level: Level, seen: Option<Zxid>) {
        let (Level::Off(off), Some(seen)) = (level, seen) else { return };
        let zxid = seen.0 + off;
        let elections = (zxid >> 32) - (self.ensemble.zxid().0 >> 32);
        if self.servers.len() > 1 && (1..=MOST_ELECTIONS).contains(&elections) {
            for _ in 0..elections {
                self.elect(0);
            }
        }
        let transactions = zxid - self.ensemble.zxid().0;
        if transactions <= MOST_FILLERS {
            for _ in 0..transactions {
                let place = self.ensemble.commit(Vec::new(), 0, self.now);
                self.committed(place);
            }
        }
    }

    /// All servers are put back to what was so many transactions ago; `live`: by the admin command `restore`
    /// (`ZooKeeperServer.restoreFromSnapshot`), which gives them another database under the connections that there
    /// are, without watches and without the sessions that came since. Then all goes on, for some time perhaps in the
    /// way it went before.
    pub(super) fn restore(&mut self, restore: Restore, step: usize) {
        let seen = self.seen_zxid();
        let lost = self.put_back(restore.back, restore.live);
        if let Some(script) = restore.again {
            let is_write = |step: &&Happening| matches!(step, Happening::Write(_));
            let writes = self.plan.steps[..step].iter().map(|step| &step.what).filter(is_write);
            let lost: Vec<Happening> = writes.rev().take(lost).cloned().collect();
            for what in lost.iter().rev() {
                self.write_again(what, script);
            }
        }
        self.reach(restore.level, seen);
    }

    /// Returns how many transactions were lost.
    fn put_back(&mut self, back: usize, live: bool) -> usize {
        let last = self.ensemble.era().last();
        let place = self.ensemble.era().last().saturating_sub(back);
        let before = self.ensemble.eras.len() - 1;
        if !live {
            self.hang_up(|_| true);
        }
        for session in self.ensemble.restore(place, !live, self.now) {
            self.at(self.now, Event::Expiry(session));
        }
        trace!(self, "put back to transaction {place}");
        for server in &mut self.servers {
            server.put_to(place, Zxid(0));
        }
        let era = before + 1;
        let still = |change: &&Unnoticed| change.era == before && change.since <= place;
        let unnoticed: Vec<Unnoticed> = self.unnoticed.iter().filter(still).cloned().collect();
        self.unnoticed.extend(unnoticed.into_iter().map(|change| Unnoticed { era, read: None, ..change }));
        if !live {
            self.elect(0);
            return last - place;
        }
        for id in self.current.into_iter().chain(self.side) {
            let connection = &mut self.connections[id];
            (connection.era, connection.forgot) = (era, true);
            connection.watches.clear();
            if connection.awaited.is_some() {
                self.close(id);
            }
        }
        self.lose_sight();
        last - place
    }

    /// The same on one server, with a snapshot of this moment.
    pub(super) fn lose_watches(&mut self, server: usize) {
        let Some(id) = self.current.filter(|id| self.connections[*id].server == server) else { return };
        if !std::mem::take(&mut self.connections[id].watches).is_empty() {
            self.lost_watch =
                Some(Moment { era: self.connections[id].era, place: self.servers[server].applied });
            self.read_since_lost.clear();
            self.lose_sight();
        }
    }
}
