//! ClickHouse Keeper: recursive watches that name what is watched, and Stats that count otherwise.

use super::*;

const NEW: Stat = Stat {
    czxid: Zxid(3),
    mzxid: Zxid(3),
    ctime: 1,
    mtime: 1,
    version: 0,
    cversion: 1,
    aversion: 0,
    ephemeral_owner: 0,
    data_length: 0,
    num_children: 1,
    pzxid: Zxid(4),
};

fn data(of: &str) -> wire::Read {
    wire::Read::Data(path(of))
}

/// In step with a root that has one child, by a recursive watch.
fn in_step() -> Line {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    line.answer_with(ServerError::OK, &found(&[(NEW, Some(&["b"]))]));
    line.asks();
    let child = Stat { num_children: 0, cversion: 0, czxid: Zxid(4), mzxid: Zxid(4), ..NEW };
    line.answer_with(ServerError::OK, &found(&[(child, Some(&[]))]));
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    line
}

#[test]
fn a_keeper_says_what_it_is_and_its_caches_have_one_shot_watches_on_that_connection() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.keeper = Some(Zxid(0));
    line.open(1, "/a");
    assert!(matches!(
        line.asks()[..],
        [Request::SetWatches(_), Request::ExistsWatched(_), Request::MultiRead(_)]
    ));
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // Nobody has created that node there. Here somebody has.
    line.group.handle_suspended(None, line.now);
    line.keeper = Some(Zxid(7));
    line.group.handle_connected(true, "s:1", line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
}

/// A server shows to be a Keeper while a recursive watch is under way to it; what it is asked for then.
fn found_out() -> (Line, Vec<Request>) {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    let (question, purpose) = line.group.poll_request(line.now).expect("a question");
    assert_eq!(question, Request::FeatureFlags);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
    let answered = line.group.handle_reply(&purpose, Zxid(9), ServerError::OK, &[0; 68], line.now);
    assert_eq!(answered, Ok(()));
    let asks = line.asks();
    (line, asks)
}

