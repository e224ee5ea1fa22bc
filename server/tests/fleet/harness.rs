//! A real Redis, and pods on it that write down what they receive.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use carillon_server::{
    fan_out::{Message, Publication, Target},
    fleet::{Fleet, FleetOptions},
    metrics::Metrics,
};
use carillon_tenant::{FleetName, TenantId};
use fred::{interfaces::ClientLike, prelude::Client, types::Builder, types::config::Config};
use serde_json::value::to_raw_value;
use tokio::sync::watch;

/// How long anything here may take on a busy machine, unless a test promises less.
pub const SOON: Duration = Duration::from_secs(20);

/// A `redis-server` of this test's own, which dies with it.
pub struct RedisServer {
    port: u16,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let mut server = Self::absent();
        server.restart();
        server
    }

    /// Starts one with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::absent();
        server.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        server.restart();
        server
    }

    /// A port on which there is none yet.
    pub fn absent() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port").port();
        Self { port, arguments: Vec::new(), process: None }
    }

    /// Starts it, empty, on the port that it had before.
    pub fn restart(&mut self) {
        let port = self.port.to_string();
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .args(&self.arguments)
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .spawn();
        self.process = Some(process.expect("redis-server is installed"));
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Stops it without a word (`STOP`), or lets it go on (`CONT`).
    pub fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().expect("kill").success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client beside the fleet, to look at what Redis holds.
    pub async fn client(&self) -> Client {
        let mut config = Config::from_url(&self.url()).expect("a URL");
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder.set_policy(fred::types::config::ReconnectPolicy::new_constant(0, 50));
        let client = builder.build().expect("a client");
        tokio::time::timeout(SOON, client.init()).await.expect("Redis comes up").expect("Redis comes up");
        client
    }

    /// How many pods listen to the bus of `tenant`.
    pub async fn listeners(&self, client: &Client, tenant: &TenantId) -> u64 {
        use fred::interfaces::PubsubInterface;
        let (_, listeners): (String, u64) = client.pubsub_shardnumsub(format!("carillon:{{{tenant}}}:bus")).await.expect("Redis answers");
        listeners
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A way to a Redis that can turn silent: open connections stay open, and nothing passes any more. New ones are passed on.
pub struct Detour {
    pub url: String,
    silence: watch::Sender<()>,
}

impl Detour {
    pub async fn to(redis: &RedisServer) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("redis://{}", listener.local_addr().expect("it listens"));
        let silence = watch::Sender::new(());
        let (silenced, port) = (silence.subscribe(), redis.port);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut silenced = silenced.clone();
                silenced.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("Redis runs");
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = silenced.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { url, silence }
    }

    /// Silences all connections there are.
    pub fn silence(&self) {
        self.silence.send_replace(());
    }
}

/// One pod of a fleet.
pub struct Pod {
    pub fleet: Fleet,
    pub metrics: Arc<Metrics>,
    received: Arc<Mutex<VecDeque<String>>>,
}

impl Pod {
    pub fn start(name: &str, redis: &RedisServer) -> Self {
        Self::start_at(name, redis.url())
    }

    pub fn start_at(name: &str, redis_url: String) -> Self {
        Self::start_in(FleetName::default(), name, redis_url)
    }

    pub fn start_in(fleet: FleetName, name: &str, redis_url: String) -> Self {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init().ok();
        let metrics = Arc::new(Metrics::new());
        let advertise = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        let options = FleetOptions { redis_url, name: fleet, pod: name.to_owned(), advertise };
        let fleet = Fleet::connect(options, metrics.clone()).expect("good options");
        let received = Arc::<Mutex<VecDeque<String>>>::default();
        let inbox = received.clone();
        fleet.receive(move |tenant, publication| {
            let Message { event, data, .. } = &*publication.message;
            inbox.lock().unwrap().push_back(format!("{tenant} {event} {}", data.get()));
            true
        });
        Self { fleet, metrics, received }
    }

    /// Starts a pod and waits until it reaches Redis.
    pub async fn joined(name: &str, redis: &RedisServer) -> Self {
        let pod = Self::start(name, redis);
        pod.sees_redis(true).await;
        pod
    }

    pub async fn sees_redis(&self, up: bool) {
        eventually(SOON, "redis_up is true to life", async || self.metrics.redis_up.get() == i64::from(up)).await;
    }

    pub fn publish(&self, tenant: &TenantId, data: u64) {
        let message = Message::new("tick", to_raw_value(&data).unwrap());
        self.fleet.publish(tenant, &Publication { target: Target::Tenant, except: None, message });
    }

    /// Everything received since the last call.
    pub fn take(&self) -> Vec<String> {
        self.received.lock().unwrap().drain(..).collect()
    }

    pub fn received(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Messages counted as lost at a stage.
    pub fn lost(&self, stage: &str) -> u64 {
        let text = self.metrics.encode();
        let prefix = format!("carillon_adapter_lost_total{{stage=\"{stage}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0, |number| number.parse().unwrap())
    }
}

/// Waits until `condition` holds.
pub async fn eventually(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}
