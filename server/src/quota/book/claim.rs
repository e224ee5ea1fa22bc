//! What is asked of a book, and what it answers.

use carillon_tenant::{Code, Limit, Quotas, RoomName, UserId};

/// A place that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Among the tenant's connections and among the user's.
    Connection(UserId),
    /// In a room. `may_create` is false when the room may not come into being by this.
    Member {
        /// The room.
        room: RoomName,
        /// Whether it may come into being.
        may_create: bool,
    },
}

/// A limit that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub code: Code,
    /// The limit.
    pub limit: u64,
    /// What was found.
    pub current: u64,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The place is taken; `created` says that a room came into being with it.
    Taken {
        /// Whether a room came into being.
        created: bool,
    },
    /// The place is taken only because limits are not enforced.
    TakenBeyond(Refused),
    /// There is none.
    Refused(Refused),
}

/// What an exchange led to.
#[derive(Debug)]
pub struct Outcome<T> {
    /// Who need not wait any more.
    pub served: Vec<(T, Answer)>,
    /// What others have taken while this pod's lease had run out: so many have to go.
    pub excess: Excess,
    /// True when other pods are to give back what they don't use.
    pub recall: bool,
}

/// Places that are taken and can't be kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Connections of the tenant.
    pub connections: u32,
    /// Connections of users.
    pub users: Vec<(UserId, u32)>,
    /// Members of rooms.
    pub rooms: Vec<(RoomName, u32)>,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self { served: Vec::new(), excess: Excess::default(), recall: false }
    }
}

impl Claim {
    /// True when no limit stands against it, whatever there is.
    pub(super) fn is_unlimited(&self, quotas: &Quotas) -> bool {
        match self {
            Self::Connection(_) => quotas.connections_max == Limit::Unlimited && quotas.connections_per_user_max == Limit::Unlimited,
            Self::Member { .. } => {
                quotas.rooms_max == Limit::Unlimited
                    && quotas.room_members_max == Limit::Unlimited
                    && quotas.room_creations_rate_per_second == Limit::Unlimited
            }
        }
    }
}
