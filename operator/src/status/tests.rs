use carillon_crds::{KeyStatus, SigningAlgorithm};
use carillon_tenant::RejectionCode;

use super::*;
use crate::{
    acks::Trouble,
    fixtures::{id, usage, version},
};

fn facts() -> Facts {
    Facts {
        generation: 3,
        conflict: None,
        problems: Vec::new(),
        readable: true,
        pause: None,
        synced: None,
        suspended: false,
        version: Some("3-00000001".to_owned()),
        kept: false,
        effective: None,
        key_report: None,
        fleet: FleetName::default(),
        moving_from: BTreeSet::new(),
        pods: vec![("server-0".to_owned(), Standing::Programmed), ("server-1".to_owned(), Standing::Programmed)],
        usage: None,
        generates: false,
        generated: None,
    }
}

fn with(standing: Standing) -> Facts {
    Facts { pods: vec![("server-0".to_owned(), Standing::Programmed), ("server-1".to_owned(), standing)], ..facts() }
}

fn problem(code: RejectionCode) -> Rejection {
    Rejection { code, field: "spec.auth.jwt.keys[0].secretKeyRef".to_owned(), message: "is wrong".to_owned() }
}

fn refused() -> Standing {
    Standing::Rejected(carillon_tenant::push::Rejected {
        tenant_id: id("acme"),
        config_version: version("3-00000001"),
        code: RejectionCode::Invalid,
        field: "spec.quotas".to_owned(),
        message: "too much".to_owned(),
    })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn conditions_follow_from_the_facts() {
    // Accepted, ResolvedRefs, Programmed, Ready, and the summary.
    type Expected = ([&'static str; 4], Option<&'static str>);
    let cases: Vec<(&str, Facts, Expected)> = vec![
        ("all is well", facts(), (["True/Accepted", "True/ResolvedRefs", "True/Programmed", "True/Ready"], Some("2/2"))),
        (
            "suspended",
            Facts { suspended: true, ..facts() },
            (["True/Accepted", "True/ResolvedRefs", "True/Programmed", "True/Suspended"], Some("2/2")),
        ),
        (
            "one pod behind",
            with(Standing::Pending),
            (["True/Accepted", "True/ResolvedRefs", "False/Pending", "False/Pending"], Some("1/2")),
        ),
        (
            "one pod out of reach",
            with(Standing::Trouble(Trouble::Unreachable)),
            (["True/Accepted", "True/ResolvedRefs", "False/Pending", "False/Pending"], Some("1/2")),
        ),
        ("one pod refuses", with(refused()), (["True/Accepted", "True/ResolvedRefs", "False/Rejected", "False/Rejected"], Some("1/2"))),
        (
            "no pods",
            Facts { pods: Vec::new(), ..facts() },
            (["True/Accepted", "True/ResolvedRefs", "False/NoServers", "False/NoServers"], Some("0/0")),
        ),
        (
            "Secret gone, last good in force",
            Facts { problems: vec![problem(RejectionCode::SecretNotFound)], ..facts() },
            (["True/Accepted", "False/SecretNotFound", "True/Programmed", "False/SecretNotFound"], Some("2/2")),
        ),
        (
            "invalid from the start",
            Facts { problems: vec![problem(RejectionCode::Invalid)], version: None, pods: Vec::new(), ..facts() },
            (["False/Invalid", "True/ResolvedRefs", "False/NotCompiled", "False/Invalid"], None),
        ),
        (
            "beyond its class, last good in force",
            Facts { problems: vec![problem(RejectionCode::ExceedsClass)], ..facts() },
            (["False/ExceedsClass", "True/ResolvedRefs", "True/Programmed", "False/ExceedsClass"], Some("2/2")),
        ),
        (
            "without its class from the start",
            Facts { problems: vec![problem(RejectionCode::ClassNotFound)], version: None, pods: Vec::new(), ..facts() },
            (["False/ClassNotFound", "True/ResolvedRefs", "False/NotCompiled", "False/ClassNotFound"], None),
        ),
        (
            "not readable, last good in force",
            Facts { problems: vec![problem(RejectionCode::Invalid)], readable: false, ..facts() },
            (["False/Invalid", "Unknown/Invalid", "True/Programmed", "False/Invalid"], Some("2/2")),
        ),
        (
            "paused",
            Facts { pause: Some(Pause::InForce), ..facts() },
            (["True/Accepted", "True/ResolvedRefs", "True/Programmed", "True/Paused"], Some("2/2")),
        ),
        (
            "changed while it is paused",
            Facts { pause: Some(Pause::Behind), ..facts() },
            (["Unknown/Paused", "Unknown/Paused", "True/Programmed", "False/Paused"], Some("2/2")),
        ),
        (
            "another holds the id",
            Facts { conflict: Some("held by n/older".to_owned()), ..facts() },
            (["False/Conflicted", "True/ResolvedRefs", "False/Conflicted", "False/Conflicted"], None),
        ),
    ];
    for (name, facts, (conditions, summary)) in cases {
        let status = status(&facts, None, at(0));
        let found: Vec<_> = status.conditions.iter().map(|condition| format!("{}/{}", condition.status, condition.reason)).collect();
        assert_eq!(found, conditions, "{name}");
        assert_eq!(status.fleet.as_ref().map(|fleet| fleet.summary.as_str()), summary, "{name}");
        assert_eq!(status.config_version.is_some(), summary.is_some(), "{name}");
        assert_eq!(status.observed_generation, Some(3), "{name}");
    }
}

#[test]
fn nothing_moves_without_a_change() {
    let first = status(&with(Standing::Pending), None, at(10));
    assert_eq!(status(&with(Standing::Pending), Some(&first), at(99)), first);
    let second = status(&facts(), Some(&first), at(20));
    let times = |status: &RealtimeTenantStatus| {
        status.conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect::<Vec<_>>()
    };
    assert_eq!(times(&second), [10, 10, 20, 20]);
    // Another generation and reason, the same status: no transition.
    let third = status(&Facts { generation: 4, suspended: true, ..facts() }, Some(&second), at(30));
    assert_eq!(times(&third), [10, 10, 20, 20]);
    assert_ne!(third, second);
}

#[test]
fn effective_quotas_stay_with_the_version_that_holds_them() {
    let quotas = |class: &str| Some(EffectiveStatus { class_name: Some(class.to_owned()), ..EffectiveStatus::default() });
    let first = status(&Facts { effective: quotas("gold"), ..facts() }, None, at(0));
    assert_eq!(first.effective, quotas("gold"));
    let kept = status(&Facts { kept: true, ..facts() }, Some(&first), at(1));
    assert_eq!(kept.effective, quotas("gold"), "nothing but the version is known after a restart");
    assert_eq!(status(&Facts { effective: quotas("tin"), ..facts() }, Some(&first), at(1)).effective, quotas("tin"));
    assert_eq!(status(&Facts { version: None, ..facts() }, Some(&first), at(1)).effective, None);
}

#[test]
fn the_last_sync_stays_told() {
    let first = status(&Facts { synced: Some("once".to_owned()), ..facts() }, None, at(0));
    assert_eq!(first.observed_sync.as_deref(), Some("once"));
    assert_eq!(status(&facts(), Some(&first), at(1)), first);
    let second = status(&Facts { synced: Some("twice".to_owned()), ..facts() }, Some(&first), at(1));
    assert_eq!(second.observed_sync.as_deref(), Some("twice"));
}

#[test]
fn use_is_told_at_its_pace_and_saturation_at_once() {
    let using = |connections| Facts { usage: Some(usage(connections, 0, 0)), ..facts() };
    let saturated = |status: &RealtimeTenantStatus| {
        find(status, ConditionType::QuotaSaturated).map(|condition| format!("{}/{}", condition.status, condition.reason))
    };
    let connections = |status: &RealtimeTenantStatus| status.usage.as_ref().map(|usage| usage.connections);
    let unknown = status(&facts(), None, at(0));
    assert_eq!((connections(&unknown), saturated(&unknown)), (None, None), "nothing is known yet");
    let first = status(&using(500), Some(&unknown), at(0));
    assert_eq!((connections(&first), saturated(&first).as_deref()), (Some(500), Some("False/WithinLimits")));
    assert_eq!(status(&using(900), Some(&first), at(5)), first, "too soon");
    assert_eq!(status(&using(510), Some(&first), at(99)), first, "too little");
    assert_eq!(status(&facts(), Some(&first), at(99)), first, "not known any more");
    assert_eq!(connections(&status(&using(900), Some(&first), at(30))), Some(900));
    let full = status(&using(1000), Some(&first), at(5));
    assert_eq!((connections(&full), saturated(&full).as_deref()), (Some(1000), Some("True/ConnectionsMax")));
    assert_eq!(find(&full, ConditionType::Ready).unwrap().status, "True", "a tenant at its limit is ready");
    let changed = status(&Facts { generation: 4, ..using(510) }, Some(&first), at(5));
    assert_eq!(connections(&changed), Some(510), "what is written anyway tells the newest");
    let conflicted = status(&Facts { conflict: Some("held".to_owned()), ..using(5) }, Some(&full), at(99));
    assert_eq!((connections(&conflicted), saturated(&conflicted)), (None, None), "the use is another's");
}

#[test]
fn fetched_keys_are_told_with_what_is_wrong_with_them() {
    let stale = Rejection {
        code: RejectionCode::JwksStale,
        field: "spec.auth.jwt.jwks[0].url".to_owned(),
        message: "https://id/ can't be fetched any more".to_owned(),
    };
    let key = KeyStatus { kid: None, algorithm: SigningAlgorithm::RS256, source: "https://id/".to_owned(), not_after: None };
    let with = |stale: &[Rejection], notes: &[&str]| {
        let notes = notes.iter().map(|note| (*note).to_owned()).collect();
        Facts { key_report: Some(KeyReport { keys: vec![key.clone()], stale: stale.to_vec(), notes }), ..facts() }
    };
    let noted = status(&with(&[], &["https://id/: key \"a\" skipped: x"]), None, at(0));
    let condition = find(&noted, ConditionType::ResolvedRefs).unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.message.as_str()),
        ("True", "Every reference was found. https://id/: key \"a\" skipped: x.")
    );
    assert_eq!(noted.keys.len(), 1);
    let told = status(&with(&[stale], &[]), Some(&noted), at(1));
    let reasons = |kind| find(&told, kind).map(|condition| format!("{}/{}", condition.status, condition.reason)).unwrap();
    assert_eq!(
        (reasons(ConditionType::ResolvedRefs).as_str(), reasons(ConditionType::Programmed).as_str()),
        ("False/JwksStale", "True/Programmed")
    );
    assert_eq!(status(&facts(), Some(&told), at(2)).keys, told.keys, "kept while nothing is known but the version");
}

