//! The numbers, side by side: every contender of `benches/contenders` on one throwaway server, in one run.
//!
//! `scripts/bench` builds the contenders and runs this. Absolute times belong to the machine and the hour they were
//! taken on; the ratios do not, and are what is worth comparing. A time counts only when the contender's tree, then,
//! was the server's.
//!
//! Each module knows those above it here, as far as it needs them, and none below:
//!
//! - `numbers`, `tree`, `traffic`, `effort`: words; how numbers are written, what trees look like, what goes through a proxy,
//!   how much is done for a figure.
//! - `contender`, `results`: the programs that are compared, and what was measured of them.
//! - `bench`: the server, and what each measurement needs.
//! - `load`, `beside`, `start`, `growth`, `storm`, `latency`, `reconnect`, `reads`, `footprint`, `sharing`, `market`: the measurements,
//!   which do not know each other (but for how watches are counted).
//! - `plan`: which of them are made, with whom, and how hard each tries.
//! - `plot`: pictures, of any figures.
//! - `page`: a text with tables and plots, from the results of a plan.
//! - `report`: `benchmarks.md`, a file for each of its sections.

mod bench;
mod beside;
mod contender;
mod effort;
mod footprint;
mod growth;
mod latency;
mod load;
mod market;
mod numbers;
mod page;
mod plan;
mod plot;
mod reads;
mod reconnect;
mod report;
mod results;
mod sharing;
mod start;
mod storm;
mod traffic;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use std::{env, fs, process, thread};

use bench::Bench;
use plan::{Cell, Plan, Scale};
use results::Results;

const USAGE: &str =
    "usage: benchmarks quick|default|full BUILD_FOLDER REPORT_FOLDER [CELL_PREFIX|report [CONTENDER,...]]";

fn main() {
    // Whoever runs this may be ended in a way that tells nobody; the server and the contenders end with this one.
    // SAFETY: no memory effects.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (scale, build, folder, only, with) = match &arguments[..] {
        [scale, build, folder] => (scale, build, folder, "", None),
        [scale, build, folder, only] => (scale, build, folder, only.as_str(), None),
        [scale, build, folder, only, with] => (scale, build, folder, only.as_str(), Some(with)),
        _ => {
            eprintln!("{USAGE}");
            process::exit(2);
        }
    };
    let scale = match scale.as_str() {
        "quick" => Scale::Quick,
        "default" => Scale::Default,
        "full" => Scale::Full,
        _ => {
            eprintln!("{USAGE}");
            process::exit(2);
        }
    };

    let (build, folder, mut plan) = (PathBuf::from(build), PathBuf::from(folder), Plan::new(scale));
    if let Some(with) = with
        && let Err(unknown) = plan.keep(&with.split(',').collect::<Vec<_>>())
    {
        eprintln!("there is no contender {unknown:?}");
        process::exit(2);
    }
    let report_only = only == "report";
    // A full run goes on where it was interrupted.
    let resume = report_only || scale == Scale::Full;
    let state = build.join(format!("{}.state", scale.name()));
    let mut results = Results::open(&state, resume).expect("a file for the results");
    if !report_only {
        let mut bench = Bench::new(build.clone(), results, scale.server_heap());
        describe(&mut bench, &build);
        let cells = plan.cells.iter().filter(|cell| cell.key.starts_with(only));
        run(&plan, &cells.collect::<Vec<_>>(), &mut bench);
        results = bench.results;
    }
    report::write(&folder, &plan, &results).expect("a folder for the report");
    println!("\nIn {}: benchmarks.md, benchmarks/*.svg", folder.display());
}

fn run(plan: &Plan, cells: &[&Cell], bench: &mut Bench) {
    let cells: Vec<_> = cells.iter().filter(|cell| !bench.results.is_done(&cell.key)).collect();
    let mut left: f64 = cells.iter().map(|cell| cell.guess).sum();
    let (began, mut guessed) = (Instant::now(), 0.0);
    for (number, cell) in cells.iter().enumerate() {
        // As much slower or faster than guessed as what is done was, once that says something.
        let pace = (began.elapsed().as_secs_f64() + 60.0) / (guessed + 60.0);
        let minutes = left * pace / 60.0;
        println!("[{}/{}, about {minutes:.0} min left] {}", number + 1, cells.len(), cell.key);
        let started = Instant::now();
        plan.run(cell, bench);
        bench.results.finish(&cell.key);
        println!("    took {:.0} s", started.elapsed().as_secs_f64());
        left -= cell.guess;
        guessed += cell.guess;
    }
}

/// When, where and against what; unless a run that goes on has said so already.
fn describe(bench: &mut Bench, build: &Path) {
    let (major, minor, patch) = bench.server.version();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let facts = [
        ("date", output_of("date", &["+%F"])),
        ("commit", output_of("git", &["describe", "--always", "--dirty"])),
        ("server", format!("ZooKeeper {major}.{minor}.{patch}")),
        ("processor", processor()),
        ("cores", thread::available_parallelism().map_or(1, usize::from).to_string()),
        ("load", load.split(' ').next().unwrap_or_default().to_owned()),
        (
            "java",
            output_of("sh", &["-c", "java -version 2>&1 | sed -n 's/.*version \"\\([^\"]*\\)\".*/\\1/p'"]),
        ),
        ("python", output_of(&format!("{}/venv/bin/python", build.display()), &["--version"])),
        ("sizes", fs::read_to_string(build.join("sizes")).unwrap_or_default().trim().replace('\n', ";")),
    ];
    for (name, text) in facts {
        if bench.results.fact_of(name).is_none() {
            bench.results.fact(name, &text);
        }
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or(env::consts::ARCH, |(_, name)| name).to_owned()
}

/// What a command prints, or that it is unknown.
fn output_of(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
