//! Samples of a process, taken by `perf`, and what `inferno` draws from them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use tokio::process::Child;

/// A prime number, so that nothing that happens in a round number of milliseconds is seen always or never.
const SAMPLES_PER_SECOND: u32 = 499;

/// Where the samples are.
pub struct Recording {
    file: PathBuf,
}

/// It is under way.
pub struct UnderWay {
    perf: Child,
    file: PathBuf,
}

impl Recording {
    /// Starts to sample a process, for so long.
    pub fn start(process: Pid, duration: Duration, file: PathBuf) -> Result<UnderWay> {
        let mut perf = tokio::process::Command::new("perf");
        perf.args(["record", "--quiet", "--event", "cpu-clock", "--freq", &SAMPLES_PER_SECOND.to_string()])
            // Release builds keep no frame pointers; what is needed to walk a stack without them, they have.
            .args(["--call-graph", "dwarf,16384"])
            .args(["--pid", &process.to_string()])
            .arg("--output")
            .arg(&file)
            .args(["--", "sleep", &duration.as_secs().to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(UnderWay { perf: perf.spawn().context("start perf: Debian has it as linux-perf")?, file })
    }

    /// A flame graph of what takes at least so many percent of the time.
    pub fn picture(&self, title: &str, narrowest_percent: f64) -> Result<Vec<u8>> {
        // Calls that were inlined would be looked up one by one, by another program, for minutes.
        let mut script = Command::new("perf");
        script.args(["script", "--no-inline", "--input"]).arg(&self.file).stderr(Stdio::null());
        let mut script = script.stdout(Stdio::piped()).spawn().context("perf script")?;
        let mut fold = Command::new("inferno-collapse-perf");
        let fold = fold.stdin(script.stdout.take().context("no output")?).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut fold = fold.spawn().context("inferno-collapse-perf: `cargo install inferno` brings it")?;
        let mut draw = Command::new("inferno-flamegraph");
        draw.args(["--title", title, "--colors", "rust", "--minwidth", &narrowest_percent.to_string()]);
        let drawn = draw.stdin(fold.stdout.take().context("no output")?).output().context("inferno-flamegraph")?;
        ensure!(script.wait()?.success() && fold.wait()?.success(), "the samples could not be read");
        ensure!(drawn.status.success(), "inferno-flamegraph: {}", String::from_utf8_lossy(&drawn.stderr));
        Ok(drawn.stdout)
    }
}

impl UnderWay {
    /// Waits until its time is over.
    pub async fn finished(mut self) -> Result<Recording> {
        let status = self.perf.wait().await?;
        ensure!(status.success(), "perf record ended with {status}: see /proc/sys/kernel/perf_event_paranoid");
        Ok(Recording { file: self.file })
    }
}
