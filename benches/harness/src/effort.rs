//! How much is done for a figure.

use std::time::Duration;

/// How hard a measurement tries.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// After so long a contender need not do more than two rounds, and after three times as long than one.
    pub patience: Duration,
    /// How long a program may take to get warm.
    pub warm_up: Duration,
    /// How long each read is repeated.
    pub read: Duration,
}

impl Effort {
    /// With so many rounds at most.
    pub fn at_most(self, rounds: usize) -> Effort {
        Effort { rounds: self.rounds.min(rounds), ..self }
    }

    /// Whether a contender that has done so many rounds, in that time, has done enough.
    pub fn is_over(&self, rounds: usize, spent: Duration) -> bool {
        rounds >= self.rounds
            || rounds >= 2 && spent > self.patience
            || rounds >= 1 && spent > 3 * self.patience
    }
}
