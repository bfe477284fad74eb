//! One history: a server that has lost it, was put back in it or was given another is found out, whatever zxid it has
//! come to meanwhile; and nothing that happens to a healthy server is taken for that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;
use treecache::{Client, EventKind, State, Status, TreeCache};
use treecache_test_support::{
    Acl, Op, Proxy, Server, Verdict, Witness, Writer, expire_session, password_of, unique_root,
};

/// A client may be refused for five rounds before it believes that the server is where it should not be.
const RESET_BOUND: Duration = Duration::from_secs(60);
/// Data of which the Stat alone is read again.
const LARGE: usize = 10_000;
/// So many transactions lie between the partings of two clients: more than the largest distance that is tried.
const APART: usize = 40;

fn writer(server: &Server) -> Writer {
    Writer::connect(server.addr(), Duration::from_secs(600)).expect("a session")
}

/// Lets the server come to just this zxid.
#[track_caller]
fn reach(server: &Server, writer: &mut Writer, zxid: i64) {
    let missing = zxid - server.zxid();
    assert!(missing >= 0, "it is {} beyond", -missing);
    pad(writer, missing as usize);
    assert_eq!(server.zxid(), zxid);
}

/// Transactions outside of the trees that are looked at.
fn pad(writer: &mut Writer, count: usize) {
    for _ in 0..count {
        writer.send_set("/pad", None).expect("a set");
    }
    writer.drain().expect("answers");
}

/// A cache, and all that it was told.
struct Subject {
    root: String,
    cache: TreeCache,
    recorder: Recorder,
    faults: Faults,
}

impl Subject {
    fn of(client: &Client, root: &str, settings: &[(&str, &str)]) -> Subject {
        let cache = client.cache(root, &config(settings)).expect("a cache");
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
        cache.start().expect("started");
        initialized(&cache);
        Subject { root: root.into(), cache, recorder, faults }
    }

    fn resets(&self) -> usize {
        self.faults.told().iter().filter(|fault| fault.status == Status::Reset).count()
    }

    /// Waits until it equals the server and says so.
    #[track_caller]
    fn assert_same(&self, witness: &Witness, what: &str) {
        let deadline = Instant::now() + RESET_BOUND;
        let truth = witness.truth(&self.root);
        loop {
            let state = self.cache.state().0;
            let snapshot = self.cache.snapshot().expect("a snapshot");
            let differences = differences(&snapshot, &truth);
            if state == State::InStep && snapshot.is_cut() && differences.is_empty() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {} is {state:?}, a cut: {}, at {}:\n{}\nfaults: {:#?}",
                self.root,
                snapshot.is_cut(),
                snapshot.zxid(),
                differences.join("\n"),
                self.faults.told()
            );
            thread::sleep(Duration::from_millis(5));
        }
        assert_told_the_tree(&self.recorder, &self.cache);
    }
}

/// A client with a proxy of its own, and caches.
struct Party {
    proxy: Proxy,
    _client: Client,
    subjects: Vec<Subject>,
    /// The zxid that the server had when they parted, and the client had seen.
    seen: i64,
}

impl Party {
    fn of(server: &Server, roots: &[&str]) -> Party {
        let proxy = Proxy::start(server.addr());
        // The server may grant less.
        let client = client_with(&proxy.hosts(), &[("session.timeout.ms", "600000")]);
        let settings = [("root.create", "false"), ("audit.interval.ms", "600000")];
        let subjects = roots.iter().map(|root| Subject::of(&client, root, &settings)).collect();
        Party { proxy, _client: client, subjects, seen: 0 }
    }

    /// Ends the connection when the client has seen all there is.
    fn part(&mut self, server: &Server) {
        for subject in &self.subjects {
            wait_for_state(&subject.cache, State::InStep);
            subject.cache.sync(Some(BOUND)).expect("in sync");
        }
        self.seen = server.zxid();
        self.proxy.refuse(true);
        self.proxy.drop_connections();
        for subject in &self.subjects {
            eventually("the connection is gone", || subject.cache.state().0 != State::InStep);
        }
    }
}

