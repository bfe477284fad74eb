//! What a server sends.

use super::codec::Reader;
use super::{Malformed, ServerError, opcode};
use crate::stat::{Stat, Zxid};

/// The first thing a client says on a connection.
pub struct ConnectRequest<'a> {
    /// A server that has not seen this zxid yet refuses the connection.
    pub last_zxid_seen: Zxid,
    /// The session timeout that is asked for. The server may grant another one.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session_id: i64,
    /// The one that came with the session; 16 bytes of 0 for a new session.
    pub password: &'a [u8],
}

/// The server's answer to it.
#[derive(Debug, PartialEq, Eq)]
pub struct ConnectResponse<'a> {
    /// As negotiated; 0 or less says that the session has expired.
    pub timeout_ms: i32,
    /// The session that was asked for, or a new one; 0 where it has expired.
    pub session_id: i64,
    /// The password with which the client asks for the session on the next connection: 16 bytes.
    pub password: &'a [u8],
}

impl<'a> ConnectResponse<'a> {
    /// Decodes a whole frame. What may follow the password (a read-only flag, since ZooKeeper 3.4) is not looked at.
    pub fn decode(frame: &'a [u8]) -> Result<ConnectResponse<'a>, Malformed> {
        let mut reader = Reader::new(frame, "connect response");
        reader.i32()?; // protocol version
        Ok(ConnectResponse {
            timeout_ms: reader.i32()?,
            session_id: reader.i64()?,
            password: reader.buffer()?,
        })
    }
}

/// What stands before every reply and notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's number; or one of the `XID_` constants, if this answers no request that has a number.
    pub xid: i32,
    /// The newest transaction that the server had applied. Not positive where the server does not say.
    pub zxid: Zxid,
    /// 0 (`OK`) where the request succeeded; also for a `multi` of which an operation failed.
    pub error: ServerError,
}

impl ReplyHeader {
    /// Of notifications.
    pub const XID_NOTIFICATION: i32 = -1;
    /// Of pings, and of the answers to them.
    pub const XID_PING: i32 = -2;
    /// Of authentications with a scheme, and of the answers to them.
    pub const XID_AUTH: i32 = -4;

    /// Bytes that an encoded header takes; the body of the frame follows.
    pub const LEN: usize = 16;

    /// Whether this header answers a [`Barrier`](super::Request::Barrier) that was decided on, whatever became of its
    /// check: if the session may not make the check, the barrier is a transaction all the same.
    pub fn is_barrier(&self) -> bool {
        matches!(self.error, ServerError::OK | ServerError::NO_AUTH)
    }

    /// Decodes the header at the start of a frame, and leaves the rest alone.
    pub fn decode(frame: &[u8]) -> Result<ReplyHeader, Malformed> {
        let mut reader = Reader::new(frame, "reply header");
        Ok(ReplyHeader { xid: reader.i32()?, zxid: reader.zxid()?, error: ServerError(reader.i32()?) })
    }
}

/// What a watch reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationKind {
    /// `NodeCreated` (1).
    Created,
    /// `NodeDeleted` (2).
    Deleted,
    /// `NodeDataChanged` (3): the data was set, though it may be the same as before.
    DataChanged,
    /// `NodeChildrenChanged` (4): a child was created or deleted. A recursive watch tells of the child instead.
    ChildrenChanged,
    /// Anything else a server may send: removed watches, session states.
    Other(i32),
}

/// ZooKeeper's `WatcherEvent`: that something happened to a node, and not what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What happened.
    pub kind: NotificationKind,
    /// From the server's root; empty where it is about no node.
    pub path: String,
}

impl Notification {
    /// Decodes what follows the header.
    pub fn decode(body: &[u8]) -> Result<Notification, Malformed> {
        let mut reader = Reader::new(body, "notification");
        let kind = match reader.i32()? {
            1 => NotificationKind::Created,
            2 => NotificationKind::Deleted,
            3 => NotificationKind::DataChanged,
            4 => NotificationKind::ChildrenChanged,
            other => NotificationKind::Other(other),
        };
        reader.i32()?; // keeper state
        Ok(Notification { kind, path: reader.string()?.to_owned() })
    }
}

/// What became of the check in a barrier; `error` is the header's. If an operation of a `multi` failed, the header has
/// no error: the error is in the body, and nothing else there matters.
pub fn barrier_check(error: ServerError, body: &[u8]) -> ServerError {
    let mut reader = Reader::new(body, "reply to a barrier");
    let mut check = || {
        let (_kind, _done) = (reader.i32()?, reader.bool()?);
        reader.i32().map(ServerError)
    };
    if error.is_ok() { check().unwrap_or(error) } else { error }
}

/// What one read of a multiRead gave.
#[derive(Debug, PartialEq)]
pub enum ReadResult<'a> {
    /// The result of a [`Read::Data`](super::Read::Data): the data (empty if ZooKeeper has none) and the Stat.
    Data(&'a [u8], Stat),
    /// The result of a [`Read::Children`](super::Read::Children): the names, in no particular order.
    Children(Vec<&'a str>),
    /// This read failed with that code; the others of the request may have succeeded.
    Error(ServerError),
}

/// The results of a multiRead, in the order of its reads.
pub struct MultiReadResults<'a> {
    reader: Reader<'a>,
}

