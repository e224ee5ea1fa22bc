//! All tenants, and what pods should run of them: recomputed tenant by tenant, as things change. No I/O and no clock.

mod annotations;
mod classes;
mod generate;
mod jwks;
#[cfg(test)]
mod malformed;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

pub use annotations::{Pause, Sync};
use carillon_crds::{ConditionType, EffectiveStatus, RealtimeTenantSpec, RealtimeTenantStatus, Reason};
use carillon_tenant::{FleetName, JwksSource, KeyReport, Rejection, TenantId, TenantMessage, compile::references};
pub use generate::Look;
use jwks::KeySetUsers;
use k8s_openapi::jiff::Timestamp;

use crate::{
    acks::Touched,
    claims::Claims,
    classes::Classes,
    desired::Carried,
    few::Few,
    generate::{Seen, secret_name},
    metrics::Outcome,
    object::{ObjectKey, TenantObject},
    resolve::{Job, Resolution, SecretVersions},
    status,
};

/// Every `RealtimeTenant`, and what follows from them.
#[derive(Debug, Default)]
pub struct Index {
    /// Boxed: a table of large values is mostly room for more of them.
    entries: HashMap<ObjectKey, Box<Entry>>,
    claims: Claims,
    classes: Classes,
    key_sets: KeySetUsers,
    /// Who refers to a Secret, by namespace and name.
    secret_users: HashMap<(String, String), Few<ObjectKey>>,
    /// The UID of the object that each Secret of generated keys belongs to, by namespace and name.
    generated_secrets: HashMap<(String, String), String>,
    /// The UID of the object whose message was last desired for a tenant: what pods run may be kept for that object only.
    suppliers: HashMap<TenantId, String>,
    tenants: BTreeMap<TenantId, Arc<TenantMessage>>,
    keep: BTreeSet<TenantId>,
    /// The fleet that carries each of both, as far as is known.
    homes: BTreeMap<TenantId, FleetName>,
    changes: Changes,
}

/// What changed since it was last asked.
#[derive(Debug, Default)]
pub struct Changes {
    /// Objects that must be resolved and compiled.
    pub unresolved: BTreeSet<ObjectKey>,
    /// Objects whose status may have changed.
    pub touched: BTreeSet<ObjectKey>,
    /// Key sets that somebody names, or no longer does.
    pub sources: BTreeSet<JwksSource>,
    /// True when pods should run something else than before.
    pub desired: bool,
    /// Tenants to be pushed to every pod even if nothing differs.
    pub again: BTreeSet<TenantId>,
}

/// One object and what became of it.
#[derive(Debug)]
pub struct Entry {
    /// The object as it was last seen.
    pub object: TenantObject,
    /// The status on the API server, as far as is known.
    pub status: Option<Box<RealtimeTenantStatus>>,
    /// What keeps the object, as it is now, from compiling.
    pub problems: Vec<Rejection>,
    /// The last message that compiled.
    pub good: Option<Arc<TenantMessage>>,
    /// The quotas of that message, and who said so.
    pub effective: Option<EffectiveStatus>,
    /// The fleet that carries it.
    fleet: Option<FleetName>,
    /// What is told of the keys of that message.
    pub key_report: Option<KeyReport>,
    /// What was last seen of the keys that were made for it, if it asks for some.
    pub generated: Option<Seen>,
    /// False until the object was compiled, or is known not to be readable.
    compiled: bool,
    secrets: SecretVersions,
    sync: Sync,
    /// The resource version of the last write of ours: what was seen before it says nothing new about the status.
    written: Option<u64>,
}

impl Index {
    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// What pods should run, and what they should keep.
    pub fn desired(&self) -> (BTreeMap<TenantId, Arc<TenantMessage>>, BTreeSet<TenantId>) {
        (self.tenants.clone(), self.keep.clone())
    }

    /// The message pods should run of `id`.
    pub fn message(&self, id: &TenantId) -> Option<&Arc<TenantMessage>> {
        self.tenants.get(id)
    }

    /// True when pods keep what they run of `id`, because nothing is known of it that could be pushed.
    pub fn keeps(&self, id: &TenantId) -> bool {
        self.keep.contains(id)
    }

    /// The fleet that carries `id`, if that is known.
    pub fn home(&self, id: &TenantId) -> Option<&FleetName> {
        self.homes.get(id)
    }

