//! The operator's side of mutual TLS with the server pods.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

/// The operator's certificate and who signs the servers'. Files are read for each new connection, so that renewed ones count.
#[derive(Debug)]
pub struct Identity {
    directory: PathBuf,
    server_name: ServerName<'static>,
    latest: Mutex<Option<(Files, Arc<ClientConfig>)>>,
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
    #[error("{path}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Identity {
    /// The identity whose files are in `directory`; servers' certificates must carry the DNS name `server_name`.
    ///
    /// # Errors
    ///
    /// When `server_name` is no DNS name.
    pub fn new(directory: PathBuf, server_name: &str) -> Result<Self, rustls::pki_types::InvalidDnsNameError> {
        Ok(Self { directory, server_name: ServerName::try_from(server_name.to_owned())?, latest: Mutex::new(None) })
    }

    /// The name that every server's certificate must carry.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// The configuration for a new connection, from the files as they are now.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when a file is missing or broken.
    pub async fn client_config(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        let files =
            Files { certificate: self.read("tls.crt").await?, key: self.read("tls.key").await?, authority: self.read("ca.crt").await? };
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

    async fn read(&self, file: &str) -> Result<Vec<u8>, IdentityError> {
        let path = self.directory.join(file);
        tokio::fs::read(&path).await.map_err(|error| IdentityError::Read { path, error })
    }

    fn build(&self, files: &Files) -> Result<ClientConfig, IdentityError> {
        let wrong = |file: &str, message: String| IdentityError::Content { path: self.directory.join(file), message };
        let certificates = |file: &str, pem: &[u8]| match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            Ok(_) => Err(wrong(file, "holds no certificate".to_owned())),
            Err(error) => Err(wrong(file, error.to_string())),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("ca.crt", &files.authority)? {
            roots.add(certificate).map_err(|error| wrong("ca.crt", error.to_string()))?;
        }
        let chain = certificates("tls.crt", &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| wrong("tls.key", "holds no private key".to_owned()))?;
        ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| wrong("tls.crt", error.to_string()))
    }
}
