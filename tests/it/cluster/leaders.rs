//! Of the operator's replicas one leads. Another follows it, whatever becomes of it, and it never undoes what that one did.

use std::time::{Duration, Instant};

use carillon_tests::{
    cluster::{Credentials, NAMESPACE, OPERATORS, Release, SLOW, Team, eventually, kubectl},
    operator::Operator,
};
use serde_json::{Value, json};

use super::{Bystanders, SOON};

/// How long a Lease lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(60);

/// The epoch of the one who holds the Lease.
async fn epoch(release: &Release) -> u64 {
    release.lease().await["leaseTransitions"].as_u64().expect("a Lease counts") + 1
}

/// Awaits that `operator` leads, and gives how long that took.
async fn leads(operator: &Operator) -> Duration {
    let start = Instant::now();
    eventually(SLOW, "it leads", async || if operator.leads().await { Ok(()) } else { Err(operator.log()) }).await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn one_replica_leads_and_hands_over_when_it_goes() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;

    let leader = release.operator().await;
    let [follower] = &release.standing_by().await[..] else { panic!("{OPERATORS} replicas, one of which leads") };
    assert_ne!(follower.node, leader.node, "no node takes both away");
    assert!(follower.ready, "one that stands by is ready, too");
    assert_eq!(follower.metric("carillon_operator_pushes_total").await, 0.0);
    assert_eq!(follower.metric("carillon_operator_status_writes_total").await, 0.0);
    assert!(follower.metric(r#"carillon_operator_reconciles_total{outcome="changed"}"#).await > 0.0, "it knows what it would push");
    assert_eq!(release.lease().await["holderIdentity"], leader.name.as_str());
    let before = (epoch(&release).await, release.api.get(&tenant.path()).await.expect("the tenant is there"));

    kubectl(&["--namespace", NAMESPACE, "delete", "pod", &leader.name, "--wait=false"]).await;
    // Most often the one that stood by; the pod that comes in place of the old one may be as quick.
    let follower = eventually(SOON, "another leads", async || {
        let holder = release.lease().await["holderIdentity"].clone();
        match release.running().await.into_iter().find(|pod| pod.name != leader.name && holder == pod.name.as_str()) {
            Some(pod) if pod.leads().await => Ok(pod),
            other => Err((holder, other)),
        }
    })
    .await;
    assert_eq!(epoch(&release).await, before.0 + 1);
    eventually(SOON, "it knows every pod, and every pod knows of it", async || {
        let seen = follower.metric(r#"carillon_operator_pods{fleet="default",state="programmed"}"#).await;
        let told = follower.metric("carillon_operator_pushes_total").await;
        if (seen, told) == (3.0, 3.0) { Ok(()) } else { Err((seen, told)) }
    })
    .await;
    let after = release.api.get(&tenant.path()).await.expect("the tenant is there");
    assert_eq!(after["metadata"]["resourceVersion"], before.1["metadata"]["resourceVersion"], "nothing to say, nothing written");
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 7}}})).await;

    // Its process dies without a word: the kubelet starts another in the same pod, and it needn't wait for its own Lease.
    follower.crash().await;
    eventually(SLOW, "it leads again", async || {
        let leader = release.operator().await;
        if leader.restarts > follower.restarts || leader.uid != follower.uid { Ok(()) } else { Err(leader) }
    })
    .await;
    assert_eq!(epoch(&release).await, before.0 + 2);
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 9}}})).await;
    bystanders.are_undisturbed().await;
    release.all_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_paused_leader_is_followed_and_finds_that_out_when_it_wakes() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    release.scale_operator(0).await;
    assert_eq!(release.lease().await["holderIdentity"], "", "whoever goes lets go");

    let credentials = Credentials::of(&release).await;
    let first = credentials.start("first").await;
    assert!(leads(&first).await < SOON);
    let second = credentials.start("second").await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 5}}})).await;
    let before = epoch(&release).await;

    first.pause().await;
    let waited = leads(&second).await;
    assert!(waited <= LEASE + SOON, "{waited:?}");
    assert_eq!(epoch(&release).await, before + 1);
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 6}}})).await;
    let said = release.api.get(&tenant.path()).await.expect("the tenant is there");

    // The change comes while it is on its way back: if it thought that it leads, it would push now.
    first.resume().await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 7}}})).await;
    eventually(SOON, "it has seen that it leads no more", async || if first.leads().await { Err(first.log()) } else { Ok(()) }).await;
    assert!(second.leads().await, "{}", second.log());
    assert_eq!(epoch(&release).await, before + 1);
    let status = |object: &Value| object["status"]["configVersion"].clone();
    let now = release.api.get(&tenant.path()).await.expect("the tenant is there");
    assert_ne!(status(&now), status(&said));
    // The second goes on, and when it goes the first follows.
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 8}}})).await;
    second.terminate().await;
    assert!(leads(&first).await < SOON);
    assert_eq!(epoch(&release).await, before + 2);
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 9}}})).await;

    first.terminate().await;
    bystanders.are_undisturbed().await;
    release.scale_operator(OPERATORS).await;
    release.operator().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_leader_that_a_pod_refuses_as_too_late_stops_at_once_and_comes_back_after_the_other() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    release.scale_operator(0).await;
    let credentials = Credentials::of(&release).await;
    let operator = credentials.start("alone").await;
    leads(&operator).await;

    // As when the Lease was deleted and counts anew, or when a leader has slept through all of its successor's time.
    let later = epoch(&release).await + 10;
    credentials.claim(&pods[0], later).await;
    team.change(&tenant, &json!({"quotas": {"connections": {"max": 7}}})).await;
    let log = operator.log();
    assert!(log.contains("a later leader has pushed to the pod") && log.contains("leads no more"), "{log}");
    assert!(operator.leads().await, "nobody else wants to");
    assert_eq!(epoch(&release).await, later + 1);

    operator.terminate().await;
    bystanders.are_undisturbed().await;
    release.scale_operator(OPERATORS).await;
    release.operator().await;
}
