//! A session and caches against bytes of a made-up server.

use super::*;
use crate::path::NodePath;
use crate::selection::Selection;
use crate::session::{Backoff, DigestMd5, Hosts, Sasl, Secret};
use crate::state::State;
use crate::sync::{Data, Options, Pace, VerifyMode};
use crate::wire::ServerError;

fn engine(now: Instant) -> Engine {
    engine_with(None, now)
}

fn engine_with(sasl: Option<Sasl>, now: Instant) -> Engine {
    let mut engine = connecting(sasl, now);
    engine.handle_bytes(&welcome(), now);
    engine
}

/// The connect request is under way.
fn connecting(sasl: Option<Sasl>, now: Instant) -> Engine {
    let settings = Settings {
        hosts: Hosts::parse("a").unwrap(),
        session_timeout: Duration::from_secs(10),
        resolve_timeout: Duration::from_secs(15),
        connect_timeout: Duration::from_secs(3),
        sasl,
        auth: Vec::new(),
        limit_frame: 1 << 20,
        backoff: Backoff::default(),
    };
    let mut engine = Engine::new(settings, Modes::default(), fastrand::Rng::with_seed(1), now);
    engine.handle_connected(now);
    engine
}

/// The answer to a connect request.
fn welcome() -> Vec<u8> {
    let session = [&37u32.to_be_bytes()[..], &[0; 4], &6000i32.to_be_bytes(), &7i64.to_be_bytes()].concat();
    [&session[..], &16i32.to_be_bytes(), &[1; 16], &[0]].concat()
}

fn options() -> Options {
    Options {
        selection: Selection::default(),
        follow: true,
        single: false,
        create_root: false,
        container_parents: false,
        limit_nodes: 0,
        limit_bytes: 0,
        data: Data::All,
        limit_path: 4096,
        verify: VerifyMode::Read,
        audit_interval: Duration::ZERO,
        pace: Pace::default(),
    }
}

/// The xids of what was said behind the connect request, pings left out.
fn asked(mut said: &[u8]) -> Vec<i32> {
    let number = |bytes: &[u8]| i32::from_be_bytes(bytes[..4].try_into().unwrap());
    let mut xids = Vec::new();
    while !said.is_empty() {
        let (frame, rest) = said[4..].split_at(number(said) as usize);
        xids.push(number(frame));
        said = rest;
    }
    xids.into_iter().skip(1).filter(|xid| *xid > 0).collect()
}

#[test]
fn a_server_that_answers_without_listening_does_not_make_requests_pile_up() {
    let mut now = Instant::now();
    let mut engine = engine(now);
    engine.handle_input(CacheId(1), Input::Open(NodePath::root(), options()), now);
    let reply = |xid: i32, error: i32, body: &[u8]| {
        let len = (16 + body.len() as i32).to_be_bytes();
        [&len[..], &xid.to_be_bytes(), &5i64.to_be_bytes(), &error.to_be_bytes(), body].concat()
    };
    // It is a ZooKeeper; the watch, and a root with 250 children of long names.
    let mut root = [&4i32.to_be_bytes()[..], &[0; 9], &[0; 56], &250i32.to_be_bytes(), &[0; 8]].concat();
    root.extend([&8i32.to_be_bytes()[..], &[0; 5], &250i32.to_be_bytes()].concat());
    for n in 0..250 {
        root.extend([&4000i32.to_be_bytes()[..], format!("{n:04000}").as_bytes()].concat());
    }
    root.extend([&(-1i32).to_be_bytes()[..], &[1], &[0; 4]].concat());
    engine.handle_bytes(&reply(1, ServerError::NO_NODE.0, &[]), now);
    engine.handle_bytes(&reply(2, 0, &[]), now);
    engine.handle_bytes(&reply(3, 0, &root), now);
    let mut answered = 3;
    for _ in 0..1000 {
        let throttled = ServerError::THROTTLED.0;
        for xid in &asked(engine.transmit())[answered..] {
            engine.handle_bytes(&reply(*xid, throttled, &[]), now);
            answered += 1;
        }
        now += Duration::from_secs(1);
        // As for a ping: a silent server would be left.
        engine.handle_bytes(&reply(-2, 0, &[]), now);
        engine.handle_timeout(now);
    }
    let unsent = engine.transmit().len();
    let is_at_the_limit = (MOST_UNSENT..MOST_UNSENT + (1 << 20)).contains(&unsent);
    assert!(is_at_the_limit, "{unsent} bytes of {answered} requests");
    // All goes on as soon as the server listens.
    engine.transmit().clear();
    engine.handle_timeout(now + Duration::from_secs(1));
    assert!(!engine.transmit().is_empty());
}

