//! How late a tenant's broadcasts are while another tenant of the same server goes beyond its limits.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::{
    Bench, PING_INTERVAL,
    live::{Live, Window, mean},
};
use crate::{
    column::{Column, Neighbourhood},
    metric::{Metric, Reading},
    neighbour::{Neighbour, Tally, Way},
    peers::Peer,
    server::{Redis, Server},
};

/// What the neighbour was told shows after this time.
const LEAD: Duration = Duration::from_secs(1);
/// The neighbour is calm and busy in so many turns each: what else goes on in the machine then falls on both alike.
const TURNS: u32 = 4;

/// What was measured in turns.
#[derive(Default)]
struct Pair {
    calm: Window,
    busy: Window,
    refused_per_second: Vec<f64>,
}

pub(super) async fn run(bench: &Bench<'_>) -> Result<Vec<(Column, Reading)>> {
    let settings = bench.settings;
    let redis = Redis::start(bench.site.folder, settings.generator_core).await?;
    let server = Server::start(&bench.site, Peer::Carillon, PING_INTERVAL, Some(&redis)).await?;
    let mut tenant = Live::start(bench, &server, settings.victims).await?;

    let (mut empty, mut idle) = (Window::default(), Window::default());
    tenant.measure(settings.duration, &mut empty).await?;
    let mut pairs = Vec::new();
    {
        let mut neighbour = Neighbour::start(&bench.site, server.target, settings.neighbours, settings.generator_core).await?;
        for neighbourhood in Neighbourhood::all() {
            let ways = match neighbourhood {
                Neighbourhood::Empty | Neighbourhood::Idle => continue,
                Neighbourhood::Busy(way) => vec![way],
                Neighbourhood::AllAtOnce => Way::ALL.to_vec(),
            };
            let pair = beside(&mut tenant, &mut neighbour, &ways, settings.duration / TURNS).await?;
            // Those who don't read are within what they may have.
            let beyond_limits = neighbourhood == Neighbourhood::Busy(Way::SlowReaders) || mean(&pair.refused_per_second) > 0.0;
            ensure!(beyond_limits, "{neighbourhood}: nothing was refused, so the neighbour did not go beyond its limits");
            idle.add(&pair.calm);
            pairs.push((neighbourhood, pair));
        }
    }
    // The end of a thousand connections is work, too.
    sleep(settings.settle).await;
    tenant.measure(settings.duration, &mut empty).await?;

    let alone = empty.percentile_ms(99);
    let quiet = [(Neighbourhood::Empty, empty.readings()), (Neighbourhood::Idle, idle.readings())];
    let busy = pairs.into_iter().map(|(neighbourhood, Pair { calm, busy, refused_per_second })| {
        let ratios = [
            Metric::CalmRatio.reading(busy.percentile_ms(99) / calm.percentile_ms(99)),
            Metric::AloneRatio.reading(busy.percentile_ms(99) / alone),
            Metric::RefusedPerSecond.reading(mean(&refused_per_second)),
        ];
        (neighbourhood, ratios.into_iter().chain(busy.readings()).collect())
    });
    let all = quiet.into_iter().chain(busy);
    Ok(all
        .flat_map(|(neighbourhood, readings)| readings.into_iter().map(move |reading| (Column::Beside(neighbourhood), reading)))
        .collect())
}

/// Measures beside a neighbour that is calm and busy in turns of this length.
async fn beside(tenant: &mut Live<'_>, neighbour: &mut Neighbour, ways: &[Way], turn: Duration) -> Result<Pair> {
    let mut pair = Pair::default();
    for _ in 0..TURNS {
        neighbour.order(&[]).await?;
        sleep(LEAD).await;
        tenant.measure(turn, &mut pair.calm).await?;
        neighbour.order(ways).await?;
        sleep(LEAD).await;
        let (start, before) = (Instant::now(), neighbour.order(ways).await?);
        tenant.measure(turn, &mut pair.busy).await?;
        let after: Tally = neighbour.order(&[]).await?;
        pair.refused_per_second.push(after.refused_per_second(&before, start.elapsed()));
    }
    Ok(pair)
}
