//! Several fleets, and a pod that missed what happened before it started.

use carillon_tests::{
    client::{Client, Failure},
    cluster::{Team, Tenant, TenantClass},
    control_plane::{ControlPlane, SERVICE},
    tokens::token,
};
use serde_json::{Value, json};

use super::{SOON, leads, programmed};

/// The admin Service of the fleet `noisy`.
const NOISY: &str = "carillon-admin-noisy";

/// Awaits that this fleet carries the tenant alone, on all of its pods.
async fn carried(team: &Team<'_>, tenant: &Tenant, fleet: &str, summary: &str) {
    let expected = (json!(fleet), json!(summary), Value::Null);
    team.status(tenant, &format!("{summary} in fleet {fleet}"), |status, generation| {
        let told = &status["fleet"];
        status["observedGeneration"] == *generation
            && (told["name"].clone(), told["summary"].clone(), told["movingFrom"].clone()) == expected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn a_pod_that_starts_after_a_move_sends_no_client_away_for_good() {
    let mut plane = ControlPlane::start().await;
    plane.show_in(NOISY, 2, "pod-2", plane.ways[2].address()).await;
    let fleets = format!("default={SERVICE},noisy={NOISY}");
    let operator = plane.operator_with("first", &[("CARILLON_FLEETS", &fleets)]).await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let (tenant, other) = (team.tenant_of_id("acme", "acme").await, team.tenant_of_id("other", "other").await);
    let class = TenantClass::new(&plane.api, &json!({"fleet": "noisy"})).await;
    for tenant in [&tenant, &other] {
        carried(&team, tenant, "default", "2/2").await;
    }
    let knock = async |server: usize, tenant: &str| Client::attempt(plane.fleet.address(server), &token(tenant, 1)).await.err();
    assert_eq!((knock(0, "acme").await, knock(1, "acme").await), (None, None));

    team.change_only(&tenant, &json!({"className": class.name})).await;
    carried(&team, &tenant, "noisy", "1/1").await;
    assert_eq!((knock(2, "acme").await, knock(1, "acme").await), (None, Some(Failure::Unreachable)));
    // One process has never run it, and one is told by a leader that has never seen it there.
    plane.fleet.kill(0).await;
    plane.fleet.restart_for_an_operator(0).await;
    programmed(&plane, 0).await;
    operator.terminate().await;
    let operator = plane.operator_with("second", &[("CARILLON_FLEETS", &fleets)]).await;
    leads(&operator, SOON).await;
    team.change_only(&other, &json!({"quotas": {"connections": {"max": 7}}})).await;
    carried(&team, &other, "default", "2/2").await;
    let knock = async |server: usize, tenant: &str| Client::attempt(plane.fleet.address(server), &token(tenant, 1)).await.err();
    for server in [0, 1] {
        assert_eq!(knock(server, "acme").await, Some(Failure::Unreachable), "server {server}: its library tries again");
        assert_eq!(knock(server, "nobody").await, Some(Failure::Refused("Authentication error".to_owned())), "server {server}");
        assert_eq!(knock(server, "other").await, None, "server {server}");
    }
    assert_eq!(knock(2, "acme").await, None);
}
