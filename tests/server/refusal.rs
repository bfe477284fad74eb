//! Servers without recursive watches: older than 3.6, or with a watch manager that has none. If nothing else will do, a
//! cache says so and neither hangs nor spins, and asks the next server. Run with `TREECACHE_TEST_ZOOKEEPER` set to a 3.4 to test the old
//! servers; each test does nothing but say so where it does not apply.

use std::cell::Cell;
use std::time::Duration;

use crate::common::*;
use treecache::{Client, Error, State, Status};
use treecache_test_support::{Ensemble, Server, Witness, shared, unique_root};

/// The first version that knows `addWatch`.
const FIRST: (u32, u32, u32) = (3, 6, 0);

const RECURSIVE: [(&str, &str); 1] = [("watch", "recursive")];

const OPTIMIZED: &str = "org.apache.zookeeper.server.watch.WatchManagerOptimized";

/// What both kinds of refusal have in common.
fn is_refused(server: &Server, client: &Client) {
    let root = unique_root("refused");
    Witness::connect(&server.hosts()).create(&root, b"");
    let cache = client.cache(&root, &config(&[])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    // Without a bound: that it returns is what is tested.
    assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Unsupported));
    let fault = faults.wait_for(|fault| fault.status == Status::Unsupported);
    assert!(fault.message.contains("3.6"), "{}", fault.message);
    assert!(fault.message.contains(&server.hosts()), "{}", fault.message);
    assert!(fault.server_error == -5 || fault.server_error == -6, "{fault:?}");
    assert_eq!(cache.get_data(&root).unwrap_err().status(), Status::NotReady);

    // One that is opened later is told the same, and both go on being told.
    let later = client.cache(&format!("{root}/later"), &config(&[])).unwrap();
    let same = client.cache(&root, &config(&[])).unwrap();
    for cache in [&later, &same] {
        let faults = Faults::of(cache);
        cache.start().unwrap();
        assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Unsupported));
        faults.wait_for(|fault| fault.status == Status::Unsupported);
    }
    assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Unsupported));

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
    in_a_process_of_its_own(|| is_refused(shared(), &client_with(&shared().hosts(), &RECURSIVE)));
}

#[test]
fn a_server_whose_watch_manager_has_no_recursive_watches_is_refused_without_a_hang_or_a_busy_loop() {
    let version = shared().version();
    if version < FIRST {
        return eprintln!(
            "not tested: the server's version is {version:?}, and it must be {FIRST:?} or later"
        );
    }
    in_a_process_of_its_own(|| {
        let server = Server::builder().property("zookeeper.watchManagerName", OPTIMIZED).start();
        is_refused(&server, &client_with(&server.hosts(), &RECURSIVE));
    });
}

#[test]
fn where_one_server_has_no_recursive_watches_the_next_one_is_asked() {
    let version = shared().version();
    if version < FIRST {
        return eprintln!(
            "not tested: the server's version is {version:?}, and it must be {FIRST:?} or later"
        );
    }
    let is_first = Cell::new(true);
    let ensemble = Ensemble::start_with(|server| match is_first.replace(false) {
        true => server.property("zookeeper.watchManagerName", OPTIMIZED),
        false => server,
    });
    let [refusing, other] = [0, 1].map(|place| ensemble.addrs()[place]);
    let root = unique_root("mixed");
    Witness::connect(&other.to_string()).create(&root, b"");
    // Which server comes first is chance.
    let mut was_asked = false;
    while !was_asked {
        let client = client_with(&format!("{refusing},{other}"), &RECURSIVE);
        let faults = Faults::of_client(&client);
        for _ in 0..2 {
            // One from the start, and one that may be opened while the connection is on its way to the other server.
            let cache = client.cache(&root, &config(&[])).unwrap();
            cache.start().unwrap();
            assert_eq!(cache.wait_initialized(Some(BOUND)), Ok(()));
        }
        was_asked = faults.told().iter().any(|fault| fault.status == Status::Unsupported);
    }
}
