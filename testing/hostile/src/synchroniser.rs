//! Lies for the caches of a session, in well-formed replies and notifications.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use treecache_core::path::NodePath;
use treecache_core::selection::Selection;
use treecache_core::stat::Zxid;
use treecache_core::state::State;
use treecache_core::sync::{self, Breach, CacheId, Data, Group, Modes, Options, Pace, Purpose, VerifyMode};
use treecache_core::wire::{Notification, Read, Request, ServerError};

use crate::input::Input;
use crate::liar::{self, Asked, Liar};
use crate::rules::{self, Caches};

const MOST_CACHES: usize = 6;
/// What may be in flight at a time: the budget, and one flight of hot paths beyond it.
const MOST_READS: usize = 2048 + 4096;

/// Plays the session to the caches. The order of its words is the one that `Session` keeps, whatever a server does;
/// what they say is made up.
struct Stage {
    group: Group,
    chroot: NodePath,
    now: Instant,
    link: Link,
    asked: VecDeque<(Request, Purpose)>,
    reads: usize,
    liar: Liar,
    caches: Caches,
    last_id: u64,
    /// Bytes that a server would have had to send.
    fed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Never,
    Up,
    Suspended,
    Lost,
}

/// A scene of lies; then the connection is another, the server honest, and its tree empty: the caches must come to
/// rest with it.
pub fn synchroniser(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let chroot = NodePath::new(input.choose(&["/", "/c"])).expect("a valid path");
    let mut stage = Stage {
        group: Group::new(chroot.clone(), Modes::default(), fastrand::Rng::with_seed(1)),
        chroot,
        now: Instant::now(),
        link: Link::Never,
        asked: VecDeque::new(),
        reads: 0,
        liar: Liar::default(),
        caches: Caches::default(),
        last_id: 0,
        fed: 0,
    };
    stage.open(&mut input);
    stage.pump();
    while !input.is_empty() {
        stage.act(&mut input);
        stage.pump();
    }
    stage.end_honestly();
    stage.fed
}

fn options(input: &mut Input<'_>) -> Options {
    let flags = input.byte();
    Options {
        selection: Selection::default(),
        follow: true,
        single: false,
        create_root: flags & 1 > 0,
        container_parents: false,
        limit_nodes: if flags & 6 == 6 { 20 } else { 0 },
        limit_bytes: if flags & 24 == 24 { 200 } else { 0 },
        data: Data::All,
        limit_path: if flags & 32 > 0 { 40 } else { 300 },
        verify: VerifyMode::Read,
        audit_interval: if flags & 64 > 0 { Duration::from_secs(1) } else { Duration::ZERO },
        pace: Pace { unproven: if flags & 128 > 0 { 2 } else { 120 }, ..Pace::default() },
    }
}

impl Stage {
    fn act(&mut self, input: &mut Input<'_>) {
        match input.byte() {
            ..=120 => self.answer(input),
            121..=200 => self.notify(input),
            201..=215 => self.advance(Duration::from_millis(input.below(256) as u64)),
            216..=222 => self.advance(Duration::from_secs(2)),
            223..=229 => self.open(input),
            230..=233 => {
                let ids = self.caches.ids();
                if !ids.is_empty() {
                    let id = input.choose(&ids);
                    self.caches.close(id);
                    self.group.handle_input(id, sync::Input::Close, self.now);
                }
            }
            234..=239 => self.sync(input),
            _ => self.change_link(input),
        }
    }

    fn open(&mut self, input: &mut Input<'_>) {
        if self.caches.len() < MOST_CACHES {
            self.last_id += 1;
            let (root, options) = (liar::root(input), options(input));
            self.caches.open(CacheId(self.last_id), options.clone());
            self.group.handle_input(CacheId(self.last_id), sync::Input::Open(root, options), self.now);
        }
    }

    fn sync(&mut self, input: &mut Input<'_>) {
        let ids = self.caches.ids();
        if !ids.is_empty() {
            let id = input.choose(&ids);
            self.group.handle_input(id, sync::Input::Sync(self.caches.call(id)), self.now);
        }
    }

    fn change_link(&mut self, input: &mut Input<'_>) {
        match self.link {
            Link::Up => {
                self.asked.clear();
                self.reads = 0;
                // What a ping named may be newer than the last reply.
                self.group.handle_suspended(transaction(self.liar.next_zxid(input)), self.now);
                self.link = Link::Suspended;
            }
            Link::Suspended if input.byte() > 127 => {
                self.group.handle_lost();
                self.link = Link::Lost;
            }
            before => {
                if before != Link::Never && input.byte() > 200 {
                    self.reset();
                }
                self.group.handle_connected(input.byte() > 127, "s:1", self.now);
                self.link = Link::Up;
            }
        }
    }

    fn reset(&mut self) {
        self.group.handle_reset();
        self.caches.reset();
        self.liar = Liar::default();
    }

