//! Rate budgets of a tenant, shared by the pods of the fleet by demand.
//!
//! Each pod admits by itself, on a share of the tenant's rate and burst. About every second the pods tell each other what was offered to
//! them and what they have admitted so far, and do two things with it:
//!
//! - The shares follow the demand: whoever is offered more gets more, and who is idle keeps a hundredth of the rate to begin with. Beyond
//!   an even part a pod takes no more than it needs: when all begin at once, none has heard of the others yet.
//! - The tenant has one bucket, of which every pod keeps a copy. It is charged with all that all pods have admitted since the last
//!   exchange, so that what one pod left unused another can have, and what was admitted on shares that overlapped is paid back. Each
//!   pod's own bucket is then moved towards its share of that one, and not all the way: of the others it hears late, and pods that all
//!   correct the same thing in full would swing.
//!
//! **The bound.** Over any window the fleet admits at most rate × window + burst and, beyond that, the error: what pods admit before
//! they hear of each other. That is at most 3.5 s of the rate at exchanges every second, and one request per pod. It does not add up,
//! because it is charged. The simulation beside this holds it, with demand that jumps between nothing and thirty times the rate on up
//! to eight pods; and it holds that three times the rate, however unevenly it is split and with a hot pod that changes every 3 s, is
//! admitted within 5 % of the rate over 10 s once the first 2 s have passed. (Only when all pods begin evenly and at the same moment,
//! with a full burst, are those first 10 s up to 22 % lower: the fleet pays back.)
//!
//! A single request may have more cells than the pod's share of the burst, up to the tenant's whole burst: it then leaves the pod's
//! bucket in debt.

use std::{
    iter::Sum,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use carillon_tenant::{Code, Limit, Quotas, Refusal, Scope};

use super::{
    float,
    meter::Meter,
    rate::{Rate, RateState},
    whole,
};

/// Demand is averaged over about this time: short, because shares follow it.
const DEMAND_SECONDS: f64 = 0.5;
/// What is told to people is averaged over about this time.
const REPORT_SECONDS: f64 = 1.0;
/// The part of the rate that an idle pod counts as demand, so that it has a share to begin with.
const IDLE: f64 = 0.01;
/// The part of what only others know of that a pod corrects at an exchange.
const CORRECTION: f64 = 0.25;
/// A share that grew by more than this is looked at again soon: others may be growing, too.
const GROWN: f64 = 0.05;
/// The time between two exchanges, when nothing hurries.
const EXCHANGE: Duration = Duration::from_secs(1);
/// No exchange is asked for earlier after the last one.
const EXCHANGE_MIN: Duration = Duration::from_millis(250);

/// What a rate is a budget of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Connects of clients.
    Connects,
    /// Rooms that come into being.
    RoomCreations,
    /// Messages of all clients together.
    Messages,
    /// Events published over HTTP.
    Publishes,
}

impl Budget {
    /// Every budget, in the order of [`Demand`].
    pub const ALL: [Self; 4] = [Self::Connects, Self::RoomCreations, Self::Messages, Self::Publishes];

    /// What is told when it is used up.
    pub const fn code(self) -> Code {
        match self {
            Self::Connects => Code::ConnectionsRate,
            Self::RoomCreations => Code::RoomCreateRate,
            Self::Messages => Code::MessagesRate,
            Self::Publishes => Code::PublishRate,
        }
    }

    /// The rate and the burst.
    pub const fn limit(self, quotas: &Quotas) -> (Limit, u32) {
        match self {
            Self::Connects => (quotas.connections_rate_per_second, quotas.connections_burst),
            Self::RoomCreations => match quotas.room_creations_rate_per_second {
                Limit::Max(max) => (Limit::Max(max), max),
                Limit::Unlimited => (Limit::Unlimited, 0),
            },
            Self::Messages => (quotas.messages_rate_per_second, quotas.messages_burst),
            Self::Publishes => (quotas.publish_rate_per_second, quotas.publish_burst),
        }
    }

    fn rate(self, quotas: &Quotas) -> Option<Rate> {
        let (limit, burst) = self.limit(quotas);
        limit.max().map(|per_second| Rate::new(per_second, burst.max(1)))
    }
}

