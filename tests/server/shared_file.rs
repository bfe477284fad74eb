//! A tree that is kept in a file: over restarts of its process, with and without a server, and for other processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use treecache::EventKind::{InStep, Initialized, NodeAdded, NodeRemoved, NodeUpdated};
use treecache::{Client, State, Status, TreeCache};
use treecache_test_support::{Acl, Op, Proxy, Server, Witness, Writer, shared, unique_root};

use crate::common::*;
use crate::subject::*;

/// A folder in memory, for as long as it is held.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a folder in memory")
}

fn file_in(folder: &tempfile::TempDir) -> String {
    folder.path().join("tree").to_str().expect("a name").to_owned()
}

fn attached(file: &str) -> TreeCache {
    TreeCache::attach(file, &config(&[])).expect("attached")
}

/// Lets an attached cache have the version that another one shows.
fn taken_up(reader: &TreeCache, cache: &TreeCache) {
    let zxid = cache.snapshot().expect("a snapshot").zxid();
    eventually("the version", || reader.snapshot().is_ok_and(|snapshot| snapshot.zxid() >= zxid));
}

#[test]
fn behind_a_restart_a_large_tree_is_there_at_once_and_only_what_has_changed_is_read() {
    const FOLDERS: usize = 20;
    const NODES: usize = 100_000;
    // The session of the report is granted as much: when it is lost, all is read.
    let server = Server::builder().config("minSessionTimeout=10000").start();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    writer.create("/large", None, 0).expect("the root");
    for n in 0..FOLDERS {
        writer.create(&format!("/large/{n:02}"), None, 0).expect("a folder");
    }
    let path_of = |n: usize| format!("/large/{:02}/{n:06}", n % FOLDERS);
    // So large that it is better to compare than to read.
    let data = [b'x'; 400];
    for n in 0..NODES {
        writer.send(&Op::Create { path: &path_of(n), data: Some(&data), flags: 0 }).expect("a create");
    }
    writer.drain().expect("a tree");

    let (folder, hosts) = (folder(), server.hosts());
    // The audit begins a pass behind a report, and would be counted, too.
    let settings = [("share.file", &file_in(&folder)[..]), ("audit.interval.ms", "0")];
    {
        let client = client(&hosts);
        let cache = started(&client, "/large", &settings);
        wait_for_state(&cache, State::InStep);
        taken_up(&attached(&file_in(&folder)), &cache);
    }
    // The session of the first writer may have ended during the load.
    writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    for n in 0..10 {
        writer.set(&path_of(n * 9_999), Some(b"changed")).expect("a set");
    }

    let client = client(&hosts);
    let cache = client.cache("/large", &config(&settings)).expect("a cache");
    let recorder = Recorder::listen(&cache);
    let began = Instant::now();
    cache.start().expect("started");
    let node = cache.get_data(path_of(77)).expect("it is read at once");
    println!("{NODES} nodes could be read after {:?}", began.elapsed());
    assert_eq!(node.data(), data);
    assert_eq!(cache.snapshot().expect("a snapshot").len(), NODES + FOLDERS + 1);
    wait_for_state(&cache, State::InStep);
    let stats = cache.stats();
    println!("in step after {:?}, {} nodes read", began.elapsed(), stats.reads);
    assert!(stats.reads <= 100, "{} nodes were read", stats.reads);
    let told = recorder.wait_for_kind(InStep, 1);
    let updated = told.iter().filter(|event| event.kind == NodeUpdated).count();
    let added = told.iter().filter(|event| event.kind == NodeAdded).count();
    assert_eq!((added, updated), (NODES + FOLDERS + 1, 10));
    assert_eq!(cache.get_data(path_of(9_999)).expect("it is there").data(), b"changed");
}

