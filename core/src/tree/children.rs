//! The children of one node: a persistent map from name to record, sorted by the bytes of the name.
//!
//! They lie in [`Block`]s. Most lists are one block. A longer one has its blocks in groups, each group shared by count
//! with other versions of the tree: a change copies one block and one group, and counts the other groups up.

use std::sync::Arc;

use super::block::{Block, Builder};
use super::entry::Entry;
use super::footprint::{COUNTED, Footprint, count_if_shared, make_mut};
use super::keys::Keys;
use super::node::NodeRef;
use super::record::{Draft, Name};
use super::way::KnownWay;
use crate::planted::{self, Defect};

/// The most blocks of a group.
pub(super) const MOST_BLOCKS: usize = 32;

/// The children of one node by name. A clone shares them.
#[derive(Clone, Default)]
pub struct Children {
    blocks: Blocks,
    way: KnownWay,
}

#[derive(Clone)]
enum Blocks {
    /// All in one, which is not empty.
    One(Block),
    /// No group is empty. There are no groups, or at least two blocks.
    Many(Vec<Arc<Group>>, Keys),
}

/// Blocks that follow each other, none of them empty.
#[derive(Clone)]
pub(super) struct Group {
    blocks: Vec<Block>,
    /// Those of the blocks' last names.
    keys: Keys,
    /// How many records there are in all of them.
    len: usize,
}

/// A position in [`Children`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    at: Place,
    index: usize,
}

/// Which block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    group: usize,
    block: usize,
}

impl Default for Blocks {
    fn default() -> Blocks {
        Blocks::Many(Vec::new(), Keys::default())
    }
}

/// Where in a list a record was put or removed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// Before another one of its block.
    Inside,
    /// Behind all others of its block.
    AtEndOfBlock,
    /// Behind all others of the list.
    AtEnd,
}

/// Without the blocks.
impl Footprint for Group {
    fn footprint(&self) -> usize {
        COUNTED + size_of::<Group>() + self.blocks.capacity() * size_of::<Block>() + self.keys.footprint()
    }
}

/// Without groups and blocks.
impl Footprint for Children {
    fn footprint(&self) -> usize {
        let groups = match &self.blocks {
            Blocks::One(_) => 0,
            Blocks::Many(groups, keys) => groups.capacity() * size_of::<Arc<Group>>() + keys.footprint(),
        };
        COUNTED + size_of::<Children>() + groups + self.way.footprint()
    }
}

