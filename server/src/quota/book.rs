//! What one pod holds of all that one tenant counts over the fleet: connections, users, rooms and their members. Pure: time is passed
//! in, and what goes to Redis and comes back is a value.
//!
//! While the lease is good, a place that was granted is taken at once. Whatever else is asked for waits for the next exchange, which
//! asks for all of it together. Nothing is taken that was not granted, so the fleet as a whole never takes more than the limit.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    time::Duration,
};

use carillon_tenant::{Code, Limit, Quotas, RoomName, UserId, push::FleetUsage};

use super::wire::{Granted, Need, Reply, Request, RoomGranted, RoomNeed, RoomResult};

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
    in_flight: bool,
    sent_at: Option<Duration>,
    retry_at: Duration,
    failures: u32,
    tight_until: Duration,
    asked: bool,
    sweeping: bool,
    fleet: Option<Granted>,
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

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    used: u32,
    granted: u32,
    /// Taken by those who have to go and are not gone yet. Others have these places.
    owed: u32,
}

impl Count {
    /// What is held, and what is needed if so many more wait.
    const fn need(self, waiting: u32, wished: u32) -> Need {
        let held = self.used.saturating_sub(self.owed);
        Need { held, needed: held + waiting, wished }
    }

    const fn release(&mut self) {
        self.used = self.used.saturating_sub(1);
        self.owed = self.owed.saturating_sub(1);
    }
}

#[derive(Debug)]
struct Names<N> {
    counts: HashMap<N, Count>,
    changed: HashSet<N>,
    /// Names with something taken.
    used: u32,
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
    sent_at: Duration,
    /// Who is waited for in it: everybody up to this number.
    covered: u64,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self { served: Vec::new(), excess: Excess::default(), recall: false }
    }
}

impl<N: Clone + Eq + Hash> Names<N> {
    fn new() -> Self {
        Self { counts: HashMap::new(), changed: HashSet::new(), used: 0 }
    }

    fn get(&self, name: &N) -> Count {
        self.counts.get(name).copied().unwrap_or_default()
    }

    fn take(&mut self, name: &N) {
        let count = self.counts.entry(name.clone()).or_default();
        count.used += 1;
        if count.used == 1 {
            self.used += 1;
        }
        self.changed.insert(name.clone());
    }

    fn release(&mut self, name: &N) {
        let Some(count) = self.counts.get_mut(name) else { return };
        count.release();
        if count.used == 0 {
            self.used -= 1;
            if count.granted == 0 {
                self.counts.remove(name);
            }
        }
        self.changed.insert(name.clone());
    }

    /// Everything has to be told, and nothing is granted.
    fn reset(&mut self) {
        self.counts.retain(|_, count| count.used > 0);
        self.counts.values_mut().for_each(|count| count.granted = 0);
        self.changed = self.counts.keys().cloned().collect();
    }

    fn forget_grants(&mut self) {
        self.counts.retain(|_, count| count.used > 0);
        self.changed.clear();
    }

    fn settle(&mut self, name: &N, granted: u32) {
        let count = self.counts.entry(name.clone()).or_default();
        count.granted = granted;
        if count.used == 0 && granted == 0 {
            self.counts.remove(name);
        }
    }

    fn owe(&mut self, name: &N, owed: u32) {
        if let Some(count) = self.counts.get_mut(name) {
            count.owed = owed;
        }
    }

    fn tell_unused(&mut self, name: &N) {
        let count = self.get(name);
        if count.used < count.granted {
            self.changed.insert(name.clone());
        }
    }

