//! What can be wrong with bytes, and what a server can say is wrong.

use std::fmt;

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub struct Malformed {
    pub what: &'static str,
}

/// A server's error code (`KeeperException.Code` in ZooKeeper).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerError(pub i32);

impl ServerError {
    pub const OK: ServerError = ServerError(0);
    pub const MARSHALLING: ServerError = ServerError(-5);
    pub const UNIMPLEMENTED: ServerError = ServerError(-6);
    pub const NO_NODE: ServerError = ServerError(-101);
    pub const NO_AUTH: ServerError = ServerError(-102);
    pub const NODE_EXISTS: ServerError = ServerError(-110);
    pub const AUTH_FAILED: ServerError = ServerError(-115);
    pub const NO_WATCHER: ServerError = ServerError(-121);
    pub const SESSION_CLOSED_REQUIRE_SASL: ServerError = ServerError(-124);
    pub const THROTTLED: ServerError = ServerError(-127);

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
