//! Trees that are known without asking anybody.

use std::fmt;
use std::time::Duration;

use contender::Digest;
use treecache_test_support::{Op, Server, Writer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// All below one parent.
    Flat,
    /// A chain.
    Deep,
    /// Directories below the root, leaves in the directories: 10 of about 100 in a tree of a thousand, 100 of about 1,000
    /// in one of a hundred thousand.
    Bushy,
}

/// A tree of exactly `nodes` nodes, each with `data` bytes. Those of different use are different trees: what writes,
/// writes to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tree {
    pub usage: &'static str,
    pub shape: Shape,
    pub nodes: usize,
    pub data: usize,
}

impl fmt::Display for Tree {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        let Tree { usage, shape, nodes, data } = self;
        write!(to, "{usage}-{}-{data}-{nodes}", format!("{shape:?}").to_lowercase())
    }
}

impl Tree {
    pub fn new(usage: &'static str, shape: Shape, nodes: usize, data: usize) -> Tree {
        Tree { usage, shape, nodes, data }
    }

    pub fn root(&self) -> String {
        format!("/{self}")
    }

    /// All paths, parents first.
    pub fn paths(&self) -> Box<dyn Iterator<Item = String>> {
        let (root, rest) = (self.root(), self.nodes - 1);
        let first = std::iter::once(root.clone());
        match self.shape {
            Shape::Flat => Box::new(first.chain((0..rest).map(move |i| format!("{root}/node-{i:07}")))),
            Shape::Deep => {
                let mut path = root;
                Box::new(first.chain((0..rest).map(move |_| {
                    path.push_str("/n");
                    path.clone()
                })))
            }
            Shape::Bushy => {
                let directories = (0..self.directories()).map({
                    let root = root.clone();
                    move |directory| format!("{root}/directory-{directory:03}")
                });
                Box::new(first.chain(directories).chain(self.leaves()))
            }
        }
    }

    /// The paths of a bushy tree's leaves, all of depth 3, directory by directory.
    pub fn leaves(&self) -> impl Iterator<Item = String> + use<> {
        let (root, directories) = (self.root(), self.directories());
        let leaves = self.nodes - 1 - directories;
        (0..leaves).map(move |i| {
            let (directory, leaf) = (i * directories / leaves, i);
            format!("{root}/directory-{directory:03}/leaf-{leaf:07}")
        })
    }

    fn directories(&self) -> usize {
        (self.nodes as f64 / 10.0).sqrt() as usize
    }

    /// The data of the node with that place among all paths: different for each.
    fn data_of(&self, place: usize) -> Vec<u8> {
        format!("{place:015} ").into_bytes().into_iter().cycle().take(self.data).collect()
    }

    /// Creates it; returns what it is to be seen as.
    pub fn create(&self, server: &Server) -> Digest {
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a session");
        let mut digest = Digest::default();
        // A few MB on their way at a time.
        let burst = (4 << 20) / (self.data + 256);
        for (place, path) in self.paths().enumerate() {
            let data = self.data_of(place);
            digest.add(&path, &data);
            writer.send(&Op::Create { path: &path, data: Some(&data), flags: 0 }).expect("a create");
            if place % burst == 0 {
                writer.drain().expect("answers");
            }
        }
        writer.drain().expect("answers");
        digest
    }
}
