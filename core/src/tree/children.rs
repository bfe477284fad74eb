//! The children of one node: a persistent map from name to entry, sorted by the bytes of the name.
//!
//! Sorted chunks of at most [`CHUNK`] children, each chunk shared by count with other versions of the tree. A
//! change copies one chunk and the list of chunks, so a version costs what changed. Names stand side by side in
//! one string per chunk, each with a NUL behind it, so that C can borrow a name as it stands; a search looks at
//! [`Keys`] instead, and at one name in the end. (Two levels are enough: a child list is one reply of the server,
//! which its clients bound at about a megabyte.)

use std::sync::Arc;

use super::keys::Keys;
use super::node::{COUNTED, Node};

/// The most children a chunk has.
const CHUNK: usize = 64;

/// A place in the tree: the node there, and what is below it.
#[derive(Clone, Default)]
pub struct Entry {
    /// `None`: an opaque node, which the session may not read.
    pub node: Option<Arc<Node>>,
    /// `None`: no children.
    pub children: Option<Arc<Children>>,
}

impl Entry {
    /// Whether both share their node and all below it. This is so if nothing was changed between the two.
    pub fn is(&self, other: &Entry) -> bool {
        fn same<T>(a: &Option<Arc<T>>, b: &Option<Arc<T>>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            }
        }
        same(&self.node, &other.node) && same(&self.children, &other.children)
    }
}

/// The children of one node by name. A clone shares all of them.
#[derive(Clone, Default)]
pub struct Children {
    /// None of them is empty.
    chunks: Vec<Arc<Chunk>>,
    /// The keys of the chunks' last names. Empty if there is only one chunk.
    last_keys: Keys,
}

#[derive(Clone, Default)]
struct Chunk {
    /// The names in order, each followed by a NUL.
    names: String,
    /// Where each name's NUL ends.
    ends: Vec<u32>,
    keys: Keys,
    entries: Vec<Entry>,
}

/// About how many bytes of memory are freed with the last reference to something.
pub(super) trait Footprint {
    fn footprint(&self) -> usize;
}

impl Footprint for Chunk {
    fn footprint(&self) -> usize {
        let entries = self.entries.capacity() * size_of::<Entry>() + self.ends.capacity() * size_of::<u32>();
        COUNTED + size_of::<Chunk>() + self.names.capacity() + self.keys.footprint() + entries
    }
}

/// Without the chunks.
impl Footprint for Children {
    fn footprint(&self) -> usize {
        let chunks = self.chunks.capacity() * size_of::<Arc<Chunk>>();
        COUNTED + size_of::<Children>() + self.last_keys.footprint() + chunks
    }
}

/// Makes `shared` mutable. If others hold it too, it becomes a copy: they keep the old one, whose size is added to
/// `let_go`.
pub(super) fn make_mut<'a, T: Clone + Footprint>(shared: &'a mut Arc<T>, let_go: &mut u64) -> &'a mut T {
    if Arc::strong_count(shared) > 1 {
        *let_go += shared.footprint() as u64;
    }
    Arc::make_mut(shared)
}

/// A position in [`Children`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    chunk: usize,
    index: usize,
}

