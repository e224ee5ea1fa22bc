//! What a push would take from a pod.

use carillon_tenant::TenantId;

use super::Ledger;
use crate::{desired::Desired, fuse::too_many};

impl Ledger {
    /// What bringing the pod to `desired` would take from it, when that is [too much](crate::fuse): nothing is pushed then. What was
    /// released doesn't count, and neither does what another fleet carries.
    pub fn excess(&self, desired: &Desired) -> Option<Vec<TenantId>> {
        let record = self.lock();
        let known = record.known.as_ref()?;
        let Desired { tenants, keep, released, carried, .. } = desired;
        let stays = |tenant: &TenantId| {
            [tenants, &**carried].into_iter().any(|tenants| tenants.contains_key(tenant))
                || [keep, released].into_iter().any(|tenants| tenants.contains(tenant))
        };
        let goes = |tenant: &&TenantId| !stays(tenant);
        let removals: Vec<_> = match known.behind(desired) {
            Some((_, gone)) => gone.iter().filter(goes).cloned().collect(),
            None => known.applied.iter().map(|(tenant, _)| tenant).filter(goes).cloned().collect(),
        };
        too_many(removals.len(), known.applied.len()).then_some(removals)
    }
}
