//! Ways: what readers of deep paths have found, for those who come behind them.
//!
//! A look-up goes from list to list, name by name. Where many names lead down without a choice that matters, nearly all
//! of that is done again by the next reader. So a list may know one [`Way`]: names that lead down from it, and the list
//! behind each of them. Whoever asks for a path that begins with some of these names goes on behind them.
//!
//! A way cannot be wrong: the names are compared, and a list that is frozen never changes, nor does what is below it. An
//! edit comes to a list through all lists above it, and each of them forgets its way then; a copy of a list knows none.
//! So versions share ways as they share lists, and writers do not learn any.
//!
//! Ways cost nothing where no path is deep: a list learns one only if readers have walked [`LEAST`] names on end below it,
//! and no list on that stretch knew one that led on. So two ways of a version hardly ever lead to one list.

use std::sync::Arc;

use once_cell::race::OnceBox;

use super::children::Children;
use super::entry::Entry;
use crate::planted::{self, Defect};

/// How many names on end have to be walked before their way is kept. That many take a fifth of a microsecond.
const LEAST: usize = 16;
/// A path that is shorter does not have so many names below the first one.
pub(super) const SHORTEST: usize = 2 * LEAST + 1;
/// How often a look-up may come to a way that leads elsewhere. Then it takes no more notice of any.
const MOST_ASTRAY: usize = 4;

/// Names that lead down from a list. It holds nothing that the list does not hold, too.
struct Way {
    /// The names, each with a slash behind it.
    names: Box<[u8]>,
    /// Where each name ends in these, with its slash.
    ends: Box<[u32]>,
    /// The list below each.
    lists: Box<[Arc<Children>]>,
}

impl Way {
    /// Down from a list; each of the names has a slash behind it. `None` if they lead nowhere.
    fn new(from: &Children, names: &[u8], count: usize) -> Option<Way> {
        let (mut list, mut end) = (from, 0);
        let (mut ends, mut lists) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for name in names.split_inclusive(|byte| *byte == b'/') {
            let below = list.get(name.strip_suffix(b"/")?)?.children()?;
            end += name.len();
            ends.push(u32::try_from(end).ok()?);
            lists.push(below.clone());
            list = below;
        }
        Some(Way { names: names.into(), ends: ends.into(), lists: lists.into() })
    }

    /// How far it leads towards a path: the list there, and the rest of the path from there. `None` if it leads elsewhere.
    fn follow<'p>(&self, path: &'p [u8]) -> Option<(&Children, &'p [u8])> {
        let common = match planted::is(Defect::WayNotCompared) {
            false => common_prefix(&self.names, path),
            true => self.names.len().min(path.len()),
        };
        let names = match common == self.names.len() {
            true => self.ends.len(),
            false => self.ends.partition_point(|end| *end as usize <= common),
        };
        let last = names.checked_sub(1)?;
        Some((&self.lists[last], &path[self.ends[last] as usize..]))
    }

    fn footprint(&self) -> usize {
        size_of::<Way>() + size_of_val(&*self.names) + size_of_val(&*self.ends) + size_of_val(&*self.lists)
    }
}

/// The way that a list knows, if it knows one. A clone knows none.
///
/// It is kept by the second one who goes it, so that nothing is kept for a version from which a path is read once; the
/// first one leaves the box. Nobody waits: of two readers who put in something at once one is too late.
#[derive(Default)]
pub(super) struct KnownWay {
    way: OnceBox<OnceBox<Way>>,
}

impl Clone for KnownWay {
    fn clone(&self) -> KnownWay {
        KnownWay::default()
    }
}

impl KnownWay {
    #[inline]
    fn get(&self) -> Option<&Way> {
        self.way.get()?.get()
    }

    /// To be called before what is below the list is changed.
    #[inline]
    pub(super) fn forget(&mut self) {
        if !planted::is(Defect::WayKept) {
            self.way = OnceBox::new();
        }
    }

    /// Bytes beside the struct itself.
    pub(super) fn footprint(&self) -> usize {
        let boxed = self.way.get().map_or(0, |_| size_of::<OnceBox<Way>>());
        boxed + self.get().map_or(0, Way::footprint)
    }
}

