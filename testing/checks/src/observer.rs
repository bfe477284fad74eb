//! One cache, seen from outside.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use treecache_core::tree::Version;
use treecache_core::{NodeRef, Stat, Zxid};

use crate::truth::{TruthNode, parent};
use crate::{Check, Counts, Narrowing, Truth, Violation};

/// A version, as far as it can be seen.
pub trait Published {
    fn zxid(&self) -> Zxid;
    fn is_cut(&self) -> bool;
    /// All nodes of the tree at `root`, with absolute paths; `None` for one that may not be read (where such nodes
    /// can be seen).
    fn visit(&self, root: &str, visit: &mut dyn FnMut(&str, Option<NodeRef<'_>>));
    /// What is kept of a node's data.
    fn kept<'d>(&self, data: &'d [u8]) -> Cow<'d, [u8]> {
        Cow::Borrowed(data)
    }
}

impl Published for Version {
    fn zxid(&self) -> Zxid {
        self.zxid
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn visit(&self, root: &str, visit: &mut dyn FnMut(&str, Option<NodeRef<'_>>)) {
        let mut path = String::new();
        let mut walk = self.tree.preorder();
        while let Some((relative, entry)) = walk.next() {
            path.clear();
            path.push_str(root);
            if !relative.is_empty() {
                if root != "/" {
                    path.push('/');
                }
                path.push_str(relative);
            }
            visit(&path, entry.node());
        }
    }
}

/// Which part of the server's tree a cache is to have.
#[derive(Debug, Clone)]
pub struct View {
    pub root: Arc<str>,
    pub narrowing: Narrowing,
    /// The session has authenticated.
    pub authenticated: bool,
}

impl View {
    /// All that everyone may read at and below `root`.
    pub fn of(root: &str) -> View {
        View { root: Arc::from(root), narrowing: Narrowing::default(), authenticated: false }
    }

    /// Whether a path at or below the root is kept. `/zookeeper` below the root `/` is not.
    pub fn keeps(&self, path: &str) -> bool {
        let relative = match &*self.root {
            "/" => &path[1..],
            root => &path[root.len()..],
        };
        let is_hidden = *self.root == *"/" && (path == "/zookeeper" || path.starts_with("/zookeeper/"));
        !is_hidden && self.narrowing.keeps(relative.trim_start_matches('/'))
    }
}

/// What was hidden from a session, so that it cannot know better: paths, and the zxid at which something happened.
/// The node at such a path and what is below it may differ, and so may what its parent's Stat says of children.
pub type Excused = BTreeMap<Arc<str>, Zxid>;

fn is_excused(excused: &Excused, mut path: &str) -> bool {
    while !path.is_empty() {
        if excused.contains_key(path) {
            return true;
        }
        path = parent(path);
    }
    false
}

fn has_excused_child(excused: &Excused, path: &str) -> bool {
    excused.keys().any(|child| parent(child) == path)
}

/// How a published tree differs from what a session may read of the truth; `None`: not at all. aversion aside, of
/// which nothing notifies.
pub fn difference(
    published: &impl Published,
    truth: &Truth,
    view: &View,
    excused: &Excused,
) -> Option<String> {
    let root = &*view.root;
    let may_read = |path: &str| truth.get(path).is_some_and(|node| node.access.allows(view.authenticated));
    let counts_sets = truth.counts() == Counts::Keepers;
    let leaves_out_children = |path: &str| {
        let above = if path == "/" { "" } else { path };
        truth.children(path).any(|name| !view.keeps(&format!("{above}/{name}")))
    };
    let mut difference = None;
    let mut found = 0;
    published.visit(root, &mut |path, node| {
        let forgiven = !excused.is_empty() && is_excused(excused, path);
        if difference.is_some() || forgiven {
            return;
        }
        found += 1;
        let allows = |node: &TruthNode| node.access.allows(view.authenticated);
        difference = match (node, truth.get(path)) {
            _ if !view.keeps(path) => Some(format!("{path} is there, and is to be left out")),
            (_, None) => Some(format!("{path} is there and should not be")),
            (Some(_), Some(truth)) if !allows(truth) => Some(format!("{path} should not be readable")),
            (None, Some(truth)) if allows(truth) => Some(format!("{path} should be readable")),
            (None, Some(_)) => None,
            (Some(node), Some(truth)) => {
                let mut expected = Stat { aversion: node.stat().aversion, ..truth.stat };
                if !excused.is_empty() && has_excused_child(excused, path) {
                    expected = Stat {
                        cversion: node.stat().cversion,
                        num_children: node.stat().num_children,
                        pzxid: node.stat().pzxid,
                        ..expected
                    };
                }
                // What is left out is not watched, and nothing else tells that its data was set.
                if counts_sets && node.stat().cversion != expected.cversion && leaves_out_children(path) {
                    expected.cversion = node.stat().cversion;
                }
                if *node.stat() != expected {
                    Some(format!("{path} has {:?} and should have {expected:?}", node.stat()))
                } else if node.data() != &*published.kept(&truth.data) {
                    Some(format!("{path} has {} bytes that are not its data", node.data().len()))
                } else {
                    None
                }
            }
        };
    });
    if difference.is_some() {
        return difference;
    }
    // Below a node that may not be read there is nothing.
    let is_below_opaque = |path: &str| {
        let mut above = path;
        while above != root && above != "/" {
            above = parent(above);
            if !may_read(above) {
                return true;
            }
        }
        false
    };
    let counts = |path: &str| {
        view.keeps(path)
            && (truth.is_open() || !is_below_opaque(path))
            && (excused.is_empty() || !is_excused(excused, path))
    };
    let expected = truth.subtree(root).filter(|(path, _)| counts(path)).count();
    (found != expected).then(|| {
        let mut known = std::collections::BTreeSet::new();
        published.visit(root, &mut |path, _| _ = known.insert(path.to_owned()));
        let missing = truth
            .subtree(root)
            .map(|(path, _)| path)
            .filter(|path| counts(path) && !known.contains(&***path));
        let missing: Vec<_> = missing.take(3).collect();
        format!("there are {found} nodes and should be {expected}; not there are {missing:?}")
    })
}

/// Watches what one cache publishes.
pub struct Observer {
    view: View,
    /// Of the newest version, and of the newest cut.
    zxid: Zxid,
    /// What the last version said of each node, and how many versions there were then.
    stats: HashMap<String, (Stat, u64)>,
    versions: u64,
    /// A reset was reported since the last version.
    reset: bool,
    /// The ensemble has another history than at the last cut.
    has_moved: bool,
}

impl Observer {
    pub fn new(view: View) -> Observer {
        Observer { view, zxid: Zxid(0), stats: HashMap::new(), versions: 0, reset: false, has_moved: false }
    }

    /// The cache reported that the ensemble went back in time.
    pub fn reset(&mut self) {
        self.reset = true;
    }

    /// The ensemble was put back to what it had been, and goes on in another way. Only pzxid may show that without a
    /// word: it is evidence of nothing, as servers of one ensemble differ in it.
    pub fn moved(&mut self) {
        self.has_moved = true;
    }

    /// A version was published. `truth`: the server's tree at the version's zxid, where it is a cut. `multis`: those
    /// whose zxids are near the version's, each with the paths that it created or set.
    pub fn published<'m>(
        &mut self,
        published: &impl Published,
        truth: Option<&Truth>,
        excused: &Excused,
        multis: impl Iterator<Item = (Zxid, &'m [Arc<str>])>,
    ) -> Result<(), Violation> {
        let zxid = published.zxid();
        if let (true, Some(truth)) = (published.is_cut(), truth) {
            let difference = difference(published, truth, &self.view, excused);
            Check::Exact.that(difference.is_none(), || {
                format!("the cut of {} at {zxid}: {}", self.view.root, difference.unwrap_or_default())
            })?;
        }
        let was_reset = std::mem::take(&mut self.reset);
        let has_moved = self.has_moved;
        // A version that is none may still show what was read in the history before.
        self.has_moved &= !published.is_cut();
        if !was_reset {
            Check::Monotonic.that(self.zxid <= zxid, || {
                format!("{} was published at {}, then at {zxid}", self.view.root, self.zxid)
            })?;
        }
        self.zxid = zxid;
        self.versions += 1;
        let (stats, versions) = (&mut self.stats, self.versions);
        let mut gone_back = None;
        published.visit(&self.view.root, &mut |path, node| {
            let Some(stat) = node.map(|node| *node.stat()) else { return };
            let Some(known) = stats.get_mut(path) else {
                stats.insert(path.to_owned(), (stat, versions));
                return;
            };
            let (old, _) = std::mem::replace(known, (stat, versions));
            let goes_on = old.czxid <= stat.czxid
                && (old.czxid != stat.czxid
                    || (old.mzxid <= stat.mzxid && (has_moved || old.pzxid <= stat.pzxid)));
            if !goes_on && !was_reset && gone_back.is_none() {
                gone_back = Some(format!("{path} went back: {old:?}, then {stat:?}"));
            }
        });
        stats.retain(|_, (_, seen)| *seen == versions);
        if let Some(gone_back) = gone_back {
            return Err(Check::Monotonic.violated(gone_back));
        }
        if published.is_cut() {
            for (at, paths) in multis {
                atomic(at, paths, &self.stats, excused)?;
            }
        }
        Ok(())
    }
}

/// A node that a transaction at `at` has touched shows it, or not; all of them must agree. (What it deleted, or what
/// was deleted since, tells nothing.)
fn atomic(
    at: Zxid,
    paths: &[Arc<str>],
    stats: &HashMap<String, (Stat, u64)>,
    excused: &Excused,
) -> Result<(), Violation> {
    let shows = |path: &Arc<str>| {
        let stat = stats.get(&**path).filter(|_| excused.is_empty() || !is_excused(excused, path));
        stat.map(|(stat, _)| stat.mzxid >= at)
    };
    let with = paths.iter().find(|path| shows(path) == Some(true));
    let without = paths.iter().find(|path| shows(path) == Some(false));
    match (with, without) {
        (Some(with), Some(without)) => {
            Err(Check::Atomic
                .violated(format!("a cut shows the transaction {at} in {with}, not in {without}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Change, Transaction};
    use treecache_core::Node;
    use treecache_core::tree::Tree;

    fn truth(changes: &[(i64, Change)]) -> Truth {
        let mut truth = Truth::default();
        for (zxid, change) in changes {
            assert!(truth.admits(change));
            truth.apply(&Transaction { zxid: Zxid(*zxid), time: 7, changes: vec![change.clone()] });
        }
        truth
    }

    fn create(path: &str) -> Change {
        Change::Create { path: path.into(), data: Arc::from(*b"x"), access: Access::Everyone, owner: 0 }
    }

    fn cut(truth: &Truth, root: &str) -> Version {
        let mut tree = Tree::default();
        for (path, node) in truth.subtree(root) {
            let relative = path[root.len()..].trim_start_matches('/');
            let node = node.access.allows(false).then(|| Node::new(node.data.clone(), node.stat));
            assert!(tree.put(relative, node));
        }
        Version { tree, zxid: truth.zxid, is_cut: true, is_complete: true, is_own: true }
    }

    fn difference_of(version: &Version, truth: &Truth) -> Option<String> {
        difference(version, truth, &View::of("/a"), &Excused::new())
    }

    #[test]
    fn a_tree_is_compared_node_by_node() {
        let before = truth(&[(1, create("/a")), (2, create("/a/b"))]);
        let version = cut(&before, "/a");
        assert_eq!(difference_of(&version, &before), None);
        for change in [
            create("/a/c"),
            create("/a/b/c"),
            Change::Delete { path: "/a/b".into() },
            Change::SetData { path: "/a/b".into(), data: Arc::from(*b"x") },
            Change::SetAcl { path: "/a/b".into(), access: Access::Nobody },
        ] {
            let mut after = before.clone();
            after.apply(&Transaction { zxid: Zxid(3), time: 7, changes: vec![change.clone()] });
            assert!(difference_of(&version, &after).is_some(), "{change:?}");
        }
        let mut elsewhere = before.clone();
        elsewhere.apply(&Transaction { zxid: Zxid(3), time: 7, changes: vec![create("/ab")] });
        assert_eq!(difference_of(&version, &elsewhere), None);
    }

    #[test]
    fn what_was_hidden_is_excused_and_nothing_else() {
        let before = truth(&[(1, create("/a")), (2, create("/a/b")), (3, create("/a/c"))]);
        let version = cut(&before, "/a");
        let mut after = before.clone();
        after.apply(&Transaction {
            zxid: Zxid(4),
            time: 7,
            changes: vec![Change::SetAcl { path: "/a/b".into(), access: Access::Nobody }],
        });
        after.apply(&Transaction {
            zxid: Zxid(5),
            time: 7,
            changes: vec![Change::Delete { path: "/a/b".into() }],
        });
        let excused = Excused::from([("/a/b".into(), Zxid(5))]);
        assert!(difference_of(&version, &after).is_some());
        assert_eq!(difference(&version, &after, &View::of("/a"), &excused), None);
        after.apply(&Transaction {
            zxid: Zxid(6),
            time: 7,
            changes: vec![Change::SetData { path: "/a/c".into(), data: Arc::from(*b"y") }],
        });
        assert!(difference(&version, &after, &View::of("/a"), &excused).is_some());
    }

    #[test]
    fn versions_go_forward_and_show_all_of_a_transaction() {
        let mut truth = truth(&[(1, create("/a")), (2, create("/a/b")), (3, create("/a/c"))]);
        let old = cut(&truth, "/a");
        let set = |path: &str| Change::SetData { path: path.into(), data: Arc::from(*b"y") };
        truth.apply(&Transaction { zxid: Zxid(4), time: 7, changes: vec![set("/a/b"), set("/a/c")] });
        let new = cut(&truth, "/a");
        let paths: [Arc<str>; 2] = ["/a/b".into(), "/a/c".into()];
        let observe = |versions: &[&Version]| {
            let mut observer = Observer::new(View::of("/a"));
            versions.iter().try_for_each(|version| {
                observer.published(*version, None, &Excused::new(), [(Zxid(4), &paths[..])].into_iter())
            })
        };
        assert_eq!(observe(&[&old, &new]), Ok(()));
        assert_eq!(observe(&[&new, &old]).unwrap_err().check, Check::Monotonic);
        let mut torn = new.clone();
        assert!(torn.tree.put("c", old.tree.get("c").unwrap().node().map(|node| node.to_node())));
        assert_eq!(observe(&[&torn]).unwrap_err().check, Check::Atomic);
    }
}