impl Chunk {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] as usize }
    }

    fn name_with_nul(&self, index: usize) -> &str {
        &self.names[self.start(index)..self.ends[index] as usize]
    }

    fn name(&self, index: usize) -> &str {
        &self.names[self.start(index)..self.ends[index] as usize - 1]
    }

    fn last_name(&self) -> &str {
        self.name(self.len() - 1)
    }

    fn last_name_bytes(&self) -> &[u8] {
        self.name_bytes(self.len() - 1)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.keys.find(name, |index| self.name_bytes(index))
    }

    /// The name as bytes. Unlike text, bytes can be cut without a check that a character begins there.
    fn name_bytes(&self, index: usize) -> &[u8] {
        &self.names.as_bytes()[self.start(index)..self.ends[index] as usize - 1]
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        let index = self.keys.first_not_below(name.as_bytes(), |index| self.name_bytes(index));
        match index < self.len() && self.name_bytes(index) == name.as_bytes() {
            true => Ok(index),
            false => Err(index),
        }
    }

    fn rebuild_keys(&mut self) {
        let names =
            (0..self.len()).map(|index| &self.names[self.start(index)..self.ends[index] as usize - 1]);
        self.keys = Keys::new(names);
    }

    fn insert(&mut self, index: usize, name: &str, entry: Entry) {
        let start = self.start(index);
        let added = name.len() + 1;
        self.names.reserve(added);
        if start == self.names.len() {
            self.names.push_str(name);
            self.names.push('\0');
        } else {
            self.names.insert(start, '\0');
            self.names.insert_str(start, name);
        }
        for end in &mut self.ends[index..] {
            *end += added as u32;
        }
        self.ends.insert(index, (start + added) as u32);
        self.entries.insert(index, entry);
        if !self.keys.insert(index, name) {
            self.rebuild_keys();
        }
    }

    fn remove(&mut self, index: usize) -> Entry {
        let (start, end) = (self.start(index), self.ends[index] as usize);
        self.names.replace_range(start..end, "");
        self.keys.remove(index);
        self.ends.remove(index);
        for later in &mut self.ends[index..] {
            *later -= (end - start) as u32;
        }
        self.entries.remove(index)
    }

    /// Cuts the chunk at `at` and returns what was behind.
    fn split_off(&mut self, at: usize) -> Chunk {
        let start = self.start(at);
        let mut tail = Chunk {
            names: self.names.split_off(start),
            ends: self.ends.split_off(at).into_iter().map(|end| end - start as u32).collect(),
            keys: Keys::default(),
            entries: self.entries.split_off(at),
        };
        self.names.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.rebuild_keys();
        tail.rebuild_keys();
        tail
    }

    fn append(&mut self, other: &Chunk) {
        let base = self.names.len() as u32;
        self.names.push_str(&other.names);
        self.ends.extend(other.ends.iter().map(|end| end + base));
        self.entries.extend(other.entries.iter().cloned());
        self.rebuild_keys();
    }
}

impl Children {
    /// About what goes with the last reference to the list, without the nodes and what is below.
    pub(super) fn footprint_of_all(&self) -> usize {
        self.footprint() + self.chunks.iter().map(|chunk| chunk.footprint()).sum::<usize>()
    }

