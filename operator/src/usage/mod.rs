//! What tenants use: heard from every pod, added up, and from there into status, conditions and Events. Pure, but for `ledger`,
//! which is a lock around plain data; clocks are handed in.

mod ledger;
mod pace;
pub mod saturation;
mod thresholds;

use std::collections::BTreeSet;

use carillon_crds::UsageStatus;
use carillon_tenant::{
    Code, Limit, Quotas,
    push::{FleetUsage, TenantUsage},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
pub use ledger::{Heard, UsageLedger};
pub use pace::{next, wait};
pub use thresholds::Thresholds;

/// What a tenant uses on all pods together, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Connections.
    pub connections: u64,
    /// Different users among them.
    pub users: u64,
    /// Rooms with members.
    pub rooms: u64,
    /// As many different rooms there are for sure, also while pods can't count them together.
    pub rooms_at_least: u64,
    /// Messages per second from clients.
    pub messages_per_second: u64,
    /// Quotas by which some pod refused something within the last minute, or would have.
    pub limited: BTreeSet<Code>,
    /// What is counted against.
    pub limits: Limits,
}

/// The limits that use is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: Limit,
    /// Rooms.
    pub rooms: Limit,
    /// Messages per second.
    pub messages_per_second: Limit,
    /// False: nothing is refused, only counted.
    pub enforced: bool,
}

impl From<&Quotas> for Limits {
    fn from(quotas: &Quotas) -> Self {
        Self {
            connections: quotas.connections_max,
            rooms: quotas.rooms_max,
            messages_per_second: quotas.messages_rate_per_second,
            enforced: quotas.enforced(),
        }
    }
}

/// How a count stands to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is in use.
    Idle,
    /// Something is, with room to spare.
    Below,
    /// 80 % or more.
    Nearly,
    /// All of it, or more: the limit may have been lowered.
    Reached,
}

impl Level {
    /// The level of `count` under `limit`.
    pub fn of(count: u64, limit: Limit) -> Self {
        match limit {
            _ if count == 0 => Self::Idle,
            limit if limit.reached_by(count) => Self::Reached,
            limit if is_percent(count, limit, 80) => Self::Nearly,
            _ => Self::Below,
        }
    }
}

/// True when `count` is `percent` of `limit` or more.
fn is_percent(count: u64, limit: Limit, percent: u64) -> bool {
    limit.max().is_some_and(|max| count.saturating_mul(100) >= u64::from(max) * percent)
}

impl Usage {
    /// Adds up what `pods` were heard to say of one tenant. `None` while that is too little to go by: a pod was found just now, or
    /// there are pods and none of them says anything.
    ///
    /// Connections are the sum of the pods' own, of which each is exact. Users and rooms are on several pods at once: the freshest
    /// view of a pod that knows the whole fleet counts them once; without one, they are sums, too.
    pub fn total(pods: impl IntoIterator<Item = Heard>, limits: Limits) -> Option<Self> {
        let mut total =
            Self { connections: 0, users: 0, rooms: 0, rooms_at_least: 0, messages_per_second: 0, limited: BTreeSet::new(), limits };
        let (mut pods_seen, mut pods_heard) = (0, 0);
        let mut freshest: Option<(tokio::time::Instant, FleetUsage)> = None;
        for heard in pods {
            pods_seen += 1;
            let (at, usage) = match heard {
                Heard::Awaited => return None,
                Heard::Nothing => continue,
                Heard::Report(at, usage) => (at, usage),
            };
            pods_heard += 1;
            let Some(TenantUsage { connections, users, rooms, messages_per_second, fleet, limited, .. }) = usage else { continue };
            total.connections = total.connections.saturating_add(connections);
            total.users = total.users.saturating_add(users);
            total.rooms = total.rooms.saturating_add(rooms);
            total.rooms_at_least = total.rooms_at_least.max(rooms);
            total.messages_per_second = total.messages_per_second.saturating_add(messages_per_second);
            total.limited.extend(limited.into_iter().filter(|code| code.is_quota()));
            if let Some(fleet) = fleet.filter(|_| freshest.is_none_or(|(before, _)| before < at)) {
                freshest = Some((at, fleet));
            }
        }
        if let Some((_, FleetUsage { users, rooms, messages_per_second, .. })) = freshest {
            total = Self { users, rooms, rooms_at_least: rooms, messages_per_second, ..total };
        }
        (pods_heard > 0 || pods_seen == 0).then_some(total)
    }

