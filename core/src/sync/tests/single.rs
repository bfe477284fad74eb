//! Caches that keep their root alone, and are told of it alone.

use super::*;

fn single() -> Options {
    Options { single: true, ..options() }
}

fn alone(of: &str) -> Request {
    Request::AddWatchAlone(path(of))
}

fn whole(of: &str) -> Request {
    Request::AddWatch(path(of))
}

/// A cache of `/a` alone, and one of all of it, both in step.
fn both() -> Line {
    let mut line = Line::new();
    line.open_with(1, "/a", single());
    assert_eq!(line.asks(), [alone("/a")]);
    line.answer_all();
    line.open(2, "/a");
    assert_eq!(line.asks(), [whole("/a")]);
    line.answer_all();
    line.answer_all();
    assert_eq!(line.states().into_values().collect::<Vec<_>>(), [State::InStep; 2]);
    line
}

fn is_in_step_again(line: &mut Line, id: u64) {
    let mut state = None;
    for _ in 0..10 {
        line.answer_all();
        state = line.states().get(&id).copied().or(state);
        line.now = line.group.poll_timeout().unwrap_or(line.now).max(line.now);
        line.group.handle_timeout(line.now);
    }
    assert_eq!(state, Some(State::InStep));
}

#[test]
fn who_watches_a_root_alone_goes_on_where_another_cache_needs_all_of_it_told() {
    let mut line = Line::new();
    line.open_with(1, "/a", single());
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    line.open(2, "/a");
    assert_eq!(line.asks(), [whole("/a")], "it replaces the other one, and tells of more");
    assert_eq!(line.states().get(&1), None);
    line.answer(ServerError::THROTTLED);
    line.told(NotificationKind::ChildrenChanged, "/a");
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp), "it is told still");
    is_in_step_again(&mut line, 1);
}

#[test]
fn who_watches_a_root_alone_shares_the_watch_of_all_of_it_and_sets_that_again() {
    let mut line = Line::new();
    let audited = Options { audit_interval: Duration::from_secs(60), ..single() };
    line.open(1, "/a");
    line.answer_all();
    line.open_with(2, "/a", audited);
    let reads = line.asks();
    assert!(matches!(reads[..], [Request::MultiRead(_)]), "{reads:?}");
    line.answer_all();
    assert_eq!(line.states().into_values().collect::<Vec<_>>(), [State::InStep; 2]);
    line.now = line.group.poll_timeout().expect("an audit");
    line.group.handle_timeout(line.now);
    assert_eq!(line.asks()[0], whole("/a"));
}

#[test]
fn where_the_watch_of_all_goes_the_root_alone_is_watched_and_read_again() {
    let mut line = both();
    line.close(2);
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a")), alone("/a")]);
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp), "what happens now is not told");
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    is_in_step_again(&mut line, 1);
    line.close(1);
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a"))]);
}

#[test]
fn between_two_watches_no_answer_makes_a_cut() {
    let mut line = both();
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    assert_eq!(line.asks(), [Request::Barrier(None)]);
    line.close(2);
    line.asks();
    line.answer(ServerError::OK);
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    assert!(matches!(line.asked.front(), Some((Request::RemoveWatches(_), _))));
    is_in_step_again(&mut line, 1);
}

#[test]
fn a_watch_of_all_that_was_only_wanted_gives_way_to_one_of_the_root_alone() {
    let mut line = Line::new();
    line.open_with(1, "/a", single());
    line.answer_all();
    line.open(2, "/a");
    // Its answer is that of another watch by now.
    line.asks();
    line.close(2);
    assert_eq!(line.asks(), [Request::RemoveWatches(path("/a")), alone("/a")]);
    line.answer(ServerError::OK);
    assert_eq!(line.asks(), []);
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    is_in_step_again(&mut line, 1);
}

#[test]
fn a_held_tree_that_is_brought_up_to_date_needs_all_of_it_told_for_so_long() {
    let mut line = Line::new();
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.answer_all();
    line.open_with(2, "/a", single());
    assert_eq!(line.asks(), [alone("/a")]);
    line.answer_all();
    assert_eq!(line.states(), [(1, State::Held), (2, State::InStep)].into());
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    assert_eq!(line.asks(), [whole("/a")]);
    is_in_step_again(&mut line, 2);
}
