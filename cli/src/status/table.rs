//! The table: tenants as the API server has them, joined with what is known of the fleet. Pure.

use std::{collections::HashMap, sync::Arc};

use carillon_crds::{ConditionType, Reason};
use carillon_tenant::{
    FleetName,
    report::{CellState, PodReport, PodState},
};
use k8s_openapi::jiff::Timestamp;

use super::{
    fleet::{Cell, Fleet, Source, Standing},
    tenant::Tenant,
};

/// What is shown.
#[derive(Debug)]
pub struct Table {
    pub source: Source,
    /// Troubled ones first, then those that most tenants wait for.
    pub pods: Vec<PodLine>,
    /// The worst first.
    pub tenants: Vec<TenantLine>,
}

/// How one pod is, and how it stands to all tenants shown.
#[derive(Debug)]
pub struct PodLine {
    pub pod: PodReport,
    /// By state.
    pub counts: Counts,
}

/// How one tenant stands on all pods shown.
#[derive(Debug)]
pub struct TenantLine {
    pub tenant: Tenant,
    pub state: CellState,
    /// The fleet that carries it, as far as is known.
    pub fleet: Option<String>,
    /// Pods of that fleet: all of them should run it.
    pub eligible: usize,
    pub synced: usize,
    /// Why it isn't in sync, or what else is worth a word.
    pub why: Option<String>,
    /// For how long it has stood so, in seconds.
    pub seconds: Option<u64>,
    /// Pods that are not in sync, and all that were asked for, by name.
    pub cells: Vec<Cell>,
}

/// How many there are of each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; CellState::ALL.len()]);

impl Counts {
    pub const fn of(&self, state: CellState) -> usize {
        self.0[state as usize]
    }

    pub fn all(&self) -> usize {
        self.0.iter().sum()
    }

    const fn add(&mut self, state: CellState) {
        self.0[state as usize] += 1;
    }

    /// One less.
    pub const fn take(&mut self, state: CellState) {
        self.0[state as usize] = self.0[state as usize].saturating_sub(1);
    }

    pub const fn not_synced(&self) -> usize {
        self.of(CellState::Stale) + self.of(CellState::Never) + self.of(CellState::Rejected)
    }
}

impl Table {
    /// Joins the two. `pod`: this one alone.
    pub fn new(tenants: Vec<Tenant>, fleet: Fleet, pod: Option<&str>, now: Timestamp) -> Self {
        let Fleet { source, pods, tenants: mut standings } = fleet;
        let pods: Vec<_> = pods.into_iter().filter(|known| pod.is_none_or(|pod| known.name == pod)).collect();
        let told = matches!(source, Source::Operator { .. });
        let mut lines = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            // Two objects may want one id: what pods run is the older one's.
            let standing = if tenant.is_conflicted() { None } else { standings.remove(&tenant.tenant_id) };
            lines.push(match standing {
                Some(standing) => line_of_operator(tenant, standing, &pods, pod.is_some(), now),
                None => line_of_resource(tenant, told, now),
            });
        }
        let counts = counts(&lines);
        let mut pods: Vec<_> = pods.into_iter().map(|pod| PodLine { counts: counts(&pod), pod }).collect();
        pods.sort_by_key(|line| (line.pod.state != PodState::Troubled, std::cmp::Reverse(line.counts.not_synced()), line.pod.name.clone()));
        lines.sort_by_key(|line| {
            let behind = line.eligible.saturating_sub(line.synced);
            (std::cmp::Reverse((line.state, behind)), line.tenant.namespace.clone(), line.tenant.name.clone())
        });
        Self { source, pods, tenants: lines }
    }

    /// Keeps only tenants in one of `states`, if there are any.
    pub fn keep_states(&mut self, states: &[CellState]) {
        self.tenants.retain(|line| states.is_empty() || states.contains(&line.state));
    }

    /// How many tenants are in which state.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.tenants.iter().for_each(|line| counts.add(line.state));
        counts
    }

    /// True when there are several fleets, so that it is worth saying which.
    pub fn has_fleets(&self) -> bool {
        let fleets =
            self.pods.iter().map(|line| line.pod.fleet.as_str()).chain(self.tenants.iter().filter_map(|line| line.fleet.as_deref()));
        fleets.collect::<std::collections::HashSet<_>>().len() > 1
    }

    /// True when everything shown is in sync.
    pub fn is_in_sync(&self) -> bool {
        self.tenants.iter().all(|line| line.state == CellState::Synced)
    }
}

fn line_of_operator(tenant: Tenant, standing: Standing, pods: &[PodReport], one_pod: bool, now: Timestamp) -> TenantLine {
    let Standing { fleet, moving_from, version, synced, mut cells } = standing;
    let mut tenant = tenant;
    // What is pushed is newer than what was written.
    if version.is_some() {
        tenant.status.config_version = version;
    }
    cells.sort_by(|one, other| one.pod.cmp(&other.pod));
    let eligible = pods.iter().filter(|pod| pod.fleet == fleet).count();
    let synced = if one_pod { cells.iter().filter(|cell| cell.state == CellState::Synced).count() } else { synced };
    let worst = worst_of(&cells).filter(|cell| cell.state != CellState::Synced);
    let obstacle = tenant.obstacle();
    let (state, why) = match (worst, obstacle) {
        _ if eligible == 0 && one_pod => (CellState::Synced, Some(format!("carried by fleet {fleet}"))),
        _ if eligible == 0 && fleet.is_default() => (CellState::Never, Some("there is no server pod".to_owned())),
        _ if eligible == 0 => (CellState::Never, Some(format!("there is no server pod in fleet {fleet}"))),
        (Some(worst), _) => (worst.state, Some(because(worst, &cells))),
        (None, Some(obstacle)) => (CellState::Stale, Some(obstacle)),
        (None, None) => (CellState::Synced, moving(&moving_from).or_else(|| remark(&tenant))),
    };
    let fleet = Some(fleet.to_string());
    TenantLine { fleet, seconds: seconds_since(tenant.since(), now), tenant, state, eligible, synced, why, cells }
}

