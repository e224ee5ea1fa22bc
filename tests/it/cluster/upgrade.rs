//! What an upgrade and an uninstallation leave as it was.

use carillon_tests::{
    cluster::{Release, Team, clients_on_each, kubectl, refused_by_each},
    tokens::token,
};
use serde_json::Value;

use super::all_hear;

const SECRETS: [&str; 3] = ["carillon-server-tls", "carillon-operator-tls", "carillon-session-key"];

async fn secrets(release: &Release) -> Vec<Value> {
    let mut secrets = Vec::new();
    for name in SECRETS {
        secrets.push(release.secret(name).await);
    }
    secrets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn an_upgrade_keeps_certificates_keys_and_tenants() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let before = (secrets(&release).await, release.pods().await);

    release.install(&[]).await;
    assert_eq!(release.all_ready().await, before.1, "an upgrade that changes nothing replaces nothing");
    release.install(&["server.podAnnotations.upgraded=yes", "operator.podAnnotations.upgraded=yes"]).await;
    let pods = release.all_ready().await;
    assert!(pods.iter().all(|pod| before.1.iter().all(|old| old.uid != pod.uid)), "every pod was replaced");
    assert!(secrets(&release).await == before.0, "the Secrets are as they were");
    team.in_force(&tenant).await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn uninstalling_keeps_the_definitions_and_every_tenant() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;

    release.uninstall().await;
    kubectl(&["get", "crd", "realtimetenants.carillon.dev", "realtimetenantclasses.carillon.dev"]).await;
    assert!(release.api.get(&tenant.path()).await.is_some(), "the tenant is still there");

    release.install(&[]).await;
    let pods = release.all_ready().await;
    team.in_force(&tenant).await;
    refused_by_each(&pods, "garbage", "Authentication error").await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    all_hear(&mut clients, pods[1].http(), &tenant, "record:created").await;
}
