//! What to read next: load, verification, hot paths, audit.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::selection::{Kept, Selection};
use crate::stat::{Stat, Zxid};
use crate::sync::common_point::{self, Baseline};
use crate::sync::flight::{
    Flight, LARGE_DATA, MOST_HOT_READS, MOST_PROVEN_READS, MOST_READS, MOST_SPARSE, SizeGuess,
};
use crate::sync::report::{self, Chunk, Report};
use crate::sync::unread::{Unread, Want};
use crate::sync::{CacheId, Data, Options, Pace, VerifyMode, anchors};
use crate::tree::{Entry, Tree, Version};

/// If the tree has not been exact for this long, the hot paths are read too.
const HOT_AFTER: Duration = Duration::from_millis(5);
/// For each of these without a cut, as many more hot paths may be read at once as a usual flight has reads.
const HOT_STEP: Duration = Duration::from_millis(8);
/// If the tree has not been exact for this long, a small tree is read as a whole; before, if half of it is hot.
const WHOLE_AFTER: Duration = Duration::from_millis(80);
/// How many bytes of data a tree may have that is read as a whole.
const MOST_WHOLE_BYTES: usize = 1 << 20;
/// A path is hot when a notification named it within this time, or since the tree was exact last.
const HOT_FOR: Duration = Duration::from_millis(100);
/// How much larger than known an anchor is taken to be: four of them fill a flight, and all of them go out at once.
const ANCHOR_GROWTH: usize = 64 << 10;
/// How many flights together may be of nodes of which nothing is known.
const UNPROVEN_FLIGHTS: usize = 4;
/// Nodes that one step of the audit reads.
const AUDIT_STEP: usize = 64;
const SHORTEST_AUDIT_DELAY: Duration = Duration::from_millis(100);
/// How long to wait after a server could not answer.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What is read of a subtree, and when.
///
/// What is queued in [`Unread`] goes first; the plan adds what is to be read again, and hands all of it out in flights.
/// It holds that
///
/// - a path that is handed out is in `Unread` until it is found, so that no path is in two flights;
/// - `outstanding` counts the requests of this connection that are not answered: one flight's while following, some
///   more in a storm and during a load or verification, and none is handed out while the server is left alone
///   (`retry_at`);
/// - a verification comes to each node of the tree, for all up to its cursor has been read or is in `Unread`;
/// - the zxid at which the tree was left exact is forgotten once anything speaks against it: another session, another
///   zxid, an anchor that differs.
///
/// It sees the tree and does not change it; what the replies say it does not know.
pub(super) struct ReadPlan {
    subject: Subject,
    /// How many bytes the chroot puts in front of each path on the wire.
    chroot: usize,
    pace: Pace,
    rng: Rng,
    /// Reading has begun: the root is known, or in `unread`.
    begun: bool,
    verification: Verification,
    /// How the tree is verified.
    verify: VerifyMode,
    /// What a verification by report compares with.
    baseline: Baseline,
    /// If nothing was outstanding when the connection was lost: the zxid of the last reply, while the session that saw
    /// it may still be resumed.
    left_exact: Option<Zxid>,
    /// What the server had named last when the connection was lost.
    left_at: Option<Zxid>,
    /// Nothing has been written since the connection was lost. To make a session, as a report takes, would be the first
    /// transaction, and all other clients that come back would have to verify their trees for it.
    is_idle: bool,
    /// Paths that notifications named, and when last.
    hot: HashMap<NodePath, Instant>,
    /// When the tree was last known to be exact: at the last cut, or when the first notification behind it came.
    exact_until: Instant,
    audit: Audit,
    /// A pass of the audit begins, before which the watch is to be set again.
    renews_watch: bool,
    /// The requests whose replies are still to come, in their order.
    outstanding: VecDeque<Sent>,
    retry_at: Option<Instant>,
    sizes: SizeGuess,
    load: Load,
}

/// What is read, and what is kept of it.
struct Subject {
    root: NodePath,
    /// Below `/zookeeper`, some nodes change in place.
    is_zookeepers: bool,
    selection: Selection,
    data: Data,
    /// What is known was read by another session, which may have been allowed to read more.
    is_anothers: bool,
    /// What is known was no cut: some lists may lack what their Stats count.
    is_no_cut: bool,
}

impl Subject {
    /// Whether there may be something below that is kept: else the list is of no use.
    fn is_open(&self, relative: &str) -> bool {
        self.selection.of(relative) == Kept::Open
    }

    /// Whether the list is to be read with the node where all is compared: if a child may be left out, the known ones may
    /// all be there, and as many as the Stat counts, and the list be another all the same.
    fn lists_what_is_known(&self, relative: &str) -> bool {
        let may_leave_out =
            self.selection.may_leave_out(relative) && !planted::is(Defect::LeftOutListTrusted);
        let may_lack_some = self.is_no_cut && !planted::is(Defect::ListsOfNoCutTrusted);
        self.is_open(relative) && (may_leave_out || may_lack_some)
    }

