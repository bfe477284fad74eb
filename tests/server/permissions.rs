//! What a session may not read is not in its tree, and what it may is, although nothing notifies of an ACL.

use std::time::Instant;

use treecache::{EventKind, State, Status, TreeCache};
use treecache_test_support::{Acl, Proxy, shared, unique_root};

use crate::common::*;

/// A cache that looks for what nothing notifies of all the time.
const AUDITED: &[(&str, &str)] = &[("audit.interval.ms", "300")];
/// More than what is fetched again for a Stat alone.
const LARGE: [u8; 10_000] = [b'x'; 10_000];

/// An ACL that leaves the session under test all but the right to read.
fn private() -> Vec<Acl> {
    Acl::read_only_by("bob", "secret")
}

#[track_caller]
fn assert_unreadable(cache: &TreeCache, path: &str) {
    assert_eq!(cache.get_data(path).err().map(|error| error.status()), Some(Status::NoPermission), "{path}");
    assert_eq!(
        cache.get_children(path).err().map(|error| error.status()),
        Some(Status::NoPermission),
        "{path}"
    );
}

#[track_caller]
fn assert_lists(cache: &TreeCache, path: &str, names: &[&str]) {
    let children = cache.get_children(path).expect("a child list");
    assert!(children.names().eq(names.iter().copied()), "{:?}", children.names().collect::<Vec<_>>());
}

#[test]
fn a_session_that_authenticates_reads_what_only_it_may_read_also_after_a_reconnect() {
    let root = unique_root("auth");
    let witness = witness();
    witness.add_auth("alice", "pw");
    let only_alice = [Acl::digest(Acl::ALL, "alice", "pw")];
    for (path, data) in [("", "root"), ("/a", "a"), ("/a/b", "b")] {
        witness.create_with_acl(&format!("{root}{path}"), data.as_bytes(), &only_alice);
    }
    let proxy = Proxy::start(shared().addr());
    let client = client_with(&proxy.hosts(), &[("auth", "digest:mallory:x"), ("auth", "digest:alice:pw")]);
    let cache = client.cache(&root, &config(AUDITED)).expect("a cache");
    let recorder = Recorder::listen(&cache);
    cache.start().expect("started");
    initialized(&cache);
    assert_same_as_server(&cache, &witness, &root);

    // Verified, and followed, with the same rights.
    proxy.drop_connections();
    recorder.wait_for_kind(EventKind::ConnectionReconnected, 1);
    witness.create_with_acl(&format!("{root}/c"), b"c", &only_alice);
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/c"));
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
    let events = recorder.events();
    assert!(!events.iter().any(|event| event.kind == EventKind::NodeRemoved), "{events:#?}");
}

#[test]
fn what_may_not_be_read_at_the_first_load_is_listed_but_never_added() {
    let root = unique_root("private");
    let witness = witness();
    witness.create(&root, b"root");
    for i in 0..300 {
        let path = format!("{root}/n{i:03}");
        match i % 7 {
            0 => witness.create_with_acl(&path, b"private", &private()),
            1 => witness.create_with_acl(&path, &LARGE, &private()),
            _ => witness.create(&path, b"open"),
        }
    }
    // So long that a busy machine is in time.
    let client = client_with(&shared().hosts(), &[("connect.timeout.ms", "20000")]);
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().expect("started");
    initialized(&cache);
    assert_same_as_server(&cache, &witness, &root);
    assert_unreadable(&cache, &format!("{root}/n007"));
    assert_unreadable(&cache, &format!("{root}/n008"));
    assert_unreadable(&cache, &format!("{root}/n008/below"));
    assert_eq!(cache.get_children(&root).expect("children").len(), 300);
    assert_told_the_tree(&recorder, &cache);
    // It is no fault that a part of the tree belongs to others.
    assert_eq!(faults.told(), []);
}

