//! Waiting until tenants are in force everywhere, as their status tells: nothing but the right to read them is needed.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    cluster::{Cluster, said},
    tenant::Tenant,
};

/// How often one tenant is looked at, and how often many are.
const LOOK_AT_ONE: Duration = Duration::from_millis(500);
const LOOK_AT_MANY: Duration = Duration::from_secs(3);
/// As many are looked at one by one.
const FEW: usize = 5;

/// Waits until `tenants` are in sync, as they are by then, or gone. Ends early when one of them says something that can't be used.
///
/// # Errors
///
/// What is not in sync when the time is over.
pub async fn until_in_sync(cluster: &Cluster, namespace: Option<&str>, mut tenants: Vec<Tenant>, time: Duration) -> Result<(), String> {
    let deadline = Instant::now() + time;
    loop {
        if let Some((tenant, mistake)) = tenants.iter().find_map(|tenant| Some((tenant, tenant.mistake()?))) {
            return Err(format!("{} can't be used: {}", tenant.full_name(), mistake.message));
        }
        tenants.retain(|tenant| !tenant.is_in_sync());
        let Some(first) = tenants.first() else { return Ok(()) };
        if Instant::now() >= deadline {
            let others = tenants.len() - 1;
            let others = if others == 0 { String::new() } else { format!(" and {others} more") };
            return Err(format!("{}{others} not in sync after {} seconds", first.full_name(), time.as_secs()));
        }
        let interval = if tenants.len() > FEW { LOOK_AT_MANY } else { LOOK_AT_ONE };
        sleep(interval.min(deadline.duration_since(Instant::now()))).await;
        tenants = again(cluster, namespace, tenants).await;
    }
}

/// The same tenants as they are now. One that can't be read now is looked at again.
async fn again(cluster: &Cluster, namespace: Option<&str>, tenants: Vec<Tenant>) -> Vec<Tenant> {
    if tenants.len() <= FEW {
        let mut found = Vec::new();
        for tenant in tenants {
            match cluster.tenant(&tenant.namespace, &tenant.name).await {
                Ok(now) => found.extend(now),
                Err(error) => {
                    tracing::debug!(error = said(&error), "not readable; tried again");
                    found.push(tenant);
                }
            }
        }
        return found;
    }
    let wanted: std::collections::HashSet<_> = tenants.iter().map(Tenant::full_name).collect();
    match cluster.tenants(namespace).await {
        Ok(found) => found.tenants.into_iter().filter(|tenant| wanted.contains(&tenant.full_name())).collect(),
        Err(_) => tenants,
    }
}
