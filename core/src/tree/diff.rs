//! The differences of two trees: the one way in which events arise.

use std::sync::{Arc, LazyLock};

use super::Tree;
use super::children::{Children, Counterparts};
use super::entry::{Entry, Share};
use super::filter::{Filter, Reach};
use super::walk::push_name;
use crate::planted::{self, Defect};

/// One difference between an older and a newer tree. All these nodes may be read.
#[derive(Clone)]
pub enum Change {
    /// A node has gone, or has been replaced by another one, or may not be read any more.
    Removed {
        /// As it is in the older tree.
        node: Share,
    },
    /// A node has come, or has replaced another one, or may be read now.
    Added {
        /// As it is in the newer tree.
        node: Share,
    },
    /// The data of the same node was set, maybe to the same bytes. Other changes of its Stat are not told.
    Updated {
        /// As it is in the newer tree.
        node: Share,
        /// As it is in the older one.
        old: Share,
    },
}

/// All that differs between an older tree and a newer one, one change at a time: removals first, children before
/// their parents; then additions and updates, parents before their children; siblings in byte order. A node that was
/// deleted and created again is removed with all below it, and added. What both trees share is not looked into, nor what
/// the filter leaves out.
///
/// It holds both trees, so a caller may keep it and go on at any time. [`next`](Differences::next) lends the path, so
/// this is not an `Iterator`.
pub struct Differences {
    /// Compares the older tree with the newer one.
    removals: Comparison,
    /// Compares the newer tree with the older one.
    additions: Comparison,
}

impl Differences {
    /// Looks at nothing yet but the two roots.
    pub fn new(old: &Tree, new: &Tree) -> Differences {
        static ALL: LazyLock<Arc<Filter>> = LazyLock::new(|| Arc::new(Filter::all()));
        Differences::filtered(old, new, &ALL)
    }

    /// As [`new`](Self::new), of what `filter` wants. The order is the same; what is in several of its subtrees comes
    /// once.
    pub fn filtered(old: &Tree, new: &Tree, filter: &Arc<Filter>) -> Differences {
        let kinds = filter.kinds();
        let comparison = |left, right, is_wanted, wants_unmatched| match is_wanted {
            true => Comparison::new(left, right, filter.clone(), wants_unmatched),
            false => Comparison::nothing(filter.clone()),
        };
        Differences {
            removals: comparison(old, new, kinds.removed, true),
            additions: comparison(new, old, kinds.added || kinds.updated, kinds.added),
        }
    }

    /// The next change and its path.
    #[allow(clippy::should_implement_trait, reason = "the path is lent until the next call")]
    pub fn next(&mut self) -> Option<(&str, Change)> {
        let (comparison, change) = match self.removals.next_removal() {
            Some(removal) => (&self.removals, removal),
            None => {
                let addition = self.additions.next_addition()?;
                (&self.additions, addition)
            }
        };
        Some((&comparison.path, change))
    }

