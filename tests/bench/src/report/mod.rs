//! From samples to medians, tables and files.

mod plot;
mod table;

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::json;

use self::{
    plot::{Bar, Group, draw},
    table::{figure, median, spread, table},
};
use crate::{
    args::{Phase, Settings},
    column::{Column, Connects, Neighbourhood},
    document::{self, Marks},
    metric::{Metric, Reading},
    peers::Peer,
};

/// The picture of what deliveries cost; it stands beside the document.
const PLOT: &str = "deliveries.svg";
const PLOT_TITLE: &str = "CPU per delivery, in multiples of one send() of a ready frame";
/// Above this share of the servers' core (in percent), something else was running: the figures are not worth quoting.
const NOISE_LIMIT_PERCENT: f64 = 3.0;

/// Everything measured so far.
#[derive(Default)]
pub struct Report {
    samples: Vec<Sample>,
    failures: Vec<String>,
}

/// A part of the report that stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// Peers beside each other.
    Peers,
    /// Two tenants beside each other.
    Quotas,
    /// What connects cost Redis.
    Redis,
    /// A tenant beside another.
    Fairness,
}

impl Section {
    const ALL: [Self; 4] = [Self::Peers, Self::Quotas, Self::Redis, Self::Fairness];

    /// What stands around it in a document.
    const fn marks(self) -> Marks {
        match self {
            Self::Peers => ["<!-- peers: written by `make bench` -->", "<!-- end of peers -->"],
            Self::Quotas => ["<!-- quotas: written by `make bench` -->", "<!-- end of quotas -->"],
            Self::Redis => ["<!-- redis: written by `make bench` -->", "<!-- end of redis -->"],
            Self::Fairness => ["<!-- fairness: written by `make bench` -->", "<!-- end of fairness -->"],
        }
    }
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
        let sections = Section::ALL.into_iter().filter_map(|section| self.section(section, peers));
        let mut text = sections.collect::<Vec<_>>().join("\n");
        let noisiest = self.all_values(Metric::Noise).fold(0.0, f64::max);
        if noisiest > NOISE_LIMIT_PERCENT {
            let _ = writeln!(text, "\nOther programs took up to {noisiest:.0} % of the servers' core: don't quote these figures.");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "\nFAILED: {failure}");
        }
        text
    }

    /// A part of it; `None` when nothing of it was measured.
    fn section(&self, section: Section, peers: &[Peer]) -> Option<String> {
        match section {
            Section::Peers => {
                let columns: Vec<_> = peers.iter().copied().map(Column::Peer).collect();
                let medians = self.by_metric(&columns)?;
                Some(self.ratios(&columns, &ratios(peers)).map_or_else(|| medians.clone(), |ratios| format!("{medians}\n{ratios}")))
            }
            Section::Quotas => {
                let columns = [Column::Unlimited, Column::Limited];
                let medians = self.by_metric(&columns)?;
                let ratios = self.ratios(&columns, &[(Column::Limited, Column::Unlimited)])?;
                Some(format!("{medians}\n{ratios}"))
            }
            Section::Redis => self.by_column("commands", &Connects::all().into_iter().map(Column::Connects).collect::<Vec<_>>()),
            Section::Fairness => self.by_column("beside", &Neighbourhood::all().into_iter().map(Column::Beside).collect::<Vec<_>>()),
        }
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
                "slow_rounds": settings.slow_rounds,
                "connections": settings.connections,
                "members": settings.members,
                "victims": settings.victims,
                "neighbours": settings.neighbours,
                "seconds": settings.duration.as_secs(),
                "idle_seconds": settings.idle.as_secs(),
                "storm_clients": settings.storm,
                "giant_members": settings.giant,
                "ping_connections": settings.ping_connections,
                "pings": settings.pings,
                "sizes": settings.sizes,
            },
            "samples": samples.collect::<Vec<_>>(),
            "failures": self.failures,
        });
        fs::write(file, format!("{report:#}\n")).with_context(|| file.display().to_string())
    }

    /// Writes all that was measured into a document, in place of what it says of the same, and the picture of deliveries beside it.
    pub fn write_document(&self, file: &Path, peers: &[Peer], phases: &[Phase], settings: &Settings) -> Result<()> {
        let picture = self.deliveries(peers);
        let link = picture.as_ref().map_or_else(String::new, |_| format!("![{PLOT_TITLE}]({PLOT})\n\n"));
        let part = |section| {
            let tables = self.section(section, peers)?;
            let text = if section == Section::Peers { format!("{link}{tables}\n{}", settings.description(phases)) } else { tables };
            Some((section.marks(), text))
        };
        document::rewrite(file, &Section::ALL.into_iter().filter_map(part).collect::<Vec<_>>())?;
        let Some(svg) = picture else { return Ok(()) };
        let plot = file.with_file_name(PLOT);
        fs::write(&plot, svg).with_context(|| plot.display().to_string())
    }

    /// A picture of what a delivery costs in multiples of the floor; `None` unless that was measured.
    fn deliveries(&self, peers: &[Peer]) -> Option<String> {
        let floor = Column::Peer(Peer::Floor);
        let groups = self.metrics(&[floor]).into_iter().filter_map(|metric| {
            let Metric::DeliveryCpu { bytes, in_flight } = metric else { return None };
            let several = if in_flight == 1 { "broadcast" } else { "broadcasts" };
            let bars = peers.iter().filter(|peer| **peer != Peer::Floor).filter_map(|&peer| {
                let ratio = self.ratio(metric, Column::Peer(peer), floor)?;
                let microseconds = median(&self.values(Column::Peer(peer), metric))?;
                let figure = format!("{ratio:.2} × ({} µs)", figure(microseconds));
                Some(Bar { name: peer.name(), ratio, figure, ours: peer == Peer::Carillon })
            });
            Some(Group { title: format!("{bytes} bytes, {in_flight} {several} in flight"), bars: bars.collect() })
        });
        let groups: Vec<_> = groups.collect();
        (!groups.is_empty()).then(|| draw(PLOT_TITLE, &groups))
    }

    /// A table with a line for each metric; `None` when there is nothing for it.
    fn by_metric(&self, columns: &[Column]) -> Option<String> {
        let mut header = vec!["median (lowest–highest)".to_owned()];
        header.extend(columns.iter().map(ToString::to_string));
        let lines = self.metrics(columns).into_iter().map(|metric| {
            let cells = columns.iter().map(|&column| spread(&self.values(column, metric)));
            [metric.to_string()].into_iter().chain(cells).collect()
        });
        table(&header, lines.collect())
    }

    /// A table of medians divided by medians, with a line for each metric that has any; `None` when none has.
    fn ratios(&self, columns: &[Column], ratios: &[(Column, Column)]) -> Option<String> {
        let mut header = vec!["ratio of medians".to_owned()];
        header.extend(ratios.iter().map(|(column, base)| format!("{column} ÷ {base}")));
        let lines = self.metrics(columns).into_iter().filter_map(|metric| {
            let cells: Vec<_> = ratios.iter().map(|&(column, base)| self.ratio(metric, column, base)).collect();
            cells.iter().any(Option::is_some).then(|| {
                let cells = cells.into_iter().map(|ratio| ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")));
                [metric.to_string()].into_iter().chain(cells).collect()
            })
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

    fn ratio(&self, metric: Metric, column: Column, base: Column) -> Option<f64> {
        let base_median = median(&self.values(base, metric)).filter(|median| *median > 0.0)?;
        metric.is_compared_with(base).then(|| Some(median(&self.values(column, metric))? / base_median))?
    }
}

/// Which peers are divided by which: all by the floor, and Carillon by those that a team would have without it.
fn ratios(peers: &[Peer]) -> Vec<(Column, Column)> {
    let by_floor = peers.iter().filter(|peer| **peer != Peer::Floor).map(|peer| (*peer, Peer::Floor));
    let by_others = [(Peer::Node, Peer::Bare), (Peer::Carillon, Peer::Bare), (Peer::Carillon, Peer::Node), (Peer::Carillon, Peer::Uws)];
    let by_others = by_others.into_iter().filter(|(peer, _)| *peer == Peer::Carillon || !peers.contains(&Peer::Floor));
    by_floor
        .chain(by_others)
        .filter(|(peer, base)| peers.contains(peer) && peers.contains(base))
        .map(|(peer, base)| (Column::Peer(peer), Column::Peer(base)))
        .collect()
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
            "| median (lowest–highest) | bare | carillon |\n\
             |---|--:|--:|\n\
             | CPU per connect, ms | **0.100** (0.100–0.100) | – |\n\
             | CPU per delivery across pods, µs | **10.0** (9.00–11.0) | **5.00** (4.00–6.00) |\n\
             \n\
             | ratio of medians | carillon ÷ bare |\n\
             |---|--:|\n\
             | CPU per delivery across pods, µs | 0.50 |\n\
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
            "| median (lowest–highest) | no quotas | all quotas |\n\
             |---|--:|--:|\n\
             | CPU per message, µs | **10.0** | **11.0** |\n\
             \n\
             | ratio of medians | all quotas ÷ no quotas |\n\
             |---|--:|\n\
             | CPU per message, µs | 1.10 |\n\
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
    fn memory_is_not_told_in_multiples_of_a_floor_that_has_none() {
        let mut report = Report::default();
        for (peer, cpu, memory) in [(Peer::Floor, 2.0, 0.1), (Peer::Node, 5.0, 30.0), (Peer::Carillon, 3.0, 15.0)] {
            let readings = [Metric::ConnectCpu.reading(cpu), Metric::MemoryFresh.reading(memory)];
            report.add(1, readings.map(|reading| (Column::Peer(peer), reading)).to_vec());
        }
        let text = report.markdown(&[Peer::Floor, Peer::Node, Peer::Carillon]);
        let ratios = "| ratio of medians | node ÷ floor | carillon ÷ floor | carillon ÷ node |\n\
                      |---|--:|--:|--:|\n\
                      | CPU per connect, ms | 2.50 | 1.50 | 0.60 |\n\
                      | memory per connection, fresh, KiB | – | – | 0.50 |\n";
        assert!(text.ends_with(ratios), "{text}");
    }

    #[test]
    fn deliveries_are_drawn_beside_the_floor() {
        let mut report = Report::default();
        let metric = Metric::DeliveryCpu { bytes: 128, in_flight: 8 };
        for (peer, cost) in [(Peer::Floor, 2.0), (Peer::Node, 9.0), (Peer::Carillon, 3.0)] {
            report.add(1, vec![(Column::Peer(peer), metric.reading(cost))]);
        }
        let svg = report.deliveries(&[Peer::Floor, Peer::Node, Peer::Carillon]).unwrap();
        for text in ["128 bytes, 8 broadcasts in flight", "4.50 × (9.00 µs)", "1.50 × (3.00 µs)"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert_eq!(Report::default().deliveries(&[Peer::Floor]), None);
    }

    #[test]
    fn the_document_has_a_place_for_every_part() {
        let document = include_str!("../../../../docs/performance.md");
        for mark in Section::ALL.iter().flat_map(|section| section.marks()) {
            assert_eq!(document.matches(mark).count(), 1, "{mark}");
        }
    }
}
