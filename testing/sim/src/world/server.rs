//! What a server does: it applies transactions in its time, answers requests, and closes connections.

use std::collections::VecDeque;
use std::sync::Arc;

use fastrand::Rng;
use treecache_checks::{Access, Change, Check, TruthNode, Violation};
use treecache_core::sync::WatchMode;
use treecache_core::{Stat, Zxid};
use treecache_test_protocol::{self as protocol, Encoder, Operation, Read, Request};

use super::connection::Awaited;
use super::{Event, SECRET, Unnoticed, World, trace};
use crate::plan::{Make, ROOT};

/// Where a Keeper says what it can do that not all of its versions can (`KeeperConstants.h`).
const FEATURE_FLAGS: &str = "/keeper/feature_flags";
/// How long a client waits at most before it asks a server again that could not answer.
const ASKED_AGAIN_WITHIN: u64 = 750_000;

pub struct Server {
    pub make: Make,
    /// How much of the history it has applied.
    pub applied: usize,
    /// Names this zxid until it has applied a newer one.
    pub own: Zxid,
    /// When it applies what it has not applied yet.
    due: VecDeque<u64>,
    pub rng: Rng,
    pub stalled_until: u64,
    pub down_until: u64,
    pub lags_until: u64,
    pub refuses_until: u64,
    /// Attempts to connect are not even answered.
    pub refuses_silently: bool,
    /// How many requests are still to be answered with an error, and which.
    pub failing: (usize, i32),
}

impl Server {
    pub fn new(make: Make, seed: u64) -> Server {
        Server {
            make,
            applied: 0,
            own: Zxid(0),
            due: VecDeque::new(),
            rng: Rng::with_seed(seed),
            stalled_until: 0,
            down_until: 0,
            lags_until: 0,
            refuses_until: 0,
            refuses_silently: false,
            failing: (0, protocol::OK),
        }
    }

    /// The next transaction is to be applied at `due`, or behind the one before. Returns when.
    pub fn schedule(&mut self, due: u64) -> u64 {
        let due = due.max(self.due.back().copied().unwrap_or(0));
        self.due.push_back(due);
        due
    }

    /// Its data are others from now on: those of `place`, and it names the zxid `own` if that is newer.
    pub fn put_to(&mut self, place: usize, own: Zxid) {
        (self.applied, self.own) = (place, own);
        self.due.clear();
    }

    /// Applies what is due next, if something is.
    fn apply_next(&mut self, now: u64) -> bool {
        let is_due = self.due.front().is_some_and(|due| *due <= now);
        if is_due {
            self.due.pop_front();
            self.applied += 1;
        }
        is_due
    }

    pub fn heal(&mut self) {
        (self.stalled_until, self.down_until, self.lags_until, self.refuses_until) = (0, 0, 0, 0);
        self.failing.0 = 0;
    }

    pub fn busy_until(&self) -> u64 {
        self.stalled_until.max(self.down_until).max(self.lags_until).max(self.refuses_until)
    }

    pub fn is_down(&self, now: u64) -> bool {
        now < self.down_until
    }

    fn is_answering(&self, now: u64) -> bool {
        now >= self.stalled_until && now >= self.down_until
    }

    fn is_applying(&self, now: u64) -> bool {
        self.is_answering(now) && now >= self.lags_until
    }

    /// Whether attempts to connect are refused, and whether silently.
    pub fn is_refusing(&self, now: u64) -> Option<bool> {
        if now < self.down_until {
            Some(false)
        } else if now < self.refuses_until {
            Some(self.refuses_silently)
        } else {
            None
        }
    }

    /// The error that the next request is answered with, if it is.
    fn takes_error(&mut self) -> Option<i32> {
        let (count, error) = &mut self.failing;
        *count = count.checked_sub(1)?;
        Some(*error)
    }
}

impl World {
    /// A server goes on after it was busy with something else.
    pub(super) fn resume(&mut self, server: usize) -> Result<(), Violation> {
        self.apply(server, true)?;
        for id in self.current.into_iter().chain(self.side) {
            if self.connections[id].server == server {
                self.serve(id)?;
            }
        }
        Ok(())
    }

