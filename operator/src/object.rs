//! What the operator keeps of a `RealtimeTenant`, whether or not its spec can be read.

use std::{fmt, ops::Deref, sync::Arc};

use carillon_crds::{
    FINALIZER, PAUSED_ANNOTATION, ROTATE_KEYS_ANNOTATION, RealtimeTenantSpec, RealtimeTenantStatus, SYNC_ANNOTATION, SYNC_BYTES_MAX,
};
use carillon_tenant::{Rejection, RejectionCode, TenantId, compile};
use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Namespace and name of a `RealtimeTenant`. Every table of tenants has one, so a copy is the same one, counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<ObjectName>);

/// What an [`ObjectKey`] holds.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// The key of the object of that name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self(Arc::new(ObjectName { namespace: namespace.into(), name: name.into() }))
    }
}

impl Deref for ObjectKey {
    type Target = ObjectName;

    fn deref(&self) -> &ObjectName {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A `RealtimeTenant` as it was last seen.
///
/// It is read from a dynamic object, so that one that this operator can't read neither stalls the watch nor is lost: its
/// metadata and its tenant id are always known.
#[derive(Clone, Debug)]
pub struct TenantObject {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.uid`: another object of the same name is another tenant.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`: moves with the spec.
    pub generation: i64,
    /// `metadata.creationTimestamp`: the oldest object holds a tenant id.
    pub created: Timestamp,
    /// `metadata.deletionTimestamp`.
    pub deleted: Option<Timestamp>,
    /// `metadata.finalizers`.
    pub finalizers: Vec<String>,
    /// By annotation: it stays as it is in force.
    pub paused: bool,
    /// By annotation: what its last sync was asked for with.
    pub sync: Option<String>,
    /// By annotation: what a rotation of its generated keys was asked for with.
    pub rotate: Option<String>,
    /// The tenant id it asks for, or why it can't have one.
    pub tenant_id: Result<TenantId, Rejection>,
    /// The spec, or why it can't be read.
    pub spec: Result<Arc<RealtimeTenantSpec>, Rejection>,
    /// The status, when there is one that can be read. The index takes it out.
    pub status: Option<Box<RealtimeTenantStatus>>,
}

impl TenantObject {
    /// True when the operator's finalizer stands on it.
    pub fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }
}

impl From<DynamicObject> for TenantObject {
    fn from(object: DynamicObject) -> Self {
        let DynamicObject { metadata, mut data, .. } = object;
        let name = metadata.name.unwrap_or_default();
        let annotation = |name| metadata.annotations.as_ref()?.get(name);
        let paused = annotation(PAUSED_ANNOTATION).is_some_and(|value| value == "true");
        let asked = |name| annotation(name).map(|value| value[..value.floor_char_boundary(SYNC_BYTES_MAX)].to_owned());
        let (sync, rotate) = (asked(SYNC_ANNOTATION), asked(ROTATE_KEYS_ANNOTATION));
        let status = data.get_mut("status").map(Value::take).and_then(|status| serde_json::from_value(status).ok());
        let spec = data.get_mut("spec").map_or(Value::Null, Value::take);
        let asked_id = spec.get("tenantId").and_then(Value::as_str).map(str::to_owned);
        let spec = read_spec::<RealtimeTenantSpec>(spec).map(Arc::new);
        let tenant_id = match &spec {
            Ok(spec) => compile::tenant_id(&name, spec),
            Err(rejection) => TenantId::new(asked_id.as_deref().unwrap_or(&name)).map_err(|_| rejection.clone()),
        };
        Self {
            key: ObjectKey::new(metadata.namespace.unwrap_or_default(), name),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.map_or(Timestamp::MIN, |time| time.0),
            deleted: metadata.deletion_timestamp.map(|time| time.0),
            finalizers: metadata.finalizers.unwrap_or_default(),
            paused,
            sync,
            rotate,
            tenant_id,
            spec,
            status,
        }
    }
}

/// Reads a spec.
///
/// # Errors
///
/// A [`Rejection`] of the first field that can't be read.
pub fn read_spec<T: DeserializeOwned>(spec: Value) -> Result<T, Rejection> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        Rejection { code: RejectionCode::Invalid, field, message: format!("can't be read: {}", error.into_inner()) }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> TenantObject {
        TenantObject::from(serde_json::from_value::<DynamicObject>(value).unwrap())
    }

    #[test]
    fn a_spec_that_cannot_be_read_still_has_metadata_and_an_id() {
        let object = read(json!({
            "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant",
            "metadata": {"name": "acme-object", "namespace": "team-acme", "uid": "u", "generation": 3},
            "spec": {"tenantId": "acme", "auth": {"jwt": {"keys": [{"algorithm": "none", "secretKeyRef": {"name": "a", "key": "b"}}]}}},
        }));
        let rejection = object.spec.unwrap_err();
        assert_eq!(rejection.field, "spec.auth.jwt.keys[0].algorithm");
        assert!(rejection.message.contains("unknown variant `none`"), "{rejection}");
        assert_eq!(object.tenant_id.unwrap().as_str(), "acme");
        assert_eq!((object.key.to_string().as_str(), object.generation), ("team-acme/acme-object", 3));
    }

    #[test]
    fn a_missing_spec_is_told_as_such() {
        let object = read(json!({
            "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "metadata": {"name": "acme", "namespace": "n"},
        }));
        assert_eq!(object.spec.unwrap_err().field, "spec");
        assert_eq!(object.tenant_id.unwrap().as_str(), "acme");
    }
}
