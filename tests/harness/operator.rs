//! A replica of the operator as a process of the test's own. Unlike one in a pod it can be paused, and no kubelet takes offence.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use hyper::Method;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{
    eventually::{eventually, eventually_async, within_deadline},
    http, metrics,
};

/// How long it may take to list everything and to be ready, on a busy machine.
const READY: Duration = Duration::from_secs(90);
/// Lines of its log that are shown when a test has failed.
const LINES_SHOWN: usize = 60;

/// A replica. It ends with this value.
#[derive(Debug)]
pub struct Operator {
    process: Child,
    log: PathBuf,
    health: SocketAddr,
    status: SocketAddr,
}

/// What a replica is told that is its own. The rest is told by the `command` it is started with.
#[derive(Clone, Copy, Debug)]
pub struct Replica<'a> {
    /// Who it is among those that want the Lease.
    pub identity: &'a str,
    /// The namespace of the server pods.
    pub namespace: &'a str,
    /// The folder with its certificates and the session key. It logs there, too.
    pub folder: &'a Path,
}

impl Operator {
    /// Starts a replica and awaits that it has all it needs.
    ///
    /// # Panics
    ///
    /// When it ends instead.
    pub async fn start(mut command: Command, replica: Replica<'_>) -> Self {
        let Replica { identity, namespace, folder } = replica;
        let log = folder.join(format!("{identity}.log"));
        let output = File::create(&log).expect("the test's folder takes files");
        command.kill_on_drop(true).args(["--identity", identity, "--namespace", namespace]);
        command.args(["--health-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0"]);
        command.arg("--admin-tls-directory").arg(folder).arg("--session-key-file").arg(folder.join("key"));
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can have two handles")).stderr(output);
        let process = command.spawn().expect("the operator is built");
        let [health, status] = eventually("the operator has started", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let started = lines.find(|line| line["message"] == "started");
            let address = |name: &str| started.as_ref()?[name].as_str()?.parse().ok();
            address("health").zip(address("status")).map(<[SocketAddr; 2]>::from).ok_or(text)
        })
        .await;
        let operator = Self { process, log, health, status };
        eventually_async(READY, "the operator is ready", async || match operator.page("/readyz").await {
            Some((200, _)) => Ok(()),
            other => Err(other),
        })
        .await;
        operator
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn id(&self) -> u32 {
        self.process.id().expect("it was not awaited yet")
    }

    /// Where it tells `carillon status` what it knows: what a port-forward leads to in a cluster.
    pub const fn status_address(&self) -> SocketAddr {
        self.status
    }

    /// Pauses it: SIGSTOP.
    pub async fn pause(&self) {
        self.signal("-STOP").await;
    }

    /// Lets it go on: SIGCONT.
    pub async fn resume(&self) {
        self.signal("-CONT").await;
    }

    /// Asks it to end, as Kubernetes does, and awaits that: SIGTERM.
    ///
    /// # Panics
    ///
    /// When it doesn't.
    pub async fn terminate(mut self) {
        self.signal("-TERM").await;
        let status = within_deadline("the operator ends", self.process.wait()).await.expect("our own child can be awaited");
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Whether it leads, as it says itself; false while it doesn't answer.
    pub async fn leads(&self) -> bool {
        self.metric("carillon_operator_leader").await == Some(1.0)
    }

    /// The value of a sample of its metrics, as [`metrics::sum`] reads it; `None` while it doesn't answer.
    pub async fn metric(&self, sample: &str) -> Option<f64> {
        self.page("/metrics").await.map(|(_, text)| metrics::sum(&text, sample))
    }

    /// The file it writes to.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn page(&self, path: &str) -> Option<(u16, String)> {
        let response = http::try_request(self.health, Method::GET, path, &[], "").await?;
        Some((response.status.as_u16(), response.body))
    }

    async fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.expect("kill runs").success());
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("--- the end of {} ---\n{}", self.log.display(), lines[last..].join("\n"));
        }
    }
}
