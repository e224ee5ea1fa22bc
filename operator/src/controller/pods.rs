//! The server pods of a term: who pushes to them, and what they were heard to run.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Controller, SLICES};
use crate::{
    acks::{Standing, Touched},
    facts::USAGE_GATHER,
    pusher::{Pusher, Report},
};

impl Controller {
    /// One pusher for each pod, while this replica leads.
    pub(super) fn follow_pods(&mut self) {
        let Some(term) = self.term.as_ref().filter(|_| !self.parts.readiness.is_missing(SLICES)) else { return };
        let pods = self.slices.pods();
        let count = self.pushers.len();
        // A pod that comes to be of another fleet is as good as new.
        self.pushers.retain(|uid, pusher| pods.get(uid).is_some_and(|pod| pod.fleet == *pusher.fleet()));
        let mut changed = self.pushers.len() != count;
        for (uid, pod) in pods {
            if let Some(pusher) = self.pushers.get(&uid) {
                pusher.update(pod);
            } else if let Some(output) = self.parts.outputs.get(&pod.fleet) {
                tracing::info!(pod = pod.name, fleet = %pod.fleet, address = %pod.address, "server pod appeared");
                self.pushers.insert(uid.clone(), Pusher::spawn(uid, pod, output.pushers.clone(), term.clone()));
                changed = true;
            }
        }
        if changed {
            self.show_fleet();
            self.fleet_changed(&Touched::All);
        }
    }

    /// Lets people see the pods of this term.
    pub(super) fn show_fleet(&self) {
        let pods = || self.pushers.iter().map(|(uid, pusher)| (uid.clone(), pusher.handle())).collect();
        self.parts.fleet.send_replace(self.term.as_ref().map(|_| Arc::new(pods())));
    }

    pub(super) fn report(&mut self, report: &Report) {
        match report {
            Report::Standing(pod, touched) if self.pushers.contains_key(pod) => {
                self.follow_trails(touched);
                self.follow_moves(touched);
                self.fleet_changed(touched);
            }
            Report::Usage(pod, touched) if self.pushers.contains_key(pod) => {
                let time = Instant::now() + USAGE_GATHER;
                self.index.touched(touched).for_each(|key| self.reporting.again(key, time));
            }
            Report::UnknownKids(tenants) => self.unknown_kids(tenants),
            Report::Excess(pod, excess) => {
                if let Some(fleet) = self.pushers.get(pod).map(|pusher| pusher.fleet().clone()) {
                    self.hold(&fleet, excess);
                }
            }
            Report::Standing(..) | Report::Usage(..) => {}
        }
    }

    /// Looks which changes every pod has acknowledged by now.
    pub(super) fn follow_trails(&mut self, touched: &Touched) {
        let keys: Vec<_> = match touched {
            Touched::All => self.trails.awaited().cloned().collect(),
            Touched::Only(tenants) => tenants.iter().filter_map(|id| self.index.holder(id)).cloned().collect(),
        };
        for key in keys {
            let Some(version) = self.trails.awaits(&key) else { continue };
            let Some(Ok(id)) = self.index.get(&key).map(|entry| &entry.object.tenant_id) else { continue };
            let pods = self.pods_of(&key).count();
            if self.pods_of(&key).all(|pusher| pusher.ledger.standing(id, version) == Standing::Programmed) {
                self.trails.acknowledged(&key, pods, &self.parts.metrics, Instant::now());
            }
        }
    }

    pub(super) fn fleet_changed(&mut self, touched: &Touched) {
        let now = Instant::now();
        self.index.touched(touched).for_each(|key| self.reporting.touch(key, now));
        self.generating.fleet_changed(now);
        self.deleting.keys().for_each(|key| self.finalizers.at(now, key.clone()));
        let pods = self.pushers.values().map(|pusher| (pusher.fleet(), pusher.ledger.pod_state()));
        self.parts.metrics.pods(self.parts.fleets.names(), pods);
    }
}