impl<'a> MultiReadResults<'a> {
    /// Of the body of a reply whose header has no error.
    pub fn new(body: &'a [u8]) -> MultiReadResults<'a> {
        MultiReadResults { reader: Reader::new(body, "multiRead reply") }
    }

    /// The next result; `None` at the end mark.
    #[allow(
        clippy::should_implement_trait,
        reason = "an error ends it, which `?` says better than an iterator"
    )]
    pub fn next(&mut self) -> Result<Option<ReadResult<'a>>, Malformed> {
        let kind = self.reader.i32()?;
        let done = self.reader.bool()?;
        let error = ServerError(self.reader.i32()?);
        Ok(Some(match kind {
            _ if done => return Ok(None),
            // ZooKeeper repeats the error in a result of its own kind; a ClickHouse Keeper leaves it at that.
            opcode::GET_DATA | opcode::GET_CHILDREN if !error.is_ok() => ReadResult::Error(error),
            opcode::GET_DATA => ReadResult::Data(self.reader.buffer()?, self.reader.stat()?),
            opcode::GET_CHILDREN => ReadResult::Children(self.reader.strings()?),
            -1 => ReadResult::Error(ServerError(self.reader.i32()?)),
            _ => return Err(self.reader.malformed()),
        }))
    }
}

/// The reply to a step of SASL; empty where the server has nothing to say.
pub fn sasl_reply(body: &[u8]) -> Result<&[u8], Malformed> {
    Reader::new(body, "SASL reply").buffer()
}

/// The reply to a `getData`: the data (empty if ZooKeeper has none) and the Stat.
pub fn data_reply(body: &[u8]) -> Result<(&[u8], Stat), Malformed> {
    let mut reader = Reader::new(body, "getData reply");
    Ok((reader.buffer()?, reader.stat()?))
}

/// The reply to an `exists`.
pub fn stat_reply(body: &[u8]) -> Result<Stat, Malformed> {
    Reader::new(body, "exists reply").stat()
}

/// The reply to a `getChildren2`.
pub fn children_with_stat(body: &[u8]) -> Result<(Vec<&str>, Stat), Malformed> {
    let mut reader = Reader::new(body, "getChildren2 reply");
    Ok((reader.strings()?, reader.stat()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic_or_allocate_beyond_them(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ConnectResponse::decode(&bytes);
            let _ = ReplyHeader::decode(&bytes);
            let _ = Notification::decode(&bytes);
            let _ = data_reply(&bytes);
            let _ = stat_reply(&bytes);
            let _ = children_with_stat(&bytes);
            let _ = sasl_reply(&bytes);
            let _ = barrier_check(ServerError::OK, &bytes);
            let mut results = MultiReadResults::new(&bytes);
            while let Ok(Some(_)) = results.next() {}
        }
    }

    /// As a ZooKeeper 3.8.0 has answered.
    #[test]
    fn a_check_that_was_refused_is_told_in_the_body() {
        let end = [255, 255, 255, 255, 1, 255, 255, 255, 255];
        let done = [&[0, 0, 0, 13, 0, 0, 0, 0, 0][..], &end].concat();
        let refused = [&[255, 255, 255, 255, 0, 255, 255, 255, 154, 255, 255, 255, 154][..], &end].concat();
        assert_eq!(barrier_check(ServerError::OK, &done), ServerError::OK);
        assert_eq!(barrier_check(ServerError::OK, &refused), ServerError::NO_AUTH);
        assert_eq!(barrier_check(ServerError::OK, &[]), ServerError::OK);
        assert_eq!(barrier_check(ServerError::THROTTLED, &done), ServerError::THROTTLED);
    }

    #[test]
    fn a_read_that_failed_is_told_in_the_header_too_and_by_some_servers_there_only() {
        let end = [255, 255, 255, 255, 1, 255, 255, 255, 255];
        let zookeepers = [255, 255, 255, 255, 0, 255, 255, 255, 155, 255, 255, 255, 155];
        let data = [0, 0, 0, 4, 0, 255, 255, 255, 155];
        let list = [0, 0, 0, 8, 0, 255, 255, 255, 155];
        let body = [&zookeepers[..], &data, &list, &zookeepers, &end].concat();
        let mut results = MultiReadResults::new(&body);
        for _ in 0..4 {
            let result = results.next();
            assert!(matches!(result, Ok(Some(ReadResult::Error(ServerError::NO_NODE)))), "{result:?}");
        }
        assert!(matches!(results.next(), Ok(None)));
    }

    #[test]
    fn a_count_that_the_frame_cannot_hold_is_refused() {
        let mut bytes = i32::MAX.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0; 100]);
        assert!(children_with_stat(&bytes).is_err());
        assert!(children_with_stat(&(-2i32).to_be_bytes()).is_err());
    }
}
