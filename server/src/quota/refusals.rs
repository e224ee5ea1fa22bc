//! What was refused lately, and whether a refusal is one: in a dry run it is only counted.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use carillon_tenant::{Code, Quotas, Refusal};

use super::{monotonic, rates::Budget};
use crate::fan_out::Tenant;

/// How long a refusal is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(60);

/// When each quota was last met.
#[derive(Debug)]
pub struct Refusals {
    /// In milliseconds after the clock's begin, and one more: zero is never.
    last_ms: [AtomicU64; Code::ALL.len()],
}

impl Default for Refusals {
    fn default() -> Self {
        Self { last_ms: [const { AtomicU64::new(0) }; Code::ALL.len()] }
    }
}

impl Refusals {
    /// Remembers that `code` was met at `now`.
    pub fn note(&self, code: Code, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        self.last_ms[code as usize].fetch_max(now_ms, Ordering::Relaxed);
    }

    /// The quotas that were met within the last minute.
    pub fn lately(&self, now: Duration) -> Vec<Code> {
        let since_ms = u64::try_from(now.saturating_sub(REMEMBERED).as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let lately = |code: &Code| self.last_ms[*code as usize].load(Ordering::Relaxed) >= since_ms;
        Code::ALL.into_iter().filter(|code| code.is_quota() && lately(code)).collect()
    }
}

impl Tenant {
    /// Decides what becomes of a quota that was met. In a dry run it is counted here; whoever gets it back counts it.
    ///
    /// # Errors
    ///
    /// `refusal`, when quotas are enforced.
    pub fn refuse(&self, quotas: &Quotas, refusal: Refusal) -> Result<(), Refusal> {
        let now = monotonic();
        self.refusals.note(refusal.code, now);
        if refusal.code.is_rate() && self.rates.wants_rebalance(now) {
            self.counts.hurry();
        }
        if quotas.enforced() {
            return Err(refusal);
        }
        self.counters.refusal(&self.metrics, refusal.code, false);
        Ok(())
    }

    /// Admits `cells` of a rate budget, all or none.
    ///
    /// # Errors
    ///
    /// The rate that was met, when quotas are enforced.
    pub fn admit_rate(&self, budget: Budget, cells: u32, quotas: &Quotas) -> Result<(), Refusal> {
        self.rates.admit(budget, cells, quotas, monotonic()).or_else(|refusal| self.refuse(quotas, refusal))
    }

    /// Whether something may be published, for what was delivered.
    ///
    /// # Errors
    ///
    /// The limit that was met, when quotas are enforced.
    pub fn admit_egress(&self, quotas: &Quotas) -> Result<(), Refusal> {
        self.egress.admit(quotas, monotonic()).or_else(|refusal| self.refuse(quotas, refusal))
    }

    /// Counts a refusal that is told.
    pub fn count_refusal(&self, code: Code) {
        self.counters.refusal(&self.metrics, code, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_by_their_place() {
        for (place, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, place, "{code}");
        }
    }

    #[test]
    fn quotas_met_are_remembered_for_a_minute() {
        let refusals = Refusals::default();
        let at = Duration::from_secs;
        assert_eq!(refusals.lately(at(0)), []);
        refusals.note(Code::PublishRate, at(10));
        refusals.note(Code::RoomNotAllowed, at(10));
        refusals.note(Code::ConnectionsMax, at(40));
        assert_eq!(refusals.lately(at(40)), [Code::ConnectionsMax, Code::PublishRate]);
        assert_eq!(refusals.lately(at(70)), [Code::ConnectionsMax, Code::PublishRate]);
        assert_eq!(refusals.lately(at(71)), [Code::ConnectionsMax]);
        assert_eq!(refusals.lately(at(101)), []);
    }
}