/// How the blocks of a list lie, for whoever writes them down.
pub(super) enum Shape<'t> {
    One(&'t Block),
    Many(&'t [Arc<Group>]),
}

impl Group {
    pub(super) fn new(blocks: Vec<Block>) -> Group {
        let len = blocks.iter().map(Block::len).sum();
        Group { keys: Group::keys(&blocks), blocks, len }
    }

    fn keys(blocks: &[Block]) -> Keys {
        Keys::new(blocks.iter().map(Block::last_name))
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(super) fn last_name(&self) -> &[u8] {
        self.blocks.last().map_or(&[], Block::last_name)
    }

    /// The first block that does not end below a name.
    #[inline]
    fn find(&self, name: &[u8]) -> usize {
        self.keys.first_not_below(name, |index| self.blocks[index].last_name())
    }

    /// Whether a block, the last name of which is what it was, is in order.
    fn is_settled(&self, at: usize) -> bool {
        let block = &self.blocks[at];
        !block.is_too_large() && !block.is_small()
    }

    /// Puts a block in order after an edit. Returns whether the group's last name may be another now.
    fn settle(&mut self, at: usize, edit: Edit, let_go: &mut u64) -> bool {
        let block = &mut self.blocks[at];
        if block.is_too_large() {
            let tail = block.split_off(edit == Edit::AtEnd, let_go);
            self.blocks.insert(at + 1, tail);
        } else if block.len() == 0 {
            self.blocks.remove(at);
        } else if let Some(left) = self.joins(at) {
            let right = self.blocks.remove(left + 1);
            self.blocks[left].append(&right, let_go);
        } else {
            let has_other_end = edit != Edit::Inside;
            if has_other_end && !self.keys.replace(at, self.blocks[at].last_name()) {
                self.keys = Group::keys(&self.blocks);
            }
            return has_other_end && at + 1 == self.blocks.len();
        }
        self.keys = Group::keys(&self.blocks);
        true
    }

    /// If a block became small, and a neighbour has room for it: the left one of the two.
    fn joins(&self, at: usize) -> Option<usize> {
        let fits = |left: &usize| {
            self.blocks.get(left + 1).is_some_and(|right| self.blocks[*left].has_room_for(right))
        };
        if !self.blocks[at].is_small() {
            return None;
        }
        Some(at).filter(fits).or_else(|| at.checked_sub(1).filter(fits))
    }

    fn is_small(&self) -> bool {
        self.blocks.len() < MOST_BLOCKS / 4
    }

    fn has_room_for(&self, other: &Group) -> bool {
        self.blocks.len() + other.blocks.len() <= MOST_BLOCKS / 2
    }
}

impl Children {
    /// A list of blocks in their order, none of them empty.
    fn of_blocks(mut blocks: Vec<Block>) -> Children {
        if blocks.len() == 1 {
            return blocks.pop().map_or_else(Children::default, Children::of_one);
        }
        let of_each = blocks.len().div_ceil(blocks.len().div_ceil(MOST_BLOCKS).max(1)).max(1);
        let groups = blocks.chunks(of_each).map(|blocks| Arc::new(Group::new(blocks.to_vec())));
        Children::of_groups(groups.collect())
    }

    pub(super) fn of_one(block: Block) -> Children {
        Children { blocks: Blocks::One(block), way: KnownWay::default() }
    }

    pub(super) fn shape(&self) -> Shape<'_> {
        match &self.blocks {
            Blocks::One(block) => Shape::One(block),
            Blocks::Many(groups, _) => Shape::Many(groups),
        }
    }

    /// Of groups with at least two blocks together.
    pub(super) fn of_groups(groups: Vec<Arc<Group>>) -> Children {
        let keys = Children::keys(&groups);
        Children { blocks: Blocks::Many(groups, keys), way: KnownWay::default() }
    }

    fn keys(groups: &[Arc<Group>]) -> Keys {
        Keys::new(groups.iter().map(|group| group.last_name()))
    }

    /// The way that readers have found down from here.
    #[inline]
    pub(super) fn known_way(&self) -> &KnownWay {
        &self.way
    }

    /// How many there are, those included that the session may not read.
    pub fn len(&self) -> usize {
        match &self.blocks {
            Blocks::One(block) => block.len(),
            Blocks::Many(groups, _) => groups.iter().map(|group| group.len).sum(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.blocks, Blocks::Many(groups, _) if groups.is_empty())
    }

    /// About what goes with the last reference to the list, without what is large and what is below.
    pub(super) fn footprint_of_all(&self) -> usize {
        let groups = match &self.blocks {
            Blocks::One(_) => 0,
            Blocks::Many(groups, _) => groups.iter().map(|group| group.footprint()).sum(),
        };
        let blocks: usize = self.each_block().map(Block::footprint).sum();
        self.footprint() + groups + blocks
    }

    fn each_block(&self) -> impl Iterator<Item = &Block> {
        let (one, groups) = match &self.blocks {
            Blocks::One(block) => (Some(block), &[][..]),
            Blocks::Many(groups, _) => (None, &groups[..]),
        };
        one.into_iter().chain(groups.iter().flat_map(|group| &group.blocks))
    }

    #[inline]
    fn block(&self, at: Place) -> Option<&Block> {
        match &self.blocks {
            Blocks::One(block) => (at == Place::default()).then_some(block),
            Blocks::Many(groups, _) => groups.get(at.group)?.blocks.get(at.block),
        }
    }

    /// The block, to be changed. If its group is shared, that is copied, and its size added to `let_go`; also in the
    /// functions below.
    fn block_mut(&mut self, at: Place, let_go: &mut u64) -> Option<&mut Block> {
        match &mut self.blocks {
            Blocks::One(block) => Some(block),
            Blocks::Many(groups, _) => make_mut(groups.get_mut(at.group)?, let_go).blocks.get_mut(at.block),
        }
    }

    /// Where a name is, if it is anywhere.
    #[inline(always)]
    fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        let block = match &self.blocks {
            Blocks::One(block) => block,
            Blocks::Many(groups, keys) => {
                let group = match &groups[..] {
                    [group] => group,
                    _ => groups.get(keys.first_not_below(name, |index| groups[index].last_name()))?,
                };
                group.blocks.get(group.find(name))?
            }
        };
        block.find(name).map(|(_, entry)| entry)
    }

    /// Where a name belongs.
    fn place(&self, name: &[u8]) -> Place {
        match &self.blocks {
            Blocks::Many(groups, keys) if !groups.is_empty() => {
                let group =
                    keys.first_not_below(name, |index| groups[index].last_name()).min(groups.len() - 1);
                Place { group, block: groups[group].find(name).min(groups[group].blocks.len() - 1) }
            }
            _ => Place::default(),
        }
    }

    /// What is at `name`.
    #[inline]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<Entry<'_>> {
        self.find(name.as_ref())
    }

    /// Puts a node at `name`, over what is there, and keeps its children. `None`: one that the session may not read.
    pub(super) fn put(&mut self, name: &str, node: Option<NodeRef<'_>>, let_go: &mut u64) {
        self.way.forget();
        let at = self.place(name.as_bytes());
        let Some(block) = self.block_mut(at, let_go) else {
            self.blocks = Blocks::One(Block::of_one(name, node));
            return;
        };
        let (index, is_new) = match block.find(name.as_bytes()) {
            Some((index, _)) => (index, false),
            None => (block.place(name.as_bytes()), true),
        };
        match is_new {
            true => block.insert(index, name, node, let_go),
            false => block.replace(index, node, let_go),
        }
        let is_last = is_new && index + 1 == block.len();
        if let (Blocks::Many(groups, _), true) = (&mut self.blocks, is_new) {
            make_mut(&mut groups[at.group], let_go).len += 1;
        }
        self.settle(at, is_last, let_go);
    }

    /// Puts nodes that are not there yet, in the order of their names.
    pub(super) fn put_all<'n>(
        &mut self,
        nodes: impl Iterator<Item = (&'n str, NodeRef<'n>)>,
        let_go: &mut u64,
    ) {
        self.way.forget();
        let mut nodes = nodes.peekable();
        // A list that is loaded grows at its end.
        let is_behind = |name: &str| self.last_block().is_none_or(|last| last.last_name() < name.as_bytes());
        if nodes.peek().is_some_and(|(name, _)| is_behind(name)) {
            let mut behind = ListBuilder::behind(self.take_last_block(let_go));
            while let Some((name, node)) = nodes.next_if(|(name, _)| behind.is_behind(name)) {
                behind.add(name, Some(node));
            }
            self.push_blocks(behind.into_blocks(), let_go);
        }
        for (name, node) in nodes {
            self.put(name, Some(node), let_go);
        }
    }

    fn last_block(&self) -> Option<&Block> {
        match &self.blocks {
            Blocks::One(block) => Some(block),
            Blocks::Many(groups, _) => groups.last()?.blocks.last(),
        }
    }

    /// Takes the last block out, of which a better one will be made. The keys are those of before.
    fn take_last_block(&mut self, let_go: &mut u64) -> Option<Block> {
        let last = match &mut self.blocks {
            Blocks::One(block) => Some(block.clone()),
            Blocks::Many(groups, _) => {
                groups.last_mut().and_then(|group| make_mut(group, let_go).blocks.pop())
            }
        };
        if let Blocks::One(_) = &self.blocks {
            self.blocks = Blocks::default();
        }
        if let Some(last) = &last {
            last.count_if_shared(let_go);
        }
        last
    }

    /// Adds blocks behind the others.
    fn push_blocks(&mut self, blocks: Vec<Block>, let_go: &mut u64) {
        let Blocks::Many(groups, _) = &mut self.blocks else { return };
        let mut last = groups.pop().map_or_else(Vec::new, |group| {
            count_if_shared(&group, let_go);
            group.blocks.clone()
        });
        last.extend(blocks);
        if groups.is_empty() {
            *self = Children::of_blocks(last);
            return;
        }
        // Full groups, but for the last one.
        groups.extend(last.chunks(MOST_BLOCKS).map(|blocks| Arc::new(Group::new(blocks.to_vec()))));
        *self = Children::of_groups(std::mem::take(groups));
    }

    /// Removes what is at `name`. Returns whether it was there.
    pub(super) fn remove(&mut self, name: &str, let_go: &mut u64) -> bool {
        self.way.forget();
        let at = self.place(name.as_bytes());
        let found = self.block(at).and_then(|block| block.find(name.as_bytes()));
        let Some((index, _)) = found else { return false };
        let Some(block) = self.block_mut(at, let_go) else { return false };
        block.remove(index, let_go);
        let is_last = index == block.len();
        if let Blocks::Many(groups, _) = &mut self.blocks {
            make_mut(&mut groups[at.group], let_go).len -= 1;
        }
        self.settle(at, is_last, let_go);
        true
    }

    /// The block and the index of `name`, to be changed, or what is below.
    pub(super) fn find_mut(&mut self, name: &[u8], let_go: &mut u64) -> Option<(&mut Block, usize)> {
        self.way.forget();
        let at = self.place(name);
        let (index, _) = self.block(at)?.find(name)?;
        Some((self.block_mut(at, let_go)?, index))
    }

    /// Puts blocks and groups in order after a record was put or removed; `is_last`: the last one of its block.
    fn settle(&mut self, at: Place, is_last: bool, let_go: &mut u64) {
        let edit = match (is_last, &self.blocks) {
            (false, _) => Edit::Inside,
            (true, Blocks::Many(groups, _)) if !is_at_end(groups, at) => Edit::AtEndOfBlock,
            (true, _) => Edit::AtEnd,
        };
        match &mut self.blocks {
            Blocks::Many(groups, _) if edit == Edit::Inside && groups[at.group].is_settled(at.block) => {}
            Blocks::One(block) if block.is_too_large() => {
                let tail = block.split_off(edit == Edit::AtEnd, let_go);
                let head = block.clone();
                *self = Children::of_blocks(vec![head, tail]);
            }
            Blocks::One(block) if block.len() == 0 => *self = Children::default(),
            Blocks::One(_) => {}
            Blocks::Many(groups, keys) => {
                let has_other_end = make_mut(&mut groups[at.group], let_go).settle(at.block, edit, let_go);
                let has_other_groups = settle_group(groups, at.group, edit, let_go);
                let replaces = |keys: &mut Keys| keys.replace(at.group, groups[at.group].last_name());
                if has_other_groups || has_other_end && !replaces(keys) {
                    *keys = Children::keys(groups);
                }
                if let [group] = &groups[..]
                    && let [block] = &group.blocks[..]
                {
                    count_if_shared(group, let_go);
                    self.blocks = Blocks::One(block.clone());
                }
            }
        }
    }

    /// Name and entry at `position`; moves a position at a block's end on to the next.
    pub fn at(&self, position: &mut Position) -> Option<(&str, Entry<'_>)> {
        self.entry_at(position).map(|entry| (entry.name(), entry))
    }

    fn entry_at(&self, position: &mut Position) -> Option<Entry<'_>> {
        if let Some(entry) = self.block(position.at)?.entry_if_any(position.index) {
            return Some(entry);
        }
        *position = self.behind_block(*position);
        // No block is empty.
        self.block(position.at)?.entry_if_any(position.index)
    }

    /// Moves a position at a block's end on to the next block.
    fn leave_ended(&self, position: &mut Position) {
        // No block is empty: if the position is at the beginning of one, that is not looked into.
        if position.index > 0 && self.block(position.at).is_some_and(|block| position.index >= block.len()) {
            *position = self.behind_block(*position);
        }
    }

    /// The first position in the block behind the one of `position`.
    fn behind_block(&self, position: Position) -> Position {
        let next = Place { block: position.at.block + 1, ..position.at };
        let is_in_group = self.group(next).is_some_and(|group| next.block < group.blocks.len());
        if is_in_group { Position { at: next, index: 0 } } else { position.behind_group() }
    }

    fn group(&self, at: Place) -> Option<&Arc<Group>> {
        match &self.blocks {
            Blocks::One(_) => None,
            Blocks::Many(groups, _) => groups.get(at.group),
        }
    }

    /// Moves a position to the block where `name` may be, unless it is there or behind. Returns whether it moved.
    fn advance_to(&self, position: &mut Position, name: &[u8]) -> bool {
        let before = *position;
        while self.group(position.at).is_some_and(|group| group.last_name() < name) {
            *position = position.behind_group();
        }
        while self.block(position.at).is_some_and(|block| block.last_name() < name) {
            *position = self.behind_block(*position);
        }
        *position != before
    }

    /// The first position whose name is above `name`.
    pub fn after(&self, name: &str) -> Position {
        let at = self.place(name.as_bytes());
        let index = match self.block(at).map(|block| block.search(name.as_bytes())) {
            Some(Ok(index)) => index + 1,
            Some(Err(index)) => index,
            None => 0,
        };
        Position { at, index }
    }

    /// The last name below `name`, whether that is there or not.
    pub fn before(&self, name: &str) -> Option<&str> {
        let at = self.place(name.as_bytes());
        let block = self.block(at)?;
        match block.place(name.as_bytes()).checked_sub(1) {
            Some(index) => Some(block.entry(index).name()),
            None => self.block_before(at)?.last_entry().map(|entry| entry.name()),
        }
    }

    fn block_before(&self, at: Place) -> Option<&Block> {
        let Blocks::Many(groups, _) = &self.blocks else { return None };
        match at.block.checked_sub(1) {
            Some(block) => groups.get(at.group)?.blocks.get(block),
            None => groups.get(at.group.checked_sub(1)?)?.blocks.last(),
        }
    }

    /// The last name.
    pub fn last(&self) -> Option<&str> {
        self.last_block()?.last_entry().map(|entry| entry.name())
    }

    /// Names and entries, sorted by the bytes of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Entry<'_>)> {
        self.entries().map(|entry| (entry.name(), entry))
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.each_block().flat_map(|block| (0..block.len()).map(|index| block.entry(index)))
    }

    /// The names in order, each with a NUL as its last byte.
    pub fn names_with_nul(&self) -> impl Iterator<Item = &[u8]> {
        self.entries().map(|entry| entry.name_with_nul())
    }

    /// Takes out the blocks below which there may be something, if nobody else holds them.
    fn take_blocks(&mut self, into: &mut Vec<Block>) {
        match std::mem::take(&mut self.blocks) {
            Blocks::One(block) => into.extend(Some(block).filter(Block::has_beside)),
            Blocks::Many(groups, _) => {
                let blocks = groups.into_iter().filter_map(Arc::into_inner).flat_map(|group| group.blocks);
                into.extend(blocks.filter(Block::has_beside));
            }
        }
    }
}

