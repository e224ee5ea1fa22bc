//! The tenant and the secrets that every peer is given, and the tokens made from them.
//!
//! They protect nothing but a benchmark on loopback. Carillon reads the same ones from `tenants/`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

/// The one tenant of the benchmark.
pub const TENANT: &str = "bench";
/// The HS256 key of that tenant.
pub const SIGNING_SECRET: &str = "benchmark-signing-secret-that-protects-nothing-at-all";
/// What may publish for that tenant over HTTP.
pub const API_KEY: &str = "benchmark-publishing-key-that-protects-nothing";
/// Where the pretended browser's page comes from.
pub const ORIGIN: &str = "https://app.example.com";

const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// Signs a token for one user; it is as long (about 500 bytes) as what identity providers hand out.
pub fn token(key: &EncodingKey, user: usize) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = json!({
        "iss": "https://id.example.com/realms/production",
        "sub": format!("user-{user:08}"),
        "tenant_id": TENANT,
        "iat": now.as_secs(),
        "exp": (now + LIFETIME).as_secs(),
        "jti": format!("8c1f7e52-6d0b-4a3e-9c55-{user:012}"),
        "email": format!("user-{user:08}@app.example.com"),
        "name": "Bartholomew Featherstonehaugh",
        "roles": ["editor", "viewer", "billing:read"],
    });
    let header = Header { kid: Some(TENANT.to_owned()), ..Header::default() };
    Ok(jsonwebtoken::encode(&header, &claims, key)?)
}

/// The key that [`token`] signs with.
pub fn signing_key() -> EncodingKey {
    EncodingKey::from_secret(SIGNING_SECRET.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenants_folder_holds_the_same_secrets() {
        let secrets = include_str!("../tenants/secret.yaml");
        assert!(secrets.contains(SIGNING_SECRET));
        assert!(secrets.contains(API_KEY));
        assert!(include_str!("../tenants/tenant.yaml").contains(ORIGIN));
    }

    #[test]
    fn tokens_are_as_long_as_real_ones() {
        let token = token(&signing_key(), 7).unwrap();
        assert!((400..700).contains(&token.len()), "{} bytes", token.len());
    }
}
