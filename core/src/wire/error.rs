//! What can be wrong with bytes, and what a server can say is wrong.

use std::fmt;

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub struct Malformed {
    /// The record that was to be read, or what is wrong with it, in words that go behind "malformed".
    pub what: &'static str,
}

/// A server's error code (`KeeperException.Code` in ZooKeeper).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerError(pub i32);

impl ServerError {
    /// `OK` (0): no error.
    pub const OK: ServerError = ServerError(0);
    /// `MARSHALLINGERROR` (-5): the server could not make sense of the request, or failed at it. A watch manager without
    /// recursive watches answers `addWatch` so.
    pub const MARSHALLING: ServerError = ServerError(-5);
    /// `UNIMPLEMENTED` (-6): the server does not know the operation. One before 3.6 answers `addWatch` so.
    pub const UNIMPLEMENTED: ServerError = ServerError(-6);
    /// `NONODE` (-101): the node does not exist.
    pub const NO_NODE: ServerError = ServerError(-101);
    /// `NOAUTH` (-102): the ACL does not let the session do that.
    pub const NO_AUTH: ServerError = ServerError(-102);
    /// `NODEEXISTS` (-110): the node to be created is there already.
    pub const NODE_EXISTS: ServerError = ServerError(-110);
    /// `AUTHFAILED` (-115): the credentials were refused, be they those of a scheme or of SASL.
    pub const AUTH_FAILED: ServerError = ServerError(-115);
    /// `NOWATCHER` (-121): there is no such watch to be removed.
    pub const NO_WATCHER: ServerError = ServerError(-121);
    /// `SESSIONCLOSEDREQUIRESASLAUTH` (-124): the server wants SASL before anything else, and closes the session.
    pub const SESSION_CLOSED_REQUIRE_SASL: ServerError = ServerError(-124);
    /// `THROTTLEDOP` (-127): the server is too busy, and has not done what was asked. It may be asked again later.
    pub const THROTTLED: ServerError = ServerError(-127);

    /// Whether it is no error at all.
    pub fn is_ok(self) -> bool {
        self == ServerError::OK
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "OK",
            -1 => "SYSTEMERROR",
            -2 => "RUNTIMEINCONSISTENCY",
            -3 => "DATAINCONSISTENCY",
            -4 => "CONNECTIONLOSS",
            -5 => "MARSHALLINGERROR",
            -6 => "UNIMPLEMENTED",
            -7 => "OPERATIONTIMEOUT",
            -8 => "BADARGUMENTS",
            -101 => "NONODE",
            -102 => "NOAUTH",
            -108 => "NOCHILDRENFOREPHEMERALS",
            -110 => "NODEEXISTS",
            -112 => "SESSIONEXPIRED",
            -114 => "INVALIDACL",
            -115 => "AUTHFAILED",
            -118 => "SESSIONMOVED",
            -119 => "NOTREADONLY",
            -121 => "NOWATCHER",
            -124 => "SESSIONCLOSEDREQUIRESASLAUTH",
            -125 => "QUOTAEXCEEDED",
            -127 => "THROTTLEDOP",
            _ => return None,
        })
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
