//! What is kept of nodes' data: nothing, or what gzip has compressed, uncompressed.

use std::collections::BTreeMap;
use std::process::Command;

use treecache::{EventKind, State, Status};
use treecache_test_support::{Proxy, TruthNode, shared, unique_root};

use crate::common::*;
use crate::subject::*;

/// What the server has at `root`, with what is kept of the data.
fn truth_with(root: &str, keep: impl Fn(&str, Vec<u8>) -> Vec<u8>) -> BTreeMap<String, TruthNode> {
    let kept = |(path, node): (String, TruthNode)| {
        let data = keep(&path, node.data);
        (path, TruthNode { data, ..node })
    };
    witness().truth(root).into_iter().map(kept).collect()
}

#[test]
fn without_data_a_cache_is_the_names_and_stats_of_the_servers_tree() {
    let (root, witness) = (unique_root("no-data"), witness());
    plant(&witness, &root, &["/a", "/a/b", "/c"]);
    witness.create(&format!("{root}/large"), &vec![7; 900_000]);
    let proxy = Proxy::start(shared().addr());
    // No data is beyond no limit.
    let settings = [("data", "none"), ("limit.bytes", "1")];
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &settings);
    let nothing = |_: &str, _| Vec::new();
    assert_becomes(&subject.cache, &truth_with(&root, nothing));
    let large = subject.cache.get_data(format!("{root}/large")).unwrap();
    assert_eq!((large.data(), large.stat().data_length), (&b""[..], 900_000));

    // An update is told, whatever was set.
    witness.set(&format!("{root}/large"), &vec![8; 900_001]);
    witness.set(&format!("{root}/a"), b"/a");
    for path in ["/large", "/a"] {
        let path = format!("{root}{path}");
        let told = subject.recorder.wait_for_event(EventKind::NodeUpdated, &path);
        let update = told.iter().find(|event| event.kind == EventKind::NodeUpdated && event.path == path);
        let update = update.expect("it was waited for");
        assert_eq!((update.data.as_deref(), update.old_data.as_deref()), (Some(&b""[..]), Some(&b""[..])));
    }
    assert_becomes(&subject.cache, &truth_with(&root, nothing));
    while_disconnected(&proxy, &subject, || {
        witness.set(&format!("{root}/large"), &vec![9; 900_001]);
        witness.create(&format!("{root}/a/new"), b"new");
        witness.delete(&format!("{root}/a/b"));
    });
    assert_becomes(&subject.cache, &truth_with(&root, nothing));
    let of_nodes = |event: &&Recorded| event.is_of_a_node();
    let told = subject.recorder.events();
    assert!(told.iter().filter(of_nodes).all(|event| event.data.as_deref() == Some(b"")), "{told:?}");
    assert_eq!(subject.cache.stats().bytes, 0);
    subject.reader.take().expect("it reads").stop();
    subject.close();
}

/// What `CompressedByCurator.java` writes.
fn written(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n * n / 7) as u8).collect()
}

#[test]
fn what_curator_has_compressed_is_kept_and_told_uncompressed() {
    const LENGTHS: [&str; 6] = ["0", "1", "511", "512", "5000", "300000"];
    let (root, witness) = (unique_root("gzip"), witness());
    witness.create(&root, b"");
    let jars = ["curator-recipes", "curator-framework", "curator-client", "zookeeper", "slf4j-nop"];
    let jars = jars.map(|jar| format!("/usr/share/java/{jar}.jar")).join(":");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/CompressedByCurator.java");
    let mut curator = Command::new("java");
    curator.args(["-Xmx128m", "-cp", &jars, program, &shared().hosts(), &root]).args(LENGTHS);
    let output = curator.output().expect("Debian's default-jdk-headless");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it takes libcurator-recipes-java: {said}");

    let plain = format!("{root}/plain");
    witness.create(&plain, b"plain text");
    let client = client(&shared().hosts());
    let settings = [("data.compressed", "gzip"), ("limit.node.bytes", "100000")];
    let cache = client.cache(&root, &config(&settings)).unwrap();
    let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
    cache.start().unwrap();
    initialized(&cache);
    // What is no gzip, or too long, is as it came.
    let as_it_is =
        |path: &str, data: Vec<u8>| match path.rsplit('/').next().and_then(|name| name.parse().ok()) {
            Some(len) if len <= 100_000 => written(len),
            _ => data,
        };
    assert_becomes(&cache, &truth_with(&root, as_it_is));
    let of = |status| faults.wait_for(|fault| fault.status == status).path.map(|path| path.to_string());
    assert_eq!(of(Status::Protocol), Some(plain.clone()));
    assert_eq!(of(Status::Limit), Some(format!("{root}/300000")));
    assert_eq!((cache.state().0, faults.told().len()), (State::InStep, 2));

    // Whatever is set is looked at anew.
    let (compressed, _) = witness.get(&format!("{root}/5000")).expect("it was written");
    witness.set(&plain, &compressed);
    witness.set(&format!("{root}/1"), &compressed[..compressed.len() - 1]);
    let told = recorder.wait_for_event(EventKind::NodeUpdated, &plain);
    let update = told.iter().find(|event| event.kind == EventKind::NodeUpdated && event.path == plain);
    let update = update.expect("it was waited for");
    assert_eq!(update.data, Some(written(5000)));
    assert_eq!(update.old_data.as_deref(), Some(&b"plain text"[..]));
    let damaged = format!("{root}/1");
    faults.wait_for(|fault| fault.path.as_ref().is_some_and(|path| path.as_str() == damaged));
    assert_becomes(
        &cache,
        &truth_with(&root, |path, data| match path.rsplit('/').next() {
            Some("plain") => written(5000),
            Some("1") => data,
            _ => as_it_is(path, data),
        }),
    );
}
