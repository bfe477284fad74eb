//! Caches that begin with a tree that another one has read.

use std::sync::Arc;

use super::model::{World, Write, by_anyone, options, path};
use super::*;
use crate::selection::Effect;
use crate::stat::Stat;
use crate::tree::{Node, Tree, Version};

/// What a cache was in step with that had these nodes.
fn known(writes: &[Write]) -> (Arc<Version>, World) {
    let world = World::in_step_with(writes);
    (world.version(), world)
}

#[test]
fn a_known_tree_is_shown_at_once_and_only_what_differs_is_published() {
    let (version, mut old) = known(&wide(300));
    for changed in [0, 3] {
        (0..changed).for_each(|n| old.write(&[set(&format!("/{n}"), 5)]));
        let mut world = World::of_the_same_user(options(), version.clone(), &old.server);
        assert_eq!((world.state, world.versions.len(), world.events.len()), (State::Warm, 1, 0));
        assert!(Arc::ptr_eq(&world.version(), &version) && world.version().is_cut);
        world.connect();
        assert_eq!(world.state, State::CatchingUp);
        world.rest();
        world.assert_in_step();
        assert_eq!(world.events, [EventKind::Initialized, EventKind::InStep]);
        assert_eq!(world.asked.syncs, 1, "a barrier");
        assert_eq!((world.asked.nodes, world.asked.lists, world.asked.stats), (301, 0, 0));
        let is_shared = world.version().tree.is(&version.tree);
        assert_eq!((is_shared, world.versions.len() == 1), (changed == 0, changed == 0));
        assert_eq!((world.progress.resyncs, world.resets_of_its_own, world.faults()), (1, 0, 0));
    }
}

#[test]
fn without_a_server_it_stays_warm_and_what_is_absent_is_known_to_be() {
    let (version, old) = known(&wide(3));
    let mut world = World::from(version, &old.server);
    world.sync(1);
    assert_eq!(world.synced, [(1, Err(Status::Connection))]);
    assert_eq!(world.state, State::Warm);
    assert!(world.version().is_complete);
    world.close();
    assert_eq!(world.state, State::Lost);
}

#[test]
fn nothing_is_read_or_believed_of_a_server_before_it_has_come_up_to_the_tree() {
    let (_, mut old) = known(&wide(5));
    let (behind, time) = (old.server.zxid, old.server.time);
    let later = [create("/x"), create("/x/y"), delete("/1"), set("/2", 3), delete("/x/y"), create("/1")];
    later.iter().for_each(|write| old.write(std::slice::from_ref(write)));
    old.rest();
    old.assert_in_step();
    let mut world = World::of_the_same_user(options(), old.version(), &old.server);
    world.server.put_back(behind);
    world.server.time = time;
    world.connect();
    world.serve();
    world.deliver();
    world.advance(Duration::from_secs(1));
    // What comes now is known, and must not undo what came behind it.
    for write in &later {
        world.write(std::slice::from_ref(write));
        world.deliver();
        assert_eq!((world.versions.len(), world.asked.nodes), (1, 0), "{write:?}");
    }
    world.rest();
    world.assert_in_step();
    assert_eq!((world.versions.len(), world.resets_of_its_own), (1, 0));
}

