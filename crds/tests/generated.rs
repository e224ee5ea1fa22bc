//! Holds the generated YAML and the examples against the Rust types.

use std::path::Path;

use carillon_crds::{DEFAULT_CLASS_ANNOTATION, RealtimeTenant, RealtimeTenantClass, definitions};
use kube::CustomResourceExt;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_definitions_are_generated_from_the_types() {
    for (name, yaml) in definitions() {
        for folder in ["", "../charts/carillon/files/crds"] {
            let path = root().join(folder).join(name);
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(written, yaml, "{} is stale: run `make generate`", path.display());
        }
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
            Some("object") if schema.get("additionalProperties").is_some() && schema.get("maxProperties").is_none() => {
                unbounded.push(path.to_owned());
            }
            _ => {}
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, unbounded);
        }
        for (sign, of) in [("[]", "items"), ("{}", "additionalProperties")] {
            if let Some(inner) = schema.get(of) {
                walk(&format!("{path}{sign}"), inner, unbounded);
            }
        }
    }
    let mut unbounded = Vec::new();
    for definition in [RealtimeTenant::crd(), RealtimeTenantClass::crd()] {
        let definition = serde_json::to_value(definition).unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        walk(&format!("{} spec", definition["spec"]["names"]["kind"]), spec, &mut unbounded);
    }
    assert!(unbounded.is_empty(), "unbounded: {unbounded:?}");
}

#[test]
fn the_examples_are_of_these_types() {
    let (mut tenants, mut defaults) = (0, 0);
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        for document in std::fs::read_to_string(&path).unwrap().split("\n---\n") {
            if document.contains("kind: RealtimeTenantClass\n") {
                let class: RealtimeTenantClass =
                    serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                defaults += usize::from(class.metadata.annotations.is_some_and(|all| all[DEFAULT_CLASS_ANNOTATION] == "true"));
            }
            if document.contains("kind: RealtimeTenant\n") {
                let tenant: RealtimeTenant = serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                assert!(!tenant.spec.auth.jwt.keys.is_empty() || tenant.spec.auth.generate.is_some());
                tenants += 1;
            }
        }
    }
    assert!(tenants >= 2 && defaults == 1);
}
