//! The plan by itself, with a tree that does not change and a server that answers at once.

use std::sync::Arc;

use super::*;
use crate::stat::Stat;
use crate::sync::runs::Answer;
use crate::tree::{Node, NodeRef};

/// A plan with a tree that does not change, and a server that answers at once.
struct Reader {
    plan: ReadPlan,
    tree: Tree,
    unread: Unread,
    now: Instant,
}

impl Reader {
    /// Of a root and children: so many nodes, all of them read.
    fn following(nodes: usize, audit_interval: Duration) -> Reader {
        let mut tree = Tree::default();
        for n in 0..nodes {
            let stat = Stat { czxid: Zxid(1), mzxid: Zxid(1 + n as i64), ..Stat::default() };
            let path = if n == 0 { String::new() } else { format!("{n:04}") };
            assert!(tree.put(&path, Some(Node::new(Arc::from([]), stat))));
        }
        let (root, now) = (NodePath::new("/r").unwrap(), Instant::now());
        let options = Options {
            selection: Selection::default(),
            follow: true,
            single: false,
            create_root: false,
            container_parents: false,
            limit_nodes: 0,
            limit_bytes: 0,
            data: Data::All,
            limit_path: 1000,
            verify: VerifyMode::Read,
            audit_interval,
            pace: Pace::default(),
        };
        let plan = ReadPlan::new(root, 0, Selection::default(), false, &options, Rng::with_seed(1), now);
        let mut reader = Reader { plan, tree, unread: Unread::default(), now };
        reader.watching(Zxid(100));
        assert_eq!(reader.read(), ["/r"]);
        assert!(reader.is_following());
        reader.plan.note_exact(now);
        reader
    }

    fn is_following(&self) -> bool {
        self.plan.is_following(&self.unread)
    }

    fn watching(&mut self, zxid: Zxid) {
        self.plan.handle_watching(Some(zxid), &self.tree, &mut self.unread, self.now);
    }

    fn suspended(&mut self, exact: Option<Zxid>) {
        self.plan.note_left(exact);
        self.plan.handle_suspended(&self.tree, &mut self.unread);
    }

    fn suspect(&mut self, path: &str) {
        let path = NodePath::new(path).unwrap();
        self.unread.update(&path, |want| want.suspect = true);
        self.plan.note_hot(&path, self.now);
    }

    /// Goes to the next moment that the plan waits for; whether a verification begins.
    fn wait(&mut self) -> bool {
        self.now = self.plan.poll_timeout().expect("a time");
        self.plan.handle_timeout(&self.tree, &mut self.unread, self.now)
    }

    fn poll(&mut self) -> Option<Flight> {
        let is_following = self.is_following();
        self.plan.poll_flight(&self.tree, &mut self.unread, is_following, self.now)
    }

    fn answer(&mut self, flight: &Flight) -> Vec<String> {
        let paths: Vec<String> =
            flight.nodes.iter().chain(&flight.stats).map(|read| read.path.to_string()).collect();
        for path in &paths {
            self.unread.remove(path);
            self.plan.note_growth(0);
        }
        for part in &flight.parts {
            let node = NodeRef::new(&[], Stat::default());
            let read: Vec<_> = part.siblings.places.iter().map(|place| (*place, node)).collect();
            let (answered, is_proof) = (read.len(), part.is_proof);
            let proof = if is_proof { vec![0; answered] } else { Vec::new() };
            let answer = Answer { of: Zxid(1), read, answered, largest: 0, is_proof, proof };
            self.unread.runs().arrived(&part.siblings, &answer);
            part.siblings.places.iter().for_each(|_| self.plan.note_growth(0));
        }
        (0..flight.requests()).for_each(|_| self.plan.handle_reply(self.now));
        paths
    }

    /// All that there is to read.
    fn read(&mut self) -> Vec<String> {
        let mut paths = Vec::new();
        while let Some(flight) = self.poll() {
            paths.extend(self.answer(&flight));
        }
        paths
    }
}

fn all(nodes: usize) -> Vec<String> {
    let children = (1..nodes).map(|n| format!("/r/{n:04}"));
    std::iter::once("/r".to_owned()).chain(children).collect()
}

#[test]
fn a_verification_comes_to_each_node_once_and_knows_which_it_has_not_come_to() {
    let mut reader = Reader::following(300, Duration::ZERO);
    reader.suspended(None);
    reader.watching(Zxid(100));
    let last = NodePath::new("/r/0299").unwrap();
    assert_eq!((reader.read(), reader.plan.is_unverified(&last)), (Vec::new(), true), "it waits");
    assert!(reader.wait());
    assert!(!reader.is_following() && reader.plan.is_unverified(&last));
    assert_eq!(reader.read(), all(300));
    assert!(reader.is_following() && !reader.plan.is_unverified(&last));
    assert_eq!(reader.plan.poll_timeout(), None);
}

