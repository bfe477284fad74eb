//! The root of a tree, and the chroot above it: absent, created, deleted, replaced, and all that is not below it.

use std::time::{Duration, Instant};

use treecache::EventKind::{InStep, Initialized, NodeAdded, NodeRemoved, NodeUpdated};
use treecache::{Error, EventKind, State, Status};
use treecache_test_support::{
    Acl, Op, Proxy, Server, Witness, Writer, expire_session, password_of, shared, unique_root,
};

use crate::common::*;
use crate::subject::*;

/// So long that a busy machine is in time.
const PATIENT: &[(&str, &str)] = &[("connect.timeout.ms", "20000")];

#[test]
fn a_missing_root_is_created_with_its_parents() {
    let base = unique_root("create");
    let root = format!("{base}/parent/root");
    let (client, witness) = (client_with(&shared().hosts(), PATIENT), witness());
    let cache = client.cache(&root, &config(&[("root.create", "true")])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    initialized(&cache);
    assert_eq!(witness.get(&root).expect("the root").0, b"");
    assert_same_as_server(&cache, &witness, &root);
    let events = recorder.wait_for_kind(EventKind::InStep, 1);
    assert_eq!(kinds(&events), [NodeAdded, Initialized, InStep]);
    assert_eq!(faults.told(), []);
    // Anyone may write there.
    witness.create(&format!("{root}/a"), b"");
    witness.delete_recursive(&base);
    recorder.wait_for_event(EventKind::NodeRemoved, &root);
}

#[test]
fn with_root_container_what_is_above_the_root_is_made_as_containers() {
    let server = Server::builder().property("znode.container.checkIntervalMs", "100").start();
    let (chroot, witness) = ("/base/app", Witness::connect(&server.hosts()));
    witness.create("/base", b"");
    let client = client_with(&format!("{}{chroot}", server.hosts()), PATIENT);
    let cache = client.cache("/parent/root", &config(&[("root.container", "true")])).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    initialized(&cache);
    recorder.wait_for_kind(EventKind::InStep, 1);
    assert_eq!(faults.told(), []);
    // Nothing in a Stat tells a container. The root is none: it is there without children, and keeps its parents there.
    let watching = self::client(&server.hosts());
    let whole = started(&watching, "/base", &[]);
    assert_same_as_server(&whole, &witness, "/base");
    let child = format!("{chroot}/parent/root/child");
    witness.create(&child, b"");
    witness.delete(&child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(witness.exists(&format!("{chroot}/parent/root")));
    // With it, the server removes its parents, one after the other, and not what was there before.
    witness.delete(&format!("{chroot}/parent/root"));
    let deadline = Instant::now() + BOUND;
    while witness.exists(chroot) {
        assert!(Instant::now() < deadline, "its parents are no containers");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(witness.exists("/base"));
    assert_same_as_server(&whole, &witness, "/base");
}

#[test]
fn a_missing_root_is_created_with_the_chroot_and_paths_are_relative_to_it() {
    let chroot = format!("{}/deep", unique_root("chroot"));
    let client = client(&format!("{}{chroot}", shared().hosts()));
    let witness = witness();
    let cache = started(&client, "/a/b", &[]);
    let recorder = Recorder::listen(&cache);
    assert!(witness.exists(&format!("{chroot}/a/b")));
    witness.create(&format!("{chroot}/a/b/c"), b"data");
    let events = recorder.wait_for_event(EventKind::NodeAdded, "/a/b/c");
    assert_eq!(replay(&events).keys().collect::<Vec<_>>(), ["/a/b", "/a/b/c"]);
    assert_eq!(cache.get_data("/a/b/c").unwrap().data(), b"data");
    assert_eq!(cache.get_data(format!("{chroot}/a/b")).unwrap_err().status(), Status::OutOfTree);

    // The chroot itself as a tree: there, `zookeeper` is a name like any other.
    let whole = started(&client, "/", &[]);
    let everything = Recorder::listen(&whole);
    witness.create(&format!("{chroot}/zookeeper"), b"ours");
    everything.wait_for_event(EventKind::NodeAdded, "/zookeeper");
    assert_eq!(whole.get_data("/zookeeper").unwrap().data(), b"ours");
    assert_eq!(whole.get_children("/").unwrap().names().collect::<Vec<_>>(), ["a", "zookeeper"]);
    witness.delete(&format!("{chroot}/zookeeper"));
    everything.wait_for_event(EventKind::NodeRemoved, "/zookeeper");
    assert_told_the_tree(&everything, &whole);
}

#[test]
fn a_chroot_that_is_missing_is_created_for_the_root_of_all_too() {
    let chroot = unique_root("chroot-root");
    let client = client(&format!("{}{chroot}", shared().hosts()));
    let cache = started(&client, "/", &[]);
    assert!(witness().exists(&chroot));
    assert_eq!(cache.get_data("/").unwrap().data(), b"");
    let waiting = client.cache("/missing", &config(&[("root.create", "false")])).unwrap();
    waiting.start().unwrap();
    initialized(&waiting);
    assert!(!witness().exists(&format!("{chroot}/missing")));
}

#[test]
fn without_root_create_a_missing_root_is_an_empty_tree_until_it_appears() {
    let base = unique_root("wait");
    let root = format!("{base}/parent/root");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = client.cache(&root, &config(&[("root.create", "false")])).unwrap();
    let recorder = Recorder::listen(&cache);
    cache.start().unwrap();
    initialized(&cache);
    let events = recorder.wait_for_kind(EventKind::InStep, 1);
    assert_eq!(kinds(&events), [EventKind::Initialized, EventKind::InStep]);
    for path in [root.clone(), format!("{root}/a")] {
        assert_eq!(cache.get_data(&path).unwrap_err().status(), Status::NoNode);
        assert_eq!(cache.get_children(&path).err().unwrap().status(), Status::NoNode);
    }
    assert!(cache.snapshot().unwrap().is_empty() && cache.snapshot().unwrap().is_cut());
    assert!(!witness.exists(&base));

    witness.ensure_path(&format!("{root}/a"));
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/a"));
    assert_same_as_server(&cache, &witness, &root);
    witness.delete_recursive(&base);
    recorder.wait_for_event(EventKind::NodeRemoved, &root);
    witness.ensure_path(&root);
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_root_that_may_not_be_created_is_a_fault_and_then_waited_for() {
    let parent = unique_root("uncreatable");
    let root = format!("{parent}/root");
    let mut admin = Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session");
    admin.create(&parent, None, 0).expect("the parent");
    admin.add_auth("admin", "pw").expect("authentication");
    admin
        .set_acl(&parent, &[Acl::digest(Acl::ALL, "admin", "pw"), Acl::world(Acl::READ)])
        .expect("an ACL that lets nobody else create");
    let client = client(&shared().hosts());
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().expect("started");
    let fault = faults.wait_for(|fault| fault.status == Status::NoPermission);
    assert_eq!(
        (fault.path.as_ref().map(|path| path.as_str()), fault.server_error),
        (Some(root.as_str()), -102)
    );
    assert!(fault.message.contains(&root), "{}", fault.message);
    initialized(&cache);
    assert_eq!(cache.get_data(&root).err(), Some(Error::NoNode(root.clone())));
    let witness = witness();
    assert_same_as_server(&cache, &witness, &root);

    admin.create(&root, Some(b"at last"), 0).expect("the root");
    recorder.wait_for_event(EventKind::NodeAdded, &root);
    assert_eq!(cache.get_data(&root).expect("the root").data(), b"at last");
    assert_same_as_server(&cache, &witness, &root);
    assert_eq!(faults.told().len(), 1, "{:#?}", faults.told());
}

#[test]
fn a_root_that_is_deleted_and_recreated_goes_and_comes_with_all_below_it() {
    let root = unique_root("root-again");
    let (client, witness) = (client(&shared().hosts()), witness());
    for path in ["/a", "/a/b", "/c"] {
        witness.ensure_path(&format!("{root}{path}"));
    }
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for(|events| node_events(events) >= 4);
    witness.delete_recursive(&root);
    let events = recorder.wait_for_event(EventKind::NodeRemoved, &root);
    assert!(replay(&events).is_empty());
    wait_for_state(&cache, State::InStep);
    assert_eq!(cache.get_data(&root).unwrap_err().status(), Status::NoNode);
    assert_eq!(cache.snapshot().unwrap().len(), 0);
    // Started with root.create=true, it is not created over and over.
    assert!(!witness.exists(&root));

    witness.create(&root, b"again");
    witness.create(&format!("{root}/x"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/x"));
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_root_that_was_there_at_the_start_is_not_created_again_when_it_is_deleted() {
    let witness = witness();
    // Deleted before the eyes of the cache, or while it is away.
    for is_away in [false, true] {
        let root = unique_root("root-gone");
        witness.ensure_path(&format!("{root}/a"));
        let proxy = Proxy::start(shared().addr());
        let client = client(&proxy.hosts());
        let cache = started(&client, &root, &[("root.create", "true")]);
        let recorder = Recorder::listen(&cache);
        assert_same_as_server(&cache, &witness, &root);
        proxy.refuse(is_away);
        if is_away {
            proxy.drop_connections();
            recorder.wait_for_kind(EventKind::ConnectionSuspended, 1);
        }
        witness.delete_recursive(&root);
        proxy.refuse(false);
        recorder.wait_for_event(EventKind::NodeRemoved, &root);
        assert_same_as_server(&cache, &witness, &root);
        // Connected once more, with nothing there.
        proxy.drop_connections();
        let times = 1 + usize::from(is_away);
        recorder.wait_for_kind(EventKind::ConnectionReconnected, times);
        assert_same_as_server(&cache, &witness, &root);
        assert!(!witness.exists(&root), "created again");
    }
}

#[test]
fn a_root_with_children_that_is_replaced_by_one_transaction_is_followed() {
    let root = unique_root("root-multi");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    let (a, b) = (format!("{root}/a"), format!("{root}/b"));
    witness.create(&root, b"1");
    witness.create(&a, b"1");
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for(|events| node_events(events) >= 2);
    for round in 0..50 {
        let data = format!("{round}");
        let (gone, new) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        writer
            .multi(&[
                Op::Delete { path: gone },
                Op::Delete { path: &root },
                Op::Create { path: &root, data: Some(data.as_bytes()), flags: 0 },
                Op::Create { path: new, data: Some(data.as_bytes()), flags: 0 },
            ])
            .unwrap();
    }
    assert_same_as_server(&cache, &witness, &root);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn a_root_that_others_delete_is_not_created_again() {
    let (root, witness) = (unique_root("deleted"), witness());
    let mut writer = writer();
    let mut subject = Subject::in_step(&shared().hosts(), &root, &[]);
    assert!(witness.exists(&root), "it was created at the start");
    subject.reader.take();
    writer.delete(&root).expect("a deletion");
    // So quickly that it is gone again before it was read.
    for _ in 0..300 {
        for op in [Op::Create { path: &root, data: None, flags: 0 }, Op::Delete { path: &root }] {
            writer.send(&op).expect("a write");
        }
    }
    writer.drain().expect("a root that nobody else creates");
    eventually("it is gone", || subject.cache.get_data(&root).is_err());
    subject.assert_recovered(&witness, &root);
    assert!(!witness.exists(&root));
}

#[test]
fn a_root_recreated_while_disconnected_takes_its_whole_old_tree_with_it() {
    let (root, witness) = (unique_root("root-recreated"), witness());
    plant(&witness, &root, &["/a", "/a/b"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let told = while_disconnected(&proxy, &subject, || {
        witness.delete_recursive(&root);
        plant(&witness, &root, &["/a", "/a/b"]);
    });
    let expected = [
        (NodeRemoved, "/a/b"),
        (NodeRemoved, "/a"),
        (NodeRemoved, ""),
        (NodeAdded, ""),
        (NodeAdded, "/a"),
        (NodeAdded, "/a/b"),
    ];
    assert_eq!(changes(&told, &root), expected);
    subject.reader.take(); // it may have seen that there was no root for a moment
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_root_that_is_deleted_while_disconnected_and_comes_back_later_is_followed() {
    let (root, witness) = (unique_root("goes"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let told = while_disconnected(&proxy, &subject, || witness.delete_recursive(&root));
    assert_eq!(changes(&told, &root), [(NodeRemoved, "/a"), (NodeRemoved, "")]);
    assert_eq!(subject.cache.get_data(&root).err(), Some(Error::NoNode(root.clone())));
    subject.reader.take();
    plant(&witness, &root, &["/b"]);
    subject.recorder.wait_for_event(NodeAdded, &format!("{root}/b"));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_session_that_expires_while_the_root_is_absent_still_waits_for_the_root() {
    let witness = witness();
    for appears_meanwhile in [true, false] {
        let root = unique_root("absent");
        let proxy = Proxy::start(shared().addr());
        let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("root.create", "false")]);
        assert_eq!(subject.cache.get_data(&root).err(), Some(Error::NoNode(root.clone())));
        let session = proxy.last_session();
        let told = while_disconnected(&proxy, &subject, || {
            expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
            if appears_meanwhile {
                plant(&witness, &root, &["/a"]);
            }
        });
        if appears_meanwhile {
            assert_eq!(
                outline(&told),
                ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]
            );
        } else {
            assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "initialized", "in step"]);
            plant(&witness, &root, &["/a"]);
        }
        subject.recorder.wait_for_event(NodeAdded, &format!("{root}/a"));
        subject.assert_recovered(&witness, &root);
    }
}

#[test]
fn a_chroot_is_kept_through_reconnects_and_new_sessions() {
    let (chroot, witness) = (unique_root("chroot"), witness());
    plant(&witness, &chroot, &["/root", "/root/a", "/rooted"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&format!("{}{chroot}", proxy.hosts()), "/root", &[]);
    for round in 0..2 {
        let told = while_disconnected(&proxy, &subject, || {
            if round == 1 {
                let session = proxy.last_session();
                expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
            }
            witness.create(&format!("{chroot}/root/new{round}"), b"new");
            witness.create(&format!("{chroot}/rooted/new{round}"), b"new");
        });
        assert_eq!(changes(&told, "/root"), [(NodeAdded, &format!("/new{round}")[..])]);
        witness.set(&format!("{chroot}/root/a"), format!("{round}").as_bytes());
        subject.recorder.wait_for(|events| {
            events
                .iter()
                .any(|event| event.is(NodeUpdated, "/root/a") && event.data == Some(vec![b'0' + round]))
        });
    }
    wait_for_state(&subject.cache, State::InStep);
    subject.reader.take().expect("a reader").stop();
    assert_told_the_tree(&subject.recorder, &subject.cache);
    let names = subject.cache.get_children("/root").expect("children");
    assert!(names.names().eq(["a", "new0", "new1"]));
}

#[test]
fn the_root_of_all_is_followed_through_deletions_without_zookeepers_own_nodes() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    let client = client(&server.hosts());
    for path in ["/a/b/c", "/d", "/zookeeperlike/x"] {
        witness.ensure_path(path);
    }
    let cache = started(&client, "/", &[]);
    let recorder = Recorder::listen(&cache);
    assert_same_as_server(&cache, &witness, "/");
    assert_eq!(cache.get_children("/").unwrap().names().collect::<Vec<_>>(), ["a", "d", "zookeeperlike"]);
    for path in ["/zookeeper", "/zookeeper/quota"] {
        assert_eq!(cache.get_data(path).unwrap_err().status(), Status::NoNode, "{path}");
    }
    witness.delete_recursive("/a");
    witness.delete("/d");
    witness.create("/e", b"e");
    witness.create("/zookeeper/quota/e", b"");
    witness.set("/zookeeper/quota", b"changed");
    witness.set("/", b"root");
    witness.delete("/zookeeper/quota/e");
    witness.create("/f", b"f");
    recorder.wait_for_event(EventKind::NodeAdded, "/f");
    assert_same_as_server(&cache, &witness, "/");
    assert_told_the_tree(&recorder, &cache);
    assert_eq!(cache.get_data("/a/b").unwrap_err().status(), Status::NoNode);
    assert!(recorder.events().iter().all(|event| !event.path.starts_with("/zookeeper/")));
    assert_eq!(cache.get_data("/").unwrap().data(), b"root");
}

#[test]
fn a_sibling_whose_name_begins_like_the_root_is_outside() {
    let root = unique_root("foo");
    let sibling = format!("{root}bar");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.create(&root, b"foo");
    witness.create(&sibling, b"foobar");
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    witness.set(&sibling, b"changed");
    witness.ensure_path(&format!("{sibling}/child"));
    witness.create(&format!("{root}/bar"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/bar"));
    assert_eq!(cache.get_data(&sibling).unwrap_err().status(), Status::OutOfTree);
    assert_eq!(cache.get_data(format!("{sibling}/child")).unwrap_err().status(), Status::OutOfTree);
    assert_eq!(replay(&recorder.events()).keys().collect::<Vec<_>>(), [&root, &format!("{root}/bar")]);
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_trailing_slash_is_refused_for_the_root_and_for_reads() {
    let root = unique_root("slash");
    let client = client(&shared().hosts());
    let slashed = format!("{root}/");
    assert_eq!(client.cache(&slashed, &config(&[])).err().unwrap().status(), Status::InvalidArgument);
    let cache = started(&client, &root, &[]);
    assert_eq!(cache.get_data(&slashed).unwrap_err().status(), Status::InvalidArgument);
    assert_eq!(cache.get_children(&slashed).err().unwrap().status(), Status::InvalidArgument);
}
