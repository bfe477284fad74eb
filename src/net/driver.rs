//! What runs on the I/O thread: bytes between the socket and the engine, timers, commands in, outputs out.

use std::collections::HashMap;
use std::io;
use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};

use super::connector::{Connector, Resolved};
use super::kerberos::Tokens;
use super::renewal::Renewal;
use super::socket::{self, Connecting, Socket};
use super::{CacheSink, Command, Contact};
use crate::clock;
use crate::engine::{Engine, Output};
use crate::error::{Fault, Status};
use crate::planted::{self, Defect};
use crate::session::{Action, Host, Leg, TransportError};
use crate::state::{EventKind, State};
use crate::sync::{self, CacheId, Input};

pub(super) const WAKER: Token = Token(0);
pub(super) const SOCKET: Token = Token(1);

/// How much is read at a time. Between two reads, commands, errands and timers get their turn.
const READ_BYTES: usize = 64 << 10;

/// What shows the two ends of a connection who the other is, where that is asked for.
pub(super) struct Proofs {
    pub(super) tls: Option<Renewal>,
    pub(super) tokens: Option<Tokens>,
}

pub(super) struct Driver {
    poll: Poll,
    commands: Receiver<Command>,
    contact: Arc<Contact>,
    fault: Box<dyn Fn(Fault) + Send>,
    sinks: HashMap<CacheId, Arc<dyn CacheSink>>,
    engine: Engine,
    connector: Connector,
    tls: Option<Renewal>,
    tokens: Option<Tokens>,
    /// When the clock was last looked at.
    looked: Instant,
    /// The host of the connection, or of the attempt, that is under way.
    host: Option<Host>,
    socket: Option<Socket>,
    buffer: Vec<u8>,
    is_closed: bool,
}

impl Driver {
    pub(super) fn new(
        poll: Poll,
        commands: Receiver<Command>,
        contact: Arc<Contact>,
        connector: Connector,
        fault: Box<dyn Fn(Fault) + Send>,
        engine: Engine,
        Proofs { tls, tokens }: Proofs,
    ) -> Driver {
        Driver {
            poll,
            commands,
            contact,
            fault,
            sinks: HashMap::new(),
            engine,
            connector,
            tls,
            tokens,
            looked: clock::now(),
            host: None,
            socket: None,
            buffer: vec![0; READ_BYTES],
            is_closed: false,
        }
    }

    /// Runs until the session has ended.
    pub(super) fn run(&mut self) {
        let mut events = Events::with_capacity(16);
        loop {
            self.act();
            self.write();
            self.tell();
            if self.is_closed {
                return;
            }
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                // `poll` fails only if a descriptor is broken; do not spin on that.
                log::error!("poll: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
            for event in &events {
                if let (SOCKET, Some(socket)) = (event.token(), &mut self.socket) {
                    socket.handle_event(event);
                }
            }
            self.take_commands();
            self.take_errands();
            self.finish_connecting();
            let heard = self.read();
            // After the read: if this thread did not run for a while, that is no silence of the server.
            let now = self.now();
            if self.engine.poll_timeout().is_some_and(|at| now >= at) {
                self.engine.handle_timeout(now);
            }
            if heard {
                self.tell();
                self.contact.touch(self.engine.heard());
            }
        }
    }

    /// The time. If this thread has paused since the last call, the engine is told here, before it is given anything
    /// that arrived during the pause.
    fn now(&mut self) -> Instant {
        let now = clock::now();
        if now - self.looked >= self.engine.shortest_pause() {
            self.engine.handle_pause(now);
        }
        self.looked = now;
        now
    }

    /// How long the thread may wait: until then nothing has to be done.
    fn patience(&self) -> Duration {
        if self.socket.as_ref().is_some_and(Socket::is_readable) {
            return Duration::ZERO;
        }
        let tls = self.tls.as_ref().and_then(Renewal::poll_timeout);
        let due =
            [self.engine.poll_timeout(), self.connector.poll_timeout(), tls].into_iter().flatten().min();
        // A wait takes at most half as long as the shortest pause: if a turn takes as long as a pause, at least half of
        // it was not spent waiting.
        let longest = self.engine.shortest_pause() / 2;
        let Some(due) = due else { return longest };
        // Rounded up: `poll` rounds down to milliseconds, and would return too early.
        match due.saturating_duration_since(clock::now()) {
            Duration::ZERO => Duration::ZERO,
            patience => longest.min(patience + Duration::from_millis(1)),
        }
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let now = self.now();
            match command {
                Command::Attach(id, sink) => _ = self.sinks.insert(id, sink),
                Command::Input(id, input) => {
                    if let Input::Close = input {
                        // If something is still to be told to the cache, it would come after the close.
                        self.sinks.remove(&id);
                    }
                    self.engine.handle_input(id, input, now);
                }
                Command::ShutDown => self.engine.shut_down(now),
                Command::Fail(message) => panic::resume_unwind(Box::new(message)),
            }
        }
    }

