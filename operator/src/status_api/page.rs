//! One page of the report.

use std::ops::Bound;

use carillon_tenant::{
    TenantId,
    report::{CellState, FleetReport, REPORT_TENANTS_MAX, ReportQuery, TenantReport},
};
use tokio::time::Instant;

use super::PodHandle;
use crate::{acks::Wanted, desired::Desired, fleet::PodUid};

/// Tenants times pods on one page: with more pods, fewer tenants fit.
const CELLS_MAX: usize = 50_000;

/// Fills in pods and tenants.
pub(super) fn fill(report: &mut FleetReport, fleet: &[(PodUid, PodHandle)], desired: Option<&Desired>, query: &ReportQuery, now: Instant) {
    let mut pods: Vec<_> = fleet.iter().map(|(uid, handle)| (handle.ledger.pod_report(uid, handle.pod(), now), handle)).collect();
    pods.sort_by(|(one, _), (other, _)| (&one.name, &one.uid).cmp(&(&other.name, &other.uid)));
    let Some(desired) = desired else {
        report.pods = pods.into_iter().map(|(pod, _)| pod).collect();
        return;
    };
    let fits = (CELLS_MAX / pods.len().max(1)).max(1);
    let (wanted, more) = wanted(desired, query, fits);
    let mut tenants: Vec<_> = wanted
        .iter()
        .map(|(id, version)| TenantReport { tenant_id: id.clone(), version: version.clone(), synced: 0, cells: Vec::new() })
        .collect();
    for (place, (pod, handle)) in pods.iter().enumerate() {
        let asked = query.pod.as_ref().is_none_or(|name| *name == pod.name);
        let all = query.tenant.is_some() || query.pod.is_some();
        for (tenant, cell) in tenants.iter_mut().zip(handle.ledger.cells(&wanted, place, asked && all, now)) {
            let state = cell.as_ref().map_or_else(|state| *state, |cell| cell.state);
            tenant.synced += usize::from(state == CellState::Synced);
            tenant.cells.extend(cell.ok().filter(|_| asked));
        }
    }
    report.next = tenants.last().filter(|_| more).map(|last| last.tenant_id.clone());
    report.tenants = tenants;
    report.pods = pods.into_iter().map(|(pod, _)| pod).collect();
}

/// The tenants of the page, and whether there are more.
fn wanted(desired: &Desired, query: &ReportQuery, fits: usize) -> (Vec<Wanted>, bool) {
    let limit = query.limit.unwrap_or(REPORT_TENANTS_MAX).min(fits);
    let from = |id: Option<&TenantId>| (id.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone())), Bound::Unbounded);
    if let Some(id) = &query.tenant {
        let message = desired.tenants.get(id).map(|message| Some(message.config_version.clone()));
        let version = message.or_else(|| desired.keep.contains(id).then_some(None));
        return (version.map(|version| (id.clone(), version)).into_iter().collect(), false);
    }
    let range = from(query.after.as_ref());
    // One more than fits tells whether there are more.
    let pushed = desired.tenants.range::<TenantId, _>(range.clone()).take(limit + 1);
    let kept = desired.keep.range::<TenantId, _>(range).take(limit + 1);
    let pushed = pushed.map(|(id, message)| (id.clone(), Some(message.config_version.clone())));
    let mut all: Vec<_> = pushed.chain(kept.map(|id| (id.clone(), None))).collect();
    all.sort();
    let more = all.len() > limit;
    all.truncate(limit);
    (all, more)
}
