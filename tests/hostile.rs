//! Servers that are none, or out to harm, on a real socket: the client says so, goes on trying at a decent pace, uses
//! no more memory than it is sent, and can be closed at once. `testing/hostile/` has the many ways to lie; here is what
//! only sockets and threads can get wrong.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use treecache::{Client, State, Status, TreeCache};

use common::*;

/// How often a client may call a server within a second or two: some ten times would do, and thousands are what a loop
/// makes.
const MOST_CONNECTIONS: usize = 40;
const ROOTS: [&str; 3] = ["/", "/a", "/a/b"];

/// Answers each connection as `serve` has it, on a loopback port.
struct Hostile {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What a connection of a hostile server is: its number, from 1, and the stream.
type Serve = fn(usize, &mut TcpStream) -> std::io::Result<()>;

impl Hostile {
    fn start(serve: Serve) -> Hostile {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let addr = listener.local_addr().expect("its number");
        let (connections, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let acceptor = thread::spawn({
            let (connections, ends) = (connections.clone(), ends.clone());
            move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(mut stream) = stream else { continue };
                    let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                    thread::spawn(move || {
                        // Its errors are those of a client that had enough.
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                        let _ = serve(number, &mut stream);
                    });
                }
            }
        });
        Hostile { addr, connections, ends, acceptor: Some(acceptor) }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A client that meets one of them, with a cache.
struct Victim {
    client: Client,
    io: IoThread,
    cache: TreeCache,
    faults: Faults,
}

impl Victim {
    #[track_caller]
    fn start(server: &SocketAddr, settings: &[(&str, &str)]) -> Victim {
        let (client, io) = IoThread::of_a_new_client(&server.to_string(), settings);
        let cache = client.cache("/hostile", &config(&[])).expect("a cache");
        let faults = Faults::of(&cache);
        cache.start().expect("started");
        Victim { client, io, cache, faults }
    }

    #[track_caller]
    fn close(self) {
        let Victim { client, cache, .. } = self;
        assert_quick(|| drop((client, cache)));
    }
}

fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn send(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat())
}

/// Takes the connect request, and grants a session of that timeout; 0 or less ends it.
fn shake_hands(stream: &mut TcpStream, timeout_ms: i32) -> std::io::Result<()> {
    receive(stream)?;
    let mut response = [&[0; 4][..], &timeout_ms.to_be_bytes(), &77u64.to_be_bytes()].concat();
    response.extend_from_slice(&16u32.to_be_bytes());
    response.extend_from_slice(&[7; 16]);
    response.push(0);
    send(stream, &response)
}

/// Takes a request; where it asks what kind of server this is, it is told that it is no ClickHouse Keeper, and the next one is
/// taken.
fn receive_request(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let request = receive(stream)?;
    if !request.ends_with(b"/keeper/feature_flags\0") {
        return Ok(request);
    }
    send(stream, &[&request[..4], &5u64.to_be_bytes(), &(-101i32).to_be_bytes()].concat())?;
    receive(stream)
}

/// Takes a request and answers it with `body`, under its own xid.
fn answer(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let request = receive_request(stream)?;
    send(stream, &[&request[..4], &5u64.to_be_bytes(), &[0; 4], body].concat())
}

/// Waits for the client to hang up.
fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}

/// The result of a getData in a multiRead: a node with `num_children`.
fn data_result(num_children: i32) -> Vec<u8> {
    let mut result = [&4u32.to_be_bytes()[..], &[0], &[0; 4], &1u32.to_be_bytes(), b"x"].concat();
    result.extend_from_slice(&[0; 8 + 8 + 8 + 8 + 4 + 4 + 4 + 8]);
    result.extend_from_slice(&1i32.to_be_bytes());
    result.extend_from_slice(&num_children.to_be_bytes());
    result.extend_from_slice(&[0; 8]);
    result
}

