//! `RealtimeTenant`: what a platform team writes for one tenant.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GenerateSpec, JwksSpec, Limit, OnExpiry, RealtimeTenantStatus, RevocationSpec, SigningAlgorithm};

/// One tenant of the real-time platform: who may connect, from where, and how much.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "carillon.dev",
    version = "v1alpha1",
    kind = "RealtimeTenant",
    plural = "realtimetenants",
    shortname = "rtt",
    category = "carillon",
    namespaced,
    status = "RealtimeTenantStatus",
    derive = "PartialEq",
    doc = "A tenant of the Carillon real-time platform: who may connect over Socket.IO, from where, and how much.",
    printcolumn(name = "Class", type_ = "string", json_path = ".status.effective.className"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantId", priority = 1),
    printcolumn(name = "Connections", type_ = "string", json_path = ".status.usage.summary"),
    printcolumn(name = "Programmed", type_ = "string", json_path = ".status.fleet.summary"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.configVersion", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = kube::core::Rule::new("has(self.spec.tenantId) || self.metadata.name.matches('^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$')")
        .message("spec.tenantId is needed when metadata.name is longer than 63 characters")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new(
    "has(self.tenantId) == has(oldSelf.tenantId) && (!has(self.tenantId) || self.tenantId == oldSelf.tenantId)"
).message("tenantId is immutable: create another RealtimeTenant for another tenant"))]
pub struct RealtimeTenantSpec {
    /// The tenant id that tokens carry. Default: `metadata.name`. Immutable, and unique in the cluster: the oldest object holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"))]
    pub tenant_id: Option<String>,
    /// The `RealtimeTenantClass` that gives and bounds its quotas. Absent: the default class or, without one, the defaults that stand with the fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub class_name: Option<String>,
    /// True closes every connection for good and refuses new ones.
    #[serde(default)]
    pub suspended: bool,
    /// Who may connect and who may publish.
    pub auth: AuthSpec,
    /// Origins a browser may connect from: exact, as `https://app.example.com`, or any subdomain, as `https://*.example.com`.
    /// Absent: the fleet's `FRONTEND_URL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 32),
        inner(length(min = 8, max = 255), regex(pattern = r"^https?://(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$"))
    )]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub allowed_origins: Option<Vec<String>>,
    /// How much the tenant may use. What is absent takes the class's default, else the one that stands with the field.
    #[serde(default)]
    pub quotas: QuotaSpec,
}

/// Who may connect and who may publish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthSpec {
    /// How users' tokens are verified. What is absent takes the class's default, else the one that stands with the field.
    #[serde(default)]
    pub jwt: JwtSpec,
    /// Keys that the operator makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerateSpec>,
    /// Keys for the HTTP API, each a Secret of at least 32 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub api_keys: Vec<ApiKeySpec>,
    /// Tokens that are refused though a key of the tenant verifies them. Sockets that came in with one are closed for good.
    #[serde(default)]
    pub revocation: RevocationSpec,
}

/// How a tenant's JSON Web Tokens (RFC 7519) are verified. `exp` is always required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtSpec {
    /// Verification keys from Secrets. Two at once make a rotation without a gap. May be left out when there are others: `jwks`, its own or its
    /// class's, or `spec.auth.generate.jwtKey`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = kube::core::Rule::new("self.all(a, !has(a.kid) || self.exists_one(b, has(b.kid) && b.kid == a.kid))")
        .message("kid must be unique within the tenant"))]
    pub keys: Vec<JwtKeySpec>,
    /// Where issuers publish verification keys. The operator fetches them and keeps them fresh; they count beside `keys`.
    /// Absent: those of the class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub jwks: Vec<JwksSpec>,
    /// The `iss` a token must carry. Absent: the class's, else not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub issuer: Option<String>,
    /// The values of which a token's `aud` must hold one. Absent: the class's, else not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub audiences: Option<Vec<String>>,
    /// Clock difference forgiven in `exp`, `nbf` and `iat`, in seconds. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 300))]
    pub leeway_seconds: Option<u32>,
    /// The longest a token may be valid, from `iat` to `exp`, in seconds; such a token must carry `iat`. Absent: the class's, else not
    /// checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 60, max = 31_536_000))]
    pub max_lifetime_seconds: Option<u32>,
    /// Where the tenant and the user stand in a token.
    #[serde(default)]
    pub claims: ClaimNames,
    /// What becomes of a socket whose token expires: `Disconnect` closes it for good, unless its client has sent a new token before; `Keep` leaves it.
    /// Default: Disconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<OnExpiry>,
}

