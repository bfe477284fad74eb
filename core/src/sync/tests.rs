//! The synchroniser and the group against a small ZooKeeper in memory, in simulated time: what is asked for, and
//! moments that matter. Schedules by the hundred thousand, of the whole path from the bytes up, are `testing/sim`'s.

mod data;
mod history;
mod keeper;
mod known;
mod model;
mod narrowing;
mod one_shot;
mod report;
mod single;

use std::time::Duration;

use fastrand::Rng;

use self::model::{Asked, ROOT, World, Write, options, path};
use crate::error::Status;
use crate::stat::{Stat, Zxid};
use crate::state::{EventKind, State};
use crate::sync::{
    Breach, CacheId, Group, Input, Modes, Options, Output, Progress, Purpose, Ticket, WatchMode,
};
use crate::wire::{self, Notification, NotificationKind, Request, ServerError};

fn create(path: &str) -> Write {
    Write::Create(format!("{ROOT}{path}"))
}

fn set(path: &str, len: usize) -> Write {
    Write::Set(format!("{ROOT}{path}"), vec![b'x'; len])
}

fn delete(path: &str) -> Write {
    Write::Delete(format!("{ROOT}{path}"))
}

fn wide(count: usize) -> Vec<Write> {
    std::iter::once(create("")).chain((0..count).map(|n| create(&format!("/{n}")))).collect()
}

fn cuts(world: &World) -> usize {
    world.versions.iter().filter(|version| version.is_cut).count()
}

#[test]
fn a_load_takes_few_batches_once_a_few_nodes_have_shown_what_their_siblings_are_like() {
    let mut world = World::new(options(), 1);
    world.write(&wide(5120));
    world.connect();
    world.rest();
    world.assert_in_step();
    let Asked { multi_reads, nodes, lists, stats, .. } = world.asked;
    // Of 120 nodes each it were 43.
    assert!(multi_reads < 30, "{multi_reads} batches");
    assert_eq!((nodes, lists, stats), (5121, 1, 0));
    assert_eq!(world.events, [EventKind::Initialized, EventKind::InStep]);
}

#[test]
fn a_deep_tree_takes_a_round_trip_for_each_level() {
    let mut world = World::new(options(), 1);
    let mut path = String::new();
    let mut writes = vec![create("")];
    writes.extend((0..50).map(|_| {
        path.push_str("/n");
        create(&path)
    }));
    world.write(&writes);
    world.connect();
    world.rest();
    world.assert_in_step();
    let Asked { multi_reads, nodes, lists, .. } = world.asked;
    assert_eq!((multi_reads, nodes, lists), (51, 51, 51));
}

#[test]
fn a_load_shows_how_far_it_has_come_and_says_that_it_is_not_complete() {
    let mut world = World::new(options(), 1);
    world.write(&wide(3000));
    world.connect();
    while world.serve() && world.deliver() {
        world.advance(Duration::from_millis(40));
    }
    let grown: Vec<_> = world.versions.iter().filter(|version| !version.is_complete).collect();
    assert!(grown.len() >= 2 && grown.is_sorted_by_key(|version| version.tree.len()));
    assert!(grown.iter().all(|version| !version.is_cut && version.zxid <= world.server.zxid));
    world.assert_in_step();
}

#[test]
fn child_lists_are_not_read_again_where_notifications_explain_them() {
    let mut world = World::in_step_with(&wide(10));
    for n in 0..50 {
        world.write(&[create(&format!("/new{n}"))]);
        world.write(&[create(&format!("/new{n}/x")), delete(&format!("/new{n}/x"))]);
        world.write(&[delete(&format!("/{}", n % 10)), create(&format!("/{}", n % 10))]);
        if n % 3 == 0 {
            world.rest();
        }
    }
    world.rest();
    world.assert_in_step();
    assert_eq!(world.asked.lists, 0);
}

#[test]
fn what_is_deleted_and_leaves_nothing_to_read_is_a_cut_too() {
    let mut world = World::in_step_with(&[create("")]);
    world.write(&[delete("")]);
    world.rest();
    world.assert_in_step();
    assert!(world.version().is_cut && !world.version().tree.has_root());
    assert_eq!(world.version().zxid, world.server.zxid);
    world.write(&[create("")]);
    world.rest();
    world.assert_in_step();
}

#[test]
fn what_is_deleted_before_it_was_read_does_not_bring_it_in_step_without_a_reply() {
    let mut world = World::in_step_with(&[]);
    world.write(&[create("")]);
    world.deliver();
    // The node is deleted and made again in one transaction, of which the first half has been told.
    world.write(&[delete(""), create("")]);
    world.deliver();
    assert_eq!(world.state, State::CatchingUp);
    world.rest();
    world.assert_in_step();
}

#[test]
fn where_nothing_happened_in_between_a_reconnect_takes_one_round_trip() {
    let mut world = World::in_step_with(&wide(100));
    world.disconnect();
    assert_eq!(world.state, State::Suspended);
    world.connect();
    world.rest();
    world.assert_in_step();
    // A few of its nodes, asked for together with the watch.
    let anchors = Asked { multi_reads: 5, nodes: 19, lists: 1, ..Asked::default() };
    assert_eq!(world.asked, anchors);
    // Lost and resumed: the same, but it is initialized again.
    world.disconnect();
    world.lose();
    world.resumes = true;
    world.connect();
    world.rest();
    assert_eq!(world.asked, Asked { multi_reads: 10, nodes: 38, lists: 2, ..Asked::default() });
    use EventKind::*;
    let expected = [
        Initialized,
        InStep,
        ConnectionSuspended,
        ConnectionReconnected,
        InStep,
        ConnectionSuspended,
        ConnectionLost,
        ConnectionReconnected,
        Initialized,
        InStep,
    ];
    assert_eq!(world.events, expected);
    // A notification that came was not followed by its read.
    world.write(&[set("/1", 3)]);
    world.deliver();
    world.disconnect();
    world.connect();
    world.rest();
    world.assert_in_step();
    assert!(world.asked.nodes >= 101);
}

#[test]
fn a_sync_is_answered_when_a_cut_is_published_that_has_what_was_committed() {
    let mut world = World::in_step_with(&wide(3));
    world.write(&[set("/1", 3)]);
    world.sync(1);
    assert!(world.serve(), "it is asked for at once");
    assert!(world.deliver() && world.deliver(), "the notification, and the reply");
    assert_eq!(world.synced, [], "what was committed has not been read");
    world.rest();
    assert_eq!(world.synced, [(1, Ok(()))]);
    assert_eq!(world.version().zxid, world.server.zxid);
    world.assert_in_step();
}

