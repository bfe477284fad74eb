//! A cache that is looked at while its connection, its session or its server suffers: what it is told, whether reads are
//! served all the time, and whether its I/O thread is calm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use treecache::EventKind::{ConnectionLost, ConnectionReconnected, ConnectionSuspended, InStep, Initialized};
use treecache::{Client, Error, EventKind, State, TreeCache};
use treecache_test_support::{Proxy, Witness};

use crate::common::*;

/// A client, its I/O thread, and a cache, all of which are looked at while they suffer.
pub struct Subject {
    pub recorder: Recorder,
    pub faults: Faults,
    pub reader: Option<Reader>,
    pub cache: Arc<TreeCache>,
    pub client: Client,
    pub io: IoThread,
}

impl Subject {
    /// Started, and not waited for.
    #[track_caller]
    pub fn start(hosts: &str, root: &str, settings: &[(&str, &str)]) -> Subject {
        let (client, io) = IoThread::of_a_new_client(hosts, settings);
        let cache = Arc::new(client.cache(root, &config(settings)).expect("a cache"));
        let (recorder, faults) = (Recorder::listen(&cache), Faults::of(&cache));
        cache.start().expect("started");
        Subject { recorder, faults, reader: None, cache, client, io }
    }

    /// Loaded, and in step. From now on reads of the root have to be served.
    #[track_caller]
    pub fn in_step(hosts: &str, root: &str, settings: &[(&str, &str)]) -> Subject {
        let mut subject = Subject::start(hosts, root, settings);
        initialized(&subject.cache);
        subject.recorder.wait_for_kind(InStep, 1);
        subject.reader = Some(Reader::of(&subject.cache, root));
        subject
    }

    pub fn count(&self, kind: EventKind) -> usize {
        self.recorder.events().iter().filter(|event| event.kind == kind).count()
    }

    /// Waits until it is in step once more, and returns what was told since event number `from`.
    #[track_caller]
    pub fn back_in_step(&self, from: usize) -> Vec<Recorded> {
        let told = self.recorder.wait_for(|events| {
            let since = events.get(from..).unwrap_or_default();
            since.iter().any(|event| event.kind == ConnectionReconnected)
                && since.iter().any(|event| event.kind == InStep)
        });
        told[from..].to_vec()
    }

    /// All is as it should be afterwards.
    #[track_caller]
    pub fn assert_recovered(&mut self, witness: &Witness, root: &str) {
        assert_same_as_server(&self.cache, witness, root);
        assert_told_the_tree(&self.recorder, &self.cache);
        if let Some(reader) = self.reader.take() {
            reader.stop();
        }
        self.io.assert_calm(Duration::from_millis(300));
    }

    /// Ends the client.
    #[track_caller]
    pub fn close(self) {
        let Subject { client, cache, .. } = self;
        assert_quick(|| {
            drop(client);
            drop(cache);
        });
    }
}

/// Reads all the time, and does not accept that a read fails.
pub struct Reader {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Option<Error>>,
}

impl Reader {
    pub fn of(cache: &Arc<TreeCache>, path: &str) -> Reader {
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
    pub fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        let failure = self.thread.join().expect("the reader's end");
        assert_eq!(failure, None, "a read that was not served");
    }
}

/// The kinds of what was told, several node events on end as one.
pub fn outline(events: &[Recorded]) -> Vec<&'static str> {
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
pub fn changes<'e>(events: &'e [Recorded], root: &str) -> Vec<(EventKind, &'e str)> {
    let of_nodes = events.iter().filter(|event| event.is_of_a_node());
    of_nodes.map(|event| (event.kind, &event.path[root.len()..])).collect()
}

/// `paths` below `root`, and `root` itself, each with its path as data.
pub fn plant(witness: &Witness, root: &str, paths: &[&str]) {
    witness.create(root, b"root");
    for path in paths {
        witness.create(&format!("{root}{path}"), path.as_bytes());
    }
}

/// Cuts off the subject, has `meanwhile` done, and lets it come back. Returns what it was told.
#[track_caller]
pub fn while_disconnected(proxy: &Proxy, subject: &Subject, meanwhile: impl FnOnce()) -> Vec<Recorded> {
    let from = subject.recorder.events().len();
    proxy.refuse(true);
    proxy.drop_connections();
    wait_for_state(&subject.cache, State::Suspended);
    meanwhile();
    proxy.refuse(false);
    subject.back_in_step(from)
}
