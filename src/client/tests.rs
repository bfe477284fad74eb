//! A client without an I/O thread, whose part a `Hand` plays; and one that reaches no server.

use super::*;
use crate::clock;
use crate::net::{CacheSink, Connection};
use crate::state::{EventKind, State};
use crate::sync::{Input, Output, Ticket};
use std::collections::HashMap;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long ago the server was heard that a test plays.
pub(crate) const HEARD_AGO: Duration = Duration::from_secs(5);

/// A cache that was started, and whom to tell.
type Opened = (CacheId, NodePath, Arc<dyn CacheSink>);

/// In the place of the I/O thread: a test tells the sinks what it wants.
pub(crate) struct Hand {
    sinks: Mutex<HashMap<CacheId, Arc<dyn CacheSink>>>,
    pub(crate) opened: Mutex<Vec<Opened>>,
    pub(crate) closed: Mutex<Vec<CacheId>>,
    pub(crate) synced: Mutex<Vec<Ticket>>,
    /// Called when a cache is opened, in its stead.
    pub(crate) opening: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    pub(crate) client: Mutex<Box<dyn ClientSink>>,
}

impl Hand {
    pub(crate) fn sink(&self) -> Arc<dyn CacheSink> {
        self.opened.lock().unwrap().last().expect("a cache was started").2.clone()
    }
}

impl Io for Arc<Hand> {
    fn attach(&self, id: CacheId, sink: Arc<dyn CacheSink>) {
        self.sinks.lock().unwrap().insert(id, sink);
    }

    fn input(&self, id: CacheId, input: Input) {
        match input {
            Input::Open(root, _) | Input::OpenFrom(root, ..) => match self.opening.lock().unwrap().take() {
                Some(opening) => opening(),
                None => {
                    let sink = self.sinks.lock().unwrap()[&id].clone();
                    self.opened.lock().unwrap().push((id, root, sink));
                }
            },
            Input::Sync(ticket) => self.synced.lock().unwrap().push(ticket),
            Input::Close => {
                self.closed.lock().unwrap().push(id);
                self.opened.lock().unwrap().retain(|(opened, ..)| *opened != id);
            }
        }
    }

    fn heard(&self) -> Option<Instant> {
        Some(clock::now() - HEARD_AGO)
    }

    fn connection(&self) -> Connection {
        let timeout = Some(Duration::from_secs(60));
        Connection { count: 2, session_id: 7, server: Some("zk1:2181".to_owned()), timeout }
    }

    fn shut_down(&self) {
        for (_, _, sink) in self.opened.lock().unwrap().drain(..) {
            sink.tell(Output::State(State::Lost));
            sink.tell(Output::Event(EventKind::ConnectionLost));
        }
    }

    fn fail(&self, message: String) {
        for (_, _, sink) in self.opened.lock().unwrap().drain(..) {
            sink.tell(Output::Fault(Fault::new(Status::Panic, message.clone())));
            sink.tell(Output::Failure(Some(Status::Panic)));
        }
    }

    fn abandon(&self) {}
}

/// A client without a server.
pub(crate) fn client() -> (Client, Arc<Hand>) {
    let mut hand = None;
    let client = Client::with_io(NodePath::root(), Some(String::new()), |sink| {
        let made = Arc::new(Hand {
            sinks: Mutex::default(),
            opened: Mutex::default(),
            closed: Mutex::default(),
            synced: Mutex::default(),
            opening: Mutex::default(),
            client: Mutex::new(sink),
        });
        hand = Some(made.clone());
        Ok(Arc::new(made))
    });
    (client.unwrap(), hand.unwrap())
}

#[test]
fn faults_of_the_session_reach_the_clients_listeners_until_it_is_closed() {
    let (client, hand) = client();
    let (told, faults) = mpsc::channel();
    client.listen_fault(move |fault| told.send(fault.clone()).unwrap()).unwrap();
    let (removed, none) = mpsc::channel();
    let listener = client.listen_fault(move |fault| removed.send(fault.clone()).unwrap()).unwrap();
    client.unlisten(listener).unwrap();
    assert_eq!(client.unlisten(listener).unwrap_err().status(), Status::InvalidArgument);
    let fault = Fault::new(Status::Connection, "refused");
    hand.client.lock().unwrap().fault(fault.clone());
    assert_eq!(faults.recv_timeout(Duration::from_secs(10)), Ok(fault.clone()));
    assert_eq!(none.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    client.close();
    client.close();
    assert_eq!(client.unlisten(listener), Err(Error::Closed));
    hand.client.lock().unwrap().fault(fault);
    assert_eq!(faults.recv_timeout(Duration::from_secs(10)), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(client.listen_fault(|_| {}), Err(Error::Closed));
    assert_eq!(client.cache("/a", &Config::new()).err(), Some(Error::Closed));
}

#[test]
fn malformed_hosts_and_paths_are_refused() {
    let error = Client::new("host:x", &Config::new()).err().unwrap();
    assert_eq!(error.status(), Status::InvalidArgument);
    assert!(error.to_string().contains("host:x"));
    let error = client().0.cache("/a/", &Config::new()).err().unwrap();
    assert_eq!(error.status(), Status::InvalidArgument);
    let mut config = Config::new();
    config.set("limit.path.bytes", "3").unwrap();
    assert!(client().0.cache("/ab", &config).is_ok());
    let error = client().0.cache("/abc", &config).err().unwrap();
    assert_eq!(error.status(), Status::InvalidArgument);
    assert!(error.to_string().contains("limit.path.bytes=3"), "{error}");
}

#[test]
fn a_start_that_races_with_the_end_of_its_client_leaves_the_cache_lost() {
    for _ in 0..200 {
        let client = Client::new("127.0.0.1:1", &Config::new()).unwrap();
        let cache = client.cache("/a", &Config::new()).unwrap();
        let started = std::thread::scope(|scope| {
            scope.spawn(|| client.close());
            cache.start()
        });
        let is_refused = cache.start() == Err(Error::Closed);
        let state = cache.state().0;
        assert!(state == State::Lost || started.is_err() && state == State::Latent, "{started:?} {state:?}");
        assert!(is_refused);
    }
}

#[test]
fn a_client_that_reaches_no_server_can_be_closed_at_once() {
    let client = Client::new("127.0.0.1:1", &Config::new()).unwrap();
    let cache = client.cache("/a", &Config::new()).unwrap();
    cache.start().unwrap();
    assert_eq!(
        cache.wait_initialized(Some(Duration::from_millis(20))).map_err(|error| error.status()),
        Err(Status::Timeout)
    );
    let began = Instant::now();
    drop(client);
    assert_eq!(cache.wait_initialized(None).unwrap_err().status(), Status::Closed);
    drop(cache);
    // The session's time-out would be ten.
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_client_for_which_the_system_has_nothing_left_says_what_that_said() {
    let error = Client::with_io(NodePath::root(), Some(String::new()), |_| {
        Err(std::io::Error::from_raw_os_error(libc::EMFILE))
    })
    .err()
    .unwrap();
    assert_eq!(error.status(), Status::Connection);
    assert!(error.to_string().contains("Too many open files"), "{error}");
}
