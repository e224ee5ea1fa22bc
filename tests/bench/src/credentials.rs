//! The tenants and the secrets that peers are given, and the tokens made from them.
//!
//! They protect nothing but a benchmark on loopback. Carillon reads the same ones from `tenants/`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

/// A tenant of the benchmark. Other servers than Carillon let in whoever has a token, and make no difference between tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// All of its limits are set, and far away.
    Bench,
    /// The same, but for its limit of one user's connections.
    SharedUsers,
    /// It has no limits.
    Unlimited,
    /// It has no limits either, and thousands of members.
    Crowd,
    /// It has the default limits, and goes beyond them.
    Neighbour,
}

impl Tenant {
    /// Its id.
    pub fn id(self) -> &'static str {
        match self {
            Self::Bench => "bench",
            Self::SharedUsers => "shared-users",
            Self::Unlimited => "unlimited",
            Self::Crowd => "crowd",
            Self::Neighbour => "neighbour",
        }
    }
}

/// The id of the HS256 key.
pub const KEY_ID: &str = "bench";
/// The HS256 key of all tenants.
pub const SIGNING_SECRET: &str = "benchmark-signing-secret-that-protects-nothing-at-all";
/// What may publish for them over HTTP.
pub const API_KEY: &str = "benchmark-publishing-key-that-protects-nothing";
/// Where the pretended browser's page comes from.
pub const ORIGIN: &str = "https://app.example.com";

const LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// Signs a token for one user; it is as long (about 500 bytes) as what identity providers hand out.
pub fn token(key: &EncodingKey, tenant: Tenant, user: usize) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = json!({
        "iss": "https://id.example.com/realms/production",
        "sub": format!("user-{user:08}"),
        "tenant_id": tenant.id(),
        "iat": now.as_secs(),
        "exp": (now + LIFETIME).as_secs(),
        "jti": format!("8c1f7e52-6d0b-4a3e-9c55-{user:012}"),
        "email": format!("user-{user:08}@app.example.com"),
        "name": "Bartholomew Featherstonehaugh",
        "roles": ["editor", "viewer", "billing:read"],
    });
    let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::default() };
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
        let tenants = [
            (Tenant::Bench, include_str!("../tenants/bench.yaml")),
            (Tenant::Unlimited, include_str!("../tenants/unlimited.yaml")),
            (Tenant::SharedUsers, include_str!("../tenants/shared-users.yaml")),
            (Tenant::Crowd, include_str!("../tenants/crowd.yaml")),
            (Tenant::Neighbour, include_str!("../tenants/neighbour.yaml")),
        ];
        for (tenant, yaml) in tenants {
            assert!(yaml.contains(&format!("tenantId: {}\n", tenant.id())), "{tenant:?}");
            assert!(yaml.contains(ORIGIN) && yaml.contains(&format!("kid: {KEY_ID}\n")), "{tenant:?}");
        }
    }

    #[test]
    fn tokens_are_as_long_as_real_ones() {
        let token = token(&signing_key(), Tenant::Bench, 7).unwrap();
        assert!((400..700).contains(&token.len()), "{} bytes", token.len());
    }
}