#[test]
fn a_recursive_watch_that_is_under_way_to_a_keeper_is_removed() {
    let (mut line, asks) = found_out();
    assert_eq!(asks[0], Request::RemoveWatches(path("/a")));
    assert_eq!(asks[1], Request::SetWatches(vec![path("/a")]));
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // The next one may be another server.
    line.group.handle_suspended(None, line.now);
    line.group.handle_connected(true, "s:1", line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
}

#[test]
fn a_keeper_that_ends_the_connection_for_a_recursive_watch_is_not_asked_for_it_on_the_next_one() {
    let (mut line, _) = found_out();
    line.group.handle_suspended(None, line.now);
    line.asked.clear();
    line.group.handle_connected(true, "s:1", line.now);
    let asks = line.asks();
    assert!(matches!(asks[..], [Request::SetWatches(_), Request::ExistsWatched(_), Request::MultiRead(_)]));
    line.group.handle_suspended(None, line.now);
    line.asked.clear();
    line.group.handle_connected(true, "s:1", line.now);
    assert_eq!(line.asks(), [Request::AddWatch(path("/a"))], "it is asked again now and then");
}

#[test]
fn where_only_recursive_watches_may_be_used_a_keeper_is_left_for_the_next_server() {
    let mut line = Line::with("/", WatchMode::Recursive);
    line.open(1, "/a");
    let (_, purpose) = line.group.poll_request(line.now).expect("a question");
    let answered = line.group.handle_reply(&purpose, Zxid(9), ServerError::OK, &[0; 68], line.now);
    assert_eq!((answered, line.group.refusals()), (Err(Breach::Misnaming), 1));
}

#[test]
fn with_one_shot_watches_nothing_is_read_before_it_is_known_how_the_server_counts() {
    let mut line = Line::with("/", WatchMode::OneShot);
    line.open(1, "/a");
    let (_, purpose) = line.group.poll_request(line.now).expect("a question");
    assert_eq!(line.asks(), []);
    let answered = line.group.handle_reply(&purpose, Zxid(9), ServerError::THROTTLED, &[], line.now);
    assert_eq!((answered, line.asks()), (Ok(()), Vec::new()));
    line.now = line.group.poll_timeout().expect("later");
    line.group.handle_timeout(line.now);
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    assert_eq!(line.group.poll_timeout(), None);
}

#[test]
fn no_recursive_watch_is_relied_on_before_it_is_known_what_the_server_is() {
    for keeper in [None, Some(Zxid(0))] {
        let mut line = Line::with("/", WatchMode::Auto);
        line.open(1, "/a");
        for _ in 0..2 {
            let (question, purpose) = line.group.poll_request(line.now).expect("a question");
            assert_eq!(question, Request::FeatureFlags);
            assert_eq!(line.asks(), [Request::AddWatch(path("/a"))]);
            let moved = ServerError(-118);
            line.group.handle_reply(&purpose, Zxid(9), moved, &[], line.now).expect("nothing wrong");
            line.answer(ServerError::OK);
            assert_eq!(line.asks(), []);
            line.now = line.group.poll_timeout().expect("later");
            line.group.handle_timeout(line.now);
        }
        line.keeper = keeper;
        let asks = line.asks();
        assert_eq!(asks[0] == Request::AddWatch(path("/a")), keeper.is_none(), "{asks:?}");
        line.answer_all();
        assert_eq!(line.states().get(&1), Some(&State::InStep));
    }
}

#[test]
fn a_root_that_is_told_to_have_changed_and_has_not_shows_that_the_watch_names_what_is_watched() {
    use NotificationKind::{Created, DataChanged, Deleted};
    let set = Stat { mzxid: Zxid(8), mtime: 5, version: 1, ..NEW };
    let of_children = Stat { cversion: 2, ..NEW };
    let another = Stat { czxid: Zxid(8), ..set };
    for (kinds, shows, is_borne_out) in [
        (&[DataChanged][..], NEW, false),
        (&[DataChanged], of_children, false),
        (&[DataChanged], set, true),
        // Of two changes one was the root's.
        (&[DataChanged, DataChanged], set, false),
        (&[DataChanged, DataChanged], Stat { version: 3, ..set }, true),
        (&[Created], NEW, false),
        (&[Deleted], NEW, false),
        (&[Deleted, Created], another, true),
        (&[DataChanged, Deleted, Created], another, true),
        (&[Created], another, true),
    ] {
        let mut line = in_step();
        kinds.iter().for_each(|kind| line.told(*kind, "/a"));
        assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
        let asks = line.asks();
        let [Request::MultiRead(reads)] = &asks[..] else { panic!("{asks:?}") };
        let names: Option<&[&str]> = (reads.len() > 1).then_some(&["b"]);
        let answer = line.try_answer(ServerError::OK, &found(&[(shows, names)]));
        assert_eq!(answer.is_ok(), is_borne_out, "{kinds:?} {shows:?}");
        if is_borne_out {
            continue;
        }
        assert_eq!(answer, Err(Breach::UnknownRequest));
        assert_ne!(line.states().get(&1), Some(&State::InStep));
        // On the next connection each node is watched by itself; the one behind that asks again.
        for is_one_shot in [true, false] {
            line.group.handle_suspended(None, line.now);
            line.asked.clear();
            line.group.handle_connected(true, "s:1", line.now);
            line.now += Duration::from_secs(1);
            line.group.handle_timeout(line.now);
            let asks = line.asks();
            assert_eq!(matches!(asks[0], Request::SetWatches(_)), is_one_shot, "{asks:?}");
        }
    }
}

#[test]
fn a_root_with_children_is_not_believed_to_be_deleted_without_a_look() {
    let mut line = in_step();
    line.told(NotificationKind::DataChanged, "/a/b");
    assert_eq!(line.asks(), [Request::MultiRead(vec![data("/a/b")])]);
    // The child was deleted, and the watch names the root.
    line.told(NotificationKind::Deleted, "/a");
    line.answer(ServerError::OK);
    assert_ne!(line.states().get(&1), Some(&State::InStep));
    let reads = vec![data("/a"), wire::Read::Children(path("/a"))];
    assert_eq!(line.asks(), [Request::MultiRead(reads)]);
}

fn in_step_without_children() -> Line {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::OK);
    line.asks();
    line.answer_with(ServerError::OK, &found(&[(Stat { num_children: 0, ..NEW }, Some(&[]))]));
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    line
}

