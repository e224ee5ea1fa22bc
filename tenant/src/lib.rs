//! The contract between the operator and the servers.
//!
//! A `RealtimeTenant`, its class and the Secrets it names are [compiled](compile::compile) into a [`TenantMessage`]: self-contained,
//! validated, versioned by a hash. Messages are pushed to servers, which turn them into [`TenantConfig`]s, ready to enforce.
//! Everything here is pure: no I/O, no clock, no Kubernetes client, no HTTP server, no Redis.

pub mod auth;
pub mod boot;
mod certificate;
mod class;
pub mod compile;
mod config;
pub mod generated;
mod ids;
mod jwks;
mod jwt_policy;
mod key_report;
mod origin;
pub mod protocol;
pub mod push;
mod quota;
mod quota_fields;
mod refusal;
pub mod report;
mod revocation;
mod secret;
mod selector;
mod version;

pub use carillon_crds::{Enforcement, Limit, OnExpiry, Permission, SigningAlgorithm};
pub use certificate::{CertificateFingerprint, Validity};
pub use class::{Class, ClassOutcome, Classes};
pub use compile::{CompileOutcome, Rejection, RejectionCode, ResolvedSecrets, SecretError};
pub use config::{ApiKey, TenantConfig};
pub use generated::{Generated, GeneratedKeys};
pub use ids::{ConnectionId, FleetName, IdError, RoomName, TenantId, UserId};
pub use jwks::{Fetched, JwksSource, KeySet, KeySetError, KeySets};
pub use jwt_policy::{JwtPolicy, KeyFingerprint, KeyMaterialError, VerificationKey};
pub use key_report::KeyReport;
pub use origin::{OriginPattern, OriginPolicy};
pub use push::TenantMessage;
pub use quota::Quotas;
pub use quota_fields::effective;
pub use refusal::{Code, Refusal, Scope};
pub use revocation::{Revocation, RevocationMessage};
pub use secret::SecretBytes;
pub use selector::Labels;
pub use version::{Change, ConfigVersion, Epoch, Position};
