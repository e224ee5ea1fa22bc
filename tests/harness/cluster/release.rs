//! The chart, installed as a platform team would, and the pods that came of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tenant::{TenantId, boot};
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Api, Redis, SLOW, eventually, inflict, kubectl, run};
use crate::{file, http, metrics};

/// The namespace of the release.
pub const NAMESPACE: &str = "carillon";
/// Its name.
pub const RELEASE: &str = "carillon";
/// What the server pods run.
pub const SERVER_IMAGE: &str = "carillon.local/carillon-server:dev";
/// How many server pods there are.
pub const REPLICAS: usize = 3;
/// How many pods the operator has.
pub const OPERATORS: usize = 2;

/// Where clients come in on a pod.
const HTTP_PORT: u16 = 3000;
/// Where health and metrics are asked on a pod.
const HEALTH_PORT: u16 = 8080;

/// The tests run one after the other and share a release.
static INSTALLED: AtomicBool = AtomicBool::new(false);
static INSTALLING: Mutex<()> = Mutex::const_new(());

/// The installed chart.
#[derive(Debug)]
pub struct Release {
    /// The API server.
    pub api: Api,
    /// What the server pods share.
    pub redis: Redis,
}

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Its address.
    pub ip: IpAddr,
    /// Whether it is ready.
    pub ready: bool,
    /// How often its container was started again.
    pub restarts: u64,
}

impl Release {
    /// The release with all its pods ready. The first test to ask for it installs it.
    ///
    /// # Panics
    ///
    /// When it can't be installed.
    pub async fn ready() -> Self {
        let release = Self::prepared().await;
        let _installing = INSTALLING.lock().await;
        if !INSTALLED.load(Ordering::Relaxed) {
            release.install(&[]).await;
        }
        // What a test that failed half-way has left scaled is not to fail all that follow.
        release.scale("operator", OPERATORS).await;
        release.scale("server", REPLICAS).await;
        release.all_ready().await;
        release
    }