    /// How many there are, those included that the session may not read.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The child of this name. All names are UTF-8, so a caller that has bytes may ask with them as they are.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&Entry> {
        let name = name.as_ref();
        let chunk = self.chunks.get(self.chunk_of(name))?;
        chunk.find(name).map(|index| &chunk.entries[index])
    }

    /// The index of the chunk that holds `name` or would: the first whose last name is not below it.
    fn chunk_of(&self, name: &[u8]) -> usize {
        match self.chunks.len() {
            0 | 1 => 0,
            _ => self.last_keys.first_not_below(name, |index| self.chunks[index].last_name_bytes()),
        }
    }

    /// The last name of a chunk is another now.
    fn last_name_changed(&mut self, chunk: usize) {
        if self.chunks.len() > 1 && !self.last_keys.replace(chunk, self.chunks[chunk].last_name()) {
            self.rebuild_last_keys();
        }
    }

    fn rebuild_last_keys(&mut self) {
        self.last_keys = match self.chunks.len() {
            0 | 1 => Keys::default(),
            _ => Keys::new(self.chunks.iter().map(|chunk| chunk.last_name())),
        };
    }

    /// A chunk is gone.
    fn remove_last_key(&mut self, chunk: usize) {
        match self.chunks.len() {
            0 | 1 => self.last_keys = Keys::default(),
            _ => self.last_keys.remove(chunk),
        }
    }

    /// The entry of `name`, to be changed. If its chunk is shared, the chunk is copied and its size added to `let_go`;
    /// also in the functions below.
    pub(super) fn get_mut(&mut self, name: &[u8], let_go: &mut u64) -> Option<&mut Entry> {
        let chunk_index = self.chunk_of(name);
        let chunk = self.chunks.get_mut(chunk_index)?;
        let index = chunk.find(name)?;
        Some(&mut make_mut(chunk, let_go).entries[index])
    }

    /// The entry of `name`, made empty when there is none.
    pub(super) fn entry(&mut self, name: &str, let_go: &mut u64) -> &mut Entry {
        if self.chunks.is_empty() {
            self.chunks.push(Arc::default());
        }
        // Behind the last name goes into the last chunk; a list that is loaded comes in order.
        let last = self.chunks.len() - 1;
        let last_len = self.chunks[last].len();
        let is_behind = last_len == 0 || self.chunks[last].last_name_bytes() < name.as_bytes();
        let mut chunk_index = if is_behind { last } else { self.chunk_of(name.as_bytes()) };
        let found = if is_behind { Err(last_len) } else { self.chunks[chunk_index].search(name) };
        let mut index = match found {
            Ok(index) => return &mut make_mut(&mut self.chunks[chunk_index], let_go).entries[index],
            Err(index) => index,
        };
        let is_full = self.chunks[chunk_index].len() == CHUNK;
        if is_full {
            // A child list is inserted in order: cutting at the end then leaves full chunks behind, not half full ones.
            let at = if index == CHUNK { CHUNK } else { CHUNK / 2 };
            let tail = make_mut(&mut self.chunks[chunk_index], let_go).split_off(at);
            if at == CHUNK || index > at {
                chunk_index += 1;
                index -= at;
                self.chunks.insert(chunk_index, Arc::new(tail));
            } else {
                self.chunks.insert(chunk_index + 1, Arc::new(tail));
            }
        }
        let chunk = make_mut(&mut self.chunks[chunk_index], let_go);
        chunk.insert(index, name, Entry::default());
        let is_last = index + 1 == chunk.len();
        if is_full {
            self.rebuild_last_keys();
        } else if is_last {
            self.last_name_changed(chunk_index);
        }
        &mut make_mut(&mut self.chunks[chunk_index], let_go).entries[index]
    }

    pub(super) fn remove(&mut self, name: &str, let_go: &mut u64) -> Option<Entry> {
        let at = self.chunk_of(name.as_bytes());
        let chunk = self.chunks.get_mut(at)?;
        let index = chunk.find(name.as_bytes())?;
        let chunk = make_mut(chunk, let_go);
        let entry = chunk.remove(index);
        let len = chunk.len();
        if len == 0 {
            self.chunks.remove(at);
            self.remove_last_key(at);
            return Some(entry);
        }
        if index == len {
            self.last_name_changed(at);
        }
        if len < CHUNK / 4 {
            self.merge(at, let_go);
        }
        Some(entry)
    }

    /// Joins a chunk that became small with a neighbour that has room, so that chunks stay few.
    fn merge(&mut self, at: usize, let_go: &mut u64) {
        let joins = |left: usize| {
            left + 1 < self.chunks.len() && self.chunks[left].len() + self.chunks[left + 1].len() <= CHUNK / 2
        };
        let left = match at {
            _ if joins(at) => at,
            1.. if joins(at - 1) => at - 1,
            _ => return,
        };
        let right = self.chunks.remove(left + 1);
        *let_go += right.footprint() as u64;
        make_mut(&mut self.chunks[left], let_go).append(&right);
        // Of the two chunks' keys, the one of the right chunk's last name stays.
        self.remove_last_key(left);
    }

    /// Name and entry at `position`; moves a position at a chunk's end on to the next.
    pub fn at(&self, position: &mut Position) -> Option<(&str, &Entry)> {
        let mut chunk = self.chunks.get(position.chunk)?;
        if position.index >= chunk.len() {
            *position = Position { chunk: position.chunk + 1, index: 0 };
            chunk = self.chunks.get(position.chunk)?;
        }
        Some((chunk.name(position.index), &chunk.entries[position.index]))
    }

    /// The first position whose name is above `name`.
    pub fn after(&self, name: &str) -> Position {
        let chunk = self.chunk_of(name.as_bytes());
        let index = match self.chunks.get(chunk).map(|chunk| chunk.search(name)) {
            Some(Ok(index)) => index + 1,
            Some(Err(index)) => index,
            None => 0,
        };
        Position { chunk, index }
    }

    /// Names and entries, sorted by the bytes of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.chunks
            .iter()
            .flat_map(|chunk| (0..chunk.len()).map(move |index| (chunk.name(index), &chunk.entries[index])))
    }

    /// The names in order, each with a NUL as its last byte.
    pub fn names_with_nul(&self) -> impl Iterator<Item = &str> {
        self.chunks.iter().flat_map(|chunk| (0..chunk.len()).map(move |index| chunk.name_with_nul(index)))
    }
}

