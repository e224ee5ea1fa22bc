//! Classes, compiled, and which of them a tenant is under. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use carillon_crds::{JwtSpec, LabelOperator, NamespaceSelector, QuotaSpec, RealtimeTenantClassSpec};

use crate::{
    FleetName, Rejection, RejectionCode, auth,
    compile::check_quotas,
    quota_fields::exceeding,
    selector::{Labels, selects},
};

/// What a class gives and allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// `metadata.name`.
    pub name: String,
    /// What a tenant gets that says nothing.
    pub(crate) defaults: QuotaSpec,
    /// The most it may ask for.
    pub(crate) ceilings: QuotaSpec,
    /// How tokens are verified where a tenant doesn't say so.
    pub(crate) jwt: JwtSpec,
    namespaces: Option<NamespaceSelector>,
    /// The fleet that carries its tenants.
    pub fleet: FleetName,
}

/// The class of one tenant, `None` when it is under none, or why it has none that it could be compiled with.
pub type ClassOutcome = Result<Option<Arc<Class>>, Rejection>;

impl Class {
    /// Compiles the class `name`.
    ///
    /// # Errors
    ///
    /// Every rejection that is found.
    pub fn compile(name: &str, spec: &RealtimeTenantClassSpec) -> Result<Self, Vec<Rejection>> {
        let defaults = spec.defaults.quotas.clone();
        let ceilings = QuotaSpec::from(spec.ceilings.quotas.clone());
        let mut rejections = Vec::new();
        check_quotas("spec.defaults.quotas", &defaults, &mut rejections);
        check_quotas("spec.ceilings.quotas", &ceilings, &mut rejections);
        for (field, value, ceiling) in exceeding(&defaults, &ceilings) {
            let message = format!("{value} is more than this class's own ceiling, {ceiling}");
            rejections.push(invalid(format!("spec.defaults.quotas.{field}"), message));
        }
        let jwt = JwtSpec::from(spec.defaults.auth.jwt.clone());
        auth::check("spec.defaults.auth.jwt", &jwt, &mut rejections);
        auth::check_key_sets("spec.defaults.auth.jwt", &jwt, &mut rejections);
        for (index, one) in spec.allowed_namespaces.iter().flat_map(|selector| &selector.match_expressions).enumerate() {
            let takes_values = matches!(one.operator, LabelOperator::In | LabelOperator::NotIn);
            if takes_values == one.values.is_empty() {
                let field = format!("spec.allowedNamespaces.matchExpressions[{index}].values");
                rejections.push(invalid(field, "In and NotIn need values, Exists and DoesNotExist take none"));
            }
        }
        let fleet =
            FleetName::new(&spec.fleet).map_err(|error| rejections.push(invalid("spec.fleet", error.to_string()))).unwrap_or_default();
        if !rejections.is_empty() {
            return Err(rejections);
        }
        Ok(Self { name: name.to_owned(), defaults, ceilings, jwt, namespaces: spec.allowed_namespaces.clone(), fleet })
    }

    /// True when tenants of a namespace with these labels may use the class.
    pub fn allows(&self, labels: &Labels) -> bool {
        self.namespaces.as_ref().is_none_or(|selector| selects(selector, labels))
    }

    /// True when the class looks at a namespace's labels at all.
    pub const fn asks_for_labels(&self) -> bool {
        self.namespaces.is_some()
    }

    /// What a tenant with these quotas asks for beyond the ceilings.
    pub(crate) fn check(&self, asked: &QuotaSpec, rejections: &mut Vec<Rejection>) {
        for (field, value, ceiling) in exceeding(asked, &self.ceilings) {
            rejections.push(Rejection {
                code: RejectionCode::ExceedsClass,
                field: format!("spec.quotas.{field}"),
                message: format!("{value} is more than RealtimeTenantClass {:?} allows: at most {ceiling}", self.name),
            });
        }
    }
}

/// Every class there is, and which is the default.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    /// By name; `None`: there is such an object, and it never said anything that can be used.
    by_name: BTreeMap<String, Option<Arc<Class>>>,
    default: Option<String>,
    /// The fleets there are; `None`: whatever is named.
    fleets: Option<BTreeSet<FleetName>>,
}

impl Classes {
    /// Says which fleets there are: classes that name another can't be used.
    pub fn set_fleets(&mut self, fleets: BTreeSet<FleetName>) {
        self.fleets = Some(fleets);
    }

