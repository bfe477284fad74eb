//! The paths whose value at the server is not known: queued for a read, or with a read in flight.

use std::collections::{HashMap, HashSet, VecDeque, hash_map};

use super::runs::Runs;
use crate::names::{Names, Siblings};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::{Stat, Zxid};

/// What notifications have told of a node's child list since its Stat was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct History {
    /// The node's creation was among them: it began without children.
    pub born: bool,
    pub created: u32,
    pub deleted: u32,
    /// Some of them were about children that the cache leaves out.
    pub left_out: bool,
}

impl History {
    pub(super) fn has_changes(&self) -> bool {
        self.created > 0 || self.deleted > 0
    }

    fn counts_unseen(&self) -> bool {
        self.left_out && !planted::is(Defect::LeftOutCounted)
    }

    /// Whether the notifications explain all that happened to the child list between `old` and `new`, so that the
    /// list they led to is the one that `new` speaks of. ZooKeeper counts every creation and deletion of a child in
    /// `cversion`; a change that was hidden from the session (by an ACL, or by a lost connection) shows as a
    /// difference. `None`: the node was not known.
    ///
    /// Even then, the list may be of another history, with as many changes. That shows in known children that are
    /// missing (see `Synchroniser::found_missing`). A child that is left out would not be missed: so where such children
    /// were counted from the creation of the node on, the list is read.
    pub(super) fn explains(&self, old: Option<&Stat>, new: &Stat) -> bool {
        let (cversion, num_children) = match old {
            _ if planted::is(Defect::ChildListTrusted) => return true,
            Some(old) if planted::is(Defect::ListDatedByPzxid) && old.pzxid == new.pzxid => return true,
            // In another history the numbers may be the same, and the list not.
            Some(old) if !self.has_changes() => return old.has_same_children(new),
            // The server does not count creations any more, so a hidden creation would not show.
            Some(_) if new.is_saturated() => return false,
            Some(old) => (old.cversion, old.num_children),
            None if self.born && !self.counts_unseen() => (0, 0),
            None => return new.num_children == 0,
        };
        let (created, deleted) = (self.created as i32, self.deleted as i32);
        new.cversion == cversion.wrapping_add(created).wrapping_add(deleted)
            && new.num_children == num_children.wrapping_add(created).wrapping_sub(deleted)
    }
}

/// What is to be learnt of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Want {
    pub in_flight: bool,
    /// The number of the flight that it is in; 0 where that is not known.
    pub flight: u64,
    /// Its watch was used up behind what set it, and before the read: it is to be read once more.
    pub again: bool,
    /// There may have been no node when its watch was to be set. If the read finds one, it is to be read once more.
    pub unset: bool,
    /// The child list too.
    pub children: bool,
    /// The data too: a Stat would not do, even if the data is large.
    pub data: bool,
    /// A list has named it that was read for what was told of it, and nothing else is known.
    pub listed: bool,
    /// A load or verification found this path, and is not complete before it is read.
    pub discovered: bool,
    /// The value in the tree may be wrong. False if the path is only read again, for an audit or a cut.
    pub suspect: bool,
    /// A child was found missing, though it is in the list that the Stat in the tree speaks of.
    pub lost_child: bool,
    /// Its list was read on this connection, and has a name of which there is no node: their numbers differ.
    pub counted: bool,
    /// What is known of it was read on an earlier connection: the server may have another history.
    pub unverified: bool,
    pub history: History,
}

impl Want {
    /// What is known was read on an earlier connection, and a verification waits for it.
    pub(super) fn verify(&mut self) {
        (self.suspect, self.discovered, self.unverified) = (true, true, true);
    }

    /// Whether the data may have changed: a notification told of it, or the connection was gone and may have taken one
    /// with it. False if only a child came or went, or an audit reads.
    pub(super) fn is_data_in_doubt(&self) -> bool {
        self.data || self.discovered || self.unverified
    }

    /// A notification has told of it: if the watch that did so was set for the read that is under way, there is none any more.
    pub(super) fn used_up(&mut self, armed: Armed) {
        let is_used_up = self.in_flight && armed.0.is_some_and(|armed| self.flight <= armed);
        self.again |= is_used_up && !planted::is(Defect::UsedUpForgotten);
    }

