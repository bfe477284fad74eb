//! Certificates of the tests' own making.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SigningKey, date_time_ymd,
};

/// A certificate authority.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Ca {
    /// A new one, which nobody knows.
    pub fn new(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Ca { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate") }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Itself, as if it were a server.
    pub fn as_identity(&self) -> Identity {
        Identity { cert: self.pem(), key: self.issuer.key().serialize_pem() }
    }

    /// A certificate for these host names and addresses, good for servers and clients.
    pub fn issue(&self, names: &[&str]) -> Identity {
        sign(parameters(names), &self.issuer)
    }

    /// One that was good once.
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        sign(expired(parameters(names)), &self.issuer)
    }

    /// One that is good for clients only.
    pub fn issue_client(&self, names: &[&str]) -> Identity {
        sign(for_clients(parameters(names)), &self.issuer)
    }
}

impl Identity {
    /// A certificate that nobody else vouches for.
    pub fn self_signed(names: &[&str]) -> Identity {
        sign_itself(parameters(names))
    }

    /// One that says that it is no CA's, where others say nothing of it.
    pub fn self_signed_and_no_cas(names: &[&str]) -> Identity {
        let mut params = parameters(names);
        params.is_ca = IsCa::ExplicitNoCa;
        sign_itself(params)
    }

    /// One that was good once.
    pub fn self_signed_and_expired(names: &[&str]) -> Identity {
        sign_itself(expired(parameters(names)))
    }

    /// One that is good for clients only.
    pub fn self_signed_client(names: &[&str]) -> Identity {
        sign_itself(for_clients(parameters(names)))
    }

    /// What its holder can issue with it, be it no CA.
    pub fn issue(&self, names: &[&str]) -> Identity {
        let key = KeyPair::from_pem(&self.key).expect("a key");
        // All of these have one name.
        sign(parameters(names), &Issuer::new(parameters(&[]), key))
    }
}

fn sign(params: CertificateParams, issuer: &Issuer<'_, impl SigningKey>) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let cert = params.signed_by(&key, issuer).expect("a certificate");
    Identity { cert: cert.pem(), key: key.serialize_pem() }
}

fn sign_itself(params: CertificateParams) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a certificate");
    Identity { cert: cert.pem(), key: key.serialize_pem() }
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    params
}

fn for_clients(mut params: CertificateParams) -> CertificateParams {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("host names");
    params.distinguished_name.push(DnType::CommonName, "treecache test");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
