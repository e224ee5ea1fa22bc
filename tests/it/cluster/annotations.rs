//! What people tell the operator by annotation: pause, sync, and that most tenants are to go.

use carillon_tests::cluster::{NAMESPACE, Release, SLOW, Team, Tenant, connect_to_each, eventually, refused_by_each};
use serde_json::{Value, json};

use super::{Bystanders, token};

/// So many tenants, with a bystander, that the fuse blows when they go.
const MOST: usize = 12;

async fn annotate(release: &Release, path: &str, name: &str, value: Value) {
    release.api.patch(path, &json!({"metadata": {"annotations": {name: value}}})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_paused_tenant_stays_as_it_is_until_it_is_resumed() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    annotate(&release, &tenant.path(), "carillon.dev/paused", json!("true")).await;
    team.says(&tenant, "Ready", "True", "Paused").await;

    team.change_only(&tenant, &json!({"suspended": true})).await;
    team.says(&tenant, "Ready", "False", "Paused").await;
    assert!(connect_to_each(&pods, &token(&tenant.id, 1)).await.iter().all(Result::is_ok), "it is served as before");

    annotate(&release, &tenant.path(), "carillon.dev/paused", Value::Null).await;
    team.says(&tenant, "Ready", "True", "Suspended").await;
    refused_by_each(&pods, &token(&tenant.id, 1), "Tenant suspended: tenant_suspended").await;

    annotate(&release, &tenant.path(), "carillon.dev/paused", json!("true")).await;
    team.delete(&tenant).await;
    refused_by_each(&pods, &token(&tenant.id, 1), "Authentication error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_sync_is_told_when_every_pod_has_acknowledged_it() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    for value in ["once", "twice"] {
        annotate(&release, &tenant.path(), "carillon.dev/sync", json!(value)).await;
        team.status(&tenant, "synced", |status, _| status["observedSync"] == value).await;
    }
    team.in_force(&tenant).await;
    let synced =
        team.events(&tenant).await.into_iter().filter(|(kind, reason, _)| (kind.as_str(), reason.as_str()) == ("Normal", "Synced"));
    assert_eq!(synced.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn most_tenants_go_only_when_someone_says_that_it_is_meant() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let mut tenants = Vec::new();
    for number in 0..MOST {
        let name = format!("tenant-{number}");
        tenants.push(team.tenant_of_id(&name, &format!("{name}-{}", team.namespace)).await);
    }
    for tenant in &tenants {
        team.in_force(tenant).await;
    }
    let served = async |tenant: &Tenant| connect_to_each(&pods, &token(&tenant.id, 1)).await.iter().all(Result::is_ok);

    for tenant in &tenants {
        release.api.delete(&tenant.path()).await;
    }
    // Said anew until it is right: while tenants still go, the code changes.
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/carillon-operator");
    let told = eventually(SLOW, "a Warning about the Lease", async || blown(&release).await.ok_or(())).await;
    assert!(told.contains("server pods keep"), "{told}");
    assert!(served(&tenants[MOST - 1]).await || served(&tenants[0]).await, "half of them may have gone before it blew");

    eventually(SLOW, "they are gone when that was said", async || {
        let told = blown(&release).await.ok_or(())?;
        let code = told.rsplit('=').next().unwrap_or_default();
        annotate(&release, &lease, "carillon.dev/remove-tenants", json!(code)).await;
        let mut left = Vec::new();
        for tenant in &tenants {
            if connect_to_each(&pods, &token(&tenant.id, 1)).await.iter().any(Result::is_ok) {
                left.push(tenant.id.clone());
            }
        }
        if left.is_empty() { Ok(()) } else { Err(()) }
    })
    .await;
    bystanders.are_undisturbed().await;
}

/// What the Lease's latest Warning says.
async fn blown(release: &Release) -> Option<String> {
    let events = release.api.list(&format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")).await;
    let blown = events.iter().filter(|event| event["reason"] == "FuseBlown" && event["regarding"]["name"] == "carillon-operator");
    let latest = blown.max_by_key(|event| event["eventTime"].as_str().unwrap_or_default().to_owned())?;
    latest["note"].as_str().map(str::to_owned)
}
