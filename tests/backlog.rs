//! What waits for a listener that sleeps is bounded in bytes, however large the nodes are that are written.

mod common;

use std::sync::mpsc;

use common::*;
use treecache::State;
use treecache::planted::{Defect, plant};
use treecache_test_support::{shared, unique_root};

const DATA: usize = 200_000;
const WRITES: usize = 1_500;
const BYTES: u64 = 16 << 20;

/// How many bytes a process grows by while a listener sleeps through `WRITES` of one node.
fn grown_behind_a_sleeper() -> u64 {
    let root = unique_root("backlog");
    let mut writer = writer();
    let data = |write: usize| format!("{write:04}").repeat(DATA / 4).into_bytes();
    writer.create(&root, Some(&data(0)), 0).expect("root");
    let client = client(&shared().hosts());
    let cache = started(&client, &root, &[("events.bytes", &BYTES.to_string())]);
    wait_for_state(&cache, State::InStep);
    let (gate, open) = mpsc::channel::<()>();
    let (asleep, sleeps) = mpsc::channel();
    cache
        .listen(move |_| {
            _ = asleep.send(());
            _ = open.recv();
        })
        .expect("a listener");
    // The same thread tells this one.
    let recorder = Recorder::listen(&cache);
    sleeps.recv_timeout(BOUND).expect("it is told the root");
    let before = resident_bytes();
    for write in 1..=WRITES {
        writer.set(&root, Some(&data(write))).expect("set");
    }
    let last = data(WRITES);
    eventually("the newest data", || cache.get_data(&root).expect("the root").data() == last);
    let grown = resident_bytes().saturating_sub(before);
    println!("{grown} bytes more for {WRITES} writes of {DATA} bytes");
    drop(gate);
    // It was told nothing when the sleeper fell asleep, or the root already; IN_STEP is told behind the newest cut.
    recorder.wait_for(|events| {
        let of_the_root = events.iter().rfind(|event| event.path == root);
        of_the_root.is_some_and(|event| event.data.as_ref() == Some(&last))
    });
    grown
}

#[test]
fn a_listener_that_sleeps_holds_no_more_than_it_may_and_goes_on_by_difference() {
    in_a_process_of_its_own(|| {
        let grown = grown_behind_a_sleeper();
        assert!(grown < BYTES + (32 << 20), "{grown} bytes more");
    });
}

#[test]
fn where_what_waits_is_not_weighed_that_shows() {
    in_a_process_of_its_own(|| {
        plant(Some(Defect::BacklogNotWeighed));
        let grown = grown_behind_a_sleeper();
        assert!(grown > (DATA * WRITES / 2) as u64, "{grown} bytes more: not noticed");
    });
}
