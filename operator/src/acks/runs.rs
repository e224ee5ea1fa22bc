//! What one pod runs, told by what it has in common with other pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use carillon_tenant::{ConfigVersion, TenantId, push};
use tokio::time::Instant;

use crate::roster::Roster;

/// What one pod runs: a roster that pods share, but for some tenants. With many tenants and pods most of it is kept once.
#[derive(Debug)]
pub(super) struct Runs {
    roster: Arc<Roster>,
    /// Since when the pod is known to run what the roster tells.
    since: Instant,
    /// Tenants of which it runs another version, or the same since another time.
    own: BTreeMap<TenantId, Running>,
    /// Tenants of the roster that it doesn't run.
    without: BTreeSet<TenantId>,
    /// How many it runs.
    count: usize,
}

/// What a pod runs of a tenant, and since when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Running<V = ConfigVersion> {
    pub version: V,
    pub since: Instant,
}

impl Runs {
    /// A pod that runs what `roster` says.
    pub fn new(roster: Arc<Roster>, since: Instant) -> Self {
        Self { count: roster.len(), roster, since, own: BTreeMap::new(), without: BTreeSet::new() }
    }

    /// The pod now runs what `roster` says, and what it ran before it has been running all the while; with the tenants of which that is not so.
    pub fn followed_by(&self, roster: Arc<Roster>, now: Instant) -> (Self, Vec<TenantId>) {
        let mut runs = Self::new(Arc::clone(&roster), self.since);
        let mut touched: Vec<_> =
            self.iter().filter(|(tenant, _)| roster.get(tenant).is_none()).map(|(tenant, _)| tenant.clone()).collect();
        for (tenant, version) in roster.iter() {
            let before = self.get(tenant).filter(|before| before.version == version);
            let since = before.as_ref().map_or(now, |before| before.since);
            if before.is_none() {
                touched.push(tenant.clone());
            }
            if since != self.since {
                runs.own.insert(tenant.clone(), Running { version: version.clone(), since });
            }
        }
        (runs, touched)
    }

    /// What it runs of `tenant`.
    pub fn get(&self, tenant: &TenantId) -> Option<Running<&ConfigVersion>> {
        if let Some(Running { version, since }) = self.own.get(tenant) {
            return Some(Running { version, since: *since });
        }
        let version = self.roster.get(tenant).filter(|_| !self.without.contains(tenant))?;
        Some(Running { version, since: self.since })
    }

    /// Everything it runs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&TenantId, &ConfigVersion)> {
        let shared = self.roster.iter().filter(|(tenant, _)| !self.own.contains_key(*tenant) && !self.without.contains(*tenant));
        shared.chain(self.own.iter().map(|(tenant, running)| (tenant, &running.version)))
    }

    /// How many tenants it runs.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// True when that is exactly `applied`.
    pub fn is(&self, applied: &[push::Applied]) -> bool {
        let runs = |applied: &push::Applied| self.get(&applied.tenant_id).is_some_and(|running| *running.version == applied.config_version);
        self.len() == applied.len() && applied.iter().all(runs)
    }

    pub fn insert(&mut self, tenant: TenantId, version: ConfigVersion, since: Instant) {
        self.count += usize::from(self.get(&tenant).is_none());
        self.without.remove(&tenant);
        self.own.insert(tenant, Running { version, since });
    }

    pub fn remove(&mut self, tenant: &TenantId) {
        self.count -= usize::from(self.get(tenant).is_some());
        self.own.remove(tenant);
        if self.roster.get(tenant).is_some() {
            self.without.insert(tenant.clone());
        }
    }

    /// Tells the same by `roster`, which is exactly what the pod runs.
    pub fn settle(&mut self, roster: &Arc<Roster>) {
        if Arc::ptr_eq(&self.roster, roster) && self.without.is_empty() && self.own.is_empty() {
            return;
        }
        self.roster = Arc::clone(roster);
        self.without.clear();
        // All of it differs after everything was pushed, and then since the same moment.
        if self.own.len() == self.count
            && let Some(Running { since, .. }) = self.own.values().next()
        {
            self.since = *since;
            self.own.retain(|_, running| running.since != self.since);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixtures::{id, version};

    fn roster(entries: &[(&str, &str)]) -> Arc<Roster> {
        Arc::new(entries.iter().map(|(tenant, text)| (id(tenant), version(text))).collect())
    }

    /// What is told by a roster is what a plain map would tell.
    fn check(runs: &Runs, expected: &BTreeMap<&str, (&str, Instant)>) {
        let told: BTreeMap<_, _> = runs.iter().map(|(tenant, version)| (tenant.as_str(), version.as_str())).collect();
        assert_eq!(told, expected.iter().map(|(tenant, (version, _))| (*tenant, *version)).collect());
        assert_eq!((runs.len(), runs.iter().count()), (expected.len(), expected.len()));
        for tenant in ["a", "b", "c", "d"] {
            let running = runs.get(&id(tenant)).map(|running| (running.version.as_str(), running.since));
            assert_eq!(running, expected.get(tenant).copied(), "{tenant}");
        }
    }

    #[test]
    fn what_differs_from_the_roster_is_told_and_settles() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut runs = Runs::new(roster(&[("a", "1"), ("b", "1"), ("c", "1")]), start);
        check(&runs, &[("a", ("1", start)), ("b", ("1", start)), ("c", ("1", start))].into());
        runs.insert(id("b"), version("2"), later(1));
        runs.insert(id("d"), version("1"), later(2));
        runs.remove(&id("a"));
        runs.remove(&id("a"));
        let expected = [("b", ("2", later(1))), ("c", ("1", start)), ("d", ("1", later(2)))].into();
        check(&runs, &expected);
        runs.settle(&roster(&[("b", "2"), ("c", "1"), ("d", "1")]));
        check(&runs, &expected);
        assert_eq!((runs.own.len(), runs.without.len()), (2, 0));
        runs.remove(&id("d"));
        runs.insert(id("d"), version("1"), later(3));
        runs.insert(id("a"), version("1"), later(3));
        runs.remove(&id("b"));
        check(&runs, &[("a", ("1", later(3))), ("c", ("1", start)), ("d", ("1", later(3)))].into());
    }

    #[test]
    fn what_is_pushed_at_once_is_known_since_one_moment() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let full = roster(&[("a", "1"), ("b", "1")]);
        for mut runs in [Runs::new(Arc::default(), start), Runs::new(Arc::clone(&full), start)] {
            ["a", "b"].into_iter().for_each(|tenant| runs.insert(id(tenant), version("1"), later));
            runs.settle(&full);
            check(&runs, &[("a", ("1", later)), ("b", ("1", later))].into());
            assert!(runs.own.is_empty());
        }
    }

    #[test]
    fn what_a_pod_went_on_running_is_known_since_before() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut before = Runs::new(roster(&[("a", "1"), ("b", "1"), ("c", "1")]), start);
        before.insert(id("b"), version("2"), later(1));
        let (after, touched) = before.followed_by(roster(&[("a", "1"), ("b", "2"), ("d", "1")]), later(2));
        check(&after, &[("a", ("1", start)), ("b", ("2", later(1))), ("d", ("1", later(2)))].into());
        assert_eq!(touched, [id("c"), id("d")]);
    }
}
