//! Errors over HTTP: problem details (RFC 9457) with the codes of the contract.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use carillon_tenant::{Code, Refusal};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// A problem to answer with.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    body: Details,
    retry_after_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Details {
    /// Engine.IO's own error number, which its clients look for.
    #[serde(rename = "code", skip_serializing_if = "Option::is_none")]
    engine_code: Option<u32>,
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    engine_message: Option<&'static str>,
    #[serde(flatten)]
    details: Option<Members>,
}

#[derive(Debug, Serialize)]
struct Members {
    r#type: &'static str,
    title: String,
    status: u16,
    code: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
}

impl Problem {
    /// A problem with a code of its own and a text for people.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let details = Members {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            limit: None,
            current: None,
        };
        Self { status, body: Details { engine_code: None, engine_message: None, details: Some(details) }, retry_after_seconds: None }
    }

    /// A refusal by its code.
    pub fn from_code(status: StatusCode, code: Code) -> Self {
        Self::new(status, code.as_str(), code.text())
    }

    /// A refusal by a limit.
    pub fn from_refusal(status: StatusCode, refusal: &Refusal) -> Self {
        let mut problem = Self::from_code(status, refusal.code);
        if let Some(details) = &mut problem.body.details {
            details.limit = refusal.limit;
            details.current = refusal.current;
        }
        problem
    }

    /// 503: another pod, or this one a little later, can serve it.
    pub fn unavailable(code: Code) -> Self {
        Self { retry_after_seconds: Some(1), ..Self::from_code(StatusCode::SERVICE_UNAVAILABLE, code) }
    }

    /// 502: the engine answered something that can't be.
    pub fn bad_gateway() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", "the session's server gave no proper answer")
    }

    /// 400 as Engine.IO clients know it: they open a new session.
    pub fn unknown_session() -> Self {
        let body = Details { engine_code: Some(1), engine_message: Some("Session ID unknown"), details: None };
        Self { status: StatusCode::BAD_REQUEST, body, retry_after_seconds: None }
    }

    /// The response.
    pub fn into_body(self) -> Response<Body> {
        let kind = if self.body.details.is_some() { "application/problem+json" } else { "application/json" };
        let mut response = Response::new(Body::from(serde_json::to_vec(&self.body).expect("a problem serialises to JSON")));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_body()
    }
}
