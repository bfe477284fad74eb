//! One client behind a proxy that counts, in each situation.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treecache::{Client, Config, TreeCache};
use treecache_test_support::{Proxy, Server, Verdict, Writer};

use super::{DATA, ELSEWHERE, ROOT};
use crate::measured::{Cost, OURS, Traffic, Tree};

const PING: i32 = 11;
/// Without a byte for so long, a client has nothing more to say.
const QUIET: Duration = Duration::from_millis(2500);
const BOUND: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is for trees of 2,000 nodes or more.
    Libtreecache,
    /// With `verify=read`.
    LibtreecacheReads,
    Kazoo,
    CuratorTreeCache,
    CuratorCache,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Libtreecache,
        Kind::LibtreecacheReads,
        Kind::Kazoo,
        Kind::CuratorTreeCache,
        Kind::CuratorCache,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::Libtreecache => OURS,
            Kind::LibtreecacheReads => "libtreecache, verify=read",
            Kind::Kazoo => "kazoo",
            Kind::CuratorTreeCache => "curator-treecache",
            Kind::CuratorCache => "curator-curatorcache",
        }
    }

    /// Starts the client, and waits until it has loaded the tree.
    fn start(self, hosts: &str) -> Running {
        let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
        let mut command = match self {
            Kind::Libtreecache | Kind::LibtreecacheReads => {
                let mut config = Config::new();
                let verify = if self == Kind::Libtreecache { "report" } else { "read" };
                let settings =
                    [("session.timeout.ms", "30000"), ("audit.interval.ms", "0"), ("verify", verify)];
                for (key, value) in settings {
                    config.set(key, value).expect("a setting");
                }
                let client = Client::new(hosts, &config).expect("a client");
                let cache = client.cache(ROOT, &config).expect("a cache");
                cache.start().expect("it starts");
                cache.wait_initialized(Some(BOUND)).expect("the tree");
                return Running::Library { _client: client, _cache: Box::new(cache) };
            }
            Kind::Kazoo => {
                let mut command = Command::new("/usr/bin/python3");
                command.arg(format!("{clients}/kazoo_tree.py"));
                command
            }
            Kind::CuratorTreeCache | Kind::CuratorCache => {
                let jars = [
                    "curator-recipes",
                    "curator-framework",
                    "curator-client",
                    "zookeeper",
                    "guava",
                    "slf4j-nop",
                ];
                let jars = jars.map(|jar| format!("/usr/share/java/{jar}.jar"));
                let mut command = Command::new("java");
                command.args(["-Xmx512m", "-cp", &jars.join(":")]);
                command.arg(format!("{clients}/CuratorTree.java"));
                command.arg(if self == Kind::CuratorCache { "CuratorCache" } else { "TreeCache" });
                command
            }
        };
        command.args([hosts, ROOT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the client's program");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready", "{self:?}");
        Running::Program(process)
    }
}

enum Running {
    Library { _client: Client, _cache: Box<TreeCache> },
    Program(Child),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Program(process) = self {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

pub fn of(kind: Kind, server: &Server, writer: &mut Writer, tree: &Tree) -> Cost {
    let proxy = Proxy::start(server.addr());
    let requests = Arc::new(AtomicU64::new(0));
    let counted = requests.clone();
    proxy.on_request(Box::new(move |request| {
        counted.fetch_add(u64::from(request.opcode != PING), Ordering::SeqCst);
        Verdict::Pass
    }));
    let mut counter = Counter { proxy: &proxy, requests: &requests, before: Traffic::default() };

    let running = kind.start(&proxy.hosts());
    let load = counter.once_quiet();
    let watches = watches(server);
    let leaf = tree.paths(ROOT).last().expect("a leaf");
    writer.set(&leaf, Some(&[b'y'; DATA])).expect("a write");
    let write = counter.once_quiet();
    let connections = proxy.connections_total();
    proxy.drop_connections();
    let unmoved = counter.once_back(connections);
    proxy.refuse(true);
    proxy.drop_connections();
    writer.set(ELSEWHERE, None).expect("a write");
    let connections = proxy.connections_total();
    proxy.refuse(false);
    let moved = counter.once_back(connections);
    drop(running);
    let nodes = tree.nodes() as u64;
    Cost { client: kind.name().to_owned(), nodes, watches, load, write, unmoved, moved }
}

struct Counter<'a> {
    proxy: &'a Proxy,
    requests: &'a AtomicU64,
    before: Traffic,
}

impl Counter<'_> {
    fn now(&self) -> Traffic {
        Traffic {
            requests: self.requests.load(Ordering::SeqCst),
            to_server: self.proxy.bytes_to_server(),
            to_client: self.proxy.bytes_to_client(),
        }
    }

    /// Waits until nothing is said any more, and returns what was said since the last time.
    fn once_quiet(&mut self) -> Traffic {
        let began = Instant::now();
        let (mut last, mut since) = (self.now(), Instant::now());
        while since.elapsed() < QUIET {
            assert!(began.elapsed() < BOUND, "it never falls silent");
            thread::sleep(Duration::from_millis(50));
            let now = self.now();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        let said = Traffic {
            requests: last.requests - self.before.requests,
            to_server: last.to_server - self.before.to_server,
            to_client: last.to_client - self.before.to_client,
        };
        self.before = last;
        said
    }

    /// The same, once there is another connection.
    fn once_back(&mut self, connections: usize) -> Traffic {
        let began = Instant::now();
        while self.proxy.connections_total() == connections {
            assert!(began.elapsed() < BOUND, "it does not come back");
            thread::sleep(Duration::from_millis(20));
        }
        self.once_quiet()
    }
}

fn watches(server: &Server) -> u64 {
    let answer = server.four_letter("mntr");
    let total = answer.lines().find_map(|line| line.strip_prefix("zk_watch_count"));
    total.and_then(|total| total.trim().parse().ok()).unwrap_or_else(|| panic!("no watches in {answer:?}"))
}
