//! Key sets that tenants name. Reading files fetches nothing: a key set that is not known has no keys here, and that is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use carillon_crds::{RealtimeTenantSpec, Reason};
use carillon_tenant::{Class, Fetched, JwksSource, KeyReport, KeySet, KeySets, ResolvedSecrets, auth::NamedKeySets};

use super::{Finding, Manifests, Severity, TenantObject, classes};

/// What `tenant`, which says `spec` and is under `class`, compiles with, and what there is to say about it.
pub fn of(tenant: &TenantObject, spec: &RealtimeTenantSpec, class: Option<&Class>, known: &KeySets) -> (KeySets, Vec<Finding>) {
    let named = NamedKeySets::of(spec, class);
    let (mut sets, mut findings) = (KeySets::new(), Vec::new());
    let mut say = |severity, reason, field: String, message| {
        let place = tenant.source.place(&field);
        let object = Some(tenant.object.clone());
        findings.push(Finding { severity, place, object, reason, field, message, elsewhere: false });
    };
    for (index, jwks) in named.jwks.iter().enumerate() {
        // What the schema does not allow was told already.
        let Ok(source) = JwksSource::of(jwks) else { continue };
        let field = named.field(index, source.field());
        let set = match known.get(&source) {
            Some(fetched @ (Fetched::Fresh(_) | Fetched::Stale(..))) => fetched.clone(),
            Some(Fetched::Never(why)) => {
                say(
                    Severity::Warning,
                    Reason::JwksUnavailable,
                    field,
                    format!("could not be fetched, so its keys are not known here: {why}"),
                );
                Fetched::Fresh(Arc::new(KeySet::default()))
            }
            None => {
                say(Severity::Note, Reason::JwksUnavailable, field, "was not fetched: its keys are not known here".to_owned());
                Fetched::Fresh(Arc::new(KeySet::default()))
            }
        };
        sets.insert(source, set);
    }
    let found = ResolvedSecrets::default().with_key_sets(sets.clone());
    let report = KeyReport::new(&tenant.object.name, spec, class, &found);
    for stale in report.stale {
        say(Severity::Warning, Reason::JwksStale, stale.field, stale.message);
    }
    for note in report.notes {
        say(Severity::Note, Reason::ResolvedRefs, "spec.auth.jwt.jwks".to_owned(), note);
    }
    (sets, findings)
}

impl Manifests {
    /// Every key set that a tenant or its class names, with the longest time between two looks at it.
    pub fn key_sets(&self) -> BTreeMap<JwksSource, Duration> {
        let mut wanted = BTreeMap::new();
        // What is wrong with a class is told elsewhere.
        let known = classes::compile(self, &mut Vec::new());
        for (tenant, spec) in self.tenants.iter().filter_map(|tenant| Some((tenant, tenant.spec.as_ref()?))) {
            let class = classes::choose(self, &known, tenant).ok().flatten();
            for (source, seconds) in NamedKeySets::of(spec, class.as_deref()).sources() {
                let interval = Duration::from_secs(seconds.into());
                let shortest = wanted.entry(source).or_insert(interval);
                *shortest = interval.min(*shortest);
            }
        }
        wanted
    }
}
