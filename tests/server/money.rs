//! Money is moved between accounts in transactions, so at every zxid all accounts together hold the same sum. A
//! snapshot that says it is a cut and has another sum is torn.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use treecache::{Snapshot, State, TreeCache, Walk, Zxid};
use treecache_test_support::{Bank, OPENING_BALANCE, Proxy, Trade, shared, unique_root};

use crate::common::*;

/// How long each market is open, at least.
const OPEN_FOR: Duration = Duration::from_secs(3);
/// So many cuts must come, or the cache is starved: far below what does come in that time. Where the machine stood still, it
/// has until [`BOUND`].
const FEWEST_CUTS: usize = 4;

#[derive(Clone, Copy)]
enum Pace {
    /// As fast as the server takes it.
    Saturated,
    /// A transaction every two milliseconds.
    Calm,
}

impl Pace {
    /// Transactions at a time, and the pause behind them.
    fn bursts(self) -> (usize, Duration) {
        match self {
            Pace::Saturated => (100, Duration::ZERO),
            Pace::Calm => (1, Duration::from_millis(2)),
        }
    }
}

fn sum(snapshot: &Snapshot, root: &str) -> i64 {
    let mut sum = 0;
    snapshot
        .walk(root, |path, node| {
            if path != root {
                sum += std::str::from_utf8(node.data()).unwrap().parse::<i64>().unwrap();
            }
            Walk::Continue
        })
        .expect("the root is there");
    sum
}

/// Looks at snapshots as fast as it can; returns the zxids of the cuts that it saw, and says how many meanwhile.
fn audit(
    cache: &TreeCache,
    root: &str,
    expected: i64,
    seen: &AtomicUsize,
    stop: &AtomicBool,
) -> HashSet<Zxid> {
    let mut cuts = HashSet::new();
    let mut last = Zxid(0);
    while !stop.load(Ordering::Relaxed) {
        let snapshot = cache.snapshot().expect("the cache is open");
        assert!(snapshot.zxid() >= last, "zxids go back from {last} to {}", snapshot.zxid());
        if snapshot.is_cut() && snapshot.zxid() != last {
            assert_eq!(sum(&snapshot, root), expected, "torn at {}", snapshot.zxid());
            cuts.insert(snapshot.zxid());
            seen.fetch_max(cuts.len(), Ordering::Relaxed);
        }
        last = snapshot.zxid();
    }
    cuts
}

fn market(name: &str, accounts: usize, trade: Trade, pace: Pace, delay: Duration) {
    let root = unique_root(name);
    let mut writer = writer();
    let mut bank = Bank::found(&mut writer, &root, accounts, trade);
    let expected = accounts as i64 * OPENING_BALANCE;

    let proxy = Proxy::start(shared().addr());
    proxy.set_delay(delay);
    let client = client(&proxy.hosts());
    let cache = started(&client, &root, &[]);

    let (stop, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (cuts, transactions) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let (burst, pause) = pace.bursts();
            bank.trade(&mut writer, burst, pause, &stop)
        });
        let readers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| audit(&cache, &root, expected, &seen, &stop))).collect();
        let opened = Instant::now();
        let is_open = || {
            let passed = opened.elapsed();
            passed < OPEN_FOR || seen.load(Ordering::Relaxed) < FEWEST_CUTS && passed < BOUND
        };
        while is_open() && readers.iter().all(|reader| !reader.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        let cuts: HashSet<Zxid> =
            readers.into_iter().flat_map(|reader| reader.join().expect("no torn cut")).collect();
        (cuts, writing.join().expect("the writer wrote"))
    });
    println!("{name}: {transactions} transactions, {} cuts", cuts.len());
    assert!(cuts.len() >= FEWEST_CUTS, "starved: {} cuts", cuts.len());

    // What is published when no cut comes for long is none, and may be torn.
    cache.sync(Some(BOUND)).expect("an answer");
    eventually("the cache comes to rest", || {
        cache.state().0 == State::InStep && cache.snapshot().is_ok_and(|at_rest| at_rest.is_cut())
    });
    let at_rest = cache.snapshot().expect("the cache is open");
    assert_eq!(at_rest.len(), bank.accounts() + 1);
    assert_eq!(sum(&at_rest, &root), expected);
}

macro_rules! markets {
    ($($name:ident: $accounts:expr, $trade:ident, $pace:ident, $delay:expr;)*) => {
        $(#[test]
        fn $name() {
            market(stringify!($name), $accounts, Trade::$trade, Pace::$pace, Duration::from_millis($delay));
        })*
    };
}

markets! {
    no_cut_is_torn_with_100_accounts_saturated: 100, Fixed, Saturated, 0;
    no_cut_is_torn_with_100_accounts_calm: 100, Fixed, Calm, 0;
    no_cut_is_torn_with_100_accounts_saturated_from_afar: 100, Fixed, Saturated, 5;
    no_cut_is_torn_with_100_accounts_calm_from_afar: 100, Fixed, Calm, 5;
    no_cut_is_torn_with_2000_accounts_saturated: 2000, Fixed, Saturated, 0;
    no_cut_is_torn_with_2000_accounts_calm: 2000, Fixed, Calm, 0;
    no_cut_is_torn_with_2000_accounts_saturated_from_afar: 2000, Fixed, Saturated, 5;
    no_cut_is_torn_with_2000_accounts_calm_from_afar: 2000, Fixed, Calm, 5;
    no_cut_is_torn_with_accounts_opened_and_closed_saturated: 100, Churning, Saturated, 0;
    no_cut_is_torn_with_accounts_opened_and_closed_calm: 100, Churning, Calm, 0;
    no_cut_is_torn_with_accounts_opened_and_closed_saturated_from_afar: 100, Churning, Saturated, 5;
    no_cut_is_torn_with_accounts_opened_and_closed_calm_from_afar: 100, Churning, Calm, 5;
}
