//! TLS with what its files hold now: they are read again for every connection, on a thread that nobody waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use super::errand::Errand;
use super::tls::{InvalidFile, Tls};
use super::waker::Waker;
use crate::session::{Host, TransportError};

/// How long a connection waits for files that are being read. Mostly they are on a disk; but a network file system that
/// holds them may hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads the files again, as a process outlives its certificates. If they cannot be read, or not in time, what was read
/// before stays in use.
pub(super) struct Renewal {
    tls: Tls,
    reader: Errand<Result<Tls, InvalidFile>>,
    /// Until when the connection that is being made waits for the files.
    until: Option<Instant>,
}

impl Renewal {
    pub(super) fn new(tls: Tls, waker: Arc<Waker>) -> Renewal {
        Renewal { tls, reader: Errand::new("treecache-tls", waker), until: None }
    }

    /// Begins to read the files for a connection; the waker tells when to poll.
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), TransportError> {
        if self.reader.is_under_way() {
            // The files are being read for an earlier connection. If `until` is `None`, that connection waited in vain,
            // and no other one waits for this read again.
            return self.until.map(drop).ok_or_else(too_late);
        }
        let files = self.tls.files().clone();
        self.reader.start(move || Tls::load(files)).map_err(kept)?;
        self.until = Some(now + PATIENCE);
        Ok(())
    }

    /// When to poll, even if the waker has not been woken.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }

    /// Takes in what was read, even if it was for an earlier connection. Each failure is told once.
    pub(super) fn poll(&mut self, now: Instant) -> Result<(), TransportError> {
        if let Some(read) = self.reader.poll() {
            self.until = None;
            self.tls = read.map_err(kept)?;
        }
        match self.until.take_if(|until| now >= *until) {
            Some(_) => Err(too_late()),
            None => Ok(()),
        }
    }

    /// A connection to be made to `host`; `None` while the files are waited for.
    pub(super) fn connection(&self, host: &Host) -> Option<Result<ClientConnection, TransportError>> {
        self.until.is_none().then(|| self.tls.connection(host))
    }
}

fn too_late() -> TransportError {
    let bound = PATIENCE.as_millis();
    TransportError::Tls(format!(
        "going on with what was read before, as reading the files takes more than {bound} ms"
    ))
}

fn kept(reason: impl std::fmt::Display) -> TransportError {
    TransportError::Tls(format!("going on with what was read before, as a file cannot be used: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::TlsFiles;
    use mio::{Events, Poll, Token};
    use std::fs;
    use std::sync::mpsc::channel;
    use tempfile::NamedTempFile;
    use treecache_test_support::Ca;

    fn reason<T>(result: Result<T, TransportError>) -> String {
        result.err().expect("a fault").to_string()
    }

    #[test]
    fn a_file_system_that_hangs_holds_up_one_connection_for_a_moment_and_no_other() {
        let ca = NamedTempFile::new().unwrap();
        fs::write(&ca, Ca::new("ours").pem()).unwrap();
        let files = TlsFiles { ca: ca.path().to_owned(), identity: None, verify_hostname: true };
        let load = move || Tls::load(files.clone());
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut renewal = Renewal::new(load().unwrap(), waker);
        let (now, host) = (Instant::now(), Host { name: "a".to_owned(), port: 1 });
        let mut wait = || poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(10))).unwrap();

        // As ever: nothing is agreed on before the files have been read.
        renewal.begin(now).unwrap();
        assert!(renewal.connection(&host).is_none());
        wait();
        renewal.poll(now).unwrap();
        assert!(renewal.connection(&host).is_some() && renewal.poll_timeout().is_none());

        // In the place of a file system that hangs.
        let (release, hangs) = channel();
        renewal.reader.start(move || hangs.recv().map_or_else(|_| load(), |()| load())).unwrap();
        renewal.until = Some(now + PATIENCE);
        renewal.begin(now).unwrap();
        renewal.poll(now).unwrap();
        assert!(renewal.connection(&host).is_none());
        let late = renewal.poll_timeout().expect("an end of the wait");
        assert!(reason(renewal.poll(late)).contains("reading the files takes more than 1000 ms"));
        assert!(renewal.connection(&host).is_some() && renewal.poll_timeout().is_none());
        renewal.poll(late).unwrap();
        assert!(reason(renewal.begin(late)).contains("read before"));
        assert!(renewal.connection(&host).is_some(), "nobody waits again");

        // It goes on, and what it holds now is not what it was.
        fs::write(&ca, "nothing").unwrap();
        release.send(()).unwrap();
        wait();
        assert!(reason(renewal.poll(late)).contains("no certificate"));
        assert!(renewal.connection(&host).is_some());
    }
}
