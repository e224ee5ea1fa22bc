//! Keys that the operator makes for a tenant, so that its team needs neither a key nor anybody who makes one.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Permission, SigningAlgorithm};

/// The type of the Secrets that the operator makes for tenants.
pub const CREDENTIALS_SECRET_TYPE: &str = "carillon.dev/credentials";

/// Keys that the operator makes, keeps in the Secret `<metadata.name>-carillon` beside the tenant, and changes when it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("has(self.jwtKey) || has(self.apiKey)").message("say what to generate: jwtKey, apiKey or both"))]
pub struct GenerateSpec {
    /// A key that the tenant's own backend signs users' tokens with. It counts beside `spec.auth.jwt.keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt_key: Option<GenerateJwtKeySpec>,
    /// A key for the HTTP API. It counts beside `spec.auth.apiKeys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<GenerateApiKeySpec>,
    /// How long the keys of before a rotation stay valid, in seconds: longer than tokens live, and than the tenant's backends take to read the
    /// Secret anew.
    #[serde(default = "GenerateSpec::default_overlap_seconds")]
    #[schemars(with = "i32", range(min = OVERLAP_SECONDS_MIN, max = OVERLAP_SECONDS_MAX))]
    pub overlap_seconds: u32,
}

/// Least value of [`GenerateSpec::overlap_seconds`].
pub const OVERLAP_SECONDS_MIN: u32 = 10;
/// Greatest value of [`GenerateSpec::overlap_seconds`]: 30 days.
pub const OVERLAP_SECONDS_MAX: u32 = 2_592_000;

impl GenerateSpec {
    /// The default of [`overlap_seconds`](Self::overlap_seconds): a day.
    pub const fn default_overlap_seconds() -> u32 {
        86_400
    }
}

/// A key that signs tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerateJwtKeySpec {
    /// What it signs with. Another algorithm makes another key, as a rotation does.
    #[serde(default)]
    pub algorithm: GeneratedAlgorithm,
}

/// A key for the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerateApiKeySpec {
    /// What it may do. Default: all that there is.
    #[serde(default = "GenerateApiKeySpec::default_permissions")]
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub permissions: Vec<Permission>,
}

impl GenerateApiKeySpec {
    fn default_permissions() -> Vec<Permission> {
        vec![Permission::Publish]
    }
}

impl Default for GenerateApiKeySpec {
    fn default() -> Self {
        Self { permissions: Self::default_permissions() }
    }
}

/// What a generated key signs with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GeneratedAlgorithm {
    /// HMAC with SHA-256: one secret, which signs and verifies.
    #[default]
    HS256,
    /// ECDSA on P-256 with SHA-256: the servers know the public key alone.
    ES256,
    /// EdDSA on Ed25519: the servers know the public key alone.
    EdDSA,
}

impl From<GeneratedAlgorithm> for SigningAlgorithm {
    fn from(algorithm: GeneratedAlgorithm) -> Self {
        match algorithm {
            GeneratedAlgorithm::HS256 => Self::HS256,
            GeneratedAlgorithm::ES256 => Self::ES256,
            GeneratedAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

/// A time of Unix seconds; `None` when it is too far away to be one.
pub fn time_of(second: i64) -> Option<Time> {
    Timestamp::from_second(second).ok().map(Time)
}

/// The keys that the operator made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedStatus {
    /// The Secret in the tenant's namespace that holds them.
    #[schemars(length(max = 253))]
    pub secret_name: String,
    /// The `kid` of the key that signs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub jwt_kid: Option<String>,
    /// How far a rotation has come.
    pub rotation: RotationState,
    /// When the last key of before ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_until: Option<Time>,
    /// The value of the annotation `carillon.dev/rotate-keys` whose rotation the Secret has the keys of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub observed_rotation: Option<String>,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RotationState {
    /// There are no keys but those in the Secret.
    Settled,
    /// New keys are being made known to every server pod; the Secret still holds those of before.
    Announcing,
    /// The Secret holds the new keys, and those of before are valid, too.
    Overlapping,
}
