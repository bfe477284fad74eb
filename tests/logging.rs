//! What the library logs, as the `log` crate has it. A binary of its own, as the log is one for the process.

mod common;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::*;
use treecache_test_support::{shared, unique_root};

/// Lines of the library, with their levels.
static LINES: Mutex<Vec<(log::Level, String)>> = Mutex::new(Vec::new());

/// The tests go one after the other.
static TURN: Mutex<()> = Mutex::new(());

struct Keeper;

impl log::Log for Keeper {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("treecache")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((record.level(), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Forgets the lines so far, and has those that come kept, as long as this is held.
fn kept() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    _ = log::set_logger(&Keeper);
    log::set_max_level(log::LevelFilter::Info);
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    turn
}

/// The lines so far that have this in them, with their levels.
fn lines(part: &str) -> Vec<(log::Level, String)> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|(_, line)| line.contains(part)).cloned().collect()
}

const NOWHERE: &str = "127.0.0.1:1";

#[test]
fn a_fault_of_the_client_is_logged_once_however_many_caches_it_has() {
    let _turn = kept();
    let client = client(NOWHERE);
    let caches = ["/a", "/b", "/c"].map(|path| client.cache(path, &config(&[])).expect("a cache"));
    caches.iter().for_each(|cache| cache.start().expect("started"));
    eventually("it goes wrong several times", || caches[0].stats().faults >= 3);
    // What is told to the last of them is counted.
    drop(client);
    let (lines, faults) = (lines(NOWHERE), caches[2].stats().faults);
    assert_eq!(lines.len() as u64, faults, "{lines:?}");
    for (level, line) in lines {
        assert_eq!(level, log::Level::Warn);
        assert!(line.starts_with(&format!("{NOWHERE}: ")), "no node is meant: {line}");
    }
}

#[test]
fn a_fault_that_somebody_listens_to_is_not_logged() {
    for of_client in [true, false] {
        let _turn = kept();
        let client = client(NOWHERE);
        let caches = ["/a", "/b"].map(|path| client.cache(path, &config(&[])).expect("a cache"));
        match of_client {
            true => client.listen_fault(|_| {}).expect("a listener"),
            false => caches[1].listen_fault(|_| {}).expect("a listener"),
        };
        caches.iter().for_each(|cache| cache.start().expect("started"));
        // What goes wrong before there is a cache to listen to is for the log, and may be on its way there.
        let (before, faults) = (lines(NOWHERE).len(), caches[0].stats().faults);
        eventually("it goes wrong several times", || caches[0].stats().faults >= faults + 4);
        let lines = lines(NOWHERE).split_off(before);
        assert!(lines.len() <= 1, "{lines:?}");
    }
}

#[test]
fn a_fault_of_a_cache_is_logged_once_with_its_path() {
    let _turn = kept();
    let root = unique_root("logged");
    let witness = witness();
    for child in ["", "/a", "/b"] {
        witness.create(&format!("{root}{child}"), b"");
    }
    let client = client(&shared().hosts());
    let cache = client.cache(&root, &config(&[("limit.nodes", "1")])).expect("a cache");
    cache.start().expect("started");
    let error = cache.wait_initialized(Some(BOUND)).expect_err("two nodes too many").to_string();
    let lines = lines(&root);
    let [(log::Level::Warn, line)] = &lines[..] else { panic!("{lines:?}") };
    let message = line.strip_prefix(&format!("{root}: ")).expect("its path");
    assert_eq!(error, format!("the tree is beyond a limit, and the cache has stopped; last: {message}"));
}

#[test]
fn a_root_that_is_created_is_one_line_with_its_path_and_its_acl() {
    let _turn = kept();
    let base = unique_root("made");
    let client = client(&format!("{}{base}", shared().hosts()));
    let caches = ["/parent/root", "/parent/root"].map(|path| started(&client, path, &[]));
    let lines = lines(&base);
    let [(log::Level::Warn, line)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(
        *line,
        format!("created the root {base}/parent/root, which was missing, with the ACL world:anyone:cdrwa")
    );
    drop(caches);
    let _again = started(&client, "/parent/root", &[]);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(self::lines(&base).len(), 1);
}
