//! Caches that share a client: one session, one watch for each distinct root, and none of them in the way of another.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::*;
use treecache::{Error, EventKind, State, Status, TreeCache};
use treecache_test_support::{Op, Proxy, Server, Witness, Writer, sessions_of, shared, unique_root};

/// How many watches the server has on each path that begins with `prefix`.
fn watches(server: &Server, prefix: &str) -> Vec<(String, usize)> {
    let mut watches: Vec<(String, usize)> = Vec::new();
    for line in server.four_letter("wchp").lines() {
        match (line.starts_with('/'), watches.last_mut()) {
            (true, _) => watches.push((line.trim().to_owned(), 0)),
            (false, Some((_, count))) if line.trim().starts_with("0x") => *count += 1,
            _ => {}
        }
    }
    watches.retain(|(path, _)| path.starts_with(prefix));
    watches.sort();
    watches
}

fn watched(prefix: &str) -> Vec<(String, usize)> {
    watches(shared(), prefix)
}

#[track_caller]
pub fn eventually_watched(prefix: &str, expected: &[&str]) {
    let expected: BTreeSet<(String, usize)> = expected.iter().map(|path| (path.to_string(), 1)).collect();
    let mut seen = Vec::new();
    eventually(&format!("one watch on each of {expected:?}"), || {
        seen = watched(prefix);
        seen.iter().cloned().collect::<BTreeSet<_>>() == expected
    });
}

#[test]
fn caches_with_one_root_share_one_watch_which_goes_with_the_last_of_them() {
    let root = unique_root("same");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    let first = started(&client, &root, &[]);
    let second = started(&client, &root, &[]);
    let recorders = [Recorder::listen(&first), Recorder::listen(&second)];
    assert_eq!(watched(&root), [(root.clone(), 1)]);
    witness.create(&format!("{root}/b"), b"b");
    for (cache, recorder) in [&first, &second].into_iter().zip(&recorders) {
        recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/b"));
        assert_same_as_server(cache, &witness, &root);
        assert_told_the_tree(recorder, cache);
    }

    first.close();
    witness.create(&format!("{root}/c"), b"c");
    recorders[1].wait_for_event(EventKind::NodeAdded, &format!("{root}/c"));
    assert_same_as_server(&second, &witness, &root);
    assert_eq!(watched(&root), [(root.clone(), 1)]);

    second.close();
    eventually_watched(&root, &[]);
}

