//! When a tenant's status is written: soon, but not more often than needed.

use std::{collections::HashMap, time::Duration};

use carillon_crds::{ConditionType, RealtimeTenantStatus};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    acks::{STARTING, Standing},
    events::{News, news},
    metrics::{Metrics, TenantState},
    object::ObjectKey,
    schedule::Schedule,
    status::{Facts, find, is_transitional, status, tenant_state},
    usage::{self, Thresholds},
};

/// The least time between two writes of one tenant's status.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a status that may soon be overtaken waits.
const SETTLE: Duration = Duration::from_millis(500);
/// How long a status waits for a pod that was not asked yet: asking has a timeout of its own.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Which statuses are due, and what was told about each tenant.
#[derive(Debug, Default)]
pub struct Reporting {
    due: Schedule<ObjectKey>,
    told: HashMap<ObjectKey, Told>,
}

#[derive(Debug)]
struct Told {
    state: Option<TenantState>,
    /// The version last told to be in force on every pod.
    announced: Option<String>,
    /// `None` until something is known of use.
    thresholds: Option<Thresholds>,
    touched: Instant,
    written: Option<Instant>,
    failures: u32,
}

/// What to do about a tenant now.
#[derive(Debug, Default)]
pub struct Decision {
    /// The status to write now, if one is to be written now.
    pub status: Option<RealtimeTenantStatus>,
    /// What is worth an Event, written or not.
    pub news: Vec<News>,
}

impl Reporting {
    /// Something about the tenant has changed.
    pub fn touch(&mut self, key: &ObjectKey, now: Instant) {
        if let Some(told) = self.told.get_mut(key) {
            told.touched = now;
        }
        self.due.at(now, key.clone());
    }

    /// The next tenant whose status is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<ObjectKey> {
        self.due.pop_due(now)
    }

    /// When the next status is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.next()
    }

    /// Looks at the tenant again at `time`.
    pub fn again(&mut self, key: &ObjectKey, time: Instant) {
        self.due.at(time, key.clone());
    }

    /// The tenant is being deleted.
    pub fn deleting(&mut self, key: &ObjectKey, metrics: &Metrics) {
        if let Some(told) = self.told.get_mut(key) {
            metrics.tenant_moved(told.state.replace(TenantState::Deleting), Some(TenantState::Deleting));
        }
    }

    /// The tenant is gone.
    pub fn forget(&mut self, key: &ObjectKey, metrics: &Metrics) {
        if let Some(told) = self.told.remove(key) {
            metrics.tenant_moved(told.state, None);
        }
    }

    /// Another replica reports from now on.
    pub fn retire(&mut self, metrics: &Metrics) {
        self.told.values().for_each(|told| metrics.tenant_moved(told.state, None));
        *self = Self::default();
    }

    /// What to write and to tell now.
    pub fn decide(
        &mut self,
        key: &ObjectKey,
        facts: &Facts,
        previous: Option<&RealtimeTenantStatus>,
        metrics: &Metrics,
        (now, wall): (Instant, Timestamp),
    ) -> Decision {
        let told = self.told.entry(key.clone()).or_insert_with(|| Told {
            state: None,
            // What an earlier operator told needs no telling again.
            announced: previous.and_then(programmed_version),
            thresholds: None,
            touched: now,
            written: None,
            failures: 0,
        });
        if facts.pods.iter().any(|(_, standing)| *standing == Standing::Asking) {
            self.due.at(now + ASK_AGAIN, key.clone());
            return Decision::default();
        }
        let stayed = without_starting(facts, previous);
        if stayed.is_some() {
            self.due.at(now + STARTING, key.clone());
        }
        let facts = match &stayed {
            Some(facts) if facts.pods.is_empty() => return Decision::default(),
            stayed => stayed.as_ref().unwrap_or(facts),
        };
        let used = previous.and_then(|previous| previous.usage.as_ref());
        let look = |used_now| told.thresholds.get_or_insert_with(|| Thresholds::new(used_now, used)).look(used_now, now);
        let news = facts.usage.as_ref().map(look).unwrap_or_default();
        let status = status(facts, previous, wall);
        let state = Some(tenant_state(&status));
        metrics.tenant_moved(told.state, state);
        told.state = state;
        if previous == Some(&status) {
            if let Some(wait) = usage::wait(facts.usage.as_ref(), used, wall) {
                self.due.at(now + wait, key.clone());
            }
            return Decision { status: None, news };
        }
        let spaced = told.written.map_or(now, |written| written + WRITE_INTERVAL);
        let settled = if is_transitional(&status) { told.touched + SETTLE } else { now };
        let time = spaced.max(settled);
        if time > now {
            self.due.at(time, key.clone());
            return Decision { status: None, news };
        }
        told.written = Some(now);
        Decision { status: Some(status), news }
    }

    /// The status was written: what is worth an Event.
    pub fn written(&mut self, key: &ObjectKey, before: Option<&RealtimeTenantStatus>, after: &RealtimeTenantStatus) -> Vec<News> {
        let Some(told) = self.told.get_mut(key) else { return Vec::new() };
        told.failures = 0;
        let news = news(before, after, told.announced.as_deref());
        if let Some(version) = programmed_version(after) {
            told.announced = Some(version);
        }
        news
    }

    /// The status could not be written: tries again later, and later each time.
    pub fn failed(&mut self, key: &ObjectKey, now: Instant) {
        let Some(told) = self.told.get_mut(key) else { return };
        let wait = WRITE_INTERVAL.saturating_mul(1 << told.failures.min(8)).min(RETRY_MAX);
        told.failures += 1;
        self.due.at(now + wait, key.clone());
    }
}

