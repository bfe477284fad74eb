//! Trees of which a part is left out: what still counts, and what is not asked for.

use super::model::{World, Write, options};
use super::*;
use crate::selection::{Effect, Selection};

fn narrowed(depth: Option<usize>, patterns: &[(Effect, &str)]) -> Options {
    let mut selection = Selection::default();
    if let Some(depth) = depth {
        selection.limit_depth(depth);
    }
    for (effect, pattern) in patterns {
        selection.add(*effect, pattern).expect("a pattern");
    }
    Options { selection, ..options() }
}

fn in_step_with(options: Options, writes: &[Write]) -> World {
    let mut world = World::new(options, 1);
    writes.iter().for_each(|write| world.write(std::slice::from_ref(write)));
    world.connect();
    world.rest();
    world.assert_in_step();
    world.asked = Asked::default();
    world
}

/// The cache is disconnected; the server is put back by so many transactions, and goes on with these.
fn put_back(world: &mut World, resumes: bool, by: i64, transactions: &[&[Write]]) {
    world.disconnect();
    world.resumes = resumes;
    let zxid = Zxid(world.server.zxid.0 - by);
    world.server.put_back(zxid);
    transactions.iter().for_each(|writes| world.write(writes));
    world.connect();
    world.rest();
    world.assert_in_step();
}

#[test]
fn what_is_left_out_is_not_asked_for() {
    let mut writes = vec![create(""), create("/a"), create("/tmp"), create("/leaf"), create("/a/b")];
    writes.extend((0..50).flat_map(|n| {
        [format!("/tmp/{n}"), format!("/leaf/{n}"), format!("/a/b/{n}")].map(|path| create(&path))
    }));
    let rules = [(Effect::Exclude, "tmp"), (Effect::Leaf, "leaf")];
    let mut world = World::new(narrowed(Some(2), &rules), 1);
    writes.iter().for_each(|write| world.write(std::slice::from_ref(write)));
    world.connect();
    world.rest();
    world.assert_in_step();
    assert_eq!(world.version().tree.len(), 4);
    assert!(world.asked.nodes <= 10, "{} nodes asked for, and 4 are kept", world.asked.nodes);
    world.asked = Asked::default();
    // Below what is left out, nothing costs anything.
    let below = [create("/tmp/a"), set("/tmp/1", 3), set("/leaf/1", 3), set("/a/b/1", 3)];
    below.iter().for_each(|write| world.write(std::slice::from_ref(write)));
    world.rest();
    assert_eq!(world.asked.nodes, 0);
    world.assert_in_step();
}

#[test]
fn what_comes_and_goes_beyond_the_border_moves_its_stat() {
    let rules = [(Effect::Exclude, "x*")];
    let mut world = in_step_with(narrowed(Some(1), &rules), &[create(""), create("/a"), create("/b")]);
    for write in [create("/a/1"), create("/a/2"), delete("/a/1"), create("/x1"), create("/c"), delete("/x1")]
    {
        world.write(&[write]);
        world.rest();
        world.assert_in_step();
    }
    assert!(world.asked.nodes <= 20, "{} nodes asked for", world.asked.nodes);
}

#[test]
fn a_list_with_children_that_are_left_out_is_read_when_the_tree_is_verified() {
    let rules = [(Effect::Exclude, "x*")];
    let mut world = in_step_with(narrowed(None, &rules), &[create(""), create("/a"), create("/x")]);
    // The same Stat, and another child.
    put_back(&mut world, true, 1, &[&[create("/b")], &[set("/a", 3)]]);
    assert!(world.version().tree.get("b").is_some());
}

#[test]
fn a_list_that_lacks_some_children_does_not_show_which_one_went_last() {
    let rules = [(Effect::Exclude, "x*")];
    let mut writes = vec![create("")];
    writes.extend((0..40).map(|n| create(&format!("/{n:02}"))));
    writes.extend([create("/x1"), create("/x2"), delete("/x1")]);
    let mut world = in_step_with(narrowed(None, &rules), &writes);
    // The same zxid, and the same Stat of the root; a node was set that is no anchor.
    put_back(&mut world, true, 1, &[&[delete("/x2"), set("/20", 3)]]);
    let root =
        |world: &World| *world.version().tree.get("").and_then(|root| root.node()).expect("the root").stat();
    assert_eq!(root(&world).num_children, 41);
}

