//! Trees of which a part is kept: what is left out, what that costs, and that Curator's selectors have the same effect.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fastrand::Rng;
use treecache::{EventKind, State, Status, TreeCache, Walk};
use treecache_checks::Narrowing;
use treecache_test_support::{Proxy, Witness, shared, unique_root};

use crate::common::*;
use crate::subject::plant;

const CURATORS: [&str; 6] =
    ["curator-recipes", "curator-framework", "curator-client", "zookeeper", "zookeeper-jute", "guava"];

/// Curator's TreeCache, in a process of its own.
struct Curator {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Curator {
    fn start(hosts: &str) -> Curator {
        let jars = CURATORS.iter().chain(&["slf4j-api", "slf4j-nop"]);
        let jars: Vec<_> = jars.map(|jar| format!("/usr/share/java/{jar}.jar")).collect();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/testing/support/java/Narrowed.java");
        let mut process = Command::new("java")
            .args(["-Xmx256m", "-cp", &jars.join(":"), program, hosts])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("java, and Debian's libcurator-recipes-java");
        let orders = process.stdin.take().expect("its input");
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        Curator { process, orders, answers }
    }

    fn order(&mut self, order: &str) -> Vec<String> {
        writeln!(self.orders, "{order}").expect("a program that listens");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).expect("an answer") > 0, "no answer to {order:?}");
            match line.trim_end() {
                "" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// Its nodes, each with its data.
    fn nodes(&mut self) -> BTreeMap<String, String> {
        let lines = self.order("list");
        let nodes = lines.iter().filter_map(|line| line.split_once(' ').or(Some((line, ""))));
        nodes.map(|(path, data)| (path.to_owned(), data.to_owned())).collect()
    }
}

impl Drop for Curator {
    fn drop(&mut self) {
        // If it has ended already, there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nodes_of(cache: &TreeCache, root: &str) -> BTreeMap<String, String> {
    let mut nodes = BTreeMap::new();
    let walked = cache.snapshot().expect("a snapshot").walk(root, |path, node| {
        nodes.insert(path.to_owned(), String::from_utf8_lossy(node.data()).into_owned());
        Walk::Continue
    });
    walked.expect("a root");
    nodes
}

/// Waits until the cache is in step, and compares all that it keeps with the server's tree.
#[track_caller]
fn assert_same_as_narrowed(cache: &TreeCache, witness: &Witness, root: &str, narrowing: &Narrowing) {
    cache.sync(Some(BOUND)).expect("up to date");
    let mut truth = witness.truth(root);
    truth.retain(|path, _| narrowing.keeps(&path[root.len()..]));
    let snapshot = cache.snapshot().expect("a snapshot");
    assert!(snapshot.is_cut());
    let mut tree = tree_of(&snapshot);
    for (path, node) in &truth {
        let (data, stat) = tree.remove(path).unwrap_or_else(|| panic!("{path} is missing by {narrowing:?}"));
        assert_eq!(data, node.data, "{path}");
        let (found, expected) = (
            (stat.czxid.0, stat.mzxid.0, stat.pzxid.0, stat.cversion, stat.num_children),
            (node.stat.czxid, node.stat.mzxid, node.stat.pzxid, node.stat.cversion, node.stat.num_children),
        );
        assert_eq!(found, expected, "{path} by {narrowing:?}");
    }
    assert!(tree.is_empty(), "{:?} should be left out by {narrowing:?}", tree.keys());
}

/// Rules at random, for the library and in words for Curator.
fn rules(rng: &mut Rng) -> (Narrowing, Vec<(&'static str, String)>) {
    const PARTS: [&str; 7] = ["a", "b", "*", "*", "**", "t*p", ".lock"];
    let (mut narrowing, mut settings) = (Narrowing::default(), Vec::new());
    if rng.u8(..3) == 0 {
        let depth = rng.usize(..4);
        narrowing.depth = Some(depth);
        settings.push(("depth.max", depth.to_string()));
    }
    for _ in 0..rng.usize(1..=3) {
        let parts: Vec<_> = (0..rng.usize(1..=3)).map(|_| PARTS[rng.usize(..PARTS.len())]).collect();
        let pattern = parts.join("/");
        let (key, list) = match rng.u8(..4) {
            0 | 1 => ("select.exclude", &mut narrowing.exclude),
            2 => ("select.leaf", &mut narrowing.leaf),
            _ => ("select.include", &mut narrowing.include),
        };
        list.push(pattern.clone());
        settings.push((key, pattern));
    }
    (narrowing, settings)
}

/// Paths below the root, parents first.
fn random_paths(rng: &mut Rng) -> Vec<String> {
    let mut paths = vec![String::new()];
    for _ in 0..40 {
        let parent = &paths[rng.usize(..paths.len())];
        let path = format!("{parent}/{}", ["a", "b", "c", "tmp", ".lock"][rng.usize(..5)]);
        if !paths.contains(&path) && path.matches('/').count() < 6 {
            paths.push(path);
        }
    }
    paths.split_off(1)
}

#[test]
fn what_is_kept_is_what_curators_selector_keeps() {
    let (client, witness) = (client(&shared().hosts()), witness());
    let mut curator = Curator::start(&shared().hosts());
    for seed in 0..25 {
        let mut rng = Rng::with_seed(seed);
        let root = unique_root("selected");
        let paths = random_paths(&mut rng);
        let (planted, later) = paths.split_at(paths.len() * 2 / 3);
        plant(&witness, &root, &planted.iter().map(String::as_str).collect::<Vec<_>>());
        let (narrowing, settings) = rules(&mut rng);
        let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let cache = started(&client, &root, &settings);
        let words = settings.iter().map(|(key, value)| {
            let rule = if *key == "depth.max" { "depth" } else { key.trim_start_matches("select.") };
            format!("{rule}={value}")
        });
        curator.order(&format!("open {root} {}", words.collect::<Vec<_>>().join(" ")));
        assert_same_as_narrowed(&cache, &witness, &root, &narrowing);
        assert_eq!(nodes_of(&cache, &root), curator.nodes(), "seed {seed}: {settings:?}");

        for path in later {
            witness.create(&format!("{root}{path}"), b"later");
        }
        for path in planted.iter().filter(|_| rng.bool()) {
            witness.set(&format!("{root}{path}"), b"set");
        }
        let gone = &planted[rng.usize(..planted.len())];
        witness.delete_recursive(&format!("{root}{gone}"));
        assert_same_as_narrowed(&cache, &witness, &root, &narrowing);
        let ours = nodes_of(&cache, &root);
        eventually("Curator has followed", || curator.nodes() == ours);
    }
}

#[test]
fn what_is_left_out_is_outside_of_the_tree_and_the_border_has_no_children() {
    let (client, witness, root) = (client(&shared().hosts()), witness(), unique_root("border"));
    plant(&witness, &root, &["/a", "/a/b", "/a/b/c", "/tmp", "/tmp/x"]);
    let cache = started(&client, &root, &[("depth.max", "2"), ("select.exclude", "tmp")]);
    let recorder = Recorder::listen(&cache);
    for path in ["/a/b/c", "/tmp", "/tmp/x", "/other/than/these"] {
        assert_eq!(
            cache.get_data(format!("{root}{path}")).unwrap_err().status(),
            Status::OutOfTree,
            "{path}"
        );
    }
    assert_eq!(cache.get_data(format!("{root}/other")).unwrap_err().status(), Status::NoNode);
    assert!(cache.get_children(format!("{root}/a/b")).unwrap().is_empty());
    assert_eq!(cache.get_data(format!("{root}/a/b")).unwrap().stat().num_children, 1, "the server's");
    // Beyond the border, what comes and goes is not told; the Stat at the border says that something did.
    witness.create(&format!("{root}/a/b/d"), b"");
    witness.create(&format!("{root}/tmp/y"), b"");
    witness.create(&format!("{root}/a/e"), b"");
    recorder.wait_for_event(EventKind::NodeAdded, &format!("{root}/a/e"));
    cache.sync(Some(BOUND)).unwrap();
    assert_eq!(cache.get_data(format!("{root}/a/b")).unwrap().stat().num_children, 2);
    let told = recorder.events();
    assert!(told.iter().all(|event| !event.path.contains("/tmp") && !event.path.ends_with("/d")), "{told:?}");
}

#[test]
fn what_is_left_out_is_not_read_nor_counted_against_limits() {
    let (client, witness, root) = (client(&shared().hosts()), witness(), unique_root("unread"));
    plant(&witness, &root, &["/keep", "/leaf", "/drop"]);
    for n in 0..300 {
        witness.create(&format!("{root}/leaf/{n:03}"), &[b'x'; 1000]);
        witness.create(&format!("{root}/drop/{n:03}"), &[b'x'; 1000]);
    }
    let settings = [
        ("select.exclude", "drop"),
        ("select.leaf", "leaf"),
        ("limit.nodes", "3"),
        ("limit.bytes", "1000"),
        ("audit.interval.ms", "0"),
    ];
    let cache = started(&client, &root, &settings);
    cache.sync(Some(BOUND)).unwrap();
    let before = cache.stats();
    assert_eq!(before.nodes, 3);
    assert!(before.reads <= 10, "{} nodes were read, and 3 are kept", before.reads);
    for n in 0..50 {
        witness.set(&format!("{root}/leaf/{n:03}"), b"");
        witness.set(&format!("{root}/drop/{n:03}"), b"");
    }
    cache.sync(Some(BOUND)).unwrap();
    assert_eq!(cache.stats().reads, before.reads);
}

#[test]
fn a_root_that_is_kept_alone_is_told_of_whoever_else_watches_it_meanwhile() {
    let (client, witness, root) = (client(&shared().hosts()), witness(), unique_root("single"));
    plant(&witness, &root, &["/a"]);
    let single = started(&client, &root, &[("single", "true")]);
    let node = || single.get_data(&root).expect("the root");
    let is_current = |written: u32| {
        single.sync(Some(BOUND)).unwrap();
        assert_eq!(node().data(), written.to_string().as_bytes());
        assert_eq!(node().stat().num_children, 1 + written as i32);
    };
    let mut written = 0;
    let mut write = || {
        written += 1;
        witness.create(&format!("{root}/n{written}"), b"");
        witness.set(&root, written.to_string().as_bytes());
        witness.set(&format!("{root}/a"), b"below");
        written
    };
    let recorder = Recorder::listen(&single);
    for _ in 0..5 {
        is_current(write());
        let whole = started(&client, &root, &[]);
        let newest = write();
        is_current(newest);
        whole.sync(Some(BOUND)).unwrap();
        assert!(whole.get_data(format!("{root}/n{newest}")).is_ok(), "all of it is followed");
        let again = started(&client, &root, &[("single", "true")]);
        assert_eq!(again.stats().nodes, 1);
        again.close();
        is_current(write());
        whole.close();
    }
    is_current(write());
    assert_eq!(single.get_data(format!("{root}/a")).unwrap_err().status(), Status::OutOfTree);
    assert!(recorder.events().iter().all(|event| event.path.is_empty() || event.path == root));
}

#[test]
fn a_root_that_is_kept_alone_costs_nothing_where_something_happens_deeper() {
    let (witness, root) = (witness(), unique_root("deeper"));
    plant(&witness, &root, &["/a"]);
    let received = |settings: &[(&str, &str)]| {
        let proxy = Proxy::start(shared().addr());
        let client = client(&proxy.hosts());
        let cache = started(&client, &root, settings);
        let before = proxy.bytes_to_client();
        for _ in 0..200 {
            witness.set(&format!("{root}/a"), b"x");
        }
        cache.sync(Some(BOUND)).unwrap();
        proxy.bytes_to_client() - before
    };
    let (alone, shallow) = (received(&[("single", "true")]), received(&[("depth.max", "0")]));
    assert!(alone < 1000 && shallow > 200 * 30, "{alone} bytes, and {shallow} with depth.max=0");
}

#[test]
fn a_tree_that_is_not_followed_leaves_no_watch_behind_and_is_brought_up_to_date_by_sync() {
    let server = treecache_test_support::Server::start();
    let (client, witness, root) = (client(&server.hosts()), Witness::connect(&server.hosts()), "/held");
    plant(&witness, root, &["/a"]);
    let watches = || server.four_letter("wchs").lines().last().unwrap_or_default().to_owned();
    let cache = started(&client, root, &[("follow", "false")]);
    wait_for_state(&cache, State::Held);
    eventually("the watch is removed", || watches() == "Total watches:0");
    let zxid = cache.snapshot().unwrap().zxid();
    witness.create("/held/b", b"");
    assert_eq!(cache.get_data("/held/b").unwrap_err().status(), Status::NoNode);
    assert_eq!((cache.state().0, cache.snapshot().unwrap().zxid()), (State::Held, zxid));
    let age = cache.stats().cut_age.expect("a cut");
    cache.sync(Some(BOUND)).unwrap();
    assert!(cache.get_data("/held/b").is_ok());
    wait_for_state(&cache, State::Held);
    assert!(cache.stats().cut_age.expect("a cut") < age + BOUND);
    eventually("the watch is removed", || watches() == "Total watches:0");
}
