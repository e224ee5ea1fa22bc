//! What a connect costs, and the memory a connection takes before and after it was sent a lot at once.

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
    let arrivals = bench.arrivals(peer, Transport::WebSocket).await?;
    sleep(settings.settle).await;
    let fresh = arrivals.kib_each()?;

    bench.burst(&arrivals.server, &arrivals.audience).await?;
    sleep(settings.settle).await;
    let after_burst = arrivals.kib_each()?;

    Ok(vec![
        Metric::ConnectCpu.reading(arrivals.cost.milliseconds_each(settings.connections as u64)),
        Metric::MemoryFresh.reading(fresh),
        Metric::MemoryAfterBurst.reading(after_burst),
        arrivals.cost.noise,
    ])
}