#[test]
fn a_root_without_children_can_be_deleted_and_more_of_that_transaction_may_follow() {
    let mut line = in_step_without_children();
    line.told(NotificationKind::Deleted, "/a");
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

#[test]
fn a_root_that_was_read_on_an_earlier_connection_is_not_believed_to_be_deleted_without_a_look() {
    let mut line = in_step_without_children();
    line.group.handle_suspended(None, line.now);
    line.asked.clear();
    line.group.handle_connected(false, "s:1", line.now);
    line.asks();
    line.answer(ServerError::OK);
    line.now = line.group.poll_timeout().expect("a verification");
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    line.group.handle_timeout(line.now);
    let asks = line.asks();
    assert!(matches!(&asks[..], [Request::Barrier(None), Request::MultiRead(_)]), "{asks:?}");
    // It has got two children since then. One is deleted, and the watch names the root. The barrier is answered behind that,
    // and before the root is.
    line.told(NotificationKind::Deleted, "/a");
    assert_eq!(line.asks(), []);
    line.answer(ServerError::OK);
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
}

#[test]
fn a_root_that_was_just_created_is_not_believed_to_be_deleted_without_a_look() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    line.group.handle_input(CacheId(1), Input::Sync(Ticket(1)), line.now);
    assert_eq!(line.asks(), [Request::Barrier(None)]);
    // With it a child was created, and the child was deleted: the watch names the root for all that.
    use NotificationKind::{Created, Deleted};
    [Created, Created, Deleted].into_iter().for_each(|kind| line.told(kind, "/a"));
    line.answer(ServerError::OK);
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    assert_eq!(line.asks(), [Request::MultiRead(vec![data("/a")])]);
}

#[test]
fn what_a_keeper_says_of_a_missing_root_behind_the_reply_is_no_news() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.keeper = Some(Zxid(0));
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::OK);
    line.told(NotificationKind::Deleted, "/a");
    line.answer_all();
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // From then on it is news.
    line.told(NotificationKind::Created, "/a");
    line.asks();
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    line.told(NotificationKind::Deleted, "/a");
    line.answer(ServerError::OK);
    assert_eq!(line.asks()[0], Request::SetWatches(vec![path("/a")]));
}