    fn freeze(&mut self, name: &N, needed: u32) {
        if let Some(count) = self.counts.get_mut(name) {
            count.granted = count.granted.min(needed);
        }
    }
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
            in_flight: false,
            sent_at: None,
            retry_at: Duration::ZERO,
            failures: 0,
            tight_until: Duration::ZERO,
            asked: false,
            sweeping: false,
            fleet: None,
        }
    }

    /// Takes a place, or lets `who` wait for it: then the answer comes with an [`Outcome`].
    pub fn claim(&mut self, claim: Claim, quotas: &Quotas, now: Duration, who: T) -> Option<(T, Answer)> {
        if matches!(claim, Claim::Connection(_)) {
            self.connected_at = Some(now);
        }
        let fits = match &self.standing {
            Standing::Alone => Some(self.fits_share(&claim, quotas, 1)),
            Standing::Share { pods } => Some(self.fits_share(&claim, quotas, *pods)),
            Standing::Leased { valid_until, .. } if now < *valid_until && self.fits(&claim, quotas) => Some(Ok(())),
            _ if is_unlimited(&claim, quotas) => Some(Ok(())),
            _ => None,
        };
        if let Some(fits) = fits {
            return Some((who, self.conclude(&claim, quotas, fits)));
        }
        if self.waiting.len() >= WAITING_MAX {
            let refused = refused_for_now(&claim, WAITING_MAX as u64);
            return Some((who, self.conclude(&claim, quotas, Err(refused))));
        }
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

    /// When the next exchange is due; `None` while one is under way, and when there is nothing to say. `metering` is true while rates
    /// change.
    pub fn due(&self, metering: bool) -> Option<Duration> {
        if self.in_flight || self.standing == Standing::Alone {
            return None;
        }
        let after = |wait| self.sent_at.map_or(Duration::ZERO, |sent_at| sent_at + wait);
        let connects = |waiter: &Waiter<T>| matches!(waiter.claim, Claim::Connection(_));
        let tight = |time: Option<Duration>| time.is_some_and(|sent_at| sent_at < self.tight_until);
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
            let tight = tight(self.sent_at);
            wanted(after(if self.waiting.iter().all(connects) && !tight { GATHER_CONNECTS } else { GATHER }));
        }
        if changed {
            wanted(after(if tight(self.sent_at) { GATHER } else { REPORT }));
        }
        if self.asked || self.sweeping {
            wanted(after(GATHER));
        }
        if metering {
            wanted(after(METER));
        }
        due.map(|due| due.max(self.retry_at))
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

    /// What to say now. To be called when [`due`](Self::due).
    pub fn ask(&mut self, quotas: &Quotas, now: Duration, metering: bool) -> Asked {
        self.in_flight = true;
        self.sent_at = Some(now);
        self.asked = false;
        self.sequence += 1;
        if !self.holds_something() && !metering {
            return self.give_back(now);
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
        Asked { request, sent_at: now, covered }
    }

    fn give_back(&mut self, now: Duration) -> Asked {
        self.end_lease();
        self.standing = Standing::Idle;
        self.connections = Count::default();
        self.connections_changed = false;
        self.users.forget_grants();
        self.rooms.forget_grants();
        self.sweeping = false;
        let request = Request {
            holder: None,
            ended: self.ended.clone(),
            sequence: self.sequence,
            acknowledged: 0,
            full: false,
            claim: false,
            connections: Need::default(),
            users: Vec::new(),
            rooms: Vec::new(),
        };
        Asked { request, sent_at: now, covered: 0 }
    }

    /// The lease is no more, for this pod. Redis is told when it next can be.
    fn end_lease(&mut self) {
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

    /// Takes up what Redis answered.
    pub fn answered(&mut self, asked: Asked, reply: Reply, quotas: &Quotas, now: Duration) -> Outcome<T> {
        let Asked { request, sent_at, covered } = asked;
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
        self.connections.granted = granted.connections;
        for ((user, _), (places, _)) in request.users.iter().zip(&granted.users) {
            self.users.settle(user, *places);
        }
        for ((room, _), room_granted) in request.rooms.iter().zip(&granted.rooms) {
            self.rooms.settle(room, room_granted.members);
        }
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

    fn serve(&mut self, request: &Request, granted: &Granted, covered: u64, quotas: &Quotas, now: Duration, outcome: &mut Outcome<T>) {
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
            if refused.code != Code::RoomCreateRate && unsettled && waited < patience {
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
    fn tell_unused(&mut self, request: &Request) {
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
    fn conclude(&mut self, claim: &Claim, quotas: &Quotas, fits: Result<(), Refused>) -> Answer {
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
    fn fits(&self, claim: &Claim, quotas: &Quotas) -> bool {
        let fits = |limit: Limit, count: Count| limit == Limit::Unlimited || count.used < count.granted;
        match claim {
            Claim::Connection(user) => {
                fits(quotas.connections_max, self.connections) && fits(quotas.connections_per_user_max, self.users.get(user))
            }
            Claim::Member { room, .. } => {
                let count = self.rooms.get(room);
                // A room that this pod is not in yet may have to come into being.
                count.used < count.granted
                    || (quotas.room_members_max == Limit::Unlimited && (count.used > 0 || is_unlimited(claim, quotas)))
            }
        }
    }

    /// Whether the place is within this pod's even share of every limit; the share is one at least.
    fn fits_share(&self, claim: &Claim, quotas: &Quotas, pods: u32) -> Result<(), Refused> {
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

    fn excess(&self, request: &Request, quotas: &Quotas) -> Excess {
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
    fn owe(&mut self, excess: &Excess) {
        self.connections.owed = excess.connections;
        for (user, owed) in &excess.users {
            self.users.owe(user, *owed);
        }
        for (room, owed) in &excess.rooms {
            self.rooms.owe(room, *owed);
        }
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

fn is_unlimited(claim: &Claim, quotas: &Quotas) -> bool {
    match claim {
        Claim::Connection(_) => quotas.connections_max == Limit::Unlimited && quotas.connections_per_user_max == Limit::Unlimited,
        Claim::Member { .. } => {
            quotas.rooms_max == Limit::Unlimited
                && quotas.room_members_max == Limit::Unlimited
                && quotas.room_creations_rate_per_second == Limit::Unlimited
        }
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

fn number(limit: Limit) -> u64 {
    limit.max().map_or(u64::MAX, u64::from)
}
