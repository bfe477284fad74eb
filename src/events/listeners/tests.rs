//! Callbacks: whose turn it is, and what one does that is slow, panics or closes.

use super::*;
use crate::events::Dispatcher;
use crate::events::consumer::MOST_FAULTS;
use crate::events::consumer::tests::hold;
use crate::events::tests::{Author, described, room};
use crate::state::EventKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(10);

/// A listener whose events arrive here in words; the last of a version has a dot.
fn heard(author: &Author) -> (ListenerId, mpsc::Receiver<String>) {
    let (told, received) = mpsc::channel();
    let id = author.listeners.listen(Wants::EVENTS, move |event| _ = told.send(described(event))).unwrap();
    (id, received)
}

fn next(received: &mpsc::Receiver<String>, count: usize) -> Vec<String> {
    (0..count).map(|_| received.recv_timeout(BOUND).expect("an event comes")).collect()
}

#[test]
fn events_are_the_differences_of_versions_in_order() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 1000);
    let (_, received) = heard(&author);
    author.put("a");
    author.put("a/x");
    author.publish();
    author.feed.event(EventKind::Initialized);
    author.put("a");
    assert!(author.tree.remove("a/x"));
    author.put("b");
    author.publish();
    author.feed.event(EventKind::InStep);
    assert_eq!(next(&received, 4), ["+/r", "+/r/a", "+/r/a/x.", "Initialized"]);
    assert_eq!(next(&received, 4), ["-/r/a/x", "~/r/a", "+/r/b.", "InStep"]);
}

#[test]
fn a_late_joiner_gets_the_tree_so_far_and_what_follows() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 1000);
    author.put("a");
    author.publish();
    let (_, early) = heard(&author);
    assert_eq!(next(&early, 2), ["+/r", "+/r/a."]);
    author.feed.event(EventKind::Initialized);
    assert_eq!(next(&early, 1), ["Initialized"]);
    let (_, late) = heard(&author);
    author.put("b");
    author.publish();
    assert_eq!(next(&late, 4), ["+/r", "+/r/a.", "Initialized", "+/r/b."]);
    assert_eq!(next(&early, 1), ["+/r/b."]);
    author.feed.event(EventKind::ConnectionLost);
    assert_eq!(next(&early, 1), ["ConnectionLost"]);
    let (_, later) = heard(&author);
    assert_eq!(next(&later, 3), ["+/r", "+/r/a", "+/r/b."]);
    author.feed.event(EventKind::Initialized);
    assert_eq!(next(&later, 1), ["Initialized"]);
}

#[test]
fn listeners_that_join_while_versions_are_published_see_no_gap_and_no_duplicate() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 20);
    let mut listeners = Vec::new();
    let wrong = Arc::new(Mutex::new(Vec::new()));
    for round in 0..300 {
        author.put(&format!("n{}", round % 17));
        if round % 3 == 0 {
            author.tree.remove(&format!("n{}", (round * 7) % 17));
        }
        author.publish();
        if round % 30 == 0 {
            let map = Arc::new(Mutex::new(BTreeMap::new()));
            let (replayed, wrong) = (map.clone(), wrong.clone());
            let (told, in_step) = mpsc::channel();
            let replay = move |event: &Event<'_>| {
                if event.kind == EventKind::InStep {
                    told.send(()).unwrap();
                }
                let mut map = replayed.lock().unwrap();
                let stat = event.node.map(|node| node.stat().mzxid);
                let path = event.path.map(str::to_owned);
                let before = match (event.kind, path, stat) {
                    (EventKind::NodeRemoved, Some(path), _) => map.remove(&path).is_some(),
                    (EventKind::NodeUpdated, Some(path), Some(stat)) => map.insert(path, stat).is_some(),
                    (EventKind::NodeAdded, Some(path), Some(stat)) => map.insert(path, stat).is_none(),
                    _ => true,
                };
                if !before {
                    wrong.lock().unwrap().push(described(event));
                }
            };
            author.listeners.listen(Wants::EVENTS, replay).unwrap();
            listeners.push((map, in_step));
        }
    }
    author.feed.event(EventKind::InStep);
    let mut expected = BTreeMap::new();
    let mut walk = author.tree.preorder();
    while let Some((path, entry)) = walk.next() {
        let path = author.feed.root().absolute(path).to_string();
        expected.insert(path, entry.node().unwrap().stat().mzxid);
    }
    for (map, in_step) in listeners {
        in_step.recv_timeout(Duration::from_secs(10)).expect("the end is told");
        assert_eq!(*map.lock().unwrap(), expected);
    }
    assert_eq!(*wrong.lock().unwrap(), [""; 0]);
}

