//! From a URL to a connection: parsed, resolved, checked, and only then connected to exactly the address that was checked.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::Uri;
use rustls::{CertificateError, ClientConfig, Error as TlsError, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{AddressPolicy, FetchError};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// How long one of them may take, so that there is time for another.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a URL says.
#[derive(Debug)]
pub struct Target {
    secure: bool,
    host: String,
    port: u16,
    /// For the header `Host`.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// A byte stream, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Target {
    /// Takes `url` apart.
    pub fn parse(url: &str, insecure: bool) -> Result<Self, FetchError> {
        let wrong = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if insecure => false,
            Some("http") => return Err(FetchError::Insecure(url.to_owned())),
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { secure, host, port, authority: authority.to_string(), path })
    }

    /// Connects.
    pub async fn connect(&self, policy: &AddressPolicy, tls: &Arc<ClientConfig>) -> Result<Box<dyn Stream>, FetchError> {
        let stream = self.connect_tcp(&self.resolve(policy).await?).await?;
        let _ = stream.set_nodelay(true);
        if !self.secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(self.host.clone()).map_err(|_| FetchError::Url(self.authority.clone()))?;
        let failed = |error: std::io::Error| FetchError::Tls { host: self.host.clone(), why: explain(&error) };
        Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(failed)?))
    }

    /// The addresses that may be connected to.
    async fn resolve(&self, policy: &AddressPolicy) -> Result<Vec<SocketAddr>, FetchError> {
        let all: Vec<_> = match self.host.parse::<IpAddr>() {
            Ok(address) => vec![(address, self.port).into()],
            Err(_) => {
                let found = lookup_host((self.host.as_str(), self.port)).await;
                found.map_err(|_| FetchError::Unresolved(self.host.clone()))?.collect()
            }
        };
        let allowed: Vec<_> = all.iter().copied().filter(|address| policy.allows(address.ip())).take(ADDRESSES_MAX).collect();
        match (all.is_empty(), allowed.is_empty()) {
            (true, _) => Err(FetchError::Unresolved(self.host.clone())),
            (false, true) => {
                tracing::info!(host = self.host, addresses = ?all, "address refused");
                Err(FetchError::AddressRefused(self.host.clone()))
            }
            (false, false) => Ok(allowed),
        }
    }

    async fn connect_tcp(&self, addresses: &[SocketAddr]) -> Result<TcpStream, FetchError> {
        for address in addresses {
            match timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok(stream),
                Err(error) => tracing::debug!(host = self.host, %address, %error, "no connection"),
            }
        }
        Err(FetchError::Unreachable(format!("{}:{}", self.host, self.port)))
    }
}

/// What is wrong, without times and names that would make the same trouble another each time.
fn explain(error: &std::io::Error) -> String {
    let Some(TlsError::InvalidCertificate(wrong)) = error.get_ref().and_then(|error| error.downcast_ref()) else {
        return "it speaks no TLS that is understood".to_owned();
    };
    match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "its certificate is not valid yet",
        CertificateError::UnknownIssuer => "its certificate is signed by an unknown authority",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "its certificate is for another name",
        _ => "its certificate can't be used",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("https://id.example:8443/keys?a=b", false).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str(), target.secure), ("id.example", 8443, "/keys?a=b", true));
        let target = Target::parse("http://[::1]", true).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str(), target.secure), ("::1", 80, "/", false));
        assert_eq!(Target::parse("http://a/", false).unwrap_err(), FetchError::Insecure("http://a/".to_owned()));
        for bad in ["", "a", "/a", "ftp://a/", "https://user:secret@a/", "https://@a/", "https:///a", "https://a b/"] {
            assert!(Target::parse(bad, true).is_err(), "{bad}");
        }
    }
}
