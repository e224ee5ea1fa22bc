//! All processes of one measurement.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use carillon_tests::{
    control_plane::{ControlPlane, NAMESPACE},
    metrics,
    operator::Operator,
};
use nix::unistd::Pid;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{board::Board, log::Log, moment::Moment};
use crate::meter::{cpu_time, memory_kib};

/// The Secrets that servers start with, as the chart names and counts them.
const BOOT_SECRETS: &str = "carillon-boot-config";
const BOOT_SHARDS: usize = 8;
/// How long everything may take to be on all pods.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// An API server, servers and an operator. All of it ends with this value.
pub struct Site {
    /// The log of the operator that runs now.
    pub log: Log,
    /// What statuses say.
    pub board: Board,
    /// The operator.
    pub operator: Operator,
    /// All others.
    pub plane: ControlPlane,
    servers: usize,
    /// How many operators ran.
    operators: usize,
    /// Pushes that failed under operators that have ended.
    failed: f64,
}

/// How long an operator took, from its process' start.
pub struct ColdStart {
    /// Until it was ready.
    pub ready: Duration,
    /// Until every pod had acknowledged everything.
    pub acknowledged: Duration,
}

impl Site {
    /// Starts everything. There are no tenants yet.
    pub async fn start(servers: usize) -> Result<Self> {
        let plane = ControlPlane::start_without_faults(servers).await;
        for shard in 0..BOOT_SHARDS {
            let metadata = json!({"name": format!("{BOOT_SECRETS}-{shard}"), "namespace": NAMESPACE});
            plane.api.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "carillon.dev/boot-config"})).await;
        }
        let board = Board::new(&plane.server).await?;
        let operator = Self::operator(&plane, 0).await;
        Ok(Self { log: Log::new(operator.log_file().to_owned()), board, operator, plane, servers, operators: 1, failed: 0.0 })
    }

    async fn operator(plane: &ControlPlane, number: usize) -> Operator {
        plane.operator_with(&format!("operator-{number}"), &[("CARILLON_BOOT_CONFIG_SECRETS", BOOT_SECRETS)]).await
    }

    /// Starts the operator anew, and all servers, too, when they are to `forget` what they run.
    pub async fn restart(mut self, forget: bool) -> Result<(Self, ColdStart)> {
        self.failed += self.failed_pushes().await?;
        let Self { board, operator, mut plane, servers, operators, failed, .. } = self;
        operator.terminate().await;
        if forget {
            for server in 0..servers {
                plane.fleet.restart_for_an_operator(server).await;
            }
        }
        let begin = Moment::now();
        let operator = Self::operator(&plane, operators).await;
        let ready = Moment::now() - begin;
        let mut site =
            Self { log: Log::new(operator.log_file().to_owned()), board, operator, plane, servers, operators: operators + 1, failed };
        let acknowledged = timeout(PATIENCE, async {
            loop {
                site.log.read_on()?;
                if let Some(time) = site.log.all_pushed(servers, begin) {
                    return anyhow::Ok(time);
                }
                sleep(LOOK_INTERVAL).await;
            }
        });
        let acknowledged = acknowledged.await.context("not every pod was pushed to in time")??;
        Ok((site, ColdStart { ready, acknowledged }))
    }

    /// A sample of the operator's metrics.
    pub async fn metric(&self, sample: &str) -> Result<f64> {
        self.operator.metric(sample).await.context("the operator doesn't answer")
    }

    async fn failed_pushes(&self) -> Result<f64> {
        Ok(self.metric("carillon_operator_pushes_total").await? - self.pushes().await?)
    }

    /// Pushes that pods acknowledged.
    pub async fn pushes(&self) -> Result<f64> {
        self.metric(r#"carillon_operator_pushes_total{result="ok"}"#).await
    }

    /// The CPU time that the operator, and all servers together, have used.
    pub fn cpu(&self) -> Result<(Duration, Duration)> {
        let servers: Vec<_> = (0..self.servers).map(|server| pid(self.plane.fleet.id(server))).collect();
        Ok((cpu_time(&[pid(self.operator.id())])?, cpu_time(&servers)?))
    }

    /// Memory of the operator, resident now and at most so far, in MiB.
    pub fn operator_mib(&self) -> Result<(f64, f64)> {
        let id = pid(self.operator.id());
        Ok((memory_kib(id, "VmRSS")? / 1024.0, memory_kib(id, "VmHWM")? / 1024.0))
    }

    /// Resident memory of the largest server, in MiB.
    pub fn server_mib(&self) -> Result<f64> {
        let mut largest = 0.0_f64;
        for server in 0..self.servers {
            largest = largest.max(memory_kib(pid(self.plane.fleet.id(server)), "VmRSS")? / 1024.0);
        }
        Ok(largest)
    }

    /// Insists that every server runs exactly what the statuses say, that nothing was refused, and that nobody ended on the way.
    pub async fn check(&mut self, tenants: usize) -> Result<()> {
        self.log.read_on()?;
        ensure!(self.log.complaints.is_empty(), "the operator complained: {}", self.log.complaints.join("\n"));
        ensure!(self.log.processes() == self.servers, "servers restarted");
        let failed = self.failed + self.failed_pushes().await?;
        ensure!(failed == 0.0, "{failed} pushes failed");
        let told = self.board.versions();
        ensure!(told.len() == tenants, "{} of {tenants} tenants are in force", told.len());
        for server in 0..self.servers {
            let state = self.plane.fleet.state(server).await;
            ensure!(state.applied.len() == tenants, "server {server} runs {} of {tenants} tenants", state.applied.len());
            for applied in state.applied {
                let (tenant, version) = (applied.tenant_id.as_str(), applied.config_version.as_str());
                ensure!(
                    told.get(tenant).is_some_and(|told| told == version),
                    "server {server} runs {tenant} at {version}: {:?}",
                    told.get(tenant)
                );
            }
            let log = metrics::sum(&self.plane.fleet.metrics(server).await, "carillon_config_tenants");
            ensure!(log == tenants as f64, "server {server} tells of {log} tenants");
        }
        Ok(())
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}
