//! Every metric of the server, by name. Tenants label counters and gauges only, and only so many of them: the rest share `_other`.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicU64},
};

use carillon_tenant::{Code, TenantId, Validity};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::process_metrics::ProcessMetrics;

/// The label of tenants beyond [`Metrics::TENANTS_MAX`].
const OTHER: &str = "_other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabel {
    tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectLabels {
    tenant: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    tenant: String,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    tenant: String,
    code: &'static str,
    enforced: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
}

/// The server's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    labelled_tenants: Mutex<std::collections::HashSet<TenantId>>,
    connections: Family<TenantLabel, Gauge>,
    connections_limit: Family<TenantLabel, Gauge>,
    connects: Family<ConnectLabels, Counter>,
    connects_retiring_key: Family<TenantLabel, Counter>,
    connections_ended: Family<EndLabels, Counter>,
    rooms: Family<TenantLabel, Gauge>,
    messages_received: Family<TenantLabel, Counter>,
    messages_delivered: Family<TenantLabel, Counter>,
    quota_refusals: Family<RefusalLabels, Counter>,
    adapter_lost: Family<StageLabel, Counter>,
    /// Connections closed because they read too slowly.
    pub slow_consumer_disconnects: Counter,
    /// Pods of the fleet, as far as this one knows.
    pub fleet_pods: Gauge,
    /// Tenants whose limits this pod applies by an even share, because Redis is away.
    pub quota_share_tenants: Gauge,
    /// Connections closed because other pods took their places while this pod was cut off from Redis.
    pub quota_evictions: Counter,
    /// From publish to the hand-over to a local member's outlet.
    pub delivery_latency_seconds: Histogram,
    /// Messages handed to Redis for other pods.
    pub adapter_published: Counter,
    /// Messages received from other pods.
    pub adapter_received: Counter,
    /// 1 while Redis answers; 0 while it does not, and without Redis.
    pub redis_up: Gauge,
    /// Seconds since the operator was last heard.
    pub config_age_seconds: Gauge<f64, AtomicU64>,
    /// 1 while it runs what it found when it started, and no operator has confirmed that.
    pub config_from_boot: Gauge,
    /// Requests to the HTTP API that were answered.
    pub api_requests: Counter,
    /// Tenants this server runs.
    pub config_tenants: Gauge,
    /// Times the admin port's certificates changed into something that can't be used.
    pub certificate_reload_failures: Counter,
    certificate_start: Family<CertificateLabel, Gauge>,
    certificate_expiry: Family<CertificateLabel, Gauge>,
}

impl Metrics {
    /// How many tenants get a label of their own.
    pub const TENANTS_MAX: usize = 1000;

