//! What an ensemble does that a single server does not: leaders that speak of zxids at which nothing has happened,
//! servers that lag, commits that one server has made and another has not. None of it is another history, and none
//! of it fools `sync`.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::common::*;
use treecache::{Client, Error, State, Status, TreeCache, Zxid};
use treecache_test_support::{
    Acl, Ensemble, Proxy, ServerBuilder, Verdict, Witness, Writer, sessions_of, unique_root,
};

const MULTI: i32 = 14;
/// So long that no ping comes by itself, and that no session ends.
const PATIENT: &[(&str, &str)] = &[("session.timeout.ms", "60000")];

/// One ensemble for all tests, which take turns.
fn ensemble() -> MutexGuard<'static, Ensemble> {
    static ENSEMBLE: LazyLock<Mutex<Ensemble>> =
        LazyLock::new(|| Mutex::new(Ensemble::start_with(ServerBuilder::commanded)));
    let mut ensemble = ENSEMBLE.lock().unwrap_or_else(PoisonError::into_inner);
    // A test that has failed leaves what it has done.
    if ensemble.servers().iter().any(|server| server.mode().is_none()) {
        ensemble.kill_all();
        ensemble.start_all();
    }
    ensemble.servers().iter().for_each(|server| server.command("release"));
    ensemble
}

fn writer(ensemble: &Ensemble, server: usize) -> Writer {
    Writer::connect(ensemble.servers()[server].addr(), Duration::from_secs(60)).expect("a session")
}

fn witness(ensemble: &Ensemble, server: usize) -> Witness {
    Witness::connect(&ensemble.servers()[server].hosts())
}

/// A client's way to the servers, of which it reaches one at a time.
enum Way {
    /// Each has a name.
    Names(Vec<Proxy>),
    /// One name stands before all.
    OneName(Proxy),
}

impl Way {
    fn hosts(&self) -> String {
        match self {
            Way::Names(proxies) => proxies.iter().map(Proxy::hosts).collect::<Vec<_>>().join(","),
            Way::OneName(proxy) => proxy.hosts(),
        }
    }

    fn proxies(&self) -> &[Proxy] {
        match self {
            Way::Names(proxies) => proxies,
            Way::OneName(proxy) => std::slice::from_ref(proxy),
        }
    }

    /// How many connections were let through to a server.
    fn tries(&self) -> usize {
        match self {
            // Nobody says which were refused on the way.
            Way::Names(_) => 0,
            Way::OneName(proxy) => proxy.connections_total(),
        }
    }

    /// Ends the connection. The next one can be made to this server alone.
    fn lead_to(&self, ensemble: &Ensemble, server: usize) {
        match self {
            Way::Names(proxies) => {
                proxies.iter().enumerate().for_each(|(at, proxy)| proxy.refuse(at != server));
            }
            Way::OneName(proxy) => proxy.redirect(ensemble.servers()[server].addr()),
        }
        self.proxies().iter().for_each(Proxy::drop_connections);
    }
}

struct Subject {
    way: Way,
    client: Client,
    caches: Vec<(TreeCache, Recorder, Faults)>,
    /// The zxids of the versions seen last.
    zxids: Vec<Zxid>,
}

impl Subject {
    fn new(way: Way) -> Subject {
        let client = client_with(&way.hosts(), PATIENT);
        Subject { way, client, caches: Vec::new(), zxids: Vec::new() }
    }

    fn add(&mut self, root: &str, settings: &[(&str, &str)]) {
        let cache = self.client.cache(root, &config(settings)).expect("a cache");
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
        cache.start().expect("started");
        initialized(&cache);
        self.caches.push((cache, recorder, faults));
        self.zxids.push(Zxid(0));
    }

    #[track_caller]
    fn assert_went_on(&mut self) {
        for ((cache, _, faults), last) in self.caches.iter().zip(&mut self.zxids) {
            let told = faults.told();
            assert!(!told.iter().any(|fault| fault.status == Status::Reset), "{told:#?}");
            let snapshot = cache.snapshot().expect("a snapshot");
            assert!(snapshot.is_cut() && snapshot.zxid() >= *last, "{} behind {last}", snapshot.zxid());
            *last = snapshot.zxid();
        }
    }

