//! Whom a client trusts and what it shows of itself: certificates and keys from files, and what goes wrong with
//! them, in words.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};

use crate::session::{Host, TransportError};

/// A bundle of all the world's CAs is a tenth of it.
const LONGEST_FILE: u64 = 4 << 20;

/// The names that a certificate is good for come from the server.
const LONGEST_REASON: usize = 500;

/// Where the certificates and keys are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may have issued a server's certificate.
    pub ca: PathBuf,
    /// The client's own certificate, followed by what leads to its issuer, and the key to it.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether a server's certificate must be for the name under which it was reached.
    pub verify_hostname: bool,
}

/// A file that TLS cannot be had with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct InvalidFile {
    pub file: PathBuf,
    pub reason: String,
}

impl InvalidFile {
    fn new(file: &Path, reason: impl Into<String>) -> InvalidFile {
        InvalidFile { file: file.to_owned(), reason: reason.into() }
    }
}

/// TLS as the files had it when they were last good.
pub struct Tls {
    files: TlsFiles,
    config: Arc<ClientConfig>,
}

impl Tls {
    pub fn load(files: TlsFiles) -> Result<Tls, InvalidFile> {
        let config = read(&files)?;
        Ok(Tls { files, config })
    }

    /// Reads the files again: a process outlives its certificates. What was read before stays where that fails.
    pub(super) fn renew(&mut self) -> Result<(), InvalidFile> {
        self.config = read(&self.files)?;
        Ok(())
    }

    /// A connection to be made to `host`.
    pub(super) fn connection(&self, host: &Host) -> Result<ClientConnection, TransportError> {
        let name = ServerName::try_from(host.name.clone())
            .map_err(|_| TransportError::Tls(format!("no certificate can be for {:?}", host.name)))?;
        ClientConnection::new(self.config.clone(), name).map_err(|error| explain(&error))
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ClientConfig>, InvalidFile> {
    // Not the process's: that is for the program to choose.
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for (certificate, number) in certificates(&files.ca)?.into_iter().zip(1..) {
        roots.add(certificate).map_err(|error| {
            InvalidFile::new(&files.ca, format!("certificate {number}: {}", reason_of(&error)))
        })?;
    }
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has them");
    let builder = match files.verify_hostname {
        true => builder.with_root_certificates(roots),
        false => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName::new(roots, &provider)))
        }
    };
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let (chain, private) = (certificates(cert)?, private_key(key)?);
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| InvalidFile::new(key, format!("{error}, with {}", cert.display())))?
        }
    };
    // Who resumes is not asked for certificates again, however long ago they have expired.
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

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, InvalidFile> {
    // The reason is not repeated: it may show what the file holds.
    PrivateKeyDer::from_pem_slice(&contents(file)?)
        .map_err(|_| InvalidFile::new(file, "no private key in PEM, without a password, in it"))
}

fn contents(file: &Path) -> Result<Vec<u8>, InvalidFile> {
    let failed = |error: io::Error| InvalidFile::new(file, error.to_string());
    // Anything else may have no end, or wait for one.
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return Err(InvalidFile::new(file, "not a file"));
    }
    let mut contents = Vec::new();
    File::open(file)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut contents))
        .map_err(failed)?;
    match contents.len() as u64 > LONGEST_FILE {
        true => Err(InvalidFile::new(file, format!("longer than {LONGEST_FILE} bytes"))),
        false => Ok(contents),
    }
}

/// Trusts a certificate that its issuers vouch for, whatever name it is for.
#[derive(Debug)]
struct AnyName {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyName {
    fn new(roots: RootCertStore, provider: &CryptoProvider) -> AnyName {
        AnyName { roots, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What ended a connection, for those who have to do something about it.
pub(super) fn explain(error: &rustls::Error) -> TransportError {
    TransportError::Tls(reason_of(error).chars().take(LONGEST_REASON).collect())
}

fn reason_of(error: &rustls::Error) -> String {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is not from an issuer in tls.ca.file".to_owned()
            }
            // In days, so that two faults of the same cause are the same.
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
