//! What the operator and the servers say to each other over the admin port.
//!
//! A pod that is new to the operator is asked for its [`State`]. One that runs nothing, or too much else, gets a [`Snapshot`]; all
//! others get a [`Delta`] on top of what they are known to run. Each push is answered with an [`Answer`], tenant by tenant, or with a
//! [`Conflict`]. A pod that a new leader has nothing to tell gets an empty delta: from then on it takes no push of an earlier leader.

use std::{collections::BTreeMap, io::Write};

use carillon_crds::Permission;
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    CertificateFingerprint, Code, ConfigVersion, OriginPattern, Position, Quotas, RejectionCode, SecretBytes, TenantId,
    jwt_policy::JwtMessage,
    protocol::{self, Versions},
    revocation::RevocationMessage,
};

/// The latest version of this protocol; [`Versions::SPOKEN`] are all that are spoken. A server answers a push of another version with 400
/// and the code `protocol_version`. Every version has gzip for the bodies of pushes.
///
/// What was added before the first release is of version 1. After it, whatever a server of the version before would refuse or
/// misunderstand makes another version: pushes hold no field that their reader doesn't know, because what is not understood would not be
/// enforced. Answers may hold more than their reader knows, which it ignores.
pub const PROTOCOL_VERSION: u32 = 1;
/// `GET`: the server's [`State`].
pub const STATE_PATH: &str = "/v1/config/state";
/// `PUT`: a [`Snapshot`].
pub const SNAPSHOT_PATH: &str = "/v1/config/snapshot";
/// `PATCH`: a [`Delta`].
pub const DELTA_PATH: &str = "/v1/config";
/// `GET`: the server's [`UsageReport`].
pub const USAGE_PATH: &str = "/v1/usage";
/// Largest body of a push, in bytes after decompression.
pub const PUSH_BYTES_MAX: usize = 256 << 20;

/// One tenant's configuration as it travels: self-contained and already validated by the compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantMessage {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Which version this is.
    pub config_version: ConfigVersion,
    /// True: nobody may be connected.
    pub suspended: bool,
    /// How tokens are verified.
    pub jwt: JwtMessage,
    /// Tokens that are refused all the same.
    #[serde(default, skip_serializing_if = "RevocationMessage::is_empty")]
    pub revocation: RevocationMessage,
    /// Keys for the HTTP API.
    pub api_keys: Vec<ApiKeyMessage>,
    /// Where browsers may come from; absent leaves it to the fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<OriginPattern>>,
    /// Limits, with every default filled in.
    pub quotas: Quotas,
}

/// One key for the HTTP API as it travels: the hash, never the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyMessage {
    /// What the key is called in logs.
    pub name: String,
    /// SHA-256 of the key, in hex.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// What it may do.
    pub permissions: Vec<Permission>,
}

/// What all servers of a fleet share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FleetSettings {
    /// The key of the MAC in the session ids that long-polling clients hold: 32 bytes.
    pub session_key: SecretBytes,
}

impl FleetSettings {
    /// Tells one set of settings from another without telling what they are: SHA-256 in hex, with a prefix of its own.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"carillon fleet settings\0");
        hash.update(self.session_key.expose());
        to_hex(&hash.finalize())
    }
}

/// Tenants that other fleets carry, by the name of the claim that holds their id in tokens. A server sends none of their clients away for good:
/// they may have come to it by an old address.
pub type Elsewhere = BTreeMap<String, Vec<TenantId>>;

/// Everything a server should run. Tenants it runs that are neither in `tenants` nor in `keep` are removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshot {
    /// The version of this push.
    pub protocol_version: u32,
    /// Where this leads to. A server that was brought further answers 409 and a [`Conflict`].
    pub position: Position,
    /// What all servers share.
    pub fleet: FleetSettings,
    /// Every tenant that compiles.
    pub tenants: Vec<TenantMessage>,
    /// Tenants that exist but don't compile now: a server that runs one keeps what it has.
    pub keep: Vec<TenantId>,
    /// Tenants that other fleets carry.
    #[serde(default, skip_serializing_if = "Elsewhere::is_empty")]
    pub elsewhere: Elsewhere,
}

/// What changed since the state whose digest is `base_digest`. A server whose digest is another answers 409 and a [`Conflict`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delta {
    /// The version of this push.
    pub protocol_version: u32,
    /// Where this leads to. A server that was brought further answers 409 and a [`Conflict`].
    pub position: Position,
    /// The [`digest`] of what the server should be running before.
    pub base_digest: String,
    /// New and changed tenants.
    pub upserts: Vec<TenantMessage>,
    /// Tenants that are gone.
    pub removals: Vec<TenantId>,
    /// Those of `removals` that another fleet carries now: their clients are to come back, and are not sent away for good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<TenantId>,
    /// All tenants that other fleets carry, from a leader that has not pushed to this server before; empty: what it knows of them stands.
    #[serde(default, skip_serializing_if = "Elsewhere::is_empty")]
    pub elsewhere: Elsewhere,
}

