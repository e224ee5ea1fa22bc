//! The loop's part in classes and namespaces: calls, no decisions.

use carillon_crds::RealtimeTenantClassStatus;
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{
    ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
};
use tokio::time::Instant;

use super::{CLASSES, Controller, Done, EventOf, NAMESPACES, writes::is_gone};
use crate::{classes::ClassObject, metrics::WriteResult, term::Term, watches::Seen, writer::write_class_status};

/// A status of a class that was written, or not.
pub struct ClassWrite {
    name: String,
    uid: String,
    status: RealtimeTenantClassStatus,
}

impl Controller {
    pub(super) fn class_event(&mut self, event: EventOf<DynamicObject>) {
        match self.classes.follow(event, DynamicObject::name_any) {
            Seen::Applied(object) => self.index.class_seen(ClassObject::from(object)),
            Seen::Deleted(object) => self.class_gone(&object.name_any()),
            Seen::Listed(listed) => {
                let gone: Vec<_> = self.index.classes().names().filter(|name| !listed.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.class_gone(name));
            }
            Seen::Nothing => {}
        }
    }

    fn class_gone(&mut self, name: &str) {
        self.index.class_gone(name);
        self.class_reporting.forget(name);
    }

    pub(super) fn namespace_event(&mut self, event: EventOf<PartialObjectMeta<Namespace>>) {
        match self.namespaces.follow(event, PartialObjectMeta::name_any) {
            Seen::Applied(namespace) => {
                let labels = namespace.labels().clone();
                self.index.namespace_seen(&namespace.name_any(), labels);
            }
            Seen::Deleted(namespace) => self.index.namespace_gone(&namespace.name_any()),
            Seen::Listed(listed) => {
                let gone: Vec<_> = self.index.classes().namespaces().filter(|name| !listed.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.index.namespace_gone(name));
            }
            Seen::Nothing => {}
        }
    }

    /// True when all that a tenant's class depends on was listed.
    pub(super) fn classes_are_known(&self) -> bool {
        !self.parts.readiness.is_missing(CLASSES) && !self.parts.readiness.is_missing(NAMESPACES)
    }

    pub(super) fn write_class_statuses(&mut self, term: &Term, now: Instant) {
        for name in self.index.classes_mut().take_touched() {
            self.class_reporting.touch(&name, now);
        }
        while let Some(name) = self.class_reporting.pop_due(now) {
            let classes = self.index.classes();
            let Some((entry, facts)) = classes.get(&name).zip(classes.facts(&name)) else { continue };
            let times = (now, Timestamp::now());
            let Some(status) = self.class_reporting.decide(&name, &facts, entry.status.as_ref(), times) else { continue };
            let write = ClassWrite { name, uid: entry.object.uid.clone(), status };
            let (client, term) = (self.client.clone(), term.clone());
            self.jobs.spawn(async move {
                match term.during(write_class_status(client, &write.name, &write.uid, &write.status)).await {
                    Some(result) => Done::ClassStatusWritten(Box::new(write), result),
                    None => Done::ClassTooLate(write.name),
                }
            });
        }
    }

    pub(super) fn class_status_written(&mut self, write: ClassWrite, result: kube::Result<Option<String>>) {
        let ClassWrite { name, uid, status } = write;
        match result {
            Ok(resource_version) => {
                self.parts.metrics.status_written(WriteResult::Ok);
                let accepted = status.conditions.first();
                tracing::info!(
                    class = name,
                    reason = accepted.map(|condition| condition.reason.as_str()),
                    tenants = status.tenants,
                    "status of a class written"
                );
                self.class_reporting.written(&name);
                self.index.classes_mut().status_written(&name, &uid, status, resource_version.as_deref());
            }
            Err(error) if is_gone(&error) => self.class_reporting.written(&name),
            Err(error) => {
                self.parts.metrics.status_written(WriteResult::Error);
                tracing::warn!(class = name, %error, "status of a class not written; tried again");
                self.class_reporting.failed(&name, Instant::now());
            }
        }
    }
}
