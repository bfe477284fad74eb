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
use super::{CacheSink, ClientSink, Command, Contact};
use crate::clock;
use crate::engine::{Engine, Output, SideInput};
use crate::error::{Fault, Status};
use crate::panics::catch;
use crate::planted::{self, Defect};
use crate::session::{Action, Host, Leg, TransportError};
use crate::state::{EventKind, State};
use crate::sync::{self, CacheId, Input};

pub(super) const WAKER: Token = Token(0);
pub(super) const SOCKET: Token = Token(1);
/// Of the connection that asks what has changed.
pub(super) const SIDE: Token = Token(2);

/// How much is read at a time. Between two reads, commands, errands and timers get their turn.
const READ_BYTES: usize = 64 << 10;

/// One of the connections, or what leads to it.
pub(super) struct Line {
    connector: Connector,
    /// Where Kerberos shows who the client is.
    tokens: Option<Tokens>,
    /// The host of the connection, or of the attempt, that is under way.
    host: Option<Host>,
    socket: Option<Socket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// What caches live on.
    Main,
    /// What asks what has changed.
    Side,
}

impl Line {
    pub(super) fn new(connector: Connector, tokens: Option<Tokens>) -> Line {
        Line { connector, tokens, host: None, socket: None }
    }

    /// Lets go of what belongs to a connection or attempt.
    fn abandon(&mut self) {
        self.socket = None;
        self.connector.abandon();
        if let Some(tokens) = &mut self.tokens {
            tokens.abandon();
        }
    }
}

pub(super) struct Driver {
    poll: Poll,
    commands: Receiver<Command>,
    contact: Arc<Contact>,
    client: Box<dyn ClientSink>,
    sinks: HashMap<CacheId, Arc<dyn CacheSink>>,
    engine: Engine,
    tls: Option<Renewal>,
    main: Line,
    side: Line,
    /// When the clock was last looked at.
    looked: Instant,
    buffer: Vec<u8>,
    is_closed: bool,
}

