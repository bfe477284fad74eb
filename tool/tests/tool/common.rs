//! What the tests of the program share: the program itself, and what it is held against.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use treecache_test_support::{Witness, Writer, shared};

/// Nothing takes longer, however loaded the machine is.
pub const BOUND: Duration = Duration::from_secs(60);

/// The program, with these arguments.
pub fn treecache(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_treecache"));
    for name in ["NOTIFY_SOCKET", "JOURNAL_STREAM", "TREECACHE_AUTH", "TREECACHE_SASL_PASSWORD"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
#[track_caller]
pub fn run(arguments: &[&str]) -> Output {
    treecache(arguments).output().expect("the program")
}

/// Runs the program, which must succeed, and returns what it has printed.
#[track_caller]
pub fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let told = [&*output.stderr, &*output.stdout].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{arguments:?}: {}: {told}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs the program, which must end with this exit code, and returns what it says on stderr.
#[track_caller]
pub fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    errors
}

/// Where files are that go with the machine's power, as people have them.
pub fn folder() -> TempDir {
    let shm = Path::new("/dev/shm");
    match shm.is_dir() {
        true => tempfile::tempdir_in(shm).expect("a folder"),
        false => tempfile::tempdir().expect("a folder"),
    }
}

pub fn witness() -> Witness {
    Witness::connect(&shared().hosts())
}

pub fn writer() -> Writer {
    Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a writer")
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < BOUND, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A program that runs, and is killed with the test.
pub struct Running {
    pub child: Child,
    stderr: PathBuf,
}

impl Running {
    /// What it says on stderr goes into a file.
    #[track_caller]
    pub fn start(command: &mut Command, stderr: &Path) -> Running {
        let file = fs::OpenOptions::new().create(true).append(true).open(stderr).expect("a file");
        let child = command.stderr(file).spawn().expect("the program");
        Running { child, stderr: stderr.to_owned() }
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).expect("what it said")
    }

    #[track_caller]
    pub fn wait_until_it_says(&mut self, words: &str) {
        self.wait_until_it_says_times(words, 1);
    }

    #[track_caller]
    pub fn wait_until_it_says_times(&mut self, words: &str, times: usize) {
        let began = Instant::now();
        loop {
            let said = self.said();
            if said.matches(words).count() >= times {
                return;
            }
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none() && began.elapsed() < BOUND, "it does not say {words:?}, but: {said}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.expect("kill").success());
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(began.elapsed() < BOUND, "it does not end: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Sends a request as it is, and returns all that is answered.
#[track_caller]
pub fn http(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(BOUND)).expect("a timeout");
    _ = stream.write_all(request);
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status and the JSON of `GET /health`.
#[track_caller]
pub fn health(address: SocketAddr) -> (u16, Value) {
    let answer = http(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}
