//! What a limit stops: the fault, what can still be read, and that no other cache is the worse for it.

use treecache::{Error, EventKind, State, Status};
use treecache_test_support::{Proxy, shared, unique_root};

use crate::common::*;

#[test]
fn a_tree_beyond_limit_nodes_stops_the_load_with_a_fault() {
    let root = unique_root("limit-load");
    let (client, witness) = (client(&shared().hosts()), witness());
    for n in 0..20 {
        witness.ensure_path(&format!("{root}/{n}"));
    }
    for limit in ["1", "10", "20"] {
        let cache = client.cache(&root, &config(&[("limit.nodes", limit)])).unwrap();
        let faults = Faults::of(&cache);
        cache.start().unwrap();
        assert_eq!(
            cache.wait_initialized(Some(BOUND)).map_err(|error| error.status()),
            Err(Status::Limit),
            "{limit}"
        );
        let fault = faults.wait_for(|fault| fault.status == Status::Limit);
        assert!(fault.message.contains(&format!("limit.nodes={limit}")), "{}", fault.message);
        wait_for_state(&cache, State::Closed);
        assert!(matches!(cache.start(), Err(Error::State(_))));
        // What is not in what has been loaded so far may exist.
        assert_eq!(cache.get_data(format!("{root}/x")).unwrap_err().status(), Status::NotReady);
    }
    // Up to the limit is within it.
    let cache = started(&client, &root, &[("limit.nodes", "21")]);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_tree_that_grows_beyond_limit_nodes_is_served_as_it_was_last() {
    let root = unique_root("limit-growth");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    let cache = started(&client, &root, &[("limit.nodes", "3")]);
    let unlimited = started(&client, &root, &[]);
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    witness.create(&format!("{root}/b"), b"b");
    assert_same_as_server(&cache, &witness, &root);
    witness.create(&format!("{root}/c"), b"c");
    faults.wait_for(|fault| fault.status == Status::Limit);
    wait_for_state(&cache, State::Closed);
    assert_eq!(cache.get_data(format!("{root}/b")).unwrap().data(), b"b");
    assert_eq!(cache.get_children(&root).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(cache.snapshot().unwrap().is_cut());

    // It stays as it is, and the others go on.
    witness.delete(&format!("{root}/a"));
    assert_same_as_server(&unlimited, &witness, &root);
    assert_eq!(cache.snapshot().unwrap().len(), 3);
    assert_eq!(cache.state().0, State::Closed);
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(faults.told().len(), 1);
}

#[test]
fn data_beyond_limit_bytes_stops_the_cache_with_a_fault() {
    let root = unique_root("limit-bytes");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.create(&root, b"");
    for name in ["a", "b", "c"] {
        witness.create(&format!("{root}/{name}"), &[1; 1_000]);
    }
    let refused = client.cache(&root, &config(&[("limit.bytes", "2999")])).unwrap();
    let faults = Faults::of(&refused);
    refused.start().unwrap();
    assert_eq!(refused.wait_initialized(Some(BOUND)).map_err(|error| error.status()), Err(Status::Limit));
    let fault = faults.wait_for(|fault| fault.status == Status::Limit);
    assert!(fault.message.contains("limit.bytes=2999"), "{}", fault.message);
    wait_for_state(&refused, State::Closed);

    let cache = started(&client, &root, &[("limit.bytes", "3000")]);
    let faults = Faults::of(&cache);
    witness.set(&format!("{root}/a"), &[2; 500]);
    witness.set(&format!("{root}/b"), &[2; 1_500]);
    assert_same_as_server(&cache, &witness, &root);
    witness.set(&format!("{root}/b"), &[3; 1_501]);
    faults.wait_for(|fault| fault.status == Status::Limit);
    wait_for_state(&cache, State::Closed);
    assert_eq!(cache.get_data(format!("{root}/b")).unwrap().data(), [2; 1_500]);
}

#[test]
fn a_cache_that_a_limit_has_stopped_goes_on_saying_so_when_another_has_the_same_root() {
    let root = unique_root("limit-other");
    let (client, witness) = (client(&shared().hosts()), witness());
    for n in 0..5 {
        witness.ensure_path(&format!("{root}/{n}"));
    }
    let stopped = client.cache(&root, &config(&[("limit.nodes", "2")])).unwrap();
    stopped.start().unwrap();
    assert_eq!(stopped.wait_initialized(Some(BOUND)).map_err(|error| error.status()), Err(Status::Limit));
    let other = started(&client, &root, &[]);
    assert_same_as_server(&other, &witness, &root);
    assert_eq!(stopped.wait_initialized(Some(BOUND)).map_err(|error| error.status()), Err(Status::Limit));
    assert_eq!(stopped.state().0, State::Closed);
}

#[test]
fn a_cache_that_a_limit_has_stopped_tells_nothing_of_the_connection() {
    let root = unique_root("limit-connection");
    let proxy = Proxy::start(shared().addr());
    let client = client(&proxy.hosts());
    let witness = witness();
    for n in 0..5 {
        witness.ensure_path(&format!("{root}/{n}"));
    }
    let stopped = client.cache(&root, &config(&[("limit.nodes", "2")])).unwrap();
    let recorder = Recorder::listen(&stopped);
    stopped.start().unwrap();
    assert_eq!(stopped.wait_initialized(Some(BOUND)).map_err(|error| error.status()), Err(Status::Limit));
    let other = started(&client, &format!("{root}/0"), &[]);
    let others = Recorder::listen(&other);
    wait_for_state(&other, State::InStep);
    proxy.drop_connections();
    others.wait_for_kind(EventKind::ConnectionReconnected, 1);
    assert_same_as_server(&other, &witness, &format!("{root}/0"));
    assert_eq!(stopped.state().0, State::Closed);
    assert_eq!(stopped.wait_initialized(Some(BOUND)).map_err(|error| error.status()), Err(Status::Limit));
    // A consumer that was told CONNECTION_RECONNECTED waits for IN_STEP, which would never come.
    assert!(recorder.events().iter().all(Recorded::is_of_a_node), "{:?}", kinds(&recorder.events()));
}
