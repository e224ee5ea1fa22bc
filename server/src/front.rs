//! Every HTTP request of the public port: to the engine, to the pod that owns its session, or to the HTTP API.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tenant::{Code, SecretBytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::Service, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tower::ServiceExt;

use crate::{
    core::Core,
    cors::Origin,
    engine::{ENGINE_PATH, EngineService},
    line::Line,
    problem::Problem,
    proxy::{FORWARDED_BY, Proxy},
    session_ids,
    transport::{Transport, Wire},
};

/// How often dead entries leave the table of polling sessions.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// The URI that the engine keeps of a fresh WebSocket.
const WEBSOCKET_URI: &str = "/socket.io/?EIO=4&transport=websocket";
/// Largest response to the request that opens a polling session, in bytes.
const OPEN_BYTES_MAX: usize = 64 << 10;

/// The public port's request handler.
pub struct Front {
    core: Arc<Core>,
    engine: EngineService,
    api: Router,
    proxy: Proxy,
    /// Sessions that began as long-polling, by the engine's id. The engine owns each transport; an entry dies with it.
    polling: Mutex<HashMap<Box<str>, Weak<Transport>>>,
}

impl Front {
    /// Puts the handler together.
    pub fn new(core: Arc<Core>, engine: EngineService, api: Router) -> Arc<Self> {
        Arc::new(Self { core, engine, api, proxy: Proxy::default(), polling: Mutex::default() })
    }

    /// Answers one request that came over `line`.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, line: Weak<Line>) -> Result<Response<Body>, Infallible> {
        let inside = request.uri().path().strip_prefix(ENGINE_PATH).is_some_and(|rest| rest.is_empty() || rest == "/");
        if !inside {
            let response = self.api.clone().oneshot(request.map(Body::new)).await;
            let mut response = response.unwrap_or_else(|never| match never {});
            if self.core.draining() {
                // A backend that keeps its connection open goes elsewhere with its next request.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            return Ok(response);
        }
        let origin = Origin::of(request.headers(), &self.core.config.view(), &self.core.config);
        if request.method() == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            origin.preflight(response.headers_mut());
            return Ok(response);
        }
        let mut response = self.engine_request(request, line, &origin).await.unwrap_or_else(Problem::into_body);
        origin.allow(response.headers_mut());
        Ok(response)
    }

    /// Drops the entries of sessions that are gone.
    pub fn sweep(&self) {
        self.polling.lock().expect("no panic under this lock").retain(|_, transport| transport.strong_count() > 0);
    }

    async fn engine_request(&self, request: Request<Incoming>, line: Weak<Line>, origin: &Origin) -> Result<Response<Body>, Problem> {
        if *origin == Origin::Refused {
            self.core.metrics.connect(None, Err(Code::OriginRefused));
            return Err(Problem::from_code(StatusCode::FORBIDDEN, Code::OriginRefused));
        }
        let Some(key) = self.core.config.view().settings.as_ref().map(|settings| settings.session_key.clone()) else {
            return Err(Problem::unavailable(Code::NotProgrammed));
        };
        if let Some(id) = query_value(request.uri(), "sid") {
            let id = id.to_owned();
            return self.of_session(request, line, &key, &id).await;
        }
        if self.core.draining() {
            return Err(Problem::unavailable(Code::Draining));
        }
        let transport = Transport::new(origin.text(), matches!(origin, Origin::Same(_)));
        let transport = Arc::new(transport);
        if is_fresh_websocket(&request) {
            Ok(self.open_websocket(request, line, transport))
        } else {
            self.open_polling(request, &key, transport).await
        }
    }

    /// A WebSocket without a session: the stream goes to the engine bare, without the request's buffers.
    fn open_websocket(&self, mut request: Request<Incoming>, line: Weak<Line>, transport: Arc<Transport>) -> Response<Body> {
        let accept = accept_key(&request.headers()[header::SEC_WEBSOCKET_KEY]);
        let upgrade = hyper::upgrade::on(&mut request);
        drop(request);
        transport.carried_by(line);
        let mut slim = Request::new(());
        *slim.uri_mut() = Uri::from_static(WEBSOCKET_URI);
        slim.extensions_mut().insert(transport);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<Wire>>() else { return };
            // A copy, so that hyper's buffer is freed; clients seldom send before they have the response.
            let early = bytes::Bytes::copy_from_slice(&parts.read_buf);
            let wire = parts.io.into_inner().with_read_before(early);
            wire.line().carry_frames();
            engine.call((wire, slim)).await.ok();
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::UPGRADE, "websocket")
            .header(header::CONNECTION, "Upgrade")
            .header(header::SEC_WEBSOCKET_ACCEPT, accept);
        response.body(Body::empty()).expect("constant headers are valid")
    }

    /// A request that opens a long-polling session: the id in the answer is sealed.
    async fn open_polling(
        &self,
        request: Request<Incoming>,
        key: &SecretBytes,
        transport: Arc<Transport>,
    ) -> Result<Response<Body>, Problem> {
        let (mut parts, body) = request.into_parts();
        slim_down(&mut parts);
        parts.extensions.insert(transport.clone());
        let response = self.call_engine(Request::from_parts(parts, body)).await;
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (mut head, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, OPEN_BYTES_MAX).collect().await.map_err(|_| Problem::bad_gateway())?.to_bytes();
        let body = String::from_utf8(body.into()).map_err(|_| Problem::bad_gateway())?;
        let Some((before, sid, after)) = split_sid(&body) else { return Ok(Response::from_parts(head, Body::from(body))) };
        let sealed = format!("{before}{}{after}", session_ids::seal(key, self.core.fleet.pod(), sid));
        self.polling.lock().expect("no panic under this lock").insert(sid.into(), Arc::downgrade(&transport));
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(sealed.len()));
        Ok(Response::from_parts(head, Body::from(sealed)))
    }

    /// A request of a session: served here, or passed on to the pod that owns it.
    async fn of_session(
        &self,
        request: Request<Incoming>,
        line: Weak<Line>,
        key: &SecretBytes,
        id: &str,
    ) -> Result<Response<Body>, Problem> {
        let session = session_ids::open(key, id).ok_or_else(Problem::unknown_session)?;
        if session.pod != self.core.fleet.pod() {
            if request.headers().contains_key(&FORWARDED_BY) {
                return Err(Problem::unknown_session());
            }
            let owner = self.core.fleet.locate(session.pod).await.ok_or_else(Problem::unknown_session)?;
            return self.proxy.pass_on(request, owner).await;
        }
        let transport = self.polling.lock().expect("no panic under this lock").get(session.sid).and_then(Weak::upgrade);
        let transport = transport.filter(|transport| !transport.has_ended()).ok_or_else(Problem::unknown_session)?;
        let (mut parts, body) = request.into_parts();
        if parts.headers.contains_key(header::UPGRADE) {
            line.upgrade().into_iter().for_each(|line| line.expect_upgrade(Arc::downgrade(&transport)));
            transport.carried_by(line);
        }
        let query = parts.uri.query().unwrap_or_default().replace(id, session.sid);
        parts.uri = format!("{ENGINE_PATH}/?{query}").parse().map_err(|_| Problem::unknown_session())?;
        slim_down(&mut parts);
        tokio::select! {
            response = self.call_engine(Request::from_parts(parts, body)) => Ok(response),
            () = transport.ended() => Err(Problem::unknown_session()),
        }
    }

    async fn call_engine(&self, request: Request<Incoming>) -> Response<Body> {
        let response = self.engine.call(request).await.unwrap_or_else(|never: Infallible| match never {});
        response.map(Body::new)
    }
}

