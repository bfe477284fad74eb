//! What child lists have named and was not read yet, kept by list.
//!
//! A load knows most paths only as names in a list, and all of them are wanted for the same reason. A [`Run`] keeps
//! those of one list: each name in it stands for a [`Want`] that says no more than [`wanted`] does. Whatever is learnt
//! of one of them that a run cannot say takes it out ([`Runs::take_out`]), and it is a want of its own from then on.
//! So a name is in its run, or a want, or known; never two of these.
//!
//! How large a node is nobody knows before it was read, and sizes cluster by name. So a few places of each list, taken
//! at random, are read first, as a proof of what the others are like. What they gave is kept for its turn: a list goes
//! into the tree in order, and until then all its names are as unknown as they were.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;

use super::unread::Want;
use crate::names::{Names, Siblings};
use crate::path::NodePath;
use crate::planted::{self, Defect};
use crate::stat::Zxid;
use crate::tree::{Node, NodeRef};

/// A list of up to so many names is proven by one of them.
const SHORT: usize = 120;
/// A list of more is proven by more than one of up to so many.
const LONG: usize = 1000;
/// How many siblings one proof speaks for at a time, in a longer list.
const PROVEN_BY_ONE: usize = 17;
/// How much larger than the mean of what was read as a proof a node is taken to be, if its own list speaks for less.
const SPREAD: usize = 4;
/// For each so many proofs of its own, a list goes by those of others half, a third, a quarter as much.
const SPOKEN_FOR: usize = 16;
/// Over so many proofs the mean is taken.
const REMEMBERED: usize = 256;

/// How many names of a list are read as its proof.
fn proof_of(names: usize) -> usize {
    match names {
        _ if names <= SHORT => 1,
        _ if names <= LONG => 16,
        _ => 64,
    }
}