#[test]
fn where_nothing_changed_a_sync_takes_one_round_trip_and_no_version() {
    let mut world = World::in_step_with(&wide(3));
    let versions = world.versions.len();
    world.sync(1);
    world.rest();
    assert_eq!(world.synced, [(1, Ok(()))]);
    assert_eq!(world.asked, Asked { syncs: 1, ..Asked::default() });
    assert_eq!(world.versions.len(), versions);
    world.assert_in_step();
}

#[test]
fn calls_of_sync_share_one_request_but_none_that_was_sent_before_them() {
    let mut world = World::in_step_with(&wide(3));
    world.sync(1);
    world.serve();
    // What is committed now the reply that is on its way knows nothing of.
    world.write(&[set("/1", 3)]);
    for ticket in 2..=1000 {
        world.sync(ticket);
    }
    assert!(!world.serve(), "one at a time");
    world.deliver();
    assert_eq!(world.synced, [(1, Ok(()))]);
    world.rest();
    assert_eq!(world.synced, [(1, Ok(())), (1000, Ok(()))]);
    assert_eq!(world.asked.syncs, 2);
    // Calls may overtake each other on their way here.
    world.sync(1002);
    world.rest();
    world.sync(1001);
    world.rest();
    assert_eq!(world.synced[2..], [(1002, Ok(()))]);
    assert_eq!(world.asked.syncs, 3);
}

#[test]
fn a_sync_fails_without_a_connection_and_with_the_one_it_was_sent_on() {
    let failed = Err(Status::Connection);
    let mut world = World::new(options(), 1);
    world.write(&wide(3));
    world.sync(1);
    assert_eq!(world.synced, [(1, failed)], "before the first connection");
    world.connect();
    world.sync(2);
    world.rest();
    assert_eq!(world.synced[1..], [(2, Ok(()))], "during the first load");
    world.assert_in_step();
    // One that was answered and waits for its cut, one that waits for the next request.
    world.write(&[set("/1", 3)]);
    world.sync(3);
    world.serve();
    while world.deliver() {}
    world.sync(4);
    world.disconnect();
    assert_eq!(world.synced[2..], [(4, failed)]);
    world.sync(5);
    world.lose();
    world.sync(6);
    assert_eq!(world.synced[3..], [(5, failed), (6, failed)]);
    world.connect();
    world.rest();
    world.sync(7);
    world.rest();
    assert_eq!(world.synced[5..], [(7, Ok(()))]);
}

#[test]
fn a_sync_waits_for_the_verification_after_a_reconnect() {
    let mut world = World::in_step_with(&wide(600));
    world.disconnect();
    world.write(&[set("/1", 3)]);
    world.connect();
    world.sync(1);
    while world.serve() || world.deliver() {}
    assert_eq!((world.asked.syncs, world.synced.len()), (1, 0), "replied to, and nothing was read yet");
    world.rest();
    assert_eq!(world.synced, [(1, Ok(()))]);
    world.assert_in_step();
}

#[test]
fn a_sync_that_a_server_is_too_busy_for_is_asked_for_again_and_another_error_fails_it() {
    let mut world = World::in_step_with(&wide(3));
    world.throttled = 2;
    world.sync(1);
    world.rest();
    assert_eq!((world.asked.syncs, &world.synced[..]), (3, &[(1, Ok(()))][..]));
    world.sync(2);
    world.sync(3);
    world.cache.handle_synced(world.server.zxid, ServerError(-1), world.now);
    world.advance(Duration::ZERO);
    assert_eq!(world.synced[1..], [(2, Err(Status::Connection))], "not those that have not been asked for");
    world.rest();
    assert_eq!(world.synced[2..], [(3, Ok(()))]);
}

#[test]
fn a_sync_of_a_cache_that_can_have_no_cut_is_answered_with_the_reason() {
    let mut world = World::new(Options { limit_nodes: 2, ..options() }, 1);
    world.write(&wide(3));
    world.connect();
    world.sync(1);
    world.rest();
    world.sync(2);
    assert_eq!(world.synced, [(1, Err(Status::Limit)), (2, Err(Status::Limit))]);

    let mut world = World::in_step_with(&wide(3));
    world.sync(1);
    world.close();
    world.sync(2);
    assert_eq!(world.synced, [(1, Err(Status::Closed)), (2, Err(Status::Closed))]);
}

#[test]
fn a_sync_is_not_answered_with_a_cut_that_something_hidden_was_found_to_be_missing_in() {
    let mut world = World::new(Options { audit_interval: Duration::from_secs(1), ..options() }, 1);
    world.strict = false;
    world.write(&wide(3));
    world.connect();
    world.rest_for(Duration::from_millis(10));
    // Nothing notifies of it; the audit reads the root behind the reply to the first call.
    world.write(&[Write::CreatePrivate(format!("{ROOT}/private"))]);
    world.sync(1);
    world.advance(Duration::from_secs(2));
    assert!(world.serve() && world.serve() && world.serve() && world.deliver());
    assert_eq!((world.synced.len(), world.state), (1, State::InStep));
    assert!(world.deliver() && world.deliver(), "the watch, set again, and the root");
    assert_eq!(world.state, State::CatchingUp, "the root has another child");
    world.sync(2);
    // The root's children, and the reply at the zxid of the cut from before.
    assert!(world.serve() && world.serve() && world.deliver() && world.deliver());
    assert_eq!((world.synced.len(), world.asked.syncs), (1, 2), "the child was not read yet");
    world.rest_for(Duration::from_millis(10));
    assert_eq!(world.synced, [(1, Ok(())), (2, Ok(()))]);
    world.assert_in_step();
}

#[test]
fn what_was_true_of_the_ensemble_before_a_reset_answers_no_sync() {
    for nodes in [wide(3), Vec::new()] {
        let mut world = World::in_step_with(&nodes);
        world.disconnect();
        world.reset();
        world.write(&[create("")]);
        world.connect();
        world.sync(1);
        while world.synced.is_empty() {
            assert!(world.serve() || world.deliver(), "no answer");
        }
        assert_eq!(world.synced, [(1, Ok(()))]);
        world.assert_in_step();
    }
}

#[test]
fn a_tree_without_nodes_is_published_anew_after_a_reset() {
    let mut world = World::in_step_with(&[]);
    world.disconnect();
    world.reset();
    world.write(&[]);
    world.write(&[]);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.version().zxid, world.server.zxid, "not that of the ensemble before");
}

