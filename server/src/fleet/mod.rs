//! The other servers, over Redis. Without Redis there are none, and every verb here does nothing.
//!
//! Published messages go [`outbound`] through [`redis`] on one sharded channel per tenant, and come [`inbound`] on the pods whose
//! [`subscriptions`] include it, as an [`envelope`] whose number shows in the [`sequences`] what was lost. The [`registry`] says which pods live.
//! Nothing here ever delays a delivery on this pod.

mod envelope;
mod inbound;
mod keys;
mod outbound;
mod redis;
mod registry;
mod sequences;
mod session_key;
mod subscriptions;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use carillon_tenant::{FleetName, SecretBytes, TenantId};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    inbound::Inbound,
    outbound::Outbound,
    redis::{Redis, RedisError, Script},
    registry::Registry,
    sequences::Sequences,
    subscriptions::Subscriptions,
};
use crate::{config_store::ConfigStore, fan_out::Publication, metrics::Metrics, quota::wire};

/// The longest id of a pod, in bytes.
const POD_BYTES_MAX: usize = 253;
/// How often it is worth a line in the log that quotas are not counted.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);
/// How many pods a fleet is taken to have by one that has never reached Redis.
const PODS_UNKNOWN: u32 = 10;
/// How long a pod that has just started waits for Redis before it does without.
const JOINING_MAX: Duration = Duration::from_secs(3);
/// How long leaving may take.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// How a pod joins its fleet.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// `redis://`, `redis-sentinel://` or `redis-cluster://`, with an `s` after `redis` for TLS.
    pub redis_url: String,
    /// Which fleet on that Redis.
    pub name: FleetName,
    /// This pod's id, drawn anew each time its process starts: numbers of messages and registry entries are bound to it.
    pub pod: String,
    /// Where the other pods reach this one.
    pub advertise: SocketAddr,
}

/// Why a pod can't be of a fleet at all. That Redis is away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The URL, or what TLS needs.
    #[error("Redis can't be set up: {0}")]
    Redis(String),
    /// The pod's id is empty or too long.
    #[error("a pod's id is 1 to {POD_BYTES_MAX} bytes long")]
    Pod,
}

/// A handle to the fleet.
#[derive(Clone)]
pub struct Fleet {
    pod: Arc<str>,
    member: Option<Arc<Member>>,
}

/// What a pod of a fleet of many has.
struct Member {
    name: FleetName,
    redis: Arc<Redis>,
    metrics: Arc<Metrics>,
    sequences: Arc<Sequences>,
    subscriptions: Arc<Subscriptions>,
    outbound: Outbound,
    registry: Arc<Registry>,
    counting: Script,
    complained_at: Mutex<Option<Instant>>,
    started_at: Instant,
    leaving: CancellationToken,
    /// What leaving waits for; taken by the one who leaves.
    tasks: Mutex<Option<Tasks>>,
    stop: CancellationToken,
    /// Ends every task also when nobody ever leaves.
    _stop_on_drop: DropGuard,
}

struct Tasks {
    registered: JoinHandle<()>,
    connected: JoinHandle<()>,
}

impl Fleet {
    /// A fleet of one.
    pub fn alone(pod: String) -> Self {
        Self { pod: pod.into(), member: None }
    }

