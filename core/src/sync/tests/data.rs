//! What is kept of nodes' data, and what is read for it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::sync::Data;
use crate::tree::NodeRef;

/// A world whose cache keeps that of a tree of these nodes, and is in step.
fn world(data: Data, limit_bytes: usize, writes: &[Write]) -> World {
    let mut world = World::new(Options { data, limit_bytes, ..options() }, 1);
    // What is published is not what the server has.
    world.strict = false;
    world.write(writes);
    world.connect();
    world.rest();
    world.asked = Asked::default();
    world
}

fn with<T>(world: &World, path: &str, look: impl FnOnce(NodeRef<'_>) -> T) -> T {
    look(world.version().tree.get(path).and_then(|entry| entry.node()).expect("a node"))
}

fn data_of(world: &World, path: &str) -> Vec<u8> {
    with(world, path, |node| node.data().to_vec())
}

fn zipped(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn set_to(path: &str, data: &[u8]) -> Write {
    Write::Set(format!("{ROOT}{path}"), data.to_vec())
}

#[test]
fn without_data_there_are_names_and_stats_and_large_nodes_are_read_by_their_stats_alone() {
    let writes = [create(""), create("/large"), set("/large", 1 << 20), create("/small"), set("/small", 9)];
    // The limit is one of what is kept.
    let mut world = world(Data::None, 1, &writes);
    assert_eq!((world.state, world.version().tree.bytes()), (State::InStep, 0));
    assert_eq!(with(&world, "large", |node| (node.data().len(), node.stat().data_length)), (0, 1 << 20));
    world.write(&[set("/large", 5000), set("/small", 10)]);
    world.rest();
    assert_eq!((world.state, world.asked.nodes, world.asked.stats), (State::InStep, 1, 1));
    assert_eq!(with(&world, "large", |node| node.stat().data_length), 5000);
    assert_eq!(with(&world, "small", |node| node.stat().data_length), 10);
    // Nor is a small one read with its data again in an update that made it large.
    world.write(&[set("/small", 5000)]);
    world.rest();
    world.write(&[set("/small", 5001)]);
    world.rest();
    assert_eq!((world.state, world.asked.nodes, world.asked.stats), (State::InStep, 2, 2));
    assert_eq!(world.version().zxid, world.server.zxid);
}

#[test]
fn a_stat_does_not_say_that_a_node_may_still_be_read_and_its_list_does() {
    for opens_again in [false, true] {
        let mut world = world(Data::None, 0, &[create(""), create("/a"), set("/a", 10_000), create("/a/b")]);
        let may_read = |world: &World| !world.version().tree.get("a").expect("a name").is_opaque();
        assert!(may_read(&world));
        let a = format!("{ROOT}/a");
        world.write(&[Write::Open(a.clone(), false)]);
        if opens_again {
            world.write(&[Write::Open(a, true)]);
        }
        // Its Stat moves, and the ACL with it.
        world.write(&[create("/a/c")]);
        world.rest();
        assert_eq!((world.state, may_read(&world)), (State::InStep, opens_again));
        assert_eq!(world.asked.lists, 1);
        let children = world.version().tree.get("a").and_then(|entry| entry.children().map(|all| all.len()));
        assert_eq!(children, opens_again.then_some(2));
    }
}

#[test]
fn what_is_gzip_is_kept_uncompressed_and_what_is_not_as_it_came_with_a_fault() {
    let (text, most) = (b"some text ".repeat(100), 2000);
    let (gzip, bomb) = (zipped(&text), zipped(&[0; 2001]));
    let writes = [
        create(""),
        create("/bomb"),
        set_to("/bomb", &bomb),
        create("/gzip"),
        set_to("/gzip", &gzip),
        create("/plain"),
        set_to("/plain", b"plain"),
    ];
    let mut world = world(Data::Gzip { most }, 0, &writes);
    let check = |world: &World| {
        assert_eq!(world.state, State::InStep);
        assert_eq!(data_of(world, ""), b"", "no data is no fault");
        assert_eq!(data_of(world, "gzip"), text);
        assert_eq!(with(world, "gzip", |node| node.stat().data_length as usize), gzip.len());
        assert_eq!((data_of(world, "plain"), data_of(world, "bomb")), (b"plain".to_vec(), bomb.clone()));
        assert_eq!(world.version().tree.bytes(), text.len() + 5 + bomb.len());
    };
    check(&world);
    assert_eq!(world.faults(), 2);
    // What is read again and is what it was is not uncompressed again, and no fault again.
    world.disconnect();
    world.write(&[create("/new")]);
    world.connect();
    world.rest();
    check(&world);
    assert_eq!(world.faults(), 2);
    world.write(&[set_to("/gzip", &gzip[..20]), set_to("/plain", &zipped(b"other"))]);
    world.rest();
    assert_eq!((data_of(&world, "gzip"), data_of(&world, "plain")), (gzip[..20].to_vec(), b"other".to_vec()));
    assert_eq!((world.state, world.faults()), (State::InStep, 3));
    // As long as before, and something else.
    world.write(&[set_to("/plain", &zipped(b"third"))]);
    world.rest();
    assert_eq!(data_of(&world, "plain"), b"third");
}

#[test]
fn a_list_of_bombs_ends_at_the_limit_and_not_with_the_memory() {
    let bomb = zipped(&[0; 1 << 20]);
    let mut writes = wide(500);
    writes.extend((0..500).map(|n| set_to(&format!("/{n}"), &bomb)));
    let world = world(Data::Gzip { most: 1 << 20 }, 5 << 20, &writes);
    assert!(world.cache.is_stopped());
    assert_eq!((world.state, world.faults()), (State::Closed, 1));
}

#[test]
fn the_list_that_shows_whether_a_node_may_be_read_is_asked_for_of_nodes_that_are_kept_alone_too() {
    for opens_again in [false, true] {
        let mut selection = crate::selection::Selection::default();
        selection.limit_depth(0);
        let mut world = World::new(Options { data: Data::None, selection, ..options() }, 1);
        world.strict = false;
        world.write(&[create(""), set("", 10_000), create("/a")]);
        world.connect();
        world.rest();
        world.asked = Asked::default();
        let root = ROOT.to_owned();
        world.write(&[Write::Open(root.clone(), false)]);
        if opens_again {
            world.write(&[Write::Open(root, true)]);
        }
        // Its Stat moves, and the ACL with it.
        world.write(&[create("/b")]);
        world.rest();
        assert!(world.asked.stats <= 4, "{} Stats were asked for", world.asked.stats);
        let may_read = world.version().tree.get("").is_some_and(|root| !root.is_opaque());
        assert_eq!((world.state, may_read, world.asked.lists), (State::InStep, opens_again, 1));
        assert_eq!(world.version().tree.len(), usize::from(opens_again));
    }
}

#[test]
fn an_acl_that_a_stat_shows_to_have_changed_ends_the_candidates() {
    let audited = Options { data: Data::None, audit_interval: Duration::from_secs(1), ..options() };
    let mut world = World::new(audited, 1);
    world.strict = false;
    let large = format!("{ROOT}/00");
    // More than one step of the audit reads.
    let mut writes = vec![create("")];
    writes.extend((0..80).map(|n| create(&format!("/{n:02}"))));
    writes.push(Write::Set(large.clone(), vec![0; 9000]));
    world.write(&writes);
    world.connect();
    world.rest_for(Duration::from_millis(300));
    for _ in 0..20 {
        // The audit reads with what was notified: the large node by its Stat, in a request of its own.
        world.asked = Asked::default();
        world.advance(Duration::from_millis(700));
        world.write(&[set("/70", 3)]);
        while world.deliver() {}
        if world.awaits_stat() {
            // While both are under way, the session loses leave to read the large node, and another one is set.
            world.write(&[Write::Open(large.clone(), false), set("/79", 3)]);
        }
        while world.serve() || world.deliver() {
            let may_read = |world: &World| !world.version().tree.get("00").expect("a name").is_opaque();
            let is_newest = world.version().is_cut && world.version().zxid == world.server.zxid;
            let is_hidden = world.server.aversion(&large) % 2 == 1;
            let is_seen = world.asked.lists > 0;
            assert!(
                !(is_newest && is_hidden && is_seen && may_read(&world)),
                "a cut shows what may not be read"
            );
        }
        if world.server.aversion(&large) % 2 == 1 {
            return;
        }
    }
    panic!("the audit has not come to the large node");
}
