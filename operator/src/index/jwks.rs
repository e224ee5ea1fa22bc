//! Key sets among the things that tenants follow.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use carillon_crds::RealtimeTenantSpec;
use carillon_tenant::{ClassOutcome, Fetched, JwksSource, KeySets, TenantId, auth::NamedKeySets};

use super::Index;
use crate::object::ObjectKey;

/// Who names which key set, by itself or by its class, and what is known of it.
#[derive(Debug, Default)]
pub struct KeySetUsers {
    /// With the longest time between two looks that each asks for, in seconds.
    users: HashMap<JwksSource, BTreeMap<ObjectKey, u32>>,
    named: HashMap<ObjectKey, BTreeMap<JwksSource, u32>>,
    known: KeySets,
}

impl KeySetUsers {
    /// `key` names what `spec` says or, where that says nothing, what its class does. While its class isn't known, what it named last stays.
    /// Returns the sources for which something changed.
    pub fn link(&mut self, key: &ObjectKey, spec: &RealtimeTenantSpec, class: Option<&ClassOutcome>) -> Vec<JwksSource> {
        let class = match class {
            Some(Ok(class)) => class.as_deref(),
            Some(Err(_)) | None if spec.auth.jwt.jwks.is_empty() && self.named.contains_key(key) => return Vec::new(),
            Some(Err(_)) | None => None,
        };
        let mut named = BTreeMap::new();
        for (source, seconds) in NamedKeySets::of(spec, class).sources() {
            let asked = named.entry(source).or_insert(seconds);
            *asked = seconds.min(*asked);
        }
        self.name(key, named)
    }

    /// `key` names nothing any more. Returns the sources.
    pub fn unlink(&mut self, key: &ObjectKey) -> Vec<JwksSource> {
        self.name(key, BTreeMap::new())
    }

    fn name(&mut self, key: &ObjectKey, named: BTreeMap<JwksSource, u32>) -> Vec<JwksSource> {
        let before = self.named.remove(key).unwrap_or_default();
        let gone = before.keys().filter(|source| !named.contains_key(*source));
        let other = named.iter().filter(|(source, seconds)| before.get(*source) != Some(*seconds)).map(|(source, _)| source);
        let changed: Vec<_> = gone.chain(other).cloned().collect();
        for source in &changed {
            match named.get(source) {
                Some(seconds) => _ = self.users.entry(source.clone()).or_default().insert(key.clone(), *seconds),
                None => {
                    if let Some(users) = self.users.get_mut(source) {
                        users.remove(key);
                    }
                }
            }
            if self.users.get(source).is_some_and(BTreeMap::is_empty) {
                self.users.remove(source);
            }
        }
        if !named.is_empty() {
            self.named.insert(key.clone(), named);
        }
        changed
    }

    fn sources(&self, key: &ObjectKey) -> impl Iterator<Item = &JwksSource> {
        self.named.get(key).into_iter().flat_map(BTreeMap::keys)
    }

    /// What is known of all that `key` names; `None` while one was not tried yet.
    pub fn of(&self, key: &ObjectKey) -> Option<KeySets> {
        self.sources(key).map(|source| self.known.get(source).map(|fetched| (source.clone(), fetched.clone()))).collect()
    }
}

impl Index {
    /// The longest time between two looks at `source` that all who name it agree to; `None` when nobody does.
    pub fn key_set_interval(&self, source: &JwksSource) -> Option<Duration> {
        let seconds = self.key_sets.users.get(source)?.values().min()?;
        Some(Duration::from_secs((*seconds).into()))
    }

    /// Takes up what was fetched: whoever names it, which is returned, is compiled anew.
    pub fn key_set_seen(&mut self, source: JwksSource, fetched: Fetched) -> Vec<ObjectKey> {
        let Some(users) = self.key_sets.users.get(&source) else { return Vec::new() };
        let users: Vec<_> = users.keys().cloned().collect();
        self.changes.unresolved.extend(users.iter().cloned());
        self.key_sets.known.insert(source, fetched);
        users
    }

