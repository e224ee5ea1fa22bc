//! What the operator talks to: the routes of the admin port. Whoever comes here has shown the operator's certificate.

mod parse;

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State as Shared},
    response::{IntoResponse, Response},
    routing::{get, patch, put},
};
use bytes::Bytes;
use carillon_tenant::{
    protocol::Versions,
    push::{
        Answer, Conflict, ConflictCode, DELTA_PATH, Delta, PUSH_BYTES_MAX, PushError, SNAPSHOT_PATH, STATE_PATH, Snapshot, State,
        USAGE_PATH, UsageReport,
    },
};
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use self::parse::{Push, parse};
use crate::config_store::ConfigStore;

/// Pushes that are read and applied at a time. Each may be as large as [`PUSH_BYTES_MAX`]; a leader that has just been replaced may
/// still be sending when its successor comes.
const PUSHES_MAX: usize = 2;
/// How long a push may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Api {
    store: ConfigStore,
    places: Arc<Semaphore>,
}

/// The routes.
pub fn router(store: ConfigStore) -> Router {
    Router::new()
        .route(STATE_PATH, get(state))
        .route(SNAPSHOT_PATH, put(replace))
        .route(DELTA_PATH, patch(change))
        .route(USAGE_PATH, get(usage))
        .with_state(Api { store, places: Arc::new(Semaphore::new(PUSHES_MAX)) })
}

async fn state(Shared(api): Shared<Api>) -> Json<State> {
    Json(api.store.state())
}

async fn usage(Shared(api): Shared<Api>) -> Json<UsageReport> {
    Json(api.store.usage())
}

async fn replace(Shared(api): Shared<Api>, request: Request) -> Response {
    let store = api.store.clone();
    push(&api, request, move |snapshot: Snapshot| answer(&store, store.replace(snapshot))).await
}

async fn change(Shared(api): Shared<Api>, request: Request) -> Response {
    let store = api.store.clone();
    push(&api, request, move |delta: Delta| answer(&store, store.change(delta))).await
}

fn answer(store: &ConfigStore, applied: Result<Answer, ConflictCode>) -> Response {
    match applied {
        Ok(answer) => Json(answer).into_response(),
        Err(code) => (StatusCode::CONFLICT, Json(Conflict { code, state: store.state() })).into_response(),
    }
}

/// Reads a push and hands it to `apply`. Unpacking, parsing and preparing keys are work for a thread of their own.
async fn push<P: Push>(api: &Api, request: Request, apply: impl FnOnce(P) -> Response + Send + 'static) -> Response {
    let (head, body) = request.into_parts();
    let _place = api.places.acquire().await.expect("the semaphore is never closed");
    let applied = async {
        let gzip = is_gzip(&head.headers)?;
        let body = read(body).await?;
        let applied = spawn_blocking(move || {
            let body = if gzip { unpack(&body)?.into() } else { body };
            parse(&body, Versions::SPOKEN).map(apply)
        });
        applied.await.unwrap_or_else(|_| {
            let error = PushError { code: "internal".to_owned(), message: "the push could not be applied".to_owned() };
            Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, error))
        })
    };
    applied.await.unwrap_or_else(|Refused(status, error)| {
        tracing::warn!(code = error.code, message = error.message, "push refused");
        (status, Json(error)).into_response()
    })
}

/// A push that can't be taken at all.
#[derive(Debug)]
struct Refused(StatusCode, PushError);

fn refused(status: StatusCode, code: &str, message: impl Into<String>) -> Refused {
    Refused(status, PushError { code: code.to_owned(), message: message.into() })
}

fn malformed(message: impl Into<String>) -> Refused {
    refused(StatusCode::BAD_REQUEST, "malformed", message)
}

fn too_large() -> Refused {
    refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a push may be {PUSH_BYTES_MAX} bytes long"))
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refused> {
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip") => Ok(true),
        Some(_) => {
            Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "malformed", "the body may be compressed with gzip, and with nothing else"))
        }
    }
}

async fn read(body: Body) -> Result<Bytes, Refused> {
    match timeout(BODY_TIMEOUT, Limited::new(body, PUSH_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(malformed("the body ended before it was complete")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "malformed", "the body did not come in time")),
    }
}

/// Unpacks what a push may hold, and not a byte more.
fn unpack(packed: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut body = Vec::new();
    let read = MultiGzDecoder::new(packed).take(PUSH_BYTES_MAX as u64 + 1).read_to_end(&mut body);
    match read {
        Ok(bytes) if bytes > PUSH_BYTES_MAX => Err(too_large()),
        Ok(_) => Ok(body),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(too_large()),
        Err(_) => Err(malformed("the body is not gzip, though Content-Encoding says so")),
    }
}