    /// Registers every metric.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics));
        let mut make = Maker(&mut registry);
        Self {
            connections: make.family("carillon_connections", "Connections of a tenant on this pod"),
            connections_limit: make.family("carillon_connections_limit", "Connections a tenant may have in the whole fleet; -1 is unlimited"),
            connects: make.family("carillon_connects", "Connects by result: ok, or the code of the refusal"),
            connects_retiring_key: make.family("carillon_connects_retiring_key", "Connects let in by a token whose key has its notAfter within a day"),
            connections_ended: make.family("carillon_connections_ended", "Connections that were ended for good, by code: what the client is told makes it stay away"),
            rooms: make.family("carillon_rooms", "Rooms of a tenant with members on this pod"),
            messages_received: make.family("carillon_messages_received", "Messages received from a tenant's clients"),
            messages_delivered: make.family("carillon_messages_delivered", "Messages handed to a tenant's connections on this pod"),
            quota_refusals: make.family("carillon_quota_refusals", "Refusals after connect, by code; enforced is false for what a dry run let pass, connects among it"),
            adapter_lost: make.family("carillon_adapter_lost", "Messages between pods that were lost: publish, by this pod's own queue or Redis; receive, by a gap in a publisher's sequence or age"),
            slow_consumer_disconnects: make.metric("carillon_slow_consumer_disconnects", "Connections closed because they read too slowly"),
            fleet_pods: make.metric("carillon_fleet_pods", "Pods of the fleet as far as this one knows; 0 without Redis"),
            quota_share_tenants: make.metric("carillon_quota_share_tenants", "Tenants whose limits this pod applies by an even share because Redis is away"),
            quota_evictions: make.metric("carillon_quota_evictions", "Connections closed because other pods took their places while this pod was cut off"),
            delivery_latency_seconds: make.histogram("carillon_delivery_latency", "From publish to the hand-over to the last local member", Unit::Seconds),
            adapter_published: make.metric("carillon_adapter_published", "Messages handed to Redis for other pods"),
            adapter_received: make.metric("carillon_adapter_received", "Messages received from other pods"),
            redis_up: make.metric("carillon_redis_up", "1 while Redis answers"),
            config_age_seconds: make.metric("carillon_config_age_seconds", "Seconds since the operator was last heard"),
            config_from_boot: make.metric(
                "carillon_config_from_boot",
                "1 while the server runs what it found when it started, and no operator has confirmed that",
            ),
            api_requests: make.metric("carillon_api_requests", "Requests to the HTTP API that were answered"),
            config_tenants: make.metric("carillon_config_tenants", "Tenants this pod runs"),
            certificate_reload_failures: make.metric(
                "carillon_certificate_reload_failures",
                "Times the admin port's certificates changed into something that can't be used",
            ),
            certificate_start: make.family(
                "carillon_admin_certificate_start_timestamp_seconds",
                "From when on a certificate of the admin port is valid: its own, or of the authorities in force the one that ends first",
            ),
            certificate_expiry: make.family(
                "carillon_admin_certificate_expiry_timestamp_seconds",
                "When a certificate of the admin port ends: its own, or of the authorities in force the one that ends first",
            ),
            labelled_tenants: Mutex::default(),
            registry,
        }
    }

    /// The text of `/metrics`, in the OpenMetrics format.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        encode(&mut text, &self.registry).expect("writing to a string can't fail");
        text
    }

    /// The metrics of one tenant, looked up once and kept with it.
    pub fn tenant(&self, tenant: &TenantId) -> TenantMetrics {
        let label = self.label(tenant);
        let labels = TenantLabel { tenant: label.clone() };
        TenantMetrics {
            connections: self.connections.get_or_create_owned(&labels),
            connections_limit: self.connections_limit.get_or_create_owned(&labels),
            rooms: self.rooms.get_or_create_owned(&labels),
            messages_received: self.messages_received.get_or_create_owned(&labels),
            messages_delivered: self.messages_delivered.get_or_create_owned(&labels),
            has_label: label != OTHER,
            label,
        }
    }

    /// Forgets the label of a tenant that is gone.
    pub fn forget(&self, tenant: &TenantId) {
        if !self.labelled_tenants.lock().expect("no panic under this lock").remove(tenant) {
            return;
        }
        let labels = TenantLabel { tenant: tenant.to_string() };
        self.connections.remove(&labels);
        self.connections_limit.remove(&labels);
        self.connects_retiring_key.remove(&labels);
        self.rooms.remove(&labels);
        self.messages_received.remove(&labels);
        self.messages_delivered.remove(&labels);
        for code in Code::ALL {
            for enforced in ["true", "false"] {
                self.quota_refusals.remove(&RefusalLabels { tenant: tenant.to_string(), code: code.as_str(), enforced });
            }
            self.connects.remove(&ConnectLabels { tenant: tenant.to_string(), result: code.as_str() });
            self.connections_ended.remove(&EndLabels { tenant: tenant.to_string(), code: code.as_str() });
        }
        self.connects.remove(&ConnectLabels { tenant: tenant.to_string(), result: "ok" });
    }

    /// Counts a connect. `tenant` is `None` when the token names no tenant that is configured here.
    pub fn connect(&self, tenant: Option<&TenantMetrics>, result: Result<(), Code>) {
        let tenant = tenant.map_or(OTHER, |tenant| &tenant.label).to_owned();
        let result = result.map_or_else(Code::as_str, |()| "ok");
        self.connects.get_or_create(&ConnectLabels { tenant, result }).inc();
    }

    /// Counts a connect by a token whose key is about to retire.
    pub fn connect_by_retiring_key(&self, tenant: &TenantMetrics) {
        self.connects_retiring_key.get_or_create(&TenantLabel { tenant: tenant.label.clone() }).inc();
    }

    /// Counts a connection that is ended for good.
    pub fn ended(&self, tenant: &TenantMetrics, code: Code) {
        self.connections_ended.get_or_create(&EndLabels { tenant: tenant.label.clone(), code: code.as_str() }).inc();
    }

    /// Counts a refusal after connect; not `enforced`, what would have been one.
    pub fn refusal(&self, tenant: &TenantMetrics, code: Code, enforced: bool) {
        let enforced = if enforced { "true" } else { "false" };
        self.quota_refusals.get_or_create(&RefusalLabels { tenant: tenant.label.clone(), code: code.as_str(), enforced }).inc();
    }

    /// How long a certificate of the admin port lasts.
    pub fn certificate(&self, certificate: &'static str, validity: Validity) {
        let label = CertificateLabel { certificate };
        self.certificate_start.get_or_create(&label).set(validity.not_before);
        self.certificate_expiry.get_or_create(&label).set(validity.not_after);
    }

    /// Counts messages between pods that this pod failed to send.
    pub fn lost_publishing(&self, messages: u64) {
        self.adapter_lost.get_or_create(&StageLabel { stage: "publish" }).inc_by(messages);
    }

    /// Counts messages between pods that never came, or came too late.
    pub fn lost_receiving(&self, messages: u64) {
        self.adapter_lost.get_or_create(&StageLabel { stage: "receive" }).inc_by(messages);
    }

    fn label(&self, tenant: &TenantId) -> String {
        let mut labelled = self.labelled_tenants.lock().expect("no panic under this lock");
        if labelled.contains(tenant) || (labelled.len() < Self::TENANTS_MAX && labelled.insert(tenant.clone())) {
            tenant.to_string()
        } else {
            OTHER.to_owned()
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The metrics of one tenant.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    label: String,
    /// False when it shares its label with other tenants: then a gauge can only count up and down.
    pub has_label: bool,
    /// Connections on this pod.
    pub connections: Gauge,
    /// The limit on them; -1 is unlimited.
    pub connections_limit: Gauge<i64, AtomicI64>,
    /// Rooms with members on this pod.
    pub rooms: Gauge,
    /// Messages received from clients.
    pub messages_received: Counter,
    /// Messages handed to connections.
    pub messages_delivered: Counter,
}

struct Maker<'a>(&'a mut Registry);

impl Maker<'_> {
    fn metric<M: prometheus_client::registry::Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    fn family<L, M>(&mut self, name: &str, help: &str) -> Family<L, M>
    where
        Family<L, M>: prometheus_client::registry::Metric + Clone + Default,
    {
        self.metric(name, help)
    }

    fn histogram(&mut self, name: &str, help: &str, unit: Unit) -> Histogram {
        let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let metric = Histogram::new(buckets);
        self.0.register_with_unit(name, help, unit, metric.clone());
        metric
    }
}
