//! What ZooKeeper's Rust clients do as the transport of an exact cache: how fast they load, and what they say and do
//! when the server or the connection goes.
//!
//!     cargo run --release --manifest-path benches/transports/Cargo.toml
//!
//! Every cell of the table is a process of its own with a server of its own, so that a client that spins burns
//! nobody else's time and one that hangs is ended.

#[path = "../../numbers/bare.rs"]
mod bare;
mod experiments;
#[path = "../../numbers/median.rs"]
mod median;
mod transport;
#[path = "../../numbers/tree.rs"]
mod tree;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use experiments::{killed, load, stopped, watched};
use transport::{Asynchronous, Blocking};

/// For an experiment, its server's start and end included.
const BOUND: Duration = Duration::from_secs(60);
const BLOCKING: &str = "zookeeper 0.8.0";
const ASYNCHRONOUS: &str = "zookeeper-client 0.11.2";

struct Experiment {
    what: &'static str,
    blocking: fn() -> String,
    asynchronous: fn() -> String,
}

/// Shorter than the session timeout, and longer.
const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(10);

const EXPERIMENTS: [Experiment; 5] = [
    Experiment {
        what: "load of 100,101 nodes",
        blocking: load::<Blocking>,
        asynchronous: load::<Asynchronous>,
    },
    Experiment {
        what: "server stopped answering (SIGSTOP) for 20 s, session timeout 6 s",
        blocking: stopped::<Blocking>,
        asynchronous: stopped::<Asynchronous>,
    },
    Experiment {
        what: "server killed, down for 3 s, session timeout 6 s",
        blocking: || killed::<Blocking>(SHORT),
        asynchronous: || killed::<Asynchronous>(SHORT),
    },
    Experiment {
        what: "server killed, down for 10 s, session timeout 6 s",
        blocking: || killed::<Blocking>(LONG),
        asynchronous: || killed::<Asynchronous>(LONG),
    },
    Experiment {
        what: "persistent recursive watch, connection dropped, same session",
        blocking: watched::<Blocking>,
        asynchronous: watched::<Asynchronous>,
    },
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run_all(),
        ["cell", number, transport] => {
            // SAFETY: no memory effects.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
            println!("{}", cell(number, transport).unwrap_or_else(|| usage()));
            // Without the clients' destructors, some of which wait for a server that is gone.
            process::exit(0);
        }
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!("usage: transports (it takes no arguments)");
    process::exit(2)
}

fn cell(number: &str, transport: &str) -> Option<String> {
    let experiment = EXPERIMENTS.get(number.parse::<usize>().ok()?)?;
    match transport {
        BLOCKING => Some((experiment.blocking)()),
        ASYNCHRONOUS => Some((experiment.asynchronous)()),
        _ => None,
    }
}

fn run_all() {
    let mut rows = Vec::new();
    for (number, experiment) in EXPERIMENTS.iter().enumerate() {
        println!("==> {}", experiment.what);
        let cells = [BLOCKING, ASYNCHRONOUS].map(|transport| {
            let result = run(number, transport);
            println!("    {transport}: {result}");
            result
        });
        rows.push((experiment.what, cells));
    }
    println!("\n| | `{BLOCKING}` | `{ASYNCHRONOUS}` |\n|---|---|---|");
    for (what, [blocking, asynchronous]) in rows {
        println!("| {what} | {blocking} | {asynchronous} |");
    }
}

fn run(number: usize, transport: &str) -> String {
    let this = env::current_exe().expect("this program's file");
    let child = Command::new(this)
        .args(["cell", &number.to_string(), transport])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let child = ended(child);
    let output = child.wait_with_output().expect("the process's output");
    match (output.status.success(), String::from_utf8_lossy(&output.stdout).lines().last()) {
        (true, Some(result)) => result.to_owned(),
        _ => format!("failed: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Waits for the process, and ends it when that takes too long.
fn ended(mut child: Child) -> Child {
    let deadline = Instant::now() + BOUND;
    while child.try_wait().expect("the process's state").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("an end");
        }
        thread::sleep(Duration::from_millis(50));
    }
    child
}