fn is_at_end(groups: &[Arc<Group>], at: Place) -> bool {
    at.group + 1 == groups.len() && at.block + 1 == groups[at.group].blocks.len()
}

/// Puts a group in order after one of its blocks was. Returns whether there are other groups now.
fn settle_group(groups: &mut Vec<Arc<Group>>, at: usize, edit: Edit, let_go: &mut u64) -> bool {
    let len = groups[at].blocks.len();
    if len > MOST_BLOCKS {
        // A list that is put in in order leaves full groups behind, as it leaves full blocks.
        let middle = if edit == Edit::AtEnd { len - 1 } else { len / 2 };
        let (head, tail) = groups[at].blocks.split_at(middle);
        let [head, tail] = [head, tail].map(|blocks| Arc::new(Group::new(blocks.to_vec())));
        groups[at] = head;
        groups.insert(at + 1, tail);
        return true;
    }
    if len == 0 {
        groups.remove(at);
        return true;
    }
    let fits = |left: &usize| groups.get(left + 1).is_some_and(|right| groups[*left].has_room_for(right));
    let joins = Some(at).filter(fits).or_else(|| at.checked_sub(1).filter(fits));
    let Some(left) = joins.filter(|_| groups[at].is_small()) else { return false };
    let right = groups.remove(left + 1);
    count_if_shared(&right, let_go);
    count_if_shared(&groups[left], let_go);
    let blocks = [&groups[left].blocks[..], &right.blocks[..]].concat();
    groups[left] = Arc::new(Group::new(blocks));
    true
}

