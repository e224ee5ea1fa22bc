//! Whether the custom resource definitions that are installed are those this operator was built with. No I/O; `check` asks.
//!
//! An older definition drops the fields it doesn't know without a word, from what users write as well as from what the operator reports:
//! a quota that is not enforced, a revocation that doesn't revoke. So an operator that lacks a field doesn't begin; in a rolling update
//! the one before, which fits, goes on. A newer definition does no harm: what it has more, this operator doesn't read.

mod check;

use std::fmt;

use carillon_crds::{RealtimeTenant, RealtimeTenantClass};
pub use check::agree;
use kube::{CustomResourceExt, Resource};
use serde_json::Value;

/// Fields named in one message.
const NAMED_MAX: usize = 10;

/// A definition that this operator needs.
#[derive(Debug)]
pub struct Needed {
    /// The name of the definition.
    pub name: &'static str,
    version: String,
    schema: Value,
}

/// In what an installed definition differs from the one needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// What is needed and not there.
    pub missing: Vec<String>,
    /// What is there and not known.
    pub unknown: Vec<String>,
}

/// Every definition that this operator needs.
pub fn needed() -> [Needed; 2] {
    [Needed::of::<RealtimeTenant>(), Needed::of::<RealtimeTenantClass>()]
}

impl Needed {
    fn of<K: CustomResourceExt + Resource<DynamicType = ()>>() -> Self {
        let version = K::version(&()).into_owned();
        let definition = serde_json::to_value(K::crd()).expect("a definition made of our own types serialises to JSON");
        let schema = find(&definition, &version).map(|version| version["schema"]["openAPIV3Schema"].clone()).unwrap_or_default();
        Self { name: K::crd_name(), version, schema }
    }

    /// In what `installed` differs.
    pub fn compare(&self, installed: &Value) -> Skew {
        let mut skew = Skew::default();
        let version = find(installed, &self.version).filter(|version| version["served"] == true);
        let Some(version) = version else {
            skew.missing.push(format!("version {}", self.version));
            return skew;
        };
        if version["subresources"]["status"].is_null() {
            skew.missing.push("the subresource status".to_owned());
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        lacking(&self.schema, schema, "", &mut skew.missing);
        lacking(schema, &self.schema, "", &mut skew.unknown);
        skew
    }
}

/// The version of that name.
fn find<'a>(definition: &'a Value, name: &str) -> Option<&'a Value> {
    definition["spec"]["versions"].as_array()?.iter().find(|version| version["name"] == name)
}

/// The fields of `wanted` that `schema` lacks; of those that are missing as a whole, only the outermost.
fn lacking(wanted: &Value, schema: &Value, path: &str, fields: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (name, property) in wanted["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match schema["properties"].get(name) {
            Some(there) => lacking(property, there, &path, fields),
            None => fields.push(path),
        }
    }
    for (kind, sign) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let (Some(wanted), Some(schema)) = (wanted.get(kind), schema.get(kind)) {
            lacking(wanted, schema, &format!("{path}{sign}"), fields);
        }
    }
}

/// A list of fields, the first of them by name.
pub struct Fields<'a>(pub &'a [String]);

impl fmt::Display for Fields<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", "))?;
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenants() -> (Needed, Value) {
        (Needed::of::<RealtimeTenant>(), serde_json::to_value(RealtimeTenant::crd()).unwrap())
    }

    fn properties<'a>(definition: &'a mut Value, pointer: &str) -> &'a mut serde_json::Map<String, Value> {
        let pointer = format!("/spec/versions/0/schema/openAPIV3Schema{pointer}/properties");
        definition.pointer_mut(&pointer).and_then(Value::as_object_mut).unwrap_or_else(|| panic!("no {pointer}"))
    }

    #[test]
    fn what_is_installed_from_this_version_fits() {
        for (needed, installed) in needed().iter().zip([RealtimeTenant::crd(), RealtimeTenantClass::crd()]) {
            assert_eq!(needed.compare(&serde_json::to_value(installed).unwrap()), Skew::default(), "{}", needed.name);
        }
        assert_eq!(needed().map(|needed| needed.name), ["realtimetenants.carillon.dev", "realtimetenantclasses.carillon.dev"]);
    }

    #[test]
    fn an_older_definition_lacks_fields_by_name() {
        let (needed, mut installed) = tenants();
        properties(&mut installed, "/properties/spec").remove("quotas").unwrap();
        properties(&mut installed, "/properties/spec/properties/auth/properties/jwt/properties/keys/items").remove("notAfter").unwrap();
        properties(&mut installed, "/properties/status").remove("observedSync").unwrap();
        let skew = needed.compare(&installed);
        assert_eq!(skew.missing, ["spec.auth.jwt.keys[].notAfter", "spec.quotas", "status.observedSync"]);
        assert!(skew.unknown.is_empty());
    }

    #[test]
    fn a_newer_definition_is_only_noted() {
        let (needed, mut installed) = tenants();
        properties(&mut installed, "/properties/spec/properties/auth").insert("passkeys".to_owned(), json!({"type": "object"}));
        installed["spec"]["versions"].as_array_mut().unwrap().insert(0, json!({"name": "v1", "served": true}));
        let skew = needed.compare(&installed);
        assert_eq!((skew.missing.len(), &skew.unknown[..]), (0, &["spec.auth.passkeys".to_owned()][..]));
    }

    #[test]
    fn a_version_that_is_not_served_and_a_status_without_its_own_path_are_missing() {
        let (needed, good) = tenants();
        let mut installed = good.clone();
        installed["spec"]["versions"][0]["served"] = json!(false);
        assert_eq!(needed.compare(&installed).missing, ["version v1alpha1"]);
        assert_eq!(needed.compare(&json!({})).missing, ["version v1alpha1"]);
        let mut installed = good.clone();
        installed["spec"]["versions"][0].as_object_mut().unwrap().remove("subresources");
        assert_eq!(needed.compare(&installed).missing, ["the subresource status"]);
        let mut installed = good;
        installed["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        assert_eq!(needed.compare(&installed), Skew::default(), "nothing is dropped");
    }

    #[test]
    fn many_fields_are_named_in_few_words() {
        let fields: Vec<_> = (0..12).map(|number| format!("f{number}")).collect();
        assert_eq!(Fields(&fields).to_string(), "f0, f1, f2, f3, f4, f5, f6, f7, f8, f9 and 2 more");
        assert_eq!(Fields(&fields[..2]).to_string(), "f0, f1");
    }
}
