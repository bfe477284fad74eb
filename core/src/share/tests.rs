use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::selection::Effect;
use crate::stat::Stat;
use crate::tree::{Change, Differences, Node, Tree};

/// A file in memory, as a writer makes it.
struct Paper {
    bytes: Vec<u8>,
    appender: Appender,
    sequence: u64,
}

/// A file in memory, as a reader has it.
struct Sheet(Vec<u8>);

impl Keeper for Sheet {
    fn bytes(&self, at: u64, len: usize) -> &[u8] {
        self.0.get(at as usize..).and_then(|rest| rest.get(..len)).unwrap_or_default()
    }
}

fn identity() -> Identity {
    let mut selection = Selection::default();
    selection.limit_depth(7);
    selection.add(Effect::Exclude, "*/tmp").unwrap();
    let path = |path| NodePath::new(path).unwrap();
    let data = Data::Gzip { most: 5 };
    Identity {
        root: path("/a"),
        chroot: path("/app"),
        selection,
        data,
        limit_path: 99,
        user: Some("sasl:me".to_owned()),
    }
}

impl Paper {
    fn new(appender: Appender) -> Paper {
        let mut paper = Paper { bytes: vec![0; OBJECTS_AT as usize], appender, sequence: 0 };
        let header = Header { lineage: paper.appender.lineage(), file: 5 }.encode();
        paper.bytes[..header.len()].copy_from_slice(&header);
        let identity = identity().write(&mut paper.appender);
        paper.bytes.extend(identity);
        paper
    }

    /// Appends a version. Returns its root, and how many bytes that took.
    fn write(&mut self, tree: &Tree) -> (Root, usize) {
        let before = self.bytes.len();
        let bytes = &mut self.bytes;
        let append = &mut |page: &[u8]| {
            bytes.extend_from_slice(page);
            Ok::<(), ()>(())
        };
        let stored = self.appender.write(tree, append).unwrap();
        self.appender.keep(tree);
        assert_eq!(self.appender.end(), self.bytes.len() as u64);
        self.sequence += 1;
        let root = Root {
            sequence: self.sequence,
            length: self.bytes.len() as u64,
            tree: stored,
            changes: 3,
            zxid: Zxid(self.sequence as i64),
            is_cut: true,
            is_complete: true,
            is_own: self.sequence % 2 == 1,
            has_moved: false,
            heard: Moment { real: 1, boot: 2, boot_id: 3 },
        };
        let place = Root::place(self.sequence) as usize;
        self.bytes[place..place + Root::LEN].copy_from_slice(&root.encode());
        (root, self.bytes.len() - before)
    }
}

/// What a reader makes of a file: everything is read from the bytes alone.
fn read(bytes: &[u8], loader: &mut Loader, is_mapped: bool) -> Result<(Root, Identity, Version), Refused> {
    let header = Header::decode(bytes)?;
    let place = |at: u64| bytes.get(at as usize..).unwrap_or_default();
    let root = Root::newest(ROOTS_AT.map(place)).ok_or(damaged(0, "no root"))?;
    let objects = bytes.get(OBJECTS_AT as usize..root.length as usize).ok_or(damaged(0, "too short"))?;
    let keeper: Arc<dyn Keeper> = Arc::new(Sheet(bytes.to_vec()));
    let written = Written { objects, lineage: header.lineage, keeper: is_mapped.then_some(&keeper) };
    let identity = Identity::read(&written)?;
    let version = root.load(loader, &written)?;
    Ok((root, identity, version))
}

/// All there is in a tree.
fn listed(tree: &Tree) -> Vec<(String, Option<Node>)> {
    let (mut all, mut walk) = (Vec::new(), tree.preorder());
    while let Some((path, entry)) = walk.next() {
        // It is found by those who look for it, too.
        assert!(tree.look_up(path).is_some_and(|found| found.node() == entry.node()), "{path:?}");
        all.push((path.to_owned(), entry.node().map(|node| node.to_node())));
    }
    all
}

fn changes(old: &Tree, new: &Tree) -> Vec<String> {
    let (mut all, mut differences) = (Vec::new(), Differences::new(old, new));
    while let Some((path, change)) = differences.next() {
        all.push(match change {
            Change::Removed { .. } => format!("-{path}"),
            Change::Added { .. } => format!("+{path}"),
            Change::Updated { .. } => format!("~{path}"),
        });
    }
    all
}

fn push_name(path: &mut String, name: &str) {
    path.push_str(if path.is_empty() { "" } else { "/" });
    path.push_str(name);
}

fn node(zxid: i64, data: usize) -> Option<Node> {
    let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), num_children: (zxid % 2) as i32, ..Stat::default() };
    Some(Node::new(vec![zxid as u8; data].into(), stat))
}

