//! A TCP proxy between clients and one server that delays, cuts, swallows and refuses on command, and that knows
//! enough of ZooKeeper's framing to do so between two particular frames.
//!
//! Each connection has two pipes, one per direction. A pipe's reader takes bytes off the one socket, splits them
//! into frames, asks the hook about each and queues them with the time they are due; its writer hands them to the
//! other socket when that time has come. What is delayed is therefore never serialised: any number of frames may be
//! on their way at once.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Anything that claims to be longer is no frame (a four-letter word, say), and is passed on as it comes.
const LONGEST_FRAME: usize = 256 << 20;

/// What is to be done with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Cut the connection instead of passing the frame on; what came before it still arrives.
    Drop,
    /// Pass the frame on, then cut the connection. For a request: nothing more goes to the client, so that the
    /// server acts and the client never learns of it.
    DropAfter,
    /// Let the frame, and all behind it, wait.
    Hold(Duration),
}

/// A frame from the server: a reply, or a notification (xid -1).
#[derive(Debug, Clone, Copy)]
pub struct ReplyFrame<'a> {
    /// Counts the proxy's connections from 1.
    pub connection: usize,
    pub xid: i32,
    pub zxid: i64,
    pub err: i32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// A frame from the client.
#[derive(Debug, Clone, Copy)]
pub struct RequestFrame<'a> {
    /// Counts the proxy's connections from 1.
    pub connection: usize,
    pub xid: i32,
    pub opcode: i32,
    /// What follows the header.
    pub body: &'a [u8],
}

type ReplyHook = Box<dyn FnMut(ReplyFrame) -> Verdict + Send>;
type RequestHook = Box<dyn FnMut(RequestFrame) -> Verdict + Send>;

/// A proxy on a loopback port of its own. Its connections and threads end with it.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    /// The bytes are ZooKeeper's client protocol.
    frames: bool,
    ending: AtomicBool,
    refuse: AtomicBool,
    blackhole: AtomicBool,
    delay: Mutex<Duration>,
    accepted: AtomicUsize,
    to_client: AtomicU64,
    to_server: AtomicU64,
    session: AtomicI64,
    on_reply: Mutex<Option<ReplyHook>>,
    on_request: Mutex<Option<RequestHook>>,
    connections: Mutex<Vec<Arc<Connection>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Connection {
    number: usize,
    client: TcpStream,
    server: TcpStream,
    to_client: Pipe,
    to_server: Pipe,
}

#[derive(Default)]
struct Pipe {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    /// Nothing is passed on any more.
    closed: bool,
}

struct Parcel {
    due: Instant,
    hold: Duration,
    bytes: Vec<u8>,
    then_cut: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToClient,
    ToServer,
}

impl Proxy {
    /// Listens on a free port and connects each client to `upstream`, which need not be there yet.
    pub fn start(upstream: SocketAddr) -> Proxy {
        Proxy::new(upstream, true)
    }

    /// As [`start`](Self::start), for bytes of any protocol: hooks are asked about nothing.
    pub fn relay(upstream: SocketAddr) -> Proxy {
        Proxy::new(upstream, false)
    }

