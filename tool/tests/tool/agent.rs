//! `treecache agent`: trees stay shared, whatever becomes of the agent, its settings and its servers.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::*;
use tempfile::TempDir;
use treecache::{Config, State, TreeCache};
use treecache_test_support::{Server, shared, unique_root};

/// A folder with settings, and an agent of these.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new(settings: &str) -> Site {
        let site = Site { folder: folder() };
        site.write(settings);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `DIR` in the settings is the folder.
    fn write(&self, settings: &str) {
        let settings = settings.replace("DIR", self.folder.path().to_str().unwrap());
        fs::write(self.path("new"), settings).expect("settings");
        fs::rename(self.path("new"), self.path("agent.toml")).expect("settings");
    }

    fn command(&self) -> Command {
        treecache(&["agent", "--config", self.path("agent.toml").to_str().unwrap()])
    }

    #[track_caller]
    fn start(&self) -> Running {
        let before = fs::read_to_string(self.path("stderr")).unwrap_or_default().matches("it keeps ").count();
        let mut agent = Running::start(&mut self.command(), &self.path("stderr"));
        agent.wait_until_it_says_times("it keeps ", before + 1);
        agent
    }
}

/// One tree in one file, `DIR/tree`.
fn one_tree(root: &str) -> String {
    format!(
        "health = '127.0.0.1:0'\n\n[[tree]]\nhosts = '{}'\nroot = '{root}'\n'share.file' = 'DIR/tree'\n",
        shared().hosts()
    )
}

/// Where an agent says that it may be asked.
fn address(agent: &Running) -> SocketAddr {
    let said = agent.said();
    let (_, rest) = said.rsplit_once("asked at http://").expect("an address");
    rest.split('/').next().unwrap().parse().expect("an address")
}

fn attached(site: &Site) -> TreeCache {
    let cache = TreeCache::attach(site.path("tree"), &Config::new()).expect("a file that can be attached to");
    cache.wait_initialized(Some(BOUND)).expect("a tree");
    cache
}

#[track_caller]
fn until_read(cache: &TreeCache, path: &str, data: &[u8]) {
    eventually(path, || cache.get_data(path).is_ok_and(|node| node.data() == data));
}

#[test]
fn a_tree_is_shared_the_manager_is_told_and_the_end_is_clean() {
    let (root, witness) = (unique_root("shared"), witness());
    witness.create(&root, b"one");
    let site = Site::new(&one_tree(&root));
    let manager = UnixDatagram::bind(site.path("notify")).unwrap();
    manager.set_read_timeout(Some(BOUND)).unwrap();
    let told = || {
        let mut datagram = [0; 200];
        let len = manager.recv(&mut datagram).expect("a word");
        String::from_utf8_lossy(&datagram[..len]).into_owned()
    };
    let mut agent =
        Running::start(site.command().env("NOTIFY_SOCKET", site.path("notify")), &site.path("stderr"));
    assert_eq!(told(), "READY=1");
    let cache = attached(&site);
    until_read(&cache, &root, b"one");
    witness.set(&root, b"two");
    until_read(&cache, &root, b"two");
    eventually("in step", || health(address(&agent)).0 == 200);
    let (_, said) = health(address(&agent));
    assert_eq!((&said["trees"][0]["root"], &said["trees"][0]["nodes"]), (&root.clone().into(), &1.into()));
    assert!(said["trees"][0]["age_ms"].as_u64().unwrap() < BOUND.as_millis() as u64);
    agent.signal("-HUP");
    assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told(), "READY=1");
    agent.signal("-TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.said());
    until_read(&cache, &root, b"two");
}

