//! Stories on a real Kubernetes, over the chart as it is installed. `make e2e-cluster` runs them, one after the other.

mod annotations;
mod certificates;
mod changes;
mod classes;
mod definition;
mod failures;
mod fleets;
mod generated;
mod install;
mod keys;
mod leaders;
mod status;
mod upgrade;

use std::{net::SocketAddr, time::Duration};

use carillon_tests::{
    client::Client,
    cluster::{self, Pod, Release, Team, Tenant},
    driver::{Driver, Socket},
    node,
    tokens::token,
};
use serde_json::json;

/// What must happen at once, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// Clients of another tenant, one on every pod: whatever a story does, they stay, and go on hearing their tenant.
struct Bystanders<'a> {
    tenant: Tenant,
    sockets: Vec<(Pod, Socket)>,
    _driver: Driver,
    _team: Team<'a>,
}

impl<'a> Bystanders<'a> {
    async fn on(release: &'a Release, pods: &[Pod]) -> Self {
        let team = Team::new(&release.api).await;
        let tenant = team.tenant("bystander").await;
        let driver = node::start().await;
        let mut sockets = Vec::new();
        for (number, pod) in pods.iter().enumerate() {
            let options = json!({"transports": [if number % 2 == 0 { "websocket" } else { "polling" }]});
            let mut socket = driver.open(&pod.url(), Some(&token(&tenant.id, number)), &options);
            socket.expect("connect").await;
            sockets.push((pod.clone(), socket));
        }
        Self { tenant, sockets, _driver: driver, _team: team }
    }

    /// Nobody was disconnected, and what is published through any pod still reaches everyone.
    async fn are_undisturbed(&mut self) {
        let entries: Vec<SocketAddr> = self.sockets.iter().map(|(pod, _)| pod.http()).collect();
        self.are_undisturbed_and_hear(&entries).await;
    }

    /// The same, but published only through `entries`.
    async fn are_undisturbed_and_hear(&mut self, entries: &[SocketAddr]) {
        for entry in entries {
            let news = json!({"through": entry});
            cluster::publish(*entry, &self.tenant, "still:here", &news).await;
            for (pod, socket) in &mut self.sockets {
                assert_eq!(socket.expect("still:here").await, news, "on {}", pod.name);
            }
        }
        for (pod, socket) in &self.sockets {
            assert_eq!((socket.count("connect"), socket.count("disconnect")), (1, 0), "on {}: {:?}", pod.name, socket.heard());
        }
    }
}

/// Publishes an event through `entry` and awaits it on every client, each of which hears nothing else before.
async fn all_hear<'a>(clients: impl IntoIterator<Item = &'a mut Client>, entry: SocketAddr, tenant: &Tenant, event: &str) {
    let data = json!({"through": entry});
    cluster::publish(entry, tenant, event, &data).await;
    for client in clients {
        assert_eq!(client.expect(event).await, data);
    }
}
