//! The admin port's certificates: from a directory, taken anew when they change, and good for the operator alone.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use carillon_tenant::{CertificateFingerprint, Validity, push::CertificatesInForce};
use prometheus_client::metrics::counter::Counter;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::side_port::TlsConfigs;

/// How often the directory is looked at.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// The server's certificate and its chain.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The key of that certificate.
pub const KEY_FILE: &str = "tls.key";
/// Who signs the operator's certificate.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// Why certificates can't be used. Never holds a byte of a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{path} holds no {expected} in PEM")]
    Content {
        /// The file.
        path: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// The files don't fit together.
    #[error("the certificates in {path} can't be used: {reason}")]
    Unusable {
        /// The directory.
        path: String,
        /// Why.
        reason: String,
    },
}

/// Makes AWS-LC the process's cryptography for TLS. Doing so again changes nothing.
pub fn install_provider() {
    aws_lc_rs::default_provider().install_default().ok();
}

/// Certificates that follow their files.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
    operator: ServerName<'static>,
    /// What was tried last, good or not.
    tried: Files,
    config: watch::Sender<Arc<ServerConfig>>,
    in_force: watch::Sender<Arc<InForce>>,
}

/// What is known of the certificates in force.
#[derive(Clone, Debug)]
pub struct InForce {
    serving: (CertificateFingerprint, Validity),
    authorities: Vec<(CertificateFingerprint, Validity)>,
}

impl InForce {
    fn new(chain: &[CertificateDer<'_>], authorities: &[CertificateDer<'_>]) -> Option<Self> {
        let known = |certificate: &CertificateDer<'_>| Some((CertificateFingerprint::of(certificate), Validity::of(certificate)?));
        Some(Self { serving: known(chain.first()?)?, authorities: authorities.iter().map(known).collect::<Option<_>>()? })
    }

    /// As the operator is told.
    pub fn report(&self) -> CertificatesInForce {
        CertificatesInForce {
            serving: self.serving.0.clone(),
            authorities: self.authorities.iter().map(|(fingerprint, _)| fingerprint.clone()).collect(),
        }
    }

    /// The certificate that is shown.
    pub const fn serving(&self) -> Validity {
        self.serving.1
    }

    /// Of the authorities, the one that ends first.
    pub fn authority(&self) -> Validity {
        let ends = |validity: &Validity| validity.not_after;
        self.authorities.iter().map(|(_, validity)| *validity).min_by_key(ends).unwrap_or(self.serving.1)
    }
}

impl Certificates {
    /// Reads `directory`. Only a peer whose certificate names `operator` is let in.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] when the files are no usable certificates.
    pub fn load(directory: &Path, operator: ServerName<'static>) -> Result<Self, CertificateError> {
        let tried = Files::read(directory)?;
        let (config, in_force) = tried.config(directory, &operator)?;
        let (config, in_force) = (watch::Sender::new(config), watch::Sender::new(in_force));
        Ok(Self { directory: directory.to_owned(), operator, tried, config, in_force })
    }

    /// What is in force, as long as this value lives.
    pub fn in_force(&self) -> watch::Receiver<Arc<InForce>> {
        self.in_force.subscribe()
    }

    /// The configuration in force.
    pub fn configs(&self) -> TlsConfigs {
        self.config.subscribe()
    }

    /// Looks every `interval` whether the files have changed, until `stop`. What can't be used is counted in `failures`, and the last
    /// good certificates stay in force.
    pub async fn follow(mut self, interval: Duration, failures: Counter, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(interval)).await.is_some() {
            let looked = tokio::task::spawn_blocking(move || {
                let outcome = self.reload();
                (self, outcome)
            });
            let Ok((looked, outcome)) = looked.await else { return };
            self = looked;
            match outcome {
                Ok(false) => {}
                Ok(true) => tracing::info!("certificates reloaded"),
                Err(error) => {
                    failures.inc();
                    tracing::warn!(%error, "certificates not reloaded: the last good ones stay in force");
                }
            }
        }
    }

    /// True when the files changed and are in force now. Files that can't be used are reported once.
    fn reload(&mut self) -> Result<bool, CertificateError> {
        let files = Files::read(&self.directory)?;
        // A second reading that differs means that they are being replaced at this moment: they are complete the next time.
        if files == self.tried || Files::read(&self.directory)? != files {
            return Ok(false);
        }
        let config = files.config(&self.directory, &self.operator);
        self.tried = files;
        let (config, in_force) = config?;
        self.config.send_replace(config);
        // Only what is in force is told.
        self.in_force.send_replace(in_force);
        Ok(true)
    }
}

#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Files {
    fn read(directory: &Path) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(|error| CertificateError::Unreadable { path: path.display().to_string(), error })
        };
        Ok(Self { certificate: read(CERTIFICATE_FILE)?, key: read(KEY_FILE)?, authority: read(AUTHORITY_FILE)? })
    }

    fn config(&self, directory: &Path, operator: &ServerName<'static>) -> Result<(Arc<ServerConfig>, Arc<InForce>), CertificateError> {
        let content = |name: &str, expected| CertificateError::Content { path: directory.join(name).display().to_string(), expected };
        let unusable = |reason: String| CertificateError::Unusable { path: directory.display().to_string(), reason };
        let chain = certificates(&self.certificate).ok_or_else(|| content(CERTIFICATE_FILE, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| content(KEY_FILE, "private key"))?;
        let authorities = certificates(&self.authority).ok_or_else(|| content(AUTHORITY_FILE, "certificate"))?;
        let in_force = InForce::new(&chain, &authorities).ok_or_else(|| unusable("a certificate in them can't be read".to_owned()))?;
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|error| unusable(error.to_string()))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = OperatorOnly::new(roots, provider.clone(), operator.clone()).map_err(unusable)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unusable(error.to_string()))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(chain, key)
            .map_err(|error| unusable(error.to_string()))?;
        // A resumed session would not show its certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), Arc::new(in_force)))
    }
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// Lets in who has a certificate that our authority signed **and** that names the operator: the same authority signs the servers'
/// certificates, and no server may program another.
#[derive(Debug)]
struct OperatorOnly {
    signed_by_authority: Arc<dyn ClientCertVerifier>,
    operator: ServerName<'static>,
}

impl OperatorOnly {
    fn new(roots: RootCertStore, provider: Arc<CryptoProvider>, operator: ServerName<'static>) -> Result<Self, String> {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(Self { signed_by_authority: verifier.build().map_err(|error| error.to_string())?, operator })
    }
}

impl ClientCertVerifier for OperatorOnly {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed_by_authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.signed_by_authority.verify_client_cert(certificate, intermediates, now)?;
        verify_server_name(&ParsedCertificate::try_from(certificate)?, &self.operator)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed_by_authority.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed_by_authority.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed_by_authority.supported_verify_schemes()
    }
}
