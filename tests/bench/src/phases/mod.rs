//! The measurements. Each starts its own servers, and ends them.

mod connect;
mod cross_pod;
mod delivery;
mod fairness;
mod idle;
mod latency;
mod live;
mod overload;
mod pings;
mod quotas;
mod redis;
mod rooms;
mod storm;
mod upgrade;

use std::time::Duration;

use anyhow::Result;
use nix::unistd::Pid;
use tokio::time::sleep;

use crate::{
    args::{Phase, Settings},
    client::{Audience, Broadcaster, Broadcasts, Transport, tokens},
    column::Column,
    credentials::Tenant,
    crowd::Crowd,
    meter::{Meter, resident_kib},
    metric::{Metric, Reading},
    peers::Peer,
    server::{Server, Site},
};

/// What Socket.IO servers do unless told otherwise.
const PING_INTERVAL: Duration = Duration::from_secs(25);

/// As many broadcasts as a bare socketioxide's queues hold, with the pings that may be in them.
const BURST: u64 = 100;
const BURST_BYTES: usize = 1024;

/// All that a measurement needs to know.
pub struct Bench<'a> {
    pub settings: &'a Settings,
    pub site: Site<'a>,
}

impl Bench<'_> {
    /// Takes the measurements of one phase on one peer.
    pub async fn run(&self, phase: Phase, peer: Peer) -> Result<Vec<(Column, Reading)>> {
        let readings = match phase {
            Phase::Connect => connect::run(self, peer).await,
            Phase::Upgrade => upgrade::run(self, peer).await,
            Phase::Idle => idle::run(self, peer).await,
            Phase::Overload => overload::run(self, peer).await,
            Phase::Storm => storm::run(self, peer).await,
            Phase::Rooms => rooms::run(self, peer).await,
            Phase::Pings => pings::run(self, peer).await,
            Phase::Delivery => delivery::run(self, peer).await,
            Phase::Latency => latency::run(self, peer).await,
            Phase::CrossPod => cross_pod::run(self, peer).await,
            Phase::Quotas => return quotas::run(self).await,
            Phase::Redis => return redis::run(self).await,
            Phase::Fairness => return fairness::run(self).await,
        };
        Ok(readings?.into_iter().map(|reading| (Column::Peer(peer), reading)).collect())
    }

    async fn single_server(&self, peer: Peer) -> Result<Server> {
        Server::start(&self.site, peer, PING_INTERVAL, None).await
    }

    /// A server, and the members of a room there.
    async fn room(&self, peer: Peer) -> Result<(Server, Audience)> {
        let server = self.single_server(peer).await?;
        let audience = Audience::connect(server.target, self.settings.members).await?;
        Ok((server, audience))
    }

    /// A server that is warm, and the connections that came to it that way.
    async fn arrivals(&self, peer: Peer, transport: Transport) -> Result<Arrivals> {
        let settings = self.settings;
        let server = self.single_server(peer).await?;
        let warm_up = settings.warm_up_connections();
        let mut audience = Audience::by(transport);
        audience.join(server.target, tokens(Tenant::Bench, 0..warm_up)?).await?;
        sleep(settings.settle).await;

        let empty_kib = resident_kib(server.id())?;
        let tokens = tokens(Tenant::Bench, warm_up..warm_up + settings.connections)?;
        let ((), cost) = self.metered(&[&server], audience.join(server.target, tokens)).await?;
        Ok(Arrivals { server, audience, cost, empty_kib, count: settings.connections })
    }

    /// Clients of another tenant, so many.
    async fn crowd(&self, server: &Server, clients: usize) -> Result<Crowd> {
        let Settings { generator_core, sizes, .. } = self.settings;
        Crowd::start(self.site.folder, *generator_core, server.target, clients, sizes[0]).await
    }

    /// Publishes a lot at once: what that leaves behind in a connection's buffers shows in its memory.
    async fn burst(&self, server: &Server, audience: &Audience) -> Result<()> {
        let mut broadcaster = Broadcaster::connect(server.target, &audience.ledger).await?;
        broadcaster.burst(Broadcasts::of_size(BURST_BYTES)?, BURST).await
    }

    /// Does some work, and reads what it cost the servers.
    async fn metered<T>(&self, servers: &[&Server], work: impl Future<Output = Result<T>>) -> Result<(T, Cost)> {
        let processes: Vec<Pid> = servers.iter().map(|server| server.id()).collect();
        let meter = Meter::start(&processes, self.settings.server_core)?;
        let start = tokio::time::Instant::now();
        let value = work.await?;
        let usage = meter.stop()?;
        let noise = usage.foreign.as_secs_f64() / start.elapsed().as_secs_f64();
        Ok((value, Cost { cpu: usage.own, noise: Metric::Noise.reading(100.0 * noise) }))
    }
}

/// Connections that just came to a server.
struct Arrivals {
    server: Server,
    audience: Audience,
    /// Of their coming.
    cost: Cost,
    empty_kib: f64,
    count: usize,
}

impl Arrivals {
    /// The memory that each of them takes.
    fn kib_each(&self) -> Result<f64> {
        Ok((resident_kib(self.server.id())? - self.empty_kib) / self.count as f64)
    }
}

/// What so many percent of the sorted times, in microseconds, don't exceed.
fn percentile_ms(sorted_us: &[u32], percent: usize) -> f64 {
    f64::from(sorted_us[(sorted_us.len() - 1) * percent / 100]) / 1e3
}

/// What some work cost the servers.
struct Cost {
    cpu: Duration,
    /// What else ran on their core meanwhile.
    noise: Reading,
}

impl Cost {
    fn milliseconds_each(&self, count: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / count as f64
    }

    fn microseconds_each(&self, count: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count as f64
    }
}

/// What else ran, over several pieces of work.
#[derive(Default)]
struct Noise {
    sum: f64,
    count: f64,
}

impl Noise {
    fn add(&mut self, cost: &Cost) {
        self.sum += cost.noise.value;
        self.count += 1.0;
    }

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    fn mean(&self) -> Reading {
        Metric::Noise.reading(self.sum / self.count)
    }
}
