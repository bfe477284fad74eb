//! Whatever happens to the connection, the server or the session: the right events in the right order, reads served
//! throughout, no busy loop, and afterwards the server's tree.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use treecache::EventKind::{
    ConnectionLost, ConnectionReconnected, ConnectionSuspended, InStep, Initialized, NodeAdded, NodeRemoved,
    NodeUpdated,
};
use treecache::{Client, Error, EventKind, State, Status, TreeCache};
use treecache_test_support::{
    Op, Proxy, Server, Verdict, Witness, Writer, expire_session, password_of, sessions_of, shared,
    unique_root,
};

use common::{
    Faults, Recorded, Recorder, assert_same_as_server, assert_told_the_tree, client_with, config, eventually,
    in_a_process_of_its_own, initialized, resident_bytes, threads_named, wait_for_state,
};

const MULTI_READ: i32 = 22;
const GET_CHILDREN: i32 = 8;
/// The operations that read.
const READS: [i32; 5] = [3, 4, GET_CHILDREN, 12, MULTI_READ];
/// The longest that ending a client may take.
const CLOSE_BOUND: Duration = Duration::from_secs(5);
/// Data of which the Stat alone is read again.
const LARGE: [u8; 10_000] = [b'x'; 10_000];

/// A client, its I/O thread, and a cache, all of which are looked at while they suffer.
struct Subject {
    recorder: Recorder,
    faults: Faults,
    reader: Option<Reader>,
    cache: Arc<TreeCache>,
    client: Client,
    io: IoThread,
}

impl Subject {
    /// Started, and not waited for.
    #[track_caller]
    fn start(hosts: &str, root: &str, settings: &[(&str, &str)]) -> Subject {
        let (client, io) = IoThread::of_a_new_client(hosts, settings);
        let cache = Arc::new(client.cache(root, &config(settings)).expect("a cache"));
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
        cache.start().expect("started");
        Subject { recorder, faults, reader: None, cache, client, io }
    }

    /// Loaded, and in step. From now on reads of the root have to be served.
    #[track_caller]
    fn in_step(hosts: &str, root: &str, settings: &[(&str, &str)]) -> Subject {
        let mut subject = Subject::start(hosts, root, settings);
        initialized(&subject.cache);
        subject.recorder.wait_for_kind(InStep, 1);
        subject.reader = Some(Reader::of(&subject.cache, root));
        subject
    }

    fn count(&self, kind: EventKind) -> usize {
        self.recorder.events().iter().filter(|event| event.kind == kind).count()
    }

    /// Waits until it is in step once more, and returns what was told since event number `from`.
    #[track_caller]
    fn back_in_step(&self, from: usize) -> Vec<Recorded> {
        let told = self.recorder.wait_for(|events| {
            let since = events.get(from..).unwrap_or_default();
            since.iter().any(|event| event.kind == ConnectionReconnected)
                && since.iter().any(|event| event.kind == InStep)
        });
        told[from..].to_vec()
    }

    /// All is as it should be afterwards.
    #[track_caller]
    fn assert_recovered(&mut self, witness: &Witness, root: &str) {
        assert_same_as_server(&self.cache, witness, root);
        assert_told_the_tree(&self.recorder, &self.cache);
        if let Some(reader) = self.reader.take() {
            reader.stop();
        }
        self.io.assert_calm(Duration::from_millis(300));
    }

    /// Ends the client.
    #[track_caller]
    fn close(self) {
        let Subject { client, cache, .. } = self;
        let began = Instant::now();
        drop(client);
        drop(cache);
        assert!(began.elapsed() < CLOSE_BOUND, "it took {:?} to close", began.elapsed());
    }
}

/// Reads all the time, and does not accept that a read fails.
struct Reader {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Option<Error>>,
}

impl Reader {
    fn of(cache: &Arc<TreeCache>, path: &str) -> Reader {
        let ends = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (cache, path, ends) = (cache.clone(), path.to_owned(), ends.clone());
            move || {
                let mut seen = false;
                while !ends.load(Ordering::Relaxed) {
                    match cache.get_data(&path) {
                        Ok(_) => seen = true,
                        // A root that is not there is not there.
                        Err(Error::NoNode(_)) if !seen => {}
                        Err(error) => return Some(error),
                    }
                    if let Err(error) = cache.snapshot() {
                        return Some(error);
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                None
            }
        });
        Reader { ends, thread }
    }

    #[track_caller]
    fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        let failure = self.thread.join().expect("the reader's end");
        assert_eq!(failure, None, "a read that was not served");
    }
}

/// The I/O thread of one client, by its id.
struct IoThread {
    id: u32,
}

impl IoThread {
    /// Makes a client, and finds its thread: the one that was not there before.
    #[track_caller]
    fn of_a_new_client(hosts: &str, settings: &[(&str, &str)]) -> (Client, IoThread) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let before = threads_named("treecache-io");
        let client = client_with(hosts, settings);
        let mut new = None;
        eventually("the client's I/O thread", || {
            new = threads_named("treecache-io").difference(&before).next().copied();
            new.is_some()
        });
        (client, IoThread { id: new.expect("a thread") })
    }

    fn cpu_time(&self) -> Duration {
        let file = format!("/proc/self/task/{}/stat", self.id);
        let stat = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("clock ticks")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Watches the thread for a while in which it has next to nothing to do.
    #[track_caller]
    fn assert_calm(&self, watched: Duration) {
        let (began, before) = (Instant::now(), self.cpu_time());
        thread::sleep(watched);
        let (used, passed) = (self.cpu_time() - before, began.elapsed());
        // A tick of the clock may fall on either side.
        assert!(used < passed / 5 + Duration::from_millis(20), "{used:?} of CPU time in {passed:?}");
    }
}

/// The kinds of what was told, several node events on end as one.
fn outline(events: &[Recorded]) -> Vec<&'static str> {
    let mut outline: Vec<&str> = events
        .iter()
        .map(|event| match event.kind {
            ConnectionSuspended => "suspended",
            ConnectionReconnected => "reconnected",
            ConnectionLost => "lost",
            Initialized => "initialized",
            InStep => "in step",
            _ => "nodes",
        })
        .collect();
    outline.dedup_by(|next, before| next == before && *next == "nodes");
    outline
}

/// Kind, and path below `root`, of the node events.
fn changes<'e>(events: &'e [Recorded], root: &str) -> Vec<(EventKind, &'e str)> {
    let of_nodes = events.iter().filter(|event| event.is_of_a_node());
    of_nodes.map(|event| (event.kind, &event.path[root.len()..])).collect()
}

fn witness() -> Witness {
    Witness::connect(&shared().hosts())
}

/// `paths` below `root`, and `root` itself, each with its path as data.
fn plant(witness: &Witness, root: &str, paths: &[&str]) {
    witness.create(root, b"root");
    for path in paths {
        witness.create(&format!("{root}{path}"), path.as_bytes());
    }
}

/// A tree that takes several rounds to read: 1 + 30 + 300 nodes, three of them large.
fn plant_forest(root: &str) {
    let mut writer = Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session");
    writer.create(root, None, 0).expect("the root");
    for i in 0..30 {
        let parent = format!("{root}/p{i:02}");
        let data = if i % 10 == 0 { &LARGE[..] } else { parent.as_bytes() };
        writer.send(&Op::Create { path: &parent, data: Some(data), flags: 0 }).expect("a create");
        for j in 0..10 {
            let path = format!("{parent}/c{j}");
            writer
                .send(&Op::Create { path: &path, data: Some(path.as_bytes()), flags: 0 })
                .expect("a create");
        }
    }
    writer.drain().expect("a forest");
}

