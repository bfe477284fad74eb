//! One subtree: load, follow, verify, audit, and publish what is exact.
//!
//! Inputs, in the order of the connection's stream: [`handle_connected`](Synchroniser::handle_connected), then
//! [`handle_watching`](Synchroniser::handle_watching) once the watch is there; then, in any order,
//! [`handle_notification`](Synchroniser::handle_notification), and for each reply one
//! [`handle_found`](Synchroniser::handle_found) per read followed by one
//! [`handle_reply`](Synchroniser::handle_reply); last [`handle_suspended`](Synchroniser::handle_suspended). After
//! each of them, [`poll_flight`](Synchroniser::poll_flight) says what to read, [`poll_output`] what to tell, and
//! [`poll_timeout`](Synchroniser::poll_timeout) when to call [`handle_timeout`](Synchroniser::handle_timeout).
//!
//! Parts of the state have owners: types whose fields nobody else can change, which do not know each other.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | the link, the tree and what is unread; who handles what: connections, replies to barriers, limits |
//! | `notifications` | what changes at the server, and in the tree |
//! | `replies` | what reads find, and change in the tree |
//! | `read_plan` | [`ReadPlan`]: what to read next, and when: load, verification, hot paths, audit |
//! | `publisher` | [`Publisher`]: what is published and told: versions, cuts, events, the state |
//! | `root_creation` | [`RootCreation`]: whether the root is to be created, and what became of it |
//! | `syncs` | [`Syncs`]: barriers, and which calls of `sync` they answer |
//!
//! Two rules carry the rest. *A path is either known or in [`Unread`]*: with the tree as it stands after a reply,
//! everything that is not a suspect in `unread` is as it was at the server at the zxid of that reply. *The child
//! list of a known node is the one its Stat speaks of*: where the two do not fit together, the node is in `unread`
//! with `children` set.
//!
//! [`poll_output`]: Synchroniser::poll_output

mod notifications;
mod publisher;
mod read_plan;
mod replies;
mod root_creation;
mod syncs;

use std::sync::Arc;
use std::time::Instant;

pub use self::syncs::Ticket;

use self::publisher::{Publisher, Standing};
use self::read_plan::ReadPlan;
use self::root_creation::{Created, RootCreation};
use self::syncs::Syncs;
use super::candidate::Candidates;
use super::flight::Flight;
use super::keeper::{RootTold, Sets};
use super::report::Chunk;
use super::unread::Unread;
use super::{Breach, CacheId, Options, Output, SyncMode, WatchMode};
use crate::error::{Fault, Status};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::selection::{Kept, Selection};
use crate::stat::Zxid;
use crate::state::EventKind;
use crate::tree::{Tree, Version};
use crate::wire::{Malformed, NotificationKind, ServerError};

/// What is wrong with a server that cannot create the parents of a root.
const NO_CONTAINERS: &str =
    "the server has no containers, which root.container asks for; ZooKeeper has them from 3.5.1 on";

/// How the cache stands to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// No connection yet since the cache was opened.
    Never,
    /// Connected, without the watch.
    Connected,
    /// The watch is there: whatever changes is notified.
    Watching,
    Suspended,
    Lost,
}

/// One cache's subtree. Nobody else changes the tree. What is unread is also changed by the plan, which hands it out.
pub(super) struct Synchroniser {
    root: NodePath,
    /// What is kept of the tree. Where the root is the server's `/`, that is without `/zookeeper`.
    selection: Selection,
    /// The root is in `/zookeeper`, where each server has times of its own, and some nodes change in place.
    is_zookeepers: bool,
    options: Options,

    link: Link,
    stopped: bool,
    /// The tree is loaded, and not followed: it stays as it is, and needs no watch.
    held: bool,
    /// It is so from now on: the watch is to go.
    lets_watch_go: bool,
    tree: Tree,
    unread: Unread,
    candidates: Candidates,
    plan: ReadPlan,
    publisher: Publisher,
    root_creation: RootCreation,
    syncs: Syncs,

