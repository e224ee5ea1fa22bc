//! When a status says anew what a tenant uses: when it moved noticeably, and not too often.

use std::time::Duration;

use carillon_crds::UsageStatus;
use carillon_tenant::Limit;
use k8s_openapi::jiff::Timestamp;

use super::{Level, Usage, limit_text};

/// The least time between two writes that tell of use alone.
const WRITE_INTERVAL: Duration = Duration::from_secs(30);

/// What a status says next of use, given what it said. Stays as it is while nothing is known, nothing moved noticeably, or it was
/// written a moment ago.
pub fn next(usage: Option<&Usage>, previous: Option<&UsageStatus>, now: Timestamp) -> Option<UsageStatus> {
    let usage = usage.filter(|usage| previous.is_none_or(|previous| moved(usage, previous) && remaining(previous, now).is_zero()));
    usage.map_or_else(|| previous.cloned(), |usage| Some(usage.status(now)))
}

/// How long what moved must wait to be written; `None` when nothing did.
pub fn wait(usage: Option<&Usage>, previous: Option<&UsageStatus>, now: Timestamp) -> Option<Duration> {
    let previous = previous.filter(|previous| usage.is_some_and(|usage| moved(usage, previous)))?;
    Some(remaining(previous, now))
}

fn remaining(previous: &UsageStatus, now: Timestamp) -> Duration {
    // A time that lies ahead was written by another clock: it is no reason to wait.
    Duration::try_from(now.duration_since(previous.observed_at.0)).map_or(Duration::ZERO, |elapsed| WRITE_INTERVAL.saturating_sub(elapsed))
}

fn moved(usage: &Usage, previous: &UsageStatus) -> bool {
    let limits = &usage.limits;
    let before = |count: i64| u64::try_from(count).unwrap_or_default();
    let counts =
        [(usage.connections, before(previous.connections), limits.connections), (usage.rooms, before(previous.rooms), limits.rooms)];
    let messages = (usage.messages_per_second, before(previous.messages_per_second), limits.messages_per_second);
    // A rate comes and goes with every message: its end is worth telling, a trickle isn't.
    let trickles = messages.1 == 0;
    counts.into_iter().any(|(now, before, limit)| leapt(now, before, limit) || Level::of(now, limit) != Level::of(before, limit))
        || leapt(messages.0, messages.1, messages.2)
        || !trickles && Level::of(messages.0, messages.2) != Level::of(messages.1, messages.2)
        || previous.summary.split_once('/').is_none_or(|(_, limit)| limit != limit_text(limits.connections))
}

/// True when a count moved by 5 % of its limit or, without one, of what it was.
fn leapt(now: u64, before: u64, limit: Limit) -> bool {
    let base = limit.max().map_or(before, u64::from);
    now != before && now.abs_diff(before).saturating_mul(20) >= base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::usage;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn unlimited(mut usage: Usage) -> Usage {
        (usage.limits.connections, usage.limits.rooms) = (Limit::Unlimited, Limit::Unlimited);
        usage.limits.messages_per_second = Limit::Unlimited;
        usage
    }

    #[test]
    fn tells_of_leaps_and_thresholds_only() {
        // Connections, rooms and messages per second, before and after, each of 1000; whether that is told.
        let cases = [
            ("nothing", [100, 100, 100], [100, 100, 100], false),
            ("less than 5 %", [100, 100, 100], [149, 51, 149], false),
            ("connections by 5 %", [100, 100, 100], [150, 100, 100], true),
            ("rooms by 5 %", [100, 100, 100], [100, 50, 100], true),
            ("messages by 5 %", [100, 100, 100], [100, 100, 150], true),
            ("the first connection", [0, 0, 0], [1, 0, 0], true),
            ("the last room", [5, 1, 0], [5, 0, 0], true),
            ("up to 80 %", [799, 0, 0], [800, 0, 0], true),
            ("down from 80 %", [0, 800, 0], [0, 799, 0], true),
            ("up to 100 %", [999, 0, 0], [1000, 0, 0], true),
            ("down from 100 %", [1000, 0, 0], [999, 0, 0], true),
            ("beyond 100 %", [1000, 0, 0], [1001, 0, 0], false),
            ("a trickle of messages", [5, 0, 0], [5, 0, 1], false),
            ("the end of messages", [5, 0, 30], [5, 0, 0], true),
            ("messages at their limit", [5, 0, 999], [5, 0, 1000], true),
        ];
        for (name, before, after, told) in cases {
            let [before, after] = [before, after].map(|[connections, rooms, messages]| usage(connections, rooms, messages));
            let previous = before.status(at(0));
            let next = next(Some(&after), Some(&previous), at(30)).unwrap();
            assert_eq!(next == after.status(at(30)), told, "{name}");
            assert_eq!(next == previous, !told, "{name}");
            assert_eq!(wait(Some(&after), Some(&previous), at(30)), told.then_some(Duration::ZERO), "{name}");
        }
    }

    #[test]
    fn without_a_limit_what_was_before_is_the_measure() {
        for (before, after, told) in [(1000, 1049, false), (1000, 1050, true), (10, 11, true), (10, 10, false)] {
            let previous = unlimited(usage(before, 0, 0)).status(at(0));
            let next = next(Some(&unlimited(usage(after, 0, 0))), Some(&previous), at(30)).unwrap();
            assert_eq!(next != previous, told, "{before} to {after}");
        }
    }

    #[test]
    fn tells_at_most_every_thirty_seconds() {
        let previous = usage(100, 0, 0).status(at(100));
        let now = usage(900, 0, 0);
        let told = |second| next(Some(&now), Some(&previous), at(second)) != Some(previous.clone());
        assert!(!told(100) && !told(129) && told(130) && told(999));
        assert!(told(99), "another clock wrote that");
        assert_eq!(wait(Some(&now), Some(&previous), at(110)), Some(Duration::from_secs(20)));
    }

    #[test]
    fn the_first_use_and_another_limit_are_told_and_what_is_not_known_changes_nothing() {
        let idle = usage(0, 0, 0);
        assert_eq!(next(Some(&idle), None, at(5)), Some(idle.status(at(5))));
        let previous = idle.status(at(0));
        assert_eq!(next(None, Some(&previous), at(99)), Some(previous.clone()));
        assert_eq!(next(None, None, at(99)), None);
        assert_eq!(wait(None, Some(&previous), at(99)), None);
        assert_eq!(next(Some(&unlimited(idle)), Some(&previous), at(99)).unwrap().summary, "0/Unlimited");
    }
}
