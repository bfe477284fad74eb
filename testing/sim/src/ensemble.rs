//! The ensemble's memory: transactions, the tree after each of them, sessions. Which server has applied what, and who
//! is connected to it, is the world's.
//!
//! The ensemble may lose its data, or be put back to a backup: that is another *era*, a history of its own that
//! shares its beginning with the one before.

use std::collections::HashMap;
use std::sync::Arc;

use treecache_checks::{Change, Counts, Happened, Kind, Transaction, Truth};
use treecache_core::Zxid;

/// So much later each era is than the one before, in ms: nobody loses data and is back within the same millisecond.
const BETWEEN_ERAS: i64 = 60_000;

/// A place in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub era: usize,
    pub place: usize,
}

/// One history of the ensemble, from empty to its end by a wipe or a restored backup.
#[derive(Clone)]
pub struct Era {
    /// Up to this place it is the history of the era before.
    shared: usize,
    /// The tree after each transaction; before the first one it is empty.
    history: Vec<Truth>,
    /// What happened in each transaction.
    happened: Vec<Vec<Happened>>,
    /// The session that a transaction ended, or 0.
    ended: Vec<i64>,
    /// What the transactions of several changes created or set.
    multis: Vec<(Zxid, Vec<Arc<str>>)>,
}

impl Era {
    fn new(counts: Counts) -> Era {
        Era {
            shared: 0,
            history: vec![Truth::default().counting(counts)],
            happened: vec![Vec::new()],
            ended: vec![0],
            multis: Vec::new(),
        }
    }

    /// The beginning of this era, up to `place`.
    fn beginning(&self, place: usize) -> Era {
        let zxid = self.history[place].zxid;
        let multis = self.multis.partition_point(|(at, _)| *at <= zxid);
        Era {
            shared: place,
            history: self.history[..=place].to_vec(),
            happened: self.happened[..=place].to_vec(),
            ended: self.ended[..=place].to_vec(),
            multis: self.multis[..multis].to_vec(),
        }
    }

    /// The place of the newest transaction.
    pub fn last(&self) -> usize {
        self.history.len() - 1
    }

    pub fn truth(&self, at: usize) -> &Truth {
        &self.history[at]
    }

    pub fn newest(&self) -> &Truth {
        &self.history[self.last()]
    }

    pub fn happened(&self, at: usize) -> &[Happened] {
        &self.happened[at]
    }

    pub fn ended(&self, at: usize) -> i64 {
        self.ended[at]
    }

    /// The place of the newest transaction that is not newer than `zxid`.
    pub fn place(&self, zxid: Zxid) -> usize {
        self.history.partition_point(|truth| truth.zxid <= zxid).saturating_sub(1)
    }

    /// The transactions of several changes around `zxid`.
    pub fn multis_near(&self, zxid: Zxid) -> impl Iterator<Item = (Zxid, &[Arc<str>])> {
        let at = self.multis.partition_point(|(at, _)| *at <= zxid);
        let near = &self.multis[at.saturating_sub(20)..self.multis.len().min(at + 10)];
        near.iter().map(|(zxid, paths)| (*zxid, paths.as_slice()))
    }
}

#[derive(Clone)]
pub struct ServerSession {
    pub password: Vec<u8>,
    pub timeout: u64,
    /// In microseconds.
    pub heard: u64,
    /// The connection that owns it.
    pub connection: usize,
    /// No other server knows it, and it is no transaction.
    only_at: Option<usize>,
    /// The transactions that made and ended it: a backup of the time between has it.
    began: usize,
    ended: Option<usize>,
}

impl ServerSession {
    pub fn is_known_at(&self, server: usize) -> bool {
        self.only_at.is_none_or(|only| only == server)
    }
}

pub struct Ensemble {
    pub eras: Vec<Era>,
    /// Of the newest transaction, or of a new leader: the next one is this and 1 (`ZooKeeperServer.hzxid`).
    zxid: i64,
    sessions: HashMap<i64, ServerSession>,
    next_session: i64,
    /// Where a node has come to 2^31 creations without a transaction for each: nobody can have known the tree of before.
    pub saturated_at: usize,
}

impl Ensemble {
    /// `zxid`: where it begins to count.
    pub fn new(zxid: i64, counts: Counts) -> Ensemble {
        Ensemble {
            eras: vec![Era::new(counts)],
            zxid,
            sessions: HashMap::new(),
            next_session: 0x1000,
            saturated_at: 0,
        }
    }

    pub fn era(&self) -> &Era {
        &self.eras[self.eras.len() - 1]
    }

    /// What was decided last.
    pub fn now(&self) -> Moment {
        Moment { era: self.eras.len() - 1, place: self.era().last() }
    }

    /// Up to which place two eras are one history.
    pub fn common(&self, one: usize, other: usize) -> usize {
        let between = one.min(other) + 1..=one.max(other);
        between.map(|era| self.eras[era].shared).min().unwrap_or(usize::MAX)
    }

    /// The zxid that is counted on from.
    pub fn zxid(&self) -> Zxid {
        Zxid(self.zxid)
    }

    /// Whether a transaction had this zxid, in whatever era; or none has been seen.
    pub fn was_committed(&self, zxid: Zxid) -> bool {
        self.eras.iter().rev().any(|era| era.truth(era.place(zxid)).zxid == zxid)
    }

