//! A process that is stopped and goes on: what it says of its caches is still true, whatever waited for it meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use treecache::State;
use treecache_test_support::{Proxy, Witness, shared, unique_root};

/// Tells the child with which session timeout, which hosts and which roots it is to watch.
const CHILD: &str = "TREECACHE_TEST_PAUSED";
const PAUSE: Duration = Duration::from_secs(5);

/// A process with a cache of each of two roots, that can be stopped.
struct Paused {
    child: Child,
    lines: Receiver<String>,
}

impl Paused {
    fn start(test: &str, timeout: &str, hosts: &str, [root, other]: &[String; 2]) -> Paused {
        let mut child = Command::new(std::env::current_exe().expect("the name of this program"))
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, format!("{timeout} {hosts} {root} {other}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        Paused { child, lines }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: it was not waited for, so the number is its own.
        assert_eq!(unsafe { libc::kill(self.child.id().try_into().expect("a pid"), signal) }, 0);
    }

    /// Waits for a line that begins so; one that tells of a lie is the end.
    #[track_caller]
    fn wait_for(&self, beginning: &str) {
        let deadline = Instant::now() + BOUND;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no {beginning:?}"));
            assert!(!line.starts_with("lie"), "{line}");
            if line.starts_with(beginning) {
                return;
            }
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: says when both caches are in step, and behind the pause each state of the first; it lies where it says that
/// it is in step, as of a moment behind the pause, with a value that was replaced in it.
fn watch(told: &str) -> ! {
    let [timeout, hosts, root, other] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let client = client_with(hosts, &[("session.timeout.ms", timeout)]);
    let (cache, other) = (started(&client, root, &[]), started(&client, other, &[]));
    wait_for_state(&cache, State::InStep);
    wait_for_state(&other, State::InStep);
    let (mut looked, mut resumed, mut last) = (Instant::now(), None, None);
    println!("\nready");
    loop {
        if looked.elapsed() > PAUSE / 2 {
            resumed = Some(Instant::now());
        }
        looked = Instant::now();
        let ((state, age), data) = (cache.state(), cache.get_data(root).expect("a value"));
        if let Some(resumed) = resumed {
            let is_of_now = age.is_some_and(|age| age < resumed.elapsed() + PAUSE / 2);
            let is_old = data.data() == b"old";
            if state == State::InStep && is_of_now && is_old {
                println!("lie: {state:?} as of {age:?} ago");
            }
            if last != Some((state, is_old)) {
                last = Some((state, is_old));
                println!("{state:?} {}", if is_old { "old" } else { "new" });
            }
        }
        std::io::stdout().flush().expect("output");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Two roots with a value that is old.
fn plant(witness: &Witness) -> [String; 2] {
    let roots = [unique_root("paused"), unique_root("other")];
    roots.iter().for_each(|root| witness.create(root, b"old"));
    roots
}

/// Runs the test again as a child with this session timeout, and stops it. A word of the server's about another tree waits
/// in the socket's buffer meanwhile; the change that matters does not get through, be it behind the pause.
fn paused(test: &str, timeout: &str) -> (Paused, Proxy) {
    if let Ok(told) = std::env::var(CHILD) {
        watch(&told);
    }
    let (witness, proxy) = (witness(), Proxy::start(shared().addr()));
    let roots = plant(&witness);
    let paused = Paused::start(test, timeout, &proxy.hosts(), &roots);
    paused.wait_for("ready");
    paused.signal(libc::SIGSTOP);
    let before = proxy.bytes_to_client();
    witness.set(&roots[1], b"new");
    eventually("a notification", || proxy.bytes_to_client() > before);
    proxy.blackhole(true);
    witness.set(&roots[0], b"new");
    thread::sleep(PAUSE);
    paused.signal(libc::SIGCONT);
    (paused, proxy)
}

#[test]
fn nobody_is_in_step_by_what_waited_while_the_process_was_stopped() {
    let (paused, proxy) =
        paused(name_of(&nobody_is_in_step_by_what_waited_while_the_process_was_stopped), "30000");
    paused.wait_for("CatchingUp old");
    thread::sleep(Duration::from_secs(1));
    proxy.blackhole(false);
    paused.wait_for("InStep new");
}

#[test]
fn a_connection_is_left_when_the_process_was_stopped_for_longer_than_its_session_lives() {
    let (paused, proxy) = paused(
        name_of(&a_connection_is_left_when_the_process_was_stopped_for_longer_than_its_session_lives),
        "2000",
    );
    paused.wait_for("Suspended old");
    proxy.blackhole(false);
    paused.wait_for("InStep new");
}
