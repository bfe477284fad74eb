//! The names of one child list, and some of the nodes that have them.

use std::sync::Arc;

use crate::path::NodePath;

/// The names of one child list, sorted by their bytes, side by side in one allocation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    /// Where each name ends.
    ends: Vec<u32>,
}

impl Names {
    /// Of names that are sorted, each once. Together they must be shorter than 4 GiB, which no frame is.
    pub fn of_sorted(names: &[&str]) -> Names {
        let text = String::with_capacity(names.iter().map(|name| name.len()).sum());
        let mut list = Names { text, ends: Vec::with_capacity(names.len()) };
        for name in names {
            debug_assert!(list.ends.is_empty() || list.get(list.len() - 1) < *name);
            list.text.push_str(name);
            list.ends.push(list.text.len() as u32);
        }
        list
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name at this place of the list; empty, which no name is, where there is none.
    pub fn get(&self, index: usize) -> &str {
        let start =
            index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.ends.get(index).and_then(|end| self.text.get(start..*end as usize)).unwrap_or_default()
    }

    /// The place of a name in the list.
    pub fn find(&self, name: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// Some nodes of one child list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Siblings {
    /// Whose children they are.
    pub parent: NodePath,
    /// The list.
    pub names: Arc<Names>,
    /// Their places in the list, in order.
    pub places: Vec<u32>,
}

impl Siblings {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| self.names.get(*place as usize))
    }

    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = NodePath> {
        let mut buffer = String::new();
        self.names().map(move |name| self.parent.absolute_in(name, &mut buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_where_it_stands_and_no_other() {
        let sorted = ["", "a", "a.b", "b", "größe"];
        for len in 0..sorted.len() {
            let names = Names::of_sorted(&sorted[1..=len]);
            assert_eq!((names.len(), names.is_empty()), (len, len == 0));
            for (place, name) in sorted[1..=len].iter().enumerate() {
                assert_eq!((names.get(place), names.find(name)), (*name, Some(place)));
            }
            for absent in ["", "A", "a.", "a.c", "z", "größ"] {
                assert_eq!(names.find(absent), None, "{absent}");
            }
            assert_eq!(names.get(len), "");
        }
    }
}
