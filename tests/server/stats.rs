//! The numbers of `stats`, where a server has a part in them.

use std::thread;
use std::time::Duration;

use treecache::State;
use treecache_test_support::{Proxy, shared, unique_root};

use crate::common::*;

#[test]
fn stats_tell_how_the_cache_stands_and_what_was_done() {
    let (root, proxy, witness) = (unique_root("stats"), Proxy::start(shared().addr()), witness());
    witness.create(&root, b"12345");
    for n in 0..9 {
        witness.create(&format!("{root}/{n}"), b"12345");
    }
    let client = client(&proxy.hosts());
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let latent = cache.stats();
    assert_eq!((latent.state, latent.cut_age, latent.nodes), (State::Latent, None, 0));
    assert_eq!((latent.versions, latent.reads, latent.resyncs), (0, 0, 0));

    cache.start().expect("started");
    initialized(&cache);
    wait_for_state(&cache, State::InStep);
    let loaded = cache.stats();
    let snapshot = cache.snapshot().expect("a snapshot");
    assert_eq!((loaded.state, loaded.nodes, loaded.bytes), (State::InStep, 10, 50));
    assert_eq!((loaded.zxid, loaded.reads, loaded.resyncs), (snapshot.zxid(), 10, 0));
    assert!(loaded.versions >= loaded.cuts && loaded.cuts >= 1 && loaded.batches >= 2);
    assert_eq!((loaded.connections, loaded.session_id), (1, proxy.last_session()));
    assert_eq!(loaded.server, Some(proxy.hosts()));
    assert!(loaded.cut_age.is_some() && loaded.cut_age <= loaded.contact_age);

    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&cache, State::Suspended);
    let suspended = cache.stats();
    assert_eq!((suspended.server, suspended.session_id), (None, loaded.session_id));
    assert_eq!((suspended.nodes, suspended.zxid), (10, loaded.zxid), "it can still be read");
    thread::sleep(Duration::from_millis(20));
    let later = cache.stats();
    assert!(later.cut_age > suspended.cut_age && later.cut_age >= Some(Duration::from_millis(20)));

    witness.set(&root, b"123");
    proxy.refuse(false);
    wait_for_state(&cache, State::InStep);
    let back = cache.stats();
    assert_eq!((back.connections, back.resyncs, back.bytes), (2, 1, 48));
    assert_eq!(back.server, Some(proxy.hosts()));
    // All of them once; those that were read with the watch before the verification began, twice.
    assert!((loaded.reads + 10..=loaded.reads + 20).contains(&back.reads), "{} reads", back.reads);
    assert!(back.versions > loaded.versions && back.zxid > loaded.zxid);

    cache.close();
    let closed = cache.stats();
    assert_eq!((closed.state, closed.nodes, closed.versions), (State::Closed, 0, back.versions));
    drop(client);
    assert_eq!(cache.stats().server, None);
}
