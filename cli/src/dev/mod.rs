//! `carillon dev`: the whole of Carillon in one process, with files in place of the API server.

mod dashboard;
mod key_sets;
mod live;
mod playground;
mod same_origin;
mod summary;
mod watch;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use carillon_server::{
    Options, Server,
    fleet::Fleet,
    health,
    heartbeat::Heartbeat,
    logging::{self, Format},
    tls,
};
use carillon_tenant::{FleetName, OriginPolicy, SecretBytes, push::FleetSettings};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    local_secret,
    manifests::{LocalKeys, Sources},
    terminal,
};
use key_sets::KeySetWatch;
use live::Live;
use playground::Playground;
use watch::Watch;

/// Whoever stops `carillon dev` is waiting for it.
const DRAIN_WINDOW: Duration = Duration::from_millis(300);
/// How long a client may take to authenticate.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether tokens were refused for a key that nobody knows.
const KIDS_INTERVAL: Duration = Duration::from_secs(2);
/// Between two attempts to agree with the fleet.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `carillon dev`.
// No `Debug`: the URL of Redis may hold a password.
#[derive(clap::Args)]
pub struct Arguments {
    /// Files and folders with RealtimeTenants and their Secrets; default: the examples that are built in
    #[arg(long, value_name = "PATH", num_args = 1..)]
    tenants: Vec<PathBuf>,
    /// Where clients, the HTTP API and the playground come in
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are asked
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3001")]
    admin_listen: SocketAddr,
    /// Redis, which makes this process one server of a fleet: redis://user:password@host:6379/0, or rediss:// for TLS
    #[arg(long, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    redis: Option<String>,
    /// Origins whose pages may connect to tenants that name none of their own, separated by commas; * for all
    #[arg(long, value_name = "ORIGINS", env = "FRONTEND_URL", default_value = "", value_parser = OriginPolicy::parse)]
    frontend_url: OriginPolicy,
    /// How often each client is asked whether it is still there
    #[arg(long, value_name = "SECONDS", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ping_interval_seconds: u64,
    /// How long a client may take to say so
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ping_timeout_seconds: u64,
    /// What is logged: a level, or levels by module, as in info,carillon_server=debug
    #[arg(long, value_name = "FILTER", env = "CARILLON_LOG_FILTER", default_value = "info")]
    log_filter: String,
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            listen: self.listen,
            redis_url: self.redis.clone().filter(|url| !url.trim().is_empty()),
            // Whatever fleet a class names: here one carries all.
            fleet: FleetName::default(),
            // The servers of such a fleet are on one machine.
            advertise: self.listen.ip().is_unspecified().then(|| (Ipv4Addr::LOCALHOST, self.listen.port()).into()),
            frontend: self.frontend_url.clone(),
            heartbeat: Heartbeat {
                interval: Duration::from_secs(self.ping_interval_seconds),
                timeout: Duration::from_secs(self.ping_timeout_seconds),
                connect_timeout: CONNECT_TIMEOUT,
            },
            drain_window: DRAIN_WINDOW,
        }
    }
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
///
/// When a port can't be had. Nothing in a file ends it.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    logging::init(Format::Text, &arguments.log_filter)?;
    tls::install_provider();
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't be started")?;
    let outcome = runtime.block_on(serve(arguments));
    // A client that hangs on must not keep the terminal.
    runtime.shutdown_background();
    outcome
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("signals can't be caught")?;
    let stop = CancellationToken::new();
    let _stop_all = stop.clone().drop_guard();
    let admin = TcpListener::bind(arguments.admin_listen).await.with_context(|| format!("--admin-listen {}", arguments.admin_listen))?;
    let admin_address = admin.local_addr()?;
    let playground = Playground::default();
    let options = arguments.options();
    let shared = options.redis_url.is_some();
    // The URL itself is not shown: it may hold a password.
    ensure!(options.redis_url.iter().all(|url| url.starts_with("redis")), "--redis must begin with redis:// or rediss://");
    let server = Server::start(options, playground.router()).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => anyhow!("--redis: {error}"),
        _ => anyhow!("--listen {}: {error}", arguments.listen),
    })?;
    let core = server.core().clone();
    tokio::spawn(health::serve(admin, health::router(core.clone()), stop.clone()));

    let following = async {
        let settings = FleetSettings { session_key: session_key(&core.fleet, shared).await };
        let sources = Sources::new(&arguments.tenants);
        let watch = Watch::new(sources.paths());
        let local = LocalKeys::of(local_secret::of_this_user());
        let mut live = Live::new(sources.clone(), core.config.clone(), settings, local.clone());
        let reload = live.reload().unwrap_or_default();
        let in_force = live.subscribe();
        playground.open(core.clone(), in_force.clone());
        terminal::print(&summary::welcome(server.address(), admin_address, &sources, &in_force.borrow(), &reload));
        let generates = in_force.borrow().values().any(|served| served.generated.as_ref().is_some_and(|credentials| credentials.local));
        if let Some(why) = local.why_passing().filter(|_| generates) {
            terminal::print(&format!("  Generated keys are of this process alone, and `carillon token` has others: {why}\n"));
        }
        let mut key_sets = KeySetWatch::new();
        let mut look_for_kids = tokio::time::interval(KIDS_INTERVAL);
        loop {
            key_sets.follow(live.wanted_key_sets().clone());
            tokio::select! {
                () = watch.changed() => {
                    if let Some(reload) = live.reload() {
                        terminal::print(&summary::change("Files changed", &reload));
                    }
                }
                _ = look_for_kids.tick() => {
                    if core.config.usage().tenants.iter().any(|tenant| !tenant.unknown_kids.is_empty()) {
                        key_sets.hurry();
                    }
                }
                (source, fetched) = key_sets.changed() => {
                    let what = format!("Keys of {source}");
                    terminal::print(&summary::change(&what, &live.key_set_seen(source, fetched)));
                }
            }
        }
    };
    tokio::select! {
        () = following => {}
        () = dashboard::publish_numbers(core.clone()) => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tokio::select! {
        () = server.shut_down() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The key of the MAC in session ids: the fleet's, or one that lives as long as this process.
async fn session_key(fleet: &Fleet, shared: bool) -> SecretBytes {
    if !shared {
        return rand::random::<[u8; 32]>().to_vec().into();
    }
    let mut told = false;
    loop {
        if let Some(key) = fleet.session_key().await {
            return key;
        }
        if !std::mem::replace(&mut told, true) {
            terminal::print("Redis does not answer yet: waiting for it, for this process is to be one of a fleet.\n");
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}
