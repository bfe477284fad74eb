//! What waits for a consumer, and what it is allowed to hold.

use super::*;
use crate::events::tests::room;
use crate::stat::{Stat, Zxid};
use crate::tree::{Node, Tree};
use EventKind::{
    ConnectionLost as Lost, ConnectionReconnected as Reconnected, ConnectionSuspended as Suspended, InStep,
    Initialized,
};
use proptest::prelude::*;
use std::sync::Weak;

/// A cut.
fn version(zxid: i64) -> Pending {
    Pending::Version {
        version: Arc::new(Version { zxid: Zxid(zxid), is_cut: true, ..Version::default() }),
        changes: 1,
        merged: false,
    }
}

fn no_cut(zxid: i64) -> Pending {
    let version = Arc::new(Version { zxid: Zxid(zxid), ..Version::default() });
    Pending::Version { version, changes: 1, merged: false }
}

/// The items in words: versions by their zxid.
fn drained(backlog: &mut Backlog) -> Vec<String> {
    std::iter::from_fn(|| backlog.pop())
        .map(|item| match item {
            Pending::Version { version, .. } => version.zxid.0.to_string(),
            Pending::Event(kind) => format!("{kind:?}"),
        })
        .collect()
}

#[test]
fn within_its_capacity_everything_is_kept_in_order() {
    let mut backlog = Backlog::new(room(4), Belief::default());
    for item in [version(1), Pending::Event(Initialized), version(2), version(3)] {
        backlog.push(item);
    }
    assert_eq!(drained(&mut backlog), ["1", "Initialized", "2", "3"]);
    assert!(backlog.belief.initialized);
    assert_eq!((backlog.weight, backlog.let_go.len()), (0, 0));
}

#[test]
fn beyond_its_capacity_the_newest_version_is_left() {
    let mut backlog = Backlog::new(room(2), Belief::default());
    for item in [version(1), version(2), Pending::Event(Initialized), Pending::Event(InStep), version(3)] {
        backlog.push(item);
    }
    assert_eq!(drained(&mut backlog), ["3", "Initialized", "InStep"]);
}

#[test]
fn in_step_is_told_behind_a_cut_also_where_the_newest_version_is_none() {
    let collapsed = |items: Vec<Pending>| {
        let mut backlog = Backlog::new(room(1), Belief::default());
        items.into_iter().for_each(|item| backlog.push(item));
        backlog.push(no_cut(9));
        drained(&mut backlog)
    };
    let in_step = || Pending::Event(InStep);
    assert_eq!(collapsed(vec![version(1), in_step()]), ["1", "InStep", "9"]);
    assert_eq!(collapsed(vec![version(1), version(2), in_step(), no_cut(3)]), ["2", "InStep", "9"]);
    assert_eq!(collapsed(vec![in_step(), no_cut(3)]), ["InStep", "9"], "of what was told before");
    let initialized = vec![version(1), Pending::Event(Initialized), in_step()];
    assert_eq!(collapsed(initialized), ["1", "Initialized", "InStep", "9"]);
    let suspended = vec![version(1), in_step(), Pending::Event(Suspended)];
    assert_eq!(collapsed(suspended), ["9", "ConnectionSuspended"]);
}

#[test]
fn a_version_says_whether_others_were_left_out_for_it() {
    let mut backlog = Backlog::new(room(2), Belief::default());
    let mut merged = |items: &[i64]| {
        items.iter().for_each(|zxid| backlog.push(version(*zxid)));
        std::iter::from_fn(|| backlog.pop())
            .map(|item| matches!(item, Pending::Version { merged: true, .. }))
            .collect::<Vec<_>>()
    };
    assert_eq!(merged(&[1, 2]), [false, false]);
    assert_eq!(merged(&[3, 4, 5]), [true]);
    assert_eq!(merged(&[6]), [false]);
}

#[test]
fn many_versions_without_changes_are_bounded_too() {
    let mut backlog = Backlog::new(room(usize::MAX), Belief::default());
    for zxid in 0..10 * MOST_VERSIONS as i64 {
        backlog.push(version(zxid));
        assert!(backlog.items.len() <= MOST_VERSIONS);
    }
}

#[test]
fn a_flapping_connection_is_told_once() {
    let mut backlog = Backlog::new(room(8), Belief::default());
    backlog.push(version(1));
    backlog.push(Pending::Event(Initialized));
    assert_eq!(drained(&mut backlog), ["1", "Initialized"]);
    for zxid in 2..1000 {
        for item in
            [Pending::Event(Suspended), Pending::Event(Reconnected), version(zxid), Pending::Event(InStep)]
        {
            backlog.push(item);
        }
    }
    backlog.collapse();
    assert_eq!(drained(&mut backlog), ["ConnectionSuspended", "ConnectionReconnected", "999", "InStep"]);
    for item in [Suspended, Lost, Reconnected, Initialized, InStep, Suspended, Lost, Reconnected] {
        backlog.push(Pending::Event(item));
    }
    backlog.push(version(1000));
    assert_eq!(
        drained(&mut backlog),
        ["ConnectionSuspended", "ConnectionLost", "ConnectionReconnected", "1000"]
    );
}