/// A tree of each kind of thing that there is: large data, a long name, one that may not be read, lists below others.
fn small_tree() -> Tree {
    let mut tree = Tree::default();
    let long = "n".repeat(1100);
    for (at, path) in ["", "a", "a/b", "a/b/c", "b", &long].into_iter().enumerate() {
        assert!(tree.put(path, node(at as i64, at)));
    }
    assert!(tree.put("a/large", node(9, 1500)) && tree.put("z", None));
    assert!(tree.put("none", Some(Node::without_data(Stat::default()))));
    tree
}

#[test]
fn what_is_written_is_what_is_read_and_a_version_takes_what_is_new_in_it() {
    let mut tree = Tree::default();
    assert!(tree.put("", node(1, 1)) && tree.put("d", node(1, 1)));
    for n in 0..5000 {
        assert!(tree.put(&format!("d/{n:05}"), node(1, 100)));
    }
    let (mut paper, mut loader) = (Paper::new(Appender::new(7)), Loader::default());
    let (_, whole) = paper.write(&tree);
    assert!(whole > 5000 * 100);
    let (root, who, first) = read(&paper.bytes, &mut loader, true).unwrap();
    assert_eq!((root.zxid, root.is_cut, who), (Zxid(1), true, identity()));
    assert!(listed(&first.tree) == listed(&tree));
    let old = tree.clone();
    assert!(tree.put("d/02500", node(2, 100)) && tree.put("e", node(2, 2)));
    let (_, more) = paper.write(&tree);
    assert!(more < 10_000, "{more} bytes for two changes");
    let (_, nothing) = paper.write(&tree);
    assert_eq!(nothing, 0, "a version that is the same");
    let (root, _, second) = read(&paper.bytes, &mut loader, true).unwrap();
    assert_eq!(root.sequence, 3);
    assert!(listed(&second.tree) == listed(&tree) && listed(&first.tree) == listed(&old));
    assert_eq!(changes(&first.tree, &second.tree), ["~d/02500", "+e"]);
    assert_eq!((second.tree.bytes(), second.tree.let_go()), (tree.bytes(), tree.let_go()));
    // Who begins now has the same, be it copies.
    for is_mapped in [false, true] {
        let (_, _, other) = read(&paper.bytes, &mut Loader::default(), is_mapped).unwrap();
        assert!(listed(&other.tree) == listed(&tree));
        assert!(changes(&other.tree, &second.tree).is_empty());
    }
}

#[test]
fn blocks_are_the_same_in_another_file_and_others_are_others() {
    let mut tree = Tree::default();
    for path in ["", "a", "b"] {
        assert!(tree.put(path, node(1, 1)));
    }
    for n in 0..2000 {
        assert!(tree.put(&format!("a/{n:05}"), node(1, 100)));
    }
    let mut paper = Paper::new(Appender::new(7));
    paper.write(&tree);
    let (_, _, before) = read(&paper.bytes, &mut Loader::default(), true).unwrap();
    let mut moved = Paper::new(paper.appender.for_new_file());
    assert!(tree.put("a/00100", node(2, 100)) && tree.remove("b"));
    let (_, whole) = moved.write(&tree);
    assert!(whole > 2000 * 100, "all of it is in the new file");
    let (_, _, after) = read(&moved.bytes, &mut Loader::default(), true).unwrap();
    assert!(listed(&after.tree) == listed(&tree));
    assert_eq!(changes(&before.tree, &after.tree), ["-b", "~a/00100"]);
    // Another writer gives its own numbers.
    let mut other = Paper::new(Appender::new(8));
    let mut shrunk = tree.clone();
    assert!(shrunk.put("a/00100", node(3, 100)));
    other.write(&shrunk);
    let (_, _, other) = read(&other.bytes, &mut Loader::default(), true).unwrap();
    assert_eq!(changes(&after.tree, &other.tree), ["~a/00100"]);
}

#[test]
fn what_could_not_be_written_is_written_with_the_next_version() {
    let mut tree = small_tree();
    let mut paper = Paper::new(Appender::new(7));
    paper.write(&tree);
    assert!(tree.put("a/b/c", node(20, 20)) && tree.put("new", node(20, 20)));
    let lost = paper.appender.write(&tree, &mut |_| Err("no space left"));
    assert_eq!(lost, Err("no space left"));
    paper.appender.undo();
    paper.write(&tree);
    let (_, _, read) = read(&paper.bytes, &mut Loader::default(), true).unwrap();
    assert!(listed(&read.tree) == listed(&tree));
}

