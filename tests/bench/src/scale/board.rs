//! What the statuses of all tenants say, as a watch of our own hears it.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use axum::http::Method;
use carillon_tests::control_plane::ApiServer;
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::moment::Moment;

/// How long a change may take to be told.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two watches.
const RETRY: Duration = Duration::from_millis(50);

/// The version that a status told last to be in force on every pod, and when.
#[derive(Clone, Debug)]
pub struct Told {
    /// The version.
    pub version: String,
    /// When we heard of it.
    pub at: Moment,
}

/// By the name of the tenant. The watch ends with this value.
pub struct Board {
    told: watch::Receiver<HashMap<String, Told>>,
    watching: JoinHandle<()>,
}

#[derive(Deserialize)]
struct Event {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    generation: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    observed_generation: Option<i64>,
    config_version: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Object {
    /// The version that is in force on every pod, if the object as it is now is.
    fn programmed(self) -> Option<(String, String)> {
        let status = self.status.filter(|status| status.observed_generation == Some(self.metadata.generation))?;
        let programmed = status.conditions.iter().any(|condition| condition.kind == "Programmed" && condition.status == "True");
        Some((self.metadata.name, status.config_version.filter(|_| programmed)?))
    }
}

impl Board {
    /// Begins to watch.
    pub async fn new(api: &ApiServer) -> Result<Self> {
        // Each begins with everything there is.
        let request = api.request(Method::GET, "/apis/carillon.dev/v1alpha1/realtimetenants?watch=1");
        let (sender, told) = watch::channel(HashMap::<String, Told>::new());
        let again = request.try_clone().context("a request without a body")?;
        let mut answer = request.send().await.context("watch the tenants")?.error_for_status()?;
        let watching = tokio::spawn(async move {
            loop {
                let mut rest = Vec::new();
                while let Ok(Some(chunk)) = answer.chunk().await {
                    rest.extend_from_slice(&chunk);
                    take(&mut rest, &sender);
                }
                // The API server ends a watch that lags behind, and others for its own reasons.
                sleep(RETRY).await;
                let Some(request) = again.try_clone() else { return };
                let Ok(next) = request.send().await else { return };
                answer = next;
            }
        });
        Ok(Self { told, watching })
    }

    /// The version of `tenant` that was told last.
    pub fn version(&self, tenant: &str) -> Result<String> {
        self.told.borrow().get(tenant).map(|told| told.version.clone()).with_context(|| format!("{tenant} was never in force"))
    }

    /// Awaits that another version of `tenant` than `before` is told.
    pub async fn changed(&self, tenant: &str, before: &str) -> Result<Told> {
        let mut told = self.told.clone();
        let other = |told: &HashMap<String, Told>| told.get(tenant).is_some_and(|told| told.version != before);
        let told = timeout(PATIENCE, told.wait_for(other)).await.with_context(|| format!("{tenant} was not told in {PATIENCE:?}"))?;
        Ok(told.context("the watch ended")?[tenant].clone())
    }

    /// How many tenants are in force.
    pub fn in_force(&self) -> usize {
        self.told.borrow().len()
    }

    /// What is in force, by tenant.
    pub fn versions(&self) -> HashMap<String, String> {
        self.told.borrow().iter().map(|(tenant, told)| (tenant.clone(), told.version.clone())).collect()
    }
}

/// Takes up whole lines of a watch.
fn take(rest: &mut Vec<u8>, sender: &watch::Sender<HashMap<String, Told>>) {
    let at = Moment::now();
    let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return };
    let lines: Vec<u8> = rest.drain(..=end).collect();
    let events = lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Event>(line).ok());
    let programmed: Vec<_> = events.filter_map(|event| event.object.programmed()).collect();
    sender.send_if_modified(|told| {
        let mut news = false;
        for (name, version) in programmed {
            if told.get(&name).is_none_or(|told| told.version != version) {
                told.insert(name, Told { version, at });
                news = true;
            }
        }
        news
    });
}

impl Drop for Board {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