/// Fills an empty server: `/same` always by the same transactions, `/shifted` one later in a second life.
fn fill(writer: &mut Writer, letter: &str, second: bool) {
    let large = letter.repeat(LARGE);
    let mut create = |path: &str, data: &str| {
        writer.create(path, Some(data.as_bytes()), 0).expect("a node");
    };
    create("/same", "root");
    create("/same/config", letter);
    create(&format!("/same/{letter}"), "x");
    create("/same/large", &large);
    create("/same/directory", "");
    create("/same/directory/alike", "alike");
    create("/pad", "");
    if second {
        create("/second", "");
    }
    create("/shifted", "root");
    create("/shifted/directory", "");
    for name in ["1", "2"] {
        create(&format!("/shifted/{letter}{name}"), &format!("small-{letter}"));
        create(&format!("/shifted/directory/{name}"), letter);
    }
    create("/shifted/large", &large);
    writer.set("/same/config", Some(letter.as_bytes())).expect("a set");
}

#[test]
fn a_server_wiped_and_filled_again_by_the_same_script_is_another_wherever_its_zxid_is() {
    const DISTANCES: [i64; 10] = [-2, -1, 0, 1, 2, 3, 5, 8, 13, 30];
    let mut server = Server::start();
    let mut first = writer(&server);
    fill(&mut first, "A", false);
    let mut parties = DISTANCES.map(|_| Party::of(&server, &["/same", "/shifted", "/"]));
    for party in &mut parties {
        pad(&mut first, APART);
        party.part(&server);
    }
    drop(first);
    server.kill();
    server.wipe();
    server.restart();

    let mut second = writer(&server);
    fill(&mut second, "B", true);
    let witness = Witness::connect(&server.hosts());
    let mut silent = Vec::new();
    for (distance, party) in DISTANCES.iter().zip(&parties) {
        reach(&server, &mut second, party.seen + distance);
        party.proxy.refuse(false);
        for subject in &party.subjects {
            subject.assert_same(&witness, &format!("{distance:+} transactions"));
            if subject.root != "/shifted" && subject.resets() == 0 {
                silent.push(format!("{} at {distance:+}", subject.root));
            }
        }
    }
    assert!(silent.is_empty(), "no reset was told: {silent:?}");
    second.set("/same/config", Some(b"later")).expect("a set");
    second.create("/shifted/directory/later", None, 0).expect("a node");
    for subject in parties.iter().flat_map(|party| &party.subjects) {
        subject.assert_same(&witness, "later");
    }
}

