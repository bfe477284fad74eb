//! Edits of a tree, which is compared with a map after each of them.

use std::collections::BTreeMap;

use treecache_core::tree::{Change, Differences, ListBuilder, Share, Tree};
use treecache_core::{Node, Stat, Zxid};

use crate::input::Input;

/// The nodes by the names on their paths, in preorder; `None` for one that may not be read.
type Model = BTreeMap<Vec<String>, Option<Node>>;

/// The most nodes of a scene: each edit looks at all of them.
const MOST_NODES: usize = 400;

/// Plays edits that the bytes choose. Returns about how many bytes of names and data were put in.
pub fn tree(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let mut scene = Scene { tree: Tree::default(), model: Model::new(), fed: data.len() };
    scene.put(&[], Some(node(&mut input)));
    while !input.is_empty() {
        let (tree, model) = (scene.tree.clone(), scene.model.clone());
        let is_attached = scene.edit(&mut input);
        scene.check();
        check_differences(&tree, &model, &scene.tree, &scene.model);
        // A list that is attached is another one, whatever is in it.
        let is_changed = is_attached || model != scene.model;
        assert_eq!(is_changed, !scene.tree.is(&tree), "what changed nothing is seen, or what changed is not");
        let let_go = scene.tree.let_go() - tree.let_go();
        // A root is put into nothing.
        assert!(let_go > 0 || !is_changed || !tree.has_root(), "a copy was not counted");
        assert!(let_go == 0 || is_changed, "{let_go} bytes are let go for nothing");
    }
    scene.fed
}

struct Scene {
    tree: Tree,
    model: Model,
    fed: usize,
}

impl Scene {
    /// Returns whether a list was attached.
    fn edit(&mut self, input: &mut Input<'_>) -> bool {
        let place = usize::from(input.byte()) * self.model.len() / 256;
        let at = self.model.keys().nth(place).cloned().unwrap_or_default();
        let mut below = at.clone();
        match input.below(9) {
            0..=2 if self.model.len() < MOST_NODES => {
                below.push(name(input));
                self.put(&below, Some(node(input)));
            }
            3 => self.put(&at, Some(node(input))),
            4 => {
                below.extend(input.below(2).checked_sub(1).map(|_| name(input)));
                self.put(&below, None);
            }
            5 => {
                assert_eq!(self.tree.remove(&path(&at)), self.model.contains_key(&at));
                self.model.retain(|other, _| !other.starts_with(&at));
            }
            6 => {
                self.tree.remove_below(&path(&at));
                self.model.retain(|other, _| other == &at || !other.starts_with(&at));
            }
            7 => self.put_children(&at, input),
            _ => return self.attach(&at, input),
        }
        false
    }

    fn put(&mut self, at: &[String], node: Option<Node>) {
        self.feed(at, node.as_ref());
        let parent = at.split_last().map(|(_, parent)| self.model.get(parent));
        let has_place = parent.is_none_or(|parent| parent.is_some_and(Option::is_some));
        assert_eq!(self.tree.put(&path(at), node.clone()), has_place, "{at:?}");
        if has_place {
            if node.is_none() {
                self.model.retain(|other, _| !other.starts_with(at));
            }
            self.model.insert(at.to_vec(), node);
        }
    }

    /// Children that are not there yet.
    fn put_children(&mut self, at: &[String], input: &mut Input<'_>) {
        let mut list = self.list(input);
        list.retain(|name, node| {
            node.is_some() && !self.model.contains_key(&[at, std::slice::from_ref(name)].concat())
        });
        let nodes = || list.iter().filter_map(|(name, node)| Some((&**name, node.as_ref()?.lend())));
        let has_place = self.model.get(at).is_some_and(Option::is_some);
        assert_eq!(self.tree.put_children(&path(at), nodes()), has_place, "{at:?}");
        list.values().for_each(|node| self.feed(at, node.as_ref()));
        if has_place {
            self.model.extend(list.into_iter().map(|(name, node)| ([at, &[name]].concat(), node)));
        }
    }

    fn list(&self, input: &mut Input<'_>) -> BTreeMap<String, Option<Node>> {
        let mut list = BTreeMap::new();
        let room = MOST_NODES.saturating_sub(self.model.len());
        for _ in 0..input.below(200).min(room) {
            let node = (input.below(8) > 0).then(|| node(input));
            list.insert(name(input), node);
        }
        list
    }

