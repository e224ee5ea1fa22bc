//! Changes, and how long they took.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    moment::Moment,
    site::Site,
    tenants::{applying, name},
};

/// How long the operator's log may lag.
const LOG_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long changes took, in milliseconds, sorted.
pub struct Latencies {
    /// From asking the API server to the last pod's acknowledgement.
    pub acknowledged_ms: Vec<f64>,
    /// To the status that says so, as a watch hears it.
    pub told_ms: Vec<f64>,
}

struct Change {
    tenant: usize,
    begun: Moment,
    before: String,
}

/// Changes so many tenants, each when the one before is told.
pub async fn one_by_one(site: &mut Site, tenants: impl Iterator<Item = usize>, object: impl Fn(usize) -> Value) -> Result<Latencies> {
    let mut changes = Vec::new();
    for (turn, tenant) in tenants.enumerate() {
        // Not always at the same distance from what the change before left to do.
        sleep(Duration::from_millis((turn as u64 * 37) % 200)).await;
        let change = Change { tenant, before: site.board.version(&name(tenant))?, begun: Moment::now() };
        applying(&site.plane.server, &object(tenant)).await?;
        site.board.changed(&name(tenant), &change.before).await?;
        changes.push(change);
    }
    latencies(site, changes).await
}

/// Changes so many tenants, `rate` a second whatever becomes of those before; counted from when each was due.
pub async fn steadily(
    site: &mut Site,
    tenants: impl Iterator<Item = usize>,
    rate: u32,
    object: impl Fn(usize) -> Value,
) -> Result<Latencies> {
    let (mut changes, mut applies) = (Vec::new(), JoinSet::new());
    let (start, begin) = (Instant::now(), Moment::now());
    for (turn, tenant) in (0..).zip(tenants) {
        let due = Duration::from_secs(1) * turn / rate;
        sleep_until(start + due).await;
        changes.push(Change { tenant, before: site.board.version(&name(tenant))?, begun: begin.after(due) });
        applies.spawn(applying(&site.plane.server, &object(tenant)));
    }
    while let Some(applied) = applies.join_next().await {
        applied??;
    }
    latencies(site, changes).await
}

async fn latencies(site: &mut Site, changes: Vec<Change>) -> Result<Latencies> {
    let (mut acknowledged_ms, mut told_ms) = (Vec::new(), Vec::new());
    for Change { tenant, begun, before } in changes {
        let told = site.board.changed(&name(tenant), &before).await?;
        let change = format!("{}@{}", name(tenant), told.version);
        let acknowledged = timeout(LOG_PATIENCE, acknowledged(site, &change)).await;
        let acknowledged = acknowledged.with_context(|| format!("the operator's log tells of no acknowledgement of {change}"))??;
        acknowledged_ms.push((acknowledged - begun).as_secs_f64() * 1e3);
        told_ms.push((told.at - begun).as_secs_f64() * 1e3);
    }
    acknowledged_ms.sort_by(f64::total_cmp);
    told_ms.sort_by(f64::total_cmp);
    Ok(Latencies { acknowledged_ms, told_ms })
}

async fn acknowledged(site: &mut Site, change: &str) -> Result<Moment> {
    loop {
        if let Some(at) = site.log.acknowledged(change) {
            return Ok(at);
        }
        site.log.read_on()?;
        if site.log.acknowledged(change).is_none() {
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// The value that `percent` of those in `sorted` don't exceed.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_the_last_but_one_is_the_99th() {
        let hundred: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&hundred, percent)), [50.0, 99.0, 100.0]);
        assert_eq!(percentile(&[7.0], 50), 7.0);
    }
}
