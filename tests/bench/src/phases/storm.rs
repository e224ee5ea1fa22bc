//! How soon thousands of clients are back that all lost their connection at once, and what a tenant that has nothing to do with them notices.
//! One storm follows the other for as long as is measured: a 99th percentile of the broadcasts during one of them would be a single broadcast.
//!
//! The clients are a process of their own that only gets the processor when the generator does not want it: what reconnecting costs them
//! slows them down, but not the tenant whose latency is measured.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::time::sleep;

use super::{
    Bench,
    live::{Live, Window},
};
use crate::{
    crowd::Crowd,
    metric::{Metric, Reading},
    peers::Peer,
};

/// How many times as long as other phases this one measures.
const TIMES_AS_LONG: u32 = 5;

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = bench.single_server(peer).await?;
    let mut live = Live::start(bench, &server, settings.victims).await?;
    let mut crowd = bench.crowd(&server, settings.storm).await?;
    sleep(settings.settle).await;

    let (mut before, mut during) = (Window::default(), Window::default());
    let duration = TIMES_AS_LONG * settings.duration;
    live.measure(duration, &mut before).await?;
    let under_way = Cell::new(true);
    let storms = async {
        let slowest = slowest_of_storms(&mut crowd, duration).await;
        under_way.set(false);
        slowest
    };
    let (slowest, measured) = tokio::join!(storms, live.measure_while(&mut during, |_| under_way.get()));
    measured?;
    Ok(vec![
        Metric::StormSeconds.reading(slowest?),
        Metric::StormP99Before.reading(before.percentile_ms(99)),
        Metric::StormP99During.reading(during.percentile_ms(99)),
        Metric::StormLateness.reading(during.lateness_p99_ms()),
        before.noise(),
    ])
}

/// One storm after the other for so long. How many seconds the slowest of them took.
async fn slowest_of_storms(crowd: &mut Crowd, duration: Duration) -> Result<f64> {
    let start = Instant::now();
    let mut slowest = crowd.reconnect().await?;
    while start.elapsed() < duration {
        slowest = slowest.max(crowd.reconnect().await?);
    }
    Ok(slowest)
}
