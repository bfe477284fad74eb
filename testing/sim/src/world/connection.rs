//! One connection: two streams of bytes, what the server keeps for it, and how far the client has come.

use std::collections::VecDeque;
use std::sync::Arc;

use fastrand::Rng;
use treecache_core::Zxid;

use super::watches::Watches;
use crate::ensemble::Moment;
use crate::plan::Plan;

/// At this place of the stream to the client, it knows all of the history up to `contact`.
pub struct Mark {
    pub end: u64,
    pub contact: Moment,
    /// The zxid of a reply's header; not of a notification's, and not 0.
    pub header: Option<Zxid>,
    /// It is the reply to a multiRead.
    pub batch: bool,
    /// Nothing else is waited for before it is looked at.
    pub alone: bool,
    /// What it read, where that matters.
    pub paths: Vec<String>,
    /// How much the client had said when it asked for that.
    pub asked: u64,
}

/// A reply that waits until its server has applied a transaction.
pub enum Awaited {
    Welcome,
    Reply {
        xid: i32,
        error: i32,
        path: Option<String>,
    },
    /// Of a `multi` of checks: the error of each.
    Checked {
        xid: i32,
        errors: Vec<i32>,
    },
}

pub struct Connection {
    pub server: usize,
    /// Of the server's data.
    pub era: usize,
    /// It asks what has changed.
    pub is_side: bool,
    pub rng: Rng,
    pub is_established: bool,
    /// By the server.
    pub is_closed: bool,

    // The server's.
    pub inbox: Vec<u8>,
    /// How much has come to it.
    pub came: u64,
    pub awaited: Option<(usize, Awaited)>,
    /// The server does something else before it looks at the next request.
    pub waits_until: u64,
    /// When the last barrier came, and when its transaction is due here.
    pub barrier: (u64, u64),
    /// Since when something has always waited to be answered: what the client asks for stands behind that.
    pub busy_since: Option<u64>,
    /// 0 before the connect request was answered.
    pub session: i64,
    pub asked_for_session: bool,
    pub authenticated: bool,
    pub watches: Watches,
    /// Watches could not be set for what is read behind that: what is found is of no use to the client.
    pub is_unarmed: bool,
    pub last_xid: i32,
    /// The server may have forgotten the session: another database was put under this connection.
    pub forgot: bool,

    // The streams.
    outbox: Vec<u8>,
    /// Where the stream to the client begins that is still in `outbox`; how much was delivered.
    pub delivered: u64,
    pub cut_at: Option<u64>,
    pub silent_until: u64,
    last_arrival: u64,
    last_departure: u64,
    marks: VecDeque<Mark>,

    // The client's.
    pub contact: Option<Moment>,
    /// The zxid that the server has named last.
    pub named: Zxid,
    /// When the last bytes came that it was given.
    pub heard_at: u64,
    /// What came while the client's process stood still: up to which place of the stream, and when.
    pub waited: (u64, u64),
    /// How much it has said.
    pub said: u64,
    /// The reply to what had been said up to here is looked at together with one that has shown that the watch is lost.
    pub lost_watch_seen_with: Option<u64>,
    /// Replies to single reads at which the client has not looked yet: up to where all that was said is to be answered
    /// first, and of which moment they are of which node.
    not_looked_at: Vec<(u64, Moment, String)>,
    /// The roots of caches that were closed while this connection was there, and how much had been said then: nobody
    /// looks at what they have asked for.
    pub closed: Vec<(Arc<str>, u64)>,
}