/// Changes the forest in every way there is; where, depends on the round.
fn disturb(witness: &Witness, root: &str, round: usize) {
    let parent = format!("{root}/p{:02}", round % 30);
    // The same names, numbers of children and versions, but other nodes.
    witness.delete_recursive(&parent);
    witness.create(&parent, b"again");
    for j in 0..10 {
        witness.create(&format!("{parent}/c{j}"), b"again");
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (next, other) = (NEXT.fetch_add(1, Ordering::Relaxed), format!("{root}/p{:02}", (round + 7) % 30));
    witness.set(&other, format!("round {round}").as_bytes());
    witness.create(&format!("{other}/new{next}"), b"new");
    witness.create(&format!("{other}/new{next}/below"), b"below");
    let third = format!("{root}/p{:02}", (round + 14) % 30);
    for name in witness.children(&third).expect("children").into_iter().take(1) {
        witness.delete_recursive(&format!("{third}/{name}"));
    }
}

/// Cuts connection number `connection` in place of its reply number `reply`, after `before` was done. Says whether it
/// came to that.
fn cut_at(
    proxy: &Proxy,
    connection: usize,
    reply: usize,
    before: impl FnOnce() + Send + 'static,
) -> Arc<AtomicBool> {
    let cut = Arc::new(AtomicBool::new(false));
    let (done, mut before, mut replies) = (cut.clone(), Some(before), 0);
    proxy.on_reply(Box::new(move |frame| {
        if frame.connection != connection || frame.xid < 0 {
            return Verdict::Pass;
        }
        replies += 1;
        match before.take_if(|_| replies == reply) {
            Some(before) => {
                before();
                done.store(true, Ordering::SeqCst);
                Verdict::Drop
            }
            None => Verdict::Pass,
        }
    }));
    cut
}

/// Cuts off the subject, has `meanwhile` done, and lets it come back. Returns what it was told.
#[track_caller]
fn while_disconnected(proxy: &Proxy, subject: &Subject, meanwhile: impl FnOnce()) -> Vec<Recorded> {
    let from = subject.recorder.events().len();
    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&subject.cache, State::Suspended);
    meanwhile();
    proxy.refuse(false);
    subject.back_in_step(from)
}

// ---- the connection ----

