//! The loop's part in syncs.

use std::collections::BTreeSet;

use carillon_tenant::TenantId;
use tokio::time::Instant;

use super::Controller;

impl Controller {
    /// Has `tenants` pushed to every pod, whether or not something differs.
    pub(super) fn push_again(&mut self, tenants: &BTreeSet<TenantId>, now: Instant) {
        for id in tenants {
            tracing::info!(tenant = %id, pods = self.pushers.len(), "pushed again, as was asked by annotation");
            self.pushers.values().for_each(|pusher| pusher.ledger.push_again(id));
        }
        if !tenants.is_empty() {
            // Pushers look when something is published.
            self.gather.change(now);
        }
    }
}
