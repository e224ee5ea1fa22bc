//! What a connection costs that opens by long-polling and goes on over a WebSocket: the way of Socket.IO's clients unless told otherwise.

use anyhow::Result;
use tokio::time::sleep;

use super::Bench;
use crate::{
    client::{Audience, Transport, tokens},
    credentials::Tenant,
    meter::resident_kib,
    metric::{Metric, Reading},
    peers::Peer,
};

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = bench.single_server(peer).await?;
    let warm_up = settings.warm_up_connections();
    let mut audience = Audience::by(Transport::Upgrade);
    audience.join(server.target, tokens(Tenant::Bench, 0..warm_up)?).await?;
    sleep(settings.settle).await;

    let empty_kib = resident_kib(server.id())?;
    let tokens = tokens(Tenant::Bench, warm_up..warm_up + settings.connections)?;
    let ((), cost) = bench.metered(&[&server], audience.join(server.target, tokens)).await?;
    sleep(settings.settle).await;
    let kib = resident_kib(server.id())? - empty_kib;
    audience.ledger.settled(settings.settle).await?;
    Ok(vec![
        Metric::UpgradeCpu.reading(cost.milliseconds_each(settings.connections as u64)),
        Metric::MemoryUpgraded.reading(kib / settings.connections as f64),
        cost.noise,
    ])
}
