//! Cuts under a storm: money is moved between accounts in transactions as fast as the server takes them, and now and
//! then an account is opened or closed. That no cut is torn is for `tests/money.rs` to say; here it is counted how
//! often one comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treecache::{Client, Config, TreeCache, Zxid};
use treecache_test_support::{Bank, Proxy, Server, Trade, Writer, unique_root};

use crate::follow::LOOK;

const OPEN_FOR: Duration = Duration::from_secs(5);
/// Transactions that are on their way at a time.
const BURST: usize = 100;

pub struct Market {
    pub accounts: usize,
    /// How far away the cache is: what the round trip grows by.
    pub delay: Duration,
}

/// What a reader saw who looks every tenth of a millisecond.
pub struct Seen {
    pub cuts_per_second: f64,
    /// In seconds.
    pub largest_gap: f64,
    pub transactions_per_second: f64,
}

pub fn measure(server: &Server, market: &Market) -> Seen {
    let root = unique_root("market");
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    let mut bank = Bank::found(&mut writer, &root, market.accounts, Trade::Churning);

    let proxy = Proxy::start(server.addr());
    proxy.set_delay(market.delay);
    let hosts = if market.delay.is_zero() { server.hosts() } else { proxy.hosts() };
    let client = Client::new(&hosts, &Config::new()).expect("valid hosts");
    let cache = client.cache(&root, &Config::new()).expect("a valid path");
    cache.start().expect("started");
    cache.wait_initialized(Some(Duration::from_secs(30))).expect("the first load");

    let closed = AtomicBool::new(false);
    let (transactions, mut seen) = thread::scope(|scope| {
        let trading = scope.spawn(|| bank.trade(&mut writer, BURST, Duration::ZERO, &closed));
        let seen = watch(&cache);
        closed.store(true, Ordering::Relaxed);
        (trading.join().expect("the bank's books in order"), seen)
    });
    seen.transactions_per_second = transactions as f64 / OPEN_FOR.as_secs_f64();
    println!(
        "    {:4} accounts, {:2} ms away: {:5.0} cuts/s, largest gap {:.0} ms",
        market.accounts,
        market.delay.as_millis(),
        seen.cuts_per_second,
        seen.largest_gap * 1e3
    );
    seen
}

fn watch(cache: &TreeCache) -> Seen {
    let opened = Instant::now();
    let (mut cuts, mut last_cut, mut largest_gap) = (0_usize, opened, Duration::ZERO);
    let mut last = Zxid(0);
    loop {
        let snapshot = cache.snapshot().expect("the cache is open");
        let now = Instant::now();
        if snapshot.is_cut() && snapshot.zxid() != last {
            last = snapshot.zxid();
            cuts += 1;
            largest_gap = largest_gap.max(now - last_cut);
            last_cut = now;
        }
        if now - opened >= OPEN_FOR {
            // The gap that is still open counts, too.
            largest_gap = largest_gap.max(now - last_cut);
            let cuts_per_second = cuts as f64 / OPEN_FOR.as_secs_f64();
            let largest_gap = largest_gap.as_secs_f64();
            return Seen { cuts_per_second, largest_gap, transactions_per_second: 0.0 };
        }
        thread::sleep(LOOK);
    }
}