/// A cut whose one node has `data`, as `tree` becomes.
fn version_with(tree: &mut Tree, zxid: i64, data: usize) -> (Pending, Weak<[u8]>) {
    let stat = Stat { mzxid: Zxid(zxid), ..Stat::default() };
    let data: Arc<[u8]> = vec![0; data].into();
    let held = Arc::downgrade(&data);
    assert!(tree.put("", Some(Node::new(data, stat))));
    let version =
        Version { tree: tree.clone(), zxid: Zxid(zxid), is_cut: true, is_complete: true, is_own: true };
    (Pending::Version { version: Arc::new(version), changes: 1, merged: false }, held)
}

#[test]
fn what_the_versions_that_wait_hold_is_bounded_in_bytes() {
    const DATA: usize = 2000;
    let mut backlog = Backlog::new(Capacity { events: usize::MAX, bytes: 10 * DATA }, Belief::default());
    let (mut tree, mut nodes) = (Tree::default(), Vec::new());
    let mut most = 0;
    for zxid in 1..100 {
        let (item, node) = version_with(&mut tree, zxid, DATA);
        backlog.push(item);
        nodes.push(node);
        let alive = nodes.iter().filter(|node| node.strong_count() > 0).count();
        assert!(alive * DATA <= 11 * DATA, "{alive} nodes: the newest, and what waits beside it");
        most = most.max(alive);
    }
    assert!(most > 5, "within the bound all of them wait");
    let told = drained(&mut backlog);
    assert_eq!(told.last().map(String::as_str), Some("99"));
    assert_eq!((backlog.weight, backlog.held()), (0, 0));
}

#[test]
fn a_cut_that_in_step_speaks_of_is_held_beside_the_newest_version_and_no_other() {
    let mut backlog = Backlog::new(Capacity { events: usize::MAX, bytes: 1 }, Belief::default());
    let (mut tree, mut nodes) = (Tree::default(), Vec::new());
    for zxid in 1..50 {
        let (mut item, node) = version_with(&mut tree, zxid, 1000);
        if let Pending::Version { version, .. } = &mut item
            && zxid > 1
        {
            Arc::get_mut(version).expect("nobody has it").is_cut = false;
        }
        backlog.push(item);
        if zxid == 1 {
            backlog.push(Pending::Event(InStep));
        }
        nodes.push(node);
        assert!(nodes.iter().filter(|node| node.strong_count() > 0).count() <= 2);
    }
    assert_eq!(drained(&mut backlog), ["1", "InStep", "49"]);
}

proptest! {
    #[test]
    fn whatever_waits_holds_no_more_bytes_than_it_may(
        steps in prop::collection::vec((0usize..7, 1usize..3000), 1..200),
        bytes in 1usize..20_000,
    ) {
        let kinds = [Suspended, Reconnected, Lost, Initialized, InStep];
        let mut backlog = Backlog::new(Capacity { events: usize::MAX, bytes }, Belief::default());
        let (mut tree, mut nodes) = (Tree::default(), Vec::new());
        for (zxid, (step, data)) in steps.into_iter().enumerate() {
            match kinds.get(step) {
                Some(kind) => backlog.push(Pending::Event(*kind)),
                None => {
                    let (item, node) = version_with(&mut tree, zxid as i64, data);
                    backlog.push(item);
                    nodes.push((node, data));
                }
            }
            if step == 0 {
                backlog.pop();
            }
            // The tree at hand has the newest.
            let older = nodes.split_last().map_or(&nodes[..], |(_, older)| older);
            let held: usize = older.iter().filter(|(node, _)| node.strong_count() > 0).map(|(_, data)| data).sum();
            prop_assert!(held <= bytes, "{held} bytes");
        }
    }

    #[test]
    fn a_collapsed_backlog_ends_where_the_whole_one_does(
        kinds in prop::collection::vec(0usize..6, 0..200),
        capacity in 1usize..50,
    ) {
        let all = [Suspended, Reconnected, Lost, Initialized, InStep];
        let (mut whole, mut bounded) = (Backlog::new(room(usize::MAX), Belief::default()), Backlog::new(room(capacity), Belief::default()));
        for (zxid, kind) in kinds.iter().enumerate() {
            let item = || all.get(*kind).map_or_else(|| version(zxid as i64), |kind| Pending::Event(*kind));
            whole.push(item());
            bounded.push(item());
            prop_assert!(bounded.items.len() <= capacity.max(26));
        }
        let newest = |told: &[String]| told.iter().rfind(|item| item.parse::<i64>().is_ok()).cloned();
        let (all, some) = (drained(&mut whole), drained(&mut bounded));
        prop_assert!(whole.belief == bounded.belief);
        prop_assert_eq!(newest(&all), newest(&some));
        prop_assert_eq!(bounded.weight, 0);
        for kind in ["ConnectionSuspended", "ConnectionLost"] {
            prop_assert_eq!(all.iter().any(|item| item == kind), some.iter().any(|item| item == kind));
        }
        // No INITIALIZED before the version it speaks of.
        if let Some(at) = some.iter().position(|item| item == "Initialized")
            && let Some(first) = all.iter().position(|item| item == "Initialized")
            && all[..first].iter().any(|item| item.parse::<i64>().is_ok())
        {
            prop_assert!(some[..at].iter().any(|item| item.parse::<i64>().is_ok()));
        }
    }
}
