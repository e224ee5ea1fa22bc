//! How soon thousands of clients are back that all lost their connection at once, and what a tenant that has nothing to do with them notices.
//!
//! The clients are a process of their own that only gets the processor when the generator does not want it: what reconnecting costs them
//! slows them down, but not the tenant whose latency is measured.

use std::cell::Cell;

use anyhow::Result;
use tokio::time::sleep;

use super::{
    Bench,
    live::{Live, Window},
};
use crate::{
    metric::{Metric, Reading},
    peers::Peer,
};

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = bench.single_server(peer).await?;
    let mut live = Live::start(bench, &server, settings.victims).await?;
    let mut crowd = bench.crowd(&server, settings.storm).await?;
    sleep(settings.settle).await;

    let (mut before, mut during) = (Window::default(), Window::default());
    live.measure(settings.duration, &mut before).await?;
    let under_way = Cell::new(true);
    let storm = async {
        let seconds = crowd.reconnect().await;
        under_way.set(false);
        seconds
    };
    let (seconds, measured) = tokio::join!(storm, live.measure_while(&mut during, |_| under_way.get()));
    measured?;
    Ok(vec![
        Metric::StormSeconds.reading(seconds?),
        Metric::StormP99Before.reading(before.percentile_ms(99)),
        Metric::StormP99During.reading(during.percentile_ms(99)),
        Metric::StormLateness.reading(during.lateness_p99_ms()),
        before.noise(),
    ])
}
