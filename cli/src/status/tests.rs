//! What is shown, held against files. `UPDATE_GOLDEN=1 cargo test -p carillon-cli` rewrites them.

use std::path::Path;

use carillon_tenant::report::FleetReport;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/status").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 3,
           "lastTransitionTime": if status == "True" { "2026-11-20T11:00:00Z" } else { "2026-11-23T11:55:00Z" }})
}

/// A tenant all of whose conditions are well, but `other` ones.
fn tenant(full_name: &str, other: &[Value], status: Value) -> Tenant {
    let (namespace, name) = full_name.split_once('/').unwrap();
    let conditions = ["Accepted", "ResolvedRefs", "Programmed", "Ready"].map(|kind| {
        let found = other.iter().find(|condition| condition["type"] == kind);
        found.cloned().unwrap_or_else(|| condition(kind, "True", kind, "All is well."))
    });
    let mut all = json!({"observedGeneration": 3, "configVersion": "3-00000003", "conditions": conditions,
                         "fleet": {"summary": "3/3", "eligible": 3, "programmed": 3, "rejected": 0}});
    all.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "carillon.dev/v1alpha1", "kind": "RealtimeTenant", "spec": {}, "status": all,
        "metadata": {"name": name, "namespace": namespace, "generation": 3},
    });
    Tenant::read(serde_json::from_value::<DynamicObject>(object).unwrap())
}

fn well(full_name: &str) -> Tenant {
    tenant(full_name, &[], json!({}))
}

/// What an operator tells of three pods, of which one is cut off, and of `tenants`.
fn fleet(tenants: &Value) -> Fleet {
    let pod = |name: &str| json!({"name": name, "uid": name, "ready": true, "state": "OK", "heardSeconds": 4, "bootId": "b"});
    let mut cut = pod("server-b");
    cut["state"] = json!("TROUBLED");
    cut["error"] = json!("can't be reached");
    cut["errorSeconds"] = json!(300);
    cut["heardSeconds"] = json!(312);
    let report = json!({
        "reportVersion": 1, "replica": "operator-0", "leads": true, "position": {"epoch": 3, "seq": 17},
        "pods": [pod("server-a"), cut, pod("server-c")], "tenants": tenants,
    });
    let mut fleet = Fleet::unknown(String::new());
    fleet.add(serde_json::from_value::<FleetReport>(report).unwrap());
    fleet
}

fn in_sync(id: &str) -> Value {
    json!({"tenantId": id, "version": "3-00000003", "synced": 3})
}

/// A fleet with one tenant of every kind.
fn troubled() -> (Vec<Tenant>, Fleet) {
    let refused = "spec.quotas.rooms.max: this server can't hold as many";
    let pending = [condition("Programmed", "False", "Pending", "Some server pods have not acknowledged configVersion yet.")];
    let tenants = vec![
        well("team-a/well"),
        tenant("team-a/stale", &pending, json!({})),
        tenant("team-b/refused", &[condition("Programmed", "False", "Rejected", refused)], json!({})),
        tenant("team-b/new", &pending, json!({})),
        tenant(
            "team-b/mistaken",
            &[condition("Accepted", "False", "Invalid", "spec.auth.jwt: no key")],
            json!({"fleet": null, "configVersion": null}),
        ),
        tenant("team-c/second", &[condition("Accepted", "False", "Conflicted", "Tenant id \"well\" is held by team-a/well.")], json!({})),
        tenant(
            "team-c/outgrown",
            &[condition("Accepted", "False", "ExceedsClass", "spec.quotas.rooms.max: 9 is more than the class allows")],
            json!({}),
        ),
        tenant("team-c/asleep", &[condition("Ready", "True", "Suspended", "Suspended by spec.suspended.")], json!({})),
    ];
    let cell = |pod: usize, state: &str, version: Option<&str>, error: Option<&str>| json!({"pod": pod, "state": state, "version": version, "seconds": version.map(|_| 90_000), "error": error});
    let away = Some("can't be reached");
    let fleet = fleet(&json!([
        in_sync("well"),
        {"tenantId": "stale", "version": "3-00000003", "synced": 2, "cells": [cell(1, "STALE", Some("2-00000002"), away)]},
        {"tenantId": "refused", "version": "3-00000003", "synced": 0, "cells": [
            cell(0, "REJECTED", Some("2-00000002"), Some(refused)), cell(1, "STALE", Some("2-00000002"), away), cell(2, "REJECTED", None, Some(refused))]},
        {"tenantId": "new", "version": "3-00000003", "synced": 2, "cells": [cell(1, "NEVER", None, away)]},
        in_sync("outgrown"),
        in_sync("asleep"),
    ]));
    (tenants, fleet)
}

