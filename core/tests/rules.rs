//! Rules of a session that need no server and no time: each is kept, and seen to be broken by the defect that is planted
//! for it. A binary of its own, as a defect is planted in the whole process.

#![allow(clippy::disallowed_methods, reason = "tests begin at some time")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use treecache_core::planted::{Defect, plant};
use treecache_core::session::{Action, Backoff, Event, Hosts, Session, Settings};

const TIMEOUT_MS: i32 = 6000;

fn session(now: Instant) -> Session<()> {
    let settings = Settings {
        hosts: Hosts::parse("a").expect("hosts"),
        session_timeout: Duration::from_secs(10),
        resolve_timeout: Duration::from_secs(15),
        connect_timeout: Duration::from_secs(3),
        sasl: None,
        auth: Vec::new(),
        limit_frame: 1 << 20,
        backoff: Backoff::default(),
    };
    Session::new(settings, fastrand::Rng::with_seed(1), now)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn pong() -> Vec<u8> {
    frame(&[&(-2i32).to_be_bytes()[..], &5i64.to_be_bytes(), &[0; 4]].concat())
}

fn connected(now: Instant) -> Session<()> {
    let mut session = session(now);
    session.handle_connected();
    let head = [&[0; 4][..], &TIMEOUT_MS.to_be_bytes(), &1i64.to_be_bytes(), &16i32.to_be_bytes()].concat();
    session.handle_bytes(&frame(&[&head[..], &[1; 16]].concat()), now);
    assert_eq!(events(&mut session), [Event::Connected { resumed: false }]);
    session
}

fn events(session: &mut Session<()>) -> Vec<Event<()>> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// An attempt that fails by its bound is followed by one that may take longer.
fn bounds_grow() {
    let mut now = Instant::now();
    let (mut session, mut longest) = (session(now), Duration::ZERO);
    for _ in 0..5 {
        assert!(
            std::iter::from_fn(|| session.poll_action()).any(|action| matches!(action, Action::Connect(_)))
        );
        let end = session.poll_timeout().expect("a bound");
        longest = longest.max(end - now);
        now = end;
        session.handle_timeout(now);
        now = session.poll_timeout().expect("the next attempt");
        session.handle_timeout(now);
    }
    assert!(longest > Duration::from_secs(6), "the longest attempt took {longest:?}");
}

/// A pause is told, before anything that waited in it.
fn pauses_are_told() {
    let now = Instant::now();
    let mut session = connected(now);
    session.handle_pause(now + Duration::from_secs(3));
    assert_eq!(events(&mut session), [Event::Paused]);
}

/// The answer to a ping that was sent before a pause says nothing of what is behind it.
fn what_waited_is_no_news() {
    let now = Instant::now();
    let mut session = connected(now);
    session.handle_timeout(now + Duration::from_secs(2));
    session.handle_pause(now + Duration::from_secs(5));
    assert_eq!(events(&mut session), [Event::Paused]);
    session.handle_bytes(&pong(), now + Duration::from_secs(5));
    assert_eq!(events(&mut session), []);
    session.handle_bytes(&pong(), now + Duration::from_secs(5));
    assert_eq!(events(&mut session), [Event::Heard]);
}

#[test]
fn every_rule_is_kept_and_every_planted_defect_breaks_one() {
    let rules: [(Defect, fn()); 3] = [
        (Defect::BoundKept, bounds_grow),
        (Defect::PauseUnnoticed, pauses_are_told),
        (Defect::WaitedTakenForNews, what_waited_is_no_news),
    ];
    for (defect, rule) in rules {
        plant(None);
        rule();
        plant(Some(defect));
        assert!(catch_unwind(AssertUnwindSafe(rule)).is_err(), "{} is not found", defect.name());
    }
}
