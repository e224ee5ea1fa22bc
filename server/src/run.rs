//! The whole process: its three ports, and how it ends.

use anyhow::{Context, bail};
use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Server,
    args::Args,
    boot, config_api,
    health::{self, Health},
    logging,
    side_port::{self, Bounds},
    tls::{self, Certificates},
};

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends it at once.
///
/// # Errors
///
/// When the arguments can't be used, a port can't be had, or a second signal cut the drain short.
pub async fn run(args: Args) -> anyhow::Result<()> {
    logging::init(args.log_format, &args.log_filter)?;
    tls::install_provider();
    let options = args.options().map_err(anyhow::Error::msg)?;
    let mut signals = Signals::new().context("signals can't be caught")?;
    let stop = CancellationToken::new();
    let _stop_all = stop.clone().drop_guard();

    let health = Health::default();
    let listener = TcpListener::bind(args.health_listen).await.with_context(|| format!("--health-listen {}", args.health_listen))?;
    tracing::info!(address = %listener.local_addr()?, "health listening");
    tokio::spawn(health::serve(listener, health.router(), stop.clone()));

    let certificates = Certificates::load(&args.admin_tls_directory, args.operator_identity.clone())
        .context("the admin port needs certificates: see --admin-tls-directory")?;
    let admin = TcpListener::bind(args.admin_listen).await.with_context(|| format!("--admin-listen {}", args.admin_listen))?;
    let server = Server::start(options, Router::new()).await.with_context(|| format!("--listen {}", args.listen))?;
    let core = server.core().clone();
    tracing::info!(address = %admin.local_addr()?, "admin listening");
    core.config.tell_certificates(certificates.in_force());
    let routes = config_api::router(core.config.clone());
    tokio::spawn(side_port::serve(admin, Some(certificates.configs()), Bounds::ADMIN, routes, stop.clone()));
    tokio::spawn(certificates.follow(tls::RELOAD_INTERVAL, core.metrics.certificate_reload_failures.clone(), stop.clone()));
    if let Some(directory) = args.boot_config_directory.clone() {
        tokio::spawn(boot::start(core.config.clone(), directory, stop.clone()));
    }
    tracing::info!(address = %server.address(), version = env!("CARGO_PKG_VERSION"), "server listening");
    health.started(core.clone());

    let signal = signals.next().await;
    tracing::info!(signal, "shutting down");
    core.start_draining();
    tokio::select! {
        () = server.shut_down() => Ok(()),
        signal = signals.next() => bail!("a second signal, {signal}, ended the server before it was drained"),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
