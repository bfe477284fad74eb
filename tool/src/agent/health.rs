//! How all trees are, for whoever asks: `GET /health` over HTTP, on a socket of this machine.
//!
//! A load balancer or a probe asks, and so may anybody on the machine. So a request is short, is there soon, and a few of them
//! are answered at a time: whoever is slow or sends nonsense keeps others waiting for no longer than [`PATIENCE`].

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::{info, warn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::plan::Listen;

/// A request is there within this time, and its answer is taken.
const PATIENCE: Duration = Duration::from_secs(2);
/// No request is longer.
const LONGEST: usize = 4096;
/// So many are answered at a time.
const MOST: usize = 16;
/// How long to wait where the system has no descriptor or thread left.
const AGAIN: Duration = Duration::from_millis(100);

/// What is answered: whether all is well, and JSON.
pub type Answer = Arc<dyn Fn() -> (bool, String) + Send + Sync>;

/// Where it is asked.
pub enum Listener {
    Socket(UnixListener, PathBuf),
    Loopback(TcpListener),
}

impl Listener {
    pub fn bind(listen: &Listen) -> io::Result<Listener> {
        let listener = match listen {
            Listen::Loopback(address) => Listener::Loopback(TcpListener::bind(address)?),
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
            Listener::Loopback(listener) => listener.set_nonblocking(true)?,
        }
        Ok(listener)
    }

    /// Where it is asked, in words.
    fn place(&self) -> String {
        match self {
            Listener::Socket(_, path) => path.display().to_string(),
            Listener::Loopback(listener) => match listener.local_addr() {
                Ok(address) => format!("http://{address}/health"),
                Err(error) => error.to_string(),
            },
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Socket(listener, _) => listener.as_fd(),
            Listener::Loopback(listener) => listener.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<Connection> {
        Ok(match self {
            Listener::Socket(listener, _) => Connection::Socket(listener.accept()?.0),
            Listener::Loopback(listener) => Connection::Loopback(listener.accept()?.0),
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

/// A thread that answers.
pub struct Health {
    /// Closed at the end, which ends the wait.
    end: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    pub fn start(listener: Listener, answer: Answer) -> io::Result<Health> {
        let (end, over) = UnixStream::pair()?;
        info!("asked at {}, it is told how the trees are", listener.place());
        let serve = move || serve(&listener, &over, &answer);
        let thread = std::thread::Builder::new().name("treecache-health".to_owned()).spawn(serve)?;
        Ok(Health { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn serve(listener: &Listener, over: &UnixStream, answer: &Answer) {
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let mut fds =
            [PollFd::new(listener.fd(), PollFlags::POLLIN), PollFd::new(over.as_fd(), PollFlags::POLLIN)];
        _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any().unwrap_or(true) {
            return;
        }
        match listener.accept() {
            Ok(connection) => begin(connection, &busy, answer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                warn!("nobody can ask for the health: {error}");
                std::thread::sleep(AGAIN);
            }
        }
    }
}

/// Answers on a thread of its own, unless there are as many as there may be: then the connection is closed.
fn begin(connection: Connection, busy: &Arc<AtomicUsize>, answer: &Answer) {
    if busy.fetch_add(1, Ordering::SeqCst) >= MOST {
        busy.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    let (done, answer) = (Done(busy.clone()), answer.clone());
    let talk = move || {
        let _done = done;
        _ = talk(connection, &answer);
    };
    if let Err(error) = std::thread::Builder::new().name("treecache-health".to_owned()).spawn(talk) {
        warn!("no thread to answer for the health: {error}");
    }
}

/// Counts one less at its end, however that comes.
struct Done(Arc<AtomicUsize>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

enum Connection {
    Socket(UnixStream),
    Loopback(TcpStream),
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
            Connection::Loopback(stream) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))?;
                io(stream)
            }
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

fn talk(mut connection: Connection, answer: &Answer) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (mut request, mut len) = ([0; LONGEST], 0);
    let is_whole = |request: &[u8]| request.windows(4).any(|end| end == b"\r\n\r\n");
    while !is_whole(&request[..len]) && len < LONGEST {
        match connection.limited(deadline, |stream| stream.read(&mut request[len..]))? {
            0 => break,
            read => len += read,
        }
    }
    let line = request[..len].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let (status, body) = match words[..] {
        [method, path, version] if version.starts_with(b"HTTP/1.") && is_whole(&request[..len]) => {
            match (method, path) {
                (b"GET", b"/health") => match answer() {
                    (true, body) => ("200 OK", body),
                    (false, body) => ("503 Service Unavailable", body),
                },
                (b"GET", _) => ("404 Not Found", "{}\n".to_owned()),
                _ => ("405 Method Not Allowed\r\nAllow: GET", "{}\n".to_owned()),
            }
        }
        _ => ("400 Bad Request", "{}\n".to_owned()),
    };
    let len = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    );
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        match connection.limited(deadline, |stream| stream.write(rest))? {
            0 => break,
            written => rest = &rest[written..],
        }
    }
    Ok(())
}
