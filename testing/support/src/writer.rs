//! A small blocking client over our own encoding, for what the `zookeeper` crate cannot do: transactions, null
//! data, pipelined writes, zxids, and sessions taken over or ended from outside.

use crate::Server;
use crate::acl::Acl;
use crate::jute::{Decoder, Encoder};
use std::collections::VecDeque;
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// ZooKeeper's code for a lost connection: what I/O errors are reported as.
const CONNECTION_LOSS: i32 = -4;
const RUNTIME_INCONSISTENCY: i32 = -2;
const SESSION_EXPIRED: i32 = -112;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const PING: i32 = 11;
const CHECK: i32 = 13;
const MULTI: i32 = 14;
const CREATE_CONTAINER: i32 = 19;
const AUTH: i32 = 100;
const CLOSE_SESSION: i32 = -11;

const PING_XID: i32 = -2;
const AUTH_XID: i32 = -4;

/// One write, alone or within a transaction. Sets and deletes apply to any version.
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// `flags` are those of `CreateMode`: 0 persistent, 1 ephemeral, 2 sequential, 3 both, 4 container.
    /// `None` stores null.
    Create {
        path: &'a str,
        data: Option<&'a [u8]>,
        flags: i32,
    },
    Set {
        path: &'a str,
        data: Option<&'a [u8]>,
    },
    Delete {
        path: &'a str,
    },
    /// Fails unless the node's data version is `version`.
    Check {
        path: &'a str,
        version: i32,
    },
}

impl Op<'_> {
    fn opcode(&self) -> i32 {
        match self {
            Op::Create { flags: 4, .. } => CREATE_CONTAINER,
            Op::Create { .. } => CREATE,
            Op::Set { .. } => SET_DATA,
            Op::Delete { .. } => DELETE,
            Op::Check { .. } => CHECK,
        }
    }

    fn encode(&self, to: &mut Encoder) {
        match *self {
            Op::Create { path, data, flags } => {
                to.string(path).buffer(data);
                encode_acl(to, &Acl::open());
                to.int(flags);
            }
            Op::Set { path, data } => {
                to.string(path).buffer(data).int(-1);
            }
            Op::Delete { path } => {
                to.string(path).int(-1);
            }
            Op::Check { path, version } => {
                to.string(path).int(version);
            }
        }
    }
}

/// A session with one server over one connection, which is never made again. Errors are ZooKeeper's codes; a
/// failing connection is -4. Dropping it closes the session.
pub struct Writer {
    input: BufReader<TcpStream>,
    output: BufWriter<TcpStream>,
    session_id: i64,
    passwd: [u8; 16],
    timeout: Duration,
    next_xid: i32,
    newest: i64,
    /// What was sent and is not answered yet, in order: the xid, and whether it was a transaction.
    pending: VecDeque<(i32, bool)>,
}

impl Writer {
    /// Connects with a new session. `timeout` is what is asked for; see [`timeout`](Self::timeout).
    pub fn connect(server: SocketAddr, timeout: Duration) -> Result<Writer, i32> {
        Writer::resume(server, timeout, 0, [0; 16])
    }

