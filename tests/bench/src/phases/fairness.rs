//! How late a tenant's broadcasts are while another tenant of the same server goes beyond its limits.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::{Bench, Noise, PING_INTERVAL};
use crate::{
    client::{Audience, Broadcaster, Broadcasts},
    column::{Column, Neighbourhood},
    metric::{Metric, Reading},
    neighbour::{Neighbour, Tally, Way},
    peers::Peer,
    server::{Redis, Server},
};

const BROADCASTS_PER_SECOND: u32 = 50;
/// What the neighbour was told shows after this time.
const LEAD: Duration = Duration::from_secs(1);
/// The neighbour is calm and busy in so many turns each: what else goes on in the machine then falls on both alike.
const TURNS: u32 = 4;

/// What was measured in some neighbourhood.
#[derive(Default)]
struct Window {
    latencies_us: Vec<u32>,
    lateness_us: Vec<u32>,
    busy: Vec<f64>,
    noise: Noise,
    refused_per_second: Vec<f64>,
}

/// What was measured in turns.
#[derive(Default)]
struct Pair {
    calm: Window,
    busy: Window,
}

/// A tenant that publishes at a fixed rate for its own members, on a server that it does not have for itself.
struct Tenant<'a> {
    bench: &'a Bench<'a>,
    server: &'a Server,
    audience: &'a Audience,
    broadcaster: Broadcaster,
    broadcasts: Broadcasts,
}

pub(super) async fn run(bench: &Bench<'_>) -> Result<Vec<(Column, Reading)>> {
    let settings = bench.settings;
    let redis = Redis::start(bench.site.folder, settings.generator_core).await?;
    let server = Server::start(&bench.site, Peer::Carillon, PING_INTERVAL, Some(&redis)).await?;
    let audience = Audience::connect(server.address, settings.victims).await?;
    let broadcaster = Broadcaster::connect(server.address, &audience.ledger).await?;
    let broadcasts = Broadcasts::of_size(settings.sizes[0])?;
    let mut tenant = Tenant { bench, server: &server, audience: &audience, broadcaster, broadcasts };
    tenant.measure(settings.warm_up, &mut Window::default()).await?;

    let (mut empty, mut idle) = (Window::default(), Window::default());
    tenant.measure(settings.duration, &mut empty).await?;
    let mut pairs = Vec::new();
    {
        let mut neighbour = Neighbour::start(&bench.site, server.address, settings.neighbours, settings.generator_core).await?;
        for neighbourhood in Neighbourhood::all() {
            let ways = match neighbourhood {
                Neighbourhood::Empty | Neighbourhood::Idle => continue,
                Neighbourhood::Busy(way) => vec![way],
                Neighbourhood::AllAtOnce => Way::ALL.to_vec(),
            };
            let pair = tenant.beside(&mut neighbour, &ways).await?;
            // Those who don't read are within what they may have.
            let beyond_limits = neighbourhood == Neighbourhood::Busy(Way::SlowReaders) || pair.busy.refused_per_second() > 0.0;
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
    let busy = pairs.into_iter().map(|(neighbourhood, Pair { calm, busy })| {
        let ratios = [
            Metric::CalmRatio.reading(busy.percentile_ms(99) / calm.percentile_ms(99)),
            Metric::AloneRatio.reading(busy.percentile_ms(99) / alone),
            Metric::RefusedPerSecond.reading(busy.refused_per_second()),
        ];
        (neighbourhood, ratios.into_iter().chain(busy.readings()).collect())
    });
    let all = quiet.into_iter().chain(busy);
    Ok(all
        .flat_map(|(neighbourhood, readings)| readings.into_iter().map(move |reading| (Column::Beside(neighbourhood), reading)))
        .collect())
}

impl Tenant<'_> {
    /// Measures beside a neighbour that is calm and busy in turns.
    async fn beside(&mut self, neighbour: &mut Neighbour, ways: &[Way]) -> Result<Pair> {
        let duration = self.bench.settings.duration / TURNS;
        let mut pair = Pair::default();
        for _ in 0..TURNS {
            neighbour.order(&[]).await?;
            sleep(LEAD).await;
            self.measure(duration, &mut pair.calm).await?;
            neighbour.order(ways).await?;
            sleep(LEAD).await;
            let (start, before) = (Instant::now(), neighbour.order(ways).await?);
            self.measure(duration, &mut pair.busy).await?;
            let after: Tally = neighbour.order(&[]).await?;
            pair.busy.refused_per_second.push(after.refused_per_second(&before, start.elapsed()));
        }
        Ok(pair)
    }

    async fn measure(&mut self, duration: Duration, window: &mut Window) -> Result<()> {
        let interval = Duration::from_secs(1) / BROADCASTS_PER_SECOND;
        let start = Instant::now();
        let work = self.broadcaster.at_fixed_rate(self.broadcasts, interval, duration);
        let (_, cost) = self.bench.metered(&[self.server], work).await?;
        window.busy.push(100.0 * cost.cpu.as_secs_f64() / start.elapsed().as_secs_f64());
        window.noise.add(&cost);
        window.latencies_us.append(&mut self.audience.ledger.take_latencies_us());
        window.lateness_us.append(&mut self.broadcaster.take_lateness_us());
        window.latencies_us.sort_unstable();
        window.lateness_us.sort_unstable();
        Ok(())
    }
}

impl Window {
    fn percentile_ms(&self, percent: usize) -> f64 {
        percentile_ms(&self.latencies_us, percent)
    }

    fn refused_per_second(&self) -> f64 {
        mean(&self.refused_per_second)
    }

    fn add(&mut self, other: &Self) {
        self.latencies_us.extend(&other.latencies_us);
        self.lateness_us.extend(&other.lateness_us);
        self.latencies_us.sort_unstable();
        self.lateness_us.sort_unstable();
        self.busy.extend(&other.busy);
        self.noise.merge(&other.noise);
    }

    fn readings(self) -> Vec<Reading> {
        vec![
            Metric::NeighbourMedian.reading(self.percentile_ms(50)),
            Metric::NeighbourP99.reading(self.percentile_ms(99)),
            Metric::PublishLateness.reading(percentile_ms(&self.lateness_us, 99)),
            Metric::ServerBusy.reading(mean(&self.busy)),
            self.noise.mean(),
        ]
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn percentile_ms(sorted_us: &[u32], percent: usize) -> f64 {
    f64::from(sorted_us[(sorted_us.len() - 1) * percent / 100]) / 1e3
}