    /// Decides a transaction, and returns its place.
    pub fn commit(&mut self, changes: Vec<Change>, ended: i64, now: u64) -> usize {
        self.zxid += 1;
        let zxid = Zxid(self.zxid);
        let time = 1_700_000_000_000 + (now / 1000) as i64 + BETWEEN_ERAS * (self.eras.len() - 1) as i64;
        let Some(era) = self.eras.last_mut() else { unreachable!("there is an era") };
        if changes.len() > 1 {
            let paths = changes.iter().filter_map(|change| match change {
                Change::Create { path, .. } | Change::SetData { path, .. } => Some(path.clone()),
                _ => None,
            });
            era.multis.push((zxid, paths.collect()));
        }
        let mut truth = era.newest().clone();
        era.happened.push(truth.apply(&Transaction { zxid, time, changes }));
        era.history.push(truth);
        era.ended.push(ended);
        era.last()
    }

    /// Decides those of the changes that are possible, one behind the other, as one transaction. `None`: none is.
    pub fn commit_possible(&mut self, changes: Vec<Change>, now: u64) -> Option<usize> {
        let mut scratch = self.era().newest().clone();
        let mut possible = Vec::with_capacity(changes.len());
        for change in changes {
            if scratch.admits(&change) {
                let one = Transaction { zxid: scratch.zxid, time: 0, changes: vec![change] };
                scratch.apply(&one);
                possible.extend(one.changes);
            }
        }
        (!possible.is_empty()).then(|| self.commit(possible, 0, now))
    }

    /// Decides a transaction that sets the data of a node which is no part of the truth, as it is below one that
    /// nobody may read. Whoever watches is told.
    pub fn commit_out_of_sight(&mut self, path: Arc<str>, now: u64) -> usize {
        let place = self.commit(Vec::new(), 0, now);
        let access = treecache_checks::Access::Everyone;
        if let Some(era) = self.eras.last_mut() {
            era.happened[place].push(Happened { kind: Kind::DataChanged, path, access });
        }
        place
    }

    /// As if that many children had come and gone before anybody looked.
    pub fn saturate(&mut self, path: &str, left: i32) {
        self.saturated_at = self.era().last();
        if let Some(truth) = self.eras.last_mut().and_then(|era| era.history.last_mut()) {
            truth.saturate(path, left);
        }
    }

    /// A session that has not ended.
    pub fn has_session(&self, session: i64) -> bool {
        self.sessions.get(&session).is_some_and(|known| known.ended.is_none())
    }

    pub fn session(&mut self, session: i64) -> Option<&mut ServerSession> {
        self.sessions.get_mut(&session).filter(|known| known.ended.is_none())
    }

    /// Ends a session, and with it its ephemeral nodes.
    pub fn end_session(&mut self, session: i64, now: u64) -> usize {
        let place = self.commit(self.ephemerals(session), session, now);
        if let Some(known) = self.session(session) {
            known.ended = Some(place);
        }
        place
    }

    /// The deletions that the end of a session brings.
    fn ephemerals(&self, session: i64) -> Vec<Change> {
        let nodes = self.era().newest().subtree("/");
        let owned = nodes.filter(|(_, node)| node.stat.ephemeral_owner == session);
        owned.map(|(path, _)| Change::Delete { path: path.clone() }).collect()
    }

    pub fn new_session(&mut self, timeout: u64, now: u64, connection: usize) -> (i64, usize) {
        self.next_session += 1;
        let session = self.next_session;
        let password = session.to_be_bytes().repeat(2);
        let began = self.commit(Vec::new(), 0, now);
        let known =
            ServerSession { password, timeout, heard: now, connection, only_at: None, began, ended: None };
        self.sessions.insert(session, known);
        (session, began)
    }

    /// One that no other server knows (`localSessionsEnabled`).
    pub fn local_session(&mut self, timeout: u64, now: u64, connection: usize, server: usize) -> i64 {
        self.next_session += 1;
        let session = self.next_session;
        let password = session.to_be_bytes().repeat(2);
        let (only_at, began) = (Some(server), self.era().last());
        let known = ServerSession { password, timeout, heard: now, connection, only_at, began, ended: None };
        self.sessions.insert(session, known);
        session
    }

    /// Ends a session that one server knows. `false`: there is none.
    pub fn end_local(&mut self, session: i64) -> bool {
        let is_local = self.sessions.get(&session).is_some_and(|known| known.only_at.is_some());
        is_local && self.sessions.remove(&session).is_some()
    }

    /// Another leader: zxids go on in the next epoch (`Leader.lead`).
    pub fn elect(&mut self) {
        self.zxid = ((self.zxid >> 32) + 1) << 32;
    }

    /// All data and sessions are gone, and zxids begin again behind `zxid`.
    pub fn wipe(&mut self, zxid: i64) {
        self.eras.push(Era::new(self.era().newest().counts()));
        self.zxid = zxid;
        self.sessions.clear();
    }

    /// The data are again what they were at `place`, sessions included. Where servers were restarted for it, zxids
    /// go on behind that; otherwise they just go on (`restoreFromSnapshot` leaves `hzxid` alone). Returns the
    /// sessions that are back.
    pub fn restore(&mut self, place: usize, restarted: bool, now: u64) -> Vec<i64> {
        self.eras.push(self.era().beginning(place));
        if restarted {
            self.zxid = self.era().newest().zxid.0;
        }
        self.sessions.retain(|_, session| session.began <= place);
        let is_back = |session: &ServerSession| session.ended.is_none_or(|ended| ended > place);
        let mut back = Vec::new();
        for (id, session) in self.sessions.iter_mut().filter(|(_, session)| is_back(session)) {
            (session.ended, session.heard) = (None, now);
            back.push(*id);
        }
        // In an order that does not depend on how they are hashed.
        back.sort_unstable();
        back
    }
}
