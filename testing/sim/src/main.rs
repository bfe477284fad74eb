//! The simulator's command; `scripts/sim` builds and runs it.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use treecache_checks::{Check, Violation};
use treecache_core::planted::{Defect, plant};
use treecache_sim::plan::without::KINDS;
use treecache_sim::{Plan, Tally, run, shrink};

const USAGE: &str = "\
usage: scripts/sim --seed N                         one schedule, step by step; a failure is shrunk
       scripts/sim [--schedules N] [--first SEED] [--seconds S]
                                                    many schedules (default: 200,000 from seed 0)
       scripts/sim --resume [--seconds S]           goes on behind the last one that --resume has run
       scripts/sim --planted [--schedules N]        each planted defect: in how many schedules it is caught
                                                    (default: 2,000; more until it is caught once)
       ... --without KIND[,KIND]...                 leaves out this kind of trouble, for any of the above";

/// Every so many schedules, one is run twice: the two must not differ.
const TWICE: u64 = 100;

/// What shows in what a cache does. The other defects are about memory and threads, or are made up for by what else
/// looks for another history: unit tests are about those.
const NOTICEABLE: [Defect; 63] = [
    Defect::KeeperTakenForZooKeeper,
    Defect::RootTakenForChanged,
    Defect::SetsNotCounted,
    Defect::KeeperForgotten,
    Defect::KeepersStatDated,
    Defect::LaggardNotCounted,
    Defect::BarrierLeftOut,
    Defect::LowBarrierTaken,
    Defect::ListsOfNoCutTrusted,
    Defect::ReportSinceHalfVerified,
    Defect::ReportSinceNoCut,
    Defect::ReportWithoutAnchors,
    Defect::ReportBehindEpoch,
    Defect::LeavesNotListed,
    Defect::ReportOfLaggardTaken,
    Defect::NotifiedSinceForgotten,
    Defect::CandidateWithoutList,
    Defect::MissingTakenForWatched,
    Defect::UsedUpForgotten,
    Defect::UnarmedTakenForArmed,
    Defect::WatchesCompared,
    Defect::ListsForgotten,
    Defect::WatchNotSetAgain,
    Defect::SharedWatchRemoved,
    Defect::AloneTakenForAll,
    Defect::RenewedAlone,
    Defect::VerificationSkipped,
    Defect::LaggardAccepted,
    Defect::ParentForgotten,
    Defect::KeptThoughNotified,
    Defect::KeptOverReconnect,
    Defect::HotPathsLeftOut,
    Defect::StormsHoldUpCuts,
    Defect::CandidateUnchecked,
    Defect::ChildListTrusted,
    Defect::LeftOutIgnored,
    Defect::UnreadTakenForKnown,
    Defect::RefusalTakenForAbsence,
    Defect::RefusalTakenForLast,
    Defect::EpochTakenForTransaction,
    Defect::AnchorsLeftOut,
    Defect::IdentityByZxid,
    Defect::ListDatedByPzxid,
    Defect::EvidenceIgnored,
    Defect::EarlierParentTakenForEvidence,
    Defect::RestoreUnnoticed,
    Defect::WatchNotRenewed,
    Defect::LostWatchIgnored,
    Defect::SyncTakenForBarrier,
    Defect::NoNudge,
    Defect::LargeDataKept,
    Defect::UncompressedDataKept,
    Defect::ResetIgnored,
    Defect::LossNotReported,
    Defect::SilenceUnnoticed,
    Defect::PauseUnnoticed,
    Defect::WaitedTakenForNews,
    Defect::NoBackoff,
    Defect::CredentialsForgotten,
    Defect::SyncAnsweredAtItsReply,
    Defect::SyncSharedTooLate,
    Defect::EventsUnordered,
    Defect::RetryForEver,
];

/// A planted defect that was not caught yet is looked for in so many times as many schedules.
const RARE: u64 = 200;

struct Arguments {
    seed: Option<u64>,
    schedules: Option<u64>,
    first: u64,
    seconds: Option<u64>,
    resume: bool,
    planted: bool,
    without: Vec<&'static str>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seed: None,
        schedules: None,
        first: 0,
        seconds: None,
        resume: false,
        planted: false,
        without: Vec::new(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        if name == "--without" {
            parsed.without = kinds(&given.next().unwrap_or_default())?;
            continue;
        }
        let mut number = || {
            let value = given.next().ok_or_else(|| format!("{name} needs a number"))?;
            value.parse().map_err(|_| format!("{name} needs a number, not {value:?}"))
        };
        match name.as_str() {
            "--seed" => parsed.seed = Some(number()?),
            "--schedules" => parsed.schedules = Some(number()?),
            "--first" => parsed.first = number()?,
            "--seconds" => parsed.seconds = Some(number()?),
            "--resume" => parsed.resume = true,
            "--planted" => parsed.planted = true,
            "--help" => return Err(String::new()),
            _ => return Err(format!("unknown argument {name:?}")),
        }
    }
    Ok(parsed)
}

