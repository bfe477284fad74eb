//! What a contender asks of the server, counted where it passes by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use treecache_test_support::{Proxy, Verdict};

const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const PING: i32 = 11;
const GET_CHILDREN_2: i32 = 12;
const MULTI_READ: i32 = 22;

/// Notifications and pings are no answers.
const NO_ANSWER: [i32; 2] = [-1, -2];

#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub requests: u64,
    /// Requests that were sent without a wait for an answer are one round trip together.
    pub round_trips: u64,
    /// Nodes asked for, each of a batch by itself.
    pub reads: u64,
    pub first_request: Option<Instant>,
    pub first_read: Option<Instant>,
    pub last_request: Option<Instant>,
    pub last_answer: Option<Instant>,
    /// An answer came behind the last request.
    is_answered: bool,
}

/// Counts on a proxy, pings aside.
#[derive(Clone)]
pub struct Traffic(Arc<Mutex<Seen>>);

impl Traffic {
    pub fn of(proxy: &Proxy) -> Traffic {
        let traffic = Traffic(Arc::default());
        let seen = traffic.clone();
        proxy.on_request(Box::new(move |request| {
            if request.opcode != PING {
                seen.lock().request(request.opcode, request.body);
            }
            Verdict::Pass
        }));
        let seen = traffic.clone();
        proxy.on_reply(Box::new(move |reply| {
            if !NO_ANSWER.contains(&reply.xid) {
                seen.lock().answer();
            }
            Verdict::Pass
        }));
        traffic
    }

    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.lock())
    }

    /// Whether anything was asked.
    pub fn has_begun(&self) -> bool {
        self.lock().requests > 0
    }

    /// When something was answered last.
    pub fn last_answer(&self) -> Option<Instant> {
        self.lock().last_answer
    }

    /// Whether something was asked, and the last answer is so long ago.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        let seen = self.lock();
        seen.last_answer >= seen.last_request && seen.last_answer.is_some_and(|last| last.elapsed() > time)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn request(&mut self, opcode: i32, body: &[u8]) {
        let now = Instant::now();
        let reads = match opcode {
            EXISTS | GET_DATA | GET_CHILDREN | GET_CHILDREN_2 => 1,
            MULTI_READ => reads_of(body),
            _ => 0,
        };
        self.round_trips += u64::from(self.requests == 0 || self.is_answered);
        self.is_answered = false;
        self.requests += 1;
        self.reads += reads;
        self.first_request.get_or_insert(now);
        self.last_request = Some(now);
        if reads > 0 {
            self.first_read.get_or_insert(now);
        }
    }
    fn answer(&mut self) {
        self.last_answer = Some(Instant::now());
        self.is_answered = true;
    }
}

/// How many reads a batch holds: each has a header of nine bytes, a path with its length, and a byte that asks for a
/// watch; the last header says that it is the last.
fn reads_of(mut body: &[u8]) -> u64 {
    let mut reads = 0;
    loop {
        let Some((header, rest)) = body.split_at_checked(9) else { return reads };
        if header[4] == 1 {
            return reads;
        }
        let Some((length, rest)) = rest.split_first_chunk() else { return reads };
        let length = u32::from_be_bytes(*length) as usize + 1;
        reads += 1;
        body = rest.get(length..).unwrap_or_default();
    }
}
