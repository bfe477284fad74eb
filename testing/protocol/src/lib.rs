//! The server's side of ZooKeeper's protocol, by an encoder and decoder of its own: the library is not checked with
//! its own words.

use treecache_core::{Stat, Zxid};

pub const OK: i32 = 0;
pub const UNIMPLEMENTED: i32 = -6;
pub const MARSHALLING: i32 = -5;
pub const NO_NODE: i32 = -101;
pub const NO_AUTH: i32 = -102;
pub const NODE_EXISTS: i32 = -110;
pub const NO_WATCHER: i32 = -121;

/// What a client says first.
#[derive(Debug)]
pub struct Connect {
    pub last_zxid_seen: i64,
    pub timeout_ms: i32,
    pub session: i64,
    pub password: Vec<u8>,
}

/// A read of a multiRead.
#[derive(Debug, Clone)]
pub enum Read {
    Data(String),
    Children(String),
}

impl Read {
    pub fn path(&self) -> &str {
        match self {
            Read::Data(path) | Read::Children(path) => path,
        }
    }
}

/// One `check` of a `multi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub path: String,
    pub version: i32,
}

#[derive(Debug)]
pub enum Operation {
    Create {
        path: String,
        /// It is to be a container.
        container: bool,
    },
    Data {
        path: String,
    },
    Exists {
        path: String,
        watch: bool,
    },
    /// One-shot watches, of nodes that have not changed since then.
    SetWatches {
        since: i64,
        data: Vec<String>,
        missing: Vec<String>,
        lists: Vec<String>,
    },
    ChildrenWithStat {
        path: String,
    },
    Sync,
    Ping,
    Close,
    RemoveWatches {
        path: String,
    },
    MultiRead(Vec<Read>),
    /// A `multi` of nothing but `check`s.
    Check(Vec<Checked>),
    Auth {
        scheme: String,
        credential: Vec<u8>,
    },
    Sasl {
        token: Vec<u8>,
    },
    AddWatch {
        path: String,
        mode: i32,
    },
}

#[derive(Debug)]
pub struct Request {
    pub xid: i32,
    pub operation: Operation,
}

/// Cuts the next whole frame off `inbox`.
pub fn next_frame(inbox: &mut Vec<u8>) -> Option<Vec<u8>> {
    let prefix: [u8; 4] = inbox.get(..4)?.try_into().ok()?;
    let end = 4 + u32::from_be_bytes(prefix) as usize;
    if inbox.len() < end {
        return None;
    }
    let rest = inbox.split_off(end);
    let mut frame = std::mem::replace(inbox, rest);
    frame.drain(..4);
    Some(frame)
}

struct Decoder<'a>(&'a [u8]);

impl Decoder<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn bool(&mut self) -> Option<bool> {
        self.take(1).map(|bytes| bytes[0] != 0)
    }

    fn int(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    fn buffer(&mut self) -> Option<Vec<u8>> {
        let len = self.int()?;
        self.take(len.try_into().ok()?).map(<[u8]>::to_vec)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.buffer()?).ok()
    }

    fn strings(&mut self) -> Option<Vec<String>> {
        (0..self.int()?).map(|_| self.string()).collect()
    }
}

pub fn connect(frame: &[u8]) -> Option<Connect> {
    let mut decoder = Decoder(frame);
    (decoder.int()? == 0).then_some(())?;
    Some(Connect {
        last_zxid_seen: decoder.long()?,
        timeout_ms: decoder.int()?,
        session: decoder.long()?,
        password: decoder.buffer()?,
    })
}

