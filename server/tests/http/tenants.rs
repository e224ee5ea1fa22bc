//! The tenants of the tests, and credentials for them.

use std::time::{SystemTime, UNIX_EPOCH};

use carillon_crds::RealtimeTenantSpec;
use carillon_tenant::{ResolvedSecrets, SecretError, TenantMessage, compile::compile};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The key of acme's backend, which may publish.
pub const ACME_KEY: &str = "acme-backend-key-0123456789abcdef-0123456789";
/// A key of acme's that may do nothing.
pub const ACME_IDLE_KEY: &str = "acme-idle-key-0123456789abcdef-0123456789abc";
/// The key of globex's backend.
pub const GLOBEX_KEY: &str = "globex-backend-key-0123456789abcdef-01234567";
/// The key of the suspended tenant's backend.
pub const FROZEN_KEY: &str = "frozen-backend-key-0123456789abcdef-01234567";
/// What acme's tokens are signed with, and those of its twin.
pub const ACME_SECRET: &str = "acme-signing-secret-0123456789abcdef-0123456";
/// What globex's tokens are signed with.
pub const GLOBEX_SECRET: &str = "globex-signing-secret-0123456789abcdef-01234";
/// What the strict tenant's tokens are signed with.
pub const STRICT_SECRET: &str = "strict-signing-secret-0123456789abcdef-01234";
/// The largest data that may be published to acme, in bytes.
pub const ACME_PUBLISH_BYTES_MAX: usize = 1000;

/// Every tenant.
pub fn all() -> Vec<TenantMessage> {
    let keys = json!([key("backend", ACME_KEY, json!(["Publish"])), key("idle", ACME_IDLE_KEY, json!([]))]);
    let acme = json!({
        "auth": {"jwt": {"keys": [signed_with(ACME_SECRET)]}, "apiKeys": keys},
        "quotas": {"publish": {"maxBytes": ACME_PUBLISH_BYTES_MAX}},
    });
    let twin = json!({"auth": {"jwt": {"keys": [signed_with(ACME_SECRET)]}}});
    let strict = json!({"auth": {"jwt": {
        "keys": [signed_with(STRICT_SECRET)], "issuer": "https://id.example", "audiences": ["realtime"], "maxLifetimeSeconds": 3600,
    }, "revocation": {"users": ["mallory"], "tokenIds": ["stolen"], "tokensNotBefore": "2026-01-01T00:00:00Z"}}});
    vec![
        tenant("acme", &acme),
        tenant("twin", &twin),
        tenant("strict", &strict),
        tenant("globex", &simple(GLOBEX_SECRET, GLOBEX_KEY, false)),
        tenant("frozen", &simple(GLOBEX_SECRET, FROZEN_KEY, true)),
    ]
}

/// A tenant with one key of each kind.
pub fn simple(secret: &str, api_key: &str, suspended: bool) -> Value {
    let auth = json!({"jwt": {"keys": [signed_with(secret)]}, "apiKeys": [key("backend", api_key, json!(["Publish"]))]});
    json!({"suspended": suspended, "auth": auth})
}

/// Compiles a tenant. In these tests the name of each Secret is its content.
pub fn tenant(id: &str, spec: &Value) -> TenantMessage {
    let spec: RealtimeTenantSpec = serde_json::from_value(spec.clone()).unwrap();
    let secrets = ResolvedSecrets::resolve(&spec, |reference| Ok::<_, SecretError>(reference.name.clone().into_bytes().into()));
    compile(id, 1, &spec, &Ok(None), &secrets).unwrap()
}

fn signed_with(secret: &str) -> Value {
    json!({"kid": "k1", "algorithm": "HS256", "secretKeyRef": {"name": secret, "key": "k"}})
}

fn key(name: &str, content: &str, permissions: Value) -> Value {
    json!({"name": name, "secretKeyRef": {"name": content, "key": "k"}, "permissions": permissions})
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The claims of a service's token, changed by `change`; a null takes a claim away.
pub fn claims(tenant: &str, change: Value) -> Value {
    let mut claims = json!({"tenant_id": tenant, "sub": "backend", "role": "service", "iat": now(), "exp": now() + 600});
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub fn token(secret: &str, claims: &Value) -> String {
    token_with(&Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) }, secret, claims)
}

pub fn token_with(header: &Header, secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}
