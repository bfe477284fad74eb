//! An ensemble of three servers, to which everything happens that can happen to one, eight caches of it, and
//! writers that do not care. At the end of every round all caches equal the servers' truth, and what was seen of
//! them on the way is held against the servers' own transaction logs, by the checks of `testing/checks`.
//!
//! `TREECACHE_CHAOS_SECONDS` says for how long (two minutes), `TREECACHE_CHAOS_SEED` in which order. Only the order
//! of faults and writes follows from the seed: what they meet does not. `scripts/chaos` runs this by itself.

mod chaos;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod history;
mod judge;
mod observed;
mod summary;
mod writers;

use std::env;
use std::str::FromStr;
use std::time::Duration;

use treecache_test_support::{Acl, Op, Server, TransactionLog, Witness, Writer, sessions_of};

use chaos::Course;
use history::History;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(value) = env::var(name) else { return default };
    value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number"))
}

#[test]
fn eight_caches_stay_exact_whatever_happens_to_an_ensemble() {
    let seconds = setting("TREECACHE_CHAOS_SECONDS", 120);
    let seed = setting("TREECACHE_CHAOS_SEED", fastrand::u64(..));
    println!("TREECACHE_CHAOS_SEED={seed} TREECACHE_CHAOS_SECONDS={seconds}");
    plant();
    let mut course = Course::new(seed, Duration::from_secs(seconds));
    while !course.is_over() {
        chaos::run(&mut course);
    }
    // On a busy machine the weather may never have been fair.
    for _ in 0..3 {
        if course.waits() == 0 {
            course.add_round();
            chaos::run(&mut course);
        }
    }
    let waits = course.waits();
    let summary = course.summary();
    println!("{summary}");
    assert!(summary.rounds > summary.void, "no round says anything");
    assert!(waits > 0, "no fair weather says anything");
}

/// Plants the defect that `TREECACHE_CHAOS_DEFECT` names, to see that it is found.
fn plant() {
    #[cfg(feature = "planted")]
    if let Ok(name) = env::var("TREECACHE_CHAOS_DEFECT") {
        use treecache::planted::{self, Defect};
        let defect = Defect::ALL.iter().find(|defect| defect.name() == name);
        planted::plant(Some(*defect.unwrap_or_else(|| panic!("no defect has the name {name}"))));
    }
}

/// The checks rest on this: what is read from a transaction log is what the server has, to the last number.
#[test]
fn the_transaction_log_tells_what_the_server_has() {
    let mut server = Server::start();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a session");
    for (path, flags) in [("/a", 0), ("/a/b", 0), ("/a/c", 4), ("/a/s-", 2), ("/a/e", 1), ("/f", 1)] {
        writer.create(path, Some(b"1"), flags).expect("a node");
    }
    for path in ["/a", "/", "/a/b"] {
        writer.set(path, Some(b"2")).expect("a set");
    }
    writer.set("/a/b", None).expect("a set");
    writer.set_acl("/a/b", &Acl::open()).expect("an ACL");
    let [delete, create] =
        [Op::Delete { path: "/a/b" }, Op::Create { path: "/a/b", data: Some(b"new"), flags: 0 }];
    writer.multi(&[delete, create, Op::Set { path: "/a/b", data: Some(b"newer") }]).expect("a transaction");
    assert_eq!(writer.multi(&[delete, delete]), Err(-101));
    writer.delete("/a/c").expect("a deletion");
    let other = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a session");
    let compare = |server: &Server, count: usize| {
        let history = History::of(&[TransactionLog::read(&server.history())]).expect("a history");
        let truth = Witness::connect(&server.hosts()).truth("/");
        assert_eq!(truth.len(), count);
        assert_eq!(history::difference(&history.truth(), &truth), None);
    };
    compare(&server, 6);
    drop((writer, other));
    common::eventually("their sessions end", || sessions_of(&server).is_empty());
    compare(&server, 4);
    server.restart();
    Witness::connect(&server.hosts()).set("/a", b"3");
    compare(&server, 4);
}
