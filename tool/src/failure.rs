//! Why a command ends without having done what it was asked for, and with which exit code.

use std::io;
use std::process::ExitCode;

use treecache::{Error, Status};

/// What scripts are told. `docs/tool.md` has the same table.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done; also if the reader of the output has gone
  1    the answer is no: `diff` found differences, `doctor` found something wrong
  2    the arguments or settings are wrong
  3    there is no such node
  4    the time was over
  5    no server could be used: no connection, TLS failed, the protocol was broken
  6    not allowed: the server refused who the session is, or a node may not be read
  7    anything else: a file cannot be read or written, a limit was met
  130  Ctrl-C";

/// The answer is no.
pub const NO: u8 = 1;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line, or what it names, is wrong.
    #[error("{0}")]
    Usage(String),
    /// There is no such node.
    #[error("no such node: {0}")]
    NoNode(String),
    /// What was waited for did not come in time.
    #[error("{0}")]
    Timeout(String),
    /// There was no server to be used.
    #[error("{0}")]
    Connection(String),
    /// The session is not allowed to do it.
    #[error("{0}")]
    Refused(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
    /// Nobody reads what is written.
    #[error("nobody reads the output")]
    Unheard,
}

impl Failure {
    /// What the process exits with.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Unheard => 0,
            Failure::Usage(_) => 2,
            Failure::NoNode(_) => 3,
            Failure::Timeout(_) => 4,
            Failure::Connection(_) => 5,
            Failure::Refused(_) => 6,
            Failure::Other(_) => 7,
        })
    }

    /// A file that cannot be read or written.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Failure {
        Failure::Other(format!("{}: {error}", path.display()))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        if let Error::NoNode(path) = &error {
            return Failure::NoNode(crate::text::shown(path).into_owned());
        }
        let message = error.to_string();
        match error.status() {
            Status::InvalidArgument | Status::OutOfTree => Failure::Usage(message),
            Status::Timeout | Status::NotReady => Failure::Timeout(message),
            Status::Connection | Status::Tls | Status::Protocol | Status::Reset => {
                Failure::Connection(message)
            }
            Status::Auth | Status::NoPermission => Failure::Refused(message),
            _ => Failure::Other(message),
        }
    }
}

/// Of stdout: other files are named by [`Failure::file`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unheard,
            _ => Failure::Other(format!("cannot write the output: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}
