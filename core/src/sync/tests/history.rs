//! One history: what shows that a server has another one than the tree was read in, what only looks like it, and
//! what has no date.

use super::model::{ROOT, World, Write, options, path};
use super::*;
use crate::sync::{Breach, Input};

/// A cache in step with a root, two small nodes and a large one.
fn shop() -> World {
    let nodes = [create(""), create("/a"), create("/b"), create("/big"), set("/big", 9000)];
    let mut world = World::new(options(), 1);
    nodes.into_iter().for_each(|write| world.write(&[write]));
    world.connect();
    world.rest();
    world.assert_in_step();
    world.asked = Asked::default();
    world
}

/// The cache is disconnected; the server is put back by so many transactions, and goes on with these.
fn put_back(world: &mut World, resumes: bool, by: i64, writes: &[Write]) {
    world.disconnect();
    world.resumes = resumes;
    let zxid = Zxid(world.server.zxid.0 - by);
    world.server.put_back(zxid);
    writes.iter().for_each(|write| world.write(std::slice::from_ref(write)));
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_server_that_has_lost_its_newest_changes_and_come_to_the_same_zxid_is_told_from_the_one_before() {
    let mut last: Vec<(Write, Write)> = vec![
        (set("/a", 3), set("/b", 3)),
        (set("/a", 3), set("/a", 4)),
        (set("/big", 9001), set("/big", 9001)),
        (create("/c"), create("/d")),
        (create("/c"), create("/c")),
        (delete("/a"), delete("/b")),
    ];
    last.extend((0..last.len()).map(|at| (last[at].1.clone(), last[at].0.clone())).collect::<Vec<_>>());
    for (was, is) in last {
        let mut world = shop();
        world.write(std::slice::from_ref(&was));
        world.rest();
        put_back(&mut world, true, 1, std::slice::from_ref(&is));
        assert_eq!(world.version().zxid, world.server.zxid, "{was:?} became {is:?}");
    }
}

#[test]
fn a_new_session_says_nothing_of_what_happened_before_it() {
    // All is lost, and the same script has filled the server as far as the cache has seen it: the session of the cache
    // is the last transaction that was missing.
    for more in [0, 1, 7] {
        let mut world = shop();
        let names = ["", "/x", "/y", "/big"];
        let mut writes: Vec<_> = names.iter().map(|name| create(name)).collect();
        writes.push(set("/big", 9000));
        writes.extend((0..more).map(|n| create(&format!("/more{n}"))));
        let all = world.server.zxid.0;
        put_back(&mut world, false, all, &writes);
        assert_eq!(world.resets(), 1, "the root is another one");
    }
}

#[test]
fn what_is_believed_of_the_same_session_is_not_believed_of_another() {
    // The server was put back to behind the newest change of the tree, and the change since is of none of the anchors.
    let mut world = World::in_step_with(&wide(200));
    for number in 0..40 {
        world.write(&[set(&format!("/{}", 100 + number), 3)]);
    }
    world.write(&[]);
    world.sync(1);
    world.rest();
    put_back(&mut world, false, 1, &[set("/7", 3)]);
    assert_eq!(world.progress.resyncs, 1);
}

#[test]
fn what_no_single_history_can_hold_is_told_and_all_is_read_anew() {
    for (what, by, writes) in [
        ("one zxid with two times of creation", 2, vec![create("/big"), set("/big", 9000), set("/a", 1)]),
        ("one zxid with two times of a change", 1, vec![set("/big", 9000), set("/a", 1)]),
        ("one zxid with two lengths", 1, vec![set("/big", 9001), set("/a", 1)]),
        ("older data", 1, vec![set("/a", 1), set("/a", 2)]),
    ] {
        let mut world = shop();
        put_back(&mut world, true, by, &writes);
        assert_eq!(world.resets(), 1, "{what}");
    }
    // Other children, as many, in a list that has moved as often: the two of the old branch are not there.
    let mut world = World::in_step_with(&[create("")]);
    world.write(&[create("/a"), create("/b")]);
    world.rest();
    put_back(&mut world, true, 1, &[create("/c")]);
    world.assert_in_step();
    let mut world = World::in_step_with(&[create("")]);
    world.write(&[create("/a")]);
    world.rest();
    world.disconnect();
    world.server.put_back(Zxid(world.server.zxid.0 - 1));
    world.write(&[create("/b")]);
    world.write(&[]);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.resets(), 1, "the list is the same by its numbers, and lacks a child");
}