    /// The newest transaction that a Stat has named in a reply whose header named none.
    undated_newest: Zxid,
    /// The tree is one that the cache began with, or some of it still is: if it is of another history than the server's, that
    /// says nothing of the ensemble.
    inherited: bool,
    /// A change was found that a watch would have told of.
    lost_watch: bool,
    /// What the recursive watch has told of the root since it was read.
    root_told: Option<RootTold>,
    /// The recursive watch has told of the root what is not so.
    misnamed: bool,
    /// The data of children counts in a node's cversion.
    counts_sets: bool,
    /// What a flight asks for is read one by one, and not at once.
    reads_singly: bool,
    sets: Sets,
    /// What shows that the ensemble has another history than the one that the tree was read in.
    evidence: Option<String>,
}

/// The newest transaction that is for certain in a version. What is no cut may show more than its zxid says.
fn newest(version: &Version) -> Zxid {
    let mut newest = version.zxid;
    let mut walk = version.tree.preorder();
    while !version.is_cut
        && let Some((_, entry)) = walk.next()
    {
        newest = newest.max(entry.node().map_or(Zxid(0), |node| node.stat().newest()));
    }
    newest
}

/// Whether a path from the server's root is ZooKeeper's own.
fn is_zookeepers(path: &str) -> bool {
    path.strip_prefix("/zookeeper").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Synchroniser {
    pub(super) fn new(
        root: NodePath,
        chroot: &NodePath,
        options: Options,
        known: Option<Arc<Version>>,
        rng: fastrand::Rng,
        now: Instant,
    ) -> Self {
        // Before its first version, a cache knew nothing.
        let known = known.filter(|known| known.zxid > Zxid(0));
        let chroot_len = if chroot.is_root() { 0 } else { chroot.as_str().len() };
        let selection = match root.is_root() && chroot.is_root() {
            true => options.selection.clone().without_child("zookeeper"),
            false => options.selection.clone(),
        };
        let is_zookeepers =
            is_zookeepers(chroot.as_str()) || chroot.is_root() && is_zookeepers(root.as_str());
        let plan =
            ReadPlan::new(root.clone(), chroot_len, selection.clone(), is_zookeepers, &options, rng, now);
        let mut synchroniser = Synchroniser {
            is_zookeepers,
            root_creation: RootCreation::new(options.create_root),
            plan,
            root,
            selection,
            options,
            link: Link::Never,
            stopped: false,
            held: false,
            lets_watch_go: false,
            tree: known.as_ref().map(|known| known.tree.clone()).unwrap_or_default(),
            unread: Unread::default(),
            candidates: Candidates::default(),
            publisher: Publisher::new(known.clone()),
            syncs: Syncs::default(),
            undated_newest: Zxid(0),
            inherited: known.is_some(),
            lost_watch: false,
            root_told: None,
            misnamed: false,
            counts_sets: false,
            reads_singly: false,
            sets: Sets::default(),
            evidence: None,
        };
        if let Some(known) = known {
            synchroniser.plan.begin_from(&known);
            synchroniser.syncs.begin_from(newest(&known));
        }
        synchroniser.tell_state();
        synchroniser
    }

    pub(super) fn root(&self) -> &NodePath {
        &self.root
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether a limit has ended it.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether it is to be told of changes: it is not where a limit has ended it, nor where the tree is held as it is.
    pub(super) fn needs_watch(&self) -> bool {
        !self.stopped && !self.held
    }

    /// Whether it is to be told of changes, and is not: it is not connected, or waits for the watch.
    pub(super) fn lacks_watch(&self) -> bool {
        self.needs_watch() && self.link != Link::Watching
    }

    /// Whether all that was asked for is answered: an answer that came later would be taken for one behind the next watch.
    pub(super) fn is_answered(&self) -> bool {
        self.plan.is_answered()
    }

    /// Whether its tree is one that it began with, and was never found to be the server's.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The tree that it began with is of another history than the server's. It is loaded on the same connection, as soon as
    /// all that was asked for is answered.
    pub(super) fn begin_anew(&mut self, evidence: &str) {
        let root = self.root.clone();
        let message = format!(
            "the tree that the cache of {root} began with is of another history than the server's: {evidence}"
        );
        self.fault(Fault::new(Status::Reset, message).at(&root));
        self.handle_reset();
        self.candidates.clear();
        self.link = Link::Connected;
        self.tell_state();
    }

    /// Whether it needs to be told of the root alone, and not of what is below.
    pub(super) fn is_alone(&self) -> bool {
        self.options.single
    }

    /// Whether the tree is held as it is from now on, so that the watch may go. True once each time.
    pub(super) fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.lets_watch_go) && self.held
    }

    /// Whether the root is to be created now: ask the server for it and its parents, and answer with
    /// [`handle_created`](Self::handle_created) for each.
    pub(super) fn take_root_creation(&mut self) -> bool {
        self.root_creation.take_due()
    }

    /// Whether parents that are created with the root are to be containers.
    pub(super) fn makes_containers(&self) -> bool {
        self.options.container_parents
    }

    /// A reply to one of the requests that were to create the root; `last` for the root itself.
    pub(crate) fn handle_created(&mut self, error: ServerError, last: bool, now: Instant) {
        let Some(created) = self.root_creation.answered(error, last) else { return };
        match created {
            Created::Done => {}
            Created::Throttled => self.plan.retry_later(now),
            Created::Failed(error) => {
                let root = self.root.clone();
                let (status, reason) = match error {
                    ServerError::NO_AUTH => (Status::NoPermission, error.to_string()),
                    ServerError::UNIMPLEMENTED if self.makes_containers() => {
                        (Status::Unsupported, NO_CONTAINERS.to_owned())
                    }
                    _ => (Status::Protocol, error.to_string()),
                };
                let message = format!("the root {root} could not be created: {reason}");
                self.fault(Fault::new(status, message).at(&root).server_error(error.0));
            }
        }
        self.plan.want_root(&mut self.unread);
    }

    /// A call is made that waits until all that was committed before can be read; [`Output::Synced`] answers it.
    pub(crate) fn sync(&mut self, ticket: Ticket) {
        self.syncs.call(ticket);
        let is_connected = matches!(self.link, Link::Connected | Link::Watching);
        if !is_connected || self.publisher.failure().is_some() {
            return self.fail_syncs();
        }
        self.held = false;
        self.tell_state();
    }

    /// Whether the server is to catch up now, and how; calls of `sync` ask for it in the way of `mode`. The reply goes
    /// to [`handle_synced`](Self::handle_synced).
    pub(crate) fn take_sync(&mut self, mode: SyncMode) -> Option<SyncMode> {
        // Without the watch nothing is exact, and no reply helps.
        if self.may_ask() { self.syncs.take_request(mode) } else { None }
    }

    /// The reply to what [`take_sync`](Self::take_sync) asked for, with the zxid in its header.
    pub(crate) fn handle_synced(&mut self, zxid: Zxid, error: ServerError, now: Instant) {
        match error {
            _ if !self.syncs.is_asked() => return,
            ServerError::OK => {
                self.syncs.replied(zxid);
                if let Some(known) = self.syncs.take_lost(zxid) {
                    self.evidence = Some(format!(
                        "its transactions have come to {zxid}, and those of the tree to {known}"
                    ));
                    return;
                }
                if self.link == Link::Watching {
                    self.settle(zxid, now);
                }
                if planted::is(Defect::SyncAnsweredAtItsReply) {
                    let answered = self.syncs.answer_asked();
                    self.tell_synced(answered, Ok(()));
                }
            }
            ServerError::THROTTLED => self.syncs.ask_again(),
            error => {
                log::warn!("the server could not catch up with what is committed: {error}");
                let answered = self.syncs.answer_asked();
                self.tell_synced(answered, Err(Status::Connection));
            }
        }
        // The header may name no transaction, by chance even if the server is honest. The cache asks again, but after a
        // pause.
        if error == ServerError::THROTTLED || self.syncs.is_undated() || self.syncs.is_behind() {
            self.plan.retry_later(now);
        }
        self.tell_state();
    }

    /// No `sync` can be had as things stand.
    fn fail_syncs(&mut self) {
        let answered = self.syncs.answer_all();
        self.tell_synced(answered, Err(self.publisher.failure().unwrap_or(Status::Connection)));
    }

    fn tell_synced(&mut self, answered: Option<Ticket>, answer: Result<(), Status>) {
        if let Some(last) = answered {
            self.publisher.synced(last, answer, &self.tree, self.standing());
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.publisher.poll_output()
    }

    /// The next reads, if there are any and this is the time for them.
    pub(crate) fn poll_flight(&mut self, now: Instant) -> Option<Flight> {
        let is_open = match self.link {
            Link::Watching => true,
            // The watch was asked for, and the anchors are read behind it.
            Link::Connected => self.plan.is_of_anchors(),
            _ => false,
        };
        if !is_open || self.stopped || self.is_behind() {
            return None;
        }
        self.conclude_anchors();
        let is_following = self.is_following();
        let mut flight = self.plan.poll_flight(&self.tree, &mut self.unread, is_following, now);
        if flight.is_none() && self.is_to_be_told() {
            // Nothing is left to be read, as after the deletion of the root or the end of a verification. Only a reply
            // tells at which zxid the tree is exact, so the root is read.
            flight = self.plan.poll_root(&self.tree, &mut self.unread, now);
        }
        let mut flight = flight?;
        flight.number = self.unread.end_flight();
        self.publisher.count_reads(flight.requests(), flight.len());
        Some(flight)
    }

    /// Whether what is known has yet to be told as a cut, or to answer calls with one, and the next reply makes it one.
    fn is_to_be_told(&self) -> bool {
        let is_awaited = self.publisher.awaits_reply(&self.tree) || self.syncs.awaits_cut();
        self.is_clean() && is_awaited && !self.syncs.is_undated()
    }

    /// Whether the server may be behind the tree that the cache began with. What it says then, it says of the past.
    fn is_behind(&self) -> bool {
        self.syncs.is_behind() && !planted::is(Defect::LaggingRepliesTaken)
    }

    fn conclude_anchors(&mut self) {
        if self.link == Link::Watching {
            self.plan.conclude_anchors(&self.unread);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.link != Link::Watching || self.stopped {
            return None;
        }
        [self.plan.poll_timeout(), self.publisher.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.link != Link::Watching || self.stopped {
            return;
        }
        if self.plan.handle_timeout(&self.tree, &mut self.unread, now) {
            self.publisher.count_resync();
        }
        self.publish_when_due(now);
        self.tell_state();
    }

    /// A connection is there; `resumed`: with the session that there was before.
    pub(super) fn handle_connected(&mut self, resumed: bool) {
        let is_back = matches!(self.link, Link::Suspended | Link::Lost);
        self.link = Link::Connected;
        self.plan.handle_connected(resumed);
        if is_back && !self.held {
            self.event(EventKind::ConnectionReconnected);
        }
        self.tell_state();
    }

    /// The watch was asked for: what is read from now on is read behind it.
    pub(super) fn handle_watch_asked(&mut self) {
        self.plan.handle_watch_asked(&self.tree, &mut self.unread);
    }

    /// Changes are told of from now on: where `is_one_shot`, one of each node that is read from now on. `zxid` is that of the
    /// reply which said so; `None` where another cache's watch serves, or there was none.
    pub(super) fn handle_watching(&mut self, zxid: Option<Zxid>, is_one_shot: bool, now: Instant) {
        self.link = Link::Watching;
        self.unread.watch(is_one_shot);
        let watch = if is_one_shot { WatchMode::OneShot } else { WatchMode::Recursive };
        self.publisher.note_watch(Some(watch));
        self.set_failure(None);
        if self.plan.handle_watching(zxid, &self.tree, &mut self.unread, now) {
            self.settle(zxid.unwrap_or_default(), now);
        }
        self.syncs.note_zxid(zxid);
        self.tell_state();
    }

    /// The watch is removed, and another one is asked for: what happens in between is missed, and what was asked for is
    /// answered before that one is there.
    pub(super) fn handle_unwatched(&mut self) {
        if self.link == Link::Watching {
            self.link = Link::Connected;
            self.candidates.clear();
            self.tell_state();
        }
    }

    /// `counts_sets`: in the cversion of a node, as this server counts, is each time that the data of a child was set.
    /// `reads_singly`: it has no multiRead.
    pub(super) fn note_server(&mut self, counts_sets: bool, reads_singly: bool) {
        (self.counts_sets, self.reads_singly) = (counts_sets, reads_singly);
    }

    /// The first of some single reads that stand for one was at this zxid.
    pub(super) fn note_first_read(&mut self, zxid: Zxid) {
        if self.counts_sets {
            self.sets.note_first_read(zxid);
        }
    }

    /// The server has begun to set the watches for this flight, and has read nothing of it yet.
    pub(super) fn handle_armed(&mut self, flight: u64) {
        self.unread.note_armed(flight);
    }

    /// The root has the watch that tells of its creation.
    pub(super) fn handle_root_armed(&mut self) {
        self.unread.note_root_armed();
    }

    /// The connection is gone; `last_zxid` is the transaction that the server had named last (`None` if nothing may be
    /// compared with it), and `heard` the time of its last word.
    pub(super) fn handle_suspended(&mut self, last_zxid: Option<Zxid>, heard: Instant) {
        if self.link == Link::Watching {
            let is_exact = self.is_clean() && !self.publisher.is_amid() && !self.lost_watch;
            self.plan.note_left(last_zxid, is_exact);
        }
        let is_deceived = std::mem::take(&mut self.lost_watch) | std::mem::take(&mut self.misnamed);
        if is_deceived && !planted::is(Defect::ReportBehindLostWatch) {
            // The cuts since the watch was lost, or told of something else, were none, and nobody knows since when.
            self.plan.forget_baseline();
        }
        (self.root_told, self.counts_sets, self.sets) = (None, false, Sets::default());
        self.plan.handle_suspended(&self.tree, &mut self.unread);
        if self.held {
            // Of the connection, nothing is told: what is held does not depend on it.
            self.link = Link::Suspended;
            if !planted::is(Defect::PauseOutlivesConnection) {
                self.publisher.forget_pause();
            }
            return;
        }
        self.candidates.clear();
        self.publisher.handle_suspended(heard);
        if self.root_creation.connection_lost() {
            self.plan.want_root(&mut self.unread);
        }
        if self.link != Link::Never {
            self.link = Link::Suspended;
            self.event(EventKind::ConnectionSuspended);
        }
        self.syncs.note_zxid(None);
        self.fail_syncs();
        self.tell_state();
    }

    /// What comes from now on may have waited in a pause: it is applied, and is no news. `heard` is the time of the
    /// server's last word before that.
    pub(super) fn handle_paused(&mut self, heard: Instant) {
        self.publisher.handle_paused(heard);
        self.tell_state();
    }

    /// What comes from now on is news again.
    pub(super) fn handle_heard(&mut self) {
        self.publisher.handle_heard(&self.tree, self.standing());
        self.tell_state();
    }

    pub(super) fn handle_lost(&mut self) {
        if self.link == Link::Suspended {
            self.link = Link::Lost;
            if self.held {
                return;
            }
            self.publisher.handle_lost();
            self.event(EventKind::ConnectionLost);
            self.tell_state();
        }
    }

    /// The client is closed: what is known stays, and will not change any more. `heard` is the time of the server's
    /// last word.
    pub(super) fn handle_closed(&mut self, heard: Instant) {
        if self.stopped {
            return;
        }
        self.publisher.note_current(heard);
        // Where the tree is held, a session that was lost is not told.
        let was_lost = self.link == Link::Lost && !self.held;
        self.link = Link::Lost;
        self.set_failure(Some(Status::Closed));
        if !was_lost {
            self.event(EventKind::ConnectionLost);
        }
        self.tell_state();
    }

    /// The ensemble has another history than the one that the tree was read in, so nothing may be compared with what is
    /// known. There is no connection at this time.
    pub(super) fn handle_reset(&mut self) {
        if planted::is(Defect::ResetIgnored) {
            return;
        }
        // The tree is emptied, and not replaced by a new one, so that what it lets go is counted.
        if std::mem::take(&mut self.held) {
            // Of the connection that is gone, nothing was told.
            self.link = Link::Never;
        }
        self.tree.remove("");
        self.unread.clear();
        self.plan.handle_reset();
        self.evidence = None;
        self.undated_newest = Zxid(0);
        self.inherited = false;
        self.syncs.handle_reset();
        self.publisher.handle_reset();
    }

    /// Why the connection is of no use any more, if what was read shows that.
    pub(super) fn take_breach(&mut self) -> Option<Breach> {
        match self.evidence.take() {
            Some(evidence) => Some(Breach::OtherHistory(evidence)),
            None if self.misnamed => Some(Breach::Misnaming),
            None => self.lost_watch.then_some(Breach::Malformed(Malformed {
                what: "stream of notifications, one is missing of a change that was found",
            })),
        }
    }

    /// The newest transaction that has been seen without being named by a header.
    pub(super) fn undated_newest(&self) -> Zxid {
        self.undated_newest
    }

    /// Whether the watch is to be set again now: a server may have lost it without a word. If the server still has it,
    /// that changes nothing.
    pub(super) fn takes_renewal(&mut self) -> bool {
        self.may_ask() && self.plan.take_renewal()
    }

    /// The server was too busy to set the watch again.
    pub(super) fn renew_later(&mut self, now: Instant) {
        self.plan.renew_later(now);
    }

    /// Why the load cannot succeed at present; `None`: it may again.
    pub(super) fn set_failure(&mut self, failure: Option<Status>) {
        if self.publisher.set_failure(failure) && failure.is_some() {
            self.fail_syncs();
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.publisher.fault(fault);
    }

    fn event(&mut self, kind: EventKind) {
        self.publisher.event(kind, &self.tree, self.standing());
    }

    fn tell_state(&mut self) {
        self.hold_when_told();
        self.publisher.tell_state(&self.tree, self.standing());
    }

    /// After a reply with `zxid`: publishes what is exact now.
    ///
    /// If the header names no transaction, what was found is undated: the tree may be newer than the newest transaction
    /// that was named. Then a barrier is asked for, and the next reply is at a transaction.
    fn settle(&mut self, zxid: Zxid, now: Instant) {
        self.syncs.note_zxid(Some(zxid));
        self.plan.note_reply(zxid);
        self.plan.conclude_common_point(zxid, &self.tree, &mut self.unread);
        let here = self.publisher.handle_reply(zxid, self.is_following(), now);
        let mut found = None;
        if self.syncs.is_undated() {
            self.candidates.clear();
        } else if self.is_clean() {
            self.candidates.clear();
            found = Some((here, self.tree.clone()));
        } else if self.is_following() {
            found = self.candidates.take_complete();
            if !self.counts_sets || planted::is(Defect::KeepersStatDated) {
                self.candidates.add(here, &self.tree, &self.unread);
            }
        }
        if let Some((_, tree)) = &found
            && !planted::is(Defect::CandidateUnlimited)
        {
            // A candidate may have been filled with what found no place in the tree, which has moved on.
            self.check_limits(tree.len(), tree.bytes());
            if self.stopped {
                return;
            }
        }
        if let Some((cut, tree)) = found
            && self.publisher.publish_cut(cut, tree, &self.tree, self.standing(), now)
        {
            self.plan.note_cut(cut.zxid, now);
            self.plan.note_verified();
            self.inherited = false;
            let answered = self.syncs.answer_with_cut(cut.zxid);
            self.tell_synced(answered, Ok(()));
        }
        self.publish_when_due(now);
    }

    /// A tree that is not followed is held from when it has been told as a cut, nobody waits for a newer one, and all that was
    /// asked for is answered: an answer that came later would be taken for one behind the next watch.
    fn hold_when_told(&mut self) {
        if self.options.follow || self.stopped {
            return;
        }
        let is_asked = self.syncs.is_asked() && !planted::is(Defect::HeldAmidBarrier);
        let is_answered = self.plan.is_answered() && !self.syncs.is_called() && !is_asked;
        if self.is_clean() && self.publisher.is_told(&self.tree) && is_answered {
            (self.held, self.lets_watch_go) = (true, true);
            self.link = Link::Connected;
            self.candidates.clear();
            self.plan.handle_held(&self.tree);
        }
    }

    /// Publishes the tree though it is no cut, if no cut has come for long.
    fn publish_when_due(&mut self, now: Instant) {
        let is_published = self.publisher.publish_when_due(&self.tree, self.standing(), now);
        if is_published {
            self.plan.note_no_cut();
        }
        if is_published && !planted::is(Defect::OlderCutShown) {
            // They may be older than what is shown now.
            self.candidates.clear();
        }
    }

    /// At which zxid a server has to be, or further, that is to say what has changed since the tree was left; `None` if none
    /// is asked.
    pub(super) fn wants_report(&self) -> Option<Zxid> {
        if self.link == Link::Watching && !self.stopped { self.plan.wants_report() } else { None }
    }

    /// The next nodes that a server is to compare. The answer goes to [`handle_compared`](Self::handle_compared), behind
    /// what it tells, which goes to [`handle_reported`](Self::handle_reported).
    pub(super) fn poll_chunk(&mut self, cache: CacheId) -> Option<Chunk> {
        self.wants_report()?;
        self.plan.poll_chunk(cache, &self.tree)
    }

    /// Another session was told of a change of this node. It may be one that the server of this connection has not come to,
    /// so that it says nothing of the tree, but only what is to be read.
    pub(super) fn handle_reported(&mut self, kind: NotificationKind, path: &NodePath) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if self.wants_report().is_none() || self.tree.get(relative).is_none() {
            return;
        }
        if kind == NotificationKind::Deleted && planted::is(Defect::ReportEditsTree) {
            self.tree.remove(relative);
            return;
        }
        let is_listed =
            kind == NotificationKind::ChildrenChanged && self.selection.of(relative) == Kept::Open;
        self.unread.update(path, |want| {
            want.verify();
            want.children |= is_listed;
        });
        self.tell_state();
    }

    /// A server has compared these nodes.
    pub(super) fn handle_compared(&mut self, chunk: &Chunk, now: Instant) {
        self.plan.compared(chunk, now);
        if !planted::is(Defect::ReportEndsInSilence) {
            self.tell_state();
        }
    }

    /// What a server was to compare will not be answered.
    pub(super) fn report_again(&mut self) {
        self.plan.report_again();
    }

    /// No server can be asked what has changed.
    pub(super) fn report_failed(&mut self) {
        self.plan.report_failed(&mut self.unread);
    }

    /// Nothing is left of a load or a verification.
    fn is_following(&self) -> bool {
        self.plan.is_following(&self.unread) && !self.root_creation.is_under_way()
    }

    /// Nothing is known to be outstanding.
    fn is_clean(&self) -> bool {
        let nothing_unread = self.unread.suspects() == 0 || planted::is(Defect::UnreadTakenForKnown);
        self.link == Link::Watching && self.is_following() && nothing_unread
    }

    fn standing(&self) -> Standing {
        match self.link {
            _ if self.stopped => Standing::Stopped,
            _ if self.held && self.publisher.failure() != Some(Status::Closed) => Standing::Held,
            Link::Suspended => Standing::Suspended,
            Link::Lost => Standing::Lost,
            Link::Never if self.inherited => Standing::Warm,
            Link::Never | Link::Connected | Link::Watching => Standing::Open { is_clean: self.is_clean() },
        }
    }

    /// Whether requests other than the watch and the reads may be sent now.
    fn may_ask(&self) -> bool {
        self.link == Link::Watching && !self.stopped && !self.plan.is_waiting()
    }

    /// Ends the cache where there are so many nodes, or bytes of data, that a limit is exceeded.
    fn check_limits(&mut self, nodes: usize, bytes: usize) {
        let exceeded = |limit: usize, value: usize| limit > 0 && value > limit;
        let message = if exceeded(self.options.limit_nodes, nodes) {
            format!("{} has more than limit.nodes={} nodes", self.root, self.options.limit_nodes)
        } else if exceeded(self.options.limit_bytes, bytes) {
            format!("{} has more than limit.bytes={} bytes of data", self.root, self.options.limit_bytes)
        } else {
            return;
        };
        self.stop(message);
    }

    /// Whether a path of so many bytes is beyond the limit. If it is, the cache is stopped.
    fn is_too_long(&mut self, path: usize) -> bool {
        let limit = self.options.limit_path;
        let is_too_long = path > limit;
        if is_too_long {
            self.stop(format!("{} has a path of {path} bytes; limit.path.bytes={limit}", self.root));
        }
        is_too_long
    }

    fn stop(&mut self, message: String) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.tree = Tree::default();
        self.unread = Unread::default();
        self.candidates.clear();
        self.plan.stop();
        self.publisher.stop();
        if !planted::is(Defect::StoppedRemembered) {
            // It has no part any more in what becomes of the history.
            self.undated_newest = Zxid(0);
        }
        let root = self.root.clone();
        self.fault(Fault::new(Status::Limit, message).at(&root));
        self.set_failure(Some(Status::Limit));
        self.tell_state();
    }
}
