//! Tenants that people paused, or asked to be synced.

use carillon_tenant::{TenantId, TenantMessage};

use super::{Entry, Index};
use crate::{
    object::{ObjectKey, TenantObject},
    resolve::Job,
};

/// How a paused tenant stands to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// What is in force is what the resource says.
    InForce,
    /// The resource says something else, or nothing was compiled of it yet.
    Behind,
}

/// How far the sync has come that was asked for last.
#[derive(Debug, Default)]
pub enum Sync {
    /// None is wanted.
    #[default]
    Done,
    /// The Secrets are to be read anew.
    Asked(String),
    /// They were, and every pod is pushed again.
    Pushing(String),
}

impl Sync {
    /// The value that was asked for, until the Secrets are read.
    pub fn asked(&self) -> Option<&String> {
        match self {
            Self::Asked(value) => Some(value),
            Self::Done | Self::Pushing(_) => None,
        }
    }

    /// The value that is being pushed.
    pub fn pushing(&self) -> Option<&String> {
        match self {
            Self::Pushing(value) => Some(value),
            Self::Done | Self::Asked(_) => None,
        }
    }
}

impl Entry {
    /// How it stands to its resource, when it is paused.
    pub const fn pause(&self) -> Option<Pause> {
        match (self.object.paused, self.compiled) {
            (false, _) => None,
            (true, true) => Some(Pause::InForce),
            (true, false) => Some(Pause::Behind),
        }
    }

    /// True when its spec may be looked at. Of one that is paused that is once after a start, to know again what is in force.
    pub(super) fn may_compile(&self) -> bool {
        !self.object.paused || self.good.is_none() && self.version().is_some()
    }

    /// True when `message` may come into force: of one that is paused, only what is in force.
    pub(super) fn takes(&self, message: Option<&TenantMessage>) -> bool {
        !self.object.paused || message.is_some_and(|message| self.version() == Some(message.config_version.as_str()))
    }

    /// Takes up what its annotation and its status say of a sync; true when one is to begin.
    pub(super) fn look_for_sync(&mut self) -> bool {
        let observed = self.status.as_ref().and_then(|status| status.observed_sync.as_ref());
        let wanted = self.object.sync.as_ref().filter(|wanted| Some(*wanted) != observed);
        match (wanted, self.sync.asked().or(self.sync.pushing())) {
            (None, _) => self.sync = Sync::Done,
            (Some(wanted), current) if current == Some(wanted) => {}
            (Some(wanted), _) => {
                self.sync = Sync::Asked(wanted.clone());
                return true;
            }
        }
        false
    }
}

impl Index {
    /// After the Secrets of `job` were read: whether that was what a sync waited for. Gives the tenant to be pushed again.
    pub(super) fn synced(&mut self, job: &Job) -> Option<TenantId> {
        let entry = self.entries.get_mut(&job.key)?;
        let value = entry.sync.asked().filter(|asked| job.sync.as_ref() == Some(*asked))?.clone();
        entry.sync = Sync::Pushing(value);
        let id = entry.object.tenant_id.clone().ok()?;
        (self.holds(&job.key, &id) && self.message(&id).is_some()).then_some(id)
    }

    /// Begins anew what a leader before may have left undone.
    pub fn sync_anew(&mut self) {
        for (key, entry) in &mut self.entries {
            if let Sync::Pushing(value) = &mut entry.sync {
                entry.sync = Sync::Asked(std::mem::take(value));
                self.changes.unresolved.insert(key.clone());
            }
        }
    }

    /// True when `before` was paused and `after` isn't: what changed meanwhile is taken up.
    pub(super) const fn resumes(before: &TenantObject, after: &TenantObject) -> bool {
        before.paused && !after.paused
    }

    /// The sync of `key` whose push every pod has to acknowledge.
    pub fn pushing(&self, key: &ObjectKey) -> Option<&String> {
        self.get(key)?.sync.pushing()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        fixtures::{id, object, resolve_all, spec},
        metrics::Outcome,
    };

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const SECRET: Option<&str> = Some("0123456789abcdef0123456789abcdef");
    const OTHER_SECRET: Option<&str> = Some("fedcba9876543210fedcba9876543210");

    fn key() -> ObjectKey {
        ObjectKey::new("n", "acme")
    }

    fn tenant(generation: i64) -> TenantObject {
        object("acme", EARLY, generation, &spec("acme"))
    }

    fn paused(generation: i64) -> TenantObject {
        TenantObject { paused: true, ..tenant(generation) }
    }

    fn sync(value: &str) -> TenantObject {
        TenantObject { sync: Some(value.to_owned()), ..tenant(1) }
    }

    fn runs(index: &Index) -> Option<String> {
        index.message(&id("acme")).map(|message| message.config_version.to_string())
    }

    fn pause(index: &Index) -> Option<Pause> {
        index.get(&key()).unwrap().pause()
    }

    fn told(index: &mut Index, status: serde_json::Value) {
        let status = serde_json::from_value(status).unwrap();
        index.status_written(&key(), "uid-acme", status, Some("9"));
    }

