//! Listens to the buses of the tenants that this pod hosts, and to no other.
//!
//! Hosting only writes down what is wanted. One task brings about what is wanted, tenant by tenant, so that however quickly a tenant's
//! last connection leaves and its next one comes, the subscription ends up as the count says.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use carillon_tenant::TenantId;
use futures::{StreamExt, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{keys, redis::Redis, sequences::Sequences};

/// How long a connect waits for its tenant's bus.
const HOST_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a bus is kept after the tenant's last connection left, which is often back soon.
const LINGER: Duration = Duration::from_secs(5);
/// Subscriptions in flight at the most.
const IN_FLIGHT_MAX: usize = 32;
/// How often what failed is tried again, and lingering buses are looked at.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How often everything is subscribed to again on a Redis Cluster. One that moves a slot drops its subscriptions, and fred does not tell.
const CLUSTER_REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// Which buses this pod listens to.
#[derive(Debug)]
pub struct Subscriptions {
    redis: Arc<Redis>,
    sequences: Arc<Sequences>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    tenants: HashMap<TenantId, Hosting>,
    /// Tenants for which what is wanted may not be what is so.
    unsettled: HashSet<TenantId>,
}

#[derive(Debug)]
struct Hosting {
    connections: u64,
    left_at: Instant,
    bus: watch::Sender<Bus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bus {
    Off,
    /// A command went out and no answer came.
    Unknown,
    On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Subscribe,
    Unsubscribe,
}

impl Subscriptions {
    /// No subscriptions. [`run`](Self::run) makes them.
    pub fn new(redis: Arc<Redis>, sequences: Arc<Sequences>) -> Arc<Self> {
        Arc::new(Self { redis, sequences, state: Mutex::default(), changed: Notify::new() })
    }

    /// One connection more. Returns once the tenant's bus is heard, or waiting for that makes no sense.
    pub async fn host(&self, tenant: &TenantId) {
        // Written down before the first wait: a caller that is cancelled in between unhosts, and the count is right.
        let mut bus = {
            let mut state = self.lock();
            let hosting = state.tenants.entry(tenant.clone()).or_insert_with(|| {
                // What was published while nobody listened is no loss.
                self.sequences.forget(tenant.as_str());
                Hosting { connections: 0, left_at: Instant::now(), bus: watch::Sender::new(Bus::Off) }
            });
            hosting.connections += 1;
            if *hosting.bus.borrow() == Bus::On {
                return;
            }
            let bus = hosting.bus.subscribe();
            state.unsettled.insert(tenant.clone());
            bus
        };
        self.changed.notify_one();
        if self.redis.up() {
            timeout(HOST_WAIT_MAX, bus.wait_for(|bus| *bus == Bus::On)).await.ok();
        }
    }

    /// One connection less.
    pub fn unhost(&self, tenant: &TenantId) {
        let mut state = self.lock();
        let Some(hosting) = state.tenants.get_mut(tenant) else { return };
        hosting.connections = hosting.connections.saturating_sub(1);
        if hosting.connections == 0 {
            hosting.left_at = Instant::now();
            state.unsettled.insert(tenant.clone());
        }
    }

    /// Brings about what is wanted, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut connections, mut up) = (self.redis.new_subscribers(), self.redis.watch_up());
        let mut retries = interval(RETRY_INTERVAL);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refreshes = interval(CLUSTER_REFRESH_INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                _ = retries.tick() => {}
                _ = refreshes.tick(), if self.redis.is_clustered() => self.unsettle(Bus::Unknown),
                _ = up.changed() => {}
                // Also when this task missed some: one new connection is like another.
                _ = connections.recv() => {
                    self.redis.subscriber_ready().await;
                    self.unsettle(Bus::Off);
                }
            }
            if !self.redis.up() {
                continue;
            }
            // At once for all, not one by one: a pod may host thousands of tenants when Redis comes back.
            stream::iter(self.steps()).for_each_concurrent(IN_FLIGHT_MAX, |(tenant, step)| self.take(tenant, step)).await;
        }
    }

    /// What is to be done now. The rest is settled, or lingers.
    fn steps(&self) -> Vec<(TenantId, Step)> {
        let mut state = self.lock();
        let State { tenants, unsettled } = &mut *state;
        let mut steps = Vec::new();
        unsettled.retain(|tenant| {
            let Some(hosting) = tenants.get(tenant) else { return false };
            let bus = *hosting.bus.borrow();
            if hosting.connections > 0 {
                if bus != Bus::On {
                    steps.push((tenant.clone(), Step::Subscribe));
                }
                return bus != Bus::On;
            }
            if bus == Bus::Off {
                tenants.remove(tenant);
                self.sequences.forget(tenant.as_str());
                return false;
            }
            if hosting.left_at.elapsed() >= LINGER {
                // From here on whoever comes has to wait again.
                hosting.bus.send_replace(Bus::Unknown);
                steps.push((tenant.clone(), Step::Unsubscribe));
            }
            true
        });
        steps
    }

    async fn take(&self, tenant: TenantId, step: Step) {
        // Redis may have gone since this round began. Then nobody has to wait for the rest of it to time out.
        if !self.redis.up() {
            return;
        }
        let channel = keys::bus(&tenant);
        let (outcome, done) = match step {
            Step::Subscribe => (self.redis.subscribe(channel).await, Bus::On),
            Step::Unsubscribe => (self.redis.unsubscribe(channel).await, Bus::Off),
        };
        // Whoever came or went meanwhile finds the tenant unsettled still, and the next round sees it.
        if let Some(hosting) = self.lock().tenants.get(&tenant) {
            hosting.bus.send_replace(if outcome.is_ok() { done } else { Bus::Unknown });
        }
        match outcome {
            Ok(()) => self.changed.notify_one(),
            // The next tick tries again.
            Err(error) => tracing::debug!(%tenant, ?step, error = error.details(), "the tenant's bus is not as wanted"),
        }
    }

    fn unsettle(&self, bus: Bus) {
        let mut state = self.lock();
        let State { tenants, unsettled } = &mut *state;
        for (tenant, hosting) in tenants {
            hosting.bus.send_replace(bus);
            unsettled.insert(tenant.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}
