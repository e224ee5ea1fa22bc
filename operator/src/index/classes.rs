//! Classes and namespaces among the things that tenants follow.

use carillon_tenant::{FleetName, Labels};

use super::Index;
use crate::classes::{ClassObject, Classes};

impl Index {
    /// Says which fleets there are. Before anything is seen.
    pub fn serve<'a>(&mut self, fleets: impl Iterator<Item = &'a FleetName>) {
        self.classes.serve(fleets.cloned().collect());
    }

    /// Every class, and who is under it.
    pub const fn classes(&self) -> &Classes {
        &self.classes
    }

    /// The same, to note what was told of a class.
    pub const fn classes_mut(&mut self) -> &mut Classes {
        &mut self.classes
    }

    /// Takes up a new or changed class: exactly its tenants are compiled anew.
    pub fn class_seen(&mut self, object: ClassObject) {
        let tenants = self.classes.apply(object);
        self.follow_classes(&tenants);
        self.changes.unresolved.extend(tenants);
    }

    /// Forgets a class.
    pub fn class_gone(&mut self, name: &str) {
        let tenants = self.classes.remove(name);
        self.follow_classes(&tenants);
        self.changes.unresolved.extend(tenants);
    }

    /// Takes up a namespace's labels.
    pub fn namespace_seen(&mut self, name: &str, labels: Labels) {
        let tenants = self.classes.namespace_seen(name, labels);
        self.follow_classes(&tenants);
        self.changes.unresolved.extend(tenants);
    }

    /// Forgets a namespace.
    pub fn namespace_gone(&mut self, name: &str) {
        self.classes.namespace_gone(name);
    }
}

