//! Servers without recursive watches: older than 3.6, or with a watch manager that has none. A cache says so and
//! neither hangs nor spins. Run with `TREECACHE_TEST_ZOOKEEPER` set to a 3.4 to test the old servers; each test does
//! nothing but say so where it does not apply.

mod common;

use std::time::Duration;

use common::*;
use treecache::{Client, Error, State, Status};
use treecache_test_support::{Server, Witness, shared, unique_root};

/// The first version that knows `addWatch`.
const FIRST: (u32, u32, u32) = (3, 6, 0);

/// What both kinds of refusal have in common.
fn is_refused(server: &Server, client: &Client) {
    let root = unique_root("refused");
    Witness::connect(&server.hosts()).create(&root, b"");
    let cache = client.cache(&root, &config(&[])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    // Without a bound: that it returns is what is tested.
    assert_eq!(cache.wait_initialized(None), Err(Error::Failed(Status::Unsupported)));
    let fault = faults.wait_for(|fault| fault.status == Status::Unsupported);
    assert!(fault.message.contains("3.6"), "{}", fault.message);
    assert_eq!(fault.path.as_ref().map(|path| path.as_str()), Some(root.as_str()));
    assert!(fault.server_error == -5 || fault.server_error == -6, "{fault:?}");
    assert_eq!(cache.get_data(&root).unwrap_err().status(), Status::NotReady);

    // One that is opened later is told the same, and both go on being told.
    let later = client.cache(&format!("{root}/later"), &config(&[])).unwrap();
    let same = client.cache(&root, &config(&[])).unwrap();
    for cache in [&later, &same] {
        let faults = Faults::of(cache);
        cache.start().unwrap();
        assert_eq!(cache.wait_initialized(None), Err(Error::Failed(Status::Unsupported)));
        faults.wait_for(|fault| fault.status == Status::Unsupported);
    }
    assert_eq!(cache.wait_initialized(None), Err(Error::Failed(Status::Unsupported)));

    let (before, window) = (cpu_time(), Duration::from_secs(3));
    std::thread::sleep(window);
    let used = cpu_time() - before;
    assert!(used < window / 6, "{used:?} of CPU time within {window:?}: a busy loop");

    assert!(recorder.events().iter().all(|event| !event.is_of_a_node()));
    assert!(!matches!(cache.state().0, State::InStep | State::CatchingUp | State::Closed));
    cache.close();
    assert_eq!(cache.wait_initialized(None), Err(Error::Closed));
}

#[test]
fn a_server_older_than_3_6_is_refused_without_a_hang_or_a_busy_loop() {
    let version = shared().version();
    if version >= FIRST {
        return eprintln!(
            "not tested: the server's version is {version:?}, and it must be older than {FIRST:?}"
        );
    }
    is_refused(shared(), &client(&shared().hosts()));
}

#[test]
fn a_server_whose_watch_manager_has_no_recursive_watches_is_refused_without_a_hang_or_a_busy_loop() {
    let version = shared().version();
    if version < FIRST {
        return eprintln!(
            "not tested: the server's version is {version:?}, and it must be {FIRST:?} or later"
        );
    }
    let manager = "org.apache.zookeeper.server.watch.WatchManagerOptimized";
    let server = Server::builder().property("zookeeper.watchManagerName", manager).start();
    is_refused(&server, &client(&server.hosts()));
}