    fn new(upstream: SocketAddr, frames: bool) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let addr = listener.local_addr().expect("the port's number");
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            frames,
            ending: AtomicBool::new(false),
            refuse: AtomicBool::new(false),
            blackhole: AtomicBool::new(false),
            delay: Mutex::new(Duration::ZERO),
            accepted: AtomicUsize::new(0),
            to_client: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            session: AtomicI64::new(0),
            on_reply: Mutex::new(None),
            on_request: Mutex::new(None),
            connections: Mutex::new(Vec::new()),
            threads: Mutex::new(Vec::new()),
        });
        let acceptor = thread::spawn({
            let shared = shared.clone();
            move || shared.accept(&listener)
        });
        Proxy { addr, shared, acceptor: Some(acceptor) }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it connects its clients to.
    pub fn upstream(&self) -> SocketAddr {
        *lock(&self.shared.upstream)
    }

    /// Connects new clients to another server, as when a name comes to mean another address. Those there are stay.
    pub fn redirect(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// The connect string: `127.0.0.1:port`.
    pub fn hosts(&self) -> String {
        self.addr.to_string()
    }

    /// Lets every byte from the server arrive that much later, so that a round trip grows by all of it.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.shared.delay) = delay;
    }

    /// Cuts all connections, whatever is still on its way.
    pub fn drop_connections(&self) {
        for connection in lock(&self.shared.connections).iter() {
            connection.drop_now();
        }
    }

    /// Closes new connections at once. Those there are stay.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Stops all bytes, and the news that a side has closed, both ways; they flow on when it ends. New connections
    /// are accepted and stay silent.
    pub fn blackhole(&self, blackhole: bool) {
        self.shared.blackhole.store(blackhole, Ordering::SeqCst);
        for connection in lock(&self.shared.connections).iter() {
            connection.to_client.wake();
            connection.to_server.wake();
        }
    }

    /// How many connections were made so far, refused ones included.
    pub fn connections_total(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    pub fn bytes_to_client(&self) -> u64 {
        self.shared.to_client.load(Ordering::SeqCst)
    }

    pub fn bytes_to_server(&self) -> u64 {
        self.shared.to_server.load(Ordering::SeqCst)
    }

    /// The id of the session that a server granted last, 0 before the first.
    pub fn last_session(&self) -> i64 {
        self.shared.session.load(Ordering::SeqCst)
    }

    /// Asks `hook` about every frame from the server but the connect response, as it reaches the proxy: before the
    /// delay. It replaces the hook there was, and runs on a thread of the proxy, one frame at a time; it must not
    /// call `on_reply` itself.
    pub fn on_reply(&self, hook: ReplyHook) {
        *lock(&self.shared.on_reply) = Some(hook);
    }

    /// Asks `hook` about every frame from a client but the connect request, as `on_reply` does.
    pub fn on_request(&self, hook: RequestHook) {
        *lock(&self.shared.on_request) = Some(hook);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        // A connection's first thread adds to both lists; each round ends what was added meanwhile.
        loop {
            self.drop_connections();
            let Some(thread) = lock(&self.shared.threads).pop() else { break };
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.ending.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else {
                thread::sleep(Duration::from_millis(10)); // out of descriptors
                continue;
            };
            let number = self.accepted.fetch_add(1, Ordering::SeqCst) + 1;
            if self.refuse.load(Ordering::SeqCst) {
                continue;
            }
            let shared = self.clone();
            let thread = thread::spawn(move || shared.serve(number, client));
            let mut threads = lock(&self.threads);
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
    }

    fn serve(self: &Arc<Self>, number: usize, client: TcpStream) {
        let upstream = *lock(&self.upstream);
        let Ok(server) = TcpStream::connect_timeout(&upstream, Duration::from_secs(5)) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (to_client, to_server) = (Pipe::default(), Pipe::default());
        let connection = Arc::new(Connection { number, client, server, to_client, to_server });
        lock(&self.connections).push(connection.clone());
        if self.ending.load(Ordering::SeqCst) {
            connection.drop_now(); // or the one that ends us would have missed it
        }
        thread::scope(|scope| {
            for direction in [Direction::ToClient, Direction::ToServer] {
                let connection = &connection;
                scope.spawn(move || self.read(connection, direction));
                scope.spawn(move || self.write(connection, direction));
            }
        });
        lock(&self.connections).retain(|other| !Arc::ptr_eq(other, &connection));
    }

    /// Reads until the end, even when nothing is passed on any more: a socket closed with bytes unread resets the
    /// connection, and could take with it what the other side has not read yet.
    fn read(&self, connection: &Connection, direction: Direction) {
        let (mut from, pipe) = match direction {
            Direction::ToClient => (&connection.server, &connection.to_client),
            Direction::ToServer => (&connection.client, &connection.to_server),
        };
        let mut chunk = vec![0; 1 << 16];
        let mut buffer: Vec<u8> = Vec::new();
        let mut handshake = true;
        let mut frames = self.frames;
        let mut cut = false;
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if cut {
                continue;
            }
            let due = match direction {
                Direction::ToClient => Instant::now() + *lock(&self.delay),
                Direction::ToServer => Instant::now(),
            };
            buffer.extend_from_slice(&chunk[..count]);
            // Frames that came together go on together, unless a hook has something to say about one.
            let mut whole = 0;
            while let (true, Some(length)) = (frames && !cut, frame_length(&buffer[whole..])) {
                if length > LONGEST_FRAME {
                    frames = false;
                    break;
                }
                if buffer.len() - whole < length {
                    break;
                }
                let frame = &buffer[whole + 4..whole + length];
                let verdict = if std::mem::take(&mut handshake) {
                    self.shake_hands(frame, direction);
                    Verdict::Pass
                } else {
                    self.judge(connection.number, frame, direction)
                };
                match verdict {
                    Verdict::Pass => whole += length,
                    Verdict::Drop => {
                        cut = true;
                        buffer.truncate(whole);
                    }
                    Verdict::DropAfter => {
                        cut = true;
                        whole += length;
                        buffer.truncate(whole);
                    }
                    Verdict::Hold(hold) => {
                        let rest = buffer.split_off(whole);
                        let bytes = std::mem::replace(&mut buffer, rest);
                        pipe.push(Parcel { due, hold: Duration::ZERO, bytes, then_cut: false });
                        let rest = buffer.split_off(length);
                        let bytes = std::mem::replace(&mut buffer, rest);
                        pipe.push(Parcel { due, hold, bytes, then_cut: false });
                        whole = 0;
                    }
                }
            }
            if !frames {
                whole = buffer.len();
            }
            if whole > 0 || cut {
                let rest = buffer.split_off(whole);
                let bytes = std::mem::replace(&mut buffer, rest);
                pipe.push(Parcel { due, hold: Duration::ZERO, bytes, then_cut: cut });
            }
        }
        if !cut {
            // A side that closes takes half a frame with it, as it would without us.
            pipe.push(Parcel { due: Instant::now(), hold: Duration::ZERO, bytes: buffer, then_cut: true });
        }
    }

    fn write(&self, connection: &Connection, direction: Direction) {
        let (mut to, pipe, count) = match direction {
            Direction::ToClient => (&connection.client, &connection.to_client, &self.to_client),
            Direction::ToServer => (&connection.server, &connection.to_server, &self.to_server),
        };
        loop {
            // Who closed the pipe sees to the rest.
            let Some(parcel) = pipe.next(&self.blackhole) else { return };
            if parcel.then_cut && direction == Direction::ToServer {
                // Before the server can answer: its answer to the last request must not get through.
                connection.to_client.close_if(!parcel.bytes.is_empty());
            }
            if !parcel.bytes.is_empty() {
                // Counted first: who has seen the bytes arrive must find them counted.
                count.fetch_add(parcel.bytes.len() as u64, Ordering::SeqCst);
                if to.write_all(&parcel.bytes).is_err() {
                    break;
                }
            }
            if parcel.then_cut {
                break;
            }
        }
        connection.finish();
    }

    fn shake_hands(&self, frame: &[u8], direction: Direction) {
        if let (Direction::ToClient, Some(session)) = (direction, frame.get(8..16)) {
            let session = i64::from_be_bytes(session.try_into().unwrap_or_default());
            if session != 0 {
                self.session.store(session, Ordering::SeqCst);
            }
        }
    }

    fn judge(&self, connection: usize, frame: &[u8], direction: Direction) -> Verdict {
        let int = |at: usize| Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        let judged = match direction {
            Direction::ToClient => (|| {
                let zxid = i64::from_be_bytes(frame.get(4..12)?.try_into().ok()?);
                let (xid, err, body) = (int(0)?, int(12)?, &frame[16..]);
                lock(&self.on_reply)
                    .as_mut()
                    .map(|hook| hook(ReplyFrame { connection, xid, zxid, err, body }))
            })(),
            Direction::ToServer => (|| {
                let (xid, opcode, body) = (int(0)?, int(4)?, &frame[8..]);
                lock(&self.on_request)
                    .as_mut()
                    .map(|hook| hook(RequestFrame { connection, xid, opcode, body }))
            })(),
        };
        judged.unwrap_or(Verdict::Pass)
    }
}

