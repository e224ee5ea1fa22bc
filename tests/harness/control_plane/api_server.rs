//! etcd and kube-apiserver, on an address of loopback that is theirs alone.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{certificates::Authority, eventually::eventually_async, file, folder::Folder, loopback};

const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
const API_PORT: u16 = 6443;
/// Whoever has it may do everything.
const TOKEN: &str = "tests-only";
/// How long an API server may take to come up, on a busy machine.
const UP: Duration = Duration::from_secs(60);

/// An API server and its etcd. They end with this value.
#[derive(Debug)]
pub struct ApiServer {
    host: Ipv4Addr,
    binaries: PathBuf,
    folder: Folder,
    client: reqwest::Client,
    server: Option<Child>,
    _etcd: Child,
}

impl ApiServer {
    /// Starts both and awaits that they are ready.
    ///
    /// # Panics
    ///
    /// When they can't be started.
    pub async fn start() -> Self {
        let (host, binaries, folder) = (loopback::host(), binaries().await, Folder::new("api-server"));
        let authority = Authority::new();
        let path = folder.path();
        authority.write(&host.to_string(), &[&authority], path);
        fs::write(path.join("tokens.csv"), format!("{TOKEN},tests,tests,system:masters\n")).expect("the test's folder takes files");
        fs::write(path.join("kubeconfig"), kubeconfig(host, authority.pem())).expect("the test's folder takes files");
        let etcd = start_etcd(host, &binaries, path);
        let certificate = reqwest::Certificate::from_pem(authority.pem().as_bytes()).expect("our own certificate");
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).build().expect("TLS can be set up");
        let mut api = Self { host, binaries, folder, client, server: None, _etcd: etcd };
        api.restart().await;
        api
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// When it was killed.
    pub fn id(&self) -> u32 {
        self.server.as_ref().and_then(Child::id).expect("the API server runs")
    }

    /// A request of somebody who may do everything, not sent yet.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("https://{}:{API_PORT}{path}", self.host)).bearer_auth(TOKEN)
    }

    /// How it is found, and by whom: a kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The kubectl that fits it.
    pub fn kubectl(&self) -> PathBuf {
        self.binaries.join("kubectl")
    }

    /// Ends the API server as a crash would: SIGKILL. etcd stays.
    ///
    /// # Panics
    ///
    /// When it can't be ended.
    pub async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await.expect("our own child can be killed");
        }
    }

    /// Starts the API server where it was, and awaits that it is ready.
    ///
    /// # Panics
    ///
    /// When it can't be started.
    pub async fn restart(&mut self) {
        self.kill().await;
        let path = self.folder.path();
        let in_folder = |option: &str, name: &str| format!("--{option}={}", path.join(name).display());
        let mut command = Command::new(self.binaries.join("kube-apiserver"));
        command.args([
            format!("--etcd-servers=http://{}:{ETCD_PORT}", self.host),
            format!("--bind-address={}", self.host),
            format!("--secure-port={API_PORT}"),
            in_folder("tls-cert-file", "tls.crt"),
            in_folder("tls-private-key-file", "tls.key"),
            in_folder("token-auth-file", "tokens.csv"),
            in_folder("service-account-key-file", "tls.crt"),
            in_folder("service-account-signing-key-file", "tls.key"),
        ]);
        command.args([
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            // There is no pod of its own that others would find it by.
            "--advertise-address=10.78.255.1",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
        ]);
        self.server = Some(spawn(command, path, "kube-apiserver"));
        eventually_async(UP, "the API server is ready", async || match self.request(Method::GET, "/readyz").send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            other => Err(format!("{other:?}; {}", end_of(&path.join("kube-apiserver.log")))),
        })
        .await;
    }

    /// Lets etcd forget everything but what is there now, as it does of itself every few minutes: who watches from before that has to
    /// list anew.
    ///
    /// # Panics
    ///
    /// When etcd doesn't.
    pub async fn compact(&self) {
        let status = self.ask_etcd("maintenance/status", &json!({})).await;
        let revision = &status["header"]["revision"];
        self.ask_etcd("kv/compaction", &json!({"revision": revision, "physical": true})).await;
    }

    async fn ask_etcd(&self, what: &str, body: &Value) -> Value {
        let answer = self.client.post(format!("http://{}:{ETCD_PORT}/v3/{what}", self.host)).json(body).send().await;
        let answer = answer.expect("etcd answers");
        assert!(answer.status().is_success(), "{what}: {answer:?}");
        answer.json().await.expect("etcd answers in JSON")
    }
}

/// The folder of Kubernetes' binaries, built when they are not.
async fn binaries() -> PathBuf {
    let output = Command::new(file("cluster/cluster")).arg("build").output().await.expect("it is a program");
    assert!(output.status.success(), "cluster build: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("paths are UTF-8").lines().last().expect("it prints a folder").into()
}

fn start_etcd(host: Ipv4Addr, binaries: &Path, folder: &Path) -> Child {
    let (client, peer) = (format!("http://{host}:{ETCD_PORT}"), format!("http://{host}:{ETCD_PEER_PORT}"));
    let mut command = Command::new(binaries.join("etcd"));
    command.arg(format!("--data-dir={}", folder.join("etcd").display())).args(["--name=tests", "--log-level=warn", "--unsafe-no-fsync"]);
    command.args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")]);
    command.args([
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=tests={peer}"),
    ]);
    spawn(command, folder, "etcd")
}

fn spawn(mut command: Command, folder: &Path, name: &str) -> Child {
    let log = File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).expect("the test's folder takes files");
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(log.try_clone().expect("a file can have two handles")).stderr(log);
    command.spawn().expect("Kubernetes' binaries are built")
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().take(3).collect::<Vec<_>>().join("\n")
}

fn kubeconfig(host: Ipv4Addr, authority: &str) -> String {
    let authority = STANDARD.encode(authority);
    let cluster = json!({"server": format!("https://{host}:{API_PORT}"), "certificate-authority-data": authority});
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": {"token": TOKEN}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
    })
    .to_string()
}
