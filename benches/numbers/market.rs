//! Cuts under a storm: money is moved between accounts in transactions as fast as the server takes them, and now and
//! then an account is opened or closed. That no cut is torn is for `tests/money.rs` to say; here it is counted how
//! often one comes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treecache::{Client, Config, TreeCache, Zxid};
use treecache_test_support::{Op, Proxy, Server, Writer, unique_root};

use crate::follow::LOOK;

const OPEN_FOR: Duration = Duration::from_secs(5);
const OPENING_BALANCE: i64 = 1000;
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
    let mut bank = Bank::found(&mut writer, &root, market.accounts);

    let proxy = Proxy::start(server.addr());
    proxy.set_delay(market.delay);
    let hosts = if market.delay.is_zero() { server.hosts() } else { proxy.hosts() };
    let client = Client::new(&hosts, &Config::new()).expect("valid hosts");
    let cache = client.cache(&root, &Config::new()).expect("a valid path");
    cache.start().expect("started");
    cache.wait_initialized(Some(Duration::from_secs(30))).expect("the first load");

    let closed = AtomicBool::new(false);
    let (transactions, mut seen) = thread::scope(|scope| {
        let trading = scope.spawn(|| bank.trade(&mut writer, &closed));
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

/// The accounts, as the one who writes them knows them.
struct Bank {
    root: String,
    accounts: Vec<Account>,
    opened: usize,
    random: fastrand::Rng,
}

struct Account {
    path: String,
    balance: i64,
}

impl Account {
    fn data(&self) -> Vec<u8> {
        self.balance.to_string().into_bytes()
    }
}

impl Bank {
    fn found(writer: &mut Writer, root: &str, accounts: usize) -> Bank {
        writer.create(root, None, 0).expect("a root");
        let random = fastrand::Rng::with_seed(7);
        let mut bank = Bank { root: root.to_owned(), accounts: Vec::new(), opened: 0, random };
        for _ in 0..accounts {
            let account = bank.next_account(OPENING_BALANCE);
            let (path, data) = (&account.path, account.data());
            writer.send(&Op::Create { path, data: Some(&data), flags: 0 }).expect("a create");
            bank.accounts.push(account);
        }
        writer.drain().expect("answers");
        bank
    }

    fn next_account(&mut self, balance: i64) -> Account {
        self.opened += 1;
        Account { path: format!("{}/account-{:06}", self.root, self.opened), balance }
    }

    /// Trades until the market is closed; returns how many transactions it were.
    fn trade(&mut self, writer: &mut Writer, closed: &AtomicBool) -> usize {
        let mut transactions = 0;
        while !closed.load(Ordering::Relaxed) {
            for _ in 0..BURST {
                let (one, other) = self.two_accounts();
                let sent = match self.random.u32(..40) {
                    0 => self.open(writer, one),
                    1 if self.accounts.len() > 2 => self.close(writer, one, other),
                    _ => self.transfer(writer, one, other),
                };
                sent.expect("a transaction");
            }
            writer.drain().expect("every transaction valid");
            transactions += BURST;
        }
        transactions
    }

    fn two_accounts(&mut self) -> (usize, usize) {
        let len = self.accounts.len();
        let one = self.random.usize(..len);
        (one, (one + self.random.usize(1..len)) % len)
    }

    fn transfer(&mut self, writer: &mut Writer, from: usize, to: usize) -> Result<(), i32> {
        let amount = self.random.i64(1..10);
        self.accounts[from].balance -= amount;
        self.accounts[to].balance += amount;
        let (debited, credited) = (self.accounts[from].data(), self.accounts[to].data());
        writer.send_multi(&[
            Op::Set { path: &self.accounts[from].path, data: Some(&debited) },
            Op::Set { path: &self.accounts[to].path, data: Some(&credited) },
        ])
    }

    fn open(&mut self, writer: &mut Writer, from: usize) -> Result<(), i32> {
        let opened = self.next_account(self.accounts[from].balance / 2);
        self.accounts[from].balance -= opened.balance;
        let (debited, credited) = (self.accounts[from].data(), opened.data());
        self.accounts.push(opened);
        writer.send_multi(&[
            Op::Create {
                path: &self.accounts[self.accounts.len() - 1].path,
                data: Some(&credited),
                flags: 0,
            },
            Op::Set { path: &self.accounts[from].path, data: Some(&debited) },
        ])
    }

    fn close(&mut self, writer: &mut Writer, from: usize, to: usize) -> Result<(), i32> {
        self.accounts[to].balance += self.accounts[from].balance;
        let credited = self.accounts[to].data();
        let sent = writer.send_multi(&[
            Op::Delete { path: &self.accounts[from].path },
            Op::Set { path: &self.accounts[to].path, data: Some(&credited) },
        ]);
        self.accounts.swap_remove(from);
        sent
    }
}
