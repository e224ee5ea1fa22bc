//! What a connect costs, and the memory a connection takes before and after it was sent a lot at once.

use anyhow::Result;
use tokio::time::sleep;

use super::Bench;
use crate::{
    client::{Audience, tokens},
    credentials::Tenant,
    meter::resident_kib,
    metric::{Metric, Reading},
    peers::Peer,
};

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = bench.single_server(peer).await?;
    let warm_up = settings.warm_up_connections();
    let mut audience = Audience::connect(server.target, warm_up).await?;
    sleep(settings.settle).await;

    let empty_kib = resident_kib(server.id())?;
    let tokens = tokens(Tenant::Bench, warm_up..warm_up + settings.connections)?;
    let ((), cost) = bench.metered(&[&server], audience.join(server.target, tokens)).await?;
    let kib_each = || Ok::<_, anyhow::Error>((resident_kib(server.id())? - empty_kib) / settings.connections as f64);
    sleep(settings.settle).await;
    let fresh = kib_each()?;

    bench.burst(&server, &audience).await?;
    sleep(settings.settle).await;
    let after_burst = kib_each()?;

    Ok(vec![
        Metric::ConnectCpu.reading(cost.milliseconds_each(settings.connections as u64)),
        Metric::MemoryFresh.reading(fresh),
        Metric::MemoryAfterBurst.reading(after_burst),
        cost.noise,
    ])
}