const LIES: &[(&str, Serve)] = &[
    ("garbage", |number, stream| {
        receive(stream)?;
        let mut state = number as u32 * 12345;
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        })
        .take(100_000)
        .collect();
        stream.write_all(&garbage)?;
        linger(stream)
    }),
    ("another protocol", |_, stream| {
        receive(stream)?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
        linger(stream)
    }),
    ("a frame of 2 GiB in the place of the connect response", |_, stream| {
        receive(stream)?;
        stream.write_all(&0x7fff_ffffu32.to_be_bytes())?;
        linger(stream)
    }),
    ("a frame of 2 GiB later", |_, stream| {
        shake_hands(stream, 10_000)?;
        stream.write_all(&0x7fff_ffffu32.to_be_bytes())?;
        linger(stream)
    }),
    ("a negative frame length", |_, stream| {
        shake_hands(stream, 10_000)?;
        stream.write_all(&(-1i32).to_be_bytes())?;
        linger(stream)
    }),
    ("empty frames", |_, stream| {
        shake_hands(stream, 10_000)?;
        stream.write_all(&[0; 400])?;
        linger(stream)
    }),
    ("a connect response that is cut short", |_, stream| {
        receive(stream)?;
        send(stream, &[0; 10])?;
        linger(stream)
    }),
    ("an unknown xid", |_, stream| {
        shake_hands(stream, 10_000)?;
        receive(stream)?;
        send(stream, &[&4711u32.to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 4]].concat())?;
        linger(stream)
    }),
    ("a reply to nothing", |_, stream| {
        shake_hands(stream, 10_000)?;
        for _ in 0..10 {
            answer(stream, &[])?;
            send(stream, &[&1u32.to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 4]].concat())?;
        }
        linger(stream)
    }),
    ("a notification that is cut short", |_, stream| {
        shake_hands(stream, 10_000)?;
        send(stream, &[&(-1i32).to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 4], &[1; 6]].concat())?;
        linger(stream)
    }),
    ("a notification about no text", |_, stream| {
        shake_hands(stream, 10_000)?;
        let path = [&2u32.to_be_bytes()[..], &[0xff, 0xff]].concat();
        send(stream, &[&(-1i32).to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 12], &path].concat())?;
        linger(stream)
    }),
    ("an empty multiRead", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        answer(stream, &[])?;
        linger(stream)
    }),
    ("a multiRead that is cut short", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        let result = data_result(0);
        answer(stream, &result[..result.len() - 3])?;
        linger(stream)
    }),
    ("a multiRead with a result missing", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        answer(
            stream,
            &[&data_result(0)[..], &[0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]].concat(),
        )?;
        linger(stream)
    }),
    ("a child list of two thousand million names", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &i32::MAX.to_be_bytes()].concat();
        answer(stream, &[&data_result(i32::MAX)[..], &list].concat())?;
        linger(stream)
    }),
    ("results in the wrong order", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &[0; 4]].concat();
        answer(stream, &[&list[..], &data_result(0)].concat())?;
        linger(stream)
    }),
    ("ended sessions, for ever", |_, stream| {
        shake_hands(stream, 0)?;
        linger(stream)
    }),
    ("negative timeouts, and more behind them", |_, stream| {
        shake_hands(stream, -1)?;
        stream.write_all(&[0, 0, 0, 99, 1, 2, 3])?;
        linger(stream)
    }),
];

/// Lies that cannot be told from a connection that is lost.
const GOOD_BYES: &[(&str, Serve)] = &[
    ("a word and good bye", |_, stream| shake_hands(stream, 6_000)),
    ("good bye", |_, stream| receive(stream).map(drop)),
    ("silence", |_, stream| linger(stream)),
];

