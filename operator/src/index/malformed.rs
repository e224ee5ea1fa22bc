//! Objects that nobody should be able to write, as an older definition or one without a schema lets through.

use kube::{api::DynamicObject, runtime::watcher::Event};
use serde_json::{Value, json};

use crate::{
    fixtures::{resolve_all, spec},
    health::Readiness,
    index::Index,
    metrics::Outcome,
    object::TenantObject,
    watches::{Listing, Seen},
};

const SECRET: Option<&str> = Some("0123456789abcdef0123456789abcdef");

/// What may stand beside `metadata`.
fn contents() -> Vec<Value> {
    let with_id = |spec: Value| {
        let mut with_id = json!({"tenantId": "mine"});
        with_id.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({"spec": with_id})
    };
    vec![
        json!({}),
        json!({"spec": null}),
        json!({"spec": "a text"}),
        json!({"spec": [1, 2]}),
        json!({"spec": {}}),
        with_id(json!({"auth": null})),
        with_id(json!({"auth": {"jwt": {"keys": "none"}}})),
        with_id(json!({"auth": {"jwt": {"keys": [{"algorithm": "none"}]}}})),
        with_id(json!({"auth": {"jwt": {"keys": []}}, "quotas": {"connections": {"max": -1}}})),
        with_id(json!({"auth": {"jwt": {"keys": []}}, "quotas": {"connections": {"max": 1.5e300}}})),
        json!({"spec": {"tenantId": {"deep": [{"deeper": 1}]}}}),
        json!({"spec": {"tenantId": "no spaces"}}),
        json!({"spec": {"tenantId": "x".repeat(10_000)}}),
        json!({"spec": spec("other"), "status": "a text"}),
        json!({"spec": spec("other"), "status": {"conditions": [{"type": 7}], "configVersion": []}}),
        json!({"spec": spec("other"), "unknown": {"to": "everyone"}}),
    ]
}

fn object(name: &str, content: &Value, annotations: &Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant",
        "metadata": {
            "name": name, "namespace": "n", "uid": format!("uid-{name}"), "generation": 1, "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations,
        },
    });
    object.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

#[test]
fn no_object_stalls_the_watch_or_another_tenant() {
    let readiness = Readiness::default();
    let mut listing = Listing::<String>::new("RealtimeTenants", readiness.clone());
    let mut index = Index::default();
    let annotations = [
        json!({}),
        json!({"carillon.dev/paused": "maybe", "carillon.dev/sync": "é".repeat(10_000)}),
        json!({"carillon.dev/paused": "true"}),
    ];
    let malformed = contents().into_iter().flat_map(|content| annotations.clone().map(|annotations| (content.clone(), annotations)));
    let malformed: Vec<_> =
        malformed.enumerate().map(|(number, (content, annotations))| object(&format!("bad-{number}"), &content, &annotations)).collect();
    let good = object("good", &json!({"spec": spec("good")}), &json!({}));
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap();
    let events = [Event::Init]
        .into_iter()
        .chain(malformed.clone().into_iter().map(Event::InitApply))
        .chain([Event::InitApply(good), Event::InitDone]);
    for event in events.chain(malformed.into_iter().map(Event::Apply)) {
        match listing.follow(Ok(event), name) {
            Seen::Applied(object) => index.apply(TenantObject::from(object)),
            Seen::Listed(listed) => assert_eq!(listed.len(), contents().len() * annotations.len() + 1),
            Seen::Deleted(_) | Seen::Nothing => {}
        }
    }
    assert!(readiness.is_ready(), "everything was listed");
    assert!(resolve_all(&mut index, SECRET).contains(&Some(Outcome::Changed)));
    let runs: Vec<_> = index.desired().0.into_keys().map(|id| id.to_string()).collect();
    assert_eq!(runs, ["good", "other"]);
    for key in index.keys() {
        let entry = index.get(key).unwrap();
        assert!(entry.compiled() || entry.pause().is_some(), "{key} has something to tell in its status");
        assert!(entry.good.is_some() || entry.pause().is_some() || !entry.problems.is_empty(), "{key} says what is wrong");
    }
}