    /// Whether as many children are known as a node counts, where that says something: else its list is another one.
    fn has_its_list(&self, relative: &str, entry: &Entry<'_>) -> bool {
        entry.has_as_many_children_as_it_counts()
            || !self.is_open(relative)
            || self.selection.may_leave_out(relative)
            || planted::is(Defect::ChildrenNotCountedAnew)
    }
}

/// A request that is not answered.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    /// How many of its nodes may be larger than expected.
    uncertain: usize,
    reads: usize,
}

/// How much the server is asked for at once, by how long it takes.
struct Load {
    /// The most reads in a batch of nodes whose siblings were read.
    most_reads: usize,
    /// A connection was lost with such a batch out: maybe over a reply that was larger than may be. No more reads than this
    /// until the load is complete.
    bound: usize,
    /// The shortest time that an answer took on this connection.
    fastest: Duration,
}

/// A pass over what is in the tree, after a connection that was gone.
#[derive(Debug, PartialEq, Eq)]
enum Verification {
    Done,
    /// Only the anchors are read. That is enough if the zxid has not moved and the anchors have not changed.
    OfAnchors,
    Due(Instant),
    /// Nodes are read that show how far the history is the one that the tree was read in.
    OfCommonPoint,
    /// Another session is asked what has changed.
    ByReport(Report),
    /// All up to and including this path has been read or is in `unread`; "" is the root.
    Behind(String),
}

/// The slow pass over what is in the tree, for what nothing notifies of.
struct Audit {
    /// One pass takes about this long; zero: there is none.
    interval: Duration,
    /// All up to and including this path was read in this pass; "" is the root.
    behind: String,
    next: AuditStep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AuditStep {
    Off,
    At(Instant),
    /// With the next flight that has nothing better to do.
    Due,
}

impl ReadPlan {
    /// A plan for what is kept of the tree below `root`. On the wire, each path gets `chroot` more bytes in front.
    pub(super) fn new(
        root: NodePath,
        chroot: usize,
        selection: Selection,
        is_zookeepers: bool,
        options: &Options,
        rng: Rng,
        now: Instant,
    ) -> ReadPlan {
        ReadPlan {
            subject: Subject {
                root,
                is_zookeepers,
                selection,
                data: options.data,
                is_anothers: false,
                is_no_cut: false,
            },
            chroot,
            pace: options.pace,
            rng,
            begun: false,
            verification: Verification::Done,
            verify: options.verify,
            baseline: Baseline::default(),
            left_exact: None,
            left_at: None,
            is_idle: false,
            hot: HashMap::new(),
            exact_until: now,
            audit: Audit { interval: options.audit_interval, behind: String::new(), next: AuditStep::Off },
            renews_watch: false,
            outstanding: VecDeque::new(),
            retry_at: None,
            sizes: SizeGuess::new(),
            load: Load::new(),
        }
    }

    /// The tree is known by what another cache has read. Where that was the same user's, it is as if this cache had left it.
    pub(super) fn begin_from(&mut self, known: &Version) {
        let Version { tree, zxid, is_cut, is_own, .. } = known;
        let is_own = *is_own || planted::is(Defect::AnothersLeaveTaken);
        self.begun = true;
        (self.subject.is_anothers, self.subject.is_no_cut) = (!is_own, !is_cut);
        if is_own && *is_cut {
            self.baseline.note_cut(*zxid);
            self.leave(tree);
        }
    }

    /// What is known was read by this session, and is a cut.
    pub(super) fn note_verified(&mut self) {
        (self.subject.is_anothers, self.subject.is_no_cut) = (false, false);
    }

    /// Nothing is left of a load or a verification.
    pub(super) fn is_following(&self, unread: &Unread) -> bool {
        self.begun && self.verification == Verification::Done && unread.backlog() == 0
    }

    /// Whether what is known of a path was read on an earlier connection, and was not read again on this one.
    pub(super) fn is_unverified(&self, path: &NodePath) -> bool {
        match &self.verification {
            Verification::Done => false,
            Verification::OfAnchors
            | Verification::Due(_)
            | Verification::OfCommonPoint
            | Verification::ByReport(_) => true,
            Verification::Behind(cursor) => {
                let relative = self.subject.root.relative(path.as_str());
                relative.is_some_and(|relative| relative.split('/').gt(cursor.split('/')))
            }
        }
    }

    /// Whether only the anchors are looked at, which may be before the watch is there.
    pub(super) fn is_of_anchors(&self) -> bool {
        self.verification == Verification::OfAnchors
    }

    /// Whether the server is left alone for a while.
    pub(super) fn is_waiting(&self) -> bool {
        self.retry_at.is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let verification = match self.verification {
            Verification::Due(at) => Some(at),
            _ => None,
        };
        let audit = match self.audit.next {
            AuditStep::At(at) => Some(at),
            _ => None,
        };
        [verification, audit, self.retry_at].into_iter().flatten().min()
    }

