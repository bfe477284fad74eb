//! Which server next, and when: a shuffled round through the servers, with full-jitter backoff.

use std::time::Duration;

use super::Host;
use crate::planted::{self, Defect};

/// The longest that a delay before the first retry can be; it doubles with every retry.
const BASE: Duration = Duration::from_millis(100);
/// The longest delay of all.
const CAP: Duration = Duration::from_secs(5);

pub(super) struct Servers {
    hosts: Vec<Host>,
    next: usize,
    /// Attempts since a server last proved to be of use.
    attempts: u32,
    rng: fastrand::Rng,
}

impl Servers {
    pub(super) fn new(mut hosts: Vec<Host>, mut rng: fastrand::Rng) -> Servers {
        rng.shuffle(&mut hosts);
        Servers { hosts, next: 0, attempts: 0, rng }
    }

    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn next(&mut self) -> Host {
        let host = self.hosts[self.next].clone();
        self.next = (self.next + 1) % self.hosts.len();
        host
    }

    /// How long to wait before the next attempt: anything between nothing and a bound that doubles each time, so
    /// that clients that lost their server together do not come back together.
    pub(super) fn backoff(&mut self) -> Duration {
        let bound = BASE.saturating_mul(1 << self.attempts.min(16)).min(CAP);
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
        let mut servers = Servers::new(vec![host], fastrand::Rng::with_seed(1));
        for attempt in 0..20u32 {
            let delay = servers.backoff();
            assert!(delay <= BASE.saturating_mul(1 << attempt.min(16)).min(CAP));
        }
        let late: Vec<_> = (0..100).map(|_| servers.backoff()).collect();
        assert!(late.iter().any(|delay| *delay < CAP / 4) && late.iter().any(|delay| *delay > CAP * 3 / 4));
        servers.reset_backoff();
        assert!(servers.backoff() <= BASE);
    }
}
