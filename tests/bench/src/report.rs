//! From samples to medians, a table and a file.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    args::Settings,
    column::{Column, Connects, Neighbourhood},
    metric::{Metric, Reading},
    peers::Peer,
};

/// Above this share of the servers' core (in percent), something else was running: the figures are not worth quoting.
const NOISE_LIMIT_PERCENT: f64 = 3.0;

/// Everything measured so far.
#[derive(Default)]
pub struct Report {
    samples: Vec<Sample>,
    failures: Vec<String>,
}

struct Sample {
    round: u32,
    column: Column,
    reading: Reading,
}

impl Report {
    /// Adds what a phase measured.
    pub fn add(&mut self, round: u32, readings: Vec<(Column, Reading)>) {
        self.samples.extend(readings.into_iter().map(|(column, reading)| Sample { round, column, reading }));
    }

    /// Adds that a phase measured nothing, and why.
    pub fn add_failure(&mut self, failure: String) {
        self.failures.push(failure);
    }

    /// Whether every measurement succeeded.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The report for people: medians, spread, ratios.
    pub fn markdown(&self, peers: &[Peer]) -> String {
        let mut tables = Vec::new();
        let columns: Vec<_> = peers.iter().copied().map(Column::Peer).collect();
        tables.extend(self.by_metric(&columns, &ratios(peers)));
        tables.extend(self.by_metric(&[Column::Unlimited, Column::Limited], &[(Column::Limited, Column::Unlimited)]));
        let connects: Vec<_> = Connects::all().into_iter().map(Column::Connects).collect();
        tables.extend(self.by_column("commands", &connects));
        let neighbourhoods: Vec<_> = Neighbourhood::all().into_iter().map(Column::Beside).collect();
        tables.extend(self.by_column("beside", &neighbourhoods));
        let mut table = tables.join("\n");
        let noisiest = self.all_values(Metric::Noise).fold(0.0, f64::max);
        if noisiest > NOISE_LIMIT_PERCENT {
            let _ = writeln!(table, "\nOther programs took up to {noisiest:.0} % of the servers' core: don't quote these figures.");
        }
        for failure in &self.failures {
            let _ = writeln!(table, "\nFAILED: {failure}");
        }
        table
    }

    /// Writes the report for programs.
    pub fn write_json(&self, file: &Path, settings: &Settings) -> Result<()> {
        let samples = self.samples.iter().map(|Sample { round, column, reading }| {
            json!({
                "round": round,
                "of": column.to_string(),
                "metric": reading.metric.to_string(),
                "value": reading.value,
            })
        });
        let report = json!({
            "settings": {
                "rounds": settings.rounds,
                "connections": settings.connections,
                "members": settings.members,
                "victims": settings.victims,
                "neighbours": settings.neighbours,
                "seconds": settings.duration.as_secs(),
                "ping_connections": settings.ping_connections,
                "pings": settings.pings,
                "sizes": settings.sizes,
            },
            "samples": samples.collect::<Vec<_>>(),
            "failures": self.failures,
        });
        fs::write(file, format!("{report:#}\n")).with_context(|| file.display().to_string())
    }

    /// A table with a line for each metric; `None` when there is nothing for it.
    fn by_metric(&self, columns: &[Column], ratios: &[(Column, Column)]) -> Option<String> {
        let mut header = vec!["median (lowest–highest)".to_owned()];
        header.extend(columns.iter().map(ToString::to_string));
        header.extend(ratios.iter().map(|(column, base)| format!("{column} ÷ {base}")));
        let lines = self.metrics(columns).into_iter().map(|metric| {
            let mut cells = vec![metric.to_string()];
            cells.extend(columns.iter().map(|&column| spread(&self.values(column, metric))));
            cells.extend(ratios.iter().map(|&(column, base)| self.ratio(metric, column, base)));
            cells
        });
        table(&header, lines.collect())
    }

    /// A table with a line for each of what else are columns; `None` when there is nothing for it.
    fn by_column(&self, title: &str, columns: &[Column]) -> Option<String> {
        let metrics = self.metrics(columns);
        let mut header = vec![title.to_owned()];
        header.extend(metrics.iter().map(ToString::to_string));
        let measured = columns.iter().filter(|column| self.samples.iter().any(|sample| sample.column == **column));
        let lines = measured.map(|column| {
            let mut cells = vec![column.to_string()];
            cells.extend(metrics.iter().map(|&metric| spread(&self.values(*column, metric))));
            cells
        });
        table(&header, lines.collect())
    }

    fn metrics(&self, columns: &[Column]) -> Vec<Metric> {
        let of_columns = self.samples.iter().filter(|sample| columns.contains(&sample.column));
        let mut metrics: Vec<_> = of_columns.map(|sample| sample.reading.metric).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }

