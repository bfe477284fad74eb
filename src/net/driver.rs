//! What runs on the I/O thread: bytes between the socket and the engine, timers, commands in, outputs out.

use std::collections::HashMap;
use std::io;
use std::panic;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};

use super::connector::{self, Connector};
use super::socket::{self, Socket};
use super::tls::Tls;
use super::{CacheSink, Command, Contact};
use crate::engine::{Engine, Output};
use crate::error::{Fault, Status};
use crate::planted::{self, Defect};
use crate::session::{Action, Host, TransportError};
use crate::state::{EventKind, State};
use crate::sync::{self, CacheId};

pub(super) const WAKER: Token = Token(0);
pub(super) const SOCKET: Token = Token(1);

/// How much is read at a time; between two reads everybody else gets a turn.
const READ_BYTES: usize = 64 << 10;

pub(super) struct Driver {
    poll: Poll,
    commands: Receiver<Command>,
    contact: Arc<Contact>,
    fault: Box<dyn Fn(Fault) + Send>,
    sinks: HashMap<CacheId, Arc<dyn CacheSink>>,
    engine: Engine,
    connector: Connector,
    tls: Option<Tls>,
    /// Of the connection or attempt under way.
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
        tls: Option<Tls>,
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
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Nothing but a broken descriptor makes it fail; do not spin on that.
                log::error!("poll: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
            for event in &events {
                if let (SOCKET, Some(socket)) = (event.token(), &mut self.socket) {
                    socket.handle_event(event);
                }
            }
            self.take_commands();
            if let Some(progress) = self.connector.poll_resolved(self.poll.registry()) {
                self.progress(progress);
            }
            self.finish_connecting();
            let heard = self.read();
            // Behind the read: a server is not silent because this thread did not run.
            let now = Instant::now();
            if self.engine.poll_timeout().is_some_and(|at| now >= at) {
                self.engine.handle_timeout(now);
            }
            if heard {
                self.tell();
                self.contact.touch(now);
            }
        }
    }

    /// How long nothing has to be done.
    fn patience(&self) -> Option<Duration> {
        if self.socket.as_ref().is_some_and(Socket::is_readable) {
            return Some(Duration::ZERO);
        }
        // Rounded up, as `poll` rounds down to milliseconds and would be called again too early.
        let timeout = self.engine.poll_timeout()?.saturating_duration_since(Instant::now());
        Some(if timeout.is_zero() { timeout } else { timeout + Duration::from_millis(1) })
    }

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let now = Instant::now();
            match command {
                Command::Open { id, root, options, sink } => {
                    self.sinks.insert(id, sink);
                    self.engine.open(id, root, options, now);
                }
                Command::Close { id } => {
                    // What is still to be told would come after the close.
                    self.sinks.remove(&id);
                    self.engine.close(id, now);
                }
                Command::Sync { id, ticket } => self.engine.sync(id, ticket, now),
                Command::ShutDown => self.engine.shut_down(now),
                Command::Fail(message) => panic::resume_unwind(Box::new(message)),
            }
        }
    }

    /// Does what the session wants done with the socket.
    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            self.socket = None;
            self.connector.abandon();
            if let Action::Connect(host) = action {
                self.connect(host);
            }
        }
    }

    fn connect(&mut self, host: Host) {
        if let Some(Err(error)) = self.tls.as_mut().map(Tls::renew) {
            let reason = format!("going on with what was read before, as a file cannot be used: {error}");
            self.engine.handle_transport_fault(&TransportError::Tls(reason));
        }
        let progress = self.connector.connect(&host, self.poll.registry());
        self.host = Some(host);
        if let Some(progress) = progress {
            self.progress(progress);
        }
    }

    fn progress(&mut self, progress: connector::Progress) {
        let stream = match progress {
            connector::Progress::Connecting(stream) => stream,
            connector::Progress::Failed(error) => {
                return self.disconnected(TransportError::Connection(error.to_string()));
            }
        };
        let tls = match (&self.tls, &self.host) {
            (Some(tls), Some(host)) => tls.connection(host).map(Some),
            _ => Ok(None),
        };
        match tls {
            Ok(tls) => self.socket = Some(Socket::new(stream, tls)),
            Err(error) => self.disconnected(error),
        }
    }

    fn disconnected(&mut self, reason: TransportError) {
        self.socket = None;
        self.engine.handle_disconnected(reason, Instant::now());
        self.act();
    }

    fn finish_connecting(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        match socket.connect() {
            socket::Progress::Waiting => {}
            socket::Progress::Connected => {
                self.engine.handle_connected(Instant::now());
                self.write();
            }
            socket::Progress::Unreachable(error) => {
                self.socket = None;
                let progress = self.connector.connect_next(self.poll.registry(), Some(error));
                self.progress(progress);
            }
            socket::Progress::Failed(error) => self.disconnected(error),
        }
    }

    /// Reads once. Returns whether the server said something.
    fn read(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        match socket.read(&mut self.buffer) {
            Ok(Some(len)) => {
                planted::panic_if(Defect::PanicOnIoThread);
                self.engine.handle_bytes(&self.buffer[..len], Instant::now());
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
                        tell_cache(&**sink, output);
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
        // First, so that whoever opens a cache behind the last look at the commands sees that it is in vain.
        (self.fault)(fault.clone());
        self.contact.disconnected();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Open { id, sink, .. } = command {
                self.sinks.insert(id, sink);
            }
        }
        for (_, sink) in self.sinks.drain() {
            sink.event(EventKind::ConnectionLost);
            sink.fault(fault.clone());
            sink.set_failure(Some(Status::Panic));
            sink.set_state(State::Closed);
        }
    }
}

fn tell_cache(sink: &dyn CacheSink, output: sync::Output) {
    match output {
        sync::Output::Publish(version, changes) => sink.publish(version, changes),
        sync::Output::State(state) => sink.set_state(state),
        sync::Output::Event(kind) => sink.event(kind),
        sync::Output::Fault(fault) => sink.fault(fault),
        sync::Output::Failure(failure) => sink.set_failure(failure),
        sync::Output::Synced(ticket, answer) => sink.synced(ticket, answer),
        sync::Output::Progress(progress) => sink.set_progress(progress),
    }
}
