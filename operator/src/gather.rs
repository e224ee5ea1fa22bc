//! When changes are published.

use std::time::Duration;

use tokio::time::Instant;

/// Changes are gathered until this long nothing changed ...
pub const GATHER_QUIET: Duration = Duration::from_millis(100);
/// ... and at most this long.
const GATHER_MAX: Duration = Duration::from_secs(10);

/// The first and the last change that were not published yet. They are after a quiet moment, but not too late.
#[derive(Debug, Default)]
pub struct Gather(Option<(Instant, Instant)>);

impl Gather {
    /// Something has changed.
    pub fn change(&mut self, now: Instant) {
        let first = self.0.map_or(now, |(first, _)| first);
        self.0 = Some((first, now));
    }

    /// When to publish; `None` when nothing changed.
    pub fn due(&self) -> Option<Instant> {
        self.0.map(|(first, last)| (last + GATHER_QUIET).min(first + GATHER_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_moment_is_awaited_but_not_for_ever() {
        let start = Instant::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut gather = Gather::default();
        assert_eq!(gather.due(), None);
        gather.change(after(0));
        assert_eq!(gather.due(), Some(after(100)));
        gather.change(after(50));
        assert_eq!(gather.due(), Some(after(150)));
        gather.change(after(9_950));
        assert_eq!(gather.due(), Some(after(10_000)));
    }
}
