//! What has happened lately: the last changes, and how the tree stood in each of the last seconds.
//!
//! All who follow read from the same board, each from where they are. So it has a bound whoever is slow, and who has missed
//! something is told how much.

use std::collections::VecDeque;

/// So many changes are there,
const MOST_CHANGES: usize = 1000;
/// with no more bytes of paths,
const MOST_BYTES: usize = 1 << 20;
/// and so many seconds.
pub const MOST_SAMPLES: usize = 600;

/// A node that came, changed or went.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub kind: &'static str,
    pub path: String,
    pub zxid: i64,
    /// Of its data.
    pub bytes: Option<usize>,
    /// In ms since 1970, as this machine says.
    pub at: u64,
}

/// A second.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it was over, in ms since 1970.
    pub at: u64,
    /// Changes in it.
    pub changes: u64,
    /// How old the tree was at its end, in ms.
    pub age: Option<u64>,
    pub nodes: usize,
    pub state: &'static str,
}

#[derive(Default)]
pub struct Board {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Changes so far, those that are gone from here included.
    told: u64,
    /// Of these, at the end of the last second.
    counted: u64,
    samples: VecDeque<Sample>,
    /// Seconds so far.
    seconds: u64,
}

impl Board {
    pub fn change(&mut self, change: Change) {
        self.bytes += change.path.len();
        self.changes.push_back(change);
        self.told += 1;
        while self.changes.len() > MOST_CHANGES || self.bytes > MOST_BYTES {
            let Some(gone) = self.changes.pop_front() else { break };
            self.bytes -= gone.path.len();
        }
    }

    /// Ends a second; its changes are counted here.
    pub fn sample(&mut self, mut sample: Sample) {
        sample.changes = self.told - self.counted;
        self.counted = self.told;
        self.seconds += 1;
        self.samples.push_back(sample);
        if self.samples.len() > MOST_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Changes so far: whoever begins to follow begins there.
    pub fn told(&self) -> u64 {
        self.told
    }

    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// The newest changes behind the first `after` of all, at most `most`; and how many are left out before them.
    pub fn changes_after(&self, after: u64, most: usize) -> (u64, Vec<&Change>) {
        let since = self.told.saturating_sub(after);
        let there = self.changes.len().min(most).min(usize::try_from(since).unwrap_or(usize::MAX));
        let changes: Vec<_> = self.changes.iter().skip(self.changes.len() - there).collect();
        (since - there as u64, changes)
    }

    /// The seconds behind the first `after` of all, as far as they are there, and the number of each.
    pub fn samples_after(&self, after: u64) -> impl Iterator<Item = (u64, &Sample)> {
        let first = self.seconds - self.samples.len() as u64;
        (first..).zip(&self.samples).filter(move |(number, _)| *number >= after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str) -> Change {
        Change { kind: "added", path: path.to_owned(), zxid: 1, bytes: Some(0), at: 0 }
    }

    fn second() -> Sample {
        Sample { at: 0, changes: 0, age: None, nodes: 0, state: "IN_STEP" }
    }

    #[test]
    fn whoever_is_slow_is_told_the_newest_and_how_many_are_left_out() {
        let mut board = Board::default();
        assert_eq!(board.changes_after(0, 10), (0, Vec::new()));
        for n in 0..5 {
            board.change(change(&n.to_string()));
        }
        let paths = |found: &(u64, Vec<&Change>)| {
            (found.0, found.1.iter().map(|change| change.path.clone()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(paths(&board.changes_after(0, 10)), (0, "0 1 2 3 4".to_owned()));
        assert_eq!(paths(&board.changes_after(2, 10)), (0, "2 3 4".to_owned()));
        assert_eq!(paths(&board.changes_after(0, 2)), (3, "3 4".to_owned()));
        assert_eq!(paths(&board.changes_after(5, 10)), (0, String::new()));
        for n in 5..5 + MOST_CHANGES {
            board.change(change(&n.to_string()));
        }
        let (left_out, changes) = board.changes_after(0, usize::MAX);
        assert_eq!((left_out, changes.len()), (5, MOST_CHANGES));
    }

    #[test]
    fn long_paths_are_bounded_by_their_bytes() {
        let mut board = Board::default();
        let long = "x".repeat(MOST_BYTES / 4);
        for _ in 0..10 {
            board.change(change(&long));
        }
        assert_eq!((board.changes.len(), board.bytes), (4, 4 * long.len()));
        board.change(change(&"x".repeat(MOST_BYTES + 1)));
        assert_eq!((board.changes.len(), board.bytes), (0, 0));
        let (left_out, changes) = board.changes_after(10, 5);
        assert_eq!((left_out, changes.len()), (1, 0));
    }

    #[test]
    fn each_second_has_the_changes_that_were_in_it_and_the_last_minutes_stay() {
        let mut board = Board::default();
        board.change(change("a"));
        board.change(change("b"));
        board.sample(second());
        board.sample(second());
        board.change(change("c"));
        board.sample(second());
        let counts = |board: &Board, after| {
            board.samples_after(after).map(|(number, sample)| (number, sample.changes)).collect::<Vec<_>>()
        };
        assert_eq!(counts(&board, 0), [(0, 2), (1, 0), (2, 1)]);
        assert_eq!(counts(&board, 2), [(2, 1)]);
        assert_eq!(counts(&board, board.seconds()), []);
        for _ in 0..MOST_SAMPLES {
            board.sample(second());
        }
        assert_eq!(board.samples_after(0).map(|(number, _)| number).next(), Some(3));
        assert_eq!(board.samples_after(0).count(), MOST_SAMPLES);
    }
}
