//! What happens to pushes and their answers on the way.

use std::time::Duration;

use carillon_tests::{
    client::Client,
    cluster::{Team, eventually},
    control_plane::{ControlPlane, Fault, SERVERS},
    tokens::token,
};
use serde_json::json;

use super::{SOON, all_hear, clients, fleet, leads, limit};

/// How often something is changed that is pushed through trouble.
const CHANGES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn a_lost_acknowledgement_is_asked_for() {
    let plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    let team = Team::new(&plane.api).await;
    let tenant = team.tenant("acme").await;
    let mut members = clients(&plane, &tenant).await;

    plane.ways[1].suffers(Fault::AnswersLost);
    for connections in 0..CHANGES {
        limit(&team, &tenant, 100 + connections).await;
    }
    // The server runs it all the same, and says so when it is asked.
    team.in_force(&tenant).await;
    assert!(operator.metric(r#"carillon_operator_pushes_total{result="unreachable"}"#).await > Some(0.0));
    let before = plane.ways[1].pushes();
    plane.ways[1].suffers(Fault::None);
    limit(&team, &tenant, 7).await;
    team.in_force(&tenant).await;
    assert_eq!(plane.ways[1].pushes(), before + 1, "nothing is owed from before");
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn doubled_and_late_pushes_change_nothing() {
    let plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let tenant = team.tenant("acme").await;
    let mut members = clients(&plane, &tenant).await;

    plane.ways[0].suffers(Fault::Doubled);
    plane.ways[1].suffers(Fault::Reordered);
    for connections in 0..CHANGES {
        limit(&team, &tenant, 100 + connections).await;
        if connections % 4 == 0 {
            team.in_force(&tenant).await;
        }
    }
    limit(&team, &tenant, SERVERS).await;
    team.in_force(&tenant).await;
    for way in &plane.ways[..2] {
        let replays = way.replays();
        assert!(replays.len() >= 4, "{replays:?}");
    }
    assert!(plane.ways[1].replays().iter().all(|status| *status == 409), "{:?}", plane.ways[1].replays());
    // What servers run in the end is the last that was said: as many connections as there are.
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
    for server in 0..SERVERS {
        let refused = Client::try_connect(plane.fleet.address(server), &token(&tenant.id, "one too many")).await;
        assert_eq!(refused.err().as_deref(), Some("Quota exceeded: connections_max"), "on server {server}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn a_pod_that_answers_late_or_never_holds_up_nobody_else() {
    let plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let tenant = team.tenant("acme").await;
    let mut members = clients(&plane, &tenant).await;

    plane.ways[0].suffers(Fault::Silence);
    plane.ways[1].suffers(Fault::Slow(Duration::from_secs(2)));
    let before = [plane.ways[1].pushes(), plane.ways[2].pushes()];
    for connections in 0..CHANGES {
        let quick = plane.ways[2].pushes();
        limit(&team, &tenant, 100 + connections).await;
        eventually(SOON, "the third pod has it", async || if plane.ways[2].pushes() > quick { Ok(()) } else { Err(quick) }).await;
    }
    team.status(&tenant, "the two that answer have it, and the third is named", |status, generation| {
        status["observedGeneration"] == *generation
            && fleet(status) == ("2/3".to_owned(), vec![("server-0".to_owned(), "timed out".to_owned())])
    })
    .await;
    let [late, quick] = [plane.ways[1].pushes() - before[0], plane.ways[2].pushes() - before[1]];
    assert!(quick >= CHANGES && late * 3 < quick, "the slow one skips what came and went: {late} and {quick} pushes");

    plane.ways[0].suffers(Fault::None);
    plane.ways[1].suffers(Fault::None);
    team.in_force(&tenant).await;
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
}
