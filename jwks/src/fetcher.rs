//! Fetching one key set: bounded in time and size, nothing followed, nothing sent but the question.

use std::{sync::Arc, time::Duration};

use carillon_tenant::{JwksSource, KeySet};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, ETAG, HOST, IF_NONE_MATCH, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::{task::JoinSet, time::timeout};

use crate::{AddressPolicy, FetchError, connection::Target, discovery, freshness::max_age};

/// How long a key set may take, its discovery included.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long resolving, connecting and the TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document that is read.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Largest head of an answer.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Longest entity tag that is kept.
const ETAG_BYTES_MAX: usize = 256;

/// What a fetcher may do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it may connect to.
    pub addresses: AddressPolicy,
    /// Whether it may ask without TLS.
    pub insecure_urls: bool,
    /// Whose certificates it believes.
    pub roots: RootCertStore,
    /// How long a key set may take; [`Options::new`] has the usual.
    pub timeout: Duration,
}

impl Options {
    /// What is good for production.
    pub const fn new(addresses: AddressPolicy, insecure_urls: bool, roots: RootCertStore) -> Self {
        Self { addresses, insecure_urls, roots, timeout: TOTAL_TIMEOUT }
    }
}

/// Fetches key sets.
#[derive(Clone, Debug)]
pub struct Fetcher {
    addresses: AddressPolicy,
    insecure_urls: bool,
    timeout: Duration,
    tls: Arc<ClientConfig>,
}

/// What is kept of an answer to ask whether it still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    discovery: Option<(String, Tag)>,
    keys: Option<Tag>,
}

/// An entity tag, and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    url: String,
    tag: String,
}

/// A fetch that went well.
#[derive(Clone, Debug)]
pub struct Success {
    /// The key set; `None` when it is still the one that the cache is of.
    pub keys: Option<KeySet>,
    /// For the next time.
    pub cache: Cache,
    /// How long the answer says it is fresh.
    pub max_age: Option<Duration>,
}

struct Answer {
    /// `None`: as it was.
    body: Option<Bytes>,
    tag: Option<Tag>,
    max_age: Option<Duration>,
}

impl Fetcher {
    /// A fetcher.
    ///
    /// # Panics
    ///
    /// Never: the provider of cryptography that is built in knows the usual versions of TLS.
    pub fn new(options: Options) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.expect("the provider knows TLS").with_root_certificates(options.roots).with_no_client_auth();
        Self { addresses: options.addresses, insecure_urls: options.insecure_urls, timeout: options.timeout, tls: Arc::new(tls) }
    }

    /// Fetches what is at `source`, if it is not what `cache` is of.
    ///
    /// # Errors
    ///
    /// [`FetchError`] says why there is nothing to use.
    pub async fn fetch(&self, source: &JwksSource, cache: &Cache) -> Result<Success, FetchError> {
        timeout(self.timeout, self.fetch_all(source, cache)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn fetch_all(&self, source: &JwksSource, cache: &Cache) -> Result<Success, FetchError> {
        let (url, discovery) = match source {
            JwksSource::Url(url) => (url.clone(), None),
            JwksSource::Issuer(issuer) => {
                let known = cache.discovery.as_ref();
                let answer = self.get(&discovery::url(issuer), known.map(|(_, tag)| tag)).await?;
                let url = match (answer.body, known) {
                    (Some(body), _) => discovery::key_set_url(issuer, &body)?,
                    (None, Some((url, _))) => url.clone(),
                    (None, None) => return Err(FetchError::Broken(issuer.clone())),
                };
                (url.clone(), answer.tag.map(|tag| (url, tag)))
            }
        };
        let answer = self.get(&url, cache.keys.as_ref()).await?;
        let keys = answer.body.map(|body| KeySet::parse(&body)).transpose()?;
        Ok(Success { keys, cache: Cache { discovery, keys: answer.tag }, max_age: answer.max_age })
    }

    async fn get(&self, url: &str, known: Option<&Tag>) -> Result<Answer, FetchError> {
        let known = known.filter(|known| known.url == url);
        let target = Target::parse(url, self.insecure_urls)?;
        let stream = timeout(CONNECT_TIMEOUT, target.connect(&self.addresses, &self.tls)).await;
        let stream = stream.unwrap_or_else(|_| Err(FetchError::Unreachable(target.authority.clone())))?;
        let broken = |_| FetchError::Broken(target.authority.clone());
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Ends with this function, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);

        let mut request = Request::get(target.path.as_str())
            .header(HOST, target.authority.as_str())
            .header(USER_AGENT, concat!("carillon/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/jwk-set+json, application/json");
        if let Some(Tag { tag, .. }) = known {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| FetchError::Url(url.to_owned()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let (status, max_age) = (response.status(), max_age(response.headers()));
        let tag = tag(url, response.headers());
        match status {
            StatusCode::OK => {}
            // It may leave the tag out.
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Answer { body: None, tag: tag.or_else(|| known.cloned()), max_age }),
            status if status.is_redirection() => return Err(FetchError::Redirected { url: url.to_owned(), status }),
            status => return Err(FetchError::Status { url: url.to_owned(), status }),
        }
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { FetchError::TooLarge(url.to_owned()) } else { FetchError::Broken(target.authority.clone()) }
        })?;
        Ok(Answer { body: Some(body.to_bytes()), tag, max_age })
    }
}

fn tag(url: &str, headers: &HeaderMap) -> Option<Tag> {
    let tag = headers.get(ETAG)?.to_str().ok().filter(|tag| tag.len() <= ETAG_BYTES_MAX)?;
    Some(Tag { url: url.to_owned(), tag: tag.to_owned() })
}