#[test]
fn a_slow_listener_continues_by_difference() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 10);
    let (gate, open) = mpsc::channel::<()>();
    let (told, received) = mpsc::channel();
    let slow = move |event: &Event<'_>| {
        told.send(described(event)).unwrap();
        _ = open.recv();
    };
    author.listeners.listen(Wants::EVENTS, slow).unwrap();
    author.publish();
    assert_eq!(next(&received, 1), ["+/r."]);
    author.put("a");
    for _ in 0..1000 {
        author.put("b");
        author.publish();
        author.feed.event(EventKind::ConnectionSuspended);
        author.feed.event(EventKind::ConnectionReconnected);
    }
    author.feed.event(EventKind::InStep);
    drop(gate);
    let told = next(&received, 5);
    assert_eq!(told, ["ConnectionSuspended", "ConnectionReconnected", "+/r/a", "+/r/b.", "InStep"]);
    assert_eq!(received.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
}

#[test]
fn no_call_starts_after_unlisten_or_close_has_returned() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let late = Arc::new(AtomicUsize::new(0));
    for round in 0..100 {
        let mut author = Author::new(&dispatcher, 1000);
        let (over, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, counted, late) = (over.clone(), calls.clone(), late.clone());
        let id = author
            .listeners
            .listen(Wants::EVENTS, move |_| {
                late.fetch_add(seen.load(Ordering::SeqCst), Ordering::SeqCst);
                counted.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        for n in 0..50 {
            author.put(&n.to_string());
        }
        author.publish();
        while calls.load(Ordering::SeqCst) < round % 10 {
            std::hint::spin_loop();
        }
        match round % 2 {
            0 => author.listeners.unlisten(id).unwrap(),
            _ => author.listeners.close(),
        }
        author.listeners.wait_idle();
        over.store(1, Ordering::SeqCst);
        assert!(author.listeners.unlisten(id).is_err());
    }
    drop(dispatcher);
    assert_eq!(late.load(Ordering::SeqCst), 0);
}

#[test]
fn a_listener_is_dropped_once_and_behind_its_last_call() {
    struct Token(Arc<AtomicUsize>);
    impl Drop for Token {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 1000);
    let drops = Arc::new(AtomicUsize::new(0));
    let (entered, running) = mpsc::channel();
    let (gate, open) = mpsc::channel::<()>();
    let token = Token(drops.clone());
    let id = author
        .listeners
        .listen(Wants::EVENTS, move |_| {
            entered.send(()).unwrap();
            _ = open.recv();
            assert_eq!(token.0.load(Ordering::SeqCst), 0);
        })
        .unwrap();
    author.publish();
    running.recv().unwrap();
    author.listeners.unlisten(id).unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 0, "it is running");
    drop(gate);
    author.listeners.wait_idle();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    author.listeners.close();
    let token = Token(drops.clone());
    let refused = author.listeners.listen(Wants::EVENTS, move |_| _ = &token);
    assert_eq!((refused, drops.load(Ordering::SeqCst)), (Err(Error::Closed), 2));
}

#[test]
fn a_listener_may_remove_itself_and_close_its_feed() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 1000);
    let id = Arc::new(Mutex::new(None));
    let (own, listeners) = (id.clone(), author.listeners.clone());
    let (told, received) = mpsc::channel();
    let listener = move |_: &Event<'_>| {
        told.send(String::new()).unwrap();
        let id = own.lock().unwrap().unwrap();
        listeners.unlisten(id).unwrap();
        listeners.close();
        listeners.wait_idle();
    };
    *id.lock().unwrap() = Some(author.listeners.listen(Wants::EVENTS, listener).unwrap());
    author.put("a");
    author.publish();
    next(&received, 1);
    // The listener, and with it the sender, is gone when the one call has returned.
    assert_eq!(received.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_panicking_listener_is_a_fault_and_the_others_go_on() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 1000);
    let (told, faults) = mpsc::channel();
    author.listeners.listen_fault(|_| panic!("fault listeners may panic too")).unwrap();
    author
        .listeners
        .listen_fault(move |fault| {
            told.send(format!("{:?} {:?} {}", fault.status, fault.path, fault.message)).unwrap();
        })
        .unwrap();
    author.listeners.listen(Wants::EVENTS, |_| panic!("on purpose")).unwrap();
    let (_, received) = heard(&author);
    author.publish();
    assert_eq!(next(&received, 1), ["+/r."]);
    let fault = next(&faults, 1).remove(0);
    assert!(fault.starts_with("Panic Some(\"/r\")") && fault.ends_with("on purpose"), "{fault}");
    author.feed.event(EventKind::InStep);
    assert_eq!(next(&received, 1), ["InStep"]);
    next(&faults, 1);
    assert_eq!(faults.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
}

