//! The log of the process.

use std::ffi::{c_char, c_void};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

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
        let level = filter(level)?;
        logging::set(r#fn.map(|function| {
            let target = Target { function, user };
            let sink: logging::Sink = Box::new(move |level, message, _| target.write(level, message));
            (level, sink)
        }))
    })
}

/// Writes the log lines of all clients in this process to a descriptor, in place of calling a function (`tc_log_set`): for
/// languages that the threads of a library cannot call at any time. Off by default.
///
/// `level`: as for `tc_log_set`. `fd`: stays the caller's; -1 switches logging off. Each line is one `write` of
/// "<4>text\n", with syslog's number of its level, as systemd reads them; of no more than 4096 bytes, so that those of
/// several threads do not mix in a pipe. If the descriptor is non-blocking and takes nothing, the line is lost, and the next
/// one has the number of those that were: "<4>(2 lines lost) text\n". Lines that only say why a call was refused are left
/// out, as the caller was told so too.
///
/// May be called again; nothing is written to the descriptor before once this returns. Any thread; waits for writes that are
/// under way; callbacks may call it.
///
/// Errors: TC_ERR_INVALID_ARGUMENT for another level or a negative descriptor other than -1; TC_ERR_STATE as `tc_log_set`.
/// Since 0.2.0.
#[unsafe(no_mangle)]
pub extern "C" fn tc_log_set_fd(level: i32, fd: i32) -> i32 {
    guard("tc_log_set_fd", || {
        let level = filter(level)?;
        match fd {
            -1 => logging::set(None),
            0.. => {
                let pipe = Descriptor { fd, lost: AtomicU64::new(0) };
                let sink: logging::Sink = Box::new(move |level, message, is_of_call| {
                    if !is_of_call {
                        pipe.write(level, message);
                    }
                });
                logging::set(Some((level, sink)))
            }
            _ => Err(Error::InvalidArgument(format!("no such descriptor: {fd}"))),
        }
    })
}

/// The most that a pipe takes at once or not at all (`PIPE_BUF`).
const LONGEST: usize = 4096;

/// Where lines are written to.
struct Descriptor {
    fd: RawFd,
    /// Lines that it did not take.
    lost: AtomicU64,
}

impl Descriptor {
    fn write(&self, level: Level, message: &str) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let mut line = format!("<{}>", syslog(level));
        if lost > 0 {
            line += &format!("({lost} lines lost) ");
        }
        // What others have chosen is escaped; this is for the rest.
        line += &message.replace('\n', "\\n");
        let end = (0..LONGEST).rev().find(|&at| line.is_char_boundary(at.min(line.len())));
        line.truncate(end.unwrap_or_default());
        line.push('\n');
        // SAFETY: the bytes are valid for the call.
        let written = unsafe { libc::write(self.fd, line.as_ptr().cast(), line.len()) };
        if written < 0 {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

fn filter(level: i32) -> Result<LevelFilter, Error> {
    match level {
        3 => Ok(LevelFilter::Error),
        4 | 5 => Ok(LevelFilter::Warn),
        6 => Ok(LevelFilter::Info),
        7 => Ok(LevelFilter::Trace),
        _ => Err(Error::InvalidArgument(format!("no such log level: {level}"))),
    }
}

fn syslog(level: Level) -> i32 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
