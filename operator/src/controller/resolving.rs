//! Secrets read and tenants compiled, by every replica.

use tokio::time::Instant;

use super::{Controller, Done, RESOLVES_MAX};
use crate::{
    gather::GATHER_QUIET,
    metrics::Outcome,
    object::ObjectKey,
    resolve::{Job, Resolution, resolve},
};

impl Controller {
    pub(super) fn start_resolving(&mut self, now: Instant) {
        while self.resolving.len() < RESOLVES_MAX {
            let Some(key) = self.unresolved.pop_due(now) else { return };
            if self.resolving.contains(&key) {
                // What is under way may have read too early; done with it, this is looked at again.
                self.unresolved.at(now + GATHER_QUIET, key);
                continue;
            }
            let Some(job) = self.index.job(&key) else {
                self.tried(&key);
                self.jwks.settled(&key);
                continue;
            };
            self.resolving.insert(key);
            let (client, arguments) = (self.client.clone(), self.parts.generate.clone());
            self.jobs.spawn(async move {
                let result = resolve(client, &job, &arguments).await;
                Done::Resolved(Box::new((job, result)))
            });
        }
    }

    pub(super) fn resolved(&mut self, job: &Job, resolution: Resolution) {
        let problems: Vec<_> = resolution.outcome.as_ref().err().into_iter().flatten().map(ToString::to_string).collect();
        let problems = problems.join("; ");
        let Some(outcome) = self.index.resolved(job, resolution) else { return };
        self.parts.metrics.reconciled(outcome);
        let good = self.index.get(&job.key).and_then(|entry| entry.good.as_ref());
        if let Some(good) = good.filter(|_| outcome == Outcome::Changed) {
            self.trails.compiled(&job.key, good, &self.parts.metrics, Instant::now());
            return;
        }
        if outcome == Outcome::Rejected {
            tracing::warn!(tenant = %job.key, generation = job.generation, problems, "tenant does not compile");
        }
        self.trails.ended(&job.key);
    }

    pub(super) fn tried(&mut self, key: &ObjectKey) {
        if let Some(untried) = &mut self.untried {
            untried.remove(key);
        }
    }
}
