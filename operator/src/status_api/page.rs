//! One page of the report.

use std::{ops::Bound, sync::Arc};

use carillon_tenant::{
    FleetName, TenantId,
    report::{CellState, FleetReport, REPORT_TENANTS_MAX, ReportQuery, TenantReport},
};
use tokio::time::Instant;

use super::PodHandle;
use crate::{acks::Wanted, desired::Desired, fleet::PodUid};

/// Tenants times pods on one page: with more pods, fewer tenants fit.
const CELLS_MAX: usize = 50_000;

/// What is desired of a fleet.
type OfFleet<'a> = (&'a FleetName, Arc<Desired>);

/// Fills in pods and tenants.
pub(super) fn fill(report: &mut FleetReport, fleet: &[(PodUid, PodHandle)], desired: &[OfFleet<'_>], query: &ReportQuery, now: Instant) {
    let mut pods: Vec<_> = fleet.iter().map(|(uid, handle)| (handle.ledger.pod_report(uid, handle.pod(), now), handle)).collect();
    pods.sort_by(|(one, _), (other, _)| (&one.name, &one.uid).cmp(&(&other.name, &other.uid)));
    let fits = (CELLS_MAX / pods.len().max(1)).max(1);
    let (wanted, more) = wanted(desired, query, fits);
    let tenant = |(name, (id, version)): &(&FleetName, Wanted)| TenantReport {
        tenant_id: id.clone(),
        version: version.clone(),
        fleet: (*name).clone(),
        moving_from: Vec::new(),
        synced: 0,
        cells: Vec::new(),
    };
    let mut tenants: Vec<_> = wanted.iter().map(tenant).collect();
    for (name, _) in desired {
        let (places, of_fleet): (Vec<_>, Vec<_>) =
            wanted.iter().enumerate().filter(|(_, (of, _))| of == name).map(|(place, (_, wanted))| (place, wanted.clone())).unzip();
        for (place, (pod, handle)) in pods.iter().enumerate() {
            if pod.fleet != **name {
                for place in &places {
                    let tenant = &mut tenants[*place];
                    // On its way from there.
                    if matches!(handle.ledger.runs(&tenant.tenant_id), Some(Some(_))) && !tenant.moving_from.contains(&pod.fleet) {
                        tenant.moving_from.push(pod.fleet.clone());
                    }
                }
                continue;
            }
            let asked = query.pod.as_ref().is_none_or(|name| *name == pod.name);
            let all = query.tenant.is_some() || query.pod.is_some();
            for (tenant, cell) in places.iter().zip(handle.ledger.cells(&of_fleet, place, asked && all, now)) {
                let state = cell.as_ref().map_or_else(|state| *state, |cell| cell.state);
                tenants[*tenant].synced += usize::from(state == CellState::Synced);
                tenants[*tenant].cells.extend(cell.ok().filter(|_| asked));
            }
        }
    }
    report.next = tenants.last().filter(|_| more).map(|last| last.tenant_id.clone());
    report.tenants = tenants;
    report.pods = pods.into_iter().map(|(pod, _)| pod).collect();
}

/// The tenants of the page, each with the fleet that carries it, and whether there are more.
fn wanted<'a>(desired: &[OfFleet<'a>], query: &ReportQuery, fits: usize) -> (Vec<(&'a FleetName, Wanted)>, bool) {
    let limit = query.limit.unwrap_or(REPORT_TENANTS_MAX).min(fits);
    let from = |id: Option<&TenantId>| (id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone())), Bound::Unbounded);
    let mut all: Vec<_> = Vec::new();
    for (name, desired) in desired {
        let own = |id: &TenantId| !desired.guests.contains(id);
        if let Some(id) = query.tenant.as_ref() {
            let message = desired.tenants.get(id).map(|message| Some(message.config_version.clone()));
            let version = message.or_else(|| desired.keep.contains(id).then_some(None)).filter(|_| own(id));
            all.extend(version.map(|version| (*name, (id.clone(), version))));
            continue;
        }
        let range = from(query.after.as_ref());
        // One more than fits tells whether there are more.
        let pushed = desired.tenants.range::<TenantId, _>(range.clone()).filter(|(id, _)| own(id)).take(limit + 1);
        let kept = desired.keep.range::<TenantId, _>(range).filter(|id| own(id)).take(limit + 1);
        all.extend(pushed.map(|(id, message)| (*name, (id.clone(), Some(message.config_version.clone())))));
        all.extend(kept.map(|id| (*name, (id.clone(), None))));
    }
    all.sort_by(|(_, one), (_, other)| one.cmp(other));
    let more = all.len() > limit;
    all.truncate(limit);
    (all, more)
}