#[test]
fn no_cache_is_in_step_by_what_waited_in_a_pause() {
    let (mut now, mut engine) = (Instant::now(), engine(Instant::now()));
    let answer = |xid: i32, zxid: i64, error: i32, body: &[u8]| {
        let len = (16 + body.len() as i32).to_be_bytes();
        [&len[..], &xid.to_be_bytes(), &zxid.to_be_bytes(), &error.to_be_bytes(), body].concat()
    };
    let reply = |xid, zxid, body: &[u8]| answer(xid, zxid, 0, body);
    // The root alone: its data, its Stat, no child.
    let children = [&8i32.to_be_bytes()[..], &[0; 5], &0i32.to_be_bytes()].concat();
    let end = [&(-1i32).to_be_bytes()[..], &[1], &(-1i32).to_be_bytes()].concat();
    let root = |version: i32, children: &[u8]| {
        let (czxid, mzxid) = (1i64.to_be_bytes(), i64::from(1 + version).to_be_bytes());
        let stat = [&czxid[..], &mzxid, &[0; 16], &version.to_be_bytes(), &[0; 32]].concat();
        let data = [&4i32.to_be_bytes()[..], &[0; 5], &0i32.to_be_bytes(), &stat].concat();
        [&data[..], children, &end].concat()
    };
    let states = |engine: &mut Engine| -> Vec<State> {
        let outputs = std::iter::from_fn(|| engine.poll_output());
        let states = outputs.filter_map(|output| match output {
            Output::Cache(_, crate::sync::Output::State(state)) => Some(state),
            _ => None,
        });
        states.collect()
    };
    engine.handle_input(CacheId(1), Input::Open(NodePath::root(), options()), now);
    engine.handle_bytes(&answer(1, 5, ServerError::NO_NODE.0, &[]), now);
    engine.handle_bytes(&reply(2, 5, &[]), now);
    engine.handle_bytes(&reply(3, 5, &root(0, &children)), now);
    assert_eq!(states(&mut engine).last(), Some(&State::InStep));
    let heard = now;
    now += Duration::from_secs(3);
    engine.handle_pause(now);
    assert_eq!(states(&mut engine), [State::CatchingUp]);
    // A change that waited; what is read of it, too, is heard before the ping's answer.
    let changed = [&[0; 3], &[3u8][..], &3i32.to_be_bytes(), &1i32.to_be_bytes(), b"/"].concat();
    engine.handle_bytes(&reply(-1, -1, &changed), now);
    engine.handle_bytes(&reply(4, 6, &root(1, &[])), now);
    assert_eq!((states(&mut engine), engine.heard()), (vec![], heard));
    let second = CacheId(2);
    engine.handle_input(second, Input::Open(NodePath::root(), options()), now);
    engine.handle_bytes(&reply(5, 6, &root(1, &children)), now);
    assert!(!states(&mut engine).contains(&State::InStep), "a cache that is opened meanwhile");
    engine.handle_bytes(&reply(-2, 6, &[]), now);
    assert_eq!((states(&mut engine), engine.heard()), (vec![State::InStep, State::InStep], now));
}

#[test]
fn a_server_that_has_not_proven_itself_is_not_heard() {
    let (username, password) = ("bob".to_owned(), Secret::new("hunter2"));
    let sasl = Some(Sasl::DigestMd5(DigestMd5 { username, password, nonce: || Some([7; 16]) }));
    let (start, bytes) = (Instant::now(), [&16i32.to_be_bytes()[..], &1i32.to_be_bytes(), &[0; 12]].concat());
    for (sasl, heard) in [(sasl, false), (None, true)] {
        let mut engine = engine_with(sasl, start);
        let now = start + Duration::from_secs(1);
        engine.handle_bytes(&bytes[..5], now);
        assert_eq!(engine.heard() == now, heard);
    }
}

#[test]
fn an_answer_to_the_connect_request_that_may_have_waited_in_a_pause_is_no_news() {
    let start = Instant::now();
    let mut engine = connecting(None, start);
    let now = start + Duration::from_secs(2);
    engine.handle_pause(now);
    engine.handle_bytes(&welcome(), now);
    assert_eq!(engine.heard(), start);
    engine.handle_input(CacheId(1), Input::Open(NodePath::root(), options()), now);
    let is_connected = |output: &Output| matches!(output, Output::Connected { .. });
    assert!(std::iter::from_fn(|| engine.poll_output()).any(|output| is_connected(&output)));
    let pong = [&16i32.to_be_bytes()[..], &(-2i32).to_be_bytes(), &[0; 12]].concat();
    engine.handle_bytes(&pong, now);
    assert_eq!(engine.heard(), now);
}

#[test]
fn what_waited_in_a_pause_in_which_the_session_may_have_ended_is_no_word_at_all() {
    let start = Instant::now();
    let mut engine = engine(start);
    assert_eq!(engine.heard(), start);
    let now = start + Duration::from_secs(7);
    engine.handle_pause(now);
    engine.handle_bytes(&[&16i32.to_be_bytes()[..], &(-2i32).to_be_bytes(), &[0; 12]].concat(), now);
    assert_eq!(engine.heard(), start);
}

#[test]
fn an_engine_is_shut_down_while_a_cache_still_has_something_to_ask() {
    let now = Instant::now();
    let mut engine = engine(now);
    engine.shut_down(now);
    let sent = engine.transmit().len();
    engine.handle_input(CacheId(1), Input::Open(NodePath::root(), options()), now);
    assert_eq!(engine.transmit().len(), sent, "nothing follows the end of the session");
    engine.handle_disconnected(TransportError::Connection("closed".to_owned()), now);
    let outputs: Vec<Output> = std::iter::from_fn(|| engine.poll_output()).collect();
    assert!(matches!(outputs.last(), Some(Output::Closed)));
    let state = outputs.iter().rev().find_map(|output| match output {
        Output::Cache(_, crate::sync::Output::State(state)) => Some(*state),
        _ => None,
    });
    assert_eq!(state, Some(State::Lost));
    assert_eq!(engine.poll_timeout(), None);
}
