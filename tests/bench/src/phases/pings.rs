//! What an idle connection costs in the long run: its pings, and the memory they leave behind.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use super::Bench;
use crate::{
    client::Audience,
    meter::resident_kib,
    metric::{Metric, Reading},
    peers::Peer,
    server::Server,
};

const POLL: Duration = Duration::from_millis(100);

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let interval = peer.shortest_ping_interval();
    let server = Server::start(&bench.site, peer, interval, None).await?;
    // As in the phase `connect`, the first connections are not counted.
    let warm_up = Audience::connect(server.target, settings.warm_up_connections()).await?;
    sleep(settings.settle).await;

    let empty_kib = resident_kib(server.id())?;
    let audience = Audience::connect(server.target, settings.ping_connections).await?;
    let members = settings.ping_connections as u64;
    let pings = || audience.ledger.pings() + warm_up.ledger.pings();
    let wait = async {
        let before = pings();
        let deadline = Instant::now() + interval * u32::try_from(settings.pings)? * 2 + settings.settle * 2;
        while audience.ledger.pings() < settings.pings * members {
            if Instant::now() > deadline {
                bail!("{} pings came where {} were due", audience.ledger.pings(), settings.pings * members);
            }
            sleep(POLL).await;
        }
        audience.ledger.settled(Duration::ZERO).await?;
        Ok(pings() - before)
    };
    let (answered, cost) = bench.metered(&[&server], wait).await?;
    let kib_each = || Ok::<_, anyhow::Error>((resident_kib(server.id())? - empty_kib) / members as f64);
    let after_pings = kib_each()?;

    // Both audiences get it; one of them verifies it.
    bench.burst(&server, &audience).await?;
    sleep(settings.settle).await;
    let after_burst = kib_each()?;

    Ok(vec![
        Metric::MemoryAfterPings.reading(after_pings),
        Metric::MemoryAfterPingsAndBurst.reading(after_burst),
        Metric::PingCpu.reading(cost.microseconds_each(answered)),
        cost.noise,
    ])
}
