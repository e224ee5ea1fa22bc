//! What is known of a tenant, gathered from the index and from what every pod was heard to say.

use std::time::Duration;

use carillon_tenant::{TenantId, generated};
use tokio::time::Instant;

use crate::{index::Index, object::ObjectKey, pusher::Pusher, status::Facts, usage::Usage};

/// Of a tenant's use there is news from several pods at once: it is looked at once in this time.
pub const USAGE_GATHER: Duration = Duration::from_secs(1);

/// What is known of a tenant; `None` while too little is, or when it is being deleted.
pub fn gather<'a>(index: &Index, pods: impl Iterator<Item = &'a Pusher> + Clone, key: &ObjectKey, now: Instant) -> Option<Facts> {
    let entry = index.get(key).filter(|entry| entry.deleted().is_none() && (entry.compiled() || entry.pause().is_some()))?;
    let id = entry.object.tenant_id.as_ref().ok();
    let conflict = id.and_then(|id| conflict(index, key, id));
    let in_force = |id: &&TenantId| conflict.is_none() && (entry.good.is_some() || index.keeps(id));
    let version = id.filter(in_force).and_then(|id| Some((id, entry.version()?)));
    let standing =
        |(id, version): (&TenantId, &str)| pods.clone().map(|pusher| (pusher.pod().name, pusher.ledger.standing(id, version))).collect();
    let usage = |(id, _)| Usage::total(pods.clone().map(|pusher| pusher.usage.of(id, now)), (&entry.good.as_ref()?.quotas).into());
    let owes = |id: &TenantId| pods.clone().any(|pusher| pusher.ledger.owes(id));
    Some(Facts {
        generation: entry.object.generation,
        problems: entry.problems.clone(),
        readable: entry.object.spec.is_ok(),
        pause: entry.pause(),
        synced: index.pushing(key).filter(|_| !id.is_some_and(owes)).cloned(),
        suspended: entry.good.as_ref().is_some_and(|good| good.suspended),
        version: version.map(|(_, version)| version.to_owned()),
        kept: entry.good.is_none(),
        effective: entry.effective.clone(),
        key_report: entry.key_report.clone(),
        pods: version.map(standing).unwrap_or_default(),
        usage: version.and_then(usage),
        generates: entry.generates() && conflict.is_none(),
        generated: entry.generated.as_ref().and_then(|seen| Some(generated::status(&key.name, seen.ledger()?))),
        conflict,
    })
}

fn conflict(index: &Index, key: &ObjectKey, id: &TenantId) -> Option<String> {
    let holder = index.holder(id).filter(|holder| *holder != key)?;
    Some(format!("Tenant id {:?} is held by the older RealtimeTenant {holder}.", id.as_str()))
}
