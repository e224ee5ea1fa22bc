//! A tenant's broadcasts at a fixed rate, and how late they are while something else goes on on its server.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::{Bench, Noise, percentile_ms};
use crate::{
    client::{Audience, Broadcaster, Broadcasts},
    metric::{Metric, Reading},
    server::Server,
};

const BROADCASTS_PER_SECOND: u32 = 50;

/// A tenant that publishes at a fixed rate for its own members, on a server that it does not have for itself.
pub(super) struct Live<'a> {
    bench: &'a Bench<'a>,
    server: &'a Server,
    audience: Audience,
    broadcasts: Broadcasts,
}

/// What was measured of it.
#[derive(Default)]
pub(super) struct Window {
    latencies_us: Vec<u32>,
    lateness_us: Vec<u32>,
    busy: Vec<f64>,
    noise: Noise,
}

impl<'a> Live<'a> {
    /// Connects its members, and lets it publish until that is nothing new any more.
    pub(super) async fn start(bench: &'a Bench<'a>, server: &'a Server, members: usize) -> Result<Self> {
        let audience = Audience::connect(server.target, members).await?;
        let broadcasts = Broadcasts::of_size(bench.settings.sizes[0])?;
        let mut live = Self { bench, server, audience, broadcasts };
        live.measure(bench.settings.warm_up, &mut Window::default()).await?;
        Ok(live)
    }

    /// Measures for so long.
    pub(super) async fn measure(&mut self, duration: Duration, window: &mut Window) -> Result<()> {
        let end = std::time::Instant::now() + duration;
        self.measure_while(window, |due| due < end).await
    }

    /// Measures as long as the next broadcast, which is due at this moment, is `wanted`.
    pub(super) async fn measure_while(&mut self, window: &mut Window, wanted: impl FnMut(std::time::Instant) -> bool) -> Result<()> {
        let interval = Duration::from_secs(1) / BROADCASTS_PER_SECOND;
        // A new one each time: Node closes a connection that is not used for five seconds.
        let mut broadcaster = Broadcaster::connect(self.server.target, &self.audience.ledger).await?;
        let start = Instant::now();
        let work = broadcaster.at_fixed_rate_while(self.broadcasts, interval, wanted);
        let (_, cost) = self.bench.metered(&[self.server], work).await?;
        window.busy.push(100.0 * cost.cpu.as_secs_f64() / start.elapsed().as_secs_f64());
        window.noise.add(&cost);
        window.latencies_us.append(&mut self.audience.ledger.take_latencies_us());
        window.lateness_us.append(&mut broadcaster.take_lateness_us());
        window.latencies_us.sort_unstable();
        window.lateness_us.sort_unstable();
        Ok(())
    }
}

impl Window {
    pub(super) fn percentile_ms(&self, percent: usize) -> f64 {
        percentile_ms(&self.latencies_us, percent)
    }

    /// How late the generator was in publishing: that much of the latency is not the server's.
    pub(super) fn lateness_p99_ms(&self) -> f64 {
        percentile_ms(&self.lateness_us, 99)
    }

    pub(super) fn noise(&self) -> Reading {
        self.noise.mean()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.latencies_us.extend(&other.latencies_us);
        self.lateness_us.extend(&other.lateness_us);
        self.latencies_us.sort_unstable();
        self.lateness_us.sort_unstable();
        self.busy.extend(&other.busy);
        self.noise.merge(&other.noise);
    }

    /// All of it, as the phase `fairness` reports it.
    pub(super) fn readings(&self) -> Vec<Reading> {
        vec![
            Metric::NeighbourMedian.reading(self.percentile_ms(50)),
            Metric::NeighbourP99.reading(self.percentile_ms(99)),
            Metric::PublishLateness.reading(self.lateness_p99_ms()),
            Metric::ServerBusy.reading(mean(&self.busy)),
            self.noise(),
        ]
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
