use carillon_tenant::RejectionCode;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{id, object, resolve_all, spec};

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-02T00:00:00Z";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("n", name)
}

const GOOD: &str = "0123456789abcdef0123456789abcdef";

fn runs(index: &Index) -> Vec<(String, String)> {
    index.desired().0.into_iter().map(|(id, message)| (id.to_string(), message.config_version.to_string())).collect()
}

fn keeps(index: &Index) -> Vec<String> {
    index.desired().1.into_iter().map(|id| id.to_string()).collect()
}

fn deleted(mut object: TenantObject) -> TenantObject {
    object.deleted = Some(Timestamp::UNIX_EPOCH);
    object
}

fn with_status(mut object: TenantObject, reason: &str) -> TenantObject {
    object.status = serde_json::from_value(json!({
        "configVersion": "1-00000000",
        "conditions": [{"type": "Accepted", "status": "True", "reason": reason, "message": "", "lastTransitionTime": EARLY}],
    }))
    .unwrap();
    object
}

#[test]
fn the_oldest_object_is_desired_and_the_next_takes_over_when_it_is_deleted() {
    let mut index = Index::default();
    index.apply(object("young", LATE, 7, &spec("acme")));
    resolve_all(&mut index, Some(GOOD));
    index.apply(object("old", EARLY, 3, &spec("acme")));
    resolve_all(&mut index, Some(GOOD));
    assert!(runs(&index)[0].1.starts_with("3-"));
    assert!(index.holds(&key("old"), &id("acme")) && !index.holds(&key("young"), &id("acme")));
    index.take_changes();
    index.apply(deleted(object("old", EARLY, 4, &spec("acme"))));
    assert!(runs(&index)[0].1.starts_with("7-"));
    let changes = index.take_changes();
    assert!(changes.desired && changes.touched.contains(&key("young")));
    index.apply(object("youngest", "2026-01-03T00:00:00Z", 7, &spec("acme")));
    resolve_all(&mut index, Some(GOOD));
    index.apply(deleted(object("young", LATE, 7, &spec("acme"))));
    let changes = index.take_changes();
    assert!(!changes.desired, "the two say the same");
    assert!(changes.touched.contains(&key("youngest")), "which holds the id now");
    index.remove(&key("youngest"));
    assert!(runs(&index).is_empty() && keeps(&index).is_empty());
}

#[test]
fn what_stops_compiling_keeps_its_last_good_message() {
    let mut index = Index::default();
    index.apply(object("acme", EARLY, 1, &spec("acme")));
    assert_eq!(resolve_all(&mut index, Some(GOOD)), [Some(Outcome::Changed)]);
    let before = runs(&index);
    index.secret_seen("n", "keys", None);
    assert_eq!(resolve_all(&mut index, None), [Some(Outcome::Rejected)]);
    assert_eq!(runs(&index), before);
    assert!(!index.take_changes().desired);
    let entry = index.get(&key("acme")).unwrap();
    assert_eq!(entry.problems[0].code, RejectionCode::SecretNotFound);
    // A spec that can't be read is no reason to forget it, either.
    index.apply(object("acme", EARLY, 2, &json!({"tenantId": 7})));
    assert_eq!(runs(&index), before);
    assert_eq!(index.get(&key("acme")).unwrap().problems[0].field, "spec.tenantId");
    index.apply(object("acme", EARLY, 3, &spec("acme")));
    assert_eq!(resolve_all(&mut index, Some(GOOD)), [Some(Outcome::Changed)]);
    assert!(runs(&index)[0].1.starts_with("3-"));
}

