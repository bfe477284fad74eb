//! Servers that begin a TLS handshake, or something else, and never end it: they are given up in time, and waiting for
//! them costs nothing. A binary of its own, as it looks at the processor time of all I/O threads.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::*;
use tempfile::NamedTempFile;
use treecache::{Client, Status};
use treecache_test_support::Ca;

fn listen_for_ever(mut client: TcpStream) {
    while let Ok(1..) = client.read(&mut [0; 1000]) {}
}

fn say_nothing(client: TcpStream) {
    listen_for_ever(client);
}

/// The head of a record of 100 bytes, and one of them.
fn begin_to_say_something(mut client: TcpStream) {
    let _ = client.write_all(&[22, 3, 3, 0, 100, 2]);
    listen_for_ever(client);
}

/// Records without end, of which each holds a byte of one long handshake message.
fn never_stop(mut client: TcpStream) {
    let _ = client.write_all(&[22, 3, 3, 0, 5, 2, 0, 255, 255, 0]);
    while client.write_all(&[22, 3, 3, 0, 1, 0]).is_ok() {}
}

fn warn_without_end(mut client: TcpStream) {
    while client.write_all(&[21, 3, 3, 0, 2, 1, 90]).is_ok() {}
}

/// A file with the certificate of a CA. It ends with this.
struct CaFile(NamedTempFile);

impl CaFile {
    fn new() -> CaFile {
        let file = NamedTempFile::new().unwrap();
        fs::write(&file, Ca::new("ours").pem()).unwrap();
        CaFile(file)
    }

    fn client(&self, serve: fn(TcpStream), timeout: &str) -> Client {
        let file = self.0.path().to_str().unwrap();
        let settings = [("tls", "true"), ("tls.ca.file", file), ("connect.timeout.ms", timeout)];
        client_with(&listener(serve).to_string(), &settings)
    }
}

/// The processor time that all I/O threads have used so far, and how many there are.
fn io_threads() -> (Duration, usize) {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let stats: Vec<String> = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok())
        .filter(|stat| stat.contains("(treecache-io)"))
        .collect();
    let ticks: u64 = stats
        .iter()
        .flat_map(|stat| stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2))
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    (Duration::from_millis(ticks * 10), stats.len())
}

#[test]
fn a_handshake_that_does_not_end_is_given_up_in_time_and_nobody_spins() {
    let ca = CaFile::new();

    // Waiting is for free.
    let waiting = [say_nothing, begin_to_say_something].map(|serve: fn(TcpStream)| ca.client(serve, "60000"));
    eventually("the threads have begun", || io_threads().1 == waiting.len());
    thread::sleep(Duration::from_millis(500));
    let before = io_threads().0;
    thread::sleep(Duration::from_secs(2));
    let used = io_threads().0 - before;
    assert!(used < Duration::from_millis(100), "{used:?} of processor time while waiting");
    drop(waiting);

    for (serve, status) in [
        (say_nothing as fn(TcpStream), Status::Connection),
        (begin_to_say_something, Status::Connection),
        (never_stop, Status::Tls),
        (warn_without_end, Status::Tls),
    ] {
        let client = ca.client(serve, "300");
        let faults = Faults::of_client(&client);
        eventually("two faults", || faults.told().len() >= 2);
        assert!(faults.told().iter().all(|fault| fault.status == status), "{:?}", faults.told());
    }
}
