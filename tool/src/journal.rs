//! What is said on stderr: lines for people, or for systemd's journal, which wants the priority in front.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Journal {
    is_systemds: bool,
}

/// From now on what is logged goes to stderr, up to that level.
pub fn start(most: LevelFilter) {
    let journal = Box::new(Journal { is_systemds: is_systemds() });
    // There is no other logger in this program, and one that is there already will do.
    if log::set_boxed_logger(journal).is_ok() {
        log::set_max_level(most);
    }
}

/// Whether stderr is the journal's. The variable alone does not say so: it is inherited, and stderr may be another one by now.
fn is_systemds() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fs::metadata("/dev/stderr").is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (priority, word) = match record.level() {
            Level::Error => (3, "error: "),
            Level::Warn => (4, "warning: "),
            Level::Info => (6, ""),
            Level::Debug | Level::Trace => (7, ""),
        };
        let mut lines = String::new();
        for line in record.args().to_string().lines() {
            match self.is_systemds {
                true => lines.push_str(&format!("<{priority}>{line}\n")),
                false => lines.push_str(&format!("treecache: {word}{line}\n")),
            }
        }
        _ = std::io::stderr().write_all(lines.as_bytes());
    }

    fn flush(&self) {}
}
