//! Namespaces of tenants, and the tenants in them.

use std::{
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Api, SLOW, eventually, release::REPLICAS};
use crate::tenants::secret_of;

/// How long a change may take to be in force on every pod, and to be told. The operator gathers changes and spaces writes.
const IN_FORCE: Duration = Duration::from_secs(30);

/// A namespace for one test. It is deleted with this value, and nobody waits for that.
#[derive(Debug)]
pub struct Team<'a> {
    api: &'a Api,
    /// The namespace.
    pub namespace: String,
}

/// A tenant whose keys stand in the Secret `<name>-keys`, each under its own name, and hold what [`secret_of`] says.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id, unlike any of another test.
    pub id: String,
    /// The name of its object.
    pub name: String,
    namespace: String,
}

impl<'a> Team<'a> {
    /// A fresh namespace.
    pub async fn new(api: &'a Api) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let namespace = format!("team-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})).await;
        Self { api, namespace }
    }

    /// Makes a tenant and awaits that it is in force.
    pub async fn tenant(&self, name: &str) -> Tenant {
        let tenant = self.tenant_of_id(name, &format!("{name}-{}", self.namespace)).await;
        self.in_force(&tenant).await;
        tenant
    }

    /// Makes a tenant of that id without waiting for anything.
    pub async fn tenant_of_id(&self, name: &str, id: &str) -> Tenant {
        let tenant = Tenant { id: id.to_owned(), name: name.to_owned(), namespace: self.namespace.clone() };
        self.keys(&tenant, &json!({})).await;
        self.api
            .apply(&tenant.object(json!({
                "tenantId": id,
                "auth": {
                    "jwt": {"keys": [tenant.key(None, "first")]},
                    "apiKeys": [{"name": "backend", "secretKeyRef": {"name": tenant.secret(), "key": "api"}, "permissions": ["Publish"]}],
                },
            })))
            .await;
        tenant
    }

    /// Makes a tenant that says this, with an id unlike any of another test, and without any Secret, and waits for nothing.
    pub async fn tenant_saying(&self, name: &str, mut spec: Value) -> Tenant {
        let id = format!("{name}-{}", self.namespace);
        let tenant = Tenant { id: id.clone(), name: name.to_owned(), namespace: self.namespace.clone() };
        spec["tenantId"] = json!(id);
        self.api.apply(&tenant.object(spec)).await;
        tenant
    }