/// What is wanted of a node that is only known by its name in a list.
fn wanted(in_flight: bool, unverified: bool) -> Want {
    Want { in_flight, unverified, suspect: true, discovered: true, data: true, ..Want::default() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    Asked,
    /// Read, and kept for its turn.
    Kept,
    /// Known, or a want of its own.
    Left,
}

/// The names of one list.
struct Run {
    parent: NodePath,
    /// The czxid of the node whose list it is. If there is another one at its path, what was kept is not of its children.
    of: Zxid,
    names: Arc<Names>,
    places: Vec<Place>,
    /// How many of the places wait, were asked for, and are kept.
    waiting: usize,
    asked: usize,
    /// What was read before its turn, in order.
    kept: Vec<(u32, Node)>,
    /// No place before this waits.
    next: usize,
    /// No place before this waits or was asked for.
    known: usize,
    /// It is in a queue, or was and has nothing that waits.
    queued: bool,
    /// The list is of an earlier connection.
    unverified: bool,
    /// How many more are to be asked for as a proof.
    to_prove: usize,
    /// How much is proven: what was read of it, all but the places that were chosen at random counting a quarter.
    proven: usize,
    sizes: Sizes,
    /// The mean of what its own proofs had of data, and how many these were.
    mean: Mean,
}

/// What the nodes of a list that were read say of those that follow.
#[derive(Clone, Copy, Default)]
struct Sizes {
    /// The most data that one had.
    largest: usize,
    /// How many were read since one had half as much.
    since: usize,
    /// About the most that the last ones had, but for those.
    recent: usize,
}

impl Sizes {
    /// So many more were read, the largest of which had so much.
    fn learn(&mut self, nodes: usize, largest: usize) {
        if nodes == 0 {
            return;
        }
        if largest >= self.largest / 2 {
            (self.largest, self.since) = (self.largest.max(largest), 0);
        } else {
            self.since += nodes;
            self.recent = largest.max(self.recent / 4);
        }
    }

    /// How much data one of the next has. A large node is followed by others, or it stands alone: if none has come for so
    /// many, one more in as many is to be expected.
    fn expected(&self) -> usize {
        (self.largest / (self.since + 1)).max(self.recent)
    }
}

/// The mean of how much data nodes had.
#[derive(Clone, Copy, Default)]
struct Mean {
    bytes: usize,
    nodes: usize,
}

impl Mean {
    /// One more node, of the last so many.
    fn add(&mut self, bytes: usize, most: usize) {
        self.nodes = (self.nodes + 1).min(most);
        self.bytes = (self.bytes.saturating_mul(self.nodes - 1).saturating_add(bytes)) / self.nodes;
    }
}

impl Run {
    fn new(parent: NodePath, of: Zxid, names: Names) -> Run {
        let len = names.len();
        Run {
            parent,
            of,
            names: Arc::new(names),
            places: vec![Place::Waiting; len],
            waiting: len,
            asked: 0,
            kept: Vec::new(),
            next: 0,
            known: 0,
            queued: false,
            unverified: false,
            to_prove: proof_of(len),
            proven: 0,
            sizes: Sizes::default(),
            mean: Mean::default(),
        }
    }

    fn left(&self) -> usize {
        self.waiting + self.asked + self.kept.len()
    }

    fn is_proven(&self) -> bool {
        self.to_prove == 0 && self.proven > 0
    }

    /// Whether it has something to be asked for and is in no queue.
    fn is_to_be_queued(&mut self) -> bool {
        if self.waiting > 0 && self.asked == 0 && self.proven == 0 && self.to_prove == 0 {
            // What was to be its proof was not there, or has been taken out.
            self.to_prove = proof_of(self.waiting);
        }
        self.waiting > 0 && !self.queued && (self.to_prove > 0 || self.proven > 0)
    }

    /// Nothing of it is in flight any more, and nothing of what was read counts.
    fn restart(&mut self) {
        let outlives = planted::is(Defect::KeptOverReconnect);
        for place in &mut self.places {
            if *place != Place::Left && !(outlives && *place == Place::Kept) {
                *place = Place::Waiting;
            }
        }
        if !outlives {
            self.waiting += std::mem::take(&mut self.kept).len();
        }
        self.waiting += std::mem::take(&mut self.asked);
        (self.next, self.known, self.queued) = (0, 0, false);
        self.unverified = true;
        (self.to_prove, self.proven) = (proof_of(self.waiting), 0);
        (self.sizes, self.mean) = (Sizes::default(), Mean::default());
    }

    /// What it says of a name.
    fn want(&self, name: &str) -> Option<(usize, Want)> {
        let place = self.names.find(name)?;
        match self.places.get(place)? {
            Place::Left => None,
            asked => Some((place, wanted(*asked == Place::Asked, self.unverified))),
        }
    }

    fn take_out(&mut self, place: usize) {
        match std::mem::replace(&mut self.places[place], Place::Left) {
            Place::Waiting => self.waiting -= 1,
            Place::Asked => self.asked -= 1,
            Place::Kept => self.kept.retain(|(kept, _)| *kept as usize != place),
            Place::Left => {}
        }
        if self.waiting + self.asked == 0 {
            // No reply is to come whose turn they could wait for.
            self.release();
        }
    }

    /// What is kept is to be read again.
    fn release(&mut self) {
        for (kept, _) in std::mem::take(&mut self.kept) {
            self.places[kept as usize] = Place::Waiting;
            self.waiting += 1;
        }
        (self.next, self.known) = (0, 0);
    }

    /// What is left of it and is not among `names`, which are sorted.
    fn without(&self, names: &[&str]) -> Vec<NodePath> {
        let left = (0..self.places.len()).filter(|place| self.places[*place] != Place::Left);
        let unlisted =
            left.map(|place| self.names.get(place)).filter(|name| names.binary_search(name).is_err());
        unlisted.map(|name| self.parent.absolute(name)).collect()
    }

    /// The next places that wait, which are asked for from now on.
    fn take_in_order(&mut self, most: usize, room: Room) -> Vec<u32> {
        let mut places = Vec::with_capacity(most.min(self.waiting));
        let mut request_bytes = 0;
        while places.len() < most && request_bytes < room.request_bytes && self.next < self.places.len() {
            if self.places[self.next] == Place::Waiting {
                self.places[self.next] = Place::Asked;
                places.push(self.next as u32);
                request_bytes += self.request_bytes(self.next, room);
            }
            self.next += 1;
        }
        self.note_asked(places.len());
        places
    }

    /// Places that wait, chosen at random, which are asked for from now on.
    fn take_at_random(&mut self, most: usize, room: Room, rng: &mut Rng) -> Vec<u32> {
        let mut places = Vec::with_capacity(most);
        let mut request_bytes = 0;
        while places.len() < most.min(self.waiting) && request_bytes < room.request_bytes {
            let from = rng.usize(..self.places.len());
            // Few are out of the list, so that the next that waits is near.
            let behind =
                (from..self.places.len()).chain(0..from).find(|at| self.places[*at] == Place::Waiting);
            let Some(place) = behind else { break };
            self.places[place] = Place::Asked;
            places.push(place as u32);
            request_bytes += self.request_bytes(place, room);
        }
        self.note_asked(places.len());
        places.sort_unstable();
        places
    }

    /// What the read of a place takes in a request.
    fn request_bytes(&self, place: usize, room: Room) -> usize {
        self.parent.child_len(self.names.get(place).len()) + room.read_overhead
    }

    fn note_asked(&mut self, count: usize) {
        self.waiting -= count;
        self.asked += count;
    }

    /// Places of the list were answered. Returns the nodes whose turn it is, in order; they have left.
    fn arrived<'r>(&mut self, answer: &Answer<'r>) -> Vec<(u32, Arrived<'r>)> {
        if self.of != answer.of && !planted::is(Defect::KeptOfAnotherParent) {
            self.release();
            self.of = answer.of;
        }
        let read = &answer.read;
        for (place, _) in read {
            self.places[*place as usize] = Place::Kept;
        }
        answer.proof.iter().for_each(|bytes| self.mean.add(*bytes, usize::MAX));
        self.asked -= read.len();
        self.sizes.learn(answer.answered, answer.largest);
        self.proven += if answer.is_proof { answer.answered } else { answer.answered.div_ceil(4) };
        while self.places.get(self.known).is_some_and(|place| matches!(place, Place::Kept | Place::Left)) {
            self.known += 1;
        }
        let is_due = |place: &u32| (*place as usize) < self.known;
        let turn = self.kept.partition_point(|(place, _)| is_due(place));
        let behind = self.kept.split_off(turn);
        let kept = std::mem::replace(&mut self.kept, behind);
        let (due, early) = read.split_at(read.partition_point(|(place, _)| is_due(place)));
        let mut all: Vec<_> = due.iter().map(|(place, node)| (*place, Arrived::Now(*node))).collect();
        if !kept.is_empty() {
            all.extend(kept.into_iter().map(|(place, node)| (place, Arrived::Earlier(node))));
            all.sort_unstable_by_key(|(place, _)| *place);
        }
        if !early.is_empty() {
            self.kept.extend(early.iter().map(|(place, node)| (*place, node.to_node())));
            self.kept.sort_unstable_by_key(|(place, _)| *place);
        }
        for (place, _) in &all {
            self.places[*place as usize] = Place::Left;
        }
        all
    }
}

