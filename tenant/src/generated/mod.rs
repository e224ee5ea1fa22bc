//! Keys that are made for a tenant, and the Secret they are kept in. Pure: whoever makes some brings the entropy.
//!
//! What an app reads stands in the Secret's `endpoint`, `tenantId`, `jwtKid`, `jwtAlgorithm`, `jwtKey` and `apiKey`; what the operator
//! remembers of these keys and of those before and after them stands in `keys.json`, the [`Ledger`].

mod ledger;
mod material;

use carillon_crds::{GenerateSpec, GeneratedStatus, RealtimeTenantSpec, RotationState, time_of};
use sha2::{Digest, Sha256};

pub use self::{
    ledger::{ApiEntry, JwtEntry, LEDGER_KEY, Ledger, LedgerError, Role},
    material::{NewApiKey, NewJwtKey, derive},
};
use crate::{
    Rejection, RejectionCode,
    compile::{check_count, invalid},
    jwt_policy::KeyMessage,
    push::{ApiKeyMessage, to_hex},
};

/// What a generated API key is called in logs and metrics.
pub const API_KEY_NAME: &str = "generated";
/// What the names of these Secrets end in.
const SUFFIX: &str = "-carillon";
/// Longest name of a Secret.
const NAME_BYTES_MAX: usize = 253;
/// The field that asks for keys.
pub const FIELD: &str = "spec.auth.generate";

/// The name of the Secret with the keys that were made for the RealtimeTenant `name`: `<name>-carillon`. Of a name that leaves no room for
/// that the first 235 characters stand, and eight hex digits of its hash.
pub fn secret_name(name: &str) -> String {
    if name.len() + SUFFIX.len() <= NAME_BYTES_MAX {
        return format!("{name}{SUFFIX}");
    }
    let hash = to_hex(&Sha256::digest(name)[..4]);
    let kept = &name[..name.floor_char_boundary(NAME_BYTES_MAX - SUFFIX.len() - hash.len() - 1)];
    format!("{}-{hash}{SUFFIX}", kept.trim_end_matches(['.', '-']))
}

/// What is known of a tenant's generated keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Generated {
    /// The Secret isn't there, or can't be read: it is to be made.
    #[default]
    Missing,
    /// There is a Secret of that name which belongs to somebody else.
    NotOwned,
    /// The keys.
    Found(Box<Ledger>),
}

/// What is known of generated keys, and whether they may be made at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeneratedKeys {
    /// What is known.
    pub found: Generated,
    /// True when whoever compiles makes none.
    pub disabled: bool,
}

impl From<Ledger> for GeneratedKeys {
    fn from(ledger: Ledger) -> Self {
        Self { found: Generated::Found(Box::new(ledger)), disabled: false }
    }
}

impl GeneratedKeys {
    /// The keys that are there.
    pub fn ledger(&self) -> Option<&Ledger> {
        match &self.found {
            Generated::Found(ledger) => Some(ledger),
            Generated::Missing | Generated::NotOwned => None,
        }
    }

    /// The verification keys and the API keys for the tenant `name`, which says `spec`.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] while there are none that could be used.
    pub(crate) fn compile(&self, name: &str, spec: &RealtimeTenantSpec) -> Result<(Vec<KeyMessage>, Vec<ApiKeyMessage>), Rejection> {
        let Some(generate) = &spec.auth.generate else { return Ok((Vec::new(), Vec::new())) };
        let secret = secret_name(name);
        let (code, message) = match &self.found {
            Generated::Found(ledger) if ledger.has_all_of(generate) => {
                let permissions = generate.api_key.as_ref().map(|key| key.permissions.clone()).unwrap_or_default();
                return Ok((ledger.verification(Some(generate)).map(JwtEntry::message).collect(), ledger.api_keys(generate, &permissions)));
            }
            Generated::NotOwned => (
                RejectionCode::GeneratedSecretNotOwned,
                format!(
                    "Secret {secret:?} exists, does not belong to this RealtimeTenant, and is not touched: delete it, or let generated keys \
                     be and name Secrets of your own in spec.auth.jwt.keys and spec.auth.apiKeys"
                ),
            ),
            _ if self.disabled => return Err(disabled()),
            Generated::Found(_) | Generated::Missing => (
                RejectionCode::GeneratedSecretPending,
                format!("Secret {secret:?} does not have all of these keys yet: the operator is to make it"),
            ),
        };
        Err(Rejection { code, field: FIELD.to_owned(), message })
    }
}

/// Why a tenant has no generated keys, or none that change, where that is switched off.
pub(crate) fn disabled() -> Rejection {
    Rejection {
        code: RejectionCode::GenerateDisabled,
        field: FIELD.to_owned(),
        message:
            "this operator generates no keys and rotates none (chart value operator.generateKeys.enabled): name Secrets of your own in \
                  spec.auth.jwt.keys and spec.auth.apiKeys, or ask whoever runs the platform"
                .to_owned(),
    }
}

/// What status tells of the keys in `ledger`. While others are being announced nothing is observed anew.
pub fn status(name: &str, ledger: &Ledger) -> GeneratedStatus {
    let announcing = ledger.announces();
    let until = ledger.overlap_until();
    GeneratedStatus {
        secret_name: secret_name(name),
        jwt_kid: ledger.current_jwt().map(|key| key.kid.clone()),
        rotation: match (announcing, until) {
            (true, _) => RotationState::Announcing,
            (false, Some(_)) => RotationState::Overlapping,
            (false, None) => RotationState::Settled,
        },
        overlap_until: until.and_then(time_of),
        observed_rotation: ledger.rotation.clone().filter(|_| !announcing),
    }
}

/// What is wrong with `generate`, for resources that were never held to the schema.
pub(crate) fn check(generate: &GenerateSpec, rejections: &mut Vec<Rejection>) {
    use carillon_crds::{OVERLAP_SECONDS_MAX, OVERLAP_SECONDS_MIN};
    if generate.jwt_key.is_none() && generate.api_key.is_none() {
        rejections.push(invalid(FIELD, "say what to generate: jwtKey, apiKey or both"));
    }
    if !(OVERLAP_SECONDS_MIN..=OVERLAP_SECONDS_MAX).contains(&generate.overlap_seconds) {
        rejections.push(invalid(format!("{FIELD}.overlapSeconds"), format!("must be from {OVERLAP_SECONDS_MIN} to {OVERLAP_SECONDS_MAX}")));
    }
    if let Some(key) = &generate.api_key {
        check_count(&format!("{FIELD}.apiKey.permissions"), key.permissions.len(), 1, 8, rejections);
    }
}

#[cfg(test)]
mod tests;
