//! What processes have used: the kernel's own CPU clocks, and resident memory.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// The kernel's unit in /proc/stat.
const TICK: Duration = Duration::from_millis(10);

/// CPU used between two moments by processes that have a core to themselves.
pub struct Meter {
    processes: Vec<Pid>,
    core: usize,
    own: Duration,
    whole_core: Duration,
}

/// What a [`Meter`] read.
pub struct Usage {
    /// Used by the measured processes, in user and kernel mode, by all their threads.
    pub own: Duration,
    /// Used on their core by anything else: the machine's noise.
    pub foreign: Duration,
}

impl Meter {
    /// Starts to measure.
    pub fn start(processes: &[Pid], core: usize) -> Result<Self> {
        let processes = processes.to_vec();
        Ok(Self { own: cpu_time(&processes)?, whole_core: busy_time(core)?, core, processes })
    }

    /// Stops measuring.
    pub fn stop(self) -> Result<Usage> {
        let own = cpu_time(&self.processes)? - self.own;
        let whole_core = busy_time(self.core)? - self.whole_core;
        Ok(Usage { own, foreign: whole_core.saturating_sub(own) })
    }
}

/// What processes have used, in user and kernel mode. Nanosecond precision, ended threads included, unlike the ticks of /proc/PID/stat.
pub fn cpu_time(processes: &[Pid]) -> Result<Duration> {
    let each = |&process| anyhow::Ok(Duration::from(clock_gettime(clock_getcpuclockid(process)?)?));
    processes.iter().map(each).sum::<Result<Duration>>().context("a server's CPU clock")
}

/// How long a core was not idle.
fn busy_time(core: usize) -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} "))).context("no such core")?;
    let fields: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    // user nice system idle iowait irq softirq steal; guest time, which follows, is contained in user time.
    let busy = fields.iter().take(8).enumerate().filter(|(field, _)| ![3, 4].contains(field)).map(|(_, ticks)| ticks);
    Ok(TICK * busy.sum::<u32>())
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(process: Pid) -> Result<f64> {
    memory_kib(process, "VmRSS")
}

/// Memory of a process as `field` of /proc/PID/status tells it, in KiB.
pub fn memory_kib(process: Pid, field: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("a server's memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).with_context(|| format!("no {field}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let this = Pid::this();
        let meter = Meter::start(&[this], 0).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let usage = meter.stop().unwrap();
        assert!(usage.own > Duration::from_millis(2), "{:?}", usage.own);
        assert!(resident_kib(this).unwrap() > 500.0);
    }
}