    #[test]
    fn a_paused_tenant_stays_as_it_is_until_it_is_resumed() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        let before = runs(&index);
        index.apply(paused(1));
        assert_eq!(pause(&index), Some(Pause::InForce));
        index.secret_seen("n", "keys", Some("rotated"));
        index.apply(paused(2));
        assert_eq!(resolve_all(&mut index, OTHER_SECRET), []);
        assert_eq!((runs(&index), pause(&index)), (before.clone(), Some(Pause::Behind)));
        let unreadable = TenantObject { paused: true, ..object("acme", EARLY, 3, &json!({"tenantId": 7})) };
        index.apply(unreadable);
        assert!(index.get(&key()).unwrap().problems.is_empty(), "nobody looked at it");
        assert_eq!(runs(&index), before);
        index.apply(paused(4));
        index.take_changes();
        index.apply(tenant(4));
        assert_eq!(resolve_all(&mut index, OTHER_SECRET), [Some(Outcome::Changed)]);
        assert!(runs(&index).unwrap().starts_with("4-"));
        assert_eq!(pause(&index), None);
    }

    #[test]
    fn a_secret_that_changed_meanwhile_is_taken_up_when_it_is_resumed() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        let before = runs(&index);
        index.apply(paused(1));
        index.secret_seen("n", "keys", Some("rotated"));
        assert_eq!(resolve_all(&mut index, OTHER_SECRET), []);
        index.apply(tenant(1));
        assert_eq!(resolve_all(&mut index, OTHER_SECRET), [Some(Outcome::Changed)]);
        assert_ne!(runs(&index), before);
    }

    #[test]
    fn a_result_that_comes_after_the_pause_changes_nothing() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        let before = runs(&index);
        index.secret_seen("n", "keys", Some("rotated"));
        let waiting = index.take_changes().unresolved;
        let job = index.job(waiting.first().unwrap()).unwrap();
        index.apply(paused(1));
        let secrets = carillon_tenant::ResolvedSecrets::resolve(&job.spec, |_| Ok(OTHER_SECRET.unwrap().as_bytes().to_vec().into()));
        assert_eq!(index.resolved(&job, crate::resolve::Resolution::of(&job, Default::default(), secrets, None)), None);
        assert_eq!(runs(&index), before);
    }

    #[test]
    fn after_a_start_a_paused_tenant_is_what_its_status_says_or_stays_what_pods_run() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        let version = runs(&index).unwrap();
        let before =
            |generation| TenantObject { status: serde_json::from_value(json!({"configVersion": version})).unwrap(), ..paused(generation) };
        for (generation, secret, expected) in [(1, SECRET, Pause::InForce), (1, OTHER_SECRET, Pause::Behind), (2, SECRET, Pause::Behind)] {
            let mut index = Index::default();
            index.apply(before(generation));
            resolve_all(&mut index, secret);
            assert_eq!(pause(&index), Some(expected));
            assert_eq!(index.keeps(&id("acme")), expected == Pause::Behind);
            assert_eq!(index.get(&key()).unwrap().version(), Some(version.as_str()));
        }
        // One that never was in force doesn't come into force.
        let mut index = Index::default();
        index.apply(paused(1));
        assert_eq!(resolve_all(&mut index, SECRET), []);
        assert_eq!((runs(&index), pause(&index)), (None, Some(Pause::Behind)));
    }

    #[test]
    fn a_paused_tenant_can_be_deleted() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        index.apply(TenantObject { deleted: Some(k8s_openapi::jiff::Timestamp::UNIX_EPOCH), ..paused(1) });
        assert_eq!(runs(&index), None);
    }

    #[test]
    fn a_sync_reads_secrets_anew_and_is_pushed_even_if_nothing_differs() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        index.take_changes();
        index.apply(sync("once"));
        assert_eq!(index.pushing(&key()), None, "not read yet");
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Unchanged)]);
        assert_eq!(index.pushing(&key()).map(String::as_str), Some("once"));
        assert_eq!(index.take_changes().again, [id("acme")].into());
        // Neither the echo nor what was told begins it anew.
        index.apply(sync("once"));
        told(&mut index, json!({"observedSync": "once"}));
        index.apply(sync("once"));
        let changes = index.take_changes();
        assert!(changes.again.is_empty() && changes.unresolved.is_empty());
        assert_eq!(index.pushing(&key()), None);
        // Another leader before this one may not have come to an end.
        index.apply(sync("twice"));
        resolve_all(&mut index, SECRET);
        index.take_changes();
        index.sync_anew();
        resolve_all(&mut index, SECRET);
        assert_eq!(index.take_changes().again, [id("acme")].into());
    }

    #[test]
    fn a_sync_of_a_paused_tenant_waits() {
        let mut index = Index::default();
        index.apply(tenant(1));
        resolve_all(&mut index, SECRET);
        index.apply(TenantObject { paused: true, ..sync("once") });
        assert_eq!(resolve_all(&mut index, SECRET), []);
        index.take_changes();
        index.apply(sync("once"));
        resolve_all(&mut index, SECRET);
        assert_eq!(index.take_changes().again, [id("acme")].into());
    }
}