#[test]
fn a_server_put_back_to_a_backup_is_another_wherever_it_goes_on_to_whether_or_not_the_session_survives() {
    // How far it has come, and whether the session survives. A new one is a transaction, too.
    const CASES: [(i64, bool); 8] =
        [(-1, true), (-1, false), (0, true), (0, false), (1, true), (2, true), (5, true), (30, true)];
    // Sessions are to survive all parties.
    let mut server = Server::builder().config("maxSessionTimeout=600000").start();
    let mut before = writer(&server);
    for path in
        ["/pad", "/both", "/both/large", "/both/node", "/one", "/one/node", "/none", "/none/node", "/deleted"]
    {
        let data = if path.ends_with("large") { "0".repeat(LARGE) } else { "0".into() };
        before.create(path, Some(data.as_bytes()), 0).expect("a node");
    }
    for number in 0..CASES.len() {
        before.create(&format!("/deleted/{number}"), None, 0).expect("a node");
    }
    let mut parties = CASES.map(|_| Party::of(&server, &["/both", "/one", "/none", "/deleted"]));
    drop(before);
    server.kill();
    let backup = server.back_up();
    server.restart();

    // One way on: everything that may still be there, or not, on the other.
    let mut one_way = writer(&server);
    for (number, party) in parties.iter_mut().enumerate() {
        one_way.create(&format!("/both/A{number}"), Some(b"A"), 0).expect("a node");
        one_way.set("/both/large", Some(&[b'A'; LARGE])).expect("a set");
        one_way.set("/one/node", Some(b"A")).expect("a set");
        one_way.create(&format!("/one/A{number}"), None, 0).expect("a node");
        one_way.delete(&format!("/deleted/{number}")).expect("a deletion");
        pad(&mut one_way, APART);
        party.part(&server);
    }
    drop(one_way);
    server.kill();
    server.put_back(&backup);
    server.restart();

    let mut other_way = writer(&server);
    let witness = Witness::connect(&server.hosts());
    other_way.create("/both/B0", Some(b"B"), 0).expect("a node");
    other_way.set("/both/large", Some(&[b'B'; LARGE])).expect("a set");
    other_way.delete("/both/node").expect("a deletion");
    let mut silent = Vec::new();
    for ((distance, survives), party) in CASES.into_iter().zip(&parties) {
        let session = party.proxy.last_session();
        if !survives {
            expire_session(server.addr(), session, password_of(session)).expect("the session's end");
        }
        reach(&server, &mut other_way, party.seen + distance);
        party.proxy.refuse(false);
        for subject in &party.subjects {
            // By chance at the very zxid, and nothing that is known has changed: nobody can tell.
            if subject.root == "/deleted" && survives && distance == 0 {
                continue;
            }
            let what = format!("{distance:+} transactions, the session survives: {survives}");
            subject.assert_same(&witness, &what);
            // What has not changed on either way looks the same.
            if matches!(&*subject.root, "/both" | "/one") && subject.resets() == 0 {
                silent.push(format!("{} at {what}", subject.root));
            }
        }
        assert_eq!(party.proxy.last_session() == session, survives, "at {distance:+} transactions");
    }
    assert!(silent.is_empty(), "no reset was told: {silent:?}");
    for path in ["/both/later", "/one/later", "/none/later", "/deleted/later"] {
        other_way.create(path, None, 0).expect("a node");
    }
    for subject in parties.iter().flat_map(|party| &party.subjects) {
        subject.assert_same(&witness, "later");
    }
}

/// How many watches the server has, as it says itself.
fn watches(server: &Server) -> usize {
    let answer = server.four_letter("wchs");
    let total = answer.split("Total watches:").nth(1).unwrap_or_else(|| panic!("no watches in {answer:?}"));
    total.trim().parse().expect("a number")
}

#[test]
fn a_server_that_has_swapped_its_database_under_a_live_connection_is_followed() {
    let server = Server::builder().commanded().start();
    let (mut writer, witness) = (writer(&server), Witness::connect(&server.hosts()));
    for path in ["/tree", "/tree/a", "/tree/b", "/tree/directory", "/tree/directory/c", "/tree/large"] {
        writer.create(path, Some(b"old"), 0).expect("a node");
    }
    writer.set("/tree/large", Some(&[b'x'; LARGE])).expect("a set");
    let client = client_with(&server.hosts(), &[("session.timeout.ms", "60000")]);
    let subject = Subject::of(&client, "/tree", &[("audit.interval.ms", "500")]);
    let [same, older, overtaken] = ["same", "older", "overtaken"].map(|name| server.path(name));

    // Nothing has changed, only the watches are gone.
    server.command(&format!("snapshot {same}"));
    server.command(&format!("restore {same}"));
    eventually("the watch is there again", || watches(&server) == 1);
    assert!(subject.recorder.events().iter().all(|event| event.kind != EventKind::ConnectionSuspended));
    // And something changes before they are there again.
    server.command(&format!("restore {same}"));
    writer.set("/tree/a", Some(b"new")).expect("a set");
    writer.create("/tree/directory/d", Some(b"new"), 0).expect("a node");
    writer.delete("/tree/b").expect("a deletion");
    subject.assert_same(&witness, "without a watch");
    eventually("the watch is there again", || watches(&server) == 1);
    assert_eq!(subject.resets(), 0);

    // It has gone on by the time that anybody asks.
    server.command(&format!("snapshot {overtaken}"));
    writer.set("/tree/a", Some(b"gone")).expect("a set");
    writer.create("/tree/gone", None, 0).expect("a node");
    writer.delete("/tree/directory/d").expect("a deletion");
    subject.assert_same(&witness, "followed");
    server.command(&format!("restore {overtaken}"));
    for name in ["e", "f", "g", "h"] {
        writer.create(&format!("/tree/directory/{name}"), None, 0).expect("a node");
    }
    subject.assert_same(&witness, "put back and gone on");
    assert!(subject.resets() > 0, "no reset was told");
    eventually("the watch is there again", || watches(&server) == 1);

    // It stays where it was put back to, and refuses who has seen more. That shows in the answer to a ping, too.
    let pinging = client_with(&server.hosts(), &[("session.timeout.ms", "3000")]);
    let unaudited = Subject::of(&pinging, "/tree", &[("audit.interval.ms", "0")]);
    server.command(&format!("snapshot {older}"));
    writer.set("/tree/a", Some(b"gone, too")).expect("a set");
    writer.create("/tree/directory/gone", None, 0).expect("a node");
    writer.delete("/tree/large").expect("a deletion");
    subject.assert_same(&witness, "followed");
    unaudited.assert_same(&witness, "followed");
    server.command(&format!("restore {older}"));
    subject.assert_same(&witness, "put back");
    unaudited.assert_same(&witness, "put back, and no audit");
    writer.set("/tree/a", Some(b"at last")).expect("a set");
    subject.assert_same(&witness, "at last");
    unaudited.assert_same(&witness, "at last, and no audit");
}