    #[track_caller]
    fn assert_data(&self, path: &str, data: &str) {
        let node = self.caches[0].0.get_data(path).expect("a node");
        assert_eq!(String::from_utf8_lossy(node.data()), data);
    }
}

/// Moves all to another server. They are in step there, and nothing was reset.
#[track_caller]
fn move_to(ensemble: &Ensemble, server: usize, subjects: &mut [Subject]) {
    let connections = |subject: &Subject| subject.caches[0].0.stats().connections;
    let before: Vec<_> = subjects.iter().map(|subject| (connections(subject), subject.way.tries())).collect();
    subjects.iter().for_each(|subject| subject.way.lead_to(ensemble, server));
    for (subject, (before, tries)) in subjects.iter_mut().zip(before) {
        eventually("it is connected again", || connections(subject) > before);
        // One that has only just been elected may not serve yet. Five refusals, and the client gives up what it has
        // seen.
        assert!(subject.way.tries() < tries + 4, "it was refused again and again");
        subject.caches.iter().for_each(|(cache, ..)| wait_for_state(cache, State::InStep));
        subject.assert_went_on();
    }
}

/// The leader of a quiet ensemble answers with a zxid that its followers do not know until somebody writes.
#[test]
fn a_quiet_election_is_no_reset_for_who_comes_from_the_leader_to_a_follower() {
    let mut ensemble = ensemble();
    let root = unique_root("quiet");
    let (_, followers) = ensemble.roles();
    let mut before = writer(&ensemble, followers[0]);
    before.create(&root, Some(b"0"), 0).expect("a node");
    before.create(&format!("{root}/other"), None, 0).expect("a node");
    drop(before);
    let names = ensemble.addrs().into_iter().map(Proxy::start).collect();
    let one_name = Proxy::start(ensemble.servers()[followers[0]].addr());
    let mut subjects = [Way::Names(names), Way::OneName(one_name)].map(Subject::new);
    for subject in &mut subjects {
        subject.add(&root, &[]);
        // Each server makes nodes of its own there.
        subject.add("/zookeeper", &[("audit.interval.ms", "300")]);
    }
    for election in 1..=2 {
        let (old, followers) = ensemble.roles();
        move_to(&ensemble, followers[0], &mut subjects);
        ensemble.kill(old);
        ensemble.wait_for_the_others(old);
        let (leader, followers) = ensemble.roles();
        assert_eq!(ensemble.servers()[leader].zxid() & 0xFFFF_FFFF, 0, "it is not quiet");
        move_to(&ensemble, leader, &mut subjects);
        for subject in &mut subjects {
            // Loaded at a zxid that is none.
            subject.add(&format!("{root}/other"), &[]);
            subject.assert_went_on();
        }
        for server in [followers[0], leader] {
            move_to(&ensemble, server, &mut subjects);
        }
        ensemble.launch(old);
        ensemble.wait_until_all_serve();
        move_to(&ensemble, old, &mut subjects);

        let data = election.to_string();
        writer(&ensemble, leader).set(&root, Some(data.as_bytes())).expect("a set");
        move_to(&ensemble, followers[0], &mut subjects);
        let witness = witness(&ensemble, followers[0]);
        for subject in &mut subjects {
            assert_same_as_server(&subject.caches[0].0, &witness, &root);
            subject.assert_data(&root, &data);
            subject.assert_went_on();
        }
    }
}

