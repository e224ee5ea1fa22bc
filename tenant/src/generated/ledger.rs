//! What is remembered of generated keys, in the Secret itself: which one is used, which one comes next, and which ones are still valid.

use std::fmt;

use carillon_crds::{GenerateSpec, GeneratedAlgorithm, Permission};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{API_KEY_NAME, NewApiKey, NewJwtKey};
use crate::{
    SecretBytes,
    jwt_policy::{KeyMessage, prepare},
    push::{ApiKeyMessage, hex},
};

/// Where the ledger stands in the Secret's `data`.
pub const LEDGER_KEY: &str = "keys.json";
/// Keys of one kind that are still valid after others took their place, at most.
pub(super) const OLD_MAX: usize = 4;
const VERSION: u32 = 1;
const BYTES_MAX: usize = 64 << 10;

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// It stands in the Secret.
    Current,
    /// It is made known to servers, and is to take the place of the current one.
    Next,
    /// It was the current one.
    Old,
}

/// A key that signs tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtEntry {
    /// Its `kid`.
    pub kid: String,
    /// What it signs with.
    pub algorithm: GeneratedAlgorithm,
    /// What it is used for.
    pub role: Role,
    /// What tokens are verified with: the secret, or a public key as JWK.
    pub verification: SecretBytes,
    /// What signs, as long as it doesn't stand in the Secret's `jwtKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<SecretBytes>,
    /// SHA-256 of what signs: tells whether `jwtKey` is what it should be.
    #[serde(with = "hex")]
    pub signing_sha256: [u8; 32],
    /// Unix time in seconds from which on it verifies nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// A key for the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiEntry {
    /// What it is used for.
    pub role: Role,
    /// SHA-256 of the key.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// The key, as long as it doesn't stand in the Secret's `apiKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretBytes>,
    /// Unix time in seconds from which on it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    version: u32,
    /// The rotation that was asked for last and taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<String>,
    /// Keys that sign tokens.
    #[serde(default)]
    pub jwt: Vec<JwtEntry>,
    /// Keys for the HTTP API.
    #[serde(default)]
    pub api: Vec<ApiEntry>,
}

/// Why `keys.json` can't be used. Never holds a byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerError {
    /// It is damaged.
    Damaged,
    /// A newer operator wrote it, in another form. Whoever doesn't know that form must leave it alone.
    Newer,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Damaged => "is not what the operator wrote there",
            Self::Newer => "was written by a newer operator",
        })
    }
}

#[derive(Deserialize)]
struct Form {
    version: u32,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { version: VERSION, rotation: None, jwt: Vec::new(), api: Vec::new() }
    }
}

impl Ledger {
    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    ///
    /// When it is anything else, or holds a key that can't be used.
    pub fn read(bytes: &[u8]) -> Result<Self, LedgerError> {
        if bytes.len() > BYTES_MAX {
            return Err(LedgerError::Damaged);
        }
        let form: Form = serde_json::from_slice(bytes).map_err(|_| LedgerError::Damaged)?;
        if form.version > VERSION {
            return Err(LedgerError::Newer);
        }
        let ledger: Self = serde_json::from_slice(bytes).map_err(|_| LedgerError::Damaged)?;
        let roles = |all: &mut dyn Iterator<Item = (Role, Option<i64>)>| {
            let (mut counts, mut ended) = ([0; 3], true);
            for (role, not_after) in all {
                counts[role as usize] += 1;
                ended &= (role == Role::Old) == not_after.is_some();
            }
            ended && counts[Role::Current as usize] <= 1 && counts[Role::Next as usize] <= 1 && counts[Role::Old as usize] <= OLD_MAX
        };
        let sound = ledger.version == VERSION
            && roles(&mut ledger.jwt.iter().map(|key| (key.role, key.not_after)))
            && roles(&mut ledger.api.iter().map(|key| (key.role, key.not_after)))
            && ledger.jwt.iter().all(|key| (1..=128).contains(&key.kid.len()) && prepare(key.message()).is_ok());
        if sound { Ok(ledger) } else { Err(LedgerError::Damaged) }
    }

    /// As it stands in the Secret.
    ///
    /// # Panics
    ///
    /// Never: a ledger serialises to JSON.
    pub fn write(&self) -> SecretBytes {
        serde_json::to_vec(self).expect("a ledger serialises to JSON").into()
    }

    /// The same without what signs or opens anything before its time.
    #[must_use]
    pub fn without_private(mut self) -> Self {
        self.jwt.iter_mut().for_each(|key| key.signing = None);
        self.api.iter_mut().for_each(|key| key.key = None);
        self
    }

