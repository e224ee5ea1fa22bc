//! Key sets that tenants name. Reading files fetches nothing: a key set that is not known has no keys here, and that is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use carillon_crds::{RealtimeTenantSpec, Reason};
use carillon_tenant::{Fetched, JwksSource, KeyReport, KeySet, KeySets, compile::key_set_sources};

use super::{Finding, Manifests, Severity, TenantObject};

/// What `tenant`, which says `spec`, compiles with, and what there is to say about it.
pub fn of(tenant: &TenantObject, spec: &RealtimeTenantSpec, known: &KeySets) -> (KeySets, Vec<Finding>) {
    let (mut sets, mut findings) = (KeySets::new(), Vec::new());
    let mut say = |severity, reason, field: String, message| {
        let place = tenant.source.place(&field);
        let object = Some(tenant.object.clone());
        findings.push(Finding { severity, place, object, reason, field, message, elsewhere: false });
    };
    for (index, jwks) in spec.auth.jwt.jwks.iter().enumerate() {
        // What the schema does not allow was told already.
        let Ok(source) = JwksSource::of(jwks) else { continue };
        let field = format!("spec.auth.jwt.jwks[{index}].{}", source.field());
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
    let report = KeyReport::new(spec, &sets);
    for stale in report.stale {
        say(Severity::Warning, Reason::JwksStale, stale.field, stale.message);
    }
    for note in report.notes {
        say(Severity::Note, Reason::ResolvedRefs, "spec.auth.jwt.jwks".to_owned(), note);
    }
    (sets, findings)
}

impl Manifests {
    /// Every key set that a tenant names, with the longest time between two looks at it.
    pub fn key_sets(&self) -> BTreeMap<JwksSource, Duration> {
        let mut wanted = BTreeMap::new();
        for (source, seconds) in self.tenants.iter().filter_map(|tenant| tenant.spec.as_ref()).flat_map(key_set_sources) {
            let interval = Duration::from_secs(seconds.into());
            let shortest = wanted.entry(source).or_insert(interval);
            *shortest = interval.min(*shortest);
        }
        wanted
    }
}