#[test]
fn a_dropped_connection_is_suspended_reconnected_and_in_step_again_and_nothing_is_lost() {
    let (root, witness) = (unique_root("dropped"), witness());
    plant(&witness, &root, &["/a", "/a/b"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let session = proxy.last_session();
    for _ in 0..5 {
        let from = subject.recorder.events().len();
        proxy.drop_connections();
        let told = subject.back_in_step(from);
        assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
        assert_eq!(proxy.last_session(), session, "the session is the same");
    }
    let told = while_disconnected(&proxy, &subject, || {
        witness.set(&format!("{root}/a"), b"changed");
        witness.delete(&format!("{root}/a/b"));
        witness.create(&format!("{root}/c"), b"");
    });
    assert_eq!(outline(&told), ["suspended", "reconnected", "nodes", "in step"]);
    assert_eq!(changes(&told, &root), [(NodeRemoved, "/a/b"), (NodeUpdated, "/a"), (NodeAdded, "/c")]);
    let fault = subject.faults.wait_for(|fault| fault.status == Status::Connection);
    assert!(fault.message.contains(&proxy.hosts()), "{}", fault.message);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_node_recreated_while_disconnected_is_removed_and_added_although_its_version_is_the_same() {
    let (root, witness) = (unique_root("recreated"), witness());
    plant(&witness, &root, &["/same", "/other", "/stays"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let told = while_disconnected(&proxy, &subject, || {
        for (path, data) in [("/same", "/same"), ("/other", "another")] {
            witness.delete(&format!("{root}{path}"));
            witness.create(&format!("{root}{path}"), data.as_bytes());
        }
    });
    let expected =
        [(NodeRemoved, "/other"), (NodeRemoved, "/same"), (NodeAdded, "/other"), (NodeAdded, "/same")];
    assert_eq!(changes(&told, &root), expected);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_root_recreated_while_disconnected_takes_its_whole_old_tree_with_it() {
    let (root, witness) = (unique_root("root-recreated"), witness());
    plant(&witness, &root, &["/a", "/a/b"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let told = while_disconnected(&proxy, &subject, || {
        witness.delete_recursive(&root);
        plant(&witness, &root, &["/a", "/a/b"]);
    });
    let expected = [
        (NodeRemoved, "/a/b"),
        (NodeRemoved, "/a"),
        (NodeRemoved, ""),
        (NodeAdded, ""),
        (NodeAdded, "/a"),
        (NodeAdded, "/a/b"),
    ];
    assert_eq!(changes(&told, &root), expected);
    subject.reader.take(); // it may have seen that there was no root for a moment
    subject.assert_recovered(&witness, &root);
}

#[test]
fn children_recreated_while_disconnected_are_found_although_their_number_and_the_cversion_are_the_same() {
    let (root, witness) = (unique_root("children"), witness());
    plant(&witness, &root, &["/p", "/p/a", "/p/b", "/q", "/q/a", "/q/a/x", "/r", "/r/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let before = witness.stat(&format!("{root}/p")).expect("the parent");
    while_disconnected(&proxy, &subject, || {
        // The parent too is another one, and like the old.
        witness.delete_recursive(&format!("{root}/p"));
        for path in ["/p", "/p/b", "/p/c"] {
            witness.create(&format!("{root}{path}"), path.as_bytes());
        }
        // The parent is the same, its children have the names of the old, and one is left without children.
        witness.delete_recursive(&format!("{root}/q/a"));
        witness.create(&format!("{root}/q/a"), b"/q/a");
        // One goes, and one comes.
        witness.delete(&format!("{root}/r/a"));
        witness.create(&format!("{root}/r/b"), b"/r/b");
    });
    let after = witness.stat(&format!("{root}/p")).expect("the parent");
    assert_eq!((before.cversion, before.num_children), (after.cversion, after.num_children));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_connection_lost_between_a_data_reply_and_its_children_reply_leaves_no_child_unread() {
    let witness = Arc::new(witness());
    for lists_before in 0..4 {
        let root = unique_root("between");
        plant_forest(&root);
        let proxy = Proxy::start(shared().addr());
        let lists = Arc::new(Mutex::new(Vec::new()));
        let asked = lists.clone();
        proxy.on_request(Box::new(move |request| {
            let is_list = request.opcode == MULTI_READ && has_list(request.body);
            if request.connection == 1 && is_list || request.opcode == 12 {
                asked.lock().expect("xids").push(request.xid);
            }
            Verdict::Pass
        }));
        let cut = Arc::new(AtomicBool::new(false));
        let (done, changer, below) = (cut.clone(), witness.clone(), root.clone());
        proxy.on_reply(Box::new(move |reply| {
            let is_the_one = lists.lock().expect("xids").get(lists_before) == Some(&reply.xid);
            if reply.connection != 1 || !is_the_one {
                return Verdict::Pass;
            }
            for round in 0..3 {
                disturb(&changer, &below, round * 5);
            }
            done.store(true, Ordering::SeqCst);
            Verdict::Drop
        }));
        let mut subject = Subject::start(&proxy.hosts(), &root, &[]);
        initialized(&subject.cache);
        assert!(cut.load(Ordering::SeqCst) || lists_before > 1, "there was no such reply");
        subject.assert_recovered(&witness, &root);
    }
}

/// Whether one of the reads of this multiRead is that of a child list.
fn has_list(mut body: &[u8]) -> bool {
    let int = |bytes: &[u8]| i32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
    while body.len() > 9 {
        let (kind, path) = (int(body), int(&body[9..]) as usize);
        if kind == GET_CHILDREN {
            return true;
        }
        body = &body[9 + 4 + path + 1..];
    }
    false
}

#[test]
fn a_first_load_cut_off_at_any_reply_is_completed_on_the_next_connection() {
    let witness = Arc::new(witness());
    let root = unique_root("load");
    plant_forest(&root);
    let mut cuts = 0;
    for reply in 1..=10 {
        let proxy = Proxy::start(shared().addr());
        let (changer, below) = (witness.clone(), root.clone());
        let cut = cut_at(&proxy, 1, reply, move || disturb(&changer, &below, reply));
        let mut subject = Subject::start(&proxy.hosts(), &root, &[]);
        initialized(&subject.cache);
        let told = subject.recorder.wait_for_kind(InStep, 1);
        if cut.load(Ordering::SeqCst) {
            cuts += 1;
            let told: Vec<_> = outline(&told).into_iter().filter(|kind| *kind != "nodes").collect();
            // The last replies may be those that complete it.
            let in_time = told == ["suspended", "reconnected", "initialized", "in step"];
            assert!(in_time || reply > 4, "reply {reply}: {told:?}");
        }
        subject.assert_recovered(&witness, &root);
    }
    assert!(cuts >= 4, "the load was cut off at {cuts} replies only");
}

#[test]
fn a_first_load_cut_off_again_and_again_is_completed_in_the_end() {
    let witness = Arc::new(witness());
    let root = unique_root("load-again");
    plant_forest(&root);
    let proxy = Proxy::start(shared().addr());
    let (changer, below, mut replies, mut last) = (witness.clone(), root.clone(), 0, 0);
    proxy.on_reply(Box::new(move |reply| {
        if reply.connection != last {
            (last, replies) = (reply.connection, 0);
        }
        replies += 1;
        // One reply more each time.
        if reply.connection > 8 || replies <= reply.connection {
            return Verdict::Pass;
        }
        disturb(&changer, &below, reply.connection);
        if reply.connection % 2 == 0 { Verdict::Drop } else { Verdict::DropAfter }
    }));
    let mut subject = Subject::start(&proxy.hosts(), &root, &[]);
    initialized(&subject.cache);
    subject.assert_recovered(&witness, &root);
    assert!(proxy.connections_total() > 3, "it was hardly cut off");
    assert_eq!(subject.count(ConnectionLost), 0);
}

#[test]
fn a_verification_cut_off_at_any_reply_is_made_again() {
    let witness = Arc::new(witness());
    let root = unique_root("verify");
    plant_forest(&root);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let mut cuts = 0;
    for reply in 1..=10 {
        let from = subject.recorder.events().len();
        proxy.refuse(true);
        proxy.drop_connections();
        wait_for_state(&subject.cache, State::Suspended);
        disturb(&witness, &root, reply);
        proxy.refuse(false);
        // Refused attempts are counted too, so which connection it will be is found out by the first reply.
        let (changer, below, mut connection, mut replies) = (witness.clone(), root.clone(), 0, 0);
        let cut = Arc::new(AtomicBool::new(false));
        let done = cut.clone();
        proxy.on_reply(Box::new(move |frame| {
            if connection == 0 {
                connection = frame.connection;
            }
            replies += usize::from(frame.connection == connection && frame.xid > 0);
            if frame.connection != connection || frame.xid <= 0 || replies != reply {
                return Verdict::Pass;
            }
            disturb(&changer, &below, reply + 3);
            done.store(true, Ordering::SeqCst);
            Verdict::Drop
        }));
        let told = subject.back_in_step(from);
        if cut.load(Ordering::SeqCst) {
            cuts += 1;
            let told: Vec<_> = outline(&told).into_iter().filter(|kind| *kind != "nodes").collect();
            assert_eq!(told[..3], ["suspended", "reconnected", "suspended"], "reply {reply}");
        }
        assert_same_as_server(&subject.cache, &witness, &root);
        proxy.on_reply(Box::new(|_| Verdict::Pass));
    }
    assert!(cuts >= 3, "the verification was cut off at {cuts} replies only");
    assert_eq!((subject.count(ConnectionLost), subject.count(Initialized)), (0, 1));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_tree_is_read_again_after_a_reconnect_only_when_something_happened_meanwhile() {
    // A server of its own: whatever happens there moves the zxid.
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    let root = "/quiet";
    // More than there are anchors, of which 32 take eight requests.
    let nodes: Vec<String> = (0..300).map(|n| format!("/n{n}")).chain(["/a".to_owned()]).collect();
    plant(&witness, root, &nodes.iter().map(String::as_str).collect::<Vec<_>>());
    let proxy = Proxy::start(server.addr());
    let mut subject = Subject::in_step(&proxy.hosts(), root, &[]);
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    proxy.on_request(Box::new(move |request| {
        counter.fetch_add(usize::from(READS.contains(&request.opcode)), Ordering::SeqCst);
        Verdict::Pass
    }));
    for _ in 0..5 {
        let told = while_disconnected(&proxy, &subject, || ());
        assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
    }
    let anchors = reads.swap(0, Ordering::SeqCst) / 5;
    assert!((1..=8).contains(&anchors), "{anchors} requests each time, though nothing happened");

    let told = while_disconnected(&proxy, &subject, || witness.create("/elsewhere", b""));
    assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
    let verified = reads.load(Ordering::SeqCst);
    assert!(verified > anchors, "something happened, it could have been in the tree: {verified} requests");
    // What happens before the connection is lost is known, and no reason to read either.
    witness.set("/quiet/a", b"changed");
    subject.recorder.wait_for_event(NodeUpdated, "/quiet/a");
    assert_same_as_server(&subject.cache, &witness, root);
    // What is known is not always the last: the zxid of a change elsewhere is learnt with the next ping.
    let before = reads.load(Ordering::SeqCst);
    while_disconnected(&proxy, &subject, || ());
    assert_eq!(reads.load(Ordering::SeqCst), before + anchors, "nothing happened");
    subject.assert_recovered(&witness, root);
}

#[test]
fn a_black_hole_is_noticed_within_the_session_timeout_and_in_the_end_the_session_is_lost() {
    let (root, witness) = (unique_root("black-hole"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let settings = [("session.timeout.ms", "6000"), ("connect.timeout.ms", "500")];
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &settings);
    let began = Instant::now();
    proxy.blackhole(true);
    subject.recorder.wait_for_kind(ConnectionSuspended, 1);
    assert!(began.elapsed() < Duration::from_secs(6), "noticed after {:?}", began.elapsed());
    wait_for_state(&subject.cache, State::Suspended);
    assert!(subject.cache.state().1.is_some_and(|age| age > Duration::from_millis(500)));
    subject.io.assert_calm(Duration::from_secs(1));
    subject.recorder.wait_for_kind(ConnectionLost, 1);
    wait_for_state(&subject.cache, State::Lost);
    witness.set(&format!("{root}/a"), b"changed");
    subject.io.assert_calm(Duration::from_secs(1));
    proxy.blackhole(false);
    let told = subject.recorder.wait_for_kind(InStep, 2);
    let told = outline(&told[told.iter().position(|event| event.kind == ConnectionSuspended).expect("it")..]);
    assert_eq!(told, ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn the_state_has_changed_before_a_listener_is_told_so() {
    let (root, witness) = (unique_root("state"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asked, note) = (Arc::downgrade(&subject.cache), seen.clone());
    subject
        .cache
        .listen(move |event| {
            if let Some(cache) = asked.upgrade() {
                note.lock().expect("states").push((event.kind, cache.state().0));
            }
        })
        .expect("a listener");
    // It stays as it is until the listener has looked.
    let looked = |kind, times| {
        eventually("the listener was told", || {
            seen.lock().expect("states").iter().filter(|(told, _)| *told == kind).count() == times
        });
    };
    for round in 1..=20 {
        while_disconnected(&proxy, &subject, || looked(ConnectionSuspended, round));
        looked(InStep, round);
        wait_for_state(&subject.cache, State::InStep);
    }
    let mut wrong = seen.lock().expect("states").clone();
    wrong.retain(|(kind, state)| match kind {
        ConnectionSuspended => *state != State::Suspended,
        InStep => *state != State::InStep,
        _ => false,
    });
    assert_eq!(wrong, []);
}

#[test]
fn refused_connections_are_tried_again_calmly_until_they_are_not() {
    let (root, witness) = (unique_root("refused"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("session.timeout.ms", "2000")]);
    let (from, before) = (subject.recorder.events().len(), proxy.connections_total());
    proxy.refuse(true);
    proxy.drop_connections();
    subject.recorder.wait_for_kind(ConnectionSuspended, 1);
    subject.io.assert_calm(Duration::from_secs(1));
    subject.recorder.wait_for_kind(ConnectionLost, 1);
    subject.io.assert_calm(Duration::from_secs(2));
    let attempts = proxy.connections_total() - before;
    assert!((2..100).contains(&attempts), "{attempts} attempts");
    witness.create(&format!("{root}/b"), b"");
    proxy.refuse(false);
    let told = subject.back_in_step(from);
    assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]);
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_client_that_finds_nobody_waits_calmly_and_loads_when_somebody_comes() {
    let mut server = Server::start();
    let hosts = server.hosts();
    let root = "/late";
    plant(&Witness::connect(&hosts), root, &["/a"]);
    server.kill();
    let mut subject = Subject::start(&hosts, root, &[("session.timeout.ms", "2000")]);
    subject.faults.wait_for(|fault| fault.status == Status::Connection && fault.message.contains(&hosts));
    assert_eq!(subject.cache.wait_initialized(Some(Duration::from_secs(3))), Err(Error::Timeout));
    assert_eq!(subject.cache.state(), (State::Loading, None));
    subject.io.assert_calm(Duration::from_secs(1));
    assert_eq!(subject.recorder.events(), []);
    server.restart();
    initialized(&subject.cache);
    assert_eq!(outline(&subject.recorder.wait_for_kind(InStep, 1)), ["nodes", "initialized", "in step"]);
    subject.assert_recovered(&Witness::connect(&hosts), root);
}

#[test]
fn of_several_servers_one_that_lives_is_enough() {
    let (root, witness) = (unique_root("several"), witness());
    plant(&witness, &root, &["/a"]);
    // One refuses, one accepts and is silent, one has no address.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let silent = silent.local_addr().map(|addr| (silent, addr.to_string())).expect("its number");
    for dead in ["127.0.0.1:1", &silent.1, "no-such-host.invalid:2181"] {
        for _ in 0..4 {
            let proxy = Proxy::start(shared().addr());
            let hosts = format!("{dead},{}", proxy.hosts());
            let mut subject = Subject::in_step(&hosts, &root, &[("connect.timeout.ms", "300")]);
            let from = subject.recorder.events().len();
            proxy.drop_connections();
            assert_eq!(
                outline(&subject.back_in_step(from)),
                ["suspended", "reconnected", "in step"],
                "{dead}"
            );
            subject.assert_recovered(&witness, &root);
        }
    }
}

/// What every cut has to hold: all money, and the token in exactly one place, with the number of the transaction that
/// put it there as its data and as that of the last account paid.
#[track_caller]
fn assert_is_a_cut(snapshot: &treecache::Snapshot, root: &str) {
    let read = |path: &str| snapshot.get_data(format!("{root}{path}")).ok();
    let sum: i64 = (0..ACCOUNTS)
        .map(|i| read(&format!("/a{i:02}")).expect("an account"))
        .map(|node| String::from_utf8_lossy(node.data()).parse::<i64>().expect("a balance"))
        .sum();
    assert_eq!(sum, 100 * ACCOUNTS as i64, "money at {:?}", snapshot.zxid());
    let places: Vec<_> = (0..3).filter_map(|i| read(&format!("/p{i}/token"))).collect();
    assert_eq!(places.len(), 1, "tokens at {:?}", snapshot.zxid());
    let serial = read("/serial").expect("the serial number");
    assert_eq!(places[0].data(), serial.data(), "the token's number at {:?}", snapshot.zxid());
    assert_eq!(places[0].stat().czxid, serial.stat().mzxid, "the token's zxid at {:?}", snapshot.zxid());
}

const ACCOUNTS: usize = 20;

#[test]
fn every_cut_is_exact_while_transactions_go_on_and_the_connection_is_lost_again_and_again() {
    let (root, witness) = (unique_root("chaos"), witness());
    let mut writer = Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session");
    writer.create(&root, None, 0).expect("the root");
    for i in 0..ACCOUNTS {
        writer.create(&format!("{root}/a{i:02}"), Some(b"100"), 0).expect("an account");
    }
    for i in 0..3 {
        writer.create(&format!("{root}/p{i}"), None, 0).expect("a place");
    }
    let (serial, token) = (format!("{root}/serial"), format!("{root}/p0/token"));
    writer
        .multi(&[
            Op::Create { path: &serial, data: Some(b"0"), flags: 0 },
            Op::Create { path: &token, data: Some(b"0"), flags: 0 },
        ])
        .expect("the token");
    let proxy = Proxy::start(shared().addr());
    let settings = [("session.timeout.ms", "2000"), ("connect.timeout.ms", "500")];
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &settings);
    let (writing, reading, cuts) = (AtomicBool::new(true), AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut balances, mut place) = ([100i64; ACCOUNTS], 0);
            for n in 1usize.. {
                if !writing.load(Ordering::Relaxed) {
                    break;
                }
                let (from, to, amount) = (n % ACCOUNTS, n * 7 % ACCOUNTS, (n % 13) as i64);
                balances[from] -= amount;
                balances[to] += amount;
                let next = n % 3;
                let accounts = [from, to].map(|i| (format!("{root}/a{i:02}"), balances[i].to_string()));
                let (old, new) = (format!("{root}/p{place}/token"), format!("{root}/p{next}/token"));
                let number = n.to_string();
                writer
                    .multi(&[
                        Op::Set { path: &accounts[0].0, data: Some(accounts[0].1.as_bytes()) },
                        Op::Set { path: &accounts[1].0, data: Some(accounts[1].1.as_bytes()) },
                        Op::Delete { path: &old },
                        Op::Create { path: &new, data: Some(number.as_bytes()), flags: 0 },
                        Op::Set { path: &serial, data: Some(number.as_bytes()) },
                    ])
                    .expect("a transaction");
                place = next;
                if n % 8 == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        scope.spawn(|| {
            let mut last = treecache::Zxid(0);
            while reading.load(Ordering::Relaxed) {
                let snapshot = subject.cache.snapshot().expect("a snapshot");
                assert!(snapshot.zxid() >= last, "from {last:?} back to {:?}", snapshot.zxid());
                if snapshot.is_cut() {
                    cuts.fetch_add(usize::from(snapshot.zxid() > last), Ordering::Relaxed);
                    assert_is_a_cut(&snapshot, &root);
                }
                last = snapshot.zxid();
            }
        });
        for round in 0..18u64 {
            // Some connections are soon lost, and some are good for a while.
            thread::sleep(Duration::from_millis(if round % 3 == 0 { 1100 } else { 20 + round * 37 % 150 }));
            proxy.set_delay(Duration::from_millis(if round % 4 == 3 { 3 } else { 0 }));
            let suspended = subject.count(ConnectionSuspended);
            match round % 6 {
                2 => {
                    let session = proxy.last_session();
                    expire_session(shared().addr(), session, password_of(session)).expect("its end");
                }
                // In place of one of the next replies or notifications.
                0 | 4 => {
                    let mut left = round + 1;
                    proxy.on_reply(Box::new(move |_| {
                        left = left.wrapping_sub(1);
                        if left == 0 { Verdict::Drop } else { Verdict::Pass }
                    }));
                }
                5 => {
                    proxy.blackhole(true);
                    thread::sleep(Duration::from_millis(300));
                    proxy.drop_connections();
                    proxy.blackhole(false);
                }
                _ => proxy.drop_connections(),
            }
            subject.recorder.wait_for_kind(ConnectionSuspended, suspended + 1);
            eventually("it is connected again", || {
                subject.count(ConnectionReconnected) == subject.count(ConnectionSuspended)
            });
        }
        writing.store(false, Ordering::Relaxed);
        proxy.on_reply(Box::new(|_| Verdict::Pass));
        assert_same_as_server(&subject.cache, &witness, &root);
        reading.store(false, Ordering::Relaxed);
    });
    let cuts = cuts.into_inner();
    assert!(cuts > 20, "{cuts} cuts");
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_cache_of_everything_is_verified_after_a_reconnect_and_leaves_out_what_is_zookeepers() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    witness.ensure_path("/a/b");
    witness.ensure_path("/c");
    let proxy = Proxy::start(server.addr());
    let mut subject = Subject::in_step(&proxy.hosts(), "/", &[]);
    let told = while_disconnected(&proxy, &subject, || {
        witness.delete_recursive("/a");
        witness.ensure_path("/d/e");
    });
    let told: Vec<(EventKind, &str)> = changes(&told, "");
    assert_eq!(told, [(NodeRemoved, "/a/b"), (NodeRemoved, "/a"), (NodeAdded, "/d"), (NodeAdded, "/d/e")]);
    subject.assert_recovered(&witness, "/");
}

#[test]
fn a_chroot_is_kept_through_reconnects_and_new_sessions() {
    let (chroot, witness) = (unique_root("chroot"), witness());
    plant(&witness, &chroot, &["/root", "/root/a", "/rooted"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&format!("{}{chroot}", proxy.hosts()), "/root", &[]);
    for round in 0..2 {
        let told = while_disconnected(&proxy, &subject, || {
            if round == 1 {
                let session = proxy.last_session();
                expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
            }
            witness.create(&format!("{chroot}/root/new{round}"), b"new");
            witness.create(&format!("{chroot}/rooted/new{round}"), b"new");
        });
        assert_eq!(changes(&told, "/root"), [(NodeAdded, &format!("/new{round}")[..])]);
        witness.set(&format!("{chroot}/root/a"), format!("{round}").as_bytes());
        subject.recorder.wait_for(|events| {
            events
                .iter()
                .any(|event| event.is(NodeUpdated, "/root/a") && event.data == Some(vec![b'0' + round]))
        });
    }
    wait_for_state(&subject.cache, State::InStep);
    subject.reader.take().expect("a reader").stop();
    assert_told_the_tree(&subject.recorder, &subject.cache);
    let names = subject.cache.get_children("/root").expect("children");
    assert!(names.names().eq(["a", "new0", "new1"]));
}

// ---- the server ----

#[test]
fn a_server_that_is_killed_and_restarted_is_found_again_with_the_same_session() {
    let mut server = Server::start();
    let root = "/killed";
    {
        let witness = Witness::connect(&server.hosts());
        plant(&witness, root, &["/a", "/a/b", "/c"]);
    }
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "40000")]);
    for round in 1..=2 {
        let from = subject.recorder.events().len();
        server.kill();
        wait_for_state(&subject.cache, State::Suspended);
        subject.io.assert_calm(Duration::from_secs(1));
        assert_eq!(subject.cache.get_data("/killed/a/b").expect("the last version").data(), b"/a/b");
        server.restart();
        let told = subject.back_in_step(from);
        assert_eq!(outline(&told), ["suspended", "reconnected", "in step"]);
        let witness = Witness::connect(&server.hosts());
        witness.set("/killed/c", format!("round {round}").as_bytes());
        subject.recorder.wait_for(|events| {
            events.iter().filter(|event| event.is(NodeUpdated, "/killed/c")).count() == round
        });
        assert_same_as_server(&subject.cache, &witness, root);
    }
    subject.assert_recovered(&Witness::connect(&server.hosts()), root);
}

#[test]
fn a_session_given_up_for_lost_that_the_server_still_knows_is_initialized_anew() {
    let mut server = Server::start();
    let root = "/believed";
    plant(&Witness::connect(&server.hosts()), root, &["/a"]);
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "1000")]);
    for _ in 0..2 {
        let from = subject.recorder.events().len();
        server.kill();
        wait_for_state(&subject.cache, State::Lost);
        // Its sessions begin anew with it.
        server.restart();
        let told = subject.back_in_step(from);
        assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "initialized", "in step"]);
        assert_eq!(subject.cache.wait_initialized(None), Ok(()));
    }
    subject.assert_recovered(&Witness::connect(&server.hosts()), root);
}

#[test]
fn a_server_that_stops_answering_is_noticed_within_the_session_timeout() {
    let server = Server::start();
    let witness = Witness::connect(&server.hosts());
    let root = "/stopped";
    plant(&witness, root, &["/a"]);
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "6000")]);
    let from = subject.recorder.events().len();
    let began = Instant::now();
    server.pause();
    subject.recorder.wait_for_kind(ConnectionSuspended, 1);
    let noticed = began.elapsed();
    subject.io.assert_calm(Duration::from_secs(1));
    server.resume();
    assert!(noticed < Duration::from_secs(6), "noticed after {noticed:?}");
    let mut told = outline(&subject.back_in_step(from));
    // Who was stopped may find that the session has timed out.
    if told.contains(&"lost") {
        told.retain(|kind| !["lost", "initialized"].contains(kind));
    }
    assert_eq!(told, ["suspended", "reconnected", "in step"]);
    drop(witness);
    let witness = Witness::connect(&server.hosts());
    witness.set("/stopped/a", b"changed");
    subject.recorder.wait_for_event(NodeUpdated, "/stopped/a");
    subject.assert_recovered(&witness, root);
}

#[test]
fn a_server_that_was_reset_is_a_fault_and_its_new_tree_replaces_the_old() {
    let mut server = Server::start();
    let root = "/reset";
    {
        let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
        for path in ["/reset", "/reset/kept", "/reset/gone", "/reset/gone/below"] {
            writer.create(path, Some(b"old"), 0).expect("a node");
        }
        for i in 0..300 {
            writer.send_set(root, Some(format!("{i}").as_bytes())).expect("a set");
        }
        writer.drain().expect("300 transactions");
    }
    let mut subject = Subject::in_step(&server.hosts(), root, &[("session.timeout.ms", "10000")]);
    let from = subject.recorder.events().len();
    let before = subject.cache.snapshot().expect("a snapshot").zxid();
    server.kill();
    server.wipe();
    server.restart();
    let mut writer = Writer::connect(server.addr(), Duration::from_secs(30)).expect("a session");
    for path in ["/reset", "/reset/kept", "/reset/kept/below", "/reset/new"] {
        writer.create(path, Some(b"new"), 0).expect("a node");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !subject.recorder.events()[from..].iter().any(|event| event.kind == InStep) {
        assert!(Instant::now() < deadline, "{:#?}", subject.faults.told());
        thread::sleep(Duration::from_millis(10));
    }
    let told = subject.recorder.events().split_off(from);
    let faults = subject.faults.told();
    assert_eq!(faults.iter().filter(|fault| fault.status == Status::Reset).count(), 1, "{faults:#?}");
    let kinds = outline(&told);
    assert_eq!(kinds[0], "suspended");
    assert_eq!(kinds[kinds.len() - 4..], ["reconnected", "nodes", "initialized", "in step"], "{kinds:?}");
    assert!(subject.cache.snapshot().expect("a snapshot").zxid() < before);
    // It may have seen that there was no root for a moment.
    subject.reader.take();
    let witness = Witness::connect(&server.hosts());
    subject.assert_recovered(&witness, root);
    witness.set("/reset/new", b"newer");
    subject.recorder.wait_for_event(NodeUpdated, "/reset/new");
    assert_same_as_server(&subject.cache, &witness, root);
}

// ---- the session ----

#[test]
fn an_expired_session_is_lost_and_replaced_and_the_differences_come_before_it_is_in_step() {
    let (root, witness) = (unique_root("expired"), witness());
    plant(&witness, &root, &["/a", "/a/b", "/c", "/d"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    for round in 1..=2 {
        let session = proxy.last_session();
        let told = while_disconnected(&proxy, &subject, || {
            expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
            witness.set(&format!("{root}/a"), format!("round {round}").as_bytes());
            witness.delete(&format!("{root}/c"));
            witness.create(&format!("{root}/c"), b"again");
            witness.create(&format!("{root}/new{round}"), b"new");
        });
        assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]);
        assert_ne!(proxy.last_session(), session);
        assert_same_as_server(&subject.cache, &witness, &root);
    }
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_session_that_expires_under_a_live_connection_is_replaced() {
    let (root, witness) = (unique_root("taken"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let (from, session) = (subject.recorder.events().len(), proxy.last_session());
    expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
    subject.recorder.wait_for_kind(Initialized, 2);
    let told = subject.recorder.wait_for(|events| events.last().is_some_and(|event| event.kind == InStep));
    // The one who ends it may have to take it over more than once.
    let kinds = outline(&told[from..]);
    assert_eq!(
        kinds[kinds.len() - 5..],
        ["suspended", "lost", "reconnected", "initialized", "in step"],
        "{kinds:?}"
    );
    witness.set(&format!("{root}/a"), b"changed");
    subject.recorder.wait_for_event(NodeUpdated, &format!("{root}/a"));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_session_that_expires_while_the_root_is_absent_still_waits_for_the_root() {
    let witness = witness();
    for appears_meanwhile in [true, false] {
        let root = unique_root("absent");
        let proxy = Proxy::start(shared().addr());
        let mut subject = Subject::in_step(&proxy.hosts(), &root, &[("root.create", "false")]);
        assert_eq!(subject.cache.get_data(&root).err(), Some(Error::NoNode(root.clone())));
        let session = proxy.last_session();
        let told = while_disconnected(&proxy, &subject, || {
            expire_session(shared().addr(), session, password_of(session)).expect("the session's end");
            if appears_meanwhile {
                plant(&witness, &root, &["/a"]);
            }
        });
        if appears_meanwhile {
            assert_eq!(
                outline(&told),
                ["suspended", "lost", "reconnected", "nodes", "initialized", "in step"]
            );
        } else {
            assert_eq!(outline(&told), ["suspended", "lost", "reconnected", "initialized", "in step"]);
            plant(&witness, &root, &["/a"]);
        }
        subject.recorder.wait_for_event(NodeAdded, &format!("{root}/a"));
        subject.assert_recovered(&witness, &root);
    }
}

#[test]
fn a_root_that_is_deleted_while_disconnected_and_comes_back_later_is_followed() {
    let (root, witness) = (unique_root("goes"), witness());
    plant(&witness, &root, &["/a"]);
    let proxy = Proxy::start(shared().addr());
    let mut subject = Subject::in_step(&proxy.hosts(), &root, &[]);
    let told = while_disconnected(&proxy, &subject, || witness.delete_recursive(&root));
    assert_eq!(changes(&told, &root), [(NodeRemoved, "/a"), (NodeRemoved, "")]);
    assert_eq!(subject.cache.get_data(&root).err(), Some(Error::NoNode(root.clone())));
    subject.reader.take();
    plant(&witness, &root, &["/b"]);
    subject.recorder.wait_for_event(NodeAdded, &format!("{root}/b"));
    subject.assert_recovered(&witness, &root);
}

#[test]
fn a_root_that_others_delete_is_not_created_again() {
    let (root, witness) = (unique_root("deleted"), witness());
    let mut writer = Writer::connect(shared().addr(), Duration::from_secs(30)).expect("a session");
    let mut subject = Subject::in_step(&shared().hosts(), &root, &[]);
    assert!(witness.exists(&root), "it was created at the start");
    subject.reader.take();
    writer.delete(&root).expect("a deletion");
    // So quickly that it is gone again before it was read.
    for _ in 0..300 {
        for op in [Op::Create { path: &root, data: None, flags: 0 }, Op::Delete { path: &root }] {
            writer.send(&op).expect("a write");
        }
    }
    writer.drain().expect("a root that nobody else creates");
    eventually("it is gone", || subject.cache.get_data(&root).is_err());
    subject.assert_recovered(&witness, &root);
    assert!(!witness.exists(&root));
}

// ---- the end ----

#[test]
fn a_client_that_is_dropped_ends_its_session_at_the_server_at_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.addr());
    let subject = Subject::in_step(&proxy.hosts(), "/end", &[]);
    let (session, id) = (proxy.last_session(), format!("{:x}", proxy.last_session()));
    assert!(sessions_of(&server).contains(&session));
    assert!(server.four_letter("dump").contains(&id));
    let cache = subject.cache.clone();
    let Subject { client, recorder, reader, .. } = subject;
    let began = Instant::now();
    drop(client);
    assert!(began.elapsed() < CLOSE_BOUND, "it took {:?}", began.elapsed());
    assert!(!sessions_of(&server).contains(&session));
    assert!(!server.four_letter("dump").contains(&id), "{}", server.four_letter("dump"));
    // What is known stays.
    recorder.wait_for_kind(ConnectionLost, 1);
    assert_eq!(cache.state().0, State::Lost);
    assert!(cache.get_data("/end").is_ok());
    reader.expect("a reader").stop();
    assert_eq!(cache.start(), Err(Error::Closed));
}

#[test]
fn a_client_is_dropped_quickly_whatever_its_server_does() {
    let mut server = Server::start();
    let settings = [("session.timeout.ms", "30000")];
    let root = "/quickly";
    let in_step = |hosts: &str| {
        let mut subject = Subject::in_step(hosts, root, &settings);
        subject.reader.take().expect("a reader").stop();
        subject
    };

    // Cut off, silent, and trying in vain.
    let proxy = Proxy::start(server.addr());
    let subject = in_step(&proxy.hosts());
    proxy.blackhole(true);
    subject.close();
    proxy.blackhole(false);
    let subject = in_step(&proxy.hosts());
    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&subject.cache, State::Suspended);
    subject.close();

    // Never heard of.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    for hosts in [silent.local_addr().expect("its number").to_string(), "no-such-host.invalid".into()] {
        let subject = Subject::start(&hosts, root, &settings);
        thread::sleep(Duration::from_millis(50));
        subject.close();
    }

    // Stopped, and dead.
    let (first, second) = (in_step(&server.hosts()), in_step(&server.hosts()));
    server.pause();
    first.close();
    server.kill();
    wait_for_state(&second.cache, State::Suspended);
    second.close();
}

#[test]
fn a_hundred_short_lives_leave_no_thread_and_no_descriptor_behind() {
    in_a_process_of_its_own("a_hundred_short_lives_leave_no_thread_and_no_descriptor_behind", || {
        let hosts = shared().hosts();
        let witness = Witness::connect(&hosts);
        let root = unique_root("short");
        plant(&witness, &root, &["/a"]);
        let count = |folder: &str| std::fs::read_dir(folder).expect(folder).count();
        let live = |round: usize| {
            let hosts = match round % 10 {
                8 => "127.0.0.1:1",
                9 => "localhost:1",
                _ => &hosts,
            };
            let client = client_with(hosts, &[]);
            let cache = client.cache(&root, &config(&[])).expect("a cache");
            let _recorder = Recorder::listen(&cache);
            cache.start().expect("started");
            if round % 10 < 3 {
                initialized(&cache);
            }
            if round.is_multiple_of(2) { drop((client, cache)) } else { drop((cache, client)) }
        };
        live(0);
        live(9);
        let names = ["treecache-io", "treecache-events", "treecache-dns"];
        let none_runs = || names.iter().all(|name| threads_named(name).is_empty());
        eventually("all threads of the library ended", none_runs);
        let (threads, descriptors) = (count("/proc/self/task"), count("/proc/self/fd"));
        for round in 0..100 {
            live(round);
        }
        eventually("all threads ended", || count("/proc/self/task") <= threads);
        eventually("all descriptors closed", || count("/proc/self/fd") <= descriptors);
        assert!(none_runs());
    });
}

// ---- a server that lies ----

/// Answers each connection as `serve` has it, on a loopback port.
struct Hostile {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What a connection of a hostile server is: its number, from 1, and the stream.
type Serve = fn(usize, &mut TcpStream) -> std::io::Result<()>;

impl Hostile {
    fn start(serve: Serve) -> Hostile {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let addr = listener.local_addr().expect("its number");
        let (connections, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let acceptor = thread::spawn({
            let (connections, ends) = (connections.clone(), ends.clone());
            move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(mut stream) = stream else { continue };
                    let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
                    thread::spawn(move || {
                        // Its errors are those of a client that had enough.
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                        let _ = serve(number, &mut stream);
                    });
                }
            }
        });
        Hostile { addr, connections, ends, acceptor: Some(acceptor) }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    Ok(frame)
}

fn send(stream: &mut TcpStream, frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(&[&(frame.len() as u32).to_be_bytes(), frame].concat())
}

/// Takes the connect request, and grants a session of that timeout; 0 or less ends it.
fn shake_hands(stream: &mut TcpStream, timeout_ms: i32) -> std::io::Result<()> {
    receive(stream)?;
    let mut response = [&[0; 4][..], &timeout_ms.to_be_bytes(), &77u64.to_be_bytes()].concat();
    response.extend_from_slice(&16u32.to_be_bytes());
    response.extend_from_slice(&[7; 16]);
    response.push(0);
    send(stream, &response)
}

/// Takes a request and answers it with `body`, under its own xid.
fn answer(stream: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    let request = receive(stream)?;
    send(stream, &[&request[..4], &5u64.to_be_bytes(), &[0; 4], body].concat())
}

/// Waits for the client to hang up.
fn linger(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}

/// The result of a getData in a multiRead: a node with `num_children`.
fn data_result(num_children: i32) -> Vec<u8> {
    let mut result = [&4u32.to_be_bytes()[..], &[0], &[0; 4], &1u32.to_be_bytes(), b"x"].concat();
    result.extend_from_slice(&[0; 8 + 8 + 8 + 8 + 4 + 4 + 4 + 8]);
    result.extend_from_slice(&1i32.to_be_bytes());
    result.extend_from_slice(&num_children.to_be_bytes());
    result.extend_from_slice(&[0; 8]);
    result
}

const LIES: &[(&str, Serve)] = &[
    ("garbage", |number, stream| {
        receive(stream)?;
        let mut state = number as u32 * 12345;
        let garbage: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        })
        .take(100_000)
        .collect();
        stream.write_all(&garbage)?;
        linger(stream)
    }),
    ("another protocol", |_, stream| {
        receive(stream)?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
        linger(stream)
    }),
    ("a frame of 2 GiB in the place of the connect response", |_, stream| {
        receive(stream)?;
        stream.write_all(&0x7fff_ffffu32.to_be_bytes())?;
        linger(stream)
    }),
    ("a frame of 2 GiB later", |_, stream| {
        shake_hands(stream, 10_000)?;
        stream.write_all(&0x7fff_ffffu32.to_be_bytes())?;
        linger(stream)
    }),
    ("a negative frame length", |_, stream| {
        shake_hands(stream, 10_000)?;
        stream.write_all(&(-1i32).to_be_bytes())?;
        linger(stream)
    }),
    ("empty frames", |_, stream| {
        shake_hands(stream, 10_000)?;
        stream.write_all(&[0; 400])?;
        linger(stream)
    }),
    ("a connect response that is cut short", |_, stream| {
        receive(stream)?;
        send(stream, &[0; 10])?;
        linger(stream)
    }),
    ("an unknown xid", |_, stream| {
        shake_hands(stream, 10_000)?;
        receive(stream)?;
        send(stream, &[&4711u32.to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 4]].concat())?;
        linger(stream)
    }),
    ("a reply to nothing", |_, stream| {
        shake_hands(stream, 10_000)?;
        for _ in 0..10 {
            answer(stream, &[])?;
            send(stream, &[&1u32.to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 4]].concat())?;
        }
        linger(stream)
    }),
    ("a notification that is cut short", |_, stream| {
        shake_hands(stream, 10_000)?;
        send(stream, &[&(-1i32).to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 4], &[1; 6]].concat())?;
        linger(stream)
    }),
    ("a notification about no text", |_, stream| {
        shake_hands(stream, 10_000)?;
        let path = [&2u32.to_be_bytes()[..], &[0xff, 0xff]].concat();
        send(stream, &[&(-1i32).to_be_bytes()[..], &5u64.to_be_bytes(), &[0; 12], &path].concat())?;
        linger(stream)
    }),
    ("an empty multiRead", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        answer(stream, &[])?;
        linger(stream)
    }),
    ("a multiRead that is cut short", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        let result = data_result(0);
        answer(stream, &result[..result.len() - 3])?;
        linger(stream)
    }),
    ("a multiRead with a result missing", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        answer(
            stream,
            &[&data_result(0)[..], &[0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]].concat(),
        )?;
        linger(stream)
    }),
    ("a child list of two thousand million names", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &i32::MAX.to_be_bytes()].concat();
        answer(stream, &[&data_result(i32::MAX)[..], &list].concat())?;
        linger(stream)
    }),
    ("results in the wrong order", |_, stream| {
        shake_hands(stream, 10_000)?;
        answer(stream, &[])?;
        let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &[0; 4]].concat();
        answer(stream, &[&list[..], &data_result(0)].concat())?;
        linger(stream)
    }),
    ("ended sessions, for ever", |_, stream| {
        shake_hands(stream, 0)?;
        linger(stream)
    }),
    ("negative timeouts, and more behind them", |_, stream| {
        shake_hands(stream, -1)?;
        stream.write_all(&[0, 0, 0, 99, 1, 2, 3])?;
        linger(stream)
    }),
];