    /// Every tenant that some fleet carries.
    pub fn carried(&self) -> Carried {
        self.tenants.clone()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Entry> {
        self.entries.get(key).map(AsRef::as_ref)
    }

    /// Every object.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.entries.keys()
    }

    /// Every object that claims `id`.
    pub fn claimants(&self, id: &TenantId) -> impl Iterator<Item = &ObjectKey> {
        self.claims.claimants(id)
    }

    /// Every object that `touched` is about.
    pub fn touched<'a>(&'a self, touched: &'a Touched) -> Box<dyn Iterator<Item = &'a ObjectKey> + 'a> {
        match touched {
            Touched::All => Box::new(self.keys()),
            Touched::Only(tenants) => Box::new(tenants.iter().flat_map(|id| self.claimants(id))),
        }
    }

    /// True when `key` holds its tenant id.
    pub fn holds(&self, key: &ObjectKey, id: &TenantId) -> bool {
        self.claims.holder(id) == Some(key)
    }

    /// The object that holds `id`.
    pub fn holder(&self, id: &TenantId) -> Option<&ObjectKey> {
        self.claims.holder(id)
    }

    /// Takes up a new or changed object.
    pub fn apply(&mut self, mut object: TenantObject) {
        let key = object.key.clone();
        if self.entries.get(&key).is_some_and(|entry| entry.object.uid != object.uid) {
            self.remove(&key);
        }
        let before = self.entries.remove(&key).map(|entry| *entry);
        if let Some(before) = &before {
            self.unlink(before);
            // The tenant id is immutable: one that can't be read now is still the one it was.
            if let (Err(_), Ok(id)) = (&object.tenant_id, &before.object.tenant_id) {
                object.tenant_id = Ok(id.clone());
            }
        }
        let changed = before.as_ref().map(|before| &before.object).is_none_or(|before| {
            before.generation != object.generation || before.spec.is_ok() != object.spec.is_ok() || Self::resumes(before, &object)
        });
        let mut entry = match before {
            Some(before) => before.succeeded_by(object),
            None => Entry {
                // Moved, not copied: with many tenants statuses are most of the memory.
                status: object.status.take(),
                object,
                problems: Vec::new(),
                good: None,
                effective: None,
                fleet: None,
                key_report: None,
                generated: None,
                compiled: false,
                secrets: SecretVersions::new(),
                sync: Sync::Done,
                written: None,
            },
        };
        if changed {
            match entry.object.tenant_id.as_ref().err().or(entry.object.spec.as_ref().err()) {
                Some(rejection) if !entry.object.paused => {
                    entry.problems = vec![rejection.clone()];
                    entry.compiled = true;
                }
                _ => {
                    entry.compiled = false;
                    self.changes.unresolved.insert(key.clone());
                }
            }
        }
        if entry.look_for_sync() {
            self.changes.unresolved.insert(key.clone());
        }
        self.link(&entry);
        let id = entry.object.tenant_id.clone().ok();
        self.entries.insert(key.clone(), Box::new(entry));
        self.changes.touched.insert(key);
        self.refresh(id);
    }

    /// Forgets an object.
    pub fn remove(&mut self, key: &ObjectKey) -> Option<Entry> {
        let entry = *self.entries.remove(key)?;
        self.unlink(&entry);
        self.changes.sources.extend(self.key_sets.unlink(key));
        self.refresh(entry.object.tenant_id.clone().ok());
        Some(entry)
    }

    /// A Secret is at `version` now, or gone: whoever has seen it otherwise must be resolved anew.
    pub fn secret_seen(&mut self, namespace: &str, name: &str, version: Option<&str>) {
        let Some(users) = self.secret_users.get(&(namespace.to_owned(), name.to_owned())) else { return };
        for key in users {
            let seen = self.entries.get(key).and_then(|entry| entry.secrets.get(name));
            if seen.is_none_or(|seen| seen.as_deref() != version) {
                self.changes.unresolved.insert(key.clone());
            }
        }
    }

    /// After all Secrets were listed anew: those that are not among `listed` are gone.
    pub fn secrets_listed(&mut self, listed: &HashSet<(String, String)>) {
        self.generated_secrets_listed(listed);
        let gone: Vec<_> = self.secret_users.keys().filter(|secret| !listed.contains(secret)).cloned().collect();
        for (namespace, name) in gone {
            self.secret_seen(&namespace, &name, None);
        }
    }

    /// What resolving `key` needs; `None` when there is nothing to resolve.
    pub fn job(&self, key: &ObjectKey) -> Option<Job> {
        let entry = self.entries.get(key)?;
        let TenantObject { uid, generation, spec, tenant_id, deleted, .. } = &entry.object;
        let wanted = tenant_id.is_ok() && deleted.is_none() && entry.may_compile();
        let spec = spec.as_ref().ok().filter(|_| wanted)?;
        let class = self.classes.choose(key, spec.class_name.as_deref())?;
        let key_sets = self.key_sets.of(key)?;
        Some(Job {
            key: key.clone(),
            uid: uid.clone(),
            generation: *generation,
            spec: Arc::clone(spec),
            class,
            key_sets,
            want: entry.object.want(None),
            sync: entry.sync.asked().cloned(),
        })
    }

    /// Takes up what `job` came to. `None` when the object has moved on meanwhile, and is to be resolved anew anyway.
    pub fn resolved(&mut self, job: &Job, resolution: Resolution) -> Option<Outcome> {
        let entry = self.entries.get_mut(&job.key)?;
        if entry.object.uid != job.uid || entry.object.generation != job.generation {
            return None;
        }
        entry.secrets = resolution.secrets;
        entry.generated = resolution.generated;
        if !entry.takes(resolution.outcome.as_ref().ok()) {
            return None;
        }
        entry.compiled = true;
        let outcome = match resolution.outcome {
            Ok(message) => {
                entry.problems.clear();
                let moved = entry.settle_in(resolution.fleet);
                entry.effective = Some(resolution.effective);
                entry.key_report = Some(resolution.key_report);
                let same = entry.good.as_ref().is_some_and(|good| **good == message);
                if !same {
                    entry.good = Some(Arc::new(message));
                }
                if same && !moved { Outcome::Unchanged } else { Outcome::Changed }
            }
            Err(problems) => {
                entry.problems = problems;
                Outcome::Rejected
            }
        };
        let id = entry.object.tenant_id.clone().ok();
        self.changes.touched.insert(job.key.clone());
        self.refresh(id);
        let again = self.synced(job);
        self.changes.again.extend(again);
        Some(outcome)
    }

    /// Notes a status that was written, and the resource version that came of it.
    pub fn status_written(&mut self, key: &ObjectKey, uid: &str, status: RealtimeTenantStatus, resource_version: Option<&str>) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.object.uid == uid) {
            entry.status = Some(Box::new(status));
            entry.look_for_sync();
            entry.written = resource_version.and_then(|version| version.parse().ok());
        }
    }

    fn link(&mut self, entry: &Entry) {
        let TenantObject { key, tenant_id, created, deleted, spec, .. } = &entry.object;
        if deleted.is_some() || spec.is_err() {
            self.changes.sources.extend(self.key_sets.unlink(key));
        }
        if deleted.is_some() {
            return;
        }
        if let Ok(id) = tenant_id {
            self.claims.claim(id, *created, key);
            self.changes.touched.extend(self.claims.claimants(id).cloned());
        }
        if let Ok(spec) = spec {
            self.classes.link(key, spec.class_name.as_deref());
            let class = self.classes.choose(key, spec.class_name.as_deref());
            self.changes.sources.extend(self.key_sets.link(key, spec, class.as_ref()));
        }
        for secret in spec.iter().flat_map(|spec| secrets_of(key, spec)) {
            self.secret_users.entry(secret).or_default().insert(key.clone());
        }
    }

    fn unlink(&mut self, entry: &Entry) {
        let TenantObject { key, tenant_id, created, spec, .. } = &entry.object;
        if let Ok(id) = tenant_id {
            self.claims.release(id, *created, key);
            // Another may hold the id now, even if pods should run the very same.
            self.changes.touched.extend(self.claims.claimants(id).cloned());
        }
        if let Ok(spec) = spec {
            self.classes.unlink(key, spec.class_name.as_deref());
        }
        for secret in spec.iter().flat_map(|spec| secrets_of(key, spec)) {
            if let Some(users) = self.secret_users.get_mut(&secret) {
                users.remove(key);
                if users.is_empty() {
                    self.secret_users.remove(&secret);
                }
            }
        }
    }

    /// Recomputes what pods should run of one tenant id.
    fn refresh(&mut self, id: Option<TenantId>) {
        let Some(id) = id else { return };
        let holder = self.claims.holder(&id).and_then(|key| self.entries.get(key)).map(AsRef::as_ref);
        let (message, keep) = match holder {
            Some(Entry { good: Some(good), .. }) => (Some(Arc::clone(good)), false),
            Some(entry) => (None, entry.owns_what_pods_run(self.suppliers.get(&id))),
            None => (None, false),
        };
        let home = holder.filter(|_| message.is_some() || keep).and_then(Entry::fleet);
        let moved = home.as_ref() != self.homes.get(&id);
        match home {
            Some(home) => _ = self.homes.insert(id.clone(), home),
            None => _ = self.homes.remove(&id),
        }
        let supplier = message.as_ref().and(holder).map(|entry| entry.object.uid.clone());
        let desired = match message {
            Some(message) => match self.tenants.insert(id.clone(), Arc::clone(&message)) {
                Some(before) => before != message,
                None => true,
            },
            None => self.tenants.remove(&id).is_some(),
        };
        let kept = if keep { self.keep.insert(id.clone()) } else { self.keep.remove(&id) };
        match supplier {
            Some(supplier) => {
                self.suppliers.insert(id.clone(), supplier);
            }
            None if holder.is_none() => {
                self.suppliers.remove(&id);
            }
            None => {}
        }
        self.changes.desired |= desired || kept || moved;
        if desired || kept || moved {
            self.changes.touched.extend(self.claims.claimants(&id).cloned());
        }
    }
}

