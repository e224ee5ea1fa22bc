//! What one pod holds of all that one tenant counts over the fleet: connections, users, rooms and their members. Pure: time is passed
//! in, and what goes to Redis and comes back is a value.
//!
//! While the lease is good, a place that was granted is taken at once. Whatever else is asked for waits for the next exchange, which
//! asks for all of it together. Nothing is taken that was not granted, so the fleet as a whole never takes more than the limit.

mod asking;
mod claim;
mod limits;
mod names;
mod serving;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use carillon_tenant::{Code, Quotas, RoomName, UserId, push::FleetUsage};

pub use self::claim::{Answer, Claim, Excess, Outcome, Refused};
use self::{
    limits::Limits,
    names::{Count, Names},
};
use super::wire::{Granted, Reply, Request};

/// How long a lease is relied on after it was asked for. Redis keeps it for eight seconds: a jump of its clock, of which it believes
/// three at the most, takes nothing away that is still relied on.
const VALID: Duration = Duration::from_secs(5);
/// How often a lease is renewed.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often rates are told while there is something to tell.
const METER: Duration = Duration::from_secs(1);
/// The least time between two exchanges: what is asked for meanwhile is gathered. Connects come in storms, and wait longer.
const GATHER: Duration = Duration::from_millis(20);
const GATHER_CONNECTS: Duration = Duration::from_millis(50);
/// How soon it is told what was taken or given back, while places are plenty.
const REPORT: Duration = Duration::from_millis(200);
/// How long places are taken for scarce after another pod said so.
const TIGHT: Duration = Duration::from_secs(4);
/// Places that were scarce for so long are not about to be given back.
const SETTLED_MS: u64 = 300;
/// How long somebody waits for places that other pods may give back.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same while the fleet's record is new.
const PATIENCE_HELD_BACK: Duration = Duration::from_secs(3);
/// The same while exchanges fail.
const PATIENCE_FAILING: Duration = Duration::from_secs(3);
/// So many exchanges that fail in a row are an outage, even if Redis seems to be there.
const FAILURES_MAX: u32 = 3;
/// The wait after an exchange that failed.
const RETRY: Duration = Duration::from_millis(100);
/// The same in an outage.
const RETRY_AWAY: Duration = Duration::from_secs(1);
/// Users and rooms in one exchange at the most.
const NAMES_MAX: usize = 500;
/// Who waits at the most.
const WAITING_MAX: usize = 4096;
/// Leases that ended and are remembered.
const ENDED_MAX: usize = 16;
/// Connections asked for in advance at the most.
const BLOCK_MAX: u32 = 1000;

/// The book of one tenant. `T` is who waits.
#[derive(Debug)]
pub struct Book<T> {
    pod: Box<str>,
    /// Leases so far: each has a name of its own.
    leases: u32,
    /// Leases that ended and may still stand in Redis.
    ended: Vec<String>,
    sequence: u64,
    /// The last exchange of this lease that was answered.
    acknowledged: u64,
    standing: Standing,
    /// Until when what is held is held for sure: others can't have been given it.
    sure_until: Duration,
    connections: Count,
    users: Names<UserId>,
    rooms: Names<RoomName>,
    connections_changed: bool,
    connected_at: Option<Duration>,
    waiting: VecDeque<Waiter<T>>,
    waited: u64,
    /// True when a join has come since the last exchange: unlike connects, joins don't come in storms.
    joins: bool,
    in_flight: bool,
    sent_at: Option<Duration>,
    retry_at: Duration,
    failures: u32,
    tight_until: Duration,
    asked: bool,
    sweeping: bool,
    fleet: Option<Granted>,
    /// What the last grants went by.
    limits: Option<Limits>,
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// There is no Redis: the limits are this pod's.
    Alone,
    /// Nothing is held.
    Idle,
    /// A lease, relied on until then. `claim` while what is held has yet to be granted anew.
    Leased { holder: String, valid_until: Duration, claim: bool },
    /// Redis does not know the lease any more. What is held is only claimed if it had run out.
    Lost { claim: bool },
    /// Redis is away: an even share of every limit.
    Share { pods: u32 },
}

#[derive(Debug)]
struct Waiter<T> {
    number: u64,
    since: Duration,
    claim: Claim,
    who: T,
}

/// An exchange under way.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    limits: Limits,
    sent_at: Duration,
    /// Who is waited for in it: everybody up to this number.
    covered: u64,
}