    /// Everything that the chart needs, without the chart.
    pub async fn prepared() -> Self {
        let api = Api::connect().await;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})).await;
        let redis = Redis::start(&api).await;
        Self { api, redis }
    }

    /// Installs or upgrades the chart with what the tests need, and `more` settings, without waiting for pods. What more settings did, the
    /// next test undoes.
    ///
    /// # Panics
    ///
    /// When Helm fails.
    pub async fn install(&self, more: &[&str]) {
        let chart = file("../charts/carillon");
        let chart = chart.to_str().expect("paths of the project are UTF-8");
        let redis = format!("redis.url={}", Redis::url());
        let replicas = format!("server.replicas={REPLICAS}");
        // A quick drain, for the tests wait for it.
        let settings = [
            "image.tag=dev",
            "image.pullPolicy=Never",
            "frontendUrl=https://app.example.com",
            "server.drainSeconds=3",
            "server.resources.requests.cpu=10m",
            "operator.resources.requests.cpu=10m",
            &replicas,
            &redis,
        ];
        let mut arguments = vec!["upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--take-ownership"];
        arguments.extend(settings.iter().chain(more).flat_map(|setting| ["--set", setting]));
        run("helm", &arguments).await.unwrap_or_else(|error| panic!("helm {}: {error}", arguments.join(" ")));
        INSTALLED.store(more.is_empty(), Ordering::Relaxed);
    }

    /// Uninstalls the chart, if it is there, and waits until its pods are gone.
    ///
    /// # Panics
    ///
    /// When Helm fails, or pods stay.
    pub async fn uninstall(&self) {
        INSTALLED.store(false, Ordering::Relaxed);
        let arguments = ["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout", "90s"];
        run("helm", &arguments).await.unwrap_or_else(|error| panic!("helm {}: {error}", arguments.join(" ")));
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        eventually(SLOW, "every pod of the release is gone", async || {
            let pods = self.api.list(&path).await;
            if pods.is_empty() { Ok(()) } else { Err(pods.len()) }
        })
        .await;
    }

    /// Awaits that every pod of the release is ready, and no other is left.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn all_ready(&self) -> Vec<Pod> {
        self.rolled_out("operator", OPERATORS).await;
        self.rolled_out("server", REPLICAS).await;
        self.operators_ready(OPERATORS).await;
        self.servers_ready().await
    }

    /// Right after an upgrade the pods of before are still there, all of them, and ready.
    async fn rolled_out(&self, component: &str, pods: usize) {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/carillon-{component}");
        eventually(SLOW, "what was asked for is rolled out", async || {
            let deployment = self.api.get(&path).await.expect("the chart has it");
            let status = &deployment["status"];
            let seen = status["observedGeneration"] == deployment["metadata"]["generation"];
            let all = ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|count| status[*count] == pods);
            if seen && all { Ok(()) } else { Err(status.clone()) }
        })
        .await;
    }

    /// Awaits that every server pod is ready, and no other is left.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub async fn servers_ready(&self) -> Vec<Pod> {
        eventually(SLOW, "every server pod is ready", async || {
            let pods = self.pods().await;
            if pods.len() == REPLICAS && pods.iter().all(|pod| pod.ready) { Ok(pods) } else { Err(pods) }
        })
        .await
    }

    /// The server pods, but those that are on their way out.
    pub async fn pods(&self) -> Vec<Pod> {
        self.pods_of("server").await
    }

    /// The operator's pod that leads. The first is found at once; after a crash it may take as long as a Lease lasts.
    ///
    /// # Panics
    ///
    /// When none does, or several do.
    pub async fn operator(&self) -> Pod {
        eventually(SLOW, "one pod of the operator leads", async || {
            let (mut leaders, mut others) = (Vec::new(), Vec::new());
            for pod in self.pods_of("operator").await {
                if pod.leads().await { leaders.push(pod) } else { others.push(pod) }
            }
            assert!(leaders.len() <= 1, "{leaders:?}");
            leaders.pop().ok_or(others)
        })
        .await
    }

    /// The operator's pods that don't end.
    pub async fn running(&self) -> Vec<Pod> {
        self.pods_of("operator").await
    }

    /// The operator's pods that stand by.
    pub async fn standing_by(&self) -> Vec<Pod> {
        let mut pods = Vec::new();
        for pod in self.pods_of("operator").await {
            if !pod.leads().await {
                pods.push(pod);
            }
        }
        pods
    }

    /// The server pods of every other fleet than the default one, once they are as many and all of them are ready.
    pub async fn other_fleets_ready(&self, count: usize) -> Vec<Pod> {
        eventually(SLOW, "the other fleets' pods are as many as asked for, and ready", async || {
            let pods = self.pods_of("fleet-server").await;
            if pods.len() == count && pods.iter().all(|pod| pod.ready) { Ok(pods) } else { Err(pods) }
        })
        .await
    }

    async fn pods_of(&self, component: &str) -> Vec<Pod> {
        let pods = self.list_of(component).await;
        pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).filter_map(Pod::read).collect()
    }

    async fn list_of(&self, component: &str) -> Vec<Value> {
        let selector = format!("app.kubernetes.io%2Finstance%3D{RELEASE},app.kubernetes.io%2Fcomponent%3D{component}");
        self.api.list(&format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector={selector}")).await
    }

    /// Where clients come in: the Service's address, which gives each connection to some ready pod.
    ///
    /// # Panics
    ///
    /// When there is no Service.
    pub async fn service(&self) -> SocketAddr {
        let service =
            self.api.get(&format!("/api/v1/namespaces/{NAMESPACE}/services/carillon-server")).await.expect("the chart has a Service");
        let ip = service["spec"]["clusterIP"].as_str().and_then(|ip| ip.parse().ok()).expect("a Service has a ClusterIP");
        SocketAddr::new(ip, 80)
    }

    /// Runs `pods` pods of the operator. A story that changes that leaves [`OPERATORS`] again.
    ///
    /// # Panics
    ///
    /// When the old ones don't end.
    pub async fn scale_operator(&self, pods: usize) {
        self.scale("operator", pods).await;
        self.operators_ready(pods).await;
        // Those that are ending are not counted there, but they may still act.
        eventually(SLOW, "the others have ended", async || {
            let left = self.list_of("operator").await.len();
            if left == pods { Ok(()) } else { Err(left) }
        })
        .await;
    }

    async fn operators_ready(&self, pods: usize) {
        eventually(SLOW, "the operator's pods are as many as asked for, and ready", async || {
            let found = self.pods_of("operator").await;
            if found.len() == pods && found.iter().all(|pod| pod.ready) { Ok(()) } else { Err(found) }
        })
        .await;
    }

    /// The Lease of the operator that leads.
    ///
    /// # Panics
    ///
    /// When none has led yet.
    pub async fn lease(&self) -> Value {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/carillon-operator");
        self.api.get(&path).await.expect("there is a Lease once one has led")["spec"].take()
    }

    /// Runs `pods` server pods. A story that changes that leaves [`REPLICAS`] again.
    pub async fn scale_servers(&self, pods: usize) {
        self.scale("server", pods).await;
    }

    async fn scale(&self, component: &str, pods: usize) {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/carillon-{component}/scale");
        self.api.patch(&path, &json!({"spec": {"replicas": pods}})).await;
    }

    /// Whether a tenant is in the Secrets that server pods start with while the operator is away.
    ///
    /// # Panics
    ///
    /// When a Secret holds something else.
    pub async fn written_down(&self, tenant: &str) -> bool {
        let id = TenantId::new(tenant).expect("it is a good id");
        let secret = self.secret(&format!("carillon-boot-{}", boot::shard_of(&id))).await;
        let Some(packed) = secret[boot::SHARD_KEY].as_str() else { return false };
        let packed = STANDARD.decode(packed).expect("Secrets are base64");
        boot::Shard::unpack(&packed).expect("the operator packed it").tenants.iter().any(|message| message.tenant_id == id)
    }

    /// Starts a rolling restart of the server pods.
    pub async fn restart_servers(&self) {
        kubectl(&["--namespace", NAMESPACE, "rollout", "restart", "deployment/carillon-server"]).await;
    }

    /// A Secret of the release.
    ///
    /// # Panics
    ///
    /// When it isn't there.
    pub async fn secret(&self, name: &str) -> Value {
        self.api.get(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}")).await.expect("the chart made the Secret")["data"].take()
    }
}

