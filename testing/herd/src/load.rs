//! What the servers have to bear, over time.

use std::time::Duration;

/// One stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// Attempts to connect that reach a server, those that the kernel drops included.
    pub attempts: f64,
    pub requests: f64,
    pub nodes: f64,
    /// Nodes that a server compared with a zxid.
    pub compared: f64,
    pub bytes: f64,
    /// How many clients are in step at its end.
    pub in_step: f64,
    /// The longest that a request that was answered in it had waited for the answer, in s.
    pub wait: f64,
}

/// All of it, for all servers together.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The length of a stretch.
    pub step: Duration,
    pub moments: Vec<Moment>,
    /// How many clients each of the simulated ones stands for.
    weight: f64,
}

impl Load {
    pub fn new(step: Duration, weight: u64) -> Load {
        Load { step, moments: Vec::new(), weight: weight as f64 }
    }

    /// The stretch that `at` falls into, in ns.
    fn moment(&mut self, at: u64) -> &mut Moment {
        let index = (at as u128 / self.step.as_nanos()) as usize;
        while self.moments.len() <= index {
            // As many are in step as before.
            let in_step = self.moments.last().map_or(0.0, |last| last.in_step);
            self.moments.push(Moment { in_step, ..Moment::default() });
        }
        &mut self.moments[index]
    }

    pub fn attempt(&mut self, at: u64) {
        let weight = self.weight;
        self.moment(at).attempts += weight;
    }

    pub fn answered(&mut self, at: u64, nodes: usize, compared: usize, bytes: usize, waited: u64) {
        let weight = self.weight;
        let moment = self.moment(at);
        moment.requests += weight;
        moment.nodes += nodes as f64 * weight;
        moment.compared += compared as f64 * weight;
        moment.bytes += bytes as f64 * weight;
        moment.wait = moment.wait.max(waited as f64 / 1e9);
    }

    pub fn in_step(&mut self, at: u64, clients: usize) {
        let weight = self.weight;
        self.moment(at).in_step = clients as f64 * weight;
    }

    /// The most in one second, as far as the stretches tell it.
    pub fn peak(&self, of: impl Fn(&Moment) -> f64) -> f64 {
        self.moments.iter().map(of).fold(0.0, f64::max) / self.step.as_secs_f64()
    }

    pub fn total(&self, of: impl Fn(&Moment) -> f64) -> f64 {
        self.moments.iter().map(of).sum()
    }

    pub fn longest_wait(&self) -> f64 {
        self.moments.iter().map(|moment| moment.wait).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted_where_it_happens() {
        let mut load = Load::new(Duration::from_millis(100), 10);
        load.attempt(50_000_000);
        load.in_step(120_000_000, 3);
        load.answered(399_999_999, 120, 7, 1000, 2_000_000_000);
        assert_eq!(load.moments.len(), 4);
        assert_eq!(load.moments[2].in_step, 30.0);
        assert_eq!(load.peak(|moment| moment.attempts), 100.0);
        assert_eq!(load.total(|moment| moment.nodes), 1200.0);
        assert_eq!(load.total(|moment| moment.compared), 70.0);
        assert_eq!(load.longest_wait(), 2.0);
    }
}
