//! The operator's side of mutual TLS with the server pods.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use carillon_tenant::Validity;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::sync::watch;

use crate::metrics::Metrics;

/// The operator's certificate and who signs the servers', as they are when a connection is made, so that renewed ones count.
#[derive(Debug)]
pub struct Identity {
    source: Source,
    server_name: ServerName<'static>,
    latest: Mutex<Option<(Arc<Files>, Arc<ClientConfig>)>>,
    metrics: Option<Arc<Metrics>>,
}

/// Where they come from.
#[derive(Debug)]
enum Source {
    /// Files that someone else renews.
    Directory(PathBuf),
    /// What the operator keeps itself; `None` until it has it.
    Kept(watch::Receiver<Option<Arc<Files>>>),
}

/// Why there is no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file isn't what it should be.
    #[error("{file}: {message}")]
    Content {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The operator ends.
    #[error("there is none any more")]
    Ended,
}

/// A certificate, its key, and the authorities of the other side, in PEM.
#[derive(PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Whom to believe.
    pub authority: Vec<u8>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Identity {
    /// The identity whose files are in `directory`; servers' certificates must carry the name `server_name`.
    pub fn new(directory: PathBuf, server_name: ServerName<'static>) -> Self {
        Self::from(Source::Directory(directory), server_name)
    }

    /// The identity that `kept` has; servers' certificates must carry the name `server_name`.
    pub fn kept(kept: watch::Receiver<Option<Arc<Files>>>, server_name: ServerName<'static>) -> Self {
        Self::from(Source::Kept(kept), server_name)
    }

    fn from(source: Source, server_name: ServerName<'static>) -> Self {
        Self { source, server_name, latest: Mutex::new(None), metrics: None }
    }

    /// The same, and `metrics` tell how long it lasts.
    pub fn measured(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// The name that every server's certificate must carry.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// The configuration for a new connection, from the files as they are now. Waits for those that the operator is about to make.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when a file is missing or broken.
    pub async fn client_config(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let files = match &self.source {
            Source::Directory(directory) => Arc::new(Files {
                certificate: read(directory, "tls.crt").await?,
                key: read(directory, "tls.key").await?,
                authority: read(directory, "ca.crt").await?,
            }),
            Source::Kept(kept) => {
                let mut kept = kept.clone();
                let files = kept.wait_for(Option::is_some).await.map_err(|_| IdentityError::Ended)?;
                files.clone().ok_or(IdentityError::Ended)?
            }
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = latest.as_ref()
            && *of == files
        {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build(&files)?);
        *latest = Some((files, Arc::clone(&config)));
        Ok(config)
    }

    fn build(&self, files: &Files) -> Result<ClientConfig, IdentityError> {
        let wrong = |file: &'static str, message: String| IdentityError::Content { file, message };
        let certificates = |file: &'static str, pem: &[u8]| match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            Ok(_) => Err(wrong(file, "holds no certificate".to_owned())),
            Err(error) => Err(wrong(file, error.to_string())),
        };
        let mut roots = RootCertStore::empty();
        let authorities = certificates("ca.crt", &files.authority)?;
        let chain = certificates("tls.crt", &files.certificate)?;
        if let Some(metrics) = &self.metrics {
            metrics.certificate("operator", chain.first().and_then(|certificate| Validity::of(certificate)));
            let all = authorities.iter().filter_map(|authority| Validity::of(authority));
            metrics.certificate("authority", all.min_by_key(|validity| validity.not_after));
        }
        for certificate in authorities {
            roots.add(certificate).map_err(|error| wrong("ca.crt", error.to_string()))?;
        }
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| wrong("tls.key", "holds no private key".to_owned()))?;
        ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| wrong("tls.crt", error.to_string()))
    }
}

async fn read(directory: &std::path::Path, file: &str) -> Result<Vec<u8>, IdentityError> {
    let path = directory.join(file);
    tokio::fs::read(&path).await.map_err(|error| IdentityError::Read { path, error })
}
