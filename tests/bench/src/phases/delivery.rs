//! What a delivery costs within one pod.

use anyhow::Result;

use super::Bench;
use crate::{
    client::{Audience, Broadcaster, Broadcasts},
    metric::{Metric, Reading},
    peers::Peer,
};

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = bench.single_server(peer).await?;
    let audience = Audience::connect(server.address, settings.members).await?;
    let mut readings = Vec::new();
    for &bytes in &settings.sizes {
        let broadcasts = Broadcasts::of_size(bytes)?;
        let mut broadcaster = Broadcaster::connect(server.address, &audience.ledger).await?;
        broadcaster.one_in_flight(broadcasts, settings.warm_up).await?;
        let work = broadcaster.one_in_flight(broadcasts, settings.duration);
        let (published, cost) = bench.metered(&[&server], work).await?;
        broadcaster.finish().await?;
        let deliveries = published * settings.members as u64;
        readings.push(Metric::DeliveryCpu { bytes }.reading(cost.microseconds_each(deliveries)));
        readings.push(cost.noise);
    }
    Ok(readings)
}
