//! A queue that is emptied too slowly, and one whose cache is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::common::*;
use treecache::{Error, EventKind, State};
use treecache_test_support::{Op, Witness, Writer, shared, unique_root};

/// What is taken out next; whatever else is said is wrong.
fn taken(queue: &treecache::EventQueue) -> Recorded {
    let item = queue.next(Some(BOUND)).expect("an item");
    Recorded::of(&item.as_event().expect("an event"))
}

#[test]
fn a_consumer_a_hundred_times_too_slow_keeps_the_order_and_ends_with_the_tree() {
    in_a_process_of_its_own(|| {
        const NODES: usize = 1_000;
        const CHANGES: usize = 50_000;
        const SLOWER: usize = 100;
        let root = unique_root("slow");
        let mut writer =
            Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session of the writer");
        writer.create(&root, None, 0).expect("root");
        let client = client(&shared().hosts());
        let cache = started(&client, &root, &[]);
        wait_for_state(&cache, State::InStep);
        let queue = cache.queue(&config(&[("events.capacity", "2000")])).expect("a queue");

        let before = resident_bytes();
        let mut told = Vec::new();
        let made = Arc::new(AtomicUsize::new(0));
        let made_by_storm = Arc::clone(&made);
        let storm = thread::spawn(move || {
            for change in 0..CHANGES {
                let path = format!("{root}/{}", change * 7 % NODES);
                let data = format!("{change:01000}");
                let op = match change / NODES % 4 {
                    0 => Op::Create { path: &path, data: Some(data.as_bytes()), flags: 0 },
                    3 => Op::Delete { path: &path },
                    _ => Op::Set { path: &path, data: Some(data.as_bytes()) },
                };
                writer.send(&op).expect("sent");
                if change % 500 == 499 {
                    writer.drain().expect("done");
                }
                made_by_storm.store(change + 1, Relaxed);
            }
        });
        while !storm.is_finished() {
            // However fast the storm is: one event is taken while a hundred changes are made.
            if told.len() * SLOWER < made.load(Relaxed) {
                told.push(taken(&queue));
            }
            thread::sleep(Duration::from_millis(1));
        }
        storm.join().expect("the storm is over");
        let grown = resident_bytes().saturating_sub(before);
        println!("{} events were taken out of {CHANGES} changes, {grown} bytes more", told.len());
        assert!(grown < 64 << 20, "{grown} bytes more for {} bytes of tree", NODES * 1000);

        cache.sync(Some(BOUND)).expect("an answer");
        wait_for_state(&cache, State::InStep);
        let last = tree_of(&cache.snapshot().expect("a snapshot"));
        loop {
            match queue.next(Some(Duration::ZERO)) {
                Ok(item) => told.push(Recorded::of(&item.as_event().expect("an event"))),
                Err(Error::Timeout { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let essence = |tree: Tree| -> Vec<_> {
            tree.into_iter().map(|(path, (data, stat))| (path, data, stat.czxid, stat.mzxid)).collect()
        };
        assert_eq!(essence(replay(&told)), essence(last));
        assert!(told.len() < CHANGES / 2, "{}: they piled up", told.len());
        let stats = cache.stats();
        assert_eq!(stats.events, told.len() as u64);
        assert!(stats.lags >= 1, "how often it fell behind is counted");
    });
}

#[test]
fn a_queue_tells_of_the_end_of_its_client_before_it_ends_itself() {
    let root = unique_root("end");
    Witness::connect(&shared().hosts()).create(&root, b"");
    let client = client(&shared().hosts());
    let caches = [(); 2].map(|()| client.cache(&root, &config(&[])).expect("a cache"));
    let queues = caches.each_ref().map(|cache| cache.queue(&config(&[])).expect("a queue"));
    caches[0].start().expect("started");
    let told: Vec<EventKind> = (0..3).map(|_| taken(&queues[0]).kind).collect();
    assert_eq!(told, [EventKind::NodeAdded, EventKind::Initialized, EventKind::InStep]);
    thread::scope(|scope| {
        let waiting = queues.each_ref().map(|queue| {
            scope.spawn(|| {
                let mut told = Vec::new();
                let end = loop {
                    match queue.next(Some(BOUND)) {
                        Ok(item) => told.push(item.as_event().expect("an event").kind),
                        Err(end) => break end,
                    }
                };
                (told, end)
            })
        });
        drop(client);
        let [started, latent] = waiting.map(|waiting| waiting.join().expect("it ends"));
        assert_eq!(started, (vec![EventKind::ConnectionLost], Error::Closed));
        assert_eq!(latent, (vec![], Error::Closed));
    });
}