    /// Does what the session wants done with the socket, and for SASL.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Token { host, challenge } => self.make_token(host, challenge),
                Action::Disconnect => self.abandon(),
                Action::Connect(host) => {
                    self.abandon();
                    self.connect(host);
                }
            }
        }
    }

    /// Lets go of what belongs to a connection or attempt.
    fn abandon(&mut self) {
        self.socket = None;
        self.connector.abandon();
        if let Some(tokens) = &mut self.tokens {
            tokens.abandon();
        }
    }

    fn make_token(&mut self, host: Host, challenge: Option<Vec<u8>>) {
        let now = self.now();
        let failure = match &mut self.tokens {
            Some(tokens) => tokens.make(host, challenge, now),
            None => Some("Kerberos was not set up".to_owned()),
        };
        if let Some(reason) = failure {
            self.engine.handle_token(Err(reason), now);
        }
    }

    fn connect(&mut self, host: Host) {
        let now = self.now();
        if let Some(Err(error)) = self.tls.as_mut().map(|tls| tls.begin(now)) {
            self.engine.handle_transport_fault(&error);
        }
        self.connector.connect(&host, now);
        self.host = Some(host);
        match self.connector.is_resolving() {
            true => {
                self.engine.handle_leg(Leg::Resolving, now);
                self.take_resolved(now);
            }
            false => self.connect_next(None),
        }
    }

    /// Takes in what other threads have done for this one: files that were read, names that were resolved, tokens.
    fn take_errands(&mut self) {
        let now = self.now();
        if let Some(Err(error)) = self.tls.as_mut().map(|tls| tls.poll(now)) {
            self.engine.handle_transport_fault(&error);
        }
        if let Some(token) = self.tokens.as_mut().and_then(|tokens| tokens.poll(now)) {
            self.engine.handle_token(token, now);
        }
        self.take_resolved(now);
    }

    fn take_resolved(&mut self, now: Instant) {
        match (self.connector.poll_resolved(now), &self.host) {
            (None, _) | (_, None) => return,
            (Some(Resolved::Found), _) => {}
            (Some(Resolved::Before(error)), Some(host)) => {
                let reason = format!("{host}: going on with the addresses that the name had before: {error}");
                self.engine.handle_transport_fault(&TransportError::Connection(reason));
            }
            (Some(Resolved::Failed(error)), _) => {
                return self.disconnected(TransportError::Connection(error.to_string()));
            }
        }
        self.engine.handle_leg(Leg::Connecting, now);
        self.connect_next(None);
    }

    /// Tries the next address, after the one before failed for `reason`.
    fn connect_next(&mut self, reason: Option<io::Error>) {
        match self.connector.connect_next(self.poll.registry(), reason) {
            Ok(stream) => self.socket = Some(Socket::new(stream)),
            Err(error) => self.disconnected(socket::failed(&error)),
        }
    }

    fn disconnected(&mut self, reason: TransportError) {
        self.socket = None;
        let now = self.now();
        self.engine.handle_disconnected(reason, now);
        self.act();
    }

    fn finish_connecting(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        match socket.connect() {
            Connecting::Waiting => {}
            Connecting::Reached => self.speak(),
            Connecting::Connected => {
                let now = self.now();
                self.engine.handle_connected(now);
                self.write();
            }
            Connecting::Unreachable(error) => {
                self.socket = None;
                self.connect_next(Some(error));
            }
            Connecting::Failed(error) => self.disconnected(error),
        }
    }

    /// Begins to speak with the server that was reached. Does nothing while files for TLS are still being read.
    fn speak(&mut self) {
        let tls = match (&self.tls, &self.host) {
            (Some(tls), Some(host)) => {
                self.engine.handle_leg(Leg::Securing, self.looked);
                tls.connection(host).map(|tls| tls.map(Some))
            }
            _ => Some(Ok(None)),
        };
        match (tls, &mut self.socket) {
            (Some(Ok(tls)), Some(socket)) => {
                socket.speak(tls);
                self.finish_connecting();
            }
            (Some(Err(error)), _) => self.disconnected(error),
            (None, _) | (_, None) => {}
        }
    }

    /// Reads once. Returns whether the server said something.
    fn read(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        match socket.read(&mut self.buffer) {
            Ok(Some(len)) => {
                planted::panic_if(Defect::PanicOnIoThread);
                let now = self.now();
                self.engine.handle_bytes(&self.buffer[..len], now);
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.disconnected(error);
                false
            }
        }
    }

    fn write(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.write(self.engine.transmit());
        }
    }

    /// Hands out what the caches have to tell.
    fn tell(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Cache(id, output) => {
                    if let Some(sink) = self.sinks.get(&id) {
                        sink.tell(output);
                    }
                }
                Output::Fault(fault) => (self.fault)(fault),
                Output::Connected { server, session_id } => self.contact.connected(server, session_id),
                Output::Disconnected => self.contact.disconnected(),
                Output::Closed => self.is_closed = true,
            }
        }
    }

    /// After a panic: nobody must wait for what will not come.
    pub(super) fn fail_all(&mut self, message: &str) {
        let fault = Fault::new(
            Status::Panic,
            format!("a thread panicked, which is a defect of libtreecache: {message}"),
        );
        // First, as it marks the client as failed: if a cache is opened after the last look at the commands, the caller
        // sees that it is in vain.
        (self.fault)(fault.clone());
        self.contact.disconnected();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Attach(id, sink) = command {
                self.sinks.insert(id, sink);
            }
        }
        for (_, sink) in self.sinks.drain() {
            sink.tell(sync::Output::Event(EventKind::ConnectionLost));
            sink.tell(sync::Output::Fault(fault.clone()));
            sink.tell(sync::Output::Failure(Some(Status::Panic)));
            sink.tell(sync::Output::State(State::Closed));
        }
    }
}
