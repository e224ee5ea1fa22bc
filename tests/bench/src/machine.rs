//! What the benchmark asks of the machine: cores of its own, and enough file descriptors.

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

/// Descriptors that a process needs besides its connections.
const SPARE_DESCRIPTORS: usize = 100;

/// Insists that this process may use these cores.
pub fn require_cores(cores: &[usize]) -> Result<()> {
    let usable = sched_getaffinity(Pid::from_raw(0))?;
    for &core in cores {
        ensure!(usable.is_set(core) == Ok(true), "core {core} can't be used: see --server-core and --generator-core");
    }
    Ok(())
}

/// Keeps the calling thread, and all threads and processes it starts from now on, on one core.
pub fn pin_this_thread(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores).with_context(|| format!("use core {core}"))
}

/// Raises this process's limit, which its children inherit, so far that it and they can hold so many connections.
pub fn allow_connections(connections: usize) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = (connections + SPARE_DESCRIPTORS) as u64;
    ensure!(needed <= hard, "{connections} connections need {needed} file descriptors, but `ulimit -Hn` is {hard}: raise it, or use fewer");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit on file descriptors")
}
