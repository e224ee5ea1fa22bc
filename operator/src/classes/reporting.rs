//! When a class's status is written: soon when what it says has changed, seldom when only tenants come and go.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use carillon_crds::RealtimeTenantClassStatus;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::status::{ClassFacts, status};
use crate::schedule::Schedule;

/// The least time between two writes of one class's status ...
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// ... and when all they tell is how many tenants there are.
const COUNT_INTERVAL: Duration = Duration::from_secs(30);
/// Tenants come and go together: a count waits for more of them.
const SETTLE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(10);

/// Which statuses are due, and which may be written.
#[derive(Debug, Default)]
pub struct ClassReporting {
    due: Schedule<String>,
    paces: HashMap<String, Pace>,
    writing: HashSet<String>,
}

/// From when on a class's status may be written again.
#[derive(Debug)]
struct Pace {
    change: Instant,
    count: Instant,
}

impl ClassReporting {
    /// Something about the class may have changed.
    pub fn touch(&mut self, name: &str, now: Instant) {
        self.due.at(now, name.to_owned());
    }

    /// The next class whose status is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<String> {
        self.due.pop_due(now)
    }

    /// When the next status is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.next()
    }

    /// The class is gone.
    pub fn forget(&mut self, name: &str) {
        self.paces.remove(name);
    }

    /// The status to write now, if one is. It is being written until [`written`](Self::written) says otherwise.
    pub fn decide(
        &mut self,
        name: &str,
        facts: &ClassFacts,
        previous: Option<&RealtimeTenantClassStatus>,
        (now, wall): (Instant, Timestamp),
    ) -> Option<RealtimeTenantClassStatus> {
        let status = status(facts, previous, wall);
        if previous == Some(&status) {
            return None;
        }
        let only_counts =
            previous.is_some_and(|previous| RealtimeTenantClassStatus { tenants: previous.tenants, ..status.clone() } == *previous);
        let pace = self.paces.entry(name.to_owned()).or_insert(Pace { change: now, count: now + SETTLE });
        let earliest = if only_counts { pace.count } else { pace.change };
        let earliest = if self.writing.contains(name) { earliest.max(now + WRITE_INTERVAL) } else { earliest };
        if earliest > now {
            self.due.at(earliest, name.to_owned());
            return None;
        }
        *pace = Pace { change: now + WRITE_INTERVAL, count: now + COUNT_INTERVAL };
        self.writing.insert(name.to_owned());
        Some(status)
    }

    /// A write has ended.
    pub fn written(&mut self, name: &str) {
        self.writing.remove(name);
    }

    /// The status could not be written: tries again later.
    pub fn failed(&mut self, name: &str, now: Instant) {
        self.writing.remove(name);
        self.due.at(now + RETRY, name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_class_says_is_told_at_once_and_how_many_use_it_seldom() {
        let start = Instant::now();
        let mut reporting = ClassReporting::default();
        let mut at = |seconds: u64, generation, tenants, previous: Option<&RealtimeTenantClassStatus>| {
            let facts = ClassFacts {
                generation,
                problems: Vec::new(),
                fleet_problem: None,
                in_force: true,
                is_default: false,
                older_default: None,
                tenants,
            };
            let times = (start + Duration::from_secs(seconds), Timestamp::UNIX_EPOCH);
            let status = reporting.decide("standard", &facts, previous, times);
            reporting.written("standard");
            let next = reporting.next().map(|next| (next - start).as_secs());
            reporting.due = Schedule::default();
            (status, next)
        };
        let first = at(0, 1, 0, None).0.expect("a status is due at once");
        assert_eq!(at(1, 1, 0, Some(&first)), (None, None));
        assert_eq!(at(2, 1, 5, Some(&first)), (None, Some(30)), "a count waits");
        let second = at(5, 2, 5, Some(&first)).0.expect("what the class says doesn't");
        assert_eq!((second.tenants, second.observed_generation), (5, Some(2)));
        assert_eq!(at(34, 2, 6, Some(&second)).1, Some(35));
        assert_eq!(at(35, 2, 6, Some(&second)).0.map(|status| status.tenants), Some(6));
    }
}
