//! Tenants whose keys the operator makes.

use std::sync::Arc;

use carillon_tenant::{Generated, TenantMessage};
use k8s_openapi::jiff::Timestamp;

use super::{Entry, Index};
use crate::{
    generate::{Order, Want, secret_name},
    object::{ObjectKey, TenantObject},
};

/// What a tenant's Secret waits for.
#[derive(Debug)]
pub enum Look {
    /// Nothing, unless something changes.
    Nothing,
    /// It is to be looked at now.
    Now(Box<Order>),
    /// It is to be looked at then, in Unix seconds.
    At(i64),
    /// Every server pod has to run this first.
    Pods(Arc<TenantMessage>, Box<Order>),
}

impl TenantObject {
    /// What its Secret should hold; `None` while the spec can't be read.
    pub fn want(&self, endpoint: Option<&Arc<str>>) -> Option<Want> {
        Some(Want {
            generate: self.spec.as_ref().ok()?.auth.generate.clone(),
            tenant_id: self.tenant_id.clone().ok()?,
            endpoint: endpoint.cloned(),
            rotation: self.rotate.clone(),
        })
    }
}

impl Index {
    /// Notes that a Secret of generated keys is there, of the object `uid`, or gone.
    pub fn generated_secret_seen(&mut self, namespace: &str, name: &str, owner: Option<(&str, &str)>) {
        let secret = (namespace.to_owned(), name.to_owned());
        let Some((tenant, uid)) = owner else {
            self.generated_secrets.remove(&secret);
            return;
        };
        let key = ObjectKey { namespace: namespace.to_owned(), name: tenant.to_owned() };
        if secret_name(&key) == name {
            self.generated_secrets.insert(secret, uid.to_owned());
            self.changes.touched.insert(key);
        }
    }

    /// After all Secrets were listed anew.
    pub(super) fn generated_secrets_listed(&mut self, listed: &std::collections::HashSet<(String, String)>) {
        self.generated_secrets.retain(|secret, _| listed.contains(secret));
    }

    /// Every tenant that has generated keys, or is to have some.
    pub fn generating(&self) -> Vec<ObjectKey> {
        let concerned = |(key, entry): &(&ObjectKey, &Entry)| entry.generates() || self.has_generated_secret(key, &entry.object.uid);
        self.entries.iter().filter(concerned).map(|(key, _)| key.clone()).collect()
    }

    fn has_generated_secret(&self, key: &ObjectKey, uid: &str) -> bool {
        let secret = (key.namespace.clone(), secret_name(key));
        self.generated_secrets.get(&secret).is_some_and(|owner| owner == uid)
    }

    /// What the Secret of `key` waits for. One that is paused, or whose tenant id another has, stays as it is.
    pub fn generated_look(&self, key: &ObjectKey, endpoint: Option<&Arc<str>>, now: Timestamp) -> Look {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.object.deleted.is_none() && !entry.object.paused) else {
            return Look::Nothing;
        };
        let Some(want) = entry.object.want(endpoint).filter(|want| self.holds(key, &want.tenant_id)) else { return Look::Nothing };
        let had = entry.status.as_ref().is_some_and(|status| status.generated.is_some());
        let order = |announced| Box::new(Order { key: key.clone(), uid: entry.object.uid.clone(), want: want.clone(), announced, had });
        if want.generate.is_none() {
            let there = self.has_generated_secret(key, &entry.object.uid);
            return if there { Look::Now(order(None)) } else { Look::Nothing };
        }
        // What was not compiled since it changed was not looked at, either.
        let Some(seen) = entry.generated.as_ref().filter(|_| entry.compiled) else { return Look::Nothing };
        let Some(ledger) = seen.ledger() else {
            return if seen.keys.found == Generated::NotOwned { Look::Nothing } else { Look::Now(order(None)) };
        };
        let asked = want.rotation.is_some() && want.rotation != ledger.rotation && ledger.has_room();
        if seen.due || asked || seen.ends.is_some_and(|end| end <= now.as_second()) {
            return Look::Now(order(None));
        }
        let announces = |message: &&Arc<TenantMessage>| ledger.is_announced_by(&message.jwt.keys, &message.api_keys);
        match (ledger.announces(), entry.good.as_ref().filter(announces), seen.ends) {
            (true, Some(message), _) => Look::Pods(Arc::clone(message), order(Some(ledger.clone()))),
            (_, _, Some(end)) => Look::At(end),
            (_, _, None) => Look::Nothing,
        }
    }
}

impl Entry {
    /// True when the resource asks for generated keys.
    pub fn generates(&self) -> bool {
        self.object.spec.as_ref().is_ok_and(|spec| spec.auth.generate.is_some())
    }
}