impl Position {
    /// The position behind this one.
    pub fn next(self) -> Position {
        Position { index: self.index + 1, ..self }
    }
}

/// Finds the counterparts of one child list's entries in another, in one pass over both, without looking into
/// chunks that both share.
pub(super) struct Counterparts {
    left: Arc<Children>,
    right: Option<Arc<Children>>,
    at_left: Position,
    at_right: Position,
}

impl Counterparts {
    pub(super) fn new(left: Arc<Children>, right: Option<Arc<Children>>) -> Counterparts {
        Counterparts { left, right, at_left: Position::default(), at_right: Position::default() }
    }

    /// The next name, its entry, and its counterpart.
    pub(super) fn next(&mut self) -> Option<(&str, &Entry, Option<&Entry>)> {
        let Counterparts { left, right, at_left, at_right } = self;
        let Some(right) = right else {
            let (name, entry) = left.at(at_left)?;
            *at_left = at_left.next();
            return Some((name, entry, None));
        };
        loop {
            let (name, entry) = left.at(at_left)?;
            if at_left.index == 0 {
                while right.chunks.get(at_right.chunk).is_some_and(|chunk| chunk.last_name() < name) {
                    *at_right = Position { chunk: at_right.chunk + 1, index: 0 };
                }
                let shared = right.chunks.get(at_right.chunk);
                if shared.is_some_and(|chunk| Arc::ptr_eq(chunk, &left.chunks[at_left.chunk])) {
                    *at_left = Position { chunk: at_left.chunk + 1, index: 0 };
                    *at_right = Position { chunk: at_right.chunk + 1, index: 0 };
                    continue;
                }
            }
            *at_left = at_left.next();
            while let Some((candidate, counterpart)) = right.at(at_right) {
                match candidate.cmp(name) {
                    std::cmp::Ordering::Less => *at_right = at_right.next(),
                    std::cmp::Ordering::Equal => return Some((name, entry, Some(counterpart))),
                    std::cmp::Ordering::Greater => break,
                }
            }
            return Some((name, entry, None));
        }
    }
}

