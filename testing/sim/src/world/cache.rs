//! One cache, as the world sees it: what it published, what it told, what it says of itself.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use treecache_checks::{
    Check, Excused, NodeEvent, Observer, Published, Replay, Truth, View, Violation, difference,
};
use treecache_core::sync::{CacheId, Data, Output, Progress, Ticket};
use treecache_core::tree::{Change, Differences, Version};
use treecache_core::{EventKind, NodeRef, State, Status, Zxid};

use super::Tally;
use super::known::KnownTree;
use crate::ensemble::{Era, Moment};
use crate::gzip;
use crate::plan::{CachePlan, Plan};

/// A call of `sync`, and the last transaction that had been committed when it was made.
pub struct Call {
    pub ticket: Ticket,
    pub moment: Moment,
}

/// What is true where a cache tells something.
pub struct Known<'a> {
    pub era: usize,
    pub history: &'a Era,
    pub excused: &'a Excused,
    /// Nothing can be compared: the watch is lost, and that cannot be known yet.
    pub is_blind: bool,
    /// The client has not heard of the moment at which the tree was read that the cache began with.
    pub is_behind: bool,
}

/// A version, and what it keeps of the nodes' data.
struct Kept<'v> {
    version: &'v Version,
    data: Data,
}

impl Published for Kept<'_> {
    fn zxid(&self) -> Zxid {
        self.version.zxid
    }

    fn is_cut(&self) -> bool {
        self.version.is_cut
    }

    fn visit(&self, root: &str, visit: &mut dyn FnMut(&str, Option<NodeRef<'_>>)) {
        self.version.visit(root, visit);
    }

    fn kept<'d>(&self, data: &'d [u8]) -> Cow<'d, [u8]> {
        kept(self.data, data)
    }
}

/// What is kept of a node's data.
pub fn kept(keeps: Data, data: &[u8]) -> Cow<'_, [u8]> {
    match keeps {
        Data::All => Cow::Borrowed(data),
        Data::None => Cow::Borrowed(&[]),
        Data::Gzip { most } => gzip::kept(data, most),
    }
}

pub struct Watched {
    /// From the server's root.
    view: View,
    data: Data,
    observer: Observer,
    replay: Replay,
    version: Arc<Version>,
    state: State,
    suspended_at: Option<u64>,
    failure: Option<Status>,
    connection: EventKind,
    told_initialized: bool,
    told_in_step: bool,
    /// Versions published, and cuts; and what it says of that.
    versions: u64,
    cuts: u64,
    progress: Progress,
    /// The newest call of `sync`, and those that have no answer yet.
    called: Ticket,
    calls: VecDeque<Call>,
    /// What the version was compared with last.
    compared: Option<Moment>,
    /// The era of the last version.
    era: usize,
    /// Batches of reads since the last cut.
    pub batches: u64,
    /// How many there may be; `None`: any number.
    most_batches: Option<u64>,
    follow: bool,
    /// What it is to show first.
    first: Option<Arc<Version>>,
    /// The tree that it began with, until it is in step.
    began_with: Option<KnownTree>,
}

impl Watched {
    /// What a cache is to have.
    pub fn view(cache: &CachePlan, plan: &Plan) -> View {
        let root = match (plan.prefix(), cache.root) {
            ("", root) => root.to_owned(),
            (prefix, "/") => prefix.to_owned(),
            (prefix, root) => format!("{prefix}{root}"),
        };
        let (root, narrowing) = (Arc::from(root), cache.narrowing.clone());
        View { root, narrowing, authenticated: plan.authenticates }
    }

    pub fn new(
        cache: &CachePlan,
        known: Option<KnownTree>,
        most_batches: Option<u64>,
        plan: &Plan,
    ) -> Watched {
        let view = Watched::view(cache, plan);
        // A version without a zxid is from before the first one.
        let known = known.filter(|known| known.version.zxid > Zxid(0));
        Watched {
            observer: Observer::new(view.clone()),
            replay: Replay::new(&view.root),
            data: cache.data,
            version: Arc::default(),
            state: State::Latent,
            suspended_at: None,
            failure: None,
            connection: EventKind::ConnectionReconnected,
            told_initialized: false,
            told_in_step: false,
            versions: 0,
            cuts: 0,
            progress: Progress::default(),
            called: Ticket(0),
            calls: VecDeque::new(),
            compared: None,
            era: known.as_ref().map_or(0, |known| known.moment.era),
            batches: 0,
            most_batches,
            view,
            follow: cache.follow,
            first: known.as_ref().map(|known| known.version.clone()),
            began_with: known,
        }
    }

    /// From the server's root.
    pub fn root(&self) -> &str {
        &self.view.root
    }

    pub fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// The tree that it began with, unless it has been in step since, or told that it is of another history.
    pub fn began_with(&self) -> Option<&KnownTree> {
        self.began_with.as_ref()
    }