/// Every Secret that the object at `key` follows, by namespace and name.
fn secrets_of(key: &ObjectKey, spec: &RealtimeTenantSpec) -> BTreeSet<(String, String)> {
    let named = references(spec).into_iter().map(|reference| reference.name.clone());
    let generated = spec.auth.generate.as_ref().map(|_| secret_name(key));
    named.chain(generated).map(|name| (key.namespace.clone(), name)).collect()
}

impl Entry {
    /// False until this generation of the object was compiled, or is known not to be readable: nothing can be said about it before.
    pub const fn compiled(&self) -> bool {
        self.compiled
    }

    /// What pods should run of it or, when it never compiled in this process, what it last said they should.
    pub fn version(&self) -> Option<&str> {
        match &self.good {
            Some(good) => Some(good.config_version.as_str()),
            None => self.status.as_ref()?.config_version.as_deref(),
        }
    }

    /// The fleet that carries it or, when it never compiled in this process, the one that did.
    pub fn fleet(&self) -> Option<FleetName> {
        let told = || FleetName::new(self.status.as_ref()?.fleet.as_ref()?.name.as_deref()?).ok();
        self.fleet.clone().or_else(told)
    }

    /// Takes up which fleet its class says; true when that is another. One that is paused stays where it is.
    fn settle_in(&mut self, fleet: FleetName) -> bool {
        let before = self.fleet.clone();
        self.fleet = if self.object.paused { self.fleet().or(Some(fleet)) } else { Some(fleet) };
        before.is_some() && before != self.fleet
    }

    /// True when pods may go on with what they run of the tenant although nothing is known of it: it came of this object.
    fn owns_what_pods_run(&self, supplier: Option<&String>) -> bool {
        let conflicted = self
            .status
            .as_ref()
            .and_then(|status| status::find(status, ConditionType::Accepted))
            .is_some_and(|accepted| accepted.reason == Reason::Conflicted.as_str());
        match supplier {
            Some(supplier) => *supplier == self.object.uid,
            None => !conflicted,
        }
    }

    fn succeeded_by(mut self, mut object: TenantObject) -> Self {
        let seen = object.resource_version.parse().ok();
        let status = object.status.take();
        if self.written.is_none() || seen >= self.written {
            self.status = status;
        }
        Self { object, ..self }
    }

    /// The time the object was marked for deletion.
    pub const fn deleted(&self) -> Option<Timestamp> {
        self.object.deleted
    }
}

#[cfg(test)]
mod tests;