#[test]
fn what_shows_another_history_is_told_before_anything_of_that_is_published() {
    // One reply would have shown it and been a cut.
    let mut world = World::in_step_with(&[create("")]);
    let before = cuts(&world);
    put_back(&mut world, true, 1, &[create(""), create("/a")]);
    assert_eq!((world.resets(), cuts(&world)), (1, before + 1));
}

#[test]
fn what_a_notification_took_out_of_the_tree_was_seen_all_the_same() {
    let mut world = World::in_step_with(&[create("")]);
    world.write(&[create("/z")]);
    world.write(&[create("/a")]);
    world.rest();
    world.write(&[delete("/a")]);
    world.write(&[create("/a")]);
    while world.deliver() {}
    assert!(world.version().tree.get("a").is_some(), "it was not read again yet");
    put_back(&mut world, true, 4, &[create("/a"), set("/a", 1), set("/a", 2), set("/a", 3)]);
    assert_eq!(world.resets(), 1, "the new one is older than the one that was published");
}

#[test]
fn what_was_shown_of_a_load_that_was_not_over_was_seen_too() {
    let mut world = World::new(options(), 1);
    (0..5).for_each(|_| world.write(&[]));
    world.write(&wide(600));
    world.connect();
    // A part of the tree is shown while the rest is being read.
    while world.told_nothing() {
        assert!(world.serve() && world.deliver(), "there is more to read");
        world.advance(Duration::from_millis(60));
    }
    assert!(!world.version().is_complete && world.version().tree.get("").is_some());
    world.write(&(0..600).map(|n| delete(&format!("/{n}"))).chain([delete("")]).collect::<Vec<_>>());
    while world.deliver() {}
    world.disconnect();
    world.resumes = false;
    world.server.put_back(Zxid(2));
    world.write(&[create("")]);
    (0..20).for_each(|_| world.write(&[]));
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.resets(), 1, "the root is older than the one that was shown");
}

#[test]
fn other_children_of_the_same_number_are_found_though_no_number_shows_them() {
    // Where that is evidence, and where nothing is.
    for (chroot, resets) in [("/", 1), ("/zookeeper", 0)] {
        let mut world = World::below(chroot, options(), 1);
        world.write(&[create(""), create("/dir")]);
        world.connect();
        world.rest();
        world.write(&[create("/dir/a")]);
        world.rest();
        put_back(&mut world, false, 1, &[create("/dir/b"), set("", 3)]);
        assert!(world.version().tree.get("dir/b").is_some());
        assert_eq!(world.resets(), resets);
    }
}

#[test]
fn what_is_notified_in_a_verification_explains_no_list_of_another_history() {
    // Notified before the verification begins, and while the root is being read for it.
    for is_read in [false, true] {
        let mut world = World::in_step_with(&[create("")]);
        let shared = world.server.zxid;
        world.write(&[create("/a")]);
        world.rest();
        world.disconnect();
        world.resumes = false;
        world.server.put_back(shared);
        world.write(&[create("/b")]);
        world.connect();
        assert!(world.serve() && world.deliver(), "the watch");
        if is_read {
            world.advance(Duration::from_millis(1));
        }
        // One child more by one creation: so the numbers say.
        world.write(&[create("/a")]);
        world.rest();
        world.assert_in_step();
    }
}

