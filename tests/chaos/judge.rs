//! What was seen of the caches, held against what the ensemble says that it has done.
//!
//! - *exact*, *monotonic*, *atomic*: of every version that a listener found at the end of a version, and of every
//!   one that was seen by asking every two milliseconds. (What came and went between two looks nobody has seen.)
//! - *complete*, *ordered*: of every event; and what was told is what could be read, wherever it can be known that
//!   both are of one version.
//! - *honest*: a version that was said to be in step is a cut; it has all that another cache of the same client had
//!   shown before the last contact; and it has all that was written [`STALE_BOUND`] before the last contact. (How
//!   far a server was at that contact, a client cannot know: it may lag behind its leader, or have been stopped.)
//! - *fed*: in fair weather, every change is in a cut within [`FED_BOUND`].
//!
//! *live* is checked by whoever knows when the faults stopped.

use std::collections::HashSet;

use treecache::{EventKind, Snapshot, Zxid};
use treecache_checks::{Check, Excused, Observer, Replay, Transaction, Truth, Violation, difference};

use crate::history::History;
use crate::observed::{Claim, Glimpse, Millis, Note, Watched};

/// Longer than a client stays with a silent server and a server without its leader, and than both together.
const STALE_BOUND: Millis = 20_000;
const FED_BOUND: Millis = 5_000;
/// So many transactions before and behind a cut are looked at for *atomic*. (*exact* looks at all of them.)
const MULTIS: usize = 8;

/// What happened in one round.
pub struct Round<'r> {
    /// Of each time that the ensemble began at zxid 0: the one the round began in, and those that came in it.
    pub histories: &'r [History],
    /// How many there were before the first of these.
    pub first_era: usize,
    /// When nothing was wrong, and everybody wrote; in the first of these histories.
    pub fair: (Millis, Millis),
}

impl Round<'_> {
    fn last_era(&self) -> usize {
        self.first_era + self.histories.len() - 1
    }
}

/// What was checked, and found.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub cuts: u64,
    pub others: u64,
    pub events: u64,
    pub replayed: u64,
    pub claims: u64,
    pub suspended: u64,
    pub reconnected: u64,
    pub lost: u64,
    pub resets: u64,
    /// How long before the last contact the oldest change was made that a version in step did not have.
    pub stalest: Millis,
    /// The longest that a change waited for a cut in fair weather.
    pub longest_wait: Millis,
    /// How many changes that was measured with.
    pub waits: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.cuts += other.cuts;
        self.others += other.others;
        self.events += other.events;
        self.replayed += other.replayed;
        self.claims += other.claims;
        self.suspended += other.suspended;
        self.reconnected += other.reconnected;
        self.lost += other.lost;
        self.resets += other.resets;
        self.stalest = self.stalest.max(other.stalest);
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.waits += other.waits;
    }
}

/// The truth as it was at one zxid after the other.
struct Past<'h> {
    transactions: &'h [Transaction],
    truth: Truth,
    next: usize,
}

impl<'h> Past<'h> {
    fn of(history: &'h History) -> Past<'h> {
        Past { transactions: &history.transactions, truth: Truth::of_a_new_server(), next: 0 }
    }

    fn at(&mut self, zxid: Zxid) -> &Truth {
        if self.truth.zxid > zxid {
            (self.truth, self.next) = (Truth::of_a_new_server(), 0);
        }
        while let Some(transaction) = self.transactions.get(self.next).filter(|next| next.zxid <= zxid) {
            self.truth.apply(transaction);
            self.next += 1;
        }
        &self.truth
    }
}

/// Where the listener believes the connection to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Suspended,
    Lost,
}

/// Judges one cache, round by round.
pub struct Judge {
    root: &'static str,
    observer: Observer,
    replay: Replay,
    link: Link,
    initialized: bool,
    /// IN_STEP was told, and no disconnect since.
    in_step: bool,
    /// How many resets were told.
    resets: usize,
    /// In which of all histories the listener is.
    told_era: usize,
    last_told: Zxid,
    pub tally: Tally,
}

impl Judge {
    pub fn new(root: &'static str) -> Judge {
        Judge {
            root,
            observer: Observer::new(root),
            replay: Replay::new(root),
            link: Link::Up,
            initialized: false,
            in_step: false,
            resets: 0,
            told_era: 0,
            last_told: Zxid(0),
            tally: Tally::default(),
        }
    }