/// A server that has not applied what a client has seen refuses it, and when it does not any more, its answers are no
/// proof of anything.
#[test]
fn a_server_that_lags_is_no_reset_however_long_it_does() {
    let ensemble = ensemble();
    let (root, (leader, followers)) = (unique_root("lags"), ensemble.roles());
    let mut writer = writer(&ensemble, leader);
    writer.create(&root, Some(b"old"), 0).expect("a node");
    let mut subject = Subject::new(Way::OneName(Proxy::start(ensemble.servers()[leader].addr())));
    subject.add(&root, &[]);
    let cache = &subject.caches[0].0;
    assert_eq!(cache.sync(Some(BOUND)), Ok(()));
    let lagging = &ensemble.servers()[followers[0]];
    eventually("the follower has the node", || lagging.zxid() == ensemble.servers()[leader].zxid());
    lagging.command(&format!("hold {root}"));
    writer.set(&root, Some(b"new")).expect("a set");
    eventually("it is seen", || cache.get_data(&root).is_ok_and(|node| node.data() == b"new"));

    // Refused at first, as it has seen more. Then it does not say so any more, and is let in.
    let session = cache.stats().session_id;
    subject.way.lead_to(&ensemble, followers[0]);
    eventually("it is let in", || sessions_of(lagging).contains(&session));
    for _ in 0..100 {
        assert_ne!(cache.state().0, State::InStep);
        subject.assert_data(&root, "new");
        thread::sleep(Duration::from_millis(10));
    }
    lagging.command("release");
    eventually("it is in step", || cache.state().0 == State::InStep);
    assert_same_as_server(cache, &witness(&ensemble, followers[0]), &root);
    subject.assert_went_on();
}

/// A leader applies its commits between the reads that it answers, one at a time. One slow read is enough to keep what
/// followers have long acknowledged from being applied, and who then only asks is answered in between.
#[test]
fn a_sync_on_a_leader_waits_for_what_is_committed_and_not_applied_there() {
    const WRITES: usize = 5_000;
    let ensemble = ensemble();
    let (root, (leader, followers)) = (unique_root("leader"), ensemble.roles());
    let mut writer = writer(&ensemble, followers[0]);
    let elsewhere = unique_root("elsewhere");
    writer.create(&root, Some(b"0"), 0).expect("a node");
    writer.create(&elsewhere, None, 0).expect("a node");
    let slow = unique_root("slow");
    writer.create(&slow, None, 0).expect("a node");
    let reader = witness(&ensemble, leader);
    let leader = &ensemble.servers()[leader];
    let client = client_with(&leader.hosts(), PATIENT);
    let cache = started(&client, &root, &[]);
    for round in 1..=5 {
        assert_eq!(cache.sync(Some(BOUND)), Ok(()));
        let data = round.to_string();
        leader.command(&format!("hold {slow}"));
        thread::scope(|scope| {
            // Its session may end before it is answered.
            scope.spawn(|| reader.client().get_data(&slow, false).is_ok());
            thread::sleep(Duration::from_millis(100));
            for _ in 0..WRITES {
                writer.send_set(&elsewhere, None).expect("a set");
            }
            writer.send_set(&root, Some(data.as_bytes())).expect("a set");
            writer.drain().expect("acknowledged");
            let synced = scope.spawn(|| cache.sync(Some(BOUND)));
            thread::sleep(Duration::from_millis(100));
            leader.command("release");
            assert_eq!(synced.join().expect("no panic"), Ok(()));
            let node = cache.get_data(&root).expect("a node");
            assert_eq!(String::from_utf8_lossy(node.data()), data);
        });
    }
}

/// ZOOKEEPER-4537: a commit may lie unprocessed on a server until any request comes.
#[test]
fn a_sync_on_a_quiet_ensemble_is_answered_again_and_again() {
    let ensemble = ensemble();
    let (root, (leader, followers)) = (unique_root("again"), ensemble.roles());
    writer(&ensemble, leader).create(&root, None, 0).expect("a node");
    for server in [followers[0], leader] {
        let client = client_with(&ensemble.servers()[server].hosts(), PATIENT);
        let cache = started(&client, &root, &[]);
        for _ in 0..200 {
            // Before a ping would come by itself.
            assert_eq!(cache.sync(Some(Duration::from_secs(15))), Ok(()));
        }
    }
}

