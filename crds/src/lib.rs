//! The contract with users: the `RealtimeTenant` and `RealtimeTenantClass` resources as Rust types, the YAML generated from
//! them, and examples that are also the tests' fixtures and the default tenants of `carillon dev`.
//!
//! The types say what a user may write. What it means is decided by `carillon_tenant::compile`.

mod algorithm;
mod annotations;
mod class;
mod class_auth;
mod class_status;
mod conditions;
mod effective;
mod generate;
mod jwks;
mod limit;
mod revocation;
mod selector;
mod status;
mod tenant;

pub use algorithm::SigningAlgorithm;
pub use annotations::{PAUSED_ANNOTATION, ROTATE_KEYS_ANNOTATION, SYNC_ANNOTATION, SYNC_BYTES_MAX};
pub use class::{
    ClassCeilings, ClassDefaults, DEFAULT_CLASS_ANNOTATION, DEFAULT_FLEET, QuotaCeilingSpec, RealtimeTenantClass, RealtimeTenantClassSpec,
};
pub use class_auth::{ClassAuthDefaults, ClassJwtDefaults};
pub use class_status::RealtimeTenantClassStatus;
pub use conditions::{ConditionType, Reason};
pub use effective::{AuthField, EffectiveAuth, EffectiveQuota, EffectiveStatus, QuotaField, QuotaSource, QuotaValue};
pub use generate::{
    CREDENTIALS_SECRET_TYPE, GenerateApiKeySpec, GenerateJwtKeySpec, GenerateSpec, GeneratedAlgorithm, GeneratedStatus,
    OVERLAP_SECONDS_MAX, OVERLAP_SECONDS_MIN, RotationState, time_of,
};
pub use jwks::{JwksSpec, KeyStatus};
pub use limit::{LIMIT_MAX, Limit, UNLIMITED};
pub use revocation::{OnExpiry, REVOKED_TOKEN_IDS_MAX, REVOKED_USERS_MAX, RevocationSpec, TOKEN_ID_BYTES_MAX};
pub use selector::{LabelOperator, LabelRequirement, NamespaceSelector};
pub use status::{FleetStatus, LaggingPod, RealtimeTenantStatus, UsageStatus};
pub use tenant::{
    ApiKeySpec, AuthSpec, ClaimNames, ConnectionQuotaSpec, EgressQuotaSpec, Enforcement, JwtKeySpec, JwtSpec, MessageQuotaSpec, Permission,
    PublishQuotaSpec, QuotaSpec, RealtimeTenant, RealtimeTenantSpec, RoomQuotaSpec, SecretKeyReference,
};

/// The API group of every Carillon resource.
pub const GROUP: &str = "carillon.dev";

/// The finalizer that lets the operator close a deleted tenant's sockets before the object goes.
pub const FINALIZER: &str = "carillon.dev/operator";

/// Every definition: the name of its file in `crds/`, and its YAML.
pub fn definitions() -> [(&'static str, String); 2] {
    [("realtimetenants.yaml", realtime_tenant_definition_yaml()), ("realtimetenantclasses.yaml", realtime_tenant_class_definition_yaml())]
}

/// The YAML of the `RealtimeTenant` custom resource definition, as `crds/realtimetenants.yaml` holds it.
pub fn realtime_tenant_definition_yaml() -> String {
    yaml::<RealtimeTenant>()
}

/// The YAML of the `RealtimeTenantClass` custom resource definition, as `crds/realtimetenantclasses.yaml` holds it.
pub fn realtime_tenant_class_definition_yaml() -> String {
    yaml::<RealtimeTenantClass>()
}

fn yaml<K: kube::CustomResourceExt>() -> String {
    let mut definition = K::crd();
    definition.metadata.annotations = Some([("helm.sh/resource-policy".to_owned(), "keep".to_owned())].into_iter().collect());
    let value = serde_json::to_value(definition).expect("a definition made of our own types serialises to JSON");
    let yaml = serde_saphyr::to_string(&value).expect("JSON serialises to YAML");
    format!("# Generated from crds/src by `make generate`; edit the Rust types instead.\n{yaml}")
}