#[test]
fn settings_are_read_again_and_broken_ones_change_nothing() {
    let (root, other, witness) = (unique_root("first"), unique_root("second"), witness());
    witness.create(&root, b"");
    witness.create(&other, b"");
    let first = one_tree(&root);
    let site = Site::new(&first);
    let mut agent = site.start();
    let cache = attached(&site);
    eventually("in step", || health(address(&agent)).0 == 200);
    let loads = agent.said().matches(": loaded, at").count();
    // One tree more: the first one is not touched.
    let second =
        format!("[[tree]]\nhosts = '{}'\nroot = '{other}'\n'share.file' = 'DIR/other'\n", shared().hosts());
    site.write(&format!("{first}{second}"));
    agent.signal("-HUP");
    agent.wait_until_it_says("1 started, 0 ended, 1 left as they are");
    agent.wait_until_it_says(&format!("{other}: in step"));
    assert_eq!(agent.said().matches(&format!("{root}: loaded, at")).count(), loads);
    // Broken in several ways.
    let nothing = "all goes on as before";
    for (n, (settings, said)) in [
        (format!("{first}nonsense = 1\n"), "agent.toml:7: unknown configuration key \"nonsense\""),
        (format!("{first}[[tree\n"), "agent.toml:7: "),
        (format!("{first}[[tree]]\nhosts = 'zk:'\nroot = '/'\nfiles = 'DIR/files'\n"), "agent.toml:8: "),
        (format!("{first}[[tree]]\nhosts = 'zk'\nroot = 'x'\nfiles = 'DIR/files'\n"), "agent.toml:7: "),
        (format!("user = 'nobody'\n{first}"), "agent.toml:1: \"user\" and \"group\" cannot be changed"),
        // Refused by what is in the file.
        (first.replace(&root, &other), "share.file"),
    ]
    .into_iter()
    .enumerate()
    {
        site.write(&settings);
        agent.signal("-HUP");
        agent.wait_until_it_says_times(nothing, n + 1);
        let line = agent.said().lines().rfind(|line| line.contains(nothing)).unwrap().to_owned();
        assert!(line.contains(said), "{settings}: {line}");
    }
    witness.set(&root, b"still");
    until_read(&cache, &root, b"still");
    assert_eq!(health(address(&agent)).1["trees"].as_array().unwrap().len(), 2);
    // Another setting of the first tree: its readers go on. The second one ends.
    site.write(&format!("{first}'audit.interval.ms' = 0\n"));
    agent.signal("-HUP");
    agent.wait_until_it_says("1 started, 2 ended, 0 left as they are");
    witness.set(&root, b"again");
    until_read(&cache, &root, b"again");
    eventually("in step", || health(address(&agent)).0 == 200);
    agent.signal("-TERM");
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.said());
}

#[test]
fn a_reader_goes_on_while_the_agent_is_killed_and_started_again() {
    let (root, witness) = (unique_root("killed"), witness());
    witness.create(&root, b"before");
    let site = Site::new(&format!("{}'session.timeout.ms' = 1000\n", one_tree(&root)));
    let mut agent = site.start();
    let cache = attached(&site);
    until_read(&cache, &root, b"before");
    agent.signal("-KILL");
    agent.wait();
    witness.set(&root, b"meanwhile");
    eventually("the silence is noticed", || cache.state().0 == State::Suspended);
    until_read(&cache, &root, b"before");
    let mut agent = site.start();
    until_read(&cache, &root, b"meanwhile");
    eventually("in step", || cache.state().0 == State::InStep);
    agent.signal("-INT");
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.said());
}

#[test]
fn whoever_asks_for_the_health_is_answered_whatever_others_send() {
    let mut server = Server::start();
    let site = Site::new(&format!(
        "health = '127.0.0.1:0'\n'health.max.age.ms' = 1000\n[[tree]]\nhosts = '{}'\nroot = '/'\n\
         'session.timeout.ms' = 1000\n'share.file' = 'DIR/tree'\nfiles = 'DIR/files'\n",
        server.hosts()
    ));
    let agent = site.start();
    let address = address(&agent);
    eventually("well", || health(address).0 == 200);
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
        (b"POST /health HTTP/1.1\r\n\r\n", "405"),
        (b"\xff\xff\r\n\r\n", "400"),
        (b"GET /health HTTP/1.1 and more\r\n\r\n", "400"),
        (&[b'x'; 5000], "431"),
    ] {
        let answer = http(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) || answer.is_empty(), "{answer}");
    }
    // Silent ones: more than are answered at a time. They are sent away.
    let mut silent: Vec<_> = (0..40).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    eventually("answered", || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        _ = stream.write_all(b"GET /health HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok_and(|_| answer.starts_with("HTTP/1.1 200"))
    });
    for stream in &mut silent {
        stream.set_read_timeout(Some(BOUND)).unwrap();
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "an answer to nothing");
    }
    server.kill();
    eventually("not well", || health(address).0 == 503);
    let (_, said) = health(address);
    assert_eq!(said["ok"], false);
    server.restart();
    eventually("well again", || health(address).0 == 200);
}

