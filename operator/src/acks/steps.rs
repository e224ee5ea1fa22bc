//! A pod that runs exactly the state before is brought to the next without a look at all tenants: that finds the same.

use std::collections::BTreeMap;

use carillon_tenant::{
    RejectionCode, TenantId, TenantMessage,
    push::{Answer, Applied, Rejected},
};

use super::{Ledger, Plan};
use crate::{
    desired::Desired,
    fixtures::{applied, desired, digest_of, id, message, state},
};

/// A pod that refuses every message of these tenants.
struct Pod {
    runs: BTreeMap<TenantId, TenantMessage>,
    refuses: &'static [&'static str],
}

impl Pod {
    fn answer(&mut self, plan: &Plan) -> Answer {
        let Plan::Delta(delta) = plan else { panic!("it is programmed") };
        assert_eq!(delta.base_digest, self.digest(), "it is on top of what the pod runs");
        let (mut accepted, mut rejected): (Vec<Applied>, _) = (Vec::new(), Vec::new());
        for message in &delta.upserts {
            let (tenant_id, config_version) = (message.tenant_id.clone(), message.config_version.clone());
            if self.refuses.contains(&tenant_id.as_str()) {
                let (code, field, message) = (RejectionCode::Invalid, "spec".to_owned(), "no".to_owned());
                rejected.push(Rejected { tenant_id, config_version, code, field, message });
            } else {
                accepted.push(applied(message));
                self.runs.insert(tenant_id, message.clone());
            }
        }
        delta.removals.iter().for_each(|tenant| _ = self.runs.remove(tenant));
        Answer { boot_id: "boot".to_owned(), digest: self.digest(), applied: accepted, rejected }
    }

    fn digest(&self) -> String {
        digest_of(&self.runs.values().map(applied).collect::<Vec<_>>())
    }
}

/// Tenants by name with their generation, and those that are kept.
type Content = (&'static [(&'static str, i64)], &'static [&'static str]);

fn content((tenants, keep): Content) -> Desired {
    desired(&tenants.iter().map(|(name, generation)| message(name, *generation)).collect::<Vec<_>>(), keep)
}

/// Walks through `contents` with and without knowing what differs from the state before, and tells how often there was a push.
fn walk(refuses: &'static [&'static str], contents: &[Content]) -> usize {
    let ledgers = [Ledger::default(), Ledger::default()];
    let a1 = message("a", 1);
    for ledger in &ledgers {
        ledger.learn(state("boot", &[&a1]));
    }
    let mut pod = Pod { runs: [(id("a"), a1)].into(), refuses };
    let (mut before, mut pushes): (Option<Desired>, _) = (None, 0);
    for (number, &step) in contents.iter().enumerate() {
        let (after, alone) = (content(step).following(before.as_ref()), content(step));
        let plan = ledgers[0].plan(&after);
        assert_eq!(plan, ledgers[1].plan(&alone), "at {number}");
        if let Some(plan) = plan {
            pushes += 1;
            let answer = pod.answer(&plan);
            ledgers[0].acknowledge(&after, &plan, answer.clone()).unwrap();
            ledgers[1].acknowledge(&alone, &plan, answer).unwrap();
            assert_eq!((ledgers[0].plan(&after), ledgers[1].plan(&alone)), (None, None), "after {number}");
        }
        before = Some(after);
    }
    pushes
}

#[test]
fn a_step_leads_where_a_look_at_everything_does() {
    let contents: &[Content] = &[
        (&[("a", 1)], &[]),
        (&[("a", 1), ("b", 1)], &[]),
        (&[("a", 2), ("b", 1)], &[]),
        (&[("a", 2), ("b", 1)], &[]),
        (&[("a", 2)], &["b"]),
        (&[("a", 3)], &["b"]),
        (&[("a", 3)], &[]),
        (&[("a", 3), ("c", 1), ("d", 1)], &[]),
        (&[("d", 2)], &[]),
        (&[], &[]),
        (&[("a", 9)], &[]),
    ];
    assert_eq!(walk(&[], contents), 8);
    assert_eq!(walk(&["b"], contents), 7, "what was refused is not sent again, and hides nothing");
    assert_eq!(walk(&["a", "d"], contents), 7);
}

#[test]
fn what_a_pod_has_lost_and_what_was_skipped_is_found_again() {
    let messages = |generation| ["a", "b", "c"].map(|name| message(name, generation));
    let [a1, b1, c1] = messages(1);
    let ledger = Ledger::default();
    ledger.learn(state("boot", &[&a1, &b1, &c1]));
    let first = desired(&[a1.clone(), b1.clone(), c1.clone()], &[]);
    assert_eq!(ledger.plan(&first), None);
    let a2 = message("a", 2);
    let second = desired(&[a2.clone(), b1.clone(), c1.clone()], &[]).following(Some(&first));
    let b2 = message("b", 2);
    let third = desired(&[a2.clone(), b2.clone(), c1.clone()], &[]).following(Some(&second));
    let upserts = |plan: Option<Plan>| match plan {
        Some(Plan::Delta(delta)) => delta.upserts,
        other => panic!("{other:?}"),
    };
    assert_eq!(upserts(ledger.plan(&third)), [a2.clone(), b2.clone()], "the second was skipped");
    // The pod is found without c, and with what it should run otherwise.
    ledger.learn(state("boot", &[&a2, &b2]));
    assert_eq!(upserts(ledger.plan(&third)), [c1], "it lost one");
}
