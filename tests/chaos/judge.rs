//! What was seen of the caches, held against what the ensemble says that it has done.
//!
//! - *exact*, *monotonic*, *atomic*: of every version that a listener found at the end of a version, and of every
//!   one that was seen by asking every two milliseconds. (What came and went between two looks nobody has seen.)
//! - *complete*, *ordered*: of every event; and what was told is what could be read, wherever it can be known that
//!   both are of one version.
//! - *honest*: a version that was said to be in step is a cut; it is one of the history that the ensemble was in at the
//!   last contact; it has all that another cache of the same client had shown before that contact; and it has all that
//!   was written [`STALE_BOUND`] before it. (How far a server was at that contact, a client cannot know: it may lag
//!   behind its leader, or have been stopped.)
//! - *synced*: what can be read when a `sync` has been answered has all that had been answered to writers before.
//! - *no false alarm*: a reset is told when the ensemble has lost its history or gone back in it, and not otherwise.
//! - *fed*: in fair weather, every change is in a cut within [`FED_BOUND`], and what the machine takes of it.
//!
//! Zxids do not say of which history a version is: a new one may have come to any of them. So a cut is of the first in
//! which it is exact, and none before those that were seen earlier.
//!
//! *live* is checked by whoever knows when the faults stopped.

use std::collections::{BTreeSet, HashSet};

use treecache::{EventKind, Node, Snapshot, Zxid};
use treecache_checks::{Check, Excused, Observer, Replay, Transaction, Truth, View, Violation, difference};

use crate::history::History;
use crate::observed::{Claim, Glimpse, Millis, Note, Synced, Taken, Watched};

/// Longer than a client stays with a silent server and a server without its leader, and than both together.
const STALE_BOUND: Millis = 20_000;
const FED_BOUND: Millis = 5_000;
/// So many transactions before and behind a cut are looked at for *atomic*. (*exact* looks at all of them.)
const MULTIS: usize = 8;

/// By what a version is known again: which history it is of, its zxid, whether it is a cut, and how many nodes it has.
type Counted = (usize, Zxid, bool, usize);

/// What happened in one round.
pub struct Round<'r> {
    /// The one that the round began in, and, where the ensemble was begun anew or put back, the one that came then.
    pub histories: &'r [History],
    /// When a word came from no server of the history before each any more, and none yet from one of its own.
    pub began: &'r [Millis],
    /// How many there were before the first of these.
    pub first_era: usize,
    /// The one that came has begun at zxid 0, and in an earlier epoch.
    pub must_be_told: bool,
    /// When nothing was wrong, and everybody wrote; in the first of these histories.
    pub fair: (Millis, Millis),
    /// How long the machine kept this process from running then, all in all.
    pub stalls: Millis,
}

impl Round<'_> {
    fn last_era(&self) -> usize {
        self.first_era + self.histories.len() - 1
    }

    /// In which history a server was that was heard from then.
    fn era_at(&self, contact: Millis) -> usize {
        self.first_era + self.began.iter().skip(1).filter(|began| **began <= contact).count()
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
    pub syncs: u64,
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
        self.syncs += other.syncs;
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

/// Where a version stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    era: usize,
    zxid: Zxid,
    /// How many times versions have gone back before it.
    backs: usize,
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
    /// Of the version that the listener found last, and of the one that was seen last.
    told: Place,
    seen: Place,
    pub tally: Tally,
}

impl Judge {
    pub fn new(root: &'static str) -> Judge {
        Judge {
            root,
            observer: Observer::new(View::of(root)),
            replay: Replay::new(root),
            link: Link::Up,
            initialized: false,
            in_step: false,
            resets: 0,
            told: Place::default(),
            seen: Place::default(),
            tally: Tally::default(),
        }
    }

