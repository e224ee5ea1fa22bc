//! The generic cell rate algorithm (ITU-T I.371): one number of state per connection, the clock passed in.

use std::time::Duration;

/// How fast, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Events per second that may be kept up.
    pub per_second: u32,
    /// Events that may come at once.
    pub burst: u32,
}

/// The state of one limited thing: the theoretical arrival time of its next event, in nanoseconds of the caller's clock.
/// The limit itself is handed in with each check, so that a changed limit is in force at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateState {
    theoretical_arrival_ns: u64,
}

impl RateState {
    /// Admits one event at `now`, the time since any fixed moment, or says how long to wait.
    ///
    /// # Errors
    ///
    /// The time after which an event would be admitted. A refused event costs nothing.
    pub fn admit(&mut self, now: Duration, rate: Rate) -> Result<(), Duration> {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let interval_ns = 1_000_000_000 / u64::from(rate.per_second.max(1));
        let tolerance_ns = interval_ns.saturating_mul(u64::from(rate.burst.max(1)) - 1);
        let arrival_ns = self.theoretical_arrival_ns.max(now_ns);
        match arrival_ns.checked_sub(now_ns.saturating_add(tolerance_ns)) {
            Some(early_ns) if early_ns > 0 => Err(Duration::from_nanos(early_ns)),
            _ => {
                self.theoretical_arrival_ns = arrival_ns.saturating_add(interval_ns);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 5 };

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
        assert!(state.admit(now, Rate { per_second: 10, burst: 6 }).is_ok());
    }
}
