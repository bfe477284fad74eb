//! What a program reads: from memory, and by paths as ZooKeeper has them.

use treecache::{State, Status, Walk, Zxid};
use treecache_test_support::{Proxy, shared, unique_root};

use crate::common::*;

#[test]
fn data_and_children_are_served_without_remote_calls() {
    let root = unique_root("local");
    let witness = witness();
    for name in ["a", "b"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    witness.set(&format!("{root}/a"), b"data");
    let proxy = Proxy::start(shared().addr());
    // So long a timeout that no ping comes in between.
    let client = client_with(&proxy.hosts(), &[("session.timeout.ms", "60000")]);
    let cache = started(&client, &root, &[]);
    wait_for_state(&cache, State::InStep);
    let asked = proxy.bytes_to_server();
    for _ in 0..1_000 {
        assert_eq!(cache.get_data(format!("{root}/a")).unwrap().data(), b"data");
        assert_eq!(cache.get_children(&root).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(cache.get_data(format!("{root}/c")).unwrap_err().status(), Status::NoNode);
        assert_eq!(cache.snapshot().unwrap().len(), 3);
    }
    assert_eq!(proxy.bytes_to_server(), asked);
}

#[test]
fn a_path_outside_and_a_node_that_is_not_there_are_told_apart() {
    let root = unique_root("missing");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.ensure_path(&format!("{root}/a"));
    let cache = started(&client, &root, &[]);
    let snapshot = cache.snapshot().unwrap();
    for (path, status) in [
        ("/", Status::OutOfTree),
        ("/elsewhere", Status::OutOfTree),
        (&root[..root.len() - 1], Status::OutOfTree),
        (&format!("{root}/b"), Status::NoNode),
        // The seed gives the data of the nearest node that is there.
        (&format!("{root}/a/b/c"), Status::NoNode),
        (&root[1..], Status::InvalidArgument),
        ("", Status::InvalidArgument),
        (&format!("{root}//a"), Status::InvalidArgument),
        (&format!("{root}/./a"), Status::InvalidArgument),
    ] {
        assert_eq!(cache.get_data(path).unwrap_err().status(), status, "{path:?}");
        assert_eq!(cache.get_children(path).err().unwrap().status(), status, "{path:?}");
        assert_eq!(snapshot.get_data(path).unwrap_err().status(), status, "{path:?}");
        assert_eq!(snapshot.walk(path, |_, _| Walk::Continue).unwrap_err().status(), status, "{path:?}");
    }
}

#[test]
fn null_and_empty_data_are_both_of_length_zero() {
    let root = unique_root("null");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    let (null, empty) = (format!("{root}/null"), format!("{root}/empty"));
    witness.create(&root, b"");
    writer.create(&null, None, 0).unwrap();
    writer.create(&empty, Some(b""), 0).unwrap();
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    for round in 0..2 {
        assert_same_as_server(&cache, &witness, &root);
        for path in [&null, &empty] {
            let node = cache.get_data(path).unwrap();
            assert_eq!((node.data(), node.stat().data_length, node.stat().version), (&b""[..], 0, 2 * round));
        }
        // From something to null, and to the other kind of nothing.
        for (path, nothing) in [(&null, Some(&b""[..])), (&empty, None)] {
            writer.set(path, Some(b"something")).unwrap();
            let zxid = writer.set(path, nothing).unwrap();
            recorder.wait_for(|events| {
                events.iter().any(|event| event.stat.is_some_and(|stat| stat.mzxid == Zxid(zxid)))
            });
        }
    }
    assert_told_the_tree(&recorder, &cache);
}
