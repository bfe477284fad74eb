//! What was measured. Kept in a file as it comes, so that a run that was interrupted can go on, and the report can be
//! written anew without measuring.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::contender::Contender;

/// What is measured together: its name in the state file.
pub type CellKey = String;

pub struct Results {
    file: File,
    figures: BTreeMap<(CellKey, String, String), Vec<f64>>,
    notes: BTreeMap<(CellKey, String), String>,
    facts: BTreeMap<String, String>,
    done: BTreeSet<CellKey>,
}

impl Results {
    /// Reads what there is, if `resume`. What belongs to a cell that was not finished is not taken.
    pub fn open(path: &Path, resume: bool) -> io::Result<Results> {
        let text = if resume { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let done = text.lines().filter_map(|line| line.strip_prefix("done\t")).map(str::to_owned).collect();
        let mut results = Results {
            file: File::create(path)?,
            figures: BTreeMap::new(),
            notes: BTreeMap::new(),
            facts: BTreeMap::new(),
            done,
        };
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["figure", cell, who, what, values] if results.done.contains(cell) => {
                    let values: Vec<f64> = values.split(',').filter_map(|value| value.parse().ok()).collect();
                    results.add(cell, who, what, &values);
                }
                ["note", cell, who, text] if results.done.contains(cell) => results.note(cell, who, text),
                ["fact", name, text] => results.fact(name, text),
                _ => {}
            }
        }
        for cell in results.done.clone() {
            results.finish(&cell);
        }
        Ok(results)
    }

    pub fn add(&mut self, cell: &str, who: &str, what: &str, values: &[f64]) {
        let text: Vec<String> = values.iter().map(f64::to_string).collect();
        self.write(&format!("figure\t{cell}\t{who}\t{what}\t{}", text.join(",")));
        let key = (cell.to_owned(), who.to_owned(), what.to_owned());
        self.figures.entry(key).or_default().extend(values);
    }

    /// Why there are no figures.
    pub fn note(&mut self, cell: &str, who: &str, text: &str) {
        let text = text.replace(['\t', '\n'], " ");
        self.write(&format!("note\t{cell}\t{who}\t{text}"));
        self.notes.insert((cell.to_owned(), who.to_owned()), text);
    }

    /// What holds for the whole run.
    pub fn fact(&mut self, name: &str, text: &str) {
        self.write(&format!("fact\t{name}\t{text}"));
        self.facts.insert(name.to_owned(), text.to_owned());
    }

    pub fn finish(&mut self, cell: &str) {
        self.write(&format!("done\t{cell}"));
        self.done.insert(cell.to_owned());
    }

    pub fn is_done(&self, cell: &str) -> bool {
        self.done.contains(cell)
    }

    pub fn fact_of(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    pub fn all(&self, cell: &str, who: Contender, what: &str) -> &[f64] {
        let key = (cell.to_owned(), who.id().to_owned(), what.to_owned());
        self.figures.get(&key).map_or(&[], Vec::as_slice)
    }

    pub fn median(&self, cell: &str, who: Contender, what: &str) -> Option<f64> {
        median(self.all(cell, who, what))
    }

    pub fn note_of(&self, cell: &str, who: Contender) -> Option<&str> {
        self.notes.get(&(cell.to_owned(), who.id().to_owned())).map(String::as_str)
    }

    fn write(&mut self, line: &str) {
        writeln!(self.file, "{line}").and_then(|()| self.file.flush()).expect("room for the results");
    }
}

/// The middle of what was measured: one slow round on a busy machine does not move it.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Between two figures, in proportion.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}
