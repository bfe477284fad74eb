//! The herd's command; `scripts/herd` builds and runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use treecache_herd::experiments::Experiments;
use treecache_herd::measured::Measured;
use treecache_herd::report::fill;

const USAGE: &str = "\
usage: scripts/herd [--seed N]    simulates, and writes the tables and pictures of docs/scaling.md (default: seed 1)
       scripts/herd --measure     measures at a real server what it simulates with: testing/herd/measured.txt";

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    let done = match given[..] {
        [] => simulate(1),
        ["--seed", seed] => seed.parse().map_err(|_| USAGE.to_owned()).and_then(simulate),
        #[cfg(feature = "measure")]
        ["--measure"] => write(&measured_file(), &treecache_herd::measure::measure().to_text()),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn measured_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("measured.txt")
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn simulate(seed: u64) -> Result<(), String> {
    let measured: Measured = read(&measured_file())?.parse()?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let path = docs.join("scaling.md");
    let mut document = read(&path)?;
    let findings = Experiments::new(measured, seed).run();
    for (name, text) in &findings.tables {
        document = fill(&document, name, text)?;
    }
    for (name, figure) in &findings.figures {
        write(&docs.join(format!("scaling-{name}.svg")), &figure.draw())?;
    }
    write(&path, &document)
}
