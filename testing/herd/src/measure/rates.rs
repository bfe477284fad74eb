//! How much one server does in a second, with clients of few instructions that share its machine.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use treecache_core::wire::{self, ConnectRequest, Request};
use treecache_core::{NodePath, Zxid};
use treecache_test_support::{Server, Writer};

use super::{ROOT, fill};
use crate::capacity::{BACKLOG, SYN_AGAIN};
use crate::measured::{Rates, Tree};

const ROUNDS: usize = 7;
const CONNECTIONS: usize = 8;
const SESSIONS: usize = 2000;
const BURST: usize = 4000;
const WATCHERS: usize = 2000;
const GET_DATA: i32 = 4;
/// Nodes in a request that compares them: 16 KiB, their lists included.
const COMPARED: usize = 270;
/// Nodes in a multiRead: as in a verification.
pub const BATCH: usize = 120;

pub fn measure(server: &Server) -> Rates {
    let tree = Tree { directories: 50, leaves: 100, data: super::DATA };
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(60)).expect("a server");
    fill(&mut writer, &tree);
    let paths: Vec<NodePath> = tree.paths(ROOT).map(|path| NodePath::new(&path).expect("a path")).collect();
    let addr = server.addr();

    let mut batch = Vec::new();
    let reads = paths.iter().take(BATCH).cloned().map(wire::Read::Data).collect();
    Request::MultiRead(reads).encode(1, &NodePath::root(), &mut batch);
    let single = get_data(&paths[1]);
    // The first rounds are for the JVM's compiler.
    answers(addr, &batch, 400);
    let batched_reads = median(|| BATCH as f64 * answers(addr, &batch, 400));
    answers(addr, &single, 10_000);
    let single_reads = median(|| answers(addr, &single, 10_000));
    accepts(addr);
    let accepts = median(|| accepts(addr));
    let mut connections = Vec::new();
    let new_sessions = median(|| SESSIONS as f64 / timed(|| connections = new(addr)));
    // Their connections are closed without a word, and the sessions stay.
    let sessions: Vec<_> = connections.drain(..).map(|one| (one.session, one.password)).collect();
    let resumed_sessions = median(|| resumed(addr, &sessions));
    let notifications = notifications(addr, &mut writer);
    compared(addr, &paths);
    let compared_nodes = median(|| compared(addr, &paths));
    Rates {
        accepts,
        resumed_sessions,
        new_sessions,
        batched_reads,
        single_reads,
        notifications,
        compared_nodes,
    }
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut values: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    values.sort_by(f64::total_cmp);
    values[ROUNDS / 2]
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// Answers in a second to one request, asked `count` times on each of some connections, as many in flight as the
/// server takes.
fn answers(addr: SocketAddr, frame: &[u8], count: usize) -> f64 {
    let mut connections: Vec<Connection> =
        (0..CONNECTIONS).map(|_| Connection::open(addr, 0, &[0; 16]).expect("a session")).collect();
    let took = timed(|| {
        thread::scope(|scope| {
            for connection in &mut connections {
                let mut output = connection.output.try_clone().expect("a socket");
                scope.spawn(move || (0..count).for_each(|_| output.write_all(frame).expect("it takes it")));
                scope.spawn(move || (0..count).for_each(|_| connection.skip_frame().expect("an answer")));
            }
        });
    });
    (CONNECTIONS * count) as f64 / took
}

/// Nodes compared in a second, on connections that have no watches yet and are closed once they have one of each node, as
/// a verification does it.
fn compared(addr: SocketAddr, paths: &[NodePath]) -> f64 {
    let frames: Vec<Vec<u8>> = paths
        .chunks(COMPARED)
        .map(|nodes| {
            let mut frame = Vec::new();
            let (nodes, lists) = (nodes.to_vec(), nodes.to_vec());
            Request::Compare { since: Zxid(i64::MAX), nodes, lists }.encode(1, &NodePath::root(), &mut frame);
            frame
        })
        .collect();
    let mut connections: Vec<Connection> =
        (0..5 * CONNECTIONS).map(|_| Connection::open(addr, 0, &[0; 16]).expect("a session")).collect();
    let took = timed(|| {
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                let (frames, own) = (&frames, connections.split_off(connections.len() - 5));
                scope.spawn(move || {
                    for mut connection in own {
                        for frame in frames {
                            connection.output.write_all(frame).expect("it takes it");
                        }
                        frames.iter().for_each(|_| connection.skip_frame().expect("an answer"));
                    }
                });
            }
        });
    });
    (5 * CONNECTIONS * paths.len()) as f64 / took
}