    fn notify(&mut self, input: &mut Input<'_>) {
        let body = liar::notification(input);
        if let (Link::Up, Ok(notification)) = (self.link, Notification::decode(&body)) {
            self.fed += body.len();
            self.group.handle_notification(&notification, self.now);
        }
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        let Some((request, purpose)) = self.asked.pop_front() else { return };
        self.reads -= rules::reads(&request, &self.chroot);
        let answer = self.liar.answer(&Asked::from(&request), input);
        self.fed += answer.body.len() + 20;
        // The session takes any zxid with an error, and then none with a success that is older.
        let zxid = if answer.error == 0 { answer.zxid } else { input.number() };
        self.liar.zxid = self.liar.zxid.max(zxid);
        let (zxid, error) = (Zxid(zxid), ServerError(answer.error));
        if let Err(breach) = self.group.handle_reply(&purpose, zxid, error, &answer.body, self.now)
            && self.link == Link::Up
        {
            self.asked.clear();
            self.reads = 0;
            self.group.handle_suspended(None, self.now);
            self.link = Link::Suspended;
            if let Breach::OtherHistory(_) = breach {
                self.group.handle_reset();
                self.caches.reset();
            }
        }
    }

    /// Lets time pass, in the steps that the group asks for.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(at) = self.group.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.group.handle_timeout(self.now);
            self.pump();
            assert!(self.group.poll_timeout().is_none_or(|at| at > self.now), "it would be called for ever");
            steps += 1;
            // The audit's steps are 50 ms apart at least, and there is one of the rest for each cache.
            assert!(steps <= self.caches.len() * (8 + time.as_millis() as usize / 50), "{steps} steps");
        }
        self.now = end;
        self.pump();
    }

    fn pump(&mut self) {
        let mut requests = 0;
        while let Some((request, purpose)) = self.group.poll_request(self.now) {
            assert!(self.link == Link::Up, "a request without a connection");
            if request == Request::FeatureFlags {
                // It is no ClickHouse Keeper, and that is no lie.
                let (zxid, error) = (Zxid(self.liar.zxid), ServerError::NO_NODE);
                self.group.handle_reply(&purpose, zxid, error, &[], self.now).expect("well formed");
                continue;
            }
            self.reads += rules::reads(&request, &self.chroot);
            assert!(self.reads <= MOST_READS, "{} reads in flight", self.reads);
            self.asked.push_back((request, purpose));
            requests += 1;
            assert!(requests <= MOST_READS, "{requests} requests at once");
        }
        let mut outputs = 0;
        while let Some((id, output)) = self.group.poll_output() {
            self.caches.check(id, output);
            outputs += 1;
        }
        assert!(outputs <= 16 * self.caches.len(), "{outputs} outputs at once");
    }

    fn end_honestly(&mut self) {
        if self.link == Link::Up {
            self.group.handle_suspended(transaction(self.liar.zxid), self.now);
        }
        (self.link, self.reads) = (Link::Up, 0);
        self.asked.clear();
        if self.liar.zxid == i64::MAX {
            // A session finds that no server has come so far.
            self.reset();
        }
        self.group.handle_connected(false, "s:1", self.now);
        let mut behind = (1..).map(|more| Zxid(self.liar.zxid + more));
        let zxid =
            behind.find(|zxid| zxid.is_transaction()).expect("one of two that follow each other is one");
        for _ in 0..20 {
            self.pump();
            let mut replies = 0;
            while let Some((request, purpose)) = self.asked.pop_front() {
                self.reads -= rules::reads(&request, &self.chroot);
                let (error, body) = nothing_there(&request);
                self.group.handle_reply(&purpose, zxid, error, &body, self.now).expect("well formed");
                self.pump();
                replies += 1;
                assert!(replies < 100_000, "it does not come to rest");
            }
            self.advance(Duration::from_secs(1));
        }
        assert!(self.caches.are_answered(), "a call of sync waits for ever");
        for state in self.caches.states() {
            assert_eq!(state, (State::InStep, 0));
        }
    }
}

/// What a server without any node says.
fn nothing_there(request: &Request) -> (ServerError, Vec<u8>) {
    match request {
        Request::MultiRead(reads) => {
            let result = [&(-1i32).to_be_bytes()[..], &[0], &[0xff; 4], &(-101i32).to_be_bytes()].concat();
            let end = [&(-1i32).to_be_bytes()[..], &[1], &[0xff; 4]].concat();
            (ServerError::OK, [result.repeat(reads.iter().map(Read::operations).sum()), end].concat())
        }
        Request::Exists(_)
        | Request::ExistsWatched(_)
        | Request::Data(_)
        | Request::ChildrenWithStat(_)
        | Request::CreateFromServerRoot(_)
        | Request::CreateContainerFromServerRoot(_) => (ServerError::NO_NODE, Vec::new()),
        _ => (ServerError::OK, Vec::new()),
    }
}

/// What a session tells of the zxid that was named last.
fn transaction(zxid: i64) -> Option<Zxid> {
    Some(Zxid(zxid)).filter(|zxid| zxid.is_transaction())
}