fn text(tenants: Vec<Tenant>, fleet: Fleet, all: bool) -> String {
    summary::summary(&Table::new(tenants, fleet, None, now()), all, "carillon", Paint::Plain)
}

#[test]
fn every_kind_of_trouble_is_shown_the_worst_first() {
    let (tenants, fleet) = troubled();
    let table = Table::new(tenants, fleet, None, now());
    assert!(!table.is_in_sync());
    golden("troubled.txt", &summary::summary(&table, false, "carillon", Paint::Plain));
    golden("troubled.json", &json::json(&table, false));
}

#[test]
fn of_several_fleets_it_is_told_which_carries_a_tenant() {
    let pod = |name: &str, fleet: &str| json!({"name": name, "uid": name, "fleet": fleet, "ready": true, "state": "OK", "heardSeconds": 4});
    let report = json!({
        "reportVersion": 1, "replica": "operator-0", "leads": true,
        "pods": [pod("noisy-a", "noisy"), pod("server-a", "default"), pod("server-b", "default")],
        "tenants": [
            {"tenantId": "loud", "version": "3-00000003", "fleet": "noisy", "synced": 1},
            {"tenantId": "moving", "version": "3-00000003", "fleet": "noisy", "movingFrom": ["default"], "synced": 1},
            {"tenantId": "quiet", "version": "3-00000003", "synced": 2},
        ],
    });
    let mut fleet = Fleet::unknown(String::new());
    fleet.add(serde_json::from_value::<FleetReport>(report).unwrap());
    let tenants = ["team-a/loud", "team-a/moving", "team-a/quiet"].map(well).to_vec();
    golden("fleets.txt", &text(tenants, fleet, false));
}

#[test]
fn a_large_fleet_stays_readable() {
    let mut tenants: Vec<_> = (0..10_000).map(|number| well(&format!("team-{:03}/tenant-{number:05}", number / 100))).collect();
    let mut told: Vec<_> = tenants.iter().map(|tenant| in_sync(&tenant.tenant_id)).collect();
    let mut large = fleet(&json!([]));
    large.pods = (0..100)
        .map(|number| carillon_tenant::report::PodReport { name: format!("server-{number:03}"), ..large.pods[0].clone() })
        .collect();
    for tenant in &mut told {
        tenant["synced"] = json!(100);
    }
    tenants[4711] = tenant("team-047/tenant-04711", &[condition("Programmed", "False", "Pending", "…")], json!({}));
    told[4711]["synced"] = json!(99);
    told[4711]["cells"] = json!([{"pod": 7, "state": "STALE", "version": "2-00000002", "seconds": 60}]);
    let report = json!({"reportVersion": 1, "replica": "operator-0", "leads": true, "position": {"epoch": 3, "seq": 18},
                        "pods": large.pods, "tenants": told});
    large.add(serde_json::from_value(report).unwrap());
    golden("large.txt", &text(tenants.clone(), large.clone(), false));
    let well: Vec<_> = tenants.iter().filter(|tenant| tenant.name != "tenant-04711").cloned().collect();
    golden("large-and-well.txt", &text(well, large.clone(), false));
    assert_eq!(text(tenants, large, true).lines().count(), 10_108, "every line, when they are asked for");
}

#[test]
fn without_the_operator_the_resources_tell_what_they_know() {
    let lagging = json!({"fleet": {"summary": "1/3", "eligible": 3, "programmed": 1, "rejected": 0, "lagging": [
        {"pod": "server-b", "reason": "can't be reached", "since": "2026-11-23T11:50:00Z"},
        {"pod": "server-c", "reason": "can't be reached", "since": "2026-11-23T11:50:00Z"}]}});
    let refused = json!({"fleet": {"summary": "2/3", "eligible": 3, "programmed": 2, "rejected": 1, "lagging": [
        {"pod": "server-b", "reason": "refused spec.quotas", "since": "2026-11-23T11:50:00Z"}]}});
    let tenants = vec![
        well("team-a/well"),
        tenant("team-a/stale", &[condition("Programmed", "False", "Pending", "Some pods …")], lagging),
        tenant("team-a/refused", &[condition("Programmed", "False", "Rejected", "A pod …")], refused),
        tenant("team-a/homeless", &[condition("Programmed", "False", "NoServers", "There is no server pod.")], json!({"fleet": null})),
    ];
    let why = "pods is forbidden: User \"ada\" cannot list resource \"pods\" in API group \"\" in the namespace \"carillon\"";
    golden("resources.txt", &text(tenants, Fleet::unknown(why.to_owned()), false));
}

