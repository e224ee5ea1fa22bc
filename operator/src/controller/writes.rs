//! Statuses and finalizers, written by the replica that leads.

use std::time::Duration;

use carillon_crds::{ConditionType, RealtimeTenantStatus};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::{Controller, Done, STATUSES_PER_TURN, WRITES_MAX};
use crate::{
    deletion::{self, Step},
    facts,
    gather::GATHER_QUIET,
    metrics::WriteResult,
    object::TenantObject,
    reporting::Decision,
    status::find,
    term::Term,
    writer::{write_finalizer, write_status},
};

/// A status that is being written.
pub(super) struct StatusWrite {
    pub(super) object: TenantObject,
    /// What it replaces: by the time the answer is here, the watch may have brought the new one.
    before: Option<RealtimeTenantStatus>,
    status: RealtimeTenantStatus,
}

impl Controller {
    pub(super) fn write_finalizers(&mut self, term: &Term, now: Instant) {
        while self.writing.len() < WRITES_MAX {
            let Some(key) = self.finalizers.pop_due(now) else { return };
            let Some(entry) = self.index.get(&key) else { continue };
            let Ok(id) = &entry.object.tenant_id else { continue };
            let desired = self.index.message(id).map(|message| &message.config_version);
            let runs = self.pushers.values().map(|pusher| pusher.ledger.runs(id));
            let waited = self.deleting.get(&key).map_or(Duration::ZERO, |since| now.duration_since(*since));
            let wanted = match deletion::step(entry, self.index.holds(&key, id), desired, runs, waited) {
                Step::Nothing => continue,
                Step::Wait => {
                    self.finalizers.at(now + deletion::LOOK_INTERVAL, key);
                    continue;
                }
                Step::Add => true,
                Step::Remove => false,
            };
            if !self.writing.insert(key.clone()) {
                self.finalizers.at(now + GATHER_QUIET, key);
                continue;
            }
            let (client, object) = (self.client.clone(), entry.object.clone());
            let term = term.clone();
            self.jobs.spawn(async move {
                match term.during(write_finalizer(client, &object, wanted)).await {
                    Some(result) => Done::FinalizerWritten(key, result),
                    None => Done::TooLate(key),
                }
            });
        }
    }

    pub(super) fn write_statuses(&mut self, term: &Term, now: Instant) {
        for _ in 0..STATUSES_PER_TURN {
            if self.writing.len() >= WRITES_MAX {
                return;
            }
            let Some(key) = self.reporting.pop_due(now) else { return };
            let Some(facts) = facts::gather(&self.index, self.pushers.values(), &key, now) else { continue };
            if self.writing.contains(&key) {
                self.reporting.again(&key, now + GATHER_QUIET);
                continue;
            }
            let Some(entry) = self.index.get(&key) else { continue };
            let times = (now, Timestamp::now());
            let Decision { status, news } = self.reporting.decide(&key, &facts, entry.status.as_deref(), &self.parts.metrics, times);
            for news in news {
                self.parts.events.tell(term, &key, &entry.object.uid, news);
            }
            let Some(status) = status else { continue };
            let write = StatusWrite { object: entry.object.clone(), before: entry.status.as_deref().cloned(), status };
            let (client, term) = (self.client.clone(), term.clone());
            self.writing.insert(key);
            self.jobs.spawn(async move {
                match term.during(write_status(client, &write.object, &write.status)).await {
                    Some(result) => Done::StatusWritten(Box::new(write), result),
                    None => Done::TooLate(write.object.key),
                }
            });
        }
    }

    pub(super) fn status_written(&mut self, write: StatusWrite, result: kube::Result<Option<String>>) {
        let now = Instant::now();
        let StatusWrite { object, before, status } = write;
        self.writing.remove(&object.key);
        match result {
            Ok(resource_version) => {
                self.parts.metrics.status_written(WriteResult::Ok);
                for news in self.reporting.written(&object.key, before.as_ref(), &status) {
                    let change = change(&object, &status);
                    tracing::info!(change, tenant = %object.key, reason = news.reason, version = status.config_version, "{}", news.note);
                    if let Some(term) = &self.term {
                        self.parts.events.tell(term, &object.key, &object.uid, news);
                    }
                }
                if find(&status, ConditionType::Programmed).is_some_and(|programmed| programmed.status == "True") {
                    self.trails.told(&object.key, status.config_version.as_deref().unwrap_or_default(), &self.parts.metrics, now);
                }
                self.index.status_written(&object.key, &object.uid, status, resource_version.as_deref());
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                self.parts.metrics.status_written(WriteResult::Error);
                tracing::warn!(tenant = %object.key, %error, "status not written; tried again");
                self.reporting.failed(&object.key, now);
            }
        }
    }
}

/// What the change is called that led to this status.
fn change(object: &TenantObject, status: &RealtimeTenantStatus) -> Option<String> {
    Some(format!("{}@{}", object.tenant_id.as_ref().ok()?, status.config_version.as_ref()?))
}

/// True when the object a write was for is not there any more, or is another by now.
pub(super) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}
