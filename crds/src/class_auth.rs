//! What a class says of its tenants' tokens.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClaimNames, JwksSpec, JwtSpec, OnExpiry};

/// Who may connect to a tenant that says nothing about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassAuthDefaults {
    /// How tokens are verified. Each field holds where a tenant doesn't have it.
    #[serde(default)]
    pub jwt: ClassJwtDefaults,
}

/// How tokens are verified where a tenant doesn't say so. Keys in Secrets are the tenant's alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClassJwtDefaults {
    /// Where issuers publish keys, for tenants that name no `jwks` of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub jwks: Vec<JwksSpec>,
    /// The `iss` a token must carry. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer: Option<String>,
    /// The values of which a token's `aud` must hold one. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub audiences: Option<Vec<String>>,
    /// Clock difference forgiven in `exp`, `nbf` and `iat`, in seconds. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 300))]
    pub leeway_seconds: Option<u32>,
    /// The longest a token may be valid, from `iat` to `exp`, in seconds; such a token must carry `iat`. Absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 60, max = 31_536_000))]
    pub max_lifetime_seconds: Option<u32>,
    /// Where the tenant and the user stand in a token.
    #[serde(default)]
    pub claims: ClaimNames,
    /// What becomes of a socket whose token expires: `Disconnect` or `Keep`. Default: Disconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
}

impl From<ClassJwtDefaults> for JwtSpec {
    fn from(defaults: ClassJwtDefaults) -> Self {
        let ClassJwtDefaults { jwks, issuer, audiences, leeway_seconds, max_lifetime_seconds, claims, on_expiry } = defaults;
        Self { keys: Vec::new(), jwks, issuer, audiences, leeway_seconds, max_lifetime_seconds, claims, on_expiry }
    }
}
