//! Moments that this process and the operator's log both tell of.

use std::{
    ops::Sub,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DAY_SECONDS: f64 = 86_400.0;

/// A time of some day, in seconds since its midnight: what is compared here is minutes apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment(f64);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs_f64() % DAY_SECONDS)
    }

    /// That much later.
    pub fn after(self, time: Duration) -> Self {
        Self((self.0 + time.as_secs_f64()) % DAY_SECONDS)
    }

    /// The one of a line of a log, as in `2026-11-23T22:34:41.123456Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, time) = text.strip_suffix('Z')?.split_once('T')?;
        let mut parts = time.split(':').map(str::parse::<f64>);
        let mut part = || parts.next()?.ok();
        Some(Self(part()? * 3600.0 + part()? * 60.0 + part()?))
    }
}

impl Sub for Moment {
    type Output = Duration;

    /// The time from `earlier` to this one.
    fn sub(self, earlier: Self) -> Duration {
        let seconds = (self.0 - earlier.0).rem_euclid(DAY_SECONDS);
        // Two clocks of one machine differ by less than this; half a day is nothing that is measured here.
        Duration::from_secs_f64(if seconds > DAY_SECONDS / 2.0 { 0.0 } else { seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_is_no_end_of_time() {
        let moment = |text| Moment::parse(text).unwrap();
        let before = moment("2026-11-23T23:59:59.500000Z");
        assert_eq!((moment("2026-11-24T00:00:00.250000Z") - before).as_millis(), 750);
        assert_eq!((before.after(Duration::from_secs(1)) - before).as_millis(), 1000);
        assert_eq!(before - before.after(Duration::from_millis(1)), Duration::ZERO);
        assert_eq!(Moment::parse("yesterday"), None);
    }
}