    /// What is left of it where there is nothing to be learnt, and a reply is still to come.
    fn awaited(self) -> Want {
        let Want { flight, again, unset, .. } = self;
        Want { in_flight: true, flight, again, unset, ..Want::default() }
    }

    /// Where the data of children counts in cversion, and a watch tells of what comes and goes: whether nothing else happened
    /// to the list between `old` and `new`.
    pub(super) fn is_of_sets(&self, old: &Stat, new: &Stat) -> bool {
        let is_watched = self.suspect && !self.unverified && !self.children;
        is_watched && old.pzxid == new.pzxid && old.num_children == new.num_children
    }

    /// Whether the child list that is known is the one that `new` speaks of; `old` is the node's Stat as it is known.
    pub(super) fn explains(&self, old: Option<&Stat>, new: &Stat) -> bool {
        // Notifications count on top of what the same server has shown. In another history the numbers may fit by
        // chance.
        let is_of_this_history =
            old.is_none() || !self.unverified || planted::is(Defect::OtherHistoryCounted);
        let is_gapless = is_of_this_history || !self.history.has_changes();
        !self.children && is_gapless && self.history.explains(old, new)
    }
}

/// The number of the last flight for which watches were set that tell of one change each; `None` where a recursive watch
/// tells of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Armed(Option<u64>);

/// All wants, with their queues, and the runs. Nodes are read before child lists, so that few paths are known but unread
/// at a time, and in the order in which they were queued, so that a parent is read before its children.
#[derive(Default)]
pub(super) struct Unread {
    wants: HashMap<NodePath, Want>,
    /// How deep the deepest of them was, since there were none.
    deepest: usize,
    /// What is only known as a name in a list: none of it is in `wants`.
    runs: Runs,
    nodes: VecDeque<NodePath>,
    lists: VecDeque<NodePath>,
    suspects: usize,
    backlog: usize,
    in_flight: usize,
    /// How many flights have gone out. What is taken off the queues goes with the next one.
    flights: u64,
    armed: Armed,
    /// The watch of the root that tells of its creation is not there yet for this flight, if the flight reads the root.
    awaits_root: bool,
}

impl Unread {
    /// What is read from now on is watched, by watches that tell of one change each (`is_one_shot`) or by a recursive one. In the
    /// former case, what is in flight already is not watched, and is to be read again.
    pub(super) fn watch(&mut self, is_one_shot: bool) {
        self.armed = Armed(is_one_shot.then_some(0));
        if is_one_shot && !planted::is(Defect::UnarmedTakenForArmed) {
            self.wants.values_mut().for_each(|want| want.again |= want.in_flight);
        }
    }

    /// Whether each watch tells of one change.
    pub(super) fn is_one_shot(&self) -> bool {
        self.armed.0.is_some()
    }

    /// Nothing is wanted any more. Flights are counted on, as some may be on their way still.
    pub(super) fn clear(&mut self) {
        *self = Unread { flights: self.flights, ..Unread::default() };
    }

    /// A flight goes out with what was taken off. Returns its number.
    pub(super) fn end_flight(&mut self) -> u64 {
        self.flights += 1;
        self.flights
    }

    /// The server has begun to set the watches for this flight, and has read nothing of it yet.
    pub(super) fn note_armed(&mut self, flight: u64) {
        (self.armed, self.awaits_root) = (Armed(Some(flight)), true);
    }

    /// The root is watched from now on, whether it is there or not.
    pub(super) fn note_root_armed(&mut self) {
        self.awaits_root = false;
    }

    pub(super) fn armed(&self) -> Armed {
        self.armed
    }

    /// What is wanted of a path.
    #[cfg(test)]
    fn get(&self, path: &str) -> Option<Want> {
        self.runs.get(path).or_else(|| self.wants.get(path).copied())
    }

    /// Whether a path is to be read of which is known what an earlier connection has shown.
    pub(super) fn is_unverified(&self, path: &str) -> bool {
        self.wants.get(path).is_some_and(|want| want.unverified)
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.wants.contains_key(path) || !self.runs.is_empty() && self.runs.get(path).is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.wants.len() + self.runs.len()
    }

    /// How many paths may have another value in the tree than at the server, as far as is known.
    pub(super) fn suspects(&self) -> usize {
        self.suspects + self.runs.len()
    }

    /// How many of them a load or verification still waits for.
    pub(super) fn backlog(&self) -> usize {
        self.backlog + self.runs.len()
    }