#[test]
fn a_list_in_which_something_was_counted_that_is_left_out_is_read_if_its_node_is_new() {
    let rules = [(Effect::Exclude, "*/x")];
    let mut world = in_step_with(narrowed(None, &rules), &[create("")]);
    world.strict = false;
    let path = |name: &str| format!("{ROOT}{name}");
    // What everybody sees would explain the list that the node has which nobody has seen made.
    world.write(&[create("/p"), create("/p/x")]);
    world.write(&[Write::Open(path("/p/x"), false), Write::Open(path("/p"), false)]);
    world.write(&[delete("/p/x"), delete("/p")]);
    world.write(&[Write::CreatePrivate(path("/p")), Write::CreatePrivate(path("/p/y"))]);
    world.write(&[Write::Open(path("/p/y"), true), Write::Open(path("/p"), true)]);
    world.rest();
    world.assert_in_step();
}

fn held(line: &mut Line, id: u64) -> Vec<State> {
    let told = std::iter::from_fn(|| line.group.poll_output());
    let states = told.filter_map(|(of, output)| match output {
        Output::State(state) if of == CacheId(id) => Some(state),
        _ => None,
    });
    states.collect()
}

#[test]
fn a_tree_that_is_not_followed_leaves_no_watch_behind_and_is_brought_up_to_date_when_that_is_asked_for() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    line.answer(ServerError::OK);
    line.asks();
    line.answer(ServerError::OK);
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a"))]);
    line.answer_all();
    assert_eq!(held(&mut line, 1).last(), Some(&State::Held));
    // What happens to the connection is not told, and costs nothing. Without one, nothing can be brought up to date.
    line.group.handle_suspended(None, line.now);
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    line.group.handle_lost();
    line.group.handle_connected(false, "server", line.now);
    assert_eq!((line.asks(), held(&mut line, 1)), (vec![], vec![]));
    // The watch is set for the time of a verification.
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(2)), line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    while held(&mut line, 1).last() != Some(&State::Held) {
        line.now = line.group.poll_timeout().unwrap_or(line.now).max(line.now);
        line.group.handle_timeout(line.now);
        line.asks();
        line.answer(ServerError::OK);
    }
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a"))]);
}

#[test]
fn a_tree_that_is_not_followed_is_held_too_where_the_last_answer_is_that_the_server_could_not_catch_up() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.asks();
    line.answer(ServerError::OK);
    assert!(matches!(line.asks()[..], [Request::MultiRead(_)]));
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    assert_eq!(line.asks(), [Request::Barrier(None)]);
    line.answer(ServerError::OK);
    assert_eq!(held(&mut line, 1).last(), Some(&State::InStep));
    line.answer(ServerError(-1));
    assert_eq!(held(&mut line, 1), [State::Held]);
}

#[test]
fn a_tree_that_is_not_followed_shares_the_watch_of_one_that_is() {
    let mut line = Line::new();
    line.open(1, "/a");
    line.answer_all();
    line.open_with(2, "/a", Options { follow: false, ..options() });
    line.answer_all();
    assert_eq!(line.states().get(&2), Some(&State::Held));
    line.close(1);
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a"))], "nobody needs it any more");
}

#[test]
fn a_tree_that_was_loaded_from_what_may_have_waited_in_a_pause_is_held_once_the_server_is_heard() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.group.handle_paused(line.now);
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    line.group.handle_heard();
    assert_eq!(line.states().get(&1), Some(&State::Held));
}