    /// Why tenants of `class` can't be carried, when its fleet is not there.
    pub fn fleet_problem(&self, class: &Class) -> Option<String> {
        let fleets = self.fleets.as_ref().filter(|fleets| !fleets.contains(&class.fleet))?;
        let names: Vec<_> = fleets.iter().map(FleetName::as_str).collect();
        Some(format!("fleet {:?} is not there; this operator serves: {}", class.fleet.as_str(), names.join(", ")))
    }

    /// Takes up a class, or that there is one which can't be used.
    pub fn insert(&mut self, name: &str, class: Option<Arc<Class>>) {
        self.by_name.insert(name.to_owned(), class);
    }

    /// Forgets a class.
    pub fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Says which class tenants are under that name none.
    pub fn set_default(&mut self, name: Option<&str>) {
        self.default = name.map(str::to_owned);
    }

    /// The class that tenants are under that name none.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// The class of that name, if it can be used.
    pub fn get(&self, name: &str) -> Option<&Arc<Class>> {
        self.by_name.get(name)?.as_ref()
    }

    /// The class of a tenant that names `asked`, in a namespace with these labels.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] when that class does not exist, can't be used, or does not allow the namespace.
    pub fn choose(&self, asked: Option<&str>, namespace: &str, labels: &Labels) -> ClassOutcome {
        let Some(name) = asked.or(self.default_name()) else { return Ok(None) };
        let class_name = |code, message: String| Rejection { code, field: "spec.className".to_owned(), message };
        match self.by_name.get(name) {
            None => Err(class_name(RejectionCode::ClassNotFound, format!("RealtimeTenantClass {name:?} does not exist"))),
            Some(None) => Err(class_name(
                RejectionCode::ClassInvalid,
                format!("RealtimeTenantClass {name:?} can't be used: it has errors of its own"),
            )),
            Some(Some(class)) if !class.allows(labels) => Err(Rejection {
                code: RejectionCode::NamespaceNotAllowed,
                field: "metadata.namespace".to_owned(),
                message: format!(
                    "RealtimeTenantClass {name:?} does not allow namespace {namespace:?}: its allowedNamespaces asks for other labels"
                ),
            }),
            Some(Some(class)) => match self.fleet_problem(class) {
                Some(problem) => {
                    Err(class_name(RejectionCode::FleetNotFound, format!("RealtimeTenantClass {name:?} can't be used: its {problem}")))
                }
                None => Ok(Some(Arc::clone(class))),
            },
        }
    }
}

