//! How long a watch that failed waits before it is tried again.

use std::time::Duration;

use kube::runtime::{utils::Backoff, watcher::DefaultBackoff};
use rand::RngExt;

/// The longest wait. The client's own default goes on to half a minute and more, for which nobody would hear of a change, or of a revoked
/// key, although the API server is back. A few watches of a few replicas are no load.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The waits: exponentially longer, jittered, and never longer than a few seconds.
#[derive(Default)]
pub struct Retry(DefaultBackoff);

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait_max = WAIT_MAX.mul_f64(rand::rng().random_range(0.5..1.0));
        self.0.next().map(|wait| wait.min(wait_max))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_back_is_heard_within_seconds() {
        let mut retry = Retry::default();
        let waits: Vec<_> = retry.by_ref().take(40).collect();
        assert!(waits.iter().all(|wait| *wait <= WAIT_MAX), "{waits:?}");
        assert!(waits[30..].iter().all(|wait| *wait >= WAIT_MAX / 2), "{waits:?}");
        retry.reset();
        assert!(retry.next().is_some_and(|wait| wait < WAIT_MAX / 2));
    }
}
