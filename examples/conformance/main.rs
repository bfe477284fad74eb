//! Asks a server what libtreecache would find there: which operations it knows, which order it keeps, in what it differs
//! from others; which watches a cache would have there, and what would be promised.
//!
//!     cargo run --example conformance -- localhost:2181 /tmp
//!
//! Nodes are made and removed below the path, which has to be there, under a name that nobody else has. Without a path
//! nothing is written, and only what can be seen without that is asked.

mod questions;
mod wire;

use std::net::ToSocketAddrs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (host, path) = match &arguments[..] {
        [host] => (host, None),
        [host, path] if path.starts_with('/') => (host, Some(path.as_str())),
        _ => {
            eprintln!("usage: conformance HOST:PORT [/A/PATH/BELOW/WHICH/IT/MAY/WRITE]");
            return ExitCode::from(2);
        }
    };
    let server = match host.to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(server)) => server,
        Ok(None) => {
            eprintln!("{host} has no address");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("{host}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match questions::ask(server, path) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{host}: {error}");
            ExitCode::FAILURE
        }
    }
}
