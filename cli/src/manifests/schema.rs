//! Values against the schema that the API server holds them to.
//!
//! Everything that is wrong is found at once, where deserialising would stop at the first error.

use std::collections::BTreeSet;

use carillon_crds::{LIMIT_MAX, Limit};
use regex::Regex;
use serde_json::{Map, Value};

use super::suggestion::nearest;

/// Known fields are listed in an error when there are at most so many.
const LISTED_FIELDS_MAX: usize = 8;
/// The form of a time (RFC 3339); whether there is such a day is seen when it is read.
const RFC_3339: &str = r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$";

/// One thing that is wrong with a value.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// Which field, as in `spec.auth.jwt.keys[0].kid`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// All that is wrong with `value`.
pub fn check(schema: &Value, value: &Value) -> Vec<SchemaError> {
    let mut errors = Errors(Vec::new());
    errors.check(schema, value, "");
    errors.0
}

struct Errors(Vec<SchemaError>);

impl Errors {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(SchemaError { field: field.to_owned(), message: message.into() });
    }

    fn check(&mut self, schema: &Value, value: &Value, field: &str) {
        if value.is_null() && (schema["nullable"] == true || !schema["default"].is_null()) {
            return;
        }
        // Every such field of ours is a limit.
        if schema["x-kubernetes-int-or-string"] == true {
            if serde_json::from_value::<Limit>(value.clone()).is_err() {
                self.add(field, format!("must be a whole number from 1 to {LIMIT_MAX} or the string Unlimited, found {}", describe(value)));
            }
            return;
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.check_object(schema, fields, field),
            (Some("array"), Value::Array(items)) => self.check_array(schema, items, field),
            (Some("string"), Value::String(text)) => self.check_string(schema, text, field),
            (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => self.check_number(schema, number, field),
            (Some("number"), Value::Number(number)) => self.check_number(schema, number, field),
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some("string"), Value::Number(_) | Value::Bool(_)) => {
                self.add(field, format!("must be text, found {}: put it in quotes", describe(value)));
            }
            (Some(wanted), found) => self.add(field, format!("must be {}, found {}", article(wanted), describe(found))),
        }
    }

    fn check_object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        let child = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in required.filter(|name| fields.get(*name).is_none_or(Value::is_null)) {
            self.add(&child(name), "is missing");
        }
        if let Some(max) = schema["maxProperties"].as_u64().filter(|max| fields.len() as u64 > *max) {
            self.add(path, format!("has {} fields; at most {max} are allowed", fields.len()));
        }
        let known = schema["properties"].as_object();
        for (name, value) in fields {
            match known.and_then(|known| known.get(name)) {
                Some(of_field) if !(value.is_null() && is_required(schema, name)) => self.check(of_field, value, &child(name)),
                Some(_) => {}
                None if schema["additionalProperties"].is_object() => self.check(&schema["additionalProperties"], value, &child(name)),
                None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
                None => self.add(&child(name), unknown_field(name, known)),
            }
        }
    }

    fn check_array(&mut self, schema: &Value, items: &[Value], field: &str) {
        let (min, max) = (schema["minItems"].as_u64().unwrap_or(0), schema["maxItems"].as_u64().unwrap_or(u64::MAX));
        if !(min..=max).contains(&(items.len() as u64)) {
            self.add(field, format!("has {} items; from {min} to {max} are allowed", items.len()));
        }
        let keys: Option<Vec<&str>> = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Some(Vec::new()),
            Some("map") => schema["x-kubernetes-list-map-keys"].as_array().map(|keys| keys.iter().filter_map(Value::as_str).collect()),
            _ => None,
        };
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{field}[{index}]");
            self.check(&schema["items"], item, &path);
            let Some(keys) = &keys else { continue };
            let identity = if keys.is_empty() { item.to_string() } else { keys.iter().map(|key| item[*key].to_string()).collect() };
            if !seen.insert(identity.clone()) {
                let path = keys.iter().fold(path, |path, key| format!("{path}.{key}"));
                self.add(&path, format!("{identity} stands twice"));
            }
        }
    }

    fn check_string(&mut self, schema: &Value, text: &str, field: &str) {
        let length = text.chars().count() as u64;
        let (min, max) = (schema["minLength"].as_u64().unwrap_or(0), schema["maxLength"].as_u64().unwrap_or(u64::MAX));
        if length == 0 && min > 0 {
            return self.add(field, "must not be empty");
        }
        if !(min..=max).contains(&length) {
            return self.add(field, format!("is {length} characters long; from {min} to {max} are allowed"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.iter().any(|allowed| allowed == text)
        {
            let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
            let meant = nearest(text, allowed.iter().copied()).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            return self.add(field, format!("{text:?} is none of {}{meant}", allowed.join(", ")));
        }
        if schema["format"] == "date-time" && Regex::new(RFC_3339).is_ok_and(|regex| !regex.is_match(text)) {
            return self.add(field, format!("{text:?} is no time: write it as in 2026-11-23T12:00:00Z"));
        }
        if let Some(pattern) = schema["pattern"].as_str()
            && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
        {
            self.add(field, format!("{text:?} does not match {pattern}"));
        }
    }

    fn check_number(&mut self, schema: &Value, number: &serde_json::Number, field: &str) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        let (min, max) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max) {
            return;
        }
        let range = match (min, max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (_, max) => format!("at most {}", max.unwrap_or(f64::INFINITY)),
        };
        self.add(field, format!("must be {range}, found {number}"));
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|required| required == name))
}

