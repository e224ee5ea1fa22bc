use carillon_crds::GeneratedAlgorithm;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::{ResolvedSecrets, compile::compile, jwt_policy::prepare};

const ALGORITHMS: [GeneratedAlgorithm; 3] = [GeneratedAlgorithm::HS256, GeneratedAlgorithm::ES256, GeneratedAlgorithm::EdDSA];

fn ledger(algorithm: GeneratedAlgorithm) -> (Ledger, NewJwtKey) {
    let key = NewJwtKey::of(algorithm, [7; 32]);
    let jwt = vec![JwtEntry::new(&key, Role::Current)];
    let api = vec![ApiEntry::new(&NewApiKey::of([8; 32]), Role::Current)];
    let mut ledger = Ledger::default();
    (ledger.rotation, ledger.jwt, ledger.api) = (Some("once".to_owned()), jwt, api);
    (ledger, key)
}

#[test]
fn what_a_key_signs_its_other_half_verifies() {
    for algorithm in ALGORITHMS {
        let (ledger, key) = ledger(algorithm);
        let signing = key.signing.expose();
        let encoding = match algorithm {
            GeneratedAlgorithm::HS256 => EncodingKey::from_secret(signing),
            GeneratedAlgorithm::ES256 => EncodingKey::from_ec_pem(signing).unwrap(),
            GeneratedAlgorithm::EdDSA => EncodingKey::from_ed_pem(signing).unwrap(),
        };
        let prepared = prepare(ledger.jwt[0].message()).unwrap();
        let token = jsonwebtoken::encode(&Header::new(prepared.algorithm), &json!({"exp": 9_999_999_999_u64}), &encoding).unwrap();
        let mut validation = jsonwebtoken::Validation::new(prepared.algorithm);
        validation.validate_exp = false;
        jsonwebtoken::decode::<serde_json::Value>(&token, &prepared.decoding, &validation).unwrap();
        assert_ne!(key, NewJwtKey::of(algorithm, [6; 32]));
        assert_eq!(key, NewJwtKey::of(algorithm, [7; 32]));
        assert!(signing.len() >= 32 && key.kid.starts_with("carillon-"));
        let public = String::from_utf8_lossy(key.verification.expose()).contains("\"d\"");
        assert!(!public, "the private half stays where it signs");
    }
}

#[test]
fn a_ledger_is_read_as_it_was_written_and_nothing_else_is() {
    for algorithm in ALGORITHMS {
        let (ledger, key) = ledger(algorithm);
        let written = ledger.write();
        assert_eq!(Ledger::read(written.expose()), Ok(ledger.clone()));
        assert!(!format!("{ledger:?} {key:?}").contains(&String::from_utf8_lossy(key.signing.expose()).into_owned()));
        let mut two = ledger.clone();
        two.jwt.push(two.jwt[0].clone());
        let mut endless = ledger.clone();
        endless.jwt[0].role = Role::Old;
        let mut weak = ledger.clone();
        weak.jwt[0].verification = b"short".to_vec().into();
        for spoilt in [two, endless, weak] {
            assert_eq!(Ledger::read(spoilt.write().expose()), Err(LedgerError::Damaged));
        }
    }
    for bytes in [&b""[..], b"{}", b"{\"version\": 0}", b"[]"] {
        assert_eq!(Ledger::read(bytes), Err(LedgerError::Damaged));
    }
}

#[test]
fn a_ledger_of_a_newer_operator_is_told_from_a_damaged_one() {
    assert_eq!(Ledger::read(br#"{"version": 2, "keys": []}"#), Err(LedgerError::Newer));
}

#[test]
fn what_is_derived_is_an_hmac() {
    // RFC 4231, test case 2, whose key is shorter and padded with zeros all the same.
    let mut secret = [0; 32];
    secret[..4].copy_from_slice(b"Jefe");
    let derived = to_hex(&derive(&secret, "what do ya want for nothing?"));
    assert_eq!(derived, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[test]
fn names_are_bounded_and_stay_apart() {
    assert_eq!(secret_name("acme"), "acme-carillon");
    let (first, second) = (format!("{}a", "x".repeat(252)), format!("{}b", "x".repeat(252)));
    assert_eq!(secret_name(&first).len(), 253);
    assert!(secret_name(&first) != secret_name(&second) && secret_name(&first).ends_with("-carillon"));
    assert_eq!(secret_name(&"x".repeat(244)).len(), 253);
}

#[test]
fn a_tenant_compiles_with_the_keys_that_it_asks_for() {
    let spec = |generate: serde_json::Value| serde_json::from_value(json!({"auth": {"generate": generate}})).unwrap();
    let both = spec(json!({"jwtKey": {}, "apiKey": {}}));
    let (ledger, key) = ledger(GeneratedAlgorithm::HS256);
    let with = |keys: GeneratedKeys| ResolvedSecrets::default().with_generated(keys);
    let message = compile("acme", 1, &both, &Ok(None), &with(ledger.clone().into())).unwrap();
    assert_eq!((message.jwt.keys.len(), message.jwt.keys[0].kid.as_ref(), message.api_keys.len()), (1, Some(&key.kid), 1));
    let report = crate::KeyReport::new("acme", &both, None, &with(ledger.clone().into()));
    assert_eq!(report.keys[0].source, "Generated/acme-carillon");

    let only_api = spec(json!({"apiKey": {}}));
    let codes = |spec, keys: GeneratedKeys| {
        let rejections = compile("acme", 1, spec, &Ok(None), &with(keys)).unwrap_err();
        rejections.iter().map(|rejection| rejection.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&only_api, ledger.clone().into()), [RejectionCode::Invalid], "it has no key for tokens");
    let found = |found, disabled| GeneratedKeys { found, disabled };
    assert_eq!(codes(&both, found(Generated::Missing, false)), [RejectionCode::GeneratedSecretPending]);
    assert_eq!(codes(&both, found(Generated::Missing, true)), [RejectionCode::GenerateDisabled]);
    assert_eq!(codes(&both, found(Generated::NotOwned, true)), [RejectionCode::GeneratedSecretNotOwned]);
    let mut no_api = ledger.clone();
    no_api.api.clear();
    assert_eq!(codes(&both, no_api.into()), [RejectionCode::GeneratedSecretPending]);

    // What was made before stays in force where no more is made, and that is told.
    let kept = found(Generated::Found(Box::new(ledger)), true);
    assert!(compile("acme", 1, &both, &Ok(None), &with(kept.clone())).is_ok());
    assert_eq!(crate::KeyReport::new("acme", &both, None, &with(kept)).stale[0].code, RejectionCode::GenerateDisabled);
    let invalid = spec(json!({"overlapSeconds": 3}));
    assert_eq!(codes(&invalid, GeneratedKeys::default())[..2], [RejectionCode::Invalid; 2]);
}
