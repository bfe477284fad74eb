//! What to read next.

use std::time::{Duration, Instant};

use super::{AuditStep, Link, Synchroniser, Verification};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::sync::anchors;
use crate::sync::flight::{Flight, LARGE_DATA, MOST_HOT_READS, MOST_READS};
use crate::sync::unread::Want;
use crate::tree::Tree;

/// For how long the tree must not have been exact before the hot paths are read too.
const HOT_AFTER: Duration = Duration::from_millis(5);
/// For how long, before more hot paths than usual may be read at once.
const STARVED_AFTER: Duration = Duration::from_millis(200);
/// A path is hot when a notification named it within this time, or since the tree was exact last.
pub(super) const HOT_FOR: Duration = Duration::from_millis(100);
/// How much larger than known an anchor is taken to be: four of them fill a flight, and all of them go out at once.
const ANCHOR_GROWTH: usize = 64 << 10;
/// Nodes that one step of the audit reads.
pub(super) const AUDIT_STEP: usize = 64;
const SHORTEST_AUDIT_DELAY: Duration = Duration::from_millis(100);

impl Synchroniser {
    pub(super) fn want_root(&mut self) {
        let root = self.root.clone();
        self.unread.update(&root, |want| {
            (want.suspect, want.discovered, want.children, want.data) = (true, true, true, true);
        });
    }

    /// Has the nodes read that show whether the history is still the one that the tree was read in. False where none
    /// do.
    pub(super) fn want_anchors(&mut self) -> bool {
        let Some(anchors) = anchors::of(&self.tree) else { return false };
        for path in anchors {
            let path = self.root.absolute(&path);
            self.unread.update(&path, Want::verify);
        }
        true
    }

    /// The anchors have been read, or are gone as was notified, and nothing was found: nothing happened in between.
    pub(super) fn conclude_anchors(&mut self) {
        let is_read = self.link == Link::Watching && self.unread.backlog() == 0;
        if self.verification == Verification::OfAnchors && is_read {
            self.verification = Verification::Done;
        }
    }

    /// The next reads, if there are any and this is the time for them.
    pub(crate) fn poll_flight(&mut self, now: Instant) -> Option<Flight> {
        self.conclude_anchors();
        let most = if self.is_following() { 1 } else { self.options.pace.flights };
        let is_open = match self.link {
            Link::Watching => true,
            Link::Connected => self.verification == Verification::OfAnchors,
            _ => false,
        };
        if !is_open || self.stopped || self.outstanding >= most || self.retry_at.is_some() {
            return None;
        }
        let mut flight;
        if self.is_following() {
            flight = Flight::new(self.chroot);
            let starved_for = now - self.exact_until;
            self.hot.retain(|_, at| now - *at <= HOT_FOR.max(starved_for));
            let mut hot = Vec::new();
            if starved_for >= HOT_AFTER && !planted::is(Defect::HotPathsLeftOut) {
                hot = self.hot_paths(MOST_READS);
            }
            if starved_for >= STARVED_AFTER && hot.is_empty() {
                hot = self.hot_paths(MOST_HOT_READS);
                flight = if hot.is_empty() { flight } else { Flight::for_a_cut(self.chroot) };
            }
            self.fill_from_queue(&mut flight);
            if !flight.is_empty() && flight.takes(&hot) {
                hot.iter().for_each(|path| self.read_again(&mut flight, path));
            }
            if self.audit.next == AuditStep::Due && flight.has_room_for(AUDIT_STEP) {
                let read = self.fill_from_audit(&mut flight);
                self.schedule_audit(read, now);
            }
        } else if self.verification == Verification::OfAnchors {
            flight = Flight::new(self.chroot);
            self.fill_from_queue(&mut flight);
            self.list_anchors(&mut flight);
        } else {
            flight = Flight::into_the_unknown(self.chroot);
            self.fill_from_queue(&mut flight);
            self.list_what_is_new(&mut flight);
            self.fill_from_verification(&mut flight);
        }
        let is_to_be_told =
            self.is_clean() && !self.is_told() && !self.syncs.is_undated() && self.paused.is_none();
        if flight.is_empty() && self.outstanding == 0 && is_to_be_told {
            // Nothing was left to be read, as behind the deletion of the root or the end of a verification: only a
            // reply tells at which zxid the tree is exact.
            self.read_again(&mut flight, &self.root.clone());
        }
        if flight.is_empty() {
            return None;
        }
        let requests = usize::from(!flight.nodes.is_empty()) + flight.stats.len();
        self.outstanding += requests;
        self.progress.batches += requests as u64;
        self.progress.reads += (flight.nodes.len() + flight.stats.len()) as u64;
        Some(flight)
    }

    /// Adds the read of a path that is now marked as in flight.
    /// `growth` is how much larger than known the data may be.
    fn add(flight: &mut Flight, tree: &Tree, growth: usize, path: NodePath, relative: &str, want: &Want) {
        let known = tree.get(relative).and_then(|entry| entry.node.as_deref());
        let data = known.map_or(0, |node| node.data().len());
        let stat_only = !want.data && data > LARGE_DATA;
        let children = known.map_or(0, |node| node.stat().num_children.try_into().unwrap_or(0));
        flight.add(path, want.children.then_some(children), stat_only, data + growth);
    }

