//! Asking as libtreecache does, without keeping what comes.

use std::collections::VecDeque;

use crate::batches::{Batch, Batches, Want};

/// As libtreecache asks, but for what it does when a server answers slowly: a few nodes of each list, taken at random,
/// prove how large its others are; of those many are read at once.
pub struct Proven {
    /// Nodes whose lists are to be read, with their number of names.
    lists: VecDeque<(String, usize)>,
    /// The lists that were read, and of them those that are to be proven, and those that are.
    runs: Vec<Run>,
    to_be_proven: VecDeque<usize>,
    proven: VecDeque<usize>,
    /// Nodes of all lists that were not asked for.
    waiting: usize,
    /// Read as a proof: the mean of their data, and how many they are.
    mean: usize,
    proofs: usize,
    /// How much data a node is taken to have of which nothing is known; and of the reply that is being read, the most
    /// data and the number of nodes.
    guess: usize,
    largest: usize,
    nodes: usize,
    in_flight: InFlight,
    random: u64,
}

#[derive(Default)]
struct InFlight {
    batches: usize,
    reads: usize,
    bytes: usize,
    unproven: usize,
}

/// A list whose nodes are being read.
struct Run {
    /// Those that were not asked for have their paths.
    paths: Vec<Option<String>>,
    waiting: usize,
    /// None before it waits.
    next: usize,
    asked: usize,
    /// How many more are to be asked for as a proof.
    to_prove: usize,
    /// A quarter for each that was read, and a whole for each that was a proof.
    quarters: usize,
    largest: usize,
    is_queued: bool,
}

/// Bytes of a result besides the data, and of a name in a list.
const RESULT_BYTES: usize = 100;
const NAME_BYTES: usize = 32;
/// A list of so many names at most is proven by one node.
const SHORT_LIST: usize = 120;
const LONG_LIST: usize = 1000;
/// Over so many proofs the mean is taken.
const REMEMBERED: usize = 256;

impl Proven {
    const MOST_BATCHES: usize = 8;
    const MOST_READS_IN_FLIGHT: usize = 2048;
    const MOST_BYTES_IN_FLIGHT: usize = 4 << 20;
    const MOST_UNPROVEN_IN_FLIGHT: usize = 480;
    const MOST_READS: usize = 1000;
    const MOST_BYTES: usize = 1 << 20;
    const MOST_UNPROVEN: usize = 120;
    /// For lists: reads, of which eight names count as one, and bytes.
    const MOST_LISTED: usize = 256;
    const MOST_LIST_BYTES: usize = 256 << 10;
    /// If no more nodes than this are known of, they are listed without a look at whether they have children.
    const FEW: usize = 8;
    const SIBLINGS_BY_PROOF: usize = 17;
    /// How much larger than the mean a node is taken to be.
    const SPREAD: usize = 4;

    pub fn new(root: &str) -> Proven {
        let mut batches = Proven {
            lists: VecDeque::new(),
            runs: Vec::new(),
            to_be_proven: VecDeque::new(),
            proven: VecDeque::new(),
            waiting: 0,
            mean: 0,
            proofs: 0,
            guess: Proven::MOST_LIST_BYTES / 2,
            largest: 0,
            nodes: 0,
            in_flight: InFlight::default(),
            random: 0x9E37_79B9_7F4A_7C15,
        };
        batches.add(vec![Some(root.to_owned())]);
        batches
    }

    fn add(&mut self, paths: Vec<Option<String>>) {
        if paths.is_empty() {
            return;
        }
        self.waiting += paths.len();
        self.runs.push(Run::new(paths));
        self.queue(self.runs.len() - 1, false);
    }

    /// Sees to it that a list's turn comes, if there is something to be asked of it now.
    fn queue(&mut self, list: usize, in_front: bool) {
        let run = &mut self.runs[list];
        if run.is_queued || run.waiting == 0 || run.to_prove == 0 && run.quarters == 0 {
            return;
        }
        run.is_queued = true;
        let queue = if run.to_prove > 0 { &mut self.to_be_proven } else { &mut self.proven };
        queue.push_back(list);
        if in_front {
            queue.rotate_right(1);
        }
    }

    fn of_proven(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.proven.len() {
            let Some(list) = self.proven.pop_front() else { break };
            let run = &mut self.runs[list];
            run.is_queued = false;
            let node = RESULT_BYTES + run.largest.max(Proven::SPREAD * self.mean);
            let reads = Proven::MOST_READS - batch.wants.len();
            let room = (Proven::MOST_BYTES.saturating_sub(batch.expected) / node).max(1);
            let before = batch.wants.len();
            run.take_in_order(reads.min(room).min(run.may_be_asked()), list, &mut batch);
            let taken = batch.wants.len() - before;
            batch.expected += taken * node;
            self.queue(list, taken > 0);
            if batch.wants.len() >= Proven::MOST_READS || batch.expected >= Proven::MOST_BYTES {
                break;
            }
        }
        self.waiting -= batch.wants.len();
        batch
    }

