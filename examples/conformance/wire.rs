//! As much of ZooKeeper's protocol as the questions need: one connection, one thread, and all that comes in its order.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub const OK: i32 = 0;

pub const CREATE: i32 = 1;
pub const DELETE: i32 = 2;
pub const EXISTS: i32 = 3;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const GET_CHILDREN: i32 = 8;
pub const SYNC: i32 = 9;
pub const GET_CHILDREN_2: i32 = 12;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const REMOVE_WATCHES: i32 = 18;
pub const CREATE_CONTAINER: i32 = 19;
pub const MULTI_READ: i32 = 22;
pub const SET_WATCHES: i32 = 101;
pub const ADD_WATCH: i32 = 106;

/// The body of a request, in Jute's encoding.
#[derive(Clone, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn int(mut self, value: i32) -> Body {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn long(mut self, value: i64) -> Body {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn bool(mut self, value: bool) -> Body {
        self.0.push(value.into());
        self
    }

    pub fn text(mut self, value: &str) -> Body {
        self = self.int(value.len() as i32);
        self.0.extend(value.as_bytes());
        self
    }

    pub fn texts(mut self, values: &[&str]) -> Body {
        self = self.int(values.len() as i32);
        values.iter().fold(self, |body, value| body.text(value))
    }

    /// In front of each operation of a `multi` or multiRead, and (`done`) behind the last.
    pub fn operation(self, operation: i32, done: bool) -> Body {
        self.int(operation).bool(done).int(-1)
    }

    pub fn path(path: &str) -> Body {
        Body::default().text(path)
    }

    pub fn read(path: &str, watch: bool) -> Body {
        Body::path(path).bool(watch)
    }

    /// A node with this ACL: a scheme, who, and what he may do.
    pub fn node(path: &str, (scheme, id, permissions): (&str, &str, i32), flags: i32) -> Body {
        Body::path(path).text("").int(1).int(permissions).text(scheme).text(id).int(flags)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub version: i32,
    pub cversion: i32,
    pub pzxid: i64,
}

/// What a server has sent, read from the front.
pub struct Bytes<'b>(pub &'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn int(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    pub fn long(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    pub fn bool(&mut self) -> Option<bool> {
        Some(self.take(1)?[0] != 0)
    }

    /// Without a length (-1) it is empty.
    pub fn buffer(&mut self) -> Option<&'b [u8]> {
        let len = self.int()?.max(0);
        self.take(len as usize)
    }

    pub fn stat(&mut self) -> Option<Stat> {
        let (czxid, mzxid) = (self.long()?, self.long()?);
        self.take(16)?;
        let (version, cversion) = (self.int()?, self.int()?);
        self.take(20)?;
        Some(Stat { czxid, mzxid, version, cversion, pzxid: self.long()? })
    }
}

pub struct Reply {
    pub zxid: i64,
    pub error: i32,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn stat(&self) -> Option<Stat> {
        Bytes(&self.body).stat()
    }

    /// Of a `getData`.
    pub fn stat_behind_data(&self) -> Option<Stat> {
        let mut bytes = Bytes(&self.body);
        bytes.buffer()?;
        bytes.stat()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// 1: created, 2: deleted, 3: data changed, 4: children changed.
    pub kind: i32,
    pub path: String,
    /// -1 where the server does not say.
    pub zxid: i64,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The server has closed the connection.
    Closed,
    /// It was silent, or what it said is not understood, or it cannot be reached.
    Failed(String),
}

pub struct Session {
    pub id: i64,
    pub password: Vec<u8>,
}

pub struct Connection {
    stream: TcpStream,
    pub session: Session,
    next_xid: i32,
    /// What has been told and was not looked at yet.
    pub told: VecDeque<Notification>,
    /// The zxid of the last header, and whether one was older than the one before.
    pub zxid: i64,
    pub went_back: bool,
}

impl Connection {
    /// A new session.
    pub fn new(server: SocketAddr) -> Result<Connection, Lost> {
        Connection::resume(server, 0, &Session { id: 0, password: vec![0; 16] })
    }

    /// With this session, if the server still has it, for a client that has seen this zxid.
    pub fn resume(server: SocketAddr, seen: i64, session: &Session) -> Result<Connection, Lost> {
        let failed = |error: std::io::Error| Lost::Failed(error.to_string());
        let stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let session = Session { id: session.id, password: session.password.clone() };
        let mut connection =
            Connection { stream, session, next_xid: 1, told: VecDeque::new(), zxid: 0, went_back: false };
        let mut connect = Body::default().int(0).long(seen).int(30_000).long(connection.session.id).int(16);
        connect.0.extend(&connection.session.password);
        connection.write(&connect.bool(false))?;
        let frame = connection.frame()?;
        let mut bytes = Bytes(&frame);
        let granted = (|| {
            let (_protocol, timeout) = (bytes.int()?, bytes.int()?);
            let (id, password) = (bytes.long()?, bytes.buffer()?.to_vec());
            Some((timeout, Session { id, password }))
        })();
        match granted {
            Some((timeout, session)) if timeout > 0 && session.id != 0 => connection.session = session,
            Some(_) => return Err(Lost::Failed("the session has expired".to_owned())),
            None => return Err(Lost::Failed("the answer to the connect request is too short".to_owned())),
        }
        Ok(connection)
    }

    fn write(&mut self, body: &Body) -> Result<(), Lost> {
        let frame = [&(body.0.len() as u32).to_be_bytes()[..], &body.0].concat();
        self.stream.write_all(&frame).map_err(|_| Lost::Closed)
    }

    fn frame(&mut self) -> Result<Vec<u8>, Lost> {
        let lost = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                Lost::Failed(format!("no answer within {PATIENCE:?}"))
            }
            _ => Lost::Closed,
        };
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).map_err(lost)?;
        let len = u32::from_be_bytes(len);
        if len > 64 << 20 {
            return Err(Lost::Failed(format!("a frame of {len} bytes")));
        }
        let mut frame = vec![0; len as usize];
        self.stream.read_exact(&mut frame).map_err(lost)?;
        Ok(frame)
    }

    /// Sends a request, which [`receive`](Self::receive) answers in its turn.
    pub fn send(&mut self, operation: i32, body: &Body) -> Result<(), Lost> {
        let request = Body::default().int(self.next_xid).int(operation);
        self.next_xid += 1;
        self.write(&Body([request.0, body.0.clone()].concat()))
    }

    /// The next reply. What is told before that is put into `told`.
    pub fn receive(&mut self) -> Result<Reply, Lost> {
        loop {
            let frame = self.frame()?;
            let mut bytes = Bytes(&frame);
            let header = (|| Some((bytes.int()?, bytes.long()?, bytes.int()?)))();
            let Some((xid, zxid, error)) = header else {
                return Err(Lost::Failed("a reply without a header".to_owned()));
            };
            if xid == -1 {
                let told = (|| {
                    let (kind, _state) = (bytes.int()?, bytes.int()?);
                    let path = String::from_utf8_lossy(bytes.buffer()?).into_owned();
                    Some(Notification { kind, path, zxid })
                })();
                self.told.extend(told);
                continue;
            }
            if zxid > 0 {
                self.went_back |= zxid < self.zxid;
                self.zxid = zxid;
            }
            return Ok(Reply { zxid, error, body: bytes.0.to_vec() });
        }
    }

    pub fn ask(&mut self, operation: i32, body: &Body) -> Result<Reply, Lost> {
        self.send(operation, body)?;
        self.receive()
    }
}
