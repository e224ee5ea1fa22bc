//! Every metric of the operator: names, labels and help, in one place.

mod labels;
mod process;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use carillon_jwks::FetchError;
use carillon_tenant::{FleetName, Validity};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use tokio::time::Instant;

pub use self::labels::{BootWrite, CertificateWrite, Outcome, PodState, PushResult, Stage, TenantState, WriteResult};
use self::process::Process;

/// From what a quiet operator takes to what a pod that is away makes it take.
const CHANGE_BUCKETS: [f64; 12] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Whose certificates there are between the operator and the servers.
const CERTIFICATES: [&str; 3] = ["authority", "server", "operator"];

/// The registry and its handles.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<OutcomeLabel, Counter>,
    push_duration: Histogram,
    pushes: Family<ResultLabel, Counter>,
    pods: Family<PodStateLabel, Gauge>,
    tenants: Family<TenantStateLabel, Gauge>,
    changes: Family<StageLabel, Histogram>,
    status_writes: Family<WriteLabel, Counter>,
    events_lost: Counter,
    boot_writes: Family<BootWriteLabel, Counter>,
    leader: Gauge,
    jwks_fetches: Family<WordLabel, Counter>,
    jwks_oldest: OldestFetch,
    fuse_blown: Gauge,
    definitions_lack: Gauge,
    certificate_start: Family<CertificateLabel, Gauge>,
    certificate_expiry: Family<CertificateLabel, Gauge>,
    certificate_renewals: Family<RenewalLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: PushResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PodStateLabel {
    /// As many as the operator was told at its start.
    fleet: String,
    state: PodState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantStateLabel {
    state: TenantState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BootWriteLabel {
    result: BootWrite,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabel {
    result: WriteResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WordLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RenewalLabel {
    certificate: &'static str,
    result: CertificateWrite,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: Stage,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        // From a millisecond on the same machine to the timeout of an exchange.
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let metrics = Self {
            reconciles: Family::default(),
            push_duration: Histogram::new(buckets),
            pushes: Family::default(),
            pods: Family::default(),
            tenants: Family::default(),
            changes: Family::new_with_constructor(|| Histogram::new(CHANGE_BUCKETS)),
            status_writes: Family::default(),
            events_lost: Counter::default(),
            boot_writes: Family::default(),
            leader: Gauge::default(),
            jwks_fetches: Family::default(),
            jwks_oldest: OldestFetch::default(),
            fuse_blown: Gauge::default(),
            definitions_lack: Gauge::default(),
            certificate_start: Family::default(),
            certificate_expiry: Family::default(),
            certificate_renewals: Family::default(),
            registry: Registry::default(),
        };
        registry.register("carillon_operator_reconciles", "Tenants resolved and compiled", metrics.reconciles.clone());
        registry.register("carillon_operator_push_duration_seconds", "Time of a push to one pod", metrics.push_duration.clone());
        registry.register("carillon_operator_pushes", "Pushes to pods", metrics.pushes.clone());
        registry.register("carillon_operator_pods", "Server pods", metrics.pods.clone());
        registry.register("carillon_operator_tenants", "RealtimeTenants", metrics.tenants.clone());
        let help = "Time from the watch that brought a change of a tenant until it was compiled, acknowledged by every pod, and told in the status";
        registry.register("carillon_operator_change_duration_seconds", help, metrics.changes.clone());
        registry.register("carillon_operator_status_writes", "Writes of tenants' and classes' status", metrics.status_writes.clone());
        registry.register(
            "carillon_operator_boot_config_writes",
            "Writes of the Secrets that servers start with while no operator is there",
            metrics.boot_writes.clone(),
        );
        registry.register("carillon_operator_events_lost", "Kubernetes Events that were not recorded", metrics.events_lost.clone());
        registry.register("carillon_operator_leader", "1 on the replica that leads", metrics.leader.clone());
        registry.register("carillon_operator_jwks_fetches", "Fetches of key sets", metrics.jwks_fetches.clone());
        registry.register_collector(Box::new(metrics.jwks_oldest.clone()));
        let help = "1 while the removal of most tenants is held until someone says that it is meant";
        registry.register("carillon_operator_fuse_blown", help, metrics.fuse_blown.clone());
        let help = "Fields that the installed custom resource definitions lack";
        registry.register("carillon_operator_definitions_missing_fields", help, metrics.definitions_lack.clone());
        let help = "From when on a certificate between the operator and the servers is valid";
        registry.register("carillon_operator_certificate_start_timestamp_seconds", help, metrics.certificate_start.clone());
        let help = "When a certificate between the operator and the servers ends";
        registry.register("carillon_operator_certificate_expiry_timestamp_seconds", help, metrics.certificate_expiry.clone());
        let help = "Certificates between the operator and the servers that the operator has made, or failed to make";
        registry.register("carillon_operator_certificate_renewals", help, metrics.certificate_renewals.clone());
        registry.register_collector(Box::new(Process));
        // Series exist from the start, so that rates over them do, too.
        for outcome in Outcome::ALL {
            let _ = metrics.reconciles.get_or_create(&OutcomeLabel { outcome: *outcome });
        }
        for result in PushResult::ALL {
            let _ = metrics.pushes.get_or_create(&ResultLabel { result: *result });
        }
        for state in TenantState::ALL {
            let _ = metrics.tenants.get_or_create(&TenantStateLabel { state: *state });
        }
        for result in BootWrite::ALL {
            let _ = metrics.boot_writes.get_or_create(&BootWriteLabel { result: *result });
        }
        for result in CertificateWrite::ALL {
            for certificate in CERTIFICATES {
                let _ = metrics.certificate_renewals.get_or_create(&RenewalLabel { certificate, result: *result });
            }
        }
        for stage in Stage::ALL {
            let _ = metrics.changes.get_or_create(&StageLabel { stage: *stage });
        }
        for result in WriteResult::ALL {
            let _ = metrics.status_writes.get_or_create(&WriteLabel { result: *result });
        }
        for result in FetchError::WORDS {
            let _ = metrics.jwks_fetches.get_or_create(&WordLabel { result });
        }
        metrics.pods([&FleetName::default()].into_iter(), []);
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A tenant was resolved and compiled.
    pub fn reconciled(&self, outcome: Outcome) {
        self.reconciles.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A push ended.
    pub fn pushed(&self, result: PushResult, elapsed: Duration) {
        self.pushes.get_or_create(&ResultLabel { result }).inc();
        self.push_duration.observe(elapsed.as_secs_f64());
    }

    /// The states of all pods of these fleets.
    pub fn pods<'a>(&self, fleets: impl Iterator<Item = &'a FleetName>, pods: impl IntoIterator<Item = (&'a FleetName, PodState)>) {
        let mut counts: BTreeMap<_, _> = fleets.map(|fleet| (fleet, [0; PodState::ALL.len()])).collect();
        for (fleet, state) in pods {
            counts.entry(fleet).or_default()[state as usize] += 1;
        }
        for (fleet, counts) in counts {
            for (state, count) in PodState::ALL.iter().zip(counts) {
                self.pods.get_or_create(&PodStateLabel { fleet: fleet.to_string(), state: *state }).set(count);
            }
        }
    }

    /// A tenant went from one state to another; `None` stands for not being there.
    pub fn tenant_moved(&self, from: Option<TenantState>, to: Option<TenantState>) {
        if let Some(state) = from {
            self.tenants.get_or_create(&TenantStateLabel { state }).dec();
        }
        if let Some(state) = to {
            self.tenants.get_or_create(&TenantStateLabel { state }).inc();
        }
    }

    /// A change has come so far, that long after it was seen.
    pub fn change(&self, stage: Stage, elapsed: Duration) {
        self.changes.get_or_create(&StageLabel { stage }).observe(elapsed.as_secs_f64());
    }

    /// A status was written, or not.
    pub fn status_written(&self, result: WriteResult) {
        self.status_writes.get_or_create(&WriteLabel { result }).inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A Secret of the boot configuration was written, or not.
    pub fn boot_write(&self, result: BootWrite) {
        self.boot_writes.get_or_create(&BootWriteLabel { result }).inc();
    }

    /// A fetch of a key set ended, and when that was fetched with success which was so longest ago.
    pub fn jwks_fetched(&self, result: &'static str, oldest: Option<Instant>) {
        self.jwks_fetches.get_or_create(&WordLabel { result }).inc();
        self.jwks_oldest(oldest);
    }

    /// When that key set was fetched with success which was so longest ago.
    pub fn jwks_oldest(&self, oldest: Option<Instant>) {
        *self.jwks_oldest.0.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }

    /// Whether the fuse is blown.
    pub fn fuse_blown(&self, blown: bool) {
        self.fuse_blown.set(blown.into());
    }

    /// How many fields the installed definitions lack.
    pub fn definitions_lack(&self, fields: usize) {
        self.definitions_lack.set(i64::try_from(fields).unwrap_or(i64::MAX));
    }

    /// How long a certificate lasts; `None`: that isn't known any more.
    pub fn certificate(&self, certificate: &'static str, validity: Option<Validity>) {
        let label = CertificateLabel { certificate };
        if let Some(validity) = validity {
            self.certificate_start.get_or_create(&label).set(validity.not_before);
            self.certificate_expiry.get_or_create(&label).set(validity.not_after);
        } else {
            self.certificate_start.remove(&label);
            self.certificate_expiry.remove(&label);
        }
    }

    /// A certificate was made, or not.
    pub fn certificate_renewed(&self, certificate: &'static str, result: CertificateWrite) {
        self.certificate_renewals.get_or_create(&RenewalLabel { certificate, result }).inc();
    }

    /// A Kubernetes Event was not recorded.
    pub fn event_lost(&self) {
        self.events_lost.inc();
    }

    /// All of it, in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// The age of the key set that was not fetched for the longest time, as it is when it is asked for.
#[derive(Clone, Debug, Default)]
struct OldestFetch(Arc<Mutex<Option<Instant>>>);

impl Collector for OldestFetch {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else { return Ok(()) };
        let metric = ConstGauge::new(at.elapsed().as_secs_f64());
        let help = "Time since the key set was fetched with success which was so longest ago";
        metric.encode(encoder.encode_descriptor("carillon_operator_jwks_oldest_fetch_age_seconds", help, None, MetricType::Gauge)?)
    }
}

#[cfg(test)]
mod tests;
