//! A shared file that is not as it was written: what is read of it is a tree, or an error.

use std::sync::Arc;

use treecache_core::selection::{Effect, Selection};
use treecache_core::share::{
    Appender, Header, Identity, Keeper, Loader, Moment, OBJECTS_AT, Page, ROOTS_AT, Root, Written, checksum,
};
use treecache_core::sync::Data;
use treecache_core::tree::{Differences, Tree, Version};
use treecache_core::{Node, NodePath, Stat, Zxid};

use crate::input::Input;

/// What stands before an object.
const OBJECT_HEAD: usize = 24;
/// The longest file of a scene.
const MOST_BYTES: usize = 1 << 20;

/// A file as a reader has it.
struct Sheet(Vec<u8>);

impl Keeper for Sheet {
    fn bytes(&self, at: u64, len: usize) -> &[u8] {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        self.0.get(start..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    }
}

/// Writes some versions, changes bytes of them, and reads what has become of it: as they are, or with checksums that fit. Returns
/// how many bytes were read.
pub fn share(data: &[u8]) -> usize {
    let mut input = Input::new(data);
    let (mut bytes, mut loader) = (vec![0; OBJECTS_AT as usize], Loader::default());
    let mut appender = Appender::new(7);
    put(&mut bytes, 0, &Header { lineage: 7, file: 1 }.encode());
    bytes.extend(identity().write(&mut appender));
    let (mut tree, mut known, mut fed) = (Tree::default(), Tree::default(), data.len());
    assert!(tree.put("", node(1, 1)));
    for sequence in 1..=8 {
        for _ in 0..input.below(60) {
            edit(&mut tree, &mut input, sequence);
        }
        let stored = appender
            .write(&tree, &mut |page| {
                bytes.extend_from_slice(page);
                Ok::<(), ()>(())
            })
            .expect("memory has room");
        appender.keep(&tree);
        let root = Root {
            sequence,
            length: bytes.len() as u64,
            tree: stored,
            zxid: Zxid(sequence as i64),
            is_cut: true,
            is_complete: true,
            ..Root::default()
        };
        put(&mut bytes, Root::place(sequence) as usize, &root.encode());
        let version = read(&bytes, &mut loader).expect("it is as it was written");
        assert_eq!((version.tree.len(), version.tree.bytes()), (tree.len(), tree.bytes()));
        known = version.tree;
        if input.is_empty() || bytes.len() > MOST_BYTES {
            break;
        }
    }
    fed += bytes.len();
    // Whoever has read the versions before goes on with them.
    harm(&mut bytes, &mut input);
    for loader in [&mut loader, &mut Loader::default()] {
        fed += bytes.len();
        if let Some(version) = read(&bytes, loader) {
            look_at(&version, &known, bytes.len());
        }
    }
    page(&mut input);
    fed
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

fn identity() -> Identity {
    let mut selection = Selection::default();
    selection.limit_depth(60);
    selection.add(Effect::Exclude, "tmp").expect("a pattern");
    let root = NodePath::new("/a").expect("a path");
    Identity { root, chroot: NodePath::root(), selection, data: Data::All, limit_path: 4096, user: None }
}

fn node(zxid: i64, len: usize) -> Option<Node> {
    let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), num_children: len as i32 % 2, ..Stat::default() };
    Some(Node::new(vec![zxid as u8; len].into(), stat))
}

fn edit(tree: &mut Tree, input: &mut Input<'_>, zxid: u64) {
    let number = input.byte();
    let path = match number % 4 {
        0 => format!("n{number}"),
        1 => format!("n{}/{number}", number & !3),
        2 => format!("n0/{}/{number}", number & 0xe0),
        _ => "n".repeat(1000 + usize::from(number)),
    };
    match input.below(8) {
        0 => _ = tree.remove(&path),
        1 => _ = tree.put(&path, None),
        _ => _ = tree.put(&path, node(zxid as i64, input.choose(&[0, 1, 128, 1024, 1025, 3000]))),
    }
}

