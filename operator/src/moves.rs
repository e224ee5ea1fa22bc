//! Who belongs where: what each fleet should run, and how a tenant gets from one to another. Pure: the clock and what pods run are handed in.
//!
//! A tenant's fleet is its class's. Until it is known to be served there, every other fleet keeps what it runs of it, and one that serves it
//! goes on, changes included: made before it is broken. Nothing is remembered of where a tenant comes from, so that a leader that takes over
//! in the middle of a move goes on with it: what pods run tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carillon_tenant::{ConfigVersion, FleetName, TenantId, TenantMessage};
use tokio::time::Instant;

use crate::{acks::Touched, fleets::Fleets};

/// A tenant is served by its fleet when every pod there runs it, or after this long when one does. A fleet without such a pod is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one fleet should run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Tenants that have a good configuration.
    pub tenants: BTreeMap<TenantId, Arc<TenantMessage>>,
    /// Tenants without one, and those of which it is not known whether they come from here: pods keep what they run of them.
    pub keep: BTreeSet<TenantId>,
    /// Those of both that another fleet carries.
    pub guests: BTreeSet<TenantId>,
}

impl Share {
    /// Tenants that the fleet carries: how many there are, guests not counted.
    pub fn own(&self) -> usize {
        self.tenants.len() + self.keep.len() - self.guests.len()
    }
}

/// How the pods of a fleet stand to a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// How many there are.
    pub eligible: usize,
    /// Of these, those that run exactly what they should.
    pub programmed: usize,
    /// True when one of them runs it, in whatever version.
    pub runs: bool,
}

/// What is known of a fleet.
pub trait Pods {
    /// How its pods stand to that version of a tenant.
    fn roll(&self, fleet: &FleetName, tenant: &TenantId, version: &ConfigVersion) -> Roll;
    /// True when it was asked to serve the tenant by what was published last.
    fn serves(&self, fleet: &FleetName, tenant: &TenantId) -> bool;
}

/// Which tenants have come to be served by their fleet.
#[derive(Debug, Default)]
pub struct Moves {
    settled: BTreeMap<TenantId, FleetName>,
    /// Since when others are waited for.
    waiting: BTreeMap<TenantId, (FleetName, Instant)>,
    /// Those among them that another fleet serves.
    moving: BTreeSet<TenantId>,
    /// When the patience with the next of their fleets ends.
    next: Option<Instant>,
}

impl Moves {
    /// Shares out among `fleets` what all pods together should run. `home` is the fleet that carries a tenant.
    pub fn share<'a>(
        &mut self,
        fleets: &Fleets,
        (tenants, keep): (BTreeMap<TenantId, Arc<TenantMessage>>, BTreeSet<TenantId>),
        home: impl Fn(&TenantId) -> Option<&'a FleetName>,
        pods: &impl Pods,
        now: Instant,
    ) -> BTreeMap<FleetName, Share> {
        let mut shares: BTreeMap<FleetName, Share> = fleets.names().map(|name| (name.clone(), Share::default())).collect();
        if fleets.is_one() {
            let only = Share { tenants, keep, guests: BTreeSet::new() };
            return shares.into_keys().zip([only]).collect();
        }
        let default = FleetName::default();
        self.settled.retain(|id, _| tenants.contains_key(id));
        self.waiting.retain(|id, _| tenants.contains_key(id));
        self.moving.clear();
        for (id, message) in tenants {
            let home = home(&id).unwrap_or(&default);
            if !self.settles(&id, home, pods.roll(home, &id, &message.config_version), now) {
                for (fleet, share) in shares.iter_mut().filter(|(fleet, _)| *fleet != home) {
                    if pods.serves(fleet, &id) || pods.roll(fleet, &id, &message.config_version).runs {
                        share.tenants.insert(id.clone(), Arc::clone(&message));
                        self.moving.insert(id.clone());
                    } else {
                        share.keep.insert(id.clone());
                    }
                    share.guests.insert(id.clone());
                }
            }
            if let Some(share) = shares.get_mut(home) {
                share.tenants.insert(id, message);
            }
        }
        let ends = self.moving.iter().filter_map(|id| self.waiting.get(id)).map(|(_, since)| *since + PATIENCE);
        self.next = ends.filter(|end| *end > now).min();
        for id in keep {
            let home = home(&id).unwrap_or(&default);
            for (fleet, share) in &mut shares {
                share.keep.insert(id.clone());
                if fleet != home {
                    share.guests.insert(id.clone());
                }
            }
        }
        shares
    }

    /// True when `touched` may have brought a move further.
    pub fn concern(&self, touched: &Touched) -> bool {
        match touched {
            Touched::All => !self.waiting.is_empty(),
            Touched::Only(tenants) => tenants.iter().any(|id| self.moving.contains(id)),
        }
    }

    /// When the patience ends with a fleet whose pods are waited for.
    pub const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Another leader, or this one in another term, looks anew.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// True once `home` serves the tenant; from then on others need not.
    fn settles(&mut self, id: &TenantId, home: &FleetName, roll: Roll, now: Instant) -> bool {
        if self.settled.get(id) == Some(home) {
            return true;
        }
        let since = self.waiting.get(id).filter(|(fleet, _)| fleet == home).map_or(now, |(_, since)| *since);
        let late = now.duration_since(since) >= PATIENCE;
        let made = roll.programmed > 0 && (roll.programmed == roll.eligible || late);
        if made {
            self.waiting.remove(id);
            self.settled.insert(id.clone(), home.clone());
        } else {
            self.settled.remove(id);
            self.waiting.insert(id.clone(), (home.clone(), since));
        }
        made
    }
}

#[cfg(test)]
mod tests;
