//! What is watched: tenants, Secrets, and which server pods there are.

use k8s_openapi::api::{core::v1::Secret, discovery::v1::EndpointSlice};
use kube::{
    ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
};

use tokio::time::Instant;

use super::{Controller, EventOf};
use crate::{
    object::{ObjectKey, TenantObject},
    watches::Seen,
};

impl Controller {
    pub(super) fn tenant_event(&mut self, event: EventOf<DynamicObject>) {
        let key = |object: &DynamicObject| ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any());
        match self.tenants.follow(event, key) {
            Seen::Applied(object) => {
                let object = TenantObject::from(object);
                if object.deleted.is_some() && !self.deleting.contains_key(&object.key) {
                    self.deleting.insert(object.key.clone(), Instant::now());
                    self.reporting.deleting(&object.key, &self.parts.metrics);
                }
                self.index.apply(object);
            }
            Seen::Deleted(object) => self.tenant_gone(&key(&object)),
            Seen::Listed(listed) => {
                let gone: Vec<_> = self.index.keys().filter(|key| !listed.contains(key)).cloned().collect();
                for key in gone {
                    self.tenant_gone(&key);
                }
                if self.untried.is_none() {
                    self.untried = Some(self.index.keys().filter(|key| self.index.job(key).is_some()).cloned().collect());
                }
            }
            Seen::Nothing => {}
        }
    }

    pub(super) fn tenant_gone(&mut self, key: &ObjectKey) {
        self.index.remove(key);
        self.trails.ended(key);
        self.deleting.remove(key);
        self.jwks.settled(key);
        self.reporting.forget(key, &self.parts.metrics);
        self.tried(key);
    }

    pub(super) fn secret_event(&mut self, event: EventOf<PartialObjectMeta<Secret>>) {
        let key = |secret: &PartialObjectMeta<Secret>| (secret.namespace().unwrap_or_default(), secret.name_any());
        match self.secrets.follow(event, key) {
            Seen::Applied(secret) => {
                let (namespace, name) = key(&secret);
                self.generated_secret_seen(&secret);
                self.index.secret_seen(&namespace, &name, secret.resource_version().as_deref());
            }
            Seen::Deleted(secret) => {
                let (namespace, name) = key(&secret);
                self.index.generated_secret_seen(&namespace, &name, None);
                self.index.secret_seen(&namespace, &name, None);
            }
            Seen::Listed(listed) => self.index.secrets_listed(&listed),
            Seen::Nothing => {}
        }
    }

    pub(super) fn slice_event(&mut self, event: EventOf<EndpointSlice>) {
        match self.endpoints.follow(event, EndpointSlice::name_any) {
            Seen::Applied(slice) => self.slices.apply(slice),
            Seen::Deleted(slice) => self.slices.remove(&slice.name_any()),
            Seen::Listed(listed) => self.slices.retain(&listed.into_iter().collect()),
            Seen::Nothing => return,
        }
        self.follow_pods();
    }
}