    /// How many paths wait for their turn.
    pub(super) fn queued(&self) -> usize {
        self.wants.len() - self.in_flight + self.runs.waiting()
    }

    /// The suspects, if none of them is part of a load or verification.
    pub(super) fn suspected(&self) -> impl Iterator<Item = (&NodePath, &Want)> {
        self.wants.iter().filter(|(_, want)| want.suspect)
    }

    /// Tells of places in a list whether they are asked for, and nothing has been learnt of them since.
    pub(super) fn asked_of(&self, siblings: &Siblings) -> impl Fn(u32) -> bool {
        self.runs.asked_of(siblings)
    }

    pub(super) fn runs(&mut self) -> &mut Runs {
        &mut self.runs
    }

    /// A list of `parent` has come, with these names, which are sorted: what an older one has named, and this one has not, is
    /// not there any more.
    pub(super) fn relisted(&mut self, parent: &NodePath, names: &[&str]) {
        if !self.runs.is_empty() && !planted::is(Defect::KeptThoughUnlisted) {
            for path in self.runs.without(parent, names) {
                self.forget(&path);
            }
        }
    }

    /// The children of `parent` with these names, which are sorted, have been listed, and are not known; `of` is the czxid
    /// of the parent.
    pub(super) fn listed(&mut self, parent: &NodePath, of: Zxid, mut names: Vec<&str>) {
        let mut single = Vec::new();
        if self.runs.has(parent) {
            single = std::mem::take(&mut names);
            single.retain(|name| self.runs.get(parent.absolute(name).as_str()).is_none());
        } else if self.deepest > parent.depth() {
            let mut path = String::new();
            names.retain(|name| {
                parent.write_absolute(name, &mut path);
                let is_wanted = self.wants.contains_key(path.as_str());
                if is_wanted {
                    single.push(*name);
                }
                !is_wanted
            });
        }
        for name in single {
            self.update(&parent.absolute(name), |want| {
                // A path that was deleted while its read was under way is no suspect. If it is listed again, its
                // creation was hidden.
                if !want.suspect {
                    (want.suspect, want.discovered, want.data) = (true, true, true);
                }
            });
        }
        if !names.is_empty() {
            self.runs.insert(parent, of, Names::of_sorted(&names));
        }
    }

    /// Changes what is wanted of `path`, which may be nothing so far, and queues it unless it is in flight.
    pub(super) fn update(&mut self, path: &NodePath, change: impl FnOnce(&mut Want)) {
        if self.runs.is_kept_by_defect(path.as_str()) {
            return;
        }
        self.single_out(path);
        let (before, want) = match self.wants.entry(path.clone()) {
            hash_map::Entry::Occupied(known) => (Some(*known.get()), known.into_mut()),
            hash_map::Entry::Vacant(new) => {
                self.deepest = self.deepest.max(path.depth());
                (None, new.insert(Want::default()))
            }
        };
        change(want);
        let want = *want;
        self.count(before, Some(want));
        let is_queued = before.is_some_and(|before| !before.in_flight && before.children == want.children);
        if !want.in_flight && !is_queued {
            let queue = if want.children { &mut self.lists } else { &mut self.nodes };
            queue.push_back(path.clone());
            // A path that is not wanted any more stays in the queue until its turn. Such paths must not pile up.
            if queue.len() > 2 * self.wants.len() + 64 {
                let mut seen = HashSet::new();
                let wants = &self.wants;
                queue.retain(|path| wants.contains_key(path) && seen.insert(path.clone()));
            }
        }
    }

    /// If `path` is in a run, it is a want of its own from now on.
    fn single_out(&mut self, path: &NodePath) {
        if !self.runs.is_empty()
            && let Some(want) = self.runs.take_out(path.as_str())
        {
            self.add(path.clone(), want);
        }
    }

    /// Adds a want of its own.
    fn add(&mut self, path: NodePath, want: Want) {
        self.count(None, Some(want));
        self.deepest = self.deepest.max(path.depth());
        self.wants.insert(path.clone(), want);
        if !want.in_flight {
            self.nodes.push_back(path);
        }
    }

    /// Lists of which so little waits that it can be read with its children: each of it is a want of its own from now
    /// on.
    pub(super) fn single_out_few(&mut self, few: usize) {
        if !self.runs.is_empty() && self.nodes.len() <= few {
            for (path, want) in self.runs.take_apart(few) {
                self.add(path, want);
            }
        }
    }

