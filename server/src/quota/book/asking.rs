//! When to say something to Redis, and what.

use std::{collections::HashMap, time::Duration};

use carillon_tenant::{Quotas, RoomName, UserId};

use super::{
    Asked, BLOCK_MAX, Book, Claim, Count, ENDED_MAX, GATHER, GATHER_CONNECTS, HEARTBEAT, Limits, METER, NAMES_MAX, REPORT, Standing,
};
use crate::quota::wire::{Need, Request, RoomNeed};

impl<T> Book<T> {
    /// When the next exchange is due; `None` while one is under way, and when there is nothing to say. `metering` is true while rates
    /// change.
    pub fn due(&self, metering: bool) -> Option<Duration> {
        if self.in_flight || self.standing == Standing::Alone {
            return None;
        }
        let after = |wait| self.sent_at.map_or(Duration::ZERO, |sent_at| sent_at + wait);
        let tight = self.sent_at.is_some_and(|sent_at| sent_at < self.tight_until);
        let changed = self.connections_changed || !self.users.changed.is_empty() || !self.rooms.changed.is_empty();
        let mut due: Option<Duration> = None;
        let mut wanted = |time: Duration| due = Some(due.map_or(time, |due| due.min(time)));
        match &self.standing {
            Standing::Lost { .. } => wanted(Duration::ZERO),
            Standing::Leased { .. } => wanted(after(HEARTBEAT)),
            Standing::Share { .. } if self.holds_something() => wanted(Duration::ZERO),
            _ => {}
        }
        if !self.waiting.is_empty() {
            wanted(after(if self.joins || tight { GATHER } else { GATHER_CONNECTS }));
        }
        if changed {
            wanted(after(if tight { GATHER } else { REPORT }));
        }
        if self.asked || self.sweeping {
            wanted(after(GATHER));
        }
        if metering {
            wanted(after(METER));
        }
        due.map(|due| due.max(self.retry_at))
    }

    /// What to say now. To be called when [`due`](Self::due).
    pub fn ask(&mut self, quotas: &Quotas, now: Duration, metering: bool) -> Asked {
        self.in_flight = true;
        self.sent_at = Some(now);
        self.asked = false;
        self.joins = false;
        self.sequence += 1;
        if !self.holds_something() && !metering {
            return self.give_back(quotas, now);
        }
        let (full, claim) = match &self.standing {
            Standing::Leased { claim, .. } => (false, *claim),
            Standing::Lost { claim } => (true, *claim || now >= self.sure_until),
            Standing::Share { .. } => (true, true),
            Standing::Idle | Standing::Alone => (true, false),
        };
        // Nobody has to go in a dry run, so what is held stays.
        let claim = claim && quotas.enforced();
        if full {
            self.end_lease();
            self.leases += 1;
            self.acknowledged = 0;
            let holder = format!("{}-{}", self.pod, self.leases);
            // Nothing is relied on until it is granted.
            self.standing = Standing::Leased { holder, valid_until: Duration::ZERO, claim };
            self.connections.granted = 0;
            self.users.reset();
            self.rooms.reset();
        }
        let holder = match &self.standing {
            Standing::Leased { holder, .. } => holder.clone(),
            _ => unreachable!("a lease was just made, if there was none"),
        };
        let (users, rooms, waiting, covered) = self.gather();
        self.connections_changed = false;
        let recent = self.connected_at.is_some_and(|at| now.saturating_sub(at) < 2 * HEARTBEAT);
        let block = quotas.connections_max.max().map_or(0, |max| (max / 4).clamp(1, BLOCK_MAX));
        let connections = self.connections.need(waiting, if recent && now >= self.tight_until { block } else { 0 });
        // What could still be taken of an earlier grant while Redis decides is bounded by what it is told.
        self.connections.granted = self.connections.granted.min(connections.needed);
        for (user, need) in &users {
            self.users.freeze(user, need.needed);
        }
        for (room, need) in &rooms {
            self.rooms.freeze(room, need.members.needed);
        }
        let ended = self.ended.clone();
        let (sequence, acknowledged) = (self.sequence, self.acknowledged);
        let request = Request { holder: Some(holder), ended, sequence, acknowledged, full, claim, connections, users, rooms };
        Asked { request, limits: Limits::of(quotas), sent_at: now, covered }
    }

    fn give_back(&mut self, quotas: &Quotas, now: Duration) -> Asked {
        self.end_lease();
        self.standing = Standing::Idle;
        self.connections = Count::default();
        self.connections_changed = false;
        self.users.forget_grants();
        self.rooms.forget_grants();
        self.sweeping = false;
        let request = Request { ended: self.ended.clone(), sequence: self.sequence, ..Request::default() };
        Asked { request, limits: Limits::of(quotas), sent_at: now, covered: 0 }
    }

    /// The lease is no more, for this pod. Redis is told when it next can be.
    pub(super) fn end_lease(&mut self) {
        if let Standing::Leased { holder, .. } = &self.standing {
            self.ended.push(holder.clone());
            // The first is the one that was good: it stands in Redis for as long as nobody comes by. Those after it may never have come to be.
            let surplus = self.ended.len().saturating_sub(ENDED_MAX);
            self.ended.drain(1..=surplus);
        }
    }

    /// Names to tell, what is needed of each, how many connections are waited for, and up to whom that reaches.
    #[expect(clippy::type_complexity, reason = "four parts of one request, taken apart by the only caller")]
    fn gather(&mut self) -> (Vec<(UserId, Need)>, Vec<(RoomName, RoomNeed)>, u32, u64) {
        let mut users: HashMap<UserId, u32> = HashMap::new();
        let mut rooms: HashMap<RoomName, (u32, bool)> = HashMap::new();
        let (mut connections, mut covered) = (0, 0);
        for waiter in &self.waiting {
            if users.len() + rooms.len() >= NAMES_MAX {
                break;
            }
            match &waiter.claim {
                Claim::Connection(user) => {
                    connections += 1;
                    *users.entry(user.clone()).or_default() += 1;
                }
                Claim::Member { room, may_create } => {
                    let entry = rooms.entry(room.clone()).or_default();
                    entry.0 += 1;
                    entry.1 |= may_create;
                }
            }
            covered = waiter.number;
        }
        let space = NAMES_MAX.saturating_sub(users.len() + rooms.len());
        let changed: Vec<_> = self.users.changed.iter().filter(|user| !users.contains_key(*user)).take(space).cloned().collect();
        users.extend(changed.into_iter().map(|user| (user, 0)));
        let space = NAMES_MAX.saturating_sub(users.len() + rooms.len());
        let changed: Vec<_> = self.rooms.changed.iter().filter(|room| !rooms.contains_key(*room)).take(space).cloned().collect();
        rooms.extend(changed.into_iter().map(|room| (room, (0, false))));
        let users: Vec<_> = users
            .into_iter()
            .map(|(user, waiting)| {
                self.users.changed.remove(&user);
                let need = self.users.get(&user).need(waiting, 0);
                (user, need)
            })
            .collect();
        let rooms: Vec<_> = rooms
            .into_iter()
            .map(|(room, (waiting, may_create))| {
                self.rooms.changed.remove(&room);
                let need = RoomNeed { members: self.rooms.get(&room).need(waiting, 0), may_create };
                (room, need)
            })
            .collect();
        (users, rooms, connections, covered)
    }
}
