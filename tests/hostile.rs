//! Servers that are none, or out to harm, on a real socket: the client says so, goes on trying at a decent pace, uses
//! no more memory than it is sent, and can be closed at once. `testing/hostile/` has the many ways to lie; here is what
//! only sockets and threads can get wrong.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use treecache::{Client, Config, State, Status};

/// What a server says on each connection, once the client has introduced itself.
type Words = fn(connection: usize) -> Vec<u8>;

/// How the connection goes on then.
#[derive(Clone, Copy)]
enum Then {
    HangUp,
    /// Says nothing more, and waits for the client to go.
    Wait,
    /// Answers the requests for the watches of [`ROOTS`] and then nothing, but notifies for as long as the client
    /// takes it.
    Storm,
}

struct Hostile {
    port: u16,
    connections: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    fn new(words: Words, then: Then) -> Hostile {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (connections, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (counted, bytes, stopped) = (connections.clone(), sent.clone(), stop.clone());
        // The client has one connection at a time, so one thread serves them all.
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else { return };
                let connection = counted.fetch_add(1, Ordering::Relaxed) + 1;
                // Fails when the client has gone, which is what it should do.
                let _ = serve(stream, &words(connection), then, &stopped, &bytes);
            }
        });
        Hostile { port, connections, sent, stop, thread: Some(thread) }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        let thread = self.thread.take().expect("joined once");
        assert!(thread.join().is_ok() || thread::panicking(), "the server panicked");
    }
}

