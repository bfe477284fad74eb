//! The socket of a connection, in plain text or with TLS: the same to those who read and write.

use std::io::{self, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use rustls::ClientConnection;

use super::tls;
use crate::session::TransportError;

/// How often TLS reads from the socket at most before others get a turn, even if the reads yield no data.
const READS: usize = 16;

pub(super) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    phase: Phase,
    /// Readiness is told once, and lasts until the socket would block.
    is_readable: bool,
    is_writable: bool,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Connecting,
    /// Connected, but [`speak`](Socket::speak) was not called yet.
    Reached,
    /// The handshake of TLS, if there is TLS, is not complete.
    Securing,
    Connected,
}

/// How connecting goes on.
pub(super) enum Connecting {
    Waiting,
    /// The server is there. Call [`speak`](Socket::speak) next.
    Reached,
    /// The connection was completed in this call: bytes can be exchanged.
    Connected,
    /// This address does not answer.
    Unreachable(io::Error),
    Failed(TransportError),
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Socket {
        Socket {
            stream,
            tls: None,
            phase: Phase::Connecting,
            is_readable: false,
            is_writable: false,
            broken: None,
        }
    }

    /// Says how to speak with the server that was reached: with TLS, or in plain text.
    pub(super) fn speak(&mut self, tls: Option<ClientConnection>) {
        self.tls = tls.map(Box::new);
        self.phase = Phase::Securing;
    }

    pub(super) fn handle_event(&mut self, event: &Event) {
        self.is_readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.is_writable |= event.is_writable() || event.is_error();
    }

    /// Whether there is something to go on with at once.
    pub(super) fn is_readable(&self) -> bool {
        matches!(self.phase, Phase::Securing | Phase::Connected) && self.is_readable
    }

    /// Goes on with connecting.
    pub(super) fn connect(&mut self) -> Connecting {
        // When the socket is writable or broken for the first time, the attempt is over: it is connected, or could not
        // be.
        if self.phase == Phase::Connecting && (self.is_writable || self.is_readable) {
            let connected = match self.stream.take_error() {
                Ok(None) => self.stream.peer_addr().map(drop),
                Ok(Some(error)) | Err(error) => Err(error),
            };
            match connected {
                Ok(()) => {
                    self.phase = Phase::Reached;
                    // Requests are batched already; a small one must not wait for the next.
                    if let Err(error) = self.stream.set_nodelay(true) {
                        log::debug!("TCP_NODELAY: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => return Connecting::Unreachable(error),
            }
        }
        match self.phase {
            Phase::Connecting | Phase::Connected => return Connecting::Waiting,
            Phase::Reached => return Connecting::Reached,
            Phase::Securing => {}
        }
        match self.secure() {
            Ok(true) => {
                self.phase = Phase::Connected;
                Connecting::Connected
            }
            Ok(false) => Connecting::Waiting,
            Err(error) => Connecting::Failed(error),
        }
    }

    /// The TLS handshake, as far as it goes; `true` at its end.
    fn secure(&mut self) -> Result<bool, TransportError> {
        for _ in 0..READS {
            if !self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                return Ok(true);
            }
            self.write(&mut Vec::new());
            if !self.is_readable {
                break;
            }
            self.receive().map_err(|error| match error {
                tls @ TransportError::Tls(_) => tls,
                reason => TransportError::Tls(format!(
                    "{reason} during the handshake; it may not speak TLS on this port"
                )),
            })?;
        }
        Ok(false)
    }

    /// Reads, and returns how many bytes; `None` if there are none for the caller. The end of the connection is an
    /// error.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TransportError> {
        if self.phase != Phase::Connected || !self.is_readable {
            return Ok(None);
        }
        if self.tls.is_none() {
            let read = self.stream.read(buffer);
            return self.judge(read);
        }
        for _ in 0..READS {
            let Some(tls) = &mut self.tls else { break };
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return self.judge(read),
            }
            if !self.receive()? {
                break;
            }
        }
        Ok(None)
    }

    /// Takes TLS records off the socket; `false` if there are none. What earlier records held must have been read
    /// before.
    fn receive(&mut self) -> Result<bool, TransportError> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        let read = tls.read_tls(&mut self.stream);
        let received = self.judge(read)?.is_some();
        if let (true, Some(tls)) = (received, &mut self.tls) {
            tls.process_new_packets().map_err(|error| tls::explain(&error))?;
        }
        Ok(received)
    }

    /// What a read says about the connection.
    fn judge(&mut self, read: io::Result<usize>) -> Result<Option<usize>, TransportError> {
        let error = match read {
            Ok(0) => return Err(TransportError::Closed),
            Ok(len) => return Ok(Some(len)),
            Err(error) => error,
        };
        let error = match error.kind() {
            io::ErrorKind::Interrupted => return Ok(None),
            io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                match self.broken.take() {
                    Some(broken) => broken,
                    None => return Ok(None),
                }
            }
            _ => error,
        };
        Err(failed(&error))
    }

    /// Writes what the socket takes, and drains it from `bytes`. If a write fails, `read` tells it, after the last
    /// words of the server: they may say why.
    pub(super) fn write(&mut self, bytes: &mut Vec<u8>) {
        let mut sent = 0;
        while self.is_writable && matches!(self.phase, Phase::Securing | Phase::Connected) {
            let written = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.stream),
                _ if sent == bytes.len() => break,
                Some(tls) => tls.writer().write(&bytes[sent..]).inspect(|len| sent += len),
                None => self.stream.write(&bytes[sent..]).inspect(|len| sent += len),
            };
            match written {
                Ok(0) => self.is_writable = false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_writable = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.broken = Some(error);
                        self.is_readable = true;
                    }
                }
            }
        }
        bytes.drain(..sent);
    }
}

/// What it means that a connection, or an attempt at one, ended in `error`.
pub(super) fn failed(error: &io::Error) -> TransportError {
    match error.kind() {
        // If we send after the server has closed the connection, its end shows as a reset.
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => TransportError::Closed,
        _ => TransportError::Connection(error.to_string()),
    }
}

/// Sends TLS's goodbye, or the alert that says what is wrong, as far as the socket takes it at once.
impl Drop for Socket {
    fn drop(&mut self) {
        if let (Some(tls), true) = (&mut self.tls, self.phase != Phase::Connecting) {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
    }
}
