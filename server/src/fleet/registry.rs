//! Which pods live, and where they are reached.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use carillon_tenant::FleetName;
use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    keys,
    redis::{Redis, RedisError, Script},
};

/// So many heartbeats are looked back on for the number of pods.
const SEEN: usize = 5;
/// How long an entry outlives its pod.
const LEASE: Duration = Duration::from_secs(10);
/// How often a pod renews its entry.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How long an address is taken as it was read. An older one is good enough only while Redis does not answer.
const FRESH: Duration = Duration::from_secs(2);
/// How many addresses are remembered.
const REMEMBERED_MAX: usize = 1024;

/// A pod's entry.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    address: SocketAddr,
    boot_id: String,
}

/// The pods of one fleet. What a tenant's pods share is the tenant's, whatever their fleet: only who owns a session, and how many there are to
/// share with, is asked here.
#[derive(Debug)]
pub struct Registry {
    redis: Arc<Redis>,
    fleet: FleetName,
    key: String,
    entry: Vec<u8>,
    pod: String,
    script: Script,
    /// How many pods lived at the last few heartbeats, the newest last.
    seen: Mutex<VecDeque<u32>>,
    pods: Gauge,
    remembered: Mutex<HashMap<String, (SocketAddr, Instant)>>,
}

impl Registry {
    /// The registry of `fleet` as `pod` sees it, which others reach at `address`.
    pub fn new(redis: Arc<Redis>, fleet: FleetName, pod: &str, address: SocketAddr, pods: Gauge) -> Arc<Self> {
        let entry = serde_json::to_vec(&Entry { address, boot_id: pod.to_owned() }).expect("an address and a text are JSON");
        let script = Script::new(include_str!("registry.lua"));
        Arc::new(Self {
            redis,
            key: keys::pod(&fleet, pod),
            fleet,
            entry,
            pod: pod.to_owned(),
            script,
            seen: Mutex::default(),
            pods,
            remembered: Mutex::default(),
        })
    }

    /// Keeps this pod's entry alive until `leaving`, then removes it.
    pub async fn run(self: Arc<Self>, leaving: CancellationToken) {
        let mut up = self.redis.watch_up();
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                _ = heartbeats.tick() => {}
                // At once when Redis is back: the entry may have gone with it.
                _ = up.changed() => {}
            }
            if self.redis.up()
                && let Err(error) = self.renew(LEASE).await
            {
                tracing::warn!(error = error.details(), "this pod's registry entry was not renewed");
            }
        }
        if let Err(error) = self.renew(Duration::ZERO).await {
            tracing::info!(error = error.details(), "this pod's registry entry is left to expire");
        }
    }

    /// Pods that live, this one included, as last known; `None` before anything was. A Redis that has just lost its data forgets pods
    /// until they have told again, so this is the most of the last few numbers.
    pub fn live(&self) -> Option<u32> {
        self.seen.lock().expect("no panic under this lock").iter().copied().max()
    }

    async fn renew(&self, lease: Duration) -> Result<(), RedisError> {
        let lease = lease.as_millis().to_string().into_bytes();
        let arguments = [self.pod.clone().into_bytes(), self.entry.clone(), lease].map(Bytes::from);
        let answer = self.redis.run_script(&self.script, vec![self.key.clone(), keys::pods(&self.fleet)], arguments.to_vec()).await?;
        if let Some(live) = answer.first().and_then(|live| u32::try_from(*live).ok()) {
            let mut seen = self.seen.lock().expect("no panic under this lock");
            if seen.len() == SEEN {
                seen.pop_front();
            }
            seen.push_back(live.max(1));
            self.pods.set(seen.iter().copied().max().unwrap_or(1).into());
        }
        Ok(())
    }

    /// Where a pod is reached; `None` when it is gone.
    pub async fn locate(&self, pod: &str) -> Option<SocketAddr> {
        let remembered = self.lock().get(pod).copied();
        if let Some((address, _)) = remembered.filter(|(_, at)| at.elapsed() < FRESH) {
            return Some(address);
        }
        match self.read(pod).await {
            Ok(Some(address)) => {
                self.remember(pod, address);
                Some(address)
            }
            Ok(None) => {
                self.lock().remove(pod);
                None
            }
            Err(_) => remembered.map(|(address, _)| address),
        }
    }

    async fn read(&self, pod: &str) -> Result<Option<SocketAddr>, RedisError> {
        let value = self.redis.get(&keys::pod(&self.fleet, pod)).await?;
        Ok(value.and_then(|value| serde_json::from_slice::<Entry>(&value).ok()).map(|entry| entry.address))
    }

    fn remember(&self, pod: &str, address: SocketAddr) {
        let mut remembered = self.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, (_, at)| at.elapsed() < FRESH);
        }
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(pod.to_owned(), (address, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (SocketAddr, Instant)>> {
        self.remembered.lock().expect("no panic under this lock")
    }
}