#[test]
fn what_was_done_is_counted() {
    let mut world = World::in_step_with(&wide(3));
    let Progress { versions, cuts, reads, batches, resyncs, .. } = world.progress;
    assert_eq!((versions, cuts), (world.versions.len() as u64, self::cuts(&world) as u64));
    assert_eq!((reads, batches, resyncs), (4, 2, 0), "the root, then its children");
    world.disconnect();
    world.connect();
    world.rest();
    assert_eq!((world.progress.reads, world.progress.resyncs), (reads + 4, 0), "nothing had happened");
    world.disconnect();
    world.write(&[set("/1", 3)]);
    world.connect();
    world.rest();
    assert_eq!(
        (world.progress.reads, world.progress.resyncs),
        (reads + 12, 1),
        "the same, and all behind it"
    );
    assert_eq!(world.progress.versions, versions + 1);
}

#[test]
fn a_cut_was_current_until_something_was_notified_or_the_server_fell_silent() {
    let mut world = World::new(options(), 1);
    assert_eq!(world.progress.current_at, None);
    world.write(&wide(3));
    world.connect();
    world.rest();
    world.assert_in_step();
    world.advance(Duration::from_secs(5));
    world.write(&[set("/1", 3)]);
    world.deliver();
    assert_eq!((world.state, world.progress.current_at), (State::CatchingUp, Some(world.now)));
    let notified = world.now;
    world.advance(Duration::from_secs(1));
    world.disconnect();
    assert_eq!(world.progress.current_at, Some(notified), "it has not been since");
    world.connect();
    world.rest();
    world.assert_in_step();
    world.advance(Duration::from_secs(5));
    world.disconnect();
    assert_eq!(world.progress.current_at, Some(world.heard), "not since the last word");
    assert!(world.heard < world.now);
}

