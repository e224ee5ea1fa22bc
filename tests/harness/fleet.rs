//! Servers in this very process, on loopback, programmed as the operator does it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::Router;
use carillon_server::{
    Options, Server,
    fan_out::{Message, Publication, Target, Tenant as LiveTenant, Usage},
    heartbeat::Heartbeat,
};
use carillon_tenant::{
    FleetName, OriginPolicy, Position, RoomName,
    push::{Answer, Delta, Elsewhere, FleetSettings, PROTOCOL_VERSION, Snapshot},
};
use serde_json::{Value, value::to_raw_value};

use crate::{eventually::eventually, metrics, panics, redis::Redis, tenants::Tenant};

/// How a fleet is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many servers.
    pub servers: usize,
    /// Whether they share a Redis.
    pub redis: bool,
    /// The fleet of each server; those without a name here are of the default one.
    pub fleets: &'static [&'static str],
    /// The fleet's own origins.
    pub frontend: OriginPolicy,
    /// The engine's pings; the time-out is also how long a stalled reader is borne.
    pub heartbeat: Heartbeat,
    /// How long leaving takes.
    pub drain_window: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        let heartbeat =
            Heartbeat { interval: Duration::from_secs(5), timeout: Duration::from_secs(30), connect_timeout: Duration::from_secs(5) };
        Self {
            servers: 1,
            redis: false,
            fleets: &[],
            frontend: OriginPolicy::Only(Vec::new()),
            heartbeat,
            drain_window: Duration::from_secs(1),
        }
    }
}

/// Running servers.
pub struct Fleet {
    /// Their Redis, to be killed and restarted.
    pub redis: Option<Redis>,
    servers: Vec<Option<Server>>,
    addresses: Vec<SocketAddr>,
}

impl Fleet {
    /// One server with `tenants`.
    pub async fn start(tenants: &[Tenant]) -> Self {
        Self::with(Setup::default(), tenants).await
    }

    /// Servers as `setup` says, with `tenants`.
    pub async fn with(setup: Setup, tenants: &[Tenant]) -> Self {
        let fleet = Self::boot(setup).await;
        fleet.push(tenants);
        fleet
    }

    /// One server that has not been told anything yet.
    pub async fn unprogrammed() -> Self {
        Self::boot(Setup::default()).await
    }

    /// Servers as `setup` says, with `tenants`, whose Redis is not running yet.
    pub async fn with_redis_away(setup: Setup, tenants: &[Tenant]) -> Self {
        let fleet = Self::boot_with(setup, Some(Redis::not_started())).await;
        fleet.push(tenants);
        fleet
    }

    async fn boot(setup: Setup) -> Self {
        let redis = if setup.redis { Some(Redis::start().await) } else { None };
        Self::boot_with(setup, redis).await
    }

    async fn boot_with(setup: Setup, redis: Option<Redis>) -> Self {
        panics::record();
        let mut servers = Vec::new();
        for number in 0..setup.servers {
            let options = Options {
                fleet: setup.fleets.get(number).map_or_else(FleetName::default, |fleet| FleetName::new(fleet).expect("a fleet's name")),
                listen: (Ipv4Addr::LOCALHOST, 0).into(),
                redis_url: redis.as_ref().map(Redis::url),
                advertise: None,
                frontend: setup.frontend.clone(),
                heartbeat: setup.heartbeat,
                drain_window: setup.drain_window,
            };
            servers.push(Some(Server::start(options, Router::new()).await.expect("a server starts on a free port")));
        }
        let addresses = servers.iter().flatten().map(Server::address).collect();
        Self { redis, servers, addresses }
    }

    /// Programs every server with exactly `tenants`.
    ///
    /// # Panics
    ///
    /// When one is rejected.
    pub fn push(&self, tenants: &[Tenant]) {
        for server in self.servers.iter().flatten() {
            let answer = Self::replace(server, tenants);
            assert!(answer.rejected.is_empty(), "{answer:?}");
        }
    }

    /// Takes a tenant from one server, as the operator does when another fleet carries it by then.
    ///
    /// # Panics
    ///
    /// When the server doesn't run it.
    pub fn move_away(&self, server: usize, tenant: &Tenant) {
        let config = &self.servers[server].as_ref().expect("the server runs").core().config;
        let (state, moved) = (config.state(), vec![tenant.compile().tenant_id]);
        let delta = Delta {
            protocol_version: PROTOCOL_VERSION,
            position: state.position,
            base_digest: state.digest,
            upserts: Vec::new(),
            removals: moved.clone(),
            moved,
            elsewhere: Elsewhere::new(),
        };
        config.change(delta).expect("nobody else pushes");
    }

