//! What is told of a tenant's keys: which there are, where they come from, and what is wrong with those that are fetched.

use carillon_crds::{KeyStatus, RealtimeTenantSpec, time_of};

use crate::{
    Class, Rejection, RejectionCode, ResolvedSecrets,
    auth::NamedKeySets,
    generated,
    jwks::{Fetched, JwksSource},
};

/// Keys that a status names.
const KEYS_MAX: usize = 20;

/// What is told of a tenant's keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyReport {
    /// The first of them, those from Secrets before those that were made, and these before those that were fetched.
    pub keys: Vec<KeyStatus>,
    /// Key sets that were not fetched for too long, and keys that nobody rotates. Nothing that keeps the tenant from compiling.
    pub stale: Vec<Rejection>,
    /// What was left out of key sets and why.
    pub notes: Vec<String>,
}

impl KeyReport {
    /// The report on what the tenant `name` says, which compiles under `class` with what was found.
    pub fn new(name: &str, spec: &RealtimeTenantSpec, class: Option<&Class>, found: &ResolvedSecrets) -> Self {
        let jwt = &spec.auth.jwt;
        let mut report = Self::default();
        report.keys.extend(jwt.keys.iter().map(|key| KeyStatus {
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            source: format!("Secret/{}", key.secret_key_ref.name),
            not_after: key.not_after.clone(),
        }));
        if let Some(ledger) = spec.auth.generate.as_ref().and(found.generated().ledger()) {
            report.keys.extend(ledger.verification(spec.auth.generate.as_ref()).map(|key| KeyStatus {
                kid: Some(key.kid.clone()),
                algorithm: key.algorithm.into(),
                source: format!("Generated/{}", generated::secret_name(name)),
                not_after: key.not_after.and_then(time_of),
            }));
            if found.generated().disabled {
                report.stale.push(generated::disabled());
            }
        }
        let named = NamedKeySets::of(spec, class);
        for (index, spec) in named.jwks.iter().enumerate() {
            let Ok(source) = JwksSource::of(spec) else { continue };
            let Some(fetched) = found.key_sets().get(&source) else { continue };
            if let Fetched::Stale(_, why) = fetched {
                report.stale.push(Rejection {
                    code: RejectionCode::JwksStale,
                    field: named.field(index, source.field()),
                    message: format!("{source} can't be fetched any more, its last keys stay in force: {why}"),
                });
            }
            let Some(set) = fetched.key_set() else { continue };
            report.keys.extend(set.keys.iter().map(|key| KeyStatus {
                kid: key.kid.clone(),
                algorithm: key.algorithm,
                source: source.to_string(),
                not_after: None,
            }));
            report.notes.extend(set.notes().iter().map(|note| format!("{source}: {note}")));
        }
        report.keys.truncate(KEYS_MAX);
        report
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        SecretBytes,
        compile::compile,
        jwks::{KeySet, KeySets},
    };

    const KEYS: &[u8] = br#"{"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "a"},
        {"kty": "oct", "k": "AAAA", "kid": "b"}
    ]}"#;

    fn spec() -> RealtimeTenantSpec {
        let secret = json!({"name": "s", "key": "k"});
        serde_json::from_value(json!({"auth": {"jwt": {
            "keys": [{"kid": "1", "algorithm": "HS256", "secretKeyRef": secret, "notAfter": "2027-01-01T00:00:00Z"}],
            "jwks": [{"url": "https://id/keys"}, {"issuer": "https://id"}],
        }}}))
        .unwrap()
    }

    fn sets(first: Fetched) -> KeySets {
        let second = Fetched::Fresh(Arc::new(KeySet::parse(KEYS).unwrap()));
        [(JwksSource::Url("https://id/keys".to_owned()), first), (JwksSource::Issuer("https://id".to_owned()), second)].into()
    }

    fn found(sets: KeySets) -> ResolvedSecrets {
        ResolvedSecrets::resolve(&spec(), |_| Ok(SecretBytes::from(vec![7; 32]))).with_key_sets(sets)
    }

    fn compiled(sets: KeySets) -> crate::CompileOutcome {
        compile("acme", 1, &spec(), &Ok(None), &found(sets))
    }

    #[test]
    fn keys_of_all_sources_count_once_each_and_are_told_with_their_source() {
        let keys = Arc::new(KeySet::parse(KEYS).unwrap());
        let fresh = sets(Fetched::Fresh(keys.clone()));
        let message = compiled(fresh.clone()).unwrap();
        let kids: Vec<_> = message.jwt.keys.iter().map(|key| key.kid.as_deref().unwrap()).collect();
        assert_eq!(kids, ["1", "a"], "the same key of two sources is one");
        let report = KeyReport::new("acme", &spec(), None, &found(fresh));
        let told: Vec<_> = report.keys.iter().map(|key| (key.kid.as_deref().unwrap(), key.source.as_str())).collect();
        assert_eq!(told, [("1", "Secret/s"), ("a", "https://id/keys"), ("a", "https://id")]);
        assert_eq!(
            report.notes[0],
            "https://id/keys: key \"b\" skipped: it is a symmetric key, which everyone can read there: whoever reads it could sign"
        );
        assert!(report.stale.is_empty() && report.keys[0].not_after.is_some());

        let stale = sets(Fetched::Stale(keys, "no answer within 10 s".to_owned()));
        assert_eq!(compiled(stale.clone()).unwrap(), message, "stale keys stay in force");
        let told = KeyReport::new("acme", &spec(), None, &found(stale)).stale;
        assert_eq!((told[0].code, told[0].field.as_str()), (RejectionCode::JwksStale, "spec.auth.jwt.jwks[0].url"));
    }

    #[test]
    fn nothing_compiles_without_a_key_set_that_is_named() {
        let rejections = compiled(sets(Fetched::Never("no connection".to_owned()))).unwrap_err();
        assert_eq!((rejections.len(), rejections[0].code), (1, RejectionCode::JwksUnavailable));
        assert_eq!(rejections[0].to_string(), "spec.auth.jwt.jwks[0].url: https://id/keys could not be fetched: no connection");
        assert_eq!(compiled(KeySets::new()).unwrap_err().len(), 2);
    }
}