#[test]
fn each_byte_of_a_file_flipped_is_an_error_or_changes_nothing() {
    let mut tree = small_tree();
    let mut paper = Paper::new(Appender::new(7));
    paper.write(&tree);
    let before = listed(&tree);
    assert!(tree.put("a/b", node(20, 20)));
    paper.write(&tree);
    let after = listed(&tree);
    let (mut errors, mut older) = (0, 0);
    for at in 0..paper.bytes.len() {
        for bit in [0x01, 0x80] {
            paper.bytes[at] ^= bit;
            match read(&paper.bytes, &mut Loader::default(), true) {
                Err(_) => errors += 1,
                Ok((root, who, version)) => {
                    assert_eq!(who, identity());
                    let expected = if root.sequence == 1 { &before } else { &after };
                    older += usize::from(root.sequence == 1);
                    assert!(listed(&version.tree) == *expected, "byte {at}");
                }
            }
            paper.bytes[at] ^= bit;
        }
    }
    assert!(errors > 2 * 1000, "{errors} errors");
    assert_eq!(older, 2 * Root::LEN, "each bit of the newer root, and no other");
}

#[test]
fn a_file_that_is_cut_off_is_an_error_or_the_tree_of_before() {
    let tree = small_tree();
    let mut paper = Paper::new(Appender::new(7));
    paper.write(&tree);
    let whole = paper.bytes.len();
    for len in 0..whole {
        // All that follows the identity is needed.
        assert!(read(&paper.bytes[..len], &mut Loader::default(), true).is_err(), "{len} of {whole}");
    }
}

#[test]
fn a_deep_tree_is_written_and_read_without_recursion() {
    let (mut tree, mut path) = (Tree::default(), String::new());
    assert!(tree.put("", node(1, 1)));
    while path.len() < 6000 {
        push_name(&mut path, "d");
        assert!(tree.put(&path, node(1, 1)));
    }
    let small = std::thread::Builder::new().stack_size(100_000);
    let read = move || {
        let mut paper = Paper::new(Appender::new(7));
        paper.write(&tree);
        let (_, _, version) = read(&paper.bytes, &mut Loader::default(), true).unwrap();
        assert!(version.tree.get(&path).is_some());
        assert_eq!(version.tree.len(), tree.len());
    };
    small.spawn(read).expect("a thread").join().expect("it is read");
}

#[test]
fn a_path_that_is_longer_than_any_of_zookeepers_is_refused() {
    let (mut tree, mut path) = (Tree::default(), String::new());
    assert!(tree.put("", node(1, 1)));
    while path.len() < 70_000 {
        push_name(&mut path, &"d".repeat(1000));
        assert!(tree.put(&path, node(1, 1)));
    }
    let mut paper = Paper::new(Appender::new(7));
    paper.write(&tree);
    assert!(matches!(read(&paper.bytes, &mut Loader::default(), true), Err(Refused::Damaged(_))));
}

#[test]
fn a_file_of_another_format_and_what_is_no_share_file_are_told_from_a_damaged_one() {
    let mut bytes = Header { lineage: 1, file: 2 }.encode();
    assert_eq!(Header::decode(&bytes), Ok(Header { lineage: 1, file: 2 }));
    bytes[8] = 2;
    let sum = checksum(&bytes[..32]);
    bytes[32..36].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(Header::decode(&bytes), Err(Refused::OtherFormat(2)));
    assert_eq!(
        Header::decode(&bytes).unwrap_err().to_string(),
        "it has format 2, and this version of the library reads format 1"
    );
    assert_eq!(Header::decode(b"root:x:0:0:root:/root:/bin/bash"), Err(Refused::Foreign));
    assert_eq!(Header::decode(b""), Err(Refused::Foreign));
    assert!(matches!(Header::decode(MAGIC), Err(Refused::Damaged(_))));
}

#[test]
fn of_two_roots_the_newer_one_is_taken_and_one_that_was_not_written_whole_is_none() {
    let mut paper = Paper::new(Appender::new(7));
    for n in 1..=4 {
        let mut tree = Tree::default();
        assert!(tree.put("", node(n, 1)));
        paper.write(&tree);
        let (root, _, version) = read(&paper.bytes, &mut Loader::default(), true).unwrap();
        assert_eq!((root.sequence, version.zxid), (n as u64, Zxid(n)));
    }
    // Half of the fifth.
    let torn = Root { sequence: 5, length: paper.bytes.len() as u64, ..Root::default() }.encode();
    let place = Root::place(5) as usize;
    paper.bytes[place..place + 64].copy_from_slice(&torn[..64]);
    let (root, ..) = read(&paper.bytes, &mut Loader::default(), true).unwrap();
    assert_eq!(root.sequence, 4);
}