/// Lies that cannot be told from bad luck: no fault of protocol is expected.
const MISFORTUNES: &[(&str, Serve)] = &[
    ("sessions that end as soon as they have begun", |number, stream| {
        let ends = number % 2 == 0;
        shake_hands(stream, if ends { 0 } else { 10_000 })?;
        if ends {
            // Begun, and never to be finished.
            stream.write_all(&[0, 0, 0, 99, 1, 2, 3])?;
        }
        Ok(())
    }),
    ("a hundred MiB that never come", |_, stream| {
        shake_hands(stream, 2_000)?;
        stream.write_all(&(100u32 << 20).to_be_bytes())?;
        linger(stream)
    }),
    ("a timeout of a millisecond", |_, stream| {
        shake_hands(stream, 1)?;
        linger(stream)
    }),
    ("a timeout of weeks", |_, stream| {
        shake_hands(stream, i32::MAX)?;
        linger(stream)
    }),
    ("no data, and what it is not", |_, stream| {
        shake_hands(stream, 10_000)?;
        // A node with as many children as there can be, of whom the list knows nothing.
        for _ in 0..1_000 {
            let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &[0; 4]].concat();
            answer(stream, &[&data_result(i32::MAX)[..], &list].concat())?;
            thread::sleep(Duration::from_millis(1));
        }
        linger(stream)
    }),
    ("errors, nothing but errors", |_, stream| {
        shake_hands(stream, 10_000)?;
        loop {
            let request = receive(stream)?;
            send(stream, &[&request[..4], &5u64.to_be_bytes(), &(-1i32).to_be_bytes()].concat())?;
        }
    }),
    ("rejected credentials, and half a frame behind", |_, stream| {
        shake_hands(stream, 10_000)?;
        send(stream, &[&(-4i32).to_be_bytes()[..], &[0; 8], &(-115i32).to_be_bytes()].concat())?;
        stream.write_all(&[0, 0, 0, 99, 1, 2, 3])
    }),
];

