//! Every field of a `QuotaSpec`, once: how a tenant's quotas, its class and the built-in defaults become one, and who said what.

use carillon_crds::{EffectiveQuota, Limit, QuotaField, QuotaSource, QuotaSpec, QuotaValue};

use crate::{Class, Quotas};

macro_rules! limits {
    ($($name:ident = $group:ident.$field:ident => $in_force:ident),+ $(,)?) => {
        /// Every limit that `spec` may set, by its field.
        pub fn limits(spec: &QuotaSpec) -> [(QuotaField, Option<Limit>); 17] {
            [$((QuotaField::$name, spec.$group.$field.map(Limit::from))),+]
        }

        /// Every limit that is in force, in the order of [`limits`].
        fn limits_in_force(quotas: &Quotas) -> [Limit; 17] {
            [$(Limit::from(quotas.$in_force)),+]
        }

        impl Quotas {
            /// The tenant's quotas over its class's defaults over the built-in ones. Where a class has a ceiling and no default, a built-in
            /// default that is higher comes down to the ceiling: who says nothing asks for nothing that is not allowed.
            pub fn merge(tenant: &QuotaSpec, class: Option<&Class>) -> Self {
                let nothing = QuotaSpec::default();
                let (defaults, ceilings) = class.map_or((&nothing, &nothing), |class| (&class.defaults, &class.ceilings));
                let built_in = Self::default();
                Self {
                    $($in_force: tenant.$group.$field.or(defaults.$group.$field).unwrap_or_else(|| {
                        ceilings.$group.$field.map_or(built_in.$in_force, |ceiling| ceiling.min(built_in.$in_force))
                    }),)+
                    enforcement: tenant.enforcement.or(defaults.enforcement).unwrap_or(built_in.enforcement),
                }
            }
        }
    };
}

limits! {
    ConnectionsMax = connections.max => connections_max,
    ConnectionsMaxPerUser = connections.max_per_user => connections_per_user_max,
    ConnectionsRatePerSecond = connections.rate_per_second => connections_rate_per_second,
    ConnectionsBurst = connections.burst => connections_burst,
    RoomsMax = rooms.max => rooms_max,
    RoomsMaxMembers = rooms.max_members => room_members_max,
    RoomsMaxPerConnection = rooms.max_per_connection => rooms_per_connection_max,
    RoomsCreateRatePerSecond = rooms.create_rate_per_second => room_creations_rate_per_second,
    MessagesRatePerSecond = messages.rate_per_second => messages_rate_per_second,
    MessagesBurst = messages.burst => messages_burst,
    MessagesRatePerSecondPerConnection = messages.rate_per_second_per_connection => messages_rate_per_second_per_connection,
    MessagesBurstPerConnection = messages.burst_per_connection => messages_burst_per_connection,
    MessagesMaxBytes = messages.max_bytes => message_bytes_max,
    PublishRatePerSecond = publish.rate_per_second => publish_rate_per_second,
    PublishBurst = publish.burst => publish_burst,
    PublishMaxBytes = publish.max_bytes => publish_bytes_max,
    EgressBytesPerSecond = egress.bytes_per_second => egress_bytes_per_second,
}

/// What `asked` sets beyond `ceilings`: field, value and ceiling.
pub fn exceeding(asked: &QuotaSpec, ceilings: &QuotaSpec) -> impl Iterator<Item = (QuotaField, Limit, Limit)> {
    let both = limits(asked).into_iter().zip(limits(ceilings));
    both.filter_map(|((field, asked), (_, ceiling))| Some((field, asked?, ceiling?))).filter(|(_, asked, ceiling)| asked > ceiling)
}

/// Every quota in force and who said so, as status shows it.
pub fn effective(tenant: &QuotaSpec, class: Option<&Class>) -> Vec<EffectiveQuota> {
    let quotas = Quotas::merge(tenant, class);
    let built_in = Quotas::default();
    let nothing = QuotaSpec::default();
    let defaults = class.map_or(&nothing, |class| &class.defaults);
    let entry = |field, value, in_tenant: bool, in_class: bool| {
        let source = match (in_tenant, in_class) {
            (true, _) => QuotaSource::Tenant,
            (false, true) => QuotaSource::Class,
            (false, false) => QuotaSource::BuiltIn,
        };
        EffectiveQuota { field, value, source }
    };
    let said = limits(tenant).into_iter().zip(limits(defaults));
    let values = limits_in_force(&quotas).into_iter().zip(limits_in_force(&built_in));
    let limits = said.zip(values).map(|(((field, tenant), (_, default)), (value, built_in))| {
        // What differs from the built-in default without anybody having set it was brought down by a ceiling.
        let by_class = default.is_some() || value != built_in;
        entry(field, QuotaValue::Limit(value), tenant.is_some(), by_class)
    });
    let enforcement = QuotaValue::Enforcement(quotas.enforcement);
    let enforcement = entry(QuotaField::Enforcement, enforcement, tenant.enforcement.is_some(), defaults.enforcement.is_some());
    limits.chain([enforcement]).collect()
}