/// A single read that leaves a watch, as caches without recursive watches make it. The library has no such request.
fn get_data(path: &NodePath) -> Vec<u8> {
    let path = path.as_str().as_bytes();
    let mut frame = Vec::new();
    for number in [4 + 4 + 4 + path.len() as i32 + 1, 1, GET_DATA, path.len() as i32] {
        frame.extend(number.to_be_bytes());
    }
    frame.extend(path);
    frame.push(1); // watch
    frame
}

fn new(addr: SocketAddr) -> Vec<Connection> {
    in_parallel(SESSIONS, |_| Connection::open(addr, 0, &[0; 16]).expect("a session"))
}

fn resumed(addr: SocketAddr, sessions: &[(i64, Vec<u8>)]) -> f64 {
    let mut connections = Vec::new();
    let took = timed(|| {
        connections = in_parallel(sessions.len(), |at| {
            let (session, password) = &sessions[at];
            let connection = Connection::open(addr, *session, password).expect("the session");
            assert_eq!(connection.session, *session, "it has expired");
            connection
        });
    });
    sessions.len() as f64 / took
}

fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    const THREADS: usize = 32;
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || (thread..count).step_by(THREADS).map(work).collect::<Vec<T>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    })
}

/// Connections accepted in a second, of more that come at once than wait to be accepted. The rest is dropped by the
/// kernel, and tried again by the other kernel after a second.
fn accepts(addr: SocketAddr) -> f64 {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(BURST);
    let began = Instant::now();
    let mut sockets: Vec<mio::net::TcpStream> = (0..BURST)
        .map(|at| {
            let mut socket = mio::net::TcpStream::connect(addr).expect("a socket");
            poll.registry().register(&mut socket, Token(at), Interest::WRITABLE).expect("a socket");
            socket
        })
        .collect();
    let came_in = began.elapsed();
    let mut connected = vec![None; BURST];
    while connected.contains(&None) {
        poll.poll(&mut events, Some(Duration::from_secs(60))).expect("events");
        assert!(!events.is_empty(), "it does not accept");
        for event in &events {
            connected[event.token().0].get_or_insert(began.elapsed());
        }
    }
    sockets.clear();
    thread::sleep(Duration::from_millis(500));
    let at_once = connected.iter().flatten().filter(|at| **at < came_in + SYN_AGAIN / 2).count();
    at_once.saturating_sub(BACKLOG) as f64 / came_in.as_secs_f64()
}

/// Notifications in a second, when many watch one node that is written: until the last one has come.
fn notifications(addr: SocketAddr, writer: &mut Writer) -> f64 {
    let mut watch = Vec::new();
    Request::AddWatch(NodePath::new(ROOT).expect("a path")).encode(1, &NodePath::root(), &mut watch);
    let mut watchers: Vec<Connection> = in_parallel(WATCHERS, |_| {
        let mut connection = Connection::open(addr, 0, &[0; 16]).expect("a session");
        connection.output.write_all(&watch).expect("it takes it");
        connection.skip_frame().expect("an answer");
        connection
    });
    median(|| {
        let began = Instant::now();
        writer.set(ROOT, None).expect("a write");
        for watcher in &mut watchers {
            watcher.skip_frame().expect("a notification");
        }
        WATCHERS as f64 / began.elapsed().as_secs_f64()
    })
}

struct Connection {
    input: BufReader<TcpStream>,
    output: TcpStream,
    session: i64,
    password: Vec<u8>,
}

impl Connection {
    fn open(addr: SocketAddr, session: i64, password: &[u8]) -> io::Result<Connection> {
        let output = TcpStream::connect(addr)?;
        output.set_nodelay(true)?;
        output.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut connection = Connection {
            input: BufReader::with_capacity(1 << 16, output.try_clone()?),
            output,
            session: 0,
            password: Vec::new(),
        };
        let mut hello = Vec::new();
        let asked = ConnectRequest {
            last_zxid_seen: treecache_core::Zxid(0),
            timeout_ms: 30_000,
            session_id: session,
            password,
        };
        wire::connect(&asked, &mut hello);
        connection.output.write_all(&hello)?;
        let mut answer = vec![0; connection.frame_len()?];
        connection.input.read_exact(&mut answer)?;
        let granted = wire::ConnectResponse::decode(&answer).map_err(io::Error::other)?;
        connection.session = granted.session_id;
        connection.password = granted.password.to_vec();
        Ok(connection)
    }

    fn frame_len(&mut self) -> io::Result<usize> {
        let mut len = [0; 4];
        self.input.read_exact(&mut len)?;
        Ok(u32::from_be_bytes(len) as usize)
    }

    fn skip_frame(&mut self) -> io::Result<()> {
        let len = self.frame_len()? as u64;
        io::copy(&mut (&mut self.input).take(len), &mut io::sink()).map(drop)
    }
}