#[test]
fn an_age_goes_by_the_time_since_boot_and_by_real_time_after_another_one() {
    let then = Moment { real: 1_000_000, boot: 5000, boot_id: 9 };
    let ago = |real, boot, boot_id| then.ago(&Moment { real, boot, boot_id });
    // Whatever people set the clock to.
    assert_eq!(ago(3_000_000, 5500, 9), Some(Duration::from_millis(500)));
    assert_eq!(ago(1, 5500, 9), Some(Duration::from_millis(500)));
    assert_eq!(ago(1_002_000, 10, 8), Some(Duration::from_millis(2000)));
    assert_eq!(ago(999_999, 10, 8), None, "it was set back");
    assert_eq!(ago(3_000_000, 4999, 9), None);
    assert_eq!(Moment::default().ago(&then), None, "it never was");
}

#[test]
fn a_writer_that_was_silent_for_longer_than_its_session_lasts_is_suspended() {
    let heard = Moment { real: 1000, boot: 1000, boot_id: 1 };
    let timeout = Duration::from_secs(10);
    let page = Page { state: State::InStep, is_initialized: true, file: 3, session_timeout: timeout, heard };
    let standing = |page: &Page, boot| page.standing(&Moment { boot, ..heard });
    assert_eq!(standing(&page, 11_000), (State::InStep, Some(timeout)));
    assert_eq!(standing(&page, 11_001).0, State::Suspended);
    let with = |state| Page { state, ..page };
    assert_eq!(standing(&with(State::Closed), 1000).0, State::Suspended);
    assert_eq!(standing(&with(State::Lost), 90_000).0, State::Lost);
    assert_eq!(standing(&with(State::Held), 90_000).0, State::Held);
    let loading = Page { state: State::Loading, heard: Moment::default(), ..page };
    assert_eq!(standing(&loading, 1000), (State::Loading, None));
}

#[test]
fn a_page_is_read_as_it_was_written_or_not_at_all() {
    for number in 0..9 {
        let state = State::from_number(number).unwrap();
        let page = Page {
            state,
            is_initialized: number % 2 == 0,
            file: 3,
            session_timeout: Duration::from_millis(77),
            heard: Moment { real: 1, boot: 2, boot_id: 3 },
        };
        let mut bytes = page.encode();
        assert_eq!((state as i32, Page::decode(&bytes)), (number, Some(page)));
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let read = Page::decode(&bytes);
            // Four bytes say nothing.
            assert!(read.is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
    }
    assert_eq!(State::from_number(9).or(State::from_number(-1)), None);
    assert!(Page::check_header(&Page::header()).is_ok());
    assert_eq!(Page::check_header(b"something else"), Err(Refused::Foreign));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_versions_of_a_tree_are_read_as_they_were_written(
        edits in prop::collection::vec((0u8..8, 0usize..40, prop::sample::select(&[0usize, 3, 700, 1024, 1025][..])), 1..120),
        every in 1usize..9,
        skipped in 1usize..4,
    ) {
        let mut tree = Tree::default();
        prop_assert!(tree.put("", node(1, 1)));
        let (mut paper, mut loader) = (Paper::new(Appender::new(7)), Loader::default());
        let mut told = (Tree::default(), Tree::default());
        let mut versions = Vec::new();
        for (number, (op, at, len)) in edits.iter().enumerate() {
            let path = match at % 4 {
                0 => format!("{at}"),
                1 => format!("{}/{at}", at / 4),
                2 => format!("0/{}/{at}", at / 8),
                _ => format!("0/instance-{:04}", at * 7),
            };
            match op {
                0 => _ = tree.remove(&path),
                1 => _ = tree.put(&path, None),
                2 => tree.remove_below(&path),
                _ => _ = tree.put(&path, node(number as i64, *len)),
            }
            if number % every != 0 {
                continue;
            }
            paper.write(&tree);
            if number % (every * skipped) == 0 {
                let (_, _, version) = read(&paper.bytes, &mut loader, true).unwrap();
                prop_assert_eq!(listed(&version.tree), listed(&tree));
                prop_assert_eq!(changes(&told.0, &version.tree), changes(&told.1, &tree));
                prop_assert_eq!(version.tree.len(), tree.len());
                told = (version.tree.clone(), tree.clone());
                versions.push((version.tree, tree.clone()));
            }
        }
        for (read, written) in versions {
            prop_assert_eq!(listed(&read), listed(&written));
        }
        let (_, _, cold) = read(&paper.bytes, &mut Loader::default(), false).unwrap();
        let (_, _, warm) = read(&paper.bytes, &mut loader, true).unwrap();
        prop_assert_eq!(listed(&cold.tree), listed(&warm.tree));
    }
}
