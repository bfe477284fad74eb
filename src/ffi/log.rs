//! The log of the process.

use std::ffi::{c_char, c_void};

use log::{Level, LevelFilter};

use super::boundary::{c_string, guard};
use crate::error::Error;
use crate::logging;

/// Takes one log line. `level` is syslog's: 3 error, 4 warning, 6 info, 7 debug. `message` is lent for the call. It is
/// called on whatever thread has something to log, on several at once, and must not call any `tc_` function; never within
/// itself: what is logged there all the same goes nowhere.
pub type tc_log_fn = Option<unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void)>;

/// Function and `user` as they were given.
struct Target {
    function: unsafe extern "C" fn(level: i32, message: *const c_char, user: *mut c_void),
    user: *mut c_void,
}

// SAFETY: the pointer is only handed back to the program, which was told that this happens on any thread.
unsafe impl Send for Target {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for Target {}

impl Target {
    fn write(&self, level: Level, message: &str) {
        // SAFETY: the program gave function and `user` for each other; the message lives for the call.
        unsafe { (self.function)(syslog(level), c_string(message).as_ptr(), self.user) }
    }
}

/// Sends the log lines of all clients in this process to a function. Off by default.
///
/// `level`: the least important lines that are wanted, 3 (errors) to 7 (everything); 5 is as 4. `fn`: called with each
/// line; NULL switches logging off. `user`: passed to `fn` as it is; stays the caller's.
///
/// May be called again; the function before is not called any more once this returns. Any thread; waits for calls
/// of the function before that are under way; must not be called from `fn`, other callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for another level; TC_ERR_WOULD_DEADLOCK in `fn`; TC_ERR_STATE when a Rust program has
/// set a logger of its own, and in the child of a fork that came while a line was being logged. Since 0.1.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tc_log_set(level: i32, r#fn: tc_log_fn, user: *mut c_void) -> i32 {
    guard("tc_log_set", || {
        let level = match level {
            3 => LevelFilter::Error,
            4 | 5 => LevelFilter::Warn,
            6 => LevelFilter::Info,
            7 => LevelFilter::Trace,
            _ => return Err(Error::InvalidArgument(format!("no such log level: {level}"))),
        };
        logging::set(r#fn.map(|function| {
            let target = Target { function, user };
            let sink: logging::Sink = Box::new(move |level, message| target.write(level, message));
            (level, sink)
        }))
    })
}

fn syslog(level: Level) -> i32 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
