//! The page at `/`: two users of a tenant side by side, with a real Socket.IO client.
//!
//! The page is built in and needs no internet. Its endpoints under `/playground/` give out tokens and publish on anybody's behalf, so
//! they exist in `carillon dev` alone, and answer only the page itself.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use carillon_server::{core::Core, http_api};
use carillon_tenant::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use tokio::sync::watch;
use tower::ServiceExt;

use super::{live::InForce, same_origin::is_same_origin};
use crate::{
    manifests::Served,
    signer::{Signer, Wish},
};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Path, content type and content of every file of the page.
const FILES: [(&str, &str, &str); 6] = [
    ("/", "text/html; charset=utf-8", include_str!("../../playground/index.html")),
    ("/playground/style.css", "text/css; charset=utf-8", include_str!("../../playground/style.css")),
    ("/playground/app.js", "text/javascript; charset=utf-8", include_str!("../../playground/app.js")),
    ("/playground/icon.svg", "image/svg+xml", include_str!("../../playground/icon.svg")),
    ("/playground/socket.io.min.js", "text/javascript; charset=utf-8", include_str!("../../playground/socket.io.min.js")),
    ("/playground/socket.io.LICENSE.txt", "text/plain; charset=utf-8", include_str!("../../playground/socket.io.LICENSE.txt")),
];

/// The playground. Its routes are needed before the server is there; it answers once it was opened.
#[derive(Clone, Default)]
pub struct Playground(Arc<OnceLock<Open>>);

struct Open {
    core: Arc<Core>,
    in_force: watch::Receiver<Arc<InForce>>,
}

/// Why the playground can't do what it was asked to, for people.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl Playground {
    /// Begins to answer.
    pub fn open(&self, core: Arc<Core>, in_force: watch::Receiver<Arc<InForce>>) {
        self.0.set(Open { core, in_force }).ok();
    }

    /// The page and its endpoints.
    pub fn router(&self) -> Router {
        let endpoints = Router::new()
            .route("/playground/tenants", get(tenants))
            .route("/playground/token", post(token))
            .route("/playground/publish", post(publish))
            .layer(middleware::from_fn(only_the_page))
            .with_state(self.clone());
        FILES.iter().fold(endpoints, |router, (path, kind, text)| router.route(path, get(move || file(kind, text))))
    }

    fn opened(&self) -> Result<&Open, Refused> {
        self.0.get().ok_or_else(|| Refused(StatusCode::SERVICE_UNAVAILABLE, "carillon dev is starting".to_owned()))
    }

    fn served(&self, tenant: &str) -> Result<Arc<Served>, Refused> {
        let served = self.opened()?.in_force.borrow().get(tenant).cloned();
        served.ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("there is no tenant {tenant:?}")))
    }
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The binary may be another one tomorrow.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

async fn only_the_page(request: Request, next: Next) -> Response {
    if is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        Refused(StatusCode::FORBIDDEN, "only the playground page, opened as localhost or by an address, may ask this".to_owned())
            .into_response()
    }
}

/// A tenant as the page shows it.
#[derive(Serialize)]
struct Tenant {
    id: String,
    suspended: bool,
    /// False when the tenant's own origins don't hold the page's: its connections are refused.
    origin_allowed: bool,
    /// False when the tenant's Secrets hold public keys only.
    can_sign: bool,
    can_publish: bool,
}

async fn tenants(State(playground): State<Playground>, headers: HeaderMap) -> Result<Json<Vec<Tenant>>, Refused> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = format!("http://{host}");
    let in_force = playground.opened()?.in_force.borrow().clone();
    let tenant = |served: &Arc<Served>| {
        let can_sign = Signer::of(served).is_ok_and(|signer| signer.has_secret());
        Tenant {
            id: served.message.tenant_id.to_string(),
            suspended: served.message.suspended,
            origin_allowed: served.message.origins.as_ref().is_none_or(|origins| origins.iter().any(|allowed| allowed.matches(&origin))),
            can_sign,
            can_publish: can_sign || served.publish_key.is_some(),
        }
    };
    Ok(Json(in_force.values().map(tenant).collect()))
}

#[derive(Deserialize)]
struct TokenRequest {
    tenant: String,
    user: Value,
}

async fn token(State(playground): State<Playground>, Json(request): Json<TokenRequest>) -> Result<Json<Value>, Refused> {
    let served = playground.served(&request.tenant)?;
    let token = sign(&served, &request.user, Map::new())?;
    Ok(Json(json!({"token": token})))
}

/// What the HTTP API takes, and the tenant.
#[derive(Deserialize, Serialize)]
struct PublishRequest {
    #[serde(skip_serializing)]
    tenant: String,
    event: Value,
    /// As it was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<Value>,
}

/// Publishes through the HTTP API itself, authenticated as a backend of the tenant would be.
async fn publish(State(playground): State<Playground>, Json(request): Json<PublishRequest>) -> Result<Response, Refused> {
    let served = playground.served(&request.tenant)?;
    let bearer = match &served.publish_key {
        Some(key) => key.expose().to_vec(),
        None => sign(&served, &json!("playground"), [("role".to_owned(), json!("service"))].into_iter().collect())?.into_bytes(),
    };
    let internal = |error: &dyn std::fmt::Display| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let call = Request::post(http_api::EVENTS_PATH.replace("{tenant}", served.message.tenant_id.as_str()))
        .header(header::AUTHORIZATION, HeaderValue::try_from([b"Bearer ", bearer.as_slice()].concat()).map_err(|error| internal(&error))?)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(serde_json::to_vec(&request).map_err(|error| internal(&error))?))
        .map_err(|error| internal(&error))?;
    let api = http_api::router(playground.opened()?.core.clone());
    Ok(api.oneshot(call).await.unwrap_or_else(|never| match never {}))
}

fn sign(served: &Served, user: &Value, claims: Map<String, Value>) -> Result<String, Refused> {
    let unusable = |error: String| Refused(StatusCode::UNPROCESSABLE_ENTITY, error);
    let user = UserId::from_claim(user).map_err(|error| unusable(format!("a user's id {error}")))?;
    let wish = Wish { user, claims, expires_in: None, kid: None, signing_key: None };
    Signer::of(served).and_then(|signer| signer.sign(&wish)).map_err(|error| unusable(format!("{error:#}")))
}
