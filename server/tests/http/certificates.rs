//! Authorities, certificates of servers and operators, and clients that carry them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `name` that is good for servers and clients, as the chart's are.
    pub fn sign(&self, name: &str) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    /// A client that trusts this authority, and shows `identity` if there is one.
    pub fn client(&self, server: SocketAddr, identity: Option<&Signed>) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .tls_certs_only([reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap()])
            .resolve("carillon-server", server);
        match identity {
            Some(Signed { certificate, key }) => {
                builder.identity(reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap())
            }
            None => builder,
        }
    }
}

/// A directory of certificates, removed when dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(authority: &Authority) -> Self {
        let directory = Self(std::env::temp_dir().join(format!("carillon-{}", uuid::Uuid::new_v4())));
        fs::create_dir(&directory.0).unwrap();
        directory.write(authority, &authority.sign("carillon-server"));
        directory
    }

    pub fn write(&self, authority: &Authority, Signed { certificate, key }: &Signed) {
        for (name, content) in [("ca.crt", &authority.pem), ("tls.crt", certificate), ("tls.key", key)] {
            fs::write(self.0.join(name), content).unwrap();
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