#[test]
fn what_was_told_of_a_new_node_says_nothing_about_the_one_that_replaced_it_meanwhile() {
    let mut world = World::in_step_with(&[create("")]);
    world.write(&[create("/a")]);
    world.write(&[create("/a/b")]);
    while world.deliver() {}
    world.disconnect();
    world.write(&[delete("/a/b"), delete("/a")]);
    world.write(&[create("/a"), create("/a/c")]);
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_child_that_is_read_before_its_new_parent_is_not_lost() {
    let mut world = World::in_step_with(&[create(""), create("/a")]);
    world.write(&[set("", 3)]);
    world.deliver();
    // Queued behind the root's read, and still in the queue when all is deleted and made again.
    world.write(&[set("/a", 3)]);
    world.deliver();
    world.write(&[delete("/a"), delete("")]);
    world.write(&[create(""), create("/a")]);
    while world.deliver() {}
    world.rest();
    world.assert_in_step();
}

#[test]
fn large_nodes_that_wait_for_their_parent_leave_it_its_turn() {
    let mut world = World::in_step_with(&[]);
    world.strict = false;
    // A root that appears unnoticed, is found by what is below it, and cannot be read at first.
    world.write(&[Write::CreatePrivate(ROOT.to_owned())]);
    world.write(&[Write::Open(ROOT.to_owned(), true)]);
    world.write(&[create("/x")]);
    world.throttled = 1;
    assert!(world.deliver() && world.serve() && world.deliver());
    // Two of them fill a flight.
    for path in ["/a", "/a/a"] {
        world.write(&[create(path), set(path, 200_000)]);
    }
    world.rest();
    world.assert_in_step();
    assert!(world.asked.nodes < 20, "{} nodes", world.asked.nodes);
}

#[test]
fn a_server_that_is_behind_what_was_notified_is_believed_when_it_is_asked() {
    for (nodes, change) in
        [(wide(3), delete("/1")), (wide(3), create("/new")), (vec![create("")], delete(""))]
    {
        let mut world = World::in_step_with(&nodes);
        world.write(std::slice::from_ref(&change));
        world.deliver();
        world.disconnect();
        // No reply has named the zxid of the change, so that this server takes the client.
        world.server.fall_behind();
        world.connect();
        world.rest();
        world.assert_in_step();
        world.write(&[change]);
        world.rest();
        world.assert_in_step();
    }
}

#[test]
fn a_verification_reads_all_nodes_and_only_the_lists_that_changed() {
    let mut world = World::in_step_with(&[wide(600), vec![set("/7", 9000), create("/8/a")]].concat());
    let published = world.versions.len();
    world.disconnect();
    world.write(&[delete("/5"), set("/6", 3), delete("/8/a"), create("/8/b")]);
    world.write(&[delete("/9"), create("/9")]);
    world.connect();
    world.rest();
    world.assert_in_step();
    // One large node; two lists that changed, and that of a new node, which is read by itself.
    assert_eq!((world.asked.stats, world.asked.lists), (1, 3));
    assert!((602..640).contains(&world.asked.nodes), "{} nodes", world.asked.nodes);
    assert_eq!(world.versions.len(), published + 1, "nothing is shown in between");
}

#[test]
fn large_data_is_not_fetched_again_for_a_stat() {
    let mut world = World::in_step_with(&[create(""), create("/big"), set("/big", 100_000)]);
    world.write(&[create("/big/child")]);
    world.rest();
    world.assert_in_step();
    assert_eq!((world.asked.stats, world.asked.nodes), (1, 1));
    world.write(&[set("/big", 100_001)]);
    world.rest();
    world.assert_in_step();
    assert_eq!((world.asked.stats, world.asked.nodes), (1, 2));
}

#[test]
fn later_reads_confirm_what_was_written_all_the_time() {
    let mut world = World::in_step_with(&wide(200));
    let before = cuts(&world);
    let mut calm = 0;
    for n in 0..200 {
        // One node is always unread when a reply comes.
        world.write(&[set(&format!("/{n}"), 3)]);
        world.serve();
        while world.deliver() {}
        calm += usize::from(world.state == State::InStep);
    }
    assert_eq!(calm, 0);
    assert!(cuts(&world) - before > 90, "{} cuts", cuts(&world) - before);
}

#[test]
fn a_small_set_that_is_written_all_the_time_is_read_together() {
    let mut world = World::in_step_with(&wide(4));
    let before = cuts(&world);
    for n in 0..1000 {
        world.write(&[set(&format!("/{}", n % 4), 3)]);
        if n % 3 == 2 {
            world.serve();
            // Between the answer and its arrival another is written.
            world.write(&[set(&format!("/{}", (n + 1) % 4), 4)]);
            while world.deliver() {}
            world.advance(Duration::from_millis(1));
        }
    }
    assert!(cuts(&world) - before > 20, "{} cuts", cuts(&world) - before);
}

#[test]
fn long_paths_that_are_written_all_the_time_do_not_make_a_request_too_long() {
    let name = |n: usize| format!("/{n:0300}");
    let mut world = World::in_step_with(&[create("")]);
    world.write(&(0..4000).map(|n| create(&name(n))).collect::<Vec<_>>());
    world.rest();
    for round in 0..300 {
        // Again between the answer and its arrival: no candidate is confirmed.
        let writes: Vec<_> = (0..40).map(|n| set(&name((round * 40 + n) % 4000), 3)).collect();
        world.write(&writes);
        world.serve();
        world.write(&writes);
        while world.deliver() {}
        world.advance(Duration::from_millis(1));
    }
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_storm_after_a_long_rest_is_read_in_batches_of_the_usual_size() {
    let mut world = World::in_step_with(&wide(300));
    world.advance(Duration::from_secs(3600));
    let before = world.asked.multi_reads;
    for n in 0..300 {
        world.write(&[set(&format!("/{n}"), 3)]);
    }
    world.rest();
    world.assert_in_step();
    // What the first notification asks for, and two batches of at most 256; no cut has been overdue.
    assert_eq!(world.asked.multi_reads - before, 3);
}

#[test]
fn when_no_cut_comes_for_long_a_version_is_shown_that_says_so() {
    let mut world = World::in_step_with(&wide(3));
    world.write(&[delete("/1")]);
    world.deliver();
    world.advance(Duration::from_millis(900));
    assert!(world.version().is_cut);
    world.advance(Duration::from_millis(200));
    assert!(!world.version().is_cut && world.version().tree.get("1").is_none());
    assert_eq!(world.state, State::CatchingUp);
    world.rest();
    world.assert_in_step();
}

#[test]
fn an_audit_finds_what_was_hidden() {
    let mut world = World::new(Options { audit_interval: Duration::from_secs(1), ..options() }, 1);
    world.strict = false;
    world.write(&wide(200));
    world.connect();
    world.rest();
    world.assert_in_step();
    world.write(&[Write::Open(format!("{ROOT}/7"), false), Write::Open(format!("{ROOT}/8"), false)]);
    world.write(&[delete("/7"), Write::CreatePrivate(format!("{ROOT}/9/private"))]);
    world.rest();
    world.assert_in_step();
    // A whole tree that nobody may see at first.
    world.write(&(0..200).map(|n| delete(&format!("/{n}"))).collect::<Vec<_>>());
    world.write(&[delete("/9/private"), delete("/9"), Write::Open(format!("{ROOT}/8"), true), delete("/8")]);
    world.rest();
    world.write(&[delete("")]);
    world.rest();
    world.assert_in_step();
    world.write(&[Write::CreatePrivate(ROOT.to_owned())]);
    world.write(&[Write::Open(ROOT.to_owned(), true)]);
    world.rest();
    world.assert_in_step();
    assert_eq!(world.version().tree.len(), 1);
}

#[test]
fn behind_a_version_that_is_no_cut_comes_no_cut_that_is_older() {
    // So many that what is hot is not half of it.
    let others = (0..9).map(|n| create(&format!("/other{n}")));
    let nodes = [create(""), create("/a"), create("/b"), create("/big"), set("/big", 9000)];
    let mut world = World::in_step_with(&nodes.into_iter().chain(others).collect::<Vec<_>>());
    let serve = |world: &mut World| assert!(world.serve());
    world.write(&[set("/a", 1)]);
    assert!(world.deliver());
    // A candidate, which lacks the Stat of /big; /a is hot, and read again.
    world.write(&[create("/big/x")]);
    serve(&mut world);
    world.advance(Duration::from_millis(10));
    while world.deliver() {}
    world.write(&[set("/a", 2)]);
    world.write(&[set("/b", 1)]);
    serve(&mut world);
    while world.deliver() {}
    world.advance(Duration::from_secs(2));
    let newest =
        |world: &World| world.version().tree.get("a").and_then(|a| a.node()).expect("/a").stat().mzxid;
    let shown = newest(&world);
    assert!(!world.version().is_cut, "a version is shown that is no cut");
    while world.serve() || world.deliver() {
        assert!(newest(&world) >= shown, "/a went back");
    }
    world.rest();
    world.assert_in_step();
}

/// The root is made, filled and emptied where everybody sees it, and made again where nobody does; the changes that were
/// notified would explain the list that the new one has, if it were the old one's.
fn root_replaced_in_secret() -> Vec<Write> {
    let path = |name: &str| format!("{ROOT}{name}");
    let seen =
        [create(""), create("/a"), Write::Open(path("/a"), false), delete("/a"), create("/a"), delete("/a")];
    let hidden = [
        Write::Open(path(""), false),
        delete(""),
        Write::CreatePrivate(path("")),
        Write::CreatePrivate(path("/b")),
        Write::CreatePrivate(path("/c")),
        delete("/c"),
        Write::Open(path(""), true),
    ];
    seen.into_iter().chain(hidden).collect()
}

#[test]
fn notifications_explain_no_list_that_has_more_children_than_are_known() {
    let mut world = World::new(Options { audit_interval: Duration::ZERO, ..options() }, 1);
    world.connect();
    world.rest();
    world.write(&root_replaced_in_secret());
    world.rest();
    world.assert_in_step();
}

#[test]
fn the_audit_counts_the_children_that_are_known() {
    let mut world = World::new(Options { audit_interval: Duration::from_secs(1), ..options() }, 1);
    world.strict = false;
    world.connect();
    world.rest();
    // While one child more is to be read, nobody can say how many there are.
    world.write(&root_replaced_in_secret().into_iter().chain([create("/d")]).collect::<Vec<_>>());
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_pass_of_the_audit_takes_no_longer_where_few_nodes_fit_a_flight() {
    let mut world = World::new(Options { audit_interval: Duration::from_secs(10), ..options() }, 1);
    world.write(&wide(40));
    world.connect();
    world.rest();
    world.write(&[set("/1", 300_000)]);
    world.rest_for(Duration::from_millis(10));
    // Nodes are taken to be as large as the one that was a surprise.
    world.asked = Asked::default();
    world.rest_for(Duration::from_secs(30));
    assert!(world.asked.nodes > 2 * 40, "{} reads in two passes and more", world.asked.nodes);
}

#[test]
fn a_node_goes_when_another_one_is_told_to_be_created_in_its_place() {
    let mut world = World::in_step_with(&[create(""), create("/a"), create("/a/b")]);
    let hidden = Write::Open(format!("{ROOT}/a"), false);
    world.write(&[hidden, delete("/a/b"), delete("/a"), create("/a")]);
    while world.deliver() {}
    // What comes to be known below the new one must not end below the old one.
    assert!(world.cache.tree().get("a").is_none());
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_node_that_is_hidden_and_being_read_is_not_left_out_of_its_parents_list() {
    let mut world = World::new(options(), 1);
    world.strict = false;
    world.write(&[create(""), create("/b"), set("/b", 9000)]);
    world.connect();
    world.rest();
    world.write(&[set("", 3)]);
    world.deliver();
    // The root's Stat cannot be explained, so that its list is read; with it goes a read of /b's Stat.
    let hidden = format!("{ROOT}/c");
    world.write(&[Write::CreatePrivate(hidden.clone()), Write::Delete(hidden), create("/b/x")]);
    world.serve();
    while world.deliver() {}
    // /b is deleted, and made again where nobody sees it, before the list is read.
    world.write(&[delete("/b/x"), delete("/b")]);
    world.write(&[Write::CreatePrivate(format!("{ROOT}/b"))]);
    while world.serve() || world.deliver() {
        let exact = model::difference(&world.version().tree, &world.server.nodes);
        let is_newest = world.version().is_cut && world.version().zxid == world.server.zxid;
        assert!(!is_newest || exact.is_none(), "{exact:?}");
    }
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_hidden_change_that_is_found_ends_the_candidates() {
    let mut world = World::new(options(), 1);
    world.strict = false;
    world.write(&[create(""), create("/a"), create("/b"), create("/c")]);
    world.connect();
    world.rest();
    world.write(&[set("/a", 3)]);
    while world.deliver() || world.serve() {}
    // One read is under way when something is hidden; another node is unread when its reply comes: a candidate.
    world.write(&[set("/b", 3)]);
    world.deliver();
    world.advance(Duration::from_millis(6));
    world.write(&[set("/c", 3), Write::CreatePrivate(format!("{ROOT}/a/x"))]);
    world.serve();
    while world.deliver() {}
    // The read that fills the candidate's gap reads /a too, which is hot, and finds what was hidden.
    world.serve();
    world.deliver();
    let exact = model::difference(&world.version().tree, &world.server.nodes);
    assert!(
        !world.version().is_cut || world.version().zxid < world.server.zxid || exact.is_none(),
        "{exact:?}"
    );
    world.rest();
    world.assert_in_step();
}

#[test]
fn an_audit_is_not_put_off_by_writes_that_never_end() {
    let mut world = World::new(Options { audit_interval: Duration::from_secs(1), ..options() }, 1);
    world.strict = false;
    world.write(&wide(20));
    world.connect();
    world.rest();
    world.write(&[Write::Open(format!("{ROOT}/7"), false)]);
    world.write(&[delete("/7")]);
    for n in 0..3000 {
        world.write(&[set(&format!("/{}", n % 5), 3)]);
        world.serve();
        while world.deliver() {}
        world.advance(Duration::from_millis(1));
    }
    assert!(world.version().tree.get("7").is_none());
}

#[test]
fn a_child_that_went_unnoticed_before_it_was_read_leaves_no_trace_in_its_parent() {
    let mut world = World::new(options(), 1);
    world.strict = false;
    world.write(&[create(""), create("/a")]);
    world.connect();
    // The watch, and the root with its list.
    for _ in 0..2 {
        world.serve();
        world.deliver();
    }
    world.write(&[Write::Open(format!("{ROOT}/a"), false), delete("/a")]);
    world.rest();
    world.assert_in_step();
}

#[test]
fn after_a_reset_the_old_tree_stays_until_the_new_one_is_known() {
    let mut world = World::in_step_with(&wide(1000));
    world.disconnect();
    world.lose();
    world.reset();
    world.write(&wide(800));
    let published = world.versions.len();
    world.connect();
    while world.serve() && world.deliver() {
        world.advance(Duration::from_millis(200));
    }
    world.rest();
    world.assert_in_step();
    assert_eq!(world.versions.len(), published + 1);
    assert_eq!(world.version().zxid, world.server.zxid);
}

#[test]
fn a_limit_ends_the_cache_before_it_has_read_more() {
    for (limit_nodes, limit_bytes) in [(100, 0), (0, 5000)] {
        let mut world = World::new(Options { limit_nodes, limit_bytes, ..options() }, 1);
        world.write(&wide(4000));
        world.write(&(0..4000).map(|n| set(&format!("/{n}"), 100)).collect::<Vec<_>>());
        world.connect();
        world.rest();
        assert!(world.cache.is_stopped());
        assert_eq!((world.state, world.faults()), (State::Closed, 1));
        // What was under way: the proof, and what a proof of 64 speaks for.
        assert!(world.asked.nodes < 1200, "{} nodes", world.asked.nodes);
    }
    let mut world = World::new(Options { limit_nodes: 11, ..options() }, 1);
    world.write(&wide(10));
    world.connect();
    world.rest();
    world.assert_in_step();
    world.write(&[create("/more")]);
    world.rest();
    assert!(world.cache.is_stopped());
}

#[test]
fn a_path_that_is_too_long_ends_the_cache_however_it_is_learnt_of() {
    let limit_path = ROOT.len() + "/a".len() + 50;
    let longest = format!("/a/{}", "x".repeat(49));
    for too_long in [format!("{longest}x"), format!("{longest}/y")] {
        for is_read in [true, false] {
            let mut world = World::new(Options { limit_path, ..options() }, 1);
            world.write(&[create(""), create("/a"), create(&longest)]);
            if is_read {
                world.write(&[create(&too_long)]);
            }
            world.connect();
            world.rest();
            if !is_read {
                world.assert_in_step();
                world.write(&[create(&too_long)]);
                world.rest();
            }
            assert!(world.cache.is_stopped(), "{too_long}");
            assert_eq!((world.state, world.faults()), (State::Closed, 1));
        }
    }
}

#[test]
fn a_missing_root_is_created_at_the_start_and_only_then() {
    let with_root = || Options { create_root: true, ..options() };
    let mut world = World::new(with_root(), 1);
    world.connect();
    // The server cannot at first.
    world.serve();
    world.deliver();
    world.serve();
    world.throttled = 1;
    world.rest();
    world.assert_in_step();
    assert_eq!(world.version().tree.len(), 1);
    for away in [false, true] {
        if away {
            world.disconnect();
        }
        world.write(&[delete("")]);
        if away {
            world.connect();
        }
        world.rest();
        world.assert_in_step();
        assert!(!world.version().tree.has_root(), "it is not created again");
        world.write(&[create("")]);
        world.rest();
    }
}

/// A group on a connection, and what it has asked for.
struct Line {
    group: Group,
    now: std::time::Instant,
    asked: std::collections::VecDeque<(Request, Purpose)>,
    /// The czxid of the node in which a Keeper says what it can do, if there is one.
    keeper: Option<Zxid>,
}

/// The answer to a multiRead of so many reads, of nodes that are not there.
fn missing(reads: usize) -> Vec<u8> {
    let result = [&(-1i32).to_be_bytes()[..], &[0], &(-101i32).to_be_bytes(), &(-101i32).to_be_bytes()];
    let end = [&(-1i32).to_be_bytes()[..], &[1], &(-1i32).to_be_bytes()];
    [result.concat().repeat(reads), end.concat()].concat()
}

/// A Stat as it stands on the wire.
fn stat_bytes(stat: &Stat) -> Vec<u8> {
    let Stat { czxid, mzxid, ctime, mtime, version, cversion, aversion, .. } = *stat;
    let longs = [czxid.0, mzxid.0, ctime, mtime].map(i64::to_be_bytes).concat();
    let ints = [version, cversion, aversion].map(i32::to_be_bytes).concat();
    let lengths = [stat.data_length, stat.num_children].map(i32::to_be_bytes).concat();
    let (owner, pzxid) = (stat.ephemeral_owner.to_be_bytes(), stat.pzxid.0.to_be_bytes());
    [&longs[..], &ints, &owner, &lengths, &pzxid].concat()
}

/// A multiRead's reply: for each node its Stat, with as much data as that says, and the names of its children if they were
/// asked for.
fn found(nodes: &[(Stat, Option<&[&str]>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (node, children) in nodes {
        body.extend([&4i32.to_be_bytes()[..], &[0; 5], &node.data_length.to_be_bytes()].concat());
        body.extend(vec![0; node.data_length as usize]);
        body.extend(stat_bytes(node));
        if let Some(names) = children {
            body.extend([&8i32.to_be_bytes()[..], &[0; 5], &(names.len() as i32).to_be_bytes()].concat());
            for name in *names {
                body.extend([&(name.len() as i32).to_be_bytes()[..], name.as_bytes()].concat());
            }
        }
    }
    [body, missing(0)].concat()
}

impl Line {
    fn new() -> Line {
        Line::below("/")
    }

    fn below(chroot: &str) -> Line {
        Line::with(chroot, WatchMode::Recursive)
    }

    fn with(chroot: &str, watch: WatchMode) -> Line {
        let modes = Modes { watch, ..Modes::default() };
        let (mut group, now) =
            (Group::new(path(chroot), modes, Rng::with_seed(1)), std::time::Instant::now());
        group.handle_connected(true, "s:1", now);
        Line { group, now, asked: Default::default(), keeper: None }
    }

    fn open(&mut self, id: u64, root: &str) {
        self.open_with(id, root, options());
    }

    fn open_with(&mut self, id: u64, root: &str, options: Options) {
        self.group.handle_input(CacheId(id), Input::Open(path(root), options), self.now);
    }

    fn close(&mut self, id: u64) {
        self.group.handle_input(CacheId(id), Input::Close, self.now);
    }

    fn told(&mut self, kind: NotificationKind, path: &str) {
        self.group.handle_notification(&Notification { kind, path: path.to_owned() }, self.now);
    }

    /// What is asked for now. What kind of server it is is said at once.
    fn asks(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Some((request, purpose)) = self.group.poll_request(self.now) {
            if request == Request::FeatureFlags {
                let (error, body) = match self.keeper {
                    Some(czxid) => (ServerError::OK, [&czxid.0.to_be_bytes()[..], &[0; 60]].concat()),
                    None => (ServerError::NO_NODE, Vec::new()),
                };
                self.group.handle_reply(&purpose, Zxid(9), error, &body, self.now).expect("nothing wrong");
                continue;
            }
            requests.push(request.clone());
            self.asked.push_back((request, purpose));
        }
        requests
    }

    /// The server answers what was asked for first.
    fn answer(&mut self, error: ServerError) {
        let Some((Request::MultiRead(reads), _)) = self.asked.front() else {
            return self.answer_with(error, &[]);
        };
        let body = missing(reads.iter().map(wire::Read::operations).sum());
        self.answer_with(error, &body);
    }

    fn answer_with(&mut self, error: ServerError, body: &[u8]) {
        self.try_answer(error, body).expect("nothing wrong");
    }

    fn try_answer(&mut self, error: ServerError, body: &[u8]) -> Result<(), Breach> {
        self.try_answer_at(Zxid(9), error, body)
    }

    fn try_answer_at(&mut self, zxid: Zxid, error: ServerError, body: &[u8]) -> Result<(), Breach> {
        let (_, purpose) = self.asked.pop_front().expect("asked for something");
        self.group.handle_reply(&purpose, zxid, error, body, self.now)
    }

    fn answer_all(&mut self) {
        while !self.asks().is_empty() || !self.asked.is_empty() {
            self.answer(ServerError::OK);
        }
    }

    /// The last state of each cache.
    fn states(&mut self) -> std::collections::BTreeMap<u64, State> {
        let told = std::iter::from_fn(|| self.group.poll_output());
        told.filter_map(|(CacheId(id), output)| match output {
            Output::State(state) => Some((id, state)),
            _ => None,
        })
        .collect()
    }
}

#[test]
fn caches_with_one_root_share_a_watch_and_the_last_one_removes_it() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.open(2, "/a");
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    line.answer_all();
    line.open(3, "/a");
    line.answer_all();
    assert_eq!(line.states().into_values().collect::<Vec<_>>(), [State::InStep; 3]);
    line.close(1);
    line.close(3);
    assert_eq!(line.asks(), []);
    line.close(2);
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a"))]);
    // Opened again before the answer, and with a notification that belongs to the old one.
    line.open(4, "/a");
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    line.told(NotificationKind::Created, "/a");
    line.answer_all();
    assert_eq!(line.states().get(&4), Some(&State::InStep));
}

#[test]
fn a_cache_that_a_limit_has_stopped_says_no_more_how_far_its_server_was() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { limit_nodes: 1, ..options() });
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    let newest = Zxid((6 << 32) + 5);
    let root = Stat {
        czxid: Zxid(1),
        mzxid: Zxid(1),
        pzxid: newest,
        num_children: 1,
        cversion: 1,
        ..Stat::default()
    };
    // A new leader names no transaction.
    let body = found(&[(root, Some(&["b"]))]);
    line.try_answer_at(Zxid(7 << 32), ServerError::OK, &body).expect("nothing wrong");
    assert_eq!(line.group.undated_newest(), newest);
    assert!(matches!(line.asks()[..], [Request::Barrier(None), Request::MultiRead(_)]));
    line.asked.pop_front();
    let child = Stat { czxid: newest, mzxid: newest, pzxid: newest, ..Stat::default() };
    let body = found(&[(child, Some(&[]))]);
    line.try_answer_at(Zxid(7 << 32), ServerError::OK, &body).expect("nothing wrong");
    assert_eq!(line.states().get(&1), Some(&State::Closed));
    assert_eq!(line.group.undated_newest(), Zxid(0));
}

#[test]
fn the_parents_of_a_root_are_made_as_containers_where_a_server_has_them() {
    let mut line = Line::below("/app");
    let options = Options { create_root: true, container_parents: true, ..options() };
    line.open_with(1, "/a/b", options);
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    line.answer(ServerError::OK);
    let container = |at: &str| Request::CreateContainerFromServerRoot(path(at));
    let root = Request::CreateFromServerRoot(path("/app/a/b"));
    assert_eq!(line.asks(), [container("/app"), container("/app/a"), root]);
    line.answer(ServerError::NODE_EXISTS);
    line.answer(ServerError::UNIMPLEMENTED);
    // It closes the connection. The next one is no better, and is not asked again.
    line.asked.clear();
    line.group.handle_suspended(None, line.now);
    line.group.handle_connected(true, "server", line.now);
    for _ in 0..5 {
        let asks = line.asks();
        assert!(!asks.contains(&container("/app")), "{asks:?}");
        while !line.asked.is_empty() {
            line.answer(ServerError::OK);
        }
        line.group.handle_timeout(line.now);
    }
    let (mut faults, mut state) = (Vec::new(), None);
    while let Some((_, output)) = line.group.poll_output() {
        match output {
            Output::Fault(fault) => faults.push(fault),
            Output::State(told) => state = Some(told),
            _ => {}
        }
    }
    assert_eq!(faults.iter().map(|fault| fault.status).collect::<Vec<_>>(), [Status::Unsupported]);
    assert!(faults[0].message.contains("root.container"), "{}", faults[0].message);
    assert_eq!(state, Some(State::InStep));
}

#[test]
fn the_answer_to_a_watch_that_was_dropped_says_nothing_about_the_next_one() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.asks();
    line.close(1);
    line.open(2, "/a");
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a")), Request::AddWatch(path("/a"))]);
    line.answer(ServerError::OK);
    assert_eq!(line.asks(), [], "nothing is read before the watch is there");
    line.answer_all();
    assert_eq!(line.states().get(&2), Some(&State::InStep));
}

#[test]
fn a_watch_that_is_refused_is_asked_of_the_next_server_and_one_that_is_throttled_is_asked_for_again() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::THROTTLED);
    assert_eq!(line.asks(), []);
    line.now = line.group.poll_timeout().expect("later");
    line.group.handle_timeout(line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    let refused = line.try_answer(ServerError::UNIMPLEMENTED, &[]);
    assert_eq!(refused, Err(Breach::NoWatches(ServerError::UNIMPLEMENTED)));
    line.open(2, "/a");
    assert_eq!(line.asks(), []);
    assert_eq!(line.group.poll_timeout(), None);
    assert_eq!(line.group.refusals(), 1);
    line.group.handle_suspended(None, line.now);
    line.open(3, "/b");
    line.group.handle_connected(true, "s:1", line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a")), Request::AddWatch(path("/b"))]);
    line.answer_all();
    assert_eq!(line.group.refusals(), 0);
    assert!(line.states().into_values().eq([State::InStep; 3]));
}

#[test]
fn a_server_that_refuses_one_watch_refuses_all_of_them() {
    // It closes the connection behind its first answer, so that there may be no second one.
    let mut line = Line::new();
    line.open(1, "/a");
    line.open(2, "/b");
    assert_eq!(line.asks(), [Request::AddWatch(path("/a")), Request::AddWatch(path("/b"))]);
    assert!(line.try_answer(ServerError::MARSHALLING, &[]).is_err());
    assert_eq!(line.asks(), []);
    line.answer(ServerError::MARSHALLING);
    assert_eq!(line.group.refusals(), 1, "the same server, once");
}

#[test]
fn caches_take_turns_within_one_budget_which_closed_ones_give_back() {
    let mut line = Line::new();
    for id in 0..600 {
        line.open(id, &format!("/{id}"));
    }
    while line.asks().iter().any(|request| matches!(request, Request::AddWatch(_))) {
        while matches!(line.asked.front(), Some((Request::AddWatch(_), _))) {
            line.answer(ServerError::OK);
        }
    }
    let in_flight = line.asked.len();
    assert!((1..600).contains(&in_flight), "{in_flight} at a time");
    for id in 0..300 {
        line.close(id);
    }
    line.answer_all();
    let states = line.states();
    assert_eq!(states.len(), 300);
    assert!(states.into_values().all(|state| state == State::InStep));
    // All of it is there again.
    for id in 1000..1600 {
        line.open(id, "/300");
    }
    assert_eq!(line.asks().len(), in_flight);
}

#[test]
fn a_barrier_that_is_refused_is_one_and_the_next_spares_the_servers_root() {
    // Where the server says so: in the body, or in the header.
    for (error, body) in
        [(ServerError::OK, &[255, 255, 255, 255, 0, 255, 255, 255, 154][..]), (ServerError::NO_AUTH, &[])]
    {
        let mut line = Line::new();
        line.open(1, "/a");
        line.answer_all();
        for (number, expected) in [None, Some(path("/a")), Some(path("/a"))].into_iter().enumerate() {
            line.group.handle_input(CacheId(1), Input::Sync(Ticket(number as u64 + 1)), line.now);
            assert_eq!(line.asks(), [Request::Barrier(expected)]);
            line.answer_with(error, body);
            let synced = std::iter::from_fn(|| line.group.poll_output())
                .filter(|(_, output)| matches!(output, Output::Synced(..)));
            assert_eq!(synced.count(), 1);
        }
    }
}

#[test]
fn a_cache_that_is_opened_without_a_connection_takes_no_watch_of_the_last_one_for_its_own() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.answer_all();
    line.group.handle_suspended(Some(Zxid(9)), line.now);
    line.open(2, "/a");
    line.group.handle_input(CacheId(2), Input::Sync(Ticket(1)), line.now);
    let answers: Vec<_> = std::iter::from_fn(|| line.group.poll_output())
        .filter_map(|(_, output)| match output {
            Output::Synced(ticket, answer) => Some((ticket, answer)),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [(Ticket(1), Err(Status::Connection))]);
}

#[test]
fn a_candidate_that_was_filled_with_more_than_a_limit_allows_ends_the_cache_too() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { limit_bytes: 100, ..options() });
    line.asks();
    line.answer(ServerError::OK);
    let node =
        |at: i64, num_children| Stat { czxid: Zxid(at), mzxid: Zxid(at), num_children, ..Stat::default() };
    for (at, names) in [(1, &["b"][..]), (2, &["c"]), (3, &[])] {
        line.asks();
        line.answer_with(ServerError::OK, &found(&[(node(at, names.len() as i32), Some(names))]));
    }
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // A candidate lacks "/a/b/c" alone.
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    assert_eq!(line.asks(), [Request::Barrier(None)]);
    line.told(NotificationKind::DataChanged, "/a/b/c");
    assert!(matches!(line.asks()[..], [Request::MultiRead(_)]));
    line.answer(ServerError::OK);
    // What is read of it finds no place in the tree any more, and one in the candidate.
    line.told(NotificationKind::Deleted, "/a/b");
    line.answer_with(
        ServerError::OK,
        &found(&[(Stat { mzxid: Zxid(9), version: 1, data_length: 500, ..node(3, 0) }, None)]),
    );
    assert_eq!(line.states().get(&1), Some(&State::Closed));
}

#[test]
fn a_reply_with_other_results_than_asked_for_is_malformed_and_makes_no_cut() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    // The root's data and its child list; and with one result that nobody asked for.
    let (whole, more) = (missing(2), missing(3));
    for reply in (0..whole.len()).map(|len| &whole[..len]).chain([&more[..]]) {
        let reads = match line.asked.front() {
            Some((_, Purpose::Nodes { reads, parts, cache, expected })) => Purpose::Nodes {
                reads: reads.clone(),
                parts: parts.clone(),
                cache: *cache,
                expected: *expected,
            },
            other => panic!("{other:?}"),
        };
        assert!(line.group.handle_reply(&reads, Zxid(9), ServerError::OK, reply, line.now).is_err());
    }
    assert_eq!(line.states().get(&1), Some(&State::Loading));
}

