//! How fast what is counted grows, second by second, for a minute.

use std::time::Duration;

/// How many seconds are kept.
const MINUTE: usize = 60;

/// What is counted.
pub const NAMES: [&str; 5] = ["events", "changes", "reads", "batches", "cuts"];

/// How much of each was counted so far.
pub type Counts = [u64; NAMES.len()];

#[derive(Default)]
pub struct Rates {
    /// The counts of the last second's end.
    sampled: Option<(Duration, Counts)>,
    /// How many seconds there were.
    seconds: usize,
    /// Each second's, at its number modulo [`MINUTE`].
    rates: Vec<[f64; NAMES.len()]>,
}

impl Rates {
    /// Returns whether a second has gone since the last time that it did.
    pub fn look(&mut self, counts: Counts, now: Duration) -> bool {
        if let Some((at, before)) = self.sampled {
            let passed = now.saturating_sub(at);
            if passed < Duration::from_secs(1) {
                return false;
            }
            let rate =
                |which: usize| counts[which].saturating_sub(before[which]) as f64 / passed.as_secs_f64();
            let rates = std::array::from_fn(rate);
            match self.rates.get_mut(self.seconds % MINUTE) {
                Some(place) => *place = rates,
                None => self.rates.push(rates),
            }
            self.seconds += 1;
        }
        self.sampled = Some((now, counts));
        true
    }

    /// That of the last second.
    pub fn last(&self, which: usize) -> f64 {
        self.seconds.checked_sub(1).map_or(0.0, |last| self.of(last, which))
    }

    fn of(&self, second: usize, which: usize) -> f64 {
        self.rates[second % MINUTE][which]
    }

    /// The last minute as levels from 0, for nothing at all, to 7, for the most, in so many columns. Each stands for the most
    /// of some seconds, which stay together as they move.
    pub fn levels(&self, which: usize, columns: usize) -> Vec<usize> {
        if columns == 0 {
            return Vec::new();
        }
        let each = MINUTE.div_ceil(columns);
        let first = self.seconds.saturating_sub(MINUTE);
        let most = |seconds: std::ops::Range<usize>| {
            seconds.map(|second| self.of(second, which)).fold(0.0, f64::max)
        };
        let highest = most(first..self.seconds).max(1.0);
        let groups = first.div_ceil(each)..self.seconds.div_ceil(each);
        let group = |group: usize| most(group * each..self.seconds.min((group + 1) * each));
        groups.map(|number| ((group(number) / highest * 7.0).ceil() as usize).min(7)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_rate_and_the_last_minute_is_kept() {
        let mut rates = Rates::default();
        let second = Duration::from_secs(1);
        assert!(rates.look([0; 5], Duration::ZERO) && !rates.look([9; 5], second / 2));
        assert_eq!((rates.last(0), rates.levels(0, 10)), (0.0, vec![]));
        assert!(rates.look([14, 0, 0, 0, 0], second * 2));
        assert_eq!((rates.last(0), rates.last(1)), (7.0, 0.0));
        assert_eq!(
            (rates.levels(0, 60), rates.levels(1, 60), rates.levels(0, 0)),
            (vec![7], vec![0], vec![])
        );
        for n in 3..100 {
            rates.look([14 + n, 0, 0, 0, 0], second * n as u32);
        }
        assert_eq!((rates.last(0), rates.levels(0, 60).len(), rates.levels(0, 20).len()), (1.0, 60, 20));
        assert_eq!(rates.levels(0, 60), vec![7; 60]);
    }

    #[test]
    fn a_count_that_begins_anew_is_no_rate_below_nothing() {
        let mut rates = Rates::default();
        rates.look([100; 5], Duration::ZERO);
        rates.look([0; 5], Duration::from_secs(1));
        assert_eq!(rates.last(2), 0.0);
    }
}
