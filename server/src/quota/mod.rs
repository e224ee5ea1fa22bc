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

pub use place::{Counts, Place};

/// The time since the process first asked: what all quotas go by.
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
