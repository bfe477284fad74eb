//! Trees as plain files: which node is which file, whole versions, and an agent that is killed at any moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use treecache_test_support::{Op, Proxy, shared, unique_root};

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(root: &str) -> Site {
        Site::with(&shared().hosts(), root, "")
    }

    fn with(hosts: &str, root: &str, more: &str) -> Site {
        let site = Site { folder: folder() };
        let settings = format!(
            "[[tree]]\nhosts = '{hosts}'\nroot = '{root}'\nfiles = '{}'\n{more}\n",
            site.files().display()
        );
        fs::write(site.folder.path().join("agent.toml"), settings).unwrap();
        site
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn start(&self) -> Running {
        let settings = self.folder.path().join("agent.toml");
        let mut command = treecache(&["agent", "--config", settings.to_str().unwrap()]);
        Running::start(&mut command, &self.folder.path().join("stderr"))
    }

    /// What is in the folder, without the link.
    fn versions(&self) -> Vec<String> {
        let names = fs::read_dir(self.files()).into_iter().flatten();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "current");
        names.sort();
        names
    }
}

/// All files below a folder, by their paths in there.
fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn add(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => add(&entry.path(), &format!("{name}/"), found),
                false => _ = found.insert(name, fs::read(entry.path()).unwrap_or_default()),
            }
        }
    }
    let mut found = BTreeMap::new();
    add(folder, "", &mut found);
    found
}

#[test]
fn each_node_is_a_file_and_one_with_children_is_a_folder_with_its_data_in_it() {
    let (root, mut writer) = (unique_root("convention"), writer());
    let long = "x".repeat(256);
    let mut deep = String::new();
    writer.create(&root, Some(b"root"), 0).unwrap();
    for (path, data) in [
        ("/empty", None),
        ("/price", Some(&b"12\0\xff"[..])),
        ("/web", Some(b"both")),
        ("/web/10.0.0.1:80", Some(b"up")),
        ("/.data", Some(b"named as that")),
        ("/100%", Some(b"percent")),
        ("/gr\u{f6}\u{df}e", Some(b"name")),
        (&*format!("/{long}"), Some(b"too long")),
        (&*format!("/{long}/child"), Some(b"below")),
    ] {
        writer.create(&format!("{root}{path}"), data, 0).unwrap();
    }
    for _ in 0..102 {
        deep.push_str("/d");
        writer.create(&format!("{root}{deep}"), Some(b"deep"), 0).unwrap();
    }
    let site = Site::new(&root);
    let mut agent = site.start();
    agent.wait_until_it_says("are there");
    let mut found = files_below(&site.files().join("current"));
    let in_the_deep: Vec<_> = found.keys().filter(|path| path.starts_with("d/")).cloned().collect();
    in_the_deep.iter().for_each(|path| _ = found.remove(path));
    let expected: [(&str, &[u8]); 8] = [
        (".data", b"root"),
        ("%2Edata", b"named as that"),
        ("100%25", b"percent"),
        ("empty", b""),
        ("gr\u{f6}\u{df}e", b"name"),
        ("price", b"12\0\xff"),
        ("web/.data", b"both"),
        ("web/10.0.0.1:80", b"up"),
    ];
    let expected = expected.map(|(path, data)| (path.to_owned(), data.to_vec()));
    assert_eq!(found, BTreeMap::from(expected));
    assert_eq!(in_the_deep.len(), 100, "{in_the_deep:?}");
    let said = agent.said();
    assert!(said.contains(&format!("{root}/{long} is left out: its name is too long for a file")), "{said}");
    assert!(said.contains("/d is left out: it is too deep for folders"), "{said}");
    assert!(!said.contains(&format!("{long}/child")), "{said}");
    // Nodes that go and change their kind.
    writer.delete(&format!("{root}/web/10.0.0.1:80")).unwrap();
    writer.create(&format!("{root}/price/old"), Some(b"11"), 0).unwrap();
    eventually("the change", || {
        let found = files_below(&site.files().join("current"));
        let is = |path: &str, data: &[u8]| found.get(path).is_some_and(|found| found == data);
        is("web", b"both") && is("price/.data", b"12\0\xff") && is("price/old", b"11")
    });
    eventually("old versions go", || site.versions().len() == 1);
}