/// The kinds of trouble that are named, between commas.
fn kinds(names: &str) -> Result<Vec<&'static str>, String> {
    let known = KINDS.map(|(name, _)| name);
    let find = |name| {
        let found = known.into_iter().find(|known| *known == name);
        found.ok_or_else(|| format!("--without knows {}, and not {name:?}", known.join(", ")))
    };
    names.split(',').map(find).collect()
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let good = if let Some(seed) = arguments.seed {
        replay(&Plan::of_seed(seed).without(&arguments.without))
    } else if arguments.planted {
        planted(arguments.schedules.unwrap_or(2000), &arguments.without)
    } else {
        many(&arguments)
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One schedule, with all that happens in it.
fn replay(plan: &Plan) -> bool {
    println!("{}", describe(plan));
    let (result, trace) = run(plan, true);
    for line in trace {
        println!("{line}");
    }
    match result {
        Ok(tally) => {
            println!("seed {}: all checks hold: {tally:?}", plan.seed);
            true
        }
        Err(violation) => {
            show_shrunk(plan, &violation);
            false
        }
    }
}

fn describe(plan: &Plan) -> String {
    let plan = Plan { steps: Vec::new(), ..plan.clone() };
    format!("{plan:?}")
}

fn show_shrunk(plan: &Plan, violation: &Violation) {
    println!("seed {}: {violation}", plan.seed);
    let shrunk = shrink(plan, violation.check);
    println!("\nFails with {} of {} steps:", shrunk.steps.len(), plan.steps.len());
    println!("{}", describe(&shrunk));
    for step in &shrunk.steps {
        println!("    at {:>10} µs: {:?}", step.at, step.what);
    }
    let (result, trace) = run(&shrunk, true);
    println!();
    for line in trace {
        println!("{line}");
    }
    if let Err(violation) = result {
        println!("\n{violation}");
    }
    println!("\nscripts/sim --seed {} runs it again", plan.seed);
}

/// What many schedules amounted to.
#[derive(Default)]
struct Sum {
    schedules: u64,
    tally: Tally,
    failures: Vec<(u64, Violation)>,
}

impl Sum {
    /// The checks that failed, and how often each.
    fn checks(&self) -> String {
        let mut checks: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, violation) in &self.failures {
            *checks.entry(violation.check.name()).or_default() += 1;
        }
        let checks: Vec<String> = checks.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        checks.join(", ")
    }

    fn add(&mut self, tally: &Tally) {
        let sum = &mut self.tally;
        sum.events += tally.events;
        sum.transactions += tally.transactions;
        sum.versions += tally.versions;
        sum.cuts += tally.cuts;
        sum.claims += tally.claims;
        sum.synced += tally.synced;
        sum.side_connections += tally.side_connections;
        sum.chunks += tally.chunks;
        sum.connections += tally.connections;
        sum.sessions += tally.sessions;
        sum.resets += tally.resets;
        sum.most_batches = sum.most_batches.max(tally.most_batches);
        sum.longest_recovery = sum.longest_recovery.max(tally.longest_recovery);
    }
}

/// Runs one seed, some of them twice.
fn try_seed(seed: u64, without: &[&str]) -> Result<Tally, Violation> {
    let plan = Plan::of_seed(seed).without(without);
    let tally = run(&plan, false).0?;
    if seed.is_multiple_of(TWICE) {
        let again = run(&plan, false).0?;
        Check::Sound.that(again == tally, || format!("two runs differ: {tally:?}, {again:?}"))?;
    }
    Ok(tally)
}

