//! What the integration tests stand on: real ZooKeeper servers, a proxy that misbehaves on command, and clients
//! that owe nothing to the library under test.
//!
//! - [`Server`]: a ZooKeeper server that can be killed, restarted, paused, wiped and put back, or does on command what
//!   no client can ask of it;
//! - [`Ensemble`]: three of them that are one, and can be kept from each other;
//! - [`TransactionLog`]: what a server has written down, read from its files;
//! - [`Proxy`]: stands between a client and a server, delays, cuts and swallows, frame by frame if need be;
//! - [`Witness`]: writes and truth reads through the `zookeeper` crate;
//! - [`Writer`]: transactions, pipelined writes and sessions over a protocol encoder of its own;
//! - [`Kdc`]: a Kerberos realm, with keytabs, tickets and clocks that are wrong;
//! - [`Ca`]: certificates for servers and clients, good ones and others;
//! - [`Bank`]: money that moves in transactions, and is never lost.
//!
//! Nothing here may use the library: a cache that is checked with its own client shares that client's bugs.

mod acl;
mod bank;
mod ensemble;
mod jute;
mod kdc;
mod port;
mod proxy;
mod server;
mod tls;
mod transaction_log;
mod witness;
mod writer;

pub use acl::{Acl, digest_id};
pub use bank::{Bank, OPENING_BALANCE, Trade};
pub use ensemble::{Ensemble, Partition};
pub use kdc::Kdc;
pub use proxy::{Proxy, ReplyFrame, RequestFrame, Verdict};
pub use server::{Backup, Server, ServerBuilder, Version, shared};
pub use tls::{Ca, Identity};
pub use transaction_log::{Logged, LoggedChange, TransactionLog};
pub use witness::{TruthNode, TruthStat, Witness};
pub use writer::{Op, Writer, expire_session, password_of, sessions_of};
pub use zookeeper;

use std::sync::atomic::{AtomicUsize, Ordering};

/// A root path that no other test of this process uses: `/t-<name>-<n>`. The node is not created.
pub fn unique_root(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("/t-{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