#[test]
fn what_a_healthy_ensemble_does_is_no_other_history() {
    let audited = || Options { audit_interval: Duration::from_secs(1), ..options() };
    // Deleted and made again while the cache is away; and while it is there.
    for away in [true, false] {
        let mut world = shop();
        if away {
            world.disconnect();
        }
        world.write(&[delete("/a"), create("/a"), delete("/b")]);
        world.write(&[delete("/big")]);
        world.write(&[create("/big")]);
        if away {
            world.connect();
        }
        world.rest();
        world.assert_in_step();
        assert_eq!(world.breaches, []);
    }
    // A notification that was not read, and then a server that has not heard of it.
    for change in [set("/a", 3), delete("/a"), create("/c"), delete("")] {
        let mut world = shop();
        world.write(&[change]);
        world.deliver();
        world.disconnect();
        world.server.fall_behind();
        world.connect();
        world.rest();
        assert_eq!(world.breaches, []);
    }
    // What an ACL hides, found by the audit: private nodes that come and go, and one that was private for a while.
    let mut world = World::new(audited(), 1);
    world.strict = false;
    [create(""), create("/a"), create("/b")].into_iter().for_each(|write| world.write(&[write]));
    world.connect();
    world.rest_for(Duration::from_millis(10));
    let hidden = |name: &str| format!("{ROOT}{name}");
    world.write(&[Write::CreatePrivate(hidden("/p"))]);
    world.rest_for(Duration::from_secs(3));
    world.write(&[Write::Open(hidden("/a"), false)]);
    world.write(&[delete("/a")]);
    world.write(&[delete("/p")]);
    world.rest_for(Duration::from_secs(3));
    world.write(&[Write::Open(hidden("/b"), false)]);
    world.write(&[set("/b", 3)]);
    world.write(&[Write::Open(hidden("/b"), true)]);
    world.rest_for(Duration::from_secs(3));
    world.assert_in_step();
    assert_eq!(world.breaches, []);
}

#[test]
fn a_child_that_is_missing_is_no_evidence_before_its_parent_was_read_behind_it() {
    let mut world = World::in_step_with(&wide(600));
    world.disconnect();
    world.write(&[]);
    world.connect();
    while world.asked.nodes < 60 {
        if !(world.serve() || world.deliver()) {
            world.advance(Duration::from_millis(1));
        }
    }
    // The root was read as it was. Behind that a child goes, of which nothing notifies.
    world.forget_watches();
    world.write(&[delete("/99")]);
    world.rest();
    world.assert_in_step();
    assert_eq!(world.breaches, []);
}

#[test]
fn a_list_whose_creations_are_not_counted_any_more_is_read_whenever_it_may_have_changed() {
    let mut world = World::new(options(), 1);
    world.write(&[create(""), create("/a")]);
    world.server.saturate(ROOT);
    world.connect();
    world.rest();
    world.assert_in_step();
    for n in 0..3 {
        world.write(&[create(&format!("/new{n}"))]);
        world.rest();
        world.assert_in_step();
    }
    world.disconnect();
    world.write(&[create("/away")]);
    world.connect();
    world.rest();
    world.assert_in_step();
    world.write(&[delete("/a"), create("/b")]);
    world.rest();
    world.assert_in_step();
    assert_eq!(world.breaches, []);
}

#[test]
fn what_is_found_before_the_first_transaction_of_an_epoch_has_no_date_until_a_barrier_gives_it_one() {
    let mut world = shop();
    world.disconnect();
    world.write(&[set("/a", 3)]);
    let old = world.server.zxid;
    // The new leader; a follower would still name the last transaction of the old epoch.
    world.server.zxid = Zxid(1 << 32);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!((world.asked.syncs, world.version().zxid), (1, Zxid(1 << 32 | 1)));
    assert!(world.versions.iter().all(|version| version.zxid <= old || version.zxid.is_transaction()));
    // Nothing is asked for again, and what was found there is known by its date.
    world.asked = Asked::default();
    world.disconnect();
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!((world.asked.syncs, world.progress.resyncs), (0, 1));
}

#[test]
fn what_a_leader_without_a_transaction_was_found_to_have_is_verified_behind_it() {
    let mut world = shop();
    world.disconnect();
    world.write(&[set("/a", 3)]);
    let last = world.server.zxid;
    world.server.zxid = Zxid(1 << 32);
    world.connect();
    // All is read, and the connection is lost before the barrier is answered: then a follower.
    world.drop_barriers = true;
    world.rest();
    assert_ne!(world.state, State::InStep);
    world.disconnect();
    world.drop_barriers = false;
    world.server.zxid = last;
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.version().zxid, last);
    assert_eq!(world.breaches, []);
}