/// Of a tenant that was in force on every pod, what is known without those that are just starting: they serve nobody yet, and what each of them
/// lacks would be told in the status of every tenant, and taken back in a moment. `None` when there is no such pod, or something to tell anyway.
fn without_starting(facts: &Facts, previous: Option<&RealtimeTenantStatus>) -> Option<Facts> {
    let starts = |(_, standing): &(String, Standing)| *standing == Standing::Starting;
    if !facts.pods.iter().any(starts) || previous.and_then(programmed_version) != facts.version {
        return None;
    }
    let pods = facts.pods.iter().filter(|pod| !starts(pod)).cloned().collect();
    Some(Facts { pods, ..facts.clone() })
}

fn programmed_version(status: &RealtimeTenantStatus) -> Option<String> {
    let programmed = find(status, ConditionType::Programmed).is_some_and(|condition| condition.status == "True");
    status.config_version.clone().filter(|_| programmed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{acks::Trouble, fixtures::usage};

    fn facts(version: &str, pods: &[Standing]) -> Facts {
        Facts {
            generation: 1,
            conflict: None,
            problems: Vec::new(),
            readable: true,
            pause: None,
            synced: None,
            suspended: false,
            version: Some(version.to_owned()),
            kept: false,
            effective: None,
            key_report: None,
            fleet: carillon_tenant::FleetName::default(),
            moving_from: std::collections::BTreeSet::new(),
            pods: pods.iter().enumerate().map(|(number, standing)| (format!("server-{number}"), standing.clone())).collect(),
            usage: None,
            generates: false,
            generated: None,
        }
    }

    #[test]
    fn a_pod_that_is_just_starting_takes_no_tenant_out_of_force() {
        let (metrics, start) = (Metrics::default(), Instant::now());
        let key = ObjectKey::new("n", "acme");
        let (there, starting, trouble) = (Standing::Programmed, Standing::Starting, Standing::Trouble(Trouble::Unreachable));
        let mut reporting = Reporting::default();
        // What is written then, as summary and status of Programmed.
        let mut decide = |facts: &Facts, previous: Option<&RealtimeTenantStatus>, seconds: u32| {
            let times = (start + Duration::from_secs(seconds.into()), Timestamp::from_second(seconds.into()).unwrap());
            let status = reporting.decide(&key, facts, previous, &metrics, times).status;
            let next = reporting.next().map(|next| (next - start).as_secs());
            reporting.due = Schedule::default();
            (status, next)
        };
        let told = |status: &RealtimeTenantStatus| {
            let programmed = find(status, ConditionType::Programmed).expect("it is told").status.clone();
            (status.fleet.as_ref().expect("it is told").summary.clone(), programmed)
        };
        let (first, _) = decide(&facts("1-a", &[there.clone(), there.clone()]), None, 0);
        assert_eq!(first.as_ref().map(told), Some(("2/2".to_owned(), "True".to_owned())));

        let grows = facts("1-a", &[there.clone(), there.clone(), starting.clone()]);
        assert_eq!(decide(&grows, first.as_ref(), 10), (None, Some(20)), "it is looked at again when its time is over");
        let alone = facts("1-a", std::slice::from_ref(&starting));
        assert_eq!(decide(&alone, first.as_ref(), 20), (None, Some(30)), "whoever begins to lead has heard of none yet");
        // What there is to tell anyway is told, and what is new is in force when that one runs it, too.
        let (suspended, _) = decide(&Facts { suspended: true, ..grows }, first.as_ref(), 30);
        assert_eq!(suspended.as_ref().map(told), Some(("2/2".to_owned(), "True".to_owned())));
        let (changed, _) = decide(&facts("2-b", &[there.clone(), there.clone(), starting]), first.as_ref(), 40);
        assert_eq!(changed.as_ref().map(told), Some(("2/3".to_owned(), "False".to_owned())));
        // It isn't starting for ever.
        let (late, _) = decide(&facts("1-a", &[there.clone(), there, trouble]), first.as_ref(), 50);
        assert_eq!(late.as_ref().map(told), Some(("2/3".to_owned(), "False".to_owned())));
    }

    #[test]
    fn use_that_moved_too_soon_is_written_when_its_time_has_come_and_events_do_not_wait() {
        let (metrics, start) = (Metrics::default(), Instant::now());
        let key = ObjectKey::new("n", "acme");
        let mut reporting = Reporting::default();
        let mut decide = |connections, previous: Option<&RealtimeTenantStatus>, seconds: u32| {
            let facts = Facts { usage: Some(usage(connections, 0, 0)), ..facts("1-00000001", &[Standing::Programmed]) };
            let after = Duration::from_secs(seconds.into());
            let times = (start + after, Timestamp::from_second(seconds.into()).unwrap());
            let Decision { status, news } = reporting.decide(&key, &facts, previous, &metrics, times);
            let next = reporting.next().map(|next| next - start);
            reporting.due = Schedule::default();
            (status, news.into_iter().map(|news| news.reason).collect::<Vec<_>>(), next)
        };
        let (first, news, _) = decide(10, None, 0);
        assert!(first.is_some() && news.is_empty());
        assert_eq!(decide(20, first.as_ref(), 10), (None, vec![], None), "too little");
        let wait = Some(Duration::from_secs(30));
        assert_eq!(decide(850, first.as_ref(), 10), (None, vec!["QuotaNearlyReached".to_owned()], wait));
        let (second, news, _) = decide(850, first.as_ref(), 30);
        assert_eq!(second.unwrap().usage.unwrap().summary, "850/1000");
        assert!(news.is_empty(), "told before");
    }
}