    /// Programs one server with exactly `tenants`, as the operator does with one that is new while another fleet carries `elsewhere`.
    ///
    /// # Panics
    ///
    /// When one is rejected.
    pub fn push_beside(&self, server: usize, tenants: &[Tenant], elsewhere: &[Tenant]) {
        let mut by_claim = Elsewhere::new();
        for message in elsewhere.iter().map(Tenant::compile) {
            by_claim.entry(message.jwt.tenant_claim).or_default().push(message.tenant_id);
        }
        let server = self.servers[server].as_ref().expect("the server runs");
        let answer = Self::replace_with(server, tenants, by_claim);
        assert!(answer.rejected.is_empty(), "{answer:?}");
    }

    fn replace(server: &Server, tenants: &[Tenant]) -> Answer {
        Self::replace_with(server, tenants, Elsewhere::new())
    }

    fn replace_with(server: &Server, tenants: &[Tenant], elsewhere: Elsewhere) -> Answer {
        let snapshot = Snapshot {
            protocol_version: PROTOCOL_VERSION,
            position: Position::default(),
            fleet: FleetSettings { session_key: vec![7; 32].into() },
            tenants: tenants.iter().map(Tenant::compile).collect(),
            keep: Vec::new(),
            elsewhere,
        };
        server.core().config.replace(snapshot).expect("nobody else pushes")
    }

    /// Where the first server is.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where every server is.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first server for clients.
    pub fn url(&self) -> String {
        self.url_of(0)
    }

    /// One server for clients.
    pub fn url_of(&self, server: usize) -> String {
        format!("http://{}", self.addresses[server])
    }

    /// One server.
    ///
    /// # Panics
    ///
    /// When it was shut down.
    pub fn server(&self, server: usize) -> &Server {
        self.servers[server].as_ref().expect("the server still runs")
    }

    /// A tenant as the first server runs it.
    pub fn tenant(&self, tenant: &str) -> std::sync::Arc<LiveTenant> {
        self.tenant_on(0, tenant)
    }

    /// A tenant as one server runs it.
    ///
    /// # Panics
    ///
    /// When the server doesn't.
    pub fn tenant_on(&self, server: usize, tenant: &str) -> std::sync::Arc<LiveTenant> {
        self.server(server).core().config.view().tenant(tenant).expect("the server runs the tenant").clone()
    }

    /// Publishes to every socket of a tenant, through the first server.
    pub fn publish(&self, tenant: &str, event: &str, data: &Value) {
        self.publish_to(0, tenant, Target::Tenant, event, data);
    }

    /// Publishes to every socket of a tenant, through one server.
    pub fn publish_on(&self, server: usize, tenant: &str, event: &str, data: &Value) {
        self.publish_to(server, tenant, Target::Tenant, event, data);
    }

    /// Publishes to the members of a room, through the first server.
    ///
    /// # Panics
    ///
    /// When that is no room's name.
    pub fn publish_in(&self, tenant: &str, room: &str, event: &str, data: &Value) {
        self.publish_to(0, tenant, Target::Room(RoomName::new(room).expect("a room's name")), event, data);
    }

    /// Publishes through one server.
    ///
    /// # Panics
    ///
    /// When it can't take more.
    pub fn publish_to(&self, server: usize, tenant: &str, target: Target, event: &str, data: &Value) {
        let data = to_raw_value(data).expect("JSON serialises");
        let publication = Publication { target, except: None, message: Message::new(event, data) };
        self.tenant_on(server, tenant).publish(&publication).expect("the room's queue has space");
    }

    /// The value of a sample in the metrics of one server, as [`metrics::sum`] reads it.
    pub fn metric(&self, server: usize, sample: &str) -> f64 {
        metrics::sum(&self.server(server).core().metrics.encode(), sample)
    }

    /// Waits until the first server counts so many connections and users of a tenant, and so many rooms.
    pub async fn uses(&self, tenant: &str, connections: u64, users: u64, rooms: u64) {
        let expected = Usage { connections, users, rooms };
        let live = self.tenant(tenant);
        eventually(&format!("{tenant} uses {expected:?}"), || crate::eventually::is(live.usage(), &expected)).await;
    }

    /// Waits until every server has found its Redis.
    pub async fn is_one(&self) {
        for server in 0..self.servers.len() {
            eventually("the server has found its Redis", || crate::eventually::is(self.metric(server, "carillon_redis_up"), &1.0)).await;
        }
    }

    /// Shuts one server down, as SIGTERM does.
    ///
    /// # Panics
    ///
    /// When it was shut down before.
    pub async fn shut_down(&mut self, server: usize) {
        self.servers[server].take().expect("the server still runs").shut_down().await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panics::assert_none();
        }
    }
}
