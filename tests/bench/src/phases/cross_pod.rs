//! What a delivery costs, and how long it takes, when publisher and members are on different pods.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, PING_INTERVAL, percentile_ms};
use crate::{
    client::{Audience, Broadcaster, Broadcasts},
    metric::{Metric, Reading},
    peers::Peer,
    server::{Redis, Server},
};

const BROADCASTS_PER_SECOND: u32 = 30;

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let redis = Redis::start(bench.site.folder, settings.generator_core).await?;
    let publishing = Server::start(&bench.site, peer, PING_INTERVAL, Some(&redis)).await?;
    let receiving = Server::start(&bench.site, peer, PING_INTERVAL, Some(&redis)).await?;
    let audience = Audience::connect(receiving.target, settings.members).await?;

    let broadcasts = Broadcasts::of_size(settings.sizes[0])?;
    let interval = Duration::from_secs(1) / BROADCASTS_PER_SECOND;
    let mut broadcaster = Broadcaster::connect(publishing.target, &audience.ledger).await?;
    broadcaster.probe_until_open(settings.members).await?;
    broadcaster.at_fixed_rate(broadcasts, interval, settings.warm_up).await?;
    let work = broadcaster.at_fixed_rate(broadcasts, interval, settings.duration);
    let (published, cost) = bench.metered(&[&publishing, &receiving], work).await?;

    let latencies_us = audience.ledger.take_latencies_us();
    let deliveries = published * settings.members as u64;
    Ok(vec![
        Metric::CrossPodMedian.reading(percentile_ms(&latencies_us, 50)),
        Metric::CrossPodP99.reading(percentile_ms(&latencies_us, 99)),
        Metric::CrossPodCpu.reading(cost.microseconds_each(deliveries)),
        cost.noise,
    ])
}
