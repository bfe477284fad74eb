//! What is remembered of paths that changed lately: all that is not in the tree itself.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use treecache::{EventKind, NodeRef, Stat};

use super::look::Freshness;

/// How long a change is seen, and a node that went.
pub const FADE: Duration = Duration::from_secs(5);

/// After which heat is half of what it was.
const HALF_LIFE: f64 = 10.0;

/// Less heat is none.
const COLD: f64 = 0.05;

/// So many paths are remembered at a time. Of more that change within a minute, the rest is only counted.
const MOST: usize = 100_000;

/// Of a node that went, so much of its data is kept: no screen is wider.
const MOST_DATA: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Updated,
    Removed,
}

impl Change {
    pub fn of(kind: EventKind) -> Option<Change> {
        match kind {
            EventKind::NodeAdded => Some(Change::Added),
            EventKind::NodeUpdated => Some(Change::Updated),
            EventKind::NodeRemoved => Some(Change::Removed),
            _ => None,
        }
    }
}

/// How a node changed lately.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    change: Change,
    at: Duration,
    /// Changes, those of a half-life ago counted half, and so on: as of the last one.
    heat: f64,
}

impl Note {
    /// The last change, as long as it is seen.
    pub fn change(&self, now: Duration) -> Option<(Change, Freshness)> {
        let age = now.saturating_sub(self.at);
        let freshness = match age {
            _ if age < Duration::from_secs(1) => Freshness::Now,
            _ if age < FADE / 2 => Freshness::Lately,
            _ => Freshness::Before,
        };
        (age < FADE).then_some((self.change, freshness))
    }

    pub fn heat(&self, now: Duration) -> f64 {
        self.heat * (-now.saturating_sub(self.at).as_secs_f64() / HALF_LIFE).exp2()
    }
}

/// A node that went.
pub struct Ghost {
    pub stat: Stat,
    /// Its last data, or the beginning of that.
    pub data: Box<[u8]>,
    pub at: Duration,
}

/// A path, in the order of a walk: parents before their children, siblings by the bytes of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePath(pub String);

impl Ord for TreePath {
    fn cmp(&self, other: &TreePath) -> Ordering {
        in_tree_order(&self.0, &other.0)
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &TreePath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A slash comes before every byte of a name.
pub fn in_tree_order(a: &str, b: &str) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.as_bytes().iter().map(rank).cmp(b.as_bytes().iter().map(rank))
}

#[derive(Default)]
pub struct Notes {
    notes: HashMap<String, Note>,
    ghosts: BTreeMap<TreePath, Ghost>,
}

impl Notes {
    /// Remembers that a node changed. `node`: what it was last.
    pub fn take(&mut self, path: &str, change: Change, node: Option<NodeRef<'_>>, now: Duration) {
        let is_full = self.notes.len() >= MOST;
        match self.notes.get_mut(path) {
            Some(note) => *note = Note { change, at: now, heat: note.heat(now) + 1.0 },
            None if !is_full => {
                self.notes.insert(path.to_owned(), Note { change, at: now, heat: 1.0 });
            }
            None => return,
        }
        match (change, node) {
            (Change::Removed, Some(node)) => {
                let data = node.data();
                let data = data[..data.len().min(MOST_DATA)].into();
                self.ghosts.insert(TreePath(path.to_owned()), Ghost { stat: *node.stat(), data, at: now });
            }
            _ => _ = self.ghosts.remove(&TreePath(path.to_owned())),
        }
    }

    /// Drops what says nothing any more. Returns whether that was seen as a node.
    pub fn sweep(&mut self, now: Duration) -> bool {
        self.notes.retain(|_, note| note.change(now).is_some() || note.heat(now) >= COLD);
        let before = self.ghosts.len();
        self.ghosts.retain(|_, ghost| now.saturating_sub(ghost.at) < FADE);
        self.ghosts.len() < before
    }

    pub fn get(&self, path: &str) -> Option<&Note> {
        self.notes.get(path)
    }

