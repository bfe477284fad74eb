//! Which changes of a tree somebody wants to be told.

/// Which kinds of changes somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// [`Change::Added`](super::Change::Added).
    pub added: bool,
    /// [`Change::Updated`](super::Change::Updated).
    pub updated: bool,
    /// [`Change::Removed`](super::Change::Removed).
    pub removed: bool,
}

impl Kinds {
    /// All of them.
    pub const ALL: Kinds = Kinds { added: true, updated: true, removed: true };
}

/// Which changes somebody wants: of which kinds, below which nodes, and how deep there. Subtrees may overlap, or be
/// named twice: what is in several of them is in the filter once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    kinds: Kinds,
    /// How many levels of a subtree are wanted, its root's included; `usize::MAX`: all.
    levels: usize,
    /// The way to the subtrees. The first place is the tree's root.
    places: Vec<Place>,
}

/// A node that is the root of a wanted subtree, or above one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    is_subtree: bool,
    /// The places right below, by name, in byte order.
    below: Vec<(Box<str>, usize)>,
}

/// What a filter wants at one node and below it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// How many levels are wanted from here down, the node's own included.
    levels: usize,
    /// Where subtrees begin below.
    place: Option<usize>,
}

impl Reach {
    /// Whether the node itself is wanted.
    pub(super) fn is_wanted(self) -> bool {
        self.levels > 0
    }

    /// Whether all children are wanted.
    pub(super) fn has_children(self) -> bool {
        self.levels > 1
    }
}

impl Filter {
    /// Everything.
    pub fn all() -> Filter {
        Filter::new(Kinds::ALL, [""], None)
    }

    /// Changes of these kinds, at each of the paths in `under` and up to `depth` levels below it; `None`: however deep.
    pub fn new<'p>(kinds: Kinds, under: impl IntoIterator<Item = &'p str>, depth: Option<usize>) -> Filter {
        let levels = depth.map_or(usize::MAX, |depth| depth.saturating_add(1));
        let mut filter = Filter { kinds, levels, places: vec![Place::default()] };
        for path in under {
            filter.add(path);
        }
        filter
    }

    fn add(&mut self, path: &str) {
        let mut at = 0;
        for name in super::names(path.as_bytes()) {
            if self.is_all_below(at) {
                return;
            }
            // It was cut out of a text at slashes.
            let name = std::str::from_utf8(name).expect("it is text");
            at = match self.search(at, name) {
                Ok(index) => self.places[at].below[index].1,
                Err(index) => {
                    let new = self.places.len();
                    self.places.push(Place::default());
                    self.places[at].below.insert(index, (name.into(), new));
                    new
                }
            };
        }
        self.places[at].is_subtree = true;
        if self.is_all_below(at) {
            // What was named below is part of it.
            self.places[at].below.clear();
        }
    }

    fn is_all_below(&self, at: usize) -> bool {
        self.places[at].is_subtree && self.levels == usize::MAX
    }

    fn search(&self, at: usize, name: &str) -> Result<usize, usize> {
        self.places[at].below.binary_search_by(|(other, _)| (**other).cmp(name))
    }

    pub(super) fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.kinds == Kinds::ALL && self.is_all_below(0)
    }

    pub(super) fn at_root(&self) -> Reach {
        self.arrive(0, 0)
    }

    /// At the child of that name.
    pub(super) fn below(&self, reach: Reach, name: &str) -> Reach {
        let levels = reach.levels.saturating_sub(1);
        match reach.place.and_then(|at| self.search(at, name).ok().map(|index| (at, index))) {
            Some((at, index)) => self.arrive(self.places[at].below[index].1, levels),
            None => Reach { levels, place: None },
        }
    }

    /// At this place, where so many levels are wanted of a subtree that began further up.
    fn arrive(&self, at: usize, levels: usize) -> Reach {
        let place = &self.places[at];
        let own = if place.is_subtree { self.levels } else { 0 };
        Reach { levels: levels.max(own), place: (!place.below.is_empty()).then_some(at) }
    }

    /// Below which of its children subtrees begin: the name of the one at this index.
    pub(super) fn named(&self, reach: Reach, index: usize) -> Option<&str> {
        let (name, _) = self.places[reach.place?].below.get(index)?;
        Some(name)
    }

    /// Whether subtrees begin somewhere below the node.
    pub(super) fn has_named(&self, reach: Reach) -> bool {
        reach.place.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(filter: &Filter) -> usize {
        fn count(filter: &Filter, at: usize) -> usize {
            1 + filter.places[at].below.iter().map(|(_, at)| count(filter, *at)).sum::<usize>()
        }
        count(filter, 0)
    }

    #[test]
    fn what_is_part_of_another_subtree_is_not_kept() {
        let filter = |under: &[&str], depth| Filter::new(Kinds::ALL, under.iter().copied(), depth);
        for under in [&["a", "a/b/c", "a/b", "a"][..], &["a/b/c", "a/b", "a"], &["a"]] {
            assert_eq!(places(&filter(under, None)), 2, "{under:?}");
        }
        assert!(filter(&["a", ""], None).is_all() && filter(&["", "a/b"], None).is_all());
        assert!(!filter(&["a", ""], Some(9)).is_all() && !filter(&["a"], None).is_all());
        assert!(Filter::all().is_all());
        // "a-b" is between "a" and "a/b" as a text, and not below "a".
        assert_eq!(places(&filter(&["a", "a-b", "a/b"], None)), 3);
        // With a depth, one that begins further down goes further down.
        assert_eq!(places(&filter(&["a", "a/b/c"], Some(1))), 4);
    }

    #[test]
    fn a_nested_subtree_adds_what_the_outer_one_does_not_reach() {
        let filter = Filter::new(Kinds::ALL, ["a", "a/b/c"], Some(1));
        let reach = |path: &str| {
            let at = path.split('/').fold(filter.at_root(), |reach, name| filter.below(reach, name));
            (at.is_wanted(), at.has_children())
        };
        assert!(!filter.at_root().is_wanted());
        assert_eq!(reach("a"), (true, true));
        assert_eq!(reach("a/b"), (true, false));
        assert_eq!(reach("a/x/c"), (false, false));
        assert_eq!(reach("a/b/c"), (true, true));
        assert_eq!(reach("a/b/c/d"), (true, false));
        assert_eq!(reach("a/b/c/d/e"), (false, false));
    }
}
