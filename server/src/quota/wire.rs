//! What a pod says to Redis about one tenant, and what it is told: the arguments and the answer of `lease.lua`.

use carillon_tenant::{Limit, Quotas, RoomName, UserId};

use super::rates::Demand;

/// The script that decides. It is given three keys: the tenant's pods, users and rooms.
pub const SCRIPT: &str = include_str!("lease.lua");

/// Numbers that come before the rates.
const BEFORE_RATES: usize = 10;
/// Numbers that come before those of users and rooms.
const HEADER: usize = BEFORE_RATES + Demand::NUMBERS;

/// What a pod holds and needs.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The lease it speaks for; `None` when it gives everything back.
    pub holder: Option<String>,
    /// Leases it had before, which end.
    pub ended: Vec<String>,
    /// Counts what this lease says. What is overtaken on its way is ignored.
    pub sequence: u64,
    /// The last of them that was answered. A Redis that does not know it any more has lost what it was told.
    pub acknowledged: u64,
    /// True when everything that it holds is told.
    pub full: bool,
    /// True when what it holds may be taken from it: its lease ran out, and others may have taken its places.
    pub claim: bool,
    /// Connections.
    pub connections: Need,
    /// Users, one by one.
    pub users: Vec<(UserId, Need)>,
    /// Rooms, one by one.
    pub rooms: Vec<(RoomName, RoomNeed)>,
}

/// A number of places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Taken.
    pub held: u32,
    /// Taken or waited for.
    pub needed: u32,
    /// Wanted beyond that, if there are plenty.
    pub wished: u32,
}

/// What is needed of one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomNeed {
    /// Members.
    pub members: Need,
    /// True when the room may come into being.
    pub may_create: bool,
}

impl Request {
    /// Asks how the fleet stands, and changes nothing.
    pub fn look() -> Self {
        Self { holder: Some("?".to_owned()), ..Self::default() }
    }

    /// The arguments of the script.
    pub fn arguments(&self, quotas: &Quotas, fleet_pods: u32, demand: Demand) -> Vec<String> {
        let limit = |limit: Limit| limit.max().map_or_else(|| "-1".to_owned(), |max| max.to_string());
        let flag = |flag: bool| if flag { "1" } else { "0" }.to_owned();
        let mut arguments = Vec::with_capacity(18 + Demand::NUMBERS + 3 * self.users.len() + 4 * self.rooms.len());
        arguments.extend([
            self.holder.clone().unwrap_or_default(),
            self.ended.join(" "),
            flag(self.full),
            flag(self.claim),
            fleet_pods.to_string(),
            limit(quotas.connections_max),
            self.connections.held.to_string(),
            self.connections.needed.to_string(),
            self.connections.wished.to_string(),
            limit(quotas.connections_per_user_max),
            limit(quotas.rooms_max),
            limit(quotas.room_members_max),
            self.sequence.to_string(),
            self.acknowledged.to_string(),
            Demand::NUMBERS.to_string(),
        ]);
        arguments.extend(demand.to_numbers().iter().map(u64::to_string));
        arguments.extend([self.users.len().to_string(), self.rooms.len().to_string()]);
        for (user, need) in &self.users {
            arguments.extend([user.as_str().to_owned(), need.held.to_string(), need.needed.to_string()]);
        }
        for (room, RoomNeed { members, may_create }) in &self.rooms {
            arguments.extend([room.as_str().to_owned(), members.held.to_string(), members.needed.to_string(), flag(*may_create)]);
        }
        arguments
    }
}

/// What a pod is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Redis knows nothing of this lease: everything has to be told.
    Unknown,
    /// The lease is good for another while.
    Granted(Granted),
}

/// What a pod may have, and how the fleet stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Pods with a lease of this tenant.
    pub pods: u64,
    /// Connections this pod may have.
    pub connections: u32,
    /// Connections that other pods may have, and those that they do have.
    pub connections_of_others: (u64, u64),
    /// For how long places have been scarce, in milliseconds; 0 when they are not.
    pub tight_for_ms: u64,
    /// True when more could not be given yet because the fleet's record is new.
    pub held_back: bool,
    /// True when names of pods that are gone are still being taken out.
    pub sweeping: bool,
    /// Different users in the fleet.
    pub users_total: u64,
    /// Different rooms in the fleet.
    pub rooms_total: u64,
    /// What is asked of all pods together.
    pub demand: Demand,
    /// For each user of the request: places this pod may have, and those that others have.
    pub users: Vec<(u32, u64)>,
    /// For each room of the request.
    pub rooms: Vec<RoomGranted>,
}

/// What a pod may have of one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomGranted {
    /// Members this pod may have.
    pub members: u32,
    /// Members on other pods.
    pub others: u64,
    /// What became of the room.
    pub result: RoomResult,
}

/// What became of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomResult {
    /// It was there, or nobody is in it.
    Known,
    /// It came into being.
    Created,
    /// The tenant has all the rooms it may have.
    Full,
    /// It would have had to come into being, and was not allowed to.
    NotAllowed,
}

impl Reply {
    /// Reads what the script answered to `request`; `None` when that is nothing it answers.
    pub fn read(numbers: &[i64], request: &Request) -> Option<Self> {
        let number = |index: usize| u64::try_from(*numbers.get(index)?).ok();
        if numbers == [0] {
            return Some(Self::Unknown);
        }
        if numbers.len() != HEADER + 2 * request.users.len() + 3 * request.rooms.len() || number(0)? != 1 {
            return None;
        }
        let places = |index: usize| u32::try_from(*numbers.get(index)?).ok();
        let (users, rooms) = numbers[HEADER..].split_at(2 * request.users.len());
        let user = |pair: &[i64]| Some((u32::try_from(pair[0]).ok()?, u64::try_from(pair[1]).ok()?));
        let room = |triple: &[i64]| {
            let result = match triple[2] {
                0 => RoomResult::Known,
                1 => RoomResult::Created,
                2 => RoomResult::Full,
                3 => RoomResult::NotAllowed,
                _ => return None,
            };
            Some(RoomGranted { members: u32::try_from(triple[0]).ok()?, others: u64::try_from(triple[1]).ok()?, result })
        };
        Some(Self::Granted(Granted {
            pods: number(1)?,
            connections: places(2)?,
            connections_of_others: (number(3)?, number(4)?),
            tight_for_ms: number(5)?,
            held_back: number(6)? != 0,
            sweeping: number(7)? != 0,
            users_total: number(8)?,
            rooms_total: number(9)?,
            demand: Demand::from_numbers({
                let mut demand = [0; Demand::NUMBERS];
                for (offset, part) in demand.iter_mut().enumerate() {
                    *part = number(BEFORE_RATES + offset)?;
                }
                demand
            }),
            users: users.chunks_exact(2).map(user).collect::<Option<_>>()?,
            rooms: rooms.chunks_exact(3).map(room).collect::<Option<_>>()?,
        }))
    }
}