impl Connection {
    /// Ends both directions. What was written still arrives, then the end does.
    fn finish(&self) {
        self.to_client.close_if(true);
        self.to_server.close_if(true);
        let _ = self.client.shutdown(Shutdown::Write);
        let _ = self.server.shutdown(Shutdown::Write);
        // Readers go on until the other side closes too, which both clients and servers do; but a paused one does
        // not, so the reading must not hold up whoever ends the proxy: see `drop_now`.
    }

    fn drop_now(&self) {
        self.finish();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

impl Pipe {
    fn push(&self, parcel: Parcel) {
        lock(&self.queue).parcels.push_back(parcel);
        self.changed.notify_all();
    }

    fn wake(&self) {
        // Taken and released so that a writer cannot be between its look at the flag and its wait.
        drop(lock(&self.queue));
        self.changed.notify_all();
    }

    fn close_if(&self, close: bool) {
        if close {
            lock(&self.queue).closed = true;
            self.changed.notify_all();
        }
    }

    /// The next parcel once it is due; `None` when the pipe was closed.
    fn next(&self, blackhole: &AtomicBool) -> Option<Parcel> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            let now = Instant::now();
            let wait = match queue.parcels.front_mut() {
                Some(parcel) if !blackhole.load(Ordering::SeqCst) => {
                    if !parcel.hold.is_zero() {
                        // Begins when all before it has gone.
                        parcel.due = parcel.due.max(now + std::mem::take(&mut parcel.hold));
                    }
                    match parcel.due.checked_duration_since(now) {
                        Some(wait) if !wait.is_zero() => Some(wait),
                        _ => return queue.parcels.pop_front(),
                    }
                }
                _ => None,
            };
            queue = match wait {
                Some(wait) => {
                    self.changed.wait_timeout(queue, wait).unwrap_or_else(|error| error.into_inner()).0
                }
                None => self.changed.wait(queue).unwrap_or_else(|error| error.into_inner()),
            };
        }
    }
}

