//! What must hold: how much of everything that is counted the pods may hold together, at any time.

use std::time::Duration;

use carillon_tenant::{Limit, Quotas};

use crate::plan::{ROOMS, USERS, USERS_COMMON};

/// How long after Redis lost data, or after a limit was lowered, places that were granted before may still be taken: until every pod
/// has made an exchange.
pub const SETTLED: Duration = Duration::from_millis(6000);

/// What a pod, or all of them, hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Connections.
    pub connections: u32,
    /// By user.
    pub users: Vec<u32>,
    /// By room.
    pub members: Vec<u32>,
}

impl Tally {
    /// Nothing.
    pub fn new() -> Self {
        Self { connections: 0, users: vec![0; USERS], members: vec![0; ROOMS] }
    }

    /// Adds another, and takes away a third.
    pub fn add(&mut self, other: &Self, without: &Self) {
        self.connections += other.connections - without.connections;
        for (index, users) in self.users[..USERS_COMMON].iter_mut().enumerate() {
            *users += other.users[index] - without.users[index];
        }
        for (index, members) in self.members.iter_mut().enumerate() {
            *members += other.members[index] - without.members[index];
        }
    }

    /// Every number: connections, rooms, users that clients share one by one, members of rooms one by one.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        let rooms = u32::try_from(self.members.iter().filter(|members| **members > 0).count()).expect("small");
        [self.connections, rooms].into_iter().chain(self.users[..USERS_COMMON].iter().copied()).chain(self.members.iter().copied())
    }

    /// Connections, users and rooms, as a book counts them.
    pub fn used(&self) -> (u32, u32, u32) {
        let some = |counts: &[u32]| u32::try_from(counts.iter().filter(|count| **count > 0).count()).expect("small");
        (self.connections, some(&self.users), some(&self.members))
    }
}

/// The limit of every number of a [`Tally`].
pub fn limits(quotas: &Quotas) -> impl Iterator<Item = u32> {
    let max = |limit: Limit| limit.max().unwrap_or(u32::MAX);
    [max(quotas.connections_max), max(quotas.rooms_max)]
        .into_iter()
        .chain(std::iter::repeat_n(max(quotas.connections_per_user_max), USERS_COMMON))
        .chain(std::iter::repeat_n(max(quotas.room_members_max), ROOMS))
}

/// What number it is, to people.
pub fn name(index: usize) -> String {
    match index {
        0 => "connections".into(),
        1 => "rooms".into(),
        index if index < 2 + USERS_COMMON => format!("connections of user {}", index - 2),
        index => format!("members of room {}", index - 2 - USERS_COMMON),
    }
}

/// The most that pods with a good lease may hold of each number.
pub struct Law {
    allowed: Vec<u32>,
    settles_at: Duration,
}

impl Law {
    /// The limits.
    pub fn new(quotas: &Quotas) -> Self {
        Self { allowed: limits(quotas).collect(), settles_at: Duration::ZERO }
    }

    /// The limits moved. What was granted before still may be taken for a while, and what is taken stays.
    pub fn moved(&mut self, quotas: &Quotas, now: Duration) {
        for (allowed, limit) in self.allowed.iter_mut().zip(limits(quotas)) {
            *allowed = (*allowed).max(limit);
        }
        self.settles_at = self.settles_at.max(now + SETTLED);
    }

    /// Redis lost data. Of connections, each pod may have what it was granted or an even share; of everything else, what was there
    /// and as much again.
    pub fn lost_data(&mut self, quotas: &Quotas, granted: impl Iterator<Item = u32>, pods: u32, now: Duration) {
        let share = quotas.connections_max.max().map_or(u32::MAX, |max| (max / pods).max(1));
        let connections = granted.fold(0u32, |sum, granted| sum.saturating_add(granted.max(share)));
        for (index, (allowed, limit)) in self.allowed.iter_mut().zip(limits(quotas)).enumerate() {
            *allowed = if index == 0 { connections.max(*allowed) } else { allowed.saturating_add(limit) };
        }
        self.settles_at = now + SETTLED;
    }

    /// Holds what the pods with a good lease have against it; `all` is what every pod has.
    pub fn check(&mut self, counted: &Tally, all: &Tally, quotas: &Quotas, now: Duration) -> Result<(), String> {
        for (index, number) in counted.numbers().enumerate() {
            if number > self.allowed[index] {
                return Err(format!("{}: {number}, where {} are allowed", name(index), self.allowed[index]));
            }
        }
        if now >= self.settles_at {
            for ((allowed, limit), all) in self.allowed.iter_mut().zip(limits(quotas)).zip(all.numbers()) {
                *allowed = limit.max(all.min(*allowed));
            }
        }
        Ok(())
    }
}
