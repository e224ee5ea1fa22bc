//! Who signs the certificates of servers and of the operator.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use carillon_tenant::CertificateFingerprint;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// What every server's certificate is for.
pub const SERVER: &str = "carillon-server";
/// What the operator's certificate is for.
const OPERATOR: &str = "carillon-operator";
/// How long the operator waits for a server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// An authority of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    fingerprint: CertificateFingerprint,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// When this machine can make no keys.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.self_signed(&key).expect("a certificate can sign itself");
        let (pem, fingerprint) = (certificate.pem(), CertificateFingerprint::of(certificate.der()));
        Self { issuer: Issuer::new(params, key), pem, fingerprint }
    }

    /// Which one it is.
    pub const fn fingerprint(&self) -> &CertificateFingerprint {
        &self.fingerprint
    }

    /// Writes what a server's `--admin-tls-directory` holds into `folder`.
    ///
    /// # Panics
    ///
    /// When the folder takes no files.
    pub fn write_for_server(&self, folder: &Path) {
        self.write(SERVER, &[self], folder);
    }

    /// The same for a server that believes others than who signs its certificate.
    ///
    /// # Panics
    ///
    /// When the folder takes no files.
    pub fn write_for_server_that_believes(&self, believed: &[&Self], folder: &Path) {
        self.write(SERVER, believed, folder);
    }

    /// Writes what the operator's `--admin-tls-directory` holds into `folder`.
    ///
    /// # Panics
    ///
    /// When the folder takes no files.
    pub fn write_for_operator(&self, folder: &Path) {
        self.write(OPERATOR, &[self], folder);
    }

    /// Writes a certificate for `name`, its key and those that are believed into `folder`.
    ///
    /// # Panics
    ///
    /// When the folder takes no files.
    pub fn write(&self, name: &str, believed: &[&Self], folder: &Path) {
        let (certificate, key) = self.sign(name);
        for (name, content) in [("ca.crt", &bundle(believed)), ("tls.crt", &certificate), ("tls.key", &key)] {
            fs::write(folder.join(name), content).expect("the test's folder takes files");
        }
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The operator's client for the admin port of one server, and where it is asked.
    ///
    /// # Panics
    ///
    /// When TLS does not like our certificates.
    pub fn operator_of(&self, admin: SocketAddr) -> (reqwest::Client, String) {
        self.operator_that_believes(&[self], admin)
    }

    /// The same of an operator that believes others than who signs its certificate.
    ///
    /// # Panics
    ///
    /// When TLS does not like our certificates.
    pub fn operator_that_believes(&self, believed: &[&Self], admin: SocketAddr) -> (reqwest::Client, String) {
        let (certificate, key) = self.sign(OPERATOR);
        operator_with(&bundle(believed), &certificate, &key, admin)
    }

    /// A certificate for `name`, a DNS name or an IP address, and its key, in PEM.
    ///
    /// # Panics
    ///
    /// When `name` is neither.
    pub fn sign(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a DNS name or an IP address");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority can sign").pem();
        (certificate, key.serialize_pem())
    }
}

fn bundle(authorities: &[&Authority]) -> String {
    authorities.iter().map(|authority| authority.pem.as_str()).collect()
}

/// The client for the admin port of one server of whoever holds the operator's certificate, and where it is asked. All are PEM.
///
/// # Panics
///
/// When TLS does not like them.
pub fn operator_with(authority: &str, certificate: &str, key: &str, admin: SocketAddr) -> (reqwest::Client, String) {
    let identity = reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).expect("a certificate and its key");
    let authorities = reqwest::Certificate::from_pem_bundle(authority.as_bytes()).expect("certificates");
    // One connection at most that may be found closed, as the operator has one to each pod.
    let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).pool_max_idle_per_host(1).resolve(SERVER, admin);
    let client = client.tls_certs_only(authorities).identity(identity).build().expect("TLS can be set up");
    (client, format!("https://{SERVER}:{}", admin.port()))
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