fn serve(
    mut stream: TcpStream,
    words: &[u8],
    then: Then,
    stop: &AtomicBool,
    sent: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    stream.set_write_timeout(Some(Duration::from_millis(200)))?;
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    stream.write_all(words)?;
    match then {
        Then::HangUp => return stream.shutdown(Shutdown::Both),
        Then::Wait => {}
        Then::Storm => {
            // A reply to what was not asked yet would be the end.
            let mut asked = Vec::new();
            while requests(&asked) < ROOTS.len() && !stop.load(Ordering::Relaxed) {
                if let Ok(len) = stream.read(&mut request) {
                    asked.extend_from_slice(&request[..len]);
                }
            }
            let watches = 1..=ROOTS.len() as i32;
            stream.write_all(&watches.flat_map(|xid| frame(&header(xid, 5))).collect::<Vec<_>>())?;
            let words = notification(b"/a/b/c/d/e").repeat(1000);
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(&words)?;
                sent.fetch_add(words.len(), Ordering::Relaxed);
            }
        }
    }
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut request) {
            Ok(0) => return Ok(()),
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

/// How many whole requests these are.
fn requests(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((len, rest)) = bytes.split_first_chunk() {
        match rest.get(u32::from_be_bytes(*len) as usize..) {
            Some(behind) => (bytes, count) = (behind, count + 1),
            None => break,
        }
    }
    count
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// The answer to a connect request: a session, or with a timeout of 0 the end of one.
fn welcome(timeout_ms: i32) -> Vec<u8> {
    let head = [&[0; 4][..], &timeout_ms.to_be_bytes(), &7i64.to_be_bytes()].concat();
    frame(&[&head[..], &16i32.to_be_bytes(), &[1; 16], &[0]].concat())
}

fn header(xid: i32, zxid: i64) -> Vec<u8> {
    [&xid.to_be_bytes()[..], &zxid.to_be_bytes(), &0i32.to_be_bytes()].concat()
}

fn notification(path: &[u8]) -> Vec<u8> {
    let event = [&1i32.to_be_bytes()[..], &3i32.to_be_bytes(), &(path.len() as i32).to_be_bytes()].concat();
    frame(&[&header(-1, -1), &event[..], path].concat())
}

/// One test at a time: they look at the whole process, and two cores have enough to do with each.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the process has in memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// How long each server has its way, and how often a client may call it in that time: some ten times would do, and
/// thousands are what a loop makes.
const TIME: Duration = Duration::from_secs(2);
const MOST_CONNECTIONS: usize = 40;

const ROOTS: [&str; 3] = ["/", "/a", "/a/b"];

/// A client meets the server, for so long, and is closed. Returns what it told of, and how often it called.
fn meet(name: &str, words: Words, then: Then) -> (BTreeSet<i32>, usize) {
    let server = Hostile::new(words, then);
    let mut config = Config::new();
    config.set("connect.timeout.ms", "1000").unwrap();
    let client = Client::new(&format!("127.0.0.1:{}", server.port), &config).unwrap();
    let faults = Arc::new(Mutex::new(Vec::new()));
    let told = faults.clone();
    client.listen_fault(move |fault| told.lock().unwrap().push(fault.status.code())).unwrap();
    let caches: Vec<_> = ROOTS.map(|path| client.cache(path, &config).unwrap()).into();
    for cache in &caches {
        cache.start().unwrap();
    }
    thread::sleep(TIME);
    for cache in &caches {
        assert_ne!(cache.state().0, State::InStep, "{name}");
    }
    let started = Instant::now();
    drop(client);
    drop(caches);
    assert!(started.elapsed() < Duration::from_secs(5), "{name}: closed in {:?}", started.elapsed());
    let connections = server.connections.load(Ordering::Relaxed);
    assert!((1..=MOST_CONNECTIONS).contains(&connections), "{name}: {connections} connections");
    let faults = faults.lock().unwrap();
    assert!(faults.len() <= 2 * connections, "{name}: {} faults of {connections} connections", faults.len());
    println!("{name}: {connections} connections, {} bytes repeated", server.sent.load(Ordering::Relaxed));
    (faults.iter().copied().collect(), connections)
}

#[test]
fn a_server_that_breaks_the_protocol_is_told_of_and_not_called_ever_again_at_full_speed() {
    let _alone = alone();
    let protocol: [(&str, Words, Then); 9] = [
        (
            "another protocol",
            |_| b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
            Then::Wait,
        ),
        (
            "noise",
            |n| (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> (n % 20)) as u8 | 1).collect(),
            Then::Wait,
        ),
        ("a welcome of 2 GiB", |_| i32::MAX.to_be_bytes().to_vec(), Then::Wait),
        ("a frame of 2 GiB", |_| [&welcome(6000)[..], &i32::MAX.to_be_bytes()].concat(), Then::Wait),
        ("a negative length", |_| [&welcome(6000)[..], &(-1i32).to_be_bytes()].concat(), Then::Wait),
        ("replies to nothing", |_| [welcome(6000), frame(&header(99, 5))].concat(), Then::Wait),
        (
            "an xid twice",
            |_| [welcome(6000), frame(&header(1, 5)), frame(&header(1, 5))].concat(),
            Then::Wait,
        ),
        ("no text", |_| [welcome(6000), notification(b"/a\xff")].concat(), Then::Wait),
        ("the end of no session", |_| welcome(0), Then::Wait),
    ];
    thread::scope(|scope| {
        for (name, words, then) in protocol {
            scope.spawn(move || {
                let (faults, _) = meet(name, words, then);
                assert!(faults.contains(&Status::Protocol.code()), "{name}: {faults:?}");
            });
        }
    });
}

#[test]
fn a_server_that_is_of_no_use_is_told_of_and_not_called_ever_again_at_full_speed() {
    let _alone = alone();
    let connection: [(&str, Words, Then); 4] = [
        ("a word and good bye", |_| welcome(6000), Then::HangUp),
        ("good bye", |_| Vec::new(), Then::HangUp),
        ("silence", |_| Vec::new(), Then::Wait),
        ("sessions that end", |n| welcome(if n % 2 == 0 { 0 } else { 6000 }), Then::HangUp),
    ];
    thread::scope(|scope| {
        for (name, words, then) in connection {
            scope.spawn(move || {
                let (faults, _) = meet(name, words, then);
                assert!(faults.contains(&Status::Connection.code()), "{name}: {faults:?}");
            });
        }
    });
}

#[test]
fn a_server_that_claims_much_or_never_ends_uses_no_memory() {
    let _alone = alone();
    let before = resident_bytes();
    thread::scope(|scope| {
        // Nearly the longest frame there may be, of which no more comes than its head.
        let claim: Words = |_| [&welcome(6000)[..], &(128i32 << 20).to_be_bytes(), &[0; 64]].concat();
        scope.spawn(move || assert_eq!(meet("a claim", claim, Then::Wait).1, 1));
        scope.spawn(move || assert_eq!(meet("a storm", |_| welcome(6000), Then::Storm).1, 1));
    });
    let used = resident_bytes().saturating_sub(before);
    assert!(used < 64 << 20, "{used} bytes more than before");
}
