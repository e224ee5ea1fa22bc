//! Limits that are lowered while more is in use: nobody is sent away, and nobody takes what gets free until the rest fits.

use carillon_tenant::{Limit, Quotas};

use super::Book;
use crate::quota::wire::{Granted, Request};

/// The limits that a grant went by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    connections: Limit,
    of_user: Limit,
    rooms: Limit,
    members: Limit,
}

impl Limits {
    pub(super) const fn of(quotas: &Quotas) -> Self {
        Self {
            connections: quotas.connections_max,
            of_user: quotas.connections_per_user_max,
            rooms: quotas.rooms_max,
            members: quotas.room_members_max,
        }
    }

    /// True when one of them is lower than it was.
    fn is_below(self, before: Self) -> bool {
        let below = |limit: Limit, before: Limit| match (limit.max(), before.max()) {
            (Some(max), Some(before)) => max < before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        below(self.connections, before.connections)
            || below(self.of_user, before.of_user)
            || below(self.rooms, before.rooms)
            || below(self.members, before.members)
    }
}

impl<T> Book<T> {
    /// Takes none of the places that were granted under higher limits; true when there are such.
    pub(super) fn heed(&mut self, quotas: &Quotas) -> bool {
        let limits = Limits::of(quotas);
        let lowered = self.limits.is_some_and(|before| limits.is_below(before));
        if lowered {
            self.connections.hold();
            self.users.hold();
            self.rooms.hold();
            self.limits = Some(limits);
        }
        lowered
    }

    /// Takes down what was granted, and where the fleet is beyond a limit.
    pub(super) fn settle(&mut self, limits: Limits, request: &Request, granted: &Granted) {
        let over = |limit: Limit, count: u64| limit.max().is_some_and(|max| count > u64::from(max));
        self.limits = Some(limits);
        let too_many = over(limits.connections, granted.connections_of_others.0 + u64::from(granted.connections));
        self.connections.settle(request.connections.held, granted.connections, too_many);
        for ((user, need), &(places, others)) in request.users.iter().zip(&granted.users) {
            self.users.settle(user, need.held, places, over(limits.of_user, others + u64::from(places)));
        }
        let too_many_rooms = over(limits.rooms, granted.rooms_total);
        for ((room, need), granted) in request.rooms.iter().zip(&granted.rooms) {
            let crowded = over(limits.members, granted.others + u64::from(granted.members));
            self.rooms.settle(room, need.members.held, granted.members, too_many_rooms || crowded);
        }
    }
}
