//! Bytes of data delivered to a tenant's connections.
//!
//! What is published is delivered: nothing is dropped on its way. Each pod charges what it delivers, and what the others did, to one
//! bucket of the tenant's whole rate with a burst of [`BURST_SECONDS`]; while that is in debt, nothing new may be published. So one
//! publish may go beyond the limit by all that it delivers, and what it went beyond is waited for.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use carillon_tenant::{Code, Quotas, Refusal, Scope};

use super::{
    float,
    meter::Meter,
    rate::{Rate, RateState},
    whole,
};

/// The burst is what the rate gives in this time.
pub const BURST_SECONDS: f64 = 2.0;
const REPORT_SECONDS: f64 = 1.0;

/// A tenant's egress on one pod.
#[derive(Debug)]
pub struct Egress {
    /// Bytes delivered here. Delivery touches nothing else.
    delivered: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bucket: RateState,
    delivered: Meter,
    /// Up to where `delivered` is charged, and when that was.
    charged_bytes: u64,
    charged_at: Duration,
    /// What the others deliver, as last learnt, and when that was.
    others_per_second: f64,
    learnt_at: Option<Duration>,
    /// What was charged on that guess since then.
    guessed_bytes: f64,
    share: f64,
}

impl Default for Egress {
    fn default() -> Self {
        let state = State {
            bucket: RateState::default(),
            delivered: Meter::new(REPORT_SECONDS),
            charged_bytes: 0,
            charged_at: Duration::ZERO,
            others_per_second: 0.0,
            learnt_at: None,
            guessed_bytes: 0.0,
            share: 1.0,
        };
        Self { delivered: AtomicU64::new(0), state: Mutex::new(state) }
    }
}

impl Egress {
    /// Counts `bytes` that were handed to connections. They are charged when somebody next looks, as if they had gone evenly since
    /// somebody last did.
    pub fn charge(&self, bytes: u64) {
        self.delivered.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether something may be published.
    ///
    /// # Errors
    ///
    /// The limit that was met, while what was delivered goes beyond it.
    pub fn admit(&self, quotas: &Quotas, now: Duration) -> Result<(), Refusal> {
        let state = self.settle(quotas, now);
        let Some(max) = quotas.egress_bytes_per_second.max() else { return Ok(()) };
        let rate = state.rate(max);
        let debt = state.bucket.until_full(now).saturating_sub(rate.span(rate.burst));
        if debt.is_zero() {
            return Ok(());
        }
        let current = whole(state.delivered.per_second(now) + state.others_per_second);
        let ms = u64::try_from(debt.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Err(Refusal::limit(Code::EgressRate, Scope::Tenant, max.into(), current).retry_after_ms(ms))
    }

    /// Takes in what all pods deliver together, and `own` as it was told to them.
    pub fn learn(&self, fleet_bytes_per_second: u64, own_bytes_per_second: u64, quotas: &Quotas, now: Duration) {
        let mut state = self.settle(quotas, now);
        let others = float(fleet_bytes_per_second.saturating_sub(own_bytes_per_second));
        if let (Some(max), Some(since)) = (quotas.egress_bytes_per_second.max(), state.learnt_at) {
            // What was guessed is replaced by what is now known of the same time.
            let missing = others * now.saturating_sub(since).as_secs_f64() - state.guessed_bytes;
            let rate = state.rate(max);
            if missing > 0.0 {
                state.bucket.charge(since, rate, missing);
            } else {
                state.bucket.refund(rate, -missing);
            }
        }
        (state.others_per_second, state.learnt_at, state.guessed_bytes, state.share) = (others, Some(now), 0.0, 1.0);
    }

    /// Goes on with an even share: the other pods can't be asked.
    pub fn alone(&self, pods: u32, quotas: &Quotas, now: Duration) {
        let mut state = self.settle(quotas, now);
        (state.others_per_second, state.learnt_at, state.guessed_bytes) = (0.0, None, 0.0);
        state.share = 1.0 / f64::from(pods.max(1));
    }

    /// Bytes per second that this pod delivers.
    pub fn per_second(&self, quotas: &Quotas, now: Duration) -> u64 {
        whole(self.settle(quotas, now).delivered.per_second(now).round())
    }

    /// Charges what was delivered since the last time.
    fn settle(&self, quotas: &Quotas, now: Duration) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().expect("no panic under this lock");
        let delivered = self.delivered.load(Ordering::Relaxed);
        let bytes = float(delivered - std::mem::replace(&mut state.charged_bytes, delivered));
        let since = std::mem::replace(&mut state.charged_at, now);
        state.delivered.add(bytes, f64::INFINITY, now);
        if let Some(max) = quotas.egress_bytes_per_second.max() {
            let guessed = state.others_per_second * now.saturating_sub(since).as_secs_f64();
            state.guessed_bytes += guessed;
            let rate = state.rate(max);
            state.bucket.charge(since, rate, bytes + guessed);
        }
        state
    }
}

impl State {
    fn rate(&self, max: u32) -> Rate {
        let per_second = f64::from(max) * self.share;
        Rate { per_second, burst: per_second * BURST_SECONDS }
    }
}

#[cfg(test)]
mod tests {
    use carillon_tenant::Limit;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(100_000 + ms)
    }

