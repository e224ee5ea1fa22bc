//! The pusher against a server that speaks the push protocol over real mutual TLS.

mod removals;
mod report;
mod terms;
mod versions;

use std::{
    collections::BTreeMap,
    io::Read,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use carillon_tenant::{
    ConfigVersion, Epoch, Position, RejectionCode, TenantId, TenantMessage,
    push::{
        Answer, Applied, Conflict, ConflictCode, DELTA_PATH, Delta, Rejected, SNAPSHOT_PATH, STATE_PATH, Snapshot, State, TenantUsage,
        USAGE_PATH, UsageReport, digest,
    },
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Bytes, header::CONTENT_ENCODING, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    acks::Standing,
    fixtures::{POSITION, desired, fleet, id, message, tenant_usage},
    usage::Heard,
};

const SERVER_NAME: &str = "carillon-server";

/// What the server runs, and what it was asked.
struct Model {
    boots: u32,
    fleet_digest: Option<String>,
    position: Position,
    applied: BTreeMap<TenantId, ConfigVersion>,
    refuses: Option<TenantId>,
    requests: Vec<String>,
    /// The next answers, instead of its own.
    failures: Vec<StatusCode>,
    gzipped: u32,
    /// Connections of the tenant `a`; `None`: an older version that doesn't know what tenants use.
    connections: Option<u64>,
    /// Told once.
    unknown_kids: Vec<String>,
    usage_asks: u32,
    speaks: Versions,
    /// As servers did before they told all versions they speak.
    names_one_version: bool,
    heard: Vec<u32>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            boots: 0,
            fleet_digest: None,
            position: Position::default(),
            applied: BTreeMap::new(),
            refuses: None,
            requests: Vec::new(),
            failures: Vec::new(),
            gzipped: 0,
            connections: None,
            unknown_kids: Vec::new(),
            usage_asks: 0,
            speaks: Versions::SPOKEN,
            names_one_version: false,
            heard: Vec::new(),
        }
    }
}

impl Model {
    fn digest(&self) -> String {
        digest(&self.applied)
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn state(&self) -> State {
        let applied =
            |(tenant, version): (&TenantId, &ConfigVersion)| Applied { tenant_id: tenant.clone(), config_version: version.clone() };
        State {
            protocol_version: self.speaks.minimum,
            protocol_versions: Some(self.speaks).filter(|_| !self.names_one_version),
            boot_id: self.boot_id(),
            programmed: self.fleet_digest.is_some(),
            position: self.position,
            fleet_digest: self.fleet_digest.clone(),
            digest: self.digest(),
            applied: self.applied.iter().map(applied).collect(),
            certificates: None,
        }
    }

    fn take(&mut self, messages: Vec<TenantMessage>) -> Answer {
        let (mut applied, mut rejected) = (Vec::new(), Vec::new());
        for TenantMessage { tenant_id, config_version, .. } in messages {
            if self.refuses.as_ref() == Some(&tenant_id) {
                let (field, message) = ("spec.x".to_owned(), "no".to_owned());
                rejected.push(Rejected { tenant_id, config_version, code: RejectionCode::Invalid, field, message });
            } else {
                self.applied.insert(tenant_id.clone(), config_version.clone());
                applied.push(Applied { tenant_id, config_version });
            }
        }
        Answer { boot_id: self.boot_id(), digest: self.digest(), applied, rejected }
    }

    fn refuse_stale(&mut self, position: Position) -> Option<(StatusCode, Vec<u8>)> {
        if position < self.position {
            let same_leader = position.epoch == self.position.epoch;
            return Some(self.conflict(if same_leader { ConflictCode::StaleSeq } else { ConflictCode::StaleEpoch }));
        }
        self.position = position;
        None
    }

    fn conflict(&self, code: ConflictCode) -> (StatusCode, Vec<u8>) {
        (StatusCode::CONFLICT, serde_json::to_vec(&Conflict { code, state: self.state() }).unwrap())
    }

    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (StatusCode, Vec<u8>) {
        if path == USAGE_PATH {
            // Comes at any time, so it is no part of the story that `requests` tells.
            self.usage_asks += 1;
            let Some(connections) = self.connections else { return (StatusCode::NOT_FOUND, Vec::new()) };
            let usage = TenantUsage { unknown_kids: std::mem::take(&mut self.unknown_kids), ..tenant_usage("a", connections) };
            let report = UsageReport { boot_id: self.boot_id(), tenants: vec![usage] };
            return (StatusCode::OK, serde_json::to_vec(&report).unwrap());
        }
        self.requests.push(format!("{method} {path}"));
        if let Some(failure) = self.failures.pop() {
            return (failure, Vec::new());
        }
        let json = match (method, path) {
            ("GET", STATE_PATH) => serde_json::to_vec(&self.state()),
            ("PUT", SNAPSHOT_PATH) => {
                let snapshot: Snapshot = serde_json::from_slice(body).unwrap();
                if let Some(refused) = self.refuse_stale(snapshot.position) {
                    return refused;
                }
                self.heard.push(snapshot.protocol_version);
                self.fleet_digest = Some(snapshot.fleet.digest());
                let wanted: Vec<_> = snapshot.tenants.iter().map(|message| &message.tenant_id).chain(&snapshot.keep).cloned().collect();
                self.applied.retain(|tenant, _| wanted.contains(tenant));
                serde_json::to_vec(&self.take(snapshot.tenants))
            }
            ("PATCH", DELTA_PATH) => {
                let delta: Delta = serde_json::from_slice(body).unwrap();
                if let Some(refused) = self.refuse_stale(delta.position) {
                    return refused;
                }
                if delta.base_digest != self.digest() {
                    return self.conflict(ConflictCode::BaseDigest);
                }
                self.heard.push(delta.protocol_version);
                self.applied.retain(|tenant, _| !delta.removals.contains(tenant));
                serde_json::to_vec(&self.take(delta.upserts))
            }
            _ => return (StatusCode::NOT_FOUND, Vec::new()),
        };
        (StatusCode::OK, json.unwrap())
    }
}

/// A certificate authority, and files of its making.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap(), key)
    }

    fn write(&self, directory: &std::path::Path) {
        let (certificate, key) = self.issue("carillon-operator");
        std::fs::create_dir_all(directory).unwrap();
        for (file, text) in [("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", self.0.pem())] {
            std::fs::write(directory.join(file), text).unwrap();
        }
    }

    fn server_config(&self, name: &str) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(name);
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
        Arc::new(config.with_client_cert_verifier(verifier).with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

struct Server {
    model: Arc<Mutex<Model>>,
    address: SocketAddr,
    connections: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
}

impl Server {
    async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (model, connections) = (Arc::new(Mutex::new(Model::default())), Arc::<Mutex<Vec<tokio::task::AbortHandle>>>::default());
        let (of_task, connections_of_task) = (Arc::clone(&model), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, model) = (TlsAcceptor::from(Arc::clone(&config)), Arc::clone(&of_task));
                let connection = tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| handle(Arc::clone(&model), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
                connections_of_task.lock().unwrap().push(connection.abort_handle());
            }
        });
        Self { model, address, connections }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// What a killed and restarted container is like: connections gone, configuration gone, another boot id.
    fn restart(&self) {
        let boots = self.model().boots + 1;
        *self.model() = Model { boots, ..Model::default() };
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}