impl Position {
    /// The position behind this one.
    pub fn next(self) -> Position {
        Position { index: self.index + 1, ..self }
    }

    fn behind_group(self) -> Position {
        Position { at: Place { group: self.at.group + 1, block: 0 }, index: 0 }
    }
}

/// Builds a child list of nodes that come in the order of their names.
#[derive(Default)]
pub struct ListBuilder {
    open: Builder,
    full: Vec<Block>,
}

impl ListBuilder {
    /// Goes on with a block that may have room.
    fn behind(block: Option<Block>) -> ListBuilder {
        let mut builder = ListBuilder { open: Builder::roomy(), full: Vec::new() };
        if let Some(block) = block {
            builder.open.copy_all(&block);
        }
        builder
    }

    fn is_behind(&self, name: &str) -> bool {
        let last = self.open.last_name().or_else(|| self.full.last().map(Block::last_name));
        last.is_none_or(|last| last < name.as_bytes())
    }

    /// Adds a child whose name is above all before it.
    fn add(&mut self, name: &str, node: Option<NodeRef<'_>>) {
        let draft = Draft::new(Name::Inline(name.as_bytes()), node, false);
        if !self.open.has_room_for(&draft) {
            self.full.push(self.open.seal());
        }
        self.open.push(&draft, None);
    }

