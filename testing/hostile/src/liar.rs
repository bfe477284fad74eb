//! A server that answers what it is asked, in the right form or nearly so, and with anything in it.

use treecache_core::path::NodePath;
use treecache_core::wire::{Read, Request};
use treecache_test_protocol as protocol;

use crate::input::Input;

/// What a client asked, as far as it matters for the form of the answer.
pub enum Asked {
    Reads(Vec<AskedRead>),
    Stat,
    ListWithStat,
    /// What is answered by a header alone.
    Nothing,
}

pub struct AskedRead {
    pub children: bool,
    /// How many names the path has: trees have an end, unless the bytes want it otherwise.
    pub depth: usize,
}

/// How deep the tree is that the liar pretends to have.
const DEPTH: usize = 5;

impl AskedRead {
    pub fn new(children: bool, path: &str) -> AskedRead {
        AskedRead { children, depth: path.bytes().filter(|byte| *byte == b'/').count() }
    }
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Asked {
        match request {
            Request::MultiRead(reads) => Asked::Reads(
                reads
                    .iter()
                    .flat_map(|read| match read {
                        Read::Data(path) => vec![AskedRead::new(false, path.as_str())],
                        Read::Children(path) => vec![AskedRead::new(true, path.as_str())],
                        Read::Siblings(siblings) => {
                            siblings.paths().map(|path| AskedRead::new(false, path.as_str())).collect()
                        }
                    })
                    .collect(),
            ),
            Request::Exists(_) => Asked::Stat,
            Request::ChildrenWithStat(_) => Asked::ListWithStat,
            _ => Asked::Nothing,
        }
    }
}

impl From<&protocol::Operation> for Asked {
    fn from(operation: &protocol::Operation) -> Asked {
        match operation {
            protocol::Operation::MultiRead(reads) => Asked::Reads(
                reads
                    .iter()
                    .map(|read| AskedRead::new(matches!(read, protocol::Read::Children(_)), read.path()))
                    .collect(),
            ),
            protocol::Operation::Exists { .. } => Asked::Stat,
            protocol::Operation::ChildrenWithStat { .. } => Asked::ListWithStat,
            _ => Asked::Nothing,
        }
    }
}

pub struct Answer {
    pub zxid: i64,
    pub error: i32,
    pub body: Vec<u8>,
}

/// Remembers the newest zxid it has named.
pub struct Liar {
    pub zxid: i64,
}

impl Default for Liar {
    /// A session is a transaction too.
    fn default() -> Liar {
        Liar { zxid: 1 }
    }
}

const ERRORS: [i32; 10] = [-101, -102, -127, -6, -5, -124, -110, -121, -4, -9999];

impl Liar {
    /// Mostly the zxid of before or a newer one.
    pub fn next_zxid(&mut self, input: &mut Input<'_>) -> i64 {
        let step = match input.byte() {
            small @ ..=200 => i64::from(small % 4),
            _ => input.number(),
        };
        self.zxid = self.zxid.max(self.zxid.saturating_add(step));
        self.zxid
    }

    pub fn answer(&mut self, asked: &Asked, input: &mut Input<'_>) -> Answer {
        let zxid = self.next_zxid(input);
        let mut body = Vec::new();
        match input.byte() {
            ..=9 => return Answer { zxid, error: input.choose(&ERRORS), body },
            10..=12 => body.extend_from_slice(input.bytes(64)),
            manner => {
                self.body(asked, manner, input, &mut body);
                if manner == 13 {
                    body.truncate(input.below(body.len().clamp(1, 256)));
                }
            }
        }
        Answer { zxid, error: 0, body }
    }

    fn body(&self, asked: &Asked, manner: u8, input: &mut Input<'_>, out: &mut Vec<u8>) {
        match asked {
            Asked::Nothing => {}
            Asked::Stat => stat(0, self.zxid, input, out),
            Asked::ListWithStat => {
                names(0, input, out);
                stat(0, self.zxid, input, out);
            }
            Asked::Reads(reads) => {
                let count = match manner {
                    14 => reads.len().saturating_sub(1),
                    15 => reads.len() + 1,
                    _ => reads.len(),
                };
                for read in reads.iter().cycle().take(count) {
                    self.result(read, input, out);
                }
                result_header(-1, true, out);
            }
        }
    }

    fn result(&self, read: &AskedRead, input: &mut Input<'_>, out: &mut Vec<u8>) {
        let as_asked = read.children;
        let children = match input.byte() {
            ..=235 => as_asked,
            236..=250 => {
                result_header(-1, false, out);
                return out.extend_from_slice(&input.choose(&ERRORS).to_be_bytes());
            }
            _ => !as_asked,
        };
        if children {
            result_header(8, false, out);
            names(read.depth, input, out);
        } else {
            result_header(4, false, out);
            data(input, out);
            stat(read.depth, self.zxid, input, out);
        }
    }
}