/// Why the worst is as it is, and how many others share that.
fn because(worst: &Cell, cells: &[Cell]) -> String {
    let alike = |cell: &&Cell| (cell.state, &cell.error) == (worst.state, &worst.error);
    let others = cells.iter().filter(alike).count() - 1;
    let others = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    format!("{}{others}: {}", worst.pod, worst.error.as_deref().unwrap_or("update pending"))
}

/// The first of the worst.
fn worst_of(cells: &[Cell]) -> Option<&Cell> {
    cells.iter().rev().max_by_key(|cell| cell.state)
}

/// What the tenant's own status tells. `told`: by an operator that knows nothing of it.
fn line_of_resource(tenant: Tenant, told: bool, now: Timestamp) -> TenantLine {
    let fleet = tenant.status.fleet.clone().filter(|_| !told).unwrap_or_default();
    let count = |number: i32| usize::try_from(number).unwrap_or_default();
    let programmed = tenant.condition(ConditionType::Programmed);
    let reason = programmed.map_or("", |programmed| programmed.reason.as_str());
    let mut cells: Vec<_> = fleet
        .lagging
        .iter()
        .map(|lagging| Cell {
            pod: lagging.pod.as_str().into(),
            // Which it is, a status doesn't tell.
            state: if lagging.reason.starts_with("refused ") { CellState::Rejected } else { CellState::Stale },
            version: None,
            seconds: None,
            error: Some(lagging.reason.clone()),
        })
        .collect();
    cells.sort_by(|one, other| one.pod.cmp(&other.pod));
    let obstacle = tenant.obstacle();
    let state = match programmed {
        _ if told => CellState::Never,
        Some(programmed) if programmed.status == "True" && obstacle.is_none() => CellState::Synced,
        Some(programmed) if programmed.status == "True" => CellState::Stale,
        _ if reason == Reason::Rejected.as_str() => CellState::Rejected,
        _ if reason == Reason::Pending.as_str() => CellState::Stale,
        _ => CellState::Never,
    };
    let worst = worst_of(&cells);
    let why = match state {
        CellState::Synced => remark(&tenant),
        _ => obstacle.or_else(|| worst.map(|worst| because(worst, &cells))).or_else(|| programmed.map(|it| it.message.clone())),
    };
    TenantLine {
        fleet: fleet.name.or_else(|| tenant.status.fleet.as_ref()?.name.clone()),
        seconds: seconds_since(tenant.since(), now),
        state,
        eligible: count(fleet.eligible),
        synced: count(fleet.programmed),
        why,
        cells,
        tenant,
    }
}

/// Where it still runs besides.
fn moving(from: &[FleetName]) -> Option<String> {
    let names: Vec<_> = from.iter().map(FleetName::as_str).collect();
    (!names.is_empty()).then(|| format!("moving: pods of fleet {} still run it", names.join(" and ")))
}

/// What is worth a word although all is well.
fn remark(tenant: &Tenant) -> Option<String> {
    let ready = tenant.condition(ConditionType::Ready)?;
    if ready.reason == Reason::Suspended.as_str() {
        return Some("suspended".to_owned());
    }
    let saturated = tenant.condition(ConditionType::QuotaSaturated).filter(|condition| condition.status == "True")?;
    Some(format!("at a limit: {}", saturated.reason))
}

/// The counts of any pod. Of a pod of its fleet that a tenant doesn't name, it is in sync there.
fn counts(lines: &[TenantLine]) -> impl Fn(&PodReport) -> Counts + use<> {
    let mut named: HashMap<Arc<str>, Counts> = HashMap::new();
    let mut tenants: HashMap<String, usize> = HashMap::new();
    // A tenant that pods should not run has none.
    for line in lines.iter().filter(|line| line.eligible > 0) {
        *tenants.entry(line.fleet.clone().unwrap_or_default()).or_default() += 1;
        for cell in &line.cells {
            named.entry(cell.pod.clone()).or_default().add(cell.state);
        }
    }
    move |pod| {
        let mut counts = named.get(pod.name.as_str()).copied().unwrap_or_default();
        let tenants = tenants.get(pod.fleet.as_str()).copied().unwrap_or_default();
        counts.0[CellState::Synced as usize] = tenants.saturating_sub(counts.not_synced());
        counts
    }
}

/// How long ago that was, in seconds.
pub fn seconds_since(time: Option<Timestamp>, now: Timestamp) -> Option<u64> {
    time.map(|time| u64::try_from(now.duration_since(time).as_secs()).unwrap_or_default())
}
