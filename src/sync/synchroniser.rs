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
//! Two rules carry the rest. *A path is either known or in [`Unread`]*: with the tree as it stands after a reply,
//! everything that is not a suspect in `unread` is as it was at the server at the zxid of that reply. *The child
//! list of a known node is the one its Stat speaks of*: where the two do not fit together, the node is in `unread`
//! with `children` set.
//!
//! [`poll_output`]: Synchroniser::poll_output

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::candidate::Candidates;
use super::flight::{Flight, Found, LARGE_DATA, MOST_HOT_READS, MOST_READS, SizeGuess};
use super::unread::{History, Unread, Want};
use super::{Options, Output};
use crate::error::{Fault, Status};
use crate::path::{NodePath, is_name};
use crate::stat::{Stat, Zxid};
use crate::state::{EventKind, State};
use crate::tree::{Node, Tree, Version};
use crate::wire::{NotificationKind, ServerError};

/// How often the first load shows how far it has come.
const GROWTH_INTERVAL: Duration = Duration::from_millis(100);
/// After how long without a cut a version is published that is not one.
const CUT_PATIENCE: Duration = Duration::from_secs(1);
/// After how long without a cut the hot paths are read too.
const HOT_AFTER: Duration = Duration::from_millis(5);
/// After how long without a cut more hot paths than usual may be read at once.
const STARVED_AFTER: Duration = Duration::from_millis(200);
/// A path is hot when a notification named it within this time, or since the last cut.
const HOT_FOR: Duration = Duration::from_millis(100);
/// Flights at a time during a load or verification; when following there is one.
const FLIGHTS: usize = 4;
/// A verification waits for a random part of this time per node, so that the clients of a server that comes back do
/// not all read their trees at once.
const VERIFY_SPREAD_PER_NODE: Duration = Duration::from_micros(1);
/// How long to wait after a server could not answer.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Nodes that one step of the audit reads.
const AUDIT_STEP: usize = 64;
const SHORTEST_AUDIT_DELAY: Duration = Duration::from_millis(100);

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

/// A pass over what is in the tree, after a connection that was gone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verification {
    Done,
    Due(Instant),
    /// All up to and including this path has been read or is in `unread`; "" is the root.
    Behind(String),
}

/// The slow pass over what is in the tree, for what nothing notifies of.
struct Audit {
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

/// How the creation of a missing root stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RootCreation {
    /// Not wanted, or not wanted any more.
    Off,
    WhenMissing,
    /// It is missing.
    Due,
    /// Asked for, not answered; the first error so far.
    Asked(ServerError),
}

pub struct Synchroniser {
    root: NodePath,
    /// The root is the server's `/`, whose `/zookeeper` is left out.
    hides_zookeeper: bool,
    options: Options,
    rng: fastrand::Rng,

    link: Link,
    /// Reading has begun: the root is known, or in `unread`.
    begun: bool,
    /// The first load is complete.
    complete: bool,
    /// The tree is being built anew after a reset of the ensemble, while the last version stays published.
    rebuilding: bool,
    stopped: bool,
    root_creation: RootCreation,

    tree: Tree,
    unread: Unread,
    verification: Verification,
    candidates: Candidates,
    /// Paths that notifications named, and when last.
    hot: HashMap<NodePath, Instant>,
    audit: Audit,
    /// Replies that are still to come.
    outstanding: usize,
    retry_at: Option<Instant>,
    sizes: SizeGuess,
    /// The zxid of the last reply with nothing outstanding before the connection was lost.
    exact_at: Option<Zxid>,

    published: Published,
    /// About how many nodes changed since then, and since when some have.
    edits: usize,
    edited_at: Option<Instant>,
    /// Since when nothing is left of the load or verification.
    loaded_at: Option<Instant>,
    /// To be told with the next version after which it holds.
    announce_initialized: bool,
    announce_in_step: bool,
    told_state: State,
    failure: Option<Status>,
    outputs: VecDeque<Output>,
}

struct Published {
    tree: Tree,
    zxid: Zxid,
    is_cut: bool,
    is_complete: bool,
    cut_at: Instant,
}

