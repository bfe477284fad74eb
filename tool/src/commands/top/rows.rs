//! Which rows are shown in which order, and which of them is selected.
//!
//! The tree itself is shown by its outline. Only if it is filtered, or ordered by heat, the paths of the rows are listed; of a
//! large tree, up to a bound.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::notes::{Notes, in_tree_order};
use super::outline::Outline;

/// So many rows are listed.
const MOST: usize = 100_000;

/// Of the time, going through all rows takes at most one part in so many.
const SHARE: u32 = 10;

/// A place among the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0; `None` while it is not known.
    pub index: Option<usize>,
    pub total: usize,
    /// There are more rows than that.
    pub is_cut_off: bool,
}

pub struct Rows {
    is_by_heat: bool,
    filter: String,
    /// `None`: the outline's.
    list: Option<List>,
    selected: Option<String>,
    place: Place,
    /// The first row on the screen.
    top: Option<String>,
    /// They are to be made anew, for another reason than a change of the tree.
    is_stale: bool,
    pace: Pace,
}

struct List {
    paths: Vec<String>,
    /// The first row on the screen.
    top: usize,
}

impl Default for Rows {
    fn default() -> Rows {
        Rows {
            is_by_heat: false,
            filter: String::new(),
            list: None,
            selected: None,
            place: Place { index: None, total: 0, is_cut_off: false },
            top: None,
            is_stale: true,
            pace: Pace::default(),
        }
    }
}

