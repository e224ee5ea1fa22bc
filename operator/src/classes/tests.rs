use carillon_tenant::RejectionCode;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::class;

fn connections(max: u32) -> Value {
    json!({"defaults": {"quotas": {"connections": {"max": max}}}})
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

fn labels(tier: &str) -> Labels {
    [("tier".to_owned(), tier.to_owned())].into()
}

fn names(keys: BTreeSet<ObjectKey>) -> Vec<String> {
    keys.into_iter().map(|key| key.name.clone()).collect()
}

/// Tenants of namespace `n`: `g1` and `g2` name the class gold, `s` names standard, `none` names no class.
fn with_tenants() -> Classes {
    let mut classes = Classes::default();
    for (name, asked) in [("g1", Some("gold")), ("g2", Some("gold")), ("s", Some("standard")), ("none", None)] {
        classes.link(&key("n", name), asked);
    }
    classes
}

/// The class that `asked` comes to, or the reason why there is none.
fn chosen(classes: &Classes, asked: Option<&str>) -> String {
    match classes.choose(&key("n", "t"), asked) {
        Some(Ok(Some(class))) => class.name.clone(),
        Some(Ok(None)) => "built-in".to_owned(),
        Some(Err(rejection)) => rejection.code.reason().as_str().to_owned(),
        None => "waits".to_owned(),
    }
}

#[test]
fn a_change_of_a_class_concerns_exactly_its_tenants() {
    let mut classes = with_tenants();
    assert_eq!(chosen(&classes, Some("gold")), "ClassNotFound");
    assert_eq!(names(classes.apply(class("gold", 1, false, &connections(5)))), ["g1", "g2"]);
    assert_eq!(chosen(&classes, Some("gold")), "gold");
    assert!(classes.apply(class("gold", 1, false, &connections(5))).is_empty(), "it says the same");
    assert_eq!(names(classes.apply(class("gold", 1, false, &connections(6)))), ["g1", "g2"]);
    assert!(classes.apply(class("silver", 1, false, &connections(6))).is_empty(), "nobody names it");
    classes.unlink(&key("n", "g1"), Some("gold"));
    assert_eq!(names(classes.remove("gold")), ["g2"]);
    assert_eq!(chosen(&classes, Some("gold")), "ClassNotFound");
}

#[test]
fn the_oldest_default_class_is_that_of_tenants_that_name_none() {
    let mut classes = with_tenants();
    assert_eq!(chosen(&classes, None), "built-in");
    assert_eq!(names(classes.apply(class("standard", 2, true, &connections(5)))), ["none", "s"]);
    assert!(classes.apply(class("late", 3, true, &connections(6))).is_empty());
    assert_eq!(classes.facts("late").unwrap().older_default.as_deref(), Some("standard"));
    classes.take_touched();
    assert_eq!(names(classes.apply(class("early", 1, true, &connections(7)))), ["none"]);
    assert_eq!(chosen(&classes, None), "early");
    assert_eq!(classes.take_touched().into_iter().collect::<Vec<_>>(), ["early", "late", "standard"], "each says who is it now");
    assert_eq!(names(classes.apply(class("early", 1, false, &connections(7)))), ["none"], "the annotation was taken off");
    assert_eq!(chosen(&classes, None), "standard");
    assert_eq!(names(classes.apply(class("standard", 2, true, &connections(9)))), ["none", "s"]);
    assert_eq!(names(classes.remove("standard")), ["none", "s"]);
    assert_eq!(chosen(&classes, None), "late");
    assert_eq!(names(classes.remove("late")), ["none"]);
    assert_eq!(chosen(&classes, None), "built-in");
}

#[test]
fn a_class_that_stops_being_valid_keeps_what_it_said() {
    let broken = json!({"defaults": {"quotas": {"connections": {"max": 9}}}, "ceilings": {"quotas": {"connections": {"max": 5}}}});
    let mut classes = with_tenants();
    assert_eq!(names(classes.apply(class("gold", 1, false, &broken))), ["g1", "g2"]);
    assert_eq!(chosen(&classes, Some("gold")), "ClassInvalid");
    assert!(!classes.facts("gold").unwrap().in_force);
    assert_eq!(names(classes.apply(class("gold", 1, false, &connections(5)))), ["g1", "g2"]);
    for bad in [broken, json!({"ceilings": {"quotas": {"rooms": {"max": "all"}}}})] {
        assert!(classes.apply(class("gold", 1, false, &bad)).is_empty());
        let facts = classes.facts("gold").unwrap();
        assert!(facts.in_force && facts.problems[0].code == RejectionCode::Invalid, "{facts:?}");
        assert_eq!(chosen(&classes, Some("gold")), "gold");
    }
    assert!(classes.apply(class("gold", 1, false, &connections(5))).is_empty());
    assert!(classes.facts("gold").unwrap().problems.is_empty());
    // Another object of that name says nothing that was ever good.
    assert_eq!(names(classes.apply(class("gold", 2, false, &json!({"defaults": 7})))), ["g1", "g2"]);
    assert_eq!(chosen(&classes, Some("gold")), "ClassInvalid");
}

#[test]
fn a_namespace_concerns_tenants_of_classes_that_ask_for_labels() {
    let mut classes = with_tenants();
    classes.link(&key("m", "elsewhere"), Some("gold"));
    classes.apply(class("standard", 1, true, &json!({})));
    classes.apply(class("gold", 1, false, &json!({"allowedNamespaces": {"matchLabels": {"tier": "gold"}}})));
    assert_eq!(chosen(&classes, Some("gold")), "waits", "nobody is refused for labels that were not seen");
    assert_eq!(chosen(&classes, None), "standard");
    assert_eq!(names(classes.namespace_seen("n", labels("tin"))), ["g1", "g2"]);
    assert_eq!(chosen(&classes, Some("gold")), "NamespaceNotAllowed");
    assert!(classes.namespace_seen("n", labels("lead")).is_empty(), "still not allowed");
    assert_eq!(names(classes.namespace_seen("n", labels("gold"))), ["g1", "g2"]);
    assert_eq!(chosen(&classes, Some("gold")), "gold");
    assert!(classes.namespace_seen("n", labels("gold")).is_empty());
    classes.namespace_gone("n");
    assert_eq!(classes.namespaces().count(), 0);
}

#[test]
fn a_class_counts_its_tenants_and_the_default_those_that_name_none() {
    let mut classes = with_tenants();
    classes.apply(class("gold", 1, false, &json!({})));
    classes.apply(class("standard", 1, true, &json!({})));
    let counts = |classes: &Classes| ["gold", "standard"].map(|name| classes.facts(name).unwrap().tenants);
    assert_eq!(counts(&classes), [2, 2]);
    classes.take_touched();
    classes.unlink(&key("n", "none"), None);
    assert_eq!(classes.take_touched().into_iter().collect::<Vec<_>>(), ["standard"]);
    classes.link(&key("n", "none"), Some("gold"));
    assert_eq!((counts(&classes), classes.take_touched().len()), ([3, 1], 1));
}
