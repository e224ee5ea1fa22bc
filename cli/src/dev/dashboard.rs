//! Live numbers for every tenant, from this process's own counts.

use std::{sync::Arc, time::Duration};

use carillon_server::{
    core::Core,
    fan_out::{Message, Publication, Target, Usage},
};
use serde_json::{json, value::RawValue};
use tokio::time::{MissedTickBehavior, interval};

/// How often the numbers are published.
const INTERVAL: Duration = Duration::from_secs(5);
/// The event that carries them.
const EVENT: &str = "dashboard:update";

/// Publishes to every tenant that has connections here, for as long as the process lives. The path is that of any other publish.
pub async fn publish_numbers(core: Arc<Core>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let (api_requests, redis_commands) = (core.metrics.api_requests.get(), core.fleet.redis_commands());
        let tenants: Vec<_> = core.config.view().tenants().cloned().collect();
        for tenant in tenants {
            let usage = tenant.usage();
            if usage.connections == 0 {
                continue;
            }
            let message = Message::new(EVENT, numbers(usage, api_requests, redis_commands));
            if tenant.publish(&Publication { target: Target::Tenant, except: None, message }).is_err() {
                tracing::warn!(tenant = %tenant.id, "{EVENT} was not published: too much is waiting");
            }
        }
    }
}

fn numbers(usage: Usage, api_requests: u64, redis_commands: u64) -> Box<RawValue> {
    let numbers = json!({"active_users": usage.users, "api_requests": api_requests, "database_queries": redis_commands});
    RawValue::from_string(numbers.to_string()).expect("JSON's own text is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_users_not_connections() {
        let numbers = numbers(Usage { connections: 5, users: 2, rooms: 1 }, 7, 9);
        assert_eq!(numbers.get(), r#"{"active_users":2,"api_requests":7,"database_queries":9}"#);
    }
}
