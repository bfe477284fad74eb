//! Loopback ports for servers that must be able to come back to the port they had.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A port that stays reserved, among all test processes of the machine, while this lives.
pub struct Port {
    pub number: u16,
    _lock: UnixListener,
}

impl Port {
    /// The ports lie below the range from which the kernel takes the local ports of clients. While a server is
    /// down, a client that keeps on trying a port within that range will sooner or later be given that very port
    /// as its own, connect to itself, and keep the server from coming back.
    pub fn reserve() -> Port {
        const FIRST: u32 = 15_000;
        const COUNT: u32 = 15_000;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let start = std::process::id().wrapping_mul(97).wrapping_add(clock / 1000);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = (FIRST + start.wrapping_add(step) % COUNT) as u16;
            // A name that is no file's: it is gone with the process, and nobody else can have put something there.
            let name = net::SocketAddr::from_abstract_name(format!("treecache-test-port-{number}"));
            let Ok(lock) = UnixListener::bind_addr(&name.expect("a short name")) else { continue };
            if TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, number))).is_ok() {
                return Port { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }
}
