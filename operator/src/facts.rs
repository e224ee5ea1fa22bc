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
    let fleet = entry.fleet().unwrap_or_default();
    let own = pods.clone().filter(|pusher| *pusher.fleet() == fleet);
    let runs = |pusher: &Pusher, id: &TenantId| matches!(pusher.ledger.runs(id), Some(Some(_)));
    let others = |id: &TenantId| pods.clone().filter(|pusher| *pusher.fleet() != fleet && runs(pusher, id)).collect::<Vec<_>>();
    let others = version.map(|(id, _)| others(id)).unwrap_or_default();
    let standing =
        |(id, version): (&TenantId, &str)| own.clone().map(|pusher| (pusher.pod().name, pusher.ledger.standing(id, version))).collect();
    // While it moves it is used in more than one fleet.
    let used = own.clone().chain(others.iter().copied());
    let usage = |(id, _)| Usage::total(used.map(|pusher| pusher.usage.of(id, now)), (&entry.good.as_ref()?.quotas).into());
    let owes = |id: &TenantId| own.clone().any(|pusher| pusher.ledger.owes(id));
    let moving_from = others.iter().map(|pusher| pusher.fleet().clone()).collect();
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
        moving_from,
        pods: version.map(standing).unwrap_or_default(),
        usage: version.and_then(usage),
        generates: entry.generates() && conflict.is_none(),
        generated: entry.generated.as_ref().and_then(|seen| Some(generated::status(&key.name, seen.ledger()?))),
        conflict,
        fleet,
    })
}

fn conflict(index: &Index, key: &ObjectKey, id: &TenantId) -> Option<String> {
    let holder = index.holder(id).filter(|holder| *holder != key)?;
    Some(format!("Tenant id {:?} is held by the older RealtimeTenant {holder}.", id.as_str()))
}