#[test]
fn a_change_that_no_notification_told_of_ends_the_connection_that_lost_the_watch() {
    let mut world = World::new(Options { audit_interval: Duration::from_secs(1), ..options() }, 1);
    world.write(&[create(""), create("/a"), set("/a", 3)]);
    world.connect();
    world.rest_for(Duration::from_millis(10));
    world.strict = false;
    world.forget_watches();
    world.write(&[set("/a", 4), create("/b")]);
    world.write(&[create("/b/c")]);
    world.rest_for(Duration::from_secs(5));
    world.assert_in_step();
    assert!(matches!(world.breaches[..], [Breach::Malformed(_)]), "{:?}", world.breaches);
    // Where only nodes came, an ACL might have hidden them: the audit finds them, behind the watch.
    world.forget_watches();
    world.write(&[create("/d")]);
    world.rest_for(Duration::from_secs(5));
    world.assert_in_step();
    world.strict = true;
    world.write(&[set("/d", 5), delete("/b/c")]);
    world.rest_for(Duration::from_millis(10));
    world.assert_in_step();
    assert_eq!(world.breaches.len(), 1);
}

/// The root is read, as a node that one zxid has set, at this time.
fn read_root(line: &mut Line, mtime: i64) -> Result<(), Breach> {
    line.asks();
    line.answer(ServerError::OK);
    line.now += Duration::from_secs(1);
    line.group.handle_timeout(line.now);
    line.asks();
    let (request, purpose) = line.asked.pop_front().expect("the root is read");
    let times = [5, 5, 1000, mtime].map(i64::to_be_bytes).concat();
    let mut body = [&4i32.to_be_bytes()[..], &[0; 5], &[0; 4], &times, &[0; 36]].concat();
    if matches!(request, Request::MultiRead(reads) if reads.len() == 2) {
        body.extend([&8i32.to_be_bytes()[..], &[0; 5], &[0; 4]].concat());
    }
    body.extend(missing(0));
    line.group.handle_reply(&purpose, Zxid(9), ServerError::OK, &body, line.now)
}

#[test]
fn in_zookeepers_own_nodes_nothing_is_evidence() {
    // Each server stamps `/zookeeper/config` with its own clock.
    for (chroot, root, is_evidence) in [
        ("/", "/zookeeper", false),
        ("/zookeeper", "/config", false),
        ("/zookeeper/quota", "/", false),
        ("/zookeepers", "/", true),
        ("/", "/zookeepers/zookeeper", true),
    ] {
        let mut line = Line::below(chroot);
        line.open(1, root);
        assert_eq!(read_root(&mut line, 1000), Ok(()));
        line.group.handle_suspended(None, line.now);
        line.asked.clear();
        line.group.handle_connected(true, "s:1", line.now);
        let read = read_root(&mut line, 2000);
        assert_eq!(
            matches!(read, Err(Breach::OtherHistory(_))),
            is_evidence,
            "{root} below {chroot}: {read:?}"
        );
    }
}