impl<T> Book<T> {
    /// The book of a pod that shares a Redis with others, or not.
    pub fn new(pod: &str, shared: bool) -> Self {
        Self {
            pod: pod.into(),
            leases: 0,
            ended: Vec::new(),
            sequence: 0,
            acknowledged: 0,
            sure_until: Duration::ZERO,
            standing: if shared { Standing::Idle } else { Standing::Alone },
            connections: Count::default(),
            users: Names::new(),
            rooms: Names::new(),
            connections_changed: false,
            connected_at: None,
            waiting: VecDeque::new(),
            waited: 0,
            joins: false,
            in_flight: false,
            sent_at: None,
            retry_at: Duration::ZERO,
            failures: 0,
            tight_until: Duration::ZERO,
            asked: false,
            sweeping: false,
            fleet: None,
            limits: None,
        }
    }

    /// Takes a place, or lets `who` wait for it: then the answer comes with an [`Outcome`].
    pub fn claim(&mut self, claim: Claim, quotas: &Quotas, now: Duration, who: T) -> Option<(T, Answer)> {
        if matches!(claim, Claim::Connection(_)) {
            self.connected_at = Some(now);
        }
        self.heed(quotas);
        let fits = match &self.standing {
            Standing::Alone => Some(self.fits_share(&claim, quotas, 1)),
            Standing::Share { pods } => Some(self.fits_share(&claim, quotas, *pods)),
            Standing::Leased { valid_until, .. } if now < *valid_until && self.fits(&claim, quotas) => Some(Ok(())),
            _ if claim.is_unlimited(quotas) => Some(Ok(())),
            _ => None,
        };
        if let Some(fits) = fits {
            return Some((who, self.conclude(&claim, quotas, fits)));
        }
        if self.waiting.len() >= WAITING_MAX {
            let refused = refused_for_now(&claim, WAITING_MAX as u64);
            return Some((who, self.conclude(&claim, quotas, Err(refused))));
        }
        self.joins |= matches!(claim, Claim::Member { .. });
        self.waited += 1;
        self.waiting.push_back(Waiter { number: self.waited, since: now, claim, who });
        None
    }

    /// Gives a connection's place back.
    pub fn release_connection(&mut self, user: &UserId) {
        self.connections.release();
        self.connections_changed = true;
        self.users.release(user);
        self.tell_nobody_alone();
    }

    /// Gives a member's place back.
    pub fn release_member(&mut self, room: &RoomName) {
        self.rooms.release(room);
        self.tell_nobody_alone();
    }

    /// Another pod lacks places: what is not used is given back at once, and for a while.
    pub fn recalled(&mut self, now: Duration) {
        self.tight_until = now + TIGHT;
        self.asked = matches!(self.standing, Standing::Leased { .. });
    }

    /// Something speaks for it that Redis answers now.
    pub fn try_again(&mut self, now: Duration) {
        self.retry_at = self.retry_at.min(now);
    }

    /// True when nothing is held, asked for or to be told. What comes next begins anew.
    pub fn rest(&mut self) -> bool {
        let idle = !self.in_flight && !self.holds_something() && !matches!(self.standing, Standing::Leased { .. } | Standing::Lost { .. });
        if idle && self.standing != Standing::Alone {
            self.standing = Standing::Idle;
            self.failures = 0;
        }
        idle
    }

    /// Takes up what Redis answered.
    pub fn answered(&mut self, asked: Asked, reply: Reply, quotas: &Quotas, now: Duration) -> Outcome<T> {
        let Asked { request, limits, sent_at, covered } = asked;
        self.in_flight = false;
        self.failures = 0;
        self.retry_at = now;
        let mut outcome = Outcome::default();
        let Some(asked_for) = &request.holder else {
            self.ended.clear();
            return outcome;
        };
        let Reply::Granted(granted) = reply else {
            if let Standing::Leased { claim, .. } = &self.standing {
                // Of a lease that is still good Redis lost the record, and what is held is held.
                let claim = *claim || now >= self.sure_until;
                self.end_lease();
                self.standing = Standing::Lost { claim };
            }
            return outcome;
        };
        if now >= sent_at + VALID {
            // The pod stood still meanwhile: what was granted may have been taken away again.
            self.tell_again(request);
            return outcome;
        }
        self.ended.retain(|ended| !request.ended.contains(ended));
        let all_told = self.users.changed.is_empty() && self.rooms.changed.is_empty();
        if let Standing::Leased { holder, valid_until, claim } = &mut self.standing
            && holder == asked_for
        {
            *valid_until = sent_at + VALID;
            *claim &= !all_told;
            self.sure_until = *valid_until;
            self.acknowledged = request.sequence;
        }
        self.settle(limits, &request, &granted);
        // Whoever asked before a limit was lowered asks again.
        let covered = if self.heed(quotas) { 0 } else { covered };
        if granted.tight_for_ms > 0 {
            self.tight_until = self.tight_until.max(now + TIGHT);
        }
        self.sweeping = granted.sweeping;
        self.serve(&request, &granted, covered, quotas, now, &mut outcome);
        self.tell_unused(&request);
        if request.claim && quotas.enforced() {
            outcome.excess = self.excess(&request, quotas);
            self.owe(&outcome.excess);
        }
        self.fleet = Some(granted);
        outcome
    }