#[test]
fn a_barrier_that_could_not_be_made_is_asked_for_again_on_this_connection_or_the_next() {
    let (version, old) = known(&wide(5));
    let mut world = World::from(version, &old.server);
    world.connect();
    world.serve();
    world.deliver();
    world.throttled = 1;
    world.rest();
    world.assert_in_step();
    assert_eq!(world.asked.syncs, 2);

    let (version, old) = known(&wide(5));
    let mut world = World::from(version, &old.server);
    world.connect();
    world.drop_barriers = true;
    world.rest();
    assert_eq!((world.state, world.asked.nodes), (State::CatchingUp, 0));
    world.disconnect();
    world.drop_barriers = false;
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_call_of_sync_shares_the_barrier_and_waits_for_the_verification() {
    let (version, mut old) = known(&wide(5));
    old.write(&[set("/3", 7)]);
    let mut world = World::from(version, &old.server);
    world.connect();
    world.sync(1);
    world.rest();
    world.assert_in_step();
    assert_eq!((world.asked.syncs, &world.synced[..]), (1, &[(1, Ok(()))][..]));
}

#[test]
fn a_tree_of_another_history_is_a_reset_of_that_cache_and_all_is_read_anew() {
    // The server has not come so far; and it has, with other nodes at the same zxids.
    for later in [0, 400] {
        let mut world = World::in_step_with(&[]);
        wide(300).into_iter().for_each(|write| world.write(&[write]));
        world.rest();
        let version = world.version();
        let mut other = World::in_step_with(&[]);
        other.server.time += 1_000_000;
        wide(50).into_iter().for_each(|write| other.write(&[write]));
        (0..later).for_each(|_| other.write(&[]));
        assert_eq!(other.server.zxid < version.zxid, later == 0);
        let mut world = World::from(version, &other.server);
        world.connect();
        world.rest();
        world.assert_in_step();
        assert_eq!(world.resets_of_its_own, 1, "{later}");
        assert_eq!((world.resets(), world.faults()), (0, 1), "the connection goes on");
        assert!(world.versions.len() == 2 && world.version().is_cut, "it is never a mixture");
    }
}

#[test]
fn a_tree_that_was_found_to_be_the_servers_is_like_any_other() {
    for is_verified in [true, false] {
        let (version, old) = known(&wide(300));
        let mut world = World::from(version, &old.server);
        world.connect();
        // The barrier is through, and the tree is being read.
        for _ in 0..2 {
            world.serve();
            world.deliver();
        }
        world.advance(Duration::from_secs(1));
        world.serve();
        world.deliver();
        if is_verified {
            world.rest();
        }
        world.disconnect();
        world.server.put_back(Zxid(0));
        world.server.time += 1_000_000;
        world.write(&wide(300));
        (0..10).for_each(|_| world.write(&[]));
        world.connect();
        world.rest();
        world.assert_in_step();
        assert_eq!((world.resets() == 1, world.resets_of_its_own == 1), (is_verified, !is_verified));
    }
}

#[test]
fn the_lists_of_what_is_no_cut_are_read_whatever_their_stats_say() {
    let (version, old) = known(&[create(""), create("/a"), create("/a/b"), create("/c")]);
    // The list of "a" was known to have a child, which was not read yet.
    let mut tree = version.tree.clone();
    tree.remove("a/b");
    for is_complete in [true, false] {
        let torn = Version { tree: tree.clone(), zxid: Zxid(1), is_cut: false, is_complete, is_own: true };
        let mut world = World::from(Arc::new(torn), &old.server);
        assert_eq!(world.state, State::Warm);
        world.connect();
        assert_eq!(world.state, if is_complete { State::CatchingUp } else { State::Loading });
        world.rest();
        world.assert_in_step();
        assert_eq!(world.resets_of_its_own, 0);
        let lists = |world: &mut World| {
            world.disconnect();
            world.write(&[create("/d")]);
            world.asked = Asked::default();
            world.connect();
            world.rest();
            world.assert_in_step();
            world.asked.lists
        };
        let of_any_other = lists(&mut known(&[create(""), create("/a"), create("/a/b"), create("/c")]).1);
        assert_eq!(lists(&mut world), of_any_other, "from then on they are believed");
    }
}

#[test]
fn the_newest_node_of_what_is_no_cut_says_how_far_the_server_has_to_be() {
    let (version, _) = known(&wide(3));
    let torn = Version { zxid: Zxid(1), is_cut: false, ..(*version).clone() };
    let mut other = World::in_step_with(&[]);
    other.server.put_back(Zxid(0));
    let mut world = World::from(Arc::new(torn), &other.server);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.resets_of_its_own, 1);
}

#[test]
fn what_another_session_could_read_is_not_believed_to_be_open_to_this_one() {
    // Of large nodes the Stat is read by itself, which anybody may do.
    let nodes = [create(""), create("/big"), set("/big", 9000), create("/small")];
    let (version, mut old) = known(&nodes);
    let allow = |world: &mut World, open| {
        ["/big", "/small"].iter().for_each(|name| world.server.allow(&format!("{ROOT}{name}"), open));
    };
    allow(&mut old, false);
    let mut world = World::from(version, &old.server);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert!(["big", "small"].iter().all(|name| world.version().tree.get(name).unwrap().is_opaque()));

    // And the other way round.
    allow(&mut world, true);
    let mut world = World::from(world.version(), &world.server);
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn of_a_large_node_that_is_kept_alone_the_list_is_asked_for_and_not_kept() {
    let narrowed = || {
        let mut options = options();
        options.selection.add(Effect::Leaf, "*").unwrap();
        options
    };
    let mut old = World::new(narrowed(), 1);
    let nodes = [create(""), create("/big"), set("/big", 9000), create("/big/a"), create("/b")];
    nodes.into_iter().for_each(|write| old.write(&[write]));
    old.connect();
    old.rest();
    old.assert_in_step();
    let mut world = World::from_with(narrowed(), old.version(), &old.server);
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!((world.asked.stats, world.asked.lists, world.version().tree.len()), (1, 1, 3));
}

#[test]
fn a_version_that_holds_nothing_is_as_good_as_none() {
    let (_, old) = known(&wide(3));
    let mut world = World::from(Arc::default(), &old.server);
    assert_eq!((world.state, world.versions.len()), (State::Loading, 0));
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.asked.syncs, 0);
    // An empty tree is one, if somebody has seen that it is.
    let (version, old) = known(&[]);
    let mut world = World::from(version, &old.server);
    assert_eq!((world.state, world.versions.len()), (State::Warm, 1));
    world.write(&[create("")]);
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn a_tree_that_is_not_followed_is_held_once_it_is_verified() {
    let (version, mut old) = known(&wide(5));
    old.write(&[set("/3", 7)]);
    let mut line = Line::new();
    let options = Options { follow: false, ..options() };
    line.group.handle_input(CacheId(1), Input::OpenFrom(path(ROOT), options, by_anyone(version)), line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path(ROOT))]);
    line.answer(ServerError::OK);
    assert_eq!(line.asks(), [Request::Barrier(None)], "and nothing is read before its answer");
    let states: Vec<_> = std::iter::from_fn(|| line.group.poll_output())
        .filter_map(|(_, output)| match output {
            Output::State(state) => Some(state),
            _ => None,
        })
        .collect();
    assert_eq!(states, [State::Warm, State::CatchingUp]);
}

