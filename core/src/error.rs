//! Status codes, errors and faults: what the API answers, and what it tells listeners.
//!
//! Each layer has an error enum of its own. [`Error::status`] says which [`Status`] an error of a call becomes. What
//! goes wrong in the background gets its [`Status`] where a [`Fault`] is made of it.

use std::fmt;
use std::time::Duration;

use crate::escape::Escaped;
use crate::path::{InvalidPath, NodePath};

/// The C API's status codes. Negative numbers are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// Done. No error and no fault has it.
    Ok = 0,
    /// NULL, not UTF-8, or a malformed path, connection string, key or value.
    InvalidArgument = -1,
    /// There is no such node.
    NoNode = -2,
    /// The path is not below the cache's root, or is left out by its rules.
    OutOfTree = -3,
    /// The first load is not complete, and the node has not been seen yet.
    NotReady = -4,
    /// Started twice, or not started. Also in the child of a fork, for what the parent made; as a fault: another cache
    /// writes `share.file`.
    State = -5,
    /// The cache, its client or the queue is closed.
    Closed = -6,
    /// The time to wait is over.
    Timeout = -7,
    /// Waiting in a callback would wait for itself.
    WouldDeadlock = -8,
    /// The server has no persistent recursive watches (`addWatch`, ZooKeeper 3.6); or the cache is attached to a file, and
    /// has no server.
    Unsupported = -9,
    /// The server refused the credentials, or wants some; or SASL failed, on either side.
    Auth = -10,
    /// A defect in this library, behind which what it happened to is of no use any more; or a panic in a listener.
    Panic = -11,
    /// The session may not read the node, or one above it; or it may not create the root.
    NoPermission = -12,
    /// No connection, or no means to make one: a thread or a descriptor. Also where a server could not catch up for a
    /// `sync`, and as a fault: `share.file` cannot be written.
    Connection = -13,
    /// The server sent what ZooKeeper's protocol does not allow, or an error code that nothing explains; or a shared file is
    /// damaged.
    Protocol = -14,
    /// TLS failed: no trust between the two ends, or no common language.
    Tls = -15,
    /// The ensemble has lost what was seen of it: it was reset or restored.
    Reset = -16,
    /// The tree is beyond one of the limits of [`Options`](crate::sync::Options); the cache has stopped.
    Limit = -17,
    /// A wait at a queue was ended by its wake.
    Interrupted = -18,
    /// The buffer that was given is too small for what was to be put into it.
    TooSmall = -19,
}

impl Status {
    /// All of them, in the order of their numbers, from 0 down.
    pub const ALL: [Status; 20] = [
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
        Status::TooSmall,
    ];

