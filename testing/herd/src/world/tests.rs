use super::*;

const TREE: Tree = Tree { directories: 9, leaves: 10, data: 16 };

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A herd in a small tree, and a server that takes 1 ms for everything but nodes, and 10 µs for those.
fn herd(clients: usize, happening: Happening) -> Scenario {
    let time = 1_000_000;
    Scenario {
        happening,
        clients,
        servers: 1,
        weight: 1,
        tree: TREE,
        capacity: Capacity {
            accept: time,
            resume: time,
            session: time,
            request: time,
            node: time / 100,
            compared: time / 200,
            notification: time,
            kilobyte: 0,
            backlog: 50,
            in_process: 1000,
        },
        backoff: Backoff::default(),
        pace: Pace::default(),
        verify: VerifyMode::Read,
        audit: Duration::ZERO,
        session_timeout: Duration::from_secs(10),
        bound: Duration::from_secs(120),
        step: ms(10),
        seed: 1,
    }
}

fn outage(down: u64, moved: bool) -> Happening {
    Happening::Outage { down: ms(down), moved, unclean: 0.0 }
}

#[test]
fn one_seed_is_one_run_and_another_is_another() {
    let scenario = herd(50, outage(500, true));
    let outcome = run(&scenario);
    assert_eq!(outcome, run(&scenario));
    assert_ne!(outcome, run(&Scenario { seed: 2, ..scenario }));
    assert_eq!(outcome.in_step.len(), 50);
}

#[test]
fn a_client_that_missed_nothing_asks_once_and_one_that_may_have_reads_its_tree_once() {
    let unmoved = run(&herd(1, outage(0, false)));
    // The watch, and with it the anchors: 32 nodes in eight requests at most.
    let (requests, anchors) = (unmoved.load.total(|of| of.requests), unmoved.load.total(|of| of.nodes));
    assert!(
        (2.0..=9.0).contains(&requests) && (1.0..=32.0).contains(&anchors),
        "{requests}, {anchors} nodes"
    );
    let moved = run(&herd(1, outage(0, true))).load.total(|of| of.nodes);
    let nodes = TREE.nodes() as f64;
    assert!((nodes..=nodes + anchors).contains(&moved), "{moved} nodes read");
}

#[test]
fn a_write_is_notified_to_each_client_and_read_by_each() {
    let outcome = run(&herd(100, Happening::Write));
    assert_eq!(outcome.load.total(|of| of.nodes), 100.0);
    // 100 notifications and 100 reads, 1 ms each.
    let all = outcome.when(1.0).unwrap();
    assert!((0.2..0.25).contains(&all), "{all}");
}

#[test]
fn a_herd_that_verifies_takes_as_long_as_its_reads() {
    let scenario = herd(50, outage(0, true));
    let outcome = run(&scenario);
    let requests = outcome.load.total(|of| of.requests) * 1e-3;
    let reads = outcome.load.total(|of| of.nodes) * 1e-5;
    let all = outcome.when(1.0).unwrap();
    let idle = scenario.backoff.first.as_secs_f64();
    assert!(
        (requests + reads..requests + reads + idle).contains(&all),
        "{all} s for {requests} s and {reads} s"
    );
}

#[test]
fn fewer_clients_that_stand_for_more_make_the_same_load() {
    let few = run(&Scenario { weight: 4, ..herd(25, Happening::Write) });
    let many = run(&herd(100, Happening::Write));
    assert_eq!(few.load.total(|of| of.nodes), many.load.total(|of| of.nodes));
    let (few, many) = (few.when(1.0).unwrap(), many.when(1.0).unwrap());
    assert!((few - many).abs() < 0.05 * many, "{few} s, {many} s");
}

#[test]
fn what_finds_the_queue_of_connections_full_comes_again_a_second_later() {
    let at_once = run(&herd(100, Happening::Start(Duration::ZERO)));
    assert!(at_once.load.total(|of| of.attempts) > 100.0);
    assert!(at_once.when(0.5).unwrap() < 1.0 && at_once.when(1.0).unwrap() > 1.0);
    let one_by_one = run(&herd(100, Happening::Start(Duration::from_secs(2))));
    assert_eq!(one_by_one.load.total(|of| of.attempts), 100.0);
}

#[test]
fn a_session_is_kept_through_an_outage_that_is_longer_than_its_timeout() {
    // As an ensemble keeps it: while no server serves, nobody counts.
    let outcome = run(&herd(20, outage(15_000, false)));
    assert_eq!((outcome.in_step.len(), outcome.tally.expired), (20, 0));
}

#[test]
fn a_server_that_is_too_slow_for_its_herd_loses_it_again() {
    let mut scenario = herd(100, outage(0, true));
    scenario.capacity.request *= 100; // 100 clients, 0.1 s each: a round is longer than a client waits
    let outcome = run(&scenario);
    assert!(outcome.tally.dropped > 0, "{:?}", outcome.tally);
}

#[test]
fn a_report_compares_each_node_once_and_reads_few_on_as_many_connections_as_slices_and_ends_its_session() {
    let scenario = Scenario {
        verify: VerifyMode::Report,
        tree: Tree { directories: 99, leaves: 100, data: 16 },
        ..herd(1, outage(0, true))
    };
    let outcome = run(&scenario);
    let nodes = scenario.tree.nodes() as f64;
    assert_eq!(outcome.load.total(|of| of.compared), nodes);
    assert!(outcome.load.total(|of| of.nodes) < 100.0, "anchors");
    // The client's own, and one for each 5,000 nodes.
    assert!((3..=4).contains(&outcome.tally.accepted), "{:?}", outcome.tally);
    assert!((1..=2).contains(&outcome.tally.transactions), "{:?}", outcome.tally);
    let reads = run(&Scenario { verify: VerifyMode::Read, ..scenario });
    assert_eq!((reads.load.total(|of| of.compared), reads.tally.transactions), (0.0, 0));
    assert!(reads.load.total(|of| of.nodes) >= nodes);
}

#[test]
fn an_unclean_client_has_its_tree_to_verify_though_the_zxid_has_not_moved() {
    let scenario = herd(10, Happening::Outage { down: ms(0), moved: false, unclean: 0.1 });
    let nodes = run(&scenario).load.total(|of| of.nodes);
    let tree = TREE.nodes() as f64;
    assert!((tree..2.0 * tree + 10.0 * 32.0).contains(&nodes), "{nodes}");
}