    /// Whether there may be a change. It looks at no more than about `most` nodes that differ: if these do not tell, the
    /// answer is true. A false is certain.
    pub fn may_have_any(mut self, most: usize) -> bool {
        for _ in 0..most {
            let change = match self.removals.next() {
                Some(visit) => visit.removal(),
                None => match self.additions.next() {
                    Some(visit) => self.additions.addition(visit),
                    None => return false,
                },
            };
            if change.is_some() {
                return true;
            }
        }
        true
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Enter,
    Leave,
    /// Both at once: there is nothing below to be looked into.
    Leaf,
}

/// An entry that a comparison is at, and its counterpart.
struct Visit {
    step: Step,
    entry: Share,
    counterpart: Option<Share>,
}

impl Visit {
    /// The change, where the entry is in the older tree.
    fn removal(self) -> Option<Change> {
        let Visit { step, entry: old, counterpart: new } = self;
        let leaves = step == Step::Leaf || (step == Step::Leave) != planted::is(Defect::EventsUnordered);
        let node = old.node().filter(|_| leaves)?;
        let new = new.as_ref().and_then(Share::node);
        let is_kept = new.is_some_and(|new| node.is_same_node(&new));
        (!is_kept).then_some(Change::Removed { node: old })
    }
}

/// A walk over `left` that shows each entry with its counterpart in `right`. If the counterpart is another node,
/// nothing below the entry has a counterpart. It goes where the filter wants something, and shows no other entries.
struct Comparison {
    filter: Arc<Filter>,
    /// Whether what is below an entry without a counterpart is looked into.
    wants_unmatched: bool,
    /// The root and its counterpart, until they were visited.
    first: Option<(Share, Option<Share>)>,
    stack: Vec<Frame>,
    /// Of the entry visited last.
    path: String,
    #[cfg(test)]
    looked_at: usize,
}

/// An entry that was entered and not left.
struct Frame {
    entry: Share,
    counterpart: Option<Share>,
    below: Below,
    reach: Reach,
    path_len: usize,
}

/// What of an entry's children is looked at.
enum Below {
    All(Counterparts),
    /// Those on the way to a subtree.
    Named(Named),
}

/// The children whose names stand in a filter.
struct Named {
    left: Arc<Children>,
    right: Option<Arc<Children>>,
    /// The place of the next name in the filter.
    next: usize,
}

impl Named {
    fn next(&mut self, filter: &Filter, reach: Reach) -> Option<(Entry<'_>, Option<Entry<'_>>)> {
        let Named { left, right, next } = self;
        loop {
            let name = filter.named(reach, *next)?;
            *next += 1;
            let counterpart = right.as_ref().and_then(|right| right.get(name));
            if counterpart.is_none() && planted::is(Defect::WholeSubtreesUntold) {
                continue;
            }
            if let Some(entry) = left.get(name) {
                return Some((entry, counterpart));
            }
        }
    }
}

impl Comparison {
    fn new(left: &Tree, right: &Tree, filter: Arc<Filter>, wants_unmatched: bool) -> Comparison {
        let (root, counterpart) = (left.get(""), right.get(""));
        let is_same = counterpart.is_some_and(|other| root.is_some_and(|root| root.is(&other)));
        let first =
            root.filter(|_| !is_same).map(|root| (root.share(), counterpart.map(|other| other.share())));
        Comparison { first, wants_unmatched, ..Comparison::nothing(filter) }
    }

