//! Tokens that are well signed and still open nothing any more.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Users that may be listed. Whoever has more to revoke at once sets `tokensNotBefore`.
pub const REVOKED_USERS_MAX: usize = 1000;
/// Token ids that may be listed.
pub const REVOKED_TOKEN_IDS_MAX: usize = 1000;
/// Longest token id that may be listed, in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 256;

/// Tokens that are refused though a key of the tenant verifies them. Sockets that came in with one are closed for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationSpec {
    /// Tokens issued before this time are refused: those whose `iat` is earlier, and those without `iat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_not_before: Option<Time>,
    /// Users all of whose tokens are refused, each as text: a user id that is the number 7 in tokens stands here as "7".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = REVOKED_USERS_MAX), inner(length(min = 1, max = 256), regex(pattern = r"^\P{Cc}+$")))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub users: Vec<String>,
    /// Tokens that are refused, each by its `jti`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = REVOKED_TOKEN_IDS_MAX), inner(length(min = 1, max = TOKEN_ID_BYTES_MAX)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub token_ids: Vec<String>,
}

/// What becomes of a socket whose token expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnExpiry {
    /// It is closed for good, unless its client has sent a new token before.
    #[default]
    Disconnect,
    /// It stays.
    Keep,
}
