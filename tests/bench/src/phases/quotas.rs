//! What quotas cost: the same messages and connects of two tenants on one server, one with all quotas and one with none, in turn.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Bench, Cost, Noise, PING_INTERVAL};
use crate::{
    client::{Audience, LEAVE, Member, tokens},
    column::Column,
    credentials::Tenant,
    frame::masked_text,
    metric::{Metric, Reading},
    peers::Peer,
    server::{Redis, Server},
};

const SIDES: [(Column, Tenant); 2] = [(Column::Unlimited, Tenant::Unlimited), (Column::Limited, Tenant::Bench)];
/// Connections that talk, one message in flight each.
const TALKERS: usize = 100;
/// So many turns each side gets, for connects and for messages.
const TURNS: u32 = 4;
/// Indexes of the talkers' users begin here.
const FIRST_TALKER: usize = 1_000_000;

/// What one side's turns came to.
#[derive(Default)]
struct Side {
    cpu: Duration,
    count: u64,
    noise: Noise,
}

impl Side {
    fn add(&mut self, cost: &Cost, count: u64) {
        self.cpu += cost.cpu;
        self.count += count;
        self.noise.add(cost);
    }

    /// What it cost each time, in seconds times `scale`.
    fn readings(&self, column: Column, metric: Metric, scale: f64) -> [(Column, Reading); 2] {
        let each = scale * self.cpu.as_secs_f64() / self.count as f64;
        [(column, metric.reading(each)), (column, self.noise.mean())]
    }
}

pub(super) async fn run(bench: &Bench<'_>) -> Result<Vec<(Column, Reading)>> {
    let redis = Redis::start(bench.site.folder, bench.settings.generator_core).await?;
    let server = Server::start(&bench.site, Peer::Carillon, PING_INTERVAL, Some(&redis)).await?;
    let mut readings = Vec::new();
    connects(bench, &server, &mut readings).await?;
    sleep(bench.settings.settle).await;
    messages(bench, &server, &mut readings).await?;
    Ok(readings)
}

async fn connects(bench: &Bench<'_>, server: &Server, readings: &mut Vec<(Column, Reading)>) -> Result<()> {
    let settings = bench.settings;
    let mut sides: [(Side, Audience); 2] = Default::default();
    let warm_up = settings.warm_up_connections();
    for (&(_, tenant), (_, audience)) in SIDES.iter().zip(&mut sides) {
        audience.join(server.target, tokens(tenant, 0..warm_up)?).await?;
    }
    let each = (settings.connections / TURNS as usize).max(1);
    for turn in 0..TURNS {
        for which in order(turn) {
            let ((_, tenant), (side, audience)) = (SIDES[which], &mut sides[which]);
            let first = warm_up + turn as usize * each;
            let tokens = tokens(tenant, first..first + each)?;
            let ((), cost) = bench.metered(&[server], audience.join(server.target, tokens)).await?;
            side.add(&cost, each as u64);
        }
    }
    readings.extend(SIDES.iter().zip(&sides).flat_map(|((column, _), (side, _))| side.readings(*column, Metric::QuotaConnectCpu, 1e3)));
    Ok(())
}

async fn messages(bench: &Bench<'_>, server: &Server, readings: &mut Vec<(Column, Reading)>) -> Result<()> {
    let settings = bench.settings;
    let mut talkers = Vec::new();
    for (_, tenant) in SIDES {
        let mut members = Vec::new();
        for (index, token) in tokens(tenant, FIRST_TALKER..FIRST_TALKER + TALKERS)?.iter().enumerate() {
            members.push(Member::join(server.target, index, token, Arc::default()).await?);
        }
        converse(&mut members, settings.warm_up / 4).await?;
        talkers.push((Side::default(), members));
    }
    for turn in 0..TURNS {
        for which in order(turn) {
            let (side, members) = &mut talkers[which];
            let (count, cost) = bench.metered(&[server], converse(members, settings.duration / TURNS)).await?;
            side.add(&cost, count);
        }
    }
    readings.extend(SIDES.iter().zip(&talkers).flat_map(|((column, _), (side, _))| side.readings(*column, Metric::QuotaMessageCpu, 1e6)));
    Ok(())
}

/// Who comes first changes.
fn order(turn: u32) -> [usize; 2] {
    if turn.is_multiple_of(2) { [0, 1] } else { [1, 0] }
}

/// Lets them talk for so long. Returns how many messages that were.
async fn converse(members: &mut Vec<Member>, time: Duration) -> Result<u64> {
    let message: Arc<[u8]> = masked_text(LEAVE).into();
    let until = Instant::now() + time;
    let mut talking = JoinSet::new();
    for mut member in members.drain(..) {
        let message = message.clone();
        talking.spawn(async move { member.converse(&message, until).await.map(|count| (member, count)) });
    }
    let mut total = 0;
    while let Some(talked) = talking.join_next().await {
        let (member, count) = talked??;
        members.push(member);
        total += count;
    }
    Ok(total)
}