#[test]
fn a_notification_with_a_long_path_is_looked_at_once() {
    // Looking for each of its prefixes would take hours.
    let mut line = Line::new();
    line.open(1, "/r");
    line.answer_all();
    let long = format!("/r{}", "/a".repeat(8 << 20));
    for kind in [NotificationKind::DataChanged, NotificationKind::Deleted] {
        let notification = Notification { kind, path: long.clone() };
        line.group.handle_notification(&notification, line.now);
    }
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

#[test]
fn anchors_that_are_answered_before_the_watch_is_there_count_and_none_is_waited_for() {
    // The first watch is throttled, and the anchors behind it come late.
    let mut world = shop();
    world.disconnect();
    world.connect();
    let zxid = world.server.zxid;
    assert!(world.serve_throttled_watch());
    world.cache.handle_watch_asked();
    while world.serve() || world.deliver() {}
    world.cache.handle_watching(Some(zxid), false, world.now);
    world.advance(Duration::ZERO);
    world.rest();
    world.assert_in_step();
    assert_eq!(world.progress.resyncs, 0);
}

#[test]
fn anchors_that_are_deleted_before_they_are_read_are_not_waited_for() {
    let mut world = World::in_step_with(&[create(""), create("/a")]);
    world.disconnect();
    world.connect();
    // The watch is there; the anchors are not answered yet.
    world.throttled = 0;
    assert!(world.serve() && world.deliver());
    world.throttled = 1;
    while world.serve() || world.deliver() {}
    world.write(&[delete("/a")]);
    world.write(&[delete("")]);
    world.rest();
    world.assert_in_step();
}

/// In step with a server that lists `/b`, and does not have it.
fn in_step_with_a_name_of_nothing() -> World {
    let mut world = World::new(options(), 1);
    world.strict = false;
    world.write(&[create(""), create("/a"), create("/b")]);
    world.server.lists_only(&format!("{ROOT}/b"));
    world.connect();
    world.rest();
    assert_eq!((world.state, world.version().tree.len()), (State::InStep, 2));
    world
}

#[test]
fn a_child_that_a_server_lists_and_does_not_have_is_asked_for_once() {
    let mut world = in_step_with_a_name_of_nothing();
    assert!(world.asked.nodes < 10, "{} nodes", world.asked.nodes);
    // And once more when the tree is verified.
    world.disconnect();
    world.write(&[set("/a", 1)]);
    world.connect();
    world.rest();
    assert_eq!(world.state, State::InStep);
    assert!(world.asked.nodes < 20, "{} nodes", world.asked.nodes);
}

/// No number shows that the list lacks a child: its node's Stat is what it was.
#[test]
fn a_list_that_lacks_a_child_which_its_node_counts_is_read_when_the_tree_is_verified() {
    let mut world = in_step_with_a_name_of_nothing();
    let zxid = world.server.zxid;
    put_back(&mut world, false, 0, &[]);
    assert_eq!(world.server.zxid, zxid);
    world.strict = true;
    world.rest();
    world.assert_in_step();
    assert_eq!(world.version().tree.len(), 3);
}

#[test]
fn in_step_is_not_told_by_what_waited_in_a_pause() {
    let mut world = shop();
    world.disconnect();
    world.write(&[set("/a", 3)]);
    world.connect();
    let told = |world: &World| world.events.iter().filter(|event| **event == EventKind::InStep).count();
    assert_eq!(told(&world), 1);
    world.cache.handle_paused(world.heard);
    world.rest();
    assert_eq!((told(&world), world.state), (1, State::CatchingUp));
    world.cache.handle_heard();
    world.advance(Duration::ZERO);
    world.assert_in_step();
    assert_eq!(told(&world), 2);
}

#[test]
fn what_was_found_at_a_leader_without_a_transaction_is_seen_all_the_same() {
    let mut world = shop();
    world.disconnect();
    world.write(&[set("/a", 3)]);
    let newest = world.server.zxid;
    world.server.zxid = Zxid(1 << 32);
    world.drop_barriers = true;
    world.connect();
    world.rest();
    assert_eq!(world.cache.undated_newest(), newest);
    assert!(world.versions.iter().all(|version| version.zxid < newest), "nothing of it has a date");
}

#[test]
fn a_watch_that_a_busy_server_does_not_set_again_is_asked_for_again() {
    let mut line = Line::new();
    let audited = Options { audit_interval: Duration::from_secs(1), ..options() };
    line.group.handle_input(CacheId(1), Input::Open(path("/a"), audited), line.now);
    line.answer_all();
    let renewals =
        |asked: &[Request]| asked.iter().filter(|request| **request == Request::AddWatch(path("/a"))).count();
    for error in [ServerError::THROTTLED, ServerError::THROTTLED, ServerError::OK] {
        line.now = line.group.poll_timeout().expect("the audit, or another try");
        line.group.handle_timeout(line.now);
        let asked = line.asks();
        assert_eq!(renewals(&asked), 1, "{asked:?}");
        assert!(matches!(line.asked.front(), Some((Request::AddWatch(_), _))));
        line.answer(error);
        assert_eq!(line.asks(), [], "not at once");
        while !line.asked.is_empty() {
            line.answer(ServerError::OK);
        }
    }
}

#[test]
fn a_change_of_data_that_shows_with_one_of_the_children_tells_of_the_lost_watch_too() {
    let mut world = World::in_step_with(&[create(""), create("/a")]);
    world.strict = false;
    world.forget_watches();
    world.write(&[set("/a", 3)]);
    // Another watch, set since, tells of what is below.
    world.watch_again();
    world.write(&[create("/a/b")]);
    world.rest();
    world.assert_in_step();
    assert!(matches!(world.breaches[..], [Breach::Malformed(_)]), "{:?}", world.breaches);
}

/// A cache of these nodes, and of one more below "p", behind a server that was put back and has another one there instead: so all
/// Stats are as they were. It has begun to verify its tree.
fn where_z_became_y(nodes: &[Write]) -> World {
    let mut world = World::in_step_with(nodes);
    let shared = world.server.zxid;
    world.write(&[create("/p/z")]);
    world.rest();
    world.disconnect();
    world.resumes = false;
    world.server.put_back(shared);
    world.write(&[create("/p/y")]);
    world.connect();
    assert!(world.serve() && world.deliver(), "the watch");
    world.advance(Duration::from_millis(10));
    world
}

/// What becomes of a node of which another history has another child of the same number, in a tree of many flights.
#[test]
fn a_known_child_that_is_told_to_be_created_was_not_there_whatever_the_numbers_of_its_parent_say() {
    let mut nodes = vec![create(""), create("/p"), create("/q")];
    nodes.extend((0..1000).map(|n| create(&format!("/p/{n:04}"))));
    nodes.extend((0..3000).map(|n| create(&format!("/q/{n:04}"))));
    // How many flights are answered before the child is created.
    for answered in 1..8 {
        let mut world = where_z_became_y(&nodes);
        for _ in 0..answered {
            assert!(world.serve() && world.deliver(), "a flight");
        }
        world.write(&[create("/p/z")]);
        world.rest();
        world.assert_in_step();
    }
}

#[test]
fn an_anchor_that_is_deleted_before_it_is_read_says_nothing_of_what_happened_before() {
    for answered in 0..8 {
        let mut world = World::in_step_with(&wide(40));
        let shared = world.server.zxid;
        world.write(&[set("/9", 3)]);
        world.rest();
        world.disconnect();
        // At the same zxid, another node has changed, which is no anchor.
        world.server.put_back(shared);
        world.write(&[set("/22", 5)]);
        world.connect();
        for _ in 0..answered {
            let _ = world.serve() && world.deliver();
        }
        world.write(&[delete("/9")]);
        world.rest();
        world.assert_in_step();
    }
}

#[test]
fn what_was_missed_without_a_connection_is_no_lost_watch_where_a_node_below_it_is_told_of() {
    let mut world = World::in_step_with(&[create(""), create("/a")]);
    world.disconnect();
    world.resumes = false;
    world.write(&[set("/a", 3)]);
    world.write(&[create("/a/n")]);
    world.connect();
    assert!(world.serve() && world.deliver(), "the watch");
    world.write(&[set("/a/n", 4)]);
    world.deliver();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.breaches, []);
}

#[test]
fn a_known_child_that_is_created_in_secret_was_not_there_whatever_the_numbers_of_its_parent_say() {
    let mut nodes = vec![create(""), create("/p"), create("/q")];
    nodes.extend((0..1000).map(|n| create(&format!("/p/{n:04}"))));
    for is_opened in [false, true] {
        let mut world = where_z_became_y(&nodes);
        world.strict = false;
        for _ in 0..2 {
            assert!(world.serve() && world.deliver(), "a flight");
        }
        world.write(&[Write::CreatePrivate(format!("{ROOT}/p/z"))]);
        if is_opened {
            world.write(&[Write::Open(format!("{ROOT}/p/z"), true)]);
        }
        world.rest();
        assert!(world.version().tree.get("p/y").is_some(), "opened: {is_opened}");
    }
}