    /// Judges what was seen of the cache since the last round.
    pub fn round(&mut self, watched: &Watched, round: &Round<'_>) -> Result<(), Violation> {
        let (notes, glimpses) = (watched.take_notes(), watched.take_glimpses());
        // A listener may read a version of the new ensemble before it is told of the reset.
        self.resets += notes.iter().filter(|note| matches!(note, Note::Reset)).count();
        self.tally.resets = self.resets as u64;

        let mut pasts: Vec<Past<'_>> = round.histories.iter().map(Past::of).collect();
        let multis: Vec<_> = round.histories.iter().map(History::multis).collect();
        let mut checked = HashSet::new();
        for note in notes {
            match note {
                Note::Node { told, path, node, old } => {
                    self.tally.events += 1;
                    self.replay.told(told, &path, &node, old.as_ref())?;
                }
                Note::EndOfVersion { zxid, snapshot } => {
                    self.replay.end_version();
                    if self.in_step && snapshot.is_cut() && snapshot.zxid() == zxid {
                        self.replay.assert_equals(&snapshot)?;
                        self.tally.replayed += 1;
                    }
                    let era = self.follow_era(snapshot.zxid(), round)? - round.first_era;
                    if checked.insert((era, snapshot.zxid(), snapshot.is_cut(), snapshot.len())) {
                        let near = near(&multis[era], snapshot.zxid());
                        let truth = snapshot.is_cut().then(|| pasts[era].at(snapshot.zxid()));
                        self.observer.published(&snapshot, truth, false, &Excused::new(), near)?;
                        self.count(&snapshot);
                    }
                }
                Note::Connection(kind) => self.connection(kind)?,
                Note::Reset => {}
            }
        }
        self.glimpses(&glimpses, round, &mut pasts, &mut checked)?;
        if let Some(last) = glimpses.last() {
            let same = self.replay.assert_equals(&last.snapshot);
            same.map_err(|violation| Violation {
                what: format!("at rest: {}", violation.what),
                ..violation
            })?;
            self.last_told = last.snapshot.zxid();
        }
        // A new ensemble may have come without an event: when all that is shown was the same before.
        if std::mem::replace(&mut self.told_era, round.last_era()) < round.last_era() {
            self.observer.reset();
        }
        Check::Honest.that(self.resets >= round.last_era(), || {
            format!("{}: the ensemble was wiped, and no reset was reported", self.root)
        })
    }

    fn count(&mut self, snapshot: &Snapshot) {
        if snapshot.is_cut() {
            self.tally.cuts += 1;
        } else {
            self.tally.others += 1;
        }
    }

    /// In which of all histories a listener is that finds a version at `zxid`.
    fn follow_era(&mut self, zxid: Zxid, round: &Round<'_>) -> Result<usize, Violation> {
        if zxid < std::mem::replace(&mut self.last_told, zxid) {
            self.told_era += 1;
            self.observer.reset();
        }
        self.check_era(self.told_era, zxid, round)?;
        Ok(self.told_era)
    }

    /// Zxids go back when the ensemble did, and the cache has said so.
    fn check_era(&self, era: usize, zxid: Zxid, round: &Round<'_>) -> Result<(), Violation> {
        Check::Monotonic.that(era <= round.last_era().min(self.resets), || {
            format!("{} went back to {zxid}, and {} resets were reported", self.root, self.resets)
        })
    }

    fn connection(&mut self, kind: EventKind) -> Result<(), Violation> {
        let link = self.link;
        let fits = match kind {
            EventKind::ConnectionSuspended => link == Link::Up,
            EventKind::ConnectionLost => link == Link::Suspended,
            EventKind::ConnectionReconnected => link != Link::Up,
            EventKind::Initialized => link == Link::Up && !self.initialized,
            _ => link == Link::Up && self.initialized,
        };
        Check::Ordered.that(fits, || {
            format!("{}: {kind:?} was told while {link:?}, initialized: {}", self.root, self.initialized)
        })?;
        match kind {
            EventKind::ConnectionSuspended => {
                (self.link, self.in_step) = (Link::Suspended, false);
                self.tally.suspended += 1;
            }
            EventKind::ConnectionLost => {
                (self.link, self.initialized) = (Link::Lost, false);
                self.tally.lost += 1;
            }
            EventKind::ConnectionReconnected => {
                self.link = Link::Up;
                self.tally.reconnected += 1;
            }
            EventKind::Initialized => self.initialized = true,
            _ => self.in_step = true,
        }
        Ok(())
    }

