//! A pod is its UID and its server's process, not its address.

use carillon_tests::{
    client::Client,
    cluster::Team,
    control_plane::{ControlPlane, SERVERS},
    tokens::token,
};
use serde_json::json;

use super::{SOON, clients, leads, limit, programmed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn a_new_pod_at_an_old_address_is_programmed_from_nothing() {
    let mut plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let tenant = team.tenant("acme").await;

    // Kubernetes is slower than the new process: it is still shown as the pod that was there before.
    plane.fleet.kill(0).await;
    plane.fleet.restart_for_an_operator(0).await;
    programmed(&plane, 0).await;
    limit(&team, &tenant, 50).await;
    team.in_force(&tenant).await;

    // And now the other way round: the pod is another, at the address of the one before, whose process is still the same.
    plane.show(0, "another-pod", plane.ways[0].address()).await;
    limit(&team, &tenant, 51).await;
    team.in_force(&tenant).await;
    assert!(operator.log().contains("server pod appeared"));

    // The third: two pods swap their addresses, and each gets what the other had.
    plane.show(1, "pod-1", plane.ways[2].address()).await;
    plane.show(2, "pod-2", plane.ways[1].address()).await;
    limit(&team, &tenant, SERVERS).await;
    team.in_force(&tenant).await;
    let _members = clients(&plane, &tenant).await;
    for server in 0..SERVERS {
        let refused = Client::try_connect(plane.fleet.address(server), &token(&tenant.id, server)).await;
        assert_eq!(refused.err().as_deref(), Some("Quota exceeded: connections_max"), "on server {server}");
    }
    let status = plane.api.get(&tenant.path()).await.expect("it is there")["status"].take();
    assert_eq!(status["fleet"]["lagging"], json!(null), "{status}");
}
