//! A fleet of their own for noisy tenants.

use carillon_tests::{
    client::{Client, End, Failure},
    cluster::{NAMESPACE, Release, SLOW, Team, TenantClass, clients_on_each, connect_to_each, eventually, kubectl},
    command::run,
    tokens::token,
};
use serde_json::{Value, json};

use super::{Bystanders, all_hear};

/// What `carillon status` tells of one tenant.
async fn told(name: &str) -> Value {
    let output = run(&["status", name, "-o", "json"]).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_class_moves_its_tenants_to_another_fleet_and_back() {
    let release = Release::ready().await;
    release.install(&["fleets.noisy.replicas=1"]).await;
    let noisy = release.other_fleets_ready(1).await;
    let pods = release.all_ready().await;
    let mut bystanders = Bystanders::on(&release, &pods[1..]).await;
    let class = TenantClass::new(&release.api, &json!({})).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.change(&tenant, &json!({"className": class.name})).await;
    let name = format!("{}/{}", team.namespace, tenant.name);
    let clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    assert!(connect_to_each(&noisy, &token(&tenant.id, 1)).await.iter().all(Result::is_err), "it is not there");

    class.change(&json!({"fleet": "noisy"})).await;
    team.status(&tenant, "carried by the noisy fleet alone", |status, _| {
        let fleet = &status["fleet"];
        fleet["name"] == "noisy" && fleet["summary"] == "1/1" && fleet["movingFrom"].is_null()
    })
    .await;
    for mut client in clients {
        assert_eq!(client.stay().await, End::Transport, "its library tries again");
    }
    let mut moved = clients_on_each(&noisy, &token(&tenant.id, 1)).await;
    all_hear(&mut moved, noisy[0].http(), &tenant, "record:created").await;
    let document = told(&name).await;
    let found = &document["tenants"][0];
    assert_eq!((&found["fleet"], &found["eligiblePods"], &found["syncedPods"]), (&json!("noisy"), &json!(1), &json!(1)), "{document}");
    assert_eq!(found["pods"][0]["pod"], noisy[0].name.as_str(), "{document}");

    // A pod that starts now has never run it, and knows all the same that another fleet does.
    kubectl(&["--namespace", NAMESPACE, "delete", "pod", &pods[0].name, "--wait=false"]).await;
    let pods = eventually(SLOW, "another pod is ready instead", async || {
        let now = release.pods().await;
        let gone = now.iter().all(|pod| pod.uid != pods[0].uid);
        if gone && now.len() == pods.len() && now.iter().all(|pod| pod.ready) { Ok(now) } else { Err(now) }
    })
    .await;
    for pod in &pods {
        let refused = Client::attempt(pod.http(), &token(&tenant.id, 1)).await.err();
        assert_eq!(refused, Some(Failure::Unreachable), "{}: nobody is sent away for good", pod.name);
    }

    // A fleet that is not there takes nobody.
    class.change(&json!({"fleet": "nowhere"})).await;
    let message = class.says("False", "FleetNotFound").await;
    assert!(message.contains("\"nowhere\"") && message.contains("default, noisy"), "{message}");
    team.says(&tenant, "Accepted", "False", "FleetNotFound").await;
    all_hear(&mut moved, noisy[0].http(), &tenant, "record:created").await;

    class.change(&json!({"fleet": "default"})).await;
    team.in_force(&tenant).await;
    for mut client in moved {
        assert_eq!(client.stay().await, End::Transport);
    }
    eventually(SLOW, "every pod of the default fleet lets it in", async || {
        let outcomes = connect_to_each(&pods, &token(&tenant.id, 1)).await;
        outcomes.into_iter().collect::<Result<Vec<Client>, _>>().map(drop)
    })
    .await;
    bystanders.are_undisturbed().await;
}