/// What was answered of some places of a list.
pub(super) struct Answer<'r> {
    /// The czxid of the node that is the parent now.
    pub of: Zxid,
    /// Nodes of which nothing was known, in order.
    pub read: Vec<(u32, NodeRef<'r>)>,
    /// How many were answered at all, be it that there is nothing.
    pub answered: usize,
    /// The most data that one of them had.
    pub largest: usize,
    /// Nothing was known of what their siblings are like.
    pub is_proof: bool,
    /// If so, how much data the server has sent of each that was read.
    pub proof: Vec<usize>,
}

/// A node of a list whose turn has come.
pub(super) enum Arrived<'r> {
    /// In the reply that is handled.
    Now(NodeRef<'r>),
    Earlier(Node),
}

impl Arrived<'_> {
    pub(super) fn node(&self) -> NodeRef<'_> {
        match self {
            Arrived::Now(node) => *node,
            Arrived::Earlier(node) => node.lend(),
        }
    }
}

/// How much may be asked for: each of these bounds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub reads: usize,
    /// Of replies, and what a result takes beside the data.
    pub bytes: usize,
    pub result_overhead: usize,
    /// Of requests, and what a read takes there beside the path.
    pub request_bytes: usize,
    pub read_overhead: usize,
}

impl Room {
    /// How many nodes of so much data each fit; one does in any case.
    fn nodes(&self, data: usize) -> usize {
        self.reads.min((self.bytes / (self.result_overhead + data)).max(1))
    }
}