impl Pod {
    /// `None` while it has no address.
    fn read(pod: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = &pod["status"];
        let conditions = status["conditions"].as_array()?;
        Some(Self {
            name: text(&pod["metadata"]["name"]),
            uid: text(&pod["metadata"]["uid"]),
            node: text(&pod["spec"]["nodeName"]),
            ip: status["podIP"].as_str()?.parse().ok()?,
            ready: conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
            restarts: status["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default(),
        })
    }

    /// Where clients come in.
    pub const fn http(&self) -> SocketAddr {
        SocketAddr::new(self.ip, HTTP_PORT)
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.http())
    }

    /// Kills its container's process, as a crash would.
    pub async fn crash(&self) {
        inflict(&["crash", &format!("{NAMESPACE}/{}", self.name)]).await;
    }

    /// The status and the body of a page of the health port; `None` when nobody answers.
    pub async fn health(&self, path: &str) -> Option<(u16, String)> {
        let response = http::try_request(SocketAddr::new(self.ip, HEALTH_PORT), Method::GET, path, &[], "").await?;
        Some((response.status.as_u16(), response.body))
    }

    /// Whether it is an operator that leads, as it says itself; false while it doesn't answer.
    pub async fn leads(&self) -> bool {
        let page = self.health("/metrics").await;
        page.is_some_and(|(_, text)| metrics::sum(&text, "carillon_operator_leader") == 1.0)
    }

    /// The sum over all samples of a metric whose line starts with `begin`, as in `carillon_connections{tenant="acme"`.
    ///
    /// # Panics
    ///
    /// When the pod has no metrics.
    pub async fn metric(&self, begin: &str) -> f64 {
        let (status, text) = self.health("/metrics").await.unwrap_or_else(|| panic!("{} answers", self.name));
        assert_eq!(status, 200);
        let samples = text
            .lines()
            .filter(|line| line.strip_prefix(begin).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}