    /// Time has passed. True where a verification of the whole tree begins.
    pub(super) fn handle_timeout(&mut self, tree: &Tree, unread: &mut Unread, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now >= at) && !planted::is(Defect::RetryForEver) {
            self.retry_at = None;
        }
        if matches!(self.audit.next, AuditStep::At(at) if now >= at) {
            self.audit.next = AuditStep::Due;
            self.renews_watch |= self.audit.behind.is_empty() && !planted::is(Defect::WatchNotRenewed);
        }
        let begins = matches!(self.verification, Verification::Due(at) if now >= at);
        if begins && !self.is_idle && self.baseline.is_known() && self.is_reported(tree, unread) {
            for path in self.baseline.anchors() {
                unread.update(&self.subject.root.absolute(path), Want::verify);
            }
            self.verification = Verification::OfCommonPoint;
        } else if begins {
            self.read_all(unread);
        }
        begins
    }

    /// All that is known is read.
    fn read_all(&mut self, unread: &mut Unread) {
        unread.update(&self.subject.root, |want| {
            want.verify();
            want.children |= self.subject.lists_what_is_known("");
        });
        self.verification = Verification::Behind(String::new());
    }

    /// Whether another session is to be asked what has changed in a tree. (Where each watch tells of one change, all that is
    /// known has to be watched anew, and is read with that.)
    fn is_reported(&self, tree: &Tree, unread: &Unread) -> bool {
        self.is_worth_a_report(tree) && !unread.is_one_shot()
    }

    fn is_worth_a_report(&self, tree: &Tree) -> bool {
        match self.verify {
            _ if self.subject.is_zookeepers => false,
            VerifyMode::Auto => {
                let is_large = tree.len() >= self.pace.reported;
                is_large && report::is_cheaper(tree, |entry| self.subject.data.sent_of(entry))
            }
            VerifyMode::Report => tree.has_root(),
            VerifyMode::Read => false,
        }
    }

    /// A reply is through, and the server named this zxid. If all anchors have been read, it is known how far the history is
    /// the one that is known, and all that has changed since the server was at this zxid is notified of. Only a transaction
    /// gives a date that other servers know.
    pub(super) fn conclude_common_point(&mut self, zxid: Zxid, tree: &Tree, unread: &mut Unread) {
        let is_dated = zxid.is_transaction() || planted::is(Defect::ReportBehindEpoch);
        if self.verification != Verification::OfCommonPoint || unread.backlog() > 0 || !is_dated {
            return;
        }
        let since = self.baseline.conclude();
        let has_its_list = |path: &str, entry: &Entry<'_>| self.subject.has_its_list(path, entry);
        let suspects =
            since.and_then(|since| Some((since, common_point::suspects(tree, since, has_its_list)?)));
        let Some((since, suspects)) = suspects else { return self.read_all(unread) };
        for path in suspects {
            let is_open = self.subject.is_open(&path);
            unread.update(&self.subject.root.absolute(&path), |want| {
                want.verify();
                want.children |= is_open;
            });
        }
        self.verification = Verification::ByReport(Report::new(since, zxid));
    }

    /// A reply is through, and the server named this zxid.
    pub(super) fn note_reply(&mut self, zxid: Zxid) {
        self.baseline.note_reply(zxid);
    }

    /// What a read has found of a node, if there is one; `is_news`: it is not what was known.
    pub(super) fn note_found(&mut self, relative: &str, stat: Option<&Stat>, is_news: impl FnOnce() -> bool) {
        self.baseline.found(relative, stat, is_news);
    }

    /// At which zxid a server has to be, or further, that is to say what has changed; `None` if none is asked.
    pub(super) fn wants_report(&self) -> Option<Zxid> {
        match &self.verification {
            Verification::ByReport(report) => Some(report.at_least()),
            _ => None,
        }
    }

    /// The next nodes to be compared.
    pub(super) fn poll_chunk(&mut self, cache: CacheId, tree: &Tree) -> Option<Chunk> {
        match &mut self.verification {
            Verification::ByReport(report) => report.poll_chunk(cache, &self.subject.root, tree, &self.pace),
            _ => None,
        }
    }

    /// A server has compared these nodes. Once it has compared all, what is not in `unread` is known, but for what an ACL
    /// hides: the audit looks for that.
    pub(super) fn compared(&mut self, chunk: &Chunk, now: Instant) {
        if let Verification::ByReport(report) = &mut self.verification
            && report.compared(chunk)
        {
            self.verification = Verification::Done;
            self.audit.begin_pass(now);
        }
    }

    /// What another session was asked for will not be answered there: it is asked for once more.
    pub(super) fn report_again(&mut self) {
        if let Verification::ByReport(report) = &mut self.verification {
            report.restart();
        }
    }

    /// No other session can be had.
    pub(super) fn report_failed(&mut self, unread: &mut Unread) {
        if matches!(self.verification, Verification::ByReport(_)) {
            self.read_all(unread);
        }
    }

