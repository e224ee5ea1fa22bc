//! What a delivery costs within one pod.

use anyhow::Result;

use super::Bench;
use crate::{
    client::{Broadcaster, Broadcasts},
    metric::{Metric, Reading},
    peers::Peer,
};

/// With one, every delivery is a write of its own; with several, a server may let what waits for a member leave together.
const IN_FLIGHT: [usize; 2] = [1, 8];

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let (server, audience) = bench.room(peer).await?;
    let mut readings = Vec::new();
    for &bytes in &settings.sizes {
        let broadcasts = Broadcasts::of_size(bytes)?;
        for in_flight in IN_FLIGHT {
            let mut broadcaster = Broadcaster::connect(server.target, &audience.ledger).await?;
            broadcaster.in_flight(in_flight, broadcasts, settings.warm_up).await?;
            let work = broadcaster.in_flight(in_flight, broadcasts, settings.duration);
            let (published, cost) = bench.metered(&[&server], work).await?;
            broadcaster.finish().await?;
            let deliveries = published * settings.members as u64;
            readings.push(Metric::DeliveryCpu { bytes, in_flight }.reading(cost.microseconds_each(deliveries)));
            readings.push(cost.noise);
        }
    }
    Ok(readings)
}
