//! Limits, enforced.

pub mod egress;
pub mod meter;
pub mod rate;
pub mod rates;
#[cfg(test)]
mod rates_tests;
pub mod refusals;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

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