    fn all_values(&self, metric: Metric) -> impl Iterator<Item = f64> {
        self.samples.iter().filter(move |sample| sample.reading.metric == metric).map(|sample| sample.reading.value)
    }

    /// A column's values of a metric, lowest first.
    fn values(&self, column: Column, metric: Metric) -> Vec<f64> {
        let of_column = self.samples.iter().filter(|sample| sample.column == column && sample.reading.metric == metric);
        let mut values: Vec<_> = of_column.map(|sample| sample.reading.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    fn ratio(&self, metric: Metric, column: Column, base: Column) -> String {
        match (median(&self.values(column, metric)), median(&self.values(base, metric))) {
            (Some(value), Some(base)) if metric.is_compared() && base > 0.0 => format!("{:.2}", value / base),
            _ => String::new(),
        }
    }
}

/// Which peers are divided by which: all by `bare`, Carillon by Node, too.
fn ratios(peers: &[Peer]) -> Vec<(Column, Column)> {
    [(Peer::Node, Peer::Bare), (Peer::Carillon, Peer::Bare), (Peer::Carillon, Peer::Node)]
        .into_iter()
        .filter(|(peer, base)| peers.contains(peer) && peers.contains(base))
        .map(|(peer, base)| (Column::Peer(peer), Column::Peer(base)))
        .collect()
}

/// A table, if there are lines for it.
fn table(header: &[String], lines: Vec<Vec<String>>) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let rule = format!("|---|{}\n", "--:|".repeat(header.len() - 1));
    let lines: String = lines.iter().map(|cells| row(cells)).collect();
    Some(row(header) + &rule + &lines)
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The middle one of sorted values; of two, their mean.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

fn spread(sorted: &[f64]) -> String {
    match (median(sorted), sorted) {
        (Some(median), [lowest, .., highest]) => format!("**{}** ({}–{})", figure(median), figure(*lowest), figure(*highest)),
        (Some(median), _) => format!("**{}**", figure(median)),
        (None, _) => "–".to_owned(),
    }
}

/// Three significant digits.
fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_spread_ratios_and_failures() {
        let mut report = Report::default();
        let (bare, carillon) = (Column::Peer(Peer::Bare), Column::Peer(Peer::Carillon));
        for (round, theirs, ours) in [(1, 9.0, 6.0), (2, 11.0, 5.0), (3, 10.0, 4.0)] {
            report.add(round, vec![(bare, Metric::CrossPodCpu.reading(theirs)), (bare, Metric::ConnectCpu.reading(0.1))]);
            report.add(round, vec![(carillon, Metric::CrossPodCpu.reading(ours))]);
        }
        report.add_failure("node: no".to_owned());
        assert_eq!(
            report.markdown(&[Peer::Bare, Peer::Carillon]),
            "| median (lowest–highest) | bare | carillon | carillon ÷ bare |\n\
             |---|--:|--:|--:|\n\
             | CPU per connect, ms | **0.100** (0.100–0.100) | – |  |\n\
             | CPU per delivery across pods, µs | **10.0** (9.00–11.0) | **5.00** (4.00–6.00) | 0.50 |\n\
             \nFAILED: node: no\n"
        );
        assert!(!report.is_complete());
    }

    #[test]
    fn what_quotas_cost_has_tables_of_its_own() {
        let mut report = Report::default();
        let connects = Column::Connects(Connects { servers: 2, by_user: true, per_second: None });
        let beside = Column::Beside(Neighbourhood::Idle);
        let readings = [
            (Column::Unlimited, Metric::QuotaMessageCpu.reading(10.0)),
            (Column::Limited, Metric::QuotaMessageCpu.reading(11.0)),
            (connects, Metric::RedisSent.reading(42.0)),
            (beside, Metric::NeighbourP99.reading(2.0)),
        ];
        report.add(1, readings.to_vec());
        assert_eq!(
            report.markdown(&[Peer::Carillon]),
            "| median (lowest–highest) | no quotas | all quotas | all quotas ÷ no quotas |\n\
             |---|--:|--:|--:|\n\
             | CPU per message, µs | **10.0** | **11.0** | 1.10 |\n\
             \n\
             | commands | sent per 1,000 connects |\n\
             |---|--:|\n\
             | 2 servers, `maxPerUser: 20`, at full speed | **42.0** |\n\
             \n\
             | beside | p99, ms |\n\
             |---|--:|\n\
             | neighbour connected, idle | **2.00** |\n"
        );
    }

    #[test]
    fn the_median_of_two_is_their_mean() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
    }
}