/// Lies that cannot be told from bad luck: no fault of protocol is expected.
const MISFORTUNES: &[(&str, Serve)] = &[
    ("sessions that end as soon as they have begun", |number, stream| {
        let ends = number % 2 == 0;
        shake_hands(stream, if ends { 0 } else { 10_000 })?;
        if ends {
            // Begun, and never to be finished.
            stream.write_all(&[0, 0, 0, 99, 1, 2, 3])?;
        }
        Ok(())
    }),
    ("a hundred MiB that never come", |_, stream| {
        shake_hands(stream, 2_000)?;
        stream.write_all(&(100u32 << 20).to_be_bytes())?;
        linger(stream)
    }),
    ("a timeout of a millisecond", |_, stream| {
        shake_hands(stream, 1)?;
        linger(stream)
    }),
    ("a timeout of weeks", |_, stream| {
        shake_hands(stream, i32::MAX)?;
        linger(stream)
    }),
    ("no data, and what it is not", |_, stream| {
        shake_hands(stream, 10_000)?;
        // A node with as many children as there can be, of whom the list knows nothing.
        for _ in 0..1_000 {
            let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &[0; 4]].concat();
            answer(stream, &[&data_result(i32::MAX)[..], &list].concat())?;
            thread::sleep(Duration::from_millis(1));
        }
        linger(stream)
    }),
    ("errors, nothing but errors", |_, stream| {
        shake_hands(stream, 10_000)?;
        loop {
            let request = receive(stream)?;
            send(stream, &[&request[..4], &5u64.to_be_bytes(), &(-1i32).to_be_bytes()].concat())?;
        }
    }),
    ("rejected credentials, and half a frame behind", |_, stream| {
        shake_hands(stream, 10_000)?;
        send(stream, &[&(-4i32).to_be_bytes()[..], &[0; 8], &(-115i32).to_be_bytes()].concat())?;
        stream.write_all(&[0, 0, 0, 99, 1, 2, 3])
    }),
];