#[test]
fn a_tree_that_is_not_followed_is_not_held_before_a_barrier_that_is_under_way_is_answered() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.asks();
    line.answer(ServerError::OK);
    assert!(matches!(line.asks()[..], [Request::MultiRead(_)]));
    let child = Stat { czxid: Zxid(2), mzxid: Zxid(2), pzxid: Zxid(2), ..Stat::default() };
    let root = Stat { pzxid: Zxid(2), num_children: 1, cversion: 1, czxid: Zxid(1), mzxid: Zxid(1), ..child };
    line.answer_with(ServerError::OK, &found(&[(root, Some(&["b"]))]));
    assert!(matches!(line.asks()[..], [Request::MultiRead(_)]));
    line.told(NotificationKind::DataChanged, "/a");
    assert!(matches!(line.asks()[..], [Request::MultiRead(_)]));
    // A new leader, before its first transaction; then somebody has written something.
    let body = found(&[(child, Some(&[]))]);
    line.try_answer_at(Zxid(7 << 32), ServerError::OK, &body).expect("nothing wrong");
    assert_eq!(line.asks(), [Request::Barrier(None)]);
    let root = Stat { mzxid: Zxid(9), version: 1, ..root };
    line.try_answer_at(Zxid((7 << 32) + 1), ServerError::OK, &found(&[(root, None)])).expect("nothing wrong");
    assert_eq!(held(&mut line, 1).last(), Some(&State::InStep));
    while !line.asked.is_empty() {
        line.try_answer_at(Zxid((7 << 32) + 2), ServerError::OK, &[]).expect("nothing wrong");
    }
    assert_eq!(held(&mut line, 1).last(), Some(&State::Held));
}

#[test]
fn a_pause_ends_with_its_connection_where_a_tree_is_held_too() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.answer_all();
    assert_eq!(held(&mut line, 1).last(), Some(&State::Held));
    let heard = line.now;
    line.group.handle_paused(heard);
    line.group.handle_suspended(None, heard);
    line.now += Duration::from_secs(1);
    line.group.handle_connected(false, "server", line.now);
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    let mut told = Vec::new();
    while !told.contains(&State::Held) {
        line.now = line.group.poll_timeout().unwrap_or(line.now).max(line.now);
        line.group.handle_timeout(line.now);
        line.asks();
        line.answer(ServerError::OK);
        told.extend(held(&mut line, 1));
    }
    assert!(told.contains(&State::InStep), "{told:?}");
}

#[test]
fn the_end_of_its_client_is_told_of_a_held_tree_once_whether_or_not_the_session_was_lost_before() {
    for is_lost in [false, true] {
        let mut line = Line::new();
        line.open_with(1, "/a", Options { follow: false, ..options() });
        line.answer_all();
        assert_eq!(held(&mut line, 1).last(), Some(&State::Held));
        if is_lost {
            line.group.handle_suspended(None, line.now);
            line.group.handle_lost();
        }
        line.group.handle_closed(line.now);
        let told: Vec<_> =
            std::iter::from_fn(|| line.group.poll_output()).map(|(_, output)| output).collect();
        let ends = told.iter().filter(|told| matches!(told, Output::Event(EventKind::ConnectionLost)));
        assert_eq!(ends.count(), 1, "{is_lost}");
        assert!(told.iter().any(|told| matches!(told, Output::State(State::Lost))), "{is_lost}");
    }
}

#[test]
fn a_tree_that_is_held_is_loaded_again_where_the_ensemble_has_another_history() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.answer_all();
    line.group.handle_suspended(None, line.now);
    line.group.handle_reset();
    line.group.handle_connected(false, "server", line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::Held));
}

#[test]
fn a_list_that_is_read_to_see_who_may_read_a_leaf_brings_no_children() {
    let options = Options { data: crate::sync::Data::None, ..narrowed(None, &[(Effect::Leaf, "*")]) };
    let leaf = [create("/leaf"), set("/leaf", 5000), create("/leaf/below")];
    let mut world = World::new(options, 1);
    world.strict = false;
    world.write(&[create("")]);
    world.write(&leaf);
    world.connect();
    world.rest();
    world.disconnect();
    // Another one, of which a Stat does not say whether it may be read.
    world.write(&[delete("/leaf/below"), delete("/leaf")]);
    world.write(&leaf);
    world.connect();
    world.rest();
    assert!(world.version().tree.get("leaf").is_some() && world.version().tree.get("leaf/below").is_none());
}
