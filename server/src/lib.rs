//! The Carillon server: Socket.IO for many tenants, programmed by push.
//!
//! A request comes in through [`listener`] and [`front`], becomes a connection of the [`engine`], a [`session`] by the [`handshake`],
//! and a member of rooms in [`fan_out`]; [`fleet`] is every other server. What all of them obey stands in the
//! [`config_store`], which the operator fills through the [`config_api`]. Backends publish through the [`http_api`]; [`run`] is the whole
//! process.

pub mod args;
pub mod boot;
pub mod commands;
pub mod config_api;
pub mod config_store;
pub mod core;
pub mod cors;
pub mod descriptors;
pub mod engine;
pub mod expiry;
pub mod fan_out;
pub mod fleet;
pub mod front;
pub mod grant;
pub mod handler;
pub mod handshake;
pub mod health;
pub mod heartbeat;
pub mod http_api;
pub mod jwt;
pub mod line;
pub mod listener;
pub mod logging;
pub mod long_polling;
pub mod metrics;
pub mod origin_index;
pub mod problem;
pub mod process_metrics;
pub mod proxy;
pub mod quota;
pub mod refresh;
pub mod run;
pub mod session;
pub mod session_ids;
pub mod shutdown;
pub mod side_port;
pub mod tls;
pub mod transport;
pub mod turnstile;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use carillon_tenant::{FleetName, OriginPolicy};
use tokio_util::sync::CancellationToken;

pub use crate::run::run;
use crate::{
    config_store::ConfigStore,
    core::Core,
    fleet::{Fleet, FleetOptions},
    front::Front,
    heartbeat::{Heartbeat, Pulse},
    metrics::Metrics,
};

/// How a server is set up.
// No `Debug`: the URL of Redis may hold a password.
#[derive(Clone)]
pub struct Options {
    /// Where clients and the HTTP API come in.
    pub listen: SocketAddr,
    /// Redis, which makes one fleet of many servers. Without it this server is alone.
    pub redis_url: Option<String>,
    /// Which fleet on that Redis: others on it are none of its concern.
    pub fleet: FleetName,
    /// Where the other servers of the fleet reach `listen`. Needed when `listen` is not that address itself.
    pub advertise: Option<SocketAddr>,
    /// Origins of browsers, for tenants that name none.
    pub frontend: OriginPolicy,
    /// Pings.
    pub heartbeat: Heartbeat,
    /// How long leaving takes.
    pub drain_window: Duration,
}

/// A running server.
pub struct Server {
    core: Arc<Core>,
    address: SocketAddr,
    drain_window: Duration,
    stop: CancellationToken,
    _io: socketioxide::SocketIo,
}

impl Server {
    /// Starts to serve. `pages` are served beside the HTTP API.
    ///
    /// # Errors
    ///
    /// When the port can't be had, or the URL of Redis can't be used.
    pub async fn start(options: Options, pages: Router) -> io::Result<Self> {
        match descriptors::make_room() {
            Ok(limit) => tracing::info!(limit, "file descriptors"),
            Err(error) => tracing::warn!(%error, "there may be too few file descriptors"),
        }
        let listener = listener::bind(options.listen)?;
        let address = listener.local_addr()?;
        let metrics = Arc::new(Metrics::new());
        let boot_id = format!("{:016x}", rand::random::<u64>());
        let fleet = match options.redis_url {
            Some(redis_url) => {
                let (name, advertise) = (options.fleet, options.advertise.unwrap_or(address));
                let options = FleetOptions { redis_url, name, pod: boot_id.clone(), advertise };
                Fleet::connect(options, metrics.clone()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
            }
            None => Fleet::alone(boot_id.clone()),
        };
        let config = ConfigStore::new(boot_id, options.frontend, metrics.clone(), fleet.clone());
        fleet.start_receiving(config.clone());
        let core = Core::new(config, fleet, metrics);
        let (engine, io) = engine::start(&core, &options.heartbeat);
        let pulse = Pulse::new(options.heartbeat);
        let front = Front::new(core.clone(), engine, options.heartbeat, http_api::router(core.clone()).merge(pages));
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(listener, front.clone(), pulse.clone(), core.turnstile.clone(), stop.clone()));
        tokio::spawn(pulse.run(stop.clone()));
        tokio::spawn(expiry::watch(core.clone(), stop.clone()));
        let stopped = stop.clone();
        tokio::spawn(async move {
            while stopped.run_until_cancelled(tokio::time::sleep(front::SWEEP_INTERVAL)).await.is_some() {
                front.sweep();
            }
        });
        Ok(Self { core, address, drain_window: options.drain_window, stop, _io: io })
    }

    /// What the parts share: configuration, metrics, fleet.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where clients come in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets clients go over the drain window, then stops.
    pub async fn shut_down(self) {
        shutdown::drain(&self.core, self.drain_window).await;
        self.core.fleet.leave().await;
        self.stop.cancel();
    }
}
