//! Cuts under a storm: money is moved between accounts in transactions as fast as the server takes them, and now and
//! then an account is opened or closed. That no cut is torn is for `tests/server/money.rs` to say; here it is counted how
//! often one comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use treecache_test_support::{Bank, Proxy, Trade, unique_root};

use crate::bench::{Bench, PATIENCE};
use crate::contender::Contender;

/// Transactions that are on their way at a time.
const BURST: usize = 100;

#[derive(Debug, Clone, Copy)]
pub struct Market {
    pub accounts: usize,
    /// How far away the cache is: what the round trip grows by.
    pub delay: Duration,
}

pub const MARKETS: [Market; 4] = [
    Market { accounts: 100, delay: Duration::ZERO },
    Market { accounts: 100, delay: Duration::from_millis(5) },
    Market { accounts: 2000, delay: Duration::ZERO },
    Market { accounts: 2000, delay: Duration::from_millis(5) },
];

impl Market {
    pub fn name(&self) -> String {
        match self.delay.as_millis() {
            0 => format!("{} accounts, direct", self.accounts),
            delay => format!("{} accounts, {delay} ms away", self.accounts),
        }
    }
}

pub fn measure(bench: &mut Bench, cell: &str, open_for: Duration) {
    for market in MARKETS {
        bench.for_each(cell, &[Contender::Treecache], |bench, contender| {
            let root = unique_root("market");
            let mut writer = bench.writer();
            let mut bank = Bank::found(&mut writer, &root, market.accounts, Trade::Churning);
            let proxy = Proxy::start(bench.server.addr());
            proxy.set_delay(market.delay);
            let hosts = if market.delay.is_zero() { bench.server.hosts() } else { proxy.hosts() };
            let mut process = bench.start(contender)?;
            process.ask(&format!("connect {hosts}"), PATIENCE)?;
            process.ask(&format!("load {root}"), PATIENCE)?;

            let closed = AtomicBool::new(false);
            let (transactions, seen) = thread::scope(|scope| {
                let trading = scope.spawn(|| bank.trade(&mut writer, BURST, Duration::ZERO, &closed));
                let seen = process.ask(&format!("cuts {}", open_for.as_millis()), PATIENCE);
                closed.store(true, Ordering::Relaxed);
                (trading.join().expect("the bank's books in order"), seen)
            });
            let (seen, seconds, name) = (seen?, open_for.as_secs_f64(), market.name());
            let (cuts, gap): (f64, f64) = (seen.number("cuts")?, seen.number("gap")?);
            let results = &mut bench.results;
            results.add(cell, contender.id(), &format!("{name}/cuts"), &[cuts / seconds]);
            results.add(cell, contender.id(), &format!("{name}/gap"), &[gap]);
            results.add(
                cell,
                contender.id(),
                &format!("{name}/transactions"),
                &[transactions as f64 / seconds],
            );
            println!("    {name:30} {:6.0} cuts/s, largest gap {:.0} ms", cuts / seconds, gap * 1e3);
            Ok(())
        });
    }
}
