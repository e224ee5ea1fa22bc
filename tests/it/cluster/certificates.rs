//! Certificates that the operator makes, and renews while changes go on.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use carillon_tenant::push::{CertificatesInForce, STATE_PATH, State};
use carillon_tests::{
    cluster::{Credentials, NAMESPACE, Pod, Release, Team, eventually, kubectl},
    metrics,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Bystanders;

const AUTHORITY: &str = "carillon-ca";
const SECRETS: [&str; 3] = [AUTHORITY, "carillon-server-tls", "carillon-operator-tls"];
/// Kubelets bring changed Secrets within a minute and a half, and are waited for twice.
const RENEWED: Duration = Duration::from_secs(600);

fn path(secret: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets/{secret}")
}

/// A file of a Secret; empty when it isn't there.
async fn file(release: &Release, secret: &str, name: &str) -> String {
    let data = release.secret(secret).await;
    let bytes = STANDARD.decode(data[name].as_str().unwrap_or_default()).expect("Secrets are base64");
    String::from_utf8(bytes).expect("PEM is text")
}

async fn files(release: &Release) -> BTreeMap<&'static str, String> {
    let mut files = BTreeMap::new();
    for (secret, name) in SECRETS.into_iter().zip(["ca.crt", "tls.crt", "tls.crt"]) {
        files.insert(secret, file(release, secret, name).await);
    }
    files
}

/// What each pod says of its certificates, asked with the operator's own.
async fn in_force(release: &Release, pods: &[Pod]) -> Vec<CertificatesInForce> {
    let operator = Credentials::of(release).await;
    let mut certificates = Vec::new();
    for pod in pods {
        let (client, base) = operator.admin_of(pod);
        let state = client.get(format!("{base}{STATE_PATH}")).send().await.expect("the pod takes the operator's certificate");
        let state: State = state.json().await.expect("it tells its state");
        certificates.extend(state.certificates);
    }
    certificates
}

/// Pushes that failed for their certificates' sake, on whichever replica leads.
async fn failed_by_tls(release: &Release) -> f64 {
    let mut sum = 0.0;
    for pod in release.running().await {
        let (_, text) = pod.health("/metrics").await.expect("the operator answers");
        sum += metrics::sum(&text, r#"carillon_operator_pushes_total{result="tls"}"#);
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn the_operator_makes_certificates_that_go_with_the_release() {
    let release = Release::ready().await;
    for secret in SECRETS {
        let object = release.api.get(&path(secret)).await.expect("the operator made it");
        let metadata = &object["metadata"];
        assert_eq!(metadata["ownerReferences"][0]["name"], "carillon-operator", "{secret}");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "carillon-operator", "{secret}");
    }
    assert!(file(&release, AUTHORITY, "ca.key").await.contains("PRIVATE KEY"));
    // A server's account has no way to it.
    let account = format!("system:serviceaccount:{NAMESPACE}:carillon-server");
    let answer = carillon_tests::cluster::run("kubectl", &["auth", "can-i", "get", "secrets", "-n", NAMESPACE, "--as", &account]).await;
    assert!(answer.is_err(), "{answer:?}");

    release.uninstall().await;
    eventually(carillon_tests::cluster::SLOW, "the Secrets go with the release", async || {
        let mut left = Vec::new();
        for secret in SECRETS {
            left.extend(release.api.get(&path(secret)).await.map(|_| secret));
        }
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    release.install(&[]).await;
    release.all_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn everything_is_renewed_while_changes_go_on_and_none_is_late() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let (before, in_force_before) = (files(&release).await, in_force(&release, &pods).await);
    let failed_before = failed_by_tls(&release).await;

    let asked = format!("carillon.dev/renew=story-{}", std::process::id());
    kubectl(&["--namespace", NAMESPACE, "annotate", "secret", AUTHORITY, "--overwrite", &asked]).await;
    let started = Instant::now();
    let mut changes = 0;
    let mut most_believed = 1;
    loop {
        // Each of them is Programmed, by every pod.
        changes += 1;
        team.change(&tenant, &json!({"quotas": {"connections": {"max": 100 + changes}}})).await;
        let now = files(&release).await;
        let believed = file(&release, "carillon-operator-tls", "ca.crt").await.matches("BEGIN CERTIFICATE").count();
        most_believed = most_believed.max(believed);
        let renewed = now.iter().all(|(secret, file)| before[secret] != *file);
        if renewed && believed == 1 && file(&release, AUTHORITY, "older.crt").await.is_empty() {
            break;
        }
        assert!(started.elapsed() < RENEWED, "{changes} changes; both are believed: {believed}");
    }
    assert_eq!(most_believed, 2, "the old one and the new one were believed for a time");
    eventually(RENEWED, "every pod has forgotten the old authority", async || {
        let now = in_force(&release, &pods).await;
        let changed = now
            .iter()
            .zip(&in_force_before)
            .all(|(now, before)| now.serving != before.serving && now.authorities.len() == 1 && now.authorities != before.authorities);
        if changed && now.len() == pods.len() { Ok(()) } else { Err(now) }
    })
    .await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 99}}})).await;
    assert!(changes > 10, "they went on meanwhile: {changes}");
    assert_eq!(failed_by_tls(&release).await, failed_before, "no push failed for its certificates' sake");
    assert_eq!(release.pods().await, pods, "and no pod was replaced, or started again");
    let metadata = release.api.get(&path(AUTHORITY)).await.map_or(Value::Null, |mut object| object["metadata"]["annotations"].take());
    assert_eq!(metadata["carillon.dev/renew"], metadata["carillon.dev/renewed"]);
    bystanders.are_undisturbed().await;
}