/// What is asked of one pod, or of all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Thousandths of cells per second that were offered, by budget: what was refused, too, but no more than the tenant's rate.
    pub offered_milli: [u64; Budget::ALL.len()],
    /// Cells admitted since the pod began to serve the tenant, by budget.
    pub admitted: [u64; Budget::ALL.len()],
    /// Messages per second taken from clients.
    pub messages_per_second: u64,
    /// Events per second published over HTTP.
    pub publishes_per_second: u64,
    /// Bytes of data per second delivered to connections.
    pub egress_bytes_per_second: u64,
}

impl Demand {
    /// How many numbers a demand is.
    pub const NUMBERS: usize = 11;

    /// True while there is some.
    pub fn is_something(&self) -> bool {
        let Self { offered_milli, messages_per_second, publishes_per_second, egress_bytes_per_second, .. } = self;
        offered_milli.iter().chain([messages_per_second, publishes_per_second, egress_bytes_per_second]).any(|part| *part > 0)
    }

    /// The demand as numbers, to travel.
    pub fn to_numbers(self) -> [u64; Self::NUMBERS] {
        let mut numbers = [0; Self::NUMBERS];
        numbers[..4].copy_from_slice(&self.offered_milli);
        numbers[4..8].copy_from_slice(&self.admitted);
        numbers[8..].copy_from_slice(&[self.messages_per_second, self.publishes_per_second, self.egress_bytes_per_second]);
        numbers
    }

    /// The demand that travelled as `numbers`.
    pub fn from_numbers(numbers: [u64; Self::NUMBERS]) -> Self {
        let [a, b, c, d, e, f, g, h, messages_per_second, publishes_per_second, egress_bytes_per_second] = numbers;
        Self { offered_milli: [a, b, c, d], admitted: [e, f, g, h], messages_per_second, publishes_per_second, egress_bytes_per_second }
    }
}

impl Sum for Demand {
    fn sum<I: Iterator<Item = Self>>(demands: I) -> Self {
        let add = |total: [u64; Self::NUMBERS], demand: Self| {
            let numbers = demand.to_numbers();
            std::array::from_fn(|index| total[index].saturating_add(numbers[index]))
        };
        Self::from_numbers(demands.fold([0; Self::NUMBERS], add))
    }
}

/// What is left of a budget on this pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Cells that the tenant may have at once.
    pub burst: u32,
    /// The time in which as many come.
    pub window: Duration,
    /// Cells that this pod would admit now.
    pub cells: u64,
    /// The time after which it would admit all of its share.
    pub until_full: Duration,
}

/// A tenant's rate budgets on one pod.
// A std lock: it is held for some arithmetic, never across an await.
#[derive(Debug)]
pub struct Rates {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    buckets: [Bucket; Budget::ALL.len()],
    messages: Meter,
    publishes: Meter,
    rebalanced_at: Duration,
    fleet: Option<Demand>,
}

#[derive(Debug)]
struct Bucket {
    /// What this pod may admit.
    local: RateState,
    /// The tenant's one bucket, as it was at the last exchange.
    fleet: RateState,
    share: f64,
    offered: Meter,
    admitted: u64,
    /// How much of `admitted` the tenant's bucket was charged with.
    charged: u64,
    /// What the others had admitted at the last exchange.
    by_others: Option<u64>,
    /// What was last told to the others.
    told_milli: u64,
    /// True when the next exchange had better come early.
    hurries: bool,
}

impl Default for Rates {
    fn default() -> Self {
        let bucket = || Bucket {
            local: RateState::default(),
            fleet: RateState::default(),
            share: 1.0,
            offered: Meter::new(DEMAND_SECONDS),
            admitted: 0,
            charged: 0,
            by_others: None,
            told_milli: 0,
            hurries: false,
        };
        let state = State {
            buckets: std::array::from_fn(|_| bucket()),
            messages: Meter::new(REPORT_SECONDS),
            publishes: Meter::new(REPORT_SECONDS),
            rebalanced_at: Duration::ZERO,
            fleet: None,
        };
        Self { state: Mutex::new(state) }
    }
}