    /// Connects as the session `session_id`, or makes a new one when that is 0. The server closes the connection
    /// that held the session. -112 when there is no such session.
    pub fn resume(
        server: SocketAddr,
        timeout: Duration,
        session_id: i64,
        passwd: [u8; 16],
    ) -> Result<Writer, i32> {
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(10)).map_err(connection_loss)?;
        stream.set_nodelay(true).map_err(connection_loss)?;
        // A test that waits for an answer that never comes should fail, not hang.
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(connection_loss)?;
        let mut writer = Writer {
            input: BufReader::new(stream.try_clone().map_err(connection_loss)?),
            output: BufWriter::with_capacity(1 << 16, stream),
            session_id: 0,
            passwd: [0; 16],
            timeout: Duration::ZERO,
            next_xid: 1,
            newest: 0,
            pending: VecDeque::new(),
        };
        let mut request = Encoder::default();
        request
            .int(0)
            .long(0)
            .int(timeout.as_millis() as i32)
            .long(session_id)
            .buffer(Some(&passwd))
            .bool(false);
        writer.write_frame(&request.bytes)?;
        writer.output.flush().map_err(connection_loss)?;
        let frame = writer.read_frame()?;
        let mut reply = Decoder::new(&frame);
        let granted = (|| {
            reply.int()?;
            Some((reply.int()?, reply.long()?, reply.buffer()?))
        })();
        let (timeout, session_id, passwd) = granted.ok_or(CONNECTION_LOSS)?;
        if timeout <= 0 {
            return Err(SESSION_EXPIRED);
        }
        writer.timeout = Duration::from_millis(timeout as u64);
        writer.session_id = session_id;
        writer.passwd = passwd.try_into().map_err(|_| CONNECTION_LOSS)?;
        Ok(writer)
    }

    pub fn session_id(&self) -> i64 {
        self.session_id
    }

    pub fn passwd(&self) -> [u8; 16] {
        self.passwd
    }

    /// The session timeout that the server granted.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The newest transaction that was answered: of what was written, or was tried in vain. 0 before the first.
    pub fn newest_zxid(&self) -> i64 {
        self.newest
    }

    /// Applies all of `ops` or none, and returns the zxid. The error is that of the operation that failed.
    pub fn multi(&mut self, ops: &[Op]) -> Result<i64, i32> {
        self.drain()?;
        self.send_multi(ops)?;
        self.drain()
    }

    /// Creates an open node (`flags` as in [`Op::Create`]) and returns the zxid.
    pub fn create(&mut self, path: &str, data: Option<&[u8]>, flags: i32) -> Result<i64, i32> {
        self.write(&Op::Create { path, data, flags })
    }

    /// Sets the data whatever its version, and returns the zxid.
    pub fn set(&mut self, path: &str, data: Option<&[u8]>) -> Result<i64, i32> {
        self.write(&Op::Set { path, data })
    }

    /// Deletes a node whatever its version, and returns the zxid.
    pub fn delete(&mut self, path: &str) -> Result<i64, i32> {
        self.write(&Op::Delete { path })
    }

    /// Replaces a node's ACL whatever its version, and returns the zxid.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl]) -> Result<i64, i32> {
        self.drain()?;
        let mut body = Encoder::default();
        body.string(path);
        encode_acl(&mut body, acl);
        body.int(-1);
        self.send_numbered(SET_ACL, &body)?;
        self.drain()
    }

    /// Authenticates the connection with the `digest` scheme.
    pub fn add_auth(&mut self, user: &str, password: &str) -> Result<(), i32> {
        self.drain()?;
        let mut body = Encoder::default();
        body.int(0).string("digest").string(&format!("{user}:{password}"));
        self.send_as(AUTH_XID, AUTH, &body)?;
        self.drain().map(|_| ())
    }

    /// Keeps the session alive.
    pub fn ping(&mut self) -> Result<(), i32> {
        self.drain()?;
        self.send_as(PING_XID, PING, &Encoder::default())?;
        self.drain().map(|_| ())
    }

    /// Sends a [`set`](Self::set) without waiting for the answer. It may stay in a buffer until the next
    /// [`drain`](Self::drain).
    pub fn send_set(&mut self, path: &str, data: Option<&[u8]>) -> Result<(), i32> {
        self.send(&Op::Set { path, data })
    }

    /// Sends any single write without waiting, as [`send_set`](Self::send_set) does.
    pub fn send(&mut self, op: &Op) -> Result<(), i32> {
        let mut body = Encoder::default();
        op.encode(&mut body);
        self.send_numbered(op.opcode(), &body)
    }

    /// Sends a [`multi`](Self::multi) without waiting, as [`send_set`](Self::send_set) does.
    pub fn send_multi(&mut self, ops: &[Op]) -> Result<(), i32> {
        let mut body = Encoder::default();
        for op in ops {
            body.int(op.opcode()).bool(false).int(-1);
            op.encode(&mut body);
        }
        body.int(-1).bool(true).int(-1);
        self.send_numbered(MULTI, &body)
    }

    /// Waits for all answers and returns the last one's zxid (0 if nothing was outstanding), or the first error.
    pub fn drain(&mut self) -> Result<i64, i32> {
        if self.pending.is_empty() {
            return Ok(0);
        }
        self.output.flush().map_err(connection_loss)?;
        let mut last = Ok(0);
        while let Some((xid, transaction)) = self.pending.pop_front() {
            let answer = self.read_reply(xid, transaction);
            if last.is_ok() {
                last = answer;
            }
            if answer == Err(CONNECTION_LOSS) {
                self.pending.clear();
            }
        }
        last
    }

    fn write(&mut self, op: &Op) -> Result<i64, i32> {
        self.drain()?;
        self.send(op)?;
        self.drain()
    }

    fn send_numbered(&mut self, opcode: i32, body: &Encoder) -> Result<(), i32> {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.send_as(xid, opcode, body)
    }

    fn send_as(&mut self, xid: i32, opcode: i32, body: &Encoder) -> Result<(), i32> {
        let mut frame = Encoder::default();
        frame.int(xid).int(opcode);
        frame.bytes.extend_from_slice(&body.bytes);
        self.write_frame(&frame.bytes)?;
        self.pending.push_back((xid, opcode == MULTI));
        Ok(())
    }

    fn write_frame(&mut self, frame: &[u8]) -> Result<(), i32> {
        self.output
            .write_all(&(frame.len() as i32).to_be_bytes())
            .and_then(|()| self.output.write_all(frame))
            .map_err(connection_loss)
    }

    fn read_frame(&mut self) -> Result<Vec<u8>, i32> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length).map_err(connection_loss)?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).map_err(|_| CONNECTION_LOSS)?];
        self.input.read_exact(&mut frame).map_err(connection_loss)?;
        Ok(frame)
    }

    fn read_reply(&mut self, expected: i32, transaction: bool) -> Result<i64, i32> {
        let frame = self.read_frame()?;
        let mut reply = Decoder::new(&frame);
        let header = (|| Some((reply.int()?, reply.long()?, reply.int()?)))();
        let (xid, zxid, error) = header.ok_or(CONNECTION_LOSS)?;
        if xid != expected {
            // A server whose leader goes may leave out an answer. To ZooKeeper's own clients, too, the connection is lost then.
            eprintln!("a writer was answered {xid}, and waits for {expected}");
            return Err(CONNECTION_LOSS);
        }
        if xid > 0 {
            self.newest = self.newest.max(zxid);
        }
        if error != 0 {
            return Err(error);
        }
        if transaction {
            multi_result(&mut reply).ok_or(CONNECTION_LOSS)??;
        }
        Ok(zxid)
    }
}