/// The answer to a multiRead of the data of a node with this Stat.
fn data_of(stat: &Stat) -> Vec<u8> {
    let mut body = [&4i32.to_be_bytes()[..], &[0], &0i32.to_be_bytes(), &0i32.to_be_bytes()].concat();
    for long in [stat.czxid.0, stat.mzxid.0, stat.ctime, stat.mtime] {
        body.extend(long.to_be_bytes());
    }
    for int in [stat.version, stat.cversion, stat.aversion] {
        body.extend(int.to_be_bytes());
    }
    body.extend(stat.ephemeral_owner.to_be_bytes());
    body.extend([stat.data_length, stat.num_children].map(i32::to_be_bytes).concat());
    body.extend(stat.pzxid.0.to_be_bytes());
    body.extend([&(-1i32).to_be_bytes()[..], &[1], &(-1i32).to_be_bytes()].concat());
    body
}

#[test]
fn the_flights_of_a_cache_that_begins_anew_are_counted_on() {
    // If a watch were taken for set in the wrong flight, what uses it up amid the read would be missed.
    let mut line = Line::with("/", WatchMode::OneShot);
    let stat = Stat { czxid: Zxid(3), mzxid: Zxid(3), pzxid: Zxid(3), ctime: 7, mtime: 7, ..Stat::default() };
    let mut tree = Tree::default();
    assert!(tree.put("", Some(Node::new(Arc::from([]), stat))));
    let version = Version { tree, zxid: Zxid(5), is_cut: true, is_complete: true, is_own: true };
    line.group.handle_input(
        CacheId(1),
        Input::OpenFrom(path("/a"), options(), by_anyone(Arc::new(version))),
        line.now,
    );
    line.asks();
    line.answer(ServerError::OK);
    line.now += Duration::from_secs(1);
    line.group.handle_timeout(line.now);
    let armed = |line: &mut Line| {
        line.asks();
        let of = |purpose: &Purpose| match purpose {
            Purpose::Arming { flight, .. } => Some(*flight),
            _ => None,
        };
        line.asked.iter().find_map(|(_, purpose)| of(purpose))
    };
    assert_eq!(armed(&mut line), Some(1));
    while let Some((request, _)) = line.asked.front() {
        match request {
            Request::MultiRead(_) => line.answer_with(ServerError::OK, &data_of(&Stat { ctime: 8, ..stat })),
            _ => line.answer(ServerError::OK),
        }
    }
    assert_eq!(armed(&mut line), Some(2));
    let outputs: Vec<_> = std::iter::from_fn(|| line.group.poll_output()).collect();
    let is_reset = |output: &Output| matches!(output, Output::Fault(fault) if fault.status == Status::Reset);
    assert!(outputs.iter().any(|(_, output)| is_reset(output)), "the root has another time");
}

#[test]
fn a_reset_of_one_cache_leaves_the_connection_and_the_others_alone() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.answer_all();
    // What is answered is at zxid 9, and this is of a transaction behind that.
    let mut tree = Tree::default();
    assert!(tree.put("", Some(Node::new(Arc::from([]), Stat::default()))));
    let version = Version { tree, zxid: Zxid(20), is_cut: true, is_complete: true, is_own: true };
    line.group.handle_input(
        CacheId(2),
        Input::OpenFrom(path("/a"), options(), by_anyone(Arc::new(version))),
        line.now,
    );
    let mut outputs = Vec::new();
    line.answer_all();
    outputs.extend(std::iter::from_fn(|| line.group.poll_output()));
    let resets = outputs
        .iter()
        .filter(|(_, output)| matches!(output, Output::Fault(fault) if fault.status == Status::Reset));
    assert_eq!(resets.map(|(id, _)| id.0).collect::<Vec<_>>(), [2]);
    let last = outputs.iter().rev().find_map(|(id, output)| match output {
        Output::State(state) if id.0 == 2 => Some(*state),
        _ => None,
    });
    assert_eq!(last, Some(State::InStep));
    assert!(
        !outputs
            .iter()
            .any(|(id, output)| id.0 == 1 && matches!(output, Output::Event(EventKind::ConnectionSuspended)))
    );
}