#[test]
fn without_a_server_what_was_kept_is_read_and_its_age_goes_on() {
    let (witness, root, folder) = (witness(), unique_root("kept"), folder());
    plant(&witness, &root, &["/a", "/a/b", "/c"]);
    let settings = [("share.file", &file_in(&folder)[..])];
    {
        let client = client(&shared().hosts());
        let cache = started(&client, &root, &settings);
        wait_for_state(&cache, State::InStep);
        taken_up(&attached(&file_in(&folder)), &cache);
    }
    let ended = Instant::now();
    std::thread::sleep(Duration::from_millis(1500));
    let proxy = Proxy::start(shared().addr());
    proxy.refuse(true);
    let client = client(&proxy.hosts());
    let cache = client.cache(&root, &config(&settings)).expect("a cache");
    let recorder = Recorder::listen(&cache);
    cache.start().expect("started");
    assert_eq!(cache.get_data(format!("{root}/a/b")).expect("it is known").data(), b"/a/b");
    assert_eq!(cache.get_data(format!("{root}/x")).unwrap_err().status(), Status::NoNode);
    recorder.wait_for_event(NodeAdded, &format!("{root}/c"));
    // Whoever attaches is told the same, as soon as the new writer has put it down.
    let reader = attached(&file_in(&folder));
    eventually("the new writer's word", || reader.state().0 != State::Suspended);
    for cache in [&cache, &reader] {
        let (state, age) = cache.state();
        let age = age.expect("a server was heard once");
        assert_eq!(state, State::Warm);
        assert!(age >= Duration::from_millis(1500) && age <= ended.elapsed() + BOUND, "{age:?}");
        assert!(!cache.is_initialized());
    }
    let too_soon = cache.wait_initialized(Some(Duration::from_millis(50)));
    assert_eq!(too_soon.map_err(|error| error.status()), Err(Status::Timeout));

    witness.set(&format!("{root}/c"), b"changed");
    witness.delete(&format!("{root}/a/b"));
    proxy.refuse(false);
    let told = recorder.wait_for_kind(InStep, 1);
    let behind: Vec<_> = told[4..].iter().map(|event| event.kind).collect();
    assert_eq!(behind, [NodeRemoved, NodeUpdated, Initialized, InStep]);
    assert_same_as_server(&cache, &witness, &root);
    eventually("the reader in step", || reader.state().0 == State::InStep && reader.is_initialized());
    assert_same_as_server(&reader, &witness, &root);

    // Behind that it is too old for one that wants nothing older than a second.
    drop((cache, client));
    std::thread::sleep(Duration::from_millis(1100));
    proxy.refuse(true);
    let strict = self::client(&proxy.hosts());
    let settings = [settings[0], ("share.max.age.ms", "1000")];
    let cache = strict.cache(&root, &config(&settings)).expect("a cache");
    cache.start().expect("started");
    assert_eq!(cache.state().0, State::Loading);
    assert_eq!(cache.get_data(format!("{root}/c")).unwrap_err().status(), Status::NotReady);
}

#[test]
fn what_another_user_has_left_is_another_users_until_a_server_was_asked() {
    let server = crate::report::patient_server();
    let (witness, root, folder) = (Witness::connect(&server.hosts()), unique_root("anothers"), folder());
    witness.add_auth("reader", "secret");
    plant(&witness, &root, &["/open"]);
    let acl = Acl::read_only_by("reader", "secret");
    witness.create_with_acl(&format!("{root}/secret"), b"secret", &acl);
    // The newest nodes are always read.
    for n in 0..300 {
        witness.create(&format!("{root}/{n}"), b"");
    }
    let file = file_in(&folder);
    // By report, which tells nothing of ACLs, and without the audit, which would find them.
    let settings = [("share.file", &file[..]), ("verify", "report"), ("audit.interval.ms", "0")];
    {
        let reader = client_with(&server.hosts(), &[("auth", "digest:reader:secret")]);
        let cache = started(&reader, &root, &settings);
        wait_for_state(&cache, State::InStep);
        taken_up(&attached(&file), &cache);
    }
    let proxy = Proxy::start(server.addr());
    {
        // Another user's cache begins with it, has no server, and writes the file on.
        proxy.refuse(true);
        let nobody = client(&proxy.hosts());
        let cache = started_from_file(&nobody, &root, &settings);
        let is_nobodys = || attached(&file).state().0 == State::Warm;
        eventually("the file of the second writer", is_nobodys);
        assert_eq!(cache.get_data(format!("{root}/secret")).expect("it is known").data(), b"secret");
        let given_on = cache.snapshot().expect("a snapshot");
        // What it hands out is not its own user's either.
        let client = client(&server.hosts());
        let cache = client.cache(&root, &config(&settings[1..])).expect("a cache");
        cache.start_from(&given_on).expect("started");
        assert_hidden(&cache, &root);
    }
    proxy.refuse(false);
    let nobody = client(&proxy.hosts());
    let cache = started_from_file(&nobody, &root, &settings);
    assert_hidden(&cache, &root);
    assert!(cache.stats().reads > 300, "{} nodes were read", cache.stats().reads);

    // From now on it is its own.
    taken_up(&attached(&file), &cache);
    drop((cache, nobody));
    witness.set(&format!("{root}/open"), b"changed");
    let nobody = client(&proxy.hosts());
    let cache = started_from_file(&nobody, &root, &settings);
    assert_hidden(&cache, &root);
    assert!(cache.stats().reads < 150, "{} nodes were read", cache.stats().reads);
}

fn started_from_file(client: &Client, root: &str, settings: &[(&str, &str)]) -> TreeCache {
    let cache = client.cache(root, &config(settings)).expect("a cache");
    cache.start().expect("started");
    cache
}