    /// Writes the tenant's Secret: the usual keys, but what `other` says of them.
    pub async fn keys(&self, tenant: &Tenant, other: &Value) {
        let mut keys = json!({});
        for name in ["first", "second", "api"] {
            keys[name] = other.get(name).cloned().unwrap_or_else(|| json!(secret_of(&tenant.id, name)));
        }
        let metadata = json!({"name": tenant.secret(), "namespace": self.namespace});
        self.api.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})).await;
    }

    /// Changes the spec by a JSON merge patch, and awaits that it is in force.
    pub async fn change(&self, tenant: &Tenant, spec: &Value) {
        self.change_only(tenant, spec).await;
        self.in_force(tenant).await;
    }

    /// Changes the spec by a JSON merge patch.
    pub async fn change_only(&self, tenant: &Tenant, spec: &Value) {
        self.api.patch(&tenant.path(), &json!({"spec": spec})).await;
    }

    /// Awaits that every pod has acknowledged the tenant as it is now, and that the status says so.
    pub async fn in_force(&self, tenant: &Tenant) {
        let summary = format!("{REPLICAS}/{REPLICAS}");
        self.status(tenant, "in force on every pod", |status, generation| {
            status["observedGeneration"] == *generation
                && condition(status, "Ready")["status"] == "True"
                && condition(status, "Programmed")["status"] == "True"
                && status["fleet"]["summary"] == summary.as_str()
        })
        .await;
    }

    /// Awaits that a quota is in force on every pod with this value, which this source gave.
    pub async fn has(&self, tenant: &Tenant, field: &str, value: &Value, source: &str) {
        let expected = json!({"field": field, "value": value, "source": source});
        self.status(tenant, &format!("{expected} in force"), |status, _| {
            let quotas = status["effective"]["quotas"].as_array().map_or(&[][..], Vec::as_slice);
            quotas.contains(&expected) && condition(status, "Programmed")["status"] == "True"
        })
        .await;
    }

    /// Changes the labels of the namespace.
    pub async fn label(&self, labels: &Value) {
        self.api.patch(&format!("/api/v1/namespaces/{}", self.namespace), &json!({"metadata": {"labels": labels}})).await;
    }

    /// Awaits a condition of this status and reason, for the object as it is now, and gives its message.
    pub async fn says(&self, tenant: &Tenant, kind: &str, status: &str, reason: &str) -> String {
        let found = self
            .status(tenant, &format!("{kind}={status}/{reason}"), |found, generation| {
                let condition = condition(found, kind);
                found["observedGeneration"] == *generation && condition["status"] == status && condition["reason"] == reason
            })
            .await;
        condition(&found, kind)["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Awaits that the status tells of that many connections, as in `3/1000`. It is written at most every 30 seconds.
    pub async fn uses(&self, tenant: &Tenant, summary: &str) {
        let path = tenant.path();
        eventually(SLOW, &format!("{} uses {summary}", tenant.id), async || {
            let usage = self.api.get(&path).await.ok_or(Value::Null)?["status"]["usage"].take();
            if usage["summary"] == summary { Ok(()) } else { Err(usage) }
        })
        .await;
    }

    /// Awaits a status for which `holds`, which is given the object's generation, too.
    pub async fn status(&self, tenant: &Tenant, what: &str, mut holds: impl FnMut(&Value, &Value) -> bool) -> Value {
        let path = tenant.path();
        eventually(IN_FORCE, &format!("{}: {what}", tenant.id), async || {
            let mut object = self.api.get(&path).await.ok_or(Value::Null)?;
            let status = object["status"].take();
            if holds(&status, &object["metadata"]["generation"]) { Ok(status) } else { Err(status) }
        })
        .await
    }

    /// The Events about the tenant: type, reason and note.
    pub async fn events(&self, tenant: &Tenant) -> Vec<(String, String, String)> {
        let events = self.api.list(&format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace)).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let about = events.iter().filter(|event| event["regarding"]["name"] == tenant.name.as_str());
        about.map(|event| (text(&event["type"]), text(&event["reason"]), text(&event["note"]))).collect()
    }

    /// Awaits a Warning of this reason, and gives its note.
    pub async fn warns(&self, tenant: &Tenant, reason: &str) -> String {
        eventually(IN_FORCE, &format!("a Warning {reason} about {}", tenant.id), async || {
            let events = self.events(tenant).await;
            let warning = events.iter().find(|(kind, found, _)| kind == "Warning" && found == reason).map(|(_, _, note)| note.clone());
            warning.ok_or(events)
        })
        .await
    }

    /// Deletes the tenant's object and awaits that it is gone.
    pub async fn delete(&self, tenant: &Tenant) {
        let path = tenant.path();
        self.api.delete(&path).await;
        eventually(IN_FORCE, "the tenant's object is gone", async || self.api.get(&path).await.map_or(Ok(()), Err)).await;
    }
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        let mut command = self.api.kubectl().command();
        command.args(["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}

impl Tenant {
    /// Where its object is.
    pub fn path(&self) -> String {
        super::api::path_of(&self.object(Value::Null))
    }

    /// The key of its backend for the HTTP API.
    pub fn api_key(&self) -> String {
        secret_of(&self.id, "api")
    }

    /// The name of its Secret.
    pub fn secret(&self) -> String {
        format!("{}-keys", self.name)
    }

    /// A verification key of its Secret, as it stands in a spec.
    pub fn key(&self, kid: Option<&str>, name: &str) -> Value {
        let mut key = json!({"algorithm": "HS256", "secretKeyRef": {"name": self.secret(), "key": name}});
        if let Some(kid) = kid {
            key["kid"] = json!(kid);
        }
        key
    }

    /// Its object with that spec.
    pub fn object(&self, spec: Value) -> Value {
        let metadata = json!({"name": self.name, "namespace": self.namespace});
        let mut object = json!({"apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "metadata": metadata});
        if !spec.is_null() {
            object["spec"] = spec;
        }
        object
    }
}

/// A condition of a status; null when it isn't there.
pub fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}
