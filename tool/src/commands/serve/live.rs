//! How the tree stands, and what happens: as JSON when it is asked for, and as server-sent events to those who follow.
//!
//! Followers are told `status` each second, with what the board has of it, and in between `changes`. Each has a thread, which
//! remembers only how far it has told the board.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use treecache::{Config, Event, EventKind, State, Stats, WatchMode};

use super::board::{Board, Change, Sample};
use super::look::{hexadecimal, named};
use crate::failure::Failure;
use crate::http::{Answer, Seats, Stream, UNAVAILABLE};
use crate::output::state_name;
use crate::source::Source;
use crate::text;

/// So many follow at a time.
const MOST_FOLLOWERS: usize = 32;
/// How often it is looked what there is to be told.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// So many changes are told at a time: a person reads fewer.
const MOST_TOLD: usize = 100;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    source: Arc<Source>,
    board: Mutex<Board>,
    followers: Seats,
    /// Tells a page that another process has taken over, whose seconds are counted anew.
    run: String,
}

impl Live {
    /// Begins to listen to the tree, and to count the seconds.
    pub fn start(source: Arc<Source>) -> Result<Live, Failure> {
        let run = format!("{}-{}", std::process::id(), now());
        let live = Live(Arc::new(Inner {
            source: source.clone(),
            board: Mutex::default(),
            followers: Seats::new(MOST_FOLLOWERS),
            run,
        }));
        let mut wants = Config::new();
        // A tree that loads is no change of it.
        wants.set("listen.after.initialized", "true")?;
        wants.set("listen.initial", "false")?;
        wants.set("listen.events", "added,updated,removed")?;
        let told = live.clone();
        source.cache.listen_with(&wants, move |event: &Event<'_>| {
            if let Some(change) = change(event) {
                told.board().change(change);
            }
        })?;
        let counting = live.clone();
        std::thread::Builder::new()
            .name("treecache-seconds".to_owned())
            .spawn(move || {
                loop {
                    std::thread::sleep(SECOND);
                    counting.second();
                }
            })
            .map_err(|error| Failure::Other(format!("no thread to count the seconds: {error}")))?;
        Ok(live)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn second(&self) {
        let stats = self.0.source.cache.stats();
        let (age, state) = (age(&stats).map(milliseconds), state_name(stats.state));
        self.board().sample(Sample { at: now(), changes: 0, age, nodes: stats.nodes, state });
    }

    /// How the tree stands.
    pub fn status(&self) -> Value {
        let cache = &self.0.source.cache;
        let stats = cache.stats();
        let snapshot = cache.snapshot().ok();
        let root = snapshot.as_ref().and_then(|snapshot| snapshot.root().map(str::to_owned));
        let root = root.or_else(|| Some(self.0.source.path.clone()).filter(|path| !path.is_empty()));
        let fault = cache.last_fault().map(|last| {
            json!({
                "message": text::shown(&last.fault.message),
                "age_ms": milliseconds(last.age),
            })
        });
        let has_root = root.as_deref().zip(snapshot.as_ref()).is_some_and(|(root, snapshot)| {
            !matches!(
                snapshot.get_data(root),
                Err(treecache::Error::NoNode(_) | treecache::Error::NotReady(_))
            )
        });
        json!({
            "run": self.0.run,
            "version": env!("CARGO_PKG_VERSION"),
            "root": root.as_deref().map(|root| named("path", root)),
            "has_root": has_root,
            "is_attached": self.0.source.is_attached(),
            "state": state_name(stats.state),
            "is_initialized": cache.is_initialized(),
            "zxid": snapshot.as_ref().map(|snapshot| hexadecimal(snapshot.zxid().0)),
            "is_cut": snapshot.as_ref().is_some_and(treecache::Snapshot::is_cut),
            "age_ms": age(&stats).map(milliseconds),
            "nodes": snapshot.as_ref().map_or(0, treecache::Snapshot::len),
            "bytes": stats.bytes,
            "versions": stats.versions,
            "connections": stats.connections,
            "resyncs": stats.resyncs,
            "server": stats.server.as_deref().map(text::shown),
            "watch": stats.watch.map(|watch| match watch {
                WatchMode::OneShot => "one for each node",
                _ => "one for the whole tree",
            }),
            "faults": stats.faults,
            "fault": fault,
        })
    }

    /// The seconds that are remembered.
    pub fn history(&self) -> Value {
        json!({ "run": self.0.run, "samples": samples(&self.board(), 0).0 })
    }

    /// Tells somebody all that follows.
    pub fn follow(&self) -> Answer {
        let Some(seat) = self.0.followers.take() else {
            return Answer::error(UNAVAILABLE, "as many pages follow as may: close one of them");
        };
        let live = self.clone();
        Answer::Stream(Box::new(move |stream| {
            let _seat = seat;
            live.tell_all(stream)
        }))
    }

    fn tell_all(&self, stream: &mut Stream) -> io::Result<()> {
        let (mut told, mut seconds) = {
            let board = self.board();
            (board.told(), board.seconds())
        };
        stream.tell("status", &self.status_with(Vec::new()))?;
        loop {
            std::thread::sleep(LOOK_EVERY);
            let (changes, new_samples) = {
                let board = self.board();
                let (left_out, changes) = board.changes_after(told, MOST_TOLD);
                let is_news = left_out > 0 || !changes.is_empty();
                told = board.told();
                let (new_samples, now) = samples(&board, seconds);
                seconds = now;
                (is_news.then(|| changes_value(left_out, &changes)), new_samples)
            };
            // A thread that waits for somebody slow holds nothing.
            if let Some(changes) = changes {
                stream.tell("changes", &changes)?;
            }
            if !new_samples.is_empty() {
                stream.tell("status", &self.status_with(new_samples))?;
            }
        }
    }

    fn status_with(&self, samples: Vec<Value>) -> Value {
        let mut status = self.status();
        status["samples"] = samples.into();
        status
    }
}

/// The seconds behind the first `after`, and how many there were.
fn samples(board: &Board, after: u64) -> (Vec<Value>, u64) {
    let sample = |(number, sample): (u64, &Sample)| {
        json!([number, sample.at, sample.changes, sample.age, sample.nodes, sample.state])
    };
    (board.samples_after(after).map(sample).collect(), board.seconds())
}

fn changes_value(left_out: u64, changes: &[&Change]) -> Value {
    let change = |change: &&Change| {
        let mut value = named("path", &change.path);
        value["kind"] = change.kind.into();
        value["zxid"] = hexadecimal(change.zxid);
        value["bytes"] = change.bytes.into();
        value["at"] = change.at.into();
        value
    };
    json!({ "left_out": left_out, "changes": changes.iter().map(change).collect::<Vec<_>>() })
}

fn change(event: &Event<'_>) -> Option<Change> {
    let kind = match event.kind {
        EventKind::NodeAdded => "added",
        EventKind::NodeUpdated => "updated",
        EventKind::NodeRemoved => "removed",
        _ => return None,
    };
    let bytes = event.node.map(|node| usize::try_from(node.stat().data_length).unwrap_or(0));
    Some(Change { kind, path: event.path?.to_owned(), zxid: event.zxid.0, bytes, at: now() })
}

/// How old what is shown may be. What is attached to says no age of its cuts: it is as old as the last word from a server.
fn age(stats: &Stats) -> Option<Duration> {
    match stats.state {
        State::Latent | State::Loading => None,
        _ => stats.cut_age.or(stats.contact_age),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// In ms since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}
