//! One task per server pod: it finds out what the pod runs, sends it what differs, and keeps looking.
//!
//! One exchange is outstanding per pod, and each push is made from the newest desired state, so that a slow pod skips what
//! came and went in between. Whatever goes wrong, the next step is to ask the pod for its state. In between it is asked what its
//! tenants use.

mod usage;

use std::{sync::Arc, time::Duration};

use carillon_tenant::{Change, FleetName, TenantId, protocol::Versions};
use rand::RngExt;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    acks::{Ledger, Plan, Touched, Trouble},
    admin_client::AdminClient,
    desired::{Body, Desired},
    fleet::{Pod, PodUid},
    metrics::{Metrics, PushResult},
    roster::Rosters,
    status_api::PodHandle,
    term::Term,
    tls::Identity,
    trails,
    usage::UsageLedger,
};

/// Exchanges at once, over all pods.
pub const EXCHANGES_MAX: usize = 100;
/// How often a pod is asked for its state when nothing happens.
const ASK_INTERVAL: Duration = Duration::from_secs(30);
/// A connection that closes is a reason to ask, but not more often than this.
const ASK_INTERVAL_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

/// What all pushers share.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who the operator is to the servers.
    pub identity: Arc<Identity>,
    /// What the pods of its fleet should run; `None` until it is known.
    pub desired: watch::Receiver<Option<Arc<Desired>>>,
    /// Where the news goes. Bounded: a pusher waits when the controller is behind.
    pub reports: mpsc::Sender<Report>,
    /// What pods are found to run, kept once.
    pub rosters: Arc<Rosters>,
    /// [`EXCHANGES_MAX`] permits.
    pub exchanges: Arc<Semaphore>,
    /// The versions of the push protocol that the operator speaks.
    pub spoken: Versions,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// News of a pod, and which tenants it is about: the ledgers say what.
#[derive(Debug)]
pub enum Report {
    /// How the pod stands to them has changed.
    Standing(PodUid, Touched),
    /// What they use on the pod has moved.
    Usage(PodUid, Touched),
    /// Tokens of them were refused for a `kid` that the pod doesn't know.
    UnknownKids(Vec<(TenantId, Vec<String>)>),
    /// The pod would lose these, which is too much: it is pushed nothing before something else is desired.
    Excess(PodUid, Vec<TenantId>),
}

/// The handle of a pod's task, which ends when the handle is dropped.
#[derive(Debug)]
pub struct Pusher {
    /// What the pod is known to run.
    pub ledger: Arc<Ledger>,
    /// What its tenants were last heard to use.
    pub usage: Arc<UsageLedger>,
    fleet: FleetName,
    pod: watch::Sender<Pod>,
    task: JoinHandle<()>,
}

impl Pusher {
    /// Starts the task of `pod`. It does nothing any more once `term` is over.
    pub fn spawn(uid: PodUid, pod: Pod, context: Context, term: Term) -> Self {
        let fleet = pod.fleet.clone();
        let (sender, receiver) = watch::channel(pod);
        let (ledger, usage) = (Arc::new(Ledger::sharing(Arc::clone(&context.rosters))), Arc::new(UsageLedger::new(Instant::now())));
        let task = Task {
            uid,
            pod: receiver,
            ledger: Arc::clone(&ledger),
            usage: Arc::clone(&usage),
            client: AdminClient::new(Arc::clone(&context.identity)),
            context,
            term: term.clone(),
            known: false,
            protocol_version: 0,
            failures: 0,
            asked: Instant::now(),
            usage_due: usage::first(),
        };
        let task = tokio::spawn(async move {
            let _ = term.during(task.run()).await;
        });
        Self { ledger, usage, fleet, pod: sender, task }
    }

    /// The fleet that the pod is of.
    pub const fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// The pod as it was last seen.
    pub fn pod(&self) -> Pod {
        self.pod.borrow().clone()
    }

    /// What people may be told of the pod.
    pub fn handle(&self) -> PodHandle {
        PodHandle { ledger: Arc::clone(&self.ledger), pod: self.pod.subscribe() }
    }

    /// Takes up what was seen of the pod. A change is a reason to ask it how it is.
    pub fn update(&self, pod: Pod) {
        self.pod.send_if_modified(|before| {
            let changed = *before != pod;
            *before = pod;
            changed
        });
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    uid: PodUid,
    pod: watch::Receiver<Pod>,
    ledger: Arc<Ledger>,
    usage: Arc<UsageLedger>,
    client: AdminClient,
    context: Context,
    term: Term,
    /// False: the pod must be asked before anything is pushed.
    known: bool,
    /// The one that the pod and the operator have in common.
    protocol_version: u32,
    failures: u32,
    asked: Instant,
    usage_due: Instant,
}

enum Step {
    Done,
    Again,
}

impl Task {
    async fn run(mut self) {
        loop {
            match self.step().await {
                Ok(Step::Again) => self.failures = 0,
                Ok(Step::Done) => {
                    self.failures = 0;
                    self.idle().await;
                }
                Err(trouble) => self.fail(trouble).await,
            }
        }
    }

