//! One tenant, ready to enforce.

use std::sync::Arc;

use carillon_crds::Permission;
use sha2::{Digest, Sha256};

use crate::{ConfigVersion, JwtPolicy, OriginPolicy, Quotas, RejectionCode, Revocation, TenantId, TenantMessage, compile::Rejection};

/// A tenant's compiled, immutable configuration. Servers swap it whole.
#[derive(Clone, Debug)]
pub struct TenantConfig {
    /// The tenant.
    pub id: TenantId,
    /// Which version this is.
    pub version: ConfigVersion,
    /// True: nobody may be connected.
    pub suspended: bool,
    /// How tokens are verified.
    pub jwt: JwtPolicy,
    /// Tokens that are refused all the same.
    pub revocation: Revocation,
    /// Keys for the HTTP API.
    pub api_keys: Vec<ApiKey>,
    /// Where browsers may come from; `None` leaves it to the fleet's `FRONTEND_URL`.
    pub origins: Option<OriginPolicy>,
    /// Limits in force.
    pub quotas: Quotas,
}

/// A key for the HTTP API. Only its hash is kept: the keys are long and random, so a plain hash can't be searched.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What the key is called in logs.
    pub name: Arc<str>,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
    /// What it may do.
    pub permissions: Vec<Permission>,
}

impl TenantConfig {
    /// The API key that `presented` is, if it is one.
    pub fn api_key(&self, presented: &str) -> Option<&ApiKey> {
        let hash = <[u8; 32]>::from(Sha256::digest(presented));
        self.api_keys.iter().find(|key| key.sha256 == hash)
    }
}

impl TryFrom<TenantMessage> for TenantConfig {
    type Error = Rejection;

    fn try_from(message: TenantMessage) -> Result<Self, Rejection> {
        let invalid = |field: String, message: String| Rejection { code: RejectionCode::Invalid, field, message };
        let api_keys =
            message.api_keys.into_iter().map(|key| ApiKey { name: key.name.into(), sha256: key.sha256, permissions: key.permissions });
        Ok(Self {
            id: message.tenant_id,
            version: message.config_version,
            suspended: message.suspended,
            jwt: JwtPolicy::try_from(message.jwt)
                .map_err(|(index, error)| invalid(format!("spec.auth.jwt.keys[{index}]"), error.to_string()))?,
            revocation: message.revocation.into(),
            api_keys: api_keys.collect(),
            origins: message.origins.map(OriginPolicy::Only),
            quotas: message.quotas,
        })
    }
}
