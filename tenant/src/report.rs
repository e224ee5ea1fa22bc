//! What the operator tells people of its fleet, tenant by tenant and pod by pod: read by `carillon status`.
//!
//! `GET /v1/status` on the operator's own loopback address. Only the replica that leads knows more than who it is. Every tenant is told,
//! but of the pods only those that don't run it as they should, unless one tenant or one pod is asked for: a fleet in which all is well costs little,
//! however large it is.

use serde::{Deserialize, Serialize};

use crate::{ConfigVersion, FleetName, Position, TenantId};

/// The version of this report. A reader that knows another one says so.
pub const REPORT_VERSION: u32 = 1;
/// `GET`: a page of the [`FleetReport`], chosen by [`ReportQuery`].
pub const REPORT_PATH: &str = "/v1/status";
/// The name of the operator's container port that serves it.
pub const REPORT_PORT_NAME: &str = "status";
/// That port, where none is named.
pub const REPORT_PORT: u16 = 8081;
/// Tenants on one page at most, and when nothing is asked for.
pub const REPORT_TENANTS_MAX: usize = 1000;

/// Which part of the report is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportQuery {
    /// Tenants after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<TenantId>,
    /// How many tenants, at most [`REPORT_TENANTS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// This tenant alone, with every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// This pod alone, with every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// A page of what the leading operator knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetReport {
    /// [`REPORT_VERSION`].
    pub report_version: u32,
    /// Who tells: the name of the operator's pod.
    pub replica: String,
    /// False: another replica is to be asked, and nothing else is told.
    pub leads: bool,
    /// The state that pods should have; absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Every server pod, by name.
    #[serde(default)]
    pub pods: Vec<PodReport>,
    /// Tenants, by id.
    #[serde(default)]
    pub tenants: Vec<TenantReport>,
    /// There are more tenants: ask for those after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<TenantId>,
}

/// One server pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its fleet.
    #[serde(default)]
    pub fleet: FleetName,
    /// Whether its readiness probe passes.
    pub ready: bool,
    /// How it is.
    pub state: PodState,
    /// What stands between it and the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_seconds: Option<u64>,
    /// How long ago it last answered, in seconds; absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_seconds: Option<u64>,
    /// Which process it is: drawn anew each time it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PodState {
    /// It answers, and has configuration.
    #[serde(rename = "OK")]
    Ok,
    /// It was not asked yet, or has no configuration yet.
    #[serde(rename = "NEW")]
    New,
    /// The last exchange with it failed.
    #[serde(rename = "TROUBLED")]
    Troubled,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantReport {
    /// The tenant.
    pub tenant_id: TenantId,
    /// What pods should run; absent: whatever they run, because nothing is known that could be pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ConfigVersion>,
    /// The fleet that carries it: of other fleets' pods nothing is told, unless they run it, too, because it is on its way.
    #[serde(default)]
    pub fleet: FleetName,
    /// Fleets whose pods still run it, because it is on its way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moving_from: Vec<FleetName>,
    /// On how many pods of its fleet it is [`CellState::Synced`].
    pub synced: usize,
    /// Pods that are not, and all that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellReport>,
}

/// One tenant on one pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CellReport {
    /// The pod: its place in [`FleetReport::pods`].
    pub pod: usize,
    /// How they stand.
    pub state: CellState,
    /// What the pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ConfigVersion>,
    /// Since when, in seconds, as far as this leader knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a pod stands to a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CellState {
    /// It acknowledged exactly the version it should run.
    Synced,
    /// It runs another version.
    Stale,
    /// It runs none, as far as is known.
    Never,
    /// It refused the version it should run, and runs what it had.
    Rejected,
}

impl CellState {
    /// Every state, the best first.
    pub const ALL: [Self; 4] = [Self::Synced, Self::Stale, Self::Never, Self::Rejected];

    /// The state as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "SYNCED",
            Self::Stale => "STALE",
            Self::Never => "NEVER",
            Self::Rejected => "REJECTED",
        }
    }
}
