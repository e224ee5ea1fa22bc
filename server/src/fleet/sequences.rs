//! Finds what never came: every publisher numbers its messages per tenant, without gaps.
//!
//! For each publisher and tenant, from the first message heard: delivered + counted losses = sent. A message that comes after a
//! higher number is dropped: it was delivered before, or it was counted as lost when the gap was seen; either way the sum holds, and
//! what one publisher says stays in order.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// A publisher that was silent for so long is forgotten: what it says next starts anew.
const SILENCE_MAX: Duration = Duration::from_mins(10);
/// How many publishers are remembered, over all tenants. Beyond that messages pass without a check.
const PUBLISHERS_MAX: usize = 1 << 16;

/// What is known of every publisher's sequence. The lock guards a look-up, nothing more.
#[derive(Debug, Default)]
pub struct Sequences(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tenants: HashMap<Box<str>, HashMap<Box<str>, Heard>>,
    publishers: usize,
}

#[derive(Debug)]
struct Heard {
    sequence: u64,
    at: Instant,
}

/// What a number says about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is new; so many before it never came.
    New {
        /// Messages that never came.
        lost: u64,
    },
    /// It was delivered, or given up, before.
    Late,
}

impl Sequences {
    /// Takes note of a message.
    pub fn arrived(&self, tenant: &str, publisher: &str, sequence: u64, now: Instant) -> Arrival {
        let mut state = self.lock();
        if let Some(heard) = state.tenants.get_mut(tenant).and_then(|publishers| publishers.get_mut(publisher)) {
            if sequence <= heard.sequence {
                return Arrival::Late;
            }
            let lost = sequence - heard.sequence - 1;
            *heard = Heard { sequence, at: now };
            return Arrival::New { lost };
        }
        if state.publishers < PUBLISHERS_MAX {
            state.publishers += 1;
            state.tenants.entry(tenant.into()).or_default().insert(publisher.into(), Heard { sequence, at: now });
        }
        Arrival::New { lost: 0 }
    }

    /// Forgets a tenant that is not listened to: what is published meanwhile is not for this pod, so it is no loss.
    pub fn forget(&self, tenant: &str) {
        let mut state = self.lock();
        if let Some(publishers) = state.tenants.remove(tenant) {
            state.publishers -= publishers.len();
        }
    }

    /// Forgets publishers that were silent for long.
    pub fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        state.tenants.retain(|_, publishers| {
            publishers.retain(|_, heard| now.saturating_duration_since(heard.at) < SILENCE_MAX);
            !publishers.is_empty()
        });
        state.publishers = state.tenants.values().map(HashMap::len).sum();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic under this lock")
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, seq::SliceRandom};

    use super::*;

    const NEW: Arrival = Arrival::New { lost: 0 };

    #[test]
    fn counts_gaps_and_drops_what_comes_late() {
        let (sequences, now) = (Sequences::default(), Instant::now());
        let arrived = |tenant, publisher, sequence| sequences.arrived(tenant, publisher, sequence, now);
        assert_eq!(arrived("acme", "p1", 7), NEW, "the first says where to start");
        assert_eq!(arrived("acme", "p1", 8), NEW);
        assert_eq!(arrived("acme", "p1", 8), Arrival::Late, "a duplicate");
        assert_eq!(arrived("acme", "p1", 11), Arrival::New { lost: 2 });
        assert_eq!(arrived("acme", "p1", 10), Arrival::Late, "counted as lost already");
        assert_eq!(arrived("acme", "p2", 1), NEW, "a restarted pod has a new id");
        assert_eq!(arrived("globex", "p1", 1), NEW, "tenants have sequences of their own");
        sequences.forget("acme");
        assert_eq!(arrived("acme", "p1", 99), NEW);
    }

    #[test]
    fn forgets_silent_publishers_and_stays_bounded() {
        let (sequences, start) = (Sequences::default(), Instant::now());
        for publisher in 0..PUBLISHERS_MAX + 10 {
            sequences.arrived("acme", &publisher.to_string(), 1, start);
        }
        assert_eq!(sequences.lock().publishers, PUBLISHERS_MAX);
        sequences.arrived("acme", "0", 2, start + SILENCE_MAX / 2);
        sequences.sweep(start + SILENCE_MAX);
        assert_eq!(sequences.lock().publishers, 1);
        assert_eq!(sequences.arrived("acme", "0", 4, start + SILENCE_MAX), Arrival::New { lost: 1 });
    }

    #[test]
    fn delivered_and_lost_are_what_was_sent() {
        let mut random = rand::rng();
        for _ in 0..200 {
            let (sequences, now) = (Sequences::default(), Instant::now());
            let sent = random.random_range(2..200u64);
            let drop_rate = random.random_range(0.0..0.9);
            let mut wire: Vec<u64> = (2..sent).filter(|_| !random.random_bool(drop_rate)).collect();
            for _ in 0..random.random_range(0..10) {
                wire.extend(wire.first().copied());
            }
            for window in wire.chunks_mut(random.random_range(1..20)) {
                window.shuffle(&mut random);
            }
            // The ends are heard: nothing tells of what is lost before the first or after the last.
            wire.insert(0, 1);
            wire.push(sent);
            let (mut delivered, mut lost) = (0, 0);
            for sequence in wire {
                if let Arrival::New { lost: gap } = sequences.arrived("acme", "p1", sequence, now) {
                    delivered += 1;
                    lost += gap;
                }
            }
            assert_eq!(delivered + lost, sent);
        }
    }
}
