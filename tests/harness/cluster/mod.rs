//! A real Kubernetes, as `tests/cluster/cluster run` shows it: its API, kubectl, Helm, and pods that can be reached.

mod api;
mod classes;
mod cut;
mod operators;
mod redis;
mod release;
mod teams;

use std::{net::SocketAddr, time::Duration};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

pub use self::{
    api::{Api, Kubectl},
    classes::TenantClass,
    cut::Cut,
    operators::Credentials,
    redis::Redis,
    release::{NAMESPACE, OPERATORS, Pod, RELEASE, REPLICAS, Release},
    teams::{Team, Tenant, condition},
};
pub use crate::eventually::eventually_async as eventually;
use crate::{client::Client, file, http};

/// Long enough for pods to be started and replaced on a busy machine.
pub const SLOW: Duration = Duration::from_secs(90);

/// Runs a program to its end and gives its standard output.
///
/// # Errors
///
/// Its standard error when it fails.
///
/// # Panics
///
/// When it can't be started.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{program} can't be started: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What kubectl prints.
///
/// # Panics
///
/// When it fails.
pub async fn kubectl(arguments: &[&str]) -> String {
    run("kubectl", arguments).await.unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
}

/// Does something to the machines, as `tests/cluster/cluster` offers: `crash NAMESPACE/POD`, `node-cut N`, `node-up N`.
///
/// # Panics
///
/// When it can't be done.
pub async fn inflict(arguments: &[&str]) {
    let cluster = file("cluster/cluster");
    let cluster = cluster.to_str().expect("paths of the project are UTF-8");
    run(cluster, arguments).await.unwrap_or_else(|error| panic!("cluster {}: {error}", arguments.join(" ")));
}

/// What becomes of a connect with `token` on every pod.
pub async fn connect_to_each(pods: &[Pod], token: &str) -> Vec<Result<Client, String>> {
    let mut outcomes = Vec::new();
    for pod in pods {
        outcomes.push(Client::try_connect(pod.http(), token).await);
    }
    outcomes
}

/// One client on every pod.
///
/// # Panics
///
/// When one is refused.
pub async fn clients_on_each(pods: &[Pod], token: &str) -> Vec<Client> {
    connect_to_each(pods, token).await.into_iter().collect::<Result<_, _>>().expect("every pod lets the client in")
}

/// Asserts that every pod refuses `token` with `message`.
///
/// # Panics
///
/// When one doesn't.
pub async fn refused_by_each(pods: &[Pod], token: &str, message: &str) {
    for (pod, outcome) in pods.iter().zip(connect_to_each(pods, token).await) {
        let refusal = outcome.err();
        assert_eq!(refusal.as_deref(), Some(message), "on {}", pod.name);
    }
}

/// Publishes an event to everyone of `tenant` through one pod, or whatever else `address` is.
///
/// # Panics
///
/// When that is refused.
pub async fn publish(address: SocketAddr, tenant: &Tenant, event: &str, data: &Value) {
    let status = try_publish(address, tenant, &json!({"event": event, "data": data})).await;
    assert_eq!(status, Some(StatusCode::ACCEPTED));
}

/// Publishes and gives the status of the answer; `None` without an answer.
pub async fn try_publish(address: SocketAddr, tenant: &Tenant, body: &Value) -> Option<StatusCode> {
    let path = format!("/v1/tenants/{}/events", tenant.id);
    let authorization = format!("Bearer {}", tenant.api_key());
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    http::try_request(address, Method::POST, &path, &headers, body.to_string()).await.map(|response| response.status)
}
