//! What a tenant uses, with its limits.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use carillon_tenant::{Limit, Quotas, TenantId};
use http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::authentication::authenticate;
use crate::{
    core::Core,
    fan_out::{Tenant, unix_time_ms},
    problem::Problem,
};

/// What is used now, and how much of it may be.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    tenant: TenantId,
    observed_at: String,
    /// `Fleet`, or `Pod` while the other pods can't be asked.
    scope: &'static str,
    enforcement: Value,
    connections: Value,
    users: Value,
    rooms: Value,
    messages: Value,
    publish: Value,
    egress: Value,
}

/// `GET /v1/tenants/{tenant}/usage`.
pub async fn usage(
    State(core): State<Arc<Core>>,
    tenant: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Usage>, Problem> {
    core.metrics.api_requests.inc();
    // An id that is not even text is none of a tenant.
    let tenant = tenant.map(|Path(tenant)| tenant).unwrap_or_default();
    let tenant = authenticate(&core, &headers, &tenant, None)?;
    let quotas = tenant.config().quotas.clone();
    Ok(Json(observe(&tenant, &quotas).await))
}

async fn observe(tenant: &Tenant, quotas: &Quotas) -> Usage {
    let fleet = tenant.fleet_usage().await;
    let (here, demand) = (tenant.usage(), tenant.demand(quotas));
    let rates = fleet.and_then(|_| tenant.rates.fleet()).unwrap_or(demand);
    let (scope, connections, users, rooms, messages) = match fleet {
        Some(fleet) => ("Fleet", fleet.connections, fleet.users, fleet.rooms, fleet.messages_per_second),
        None => ("Pod", here.connections, here.users, here.rooms, demand.messages_per_second),
    };
    let rate = |per_second: u64, limit: Limit| json!({"perSecond": per_second, "ratePerSecond": limit});
    Usage {
        tenant: tenant.id.clone(),
        observed_at: rfc3339(unix_time_ms() / 1000),
        scope,
        enforcement: json!(quotas.enforcement),
        connections: json!({"current": connections, "max": quotas.connections_max}),
        users: json!({"current": users}),
        rooms: json!({"current": rooms, "max": quotas.rooms_max}),
        messages: rate(messages, quotas.messages_rate_per_second),
        publish: rate(rates.publishes_per_second, quotas.publish_rate_per_second),
        egress: json!({"bytesPerSecond": rates.egress_bytes_per_second, "maxBytesPerSecond": quotas.egress_bytes_per_second}),
    }
}

/// Unix time as RFC 3339 has it, in UTC.
fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }
}