    /// Judges what was seen of the cache since the last round.
    pub fn round(&mut self, watched: &Watched, round: &Round<'_>) -> Result<(), Violation> {
        let (notes, glimpses) = (watched.take_notes(), watched.take_glimpses());
        // A listener may read a version of the new ensemble before it is told of the reset.
        let resets = notes.iter().filter(|note| matches!(note, Note::Reset)).count();
        self.resets += resets;
        self.tally.resets = self.resets as u64;
        let changes = round.histories.len() - 1;
        Check::NoFalseAlarm.that(resets <= changes, || {
            format!("{}: {resets} resets were told, and history has changed {changes} times", self.root)
        })?;
        Check::Honest.that(resets > 0 || !round.must_be_told, || {
            format!("{}: the ensemble was wiped, and no reset was told", self.root)
        })?;

        let mut pasts: Vec<Past<'_>> = round.histories.iter().map(Past::of).collect();
        let multis: Vec<_> = round.histories.iter().map(History::multis).collect();
        let mut counted = HashSet::new();
        for note in notes {
            match note {
                Note::Node { told, path, node, old } => {
                    self.tally.events += 1;
                    self.replay.told(told, &path, node.lend(), old.as_deref().map(Node::lend))?;
                }
                Note::EndOfVersion { zxid, snapshot } => {
                    self.replay.end_version();
                    if self.in_step && snapshot.is_cut() && snapshot.zxid() == zxid {
                        self.replay.assert_equals(&Taken(&snapshot))?;
                        self.tally.replayed += 1;
                    }
                    let place = self.place(self.told, self.told.era, &snapshot, round, &mut pasts)?;
                    let before = std::mem::replace(&mut self.told, place);
                    // Right where it was put back to, both histories are the same.
                    if place.era > before.era || place.backs > before.backs {
                        self.observer.reset();
                    }
                    let era = place.era - round.first_era;
                    // What is none may be a mixture.
                    if snapshot.is_cut() || place.era == round.last_era() {
                        let near = near(&multis[era], snapshot.zxid());
                        let truth = snapshot.is_cut().then(|| pasts[era].at(snapshot.zxid()));
                        self.observer.published(&Taken(&snapshot), truth, &Excused::new(), near)?;
                    }
                    self.count(&snapshot, era, &mut counted);
                }
                Note::Connection(kind) => self.connection(kind)?,
                Note::Reset => {}
            }
        }
        self.glimpses(&glimpses, round, &mut pasts, &mut counted)?;
        self.synced(&watched.take_synced(), round, &mut pasts)?;
        if let Some(last) = glimpses.last() {
            let same = self.replay.assert_equals(&Taken(&last.snapshot));
            same.map_err(|violation| Violation {
                what: format!("at rest: {}", violation.what),
                ..violation
            })?;
        }
        // A new history may have come without an event: when all that is shown was the same before.
        if std::mem::replace(&mut self.told.era, round.last_era()) < round.last_era() {
            self.observer.reset();
        }
        self.seen.era = round.last_era();
        Ok(())
    }

    /// Counts a version once, whoever has found it.
    fn count(&mut self, snapshot: &Snapshot, era: usize, counted: &mut HashSet<Counted>) {
        if !counted.insert((era, snapshot.zxid(), snapshot.is_cut(), snapshot.len())) {
            return;
        }
        if snapshot.is_cut() {
            self.tally.cuts += 1;
        } else {
            self.tally.others += 1;
        }
    }