#[test]
fn a_node_that_becomes_unreadable_is_removed_with_all_below_it_and_added_when_it_may_be_read_again() {
    let root = unique_root("closing");
    let witness = witness();
    witness.create(&root, b"");
    for path in ["/a", "/a/b", "/a/b/c", "/a/d", "/z"] {
        witness.create(&format!("{root}{path}"), path.as_bytes());
    }
    let client = client(&shared().hosts());
    let cache = started(&client, &root, AUDITED);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_kind(EventKind::Initialized, 1);
    let node = format!("{root}/a");
    for round in 1..=3 {
        let before = recorder.events().len();
        witness.set_acl(&node, &private());
        recorder
            .wait_for(|events| events[before..].iter().any(|event| event.is(EventKind::NodeRemoved, &node)));
        assert_unreadable(&cache, &node);
        assert_unreadable(&cache, &format!("{node}/b"));
        assert_lists(&cache, &root, &["a", "z"]);
        assert_same_as_server(&cache, &witness, &root);

        // What is done below it in secret is seen when it opens.
        witness.create(&format!("{node}/new{round}"), b"new");
        witness.set(&format!("{node}/b"), format!("round {round}").as_bytes());
        witness.set_acl(&node, &Acl::open());
        let added = format!("{node}/new{round}");
        recorder.wait_for_event(EventKind::NodeAdded, &added);
        assert_same_as_server(&cache, &witness, &root);
        assert_eq!(cache.get_data(&added).expect("the node").data(), b"new");
        assert_told_the_tree(&recorder, &cache);
    }
    let events = recorder.events();
    let removed: Vec<&str> = events
        .iter()
        .filter(|event| event.kind == EventKind::NodeRemoved)
        .map(|event| &event.path[root.len()..])
        .collect();
    assert_eq!(removed[..4], ["/a/b/c", "/a/b", "/a/d", "/a"]);
}