    /// That of the last version.
    pub fn era(&self) -> usize {
        self.era
    }

    pub fn says_in_step(&self) -> bool {
        self.state == State::InStep
    }

    /// Loaded, and not followed.
    pub fn is_held(&self) -> bool {
        self.state == State::Held && !self.follow
    }

    /// In step, or held, and all that belongs to it was told.
    pub fn is_settled(&self) -> bool {
        let is_so = if self.follow { self.says_in_step() } else { self.is_held() && self.version.is_cut };
        is_so && self.told_initialized && self.told_in_step
    }

    /// It has said that no server can serve it.
    pub fn is_refused(&self) -> bool {
        self.failure == Some(Status::Unsupported) && !self.told_in_step
    }

    pub fn describe(&self) -> String {
        format!(
            "{} is {:?} with {} nodes at {}, initialized {}, in step {}, {} calls wait",
            self.view.root,
            self.state,
            self.version.tree.len(),
            self.version.zxid,
            self.told_initialized,
            self.told_in_step,
            self.calls.len()
        )
    }

    pub fn difference(&self, truth: &Truth, excused: &Excused) -> Option<String> {
        let kept = Kept { version: &self.version, data: self.data };
        difference(&kept, truth, &self.view, excused)
    }

    /// Whether the version was compared with this moment of the history already.
    pub fn was_compared(&mut self, contact: Moment) -> bool {
        self.compared.replace(contact) == Some(contact)
    }

    pub fn check_claim(&self, id: CacheId, truth: &Truth, excused: &Excused) -> Result<(), Violation> {
        Check::Honest.that(self.version.is_cut && self.version.is_complete, || {
            format!("{id:?} is in step with what is no cut")
        })?;
        let difference = self.difference(truth, excused);
        Check::Honest.that(difference.is_none(), || {
            let what = difference.unwrap_or_default();
            format!("{id:?} is in step at {}, has heard of {}: {what}", self.version.zxid, truth.zxid)
        })
    }

    /// Somebody calls `sync`.
    pub fn call(&mut self, moment: Moment) -> Ticket {
        self.called.0 += 1;
        self.calls.push_back(Call { ticket: self.called, moment });
        self.called
    }

