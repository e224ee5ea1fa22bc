//! Classes of tenants.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Value, json};

use super::{Api, SLOW, eventually, teams::condition};

/// A class for one test. It is deleted with this value.
#[derive(Debug)]
pub struct TenantClass<'a> {
    api: &'a Api,
    /// Its name, unlike any of another test.
    pub name: String,
}

impl<'a> TenantClass<'a> {
    /// Makes a class with that spec.
    pub async fn new(api: &'a Api, spec: &Value) -> Self {
        Self::made(api, spec, false).await
    }

    /// Makes a class that asks to be the default.
    pub async fn default_of_all(api: &'a Api, spec: &Value) -> Self {
        Self::made(api, spec, true).await
    }

    async fn made(api: &'a Api, spec: &Value, default: bool) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("class-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let annotations = json!({"carillon.dev/is-default-class": default.to_string()});
        let metadata = json!({"name": name, "annotations": annotations});
        api.apply(&json!({"apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenantClass", "metadata": metadata, "spec": spec})).await;
        Self { api, name }
    }

    /// Changes the spec by a JSON merge patch.
    pub async fn change(&self, spec: &Value) {
        self.api.patch(&self.path(), &json!({"spec": spec})).await;
    }

    /// Deletes it.
    pub async fn delete(&self) {
        self.api.delete(&self.path()).await;
    }

    /// Awaits that its condition Accepted has this status and reason, for the object as it is now, and gives the message.
    pub async fn says(&self, status: &str, reason: &str) -> String {
        let accepted = |object: &Value| {
            let accepted = condition(&object["status"], "Accepted");
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            (current && accepted["status"] == status && accepted["reason"] == reason).then(|| accepted["message"].clone())
        };
        let message = self.shows(&format!("Accepted={status}/{reason}"), accepted).await;
        message.as_str().unwrap_or_default().to_owned()
    }

    /// Awaits that it counts that many tenants. That is written at most every 30 seconds.
    pub async fn counts(&self, tenants: u64) {
        self.shows(&format!("{tenants} tenants"), |object| (object["status"]["tenants"] == tenants).then_some(())).await;
    }

    async fn shows<T>(&self, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        let path = self.path();
        eventually(SLOW, &format!("class {}: {what}", self.name), async || {
            let object = self.api.get(&path).await.ok_or(Value::Null)?;
            find(&object).ok_or_else(|| object["status"].clone())
        })
        .await
    }

    fn path(&self) -> String {
        format!("/apis/carillon.dev/v1alpha1/realtimetenantclasses/{}", self.name)
    }
}

impl Drop for TenantClass<'_> {
    fn drop(&mut self) {
        let mut command = Command::new("kubectl");
        command.args(["delete", "realtimetenantclass", &self.name, "--wait=false", "--ignore-not-found"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}
