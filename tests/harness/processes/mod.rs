//! A fleet of real `carillon-server` processes on one Redis, programmed over their admin ports as the operator does it. What happens to
//! pods happens to them: they are killed, paused, cut off, started anew.

mod boot;
mod server;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use carillon_tenant::{
    TenantMessage,
    push::{CertificatesInForce, State, TenantUsage},
};

use self::server::Server;
use crate::{
    certificates::Authority,
    command::server_binary,
    eventually::{DEADLINE, eventually_async},
    folder::Folder,
    http, loopback, metrics,
    redis::Redis,
    tenants::Tenant,
};

/// Running servers. They end with this value; what they wrote is shown when the test has failed.
#[derive(Debug)]
pub struct Processes {
    redis: Option<Redis>,
    redis_url: String,
    host: Ipv4Addr,
    authority: Arc<Authority>,
    servers: Vec<Server>,
    tenants: Vec<TenantMessage>,
    folder: Folder,
}

impl Processes {
    /// So many servers with `tenants`, on a Redis of their own.
    pub async fn start(count: usize, tenants: &[Tenant]) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        Self { redis: Some(redis), ..Self::start_on(url, count, tenants).await }
    }

    /// So many servers with `tenants`, on the Redis at `redis_url`.
    pub async fn start_on(redis_url: String, count: usize, tenants: &[Tenant]) -> Self {
        let mut fleet = Self::prepare(redis_url, count).await;
        fleet.program(tenants);
        for number in 0..count {
            fleet.restart(number).await;
        }
        fleet.is_one().await;
        fleet
    }

    /// So many servers on a Redis of their own, which an operator is to program.
    pub async fn start_for_an_operator(count: usize) -> Self {
        Self::start_for_an_operator_at(loopback::host(), count).await
    }

    /// The same with servers that listen on `host`.
    pub async fn start_for_an_operator_at(host: Ipv4Addr, count: usize) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        let mut fleet = Self { redis: Some(redis), host, ..Self::prepare(url, count).await };
        for number in 0..count {
            fleet.start_server(number).await;
        }
        fleet
    }

    /// So many servers, none of which runs yet.
    async fn prepare(redis_url: String, count: usize) -> Self {
        let folder = Folder::new("fleet");
        let authority = Arc::new(Authority::new());
        authority.write_for_server(folder.path());
        let (host, program) = (loopback::host(), server_binary().await);
        let servers = (0..count).map(|number| Server::new(number, program.clone())).collect();
        Self { redis: None, redis_url, host, authority, servers, tenants: Vec::new(), folder }
    }

    /// So many servers on a Redis of their own, that no operator comes to. One has written down `tenants` for them, `age` ago.
    ///
    /// # Panics
    ///
    /// When that can't be written down anew.
    pub async fn start_on_their_own(count: usize, tenants: &[Tenant], age: Duration) -> Self {
        let redis = Redis::start().await;
        let url = redis.url();
        let mut fleet = Self { redis: Some(redis), ..Self::prepare(url, count).await };
        boot::write(&fleet.folder.path().join("boot"), tenants, age);
        for number in 0..count {
            fleet.start_server(number).await;
        }
        fleet
    }

    /// Programs every server that runs with exactly `tenants`, and those that are started later, too.
    pub async fn push(&mut self, tenants: &[Tenant]) {
        self.program(tenants);
        for server in self.running() {
            server.push(&self.tenants).await;
        }
    }

    /// What servers have mounted: the files of their certificates.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Who signed the certificates that the servers were started with.
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// Gives every server a certificate that `authority` signs, and has them believe `believed`. They take it up when they look.
    pub fn certify_servers(&self, authority: &Authority, believed: &[&Authority]) {
        authority.write_for_server_that_believes(believed, self.folder.path());
    }

    /// Gives the operator a certificate that `authority` signs, and has it believe `believed`.
    pub fn certify_operator(&mut self, authority: &Authority, believed: &[&Authority]) {
        for server in &mut self.servers {
            server.certify_operator(authority, believed);
        }
    }

    /// The certificates that every server that runs says are in force.
    pub async fn certificates(&self) -> Vec<CertificatesInForce> {
        let mut certificates = Vec::new();
        for server in self.running() {
            certificates.push(server.certificates().await);
        }
        certificates
    }

    fn program(&mut self, tenants: &[Tenant]) {
        self.tenants = tenants.iter().map(Tenant::compile).collect();
    }

    /// Ends a server as a crash of its node would: SIGKILL.
    pub async fn kill(&mut self, server: usize) {
        self.servers[server].kill().await;
    }

    /// Asks a server to leave, as Kubernetes does: SIGTERM. Awaits that it has drained.
    pub async fn terminate(&mut self, server: usize) {
        self.servers[server].terminate().await;
    }

    /// Starts a server anew where it was, for an operator to program it.
    pub async fn restart_for_an_operator(&mut self, server: usize) {
        self.start_server(server).await;
    }

    /// Starts a server anew where it was, and programs it.
    pub async fn restart(&mut self, server: usize) {
        self.start_server(server).await;
        self.servers[server].push(&self.tenants).await;
    }

    async fn start_server(&mut self, server: usize) {
        let Self { redis_url, host, authority, servers, folder, .. } = self;
        servers[server].start(folder.path(), *host, authority, redis_url).await;
    }

    /// Pauses a server: SIGSTOP. Its sockets stay open, and nobody answers.
    pub async fn stop(&mut self, server: usize) {
        self.servers[server].stop().await;
    }

    /// Lets a paused server go on: SIGCONT.
    pub async fn cont(&mut self, server: usize) {
        self.servers[server].cont().await;
    }

    /// A server's process.
    ///
    /// # Panics
    ///
    /// When it is away.
    pub fn id(&self, server: usize) -> u32 {
        self.servers[server].id()
    }

    /// What a server runs, as it tells an operator.
    pub async fn state(&self, server: usize) -> State {
        self.servers[server].state().await
    }

    /// Where clients find a server. That stays, whatever happens to it.
    pub fn address(&self, server: usize) -> SocketAddr {
        self.servers[server].addresses().server
    }

    /// Where an operator finds a server.
    pub fn admin(&self, server: usize) -> SocketAddr {
        self.servers[server].addresses().admin
    }

    /// Where clients find all servers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.servers.len()).map(|server| self.address(server)).collect()
    }

    /// The value of a sample in the metrics of one server, as [`metrics::sum`] reads it.
    pub async fn metric(&self, server: usize, sample: &str) -> f64 {
        metrics::sum(&self.metrics(server).await, sample)
    }

    /// The metrics of one server.
    pub async fn metrics(&self, server: usize) -> String {
        let health = self.servers[server].addresses().health;
        http::request(health, hyper::Method::GET, "/metrics", &[], "").await.body
    }

    /// The sum of a sample over all servers that run.
    pub async fn metric_of_all(&self, sample: &str) -> f64 {
        let mut sum = 0.0;
        for server in self.running() {
            sum += self.metric(server.number(), sample).await;
        }
        sum
    }

    /// What the operator is told that a tenant uses: one report per server that runs and has something to tell.
    pub async fn usage(&self, tenant: &str) -> Vec<TenantUsage> {
        let mut reports = Vec::new();
        for server in self.running() {
            reports.extend(server.usage().await.tenants.into_iter().filter(|usage| usage.tenant_id.as_str() == tenant));
        }
        reports
    }

    /// Waits until the servers that run have so many connections of a tenant and so many rooms with members, and all of them know that.
    pub async fn uses(&self, limit: Duration, tenant: &str, connections: usize, rooms: usize) {
        let what = format!("every server knows of {connections} connections and {rooms} rooms of {tenant}");
        let expected = (connections as u64, rooms as u64);
        eventually_async(limit, &what, async || {
            let usage = self.usage(tenant).await;
            let here: u64 = usage.iter().map(|usage| usage.connections).sum();
            let known = |usage: &TenantUsage| usage.fleet.is_some_and(|fleet| (fleet.connections, fleet.rooms) == expected);
            if here == expected.0 && usage.iter().all(known) { Ok(()) } else { Err(usage) }
        })
        .await;
    }

    /// The Redis that was started with the fleet, to be killed, restarted or flushed.
    ///
    /// # Panics
    ///
    /// When the fleet was started on another.
    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("the fleet has a Redis of its own")
    }

    /// Waits until every server that runs has found its Redis.
    pub async fn is_one(&self) {
        let all = self.running().count();
        eventually_async(DEADLINE, "every server knows of all others", async || {
            let known = self.metric_of_all("carillon_fleet_pods").await;
            if known >= (all * all) as f64 { Ok(()) } else { Err((known, all)) }
        })
        .await;
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.runs())
    }
}
