//! A simulator: the wire, session, sync and tree layers as they are, against a ZooKeeper ensemble in memory that
//! speaks the real protocol, in simulated time. One seed is one schedule of writes and faults, and runs the same way
//! each time.
//!
//! | module | holds |
//! |---|---|
//! | `plan` | what a seed means: an ensemble, a client, a timetable of writes and faults |
//! | `ensemble` | the transactions, the tree after each of them, sessions |
//! | `world` | time, the network, servers, the engine, and the checks after every step |
//! | `gzip` | data as gzip compresses it |
//! | `shrink` | the shortest timetable that still fails |
//!
//! The checks are those of `testing/checks`, the server's side of the protocol is `testing/protocol`.

mod ensemble;
mod gzip;
pub mod plan;
mod shrink;
pub mod world;

pub use plan::Plan;
pub use shrink::shrink;
pub use world::{Tally, run};

#[cfg(test)]
mod tests {
    use super::*;
    use treecache_core::planted::{Defect, plant};

    /// What each of them has found is mended.
    const HAVE_FAILED: [u64; 13] = [
        130_940,
        400_203_224,
        500_311_189,
        500_714_204,
        501_038_602,
        510_007_617,
        510_148_868,
        510_812_917,
        510_927_376,
        511_163_617,
        520_119_549,
        520_332_909,
        530_273_455,
    ];

    /// One test, as what is planted is planted in the whole process.
    #[test]
    fn schedules_hold_run_the_same_way_twice_and_fail_with_a_planted_defect_that_is_shrunk() {
        for seed in (0..200).chain(HAVE_FAILED) {
            let plan = Plan::of_seed(seed);
            let tally = run(&plan, false).0.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            assert_eq!(run(&plan, true).0.as_ref(), Ok(&tally), "seed {seed} runs another way with a trace");
        }
        plant(Some(Defect::VerificationSkipped));
        let failing = (0..200).map(Plan::of_seed).find_map(|plan| Some((run(&plan, false).0.err()?, plan)));
        let (violation, plan) = failing.expect("it is caught");
        let shrunk = shrink(&plan, violation.check);
        assert!(shrunk.steps.len() < plan.steps.len());
        assert_eq!(run(&shrunk, false).0.map_err(|violation| violation.check), Err(violation.check));
        plant(None);
    }
}
