//! What to tell: versions, events, the state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Fault, Status};
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::state::{EventKind, State};
use crate::sync::candidate::Cut;
use crate::sync::{Output, Progress, Ticket, WatchMode};
use crate::tree::{Children, Entry, NodeRef, Tree, Version};

/// How often the first load shows how far it has come.
const GROWTH_INTERVAL: Duration = Duration::from_millis(100);
/// If no cut has come for this long, a version is published that is no cut.
const CUT_PATIENCE: Duration = Duration::from_secs(1);

/// How the cache stands, as far as the state that is told goes by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A limit has ended it.
    Stopped,
    Suspended,
    Lost,
    /// It began with a known tree, and there was no connection yet.
    Warm,
    /// The tree is held as it is.
    Held,
    /// Connected, or not yet for the first time. `is_clean`: nothing is known to be outstanding.
    Open {
        is_clean: bool,
    },
}

/// What is published of a tree, and what is told of it.
///
/// It is given the tree as it is, how the cache stands, what was found to be a cut, and the time; of requests it knows
/// nothing. It holds that
///
/// - what it calls published is the version that was told last, and the zxids of versions never fall but for a reset;
/// - a version that is no cut is told only where a cut has been waited for, and, after a reset, not before the tree has
///   been built anew;
/// - a state is told before the event or answer that tells of the same: whoever gets these finds the state;
/// - `Initialized` is told once at the start and behind each lost session, `InStep` at the start and behind each lost
///   connection;
/// - it is in step only where the tree is published as a cut, with no part of a transaction outstanding, and nothing
///   that was heard may have waited in a pause.
pub(super) struct Publisher {
    published: Published,
    /// The first load is complete.
    complete: bool,
    /// The tree is being built anew after a reset of the ensemble, while the last version stays published.
    rebuilding: bool,
    /// About how many nodes have changed since the last version, and since when.
    edits: usize,
    edited_at: Option<Instant>,
    /// Since when nothing is left of the load or verification.
    loaded_at: Option<Instant>,
    /// A notification came behind the last reply. It may be a part of a transaction: only a reply tells that the
    /// rest has come too.
    amid: bool,
    /// If what comes may have waited in a pause: when the server was heard before the pause.
    paused: Option<Instant>,
    /// To be told with the next version after which it holds.
    announce_initialized: bool,
    announce_in_step: bool,
    told_state: State,
    failure: Option<Status>,
    progress: Progress,
    told_progress: Progress,
    outputs: VecDeque<Output>,
}

struct Published {
    tree: Tree,
    zxid: Zxid,
    is_cut: bool,
    is_complete: bool,
    is_own: bool,
}

impl Publisher {
    /// If a version is known, it is what is published first.
    pub(super) fn new(mut known: Option<Arc<Version>>) -> Publisher {
        if planted::is(Defect::UnverifiedTakenForOwn) {
            known = known.map(|known| Arc::new(Version { is_own: true, ..(*known).clone() }));
        }
        let first =
            known.as_deref().cloned().unwrap_or_else(|| Version { is_own: true, ..Version::default() });
        let (versions, cuts) = (u64::from(known.is_some()), u64::from(first.is_cut));
        let Version { tree, zxid, is_cut, is_complete, is_own } = first;
        let outputs = known.map(|known| Output::Publish(known, tree.len()));
        Publisher {
            published: Published { tree, zxid, is_cut, is_complete, is_own },
            complete: is_complete,
            rebuilding: false,
            edits: 0,
            edited_at: None,
            loaded_at: None,
            amid: false,
            paused: None,
            announce_initialized: true,
            announce_in_step: true,
            told_state: State::Latent,
            failure: None,
            progress: Progress { versions, cuts, ..Progress::default() },
            told_progress: Progress::default(),
            outputs: outputs.into_iter().collect(),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        if self.told_progress != self.progress {
            self.told_progress = self.progress;
            // First, so that whoever is told the rest finds it.
            return Some(Output::Progress(self.progress));
        }
        self.outputs.pop_front()
    }

    /// When a version that is no cut is to be published, unless a cut comes before.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let finishes = self.rebuilding || !self.complete || self.announce_initialized;
        let is_dated = self.published.zxid > Zxid(0);
        let finish = self.loaded_at.filter(|_| finishes && is_dated).map(|at| at + CUT_PATIENCE);
        let patience = if self.complete { CUT_PATIENCE } else { GROWTH_INTERVAL };
        let is_shown = !self.rebuilding && is_dated;
        let progress = self.edited_at.filter(|_| is_shown).map(|at| at + patience);
        [finish, progress].into_iter().flatten().min()
    }