    /// A connection is there; `resumed`: with the session that there was before.
    pub(super) fn handle_connected(&mut self, resumed: bool) {
        if !resumed && !planted::is(Defect::ShortcutBehindExpiry) {
            // A new session is a transaction. If the server had lost all, that may have lifted it to just that zxid.
            self.left_exact = None;
        }
    }

    /// The watch was asked for: what is read from now on is read behind it. If the tree was left exact, its anchors are
    /// read, if it has any: they show whether the history is still the one that the tree was read in.
    pub(super) fn handle_watch_asked(&mut self, tree: &Tree, unread: &mut Unread) {
        if self.left_exact.is_none() || unread.suspects() > 0 || planted::is(Defect::AnchorsLeftOut) {
            return;
        }
        let Some(anchors) = anchors::of(tree, &self.subject.selection) else { return self.left_exact = None };
        for path in anchors {
            unread.update(&self.subject.root.absolute(&path), Want::verify);
        }
        self.verification = Verification::OfAnchors;
    }

    /// The watch is there; `zxid` is where the server is, if that is known. Reading begins, or what was read before is
    /// verified. Returns true if a planted defect trusts what was read before instead.
    pub(super) fn handle_watching(
        &mut self,
        zxid: Option<Zxid>,
        tree: &Tree,
        unread: &mut Unread,
        now: Instant,
    ) -> bool {
        let is_as_left = self.left_exact.take().is_some_and(|left| zxid == Some(left));
        self.is_idle = self.left_at.take().is_some_and(|left| zxid == Some(left));
        let had_begun = std::mem::replace(&mut self.begun, true);
        let is_trusted =
            planted::is(Defect::VerificationSkipped) || is_as_left && planted::is(Defect::AnchorsLeftOut);
        if !had_begun {
            self.want_root(unread);
        } else if !(is_trusted || is_as_left && self.is_of_anchors()) {
            self.verify(tree, now);
        }
        if self.audit.next == AuditStep::Off {
            self.audit.schedule(AUDIT_STEP, tree, &mut self.rng, now);
        }
        had_begun && is_trusted
    }

    /// All is to be read again.
    fn verify(&mut self, tree: &Tree, now: Instant) {
        let spread = self.pace.spread_per_node * tree.len().try_into().unwrap_or(u32::MAX);
        self.verification = Verification::Due(now + spread.mul_f64(self.rng.f64()));
    }

    /// The connection was lost while the watch was there, and `named` is what the server had named last. `is_exact`: the
    /// tree was known to be the server's then.
    pub(super) fn note_left(&mut self, named: Option<Zxid>, is_exact: bool) {
        self.left_exact = named.filter(|_| is_exact);
        self.left_at = named;
    }

    /// The connection is gone, and with it what was outstanding.
    pub(super) fn handle_suspended(&mut self, tree: &Tree, unread: &mut Unread) {
        self.leave(tree);
        match self.left_exact {
            // What is unread is anchors that were not looked at yet.
            Some(_) => *unread = Unread::default(),
            None => unread.restart(),
        }
        self.hot.clear();
        self.verification = Verification::Done;
        // Replies that were larger than expected may have been the reason.
        self.sizes = SizeGuess::new();
        let bound = match self.outstanding.iter().any(|sent| sent.reads > self.pace.unproven) {
            true => self.pace.unproven,
            false => self.load.bound,
        };
        self.load = Load { bound, ..Load::new() };
        self.renews_watch = false;
        self.outstanding.clear();
        self.retry_at = None;
    }

    /// Nothing is known any more: the next connection begins anew.
    pub(super) fn handle_reset(&mut self) {
        self.baseline.forget();
        self.left_exact = None;
        self.begun = false;
        self.hot.clear();
        self.verification = Verification::Done;
        self.note_verified();
    }

