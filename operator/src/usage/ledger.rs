//! What one pod was last heard to say of its tenants' use.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use carillon_tenant::{
    TenantId,
    push::{TenantUsage, UsageReport},
};
use tokio::time::Instant;

use crate::acks::Touched;

/// A report older than this no longer counts, and a pod that was asked in vain for so long is no longer waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a pod reports of use. Written by the pod's pusher, read by the controller. The lock guards plain data, never across an
/// await.
#[derive(Debug)]
pub struct UsageLedger(Mutex<Record>);

#[derive(Debug)]
enum Record {
    /// Nothing was heard of the pod since it was found: what all pods use together isn't known.
    Awaited { since: Instant },
    /// It was asked in vain for too long, or can't tell: the others count without it.
    Silent,
    /// What it said.
    Heard { at: Instant, tenants: HashMap<TenantId, TenantUsage> },
}

/// What was heard from one pod of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet, but it may come any moment.
    Awaited,
    /// It says nothing of any tenant.
    Nothing,
    /// What it said, and when: nothing of a tenant that is idle there.
    Report(Instant, Option<TenantUsage>),
}

impl UsageLedger {
    /// The ledger of a pod that was just found.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Record::Awaited { since: now }))
    }

    /// Takes up a report. Tells of which tenants it has news.
    pub fn learn(&self, report: UsageReport, now: Instant) -> Touched {
        let mut record = self.lock();
        let tenants: HashMap<_, _> = report.tenants.into_iter().map(|usage| (usage.tenant_id.clone(), usage)).collect();
        let touched = match &*record {
            Record::Awaited { .. } => Touched::All,
            Record::Silent => Touched::Only(tenants.keys().cloned().collect()),
            Record::Heard { tenants: before, .. } => {
                let gone = before.keys().filter(|tenant| !tenants.contains_key(*tenant));
                let moved = tenants.iter().filter(|(tenant, usage)| before.get(*tenant) != Some(usage)).map(|(tenant, _)| tenant);
                Touched::Only(gone.chain(moved).cloned().collect())
            }
        };
        *record = Record::Heard { at: now, tenants };
        touched
    }

    /// The pod was asked in vain. What it said before counts for a while.
    pub fn missed(&self, now: Instant) -> Touched {
        let since = match &*self.lock() {
            Record::Awaited { since } => *since,
            Record::Heard { at, .. } => *at,
            Record::Silent => return Touched::Only(Vec::new()),
        };
        if now.duration_since(since) > PATIENCE { self.silence() } else { Touched::Only(Vec::new()) }
    }

    /// The pod can't tell.
    pub fn silence(&self) -> Touched {
        match std::mem::replace(&mut *self.lock(), Record::Silent) {
            Record::Awaited { .. } => Touched::All,
            Record::Silent => Touched::Only(Vec::new()),
            Record::Heard { tenants, .. } => Touched::Only(tenants.into_keys().collect()),
        }
    }

    /// What the pod says of `tenant`.
    pub fn of(&self, tenant: &TenantId, now: Instant) -> Heard {
        let young = |since: &Instant| now.duration_since(*since) <= PATIENCE;
        match &*self.lock() {
            Record::Awaited { since } if young(since) => Heard::Awaited,
            Record::Heard { at, tenants } if young(at) => Heard::Report(*at, tenants.get(tenant).cloned()),
            Record::Awaited { .. } | Record::Silent | Record::Heard { .. } => Heard::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{id, tenant_usage};

    fn report(tenants: &[(&str, u64)]) -> UsageReport {
        let tenants = tenants.iter().map(|(tenant, connections)| tenant_usage(tenant, *connections)).collect();
        UsageReport { boot_id: "boot".to_owned(), tenants }
    }

    fn sorted(touched: Touched) -> Vec<String> {
        let Touched::Only(tenants) = touched else { panic!("all are touched") };
        let mut tenants: Vec<_> = tenants.iter().map(ToString::to_string).collect();
        tenants.sort();
        tenants
    }

    #[test]
    fn only_tenants_whose_numbers_moved_are_touched() {
        let now = Instant::now();
        let ledger = UsageLedger::new(now);
        assert_eq!(ledger.of(&id("a"), now), Heard::Awaited);
        assert_eq!(ledger.learn(report(&[("a", 1), ("b", 1), ("c", 1)]), now), Touched::All, "nothing was known before");
        assert!(ledger.learn(report(&[("a", 1), ("b", 1), ("c", 1)]), now).is_empty());
        assert_eq!(sorted(ledger.learn(report(&[("a", 1), ("b", 2), ("d", 1)]), now)), ["b", "c", "d"]);
        assert_eq!(ledger.of(&id("b"), now), Heard::Report(now, Some(tenant_usage("b", 2))));
        assert_eq!(ledger.of(&id("c"), now), Heard::Report(now, None));
    }

    #[test]
    fn a_report_counts_for_thirty_seconds() {
        let start = Instant::now();
        let ledger = UsageLedger::new(start);
        let after = |seconds| start + Duration::from_secs(seconds);
        ledger.learn(report(&[("a", 1)]), start);
        assert!(ledger.missed(after(30)).is_empty());
        assert!(matches!(ledger.of(&id("a"), after(30)), Heard::Report(..)));
        assert_eq!(ledger.of(&id("a"), after(31)), Heard::Nothing, "also before anyone noticed");
        assert_eq!(sorted(ledger.missed(after(31))), ["a"]);
        assert!(ledger.missed(after(99)).is_empty(), "told once");
        assert_eq!(sorted(ledger.learn(report(&[("b", 1)]), after(99))), ["b"]);
    }

    #[test]
    fn a_pod_that_never_answers_is_waited_for_as_long_and_one_that_cannot_tell_is_not() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let ledger = UsageLedger::new(start);
        assert!(ledger.missed(after(30)).is_empty());
        assert_eq!(ledger.of(&id("a"), after(30)), Heard::Awaited, "one failure is no reason to show half a sum");
        assert_eq!(ledger.missed(after(31)), Touched::All);
        assert_eq!(ledger.of(&id("a"), after(31)), Heard::Nothing);
        let old_version = UsageLedger::new(start);
        assert_eq!(old_version.silence(), Touched::All);
        assert_eq!(old_version.of(&id("a"), start), Heard::Nothing);
    }
}
