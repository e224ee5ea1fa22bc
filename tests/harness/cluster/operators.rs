//! Replicas of the operator as processes of the test's own. Unlike those in pods they can be paused, and no kubelet takes offence.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tenant::{
    Position,
    push::{Answer, DELTA_PATH, Delta, PROTOCOL_VERSION, STATE_PATH, State},
};
use hyper::Method;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::{NAMESPACE, Pod, Release};
use crate::{
    certificates,
    eventually::{eventually, within_deadline},
    file,
    folder::Folder,
    http, metrics,
};

/// The very program that the image holds.
const PROGRAM: &str = "../target/x86_64-unknown-linux-musl/image/carillon-operator";
/// Where a server pod takes pushes.
const ADMIN_PORT: u16 = 9443;

/// What a replica in a pod has mounted, in a folder.
#[derive(Debug)]
pub struct Credentials {
    folder: Folder,
    certificate: String,
    key: String,
    authority: String,
}

/// A replica. It ends with this value.
#[derive(Debug)]
pub struct Operator {
    process: Child,
    log: PathBuf,
    health: SocketAddr,
}

impl Credentials {
    /// Those of the release.
    pub async fn of(release: &Release) -> Self {
        let folder = Folder::new("operators");
        let (tls, session) = (release.secret("carillon-operator-tls").await, release.secret("carillon-session-key").await);
        let write = |secret: &Value, name: &str| {
            let content = STANDARD.decode(secret[name].as_str().unwrap_or_default()).expect("Secrets are base64");
            fs::write(folder.path().join(name), &content).expect("the test's folder takes files");
            content
        };
        write(&session, "key");
        let [certificate, key, authority] =
            ["tls.crt", "tls.key", "ca.crt"].map(|name| String::from_utf8(write(&tls, name)).expect("PEM is text"));
        Self { folder, certificate, key, authority }
    }

    /// Starts a replica and awaits that it has all it needs.
    ///
    /// # Panics
    ///
    /// When it ends instead.
    pub async fn start(&self, identity: &str) -> Operator {
        let folder = self.folder.path();
        let log = folder.join(format!("{identity}.log"));
        let output = File::create(&log).expect("the test's folder takes files");
        let mut command = Command::new(file(PROGRAM));
        command.kill_on_drop(true).args([
            "--identity",
            identity,
            "--namespace",
            NAMESPACE,
            "--health-listen",
            "127.0.0.1:0",
            "--status-listen",
            "127.0.0.1:0",
        ]);
        command.arg("--admin-tls-directory").arg(folder).arg("--session-key-file").arg(folder.join("key"));
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can have two handles")).stderr(output);
        let process = command.spawn().expect("the images are built: these tests run under `make e2e-cluster`");
        let health = eventually("the operator has started", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let started = lines.find(|line| line["message"] == "started");
            started.and_then(|line| line["health"].as_str()?.parse().ok()).ok_or(text)
        })
        .await;
        let operator = Operator { process, log, health };
        super::eventually(super::SLOW, "the operator is ready", async || match operator.page("/readyz").await {
            Some((200, _)) => Ok(()),
            other => Err(other),
        })
        .await;
        operator
    }

    /// Tells a pod what a leader of `epoch` would that finds everything as it should be.
    ///
    /// # Panics
    ///
    /// When the pod doesn't take it.
    pub async fn claim(&self, pod: &Pod, epoch: u64) {
        let (client, base) =
            certificates::operator_with(&self.authority, &self.certificate, &self.key, SocketAddr::new(pod.ip, ADMIN_PORT));
        let state = client.get(format!("{base}{STATE_PATH}")).send().await.expect("the pod answers");
        let state: State = state.json().await.expect("it tells its state");
        let position = Position::new(epoch, 1);
        let delta = Delta {
            protocol_version: PROTOCOL_VERSION,
            position,
            base_digest: state.digest,
            upserts: Vec::new(),
            removals: Vec::new(),
            moved: Vec::new(),
        };
        let answer = client.patch(format!("{base}{DELTA_PATH}")).json(&delta).send().await.expect("the pod answers");
        answer.json::<Answer>().await.expect("it takes what a later leader says");
    }
}

impl Operator {
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

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn page(&self, path: &str) -> Option<(u16, String)> {
        let response = http::try_request(self.health, Method::GET, path, &[], "").await?;
        Some((response.status.as_u16(), response.body))
    }

    async fn signal(&self, signal: &str) {
        let id = self.process.id().expect("it was not awaited yet").to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.expect("kill runs").success());
    }
}
