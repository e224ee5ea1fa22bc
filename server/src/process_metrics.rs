//! What the operating system knows of this process, read from `/proc/self` at each scrape.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Ticks per second in `/proc/<pid>/stat`. The kernel's interface has it fixed at 100 on every architecture, whatever it uses inside.
const TICKS_PER_SECOND: f64 = 100.0;

/// The usual process metrics, under their usual names. One that can't be read is left out.
#[derive(Debug)]
pub struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stat = Stat::read();
        if let Some(stat) = &stat {
            let counter = ConstCounter::new(stat.cpu_seconds);
            let help = "Total user and system CPU time spent in seconds";
            counter.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?)?;
        }
        let start_time = stat.and_then(|stat| Some(boot_time_seconds()? + stat.started_after_boot_seconds));
        let gauges = [
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds", start_time),
            ("process_resident_memory_bytes", "Resident memory size in bytes", resident_memory_bytes()),
            ("process_open_fds", "Number of open file descriptors", open_fds()),
            ("process_max_fds", "Maximum number of open file descriptors", max_fds()),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// Two fields of `/proc/self/stat` (proc(5)).
struct Stat {
    cpu_seconds: f64,
    started_after_boot_seconds: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything: what follows it is counted from its end.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self { cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND, started_after_boot_seconds: ticks(22)? / TICKS_PER_SECOND })
    }
}

fn boot_time_seconds() -> Option<f64> {
    line_value("/proc/stat", "btime ")
}

fn resident_memory_bytes() -> Option<f64> {
    line_value("/proc/self/status", "VmRSS:").map(|kilobytes| kilobytes * 1024.0)
}

fn open_fds() -> Option<f64> {
    // One of them is the directory that is being read.
    let count = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}

fn max_fds() -> Option<f64> {
    line_value("/proc/self/limits", "Max open files")
}

/// The first number after `name` on the line that begins with it.
fn line_value(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn reads_a_stat_line_whatever_the_program_is_called() {
        let line = "7 (a ) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 12345 1 2 3";
        let stat = Stat::parse(line).unwrap();
        assert!((stat.cpu_seconds - 2.0).abs() < 1e-9);
        assert!((stat.started_after_boot_seconds - 123.45).abs() < 1e-9);
    }

    #[test]
    fn knows_this_process() {
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let started = boot_time_seconds().unwrap() + Stat::read().unwrap().started_after_boot_seconds;
        assert!(started <= now + 2.0 && started > now - 86_400.0, "{started} {now}");
        assert!(resident_memory_bytes().unwrap() > 1e5);
        assert!(open_fds().unwrap() >= 3.0 && open_fds() <= max_fds());
    }
}