/// Changes bytes, and sees to it that most checksums fit, so that what is behind them is looked at.
fn harm(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    for _ in 0..=input.below(6) {
        let place = usize::from(u16::from_le_bytes([input.byte(), input.byte()]));
        let objects = objects(bytes);
        let at = match input.below(4) {
            0 => place % bytes.len(),
            1 => ROOTS_AT[place % 2] as usize + 8 + place / 2 % (Root::LEN - 8),
            // The head of an object, or what is in it.
            2 => objects[place % objects.len()] + 4 + place / 7 % 20,
            _ => (objects[place % objects.len()] + OBJECT_HEAD + place / 7 % 64).min(bytes.len() - 1),
        };
        match input.below(4) {
            0 => bytes[at] ^= 1 << input.below(8),
            1 => bytes[at] = input.byte(),
            // A reference to another object.
            2 if at + 8 <= bytes.len() => {
                let to =
                    OBJECTS_AT + (objects[usize::from(input.byte()) % objects.len()] as u64 - OBJECTS_AT);
                put(bytes, at & !7, &to.to_le_bytes());
            }
            _ if input.below(8) == 0 => bytes.truncate(at.max(OBJECTS_AT as usize + 64)),
            _ => bytes[at] = bytes[at].wrapping_add(input.byte()),
        }
    }
    if input.below(8) > 0 {
        seal(bytes);
    }
}

/// Where objects begin, as far as they follow each other.
fn objects(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut all) = (OBJECTS_AT as usize, Vec::new());
    while let Some(head) = bytes.get(at..at + OBJECT_HEAD) {
        let len = u64::from_le_bytes(*head[16..].first_chunk().expect("eight bytes")) as usize;
        all.push(at);
        match at.checked_add(OBJECT_HEAD).and_then(|end| end.checked_add(len.checked_next_multiple_of(8)?)) {
            Some(next) if next <= bytes.len() => at = next,
            _ => break,
        }
    }
    all
}

/// Gives everything a checksum that fits.
fn seal(bytes: &mut [u8]) {
    for at in objects(bytes) {
        let len = u64::from_le_bytes(*bytes[at + 16..].first_chunk().expect("eight bytes")) as usize;
        if let Some(object) =
            at.checked_add(OBJECT_HEAD).and_then(|end| bytes.get(at + 4..end.checked_add(len)?))
        {
            let sum = checksum(object);
            put(bytes, at, &sum.to_le_bytes());
        }
    }
    for at in ROOTS_AT.map(|at| at as usize) {
        let sum = u64::from(checksum(&bytes[at + 8..at + Root::LEN]));
        put(bytes, at, &sum.to_le_bytes());
    }
}

/// Reads a file as a reader does.
fn read(bytes: &[u8], loader: &mut Loader) -> Option<Version> {
    let header = Header::decode(bytes).ok()?;
    let root = Root::newest(ROOTS_AT.map(|at| &bytes[at as usize..]))?;
    let objects = bytes.get(OBJECTS_AT as usize..usize::try_from(root.length).ok()?)?;
    let keeper: Arc<dyn Keeper> = Arc::new(Sheet(bytes.to_vec()));
    let written = Written { objects, lineage: header.lineage, keeper: Some(&keeper) };
    Identity::read(&written).ok()?;
    root.load(loader, &written).ok()
}

/// All of a tree can be walked through, found and compared, and it is not more than was written.
fn look_at(version: &Version, known: &Tree, len: usize) {
    let (mut nodes, mut data, mut walk) = (0, 0, version.tree.preorder());
    while let Some((path, entry)) = walk.next() {
        if let Some(node) = entry.node() {
            nodes += 1;
            data += node.data().len();
        }
        assert!(
            version.tree.get(path).is_some_and(|found| found.node() == entry.node()),
            "{path:?} is not found"
        );
        assert!(version.tree.look_up(path).is_some(), "{path:?} is not looked up");
        assert!(
            entry
                .children()
                .is_none_or(|list| !list.is_empty() && list.names_with_nul().count() == list.len())
        );
    }
    assert_eq!((nodes, data), (version.tree.len(), version.tree.bytes()));
    assert!(nodes <= len, "more nodes than bytes");
    let mut differences = Differences::new(known, &version.tree);
    while differences.next().is_some() {}
}

/// What somebody else writes while it is read.
fn page(input: &mut Input<'_>) {
    let mut bytes = [0; Page::LEN];
    let given = input.bytes(Page::LEN - 8);
    bytes[8..8 + given.len()].copy_from_slice(given);
    let sum = checksum(&bytes[8..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    if let Some(page) = Page::decode(&bytes) {
        page.standing(&Moment { real: u64::MAX, boot: 0, boot_id: 1 });
        assert_eq!(Page::decode(&page.encode()), Some(page));
    }
}
