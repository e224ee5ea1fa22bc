//! What the neighbour publishes over HTTP, whether it may or not.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Way, clients::SLOW_ROOM, tally::Shared};
use crate::{
    client::{Publisher, Target},
    credentials::Tenant,
};

/// What the tenant may publish in a second.
const PUBLISHES_PER_SECOND: u32 = 200;
/// Size of what is published: as that of the first stage of the phase `delivery`.
const DATA_BYTES: usize = 128;
const TICK: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_millis(100);

type Orders = watch::Receiver<Vec<Way>>;

/// Starts a publisher for each way that publishes.
pub(super) fn spawn(server: Target, orders: &Orders, tally: &Shared) {
    let data = format!(r#"{{"p":"{}"}}"#, "x".repeat(DATA_BYTES - r#"{"p":""}"#.len()));
    let body = |target: &str| format!(r#"{{"event":"noise","data":{data}{target}}}"#);
    let publishers = [
        (Way::Publishes, 3 * PUBLISHES_PER_SECOND, body(r#","users":["user-00000000"]"#)),
        (Way::SlowReaders, PUBLISHES_PER_SECOND, body(&format!(r#","room":"{SLOW_ROOM}""#))),
        (Way::GiantRoom, PUBLISHES_PER_SECOND, body("")),
    ];
    for (way, per_second, body) in publishers {
        let (mut orders, tally) = (orders.clone(), tally.clone());
        tokio::spawn(async move {
            while orders.wait_for(|ways| ways.contains(&way)).await.is_ok() {
                if publish(server, way, per_second, &body, &orders, &tally).await.is_err() {
                    tally.enter(|tally| tally.ended += 1);
                    sleep(RETRY).await;
                }
            }
        });
    }
}

/// Publishes until it is told to stop.
async fn publish(server: Target, way: Way, per_second: u32, body: &str, orders: &Orders, tally: &Shared) -> Result<()> {
    let mut publisher = Publisher::connect(server, Tenant::Neighbour).await?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut told = 0;
    while orders.borrow().contains(&way) {
        ticks.tick().await;
        for _ in 0..per_second / 100 {
            publisher.publish(body).await?;
        }
        let refused = publisher.refused()?;
        tally.enter(|tally| tally.publishes_refused += refused - std::mem::replace(&mut told, refused));
    }
    Ok(())
}
