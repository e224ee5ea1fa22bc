//! What a connection costs that opens by long-polling and goes on over a WebSocket: the way of Socket.IO's clients unless told otherwise.

use anyhow::Result;
use tokio::time::sleep;

use super::Bench;
use crate::{
    client::Transport,
    metric::{Metric, Reading},
    peers::Peer,
};

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let arrivals = bench.arrivals(peer, Transport::Upgrade).await?;
    sleep(settings.settle).await;
    let upgraded = arrivals.kib_each()?;
    arrivals.audience.ledger.settled(settings.settle).await?;
    Ok(vec![
        Metric::UpgradeCpu.reading(arrivals.cost.milliseconds_each(settings.connections as u64)),
        Metric::MemoryUpgraded.reading(upgraded),
        arrivals.cost.noise,
    ])
}
