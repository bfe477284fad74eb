//! What one simulated server can do: rates become times, of a few resources that are each used by one thing at a time.

use std::time::Duration;

use crate::measured::Rates;

/// How many connections wait to be accepted (Java's default, which ZooKeeper leaves unless `clientPortListenBacklog`
/// is set); the kernel drops what comes then.
pub const BACKLOG: usize = 50;
/// After which time the other kernel tries again, at first; then it doubles (Linux).
pub const SYN_AGAIN: Duration = Duration::from_secs(1);
/// How many requests a server takes in before it reads from each connection only what comes next
/// (`zookeeper.globalOutstandingLimit`).
const IN_PROCESS: usize = 1000;
/// Of the network of a server, in bytes per second: 10 Gbit/s.
const NETWORK: f64 = 1.25e9;

/// Times in ns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    pub accept: u64,
    /// A session that is resumed.
    pub resume: u64,
    /// A session that is made, at the leader.
    pub session: u64,
    pub request: u64,
    /// A node in a request.
    pub node: u64,
    /// A node that is compared with a zxid, and its list.
    pub compared: u64,
    pub notification: u64,
    /// 1000 bytes on the network.
    pub kilobyte: u64,
    pub backlog: usize,
    pub in_process: usize,
}

impl Capacity {
    /// A single read is `request + node`, a multiRead of 120 nodes `request + 120 × node`.
    pub fn of(rates: &Rates) -> Capacity {
        let of = |rate: f64| 1e9 / rate;
        let batch = BATCH * of(rates.batched_reads);
        let single = of(rates.single_reads);
        let node = ((batch - single) / (BATCH - 1.0)).max(0.0);
        Capacity {
            accept: of(rates.accepts) as u64,
            resume: of(rates.resumed_sessions) as u64,
            session: of(rates.new_sessions) as u64,
            request: (single - node) as u64,
            node: node as u64,
            compared: of(rates.compared_nodes) as u64,
            notification: of(rates.notifications) as u64,
            kilobyte: (1000.0 * of(NETWORK)) as u64,
            backlog: BACKLOG,
            in_process: IN_PROCESS,
        }
    }

    /// Everything takes no time.
    pub fn boundless() -> Capacity {
        Capacity {
            accept: 0,
            resume: 0,
            session: 0,
            request: 0,
            node: 0,
            compared: 0,
            notification: 0,
            kilobyte: 0,
            backlog: usize::MAX,
            in_process: usize::MAX,
        }
    }

    /// So many servers as one.
    pub fn joined(self, servers: u64) -> Capacity {
        Capacity {
            accept: self.accept / servers,
            resume: self.resume / servers,
            session: self.session,
            request: self.request / servers,
            node: self.node / servers,
            compared: self.compared / servers,
            notification: self.notification / servers,
            kilobyte: self.kilobyte / servers,
            backlog: self.backlog * servers as usize,
            in_process: self.in_process * servers as usize,
        }
    }

    /// The share of one of `clients` clients, for a simulation of that many fewer: what one of them asks for takes as
    /// long as it would take for all of them. Connections that wait to be accepted are not bounded then.
    pub fn shared_by(self, clients: u64) -> Capacity {
        if clients == 1 {
            return self;
        }
        Capacity {
            accept: self.accept * clients,
            resume: self.resume * clients,
            session: self.session * clients,
            request: self.request * clients,
            node: self.node * clients,
            compared: self.compared * clients,
            notification: self.notification * clients,
            kilobyte: self.kilobyte * clients,
            backlog: usize::MAX,
            in_process: (self.in_process / clients as usize).max(1),
        }
    }
}

/// Nodes in a multiRead of a verification.
pub const BATCH: f64 = 120.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_to_the_rates_they_come_from() {
        let rates = Rates {
            accepts: 10_000.0,
            resumed_sessions: 5000.0,
            new_sessions: 4000.0,
            batched_reads: 1_000_000.0,
            single_reads: 50_000.0,
            notifications: 50_000.0,
            compared_nodes: 2_000_000.0,
        };
        let capacity = Capacity::of(&rates);
        assert_eq!(capacity.accept, 100_000);
        assert_eq!(capacity.compared, 500);
        let batch = capacity.request + 120 * capacity.node;
        assert!((119_800..=120_200).contains(&batch), "{batch}");
        assert!((19_990..=20_010).contains(&(capacity.request + capacity.node)));
        assert_eq!(capacity.shared_by(10).node, 10 * capacity.node);
        assert_eq!(capacity.shared_by(1), capacity);
        assert_eq!(capacity.joined(3).in_process, 3000);
        assert_eq!(capacity.joined(2).session, capacity.session, "there is one leader");
    }
}
