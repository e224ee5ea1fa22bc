//! What kind of world a seed is: how many pods, which limits, and what may go wrong.

use std::time::Duration;

use carillon_crds::Enforcement;
use carillon_tenant::{Limit, Quotas};

use crate::dice::Dice;

/// Users and rooms of the world. The first few are shared by everybody; the others are there to fill it up in the end.
pub const USERS: usize = 60;
/// Users that clients have while things go wrong.
pub const USERS_COMMON: usize = 8;
/// Rooms.
pub const ROOMS: usize = 30;
/// Rooms that clients join while things go wrong.
pub const ROOMS_COMMON: usize = 10;

/// A kind of world.
#[derive(Debug)]
pub struct Plan {
    /// Pods.
    pub pods: usize,
    /// Limits to begin with.
    pub quotas: Quotas,
    /// For how long things go wrong.
    pub chaos: Duration,
    /// Milliseconds between two things that clients do, at the most.
    pub act_ms: u64,
    /// Milliseconds between two faults, at the most; none without.
    pub fault_ms: Option<u64>,
    /// Of a thousand requests, and of a thousand answers, so many are lost.
    pub loss: u64,
    /// Whether requests may arrive late, twice, and after others that were sent later.
    pub disorder: bool,
    /// Whether Redis may lose data.
    pub data_loss: bool,
    /// Whether limits change.
    pub limits_move: bool,
    /// Whether the pods tell rates all the time.
    pub metering: bool,
}

impl Plan {
    /// The kind of world of a seed.
    pub fn new(dice: &mut Dice) -> Self {
        let mut quotas = limits(dice);
        if dice.per_mille(60) {
            quotas.enforcement = Enforcement::DryRun;
        }
        Self {
            pods: usize::try_from(dice.between(2, 6)).expect("small"),
            quotas,
            chaos: if dice.per_mille(50) { dice.millis(40_000, 60_000) } else { dice.millis(3000, 18_000) },
            act_ms: dice.between(20, 800),
            fault_ms: (!dice.per_mille(150)).then(|| dice.between(1000, 8000)),
            loss: if dice.per_mille(300) { dice.between(5, 80) } else { 0 },
            disorder: dice.per_mille(250),
            data_loss: dice.per_mille(250),
            limits_move: dice.per_mille(200),
            metering: dice.per_mille(200),
        }
    }
}

/// Limits, small enough to be met.
pub fn limits(dice: &mut Dice) -> Quotas {
    let mut limit = |first, last, unlimited| {
        if dice.per_mille(unlimited) { Limit::Unlimited } else { Limit::Max(u32::try_from(dice.between(first, last)).expect("small")) }
    };
    Quotas {
        connections_max: limit(1, 40, 50),
        connections_per_user_max: limit(1, 6, 150),
        rooms_max: limit(1, 12, 150),
        room_members_max: limit(1, 8, 150),
        ..Quotas::default()
    }
}