#[test]
fn one_tenant_is_told_in_depth() {
    let status = json!({
        "effective": {"className": "standard", "quotas": [
            {"field": "connections.max", "value": 1000, "source": "Tenant"},
            {"field": "egress.bytesPerSecond", "value": "Unlimited", "source": "BuiltIn"},
            {"field": "enforcement", "value": "Enforce", "source": "Class"}]},
        "usage": {"summary": "412/1000", "connections": 412, "users": 300, "rooms": 12, "messagesPerSecond": 80, "observedAt": "2026-11-23T11:59:48Z"},
        "keys": [{"kid": "2026-11", "algorithm": "HS256", "source": "Secret/acme-jwt", "notAfter": "2027-01-01T00:00:00Z"}, {"algorithm": "ES256", "source": "https://id.acme.example"}],
    });
    let pending = condition("Programmed", "False", "Pending", "Some server pods have not acknowledged configVersion yet.");
    let acme = tenant("team-acme/acme", &[pending], status);
    let cell = |pod: usize, state: &str, version: &str| json!({"pod": pod, "state": state, "version": version, "seconds": 300});
    let mut cut = cell(1, "STALE", "2-00000002");
    cut["error"] = json!("can't be reached");
    let cells = json!([cell(0, "SYNCED", "3-00000003"), cut, cell(2, "SYNCED", "3-00000003")]);
    let told = json!([{"tenantId": "acme", "version": "3-00000003", "synced": 2, "cells": cells}]);
    let table = Table::new(vec![acme], fleet(&told), None, now());
    golden("depth.txt", &depth::depth(&table, &table.tenants[0], now(), Paint::Plain));
    golden("depth.json", &json::json(&table, true));
}

#[test]
fn one_pod_and_some_states_can_be_asked_for() {
    let (tenants, mut fleet) = troubled();
    // With a pod, every tenant tells of it.
    for standing in fleet.tenants.values_mut() {
        standing.cells.retain(|cell| *cell.pod == *"server-b");
        if standing.cells.is_empty() {
            let version = standing.version.clone();
            standing.cells.push(fleet::Cell { pod: "server-b".into(), state: CellState::Synced, version, seconds: Some(5), error: None });
        }
    }
    let mut table = Table::new(tenants, fleet, Some("server-b"), now());
    assert_eq!(table.pods.len(), 1);
    table.keep_states(&[CellState::Stale]);
    let shown: Vec<_> = table.tenants.iter().map(|line| (line.tenant.full_name(), line.synced, line.eligible)).collect();
    let expected = [("team-a/stale", 0, 1), ("team-b/refused", 0, 1), ("team-c/outgrown", 1, 1)]
        .map(|(name, synced, all)| (name.to_owned(), synced, all));
    assert_eq!(shown, expected);
}

#[test]
fn what_waiting_waits_for_is_what_the_resource_says_now() {
    assert!(well("n/a").is_in_sync());
    let behind = Tenant { generation: 4, ..well("n/a") };
    assert!(!behind.is_in_sync() && behind.obstacle().unwrap().contains("has not looked at it yet"));
    assert!(!Tenant { deleting: true, ..well("n/a") }.is_in_sync());
    let mistaken =
        tenant("n/a", &[condition("Accepted", "False", "Invalid", "spec.x"), condition("Ready", "False", "Invalid", "spec.x")], json!({}));
    assert!(!mistaken.is_in_sync() && mistaken.mistake().is_some());
    assert!(Tenant { generation: 4, ..mistaken }.mistake().is_none(), "that was another generation");
    let waiting = tenant("n/a", &[condition("ResolvedRefs", "False", "SecretNotFound", "spec.x")], json!({}));
    assert!(waiting.mistake().is_none(), "a Secret may come");
}

#[test]
fn a_tenant_is_found_by_its_names_and_never_guessed() {
    let all = || vec![well("team-a/acme"), well("team-b/acme"), Tenant { tenant_id: "globex-id".to_owned(), ..well("team-b/globex") }];
    let found = |name| choose(all(), Some(name)).map(|found| found[0].full_name()).map_err(|error| error.to_string());
    assert_eq!((found("globex"), found("globex-id")), (Ok("team-b/globex".to_owned()), Ok("team-b/globex".to_owned())));
    assert!(found("acme").unwrap_err().contains("team-a/acme, team-b/acme"));
    assert!(found("nobody").unwrap_err().contains("\"nobody\""));
}
