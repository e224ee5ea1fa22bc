//! The ways in which broadcasts are published: one at a time, many at once, or at a fixed rate.

use std::{
    net::SocketAddrV4,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::{
    broadcast::Broadcasts,
    ledger::{Ledger, Schedule},
    publisher::Publisher,
};
use crate::credentials::Tenant;

const DELIVERY_PATIENCE: Duration = Duration::from_secs(20);
/// After this long, what was delivered twice has arrived twice.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Publishes through one server for the audience that a ledger belongs to.
pub struct Broadcaster {
    publisher: Publisher,
    ledger: Arc<Ledger>,
    lateness_us: Vec<u32>,
}

impl Broadcaster {
    /// Publishes through `server` whatever the audience of `ledger` is to receive.
    pub async fn connect(server: SocketAddrV4, ledger: &Arc<Ledger>) -> Result<Self> {
        Ok(Self { publisher: Publisher::connect(server, Tenant::Bench).await?, ledger: ledger.clone(), lateness_us: Vec::new() })
    }

    /// For so long publishes the next broadcast when every member has the one before. Returns how many.
    pub async fn one_in_flight(&mut self, broadcasts: Broadcasts, duration: Duration) -> Result<u64> {
        self.ledger.expect(broadcasts, None);
        let (start, first) = (Instant::now(), self.ledger.next_number());
        while start.elapsed() < duration {
            self.publish(broadcasts).await?;
            self.publisher.accepted().await?;
            self.ledger.settled(DELIVERY_PATIENCE).await?;
        }
        Ok(self.ledger.next_number() - first)
    }

    /// Publishes so many as fast as the server takes them, and waits until all arrived.
    pub async fn burst(&mut self, broadcasts: Broadcasts, count: u64) -> Result<()> {
        self.ledger.expect(broadcasts, None);
        for _ in 0..count {
            self.publish(broadcasts).await?;
        }
        self.finish().await
    }

    /// For so long publishes one each `interval`, however late the deliveries are. Returns how many.
    pub async fn at_fixed_rate(&mut self, broadcasts: Broadcasts, interval: Duration, duration: Duration) -> Result<u64> {
        let schedule = Schedule { first: self.ledger.next_number(), start: Instant::now() + interval, interval };
        self.ledger.expect(broadcasts, Some(schedule));
        let end = schedule.start + duration;
        loop {
            let number = self.ledger.next_number();
            let due = schedule.due(number);
            if due >= end {
                self.finish().await?;
                return Ok(number - schedule.first);
            }
            until(due).await;
            self.publish(broadcasts).await?;
            self.lateness_us.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Takes how late the generator itself was at a fixed rate, in microseconds, since this was last called.
    pub fn take_lateness_us(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.lateness_us)
    }

    /// Publishes probes until every one of `members` got one: only then does the path between two pods stand.
    pub async fn probe_until_open(&mut self, members: usize) -> Result<()> {
        let open = async {
            let mut before = self.ledger.probes();
            loop {
                self.publisher.publish(Broadcasts::probe()).await?;
                self.publisher.accepted().await?;
                sleep(AFTERMATH).await;
                let now = self.ledger.probes();
                if now - before == members as u64 {
                    return Ok(());
                }
                before = now;
            }
        };
        tokio::time::timeout(DELIVERY_PATIENCE, open).await.context("no probe reached every member")?
    }

    /// Insists that everything published was accepted and arrived once.
    pub async fn finish(&mut self) -> Result<()> {
        self.publisher.accepted().await?;
        self.ledger.settled(DELIVERY_PATIENCE).await?;
        sleep(AFTERMATH).await;
        self.ledger.settled(DELIVERY_PATIENCE).await
    }

    async fn publish(&mut self, broadcasts: Broadcasts) -> Result<()> {
        let number = self.ledger.publish_next();
        self.publisher.publish(&broadcasts.body(number)).await
    }
}

/// Waits to within microseconds: tokio's timer ticks in milliseconds, which would count as latency.
async fn until(due: Instant) {
    const TICK: Duration = Duration::from_millis(2);
    sleep(due.saturating_duration_since(Instant::now()).saturating_sub(TICK)).await;
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}
