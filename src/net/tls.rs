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

/// A bundle of all the world's CAs is a tenth of it.
const LONGEST_FILE: u64 = 4 << 20;

/// Where the certificates and keys are, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may have issued a server's certificate; or that certificate itself, self-signed.
    pub ca: PathBuf,
    /// The client's own certificate, followed by what leads to its issuer, and the key to it.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether a server's certificate must be for the name under which it was reached.
    pub verify_hostname: bool,
}

/// A file that TLS cannot be had with.
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

/// TLS as the files have it.
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
    // Not the process's: that is for the program to choose.
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

/// As rustls makes it of them, but with a key that is not left behind in memory.
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
    // A pipe is opened without waiting for whoever writes to it, and a terminal does not become the process's own.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let open = OpenOptions::new().read(true).custom_flags(flags).open(file).map_err(failed)?;
    // What was opened, whatever has the name now. Anything else may have no end, or wait for one.
    let metadata = open.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(InvalidFile::new(file, "not a file"));
    }
    // With room for all of it, as what grows leaves behind what it had.
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ServerConfig, ServerConnection};
    use std::fs;
    use tempfile::TempDir;
    use treecache_test_support::{Ca, Identity};

    /// A folder of files for one test.
    struct Files(TempDir);

    impl Files {
        fn new() -> Files {
            Files(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, contents: &str) -> PathBuf {
            let file = self.0.path().join(name);
            fs::write(&file, contents).unwrap();
            file
        }
    }

    fn server(identity: &Identity) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }

    /// What a client says of a server that it reaches as `host`.
    fn meet(tls: &Tls, host: &str, server: &Arc<ServerConfig>) -> Result<(), TransportError> {
        let mut client = tls.connection(&Host { name: host.to_owned(), port: 1 })?;
        let mut server = ServerConnection::new(server.clone()).unwrap();
        let mut wire = Vec::new();
        while client.is_handshaking() {
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = &wire[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().map_err(|error| explain(&error))?;
            }
            wire.clear();
        }
        Ok(())
    }

    #[test]
    fn names_and_addresses_are_compared_with_those_in_the_certificate() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let ca_file = files.write("ca.pem", &ca.pem());
        let load = |verify_hostname| {
            Tls::load(TlsFiles { ca: ca_file.clone(), identity: None, verify_hostname }).unwrap()
        };
        let (strict, lax) = (load(true), load(false));
        let server = server(&ca.issue(&["zk1.example.org", "*.zk.example.org", "127.0.0.1", "::1"]));
        for good in ["zk1.example.org", "ZK1.example.ORG", "a.zk.example.org", "127.0.0.1", "::1"] {
            assert_eq!(meet(&strict, good, &server), Ok(()), "{good}");
        }
        for bad in ["zk2.example.org", "zk.example.org", "a.b.zk.example.org", "127.0.0.2", "::2"] {
            let Err(TransportError::Tls(reason)) = meet(&strict, bad, &server) else { panic!("{bad}") };
            assert!(reason.contains(bad) && reason.contains("zk1.example.org"), "{reason}");
            assert_eq!(meet(&lax, bad, &server), Ok(()), "{bad}");
        }
        for none in ["zk_1!", "-", "a..b"] {
            let Err(TransportError::Tls(reason)) = meet(&lax, none, &server) else { panic!("{none}") };
            assert!(reason.contains(none), "{reason}");
        }
    }

    #[test]
    fn a_self_signed_certificate_is_trusted_where_it_is_named_and_no_cas_own() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let own = Identity::self_signed(&["zk1"]);
        let load = |pem: &str| {
            let ca = files.write("ca.pem", pem);
            Tls::load(TlsFiles { ca, identity: None, verify_hostname: true }).unwrap()
        };
        assert_eq!(meet(&load(&own.cert), "zk1", &server(&own)), Ok(()));
        for (trusted, name, shown) in [
            (&own.cert, "zk2", &own),
            (&Identity::self_signed(&["zk1"]).cert, "zk1", &own),
            (&ca.pem(), "zk1", &own),
            (&ca.pem(), "zk1", &ca.as_identity()),
        ] {
            let error = meet(&load(trusted), name, &server(shown)).unwrap_err();
            assert!(matches!(&error, TransportError::Tls(_)), "{error}");
            assert!(!error.to_string().contains("Error("), "{error}");
        }
    }

    #[test]
    fn a_self_signed_certificate_vouches_for_no_other_and_is_good_for_what_it_says() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let load = |pems: &[&str], verify_hostname| {
            let ca = files.write("ca.pem", &pems.concat());
            Tls::load(TlsFiles { ca, identity: None, verify_hostname }).unwrap()
        };
        for own in [Identity::self_signed(&["zk1"]), Identity::self_signed_and_no_cas(&["zk1"])] {
            for pems in [&[&own.cert[..]][..], &[&ca.pem(), &own.cert]] {
                let (strict, lax) = (load(pems, true), load(pems, false));
                assert_eq!(meet(&strict, "zk1", &server(&own)), Ok(()));
                assert!(meet(&strict, "zk2", &server(&own)).is_err(), "it is not for that name");
                assert_eq!(meet(&lax, "zk2", &server(&own)), Ok(()));
                for name in ["zk1", "zk2"] {
                    let forged = server(&own.issue(&[name]));
                    assert!(meet(&strict, name, &forged).is_err() && meet(&lax, name, &forged).is_err());
                }
            }
        }
        let expired = Identity::self_signed_and_expired(&["zk1"]);
        let error = meet(&load(&[&expired.cert], false), "zk1", &server(&expired)).unwrap_err();
        assert!(error.to_string().contains("days ago"), "{error}");
    }

    #[test]
    fn a_clients_certificate_is_no_servers() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let own = Identity::self_signed_client(&["zk1"]);
        for (pem, shown) in [(ca.pem(), ca.issue_client(&["zk1"])), (own.cert.clone(), own)] {
            for verify_hostname in [true, false] {
                let ca = files.write("ca.pem", &pem);
                let tls = Tls::load(TlsFiles { ca, identity: None, verify_hostname }).unwrap();
                let error = meet(&tls, "zk1", &server(&shown)).unwrap_err();
                assert!(matches!(&error, TransportError::Tls(_)), "{error}");
            }
        }
    }

    #[test]
    fn names_in_a_certificate_do_nothing_to_a_terminal() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let server = server(&ca.issue(&["zk\u{1b}[2J\n\u{7}.example.org"]));
        let files = TlsFiles { ca: files.write("ca.pem", &ca.pem()), identity: None, verify_hostname: true };
        let error = meet(&Tls::load(files).unwrap(), "zk1", &server).unwrap_err().to_string();
        assert!(error.contains("example.org") && !error.contains(char::is_control), "{error:?}");
    }

    #[test]
    fn what_is_said_of_a_certificate_with_a_thousand_names_is_short() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let names: Vec<String> = (0..1000).map(|n| format!("server{n}.example.org")).collect();
        let server = server(&ca.issue(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        let files = TlsFiles { ca: files.write("ca.pem", &ca.pem()), identity: None, verify_hostname: true };
        let Err(error) = meet(&Tls::load(files).unwrap(), "zk1", &server) else { panic!() };
        assert!(error.to_string().len() < 1000, "{error}");
    }

    #[test]
    fn keys_are_read_in_all_forms_and_must_fit_the_certificate() {
        let (ca, files) = (Ca::new("ours"), Files::new());
        let (ca_file, me) = (files.write("ca.pem", &ca.pem()), ca.issue(&["me"]));
        let load = |cert: &str, key: &str| {
            let identity = Some((files.write("me.crt", cert), files.write("me.key", key)));
            Tls::load(TlsFiles { ca: ca_file.clone(), identity, verify_hostname: true }).map(drop)
        };
        let rsa = (include_str!("../../tests/data/rsa.crt"), include_str!("../../tests/data/rsa.key"));
        let ec = (include_str!("../../tests/data/ec.crt"), include_str!("../../tests/data/ec.key"));
        assert!(rsa.1.contains("BEGIN RSA PRIVATE KEY") && ec.1.contains("BEGIN EC PRIVATE KEY"));
        assert!(me.key.contains("BEGIN PRIVATE KEY"));
        for (cert, key) in [rsa, ec, (&me.cert, &me.key)] {
            assert_eq!(load(cert, key), Ok(()));
            // What else is in the file does not matter.
            assert_eq!(load(cert, &format!("a key:\n{cert}{key}")), Ok(()));
        }
        for (cert, key) in [(rsa.0, ec.1), (ec.0, &me.key)] {
            let error = load(cert, key).unwrap_err().to_string();
            assert!(error.contains("me.key") && error.contains("me.crt"), "{error}");
        }
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(load(&me.cert, locked).unwrap_err().reason.contains("without a password"));
        // Far more than any file of certificates has.
        let long = "#".repeat(LONGEST_FILE as usize + 1);
        assert!(load(&long, &me.key).unwrap_err().reason.contains("longer than"));
    }
}