/// Behind 2^31 creations below a node its cversion and pzxid do not move when another child comes.
#[test]
fn children_are_known_below_a_node_whose_creations_are_not_counted_any_more() {
    let server = Server::builder().commanded().start();
    let (mut writer, witness) = (writer(&server), Witness::connect(&server.hosts()));
    for path in ["/full", "/full/a", "/full/b", "/full/c"] {
        writer.create(path, None, 0).expect("a node");
    }
    let mut parties = [Party::of(&server, &["/full", "/"]), Party::of(&server, &["/full", "/"])];
    server.command(&format!("cversion /full {}", i32::MAX));
    let loaded = Party::of(&server, &["/full"]);
    let [at_once, parted] = &mut parties;
    let check = |writer: &mut Writer, parties: &[&Party], what: &str, ops: &[Op]| {
        for op in ops {
            writer.multi(&[*op]).expect("a write");
        }
        for subject in parties.iter().flat_map(|party| &party.subjects) {
            subject.assert_same(&witness, what);
        }
    };
    let create = |path| Op::Create { path, data: None, flags: 0 };
    let delete = |path| Op::Delete { path };
    check(&mut writer, &[at_once, &loaded], "created", &[create("/full/d"), create("/full/d/below")]);
    check(&mut writer, &[at_once, &loaded], "deleted", &[delete("/full/a")]);
    check(&mut writer, &[at_once, &loaded], "replaced", &[delete("/full/b"), create("/full/b")]);
    parted.subjects.iter().for_each(|subject| subject.assert_same(&witness, "followed"));
    for (what, ops) in [
        ("created meanwhile", &[create("/full/e")][..]),
        ("replaced meanwhile", &[delete("/full/e"), create("/full/f")]),
        ("created and deleted meanwhile", &[create("/full/g"), delete("/full/f")]),
        ("recreated meanwhile", &[delete("/full/g"), create("/full/g")]),
    ] {
        parted.part(&server);
        check(&mut writer, &[at_once, &loaded], what, ops);
        parted.proxy.refuse(false);
        check(&mut writer, &[parted], what, &[]);
    }

    // No cut is a mixture while children come and go.
    let cuts = AtomicUsize::new(0);
    thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let names = ["/full/x", "/full/y", "/full/z"];
            let began = Instant::now();
            let goes_on = || {
                let passed = began.elapsed();
                passed < Duration::from_secs(2) || cuts.load(Ordering::SeqCst) == 0 && passed < BOUND
            };
            for name in names.iter().cycle().take_while(|_| goes_on()) {
                writer.create(name, None, 0).expect("a node");
                writer.set(name, Some(b"x")).expect("a set");
                writer.delete(name).expect("a deletion");
            }
        });
        while !busy.is_finished() {
            for subject in [&*at_once, &*parted].iter().flat_map(|party| &party.subjects) {
                let snapshot = subject.cache.snapshot().expect("a snapshot");
                let (node, names) = (snapshot.get_data("/full"), snapshot.get_children("/full"));
                let (counted, known) =
                    (node.expect("it is there").stat().num_children, names.expect("a list").len());
                assert!(
                    !snapshot.is_cut() || counted as usize == known,
                    "{counted} children, and {known} known"
                );
                cuts.fetch_add(usize::from(snapshot.is_cut()), Ordering::SeqCst);
            }
        }
        busy.join().expect("no panic");
    });
    assert!(cuts.load(Ordering::SeqCst) > 0, "no cut was seen");
    for subject in parties.iter().chain([&loaded]).flat_map(|party| &party.subjects) {
        subject.assert_same(&witness, "at rest");
        assert_eq!(subject.resets(), 0, "{}: {:#?}", subject.root, subject.faults.told());
    }
}