/// What a server runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The lowest version that the server speaks.
    pub protocol_version: u32,
    /// Every version that it speaks; absent: only the one above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol_versions: Option<Versions>,
    /// Drawn anew each time the server's process starts.
    pub boot_id: String,
    /// False until the first snapshot: the server serves nobody.
    pub programmed: bool,
    /// The latest that any push to this process came with: it takes none of an earlier one.
    #[serde(default)]
    pub position: Position,
    /// The [`FleetSettings::digest`] of the settings it runs; absent until the first snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet_digest: Option<String>,
    /// The [`digest`] of `applied`.
    pub digest: String,
    /// Every tenant it runs.
    pub applied: Vec<Applied>,
    /// The certificates of its admin port; absent when it doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<CertificatesInForce>,
}

/// The certificates by which a server and the operator know each other, as the server has them in force: for new connections, from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatesInForce {
    /// The one that it shows.
    pub serving: CertificateFingerprint,
    /// Those whose signature on the operator's certificate it believes.
    pub authorities: Vec<CertificateFingerprint>,
}

/// A server's answer to a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Drawn anew each time the server's process starts.
    pub boot_id: String,
    /// The [`digest`] of what it runs now.
    pub digest: String,
    /// The tenants of this push that it runs now.
    pub applied: Vec<Applied>,
    /// The tenants of this push that it refused: it keeps their last good version.
    pub rejected: Vec<Rejected>,
}

/// A tenant and the version a server runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The version.
    pub config_version: ConfigVersion,
}

/// A tenant that a server refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The version that was refused.
    pub config_version: ConfigVersion,
    /// A stable word; one that is not known is read as `Invalid`.
    #[serde(deserialize_with = "protocol::known_or_invalid")]
    pub code: RejectionCode,
    /// The field of the resource that is to blame.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What the tenants of one server use. Those that use nothing, and were refused nothing lately, are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// Drawn anew each time the server's process starts.
    pub boot_id: String,
    /// Tenant by tenant.
    pub tenants: Vec<TenantUsage>,
}

/// What one tenant uses, as one server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantUsage {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Connections on this server.
    pub connections: u64,
    /// Different users among them.
    pub users: u64,
    /// Rooms with members on this server.
    pub rooms: u64,
    /// Messages per second that this server takes from clients.
    pub messages_per_second: u64,
    /// What the whole fleet counts, users and rooms each once; absent while this server doesn't know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetUsage>,
    /// Quotas by which this server refused something within the last minute, or would have; those that are not known are left out.
    #[serde(deserialize_with = "protocol::known_only")]
    pub limited: Vec<Code>,
    /// Names of keys by which tokens were refused that nobody knows, since this was last asked: a few, and each is told once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_kids: Vec<String>,
}

/// What one tenant uses on all servers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetUsage {
    /// Connections.
    pub connections: u64,
    /// Different users.
    pub users: u64,
    /// Rooms with members.
    pub rooms: u64,
    /// Messages per second from clients.
    pub messages_per_second: u64,
}

/// What a server says, with 409, to a push that doesn't go with what it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// What is wrong.
    pub code: ConflictCode,
    /// What the server runs.
    pub state: State,
}

/// Why a push doesn't go with what a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictCode {
    /// The server runs something else than what the delta is on top of.
    BaseDigest,
    /// A later leader has pushed since: the one that hears this is none any more.
    StaleEpoch,
    /// The same leader has pushed something newer since.
    StaleSeq,
}

/// What a server says when it can't take a push at all: with 400, 408, 413 or 415.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushError {
    /// `protocol_version`, `malformed` or `too_large`.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Compresses what goes to servers, which is much and alike: quickly. Whole at once, for the encoder takes its time over every bit that it is
/// handed.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// The digest of a set of tenants and versions: SHA-256 in hex over its sorted lines `tenant version`.
pub fn digest<'a>(applied: impl IntoIterator<Item = (&'a TenantId, &'a ConfigVersion)>) -> String {
    let mut sorted: Vec<_> = applied.into_iter().collect();
    // Most often they come in order.
    if !sorted.is_sorted_by(|(before, _), (after, _)| before < after) {
        sorted = sorted.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect();
    }
    let mut hash = Sha256::new();
    for (tenant, version) in sorted {
        hash.update(tenant.as_str());
        hash.update(b" ");
        hash.update(version.as_str());
        hash.update(b"\n");
    }
    to_hex(&hash.finalize())
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let error = || de::Error::custom("must be 64 hex digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| error())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| error())?;
        }
        Ok(bytes)
    }
}
