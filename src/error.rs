//! Status codes, errors and faults: what the API answers, and what it tells listeners.
//!
//! Each layer has an error enum of its own; the functions here are the one place where they become a [`Status`].

use crate::escape::Escaped;
use crate::path::{InvalidPath, NodePath};

/// The C API's status codes. Negative numbers are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    InvalidArgument = -1,
    NoNode = -2,
    OutOfTree = -3,
    NotReady = -4,
    State = -5,
    Closed = -6,
    Timeout = -7,
    WouldDeadlock = -8,
    Unsupported = -9,
    Auth = -10,
    Panic = -11,
    NoPermission = -12,
    Connection = -13,
    Protocol = -14,
    Tls = -15,
    Reset = -16,
    Limit = -17,
    Interrupted = -18,
}

impl Status {
    pub const ALL: [Status; 19] = [
        Status::Ok,
        Status::InvalidArgument,
        Status::NoNode,
        Status::OutOfTree,
        Status::NotReady,
        Status::State,
        Status::Closed,
        Status::Timeout,
        Status::WouldDeadlock,
        Status::Unsupported,
        Status::Auth,
        Status::Panic,
        Status::NoPermission,
        Status::Connection,
        Status::Protocol,
        Status::Tls,
        Status::Reset,
        Status::Limit,
        Status::Interrupted,
    ];

    pub fn code(self) -> i32 {
        self as i32
    }

    pub fn from_code(code: i32) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// Why a call failed. The text names the offending value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    InvalidArgument(String),
    /// What is wrong with a configuration, and which key it is about.
    #[error("{message}")]
    Setting { key: String, message: String },
    #[error(transparent)]
    InvalidPath(#[from] InvalidPath),
    #[error("no such node: {}", Escaped(.0))]
    NoNode(String),
    #[error("{} is outside of the tree {}", Escaped(path), Escaped(root))]
    OutOfTree { path: String, root: String },
    #[error("the first load is not complete, and {} has not been seen yet", Escaped(.0))]
    NotReady(String),
    #[error("{0}")]
    State(&'static str),
    #[error("closed")]
    Closed,
    #[error("timed out")]
    Timeout,
    #[error("woken")]
    Interrupted,
    #[error("waiting in a callback would wait for itself")]
    WouldDeadlock,
    #[error("the session may not read {}", Escaped(.0))]
    NoPermission(String),
    /// The cache or client has failed for a reason it has reported as a [`Fault`].
    #[error("failed: {0:?}")]
    Failed(Status),
}

impl Error {
    pub(crate) fn setting(key: &str, message: impl Into<String>) -> Error {
        Error::Setting { key: key.to_owned(), message: message.into() }
    }

    pub(crate) fn not_utf8(argument: &str, bytes: &[u8]) -> Error {
        let bytes = bytes.escape_ascii().to_string();
        Error::InvalidArgument(format!("{argument} is not UTF-8: \"{}\"", Escaped(&bytes)))
    }

    /// The configuration key that it is about, if it is about one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Error::Setting { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The node's path that it is about, if it is about one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Error::InvalidPath(invalid) => Some(&invalid.path),
            Error::NoNode(path) | Error::NotReady(path) | Error::NoPermission(path) => Some(path),
            Error::OutOfTree { path, .. } => Some(path),
            _ => None,
        }
    }

    pub fn status(&self) -> Status {
        match self {
            Error::InvalidArgument(_) | Error::Setting { .. } | Error::InvalidPath(_) => {
                Status::InvalidArgument
            }
            Error::NoNode(_) => Status::NoNode,
            Error::OutOfTree { .. } => Status::OutOfTree,
            Error::NotReady(_) => Status::NotReady,
            Error::State(_) => Status::State,
            Error::Closed => Status::Closed,
            Error::Timeout => Status::Timeout,
            Error::Interrupted => Status::Interrupted,
            Error::WouldDeadlock => Status::WouldDeadlock,
            Error::NoPermission(_) => Status::NoPermission,
            Error::Failed(status) => *status,
        }
    }
}

/// Something went wrong in the background; told to fault listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub status: Status,
    /// ZooKeeper's error code, or 0.
    pub server_error: i32,
    pub path: Option<NodePath>,
    pub message: String,
}

impl Fault {
    pub fn new(status: Status, message: impl Into<String>) -> Fault {
        Fault { status, server_error: 0, path: None, message: message.into() }
    }

    pub fn at(mut self, path: &NodePath) -> Fault {
        self.path = Some(path.clone());
        self
    }

    pub fn server_error(mut self, code: i32) -> Fault {
        self.server_error = code;
        self
    }
}