#[test]
fn laggards_are_the_first_five_by_name_and_messages_name_none_of_them() {
    let pods = (0..9).rev().map(|index| (format!("server-{index}"), Standing::Pending)).collect();
    let status = status(&Facts { pods, ..facts() }, None, at(0));
    let fleet = status.fleet.unwrap();
    assert_eq!((fleet.eligible, fleet.programmed, fleet.rejected), (9, 0, 0));
    let names: Vec<_> = fleet.lagging.iter().map(|lagging| lagging.pod.as_str()).collect();
    assert_eq!(names, ["server-0", "server-1", "server-2", "server-3", "server-4"]);
    assert!(status.conditions.iter().all(|condition| !condition.message.contains("server-")));
}

#[test]
fn every_problem_is_told_and_the_message_stays_bounded() {
    let two = Facts { problems: vec![problem(RejectionCode::SecretInvalid), problem(RejectionCode::SecretNotFound)], ..facts() };
    let told = status(&two, None, at(0));
    let condition = find(&told, ConditionType::ResolvedRefs).unwrap();
    assert_eq!(condition.reason, "SecretInvalid");
    assert_eq!(condition.message.matches("spec.auth.jwt.keys[0].secretKeyRef: is wrong").count(), 2);
    let many = Facts { problems: vec![problem(RejectionCode::Invalid); 100], ..facts() };
    assert!(status(&many, None, at(0)).conditions.iter().all(|condition| condition.message.len() <= MESSAGE_BYTES_MAX));
}

#[test]
fn generated_keys_are_told_and_a_rotation_once_it_is_done() {
    let told = |rotation: &str, observed: Option<&str>| -> GeneratedStatus {
        serde_json::from_value(serde_json::json!({"secretName": "acme-carillon", "rotation": rotation, "observedRotation": observed}))
            .unwrap()
    };
    let next = |generates, generated, previous: Option<&RealtimeTenantStatus>| {
        status(&Facts { generates, generated, ..facts() }, previous, Timestamp::UNIX_EPOCH)
    };
    let first = next(true, Some(told("Settled", Some("once"))), None);
    let announcing = next(true, Some(told("Announcing", None)), Some(&first));
    assert_eq!(announcing.generated, Some(told("Announcing", Some("once"))), "the Secret still holds the keys of before");
    let done = next(true, Some(told("Overlapping", Some("twice"))), Some(&announcing));
    assert_eq!(done.generated, Some(told("Overlapping", Some("twice"))));
    assert_eq!(next(true, None, Some(&done)).generated, done.generated, "nothing is known yet");
    assert_eq!(next(false, None, Some(&done)).generated, None);
}