impl Synchroniser {
    pub fn new(
        root: NodePath,
        hides_zookeeper: bool,
        options: Options,
        rng: fastrand::Rng,
        now: Instant,
    ) -> Self {
        let root_creation = if options.create_root { RootCreation::WhenMissing } else { RootCreation::Off };
        let mut synchroniser = Synchroniser {
            root,
            hides_zookeeper,
            options,
            rng,
            link: Link::Never,
            begun: false,
            complete: false,
            rebuilding: false,
            stopped: false,
            root_creation,
            tree: Tree::default(),
            unread: Unread::default(),
            verification: Verification::Done,
            candidates: Candidates::default(),
            hot: HashMap::new(),
            audit: Audit { behind: String::new(), next: AuditStep::Off },
            outstanding: 0,
            retry_at: None,
            sizes: SizeGuess::new(),
            exact_at: None,
            published: Published {
                tree: Tree::default(),
                zxid: Zxid(0),
                is_cut: false,
                is_complete: false,
                cut_at: now,
            },
            edits: 0,
            edited_at: None,
            loaded_at: None,
            announce_initialized: true,
            announce_in_step: true,
            told_state: State::Latent,
            failure: None,
            outputs: VecDeque::new(),
        };
        synchroniser.tell_state();
        synchroniser
    }

    pub fn root(&self) -> &NodePath {
        &self.root
    }

    /// Whether a limit has ended it.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the root is to be created now: ask the server for it and its parents, and answer with
    /// [`handle_created`](Self::handle_created) for each.
    pub fn take_root_creation(&mut self) -> bool {
        let is_due = self.root_creation == RootCreation::Due;
        if is_due {
            self.root_creation = RootCreation::Asked(ServerError::OK);
        }
        is_due
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.link != Link::Watching || self.stopped {
            return None;
        }
        let verification = match self.verification {
            Verification::Due(at) => Some(at),
            _ => None,
        };
        let audit = match self.audit.next {
            AuditStep::At(at) => Some(at),
            _ => None,
        };
        [verification, audit, self.retry_at, self.publish_at()].into_iter().flatten().min()
    }

    // ---- the connection ----

    pub fn handle_connected(&mut self) {
        let is_back = matches!(self.link, Link::Suspended | Link::Lost);
        self.link = Link::Connected;
        if is_back {
            self.event(EventKind::ConnectionReconnected);
        }
        self.tell_state();
    }

    /// The watch is there. `zxid` is that of the reply which said so, if it was set for this cache on this
    /// connection and the session is the one from before.
    pub fn handle_watching(&mut self, zxid: Option<Zxid>, now: Instant) {
        self.link = Link::Watching;
        self.set_failure(None);
        if !self.begun {
            self.begun = true;
            self.want_root();
        } else if self.unread.suspects() == 0 && self.exact_at.is_some() && self.exact_at == zxid {
            // Nothing happened in between.
            self.settle(zxid.unwrap_or_default(), now);
        } else {
            let spread = VERIFY_SPREAD_PER_NODE * self.tree.len().try_into().unwrap_or(u32::MAX);
            self.verification = Verification::Due(now + spread.mul_f64(self.rng.f64()));
        }
        self.exact_at = None;
        if self.audit.next == AuditStep::Off {
            self.schedule_audit(now);
        }
        self.tell_state();
    }

    /// The connection is gone; `last_zxid` is the newest zxid that the server had named.
    pub fn handle_suspended(&mut self, last_zxid: Zxid) {
        if self.link == Link::Watching {
            self.exact_at = self.is_clean().then_some(last_zxid);
        }
        self.unread.restart();
        self.candidates.clear();
        self.hot.clear();
        self.verification = Verification::Done;
        (self.loaded_at, self.edited_at) = (None, None);
        // Replies that were larger than expected may have been the reason.
        self.sizes = SizeGuess::new();
        self.outstanding = 0;
        self.retry_at = None;
        if self.is_creating_root() {
            self.root_creation = RootCreation::WhenMissing;
            self.want_root();
        }
        if self.link != Link::Never {
            self.link = Link::Suspended;
            self.announce_in_step = true;
            self.event(EventKind::ConnectionSuspended);
        }
        self.tell_state();
    }

