//! What a server does with a connection before it lets a session in.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::*;
use treecache::Status;
use treecache_test_support::{Server, Writer, shared, unique_root};

/// A server in front of `upstream` that thinks for a while before it listens to a connection.
fn hesitant(upstream: SocketAddr, thinks: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                thread::sleep(thinks);
                let Ok(server) = TcpStream::connect(upstream) else { return };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || copy(from, to));
                copy(server, client);
            });
        }
    });
    addr
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_server_that_is_too_slow_for_the_setting_is_reached_in_the_end() {
    let slow = hesitant(shared().addr(), Duration::from_millis(1500)).to_string();
    let client = client_with(&slow, &[("connect.timeout.ms", "400"), ("session.timeout.ms", "10000")]);
    let faults = Faults::of_client(&client);
    started(&client, &unique_root("hesitant"), &[]);
    let told = faults.told();
    let bounds: Vec<bool> = [400, 800]
        .iter()
        .map(|bound| told.iter().any(|fault| fault.message.contains(&format!("within {bound} ms"))))
        .collect();
    assert_eq!(bounds, [true, true], "{told:?}");
    for fault in told {
        assert_eq!(fault.status, Status::Connection);
        assert!(fault.message.contains("ZooKeeper's handshake"), "{}", fault.message);
        assert!(fault.message.contains("connect.timeout.ms"), "{}", fault.message);
    }
}

#[test]
fn a_server_that_has_too_many_connections_from_here_says_nothing_and_the_fault_does() {
    let server = Server::builder().config("maxClientCnxns=1").start();
    let _only = Writer::connect(server.addr(), Duration::from_secs(10)).expect("the one connection");
    let client = client_with(&server.hosts(), &[]);
    let fault = Faults::of_client(&client).wait_for(|fault| fault.status == Status::Connection);
    for word in ["the server closed the connection", "quorum", "read-only", "maxClientCnxns", "TLS"] {
        assert!(fault.message.contains(word), "{word:?} is missing in {:?}", fault.message);
    }
}
