//! The trees that caches begin with.

use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use treecache_checks::{Truth, View};
use treecache_core::Node;
use treecache_core::sync::{CacheId, Data};
use treecache_core::tree::{Tree, Version};

use super::World;
use super::cache::{Watched, kept};
use crate::ensemble::Moment;
use crate::plan::{Plan, Source};

/// A version that somebody has read.
#[derive(Clone)]
pub struct KnownTree {
    pub version: Arc<Version>,
    /// What he had heard of then.
    pub moment: Moment,
    /// It is no cut, or was read at another time, or nobody could know what it is: it may be of several histories.
    pub is_mixed: bool,
    /// He had authenticated.
    pub authenticated: bool,
}

impl KnownTree {
    /// As a cache begins with it. Of what an ACL has hidden the model knows only what has been read since, by whatever cache; one
    /// that begins with the tree of another one, and does not read it, may know less.
    pub fn begun_under(mut self, plan: &Plan) -> KnownTree {
        if self.authenticated != plan.authenticates || plan.restricted {
            self.version = Arc::new(Version { is_own: false, ..(*self.version).clone() });
        }
        self
    }
}

impl fmt::Debug for KnownTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { zxid, is_cut, is_complete, is_own, tree } = &*self.version;
        let Moment { era, place } = self.moment;
        write!(
            f,
            "{} nodes at {zxid} (cut: {is_cut}, complete: {is_complete}, own: {is_own}), of {era}/{place}",
            tree.len()
        )
    }
}

impl World {
    /// What a cache has now.
    pub(super) fn known_to(&self, cache: &Watched) -> KnownTree {
        let version = cache.version().clone();
        let moment = self.contact().unwrap_or(Moment { era: 0, place: 0 });
        let is_of_then = cache.began_with().is_none() && cache.era() == moment.era;
        let is_mixed = !version.is_cut || self.is_blind() || !is_of_then;
        KnownTree { version, moment, is_mixed, authenticated: self.plan.authenticates }
    }

    /// What a cache is to begin with; `None`: there is nothing yet.
    pub(super) fn known_tree(&self, cache: usize, source: Source) -> Option<KnownTree> {
        match source {
            Source::Closed(before) => self.known[cache].iter().rev().nth(before).cloned(),
            Source::Elsewhere { eras, back, authenticated, torn } => {
                let era = (self.ensemble.eras.len() - 1).checked_sub(eras)?;
                let history = &self.ensemble.eras[era];
                let place =
                    history.last().checked_sub(back)?.max(self.ensemble.saturated_at.min(history.last()));
                let plan = &self.plan.caches[cache];
                let view = View { authenticated, ..Watched::view(plan, &self.plan) };
                let mut version = cut(history.truth(place), &view, plan.data);
                if let Some(seed) = torn {
                    tear(&mut version, seed);
                }
                let version = Arc::new(version);
                Some(KnownTree { version, moment: Moment { era, place }, is_mixed: false, authenticated })
            }
        }
    }

    /// Whether the client has heard of less than the tree shows that a cache began with, in one history.
    pub(super) fn is_behind(&self, id: CacheId) -> bool {
        let Some(known) = self.caches.get(&id).and_then(Watched::began_with) else { return false };
        let Moment { era, place } = known.moment;
        let is_so = |heard: Moment| {
            place <= self.ensemble.common(heard.era, era)
                && heard.place < self.ensemble.eras[era].place(known.version.zxid)
        };
        !known.is_mixed && !self.is_blind() && self.contact().is_none_or(is_so)
    }

    /// Whether the tree that a cache began with is of another history than the one that there is now.
    pub(super) fn began_elsewhere(&self, id: CacheId) -> bool {
        let Some(known) = self.caches.get(&id).and_then(Watched::began_with) else { return false };
        let era = self.connections.last().map_or(0, |connection| connection.era);
        let is_mixed = known.is_mixed && self.ensemble.eras.len() > 1;
        is_mixed || known.moment.place > self.ensemble.common(era, known.moment.era)
    }
}

/// Some nodes have not been read yet, though their parents have: in a first load, or later.
fn tear(version: &mut Version, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut paths = Vec::new();
    let mut walk = version.tree.preorder();
    while let Some((path, _)) = walk.next() {
        paths.push(path.to_owned());
    }
    for path in paths.iter().filter(|path| !path.is_empty()) {
        if rng.u8(..4) == 0 {
            version.tree.remove(path);
        }
    }
    (version.is_cut, version.is_complete) = (false, rng.bool());
}

/// What a cache has that is in step with this.
fn cut(truth: &Truth, view: &View, data: Data) -> Version {
    let mut tree = Tree::default();
    for (path, node) in truth.subtree(&view.root) {
        if !view.keeps(path) {
            continue;
        }
        let relative = path[if *view.root == *"/" { 0 } else { view.root.len() }..].trim_start_matches('/');
        let read = node.access.allows(view.authenticated).then(|| match data {
            Data::None => Node::without_data(node.stat),
            _ => Node::new(Arc::from(&*kept(data, &node.data)), node.stat),
        });
        // Below what may not be read there is nothing.
        _ = tree.put(relative, read);
    }
    Version { tree, zxid: truth.zxid, is_cut: true, is_complete: true, is_own: true }
}
