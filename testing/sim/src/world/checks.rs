//! What the caches say of themselves, against the truth; and what they cannot know.

use std::sync::Arc;
use std::time::Duration;

use treecache_checks::{Check, Excused, Happened, Kind, Violation};
use treecache_core::Zxid;
use treecache_core::sync::{CacheId, SyncMode, WatchMode};

use super::cache::{Call, Watched};
use super::connection::{Connection, Mark};
use super::server::Server;
use super::{Tally, World};
use crate::ensemble::Moment;
use crate::plan::Make;

/// So many intervals of the audit after the last trouble, a cache has noticed that its watch is lost: one until the
/// next pass begins, which sets the watch again, one for the pass, which reads all nodes, and as much again for replies
/// and reconnects.
const NOTICED_WITHIN: u64 = 4;

/// Something that was hidden from the session: when it happened, and at which place of the history the session has
/// read the node, or its parent, after it.
#[derive(Clone)]
pub(super) struct Unnoticed {
    pub(super) path: Arc<str>,
    /// A node came or went: the parent shows it, if that is in the tree.
    pub(super) of_parent: bool,
    pub(super) era: usize,
    pub(super) since: usize,
    pub(super) read: Option<usize>,
}

impl Unnoticed {
    /// `root` is the cache's: what is above that is not in the tree.
    pub(super) fn of(happened: &Happened, root: &str, era: usize, since: usize) -> Unnoticed {
        let is_root = *happened.path == *root;
        let of_parent = !is_root && matches!(happened.kind, Kind::Created | Kind::Deleted);
        Unnoticed { path: happened.path.clone(), of_parent, era, since, read: None }
    }
}

/// Whether `path` is `root`, or below it.
pub(super) fn is_below(path: &str, root: &str) -> bool {
    let below = || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    root == "/" || below()
}

impl World {
    /// What the client has heard of: of its connection, or of the last one that told it something.
    pub(super) fn contact(&self) -> Option<Moment> {
        self.connections.iter().rev().find_map(|connection| connection.contact)
    }

    /// The last one that caches lived on.
    fn last_connection(&self) -> Option<&Connection> {
        self.connections.iter().rev().find(|connection| !connection.is_side)
    }

    /// The newest zxid that it was told.
    pub(super) fn seen_zxid(&self) -> Option<Zxid> {
        self.contact().map(|Moment { era, place }| self.ensemble.eras[era].truth(place).zxid)
    }

    /// The watches are gone, and no notification says so: until the audit has been by, nobody can know.
    pub(super) fn lose_sight(&mut self) {
        // Nor where nothing gets through at present, or the client stands still.
        let silent_until = self.current.map_or(0, |id| self.connections[id].held_up_until());
        let busy_until = self.servers.iter().map(Server::busy_until).max().unwrap_or(0);
        let begins = self.now.max(silent_until).max(busy_until).max(self.asleep_until);
        // The audit reads 64 nodes in 100 ms at most.
        let nodes = self.ensemble.era().newest().subtree("/").count() as u64;
        let pass = (self.plan.audit_ms * 1000).max(nodes.div_ceil(64) * 100_000);
        let noticed = begins + NOTICED_WITHIN * pass;
        self.blind_until = self.blind_until.max(noticed);
    }

    /// While it cannot know, trouble comes on top.
    pub(super) fn stay_blind(&mut self, time: u64) {
        if self.is_blind() {
            self.blind_until += time;
        }
    }

    pub(super) fn is_blind(&self) -> bool {
        self.now < self.blind_until || self.is_dropped()
    }

    /// The server drops whatever is asked on the connection, without a word: until the client takes it for silent, it
    /// cannot know.
    fn is_dropped(&self) -> bool {
        let connection = self.current.map(|id| &self.connections[id]);
        connection
            .is_some_and(|connection| connection.forgot && !self.ensemble.has_session(connection.session))
    }

    /// Whether what has come up to this reply has shown the client that its watch is lost. A server without multiRead answers
    /// one by one what went out together, and the client looks at that when all of it is there.
    pub(super) fn has_shown_lost_watch(&mut self, id: usize, mark: &Mark) -> bool {
        let is_shown = self.shows_lost_watch(mark);
        let connection = &mut self.connections[id];
        if is_shown {
            let seen_with = if mark.batch { mark.asked } else { connection.said };
            connection.lost_watch_seen_with.get_or_insert(seen_with);
        }
        connection.lost_watch_seen_with.take_if(|asked| *asked <= mark.asked).is_some()
    }

