//! What listeners are told, in which order, and when they are told no more.

use std::sync::{Arc, Mutex};

use treecache::EventKind::{ConnectionSuspended, InStep};
use treecache::{EventKind, State, Status, Zxid};
use treecache_test_support::{Op, Proxy, shared, unique_root};

use crate::common::*;
use crate::subject::*;

/// The node events, as kind and path below the root.
fn steps(events: &[Recorded], root: &str) -> Vec<String> {
    let sign = |kind| match kind {
        EventKind::NodeAdded => "+",
        EventKind::NodeUpdated => "~",
        _ => "-",
    };
    let nodes = events.iter().filter(|event| event.is_of_a_node());
    nodes.map(|event| format!("{}{}", sign(event.kind), event.path.replacen(root, "", 1))).collect()
}

#[test]
fn the_first_load_ends_with_initialized_and_then_in_step() {
    let root = unique_root("order");
    let (client, mut writer) = (client(&shared().hosts()), writer());
    writer.create(&root, None, 0).unwrap();
    for n in 0..500 {
        writer.send(&Op::Create { path: &format!("{root}/{n}"), data: Some(b"x"), flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    let cache = client.cache(&root, &config(&[])).unwrap();
    let recorder = Recorder::listen(&cache);
    cache.start().unwrap();
    let events = recorder.wait_for_kind(EventKind::InStep, 1);
    assert_eq!(node_events(&events), 501);
    assert!(events[..501].iter().all(|event| event.kind == EventKind::NodeAdded));
    assert_eq!(kinds(&events[501..]), [EventKind::Initialized, EventKind::InStep]);
    assert!(events[500].last && events[501..].iter().all(|event| !event.last && event.path.is_empty()));
    assert!(events[501..].iter().all(|event| event.zxid >= events[500].zxid));
    // A change that is followed at once is no reason to tell it again.
    writer.set(&root, Some(b"changed")).unwrap();
    let events = recorder.wait_for_event(EventKind::NodeUpdated, &root);
    assert_eq!(events.len(), 504);
}

#[test]
fn a_late_joiner_is_told_the_tree_so_far_and_what_follows() {
    let root = unique_root("late-joiner");
    let (client, witness) = (client(&shared().hosts()), witness());
    for name in ["a", "b", "b/c"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    let cache = started(&client, &root, &[]);
    wait_for_state(&cache, State::InStep);
    let recorder = Recorder::listen(&cache);
    let events = recorder.wait_for_kind(EventKind::Initialized, 1);
    assert_eq!(steps(&events, &root), ["+", "+/a", "+/b", "+/b/c"]);
    assert_eq!(events.iter().map(|event| event.last).collect::<Vec<_>>(), [false, false, false, true, false]);
    witness.set(&format!("{root}/a"), b"changed");
    let events = recorder.wait_for_event(EventKind::NodeUpdated, &format!("{root}/a"));
    assert_eq!(node_events(&events), 5);
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn listeners_that_join_at_any_moment_see_no_gap_and_no_duplicate() {
    let root = unique_root("joiners");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    witness.create(&root, b"");
    let cache = client.cache(&root, &config(&[])).unwrap();
    let mut recorders = vec![Recorder::listen(&cache)];
    cache.start().unwrap();
    for round in 0..30 {
        for n in 0..50 {
            let path = format!("{root}/{}", (round * 7 + n) % 97);
            let op = match round % 3 {
                0 | 1 => Op::Create { path: &path, data: Some(b"x"), flags: 0 },
                _ => Op::Delete { path: &path },
            };
            writer.send(&op).unwrap();
            writer.send_set(&root, Some(path.as_bytes())).unwrap();
        }
        recorders.push(Recorder::listen(&cache));
        // Creations of what is there and deletions of what is not fail, as they should.
        let _ = writer.drain();
    }
    assert_same_as_server(&cache, &witness, &root);
    for recorder in &recorders {
        assert_told_the_tree(recorder, &cache);
    }
}

#[test]
fn listeners_of_a_subtree_are_told_that_subtree_also_behind_a_reconnect() {
    let root = unique_root("subtrees");
    let (witness, mut writer) = (witness(), writer());
    for name in ["a", "a/x", "b"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    let (under, elsewhere) = (format!("{root}/a"), format!("{root}/b"));
    let proxy = Proxy::start(shared().addr());
    let client = client(&proxy.hosts());
    let cache = client.cache(&root, &config(&[("events.capacity", "20")])).unwrap();
    let of_subtree = |settings: &[(&str, &str)]| {
        Recorder::listen_with(&cache, &[&[("listen.under", under.as_str())], settings].concat())
    };
    let early = of_subtree(&[]);
    cache.start().unwrap();
    initialized(&cache);
    early.wait_for_kind(InStep, 1);
    let later = of_subtree(&[("listen.initial", "false"), ("listen.events", "added,updated,removed")]);
    let mut late = Vec::new();
    for round in 0..20 {
        for n in 0..20 {
            let (there, here) = (format!("{elsewhere}/{round}-{n}"), format!("{under}/x/{}", n % 7));
            writer.send(&Op::Create { path: &there, data: Some(b"x"), flags: 0 }).unwrap();
            let op = match (round + n) % 3 {
                0 | 1 => Op::Create { path: &here, data: Some(b"x"), flags: 0 },
                _ => Op::Delete { path: &here },
            };
            writer.send(&op).unwrap();
        }
        late.push(of_subtree(&[]));
        if round % 7 == 3 {
            proxy.drop_connections();
        }
        // Creations of what is there and deletions of what is not fail, as they should.
        let _ = writer.drain();
    }
    assert_same_as_server(&cache, &witness, &root);
    let essence = |tree: Tree| -> Vec<(String, Vec<u8>, Zxid)> {
        let below =
            tree.into_iter().filter(|(path, _)| *path == under || path.starts_with(&format!("{under}/")));
        below.map(|(path, (data, stat))| (path, data, stat.mzxid)).collect()
    };
    let wanted = essence(tree_of(&cache.snapshot().unwrap()));
    for recorder in late.iter().chain([&early]) {
        recorder.wait_for(|events| essence(replay(events)) == wanted);
        assert!(recorder.events().iter().all(|event| !event.path.starts_with(&elsewhere)));
    }
    // It began behind what was there: what it was told, put onto that, is the same.
    let was_there = early.events()[..2].to_vec();
    later.wait_for(|events| {
        let told = [&was_there, events].concat();
        essence(replay(&told)) == wanted
    });
    witness.set(&under, b"end");
    later.wait_for_event(EventKind::NodeUpdated, &under);
    assert!(later.events().iter().all(Recorded::is_of_a_node));
}

#[test]
fn who_has_stopped_listening_is_told_nothing_more() {
    let root = unique_root("unlisten");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = client.cache(&root, &config(&[])).expect("a cache");
    let (leaving, staying) = (Recorder::listen(&cache), Recorder::listen(&cache));
    cache.start().expect("started");
    // The last that comes by itself: no callback is under way at the end.
    leaving.wait_for_kind(EventKind::InStep, 1);
    cache.unlisten(leaving.id).unwrap();
    let told = leaving.events().len();
    assert_eq!(cache.unlisten(leaving.id).unwrap_err().status(), Status::InvalidArgument);
    let path = format!("{root}/a");
    witness.create(&path, b"");
    staying.wait_for_event(EventKind::NodeAdded, &path);
    assert_eq!(leaving.events().len(), told);
    cache.unlisten(staying.id).unwrap();
}

#[test]
fn a_subtree_is_added_parents_first_and_removed_children_first() {
    let root = unique_root("subtree");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    for path in ["/a", "/a/b", "/a/b/c", "/a/d"] {
        witness.create(&format!("{root}{path}"), path.as_bytes());
    }
    recorder.wait_for(|events| node_events(events) >= 5);
    witness.delete_recursive(&format!("{root}/a"));
    let events = recorder.wait_for(|events| node_events(events) >= 9);
    let steps = steps(&events, &root);
    assert_eq!(steps[..5], ["+", "+/a", "+/a/b", "+/a/b/c", "+/a/d"]);
    let at = |step: &str| steps.iter().position(|other| other == step).expect(step);
    assert!(at("-/a/b/c") < at("-/a/b") && at("-/a/b") < at("-/a") && at("-/a/d") < at("-/a"));
    assert_eq!(steps.len(), 9);
    replay(&events);
    for event in events.iter().filter(|event| event.kind == EventKind::NodeRemoved) {
        // The last known data and Stat.
        assert_eq!(event.data.as_deref(), event.path.strip_prefix(&root).map(str::as_bytes));
        assert_eq!(event.stat.unwrap().data_length as usize, event.path.len() - root.len());
    }
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn an_update_carries_the_new_data_and_the_old() {
    let root = unique_root("update");
    let (client, witness) = (client(&shared().hosts()), witness());
    witness.create(&root, b"first");
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    recorder.wait_for_event(EventKind::NodeAdded, &root);
    let stat = witness.set(&root, b"second");
    let events = recorder.wait_for_event(EventKind::NodeUpdated, &root);
    let update = events.iter().find(|event| event.kind == EventKind::NodeUpdated).unwrap();
    assert_eq!(update.data.as_deref(), Some(&b"second"[..]));
    assert_eq!(update.old_data.as_deref(), Some(&b"first"[..]));
    assert_eq!(truth_of(&update.stat.unwrap()), stat);
    assert!(update.zxid >= Zxid(stat.mzxid));
    // The same data again is an update too: mzxid moves.
    let again = witness.set(&root, b"second");
    recorder
        .wait_for(|events| events.iter().any(|event| event.stat.is_some_and(|s| s.mzxid.0 == again.mzxid)));
    assert_told_the_tree(&recorder, &cache);
}

#[test]
fn what_a_transaction_did_is_one_version_and_its_last_event_says_so() {
    let root = unique_root("version");
    let (client, witness, mut writer) = (client(&shared().hosts()), witness(), writer());
    for name in ["a", "b", "b/x", "c"] {
        witness.ensure_path(&format!("{root}/{name}"));
    }
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    let before = recorder.wait_for_kind(EventKind::Initialized, 1).len();
    wait_for_state(&cache, State::InStep);
    let [a, b, bx, c, d, dy] = ["a", "b", "b/x", "c", "d", "d/y"].map(|name| format!("{root}/{name}"));
    let zxid = writer
        .multi(&[
            Op::Create { path: &d, data: None, flags: 0 },
            Op::Set { path: &c, data: Some(b"set") },
            Op::Delete { path: &bx },
            Op::Delete { path: &b },
            Op::Create { path: &dy, data: None, flags: 0 },
            Op::Delete { path: &a },
            Op::Create { path: &a, data: None, flags: 0 },
        ])
        .unwrap();
    let events = recorder.wait_for_event(EventKind::NodeAdded, &dy)[before..].to_vec();
    let events: Vec<Recorded> = events.into_iter().filter(Recorded::is_of_a_node).collect();
    assert_eq!(steps(&events, &root), ["-/a", "-/b/x", "-/b", "+/a", "~/c", "+/d", "+/d/y"]);
    assert!(events.iter().all(|event| event.zxid >= Zxid(zxid) && event.zxid == events[0].zxid));
    assert!(events[6].last && events[..6].iter().all(|event| !event.last));
    assert_same_as_server(&cache, &witness, &root);
}

#[test]
fn the_stats_of_parents_follow_their_children_without_events() {
    let root = unique_root("parents");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let recorder = Recorder::listen(&cache);
    for n in 0..10 {
        witness.create(&format!("{root}/{n}"), b"");
    }
    for n in 0..3 {
        witness.delete(&format!("{root}/{n}"));
    }
    assert_same_as_server(&cache, &witness, &root);
    let stat = *cache.get_data(&root).unwrap().stat();
    assert_eq!((stat.num_children, stat.cversion, stat.version), (7, 13, 0));
    assert_eq!(stat.pzxid.0, witness.stat(&root).unwrap().pzxid);
    assert_told_the_tree(&recorder, &cache);
    let of_root = recorder.events().into_iter().filter(|event| event.path == root);
    assert_eq!(of_root.map(|event| event.kind).collect::<Vec<_>>(), [EventKind::NodeAdded]);
}

#[test]
fn a_panic_of_a_listener_is_a_fault_and_the_next_event_is_told() {
    let root = unique_root("panic");
    let (client, witness) = (client(&shared().hosts()), witness());
    let cache = started(&client, &root, &[]);
    let faults = Faults::of(&cache);
    cache
        .listen(|event| assert!(event.path.is_none_or(|path| !path.ends_with("/bad")), "that is bad"))
        .unwrap();
    let recorder = Recorder::listen(&cache);
    let bad = format!("{root}/bad");
    witness.create(&bad, b"");
    let fault = faults.wait_for(|fault| fault.status == Status::Panic);
    assert_eq!(fault.path.as_ref().map(|path| path.as_str()), Some(bad.as_str()));
    assert!(fault.message.contains("that is bad"), "{}", fault.message);
    witness.create(&format!("{root}/good"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/good"));
    assert_eq!(faults.told().len(), 1);
}

#[test]
fn the_state_has_changed_before_a_listener_is_told_so() {
    let (root, witness) = (unique_root("state"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asked, note) = (Arc::downgrade(&subject.cache), seen.clone());
    subject
        .cache
        .listen(move |event| {
            if let Some(cache) = asked.upgrade() {
                note.lock().expect("states").push((event.kind, cache.state().0));
            }
        })
        .expect("a listener");
    // It stays as it is until the listener has looked.
    let looked = |kind, times| {
        eventually("the listener was told", || {
            seen.lock().expect("states").iter().filter(|(told, _)| *told == kind).count() == times
        });
    };
    for round in 1..=20 {
        while_disconnected(&proxy, &subject, || looked(ConnectionSuspended, round));
        looked(InStep, round);
        wait_for_state(&subject.cache, State::InStep);
    }
    let mut wrong = seen.lock().expect("states").clone();
    wrong.retain(|(kind, state)| match kind {
        ConnectionSuspended => *state != State::Suspended,
        InStep => *state != State::InStep,
        _ => false,
    });
    assert_eq!(wrong, []);
}