/// The length of the frame that begins here, its prefix included.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.get(..4)?.try_into().ok()?;
    Some(u32::from_be_bytes(prefix) as usize + 4)
}

/// A hook that panicked in a failed test must not take the proxy's other threads with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|error| error.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Witness, Writer, shared, unique_root};

    const PING: i32 = 11;
    const SET_DATA: i32 = 5;

    fn writer(proxy: &Proxy) -> Writer {
        Writer::connect(proxy.addr(), Duration::from_secs(10)).expect("a session")
    }

    #[test]
    fn a_delay_lengthens_round_trips_and_leaves_throughput_alone() {
        let root = unique_root("delay");
        let proxy = Proxy::start(shared().addr());
        let mut writer = writer(&proxy);
        assert_eq!(proxy.last_session(), writer.session_id());
        writer.create(&root, None, 0).expect("root");
        proxy.set_delay(Duration::from_millis(50));
        // A busy machine adds something, but not each time.
        let trips = (0..20).map(|_| {
            let started = Instant::now();
            writer.ping().expect("an answer");
            started.elapsed()
        });
        let trip = trips.min().expect("some trips");
        assert!(trip >= Duration::from_millis(50) && trip < Duration::from_millis(90), "{trip:?}");
        let started = Instant::now();
        for _ in 0..2_000 {
            writer.send_set(&root, Some(&[7; 100])).expect("a set");
        }
        writer.drain().expect("answers");
        // One behind the other they would take a hundred seconds.
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        assert!(proxy.bytes_to_server() > 2_000 * 100);
        assert!(proxy.bytes_to_client() > 2_000 * (16 + 68));
    }

    #[test]
    fn dropped_and_refused_connections_end_at_once() {
        let proxy = Proxy::start(shared().addr());
        let mut first = writer(&proxy);
        first.ping().expect("an answer");
        proxy.refuse(true);
        first.ping().expect("an answer on the connection there is");
        assert_eq!(Writer::connect(proxy.addr(), Duration::from_secs(10)).err(), Some(-4));
        proxy.drop_connections();
        assert_eq!(first.ping(), Err(-4));
        proxy.refuse(false);
        writer(&proxy).ping().expect("an answer");
        assert_eq!(proxy.connections_total(), 3);
    }

    #[test]
    fn a_black_hole_gives_back_what_it_swallowed() {
        let proxy = Proxy::start(shared().addr());
        let mut writer = writer(&proxy);
        proxy.blackhole(true);
        let started = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                proxy.blackhole(false);
            });
            writer.ping().expect("an answer");
        });
        assert!(started.elapsed() >= Duration::from_millis(300));
    }

    #[test]
    fn a_connection_is_cut_between_two_replies() {
        let root = unique_root("cut");
        let proxy = Proxy::start(shared().addr());
        let mut writer = writer(&proxy);
        writer.create(&root, None, 0).expect("root");
        let mut seen = 0;
        proxy.on_reply(Box::new(move |reply| {
            assert_eq!((reply.connection, reply.err), (1, 0));
            seen += 1;
            if seen == 4 { Verdict::Drop } else { Verdict::Pass }
        }));
        for expected in [true, true, true, false] {
            assert_eq!(writer.set(&root, Some(b"x")).is_ok(), expected);
        }
        // The fourth was done all the same.
        assert_eq!(Witness::connect(&shared().hosts()).stat(&root).expect("root").version, 4);
    }

    #[test]
    fn a_request_arrives_or_not_while_its_sender_never_learns() {
        let root = unique_root("request");
        let witness = Witness::connect(&shared().hosts());
        witness.create(&root, b"");
        for (verdict, version) in [(Verdict::Drop, 0), (Verdict::DropAfter, 1)] {
            let proxy = Proxy::start(shared().addr());
            let mut writer = writer(&proxy);
            let replies = Arc::new(AtomicUsize::new(0));
            let counted = replies.clone();
            proxy.on_reply(Box::new(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Verdict::Pass
            }));
            proxy.on_request(Box::new(
                move |request| if request.opcode == SET_DATA { verdict } else { Verdict::Pass },
            ));
            writer.ping().expect("an answer");
            assert_eq!(writer.set(&root, Some(b"x")), Err(-4));
            let deadline = Instant::now() + Duration::from_secs(5);
            while witness.stat(&root).expect("root").version != version && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(witness.stat(&root).expect("root").version, version);
            assert!(replies.load(Ordering::SeqCst) >= 1);
        }
    }

    #[test]
    fn a_held_reply_holds_what_is_behind_it() {
        let proxy = Proxy::start(shared().addr());
        let mut writer = writer(&proxy);
        proxy.on_request(Box::new(|request| {
            if request.opcode == PING { Verdict::Hold(Duration::from_millis(200)) } else { Verdict::Pass }
        }));
        let started = Instant::now();
        writer.ping().expect("an answer");
        assert!(started.elapsed() >= Duration::from_millis(200));
        proxy.on_request(Box::new(|_| Verdict::Pass));
        proxy.on_reply(Box::new(|_| Verdict::Hold(Duration::from_millis(100))));
        let started = Instant::now();
        writer.ping().expect("an answer");
        writer.ping().expect("an answer");
        assert!(started.elapsed() >= Duration::from_millis(200));
    }

    #[test]
    fn a_client_finds_a_server_that_is_not_there_closed_until_the_way_leads_to_another() {
        let nobody =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port");
        let proxy = Proxy::start(nobody);
        assert_eq!(Writer::connect(proxy.addr(), Duration::from_secs(10)).err(), Some(-4));
        proxy.redirect(shared().addr());
        assert_eq!(proxy.upstream(), shared().addr());
        writer(&proxy).ping().expect("an answer");
    }
}
