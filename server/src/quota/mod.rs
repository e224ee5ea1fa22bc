//! Limits, enforced.
//!
//! What a tenant counts over the fleet stands in a [`book`] on each pod, and in Redis, where a script decides ([`wire`]); the two meet in
//! an [`exchange`]. A [`Place`] that was taken is given back when it is dropped.

pub mod book;
#[cfg(test)]
mod book_tests;
pub mod egress;
pub mod exchange;
mod meter;
mod place;
pub mod rate;
pub mod rates;
#[cfg(test)]
mod rates_tests;
pub mod refusals;
pub mod wire;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use carillon_tenant::Quotas;
pub use place::{Counts, Place, Settled};

use self::rates::Demand;
use crate::fan_out::Tenant;

impl Tenant {
    /// What is asked of this pod.
    pub fn demand(&self, quotas: &Quotas) -> Demand {
        let now = monotonic();
        Demand { egress_bytes_per_second: self.egress.per_second(quotas, now), ..self.rates.demand(now) }
    }

    /// Takes in the demand of all of `pods` together, and this pod's `own` as it was told to them.
    pub fn learn_demand(&self, fleet: &Demand, own: &Demand, pods: u32, quotas: &Quotas) {
        let now = monotonic();
        self.rates.rebalance(fleet, own, pods, quotas, now);
        self.egress.learn(fleet.egress_bytes_per_second, own.egress_bytes_per_second, quotas, now);
    }

    /// Goes on with even shares: the other pods can't be asked.
    pub fn part_from_fleet(&self, pods: u32, quotas: &Quotas) {
        let now = monotonic();
        self.rates.alone(pods, quotas, now);
        self.egress.alone(pods, quotas, now);
    }
}

/// The time since the process first asked: the one clock of everything in here. It never goes back.
pub fn monotonic() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "rates and counts, where the last digits beyond 2^53 don't matter")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from float saturates, and below zero is zero here")]
fn whole(number: f64) -> u64 {
    number as u64
}