impl Connection {
    pub fn new(server: usize, era: usize, rng: Rng) -> Connection {
        Connection {
            server,
            era,
            is_side: false,
            rng,
            is_established: false,
            is_closed: false,
            inbox: Vec::new(),
            came: 0,
            awaited: None,
            waits_until: 0,
            barrier: (0, 0),
            busy_since: None,
            session: 0,
            asked_for_session: false,
            authenticated: false,
            watches: Watches::default(),
            is_unarmed: false,
            last_xid: 0,
            forgot: false,
            outbox: Vec::new(),
            delivered: 0,
            cut_at: None,
            silent_until: 0,
            last_arrival: 0,
            last_departure: 0,
            marks: VecDeque::new(),
            contact: None,
            named: Zxid(0),
            heard_at: 0,
            waited: (0, 0),
            said: 0,
            lost_watch_seen_with: None,
            not_looked_at: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn latency(&mut self, plan: &Plan) -> u64 {
        self.rng.u64(plan.latency.0..=plan.latency.1)
    }

    /// When what is sent to the client now arrives.
    pub fn arrival(&mut self, now: u64, plan: &Plan) -> u64 {
        self.last_arrival = self.last_arrival.max(now.max(self.silent_until) + self.latency(plan));
        self.last_arrival
    }

    /// When what the client sends now arrives.
    pub fn departure(&mut self, now: u64, plan: &Plan) -> u64 {
        self.last_departure = self.last_departure.max(now.max(self.silent_until) + self.latency(plan));
        self.last_departure
    }

    pub fn outbox(&mut self) -> &mut Vec<u8> {
        &mut self.outbox
    }

    /// The end of the stream to the client.
    pub fn end(&self) -> u64 {
        self.delivered + self.outbox.len() as u64
    }

    /// What was written last tells of the history up to `place`.
    pub fn mark(&mut self, place: usize, header: Option<Zxid>, batch: bool, paths: Vec<String>) {
        let (end, contact) = (self.end(), Moment { era: self.era, place });
        let asked = self.came - self.inbox.len() as u64;
        let paths = if self.is_unarmed { Vec::new() } else { paths };
        self.marks.push_back(Mark { end, contact, header, batch, alone: batch, paths, asked });
    }

    /// As [`mark`](Self::mark), of the Stat of a node that was asked for by itself.
    pub fn mark_stat(&mut self, place: usize, header: Zxid, path: String) {
        self.mark(place, Some(header), false, vec![path]);
        self.marks.iter_mut().last().expect("it was put there").alone = true;
    }

    /// What the client looks at now that a reply has come: the nodes that were read, each with the moment that the reply is
    /// of. A server without multiRead answers one by one what went out together, and the client looks at that when all of
    /// it is there.
    pub fn looked_at(&mut self, mark: &Mark) -> Vec<(Moment, String)> {
        let seen_with = if mark.alone { mark.asked } else { self.said };
        let came = mark.paths.iter().map(|path| (seen_with, mark.contact, path.clone()));
        self.not_looked_at.extend(came);
        let is_whole = |(seen_with, ..): &mut (u64, Moment, String)| *seen_with <= mark.asked;
        let whole = self.not_looked_at.extract_if(.., is_whole);
        whole.map(|(_, moment, path)| (moment, path)).collect()
    }

    /// Until when nothing new gets through, in either direction: what is under way may be held up by a silence that a
    /// shorter one has followed.
    pub fn held_up_until(&self) -> u64 {
        self.silent_until.max(self.last_arrival).max(self.last_departure)
    }

    /// Where the next mark is; behind everything when there is none.
    pub fn next_mark(&self) -> u64 {
        self.marks.front().map_or(u64::MAX, |mark| mark.end)
    }

    pub fn take_until(&mut self, to: u64) -> Vec<u8> {
        let count = to.saturating_sub(self.delivered) as usize;
        let rest = self.outbox.split_off(count);
        self.delivered = self.delivered.max(to);
        std::mem::replace(&mut self.outbox, rest)
    }

    /// The marks that were passed.
    pub fn take_marks(&mut self) -> Vec<Mark> {
        let passed = self.marks.iter().take_while(|mark| mark.end <= self.delivered).count();
        self.marks.drain(..passed).collect()
    }
}