    pub fn ghost(&self, path: &str) -> Option<&Ghost> {
        if self.ghosts.is_empty() { None } else { self.ghosts.get(&TreePath(path.to_owned())) }
    }

    pub fn ghosts(&self) -> &BTreeMap<TreePath, Ghost> {
        &self.ghosts
    }

    /// Paths that have changed, the one that changes most first.
    pub fn hottest(&self, now: Duration) -> Vec<&str> {
        let mut hottest: Vec<(f64, &str)> =
            self.notes.iter().map(|(path, note)| (note.heat(now), &**path)).collect();
        hottest.sort_by(|(heat, path), (other, with)| {
            other.total_cmp(heat).then_with(|| in_tree_order(path, with))
        });
        hottest.into_iter().map(|(_, path)| path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn paths_are_ordered_as_a_walk_has_them() {
        let walk = ["/", "/a", "/a/b", "/a/b/c", "/a/bc", "/a!", "/a.b", "/b", "/ä"];
        let mut shuffled = ["/a!", "/b", "/a/bc", "/ä", "/a", "/a/b/c", "/a.b", "/", "/a/b"]
            .map(|path| TreePath(path.to_owned()));
        shuffled.sort();
        assert_eq!(shuffled.map(|path| path.0), walk);
    }

    #[test]
    fn a_change_fades_and_its_heat_is_halved_again_and_again() {
        let mut notes = Notes::default();
        notes.take("/a", Change::Updated, None, at(0.0));
        notes.take("/a", Change::Updated, None, at(10.0));
        let seen = |notes: &Notes, seconds| notes.get("/a").unwrap().change(at(seconds));
        assert_eq!(seen(&notes, 10.9), Some((Change::Updated, Freshness::Now)));
        assert_eq!(seen(&notes, 12.0), Some((Change::Updated, Freshness::Lately)));
        assert_eq!(seen(&notes, 14.9), Some((Change::Updated, Freshness::Before)));
        assert_eq!(seen(&notes, 15.0), None);
        let heat = |seconds| notes.get("/a").unwrap().heat(at(seconds));
        assert!((heat(10.0) - 1.5).abs() < 1e-9 && (heat(20.0) - 0.75).abs() < 1e-9);
        notes.sweep(at(20.0));
        assert!(notes.get("/a").is_some());
        notes.sweep(at(70.0));
        assert!(notes.get("/a").is_none());
    }

    #[test]
    fn a_node_that_went_is_kept_for_a_while_unless_it_comes_back() {
        let mut notes = Notes::default();
        let data = vec![b'x'; 5000];
        let gone = |notes: &mut Notes, path, seconds| {
            notes.take(path, Change::Removed, Some(NodeRef::new(&data, Stat::default())), at(seconds));
        };
        gone(&mut notes, "/a", 0.0);
        gone(&mut notes, "/b", 1.0);
        assert_eq!(notes.ghost("/a").unwrap().data.len(), MOST_DATA);
        notes.take("/b", Change::Added, None, at(2.0));
        assert!(notes.ghost("/b").is_none());
        assert!(!notes.sweep(at(4.9)) && notes.sweep(at(5.0)));
        assert!(notes.ghosts().is_empty());
    }

    #[test]
    fn what_changes_most_is_the_hottest() {
        let mut notes = Notes::default();
        for (path, times) in [("/b", 1), ("/a", 1), ("/c", 3)] {
            (0..times).for_each(|_| notes.take(path, Change::Updated, None, at(0.0)));
        }
        assert_eq!(notes.hottest(at(0.0)), ["/c", "/a", "/b"]);
    }

    #[test]
    fn a_storm_is_remembered_up_to_a_bound() {
        let mut notes = Notes::default();
        for n in 0..MOST + 10 {
            notes.take(&format!("/{n}"), Change::Removed, Some(NodeRef::new(b"", Stat::default())), at(0.0));
        }
        assert_eq!((notes.notes.len(), notes.ghosts.len()), (MOST, MOST));
    }
}