    async fn step(&mut self) -> Result<Step, Trouble> {
        if !self.known {
            self.ask().await?;
        }
        let Some(desired) = self.context.desired.borrow_and_update().clone() else { return Ok(Step::Done) };
        let Some(plan) = self.ledger.plan(&desired).map(|plan| plan.spoken_in(self.protocol_version)) else { return Ok(Step::Done) };
        if let Some(excess) = self.ledger.excess(&desired) {
            tracing::warn!(pod = self.pod.borrow().name, tenants = excess.len(), "nothing pushed: it would take most tenants from the pod");
            // Fails only when the operator ends.
            let _ = self.context.reports.send(Report::Excess(self.uid.clone(), excess)).await;
            return Ok(Step::Done);
        }
        let started = Instant::now();
        let pushed = self.push(&desired, &plan).await;
        self.context.metrics.pushed(PushResult::from(&pushed), started.elapsed());
        let touched = pushed?;
        let (change, elapsed_seconds) = (trails::names(&plan), started.elapsed().as_secs_f64());
        tracing::info!(change, pod = self.pod.borrow().name, kind = plan_name(&plan), elapsed_seconds, "pushed");
        self.report(touched).await;
        Ok(Step::Again)
    }

    async fn ask(&mut self) -> Result<(), Trouble> {
        let address = self.address();
        self.asked = Instant::now();
        let (state, protocol_version) = {
            let _permit = self.context.exchanges.acquire().await;
            self.client.state(address, self.context.spoken).await?
        };
        self.protocol_version = protocol_version;
        if state.position.epoch > self.term.epoch() {
            return Err(Trouble::StaleEpoch(state.position.epoch));
        }
        self.known = true;
        let agrees = self.ledger.agrees_with(&state);
        if !agrees {
            tracing::info!(
                pod = self.pod.borrow().name,
                boot_id = state.boot_id,
                tenants = state.applied.len(),
                programmed = state.programmed,
                "learnt what the pod runs"
            );
        }
        let touched = self.ledger.learn(state);
        self.report(touched).await;
        Ok(())
    }

    async fn push(&mut self, desired: &Arc<Desired>, plan: &Plan) -> Result<Touched, Trouble> {
        let address = self.address();
        let _permit = self.context.exchanges.acquire().await;
        let answer = match plan {
            Plan::Snapshot => {
                let (desired, version) = (Arc::clone(desired), self.protocol_version);
                let body = tokio::task::spawn_blocking(move || desired.snapshot(version)).await.map_err(|_| Trouble::Malformed)?;
                self.client.put_snapshot(address, sendable(body)?).await?
            }
            Plan::Delta(delta) => self.client.patch_delta(address, sendable(Body::encode(delta))?).await?,
        };
        for rejected in &answer.rejected {
            let change = Change(&rejected.tenant_id, &rejected.config_version);
            tracing::warn!(%change, pod = self.pod.borrow().name, tenant = %rejected.tenant_id, version = %rejected.config_version,
                field = rejected.field, reason = rejected.message, "pod refused a tenant");
        }
        self.ledger.acknowledge(desired, plan, answer)
    }

    /// Waits for a reason to go on: something new to push, a change of the pod, its connection closed, or time to look. Asking what
    /// tenants use is none: comparing everything with what the pod runs costs more.
    async fn idle(&mut self) {
        let look = self.asked + ASK_INTERVAL.mul_f64(rand::rng().random_range(0.9..1.1));
        while self.known {
            tokio::select! {
                // A sender that is gone leaves nothing to wait for: the operator ends.
                changed = self.context.desired.changed() => {
                    if changed.is_err() { std::future::pending::<()>().await }
                    return;
                }
                changed = self.pod.changed() => {
                    if changed.is_err() { std::future::pending::<()>().await }
                    self.known = false;
                }
                () = self.client.closed() => {
                    tokio::time::sleep_until(self.asked + ASK_INTERVAL_MIN).await;
                    self.known = false;
                }
                () = tokio::time::sleep_until(look) => self.known = false,
                () = tokio::time::sleep_until(self.usage_due) => self.ask_usage().await,
            }
        }
    }

    /// Reports the trouble and waits: exponentially longer, fully jittered, and no longer than until the pod changes.
    async fn fail(&mut self, trouble: Trouble) {
        self.known = false;
        if let Trouble::StaleEpoch(epoch) = trouble {
            tracing::warn!(pod = self.pod.borrow().name, %epoch, ours = %self.term.epoch(), "a later leader has pushed to the pod");
            // The task ends with the term.
            self.term.heard(epoch);
        }
        tracing::debug!(pod = self.pod.borrow().name, %trouble, failures = self.failures, "exchange failed");
        // The pod is well; only what was thought of it was wrong.
        if trouble != Trouble::Conflict {
            let touched = self.ledger.note(trouble);
            if !touched.is_empty() {
                tracing::warn!(pod = self.pod.borrow().name, %trouble, "pod has trouble");
            }
            self.report(touched).await;
            self.usage_missed().await;
        }
        let bound = BACK_OFF_MIN.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_MAX);
        self.failures = self.failures.saturating_add(1);
        tokio::select! {
            () = tokio::time::sleep(bound.mul_f64(rand::rng().random_range(0.0..1.0))) => {}
            Ok(()) = self.pod.changed() => self.failures = 0,
        }
    }

    fn address(&mut self) -> std::net::SocketAddr {
        self.pod.borrow_and_update().address
    }

    async fn report(&self, touched: Touched) {
        if !touched.is_empty() {
            // Fails only when the operator ends.
            let _ = self.context.reports.send(Report::Standing(self.uid.clone(), touched)).await;
        }
    }
}

fn sendable(body: Result<Body, crate::desired::TooLarge>) -> Result<Body, Trouble> {
    body.map_err(|error| {
        tracing::error!(%error, "push not sent");
        Trouble::Refused
    })
}

const fn plan_name(plan: &Plan) -> &'static str {
    match plan {
        Plan::Snapshot => "snapshot",
        Plan::Delta(_) => "delta",
    }
}

#[cfg(test)]
mod tests;