    /// Adds a child; `None`: one that the session may not read. Returns false, and adds nothing, unless its name is
    /// above all before it.
    #[must_use]
    pub fn push(&mut self, name: &str, node: Option<NodeRef<'_>>) -> bool {
        let is_behind = self.is_behind(name);
        if is_behind {
            self.add(name, node);
        }
        is_behind
    }

    fn into_blocks(mut self) -> Vec<Block> {
        if !self.open.is_empty() {
            self.full.push(self.open.seal());
        }
        self.full
    }

    /// The list, for [`Tree::attach`](super::Tree::attach).
    pub fn finish(self) -> Children {
        Children::of_blocks(self.into_blocks())
    }
}

/// Finds the counterparts of one child list's entries in another, in one pass over both, without looking into
/// blocks and groups that both share.
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

    /// The next entry, and its counterpart.
    pub(super) fn next(&mut self) -> Option<(Entry<'_>, Option<Entry<'_>>)> {
        let Counterparts { left, right, at_left, at_right } = self;
        let Some(right) = right else {
            let entry = left.entry_at(at_left)?;
            *at_left = at_left.next();
            return Some((entry, None));
        };
        loop {
            let entry = left.entry_at(at_left)?;
            if at_left.index == 0 {
                right.leave_ended(at_right);
                if let Some(behind) = behind_shared(left, right, *at_left, *at_right) {
                    (*at_left, *at_right) = behind;
                    continue;
                }
                if right.advance_to(at_right, entry.name_bytes()) {
                    continue;
                }
            }
            *at_left = at_left.next();
            while let Some(other) = right.entry_at(at_right) {
                if entry.is_one_with(&other) {
                    return Some((entry, Some(other)));
                }
                match other.name_bytes().cmp(entry.name_bytes()) {
                    std::cmp::Ordering::Less => *at_right = at_right.next(),
                    std::cmp::Ordering::Equal => return Some((entry, Some(other))),
                    std::cmp::Ordering::Greater => break,
                }
            }
            return Some((entry, None));
        }
    }
}