#[test]
fn the_health_may_be_asked_at_a_socket_and_a_stale_one_is_replaced() {
    let (root, witness) = (unique_root("socket"), witness());
    witness.create(&root, b"");
    let site = Site::new(&one_tree(&root).replace("127.0.0.1:0", "DIR/health"));
    let mut first = site.start();
    first.signal("-KILL");
    first.wait();
    let mut agent = site.start();
    eventually("well", || {
        let mut stream = UnixStream::connect(site.path("health")).expect("a connection");
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 200")
    });
    // A second agent is refused, and does not take the socket away.
    let said = String::from_utf8(site.command().output().unwrap().stderr).unwrap();
    assert!(said.contains("agent.toml:1: nobody can listen there"), "{said}");
    assert!(UnixStream::connect(site.path("health")).is_ok());
    agent.signal("-TERM");
    assert_eq!(agent.wait().code(), Some(0));
    assert!(!site.path("health").exists());
}

#[test]
fn the_journal_is_given_priorities_and_others_are_not() {
    let site = Site::new("[[tree]]\nhosts = '127.0.0.1:1'\nroot = '/'\n'share.file' = 'DIR/tree'\n");
    let stderr = site.path("stderr");
    fs::write(&stderr, "").unwrap();
    let file = fs::metadata(&stderr).unwrap();
    let stream = format!("{}:{}", file.dev(), file.ino());
    let mut agent = Running::start(site.command().env("JOURNAL_STREAM", &stream), &stderr);
    agent.wait_until_it_says("<6>it keeps a tree");
    agent.wait_until_it_says("<4>");
    drop(agent);
    // Inherited from somebody whose stderr it was.
    let other = site.path("other");
    let mut agent = Running::start(site.command().env("JOURNAL_STREAM", &stream), &other);
    agent.wait_until_it_says("treecache: it keeps a tree");
    agent.wait_until_it_says("treecache: warning: ");
    assert!(!agent.said().contains('<'), "{}", agent.said());
}

#[test]
fn privileges_are_dropped_before_a_server_is_spoken_to() {
    let (root, witness) = (unique_root("nobody"), witness());
    witness.create(&root, b"");
    let site = Site::new(&format!("user = 'nobody'\n{}", one_tree(&root)));
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        let said = String::from_utf8(site.command().output().unwrap().stderr).unwrap();
        assert!(said.contains("agent.toml:1: cannot take the user's groups"), "{said}");
        return;
    }
    std::os::unix::fs::chown(site.folder.path(), Some(65534), None).unwrap();
    let agent = site.start();
    eventually("well", || health(address(&agent)).0 == 200);
    assert_eq!(fs::metadata(site.path("tree")).unwrap().uid(), 65534);
    for task in fs::read_dir(format!("/proc/{}/task", agent.child.id())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert_eq!(
            line("Uid:").split_whitespace().collect::<Vec<_>>(),
            ["Uid:", "65534", "65534", "65534", "65534"]
        );
        assert!(!line("Groups:").split_whitespace().any(|group| group == "0"), "{status}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_an_error_with_file_and_line() {
    let site =
        Site::new("\n[[tree]]\nhosts = 'a'\nroot = '/'\nfiles = 'DIR/files'\n'limit.nodes' = 'many'\n");
    let file = site.path("agent.toml").display().to_string();
    let said = refused(&["agent", "--config", &file], 2);
    assert_eq!(
        said,
        format!("treecache: {file}:6: invalid value \"many\" for \"limit.nodes\": expected a whole number\n")
    );
    assert!(!Path::new(&site.path("files")).exists());
    refused(&["agent", "--config", "/nowhere"], 2);
    refused(&["agent"], 2);
    site.write("[[tree]]\nhosts = 'a'\nroot = '/'\nfiles = 'DIR'\n");
    let said = refused(&["agent", "--config", &file], 2);
    assert!(said.contains(":1: files ") && said.contains("something else is in it"), "{said}");
    // The file alone is looked at.
    site.write("[[tree]]\nhosts = 'a'\nroot = '/'\nfiles = 'DIR/files'\n");
    let began = Instant::now();
    assert_eq!(printed(&["agent", "--check", "--config", &file]), "");
    assert!(began.elapsed() < Duration::from_secs(30));
}
