//! Single HTTP requests, well-formed or not.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::eventually::within_deadline;

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, which is text wherever the tests look.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A header's value, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Asks `address` over a connection of its own.
///
/// # Panics
///
/// When there is no answer.
pub async fn request(address: SocketAddr, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
    try_request(address, method, path, headers, body).await.expect("there is an answer")
}

/// Asks `address`; `None` when the connection is refused or ends without an answer.
///
/// # Panics
///
/// When the request itself can't be made, or nothing happens at all.
pub async fn try_request(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Option<Response> {
    let mut request = Request::builder().method(method).uri(path).header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).expect("the test's request is well-formed");
    let exchange = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        driver.abort();
        Some(Response { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() })
    };
    within_deadline(format!("an answer to {path}"), exchange).await
}

/// Publishes to a tenant as its backend does: one event, or an array of them.
///
/// # Panics
///
/// When there is no answer.
pub async fn notify(address: SocketAddr, tenant: &str, bearer: &str, body: &Value) -> Response {
    let bearer = format!("Bearer {bearer}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    request(address, Method::POST, &format!("/v1/tenants/{tenant}/events"), &headers, body.to_string()).await
}

/// Sends `bytes` as they are and reads until the server closes, or until `limit_bytes`.
///
/// # Panics
///
/// When the server neither answers nor closes.
pub async fn raw(address: SocketAddr, bytes: &[u8], limit_bytes: usize) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let read = stream.take(limit_bytes as u64).read_to_end(&mut answer).await;
    drop(read);
    String::from_utf8_lossy(&answer).into_owned()
}
