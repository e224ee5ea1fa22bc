//! Kubernetes Events: what users see in `kubectl describe`. Best effort: nothing waits for them, and nothing fails with them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use carillon_crds::{ConditionType, RealtimeTenant, RealtimeTenantStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{metrics::Metrics, object::ObjectKey, status::find, term::Term};

/// Events waiting to be recorded; more are lost, and counted.
const QUEUE: usize = 1024;
/// The same Event about the same object is recorded once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(600);
const RECORD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest note the API takes, in bytes.
const NOTE_BYTES_MAX: usize = 1024;

/// The name Events and field managers carry.
pub const REPORTER: &str = "carillon-operator";

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct News {
    /// True: a Warning.
    pub warning: bool,
    /// The reason, as in the conditions.
    pub reason: String,
    /// What happened.
    pub note: String,
}

/// What is worth an Event when a tenant's status goes from `before` to `after`. `announced` is the version last told to be
/// in force on every pod.
pub fn news(before: Option<&RealtimeTenantStatus>, after: &RealtimeTenantStatus, announced: Option<&str>) -> Vec<News> {
    let mut news = Vec::new();
    for kind in [ConditionType::Accepted, ConditionType::ResolvedRefs, ConditionType::Programmed] {
        let Some(now) = find(after, kind) else { continue };
        let then = before.and_then(|before| find(before, kind));
        let same = then.is_some_and(|then| (&then.status, &then.reason, &then.message) == (&now.status, &now.reason, &now.message));
        let version = after.config_version.as_deref();
        if kind == ConditionType::Programmed && now.status == "True" {
            // Who changed something while all was well sees that in the status at once. An Event for each such change would be a write more.
            let waited = then.is_none_or(|then| then.status != "True");
            if let Some(version) = version.filter(|version| waited && Some(*version) != announced) {
                let note = format!("Every server pod runs version {version}.");
                news.push(News { warning: false, reason: now.reason.clone(), note });
            }
            continue;
        }
        let telling = match kind {
            ConditionType::Programmed => now.reason == carillon_crds::Reason::Rejected.as_str(),
            _ => now.status == "False",
        };
        if telling && !same {
            news.push(News { warning: true, reason: now.reason.clone(), note: now.message.clone() });
        }
    }
    if let Some(sync) = after.observed_sync.as_ref().filter(|sync| before.and_then(|before| before.observed_sync.as_ref()) != Some(sync)) {
        let note = format!("Secrets were read anew and every server pod has acknowledged the push, as was asked by annotation ({sync:?}).");
        news.push(News { warning: false, reason: "Synced".to_owned(), note });
    }
    news
}

/// Takes Events and records them, one after the other, in a task of its own.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(Term, ObjectReference, News)>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Starts the task.
    pub fn spawn(client: Client, metrics: Arc<Metrics>) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(record(client, Arc::clone(&metrics), receiver));
        Self { queue, metrics }
    }

    /// Tells `news` about the object as long as `term` lasts, unless too much waits to be told.
    pub fn tell(&self, term: &Term, key: &ObjectKey, uid: &str, news: News) {
        let object = ObjectReference {
            api_version: Some(RealtimeTenant::api_version(&()).into_owned()),
            kind: Some(RealtimeTenant::kind(&()).into_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        self.tell_about(term, object, news);
    }

    /// The same about any object.
    pub fn tell_about(&self, term: &Term, object: ObjectReference, news: News) {
        if self.queue.try_send((term.clone(), object, news)).is_err() {
            self.metrics.event_lost();
        }
    }
}

async fn record(client: Client, metrics: Arc<Metrics>, mut queue: mpsc::Receiver<(Term, ObjectReference, News)>) {
    let mut told: HashMap<(Option<String>, News), Instant> = HashMap::new();
    while let Some((term, object, news)) = queue.recv().await {
        if !term.lasts() {
            continue;
        }
        let now = Instant::now();
        told.retain(|_, at| now.duration_since(*at) < REPEAT_AFTER);
        if told.insert((object.uid.clone(), news.clone()), now).is_some() {
            continue;
        }
        let mut note = news.note;
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason,
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A recorder folds what has the same reason into one Event and keeps its first note; a new one each time keeps them apart.
        let recorder = Recorder::new(client.clone(), Reporter::from(REPORTER));
        match timeout(RECORD_TIMEOUT, term.during(recorder.publish(&event, &object))).await {
            // What is left of a term that is over is the next leader's to tell.
            Ok(Some(Ok(())) | None) => {}
            failed => {
                metrics.event_lost();
                tracing::debug!(object = object.name, ?failed, "Event not recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(version: &str, conditions: &[(&str, &str, &str)]) -> RealtimeTenantStatus {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": "why", "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({"configVersion": version, "conditions": conditions})).unwrap()
    }

    #[test]
    fn only_news_is_told() {
        let programmed = |version| status(version, &[("Programmed", "True", "Programmed")]);
        let synced = |value: &str| RealtimeTenantStatus { observed_sync: Some(value.to_owned()), ..programmed("1-a") };
        let pending = status("2-b", &[("Programmed", "False", "Pending")]);
        let lost = status("1-a", &[("ResolvedRefs", "False", "SecretNotFound"), ("Programmed", "True", "Programmed")]);
        let refused = status("2-b", &[("Programmed", "False", "Rejected")]);
        // Status before, status after, version announced; what is told.
        let cases = [
            (None, programmed("1-a"), None, vec!["Normal Programmed"]),
            (Some(programmed("1-a")), programmed("1-a"), Some("1-a"), vec![]),
            (Some(programmed("1-a")), pending.clone(), Some("1-a"), vec![]),
            (Some(programmed("1-a")), programmed("2-b"), Some("1-a"), vec![]),
            (Some(pending.clone()), programmed("2-b"), Some("1-a"), vec!["Normal Programmed"]),
            (Some(pending.clone()), programmed("2-b"), Some("2-b"), vec![]),
            (Some(programmed("1-a")), lost.clone(), Some("1-a"), vec!["Warning SecretNotFound"]),
            (Some(lost.clone()), lost, Some("1-a"), vec![]),
            (Some(programmed("1-a")), synced("once"), Some("1-a"), vec!["Normal Synced"]),
            (Some(synced("once")), synced("once"), Some("1-a"), vec![]),
            (Some(pending), refused, Some("1-a"), vec!["Warning Rejected"]),
        ];
        for (index, (before, after, announced, expected)) in cases.into_iter().enumerate() {
            let told: Vec<_> = news(before.as_ref(), &after, announced)
                .into_iter()
                .map(|news| format!("{} {}", if news.warning { "Warning" } else { "Normal" }, news.reason))
                .collect();
            assert_eq!(told, expected, "case {index}");
        }
    }
}
