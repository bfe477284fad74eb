//! A cache that begins with what another one has read: what it shows before there is a server, what it tells then, and what it
//! does not accept.

use std::sync::{Arc, Mutex};

use treecache::EventKind::{ConnectionSuspended, InStep, Initialized, NodeAdded, NodeRemoved, NodeUpdated};
use treecache::{Error, State, Status, TreeCache};
use treecache_test_support::{Acl, Ensemble, Proxy, Server, Verdict, Witness, shared, unique_root};

use crate::common::*;
use crate::subject::*;

/// What kind of server it is.
const EXISTS: i32 = 3;
const PING: i32 = 11;
const ADD_WATCH: i32 = 106;
const MULTI: i32 = 14;
const MULTI_READ: i32 = 22;

fn resets(faults: &Faults) -> usize {
    faults.told().iter().filter(|fault| fault.status == Status::Reset).count()
}

#[test]
fn a_tree_is_read_before_there_is_a_server_and_only_what_differs_is_told_when_there_is() {
    let (witness, root) = (witness(), unique_root("known"));
    plant(&witness, &root, &["/a", "/a/b", "/c", "/d"]);
    let (snapshot, zxid) = {
        let client = client(&shared().hosts());
        let snapshot = started(&client, &root, &[]).snapshot().expect("a snapshot");
        let zxid = snapshot.zxid();
        (snapshot, zxid)
    };
    // The client that has read it is gone, and nobody is there yet.
    let proxy = Proxy::start(shared().addr());
    proxy.refuse(true);
    let client = client(&proxy.hosts());
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start_from(&snapshot).expect("started");
    let data = cache.get_data(format!("{root}/a/b")).expect("it is known");
    assert_eq!((data.data(), cache.state()), (&b"/a/b"[..], (State::Warm, None)));
    let first = cache.snapshot().expect("a snapshot");
    assert_eq!((first.zxid(), first.is_cut(), first.len()), (zxid, true, 5));
    assert_eq!(cache.get_data(format!("{root}/x")).unwrap_err().status(), Status::NoNode);
    assert_eq!(cache.start(), Err(Error::State("the cache was started before")));
    assert_eq!(cache.start_from(&snapshot), Err(Error::State("the cache was started before")));
    recorder.wait_for_event(NodeAdded, &format!("{root}/d"));
    let late = Recorder::listen(&cache);
    assert!(late.wait_for(|events| events.len() == 5).iter().all(|event| event.zxid == zxid));
    let stats = cache.stats();
    assert_eq!((stats.state, stats.versions, stats.cuts, stats.cut_age), (State::Warm, 1, 1, None));
    assert!(!cache.is_initialized());
    let too_soon = cache.wait_initialized(Some(std::time::Duration::from_millis(50)));
    assert_eq!(too_soon.map_err(|error| error.status()), Err(Status::Timeout));

    witness.set(&format!("{root}/c"), b"changed");
    witness.delete(&format!("{root}/d"));
    witness.create(&format!("{root}/e"), b"");
    let opcodes = Arc::new(Mutex::new(Vec::new()));
    let asked = opcodes.clone();
    proxy.on_request(Box::new(move |request| {
        asked.lock().unwrap().push(request.opcode);
        Verdict::Pass
    }));
    proxy.refuse(false);
    for recorder in [&recorder, &late] {
        let told = recorder.wait_for_kind(InStep, 1);
        assert_eq!(outline(&told), ["nodes", "initialized", "in step"]);
        let differences = [(NodeRemoved, "/d"), (NodeUpdated, "/c"), (NodeAdded, "/e")];
        assert_eq!(changes(&told[5..], &root), differences);
        assert_told_the_tree(recorder, &cache);
    }
    assert_same_as_server(&cache, &witness, &root);
    assert_eq!(resets(&faults), 0);
    // A busy server is nudged with pings.
    let is_asked = |opcode: &i32| *opcode > 0 && *opcode != PING;
    let asked: Vec<i32> = opcodes.lock().unwrap().iter().copied().filter(is_asked).collect();
    assert_eq!(
        asked[..4],
        [EXISTS, ADD_WATCH, MULTI, MULTI_READ],
        "the barrier goes before all reads: {asked:?}"
    );
    // It is a cache like any other from then on.
    witness.set(&format!("{root}/c"), b"again");
    assert_same_as_server(&cache, &witness, &root);
    assert_same_as_server(&cache_from(&client, &root, &cache.snapshot().unwrap()), &witness, &root);
}

