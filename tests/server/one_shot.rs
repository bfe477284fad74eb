//! Servers without recursive watches, where each node is watched by itself. (The other modules run that way too, where
//! `TREECACHE_TEST_WATCH` says so: `scripts/test`.)

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use treecache::EventKind::ConnectionReconnected;
use treecache::WatchMode;
use treecache_test_support::{Ensemble, Proxy, Server, Witness, shared, unique_root};

use crate::subject::{Subject, plant, while_disconnected};

const OPTIMIZED: &str = "org.apache.zookeeper.server.watch.WatchManagerOptimized";

/// Of everything something: a change of data, a creation, a deletion, a node that another takes the place of.
fn change_all(witness: &Witness, root: &str) {
    witness.set(root, b"changed");
    witness.set(&format!("{root}/a/b"), b"changed");
    witness.create(&format!("{root}/a/b/c"), b"new");
    witness.create(&format!("{root}/a/b/c/d"), b"new");
    witness.delete(&format!("{root}/z"));
    witness.delete(&format!("{root}/x"));
    witness.create(&format!("{root}/x"), b"another");
}

fn is_followed(hosts: &str) {
    let (root, proxy) = (unique_root("one-shot"), Proxy::start(hosts.parse().expect("one address")));
    let witness = Witness::connect(hosts);
    plant(&witness, &root, &["/a", "/a/b", "/x", "/z"]);
    let mut subject = Subject::in_step(&proxy.addr().to_string(), &root, &[("watch", "auto")]);
    assert_eq!(subject.cache.stats().watch, Some(WatchMode::OneShot));
    change_all(&witness, &root);
    // What has taken the place of something else is watched as that was.
    witness.set(&format!("{root}/x"), b"changed");
    witness.set(&format!("{root}/a/b/c/d"), b"changed");
    subject.assert_recovered(&witness, &root);

    while_disconnected(&proxy, &subject, || {
        witness.delete(&format!("{root}/a/b/c/d"));
        witness.create(&format!("{root}/z"), b"again");
    });
    subject.assert_recovered(&witness, &root);
    assert_eq!(subject.cache.stats().watch, Some(WatchMode::OneShot));
    subject.close();
}

#[test]
fn a_server_without_recursive_watches_is_followed_by_watches_of_each_node() {
    if shared().version() < (3, 6, 0) {
        return is_followed(&shared().hosts());
    }
    let server = Server::builder().property("zookeeper.watchManagerName", OPTIMIZED).start();
    is_followed(&server.hosts());
}

#[test]
fn how_changes_are_heard_of_is_found_out_on_each_connection() {
    if shared().version() < (3, 6, 0) {
        return eprintln!("not tested: the server's version is {:?}", shared().version());
    }
    let is_first = Cell::new(true);
    let ensemble = Ensemble::start_with(|server| match is_first.take() {
        true => server.property("zookeeper.watchManagerName", OPTIMIZED),
        false => server,
    });
    let [optimized, other] = [0, 1].map(|place| Proxy::start(ensemble.addrs()[place]));
    let (root, witness) = (unique_root("rolling"), Witness::connect(&ensemble.addrs()[2].to_string()));
    plant(&witness, &root, &["/a", "/a/b", "/x", "/z"]);
    other.refuse(true);
    let hosts = format!("{},{}", optimized.addr(), other.addr());
    let mut subject = Subject::in_step(&hosts, &root, &[("watch", "auto")]);
    assert_eq!(subject.cache.stats().watch, Some(WatchMode::OneShot));
    let mut is_recursive = false;
    for _ in 0..3 {
        is_recursive = !is_recursive;
        let from = subject.recorder.events().len();
        let (gone, there) = if is_recursive { (&optimized, &other) } else { (&other, &optimized) };
        there.refuse(false);
        gone.refuse(true);
        gone.drop_connections();
        let told = subject.back_in_step(from);
        assert!(told.iter().any(|event| event.kind == ConnectionReconnected));
        let watch = if is_recursive { WatchMode::Recursive } else { WatchMode::OneShot };
        assert_eq!(subject.cache.stats().watch, Some(watch));
        witness.set(&format!("{root}/a/b"), if is_recursive { b"one" } else { b"two" });
        thread::sleep(Duration::from_millis(10));
    }
    subject.assert_recovered(&witness, &root);
    subject.close();
}
