//! What to tell: versions, events, the state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Link, Synchroniser};
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::state::{EventKind, State};
use crate::sync::Output;
use crate::sync::candidate::Cut;
use crate::tree::{Tree, Version};

/// How often the first load shows how far it has come.
const GROWTH_INTERVAL: Duration = Duration::from_millis(100);
/// After how long without a cut a version is published that is not one.
const CUT_PATIENCE: Duration = Duration::from_secs(1);

impl Synchroniser {
    /// The tree is published, as a cut, and no part of a transaction is known to be missing.
    pub(super) fn is_published(&self) -> bool {
        self.published.is_cut
            && self.published.tree.is(&self.tree)
            && (!self.amid || planted::is(Defect::PartTakenForWhole))
    }

    /// It is published, and all that there is to announce has been.
    pub(super) fn is_told(&self) -> bool {
        self.is_published() && !self.announce_in_step
    }

    /// After a reply with `zxid`: publishes what is exact now.
    ///
    /// Where the server names no transaction, nothing that is found there is dated: the tree may be newer than the
    /// newest transaction that was named. Then a barrier is asked for, and the next reply is at a transaction.
    pub(super) fn settle(&mut self, zxid: Zxid, now: Instant) {
        self.amid = false;
        self.syncs.note_zxid(Some(zxid));
        if self.published.zxid == Zxid(0) && zxid.is_transaction() {
            // A lower bound from now on: the watch was there before anything was read.
            self.published.zxid = zxid;
        }
        self.loaded_at = self.is_following().then(|| self.loaded_at.unwrap_or(now));
        let here = Cut { zxid, at: self.paused.unwrap_or(now) };
        let mut found = None;
        if self.syncs.is_undated() {
            self.candidates.clear();
        } else if self.is_clean() {
            self.candidates.clear();
            found = Some((here, self.tree.clone()));
        } else if self.is_following() {
            found = self.candidates.take_complete();
            self.candidates.add(here, &self.tree, &self.unread);
        }
        // One that is older than what is shown, as a reply with an error named a zxid too soon, is of no use.
        if let Some((cut, tree)) = found.filter(|(cut, _)| cut.zxid >= self.published.zxid) {
            self.publish(tree, Some(cut), now);
            let answered = self.syncs.answer_with_cut(cut.zxid);
            self.tell_synced(answered, Ok(()));
        }
        self.publish_when_due(now);
    }

    pub(super) fn note_edits(&mut self, now: Instant) {
        if self.edits > 0 {
            self.edited_at.get_or_insert(now);
        }
    }

    /// When a version is to be published that is no cut, unless a cut comes before.
    pub(super) fn publish_at(&self) -> Option<Instant> {
        let finishes = self.rebuilding || !self.complete || self.announce_initialized;
        let is_dated = self.published.zxid > Zxid(0);
        let finish = self.loaded_at.filter(|_| finishes && is_dated).map(|at| at + CUT_PATIENCE);
        let patience = if self.complete { CUT_PATIENCE } else { GROWTH_INTERVAL };
        let is_shown = !self.rebuilding && is_dated;
        let progress = self.edited_at.filter(|_| is_shown).map(|at| at + patience);
        [finish, progress].into_iter().flatten().min()
    }

    pub(super) fn publish_when_due(&mut self, now: Instant) {
        if self.publish_at().is_some_and(|at| now >= at) {
            self.publish(self.tree.clone(), None, now);
        }
    }

    /// Publishes `tree`: a cut, or (`None`) not one.
    fn publish(&mut self, tree: Tree, cut: Option<Cut>, now: Instant) {
        let is_finished = self.loaded_at.is_some_and(|at| cut.is_some() || now >= at + CUT_PATIENCE);
        self.complete |= is_finished;
        self.rebuilding &= !is_finished;
        if let Some(cut) = cut {
            self.published.zxid = cut.zxid;
            self.plan.note_exact(now);
            self.progress.current_at = self.progress.current_at.max(Some(cut.at));
        } else if !planted::is(Defect::OlderCutShown) {
            // They may be older than what is shown now.
            self.candidates.clear();
        }
        let is_upgrade =
            (cut.is_some() && !self.published.is_cut) || (self.complete && !self.published.is_complete);
        if is_upgrade || !tree.is(&self.published.tree) {
            self.published.is_cut = cut.is_some();
            self.published.is_complete = self.complete;
            self.published.tree = tree.clone();
            let version = Version {
                zxid: self.published.zxid,
                is_cut: cut.is_some(),
                is_complete: self.complete,
                tree,
            };
            self.progress.versions += 1;
            self.progress.cuts += u64::from(version.is_cut);
            self.outputs.push_back(Output::Publish(Arc::new(version), self.edits));
        }
        let is_current = self.published.tree.is(&self.tree);
        self.edits = usize::from(!is_current);
        self.edited_at = (!is_current).then_some(now);
        if is_finished && std::mem::take(&mut self.announce_initialized) {
            self.event(EventKind::Initialized);
        }
        // What waited in a pause is no word of the server's.
        if is_finished && cut.is_some() && self.paused.is_none() {
            self.tell_in_step();
        }
    }

    /// Once, behind each connection.
    pub(super) fn tell_in_step(&mut self) {
        if std::mem::take(&mut self.announce_in_step) {
            self.event(EventKind::InStep);
        }
    }

    /// Something ends or begins that may put what is published in doubt: it was the server's tree until `at`, if the
    /// cache was in step.
    pub(super) fn note_current(&mut self, at: Instant) {
        if self.told_state == State::InStep {
            self.progress.current_at = self.progress.current_at.max(Some(at));
        }
    }

    /// Whoever is told finds the state changed already.
    pub(super) fn event(&mut self, kind: EventKind) {
        self.tell_state();
        self.outputs.push_back(Output::Event(kind));
    }

    pub(super) fn tell_state(&mut self) {
        let state = match self.link {
            _ if self.stopped => State::Closed,
            Link::Suspended => State::Suspended,
            Link::Lost => State::Lost,
            Link::Never | Link::Connected | Link::Watching if !self.complete => State::Loading,
            _ if self.is_clean() && self.is_told() && self.paused.is_none() => State::InStep,
            _ => State::CatchingUp,
        };
        if state != self.told_state {
            self.told_state = state;
            self.outputs.push_back(Output::State(state));
        }
    }
}