    /// The number that the C API has for it.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// What it means for a cache that has failed with it, in a few words.
    fn words(self) -> &'static str {
        match self {
            Status::Auth => "the server does not take who the session is",
            Status::Connection => "there is no connection",
            Status::Limit => "the tree is beyond a limit, and the cache has stopped",
            Status::NoPermission => "there is no permission",
            Status::Panic => "a defect in libtreecache has ended it",
            Status::Protocol => "the server broke the protocol",
            Status::Reset => "the ensemble went back in time",
            Status::Tls => "TLS failed",
            Status::Unsupported => "the server cannot do what the cache needs",
            _ => "it has failed",
        }
    }

    /// The status of that number; `None` where none has it.
    pub fn from_code(code: i32) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// Why a call failed. The text names the offending value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An argument is not usable: NULL or not UTF-8 in C, a malformed connection string, an unknown listener, snapshots
    /// of different roots, a path beyond the limit. The text says which, and why.
    #[error("{0}")]
    InvalidArgument(String),
    /// What was given is beyond one of the limits of the cache. The text says which.
    #[error("{0}")]
    Limit(String),
    /// Not of a cache of this kind, or not on this system. The text says which.
    #[error("{0}")]
    Unsupported(&'static str),
    /// What is wrong with a configuration, and which key it is about.
    #[error("{message}")]
    Setting {
        /// The key at fault, whether there is such a key or not: the key that was set, or a missing key that others
        /// need.
        key: String,
        /// For people. It names the value, unless that may be a secret.
        message: String,
    },
    /// ZooKeeper's rules do not allow this path.
    #[error(transparent)]
    InvalidPath(#[from] InvalidPath),
    /// The tree is complete, and has no node at this path.
    #[error("no such node: {}", Escaped(.0))]
    NoNode(String),
    /// The path is valid, but neither the root of the cache nor below it.
    #[error("{} is outside of the tree {}", Escaped(path), Escaped(root))]
    OutOfTree {
        /// The path that was asked for.
        path: String,
        /// The root of the cache.
        root: String,
    },
    /// The path is below the root of the cache, and the rules of the cache leave it out.
    #[error("{} is left out of the tree {} by its rules (depth.max, select)", Escaped(path), Escaped(root))]
    LeftOut {
        /// The path that was asked for.
        path: String,
        /// The root of the cache.
        root: String,
    },
    /// There is no node at this path so far. It may still be found by the first load.
    #[error("the first load is not complete, and {} has not been seen yet", Escaped(.0))]
    NotReady(String),
    /// Not in this state: the cache was started before or not at all, the process has another logger, or it is the child
    /// of a fork. The text says which.
    #[error("{0}")]
    State(&'static str),
    /// The cache, its client or the queue is closed, maybe while the call waited.
    #[error("closed")]
    Closed,
    /// What was waited for did not happen in the time that was given.
    #[error("timed out after {}{}", Seconds(*after), Behind(last))]
    Timeout {
        /// The time that was given.
        after: Duration,
        /// What went wrong last, which may be why; `None` where nothing did.
        last: Option<Box<LastFault>>,
    },
    /// The queue was woken, so that whoever waits at it looks after something else.
    #[error("woken")]
    Interrupted,
    /// The caller's buffer has no room for this many bytes of data. Nothing was put into it.
    #[error("the buffer is too small for {0} bytes")]
    TooSmall(usize),
    /// A call in a callback waits for what comes only after the callback, or a call in the log's sink changes the log.
    #[error("waiting in a callback would wait for itself")]
    WouldDeadlock,
    /// The session may not read the node at this path: the node that was asked for, or a node above it.
    #[error("the session may not read {}", Escaped(.0))]
    NoPermission(String),
    /// The system had no thread or no descriptor left for what was to be made. The text says for what, and what the system
    /// said.
    #[error("{0}")]
    NoResources(String),
    /// The cache or client has failed for a reason that it has told as a [`Fault`], or it can do nothing while things stand
    /// as they do.
    #[error("{}{}", status.words(), Behind(last))]
    Failed {
        /// What kind of failure it is.
        status: Status,
        /// What went wrong last, which is why as a rule; `None` where nothing did, and where no call waited.
        last: Option<Box<LastFault>>,
    },
}

impl Error {
    /// What a cache or client that has failed for this reason answers: an [`Error::Failed`] without a fault, or
    /// [`Error::Closed`] where it has only come to its end.
    pub fn failed(status: Status) -> Error {
        match status {
            Status::Closed => Error::Closed,
            status => Error::Failed { status, last: None },
        }
    }

    /// The same, with what went wrong last where that says more: in an [`Error::Timeout`] or [`Error::Failed`].
    pub fn behind(mut self, fault: impl FnOnce() -> Option<LastFault>) -> Error {
        if let Error::Timeout { last, .. } | Error::Failed { last, .. } = &mut self {
            *last = fault().map(Box::new);
        }
        self
    }

    /// An [`Error::Setting`] about `key`. The message must not name a value that may be a secret.
    pub fn setting(key: &str, message: impl Into<String>) -> Error {
        Error::Setting { key: key.to_owned(), message: message.into() }
    }

    /// An [`Error::InvalidArgument`] about the bytes that were given for `argument`; they are shown, escaped.
    pub fn not_utf8(argument: &str, bytes: &[u8]) -> Error {
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
            Error::OutOfTree { path, .. } | Error::LeftOut { path, .. } => Some(path),
            _ => None,
        }
    }

    /// What the C API answers in its place.
    pub fn status(&self) -> Status {
        match self {
            Error::InvalidArgument(_) | Error::Setting { .. } | Error::InvalidPath(_) => {
                Status::InvalidArgument
            }
            Error::NoNode(_) => Status::NoNode,
            Error::OutOfTree { .. } | Error::LeftOut { .. } => Status::OutOfTree,
            Error::NotReady(_) => Status::NotReady,
            Error::State(_) => Status::State,
            Error::Closed => Status::Closed,
            Error::Timeout { .. } => Status::Timeout,
            Error::Interrupted => Status::Interrupted,
            Error::TooSmall(_) => Status::TooSmall,
            Error::WouldDeadlock => Status::WouldDeadlock,
            Error::NoPermission(_) => Status::NoPermission,
            Error::NoResources(_) => Status::Connection,
            Error::Limit(_) => Status::Limit,
            Error::Unsupported(_) => Status::Unsupported,
            Error::Failed { status, .. } => *status,
        }
    }
}

/// Something went wrong in the background; told to fault listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of fault it is.
    pub status: Status,
    /// ZooKeeper's error code, or 0.
    pub server_error: i32,
    /// The node that it is about, or the root of the cache; `None` where it concerns the whole client.
    pub path: Option<NodePath>,
    /// What happened, for people.
    pub message: String,
}

