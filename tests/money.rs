//! Money is moved between accounts in transactions, so at every zxid all accounts together hold the same sum. A
//! snapshot that says it is a cut and has another sum is torn.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use treecache::{Client, Config, Snapshot, TreeCache, Walk, Zxid};
use treecache_test_support::{Op, Proxy, Server, Writer, shared, unique_root};

const OPENING_BALANCE: i64 = 1000;
/// How long each market is open.
const OPEN_FOR: Duration = Duration::from_secs(3);
/// So many cuts must come in that time, or the cache is starved: far below what does come.
const FEWEST_CUTS: usize = 4;

#[derive(Clone, Copy, PartialEq)]
enum Trade {
    /// Between accounts that stay.
    Fixed,
    /// Now and then an account is opened or closed.
    Churning,
}

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    /// As fast as the server takes it.
    Saturated,
    /// A transaction every two milliseconds.
    Calm,
}

/// The accounts, as the one who writes them knows them.
struct Bank {
    root: String,
    accounts: Vec<(String, i64)>,
    opened: usize,
    trade: Trade,
    random: fastrand::Rng,
}

impl Bank {
    fn found(writer: &mut Writer, root: &str, accounts: usize, trade: Trade) -> Bank {
        writer.create(root, None, 0).expect("the root is created");
        let mut bank = Bank {
            root: root.to_owned(),
            accounts: Vec::new(),
            opened: 0,
            trade,
            random: fastrand::Rng::with_seed(7),
        };
        for _ in 0..accounts {
            let path = bank.new_path();
            let data = OPENING_BALANCE.to_string();
            let op = Op::Create { path: &path, data: Some(data.as_bytes()), flags: 0 };
            writer.send(&op).expect("sent");
            bank.accounts.push((path, OPENING_BALANCE));
        }
        writer.drain().expect("the accounts are created");
        bank
    }

    fn new_path(&mut self) -> String {
        self.opened += 1;
        format!("{}/account-{:06}", self.root, self.opened)
    }

    fn transact(&mut self, writer: &mut Writer) -> Result<(), i32> {
        match self.random.u32(..40) {
            0 if self.trade == Trade::Churning => self.open_account(writer),
            1 if self.trade == Trade::Churning && self.accounts.len() > 2 => self.close_account(writer),
            _ => self.transfer(writer),
        }
    }

    fn transfer(&mut self, writer: &mut Writer) -> Result<(), i32> {
        let from = self.random.usize(..self.accounts.len());
        let to = (from + 1 + self.random.usize(..self.accounts.len() - 1)) % self.accounts.len();
        let amount = self.random.i64(1..10);
        self.accounts[from].1 -= amount;
        self.accounts[to].1 += amount;
        let [debited, credited] = [from, to].map(|at| self.accounts[at].1.to_string());
        writer.send_multi(&[
            Op::Set { path: &self.accounts[from].0, data: Some(debited.as_bytes()) },
            Op::Set { path: &self.accounts[to].0, data: Some(credited.as_bytes()) },
        ])
    }

    fn open_account(&mut self, writer: &mut Writer) -> Result<(), i32> {
        let path = self.new_path();
        let from = self.random.usize(..self.accounts.len());
        let amount = self.accounts[from].1 / 2;
        self.accounts[from].1 -= amount;
        let (left, moved) = (self.accounts[from].1.to_string(), amount.to_string());
        let sent = writer.send_multi(&[
            Op::Create { path: &path, data: Some(moved.as_bytes()), flags: 0 },
            Op::Set { path: &self.accounts[from].0, data: Some(left.as_bytes()) },
        ]);
        self.accounts.push((path, amount));
        sent
    }

    fn close_account(&mut self, writer: &mut Writer) -> Result<(), i32> {
        let (path, balance) = self.accounts.swap_remove(self.random.usize(..self.accounts.len()));
        let to = self.random.usize(..self.accounts.len());
        self.accounts[to].1 += balance;
        let credited = self.accounts[to].1.to_string();
        writer.send_multi(&[
            Op::Delete { path: &path },
            Op::Set { path: &self.accounts[to].0, data: Some(credited.as_bytes()) },
        ])
    }

    /// Writes until it is told to stop; returns how many transactions.
    fn run(&mut self, writer: &mut Writer, pace: Pace, stop: &AtomicBool) -> usize {
        let mut transactions = 0;
        while !stop.load(Ordering::Relaxed) {
            let burst = if pace == Pace::Saturated { 100 } else { 1 };
            for _ in 0..burst {
                self.transact(writer).expect("sent");
            }
            writer.drain().expect("every transaction is valid");
            transactions += burst;
            if pace == Pace::Calm {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        transactions
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

/// Looks at snapshots as fast as it can; returns the zxids of the cuts that it saw.
fn audit(cache: &TreeCache, root: &str, expected: i64, stop: &AtomicBool) -> HashSet<Zxid> {
    let mut cuts = HashSet::new();
    let mut last = Zxid(0);
    while !stop.load(Ordering::Relaxed) {
        let snapshot = cache.snapshot().expect("the cache is open");
        assert!(snapshot.zxid() >= last, "zxids go back from {last} to {}", snapshot.zxid());
        if snapshot.is_cut() && snapshot.zxid() != last {
            assert_eq!(sum(&snapshot, root), expected, "torn at {}", snapshot.zxid());
            cuts.insert(snapshot.zxid());
        }
        last = snapshot.zxid();
    }
    cuts
}

fn market(name: &str, accounts: usize, trade: Trade, pace: Pace, delay: Duration) {
    let server: &Server = shared();
    let root = unique_root(name);
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("connected");
    let mut bank = Bank::found(&mut writer, &root, accounts, trade);
    let expected = accounts as i64 * OPENING_BALANCE;

    let proxy = Proxy::start(server.addr());
    proxy.set_delay(delay);
    let client = Client::new(&proxy.hosts(), &Config::new()).expect("valid hosts");
    let cache = client.cache(&root, &Config::new()).expect("a valid path");
    cache.start().expect("started");
    cache.wait_initialized(Some(Duration::from_secs(20))).expect("the first load is complete");

    let stop = AtomicBool::new(false);
    let (cuts, transactions) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| bank.run(&mut writer, pace, &stop));
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| audit(&cache, &root, expected, &stop))).collect();
        let opened = Instant::now();
        while opened.elapsed() < OPEN_FOR && readers.iter().all(|reader| !reader.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        let cuts: HashSet<Zxid> =
            readers.into_iter().flat_map(|reader| reader.join().expect("no torn cut")).collect();
        (cuts, writing.join().expect("the writer wrote"))
    });
    println!("{name}: {transactions} transactions, {} cuts", cuts.len());
    assert!(cuts.len() >= FEWEST_CUTS, "starved: {} cuts", cuts.len());

    let deadline = Instant::now() + Duration::from_secs(20);
    while cache.snapshot().map(|at_rest| at_rest.len()).ok() != Some(bank.accounts.len() + 1) {
        assert!(Instant::now() < deadline, "the cache does not come to rest");
        std::thread::sleep(Duration::from_millis(5));
    }
    let at_rest = cache.snapshot().expect("the cache is open");
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
