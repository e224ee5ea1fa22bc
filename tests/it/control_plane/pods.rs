//! A pod is its UID and its server's process, not its address.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use carillon_tests::{
    client::Client,
    cluster::{SLOW, Team, condition, eventually},
    control_plane::{ControlPlane, NAMESPACE, SERVERS},
    tokens::token,
};
use serde_json::json;

use super::{SOON, clients, fleet, leads, limit, programmed};

/// Where nobody listens.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 78, 254, 1)), 9443);
/// So long a pod that was never heard may be starting.
const STARTING: Duration = Duration::from_secs(10);

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn a_pod_that_does_not_listen_yet_takes_no_tenant_out_of_force() {
    let plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let (tenant, quiet) = (team.tenant("acme").await, team.tenant("quiet").await);
    team.uses(&quiet, "0/1000").await;
    let before = plane.api.get(&quiet.path()).await.expect("it is there");

    let shown = Instant::now();
    plane.show(SERVERS, "pod-new", NOBODY).await;
    eventually(SOON, "it was tried", async || if operator.log().contains("pod has trouble") { Ok(()) } else { Err(()) }).await;
    limit(&team, &tenant, 7).await;
    let behind = ("3/4".to_owned(), vec![("server-3".to_owned(), "can't be reached".to_owned())]);
    // What changes waits for it; what was in force everywhere stays so, until it has had its time.
    team.status(&tenant, "one pod lacks it", |status, generation| status["observedGeneration"] == *generation && fleet(status) == behind)
        .await;
    let last = eventually(SLOW, "it has had its time", async || {
        let now = plane.api.get(&quiet.path()).await.expect("it is there");
        if now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"] { Err(now) } else { Ok(now) }
    })
    .await;
    assert!(shown.elapsed() >= STARTING, "after {:?}: {last}", shown.elapsed());
    assert_eq!((fleet(&last["status"]), &condition(&last["status"], "Programmed")["status"]), (behind, &json!("False")));

    let slice = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/server-{SERVERS}");
    plane.api.delete(&slice).await;
    team.in_force(&tenant).await;
    team.in_force(&quiet).await;
}