impl Rows {
    /// The path that is selected, if there is any row.
    pub fn selected(&self) -> Option<&str> {
        self.selected.as_deref()
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn is_by_heat(&self) -> bool {
        self.is_by_heat
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// The hottest first, or the tree.
    pub fn toggle_heat(&mut self) {
        self.is_by_heat = !self.is_by_heat;
        self.is_stale = true;
        if self.is_by_heat {
            self.place.index = Some(0);
        }
    }

    /// Only paths with that text in them, and what is above these. Nothing: all.
    pub fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.is_stale = true;
    }

    /// The folds are others.
    pub fn handle_folds(&mut self) {
        self.is_stale = true;
    }

    /// Makes the rows anew if something has changed and it is time to; at once, if somebody has pressed a key for that. Returns
    /// whether it did.
    pub fn refresh(&mut self, outline: Outline<'_>, notes: &Notes, has_changed: bool, now: Duration) -> bool {
        if !self.is_stale && !((has_changed || self.place.index.is_none()) && self.pace.is_due()) {
            return false;
        }
        let began = Instant::now();
        match self.is_by_heat || !self.filter.is_empty() {
            true => self.make_list(outline, notes, now),
            false => {
                self.list = None;
                self.select_near(outline);
                self.count(outline);
            }
        }
        self.is_stale = false;
        self.pace.took(began.elapsed());
        true
    }

    fn make_list(&mut self, outline: Outline<'_>, notes: &Notes, now: Duration) {
        let filter = &*self.filter;
        let mut paths: Vec<String> = Vec::new();
        let mut is_cut_off = false;
        if self.is_by_heat {
            let hottest = notes.hottest(now);
            let hot = hottest.iter().filter(|path| path.contains(filter) && outline.is_row(path));
            paths.extend(hot.take(MOST).map(|path| (*path).to_owned()));
            let hot: HashSet<String> = paths.iter().cloned().collect();
            outline.visit(|path| {
                is_cut_off = paths.len() >= MOST;
                if path.contains(filter) && !hot.contains(path) && !is_cut_off {
                    paths.push(path.to_owned());
                }
                !is_cut_off
            });
        } else {
            // Above the row that is visited, and not listed so far.
            let mut above: Vec<String> = Vec::new();
            outline.visit(|path| {
                is_cut_off = paths.len() >= MOST;
                while above.last().is_some_and(|last| !is_below(path, last)) {
                    above.pop();
                }
                match path.contains(filter) {
                    _ if is_cut_off => {}
                    true => {
                        paths.append(&mut above);
                        paths.push(path.to_owned());
                    }
                    false => above.push(path.to_owned()),
                }
                !is_cut_off
            });
        }
        // In the tree the selection stays with its node; among the hottest it stays at its place.
        let again = match (&self.selected, self.is_by_heat) {
            (Some(selected), false) => paths.binary_search_by(|path| in_tree_order(path, selected)).ok(),
            _ => None,
        };
        let index = again.or(self.place.index).unwrap_or(0).min(paths.len().saturating_sub(1));
        self.place = Place { index: Some(index), total: paths.len(), is_cut_off };
        self.selected = paths.get(index).cloned();
        let top = self.list.take().map_or(0, |list| list.top);
        self.list = Some(List { paths, top });
    }

    /// How many rows there are, and how many before the one that is selected.
    fn count(&mut self, outline: Outline<'_>) {
        let selected = self.selected.as_deref();
        let (mut total, mut index) = (0, None);
        outline.visit(|path| {
            if index.is_none() && Some(path) == selected {
                index = Some(total);
            }
            total += 1;
            true
        });
        self.place = Place { index, total, is_cut_off: false };
    }

    /// If the row that is selected has gone, one near is.
    fn select_near(&mut self, outline: Outline<'_>) {
        let near = match &self.selected {
            Some(selected) => outline.nearest(selected),
            None => outline.first(),
        };
        if near != self.selected {
            self.selected = near;
            self.place.index = None;
        }
    }

    /// The rows that are on a screen of so many lines, the selected one among them.
    pub fn on_screen(&mut self, outline: Outline<'_>, lines: usize) -> Vec<String> {
        let lines = lines.max(1);
        if let Some(list) = &mut self.list {
            let index = self.place.index.unwrap_or(0);
            let last = list.paths.len().saturating_sub(lines);
            list.top = list.top.clamp((index + 1).saturating_sub(lines), index).min(last);
            return list.paths.iter().skip(list.top).take(lines).cloned().collect();
        }
        self.select_near(outline);
        let Some(selected) = self.selected.as_deref() else { return Vec::new() };
        let top = self.top.as_deref().and_then(|top| outline.nearest(top));
        let mut rows = collected(outline, top.unwrap_or_else(|| selected.to_owned()), lines);
        if !rows.iter().any(|row| row == selected) {
            let is_above = rows.first().is_some_and(|top| in_tree_order(selected, top).is_lt());
            let up = if is_above { 0 } else { lines.saturating_sub(1) };
            let top = (0..up).try_fold(selected.to_owned(), |row, _| outline.previous(&row).ok_or(row));
            rows = collected(outline, top.unwrap_or_else(|first| first), lines);
        }
        // No line is left empty while there is something above.
        let missing = lines.saturating_sub(rows.len());
        let mut above: Vec<String> = Vec::new();
        while above.len() < missing
            && let Some(row) = above.last().or(rows.first()).and_then(|row| outline.previous(row))
        {
            above.push(row);
        }
        above.reverse();
        above.append(&mut rows);
        self.top = above.first().cloned();
        above
    }

    pub fn select_first(&mut self, outline: Outline<'_>) {
        match &self.list {
            Some(_) => self.select_index(0),
            None => {
                self.selected = outline.first();
                self.place.index = self.selected.as_ref().map(|_| 0);
            }
        }
    }

    pub fn select_last(&mut self, outline: Outline<'_>) {
        match &self.list {
            Some(_) => self.select_index(usize::MAX),
            None => {
                self.selected = outline.last();
                self.place.index = self.place.total.checked_sub(1);
            }
        }
    }

    pub fn move_down(&mut self, outline: Outline<'_>, rows: usize) {
        if self.list.is_some() {
            return self.select_index(self.place.index.unwrap_or(0).saturating_add(rows));
        }
        for _ in 0..rows {
            let Some(next) = self.selected.as_deref().and_then(|selected| outline.next(selected)) else {
                return;
            };
            self.selected = Some(next);
            self.place.index = self.place.index.map(|index| index + 1);
        }
    }

    pub fn move_up(&mut self, outline: Outline<'_>, rows: usize) {
        if self.list.is_some() {
            return self.select_index(self.place.index.unwrap_or(0).saturating_sub(rows));
        }
        for _ in 0..rows {
            let before = self.selected.as_deref().and_then(|selected| outline.previous(selected));
            let Some(before) = before else { return };
            self.selected = Some(before);
            self.place.index = self.place.index.and_then(|index| index.checked_sub(1));
        }
    }

    /// Selects what the selected row is below of, if that has a row.
    pub fn select_parent(&mut self, outline: Outline<'_>) {
        let Some(parent) = self.selected.as_deref().and_then(|selected| outline.parent(selected)) else {
            return;
        };
        match &self.list {
            Some(list) => {
                if let Some(index) = list.paths.iter().position(|path| *path == parent) {
                    self.select_index(index);
                }
            }
            None => {
                self.selected = Some(parent);
                self.is_stale = true;
            }
        }
    }

    /// Until what takes time may be done again.
    #[cfg(test)]
    pub fn wait_until_due(&self) {
        while !self.pace.is_due() {
            std::thread::yield_now();
        }
    }

    fn select_index(&mut self, index: usize) {
        let Some(list) = &self.list else { return };
        let index = index.min(list.paths.len().saturating_sub(1));
        self.place.index = Some(index);
        self.selected = list.paths.get(index).cloned();
    }
}

/// Rows from one on.
fn collected(outline: Outline<'_>, first: String, lines: usize) -> Vec<String> {
    std::iter::successors(Some(first), |row| outline.next(row)).take(lines).collect()
}

fn is_below(path: &str, above: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// When something that took time may be done again.
#[derive(Default)]
struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    fn is_due(&self) -> bool {
        self.last.is_none_or(|(ended, took)| ended.elapsed() >= took * (SHARE - 1))
    }

    fn took(&mut self, time: Duration) {
        self.last = Some((Instant::now(), time));
    }
}
