//! What has gone wrong so far: how often, and what last.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::clock;
use crate::error::{Fault, LastFault};

/// The faults of one cache that are not its client's too; or those of a client.
#[derive(Default)]
pub(super) struct Faults(Mutex<Record>);

#[derive(Default)]
struct Record {
    count: u64,
    last: Option<(Fault, Instant)>,
    /// Of a client: who was told the fault that its caches are being told.
    told: Told,
}

/// Whether somebody was told a fault, and whether somebody missed it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) told: bool,
    pub(super) missed: bool,
}

impl Told {
    /// Nobody else would know of it, or somebody does not: then it is for the log.
    pub(super) fn is_to_be_logged(self) -> bool {
        !self.told || self.missed
    }

    fn and(self, other: Told) -> Told {
        Told { told: self.told || other.told, missed: self.missed || other.missed }
    }
}

impl Faults {
    pub(super) fn add(&self, fault: &Fault) {
        let at = clock::now();
        let mut record = self.lock();
        record.count += 1;
        record.last = Some((fault.clone(), at));
    }

    /// A cache has told a fault of its client, which comes here next.
    pub(super) fn told_by_a_cache(&self, told: Told) {
        let mut record = self.lock();
        record.told = record.told.and(told);
    }

    /// The client has told the fault, too. Returns what became of it altogether.
    pub(super) fn told_by_all(&self, told: Told) -> Told {
        std::mem::take(&mut self.lock().told).and(told)
    }

    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The last one, and when it was told.
    pub(super) fn last(&self) -> Option<(Fault, Instant)> {
        self.lock().last.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // No foreign code runs under the lock, so what it guards is whole even if a thread died holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The later one of two, with its age.
pub(super) fn later(one: Option<(Fault, Instant)>, other: Option<(Fault, Instant)>) -> Option<LastFault> {
    let (fault, at) = one.into_iter().chain(other).max_by_key(|(_, at)| *at)?;
    Some(LastFault { fault, age: clock::now().saturating_duration_since(at) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_client_is_for_the_log_where_nobody_was_told_or_somebody_missed_it() {
        let faults = Faults::default();
        let (nobody, taken) = (Told::default(), Told { told: true, missed: false });
        let missed = Told { told: false, missed: true };
        for (caches, client, is_logged) in [
            (vec![], nobody, true),
            (vec![], taken, false),
            (vec![nobody, nobody], nobody, true),
            (vec![nobody, taken], nobody, false),
            (vec![nobody, nobody], taken, false),
            (vec![missed, taken], taken, true),
        ] {
            caches.iter().for_each(|told| faults.told_by_a_cache(*told));
            assert_eq!(faults.told_by_all(client).is_to_be_logged(), is_logged, "{caches:?} {client:?}");
        }
    }
}