/// All runs.
#[derive(Default)]
pub(super) struct Runs {
    by_parent: HashMap<NodePath, Run>,
    /// The lists that are to be proven, and those that are, in the order in which they came to it.
    unproven: VecDeque<NodePath>,
    proven: VecDeque<NodePath>,
    /// Names in all of them that wait, and that are in a run at all.
    waiting: usize,
    left: usize,
    /// That of the last proofs, of whatever list.
    mean: Mean,
}

impl Runs {
    pub(super) fn is_empty(&self) -> bool {
        self.by_parent.is_empty()
    }

    /// How many names are in a run.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether there is a run of this node's children.
    pub(super) fn has(&self, parent: &NodePath) -> bool {
        self.by_parent.contains_key(parent)
    }

    /// A list has named these, and nothing else is known of them. There must be no run of this node's children.
    pub(super) fn insert(&mut self, parent: &NodePath, of: Zxid, names: Names) {
        let run = Run::new(parent.clone(), of, names);
        self.waiting += run.waiting;
        self.left += run.left();
        self.by_parent.insert(parent.clone(), run);
        self.change(parent.as_str(), |_| {});
    }

    /// What the run that `path` is in says of it.
    pub(super) fn get(&self, path: &str) -> Option<Want> {
        let (parent, name) = split(path)?;
        self.by_parent.get(parent)?.want(name).map(|(_, want)| want)
    }

    /// The path is a want of its own from now on, and begins with this.
    pub(super) fn take_out(&mut self, path: &str) -> Option<Want> {
        let (parent, name) = split(path)?;
        let (place, want) = self.by_parent.get(parent)?.want(name)?;
        self.change(parent, |run| run.take_out(place));
        Some(want)
    }

    /// Whether a planted defect leaves `path` as it was read, whatever was notified.
    pub(super) fn is_kept_by_defect(&self, path: &str) -> bool {
        let is_kept = |(parent, name): (&str, &str)| {
            let run = self.by_parent.get(parent)?;
            Some(run.places[run.names.find(name)?] == Place::Kept)
        };
        planted::is(Defect::KeptThoughNotified) && split(path).and_then(is_kept) == Some(true)
    }

    /// All that wait, if they are no more than `most`: they are wants of their own from now on.
    pub(super) fn take_apart(&mut self, most: usize) -> Vec<(NodePath, Want)> {
        let mut apart = Vec::new();
        if (1..=most).contains(&self.waiting) {
            let mut parents: Vec<NodePath> = self.by_parent.keys().cloned().collect();
            parents.sort_unstable();
            for parent in parents {
                let Some(run) = self.by_parent.get(&parent) else { continue };
                let waiting = (0..run.places.len()).filter(|place| run.places[*place] == Place::Waiting);
                let names: Vec<String> = waiting.map(|place| run.names.get(place).to_owned()).collect();
                for name in names {
                    let path = parent.absolute(&name);
                    apart.extend(self.take_out(path.as_str()).map(|want| (path, want)));
                }
            }
        }
        apart
    }

    /// The connection is gone: nothing is in flight, and what was kept for its turn is of the past.
    pub(super) fn restart(&mut self) {
        let mut parents: Vec<NodePath> = self.by_parent.keys().cloned().collect();
        // Parents first.
        parents.sort_unstable();
        (self.unproven, self.proven) = (VecDeque::new(), VecDeque::new());
        self.mean = Mean::default();
        for parent in parents {
            self.change(parent.as_str(), Run::restart);
        }
    }