    /// As it stands in a status.
    pub fn status(&self, now: Timestamp) -> UsageStatus {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        UsageStatus {
            summary: format!("{}/{}", self.connections, limit_text(self.limits.connections)),
            connections: number(self.connections),
            users: number(self.users),
            rooms: number(self.rooms),
            messages_per_second: number(self.messages_per_second),
            observed_at: Time(now),
        }
    }
}

/// A limit as the resource has it.
fn limit_text(limit: Limit) -> String {
    limit.max().map_or_else(|| carillon_crds::UNLIMITED.to_owned(), |max| max.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::fixtures::{tenant_usage, usage};

    #[test]
    fn connections_are_added_up_and_the_freshest_view_counts_the_rest_once() {
        let start = Instant::now();
        let later = start + Duration::from_secs(3);
        let fleet = |users, rooms| Some(FleetUsage { connections: 99, users, rooms, messages_per_second: 7 });
        let own = |connections| tenant_usage("acme", connections);
        let report = |at, usage| Heard::Report(at, Some(usage));
        let with = |fleet, usage: TenantUsage| TenantUsage { fleet, ..usage };
        // What pods say; connections, users, rooms and messages per second of all.
        type Case<'a> = (&'a str, Vec<Heard>, Option<[u64; 4]>);
        let cases: Vec<Case<'_>> = vec![
            ("no pods, no use", vec![], Some([0; 4])),
            ("a pod found just now", vec![report(start, own(3)), Heard::Awaited], None),
            ("pods that say nothing", vec![Heard::Nothing, Heard::Nothing], None),
            ("one of two says something", vec![Heard::Nothing, report(start, own(3))], Some([3, 3, 3, 3])),
            ("idle everywhere", vec![Heard::Report(start, None), Heard::Report(start, None)], Some([0; 4])),
            ("own numbers are added up", vec![report(start, own(3)), report(later, own(4)), Heard::Report(start, None)], Some([7; 4])),
            ("one knows the fleet", vec![report(start, with(fleet(5, 2), own(3))), report(later, own(4))], Some([7, 5, 2, 7])),
            (
                "the freshest counts",
                vec![report(later, with(fleet(6, 3), own(3))), report(start, with(fleet(5, 2), own(4)))],
                Some([7, 6, 3, 7]),
            ),
        ];
        for (name, pods, expected) in cases {
            let total = Usage::total(pods, usage(0, 0, 0).limits);
            if name.starts_with("own") {
                assert_eq!(total.as_ref().unwrap().rooms_at_least, 4, "the same rooms may be on both");
            }
            let found = total.map(|total| [total.connections, total.users, total.rooms, total.messages_per_second]);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn what_any_pod_was_limited_by_counts_if_it_is_a_quota() {
        let limited =
            |limited: &[Code]| Heard::Report(Instant::now(), Some(TenantUsage { limited: limited.to_vec(), ..tenant_usage("acme", 1) }));
        let pods = [limited(&[Code::MessagesRate, Code::TokenExpired]), limited(&[Code::MessagesRate, Code::RoomsMax])];
        let total = Usage::total(pods, usage(0, 0, 0).limits).unwrap();
        assert_eq!(total.limited, [Code::RoomsMax, Code::MessagesRate].into());
    }

    #[test]
    fn the_summary_is_connections_of_the_limit() {
        let mut of = usage(412, 0, 0);
        assert_eq!(of.status(Timestamp::UNIX_EPOCH).summary, "412/1000");
        of.limits.connections = Limit::Unlimited;
        assert_eq!(of.status(Timestamp::UNIX_EPOCH).summary, "412/Unlimited");
    }
}
