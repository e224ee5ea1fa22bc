//! The tenants: as users write them, a Secret each, and a team for every hundred.

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use carillon_tests::control_plane::ApiServer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Tenants that share a namespace.
const TEAM: usize = 100;
/// Tenants that are made at once.
const AT_ONCE: usize = 16;

/// The name of that tenant, which is its id, too.
pub fn name(number: usize) -> String {
    format!("tenant-{number:05}")
}

fn namespace(number: usize) -> String {
    format!("team-{:03}", number / TEAM)
}

/// A tenant that may have so many connections.
pub fn tenant(number: usize, connections: usize) -> Value {
    let name = name(number);
    let secret = |key: &str| json!({"name": format!("{name}-keys"), "key": key});
    json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant",
        "metadata": {"name": name, "namespace": namespace(number)},
        "spec": {
            "auth": {
                "jwt": {"keys": [{"kid": "2026-11", "algorithm": "HS256", "secretKeyRef": secret("current")}]},
                "apiKeys": [{"name": "backend", "secretKeyRef": secret("api"), "permissions": ["Publish"]}],
            },
            "allowedOrigins": [format!("https://{name}.example")],
            "quotas": {"connections": {"max": connections}, "rooms": {"max": 500}, "messages": {"ratePerSecond": 1000, "burst": 2000}},
        },
    })
}

/// The keys of a tenant, in that turn of their rotation.
pub fn secret(number: usize, turn: usize) -> Value {
    let name = name(number);
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("{name}-keys"), "namespace": namespace(number)},
        "stringData": {"current": format!("{name}-signing-secret-number-{turn}-for-benchmarks"), "api": format!("{name}-api-key-for-benchmarks")},
    })
}

/// What `kubectl apply --server-side` does with a Secret or a tenant.
pub fn applying(api: &ApiServer, object: &Value) -> impl Future<Output = Result<()>> + Send + use<> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let path = match object["kind"].as_str() {
        Some("Secret") => format!("/api/v1/namespaces/{namespace}/secrets/{name}"),
        Some("Namespace") => format!("/api/v1/namespaces/{name}"),
        _ => format!("/apis/carillon.dev/v1alpha1/namespaces/{namespace}/realtimetenants/{name}"),
    };
    let request = api.request(Method::PATCH, &format!("{path}?fieldManager=kubectl&force=true"));
    let request = request.header("content-type", "application/apply-patch+yaml").body(object.to_string());
    async move {
        let answer = request.send().await.with_context(|| format!("apply {path}"))?;
        let status = answer.status();
        // An answer that nobody reads resets its stream, and a connection with a thousand resets is closed.
        let text = answer.text().await.with_context(|| format!("apply {path}"))?;
        ensure!(status.is_success(), "apply {path}: {status} {text}");
        Ok(())
    }
}

/// Makes so many of them, a few at once.
pub async fn create(api: &ApiServer, count: usize) -> Result<()> {
    for number in (0..count).step_by(TEAM) {
        applying(api, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}})).await?;
    }
    let mut making = JoinSet::new();
    for number in 0..count {
        if making.len() == AT_ONCE {
            making.join_next().await.context("something is under way")???;
        }
        let (secret, tenant) = (applying(api, &secret(number, 0)), applying(api, &tenant(number, 1000)));
        making.spawn(async move {
            secret.await?;
            tenant.await
        });
    }
    while let Some(made) = making.join_next().await {
        made??;
    }
    Ok(())
}
