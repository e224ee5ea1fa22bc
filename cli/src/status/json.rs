//! The same for programs: `-o json`. Fields are only ever added; `schemaVersion` moves when one changes its meaning.

use carillon_crds::{EffectiveStatus, KeyStatus, UsageStatus};
use carillon_tenant::report::{CellState, PodReport};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::{
    fleet::{Cell, Source},
    table::{Counts, PodLine, Table, TenantLine},
};

const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u32,
    source: SourceOf<'a>,
    in_sync: bool,
    counts: CountsOf,
    pods: Vec<Pod<'a>>,
    tenants: Vec<Tenant<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum SourceOf<'a> {
    Operator { pod: &'a str, position: Option<String> },
    Resources { why: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct CountsOf {
    synced: usize,
    stale: usize,
    never: usize,
    rejected: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pod<'a> {
    #[serde(flatten)]
    pod: &'a PodReport,
    counts: CountsOf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tenant<'a> {
    namespace: &'a str,
    name: &'a str,
    tenant_id: &'a str,
    fleet: Option<&'a str>,
    state: CellState,
    version: Option<&'a str>,
    generation: i64,
    observed_generation: Option<i64>,
    eligible_pods: usize,
    synced_pods: usize,
    why: Option<&'a str>,
    seconds: Option<u64>,
    pods: Vec<PodOf<'a>>,
    #[serde(flatten)]
    depth: Option<Depth<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodOf<'a> {
    pod: &'a str,
    state: CellState,
    version: Option<&'a str>,
    seconds: Option<u64>,
    error: Option<&'a str>,
}

/// What is told of one tenant that was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Depth<'a> {
    conditions: &'a [Condition],
    effective: Option<&'a EffectiveStatus>,
    usage: Option<&'a UsageStatus>,
    keys: &'a [KeyStatus],
}

/// The whole document. `depth`: with what is told of a single tenant only.
pub fn json(table: &Table, depth: bool) -> String {
    let document = Document {
        schema_version: SCHEMA_VERSION,
        source: match &table.source {
            Source::Operator { replica, position } => {
                SourceOf::Operator { pod: replica, position: position.map(|position| position.to_string()) }
            }
            Source::Resources { why } => SourceOf::Resources { why },
        },
        in_sync: table.is_in_sync(),
        counts: counts(&table.counts()),
        pods: table.pods.iter().map(|PodLine { pod, counts: of_pod }| Pod { pod, counts: counts(of_pod) }).collect(),
        tenants: table.tenants.iter().map(|line| tenant(line, depth)).collect(),
    };
    serde_json::to_string_pretty(&document).expect("a document of our own types serialises to JSON") + "\n"
}

fn counts(counts: &Counts) -> CountsOf {
    let [synced, stale, never, rejected] = CellState::ALL.map(|state| counts.of(state));
    CountsOf { synced, stale, never, rejected }
}

fn tenant(line: &TenantLine, depth: bool) -> Tenant<'_> {
    let TenantLine { tenant, state, fleet, eligible, synced, why, seconds, cells } = line;
    Tenant {
        namespace: &tenant.namespace,
        name: &tenant.name,
        tenant_id: &tenant.tenant_id,
        fleet: fleet.as_deref(),
        state: *state,
        version: tenant.status.config_version.as_deref(),
        generation: tenant.generation,
        observed_generation: tenant.status.observed_generation,
        eligible_pods: *eligible,
        synced_pods: *synced,
        why: why.as_deref(),
        seconds: *seconds,
        pods: cells.iter().map(pod_of).collect(),
        depth: depth.then_some(Depth {
            conditions: &tenant.status.conditions,
            effective: tenant.status.effective.as_ref(),
            usage: tenant.status.usage.as_ref(),
            keys: &tenant.status.keys,
        }),
    }
}

fn pod_of(cell: &Cell) -> PodOf<'_> {
    let Cell { pod, state, version, seconds, error } = cell;
    PodOf { pod, state: *state, version: version.as_deref(), seconds: *seconds, error: error.as_deref() }
}
