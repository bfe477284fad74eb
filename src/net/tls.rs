//! Whom a client trusts and what it shows of itself: certificates and keys from files, and what goes wrong with
//! them, in words.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Error};
use zeroize::Zeroizing;

use super::trust::Trust;
use crate::escape::Escaped;
use crate::session::{Host, TransportError};

/// A bundle of all the world's CAs is a tenth as long.
const LONGEST_FILE: u64 = 4 << 20;

/// Where the certificates and keys are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// A file with the CAs that may have issued a server's certificate; or with that certificate itself, self-signed.
    pub ca: PathBuf,
    /// A file with the client's own certificate, followed by what leads to its issuer; and a file with its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether a server's certificate must be for the name under which it was reached.
    pub verify_hostname: bool,
}

/// A file with which TLS cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", Escaped(&file.to_string_lossy()))]
pub struct InvalidFile {
    /// One of those that [`TlsFiles`] names.
    pub file: PathBuf,
    /// What is wrong with it, in words that go behind a colon.
    pub reason: String,
}

impl InvalidFile {
    fn new(file: &Path, reason: impl Into<String>) -> InvalidFile {
        InvalidFile { file: file.to_owned(), reason: reason.into() }
    }
}

/// TLS with what the files held when they were read.
pub struct Tls {
    files: TlsFiles,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Tls, InvalidFile> {
        let config = read(&files)?;
        Ok(Tls { files, config })
    }

    pub(super) fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// A connection to be made to `host`.
    pub(super) fn connection(&self, host: &Host) -> Result<ClientConnection, TransportError> {
        let name = ServerName::try_from(host.name_without_zone().to_owned()).map_err(|_| {
            TransportError::Tls(format!("no certificate can be for {:?}", Escaped(&host.name)))
        })?;
        ClientConnection::new(self.config.clone(), name).map_err(|error| explain(&error))
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ClientConfig>, InvalidFile> {
    // Not the default of the process: the program chooses that.
    let provider = Arc::new(ring::default_provider());
    let mut trust = Trust::new(files.verify_hostname, &provider);
    for (certificate, number) in certificates(&files.ca)?.into_iter().zip(1..) {
        trust.add(certificate).map_err(|error| {
            InvalidFile::new(&files.ca, format!("certificate {number}: {}", reason_of(&error)))
        })?;
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust));
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (chain, private) = (certificates(cert)?, private_key(key)?);
            let identity = identity(chain, &private).map_err(|error| {
                InvalidFile::new(key, format!("{error}, with {}", Escaped(&cert.to_string_lossy())))
            })?;
            builder.with_client_cert_resolver(Arc::new(identity))
        }
    };
    // When a TLS session is resumed, certificates are not asked for again, however long ago they have expired.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, InvalidFile> {
    let found = CertificateDer::pem_slice_iter(&contents(file)?).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(InvalidFile::new(file, "no certificate in PEM in it")),
        Err(error) => Err(InvalidFile::new(file, error.to_string())),
    }
}

/// Makes what rustls makes of a chain and a key, but leaves no key behind in memory.
fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<SingleCertAndKey, Error> {
    let certified = CertifiedKey::new(chain, ring::sign::any_supported_type(key)?);
    certified.keys_match()?;
    Ok(certified.into())
}

fn private_key(file: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, InvalidFile> {
    // The reason is not repeated: it may show what the file holds.
    PrivateKeyDer::from_pem_slice(&contents(file)?)
        .map(Zeroizing::new)
        .map_err(|_| InvalidFile::new(file, "no private key in PEM, without a password, in it"))
}

fn contents(file: &Path) -> Result<Zeroizing<Vec<u8>>, InvalidFile> {
    let failed = |error: io::Error| InvalidFile::new(file, error.to_string());
    // So the opening of a pipe does not wait for a writer, and a terminal does not become the process's own.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let open = OpenOptions::new().read(true).custom_flags(flags).open(file).map_err(failed)?;
    // Asks about the file that was opened, whatever has its name now. What is not a regular file may have no end, or
    // may block.
    let metadata = open.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(InvalidFile::new(file, "not a file"));
    }
    // With room for the whole file: when a buffer grows, its old contents are left behind in memory.
    let mut contents = Zeroizing::new(Vec::with_capacity(metadata.len().min(LONGEST_FILE) as usize + 1));
    open.take(LONGEST_FILE + 1).read_to_end(&mut contents).map_err(failed)?;
    match contents.len() as u64 > LONGEST_FILE {
        true => Err(InvalidFile::new(file, format!("longer than {LONGEST_FILE} bytes"))),
        false => Ok(contents),
    }
}

/// What ended a connection, for those who have to do something about it.
pub(super) fn explain(error: &Error) -> TransportError {
    // The names that a certificate is good for come from the server.
    TransportError::Tls(Escaped(&reason_of(error)).to_string())
}

fn reason_of(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is not from an issuer in tls.ca.file".to_owned()
            }
            CertificateError::Other(other) => format!("the server's certificate is not accepted: {other}"),
            // In days, so that two faults with the same cause have the same text.
            CertificateError::ExpiredContext { time, not_after } => {
                format!("the server's certificate expired {} days ago", days(*not_after, *time))
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                format!("the server's certificate is only valid in {} days", days(*time, *not_before))
            }
            other => format!("the server's certificate is not accepted: {other}"),
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => {
                format!("the server does not accept the client's certificate, or misses one: {alert:?}")
            }
            other => format!("the server ended it: {other:?}"),
        },
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            format!("the server does not speak TLS here, or not properly: {error}")
        }
        other => other.to_string(),
    }
}

fn days(from: UnixTime, to: UnixTime) -> u64 {
    to.as_secs().saturating_sub(from.as_secs()) / 86_400
}

#[cfg(test)]
mod tests;