    fn fill_from_queue(&mut self, flight: &mut Flight) {
        // Anchors are most likely what they were; but for a server that has gone on, they are what changed last.
        let growth = match self.verification {
            Verification::OfAnchors => ANCHOR_GROWTH,
            _ => self.sizes.get(),
        };
        while !flight.is_full() {
            let Some((path, want)) = self.unread.take_off() else { return };
            let Some(relative) = self.root.relative(path.as_str()) else { continue };
            Self::add(flight, &self.tree, growth, path.clone(), relative, &want);
        }
    }

    /// A node is listed when its Stat says that it has children, which saves half of the reads: most have none. Where
    /// there are few reads it is round trips that take the time, one for a level of the tree then instead of two.
    fn list_what_is_new(&self, flight: &mut Flight) {
        if flight.is_sparse() {
            for read in &mut flight.nodes {
                let known = self.root.relative(read.path.as_str()).and_then(|path| self.tree.get(path));
                read.children |= known.is_none();
            }
        }
    }

    fn list_anchors(&self, flight: &mut Flight) {
        for read in flight.nodes.iter_mut().chain(&mut flight.stats) {
            let known = self.root.relative(read.path.as_str()).and_then(|path| self.tree.get(path));
            let node = known.and_then(|entry| entry.node.as_ref());
            read.children |= node.is_some_and(|node| anchors::is_listed(node.stat()));
        }
    }

    fn fill_from_verification(&mut self, flight: &mut Flight) {
        let Verification::Behind(cursor) = &mut self.verification else { return };
        let mut walk = self.tree.preorder_after(cursor);
        let mut last = None;
        while !flight.is_full() {
            let Some((relative, _)) = walk.next() else {
                self.verification = Verification::Done;
                return;
            };
            let path = self.root.absolute(relative);
            last = Some(relative.to_owned());
            if !self.unread.contains(path.as_str()) {
                let mut want = Want { in_flight: true, ..Want::default() };
                want.verify();
                self.unread.update(&path, |new| *new = want);
                Self::add(flight, &self.tree, self.sizes.get(), path, relative, &want);
            }
        }
        if let Some(last) = last {
            *cursor = last;
        }
    }

    /// What is written all the time and known at present. When no cut has come for a while it is read together with
    /// what is not known, so that one reply knows it all. None of it if that would be more than `most` reads: a part
    /// would be of no use.
    fn hot_paths(&self, most: usize) -> Vec<NodePath> {
        let Some(room) = most.checked_sub(self.unread.len()) else { return Vec::new() };
        let is_small = |path: &NodePath| {
            let known = self.root.relative(path.as_str()).and_then(|relative| self.tree.get(relative));
            let node = known.and_then(|entry| entry.node.as_ref());
            node.is_some_and(|node| node.data().len() <= LARGE_DATA)
        };
        let known = self.hot.keys().filter(|path| !self.unread.contains(path.as_str()) && is_small(path));
        let mut hot: Vec<NodePath> = known.take(room + 1).cloned().collect();
        if hot.len() > room {
            return Vec::new();
        }
        // One seed, one schedule: the order of a hash map is another each time.
        hot.sort_unstable();
        hot
    }

    /// Reads a few nodes again that nothing notified of: changes that an ACL hid show in them. Returns how many.
    fn fill_from_audit(&mut self, flight: &mut Flight) -> usize {
        // A pass begins with the root, which may have appeared unnoticed, and after the last node the next one begins.
        let mut behind = std::mem::take(&mut self.audit.behind);
        if behind.is_empty() {
            self.read_again(flight, &self.root.clone());
        }
        let tree = self.tree.clone();
        let mut walk = tree.preorder_after(&behind);
        let mut read = 0;
        while read < AUDIT_STEP && !flight.is_full() {
            // At the end the next step begins anew, and not with nothing.
            let Some((relative, _)) = walk.next() else { return read };
            read += 1;
            behind = relative.to_owned();
            self.read_again(flight, &self.root.absolute(relative));
        }
        self.audit.behind = behind;
        read
    }

    /// Adds a read of a path whose value is known as far as notifications go.
    fn read_again(&mut self, flight: &mut Flight, path: &NodePath) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if !self.unread.contains(path.as_str()) {
            let want = Want { in_flight: true, ..Want::default() };
            self.unread.update(path, |new| *new = want);
            Self::add(flight, &self.tree, self.sizes.get(), path.clone(), relative, &want);
        }
    }

    /// The next step, behind one that has read so many nodes: a pass over all of them takes one interval.
    pub(super) fn schedule_audit(&mut self, read: usize, now: Instant) {
        let interval = self.options.audit_interval;
        if !interval.is_zero() {
            let nodes = self.tree.len().max(1);
            let delay =
                interval.mul_f64(read.clamp(1, nodes) as f64 / nodes as f64).max(SHORTEST_AUDIT_DELAY);
            // Partly at random, so that clients that began together do not stay together.
            self.audit.next = AuditStep::At(now + delay.mul_f64(0.5 + self.rng.f64()));
        }
    }
}
