//! What connects cost Redis, far from any limit.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::{Bench, PING_INTERVAL};
use crate::{
    client::{Audience, tokens},
    column::{Column, Connects},
    credentials::Tenant,
    metric::{Metric, Reading},
    peers::Peer,
    server::{Commands, Redis, Server},
};

/// What is told of the last connects is told within this time.
const TRAIL: Duration = Duration::from_secs(1);

pub(super) async fn run(bench: &Bench<'_>) -> Result<Vec<(Column, Reading)>> {
    let mut readings = Vec::new();
    for connects in Connects::all() {
        let commands = commands(bench, connects).await?;
        let column = Column::Connects(connects);
        readings.push((column, Metric::RedisSent.reading(commands.0)));
        readings.push((column, Metric::RedisRun.reading(commands.1)));
    }
    Ok(readings)
}

/// Commands per 1,000 connects, beyond those of idle servers: sent, and run.
async fn commands(bench: &Bench<'_>, connects: Connects) -> Result<(f64, f64)> {
    let settings = bench.settings;
    let tenant = if connects.by_user { Tenant::Bench } else { Tenant::SharedUsers };
    let redis = Redis::start(bench.site.folder, settings.generator_core).await?;
    let mut servers = Vec::new();
    for _ in 0..connects.servers {
        let server = Server::start(&bench.site, Peer::Carillon, PING_INTERVAL, Some(&redis)).await?;
        // One connection of the tenant, so that what serving it costs whoever connects is not counted.
        let mut audience = Audience::default();
        audience.join(server.target, tokens(tenant, 0..1)?).await?;
        servers.push((server, audience));
    }
    sleep(settings.settle).await;
    let (idle_since, idle) = (Instant::now(), redis.commands().await?);
    sleep(settings.settle * 2).await;
    let (start, before) = (Instant::now(), redis.commands().await?);

    // Half of them where they come slowly: it takes its time.
    let total = settings.connections / if connects.per_second.is_some() { 2 } else { 1 };
    let each = total / servers.len();
    let interval = connects
        .per_second
        .map_or(Duration::ZERO, |per_second| Duration::from_secs(1) * u32::try_from(connects.servers).unwrap_or(1) / per_second);
    let mut joining = tokio::task::JoinSet::new();
    for (index, (server, mut audience)) in servers.drain(..).enumerate() {
        let tokens = tokens(tenant, 1 + index * each..1 + (index + 1) * each)?;
        joining.spawn(async move { audience.join_each(server.target, tokens, interval).await.map(|()| (server, audience)) });
    }
    while let Some(joined) = joining.join_next().await {
        servers.push(joined??);
    }
    sleep(TRAIL).await;
    let (end, after) = (Instant::now(), redis.commands().await?);

    let beyond_idle = |number: fn(&Commands) -> u64| {
        let idle_per_second = (number(&before) - number(&idle)) as f64 / (start - idle_since).as_secs_f64();
        let found = (number(&after) - number(&before)) as f64 - idle_per_second * (end - start).as_secs_f64();
        1000.0 * found.max(0.0) / (each * connects.servers) as f64
    };
    Ok((beyond_idle(|commands| commands.sent), beyond_idle(|commands| commands.run)))
}