/// A tree may be as deep as a path is long, so the last reference frees it in a loop, without recursion.
impl Drop for Children {
    fn drop(&mut self) {
        let mut chunks = std::mem::take(&mut self.chunks);
        while let Some(chunk) = chunks.pop() {
            let Some(chunk) = Arc::into_inner(chunk) else { continue };
            for entry in chunk.entries {
                if let Some(mut children) = entry.children.and_then(Arc::into_inner) {
                    chunks.append(&mut children.chunks);
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Each allocation that is the list's own, and its size.
    pub(in crate::tree) fn pieces(children: &Arc<Children>) -> impl Iterator<Item = (usize, usize)> {
        let chunks = children.chunks.iter().map(|chunk| (Arc::as_ptr(chunk).addr(), chunk.footprint()));
        chunks.chain([(Arc::as_ptr(children).addr(), children.footprint())])
    }

    fn named(children: &Children) -> Vec<String> {
        children.iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// The names in `left` that were looked at, and whether each was met in `right`.
    fn met(left: &Children, right: &Children) -> Vec<(String, bool)> {
        let mut counterparts = Counterparts::new(Arc::new(left.clone()), Some(Arc::new(right.clone())));
        let mut met = Vec::new();
        while let Some((name, _, other)) = counterparts.next() {
            met.push((name.to_owned(), other.is_some()));
        }
        met
    }

    /// Names as they come: some begin alike, some do not, some are another's beginning.
    fn named_after(key: u16) -> String {
        let beginning = ["", "n", "new-", "new-instance-"][usize::from(key % 4)];
        format!("{beginning}{key}")
    }

    #[test]
    fn names_inserted_in_order_fill_their_chunks() {
        let mut children = Children::default();
        for n in 0..1000 {
            children.entry(&format!("{n:04}"), &mut 0);
        }
        assert_eq!(children.chunks.len(), 1000usize.div_ceil(CHUNK));
        assert_eq!(children.len(), 1000);
    }

    #[test]
    fn a_deep_tree_is_dropped_without_recursion() {
        let mut entry = Entry::default();
        for _ in 0..1_000_000 {
            let mut children = Children::default();
            *children.entry("d", &mut 0) = entry;
            entry = Entry { node: None, children: Some(Arc::new(children)) };
        }
        drop(entry);
    }

    #[test]
    fn counterparts_skip_what_is_shared() {
        let mut old = Children::default();
        for n in 0..1000 {
            old.entry(&format!("{n:04}"), &mut 0);
        }
        let mut new = old.clone();
        new.entry("0500x", &mut 0);
        new.remove("0100", &mut 0);
        let seen = met(&new, &old);
        assert!(seen.len() <= 2 * CHUNK, "{} entries looked at", seen.len());
        let added: Vec<_> = seen.iter().filter(|(_, is_met)| !is_met).map(|(name, _)| &**name).collect();
        assert_eq!(added, ["0500x"]);
    }

    proptest! {
        #[test]
        fn children_behave_as_a_sorted_map(ops in prop::collection::vec((0u8..3, 0u16..400), 0..1500)) {
            let mut children = Children::default();
            let mut model = BTreeMap::new();
            for (op, key) in ops {
                let insert = op > 0;
                let name = named_after(key);
                if insert {
                    children.entry(&name, &mut 0);
                    model.insert(name, ());
                } else {
                    prop_assert_eq!(children.remove(&name, &mut 0).is_some(), model.remove(&name).is_some());
                }
                prop_assert!(children.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            }
            prop_assert_eq!(named(&children), model.keys().cloned().collect::<Vec<_>>());
            prop_assert_eq!(children.len(), model.len());
            let with_nul: Vec<_> = children.names_with_nul().map(|name| name.trim_end_matches('\0').to_owned()).collect();
            prop_assert_eq!(with_nul, model.keys().cloned().collect::<Vec<_>>());
            for key in 0u16..400 {
                let name = named_after(key);
                prop_assert_eq!(children.get(&name).is_some(), model.contains_key(&name));
                let mut position = children.after(&name);
                let expected = model.range::<String, _>((std::ops::Bound::Excluded(&name), std::ops::Bound::Unbounded)).next();
                prop_assert_eq!(children.at(&mut position).map(|(name, _)| name), expected.map(|(name, _)| name.as_str()));
            }
        }

        #[test]
        fn every_entry_meets_its_counterpart(
            left in prop::collection::btree_set(0u16..500, 0..300),
            right in prop::collection::btree_set(0u16..500, 0..300),
        ) {
            let build = |keys: &std::collections::BTreeSet<u16>| {
                let mut children = Children::default();
                for key in keys {
                    children.entry(&format!("{key:03}"), &mut 0);
                }
                children
            };
            let (a, b) = (build(&left), build(&right));
            let met = met(&a, &b);
            let expected: Vec<_> = left.iter().map(|key| (format!("{key:03}"), right.contains(key))).collect();
            prop_assert_eq!(met, expected);
        }
    }
}
