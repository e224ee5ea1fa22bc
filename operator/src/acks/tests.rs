use carillon_tenant::{RejectionCode, TenantMessage};

use super::*;
use crate::{
    desired::Carried,
    fixtures::{applied, desired, digest_of, id, message, state},
};

fn rejected(message: &TenantMessage) -> Rejected {
    Rejected {
        tenant_id: message.tenant_id.clone(),
        config_version: message.config_version.clone(),
        code: RejectionCode::Invalid,
        field: "spec.x".to_owned(),
        message: "no".to_owned(),
    }
}

fn answer(boot_id: &str, runs: &[&TenantMessage], of_push: &[&TenantMessage], rejected: Vec<Rejected>) -> Answer {
    let runs: Vec<_> = runs.iter().map(|message| applied(message)).collect();
    Answer {
        boot_id: boot_id.to_owned(),
        digest: digest_of(&runs),
        applied: of_push.iter().map(|message| applied(message)).collect(),
        rejected,
    }
}

#[test]
fn plans_what_differs_and_nothing_else() {
    let (a1, a2, b1, c1) = (message("a", 1), message("a", 2), message("b", 1), message("c", 1));
    // What the pod runs, what it should run, what it may keep; the upserts and removals that follow.
    type Case<'a> = (&'a [&'a TenantMessage], &'a [TenantMessage], &'a [&'a str], &'a [&'a TenantMessage], &'a [&'a str]);
    let both = [a1.clone(), b1.clone()];
    let newer = [a2.clone(), b1.clone()];
    let cases: [Case<'_>; 6] = [
        (&[&a1, &b1], &both, &[], &[], &[]),
        (&[&a1, &b1], &newer, &[], &[&a2], &[]),
        (&[&a1], &both, &[], &[&b1], &[]),
        (&[&a1, &b1, &c1], &both, &[], &[], &["c"]),
        (&[&a1, &b1, &c1], &both, &["c"], &[], &[]),
        (&[&c1], &newer, &[], &[&a2, &b1], &["c"]),
    ];
    for (index, (runs, should, keep, upserts, removals)) in cases.into_iter().enumerate() {
        let ledger = Ledger::default();
        ledger.learn(state("boot", runs));
        match ledger.plan(&desired(should, keep)) {
            None => assert!(upserts.is_empty() && removals.is_empty(), "case {index}"),
            Some(Plan::Delta(delta)) => {
                assert_eq!(delta.upserts.iter().collect::<Vec<_>>(), upserts, "case {index}");
                assert_eq!(delta.removals.iter().map(TenantId::as_str).collect::<Vec<_>>(), removals, "case {index}");
                assert_eq!(delta.base_digest, state("boot", runs).digest, "case {index}");
            }
            Some(Plan::Snapshot) => panic!("case {index}: a programmed pod gets a delta"),
        }
    }
}

#[test]
fn a_pod_without_configuration_or_with_another_session_key_gets_a_snapshot() {
    let a1 = message("a", 1);
    let wanted = desired(std::slice::from_ref(&a1), &[]);
    let unprogrammed = State { programmed: false, fleet_digest: None, ..state("boot", &[]) };
    let other_key = State { fleet_digest: Some("other".to_owned()), ..state("boot", &[&a1]) };
    for state in [unprogrammed, other_key] {
        let ledger = Ledger::default();
        assert_eq!(ledger.plan(&wanted), None, "nothing is pushed to a pod that was not asked");
        ledger.learn(state);
        assert_eq!(ledger.plan(&wanted), Some(Plan::Snapshot));
    }
}

#[test]
fn a_pod_that_is_programmed_is_news_also_without_tenants() {
    let ledger = Ledger::default();
    ledger.learn(State { programmed: false, fleet_digest: None, ..state("boot", &[]) });
    assert_eq!(ledger.pod_state(), PodState::Unprogrammed);
    let touched = ledger.acknowledge(&desired(&[], &[]), &Plan::Snapshot, answer("boot", &[], &[], Vec::new())).unwrap();
    assert!(!touched.is_empty());
    assert_eq!(ledger.pod_state(), PodState::Programmed);
}

#[test]
fn a_refused_version_is_not_sent_again_and_the_last_good_one_stays_known() {
    let (a1, a2, a3, b1) = (message("a", 1), message("a", 2), message("a", 3), message("b", 1));
    let ledger = Ledger::default();
    ledger.learn(state("boot", &[&a1]));
    let wanted = desired(&[a2.clone(), b1.clone()], &[]);
    let plan = ledger.plan(&wanted).unwrap();
    let touched = ledger.acknowledge(&wanted, &plan, answer("boot", &[&a1, &b1], &[&b1], vec![rejected(&a2)])).unwrap();
    assert_eq!(touched, Touched::Only(vec![id("b"), id("a")]));
    assert_eq!(ledger.plan(&wanted), None);
    assert_eq!(ledger.standing(&id("a"), a2.config_version.as_str()), Standing::Rejected(rejected(&a2)));
    assert_eq!(ledger.standing(&id("a"), a1.config_version.as_str()), Standing::Programmed);
    assert_eq!(ledger.standing(&id("b"), b1.config_version.as_str()), Standing::Programmed);
    let mended = desired(&[a3.clone(), b1.clone()], &[]);
    assert!(matches!(ledger.plan(&mended), Some(Plan::Delta(delta)) if delta.upserts == [a3]));
}

