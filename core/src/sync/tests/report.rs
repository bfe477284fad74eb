//! Verification by report.

use std::sync::Arc;
use std::time::Duration;

use super::model::{Asked, World, Write, options};
use super::{create, delete, set, wide};
use crate::stat::Zxid;
use crate::state::State;
use crate::sync::{Options, VerifyMode};
use crate::tree::Version;
use crate::wire::ServerError;

/// In step with a root and so many children, each of which was created by a transaction of its own.
fn in_step_with(nodes: usize) -> World {
    let mut world = World::new(Options { verify: VerifyMode::Report, ..options() }, 1);
    world.write(&[create("")]);
    for n in 0..nodes {
        world.write(&[create(&format!("/{n:04}"))]);
    }
    world.reports = true;
    world.connect();
    world.rest();
    world.asked = Asked::default();
    world
}

/// Begun with what another cache has, of the same user or of another one, behind some changes.
fn begun_with_what_another_has(options: Options, is_same_user: bool) -> World {
    let mut old = in_step_with(1000);
    let version = old.version();
    some_changes().into_iter().for_each(|write| old.write(&[write]));
    let mut world = match is_same_user {
        true => World::of_the_same_user(options, version, &old.server),
        false => World::from_with(options, version, &old.server),
    };
    world.reports = true;
    world.connect();
    world.rest();
    world.assert_in_step();
    world
}

#[test]
fn of_a_tree_that_the_same_user_has_read_only_what_has_changed_is_read() {
    let reports = Options { verify: VerifyMode::Report, ..options() };
    let Asked { compared, nodes, syncs, .. } = begun_with_what_another_has(reports.clone(), true).asked;
    assert!((990..=1001).contains(&compared), "{compared}");
    assert!((60..=120).contains(&nodes), "{nodes}: anchors, and a few more");
    assert_eq!(syncs, 1, "the barrier");
    // What another one could read may be closed to this one, of which no server tells.
    let Asked { compared, nodes, .. } = begun_with_what_another_has(reports, false).asked;
    assert!(compared == 0 && nodes > 1000, "{compared} compared, {nodes} read");
    let reads = Options { verify: VerifyMode::Read, ..options() };
    let Asked { compared, nodes, .. } = begun_with_what_another_has(reads, true).asked;
    assert!(compared == 0 && nodes > 1000, "{compared} compared, {nodes} read");
}

#[test]
fn what_another_has_read_is_his_until_it_is_verified() {
    let reports = || Options { verify: VerifyMode::Report, ..options() };
    let old = in_step_with(1000);
    // It began with another's tree, and has had no server yet: so what it hands on is still another's.
    let warm = World::from_with(reports(), old.version(), &old.server);
    let begun_with = |cache: &World| {
        let mut world = World::of_the_same_user(reports(), cache.version(), &cache.server);
        world.reports = true;
        world.connect();
        world.rest();
        world.assert_in_step();
        world
    };
    let verified = begun_with(&warm);
    let Asked { compared, nodes, .. } = verified.asked;
    assert!(compared == 0 && nodes > 1000, "{compared} compared, {nodes} read");
    let Asked { compared, nodes, .. } = begun_with(&verified).asked;
    assert!(compared > 1000 && nodes < 100, "{compared} compared, {nodes} read");
}

#[test]
fn of_a_known_tree_that_is_no_cut_all_is_read() {
    let old = in_step_with(1000);
    let torn = Version { is_cut: false, ..(*old.version()).clone() };
    let reports = Options { verify: VerifyMode::Report, ..options() };
    let mut world = World::of_the_same_user(reports, Arc::new(torn), &old.server);
    world.reports = true;
    world.connect();
    world.rest();
    world.assert_in_step();
    assert!(world.asked.compared == 0 && world.asked.nodes > 1000, "{:?}", world.asked);
}

fn some_changes() -> Vec<Write> {
    vec![
        set("/0003", 7),
        delete("/0100"),
        create("/new"),
        create("/new/below"),
        create("/0200/below"),
        delete("/0300"),
        create("/0300"),
    ]
}

#[test]
fn a_reconnect_reads_what_has_changed_and_not_what_exists() {
    let mut world = in_step_with(1000);
    world.disconnect();
    some_changes().into_iter().for_each(|write| world.write(&[write]));
    world.connect();
    world.rest();
    world.assert_in_step();
    let Asked { compared, nodes, .. } = world.asked;
    assert!((990..=1001).contains(&compared), "{compared}");
    assert!((60..=120).contains(&nodes), "{nodes}: anchors, and a few more");
    assert_eq!(world.progress.resyncs, 1);
}

