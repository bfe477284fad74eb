//! One ZooKeeper session.
mod hosts;
pub use hosts::{Host, Hosts, InvalidHosts};
use std::time::Duration;

/// Credentials that are replayed on every connection. Not `Debug`: they must not end up in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    pub scheme: String,
    pub credential: Vec<u8>,
}

/// What a session is made with.
#[derive(Clone)]
pub struct Settings {
    pub hosts: Hosts,
    pub session_timeout: Duration,
    /// For one connection attempt, from the first packet to the server's answer.
    pub connect_timeout: Duration,
    pub auth: Vec<Auth>,
}
