//! The kinds that mean something here, by their schemas.
//!
//! Those of our own resources are the generated ones, so a field that is added to one of them is known here, too.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// Kinds whose objects are in no namespace.
pub const CLUSTER_SCOPED: [&str; 2] = ["RealtimeTenantClass", "Namespace"];

/// The schema of `RealtimeTenant`, with metadata as strict as `kubectl` is about it.
pub static REALTIME_TENANT: LazyLock<Value> = LazyLock::new(|| of_definition(&carillon_crds::realtime_tenant_definition_yaml()));

/// The schema of `RealtimeTenantClass`, likewise.
pub static REALTIME_TENANT_CLASS: LazyLock<Value> =
    LazyLock::new(|| of_definition(&carillon_crds::realtime_tenant_class_definition_yaml()));

/// The schema of a `Namespace`, of which only the labels matter.
pub static NAMESPACE: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "type": "object",
        "required": ["metadata"],
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"metadata": metadata()},
    })
});

fn of_definition(yaml: &str) -> Value {
    let definition: Value = serde_saphyr::from_str(yaml).expect("our own YAML can be read");
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = metadata();
    require(&mut schema, "metadata");
    schema
}

/// The schema of a `Secret`.
pub static SECRET: LazyLock<Value> = LazyLock::new(|| {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}, "nullable": true});
    json!({
        "type": "object",
        "required": ["metadata"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": metadata(),
            "data": texts,
            "stringData": texts,
            "type": {"type": "string"},
            "immutable": {"type": "boolean", "nullable": true},
        },
    })
});

fn metadata() -> Value {
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}, "nullable": true});
    let name = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    json!({
        "type": "object",
        "required": ["name"],
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": name},
            "namespace": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
            "labels": texts,
            "annotations": texts,
        },
    })
}

fn require(schema: &mut Value, field: &str) {
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(field.into());
    }
}
