//! Where log lines go when a program takes them through the C API. A Rust program uses the `log` crate as it likes.
//!
//! Off until a sink is set. Only lines of this library are passed on, also where other users of `log` are linked in.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, TryLockError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use once_cell::sync::OnceCell;

use crate::error::Error;

/// Takes a line, its level, and whether it says why a call was refused.
pub(crate) type Sink = Box<dyn Fn(Level, &str, bool) + Send + Sync>;

/// The target of lines that say why a call was refused. The caller was told so too, by a status.
pub(crate) const OF_CALLS: &str = "treecache::calls";

struct Logger {
    sink: RwLock<Option<(LevelFilter, Sink)>>,
}

static LOGGER: Logger = Logger { sink: RwLock::new(None) };

/// Another thread was using the sink when the process was forked. The child does not have that thread, so the sink
/// stays locked.
static STUCK: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is in the sink. What it logs there is dropped: else the sink would call itself without end.
    static IN_SINK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process logs through `LOGGER`.
static INSTALLED: OnceCell<bool> = OnceCell::new();

/// Passes lines up to `level` to `sink` from now on; `None` switches logging off. When this returns, the last call of
/// the earlier sink is over.
///
/// # Errors
/// [`Error::State`] when the process has another logger, as there can be only one; also in the child of a fork, if a
/// line was being logged when the process was forked. [`Error::WouldDeadlock`] in the sink.
pub(crate) fn set(sink: Option<(LevelFilter, Sink)>) -> Result<(), Error> {
    if IN_SINK.get() {
        return Err(Error::WouldDeadlock);
    }
    if STUCK.load(Ordering::Relaxed) {
        return Err(Error::State("a line was being logged when the process was forked"));
    }
    if !*INSTALLED.get_or_init(|| log::set_logger(&LOGGER).is_ok()) {
        return Err(Error::State("the process has another logger"));
    }
    let level = sink.as_ref().map_or(LevelFilter::Off, |(level, _)| *level);
    let before = {
        let mut current = LOGGER.sink.write().unwrap_or_else(PoisonError::into_inner);
        log::set_max_level(level);
        std::mem::replace(&mut *current, sink)
    };
    drop(before);
    Ok(())
}

/// Called in the child of a fork, on its only thread: what is locked now stays locked for ever.
pub(crate) fn after_fork() {
    if let Err(TryLockError::WouldBlock) = LOGGER.sink.try_write() {
        STUCK.store(true, Ordering::Relaxed);
    }
}

/// Whether a line is of this library.
fn is_ours(target: &str) -> bool {
    matches!(target.split("::").next(), Some("treecache" | "treecache_core"))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !STUCK.load(Ordering::Relaxed) && is_ours(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || IN_SINK.get() {
            return;
        }
        let current = self.sink.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((level, sink)) = &*current
            && record.level() <= *level
        {
            let line = record.args().to_string();
            IN_SINK.set(true);
            sink(record.level(), &line, record.target() == OF_CALLS);
            IN_SINK.set(false);
        }
    }

    fn flush(&self) {}
}
