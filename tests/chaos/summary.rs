//! What a run comes to.

use std::fmt;
use std::time::Duration;

use crate::faults::Toll;
use crate::judge::Tally;

#[derive(Default)]
pub struct Summary {
    pub seed: u64,
    pub lasted: Duration,
    pub rounds: usize,
    /// Rounds that say nothing, as servers have contradicted each other.
    pub void: usize,
    pub faults: Toll,
    pub histories: usize,
    pub transactions: usize,
    pub writers_connections: u64,
    /// The longest time from the end of the faults until all were in step; where history goes on, and where not.
    pub longest_to_be_in_step: [Duration; 2],
    /// By the names of the caches.
    pub tallies: Vec<(String, Tally)>,
}

impl Summary {
    pub fn add_tally(&mut self, name: String, tally: &Tally) {
        match self.tallies.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => sum.add(tally),
            None => self.tallies.push((name, *tally)),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} rounds in {:.0?}, {} of them void; seed {}",
            self.rounds, self.lasted, self.void, self.seed
        )?;
        writeln!(f, "faults: {}", self.faults)?;
        writeln!(
            f,
            "{} transactions in {} histories, by {} connections of writers",
            self.transactions, self.histories, self.writers_connections
        )?;
        let [ordinary, other] = self.longest_to_be_in_step;
        writeln!(f, "longest until all were in step: {ordinary:.1?}, in another history {other:.1?}")?;
        writeln!(f, "{HEADING}")?;
        let mut total = Tally::default();
        for (name, tally) in &self.tallies {
            total.add(tally);
            line(f, tally, name)?;
        }
        line(f, &total, "together")
    }
}

const HEADING: &str = "
     versions seen |  replayed were  | said to be in step,  | in sync | the connection was | resets | changes waited
     cuts   others |  events versions|   times  behind, ms  |   times |   gone  lost  back |        |  times for ms";

fn line(f: &mut fmt::Formatter<'_>, tally: &Tally, name: &str) -> fmt::Result {
    write!(f, "{:9} {:8} | {:7} {:7} ", tally.cuts, tally.others, tally.events, tally.replayed)?;
    write!(f, "| {:8} {:10}  | {:7} ", tally.claims, tally.stalest, tally.syncs)?;
    write!(f, "| {:6} {:5} {:5} | {:6} ", tally.suspended, tally.lost, tally.reconnected, tally.resets)?;
    writeln!(f, "| {:6} {:6}  {name}", tally.waits, tally.longest_wait)
}
