//! The generic cell rate algorithm (ITU-T I.371): one number of state, the clock passed in. Pure.
//!
//! It is our own because crates that do it (governor, for one) fix the rate when a limiter is made, while a pod's share of a tenant's
//! rate moves every second, and because what other pods admitted has to be charged afterwards.

use std::time::Duration;

/// How fast, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Cells per second that may be kept up.
    pub per_second: f64,
    /// Cells that may come at once.
    pub burst: f64,
}

impl Rate {
    /// A rate.
    pub fn new(per_second: impl Into<f64>, burst: impl Into<f64>) -> Self {
        Self { per_second: per_second.into(), burst: burst.into() }
    }

    /// The `share` of one pod. It can always admit one cell at once.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self { per_second: self.per_second * share, burst: (self.burst * share).max(1.0) }
    }

    /// The time in which `cells` come.
    pub fn span(self, cells: f64) -> Duration {
        Duration::try_from_secs_f64(cells.max(0.0) / self.per_second).unwrap_or(Duration::MAX)
    }
}

/// The state of one limited thing: the theoretical arrival time of its next cell, which is when its bucket is full again, in nanoseconds
/// of the caller's clock. The limit itself is handed in with each check, so that a changed limit is in force at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateState {
    full_at_ns: u64,
}

impl RateState {
    /// Admits one cell at `now`, the time since any fixed moment, or says how long to wait.
    ///
    /// # Errors
    ///
    /// The time after which a cell would be admitted. A refused cell costs nothing.
    pub fn admit(&mut self, now: Duration, rate: Rate) -> Result<(), Duration> {
        self.admit_cells(now, rate, 1)
    }

    /// Admits `cells` together, all or none. More than the burst take a full bucket, and leave it in debt.
    ///
    /// # Errors
    ///
    /// The time after which they would be admitted. What is refused costs nothing.
    pub fn admit_cells(&mut self, now: Duration, rate: Rate, cells: u32) -> Result<(), Duration> {
        let cells = f64::from(cells);
        let tolerance = rate.span(rate.burst.max(1.0) - cells);
        match self.until_full(now).checked_sub(tolerance) {
            Some(early) if !early.is_zero() => Err(early),
            _ => {
                self.charge(now, rate, cells);
                Ok(())
            }
        }
    }

    /// Takes `cells` that were admitted elsewhere, the first of them at `since`, whether they are there or not.
    pub fn charge(&mut self, since: Duration, rate: Rate, cells: f64) {
        self.full_at_ns = self.full_at_ns.max(nanoseconds(since)).saturating_add(nanoseconds(rate.span(cells)));
    }

    /// Gives back `cells` that were taken.
    pub fn refund(&mut self, rate: Rate, cells: f64) {
        self.full_at_ns = self.full_at_ns.saturating_sub(nanoseconds(rate.span(cells)));
    }

    /// The cells that could come now; negative in debt.
    pub fn held(&self, now: Duration, rate: Rate) -> f64 {
        rate.burst - self.until_full(now).as_secs_f64() * rate.per_second
    }

    /// Lets just `cells` come now; negative puts it in debt.
    pub fn set_held(&mut self, now: Duration, rate: Rate, cells: f64) {
        self.full_at_ns = nanoseconds(now.saturating_add(rate.span(rate.burst - cells)));
    }

    /// The time after which the whole burst could come.
    pub fn until_full(&self, now: Duration) -> Duration {
        Duration::from_nanos(self.full_at_ns.saturating_sub(nanoseconds(now)))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 5.0 };

    fn admitted(state: &mut RateState, now: Duration, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(state.admit(now, RATE).is_ok())).sum()
    }

    #[test]
    fn admits_a_burst_then_the_rate() {
        let mut state = RateState::default();
        assert_eq!(admitted(&mut state, Duration::from_secs(1), 20), 5);
        assert_eq!(admitted(&mut state, Duration::from_millis(1100), 20), 1);
        assert_eq!(admitted(&mut state, Duration::from_secs(10), 20), 5);
    }

    #[test]
    fn says_how_long_to_wait_and_keeps_its_word() {
        let mut state = RateState::default();
        let now = Duration::from_secs(1);
        while state.admit(now, RATE).is_ok() {}
        let wait = state.admit(now, RATE).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(state.admit(now + wait, RATE).is_ok());
    }

    #[test]
    fn over_any_window_never_more_than_rate_and_burst() {
        for step_ms in [1, 3, 7, 50, 99, 101, 333] {
            let mut state = RateState::default();
            let steps = 10_000 / step_ms;
            let total: u32 = (0..steps).map(|step| admitted(&mut state, Duration::from_millis(step * step_ms), 3)).sum();
            assert!(total <= 5 + 100, "{total} admitted in 10 s at steps of {step_ms} ms");
        }
    }

    #[test]
    fn a_changed_limit_is_in_force_at_once() {
        let mut state = RateState::default();
        let now = Duration::from_secs(1);
        while state.admit(now, RATE).is_ok() {}
        assert!(state.admit(now, Rate { burst: 6.0, ..RATE }).is_ok());
    }

    /// Rate 10 and burst 5: cells before, cells asked for, what happens, what is held after.
    #[test]
    fn cells_together_go_all_or_none() {
        let ms = Duration::from_millis;
        for (before, cells, expected, held) in [
            (0, 1, Ok(()), 4.0),
            (0, 5, Ok(()), 0.0),
            (1, 5, Err(ms(100)), 4.0),
            (3, 2, Ok(()), 0.0),
            (3, 3, Err(ms(100)), 2.0),
            (0, 8, Ok(()), -3.0),
            (1, 8, Err(ms(100)), 4.0),
            (5, 8, Err(ms(500)), 0.0),
        ] {
            let mut state = RateState::default();
            let now = Duration::from_secs(7);
            assert_eq!(admitted(&mut state, now, before), before);
            assert_eq!(state.admit_cells(now, RATE, cells), expected, "{cells} after {before}");
            assert!((state.held(now, RATE) - held).abs() < 1e-6, "{cells} after {before}: {}", state.held(now, RATE));
        }
    }

    #[test]
    fn a_refund_undoes_and_what_is_set_is_held() {
        let mut state = RateState::default();
        let now = Duration::from_secs(3);
        state.admit_cells(now, RATE, 4).unwrap();
        state.refund(RATE, 4.0);
        assert_eq!(state.until_full(now), Duration::ZERO);
        for cells in [-20.0, -0.5, 0.0, 2.5, 5.0] {
            state.set_held(now, RATE, cells);
            assert!((state.held(now, RATE) - cells).abs() < 1e-6);
        }
        state.set_held(now, RATE, 7.0);
        assert!((state.held(now, RATE) - 5.0).abs() < 1e-6, "a bucket holds no more than its burst");
    }

    /// Cells of random size at random times: over any window no more than the rate and the burst, and the largest debt.
    #[test]
    fn in_debt_the_rate_holds_all_the_same() {
        for seed in 1..200_u64 {
            let mut random = seed;
            let mut next = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let mut state = RateState::default();
            let (mut now, mut total) = (Duration::ZERO, 0);
            while now < Duration::from_secs(60) {
                now += Duration::from_millis(next(200));
                let cells = 1 + u32::try_from(next(8)).unwrap();
                match state.admit_cells(now, RATE, cells) {
                    Ok(()) => total += cells,
                    Err(wait) => assert!(!wait.is_zero()),
                }
            }
            let most = now.as_secs_f64() * RATE.per_second + RATE.burst + 8.0;
            assert!(f64::from(total) <= most, "seed {seed}: {total} of {most}");
        }
    }
}