#[test]
fn without_a_last_good_message_pods_keep_what_they_run_unless_it_was_anothers() {
    let unreadable: Value = json!({"tenantId": "acme", "auth": {}});
    let mut index = Index::default();
    index.apply(with_status(object("acme", EARLY, 1, &unreadable), "Invalid"));
    assert_eq!(keeps(&index), ["acme"]);
    assert_eq!(index.get(&key("acme")).unwrap().version(), Some("1-00000000"));

    let mut index = Index::default();
    index.apply(with_status(object("acme", EARLY, 1, &unreadable), "Conflicted"));
    assert!(keeps(&index).is_empty(), "what pods run came of the older object, which is gone");

    let mut index = Index::default();
    index.apply(object("old", EARLY, 1, &spec("acme")));
    resolve_all(&mut index, Some(GOOD));
    index.apply(object("young", LATE, 1, &unreadable));
    index.apply(deleted(object("old", EARLY, 2, &spec("acme"))));
    assert!(runs(&index).is_empty() && keeps(&index).is_empty());
}

#[test]
fn a_secret_resolves_its_users_anew_only_when_it_changed() {
    let mut index = Index::default();
    index.apply(object("acme", EARLY, 1, &spec("acme")));
    resolve_all(&mut index, Some(GOOD));
    let waiting = |index: &mut Index| index.take_changes().unresolved.len();
    index.secret_seen("n", "keys", Some(GOOD));
    index.secret_seen("n", "others", Some("5"));
    index.secret_seen("m", "keys", Some("5"));
    assert_eq!(waiting(&mut index), 0);
    index.secret_seen("n", "keys", Some("5"));
    assert_eq!(waiting(&mut index), 1);
    index.secrets_listed(&[("n".to_owned(), "keys".to_owned())].into());
    assert_eq!(waiting(&mut index), 0);
    index.secrets_listed(&HashSet::new());
    assert_eq!(waiting(&mut index), 1);
}

#[test]
fn a_result_for_an_older_generation_or_another_object_is_dropped() {
    let mut index = Index::default();
    index.apply(object("acme", EARLY, 1, &spec("acme")));
    let job = index.job(&key("acme")).unwrap();
    index.apply(object("acme", EARLY, 2, &spec("acme")));
    let resolution = || Resolution {
        fleet: carillon_tenant::FleetName::default(),
        secrets: SecretVersions::new(),
        outcome: Ok(crate::fixtures::message("acme", 1)),
        effective: EffectiveStatus::default(),
        key_report: KeyReport::default(),
        generated: None,
    };
    assert_eq!(index.resolved(&job, resolution()), None);
    let mut other = object("acme", LATE, 1, &spec("acme"));
    other.uid = "another".to_owned();
    index.apply(other);
    assert_eq!(index.resolved(&job, resolution()), None);
    assert!(runs(&index).is_empty());
}

#[test]
fn nothing_is_said_of_a_generation_before_it_was_compiled() {
    let mut index = Index::default();
    for generation in [1, 2] {
        index.apply(object("acme", EARLY, generation, &spec("acme")));
        assert!(!index.get(&key("acme")).unwrap().compiled(), "what pods run came of another generation");
        resolve_all(&mut index, Some(GOOD));
        assert!(index.get(&key("acme")).unwrap().compiled());
    }
    index.apply(object("acme", EARLY, 2, &spec("acme")));
    assert!(index.get(&key("acme")).unwrap().compiled(), "only its status or metadata changed");
    index.apply(object("acme", EARLY, 3, &json!({"tenantId": 7})));
    assert!(index.get(&key("acme")).unwrap().compiled(), "there is nothing to compile");
}

#[test]
fn an_echo_of_an_older_status_does_not_undo_what_was_written() {
    let mut index = Index::default();
    index.apply(object("acme", EARLY, 1, &spec("acme")));
    let status = with_status(object("acme", EARLY, 1, &spec("acme")), "Accepted").status.unwrap();
    index.status_written(&key("acme"), "uid-acme", *status.clone(), Some("9"));
    index.apply(object("acme", EARLY, 1, &spec("acme")));
    assert_eq!(index.get(&key("acme")).unwrap().status.as_ref(), Some(&status));
    let mut erased = object("acme", EARLY, 1, &spec("acme"));
    erased.resource_version = "10".to_owned();
    index.apply(erased);
    assert_eq!(index.get(&key("acme")).unwrap().status, None);
}
