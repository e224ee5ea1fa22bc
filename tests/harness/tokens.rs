//! JSON Web Tokens, good and bad ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::tenants::secret_of;

/// Seconds of Unix time.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What the original program puts into a token, valid for an hour.
pub fn claims(tenant: &str, user: impl Into<Value>) -> Value {
    json!({"tenant_id": tenant, "sub": user.into(), "iat": now(), "exp": now() + 3600})
}

/// A good token, signed with the tenant's first key.
pub fn token(tenant: &str, user: impl Into<Value>) -> String {
    signed(&claims(tenant, user), secret_of(tenant, "first").as_bytes())
}

/// `claims`, signed with `secret` by HS256.
pub fn signed(claims: &Value, secret: &[u8]) -> String {
    signed_with(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret))
}

/// `claims`, signed with `secret` by HS256, naming the key `kid`.
pub fn signed_by(kid: &str, claims: &Value, secret: &[u8]) -> String {
    signed_with(&Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::HS256) }, claims, &EncodingKey::from_secret(secret))
}

/// `claims` under `header`, signed with `key`.
///
/// # Panics
///
/// When the key is none for the header's algorithm.
pub fn signed_with(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, claims, key).expect("the key is one for the algorithm")
}

/// A token put together by hand: any header, any claims, any signature.
pub fn assembled(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}
