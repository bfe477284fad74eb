//! How long an attempt at a connection may take, and why one failed, in words.

use std::time::Duration;

use super::{Leg, Settings, Step, TransportError};
use crate::planted::{self, Defect};
use crate::stat::Zxid;

/// How long attempts may take. The bound doubles with every round of attempts through the servers that took too long,
/// up to two thirds of the session timeout: a slow server would not be reached otherwise, and each attempt leaves a
/// session behind there. Once a connection is made, the bound is the setting again.
pub(super) struct Attempts {
    resolve_timeout: Duration,
    connect_timeout: Duration,
    longest: Duration,
    servers: usize,
    /// Attempts that failed by the bound, since a connection was made.
    slow: usize,
}

impl Attempts {
    pub(super) fn new(settings: &Settings) -> Attempts {
        let Settings { hosts, session_timeout, resolve_timeout, connect_timeout, .. } = settings;
        Attempts {
            resolve_timeout: *resolve_timeout,
            connect_timeout: *connect_timeout,
            longest: (*session_timeout * 2 / 3).max(*connect_timeout),
            servers: hosts.servers.len(),
            slow: 0,
        }
    }

    /// How long an attempt may take once there is an address.
    pub(super) fn bound(&self) -> Duration {
        let rounds = (self.slow / self.servers).min(16);
        let rounds = if planted::is(Defect::BoundKept) { 0 } else { rounds };
        self.connect_timeout.saturating_mul(1 << rounds).min(self.longest)
    }

    /// An attempt took too long for `step`; says so.
    pub(super) fn timed_out(&mut self, step: &Step) -> String {
        let (bound, what) = (
            self.bound().as_millis(),
            match step {
                Step::Transport(Leg::Resolving) => {
                    let bound = self.resolve_timeout.as_millis();
                    return format!("the name was not resolved within {bound} ms (resolve.timeout.ms)");
                }
                Step::Transport(Leg::Connecting) => "no connection (TCP)",
                Step::Transport(Leg::Securing) => "the TLS handshake did not end",
                Step::Answer => "no answer to ZooKeeper's handshake",
                Step::Sasl { xid: Some(_), .. } => "SASL did not end",
                Step::Sasl { xid: None, .. } => "no ticket from the KDC",
            },
        );
        self.slow += 1;
        match self.connect_timeout.as_millis() {
            setting if setting == bound => format!("{what} within {bound} ms (connect.timeout.ms)"),
            setting => format!("{what} within {bound} ms (connect.timeout.ms={setting}, grown)"),
        }
    }

    /// A connection was made.
    pub(super) fn succeeded(&mut self) {
        self.slow = 0;
    }
}

/// What it may mean if a server closes the connection instead of answering the connect request. A server never says.
pub(super) fn refused(seen: Zxid) -> TransportError {
    let behind = match seen {
        Zxid(0) => String::new(),
        seen => format!("has not come up to zxid {seen} yet, "),
    };
    TransportError::Connection(format!(
        "the server closed the connection in place of an answer: it has no quorum, is read-only, {behind}has too many \
         connections from this address (maxClientCnxns), or one side alone speaks TLS"
    ))
}
