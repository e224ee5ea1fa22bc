//! The operator: watches `RealtimeTenant`s and what they refer to, compiles them, pushes them to every server pod, and says in
//! their status how far that has come.
//!
//! Five watches feed one loop (`controller`), which keeps an index of all tenants (`index`) and publishes what pods should run
//! (`desired`), fleet by fleet (`moves`). One task per pod (`pusher`) brings its pod there and keeps a ledger of what it acknowledged (`acks`) and one of what
//! tenants use there (`usage`), from which statuses follow (`facts`, `status`). Nothing is pushed before everything was listed and compiled.
//!
//! Each change leaves a trail in the log (`trails`), and people ask for the whole table with `carillon status` (`status_api`).
//!
//! Of several replicas one leads (`lease`, `election`) and does all of this, in terms with an epoch each (`term`); the others only watch and
//! compile, so that any of them can go on at once.

mod acks;
mod admin_client;
mod args;
mod boot;
mod certificates;
mod claims;
mod classes;
mod controller;
mod definitions;
mod deletion;
mod desired;
mod election;
mod events;
mod facts;
mod few;
#[cfg(test)]
mod fixtures;
mod fleet;
mod fleets;
mod fuse;
mod gather;
mod generate;
mod health;
mod index;
mod jwks;
mod lease;
mod lease_store;
mod metrics;
mod moves;
mod object;
mod pusher;
mod reporting;
mod resolve;
mod retry;
mod roster;
mod schedule;
mod session_key;
mod status;
mod status_api;
mod term;
mod tls;
mod trails;
mod usage;
mod watches;
mod writer;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
pub use args::{Args, LogFormat};
use carillon_tenant::protocol::Versions;
pub use certificates::CertificateArgs;
pub use generate::GenerateArgs;
pub use jwks::JwksArgs;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Reports from pushers that may wait for the controller; more make the pushers wait.
const REPORTS: usize = 1024;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
///
/// When the operator can't start: an argument is unusable, no API server is configured, the health port is taken.
pub async fn run(args: Args) -> anyhow::Result<()> {
    start_logging(&args)?;
    // Fails when there is one already, which is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let shutdown = stop_on_signals()?;
    let metrics = Arc::new(metrics::Metrics::default());
    let readiness = health::Readiness::default();
    let session_key = session_key::follow(args.session_key_file, readiness.clone());
    let server_name = ServerName::try_from(args.server_identity.clone()).context("--server-identity")?;
    let fetcher = Arc::new(jwks::fetcher(&args.jwks)?);
    let client = kube::Client::try_default().await.context("no API server is configured")?;
    let certificates = certificates::Keeper::new(&args.certificates, client.clone(), &args.namespace, server_name.clone())?;
    let identity = match &certificates {
        Some(keeper) => tls::Identity::kept(keeper.own(), server_name),
        None => tls::Identity::new(args.admin_tls_directory, server_name).measured(Arc::clone(&metrics)),
    };
    let fleets = Arc::new(fleets::Fleets::new(args.fleets).context("--fleet")?);
    let (fleet, fleet_receiver) = watch::channel(None);
    let (report_sender, reports) = mpsc::channel(REPORTS);
    let (identity, exchanges) = (Arc::new(identity), Arc::new(Semaphore::new(pusher::EXCHANGES_MAX)));
    let outputs: BTreeMap<_, _> = fleets
        .names()
        .map(|name| {
            let (desired, receiver) = watch::channel(None);
            let pushers = pusher::Context {
                identity: Arc::clone(&identity),
                desired: receiver,
                reports: report_sender.clone(),
                spoken: Versions::SPOKEN,
                rosters: Arc::default(),
                exchanges: Arc::clone(&exchanges),
                metrics: Arc::clone(&metrics),
            };
            (name.clone(), controller::Output { desired, pushers })
        })
        .collect();
    let desired: BTreeMap<_, _> = outputs.iter().map(|(name, output)| (name.clone(), output.pushers.desired.clone())).collect();
    let store = lease_store::KubernetesLease::new(client.clone(), &args.namespace, args.lease_name.clone());
    let identity = args.identity.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let told = status_api::Source { replica: identity.clone(), desired: desired.clone(), fleet: fleet_receiver };
    let (elector, term) = lease::Elector::new(store, identity.clone(), readiness.clone(), Arc::clone(&metrics));
    let events = events::Events::spawn(client.clone(), Arc::clone(&metrics));
    if let Some(keeper) = certificates {
        let parts = certificates::Parts {
            fleet: told.fleet.clone(),
            readiness: readiness.clone(),
            terms: term.clone(),
            events: events.clone(),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(keeper.keep(parts));
    }
    if let Some(prefix) = args.boot_config_secrets {
        for (name, desired) in &desired {
            let secrets = boot::Secrets::new(client.clone(), &args.namespace, &prefix, name);
            tokio::spawn(boot::keep(secrets, desired.clone(), term.clone(), Arc::clone(&metrics)));
        }
    }
    let parts = controller::Parts {
        outputs,
        fleets: Arc::clone(&fleets),
        fleet,
        reports,
        session_key,
        term,
        lease_name: args.lease_name,
        readiness: readiness.clone(),
        events,
        fetcher,
        generate: args.generate,
        metrics: Arc::clone(&metrics),
    };

    let listener = TcpListener::bind(args.health_listen).await.with_context(|| format!("--health-listen {}", args.health_listen))?;
    let health = listener.local_addr().context("--health-listen")?;
    let status_listener = status_api::listen(args.status_listen).await?;
    let status = status_listener.local_addr().context("--status-listen")?;
    tracing::info!(identity, namespace = args.namespace, fleets = fleets.names().map(ToString::to_string).collect::<Vec<_>>().join(","), %health, %status, "started");
    let health = health::serve(listener, readiness.clone(), Arc::clone(&metrics), shutdown.clone());
    let status = status_api::serve(status_listener, told, shutdown.clone());
    let candidacy = CancellationToken::new();
    let definitions = definitions::agree(client.clone(), readiness.clone(), Arc::clone(&metrics));
    let elector = {
        let candidacy = candidacy.clone();
        // One that doesn't fit what is installed leaves the lead to one that does.
        tokio::spawn(async move {
            if candidacy.run_until_cancelled(definitions).await.is_some() {
                elector.run(candidacy).await;
            }
        })
    };
    let controller = async {
        controller::run(client, &args.namespace, parts, shutdown).await;
        // Only now, when nothing is written or pushed any more, may another lead.
        candidacy.cancel();
    };
    let (health, status, (), elected) = tokio::join!(health, status, controller, elector);
    tracing::info!("ended");
    elected.context("leader election")?;
    status.context("status for people")?;
    health.context("health endpoints")
}

fn start_logging(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_filter).context("--log-filter")?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    match args.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        LogFormat::Text => subscriber.init(),
    }
    Ok(())
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to end");
        token.cancel();
    });
    Ok(shutdown)
}