    pub fn handle_lost(&mut self) {
        if self.link == Link::Suspended {
            self.link = Link::Lost;
            self.announce_initialized = true;
            self.event(EventKind::ConnectionLost);
            self.tell_state();
        }
    }

    /// The client is closed: what is known stays, and will not change any more.
    pub fn handle_closed(&mut self) {
        if self.stopped {
            return;
        }
        let was_lost = self.link == Link::Lost;
        self.link = Link::Lost;
        self.set_failure(Some(Status::Closed));
        if !was_lost {
            self.event(EventKind::ConnectionLost);
        }
        self.tell_state();
    }

    /// The ensemble went back in time: zxids repeat, so nothing that is known can be compared with.
    pub fn handle_reset(&mut self) {
        self.tree = Tree::default();
        self.unread = Unread::default();
        self.exact_at = None;
        self.begun = false;
        self.rebuilding = !self.published.tree.is_empty();
        self.published.zxid = Zxid(0);
    }

    /// Why the load cannot succeed at present; `None`: it may again.
    pub fn set_failure(&mut self, failure: Option<Status>) {
        if self.failure != failure {
            self.failure = failure;
            self.outputs.push_back(Output::Failure(failure));
        }
    }

    pub fn fault(&mut self, fault: Fault) {
        self.outputs.push_back(Output::Fault(fault));
    }

    // ---- what changes at the server ----

