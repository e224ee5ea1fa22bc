//! A pod that refuses a tenant. What the operator compiles, a server of its own version takes: something must happen on the way.

use carillon_tests::{
    client::Client,
    cluster::{Team, condition},
    command::run,
    control_plane::{ControlPlane, Fault, SERVERS},
    tokens::token,
};
use serde_json::{Value, json};

use super::{SOON, all_hear, clients, fleet, leads, limit};

/// What `carillon status` exits with when something is not in sync.
const NOT_IN_SYNC: Option<i32> = Some(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a network of its own: make e2e-control-plane"]
async fn a_refused_tenant_is_told_of_keeps_what_it_had_and_holds_up_no_other() {
    let plane = ControlPlane::start().await;
    let operator = plane.operator("alone").await;
    leads(&operator, SOON).await;
    let team = Team::new(&plane.api).await;
    let (tenant, other) = (team.tenant("acme").await, team.tenant("other").await);
    let mut members = clients(&plane, &tenant).await;
    let (kubeconfig, address) = (plane.server.kubeconfig().display().to_string(), operator.status_address().to_string());
    let told =
        async |arguments: &[&str]| run(&[&["status", "--kubeconfig", &kubeconfig, "--operator", &address], arguments].concat()).await;
    let name = format!("{}/{}", team.namespace, tenant.name);

    plane.ways[1].suffers(Fault::Damaged("acme"));
    limit(&team, &tenant, SERVERS + 1).await;
    let status = team
        .status(&tenant, "the pod that refuses it is named", |status, generation| {
            let refused = ("server-1".to_owned(), "refused spec.auth.jwt.keys[0]".to_owned());
            status["observedGeneration"] == *generation && fleet(status) == ("2/3".to_owned(), vec![refused])
        })
        .await;
    assert_eq!(status["fleet"]["rejected"], 1, "{status}");
    for kind in ["Programmed", "Ready"] {
        assert_eq!(
            (&condition(&status, kind)["status"], &condition(&status, kind)["reason"]),
            (&json!("False"), &json!("Rejected")),
            "{status}"
        );
    }
    assert_eq!(condition(&status, "Accepted")["status"], "True", "the resource is well: {status}");
    let warning = team.warns(&tenant, "Rejected").await;
    assert!(warning.contains("spec.auth.jwt.keys[0]"), "{warning}");

    // People are told the same, and pipelines.
    let all = told(&["-n", &team.namespace, "--exit-code"]).await;
    let text = String::from_utf8_lossy(&all.stdout).into_owned();
    assert_eq!(all.status.code(), NOT_IN_SYNC, "{all:?}");
    for part in ["1 of 2 tenants is not in sync", "REJECTED", "2/3", "server-1", "spec.auth.jwt.keys[0]"] {
        assert!(text.contains(part), "{part} not in:\n{text}");
    }
    let one = told(&[&name, "-o", "json"]).await;
    let one: Value = serde_json::from_slice(&one.stdout).expect("it is JSON");
    let found = &one["tenants"][0];
    let cell = found["pods"].as_array().into_iter().flatten().find(|pod| pod["pod"] == "server-1").expect("every pod is told of");
    assert_eq!((&found["state"], &cell["state"]), (&json!("REJECTED"), &json!("REJECTED")), "{one}");
    assert_ne!(cell["version"], found["version"], "it runs what it had: {one}");

    // It is not pushed again and again, what it had is served, and others go on, on that pod, too.
    let before = plane.ways[1].pushes();
    limit(&team, &other, 50).await;
    team.in_force(&other).await;
    assert_eq!(plane.ways[1].pushes(), before + 1);
    all_hear(&plane, &tenant, &mut members, json!("meanwhile")).await;
    members.push(Client::connect(plane.fleet.address(1), &token(&tenant.id, "one more")).await);

    plane.ways[1].suffers(Fault::None);
    limit(&team, &tenant, SERVERS + 2).await;
    team.in_force(&tenant).await;
    let all = told(&["-n", &team.namespace, "--exit-code"]).await;
    assert!(all.status.success(), "{all:?}");
    all_hear(&plane, &tenant, &mut members, json!("after")).await;
}