#[cfg(test)]
mod tests {
    use carillon_crds::QuotaSource;
    use carillon_tenant::{Limit, RejectionCode};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        fixtures::{class, id, object, resolve_all, spec},
        metrics::Outcome,
        object::{ObjectKey, TenantObject},
    };

    const SECRET: Option<&str> = Some("0123456789abcdef0123456789abcdef");

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("n", name)
    }

    /// A tenant that names this class and asks for these quotas.
    fn tenant(name: &str, generation: i64, asked: Option<&str>, quotas: &Value) -> TenantObject {
        let mut spec = spec(name);
        spec["quotas"] = quotas.clone();
        if let Some(asked) = asked {
            spec["className"] = json!(asked);
        }
        object(name, "2026-01-01T00:00:00Z", generation, &spec)
    }

    fn ceiling(max: u32) -> Value {
        json!({"ceilings": {"quotas": {"connections": {"max": max}}}})
    }

    fn connections(index: &Index, name: &str) -> Option<Limit> {
        index.message(&id(name)).map(|message| message.quotas.connections_max)
    }

    fn problem(index: &Index, name: &str) -> Option<RejectionCode> {
        index.get(&key(name)).unwrap().problems.first().map(|problem| problem.code)
    }

    #[test]
    fn a_tenant_beyond_its_class_keeps_its_last_good_message_until_the_class_is_raised() {
        let mut index = Index::default();
        index.class_seen(class("gold", 1, false, &ceiling(100)));
        index.apply(tenant("acme", 1, Some("gold"), &json!({"connections": {"max": 50}})));
        index.apply(tenant("globex", 1, None, &json!({})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed), Some(Outcome::Changed)]);
        index.apply(tenant("acme", 2, Some("gold"), &json!({"connections": {"max": 101}})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Rejected)]);
        assert_eq!((connections(&index, "acme"), problem(&index, "acme")), (Some(Limit::Max(50)), Some(RejectionCode::ExceedsClass)));
        index.class_seen(class("gold", 1, false, &ceiling(101)));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)], "globex is not concerned");
        assert_eq!((connections(&index, "acme"), problem(&index, "acme")), (Some(Limit::Max(101)), None));
        let effective = index.get(&key("acme")).unwrap().effective.as_ref().unwrap();
        assert_eq!((effective.class_name.as_deref(), effective.quotas[0].source), (Some("gold"), QuotaSource::Tenant));
        // A class that says the same otherwise changes nothing on the pods.
        index.class_seen(class("gold", 1, false, &ceiling(102)));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Unchanged)]);
        assert!(!index.take_changes().desired);
    }

    #[test]
    fn without_its_class_a_tenant_keeps_what_it_had() {
        let mut index = Index::default();
        index.apply(tenant("acme", 1, Some("gold"), &json!({})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Rejected)]);
        assert_eq!((connections(&index, "acme"), problem(&index, "acme")), (None, Some(RejectionCode::ClassNotFound)));
        index.class_seen(class("gold", 1, false, &ceiling(100)));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)]);
        index.class_gone("gold");
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Rejected)]);
        assert_eq!((connections(&index, "acme"), problem(&index, "acme")), (Some(Limit::Max(100)), Some(RejectionCode::ClassNotFound)));
        assert!(index.get(&key("acme")).unwrap().effective.is_some());
        // It may as well go on without one.
        index.apply(tenant("acme", 2, None, &json!({})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)]);
        assert_eq!(connections(&index, "acme"), Some(Limit::Max(1000)));
        index.class_seen(class("standard", 1, true, &ceiling(7)));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)], "the default class came");
        assert_eq!(connections(&index, "acme"), Some(Limit::Max(7)));
        index.class_gone("standard");
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)]);
        assert_eq!(connections(&index, "acme"), Some(Limit::Max(1000)));
    }

    #[test]
    fn a_namespace_that_is_not_allowed_keeps_what_it_had_and_one_not_seen_yet_waits() {
        let labels = |tier: &str| [("tier".to_owned(), tier.to_owned())].into();
        let mut index = Index::default();
        index.class_seen(class("gold", 1, false, &json!({"allowedNamespaces": {"matchLabels": {"tier": "gold"}}})));
        index.apply(tenant("acme", 1, Some("gold"), &json!({})));
        assert_eq!(resolve_all(&mut index, SECRET), [], "nobody is refused for labels that were not seen");
        index.namespace_seen("n", labels("tin"));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Rejected)]);
        assert_eq!(problem(&index, "acme"), Some(RejectionCode::NamespaceNotAllowed));
        index.namespace_seen("n", labels("gold"));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)]);
        index.namespace_seen("n", labels("tin"));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Rejected)]);
        assert_eq!(connections(&index, "acme"), Some(Limit::Max(1000)));
        index.class_seen(class("gold", 1, false, &json!({})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Unchanged)]);
        assert_eq!(problem(&index, "acme"), None);
    }

    #[test]
    fn a_tenant_moves_with_its_class_and_stays_where_it_is_when_that_names_no_fleet_there_is() {
        let fleet = |name: &str| FleetName::new(name).unwrap();
        let mut index = Index::default();
        index.serve([fleet("default"), fleet("noisy")].iter());
        index.class_seen(class("gold", 1, false, &json!({})));
        index.apply(tenant("acme", 1, Some("gold"), &json!({})));
        index.apply(tenant("globex", 1, None, &json!({})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed), Some(Outcome::Changed)]);
        assert_eq!((index.home(&id("acme")), index.home(&id("globex"))), (Some(&fleet("default")), Some(&fleet("default"))));
        let version = index.message(&id("acme")).unwrap().config_version.clone();
        index.take_changes();
        index.class_seen(class("gold", 1, false, &json!({"fleet": "noisy"})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Changed)]);
        assert_eq!((index.home(&id("acme")), &index.message(&id("acme")).unwrap().config_version), (Some(&fleet("noisy")), &version));
        assert!(index.take_changes().desired);
        index.class_seen(class("gold", 1, false, &json!({"fleet": "elsewhere"})));
        assert_eq!(resolve_all(&mut index, SECRET), [Some(Outcome::Rejected)]);
        assert_eq!((index.home(&id("acme")), problem(&index, "acme")), (Some(&fleet("noisy")), Some(RejectionCode::FleetNotFound)));
        assert!(index.classes().facts("gold").unwrap().fleet_problem.unwrap().contains("default, noisy"));
        // One that is paused goes nowhere.
        index.class_seen(class("gold", 1, false, &json!({"fleet": "noisy"})));
        resolve_all(&mut index, SECRET);
        index.apply(TenantObject { paused: true, ..tenant("acme", 1, Some("gold"), &json!({})) });
        index.class_seen(class("gold", 1, false, &json!({})));
        resolve_all(&mut index, SECRET);
        assert_eq!(index.home(&id("acme")), Some(&fleet("noisy")));
        index.apply(tenant("acme", 1, Some("gold"), &json!({})));
        resolve_all(&mut index, SECRET);
        assert_eq!(index.home(&id("acme")), Some(&fleet("default")));
    }
}
