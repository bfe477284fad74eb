//! HTTP for whoever asks: on a socket of this machine, or on an address of it.
//!
//! A load balancer, a probe or a browser asks, and so may anybody who reaches it. So a request is short, is there soon, and a few of
//! them are answered at a time: whoever is slow or sends nonsense keeps others waiting for no longer than [`PATIENCE`]. Each answer
//! ends its connection. What is asked for, and what is answered, is not known here.

mod request;

use std::borrow::Cow;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::warn;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use request::{BAD_REQUEST, Refusal, TOO_LARGE};
pub use request::{Names, Request};

/// A request is there within this time, and its answer is taken.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whoever takes nothing of a stream for so long is let go.
const PATIENCE_WITH_STREAMS: Duration = Duration::from_secs(10);
/// How long to wait where the system has no descriptor or thread left.
const AGAIN: Duration = Duration::from_millis(100);
/// What somebody still sends of a refused request is taken up to here, so that they see the refusal.
const MOST_UNREAD: usize = 1 << 18;

/// Where it is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Listen {
    Socket(PathBuf),
    Address(SocketAddr),
}

/// What is asked of those who ask.
pub struct Rules {
    /// What the threads are called.
    pub thread: &'static str,
    /// No request has more bytes.
    pub longest: usize,
    /// So many are answered at a time.
    pub most: usize,
    /// By which names; `None`: by any.
    pub names: Option<Names>,
    /// More lines of each answer's head, each with its end.
    pub head: &'static str,
}

/// What is answered.
pub enum Answer {
    Whole {
        status: &'static str,
        kind: &'static str,
        body: Cow<'static, str>,
    },
    /// Server-sent events, for as long as the function goes on.
    Stream(Telling),
}

/// Tells a stream's events.
pub type Telling = Box<dyn FnOnce(&mut Stream) -> io::Result<()>>;

pub const OK: &str = "200 OK";
pub const FORBIDDEN: &str = "403 Forbidden";
pub const NOT_FOUND: &str = "404 Not Found";
pub const UNAVAILABLE: &str = "503 Service Unavailable";

impl Answer {
    pub fn json(status: &'static str, value: &Value) -> Answer {
        Answer::Whole { status, kind: "application/json", body: format!("{value:#}\n").into() }
    }

    /// Why there is no other answer.
    pub fn error(status: &'static str, message: &str) -> Answer {
        Answer::json(status, &json!({ "error": message }))
    }

    pub fn bad_request(message: &str) -> Answer {
        Answer::error(BAD_REQUEST, message)
    }
}

/// Answers requests, on several threads at a time.
pub type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// Some may be there at a time, each with a seat.
pub struct Seats {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// Is free again at its end, however that comes.
pub struct Seat(Arc<AtomicUsize>);

impl Seats {
    pub fn new(most: usize) -> Seats {
        Seats { taken: Arc::default(), most }
    }