    /// Looks anew at what `keys` name, whose class may be another.
    pub(super) fn follow_classes<'a>(&mut self, keys: impl IntoIterator<Item = &'a ObjectKey>) {
        for key in keys {
            let Some(object) = self.entries.get(key).map(|entry| &entry.object).filter(|object| object.deleted.is_none()) else { continue };
            let Ok(spec) = &object.spec else { continue };
            let class = self.classes.choose(key, spec.class_name.as_deref());
            self.changes.sources.extend(self.key_sets.link(key, spec, class.as_ref()));
        }
    }

    /// Forgets what nobody names.
    pub fn key_set_gone(&mut self, source: &JwksSource) {
        self.key_sets.known.remove(source);
    }

    /// The sources of the tenant `id`, when none of its keys answers to one of `kids`.
    pub fn sources_lacking(&self, id: &TenantId, kids: &[String]) -> Vec<JwksSource> {
        let sources: Vec<_> = self.holder(id).into_iter().flat_map(|key| self.key_sets.sources(key)).cloned().collect();
        let known = |kid: &String| sources.iter().any(|source| self.key_set(source).is_some_and(|keys| keys.has_kid(kid)));
        if kids.iter().all(known) { Vec::new() } else { sources }
    }

    fn key_set(&self, source: &JwksSource) -> Option<&carillon_tenant::KeySet> {
        Some(self.key_sets.known.get(source)?.key_set()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use carillon_tenant::{KeySet, RejectionCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        fixtures::{class, id, object, resolve_all},
        metrics::Outcome,
        object::TenantObject,
    };

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("n", name)
    }

    fn url(name: &str) -> JwksSource {
        JwksSource::Url(format!("https://{name}/keys"))
    }

    fn tenant(name: &str, generation: i64, jwks: &Value) -> TenantObject {
        object(name, "2026-01-01T00:00:00Z", generation, &json!({"tenantId": name, "auth": {"jwt": {"jwks": jwks}}}))
    }

    fn keys(kid: &str) -> Arc<KeySet> {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": kid});
        Arc::new(KeySet::parse(json!({"keys": [key, {"kty": "oct"}]}).to_string().as_bytes()).unwrap())
    }

    fn kids(index: &Index, name: &str) -> Vec<String> {
        let report = index.get(&key(name)).unwrap().key_report.as_ref();
        report.map(|report| report.keys.iter().filter_map(|key| key.kid.clone()).collect()).unwrap_or_default()
    }

    fn problem(index: &Index, name: &str) -> Option<RejectionCode> {
        index.get(&key(name)).unwrap().problems.first().map(|problem| problem.code)
    }

    #[test]
    fn a_tenant_waits_for_the_first_try_and_follows_what_is_fetched() {
        let mut index = Index::default();
        index.apply(tenant("acme", 1, &json!([{"url": "https://a/keys", "refreshSeconds": 600}])));
        index.apply(tenant("globex", 1, &json!([{"url": "https://a/keys", "refreshSeconds": 120}, {"url": "https://b/keys"}])));
        index.apply(tenant("other", 1, &json!([{"url": "https://b/keys"}])));
        let changes = index.take_changes();
        assert_eq!(changes.sources, [url("a"), url("b")].into());
        assert!(changes.unresolved.iter().all(|key| index.job(key).is_none()), "nothing is said before the first try");
        assert!(!index.get(&key("acme")).unwrap().compiled());
        assert_eq!(index.key_set_interval(&url("a")), Some(Duration::from_secs(120)), "the shortest counts");

        index.key_set_seen(url("b"), Fetched::Fresh(keys("b1")));
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Changed)], "only who lacks nothing else");
        index.key_set_seen(url("a"), Fetched::Never("no connection to a:443".to_owned()));
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Rejected), Some(Outcome::Rejected)]);
        assert_eq!((problem(&index, "acme"), index.message(&id("acme"))), (Some(RejectionCode::JwksUnavailable), None));
        assert!(index.keeps(&id("acme")), "pods keep what they run of it");

        index.key_set_seen(url("a"), Fetched::Fresh(keys("a1")));
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Changed), Some(Outcome::Changed)]);
        assert_eq!((kids(&index, "acme"), kids(&index, "globex")), (vec!["a1".to_owned()], vec!["a1".to_owned(), "b1".to_owned()]));
        assert_eq!(index.get(&key("acme")).unwrap().key_report.as_ref().unwrap().notes.len(), 1);
        index.take_changes();

        index.key_set_seen(url("a"), Fetched::Fresh(keys("a1")));
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Unchanged), Some(Outcome::Unchanged)]);
        index.key_set_seen(url("a"), Fetched::Stale(keys("a1"), "no connection to a:443".to_owned()));
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Unchanged), Some(Outcome::Unchanged)]);
        assert_eq!(index.get(&key("acme")).unwrap().key_report.as_ref().unwrap().stale.len(), 1);
        assert!(!index.take_changes().desired, "nothing to push");
        index.key_set_seen(url("a"), Fetched::Fresh(keys("a2")));
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Changed), Some(Outcome::Changed)]);
        assert_eq!(kids(&index, "acme"), ["a2"]);
    }

    #[test]
    fn a_source_that_nobody_names_any_more_is_told() {
        let mut index = Index::default();
        index.apply(tenant("acme", 1, &json!([{"url": "https://a/keys"}])));
        index.key_set_seen(url("a"), Fetched::Fresh(keys("a1")));
        resolve_all(&mut index, None);
        index.apply(tenant("acme", 1, &json!([{"url": "https://a/keys"}])));
        assert!(index.key_set_interval(&url("a")).is_some(), "another look at the same object changes nothing");
        assert!(index.job(&key("acme")).is_some());
        index.take_changes();
        index.apply(tenant("acme", 2, &json!([{"issuer": "https://a"}])));
        let issuer = JwksSource::Issuer("https://a".to_owned());
        assert_eq!(index.take_changes().sources, [url("a"), issuer].into());
        assert_eq!(index.key_set_interval(&url("a")), None);
        index.remove(&key("acme"));
        assert_eq!(index.take_changes().sources.len(), 1);
    }

    #[test]
    fn only_kids_that_no_key_answers_to_are_a_sign() {
        let mut index = Index::default();
        index.apply(tenant("acme", 1, &json!([{"url": "https://a/keys"}])));
        index.key_set_seen(url("a"), Fetched::Fresh(keys("a1")));
        let lacking = |kids: &[&str]| index.sources_lacking(&id("acme"), &kids.iter().map(|kid| (*kid).to_owned()).collect::<Vec<_>>());
        assert_eq!(lacking(&["a1"]), []);
        assert_eq!(lacking(&["a1", "a2"]), [url("a")]);
        assert_eq!(index.sources_lacking(&id("nobody"), &["a2".to_owned()]), []);
    }

    #[test]
    fn what_a_class_names_is_fetched_for_the_tenants_that_name_nothing() {
        let mut index = Index::default();
        let names = |url: &str| json!({"defaults": {"auth": {"jwt": {"jwks": [{"url": format!("https://{url}/keys")}]}}}});
        index.apply(tenant("acme", 1, &json!([])));
        index.apply(tenant("globex", 1, &json!([{"url": "https://b/keys"}])));
        assert_eq!(index.take_changes().sources, [url("b")].into());
        index.class_seen(class("standard", 1, true, &names("a")));
        let changes = index.take_changes();
        assert_eq!((changes.sources, changes.unresolved.len()), ([url("a")].into(), 2));
        assert!(index.job(&key("acme")).is_none(), "it waits for the first try");
        index.key_set_seen(url("a"), Fetched::Fresh(keys("a1")));
        index.key_set_seen(url("b"), Fetched::Fresh(keys("b1")));
        resolve_all(&mut index, None);
        assert_eq!((kids(&index, "acme"), kids(&index, "globex")), (vec!["a1".to_owned()], vec!["b1".to_owned()]));
        assert_eq!(index.sources_lacking(&id("acme"), &["a2".to_owned()]), [url("a")]);

        // A class that is gone takes no key away, and those are followed as before.
        index.class_gone("standard");
        index.class_seen(class("other", 1, false, &json!({})));
        let mut named = tenant("acme", 2, &json!([]));
        named.spec = named
            .spec
            .map(|spec| Arc::new(carillon_crds::RealtimeTenantSpec { class_name: Some("standard".to_owned()), ..(*spec).clone() }));
        index.class_seen(class("standard", 2, false, &names("a")));
        index.apply(named.clone());
        resolve_all(&mut index, None);
        index.class_gone("standard");
        assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Rejected)]);
        assert_eq!((kids(&index, "acme"), index.key_set_interval(&url("a")).is_some()), (vec!["a1".to_owned()], true));

        index.class_seen(class("standard", 3, false, &names("c")));
        assert_eq!(index.take_changes().sources, [url("a"), url("c")].into());
        assert_eq!(index.key_set_interval(&url("a")), None);
        index.remove(&key("acme"));
        assert_eq!(index.take_changes().sources, [url("c")].into());
    }
}
