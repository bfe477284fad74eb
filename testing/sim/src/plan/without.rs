//! Leaving out one kind of trouble, so that what is not about it can be checked.

use super::{Fault, Happening, Plan, Restore};

type LeaveOut = fn(&mut Plan);

/// The kinds of trouble that can be left out, by name.
pub const KINDS: [(&str, LeaveOut); 10] = [
    ("wipes", |plan| plan.retain_faults(|fault| !matches!(fault, Fault::Wipe(_)))),
    ("restores", |plan| {
        plan.retain_faults(|fault| !matches!(fault, Fault::Restore(Restore { live: false, .. })))
    }),
    ("live-restores", |plan| {
        plan.retain_faults(|fault| !matches!(fault, Fault::Restore(Restore { live: true, .. })))
    }),
    ("lost-watches", |plan| plan.retain_faults(|fault| !matches!(fault, Fault::LoseWatches(_)))),
    ("sleeps", |plan| {
        plan.retain_faults(|fault| !matches!(fault, Fault::Sleep(_) | Fault::SleepBehindPing(_)))
    }),
    ("leaders", |plan| plan.leads = false),
    ("dozes", |plan| plan.dozes = false),
    ("names", |plan| plan.one_name = false),
    ("long-paths", |plan| {
        plan.steps.retain(|step| !matches!(step.what, Happening::WriteOutOfSight(_)));
    }),
    ("saturation", |plan| plan.steps.retain(|step| !matches!(step.what, Happening::Saturate(..)))),
];

impl Plan {
    /// The same plan without the kinds of these names, which are of [`KINDS`].
    pub fn without(mut self, kinds: &[&str]) -> Plan {
        for (_, leave_out) in KINDS.iter().filter(|(name, _)| kinds.contains(name)) {
            leave_out(&mut self);
        }
        self
    }

    fn retain_faults(&mut self, keep: impl Fn(&Fault) -> bool) {
        self.steps.retain(|step| match &step.what {
            Happening::Fault(fault) => keep(fault),
            _ => true,
        });
    }
}