    /// Some names of a list that is proven, which are in flight from now on, and how much data each is taken to have.
    pub(super) fn take_proven(&mut self, room: Room) -> Option<(Siblings, usize)> {
        for _ in 0..self.proven.len() {
            let parent = self.proven.pop_front()?;
            let spread = SPREAD.saturating_mul(self.mean.bytes);
            let mut taken = None;
            self.change(parent.as_str(), |run| {
                run.queued = false;
                // As the last were, or as they are on average; the more is known of the list, the less others say of it.
                let data =
                    run.sizes.expected().max(run.mean.bytes).max(spread / (1 + run.proven / SPOKEN_FOR));
                let bound = match run.places.len() {
                    0..=SHORT => usize::MAX,
                    _ => (PROVEN_BY_ONE * run.proven).saturating_sub(run.asked),
                };
                let places = run.take_in_order(room.nodes(data).min(bound), room);
                taken = Some((Siblings { parent: parent.clone(), names: run.names.clone(), places }, data));
            });
            if let Some(taken) = taken.filter(|(siblings, _)| !siblings.places.is_empty()) {
                stay_in_front(&mut self.proven, &parent);
                return Some(taken);
            }
        }
        None
    }

    /// Some names of a list that is not proven, which are in flight from now on; they are taken to have so much `data`
    /// each. If all that wait are no more than `few`, they need no proof.
    pub(super) fn take_unproven(
        &mut self,
        room: Room,
        data: usize,
        few: usize,
        rng: &mut Rng,
    ) -> Option<Siblings> {
        let needs_proof = self.waiting > few;
        while let Some(parent) = self.unproven.pop_front() {
            let mut taken = None;
            self.change(parent.as_str(), |run| {
                run.queued = false;
                let most = room.nodes(data);
                let places = if needs_proof {
                    run.take_at_random(most.min(run.to_prove), room, rng)
                } else {
                    run.take_in_order(most, room)
                };
                run.to_prove = run.to_prove.saturating_sub(if needs_proof { places.len() } else { 0 });
                taken = Some(Siblings { parent: parent.clone(), names: run.names.clone(), places });
            });
            if let Some(siblings) = taken.filter(|siblings| !siblings.places.is_empty()) {
                stay_in_front(&mut self.unproven, &parent);
                return Some(siblings);
            }
        }
        None
    }

    /// Tells of places in a list whether they are asked for, and nothing has been learnt of them since.
    pub(super) fn asked_of(&self, siblings: &Siblings) -> impl Fn(u32) -> bool {
        let run = self.by_parent.get(&siblings.parent);
        let run = run.filter(|run| Arc::ptr_eq(&run.names, &siblings.names));
        move |place| run.is_some_and(|run| run.places.get(place as usize) == Some(&Place::Asked))
    }

    /// Places that were asked for were answered. Returns the nodes whose turn it is to go into the tree, in order: they are
    /// in no run any more.
    pub(super) fn arrived<'r>(
        &mut self,
        siblings: &Siblings,
        answer: &Answer<'r>,
    ) -> Vec<(u32, Arrived<'r>)> {
        answer.proof.iter().for_each(|bytes| self.mean.add(*bytes, REMEMBERED));
        let mut due = Vec::new();
        self.change(siblings.parent.as_str(), |run| {
            if Arc::ptr_eq(&run.names, &siblings.names) {
                due = run.arrived(answer);
            }
        });
        due
    }

    /// What is left of the run of this node's children and is not among `names`, which are sorted: a newer list lacks it.
    pub(super) fn without(&self, parent: &NodePath, names: &[&str]) -> Vec<NodePath> {
        self.by_parent.get(parent).map(|run| run.without(names)).unwrap_or_default()
    }

    /// The session may not read the node any more: what was kept of its children is to be read again.
    pub(super) fn release(&mut self, parent: &NodePath) {
        self.change(parent.as_str(), Run::release);
    }

    /// Changes a run, counts what has become of it, and sees to it that its turn comes, or that it goes.
    fn change(&mut self, parent: &str, change: impl FnOnce(&mut Run)) {
        let Some(run) = self.by_parent.get_mut(parent) else { return };
        let (waiting, left) = (run.waiting, run.left());
        change(run);
        self.waiting = self.waiting - waiting + run.waiting;
        self.left = self.left - left + run.left();
        if run.left() == 0 {
            self.by_parent.remove(parent);
        } else if run.is_to_be_queued() {
            let queue = if run.is_proven() { &mut self.proven } else { &mut self.unproven };
            queue.push_back(run.parent.clone());
            run.queued = true;
        }
    }
}

