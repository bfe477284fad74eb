//! The shortest timetable that still fails in the same way.

use std::time::{Duration, Instant};

use treecache_checks::Check;
use treecache_core::sync::Pace;

use crate::plan::{Happening, Plan};
use crate::run;

/// For how long it is tried.
const PATIENCE: Duration = Duration::from_secs(20);

/// Leaves out of `plan`, which fails `check`, what it fails without.
pub fn shrink(plan: &Plan, check: Check) -> Plan {
    let end = Instant::now() + PATIENCE;
    let fails = |plan: &Plan| run(plan, false).0.is_err_and(|violation| violation.check == check);
    let mut shrunk = plan.clone();
    let simpler: [fn(&mut Plan); 10] = [
        |plan| plan.leads = false,
        |plan| plan.dozes = false,
        |plan| plan.one_name = false,
        |plan| plan.chopped = 0,
        |plan| plan.lag = (0, 1),
        |plan| plan.shuts_down = false,
        |plan| plan.verified = Pace::default().verified,
        |plan| plan.latency.1 = plan.latency.0,
        |plan| plan.caches.truncate(1),
        |plan| {
            for cache in &mut plan.caches {
                cache.create_root = false;
            }
        },
    ];
    for simplify in simpler {
        let mut simple = shrunk.clone();
        simplify(&mut simple);
        let caches = simple.caches.len();
        simple.steps.retain(|step| match step.what {
            Happening::Open(cache) | Happening::Close(cache) | Happening::Sync(cache) => cache < caches,
            _ => true,
        });
        if fails(&simple) {
            shrunk = simple;
        }
    }
    let mut chunk = shrunk.steps.len().div_ceil(2);
    while chunk > 0 && Instant::now() < end {
        let mut at = 0;
        let before = shrunk.steps.len();
        while at < shrunk.steps.len() && Instant::now() < end {
            let mut shorter = shrunk.clone();
            shorter.steps.drain(at..(at + chunk).min(shorter.steps.len()));
            if fails(&shorter) {
                shrunk = shorter;
            } else {
                at += chunk;
            }
        }
        // Once more with single steps, as long as that helps.
        chunk = if chunk == 1 && shrunk.steps.len() < before { 1 } else { chunk / 2 };
    }
    shrunk
}
