//! Tenants that are pushed again although the pod runs what it should.

use carillon_tenant::TenantId;

use super::Ledger;

impl Ledger {
    /// Has `tenant` pushed, whatever the pod runs of it.
    pub fn push_again(&self, tenant: &TenantId) {
        self.lock().again.insert(tenant.clone());
    }

    /// True until the pod acknowledged or refused what it was to be pushed again.
    pub fn owes(&self, tenant: &TenantId) -> bool {
        self.lock().again.contains(tenant)
    }
}

#[cfg(test)]
mod tests {
    use carillon_tenant::push::{Answer, State};

    use super::*;
    use crate::{
        acks::{Plan, Standing},
        fixtures::{applied, desired, digest_of, id, message, state},
    };

    #[test]
    fn what_is_to_be_pushed_again_is_until_it_is_acknowledged() {
        let (a1, b1) = (message("a", 1), message("b", 1));
        let wanted = desired(&[a1.clone(), b1.clone()], &[]);
        let ledger = Ledger::default();
        ledger.push_again(&id("a"));
        ledger.learn(state("boot", &[&a1, &b1]));
        let plan = ledger.plan(&wanted).unwrap();
        assert!(matches!(&plan, Plan::Delta(delta) if delta.upserts == [a1.clone()] && delta.removals.is_empty()));
        assert_eq!(ledger.standing(&id("a"), a1.config_version.as_str()), Standing::Programmed, "it runs it all the while");
        let answer = Answer {
            boot_id: "boot".to_owned(),
            digest: digest_of(&[applied(&a1), applied(&b1)]),
            applied: vec![applied(&a1)],
            rejected: Vec::new(),
        };
        ledger.acknowledge(&wanted, &plan, answer).unwrap();
        assert!(!ledger.owes(&id("a")));
        assert_eq!(ledger.plan(&wanted), None);
        // A process that starts anew gets everything anyway.
        ledger.push_again(&id("a"));
        ledger.learn(State { programmed: false, fleet_digest: None, ..state("another", &[]) });
        let plan = ledger.plan(&wanted).unwrap();
        let runs = [applied(&a1), applied(&b1)];
        let answer = Answer { boot_id: "another".to_owned(), digest: digest_of(&runs), applied: runs.to_vec(), rejected: Vec::new() };
        ledger.acknowledge(&wanted, &plan, answer).unwrap();
        assert!(!ledger.owes(&id("a")));
    }
}
