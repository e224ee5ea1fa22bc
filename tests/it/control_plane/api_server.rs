//! The API server goes, comes back, and has forgotten what the operator had seen.

use std::time::{Duration, Instant};

use carillon_tests::{
    client::Client,
    cluster::{SLOW, Team, eventually},
    control_plane::ControlPlane,
    tokens::token,
};
use serde_json::json;
use tokio::time::sleep;

use super::{SOON, all_hear, clients, leads, limit, programmed};

/// Between two publications of steady traffic.
const PACE: Duration = Duration::from_millis(50);
/// How long it is away: longer than a leader may lead that can't renew its Lease.
const AWAY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn for_a_minute_without_the_api_server_nothing_changes_for_clients() {
    let mut plane = ControlPlane::start().await;
    let (first, second) = (plane.operator("first").await, plane.operator("second").await);
    let team = Team::new(&plane.api).await;
    let (tenant, quiet) = (team.tenant("acme").await, team.tenant("quiet").await);
    let mut members = clients(&plane, &tenant).await;
    // What it uses is told a moment after it is in force, when every server was asked. From then on there is nothing to tell.
    team.uses(&quiet, "0/1000").await;
    let before = plane.api.get(&quiet.path()).await.expect("it is there");

    let gone = Instant::now();
    plane.server.kill().await;
    // The leader still knows what everyone should run, so that a server may even start anew.
    let lost = members.remove(2);
    plane.fleet.kill(2).await;
    drop(lost);
    plane.fleet.restart_for_an_operator(2).await;
    programmed(&plane, 2).await;
    members.push(Client::connect(plane.fleet.address(2), &token(&tenant.id, 2)).await);
    let mut said = 0;
    while gone.elapsed() < AWAY {
        all_hear(&plane, &tenant, &mut members, json!({"number": said})).await;
        said += 1;
        sleep(PACE).await;
        if gone.elapsed() > AWAY * 9 / 10 {
            let leading = (first.leads().await, second.leads().await);
            assert_eq!(leading, (false, false), "nobody leads who can't renew the Lease");
        }
    }

    plane.server.restart().await;
    limit(&team, &tenant, 7).await;
    team.in_force(&tenant).await;
    eventually(SLOW, "one of them leads", async || match (first.leads().await, second.leads().await) {
        (true, false) | (false, true) => Ok(()),
        other => Err(other),
    })
    .await;
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
    let after = plane.api.get(&quiet.path()).await.expect("it is there");
    assert_eq!(after["status"], before["status"], "nothing has changed");
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "nothing to say, nothing written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn what_was_compacted_away_meanwhile_is_found_by_listing_anew() {
    let mut plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let (tenant, leaving) = (team.tenant("acme").await, team.tenant("leaving").await);
    let mut members = clients(&plane, &tenant).await;

    operator.pause().await;
    limit(&team, &tenant, 8).await;
    plane.api.delete(&leaving.path()).await;
    let newcomer = team.tenant_of_id("newcomer", "newcomer").await;
    // Its own memory of what happened goes with the API server's process, and etcd's by compaction: a watch from before can't go on.
    plane.server.compact().await;
    plane.server.restart().await;
    operator.resume().await;

    team.in_force(&tenant).await;
    team.in_force(&newcomer).await;
    eventually(SLOW, "the deleted object is gone", async || plane.api.get(&leaving.path()).await.map_or(Ok(()), Err)).await;
    let log = operator.log();
    assert!(log.contains("watch interrupted") && log.contains("too old resource version"), "{log}");
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
    let refused = Client::try_connect(plane.fleet.address(0), &token(&leaving.id, 1)).await.err();
    assert_eq!(refused.as_deref(), Some("Authentication error"));
}
