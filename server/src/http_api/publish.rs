//! Publishing over HTTP.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use carillon_tenant::{Code, Permission, Quotas, Refusal, Scope, TenantConfig};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

use super::{
    RateLimit,
    authentication::authenticate,
    events::{self, Audience, EVENTS_MAX, Event, Events},
    request_body,
};
use crate::{
    core::Core,
    fan_out::{Message, Publication, Target, Tenant},
    problem::Problem,
    quota::{monotonic, rates::Budget},
};

/// What was published, event by event.
#[derive(Serialize)]
struct Published {
    published: usize,
    /// Ordered by time, as UUIDs of version 7 are.
    ids: Vec<Uuid>,
}

/// `POST /v1/tenants/{tenant}/events`. Nothing is published unless every event of the request may be.
pub async fn publish(State(core): State<Arc<Core>>, tenant: Result<Path<String>, PathRejection>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    // An id that is not even text is none of a tenant.
    let tenant = tenant.map(|Path(tenant)| tenant).unwrap_or_default();
    let answer = handle(&core, &tenant, &head.headers, &mut body).await;
    core.metrics.api_requests.inc();
    match answer {
        Ok((published, rate_limit)) => accepted(&published, rate_limit.as_ref()),
        Err(problem) => {
            request_body::discard(&head.headers, &mut body).await;
            problem.into_response()
        }
    }
}

async fn handle(core: &Core, tenant: &str, headers: &HeaderMap, body: &mut Body) -> Result<(Published, Option<RateLimit>), Problem> {
    // Before the body is read: it is buffered for nobody who may not publish.
    let tenant = authenticate(core, headers, tenant, Some(Permission::Publish))?;
    let body = request_body::read_json(headers, body).await?;
    let config = tenant.config().clone();
    if config.suspended {
        tenant.count_refusal(Code::TenantSuspended);
        return Err(Problem::from_code(StatusCode::FORBIDDEN, Code::TenantSuspended));
    }
    let cells = admit(&tenant, &config.quotas, &body)?;
    let events = Events::parse(&body).map_err(malformed)?;
    let publications = check(&tenant, &config, &events)?;
    let published = publish_all(&tenant, &publications).map_err(|(published, problem)| {
        // It is sent again.
        tenant.rates.refund(Budget::Publishes, cells.saturating_sub(published), &config.quotas);
        problem
    })?;
    Ok((published, rate_limit(&tenant, &config.quotas)))
}

/// Admits the events of a body before parsing it costs anything, all or none; their number. What turns out malformed has cost its part.
fn admit(tenant: &Tenant, quotas: &Quotas, body: &[u8]) -> Result<u32, Problem> {
    // More than may be in one request are refused by the parser.
    let cells = Some(events::count(body)).filter(|count| *count as usize <= EVENTS_MAX).unwrap_or(1);
    // A pod without connections of the tenant takes part in the exchanges because of what it publishes.
    tenant.counts.something_to_tell();
    let admitted = tenant.admit_egress(quotas).and_then(|()| tenant.admit_rate(Budget::Publishes, cells, quotas));
    admitted.map(|()| cells).map_err(|refusal| {
        tenant.count_refusal(refusal.code);
        let problem = Problem::from_refusal(StatusCode::TOO_MANY_REQUESTS, &refusal).with_rate_limit(rate_limit(tenant, quotas));
        if refusal.code == Code::PublishRate && refusal.fatal {
            let burst = quotas.publish_burst;
            return problem.with_detail(format!(
                "{cells} events at once can never pass, for the tenant may publish {burst} at once: send smaller arrays, or raise spec.quotas.publish.burst"
            ));
        }
        problem
    })
}

fn rate_limit(tenant: &Tenant, quotas: &Quotas) -> Option<RateLimit> {
    let remaining = tenant.rates.remaining(Budget::Publishes, quotas, monotonic())?;
    Some(RateLimit::new("publish", &remaining))
}

/// Turns events into publications, all or none.
fn check(tenant: &Tenant, config: &TenantConfig, events: &Events<'_>) -> Result<Vec<Publication>, Problem> {
    let checked = events.as_slice().iter().enumerate().map(|(index, event)| {
        let (max, bytes) = (u64::from(config.quotas.publish_bytes_max), event.data.get().len() as u64);
        if bytes > max {
            let refusal = Refusal::limit(Code::PublishBytesMax, Scope::Message, max, bytes);
            tenant.refuse(&config.quotas, refusal).map_err(|refusal| {
                tenant.count_refusal(refusal.code);
                let detail = format!("{}: {}", events.field(index, "data"), refusal.message);
                Problem::from_refusal(StatusCode::PAYLOAD_TOO_LARGE, &refusal).with_detail(detail)
            })?;
        }
        let target = target(tenant, event).map_err(|problem| malformed(format!("{}: {problem}", events.field(index, "room"))))?;
        Ok(Publication { target, except: None, message: Message::new(&event.name, event.data.to_owned()) })
    });
    checked.collect()
}

fn target(tenant: &Tenant, event: &Event<'_>) -> Result<Target, String> {
    match &event.audience {
        Audience::Everyone => Ok(Target::Tenant),
        Audience::TenantRoom(id) if id == tenant.id.as_str() => Ok(Target::Tenant),
        Audience::TenantRoom(id) => Err(format!("\"tenant:{}\" is not the room of this tenant", id.escape_debug())),
        Audience::Room(name) => Ok(Target::Room(name.clone())),
        Audience::Users(users) => Ok(Target::Users(users.as_slice().into())),
    }
}

fn publish_all(tenant: &Arc<Tenant>, publications: &[Publication]) -> Result<Published, (u32, Problem)> {
    let mut ids = Vec::with_capacity(publications.len());
    for publication in publications {
        if tenant.publish(publication).is_err() {
            tracing::warn!(tenant = %tenant.id, "publish refused: a room's queue is full");
            let published = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            return Err((published, overloaded(ids.len(), publications.len())));
        }
        ids.push(Uuid::now_v7());
    }
    Ok(Published { published: ids.len(), ids })
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
}

fn overloaded(published: usize, of: usize) -> Problem {
    let detail = match published {
        0 => "messages come faster than they can be delivered: nothing was published, send the request again".to_owned(),
        _ => format!(
            "messages come faster than they can be delivered: of {of} events the first {published} were published, send the rest again"
        ),
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).after_publishing(published).retry_after_seconds(1)
}

fn accepted(published: &Published, rate_limit: Option<&RateLimit>) -> Response {
    let mut response = Response::new(Body::from(serde_json::to_vec(published).expect("ids serialise to JSON")));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(rate_limit) = rate_limit {
        rate_limit.add_to(response.headers_mut());
    }
    response
}