async fn handle(
    model: Arc<Mutex<Model>>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let mut body = body.collect().await.unwrap().to_bytes().to_vec();
    let mut model = model.lock().unwrap();
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
        body = plain;
        model.gzipped += 1;
    }
    let (status, bytes) = model.answer(parts.method.as_str(), parts.uri.path(), &body);
    Ok(Response::builder().status(status).body(Full::from(bytes)).unwrap())
}

/// An operator's side, with one pod.
struct Operator {
    desired: watch::Sender<Option<Arc<Desired>>>,
    pusher: Pusher,
    reports: mpsc::Receiver<Report>,
    directory: PathBuf,
    until: Option<watch::Sender<Instant>>,
    heard: watch::Receiver<Epoch>,
}

impl Operator {
    fn start(authority: &Authority, address: SocketAddr, first: Option<Desired>) -> Self {
        Self::speaking(authority, address, first, Versions::SPOKEN)
    }

    fn speaking(authority: &Authority, address: SocketAddr, first: Option<Desired>, spoken: Versions) -> Self {
        static DIRECTORIES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = DIRECTORIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("carillon-pusher-{}-{number}", std::process::id()));
        authority.write(&directory);
        let (desired, receiver) = watch::channel(first.map(Arc::new));
        let (sender, reports) = mpsc::channel(64);
        let context = Context {
            identity: Arc::new(Identity::new(directory.clone(), SERVER_NAME.try_into().unwrap())),
            desired: receiver,
            reports: sender,
            rosters: Arc::default(),
            exchanges: Arc::new(Semaphore::new(EXCHANGES_MAX)),
            metrics: Arc::default(),
            spoken,
        };
        let pod = Pod { name: "server-0".to_owned(), fleet: FleetName::default(), address, ready: false };
        let (until, term) = watch::channel(Instant::now() + Duration::from_secs(3600));
        let (heard_sender, heard) = watch::channel(Epoch::default());
        let term = Term::new(POSITION.epoch, term, Arc::new(heard_sender));
        let pusher = Pusher::spawn(PodUid("uid".to_owned()), pod, context, term);
        Self { desired, pusher, reports, directory, until: Some(until), heard }
    }

    fn publish(&self, messages: &[TenantMessage], keep: &[&str]) {
        self.desired.send_replace(Some(Arc::new(desired(messages, keep))));
    }

    /// Waits until the pod stands so to `message`, report by report.
    async fn until(&mut self, message: &TenantMessage, wanted: impl Fn(&Standing) -> bool) {
        let reached = async {
            while !wanted(&self.pusher.ledger.standing(&message.tenant_id, message.config_version.as_str())) {
                self.reports.recv().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the pod gets there in time");
    }

    /// Waits until this was heard of the tenant `a`, report by report.
    async fn until_heard(&mut self, wanted: impl Fn(&Heard) -> bool) {
        let reached = async {
            while !wanted(&self.pusher.usage.of(&id("a"), Instant::now())) {
                self.reports.recv().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("it is heard in time");
    }

    async fn until_programmed(&mut self, message: &TenantMessage) {
        self.until(message, |standing| *standing == Standing::Programmed).await;
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn server() -> (Authority, Server) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = Authority::new();
    let config = authority.server_config(SERVER_NAME);
    (authority, Server::start(config).await)
}

#[tokio::test]
async fn a_new_pod_gets_a_snapshot_and_then_deltas() {
    let (authority, server) = server().await;
    let (a1, a2, b1) = (message("a", 1), message("a", 2), message("b", 1));
    let mut operator = Operator::start(&authority, server.address, None);
    operator.until(&a1, |standing| *standing == Standing::Pending).await;
    assert_eq!(server.model().requests, ["GET /v1/config/state"], "nothing is pushed before it is known what");
    operator.publish(&[a1.clone(), b1.clone()], &[]);
    operator.until_programmed(&a1).await;
    operator.publish(std::slice::from_ref(&a2), &[]);
    operator.until_programmed(&a2).await;
    let model = server.model();
    assert_eq!(model.requests, ["GET /v1/config/state", "PUT /v1/config/snapshot", "PATCH /v1/config"]);
    assert_eq!(model.fleet_digest, Some(fleet().digest()));
    assert_eq!(model.applied, [(a2.tenant_id.clone(), a2.config_version.clone())].into());
    assert_eq!(operator.pusher.ledger.runs(&b1.tenant_id), Some(None));
}

#[tokio::test]
async fn a_restarted_operator_pushes_nothing_to_a_pod_that_runs_everything() {
    let (authority, server) = server().await;
    let messages: Vec<_> = (0..50).map(|number| message(&format!("tenant-{number}"), 1)).collect();
    Operator::start(&authority, server.address, Some(desired(&messages, &[]))).until_programmed(&messages[49]).await;
    assert_eq!(server.model().gzipped, 1);
    server.model().requests.clear();
    let mut operator = Operator::start(&authority, server.address, Some(desired(&messages, &[])));
    operator.until_programmed(&messages[0]).await;
    // The next change shows that nothing came between.
    let newer = message("tenant-0", 2);
    operator.publish(&[std::slice::from_ref(&newer), &messages[1..]].concat(), &[]);
    operator.until_programmed(&newer).await;
    assert_eq!(server.model().requests, ["GET /v1/config/state", "PATCH /v1/config"]);
}

#[tokio::test]
async fn a_restarted_pod_is_programmed_again_at_once() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    let started = Instant::now();
    server.restart();
    while server.model().applied.is_empty() {
        tokio::time::timeout(Duration::from_secs(20), operator.reports.recv()).await.expect("in time");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "long before the next periodic look: {:?}", started.elapsed());
    assert_eq!(server.model().boots, 1);
}

#[tokio::test]
async fn a_change_behind_the_operators_back_heals_by_asking() {
    let (authority, server) = server().await;
    let (a1, a2) = (message("a", 1), message("a", 2));
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    server.model().applied.insert(id("stray"), a1.config_version.clone());
    operator.publish(std::slice::from_ref(&a2), &[]);
    operator.until_programmed(&a2).await;
    let model = server.model();
    assert_eq!(model.requests[2..], ["PATCH /v1/config", "GET /v1/config/state", "PATCH /v1/config"]);
    assert_eq!(model.applied.keys().map(TenantId::as_str).collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_refused_tenant_holds_up_no_other_and_is_not_sent_again() {
    let (authority, server) = server().await;
    let (a1, b1, c1) = (message("a", 1), message("b", 1), message("c", 1));
    server.model().refuses = Some(id("a"));
    let mut operator = Operator::start(&authority, server.address, Some(desired(&[a1.clone(), b1.clone()], &[])));
    operator.until_programmed(&b1).await;
    operator.until(&a1, |standing| matches!(standing, Standing::Rejected(rejected) if rejected.field == "spec.x")).await;
    operator.publish(&[a1.clone(), b1, c1.clone()], &[]);
    operator.until_programmed(&c1).await;
    assert_eq!(server.model().requests, ["GET /v1/config/state", "PUT /v1/config/snapshot", "PATCH /v1/config"]);
}

#[tokio::test]
async fn failures_are_told_and_tried_again() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    server.model().failures = vec![StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until(&a1, |standing| *standing == Standing::Trouble(Trouble::Refused)).await;
    operator.until_programmed(&a1).await;
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_learns_nothing() {
    let (authority, _) = server().await;
    let a1 = message("a", 1);
    let another_authority = Authority::new();
    for config in [authority.server_config("someone-else"), another_authority.server_config(SERVER_NAME)] {
        let server = Server::start(config).await;
        let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
        operator.until(&a1, |standing| *standing == Standing::Trouble(Trouble::Tls)).await;
        assert!(server.model().requests.is_empty());
    }
}

#[tokio::test]
async fn renewed_certificates_are_taken_up() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    let mut operator = Operator::start(&Authority::new(), server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until(&a1, |standing| matches!(standing, Standing::Trouble(_))).await;
    authority.write(&operator.directory);
    operator.until_programmed(&a1).await;
}

#[tokio::test]
async fn another_session_key_is_a_reason_for_a_snapshot() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    let fleet = carillon_tenant::push::FleetSettings { session_key: vec![8; 32].into() };
    let tenants = [(a1.tenant_id.clone(), Arc::new(a1))].into();
    operator.desired.send_replace(Some(Arc::new(Desired::new(POSITION, fleet.clone(), tenants, std::collections::BTreeSet::new()))));
    while server.model().fleet_digest != Some(fleet.digest()) {
        tokio::time::timeout(Duration::from_secs(20), operator.reports.recv()).await.expect("in time");
    }
    assert_eq!(server.model().requests[2..], ["PUT /v1/config/snapshot"]);
}

#[tokio::test]
async fn a_pod_is_asked_again_and_again_what_tenants_use() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    server.model().connections = Some(1);
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_programmed(&a1).await;
    let connections = |heard: &Heard| match heard {
        Heard::Report(_, Some(usage)) => Some(usage.connections),
        _ => None,
    };
    operator.until_heard(|heard| connections(heard) == Some(1)).await;
    server.model().connections = Some(2);
    operator.until_heard(|heard| connections(heard) == Some(2)).await;
    assert_eq!(server.connections.lock().unwrap().len(), 1, "over the one connection");
    assert_eq!(server.model().requests, ["GET /v1/config/state", "PUT /v1/config/snapshot"], "no reason to do anything else");
}

#[tokio::test]
async fn keys_that_a_pod_does_not_know_are_handed_on() {
    let (authority, server) = server().await;
    let a1 = message("a", 1);
    {
        let mut model = server.model();
        (model.connections, model.unknown_kids) = (Some(1), vec!["new".to_owned()]);
    }
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    let handed_on = async {
        loop {
            if let Report::UnknownKids(tenants) = operator.reports.recv().await.unwrap() {
                return tenants;
            }
        }
    };
    let tenants = tokio::time::timeout(Duration::from_secs(20), handed_on).await.expect("they are handed on in time");
    assert_eq!(tenants, [(id("a"), vec!["new".to_owned()])]);
}

#[tokio::test]
async fn a_pod_that_does_not_know_what_tenants_use_is_well() {
    let (authority, server) = server().await;
    let (a1, a2) = (message("a", 1), message("a", 2));
    let mut operator = Operator::start(&authority, server.address, Some(desired(std::slice::from_ref(&a1), &[])));
    operator.until_heard(|heard| *heard == Heard::Nothing).await;
    operator.publish(std::slice::from_ref(&a2), &[]);
    operator.until_programmed(&a2).await;
    let model = server.model();
    assert_eq!((model.usage_asks, model.requests.len()), (1, 3), "{:?}", model.requests);
    assert_eq!(server.connections.lock().unwrap().len(), 1, "the connection is kept");
}

#[tokio::test]
async fn a_tenant_is_pushed_again_when_that_was_asked_for() {
    let (authority, server) = server().await;
    let messages = [message("a", 1), message("b", 1)];
    let mut operator = Operator::start(&authority, server.address, Some(desired(&messages, &[])));
    operator.until_programmed(&messages[1]).await;
    operator.pusher.ledger.push_again(&id("a"));
    operator.publish(&messages, &[]);
    while operator.pusher.ledger.owes(&id("a")) {
        tokio::time::timeout(Duration::from_secs(20), operator.reports.recv()).await.expect("in time");
    }
    assert_eq!(server.model().requests[2..], ["PATCH /v1/config"]);
}