impl Rates {
    /// Admits `cells` together, all or none.
    ///
    /// # Errors
    ///
    /// The rate that was met. It is fatal when there are more cells than the tenant may ever have at once; then the limit is the burst.
    pub fn admit(&self, budget: Budget, cells: u32, quotas: &Quotas, now: Duration) -> Result<(), Refusal> {
        let rate = budget.rate(quotas);
        let mut state = self.lock();
        let result = state.buckets[budget as usize].admit(cells, rate, now);
        if result.is_ok() || !quotas.enforced() {
            match budget {
                Budget::Messages => state.messages.add(cells.into(), f64::INFINITY, now),
                Budget::Publishes => state.publishes.add(cells.into(), f64::INFINITY, now),
                Budget::Connects | Budget::RoomCreations => {}
            }
        }
        drop(state);
        result.map_err(|wait| {
            let (limit, burst) = budget.limit(quotas);
            let refusal = |limit: u32, current| Refusal { current, ..Refusal::limit(budget.code(), Scope::Tenant, limit.into(), 0) };
            match wait {
                Some(wait) => {
                    let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                    refusal(limit.max().unwrap_or_default(), None).retry_after_ms(ms.max(1))
                }
                None => Refusal { fatal: true, ..refusal(burst.max(1), Some(cells.into())) },
            }
        })
    }

    /// Gives back `cells` that were admitted and then not used.
    pub fn refund(&self, budget: Budget, cells: u32, quotas: &Quotas) {
        let Some(rate) = budget.rate(quotas) else { return };
        let bucket = &mut self.lock().buckets[budget as usize];
        bucket.local.refund(rate.share(bucket.share), cells.into());
        bucket.admitted = bucket.admitted.saturating_sub(cells.into());
    }

    /// What is left of a budget on this pod; `None` when it is unlimited.
    pub fn remaining(&self, budget: Budget, quotas: &Quotas, now: Duration) -> Option<Remaining> {
        let rate = budget.rate(quotas)?;
        let state = self.lock();
        let bucket = &state.buckets[budget as usize];
        Some(Remaining {
            burst: budget.limit(quotas).1.max(1),
            window: rate.span(rate.burst),
            // What is nearly there counts: a nanosecond is rounded somewhere.
            cells: whole(bucket.local.held(now, rate.share(bucket.share)) + 1e-6),
            until_full: bucket.local.until_full(now),
        })
    }

    /// What is asked of this pod. Bytes are not known here.
    pub fn demand(&self, now: Duration) -> Demand {
        let state = self.lock();
        Demand {
            offered_milli: state.buckets.each_ref().map(|bucket| bucket.offered_milli(now)),
            admitted: state.buckets.each_ref().map(|bucket| bucket.admitted),
            messages_per_second: whole(state.messages.per_second(now).round()),
            publishes_per_second: whole(state.publishes.per_second(now).round()),
            egress_bytes_per_second: 0,
        }
    }

    /// Takes this pod's share, from the demand of all of `pods` together and its `own` as it was told to them.
    pub fn rebalance(&self, fleet: &Demand, own: &Demand, pods: u32, quotas: &Quotas, now: Duration) {
        let mut state = self.lock();
        let since = std::mem::replace(&mut state.rebalanced_at, now);
        state.fleet = Some(*fleet);
        for (index, budget) in Budget::ALL.into_iter().enumerate() {
            let part = |demand: &Demand| (demand.offered_milli[index], demand.admitted[index]);
            state.buckets[index].rebalance(part(fleet), part(own), pods.max(1), budget.rate(quotas), since, now);
        }
    }

    /// Takes an even share: the other pods can't be asked.
    pub fn alone(&self, pods: u32, quotas: &Quotas, now: Duration) {
        let mut state = self.lock();
        state.rebalanced_at = now;
        state.fleet = None;
        for (bucket, budget) in state.buckets.iter_mut().zip(Budget::ALL) {
            bucket.by_others = None;
            bucket.hurries = false;
            bucket.take(1.0 / f64::from(pods.max(1)), 0.0, budget.rate(quotas), now);
        }
    }

    /// True when the next exchange had better come early: something was refused that a larger share would let in.
    pub fn wants_rebalance(&self, now: Duration) -> bool {
        let state = self.lock();
        // Who can't ask the others is not helped by asking more often.
        state.fleet.is_some()
            && now.saturating_sub(state.rebalanced_at) >= EXCHANGE_MIN
            && state.buckets.iter().any(|bucket| bucket.hurries)
    }

