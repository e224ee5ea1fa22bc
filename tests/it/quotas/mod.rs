//! Limits, on one server and on fleets of real processes: never more than allowed, every place given back, every refusal told.

mod changes;
mod churn;
mod connections;
mod fleet_rates;
mod flood;
mod notices;
mod outage;
mod rates;
mod redis_kinds;
mod rooms;
mod schema;
mod storm;

use std::time::Duration;

use carillon_tests::tenants::{Tenant, tenant};
use serde_json::json;

use crate::MACHINE;

/// What a client is told when the tenant has all its connections.
const FULL: &str = "Quota exceeded: connections_max";
/// How soon a place that was given back can be taken anywhere in the fleet, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How soon everything is counted right again after a crash, and how soon every server knows what all have.
const RECOVERED: Duration = Duration::from_secs(10);
/// How soon everything is counted right again once Redis is back.
const HEALED: Duration = Duration::from_secs(5);

/// A tenant whose only limit is the one on its connections.
fn limited_to(connections: usize) -> Tenant {
    boundless("acme").with("/quotas/connections/max", connections)
}

/// A tenant that has no limit but those on one connection's rooms and on sizes.
fn boundless(id: &str) -> Tenant {
    tenant(id)
        .with("/quotas/connections", json!({"max": "Unlimited", "maxPerUser": "Unlimited", "ratePerSecond": "Unlimited"}))
        .with("/quotas/rooms", json!({"max": "Unlimited", "maxMembers": "Unlimited", "createRatePerSecond": "Unlimited"}))
}
