//! A pod: one book, and what `exchange.rs` does around it.

use std::time::Duration;

use carillon_server::quota::book::{Asked, Book, Claim};
use carillon_tenant::{Quotas, RoomName, UserId};
use serde_json::Value;

use crate::{law::Tally, world::Event};

/// How long a lease is relied on after it was asked for.
pub const VALID: Duration = Duration::from_secs(5);

/// Which pod it is: where it runs, and the how many-eth there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// Where.
    pub slot: usize,
    /// The how many-eth.
    pub life: u32,
}

/// A pod that lives.
pub struct Pod {
    /// Which.
    pub id: PodId,
    /// Its book. Who waits is the number of a ticket.
    pub book: Book<u64>,
    /// What its clock shows when the world begins.
    pub offset: Duration,
    /// The limits it knows.
    pub quotas: Quotas,
    /// What it has to do once it runs again; `None` while it runs.
    pub paused: Option<Vec<Event>>,
    /// For how long it stands still once its next request is on its way.
    pub stops_for: Option<Duration>,
    /// Whether its task does exchanges.
    pub driven: bool,
    /// When that task looks again.
    pub polls_at: Duration,
    /// The exchange under way, and when it began.
    pub exchange: Option<(u64, Duration, Asked)>,
    /// Whether it thinks that Redis is there.
    pub reaches: bool,
    /// Whether it thinks that rates change.
    pub metering: bool,
    /// Pods of the fleet, as far as it knows.
    pub pods: u32,
    /// When it last asked others for places.
    pub recalled_at: Option<Duration>,
    /// Until when it may rely on what it was granted.
    pub valid_until: Duration,
    /// Connections it was granted last.
    pub granted: u32,
    /// What its clients hold.
    pub held: Tally,
    /// What of that is being closed.
    pub closing: Tally,
    /// What it held when its lease was last good.
    pub held_before: Tally,
    /// True when it ends as soon as everything is told.
    pub leaves: bool,
}

impl Pod {
    /// A new pod. Its clock shows `offset` when the world begins.
    pub fn new(id: PodId, offset: Duration, quotas: Quotas, metering: bool, pods: u32) -> Self {
        Self {
            id,
            book: Book::new(&format!("p{}.{}", id.slot, id.life), true),
            offset,
            quotas,
            paused: None,
            stops_for: None,
            driven: false,
            polls_at: Duration::MAX,
            exchange: None,
            reaches: true,
            metering,
            pods,
            recalled_at: None,
            valid_until: Duration::ZERO,
            granted: 0,
            held: Tally::new(),
            closing: Tally::new(),
            held_before: Tally::new(),
            leaves: false,
        }
    }

    /// True while it may rely on what it was granted.
    pub fn is_sure(&self, now: Duration) -> bool {
        now < self.valid_until
    }

    /// The even share of a limit that it may go up to without a lease.
    pub fn share(&self, limit: u32) -> u32 {
        if limit == u32::MAX { limit } else { (limit / self.pods.max(1)).max(1) }
    }
}

/// The id of a user. Some are numbers and some are text.
pub fn user(index: usize) -> UserId {
    let value = if index.is_multiple_of(2) { Value::from(index) } else { Value::from(format!("user {index}=1 p0.1-1=3")) };
    UserId::from_claim(&value).expect("a good id")
}

/// The name of a room.
pub fn room(index: usize) -> RoomName {
    RoomName::new(&format!("room {index}")).expect("a good name")
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To connect, as a user.
    Connection(usize),
    /// To join a room, and whether it may come into being.
    Member(usize, bool),
}

impl Wish {
    /// As a book takes it.
    pub fn claim(self) -> Claim {
        match self {
            Self::Connection(index) => Claim::Connection(user(index)),
            Self::Member(index, may_create) => Claim::Member { room: room(index), may_create },
        }
    }
}
