//! Holds the generated YAML and the examples against the Rust types.

use std::path::Path;

use carillon_crds::{RealtimeTenant, realtime_tenant_definition_yaml};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_definition_is_generated_from_the_types() {
    for path in ["realtimetenants.yaml", "../charts/carillon/files/crds/realtimetenants.yaml"] {
        let written = std::fs::read_to_string(root().join(path)).unwrap();
        assert_eq!(written, realtime_tenant_definition_yaml(), "crds/{path} is stale: run `make generate`");
    }
}

/// A schema whose strings, lists or maps are unbounded makes the API server refuse its CEL rules, sooner or later.
#[test]
fn every_list_and_string_of_the_spec_is_bounded() {
    fn walk(path: &str, schema: &serde_json::Value, unbounded: &mut Vec<String>) {
        match schema["type"].as_str() {
            Some("string") if schema.get("maxLength").is_none() && schema.get("enum").is_none() && schema.get("format").is_none() => {
                unbounded.push(path.to_owned());
            }
            Some("array") if schema.get("maxItems").is_none() => unbounded.push(path.to_owned()),
            _ => {}
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, unbounded);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{path}[]"), items, unbounded);
        }
    }
    use kube::CustomResourceExt;
    let definition = serde_json::to_value(RealtimeTenant::crd()).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut unbounded = Vec::new();
    walk("spec", spec, &mut unbounded);
    assert!(unbounded.is_empty(), "unbounded: {unbounded:?}");
}

#[test]
fn the_examples_are_of_these_types() {
    let mut tenants = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        for document in std::fs::read_to_string(&path).unwrap().split("\n---\n") {
            if document.contains("kind: RealtimeTenant") {
                let tenant: RealtimeTenant = serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(!tenant.spec.auth.jwt.keys.is_empty());
                tenants += 1;
            }
        }
    }
    assert!(tenants >= 2);
}