#[cfg(test)]
mod tests {
    use carillon_crds::RealtimeTenantClassSpec;
    use serde_json::{Value, json};

    use super::*;

    fn quotas(spec: &Value) -> QuotaSpec {
        serde_json::from_value(spec.clone()).unwrap()
    }

    fn class(spec: &Value) -> Class {
        let spec: RealtimeTenantClassSpec = serde_json::from_value(spec.clone()).unwrap();
        Class::compile("standard", &spec).unwrap()
    }

    #[test]
    fn every_quota_has_its_field() {
        let in_force = serde_json::to_value(Quotas::default()).unwrap();
        assert_eq!(limits(&QuotaSpec::default()).len() + 1, in_force.as_object().unwrap().len());
        let effective = effective(&QuotaSpec::default(), None);
        assert_eq!(effective.len(), in_force.as_object().unwrap().len());
        for quota in effective {
            // A spec that says what is in force already.
            let mut spec = serde_json::to_value(quota.value).unwrap();
            for part in quota.field.as_str().rsplit('.') {
                spec = json!({ part: spec });
            }
            let spec = quotas(&spec);
            assert_eq!(Quotas::merge(&spec, None), Quotas::default(), "{}", quota.field);
            assert_ne!(spec, QuotaSpec::default(), "{} is no field", quota.field);
        }
    }

    #[test]
    fn the_tenant_is_over_the_class_is_over_the_built_in() {
        let cases = [
            // Tenant, class's default, class's ceiling: what connections.max is, and who said so.
            (json!(null), json!(null), json!(null), json!([1000, "BuiltIn"])),
            (json!(7), json!(null), json!(null), json!([7, "Tenant"])),
            (json!(null), json!(50), json!(null), json!([50, "Class"])),
            (json!(7), json!(50), json!(null), json!([7, "Tenant"])),
            (json!(7), json!(50), json!(100), json!([7, "Tenant"])),
            (json!("Unlimited"), json!(50), json!(null), json!(["Unlimited", "Tenant"])),
            (json!(null), json!("Unlimited"), json!("Unlimited"), json!(["Unlimited", "Class"])),
            (json!(1000), json!(null), json!(null), json!([1000, "Tenant"])),
            (json!(null), json!(1000), json!(null), json!([1000, "Class"])),
            // Nobody is given more than may be asked for.
            (json!(null), json!(null), json!(100), json!([100, "Class"])),
            (json!(null), json!(null), json!(2000), json!([1000, "BuiltIn"])),
            (json!(null), json!(null), json!("Unlimited"), json!([1000, "BuiltIn"])),
        ];
        let set = |value: &Value| if value.is_null() { json!({}) } else { json!({"connections": {"max": value}}) };
        for (tenant, default, ceiling, expected) in cases {
            let class = class(&json!({"defaults": {"quotas": set(&default)}, "ceilings": {"quotas": set(&ceiling)}}));
            let tenant = quotas(&set(&tenant));
            let quota = effective(&tenant, Some(&class)).remove(0);
            assert_eq!(json!([quota.value, quota.source]), expected, "{tenant:?} {default} {ceiling}");
            let in_force = Quotas::merge(&tenant, Some(&class)).connections_max;
            assert_eq!(QuotaValue::Limit(in_force), quota.value);
            assert_eq!(
                Quotas { connections_max: Limit::Max(1000), ..Quotas::merge(&tenant, Some(&class)) },
                Quotas::default(),
                "nothing else"
            );
        }
    }

    #[test]
    fn enforcement_is_merged_like_a_limit() {
        let dry = class(&json!({"defaults": {"quotas": {"enforcement": "DryRun"}}}));
        let last = |tenant: &Value, class: Option<&Class>| {
            let quota = effective(&quotas(tenant), class).pop().unwrap();
            json!([quota.field, quota.value, quota.source])
        };
        assert_eq!(last(&json!({}), None), json!(["enforcement", "Enforce", "BuiltIn"]));
        assert_eq!(last(&json!({}), Some(&dry)), json!(["enforcement", "DryRun", "Class"]));
        assert_eq!(last(&json!({"enforcement": "Enforce"}), Some(&dry)), json!(["enforcement", "Enforce", "Tenant"]));
    }

    #[test]
    fn everything_beyond_a_ceiling_is_found() {
        let ceilings =
            quotas(&json!({"connections": {"max": 10, "burst": 20}, "rooms": {"max": "Unlimited"}, "messages": {"maxBytes": 100}}));
        let asked = json!({
            "connections": {"max": "Unlimited", "burst": 21, "maxPerUser": "Unlimited"}, "rooms": {"max": "Unlimited"}, "messages": {"maxBytes": 100},
        });
        let found: Vec<_> = exceeding(&quotas(&asked), &ceilings).collect();
        let expected = [
            (QuotaField::ConnectionsMax, Limit::Unlimited, Limit::Max(10)),
            (QuotaField::ConnectionsBurst, Limit::Max(21), Limit::Max(20)),
        ];
        assert_eq!(found, expected);
    }
}