    /// Whether this reply shows what no notification told of: a node's data, changed since the watch was lost. Where
    /// nothing else was in doubt, that says that the watch is lost.
    fn shows_lost_watch(&self, mark: &Mark) -> bool {
        let Some(lost) = self.lost_watch.filter(|lost| lost.era == mark.contact.era) else { return false };
        if !self.is_blind() || self.plan.restricted || !self.caches.values().all(Watched::says_in_step) {
            return false;
        }
        let history = &self.ensemble.eras[lost.era];
        let since = |path: &String| {
            let known = self.read_since_lost.get(path).map_or(lost.place, |read| lost.place.max(*read));
            (known + 1..=mark.contact.place).flat_map(|place| history.happened(place))
        };
        // What a watch that was set since tells of is not untold.
        let Some(connection) = self.current.map(|id| &self.connections[id]) else { return false };
        let is_told = |path: &str| connection.watches.tells_of_data(path);
        // Nor is there anybody to notice it if the cache that asked is closed.
        let is_closed =
            |path: &str, (root, said): &(Arc<str>, u64)| mark.asked <= *said && is_below(path, root);
        let is_asked = |path: &str| !connection.closed.iter().any(|closed| is_closed(path, closed));
        mark.paths.iter().filter(|path| !is_told(path) && is_asked(path)).any(|path| {
            let mut of_path = since(path).filter(|happened| *happened.path == **path).peekable();
            of_path.peek().is_some() && of_path.all(|happened| happened.kind == Kind::DataChanged)
        })
    }

    /// *live*: a server that leaves commits where they are until something comes is not waited for (ZOOKEEPER-4537). The
    /// pause between two pings is never longer than all that it took before.
    pub(super) fn check_woken(&self, id: usize) -> Result<(), Violation> {
        let (asked, due) = self.connections[id].barrier;
        let patience = due.saturating_sub(asked) + 100_000 + 8 * self.plan.latency.1;
        let waited = self.now - due.max(asked);
        Check::Live.that(!self.is_calm || waited <= patience, || {
            format!("a barrier has waited for {} ms on a server that waits to be asked", waited / 1000)
        })
    }

    /// *bounded*: how much is asked for what has happened. Some requests for each transaction, for each connection and
    /// each load; and over time the audit's, and what is asked again of a server that could not answer.
    /// Single reads, of which many stand for a multiRead, count an eighth.
    pub(super) fn check_requests(&mut self, is_single: bool) -> Result<(), Violation> {
        self.eighths_of_requests += if is_single { 1 } else { 8 };
        let Tally { transactions, connections, .. } = self.tally;
        let most = 2000 + 50 * transactions + 100 * connections + self.now / 10_000;
        let requests = self.eighths_of_requests / 8;
        Check::Bounded.that(requests <= most, || {
            format!("{requests} requests for {transactions} transactions, {connections} connections")
        })
    }

    /// *bounded*: the processor's time that taking in some bytes takes. It is measured where a path is long, and the
    /// bound is one of hundreds: whatever grows with the square of the bytes is far beyond it.
    pub(super) fn check_time(&self, taken: Duration, bytes: usize) -> Result<(), Violation> {
        let most = Duration::from_millis(30) + Duration::from_nanos(100) * bytes as u32;
        Check::Bounded.that(taken <= most, || format!("{} ms for {bytes} bytes", taken.as_millis()))
    }

    /// The client has heard of a moment.
    pub(super) fn heard_of(&mut self, Moment { era, place }: Moment) {
        if self.heard.len() <= era {
            self.heard.resize(era + 1, 0);
        }
        self.heard[era] = self.heard[era].max(place);
    }

    /// *no false alarm*: the ensemble has another history than what was heard of since the last reset.
    pub(super) fn check_reset(&self) -> Result<(), Violation> {
        let era = self.last_connection().map_or(0, |connection| connection.era);
        let heard = self.heard.iter().enumerate();
        let is_so = heard.clone().any(|(other, place)| *place > self.ensemble.common(era, other));
        Check::NoFalseAlarm.that(is_so, || {
            let heard: Vec<(usize, usize)> = heard.map(|(era, place)| (era, *place)).collect();
            format!("a reset is told in era {era}, and all that was heard of still holds: {heard:?}")
        })
    }