#[test]
fn what_another_server_reports_is_read_and_not_believed() {
    let mut world = in_step_with(100);
    world.write(&[create("/0050/below")]);
    world.rest();
    world.disconnect();
    world.write(&[set("/0001", 3)]);
    world.connect();
    until_report(&mut world);
    // The other server has come further.
    let chunk = world.cache.poll_chunk(crate::sync::CacheId(1)).expect("all of it");
    world.server.transact(&[delete("/0050/below"), set("/0051", 9)]);
    let mut told = world.server.compare(&chunk);
    // Its parent was compared before that.
    told.retain(|(_, path)| path.as_str() != "/r/0050");
    world.server.fall_behind();
    for (kind, path) in told {
        world.cache.handle_reported(kind, &path);
    }
    world.cache.handle_compared(&chunk, world.now);
    world.advance(Duration::ZERO);
    world.rest();
    world.assert_in_step();
    world.write(&[delete("/0050/below"), set("/0051", 9)]);
    world.rest();
    world.assert_in_step();
}

/// Lets everything happen up to the moment at which another session is wanted.
fn until_report(world: &mut World) {
    world.reports = false;
    world.rest_for(Duration::from_millis(10));
    assert!(world.cache.wants_report().is_some());
    assert_eq!(world.state, State::CatchingUp);
    world.reports = true;
}

#[test]
fn what_is_notified_of_during_a_report_is_read_too() {
    let mut world = in_step_with(2500);
    world.disconnect();
    world.write(&[set("/0001", 3)]);
    world.connect();
    until_report(&mut world);
    assert!(world.report(), "some of it");
    for write in [set("/0000", 5), delete("/0002"), create("/0003/x"), set("/0999", 5)] {
        world.write(&[write]);
    }
    world.rest();
    world.assert_in_step();
    assert!(world.asked.nodes <= 120, "{:?}", world.asked);
}

#[test]
fn where_the_history_has_branched_what_is_newer_than_the_common_point_is_read() {
    let mut world = in_step_with(1000);
    world.disconnect();
    world.server.put_back(Zxid(900));
    world.server.time += 60_000;
    // Other transactions have the zxids that are known.
    for n in 0..150 {
        world.write(&[set("/0001", n)]);
    }
    world.write(&[delete("/0002")]);
    world.connect();
    // That the history is another one is told where something shows it, and then all is forgotten.
    world.rest();
    world.assert_in_step();
}

#[test]
fn where_no_other_session_can_be_had_all_is_read() {
    let mut world = in_step_with(100);
    world.disconnect();
    some_changes().into_iter().for_each(|write| world.write(&[write]));
    world.connect();
    until_report(&mut world);
    assert!(world.cache.poll_chunk(crate::sync::CacheId(1)).is_some());
    world.cache.report_failed();
    world.advance(Duration::ZERO);
    world.rest();
    world.assert_in_step();
    assert_eq!(world.asked.compared, 0);
    assert!(world.asked.nodes > 100);
}