/// Runs the seeds from `first` on, on all processors, until `enough` says so.
fn run_seeds(
    first: u64,
    without: &[&str],
    enough: impl Fn(u64, &Sum) -> bool + Sync,
    progress: impl Fn(u64, &Sum) + Sync,
) -> (u64, Sum) {
    let next = AtomicU64::new(first);
    let done = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let result = try_seed(seed, without);
                    let mut sum = sum.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    sum.schedules += 1;
                    match result {
                        Ok(tally) => sum.add(&tally),
                        Err(violation) => sum.failures.push((seed, violation)),
                    }
                    progress(seed, &sum);
                    if enough(seed, &sum) {
                        done.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (next.into_inner(), sum.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Where `--resume` keeps the next seed.
fn state_file() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("sim-next-seed")
}

fn quietly() {
    // What panics is caught and told as a violation.
    std::panic::set_hook(Box::new(|_| {}));
}

fn many(arguments: &Arguments) -> bool {
    let mut first = arguments.first;
    if arguments.resume {
        let kept = std::fs::read_to_string(state_file()).ok().and_then(|text| text.trim().parse().ok());
        first = kept.unwrap_or(first);
    }
    let count = match arguments.schedules {
        None if arguments.resume || arguments.seconds.is_some() => u64::MAX,
        None => 200_000,
        Some(count) => count,
    };
    let began = Instant::now();
    let end = arguments.seconds.map(|seconds| began + Duration::from_secs(seconds));
    let shown = Mutex::new(began);
    let is_terminal = std::io::stderr().is_terminal();
    quietly();
    let (next, sum) = run_seeds(
        first,
        &arguments.without,
        |_, sum| sum.schedules >= count || end.is_some_and(|end| Instant::now() >= end),
        |seed, sum| {
            if let Some((failed, violation)) = sum.failures.last().filter(|(failed, _)| *failed == seed) {
                eprintln!("seed {failed}: {violation}");
            }
            let Ok(mut shown) = shown.try_lock() else { return };
            if shown.elapsed() < Duration::from_secs(if is_terminal { 1 } else { 30 }) {
                return;
            }
            *shown = Instant::now();
            let line = format!(
                "{:>9} schedules, {} failed, {:>6.1} s",
                sum.schedules,
                sum.failures.len(),
                began.elapsed().as_secs_f64()
            );
            eprint!("{}", if is_terminal { format!("\r{line}") } else { format!("{line}\n") });
            let _ = std::io::stderr().flush();
            if arguments.resume {
                // Those under way are run again.
                let _ = std::fs::write(state_file(), seed.saturating_sub(64).to_string());
            }
        },
    );
    if is_terminal {
        eprintln!();
    }
    if arguments.resume
        && let Err(error) = std::fs::write(state_file(), next.to_string())
    {
        eprintln!("{}: {error}", state_file().display());
    }
    let Tally { transactions, versions, cuts, claims, synced, connections, sessions, resets, .. } = sum.tally;
    let Tally { side_connections, chunks, .. } = sum.tally;
    println!(
        "{} schedules from seed {first} in {:.0} s: {} failed\n\
         {transactions} transactions, {versions} versions, {cuts} of them cuts; {claims} claims to be in step, {synced} syncs\n\
         {connections} connections, {sessions} sessions, {resets} resets told; {chunks} chunks compared on \
         {side_connections} more connections\n\
         most batches between two cuts: {}; longest until in step after the last fault: {:.1} s (simulated)",
        sum.schedules,
        began.elapsed().as_secs_f64(),
        sum.failures.len(),
        sum.tally.most_batches,
        sum.tally.longest_recovery as f64 / 1e6,
    );
    if !sum.failures.is_empty() {
        println!("checks that failed: {}", sum.checks());
    }
    let first_failure = sum.failures.iter().min_by_key(|(seed, _)| *seed);
    if let Some((seed, violation)) = first_failure {
        println!();
        show_shrunk(&Plan::of_seed(*seed).without(&arguments.without), violation);
    }
    first_failure.is_none()
}

/// A table of the planted defects. False when one is not caught.
fn planted(schedules: u64, without: &[&str]) -> bool {
    quietly();
    println!("| planted defect | caught in | of | first seed | checks that failed |");
    println!("|---|---|---|---|---|");
    let mut all_caught = true;
    for defect in NOTICEABLE {
        plant(Some(defect));
        let enough = |_, sum: &Sum| {
            let most = if sum.failures.is_empty() { RARE * schedules } else { schedules };
            sum.schedules >= most
        };
        let (_, sum) = run_seeds(0, without, enough, |_, _| {});
        plant(None);
        let first = sum.failures.iter().map(|(seed, _)| *seed).min();
        let first = first.map_or("-".to_owned(), |seed| seed.to_string());
        println!(
            "| {} | {} | {} | {first} | {} |",
            defect.name(),
            sum.failures.len(),
            sum.schedules,
            sum.checks()
        );
        all_caught &= !sum.failures.is_empty();
    }
    all_caught
}