impl Fault {
    /// A fault that is about no node and has no error code of a server.
    pub fn new(status: Status, message: impl Into<String>) -> Fault {
        Fault { status, server_error: 0, path: None, message: message.into() }
    }

    /// The same, about the node at `path`.
    pub fn at(mut self, path: &NodePath) -> Fault {
        self.path = Some(path.clone());
        self
    }

    /// The same, with the error code that the server gave ([`ServerError`](crate::wire::ServerError)); 0 for none.
    pub fn server_error(mut self, code: i32) -> Fault {
        self.server_error = code;
        self
    }
}

/// The fault that was the last to be told, and how long ago that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFault {
    /// What went wrong.
    pub fault: Fault,
    /// How long ago that was told.
    pub age: Duration,
}

/// From this age on, the age of a fault is said too: it may have nothing to do with what happens now.
const WORTH_SAYING: Duration = Duration::from_secs(60);

/// What went wrong last, behind what happened now.
struct Behind<'a>(&'a Option<Box<LastFault>>);

impl fmt::Display for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            None => Ok(()),
            Some(LastFault { fault, age }) if *age < WORTH_SAYING => write!(f, "; last: {}", fault.message),
            Some(LastFault { fault, age }) => {
                write!(f, "; last, {} s ago: {}", age.as_secs(), fault.message)
            }
        }
    }
}

/// A time as people say it: `10 s`, `0.25 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // To the millisecond, as programs in C give it.
        write!(f, "{} s", (self.0.as_secs_f64() * 1000.0).ceil() / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_failed_says_how_long_it_was_and_what_went_wrong_last() {
        let refused = |age| LastFault { fault: Fault::new(Status::Connection, "zk1:2181: refused"), age };
        let timeout = |after| Error::Timeout { after, last: None };
        let (soon, late) = (Duration::from_millis(250), Duration::from_secs(3600));
        for (error, said) in [
            (timeout(Duration::from_secs(10)), "timed out after 10 s"),
            (timeout(soon).behind(|| Some(refused(soon))), "timed out after 0.25 s; last: zk1:2181: refused"),
            (
                timeout(soon).behind(|| Some(refused(late))),
                "timed out after 0.25 s; last, 3600 s ago: zk1:2181: refused",
            ),
            (Error::failed(Status::Limit), "the tree is beyond a limit, and the cache has stopped"),
            (
                Error::failed(Status::Connection).behind(|| Some(refused(soon))),
                "there is no connection; last: zk1:2181: refused",
            ),
            (Error::Closed.behind(|| Some(refused(soon))), "closed"),
        ] {
            assert_eq!(error.to_string(), said);
        }
    }
}