#[test]
fn at_a_keeper_a_parent_is_read_together_with_a_child_whose_data_was_set() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.keeper = Some(Zxid(0));
    line.open(1, "/a");
    let read = |line: &mut Line, nodes: &[(Stat, Option<&[&str]>)]| {
        let asks = line.asks();
        for _ in 1..asks.len() {
            line.answer(ServerError::OK);
        }
        let Some(Request::MultiRead(reads)) = asks.last() else { panic!("{asks:?}") };
        let lists = reads.len() - nodes.len();
        let nodes: Vec<_> = nodes.iter().map(|(node, names)| (*node, names.filter(|_| lists > 0))).collect();
        line.answer_with(ServerError::OK, &found(&nodes));
        asks
    };
    read(&mut line, &[(NEW, Some(&["b"]))]);
    let child = Stat { num_children: 0, cversion: 0, czxid: Zxid(4), mzxid: Zxid(4), ..NEW };
    read(&mut line, &[(child, Some(&[]))]);
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    line.told(NotificationKind::DataChanged, "/a/b");
    let (set, counted) = (Stat { mzxid: Zxid(9), version: 1, ..child }, Stat { cversion: 2, ..NEW });
    let asks = read(&mut line, &[(set, None), (counted, None)]);
    assert_eq!(asks.last(), Some(&Request::MultiRead(vec![data("/a/b"), data("/a")])));
    // The list is what it was: its watch would have told.
    assert_eq!(line.states().get(&1), Some(&State::InStep));
    // Another child is created, and before it is read, and watched, it is set: nothing tells of that.
    line.told(NotificationKind::ChildrenChanged, "/a");
    let counted = Stat { cversion: 3, num_children: 2, pzxid: Zxid(10), ..counted };
    read(&mut line, &[(counted, Some(&["b", "c"]))]);
    let new = Stat { czxid: Zxid(10), mzxid: Zxid(11), pzxid: Zxid(10), version: 1, ..child };
    let asks = read(&mut line, &[(new, Some(&[]))]);
    assert!(matches!(asks.last(), Some(Request::MultiRead(reads)) if reads[0] == data("/a/c")));
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    let asks = read(&mut line, &[(Stat { cversion: 4, ..counted }, None)]);
    assert_eq!(asks.last(), Some(&Request::MultiRead(vec![data("/a")])));
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

/// A cache of `/a` at a Keeper that has no multiRead.
fn without_multiread(options: Options) -> Line {
    let mut line = Line::with("/", WatchMode::OneShot);
    line.keeper = Some(Zxid(0));
    line.open_with(1, "/a", options);
    line.asks();
    line.answer(ServerError::OK);
    line.answer(ServerError::OK);
    assert_eq!(line.try_answer(ServerError::UNIMPLEMENTED, &[]), Err(Breach::UnknownRequest));
    line.group.handle_suspended(None, line.now);
    line.asked.clear();
    line.group.handle_connected(true, "s:1", line.now);
    line
}

fn single(of: &str) -> Request {
    Request::Data(path(of))
}

fn data_reply(stat: Stat) -> Vec<u8> {
    [&[0; 4][..], &stat_bytes(&stat)].concat()
}

/// Answers what is asked for, one read after the other, where `/a` has `names`, and all nodes these Stats.
fn read_singly(line: &mut Line, names: &[&str], stats: &dyn Fn(&str) -> Stat, zxid: Zxid) -> Vec<Request> {
    let asks = line.asks();
    for ask in &asks {
        let body = match ask {
            Request::Data(path) => data_reply(stats(path.as_str())),
            Request::ChildrenWithStat(path) => {
                let names = if path.as_str() == "/a" { names } else { &[] };
                let strings: Vec<u8> =
                    names.iter().flat_map(|name| [&[0, 0, 0, 1], name.as_bytes()].concat()).collect();
                let count = (names.len() as u32).to_be_bytes();
                [&count[..], &strings, &stat_bytes(&stats(path.as_str()))].concat()
            }
            _ => Vec::new(),
        };
        line.try_answer_at(zxid, ServerError::OK, &body).expect("nothing wrong");
    }
    asks
}