#[test]
fn where_the_tree_was_left_exact_the_anchors_will_do() {
    let mut reader = Reader::following(300, Duration::ZERO);
    reader.suspended(Some(Zxid(100)));
    reader.plan.handle_connected(true);
    reader.plan.handle_watch_asked(&reader.tree, &mut reader.unread);
    assert!(reader.plan.is_of_anchors());
    let anchors = reader.read();
    assert!(anchors.contains(&"/r".to_owned()) && anchors.len() < 50, "{anchors:?}");
    reader.watching(Zxid(100));
    reader.plan.conclude_anchors(&reader.unread);
    assert!(reader.is_following());
    assert_eq!(reader.read(), [""; 0]);
}

#[test]
fn whatever_speaks_against_the_anchors_has_all_read() {
    // A new session; another zxid; an anchor that differs, before the watch was there and behind that.
    for against in 0..4 {
        let mut reader = Reader::following(20, Duration::ZERO);
        reader.suspended(Some(Zxid(100)));
        reader.plan.handle_connected(against != 0);
        reader.plan.handle_watch_asked(&reader.tree, &mut reader.unread);
        assert_eq!(reader.plan.is_of_anchors(), against != 0);
        reader.read();
        if against == 2 {
            reader.plan.anchor_differs(false, &reader.tree, reader.now);
        }
        reader.watching(Zxid(if against == 1 { 101 } else { 100 }));
        if against == 3 {
            reader.plan.anchor_differs(true, &reader.tree, reader.now);
        }
        reader.plan.conclude_anchors(&reader.unread);
        assert!(reader.wait(), "{against}");
        assert_eq!(reader.read(), all(20), "{against}");
    }
}

#[test]
fn one_flight_at_a_time_is_out_while_following_and_none_while_the_server_is_left_alone() {
    let mut reader = Reader::following(3, Duration::ZERO);
    reader.suspect("/r/0001");
    let flight = reader.poll().expect("a flight");
    reader.suspect("/r/0002");
    assert!(
        reader.poll().is_none()
            && reader.plan.poll_root(&reader.tree, &mut reader.unread, reader.now).is_none()
    );
    reader.plan.retry_later(reader.now);
    reader.answer(&flight);
    assert!(reader.poll().is_none() && reader.plan.is_waiting());
    assert!(!reader.wait() && !reader.plan.is_waiting());
    reader.plan.note_exact(reader.now);
    assert_eq!(reader.read(), ["/r/0002"]);
    // What was out when the connection went is not waited for.
    reader.suspect("/r/0001");
    assert!(reader.poll().is_some());
    reader.suspended(None);
    reader.watching(Zxid(100));
    assert_eq!(reader.read(), ["/r/0001"]);
}

#[test]
fn what_is_hot_is_read_with_what_is_suspect_once_there_was_no_cut_for_a_while() {
    let mut reader = Reader::following(12, Duration::ZERO);
    for path in ["/r/0001", "/r/0002"] {
        reader.suspect(path);
    }
    assert_eq!(reader.read(), ["/r/0001", "/r/0002"]);
    reader.now += HOT_AFTER - Duration::from_millis(1);
    reader.suspect("/r/0003");
    assert_eq!(reader.read(), ["/r/0003"]);
    reader.now += HOT_AFTER;
    reader.suspect("/r/0003");
    assert_eq!(reader.read(), ["/r/0003", "/r/0001", "/r/0002"]);
    reader.plan.note_gone(&NodePath::new("/r/0001").unwrap());
    reader.suspect("/r/0003");
    assert_eq!(reader.read(), ["/r/0003", "/r/0002"]);
    reader.plan.note_exact(reader.now);
    reader.suspect("/r/0003");
    assert_eq!(reader.read(), ["/r/0003"]);
}

#[test]
fn the_longer_there_was_no_cut_the_more_is_read_for_one_and_a_small_tree_as_a_whole_in_the_end() {
    let mut reader = Reader::following(1501, Duration::ZERO);
    let hot: Vec<String> = all(1501).drain(1..=600).collect();
    hot.iter().for_each(|path| reader.suspect(path));
    assert_eq!(reader.read(), hot);
    // One more for each time: the others are hot, and no more than 256 may be read with it; then 768, then all.
    for (after, reads) in [(5, 1), (16, 1), (24, 600), (79, 600), (80, 1501)] {
        reader.plan.note_exact(reader.now - Duration::from_millis(after));
        reader.suspect(&hot[0]);
        assert_eq!(reader.read().len(), reads, "after {after} ms");
    }
    // Where half of it is hot, all is read as soon as that is no more than there may be.
    all(1501)[601..800].iter().for_each(|path| reader.suspect(path));
    reader.read();
    for (after, reads) in [(40, 799), (48, 1501)] {
        reader.plan.note_exact(reader.now - Duration::from_millis(after));
        reader.suspect(&hot[0]);
        assert_eq!(reader.read().len(), reads, "after {after} ms");
    }
}

