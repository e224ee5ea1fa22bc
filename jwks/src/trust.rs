//! Whose certificates are believed.
//!
//! Images of Carillon hold nothing but a binary, so that there is no system's store to ask: Mozilla's list is built in.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why a file of authorities can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// No certificate in it.
    #[error("holds no certificate in PEM")]
    Empty,
    /// One that can't be read, or is no authority's.
    #[error("holds a certificate that can't be used: {0}")]
    Unusable(String),
}

/// The authorities that browsers know.
pub fn built_in() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    roots
}

/// Those of `pem`, to which more may be added.
///
/// # Errors
///
/// [`TrustError`] when one of them can't be used.
pub fn authorities(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| TrustError::Unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| TrustError::Unusable(error.to_string()))?;
    }
    if certificates.is_empty() { Err(TrustError::Empty) } else { Ok(certificates) }
}