    fn limited(bytes_per_second: u32) -> Quotas {
        Quotas { egress_bytes_per_second: Limit::Max(bytes_per_second), ..Quotas::default() }
    }

    #[test]
    fn a_burst_of_two_seconds_then_the_debt_is_waited_for() {
        let (egress, quotas) = (Egress::default(), limited(1000));
        egress.admit(&quotas, at(0)).unwrap();
        egress.charge(2000);
        egress.admit(&quotas, at(0)).unwrap();
        egress.charge(5000);
        let refusal = egress.admit(&quotas, at(0)).unwrap_err();
        assert_eq!((refusal.code, refusal.limit, refusal.retry_after_ms), (Code::EgressRate, Some(1000), Some(5000)));
        assert!(!refusal.fatal);
        assert_eq!(egress.admit(&quotas, at(4999)).unwrap_err().retry_after_ms, Some(1));
        egress.admit(&quotas, at(5000)).unwrap();
    }

    #[test]
    fn what_others_deliver_counts_and_guesses_are_put_right() {
        let (egress, quotas) = (Egress::default(), limited(1000));
        egress.admit(&quotas, at(0)).unwrap();
        for second in 0..=10 {
            egress.learn(1500, 0, &quotas, at(second * 1000));
        }
        // Half the rate too much for ten seconds are five thousand bytes, two of which are the burst.
        assert_eq!(egress.admit(&quotas, at(10_000)).unwrap_err().retry_after_ms, Some(3000));
        // It goes on guessing, and learns that it was wrong.
        assert_eq!(egress.admit(&quotas, at(11_000)).unwrap_err().retry_after_ms, Some(3500));
        egress.learn(0, 0, &quotas, at(11_000));
        assert_eq!(egress.admit(&quotas, at(11_000)).unwrap_err().retry_after_ms, Some(2000));
        egress.admit(&quotas, at(13_000)).unwrap();
    }

    #[test]
    fn unlimited_only_counts() {
        let (egress, quotas) = (Egress::default(), Quotas::default());
        for second in 1..=10 {
            egress.charge(1 << 30);
            egress.admit(&quotas, at(second * 1000)).unwrap();
        }
        let found = egress.per_second(&quotas, at(10_000));
        assert!(found.abs_diff(1 << 30) < 1 << 20, "{found}");
        egress.admit(&limited(1), at(10_001)).unwrap();
    }

    #[test]
    fn alone_a_pod_has_its_part() {
        let (egress, quotas) = (Egress::default(), limited(1000));
        egress.learn(0, 0, &quotas, at(0));
        egress.alone(4, &quotas, at(0));
        egress.charge(600);
        assert_eq!(egress.admit(&quotas, at(0)).unwrap_err().retry_after_ms, Some(400));
    }

    /// Three pods that deliver unevenly, two of them under another's publishes: admitted bytes stay within the limit.
    #[test]
    fn the_fleet_stays_at_its_rate() {
        let quotas = limited(10_000);
        let pods: [Egress; 3] = std::array::from_fn(|_| Egress::default());
        let (mut told, mut total) = ([0; 3], 0_u64);
        for step in 0..20_000_u64 {
            let now = at(step * 2);
            // 300 bytes to the connections of each publish: 200 on the pod that publishes, the rest elsewhere.
            if step % 3 == 0 && pods[0].admit(&quotas, now).is_ok() {
                for (pod, bytes) in pods.iter().zip([200, 70, 30]) {
                    pod.charge(bytes);
                    total += if now >= at(20_000) { bytes } else { 0 };
                }
            }
            for (index, pod) in pods.iter().enumerate() {
                if (step + index as u64 * 167).is_multiple_of(500) {
                    told[index] = pod.per_second(&quotas, now);
                    pod.learn(told.iter().sum(), told[index], &quotas, now);
                }
            }
        }
        assert!((190_000..=210_000).contains(&total), "{total} bytes in 20 s");
    }
}
