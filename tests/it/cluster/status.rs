//! `carillon status` over the release: what people are told of every tenant on every pod.

use std::{os::unix::fs::symlink, process::Output};

use carillon_tests::{
    cluster::{NAMESPACE, OPERATORS, Release, SLOW, Team, eventually, kubectl},
    command::{binary, run},
    folder::Folder,
};
use serde_json::{Value, json};
use tokio::process::Command;

/// What `carillon status` exits with when something is not in sync.
const NOT_IN_SYNC: Option<i32> = Some(3);

async fn status(arguments: &[&str]) -> Output {
    run(&[&["status"], arguments].concat()).await
}

/// What it prints when it ends well.
async fn told(arguments: &[&str]) -> String {
    let output = status(arguments).await;
    assert!(output.status.success(), "{output:?}");
    text(&output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn holds(text: &str, parts: &[&str]) {
    let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
    assert!(missing.is_empty(), "{missing:?} not in:\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn people_see_every_tenant_on_every_pod_and_which_one_is_behind() {
    let release = Release::ready().await;
    let pods = release.servers_ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let leader = release.operator().await;
    let name = format!("{}/{}", team.namespace, tenant.name);
    let names: Vec<_> = pods.iter().map(|pod| pod.name.as_str()).collect();

    let all = told(&["-n", &team.namespace, "--exit-code"]).await;
    holds(&all, &["The one tenant is in sync on all 3 server pods", &leader.name, &name, "SYNCED", "3/3"]);
    holds(&all, &names);
    assert!(!all.contains('\u{1b}'), "no colours but on a terminal: {all:?}");

    let cut = release.cut(&pods[0]).await;
    team.change_only(&tenant, &json!({"quotas": {"connections": {"max": 7}}})).await;
    let behind = eventually(SLOW, "one pod is behind, and it is said why", async || {
        let document: Value = serde_json::from_str(&told(&[&name, "-o", "json"]).await).expect("it is JSON");
        let found = &document["tenants"][0];
        let stale = found["pods"].as_array().into_iter().flatten().find(|pod| pod["state"] == "STALE" && !pod["error"].is_null());
        stale.cloned().map(|stale| (document.clone(), stale)).ok_or(document)
    })
    .await;
    let (document, stale) = behind;
    let found = &document["tenants"][0];
    assert_eq!(
        (&document["schemaVersion"], &document["inSync"], &document["source"]["kind"]),
        (&json!(1), &json!(false), &json!("operator"))
    );
    assert_eq!((&found["state"], &found["syncedPods"], &found["eligiblePods"]), (&json!("STALE"), &json!(2), &json!(3)), "{document}");
    assert_eq!((&stale["pod"], &stale["error"]), (&json!(pods[0].name), &json!("can't be reached")), "{document}");
    assert_ne!(stale["version"], found["version"], "it runs what it had");
    let wanting = status(&["-n", &team.namespace, "--exit-code"]).await;
    assert_eq!(wanting.status.code(), NOT_IN_SYNC, "{wanting:?}");
    holds(&text(&wanting), &["1 of 1 tenants is not in sync", "STALE", "2/3", "TROUBLED", &format!("{}: can't be reached", pods[0].name)]);
    let late = status(&[&name, "--wait", "--timeout", "2s"]).await;
    assert_eq!(late.status.code(), NOT_IN_SYNC, "{late:?}");
    holds(&told(&["--pod", &pods[0].name, "-n", &team.namespace]).await, &["0/1", &pods[0].name]);
    holds(&told(&["--pod", &pods[1].name, "-n", &team.namespace]).await, &["1/1", &pods[1].name]);

    cut.mend().await;
    holds(&told(&[&name, "--wait", "--timeout", "90s"]).await, &[&format!("{name} is SYNCED"), "connections.max", "the tenant"]);

    let folder = Folder::new("plugin");
    symlink(binary().await, folder.path().join("kubectl-carillon")).expect("the test's folder takes links");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let plugin = Command::new("kubectl").args(["carillon", "status", "-n", &team.namespace]).env("PATH", path).output().await;
    holds(&text(&plugin.expect("kubectl runs")), &["The one tenant is in sync on all 3 server pods"]);

    let change = format!("{}@{}", tenant.id, found["version"].as_str().unwrap_or_default());
    let log = kubectl(&["--namespace", NAMESPACE, "logs", &leader.name]).await;
    let steps: Vec<Value> = log.lines().filter(|line| line.contains(&change)).filter_map(|line| serde_json::from_str(line).ok()).collect();
    let told_of: Vec<_> = steps.iter().filter_map(|step| step["message"].as_str()).collect();
    assert_eq!(told_of.iter().filter(|step| **step == "pushed").count(), 3, "{told_of:?}");
    for step in ["tenant compiled", "publishing", "acknowledged by every pod", "status says Programmed"] {
        assert!(told_of.contains(&step), "{step} not among {told_of:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn without_the_operator_the_resources_tell_what_they_know() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    release.scale_operator(0).await;
    let all = told(&["-n", &team.namespace]).await;
    release.scale_operator(OPERATORS).await;
    holds(&all, &["as the resources' status told last", "no pod of the operator runs", &tenant.name, "SYNCED", "3/3"]);
    release.operator().await;
}