    /// Whether all that was asked for on this connection is answered.
    pub(super) fn is_answered(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// The tree is held as it is: nothing is read of it before it is watched again.
    pub(super) fn handle_held(&mut self, tree: &Tree) {
        self.leave(tree);
        self.hot.clear();
        self.left_exact = None;
        self.verification = Verification::Done;
        self.audit.next = AuditStep::Off;
        self.renews_watch = false;
    }

    /// Nothing will be read any more.
    pub(super) fn stop(&mut self) {
        self.hot.clear();
    }

    /// The root is to be read, whatever is known of it.
    pub(super) fn want_root(&self, unread: &mut Unread) {
        unread.update(&self.subject.root, |want| {
            (want.suspect, want.discovered, want.children, want.data) = (true, true, true, true);
        });
    }

    /// An anchor is not what it was; `is_watching`: the watch is there, so that the verification need not wait for it.
    pub(super) fn anchor_differs(&mut self, is_watching: bool, tree: &Tree, now: Instant) {
        self.left_exact = None;
        if is_watching {
            self.verify(tree, now);
        }
    }

    /// The watch is there. If all anchors have been read, or notifications told that they are gone, and none of them
    /// differed, nothing happened in between.
    pub(super) fn conclude_anchors(&mut self, unread: &Unread) {
        if self.is_of_anchors() && unread.backlog() == 0 {
            self.verification = Verification::Done;
        }
    }

    /// The tree is the server's, or was until now.
    pub(super) fn note_exact(&mut self, now: Instant) {
        self.exact_until = now;
    }

    /// The tree was found to be the server's at this zxid.
    pub(super) fn note_cut(&mut self, zxid: Zxid, now: Instant) {
        self.note_exact(now);
        self.baseline.note_cut(zxid);
    }

    /// The tree was published though it is no cut.
    pub(super) fn note_no_cut(&mut self) {
        self.baseline.note_no_cut();
    }

    /// What was found to be a cut may have been none.
    pub(super) fn forget_baseline(&mut self) {
        self.baseline.forget();
    }

    fn leave(&mut self, tree: &Tree) {
        let anchors = if self.is_worth_a_report(tree) { self.pace.anchors } else { 0 };
        self.baseline.leave(tree, anchors);
    }

    /// A notification named `path`.
    pub(super) fn note_hot(&mut self, path: &NodePath, now: Instant) {
        self.hot.insert(path.clone(), now);
        if self.hot.len() > 2 * MOST_HOT_READS {
            self.hot.retain(|_, at| now - *at < HOT_FOR);
            if self.hot.len() > 2 * MOST_HOT_READS {
                self.hot.clear();
            }
        }
    }

    /// There is nothing at `path` any more.
    pub(super) fn note_gone(&mut self, path: &NodePath) {
        self.hot.remove(path.as_str());
    }

    /// A node was read, and has so many bytes more than were known of.
    pub(super) fn note_growth(&mut self, bytes: usize) {
        self.sizes.learn(bytes);
    }

    /// A reply is through.
    pub(super) fn handle_reply(&mut self, now: Instant) {
        if let Some(sent) = self.outstanding.pop_front() {
            self.load.learn(now.saturating_duration_since(sent.at));
        }
        self.sizes.settle();
    }

    /// The server could not answer.
    pub(super) fn retry_later(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY_DELAY.mul_f64(0.5 + self.rng.f64()));
    }

    /// Whether the watch is to be set again now: a server may have lost it without a word. True once each time.
    pub(super) fn take_renewal(&mut self) -> bool {
        std::mem::take(&mut self.renews_watch)
    }

    /// The server was too busy to set the watch again.
    pub(super) fn renew_later(&mut self, now: Instant) {
        self.renews_watch = true;
        self.retry_later(now);
    }

    /// The next reads, if there are any and this is the time for them.
    pub(super) fn poll_flight(
        &mut self,
        tree: &Tree,
        unread: &mut Unread,
        is_following: bool,
        now: Instant,
    ) -> Option<Flight> {
        if self.outstanding.len() >= self.pace.flights || self.retry_at.is_some() {
            return None;
        }
        let flight = if is_following {
            self.load.bound = MOST_PROVEN_READS;
            match self.outstanding.len() {
                0 => self.follow(tree, unread, now),
                _ if self.is_storm(tree, unread, now) => {
                    let flight = Flight::new(self.chroot);
                    let growth = self.sizes.get();
                    let mut filling = Filling::new(&self.subject, growth, tree, unread, flight);
                    filling.take_queued();
                    filling.flight
                }
                _ => return None,
            }
        } else if self.is_of_anchors() {
            // They are most likely what they were; but for a server that has gone on, they are what changed last.
            let flight = Flight::new(self.chroot);
            let mut filling = Filling::new(&self.subject, ANCHOR_GROWTH, tree, unread, flight);
            filling.take_queued();
            filling.take_unproven(&mut self.rng);
            filling.list_anchors();
            filling.flight
        } else {
            self.load(tree, unread)
        };
        self.hand_out(flight, now)
    }

    /// Reads what is not known yet, or not any more. Where the siblings of a node tell how large it is, many are read at
    /// once.
    fn load(&mut self, tree: &Tree, unread: &mut Unread) -> Flight {
        let uncertain: usize = self.outstanding.iter().map(|sent| sent.uncertain).sum();
        let room = (UNPROVEN_FLIGHTS * self.pace.unproven).saturating_sub(uncertain);
        let room = room.min(self.pace.unproven);
        let flight = Flight::into_the_unknown(self.chroot, room, self.load.is_careful());
        let mut filling = Filling::new(&self.subject, self.sizes.get(), tree, unread, flight);
        filling.unread.single_out_few(MOST_SPARSE.min(self.pace.unproven.saturating_sub(1)));
        filling.take_nodes();
        filling.take_proven(self.load.most_reads());
        if filling.flight.parts.is_empty() {
            filling.take_unproven(&mut self.rng);
            filling.take_lists();
            filling.list_what_is_new();
            self.verification.fill(&mut filling, self.pace.verified);
        }
        filling.flight
    }

