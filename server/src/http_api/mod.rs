//! The HTTP API of the public port. It is for backends: pages of other sites are not let in, so nothing here knows of CORS.

mod authentication;
mod events;
mod publish;
mod rate_limit;
mod request_body;
mod usage;

use std::sync::Arc;

use axum::{
    Router,
    routing::{MethodRouter, get, post},
};
use http::{StatusCode, header};

pub use self::rate_limit::RateLimit;
use crate::{core::Core, problem::Problem};

/// `POST`: publishes events to a tenant.
pub const EVENTS_PATH: &str = "/v1/tenants/{tenant}/events";
/// `GET`: what a tenant uses, with its limits.
pub const USAGE_PATH: &str = "/v1/tenants/{tenant}/usage";
/// `GET`: the description of this API.
pub const OPENAPI_PATH: &str = "/openapi.json";
/// The description of this API, in OpenAPI 3.1. Tests hold it to the code.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// The routes. Every other path is answered with a problem, so what this is merged with can't have a fallback of its own.
pub fn router(core: Arc<Core>) -> Router {
    Router::new()
        .route(EVENTS_PATH, only(post(publish::publish)))
        .route(USAGE_PATH, only(get(usage::usage)))
        .route(OPENAPI_PATH, only(get(openapi)))
        .fallback(not_found)
        .with_state(core)
}

fn only(method: MethodRouter<Arc<Core>>) -> MethodRouter<Arc<Core>> {
    method.fallback(method_not_allowed)
}

async fn openapi() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("nothing is here; what there is stands in {OPENAPI_PATH}"))
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path doesn't know that method; the header Allow names those it does",
    )
}
