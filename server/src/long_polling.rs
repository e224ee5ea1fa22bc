//! Sessions of clients that poll, as every client does by default until it has upgraded: how one is opened, asked and ended.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use axum::body::{Body, Bytes};
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{body::Incoming, service::Service};

use crate::{
    engine::{ENGINE_PATH, EngineService},
    heartbeat::{self, Heartbeat, Over, Polls, attend},
    problem::Problem,
    transport::Transport,
};

/// Largest response to the request that opens a session, in bytes.
const OPEN_BYTES_MAX: usize = 64 << 10;
/// What stands between two packets in a body (Engine.IO protocol 4, "HTTP long-polling").
const SEPARATOR: u8 = 0x1e;
const PING: &str = "2";
const CLOSE: &str = "1";

/// Sessions that began as long-polling, by the engine's id.
pub struct LongPolling {
    engine: EngineService,
    heartbeat: Heartbeat,
    /// The engine owns each transport; an entry dies with it.
    transports: Mutex<HashMap<Box<str>, Weak<Transport>>>,
}

impl LongPolling {
    /// Without a session yet.
    pub fn new(engine: EngineService, heartbeat: Heartbeat) -> Self {
        Self { engine, heartbeat, transports: Mutex::default() }
    }

    /// Opens a session. The client is to know it as `seal` makes it of the engine's id.
    ///
    /// # Errors
    ///
    /// When the engine's answer is no answer.
    pub async fn open(
        &self,
        mut request: Request<Incoming>,
        transport: impl FnOnce(Option<Arc<Polls>>) -> Arc<Transport>,
        seal: impl FnOnce(&str) -> String,
    ) -> Result<Response<Body>, Problem> {
        let polls = Arc::<Polls>::default();
        let transport = transport(Some(polls.clone()));
        request.extensions_mut().insert(transport.clone());
        let response = call(&self.engine, request).await;
        if response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = Limited::new(body, OPEN_BYTES_MAX).collect().await.map_err(|_| Problem::bad_gateway())?.to_bytes();
        let sid = std::str::from_utf8(&body).ok().and_then(heartbeat::sid_of).ok_or_else(Problem::bad_gateway)?;
        self.lock().insert(sid.into(), Arc::downgrade(&transport));
        tokio::spawn(look_after(self.engine.clone(), sid.into(), polls, Arc::downgrade(&transport), self.heartbeat));
        Ok(with_body(head, self.heartbeat.open_packet(&seal(sid), "\"websocket\"").into()))
    }

    /// The session with the engine's id `sid`, while it has not ended.
    pub fn find(&self, sid: &str) -> Option<Arc<Transport>> {
        let transport = self.lock().get(sid).and_then(Weak::upgrade);
        transport.filter(|transport| !transport.has_ended())
    }

    /// Answers a request of a session.
    ///
    /// # Errors
    ///
    /// When the session ended meanwhile.
    pub async fn answer(&self, parts: Parts, body: Incoming, polls: &Polls) -> Result<Response<Body>, Problem> {
        let ended = async {
            polls.ended().await;
            Err(Problem::unknown_session())
        };
        if parts.method == Method::GET {
            return tokio::select! {
                // The engine before a ping, for what it has taken from its queue would be lost.
                biased;
                unknown = ended => unknown,
                response = self.poll(&parts, polls) => response,
                () = polls.ping_owed() => Ok(Response::builder()
                    .header(header::CONTENT_TYPE, "text/plain; charset=UTF-8")
                    .body(Body::from(PING))
                    .expect("constant headers are valid")),
            };
        }
        if parts.method == Method::POST {
            polls.hear();
        }
        tokio::select! {
            biased;
            unknown = ended => unknown,
            response = call(&self.engine, Request::from_parts(parts, body)) => Ok(response),
        }
    }

    /// Polls, but for the engine's own first ping: it comes at once, and would only cost the client a round trip.
    ///
    /// # Errors
    ///
    /// When the engine's answer is no answer.
    async fn poll(&self, parts: &Parts, polls: &Polls) -> Result<Response<Body>, Problem> {
        loop {
            let response = call(&self.engine, Request::from_parts(parts.clone(), Empty::<Bytes>::new())).await;
            if !polls.engine_will_ask() || response.status() != StatusCode::OK {
                return Ok(response);
            }
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|_| Problem::bad_gateway())?.to_bytes();
            let Some(rest) = without_ping(&body) else { return Ok(Response::from_parts(head, Body::from(body))) };
            polls.engine_asked();
            if !rest.is_empty() {
                return Ok(with_body(head, rest));
            }
        }
    }

    /// Drops the entries of sessions that are gone.
    pub fn sweep(&self) {
        self.lock().retain(|_, transport| transport.strong_count() > 0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Weak<Transport>>> {
        self.transports.lock().expect("no panic under this lock")
    }
}

/// Asks the client of a session until it has upgraded, or has ended.
async fn look_after(engine: EngineService, sid: Box<str>, polls: Arc<Polls>, transport: Weak<Transport>, heartbeat: Heartbeat) {
    let over = attend(&polls, &heartbeat).await;
    let Some(transport) = transport.upgrade() else { return };
    match over {
        Over::Upgraded => return,
        Over::Silent => transport.fall_silent(),
        Over::Ended => {}
    }
    // The engine has no other way to end a session from outside than the client's own.
    let close = Request::post(format!("{ENGINE_PATH}/?EIO=4&transport=polling&sid={sid}")).body(Full::<Bytes>::from(CLOSE));
    call(&engine, close.expect("the engine's ids are fit for a URI")).await;
}

async fn call<B>(engine: &EngineService, request: Request<B>) -> Response<Body>
where
    B: hyper::body::Body<Data: Send, Error: fmt::Debug> + fmt::Debug + Send + Unpin + 'static,
{
    engine.call(request).await.unwrap_or_else(|never: Infallible| match never {}).map(Body::new)
}

fn with_body(mut head: http::response::Parts, body: Bytes) -> Response<Body> {
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(head, Body::from(body))
}

/// The packets of a body without the first one that is a ping; `None` when there is none.
fn without_ping(body: &Bytes) -> Option<Bytes> {
    let packets: Vec<&[u8]> = body.split(|byte| *byte == SEPARATOR).collect();
    let ping = packets.iter().position(|packet| *packet == PING.as_bytes())?;
    let rest: Vec<&[u8]> = packets[..ping].iter().chain(&packets[ping + 1..]).copied().collect();
    Some(rest.join(&SEPARATOR).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_taken_out_of_a_body() {
        let table = [
            ("2", Some("")),
            ("40{}", None),
            ("2\x1e40{}", Some("40{}")),
            ("40{}\x1e2", Some("40{}")),
            ("2\x1e2", Some("2")),
            ("22", None),
        ];
        for (body, rest) in table {
            let found = without_ping(&Bytes::from(body));
            assert_eq!(found.as_deref(), rest.map(str::as_bytes), "{body:?}");
        }
    }
}
