//! Whose turn it is among the listeners of a feed that have something to be told.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::told::ListenerId;

/// The listeners of faults come first. Of the others, everybody has a turn before anybody has two.
#[derive(Default)]
pub(super) struct Turns {
    faults: BTreeSet<ListenerId>,
    others: BTreeSet<ListenerId>,
    /// Which of the others had a turn last.
    last: Option<ListenerId>,
}

impl Turns {
    /// Gives a turn to a listener that may have something to be told. May be called again.
    pub(super) fn add(&mut self, id: ListenerId, is_of_faults: bool) {
        let listeners = if is_of_faults { &mut self.faults } else { &mut self.others };
        listeners.insert(id);
    }

    pub(super) fn remove(&mut self, id: ListenerId) {
        self.faults.remove(&id);
        self.others.remove(&id);
    }

    /// Takes the next one out.
    pub(super) fn next(&mut self) -> Option<ListenerId> {
        if let Some(id) = self.faults.pop_first() {
            return Some(id);
        }
        let behind = (self.last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let id = *self.others.range(behind).next().or_else(|| self.others.first())?;
        self.others.remove(&id);
        self.last = Some(id);
        Some(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_before_anybody_has_two_and_faults_are_first() {
        let (mut turns, mut taken) = (Turns::default(), Vec::new());
        for id in [3, 1, 2, 3] {
            turns.add(ListenerId(id), false);
        }
        for _ in 0..7 {
            let id = turns.next().unwrap();
            taken.push(id.0);
            // As if it always had more.
            turns.add(id, false);
        }
        assert_eq!(taken, [1, 2, 3, 1, 2, 3, 1]);
        turns.add(ListenerId(4), true);
        turns.remove(ListenerId(2));
        let rest: Vec<_> = std::iter::from_fn(|| turns.next()).map(|id| id.0).collect();
        assert_eq!(rest, [4, 3, 1]);
        assert!(turns.is_empty());
    }
}
