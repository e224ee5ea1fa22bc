//! What is promised when the operator's surroundings fail: the API server, the way to a pod, a pod's address, the clock. `make
//! e2e-control-plane` runs these stories.

mod api_server;
mod clocks;
mod fleets;
mod pods;
mod pushes;
mod refusals;

use std::time::Duration;

use carillon_tests::{
    client::Client,
    cluster::{SLOW, Team, Tenant, eventually},
    control_plane::{ControlPlane, SERVERS},
    operator::Operator,
    tokens::token,
};
use serde_json::{Value, json};

/// What must happen at once, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// One client of `tenant` on every server.
async fn clients(plane: &ControlPlane, tenant: &Tenant) -> Vec<Client> {
    let mut clients = Vec::new();
    for server in 0..SERVERS {
        clients.push(Client::connect(plane.fleet.address(server), &token(&tenant.id, server)).await);
    }
    clients
}

/// Publishes through the first server, and everyone hears it, and nothing before it.
async fn all_hear(plane: &ControlPlane, tenant: &Tenant, clients: &mut [Client], news: Value) {
    carillon_tests::cluster::publish(plane.fleet.address(0), tenant, "news", &news).await;
    for client in clients {
        assert_eq!(client.expect("news").await, news);
    }
}

/// Lets one tenant have so many connections, and awaits nothing.
async fn limit(team: &Team<'_>, tenant: &Tenant, connections: usize) {
    team.change_only(tenant, &json!({"quotas": {"connections": {"max": connections}}})).await;
}

/// What the status says of the fleet: `2/3`, and who lags for what reason.
fn fleet(status: &Value) -> (String, Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lagging = status["fleet"]["lagging"].as_array().into_iter().flatten();
    (text(&status["fleet"]["summary"]), lagging.map(|pod| (text(&pod["pod"]), text(&pod["reason"]))).collect())
}

/// Awaits that a server that was started anew has been programmed. Without news from the API server the operator tries again after a wait that
/// has grown with the time that it was away.
async fn programmed(plane: &ControlPlane, server: usize) {
    eventually(SLOW, "the new process is programmed", async || match plane.fleet.metric(server, "carillon_config_tenants").await {
        tenants if tenants > 0.0 => Ok(()),
        tenants => Err(tenants),
    })
    .await;
}

/// Awaits that `operator` leads.
async fn leads(operator: &Operator, limit: Duration) {
    eventually(limit, "it leads", async || if operator.leads().await { Ok(()) } else { Err(()) }).await;
}