    /// Applies what is due, and tells those who watch. `awake`: something came in that is to be answered; without
    /// that, some versions leave a commit where it is (ZOOKEEPER-4537).
    pub(super) fn apply(&mut self, at: usize, awake: bool) -> Result<(), Violation> {
        let dozes = self.plan.dozes && !awake;
        let server = &mut self.servers[at];
        if !server.is_applying(self.now) || dozes && server.rng.u8(..4) == 0 {
            return Ok(());
        }
        while self.servers[at].apply_next(self.now) {
            for id in self.current.into_iter().chain(self.side) {
                let connection = &self.connections[id];
                if connection.server == at && connection.is_established && !connection.is_closed {
                    self.notify(id, self.servers[at].applied);
                    self.serve(id)?;
                }
            }
        }
        Ok(())
    }

    fn notify(&mut self, id: usize, place: usize) {
        let connection = &mut self.connections[id];
        let era = &self.ensemble.eras[connection.era];
        let zxid = if self.plan.dated_notifications { era.truth(place).zxid } else { Zxid(-1) };
        let before = connection.end();
        let is_one_shot = !connection.watches.are_persistent();
        let root = format!("{}{ROOT}", self.plan.prefix());
        let hides = self.plan.hides && self.servers[connection.server].make != Make::Old;
        for happened in era.happened(place) {
            let mut told = connection.watches.trigger(happened, era.truth(place));
            told.retain(|(.., access)| !hides || access.allows(connection.authenticated));
            if told.is_empty() && is_one_shot && !connection.is_side && self.plan.restricted {
                // The watch may be used up by what was hidden.
                self.unnoticed.push(Unnoticed::of(happened, &root, connection.era, place));
            }
            for (kind, path, _) in told {
                protocol::notification(connection.outbox(), zxid, kind, &path);
            }
        }
        if connection.end() > before {
            connection.mark(place, None, false, Vec::new());
            self.send(id);
        }
        if self.connections[id].session != 0
            && self.ensemble.eras[self.connections[id].era].ended(place) == self.connections[id].session
        {
            self.close(id);
        }
    }

    /// What was written to the connection travels to the client.
    fn send(&mut self, id: usize) {
        let end = self.connections[id].end();
        let at = self.connections[id].arrival(self.now, &self.plan);
        self.at(at, Event::Down(id, end));
    }

    pub(super) fn close(&mut self, id: usize) {
        if !std::mem::replace(&mut self.connections[id].is_closed, true) {
            let at = self.connections[id].arrival(self.now, &self.plan);
            self.at(at, Event::Hangup(id));
        }
    }

    /// Answers what can be answered.
    pub(super) fn serve(&mut self, id: usize) -> Result<(), Violation> {
        if !self.is_there(id) {
            return Ok(());
        }
        loop {
            let connection = &mut self.connections[id];
            let server = connection.server;
            let is_answering = self.servers[server].is_answering(self.now);
            if connection.is_closed || !is_answering || self.now < connection.waits_until {
                return Ok(());
            }
            if self.now < self.no_quorum_until {
                self.close(id);
                return Ok(());
            }
            if let Some((place, _)) = &connection.awaited {
                if *place > self.servers[server].applied {
                    return Ok(());
                }
                let Some((_, awaited)) = connection.awaited.take() else { continue };
                if matches!(awaited, Awaited::Checked { .. }) {
                    self.check_woken(id)?;
                }
                self.answer_awaited(id, awaited);
                continue;
            }
            let Some(frame) = protocol::next_frame(&mut connection.inbox) else {
                connection.busy_since = None;
                return Ok(());
            };
            if connection.session == 0 {
                Check::Sound
                    .that(!connection.asked_for_session, || "a request before the session".to_owned())?;
                connection.asked_for_session = true;
                self.shake_hands(id, &frame)?;
            } else {
                let request = protocol::request(&frame)
                    .ok_or_else(|| Check::Sound.violated(format!("no request: {frame:?}")))?;
                self.check_requests(matches!(request.operation, Operation::Data { .. }))?;
                self.request(id, request)?;
                self.turn_to_others(id);
            }
        }
    }

