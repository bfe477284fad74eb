//! What to read next: load, verification, hot paths, audit.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::sync::flight::{Flight, LARGE_DATA, MOST_HOT_READS, MOST_READS, SizeGuess};
use crate::sync::unread::{Unread, Want};
use crate::sync::{Options, Pace, anchors};
use crate::tree::Tree;

/// If the tree has not been exact for this long, the hot paths are read too.
const HOT_AFTER: Duration = Duration::from_millis(5);
/// If the tree has not been exact for this long, more hot paths than usual may be read at once.
const STARVED_AFTER: Duration = Duration::from_millis(200);
/// A path is hot when a notification named it within this time, or since the tree was exact last.
const HOT_FOR: Duration = Duration::from_millis(100);
/// How much larger than known an anchor is taken to be: four of them fill a flight, and all of them go out at once.
const ANCHOR_GROWTH: usize = 64 << 10;
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
///   more during a load or verification, and none is handed out while the server is left alone (`retry_at`);
/// - a verification comes to each node of the tree, for all up to its cursor has been read or is in `Unread`;
/// - the zxid at which the tree was left exact is forgotten once anything speaks against it: another session, another
///   zxid, an anchor that differs.
///
/// It sees the tree and does not change it; what the replies say it does not know.
pub(super) struct ReadPlan {
    root: NodePath,
    /// How many bytes the chroot puts in front of each path on the wire.
    chroot: usize,
    /// A child of the root is left out by rule.
    hides_child: bool,
    pace: Pace,
    rng: Rng,
    /// Reading has begun: the root is known, or in `unread`.
    begun: bool,
    verification: Verification,
    /// If nothing was outstanding when the connection was lost: the zxid of the last reply, while the session that saw
    /// it may still be resumed.
    left_exact: Option<Zxid>,
    /// Paths that notifications named, and when last.
    hot: HashMap<NodePath, Instant>,
    /// When the tree was last known to be exact: at the last cut, or when the first notification behind it came.
    exact_until: Instant,
    audit: Audit,
    /// A pass of the audit begins, before which the watch is to be set again.
    renews_watch: bool,
    /// Replies that are still to come.
    outstanding: usize,
    retry_at: Option<Instant>,
    sizes: SizeGuess,
}