/// Connections that end amid anything, expired sessions, private nodes that come and go, nodes that are made again,
/// quotas that are counted in place: that is everyday life.
#[test]
fn a_healthy_server_never_gets_a_reset() {
    // Of its own, as nobody else may write while the whole tree is compared.
    let server = Server::start();
    let (root, witness, mut writer) =
        (unique_root("healthy"), Witness::connect(&server.hosts()), writer(&server));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    writer.create(&root, None, 0).expect("a node");
    let quota = format!("/zookeeper/quota{root}");
    let (limits, counts) = (format!("{quota}/zookeeper_limits"), format!("{quota}/zookeeper_stats"));
    writer.create(&quota, None, 0).expect("a node");
    for path in [&limits, &counts] {
        writer.create(path, Some(b"count=1000000,bytes=1000000000"), 0).expect("a quota");
    }
    let proxy = Proxy::start(server.addr());
    let client = client_with(&proxy.hosts(), &[("session.timeout.ms", "60000")]);
    let subjects = [root.as_str(), "/", "/zookeeper"]
        .map(|root| Subject::of(&client, root, &[("audit.interval.ms", "100")]));

    let path = |random: &mut fastrand::Rng| {
        let below = (0..random.usize(1..=2)).map(|_| format!("/{}", random.u32(..4))).collect::<String>();
        format!("{root}{below}")
    };
    for _ in 0..40 {
        let mut left = random.usize(1..30);
        let verdict = random.choice([Verdict::Drop, Verdict::DropAfter]).expect("one of two");
        let mut cut = move || {
            left = left.saturating_sub(1);
            if left == 1 { verdict } else { Verdict::Pass }
        };
        // Amid what is asked, or what is answered.
        if random.bool() {
            proxy.on_request(Box::new(move |_| cut()));
        } else {
            proxy.on_reply(Box::new(move |_| cut()));
        }
        for _ in 0..random.usize(1..30) {
            let (path, other) = (path(&mut random), path(&mut random));
            // What cannot be done is not done.
            let _ = match random.u32(..10) {
                0..3 => writer.create(&path, Some(b"new"), 0),
                3 => writer.set(&path, Some(&vec![b'x'; random.usize(..LARGE)])),
                4 => writer.delete(&path),
                5 => writer
                    .multi(&[Op::Delete { path: &path }, Op::Create { path: &path, data: None, flags: 0 }]),
                6 => writer
                    .multi(&[Op::Delete { path: &path }, Op::Create { path: &other, data: None, flags: 0 }]),
                7 => writer.set_acl(&path, &Acl::read_only_by("somebody", "else")),
                8 => writer.set_acl(&path, &Acl::open()),
                _ => writer.set(&limits, Some(b"count=2000000,bytes=2000000000")),
            };
        }
        if random.u32(..4) == 0 {
            let session = proxy.last_session();
            expire_session(server.addr(), session, password_of(session)).expect("the session's end");
        }
        thread::sleep(Duration::from_millis(random.u64(..100)));
    }
    proxy.on_request(Box::new(|_| Verdict::Pass));
    proxy.on_reply(Box::new(|_| Verdict::Pass));
    for subject in &subjects {
        if subject.root != "/zookeeper" {
            subject.assert_same(&witness, &format!("seed {seed}"));
        }
        assert_eq!(subject.resets(), 0, "seed {seed}: {:#?}", subject.faults.told());
    }
}
