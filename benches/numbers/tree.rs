//! The tree that everything but the markets is measured on.

use treecache_test_support::{Op, Writer};

pub const ROOT: &str = "/bench";
pub const DATA_LEN: usize = 128;
/// The root, its directories and their leaves.
pub const NODES: usize = 1 + DIRECTORIES * (1 + LEAVES);
const DIRECTORIES: usize = 100;
const LEAVES: usize = 1000;

/// The paths of the leaves; all of depth 3.
pub fn leaves() -> impl Iterator<Item = String> {
    (0..DIRECTORIES).flat_map(|directory| {
        (0..LEAVES).map(move |leaf| format!("{}/leaf-{leaf:04}", self::directory(directory)))
    })
}

fn directory(number: usize) -> String {
    format!("{ROOT}/directory-{number:03}")
}

/// Creates the tree.
pub fn fill(writer: &mut Writer) {
    let data = [b'x'; DATA_LEN];
    let directories = (0..DIRECTORIES).map(directory);
    let paths = std::iter::once(ROOT.to_owned()).chain(directories).chain(leaves());
    for (count, path) in paths.enumerate() {
        writer.send(&Op::Create { path: &path, data: Some(&data), flags: 0 }).expect("a create");
        if count % 1000 == 0 {
            writer.drain().expect("answers");
        }
        if count % 20_000 == 0 && count > 0 {
            println!("    {count} nodes");
        }
    }
    writer.drain().expect("answers");
}
