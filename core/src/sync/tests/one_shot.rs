//! Watches of each node, which tell of one change each.

use super::*;
use crate::sync::Data;

fn set_watches(of: &str) -> Request {
    Request::SetWatches(vec![path(of)])
}

/// A cache of `/a`, at a server that has shown to know neither recursive watches nor multiRead.
fn old() -> Line {
    old_with(options())
}

fn old_with(options: Options) -> Line {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open_with(1, "/a", options);
    line.asks();
    assert_eq!(line.try_answer(ServerError::UNIMPLEMENTED, &[]), Err(Breach::UnknownRequest));
    line.group.handle_suspended(None, line.now);
    line.asked.clear();
    line.group.handle_connected(true, "s:1", line.now);
    line
}

#[test]
fn where_a_recursive_watch_is_refused_whatever_is_read_is_watched_first() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    line.answer(ServerError::MARSHALLING);
    let reads = Request::MultiRead(vec![wire::Read::Data(path("/a")), wire::Read::Children(path("/a"))]);
    assert_eq!(line.asks(), [set_watches("/a"), Request::ExistsWatched(path("/a")), reads.clone()]);
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // One that is opened later needs nothing from the server before it reads.
    line.open(2, "/b");
    assert_eq!(line.asks()[0], set_watches("/b"));
    line.answer_all();
    assert_eq!(line.states().get(&2), Some(&State::InStep));
    // The creation of a missing root is told, and then it is read.
    line.told(NotificationKind::Created, "/a");
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    assert_eq!(line.asks()[0], set_watches("/a"));
    // Nothing is removed at the end: the watches lapse.
    line.close(1);
    assert_eq!(line.asks(), []);
}

#[test]
fn a_server_that_does_not_know_recursive_watches_is_asked_in_another_way_on_its_next_connection_only() {
    let mut line = old();
    let single = [Request::Data(path("/a")), Request::ChildrenWithStat(path("/a"))];
    let watches = [set_watches("/a"), Request::ExistsWatched(path("/a"))];
    assert_eq!(line.asks(), [watches, single].concat());
    for _ in 0..4 {
        line.answer(ServerError::NO_NODE);
    }
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    assert_eq!(line.group.refusals(), 0);
    for server in ["s:2", "s:1"] {
        line.group.handle_suspended(None, line.now);
        line.group.handle_connected(true, server, line.now);
        assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
        line.asked.clear();
    }
}

#[test]
fn a_server_without_multiread_is_found_out_too() {
    let mut line = Line::with("/", WatchMode::OneShot);
    line.open(1, "/a");
    assert!(matches!(line.asks()[..], [_, _, Request::MultiRead(_)]));
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    assert_eq!(line.try_answer(ServerError::UNIMPLEMENTED, &[]), Err(Breach::UnknownRequest));
    line.group.handle_suspended(None, line.now);
    line.group.handle_connected(true, "s:1", line.now);
    assert!(matches!(line.asks()[..], [_, _, Request::Data(_), Request::ChildrenWithStat(_)]));
}

#[test]
fn of_two_reads_of_one_node_the_later_one_says_whether_it_is_there() {
    let mut line = old();
    assert!(matches!(line.asks()[..], [_, _, Request::Data(_), Request::ChildrenWithStat(_)]));
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    line.answer(ServerError::NO_NODE);
    // It was created in between, and the session may not read it, so that nothing tells of it.
    line.answer(ServerError::NO_AUTH);
    let faults = std::iter::from_fn(|| line.group.poll_output()).filter_map(|(_, output)| match output {
        Output::Fault(fault) => Some(fault.status),
        _ => None,
    });
    assert!(faults.eq([Status::NoPermission]));
}

