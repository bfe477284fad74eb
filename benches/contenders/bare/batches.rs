//! Which reads go together, and how many are in flight.

use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Data,
    Children,
}

/// A read.
#[derive(Debug)]
pub struct Want {
    pub path: String,
    pub what: What,
    /// Which list has named it, where that counts.
    pub list: usize,
    /// Nothing is known of what its siblings are like.
    pub is_proof: bool,
    /// Its children are asked for as well.
    pub with_children: bool,
}

impl Want {
    pub fn data(path: String, list: usize) -> Want {
        Want { path, what: What::Data, list, is_proof: false, with_children: false }
    }

    pub fn children(path: String) -> Want {
        Want { path, what: What::Children, list: NO_LIST, is_proof: false, with_children: false }
    }
}

const NO_LIST: usize = usize::MAX;

/// Reads that are asked for together.
#[derive(Default)]
pub struct Batch {
    pub wants: Vec<Want>,
    /// About how many bytes of reply will come.
    pub expected: usize,
    /// How many nodes are read of whose siblings nothing is known.
    pub unproven: usize,
}

/// What is left to be read, and how it is asked for.
pub trait Batches {
    /// The next batch, if there is one and it may be in flight with the others.
    fn next(&mut self) -> Option<Batch>;
    /// The data of a node came, so many bytes; it has so many children.
    fn found(&mut self, want: &Want, data: usize, children: usize);
    /// The names of a node's children came.
    fn listed(&mut self, want: &Want, names: &[&str]);
    /// All of a batch has been told of.
    fn answered(&mut self, batch: &Batch);
}

/// 256 reads, four times at once, in the order in which they were found.
pub struct Plain {
    queue: VecDeque<Want>,
    in_flight: usize,
}

impl Plain {
    const MOST_READS: usize = 256;
    const MOST_IN_FLIGHT: usize = 4;

    pub fn new(root: &str) -> Plain {
        Plain { queue: VecDeque::from([Want::data(root.to_owned(), NO_LIST)]), in_flight: 0 }
    }
}

impl Batches for Plain {
    fn next(&mut self) -> Option<Batch> {
        if self.in_flight == Plain::MOST_IN_FLIGHT || self.queue.is_empty() {
            return None;
        }
        self.in_flight += 1;
        let wants = self.queue.drain(..self.queue.len().min(Plain::MOST_READS)).collect();
        Some(Batch { wants, ..Batch::default() })
    }

    fn found(&mut self, want: &Want, _: usize, children: usize) {
        if children > 0 {
            self.queue.push_back(Want::children(want.path.clone()));
        }
    }

    fn listed(&mut self, want: &Want, names: &[&str]) {
        let path = &want.path;
        self.queue.extend(names.iter().map(|name| Want::data(format!("{path}/{name}"), NO_LIST)));
    }

    fn answered(&mut self, _: &Batch) {
        self.in_flight -= 1;
    }
}
