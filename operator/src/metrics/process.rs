//! The process metrics every Prometheus client has.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Linux counts a process's time in hundredths of a second towards user space, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// The process metrics every Prometheus client has, from `/proc`.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        if let Some((cpu, started)) = cpu_and_start_seconds() {
            let metric = ConstCounter::new(cpu);
            metric.encode(encoder.encode_descriptor("process_cpu_seconds", "User and system time spent", None, MetricType::Counter)?)?;
            let metric = ConstGauge::new(started);
            let help = "When the process started, in Unix time";
            metric.encode(encoder.encode_descriptor("process_start_time_seconds", help, None, MetricType::Gauge)?)?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", memory_bytes("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory", memory_bytes("VmSize:")),
            ("process_open_fds", "Open file descriptors", open_files()),
            ("process_max_fds", "File descriptors there may be", open_files_max()),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
            }
        }
        Ok(())
    }
}

/// See proc_pid_stat(5): the fields after the command in parentheses, of which utime is the 12th and starttime the 20th.
fn cpu_and_start_seconds() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND, booted + ticks(19)? / TICKS_PER_SECOND))
}

fn memory_bytes(field: &str) -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(field))?;
    kilobytes.trim().strip_suffix("kB")?.trim().parse::<i64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn open_files() -> Option<i64> {
    i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

/// The soft limit; none when there is none.
fn open_files_max() -> Option<i64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}
