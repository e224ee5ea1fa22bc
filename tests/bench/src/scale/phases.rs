//! One size of the benchmark, step by step.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::{
    Options,
    changes::{Latencies, one_by_one, percentile, steadily},
    count::Writes,
    site::Site,
    table::{Figures, Row},
    tenants::{create, secret, tenant},
};

/// After this nothing that was put off is left to be done, the Secrets that servers start with among it.
const SETTLE: Duration = Duration::from_secs(6);
/// How long making a thousand tenants may take.
const CREATION_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Measures everything with so many tenants.
pub async fn measure(options: &Options, tenants: usize) -> Result<Figures> {
    let mut figures = Figures::default();
    let note = |what: &str| eprintln!("{tenants} tenants, {} servers: {what}", options.servers);
    note("starting");
    let site = Site::start(options.servers).await?;

    note("making them");
    let (begin, before) = (Instant::now(), Writes::count(&site.plane.server).await?);
    create(&site.plane.server, tenants).await?;
    while site.board.in_force() < tenants {
        ensure!(
            begin.elapsed() < CREATION_PATIENCE * (1 + u32::try_from(tenants / 1000)?),
            "only {} tenants are in force",
            site.board.in_force()
        );
        sleep(LOOK_INTERVAL).await;
    }
    figures.add(Row::Creation, begin.elapsed().as_secs_f64());
    sleep(SETTLE).await;
    figures.add(Row::CreationWrites, (Writes::count(&site.plane.server).await? - before).all() / tenants as f64);
    figures.add(Row::CreationPeak, site.operator_mib()?.1);

    note("starting the operator and the servers anew");
    let (site, cold) = site.restart(true).await?;
    figures.add(Row::EmptyReady, cold.ready.as_secs_f64());
    figures.add(Row::EmptyAcknowledged, cold.acknowledged.as_secs_f64());
    sleep(SETTLE).await;
    note("starting the operator anew");
    let (mut site, cold) = site.restart(false).await?;
    figures.add(Row::WarmReady, cold.ready.as_secs_f64());
    figures.add(Row::WarmAcknowledged, cold.acknowledged.as_secs_f64());
    sleep(SETTLE).await;
    figures.add(Row::MemoryStarted, site.operator_mib()?.0);

    note("idling");
    let idle = Duration::from_secs(options.idle_seconds.into());
    let before = site.cpu()?;
    sleep(idle).await;
    let after = site.cpu()?;
    let share = |used: Duration| used.as_secs_f64() / idle.as_secs_f64();
    let servers = options.servers as f64;
    let idle_share = (share(after.0 - before.0), share(after.1 - before.1) / servers);
    figures.add(Row::OperatorIdle, idle_share.0 * 100.0);
    figures.add(Row::ServerIdle, idle_share.1 * 100.0);

    note("changing tenants one by one");
    let changes = options.changes;
    let (begin, cpu) = (Instant::now(), site.cpu()?);
    let (pushes, writes) = (site.pushes().await?, Writes::count(&site.plane.server).await?);
    let spread = move |turn: usize| turn * (tenants / (changes + changes / 2)).max(1);
    let latencies = one_by_one(&mut site, (0..changes).map(spread), |number| tenant(number, 2000)).await?;
    let (time, after) = (begin.elapsed(), site.cpu()?);
    add_latencies(&mut figures, &latencies, [Row::AcknowledgedMedian, Row::AcknowledgedP99, Row::ToldMedian, Row::ToldP99]);
    let per_change = |used: Duration, idle: f64| (used.as_secs_f64() - idle * time.as_secs_f64()).max(0.0) * 1e3 / changes as f64;
    figures.add(Row::OperatorCpu, per_change(after.0 - cpu.0, idle_share.0));
    figures.add(Row::ServerCpu, per_change(after.1 - cpu.1, idle_share.1 * servers) / servers);
    figures.add(Row::Pushes, (site.pushes().await? - pushes) / changes as f64 / servers);
    sleep(SETTLE).await;
    let written = Writes::count(&site.plane.server).await? - writes;
    let each = |count: f64| count / changes as f64;
    figures.add(Row::StatusWrites, each(written.statuses + written.finalizers));
    figures.add(Row::EventWrites, each(written.events));
    figures.add(Row::BootWrites, each(written.boot));

    note("changing Secrets one by one");
    let others = (changes..changes + changes / 2).map(spread);
    let latencies = one_by_one(&mut site, others, |number| secret(number, 1)).await?;
    add_latencies(&mut figures, &latencies, [Row::SecretMedian, Row::SecretP99, Row::SecretToldMedian, Row::SecretToldP99]);
    sleep(SETTLE).await;

    note("changing tenants steadily");
    let (count, writes) = ((options.rate * options.seconds) as usize, Writes::count(&site.plane.server).await?);
    let all = (0..count).map(|turn| turn * (tenants / count).max(1));
    let latencies = steadily(&mut site, all, options.rate, |number| tenant(number, 3000)).await?;
    add_latencies(&mut figures, &latencies, [Row::SteadyMedian, Row::SteadyP99, Row::SteadyToldMedian, Row::SteadyToldP99]);
    sleep(SETTLE).await;
    let written = Writes::count(&site.plane.server).await? - writes;
    figures.add(Row::SteadyWrites, written.all() / count as f64);

    let (resident, peak) = site.operator_mib()?;
    figures.add(Row::MemoryChanged, resident);
    figures.add(Row::MemoryPeak, peak);
    figures.add(Row::ServerMemory, site.server_mib()?);
    note("checking what every server runs");
    site.check(tenants).await?;
    figures.describe(options);
    Ok(figures)
}

fn add_latencies(figures: &mut Figures, latencies: &Latencies, rows: [Row; 4]) {
    let Latencies { acknowledged_ms, told_ms } = latencies;
    let values = [(acknowledged_ms, 50), (acknowledged_ms, 99), (told_ms, 50), (told_ms, 99)];
    for (row, (sorted, percent)) in rows.into_iter().zip(values) {
        figures.add(row, percentile(sorted, percent));
    }
}