    /// The root, read for the sake of the reply, where nothing else is outstanding.
    pub(super) fn poll_root(&mut self, tree: &Tree, unread: &mut Unread, now: Instant) -> Option<Flight> {
        if !self.outstanding.is_empty() || self.retry_at.is_some() {
            return None;
        }
        let flight = Flight::new(self.chroot);
        let mut filling = Filling::new(&self.subject, self.sizes.get(), tree, unread, flight);
        filling.read_again(&self.subject.root);
        let flight = filling.flight;
        self.hand_out(flight, now)
    }

    fn hand_out(&mut self, flight: Flight, now: Instant) -> Option<Flight> {
        for request in 0..flight.requests() {
            let (uncertain, reads) = if request == 0 { (flight.uncertain(), flight.len()) } else { (0, 1) };
            self.outstanding.push_back(Sent { at: now, uncertain, reads });
        }
        (!flight.is_empty()).then_some(flight)
    }

    /// Whether so much waits that a flight can be full of it, and no cut is waited for: that takes a flight that holds
    /// all that is not known.
    fn is_storm(&self, tree: &Tree, unread: &Unread, now: Instant) -> bool {
        if planted::is(Defect::StormsHoldUpCuts) {
            return unread.queued() > 0;
        }
        let starved_for = now - self.exact_until;
        let room = most_hot_reads(starved_for).saturating_sub(unread.len());
        let is_for_a_cut = starved_for >= HOT_AFTER
            && (self.hot.len() <= room || self.is_read_whole(tree, room, starved_for));
        unread.queued() >= MOST_READS && !is_for_a_cut
    }

    /// Whether all of the tree is read for a cut that has not come for so long, if there is room for it.
    fn is_read_whole(&self, tree: &Tree, room: usize, starved_for: Duration) -> bool {
        let is_worth_it = starved_for >= WHOLE_AFTER || self.hot.len() >= tree.len() / 2;
        is_worth_it && tree.len() <= room && self.subject.data.sent_of_all(tree) <= MOST_WHOLE_BYTES
    }

    /// Reads what was notified of. If no cut has come for a while, the hot paths are read with it; if there is room, so
    /// is a step of the audit.
    fn follow(&mut self, tree: &Tree, unread: &mut Unread, now: Instant) -> Flight {
        let starved_for = now - self.exact_until;
        if let Some(since) = now.checked_sub(HOT_FOR.max(starved_for)) {
            self.hot.retain(|_, at| *at >= since);
        }
        let mut hot = Vec::new();
        let mut flight = Flight::new(self.chroot);
        if starved_for >= HOT_AFTER && !planted::is(Defect::HotPathsLeftOut) {
            hot = self.paths_for_a_cut(tree, unread, starved_for);
            if !hot.is_empty() {
                flight = Flight::for_a_cut(self.chroot, most_hot_reads(starved_for));
            }
        }
        let mut filling = Filling::new(&self.subject, self.sizes.get(), tree, unread, flight);
        filling.waits_for_a_cut = starved_for >= HOT_AFTER;
        filling.take_queued();
        if !filling.flight.is_empty() && filling.flight.takes(&hot) {
            hot.iter().for_each(|path| filling.read_again(path));
        }
        if self.audit.next == AuditStep::Due && filling.flight.has_room_for(AUDIT_STEP) {
            let read = self.audit.fill(&mut filling);
            self.audit.schedule(read, tree, &mut self.rng, now);
        }
        filling.flight
    }

    /// Paths whose values are known at present. If no cut has come for a while, they are read together with what is not
    /// known, so that one reply tells all: the hot ones, or all of a small tree, of which none can have been written for
    /// the first time just now. If that would be more reads than there may be by now, there are none: a part would be of
    /// no use.
    fn paths_for_a_cut(&self, tree: &Tree, unread: &Unread, starved_for: Duration) -> Vec<NodePath> {
        let Some(room) = most_hot_reads(starved_for).checked_sub(unread.len()) else { return Vec::new() };
        if self.is_read_whole(tree, room, starved_for) {
            return self.known_paths(tree, unread);
        }
        let is_wanted = |path: &NodePath| {
            let known = self.subject.root.relative(path.as_str()).and_then(|relative| tree.get(relative));
            !unread.contains(path.as_str()) && known.is_some_and(|entry| self.is_small(entry))
        };
        let known = self.hot.keys().filter(|path| is_wanted(path));
        let mut hot: Vec<NodePath> = known.take(room + 1).cloned().collect();
        if hot.len() > room {
            return Vec::new();
        }
        // One seed must give one schedule, but the order of a hash map is another each time.
        hot.sort_unstable();
        hot
    }

    /// All small nodes of the tree that are not to be read anyway.
    fn known_paths(&self, tree: &Tree, unread: &Unread) -> Vec<NodePath> {
        let mut paths = Vec::with_capacity(tree.len());
        let mut walk = tree.preorder();
        while let Some((relative, entry)) = walk.next() {
            let path = self.subject.root.absolute(relative);
            if self.is_small(entry) && !unread.contains(path.as_str()) {
                paths.push(path);
            }
        }
        paths
    }

