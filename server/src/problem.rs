//! Errors over HTTP: problem details (RFC 9457) with the codes of the contract.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use carillon_tenant::{Code, Refusal, Scope};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::http_api::RateLimit;

/// A problem to answer with.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    body: Details,
    retry_after_seconds: Option<u64>,
    rate_limit: Option<RateLimit>,
    close: bool,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Details {
    /// Engine.IO's own error number, which its clients look for.
    Engine {
        code: u32,
        message: &'static str,
    },
    Problem(Box<Members>),
}

#[derive(Debug, Serialize)]
struct Members {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fatal: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<usize>,
}

impl Problem {
    /// A problem with a code of its own and a text for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let details = Members {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            limit: None,
            current: None,
            scope: None,
            retry_after_ms: None,
            fatal: None,
            published: None,
        };
        Self { status, body: Details::Problem(Box::new(details)), retry_after_seconds: None, rate_limit: None, close: false }
    }

    /// A refusal by its code.
    pub fn from_code(status: StatusCode, code: Code) -> Self {
        Self::new(status, code.as_str(), code.text())
    }

    /// A refusal by a limit.
    pub fn from_refusal(status: StatusCode, refusal: &Refusal) -> Self {
        let mut problem = Self::from_code(status, refusal.code).with_numbers(refusal.limit, refusal.current);
        if let Details::Problem(details) = &mut problem.body {
            (details.scope, details.retry_after_ms, details.fatal) = (refusal.scope, refusal.retry_after_ms, Some(refusal.fatal));
        }
        problem.retry_after_seconds = refusal.retry_after_ms.map(|ms| ms.div_ceil(1000));
        problem
    }

    /// 503: another pod, or this one a little later, can serve it.
    pub fn unavailable(code: Code) -> Self {
        let problem = Self::from_code(StatusCode::SERVICE_UNAVAILABLE, code).retry_after_seconds(1);
        // A connection to a server that goes is of no use any more.
        Self { close: code == Code::Draining, ..problem }
    }

    /// 502: the engine answered something that can't be.
    pub fn bad_gateway() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "bad_gateway", "the session's server gave no proper answer")
    }

    /// 400 as Engine.IO clients know it: they open a new session.
    pub fn unknown_session() -> Self {
        let body = Details::Engine { code: 1, message: "Session ID unknown" };
        Self { status: StatusCode::BAD_REQUEST, body, retry_after_seconds: None, rate_limit: None, close: false }
    }

    /// The same problem with another text for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        if let Details::Problem(details) = &mut self.body {
            details.detail = detail.into();
        }
        self
    }

    /// The same problem with a limit and what was found.
    #[must_use]
    pub fn with_numbers(mut self, limit: Option<u64>, current: Option<u64>) -> Self {
        if let Details::Problem(details) = &mut self.body {
            (details.limit, details.current) = (limit, current);
        }
        self
    }

    /// The same problem, met after so many events had been published.
    #[must_use]
    pub fn after_publishing(mut self, events: usize) -> Self {
        if let Details::Problem(details) = &mut self.body {
            details.published = Some(events);
        }
        self
    }

    /// The same problem with the time after which trying again can help.
    #[must_use]
    pub fn retry_after_seconds(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The same problem with what is left of a rate.
    #[must_use]
    pub fn with_rate_limit(mut self, rate_limit: Option<RateLimit>) -> Self {
        self.rate_limit = rate_limit;
        self
    }

    /// The response.
    pub fn into_body(self) -> Response<Body> {
        let kind = match self.body {
            Details::Problem(_) => "application/problem+json",
            Details::Engine { .. } => "application/json",
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&self.body).expect("a problem serialises to JSON")));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(rate_limit) = self.rate_limit {
            rate_limit.add_to(headers);
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_body()
    }
}
