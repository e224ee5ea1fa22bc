//! Chance, by a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A generator that gives the same again for the same seed.
pub struct Dice(StdRng);

impl Dice {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number below that one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end.max(1))
    }

    /// A number from one to another, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        self.0.random_range(first..=last)
    }

    /// True so often of a thousand times.
    pub fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// A time between two numbers of milliseconds.
    pub fn millis(&mut self, first: u64, last: u64) -> Duration {
        Duration::from_micros(self.between(first * 1000, last * 1000))
    }

    /// One of several.
    pub fn pick<T: Clone>(&mut self, several: &[T]) -> Option<T> {
        if several.is_empty() {
            return None;
        }
        let index = usize::try_from(self.below(several.len() as u64)).expect("an index");
        Some(several[index].clone())
    }
}
