//! Changes of a tenant: in force on every pod once the status says so, with no restart, and felt by nobody they don't concern.

use carillon_tests::{
    client::Client,
    cluster::{Pod, REPLICAS, Release, SLOW, Team, clients_on_each, connect_to_each, eventually, refused_by_each},
    tenants::secret_of,
    tokens::{claims, signed_by, token},
};
use serde_json::json;

use super::{Bystanders, SOON, all_hear};

/// No pod was replaced, and no container started again.
async fn no_restart_since(before: &[Pod], release: &Release) {
    let mut before: Vec<_> = before.iter().map(|pod| (pod.uid.clone(), pod.restarts)).collect();
    let mut after: Vec<_> = release.all_ready().await.into_iter().map(|pod| (pod.uid, pod.restarts)).collect();
    before.sort();
    after.sort();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_lower_limit_drops_nobody_and_refuses_the_next() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    clients.extend(clients_on_each(&pods, &token(&tenant.id, 2)).await);

    // As many as there are on all pods together, then fewer.
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 2 * pods.len()}}})).await;
    refused_by_each(&pods, &token(&tenant.id, 3), "Quota exceeded: connections_max").await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": pods.len()}}})).await;
    refused_by_each(&pods, &token(&tenant.id, 3), "Quota exceeded: connections_max").await;
    all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 3 * pods.len()}}})).await;
    clients.extend(clients_on_each(&pods, &token(&tenant.id, 3)).await);

    all_hear(&mut clients, pods[1].http(), &tenant, "record:created").await;
    bystanders.are_undisturbed().await;
    no_restart_since(&pods, &release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_tenant_at_its_limit_says_so_and_is_ready() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 3}}})).await;
    team.uses(&tenant, "0/3").await;
    team.says(&tenant, "QuotaSaturated", "False", "WithinLimits").await;

    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    let message = team.says(&tenant, "QuotaSaturated", "True", "ConnectionsMax").await;
    assert!(message.starts_with("spec.quotas.connections.max is reached: new connections are refused"), "{message}");
    team.uses(&tenant, "3/3").await;
    team.says(&tenant, "Ready", "True", "Ready").await;
    let note = team.warns(&tenant, "QuotaReached").await;
    assert!(note.starts_with("spec.quotas.connections.max (3) is reached"), "{note}");

    clients.pop();
    team.says(&tenant, "QuotaSaturated", "False", "WithinLimits").await;
    team.uses(&tenant, "2/3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_key_is_rotated_without_a_gap_and_then_gone_from_every_pod() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let by = |kid: &str, key: &str| signed_by(kid, &claims(&tenant.id, 1), secret_of(&tenant.id, key).as_bytes());
    let (old, new) = (by("old", "first"), by("new", "second"));

    team.change(&tenant, &json!({"auth": {"jwt": {"keys": [tenant.key(Some("old"), "first")]}}})).await;
    let mut of_old = clients_on_each(&pods, &old).await;
    refused_by_each(&pods, &new, "Authentication error").await;

    let both = [tenant.key(Some("old"), "first"), tenant.key(Some("new"), "second")];
    team.change(&tenant, &json!({"auth": {"jwt": {"keys": both}}})).await;
    of_old.extend(clients_on_each(&pods, &old).await);
    let mut of_new = clients_on_each(&pods, &new).await;
    all_hear(of_old.iter_mut().chain(&mut of_new), pods[1].http(), &tenant, "record:created").await;

    team.change(&tenant, &json!({"auth": {"jwt": {"keys": [tenant.key(Some("new"), "second")]}}})).await;
    refused_by_each(&pods, &old, "Authentication error").await;
    for client in &mut of_old {
        client.ends_within(SOON).await;
    }
    all_hear(&mut of_new, pods[2].http(), &tenant, "record:deleted").await;
    of_new.extend(clients_on_each(&pods, &new).await);

    bystanders.are_undisturbed().await;
    no_restart_since(&pods, &release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_suspended_tenant_is_closed_on_every_pod_until_it_is_not() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let driver = carillon_tests::node::start().await;
    let mut sockets = Vec::new();
    for pod in &pods {
        let mut socket = driver.open(&pod.url(), Some(&token(&tenant.id, 1)), &json!({}));
        socket.expect("connect").await;
        sockets.push(socket);
    }

    team.change(&tenant, &json!({"suspended": true})).await;
    for socket in &mut sockets {
        assert_eq!(socket.expect("disconnect").await, "io server disconnect", "which clients don't retry");
    }
    refused_by_each(&pods, &token(&tenant.id, 1), "Tenant suspended: tenant_suspended").await;
    let message = team.says(&tenant, "Ready", "True", "Suspended").await;
    assert!(message.contains("spec.suspended"), "{message}");

    team.change(&tenant, &json!({"suspended": false})).await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;

    bystanders.are_undisturbed().await;
    no_restart_since(&pods, &release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_deleted_tenant_is_gone_from_every_pod_before_its_object_is() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let mut clients: Vec<Client> = clients_on_each(&pods, &token(&tenant.id, 1)).await;

    team.delete(&tenant).await;
    refused_by_each(&pods, &token(&tenant.id, 1), "Authentication error").await;
    for client in &mut clients {
        client.ends_within(SOON).await;
    }

    let again = team.tenant("acme").await;
    assert_eq!(again.id, tenant.id, "the id is free again");
    assert!(connect_to_each(&pods, &token(&tenant.id, 1)).await.iter().all(Result::is_ok));

    bystanders.are_undisturbed().await;
    no_restart_since(&pods, &release).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_tenant_waits_for_no_fleet_that_is_not_there() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let (tenant, other) = (team.tenant("acme").await, team.tenant("globex").await);

    release.scale_servers(0).await;
    eventually(SLOW, "no server pod is left", async || match release.pods().await.len() {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
    team.says(&other, "Programmed", "False", "NoServers").await;
    // Sooner than the deadline after which an object goes whatever pods say.
    team.delete(&tenant).await;
    team.change_only(&other, &json!({"quotas": {"connections": {"max": 7}}})).await;

    release.scale_servers(REPLICAS).await;
    let pods = release.servers_ready().await;
    team.in_force(&other).await;
    clients_on_each(&pods, &token(&other.id, 1)).await;
    refused_by_each(&pods, &token(&tenant.id, 1), "Authentication error").await;
}
