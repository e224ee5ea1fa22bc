//! The loop's part in fleets: what each should run, and how far moves have come.

use std::collections::BTreeMap;

use carillon_tenant::{ConfigVersion, FleetName, Position, TenantId};
use tokio::time::Instant;

use super::{Controller, Output};
use crate::{
    acks::{Standing, Touched},
    fleet::PodUid,
    index::Index,
    moves::{Pods, Roll, Share},
    object::ObjectKey,
    pusher::Pusher,
};

/// What is known of all pods, by fleet.
struct Known<'a> {
    pods: BTreeMap<FleetName, Vec<&'a Pusher>>,
    outputs: &'a BTreeMap<FleetName, Output>,
}

impl<'a> Known<'a> {
    fn new(pushers: &'a BTreeMap<PodUid, Pusher>, outputs: &'a BTreeMap<FleetName, Output>) -> Self {
        let mut pods: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for pusher in pushers.values() {
            pods.entry(pusher.fleet().clone()).or_default().push(pusher);
        }
        Self { pods, outputs }
    }
}

impl Pods for Known<'_> {
    fn roll(&self, fleet: &FleetName, tenant: &TenantId, version: &ConfigVersion) -> Roll {
        let pods = self.pods.get(fleet).map_or(&[][..], Vec::as_slice);
        let standings = || pods.iter().map(|pusher| pusher.ledger.standing(tenant, version.as_str()));
        Roll {
            eligible: pods.len(),
            programmed: standings().filter(|standing| *standing == Standing::Programmed).count(),
            runs: pods.iter().any(|pusher| matches!(pusher.ledger.runs(tenant), Some(Some(_)))),
        }
    }

    fn serves(&self, fleet: &FleetName, tenant: &TenantId) -> bool {
        let desired = self.outputs.get(fleet).map(|output| output.desired.borrow());
        desired.is_some_and(|desired| desired.as_ref().is_some_and(|desired| desired.tenants.contains_key(tenant)))
    }
}

impl Controller {
    /// What each fleet should run.
    pub(super) fn share(&mut self, now: Instant) -> BTreeMap<FleetName, Share> {
        let known = Known::new(&self.pushers, &self.parts.outputs);
        self.moves.share(&self.parts.fleets, self.index.desired(), |id| self.index.home(id), &known, now)
    }

    /// A pod's standing to these has changed: a fleet may be let go of what another serves by now.
    pub(super) fn follow_moves(&mut self, touched: &Touched) {
        if self.moves.concern(touched) {
            self.gather.change(Instant::now());
        }
    }

    /// Notes what is published.
    pub(super) fn tell_published(&mut self, position: Position, shares: &BTreeMap<FleetName, Share>) {
        let own = |ids: &mut dyn Iterator<Item = &TenantId>, share: &Share| ids.filter(|id| !share.guests.contains(*id)).count();
        let tenants = shares.values().map(|share| own(&mut share.tenants.keys(), share)).sum();
        let kept = shares.values().map(|share| own(&mut share.keep.iter(), share)).sum();
        self.trails.published(position, tenants, kept, self.pushers.len());
        // In a fleet without pods there is nobody to acknowledge it.
        let nobody = |key: &ObjectKey| self.pods_of(key).next().is_none();
        let ended: Vec<_> = self.trails.awaited().filter(|key| nobody(key)).cloned().collect();
        ended.iter().for_each(|key| self.trails.ended(key));
    }

    /// The pods of the fleet that carries the tenant of `key`.
    pub(super) fn pods_of(&self, key: &ObjectKey) -> impl Iterator<Item = &Pusher> {
        let fleet = fleet_of(&self.index, key);
        self.pushers.values().filter(move |pusher| *pusher.fleet() == fleet)
    }
}

/// The fleet that carries the tenant of `key`.
pub(super) fn fleet_of(index: &Index, key: &ObjectKey) -> FleetName {
    index.get(key).and_then(crate::index::Entry::fleet).unwrap_or_default()
}