/// Names that were walked one after the other, as nobody knew a way.
#[derive(Clone, Copy)]
struct Stretch<'t, 'p> {
    /// The list where it begins, which knows no way.
    from: &'t Children,
    /// The rest of the path there.
    path: &'p [u8],
    /// How many names.
    names: usize,
}

impl Stretch<'_, '_> {
    /// Keeps it as a way if it is long enough; `rest` is what of the path is behind it.
    #[inline]
    fn end(self, rest: &[u8]) {
        if self.names >= LEAST {
            self.keep(&self.path[..self.path.len() - rest.len()]);
        }
    }

    #[cold]
    fn keep(self, names: &[u8]) {
        let known = &self.from.known_way().way;
        match known.get() {
            None => _ = known.set(Box::default()),
            Some(way) => {
                let new = Way::new(self.from, names, self.names);
                _ = new.map(|new| way.set(Box::new(new)));
            }
        }
    }
}

/// What is at `path` below a tree's `root`.
pub(super) fn find<'t>(root: Entry<'t>, path: &[u8]) -> Option<Entry<'t>> {
    let (mut list, mut rest) = (&**root.children()?, path);
    let (mut stretch, mut astray) = (None::<Stretch<'t, '_>>, 0);
    while let Some(at) = slash(rest) {
        list = list.get(&rest[..at])?.children()?;
        rest = &rest[at + 1..];
        if let Some(stretch) = &mut stretch {
            stretch.names += 1;
        }
        // Not before the second list: the first one is another in each version.
        while let Some(way) = list.known_way().get() {
            let Some((further, behind)) = way.follow(rest) else {
                astray += 1;
                break;
            };
            if let Some(stretch) = stretch.take() {
                stretch.end(rest);
            }
            (list, rest) = (further, behind);
        }
        if astray == MOST_ASTRAY {
            return walk(list, rest);
        }
        if stretch.is_none() && list.known_way().get().is_none() {
            stretch = Some(Stretch { from: list, path: rest, names: 0 });
        }
    }
    let found = list.get(rest)?;
    if let Some(stretch) = stretch {
        stretch.end(rest);
    }
    Some(found)
}

/// What is at `path` below a list.
fn walk<'t>(mut list: &'t Children, mut path: &[u8]) -> Option<Entry<'t>> {
    while let Some(at) = slash(path) {
        list = list.get(&path[..at])?.children()?;
        path = &path[at + 1..];
    }
    list.get(path)
}

/// Where the first slash is. Names are short: looking at eight bytes at once is faster than a search made for long texts.
#[inline]
fn slash(path: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const SLASHES: u64 = u64::from_le_bytes([b'/'; 8]);
    let (words, rest) = path.as_chunks();
    for (index, word) in words.iter().enumerate() {
        // A byte is zero where there is a slash. The first zero, and what may look like one behind it, has its top bit set then.
        let other = u64::from_le_bytes(*word) ^ SLASHES;
        let found = other.wrapping_sub(ONES) & !other & ONES << 7;
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| *byte == b'/').map(|at| 8 * words.len() + at)
}