#[test]
fn a_large_node_is_found_unreadable_and_readable_again() {
    let root = unique_root("large");
    let witness = witness();
    witness.create(&root, b"");
    let node = format!("{root}/large");
    witness.create(&node, &LARGE);
    let client = client(&shared().hosts());
    let cache = started(&client, &root, AUDITED);
    let recorder = Recorder::listen(&cache);
    for count in 1..=3 {
        recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(EventKind::NodeAdded, &node)).count() == count
        });
        witness.set_acl(&node, &private());
        recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(EventKind::NodeRemoved, &node)).count() == count
        });
        assert_unreadable(&cache, &node);
        assert_same_as_server(&cache, &witness, &root);
        witness.set_acl(&node, &Acl::open());
    }
    eventually("it may be read again", || cache.get_data(&node).is_ok());
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_node_that_is_deleted_while_it_may_not_be_read_vanishes_from_its_parents_list() {
    let root = unique_root("deleted");
    let witness = witness();
    witness.create(&root, b"");
    let (node, below) = (format!("{root}/a"), format!("{root}/a/b"));
    witness.create(&node, b"");
    witness.create(&below, b"");
    let client = client(&shared().hosts());
    let cache = started(&client, &root, AUDITED);
    let recorder = Recorder::listen(&cache);
    witness.set_acl(&node, &private());
    witness.set_acl(&below, &private());
    recorder.wait_for_event(EventKind::NodeRemoved, &node);
    assert_lists(&cache, &root, &["a"]);
    witness.delete(&below);
    witness.delete(&node);
    eventually("it is not listed any more", || cache.get_children(&root).expect("children").is_empty());
    assert_eq!(cache.get_data(&node).err().map(|error| error.status()), Some(Status::NoNode));
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_node_that_is_made_private_and_deleted_at_once_is_removed() {
    let root = unique_root("silently");
    let witness = witness();
    witness.create(&root, b"");
    let client = client(&shared().hosts());
    let cache = started(&client, &root, AUDITED);
    let recorder = Recorder::listen(&cache);
    let node = format!("{root}/a");
    for round in 1..=5 {
        witness.create(&node, format!("{round}").as_bytes());
        recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(EventKind::NodeAdded, &node)).count() == round
        });
        witness.set_acl(&node, &private());
        witness.delete(&node);
        recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(EventKind::NodeRemoved, &node)).count() == round
        });
    }
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_node_that_is_made_private_and_replaced_by_an_open_one_is_removed_and_added() {
    let root = unique_root("replaced");
    let witness = witness();
    witness.create(&root, b"");
    let (node, below) = (format!("{root}/a"), format!("{root}/a/b"));
    witness.create(&node, b"old");
    witness.create(&below, b"old");
    let client = client(&shared().hosts());
    let cache = started(&client, &root, &[("audit.interval.ms", "0")]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_kind(EventKind::Initialized, 1);
    // The deletions are not notified of, the creation is: no audit is needed.
    witness.set_acl(&below, &private());
    witness.set_acl(&node, &private());
    witness.delete(&below);
    witness.delete(&node);
    witness.create(&node, b"new");
    recorder.wait_for(|events| events.iter().any(|event| event.data.as_deref() == Some(b"new")));
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(cache.get_data(&below).err().map(|error| error.status()), Some(Status::NoNode));
}

#[test]
fn a_private_node_that_appears_and_goes_without_a_word_is_listed_and_forgotten() {
    let root = unique_root("wordless");
    let witness = witness();
    witness.create(&root, b"");
    let client = client(&shared().hosts());
    let cache = started(&client, &root, AUDITED);
    let recorder = Recorder::listen(&cache);
    let node = format!("{root}/private");
    for _ in 0..3 {
        witness.create_with_acl(&node, b"", &private());
        eventually("it is listed", || cache.get_children(&root).expect("children").len() == 1);
        eventually("it is known to be unreadable", || {
            cache.get_data(&node).err().map(|error| error.status()) == Some(Status::NoPermission)
        });
        assert_same_as_server(&cache, &witness, &root);
        witness.delete(&node);
        eventually("it is not listed any more", || cache.get_children(&root).expect("children").is_empty());
        assert_same_as_server(&cache, &witness, &root);
    }
    let of_nodes = recorder.events().into_iter().filter(|event| event.is_of_a_node()).count();
    assert_eq!(of_nodes, 1, "the root, and nothing else");
}

#[test]
fn an_open_node_below_a_private_one_is_out_of_reach_until_its_parent_opens() {
    let root = unique_root("below");
    let witness = witness();
    witness.create(&root, b"");
    let client = client(&shared().hosts());
    // Without an audit: that an unknown node has a child is notified of, and shows that there is something hidden.
    let cache = started(&client, &root, &[("audit.interval.ms", "0")]);
    let recorder = Recorder::listen(&cache);
    let (closed, open) = (format!("{root}/closed"), format!("{root}/closed/open"));
    witness.create_with_acl(&closed, b"", &private());
    witness.create(&open, b"1");
    eventually("the private node is listed", || cache.get_children(&root).expect("children").len() == 1);
    assert_same_as_server(&cache, &witness, &root);
    assert_unreadable(&cache, &closed);
    assert_unreadable(&cache, &open);
    for data in ["2", "3"] {
        witness.set(&open, data.as_bytes());
    }
    witness.create(&format!("{open}/leaf"), b"");
    witness.delete(&format!("{open}/leaf"));
    assert_same_as_server(&cache, &witness, &root);
    let of_nodes = recorder.events().into_iter().filter(|event| event.is_of_a_node()).count();
    assert_eq!(of_nodes, 1, "the root, and nothing else");

    let audited = started(&client, &root, AUDITED);
    let recorder = Recorder::listen(&audited);
    witness.set_acl(&closed, &Acl::open());
    recorder.wait_for_event(EventKind::NodeAdded, &open);
    assert_eq!(audited.get_data(&open).expect("the open node").data(), b"3");
    assert_same_as_server(&audited, &witness, &root);
    assert_told_the_tree(&recorder, &audited);
}

#[test]
fn a_private_root_is_a_fault_and_its_tree_appears_when_it_opens() {
    let root = unique_root("root");
    let witness = witness();
    witness.create(&root, b"root");
    witness.create(&format!("{root}/a"), b"a");
    witness.set_acl(&root, &private());
    let client = client(&shared().hosts());
    let cache = client.cache(&root, &config(AUDITED)).expect("a cache");
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().expect("started");
    let fault = faults.wait_for(|fault| fault.status == Status::NoPermission);
    assert_eq!(
        (fault.path.as_ref().map(|path| path.as_str()), fault.server_error),
        (Some(root.as_str()), -102)
    );
    initialized(&cache);
    assert_unreadable(&cache, &root);
    assert_unreadable(&cache, &format!("{root}/a"));
    assert_eq!(cache.snapshot().expect("a snapshot").len(), 0);
    assert_same_as_server(&cache, &witness, &root);

    for round in 1..=2 {
        witness.set_acl(&root, &Acl::open());
        recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(EventKind::NodeAdded, &format!("{root}/a"))).count()
                == round
        });
        assert_same_as_server(&cache, &witness, &root);
        witness.set_acl(&root, &private());
        recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(EventKind::NodeRemoved, &root)).count() == round
        });
        assert_unreadable(&cache, &root);
        assert_same_as_server(&cache, &witness, &root);
    }
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn what_became_private_while_disconnected_is_removed_by_the_verification() {
    let root = unique_root("away");
    let witness = witness();
    witness.create(&root, b"");
    for path in ["/small", "/small/below", "/large", "/large/below", "/stays"] {
        let data: &[u8] = if path == "/large" { &LARGE } else { b"small" };
        witness.create(&format!("{root}{path}"), data);
    }
    let proxy = Proxy::start(shared().addr());
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[("audit.interval.ms", "0")]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_kind(EventKind::Initialized, 1);
    for acl in [private(), Acl::open()] {
        let in_step = recorder.events().iter().filter(|event| event.kind == EventKind::InStep).count();
        proxy.refuse(true);
        proxy.drop_connections();
        wait_for_state(&cache, State::Suspended);
        for path in ["/small", "/large"] {
            witness.set_acl(&format!("{root}{path}"), &acl);
        }
        proxy.refuse(false);
        recorder.wait_for_kind(EventKind::InStep, in_step + 1);
        assert_same_as_server(&cache, &witness, &root);
        assert_told_the_tree(&recorder, &cache);
    }
    let told = recorder.events();
    for path in ["/small/below", "/small", "/large/below", "/large"] {
        let path = format!("{root}{path}");
        let kinds: Vec<EventKind> =
            told.iter().filter(|event| event.path == path).map(|event| event.kind).collect();
        assert_eq!(kinds, [EventKind::NodeAdded, EventKind::NodeRemoved, EventKind::NodeAdded], "{path}");
    }
}

#[test]
fn a_scheme_that_the_server_does_not_know_fails_the_wait_instead_of_hanging_it() {
    let root = unique_root("scheme");
    witness().create(&root, b"");
    let client = client_with(&shared().hosts(), &[("auth", "nosuchscheme:whoever")]);
    let of_client = Faults::of_client(&client);
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let of_cache = Faults::of(&cache);
    cache.start().expect("started");
    let began = Instant::now();
    assert_eq!(cache.wait_initialized(None).map_err(|error| error.status()), Err(Status::Auth));
    assert!(began.elapsed() < BOUND);
    for faults in [of_client, of_cache] {
        let fault = faults.wait_for(|fault| fault.status == Status::Auth);
        assert_eq!(fault.server_error, -115);
        assert!(!fault.message.contains("whoever"), "{}", fault.message);
    }
    // One that is started only now learns of it as well.
    let late = client.cache(&root, &config(&[])).expect("a cache");
    late.start().expect("started");
    assert_eq!(late.wait_initialized(Some(BOUND)).map_err(|error| error.status()), Err(Status::Auth));
}
