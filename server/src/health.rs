//! What Kubernetes and Prometheus ask: is the process alive, may it serve, what has it counted.

use std::sync::{Arc, OnceLock};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    core::Core,
    side_port::{self, Bounds},
};

/// The content type of [`Metrics::encode`](crate::metrics::Metrics::encode).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The health of a server that may still be starting: alive from the first moment on, ready no sooner than it has started.
#[derive(Clone, Default)]
pub struct Health(Arc<OnceLock<Arc<Core>>>);

impl Health {
    /// The server has started.
    pub fn started(&self, core: Arc<Core>) {
        self.0.set(core).ok();
    }

    /// `/livez`, `/readyz` and `/metrics`.
    pub fn router(&self) -> Router {
        Router::new().route("/livez", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics)).with_state(self.clone())
    }

    /// What is missing for clients to be let in.
    fn missing(&self) -> Option<&'static str> {
        let Some(core) = self.0.get() else { return Some("the server is starting") };
        if core.draining() {
            Some("the server is draining: it is shutting down")
        } else if !core.config.programmed() {
            Some("no configuration yet: the operator has not pushed one since this process started")
        } else {
            None
        }
    }
}

/// `/livez`, `/readyz` and `/metrics` of a server that has started.
pub fn router(core: Arc<Core>) -> Router {
    let health = Health::default();
    health.started(core);
    health.router()
}

/// Answers on `listener` over plain HTTP until `stop`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    side_port::serve(listener, None, Bounds::HEALTH, router, stop).await;
}

/// Asks nobody: a restart would cure neither Redis nor the operator.
async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(health): State<Health>) -> (StatusCode, String) {
    match health.missing() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(missing) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {missing}\n")),
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    let text = health.0.get().map(|core| {
        core.metrics.config_age_seconds.set(core.config.age_seconds());
        core.metrics.config_from_boot.set(core.config.is_unconfirmed().into());
        if let Some(certificates) = core.config.certificates() {
            core.metrics.certificate("server", certificates.serving());
            core.metrics.certificate("authority", certificates.authority());
        }
        core.metrics.encode()
    });
    let status = if text.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, OPENMETRICS)], text.unwrap_or_default())
}