/// In front of each result of a multiRead.
fn result_header(kind: i32, done: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.push(done.into());
    out.extend_from_slice(&(-1i32).to_be_bytes());
}

fn data(input: &mut Input<'_>, out: &mut Vec<u8>) {
    let len = match input.byte() {
        small @ ..=250 => usize::from(small % 16),
        251 | 252 => 5000,
        253 => return out.extend_from_slice(&(-1i32).to_be_bytes()),
        254 => return out.extend_from_slice(&i32::MAX.to_be_bytes()),
        255 => return out.extend_from_slice(&(-2i32).to_be_bytes()),
    };
    out.extend_from_slice(&(len as i32).to_be_bytes());
    out.resize(out.len() + len, b'd');
}

fn names(depth: usize, input: &mut Input<'_>, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let most = if depth < DEPTH { 6 } else { 1 };
    let mut count = match input.byte() {
        few @ ..=247 => i32::from(few) % most,
        248 => 300,
        _ => input.below(256) as i32,
    };
    let many = count > 6;
    for n in 0..count {
        // Many names are told apart by numbers, so that they do not cost as many bytes of input.
        let name = if many { n.to_string().into_bytes() } else { name(input) };
        out.extend_from_slice(&(name.len() as i32).to_be_bytes());
        out.extend_from_slice(&name);
    }
    if input.byte() == 255 {
        count = input.int();
    }
    out[at..at + 4].copy_from_slice(&count.to_be_bytes());
}

/// The name of a node, which may be none at all.
pub fn name(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        letter @ ..=220 => vec![b'a' + letter % 4],
        221 => b"zookeeper".to_vec(),
        222 => Vec::new(),
        223 => b".".to_vec(),
        224 => b"..".to_vec(),
        225 => b"a/b".to_vec(),
        226 => b"\0".to_vec(),
        227 => vec![0xc3, 0x28],
        228 => b"a-b".to_vec(),
        229 => vec![b'l'; 10 << 10],
        230..=240 => vec![b'm'; usize::from(input.byte())],
        _ => input.bytes(8).to_vec(),
    }
}

fn stat(depth: usize, newest: i64, input: &mut Input<'_>, out: &mut Vec<u8>) {
    // czxid, mzxid and pzxid: of the past, or whatever.
    let manner = input.byte();
    let mut zxid = || match manner {
        ..=240 => 1 + i64::from(input.byte() % 4).min(newest.max(0)),
        _ => input.number(),
    };
    let (czxid, mzxid, pzxid) = (zxid(), zxid(), zxid());
    let few = if depth < DEPTH { i32::from(input.byte() % 4) } else { 0 };
    let (cversion, num_children, aversion) = match manner {
        ..=230 => (few, few, 0),
        _ => (input.int(), input.int(), input.int()),
    };
    out.extend_from_slice(&czxid.to_be_bytes());
    out.extend_from_slice(&mzxid.to_be_bytes());
    out.extend_from_slice(&[0; 16]); // ctime, mtime
    out.extend_from_slice(&[0; 4]); // version
    out.extend_from_slice(&cversion.to_be_bytes());
    out.extend_from_slice(&aversion.to_be_bytes());
    out.extend_from_slice(&[0; 8]); // ephemeral owner
    out.extend_from_slice(&input.int().to_be_bytes()); // data length
    out.extend_from_slice(&num_children.to_be_bytes());
    out.extend_from_slice(&pzxid.to_be_bytes());
}

/// What a notification says behind its header: a kind, and a path that may be none.
pub fn notification(input: &mut Input<'_>) -> Vec<u8> {
    let kind = match input.byte() {
        few @ ..=240 => i32::from(few % 3) + 1,
        _ => input.int(),
    };
    let mut path = Vec::new();
    for _ in 0..input.below(DEPTH + 1) {
        path.push(b'/');
        path.extend_from_slice(&name(input));
    }
    if path.is_empty() {
        path.push(b'/');
    }
    let mut body = kind.to_be_bytes().to_vec();
    body.extend_from_slice(&3i32.to_be_bytes()); // connected
    body.extend_from_slice(&(path.len() as i32).to_be_bytes());
    body.extend_from_slice(&path);
    body
}

/// A path to have a cache of.
pub fn root(input: &mut Input<'_>) -> NodePath {
    NodePath::new(input.choose(&["/", "/a", "/a/b", "/a", "/b", "/a/b/c"])).expect("a valid path")
}
