//! Processes that see other file systems or other processes than those they share a tree with: as containers do.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{FILE, Sharing, attach, attached, folder, next, sharing, told, tree, until, until_at};
use crate::snapshot::tests::node;
use crate::stat::{Stat, Zxid};
use crate::tree::Node;
use crate::{State, Status};

/// Runs one of the tests that are processes, behind commands that say what it sees of the machine.
fn confined(namespaces: &[&str], commands: &str, test: &str, file: &Path) -> Child {
    let is_root = std::fs::metadata("/proc/self").expect("this process").uid() == 0;
    let user = if is_root { &[][..] } else { &["--user", "--map-root-user"] };
    Command::new("unshare")
        .args(user)
        .args(namespaces)
        .args(["sh", "-euc", &format!("{commands}; exec \"$0\" --exact {test} --ignored --nocapture")])
        .arg(std::env::current_exe().expect("the name of this program"))
        .env(FILE, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare, of util-linux, is there")
}

fn file() -> Option<PathBuf> {
    std::env::var_os(FILE).map(Into::into)
}

fn large(zxid: i64, len: usize) -> Option<Node> {
    let stat = Stat { czxid: Zxid(1), mzxid: Zxid(zxid), ..Stat::default() };
    Some(Node::new(vec![zxid as u8; len].into(), stat))
}

/// Leaves no room in a file system. Returns what takes it.
fn fill(folder: &Path) -> PathBuf {
    let filler = folder.join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    // In ever smaller pieces, so that nothing is left.
    for len in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; len]).is_ok() {}
    }
    filler
}

fn full(sharing: &Sharing) {
    let fault = sharing.fault();
    assert_eq!(fault.status, Status::Connection, "{fault:?}");
    assert!(fault.message.contains("No space left on device"), "{fault:?}");
}

#[test]
#[ignore = "a process of another test"]
fn a_writer_whose_file_system_is_full() {
    let Some(file) = file() else { return };
    let folder = file.parent().expect("a folder");
    // Full from the start.
    let filler = fill(folder);
    let sharing = sharing(&file);
    sharing.in_step(&tree(&["", "a"]), 9);
    full(&sharing);
    assert_eq!(sharing.cache.get_data("/foo/a").expect("it goes on").data(), b"1");
    std::fs::remove_file(&filler).expect("removed");
    until("the file", || file.exists());
    let reader = attached(&file);
    until_at(&reader, 9);

    // Full amid a version: some of it fits.
    let filler = fill(folder);
    let len = std::fs::metadata(&filler).expect("its length").len();
    // It takes room for as long as it is open.
    let some_room = |filler: std::fs::File| filler.set_len(len - (1 << 18));
    some_room(std::fs::OpenOptions::new().write(true).open(&filler).expect("a file")).expect("cut off");
    let mut tree = tree(&["", "a", "b"]);
    assert!(tree.put("large", large(10, 1 << 20)));
    sharing.publish(&tree, 10);
    full(&sharing);
    for cache in [&reader, &attached(&file)] {
        let snapshot = cache.snapshot().expect("a snapshot");
        assert_eq!((snapshot.zxid(), snapshot.len()), (Zxid(9), 2));
        assert!(cache.get_data("/foo/a").is_ok() && cache.get_data("/foo/b").is_err());
    }
    assert_eq!(sharing.cache.get_data("/foo/large").expect("it goes on").data().len(), 1 << 20);
    // A newer version that fits is written meanwhile.
    let mut small = tree.clone();
    assert!(small.put("large", node(11, 1)));
    sharing.publish(&small, 11);
    until_at(&reader, 11);
    sharing.publish(&tree, 12);
    full(&sharing);
    std::fs::remove_file(&filler).expect("removed");
    until_at(&reader, 12);
    assert!(reader.get_data("/foo/large").expect("it is there").data().iter().all(|byte| *byte == 10));
}

#[test]
fn where_a_file_system_is_full_the_last_version_stays_and_the_next_one_comes_when_there_is_room() {
    let folder = folder();
    let file = folder.path().join("tree");
    let mount = format!("mount -t tmpfs -o size=3m tmpfs {}", folder.path().display());
    let test = "sharing::tests::confined::a_writer_whose_file_system_is_full";
    let child = confined(&["--mount"], &mount, test, &file);
    let output = child.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "a process of another test"]
