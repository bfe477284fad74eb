//! Money that is moved between accounts in transactions: at every zxid all accounts together hold the same sum.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::writer::{Op, Writer};

/// What an account holds when the bank is founded.
pub const OPENING_BALANCE: i64 = 1000;

/// What a bank's transactions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trade {
    /// Move money between accounts that stay.
    Fixed,
    /// Besides, open or close an account now and then.
    Churning,
}

/// The accounts, as the one who writes them knows them.
pub struct Bank {
    root: String,
    accounts: Vec<Account>,
    opened: usize,
    trade: Trade,
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
    /// Creates the root and the accounts below it.
    pub fn found(writer: &mut Writer, root: &str, accounts: usize, trade: Trade) -> Bank {
        writer.create(root, None, 0).expect("a root");
        let random = fastrand::Rng::with_seed(7);
        let mut bank = Bank { root: root.to_owned(), accounts: Vec::new(), opened: 0, trade, random };
        for _ in 0..accounts {
            let account = bank.next_account(OPENING_BALANCE);
            let (path, data) = (&account.path, account.data());
            writer.send(&Op::Create { path, data: Some(&data), flags: 0 }).expect("a create");
            bank.accounts.push(account);
        }
        writer.drain().expect("answers");
        bank
    }

    /// How many accounts there are now.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    fn next_account(&mut self, balance: i64) -> Account {
        self.opened += 1;
        Account { path: format!("{}/account-{:06}", self.root, self.opened), balance }
    }

    /// Trades until the market is closed, `burst` transactions at a time with a pause behind them; returns how many
    /// it were.
    pub fn trade(
        &mut self,
        writer: &mut Writer,
        burst: usize,
        pause: Duration,
        closed: &AtomicBool,
    ) -> usize {
        let mut transactions = 0;
        while !closed.load(Ordering::Relaxed) {
            for _ in 0..burst {
                self.transact(writer).expect("a transaction");
            }
            writer.drain().expect("every transaction valid");
            transactions += burst;
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        transactions
    }

    fn transact(&mut self, writer: &mut Writer) -> Result<(), i32> {
        let (one, other) = self.two_accounts();
        match self.random.u32(..40) {
            0 if self.trade == Trade::Churning => self.open(writer, one),
            1 if self.trade == Trade::Churning && self.accounts.len() > 2 => self.close(writer, one, other),
            _ => self.transfer(writer, one, other),
        }
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