#[test]
fn where_a_third_has_changed_all_is_read() {
    let mut world = in_step_with(99);
    for n in 0..40 {
        world.write(&[set(&format!("/{n:04}"), 2)]);
    }
    // That was notified of, and not read.
    world.disconnect();
    world.write(&[set("/0050", 3)]);
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn where_nobody_has_written_no_session_is_made_for_the_question() {
    for written in [false, true] {
        let mut world = in_step_with(1000);
        world.sync(1);
        world.write(&[set("/0001", 3)]);
        // The barrier's reply is newer than what was notified of, and that is not read any more.
        assert!(world.serve() && world.deliver() && world.deliver());
        world.disconnect();
        if written {
            world.write(&[set("/0002", 4)]);
        }
        world.connect();
        world.rest();
        world.assert_in_step();
        let Asked { compared, nodes, .. } = world.asked;
        assert_eq!((compared > 900, nodes > 900), (written, !written), "{compared} compared, {nodes} read");
    }
}

#[test]
fn a_verification_that_is_cut_off_says_nothing_of_what_it_has_not_come_to() {
    let mut world = in_step_with(2500);
    world.disconnect();
    for n in (0..2500).step_by(10) {
        world.write(&[set(&format!("/{n:04}"), 3)]);
    }
    world.connect();
    until_report(&mut world);
    assert!(world.report(), "some of it");
    world.reports = false;
    world.rest_for(Duration::from_millis(10));
    world.reports = true;
    assert_eq!(world.state, State::CatchingUp);
    world.disconnect();
    world.write(&[set("/0001", 5)]);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert!(world.asked.nodes < 700, "{:?}", world.asked);
}

#[test]
fn behind_a_lost_watch_all_is_read() {
    // So slow that it comes to a few nodes only.
    let options =
        Options { verify: VerifyMode::Report, audit_interval: Duration::from_secs(1000), ..options() };
    let mut world = World::new(options, 1);
    world.write(&wide(2000));
    world.write(&[set("/7", 3)]);
    world.reports = true;
    world.connect();
    world.rest();
    world.strict = false;
    world.forget_watches();
    // No anchor.
    world.write(&[set("/1500", 3)]);
    // The audit comes to this one first, and that is newer.
    world.write(&[set("/0", 3)]);
    // Somebody asks, and what is known passes for a cut that has it.
    world.sync(1);
    world.rest_for(Duration::from_secs(1200));
    world.strict = true;
    assert_eq!(world.breaches.len(), 1, "and nothing is left for the audit to find");
    world.assert_in_step();
}

#[test]
fn the_audit_begins_a_pass_behind_a_report() {
    let options =
        Options { verify: VerifyMode::Report, audit_interval: Duration::from_secs(3600), ..options() };
    let mut world = World::new(options, 1);
    world.write(&wide(300));
    world.write(&[set("/7", 3)]);
    world.reports = true;
    world.connect();
    world.rest();
    world.disconnect();
    // Nothing tells of an ACL.
    world.write(&[Write::Open("/r/150".to_owned(), true), set("/8", 3)]);
    world.asked = Asked::default();
    world.connect();
    world.rest_for(Duration::from_secs(1));
    world.assert_in_step();
    let read = world.asked.nodes;
    assert!((65..200).contains(&read), "{read}: the anchors, what has changed, and a step of the audit");
}

#[test]
fn a_zxid_that_is_no_transaction_waits_for_a_barrier() {
    let mut world = in_step_with(100);
    world.disconnect();
    world.write(&[set("/0001", 3)]);
    // A new leader.
    world.server.zxid = Zxid(1 << 32);
    world.drop_barriers = true;
    world.connect();
    world.reports = false;
    world.rest();
    assert_eq!(world.cache.wants_report(), None, "no other server knows that zxid");
    world.disconnect();
    (world.drop_barriers, world.reports) = (false, true);
    world.connect();
    world.rest();
    assert_eq!(world.asked.syncs, 1, "which is a transaction");
    world.assert_in_step();
}

#[test]
fn a_call_of_sync_is_answered_though_a_report_that_nothing_has_changed_is_all_that_comes() {
    let mut world = in_step_with(100);
    world.disconnect();
    world.server.transact(&[]);
    world.connect();
    world.sync(1);
    until_report(&mut world);
    world.rest();
    world.assert_in_step();
    assert_eq!(world.synced, [(1, Ok(()))]);
}

#[test]
fn where_all_anchors_are_deleted_before_they_are_read_the_verification_goes_on() {
    let mut old = in_step_with(0);
    let version = old.version();
    old.write(&[set("", 3)]);
    let reports = Options { verify: VerifyMode::Report, ..options() };
    let mut world = World::of_the_same_user(reports, version, &old.server);
    world.reports = true;
    world.connect();
    world.serve();
    world.deliver();
    world.serve();
    world.advance(Duration::from_secs(1));
    assert!(world.asked.nodes == 0, "they wait for the barrier");
    world.write(&[delete("")]);
    // The reply to the barrier, and the deletion.
    world.deliver_all();
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_tree_that_is_not_followed_is_held_again_where_a_report_that_nothing_has_changed_is_all_that_comes() {
    let options = Options { verify: VerifyMode::Report, follow: false, ..options() };
    let mut world = World::new(options, 1);
    world.write(&[create("")]);
    world.reports = true;
    world.connect();
    world.rest();
    assert_eq!(world.state, State::Held);
    world.drop_barriers = true;
    world.sync(1);
    // The watch is set once more, and the server cannot catch up.
    world.cache.handle_watching(Some(world.server.zxid), false, world.now);
    world.advance(Duration::ZERO);
    world.cache.handle_synced(world.server.zxid, ServerError(-1), world.now);
    world.rest();
    assert_eq!(world.state, State::Held);
    assert!(world.asked.compared > 0, "{:?}", world.asked);
}
