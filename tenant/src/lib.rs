//! The contract between the operator and the servers.
//!
//! A `RealtimeTenant`, its class and the Secrets it names are [compiled](compile::compile) into a [`TenantMessage`]: self-contained,
//! validated, versioned by a hash. Messages are pushed to servers, which turn them into [`TenantConfig`]s, ready to enforce.
//! Everything here is pure: no I/O, no clock, no Kubernetes client, no HTTP server, no Redis.

mod class;
pub mod compile;
mod config;
mod ids;
mod jwt_policy;
mod origin;
pub mod protocol;
pub mod push;
mod quota;
mod quota_fields;
mod refusal;
mod secret;
mod selector;
mod version;

pub use carillon_crds::{Enforcement, Limit, Permission, SigningAlgorithm};
pub use class::{Class, ClassOutcome, Classes};
pub use compile::{CompileOutcome, Rejection, RejectionCode, ResolvedSecrets, SecretError};
pub use config::{ApiKey, TenantConfig};
pub use ids::{ConnectionId, IdError, RoomName, TenantId, UserId};
pub use jwt_policy::{JwtPolicy, KeyFingerprint, KeyMaterialError, VerificationKey};
pub use origin::{OriginPattern, OriginPolicy};
pub use push::TenantMessage;
pub use quota::Quotas;
pub use quota_fields::effective;
pub use refusal::{Code, Refusal, Scope};
pub use secret::SecretBytes;
pub use selector::Labels;
pub use version::{ConfigVersion, Epoch, Position};