fn assert_hidden(cache: &TreeCache, root: &str) {
    wait_for_state(cache, State::InStep);
    let error = cache.get_data(format!("{root}/secret")).unwrap_err();
    assert_eq!(error.status(), Status::NoPermission);
}

#[test]
fn a_file_of_another_history_is_a_reset_and_never_a_mixture() {
    let [old, new] = [(); 2].map(|()| Server::start());
    let [before, after] = [&old, &new].map(|server| Witness::connect(&server.hosts()));
    plant(&before, "/other", &["/a", "/b"]);
    plant(&after, "/other", &["/a", "/c"]);
    // The new one has come farther, with some of the same names.
    for n in 0..30 {
        after.set("/other/a", format!("new {n}").as_bytes());
    }
    let folder = folder();
    let settings = [("share.file", &file_in(&folder)[..])];
    {
        let client = client(&old.hosts());
        let cache = started(&client, "/other", &settings);
        wait_for_state(&cache, State::InStep);
        taken_up(&attached(&file_in(&folder)), &cache);
    }
    let reader = attached(&file_in(&folder));
    let client = client(&new.hosts());
    let cache = client.cache("/other", &config(&settings)).expect("a cache");
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().expect("started");
    assert_eq!(cache.get_data("/other/b").expect("the old tree").data(), b"/b");
    recorder.wait_for_kind(InStep, 1);
    assert_same_as_server(&cache, &after, "/other");
    assert_told_the_tree(&recorder, &cache);
    let resets = faults.told().iter().filter(|fault| fault.status == Status::Reset).count();
    assert_eq!(resets, 1, "{:?}", faults.told());
    assert_same_as_server(&reader, &after, "/other");
}

/// What the process of the next test is told: the server, the root and the file.
const WRITER: &str = "TREECACHE_TEST_SHARING_WRITER";

/// Shares a tree until it is killed.
#[test]
#[ignore = "a process of another test"]
fn a_process_that_shares_its_tree() {
    let Ok(told) = std::env::var(WRITER) else { return };
    let [hosts, root, file] = told.split('|').collect::<Vec<_>>().try_into().expect("three of them");
    let client = client_with(hosts, &[("session.timeout.ms", "4000")]);
    let cache = started(&client, root, &[("share.file", file)]);
    println!("{:?}", cache.state());
    loop {
        std::thread::park();
    }
}

#[test]
fn readers_are_told_of_a_writer_that_is_stopped_or_killed_and_taken_on_by_the_next_one() {
    let (witness, root, folder) = (witness(), unique_root("writer"), folder());
    plant(&witness, &root, &["/a"]);
    let file = file_in(&folder);
    let spawn = || {
        let this = std::env::current_exe().expect("the name of this program");
        Command::new(this)
            .args(["--exact", "shared_file::a_process_that_shares_its_tree", "--ignored", "--nocapture"])
            .env(WRITER, [&shared().hosts(), &root, &file].map(|part| &part[..]).join("|"))
            .stdout(Stdio::null())
            .spawn()
            .expect("a process")
    };
    let signal = |process: &std::process::Child, name: &str| {
        let sent = Command::new("kill").args([name, &process.id().to_string()]).status();
        assert!(sent.expect("kill can be run").success());
    };
    // There is no file yet.
    let reader = attached(&file);
    assert_eq!(reader.state(), (State::Loading, None));
    let recorder = Recorder::listen(&reader);
    let mut writer = spawn();
    recorder.wait_for_kind(InStep, 1);
    assert_same_as_server(&reader, &witness, &root);
    witness.create(&format!("{root}/b"), b"");
    recorder.wait_for_event(NodeAdded, &format!("{root}/b"));

    // Silent for longer than its session lasts; then it goes on.
    signal(&writer, "-STOP");
    eventually("a silent writer", || reader.state().0 == State::Suspended);
    let (_, age) = reader.state();
    assert!(age.is_some_and(|age| age >= Duration::from_secs(4)), "{age:?}");
    assert_eq!(reader.get_data(format!("{root}/a")).expect("it is still there").data(), b"/a");
    recorder.wait_for_kind(treecache::EventKind::ConnectionSuspended, 1);
    witness.set(&format!("{root}/a"), b"meanwhile");
    signal(&writer, "-CONT");
    recorder.wait_for_kind(InStep, 2);
    assert_same_as_server(&reader, &witness, &root);

    writer.kill().expect("killed");
    writer.wait().expect("its end");
    eventually("a writer that was killed", || reader.state().0 == State::Suspended);
    witness.delete(&format!("{root}/b"));
    let mut next = spawn();
    recorder.wait_for_event(NodeRemoved, &format!("{root}/b"));
    recorder.wait_for_kind(InStep, 3);
    assert_same_as_server(&reader, &witness, &root);
    assert_told_the_tree(&recorder, &reader);
    next.kill().expect("killed");
    next.wait().expect("its end");
}