impl JwtSpec {
    /// The [`leeway_seconds`](Self::leeway_seconds) where neither the tenant nor its class says any.
    pub const LEEWAY_SECONDS: u32 = 30;
}

/// One verification key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtKeySpec {
    /// The `kid` of tokens signed with this key. A token with a `kid` is verified with that key only; one without, with every key of its `alg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub kid: Option<String>,
    /// The only algorithm this key verifies.
    pub algorithm: SigningAlgorithm,
    /// The key: for HS algorithms the secret itself, for the others a public key as PEM or JWK.
    pub secret_key_ref: SecretKeyReference,
    /// From this time on the key verifies nothing. Absent: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// A key of a Secret in the tenant's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in the Secret's `data`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Names of the claims that carry the tenant and the user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimNames {
    /// The claim that holds the tenant id; a string or a number. Default: tenant_id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tenant: Option<String>,
    /// The claim that holds the user id; a string or a number, kept as it is. When a token lacks it, `id` is read instead. Default: sub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub user: Option<String>,
}

impl ClaimNames {
    /// The [`tenant`](Self::tenant) where neither the tenant nor its class names one.
    pub const TENANT: &str = "tenant_id";
    /// The [`user`](Self::user) where neither the tenant nor its class names one.
    pub const USER: &str = "sub";
}

/// A key for the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySpec {
    /// What the key is called in logs and metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Secret that holds it.
    pub secret_key_ref: SecretKeyReference,
    /// What it may do.
    #[schemars(length(min = 1, max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub permissions: Vec<Permission>,
}

/// What a bearer may do over the HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    /// Publish events to the tenant.
    Publish,
}

/// How much a tenant may use. Every limit counts over the whole fleet, unless it says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpec {
    /// Connections.
    #[serde(default)]
    pub connections: ConnectionQuotaSpec,
    /// Rooms.
    #[serde(default)]
    pub rooms: RoomQuotaSpec,
    /// What clients send.
    #[serde(default)]
    pub messages: MessageQuotaSpec,
    /// What is published over the HTTP API.
    #[serde(default)]
    pub publish: PublishQuotaSpec,
    /// What is delivered to clients.
    #[serde(default)]
    pub egress: EgressQuotaSpec,
    /// Whether the limits are enforced. `DryRun` refuses nothing, and counts and reports what would have been refused. Default: Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<Enforcement>,
}

/// Whether the limits are enforced. `DryRun` refuses nothing, and counts and reports what would have been refused. Default: Enforce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// What goes beyond a limit is refused.
    #[default]
    Enforce,
    /// Nothing is refused; what would have been is counted and reported.
    DryRun,
}

/// Limits on connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionQuotaSpec {
    /// Connections of the tenant. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Limit>,
    /// Connections of one user. Default: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_user: Option<Limit>,
    /// Connects per second that the tenant may keep up. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<Limit>,
    /// Connects that may come at once. Default: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
}

/// Limits on rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomQuotaSpec {
    /// Different rooms with members at a time. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Limit>,
    /// Connections in one room. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members: Option<Limit>,
    /// Rooms one connection may be in at a time. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 1000))]
    pub max_per_connection: Option<u32>,
    /// Rooms per second that may come into being; as many may do so at once. Default: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_rate_per_second: Option<Limit>,
}

/// Limits on what clients send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageQuotaSpec {
    /// Messages per second that all clients of the tenant together may keep up. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<Limit>,
    /// Messages that all clients of the tenant together may send at once. Default: 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Messages per second that one connection may keep up. Default: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second_per_connection: Option<Limit>,
    /// Messages one connection may send at once. Default: 40.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 100_000))]
    pub burst_per_connection: Option<u32>,
    /// Size of one message with its attachments, in bytes. Default: 65536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 64, max = 1_048_576))]
    pub max_bytes: Option<u32>,
}

/// Limits on what is published over the HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishQuotaSpec {
    /// Events per second that may be published. Default: 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<Limit>,
    /// Events that may be published at once. Default: 400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 1_000_000))]
    pub burst: Option<u32>,
    /// Size of one event's `data`, in bytes of JSON. Default: 262144.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 64, max = 1_048_576))]
    pub max_bytes: Option<u32>,
}

/// Limits on what is delivered to clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressQuotaSpec {
    /// Bytes of data per second that may be delivered, each message counted once per connection that it goes to; twice as many may go at once. While more than
    /// that was delivered, publishing is refused. Default: Unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Limit>,
}