#[test]
fn faults_that_nobody_takes_are_bounded() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let listeners = dispatcher.listeners(NodePath::root(), room(1));
    let (entered, running) = mpsc::channel();
    let (gate, open) = mpsc::channel::<()>();
    listeners
        .listen_fault(move |_| {
            _ = entered.send(());
            _ = open.recv();
        })
        .unwrap();
    listeners.feed().fault(&Fault::new(Status::Connection, "first"));
    running.recv().unwrap();
    for n in 0..1000 {
        listeners.feed().fault(&Fault::new(Status::Connection, n.to_string()));
        listeners.feed().fault(&Fault::new(Status::Connection, n.to_string()));
    }
    drop(gate);
    for _ in 0..MOST_FAULTS {
        running.recv_timeout(Duration::from_secs(20)).expect("another one");
    }
    assert!(running.recv_timeout(Duration::from_millis(500)).is_err(), "one too many");
}

#[test]
fn who_has_nothing_to_be_told_is_not_looked_at() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let mut author = Author::new(&dispatcher, 1000);
    let (told, faults) = mpsc::channel();
    let id = author.listeners.listen_fault(move |fault| _ = told.send(fault.message.clone())).unwrap();
    let (_, received) = heard(&author);
    let idle = author.listeners.lock().listeners[&id].consumer.clone();
    let held = hold(&idle);
    author.put("a");
    author.publish();
    author.feed.event(EventKind::InStep);
    assert_eq!(next(&received, 3), ["+/r", "+/r/a.", "InStep"]);
    drop(held);
    author.feed.fault(&Fault::new(Status::Connection, "refused"));
    assert_eq!(next(&faults, 1), ["refused"]);
}

#[test]
fn what_is_put_in_while_the_dispatcher_looks_is_told() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    let author = Author::new(&dispatcher, 1000);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = told.clone();
    author.listeners.listen(Wants::EVENTS, move |_| _ = counted.fetch_add(1, Ordering::SeqCst)).unwrap();
    for round in 0..10_000 {
        author.feed.event(EventKind::InStep);
        let asked = Instant::now();
        let mut spins = 0;
        while told.load(Ordering::SeqCst) <= round {
            spins += 1;
            if spins % 1000 == 0 {
                assert!(asked.elapsed() < BOUND, "event {round} is not told");
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        // The next one comes as the dispatcher finds nothing more: now a bit sooner, now a bit later.
        (0..round % 50).for_each(|_| std::hint::spin_loop());
    }
}

#[test]
fn who_joins_while_something_is_put_in_is_told_it() {
    let dispatcher = Dispatcher::spawn(drop).unwrap();
    for _ in 0..300 {
        let author = Author::new(&dispatcher, 1000);
        author.feed.event(EventKind::Initialized);
        std::thread::scope(|scope| {
            scope.spawn(|| author.feed.event(EventKind::InStep));
            let (_, received) = heard(&author);
            assert_eq!(next(&received, 1), ["Initialized"]);
        });
        let (_, late) = heard(&author);
        assert_eq!(next(&late, 1), ["Initialized"]);
        author.listeners.close();
    }
}

#[test]
fn after_a_panic_of_the_dispatcher_those_of_faults_are_told_what_waits() {
    let mailbox = Arc::new(Mailbox::new());
    let feed = Arc::new(Feed::new(NodePath::root(), Arc::default()));
    let listeners = Arc::new(Listeners::new(feed.clone(), room(1000), mailbox.clone()));
    let (told, received) = mpsc::channel();
    let events = listeners.listen(Wants::EVENTS, |_| {}).unwrap();
    listeners.listen_fault(move |fault| told.send(fault.message.clone()).unwrap()).unwrap();
    feed.fault(&Fault::new(Status::Connection, "refused"));
    // As if it had panicked with the turn in its hands.
    assert!(mailbox.receive().unwrap().lock().next_turn().is_some());
    listeners.recover();
    assert!(listeners.unlisten(events).is_err());
    assert!(!mailbox.receive().unwrap().step());
    assert_eq!(received.try_recv().as_deref(), Ok("refused"));
}
