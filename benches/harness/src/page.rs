//! A page that is being written: its text and its plots, and how figures stand in them.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use crate::contender::Contender;
use crate::numbers::{number, quantity, scale};
use crate::plan::Plan;
use crate::plot::Dot;
use crate::results::{Results, quantile};

pub struct Page<'a> {
    pub plan: &'a Plan,
    pub results: &'a Results,
    text: String,
    plots: Vec<(String, String)>,
}

impl<'a> Page<'a> {
    pub fn new(plan: &'a Plan, results: &'a Results) -> Page<'a> {
        Page { plan, results, text: String::new(), plots: Vec::new() }
    }

    /// As `benchmarks.md` in a folder; the plots go to one below it.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let plots = folder.join("benchmarks");
        fs::create_dir_all(&plots)?;
        for (name, svg) in &self.plots {
            fs::write(plots.join(format!("{name}.svg")), svg)?;
        }
        fs::write(folder.join("benchmarks.md"), &self.text)
    }

    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// The first column has no head: it says what the row is.
    pub fn table(&mut self, caption: &str, heads: &[String], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        if !caption.is_empty() {
            self.line(&format!("{caption}\n"));
        }
        let columns = heads.len() + 1;
        let head: Vec<String> = std::iter::once(String::new()).chain(heads.iter().cloned()).collect();
        let width = |column: usize| {
            rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0).clamp(3, 40)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        // Numbers stand at the right, words at the left.
        let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || "–≤≥".contains(c));
        let right: Vec<bool> = (0..columns)
            .map(|column| {
                column > 0 && rows.iter().filter(|row| is_number(&row[column])).count() * 2 > rows.len()
            })
            .collect();
        let rule: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, &width)| match right[column] {
                false => "-".repeat(width),
                true => format!("{}:", "-".repeat(width - 1)),
            })
            .collect();
        for row in [&head, &rule].into_iter().chain(rows) {
            let mut line = String::from("|");
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                match right[column] {
                    false => write!(line, " {cell:width$} |"),
                    true => write!(line, " {cell:>width$} |"),
                }
                .expect("a string takes it all");
            }
            self.line(&line);
        }
        self.line("");
    }

    pub fn plot(&mut self, name: &str, what: &str, svg: String) {
        self.line(&format!("![{what}](benchmarks/{name}.svg)\n"));
        self.plots.push((name.to_owned(), svg));
    }

    pub fn median(&self, key: &str, who: Contender, what: &str) -> Option<f64> {
        self.results.median(key, who, what)
    }

    pub fn dot(&self, key: &str, who: Contender, what: &str, factor: f64) -> Option<Dot> {
        let values = self.results.all(key, who, what);
        let [low, middle, high] = [0.0, 0.5, 1.0].map(|share| quantile(values, share));
        Some(Dot { who, low: low? * factor, middle: middle? * factor, high: high? * factor })
    }

    /// The median, and in brackets the least and the most.
    pub fn spread(&self, key: &str, who: Contender, what: &str, factor: f64, unit: &str) -> Option<String> {
        let Dot { low, middle, high, .. } = self.dot(key, who, what, factor)?;
        let (factor, _) = scale(middle, unit);
        Some(format!("{} ({}–{})", quantity(middle, unit), number(low * factor), number(high * factor)))
    }

    pub fn ratio(&self, key: &str, who: Contender, what: &str) -> Option<String> {
        let ours = self.median(key, Contender::Treecache, what)?;
        Some(format!("{} ×", quantity(self.median(key, who, what)? / ours, "")))
    }

    pub fn why_not(&self, key: &str, who: Contender) -> String {
        self.results.note_of(key, who).unwrap_or_default().to_owned()
    }
}