/// Where what follows is, if both share the group or the block at the beginning of which they are. On the left it is a
/// beginning.
fn behind_shared(
    left: &Children,
    right: &Children,
    at_left: Position,
    at_right: Position,
) -> Option<(Position, Position)> {
    if at_right.index > 0 {
        return None;
    }
    let is_first = at_left.at.block == 0 && at_right.at.block == 0;
    let groups = left.group(at_left.at).zip(right.group(at_right.at)).filter(|_| is_first);
    if groups.is_some_and(|(group, other)| Arc::ptr_eq(group, other)) {
        return Some((at_left.behind_group(), at_right.behind_group()));
    }
    let (block, other) = left.block(at_left.at).zip(right.block(at_right.at))?;
    let is_shared = block.is(other) || block.has_bytes_of(other) && planted::is(Defect::BelowSharedSkipped);
    is_shared.then(|| (left.behind_block(at_left), right.behind_block(at_right)))
}

/// A tree may be as deep as a path is long, so the last reference frees it in a loop, without recursion.
impl Drop for Children {
    fn drop(&mut self) {
        // First, while nothing goes with it: the blocks still hold all that it leads to.
        self.way.forget();
        let mut blocks = Vec::new();
        self.take_blocks(&mut blocks);
        while let Some(block) = blocks.pop() {
            for mut list in block.into_lists() {
                list.way.forget();
                list.take_blocks(&mut blocks);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::block::{self, MOST_RECORDS};
    use super::*;
    use crate::stat::{Stat, Zxid};
    use crate::tree::Node;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Each allocation that is the list's own, and its size; large data and long names are among them.
    pub(in crate::tree) fn pieces(children: &Arc<Children>) -> Vec<(usize, usize)> {
        let mut pieces = vec![(Arc::as_ptr(children).addr(), children.footprint())];
        if let Blocks::Many(groups, _) = &children.blocks {
            pieces.extend(groups.iter().map(|group| (Arc::as_ptr(group).addr(), group.footprint())));
        }
        pieces.extend(children.each_block().flat_map(block::tests::pieces));
        pieces
    }

    fn put(children: &mut Children, name: &str) {
        children.put(name, Some(NodeRef::new(&[0; 100], Stat::default())), &mut 0);
    }

    /// That all invariants hold.
    fn check(children: &Children) {
        let Blocks::Many(groups, _) = &children.blocks else { return };
        assert!(groups.is_empty() || children.each_block().count() > 1);
        for group in groups {
            assert!((1..=MOST_BLOCKS).contains(&group.blocks.len()));
            assert_eq!(group.len, group.blocks.iter().map(Block::len).sum::<usize>());
        }
        assert!(children.each_block().all(block::tests::is_bounded));
    }

    fn named(children: &Children) -> Vec<String> {
        children.iter().map(|(name, _)| name.to_owned()).collect()
    }

    /// The names in `left` that were looked at, and whether each was met in `right`.
    fn met(left: &Children, right: &Children) -> Vec<(String, bool)> {
        let mut counterparts = Counterparts::new(Arc::new(left.clone()), Some(Arc::new(right.clone())));
        let mut met = Vec::new();
        while let Some((entry, other)) = counterparts.next() {
            met.push((entry.name().to_owned(), other.is_some()));
        }
        met
    }

    /// Names as they come: some begin alike, some do not, some are another's beginning.
    fn named_after(key: u16) -> String {
        let beginning = ["", "n", "new-", "new-instance-"][usize::from(key % 4)];
        format!("{beginning}{key}")
    }

    #[test]
    fn names_put_in_order_fill_their_blocks() {
        let (mut children, mut builder) = (Children::default(), ListBuilder::default());
        for n in 0..10_000 {
            put(&mut children, &format!("{n:05}"));
            assert!(builder.push(&format!("{n:05}"), Some(NodeRef::new(&[0; 100], Stat::default()))));
        }
        check(&children);
        let built = builder.finish();
        check(&built);
        assert_eq!((children.len(), built.len()), (10_000, 10_000));
        let blocks = |children: &Children| children.each_block().map(Block::len).collect::<Vec<_>>();
        assert_eq!(blocks(&children), blocks(&built));
        let Blocks::Many(groups, _) = &children.blocks else { panic!("one block") };
        assert_eq!(groups.len(), blocks(&children).len().div_ceil(MOST_BLOCKS));
    }

    #[test]
    fn a_builder_takes_names_in_order_only() {
        let mut builder = ListBuilder::default();
        assert!(builder.push("b", None));
        assert!(!builder.push("b", None) && !builder.push("a", None) && builder.push("ba", None));
        assert_eq!(named(&builder.finish()), ["b", "ba"]);
        assert!(ListBuilder::default().finish().is_empty());
    }

    #[test]
    fn a_deep_tree_is_dropped_without_recursion() {
        let mut deep = None;
        for _ in 0..1_000_000 {
            let mut children = Children::default();
            put(&mut children, "d");
            if let Some((block, index)) = children.find_mut(b"d", &mut 0) {
                block.make_room(index, &mut 0);
                *block.list_mut(index, &mut 0).expect("there is room") = deep.take();
            }
            deep = Some(Arc::new(children));
        }
        drop(deep);
    }

    #[test]
    fn counterparts_skip_what_is_shared() {
        let mut old = Children::default();
        for n in 0..10_000 {
            put(&mut old, &format!("{n:04}"));
        }
        let mut new = old.clone();
        put(&mut new, "0500x");
        new.remove("0100", &mut 0);
        let seen = met(&new, &old);
        assert!(seen.len() <= 3 * MOST_RECORDS, "{} entries looked at", seen.len());
        let added: Vec<_> = seen.iter().filter(|(_, is_met)| !is_met).map(|(name, _)| &**name).collect();
        assert_eq!(added, ["0500x"]);
    }

    fn any_stat() -> impl Strategy<Value = Stat> {
        // Often what is usual, so that each field is left out now and then.
        let long = || prop_oneof![Just(0), Just(1), any::<i64>()];
        let short = || prop_oneof![Just(0), any::<i32>()];
        let times = [long(), long(), long(), long(), long(), long()];
        let counts = [short(), short(), short(), short(), short()];
        (times, counts).prop_map(|([czxid, mzxid, pzxid, ctime, mtime, owner], counts)| {
            let [version, cversion, aversion, num_children, data_length] = counts;
            Stat {
                czxid: Zxid(czxid),
                mzxid: Zxid(mzxid),
                pzxid: Zxid(pzxid),
                ctime,
                mtime,
                version,
                cversion,
                aversion,
                ephemeral_owner: owner,
                data_length,
                num_children,
            }
        })
    }

    fn any_name() -> impl Strategy<Value = String> {
        let long = prop::sample::select(&[1024, 1025, 65_535, 65_536, 70_000][..]);
        prop_oneof![
            8 => (0u16..300).prop_map(named_after),
            2 => any::<String>(),
            1 => Just(String::new()),
            1 => (long, "[ab]").prop_map(|(len, end)| "n".repeat(len - 1) + &end),
        ]
    }

    /// A node, or one that may not be read.
    fn any_node() -> impl Strategy<Value = Option<Node>> {
        let len = prop::sample::select(&[0usize, 1, 10, 100, 700, 1024, 1025, 100_000][..]);
        let node = (any_stat(), len, any::<u8>())
            .prop_map(|(stat, len, byte)| Node::new(vec![byte; len].into(), stat));
        prop::option::weighted(0.9, node)
    }

    fn lend(node: &Option<Node>) -> Option<NodeRef<'_>> {
        node.as_ref().map(Node::lend)
    }

    proptest! {
        #[test]
        fn any_stat_name_and_data_survives(
            edits in prop::collection::vec((any_name(), any_node(), 0u8..8), 0..200),
        ) {
            let mut children = Children::default();
            let mut model: BTreeMap<String, Option<Node>> = BTreeMap::new();
            let mut frozen = Vec::new();
            for (name, node, op) in edits {
                match op {
                    0 => frozen.push((children.clone(), model.clone())),
                    1 => prop_assert_eq!(children.remove(&name, &mut 0), model.remove(&name).is_some()),
                    _ => {
                        children.put(&name, lend(&node), &mut 0);
                        model.insert(name, node);
                    }
                }
                check(&children);
            }
            frozen.push((children, model));
            for (children, model) in frozen {
                let mut builder = ListBuilder::default();
                for (name, node) in &model {
                    prop_assert!(builder.push(name, lend(node)));
                    let found = children.get(name).map(|entry| entry.node());
                    prop_assert_eq!(found, Some(lend(node)));
                }
                let built = builder.finish();
                check(&built);
                for children in [&children, &built] {
                    let all: Vec<_> = children.iter().map(|(name, entry)| (name, entry.node())).collect();
                    let expected: Vec<_> = model.iter().map(|(name, node)| (&**name, lend(node))).collect();
                    prop_assert_eq!(all, expected);
                    let with_nul: Vec<_> = children.names_with_nul().map(<[u8]>::to_vec).collect();
                    let expected: Vec<_> = model.keys().map(|name| [name.as_bytes(), b"\0"].concat()).collect();
                    prop_assert!(with_nul == expected);
                    prop_assert_eq!(children.last(), model.keys().next_back().map(|name| &**name));
                    for name in model.keys().map(|name| &**name).chain(["", "a", "m", "\u{ffff}"]) {
                        let below = (std::ops::Bound::Unbounded, std::ops::Bound::Excluded(name));
                        let before = model.range::<str, _>(below).next_back();
                        prop_assert_eq!(children.before(name), before.map(|(name, _)| &**name));
                        let behind = (std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded);
                        let after = model.range::<str, _>(behind).next();
                        let found = children.at(&mut children.after(name)).map(|(name, _)| name);
                        prop_assert_eq!(found, after.map(|(name, _)| &**name));
                    }
                }
            }
        }

        #[test]
        fn children_behave_as_a_sorted_map(ops in prop::collection::vec((0u8..3, 0u16..400), 0..1500)) {
            let mut children = Children::default();
            let mut model = BTreeMap::new();
            for (op, key) in ops {
                let insert = op > 0;
                let name = named_after(key);
                if insert {
                    put(&mut children, &name);
                    model.insert(name, ());
                } else {
                    prop_assert_eq!(children.remove(&name, &mut 0), model.remove(&name).is_some());
                }
                check(&children);
            }
            prop_assert_eq!(named(&children), model.keys().cloned().collect::<Vec<_>>());
            prop_assert_eq!(children.len(), model.len());
            let with_nul: Vec<_> = children.names_with_nul().map(|name| String::from_utf8_lossy(&name[..name.len() - 1]).into_owned()).collect();
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
                    put(&mut children, &format!("{key:03}"));
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