/// Lets clients meet each of these servers, and looks at what that does to them.
fn suffer(lies: &[(&str, Serve)], expected: Option<Status>) {
    for (lie, serve) in lies {
        let hostile = Hostile::start(*serve);
        let victim = Victim::start(&hostile.addr, &[("connect.timeout.ms", "1000")]);
        if let Some(expected) = expected {
            let fault = victim.faults.wait_for(|fault| fault.status == expected);
            assert!(fault.message.contains(&hostile.addr.to_string()), "{lie}: {}", fault.message);
        }
        eventually("a connection", || hostile.connections() > 0);
        let before = resident_bytes();
        victim.io.assert_calm(Duration::from_secs(1));
        let after = resident_bytes();
        assert!(after < before + (32 << 20), "{lie}: {before} bytes, {after} bytes later");
        assert_ne!(victim.cache.state().0, State::InStep, "{lie}");
        let faults = victim.faults.told();
        let connections = hostile.connections();
        println!("{lie}: {connections} connections, {} faults", faults.len());
        assert!(connections <= MOST_CONNECTIONS, "{lie}: {connections} connections");
        assert!(
            expected.is_none() || faults.len() <= 2 * connections,
            "{lie}: {connections} connections: {faults:#?}"
        );
        assert!(!faults.iter().any(|fault| fault.status == Status::Panic), "{lie}: {faults:#?}");
        victim.close();
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_a_fault_and_neither_a_panic_nor_a_busy_loop() {
    in_a_process_of_its_own(|| suffer(LIES, Some(Status::Protocol)));
}

#[test]
fn a_server_that_is_of_no_use_does_not_wear_its_client_out() {
    in_a_process_of_its_own(|| {
        suffer(GOOD_BYES, Some(Status::Connection));
        suffer(MISFORTUNES, None);
    });
}

/// Grants a session and the watches of [`ROOTS`], and then answers nothing, but notifies for as long as the client takes
/// it.
fn storm(_: usize, stream: &mut TcpStream) -> std::io::Result<()> {
    shake_hands(stream, 10_000)?;
    // A reply to what was not asked yet would be the end.
    let requests = ROOTS.iter().map(|_| receive_request(stream)).collect::<std::io::Result<Vec<_>>>()?;
    for request in requests {
        send(stream, &[&request[..4], &5u64.to_be_bytes(), &[0; 4]].concat())?;
    }
    let path = b"/a/b/c/d/e";
    let header = [&(-1i32).to_be_bytes()[..], &(-1i64).to_be_bytes(), &[0; 4]].concat();
    let event =
        [&1i32.to_be_bytes()[..], &3i32.to_be_bytes(), &(path.len() as u32).to_be_bytes(), path].concat();
    let body = [header, event].concat();
    let words = [&(body.len() as u32).to_be_bytes()[..], &body].concat().repeat(1000);
    loop {
        stream.write_all(&words)?;
    }
}

#[test]
fn a_server_that_never_stops_notifying_uses_no_memory_and_may_be_left_at_any_time() {
    in_a_process_of_its_own(|| {
        let before = resident_bytes();
        let hostile = Hostile::start(storm);
        let client = client_with(&hostile.addr.to_string(), &[("connect.timeout.ms", "30000")]);
        let caches = ROOTS.map(|root| {
            let cache = client.cache(root, &config(&[])).expect("a cache");
            cache.start().expect("started");
            cache
        });
        thread::sleep(Duration::from_secs(2));
        assert!(caches.iter().all(|cache| cache.state().0 != State::InStep));
        let used = resident_bytes().saturating_sub(before);
        assert!(used < 64 << 20, "{used} bytes more than before");
        assert_quick(|| drop((client, caches)));
        assert_eq!(hostile.connections(), 1);
    });
}

/// What stands on the wire for a granted session.
fn grant() -> Vec<u8> {
    let mut response = [&37u32.to_be_bytes()[..], &[0; 4], &10_000u32.to_be_bytes()].concat();
    response.extend_from_slice(&77u64.to_be_bytes());
    response.extend_from_slice(&16u32.to_be_bytes());
    response.extend_from_slice(&[7; 16]);
    response.push(0);
    response
}

/// Expects a client that was told on its connections so far that it is over to load its tree on connection `number`.
#[track_caller]
fn assert_that_the_next_connection_works(
    over: fn(usize, &mut TcpStream) -> std::io::Result<()>,
    number: usize,
) {
    let hostile = Hostile::start(over);
    let settings = [("auth", "digest:a:b"), ("connect.timeout.ms", "30000")];
    let victim = Victim::start(&hostile.addr, &settings);
    // A wait would end with the fault of the connection before.
    eventually("the first load", || victim.cache.is_initialized());
    assert_eq!(hostile.connections(), number, "{:#?}", victim.faults.told());
    victim.close();
}

/// Serves a root without children to a client that asks for nothing else.
fn serve_a_root(stream: &mut TcpStream) -> std::io::Result<()> {
    receive(stream)?;
    stream.write_all(&grant())?;
    receive(stream)?; // the credentials
    send(stream, &[&(-4i32).to_be_bytes()[..], &[0; 12]].concat())?;
    answer(stream, &[])?;
    let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &[0; 4]].concat();
    let end = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];
    answer(stream, &[&data_result(0)[..], &list, &end].concat())?;
    linger(stream)
}

#[test]
fn what_stands_behind_rejected_credentials_is_not_taken_for_a_part_of_the_next_connection() {
    assert_that_the_next_connection_works(
        |number, stream| {
            if number > 1 {
                return serve_a_root(stream);
            }
            receive(stream)?;
            stream.write_all(&grant())?;
            let rejection =
                [&16u32.to_be_bytes()[..], &(-4i32).to_be_bytes(), &[0; 8], &(-115i32).to_be_bytes()];
            stream.write_all(&[&rejection.concat()[..], &[0, 0, 0, 99, 1, 2, 3]].concat())?;
            linger(stream)
        },
        2,
    );
}

#[test]
fn what_stands_behind_the_end_of_a_session_is_not_taken_for_a_part_of_the_next_connection() {
    assert_that_the_next_connection_works(
        |number, stream| match number {
            1 => {
                receive(stream)?;
                stream.write_all(&grant())?;
                receive(stream).map(drop)
            }
            2 => {
                receive(stream)?;
                let mut end = grant();
                end[8..12].fill(0);
                stream.write_all(&[&end[..], &[0, 0, 0, 99, 1, 2, 3]].concat())?;
                linger(stream)
            }
            _ => serve_a_root(stream),
        },
        3,
    );
}
