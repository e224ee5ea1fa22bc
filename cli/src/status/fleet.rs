//! What is known of the fleet: from the operator that leads or, without it, from the tenants' own status. No I/O.

use std::{collections::HashMap, sync::Arc};

use carillon_tenant::{
    FleetName, Position,
    report::{CellState, FleetReport, PodReport},
};

/// Who tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The leading operator: every pod, every tenant.
    Operator {
        /// Its pod.
        replica: String,
        /// The state that pods should have.
        position: Option<Position>,
    },
    /// The tenants' status: counts, and five lagging pods each.
    Resources {
        /// Why the operator doesn't.
        why: String,
    },
}

/// Pods, and how they stand to tenants.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub source: Source,
    pub pods: Vec<PodReport>,
    /// By tenant id.
    pub tenants: HashMap<String, Standing>,
}

/// How all pods stand to one tenant.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The fleet that carries it.
    pub fleet: FleetName,
    /// Fleets that still run it, because it is on its way.
    pub moving_from: Vec<FleetName>,
    /// What they should run; `None`: what they run.
    pub version: Option<String>,
    pub synced: usize,
    /// Pods that are not in sync, and all that were asked for.
    pub cells: Vec<Cell>,
}

/// How one pod stands to one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub pod: Arc<str>,
    pub state: CellState,
    pub version: Option<String>,
    pub seconds: Option<u64>,
    pub error: Option<String>,
}

impl Fleet {
    /// Nothing is known but what statuses tell.
    pub fn unknown(why: String) -> Self {
        Self { source: Source::Resources { why }, pods: Vec::new(), tenants: HashMap::new() }
    }

    /// Takes up one page after the other. A page speaks of its own pods: they may have changed since the one before.
    pub fn add(&mut self, page: FleetReport) {
        self.source = Source::Operator { replica: page.replica, position: page.position };
        let names: Vec<Arc<str>> = page.pods.iter().map(|pod| pod.name.as_str().into()).collect();
        for tenant in page.tenants {
            let cells = tenant.cells.into_iter().filter_map(|cell| {
                let pod = names.get(cell.pod)?.clone();
                let version = cell.version.map(|version| version.to_string());
                Some(Cell { pod, state: cell.state, version, seconds: cell.seconds, error: cell.error })
            });
            let standing = Standing {
                fleet: tenant.fleet,
                moving_from: tenant.moving_from,
                version: tenant.version.map(|version| version.to_string()),
                synced: tenant.synced,
                cells: cells.collect(),
            };
            self.tenants.insert(tenant.tenant_id.to_string(), standing);
        }
        self.pods = page.pods;
    }
}
