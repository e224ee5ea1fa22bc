//! Passes a request on to the pod that owns its session: long-polling and upgrades alike. So no load balancer needs to be sticky.

use std::{net::SocketAddr, time::Duration};

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};

use crate::problem::Problem;

/// Set on a request that was passed on, so that it is not passed on again.
pub const FORWARDED_BY: HeaderName = HeaderName::from_static("carillon-forwarded-by");

/// How long the owner may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection to another pod is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A client for the other pods.
#[derive(Debug)]
pub struct Proxy {
    client: Client<HttpConnector, Incoming>,
}

impl Default for Proxy {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_timer(TokioTimer::new()).build(connector);
        Self { client }
    }
}

impl Proxy {
    /// Sends `request` to `owner` and its answer back; an upgraded connection is copied in both directions until it ends.
    ///
    /// # Errors
    ///
    /// The answer for an unknown session when the owner can't be reached: the client opens a new one.
    pub async fn pass_on(&self, mut request: Request<Incoming>, owner: SocketAddr) -> Result<Response<Body>, Problem> {
        let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = format!("http://{owner}{path}").parse().map_err(|_| Problem::unknown_session())?;
        *request.uri_mut() = uri;
        request.headers_mut().insert(FORWARDED_BY, HeaderValue::from_static("1"));
        let mut response = self.client.request(request).await.map_err(|error| {
            tracing::debug!(%owner, %error, "the session's server can't be reached");
            Problem::unknown_session()
        })?;
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(here)) = (response.status(), upgrade) {
            let there = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                if let (Ok(here), Ok(there)) = tokio::join!(here, there) {
                    tokio::io::copy_bidirectional(&mut TokioIo::new(here), &mut TokioIo::new(there)).await.ok();
                }
            });
        }
        Ok(response.map(Body::new))
    }
}