    /// *no false alarm*: the client does without recursive watches (`is_without`) only where some server has none that can
    /// be believed, or it was told to. (If data is put back below a live connection, what was told and what is there do not fit
    /// together either, and the connection has to end in any case.)
    pub(super) fn check_believed(&self, is_without: bool) -> Result<(), Violation> {
        let is_so = !is_without || self.plan.watch_mode == WatchMode::OneShot || self.plan.rolls;
        // Under a live connection, a deletion can be told of one history, and the root be read in another.
        let is_so = is_so || self.plan.loses_watches();
        let is_good = |make: &Make| *make == Make::Modern;
        Check::NoFalseAlarm.that(is_so || !self.plan.servers.iter().all(is_good), || {
            "recursive watches are not used, and all servers have good ones".to_owned()
        })
    }

    /// The reset was told: what was heard of is forgotten.
    pub(super) fn was_reset(&mut self) {
        self.heard.clear();
        let connection = self.last_connection();
        if let Some(moment) = connection.and_then(|connection| connection.contact) {
            self.heard_of(moment);
        }
    }

    /// *synced*: what can be read now has all that was committed when these calls were made. It need not have been
    /// published since: it is the tree of that moment, or of one between that and what the client has heard of.
    pub(super) fn check_synced(&mut self, id: CacheId, calls: &[Call]) -> Result<(), Violation> {
        let (Some(cache), Some(Moment { era, place: heard })) = (self.caches.get(&id), self.contact()) else {
            return Ok(());
        };
        self.tally.synced += calls.len() as u64;
        // What a leader answers to a `sync` promises nothing.
        let is_checked = !self.is_blind() && (self.plan.sync_mode == SyncMode::Barrier || !self.plan.leads);
        let history = &self.ensemble.eras[era];
        for Call { ticket, moment } in calls.iter().filter(|_| is_checked) {
            // What the servers lose under a live connection is lost, and what shows that they have is another check's. (A call
            // that waits while a connection ends is answered then.)
            let called = moment.place.min(self.ensemble.common(era, moment.era));
            let is_of = |place: usize| {
                let excused = excused(&self.unnoticed, era, place);
                cache.is_cut_of(history.truth(place), &excused)
            };
            Check::Synced.that((called..=heard).rev().any(is_of), || {
                format!(
                    "{ticket:?} is answered, of {moment:?}, and {heard} was heard of: {}",
                    cache.describe()
                )
            })?;
        }
        Ok(())
    }

    /// *honest*, and *fed*: what the caches say of themselves, against what the client has heard.
    pub(super) fn check_contact(&mut self) -> Result<(), Violation> {
        let connection = self.current.map(|at| &self.connections[at]);
        let timeout = self.plan.granted_timeout_ms * 1000;
        if self.now <= self.asleep_until {
            // Nobody can ask.
            return Ok(());
        }
        let is_blind = self.is_blind();
        for (id, cache) in &mut self.caches {
            cache.check_fed(*id, &mut self.tally)?;
            cache.check_suspended(*id, self.now, timeout)?;
            Check::Live.that(connection.is_some() || !cache.is_called(), || {
                format!("{id:?} lets a call of sync wait, and has no connection")
            })?;
            if !cache.says_in_step() {
                continue;
            }
            let Some(connection) = connection.filter(|connection| connection.is_established) else {
                return Err(Check::Honest.violated(format!("{id:?} is in step without a connection")));
            };
            let silent = self.now - connection.heard_at;
            Check::Honest.that(silent <= timeout, || {
                format!("{id:?} is in step, and has heard nothing for {} ms", silent / 1000)
            })?;
            let Some(contact) = connection.contact else { continue };
            if is_blind || cache.was_compared(contact) {
                continue;
            }
            self.tally.claims += 1;
            let Moment { era, place } = contact;
            let excused = excused(&self.unnoticed, era, place);
            let truth = self.ensemble.eras[era].truth(place);
            cache.check_claim(*id, truth, &excused)?;
        }
        Ok(())
    }
}

/// What the session could not know of the history up to `at`.
pub(super) fn excused(unnoticed: &[Unnoticed], era: usize, at: usize) -> Excused {
    let unknown =
        unnoticed.iter().filter(|change| change.era == era && change.read.is_none_or(|read| read > at));
    unknown.map(|change| (change.path.clone(), Zxid(change.since as i64))).collect()
}

pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => "",
    }
}

/// The processor's time of this thread.
pub(super) fn processor_time() -> Duration {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = said.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(first.unwrap_or_else(|| panic!("no time in {said:?}")))
}
