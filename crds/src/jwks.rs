//! Keys that an issuer publishes, and what is told of every key.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SigningAlgorithm;

/// Where an issuer publishes its keys as a JSON Web Key Set (RFC 7517): either `url` or `issuer`. The operator fetches it, servers never do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("has(self.url) != has(self.issuer)").message("give either url or issuer"))]
pub struct JwksSpec {
    /// Where the key set is: https, unless the operator takes other URLs, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r#"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[!"$-~]*)?$"#)
    )]
    pub url: Option<String>,
    /// Who issues the tokens: the key set is where its OpenID Connect discovery document (`<issuer>/.well-known/openid-configuration`) says.
    /// Tokens are held to it only by `spec.auth.jwt.issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 512),
        regex(pattern = r#"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[!"$->@-~]*)?$"#)
    )]
    pub issuer: Option<String>,
    /// The longest time between two looks at the key set, in seconds. A shorter max-age of the answer counts, down to a minute.
    #[serde(default = "JwksSpec::default_refresh_seconds")]
    #[schemars(with = "i32", range(min = 60, max = 86_400))]
    pub refresh_seconds: u32,
}

impl JwksSpec {
    /// The default of [`refresh_seconds`](Self::refresh_seconds).
    pub const fn default_refresh_seconds() -> u32 {
        300
    }
}

/// A key that tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// The `kid` it answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The only algorithm it verifies.
    pub algorithm: SigningAlgorithm,
    /// `Secret/name`, `Generated/name` of a Secret that the operator made, or the URL or the issuer that it was fetched from.
    pub source: String,
    /// From this time on it verifies nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
