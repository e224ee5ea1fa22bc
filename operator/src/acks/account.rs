//! What a ledger tells people: how the pod is, and how it stands to each tenant.

use carillon_tenant::{
    ConfigVersion, TenantId,
    report::{CellReport, CellState, PodReport, PodState},
};
use tokio::time::Instant;

use super::{Ledger, Record, Trouble};
use crate::fleet::{Pod, PodUid};

/// A tenant, and what pods should run of it; `None`: whatever they run.
pub type Wanted = (TenantId, Option<ConfigVersion>);

impl Ledger {
    /// How the pod is.
    pub fn pod_report(&self, uid: &PodUid, pod: Pod, now: Instant) -> PodReport {
        let record = self.lock();
        let programmed = record.known.as_ref().is_some_and(|known| known.programmed);
        PodReport {
            name: pod.name,
            uid: uid.to_string(),
            fleet: pod.fleet,
            ready: pod.ready,
            state: match record.trouble {
                Some(_) => PodState::Troubled,
                None if programmed => PodState::Ok,
                None => PodState::New,
            },
            error: record.trouble.as_ref().map(Trouble::to_string),
            error_seconds: record.troubled.map(|since| now.duration_since(since).as_secs()),
            heard_seconds: record.heard.map(|at| now.duration_since(at).as_secs()),
            boot_id: record.known.as_ref().map(|known| known.boot_id.clone()),
        }
    }

    /// How the pod, which is the one at that place of the report, stands to each of `wanted`; without details where it is as it should be, unless
    /// `all` are asked for. Holds the lock for as many look-ups.
    pub fn cells(&self, wanted: &[Wanted], place: usize, all: bool, now: Instant) -> Vec<Result<CellReport, CellState>> {
        let record = self.lock();
        let cell = |(tenant, version): &Wanted| {
            let state = record.state(tenant, version.as_ref());
            if state == CellState::Synced && !all { Err(state) } else { Ok(record.cell(tenant, state, place, now)) }
        };
        wanted.iter().map(cell).collect()
    }
}

impl Record {
    fn state(&self, tenant: &TenantId, wanted: Option<&ConfigVersion>) -> CellState {
        let Some(known) = &self.known else { return CellState::Never };
        match (known.version(tenant), wanted) {
            (Some(runs), Some(wanted)) if runs == wanted => CellState::Synced,
            (Some(_), None) => CellState::Synced,
            (runs, Some(wanted)) => match known.rejected.get(tenant) {
                Some(rejected) if rejected.config_version == *wanted => CellState::Rejected,
                _ if runs.is_some() => CellState::Stale,
                _ => CellState::Never,
            },
            (None, None) => CellState::Never,
        }
    }

    fn cell(&self, tenant: &TenantId, state: CellState, pod: usize, now: Instant) -> CellReport {
        let known = self.known.as_ref();
        let running = known.and_then(|known| known.applied.get(tenant));
        let rejected = known.and_then(|known| known.rejected.get(tenant)).filter(|_| state == CellState::Rejected);
        let error = match (state, rejected) {
            (CellState::Synced, _) => None,
            (_, Some(rejected)) => Some(format!("{}: {}", rejected.field, rejected.message)),
            (..) => self.trouble.as_ref().map(Trouble::to_string),
        };
        CellReport {
            pod,
            state,
            version: running.map(|running| running.version.clone()),
            seconds: running.map(|running| now.duration_since(running.since).as_secs()),
            error,
        }
    }
}
