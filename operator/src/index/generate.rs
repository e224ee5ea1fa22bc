//! Tenants whose keys the operator makes.

use std::sync::Arc;

use carillon_tenant::TenantMessage;
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
        let key = ObjectKey::new(namespace, tenant);
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
        let concerned = |key: &ObjectKey, entry: &Entry| entry.generates() || self.has_generated_secret(key, &entry.object.uid);
        self.entries.iter().filter(|(key, entry)| concerned(key, entry)).map(|(key, _)| key.clone()).collect()
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
            return if seen.due { Look::Now(order(None)) } else { Look::Nothing };
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

#[cfg(test)]
mod tests {
    use carillon_tenant::{
        ResolvedSecrets,
        generated::{JwtEntry, Ledger, NewJwtKey, Role},
    };
    use serde_json::json;

    use super::*;
    use crate::{fixtures::object, generate::Seen, resolve::Resolution};

    fn tenant(rotate: Option<&str>) -> TenantObject {
        let object = object("acme", "2026-01-01T00:00:00Z", 1, &json!({"auth": {"generate": {"jwtKey": {}}}}));
        TenantObject { rotate: rotate.map(str::to_owned), ..object }
    }

    fn key() -> ObjectKey {
        ObjectKey::new("n", "acme")
    }

    /// What the Secret is seen to hold: keys with these roles.
    fn resolve(index: &mut Index, roles: &[Role]) {
        let mut ledger = Ledger::default();
        for (number, role) in (0..).zip(roles) {
            let mut entry = JwtEntry::new(&NewJwtKey::of(carillon_crds::GeneratedAlgorithm::HS256, [number; 32]), *role);
            entry.not_after = (*role == Role::Old).then_some(1000);
            ledger.jwt.push(entry);
        }
        let keys = if roles.is_empty() { Default::default() } else { ledger.clone().without_private().into() };
        let seen = Seen { keys, due: roles.is_empty(), ends: ledger.ends().min() };
        let job = index.job(&key()).unwrap();
        index.resolved(&job, Resolution::of(&job, Default::default(), ResolvedSecrets::default(), Some(seen)));
    }

    fn look(index: &Index, second: i64) -> &'static str {
        match index.generated_look(&key(), None, Timestamp::from_second(second).unwrap()) {
            Look::Nothing => "nothing",
            Look::Now(_) => "now",
            Look::At(1000) => "at its end",
            Look::At(_) => "at another time",
            Look::Pods(message, order) => {
                assert!(order.announced.unwrap().is_announced_by(&message.jwt.keys, &message.api_keys));
                "when pods run it"
            }
        }
    }

    #[test]
    fn a_secret_is_looked_at_when_it_is_time() {
        let mut index = Index::default();
        index.apply(tenant(None));
        assert_eq!(look(&index, 0), "nothing", "nobody knows yet whether it is there");
        resolve(&mut index, &[]);
        assert_eq!(look(&index, 0), "now");
        resolve(&mut index, &[Role::Current]);
        assert_eq!(look(&index, 0), "nothing");
        index.apply(tenant(Some("once")));
        assert_eq!(look(&index, 0), "now");
        index.apply(tenant(None));
        resolve(&mut index, &[Role::Current, Role::Next, Role::Old]);
        assert_eq!((look(&index, 0), look(&index, 1000)), ("when pods run it", "now"));
        resolve(&mut index, &[Role::Current, Role::Old]);
        assert_eq!((look(&index, 0), look(&index, 1000)), ("at its end", "now"));
        index.apply(TenantObject { paused: true, ..tenant(Some("twice")) });
        assert_eq!(look(&index, 1000), "nothing", "it stays as it is");
    }

    #[test]
    fn what_nobody_wants_any_more_is_deleted_if_it_is_the_tenants_own() {
        let mut index = Index::default();
        let other = object("acme", "2026-01-01T00:00:00Z", 2, &crate::fixtures::spec("acme"));
        index.apply(other);
        assert_eq!(look(&index, 0), "nothing");
        index.generated_secret_seen("n", "acme-carillon", Some(("acme", "uid-another")));
        assert_eq!(look(&index, 0), "nothing");
        index.generated_secret_seen("n", "acme-carillon", Some(("acme", "uid-acme")));
        assert_eq!((look(&index, 0), index.generating()), ("now", vec![key()]));
        index.secrets_listed(&Default::default());
        assert_eq!(look(&index, 0), "nothing");
        // A Secret of another name that a tenant owns is none of these.
        index.generated_secret_seen("n", "mine", Some(("acme", "uid-acme")));
        assert_eq!(look(&index, 0), "nothing");
    }
}
