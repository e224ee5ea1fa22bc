//! One `carillon-server` process.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

use carillon_tenant::{
    TenantMessage,
    push::{
        Answer, CertificatesInForce, DELTA_PATH, Delta, Elsewhere, FleetSettings, PROTOCOL_VERSION, SNAPSHOT_PATH, STATE_PATH, Snapshot,
        State, USAGE_PATH, UsageReport,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{
    certificates::Authority,
    eventually::{eventually, within_deadline},
};

/// Lines of a log that are shown when a test has failed.
const LINES_SHOWN: usize = 40;

/// A server that runs, is paused, or is away.
#[derive(Debug)]
pub(super) struct Server {
    number: usize,
    program: PathBuf,
    process: Option<Child>,
    paused: bool,
    addresses: Option<Addresses>,
    operator: Option<(reqwest::Client, String)>,
    /// What each of its processes has written.
    logs: Vec<PathBuf>,
}

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) server: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) health: SocketAddr,
}

impl Server {
    pub(super) fn new(number: usize, program: PathBuf) -> Self {
        Self { number, program, process: None, paused: false, addresses: None, operator: None, logs: Vec::new() }
    }

    /// Starts a process and awaits that it listens.
    pub(super) async fn start(&mut self, folder: &Path, host: Ipv4Addr, authority: &Authority, redis_url: &str) {
        self.kill().await;
        let anywhere = SocketAddr::from((host, 0));
        let addresses = self.addresses.unwrap_or(Addresses { server: anywhere, admin: anywhere, health: anywhere });
        let log = folder.join(format!("server-{}-{}.log", self.number, self.logs.len()));
        let output = File::create(&log).expect("the test's folder takes files");
        let mut command = Command::new(&self.program);
        command.env_clear().kill_on_drop(true).arg("--admin-tls-directory").arg(folder).args(["--redis-url", redis_url]);
        command.arg("--boot-config-directory").arg(folder.join("boot"));
        for (option, address) in
            [("--listen", addresses.server), ("--admin-listen", addresses.admin), ("--health-listen", addresses.health)]
        {
            command.args([option, &address.to_string()]);
        }
        command.args(["--drain-seconds=1", "--log-filter=warn,carillon_server::run=info"]);
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can have two handles")).stderr(output);
        self.process = Some(command.spawn().expect("the binary runs"));
        self.logs.push(log);
        let addresses = eventually("the server listens", || self.listening().ok_or_else(|| self.log())).await;
        self.addresses = Some(addresses);
        self.operator = Some(authority.operator_of(addresses.admin));
    }

    /// What the log says about where it listens.
    fn listening(&self) -> Option<Addresses> {
        let log = self.log();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of = |port: &str| {
            let message = format!("{port} listening");
            lines.iter().find(|line| line["message"] == message.as_str())?["address"].as_str()?.parse().ok()
        };
        Some(Addresses { server: of("server")?, admin: of("admin")?, health: of("health")? })
    }

    fn log(&self) -> String {
        self.logs.last().and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default()
    }

    pub(super) fn id(&self) -> u32 {
        self.process.as_ref().and_then(Child::id).expect("the server runs")
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// True when it can answer.
    pub(super) fn runs(&self) -> bool {
        self.process.is_some() && !self.paused
    }

    pub(super) fn addresses(&self) -> Addresses {
        self.addresses.expect("the server was started")
    }

    pub(super) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("our own child can be killed");
            self.paused = false;
        }
    }

    pub(super) async fn terminate(&mut self) {
        self.signal("-TERM").await;
        let mut process = self.process.take().expect("the server runs");
        let status = within_deadline("the server has drained", process.wait()).await.expect("our own child can be awaited");
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub(super) async fn stop(&mut self) {
        self.signal("-STOP").await;
        self.paused = true;
    }

    pub(super) async fn cont(&mut self) {
        self.signal("-CONT").await;
        self.paused = false;
    }

    async fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.expect("kill runs").success());
    }

    /// Programs it with exactly `tenants`, as the operator does: all at once when it knows nothing, and the difference after that.
    pub(super) async fn push(&self, tenants: &[TenantMessage]) {
        let state: State = self.ask(reqwest::Method::GET, STATE_PATH, &()).await;
        let answer: Answer = if state.programmed {
            let gone = |id: &&carillon_tenant::TenantId| !tenants.iter().any(|tenant| tenant.tenant_id == **id);
            let removals = state.applied.iter().map(|applied| &applied.tenant_id).filter(gone).cloned().collect();
            let (protocol_version, base_digest) = (PROTOCOL_VERSION, state.digest);
            let delta = Delta {
                protocol_version,
                position: state.position,
                base_digest,
                upserts: tenants.to_vec(),
                removals,
                moved: Vec::new(),
                elsewhere: Elsewhere::new(),
            };
            self.ask(reqwest::Method::PATCH, DELTA_PATH, &delta).await
        } else {
            let fleet = FleetSettings { session_key: vec![7; 32].into() };
            let snapshot = Snapshot {
                protocol_version: PROTOCOL_VERSION,
                position: state.position,
                fleet,
                tenants: tenants.to_vec(),
                keep: Vec::new(),
                elsewhere: Elsewhere::new(),
            };
            self.ask(reqwest::Method::PUT, SNAPSHOT_PATH, &snapshot).await
        };
        assert!(answer.rejected.is_empty(), "{answer:?}");
    }

    pub(super) fn certify_operator(&mut self, authority: &Authority, believed: &[&Authority]) {
        self.operator = Some(authority.operator_that_believes(believed, self.addresses().admin));
    }

    pub(super) async fn certificates(&self) -> CertificatesInForce {
        self.state().await.certificates.expect("a server with an admin port tells its certificates")
    }

    pub(super) async fn state(&self) -> State {
        self.ask(reqwest::Method::GET, STATE_PATH, &()).await
    }

    pub(super) async fn usage(&self) -> UsageReport {
        self.ask(reqwest::Method::GET, USAGE_PATH, &()).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: reqwest::Method, path: &str, body: &impl Serialize) -> T {
        let (client, base) = self.operator.as_ref().expect("the server was started");
        let request = client.request(method, format!("{base}{path}")).json(body).build().expect("a request can be made");
        let again = request.try_clone().expect("its body is no stream");
        let answer = match client.execute(request).await {
            Ok(answer) => answer,
            // A server closes what is idle when it takes up certificates. The operator says everything twice, too.
            Err(_) => client.execute(again).await.expect("the admin port answers"),
        };
        let (status, text) = (answer.status(), answer.text().await.expect("the admin port answers in whole"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error} in {text}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let failed = thread::panicking();
        for path in &self.logs {
            let log = fs::read_to_string(path).unwrap_or_default();
            if failed {
                let lines: Vec<_> = log.lines().collect();
                let last = lines.len().saturating_sub(LINES_SHOWN);
                eprintln!("--- the end of {} ---\n{}", path.display(), lines[last..].join("\n"));
            } else {
                assert!(!log.contains("panicked at"), "the code under test panicked: {log}");
            }
        }
    }
}
