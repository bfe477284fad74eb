//! Status codes and the version.

use std::ffi::{CStr, c_char};

use crate::error::Status;

/// Major version of this header. The library's own is `tc_version`.
pub const TC_VERSION_MAJOR: i32 = 0;
/// Minor version of this header.
pub const TC_VERSION_MINOR: i32 = 1;
/// Patch version of this header.
pub const TC_VERSION_PATCH: i32 = 0;

/// Done.
pub const TC_OK: i32 = 0;
/// NULL, malformed path, hosts, key or value, or not UTF-8. A log line names the value.
pub const TC_ERR_INVALID_ARGUMENT: i32 = -1;
/// There is no such node.
pub const TC_ERR_NO_NODE: i32 = -2;
/// The path is not below the cache's root.
pub const TC_ERR_OUT_OF_TREE: i32 = -3;
/// The first load is not complete, and the node has not been seen yet.
pub const TC_ERR_NOT_READY: i32 = -4;
/// Started twice, or not started. Also in the child of a fork, for what the parent made; as a fault: another cache writes
/// `share.file`.
pub const TC_ERR_STATE: i32 = -5;
/// The cache, or its client, is closed.
pub const TC_ERR_CLOSED: i32 = -6;
/// The time to wait is over.
pub const TC_ERR_TIMEOUT: i32 = -7;
/// Waiting in a callback would wait for itself.
pub const TC_ERR_WOULD_DEADLOCK: i32 = -8;
/// The server cannot do what a cache needs; or the cache is attached to a file, and has no server.
pub const TC_ERR_UNSUPPORTED: i32 = -9;
/// The server refused the credentials.
pub const TC_ERR_AUTH: i32 = -10;
/// A defect in this library. The handle refuses further work, and is still to be freed. After one on a thread of the
/// library, a client and all its caches do. (A panic in a listener of a Rust program is only told as a fault.)
pub const TC_ERR_PANIC: i32 = -11;
/// The session may not read the node, or one above it.
pub const TC_ERR_NO_PERMISSION: i32 = -12;
/// No connection, or no means to make one. As a fault also: `share.file` cannot be written.
pub const TC_ERR_CONNECTION: i32 = -13;
/// The server sent what ZooKeeper's protocol does not allow; or a shared file is damaged.
pub const TC_ERR_PROTOCOL: i32 = -14;
/// TLS failed.
pub const TC_ERR_TLS: i32 = -15;
/// The ensemble went back in time: it was reset or restored.
pub const TC_ERR_RESET: i32 = -16;
/// The tree is beyond `limit.nodes`, `limit.bytes` or `limit.path.bytes`; the cache has stopped.
pub const TC_ERR_LIMIT: i32 = -17;
/// `tc_queue_wake` ended the wait.
pub const TC_ERR_INTERRUPTED: i32 = -18;
/// The buffer is too small; the length that is needed is told.
pub const TC_ERR_TOO_SMALL: i32 = -19;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL"),
};

/// Returns the library's version, e.g. "0.1.0".
///
/// The string is the library's and is never freed. Any thread; never blocks; callbacks may call it. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tc_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Returns the name of a status code, e.g. "TC_ERR_NO_NODE"; "TC_ERR_UNKNOWN" for a number that is none.
///
/// Never NULL. The string is the library's and is never freed. Any thread; never blocks; callbacks may call it.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn tc_status_name(status: i32) -> *const c_char {
    Status::from_code(status).map_or(c"TC_ERR_UNKNOWN", name).as_ptr()
}

fn name(status: Status) -> &'static CStr {
    match status {
        Status::Ok => c"TC_OK",
        Status::InvalidArgument => c"TC_ERR_INVALID_ARGUMENT",
        Status::NoNode => c"TC_ERR_NO_NODE",
        Status::OutOfTree => c"TC_ERR_OUT_OF_TREE",
        Status::NotReady => c"TC_ERR_NOT_READY",
        Status::State => c"TC_ERR_STATE",
        Status::Closed => c"TC_ERR_CLOSED",
        Status::Timeout => c"TC_ERR_TIMEOUT",
        Status::WouldDeadlock => c"TC_ERR_WOULD_DEADLOCK",
        Status::Unsupported => c"TC_ERR_UNSUPPORTED",
        Status::Auth => c"TC_ERR_AUTH",
        Status::Panic => c"TC_ERR_PANIC",
        Status::NoPermission => c"TC_ERR_NO_PERMISSION",
        Status::Connection => c"TC_ERR_CONNECTION",
        Status::Protocol => c"TC_ERR_PROTOCOL",
        Status::Tls => c"TC_ERR_TLS",
        Status::Reset => c"TC_ERR_RESET",
        Status::Limit => c"TC_ERR_LIMIT",
        Status::Interrupted => c"TC_ERR_INTERRUPTED",
        Status::TooSmall => c"TC_ERR_TOO_SMALL",
    }
}

const _: () = {
    assert!(TC_OK == Status::Ok as i32);
    assert!(TC_ERR_INVALID_ARGUMENT == Status::InvalidArgument as i32);
    assert!(TC_ERR_NO_NODE == Status::NoNode as i32);
    assert!(TC_ERR_OUT_OF_TREE == Status::OutOfTree as i32);
    assert!(TC_ERR_NOT_READY == Status::NotReady as i32);
    assert!(TC_ERR_STATE == Status::State as i32);
    assert!(TC_ERR_CLOSED == Status::Closed as i32);
    assert!(TC_ERR_TIMEOUT == Status::Timeout as i32);
    assert!(TC_ERR_WOULD_DEADLOCK == Status::WouldDeadlock as i32);
    assert!(TC_ERR_UNSUPPORTED == Status::Unsupported as i32);
    assert!(TC_ERR_AUTH == Status::Auth as i32);
    assert!(TC_ERR_PANIC == Status::Panic as i32);
    assert!(TC_ERR_NO_PERMISSION == Status::NoPermission as i32);
    assert!(TC_ERR_CONNECTION == Status::Connection as i32);
    assert!(TC_ERR_PROTOCOL == Status::Protocol as i32);
    assert!(TC_ERR_TLS == Status::Tls as i32);
    assert!(TC_ERR_RESET == Status::Reset as i32);
    assert!(TC_ERR_LIMIT == Status::Limit as i32);
    assert!(TC_ERR_INTERRUPTED == Status::Interrupted as i32);
    assert!(TC_ERR_TOO_SMALL == Status::TooSmall as i32);
};