    /// Whether a call of `sync` has no answer yet.
    pub fn is_called(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The calls that an answer up to `ticket` is for.
    pub fn take_calls(&mut self, ticket: Ticket) -> Result<Vec<Call>, Violation> {
        let count = self.calls.partition_point(|call| call.ticket <= ticket);
        Check::Sound.that(count > 0 && ticket <= self.called, || format!("{ticket:?} is nobody's"))?;
        Ok(self.calls.drain(..count).collect())
    }

    /// Whether what is published is a cut, and this tree.
    pub fn is_cut_of(&self, truth: &Truth, excused: &Excused) -> bool {
        self.version.is_cut && self.difference(truth, excused).is_none()
    }

    pub fn check_suspended(&self, id: CacheId, now: u64, timeout: u64) -> Result<(), Violation> {
        let Some(since) = self.suspended_at else { return Ok(()) };
        Check::Honest.that(now <= since + timeout + 1000, || {
            format!("{id:?} was suspended {} ms ago, and does not say that it is lost", (now - since) / 1000)
        })
    }

    pub fn check_fed(&mut self, id: CacheId, tally: &mut Tally) -> Result<(), Violation> {
        let is_behind = self.follow && !self.says_in_step() && self.told_in_step;
        let Some(most) = self.most_batches.filter(|_| is_behind) else {
            self.batches = 0;
            return Ok(());
        };
        tally.most_batches = tally.most_batches.max(self.batches);
        Check::Fed.that(self.batches <= most, || {
            format!("{id:?} has read {} batches without a cut, and may read {most}", self.batches)
        })
    }

    pub fn told(
        &mut self,
        output: Output,
        now: u64,
        known: &Known<'_>,
        tally: &mut Tally,
    ) -> Result<(), Violation> {
        let is_first = match &output {
            Output::Progress(_) => true,
            Output::Publish(version, _) => {
                self.first.as_ref().is_none_or(|first| Arc::ptr_eq(first, version))
            }
            _ => self.first.is_none(),
        };
        Check::Complete
            .that(is_first, || "what a cache begins with is not what it shows first".to_owned())?;
        match output {
            Output::Publish(version, _) => self.published(version, known, tally),
            Output::State(state) => {
                let suspended = state == State::Suspended;
                self.suspended_at = suspended.then(|| self.suspended_at.unwrap_or(now));
                self.state = state;
                self.compared = None;
                digest(tally, state as u64);
                Ok(())
            }
            Output::Event(kind) => {
                digest(tally, kind as u64 + 100);
                self.event(kind)
            }
            Output::Fault(fault) => {
                if fault.status == Status::Reset {
                    self.observer.reset();
                    self.began_with = None;
                    tally.resets += 1;
                }
                Ok(())
            }
            Output::Failure(failure) => {
                self.failure = failure;
                Ok(())
            }
            Output::Progress(progress) => {
                self.progress = progress;
                Ok(())
            }
            // Checked by the world, which knows what was committed when.
            Output::Synced(..) => Ok(()),
        }
    }

    fn published(
        &mut self,
        version: Arc<Version>,
        known: &Known<'_>,
        tally: &mut Tally,
    ) -> Result<(), Violation> {
        tally.versions += 1;
        self.versions += 1;
        digest(tally, version.zxid.0 as u64 ^ (version.tree.len() as u64) << 40);
        let Known { era, history, excused, is_blind, is_behind } = *known;
        let is_its_own = self.first.take().is_none();
        Check::Monotonic.that(!is_behind || !is_its_own, || {
            format!("{} shows what a server says that is behind what it began with", self.view.root)
        })?;
        let era = if is_its_own { era } else { self.era };
        // A history that changed under the connection is noticed node by node.
        if std::mem::replace(&mut self.era, era) != era || is_blind {
            self.observer.moved();
        }
        let is_compared = version.is_cut && !is_blind && is_its_own;
        self.observer.published(
            &Kept { version: &version, data: self.data },
            is_compared.then(|| history.truth(history.place(version.zxid))),
            excused,
            history.multis_near(version.zxid).filter(|_| is_compared),
        )?;
        let is_mixed = self.began_with.as_ref().is_some_and(|known| known.is_mixed) && !is_its_own;
        if is_blind || is_mixed {
            // What was shown may be of an old history still, and it is the next version that goes back.
            self.observer.moved();
        }
        Check::Monotonic.that(!self.version.is_complete || version.is_complete, || {
            "a version is less complete than the one before".to_owned()
        })?;
        let mut path = String::new();
        let mut differences = Differences::new(&self.version.tree, &version.tree);
        while let Some((relative, change)) = differences.next() {
            path.clear();
            path.push_str(&self.view.root);
            if !relative.is_empty() {
                if *self.view.root != *"/" {
                    path.push('/');
                }
                path.push_str(relative);
            }
            let (event, node, old) = match &change {
                Change::Added { node } => (NodeEvent::Added, node, None),
                Change::Updated { node, old } => (NodeEvent::Updated, node, old.node()),
                Change::Removed { node } => (NodeEvent::Removed, node, None),
            };
            self.replay.told(event, &path, node.node().expect("it may be read"), old)?;
        }
        self.replay.end_version();
        if version.is_cut {
            tally.cuts += 1;
            self.cuts += 1;
            self.batches = 0;
        }
        self.version = version;
        self.compared = None;
        self.replay.assert_equals(&*self.version)
    }

    /// What was told is what is published.
    pub fn assert_told(&mut self) -> Result<(), Violation> {
        let Progress { versions, cuts, .. } = self.progress;
        Check::Sound.that((versions, cuts) == (self.versions, self.cuts), || {
            format!(
                "{} versions, {} of them cuts, are said to be {versions} and {cuts}",
                self.versions, self.cuts
            )
        })?;
        self.replay.assert_equals(&*self.version)
    }

    /// Connection events come in an order that makes sense, INITIALIZED and IN_STEP once and with what they promise.
    fn event(&mut self, kind: EventKind) -> Result<(), Violation> {
        use EventKind::{ConnectionLost, ConnectionReconnected, ConnectionSuspended, InStep, Initialized};
        let before = self.connection;
        let fits = match kind {
            ConnectionSuspended => before == ConnectionReconnected,
            // When the client is closed there is no suspension.
            ConnectionLost => before != ConnectionLost,
            ConnectionReconnected => matches!(before, ConnectionSuspended | ConnectionLost),
            Initialized => {
                before == ConnectionReconnected && !self.told_initialized && self.version.is_complete
            }
            InStep => {
                before == ConnectionReconnected
                    && !self.told_in_step
                    && self.told_initialized
                    && self.version.is_cut
            }
            _ => false,
        };
        Check::Ordered.that(fits, || format!("{kind:?} after {before:?}: {}", self.describe()))?;
        match kind {
            ConnectionSuspended => self.told_in_step = false,
            ConnectionLost => (self.told_in_step, self.told_initialized) = (false, false),
            Initialized => self.told_initialized = true,
            InStep => (self.told_in_step, self.began_with) = (true, None),
            _ => {}
        }
        if !matches!(kind, Initialized | InStep) {
            self.connection = kind;
        }
        Ok(())
    }
}

fn digest(tally: &mut Tally, what: u64) {
    tally.digest = (tally.digest ^ what).wrapping_mul(0x0100_0000_01b3).rotate_left(7);
}