impl Drop for Writer {
    /// Waits for the server's answer, so that the session's ephemeral nodes are gone afterwards, but not for a
    /// server that is paused.
    fn drop(&mut self) {
        let _ = self.output.get_ref().set_read_timeout(Some(Duration::from_millis(500)));
        let _ = self.output.get_ref().set_write_timeout(Some(Duration::from_millis(500)));
        if self.drain() != Err(CONNECTION_LOSS)
            && self.send_numbered(CLOSE_SESSION, &Encoder::default()).is_ok()
        {
            let _ = self.drain();
        }
    }
}

/// The first real error of a transaction. The operations around it carry 0 before and "rolled back" after it.
fn multi_result(reply: &mut Decoder) -> Option<Result<(), i32>> {
    let mut result = Ok(());
    loop {
        let (kind, done, _) = (reply.int()?, reply.bool()?, reply.int()?);
        if done {
            return Some(result);
        }
        match kind {
            -1 => {
                let error = reply.int()?;
                if error != 0 && matches!(result, Ok(()) | Err(RUNTIME_INCONSISTENCY)) {
                    result = Err(error);
                }
            }
            CREATE => {
                reply.buffer()?;
            }
            CREATE_CONTAINER => {
                reply.buffer()?;
                reply.skip_stat()?;
            }
            SET_DATA => reply.skip_stat()?,
            _ => {}
        }
    }
}

fn encode_acl(to: &mut Encoder, acl: &[Acl]) {
    to.int(acl.len() as i32);
    for entry in acl {
        to.int(entry.perms).string(&entry.scheme).string(&entry.id);
    }
}

fn connection_loss(_: std::io::Error) -> i32 {
    CONNECTION_LOSS
}

