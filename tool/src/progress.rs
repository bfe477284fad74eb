//! What is said on stderr: to people at a terminal, how far a load is.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use treecache::{Snapshot, Walk};

/// A load that is over sooner needs no word.
const PATIENCE: Duration = Duration::from_secs(1);

/// There is an unfinished line on the terminal.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// How far a load is.
pub struct Progress {
    began: Instant,
    is_seen: bool,
}

impl Progress {
    pub fn begin() -> Progress {
        Progress { began: Instant::now(), is_seen: io::stderr().is_terminal() }
    }

    /// Whether somebody wants to know.
    pub fn is_seen(&self) -> bool {
        self.is_seen
    }

    /// Shows how far it is by what was read so far.
    pub fn show(&self, snapshot: &Snapshot, path: &str) {
        let passed = self.began.elapsed();
        if passed < PATIENCE {
            return;
        }
        // Each node that was read says how many children it has, so these are known of.
        let (mut read, mut known) = (0u64, 1u64);
        _ = snapshot.walk(path, |_, node| {
            read += 1;
            known += u64::from(node.stat().num_children.unsigned_abs());
            Walk::Continue
        });
        let line = match read {
            0 => "waiting for a server".to_owned(),
            _ if known <= read => format!("{read} nodes"),
            _ => {
                let left = passed.as_secs_f64() * (known - read) as f64 / read as f64;
                format!("{read} of at least {known} nodes, about {left:.0} s left")
            }
        };
        IS_SHOWN.store(true, Ordering::Relaxed);
        _ = write!(io::stderr(), "\r\x1b[K{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        clear();
    }
}

/// Takes the unfinished line away.
pub fn clear() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Says something that ends nothing.
pub fn say(message: &str) {
    clear();
    _ = writeln!(io::stderr(), "treecache: {message}");
}
