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
        self.pushers.retain(|uid, _| pods.contains_key(uid));
        let mut changed = self.pushers.len() != count;
        for (uid, pod) in pods {
            if let Some(pusher) = self.pushers.get(&uid) {
                pusher.update(pod);
            } else {
                tracing::info!(pod = pod.name, address = %pod.address, "server pod appeared");
                self.pushers.insert(uid.clone(), Pusher::spawn(uid, pod, self.parts.pushers.clone(), term.clone()));
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
                self.fleet_changed(touched);
            }
            Report::Usage(pod, touched) if self.pushers.contains_key(pod) => {
                let time = Instant::now() + USAGE_GATHER;
                self.index.touched(touched).for_each(|key| self.reporting.again(key, time));
            }
            Report::UnknownKids(tenants) => self.unknown_kids(tenants),
            Report::Excess(pod, excess) if self.pushers.contains_key(pod) => self.hold(excess),
            Report::Standing(..) | Report::Usage(..) | Report::Excess(..) => {}
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
            if self.pushers.values().all(|pusher| pusher.ledger.standing(id, version) == Standing::Programmed) {
                self.trails.acknowledged(&key, self.pushers.len(), &self.parts.metrics, Instant::now());
            }
        }
    }

    pub(super) fn fleet_changed(&mut self, touched: &Touched) {
        let now = Instant::now();
        self.index.touched(touched).for_each(|key| self.reporting.touch(key, now));
        self.generating.fleet_changed(now);
        self.deleting.keys().for_each(|key| self.finalizers.at(now, key.clone()));
        self.parts.metrics.pods(self.pushers.values().map(|pusher| pusher.ledger.pod_state()));
    }
}