    /// *exact*, *monotonic*: where a version stands that was found behind one at `last`, in a history not before `era`.
    fn place(
        &self,
        last: Place,
        era: usize,
        snapshot: &Snapshot,
        round: &Round<'_>,
        pasts: &mut [Past<'_>],
    ) -> Result<Place, Violation> {
        let zxid = snapshot.zxid();
        let went_back = zxid < last.zxid;
        let place = Place { era: era.max(last.era), zxid, backs: last.backs + usize::from(went_back) };
        Check::Monotonic.that(place.backs <= self.resets, || {
            format!(
                "{} went back from {} to {zxid}, and {} resets were told",
                self.root, last.zxid, self.resets
            )
        })?;
        if !snapshot.is_cut() {
            let era = if went_back { round.last_era() } else { place.era };
            return Ok(Place { era, ..place });
        }
        let mut found = Vec::new();
        for era in place.era..=round.last_era() {
            let truth = pasts[era - round.first_era].at(zxid);
            let Some(difference) = difference(&Taken(snapshot), truth, &View::of(self.root), &Excused::new())
            else {
                return Ok(Place { era, ..place });
            };
            found.push(format!("in history {era} {difference}"));
        }
        Err(Check::Exact.violated(format!("the cut of {} at {zxid}: {}", self.root, found.join("; "))))
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
        counted: &mut HashSet<Counted>,
    ) -> Result<(), Violation> {
        let touching: Vec<_> = round.histories.iter().map(|history| history.touching(self.root)).collect();
        for glimpse in glimpses {
            let snapshot = &glimpse.snapshot;
            let era = glimpse.claim.as_ref().map_or(self.seen.era, |claim| round.era_at(claim.contact));
            self.seen = self.place(self.seen, era, snapshot, round, pasts).map_err(|violation| {
                let contact = glimpse.claim.as_ref().map(|claim| claim.contact);
                let what = format!(
                    "{}; first seen at {}, last contact {contact:?}, histories began {:?}",
                    violation.what, glimpse.first_seen, round.began
                );
                Violation { what, ..violation }
            })?;
            let era = self.seen.era - round.first_era;
            self.count(snapshot, era, counted);
            if let Some(claim) = &glimpse.claim {
                // What others have shown says something of this history alone.
                let of_this = glimpse.era == self.seen.era;
                self.claim(claim, snapshot, &touching[era], of_this)?;
            }
        }
        self.fed(glimpses, round, &touching[0])
    }

    fn synced(
        &mut self,
        synced: &[Synced],
        round: &Round<'_>,
        pasts: &mut [Past<'_>],
    ) -> Result<(), Violation> {
        for Synced { era, acknowledged, snapshot } in synced.iter().filter(|synced| synced.snapshot.is_cut())
        {
            self.tally.syncs += 1;
            let zxid = snapshot.zxid();
            let at = Place { era: *era, zxid, backs: self.resets };
            let place = self.place(at, *era, snapshot, round, pasts)?;
            let touching = round.histories[place.era - round.first_era].touching(self.root);
            let missing = touching.iter().map(|(at, _)| *at).find(|at| *at > zxid);
            Check::Synced.that(missing.is_none_or(|missing| missing > *acknowledged), || {
                format!(
                    "{} was in sync at {zxid}, without {}, when {acknowledged} had been acknowledged",
                    self.root,
                    missing.unwrap_or_default()
                )
            })?;
        }
        Ok(())
    }

    fn claim(
        &mut self,
        claim: &Claim,
        snapshot: &Snapshot,
        touching: &[(Zxid, Millis)],
        siblings_count: bool,
    ) -> Result<(), Violation> {
        self.tally.claims += claim.times;
        let zxid = snapshot.zxid();
        Check::Honest.that(snapshot.is_cut(), || {
            format!("{} was said to be in step with a version at {zxid} that is no cut", self.root)
        })?;
        // The oldest change that the version does not have.
        let missing = touching.partition_point(|(at, _)| *at <= zxid);
        let Some((missing, written)) = touching.get(missing) else { return Ok(()) };
        Check::Honest.that(!siblings_count || *missing > claim.sibling, || {
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
        let ((from, to), bound) = (round.fair, FED_BOUND + round.stalls);
        let written_then = touching.iter().filter(|(_, at)| (from..to).contains(at));
        let epochs = written_then.map(|(zxid, _)| zxid.0 >> 32).collect::<BTreeSet<_>>();
        if epochs.len() > 1 {
            return Ok(()); // An election: it was not that fair.
        }
        let is_cut = |glimpse: &&Glimpse| glimpse.era == round.first_era && glimpse.snapshot.is_cut();
        let mut cuts = glimpses.iter().filter(is_cut).peekable();
        for (zxid, written) in touching.iter().filter(|(_, at)| (from..to - bound).contains(at)) {
            while cuts.peek().is_some_and(|cut| cut.snapshot.zxid() < *zxid) {
                cuts.next();
            }
            let wait = cuts.peek().map(|cut| cut.first_seen - written);
            Check::Fed.that(wait.is_some_and(|wait| wait <= bound), || {
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
