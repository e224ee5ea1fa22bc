//! When the operator's finalizer goes onto an object, and when it comes off. Pure.

use std::time::Duration;

use carillon_tenant::ConfigVersion;

use crate::index::Entry;

/// How long a deleted tenant's object waits, at most, for pods to drop it.
const DROP_DEADLINE: Duration = Duration::from_secs(60);
/// How often a waiting object is looked at when nothing happens.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What to do about the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    /// Put it on.
    Add,
    /// Take it off.
    Remove,
    /// Look again later.
    Wait,
}

/// What to do about the finalizer of an object.
///
/// `holds` says whether it holds its tenant id, `desired` is the version pods should run of that id by now (of another object, when
/// this one is deleted), and `runs` what each pod does run, where that is known. `waited` is how long the deletion has been known here:
/// the API server says when it was asked for, but by a clock that may be minutes away from ours.
pub fn step(
    entry: &Entry,
    holds: bool,
    desired: Option<&ConfigVersion>,
    mut runs: impl Iterator<Item = Option<Option<ConfigVersion>>>,
    waited: Duration,
) -> Step {
    match (entry.deleted(), entry.object.has_finalizer()) {
        (None, false) if holds && entry.good.is_some() => Step::Add,
        (None, _) | (Some(_), false) => Step::Nothing,
        (Some(_), true) => {
            let late = waited >= DROP_DEADLINE;
            let mut dropped = || runs.all(|known| known.is_some_and(|version| version.is_none() || version.as_ref() == desired));
            if late || dropped() { Step::Remove } else { Step::Wait }
        }
    }
}

#[cfg(test)]
mod tests {
    use carillon_crds::FINALIZER;
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::{
        fixtures::{object, spec, version},
        index::Index,
        object::ObjectKey,
    };

    #[test]
    fn the_finalizer_waits_for_every_pod_but_not_for_ever() {
        let old = || Some(Some(version("1-a")));
        let new = || Some(Some(version("1-b")));
        let gone = || Some(None);
        // What pods run, what they should run by now, seconds since the deletion; what follows.
        let cases = [
            (vec![], None, 0, Step::Remove),
            (vec![gone(), gone()], None, 0, Step::Remove),
            (vec![gone(), old()], None, 59, Step::Wait),
            (vec![gone(), None], None, 59, Step::Wait),
            (vec![gone(), old(), None], None, 60, Step::Remove),
            (vec![new(), gone()], Some(version("1-b")), 1, Step::Remove),
            (vec![new(), old()], Some(version("1-b")), 1, Step::Wait),
        ];
        for (index, (runs, desired, seconds, expected)) in cases.into_iter().enumerate() {
            let mut object = object("acme", "2026-01-01T00:00:00Z", 1, &spec("acme"));
            object.deleted = Some(Timestamp::UNIX_EPOCH);
            let waited = Duration::from_secs(seconds);
            for (finalizers, expected) in [(vec![FINALIZER.to_owned()], expected), (Vec::new(), Step::Nothing)] {
                object.finalizers = finalizers;
                let mut tenants = Index::default();
                tenants.apply(object.clone());
                let entry = tenants.get(&ObjectKey::new("n", "acme")).unwrap();
                assert_eq!(step(entry, false, desired.as_ref(), runs.clone().into_iter(), waited), expected, "case {index}");
            }
        }
    }
}