    fn of_unproven(&mut self) -> Batch {
        let mut batch = Batch::default();
        let few = Proven::MOST_UNPROVEN_IN_FLIGHT - self.in_flight.unproven;
        let few = few.min(Proven::MOST_UNPROVEN);
        let node = RESULT_BYTES + self.guess;
        let room = few.min((Proven::MOST_LIST_BYTES / node).max(1));
        let (needs_proof, is_sparse) = (self.waiting > few, self.waiting <= Proven::FEW);
        while batch.wants.len() < room
            && let Some(list) = self.to_be_proven.pop_front()
        {
            let (run, most) = (&mut self.runs[list], room - batch.wants.len());
            run.is_queued = false;
            match needs_proof {
                true => run.take_at_random(most, list, &mut self.random, &mut batch),
                false => run.take_in_order(most, list, &mut batch),
            }
            self.queue(list, true);
        }
        batch.unproven = batch.wants.len();
        batch.expected = batch.unproven * node;
        batch.wants.iter_mut().for_each(|want| want.is_proof = !is_sparse);
        self.waiting -= batch.unproven;
        if is_sparse {
            batch.wants.iter_mut().for_each(|want| want.with_children = true);
            let lists: Vec<_> = batch.wants.iter().map(|want| Want::children(want.path.clone())).collect();
            batch.wants.extend(lists);
        }
        if batch.unproven < few {
            self.take_lists(&mut batch);
        }
        batch
    }

    fn take_lists(&mut self, batch: &mut Batch) {
        let mut reads = batch.wants.len();
        while reads < Proven::MOST_LISTED
            && batch.expected < Proven::MOST_LIST_BYTES
            && let Some((path, names)) = self.lists.pop_front()
        {
            reads += (names / 8).max(1);
            batch.expected += RESULT_BYTES + names * NAME_BYTES;
            batch.wants.push(Want::children(path));
        }
    }
}

impl Batches for Proven {
    fn next(&mut self) -> Option<Batch> {
        let InFlight { batches, reads, bytes, .. } = self.in_flight;
        if batches >= Proven::MOST_BATCHES
            || reads >= Proven::MOST_READS_IN_FLIGHT
            || bytes >= Proven::MOST_BYTES_IN_FLIGHT
        {
            return None;
        }
        let mut batch = self.of_proven();
        if batch.wants.is_empty() {
            batch = self.of_unproven();
        }
        if batch.wants.is_empty() {
            return None;
        }
        self.in_flight.batches += 1;
        self.in_flight.reads += batch.wants.len();
        self.in_flight.bytes += batch.expected;
        self.in_flight.unproven += batch.unproven;
        Some(batch)
    }

    fn found(&mut self, want: &Want, data: usize, children: usize) {
        let run = &mut self.runs[want.list];
        run.largest = run.largest.max(data);
        run.asked -= 1;
        run.quarters += if want.is_proof { 4 } else { 1 };
        if want.is_proof {
            self.proofs = (self.proofs + 1).min(REMEMBERED);
            self.mean = (self.mean * (self.proofs - 1) + data) / self.proofs;
        }
        (self.largest, self.nodes) = (self.largest.max(data), self.nodes + 1);
        self.queue(want.list, false);
        if children > 0 && !want.with_children {
            self.lists.push_back((want.path.clone(), children));
        }
    }

    fn listed(&mut self, want: &Want, names: &[&str]) {
        let path = &want.path;
        self.add(names.iter().map(|name| Some(format!("{path}/{name}"))).collect());
    }

    fn answered(&mut self, batch: &Batch) {
        self.in_flight.batches -= 1;
        self.in_flight.reads -= batch.wants.len();
        self.in_flight.bytes -= batch.expected;
        self.in_flight.unproven -= batch.unproven;
        if self.nodes > 0 {
            self.guess = self.largest.max(self.guess / (self.nodes + 1).min(4));
            (self.largest, self.nodes) = (0, 0);
        }
    }
}

impl Run {
    fn new(paths: Vec<Option<String>>) -> Run {
        let to_prove = match paths.len() {
            names if names <= SHORT_LIST => 1,
            names if names <= LONG_LIST => 16,
            _ => 64,
        };
        let waiting = paths.len();
        Run { paths, waiting, next: 0, asked: 0, to_prove, quarters: 0, largest: 0, is_queued: false }
    }

    /// How many more, now that it is proven.
    fn may_be_asked(&self) -> usize {
        match self.paths.len() {
            ..=SHORT_LIST => usize::MAX,
            _ => (Proven::SIBLINGS_BY_PROOF * self.quarters / 4).saturating_sub(self.asked),
        }
    }

    fn take_in_order(&mut self, most: usize, list: usize, batch: &mut Batch) {
        let before = self.waiting;
        while before - self.waiting < most && self.next < self.paths.len() {
            self.take(self.next, list, batch);
            self.next += 1;
        }
    }

    fn take_at_random(&mut self, most: usize, list: usize, random: &mut u64, batch: &mut Batch) {
        let most = most.min(self.to_prove).min(self.waiting);
        self.to_prove -= most;
        let left = self.waiting - most;
        while self.waiting > left {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            self.take((*random % self.paths.len() as u64) as usize, list, batch);
        }
    }

    /// Nothing, if it was asked for.
    fn take(&mut self, place: usize, list: usize, batch: &mut Batch) {
        if let Some(path) = self.paths[place].take() {
            self.waiting -= 1;
            self.asked += 1;
            batch.wants.push(Want::data(path, list));
        }
    }
}