/// A list that has more is gone on with.
fn stay_in_front(queue: &mut VecDeque<NodePath>, parent: &NodePath) {
    if queue.back() == Some(parent) {
        queue.rotate_right(1);
    }
}

/// The parent's path and the name.
fn split(path: &str) -> Option<(&str, &str)> {
    match path.rsplit_once('/')? {
        (_, "") => None,
        ("", name) => Some(("/", name)),
        split => Some(split),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::Stat;

    const OF: Zxid = Zxid(3);

    const ROOM: Room =
        Room { reads: 1000, bytes: 1 << 20, result_overhead: 100, request_bytes: 1 << 19, read_overhead: 14 };

    fn parent() -> NodePath {
        NodePath::new("/r/p").unwrap()
    }

    /// A run of so many names, "0000" and so on.
    fn runs(names: usize) -> Runs {
        let mut runs = Runs::default();
        add(&mut runs, &parent(), names);
        runs
    }

    fn add(runs: &mut Runs, parent: &NodePath, names: usize) {
        let names: Vec<String> = (0..names).map(|n| format!("{n:04}")).collect();
        runs.insert(parent, OF, names_of(&names));
    }

    fn names_of(names: &[String]) -> Names {
        Names::of_sorted(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn proof(runs: &mut Runs) -> Option<Siblings> {
        runs.take_unproven(Room { reads: 120, ..ROOM }, 0, 10, &mut Rng::with_seed(7))
    }

    /// Answers with nodes of so much data; what goes into the tree.
    fn answer(runs: &mut Runs, siblings: &Siblings, data: usize, is_proof: bool) -> Vec<u32> {
        answer_of(OF, runs, siblings, data, is_proof)
    }

    fn answer_of(of: Zxid, runs: &mut Runs, siblings: &Siblings, largest: usize, is_proof: bool) -> Vec<u32> {
        let data = vec![0; largest];
        let is_asked = runs.asked_of(siblings);
        let asked: Vec<u32> = siblings.places.iter().copied().filter(|place| is_asked(*place)).collect();
        drop(is_asked);
        let proof = if is_proof { vec![largest; asked.len()] } else { Vec::new() };
        let read = asked.into_iter().map(|place| (place, NodeRef::new(&data, Stat::default()))).collect();
        let answer = Answer { of, read, answered: siblings.places.len(), largest, is_proof, proof };
        runs.arrived(siblings, &answer).into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn a_list_is_proven_at_random_places_and_goes_into_the_tree_in_order() {
        for (names, proven_by) in [(100, 1), (500, 16), (3000, 64)] {
            let mut runs = runs(names);
            let first = proof(&mut runs).expect("a proof");
            assert_eq!(
                (first.places.len(), runs.waiting(), runs.len()),
                (proven_by, names - proven_by, names)
            );
            assert!(first.places.is_sorted() && first.places.last() > Some(&(proven_by as u32)));
            assert!(proof(&mut runs).is_none() && runs.take_proven(ROOM).is_none(), "nothing is proven yet");
            assert_eq!(answer(&mut runs, &first, 10, true), [0; 0], "it waits for its turn");
            let mut known = Vec::new();
            while let Some((siblings, data)) = runs.take_proven(ROOM) {
                assert!(data >= 10 && siblings.places.len() <= (PROVEN_BY_ONE * names).min(1000));
                known.extend(answer(&mut runs, &siblings, 10, false));
            }
            assert_eq!(known, (0..names as u32).collect::<Vec<_>>());
            assert!(runs.is_empty() && (runs.len(), runs.waiting()) == (0, 0));
        }
    }

    #[test]
    fn a_proof_speaks_for_seventeen_siblings_at_a_time_in_a_long_list() {
        let mut runs = runs(1000);
        let first = proof(&mut runs).expect("a proof");
        answer(&mut runs, &first, 10, true);
        let (siblings, _) = runs.take_proven(ROOM).expect("siblings");
        assert_eq!(siblings.places.len(), 16 * PROVEN_BY_ONE);
        assert!(runs.take_proven(ROOM).is_none(), "until these have come");
        answer(&mut runs, &siblings, 10, false);
        let (more, _) = runs.take_proven(ROOM).expect("more");
        assert!(more.places.len() > siblings.places.len());
    }

    #[test]
    fn large_siblings_make_small_batches_in_their_list_and_fewer_in_others() {
        let mut runs = runs(100);
        let (small, large) = (NodePath::new("/r/a").unwrap(), parent());
        add(&mut runs, &small, 100);
        for _ in 0..2 {
            let first = proof(&mut runs).expect("a proof");
            let data = if first.parent == large { 1 << 19 } else { 0 };
            answer(&mut runs, &first, data, true);
        }
        let mut most = HashMap::new();
        while let Some((siblings, data)) = runs.take_proven(ROOM) {
            most.entry(siblings.parent.clone()).or_insert((siblings.places.len(), data));
            answer(&mut runs, &siblings, 0, false);
        }
        assert_eq!(most[&large], (1, 1 << 20), "four times the mean of both proofs");
        assert_eq!(most[&small], (1, 1 << 20));
    }

    #[test]
    fn what_is_learnt_of_a_name_takes_it_out_and_nothing_waits_for_ever() {
        let mut runs = runs(100);
        let first = proof(&mut runs).expect("a proof");
        answer(&mut runs, &first, 0, true);
        let kept = first.paths().next().expect("one is kept");
        let want = runs.get(kept.as_str()).expect("a name of the list");
        assert_eq!(want, wanted(false, false), "read, and not known for that");
        let (siblings, _) = runs.take_proven(ROOM).expect("all the others");
        assert_eq!(siblings.places.len(), 99);
        for path in siblings.paths() {
            assert_eq!(runs.take_out(path.as_str()), Some(wanted(true, false)));
            assert_eq!(runs.take_out(path.as_str()), None);
        }
        assert_eq!(answer(&mut runs, &siblings, 0, false), [0; 0], "nobody wants the answer any more");
        // No reply will come behind which the kept one could go into the tree: it is read again.
        let (again, _) = runs.take_proven(ROOM).expect("the kept one");
        assert_eq!(again.paths().collect::<Vec<_>>(), [kept]);
        assert_eq!(answer(&mut runs, &again, 0, false), again.places);
        assert!(runs.is_empty());
    }

    #[test]
    fn a_proof_that_is_not_there_is_taken_elsewhere() {
        let mut runs = runs(100);
        for _ in 0..100 {
            let first = proof(&mut runs).or_else(|| {
                runs.take_unproven(ROOM, 0, 1000, &mut Rng::with_seed(1)) // the last few need none
            });
            for path in first.expect("a proof").paths() {
                runs.take_out(path.as_str());
            }
            if runs.is_empty() {
                return;
            }
        }
        panic!("{} are left", runs.len());
    }

    #[test]
    fn behind_a_lost_connection_all_is_read_again_and_is_of_an_earlier_one() {
        let mut runs = runs(300);
        let first = proof(&mut runs).expect("a proof");
        answer(&mut runs, &first, 0, true);
        let (siblings, _) = runs.take_proven(ROOM).expect("siblings");
        runs.restart();
        assert_eq!((runs.waiting(), runs.len()), (300, 300));
        assert_eq!(runs.get("/r/p/0000"), Some(wanted(false, true)));
        assert_eq!(answer(&mut runs, &siblings, 0, false), [0; 0], "an answer from before");
        assert!(runs.take_proven(ROOM).is_none(), "the proof does not count any more");
        assert!(proof(&mut runs).is_some());
    }

    #[test]
    fn what_was_kept_is_read_again_where_its_parent_is_another_one_or_opaque() {
        for is_opaque in [false, true] {
            let mut runs = runs(300);
            let first = proof(&mut runs).expect("a proof");
            answer(&mut runs, &first, 0, true);
            let (siblings, _) = runs.take_proven(ROOM).expect("siblings");
            if is_opaque {
                runs.release(&parent());
            }
            let other = if is_opaque { OF } else { Zxid(4) };
            let due = answer_of(other, &mut runs, &siblings, 0, false);
            assert!(due.len() < siblings.places.len(), "those behind the first that was kept wait");
            assert!(first.places.iter().all(|place| !due.contains(place)), "{due:?}");
            assert_eq!(runs.waiting(), 300 - siblings.places.len(), "what was kept waits again");
        }
    }

    #[test]
    fn the_longer_a_large_node_stands_alone_the_less_it_says() {
        let mut runs = runs(3000);
        let first = proof(&mut runs).expect("a proof");
        answer(&mut runs, &first, 0, true);
        let (siblings, _) = runs.take_proven(ROOM).expect("siblings");
        answer(&mut runs, &siblings, 1 << 20, false);
        let mut counts = Vec::new();
        while let Some((siblings, _)) = runs.take_proven(ROOM) {
            counts.push(siblings.places.len());
            answer(&mut runs, &siblings, 10, false);
        }
        // No more than one in a batch, if there is one in as many as came without one.
        assert!(counts.windows(2).all(|pair| pair[1] <= 2 * pair[0]), "{counts:?}");
        assert!(counts[0] == 1 && counts.len() < 16, "{counts:?}");
    }

    #[test]
    fn few_that_wait_are_taken_apart_and_need_no_proof() {
        let mut runs = runs(5);
        assert_eq!(runs.take_apart(4), []);
        let apart = runs.take_apart(5);
        assert_eq!(apart.len(), 5);
        assert!(apart.is_sorted_by_key(|(path, _)| path.clone()) && runs.is_empty());
        add(&mut runs, &parent(), 10);
        let all = proof(&mut runs).expect("no more than few");
        assert_eq!(all.places, (0..10).collect::<Vec<_>>());
        assert_eq!(answer(&mut runs, &all, 0, true), all.places);
    }

    #[test]
    fn a_request_is_no_longer_than_it_may_be() {
        let mut runs = Runs::default();
        let names: Vec<String> = (0..500).map(|n| format!("{n:0>3000}")).collect();
        runs.insert(&parent(), OF, names_of(&names));
        let small = Room { request_bytes: 10_000, ..ROOM };
        let first = runs.take_unproven(small, 0, 10, &mut Rng::with_seed(7)).expect("a proof");
        assert_eq!(first.places.len(), 4);
        answer(&mut runs, &first, 0, true);
        let rest = runs.take_unproven(ROOM, 0, 10, &mut Rng::with_seed(7)).expect("the rest of it");
        answer(&mut runs, &rest, 0, true);
        let (siblings, _) = runs.take_proven(ROOM).expect("siblings");
        assert!(siblings.places.len() * 3019 < ROOM.request_bytes + 3019, "{}", siblings.places.len());
    }

    #[test]
    fn what_was_refused_says_nothing_of_sizes() {
        let mut sizes = Sizes::default();
        sizes.learn(1, 200_000);
        sizes.learn(1000, 60_000);
        let expected = sizes.expected();
        assert!(expected >= 60_000);
        for _ in 0..9 {
            sizes.learn(0, 0);
        }
        assert_eq!(sizes.expected(), expected);
    }
}