/// The same, until nothing more is asked for.
fn read_all_singly(line: &mut Line, names: &[&str], stats: &dyn Fn(&str) -> Stat) {
    while !read_singly(line, names, stats, Zxid(9)).is_empty() {
        line.group.handle_timeout(line.now);
    }
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

const CHILD: Stat = Stat { num_children: 0, cversion: 0, czxid: Zxid(4), mzxid: Zxid(4), ..NEW };

#[test]
fn at_a_keeper_without_multiread_a_child_may_be_set_between_the_read_of_its_parent_and_its_own() {
    let mut line = without_multiread(options());
    let root = Stat { num_children: 2, cversion: 2, ..NEW };
    read_all_singly(&mut line, &["b", "c"], &|path| if path == "/a" { root } else { CHILD });
    line.told(NotificationKind::DataChanged, "/a/b");
    line.told(NotificationKind::DataChanged, "/a/c");
    assert!(line.asks().ends_with(&[single("/a/b"), single("/a"), single("/a/c")]));
    let set = |version: i32| Stat { mzxid: Zxid(9 + i64::from(version)), version, ..CHILD };
    let counted = |sets: i32| Stat { cversion: 2 + sets, ..root };
    for _ in 0..2 {
        line.answer(ServerError::OK);
    }
    line.answer_with(ServerError::OK, &data_reply(set(1)));
    line.answer_with(ServerError::OK, &data_reply(counted(2)));
    // Set once more: the watch was there before any of this was read.
    line.told(NotificationKind::DataChanged, "/a/c");
    line.answer_with(ServerError::OK, &data_reply(set(2)));
    assert_eq!(line.states().get(&1), Some(&State::CatchingUp));
    let stats = |path: &str| match path {
        "/a" => counted(3),
        "/a/b" => set(1),
        _ => set(2),
    };
    let asks = read_singly(&mut line, &["b", "c"], &stats, Zxid(12));
    assert!(asks.contains(&single("/a")), "{asks:?}");
    assert_eq!(line.states().get(&1), Some(&State::InStep));
}

#[test]
fn a_root_that_is_being_read_is_not_believed_to_be_deleted_either() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    line.asks();
    line.answer(ServerError::OK);
    assert!(matches!(line.asks()[..], [Request::MultiRead(_)]));
    // A child was deleted, and the watch names the root.
    line.told(NotificationKind::Deleted, "/a");
    line.answer_with(ServerError::OK, &found(&[(NEW, Some(&["b"]))]));
    assert_ne!(line.states().get(&1), Some(&State::InStep));
    let asks = line.asks();
    assert!(matches!(&asks[..], [Request::MultiRead(reads)] if reads[0] == data("/a/b")), "{asks:?}");
}

#[test]
fn a_root_that_was_read_in_another_history_maybe_shows_nothing_of_what_its_watch_names() {
    let mut line = in_step();
    line.group.handle_suspended(None, line.now);
    line.asked.clear();
    line.group.handle_connected(true, "s:1", line.now);
    line.asks();
    line.answer(ServerError::OK);
    line.now = line.group.poll_timeout().expect("a verification");
    line.group.handle_timeout(line.now);
    let asks = line.asks();
    assert!(matches!(&asks[..], [Request::MultiRead(reads)] if reads[0] == data("/a")), "{asks:?}");
    // Set once since the old history ended; in the new one its version was lower before.
    line.told(NotificationKind::DataChanged, "/a");
    let child = Stat { num_children: 0, cversion: 0, czxid: Zxid(4), mzxid: Zxid(4), ..NEW };
    let answer = line.try_answer(ServerError::OK, &found(&[(NEW, None), (child, None)]));
    assert_eq!(answer, Ok(()));
}

#[test]
fn a_server_that_wants_to_know_who_asks_says_so_to_the_first_question() {
    let mut line = Line::with("/", WatchMode::Auto);
    line.open(1, "/a");
    let (question, purpose) = line.group.poll_request(line.now).expect("a question");
    assert_eq!(question, Request::FeatureFlags);
    let error = ServerError::SESSION_CLOSED_REQUIRE_SASL;
    assert_eq!(line.group.handle_reply(&purpose, Zxid(9), error, &[], line.now), Ok(()));
    let told: Vec<_> = std::iter::from_fn(|| line.group.poll_output())
        .filter_map(|(_, output)| match output {
            Output::Fault(fault) => Some(fault.status),
            Output::Failure(failure) => failure,
            _ => None,
        })
        .collect();
    assert_eq!(told, [Status::Auth, Status::Auth]);
}
