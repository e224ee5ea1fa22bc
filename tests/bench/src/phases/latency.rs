//! How long a delivery takes within one pod, at a rate that every peer can keep up with.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, percentile_ms};
use crate::{
    client::{Broadcaster, Broadcasts},
    metric::{Metric, Reading},
    peers::Peer,
};

const BROADCASTS_PER_SECOND: u32 = 50;

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let (server, audience) = bench.room(peer).await?;
    let broadcasts = Broadcasts::of_size(settings.sizes[0])?;
    let interval = Duration::from_secs(1) / BROADCASTS_PER_SECOND;
    let mut broadcaster = Broadcaster::connect(server.target, &audience.ledger).await?;
    broadcaster.at_fixed_rate(broadcasts, interval, settings.warm_up).await?;
    broadcaster.take_lateness_us();
    let work = broadcaster.at_fixed_rate(broadcasts, interval, settings.duration);
    let (published, cost) = bench.metered(&[&server], work).await?;

    let latencies_us = audience.ledger.take_latencies_us();
    let mut lateness_us = broadcaster.take_lateness_us();
    lateness_us.sort_unstable();
    Ok(vec![
        Metric::LatencyMedian.reading(percentile_ms(&latencies_us, 50)),
        Metric::LatencyP99.reading(percentile_ms(&latencies_us, 99)),
        Metric::LatencyLateness.reading(percentile_ms(&lateness_us, 99)),
        Metric::LatencyCpu.reading(cost.microseconds_each(published * settings.members as u64)),
        cost.noise,
    ])
}