#[test]
fn under_a_storm_each_version_is_whole_even_when_the_agent_is_killed() {
    let (root, mut writer) = (unique_root("storm"), writer());
    let (left, right) = (format!("{root}/left"), format!("{root}/right"));
    writer.create(&root, None, 0).unwrap();
    writer.create(&left, Some(b"1000"), 0).unwrap();
    writer.create(&right, Some(b"0"), 0).unwrap();
    // What makes writing a version last.
    for n in 0..200 {
        writer.send(&Op::Create { path: &format!("{root}/n{n}"), data: Some(b"x"), flags: 0 }).unwrap();
    }
    writer.drain().unwrap();
    // A load that takes its time shows trees that are no cuts.
    let proxy = Proxy::start(shared().addr());
    proxy.set_delay(Duration::from_millis(50));
    let site = Site::with(&proxy.hosts(), &root, "'files.interval.ms' = 1");
    let (is_over, sums) = (AtomicBool::new(false), AtomicUsize::new(0));
    let folder = site.files();
    thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut amount = 0_i64;
            while !is_over.load(Ordering::Relaxed) {
                amount = (amount + 7) % 1000;
                let (a, b) = ((1000 - amount).to_string(), amount.to_string());
                let ops = [
                    Op::Set { path: &left, data: Some(a.as_bytes()) },
                    Op::Set { path: &right, data: Some(b.as_bytes()) },
                ];
                writer.multi(&ops).expect("a transaction");
            }
        });
        let reader = scope.spawn(|| {
            let mut seen = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                // Which version it is, once: its files are of one moment.
                let Ok(version) = fs::canonicalize(folder.join("current")) else {
                    assert!(seen.is_empty(), "there was a version, and there is none");
                    continue;
                };
                let read = |name: &str| fs::read_to_string(version.join(name));
                let (left, right) = match (read("left"), read("right")) {
                    (Ok(left), Ok(right)) => (left, right),
                    // It was old, and is gone.
                    _ => {
                        assert_ne!(fs::canonicalize(folder.join("current")).ok(), Some(version));
                        continue;
                    }
                };
                let sum: i64 =
                    left.parse::<i64>().expect("a number") + right.parse::<i64>().expect("a number");
                assert_eq!(sum, 1000, "{left} and {right}");
                assert_eq!(
                    fs::read_dir(&version).map_or(203, Iterator::count),
                    203,
                    "a version with parts missing"
                );
                seen.insert(version, left);
                sums.store(seen.len(), Ordering::Relaxed);
            }
        });
        let died = || storm.is_finished() || reader.is_finished();
        for n in 0..6 {
            let mut agent = site.start();
            let before = sums.load(Ordering::Relaxed);
            eventually("new versions", || sums.load(Ordering::Relaxed) >= before + 5 || died());
            thread::sleep(Duration::from_millis(17 * n));
            agent.signal("-KILL");
            agent.wait();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // Whatever was left is taken away, and the last version is the server's.
    let mut agent = site.start();
    let truth = witness().get(&left).unwrap().0;
    let began = Instant::now();
    eventually("the last version", || fs::read(folder.join("current/left")).is_ok_and(|left| left == truth));
    eventually("one version", || site.versions().len() == 1);
    assert!(began.elapsed() < BOUND);
    agent.signal("-TERM");
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.said());
    assert_eq!(site.versions().len(), 1);
    assert!(folder.join("current/left").exists());
}

#[test]
fn one_process_writes_and_another_takes_over() {
    let (root, witness) = (unique_root("two"), witness());
    witness.create(&root, b"one");
    let site = Site::new(&root);
    let mut first = site.start();
    first.wait_until_it_says("are there");
    let mut second = site.start();
    second.wait_until_it_says("another process writes there");
    first.signal("-KILL");
    first.wait();
    witness.set(&root, b"two");
    eventually("the change", || {
        fs::read(site.files().join("current/.data")).is_ok_and(|data| data == b"two")
    });
}
