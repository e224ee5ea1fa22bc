//! From what is known of a class to its status. Pure: the clock and the previous status are handed in.

use carillon_crds::{ConditionType, RealtimeTenantClassStatus, Reason};
use carillon_tenant::Rejection;
use k8s_openapi::jiff::Timestamp;

use crate::status::{Verdict, condition, summary};

/// What is known of a class.
#[derive(Clone, Debug)]
pub struct ClassFacts {
    /// The generation that was looked at.
    pub generation: i64,
    /// What keeps it from being used as it is now.
    pub problems: Vec<Rejection>,
    /// Why its tenants can't be carried, when its fleet is not there.
    pub fleet_problem: Option<String>,
    /// True when what it says, or once said, is in force.
    pub in_force: bool,
    /// True when tenants that name no class are under it.
    pub is_default: bool,
    /// The class that is the default in its place, although it asks to be it.
    pub older_default: Option<String>,
    /// How many tenants are under it.
    pub tenants: usize,
}

/// The status of a class. Equal to `previous` when nothing changed, so that nothing need be written.
pub fn status(facts: &ClassFacts, previous: Option<&RealtimeTenantClassStatus>, now: Timestamp) -> RealtimeTenantClassStatus {
    let kind = ConditionType::Accepted;
    let before = previous.and_then(|previous| previous.conditions.iter().find(|condition| condition.type_ == kind.as_str()));
    RealtimeTenantClassStatus {
        observed_generation: Some(facts.generation),
        tenants: i32::try_from(facts.tenants).unwrap_or(i32::MAX),
        conditions: vec![condition(kind, accepted(facts), facts.generation, before, now)],
    }
}

fn accepted(facts: &ClassFacts) -> Verdict {
    if let Some((reason, message)) = summary(facts.problems.iter()) {
        let then = if facts.in_force { "What the class said before stays in force" } else { "No tenant can be under this class" };
        return Verdict::new("False", reason, format!("{then}: {message}"));
    }
    if let Some(problem) = &facts.fleet_problem {
        return Verdict::new(
            "False",
            Reason::FleetNotFound,
            format!("Its tenants stay where they are, and no other can be under it: {problem}"),
        );
    }
    match &facts.older_default {
        Some(older) => {
            let message = format!("The resource is valid, but not the default class: the older RealtimeTenantClass {older:?} is.");
            Verdict::new("True", Reason::NotDefault, message)
        }
        None if facts.is_default => {
            Verdict::new("True", Reason::Accepted, "The resource is valid. Tenants that name no class are under this one.")
        }
        None => Verdict::new("True", Reason::Accepted, "The resource is valid."),
    }
}

#[cfg(test)]
mod tests {
    use carillon_tenant::RejectionCode;

    use super::*;

    fn facts() -> ClassFacts {
        ClassFacts {
            generation: 2,
            problems: Vec::new(),
            fleet_problem: None,
            in_force: true,
            is_default: false,
            older_default: None,
            tenants: 3,
        }
    }

    #[test]
    fn the_condition_follows_from_the_facts_and_nothing_moves_without_a_change() {
        let problem =
            Rejection { code: RejectionCode::Invalid, field: "spec.defaults.quotas.rooms.max".to_owned(), message: "is wrong".to_owned() };
        let broken = ClassFacts { problems: vec![problem], ..facts() };
        let cases = [
            (facts(), "True", "Accepted", "The resource is valid."),
            (
                ClassFacts { is_default: true, ..facts() },
                "True",
                "Accepted",
                "The resource is valid. Tenants that name no class are under this one.",
            ),
            (
                ClassFacts { older_default: Some("old".to_owned()), ..facts() },
                "True",
                "NotDefault",
                "The resource is valid, but not the default class: the older RealtimeTenantClass \"old\" is.",
            ),
            (
                ClassFacts { fleet_problem: Some("fleet \"x\" is not there; this operator serves: default".to_owned()), ..facts() },
                "False",
                "FleetNotFound",
                "Its tenants stay where they are, and no other can be under it: fleet \"x\" is not there; this operator serves: default",
            ),
            (broken.clone(), "False", "Invalid", "What the class said before stays in force: spec.defaults.quotas.rooms.max: is wrong"),
            (
                ClassFacts { in_force: false, ..broken },
                "False",
                "Invalid",
                "No tenant can be under this class: spec.defaults.quotas.rooms.max: is wrong",
            ),
        ];
        let at = |second| Timestamp::from_second(second).unwrap();
        for (facts, expected, reason, message) in cases {
            let first = status(&facts, None, at(10));
            let condition = &first.conditions[0];
            assert_eq!((condition.status.as_str(), condition.reason.as_str(), condition.message.as_str()), (expected, reason, message));
            assert_eq!((first.tenants, first.observed_generation), (3, Some(2)));
            assert_eq!(status(&facts, Some(&first), at(99)), first);
        }
    }
}
