//! How much comes per second, smoothed. Pure.

use std::time::Duration;

/// A moving average that forgets by half about every 0.7 times its time constant. What is added counts as having come evenly since
/// the last time something was, so that a single burst after a quiet time moves it little, and a lasting change at once.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    time_constant_seconds: f64,
    per_second: f64,
    at: Duration,
}

impl Meter {
    /// A meter that has seen nothing.
    pub const fn new(time_constant_seconds: f64) -> Self {
        Self { time_constant_seconds, per_second: 0.0, at: Duration::ZERO }
    }

    /// Adds `amount`, which came since the last time. The average rises to `ceiling` at most.
    pub fn add(&mut self, amount: f64, ceiling: f64, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        let new = if elapsed > 1e-6 {
            let forgotten = -(-elapsed / self.time_constant_seconds).exp_m1();
            self.per_second * (1.0 - forgotten) + amount / elapsed * forgotten
        } else {
            self.per_second + amount / self.time_constant_seconds
        };
        self.per_second = new.min(ceiling);
        self.at = self.at.max(now);
    }

    /// The average now.
    pub fn per_second(&self, now: Duration) -> f64 {
        self.per_second * (-now.saturating_sub(self.at).as_secs_f64() / self.time_constant_seconds).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_comes_whatever_the_steps() {
        for step_ms in [1, 10, 100, 1000] {
            let mut meter = Meter::new(1.0);
            let mut now = Duration::ZERO;
            while now < Duration::from_secs(10) {
                now += Duration::from_millis(step_ms);
                meter.add(0.5 * f64::from(u32::try_from(step_ms).unwrap()), f64::INFINITY, now);
            }
            let found = meter.per_second(now);
            assert!((495.0..=505.0).contains(&found), "{found} at steps of {step_ms} ms");
            assert!(meter.per_second(now + Duration::from_secs(10)) < 0.1);
        }
    }

    #[test]
    fn one_burst_after_a_quiet_time_moves_it_little() {
        let mut meter = Meter::new(1.0);
        meter.add(100.0, f64::INFINITY, Duration::from_secs(100));
        assert!(meter.per_second(Duration::from_secs(100)) <= 1.0);
    }

    #[test]
    fn rises_to_its_ceiling_and_falls_from_there() {
        let mut meter = Meter::new(0.5);
        for ms in 0..2000 {
            meter.add(10.0, 100.0, Duration::from_millis(ms));
        }
        assert!(meter.per_second(Duration::from_secs(2)) <= 100.0);
        assert!(meter.per_second(Duration::from_secs(3)) < 15.0);
    }
}