/// How many bytes both begin with in common.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const AT_ONCE: usize = 32;
    let (some, others) = (a.as_chunks::<AT_ONCE>().0, b.as_chunks::<AT_ONCE>().0);
    let start = AT_ONCE * some.iter().zip(others).take_while(|(a, b)| a == b).count();
    start + a[start..].iter().zip(&b[start..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::node;
    use super::super::{ListBuilder, NodeRef, Tree};
    use super::*;
    use crate::stat::Stat;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A chain of nodes of this name below the root.
    fn chain(name: &str, depth: usize) -> (Tree, String) {
        let (mut tree, mut path) = (Tree::default(), String::new());
        assert!(tree.put("", node(1, 1)));
        for _ in 0..depth {
            super::super::walk::push_name(&mut path, name);
            assert!(tree.put(&path, node(1, 1)));
        }
        (tree, path)
    }

    /// Looks a path up as often as it takes until its way is known; it has to be found each time as by a walk.
    fn look_up(tree: &Tree, path: &str) {
        let walked = tree.get(path);
        for _ in 0..4 {
            let found = tree.look_up(path);
            assert_eq!(found.is_some(), walked.is_some(), "{path:?}");
            assert!(found.zip(walked).is_none_or(|(found, walked)| found.is_one_with(&walked)), "{path:?}");
            assert!(found.zip(walked).is_none_or(|(found, walked)| found.is(&walked)), "{path:?}");
        }
    }

    /// The paths to whose lists ways lead, and how many steps that are.
    fn known(tree: &Tree) -> (BTreeSet<String>, usize) {
        let (mut lists, mut steps) = (BTreeSet::new(), 0);
        let mut walk = tree.preorder();
        while let Some((path, entry)) = walk.next() {
            if let Some(way) = entry.children().and_then(|list| list.known_way().get()) {
                let names = |end: &u32| String::from_utf8(way.names[..*end as usize].into()).unwrap();
                lists.extend(way.ends.iter().map(|end| format!("{path}/{}", names(end))));
                steps += way.lists.len();
            }
        }
        (lists, steps)
    }

    #[test]
    fn the_second_reader_keeps_the_way_and_an_edit_of_something_on_it_forgets_it() {
        let (mut tree, path) = chain("name", 40);
        let steps = |tree: &Tree| known(tree).1;
        tree.look_up(&path);
        assert_eq!(steps(&tree), 0);
        tree.look_up(&path);
        // From the second list to the one where the node is.
        assert_eq!(steps(&tree), 38);
        let before = tree.clone();
        assert!(tree.put("name/name/other", node(2, 2)));
        assert_eq!((steps(&before), steps(&tree)), (38, 0));
        look_up(&tree, &path);
        assert_eq!(steps(&tree), 38);
        assert!(tree.put("other", node(2, 2)));
        assert_eq!(steps(&tree), 38);
    }

    #[test]
    fn what_leads_elsewhere_is_passed_and_another_way_begins_there() {
        let (mut tree, path) = chain("n", 60);
        let fork = &path[..2 * 20];
        for depth in 0..20 {
            assert!(tree.put(&format!("{fork}{}", vec!["x"; depth + 1].join("/")), node(1, 1)));
        }
        let other = format!("{fork}{}", vec!["x"; 20].join("/"));
        look_up(&tree, &path);
        assert_eq!(known(&tree).1, 58);
        look_up(&tree, &other);
        // From the list where they part.
        assert_eq!(known(&tree).1, 58 + 19);
        look_up(&tree, &path[..2 * 30 - 1]);
        assert_eq!(known(&tree).1, 58 + 19);
    }

    #[test]
    fn usual_trees_know_no_ways() {
        let (tree, path) = chain("a-name-that-is-long-enough", LEAST);
        look_up(&tree, &path);
        assert_eq!(known(&tree).1, 0);
    }

    #[test]
    fn no_edit_copies_a_list_because_a_way_leads_to_it() {
        let (mut tree, path) = chain("n", 100);
        for zxid in 2..10 {
            look_up(&tree, &path);
            let let_go = tree.let_go();
            assert!(tree.put(&path, node(1, zxid)));
            // Nothing but the data of some, which stand beside their blocks.
            assert!(tree.let_go() - let_go <= 2100 * 4, "{}", tree.let_go() - let_go);
        }
    }

    #[test]
    fn ways_are_dropped_without_recursion() {
        const DEPTH: usize = 1_000_000;
        let mut below = None;
        for _ in 0..DEPTH {
            let mut list = ListBuilder::default();
            assert!(list.push("d", Some(NodeRef::new(&[], Stat { num_children: 1, ..Stat::default() }))));
            let mut list = list.finish();
            if let Some((block, index)) = list.find_mut(b"d", &mut 0) {
                *block.list_mut(index, &mut 0).expect("there is room") = below.take();
            }
            below = Some(Arc::new(list));
        }
        let below_first = |entry: Entry<'_>| entry.children().cloned();
        let top = below.as_ref().and_then(|list| list.get("d")).and_then(below_first);
        let (names, mut left) = (["d"; 3 * LEAST].join("/"), DEPTH - 3 * LEAST);
        let mut entry = below.as_ref().and_then(|list| list.get("d"));
        // Each way begins where the one before ends.
        let step = 3 * LEAST - 2;
        while let Some(top) = entry.filter(|_| left > step) {
            for _ in 0..2 {
                assert!(find(top, names.as_bytes()).is_some());
            }
            for _ in 0..step {
                entry = entry.and_then(|entry| entry.children()).and_then(|list| list.get("d"));
            }
            left -= step;
        }
        // What is left begins with a list that knows a way.
        let first = top.as_ref().and_then(|list| list.get("d")).and_then(below_first);
        assert!(first.as_ref().is_some_and(|list| list.known_way().get().is_some()));
        drop((below, top));
        let small = std::thread::Builder::new().stack_size(100_000);
        small.spawn(move || drop(first)).expect("a thread").join().expect("it is dropped");
    }

    /// Edits of a tree that is deep and forks: at one of the nodes, one of many.
    fn edits() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, usize)>> {
        prop::collection::vec((0u8..12, any::<prop::sample::Index>(), 1usize..30), 1..30)
    }

    fn edit(tree: &mut Tree, zxid: i64, op: u8, at: &str, len: usize) {
        match op {
            // Names that lead down.
            0..=5 => {
                let mut path = at.to_owned();
                for n in 0..len {
                    let name = ["n", "m", "instance-0000000012"][(n + usize::from(op)) % 3];
                    super::super::walk::push_name(&mut path, name);
                    assert!(tree.put(&path, node(1, zxid)) || tree.get(at).is_none_or(|at| at.is_opaque()));
                }
            }
            6 => _ = tree.put(at, node(1, zxid)),
            7 => _ = tree.remove(at),
            8 => tree.remove_below(at),
            9 => _ = tree.put(at, None),
            // What was below another name.
            _ => {
                let list = tree.get(at).and_then(|entry| entry.children()).map(|list| Children::clone(list));
                let to = at.rsplit_once('/').map_or("", |(parent, _)| parent);
                if let Some(list) = list {
                    _ = tree.attach(to, list);
                }
            }
        }
    }

    fn paths(tree: &Tree) -> Vec<String> {
        let (mut paths, mut walk) = (Vec::new(), tree.preorder());
        while let Some((path, _)) = walk.next() {
            paths.push(path.to_owned());
        }
        paths
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_looked_up_is_what_a_walk_finds(
            edits in edits(), kept in prop::collection::vec(any::<bool>(), 30), asked in any::<prop::sample::Index>(),
        ) {
            let (mut tree, _) = chain("n", 20);
            let mut versions = Vec::new();
            for (zxid, (op, at, len)) in edits.into_iter().enumerate() {
                let all = paths(&tree);
                if all.is_empty() {
                    break;
                }
                let at = at.get(&all).clone();
                if kept[zxid] {
                    versions.push(tree.clone());
                }
                edit(&mut tree, 2 + zxid as i64, op, &at, len);
                let mut asked = all;
                asked.extend(paths(&tree));
                let some = asked.len() / 16 + 1;
                let absent = [format!("{at}/"), format!("{at}/x"), at.replacen('n', "m", 1), at.replacen("n/", "", 1), at[..at.len() / 2].to_owned()];
                for path in asked.iter().skip(zxid % some).step_by(some).chain(&absent) {
                    for tree in versions.iter().rev().take(2).chain([&tree]) {
                        look_up(tree, path);
                    }
                }
            }
            let mut paths = paths(&tree);
            let first = asked.index(paths.len() + 1);
            paths.rotate_left(first);
            // The same nodes, of which nobody knows anything.
            let mut fresh = Tree::default();
            let mut walk = tree.preorder();
            while let Some((path, entry)) = walk.next() {
                assert!(fresh.put(path, entry.node().map(|node| node.to_node())));
            }
            for path in &paths {
                look_up(&tree, path);
                look_up(&fresh, path);
            }
            let (lists, steps) = known(&fresh);
            prop_assert_eq!(lists.len(), steps, "two ways lead to one list");
        }

        #[test]
        fn a_common_prefix_ends_where_bytes_differ(a in "[ab]{0,100}", cut in 0usize..100, b in "[ab]{0,10}") {
            let b = [&a[..cut.min(a.len())], &b].concat();
            let expected = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(common_prefix(a.as_bytes(), b.as_bytes()), expected);
        }
    }
}