    /// Between two requests of a connection, a server may apply what was committed.
    fn turn_to_others(&mut self, id: usize) {
        let connection = &mut self.connections[id];
        if self.plan.watch_mode != WatchMode::Recursive && connection.rng.u8(..8) == 0 {
            connection.waits_until = self.now + connection.rng.u64(1..=self.plan.latency.1);
            self.at(self.connections[id].waits_until, Event::Serve(id));
        }
    }

    fn shake_hands(&mut self, id: usize, frame: &[u8]) -> Result<(), Violation> {
        let asked = protocol::connect(frame)
            .ok_or_else(|| Check::Sound.violated(format!("no connect request: {frame:?}")))?;
        let server = self.connections[id].server;
        let own = self.header(server);
        let asks_for = Zxid(asked.last_zxid_seen);
        Check::Live.that(self.ensemble.was_committed(asks_for), || {
            format!("the client insists on {asks_for}, which no transaction had")
        })?;
        // A Keeper looks neither at what the client has seen nor at the session that it had
        // (`KeeperTCPHandler::receiveHandshake`).
        let is_keeper = self.servers[server].make == Make::Keeper;
        self.connections[id].watches.names_roots = is_keeper;
        if asked.last_zxid_seen > own.0 && !is_keeper {
            trace!(self, "server {server} at {own} has not seen {:#x}", asked.last_zxid_seen);
            self.close(id);
            return Ok(());
        }
        if asked.session == 0 || is_keeper {
            let longest = self.plan.granted_timeout_ms;
            let timeout = (asked.timeout_ms.max(0) as u64).clamp(longest.div_ceil(2), longest) * 1000;
            let is_local = self.connections[id].is_side && self.plan.report.is_some_and(|plan| plan.is_local);
            if is_local {
                let session = self.ensemble.local_session(timeout, self.now, id, server);
                self.connections[id].session = session;
                self.answer_awaited(id, Awaited::Welcome);
                self.at(self.now + timeout, Event::Expiry(session));
                return Ok(());
            }
            let (session, place) = self.ensemble.new_session(timeout, self.now, id);
            trace!(self, "session {session:#x} begins");
            self.tally.sessions += 1;
            self.connections[id].session = session;
            self.connections[id].awaited = Some((place, Awaited::Welcome));
            self.committed(place);
            self.at(self.now + timeout, Event::Expiry(session));
            return Ok(());
        }
        match self.ensemble.session(asked.session) {
            Some(session) if session.password == asked.password && session.is_known_at(server) => {
                (session.heard, session.connection) = (self.now, id);
                trace!(self, "session {:#x} is resumed", asked.session);
                self.connections[id].session = asked.session;
                self.answer_awaited(id, Awaited::Welcome);
            }
            _ => {
                trace!(self, "session {:#x} has expired", asked.session);
                protocol::welcome(self.connections[id].outbox(), 0, 0, &[0; 16]);
                self.send(id);
                self.close(id);
            }
        }
        Ok(())
    }

