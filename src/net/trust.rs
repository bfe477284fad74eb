//! Which servers a client trusts, by the certificates that they show.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::planted::{self, Defect};

/// Trusts what a CA vouches for. Trusts a certificate that is not a CA's only as itself: rustls would take it, as every
/// root, for a CA for all names.
#[derive(Debug)]
pub(super) struct Trust {
    cas: RootCertStore,
    /// Certificates that are not a CA's. Whoever holds the key of one must not be able to vouch for other names with
    /// it.
    themselves: Vec<CertificateDer<'static>>,
    verify_hostname: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// Trusts nobody yet.
    pub(super) fn new(verify_hostname: bool, provider: &CryptoProvider) -> Trust {
        Trust {
            cas: RootCertStore::empty(),
            themselves: Vec::new(),
            verify_hostname,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    pub(super) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        match is_ca(&certificate) || planted::is(Defect::EveryoneIsCa) {
            true => self.cas.add(certificate),
            false => {
                alone(&certificate)?;
                self.themselves.push(certificate);
                Ok(())
            }
        }
    }
}

/// Roots with this certificate alone, so that it vouches for nothing but itself.
fn alone(certificate: &CertificateDer<'static>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    Ok(roots)
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // Checks signatures, times, and that the certificate is good for a server.
        let verify = |roots: &RootCertStore, intermediates| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)
        };
        match self.themselves.iter().find(|itself| *itself == end_entity) {
            Some(itself) => verify(&self.cas, intermediates).or_else(|_| verify(&alone(itself)?, &[]))?,
            None => verify(&self.cas, intermediates)?,
        }
        if self.verify_hostname {
            verify_server_name(&certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate says that it is a CA's. A certificate that cannot be understood does not say so.
///
/// rustls does not tell, but it parses the certificate anyway before it is trusted. So it is enough here to go along
/// the elements, and that needs no further crate.
fn is_ca(certificate: &[u8]) -> bool {
    let says = || {
        let signed = Der(certificate).inside(SEQUENCE)?.inside(SEQUENCE)?;
        let (_, extensions) = { signed }.find(|(tag, _)| *tag == EXTENSIONS)?;
        Der(extensions).inside(SEQUENCE)?.find_map(|(_, extension)| {
            let mut parts = Der(extension);
            // Between the two there may be the flag that says whether the extension is critical.
            (parts.next()? == (OBJECT_IDENTIFIER, BASIC_CONSTRAINTS)).then_some(())?;
            let (_, value) = parts.find(|(tag, _)| *tag == OCTET_STRING)?;
            Some(Der(value).inside(SEQUENCE)?.next() == Some((BOOLEAN, &[0xff])))
        })
    };
    says().unwrap_or(false)
}

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The tag of the extensions in a `TBSCertificate`.
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// Elements of DER that follow each other: their tags and contents. The iteration ends at bytes that are no element.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// What is in the next element, if that has this tag.
    fn inside(mut self, expected: u8) -> Option<Der<'a>> {
        self.next().filter(|(tag, _)| *tag == expected).map(|(_, contents)| Der(contents))
    }
}

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], mut rest) = self.0.split_first_chunk()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            let (bytes, behind) = rest.split_at_checked(usize::from(first & 0x7f))?;
            // No certificate is so long that its length needs more than three bytes.
            let bytes = Some(bytes).filter(|bytes| bytes.len() <= 3)?;
            len = bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
            rest = behind;
        }
        let contents;
        (contents, self.0) = rest.split_at_checked(len)?;
        Some((tag, contents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject;
    use treecache_test_support::{Ca, Identity};

    fn der(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
    }

    #[test]
    fn a_certificate_says_whether_it_is_a_cas() {
        let ca = Ca::new("ours");
        assert!(is_ca(&der(&ca.pem())));
        for pem in [
            &ca.issue(&["zk1"]).cert,
            &Identity::self_signed(&["zk1"]).cert,
            &Identity::self_signed_and_no_cas(&["zk1"]).cert,
        ] {
            assert!(!is_ca(&der(pem)));
        }
    }

    #[test]
    fn a_broken_certificate_is_no_cas() {
        let whole = der(&Ca::new("ours").pem());
        // The signature is not looked at, and all before it is needed.
        for len in 0..whole.len() {
            assert!(!is_ca(&whole[..len]), "the first {len} of {} bytes", whole.len());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
            is_ca(&bytes);
            let mut certificate = der(&Ca::new("ours").pem());
            let at = at.index(certificate.len());
            certificate.splice(at..at, bytes);
            is_ca(&certificate);
        }
    }
}
