//! How a tenant's tokens are verified: its own word over its class's, field by field, over what is built in.

use carillon_crds::{AuthField, ClaimNames, EffectiveAuth, JwksSpec, JwtSpec, QuotaSource, RealtimeTenantSpec};

use crate::{
    Class, JwksSource, Rejection,
    compile::{check_count, invalid},
};

/// Key sets and who names them.
#[derive(Clone, Copy, Debug)]
pub struct NamedKeySets<'a> {
    /// What is named.
    pub jwks: &'a [JwksSpec],
    /// The class that names it, when the tenant doesn't.
    class: Option<&'a str>,
}

impl<'a> NamedKeySets<'a> {
    /// Those of a tenant under `class`: its own or, when it has none, the class's.
    pub fn of(spec: &'a RealtimeTenantSpec, class: Option<&'a Class>) -> Self {
        let own = &spec.auth.jwt.jwks;
        match class {
            Some(class) if own.is_empty() => Self { jwks: &class.jwt.jwks, class: Some(&class.name) },
            _ => Self { jwks: own, class: None },
        }
    }

    /// The field `name` of the key set at `index`, as messages name it.
    pub fn field(&self, index: usize, name: &str) -> String {
        match self.class {
            None => format!("spec.auth.jwt.jwks[{index}].{name}"),
            Some(class) => format!("spec.defaults.auth.jwt.jwks[{index}].{name} of RealtimeTenantClass {class:?}"),
        }
    }

    /// Each with the longest time between two looks at it, in seconds.
    pub fn sources(&self) -> impl Iterator<Item = (JwksSource, u32)> + use<'a> {
        self.jwks.iter().filter_map(|jwks| Some((JwksSource::of(jwks).ok()?, jwks.refresh_seconds.clamp(60, 86_400))))
    }
}

/// The rules for tokens without the keys: the tenant's over its class's.
pub fn merged(tenant: &JwtSpec, class: Option<&Class>) -> JwtSpec {
    let nothing = JwtSpec::default();
    let class = class.map_or(&nothing, |class| &class.jwt);
    JwtSpec {
        keys: Vec::new(),
        jwks: Vec::new(),
        issuer: tenant.issuer.clone().or_else(|| class.issuer.clone()),
        audiences: tenant.audiences.clone().or_else(|| class.audiences.clone()),
        leeway_seconds: tenant.leeway_seconds.or(class.leeway_seconds),
        max_lifetime_seconds: tenant.max_lifetime_seconds.or(class.max_lifetime_seconds),
        claims: ClaimNames {
            tenant: tenant.claims.tenant.clone().or_else(|| class.claims.tenant.clone()),
            user: tenant.claims.user.clone().or_else(|| class.claims.user.clone()),
        },
        on_expiry: tenant.on_expiry.or(class.on_expiry),
    }
}

/// What each of those fields holds at `said`, as whether it says anything.
fn says(said: &JwtSpec) -> [(AuthField, bool); 8] {
    [
        (AuthField::Jwks, !said.jwks.is_empty()),
        (AuthField::Issuer, said.issuer.is_some()),
        (AuthField::Audiences, said.audiences.is_some()),
        (AuthField::LeewaySeconds, said.leeway_seconds.is_some()),
        (AuthField::MaxLifetimeSeconds, said.max_lifetime_seconds.is_some()),
        (AuthField::ClaimsTenant, said.claims.tenant.is_some()),
        (AuthField::ClaimsUser, said.claims.user.is_some()),
        (AuthField::OnExpiry, said.on_expiry.is_some()),
    ]
}

/// Who said how tokens are verified, as status shows it.
pub fn effective_auth(tenant: &JwtSpec, class: Option<&Class>) -> Vec<EffectiveAuth> {
    let nothing = JwtSpec::default();
    let both = says(tenant).into_iter().zip(says(class.map_or(&nothing, |class| &class.jwt)));
    let entry = |((field, tenant), (_, class))| {
        let source = match (tenant, class) {
            (true, _) => QuotaSource::Tenant,
            (false, true) => QuotaSource::Class,
            (false, false) => QuotaSource::BuiltIn,
        };
        EffectiveAuth { field, source }
    };
    both.map(entry).collect()
}

/// What the schema says of these fields, for resources that were never held to it; `path` is where they stand.
pub(crate) fn check(path: &str, jwt: &JwtSpec, rejections: &mut Vec<Rejection>) {
    check_count(&format!("{path}.jwks"), jwt.jwks.len(), 0, 4, rejections);
    if jwt.leeway_seconds.is_some_and(|seconds| seconds > 300) {
        rejections.push(invalid(format!("{path}.leewaySeconds"), "must be at most 300"));
    }
    if jwt.max_lifetime_seconds.is_some_and(|seconds| !(60..=31_536_000).contains(&seconds)) {
        rejections.push(invalid(format!("{path}.maxLifetimeSeconds"), "must be from 60 to 31536000"));
    }
    for (field, name) in [("tenant", &jwt.claims.tenant), ("user", &jwt.claims.user)] {
        if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 128) {
            rejections.push(invalid(format!("{path}.claims.{field}"), "must be the name of a claim, 1 to 128 bytes long"));
        }
    }
    if let Some(audiences) = &jwt.audiences {
        check_count(&format!("{path}.audiences"), audiences.len(), 1, 16, rejections);
    }
}

