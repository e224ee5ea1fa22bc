//! The exchanges of one tenant with Redis: one at a time, as soon as there is something to say, and no more often than needed.

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    book::{Excess, Outcome},
    monotonic,
    rates::Demand,
    wire::Reply,
};
use crate::{
    fan_out::{Message, Publication, Target, Tenant},
    metrics::Metrics,
};

/// How often a tenant is looked at when nothing is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// At most one recall of a tenant's unused places in this time.
const RECALL_INTERVAL: Duration = Duration::from_millis(100);

/// Does the tenant's exchanges as long as it has something to tell.
pub(super) async fn drive(tenant: Arc<Tenant>) {
    let mut redis = tenant.fleet.watch_redis();
    let mut recalled_at = None;
    let mut on_share = OnShare { metrics: tenant.counters.clone(), counted: false };
    loop {
        let now = monotonic();
        let demand = tenant.demand(&tenant.config().quotas);
        let metering = demand.is_something();
        let hurry = tenant.rates.wants_rebalance(now);
        let (due, wait) = {
            let mut state = tenant.counts.lock();
            if !metering && state.book.rest() {
                state.driven = false;
                return;
            }
            let due = state.book.due(metering).map(|due| if hurry { due.min(now) } else { due });
            let wait = due.map_or(LOOK_INTERVAL, |due| due.saturating_sub(now)).min(LOOK_INTERVAL);
            state.looks_at = now + wait;
            (due, wait)
        };
        if due.is_some_and(|due| due <= now) {
            let recalls = exchange(&tenant, demand).await;
            on_share.set(tenant.counts.lock().book.is_on_share());
            if recalls && recalled_at.is_none_or(|at| now.saturating_sub(at) >= RECALL_INTERVAL) {
                recalled_at = Some(now);
                recall(&tenant);
            }
            continue;
        }
        tokio::select! {
            () = sleep_until(Instant::now() + wait) => {}
            () = tenant.counts.changed.notified() => {}
            () = came_or_went(&mut redis) => tenant.counts.lock().book.try_again(monotonic()),
        }
    }
}

/// One exchange; true when other pods are to give back what they don't use.
async fn exchange(tenant: &Arc<Tenant>, demand: Demand) -> bool {
    let config = tenant.config().clone();
    let (quotas, fleet) = (&config.quotas, &tenant.fleet);
    let asked = tenant.counts.lock().book.ask(quotas, monotonic(), demand.is_something());
    let reply = if fleet.reaches_redis() {
        let arguments = asked.request.arguments(quotas, fleet.pods(), demand);
        fleet.exchange(&tenant.id, arguments).await.and_then(|numbers| Reply::read(&numbers, &asked.request))
    } else {
        None
    };
    if let Some(Reply::Granted(granted)) = &reply {
        tenant.learn_demand(&granted.demand, &demand, u32::try_from(granted.pods).unwrap_or(u32::MAX), quotas);
    }
    let outcome = {
        let mut state = tenant.counts.lock();
        match reply {
            Some(reply) => state.book.answered(asked, reply, &tenant.config().quotas, monotonic()),
            None if fleet.is_joining() => {
                state.book.put_off(asked, monotonic());
                return false;
            }
            None => {
                let outcome = state.book.failed(asked, fleet.reaches_redis(), fleet.pods(), quotas, monotonic());
                if state.book.is_on_share() {
                    tenant.part_from_fleet(fleet.pods(), quotas);
                }
                outcome
            }
        }
    };
    let Outcome { served, excess, recall } = outcome;
    for ((claim, waiter), answer) in served {
        // Whoever does not wait any more gives the place back by dropping it.
        waiter.send((answer, tenant.counts.place(claim, answer))).ok();
    }
    if excess != Excess::default() {
        tenant.cut(&excess);
    }
    recall
}

/// Asks the other pods to give back what they don't use.
fn recall(tenant: &Arc<Tenant>) {
    let message = Message::new("", RawValue::NULL.to_owned());
    tenant.fleet.publish(&tenant.id, &Publication { target: Target::Pods, except: None, message });
}

/// Counts a tenant among those for which this pod has nothing but an even share, as long as it lives.
struct OnShare {
    metrics: Arc<Metrics>,
    counted: bool,
}

impl OnShare {
    fn set(&mut self, on_share: bool) {
        match (std::mem::replace(&mut self.counted, on_share), on_share) {
            (false, true) => _ = self.metrics.quota_share_tenants.inc(),
            (true, false) => _ = self.metrics.quota_share_tenants.dec(),
            _ => {}
        }
    }
}

impl Drop for OnShare {
    fn drop(&mut self) {
        self.set(false);
    }
}

async fn came_or_went(redis: &mut Option<watch::Receiver<bool>>) {
    match redis {
        Some(redis) => _ = redis.changed().await,
        None => std::future::pending().await,
    }
}