/// What stands on the wire for a granted session.
fn grant() -> Vec<u8> {
    let mut response = [&37u32.to_be_bytes()[..], &[0; 4], &10_000u32.to_be_bytes()].concat();
    response.extend_from_slice(&77u64.to_be_bytes());
    response.extend_from_slice(&16u32.to_be_bytes());
    response.extend_from_slice(&[7; 16]);
    response.push(0);
    response
}

/// Expects a client that was told on its connections so far that it is over to load its tree on connection `number`.
#[track_caller]
fn assert_that_the_next_connection_works(
    over: fn(usize, &mut TcpStream) -> std::io::Result<()>,
    number: usize,
) {
    let hostile = Hostile::start(over);
    let settings = [("auth", "digest:a:b"), ("connect.timeout.ms", "30000")];
    let subject = Subject::start(&hostile.addr.to_string(), "/hostile", &settings);
    subject.recorder.wait_for_kind(Initialized, 1);
    assert_eq!(hostile.connections.load(Ordering::SeqCst), number, "{:#?}", subject.faults.told());
    subject.close();
}

/// Serves a root without children to a client that asks for nothing else.
fn serve_a_root(stream: &mut TcpStream) -> std::io::Result<()> {
    receive(stream)?;
    stream.write_all(&grant())?;
    receive(stream)?; // the credentials
    send(stream, &[&(-4i32).to_be_bytes()[..], &[0; 12]].concat())?;
    answer(stream, &[])?;
    let list = [&8u32.to_be_bytes()[..], &[0], &[0; 4], &[0; 4]].concat();
    let end = [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff];
    answer(stream, &[&data_result(0)[..], &list, &end].concat())?;
    linger(stream)
}

