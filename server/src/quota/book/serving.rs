//! Who gets a place: by what was granted or, when there is nobody to ask, by an even share.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use carillon_tenant::{Code, Limit, Quotas, RoomName, UserId};

use super::{Answer, Book, Claim, Count, Excess, GATHER, Outcome, PATIENCE, PATIENCE_HELD_BACK, Refused, SETTLED_MS};
use crate::quota::wire::{Granted, Request, RoomGranted, RoomResult};

impl<T> Book<T> {
    pub(super) fn serve(
        &mut self,
        request: &Request,
        granted: &Granted,
        covered: u64,
        quotas: &Quotas,
        now: Duration,
        outcome: &mut Outcome<T>,
    ) {
        let users: HashMap<&UserId, u64> =
            request.users.iter().zip(&granted.users).map(|((user, _), (_, others))| (user, *others)).collect();
        let mut rooms: HashMap<&RoomName, RoomGranted> =
            request.rooms.iter().zip(&granted.rooms).map(|((room, _), granted)| (room, *granted)).collect();
        let slack = granted.connections_of_others.0 > granted.connections_of_others.1;
        let unsettled = granted.held_back || slack || granted.tight_for_ms < SETTLED_MS;
        let patience = if granted.held_back { PATIENCE_HELD_BACK } else { PATIENCE };
        let mut kept = VecDeque::new();
        let mut oldest = Duration::ZERO;
        for waiter in std::mem::take(&mut self.waiting) {
            if self.fits(&waiter.claim, quotas) {
                let mut answer = self.conclude(&waiter.claim, quotas, Ok(()));
                if let (Claim::Member { room, .. }, Answer::Taken { created }) = (&waiter.claim, &mut answer)
                    && let Some(granted) = rooms.get_mut(room)
                {
                    *created = std::mem::replace(&mut granted.result, RoomResult::Known) == RoomResult::Created;
                }
                outcome.served.push((waiter.who, answer));
                continue;
            }
            if waiter.number > covered {
                kept.push_back(waiter);
                continue;
            }
            let refused = match &waiter.claim {
                Claim::Connection(user) => self.refused_connection(user, users.get(user).copied(), granted, quotas),
                Claim::Member { room, .. } => self.refused_member(room, rooms.get(room), granted, quotas),
            };
            let waited = now.saturating_sub(waiter.since);
            if refused.code != Code::RoomCreateRate && quotas.enforced() && unsettled && waited < patience {
                oldest = oldest.max(waited);
                kept.push_back(waiter);
                outcome.recall = true;
                continue;
            }
            let answer = self.conclude(&waiter.claim, quotas, Err(refused));
            outcome.served.push((waiter.who, answer));
        }
        if outcome.recall {
            self.retry_at = now + (oldest / 2).clamp(GATHER, Duration::from_millis(300));
        }
        self.waiting = kept;
    }

    /// What was granted to somebody who then met another limit is given back, or it would be kept from others for good.
    pub(super) fn tell_unused(&mut self, request: &Request) {
        if request.connections.wished == 0 && self.connections.used < self.connections.granted {
            self.connections_changed = true;
        }
        for (user, _) in &request.users {
            self.users.tell_unused(user);
        }
        for (room, _) in &request.rooms {
            self.rooms.tell_unused(room);
        }
    }

    fn refused_connection(&self, user: &UserId, others: Option<u64>, granted: &Granted, quotas: &Quotas) -> Refused {
        let of_user = self.users.get(user);
        match quotas.connections_per_user_max {
            Limit::Max(max) if of_user.used >= of_user.granted => {
                Refused { code: Code::ConnectionsPerUserMax, limit: max.into(), current: u64::from(of_user.used) + others.unwrap_or(0) }
            }
            _ => Refused {
                code: Code::ConnectionsMax,
                limit: number(quotas.connections_max),
                current: granted.connections_of_others.1 + u64::from(self.connections.used),
            },
        }
    }

    fn refused_member(&self, room: &RoomName, room_granted: Option<&RoomGranted>, granted: &Granted, quotas: &Quotas) -> Refused {
        match room_granted.map(|granted| (granted.result, granted.others)) {
            Some((RoomResult::Full, _)) => Refused { code: Code::RoomsMax, limit: number(quotas.rooms_max), current: granted.rooms_total },
            Some((RoomResult::NotAllowed, _)) => {
                let rate = number(quotas.room_creations_rate_per_second);
                Refused { code: Code::RoomCreateRate, limit: rate, current: rate }
            }
            other => Refused {
                code: Code::RoomMembersMax,
                limit: number(quotas.room_members_max),
                current: u64::from(self.rooms.get(room).used) + other.map_or(0, |(_, others)| others),
            },
        }
    }

