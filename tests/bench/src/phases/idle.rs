//! What a connection costs on which nothing happens: the pings that every server sends, and whatever else it does for each.

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::Bench;
use crate::{
    client::Audience,
    metric::{Metric, Reading},
    peers::Peer,
    server::Server,
};

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = Server::start(&bench.site, peer, settings.idle, None).await?;
    let audience = Audience::connect(server.target, settings.connections).await?;
    sleep(settings.settle).await;
    let before = audience.ledger.pings();
    // For just as long as a ping's interval: each connection is then pinged once, whenever it came.
    let interval = async {
        sleep(settings.idle).await;
        Ok(())
    };
    let ((), cost) = bench.metered(&[&server], interval).await?;
    let pinged = audience.ledger.pings() - before;
    audience.ledger.settled(settings.settle).await?;
    ensure!(pinged >= settings.connections as u64 * 9 / 10, "{pinged} pings came within the interval of {:?}", settings.idle);
    let per_second = cost.microseconds_each(settings.connections as u64) / settings.idle.as_secs_f64();
    Ok(vec![Metric::IdleCpu.reading(per_second), cost.noise])
}