#[test]
fn two_reads_of_one_node_are_one_only_if_nothing_became_of_it_in_between() {
    let before = Stat { czxid: Zxid(1), mzxid: Zxid(1), pzxid: Zxid(1), ..Stat::default() };
    let opened = Stat { aversion: 1, ..before };
    let hidden = Stat { mzxid: Zxid(3), version: 1, aversion: 2, ..before };
    let changed = Stat { mzxid: Zxid(3), version: 1, ..before };
    let extended = Stat { pzxid: Zxid(3), cversion: 1, num_children: 1, ..before };
    let another = Stat { czxid: Zxid(3), mzxid: Zxid(3), pzxid: Zxid(3), ..before };
    let data = |stat: Stat| (ServerError::OK, [&[0; 4][..], &stat_bytes(&stat)].concat());
    let refused = |error: ServerError| (error, Vec::new());
    let cases = [
        (data(before), before, true),
        (refused(ServerError::NO_AUTH), opened, false),
        (refused(ServerError::NO_NODE), another, false),
        (data(before), hidden, false),
        (data(before), changed, false),
        (data(before), extended, false),
        (data(before), another, false),
    ];
    for ((error, body), listed, is_one) in cases {
        // At one zxid there is nothing in between: a server that says so all the same contradicts itself, and is not asked for ever.
        let contradicts = (Zxid(9), false, Data::All);
        let torn = [Data::All, Data::None].map(|data| (Zxid(8), !is_one, data));
        for (zxid, is_again, data) in torn.into_iter().chain([contradicts]) {
            let mut line = old_with(Options { data, ..options() });
            line.asks();
            line.answer(ServerError::OK);
            line.answer(ServerError::OK);
            line.try_answer_at(zxid, error, &body).expect("nothing wrong");
            line.answer_with(ServerError::OK, &[&[0; 4][..], &stat_bytes(&listed)].concat());
            let again = [Request::Data(path("/a")), Request::ChildrenWithStat(path("/a"))];
            let what = format!("{error} {body:?} at {zxid}, then {listed:?}");
            assert_eq!(line.asks().ends_with(&again), is_again, "{what}");
            let state = line.states().remove(&1);
            assert_eq!(state == Some(State::InStep), !is_again, "{what}: {state:?}");
        }
    }
}

#[test]
fn a_watch_that_is_used_up_between_its_setting_and_the_read_has_the_node_read_once_more() {
    let mut line = Line::with("/", WatchMode::OneShot);
    line.open(1, "/a");
    line.asks();
    // The watches are set, and there is no node.
    line.answer(ServerError::OK);
    line.answer(ServerError::NO_NODE);
    line.told(NotificationKind::Created, "/a");
    line.answer(ServerError::OK);
    assert_eq!(line.states().get(&1), Some(&State::Loading));
    assert_eq!(line.asks()[0], set_watches("/a"));
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

#[test]
fn what_is_read_behind_watches_that_could_not_be_set_says_nothing() {
    let mut line = Line::with("/", WatchMode::OneShot);
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::THROTTLED);
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    assert_eq!(line.asks(), []);
    line.now = line.group.poll_timeout().expect("later");
    line.group.handle_timeout(line.now);
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // A server that has no such watches is left for the next one.
    line.open(2, "/b");
    line.asks();
    let refused = line.try_answer(ServerError::MARSHALLING, &[]);
    assert_eq!(refused, Err(Breach::NoWatches(ServerError::MARSHALLING)));
    assert_eq!(line.group.refusals(), 1);
}

#[test]
fn many_paths_are_watched_in_requests_of_a_few_kilobytes() {
    let mut line = Line::with("/", WatchMode::OneShot);
    for id in 1..=3 {
        line.open(id, &format!("/{}", "x".repeat(4000 + id as usize)));
    }
    let longest = line.asks().into_iter().map(|request| match request {
        Request::SetWatches(paths) => paths.iter().map(|path| path.as_str().len()).sum(),
        _ => 0,
    });
    assert!(longest.max().is_some_and(|bytes| bytes < 32 << 10));
    line.answer_all();
    assert!(line.states().into_values().eq([State::InStep; 3]));
}

#[test]
fn what_is_told_while_a_held_tree_is_brought_up_to_date_counts_as_it_did_when_it_was_loaded() {
    let mut line = Line::with("/", WatchMode::OneShot);
    line.open_with(1, "/a", Options { follow: false, ..options() });
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::Held));
    for ticket in 1..=3 {
        line.group.handle_input(CacheId(1), Input::Sync(Ticket(ticket)), line.now);
        while !line.asks().contains(&set_watches("/a")) {
            // A barrier, and the time until the verification begins.
            if !line.asked.is_empty() {
                line.answer(ServerError::OK);
            }
            line.now = line.group.poll_timeout().unwrap_or(line.now).max(line.now);
            line.group.handle_timeout(line.now);
        }
        // The watches are set, and used up before the node is read.
        while !matches!(line.asked.front(), Some((Request::MultiRead(_), _))) {
            line.answer(ServerError::OK);
        }
        line.told(NotificationKind::Created, "/a");
        line.states();
        line.answer(ServerError::OK);
        assert_eq!(line.states().get(&1), None, "the node is to be read once more");
        assert!(line.asks().contains(&set_watches("/a")));
        line.answer_all();
        assert_eq!(line.states().get(&1), Some(&State::Held));
    }
}