fn cache_from(client: &treecache::Client, root: &str, snapshot: &treecache::Snapshot) -> TreeCache {
    let cache = client.cache(root, &config(&[])).expect("a cache");
    cache.start_from(snapshot).expect("started");
    initialized(&cache);
    cache
}

#[test]
fn where_nothing_has_changed_nothing_is_told_and_the_version_stays() {
    let (witness, root) = (witness(), unique_root("unchanged"));
    plant(&witness, &root, &["/a", "/b"]);
    let client = client(&shared().hosts());
    let old = started(&client, &root, &[]);
    let snapshot = old.snapshot().expect("a snapshot");
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let recorder = Recorder::listen(&cache);
    cache.start_from(&snapshot).expect("started");
    let told = recorder.wait_for_kind(InStep, 1);
    assert_eq!(kinds(&told), [NodeAdded, NodeAdded, NodeAdded, Initialized, InStep]);
    assert_eq!(cache.snapshot().unwrap().zxid(), snapshot.zxid());
    assert_eq!(cache.stats().versions, 1);
    // Both go on, and neither changes what the other has.
    drop(old);
    witness.set(&format!("{root}/a"), b"new");
    recorder.wait_for_event(NodeUpdated, &format!("{root}/a"));
    assert_eq!(snapshot.get_data(format!("{root}/a")).unwrap().data(), b"/a");
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn a_snapshot_of_another_root_or_chroot_or_of_other_rules_or_data_is_refused_and_the_cache_can_be_started() {
    let (witness, root) = (witness(), unique_root("refused"));
    plant(&witness, &root, &["/a", "/a/b"]);
    let whole = client(&shared().hosts());
    let below = client(&format!("{}{root}", shared().hosts()));
    let snapshot = started(&whole, &format!("{root}/a"), &[]).snapshot().expect("a snapshot");
    let refused = |client: &treecache::Client, root: &str, settings: &[(&str, &str)], status| {
        let cache = client.cache(root, &config(settings)).expect("a cache");
        let error = cache.start_from(&snapshot).unwrap_err();
        assert_eq!((error.status(), cache.state().0), (status, State::Latent), "{error}");
        cache.start().expect("it can be started all the same");
        error.to_string()
    };
    let invalid = Status::InvalidArgument;
    let a = format!("{root}/a");
    assert_eq!(
        refused(&whole, &root, &[], invalid),
        format!("the snapshot is of {a}, and the cache is of {root}")
    );
    assert_eq!(
        refused(&below, "/a", &[], invalid),
        format!("the snapshot is of {a}, and the cache is of /a below the chroot {root}")
    );
    let message = refused(&whole, &a, &[("depth.max", "1")], invalid);
    assert_eq!(message, "the snapshot goes by no rules, and the cache goes by depth.max=1");
    let message = refused(&whole, &a, &[("data", "none")], invalid);
    assert_eq!(message, "the snapshot is made with data=all, and the cache is made with data=none");
    refused(&whole, &a, &[("limit.nodes", "1")], Status::Limit);

    // With the same rules and data it is good.
    let settings = [("depth.max", "1"), ("data", "none"), ("limit.nodes", "2")];
    let old = started(&whole, &a, &settings);
    let cache = whole.cache(&a, &config(&settings)).expect("a cache");
    cache.start_from(&old.snapshot().expect("a snapshot")).expect("started");
    wait_for_state(&cache, State::InStep);
    let faults = Faults::of(&cache);
    witness.create(&format!("{a}/c"), b"");
    let limited = faults.wait_for(|fault| fault.status == Status::Limit);
    assert!(limited.message.contains("limit.nodes=2"), "{limited:?}");
}

#[test]
fn a_snapshot_of_another_ensemble_ends_as_a_reset_and_never_as_a_mixture() {
    let root = "/other";
    // The other one has come farther, or less far, with some of the same names.
    for (ours, theirs) in [(3, 40), (40, 3)] {
        let [old, new] = [(); 2].map(|()| Server::start());
        let [before, after] = [&old, &new].map(|server| Witness::connect(&server.hosts()));
        plant(&before, root, &["/a", "/b"]);
        for n in 0..ours {
            before.set("/other/a", format!("old {n}").as_bytes());
        }
        plant(&after, root, &["/a", "/c"]);
        for n in 0..theirs {
            after.set("/other/a", format!("new {n}").as_bytes());
        }
        let snapshot = started(&client(&old.hosts()), root, &[]).snapshot().expect("a snapshot");
        // So long that a busy machine is in time.
        let client = client_with(&new.hosts(), &[("connect.timeout.ms", "20000")]);
        let another = started(&client, root, &[]);
        let (told, client_faults) = (Recorder::listen(&another), Faults::of_client(&client));
        let cache = client.cache(root, &config(&[])).expect("a cache");
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
        cache.start_from(&snapshot).expect("started");
        assert_eq!(cache.get_data("/other/b").expect("the old tree").data(), b"/b");
        recorder.wait_for_kind(InStep, 1);
        assert_same_as_server(&cache, &after, root);
        assert_told_the_tree(&recorder, &cache);
        assert_eq!(resets(&faults), 1, "{:?}", faults.told());
        assert_eq!(cache.stats().versions, 2, "the old tree, and the new one");
        // The others of that client had nothing of it.
        assert_eq!(client_faults.told(), []);
        let is_disturbed = told.events().iter().any(|event| event.kind == ConnectionSuspended);
        assert!(!is_disturbed && node_events(&told.events()) == 3, "{:?}", told.events());
        assert_eq!(another.state().0, State::InStep);
    }
}

#[test]
fn a_server_that_has_not_come_up_to_the_tree_changes_nothing_of_it() {
    let ensemble = Ensemble::start();
    let (leader, followers) = ensemble.roles();
    let follower = followers[0];
    let [leading, lagging] = [leader, follower].map(|server| &ensemble.servers()[server]);
    let (witness, root) = (Witness::connect(&leading.hosts()), "/lagging");
    plant(&witness, root, &["/a", "/b", "/b/x"]);
    let first = started(&client(&leading.hosts()), root, &[]);
    let behind = client_with(&lagging.hosts(), &[("session.timeout.ms", "60000")]);
    started(&behind, root, &[]).sync(Some(BOUND)).expect("it is connected");
    // What is written now the follower does not know yet when it is asked.
    lagging.pause();
    for n in 0..50 {
        witness.set(&format!("{root}/a"), format!("{n}").as_bytes());
        witness.delete(&format!("{root}/b/x"));
        witness.create(&format!("{root}/b/x"), format!("{n}").as_bytes());
    }
    let ahead = started(&client(&leading.hosts()), root, &[]).snapshot().expect("a snapshot");
    drop(first);
    let cache = behind.cache(root, &config(&[])).expect("a cache");
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start_from(&ahead).expect("started");
    wait_for_state(&cache, State::CatchingUp);
    lagging.resume();
    let told = recorder.wait_for_kind(InStep, 1);
    assert_eq!(kinds(&told)[4..], [Initialized, InStep], "nothing has changed");
    assert_eq!(resets(&faults), 0);
    assert_same_as_server(&cache, &witness, root);
}

#[test]
fn what_this_session_may_not_read_goes_when_the_tree_is_verified() {
    let (witness, root) = (witness(), unique_root("anothers"));
    witness.add_auth("reader", "secret");
    plant(&witness, &root, &["/open"]);
    let acl = Acl::read_only_by("reader", "secret");
    // Of the large one the Stat is asked for by itself, which many servers tell everybody.
    witness.create_with_acl(&format!("{root}/small"), b"secret", &acl);
    witness.create_with_acl(&format!("{root}/large"), &[b'x'; 10_000], &acl);
    let reader = client_with(&shared().hosts(), &[("auth", "digest:reader:secret")]);
    let snapshot = started(&reader, &root, &[]).snapshot().expect("a snapshot");
    assert_eq!(snapshot.len(), 4);
    let nobody = client(&shared().hosts());
    let cache = cache_from(&nobody, &root, &snapshot);
    wait_for_state(&cache, State::InStep);
    for name in ["small", "large"] {
        let error = cache.get_data(format!("{root}/{name}")).unwrap_err();
        assert_eq!(error.status(), Status::NoPermission, "{name}");
    }
    // And the other way round.
    let back = cache_from(&reader, &root, &cache.snapshot().expect("a snapshot"));
    wait_for_state(&back, State::InStep);
    assert_same_as_server(&back, &witness, &root);
}

#[test]
fn a_snapshot_from_before_the_first_version_is_as_good_as_none() {
    let (witness, root) = (witness(), unique_root("nothing"));
    plant(&witness, &root, &["/a"]);
    let client = client(&shared().hosts());
    let latent = client.cache(&root, &config(&[])).expect("a cache");
    let nothing = latent.snapshot().expect("a snapshot");
    assert_same_as_server(&cache_from(&client, &root, &nothing), &witness, &root);
    latent.close();
    assert_eq!(latent.start_from(&nothing), Err(Error::Closed));
    let late = client.cache(&root, &config(&[])).expect("a cache");
    drop(client);
    assert_eq!(late.start_from(&nothing), Err(Error::Closed));
}
