//! What a lost connection costs when the tree has not changed: with the server's zxid moved by something else, every
//! node is read again; without, one request tells that nothing happened.
//!
//! All through one proxy, which sees when the requests are made: the delay before a reconnect and the one before a
//! verify are random and no part of this.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use treecache::EventKind;
use treecache_test_support::{Proxy, Server, Verdict, Writer};

use crate::follow::loaded;
use crate::median::median;

const ROUNDS: usize = 7;
/// A node outside of the tree.
const ELSEWHERE: &str = "/elsewhere";

const MULTI_READ: i32 = 22;
const PING: i32 = 11;

/// Medians, in seconds.
pub struct Verify {
    /// Of a verify to the first load in the same round.
    pub ratio: f64,
    pub moved: f64,
    pub unmoved: f64,
    /// The most requests that were seen when nothing had moved.
    pub unmoved_requests: f64,
}

pub fn measure(server: &Server, writer: &mut Writer) -> Verify {
    writer.create(ELSEWHERE, None, 0).expect("a node");
    let (mut ratios, mut moved, mut unmoved, mut unmoved_requests) = (vec![], vec![], vec![], 0);
    for _ in 0..ROUNDS {
        let proxy = Proxy::start(server.addr());
        let requests = Requests::of(&proxy);
        let (_client, cache) = loaded(&proxy.hosts());
        let load = requests.since_first(MULTI_READ, Instant::now());

        let (tell, told) = mpsc::channel();
        let listening = cache.listen(move |event| {
            if matches!(event.kind, EventKind::Initialized | EventKind::InStep) {
                let _ = tell.send((event.kind, Instant::now()));
            }
        });
        listening.expect("a listener");
        // The listener is told the tree so far; that is over when this came.
        wait_for(&told, EventKind::Initialized);

        // What is on its way reaches the server, and the answers the cache.
        std::thread::sleep(Duration::from_millis(100));
        while told.try_recv().is_ok() {}
        requests.forget();
        proxy.drop_connections();
        let in_step = wait_for(&told, EventKind::InStep);
        let quick = requests.since_first_of_all(in_step);
        unmoved_requests = unmoved_requests.max(requests.count());

        requests.forget();
        proxy.refuse(true);
        proxy.drop_connections();
        writer.set(ELSEWHERE, None).expect("a write");
        proxy.refuse(false);
        let in_step = wait_for(&told, EventKind::InStep);
        let verify = requests.since_first(MULTI_READ, in_step);

        println!(
            "    first load {:4.0} ms, verify {:4.0} ms, nothing moved {:.1} ms",
            load * 1e3,
            verify * 1e3,
            quick * 1e3
        );
        ratios.push(verify / load);
        moved.push(verify);
        unmoved.push(quick);
    }
    Verify {
        ratio: median(ratios),
        moved: median(moved),
        unmoved: median(unmoved),
        unmoved_requests: unmoved_requests as f64,
    }
}

fn wait_for(told: &Receiver<(EventKind, Instant)>, kind: EventKind) -> Instant {
    loop {
        match told.recv_timeout(Duration::from_secs(30)) {
            Ok((told, at)) if told == kind => return at,
            Ok(_) => {}
            Err(_) => panic!("waited for {kind:?} in vain"),
        }
    }
}

/// When the client sent what, pings aside.
struct Requests(Arc<Mutex<Vec<(i32, Instant)>>>);

impl Requests {
    fn of(proxy: &Proxy) -> Requests {
        let requests = Requests(Arc::default());
        let seen = Requests(requests.0.clone());
        proxy.on_request(Box::new(move |request| {
            if request.opcode != PING {
                seen.lock().push((request.opcode, Instant::now()));
            }
            Verdict::Pass
        }));
        requests
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(i32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        self.lock().clear();
    }

    fn count(&self) -> usize {
        self.lock().len()
    }

    fn since_first(&self, opcode: i32, until: Instant) -> f64 {
        let first = self.lock().iter().find(|request| request.0 == opcode).expect("such a request").1;
        (until - first).as_secs_f64()
    }

    fn since_first_of_all(&self, until: Instant) -> f64 {
        let first = self.lock().first().expect("a request").1;
        (until - first).as_secs_f64()
    }
}
