//! From samples to medians, a table and a file.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    args::Settings,
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
    peer: Peer,
    reading: Reading,
}

impl Report {
    /// Adds what a phase measured.
    pub fn add(&mut self, round: u32, peer: Peer, readings: Vec<Reading>) {
        self.samples.extend(readings.into_iter().map(|reading| Sample { round, peer, reading }));
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
        let ratios = ratios(peers);
        let mut header = vec!["median (lowest–highest)".to_owned()];
        header.extend(peers.iter().map(|peer| peer.name().to_owned()));
        header.extend(ratios.iter().map(|(peer, base)| format!("{} ÷ {}", peer.name(), base.name())));
        let mut table = row(&header);
        table += &format!("|---|{}\n", "--:|".repeat(header.len() - 1));

        for metric in self.metrics() {
            let mut cells = vec![metric.to_string()];
            cells.extend(peers.iter().map(|&peer| spread(&self.values(peer, metric))));
            cells.extend(ratios.iter().map(|&(peer, base)| self.ratio(metric, peer, base)));
            table += &row(&cells);
        }
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
        let samples = self.samples.iter().map(|Sample { round, peer, reading }| {
            json!({
                "round": round,
                "peer": peer.name(),
                "metric": reading.metric.to_string(),
                "value": reading.value,
            })
        });
        let report = json!({
            "settings": {
                "rounds": settings.rounds,
                "connections": settings.connections,
                "members": settings.members,
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

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<_> = self.samples.iter().map(|sample| sample.reading.metric).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }

    fn all_values(&self, metric: Metric) -> impl Iterator<Item = f64> {
        self.samples.iter().filter(move |sample| sample.reading.metric == metric).map(|sample| sample.reading.value)
    }

    /// A peer's values of a metric, lowest first.
    fn values(&self, peer: Peer, metric: Metric) -> Vec<f64> {
        let of_peer = self.samples.iter().filter(|sample| sample.peer == peer && sample.reading.metric == metric);
        let mut values: Vec<_> = of_peer.map(|sample| sample.reading.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    fn ratio(&self, metric: Metric, peer: Peer, base: Peer) -> String {
        match (median(&self.values(peer, metric)), median(&self.values(base, metric))) {
            (Some(value), Some(base)) if metric.is_compared() && base > 0.0 => format!("{:.2}", value / base),
            _ => String::new(),
        }
    }
}

/// Which peers are divided by which: all by `bare`, Carillon by Node, too.
fn ratios(peers: &[Peer]) -> Vec<(Peer, Peer)> {
    [(Peer::Node, Peer::Bare), (Peer::Carillon, Peer::Bare), (Peer::Carillon, Peer::Node)]
        .into_iter()
        .filter(|(peer, base)| peers.contains(peer) && peers.contains(base))
        .collect()
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
        for (round, bare, carillon) in [(1, 9.0, 6.0), (2, 11.0, 5.0), (3, 10.0, 4.0)] {
            report.add(round, Peer::Bare, vec![Metric::CrossPodCpu.reading(bare), Metric::ConnectCpu.reading(0.1)]);
            report.add(round, Peer::Carillon, vec![Metric::CrossPodCpu.reading(carillon)]);
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
    fn the_median_of_two_is_their_mean() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
    }
}
