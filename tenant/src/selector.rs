//! Whether labels are selected, as Kubernetes itself decides it.

use std::collections::BTreeMap;

use carillon_crds::{LabelOperator, LabelRequirement, NamespaceSelector};

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// True when everything `selector` says holds of `labels`.
pub fn selects(selector: &NamespaceSelector, labels: &Labels) -> bool {
    let NamespaceSelector { match_labels, match_expressions } = selector;
    match_labels.iter().all(|(key, value)| labels.get(key) == Some(value)) && match_expressions.iter().all(|one| holds(one, labels))
}

fn holds(requirement: &LabelRequirement, labels: &Labels) -> bool {
    let LabelRequirement { key, operator, values } = requirement;
    let found = labels.get(key);
    let among = found.is_some_and(|found| values.contains(found));
    match operator {
        LabelOperator::In => among,
        LabelOperator::NotIn => !among,
        LabelOperator::Exists => found.is_some(),
        LabelOperator::DoesNotExist => found.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn selects_as_kubernetes_does() {
        let is = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
        let both = json!({"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]});
        let cases: [(Value, Value, bool); 16] = [
            (json!({}), json!({}), true),
            (json!({}), json!({"tier": "gold"}), true),
            (json!({"matchLabels": {"tier": "gold"}}), json!({"tier": "gold", "team": "a"}), true),
            (json!({"matchLabels": {"tier": "gold"}}), json!({"tier": "tin"}), false),
            (json!({"matchLabels": {"tier": "gold"}}), json!({}), false),
            (json!({"matchLabels": {"tier": "gold", "team": "a"}}), json!({"tier": "gold"}), false),
            (is("In", &["gold", "tin"]), json!({"tier": "tin"}), true),
            (is("In", &["gold", "tin"]), json!({"tier": "lead"}), false),
            (is("In", &["gold"]), json!({}), false),
            (is("NotIn", &["gold"]), json!({"tier": "gold"}), false),
            (is("NotIn", &["gold"]), json!({}), true),
            (is("Exists", &[]), json!({"tier": ""}), true),
            (is("Exists", &[]), json!({}), false),
            (is("DoesNotExist", &[]), json!({"tier": "tin"}), false),
            (both.clone(), json!({"team": "a", "tier": "tin"}), true),
            (both, json!({"team": "a"}), false),
        ];
        for (selector, labels, expected) in cases {
            let (typed, found) = (serde_json::from_value(selector.clone()).unwrap(), serde_json::from_value(labels.clone()).unwrap());
            assert_eq!(selects(&typed, &found), expected, "{selector} of {labels}");
        }
    }
}