    /// Whether the data at this place comes with each read: that of large nodes is not read again where a Stat is enough.
    fn is_small(&self, entry: Entry<'_>) -> bool {
        self.subject.data.sent_of(entry).is_some_and(|bytes| bytes <= LARGE_DATA)
    }
}

/// How many paths may be read at once for a cut that has not come for so long. The server commits nothing while it
/// reads them: about a millisecond for each 32 without a cut.
fn most_hot_reads(starved_for: Duration) -> usize {
    let steps = usize::try_from(starved_for.as_micros() / HOT_STEP.as_micros()).unwrap_or(usize::MAX);
    MOST_READS.saturating_mul(steps).clamp(MOST_READS, MOST_HOT_READS)
}

impl Load {
    /// Longer than four times the fastest answer, and this, is slow.
    const PATIENCE: Duration = Duration::from_millis(20);
    /// If the fastest answer took longer than this, that is the server and not the way to it.
    const FARTHEST: Duration = Duration::from_millis(100);
    /// Not fewer reads than this are asked for at once.
    const FEWEST: usize = MOST_PROVEN_READS / 8;

    fn new() -> Load {
        Load { most_reads: MOST_PROVEN_READS, bound: MOST_PROVEN_READS, fastest: Duration::MAX }
    }

    fn most_reads(&self) -> usize {
        self.most_reads.min(self.bound)
    }

    /// Whether a connection was lost with a large batch out, or the server is slow to answer.
    fn is_careful(&self) -> bool {
        self.most_reads() < MOST_READS
    }

    /// An answer took so long. If that is long, others wait for the server too, and less is asked for at once.
    fn learn(&mut self, took: Duration) {
        self.fastest = self.fastest.min(took);
        let is_slow = took > 4 * self.fastest.min(Load::FARTHEST) + Load::PATIENCE;
        let reads = if is_slow { self.most_reads / 2 } else { self.most_reads + Load::FEWEST };
        self.most_reads = reads.clamp(Load::FEWEST, MOST_PROVEN_READS);
    }
}

impl Verification {
    fn fill(&mut self, filling: &mut Filling<'_>, most: usize) {
        let Verification::Behind(cursor) = self else { return };
        let mut walk = filling.tree.preorder_after(cursor);
        let mut last = None;
        while !filling.flight.is_full() && filling.flight.len() < most {
            let Some((relative, _)) = walk.next() else {
                *self = Verification::Done;
                return;
            };
            let path = filling.subject.root.absolute(relative);
            last = Some(relative.to_owned());
            let list = filling.subject.lists_what_is_known(relative);
            if list && filling.unread.contains(path.as_str()) {
                filling.unread.update(&path, |want| want.children = true);
            }
            filling.read_known(path, relative, |want| {
                want.verify();
                want.children |= list;
            });
        }
        if let Some(last) = last {
            *cursor = last;
        }
    }
}

impl Audit {
    /// A pass begins now, whatever of the last one was left.
    fn begin_pass(&mut self, now: Instant) {
        if self.next != AuditStep::Off && !self.interval.is_zero() {
            self.behind = String::new();
            self.next = AuditStep::At(now);
        }
    }

    /// Reads a few nodes again that nothing notified of: changes that an ACL hid show in them. Returns how many.
    fn fill(&mut self, filling: &mut Filling<'_>) -> usize {
        // A pass begins with the root, which may have appeared unnoticed. After the last node, the next pass begins.
        let mut behind = std::mem::take(&mut self.behind);
        if behind.is_empty() {
            filling.audit("");
        }
        let mut walk = filling.tree.preorder_after(&behind);
        let mut read = 0;
        while read < AUDIT_STEP && !filling.flight.is_full() {
            // The tree ends here: the next step begins a new pass.
            let Some((relative, _)) = walk.next() else { return read };
            read += 1;
            behind = relative.to_owned();
            filling.audit(relative);
        }
        self.behind = behind;
        read
    }

    /// Schedules the step behind one that has read so many nodes, so that a pass over all nodes takes one interval.
    fn schedule(&mut self, read: usize, tree: &Tree, rng: &mut Rng, now: Instant) {
        if !self.interval.is_zero() {
            let nodes = tree.len().max(1);
            let read = if planted::is(Defect::AuditPacedBySteps) { AUDIT_STEP } else { read };
            let share = read.clamp(1, nodes) as f64 / nodes as f64;
            let delay = self.interval.mul_f64(share).max(SHORTEST_AUDIT_DELAY);
            // Partly at random, so that clients that began together do not stay together.
            self.next = AuditStep::At(now + delay.mul_f64(0.5 + rng.f64()));
        }
    }
}