/// The same of the key sets that a class names: what is wrong with them is the class's mistake, not its tenants'.
pub(crate) fn check_key_sets(path: &str, jwt: &JwtSpec, rejections: &mut Vec<Rejection>) {
    for (index, jwks) in jwt.jwks.iter().enumerate() {
        if let Err((field, message)) = JwksSource::of(jwks) {
            rejections.push(invalid(format!("{path}.jwks[{index}].{field}"), message));
        }
        if !(60..=86_400).contains(&jwks.refresh_seconds) {
            rejections.push(invalid(format!("{path}.jwks[{index}].refreshSeconds"), "must be from 60 to 86400"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{Fetched, KeyReport, KeySet, RejectionCode, ResolvedSecrets, compile::compile};

    const KEYS: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "a"}]}"#;

    fn class(jwt: &Value) -> Result<Class, Vec<String>> {
        let spec = serde_json::from_value(json!({"defaults": {"auth": {"jwt": jwt}}})).unwrap();
        Class::compile("standard", &spec).map_err(|rejections| rejections.iter().map(ToString::to_string).collect())
    }

    fn tenant(jwt: &Value) -> RealtimeTenantSpec {
        serde_json::from_value(json!({"auth": {"jwt": jwt}})).unwrap()
    }

    #[test]
    fn a_tenant_without_keys_has_those_of_its_class_and_its_own_word_where_it_gives_one() {
        let class = class(&json!({
            "jwks": [{"issuer": "https://id"}], "issuer": "https://id", "audiences": ["a"], "leewaySeconds": 0, "maxLifetimeSeconds": 600,
            "claims": {"tenant": "t", "user": "u"}, "onExpiry": "Keep",
        }))
        .unwrap();
        let class = Arc::new(class);
        let sets = [(JwksSource::Issuer("https://id".to_owned()), Fetched::Fresh(Arc::new(KeySet::parse(KEYS).unwrap())))];
        let secrets = ResolvedSecrets::default().with_key_sets(sets.into());
        let compiled = |jwt: &Value| {
            let message = compile("acme", 1, &tenant(jwt), &Ok(Some(Arc::clone(&class))), &secrets).unwrap();
            let mut jwt = serde_json::to_value(message.jwt).unwrap();
            assert_eq!(jwt["keys"].as_array_mut().unwrap().len(), 1);
            jwt.as_object_mut().unwrap().remove("keys");
            jwt
        };
        let all = json!({"issuer": "https://id", "audiences": ["a"], "leewaySeconds": 0, "maxLifetimeSeconds": 600, "tenantClaim": "t",
                         "userClaim": "u", "onExpiry": "Keep"});
        assert_eq!(compiled(&json!({})), all);
        let own = json!({"leewaySeconds": 7, "claims": {"user": "mine"}, "onExpiry": "Disconnect"});
        let mut expected = all;
        expected["leewaySeconds"] = json!(7);
        expected["userClaim"] = json!("mine");
        expected.as_object_mut().unwrap().remove("onExpiry");
        assert_eq!(compiled(&own), expected);

        let told: Vec<_> =
            effective_auth(&tenant(&own).auth.jwt, Some(&class)).iter().map(|told| json!([told.field, told.source])).collect();
        assert_eq!(told[0], json!(["jwt.jwks", "Class"]));
        assert_eq!(told[3], json!(["jwt.leewaySeconds", "Tenant"]));
        assert!(effective_auth(&JwtSpec::default(), None).iter().all(|told| told.source == QuotaSource::BuiltIn));
        let report = KeyReport::new("acme", &tenant(&json!({})), Some(&class), &secrets);
        assert_eq!(report.keys[0].source, "https://id");
    }

    #[test]
    fn without_any_key_it_is_said_what_to_do() {
        let rejections = compile("acme", 1, &tenant(&json!({})), &Ok(None), &ResolvedSecrets::default()).unwrap_err();
        assert_eq!((rejections.len(), rejections[0].code), (1, RejectionCode::Invalid));
        assert!(rejections[0].to_string().starts_with("spec.auth.jwt.keys: a tenant needs keys"), "{}", rejections[0]);
        let class = Ok(Some(Arc::new(class(&json!({"jwks": [{"url": "https://id/keys"}]})).unwrap())));
        let rejections = compile("acme", 1, &tenant(&json!({})), &class, &ResolvedSecrets::default()).unwrap_err();
        let expected = "spec.defaults.auth.jwt.jwks[0].url of RealtimeTenantClass \"standard\": https://id/keys could not be fetched: it was not tried yet";
        assert_eq!((rejections[0].code, rejections[0].to_string().as_str()), (RejectionCode::JwksUnavailable, expected));
    }

    #[test]
    fn a_class_says_which_of_its_fields_cannot_be_used() {
        let spec = json!({"jwks": [{"url": "https://id", "issuer": "https://id"}, {"url": "https://id/k", "refreshSeconds": 1}], "leewaySeconds": 301,
                          "maxLifetimeSeconds": 1, "claims": {"tenant": ""}, "audiences": []});
        let fields: Vec<_> = class(&spec).unwrap_err().iter().map(|text| text.split(": ").next().unwrap_or_default().to_owned()).collect();
        let path = |field: &str| format!("spec.defaults.auth.jwt.{field}");
        let expected =
            ["leewaySeconds", "maxLifetimeSeconds", "claims.tenant", "audiences", "jwks[0].url", "jwks[1].refreshSeconds"].map(path);
        assert_eq!(fields, expected);
    }
}