    fn attach(&mut self, at: &[String], input: &mut Input<'_>) -> bool {
        let list = self.list(input);
        let mut builder = ListBuilder::default();
        for (name, node) in &list {
            self.feed(at, node.as_ref());
            assert!(builder.push(name, node.as_ref().map(Node::lend)), "{name:?} is not behind the others");
            assert!(!builder.push(name, None), "{name:?} twice");
        }
        let (has_place, is_empty) = (self.model.get(at).is_some_and(Option::is_some), list.is_empty());
        assert_eq!(self.tree.attach(&path(at), builder.finish()), has_place, "{at:?}");
        if has_place {
            self.model.retain(|other, _| other == at || !other.starts_with(at));
            self.model.extend(list.into_iter().map(|(name, node)| ([at, &[name]].concat(), node)));
        }
        has_place && !is_empty
    }

    fn feed(&mut self, at: &[String], node: Option<&Node>) {
        let names: usize = at.iter().map(String::len).sum();
        self.fed += names + node.map_or(0, |node| node.data().len());
    }

    /// The tree is what the model is: walked, and asked for each path.
    fn check(&self) {
        let mut expected = self.model.iter();
        let mut walk = self.tree.preorder();
        while let Some((at, entry)) = walk.next() {
            let (names, node) = expected.next().expect("no more than there is");
            assert_eq!(at, path(names));
            assert_eq!(entry.node(), node.as_ref().map(Node::lend), "{at:?}");
            assert!(self.tree.get(at).is_some_and(|found| found.is(&entry)), "{at:?} cannot be found");
            // The first readers find the way that others go.
            for _ in 0..3 {
                let found = self.tree.look_up(at);
                assert!(found.is_some_and(|found| found.is(&entry)), "{at:?} cannot be looked up");
            }
            assert!(entry.children().is_none_or(|children| !children.is_empty()), "an empty list");
        }
        assert_eq!(expected.next().map(|(names, _)| names), None);
        let readable = || self.model.values().flatten();
        let bytes: usize = readable().map(|node| node.data().len()).sum();
        assert_eq!((self.tree.len(), self.tree.bytes()), (readable().count(), bytes));
    }
}

/// What differs, told to somebody who knows the older tree, makes the newer one of it; Stats without data aside.
fn check_differences(old: &Tree, old_model: &Model, new: &Tree, new_model: &Model) {
    let told = |model: &Model| -> BTreeMap<String, Node> {
        model.iter().filter_map(|(names, node)| Some((path(names), node.clone()?))).collect()
    };
    let mut known = told(old_model);
    let is_known = |known: Option<Node>, share: &Share| known.as_ref().map(Node::lend) == share.node();
    let mut differences = Differences::new(old, new);
    while let Some((at, change)) = differences.next() {
        match change {
            Change::Removed { node } => assert!(is_known(known.remove(at), &node), "-{at:?}"),
            Change::Added { node } => {
                let node = node.node().expect("it may be read").to_node();
                assert!(known.insert(at.to_owned(), node).is_none(), "+{at:?}");
            }
            Change::Updated { node, old } => {
                let node = node.node().expect("it may be read").to_node();
                assert!(is_known(known.insert(at.to_owned(), node), &old), "~{at:?}");
            }
        }
    }
    let new = told(new_model);
    assert!(known.keys().eq(new.keys()), "something came or went, and was not told");
    for ((at, known), node) in known.iter().zip(new.values()) {
        assert!(node.lend().has_same_data(&known.lend()), "{at:?} was not told");
    }
}

fn path(names: &[String]) -> String {
    names.join("/")
}

/// One of the names that are made alike, or a long one.
fn name(input: &mut Input<'_>) -> String {
    match input.byte() {
        number @ ..=239 => format!("{}{number}", ["", "n", "instance-00000", "é"][usize::from(number % 4)]),
        long => "n".repeat([1023, 1024, 1025, 5000][usize::from(long % 4)]) + &long.to_string(),
    }
}

fn node(input: &mut Input<'_>) -> Node {
    const LENGTHS: [usize; 8] = [0, 1, 128, 128, 500, 1024, 1025, 3000];
    let czxid = Zxid(input.number());
    let mut stat = Stat { czxid, mzxid: czxid, pzxid: czxid, ..Stat::default() };
    let data = vec![input.byte(); input.choose(&LENGTHS)];
    stat.data_length = data.len() as i32;
    let unusual = u16::from_le_bytes([input.byte(), input.byte()]);
    for (place, field) in
        [&mut stat.mzxid.0, &mut stat.pzxid.0, &mut stat.ctime, &mut stat.mtime, &mut stat.ephemeral_owner]
            .into_iter()
            .enumerate()
    {
        if unusual >> place & 1 != 0 {
            *field = input.number();
        }
    }
    for (place, field) in [
        &mut stat.version,
        &mut stat.cversion,
        &mut stat.aversion,
        &mut stat.num_children,
        &mut stat.data_length,
    ]
    .into_iter()
    .enumerate()
    {
        if unusual >> (8 + place) & 1 != 0 {
            *field = input.int();
        }
    }
    Node::new(data.into(), stat)
}
