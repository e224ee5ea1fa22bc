//! A server on loopback, and a client for it.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use carillon_server::{Options, Server, core::Core, heartbeat::Heartbeat};
use carillon_tenant::{
    OriginPolicy, Position, TenantMessage,
    push::{Elsewhere, FleetSettings, PROTOCOL_VERSION, Snapshot},
};

use crate::tenants;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server that is alone.
pub struct TestServer {
    pub server: Server,
    pub client: reqwest::Client,
}

impl TestServer {
    /// A server that the operator has not talked to yet.
    pub async fn unprogrammed() -> Self {
        let options = Options {
            fleet: carillon_tenant::FleetName::default(),
            listen: loopback(),
            redis_url: None,
            advertise: None,
            frontend: OriginPolicy::Only(Vec::new()),
            heartbeat: Heartbeat {
                interval: Duration::from_secs(25),
                timeout: Duration::from_secs(20),
                connect_timeout: Duration::from_secs(10),
            },
            drain_window: Duration::ZERO,
        };
        let server = Server::start(options, Router::new()).await.unwrap();
        Self { server, client: plain_client() }
    }

    /// A server with all the tenants of [`tenants`].
    pub async fn start() -> Self {
        let server = Self::unprogrammed().await;
        let answer = server.core().config.replace(snapshot(tenants::all())).unwrap();
        assert_eq!(answer.rejected, []);
        server
    }

    pub fn core(&self) -> &Arc<Core> {
        self.server.core()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn plain_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap()
}

pub fn snapshot(tenants: Vec<TenantMessage>) -> Snapshot {
    let fleet = FleetSettings { session_key: vec![7; 32].into() };
    Snapshot {
        protocol_version: PROTOCOL_VERSION,
        position: Position::default(),
        fleet,
        tenants,
        keep: Vec::new(),
        elsewhere: Elsewhere::new(),
    }
}

/// Asks again and again until `check` is satisfied.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let all = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}
