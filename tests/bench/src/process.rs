//! Child processes that never outlive the benchmark.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::machine;

const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(50);
/// How much of what a failed process wrote goes into the error.
const LOG_TAIL_LINES: usize = 8;

/// A child on a core of its own; killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on `core`; what it writes goes to a file in `folder`.
    pub fn start(name: &str, mut command: Command, core: usize, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A child inherits the cores of the thread that starts it, from its first instruction on.
        let spawn = || {
            machine::pin_this_thread(core)?;
            command.spawn().with_context(|| format!("start {name}: {command:?}"))
        };
        let child = std::thread::scope(|scope| scope.spawn(spawn).join()).expect("spawning does not panic")?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Its process id.
    pub fn id(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Waits until `attempt` succeeds; it is an error if the process ends first, or if that takes too long.
    pub async fn ready<T>(&mut self, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            let problem = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(problem)) => format!("{problem:#}"),
                Err(_) => "no answer".to_owned(),
            };
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {START_PATIENCE:?}: {problem}\n{}", self.name, self.log_tail());
            }
            sleep(START_POLL).await;
        }
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that nothing listens on at the moment.
pub fn free_address() -> Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))
}

/// A folder that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("carillon-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