impl Driver {
    pub(super) fn new(
        poll: Poll,
        commands: Receiver<Command>,
        contact: Arc<Contact>,
        client: Box<dyn ClientSink>,
        engine: Engine,
        tls: Option<Renewal>,
        [main, side]: [Line; 2],
    ) -> Driver {
        Driver {
            poll,
            commands,
            contact,
            client,
            sinks: HashMap::new(),
            engine,
            tls,
            main,
            side,
            looked: clock::now(),
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
                let socket = match event.token() {
                    SOCKET => &mut self.main.socket,
                    SIDE => &mut self.side.socket,
                    _ => continue,
                };
                if let Some(socket) = socket {
                    socket.handle_event(event);
                }
            }
            self.take_commands();
            self.take_errands();
            self.finish_connecting(Which::Main);
            self.finish_connecting(Which::Side);
            let heard = self.read(Which::Main);
            self.read(Which::Side);
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

    fn line(&mut self, which: Which) -> &mut Line {
        match which {
            Which::Main => &mut self.main,
            Which::Side => &mut self.side,
        }
    }

    /// Tells the engine what has happened on a line.
    fn tell_engine(&mut self, which: Which, input: SideInput<'_>, now: Instant) {
        match (which, input) {
            (Which::Side, input) => self.engine.handle_side(input, now),
            (Which::Main, SideInput::Leg(leg)) => self.engine.handle_leg(leg, now),
            (Which::Main, SideInput::Connected) => self.engine.handle_connected(now),
            (Which::Main, SideInput::Disconnected(reason)) => self.engine.handle_disconnected(reason, now),
            (Which::Main, SideInput::Token(token)) => self.engine.handle_token(token, now),
            (Which::Main, SideInput::Bytes(bytes)) => self.engine.handle_bytes(bytes, now),
        }
    }

    /// How long the thread may wait: until then nothing has to be done.
    fn patience(&self) -> Duration {
        let lines = [&self.main, &self.side];
        if lines.iter().any(|line| line.socket.as_ref().is_some_and(Socket::is_readable)) {
            return Duration::ZERO;
        }
        let tls = self.tls.as_ref().and_then(Renewal::poll_timeout);
        let [main, side] = lines.map(|line| line.connector.poll_timeout());
        let due = [self.engine.poll_timeout(), main, side, tls].into_iter().flatten().min();
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

    /// Does what the sessions want done with their sockets, and for SASL.
    fn act(&mut self) {
        loop {
            let (which, action) = match (self.engine.poll_action(), self.engine.poll_side_action()) {
                (None, None) => return,
                (Some(action), None) => (Which::Main, action),
                (None, Some(action)) => (Which::Side, action),
                (Some(action), Some(side)) => {
                    self.act_on(Which::Main, action);
                    (Which::Side, side)
                }
            };
            self.act_on(which, action);
        }
    }

    fn act_on(&mut self, which: Which, action: Action) {
        match action {
            Action::Token { host, challenge } => self.make_token(which, host, challenge),
            Action::Disconnect => self.line(which).abandon(),
            Action::Connect(host) => {
                self.line(which).abandon();
                self.connect(which, host);
            }
        }
    }

    fn make_token(&mut self, which: Which, host: Host, challenge: Option<Vec<u8>>) {
        let now = self.now();
        let failure = match &mut self.line(which).tokens {
            Some(tokens) => tokens.make(host, challenge, now),
            None => Some("Kerberos was not set up".to_owned()),
        };
        if let Some(reason) = failure {
            self.tell_engine(which, SideInput::Token(Err(reason)), now);
        }
    }

    fn connect(&mut self, which: Which, host: Host) {
        let now = self.now();
        if let Some(Err(error)) = self.tls.as_mut().map(|tls| tls.begin(now)) {
            self.engine.handle_transport_fault(&error);
        }
        let line = self.line(which);
        line.connector.connect(&host, now);
        line.host = Some(host);
        match line.connector.is_resolving() {
            true => {
                self.tell_engine(which, SideInput::Leg(Leg::Resolving), now);
                self.take_resolved(which, now);
            }
            false => self.connect_next(which, None),
        }
    }

    /// Takes in what other threads have done for this one: files that were read, names that were resolved, tokens.
    fn take_errands(&mut self) {
        let now = self.now();
        if let Some(Err(error)) = self.tls.as_mut().map(|tls| tls.poll(now)) {
            self.engine.handle_transport_fault(&error);
        }
        for which in [Which::Main, Which::Side] {
            if let Some(token) = self.line(which).tokens.as_mut().and_then(|tokens| tokens.poll(now)) {
                self.tell_engine(which, SideInput::Token(token), now);
            }
            self.take_resolved(which, now);
        }
    }

    fn take_resolved(&mut self, which: Which, now: Instant) {
        let line = self.line(which);
        match (line.connector.poll_resolved(now), &line.host) {
            (None, _) | (_, None) => return,
            (Some(Resolved::Found), _) => {}
            (Some(Resolved::Before(error)), Some(host)) => {
                let reason = format!("{host}: going on with the addresses that the name had before: {error}");
                if which == Which::Main {
                    self.engine.handle_transport_fault(&TransportError::Connection(reason));
                }
            }
            (Some(Resolved::Failed(error)), _) => {
                return self.disconnected(which, TransportError::Connection(error.to_string()));
            }
        }
        self.tell_engine(which, SideInput::Leg(Leg::Connecting), now);
        self.connect_next(which, None);
    }

    /// Tries the next address, after the one before failed for `reason`.
    fn connect_next(&mut self, which: Which, reason: Option<io::Error>) {
        let line = match which {
            Which::Main => &mut self.main,
            Which::Side => &mut self.side,
        };
        match line.connector.connect_next(self.poll.registry(), reason) {
            Ok(stream) => line.socket = Some(Socket::new(stream)),
            Err(error) => self.disconnected(which, socket::failed(&error)),
        }
    }

    fn disconnected(&mut self, which: Which, reason: TransportError) {
        self.line(which).socket = None;
        let now = self.now();
        self.tell_engine(which, SideInput::Disconnected(reason), now);
        self.act();
    }

    fn finish_connecting(&mut self, which: Which) {
        let Some(socket) = &mut self.line(which).socket else { return };
        match socket.connect() {
            Connecting::Waiting => {}
            Connecting::Reached => self.speak(which),
            Connecting::Connected => {
                let now = self.now();
                self.tell_engine(which, SideInput::Connected, now);
                self.write();
            }
            Connecting::Unreachable(error) => {
                self.line(which).socket = None;
                self.connect_next(which, Some(error));
            }
            Connecting::Failed(error) => self.disconnected(which, error),
        }
    }

    /// Begins to speak with the server that was reached. Does nothing while files for TLS are still being read.
    fn speak(&mut self, which: Which) {
        let host = self.line(which).host.clone();
        let tls = match (&self.tls, host) {
            (Some(tls), Some(host)) => {
                let tls = tls.connection(&host).map(|tls| tls.map(Some));
                self.tell_engine(which, SideInput::Leg(Leg::Securing), self.looked);
                tls
            }
            _ => Some(Ok(None)),
        };
        match (tls, &mut self.line(which).socket) {
            (Some(Ok(tls)), Some(socket)) => {
                socket.speak(tls);
                self.finish_connecting(which);
            }
            (Some(Err(error)), _) => self.disconnected(which, error),
            (None, _) | (_, None) => {}
        }
    }

    /// Reads once. Returns whether the server said something.
    fn read(&mut self, which: Which) -> bool {
        let line = match which {
            Which::Main => &mut self.main,
            Which::Side => &mut self.side,
        };
        let Some(socket) = &mut line.socket else { return false };
        match socket.read(&mut self.buffer) {
            Ok(Some(len)) => {
                planted::panic_if(Defect::PanicOnIoThread);
                let now = self.now();
                let bytes = std::mem::take(&mut self.buffer);
                self.tell_engine(which, SideInput::Bytes(&bytes[..len]), now);
                self.buffer = bytes;
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.disconnected(which, error);
                false
            }
        }
    }

    fn write(&mut self) {
        if let Some(socket) = &mut self.main.socket {
            socket.write(self.engine.transmit());
        }
        if let (Some(socket), Some(bytes)) = (&mut self.side.socket, self.engine.side_transmit()) {
            socket.write(bytes);
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
                Output::Fault(fault) => self.client.fault(fault),
                Output::Connected { server, session_id, timeout } => {
                    self.contact.connected(server, session_id, timeout);
                }
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
        or_logged(|| self.client.fault(fault.clone()));
        self.contact.disconnected();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Attach(id, sink) = command {
                self.sinks.insert(id, sink);
            }
        }
        for (_, sink) in self.sinks.drain() {
            // It may be where the panic came from.
            or_logged(|| {
                sink.tell(sync::Output::Event(EventKind::ConnectionLost));
                sink.tell(sync::Output::Fault(fault.clone()));
                sink.tell(sync::Output::Failure(Some(Status::Panic)));
                sink.tell(sync::Output::State(State::Closed));
            });
        }
        self.client.failed();
    }
}

/// Goes on behind a panic, of which the log tells.
fn or_logged(body: impl FnOnce()) {
    if let Err(message) = catch(body) {
        log::error!("a thread panicked: {message}");
    }
}