#[test]
fn an_answer_that_does_not_fit_is_no_acknowledgement() {
    let (a1, a2, b1) = (message("a", 1), message("a", 2), message("b", 1));
    let wanted = desired(std::slice::from_ref(&a2), &[]);
    let cases = [
        ("another boot", answer("other", &[&a2], &[&a2], Vec::new()), Trouble::Conflict),
        ("silent about a tenant", answer("boot", &[&a1], &[], Vec::new()), Trouble::Malformed),
        ("another version", answer("boot", &[&a1], &[&a1], Vec::new()), Trouble::Malformed),
        ("runs something else, too", answer("boot", &[&a2, &b1], &[&a2], Vec::new()), Trouble::Malformed),
    ];
    for (name, answer, trouble) in cases {
        let ledger = Ledger::default();
        ledger.learn(state("boot", &[&a1]));
        let plan = ledger.plan(&wanted).unwrap();
        assert_eq!(ledger.acknowledge(&wanted, &plan, answer), Err(trouble), "{name}");
    }
}

#[test]
fn a_snapshot_removes_what_is_neither_wanted_nor_kept() {
    let (a1, b1, c1) = (message("a", 1), message("b", 1), message("c", 1));
    let ledger = Ledger::default();
    ledger.learn(State { fleet_digest: None, ..state("boot", &[&b1, &c1]) });
    let wanted = desired(std::slice::from_ref(&a1), &["b"]);
    let plan = ledger.plan(&wanted).unwrap();
    assert_eq!(plan, Plan::Snapshot);
    let touched = ledger.acknowledge(&wanted, &plan, answer("boot", &[&a1, &b1], &[&a1], Vec::new())).unwrap();
    assert_eq!(touched, Touched::Only(vec![id("c"), id("a")]));
    assert_eq!(ledger.plan(&wanted), None);
    assert_eq!(ledger.runs(&id("c")), Some(None));
    assert_eq!(ledger.runs(&id("b")), Some(Some(b1.config_version)));
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_once_and_what_was_acknowledged_still_counts() {
    let a1 = message("a", 1);
    let ledger = Ledger::default();
    let standing = || ledger.standing(&id("a"), a1.config_version.as_str());
    assert_eq!(standing(), Standing::Asking);
    assert_eq!(ledger.note(Trouble::Unreachable), Touched::All);
    assert!(ledger.note(Trouble::Unreachable).is_empty());
    assert_eq!(standing(), Standing::Starting, "it may not listen yet");
    tokio::time::advance(STARTING).await;
    assert_eq!(standing(), Standing::Trouble(Trouble::Unreachable));
    assert_eq!(ledger.learn(state("boot", &[])), Touched::All);
    assert_eq!(standing(), Standing::Pending);
    assert_eq!(ledger.learn(state("boot", &[&a1])), Touched::Only(vec![id("a")]));
    ledger.note(Trouble::TimedOut);
    assert_eq!(standing(), Standing::Programmed);
    assert!(ledger.agrees_with(&state("boot", &[&a1])));
    assert!(!ledger.agrees_with(&state("another", &[&a1])));
    assert!(!ledger.agrees_with(&state("boot", &[])));
}

#[test]
fn what_pods_answer_is_kept_once_for_all_of_them() {
    let (a1, b1) = (message("a", 1), message("b", 1));
    let wanted = desired(&[a1.clone(), b1.clone()], &[]);
    let (found, pushed) = (Ledger::default(), Ledger::default());
    found.learn(state("boot", &[&a1, &b1]));
    assert_eq!(found.plan(&wanted), None, "it runs all of it");
    pushed.learn(state("boot", &[&a1]));
    let plan = pushed.plan(&wanted).expect("it lacks one");
    pushed.acknowledge(&wanted, &plan, answer("boot", &[&a1, &b1], &[&b1], Vec::new())).unwrap();
    for (tenant, message) in &wanted.tenants {
        for ledger in [&found, &pushed] {
            let version = ledger.runs(tenant).flatten().expect("the pod runs it");
            assert_eq!(version.as_str().as_ptr(), message.config_version.as_str().as_ptr(), "{tenant}");
        }
    }
}

#[test]
fn whoever_hears_of_a_leader_first_hears_of_what_other_fleets_carry() {
    let [here, leaving, there] = ["here", "leaving", "there"].map(|tenant| message(tenant, 1));
    let carried: Carried = [&here, &leaving, &there].map(|message| (message.tenant_id.clone(), Arc::new(message.clone()))).into();
    let wanted = desired(std::slice::from_ref(&here), &["leaving"]).beside_others([id("leaving")].into(), Arc::new(carried));
    let elsewhere = Elsewhere::from([("tenant_id".to_owned(), vec![id("leaving"), id("there")])]);
    assert_eq!(wanted.elsewhere(), elsewhere, "what it keeps isn't served by whoever is new");
    assert_eq!(desired(std::slice::from_ref(&here), &[]).elsewhere(), Elsewhere::new(), "there is one fleet");

    // It runs what it should; what it was told by the leader before, or read when it started, may be old.
    let ledger = Ledger::default();
    ledger.learn(State { position: Position::default(), ..state("boot", &[&here]) });
    let plan = ledger.plan(&wanted).unwrap();
    assert!(matches!(&plan, Plan::Delta(delta) if delta.upserts.is_empty() && delta.elsewhere == elsewhere), "{plan:?}");
    ledger.acknowledge(&wanted, &plan, answer("boot", &[&here], &[], Vec::new())).unwrap();
    assert_eq!(ledger.plan(&wanted), None);
    // From then on it hears of what it loses.
    let next = desired(&[], &["leaving"]).beside_others([id("leaving")].into(), Arc::clone(&wanted.carried));
    assert!(matches!(ledger.plan(&next), Some(Plan::Delta(delta)) if delta.moved == [id("here")] && delta.elsewhere.is_empty()));
}
