//! What servers start with while no operator is there: the leader keeps the last published state in a few Secrets of the chart.
//!
//! What is to be written is decided in `plan`, without I/O. It is done in terms, like everything that is written, and never waited for.

mod plan;
mod secrets;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use carillon_tenant::{TenantId, TenantMessage, boot::SHARDS};
use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

pub use self::secrets::Secrets;
use self::{plan::Plan, secrets::Stored};
use crate::{
    desired::Desired,
    metrics::{BootWrite, Metrics},
    term::Term,
};

/// The least time between two writes: states that follow each other closely are written once.
const GATHER: Duration = Duration::from_secs(2);
/// How often it is looked whether the Secrets still hold what was written, and one of them written anew, so that its age tells that
/// there is an operator.
const CHECK_INTERVAL: Duration = Duration::from_secs(600);
/// The wait after something failed.
const RETRY: Duration = Duration::from_secs(15);

/// Keeps the Secrets in every term of this process, until `terms` ends.
pub async fn keep(
    secrets: Secrets,
    desired: watch::Receiver<Option<Arc<Desired>>>,
    mut terms: watch::Receiver<Option<Term>>,
    metrics: Arc<Metrics>,
) {
    loop {
        let Ok(term) = terms.wait_for(Option::is_some).await.map(|term| term.clone()) else { return };
        let Some(term) = term else { continue };
        let keeper = Keeper { secrets: &secrets, desired: desired.clone(), term: term.clone(), metrics: &metrics };
        let _ = term.during(keeper.run()).await;
        // The term is over, but it may not have been said yet.
        if terms.changed().await.is_err() {
            return;
        }
    }
}

struct Keeper<'a> {
    secrets: &'a Secrets,
    desired: watch::Receiver<Option<Arc<Desired>>>,
    term: Term,
    metrics: &'a Metrics,
}

impl Keeper<'_> {
    async fn run(mut self) {
        let (mut digests, mut remembered) = self.stored().await;
        let mut check_at = Instant::now() + CHECK_INTERVAL;
        let (mut retry_at, mut written_at) = (None, Instant::now() - GATHER);
        loop {
            tokio::select! {
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    sleep_until(written_at + GATHER).await;
                }
                () = sleep_until(retry_at.unwrap_or(check_at)) => {}
            }
            let Some(desired) = self.desired.borrow_and_update().clone().filter(|desired| desired.position.epoch == self.term.epoch())
            else {
                // Nothing was published in this term yet.
                check_at = check_at.max(Instant::now() + RETRY);
                continue;
            };
            let checks = Instant::now() >= check_at;
            if checks {
                check_at = Instant::now() + CHECK_INTERVAL;
                digests = self.secrets.digests().await;
            }
            remembered.retain(|tenant, _| desired.keep.contains(tenant));
            let plan = Plan::new(&desired, &remembered);
            (retry_at, written_at) = (None, Instant::now());
            for (shard, digest) in digests.iter_mut().enumerate() {
                let same = digest.as_deref() == Some(plan.digest(shard));
                if same && !(checks && shard == 0) {
                    continue;
                }
                if self.write(&plan, shard).await {
                    *digest = Some(plan.digest(shard).to_owned());
                } else {
                    retry_at = Some(Instant::now() + RETRY);
                }
            }
        }
    }

    /// What the Secrets hold: their digests, and the tenants in them.
    async fn stored(&self) -> ([Option<String>; SHARDS], BTreeMap<TenantId, TenantMessage>) {
        let mut told = false;
        loop {
            match self.secrets.read().await {
                Ok(Stored { digests, tenants }) => return (digests, tenants),
                Err(error) if !told => tracing::warn!(error, "boot configuration not readable; tried again"),
                Err(_) => {}
            }
            told = true;
            sleep(RETRY).await;
        }
    }

    async fn write(&self, plan: &Plan<'_>, shard: usize) -> bool {
        let packed = match plan.shard(shard, Timestamp::now().as_second()).pack() {
            Ok(packed) => packed,
            Err(error) => {
                tracing::error!(shard, %error, "boot configuration not written: servers that start without the operator won't know of changes");
                self.metrics.boot_write(BootWrite::TooLarge);
                return false;
            }
        };
        let bytes = packed.len();
        match self.secrets.write(shard, packed, plan.digest(shard)).await {
            Ok(()) => {
                tracing::debug!(shard, bytes, "boot configuration written");
                self.metrics.boot_write(BootWrite::Ok);
                true
            }
            Err(error) => {
                tracing::warn!(shard, bytes, error, "boot configuration not written; tried again");
                self.metrics.boot_write(BootWrite::Failed);
                false
            }
        }
    }
}
