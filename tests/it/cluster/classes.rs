//! Classes: what they give, what they allow, and that whoever is refused keeps what it had.

use carillon_tests::{
    cluster::{Release, Team, TenantClass, clients_on_each, kubectl, refused_by_each},
    tokens::token,
};
use serde_json::{Value, json};

use super::{Bystanders, all_hear};

fn ceiling(max: u32) -> Value {
    json!({"ceilings": {"quotas": {"connections": {"max": max}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_tenant_beyond_its_class_keeps_what_it_had_until_the_class_is_raised() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let class = TenantClass::new(&release.api, &ceiling(3)).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.change(&tenant, &json!({"className": class.name, "quotas": {"connections": {"max": 3}}})).await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;

    team.change_only(&tenant, &json!({"quotas": {"connections": {"max": 6}}})).await;
    let message = team.says(&tenant, "Accepted", "False", "ExceedsClass").await;
    let expected = format!("spec.quotas.connections.max: 6 is more than RealtimeTenantClass {:?} allows: at most 3", class.name);
    assert_eq!(message, expected);
    assert_eq!(team.warns(&tenant, "ExceedsClass").await, expected);
    team.says(&tenant, "Programmed", "True", "Programmed").await;
    refused_by_each(&pods, &token(&tenant.id, 2), "Quota exceeded: connections_max").await;
    all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;

    class.change(&ceiling(6)).await;
    team.in_force(&tenant).await;
    team.has(&tenant, "connections.max", &json!(6), "Tenant").await;
    clients.extend(clients_on_each(&pods, &token(&tenant.id, 2)).await);
    all_hear(&mut clients, pods[1].http(), &tenant, "record:created").await;
    class.counts(1).await;
    bystanders.are_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_class_is_raised_live_for_whoever_says_nothing() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let mut bystanders = Bystanders::on(&release, &pods).await;
    let gives = |max: u32| json!({"defaults": {"quotas": {"connections": {"max": max}}}});
    let class = TenantClass::new(&release.api, &gives(3)).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.has(&tenant, "connections.max", &json!(1000), "BuiltIn").await;
    team.change(&tenant, &json!({"className": class.name})).await;
    team.has(&tenant, "connections.max", &json!(3), "Class").await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    refused_by_each(&pods, &token(&tenant.id, 2), "Quota exceeded: connections_max").await;

    class.change(&gives(6)).await;
    team.has(&tenant, "connections.max", &json!(6), "Class").await;
    clients.extend(clients_on_each(&pods, &token(&tenant.id, 2)).await);

    // A class that contradicts itself stays what it was.
    class.change(&ceiling(5)).await;
    let message = class.says("False", "Invalid").await;
    assert!(message.contains("spec.defaults.quotas.connections.max: 6 is more than this class's own ceiling, 5"), "{message}");
    team.has(&tenant, "connections.max", &json!(6), "Class").await;
    all_hear(&mut clients, pods[2].http(), &tenant, "record:created").await;
    bystanders.are_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_namespace_has_to_be_allowed() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let class = TenantClass::new(&release.api, &json!({"allowedNamespaces": {"matchLabels": {"tier": "gold"}}})).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.change_only(&tenant, &json!({"className": class.name, "quotas": {"connections": {"max": 7}}})).await;
    let message = team.says(&tenant, "Accepted", "False", "NamespaceNotAllowed").await;
    assert!(message.contains(&class.name) && message.contains(&team.namespace), "{message}");
    team.has(&tenant, "connections.max", &json!(1000), "BuiltIn").await;

    team.label(&json!({"tier": "gold"})).await;
    team.in_force(&tenant).await;
    team.has(&tenant, "connections.max", &json!(7), "Tenant").await;

    team.label(&json!({"tier": null})).await;
    team.says(&tenant, "Accepted", "False", "NamespaceNotAllowed").await;
    team.has(&tenant, "connections.max", &json!(7), "Tenant").await;
    let mut clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    all_hear(&mut clients, pods[0].http(), &tenant, "record:created").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn a_deleted_class_leaves_its_tenants_what_they_had() {
    let release = Release::ready().await;
    let pods = release.pods().await;
    let class = TenantClass::new(&release.api, &ceiling(3)).await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    team.change(&tenant, &json!({"className": class.name})).await;
    team.has(&tenant, "connections.max", &json!(3), "Class").await;

    class.delete().await;
    let message = team.says(&tenant, "Accepted", "False", "ClassNotFound").await;
    assert_eq!(message, format!("spec.className: RealtimeTenantClass {:?} does not exist", class.name));
    team.has(&tenant, "connections.max", &json!(3), "Class").await;
    let clients = clients_on_each(&pods, &token(&tenant.id, 1)).await;
    refused_by_each(&pods, &token(&tenant.id, 2), "Quota exceeded: connections_max").await;

    team.change(&tenant, &json!({"className": null})).await;
    team.has(&tenant, "connections.max", &json!(1000), "BuiltIn").await;
    assert_eq!(clients.len(), pods.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Kubernetes: make e2e-cluster"]
async fn the_oldest_default_class_is_that_of_whoever_names_none() {
    let release = Release::ready().await;
    let team = Team::new(&release.api).await;
    let tenant = team.tenant("acme").await;
    let older = TenantClass::default_of_all(&release.api, &ceiling(30)).await;
    team.has(&tenant, "connections.max", &json!(30), "Class").await;
    let table = kubectl(&["get", "rtt", "acme", "--no-headers", "--namespace", &team.namespace]).await;
    assert_eq!(table.split_whitespace().nth(1), Some(older.name.as_str()), "the column CLASS: {table}");

    // Times of objects have whole seconds; of two that are as old, the first by name is it.
    let younger = TenantClass::default_of_all(&release.api, &ceiling(40)).await;
    let message = younger.says("True", "NotDefault").await;
    assert!(message.contains(&older.name), "{message}");
    team.has(&tenant, "connections.max", &json!(30), "Class").await;

    older.delete().await;
    team.has(&tenant, "connections.max", &json!(40), "Class").await;
    younger.says("True", "Accepted").await;
    younger.delete().await;
    team.has(&tenant, "connections.max", &json!(1000), "BuiltIn").await;
}