    pub(super) fn remove(&mut self, path: &str) -> Option<Want> {
        if !self.runs.is_empty()
            && let Some(want) = self.runs.take_out(path)
        {
            return Some(want);
        }
        let want = self.wants.remove(path);
        if self.wants.is_empty() {
            self.deepest = 0;
        }
        self.count(want, None);
        want
    }

    /// There is nothing at `path` any more. A reply that is still to come says the same, unless a node is created
    /// again: then a notification comes.
    pub(super) fn forget(&mut self, path: &NodePath) {
        if !self.runs.is_empty()
            && let Some(want) = self.runs.take_out(path.as_str())
        {
            if want.in_flight {
                self.add(path.clone(), want.awaited());
            }
            return;
        }
        match self.wants.get(path) {
            Some(want) if want.in_flight => self.update(path, |want| *want = want.awaited()),
            _ => _ = self.remove(path.as_str()),
        }
    }

    /// A path whose value is known is read once more: it is in flight from now on.
    pub(super) fn read_again(&mut self, path: &NodePath, mut want: Want) {
        (want.in_flight, want.flight) = (true, self.flights + 1);
        self.update(path, |new| *new = want);
    }

    /// The node at this path is deleted, or is not there to be watched. (Some servers say the latter behind the reply. It is no
    /// matter for the root, whose other watch follows.)
    pub(super) fn note_deleted(&mut self, path: &NodePath, is_root: bool) {
        let armed = self.armed;
        let is_to_come = is_root && self.awaits_root;
        if self.contains(path.as_str()) {
            self.update(path, |want| {
                if !is_to_come {
                    want.used_up(armed);
                }
                want.unset |= want.in_flight && !planted::is(Defect::MissingTakenForWatched);
            });
        }
    }

    fn count(&mut self, before: Option<Want>, after: Option<Want>) {
        for (want, sign) in [(before, -1isize), (after, 1)] {
            let Some(want) = want else { continue };
            self.suspects = self.suspects.wrapping_add_signed(if want.suspect { sign } else { 0 });
            self.backlog = self.backlog.wrapping_add_signed(if want.discovered { sign } else { 0 });
            self.in_flight = self.in_flight.wrapping_add_signed(if want.in_flight { sign } else { 0 });
        }
    }

    /// The path whose turn it is among those that are wanted with their child lists, or without; it is in flight from
    /// now on, and what is wanted of it.
    pub(super) fn take_off(&mut self, children: bool) -> Option<(NodePath, Want)> {
        let queue = if children { &mut self.lists } else { &mut self.nodes };
        while let Some(path) = queue.pop_front() {
            match self.wants.get_mut(&path) {
                Some(want) if !want.in_flight && want.children == children => {
                    (want.in_flight, want.flight) = (true, self.flights + 1);
                    self.in_flight += 1;
                    return Some((path, *want));
                }
                _ => {}
            }
        }
        None
    }

