//! How far behind the cache is when a burst of writes ends.

use std::thread;
use std::time::{Duration, Instant};

use treecache::{Client, Config, State, TreeCache, Zxid};
use treecache_test_support::{Server, Writer};

use crate::median::median;
use crate::tree;

pub const WRITES: usize = 10_000;
pub const ROUNDS: usize = 7;
/// How often a wait looks.
pub const LOOK: Duration = Duration::from_micros(100);

/// Medians, in seconds.
pub struct Lag {
    /// From the last write's answer until the cache is in step with all of them seen.
    pub behind: f64,
    pub writing: f64,
}

pub fn measure(server: &Server, writer: &mut Writer) -> Lag {
    let paths: Vec<String> = tree::leaves().step_by(tree::NODES / WRITES).take(WRITES).collect();
    assert_eq!(paths.len(), WRITES);
    let (_client, cache) = loaded(&server.hosts());
    let mut lags = Vec::new();
    for round in 0..ROUNDS {
        let data = [b'a' + round as u8; tree::DATA_LEN];
        let began = Instant::now();
        for path in &paths {
            writer.send_set(path, Some(&data)).expect("a write");
        }
        let last = Zxid(writer.drain().expect("answers"));
        let answered = Instant::now();
        in_step_at(&cache, last);
        let lag = Lag { behind: answered.elapsed().as_secs_f64(), writing: (answered - began).as_secs_f64() };
        assert!(paths.iter().all(|path| cache.get_data(path).is_ok_and(|node| node.data() == data)));
        println!("    in step after {:.1} ms", lag.behind * 1e3);
        lags.push(lag);
    }
    Lag {
        behind: median(lags.iter().map(|lag| lag.behind)),
        writing: median(lags.iter().map(|lag| lag.writing)),
    }
}

/// A cache of the tree that has loaded it.
pub fn loaded(hosts: &str) -> (Client, TreeCache) {
    let client = Client::new(hosts, &Config::new()).expect("valid hosts");
    let cache = client.cache(tree::ROOT, &Config::new()).expect("a valid path");
    cache.start().expect("started");
    cache.wait_initialized(Some(Duration::from_secs(60))).expect("the first load");
    in_step_at(&cache, Zxid(0));
    (client, cache)
}

/// Waits until the cache is in step and has seen `zxid`.
fn in_step_at(cache: &TreeCache, zxid: Zxid) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let there = || {
        let snapshot = cache.snapshot().expect("the cache is open");
        cache.state().0 == State::InStep && snapshot.is_cut() && snapshot.zxid() >= zxid
    };
    while !there() {
        assert!(Instant::now() < deadline, "the cache does not come to rest: {:?}", cache.state());
        thread::sleep(LOOK);
    }
}