    fn answer_awaited(&mut self, id: usize, awaited: Awaited) {
        let server = self.connections[id].server;
        let (applied, zxid) = (self.servers[server].applied, self.header(server));
        let connection = &mut self.connections[id];
        match awaited {
            Awaited::Welcome => {
                let Some(session) = self.ensemble.session(connection.session) else {
                    // It has expired before it was there.
                    return self.close(id);
                };
                let (number, password) = (connection.session, session.password.clone());
                protocol::welcome(connection.outbox(), (session.timeout / 1000) as i32, number, &password);
            }
            Awaited::Reply { xid, error, path } => {
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, error);
                if let Some(path) = path.filter(|_| error == protocol::OK) {
                    reply.buffer(path.as_bytes());
                }
                reply.finish();
                connection.mark(applied, Some(zxid), false, Vec::new());
            }
            Awaited::Checked { xid, errors } => {
                // The header's error is that of none of them (`FinalRequestProcessor`).
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, protocol::OK);
                for error in errors {
                    reply.multi_header(if error == protocol::OK { 13 } else { -1 }, false, error);
                    if error != protocol::OK {
                        reply.int(error);
                    }
                }
                reply.multi_header(-1, true, -1);
                reply.finish();
                connection.mark(applied, Some(zxid), false, Vec::new());
            }
        }
        self.send(id);
    }

    fn request(&mut self, id: usize, Request { xid, operation }: Request) -> Result<(), Violation> {
        let server = self.connections[id].server;
        let zxid = self.header(server);
        let connection = &mut self.connections[id];
        if let Some(session) = self.ensemble.session(connection.session) {
            session.heard = self.now;
        } else if connection.forgot {
            // The request is dropped (`ZooKeeperServer.submitRequestNow`, `MissingSessionException`).
            return Ok(());
        } else {
            // The end of the session is under way to this server.
            self.close(id);
            return Ok(());
        }
        if xid > 0 {
            Check::Sound.that(xid > connection.last_xid, || format!("xid {xid} again"))?;
            connection.last_xid = xid;
        }
        let applied = self.servers[server].applied;
        let make = self.servers[server].make;
        let is_blind = self.now < self.blind_until;
        let is_bounded = !matches!(operation, Operation::Ping | Operation::Auth { .. } | Operation::Close);
        if is_bounded && let Some(error) = self.servers[server].takes_error() {
            trace!(self, "server {server} answers {operation:?} with {error}");
            // It is asked again behind that, and so is the watch.
            self.stay_blind(ASKED_AGAIN_WITHIN);
            let arms =
                matches!(operation, Operation::SetWatches { .. } | Operation::Exists { watch: true, .. });
            self.connections[id].is_unarmed |= arms;
            return self.reply(id, xid, error);
        }
        match operation {
            Operation::Ping => {
                self.reply(id, -2, protocol::OK)?;
                if !self.connections[id].is_side {
                    self.answered_ping(id);
                }
                Ok(())
            }
            Operation::Auth { scheme, credential } => {
                let known = scheme == "digest" && credential == SECRET.as_bytes();
                self.connections[id].authenticated |= known;
                Encoder::reply(self.connections[id].outbox(), -4, Zxid(0), protocol::OK).finish();
                self.send(id);
                Ok(())
            }
            Operation::Sasl { .. } => self.reply(id, xid, protocol::UNIMPLEMENTED),
            Operation::Close => {
                let session = connection.session;
                if self.ensemble.end_local(session) {
                    return self.reply(id, xid, protocol::OK);
                }
                let place = self.ensemble.end_session(session, self.now);
                self.committed(place);
                let reply = Awaited::Reply { xid, error: protocol::OK, path: None };
                self.connections[id].awaited = Some((place, reply));
                Ok(())
            }
            Operation::Sync => {
                let place = self.ensemble.era().last();
                let reply = Awaited::Reply { xid, error: protocol::OK, path: Some("/".to_owned()) };
                if self.is_leader(server) {
                    // Like a read (ZOOKEEPER-1675): `ProposalRequestProcessor` hands it on, as it hands on reads.
                    self.answer_awaited(id, reply);
                } else {
                    self.connections[id].awaited = Some((place, reply));
                }
                Ok(())
            }
            Operation::Check(checks) => {
                let truth = self.ensemble.era().newest();
                let is_there = |path: &str| truth.get(path).is_some();
                let errors = checks
                    .iter()
                    .map(|check| if is_there(&check.path) { protocol::OK } else { protocol::NO_NODE })
                    .collect();
                let place = self.ensemble.commit(Vec::new(), 0, self.now);
                self.committed(place);
                let due = self.servers[server].due.back().copied().unwrap_or(self.now);
                let asked = self.connections[id].busy_since.unwrap_or(self.now);
                self.connections[id].barrier = (asked, due);
                self.connections[id].awaited = Some((place, Awaited::Checked { xid, errors }));
                Ok(())
            }
            // `ZooKeeperServer.submitRequest`: what it does not know, `UnimplementedRequestProcessor` answers.
            Operation::Create { container: true, .. } if make == Make::Old => {
                self.reply(id, xid, protocol::UNIMPLEMENTED)?;
                self.close(id);
                Ok(())
            }
            // (A container is a node like others: its Stat has no owner, `DataNode.getClientEphemeralOwner`.)
            Operation::Create { path, .. } => {
                let create = Change::Create {
                    path: path.as_str().into(),
                    data: [].into(),
                    access: Access::Everyone,
                    owner: 0,
                };
                let truth = self.ensemble.era().newest();
                let error = match truth.get(&path) {
                    Some(_) => protocol::NODE_EXISTS,
                    None if !truth.admits(&create) => protocol::NO_NODE,
                    None => protocol::OK,
                };
                // A write that fails is a transaction as well.
                let changes = if error == protocol::OK { vec![create] } else { Vec::new() };
                let place = self.ensemble.commit(changes, 0, self.now);
                self.committed(place);
                self.connections[id].awaited = Some((place, Awaited::Reply { xid, error, path: Some(path) }));
                Ok(())
            }
            Operation::AddWatch { .. } | Operation::MultiRead(_) | Operation::RemoveWatches { .. }
                if make == Make::Old || make == Make::Keeper && self.plan.keeps_singly =>
            {
                self.reply(id, xid, protocol::UNIMPLEMENTED)?;
                self.close(id);
                Ok(())
            }
            Operation::AddWatch { .. } if make == Make::Optimized => {
                self.reply(id, xid, protocol::MARSHALLING)
            }
            Operation::AddWatch { path, mode } => {
                Check::Sound.that(matches!(mode, 0 | 1), || format!("a watch of mode {mode}"))?;
                connection.watches.add(path.into(), mode == 1, self.plan.dated_notifications);
                self.reply(id, xid, protocol::OK)
            }
            Operation::RemoveWatches { path } => {
                let are_removed = connection.watches.remove(&path);
                self.reply(id, xid, if are_removed { protocol::OK } else { protocol::NO_WATCHER })
            }
            Operation::SetWatches { since, data, missing, lists } => {
                if connection.is_side {
                    self.tally.chunks += 1;
                    let report = self.plan.report.filter(|_| self.healed_at.is_none());
                    let closes_first = report.map_or(0, |report| report.closes_first);
                    if connection.rng.u8(..100) < closes_first
                        && let Some(first) = self.current
                    {
                        self.close(first);
                    }
                }
                let connection = &mut self.connections[id];
                let truth = self.ensemble.era().truth(applied);
                let told = connection.watches.set(Zxid(since), data, missing, lists, truth);
                connection.is_unarmed = false;
                if make == Make::Keeper {
                    // What is told comes behind the reply (`KeeperStorageImpl::processLocalRequests`).
                    Encoder::reply(connection.outbox(), xid, zxid, protocol::OK).finish();
                }
                for (kind, path) in told {
                    protocol::notification(connection.outbox(), Zxid(-1), kind, &path);
                }
                if make == Make::Keeper {
                    connection.mark(applied, Some(zxid), false, Vec::new());
                    self.send(id);
                    return Ok(());
                }
                self.reply(id, xid, protocol::OK)
            }
            Operation::Exists { path, watch: false } if path.starts_with("/keeper/") => {
                // Nobody has created a Keeper's (`KeeperStorage::initializeSystemNodes`). Somebody may have copied it.
                let czxid = Zxid(i64::from(make != Make::Keeper));
                let is_there = if make == Make::Keeper { !self.plan.masks } else { self.plan.masks };
                let error = if is_there && path == FEATURE_FLAGS { protocol::OK } else { protocol::NO_NODE };
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, error);
                if error == protocol::OK {
                    reply.stat(&Stat { czxid, ..Stat::default() });
                }
                reply.finish();
                connection.mark(applied, Some(zxid), false, Vec::new());
                self.send(id);
                Ok(())
            }
            Operation::Data { path } => {
                let truth = self.ensemble.era().truth(applied);
                let node = truth.get(&path);
                let error = error_of_read(node, true, connection.authenticated);
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, error);
                if let (Some(node), protocol::OK) = (node, error) {
                    reply.buffer(&node.data);
                    reply.stat(&node.stat);
                }
                reply.finish();
                connection.mark(applied, Some(zxid), false, vec![path]);
                self.send(id);
                Ok(())
            }
            Operation::Exists { path, watch } => {
                let truth = self.ensemble.era().truth(applied);
                let node = truth.get(&path);
                let error = error_of_read(node, self.plan.guarded_exists, connection.authenticated);
                if watch && error != protocol::NO_AUTH {
                    connection.watches.set_data(&path);
                }
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, error);
                if let (Some(node), protocol::OK) = (node, error) {
                    reply.stat(&node.stat);
                }
                reply.finish();
                // Where it sets a watch, what it says is not looked at: the read stands behind it.
                match watch {
                    true => connection.mark(applied, Some(zxid), false, Vec::new()),
                    false => connection.mark_stat(applied, zxid, path),
                }
                self.send(id);
                Ok(())
            }
            Operation::ChildrenWithStat { path } => {
                let truth = self.ensemble.era().truth(applied);
                let node = truth.get(&path);
                let error = error_of_read(node, true, connection.authenticated);
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, error);
                if let (Some(node), protocol::OK) = (node, error) {
                    reply.strings(truth.children(&path));
                    reply.stat(&node.stat);
                }
                reply.finish();
                connection.mark(applied, Some(zxid), false, vec![path]);
                self.send(id);
                Ok(())
            }
            Operation::MultiRead(reads) => {
                Check::Sound.that(reads.len() <= 8192, || format!("a batch of {} reads", reads.len()))?;
                let truth = self.ensemble.era().truth(applied);
                let authenticated = connection.authenticated;
                let mut reply = Encoder::reply(connection.outbox(), xid, zxid, protocol::OK);
                for read in &reads {
                    let node = truth.get(read.path());
                    let error = error_of_read(node, true, authenticated);
                    match (node, read) {
                        (Some(node), Read::Data(_)) if error == protocol::OK => {
                            reply.multi_header(4, false, protocol::OK);
                            reply.buffer(&node.data);
                            reply.stat(&node.stat);
                        }
                        (Some(_), Read::Children(path)) if error == protocol::OK => {
                            reply.multi_header(8, false, protocol::OK);
                            reply.strings(truth.children(path));
                        }
                        // (`ZooKeeperMultiResponse::writeImpl`.)
                        (_, Read::Data(_)) if make == Make::Keeper => reply.multi_header(4, false, error),
                        (_, Read::Children(_)) if make == Make::Keeper => reply.multi_header(8, false, error),
                        _ => {
                            reply.multi_header(-1, false, error);
                            reply.int(error);
                        }
                    }
                }
                reply.multi_header(-1, true, -1);
                reply.finish();
                let paths = if self.plan.restricted || is_blind {
                    reads.iter().map(|read| read.path().to_owned()).collect()
                } else {
                    Vec::new()
                };
                connection.mark(applied, Some(zxid), true, paths);
                if self.trace.is_some() {
                    let paths: Vec<&str> = reads.iter().map(Read::path).collect();
                    let line = format!("server {server} at {zxid} answers a batch of {}", paths.join(" "));
                    self.note(line);
                }
                self.send(id);
                Ok(())
            }
        }
    }

    /// An answer without a body.
    fn reply(&mut self, id: usize, xid: i32, error: i32) -> Result<(), Violation> {
        let server = self.connections[id].server;
        let (applied, zxid) = (self.servers[server].applied, self.header(server));
        let connection = &mut self.connections[id];
        Encoder::reply(connection.outbox(), xid, zxid, error).finish();
        connection.mark(applied, Some(zxid), false, Vec::new());
        self.send(id);
        Ok(())
    }
}

/// What a read of a node is answered with, which takes leave to read it (`guarded`) or not.
fn error_of_read(node: Option<&Arc<TruthNode>>, guarded: bool, authenticated: bool) -> i32 {
    match node {
        None => protocol::NO_NODE,
        Some(node) if guarded && !node.access.allows(authenticated) => protocol::NO_AUTH,
        Some(_) => protocol::OK,
    }
}