/// A flight that is being filled, and what it is filled from.
struct Filling<'a> {
    subject: &'a Subject,
    tree: &'a Tree,
    unread: &'a mut Unread,
    /// How much larger than known the data may be.
    growth: usize,
    /// No cut has come for long, and what is read in one batch may give one.
    waits_for_a_cut: bool,
    flight: Flight,
}

impl<'a> Filling<'a> {
    fn new(
        subject: &'a Subject,
        growth: usize,
        tree: &'a Tree,
        unread: &'a mut Unread,
        flight: Flight,
    ) -> Filling<'a> {
        Filling { subject, tree, unread, growth, waits_for_a_cut: false, flight }
    }

    /// All that is queued and is no run: those are of loads and verifications.
    fn take_queued(&mut self) {
        self.take_nodes();
        self.take_lists();
    }

    fn take_nodes(&mut self) {
        self.take_off(false);
    }

    fn take_lists(&mut self) {
        self.take_off(true);
    }

    fn take_off(&mut self, children: bool) {
        while !self.flight.is_full() {
            let Some((path, want)) = self.unread.take_off(children) else { return };
            let Some(relative) = self.subject.root.relative(path.as_str()) else { continue };
            self.add(path.clone(), relative, &want);
        }
    }

    /// Nodes of lists some of which have been read, in a flight of at most so many reads.
    fn take_proven(&mut self, most_reads: usize) {
        while let Some(room) = self.flight.room_for_proven(most_reads)
            && let Some((siblings, data)) = self.unread.runs().take_proven(room)
        {
            self.flight.add_part(siblings, false, data);
        }
    }

    /// Nodes of lists of which nothing has been read.
    fn take_unproven(&mut self, rng: &mut Rng) {
        while !self.flight.is_full() {
            let mut room = self.flight.room();
            let few = self.flight.room_for_uncertain();
            room.reads = room.reads.min(few);
            let Some(siblings) = self.unread.runs().take_unproven(room, self.growth, few, rng) else {
                return;
            };
            self.flight.add_part(siblings, true, self.growth);
        }
    }

    /// Adds a read of a path whose value is known as far as notifications go.
    fn read_again(&mut self, path: &NodePath) {
        let Some(relative) = self.subject.root.relative(path.as_str()) else { return };
        self.read_known(path.clone(), relative, |_| {});
    }

    /// Adds a read of a path for the audit.
    fn audit(&mut self, relative: &str) {
        let list = self.subject.lists_what_is_known(relative);
        self.read_known(self.subject.root.absolute(relative), relative, |want| want.children = list);
    }

    /// Adds a read of a path unless it is to be read anyway.
    fn read_known(&mut self, path: NodePath, relative: &str, change: impl FnOnce(&mut Want)) {
        if !self.unread.contains(path.as_str()) {
            let mut want = Want::default();
            change(&mut want);
            self.unread.read_again(&path, want);
            self.add(path, relative, &want);
        }
    }

    /// Adds the read of a path that is now marked as in flight.
    fn add(&mut self, path: NodePath, relative: &str, want: &Want) {
        let known = self.tree.get(relative).and_then(|entry| entry.node());
        let data = known.map_or(0, |node| self.subject.data.sent(&node));
        // If no data is kept, a Stat tells all, and a node of 1 MiB need not be sent to be thrown away. But each Stat is a
        // request of its own, and the replies have other zxids: if no cut has come for long, all is read in one batch.
        let is_kept = self.subject.data.is_kept();
        let is_told_by_stat = !want.data || !is_kept && !self.waits_for_a_cut;
        let stat_only = is_told_by_stat && data > LARGE_DATA;
        let children = known.map_or(0, |node| node.stat().num_children.try_into().unwrap_or(0));
        // Where no data is kept, or another session has read it, the list shows whether the node may be read, too.
        let is_listed = want.children && (self.subject.is_open(relative) || stat_only && !is_kept)
            || stat_only && self.subject.is_anothers;
        let children = is_listed.then_some(children);
        self.flight.add(path, children, stat_only, known.is_some(), data + self.growth);
    }

    /// As a rule, a node is listed once its Stat says that it has children, which saves half of the reads: most nodes
    /// have none. But if there are few reads, round trips take the time: then a new node is listed at once, which takes
    /// one round trip for each level of the tree instead of two.
    fn list_what_is_new(&mut self) {
        if self.flight.is_sparse() {
            for read in &mut self.flight.nodes {
                let Some(relative) = self.subject.root.relative(read.path.as_str()) else { continue };
                read.children |= self.tree.get(relative).is_none() && self.subject.is_open(relative);
            }
        }
    }

    fn list_anchors(&mut self) {
        for read in self.flight.nodes.iter_mut().chain(&mut self.flight.stats) {
            let Some(relative) = self.subject.root.relative(read.path.as_str()) else { continue };
            let node = self.tree.get(relative).and_then(|entry| entry.node());
            read.children |=
                node.is_some_and(|node| anchors::is_listed(node.stat())) && self.subject.is_open(relative);
        }
    }
}

#[cfg(test)]
mod tests;
