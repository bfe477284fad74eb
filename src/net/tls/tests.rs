//! Files and certificates that are good, and all kinds that are not.

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
    let rsa = (include_str!("../../../tests/data/rsa.crt"), include_str!("../../../tests/data/rsa.key"));
    let ec = (include_str!("../../../tests/data/ec.crt"), include_str!("../../../tests/data/ec.key"));
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
