//! The ways in which broadcasts are published: one at a time, many at once, or at a fixed rate.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::{
    broadcast::Broadcasts,
    dialect::Target,
    ledger::{Arrivals, Ledger, Schedule},
    publisher::Publisher,
};
use crate::credentials::Tenant;

const DELIVERY_PATIENCE: Duration = Duration::from_secs(20);
/// After so long without any delivery, none comes any more.
const SILENCE: Duration = Duration::from_secs(2);
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
    pub async fn connect(server: Target, ledger: &Arc<Ledger>) -> Result<Self> {
        Self::connect_as(Tenant::Bench, server, ledger).await
    }

    /// The same for an audience of another tenant.
    pub async fn connect_as(tenant: Tenant, server: Target, ledger: &Arc<Ledger>) -> Result<Self> {
        Ok(Self { publisher: Publisher::connect(server, tenant).await?, ledger: ledger.clone(), lateness_us: Vec::new() })
    }

    /// For so long keeps `in_flight` broadcasts under way: the next one is published when every member has all but so many. Returns how
    /// many were published, and thereby delivered.
    pub async fn in_flight(&mut self, in_flight: usize, broadcasts: Broadcasts, duration: Duration) -> Result<u64> {
        self.ledger.expect(broadcasts, None);
        let (start, first) = (Instant::now(), self.ledger.next_number());
        while start.elapsed() < duration {
            self.publish(broadcasts).await?;
            self.publisher.at_most_unanswered(in_flight as u64 - 1).await?;
            self.ledger.at_most_in_flight(in_flight - 1, DELIVERY_PATIENCE).await?;
        }
        self.publisher.accepted().await?;
        self.ledger.settled(DELIVERY_PATIENCE).await?;
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
        let end = Instant::now() + interval + duration;
        self.at_fixed_rate_while(broadcasts, interval, |due| due < end).await
    }

    /// The same, as long as the next one, which is due at this moment, is `wanted`.
    pub async fn at_fixed_rate_while(
        &mut self,
        broadcasts: Broadcasts,
        interval: Duration,
        wanted: impl FnMut(Instant) -> bool,
    ) -> Result<u64> {
        let published = self.publish_while(broadcasts, interval, wanted).await?;
        self.finish().await?;
        Ok(published)
    }

    /// Publishes so many, one each `interval`, which is sooner than any server delivers them. Only after the last one it waits until all have
    /// arrived, or until nothing arrives any more.
    pub async fn overload(&mut self, broadcasts: Broadcasts, interval: Duration, count: u64) -> Result<Arrivals> {
        let end = self.ledger.next_number() + count;
        let ledger = self.ledger.clone();
        self.publish_while(broadcasts, interval, |_| ledger.next_number() < end).await?;
        self.publisher.accepted().await?;
        self.ledger.write_off(SILENCE).await
    }

    async fn publish_while(&mut self, broadcasts: Broadcasts, interval: Duration, mut wanted: impl FnMut(Instant) -> bool) -> Result<u64> {
        let schedule = Schedule { first: self.ledger.next_number(), start: Instant::now() + interval, interval };
        self.ledger.expect(broadcasts, Some(schedule));
        loop {
            let number = self.ledger.next_number();
            let due = schedule.due(number);
            if !wanted(due) {
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
