//! Which server next, and when: a shuffled round through the servers, with full-jitter backoff.

use std::time::Duration;

use super::Host;
use crate::planted::{self, Defect};

/// How far attempts to connect again are spread. Users cannot set this: what is right depends on all clients of an
/// ensemble together, and was found by simulation (`docs/scaling.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest that the delay before the first retry can be; it doubles with every retry.
    pub first: Duration,
    /// The longest delay of all.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(2) }
    }
}

pub(super) struct Servers {
    hosts: Vec<Host>,
    bounds: Backoff,
    next: usize,
    /// Attempts since a server last proved to be of use.
    attempts: u32,
    rng: fastrand::Rng,
}

impl Servers {
    pub(super) fn new(mut hosts: Vec<Host>, bounds: Backoff, mut rng: fastrand::Rng) -> Servers {
        rng.shuffle(&mut hosts);
        Servers { hosts, bounds, next: 0, attempts: 0, rng }
    }

    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn next(&mut self) -> Host {
        let host = self.hosts[self.next].clone();
        self.next = (self.next + 1) % self.hosts.len();
        host
    }

    /// The server that was next last is next once more.
    pub(super) fn again(&mut self) {
        self.next = (self.next + self.hosts.len() - 1) % self.hosts.len();
    }

    /// How long to wait before the next attempt: anything between nothing and a bound that doubles each time, so
    /// that clients that lost their server together do not come back together.
    pub(super) fn backoff(&mut self) -> Duration {
        let Backoff { first, longest } = self.bounds;
        let bound = first.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        if planted::is(Defect::NoBackoff) {
            return Duration::ZERO;
        }
        bound.mul_f64(self.rng.f64())
    }

    /// The server that was connected proved to be of use.
    pub(super) fn reset_backoff(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_between_nothing_and_a_growing_bound() {
        let host = Host { name: "a".to_owned(), port: 1 };
        let Backoff { first, longest } = Backoff::default();
        let mut servers = Servers::new(vec![host], Backoff::default(), fastrand::Rng::with_seed(1));
        for attempt in 0..20u32 {
            let delay = servers.backoff();
            assert!(delay <= first.saturating_mul(1 << attempt.min(16)).min(longest));
        }
        let late: Vec<_> = (0..100).map(|_| servers.backoff()).collect();
        assert!(
            late.iter().any(|delay| *delay < longest / 4)
                && late.iter().any(|delay| *delay > longest * 3 / 4)
        );
        servers.reset_backoff();
        assert!(servers.backoff() <= first);
    }
}