    /// Joins the fleet on a Redis. Connects in the background, for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`FleetError`] when the options can't work.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn connect(options: FleetOptions, metrics: Arc<Metrics>) -> Result<Self, FleetError> {
        let FleetOptions { redis_url, name, pod, advertise } = options;
        if pod.is_empty() || pod.len() > POD_BYTES_MAX {
            return Err(FleetError::Pod);
        }
        let redis = Redis::new(&redis_url).map_err(|error| FleetError::Redis(error.details().to_owned()))?;
        let stop = CancellationToken::new();
        let leaving = stop.child_token();
        let sequences = Arc::<Sequences>::default();
        let subscriptions = Subscriptions::new(redis.clone(), sequences.clone());
        let registry = Registry::new(redis.clone(), name.clone(), &pod, advertise, metrics.fleet_pods.clone());
        let pod: Arc<str> = pod.into();
        let (outbound, publisher) = Outbound::new(pod.clone(), redis.clone(), metrics.clone());
        // These first: they are to hear of the first connection, too.
        tokio::spawn(subscriptions.clone().run(stop.clone()));
        let registered = tokio::spawn(registry.clone().run(leaving.clone()));
        tokio::spawn(publisher.run());
        let connected = tokio::spawn(redis.clone().run(metrics.clone(), stop.clone()));
        let member = Member {
            name,
            redis,
            metrics,
            sequences,
            subscriptions,
            outbound,
            registry,
            counting: Script::new(wire::SCRIPT),
            complained_at: Mutex::default(),
            started_at: Instant::now(),
            leaving,
            tasks: Mutex::new(Some(Tasks { registered, connected })),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        };
        Ok(Self { pod, member: Some(Arc::new(member)) })
    }

    /// Delivers what comes from other pods to the tenants of `config`. To be called once, before the first client.
    pub fn start_receiving(&self, config: ConfigStore) {
        self.receive(move |tenant, publication| {
            let tenant = config.view().tenant(tenant).cloned();
            tenant.is_none_or(|tenant| tenant.deliver(publication).is_ok())
        });
    }

    /// Delivers what comes from other pods to `deliver`, which is given a tenant's id, never waits, and is false when it could not take
    /// the message: then that counts as lost.
    pub fn receive(&self, deliver: impl FnMut(&str, &Publication) -> bool + Send + 'static) {
        let Some(member) = &self.member else { return };
        let inbound = Inbound::new(self.pod.clone(), member.sequences.clone(), member.metrics.clone(), deliver);
        tokio::spawn(inbound.run(member.redis.messages(), member.stop.clone()));
    }

    /// This pod's id, as it stands in the session ids that long-polling clients hold.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// Hears the tenant's messages from other pods, until [`unhost`](Self::unhost) was called as often.
    pub async fn host(&self, tenant: &TenantId) {
        if let Some(member) = &self.member {
            member.subscriptions.host(tenant).await;
        }
    }

    /// One connection of the tenant less.
    pub fn unhost(&self, tenant: &TenantId) {
        if let Some(member) = &self.member {
            member.subscriptions.unhost(tenant);
        }
    }

    /// Hands a publication to the other pods. Never waits.
    pub fn publish(&self, tenant: &TenantId, publication: &Publication) {
        if let Some(member) = &self.member {
            member.outbound.publish(tenant, publication);
        }
    }

    /// Where the pod of that id serves clients.
    pub async fn locate(&self, pod: &str) -> Option<SocketAddr> {
        self.member.as_ref()?.registry.locate(pod).await
    }

    /// The key of the MAC of session ids that this fleet keeps in Redis; `None` without Redis, or when it does not answer in time.
    pub async fn session_key(&self) -> Option<SecretBytes> {
        let member = self.member.as_ref()?;
        session_key::agree(&member.redis, &member.name).await
    }

    /// True when there is no other pod, and no Redis.
    pub fn is_alone(&self) -> bool {
        self.member.is_none()
    }

    /// True while Redis answers.
    pub fn reaches_redis(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.redis.up())
    }

    /// Sees Redis come and go; `None` without one.
    pub fn watch_redis(&self) -> Option<watch::Receiver<bool>> {
        Some(self.member.as_ref()?.redis.watch_up())
    }

    /// Pods that live; the last number known while Redis is away. A pod that never knew takes itself for one of [`PODS_UNKNOWN`].
    pub fn pods(&self) -> u32 {
        self.member.as_ref().map_or(1, |member| member.registry.live().unwrap_or(PODS_UNKNOWN))
    }

    /// True in the first moments of a pod, until it has reached Redis.
    pub fn is_joining(&self) -> bool {
        self.member.as_ref().is_some_and(|member| member.started_at.elapsed() < JOINING_MAX && member.registry.live().is_none())
    }

    /// Runs an exchange about what a tenant's pods count together: see [`wire`]. `None` when no answer came.
    pub async fn exchange(&self, tenant: &TenantId, arguments: Vec<String>) -> Option<Vec<i64>> {
        let member = self.member.as_ref()?;
        let answer: Result<_, RedisError> = member.redis.run_script(&member.counting, keys::counts(tenant).into(), arguments).await;
        answer.inspect_err(|error| member.complain(tenant, error)).ok()
    }

    /// Commands sent to Redis so far.
    pub fn redis_commands(&self) -> u64 {
        self.member.as_ref().map_or(0, |member| member.redis.sent())
    }

    /// Sends what is queued, takes this pod out of the registry, and hangs up. What is published from then on is lost, and counted.
    pub async fn leave(&self) {
        let Some(member) = &self.member else { return };
        let tasks = member.tasks.lock().expect("no panic under this lock").take();
        let Some(Tasks { registered, connected }) = tasks else { return };
        timeout(LEAVE_MAX, member.outbound.flush()).await.ok();
        member.leaving.cancel();
        timeout(LEAVE_MAX, registered).await.ok();
        member.stop.cancel();
        timeout(LEAVE_MAX, connected).await.ok();
    }
}

impl Member {
    /// That Redis is away was told before. That it answers, and says no, is told now and then: it may lack a right, or be too old.
    fn complain(&self, tenant: &TenantId, error: &RedisError) {
        let mut told_at = self.complained_at.lock().expect("no panic under this lock");
        let error = error.details();
        if self.redis.up() && told_at.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
            *told_at = Some(Instant::now());
            tracing::warn!(%tenant, error, "Redis does not count quotas; more of this is told at level debug for a while");
        } else {
            tracing::debug!(%tenant, error, "Redis does not count quotas");
        }
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fleet").field("pod", &self.pod).field("alone", &self.member.is_none()).finish()
    }
}