/// The answer to the read of a node without data, and of its child list if that was read.
fn node_with(num_children: i32, names: Option<&[&str]>) -> Vec<u8> {
    found(&[(Stat { num_children, ..Stat::default() }, names)])
}

#[test]
fn a_node_that_claims_more_children_than_there_can_be_holds_up_nobody() {
    for claimed in [i32::MAX, 1_000_000, -1, i32::MIN] {
        let mut line = Line::new();
        line.open(1, "/a");
        line.open(2, "/b");
        line.asks();
        line.answer(ServerError::OK);
        line.answer(ServerError::OK);
        line.asks();
        let (_, purpose) = line.asked.pop_front().expect("a root is read");
        let body = node_with(claimed, Some(&["x"]));
        line.group.handle_reply(&purpose, Zxid(9), ServerError::OK, &body, line.now).expect("well formed");
        line.answer_all();
        assert_eq!(line.states().into_values().collect::<Vec<_>>(), [State::InStep; 2], "{claimed}");
    }
}

#[test]
fn a_chain_of_five_thousand_levels_is_loaded_verified_and_dropped_on_a_small_stack() {
    const LEVELS: usize = 5000;
    let chain = || {
        let mut line = Line::new();
        let long = Options { limit_path: 64 << 10, ..options() };
        line.group.handle_input(CacheId(1), Input::Open(path("/n"), long), line.now);
        line.asks();
        line.answer(ServerError::OK);
        let mut levels = 1;
        while !line.asks().is_empty() {
            let (request, purpose) = line.asked.pop_front().expect("asked for something");
            let Request::MultiRead(reads) = request else { panic!("{request:?}") };
            let (is_last, is_listed) = (levels == LEVELS, reads.len() == 2);
            let children: &[&str] = if is_last { &[] } else { &["n"] };
            let body = node_with(children.len() as i32, is_listed.then_some(children));
            levels += usize::from(is_listed && !is_last);
            line.group
                .handle_reply(&purpose, Zxid(9), ServerError::OK, &body, line.now)
                .expect("well formed");
        }
        assert_eq!(levels, LEVELS);
        let version = std::iter::from_fn(|| line.group.poll_output())
            .filter_map(
                |(_, output)| if let Output::Publish(version, _) = output { Some(version) } else { None },
            )
            .last();
        assert_eq!(version.expect("a version").tree.len(), LEVELS);
        line.group.handle_suspended(Some(Zxid(9)), line.now);
        line.group.handle_connected(true, "s:1", line.now);
        line.answer_all();
        line.now += Duration::from_secs(1);
        line.group.handle_timeout(line.now);
        line.answer_all();
        assert_eq!(line.states().get(&1), Some(&State::InStep));
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(chain).unwrap();
    thread.join().unwrap();
}

#[test]
fn notifications_without_any_reply_ask_for_no_more_than_the_budget_and_end_at_a_limit() {
    let mut line = Line::new();
    line.open(1, "/a");
    let limited = Options { limit_nodes: 50_000, ..options() };
    line.group.handle_input(CacheId(2), Input::Open(path("/a"), limited), line.now);
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    for _ in 0..2 {
        let (_, purpose) = line.asked.pop_front().expect("the root is read");
        let body = node_with(0, Some(&[]));
        line.group.handle_reply(&purpose, Zxid(9), ServerError::OK, &body, line.now).expect("well formed");
    }
    let mut asked = 0;
    for n in 0..100_000 {
        let created = format!("/a/{n}");
        let notification = Notification { kind: NotificationKind::Created, path: created.clone() };
        line.group.handle_notification(&notification, line.now);
        asked += line.asks().len();
    }
    assert!(asked <= 16, "{asked} requests, and no answer");
    let states = line.states();
    assert_eq!((states[&1], states[&2]), (State::CatchingUp, State::Closed));
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

#[test]
fn a_failure_that_names_no_zxid_is_no_bound_of_a_version() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    let (_, purpose) = line.asked.pop_front().expect("the root is read");
    line.group.handle_reply(&purpose, Zxid(-1), ServerError::THROTTLED, &[], line.now).expect("well formed");
    line.now += Duration::from_secs(1);
    line.group.handle_timeout(line.now);
    line.asks();
    // The root, with a child that is still to be read.
    let body = node_with(1, Some(&["x"]));
    let (_, purpose) = line.asked.pop_front().expect("the root is read again");
    line.group.handle_reply(&purpose, Zxid(9), ServerError::OK, &body, line.now).expect("well formed");
    line.now += Duration::from_secs(1);
    line.group.handle_timeout(line.now);
    let told = std::iter::from_fn(|| line.group.poll_output());
    let versions: Vec<_> = told
        .filter_map(|(_, output)| match output {
            Output::Publish(version, _) => Some((version.zxid, version.is_cut)),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [(Zxid(9), false)]);
}

#[test]
fn what_is_below_a_root_that_is_not_there_shows_that_it_is() {
    for (root, below) in [("/", "/a/b"), ("/r", "/r/a/b")] {
        for kind in [NotificationKind::Created, NotificationKind::DataChanged] {
            let mut line = Line::new();
            line.open(1, root);
            line.answer_all();
            assert_eq!(line.states().get(&1), Some(&State::InStep), "without a root");
            let notification = Notification { kind, path: below.to_owned() };
            line.group.handle_notification(&notification, line.now);
            assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
            let expected = [wire::Read::Data(path(root)), wire::Read::Children(path(root))];
            assert_eq!(line.asks(), [Request::MultiRead(expected.to_vec())], "{below}");
        }
    }
}