fn invalid(field: impl Into<String>, message: impl Into<String>) -> Rejection {
    Rejection { code: RejectionCode::Invalid, field: field.into(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn compile(name: &str, spec: &Value) -> Result<Class, Vec<String>> {
        let spec = serde_json::from_value(spec.clone()).unwrap();
        Class::compile(name, &spec).map_err(|rejections| rejections.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_class_names_a_fleet_and_only_fleets_there_are_carry_tenants() {
        assert_eq!(compile("standard", &json!({})).unwrap().fleet, FleetName::default());
        let class = compile("loud", &json!({"fleet": "noisy"})).unwrap();
        assert_eq!(class.fleet.as_str(), "noisy");
        for bad in ["", "Noisy", "-a", "a-", "1a", "a.b", &"a".repeat(33)] {
            let problems = compile("loud", &json!({"fleet": bad})).unwrap_err();
            assert!(problems.len() == 1 && problems[0].starts_with("spec.fleet: "), "{bad}: {problems:?}");
        }
        let mut classes = Classes::default();
        classes.insert("loud", Some(Arc::new(class)));
        let mut choose = |fleets: Option<&[&str]>| {
            if let Some(fleets) = fleets {
                classes.set_fleets(fleets.iter().map(|fleet| FleetName::new(fleet).unwrap()).collect());
            }
            classes.choose(Some("loud"), "team", &Labels::new())
        };
        assert!(choose(None).is_ok(), "files are judged by whoever serves them");
        assert!(choose(Some(&["default", "noisy"])).is_ok());
        let refused = choose(Some(&["default", "quiet"])).unwrap_err();
        assert_eq!(refused.code, RejectionCode::FleetNotFound);
        let said = "spec.className: RealtimeTenantClass \"loud\" can't be used: its fleet \"noisy\" is not there; this operator serves: default, quiet";
        assert_eq!(refused.to_string(), said);
    }

    fn labels(tier: &str) -> Labels {
        [("tier".to_owned(), tier.to_owned())].into()
    }

    #[test]
    fn a_class_that_contradicts_itself_is_refused_field_by_field() {
        let spec = json!({
            "defaults": {"quotas": {"connections": {"max": 2000, "maxPerUser": "Unlimited", "burst": 0}, "enforcement": "DryRun"}},
            "ceilings": {"quotas": {"connections": {"max": 1000, "maxPerUser": 10}, "messages": {"maxBytes": 3}}},
            "allowedNamespaces": {"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["x"]}, {"key": "b", "operator": "NotIn"}, {"key": "c", "operator": "Exists", "values": ["x"]},
            ]},
        });
        let expected = [
            "spec.defaults.quotas.connections.burst: must be from 1 to 1000000",
            "spec.ceilings.quotas.messages.maxBytes: must be from 64 to 1048576",
            "spec.defaults.quotas.connections.max: 2000 is more than this class's own ceiling, 1000",
            "spec.defaults.quotas.connections.maxPerUser: Unlimited is more than this class's own ceiling, 10",
            "spec.allowedNamespaces.matchExpressions[1].values: In and NotIn need values, Exists and DoesNotExist take none",
            "spec.allowedNamespaces.matchExpressions[2].values: In and NotIn need values, Exists and DoesNotExist take none",
        ];
        assert_eq!(compile("standard", &spec).unwrap_err(), expected);
        assert!(compile("standard", &json!({})).is_ok());
    }

    #[test]
    fn what_is_beyond_a_ceiling_names_the_field_the_value_the_ceiling_and_the_class() {
        let class =
            compile("standard", &json!({"ceilings": {"quotas": {"connections": {"max": 1000}, "rooms": {"maxPerConnection": 10}}}}))
                .unwrap();
        let asked =
            json!({"connections": {"max": "Unlimited"}, "rooms": {"maxPerConnection": 11, "max": "Unlimited"}, "enforcement": "DryRun"});
        let mut rejections = Vec::new();
        class.check(&serde_json::from_value(asked).unwrap(), &mut rejections);
        assert!(rejections.iter().all(|rejection| rejection.code == RejectionCode::ExceedsClass));
        let said: Vec<_> = rejections.iter().map(ToString::to_string).collect();
        let expected = [
            "spec.quotas.connections.max: Unlimited is more than RealtimeTenantClass \"standard\" allows: at most 1000",
            "spec.quotas.rooms.maxPerConnection: 11 is more than RealtimeTenantClass \"standard\" allows: at most 10",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_tenant_is_under_the_class_it_names_or_the_default() {
        let mut classes = Classes::default();
        let gold = compile("gold", &json!({"allowedNamespaces": {"matchLabels": {"tier": "gold"}}})).unwrap();
        classes.insert("gold", Some(Arc::new(gold)));
        classes.insert("standard", Some(Arc::new(compile("standard", &json!({})).unwrap())));
        classes.insert("broken", None);
        // The default class, the one that is asked for, the namespace's label; which it is, or why none.
        let cases = [
            (None, None, "tin", Ok(None)),
            (None, Some("standard"), "tin", Ok(Some("standard"))),
            (Some("standard"), None, "tin", Ok(Some("standard"))),
            (Some("standard"), Some("gold"), "gold", Ok(Some("gold"))),
            (Some("standard"), Some("gold"), "tin", Err((RejectionCode::NamespaceNotAllowed, "metadata.namespace"))),
            (Some("gold"), None, "tin", Err((RejectionCode::NamespaceNotAllowed, "metadata.namespace"))),
            (Some("standard"), Some("silver"), "tin", Err((RejectionCode::ClassNotFound, "spec.className"))),
            (Some("broken"), None, "tin", Err((RejectionCode::ClassInvalid, "spec.className"))),
        ];
        for (default, asked, tier, expected) in cases {
            classes.set_default(default);
            let outcome = classes.choose(asked, "team", &labels(tier));
            let found = outcome.as_ref().map(|class| class.as_ref().map(|class| class.name.as_str()));
            let found = found.map_err(|rejection| (rejection.code, rejection.field.as_str()));
            assert_eq!(found, expected, "{default:?} {asked:?} {tier}");
        }
        classes.remove("standard");
        assert!(classes.choose(Some("standard"), "team", &labels("tin")).is_err());
    }
}