    /// Redis was never reached yet, and may be at any moment: whoever waits goes on waiting.
    pub fn put_off(&mut self, asked: Asked, now: Duration) {
        self.in_flight = false;
        self.retry_at = now + RETRY;
        self.tell_again(asked.request);
    }

    /// No answer came. Whoever waits goes on waiting, unless this is an outage: then each pod has its share.
    pub fn failed(&mut self, asked: Asked, redis_up: bool, fleet_pods: u32, quotas: &Quotas, now: Duration) -> Outcome<T> {
        self.in_flight = false;
        self.failures += 1;
        self.retry_at = now + RETRY;
        self.tell_again(asked.request);
        let mut outcome = Outcome::default();
        if redis_up && self.failures < FAILURES_MAX {
            self.refuse_the_oldest(quotas, now, &mut outcome);
            return outcome;
        }
        self.retry_at = now + RETRY_AWAY;
        let pods = fleet_pods.max(1);
        self.end_lease();
        self.standing = Standing::Share { pods };
        self.fleet = None;
        for waiter in std::mem::take(&mut self.waiting) {
            let fits = self.fits_share(&waiter.claim, quotas, pods);
            let answer = self.conclude(&waiter.claim, quotas, fits);
            outcome.served.push((waiter.who, answer));
        }
        outcome
    }

    /// What was said did not arrive, or is not true any more.
    fn tell_again(&mut self, request: Request) {
        self.users.changed.extend(request.users.into_iter().map(|(user, _)| user));
        self.rooms.changed.extend(request.rooms.into_iter().map(|(room, _)| room));
        self.connections_changed = true;
    }

    /// Nobody waits for ever, not even for a Redis that answers only now and then.
    fn refuse_the_oldest(&mut self, quotas: &Quotas, now: Duration, outcome: &mut Outcome<T>) {
        while self.waiting.front().is_some_and(|waiter| now.saturating_sub(waiter.since) >= PATIENCE_FAILING) {
            let Some(waiter) = self.waiting.pop_front() else { return };
            let waiting = self.waiting.len() as u64 + 1;
            let answer = self.conclude(&waiter.claim, quotas, Err(refused_for_now(&waiter.claim, waiting)));
            outcome.served.push((waiter.who, answer));
        }
    }

    /// Connections, users and rooms of this pod.
    pub fn used(&self) -> (u32, u32, u32) {
        (self.connections.used, self.users.used, self.rooms.used)
    }

    /// What the fleet used at the last exchange; `None` while Redis is away or was never asked.
    pub fn fleet(&self) -> Option<FleetUsage> {
        let fleet = self.fleet.as_ref()?;
        Some(FleetUsage {
            connections: fleet.connections_of_others.1 + u64::from(self.connections.used),
            users: fleet.users_total,
            rooms: fleet.rooms_total,
            messages_per_second: fleet.demand.messages_per_second,
        })
    }

    /// True when there is no Redis.
    pub fn is_alone(&self) -> bool {
        self.standing == Standing::Alone
    }

    /// True while Redis is away, and this pod has an even share.
    pub const fn is_on_share(&self) -> bool {
        matches!(self.standing, Standing::Share { .. })
    }

    fn is_by_itself(&self) -> bool {
        matches!(self.standing, Standing::Alone | Standing::Share { .. })
    }

    fn tell_nobody_alone(&mut self) {
        if self.standing == Standing::Alone {
            self.connections_changed = false;
            self.users.changed.clear();
            self.rooms.changed.clear();
        }
    }

    fn holds_something(&self) -> bool {
        self.connections.used > 0 || self.rooms.used > 0 || !self.waiting.is_empty()
    }
}

/// Trying again helps.
fn refused_for_now(claim: &Claim, waiting: u64) -> Refused {
    let code = match claim {
        Claim::Connection(_) => Code::ConnectionsRate,
        Claim::Member { .. } => Code::MessagesRate,
    };
    Refused { code, limit: WAITING_MAX as u64, current: waiting }
}
