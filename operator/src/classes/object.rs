//! What the operator keeps of a `RealtimeTenantClass`, whether or not its spec can be read.

use carillon_crds::{DEFAULT_CLASS_ANNOTATION, RealtimeTenantClassSpec, RealtimeTenantClassStatus};
use carillon_tenant::Rejection;
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::object::read_spec;

/// A `RealtimeTenantClass` as it was last seen.
#[derive(Clone, Debug)]
pub struct ClassObject {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`: another object of the same name is another class.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`: moves with the spec.
    pub generation: i64,
    /// `metadata.creationTimestamp`: of several default classes the oldest is it.
    pub created: Timestamp,
    /// True when it asks to be the default class.
    pub wants_default: bool,
    /// The spec, or why it can't be read.
    pub spec: Result<RealtimeTenantClassSpec, Rejection>,
    /// The status, when there is one that can be read.
    pub status: Option<RealtimeTenantClassStatus>,
}

impl From<DynamicObject> for ClassObject {
    fn from(object: DynamicObject) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        let wants_default = metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CLASS_ANNOTATION));
        Self {
            wants_default: wants_default.is_some_and(|value| value == "true"),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.map_or(Timestamp::MIN, |time| time.0),
            spec: read_spec(data.get_mut("spec").map_or(Value::Null, Value::take)),
            status: data.get_mut("status").map(Value::take).and_then(|status| serde_json::from_value(status).ok()),
        }
    }
}