/// The paths that are named by the first operations of the client's `multi`s.
fn checked(proxy: &Proxy) -> Arc<Mutex<Vec<String>>> {
    let checked = Arc::new(Mutex::new(Vec::new()));
    let to = checked.clone();
    proxy.on_request(Box::new(move |request| {
        if request.opcode == MULTI {
            // A header of nine bytes, and the length of the path.
            let path = String::from_utf8_lossy(&request.body[13..request.body.len() - 13]).into_owned();
            to.lock().unwrap_or_else(PoisonError::into_inner).push(path);
        }
        Verdict::Pass
    }));
    checked
}

#[test]
fn a_sync_needs_no_permission() {
    let ensemble = ensemble();
    let (leader, followers) = ensemble.roles();
    let mut writer = writer(&ensemble, leader);
    let [open, private] = ["open", "private"].map(unique_root);
    writer.create(&open, Some(b"0"), 0).expect("a node");
    writer.create(&private, Some(b"0"), 0).expect("a node");
    let nobody = Acl::read_only_by("somebody", "else");
    writer.set_acl(&private, &nobody).expect("an ACL");
    for server in [followers[0], leader] {
        let proxy = Proxy::start(ensemble.servers()[server].addr());
        let settings = [PATIENT, &[("connect.timeout.ms", "20000")]].concat();
        let client = client_with(&proxy.hosts(), &settings);
        let readable = started(&client, &open, &[]);
        let faults = Faults::of_client(&client);
        for is_private in [false, true] {
            let checked = checked(&proxy);
            let acl = if is_private { nobody.clone() } else { Acl::open() };
            writer.set_acl("/", &acl).expect("an ACL");
            for round in 0..5 {
                let data = format!("{server} {is_private} {round}");
                writer.set(&open, Some(data.as_bytes())).expect("a set");
                assert_eq!(readable.sync(Some(BOUND)), Ok(()));
                assert_eq!(readable.get_data(&open).expect("a node").data(), data.as_bytes());
            }
            let checked = std::mem::take(&mut *checked.lock().unwrap_or_else(PoisonError::into_inner));
            // What is forbidden is asked for once: it may be noted down somewhere.
            let expected = if is_private { ["/", &open, &open, &open, &open] } else { ["/"; 5] };
            assert_eq!(checked, expected);
        }
        let unreadable = client.cache(&private, &config(&[])).expect("a cache");
        unreadable.start().expect("started");
        initialized(&unreadable);
        assert_eq!(unreadable.sync(Some(BOUND)), Ok(()));
        assert!(matches!(unreadable.get_data(&private), Err(Error::NoPermission(_))));
        assert_eq!(faults.told(), []);
        writer.set_acl("/", &Acl::open()).expect("an ACL");
    }
}

/// Another session asks whatever server what has changed: one that is ahead of the one that the tree is read at, or behind
/// it.
#[test]
fn what_has_changed_is_asked_of_any_server_and_the_tree_is_exact() {
    let ensemble = ensemble();
    let (root, mut rng) = (unique_root("reported"), fastrand::Rng::with_seed(1));
    crate::report::plant_many(&mut writer(&ensemble, 0), &root, 80);
    let mut subject = Subject::new(Way::Names(ensemble.addrs().into_iter().map(Proxy::start).collect()));
    subject.add(&root, &[("verify", "report")]);
    let (mut fewest, mut most) = (u64::MAX, 0);
    for round in 0..12 {
        let cache = &subject.caches[0].0;
        let before = cache.stats();
        subject.way.proxies().iter().for_each(Proxy::drop_connections);
        // Before, while and after the client comes back.
        for server in 0..3 {
            crate::report::change(&mut writer(&ensemble, server), &root, 8, &mut rng);
        }
        eventually("it is connected again", || cache.stats().connections > before.connections);
        crate::report::change(&mut writer(&ensemble, round % 3), &root, 8, &mut rng);
        assert_eq!(cache.sync(Some(BOUND)), Ok(()));
        wait_for_state(cache, State::InStep);
        assert_same_as_server(cache, &witness(&ensemble, round % 3), &root);
        let read = cache.stats().reads - before.reads;
        (fewest, most) = (fewest.min(read), most.max(read));
        subject.assert_went_on();
    }
    assert!(fewest < 800, "{fewest} to {most} of 2431 nodes were read each time");
}