#[test]
fn what_stands_behind_rejected_credentials_is_not_taken_for_a_part_of_the_next_connection() {
    assert_that_the_next_connection_works(
        |number, stream| {
            if number > 1 {
                return serve_a_root(stream);
            }
            receive(stream)?;
            stream.write_all(&grant())?;
            let rejection =
                [&16u32.to_be_bytes()[..], &(-4i32).to_be_bytes(), &[0; 8], &(-115i32).to_be_bytes()];
            stream.write_all(&[&rejection.concat()[..], &[0, 0, 0, 99, 1, 2, 3]].concat())?;
            linger(stream)
        },
        2,
    );
}

#[test]
fn what_stands_behind_the_end_of_a_session_is_not_taken_for_a_part_of_the_next_connection() {
    assert_that_the_next_connection_works(
        |number, stream| match number {
            1 => {
                receive(stream)?;
                stream.write_all(&grant())?;
                receive(stream).map(drop)
            }
            2 => {
                receive(stream)?;
                let mut end = grant();
                end[8..12].fill(0);
                stream.write_all(&[&end[..], &[0, 0, 0, 99, 1, 2, 3]].concat())?;
                linger(stream)
            }
            _ => serve_a_root(stream),
        },
        3,
    );
}

fn suffer(lies: &[(&str, Serve)], expected: Option<Status>) {
    for (lie, serve) in lies {
        let hostile = Hostile::start(*serve);
        let subject =
            Subject::start(&hostile.addr.to_string(), "/hostile", &[("connect.timeout.ms", "1000")]);
        if let Some(expected) = expected {
            let fault = subject.faults.wait_for(|fault| fault.status == expected);
            assert!(fault.message.contains(&hostile.addr.to_string()), "{lie}: {}", fault.message);
        }
        eventually("a connection", || hostile.connections.load(Ordering::SeqCst) > 0);
        let before = resident_bytes();
        subject.io.assert_calm(Duration::from_secs(1));
        let after = resident_bytes();
        assert!(after < before + (32 << 20), "{lie}: {before} bytes, {after} bytes later");
        let attempts = hostile.connections.load(Ordering::SeqCst);
        println!("{lie}: {attempts} connections");
        assert!(attempts < 200, "{lie}: {attempts} connections");
        let faults = subject.faults.told();
        assert!(!faults.iter().any(|fault| fault.status == Status::Panic), "{lie}: {faults:#?}");
        subject.close();
    }
}

#[test]
fn a_server_that_breaks_the_protocol_is_a_fault_and_neither_a_panic_nor_a_busy_loop() {
    in_a_process_of_its_own(
        "a_server_that_breaks_the_protocol_is_a_fault_and_neither_a_panic_nor_a_busy_loop",
        || suffer(LIES, Some(Status::Protocol)),
    );
}

#[test]
fn a_server_that_is_of_no_use_does_not_wear_its_client_out() {
    in_a_process_of_its_own("a_server_that_is_of_no_use_does_not_wear_its_client_out", || {
        suffer(MISFORTUNES, None);
    });
}