#[test]
fn a_server_that_is_slow_to_answer_is_asked_for_less_at_once() {
    let mut load = Load::new();
    let (quick, slow) = (Duration::from_millis(2), Duration::from_millis(29));
    load.learn(quick);
    assert_eq!(load.most_reads, MOST_PROVEN_READS);
    for most in [500, 250, 125, 125] {
        load.learn(slow);
        assert_eq!(load.most_reads, most);
    }
    for most in [250, 375, 500, 625, 750, 875, 1000, 1000] {
        load.learn(quick);
        assert_eq!(load.most_reads, most);
    }
    // Far away, every answer takes long.
    let mut far = Load::new();
    (0..9).for_each(|_| far.learn(Duration::from_millis(300)));
    assert_eq!(far.most_reads, MOST_PROVEN_READS);
    // Where thousands begin at once, nobody has ever had a fast answer.
    let mut crowd = Load::new();
    (0..3).for_each(|_| crowd.learn(Duration::from_secs(1)));
    assert!(crowd.most_reads == MOST_PROVEN_READS / 8 && crowd.is_careful());
}

#[test]
fn a_load_asks_for_a_proof_of_each_list_and_then_for_as_much_as_that_speaks_for() {
    let mut reader = Reader::following(1, Duration::ZERO);
    let names: Vec<String> = (0..3000).map(|n| format!("{n:04}")).collect();
    let lists: Vec<NodePath> = ["/r/a", "/r/b"].iter().map(|path| NodePath::new(path).unwrap()).collect();
    for list in &lists {
        reader.unread.listed(list, Zxid(1), names.iter().map(String::as_str).collect());
    }
    // That nodes are small turns out by and by.
    let (mut proof, mut largest) = (0, 0);
    while let Some(flight) = reader.poll() {
        let mut out = vec![flight];
        out.extend(std::iter::from_fn(|| reader.poll()));
        assert!(out.iter().map(Flight::uncertain).sum::<usize>() <= UNPROVEN_FLIGHTS * 120);
        for flight in &out {
            proof += flight.uncertain();
            largest = largest.max(flight.len());
            reader.answer(flight);
        }
    }
    assert_eq!((proof, largest), (2 * 64, MOST_PROVEN_READS));
    assert_eq!(reader.unread.len(), 0);
}

#[test]
fn behind_a_connection_that_was_lost_over_a_large_batch_batches_are_small_until_the_load_is_complete() {
    let mut reader = Reader::following(1, Duration::ZERO);
    let names: Vec<String> = (0..3000).map(|n| format!("{n:04}")).collect();
    let list = NodePath::new("/r/a").unwrap();
    reader.unread.listed(&list, Zxid(1), names.iter().map(String::as_str).collect());
    let large = loop {
        let flight = reader.poll().expect("more to read");
        if flight.len() > 120 {
            break flight;
        }
        reader.answer(&flight);
    };
    assert_eq!(large.len(), MOST_PROVEN_READS);
    reader.suspended(None);
    reader.watching(Zxid(100));
    while reader.unread.len() > 0 {
        let flight = reader.poll().expect("more to read");
        assert!(flight.len() <= 120, "{}", flight.len());
        reader.answer(&flight);
    }
    reader.plan.verification = Verification::Done;
    reader.suspect("/r");
    assert!(reader.is_following());
    reader.read();
    assert_eq!(reader.plan.load.most_reads(), MOST_PROVEN_READS);
}

#[test]
fn a_pass_of_the_audit_comes_to_each_node_behind_a_renewal_of_the_watch() {
    let interval = Duration::from_secs(60);
    let mut reader = Reader::following(150, interval);
    for pass in 0..3 {
        let (mut read, began) = (Vec::new(), reader.now);
        while read.len() < 150 {
            assert!(!reader.wait());
            assert_eq!(reader.plan.take_renewal(), read.is_empty());
            read.extend(reader.read());
        }
        assert_eq!(read, all(150), "pass {pass}");
        assert!(reader.now - began < 2 * interval);
    }
    assert_eq!(Reader::following(150, Duration::ZERO).plan.poll_timeout(), None);
}
