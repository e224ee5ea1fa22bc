//! What a delivery costs when broadcasts come faster than they can be delivered, and how many a second that makes.
//!
//! Bursts at a fixed rate that no server keeps up with, each followed by the time that it takes to deliver the rest. A burst is short enough
//! that what waits stays below the bounds at which Carillon, Node and Centrifuge give up on a member or refuse a publish: 800 broadcasts of
//! 128 bytes are about 110 KiB for a member. So nothing may be refused, and what was accepted has to arrive, once and in order. The only
//! exception is bare socketioxide, whose queue for a member holds 128 packets and which drops what comes then: it is told how many it lost,
//! and its figures are of those that arrived.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Bench, Noise};
use crate::{
    client::{Broadcaster, Broadcasts},
    metric::{Metric, Reading},
    peers::Peer,
};

/// With 1,000 members two million deliveries a second, on one core.
const BROADCASTS_PER_SECOND: u32 = 2000;
const BURST: u64 = 800;

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let (server, audience) = bench.room(peer).await?;
    let broadcasts = Broadcasts::of_size(settings.sizes[0])?;
    let interval = Duration::from_secs(1) / BROADCASTS_PER_SECOND;
    let mut broadcaster = Broadcaster::connect(server.target, &audience.ledger).await?;
    broadcaster.in_flight(1, broadcasts, settings.warm_up).await?;

    let (mut cpu, mut time, mut noise) = (Duration::ZERO, Duration::ZERO, Noise::default());
    let (mut made, mut lost) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < settings.duration {
        let (arrivals, cost) = bench.metered(&[&server], broadcaster.overload(broadcasts, interval, BURST)).await?;
        ensure!(arrivals.lost == 0 || peer.drops_when_full(), "{} deliveries are missing", arrivals.lost);
        made += arrivals.made;
        lost += arrivals.lost;
        time += arrivals.time;
        cpu += cost.cpu;
        noise.add(&cost);
    }
    Ok(vec![
        Metric::OverloadCpu.reading(cpu.as_secs_f64() * 1e6 / made as f64),
        Metric::OverloadThroughput.reading(made as f64 / time.as_secs_f64() / 1e3),
        Metric::OverloadLost.reading(100.0 * lost as f64 / (made + lost) as f64),
        noise.mean(),
    ])
}
