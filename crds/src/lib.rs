//! The contract with users: the `RealtimeTenant` resource as Rust types, the YAML generated from
//! them, and examples that are also the tests' fixtures and the default tenants of `carillon dev`.
//!
//! The types say what a user may write. What it means is decided by `carillon_tenant::compile`.

mod algorithm;
mod conditions;
mod limit;
mod status;
mod tenant;

pub use algorithm::SigningAlgorithm;
pub use conditions::{ConditionType, Reason};
pub use limit::{LIMIT_MAX, Limit, UNLIMITED};
pub use status::{FleetStatus, LaggingPod, RealtimeTenantStatus, UsageStatus};
pub use tenant::{
    ApiKeySpec, AuthSpec, ClaimNames, ConnectionQuotaSpec, EgressQuotaSpec, Enforcement, JwtKeySpec, JwtSpec, MessageQuotaSpec, Permission,
    PublishQuotaSpec, QuotaSpec, RealtimeTenant, RealtimeTenantSpec, RoomQuotaSpec, SecretKeyReference,
};

/// The API group of every Carillon resource.
pub const GROUP: &str = "carillon.dev";

/// The finalizer that lets the operator close a deleted tenant's sockets before the object goes.
pub const FINALIZER: &str = "carillon.dev/operator";

/// The YAML of the `RealtimeTenant` custom resource definition, as `crds/realtimetenants.yaml` holds it.
///
/// # Panics
///
/// Never in practice: a definition made of our own types always serialises.
pub fn realtime_tenant_definition_yaml() -> String {
    use kube::CustomResourceExt;
    let mut definition = RealtimeTenant::crd();
    definition.metadata.annotations = Some([("helm.sh/resource-policy".to_owned(), "keep".to_owned())].into_iter().collect());
    let value = serde_json::to_value(definition).expect("a definition serialises to JSON");
    let yaml = serde_saphyr::to_string(&value).expect("JSON serialises to YAML");
    format!("# Generated from crds/src by `make generate`; edit the Rust types instead.\n{yaml}")
}