    /// The demand of all pods as it was last told; `None` when they can't be asked.
    pub fn fleet(&self) -> Option<Demand> {
        self.lock().fleet
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }
}

impl Bucket {
    /// Admits, or says how long to wait; `None` is for ever.
    fn admit(&mut self, cells: u32, rate: Option<Rate>, now: Duration) -> Result<(), Option<Duration>> {
        let ceiling = rate.map_or(f64::INFINITY, |rate| rate.per_second);
        self.offered.add(cells.into(), ceiling, now);
        if let Some(rate) = rate {
            if f64::from(cells) > rate.burst {
                return Err(None);
            }
            if let Err(wait) = self.local.admit_cells(now, rate.share(self.share), cells) {
                let rose = self.offered_milli(now) > self.told_milli + self.told_milli / 2 + milli(ceiling * IDLE);
                self.hurries |= self.share < 1.0 && rose;
                // With a small share the wait is long; by the next exchange it is a larger one.
                return Err(Some(wait.min(EXCHANGE + rate.span(cells.into()))));
            }
        }
        self.admitted += u64::from(cells);
        Ok(())
    }

    fn offered_milli(&self, now: Duration) -> u64 {
        milli(self.offered.per_second(now))
    }

    fn rebalance(&mut self, fleet: (u64, u64), own: (u64, u64), pods: u32, rate: Option<Rate>, since: Duration, now: Duration) {
        let others = fleet.1.saturating_sub(own.1);
        // The sum falls when a pod leaves; nothing is charged then, and too little once.
        let seen = self.by_others.replace(others);
        let by_others = seen.map_or(0, |seen| others.saturating_sub(seen));
        let by_own = self.admitted.saturating_sub(self.charged);
        (self.charged, self.told_milli) = (self.admitted, own.0);
        let Some(rate) = rate else { return };
        let idle = rate.per_second * IDLE * 1000.0;
        let (total, pods) = (fleet.0.max(own.0), f64::from(pods));
        let due = (float(own.0) + idle) / (float(total) + pods * idle);
        // Nobody takes more than an even part before it is needed: when all begin at once, none has heard of the others yet.
        let local = self.local.held(now, rate.share(self.share));
        let pressed = local < rate.burst * self.share / 2.0;
        let share = if pressed { due } else { due.min(self.share.max(1.0 / pods)) };
        self.hurries = share - self.share > GROWN;
        self.fleet.charge(since, rate, float(by_own.saturating_add(by_others)));
        // Deeper in debt it can't honestly be: a pod that came back after the others forgot it would be counted twice.
        let held = self.fleet.held(now, rate).max(-(rate.burst + 2.0 * rate.per_second + pods));
        self.fleet.set_held(now, rate, held);
        let part = |held: f64| if held < 0.0 { share * held } else { held / rate.burst * rate.share(share).burst };
        let elapsed = now.saturating_sub(since).min(EXCHANGE).as_secs_f64();
        let (least, most) = (part(held) - local, if seen.is_some() { 2.0 * share * rate.per_second * elapsed } else { 0.0 });
        let difference = if least > 0.0 {
            // Of the others nothing was heard for a while: they went on as they did, and what they took is not there to take over.
            let unheard = (float(by_others) / elapsed.max(0.001)).min((1.0 - share) * rate.per_second) * EXCHANGE.as_secs_f64();
            (part(held - unheard) - local).max(0.0)
        } else {
            least
        };
        let trust = if difference > 0.0 { share } else { share + (1.0 - share) * CORRECTION };
        self.take(share, (trust * difference).min(most), Some(rate), now);
    }

    /// Takes `share` and corrects what is held. The cells that are there stay, as far as they fit in: a larger share is no free burst.
    fn take(&mut self, share: f64, correction: f64, rate: Option<Rate>, now: Duration) {
        if let Some(rate) = rate {
            let held = self.local.held(now, rate.share(self.share));
            self.local.set_held(now, rate.share(share), held + correction);
        }
        self.share = share;
    }
}

fn milli(per_second: f64) -> u64 {
    whole((per_second * 1000.0).round())
}