    /// The tree is published, as a cut, and no part of a transaction is known to be missing.
    fn is_published(&self, tree: &Tree) -> bool {
        self.published.is_cut && self.published.tree.is(tree) && !self.amid
    }

    /// The tree is published, and `InStep` has been told.
    pub(super) fn is_told(&self, tree: &Tree) -> bool {
        self.is_published(tree) && !self.announce_in_step
    }

    /// Whether the next reply may give something to tell, if nothing is outstanding.
    pub(super) fn awaits_reply(&self, tree: &Tree) -> bool {
        !self.is_told(tree) && self.paused.is_none()
    }

    /// The node as it was published, if that was in the history that is read now.
    pub(super) fn node(&self, relative: &str) -> Option<NodeRef<'_>> {
        self.entry(relative)?.node()
    }

    /// The children of a node as they were published, if that was in the history that is read now.
    pub(super) fn children(&self, relative: &str) -> Option<&Children> {
        self.entry(relative)?.children().map(|children| &**children)
    }

    fn entry(&self, relative: &str) -> Option<Entry<'_>> {
        // While the tree is built anew after a reset, what is published is of the history before.
        (!self.rebuilding).then(|| self.published.tree.get(relative))?
    }

    /// A change was notified of, or found, and there may be more of the same transaction.
    pub(super) fn note_amid(&mut self) {
        self.amid = true;
    }

    /// Whether there was no reply since the last [`note_amid`](Self::note_amid).
    pub(super) fn is_amid(&self) -> bool {
        self.amid
    }

    /// A node of the tree changed.
    pub(super) fn count_edit(&mut self) {
        self.edits += 1;
    }

    /// What was counted so far has changed by now.
    pub(super) fn note_edits(&mut self, now: Instant) {
        if self.edits > 0 {
            self.edited_at.get_or_insert(now);
        }
    }

    /// So many requests were sent for so many reads.
    pub(super) fn count_reads(&mut self, requests: usize, reads: usize) {
        self.progress.batches += requests as u64;
        self.progress.reads += reads as u64;
    }

    /// How changes are heard of from now on.
    pub(super) fn note_watch(&mut self, watch: Option<WatchMode>) {
        self.progress.watch = watch;
    }

    /// A verification of the tree has begun.
    pub(super) fn count_resync(&mut self) {
        self.progress.resyncs += 1;
    }

    /// After a reply with `zxid`; `is_following`: nothing is left of a load or a verification. Returns at which zxid,
    /// and when, the tree is the server's, if nothing is suspect.
    pub(super) fn handle_reply(&mut self, zxid: Zxid, is_following: bool, now: Instant) -> Cut {
        self.amid = false;
        if self.published.zxid == Zxid(0) && zxid.is_transaction() {
            // A lower bound from now on: the watch was there before anything was read.
            self.published.zxid = zxid;
        }
        self.loaded_at = is_following.then(|| self.loaded_at.unwrap_or(now));
        Cut { zxid, at: self.paused.unwrap_or(now) }
    }

    /// Publishes what was `found` to be the server's tree at `cut`, if it is not published already; `tree` is what is
    /// known now. Returns false if the cut is older than what is shown, because a reply with an error named a zxid too
    /// soon: such a cut is of no use.
    pub(super) fn publish_cut(
        &mut self,
        cut: Cut,
        found: Tree,
        tree: &Tree,
        standing: Standing,
        now: Instant,
    ) -> bool {
        let is_of_use = cut.zxid >= self.published.zxid;
        if is_of_use {
            self.published.zxid = cut.zxid;
            self.progress.current_at = self.progress.current_at.max(Some(cut.at));
            self.publish(found, true, tree, standing, now);
        }
        is_of_use || planted::is(Defect::OlderCutAnswers)
    }

    /// Publishes the tree as it is, though it is no cut, if a cut has been waited for long enough.
    pub(super) fn publish_when_due(&mut self, tree: &Tree, standing: Standing, now: Instant) -> bool {
        let is_due = self.poll_timeout().is_some_and(|at| now >= at);
        if is_due {
            self.publish(tree.clone(), false, tree, standing, now);
        }
        is_due
    }

    fn publish(&mut self, found: Tree, is_cut: bool, tree: &Tree, standing: Standing, now: Instant) {
        let is_finished = self.loaded_at.is_some_and(|at| is_cut || now >= at + CUT_PATIENCE);
        self.complete |= is_finished;
        self.rebuilding &= !is_finished;
        // For a cut, this session has read all, or all that may differ from what the same user has read.
        let is_own = is_cut || self.published.is_own;
        let was = &self.published;
        let is_upgrade =
            (is_cut && !was.is_cut) || (self.complete && !was.is_complete) || (is_own && !was.is_own);
        if is_upgrade || !found.is(&was.tree) {
            let (zxid, is_complete) = (was.zxid, self.complete);
            self.published = Published { tree: found.clone(), zxid, is_cut, is_complete, is_own };
            self.progress.versions += 1;
            self.progress.cuts += u64::from(is_cut);
            let version = Version { zxid, is_cut, is_complete, is_own, tree: found };
            self.outputs.push_back(Output::Publish(Arc::new(version), self.edits));
        }
        let is_current = self.published.tree.is(tree);
        self.edits = usize::from(!is_current);
        self.edited_at = (!is_current).then_some(now);
        if is_finished && std::mem::take(&mut self.announce_initialized) {
            self.event(EventKind::Initialized, tree, standing);
        }
        // If what comes may have waited in a pause, the cache is not in step.
        if is_finished && is_cut && self.paused.is_none() {
            self.tell_in_step(tree, standing);
        }
    }

    /// Once, behind each connection.
    fn tell_in_step(&mut self, tree: &Tree, standing: Standing) {
        if std::mem::take(&mut self.announce_in_step) {
            self.event(EventKind::InStep, tree, standing);
        }
    }

    /// From now on, what is published may not be the server's tree. If the cache was in step, it was until `at`.
    pub(super) fn note_current(&mut self, at: Instant) {
        if self.told_state == State::InStep {
            self.progress.current_at = self.progress.current_at.max(Some(at));
        }
    }

    /// The connection is gone; `heard` is the time of the server's last word.
    pub(super) fn handle_suspended(&mut self, heard: Instant) {
        self.note_current(heard);
        self.note_watch(None);
        (self.loaded_at, self.edited_at) = (None, None);
        (self.amid, self.paused) = (false, None);
        self.announce_in_step = true;
    }

    /// The session is gone.
    pub(super) fn handle_lost(&mut self) {
        self.announce_initialized = true;
    }

    /// What comes from now on may have waited in a pause, and is no news; the server was `heard` before that.
    pub(super) fn handle_paused(&mut self, heard: Instant) {
        self.note_current(heard);
        self.paused = Some(heard);
    }

    /// There is no connection that anything could have waited on.
    pub(super) fn forget_pause(&mut self) {
        self.paused = None;
    }

    /// What comes from now on is news again.
    pub(super) fn handle_heard(&mut self, tree: &Tree, standing: Standing) {
        self.paused = None;
        let is_initialized = self.published.is_complete && !self.announce_initialized;
        let is_clean = standing == Standing::Open { is_clean: true };
        if is_initialized && is_clean && self.is_published(tree) {
            self.tell_in_step(tree, standing);
        }
    }

    /// The ensemble has another history. What is published stays, but is no cut of this history.
    pub(super) fn handle_reset(&mut self) {
        self.rebuilding = self.published.tree.has_root();
        (self.published.zxid, self.published.is_cut) = (Zxid(0), false);
        self.published.is_own = true;
    }

    /// Nothing will be published any more.
    pub(super) fn stop(&mut self) {
        self.published.tree = Tree::default();
    }

    /// Why the load cannot succeed at present; `None`: it may again.
    pub(super) fn failure(&self) -> Option<Status> {
        self.failure
    }

    /// Why the load cannot succeed; `None`: it may again. Returns false if that has been told already.
    pub(super) fn set_failure(&mut self, failure: Option<Status>) -> bool {
        let is_news = self.failure != failure;
        if is_news {
            self.failure = failure;
            self.outputs.push_back(Output::Failure(failure));
        }
        is_news
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.outputs.push_back(Output::Fault(fault));
    }

    /// The answer to a call of `sync`, and to all before it.
    pub(super) fn synced(
        &mut self,
        last: Ticket,
        answer: Result<(), Status>,
        tree: &Tree,
        standing: Standing,
    ) {
        self.tell_state(tree, standing);
        self.outputs.push_back(Output::Synced(last, answer));
    }

    pub(super) fn event(&mut self, kind: EventKind, tree: &Tree, standing: Standing) {
        self.tell_state(tree, standing);
        self.outputs.push_back(Output::Event(kind));
    }

    pub(super) fn tell_state(&mut self, tree: &Tree, standing: Standing) {
        let state = match standing {
            Standing::Stopped => State::Closed,
            Standing::Suspended => State::Suspended,
            Standing::Lost => State::Lost,
            Standing::Held => State::Held,
            Standing::Warm => State::Warm,
            Standing::Open { .. } if !self.complete => State::Loading,
            Standing::Open { is_clean: true } if self.is_told(tree) && self.paused.is_none() => State::InStep,
            Standing::Open { .. } => State::CatchingUp,
        };
        if state != self.told_state {
            self.told_state = state;
            self.outputs.push_back(Output::State(state));
        }
    }
}

#[cfg(test)]
mod tests;