    /// Takes the place if it fits, or if limits are not enforced.
    pub(super) fn conclude(&mut self, claim: &Claim, quotas: &Quotas, fits: Result<(), Refused>) -> Answer {
        let answer = match fits {
            Ok(()) => {
                let created = matches!(claim, Claim::Member { room, .. } if self.rooms.get(room).used == 0) && self.is_by_itself();
                Answer::Taken { created }
            }
            Err(refused) if quotas.enforced() => return Answer::Refused(refused),
            Err(refused) => Answer::TakenBeyond(refused),
        };
        match claim {
            Claim::Connection(user) => {
                self.connections.used += 1;
                self.connections_changed = true;
                self.users.take(user);
            }
            Claim::Member { room, .. } => self.rooms.take(room),
        }
        self.tell_nobody_alone();
        answer
    }

    /// True when a granted place is left.
    pub(super) fn fits(&self, claim: &Claim, quotas: &Quotas) -> bool {
        let fits = |limit: Limit, count: Count| limit == Limit::Unlimited || count.used < count.granted;
        match claim {
            Claim::Connection(user) => {
                fits(quotas.connections_max, self.connections) && fits(quotas.connections_per_user_max, self.users.get(user))
            }
            Claim::Member { room, .. } => {
                let count = self.rooms.get(room);
                // A room that this pod is not in yet may have to come into being.
                count.used < count.granted
                    || (quotas.room_members_max == Limit::Unlimited && (count.used > 0 || claim.is_unlimited(quotas)))
            }
        }
    }

    /// Whether the place is within this pod's even share of every limit; the share is one at least.
    pub(super) fn fits_share(&self, claim: &Claim, quotas: &Quotas, pods: u32) -> Result<(), Refused> {
        let check = |code: Code, limit: Limit, used: u32| match limit {
            Limit::Max(max) if used >= (max / pods).max(1) => Err(Refused { code, limit: max.into(), current: used.into() }),
            _ => Ok(()),
        };
        match claim {
            Claim::Connection(user) => {
                check(Code::ConnectionsMax, quotas.connections_max, self.connections.used)?;
                check(Code::ConnectionsPerUserMax, quotas.connections_per_user_max, self.users.get(user).used)
            }
            Claim::Member { room, may_create } => {
                let members = self.rooms.get(room).used;
                if members == 0 {
                    check(Code::RoomsMax, quotas.rooms_max, self.rooms.used)?;
                    if !may_create {
                        let rate = number(quotas.room_creations_rate_per_second);
                        return Err(Refused { code: Code::RoomCreateRate, limit: rate, current: rate });
                    }
                }
                check(Code::RoomMembersMax, quotas.room_members_max, members)
            }
        }
    }

    pub(super) fn excess(&self, request: &Request, quotas: &Quotas) -> Excess {
        let over = |limit: Limit, count: Count| if limit == Limit::Unlimited { 0 } else { count.used.saturating_sub(count.granted) };
        let of_user = |user: &UserId| over(quotas.connections_per_user_max, self.users.get(user));
        let of_room = |room: &RoomName| match (quotas.room_members_max, self.rooms.get(room)) {
            // Then more may have joined meanwhile, unless the room as such was refused.
            (Limit::Unlimited, count) if count.granted > 0 => 0,
            (_, count) => count.used.saturating_sub(count.granted),
        };
        let users = request.users.iter().map(|(user, _)| (user.clone(), of_user(user)));
        let rooms = request.rooms.iter().map(|(room, _)| (room.clone(), of_room(room)));
        Excess {
            connections: over(quotas.connections_max, self.connections),
            users: users.filter(|(_, over)| *over > 0).collect(),
            rooms: rooms.filter(|(_, over)| *over > 0).collect(),
        }
    }

    /// What has to go is held no more, even while it is still there.
    pub(super) fn owe(&mut self, excess: &Excess) {
        self.connections.owed = excess.connections;
        for (user, owed) in &excess.users {
            self.users.owe(user, *owed);
        }
        for (room, owed) in &excess.rooms {
            self.rooms.owe(room, *owed);
        }
    }
}

fn number(limit: Limit) -> u64 {
    limit.max().map_or(u64::MAX, u64::from)
}
