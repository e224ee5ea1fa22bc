//! `RealtimeTenantClass`: what a platform team grants to many tenants at once.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClassAuthDefaults, ConnectionQuotaSpec, EgressQuotaSpec, MessageQuotaSpec, NamespaceSelector, PublishQuotaSpec, QuotaSpec,
    RealtimeTenantClassStatus, RoomQuotaSpec,
};

/// The annotation that makes a class, with the value `true`, that of tenants that name none. Of several the oldest is it.
pub const DEFAULT_CLASS_ANNOTATION: &str = "carillon.dev/is-default-class";

/// The fleet of tenants whose class names none, and of those that are under no class.
pub const DEFAULT_FLEET: &str = "default";

/// What tenants of this class get when they say nothing, what they may ask for, and where they may stand.
#[expect(clippy::duplicated_attributes, reason = "several columns are of the same type")]
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "carillon.dev",
    version = "v1alpha1",
    kind = "RealtimeTenantClass",
    plural = "realtimetenantclasses",
    shortname = "rttc",
    category = "carillon",
    status = "RealtimeTenantClassStatus",
    derive = "PartialEq",
    doc = "A class of tenants of the Carillon real-time platform: the quotas they get, the most they may ask for, the namespaces they may stand in, and the fleet that carries them.",
    printcolumn(name = "Default", type_ = "string", json_path = r".metadata.annotations.carillon\.dev/is-default-class"),
    printcolumn(name = "Fleet", type_ = "string", json_path = ".spec.fleet"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(name = "Accepted", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Accepted")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeTenantClassSpec {
    /// What a tenant gets that says nothing.
    #[serde(default)]
    pub defaults: ClassDefaults,
    /// The most that a tenant may ask for.
    #[serde(default)]
    pub ceilings: ClassCeilings,
    /// The namespaces whose tenants may use this class, by their labels. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<NamespaceSelector>,
    /// The fleet of server pods that carries its tenants, so that noisy ones get a fleet of their own. Another value moves them: they are
    /// programmed there before the fleet they come from lets them go.
    #[serde(default = "default_fleet")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub fleet: String,
}

impl Default for RealtimeTenantClassSpec {
    fn default() -> Self {
        Self { defaults: ClassDefaults::default(), ceilings: ClassCeilings::default(), allowed_namespaces: None, fleet: default_fleet() }
    }
}

fn default_fleet() -> String {
    DEFAULT_FLEET.to_owned()
}

/// What a tenant gets that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassDefaults {
    /// Quotas. What is absent takes the default that stands with the field, or the ceiling where that is lower.
    #[serde(default)]
    pub quotas: QuotaSpec,
    /// Who may connect.
    #[serde(default)]
    pub auth: ClassAuthDefaults,
}

/// The most that a tenant may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassCeilings {
    /// Quotas. A tenant that asks for more is not accepted; `Unlimited` is more than any number. What is absent has no ceiling.
    #[serde(default)]
    pub quotas: QuotaCeilingSpec,
}

/// The most that may be asked for, limit by limit. The fields are those of a tenant's quotas; here they have no default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaCeilingSpec {
    /// Connections.
    #[serde(default)]
    pub connections: ConnectionQuotaSpec,
    /// Rooms.
    #[serde(default)]
    pub rooms: RoomQuotaSpec,
    /// What clients send.
    #[serde(default)]
    pub messages: MessageQuotaSpec,
    /// What is published over the HTTP API.
    #[serde(default)]
    pub publish: PublishQuotaSpec,
    /// What is delivered to clients.
    #[serde(default)]
    pub egress: EgressQuotaSpec,
}

impl From<QuotaCeilingSpec> for QuotaSpec {
    fn from(ceilings: QuotaCeilingSpec) -> Self {
        let QuotaCeilingSpec { connections, rooms, messages, publish, egress } = ceilings;
        Self { connections, rooms, messages, publish, egress, enforcement: None }
    }
}
