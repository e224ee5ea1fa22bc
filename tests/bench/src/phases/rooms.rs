//! How long a small room waits for a giant one on the same server: another tenant's, which is published to all the time.
//!
//! Nobody has limits here: it is not fairness that is measured, but how long a server is busy with one room before it looks at another.

use std::time::Duration;

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

/// Members of the small room.
const SMALL: usize = 10;
/// The giant one is quiet and busy in so many turns each.
const TURNS: u32 = 2;
/// It is busy for so much longer than is measured, on either side.
const LEAD: Duration = Duration::from_millis(500);

pub(super) async fn run(bench: &Bench<'_>, peer: Peer) -> Result<Vec<Reading>> {
    let settings = bench.settings;
    let server = bench.single_server(peer).await?;
    let mut live = Live::start(bench, &server, SMALL).await?;
    let mut crowd = bench.crowd(&server, settings.giant).await?;
    sleep(settings.settle).await;

    let (mut quiet, mut busy) = (Window::default(), Window::default());
    let (turn, mut published) = (settings.duration / TURNS, 0.0);
    for _ in 0..TURNS {
        live.measure(turn, &mut quiet).await?;
        let beside = async {
            sleep(LEAD).await;
            live.measure(turn, &mut busy).await
        };
        let (broadcasts, measured) = tokio::join!(crowd.broadcast(turn + 2 * LEAD), beside);
        measured?;
        published += broadcasts?;
    }
    let seconds = ((turn + 2 * LEAD) * TURNS).as_secs_f64();
    Ok(vec![
        Metric::RoomP99Alone.reading(quiet.percentile_ms(99)),
        Metric::RoomMedianBeside.reading(busy.percentile_ms(50)),
        Metric::RoomP99Beside.reading(busy.percentile_ms(99)),
        Metric::RoomLateness.reading(busy.lateness_p99_ms()),
        Metric::GiantDeliveries.reading(published * settings.giant as f64 / seconds / 1e3),
        busy.noise(),
    ])
}
