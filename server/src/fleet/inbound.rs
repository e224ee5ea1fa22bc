//! From the bus to the tenant: what comes from other pods is checked for gaps and age, and delivered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fred::types::Message;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{
    envelope::{DecodeError, Envelope},
    keys,
    sequences::{Arrival, Sequences},
};
use crate::{
    fan_out::{Publication, unix_time_ms},
    metrics::Metrics,
};

/// What was on its way for longer was given up by its publisher: delivered now, it would be out of date. The clocks of two pods may
/// differ by [`CLOCK_TOLERANCE`].
const AGE_MAX: Duration = Duration::from_secs(10);
/// How far apart the clocks of two pods may be.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// How often silent publishers are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// How often messages that can't be read are worth a line in the log.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// What receives messages, one after the other. `deliver` takes a tenant's id, and is false when it could not take the message.
pub struct Inbound<D> {
    pod: Arc<str>,
    sequences: Arc<Sequences>,
    metrics: Arc<Metrics>,
    deliver: D,
    swept_at: Instant,
    complained_at: Option<Instant>,
}

impl<D: FnMut(&str, &Publication) -> bool> Inbound<D> {
    /// Delivers to `deliver`.
    pub fn new(pod: Arc<str>, sequences: Arc<Sequences>, metrics: Arc<Metrics>, deliver: D) -> Self {
        Self { pod, sequences, metrics, deliver, swept_at: Instant::now(), complained_at: None }
    }

    /// Receives until `stop`.
    pub async fn run(mut self, mut messages: broadcast::Receiver<Message>, stop: CancellationToken) {
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return,
                message = messages.recv() => message,
            };
            match message {
                Ok(message) => {
                    if let (Some(tenant), Some(bytes)) = (keys::tenant_of_bus(&message.channel), message.value.as_bytes()) {
                        self.receive(tenant, bytes, Instant::now(), unix_time_ms());
                    }
                }
                // Not counted here: the gaps in the sequences say how many of them were for this pod.
                Err(RecvError::Lagged(messages)) => tracing::warn!(messages, "messages from other pods came faster than they were taken"),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn receive(&mut self, tenant: &str, bytes: &[u8], now: Instant, now_ms: u64) {
        if now.duration_since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.sequences.sweep(now);
        }
        let envelope = match Envelope::decode(bytes) {
            Ok(envelope) if envelope.publisher == &*self.pod => return,
            Ok(envelope) => envelope,
            Err(error) => return self.complain(tenant, error, now),
        };
        match self.sequences.arrived(tenant, envelope.publisher, envelope.sequence, now) {
            Arrival::Late => return,
            Arrival::New { lost: 0 } => {}
            Arrival::New { lost } => self.metrics.lost_receiving(lost),
        }
        let age = Duration::from_millis(now_ms.saturating_sub(envelope.published_at_ms));
        if age > AGE_MAX + CLOCK_TOLERANCE {
            return self.metrics.lost_receiving(1);
        }
        match envelope.publication() {
            Ok(publication) if (self.deliver)(tenant, &publication) => _ = self.metrics.adapter_received.inc(),
            Ok(_) => self.metrics.lost_receiving(1),
            Err(error) => self.complain(tenant, error, now),
        }
    }

    fn complain(&mut self, tenant: &str, error: DecodeError, now: Instant) {
        self.metrics.lost_receiving(1);
        if self.complained_at.is_none_or(|at| now.duration_since(at) >= COMPLAINT_INTERVAL) {
            self.complained_at = Some(now);
            tracing::warn!(tenant, %error, "a message from another pod can't be read; more of them are only counted for a while");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::{
        fan_out::{Message as Event, Target},
        fleet::envelope::Unnumbered,
    };

    const NOW_MS: u64 = 1_795_000_000_000;

    fn bytes(publisher: &str, sequence: u64, published_at_ms: u64) -> Vec<u8> {
        let data = RawValue::from_string(sequence.to_string()).unwrap();
        let message = Event::published_at(published_at_ms, "e", data);
        let publication = Publication { target: Target::Tenant, except: None, message };
        Unnumbered::encode(publisher, &publication).unwrap().number(sequence)
    }

    /// Receives `messages` and says what was delivered, and how many were counted as lost. A full queue is played by the number 13.
    fn receive(messages: &[Vec<u8>]) -> (Vec<String>, u64) {
        let metrics = Arc::new(Metrics::new());
        let mut delivered = Vec::new();
        let deliver = |tenant: &str, publication: &Publication| {
            let number = publication.message.data.get();
            if number == "13" {
                return false;
            }
            delivered.push(format!("{tenant} {number}"));
            true
        };
        let mut inbound = Inbound::new("me".into(), Arc::default(), metrics.clone(), deliver);
        for message in messages {
            inbound.receive("acme", message, Instant::now(), NOW_MS);
        }
        drop(inbound);
        assert_eq!(metrics.adapter_received.get(), delivered.len() as u64);
        (delivered, lost(&metrics))
    }

    fn lost(metrics: &Metrics) -> u64 {
        let text = metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix("carillon_adapter_lost_total{stage=\"receive\"} "));
        line.map_or(0, |number| number.parse().unwrap())
    }

    #[test]
    fn delivers_the_messages_of_others() {
        let messages = [bytes("p1", 1, NOW_MS), bytes("me", 1, NOW_MS), bytes("p2", 9, NOW_MS + 3_000), bytes("p1", 2, NOW_MS)];
        assert_eq!(receive(&messages), (vec!["acme 1".to_owned(), "acme 9".to_owned(), "acme 2".to_owned()], 0));
    }

    #[test]
    fn counts_what_it_can_not_deliver() {
        let old = NOW_MS - 15_001;
        let mut newer = bytes("p2", 1, NOW_MS);
        newer[0] = 2;
        let mut broken = bytes("p1", 14, NOW_MS);
        broken.push(b'}');
        let messages = [bytes("p1", 10, NOW_MS), bytes("p1", 12, old), bytes("p1", 13, NOW_MS), newer, broken, bytes("p1", 15, NOW_MS)];
        let (delivered, lost) = receive(&messages);
        assert_eq!(delivered, ["acme 10", "acme 15"]);
        assert_eq!(lost, 5, "11 never came, 12 was too old, 13 met a full queue, one was of another version, 14 was broken");
    }
}