    /// The connection is gone. What was in flight must be read again, and what notifications told of children does not
    /// count any more: a node may have been replaced since, and the next server may not know yet what the last one
    /// notified. If there was such a notification, the list is read.
    pub(super) fn restart(&mut self) {
        self.wants.retain(|_, want| want.suspect);
        (self.nodes, self.lists) = (VecDeque::new(), VecDeque::new());
        for (path, want) in &mut self.wants {
            (want.in_flight, want.lost_child, want.counted, want.unverified) = (false, false, false, true);
            (want.again, want.unset) = (false, false);
            want.children |= std::mem::take(&mut want.history).has_changes();
            let queue = if want.children { &mut self.lists } else { &mut self.nodes };
            queue.push_back(path.clone());
        }
        // Parents first.
        self.nodes.make_contiguous().sort();
        self.lists.make_contiguous().sort();
        self.backlog = self.wants.values().filter(|want| want.discovered).count();
        self.in_flight = 0;
        self.runs.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::runs::{Answer, Room};
    use crate::tree::NodeRef;

    fn path(path: &str) -> NodePath {
        NodePath::new(path).unwrap()
    }

    #[test]
    fn a_history_explains_a_child_list_only_without_gaps() {
        let stat = |pzxid, cversion, num_children| Stat {
            pzxid: Zxid(pzxid),
            cversion,
            num_children,
            ..Stat::default()
        };
        let old = stat(1, 10, 4);
        let history = History { created: 2, deleted: 1, ..History::default() };
        assert!(history.explains(Some(&old), &stat(5, 13, 5)));
        assert!(!history.explains(Some(&old), &stat(5, 14, 5)), "a hidden change");
        assert!(!history.explains(Some(&old), &stat(5, 15, 5)), "a hidden creation and deletion");
        assert!(History::default().explains(Some(&old), &stat(1, 10, 4)));
        assert!(!History::default().explains(Some(&old), &stat(2, 10, 4)), "of another history");
        assert!(History::default().explains(None, &stat(1, 0, 0)));
        assert!(!History::default().explains(None, &stat(1, 2, 2)));
        let born = History { born: true, created: 3, deleted: 1, left_out: false };
        assert!(born.explains(None, &stat(1, 4, 2)));
        assert!(!born.explains(None, &stat(1, 6, 2)));
        let unseen = History { left_out: true, ..born };
        assert!(!unseen.explains(None, &stat(1, 4, 2)), "nobody would miss a child that is left out");
        assert!(History { born: false, ..unseen }.explains(Some(&old), &stat(5, 14, 6)));
    }

    #[test]
    fn nodes_come_before_lists_and_each_once() {
        let mut unread = Unread::default();
        unread
            .update(&path("/l"), |want| (want.children, want.suspect, want.discovered) = (true, true, true));
        unread.update(&path("/a"), |want| want.suspect = true);
        unread.update(&path("/a"), |want| want.data = true);
        unread.update(&path("/b"), |want| want.suspect = true);
        assert_eq!((unread.suspects(), unread.backlog()), (3, 1));
        unread.remove("/b");
        let mut order = Vec::new();
        while let Some((path, _)) = unread.take_off(false).or_else(|| unread.take_off(true)) {
            order.push(path.to_string());
        }
        assert_eq!(order, ["/a", "/l"]);
        unread.restart();
        assert_eq!(unread.take_off(false).map(|(path, _)| path.to_string()).as_deref(), Some("/a"));
        assert_eq!((unread.suspects(), unread.backlog()), (2, 1));
    }

    #[test]
    fn what_a_newer_list_lacks_is_wanted_no_more_however_far_it_was() {
        let mut unread = Unread::default();
        let names: Vec<String> = (0..300).map(|n| format!("{n:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        unread.listed(&path("/p"), Zxid(1), names.clone());
        let room = Room { reads: 10, bytes: 9999, result_overhead: 1, request_bytes: 9999, read_overhead: 1 };
        let mut proof =
            || unread.runs().take_unproven(room, 0, 10, &mut fastrand::Rng::with_seed(1)).unwrap();
        let (kept, asked) = (proof(), proof());
        let read = kept.places.iter().map(|place| (*place, NodeRef::new(&[], Stat::default()))).collect();
        let proof = vec![0; 10];
        let answer = Answer { of: Zxid(1), read, answered: 10, largest: 0, is_proof: true, proof };
        assert!(unread.runs().arrived(&kept, &answer).is_empty());
        let place = |of: &Siblings| of.names().next().unwrap().to_owned();
        let waiting =
            names.iter().find(|name| !kept.names().chain(asked.names()).any(|other| other == **name));
        let gone = [place(&kept), place(&asked), (*waiting.unwrap()).to_owned()];
        let newer: Vec<&str> =
            names.iter().copied().filter(|name| !gone.iter().any(|gone| gone == name)).collect();
        unread.relisted(&path("/p"), &newer);
        let left = gone.map(|name| unread.get(&format!("/p/{name}")));
        // A reply is to come of the one that was asked for. It counts for nothing.
        let answered = Want { in_flight: true, ..Want::default() };
        assert_eq!(left, [None, Some(answered), None]);
        assert_eq!((unread.suspects(), unread.backlog()), (297, 297));
    }

    #[test]
    fn what_is_queued_and_taken_back_again_and_again_does_not_pile_up() {
        let mut unread = Unread::default();
        for n in 0..10_000 {
            let path = path(&format!("/{}", n % 7));
            unread.update(&path, |want| want.suspect = true);
            unread.remove(path.as_str());
        }
        assert!(unread.nodes.len() <= 128, "{} queued", unread.nodes.len());
        assert_eq!(unread.suspects(), 0);
    }
}