/// A request; `None` where it is none.
pub fn request(frame: &[u8]) -> Option<Request> {
    let mut decoder = Decoder(frame);
    let (xid, opcode) = (decoder.int()?, decoder.int()?);
    let operation = match opcode {
        1 => Operation::Create { path: decoder.string()?, container: false },
        3 => Operation::Exists { path: decoder.string()?, watch: decoder.bool()? },
        4 => {
            let path = decoder.string()?;
            (!decoder.bool()?).then_some(Operation::Data { path })?
        }
        9 => Operation::Sync,
        11 => Operation::Ping,
        12 => Operation::ChildrenWithStat { path: decoder.string()? },
        14 => {
            let mut checks = Vec::new();
            loop {
                let (opcode, done, _) = (decoder.int()?, decoder.bool()?, decoder.int()?);
                if done {
                    break Operation::Check(checks);
                }
                (opcode == 13).then_some(())?;
                checks.push(Checked { path: decoder.string()?, version: decoder.int()? });
            }
        }
        18 => Operation::RemoveWatches { path: decoder.string()? },
        19 => Operation::Create { path: decoder.string()?, container: true },
        22 => {
            let mut reads = Vec::new();
            loop {
                let (opcode, done, _) = (decoder.int()?, decoder.bool()?, decoder.int()?);
                if done {
                    break Operation::MultiRead(reads);
                }
                let path = decoder.string()?;
                decoder.bool()?;
                reads.push(match opcode {
                    4 => Read::Data(path),
                    8 => Read::Children(path),
                    _ => return None,
                });
            }
        }
        100 => {
            decoder.int()?;
            Operation::Auth { scheme: decoder.string()?, credential: decoder.buffer()? }
        }
        101 => Operation::SetWatches {
            since: decoder.long()?,
            data: decoder.strings()?,
            missing: decoder.strings()?,
            lists: decoder.strings()?,
        },
        102 => Operation::Sasl { token: decoder.buffer()? },
        106 => Operation::AddWatch { path: decoder.string()?, mode: decoder.int()? },
        -11 => Operation::Close,
        _ => return None,
    };
    Some(Request { xid, operation })
}

/// Appends one frame to `out`.
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Encoder<'a> {
    fn frame(out: &'a mut Vec<u8>) -> Encoder<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Encoder { out, start }
    }

    pub fn reply(out: &'a mut Vec<u8>, xid: i32, zxid: Zxid, error: i32) -> Encoder<'a> {
        let mut encoder = Encoder::frame(out);
        encoder.int(xid);
        encoder.long(zxid.0);
        encoder.int(error);
        encoder
    }

    pub fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn long(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn buffer(&mut self, bytes: &[u8]) {
        self.int(bytes.len() as i32);
        self.out.extend_from_slice(bytes);
    }

    pub fn strings<'s>(&mut self, strings: impl Iterator<Item = &'s str>) {
        let at = self.out.len();
        self.int(0);
        let mut count = 0i32;
        for string in strings {
            self.buffer(string.as_bytes());
            count += 1;
        }
        self.out[at..at + 4].copy_from_slice(&count.to_be_bytes());
    }

    pub fn stat(&mut self, stat: &Stat) {
        self.long(stat.czxid.0);
        self.long(stat.mzxid.0);
        self.long(stat.ctime);
        self.long(stat.mtime);
        self.int(stat.version);
        self.int(stat.cversion);
        self.int(stat.aversion);
        self.long(stat.ephemeral_owner);
        self.int(stat.data_length);
        self.int(stat.num_children);
        self.long(stat.pzxid.0);
    }

    /// Before each result of a `multi` or multiRead, and behind the last.
    pub fn multi_header(&mut self, opcode: i32, done: bool, error: i32) {
        self.int(opcode);
        self.out.push(done.into());
        self.int(error);
    }

    pub fn finish(self) {
        let len = (self.out.len() - self.start - 4) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

/// The answer to a connect; timeout 0 says that the session has expired.
pub fn welcome(out: &mut Vec<u8>, timeout_ms: i32, session: i64, password: &[u8]) {
    let mut encoder = Encoder::frame(out);
    encoder.int(0);
    encoder.int(timeout_ms);
    encoder.long(session);
    encoder.buffer(password);
    encoder.out.push(0); // read-only
    encoder.finish();
}

pub fn notification(out: &mut Vec<u8>, zxid: Zxid, kind: i32, path: &str) {
    let mut encoder = Encoder::reply(out, -1, zxid, OK);
    encoder.int(kind);
    encoder.int(3); // SyncConnected
    encoder.buffer(path.as_bytes());
    encoder.finish();
}
