//! From figures to a table and to JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Options;

macro_rules! rows {
    ($($row:ident: $key:literal, $name:literal, $goal:literal;)*) => {
        /// What is measured. The order is that of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Row {
            $(#[doc = $name] $row,)*
        }

        impl Row {
            const ALL: &[Self] = &[$(Self::$row,)*];

            /// What it is called in JSON, what it is called in the table, and its goal.
            const fn words(self) -> (&'static str, &'static str, &'static str) {
                match self {
                    $(Self::$row => ($key, $name, $goal),)*
                }
            }
        }
    };
}

rows! {
    AcknowledgedMedian: "change_acknowledged_p50_ms", "a tenant's change, one by one: from `apply` to the last pod's acknowledgement, p50, ms", "";
    AcknowledgedP99: "change_acknowledged_p99_ms", "… p99, ms", "< 1,000";
    ToldMedian: "change_told_p50_ms", "… to the status that says so, p50, ms", "";
    ToldP99: "change_told_p99_ms", "… p99, ms", "";
    SteadyMedian: "steady_acknowledged_p50_ms", "changes at a steady rate: from when each was due to the last pod's acknowledgement, p50, ms", "";
    SteadyP99: "steady_acknowledged_p99_ms", "… p99, ms", "< 1,000";
    SteadyToldMedian: "steady_told_p50_ms", "… to the status that says so, p50, ms", "";
    SteadyToldP99: "steady_told_p99_ms", "… p99, ms", "";
    SecretMedian: "secret_acknowledged_p50_ms", "a Secret's change, one by one: from `apply` to the last pod's acknowledgement, p50, ms", "";
    SecretP99: "secret_acknowledged_p99_ms", "… p99, ms", "< 1,000";
    SecretToldMedian: "secret_told_p50_ms", "… to the status that says so, p50, ms", "";
    SecretToldP99: "secret_told_p99_ms", "… p99, ms", "";
    OperatorCpu: "operator_cpu_per_change_ms", "operator's CPU per change, ms", "";
    ServerCpu: "server_cpu_per_change_ms", "CPU per change of each server, ms", "";
    Pushes: "pushes_per_change_and_pod", "pushes per change and pod", "1";
    StatusWrites: "status_writes_per_change", "API server writes per change, one by one: status", "1";
    EventWrites: "event_writes_per_change", "… Events", "";
    BootWrites: "boot_writes_per_change", "… Secrets for servers that start alone", "";
    SteadyWrites: "steady_writes_per_change", "API server writes per change at a steady rate, all of these", "≤ 2";
    OperatorIdle: "operator_idle_percent", "operator's CPU while nothing happens, % of a core", "near 0";
    ServerIdle: "server_idle_percent", "the same of each server", "";
    EmptyReady: "cold_ready_seconds", "operator starts, pods know nothing: until it is ready, s", "";
    EmptyAcknowledged: "cold_acknowledged_seconds", "… until every pod has acknowledged everything, s", "";
    WarmReady: "restart_ready_seconds", "operator starts, pods run everything: until it is ready, s", "";
    WarmAcknowledged: "restart_acknowledged_seconds", "… until every pod has acknowledged everything, s", "";
    Creation: "creation_seconds", "all tenants and their Secrets made, until the last is told to be in force, s", "";
    CreationWrites: "writes_per_creation", "API server writes of the operator per tenant made", "";
    MemoryStarted: "operator_started_mib", "operator's memory after its start, MiB", "< 150";
    MemoryChanged: "operator_changed_mib", "… after all changes, MiB", "< 150";
    MemoryPeak: "operator_peak_mib", "… at most since that start, MiB", "< 150";
    CreationPeak: "operator_creation_peak_mib", "… at most while all tenants were made, MiB", "";
    ServerMemory: "server_mib", "memory of a server, MiB", "";
}

/// The figures of one size.
#[derive(Default)]
pub struct Figures {
    values: Vec<(Row, f64)>,
    settings: Value,
}

impl Figures {
    /// Adds one, and tells it.
    pub fn add(&mut self, row: Row, value: f64) {
        eprintln!("  {} {}", row.words().0, digits(value));
        self.values.push((row, value));
    }

    /// Adds how much was measured.
    pub fn describe(&mut self, options: &Options) {
        let Options { servers, changes, rate, seconds, idle_seconds, .. } = options;
        self.settings = json!({"servers": servers, "changes": changes, "rate": rate, "seconds": seconds, "idleSeconds": idle_seconds});
    }

    fn value(&self, row: Row) -> Option<f64> {
        self.values.iter().find(|(other, _)| *other == row).map(|(_, value)| *value)
    }
}

/// The figures of all sizes.
#[derive(Default)]
pub struct Table(Vec<(usize, Figures)>);

impl Table {
    /// Adds a column.
    pub fn add(&mut self, tenants: usize, figures: Figures) {
        self.0.push((tenants, figures));
    }

    /// The table for people, and how much was measured.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| |");
        let mut ruler = String::from("\n|---|");
        for (tenants, _) in &self.0 {
            // Writing into a string does not fail.
            let _ = write!(text, " {} tenants |", thousands(*tenants));
            ruler.push_str("--:|");
        }
        text.push_str(" goal |");
        text.push_str(&ruler);
        text.push_str("--:|\n");
        for row in Row::ALL {
            let (_, name, goal) = row.words();
            let cells: Vec<_> = self.0.iter().map(|(_, figures)| figures.value(*row).map(digits).unwrap_or_default()).collect();
            let _ = writeln!(text, "| {name} | {} | {goal} |", cells.join(" | "));
        }
        if let Some((_, Figures { settings, .. })) = self.0.first() {
            let of = |name: &str| settings[name].as_u64().unwrap_or_default();
            let cores = std::thread::available_parallelism().map_or(0, usize::from);
            let _ = write!(
                text,
                "\n{} `carillon-server` processes, no light pods, {} changes one by one, half as many Secrets, {} a second for {} s, idle for {} s; \
                 all processes, etcd and the API server among them, on {cores} cores.\n",
                of("servers"),
                of("changes"),
                of("rate"),
                of("seconds"),
                of("idleSeconds"),
            );
        }
        text
    }

    /// All figures.
    pub fn json(&self) -> Value {
        let size = |(tenants, figures): &(usize, Figures)| {
            let values = figures.values.iter().map(|(row, value)| (row.words().0.to_owned(), json!(value)));
            json!({"tenants": tenants, "settings": figures.settings, "figures": values.collect::<serde_json::Map<_, _>>()})
        };
        self.0.iter().map(size).collect()
    }
}

/// Three digits, as far as there are three.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0..0.995 => format!("{value:.2}"),
        0.995..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn thousands(count: usize) -> String {
    if count < 1000 { count.to_string() } else { format!("{},{:03}", count / 1000, count % 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_per_size_and_a_row_per_figure() {
        let (mut small, mut large) = (Figures::default(), Figures::default());
        small.add(Row::AcknowledgedP99, 123.4);
        large.add(Row::AcknowledgedP99, 9.87);
        let mut table = Table::default();
        table.add(200, small);
        table.add(10_000, large);
        let text = table.markdown();
        assert!(text.starts_with("| | 200 tenants | 10,000 tenants | goal |\n|---|--:|--:|--:|\n"), "{text}");
        assert!(text.contains("\n| … p99, ms | 123 | 9.9 | < 1,000 |\n"), "{text}");
        assert_eq!(table.json()[1]["figures"]["change_acknowledged_p99_ms"], 9.87);
    }
}
