//! Every HTTP request of the public port: to the engine, to the pod that owns its session, or to the HTTP API.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tenant::{Code, SecretBytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use hyper::{body::Incoming, service::Service};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tower::ServiceExt;

use crate::{
    core::Core,
    cors::Origin,
    engine::{ENGINE_PATH, EngineService},
    heartbeat::Heartbeat,
    line::Line,
    long_polling::LongPolling,
    problem::Problem,
    proxy::{FORWARDED_BY, Proxy},
    session_ids,
    transport::{Transport, Wire},
};

/// How often dead entries leave the table of polling sessions.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// The URI that the engine keeps of a fresh WebSocket.
const WEBSOCKET_URI: &str = "/socket.io/?EIO=4&transport=websocket";

/// The public port's request handler.
pub struct Front {
    core: Arc<Core>,
    engine: EngineService,
    api: Router,
    proxy: Proxy,
    polling: LongPolling,
}

impl Front {
    /// Puts the handler together.
    pub fn new(core: Arc<Core>, engine: EngineService, heartbeat: Heartbeat, api: Router) -> Arc<Self> {
        let polling = LongPolling::new(engine.clone(), heartbeat);
        Arc::new(Self { core, engine, api, proxy: Proxy::default(), polling })
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
        self.polling.sweep();
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
        let transport = |polls| Transport::new(origin.text(), matches!(origin, Origin::Same(_)), polls);
        if is_websocket(&request) {
            return self.open_websocket(request, line, &transport(None), None);
        }
        self.core.turnstile.pass().await;
        let (mut parts, body) = request.into_parts();
        slim_down(&mut parts);
        let seal = |sid: &str| session_ids::seal(&key, self.core.fleet.pod(), sid);
        self.polling.open(Request::from_parts(parts, body), transport, seal).await
    }

    /// A WebSocket, of the session `sid` or a new one: the stream goes to the engine bare, without the request's buffers. A session that has one,
    /// or is about to, gets no other: it would be nobody's to end.
    fn open_websocket(
        &self,
        mut request: Request<Incoming>,
        line: Weak<Line>,
        transport: &Arc<Transport>,
        sid: Option<&str>,
    ) -> Result<Response<Body>, Problem> {
        if !transport.carried_by(line) {
            return Err(Problem::unknown_session());
        }
        let accept = accept_key(&request.headers()[header::SEC_WEBSOCKET_KEY]);
        let upgrade = hyper::upgrade::on(&mut request);
        drop(request);
        let mut slim = Request::new(());
        let probes = match sid {
            Some(sid) => {
                let uri = format!("{WEBSOCKET_URI}&sid={sid}");
                *slim.uri_mut() = Uri::try_from(uri).expect("the engine's ids are fit for a URI");
                Some(Arc::downgrade(transport))
            }
            None => {
                *slim.uri_mut() = Uri::from_static(WEBSOCKET_URI);
                slim.extensions_mut().insert(transport.clone());
                None
            }
        };
        let (engine, turnstile) = (self.engine.clone(), self.core.turnstile.clone());
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<Wire>>() else { return };
            // A copy, so that hyper's buffer is freed; clients seldom send before they have the response.
            let wire = parts.io.into_inner().with_read_before(&parts.read_buf).with_header_alone().in_turn();
            match probes {
                Some(transport) => wire.line().carry_probe(transport),
                None => wire.line().carry_frames(),
            }
            turnstile.pass().await;
            engine.call((wire, slim)).await.ok();
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::UPGRADE, "websocket")
            .header(header::CONNECTION, "Upgrade")
            .header(header::SEC_WEBSOCKET_ACCEPT, accept);
        Ok(response.body(Body::empty()).expect("constant headers are valid"))
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
        let transport = self.polling.find(session.sid).ok_or_else(Problem::unknown_session)?;
        let polls = transport.polls.as_deref().ok_or_else(Problem::unknown_session)?;
        if is_websocket(&request) {
            return self.open_websocket(request, line, &transport, Some(session.sid));
        }
        let (mut parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().replace(id, session.sid);
        parts.uri = format!("{ENGINE_PATH}/?{query}").parse().map_err(|_| Problem::unknown_session())?;
        slim_down(&mut parts);
        self.polling.answer(parts, body, polls).await
    }
}

/// Re-owns what the engine keeps of a request for the whole connection, so that the read buffer behind it is freed. A WebSocket is nothing
/// that it could be made into from then on.
fn slim_down(parts: &mut Parts) {
    let mut headers = HeaderMap::new();
    let wanted = [header::CONTENT_TYPE, header::CONTENT_LENGTH];
    for name in wanted.into_iter().filter(|_| parts.method == Method::POST) {
        if let Some(copy) = parts.headers.get(&name).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.insert(name, copy);
        }
    }
    parts.headers = headers;
    parts.extensions = http::Extensions::default();
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

/// A request that opens a WebSocket; what is meant to be one and isn't is up to the engine to refuse.
fn is_websocket<B>(request: &Request<B>) -> bool {
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
        let mut request = Request::post(Uri::from_maybe_shared(buffer.slice(..35)).unwrap()).body(()).unwrap();
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
    fn reads_query_values() {
        let uri = Uri::from_static("/socket.io/?EIO=4&transport=polling&sid=a.b.c");
        assert_eq!(query_value(&uri, "sid"), Some("a.b.c"));
        assert_eq!(query_value(&uri, "id"), None);
    }
}