    /// The key that signs now.
    pub fn current_jwt(&self) -> Option<&JwtEntry> {
        self.jwt.iter().find(|key| key.role == Role::Current)
    }

    /// The key that opens the HTTP API now.
    pub fn current_api(&self) -> Option<&ApiEntry> {
        self.api.iter().find(|key| key.role == Role::Current)
    }

    /// True when keys are on their way.
    pub fn announces(&self) -> bool {
        self.jwt.iter().any(|key| key.role == Role::Next) || self.api.iter().any(|key| key.role == Role::Next)
    }

    /// When the last key of before ends.
    pub fn overlap_until(&self) -> Option<i64> {
        self.ends().max()
    }

    /// When keys of before end.
    pub fn ends(&self) -> impl Iterator<Item = i64> {
        let jwt = self.jwt.iter().filter_map(|key| key.not_after);
        jwt.chain(self.api.iter().filter_map(|key| key.not_after))
    }

    /// True when another key of each kind can be put beside those that are there.
    pub fn has_room(&self) -> bool {
        let old = |roles: &mut dyn Iterator<Item = Role>| roles.filter(|role| *role == Role::Old).count();
        old(&mut self.jwt.iter().map(|key| key.role)) < OLD_MAX && old(&mut self.api.iter().map(|key| key.role)) < OLD_MAX
    }

    /// True when a message that holds these keys holds every one that is on its way.
    pub fn is_announced_by(&self, keys: &[KeyMessage], api_keys: &[ApiKeyMessage]) -> bool {
        let jwt = self.jwt.iter().filter(|key| key.role == Role::Next);
        let api = self.api.iter().filter(|key| key.role == Role::Next);
        jwt.map(JwtEntry::message).all(|key| keys.contains(&key))
            && api.map(|key| key.sha256).all(|sha256| api_keys.iter().any(|known| known.sha256 == sha256))
    }

    pub(super) fn has_all_of(&self, generate: &GenerateSpec) -> bool {
        (generate.jwt_key.is_none() || self.current_jwt().is_some()) && (generate.api_key.is_none() || self.current_api().is_some())
    }

    /// What tokens are verified with, the key that signs now before all others.
    pub(crate) fn verification(&self, generate: Option<&GenerateSpec>) -> impl Iterator<Item = &JwtEntry> {
        let wanted = generate.is_some_and(|generate| generate.jwt_key.is_some());
        let others = self.jwt.iter().filter(|key| key.role != Role::Current);
        self.current_jwt().into_iter().chain(others).filter(move |_| wanted)
    }

    pub(super) fn api_keys(&self, generate: &GenerateSpec, permissions: &[Permission]) -> Vec<ApiKeyMessage> {
        let message =
            |key: &ApiEntry| ApiKeyMessage { name: API_KEY_NAME.to_owned(), sha256: key.sha256, permissions: permissions.to_vec() };
        self.api.iter().filter(|_| generate.api_key.is_some()).map(message).collect()
    }
}

impl JwtEntry {
    /// A key in that role; what signs is kept beside it only while it is the next one.
    pub fn new(key: &NewJwtKey, role: Role) -> Self {
        Self {
            kid: key.kid.clone(),
            algorithm: key.algorithm,
            role,
            verification: key.verification.clone(),
            signing: (role == Role::Next).then(|| key.signing.clone()),
            signing_sha256: Sha256::digest(key.signing.expose()).into(),
            not_after: None,
        }
    }

    /// True when `signing` is what signs for this key.
    pub fn is_half_of(&self, signing: Option<&SecretBytes>) -> bool {
        signing.is_some_and(|signing| <[u8; 32]>::from(Sha256::digest(signing.expose())) == self.signing_sha256)
    }

    /// As servers know it.
    pub fn message(&self) -> KeyMessage {
        KeyMessage {
            kid: Some(self.kid.clone()),
            algorithm: self.algorithm.into(),
            material: self.verification.clone(),
            not_after: self.not_after,
        }
    }
}

impl ApiEntry {
    /// A key in that role; the key itself is kept beside it only while it is the next one.
    pub fn new(key: &NewApiKey, role: Role) -> Self {
        let sha256 = Sha256::digest(key.0.expose()).into();
        Self { role, sha256, key: (role == Role::Next).then(|| key.0.clone()), not_after: None }
    }

    /// True when `key` is this key.
    pub fn is(&self, key: Option<&SecretBytes>) -> bool {
        key.is_some_and(|key| <[u8; 32]>::from(Sha256::digest(key.expose())) == self.sha256)
    }
}
