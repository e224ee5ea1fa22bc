//! Limits, enforced.

pub mod rate;