fn unknown_field(name: &str, known: Option<&Map<String, Value>>) -> String {
    let known: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("unknown field; did you mean {meant:?}?"),
        None if (1..=LISTED_FIELDS_MAX).contains(&known.len()) => format!("unknown field; known here: {}", known.join(", ")),
        None => "unknown field".to_owned(),
    }
}

fn article(kind: &str) -> &str {
    match kind {
        "object" => "a map of fields",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        other => other,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "a map of fields".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        // Never the whole of a text: it may be a secret.
        Value::String(text) if text.chars().count() > 20 => "text".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::kinds, *};

    fn errors(schema: &Value, value: &Value) -> Vec<String> {
        check(schema, value).into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    #[test]
    fn finds_everything_at_once() {
        let tenant = json!({
            "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "metadata": {"name": "Acme", "generation": 3},
            "spec": {
                "auth": {"jwt": {"keys": [{"kid": 2026, "algorithm": "hs256"}], "leewaySecond": 3, "issuer": null}, "apiKeys": [
                    {"name": "a", "secretKeyRef": {"name": "s", "key": "k"}, "permissions": ["Publish"]},
                    {"name": "a", "secretKeyRef": {"name": "s", "key": "k"}, "permissions": []},
                ]},
                "suspended": "yes",
                "quotas": {"connections": {"max": 0, "maxPerUser": "Unlimited"}, "messages": {"maxBytes": 1}, "rooms": null},
            },
        });
        let found = errors(&kinds::REALTIME_TENANT, &tenant).join("\n");
        for expected in [
            "metadata.name: \"Acme\" does not match",
            "spec.auth.jwt.keys[0].kid: must be text, found 2026: put it in quotes",
            "spec.auth.jwt.keys[0].algorithm: \"hs256\" is none of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; did you mean HS256?",
            "spec.auth.jwt.keys[0].secretKeyRef: is missing",
            "spec.auth.jwt.leewaySecond: unknown field; did you mean \"leewaySeconds\"?",
            "spec.auth.apiKeys[1].permissions: has 0 items; from 1 to 8 are allowed",
            "spec.auth.apiKeys[1].name: \"a\" stands twice",
            "spec.suspended: must be true or false, found the text \"yes\"",
            "spec.quotas.connections.max: must be a whole number from 1 to 2000000000 or the string Unlimited, found 0",
            "spec.quotas.messages.maxBytes: must be from 64 to 1048576, found 1",
        ] {
            assert!(found.contains(expected), "{expected}\nis not in\n{found}");
        }
        assert_eq!(found.lines().count(), 10, "{found}");
    }

    #[test]
    fn checks_classes() {
        let values: Map<String, Value> = (0..17).map(|number| (format!("label-{number}"), json!("x"))).collect();
        let class = json!({
            "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenantClass",
            "metadata": {"name": "standard", "annotations": {"carillon.dev/is-default-class": true}},
            "spec": {
                "defaults": {"quotas": {"enforcement": "dryRun"}},
                "ceilings": {"quotas": {"enforcement": "Enforce", "connections": {"max": "all"}}},
                "allowedNamespaces": {"matchLabels": values, "matchExpressions": [{"key": "tier", "operator": "Is", "values": ["a b"]}]},
                "fleet": "Noisy",
                "fleets": ["noisy"],
            },
        });
        let found = errors(&kinds::REALTIME_TENANT_CLASS, &class).join("\n");
        for expected in [
            "metadata.annotations.carillon.dev/is-default-class: must be text, found true: put it in quotes",
            "spec.defaults.quotas.enforcement: \"dryRun\" is none of Enforce, DryRun; did you mean DryRun?",
            "spec.ceilings.quotas.enforcement: unknown field; known here: connections, egress, messages, publish, rooms",
            "spec.ceilings.quotas.connections.max: must be a whole number from 1 to 2000000000 or the string Unlimited",
            "spec.allowedNamespaces.matchLabels: has 17 fields; at most 16 are allowed",
            "spec.allowedNamespaces.matchExpressions[0].operator: \"Is\" is none of In, NotIn, Exists, DoesNotExist",
            "spec.allowedNamespaces.matchExpressions[0].values[0]: \"a b\" does not match",
            "spec.fleet: \"Noisy\" does not match",
            "spec.fleets: unknown field",
        ] {
            assert!(found.contains(expected), "{expected}\nis not in\n{found}");
        }
        assert_eq!(found.lines().count(), 9, "{found}");
    }

    #[test]
    fn checks_secrets() {
        let secret = json!({"kind": "Secret", "metadata": {"name": "s"}, "stringdata": {"a": "b"}, "data": {"n": 7}});
        assert_eq!(
            errors(&kinds::SECRET, &secret),
            ["data.n: must be text, found 7: put it in quotes", "stringdata: unknown field; did you mean \"stringData\"?"]
        );
    }
}
