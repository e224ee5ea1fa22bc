//! From a publication to Redis: numbered, queued, and sent in that order by one task. Whoever publishes never waits.
//!
//! A number is taken for every publication, also for one that is lost here: so the pods that miss it know.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use carillon_tenant::TenantId;
use futures::{FutureExt, StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{envelope::Unnumbered, keys, redis::Redis};
use crate::{fan_out::Publication, metrics::Metrics};

/// Messages that wait at the most.
const QUEUED_MAX: usize = 8192;
/// Bytes that wait at the most.
const QUEUED_BYTES_MAX: usize = 32 << 20;
/// Messages on their way to Redis at the most.
const IN_FLIGHT_MAX: usize = 256;
/// What waited longer is no longer news: it is dropped.
const AGE_MAX: Duration = Duration::from_secs(5);

/// The way out of this pod.
#[derive(Debug)]
pub struct Outbound {
    pod: Arc<str>,
    redis: Arc<Redis>,
    metrics: Arc<Metrics>,
    queued_bytes: Arc<AtomicUsize>,
    numbering: Mutex<Numbering>,
}

#[derive(Debug)]
struct Numbering {
    /// The last number of every tenant that this pod ever published for. They can't be dropped: a number is never given twice.
    sequences: HashMap<TenantId, u64>,
    queue: mpsc::Sender<Item>,
}

#[derive(Debug)]
enum Item {
    Message {
        channel: String,
        bytes: Bytes,
        queued_at: Instant,
    },
    /// Answered when everything before it is out, or lost.
    Flush(oneshot::Sender<()>),
}

/// The task that sends.
#[derive(Debug)]
pub struct Publisher {
    redis: Arc<Redis>,
    metrics: Arc<Metrics>,
    queued_bytes: Arc<AtomicUsize>,
    queue: mpsc::Receiver<Item>,
}

impl Outbound {
    /// The way out, and the task to run for it.
    pub fn new(pod: Arc<str>, redis: Arc<Redis>, metrics: Arc<Metrics>) -> (Self, Publisher) {
        let (sender, queue) = mpsc::channel(QUEUED_MAX);
        let queued_bytes = Arc::<AtomicUsize>::default();
        let publisher = Publisher { redis: redis.clone(), metrics: metrics.clone(), queued_bytes: queued_bytes.clone(), queue };
        let numbering = Mutex::new(Numbering { sequences: HashMap::new(), queue: sender });
        (Self { pod, redis, metrics, queued_bytes, numbering }, publisher)
    }

    /// Queues a publication, or counts it as lost. Never waits.
    pub fn publish(&self, tenant: &TenantId, publication: &Publication) {
        let envelope = if self.redis.up() { Unnumbered::encode(&self.pod, publication).ok() } else { None };
        let queued = {
            // The lock is held over the push, too: the order in the queue is that of the numbers.
            let mut numbering = self.numbering.lock().expect("no panic under this lock");
            let sequence = numbering.next(tenant);
            envelope.is_some_and(|envelope| self.push(&numbering.queue, tenant, envelope.number(sequence)))
        };
        if !queued {
            self.metrics.lost_publishing(1);
        }
    }

    /// Returns when everything published so far is out, or lost.
    pub async fn flush(&self) {
        let (sender, flushed) = oneshot::channel();
        let queue = self.numbering.lock().expect("no panic under this lock").queue.clone();
        if queue.send(Item::Flush(sender)).await.is_ok() {
            flushed.await.ok();
        }
    }

    fn push(&self, queue: &mpsc::Sender<Item>, tenant: &TenantId, bytes: Vec<u8>) -> bool {
        let length = bytes.len();
        if self.queued_bytes.load(Ordering::Relaxed) + length > QUEUED_BYTES_MAX {
            return false;
        }
        self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        let queued = queue.try_send(Item::Message { channel: keys::bus(tenant), bytes: bytes.into(), queued_at: Instant::now() }).is_ok();
        if !queued {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        }
        queued
    }
}

impl Numbering {
    fn next(&mut self, tenant: &TenantId) -> u64 {
        if let Some(sequence) = self.sequences.get_mut(tenant) {
            *sequence += 1;
            return *sequence;
        }
        self.sequences.insert(tenant.clone(), 1);
        1
    }
}

impl Publisher {
    /// Sends until the queue is closed. Many are on their way at once; fred writes them in the order in which they begin.
    pub async fn run(self) {
        let Self { redis, metrics, queued_bytes, mut queue } = self;
        let mut in_flight = FuturesOrdered::new();
        loop {
            tokio::select! {
                item = queue.recv(), if in_flight.len() < IN_FLIGHT_MAX => match item {
                    None => return,
                    Some(Item::Flush(flushed)) => {
                        while let Some(outcome) = in_flight.next().await {
                            count(&metrics, outcome);
                        }
                        flushed.send(()).ok();
                    }
                    Some(Item::Message { bytes, queued_at, channel }) => {
                        let length = bytes.len();
                        if queued_at.elapsed() > AGE_MAX || !redis.up() {
                            queued_bytes.fetch_sub(length, Ordering::Relaxed);
                            metrics.lost_publishing(1);
                            continue;
                        }
                        let (redis, queued_bytes) = (redis.clone(), queued_bytes.clone());
                        in_flight.push_back(async move {
                            let outcome = redis.publish(channel, bytes).await;
                            queued_bytes.fetch_sub(length, Ordering::Relaxed);
                            outcome.is_ok()
                        }.boxed());
                    }
                },
                Some(outcome) = in_flight.next(), if !in_flight.is_empty() => count(&metrics, outcome),
            }
        }
    }
}

fn count(metrics: &Metrics, published: bool) {
    if published {
        metrics.adapter_published.inc();
    } else {
        metrics.lost_publishing(1);
    }
}