fn a_reader_that_may_not_write() {
    let Some(file) = file() else { return };
    assert_eq!(std::process::id(), 1, "a process namespace of its own");
    let written = std::fs::OpenOptions::new().write(true).open(&file);
    assert_eq!(written.expect_err("read-only").kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let cache = attached(&file);
    until_at(&cache, 9);
    let events = told(&cache);
    assert_eq!(next(&events, 2), ["NodeAdded /foo", "NodeAdded /foo/a"]);
    println!("ready");
    assert_eq!(events.iter().find(|event| event.ends_with("/b")).expect("an event"), "NodeAdded /foo/b");
    assert_eq!(cache.state().0, State::InStep);
    assert_eq!(cache.sync(None).expect_err("no server").status(), Status::Unsupported);
    println!("told");
}

#[test]
fn readers_of_other_process_namespaces_read_and_are_woken_through_read_only_mounts() {
    let folder = folder();
    let file = folder.path().join("tree");
    let sharing = sharing(&file);
    sharing.in_step(&tree(&["", "a"]), 9);
    until("the file", || file.exists());
    let place = folder.path().display();
    let mount = format!("mount --bind {place} {place}; mount -o remount,bind,ro {place}");
    let mut readers = [(); 2].map(|()| {
        let test = "sharing::tests::confined::a_reader_that_may_not_write";
        confined(&["--mount", "--pid", "--fork"], &mount, test, &file)
    });
    let mut lines = readers.each_mut().map(|reader| {
        BufReader::new(reader.stdout.take().expect("its output")).lines().map_while(Result::ok)
    });
    for lines in &mut lines {
        assert!(lines.any(|line| line.ends_with("ready")), "it reads");
    }
    sharing.publish(&tree(&["", "a", "b"]), 10);
    for (reader, lines) in readers.iter_mut().zip(&mut lines) {
        assert!(lines.any(|line| line.ends_with("told")), "it is woken");
        assert!(lines.any(|line| line.contains("1 passed")));
        assert!(reader.wait().expect("its end").success());
    }
}

#[test]
#[ignore = "a process of another test"]
fn a_writer_and_a_reader_on_a_file_system_of_another_program() {
    let Some(file) = file() else { return };
    let says_why = |message: &str| assert!(message.contains("it is on FUSE, where processes"), "{message}");
    says_why(&attach(&file).map(drop).expect_err("refused").to_string());
    says_why(&super::sharing_with(&file, &[]).map(drop).expect_err("refused").to_string());
    // And where there is none yet.
    let sharing = sharing(&file.with_file_name("later"));
    sharing.in_step(&tree(&["", "a"]), 9);
    says_why(&sharing.fault().message);
    assert_eq!(sharing.cache.get_data("/foo/a").expect("it goes on").data(), b"1");
    assert!(!file.with_file_name("later").exists());
}

#[test]
fn a_file_system_that_another_program_serves_is_refused() {
    let folder = folder();
    let [real, served] = ["real", "served"].map(|name| folder.path().join(name));
    [&real, &served].into_iter().for_each(|folder| std::fs::create_dir(folder).expect("a folder"));
    let _sharing = super::sharing_of(&real.join("tree"), 9);
    // bindfs ends with the namespace of its process.
    let mount = format!("bindfs --no-allow-other {} {}", real.display(), served.display());
    let test = "sharing::tests::confined::a_writer_and_a_reader_on_a_file_system_of_another_program";
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child"];
    let child = confined(&namespaces, &mount, test, &served.join("tree"));
    let output = child.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_writer_and_readers_that_have_one_process_id_tear_nothing() {
    let folder = folder();
    let file = folder.path().join("tree");
    let kinds =
        ["writer", "reader", "reader"].map(|kind| format!("sharing::tests::a_{kind}_that_will_be_killed"));
    let mut processes =
        kinds.each_ref().map(|kind| confined(&["--pid", "--fork", "--kill-child"], "true", kind, &file));
    let (cache, began) = (attached(&file), Instant::now());
    let mut versions = std::collections::BTreeSet::new();
    while began.elapsed() < Duration::from_secs(20) && versions.len() < 500 {
        let snapshot = cache.snapshot().expect("a snapshot");
        super::check_sum(&snapshot);
        versions.insert(snapshot.zxid());
    }
    assert!(versions.len() > 10, "only {} versions", versions.len());
    for (process, kind) in processes.iter_mut().zip(&kinds) {
        let ended = process.try_wait().expect("it can be asked for");
        assert!(ended.is_none(), "{kind} has ended by itself: {ended:?}");
        process.kill().expect("killed");
        process.wait().expect("its end");
    }
}