/// A pass over what is in the tree, after a connection that was gone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verification {
    Done,
    /// Only the anchors are read. That is enough if the zxid has not moved and the anchors have not changed.
    OfAnchors,
    Due(Instant),
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
    /// A plan for the tree below `root`. On the wire, each path gets `chroot` more bytes in front. `hides_child`: a
    /// child of the root is left out by rule.
    pub(super) fn new(
        root: NodePath,
        chroot: usize,
        hides_child: bool,
        options: &Options,
        rng: Rng,
        now: Instant,
    ) -> ReadPlan {
        ReadPlan {
            root,
            chroot,
            hides_child,
            pace: options.pace,
            rng,
            begun: false,
            verification: Verification::Done,
            left_exact: None,
            hot: HashMap::new(),
            exact_until: now,
            audit: Audit { interval: options.audit_interval, behind: String::new(), next: AuditStep::Off },
            renews_watch: false,
            outstanding: 0,
            retry_at: None,
            sizes: SizeGuess::new(),
        }
    }

    /// Nothing is left of a load or a verification.
    pub(super) fn is_following(&self, unread: &Unread) -> bool {
        self.begun && self.verification == Verification::Done && unread.backlog() == 0
    }

    /// Whether what is known of a path was read on an earlier connection, and was not read again on this one.
    pub(super) fn is_unverified(&self, path: &NodePath) -> bool {
        match &self.verification {
            Verification::Done => false,
            Verification::OfAnchors | Verification::Due(_) => true,
            Verification::Behind(cursor) => {
                let relative = self.root.relative(path.as_str());
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
    pub(super) fn handle_timeout(&mut self, unread: &mut Unread, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now >= at) && !planted::is(Defect::RetryForEver) {
            self.retry_at = None;
        }
        if matches!(self.audit.next, AuditStep::At(at) if now >= at) {
            self.audit.next = AuditStep::Due;
            self.renews_watch |= self.audit.behind.is_empty() && !planted::is(Defect::WatchNotRenewed);
        }
        let begins = matches!(self.verification, Verification::Due(at) if now >= at);
        if begins {
            unread.update(&self.root, |want| {
                want.verify();
                // If a child is left out by rule, the list must be read: the known children may all be there, and the
                // list be another.
                want.children |= self.hides_child;
            });
            self.verification = Verification::Behind(String::new());
        }
        begins
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
        let Some(anchors) = anchors::of(tree) else { return self.left_exact = None };
        for path in anchors {
            unread.update(&self.root.absolute(&path), Want::verify);
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

    /// The connection was lost while the watch was there. `exact` is the zxid at which the tree was known to be the
    /// server's then; `None` if it was not, or may not have been.
    pub(super) fn note_left(&mut self, exact: Option<Zxid>) {
        self.left_exact = exact;
    }

    /// The connection is gone, and with it what was outstanding.
    pub(super) fn handle_suspended(&mut self, unread: &mut Unread) {
        match self.left_exact {
            // What is unread is anchors that were not looked at yet.
            Some(_) => *unread = Unread::default(),
            None => unread.restart(),
        }
        self.hot.clear();
        self.verification = Verification::Done;
        // Replies that were larger than expected may have been the reason.
        self.sizes = SizeGuess::new();
        self.renews_watch = false;
        self.outstanding = 0;
        self.retry_at = None;
    }

    /// Nothing is known any more: the next connection begins anew.
    pub(super) fn handle_reset(&mut self) {
        self.left_exact = None;
        self.begun = false;
    }

    /// Nothing will be read any more.
    pub(super) fn stop(&mut self) {
        self.hot.clear();
    }

    /// The root is to be read, whatever is known of it.
    pub(super) fn want_root(&self, unread: &mut Unread) {
        unread.update(&self.root, |want| {
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
    pub(super) fn handle_reply(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
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
        let most = if is_following { 1 } else { self.pace.flights };
        if self.outstanding >= most || self.retry_at.is_some() {
            return None;
        }
        let flight = if is_following {
            self.follow(tree, unread, now)
        } else if self.is_of_anchors() {
            // They are most likely what they were; but for a server that has gone on, they are what changed last.
            let flight = Flight::new(self.chroot);
            let mut filling = Filling { root: &self.root, growth: ANCHOR_GROWTH, tree, unread, flight };
            filling.take_queued();
            filling.list_anchors();
            filling.flight
        } else {
            let flight = Flight::into_the_unknown(self.chroot);
            let mut filling = Filling { root: &self.root, growth: self.sizes.get(), tree, unread, flight };
            filling.take_queued();
            filling.list_what_is_new();
            self.verification.fill(&mut filling);
            filling.flight
        };
        self.hand_out(flight)
    }

    /// The root, read for the sake of the reply, where nothing else is outstanding.
    pub(super) fn poll_root(&mut self, tree: &Tree, unread: &mut Unread) -> Option<Flight> {
        if self.outstanding > 0 || self.retry_at.is_some() {
            return None;
        }
        let flight = Flight::new(self.chroot);
        let mut filling = Filling { root: &self.root, growth: self.sizes.get(), tree, unread, flight };
        filling.read_again(&self.root);
        let flight = filling.flight;
        self.hand_out(flight)
    }

    fn hand_out(&mut self, flight: Flight) -> Option<Flight> {
        self.outstanding += flight.requests();
        (!flight.is_empty()).then_some(flight)
    }

    /// Reads what was notified of. If no cut has come for a while, the hot paths are read with it; if there is room, so
    /// is a step of the audit.
    fn follow(&mut self, tree: &Tree, unread: &mut Unread, now: Instant) -> Flight {
        let mut flight = Flight::new(self.chroot);
        let starved_for = now - self.exact_until;
        self.hot.retain(|_, at| now - *at <= HOT_FOR.max(starved_for));
        let mut hot = Vec::new();
        if starved_for >= HOT_AFTER && !planted::is(Defect::HotPathsLeftOut) {
            hot = self.hot_paths(tree, unread, MOST_READS);
        }
        if starved_for >= STARVED_AFTER && hot.is_empty() {
            hot = self.hot_paths(tree, unread, MOST_HOT_READS);
            flight = if hot.is_empty() { flight } else { Flight::for_a_cut(self.chroot) };
        }
        let mut filling = Filling { root: &self.root, growth: self.sizes.get(), tree, unread, flight };
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

    /// The hot paths whose values are known at present. If no cut has come for a while, they are read together with
    /// what is not known, so that one reply tells all. If that would be more than `most` reads, there are none: a part
    /// would be of no use.
    fn hot_paths(&self, tree: &Tree, unread: &Unread, most: usize) -> Vec<NodePath> {
        let Some(room) = most.checked_sub(unread.len()) else { return Vec::new() };
        let is_small = |path: &NodePath| {
            let known = self.root.relative(path.as_str()).and_then(|relative| tree.get(relative));
            let data = known.and_then(|entry| entry.data());
            data.is_some_and(|data| data.len() <= LARGE_DATA)
        };
        let known = self.hot.keys().filter(|path| !unread.contains(path.as_str()) && is_small(path));
        let mut hot: Vec<NodePath> = known.take(room + 1).cloned().collect();
        if hot.len() > room {
            return Vec::new();
        }
        // One seed must give one schedule, but the order of a hash map is another each time.
        hot.sort_unstable();
        hot
    }
}

impl Verification {
    fn fill(&mut self, filling: &mut Filling<'_>) {
        let Verification::Behind(cursor) = self else { return };
        let mut walk = filling.tree.preorder_after(cursor);
        let mut last = None;
        while !filling.flight.is_full() {
            let Some((relative, _)) = walk.next() else {
                *self = Verification::Done;
                return;
            };
            let path = filling.root.absolute(relative);
            last = Some(relative.to_owned());
            filling.read_known(path, relative, Want::verify);
        }
        if let Some(last) = last {
            *cursor = last;
        }
    }
}

impl Audit {
    /// Reads a few nodes again that nothing notified of: changes that an ACL hid show in them. Returns how many.
    fn fill(&mut self, filling: &mut Filling<'_>) -> usize {
        // A pass begins with the root, which may have appeared unnoticed. After the last node, the next pass begins.
        let mut behind = std::mem::take(&mut self.behind);
        if behind.is_empty() {
            filling.read_again(filling.root);
        }
        let mut walk = filling.tree.preorder_after(&behind);
        let mut read = 0;
        while read < AUDIT_STEP && !filling.flight.is_full() {
            // The tree ends here: the next step begins a new pass.
            let Some((relative, _)) = walk.next() else { return read };
            read += 1;
            behind = relative.to_owned();
            filling.read_again(&filling.root.absolute(relative));
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
    root: &'a NodePath,
    tree: &'a Tree,
    unread: &'a mut Unread,
    /// How much larger than known the data may be.
    growth: usize,
    flight: Flight,
}

impl Filling<'_> {
    fn take_queued(&mut self) {
        while !self.flight.is_full() {
            let Some((path, want)) = self.unread.take_off() else { return };
            let Some(relative) = self.root.relative(path.as_str()) else { continue };
            self.add(path.clone(), relative, &want);
        }
    }

    /// Adds a read of a path whose value is known as far as notifications go.
    fn read_again(&mut self, path: &NodePath) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        self.read_known(path.clone(), relative, |_| {});
    }

    /// Adds a read of a path unless it is to be read anyway.
    fn read_known(&mut self, path: NodePath, relative: &str, change: impl FnOnce(&mut Want)) {
        if !self.unread.contains(path.as_str()) {
            let mut want = Want { in_flight: true, ..Want::default() };
            change(&mut want);
            self.unread.update(&path, |new| *new = want);
            self.add(path, relative, &want);
        }
    }

    /// Adds the read of a path that is now marked as in flight.
    fn add(&mut self, path: NodePath, relative: &str, want: &Want) {
        let known = self.tree.get(relative).and_then(|entry| entry.node());
        let data = known.map_or(0, |node| node.data().len());
        let stat_only = !want.data && data > LARGE_DATA;
        let children = known.map_or(0, |node| node.stat().num_children.try_into().unwrap_or(0));
        self.flight.add(path, want.children.then_some(children), stat_only, data + self.growth);
    }

    /// As a rule, a node is listed once its Stat says that it has children, which saves half of the reads: most nodes
    /// have none. But if there are few reads, round trips take the time: then a new node is listed at once, which takes
    /// one round trip for each level of the tree instead of two.
    fn list_what_is_new(&mut self) {
        if self.flight.is_sparse() {
            for read in &mut self.flight.nodes {
                let known = self.root.relative(read.path.as_str()).and_then(|path| self.tree.get(path));
                read.children |= known.is_none();
            }
        }
    }

    fn list_anchors(&mut self) {
        for read in self.flight.nodes.iter_mut().chain(&mut self.flight.stats) {
            let known = self.root.relative(read.path.as_str()).and_then(|path| self.tree.get(path));
            let node = known.and_then(|entry| entry.node());
            read.children |= node.is_some_and(|node| anchors::is_listed(node.stat()));
        }
    }
}

#[cfg(test)]
mod tests;