/// Ends a session that somebody else holds: that one is told so at its next connect. Returns once the server has
/// closed it.
pub fn expire_session(server: SocketAddr, session_id: i64, passwd: [u8; 16]) -> Result<(), i32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let ended = match Writer::resume(server, Duration::from_secs(10), session_id, passwd) {
            Err(SESSION_EXPIRED) => return Ok(()),
            Err(error) => Err(error),
            Ok(mut writer) => {
                writer.send_numbered(CLOSE_SESSION, &Encoder::default())?;
                let ended = writer.drain();
                // Nothing is left for the drop to close.
                let _ = writer.output.get_ref().shutdown(std::net::Shutdown::Both);
                ended
            }
        };
        // The holder may come back between our connect and our close, and take the session over again.
        match ended {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The ids of the sessions that have a connection to `server`, sorted.
pub fn sessions_of(server: &Server) -> Vec<i64> {
    let answer = server.four_letter("cons");
    let mut sessions: Vec<i64> = answer
        .split("sid=0x")
        .skip(1)
        .filter_map(|rest| u64::from_str_radix(rest.split([',', ')']).next()?, 16).ok())
        .map(|id| id as i64)
        .collect();
    sessions.sort_unstable();
    sessions.dedup();
    sessions
}

/// The password of a session, which ZooKeeper derives from its id: sixteen bytes of
/// `new java.util.Random(id ^ 0xB3415C00L)`.
pub fn password_of(session_id: i64) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = (session_id as u64 ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
    let mut passwd = [0; 16];
    for chunk in passwd.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    passwd
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Witness, shared, unique_root};

    fn writer() -> Writer {
        Writer::connect(shared().addr(), Duration::from_secs(10)).expect("a session")
    }

    #[test]
    fn a_transaction_applies_as_a_whole_at_one_zxid() {
        let root = unique_root("multi");
        let mut writer = writer();
        let witness = Witness::connect(&shared().hosts());
        writer.create(&root, None, 0).expect("root");
        let (a, b) = (format!("{root}/a"), format!("{root}/b"));
        let zxid = writer
            .multi(&[
                Op::Create { path: &a, data: Some(b"1"), flags: 0 },
                // Containers came with 3.5.
                Op::Create {
                    path: &b,
                    data: None,
                    flags: if shared().version() < (3, 5, 3) { 0 } else { 4 },
                },
                Op::Set { path: &root, data: Some(b"r") },
                Op::Check { path: &root, version: 1 },
            ])
            .expect("a transaction");
        let truth = witness.truth(&root);
        assert_eq!(truth[&root].children, ["a", "b"]);
        assert_eq!((truth[&a].stat.czxid, truth[&b].stat.czxid, truth[&root].stat.mzxid), (zxid, zxid, zxid));
        assert_eq!(truth[&b].data, b"");

        let failed =
            [Op::Delete { path: &a }, Op::Check { path: &root, version: 7 }, Op::Delete { path: &b }];
        assert_eq!(writer.multi(&failed), Err(-103));
        assert!(witness.exists(&a));
        assert_eq!(writer.create(&a, None, 0), Err(-110));
        assert!(writer.delete(&a).expect("a deletion") > zxid);
    }

    #[test]
    fn pipelined_sets_are_answered_in_order() {
        let root = unique_root("pipeline");
        let mut writer = writer();
        let created = writer.create(&root, Some(b""), 0).expect("root");
        for i in 0..5_000 {
            writer.send_set(&root, Some(format!("{i}").as_bytes())).expect("a set");
        }
        assert!(writer.drain().expect("answers") >= created + 5_000);
        let (data, stat) = Witness::connect(&shared().hosts()).get(&root).expect("root");
        assert_eq!((data.as_slice(), stat.version), (b"4999".as_slice(), 5_000));
        writer.send_set(&root, None).expect("a set");
        writer.send_set("/no-such-node", None).expect("a set");
        assert_eq!(writer.drain(), Err(-101));
        writer.ping().expect("a working connection");
    }

    #[test]
    fn a_session_ends_with_its_writer() {
        let path = unique_root("ephemeral");
        // So long a session that it does not end by itself while that is waited for.
        let mut writer = Writer::connect(shared().addr(), Duration::from_secs(60)).expect("a session");
        writer.create(&path, None, 1).expect("an ephemeral node");
        let witness = Witness::connect(&shared().hosts());
        assert_eq!(witness.get(&path).expect("the node").1.ephemeral_owner, writer.session_id());
        assert!(sessions_of(shared()).contains(&writer.session_id()));
        drop(writer);
        let deadline = Instant::now() + Duration::from_secs(20);
        while witness.exists(&path) {
            assert!(Instant::now() < deadline, "its node is still there");
        }
    }

    #[test]
    fn a_password_follows_from_the_session_id() {
        let writer = writer();
        assert_eq!(password_of(writer.session_id()), writer.passwd());
    }

    #[test]
    fn an_expired_session_is_gone_for_its_holder() {
        let path = unique_root("expire");
        let mut writer = writer();
        writer.create(&path, None, 1).expect("an ephemeral node");
        let id = writer.session_id();
        expire_session(shared().addr(), id, password_of(id)).expect("an end");
        assert!(!Witness::connect(&shared().hosts()).exists(&path));
        assert_eq!(writer.ping(), Err(-4));
        let again = Writer::resume(shared().addr(), Duration::from_secs(10), id, password_of(id));
        assert_eq!(again.err(), Some(-112));
    }

    #[test]
    fn a_private_node_is_read_by_its_user_alone() {
        let root = unique_root("acl");
        let mut writer = writer();
        writer.create(&root, Some(b"secret"), 0).expect("root");
        writer.add_auth("alice", "pw").expect("auth");
        writer.set_acl(&root, &Acl::read_only_by("alice", "pw")).expect("an ACL");
        let witness = Witness::connect(&shared().hosts());
        let truth = witness.truth(&root);
        assert!(!truth[&root].readable && truth[&root].data.is_empty());
        // From some 3.9 on, `exists` wants the permission to read.
        assert_eq!(truth[&root].stat.data_length, if shared().version() < (3, 9, 0) { 6 } else { 0 });
        witness.add_auth("alice", "pw");
        assert_eq!(witness.get(&root).expect("root").0, b"secret");
    }
}
