//! One kept connection to one server pod's admin port, and what there is to say over it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use carillon_tenant::{
    protocol::{Greeting, Versions},
    push::{Answer, Conflict, ConflictCode, DELTA_PATH, PushError, SNAPSHOT_PATH, STATE_PATH, State, USAGE_PATH, UsageReport},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1::SendRequest,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;

use crate::{acks::Trouble, desired::Body, tls::Identity};

/// How long one exchange may take, connecting included.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes: the state of a hundred thousand tenants.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// A client of one pod.
#[derive(Debug)]
pub struct AdminClient {
    identity: Arc<Identity>,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl AdminClient {
    /// A client that has not connected yet.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self { identity, connection: None }
    }

    /// Asks what the pod runs, and gives the highest version of the protocol that it and the operator, which speaks `spoken`, have in common.
    ///
    /// # Errors
    ///
    /// [`Trouble`] with the pod.
    pub async fn state(&mut self, address: SocketAddr, spoken: Versions) -> Result<(State, u32), Trouble> {
        let (status, bytes) = self.ask(address, Method::GET, STATE_PATH, None).await?;
        // First of all: the state of a server of another version may hold anything else.
        let theirs =
            serde_json::from_slice::<Greeting>(&bytes).ok().filter(|_| status == StatusCode::OK).map(|greeting| greeting.versions());
        let common = theirs.map(|theirs| spoken.common(theirs).ok_or(theirs)).transpose().map_err(|theirs| {
            tracing::debug!(%address, %theirs, ours = %spoken, "no common version of the push protocol");
            Trouble::ProtocolVersion
        })?;
        let state: State = read(address, STATE_PATH, status, &bytes)?;
        common.map(|common| (state, common)).ok_or(Trouble::Malformed)
    }

    /// Gives the pod everything it should run.
    ///
    /// # Errors
    ///
    /// [`Trouble`] with the pod.
    pub async fn put_snapshot(&mut self, address: SocketAddr, body: Body) -> Result<Answer, Trouble> {
        self.exchange(address, Method::PUT, SNAPSHOT_PATH, Some(body)).await
    }

    /// Gives the pod what changed.
    ///
    /// # Errors
    ///
    /// [`Trouble`] with the pod.
    pub async fn patch_delta(&mut self, address: SocketAddr, body: Body) -> Result<Answer, Trouble> {
        self.exchange(address, Method::PATCH, DELTA_PATH, Some(body)).await
    }

    /// Asks what tenants use on the pod; `None` when it is of a version that doesn't know the question.
    ///
    /// # Errors
    ///
    /// [`Trouble`] with the pod.
    pub async fn usage(&mut self, address: SocketAddr) -> Result<Option<UsageReport>, Trouble> {
        let (status, bytes) = self.ask(address, Method::GET, USAGE_PATH, None).await?;
        if status == StatusCode::NOT_FOUND { Ok(None) } else { read(address, USAGE_PATH, status, &bytes).map(Some) }
    }

    /// Waits until the kept connection is gone: the first sign of a server that ends. Never returns while there is none.
    pub async fn closed(&mut self) {
        match &mut self.connection {
            Some(connection) => {
                let _ = (&mut connection.driver).await;
                self.connection = None;
            }
            None => std::future::pending().await,
        }
    }

    async fn exchange<A: DeserializeOwned>(
        &mut self,
        address: SocketAddr,
        method: Method,
        path: &'static str,
        body: Option<Body>,
    ) -> Result<A, Trouble> {
        let (status, bytes) = self.ask(address, method, path, body).await?;
        let answer = read(address, path, status, &bytes);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    /// Says it and takes the answer, whatever it is. After a failure the next one connects anew.
    async fn ask(
        &mut self,
        address: SocketAddr,
        method: Method,
        path: &'static str,
        body: Option<Body>,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let result = tokio::time::timeout(EXCHANGE_TIMEOUT, self.try_ask(address, method, path, body)).await;
        let result = result.unwrap_or(Err(Trouble::TimedOut));
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn try_ask(
        &mut self,
        address: SocketAddr,
        method: Method,
        path: &'static str,
        body: Option<Body>,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let kept = self.connection.as_mut().filter(|connection| connection.address == address && !connection.sender.is_closed());
        let kept = kept.is_some();
        if !kept {
            self.connection = Some(self.connect(address).await?);
        }
        let mut response = self.send(&method, path, body.clone()).await;
        if kept && response.is_err() {
            // The server may have closed a connection that was idle. Every request can be said twice.
            self.connection = Some(self.connect(address).await?);
            response = self.send(&method, path, body).await;
        }
        response
    }

    async fn send(&mut self, method: &Method, path: &'static str, body: Option<Body>) -> Result<(StatusCode, Bytes), Trouble> {
        let connection = self.connection.as_mut().ok_or(Trouble::Unreachable)?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.identity.server_name().to_str().as_ref());
        let mut bytes = Bytes::new();
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json");
            if body.gzip {
                request = request.header(CONTENT_ENCODING, "gzip");
            }
            bytes = body.bytes;
        }
        let request = request.body(Full::new(bytes)).map_err(|_| Trouble::Malformed)?;
        connection.sender.ready().await.map_err(|_| Trouble::Unreachable)?;
        let response = connection.sender.send_request(request).await.map_err(|_| Trouble::Unreachable)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| if error.is::<hyper::Error>() { Trouble::Unreachable } else { Trouble::Malformed })?;
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, Trouble> {
        let config = self.identity.client_config().await.map_err(|error| {
            tracing::warn!(%error, "no usable client certificate");
            Trouble::Tls
        })?;
        let stream = TcpStream::connect(address).await.map_err(|_| Trouble::Unreachable)?;
        let _ = stream.set_nodelay(true);
        let stream = TlsConnector::from(config).connect(self.identity.server_name(), stream).await.map_err(|error| {
            tracing::debug!(%address, %error, "TLS handshake failed");
            Trouble::Tls
        })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = handshake.map_err(|_| Trouble::Unreachable)?;
        let driver = tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection { address, sender, driver })
    }
}

fn read<A: DeserializeOwned>(address: SocketAddr, path: &'static str, status: StatusCode, bytes: &[u8]) -> Result<A, Trouble> {
    match status {
        StatusCode::OK => serde_json::from_slice(bytes).map_err(|error| {
            tracing::debug!(%address, path, %error, "answer can't be read");
            Trouble::Malformed
        }),
        // Whatever it says: the next step is to ask for its state.
        StatusCode::CONFLICT => Err(match serde_json::from_slice::<Conflict>(bytes) {
            Ok(Conflict { code: ConflictCode::StaleEpoch, state }) => Trouble::StaleEpoch(state.position.epoch),
            _ => Trouble::Conflict,
        }),
        status => {
            let error = serde_json::from_slice::<PushError>(bytes).ok();
            tracing::warn!(%address, path, %status, code = error.as_ref().map(|error| &error.code),
                message = error.as_ref().map(|error| &error.message), "server refused the request");
            Err(if error.is_some_and(|error| error.code == "protocol_version") { Trouble::ProtocolVersion } else { Trouble::Refused })
        }
    }
}