    /// A notification about `path`, which is in this tree.
    pub fn handle_notification(&mut self, kind: NotificationKind, path: &NodePath, now: Instant) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if self.link != Link::Watching || self.stopped || self.is_hidden(relative) {
            return;
        }
        match kind {
            NotificationKind::Created => self.created(path, relative, now),
            NotificationKind::Deleted => self.deleted(path, relative, now),
            NotificationKind::DataChanged => {
                if self.tree.get(relative).is_some() || self.unread.contains(path.as_str()) {
                    self.suspect(path, now, |want| want.data = true);
                } else {
                    self.look_for_hidden_ancestor(path.as_str());
                }
            }
            NotificationKind::Other(_) => {}
        }
        // A server that notifies and never answers fills no tree, but memory.
        self.check_limits(self.unread.suspects());
        self.note_edits(now);
        self.tell_state();
    }

    fn created(&mut self, path: &NodePath, relative: &str, now: Instant) {
        if let Some(parent) = self.parent_in_tree(path) {
            let is_known = match self.root.relative(parent).and_then(|parent| self.tree.get(parent)) {
                Some(entry) if entry.node.is_none() => return, // below an opaque node there is nothing
                Some(_) => true,
                None => self.unread.contains(parent),
            };
            if !is_known {
                return self.look_for_hidden_ancestor(parent);
            }
            self.child_changed(path, now, |history| history.created += 1);
        }
        // Where there still is a node, its deletion was hidden.
        if self.tree.remove(relative) {
            self.edits += 1;
        }
        self.suspect(path, now, |want| {
            want.data = true;
            want.history = History { born: true, ..History::default() };
        });
    }

    fn deleted(&mut self, path: &NodePath, relative: &str, now: Instant) {
        if self.tree.remove(relative) {
            self.edits += 1;
        }
        match self.unread.get(path.as_str()) {
            // The reply to come says the same, unless the node is created again, which is notified.
            Some(want) if want.in_flight => {
                self.unread.update(path, |want| *want = Want { in_flight: true, ..Want::default() });
            }
            _ => _ = self.unread.remove(path.as_str()),
        }
        self.candidates.read(path, relative, None);
        self.hot.remove(path.as_str());
        self.child_changed(path, now, |history| history.deleted += 1);
    }

    /// The parent's path, where the parent is in this tree too.
    fn parent_in_tree<'p>(&self, path: &'p NodePath) -> Option<&'p str> {
        path.parent().filter(|parent| self.root.relative(parent).is_some())
    }

    /// A child was created or deleted: the parent's Stat has changed.
    fn child_changed(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut History)) {
        let Some(parent) = self.parent_in_tree(path) else { return };
        let in_tree = self
            .root
            .relative(parent)
            .and_then(|parent| self.tree.get(parent))
            .is_some_and(|entry| entry.node.is_some());
        if in_tree || self.unread.contains(parent) {
            let Some(parent) = NodePath::of_server(parent) else { return };
            self.suspect(&parent, now, |want| change(&mut want.history));
        }
    }

    /// A node was created below one that is not known. Where the nearest known ancestor is still to be read, that
    /// will find it; otherwise what is in between was hidden from the session, and the ancestor's children show it.
    fn look_for_hidden_ancestor(&mut self, mut path: &str) {
        loop {
            if self.unread.contains(path) {
                return;
            }
            let Some(relative) = self.root.relative(path) else { return };
            match self.tree.get(relative) {
                Some(entry) if entry.node.is_none() => return,
                Some(_) => break,
                None => match path.rfind('/') {
                    Some(0) => path = "/",
                    Some(at) => path = &path[..at],
                    None => return,
                },
            }
        }
        if let Some(ancestor) = NodePath::of_server(path) {
            self.unread.update(&ancestor, |want| (want.suspect, want.children) = (true, true));
        }
    }

    /// The value of `path` in the tree is not, or may not be, the one at the server.
    fn suspect(&mut self, path: &NodePath, now: Instant, change: impl FnOnce(&mut Want)) {
        self.unread.update(path, |want| {
            want.suspect = true;
            change(want);
        });
        self.hot.insert(path.clone(), now);
        if self.hot.len() > 2 * MOST_HOT_READS {
            self.hot.retain(|_, at| now - *at < HOT_FOR);
            if self.hot.len() > 2 * MOST_HOT_READS {
                self.hot.clear();
            }
        }
    }

    fn want_root(&mut self) {
        let root = self.root.clone();
        self.unread.update(&root, |want| {
            (want.suspect, want.discovered, want.children, want.data) = (true, true, true, true);
        });
    }

    fn is_hidden(&self, relative: &str) -> bool {
        self.hides_zookeeper && (relative == "zookeeper" || relative.starts_with("zookeeper/"))
    }

    // ---- what reads find ----

    /// The result of one read of a flight.
    pub fn handle_found(&mut self, path: &NodePath, found: Found<'_>, now: Instant) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if self.stopped {
            return;
        }
        let Some(mut want) = self.unread.remove(path.as_str()) else { return };
        want.in_flight = false;
        let is_there = !matches!(found, Found::Missing | Found::Failed(_));
        if relative.is_empty() && is_there && self.root_creation == RootCreation::WhenMissing {
            // What is deleted from now on stays deleted.
            self.root_creation = RootCreation::Off;
        }
        let old = self.tree.get(relative).and_then(|entry| entry.node.clone());
        let (node, children) = match found {
            Found::Node { data, stat, children } => {
                self.sizes.learn(data.len());
                let node = match &old {
                    Some(old) if old.data() == data => Self::with_stat(old, stat),
                    _ => Arc::new(Node::new(Arc::from(data), stat)),
                };
                (node, children)
            }
            Found::Stat { stat, children } => match &old {
                Some(old) if Self::says_the_same_of_data(old.stat(), &stat) => {
                    (Self::with_stat(old, stat), children)
                }
                _ => {
                    self.candidates.read(path, relative, None);
                    return self
                        .unread
                        .update(path, |again| *again = Want { data: true, suspect: true, ..want });
                }
            },
            Found::Missing => return self.found_missing(path, relative, want, now),
            Found::Unreadable => return self.found_unreadable(path, relative, want),
            Found::Failed(error) => return self.found_failed(path, error, want, now),
        };
        self.candidates.read(path, relative, Some(&node));
        self.put(path, relative, node, old, children, want);
    }

    /// The node with another Stat; itself when it is the same one.
    fn with_stat(node: &Arc<Node>, stat: Stat) -> Arc<Node> {
        if node.stat() == &stat { node.clone() } else { Arc::new(node.with_stat(stat)) }
    }

    /// Whether the data that belongs to `known` is still the node's, and may still be read.
    fn says_the_same_of_data(known: &Stat, stat: &Stat) -> bool {
        known.czxid == stat.czxid && known.mzxid == stat.mzxid && known.aversion == stat.aversion
    }

    /// Puts a node that was read into the tree, and sees to it that its child list is the one its Stat speaks of.
    fn put(
        &mut self,
        path: &NodePath,
        relative: &str,
        node: Arc<Node>,
        old: Option<Arc<Node>>,
        children: Option<Vec<&str>>,
        want: Want,
    ) {
        let stat = *node.stat();
        let old = old.filter(|old| {
            let same = old.is_same_node(&node);
            if !same {
                self.tree.remove(relative);
            }
            same
        });
        if !old.as_ref().is_some_and(|old| Arc::ptr_eq(old, &node)) {
            if !self.tree.put(relative, Some(node)) {
                return self.put_off(path, want);
            }
            self.edits += 1;
        }
        let is_list_known = !want.children && want.history.explains(old.as_deref().map(Node::stat), &stat);
        match children {
            Some(names) => self.found_children(path, relative, names),
            None if stat.num_children == 0 => self.found_children(path, relative, Vec::new()),
            None if is_list_known => {}
            None => self.unread.update(path, |again| {
                *again =
                    Want { children: true, suspect: true, discovered: want.discovered, ..Want::default() };
            }),
        }
        self.check_limits(self.tree.len());
    }

    /// A node whose parent is not there was read while the parent was replaced: it is read again behind its parent.
    /// Without a parent that is being read it is out of reach.
    fn put_off(&mut self, path: &NodePath, want: Want) {
        if self.parent_in_tree(path).is_some_and(|parent| self.unread.contains(parent)) {
            self.unread.update(path, |again| *again = Want { data: true, suspect: true, ..want });
        }
    }

    /// A child list, at the zxid of the Stat that came with it.
    fn found_children(&mut self, path: &NodePath, relative: &str, names: Vec<&str>) {
        let mut names: Vec<&str> = names
            .into_iter()
            .filter(|name| is_name(name) && !(relative.is_empty() && self.is_hidden(name)))
            .collect();
        names.sort_unstable();
        names.dedup();
        self.check_limits(names.len());
        if self.stopped {
            return;
        }
        let known = self.tree.get(relative).and_then(|entry| entry.children.clone());
        if let Some(known) = &known {
            for (name, _) in known.iter() {
                if names.binary_search(&name).is_err() {
                    self.tree.remove(self.root.relative(path.absolute(name).as_str()).unwrap_or_default());
                    self.edits += 1;
                }
            }
        }
        for name in names {
            if known.as_ref().is_some_and(|known| known.get(name).is_some()) {
                continue;
            }
            let child = path.absolute(name);
            if !self.unread.contains(child.as_str()) {
                self.unread
                    .update(&child, |want| (want.suspect, want.discovered, want.data) = (true, true, true));
            }
        }
    }

    fn found_missing(&mut self, path: &NodePath, relative: &str, want: Want, now: Instant) {
        self.candidates.read(path, relative, None);
        let was_there = self.tree.remove(relative);
        self.edits += usize::from(was_there);
        if was_there || want.suspect {
            // Nothing notified of it: the parent's own Stat is not known either.
            self.child_changed(path, now, |_| {});
        }
        if relative.is_empty() && self.root_creation == RootCreation::WhenMissing {
            self.root_creation = RootCreation::Due;
        }
    }

    fn found_unreadable(&mut self, path: &NodePath, relative: &str, want: Want) {
        self.candidates.read(path, relative, None);
        if self.tree.get(relative).is_some_and(|entry| entry.node.is_none()) {
            return;
        }
        if !self.tree.put(relative, None) {
            return self.put_off(path, want);
        }
        self.edits += 1;
        if relative.is_empty() {
            let message = format!("the session may not read the root {path}");
            self.fault(
                Fault::new(Status::NoPermission, message).at(path).server_error(ServerError::NO_AUTH.0),
            );
        } else {
            log::debug!("the session may not read {path}");
        }
    }

    fn found_failed(&mut self, path: &NodePath, error: ServerError, want: Want, now: Instant) {
        self.unread.update(path, |again| *again = Want { suspect: true, ..want });
        self.candidates.read(path, self.root.relative(path.as_str()).unwrap_or_default(), None);
        if self.retry_at.is_none() && error != ServerError::THROTTLED {
            let message = format!("the server could not read {path}: {error}");
            self.fault(Fault::new(Status::Protocol, message).at(path).server_error(error.0));
        }
        self.retry_later(now);
    }

    fn retry_later(&mut self, now: Instant) {
        self.retry_at = Some(now + RETRY_DELAY.mul_f64(0.5 + self.rng.f64()));
    }

    /// A reply to one of the requests that were to create the root; `last` for the root itself.
    pub fn handle_created(&mut self, error: ServerError, last: bool, now: Instant) {
        let RootCreation::Asked(first_error) = self.root_creation else { return };
        let is_there = error.is_ok() || error == ServerError::NODE_EXISTS;
        let first_error = if first_error.is_ok() && !is_there { error } else { first_error };
        if !last {
            self.root_creation = RootCreation::Asked(first_error);
            return;
        }
        self.root_creation = RootCreation::Off;
        if first_error == ServerError::THROTTLED {
            self.root_creation = RootCreation::WhenMissing;
            self.retry_later(now);
        } else if !is_there {
            let root = self.root.clone();
            let status =
                if first_error == ServerError::NO_AUTH { Status::NoPermission } else { Status::Protocol };
            let message = format!("the root {root} could not be created: {first_error}");
            self.fault(Fault::new(status, message).at(&root).server_error(first_error.0));
        }
        self.want_root();
    }

    /// A reply is through; `zxid` is the one in its header.
    pub fn handle_reply(&mut self, zxid: Zxid, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.sizes.settle();
        if self.link == Link::Watching && !self.stopped {
            self.note_edits(now);
            self.settle(zxid, now);
        }
        self.tell_state();
    }

    fn check_limits(&mut self, nodes: usize) {
        let exceeded = |limit: usize, value: usize| limit > 0 && value > limit;
        let message = if exceeded(self.options.limit_nodes, nodes) {
            format!("{} has more than limit.nodes={} nodes", self.root, self.options.limit_nodes)
        } else if exceeded(self.options.limit_bytes, self.tree.bytes()) {
            format!("{} has more than limit.bytes={} bytes of data", self.root, self.options.limit_bytes)
        } else {
            return;
        };
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.tree = Tree::default();
        self.unread = Unread::default();
        self.candidates.clear();
        self.hot.clear();
        self.published.tree = Tree::default();
        let root = self.root.clone();
        self.fault(Fault::new(Status::Limit, message).at(&root));
        self.set_failure(Some(Status::Limit));
        self.tell_state();
    }

    // ---- what to read ----

    /// The next reads, if there are any and this is the time for them.
    pub fn poll_flight(&mut self, now: Instant) -> Option<Flight> {
        let most = if self.is_following() { 1 } else { FLIGHTS };
        let is_ready = self.link == Link::Watching && !self.stopped && self.outstanding < most;
        if !is_ready || self.retry_at.is_some() {
            return None;
        }
        let mut flight = Flight::default();
        if self.is_following() {
            let starved_for = now - self.published.cut_at;
            self.hot.retain(|_, at| now - *at < HOT_FOR.max(starved_for));
            let mut hot = Vec::new();
            if starved_for >= HOT_AFTER {
                hot = self.hot_paths(MOST_READS);
            }
            if starved_for >= STARVED_AFTER && hot.is_empty() {
                hot = self.hot_paths(MOST_HOT_READS);
                flight = if hot.is_empty() { flight } else { Flight::for_a_cut() };
            }
            self.fill_from_queue(&mut flight);
            if !flight.is_empty() {
                hot.iter().for_each(|path| self.read_again(&mut flight, path));
            }
            if self.audit.next == AuditStep::Due && flight.has_room_for(AUDIT_STEP) {
                self.fill_from_audit(&mut flight);
                self.schedule_audit(now);
            }
        } else {
            self.fill_from_queue(&mut flight);
            self.fill_from_verification(&mut flight);
        }
        if flight.is_empty() && self.outstanding == 0 && self.is_clean() && !self.is_told() {
            // Nothing was left to be read, as behind the deletion of the root or the end of a verification: only a
            // reply tells at which zxid the tree is exact.
            self.read_again(&mut flight, &self.root.clone());
        }
        if flight.is_empty() {
            return None;
        }
        self.outstanding += usize::from(!flight.nodes.is_empty()) + flight.stats.len();
        Some(flight)
    }

    /// Nothing is left of a load or a verification.
    fn is_following(&self) -> bool {
        self.begun
            && self.verification == Verification::Done
            && self.unread.backlog() == 0
            && !self.is_creating_root()
    }

    fn is_creating_root(&self) -> bool {
        matches!(self.root_creation, RootCreation::Due | RootCreation::Asked(_))
    }

    /// Adds the read of a path that is now marked as in flight.
    fn add(flight: &mut Flight, tree: &Tree, sizes: &SizeGuess, path: NodePath, relative: &str, want: &Want) {
        let known = tree.get(relative).and_then(|entry| entry.node.as_deref());
        let data = known.map_or(sizes.get(), |node| node.data().len());
        let stat_only = !want.data && known.is_some() && data > LARGE_DATA;
        let children = known.map_or(0, |node| node.stat().num_children.try_into().unwrap_or(0));
        flight.add(path, want.children.then_some(children), stat_only, data);
    }

    fn fill_from_queue(&mut self, flight: &mut Flight) {
        while !flight.is_full() {
            let Some((path, want)) = self.unread.next() else { return };
            let Some(relative) = self.root.relative(path.as_str()) else { continue };
            self.unread.update(&path, |want| want.in_flight = true);
            Self::add(flight, &self.tree, &self.sizes, path.clone(), relative, &want);
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
                let want = Want { in_flight: true, suspect: true, discovered: true, ..Want::default() };
                self.unread.update(&path, |new| *new = want);
                Self::add(flight, &self.tree, &self.sizes, path, relative, &want);
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
        let hot: Vec<NodePath> = known.take(room + 1).cloned().collect();
        if hot.len() > room { Vec::new() } else { hot }
    }

    /// Reads a few nodes again that nothing notified of: changes that an ACL hid show in them.
    fn fill_from_audit(&mut self, flight: &mut Flight) {
        // A pass begins with the root, which may have appeared unnoticed, and after the last node the next one begins.
        let behind = std::mem::take(&mut self.audit.behind);
        if behind.is_empty() {
            self.read_again(flight, &self.root.clone());
        }
        let tree = self.tree.clone();
        let mut walk = tree.preorder_after(&behind);
        for _ in 0..AUDIT_STEP {
            let next = walk.next().filter(|_| !flight.is_full());
            let Some((relative, _)) = next else { return };
            self.audit.behind = relative.to_owned();
            self.read_again(flight, &self.root.absolute(relative));
        }
    }

    /// Adds a read of a path whose value is known as far as notifications go.
    fn read_again(&mut self, flight: &mut Flight, path: &NodePath) {
        let Some(relative) = self.root.relative(path.as_str()) else { return };
        if !self.unread.contains(path.as_str()) {
            let want = Want { in_flight: true, ..Want::default() };
            self.unread.update(path, |new| *new = want);
            Self::add(flight, &self.tree, &self.sizes, path.clone(), relative, &want);
        }
    }

    fn schedule_audit(&mut self, now: Instant) {
        let interval = self.options.audit_interval;
        if !interval.is_zero() {
            let steps = self.tree.len().div_ceil(AUDIT_STEP).max(1);
            let delay = (interval / steps.try_into().unwrap_or(u32::MAX)).max(SHORTEST_AUDIT_DELAY);
            // Partly at random, so that clients that began together do not stay together.
            self.audit.next = AuditStep::At(now + delay.mul_f64(0.5 + self.rng.f64()));
        }
    }

    // ---- what to tell ----

    /// Nothing is known to be outstanding.
    fn is_clean(&self) -> bool {
        self.link == Link::Watching && self.is_following() && self.unread.suspects() == 0
    }

    /// The tree is published, as a cut, and all that there is to announce has been.
    fn is_told(&self) -> bool {
        self.published.is_cut && self.published.tree.is(&self.tree) && !self.announce_in_step
    }

    /// After a reply with `zxid`: publishes what is exact now.
    fn settle(&mut self, zxid: Zxid, now: Instant) {
        if self.published.zxid == Zxid(0) {
            // A lower bound from now on: the watch was there before anything was read.
            self.published.zxid = zxid;
        }
        self.loaded_at = self.is_following().then(|| self.loaded_at.unwrap_or(now));
        if self.is_clean() {
            self.candidates.clear();
            self.publish(self.tree.clone(), Some(zxid), now);
        } else if self.is_following() {
            if let Some((zxid, tree)) = self.candidates.take_complete() {
                self.publish(tree, Some(zxid), now);
            }
            self.candidates.add(zxid, &self.tree, &self.unread);
        }
        self.publish_when_due(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.link != Link::Watching || self.stopped {
            return;
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
        }
        if matches!(self.audit.next, AuditStep::At(at) if now >= at) {
            self.audit.next = AuditStep::Due;
        }
        if matches!(self.verification, Verification::Due(at) if now >= at) {
            let root = self.root.clone();
            self.unread.update(&root, |want| (want.suspect, want.discovered) = (true, true));
            self.verification = Verification::Behind(String::new());
        }
        self.publish_when_due(now);
        self.tell_state();
    }

    fn note_edits(&mut self, now: Instant) {
        if self.edits > 0 {
            self.edited_at.get_or_insert(now);
        }
    }

    /// When a version is to be published that is no cut, unless a cut comes before.
    fn publish_at(&self) -> Option<Instant> {
        let finishes = self.rebuilding || !self.complete || self.announce_initialized;
        let finish = self.loaded_at.filter(|_| finishes).map(|at| at + CUT_PATIENCE);
        let patience = if self.complete { CUT_PATIENCE } else { GROWTH_INTERVAL };
        let progress = self.edited_at.filter(|_| !self.rebuilding).map(|at| at + patience);
        [finish, progress].into_iter().flatten().min()
    }

    fn publish_when_due(&mut self, now: Instant) {
        if self.publish_at().is_some_and(|at| now >= at) {
            self.publish(self.tree.clone(), None, now);
        }
    }

    /// Publishes `tree`: a cut at `cut`, or (`None`) not one.
    fn publish(&mut self, tree: Tree, cut: Option<Zxid>, now: Instant) {
        if cut.is_some_and(|cut| cut < self.published.zxid) {
            return;
        }
        let is_finished = self.loaded_at.is_some_and(|at| cut.is_some() || now >= at + CUT_PATIENCE);
        self.complete |= is_finished;
        self.rebuilding &= !is_finished;
        self.published.zxid = cut.unwrap_or(self.published.zxid);
        if cut.is_some() {
            self.published.cut_at = now;
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
            self.outputs.push_back(Output::Publish(Arc::new(version), self.edits));
        }
        let is_current = self.published.tree.is(&self.tree);
        self.edits = usize::from(!is_current);
        self.edited_at = (!is_current).then_some(now);
        if is_finished && std::mem::take(&mut self.announce_initialized) {
            self.event(EventKind::Initialized);
        }
        if is_finished && cut.is_some() && std::mem::take(&mut self.announce_in_step) {
            self.event(EventKind::InStep);
        }
    }

    /// Whoever is told finds the state changed already.
    fn event(&mut self, kind: EventKind) {
        self.tell_state();
        self.outputs.push_back(Output::Event(kind));
    }

    fn tell_state(&mut self) {
        let state = match self.link {
            _ if self.stopped => State::Closed,
            Link::Suspended => State::Suspended,
            Link::Lost => State::Lost,
            Link::Never | Link::Connected | Link::Watching if !self.complete => State::Loading,
            _ if self.is_clean() && self.is_told() => State::InStep,
            _ => State::CatchingUp,
        };
        if state != self.told_state {
            self.told_state = state;
            self.outputs.push_back(Output::State(state));
        }
    }
}
