//! The ensemble's memory: transactions, the tree after each of them, sessions. Which server has applied what, and who
//! is connected to it, is the world's.

use std::collections::HashMap;
use std::sync::Arc;

use treecache::Zxid;
use treecache_checks::{Change, Happened, Transaction, Truth};

/// One life of the ensemble, from empty to its end by a wipe.
pub struct Era {
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
    fn new() -> Era {
        Era {
            history: vec![Truth::default()],
            happened: vec![Vec::new()],
            ended: vec![0],
            multis: Vec::new(),
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

pub struct ServerSession {
    pub password: Vec<u8>,
    pub timeout: u64,
    /// In microseconds.
    pub heard: u64,
    /// The connection that owns it.
    pub connection: usize,
}

pub struct Ensemble {
    pub eras: Vec<Era>,
    epoch: i64,
    counter: i64,
    pub sessions: HashMap<i64, ServerSession>,
    next_session: i64,
}

impl Ensemble {
    pub fn new() -> Ensemble {
        // Not the first epoch, so that a wiped ensemble begins below.
        Ensemble {
            eras: vec![Era::new()],
            epoch: 5,
            counter: 0,
            sessions: HashMap::new(),
            next_session: 0x1000,
        }
    }

    pub fn era(&self) -> &Era {
        &self.eras[self.eras.len() - 1]
    }

    /// Decides a transaction, and returns its place.
    pub fn commit(&mut self, changes: Vec<Change>, ended: i64, now: u64) -> usize {
        self.counter += 1;
        let zxid = Zxid(self.epoch << 32 | self.counter);
        let time = 1_700_000_000_000 + (now / 1000) as i64;
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

    /// Ends a session, and with it its ephemeral nodes.
    pub fn end_session(&mut self, session: i64, now: u64) -> usize {
        self.sessions.remove(&session);
        self.commit(self.ephemerals(session), session, now)
    }

    /// The deletions that the end of a session brings.
    pub fn ephemerals(&self, session: i64) -> Vec<Change> {
        let nodes = self.era().newest().subtree("/");
        let owned = nodes.filter(|(_, node)| node.stat.ephemeral_owner == session);
        owned.map(|(path, _)| Change::Delete { path: path.clone() }).collect()
    }

    pub fn new_session(&mut self, timeout: u64, now: u64, connection: usize) -> (i64, usize) {
        self.next_session += 1;
        let session = self.next_session;
        let password = session.to_be_bytes().repeat(2);
        self.sessions.insert(session, ServerSession { password, timeout, heard: now, connection });
        (session, self.commit(Vec::new(), 0, now))
    }

    /// Another leader: zxids go on in the next epoch.
    pub fn elect(&mut self) {
        (self.epoch, self.counter) = (self.epoch + 1, 0);
    }

    /// All data and sessions are gone, and zxids begin again.
    pub fn wipe(&mut self) {
        self.eras.push(Era::new());
        (self.epoch, self.counter) = (1, 0);
        self.sessions.clear();
    }
}