/// Re-owns what the engine keeps of a request for the whole connection, so that the read buffer behind it is freed.
fn slim_down(parts: &mut Parts) {
    let mut headers = HeaderMap::new();
    for name in [
        header::SEC_WEBSOCKET_KEY,
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_VERSION,
    ] {
        for value in parts.headers.get_all(&name) {
            if let Ok(copy) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(name.clone(), copy);
            }
        }
    }
    parts.headers = headers;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    parts.extensions = http::Extensions::default();
    if let Some(upgrade) = upgrade {
        parts.extensions.insert(upgrade);
    }
    if let Ok(uri) = parts.uri.to_string().parse() {
        parts.uri = uri;
    }
}

/// The value of a query parameter, as it stands there: ids hold nothing that is percent-encoded.
fn query_value<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn is_fresh_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && query_value(request.uri(), "EIO") == Some("4")
        && query_value(request.uri(), "transport") == Some("websocket")
        && has_token(headers, &header::UPGRADE, "websocket")
        && has_token(headers, &header::CONNECTION, "upgrade")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// RFC 6455 section 4.2.2.
fn accept_key(key: &HeaderValue) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Splits an engine's open packet around its session id.
fn split_sid(body: &str) -> Option<(&str, &str, &str)> {
    const FIELD: &str = "\"sid\":\"";
    let start = body.find(FIELD)? + FIELD.len();
    let end = start + body[start..].find('"')?;
    Some((&body[..start], &body[start..end], &body[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_as_the_rfc_says() {
        assert_eq!(accept_key(&HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn lets_go_of_the_buffer_that_a_request_was_read_into() {
        let buffer = bytes::Bytes::from([b"/socket.io/?EIO=4&transport=polling".as_slice(), b"text/plain", &[b'x'; 8192]].concat());
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_maybe_shared(buffer.slice(..35)).unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_maybe_shared(buffer.slice(35..45)).unwrap());
        request.headers_mut().insert(header::COOKIE, HeaderValue::from_maybe_shared(buffer.slice(45..)).unwrap());
        let (mut parts, ()) = request.into_parts();
        assert!(!buffer.is_unique());
        slim_down(&mut parts);
        assert!(buffer.is_unique(), "something of the request still points into its buffer");
        assert_eq!(parts.uri, "/socket.io/?EIO=4&transport=polling");
        assert_eq!(parts.headers[header::CONTENT_TYPE], "text/plain");
    }

    #[test]
    fn finds_the_sid_of_an_open_packet() {
        assert_eq!(split_sid(r#"0{"sid":"abc","upgrades":[]}"#), Some((r#"0{"sid":""#, "abc", r#"","upgrades":[]}"#)));
        assert_eq!(split_sid("1"), None);
    }

    #[test]
    fn reads_query_values() {
        let uri = Uri::from_static("/socket.io/?EIO=4&transport=polling&sid=a.b.c");
        assert_eq!(query_value(&uri, "sid"), Some("a.b.c"));
        assert_eq!(query_value(&uri, "id"), None);
    }
}
