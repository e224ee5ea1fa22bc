//! Which version of which tenant: kept once for all pods that run the same.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use carillon_tenant::{
    ConfigVersion, TenantId,
    push::{Applied, digest},
};

/// Tenants and their versions: immutable, and shared.
#[derive(Debug, Default)]
pub struct Roster {
    /// Sorted, each once.
    entries: Box<[(TenantId, ConfigVersion)]>,
    digest: OnceLock<String>,
}

impl Roster {
    /// The roster of `entries`; the last counts where a tenant stands twice.
    fn new(mut entries: Vec<(TenantId, ConfigVersion)>) -> Self {
        if !entries.is_sorted_by(|(before, _), (after, _)| before < after) {
            entries = entries.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
        }
        Self { entries: entries.into(), digest: OnceLock::new() }
    }

    /// The version of `tenant`.
    pub fn get(&self, tenant: &TenantId) -> Option<&ConfigVersion> {
        let place = self.entries.binary_search_by(|(id, _)| id.cmp(tenant)).ok()?;
        Some(&self.entries[place].1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&TenantId, &ConfigVersion)> {
        self.entries.iter().map(|(tenant, version)| (tenant, version))
    }

    /// How many tenants there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The digest of a pod that runs exactly these. Costs milliseconds the first time.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| digest(self.iter()))
    }

    fn is(&self, applied: &[Applied]) -> bool {
        let same = |((tenant, version), applied): ((&TenantId, &ConfigVersion), &Applied)| {
            *tenant == applied.tenant_id && *version == applied.config_version
        };
        self.len() == applied.len() && self.iter().zip(applied).all(same)
    }
}

impl FromIterator<(TenantId, ConfigVersion)> for Roster {
    fn from_iter<I: IntoIterator<Item = (TenantId, ConfigVersion)>>(entries: I) -> Self {
        Self::new(entries.into_iter().collect())
    }
}

/// Lets pods that are found to run the same share one roster, also before it is known what they should run.
#[derive(Debug, Default)]
pub struct Rosters(Mutex<Weak<Roster>>);

impl Rosters {
    /// The roster of what a pod said it runs.
    pub fn of(&self, applied: Vec<Applied>) -> Arc<Roster> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.upgrade().filter(|last| last.is(&applied)) {
            return last;
        }
        let roster = Arc::new(applied.into_iter().map(|Applied { tenant_id, config_version }| (tenant_id, config_version)).collect());
        *last = Arc::downgrade(&roster);
        roster
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{applied, digest_of, id, message, version};

    #[test]
    fn it_is_a_sorted_map() {
        let roster: Roster = [("b", "1"), ("a", "2"), ("b", "3")].map(|(tenant, text)| (id(tenant), version(text))).into_iter().collect();
        let entries: Vec<_> = roster.iter().map(|(tenant, version)| (tenant.as_str(), version.as_str())).collect();
        assert_eq!(entries, [("a", "2"), ("b", "3")]);
        assert_eq!((roster.len(), roster.get(&id("b")), roster.get(&id("c"))), (2, Some(&version("3")), None));
    }

    #[test]
    fn pods_that_run_the_same_share_one() {
        let (a1, a2, b1) = (applied(&message("a", 1)), applied(&message("a", 2)), applied(&message("b", 1)));
        let rosters = Rosters::default();
        let first = rosters.of(vec![a1.clone(), b1.clone()]);
        assert_eq!(first.digest(), digest_of(&[a1.clone(), b1.clone()]));
        assert!(Arc::ptr_eq(&first, &rosters.of(vec![a1.clone(), b1.clone()])));
        for other in [vec![a1.clone()], vec![a2, b1.clone()], vec![a1, b1.clone(), b1]] {
            assert!(!Arc::ptr_eq(&first, &rosters.of(other)));
        }
    }
}