    fn glimpses(
        &mut self,
        glimpses: &[Glimpse],
        round: &Round<'_>,
        pasts: &mut [Past<'_>],
        checked: &mut HashSet<(usize, Zxid, bool, usize)>,
    ) -> Result<(), Violation> {
        let touching: Vec<_> = round.histories.iter().map(|history| history.touching(self.root)).collect();
        for glimpse in glimpses {
            let snapshot = &glimpse.snapshot;
            self.check_era(glimpse.era, snapshot.zxid(), round)?;
            let era = glimpse.era - round.first_era;
            if checked.insert((era, snapshot.zxid(), snapshot.is_cut(), snapshot.len())) {
                self.count(snapshot);
                if snapshot.is_cut() {
                    let truth = pasts[era].at(snapshot.zxid());
                    let difference = difference(snapshot, truth, self.root, false, &Excused::new());
                    Check::Exact.that(difference.is_none(), || {
                        format!(
                            "the cut of {} at {}: {}",
                            self.root,
                            snapshot.zxid(),
                            difference.unwrap_or_default()
                        )
                    })?;
                }
            }
            if let Some(claim) = &glimpse.claim {
                self.claim(claim, snapshot, &touching[era])?;
            }
        }
        self.fed(glimpses, round, &touching[0])
    }

    fn claim(
        &mut self,
        claim: &Claim,
        snapshot: &Snapshot,
        touching: &[(Zxid, Millis)],
    ) -> Result<(), Violation> {
        self.tally.claims += claim.times;
        let zxid = snapshot.zxid();
        Check::Honest.that(snapshot.is_cut(), || {
            format!("{} was said to be in step with a version at {zxid} that is no cut", self.root)
        })?;
        // The oldest change that the version does not have.
        let missing = touching.partition_point(|(at, _)| *at <= zxid);
        let Some((missing, written)) = touching.get(missing) else { return Ok(()) };
        Check::Honest.that(*missing > claim.sibling, || {
            format!(
                "{} was said to be in step at {zxid}, without {missing}, when a cache of the same client had shown {}",
                self.root, claim.sibling
            )
        })?;
        let stale = claim.contact - written;
        Check::Honest.that(stale < STALE_BOUND, || {
            format!("{} was said to be in step at {zxid}, without {missing} of {stale} ms before", self.root)
        })?;
        self.tally.stalest = self.tally.stalest.max(stale);
        Ok(())
    }

    /// How long each change waited for a cut that shows it, in fair weather.
    fn fed(
        &mut self,
        glimpses: &[Glimpse],
        round: &Round<'_>,
        touching: &[(Zxid, Millis)],
    ) -> Result<(), Violation> {
        let (from, to) = round.fair;
        let is_cut = |glimpse: &&Glimpse| glimpse.era == round.first_era && glimpse.snapshot.is_cut();
        let mut cuts = glimpses.iter().filter(is_cut).peekable();
        for (zxid, written) in touching.iter().filter(|(_, at)| (from..to - FED_BOUND).contains(at)) {
            while cuts.peek().is_some_and(|cut| cut.snapshot.zxid() < *zxid) {
                cuts.next();
            }
            let wait = cuts.peek().map(|cut| cut.first_seen - written);
            Check::Fed.that(wait.is_some_and(|wait| wait <= FED_BOUND), || {
                format!("{zxid} was in no cut of {} for {wait:?} ms", self.root)
            })?;
            self.tally.longest_wait = self.tally.longest_wait.max(wait.unwrap_or_default());
            self.tally.waits += 1;
        }
        Ok(())
    }
}

/// The transactions of several nodes around a zxid.
fn near(
    multis: &[(Zxid, Vec<std::sync::Arc<str>>)],
    zxid: Zxid,
) -> impl Iterator<Item = (Zxid, &[std::sync::Arc<str>])> {
    let behind = multis.partition_point(|(at, _)| *at <= zxid);
    let range = behind.saturating_sub(MULTIS)..(behind + MULTIS).min(multis.len());
    multis[range].iter().map(|(at, paths)| (*at, &paths[..]))
}
