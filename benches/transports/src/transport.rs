//! The two clients, brought to one shape.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use std::{collections::VecDeque, thread};

use tokio::runtime::Runtime;
use zookeeper::ZooKeeper;
use zookeeper_client::{AddWatchMode, Client, EventType, MultiReadResult};

use crate::experiments::Heard;

/// A client with one session. Errors are what its own say.
pub trait Transport: Send + Sync + 'static {
    const HOW_IT_LOADS: &str;

    /// Waits for the session. `states` is told the states of the session that the client reports.
    fn connect(hosts: &str, session_timeout: Duration, states: Heard) -> Self;
    /// Reads the tree as fast as the client can; returns how many nodes it has.
    fn load(&self, root: &str) -> usize;
    /// Asks whether `/` exists, and waits for the answer.
    fn request(&self) -> Result<(), String>;
    /// Sets a persistent recursive watch. `changes` is told what it notifies of.
    fn watch(&self, path: &str, changes: Heard);
}

/// `zookeeper`: blocking, with a thread for I/O and one for watches.
pub struct Blocking(ZooKeeper);

impl Transport for Blocking {
    const HOW_IT_LOADS: &str = "64 threads, a request each";

    fn connect(hosts: &str, session_timeout: Duration, states: Heard) -> Blocking {
        let client = ZooKeeper::connect(hosts, session_timeout, |_| {}).expect("a client");
        client.add_listener(move |state| states.push(format!("{state:?}")));
        client.exists("/", false).expect("a session");
        Blocking(client)
    }

    /// The crate can have many requests under way, but each holds a thread.
    fn load(&self, root: &str) -> usize {
        const THREADS: usize = 64;
        let work = Work::of(root);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some(path) = work.take() {
                        let (_, stat) = self.0.get_data(&path, false).expect("data");
                        let mut children = Vec::new();
                        if stat.num_children > 0 {
                            let names = self.0.get_children(&path, false).expect("children");
                            children.extend(names.iter().map(|name| format!("{path}/{name}")));
                        }
                        work.done(children);
                    }
                });
            }
        });
        work.finished()
    }

    fn request(&self) -> Result<(), String> {
        self.0.exists("/", false).map(drop).map_err(|error| format!("{error:?}"))
    }

    fn watch(&self, path: &str, changes: Heard) {
        let mode = zookeeper::AddWatchMode::PersistentRecursive;
        let watcher = move |event: zookeeper::WatchedEvent| changes.push(format!("{event:?}"));
        self.0.add_watch(path, mode, watcher).expect("a watch");
    }
}

/// Paths to be read by several threads.
struct Work {
    paths: Mutex<Paths>,
    changed: Condvar,
}

struct Paths {
    waiting: VecDeque<String>,
    taken: usize,
    done: usize,
}

impl Work {
    fn of(root: &str) -> Work {
        let paths = Paths { waiting: VecDeque::from([root.to_owned()]), taken: 0, done: 0 };
        Work { paths: Mutex::new(paths), changed: Condvar::new() }
    }

    /// The next path; `None` once all are done.
    fn take(&self) -> Option<String> {
        let paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let dry = |paths: &mut Paths| paths.waiting.is_empty() && paths.taken > paths.done;
        let mut paths = self.changed.wait_while(paths, dry).unwrap_or_else(PoisonError::into_inner);
        let path = paths.waiting.pop_front();
        paths.taken += usize::from(path.is_some());
        path
    }

    fn done(&self, children: Vec<String>) {
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        paths.done += 1;
        let wake = !children.is_empty() || paths.taken == paths.done;
        paths.waiting.extend(children);
        if wake {
            self.changed.notify_all();
        }
    }

    fn finished(&self) -> usize {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).done
    }
}

/// `zookeeper-client`: asynchronous, here on tokio.
pub struct Asynchronous {
    runtime: Runtime,
    client: Client,
}

impl Transport for Asynchronous {
    const HOW_IT_LOADS: &str = "multiReads of 256, 4 in flight";

    fn connect(hosts: &str, session_timeout: Duration, states: Heard) -> Asynchronous {
        let runtime = Runtime::new().expect("a runtime");
        let connector = Client::connector().with_session_timeout(session_timeout);
        let client = runtime.block_on(connector.connect(hosts)).expect("a session");
        let mut watcher = client.state_watcher();
        runtime.spawn(async move {
            loop {
                let state = watcher.changed().await;
                states.push(state.to_string());
                if state.is_terminated() {
                    break;
                }
            }
        });
        Asynchronous { runtime, client }
    }

    fn load(&self, root: &str) -> usize {
        const BATCH: usize = 256;
        const IN_FLIGHT: usize = 4;
        self.runtime.block_on(async {
            // A path, and whether its children are wanted rather than its data.
            let mut queue = VecDeque::from([(root.to_owned(), false)]);
            let mut in_flight = VecDeque::new();
            let mut nodes = 0;
            loop {
                while in_flight.len() < IN_FLIGHT && !queue.is_empty() {
                    let batch: Vec<_> = queue.drain(..queue.len().min(BATCH)).collect();
                    let mut reader = self.client.new_multi_reader();
                    for (path, children) in &batch {
                        match children {
                            true => reader.add_get_children(path),
                            false => reader.add_get_data(path),
                        }
                        .expect("a path");
                    }
                    in_flight.push_back((reader.commit(), batch));
                }
                let Some((reply, batch)) = in_flight.pop_front() else { return nodes };
                for (result, (path, _)) in reply.await.expect("an answer").into_iter().zip(batch) {
                    match result {
                        MultiReadResult::Data { stat, .. } => {
                            nodes += 1;
                            if stat.num_children > 0 {
                                queue.push_back((path, true));
                            }
                        }
                        MultiReadResult::Children { children } => {
                            queue.extend(children.iter().map(|name| (format!("{path}/{name}"), false)));
                        }
                        other => panic!("{path}: {other:?}"),
                    }
                }
            }
        })
    }

    fn request(&self) -> Result<(), String> {
        let stat = self.runtime.block_on(self.client.check_stat("/"));
        stat.map(drop).map_err(|error| error.to_string())
    }

    fn watch(&self, path: &str, changes: Heard) {
        let watching = self.client.watch(path, AddWatchMode::PersistentRecursive);
        let mut watcher = self.runtime.block_on(watching).expect("a watch");
        self.runtime.spawn(async move {
            loop {
                let event = watcher.changed().await;
                match event.event_type {
                    EventType::Session if event.session_state.is_terminated() => break,
                    EventType::Session => {}
                    _ => changes.push(event.path),
                }
            }
        });
    }
}
