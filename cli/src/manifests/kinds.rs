//! The kinds that mean something here, by their schemas.
//!
//! That of `RealtimeTenant` is the generated one, so a field that is added to the resource is known here, too.

use std::sync::LazyLock;

use serde_json::{Value, json};

/// The schema of `RealtimeTenant`, with metadata as strict as `kubectl` is about it.
pub static REALTIME_TENANT: LazyLock<Value> = LazyLock::new(|| {
    let definition: Value = serde_saphyr::from_str(&carillon_crds::realtime_tenant_definition_yaml()).expect("our own YAML can be read");
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = metadata();
    require(&mut schema, "metadata");
    schema
});

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
