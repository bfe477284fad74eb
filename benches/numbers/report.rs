//! What was measured, next to what it should be, as a table.

use std::fmt::Write;
use std::process::Command;
use std::{fs, thread};

use treecache_test_support::Server;

#[derive(Clone, Copy)]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
    None,
}

pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    pub measured: f64,
    pub budget: Budget,
    /// What helps to read it; may be empty.
    pub note: String,
}

impl Figure {
    pub fn new(what: impl Into<String>, unit: &'static str, measured: f64, budget: Budget) -> Figure {
        Figure { what: what.into(), unit, measured, budget, note: String::new() }
    }

    pub fn note(mut self, note: String) -> Figure {
        self.note = note;
        self
    }

    /// How much of the budget is used: 1 is all of it. The other way round for what is to be large.
    pub fn share(&self) -> Option<f64> {
        match self.budget {
            Budget::AtLeast(least) => Some(least / self.measured),
            Budget::AtMost(most) => Some(self.measured / most),
            Budget::None => None,
        }
    }

    pub fn measured_text(&self) -> String {
        quantity(self.measured, self.unit)
    }

    pub fn budget_text(&self) -> String {
        match self.budget {
            Budget::AtLeast(least) => format!("≥ {}", quantity(least, self.unit)),
            Budget::AtMost(most) => format!("≤ {}", quantity(most, self.unit)),
            Budget::None => String::new(),
        }
    }
}

/// Three digits are more than is reproducible.
fn quantity(value: f64, unit: &str) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        _ => 3,
    };
    format!("{value:.decimals$} {unit}").trim_end().to_owned()
}

pub struct Report {
    /// When, where and against what.
    pub circumstances: String,
    pub figures: Vec<Figure>,
}

impl Report {
    pub fn new(server: &Server) -> Report {
        let (major, minor, patch) = server.version();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let circumstances = format!(
            "{}, commit {}, ZooKeeper {major}.{minor}.{patch}, {}, {cores} cores, load {} at the start",
            output_of("date", &["+%F"]),
            output_of("git", &["describe", "--always", "--dirty"]),
            processor(),
            load.split(' ').next().unwrap_or_default(),
        );
        Report { circumstances, figures: Vec::new() }
    }

    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub fn to_markdown(&self) -> String {
        let rows: Vec<[String; 5]> = self
            .figures
            .iter()
            .map(|figure| {
                let used = figure.share().map_or_else(String::new, |share| format!("{:.0} %", share * 100.0));
                let (measured, budget) = (figure.measured_text(), figure.budget_text());
                [figure.what.clone(), measured, budget, used, figure.note.clone()]
            })
            .collect();
        let head = ["what", "measured", "budget", "used", "besides"].map(str::to_owned);
        let mut widths = [0; 5];
        for row in rows.iter().chain([&head]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = format!("{}.\n\n", self.circumstances);
        let mut line = |cells: &[String; 5]| {
            let [a, b, c, d, e] = widths;
            let [what, measured, budget, used, note] = cells;
            writeln!(table, "| {what:a$} | {measured:>b$} | {budget:>c$} | {used:>d$} | {note:e$} |")
        };
        let [a, b, c, d, e] = widths.map(|width| "-".repeat(width));
        let rule = [a, b + ":", c + ":", d + ":", e].map(|dashes| dashes.replacen("-:", ":", 1));
        for cells in [&head, &rule].into_iter().chain(&rows) {
            line(cells).expect("a string takes it all");
        }
        table
    }
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or(std::env::consts::ARCH, |(_, name)| name).to_owned()
}

/// What a command prints, or that it is unknown.
fn output_of(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