    /// A walk that is over.
    fn nothing(filter: Arc<Filter>) -> Comparison {
        Comparison {
            filter,
            wants_unmatched: false,
            first: None,
            stack: Vec::new(),
            path: String::new(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    fn next_removal(&mut self) -> Option<Change> {
        loop {
            let removal = self.next()?.removal();
            if removal.is_some() {
                return removal;
            }
        }
    }

    fn next_addition(&mut self) -> Option<Change> {
        loop {
            let visit = self.next()?;
            let addition = self.addition(visit);
            if addition.is_some() {
                return addition;
            }
        }
    }

    /// The change, where the entry is in the newer tree.
    fn addition(&self, visit: Visit) -> Option<Change> {
        let Visit { step, entry: new, counterpart: old } = visit;
        let kinds = self.filter.kinds();
        let node = new.node().filter(|_| step != Step::Leave)?;
        let old = old.filter(|old| old.node().is_some_and(|old| node.is_same_node(&old)));
        let Some(old) = old else { return kinds.added.then_some(Change::Added { node: new }) };
        let is_kept = old.node().is_some_and(|old| node.has_same_data(&old));
        (!is_kept && kinds.updated).then_some(Change::Updated { node: new, old })
    }

    fn next(&mut self) -> Option<Visit> {
        if let Some((root, counterpart)) = self.first.take()
            && let Some(visit) = self.enter(root, counterpart, self.filter.at_root())
        {
            return Some(visit);
        }
        loop {
            let top = self.stack.last_mut()?;
            self.path.truncate(top.path_len);
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            let child = match &mut top.below {
                Below::All(counterparts) => counterparts.next(),
                Below::Named(named) => named.next(&self.filter, top.reach),
            };
            match child {
                Some((entry, Some(counterpart))) if entry.is(&counterpart) => {}
                Some((entry, counterpart)) => {
                    let name = entry.name();
                    push_name(&mut self.path, name);
                    let reach = self.filter.below(top.reach, name);
                    let (entry, counterpart) = (entry.share(), counterpart.map(|other| other.share()));
                    if let Some(visit) = self.enter(entry, counterpart, reach) {
                        return Some(visit);
                    }
                }
                None => {
                    let mut left = self.stack.pop()?;
                    if planted::is(Defect::OverlapsToldTwice) && left.turns_to_named(&self.filter) {
                        self.stack.push(left);
                    } else if left.reach.is_wanted() {
                        let Frame { entry, counterpart, .. } = left;
                        return Some(Visit { step: Step::Leave, entry, counterpart });
                    }
                }
            }
        }
    }

    /// The visit to an entry, if the entry itself is wanted.
    fn enter(&mut self, entry: Share, counterpart: Option<Share>, reach: Reach) -> Option<Visit> {
        let Some(below) = self.below(&entry, counterpart.as_ref(), reach) else {
            return reach.is_wanted().then_some(Visit { step: Step::Leaf, entry, counterpart });
        };
        let enter = || Visit { step: Step::Enter, entry: entry.clone(), counterpart: counterpart.clone() };
        let visit = reach.is_wanted().then(enter);
        self.stack.push(Frame { entry, counterpart, below, reach, path_len: self.path.len() });
        visit
    }

    /// What is to be looked at below an entry. The children of another node are no counterparts.
    fn below(&self, entry: &Share, counterpart: Option<&Share>, reach: Reach) -> Option<Below> {
        if !reach.has_children() && !self.filter.has_named(reach) {
            return None;
        }
        let left = entry.lend().children()?;
        let same = counterpart.filter(|other| match (entry.node(), other.node()) {
            (Some(node), Some(other)) => node.is_same_node(&other),
            _ => false,
        });
        if same.is_none() && !self.wants_unmatched {
            return None;
        }
        let right = same.and_then(|same| same.lend().children());
        if right.is_some_and(|right| Arc::ptr_eq(right, left)) {
            return None;
        }
        let (left, right) = (left.clone(), right.cloned());
        Some(match reach.has_children() {
            true => Below::All(Counterparts::new(left, right)),
            false => Below::Named(Named { left, right, next: 0 }),
        })
    }
}

impl Frame {
    /// For a planted defect: turns from all children to those that are named, which are among them.
    fn turns_to_named(&mut self, filter: &Filter) -> bool {
        let all = matches!(self.below, Below::All(_)) && filter.has_named(self.reach);
        let Some(left) = self.entry.lend().children().filter(|_| all).cloned() else { return false };
        self.below = Below::Named(Named { left, right: None, next: 0 });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{edit, edits, node};
    use super::super::{Kinds, Node};
    use super::*;
    use crate::stat::Stat;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn stat(node: &Share) -> Stat {
        *node.node().expect("it may be read").stat()
    }

    fn described(old: &Tree, new: &Tree) -> Vec<String> {
        in_words(Differences::new(old, new))
    }

    fn filtered(old: &Tree, new: &Tree, filter: &Filter) -> Vec<String> {
        in_words(Differences::filtered(old, new, &Arc::new(filter.clone())))
    }

    fn below(under: &[&str], depth: Option<usize>) -> Filter {
        Filter::new(Kinds::ALL, under.iter().copied(), depth)
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            assert!(tree.put(path, node(1, 1)));
        }
        tree
    }

    fn in_words(mut differences: Differences) -> Vec<String> {
        let mut described = Vec::new();
        while let Some((path, change)) = differences.next() {
            described.push(match change {
                Change::Removed { node } => format!("-{path}@{}", stat(&node).mzxid.0),
                Change::Added { node } => format!("+{path}@{}", stat(&node).mzxid.0),
                Change::Updated { node, old } => {
                    format!("~{path}@{}>{}", stat(&old).mzxid.0, stat(&node).mzxid.0)
                }
            });
        }
        described
    }

    #[test]
    fn removals_come_first_and_bottom_up_then_additions_top_down() {
        let mut old = Tree::default();
        for path in ["", "a", "a/x", "a/x/1", "b", "c"] {
            assert!(old.put(path, node(1, 1)));
        }
        let mut new = old.clone();
        assert!(new.remove("a"));
        assert!(new.put("b", node(1, 2)));
        assert!(new.put("d", node(2, 2)));
        assert!(new.put("d/y", node(2, 2)));
        assert_eq!(described(&old, &new), ["-a/x/1@1", "-a/x@1", "-a@1", "~b@1>2", "+d@2", "+d/y@2"]);
        assert!(described(&new, &new.clone()).is_empty());
    }

    #[test]
    fn a_recreated_node_is_removed_with_all_below_and_added() {
        let mut old = Tree::default();
        for path in ["", "a", "a/x"] {
            assert!(old.put(path, node(1, 1)));
        }
        let mut new = old.clone();
        assert!(new.put("a", node(5, 5)));
        assert_eq!(described(&old, &new), ["-a/x@1", "-a@1", "+a@5", "+a/x@1"]);
    }

    #[test]
    fn opaque_nodes_make_no_events_but_becoming_opaque_does() {
        let mut old = Tree::default();
        for path in ["", "a", "a/x"] {
            assert!(old.put(path, node(1, 1)));
        }
        let mut new = old.clone();
        assert!(new.put("a", None));
        assert_eq!(described(&old, &new), ["-a/x@1", "-a@1"]);
        assert_eq!(described(&new, &old), ["+a@1", "+a/x@1"]);
    }

    #[test]
    fn new_data_under_an_old_zxid_is_seen() {
        let stat = Stat::default();
        let with = |data: &[u8]| {
            let mut tree = Tree::default();
            assert!(tree.put("", Some(Node::new(Arc::from(data), stat))));
            tree
        };
        assert_eq!(described(&with(b"before"), &with(b"after")).len(), 1);
        assert_eq!(described(&with(b"same"), &with(b"same")).len(), 0);
    }

    #[test]
    fn a_subtree_that_comes_or_goes_whole_is_told_whole() {
        let with = tree(&["", "a", "a/b", "a/b/x", "a/b/x/1", "a/c"]);
        let mut without = with.clone();
        assert!(without.remove("a/b"));
        let filter = below(&["a/b"], None);
        assert_eq!(filtered(&with, &without, &filter), ["-a/b/x/1@1", "-a/b/x@1", "-a/b@1"]);
        assert_eq!(filtered(&without, &with, &filter), ["+a/b@1", "+a/b/x@1", "+a/b/x/1@1"]);
        // Also where it goes with a node above it, or with everything.
        let mut bare = with.clone();
        assert!(bare.remove("a"));
        for gone in [&bare, &Tree::default()] {
            assert_eq!(filtered(&with, gone, &filter), ["-a/b/x/1@1", "-a/b/x@1", "-a/b@1"]);
            assert_eq!(filtered(gone, &with, &filter), ["+a/b@1", "+a/b/x@1", "+a/b/x/1@1"]);
            assert_eq!(filtered(&with, gone, &below(&["a/b"], Some(1))), ["-a/b/x@1", "-a/b@1"]);
        }
        assert_eq!(filtered(&bare, &Tree::default(), &filter), [""; 0], "it was not there");
    }

    #[test]
    fn what_is_in_several_subtrees_is_told_once() {
        let new = tree(&["", "a", "a/b", "a/b/c", "a/b/c/d", "a-b", "z"]);
        let none = Tree::default();
        let all = ["+a@1", "+a/b@1", "+a/b/c@1", "+a/b/c/d@1"];
        for under in [&["a", "a/b", "a"][..], &["a/b", "a"], &["a"]] {
            assert_eq!(filtered(&none, &new, &below(under, None)), all);
        }
        // Both have "a/b" and "a/b/c" in them.
        let nested = below(&["a", "a/b"], Some(2));
        assert_eq!(filtered(&none, &new, &nested), all);
        assert_eq!(filtered(&none, &new, &below(&["a", "a/b"], Some(1))), all[..3]);
        assert_eq!(
            filtered(&none, &new, &below(&["a-b", "a/b"], Some(0))),
            ["+a/b@1", "+a-b@1"],
            "in the order of names"
        );
        let gone = ["-a/b/c/d@1", "-a/b/c@1", "-a/b@1", "-a@1"];
        assert_eq!(filtered(&new, &none, &nested), gone);
    }

    /// How many places are looked at, in both directions, until the difference is over.
    fn looked_at(old: &Tree, new: &Tree, filter: &Filter) -> usize {
        let mut differences = Differences::filtered(old, new, &Arc::new(filter.clone()));
        while differences.next().is_some() {}
        differences.removals.looked_at + differences.additions.looked_at
    }

    #[test]
    fn a_filter_costs_what_it_tells_and_not_what_has_changed() {
        let mut old = tree(&["", "here", "here/x", "there"]);
        for n in 0..2000 {
            assert!(
                old.put(&format!("there/{n}"), node(1, 1)) && old.put(&format!("there/{n}/y"), node(1, 1))
            );
        }
        let mut new = old.clone();
        for n in 0..2000 {
            assert!(new.put(&format!("there/{n}/y"), node(1, 2)));
        }
        let filter = below(&["here/x"], None);
        assert!(looked_at(&old, &new, &below(&[""], None)) > 4000);
        assert!(looked_at(&old, &new, &filter) <= 4, "{}", looked_at(&old, &new, &filter));
        let filter = Arc::new(filter);
        assert!(!Differences::filtered(&old, &new, &filter).may_have_any(8));
        assert!(new.put("here/x", node(1, 3)));
        assert_eq!(looked_at(&old, &new, &filter), 8, "the way there and back, twice");
        assert!(Differences::filtered(&old, &new, &filter).may_have_any(8));
        // Nothing of it is an update, and below a node that is new nothing can be.
        let updates = Filter::new(Kinds { added: false, removed: false, ..Kinds::ALL }, [""], None);
        assert!(looked_at(&Tree::default(), &new, &updates) <= 1);
    }

    /// Whether a change in words is one that a filter wants, by the letter.
    fn is_wanted(change: &str, kinds: Kinds, under: &[String], depth: Option<usize>) -> bool {
        let path = change[1..].split('@').next().expect("it has a path");
        let is_kind = match &change[..1] {
            "+" => kinds.added,
            "~" => kinds.updated,
            _ => kinds.removed,
        };
        is_kind
            && under.iter().any(|top| {
                let [top, path] = [top, path]
                    .map(|path| path.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>());
                path.starts_with(&top) && depth.is_none_or(|depth| path.len() - top.len() <= depth)
            })
    }

    fn kinds() -> impl Strategy<Value = Kinds> {
        any::<(bool, bool, bool)>().prop_map(|(added, updated, removed)| Kinds { added, updated, removed })
    }

    /// Paths of trees as [`edits`] makes them, and of what they do not have.
    fn paths() -> impl Strategy<Value = Vec<String>> {
        let path = prop::collection::vec(0u8..5, 0..4)
            .prop_map(|names| names.iter().map(u8::to_string).collect::<Vec<_>>().join("/"));
        prop::collection::vec(path, 0..5)
    }

    proptest! {
        #[test]
        fn a_filtered_difference_is_the_difference_filtered(
            (before, after) in (edits(), edits()),
            under in paths(),
            depth in prop::option::of(0usize..4),
            kinds in kinds(),
            from_nothing in any::<bool>(),
        ) {
            let mut old = Tree::default();
            for (zxid, (op, path)) in before.iter().enumerate() {
                edit(&mut old, zxid as i64, *op, path);
            }
            let mut new = old.clone();
            for (zxid, (op, path)) in after.iter().enumerate() {
                edit(&mut new, 1000 + zxid as i64, *op, path);
            }
            if from_nothing {
                old = Tree::default();
            }
            let filter = Filter::new(kinds, under.iter().map(String::as_str), depth);
            for (old, new) in [(&old, &new), (&new, &old)] {
                let mut expected = described(old, new);
                expected.retain(|change| is_wanted(change, kinds, &under, depth));
                let told = filtered(old, new, &filter);
                prop_assert_eq!(&told, &expected);
                let may_have = |most| Differences::filtered(old, new, &Arc::new(filter.clone())).may_have_any(most);
                prop_assert_eq!(may_have(usize::MAX), !expected.is_empty());
                prop_assert!(may_have(3) || expected.is_empty());
            }
        }

        #[test]
        fn the_changes_replayed_onto_the_old_tree_give_the_new_one(before in edits(), after in edits()) {
            let mut old = Tree::default();
            for (zxid, (op, path)) in before.iter().enumerate() {
                edit(&mut old, zxid as i64, *op, path);
            }
            let mut new = old.clone();
            for (zxid, (op, path)) in after.iter().enumerate() {
                edit(&mut new, 1000 + zxid as i64, *op, path);
            }
            let readable = |tree: &Tree| {
                let mut map = BTreeMap::new();
                let mut walk = tree.preorder();
                while let Some((path, entry)) = walk.next() {
                    if let Some(node) = entry.node() {
                        map.insert(path.to_owned(), (node.stat().czxid, node.stat().mzxid));
                    }
                }
                map
            };
            let mut replayed = readable(&old);
            let mut adding = false;
            let mut error = None;
            let mut differences = Differences::new(&old, &new);
            while let Some((path, change)) = differences.next() {
                let parent = path.rsplit_once('/').map(|(parent, _)| parent).or((!path.is_empty()).then_some(""));
                let ok = match change {
                    Change::Removed { .. } => {
                        let childless = !replayed.keys().any(|other| {
                            if path.is_empty() { !other.is_empty() } else { other.starts_with(&format!("{path}/")) }
                        });
                        childless && !adding && replayed.remove(path).is_some()
                    }
                    Change::Added { node } => {
                        adding = true;
                        parent.is_none_or(|parent| replayed.contains_key(parent))
                            && replayed.insert(path.to_owned(), (stat(&node).czxid, stat(&node).mzxid)).is_none()
                    }
                    Change::Updated { node, .. } => {
                        adding = true;
                        replayed.insert(path.to_owned(), (stat(&node).czxid, stat(&node).mzxid)).is_some()
                    }
                };
                if !ok {
                    error.get_or_insert(path.to_owned());
                }
            }
            prop_assert_eq!(error, None);
            prop_assert_eq!(replayed, readable(&new));
        }
    }
}