    pub fn take(&self) -> Option<Seat> {
        let seat = Seat(self.taken.clone());
        (self.taken.fetch_add(1, Ordering::SeqCst) < self.most).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Somebody listens.
pub enum Listener {
    Socket(UnixListener, PathBuf),
    Address(TcpListener),
}

impl Listener {
    pub fn bind(listen: &Listen) -> io::Result<Listener> {
        let listener = match listen {
            Listen::Address(address) => Listener::Address(TcpListener::bind(address)?),
            Listen::Socket(path) => {
                take_away_stale(path)?;
                let listener = UnixListener::bind(path)?;
                // What is told is no secret.
                fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
                Listener::Socket(listener, path.clone())
            }
        };
        // A client may be gone between the wait and the accept.
        match &listener {
            Listener::Socket(listener, _) => listener.set_nonblocking(true)?,
            Listener::Address(listener) => listener.set_nonblocking(true)?,
        }
        Ok(listener)
    }

    /// Where a path is asked for, in words.
    pub fn place(&self, path: &str) -> String {
        match self {
            Listener::Socket(_, socket) => socket.display().to_string(),
            Listener::Address(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}{path}"),
                Err(error) => error.to_string(),
            },
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Socket(listener, _) => listener.as_fd(),
            Listener::Address(listener) => listener.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<Connection> {
        Ok(match self {
            Listener::Socket(listener, _) => Connection::Socket(listener.accept()?.0),
            Listener::Address(listener) => Connection::Address(listener.accept()?.0),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Socket(_, path) = self {
            _ = fs::remove_file(path);
        }
    }
}

/// Takes away a socket that nobody listens at any more.
fn take_away_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    match UnixStream::connect(path) {
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // What else is there is said by the bind.
        _ => Ok(()),
    }
}

/// A thread that has requests answered, until it is dropped.
pub struct Server {
    /// Closed at the end, which ends the wait.
    end: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(listener: Listener, rules: Rules, handler: Handler) -> io::Result<Server> {
        let (end, over) = UnixStream::pair()?;
        let name = rules.thread.to_owned();
        let serve = move || serve(&listener, &over, &Arc::new(rules), &handler);
        let thread = std::thread::Builder::new().name(name).spawn(serve)?;
        Ok(Server { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn serve(listener: &Listener, over: &UnixStream, rules: &Arc<Rules>, handler: &Handler) {
    let seats = Seats::new(rules.most);
    loop {
        let mut fds =
            [PollFd::new(listener.fd(), PollFlags::POLLIN), PollFd::new(over.as_fd(), PollFlags::POLLIN)];
        _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any().unwrap_or(true) {
            return;
        }
        match listener.accept() {
            // Unless there are as many as there may be: then the connection is closed.
            Ok(connection) => {
                if let Some(seat) = seats.take() {
                    begin(connection, seat, rules, handler);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                warn!("nobody can ask at {}: {error}", listener.place(""));
                std::thread::sleep(AGAIN);
            }
        }
    }
}

/// Answers on a thread of its own.
fn begin(connection: Connection, seat: Seat, rules: &Arc<Rules>, handler: &Handler) {
    let (name, rules, handler) = (rules.thread.to_owned(), rules.clone(), handler.clone());
    let talk = move || {
        let _seat = seat;
        _ = talk(connection, &rules, &handler);
    };
    if let Err(error) = std::thread::Builder::new().name(name).spawn(talk) {
        warn!("no thread to answer a request: {error}");
    }
}

enum Connection {
    Socket(UnixStream),
    Address(TcpStream),
}

impl Connection {
    /// Reads, or writes, what is possible until the deadline.
    fn limited<T>(
        &mut self,
        deadline: Instant,
        io: impl FnOnce(&mut dyn ReadWrite) -> io::Result<T>,
    ) -> io::Result<T> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match self {
            Connection::Socket(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))?;
                io(stream)
            }
            Connection::Address(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))?;
                io(stream)
            }
        }
    }

    fn write_all(&mut self, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.limited(deadline, |stream| stream.write(bytes))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => bytes = &bytes[written..],
            }
        }
        Ok(())
    }

    /// Ends it so that what was written arrives: a close with something unread in it would take that back.
    fn end(mut self, deadline: Instant) -> io::Result<()> {
        match &self {
            Connection::Socket(stream) => stream.shutdown(Shutdown::Write)?,
            Connection::Address(stream) => stream.shutdown(Shutdown::Write)?,
        }
        let (mut unread, mut left) = ([0; 4096], MOST_UNREAD);
        while left > 0 {
            match self.limited(deadline, |stream| stream.read(&mut unread))? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

/// Somebody who is told events.
pub struct Stream(Connection);

impl Stream {
    /// Tells an event: its name, and JSON. Waits while they take nothing, for as long as there is patience.
    pub fn tell(&mut self, event: &str, data: &Value) -> io::Result<()> {
        // As JSON it has no end of a line in it.
        let event = format!("event: {event}\ndata: {data}\n\n");
        self.0.write_all(Instant::now() + PATIENCE_WITH_STREAMS, event.as_bytes())
    }
}

fn talk(mut connection: Connection, rules: &Rules, handler: &Handler) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let request = read_head(&mut connection, deadline, rules)?;
    let request = request.and_then(|head| Request::parse(&head, rules.names.as_ref()));
    let (is_head, answer) = match &request {
        Ok(request) => (request.is_head, handler(request)),
        Err(Refusal(status, message)) => (false, Answer::error(status, message)),
    };
    let head = |status: &str, kind: &str| {
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Connection: close\r\n{}",
            rules.head
        )
    };
    // The handler has had as much time as it took.
    let deadline = Instant::now() + PATIENCE;
    match answer {
        Answer::Whole { status, kind, body } => {
            let mut bytes =
                format!("{}Content-Length: {}\r\n\r\n", head(status, kind), body.len()).into_bytes();
            if !is_head {
                bytes.extend_from_slice(body.as_bytes());
            }
            connection.write_all(deadline, &bytes)?;
            connection.end(deadline)
        }
        Answer::Stream(events) => {
            connection.write_all(deadline, format!("{}\r\n", head(OK, "text/event-stream")).as_bytes())?;
            match is_head {
                true => connection.end(deadline),
                false => events(&mut Stream(connection)),
            }
        }
    }
}

/// Reads a head with its empty line. Who sends less, and no more, is refused.
fn read_head(
    connection: &mut Connection,
    deadline: Instant,
    rules: &Rules,
) -> io::Result<Result<Vec<u8>, Refusal>> {
    let (mut head, mut len) = (vec![0; rules.longest], 0);
    loop {
        let read = connection.limited(deadline, |stream| stream.read(&mut head[len..]))?;
        // The end may have come in parts.
        let from = len.saturating_sub(3);
        len += read;
        if let Some(end) = head[from..len].windows(4).position(|end| end == b"\r\n\r\n") {
            head.truncate(from + end + 4);
            return Ok(Ok(head));
        }
        if len == head.len() {
            let said = format!("a request has at most {} bytes", rules.longest);
            return Ok(Err(Refusal(TOO_LARGE, said)));
        }
        if read == 0 {
            return Ok(Err(Refusal(BAD_REQUEST, "the request has no end".to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(most: usize, handler: Handler) -> (Server, SocketAddr) {
        let listener = Listener::bind(&Listen::Address(([127, 0, 0, 1], 0).into())).expect("a listener");
        let place = listener.place("");
        let rules = Rules { thread: "test", longest: 512, most, names: None, head: "X-More: 1\r\n" };
        let server = Server::start(listener, rules, handler).expect("a thread");
        (server, place.trim_start_matches("http://").parse().expect("an address"))
    }

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        _ = stream.write_all(request);
        let mut answer = String::new();
        _ = stream.read_to_string(&mut answer);
        answer
    }

    fn echo() -> Handler {
        Arc::new(|request: &Request| Answer::Whole {
            status: OK,
            kind: "text/plain",
            body: request.path.clone().into(),
        })
    }

    #[test]
    fn a_head_is_answered_without_its_body_and_a_stream_too() {
        let (_server, address) = start(4, echo());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
                    Connection: close\r\nX-More: 1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(ask(address, b"GET /ab HTTP/1.1\r\n\r\n"), format!("{head}/ab"));
        assert_eq!(ask(address, b"HEAD /ab HTTP/1.1\r\n\r\n"), head);
        let (_server, address) =
            start(4, Arc::new(|_| Answer::Stream(Box::new(|stream| stream.tell("e", &json!("a\nb"))))));
        assert!(ask(address, b"GET / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nevent: e\ndata: \"a\\nb\"\n\n"));
        assert!(ask(address, b"HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    }

    #[test]
    fn what_is_too_long_is_refused_and_the_refusal_arrives() {
        let (_server, address) = start(4, echo());
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(600));
        assert!(ask(address, long.as_bytes()).starts_with("HTTP/1.1 431 "));
        // Also where much more of it comes.
        assert!(ask(address, &[b'x'; 100_000]).starts_with("HTTP/1.1 431 "));
        // Its end comes in parts.
        let mut stream = TcpStream::connect(address).expect("a connection");
        for byte in b"GET /parts HTTP/1.1\r\n\r\n" {
            stream.write_all(&[*byte]).expect("written");
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.ends_with("/parts"), "{answer}");
    }

    #[test]
    fn no_more_than_so_many_are_there_at_a_time_and_a_panic_frees_its_seat() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(), seats.take());
        assert!(first.is_some() && second.is_some() && seats.take().is_none() && seats.take().is_none());
        drop(first);
        assert!(seats.take().is_some());
        let (_server, address) = start(
            1,
            Arc::new(|request: &Request| match &*request.path {
                "/panic" => panic!("as the test wants it"),
                path => Answer::Whole { status: OK, kind: "text/plain", body: path.to_owned().into() },
            }),
        );
        assert_eq!(ask(address, b"GET /panic HTTP/1.1\r\n\r\n"), "");
        let began = Instant::now();
        while !ask(address, b"GET /after HTTP/1.1\r\n\r\n").ends_with("/after") {
            assert!(began.elapsed() < Duration::from_secs(60), "the seat is not free");
        }
    }
}