#[test]
fn a_cache_that_is_opened_while_another_loads_the_same_root_loads_it_too() {
    let root = unique_root("together");
    let (client, witness) = (client(&shared().hosts()), witness());
    let mut writer = writer();
    writer.create(&root, None, 0).unwrap();
    for n in 0..3_000 {
        writer.send(&Op::Create { path: &format!("{root}/{n}"), data: Some(b"x"), flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    let caches: Vec<TreeCache> = (0..4)
        .map(|_| {
            let cache = client.cache(&root, &config(&[])).unwrap();
            cache.start().unwrap();
            cache
        })
        .collect();
    // One of them leaves in the middle.
    caches[1].close();
    for n in 0..200 {
        writer.send(&Op::Delete { path: &format!("{root}/{n}") }).unwrap();
    }
    writer.drain().unwrap();
    for (n, cache) in caches.iter().enumerate() {
        if n == 1 {
            assert_eq!(cache.wait_initialized(Some(BOUND)), Err(Error::Closed));
        } else {
            initialized(cache);
            assert_same_as_server(cache, &witness, &root);
        }
    }
    assert_eq!(watched(&root), [(root.clone(), 1)]);
}

#[test]
fn nested_roots_are_followed_side_by_side_and_closed_in_any_order() {
    let root = unique_root("nested");
    let middle = format!("{root}/middle");
    let inner = format!("{middle}/inner");
    let witness = witness();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let client = client(&shared().hosts());
        witness.ensure_path(&format!("{inner}/a"));
        let roots = [&root, &middle, &inner];
        let caches = roots.map(|root| started(&client, root, &[]));
        let recorders = [0, 1, 2].map(|n| Recorder::listen(&caches[n]));
        eventually_watched(&root, &[&root, &middle, &inner]);
        let mut open = vec![0, 1, 2];
        for (round, closed) in order.into_iter().enumerate() {
            // In all of them, in two, and in one.
            witness.create(&format!("{inner}/{round}"), b"");
            witness.create(&format!("{middle}/{round}"), b"");
            witness.create(&format!("{root}/{round}"), b"");
            witness.set(&inner, format!("{round}").as_bytes());
            for n in &open {
                assert_same_as_server(&caches[*n], &witness, roots[*n]);
                assert_told_the_tree(&recorders[*n], &caches[*n]);
            }
            caches[closed].close();
            open.retain(|n| *n != closed);
            let left: Vec<&str> = open.iter().map(|n| roots[*n].as_str()).collect();
            eventually_watched(&root, &left);
        }
        witness.delete_recursive(&root);
    }
}

#[test]
fn an_event_of_one_change_is_told_once_to_each_of_two_nested_caches() {
    let root = unique_root("once");
    let inner = format!("{root}/inner");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&inner);
    let caches = [&root, &inner].map(|root| started(&client, root, &[]));
    let recorders = [0, 1].map(|n| Recorder::listen(&caches[n]));
    let path = format!("{inner}/a");
    witness.create(&path, b"");
    witness.create(&format!("{inner}/end"), b"");
    for recorder in &recorders {
        let events = recorder.wait_for_event(EventKind::NodeAdded, &format!("{inner}/end"));
        assert_eq!(events.iter().filter(|event| event.path == path).count(), 1);
    }
    witness.delete_recursive(&inner);
    recorders[0].wait_for_event(EventKind::NodeRemoved, &inner);
    recorders[1].wait_for_event(EventKind::NodeRemoved, &inner);
    assert_same_as_server(&caches[0], &witness, &root);
    assert_same_as_server(&caches[1], &witness, &inner);
}

#[test]
fn a_root_that_is_closed_and_opened_again_at_once_is_followed_with_one_watch() {
    let root = unique_root("again");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    for round in 0..50 {
        let cache = client.cache(&root, &config(&[])).unwrap();
        cache.start().unwrap();
        if round % 2 == 0 {
            initialized(&cache);
        }
        cache.close();
    }
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    witness.create(&format!("{root}/b"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/b"));
    assert_same_as_server(&cache, &witness, &root);
    assert_eq!(watched(&root), [(root.clone(), 1)]);
    // Handed over from one to the next, without a moment in between.
    let mut current = cache;
    for _ in 0..20 {
        let next = started(&client, &root, &[]);
        drop(std::mem::replace(&mut current, next));
    }
    witness.create(&format!("{root}/c"), b"");
    assert_same_as_server(&current, &witness, &root);
    assert_eq!(watched(&root), [(root.clone(), 1)]);
    drop(current);
    eventually_watched(&root, &[]);
}

#[test]
fn a_hundred_caches_on_one_client_are_each_in_step() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    let others = sessions_of(&server);
    let client = client(&server.hosts());
    let roots: Vec<String> = (0..100).map(|n| format!("/root-{n}")).collect();
    for (n, root) in roots.iter().enumerate() {
        writer.send(&Op::Create { path: root, data: Some(b"x"), flags: 0 }).unwrap();
        for child in 0..n {
            writer.send(&Op::Create { path: &format!("{root}/{child}"), data: None, flags: 0 }).unwrap();
        }
    }
    writer.drain().unwrap();
    let caches: Vec<TreeCache> = roots
        .iter()
        .map(|root| {
            let cache = client.cache(root, &config(&[])).unwrap();
            cache.start().unwrap();
            cache
        })
        .collect();
    let recorders: Vec<Recorder> = caches.iter().map(Recorder::listen).collect();
    for cache in &caches {
        initialized(cache);
    }
    for round in 0..10 {
        for root in &roots {
            writer.send_set(root, Some(format!("{round}").as_bytes())).unwrap();
            writer.send(&Op::Create { path: &format!("{root}/new-{round}"), data: None, flags: 0 }).unwrap();
        }
        writer.drain().unwrap();
    }
    for ((cache, recorder), root) in caches.iter().zip(&recorders).zip(&roots) {
        assert_same_as_server(cache, &witness, root);
        assert_told_the_tree(recorder, cache);
    }
    let expected: Vec<(String, usize)> =
        roots.iter().cloned().collect::<BTreeSet<_>>().into_iter().map(|root| (root, 1)).collect();
    assert_eq!(watches(&server, "/root-"), expected);
    assert_eq!(sessions_of(&server).len(), others.len() + 1, "one session for all");
    drop(recorders);
    drop(caches);
    eventually("all watches to go", || watches(&server, "/root-").is_empty());
}

#[test]
fn caches_may_be_opened_before_the_connection_is_there() {
    let root = unique_root("early");
    let witness = witness();
    witness.ensure_path(&format!("{root}/a/b"));
    let proxy = Proxy::start(shared().addr());
    proxy.refuse(true);
    let client = client(&proxy.hosts());
    let roots = [root.clone(), root.clone(), format!("{root}/a"), format!("{root}/made")];
    let caches = roots.each_ref().map(|root| {
        let cache = client.cache(root, &config(&[])).unwrap();
        cache.start().unwrap();
        cache
    });
    let recorders = [0, 1, 2, 3].map(|n| Recorder::listen(&caches[n]));
    let given_up = client.cache(&root, &config(&[])).unwrap();
    given_up.start().unwrap();
    for cache in &caches {
        assert_eq!(cache.state().0, State::Loading);
        assert_eq!(
            cache.wait_initialized(Some(Duration::from_millis(10))).map_err(|error| error.status()),
            Err(Status::Timeout)
        );
        assert!(matches!(cache.get_data(&root), Err(Error::NotReady(_) | Error::OutOfTree { .. })));
    }
    given_up.close();
    proxy.refuse(false);
    for ((cache, recorder), root) in caches.iter().zip(&recorders).zip(&roots) {
        initialized(cache);
        assert_same_as_server(cache, &witness, root);
        let events = recorder.wait_for_kind(EventKind::InStep, 1);
        // The first connection is no reconnection.
        assert!(events.iter().all(|event| event.kind != EventKind::ConnectionReconnected));
        assert_told_the_tree(recorder, cache);
    }
}

#[test]
fn of_a_hundred_caches_on_one_client_each_gets_its_turn_and_none_costs_a_thread() {
    in_a_process_of_its_own(|| {
        const LARGE: usize = 40_000;
        let top = unique_root("hundred");
        let (witness, mut writer) = (witness(), writer());
        let (large, small) = (format!("{top}/large"), format!("{top}/small"));
        // In the order of their bytes.
        let mut roots = vec![top.clone(), large.clone()];
        roots.extend((0..10).map(|n| format!("{large}/{n}")));
        roots.push(small.clone());
        for root in &roots {
            writer.create(root, Some(b"root"), 0).expect("a root");
        }
        for n in 0..LARGE {
            let path = format!("{large}/{}/{n}", n % 10);
            writer.send(&Op::Create { path: &path, data: Some(b"0123456789"), flags: 0 }).expect("sent");
        }
        writer.drain().expect("created");
        let count = |folder: &str| std::fs::read_dir(folder).expect(folder).count();

        // As if far away: the replies that each of them waits for are what all must share.
        let proxy = Proxy::start(shared().addr());
        let client = client(&proxy.hosts());
        let first = started(&client, &small, &[]);
        let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
        proxy.set_delay(Duration::from_millis(5));
        // The same roots, and roots within roots: 99 of them, and all but a few are large.
        let caches: Vec<(&String, TreeCache)> = (0..98)
            .map(|n| {
                let root = &roots[n % roots.len()];
                let cache = client.cache(root, &config(&[])).expect("a cache");
                cache.start().expect("started");
                (root, cache)
            })
            .collect();
        let late = started(&client, &small, &[]);
        let loading = caches.iter().filter(|(_, cache)| cache.state().0 == State::Loading).count();
        println!("{loading} were still loading when the small one was there");
        assert!(loading >= 50, "only {loading} are: the small one waited for them");
        // The one that is there keeps up meanwhile.
        writer.set(&small, Some(b"changed")).expect("a set");
        eventually("the change", || first.get_data(&small).is_ok_and(|node| node.data() == b"changed"));
        let loading = caches.iter().filter(|(_, cache)| cache.state().0 == State::Loading).count();
        assert!(loading >= 25, "only {loading} are: the change waited for them");
        proxy.set_delay(Duration::ZERO);
        for (_, cache) in &caches {
            cache.wait_initialized(Some(3 * BOUND)).expect("the first load complete");
        }
        eventually("no more threads with more caches", || count("/proc/self/task") <= threads);
        eventually("no more descriptors with more caches", || count("/proc/self/fd") <= descriptors);

        // The load may have taken longer than a session lasts that is silent.
        let mut writer = self::writer();
        writer.set(&large, Some(b"changed")).expect("a set");
        writer.create(&format!("{large}/3/new"), None, 0).expect("a node");
        let truth = witness.truth(&top);
        for (root, cache) in &caches {
            let below = format!("{root}/");
            let truth = truth.iter().filter(|(path, _)| path == root || path.starts_with(&below));
            let truth = truth.map(|(path, node)| (path.clone(), node.clone())).collect();
            let mut left = Vec::new();
            eventually(&format!("{root} as at the server"), || {
                let (state, snapshot) = (cache.state().0, cache.snapshot().expect("a snapshot"));
                let in_step = state == State::InStep && snapshot.is_cut();
                // Large: only looked at when there is a chance.
                left = if in_step { differences(&snapshot, &truth) } else { vec![format!("{state:?}")] };
                left.is_empty()
            });
        }
        let expected: Vec<_> = roots.iter().map(|root| (root.clone(), 1)).collect();
        assert_eq!(watched(&top), expected, "one watch for each root");
        drop(caches);
        drop(first);
        eventually_watched(&top, &[&small]);
        writer.set(&small, Some(b"the end")).expect("a set");
        eventually("the change", || late.get_data(&small).is_ok_and(|node| node.data() == b"the end"));
    });
}
